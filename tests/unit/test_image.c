/* The GGUF file of a model: every family comes back with the same configuration, values and logits, and what
 * llama.cpp lacks is refused by name. */
#include "unit/unit.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "compress/image.h"
#include "fmt/json.h"
#include "unit/models.h"

/* A checkpoint of tests/golden/families, with some keys of its config.json set to other values. */
static const struct {
  const char *family, *keys;
  const char *refused; /* what a GGUF file cannot hold; NULL: it can */
  int rounded; /* norms with 1 added, or divisors of frequencies: f32 rounds them once more */
} written[] = {
    {.family = "llama"},
    {.family = "llama3-bias", .rounded = 1},
    {.family = "llama-gelu", .refused = "activation: expected gelu"},
    {.family = "llama-yarn"},
    {.family = "llama-dynamic", .refused = "rope scaling 'dynamic'"},
    {.family = "llama-classify", .refused = "a head of labels"},
    {.family = "mistral"},
    {.family = "mistral-window"},
    {.family = "qwen2"},
    {.family = "qwen2-window"},
    {.family = "qwen3"},
    {.family = "qwen3-tied", .keys = "{\"hidden_act\": \"silu\"}"},
    {.family = "gpt2", .refused = "scaling of scores by layer: expected 1, found 0"},
    {.family = "gpt2", .keys = "{\"scale_attn_by_inverse_layer_idx\": false}"},
    {.family = "gpt2-untied",
     .keys = "{\"activation_function\": \"gelu_new\", \"scale_attn_weights\": true}"},
    {.family = "opt", .refused = "cannot hold a model of the family opt"},
    {.family = "smollm3", .refused = "block 1: expected no window and no rotary embedding"},
    {.family = "smollm3", .keys = "{\"no_rope_layers\": null}"},
    {.family = "granite"},
    {.family = "olmo2"},
    {.family = "phi3"},
    {.family = "phi3-partial"},
    {.family = "phi3-far", .rounded = 1},
    {.family = "stablelm"},
    {.family = "stablelm-parallel"},
    {.family = "gpt_neox"},
    {.family = "gpt_neox-serial"},
    {.family = "gemma", .rounded = 1},
    {.family = "gemma2", .refused = "scale of scores: expected 0.267261242, found 0.316227766"},
    {.family = "gemma2", .keys = "{\"query_pre_attn_scalar\": 10}", .rounded = 1},
    {.family = "gemma3_text", .keys = "{\"query_pre_attn_scalar\": 10}", .rounded = 1},
    {.family = "bert", .refused = "a masked-LM head: a GGUF file of bert has a head of labels"},
    {.family = "bert-classify"},
    {.family = "roberta-classify"},
    {.family = "roberta-pad-classify"},
    {.family = "modernbert-classify"},
    {.family = "modernbert", .refused = "a masked-LM head"},
    {.family = "bert-act-classify", .refused = "activation"},
    {.family = "distilbert-classify", .refused = "cannot hold a model of the family distilbert"},
};
enum { WRITTEN = sizeof written / sizeof *written, TOKENS = 3 };

/* Links to the files of weights, one or several. */
static void link_weights(const char *dir, const char *family) {
  char from[1024], to[1024], *real;
  snprintf(from, sizeof from, FAMILIES_DIR "%s", family);
  ck_assert_ptr_nonnull(real = realpath(from, NULL));
  DIR *stream = opendir(real);
  for (struct dirent *entry; (entry = readdir(stream));) {
    if (strncmp(entry->d_name, "model", 5) != 0) continue;
    snprintf(from, sizeof from, "%s/%s", real, entry->d_name);
    snprintf(to, sizeof to, "%s/%s", dir, entry->d_name);
    if (symlink(from, to)) ck_assert_int_eq(errno, EEXIST);
  }
  closedir(stream);
  free(real);
}

/* A copy of the checkpoint with the keys set. */
static void make_dir(char dir[512], const char *family, const char *keys) {
  char from[512], to[600];
  json_t *config = NULL, *other = NULL;
  snprintf(dir, 512, "%s", tmp_path(family));
  ck_ok(zf_mkdirs(dir));
  snprintf(from, sizeof from, FAMILIES_DIR "%s/config.json", family);
  ck_ok(zf_json_load(&config, from));
  if (keys) ck_ok(zf_json_parse(&other, keys, strlen(keys), "keys"));
  if (keys) ck_assert_int_eq(json_object_update(config, other), 0);
  char *text = json_dumps(config, 0);
  snprintf(to, sizeof to, "%s/config.json", dir);
  ck_ok(zf_write_file(to, text, strlen(text)));
  link_weights(dir, family);
  free(text);
  json_decref(other);
  json_decref(config);
}

/* A rounding of an input of the model by 2^-24 moves its logits by some multiple of that: two layers, each
 * with sums that cancel, make it 64. */
static void compare_logits(const struct zf_model *model, const struct zf_model *back, int rounded) {
  const int32_t ids[TOKENS] = {1, 5, 3};
  float *a = logits_of(model, ids, TOKENS), *b = logits_of(back, ids, TOKENS);
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < TOKENS * model->config.outputs; i++) {
    worst = fmax(worst, fabs((double)(a[i] - b[i])));
    largest = fmax(largest, fabs((double)a[i]));
  }
  ck_assert_double_le(worst, rounded ? 64 * 0x1p-24 * largest : 0);
  ck_assert_double_gt(largest, 0);
  free(a);
  free(b);
}

START_TEST(test_family_image) {
  struct zf_image *image;
  char path[512], dir[512];
  begin_kernels();
  make_dir(dir, written[_i].family, written[_i].keys);
  struct zf_model *model = open_model(dir, &as_stored);
  if (written[_i].refused) {
    ck_fails(zf_image_open(&image, model, NULL, ZF_F32), ZF_EUSAGE, written[_i].refused);
    zf_model_free(model);
    return;
  }
  snprintf(path, sizeof path, "%s", tmp_path("family.gguf"));
  ck_ok(zf_image_open(&image, model, NULL, ZF_F32));
  ck_ok(zf_image_write(image, path, NULL));
  struct zf_model *back = open_model(path, &as_stored);
  compare_logits(model, back, written[_i].rounded);
  zf_image_free(image);
  zf_model_free(back);
  zf_model_free(model);
}
END_TEST

/* --- rows ------------------------------------------------------------------------------------ */

/* Element [row][column] of a matrix as a product sees it. */
static float element(const struct zf_param *param, int64_t row, int64_t column) {
  int64_t width = param->shape[1],
          at = param->transposed ? column * width + row : row * width + column;
  float value;
  zf_to_f32(&value, (const char *)param->data + zf_dtype_bytes(param->type, at), param->type, 1);
  return value;
}

static const char *const row_models[] = {"llama", "gpt_neox", "gpt2", "qwen2", "roberta-classify"};
enum { ROW_MODELS = sizeof row_models / sizeof *row_models };

/* The row that zf_image_row names holds the values of that row; rows read alone are those read together. */
START_TEST(test_image_row) {
  char dir[512];
  struct zf_image *image;
  const char *keys = _i == 2 ? "{\"scale_attn_by_inverse_layer_idx\": false}" : NULL;
  make_dir(dir, row_models[_i], keys);
  struct zf_model *model = open_model(dir, &as_stored);
  int64_t moved = 0;
  ck_ok(zf_image_open(&image, model, NULL, ZF_F16));
  for (int64_t i = 0; i < image->count; i++) {
    const struct zf_image_tensor *tensor = &image->tensor[i];
    if (tensor->ndim != 2) continue;
    const struct zf_param *param = &model->params.param[tensor->param];
    ck_assert_int_eq(tensor->type, tensor->is_matrix ? ZF_F16 : ZF_F32);
    float *all = zf_calloc(tensor->rows * tensor->columns, sizeof *all), one[512];
    ck_assert_int_le(tensor->columns, 512);
    zf_image_read(image, NULL, i, 0, tensor->rows, all);
    for (int64_t row = 0; row < tensor->rows; row++) {
      int64_t at = zf_image_row(image, i, row + tensor->skip);
      moved += at != row;
      zf_image_read(image, NULL, i, at, 1, one);
      ck_assert_mem_eq(one, all + at * tensor->columns, (size_t)tensor->columns * sizeof *one);
      for (int64_t k = 0; k < tensor->columns; k++)
        ck_assert_float_eq(one[k], element(param, row + tensor->skip, k));
    }
    free(all);
  }
  ck_assert_int_eq(moved > 0, _i < 2);
  zf_image_free(image);
  zf_model_free(model);
}
END_TEST

/* Other values for the head that the model ties to its embedding. */
static int head_changed(void *ctx, int64_t number) {
  return number == *(const int64_t *)ctx;
}

static void read_head(void *ctx, int64_t number, int64_t first, int64_t rows, float *value) {
  ck_assert_int_eq(number, *(const int64_t *)ctx);
  for (int64_t i = 0; i < rows * 24; i++) value[i] = (float)(first * 24 + i);
}

START_TEST(test_own_head) {
  char dir[512], path[512];
  struct zf_image *image;
  make_dir(dir, "qwen3-tied", "{\"hidden_act\": \"silu\"}");
  struct zf_model *model = open_model(dir, &as_stored), *back;
  int64_t number = model->plan.wanted_count;
  struct zf_save_values values = {
      .ctx = &number, .own_head = 1, .changed = head_changed, .read = read_head};
  snprintf(path, sizeof path, "%s", tmp_path("head.gguf"));
  ck_ok(zf_image_open(&image, model, NULL, ZF_F32));
  ck_fails(zf_image_write(image, path, &values), ZF_EFAIL, "zf_image_untie comes first");
  ck_ok(zf_image_untie(image));
  ck_ok(zf_image_write(image, path, &values));
  back = open_model(path, &as_stored);
  ck_assert(model->config.tied && !back->config.tied);
  const struct zf_param *head = &back->params.param[back->plan.head];
  ck_assert_int_eq(head->count, 97 * 24);
  for (int64_t i = 0; i < head->count; i++) ck_assert_float_eq(((float *)head->data)[i], (float)i);
  zf_image_free(image);
  zf_model_free(back);
  zf_model_free(model);
}
END_TEST

/* A value that differs in the file is found. */
START_TEST(test_verify) {
  char dir[512], path[512];
  struct zf_image *image;
  struct zf_gguf_out *out;
  make_dir(dir, "llama", NULL);
  struct zf_model *model = open_model(dir, &as_stored);
  snprintf(path, sizeof path, "%s", tmp_path("verify.gguf"));
  ck_ok(zf_image_open(&image, model, NULL, ZF_F32));
  ck_ok(zf_image_begin(&out, image, path));
  ck_ok(zf_image_fill(out, image, NULL));
  ck_ok(zf_gguf_out_close(out));
  ck_ok(zf_image_verify(image, NULL, path, NULL));
  char *bytes = NULL;
  size_t len;
  ck_ok(zf_read_file(&bytes, &len, path, 1 << 24));
  bytes[len - 1] ^= 1;
  ck_ok(zf_write_file(path, bytes, len));
  ck_fails(zf_image_verify(image, NULL, path, NULL), ZF_EFAIL, "of the file is");
  bytes[len - 1] ^= 1;
  image->tensor[0].type = ZF_F16; /* the file has f32 there */
  ck_ok(zf_write_file(path, bytes, len));
  ck_fails(zf_image_verify(image, NULL, path, NULL), ZF_EFAIL,
           "is not in the file as it was written");
  free(bytes);
  zf_image_free(image);
  zf_model_free(model);
}
END_TEST

/* --- llama.cpp ------------------------------------------------------------------------------- */

/* llama.cpp takes GELU from a table in F16, whose entries are off by up to 2^-11 of their size; gptneox has the
 * tanh form where the checkpoint has erf, which differ by up to 5e-4. */
static const struct {
  const char *family;
  double tolerance; /* of the largest logit */
} loaded[] = {
    {"bert", 4e-3},        {"roberta", 4e-3},  {"modernbert", 4e-3}, {"llama", 1e-5},
    {"mistral", 1e-5},     {"qwen2", 1e-5},    {"qwen3", 1e-5},      {"granite", 1e-5},
    {"olmo2", 1e-5},       {"smollm3", 1e-5},  {"phi3", 1e-5},       {"stablelm", 1e-5},
    {"gpt2", 4e-3},        {"gpt_neox", 4e-3}, {"gemma", 4e-3},      {"gemma2", 4e-3},
    {"gemma3_text", 4e-3},
};
enum { LOADED = sizeof loaded / sizeof *loaded };

/* The model of golden.json, written as a GGUF file and read from that. */
static struct zf_model *remake(const json_t *golden) {
  char dir[512], file[512], config[512];
  struct zf_image *image;
  char *text = json_dumps(json_object_get(golden, "config"), 0);
  snprintf(dir, sizeof dir, "%s", tmp_path("tiny"));
  snprintf(file, sizeof file, "%s", tmp_path("tiny.gguf"));
  snprintf(config, sizeof config, "%s", tmp_path("config.json"));
  ck_ok(zf_write_file(config, text, strlen(text)));
  free(text);
  ck_ok(zf_model_init(config, dir, 42, ZF_F32));
  struct zf_model *model = open_model(dir, &as_stored);
  ck_ok(zf_image_open(&image, model, NULL, ZF_F32));
  ck_ok(zf_image_write(image, file, NULL));
  zf_image_free(image);
  zf_model_free(model);
  return open_model(file, &as_stored);
}

START_TEST(test_llama_cpp) {
  json_t *root, *item;
  int32_t ids[64];
  size_t count, i;
  double worst = 0, largest = 0;
  begin_kernels();
  ck_ok(zf_json_load(&root, "tests/golden/image/golden.json"));
  const json_t *golden = json_object_get(json_object_get(root, "models"), loaded[_i].family),
               *want = json_object_get(golden, "logits");
  ck_assert_uint_ge(json_array_size(want), 3);
  json_array_foreach(json_object_get(golden, "ids"), i, item) ids[i] =
      (int32_t)json_integer_value(item);
  count = json_array_size(json_object_get(golden, "ids"));
  struct zf_model *model = remake(golden);
  float *logits = logits_of(model, ids, (int64_t)count);
  /* A head of labels reads the first token.  Of a vocabulary every eighth logit is kept. */
  const float *row =
      model->config.classify ? logits : logits + (int64_t)(count - 1) * model->config.vocab;
  size_t step = model->config.classify ? 1 : 8;
  json_array_foreach((json_t *)want, i, item) {
    worst = fmax(worst, fabs((double)row[step * i] - json_number_value(item)));
    largest = fmax(largest, fabs(json_number_value(item)));
  }
  printf("%-12s from llama.cpp %.2g of %.2g\n", loaded[_i].family, worst, largest);
  ck_assert_double_le(worst, loaded[_i].tolerance * largest);
  free(logits);
  zf_model_free(model);
  json_decref(root);
}
END_TEST

int main(void) {
  Suite *s = suite_create("image");
  TCase *tc = tcase_create("all");
  tcase_add_loop_test(tc, test_family_image, 0, WRITTEN);
  tcase_add_loop_test(tc, test_image_row, 0, ROW_MODELS);
  tcase_add_test(tc, test_own_head);
  tcase_add_test(tc, test_verify);
  tcase_add_loop_test(tc, test_llama_cpp, 0, LOADED);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
