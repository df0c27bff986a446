/* zoft inspect: what is in a file that zoft reads.  A kind of file is a row of the table at the
 * end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "fmt/compressed.h"
#include "fmt/records.h"
#include "load.h"
#include "train/steplog.h"
#include "ui.h"

static int all;

static const struct zc_opt options[] = {
    {"all", 'a', ZC_FLAG, NULL, "every tensor or record, not a summary", &all},
    {0},
};

/* Facts are printed as lines, or gathered as members of one JSON object. */
struct facts {
  struct zf_buf json;
};

static void fact(struct facts *f, const char *name, const char *value) {
  if (!zc_common.json) {
    printf("%-12s %s\n", name, value);
    return;
  }
  zf_buf_printf(&f->json, "%s\"%s\": ", f->json.len ? ", " : "", name);
  zc_json_text(&f->json, value, strlen(value));
}

static void number(struct facts *f, const char *name, int64_t v, const char *shown) {
  if (zc_common.json)
    zf_buf_printf(&f->json, "%s\"%s\": %lld", f->json.len ? ", " : "", name, (long long)v);
  else
    printf("%-12s %s\n", name, shown);
}

static void count(struct facts *f, const char *name, int64_t v) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)v);
  number(f, name, v, text);
}

static void finish(struct facts *f) {
  if (zc_common.json) printf("{%s}\n", f->json.data ? f->json.data : "");
  zf_buf_free(&f->json);
}

/* --- tensors --- */

static void shape_of(char out[96], const struct zf_st_tensor *t) {
  size_t n = 0;
  out[n++] = '[';
  for (int i = 0; i < t->ndim && n < 80; i++)
    n += (size_t)snprintf(out + n, 96 - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
  snprintf(out + n, 96 - n, "]");
}

static void tensors(struct facts *f, const struct zf_st *st) {
  enum { SOME = 12 };
  int64_t shown = all || st->count <= SOME ? st->count : SOME;
  char shape[96], bytes[32];
  if (zc_common.json) {
    zf_buf_puts(&f->json, ", \"tensors\": [");
    for (int64_t i = 0; i < st->count; i++) {
      shape_of(shape, &st->tensor[i]);
      zf_buf_printf(&f->json, "%s{\"name\": ", i ? ", " : "");
      zc_json_text(&f->json, st->tensor[i].name, strlen(st->tensor[i].name));
      zf_buf_printf(&f->json, ", \"dtype\": \"%s\", \"shape\": %s}", st->tensor[i].dtype, shape);
    }
    zf_buf_puts(&f->json, "]");
    return;
  }
  putchar('\n');
  struct zc_table *t = zc_table_new("llrr");
  zc_table_row(t, (const char *const[]){"tensor", "dtype", "shape", "bytes"});
  for (int64_t i = 0; i < shown; i++) {
    shape_of(shape, &st->tensor[i]);
    zf_human_bytes(bytes, (double)st->tensor[i].bytes);
    zc_table_row(t, (const char *const[]){st->tensor[i].name, st->tensor[i].dtype, shape, bytes});
  }
  zc_table_print(t, 1);
  if (shown < st->count)
    printf("... and %lld more: --all shows them\n", (long long)(st->count - shown));
}

static void store_facts(struct facts *f, const struct zf_st *st) {
  int64_t elements = 0, bytes = 0;
  char text[64];
  for (int64_t i = 0; i < st->count; i++) {
    elements += st->tensor[i].count;
    bytes += (int64_t)st->tensor[i].bytes;
  }
  count(f, "files", st->nfile);
  count(f, "tensors_in_file", st->count);
  number(f, "elements", elements, zc_count(text, (double)elements));
  number(f, "bytes", bytes, zf_human_bytes(text, (double)bytes));
  for (int64_t i = 0; i < st->nmetadata; i++) fact(f, st->metadata[2 * i], st->metadata[2 * i + 1]);
}

static int inspect_safetensors(const char *path) {
  struct facts f = {0};
  struct zf_st *st;
  int rc = zf_st_open(&st, path);
  if (rc) return rc;
  fact(&f, "kind", "safetensors");
  store_facts(&f, st);
  tensors(&f, st);
  finish(&f);
  zf_st_free(st);
  return 0;
}

/* --- a model directory --- */

static void config_facts(struct facts *f, const struct zf_config *c) {
  fact(f, "family", c->family->model_type);
  count(f, "layers", c->layers);
  count(f, "hidden", c->hidden);
  count(f, "heads", c->heads);
  count(f, "kv_heads", c->kv_heads);
  count(f, "head_dim", c->head_dim);
  count(f, "ffn", c->ffn);
  count(f, "vocabulary", c->vocab);
  count(f, "context", c->context);
  fact(f, "activation", zf_act_names[c->act]);
  fact(f, "position", c->family->pos == ZF_POS_ROPE ? zf_rope_names[c->rope[0].kind] : "learned");
  fact(f, "norm", c->family->norm == ZF_NORM_RMS ? "RMSNorm" : "LayerNorm");
  fact(f, "order", c->post_norm ? "post-norm" : "pre-norm");
  const char *head = c->tied ? "tied to the embedding" : "its own";
  fact(f, "head", c->headless ? "none" : head);
}

/* --- its tokenizer --- */

static void special_fact(struct facts *f, const struct zf_tok *tok, const char *name,
                         enum zf_special which) {
  struct zf_special_token s = zf_tok_special(tok, which);
  const char *piece = s.id >= 0 ? zf_tok_piece(tok, s.id) : NULL;
  if (zc_common.json) {
    zf_buf_printf(&f->json, ", \"%s\": {\"id\": %d, \"token\": ", name, s.id);
    zc_json_text(&f->json, piece ? piece : "", piece ? strlen(piece) : 0);
    zf_buf_puts(&f->json, ", \"from\": ");
    zc_json_text(&f->json, s.from ? s.from : "", s.from ? strlen(s.from) : 0);
    zf_buf_puts(&f->json, "}");
  } else if (s.id < 0) {
    printf("%-12s none\n", name);
  } else {
    printf("%-12s %s (%d), from %s\n", name, piece ? piece : "?", s.id, s.from);
  }
}

/* What ends a text in generation. */
static void ends_fact(struct facts *f, const struct zf_tok *tok) {
  const char *from;
  const struct zf_ids *ends = zf_tok_ends(tok, &from);
  struct zf_buf b = {0};
  zf_buf_puts(&b, ends->count ? "" : "none");
  for (int64_t i = 0; i < ends->count; i++) {
    const char *piece = zc_common.json ? NULL : zf_tok_piece(tok, ends->id[i]);
    zf_buf_printf(&b, piece ? "%s%d %s" : "%s%d", i ? ", " : "", ends->id[i], piece);
  }
  if (zc_common.json)
    zf_buf_printf(&f->json, ", \"ends\": [%s]", ends->count ? b.data : "");
  else
    printf("%-12s %s%s%s\n", "ends", b.data, ends->count ? ", from " : "", ends->count ? from : "");
  zf_buf_free(&b);
}

static void tokenizer_facts(struct facts *f, const struct zf_tok *tok, int64_t vocab) {
  char text[96];
  int64_t n = zf_tok_size(tok);
  fact(f, "tokenizer", zf_tok_type(tok));
  if (n > vocab)
    snprintf(text, sizeof text, "%lld, of which the model knows %lld", (long long)n,
             (long long)vocab);
  else
    snprintf(text, sizeof text, "%lld", (long long)n);
  number(f, "token_ids", n, text);
  special_fact(f, tok, "bos", ZF_BOS);
  special_fact(f, tok, "eos", ZF_EOS);
  special_fact(f, tok, "pad", ZF_PAD);
  ends_fact(f, tok);
}

static int inspect_model(const char *name) {
  struct facts f = {0};
  struct zf_model *m = NULL;
  struct zf_tok *tok = NULL;
  char hash[33], text[64];
  int rc = zc_open_model_as(&m, &tok, name, &(struct zf_model_opts){.dtype = -1, .headless = 1});
  if (!rc) rc = zf_model_hash(m, hash);
  if (!rc) {
    int64_t n = zf_params_count(&m->params, 0);
    fact(&f, "kind", "model");
    fact(&f, "path", m->dir);
    config_facts(&f, &m->config);
    number(&f, "parameters", n, zc_count(text, (double)n));
    store_facts(&f, m->st);
    count(&f, "unused", m->ignored);
    tokenizer_facts(&f, tok, m->config.vocab);
    fact(&f, "hash", hash);
    fact(&f, "checks", "all wanted tensors present, shapes as config.json says, values finite");
    tensors(&f, m->st);
    finish(&f);
  }
  zf_tok_free(tok);
  zf_model_free(m);
  return rc;
}

/* --- a step log --- */

static int inspect_log(const char *path) {
  struct facts f = {0};
  struct zf_log_reader *r = NULL;
  struct zf_log_head head;
  struct zf_log_rec step = {0};
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  char text[64];
  int64_t n = 0, marks = 0;
  int more = 1, rc = zf_log_open(&r, path, &head);
  if (rc) return rc;
  fact(&f, "kind", "step log");
  snprintf(text, sizeof text, "%llu", (unsigned long long)head.zo.seed);
  fact(&f, "seed", text);
  snprintf(text, sizeof text, "%g", head.zo.eps);
  fact(&f, "eps", text);
  count(&f, "probes", head.zo.probes);
  fact(&f, "kernels", head.kernels);
  fact(&f, "base_hash", head.base);
  fact(&f, "data_hash", head.data);
  fact(&f, "files_hash", head.tok);
  fact(&f, "config_hash", head.config);
  fact(&f, "trainable", head.globs);
  fact(&f, "trained_as", zf_dtype_info((enum zf_dtype)head.trained)->name);
  count(&f, "record_bytes", zf_log_record_size(head.zo.probes));
  while (!(rc = zf_log_next(r, &step, probe, &more)) && more) {
    if (step.kind == ZF_LOG_MARK) {
      marks++;
      if (all && !zc_common.json) printf("%8u  weights %s\n", step.step, step.hash);
      continue;
    }
    n++;
    if (all && !zc_common.json)
      printf("%8u  loss %.6f / %.6f  g %12.6g  lr %g\n", step.step, probe[0].plus, probe[0].minus,
             probe[0].projected_gradient, step.lr);
  }
  count(&f, "steps", n);
  count(&f, "marks", marks);
  if (rc) fact(&f, "end", zf_log_torn(r) ? "torn: the last record is not whole" : "damaged");
  if (!rc) fact(&f, "checks", "every record's checksum is right");
  finish(&f);
  zf_log_reader_free(r);
  return rc;
}

/* --- data, tokenizer --- */

static int inspect_data(const char *path) {
  struct facts f = {0};
  struct zf_records *r;
  int rc = zf_records_open(&r, path);
  if (rc) return rc;
  fact(&f, "kind", "data");
  count(&f, "rows", r->count);
  json_t *first = r->count ? (json_t *)zf_records_row(r, 0) : NULL;
  if (first) {
    struct zf_buf b = {0};
    const char *key;
    json_t *v;
    json_object_foreach(first, key, v) zf_buf_printf(&b, "%s%s", b.len ? ", " : "", key);
    fact(&f, "fields", b.data ? b.data : "");
    zf_buf_free(&b);
  }
  finish(&f);
  zf_records_free(r);
  return 0;
}

static int inspect_tokenizer(const char *path) {
  struct facts f = {0};
  struct zf_tok *tok;
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, (size_t)1 << 30);
  if (!rc) rc = zf_tok_parse(&tok, text, len, path);
  free(text);
  if (rc) return rc;
  fact(&f, "kind", "tokenizer");
  fact(&f, "type", zf_tok_type(tok));
  count(&f, "token_ids", zf_tok_size(tok));
  finish(&f);
  zf_tok_free(tok);
  return 0;
}

static const struct {
  const char *ending;
  int (*inspect)(const char *path);
} kinds[] = {
    {".safetensors", inspect_safetensors},
    {".log", inspect_log},
    {"tokenizer.json", inspect_tokenizer},
    {".jsonl", inspect_data},
    {".ndjson", inspect_data},
    {".json", inspect_data},
    {".csv", inspect_data},
    {".tsv", inspect_data},
    {".txt", inspect_data},
};

static int run(const struct zc_args *a) {
  if (a->nword != 1 || a->nset) return zf_error(ZF_EUSAGE, "expected: zoft inspect PATH");
  const char *path = a->word[0];
  size_t n = zf_compressed_stem(path);
  if (zf_exists(path) && !zf_is_dir(path))
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      size_t m = strlen(kinds[i].ending);
      if (n >= m && !strncmp(path + n - m, kinds[i].ending, m)) return kinds[i].inspect(path);
    }
  return inspect_model(path);
}

const struct zc_command zc_inspect = {
    "inspect",
    "what is in a model, weights file, tokenizer, data file or step log",
    "zoft inspect PATH|ORG/NAME [--all] [--json]",
    "Opens the thing as every other command would, with all checks, and says what it found.\n\n"
    "Examples:\n"
    "  zoft inspect out/demo\n"
    "  zoft inspect out/demo/model.safetensors --all\n"
    "  zoft inspect model.gguf\n"
    "  zoft inspect out/demo/steps.log\n",
    options,
    run,
};
