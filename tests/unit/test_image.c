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

/* --- llama.cpp ------------------------------------------------------------------------------- */

/* llama.cpp takes GELU from a table in F16, whose entries are off by up to 2^-11 of their size; gptneox has the
 * tanh form where the checkpoint has erf, which differ by up to 5e-4. */
static const struct {
  const char *family;
  double tolerance; /* of the largest logit */
} loaded[] = {
    {"bert", 4e-3},     {"roberta", 4e-3}, {"llama", 1e-5},    {"mistral", 1e-5},
    {"qwen2", 1e-5},    {"qwen3", 1e-5},   {"granite", 1e-5},  {"olmo2", 1e-5},
    {"smollm3", 1e-5},  {"phi3", 1e-5},    {"stablelm", 1e-5}, {"gpt2", 4e-3},
    {"gpt_neox", 4e-3}, {"gemma", 4e-3},   {"gemma2", 4e-3},   {"gemma3_text", 4e-3},
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
  tcase_add_loop_test(tc, test_llama_cpp, 0, LOADED);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
