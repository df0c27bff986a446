/* Merged models against their base with the adapter attached: the same logits, for every base and method of
 * tests/golden/adapters; rounding to bf16 keeps the mean; what cannot be merged is refused. */
#include <math.h>

#include "peft/merge.h"
#include "unit/models.h"

#define ADAPTERS "tests/golden/adapters/"

/* Both sides sum the same products in f32, in another order: with 2 layers of 16 values and factors near 1,
 * logits below 20 differ by some 20 roundings of 2^-24 each.  test_adapter's bound has room for that. */
static const double LOGITS = 2e-4;

static const int32_t ids[] = {3, 17, 5, 9, 22, 1, 14, 8, 3};
enum { N = sizeof ids / sizeof *ids };

static const char *const bases[] = {"llama", "qwen2", "qwen3",    "gemma3_text", "phi3",
                                    "gpt2",  "opt",   "gpt_neox", "bert"};
static const char *const methods[] = {"lora", "lora_all", "dora", "embedding", "bias",
                                      "ia3",  "ln",       "vera", "tokens"};
enum { BASES = sizeof bases / sizeof *bases, METHODS = sizeof methods / sizeof *methods };

static const char *adapter_path(const char *base, const char *method) {
  static char path[4][256];
  static int next;
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], ADAPTERS "%s/%s", base, method);
  return path[next];
}

static struct zf_model *open_base(const char *base) {
  return open_model(adapter_path(base, "base"), &as_stored);
}

/* Writes the model with its adapters folded in to a new directory, and opens that. */
static struct zf_model *merged(const struct zf_model *model, struct zf_adapter_file *const *file,
                               int64_t count, int dtype) {
  struct zf_adapter_merge *merge;
  const char *dir = tmp_path("merged");
  ck_ok(zf_merge_new(&merge, model, file, count));
  ck_ok(zf_model_save_values(model, dir, dtype, zf_merge_values(merge, NULL, NULL), NULL, 0));
  zf_merge_free(merge);
  return open_model(dir, &as_stored);
}

static double distance(const struct zf_model *left, const struct zf_model *right) {
  float *x = logits_of(left, ids, N), *y = logits_of(right, ids, N);
  double worst = 0;
  for (int64_t i = 0; i < N * left->config.outputs; i++)
    worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
  free(x);
  free(y);
  return worst;
}

START_TEST(test_logits) {
  const char *base = bases[_i / METHODS], *method = methods[_i % METHODS];
  const char *dir = adapter_path(base, method);
  if (!zf_adapter_probe(dir)) return; /* a method that PEFT does not have for the family */
  begin_kernels();
  struct zf_adapter_file *file;
  struct zf_model *plain = open_base(base), *model = open_base(base);
  ck_ok(zf_adapter_use(model, dir, &file));
  struct zf_model *result = merged(model, &file, 1, ZF_F32);
  ck_assert_msg(distance(model, result) <= LOGITS, "%s: logits differ by %g", dir,
                distance(model, result));
  ck_assert_msg(distance(plain, result) > 100 * LOGITS, "%s: nothing has changed", dir);
  zf_model_free(result);
  zf_model_free(model);
  zf_model_free(plain);
}
END_TEST

/* Adapters add up, or follow each other, as they do where they are attached. */
START_TEST(test_stack) {
  static const char *const stacks[][3] = {
      {"lora:0.5", "lora_all:-1.5", "vera:2"},
      {"ia3", "lora_all", "lora:2"},
      {"lora_all:0.25", "ia3", "vera"},
      {"ln", "dora", "lora:3"},
      {"dora", "lora:2", "ia3"},
      {"lora", "tokens", "bias"},
      {"vera:-1", "lora_all", "lora"},
  };
  enum { STACKS = sizeof stacks / sizeof *stacks };
  const char *base = _i / STACKS ? "gpt2" : "llama";
  struct zf_adapter_file *file[3];
  begin_kernels();
  struct zf_model *model = open_base(base);
  for (int i = 0; i < 3; i++)
    ck_ok(zf_adapter_use(model, adapter_path(base, stacks[_i % STACKS][i]), &file[i]));
  struct zf_model *result = merged(model, file, 3, ZF_F32);
  ck_assert_msg(distance(model, result) <= LOGITS, "%s, stack %d: logits differ by %g", base,
                _i % STACKS, distance(model, result));
  zf_model_free(result);
  zf_model_free(model);
}
END_TEST

/* Adapters of a head or embedding that are tied: the result has a head of its own. */
START_TEST(test_untie) {
  static const struct {
    const char *module, *part[2];
    int64_t rows[2], columns[2];
    int own_head;
  } cases[] = {
      {"lm_head", {"lora_A", "lora_B"}, {2, 24}, {16, 2}, 1},
      {"lm_head", {"weight", NULL}, {24, 0}, {16, 0}, 1},
      {"transformer.wte", {"lora_embedding_A", "lora_embedding_B"}, {2, 16}, {24, 2}, 1},
      {"transformer.wte", {"weight", NULL}, {24, 0}, {16, 0}, 0},
  };
  struct zf_adapter_file *file;
  begin_kernels();
  struct zf_model *model = open_base("gpt2");
  ck_assert(model->config.tied);
  ck_ok(zf_adapter_file_new(&file, "made here"));
  ck_ok(zf_peft_config_init(&file->config, ZF_PEFT_LORA));
  for (int i = 0; i < 2 && cases[_i].part[i]; i++) {
    int64_t shape[2] = {cases[_i].rows[i], cases[_i].columns[i]};
    ck_ok(zf_adapter_file_add(file, cases[_i].module, cases[_i].part[i], 2, shape, NULL));
    struct zf_adapter_tensor *tensor = &file->tensor[file->count - 1];
    for (int64_t j = 0; j < tensor->count; j++) tensor->data[j] = 0.3f * sinf((float)(j * j + i));
  }
  ck_ok(zf_adapter_attach(model, file, 1, ZF_TRAIN_NOTHING));
  struct zf_model *result = merged(model, &file, 1, ZF_F32);
  ck_assert_int_eq(result->config.tied, !cases[_i].own_head);
  ck_assert_msg(distance(model, result) <= LOGITS, "%s %s: logits differ by %g", cases[_i].module,
                cases[_i].part[0], distance(model, result));
  zf_model_free(result);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

static const struct zf_param *param_named(const struct zf_model *model, const char *name) {
  for (int64_t i = 0; i < model->params.count; i++)
    if (!strcmp(model->params.param[i].name, name)) return &model->params.param[i];
  ck_abort_msg("no parameter %s", name);
}

/* An adapter's change of 1/16 of bf16's spacing, everywhere the same: to nearest, nothing of it would be
 * left.  It is kept on average: the mean of n independent roundings with variance p (1 - p) spacing^2 lies
 * within 5 sqrt(p (1 - p) / n) of p. */
START_TEST(test_rounding) {
  enum { ROWS = 24, COLUMNS = 16, ALL = ROWS * COLUMNS };
  static const char name[] = "model.layers.0.mlp.gate_proj.weight";
  const char *module = "model.layers.0.mlp.gate_proj";
  const double share = 1.0 / 16, spacing = 0x1p-7;
  int64_t shapes[2][2] = {{1, COLUMNS}, {ROWS, 1}};
  float inner[COLUMNS], outer[ROWS];
  struct zf_adapter_file *file;
  begin_kernels();
  struct zf_model *model = open_model(
      adapter_path("llama", "base"),
      &(struct zf_model_opts){
          .dtype = ZF_F32, .trained = ZF_F32, .trainable = (const char *[]){"*"}, .ntrainable = 1});
  float *base = param_named(model, name)->data;
  ck_assert_int_eq(param_named(model, name)->count, ALL);
  for (int i = 0; i < ALL; i++) base[i] = 1;
  for (int i = 0; i < COLUMNS; i++) inner[i] = 1;
  for (int i = 0; i < ROWS; i++) outer[i] = (float)(share * spacing);
  ck_ok(zf_adapter_file_new(&file, "made here"));
  ck_ok(zf_peft_config_init(&file->config, ZF_PEFT_LORA));
  file->config.r = 1;
  file->config.alpha = 1;
  ck_ok(zf_adapter_file_add(file, module, "lora_A", 2, shapes[0], inner));
  ck_ok(zf_adapter_file_add(file, module, "lora_B", 2, shapes[1], outer));
  ck_ok(zf_adapter_attach(model, file, 1, ZF_TRAIN_NOTHING));
  struct zf_model *result = merged(model, &file, 1, ZF_BF16), *again = merged(model, &file, 1, 2);
  const struct zf_param *param = param_named(result, name);
  float value[ALL];
  double mean = 0;
  ck_assert_int_eq(param->type, ZF_BF16);
  zf_to_f32(value, param->data, ZF_BF16, ALL);
  for (int i = 0; i < ALL; i++) {
    ck_assert(value[i] == 1 || value[i] == (float)(1 + spacing));
    mean += ((double)value[i] - 1) / spacing / ALL;
  }
  double bound = 5 * sqrt(share * (1 - share) / ALL);
  ck_assert_msg(fabs(mean - share) < bound, "mean %g, not %g within %g", mean, share, bound);
  ck_assert(mean > 0);
  ck_assert_int_eq(memcmp(param->data, param_named(again, name)->data, 2 * ALL), 0);
  zf_model_free(again);
  zf_model_free(result);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

START_TEST(test_prompt_refused) {
  struct zf_adapter_file *file;
  struct zf_adapter_merge *merge;
  begin_kernels();
  struct zf_model *model = open_base("llama");
  ck_ok(zf_adapter_use(model, adapter_path("llama", _i ? "prefix" : "prompt"), &file));
  ck_fails(zf_merge_new(&merge, model, &file, 1), ZF_EUSAGE, "cannot be merged");
  ck_assert_ptr_null(merge);
  zf_model_free(model);
}
END_TEST

/* A kind that replaces or multiplies has no half. */
START_TEST(test_weight_refused) {
  static const char *const words[] = {"ia3:0.5", "ln:0", "embedding:2", "dora:0.5", "tokens:0.5"};
  begin_kernels();
  struct zf_model *model = open_base("llama");
  ck_fails(zf_adapter_use(model, adapter_path("llama", words[_i]), NULL), ZF_EUSAGE, "weight 1");
  zf_model_free(model);
}
END_TEST

/* A value that f16 cannot hold is named before anything is written. */
START_TEST(test_too_large) {
  struct zf_adapter_file *file;
  struct zf_adapter_merge *merge;
  const char *dir = tmp_path("large");
  char weights[600];
  begin_kernels();
  struct zf_model *model = open_base("llama");
  ck_ok(zf_adapter_use(model, adapter_path("llama", "lora:1e7"), &file));
  ck_ok(zf_merge_new(&merge, model, &file, 1));
  ck_fails(zf_model_save_values(model, dir, ZF_F16, zf_merge_values(merge, NULL, NULL), NULL, 0),
           ZF_EUSAGE, "too large for f16");
  snprintf(weights, sizeof weights, "%s/model.safetensors", dir);
  ck_assert_int_ne(access(weights, F_OK), 0);
  zf_merge_free(merge);
  zf_model_free(model);
}
END_TEST

static int stop(void *ctx) {
  return ++*(int *)ctx > 20;
}

START_TEST(test_interrupted) {
  struct zf_adapter_file *file;
  struct zf_adapter_merge *merge;
  int asked = 0;
  begin_kernels();
  struct zf_model *model = open_base("llama");
  ck_ok(zf_adapter_use(model, adapter_path("llama", "lora"), &file));
  ck_ok(zf_merge_new(&merge, model, &file, 1));
  ck_fails(zf_model_save_values(model, tmp_path("stopped"), -1,
                                zf_merge_values(merge, stop, &asked), NULL, 0),
           ZF_ESTOPPED, "interrupted");
  zf_merge_free(merge);
  zf_model_free(model);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("merge");
  TCase *t = tcase_create("merge");
  tcase_add_loop_test(t, test_logits, 0, BASES * METHODS);
  tcase_add_loop_test(t, test_stack, 0, 14);
  tcase_add_loop_test(t, test_untie, 0, 4);
  tcase_add_test(t, test_rounding);
  tcase_add_loop_test(t, test_prompt_refused, 0, 2);
  tcase_add_loop_test(t, test_weight_refused, 0, 5);
  tcase_add_test(t, test_too_large);
  tcase_add_test(t, test_interrupted);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  return unit_run(suite());
}
