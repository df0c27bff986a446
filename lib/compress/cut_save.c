/* Writes what is left of a model as a smaller one. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "compress/cut_internal.h"
#include "eval/export.h"
#include "fmt/json.h"
#include "fmt/safetensors.h"

/* Indices along one dimension that stay; NULL: all. */
struct kept_indices {
  int64_t *index;
  int64_t count;
};

struct cut_writer {
  const struct zf_cut *cut;
  struct zf_st_out *out;
  int32_t *param; /* of each written tensor */
  int64_t count;
};

/* --- what stays of a parameter --- */

/* The operation that reads the parameter, as its weight or bias; NULL: none. */
static const struct zf_op *reader_of(const struct zf_model *model, int32_t number) {
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    if (op->weight == number || op->bias == number) return op;
  }
  return NULL;
}

static int reserve(struct kept_indices *kept, int64_t count) {
  kept->index = zf_calloc(count, sizeof *kept->index);
  return kept->index ? 0 : ZF_ENOMEM;
}

static void add_run(struct kept_indices *kept, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; i++) kept->index[kept->count++] = first + i;
}

/* Columns of the MLP in the `parts` parts of a matrix' rows. */
static int keep_columns(struct kept_indices *kept, const struct zf_cut *cut, int64_t layer,
                        int64_t parts) {
  const int32_t *column = cut->column + layer * cut->columns;
  int rc = reserve(kept, parts * cut->columns);
  for (int64_t part = 0; part < parts && !rc; part++)
    for (int64_t i = 0; i < cut->columns; i++)
      add_run(kept, part * cut->model->config.ffn + column[i], 1);
  return rc;
}

/* Rows of heads: those of `size` query or key/value heads of each group, from row `first` on. */
static void add_heads(struct kept_indices *kept, const struct zf_cut *cut, int64_t layer,
                      int64_t size, int64_t first) {
  int64_t dim = cut->model->config.head_dim;
  for (int64_t i = 0; i < cut->groups; i++)
    add_run(kept, first + cut->group[layer * cut->groups + i] * size * dim, size * dim);
}

static int keep_heads(struct kept_indices *kept, const struct zf_cut *cut, int64_t layer,
                      enum zf_role role) {
  const struct zf_config *config = &cut->model->config;
  int64_t shared = config->heads / config->kv_heads, dim = config->head_dim,
          queries = config->heads * dim, values = config->kv_heads * dim;
  int rc = reserve(kept, queries + 2 * values);
  if (rc) return rc;
  if (role != ZF_ROLE_KEY && role != ZF_ROLE_VALUE) add_heads(kept, cut, layer, shared, 0);
  if (role == ZF_ROLE_KEY || role == ZF_ROLE_VALUE) add_heads(kept, cut, layer, 1, 0);
  if (role != ZF_ROLE_QKV) return 0;
  add_heads(kept, cut, layer, 1, queries);
  add_heads(kept, cut, layer, 1, queries + values);
  return 0;
}

static int keep_tokens(struct kept_indices *kept, const struct zf_cut *cut) {
  if (!cut->token) return 0;
  int rc = reserve(kept, cut->tokens);
  for (int64_t i = 0; i < cut->tokens && !rc; i++) add_run(kept, cut->token[i], 1);
  return rc;
}

/* Outputs and inputs of the parameter, as a product sees it, that stay. */
static int keep_of(struct kept_indices kept[2], const struct zf_cut *cut, int32_t number) {
  const struct zf_plan *plan = &cut->model->plan;
  const struct zf_op *op = reader_of(cut->model, number);
  int is_table =
      number == plan->head || number == plan->head_bias || (op && op->kind == ZF_OP_EMBED);
  kept[0] = kept[1] = (struct kept_indices){0};
  if (is_table) return keep_tokens(&kept[0], cut);
  if (!op || op->kind != ZF_OP_LINEAR || op->layer < 0) return 0;
  int is_bias = op->bias == number;
  switch (op->role) {
    case ZF_ROLE_GATE:
    case ZF_ROLE_UP:
      return keep_columns(&kept[0], cut, op->layer, 1);
    case ZF_ROLE_GATE_UP:
      return keep_columns(&kept[0], cut, op->layer, 2);
    case ZF_ROLE_DOWN:
      return is_bias ? 0 : keep_columns(&kept[1], cut, op->layer, 1);
    case ZF_ROLE_QUERY:
    case ZF_ROLE_KEY:
    case ZF_ROLE_VALUE:
    case ZF_ROLE_QKV:
      return keep_heads(&kept[0], cut, op->layer, op->role);
    case ZF_ROLE_OUTPUT:
      return is_bias ? 0 : keep_heads(&kept[1], cut, op->layer, ZF_ROLE_OUTPUT);
    default:
      return 0;
  }
}

static void release(struct kept_indices kept[2]) {
  free(kept[0].index);
  free(kept[1].index);
}

/* --- weights --- */

static int64_t layer_of(const struct zf_cut *cut, int32_t number) {
  const struct zf_op *op = reader_of(cut->model, number);
  return op ? op->layer : -1;
}

/* The name with the number of the layer among those that stay. */
static char *new_name(const struct zf_cut *cut, int32_t number) {
  const char *name = cut->model->params.param[number].name;
  int64_t layer = layer_of(cut, number), before = 0;
  char old[32];
  for (int64_t i = 0; i < layer; i++) before += cut->layer[i];
  snprintf(old, sizeof old, ".%lld.", (long long)layer);
  const char *at = layer < 0 ? NULL : strstr(name, old);
  if (!at) return zf_strdup(name);
  return zf_asprintf("%.*s.%lld.%s", (int)(at - name), name, (long long)before, at + strlen(old));
}

static int declare(struct cut_writer *writer, int32_t number, enum zf_dtype type) {
  const struct zf_param *param = &writer->cut->model->params.param[number];
  struct zf_st_out *out = &writer->out[writer->count];
  struct kept_indices kept[2];
  int rc = keep_of(kept, writer->cut, number);
  *out =
      (struct zf_st_out){.name = new_name(writer->cut, number), .type = type, .ndim = param->ndim};
  if (!rc && !out->name) rc = ZF_ENOMEM;
  memcpy(out->shape, param->shape, (size_t)param->ndim * sizeof *param->shape);
  for (int i = 0; i < 2; i++)
    if (kept[i].index) out->shape[param->transposed ? 1 - i : i] = kept[i].count;
  writer->param[writer->count++] = number;
  release(kept);
  return rc;
}

/* Writes one stored row, its kept columns. */
static void write_row(FILE *file, const struct zf_param *param, int64_t row, int64_t width,
                      const struct kept_indices *columns, enum zf_dtype type, float *value,
                      void *stored) {
  zf_to_f32(value, (const char *)param->data + zf_dtype_bytes(param->type, row * width),
            param->type, width);
  int64_t count = columns->index ? columns->count : width;
  for (int64_t i = 0; columns->index && i < count; i++) value[i] = value[columns->index[i]];
  zf_from_f32(stored, value, type, count);
  fwrite(stored, zf_dtype_bytes(type, count), 1, file);
}

static int write_tensor(void *ctx, int64_t number, FILE *file) {
  const struct cut_writer *writer = ctx;
  const struct zf_param *param = &writer->cut->model->params.param[writer->param[number]];
  struct kept_indices kept[2];
  int rc = keep_of(kept, writer->cut, writer->param[number]);
  int64_t width = param->ndim == 1 ? 1 : param->shape[1];
  const struct kept_indices *rows = &kept[param->transposed ? 1 : 0],
                            *columns = &kept[param->transposed ? 0 : 1];
  float *value = zf_calloc(width, sizeof *value), *stored = zf_calloc(width, sizeof *stored);
  if (!value || !stored) rc = ZF_ENOMEM;
  int64_t count = rows->index ? rows->count : param->count / width;
  for (int64_t i = 0; i < count && !rc; i++)
    write_row(file, param, rows->index ? rows->index[i] : i, width, columns,
              writer->out[number].type, value, stored);
  free(value);
  free(stored);
  release(kept);
  return rc;
}

static int save_weights(const struct zf_cut *cut, const char *dir, enum zf_dtype type) {
  static const char *const metadata[] = {"format", "pt"};
  int64_t wanted = cut->model->plan.wanted_count;
  struct cut_writer writer = {.cut = cut};
  char *path = zf_path_join(dir, "model.safetensors");
  writer.out = zf_calloc(wanted, sizeof *writer.out);
  writer.param = zf_calloc(wanted, sizeof *writer.param);
  int rc = path && writer.out && writer.param ? 0 : ZF_ENOMEM;
  for (int32_t i = 0; i < wanted && !rc; i++) {
    int64_t layer = layer_of(cut, i);
    if (layer < 0 || cut->layer[layer]) rc = declare(&writer, i, type);
  }
  if (!rc) rc = zf_st_write(path, writer.out, writer.count, metadata, 1, write_tensor, &writer);
  for (int64_t i = 0; writer.out && i < writer.count; i++) free((char *)writer.out[i].name);
  free(writer.out);
  free(writer.param);
  free(path);
  return rc;
}

/* --- config.json --- */

static void set_number(json_t *sizes, const char *key, int64_t number) {
  if (key) json_object_set_new(sizes, key, json_integer(number));
}

/* Lists with an entry for each layer, explicit where a rule by the layer's number gave the entries. */
static void set_lists(const struct zf_cut *cut, json_t *sizes) {
  const struct zf_config *config = &cut->model->config;
  json_t *types = json_array(), *ropes = json_array();
  int local = 0, without = 0;
  for (int64_t i = 0; i < config->layers; i++) {
    if (!cut->layer[i]) continue;
    int is_local = config->layer[i] & ZF_LAYER_LOCAL, is_nope = config->layer[i] & ZF_LAYER_NOPE;
    local |= is_local;
    without |= is_nope;
    json_array_append_new(types, json_string(is_local ? "sliding_attention" : "full_attention"));
    json_array_append_new(ropes, json_integer(!is_nope));
  }
  if (local || json_object_get(sizes, "layer_types")) json_object_set(sizes, "layer_types", types);
  if (without && config->family->k_nope) json_object_set(sizes, config->family->k_nope, ropes);
  json_decref(types);
  json_decref(ropes);
}

static int save_config(const struct zf_cut *cut, const char *dir, enum zf_dtype type) {
  const struct zf_config *config = &cut->model->config;
  const struct zf_family *family = config->family;
  int64_t layers = 0, shared = config->heads / config->kv_heads;
  json_t *root = NULL;
  int rc = zf_model_config_json(&root, cut->model, (int)type);
  json_t *sizes = family->nest ? json_object_get(root, family->nest) : root;
  for (int64_t i = 0; i < config->layers; i++) layers += cut->layer[i];
  if (!rc) {
    if (cut->columns != config->ffn) set_number(sizes, family->k_ffn, cut->columns);
    if (cut->groups != config->kv_heads) {
      set_number(sizes, family->k_head_dim, config->head_dim);
      set_number(sizes, family->k_heads, cut->groups * shared);
      set_number(sizes, family->k_kv_heads, cut->groups);
    }
    set_number(sizes, family->k_layers, layers);
    if (layers != config->layers) set_lists(cut, sizes);
    if (cut->token) set_number(sizes, "vocab_size", cut->tokens);
    if (cut->token) rc = zf_cut_ids(cut, sizes);
    if (cut->token && sizes != root) rc = zf_cut_ids(cut, root);
  }
  char *path = zf_path_join(dir, "config.json"),
       *text = root ? zf_json_dump(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
  if (!rc) rc = path && text ? zf_write_file(path, text, strlen(text)) : ZF_ENOMEM;
  json_decref(root);
  free(path);
  free(text);
  return rc;
}

int zf_cut_save(const struct zf_cut *cut, const struct zf_tok *tok, const char *dir,
                enum zf_dtype type) {
  int rc = zf_mkdirs(dir);
  if (!rc) rc = zf_export_sidecars(dir, cut->model, tok);
  if (!rc) rc = zf_cut_tokenizer(cut, dir);
  if (!rc) rc = save_config(cut, dir, type);
  return rc ? rc : save_weights(cut, dir, type);
}
