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

static void fact(struct facts *facts, const char *name, const char *value) {
  if (!zc_common.json) {
    printf("%-12s %s\n", name, value);
    return;
  }
  zf_buf_printf(&facts->json, "%s\"%s\": ", facts->json.len ? ", " : "", name);
  zc_json_text(&facts->json, value, strlen(value));
}

static void number(struct facts *facts, const char *name, int64_t v, const char *shown) {
  if (zc_common.json)
    zf_buf_printf(&facts->json, "%s\"%s\": %lld", facts->json.len ? ", " : "", name, (long long)v);
  else
    printf("%-12s %s\n", name, shown);
}

static void count(struct facts *facts, const char *name, int64_t v) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)v);
  number(facts, name, v, text);
}

static void finish(struct facts *facts) {
  if (zc_common.json) printf("{%s}\n", facts->json.data ? facts->json.data : "");
  zf_buf_free(&facts->json);
}

/* --- tensors --- */

static void shape_of(char out[96], const struct zf_st_tensor *tensor) {
  size_t n = 0;
  out[n++] = '[';
  for (int i = 0; i < tensor->ndim && n < 80; i++)
    n += (size_t)snprintf(out + n, 96 - n, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
  snprintf(out + n, 96 - n, "]");
}

static void tensors(struct facts *facts, const struct zf_st *st) {
  enum { SOME = 12 };
  int64_t shown = all || st->count <= SOME ? st->count : SOME;
  char shape[96], bytes[32];
  if (zc_common.json) {
    zf_buf_puts(&facts->json, ", \"tensors\": [");
    for (int64_t i = 0; i < st->count; i++) {
      shape_of(shape, &st->tensor[i]);
      zf_buf_printf(&facts->json, "%s{\"name\": ", i ? ", " : "");
      zc_json_text(&facts->json, st->tensor[i].name, strlen(st->tensor[i].name));
      zf_buf_printf(&facts->json, ", \"dtype\": \"%s\", \"shape\": %s}", st->tensor[i].dtype,
                    shape);
    }
    zf_buf_puts(&facts->json, "]");
    return;
  }
  putchar('\n');
  struct zc_table *table = zc_table_new("llrr");
  zc_table_row(table, (const char *const[]){"tensor", "dtype", "shape", "bytes"});
  for (int64_t i = 0; i < shown; i++) {
    shape_of(shape, &st->tensor[i]);
    zf_human_bytes(bytes, (double)st->tensor[i].bytes);
    zc_table_row(table,
                 (const char *const[]){st->tensor[i].name, st->tensor[i].dtype, shape, bytes});
  }
  zc_table_print(table, 1);
  if (shown < st->count)
    printf("... and %lld more: --all shows them\n", (long long)(st->count - shown));
}

static void store_facts(struct facts *facts, const struct zf_st *st) {
  int64_t elements = 0, bytes = 0;
  char text[64];
  for (int64_t i = 0; i < st->count; i++) {
    elements += st->tensor[i].count;
    bytes += (int64_t)st->tensor[i].bytes;
  }
  count(facts, "files", st->nfile);
  count(facts, "tensors_in_file", st->count);
  number(facts, "elements", elements, zc_count(text, (double)elements));
  number(facts, "bytes", bytes, zf_human_bytes(text, (double)bytes));
  for (int64_t i = 0; i < st->nmetadata; i++)
    fact(facts, st->metadata[2 * i], st->metadata[2 * i + 1]);
}

static int inspect_safetensors(const char *path) {
  struct facts facts = {0};
  struct zf_st *st;
  int rc = zf_st_open(&st, path);
  if (rc) return rc;
  fact(&facts, "kind", "safetensors");
  store_facts(&facts, st);
  tensors(&facts, st);
  finish(&facts);
  zf_st_free(st);
  return 0;
}

/* --- a model directory --- */

static void config_facts(struct facts *facts, const struct zf_config *config) {
  fact(facts, "family", config->family->model_type);
  count(facts, "layers", config->layers);
  count(facts, "hidden", config->hidden);
  count(facts, "heads", config->heads);
  count(facts, "kv_heads", config->kv_heads);
  count(facts, "head_dim", config->head_dim);
  count(facts, "ffn", config->ffn);
  count(facts, "vocabulary", config->vocab);
  count(facts, "context", config->context);
  fact(facts, "activation", zf_act_names[config->act]);
  fact(facts, "position",
       config->family->pos == ZF_POS_ROPE ? zf_rope_names[config->rope[0].kind] : "learned");
  fact(facts, "norm", config->family->norm == ZF_NORM_RMS ? "RMSNorm" : "LayerNorm");
  fact(facts, "order", config->post_norm ? "post-norm" : "pre-norm");
  const char *head = config->tied ? "tied to the embedding" : "its own";
  fact(facts, "head", config->headless ? "none" : head);
}

/* --- its tokenizer --- */

static void special_fact(struct facts *facts, const struct zf_tok *tok, const char *name,
                         enum zf_special which) {
  struct zf_special_token token = zf_tok_special(tok, which);
  const char *piece = token.id >= 0 ? zf_tok_piece(tok, token.id) : NULL;
  if (zc_common.json) {
    zf_buf_printf(&facts->json, ", \"%s\": {\"id\": %d, \"token\": ", name, token.id);
    zc_json_text(&facts->json, piece ? piece : "", piece ? strlen(piece) : 0);
    zf_buf_puts(&facts->json, ", \"from\": ");
    zc_json_text(&facts->json, token.from ? token.from : "", token.from ? strlen(token.from) : 0);
    zf_buf_puts(&facts->json, "}");
  } else if (token.id < 0) {
    printf("%-12s none\n", name);
  } else {
    printf("%-12s %s (%d), from %s\n", name, piece ? piece : "?", token.id, token.from);
  }
}

/* What ends a text in generation. */
static void ends_fact(struct facts *facts, const struct zf_tok *tok) {
  const char *from;
  const struct zf_ids *ends = zf_tok_ends(tok, &from);
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, ends->count ? "" : "none");
  for (int64_t i = 0; i < ends->count; i++) {
    const char *piece = zc_common.json ? NULL : zf_tok_piece(tok, ends->id[i]);
    zf_buf_printf(&buf, piece ? "%s%d %s" : "%s%d", i ? ", " : "", ends->id[i], piece);
  }
  if (zc_common.json)
    zf_buf_printf(&facts->json, ", \"ends\": [%s]", ends->count ? buf.data : "");
  else
    printf("%-12s %s%s%s\n", "ends", buf.data, ends->count ? ", from " : "",
           ends->count ? from : "");
  zf_buf_free(&buf);
}

static void tokenizer_facts(struct facts *facts, const struct zf_tok *tok, int64_t vocab) {
  char text[96];
  int64_t n = zf_tok_size(tok);
  fact(facts, "tokenizer", zf_tok_type(tok));
  if (n > vocab)
    snprintf(text, sizeof text, "%lld, of which the model knows %lld", (long long)n,
             (long long)vocab);
  else
    snprintf(text, sizeof text, "%lld", (long long)n);
  number(facts, "token_ids", n, text);
  special_fact(facts, tok, "bos", ZF_BOS);
  special_fact(facts, tok, "eos", ZF_EOS);
  special_fact(facts, tok, "pad", ZF_PAD);
  ends_fact(facts, tok);
}

static int inspect_model(const char *name) {
  struct facts facts = {0};
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  char hash[33], text[64];
  int rc =
      zc_open_model_as(&model, &tok, name, &(struct zf_model_opts){.dtype = -1, .headless = 1});
  if (!rc) rc = zf_model_hash(model, hash);
  if (!rc) {
    int64_t n = zf_params_count(&model->params, 0);
    fact(&facts, "kind", "model");
    fact(&facts, "path", model->dir);
    config_facts(&facts, &model->config);
    number(&facts, "parameters", n, zc_count(text, (double)n));
    store_facts(&facts, model->st);
    count(&facts, "unused", model->ignored);
    tokenizer_facts(&facts, tok, model->config.vocab);
    fact(&facts, "hash", hash);
    fact(&facts, "checks", "all wanted tensors present, shapes as config.json says, values finite");
    tensors(&facts, model->st);
    finish(&facts);
  }
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

/* --- a step log --- */

static int inspect_log(const char *path) {
  struct facts facts = {0};
  struct zf_log_reader *reader = NULL;
  struct zf_log_head head;
  struct zf_log_rec step = {0};
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  char text[64];
  int64_t n = 0, marks = 0;
  int more = 1, rc = zf_log_open(&reader, path, &head);
  if (rc) return rc;
  fact(&facts, "kind", "step log");
  snprintf(text, sizeof text, "%llu", (unsigned long long)head.zo.seed);
  fact(&facts, "seed", text);
  snprintf(text, sizeof text, "%g", head.zo.eps);
  fact(&facts, "eps", text);
  count(&facts, "probes", head.zo.probes);
  fact(&facts, "kernels", head.kernels);
  fact(&facts, "base_hash", head.base);
  fact(&facts, "data_hash", head.data);
  fact(&facts, "files_hash", head.tok);
  fact(&facts, "config_hash", head.config);
  fact(&facts, "trainable", head.globs);
  fact(&facts, "trained_as", zf_dtype_info((enum zf_dtype)head.trained)->name);
  count(&facts, "record_bytes", zf_log_record_size(head.zo.probes));
  while (!(rc = zf_log_next(reader, &step, probe, &more)) && more) {
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
  count(&facts, "steps", n);
  count(&facts, "marks", marks);
  if (rc)
    fact(&facts, "end", zf_log_torn(reader) ? "torn: the last record is not whole" : "damaged");
  if (!rc) fact(&facts, "checks", "every record's checksum is right");
  finish(&facts);
  zf_log_reader_free(reader);
  return rc;
}

/* --- data, tokenizer --- */

static int inspect_data(const char *path) {
  struct facts facts = {0};
  struct zf_records *records;
  int rc = zf_records_open(&records, path);
  if (rc) return rc;
  fact(&facts, "kind", "data");
  count(&facts, "rows", records->count);
  json_t *first = records->count ? (json_t *)zf_records_row(records, 0) : NULL;
  if (first) {
    struct zf_buf buf = {0};
    const char *key;
    json_t *value;
    json_object_foreach(first, key, value) zf_buf_printf(&buf, "%s%s", buf.len ? ", " : "", key);
    fact(&facts, "fields", buf.data ? buf.data : "");
    zf_buf_free(&buf);
  }
  finish(&facts);
  zf_records_free(records);
  return 0;
}

static int inspect_tokenizer(const char *path) {
  struct facts facts = {0};
  struct zf_tok *tok;
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, (size_t)1 << 30);
  if (!rc) rc = zf_tok_parse(&tok, text, len, path);
  free(text);
  if (rc) return rc;
  fact(&facts, "kind", "tokenizer");
  fact(&facts, "type", zf_tok_type(tok));
  count(&facts, "token_ids", zf_tok_size(tok));
  finish(&facts);
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

static int run(const struct zc_args *args) {
  if (args->nword != 1 || args->nset) return zf_error(ZF_EUSAGE, "expected: zoft inspect PATH");
  const char *path = args->word[0];
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
