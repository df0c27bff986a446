/* Adapters on disk: what PEFT wrote (tests/golden/peft) is read, with the values that PEFT's own model
 * holds; what is written is read back bit for bit; other formats hold the same products. */
#include "unit/models.h"

#include <jansson.h>
#include <math.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "peft/adapter_file.h"

#define GOLDEN "tests/golden/peft/"

static struct zf_adapter_file *read_golden(const char *name) {
  struct zf_adapter_file *file = NULL;
  char path[256];
  snprintf(path, sizeof path, GOLDEN "%s", name);
  ck_ok(zf_adapter_file_read(&file, path, NULL));
  return file;
}

static float find_value(const struct zf_adapter_file *file, const char *module, const char *part,
                        int64_t index) {
  const struct zf_adapter_tensor *tensor = zf_adapter_file_find(file, module, part);
  ck_assert_msg(tensor && index < tensor->count, "no %s of %s", part, module);
  return tensor->data[index];
}

/* --- what PEFT wrote ------------------------------------------------------------------------- */

static const struct {
  const char *name;
  enum zf_peft_kind kind;
  int64_t more; /* tensors of the file that PEFT does not train: base layers, projections */
} goldens[] = {
    {"lora", ZF_PEFT_LORA, 0},        {"lora_rslora", ZF_PEFT_LORA, 0},
    {"lora_layers", ZF_PEFT_LORA, 0}, {"lora_patterns", ZF_PEFT_LORA, 0},
    {"lora_dora", ZF_PEFT_LORA, 0},   {"lora_conv1d", ZF_PEFT_LORA, 0},
    {"lora_neox", ZF_PEFT_LORA, 0},   {"lora_embed", ZF_PEFT_LORA, 2},
    {"lora_saved", ZF_PEFT_LORA, 0},  {"lora_cls", ZF_PEFT_LORA, 0},
    {"lora_bias", ZF_PEFT_LORA, 0},   {"lora_tokens", ZF_PEFT_LORA, 0},
    {"ia3", ZF_PEFT_IA3, 0},          {"prefix", ZF_PEFT_PREFIX, 0},
    {"prompt", ZF_PEFT_PROMPT, 0},    {"ln", ZF_PEFT_LN, 0},
    {"ln_bias", ZF_PEFT_LN, 0},       {"vera", ZF_PEFT_VERA, 2},
    {"tokens", ZF_PEFT_TOKENS, 0},
};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

/* A row of expected.json: module, part, shape, first and last value. */
static void check_row(const struct zf_adapter_file *file, const json_t *row) {
  const char *module = json_string_value(json_array_get(row, 0)),
             *part = json_string_value(json_array_get(row, 1));
  const json_t *shape = json_array_get(row, 2);
  const struct zf_adapter_tensor *tensor = zf_adapter_file_find(file, module, part);
  ck_assert_msg(tensor != NULL, "%s: no %s of '%s'", file->path, part, module);
  ck_assert_int_eq(tensor->ndim, (int)json_array_size(shape));
  for (int i = 0; i < tensor->ndim; i++)
    ck_assert_int_eq(tensor->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
  ck_assert_double_eq(tensor->data[0], json_number_value(json_array_get(row, 3)));
  ck_assert_double_eq(tensor->data[tensor->count - 1], json_number_value(json_array_get(row, 4)));
}

START_TEST(test_goldens) {
  struct zf_adapter_file *file = read_golden(goldens[_i].name);
  char path[256];
  json_t *rows = NULL;
  snprintf(path, sizeof path, GOLDEN "%s/expected.json", goldens[_i].name);
  ck_ok(zf_json_load(&rows, path));
  ck_assert_int_eq(file->config.kind, goldens[_i].kind);
  ck_assert_str_eq(file->config.base_model, "tiny/base");
  for (size_t i = 0; i < json_array_size(rows); i++) check_row(file, json_array_get(rows, i));
  ck_assert_int_eq(file->count, (int64_t)json_array_size(rows) + goldens[_i].more);
  json_decref(rows);
  zf_adapter_file_free(file);
}
END_TEST

/* --- round trips ----------------------------------------------------------------------------- */

static void compare_files(const struct zf_adapter_file *a, const struct zf_adapter_file *b) {
  ck_assert_int_eq(a->count, b->count);
  for (int64_t i = 0; i < a->count; i++) {
    const struct zf_adapter_tensor *left = &a->tensor[i], *right = &b->tensor[i];
    ck_assert_str_eq(left->module, right->module);
    ck_assert_str_eq(left->part, right->part);
    ck_assert_int_eq(left->ndim, right->ndim);
    ck_assert_int_eq(left->count, right->count);
    ck_assert_int_eq(left->shape[0], right->shape[0]);
    ck_assert_mem_eq(left->data, right->data, (size_t)left->count * sizeof *left->data);
  }
}

static void compare_configs(const struct zf_peft_config *a, const struct zf_peft_config *b) {
  json_t *left = zf_peft_config_json(a), *right = zf_peft_config_json(b);
  char *left_text = json_dumps(left, JSON_SORT_KEYS),
       *right_text = json_dumps(right, JSON_SORT_KEYS);
  ck_assert_str_eq(left_text, right_text);
  free(left_text);
  free(right_text);
  json_decref(left);
  json_decref(right);
}

/* The keys of the written adapter_model.safetensors are PEFT's, and the values of adapter_config.json
 * are those of PEFT's file where both have a key. */
static void compare_with_peft(const char *written, const char *golden) {
  char a[600], b[600];
  struct zf_st *left, *right;
  json_t *ours, *theirs, *value;
  const char *key;
  snprintf(a, sizeof a, "%s/adapter_model.safetensors", written);
  snprintf(b, sizeof b, GOLDEN "%s/adapter_model.safetensors", golden);
  ck_ok(zf_st_open(&left, a));
  ck_ok(zf_st_open(&right, b));
  for (int64_t i = 0; i < left->count; i++) {
    const struct zf_st_tensor *tensor = zf_st_find(right, left->tensor[i].name);
    ck_assert_msg(tensor != NULL, "%s: PEFT has no '%s'", golden, left->tensor[i].name);
    ck_assert_uint_eq(tensor->bytes, left->tensor[i].bytes);
    ck_assert_mem_eq(tensor->data, left->tensor[i].data, tensor->bytes);
  }
  zf_st_free(left);
  zf_st_free(right);
  snprintf(a, sizeof a, "%s/adapter_config.json", written);
  snprintf(b, sizeof b, GOLDEN "%s/adapter_config.json", golden);
  ck_ok(zf_json_load(&ours, a));
  ck_ok(zf_json_load(&theirs, b));
  json_object_foreach(ours, key, value) {
    const json_t *same = json_object_get(theirs, key);
    ck_assert_msg(
        same && (json_equal(value, same) || json_number_value(value) == json_number_value(same)),
        "%s: key '%s' differs", golden, key);
  }
  json_decref(ours);
  json_decref(theirs);
}

START_TEST(test_round_trip) {
  struct zf_adapter_file *file = read_golden(goldens[_i].name), *again = NULL;
  char dir[512];
  snprintf(dir, sizeof dir, "%s", tmp_path(goldens[_i].name));
  ck_ok(zf_adapter_file_write_peft(file, dir, NULL, 0));
  ck_assert_str_eq(zf_adapter_probe(dir), "PEFT");
  ck_ok(zf_adapter_file_read(&again, dir, NULL));
  compare_files(file, again);
  compare_configs(&file->config, &again->config);
  compare_with_peft(dir, goldens[_i].name);
  zf_adapter_file_free(file);
  zf_adapter_file_free(again);
}
END_TEST

/* --- other formats --------------------------------------------------------------------------- */

/* The model of tests/golden/peft/models/NAME, without weights. */
static const struct zf_model *base_of(const char *name) {
  static struct zf_model base;
  char dir[256];
  snprintf(dir, sizeof dir, GOLDEN "models/%s", name);
  memset(&base, 0, sizeof base);
  ck_ok(zf_config_load(&base.config, dir));
  return &base;
}

/* Compares s B A of a module in two files.  B was rounded to f32 once, after a product in double: each
 * term may differ by 2^-24 of itself, and by the rounding of the double sums, which 2^-40 bounds. */
static void compare_delta(const struct zf_adapter_file *file, const struct zf_adapter_file *other,
                          const char *module) {
  const struct zf_adapter_file *files[2] = {file, other};
  const struct zf_adapter_tensor *a[2], *b[2];
  double scale[2];
  for (int f = 0; f < 2; f++) {
    a[f] = zf_adapter_file_find(files[f], module, "lora_A");
    b[f] = zf_adapter_file_find(files[f], module, "lora_B");
    ck_assert(a[f] && b[f]);
    ck_ok(zf_peft_scale(&scale[f], &files[f]->config, module));
  }
  ck_assert_int_eq(a[0]->shape[1], a[1]->shape[1]);
  ck_assert_int_eq(b[0]->shape[0], b[1]->shape[0]);
  for (int64_t i = 0; i < b[0]->shape[0]; i++)
    for (int64_t j = 0; j < a[0]->shape[1]; j++) {
      double sum[2] = {0}, size = 0;
      for (int f = 0; f < 2; f++)
        for (int64_t k = 0; k < a[f]->shape[0]; k++) {
          double term =
              scale[f] * b[f]->data[i * b[f]->shape[1] + k] * a[f]->data[k * a[f]->shape[1] + j];
          sum[f] += term;
          size += f ? 0 : fabs(term);
        }
      ck_assert_double_le(fabs(sum[0] - sum[1]), size * (0x1p-24 + 0x1p-40));
    }
}

static void compare_deltas(const struct zf_adapter_file *file,
                           const struct zf_adapter_file *other) {
  ck_assert_int_eq(file->count, other->count);
  for (int64_t i = 0; i < file->count; i++)
    if (!strcmp(file->tensor[i].part, "lora_A")) compare_delta(file, other, file->tensor[i].module);
}

static const struct {
  const char *name;
  int exact; /* one scale and rank: the same bits */
} convertible[] = {{"lora", 1}, {"lora_layers", 1}, {"lora_patterns", 0}, {"lora_rslora", 0}};

START_TEST(test_mlx) {
  struct zf_adapter_file *file = read_golden(convertible[_i].name), *again = NULL;
  struct zf_st *st;
  char dir[256], path[300];
  snprintf(dir, sizeof dir, "%s", tmp_path("mlx"));
  ck_ok(zf_adapter_file_write_mlx(file, dir));
  ck_assert_str_eq(zf_adapter_probe(dir), "MLX");
  ck_ok(zf_adapter_file_read(&again, dir, NULL));
  compare_deltas(file, again);
  if (convertible[_i].exact) compare_files(file, again);
  snprintf(path, sizeof path, "%s/adapters.safetensors", dir);
  ck_ok(zf_st_open(&st, path));
  const struct zf_st_tensor *tensor =
      zf_st_find(st, _i == 0 ? "model.layers.1.mlp.down_proj.lora_a" : st->tensor[0].name);
  ck_assert(tensor != NULL);
  if (_i == 0) { /* [in,r]: value (i, k) is (k, i) of lora_A */
    float value;
    ck_assert_int_eq(tensor->shape[0], 24);
    ck_assert_int_eq(tensor->shape[1], 4);
    memcpy(&value, tensor->data + 4 * (4 * 5 + 3), 4);
    ck_assert_float_eq(value,
                       find_value(file, "model.layers.1.mlp.down_proj", "lora_A", 24 * 3 + 5));
  }
  zf_st_free(st);
  zf_adapter_file_free(file);
  zf_adapter_file_free(again);
}
END_TEST

START_TEST(test_mlx_dora) {
  struct zf_adapter_file *file = read_golden("lora_dora"), *again = NULL;
  char dir[256];
  snprintf(dir, sizeof dir, "%s", tmp_path("mlx_dora"));
  ck_ok(zf_adapter_file_write_mlx(file, dir));
  ck_ok(zf_adapter_file_read(&again, dir, NULL));
  ck_assert_int_eq(again->config.dora, 1);
  compare_files(file, again);
  zf_adapter_file_free(file);
  zf_adapter_file_free(again);
}
END_TEST

START_TEST(test_gguf_round_trip) {
  struct zf_adapter_file *file = read_golden(convertible[_i].name), *again = NULL;
  const struct zf_model *base = base_of("llama");
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("adapter.gguf"));
  ck_ok(zf_adapter_file_write_gguf(file, path, base));
  ck_assert_str_eq(zf_adapter_probe(path), "GGUF");
  ck_ok(zf_adapter_file_read(&again, path, base));
  ck_assert_str_eq(again->config.base_model, "tiny/base");
  compare_deltas(file, again);
  if (convertible[_i].exact) compare_files(file, again);
  zf_adapter_file_free(file);
  zf_adapter_file_free(again);
}
END_TEST

/* In the file, rows of q (4 heads of 4) and k (2 heads of 4) have the order 0 2 1 3 in each head;
 * k's alpha is 8.5 where adapter.lora.alpha is 4, so that its lora_b is multiplied by 8.5 / 4. */
START_TEST(test_gguf_rows) {
  static const int order[] = {0, 2, 1, 3};
  struct zf_adapter_file *file = read_golden("lora_patterns");
  struct zf_gguf gguf;
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("rows.gguf"));
  ck_ok(zf_adapter_file_write_gguf(file, path, base_of("llama")));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  ck_assert_str_eq(json_string_value(json_object_get(gguf.keys, "general.architecture")), "llama");
  ck_assert_double_eq(json_number_value(json_object_get(gguf.keys, "adapter.lora.alpha")), 4);
  const struct zf_st_tensor *q = zf_st_find(gguf.st, "blk.0.attn_q.weight.lora_b"),
                            *k = zf_st_find(gguf.st, "blk.0.attn_k.weight.lora_b");
  ck_assert(q && k && q->shape[0] == 16 && q->shape[1] == 3 && k->shape[0] == 8);
  for (int row = 0; row < 16; row++) {
    float value;
    int from = row / 4 * 4 + order[row % 4];
    memcpy(&value, q->data + 4 * (row * 3 + 1), 4);
    ck_assert_float_eq(value,
                       find_value(file, "model.layers.0.self_attn.q_proj", "lora_B", from * 3 + 1));
    if (row >= 8) continue;
    memcpy(&value, k->data + 4 * (row * 2), 4);
    ck_assert_float_eq(value, (float)(2.125 * find_value(file, "model.layers.0.self_attn.k_proj",
                                                         "lora_B", from * 2)));
  }
  zf_gguf_free(&gguf);
  zf_adapter_file_free(file);
}
END_TEST

/* GPT-NeoX has query, key and value of a head together, a GGUF file all queries first: row d of part p of head
 * h, (3 h + p) D + d, is row (p H + h) D + d.  The file is read back as what it was. */
START_TEST(test_gguf_parts) {
  struct zf_adapter_file *file = NULL, *again = NULL;
  const struct zf_model *base = base_of("../../adapters/gpt_neox/base");
  ck_ok(zf_adapter_file_read(&file, "tests/golden/adapters/gpt_neox/lora", NULL));
  int64_t heads = base->config.heads, dim = base->config.head_dim, rank = file->config.r;
  struct zf_gguf gguf;
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("parts.gguf"));
  ck_ok(zf_adapter_file_write_gguf(file, path, base));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  const struct zf_st_tensor *qkv = zf_st_find(gguf.st, "blk.0.attn_qkv.weight.lora_b");
  ck_assert(qkv && qkv->shape[0] == 3 * heads * dim && qkv->shape[1] == rank);
  for (int64_t row = 0; row < 3 * heads * dim; row++) {
    int64_t part = row / dim / heads, head = row / dim % heads;
    float value;
    memcpy(&value, qkv->data + 4 * row * rank, 4);
    ck_assert_float_eq(value,
                       find_value(file, "gpt_neox.layers.0.attention.query_key_value", "lora_B",
                                  (int)(((3 * head + part) * dim + row % dim) * rank)));
  }
  zf_gguf_free(&gguf);
  ck_ok(zf_adapter_file_read(&again, path, base));
  compare_files(file, again);
  zf_adapter_file_free(again);
  zf_adapter_file_free(file);
}
END_TEST

/* Files that Python packages wrote: the adapter `lora` as llama.cpp's converter and mlx-lm lay it out. */
START_TEST(test_foreign_formats) {
  struct zf_adapter_file *file = read_golden("lora"), *other = NULL;
  double scale;
  ck_ok(zf_adapter_file_read(&other, GOLDEN "lora.gguf", base_of("llama")));
  compare_files(file, other);
  ck_assert_double_eq(other->config.alpha, 6);
  ck_assert_int_eq(other->config.target.count, 6);
  zf_adapter_file_free(other);
  for (int64_t i = 0; i < file->count; i++)
    for (int64_t j = 0; j < file->tensor[i].count; j++)
      file->tensor[i].data[j] = zf_f16_to_f32(zf_f32_to_f16(file->tensor[i].data[j]));
  ck_ok(zf_adapter_file_read(&other, GOLDEN "lora_f16.gguf", base_of("llama")));
  compare_files(file, other);
  ck_ok(zf_peft_scale(&scale, &other->config, "model.layers.0.self_attn.q_proj"));
  ck_assert_double_eq(scale, 1); /* llama.cpp's factor where alpha is 0 */
  zf_adapter_file_free(other);
  ck_ok(zf_adapter_file_read(&other, GOLDEN "mlx", NULL));
  compare_files(file, other);
  ck_assert_double_eq(other->config.alpha, 6);
  ck_assert_str_eq(other->config.base_model, "tiny/base");
  zf_adapter_file_free(other);
  zf_adapter_file_free(file);
}
END_TEST

/* lora_a of the embedding is [V,r]. */
START_TEST(test_gguf_embedding) {
  struct zf_adapter_file *file = NULL, *again = NULL;
  const float a[] = {1, 2, 3, 4, 5, 6}, b[] = {7, 8, 9, 10};
  struct zf_gguf gguf;
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("embedding.gguf"));
  ck_ok(zf_adapter_file_new(&file, "made"));
  ck_ok(zf_peft_config_init(&file->config, ZF_PEFT_LORA));
  file->config.r = 2;
  ck_ok(
      zf_adapter_file_add(file, "model.embed_tokens", "lora_embedding_B", 2, (int64_t[]){2, 2}, b));
  ck_ok(
      zf_adapter_file_add(file, "model.embed_tokens", "lora_embedding_A", 2, (int64_t[]){2, 3}, a));
  ck_ok(zf_adapter_file_check(file));
  ck_ok(zf_adapter_file_write_gguf(file, path, base_of("llama")));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  const struct zf_st_tensor *tensor = zf_st_find(gguf.st, "token_embd.weight.lora_a");
  const float turned[] = {1, 4, 2, 5, 3, 6};
  ck_assert(tensor && tensor->shape[0] == 3 && tensor->shape[1] == 2);
  ck_assert_mem_eq(tensor->data, turned, sizeof turned);
  zf_gguf_free(&gguf);
  ck_ok(zf_adapter_file_read(&again, path, NULL)); /* no rows of q or k: no base is needed */
  compare_files(file, again);
  zf_adapter_file_free(again);
  zf_adapter_file_free(file);
}
END_TEST

START_TEST(test_refused_formats) {
  struct zf_adapter_file *file = read_golden("ia3"), *other = NULL;
  ck_fails(zf_adapter_file_write_mlx(file, tmp_path("no")), ZF_EUSAGE,
           "MLX adapters are LoRA alone");
  ck_fails(zf_adapter_file_write_gguf(file, tmp_path("no"), base_of("llama")), ZF_EUSAGE,
           "GGUF adapters are LoRA alone, this one is IA3");
  zf_adapter_file_free(file);
  file = read_golden("lora_dora");
  ck_fails(zf_adapter_file_write_gguf(file, tmp_path("no"), base_of("llama")), ZF_EUSAGE,
           "GGUF adapters cannot hold lora_magnitude_vector");
  zf_adapter_file_free(file);
  file = read_golden("lora_conv1d");
  ck_fails(zf_adapter_file_write_gguf(file, tmp_path("no"), base_of("../../families/opt")),
           ZF_EUSAGE, "no GGUF adapters for the family opt");
  ck_fails(zf_adapter_file_write_gguf(file, tmp_path("no"), base_of("llama")), ZF_EUSAGE,
           "'transformer.h.0.attn.c_attn' has no name in GGUF files of llama");
  ck_fails(zf_adapter_file_write_mlx(file, tmp_path("no")), ZF_EUSAGE,
           "of modules in model.layers");
  zf_adapter_file_free(file);
  file = read_golden("lora");
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("base.gguf"));
  ck_ok(zf_adapter_file_write_gguf(file, path, base_of("llama")));
  ck_fails(zf_adapter_file_read(&other, path, NULL), ZF_EUSAGE, "name the base");
  ck_fails(zf_adapter_file_read(&other, path, base_of("gpt2")), ZF_EINVALID, "the base is gpt2");
  zf_adapter_file_free(file);
}
END_TEST

/* --- targets and paths ----------------------------------------------------------------------- */

START_TEST(test_layers) {
  struct zf_adapter_file *file = read_golden("lora_layers");
  int yes;
  ck_ok(zf_peft_targets(&yes, &file->config, "model.layers.1.mlp.up_proj"));
  ck_assert_int_eq(yes, 1);
  ck_ok(zf_peft_targets(&yes, &file->config, "model.layers.0.mlp.up_proj"));
  ck_assert_int_eq(yes, 0);
  ck_ok(zf_peft_targets(&yes, &file->config, "model.blocks.1.mlp.up_proj"));
  ck_assert_int_eq(yes, 0);
  ck_assert_ptr_null(zf_adapter_file_find(file, "model.layers.0.mlp.up_proj", "lora_A"));
  zf_adapter_file_free(file);
}
END_TEST

/* The modules of every LoRA golden are its targets. */
START_TEST(test_targets_hold) {
  struct zf_adapter_file *file = read_golden(goldens[_i].name);
  if (file->config.kind == ZF_PEFT_LORA)
    for (int64_t i = 0; i < file->count; i++) {
      int yes;
      if (strncmp(file->tensor[i].part, "lora_", 5) != 0) continue;
      ck_ok(zf_peft_targets(&yes, &file->config, file->tensor[i].module));
      ck_assert_int_eq(yes, 1);
    }
  zf_adapter_file_free(file);
}
END_TEST

START_TEST(test_paths) {
  struct zf_adapter_file *file = NULL;
  char dir[256], path[300];
  ck_assert_ptr_null(zf_adapter_probe("no/such/path"));
  ck_assert_ptr_null(zf_adapter_probe(GOLDEN "models/llama"));
  ck_fails(zf_adapter_file_read(&file, "no/such/path", NULL), ZF_EUSAGE, "no such adapter");
  ck_fails(zf_adapter_file_read(&file, GOLDEN "models/llama", NULL), ZF_EUSAGE, "not an adapter");
  snprintf(dir, sizeof dir, "%s", tmp_path("pickle"));
  ck_ok(zf_mkdirs(dir));
  snprintf(path, sizeof path, "%s/adapter_config.json", dir);
  ck_ok(zf_copy_file(GOLDEN "lora/adapter_config.json", path));
  ck_fails(zf_adapter_file_read(&file, dir, NULL), ZF_EUSAGE, "adapter_model.safetensors");
  snprintf(path, sizeof path, "%s/adapter_model.bin", dir);
  ck_ok(zf_write_file(path, "PK", 2));
  ck_fails(zf_adapter_file_read(&file, dir, NULL), ZF_EUSAGE, "is a torch pickle");
}
END_TEST

int main(void) {
  Suite *s = suite_create("adapter_file");
  TCase *tc = tcase_create("all");
  tcase_add_loop_test(tc, test_goldens, 0, GOLDENS);
  tcase_add_loop_test(tc, test_round_trip, 0, GOLDENS);
  tcase_add_loop_test(tc, test_mlx, 0, sizeof convertible / sizeof *convertible);
  tcase_add_test(tc, test_mlx_dora);
  tcase_add_loop_test(tc, test_gguf_round_trip, 0, sizeof convertible / sizeof *convertible);
  tcase_add_test(tc, test_gguf_rows);
  tcase_add_test(tc, test_gguf_parts);
  tcase_add_test(tc, test_foreign_formats);
  tcase_add_test(tc, test_gguf_embedding);
  tcase_add_test(tc, test_refused_formats);
  tcase_add_test(tc, test_layers);
  tcase_add_loop_test(tc, test_targets_hold, 0, GOLDENS);
  tcase_add_test(tc, test_paths);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
