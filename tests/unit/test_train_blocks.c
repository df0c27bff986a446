/* A GGUF file is trained itself: scales of blocks, integers of Q8_0, norms.  What a stream sees, what an
 * update leaves, what the result holds. */
#include "compress/image.h"
#include "model/gguf_result.h"
#include "unit/models.h"
#include "unit/zo_steps.h"

#define FILES "tests/golden/gguf/"
#define MIXED FILES "llama-q4_k_m.gguf"
#define BYTES FILES "llama-q8_0.gguf"

static const char *const files[] = {"gemma",        "gemma2", "gemma3",     "llama-f16",
                                    "llama-q4_k_m", "llama3", "llama-q8_0", "phi3",
                                    "qwen2",        "qwen3",  "phi3-factor"};
enum { FILE_COUNT = sizeof files / sizeof *files, TOKENS = 20 };

static const struct zf_zo sgd = {.seed = 7, .eps = 0x1p-9, .probes = 1};

static struct zf_model *open_trained(const char *path, const char *glob, enum zf_blocks blocks) {
  struct zf_model_opts opts = {.dtype = -1, .trainable = &glob, .ntrainable = 1, .blocks = blocks};
  return open_model(path, &opts);
}

/* One step of `distance` along its direction. */
static void walk(struct zf_model *model, uint32_t step, double distance) {
  if (!model->params.optimizer) ck_ok(zf_zo_open(&model->params, &sgd));
  struct zf_zo_estimate estimate = new_estimate(&sgd);
  set_term(&estimate, &sgd, step, 0, -1);
  update_step(&model->params, &sgd, step, &estimate, distance, 0);
  free_estimate(&estimate);
}

static void close_model(struct zf_model *model) {
  zf_zo_close(&model->params);
  zf_model_free(model);
}

static float *logits_at(const struct zf_model *model, const struct zf_perturb *perturb) {
  int32_t ids[TOKENS];
  for (int i = 0; i < TOKENS; i++) ids[i] = (i * 7 + 3) % 200;
  return logits_under(model, ids, TOKENS, perturb);
}

static void same_logits(const struct zf_model *left, const struct zf_perturb *of_left,
                        const struct zf_model *right, const struct zf_perturb *of_right) {
  float *x = logits_at(left, of_left), *y = logits_at(right, of_right);
  ck_assert_mem_eq(x, y, (size_t)(TOKENS * left->config.outputs) * sizeof *x);
  free(x);
  free(y);
}

static char *read_bytes(const char *path, size_t *len) {
  char *bytes;
  ck_ok(zf_read_file(&bytes, len, path, 1 << 20));
  return bytes;
}

/* --- scales --- */

START_TEST(scales_begin_as_the_file) {
  struct zf_model *plain = open_model(MIXED, &as_stored),
                  *trained = open_trained(MIXED, "*", ZF_BLOCKS_SCALES);
  struct zf_perturb none = zf_perturb_none();
  same_logits(plain, &none, trained, &none);
  int64_t scales = 0;
  for (int64_t i = 0; i < trained->plan.wanted_count; i++) {
    const struct zf_param *param = &trained->params.param[i];
    int in_blocks = zf_dtype_info(param->type)->block > 1;
    ck_assert_int_eq(param->scales > 0, in_blocks);
    ck_assert_int_eq(param->trained, !in_blocks);
    scales += zf_dtype_scales(param->type, param->count);
    if (!in_blocks) continue;
    const struct zf_param *changes = &trained->params.param[param->scales];
    ck_assert_int_eq(changes->id, param->id);
    ck_assert_int_eq(changes->block, param->block);
    ck_assert_int_eq(changes->count, zf_dtype_scales(param->type, param->count));
  }
  ck_assert_int_eq(zf_params_count(&trained->params, 1) - scales,
                   256 * (2 * trained->config.layers + 1));
  ck_assert_int_eq(zf_model_has_adapter(trained), 0);
  zf_model_free(plain);
  close_model(trained);
}
END_TEST

/* A step along a direction leads to what the stream at that distance saw: with u = 0 at first, both are
 * u = eps z. */
START_TEST(a_step_leads_where_a_stream_was) {
  struct zf_model *seen = open_trained(MIXED, "*weight", ZF_BLOCKS_SCALES),
                  *moved = open_trained(MIXED, "*weight", ZF_BLOCKS_SCALES);
  struct zf_perturb along = zf_perturb_along(sgd.seed, 1, 0, ZF_GAUSSIAN, 0x1p-9f),
                    none = zf_perturb_none();
  walk(moved, 1, 0x1p-9);
  same_logits(seen, &along, moved, &none);
  close_model(seen);
  close_model(moved);
}
END_TEST

/* Changes of the scales alone move no norm. */
START_TEST(globs_choose) {
  struct zf_model *mlp = open_trained(MIXED, "*mlp*", ZF_BLOCKS_SCALES),
                  *norms = open_trained(MIXED, "*norm*", ZF_BLOCKS_SCALES);
  ck_assert_int_eq(mlp->params.count - mlp->plan.wanted_count, 3 * mlp->config.layers);
  ck_assert_int_eq(norms->params.count, norms->plan.wanted_count);
  ck_assert_int_eq(zf_params_count(&norms->params, 1), 256 * (2 * norms->config.layers + 1));
  ck_assert(zf_gguf_is_trained(mlp) && zf_gguf_is_trained(norms));
  close_model(mlp);
  close_model(norms);
}
END_TEST

/* --- the result --- */

/* Nothing changes: the file's bytes. */
START_TEST(an_unchanged_file_is_copied) {
  char path[256];
  size_t before, after;
  snprintf(path, sizeof path, FILES "%s.gguf", files[_i]);
  struct zf_model *model = open_trained(path, "*", ZF_BLOCKS_SCALES);
  const char *out = tmp_path("same.gguf");
  ck_ok(zf_gguf_save(model, out));
  char *from = read_bytes(path, &before), *to = read_bytes(out, &after);
  ck_assert_int_eq((int64_t)before, (int64_t)after);
  ck_assert_mem_eq(from, to, before);
  free(from);
  free(to);
  close_model(model);
}
END_TEST

/* Spacing of the values of a type at x: an upper bound of what rounding changes. */
static double spacing(enum zf_dtype type, double x) {
  int bits = type == ZF_F32 ? 23 : type == ZF_F16 ? 10 : 7;
  return fmax(ldexp(fabs(x), -bits), type == ZF_F16 ? 0x1p-24 : 0);
}

/* The scales of the result are those of the run within the spacing of f16. */
static void check_scales(const struct zf_model *model, const struct zf_param *held,
                         const struct zf_param *saved) {
  const struct zf_dtype_info *info = zf_dtype_info(held->type);
  const float *u = model->params.param[held->scales].data;
  const unsigned char *old = held->data, *new = saved->data;
  int64_t moved = 0;
  for (int64_t i = 0; i < zf_dtype_scales(held->type, held->count); i++) {
    size_t at = (size_t)(i / info->nscale) * info->size + (size_t)info->scale[i % info->nscale];
    uint16_t before, after;
    memcpy(&before, old + at, 2);
    memcpy(&after, new + at, 2);
    double want = (double)zf_f16_to_f32(before) * (1 + (double)u[i]),
           got = (double)zf_f16_to_f32(after);
    ck_assert_double_le(fabs(want - got), spacing(ZF_F16, want) * (1 + 0x1p-12));
    moved += before != after;
  }
  ck_assert_int_gt(moved, 0);
}

/* The other bytes of the blocks stay. */
static void check_integers_stay(const struct zf_param *held, const struct zf_param *saved) {
  const struct zf_dtype_info *info = zf_dtype_info(held->type);
  const unsigned char *old = held->data, *new = saved->data;
  for (size_t i = 0; i < zf_dtype_bytes(held->type, held->count); i++) {
    int is_scale = 0;
    for (int j = 0; j < info->nscale; j++)
      is_scale |= i % info->size / 2 == (size_t)info->scale[j] / 2;
    if (!is_scale) ck_assert_int_eq(old[i], new[i]);
  }
}

/* A value was rounded to the type of the file and, in families that add 1 to norms, twice in f32. */
static void check_values(const struct zf_param *held, const struct zf_param *saved) {
  float y[1];
  const float *x = held->data;
  for (int64_t i = 0; i < held->count; i++) {
    zf_to_f32(y, (const char *)saved->data + zf_dtype_bytes(saved->type, i), saved->type, 1);
    ck_assert_double_le(fabs((double)x[i] - (double)y[0]),
                        spacing(saved->type, (double)x[i]) + 0x1p-22);
  }
}

static void check_result(const char *path) {
  size_t before, after;
  struct zf_model *model = open_trained(path, "*", ZF_BLOCKS_SCALES);
  walk(model, 1, 0.01);
  const char *out = tmp_path("moved.gguf");
  ck_ok(zf_gguf_save(model, out));
  free(read_bytes(path, &before));
  free(read_bytes(out, &after));
  ck_assert_int_eq((int64_t)before, (int64_t)after);
  struct zf_model *result = open_model(out, &as_stored);
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    const struct zf_param *held = &model->params.param[i], *saved = &result->params.param[i];
    if (held->scales) {
      check_scales(model, held, saved);
      check_integers_stay(held, saved);
    } else {
      check_values(held, saved);
    }
  }
  zf_model_free(result);
  close_model(model);
}

START_TEST(the_result_holds_the_run) {
  char path[256];
  snprintf(path, sizeof path, FILES "%s.gguf", files[_i]);
  check_result(path);
}
END_TEST

/* Architectures whose rows stand in another order in the file. */
static const char *const ordered[] = {"mistral",  "granite",  "olmo2", "phi3-partial",
                                      "stablelm", "gpt_neox", "gemma"};
enum { ORDERED = sizeof ordered / sizeof *ordered };

START_TEST(the_result_of_other_families) {
  char dir[256];
  struct zf_image *image;
  snprintf(dir, sizeof dir, FAMILIES_DIR "%s", ordered[_i]);
  struct zf_model *model = open_model(dir, &as_stored);
  const char *path = tmp_path("family.gguf");
  ck_ok(zf_image_open(&image, model, NULL, ZF_F16));
  ck_ok(zf_image_write(image, path, NULL));
  check_result(path);
  zf_image_free(image);
  zf_model_free(model);
}
END_TEST

/* A base is not written over, and what is not finite is not written. */
START_TEST(what_is_not_written) {
  struct zf_model *model = open_trained(MIXED, "*mlp*", ZF_BLOCKS_SCALES);
  struct zf_param *changes = &model->params.param[model->plan.wanted_count];
  const char *out = tmp_path("none.gguf");
  float *u = changes->data;
  u[3] = NAN;
  ck_fails(zf_gguf_save(model, out), ZF_EDIVERGED, "not finite");
  u[3] = 1e9f;
  ck_fails(zf_gguf_save(model, out), ZF_EUSAGE, "out of the range");
  ck_assert(!zf_exists(out));
  close_model(model);
}
END_TEST

/* --- integers --- */

START_TEST(integers_are_the_result) {
  struct zf_model *model = open_trained(BYTES, "*", ZF_BLOCKS_INTEGERS);
  char start[33], moved[33], saved[33], again[33];
  const char *out = tmp_path("integers.gguf");
  ck_ok(zf_model_hash(model, start));
  walk(model, 1, 1e-3);
  walk(model, 2, 1e-3);
  ck_ok(zf_model_hash(model, moved));
  ck_assert_str_ne(start, moved);
  ck_ok(zf_gguf_save(model, out));
  struct zf_model *result = open_model(out, &as_stored);
  ck_ok(zf_model_base_hash(result, saved));
  ck_assert_str_eq(moved, saved);
  zf_model_reset(model);
  ck_ok(zf_model_hash(model, again));
  ck_assert_str_eq(start, again);
  zf_model_free(result);
  close_model(model);
}
END_TEST

/* The mean of an update over many elements is the update: integers move by less than one step of d on
 * most elements, and the expectation of stochastic rounding is exact.  The sum of n roundings, each within
 * d and independent, has a deviation of at most sqrt(n) d / 2. */
START_TEST(small_steps_are_kept_on_average) {
  struct zf_model *model = open_trained(BYTES, "*up_proj*", ZF_BLOCKS_INTEGERS);
  struct zf_param *param = NULL;
  for (int64_t i = 0; i < model->params.count; i++)
    if (model->params.param[i].trained) param = &model->params.param[i];
  int64_t n = param->count;
  float *before = zf_calloc(n, sizeof *before), *after = zf_calloc(n, sizeof *after), z;
  double sum = 0, bound = 0, distance = 1e-4;
  zf_to_f32(before, param->data, ZF_Q8_0, n);
  walk(model, 1, distance);
  zf_to_f32(after, param->data, ZF_Q8_0, n);
  for (int64_t i = 0; i < n; i++) {
    uint16_t half;
    memcpy(&half, (const char *)param->data + i / 32 * 34, 2);
    struct zf_noise noise = {.seed = sgd.seed, .step = 1, .param = param->id};
    zf_noise_ref(&z, &noise, i, 1);
    double d = (double)zf_f16_to_f32(half), change = (double)after[i] - (double)before[i];
    ck_assert_double_le(fabs(change), d + 7 * distance);
    sum += (z > 0 ? 1 : -1) * (change - distance * (double)z);
    bound += d * d / 4;
  }
  ck_assert_double_le(fabs(sum), 5 * sqrt(bound));
  free(before);
  free(after);
  close_model(model);
}
END_TEST

/* --- states --- */

static void check_state(const char *file, enum zf_blocks blocks) {
  struct zf_model *model = open_trained(file, "*", blocks),
                  *other = open_trained(file, "*", blocks);
  char moved[33], read[33];
  const char *path = tmp_path("state.safetensors");
  struct zf_st *st;
  walk(model, 1, 0.01);
  ck_ok(zf_model_hash(model, moved));
  ck_ok(zf_model_save_trained(model, path, NULL, 0));
  ck_ok(zf_st_open(&st, path));
  ck_ok(zf_model_reload(other, st));
  ck_ok(zf_model_hash(other, read));
  ck_assert_str_eq(moved, read);
  zf_st_free(st);
  close_model(model);
  close_model(other);
}

START_TEST(states_are_read_again) {
  check_state(MIXED, ZF_BLOCKS_SCALES);
  check_state(BYTES, ZF_BLOCKS_SCALES);
  check_state(BYTES, ZF_BLOCKS_INTEGERS);
}
END_TEST

/* A state of scales is none of integers. */
START_TEST(states_of_another_kind) {
  struct zf_model *scales = open_trained(BYTES, "*", ZF_BLOCKS_SCALES),
                  *integers = open_trained(BYTES, "*", ZF_BLOCKS_INTEGERS);
  const char *path = tmp_path("other.safetensors");
  struct zf_st *st;
  ck_ok(zf_model_save_trained(scales, path, NULL, 0));
  ck_ok(zf_st_open(&st, path));
  ck_fails(zf_model_reload(integers, st), ZF_EINVALID, "as the run saved them");
  zf_st_free(st);
  close_model(scales);
  close_model(integers);
}
END_TEST

/* --- refusals --- */

static int try_open(const char *path, int dtype, enum zf_dtype trained, enum zf_blocks blocks) {
  const char *glob = "*";
  struct zf_model *model = NULL;
  struct zf_model_opts opts = {
      .dtype = dtype, .trained = trained, .trainable = &glob, .ntrainable = 1, .blocks = blocks};
  int rc = zf_model_open(&model, path, &opts);
  zf_model_free(model);
  return rc;
}

START_TEST(refusals) {
  ck_fails(try_open(MIXED, -1, ZF_F32, ZF_BLOCKS_FROZEN), ZF_EUSAGE, "zoft export");
  ck_fails(try_open(MIXED, -1, ZF_F32, ZF_BLOCKS_INTEGERS), ZF_EUSAGE, "q8_0 alone");
  ck_fails(try_open(MIXED, ZF_F16, ZF_F32, ZF_BLOCKS_SCALES), ZF_EUSAGE, "dtype auto");
  ck_fails(try_open(MIXED, -1, ZF_BF16, ZF_BLOCKS_SCALES), ZF_EUSAGE, "trained_dtype f32");
}
END_TEST

/* --- learning --- */

/* How far the loss of a text falls in `steps` steps of MeZO. */
static double learned(const char *file, enum zf_blocks blocks, double rate, int steps) {
  struct zf_zo zo = {.seed = 3, .eps = 1e-3, .probes = 4};
  struct zf_model *model = open_trained(file, "*", blocks);
  struct text text;
  text_init(&text, model, TOKENS);
  ck_ok(zf_zo_open(&model->params, &zo));
  struct zf_zo_estimate estimate = new_estimate(&zo);
  double first = 0;
  for (int step = 1; step <= steps; step++) {
    ck_ok(zf_zo_estimate(&model->params, (uint32_t)step, rate, text_loss, &text, &estimate));
    if (step == 1) first = estimate.loss[0];
    update_step(&model->params, &zo, (uint32_t)step, &estimate, rate, 0);
  }
  double last = estimate.loss[0];
  free_estimate(&estimate);
  zf_forward_free(text.f);
  close_model(model);
  return first - last;
}

/* The same seeds give the same numbers everywhere: 0.33, 0.08 and 0.5.  A run that does not learn walks up
 * and down. */
START_TEST(the_loss_falls) {
  ck_assert_double_gt(learned(MIXED, ZF_BLOCKS_SCALES, 1e-2, 60), 0.2);
  ck_assert_double_gt(learned(BYTES, ZF_BLOCKS_SCALES, 1e-2, 60), 0.05);
  ck_assert_double_gt(learned(BYTES, ZF_BLOCKS_INTEGERS, 1e-3, 60), 0.2);
}
END_TEST

int main(void) {
  begin_kernels();
  Suite *suite = suite_create("train_blocks");
  TCase *tests = tcase_create("train_blocks");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, scales_begin_as_the_file);
  tcase_add_test(tests, a_step_leads_where_a_stream_was);
  tcase_add_test(tests, globs_choose);
  tcase_add_loop_test(tests, an_unchanged_file_is_copied, 0, FILE_COUNT);
  tcase_add_loop_test(tests, the_result_holds_the_run, 0, FILE_COUNT);
  tcase_add_loop_test(tests, the_result_of_other_families, 0, ORDERED);
  tcase_add_test(tests, what_is_not_written);
  tcase_add_test(tests, integers_are_the_result);
  tcase_add_test(tests, small_steps_are_kept_on_average);
  tcase_add_test(tests, states_are_read_again);
  tcase_add_test(tests, states_of_another_kind);
  tcase_add_test(tests, refusals);
  tcase_add_test(tests, the_loss_falls);
  suite_add_tcase(suite, tests);
  return unit_run(suite);
}
