/* zoft inspect: shows what a file holds.  A kind of file is a row of the table at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "fmt/compressed.h"
#include "fmt/records.h"
#include "inspect_internal.h"
#include "load.h"
#include "peft/adapter.h"
#include "train/steplog.h"
#include "ui.h"

static int all;
static const char *base;

static const struct zc_opt options[] = {
    {"all", 'a', ZC_FLAG, NULL, "every tensor or record, not a summary", &all},
    {"base", 0, ZC_STR, "MODEL", "an adapter's base model (the one it names)", &base},
    {0},
};

void zc_put_text(struct inspect_output *out, const char *name, const char *value) {
  if (!zc_common.json) {
    printf("%-12s %s\n", name, value);
    return;
  }
  zf_buf_printf(&out->json, "%s\"%s\": ", out->json.len ? ", " : "", name);
  zc_json_text(&out->json, value, strlen(value));
}

void zc_put_number(struct inspect_output *out, const char *name, int64_t value, const char *text) {
  if (zc_common.json)
    zf_buf_printf(&out->json, "%s\"%s\": %lld", out->json.len ? ", " : "", name, (long long)value);
  else
    printf("%-12s %s\n", name, text);
}

void zc_put_value(struct inspect_output *out, const char *name, const char *text) {
  if (zc_common.json)
    zf_buf_printf(&out->json, "%s\"%s\": %s", out->json.len ? ", " : "", name, text);
  else
    printf("%-12s %s\n", name, text);
}

void zc_put_count(struct inspect_output *out, const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)value);
  zc_put_number(out, name, value, text);
}

void zc_put_end(struct inspect_output *out) {
  if (zc_common.json) printf("{%s}\n", out->json.data ? out->json.data : "");
  zf_buf_free(&out->json);
}

/* --- tensors --- */

static void shape_of(char text[96], const struct zf_st_tensor *tensor) {
  size_t len = 0;
  text[len++] = '[';
  for (int i = 0; i < tensor->ndim; i++) {
    if (len >= 80) break;
    len += (size_t)snprintf(text + len, 96 - len, "%s%lld", i ? ", " : "",
                            (long long)tensor->shape[i]);
  }
  snprintf(text + len, 96 - len, "]");
}

static void put_tensors(struct inspect_output *out, const struct zf_st *st) {
  enum { MAX_SHOWN = 12 };
  int64_t shown = all || st->count <= MAX_SHOWN ? st->count : MAX_SHOWN;
  char shape[96], bytes[32];
  if (zc_common.json) {
    zf_buf_puts(&out->json, ", \"tensors\": [");
    for (int64_t i = 0; i < st->count; i++) {
      shape_of(shape, &st->tensor[i]);
      zf_buf_printf(&out->json, "%s{\"name\": ", i ? ", " : "");
      zc_json_text(&out->json, st->tensor[i].name, strlen(st->tensor[i].name));
      zf_buf_printf(&out->json, ", \"dtype\": \"%s\", \"shape\": %s}", st->tensor[i].dtype, shape);
    }
    zf_buf_puts(&out->json, "]");
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

static void put_store(struct inspect_output *out, const struct zf_st *st) {
  int64_t elements = 0, bytes = 0;
  char text[64];
  for (int64_t i = 0; i < st->count; i++) {
    elements += st->tensor[i].count;
    bytes += (int64_t)st->tensor[i].bytes;
  }
  zc_put_count(out, "files", st->file_count);
  zc_put_count(out, "tensors_in_file", st->count);
  zc_put_number(out, "elements", elements, zc_count(text, (double)elements));
  zc_put_number(out, "bytes", bytes, zf_human_bytes(text, (double)bytes));
  for (int64_t i = 0; i < st->metadata_count; i++)
    zc_put_text(out, st->metadata[2 * i], st->metadata[2 * i + 1]);
}

static int inspect_safetensors(const char *path) {
  struct inspect_output out = {0};
  struct zf_st *st;
  int rc = zf_st_open(&st, path);
  if (rc) return rc;
  zc_put_text(&out, "kind", "safetensors");
  put_store(&out, st);
  put_tensors(&out, st);
  zc_put_end(&out);
  zf_st_free(st);
  return 0;
}

/* --- a model directory --- */

static void put_config(struct inspect_output *out, const struct zf_config *config) {
  zc_put_text(out, "family", config->family->model_type);
  zc_put_count(out, "layers", config->layers);
  zc_put_count(out, "hidden", config->hidden);
  zc_put_count(out, "heads", config->heads);
  zc_put_count(out, "kv_heads", config->kv_heads);
  zc_put_count(out, "head_dim", config->head_dim);
  zc_put_count(out, "ffn", config->ffn);
  zc_put_count(out, "vocabulary", config->vocab);
  zc_put_count(out, "context", config->context);
  zc_put_text(out, "activation", zf_act_names[config->act]);
  zc_put_text(out, "position",
              config->family->pos == ZF_POS_ROPE ? zf_rope_names[config->rope[0].kind] : "learned");
  zc_put_text(out, "norm", config->family->norm == ZF_NORM_RMS ? "RMSNorm" : "LayerNorm");
  zc_put_text(out, "order", config->post_norm ? "post-norm" : "pre-norm");
  const char *head = config->tied ? "tied to the embedding" : "its own";
  zc_put_text(out, "head", config->headless ? "none" : head);
}

/* --- the tokenizer of a model --- */

static void put_special(struct inspect_output *out, const struct zf_tok *tok, const char *name,
                        enum zf_special special) {
  struct zf_special_token token = zf_tok_special(tok, special);
  const char *piece = token.id >= 0 ? zf_tok_piece(tok, token.id) : NULL;
  if (zc_common.json) {
    zf_buf_printf(&out->json, ", \"%s\": {\"id\": %d, \"token\": ", name, token.id);
    zc_json_text(&out->json, piece ? piece : "", piece ? strlen(piece) : 0);
    zf_buf_puts(&out->json, ", \"from\": ");
    zc_json_text(&out->json, token.source ? token.source : "",
                 token.source ? strlen(token.source) : 0);
    zf_buf_puts(&out->json, "}");
  } else if (token.id < 0) {
    printf("%-12s none\n", name);
  } else {
    printf("%-12s %s (%d), from %s\n", name, piece ? piece : "?", token.id, token.source);
  }
}

/* The tokens that end a text in generation. */
static void put_ends(struct inspect_output *out, const struct zf_tok *tok) {
  const char *from;
  const struct zf_ids *ends = zf_tok_end_ids(tok, &from);
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, ends->count ? "" : "none");
  for (int64_t i = 0; i < ends->count; i++) {
    const char *piece = zc_common.json ? NULL : zf_tok_piece(tok, ends->id[i]);
    zf_buf_printf(&buf, piece ? "%s%d %s" : "%s%d", i ? ", " : "", ends->id[i], piece);
  }
  if (zc_common.json)
    zf_buf_printf(&out->json, ", \"ends\": [%s]", ends->count ? buf.data : "");
  else
    printf("%-12s %s%s%s\n", "ends", buf.data, ends->count ? ", from " : "",
           ends->count ? from : "");
  zf_buf_free(&buf);
}

static void put_tokenizer(struct inspect_output *out, const struct zf_tok *tok, int64_t vocab) {
  char text[96];
  int64_t size = zf_tok_size(tok);
  zc_put_text(out, "tokenizer", zf_tok_type(tok));
  if (size > vocab)
    snprintf(text, sizeof text, "%lld, of which the model knows %lld", (long long)size,
             (long long)vocab);
  else
    snprintf(text, sizeof text, "%lld", (long long)size);
  zc_put_number(out, "token_ids", size, text);
  put_special(out, tok, "bos", ZF_BOS);
  put_special(out, tok, "eos", ZF_EOS);
  put_special(out, tok, "pad", ZF_PAD);
  put_ends(out, tok);
}

static int inspect_model(const char *name) {
  struct inspect_output out = {0};
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  char hash[33], text[64];
  int rc =
      zc_open_model_as(&model, &tok, name, &(struct zf_model_opts){.dtype = -1, .headless = 1});
  if (!rc) rc = zf_model_hash(model, hash);
  if (!rc) {
    int64_t parameters = zf_params_count(&model->params, 0);
    zc_put_text(&out, "kind", "model");
    zc_put_text(&out, "path", model->dir);
    put_config(&out, &model->config);
    zc_put_number(&out, "parameters", parameters, zc_count(text, (double)parameters));
    put_store(&out, model->st);
    zc_put_count(&out, "unused", model->ignored);
    put_tokenizer(&out, tok, model->config.vocab);
    zc_put_text(&out, "hash", hash);
    zc_put_text(&out, "checks",
                "all wanted tensors present, shapes as in config.json, values finite");
    put_tensors(&out, model->st);
    zc_put_end(&out);
  }
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

/* --- a step log --- */

static int inspect_log(const char *path) {
  struct inspect_output out = {0};
  struct zf_log_reader *reader = NULL;
  struct zf_log_head head;
  struct zf_log_rec step = {0};
  struct zf_zo_estimate estimate = {0};
  double loss, square;
  char text[64];
  int64_t steps = 0, marks = 0;
  int has_next = 1, rc = zf_log_open(&reader, path, &head);
  if (rc) return rc;
  estimate.loss = zf_calloc(zf_zo_losses(&head.zo), sizeof *estimate.loss);
  estimate.term = zf_calloc(zf_zo_terms(&head.zo), sizeof *estimate.term);
  if (!estimate.loss || !estimate.term) {
    free(estimate.loss);
    free(estimate.term);
    zf_log_reader_free(reader);
    return ZF_ENOMEM;
  }
  zc_put_text(&out, "kind", "step log");
  snprintf(text, sizeof text, "%llu", (unsigned long long)head.zo.seed);
  zc_put_text(&out, "seed", text);
  snprintf(text, sizeof text, "%g", head.zo.eps);
  zc_put_text(&out, "eps", text);
  zc_put_count(&out, "probes", head.zo.probes);
  if (head.zo.examples) zc_put_count(&out, "examples", head.zo.examples);
  if (head.zo.form != ZF_FORM_DENSE) zc_put_text(&out, "directions", zf_zo_form_name(&head.zo));
  if (head.zo.difference != ZF_DIFFERENCE_CENTRAL)
    zc_put_text(&out, "difference", zf_zo_difference_name(&head.zo));
  if (head.zo.rule != ZF_RULE_SGD) zc_put_text(&out, "rule", zf_zo_rule_name(&head.zo));
  zc_put_text(&out, "kernels", head.kernels);
  zc_put_text(&out, "base_hash", head.base);
  zc_put_text(&out, "data_hash", head.data);
  zc_put_text(&out, "files_hash", head.tok);
  zc_put_text(&out, "config_hash", head.config);
  zc_put_text(&out, "trainable", head.globs);
  zc_put_text(&out, "trained_as", zf_dtype_info((enum zf_dtype)head.trained)->name);
  zc_put_count(&out, "record_bytes", zf_log_record_size(&head.zo));
  while (!(rc = zf_log_next(reader, &step, &estimate, &has_next)) && has_next) {
    if (step.kind == ZF_LOG_MARK) {
      marks++;
      if (all && !zc_common.json) printf("%8u  weights %s\n", step.step, step.hash);
      continue;
    }
    steps++;
    if (!all || zc_common.json) continue;
    zf_zo_summary(&head.zo, &estimate, &loss, &square);
    if (head.zo.difference == ZF_DIFFERENCE_CENTRAL)
      printf("%8u  loss %.6f / %.6f", step.step, estimate.loss[0], estimate.loss[1]);
    else
      printf("%8u  loss %.6f", step.step, loss);
    printf("  g %12.6g  lr %g\n", zf_zo_gradient(&head.zo, &estimate, 0), step.lr);
  }
  zc_put_count(&out, "steps", steps);
  zc_put_count(&out, "marks", marks);
  if (rc)
    zc_put_text(&out, "end",
                zf_log_torn(reader) ? "torn: the last record is not whole" : "damaged");
  if (!rc) zc_put_text(&out, "checks", "every record's checksum is right");
  zc_put_end(&out);
  free(estimate.loss);
  free(estimate.term);
  zf_log_reader_free(reader);
  return rc;
}

/* --- data, tokenizer --- */

static int inspect_data(const char *path) {
  struct inspect_output out = {0};
  struct zf_records *records;
  int rc = zf_records_open(&records, path);
  if (rc) return rc;
  zc_put_text(&out, "kind", "data");
  zc_put_count(&out, "rows", records->count);
  json_t *first = records->count ? (json_t *)zf_records_row(records, 0) : NULL;
  if (first) {
    struct zf_buf buf = {0};
    const char *key;
    json_t *value;
    json_object_foreach(first, key, value) zf_buf_printf(&buf, "%s%s", buf.len ? ", " : "", key);
    zc_put_text(&out, "fields", buf.data ? buf.data : "");
    zf_buf_free(&buf);
  }
  zc_put_end(&out);
  zf_records_free(records);
  return 0;
}

static int inspect_tokenizer(const char *path) {
  struct inspect_output out = {0};
  struct zf_tok *tok;
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, (size_t)1 << 30);
  if (!rc) rc = zf_tok_parse(&tok, text, len, path);
  free(text);
  if (rc) return rc;
  zc_put_text(&out, "kind", "tokenizer");
  zc_put_text(&out, "type", zf_tok_type(tok));
  zc_put_count(&out, "token_ids", zf_tok_size(tok));
  zc_put_end(&out);
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
  size_t stem = zf_compressed_stem_len(path);
  if (zf_adapter_probe(path)) return zc_inspect_adapter(path, base, all);
  if (base) return zf_error(ZF_EUSAGE, "--base is for adapters, and %s is none", path);
  if (zf_exists(path) && !zf_is_dir(path))
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      size_t len = strlen(kinds[i].ending);
      if (stem >= len && !strncmp(path + stem - len, kinds[i].ending, len))
        return kinds[i].inspect(path);
    }
  return inspect_model(path);
}

const struct zc_command zc_inspect = {
    "inspect",
    "what is in a model, adapter, weights file, tokenizer, data file or step log",
    "zoft inspect PATH|ORG/NAME [--all] [--base MODEL] [--json]",
    "Opens the file as every other command does, with all checks, and shows what it holds.\n\n"
    "Examples:\n"
    "  zoft inspect out/demo\n"
    "  zoft inspect out/demo/model.safetensors --all\n"
    "  zoft inspect model.gguf\n"
    "  zoft inspect out/lora\n"
    "  zoft inspect out/demo/steps.log\n",
    options,
    run,
};
