/* Adapters on disk: what PEFT wrote (tests/golden/peft) is read, with the values that PEFT's own model
 * holds; what is written is read back bit for bit; broken files give their messages. */
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

int main(void) {
  Suite *s = suite_create("adapter_file");
  TCase *tc = tcase_create("all");
  tcase_add_loop_test(tc, test_goldens, 0, GOLDENS);
  tcase_add_loop_test(tc, test_round_trip, 0, GOLDENS);
  suite_add_tcase(s, tc);
  (void)find_value;
  return unit_run(s);
}
