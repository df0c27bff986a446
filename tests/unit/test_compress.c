/* Parts of compression: the factor of an inverse, error feedback, moments, the walk by layers, scales that
 * are folded, masks, repair, files of importance. */
#include "unit/unit.h"

#include <math.h>

#include "compress/cut.h"
#include "compress/feedback.h"
#include "compress/fold.h"
#include "compress/image.h"
#include "compress/imatrix.h"
#include "compress/inverse.h"
#include "compress/layer.h"
#include "compress/mix.h"
#include "compress/moments.h"
#include "compress/overlay.h"
#include "compress/prune.h"
#include "compress/quantizer.h"
#include "compress/walk.h"
#include "kern/kern.h"
#include "rng/noise.h"
#include "unit/models.h"

static void fill(float *out, int64_t count, uint32_t step) {
  struct zf_noise noise = {.seed = 5, .step = step};
  zf_noise_fill(out, &noise, 0, count);
}

static float *random_rows(int64_t rows, int64_t width, uint32_t step) {
  float *x = zf_calloc(rows * width, sizeof *x);
  ck_assert_ptr_nonnull(x);
  fill(x, rows * width, step);
  for (int64_t i = 0; i < rows;
       i++) /* neighbours are alike, so that the moments are not diagonal */
    for (int64_t j = 1; j < width; j++) x[i * width + j] += 0.7f * x[i * width + j - 1];
  return x;
}

static void give_workspace(void) {
  static char *memory;
  if (!memory) memory = aligned_alloc(64, (zf_kern_workspace_size(4) + 63) / 64 * 64);
  ck_assert_ptr_nonnull(memory);
  zf_kern_workspace(memory);
}

/* --- moments and the factor --- */

START_TEST(test_moments) {
  enum { ROWS = 77, WIDTH = 150 };
  float *x = random_rows(ROWS, WIDTH, 1);
  struct zf_moments moments, again;
  give_workspace();
  ck_ok(zf_moments_init(&moments, WIDTH, 1, ROWS));
  ck_ok(zf_moments_init(&again, WIDTH, 1, ROWS));
  zf_moments_add(&moments, x, WIDTH, ROWS);
  zf_moments_mirror(&moments);
  for (int64_t i = 0; i < WIDTH; i++)
    for (int64_t j = 0; j < WIDTH; j++) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < ROWS; k++) {
        double term = (double)x[k * WIDTH + i] * (double)x[k * WIDTH + j];
        sum += term;
        size += fabs(term);
      }
      /* a sum of ROWS products in f32 */
      ck_assert(fabs((double)moments.full[i * WIDTH + j] - sum) <= ROWS * 6e-8 * size);
      if (i == j) ck_assert(fabs(moments.square[i] - sum) <= 1e-12 * sum);
    }
  zf_kern_threads(2);
  zf_moments_add(&again, x, WIDTH, ROWS);
  zf_moments_mirror(&again);
  zf_kern_threads(1);
  ck_assert_mem_eq(moments.full, again.full, WIDTH * WIDTH * sizeof(float));
  zf_moments_free(&moments);
  zf_moments_free(&again);
  free(x);
}
END_TEST

/* factor^T factor times the matrix is the identity. */
START_TEST(test_inverse) {
  int64_t n = _i, rows = 3 * n;
  float *x = random_rows(rows, n, 2), *matrix = zf_calloc(n * n, sizeof *matrix),
        *factor = zf_calloc(n * n, sizeof *factor);
  for (int64_t k = 0; k < rows; k++)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++) matrix[i * n + j] += x[k * n + i] * x[k * n + j];
  memcpy(factor, matrix, (size_t)(n * n) * sizeof *factor);
  ck_ok(zf_inverse_factor(factor, n, 0.01));
  double mean = 0, worst = 0;
  for (int64_t i = 0; i < n; i++) mean += (double)matrix[i * n + i] / (double)n;
  for (int64_t i = 0; i < n; i++) matrix[i * n + i] += (float)(0.01 * mean);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t k = 0; k < n; k++) {
        double inverse = 0;
        for (int64_t p = k > i ? k : i; p < n; p++)
          inverse += (double)factor[p * n + i] * (double)factor[p * n + k];
        sum += inverse * (double)matrix[k * n + j];
      }
      worst = fmax(worst, fabs(sum - (i == j)));
    }
  /* f32 entries, condition below (n + 1) / 0.01 times a small factor */
  ck_assert_msg(worst < 6e-8 * 400 * (double)(n + 1), "%g", worst);
  free(x);
  free(matrix);
  free(factor);
}
END_TEST

START_TEST(test_inverse_refuses) {
  float matrix[4] = {1, 2, 2, 1};
  ck_fails(zf_inverse_factor(matrix, 2, 0.01), ZF_EFAIL, "not positive definite");
}
END_TEST

/* --- feedback --- */

/* Rounds to multiples of a step. */
static void begin_nothing(void *ctx, int64_t row, int64_t first, int64_t count, const float *w) {
  (void)ctx, (void)row, (void)first, (void)count, (void)w;
}

static float round_value(void *ctx, int64_t row, int64_t p, float w) {
  (void)row, (void)p;
  float step = *(float *)ctx;
  return roundf(w / step) * step;
}

/* Squared error of (a - b) on rows x. */
static double output_error(const float *a, const float *b, const float *x, int64_t rows,
                           int64_t n) {
  double sum = 0;
  for (int64_t k = 0; k < rows; k++) {
    double dot = 0;
    for (int64_t j = 0; j < n; j++) dot += ((double)a[j] - (double)b[j]) * (double)x[k * n + j];
    sum += dot * dot;
  }
  return sum;
}

START_TEST(test_feedback) {
  enum { N = 96, ROWS = 200, OUT = 21 };
  float step = 0.5f, *x = random_rows(ROWS, N, 3), *w = random_rows(OUT, N, 4),
        *moved = zf_calloc(OUT * N, sizeof *moved), *factor = zf_calloc(N * N, sizeof *factor),
        *threads = zf_calloc(OUT * N, sizeof *threads);
  for (int64_t k = 0; k < ROWS; k++)
    for (int64_t i = 0; i < N * N; i++) factor[i] += x[k * N + i / N] * x[k * N + i % N];
  ck_ok(zf_inverse_upper(factor, N, 0.01));
  struct zf_feedback feedback = {32, begin_nothing, round_value, &step};
  memcpy(moved, w, OUT * N * sizeof *w);
  memcpy(threads, w, OUT * N * sizeof *w);
  zf_feedback_rows(moved, 0, OUT, factor, N, &feedback);
  zf_kern_threads(2);
  zf_feedback_rows(threads, 0, OUT, factor, N, &feedback);
  zf_kern_threads(1);
  ck_assert_mem_eq(moved, threads, OUT * N * sizeof *w);
  double nearest = 0, with = 0;
  for (int64_t i = 0; i < OUT; i++) {
    float rounded[N];
    for (int64_t j = 0; j < N; j++) {
      rounded[j] = round_value(&step, i, j, w[i * N + j]);
      ck_assert(moved[i * N + j] == round_value(&step, i, j, moved[i * N + j])); /* on the grid */
    }
    nearest += output_error(rounded, w + i * N, x, ROWS, N);
    with += output_error(moved + i * N, w + i * N, x, ROWS, N);
  }
  ck_assert_msg(with < 0.6 * nearest, "%g of %g", with, nearest);
  free(x);
  free(w);
  free(moved);
  free(threads);
  free(factor);
}
END_TEST

/* --- the walk --- */

static struct zf_windows text_windows(const struct zf_model *model) {
  struct zf_windows windows = {.length = 6, .count = 3};
  windows.id = zf_calloc(18, sizeof *windows.id);
  for (int i = 0; i < 18; i++) windows.id[i] = (i * 7 + 3) % (int)model->config.vocab;
  return windows;
}

struct last_input {
  const struct zf_op *op;
  int64_t calls, rows;
};

static void count_input(void *ctx, const struct zf_op *op, const float *x, int64_t ld,
                        int64_t rows) {
  struct last_input *last = ctx;
  (void)x, (void)ld;
  last->op = op;
  last->calls++;
  last->rows += rows;
}

/* Layer by layer, the inputs of the products are those of a whole pass: their moments are equal. */
START_TEST(test_walk) {
  struct zf_model *model = open_family(_i, NULL, -1);
  struct zf_windows windows = text_windows(model);
  struct zf_walk *walk;
  struct last_input seen = {0};
  ck_ok(zf_walk_new(&walk, model, &windows, "/tmp", ZF_COMPUTE_F32));
  for (int64_t layer = 0; layer < model->config.layers; layer++) {
    struct zf_layer by_walk, by_pass;
    ck_ok(zf_layer_open(&by_walk, model, layer, 0, 6));
    ck_ok(zf_layer_open(&by_pass, model, layer, 0, 6));
    ck_ok(zf_walk_layer(walk, layer, 0, zf_layer_watch, &by_walk, NULL, NULL));
    ck_ok(zf_walk_layer(walk, layer, 1, count_input, &seen, NULL, NULL));
    struct zf_forward *forward = make_forward(model, 6, 6, 1, 6, 1);
    zf_forward_watch_inputs(forward, zf_layer_watch, &by_pass);
    for (int64_t i = 0; i < windows.count; i++) {
      int32_t pos[6] = {0, 1, 2, 3, 4, 5}, row[1] = {5};
      struct zf_segment segment = {.len = 6};
      struct zf_batch batch = {.T = 6,
                               .id = windows.id + 6 * i,
                               .pos = pos,
                               .segment_count = 1,
                               .segment = &segment,
                               .R = 1,
                               .row = row};
      struct zf_perturb none = zf_perturb_none();
      ck_ok(zf_forward_run(forward, &batch, &none));
    }
    ck_assert_int_gt(by_walk.matrices, 1);
    for (int i = 0; i < by_walk.inputs; i++) {
      ck_assert_int_eq(by_walk.input[i].moments.rows, 18);
      ck_assert_mem_eq(by_walk.input[i].moments.square, by_pass.input[i].moments.square,
                       (size_t)by_walk.input[i].moments.width * sizeof(double));
    }
    zf_forward_free(forward);
    zf_layer_close(&by_walk);
    zf_layer_close(&by_pass);
  }
  ck_assert_int_gt(seen.calls, 0);
  zf_walk_free(walk);
  free(windows.id);
  zf_model_free(model);
}
END_TEST

/* --- scales that are folded --- */

/* AWQ whose types are f32 rounds nothing: the logits stay, but for the rounding of scales. */
START_TEST(test_fold) {
  struct zf_model *model = open_family(_i, NULL, -1);
  struct zf_windows windows = text_windows(model);
  struct zf_overlay *overlay;
  enum zf_dtype type[256];
  float *before = logits_of(model, windows.id, 6);
  ck_assert_int_lt(model->params.count, 256);
  for (int i = 0; i < model->params.count; i++) type[i] = ZF_F32;
  ck_ok(zf_overlay_new(&overlay, model, "/tmp"));
  int64_t folded = 0;
  for (int64_t number = 0; number < model->config.layers; number++) {
    struct zf_layer layer;
    ck_ok(zf_layer_open(&layer, model, number, 1, 6));
    for (int i = 0; i < layer.inputs; i++) folded += zf_fold_find(&layer, i).kind != ZF_FOLD_NONE;
    zf_layer_close(&layer);
  }
  struct zf_quantization job = {.model = model,
                                .overlay = overlay,
                                .type = type,
                                .windows = &windows,
                                .directory = "/tmp",
                                .compute = ZF_COMPUTE_F32,
                                .penalty = 0.01};
  ck_ok(zf_quantize_layers(zf_quantize_method_find("awq"), &job));
  float *after = logits_of(model, windows.id, 6);
  for (int64_t i = 0; i < 6 * model->config.outputs; i++)
    ck_assert_msg(fabsf(before[i] - after[i]) <= 1e-4f * (1 + fabsf(before[i])), "%s: %g, %g",
                  families[_i], (double)before[i], (double)after[i]);
  if (_i == 0) ck_assert_int_eq(folded, 4 * model->config.layers); /* llama: every input */
  free(before);
  free(after);
  free(windows.id);
  zf_model_free(model);
}
END_TEST

/* --- pruning --- */

static void prune_family(struct zf_model *model, const char *method, int keep, int of, int repair,
                         int64_t *zeros, int64_t *values) {
  struct zf_windows windows = text_windows(model);
  struct zf_overlay *overlay;
  ck_ok(zf_overlay_new(&overlay, model, "/tmp"));
  struct zf_pruning job = {.model = model,
                           .overlay = overlay,
                           .sparsity = 0.5,
                           .keep = keep,
                           .of = of,
                           .repair_iterations = repair,
                           .windows = &windows,
                           .directory = "/tmp",
                           .penalty = 0.01};
  ck_ok(zf_prune_layers(zf_pruner_find(method), &job, zeros, values));
  free(windows.id);
}

START_TEST(test_masks) {
  static const char *const methods[] = {"magnitude", "wanda", "sparsegpt"};
  for (int repair = 0; repair <= 8; repair += 8)
    for (int of = 0; of <= 4; of += 4) {
      struct zf_model *model = open_model("tests/golden/gguf/llama-q8_0.gguf", &as_stored);
      int64_t zeros, values;
      prune_family(model, methods[_i], of ? 2 : 0, of, repair, &zeros, &values);
      ck_assert_int_eq(2 * zeros, values);
      for (int64_t i = 0; of && i < model->plan.nop; i++) {
        const struct zf_op *op = &model->plan.op[i];
        if (op->kind != ZF_OP_LINEAR || op->layer < 0) continue;
        const struct zf_param *param = &model->params.param[op->weight];
        const float *w = param->data;
        ck_assert_int_eq(param->type, ZF_F32);
        for (int64_t k = 0; k < param->count; k += 4)
          ck_assert_int_eq((w[k] == 0) + (w[k + 1] == 0) + (w[k + 2] == 0) + (w[k + 3] == 0), 2);
      }
      zf_model_free(model);
    }
}
END_TEST

/* Keeping everything keeps the model; what a cut leaves computes what the model with zeros computes. */
START_TEST(test_cut) {
  struct zf_model *model = open_family(_i, NULL, -1);
  struct zf_windows windows = text_windows(model);
  const char *dir = tmp_path("cut");
  struct zf_overlay *overlay;
  struct zf_cut *cut;
  struct zf_tok *tok = NULL;
  ck_ok(zf_overlay_new(&overlay, model, "/tmp"));
  ck_ok(zf_cut_new(&cut, model));
  int heads = model->config.family->k_head_dim && !model->config.family->wide_norm &&
              model->config.kv_heads > 1 &&
              model->config.hidden % (model->config.heads / model->config.kv_heads) == 0;
  struct zf_cutting job = {.overlay = overlay,
                           .windows = &windows,
                           .directory = "/tmp",
                           .penalty = 0.01,
                           .columns = model->config.ffn / 2,
                           .groups = heads ? 1 : 0,
                           .layers = model->config.layers > 1 &&
                                     !model->config.inverse_layer_scale &&
                                     !model->config.post_norm};
  ck_ok(zf_cut_choose(cut, &job));
  ck_ok(zf_cut_save(cut, tok, dir, ZF_F32));
  struct zf_model *small = open_model(dir, &as_stored);
  float *expected = logits_of(model, windows.id, 6), *found = logits_of(small, windows.id, 6);
  ck_assert_int_eq(small->config.ffn, model->config.ffn / 2);
  for (int64_t i = 0; i < 6 * model->config.outputs; i++)
    ck_assert_msg(fabsf(expected[i] - found[i]) <= 1e-4f * (1 + fabsf(expected[i])), "%s: %g, %g",
                  families[_i], (double)expected[i], (double)found[i]);
  free(expected);
  free(found);
  zf_model_free(small);
  zf_cut_free(cut);
  free(windows.id);
  zf_model_free(model);
}
END_TEST

/* --- files and types --- */

START_TEST(test_imatrix) {
  static const char *const names[] = {"m.gguf", "m.dat"};
  struct zf_imatrix imatrix = {.chunks = 3, .chunk_size = 8}, read;
  double square[2][5] = {{1, 2, 3, 4, 5}, {0, 1, 0, 8, 2}};
  char path[512];
  ck_ok(zf_imatrix_add(&imatrix, "blk.0.attn_q.weight", 5, square[0], 24));
  ck_ok(zf_imatrix_add(&imatrix, "blk.1.ffn_down.weight", 3, square[1], 24));
  snprintf(path, sizeof path, "%s", tmp_path(names[_i]));
  ck_ok(zf_imatrix_write(&imatrix, path, "text.txt"));
  ck_ok(zf_imatrix_read(&read, path));
  ck_assert_int_eq(read.count, 2);
  ck_assert_int_eq(read.chunks, 3);
  for (int i = 0; i < 2; i++) {
    const struct zf_imatrix_entry *entry = zf_imatrix_find(&read, imatrix.entry[i].name);
    float importance[5];
    ck_assert_ptr_nonnull(entry);
    ck_assert_int_eq(entry->width, imatrix.entry[i].width);
    zf_imatrix_importance(entry, importance);
    for (int64_t j = 0; j < entry->width; j++) /* two roundings to f32 */
      ck_assert(fabs((double)importance[j] - square[i][j] / 24) <= 1.3e-7 * square[i][j] / 24);
  }
  zf_imatrix_free(&read);
  zf_imatrix_free(&imatrix);
  ck_ok(truncate(path, 40) ? ZF_EIO : 0);
  ck_fails(zf_imatrix_read(&read, path), ZF_EINVALID, names[_i]);
}
END_TEST

/* A scale that f16 cannot hold is infinite in its block: such a file is refused. */
START_TEST(test_infinite_scale) {
  const char *path = "tests/golden/gguf/llama-q8_0.gguf", *out = tmp_path("infinite.gguf");
  struct zf_model *model = open_model(path, &as_stored);
  struct zf_tok *tok;
  struct zf_overlay *overlay;
  struct zf_image *image;
  enum zf_dtype type[256];
  void *data;
  int32_t number = model->plan.op[zf_edit_find(&model->plan, ZF_ROLE_DOWN, 0)].weight;
  ck_ok(zf_tok_open(&tok, path));
  ck_ok(zf_overlay_new(&overlay, model, "/tmp"));
  ck_ok(zf_overlay_reserve(overlay, number, ZF_F32, &data));
  ((float *)data)[0] = 1e7f;
  zf_overlay_use(overlay, number);
  for (int i = 0; i < 256; i++) type[i] = ZF_Q4_0;
  struct zf_quantization job = {.model = model, .overlay = overlay, .type = type};
  ck_ok(zf_quantize_param(&job, number, NULL));
  ck_ok(zf_image_open(&image, model, tok, ZF_F32));
  zf_image_take_params(image);
  zf_image_keep_types(image);
  ck_fails(zf_image_write(image, out, NULL), ZF_EDIVERGED, "'blk.0.ffn_down.weight' has a value");
  ck_assert_int_eq(access(out, F_OK), -1);
  zf_image_free(image);
  zf_tok_free(tok);
  zf_model_free(model);
}
END_TEST

START_TEST(test_mix) {
  struct zf_model *model = open_family(0, NULL, -1);
  const struct zf_mix *mix = zf_mix_find("q4_k_m");
  ck_assert_ptr_null(zf_mix_find("q9"));
  ck_assert_int_eq(zf_mix_choose(mix, model, "blk.0.ffn_up.weight", 512, 0), ZF_Q4_K);
  ck_assert_int_eq(zf_mix_choose(mix, model, "blk.0.ffn_up.weight", 96, 0), ZF_Q5_0);
  ck_assert_int_eq(zf_mix_choose(mix, model, "blk.0.ffn_up.weight", 40, 0), ZF_F16);
  ck_assert_int_eq(zf_mix_choose(mix, model, "output.weight", 512, 0), ZF_Q6_K);
  ck_assert_int_eq(zf_mix_choose(zf_mix_find("q2_k"), model, "blk.0.attn_output.weight", 512, 0),
                   ZF_Q3_K);
  ck_assert_int_eq(zf_mix_choose(zf_mix_find("q4_0"), model, "output.weight", 512, 0), ZF_Q6_K);
  zf_model_free(model);
}
END_TEST

int main(void) {
  Suite *s = suite_create("compress");
  TCase *t = tcase_create("compress");
  tcase_set_timeout(t, 300);
  begin_kernels();
  tcase_add_test(t, test_moments);
  tcase_add_loop_test(t, test_inverse, 60, 70);
  tcase_add_loop_test(t, test_inverse, 127, 131);
  tcase_add_test(t, test_inverse_refuses);
  tcase_add_test(t, test_feedback);
  tcase_add_loop_test(t, test_walk, 0, NSTEADY);
  tcase_add_loop_test(t, test_fold, 0, NSTEADY);
  tcase_add_loop_test(t, test_masks, 0, 3);
  tcase_add_loop_test(t, test_cut, 0, NSTEADY);
  tcase_add_loop_test(t, test_imatrix, 0, 2);
  tcase_add_test(t, test_infinite_scale);
  tcase_add_test(t, test_mix);
  suite_add_tcase(s, t);
  return unit_run(s);
}
