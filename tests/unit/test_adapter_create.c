/* New adapters: what they leave as it was, their names, and passes with directions by example. */
#include "peft/adapter.h"
#include "unit/models.h"

#define ADAPTERS "tests/golden/adapters/"

/* As in test_adapter. */
static const double LOGITS = 2e-4;

static const int32_t ids[] = {3, 17, 5, 9, 22, 1, 14, 8, 3, 4};
enum { N = sizeof ids / sizeof *ids, VIRTUAL = 3 };

static const char *const bases[] = {"llama", "qwen2", "qwen3",    "gemma3_text", "phi3",
                                    "gpt2",  "opt",   "gpt_neox", "bert"};
enum { BASES = sizeof bases / sizeof *bases };

static struct zf_model *open_base(const char *base) {
  char path[256];
  snprintf(path, sizeof path, ADAPTERS "%s/base", base);
  return open_model(path, &as_stored);
}

/* An adapter of this kind, attached; the caller frees it after the model. */
static struct zf_adapter_file *attach_new(struct zf_model *model, enum zf_peft_kind kind,
                                          const char *targets, enum zf_adapter_train train,
                                          const char *init, int dora, const char *bias) {
  struct zf_peft_config config;
  struct zf_adapter_file *file;
  ck_ok(zf_peft_config_init(&config, kind));
  config.r = 3;
  config.alpha = 6;
  config.dora = dora;
  config.virtual_tokens = VIRTUAL;
  free(config.init);
  config.init = zf_strdup(init);
  free(config.bias);
  config.bias = zf_strdup(bias);
  if (targets) ck_ok(zf_peft_names_set(&config.target, NULL, 0, targets));
  if (kind == ZF_PEFT_TOKENS) {
    config.tokens.index.value = zf_calloc(2, sizeof(int64_t));
    config.tokens.index.count = 2;
    config.tokens.index.value[0] = 3;
    config.tokens.index.value[1] = 9;
  }
  ck_ok(zf_adapter_create(&file, model, &config,
                          &(struct zf_adapter_plan){.seed = 7, .ids = ids + N - VIRTUAL}));
  zf_peft_config_free(&config);
  ck_ok(zf_adapter_attach(model, file, 1, train));
  return file;
}

static void near_logits(const char *what, const float *got, const float *want, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    ck_assert_msg(fabs((double)got[i] - (double)want[i]) <= LOGITS, "%s: logit %lld is %g, not %g",
                  what, (long long)i, (double)got[i], (double)want[i]);
}

static const struct {
  enum zf_peft_kind kind;
  const char *targets, *init, *bias;
  int dora;
} starts[] = {
    {ZF_PEFT_LORA, NULL, "true", "none", 0},
    {ZF_PEFT_LORA, "all-linear", "gaussian", "none", 0},
    {ZF_PEFT_LORA, "all-linear", "pissa", "none", 0},
    {ZF_PEFT_LORA, "all-linear", "olora", "none", 0},
    {ZF_PEFT_LORA, ".*", "orthogonal", "none", 0}, /* the embedding and the head as well */
    {ZF_PEFT_LORA, "all-linear", "true", "none", 1},
    {ZF_PEFT_IA3, NULL, "true", "none", 0},
    {ZF_PEFT_IA3, ".*", "true", "none", 0},
    {ZF_PEFT_VERA, NULL, "true", "none", 0},
    {ZF_PEFT_LN, NULL, "true", "none", 0},
    {ZF_PEFT_TOKENS, NULL, "true", "none", 0},
};
enum { STARTS = sizeof starts / sizeof *starts };

/* A new adapter changes nothing until it is trained. */
START_TEST(test_start) {
  int i = _i % STARTS;
  const char *base = bases[_i / STARTS];
  begin_kernels();
  struct zf_model *model = open_base(base), *plain = open_base(base);
  struct zf_adapter_file *file = attach_new(model, starts[i].kind, starts[i].targets, ZF_TRAIN_ALL,
                                            starts[i].init, starts[i].dora, starts[i].bias);
  float *got = logits_of(model, ids, N), *want = logits_of(plain, ids, N);
  near_logits(base, got, want, N * model->config.outputs);
  ck_assert_int_gt(zf_params_count(&model->params, 1), 0);
  free(got);
  free(want);
  zf_model_free(model);
  zf_model_free(plain);
  zf_adapter_file_free(file);
}
END_TEST

/* y = W x of the module, in double. */
static void apply_base(const struct zf_model *model, const char *module, const float *x,
                       double *y) {
  const struct zf_param *param = &model->params.param[zf_adapter_module(model, module)];
  int64_t rows = param->shape[0], columns = param->shape[1];
  float *values = zf_calloc(param->count, sizeof *values);
  zf_to_f32(values, param->data, param->type, param->count);
  for (int64_t o = 0; o < (param->transposed ? columns : rows); o++) {
    y[o] = 0;
    for (int64_t c = 0; c < (param->transposed ? rows : columns); c++)
      y[o] += (double)values[param->transposed ? c * columns + o : o * columns + c] * (double)x[c];
  }
  free(values);
}

/* pissa: row a of A is sqrt(S / s) v with |W v| = S, so |W a| = s |a|^3; the singular values descend.
 * The products of the iterations are f32 sums of at most 32 terms: 1e-4 of the value is ample.
 * olora: A is the first rows of an upper triangle, with |column 0 of W| in its corner. */
START_TEST(test_from_weights) {
  int pissa = _i % 2 == 0;
  begin_kernels();
  struct zf_model *model = open_base(bases[_i / 2]);
  struct zf_adapter_file *file = attach_new(model, ZF_PEFT_LORA, "all-linear", ZF_TRAIN_B,
                                            pissa ? "pissa" : "olora", 0, "none");
  ck_assert_str_eq(file->config.init, "true");
  int64_t seen = 0;
  for (int64_t j = 0; j < file->count; j++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[j];
    if (strcmp(tensor->part, "lora_A") != 0) continue;
    seen++;
    double last = INFINITY;
    for (int64_t i = 0; i < tensor->shape[0]; i++) {
      const float *row = tensor->data + i * tensor->shape[1];
      double y[256], out = 0, norm = 0;
      apply_base(model, tensor->module, row, y);
      const struct zf_adapter_tensor *outer = &tensor[1];
      for (int64_t o = 0; o < outer->shape[0]; o++) out += y[o] * y[o];
      for (int64_t c = 0; c < tensor->shape[1]; c++) norm += (double)row[c] * (double)row[c];
      if (pissa) {
        ck_assert_double_eq_tol(sqrt(out), 2 * norm * sqrt(norm), 1e-4 * sqrt(out));
        ck_assert_double_le(norm, last * (1 + 1e-6));
      }
      for (int64_t c = 0; c < i && !pissa; c++)
        ck_assert_msg(fabs((double)row[c]) < 1e-5 * sqrt(norm), "%s: %g below the diagonal",
                      tensor->module, (double)row[c]);
      last = norm;
    }
  }
  ck_assert_int_gt(seen, 3);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

/* A reset gives trained parameters the values with which they began, zeros included. */
START_TEST(test_reset) {
  begin_kernels();
  struct zf_model *model = open_base("llama");
  struct zf_adapter_file *file =
      attach_new(model, ZF_PEFT_LORA, NULL, ZF_TRAIN_ALL, "true", 0, "none");
  char before[33], now[33];
  ck_ok(zf_model_hash(model, before));
  for (int64_t j = 0; j < file->count; j++)
    for (int64_t k = 0; k < file->tensor[j].count; k++) file->tensor[j].data[k] += 1;
  ck_ok(zf_model_hash(model, now));
  ck_assert_str_ne(now, before);
  zf_model_reset(model);
  ck_ok(zf_model_hash(model, now));
  ck_assert_str_eq(now, before);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

/* Biases alone: the LoRA beside them stays out of training, and a model without biases is refused. */
START_TEST(test_biases) {
  begin_kernels();
  struct zf_model *model = open_base("gpt2");
  struct zf_adapter_file *file =
      attach_new(model, ZF_PEFT_LORA, NULL, ZF_TRAIN_BIASES, "true", 0, "all");
  int64_t biases = 0;
  for (int64_t i = model->plan.wanted_count; i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    size_t len = strlen(param->name);
    int bias = len > 5 && !strcmp(param->name + len - 5, ".bias");
    ck_assert_int_eq(param->trained, bias);
    biases += bias;
  }
  ck_assert_int_eq(biases, 2 * 6 + 1); /* a block's two norms and four products; the last norm */
  zf_model_free(model);
  zf_adapter_file_free(file);
  struct zf_peft_config config;
  model = open_base("llama");
  ck_ok(zf_peft_config_init(&config, ZF_PEFT_LORA));
  free(config.bias);
  config.bias = zf_strdup("all");
  ck_fails(zf_adapter_create(&file, model, &config, &(struct zf_adapter_plan){.seed = 1}),
           ZF_EUSAGE, "has no biases to train");
  zf_peft_config_free(&config);
  zf_model_free(model);
}
END_TEST

/* Virtual tokens that begin as tokens give the logits of the text with these tokens in front. */
START_TEST(test_virtual) {
  enum zf_peft_kind kind = _i % 2 ? ZF_PEFT_PREFIX : ZF_PEFT_PROMPT;
  const char *base = bases[_i / 2];
  int32_t longer[VIRTUAL + N - VIRTUAL];
  begin_kernels();
  struct zf_model *model = open_base(base), *plain = open_base(base);
  memcpy(longer, ids + N - VIRTUAL, VIRTUAL * sizeof *ids);
  memcpy(longer + VIRTUAL, ids, (N - VIRTUAL) * sizeof *ids);
  struct zf_adapter_file *file = attach_new(model, kind, NULL, ZF_TRAIN_ALL, "true", 0, "none");
  int64_t V = model->config.outputs;
  float *got = logits_of(model, ids, N - VIRTUAL), *want = logits_of(plain, longer, N);
  near_logits(base, got, want + VIRTUAL * V, (N - VIRTUAL) * V);
  free(got);
  free(want);
  zf_model_free(model);
  zf_model_free(plain);
  zf_adapter_file_free(file);
}
END_TEST

/* Tokens through a cache, in pieces, give one pass over the whole: also behind virtual tokens. */
START_TEST(test_cache) {
  static const int64_t cut[] = {0, 3, 4, N};
  enum zf_peft_kind kinds[] = {ZF_PEFT_LORA, ZF_PEFT_PROMPT, ZF_PEFT_PREFIX};
  struct zf_perturb none = zf_perturb_none();
  begin_kernels();
  struct zf_model *model = open_base(bases[_i / 3]);
  struct zf_adapter_file *file =
      attach_new(model, kinds[_i % 3], NULL, ZF_TRAIN_ALL, "true", 0, "none");
  int64_t V = model->config.outputs;
  float *whole = logits_of(model, ids, N), *part = zf_calloc(N * V, sizeof *part);
  struct zf_forward *forward = make_forward(model, N, N, 1, N, 1);
  struct zf_cache *cache;
  ck_ok(zf_cache_new(&cache, model, N));
  zf_cache_keep(cache, model, 0, N);
  for (size_t k = 0; k + 1 < sizeof cut / sizeof *cut; k++) {
    int64_t count = cut[k + 1] - cut[k];
    int32_t id[N], pos[N], row[N];
    for (int64_t i = 0; i < count; i++) {
      id[i] = ids[cut[k] + i];
      pos[i] = (int32_t)(cut[k] + i);
      row[i] = (int32_t)i;
    }
    struct zf_segment segment = {.len = count};
    struct zf_batch batch = {.T = count,
                             .id = id,
                             .pos = pos,
                             .segment_count = 1,
                             .segment = &segment,
                             .cache = &cache,
                             .R = count,
                             .row = row};
    ck_ok(zf_forward_run(forward, &batch, &none));
    zf_forward_logits(forward, part);
    ck_assert_mem_eq(part, whole + cut[k] * V, sizeof *part * (size_t)(count * V));
    ck_assert_int_eq(cache->len, cut[k + 1]);
  }
  zf_cache_free(cache);
  zf_forward_free(forward);
  free(part);
  free(whole);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

/* --- directions by example --- */

enum { EXAMPLES = 3 };

/* Example i: ids[3i..3i+3), in a pass of examples from..to. */
static void run_examples(struct zf_forward *forward, int64_t from, int64_t to, float *out) {
  int32_t id[N], pos[N], row[N];
  struct zf_segment segment[EXAMPLES];
  struct zf_group group[EXAMPLES];
  struct zf_batch batch = {.id = id, .pos = pos, .row = row, .segment = segment, .group = group};
  for (int64_t i = from; i < to; i++) {
    group[batch.group_count++] =
        (struct zf_group){.start = batch.T, .len = 3, .row_start = batch.R, .row_len = 2};
    segment[batch.segment_count++] = (struct zf_segment){.start = batch.T, .len = 3};
    for (int32_t j = 0; j < 3; j++) {
      if (j) row[batch.R++] = (int32_t)batch.T;
      pos[batch.T] = j;
      id[batch.T++] = ids[3 * i + j];
    }
  }
  struct zf_perturb perturb = zf_perturb_spsa(11, 2, 1, ZF_GAUSSIAN, 1e-2f);
  perturb.by_example = 1;
  perturb.first_example = from;
  ck_ok(zf_forward_run(forward, &batch, &perturb));
  zf_forward_logits(forward, out);
}

static const enum zf_peft_kind varied[] = {ZF_PEFT_LORA,   ZF_PEFT_LORA,   ZF_PEFT_IA3, ZF_PEFT_LN,
                                           ZF_PEFT_PROMPT, ZF_PEFT_PREFIX, ZF_PEFT_VERA};
enum { VARIED = sizeof varied / sizeof *varied };

/* An example has the same bits alone and among others, and its direction is its own. */
START_TEST(test_by_example) {
  int i = _i % VARIED;
  const char *base = bases[_i / VARIED];
  if (!strcmp(base, "bert") && (varied[i] == ZF_PEFT_PROMPT || varied[i] == ZF_PEFT_PREFIX)) return;
  begin_kernels();
  struct zf_model *model = open_base(base);
  struct zf_adapter_file *file = attach_new(model, varied[i], i == 1 ? "all-linear" : NULL,
                                            i ? ZF_TRAIN_ALL : ZF_TRAIN_B, "true", i == 1, "none");
  /* values that are not 0, so that every part of the adapter counts */
  for (int64_t j = 0; j < file->count; j++) {
    struct zf_noise key = {.seed = 3, .param = (uint32_t)j, .use = ZF_USE_SAMPLE};
    float z[64];
    for (int64_t k = 0; k < file->tensor[j].count; k++) {
      if (k % 64 == 0) zf_noise_ref(z, &key, k, 64);
      file->tensor[j].data[k] += 0.1f * z[k % 64];
    }
  }
  int64_t V = model->config.outputs, all = 2 * EXAMPLES * 2 * V;
  float *together = zf_calloc(all, sizeof *together), *alone = zf_calloc(all, sizeof *alone);
  struct zf_forward *forward = make_forward(model, N, N, EXAMPLES, 3, 2);
  run_examples(forward, 0, EXAMPLES, together);
  for (int64_t k = 0; k < EXAMPLES; k++) {
    run_examples(forward, k, k + 1, alone);
    for (int64_t s = 0; s < 2; s++)
      ck_assert_mem_eq(alone + s * 2 * V, together + (s * EXAMPLES + k) * 2 * V,
                       sizeof *alone * (size_t)(2 * V));
    ck_assert_mem_ne(alone, alone + 2 * V,
                     sizeof *alone * (size_t)(2 * V)); /* the streams differ */
  }
  free(together);
  free(alone);
  zf_forward_free(forward);
  zf_model_free(model);
  zf_adapter_file_free(file);
}
END_TEST

/* --- names --- */

START_TEST(test_no_target) {
  struct zf_peft_config config;
  struct zf_adapter_file *file;
  const char *names[] = {"q_proj", "v_prj"};
  begin_kernels();
  struct zf_model *model = open_base("llama");
  ck_ok(zf_peft_config_init(&config, ZF_PEFT_LORA));
  ck_ok(zf_peft_names_set(&config.target, names, 2, NULL));
  ck_fails(zf_adapter_create(&file, model, &config, &(struct zf_adapter_plan){.seed = 1}),
           ZF_EUSAGE, "'v_prj' matches no module");
  ck_assert(strstr(zf_error_message(), "did you mean 'v_proj'?") != NULL);
  zf_peft_config_free(&config);
  zf_model_free(model);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("adapter_create");
  TCase *t = tcase_create("adapter_create");
  tcase_add_loop_test(t, test_start, 0, BASES * STARTS);
  tcase_add_loop_test(t, test_from_weights, 0, 2 * BASES);
  tcase_add_test(t, test_reset);
  tcase_add_test(t, test_biases);
  tcase_add_loop_test(t, test_virtual, 0, 2 * (BASES - 1));
  tcase_add_loop_test(t, test_cache, 0, 3 * (BASES - 1));
  tcase_add_loop_test(t, test_by_example, 0, BASES * VARIED);
  tcase_add_test(t, test_no_target);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  return unit_run(suite());
}
