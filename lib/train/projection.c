#include "train/projection.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"

enum { ROWS = 384, TURNS = 3, SHAPES = 32, SAMPLE = 256 };

/* --- calibration --- */

struct shape {
  int64_t inputs, outputs, times;
};

/* Distinct products of the plan, and the head in pieces as losses take it. */
static int shapes_of(struct shape *shape, const struct zf_model *model) {
  int count = 0;
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    int at = 0;
    if (op->kind != ZF_OP_LINEAR) continue;
    while (at < count && (shape[at].inputs != op->inputs || shape[at].outputs != op->width)) at++;
    if (at == SHAPES) continue;
    if (at == count) shape[count++] = (struct shape){op->inputs, op->width, 0};
    shape[at].times++;
  }
  return count;
}

static double time_product(float *y, const float *x, const float *w, const struct shape *shape,
                           int64_t rows, enum zf_compute compute) {
  struct zf_weight weight = {.data = w,
                             .type = ZF_F32,
                             .out = shape->outputs,
                             .in = shape->inputs,
                             .so = shape->inputs,
                             .si = 1,
                             .compute = compute};
  struct zf_streams one = {.count = 1};
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) { /* the first warms up */
    double start = zf_now();
    zf_gemm(y, shape->outputs, x, shape->inputs, rows, &weight, &one, NULL, 0, 0);
    double took = zf_now() - start;
    if (t && took < best) best = took;
  }
  return best;
}

static double time_bytes(float *a, float *b, int64_t count) {
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) {
    double start = zf_now();
    zf_add_rows(a, count / 64, b, count / 64, 64, count / 64);
    if (t && zf_now() - start < best) best = zf_now() - start;
  }
  return 12 * (double)count / best;
}

static double time_noise(float *z, int64_t count) {
  struct zf_noise key = {.seed = 1};
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) {
    double start = zf_now();
    zf_noise_fill(z, &key, 0, count);
    if (t && zf_now() - start < best) best = zf_now() - start;
  }
  return (double)count / best;
}

static double time_products(const struct zf_run *run, const struct shape *shape, int count,
                            int64_t rows, float *x, float *w, float *y) {
  double work = 0, took = 0;
  for (int i = 0; i < count; i++) {
    double times = (double)shape[i].times;
    work += 2 * times * (double)(rows * shape[i].inputs * shape[i].outputs);
    took += times * time_product(y, x, w, &shape[i], rows, run->set.compute);
  }
  return work / took;
}

int zf_calibrate(struct zf_calibration *out, const struct zf_run *run) {
  enum { BIG = 1 << 22 };
  struct shape shape[SHAPES];
  int count = shapes_of(shape, run->model);
  int64_t rows = run->lim.tokens < ROWS ? run->lim.tokens : ROWS, k = 1, n = 1, kn = BIG;
  for (int i = 0; i < count; i++) {
    if (shape[i].inputs > k) k = shape[i].inputs;
    if (shape[i].outputs > n) n = shape[i].outputs;
    if (shape[i].inputs * shape[i].outputs > kn) kn = shape[i].inputs * shape[i].outputs;
  }
  size_t work = zf_kern_workspace_size(zf_kern_nthreads(), run->set.compute, rows, k);
  float *x = zf_calloc(rows * k, sizeof *x), *w = zf_calloc(kn, sizeof *w);
  float *y = zf_calloc(rows * n > BIG ? rows * n : BIG, sizeof *y);
  struct zf_arena arena = {0};
  int rc = x && w && y ? zf_arena_init(&arena, zf_arena_cost(work)) : ZF_ENOMEM;
  void *space = rc ? NULL : zf_arena_alloc(&arena, work);
  if (space) {
    zf_kern_workspace(space, zf_kern_nthreads());
    out->product = time_products(run, shape, count, rows, x, w, y);
    out->attention = 0.4 * out->product; /* short sums, packing for each head, exp */
    if (run->set.compute != ZF_COMPUTE_F32) out->attention *= 0.5;
    out->bytes = time_bytes(w, y, BIG);
    out->noise = time_noise(w, BIG);
  }
  zf_arena_free(&arena);
  free(x);
  free(w);
  free(y);
  return rc;
}

/* --- seconds --- */

struct work {
  double products, attention, bytes;
};

/* Of a forward pass over `tokens` in sequences of `length`, `rows` rows of head. */
static struct work work_of(const struct zf_run *run, double tokens, double rows, double length,
                           double columns) {
  const struct zf_plan *plan = &run->model->plan;
  const struct zf_config *config = &run->model->config;
  struct work work = {.products =
                          2 * zf_plan_macs(plan, (int64_t)tokens, (int64_t)rows, (int64_t)columns)};
  work.attention =
      2 * tokens * length * (double)(config->heads * config->head_dim * config->layers);
  for (int64_t i = 0; i < plan->body; i++)
    if (plan->op[i].kind != ZF_OP_LINEAR)
      work.bytes +=
          12 * tokens * (double)(plan->op[i].width * (plan->op[i].heads ? plan->op[i].heads : 1));
  work.bytes += 4 * rows * columns;
  return work;
}

static double seconds_of(const struct zf_calibration *calibration, const struct work *work) {
  return work->products / calibration->product + work->attention / calibration->attention +
         work->bytes / calibration->bytes;
}

static struct work work_on(const struct zf_run *run, const struct zf_dataset *dataset,
                           double examples) {
  double tokens = 0, rows = 0, length = 0, n = (double)dataset->count;
  if (!dataset->count) return (struct work){0};
  int64_t single = 0;
  for (int64_t i = 0; i < dataset->count; i++) {
    tokens += (double)zf_example_tokens(dataset, i) / n;
    rows += (double)zf_example_rows(dataset, i) / n;
    length += (double)dataset->seq[dataset->ex[i].seq].len / n;
    single += dataset->ex[i].single;
  }
  double columns =
      single == dataset->count ? (double)dataset->options : (double)run->model->config.vocab;
  return work_of(run, tokens * examples, rows * examples, length, columns);
}

/* Of a stream some rows stand for all.  One that cannot be read is an error when the run begins. */
static void sample(const struct zf_dataset *dataset) {
  int64_t row[SAMPLE], n = zf_dataset_size(dataset) < SAMPLE ? zf_dataset_size(dataset) : SAMPLE;
  for (int64_t i = 0; i < n; i++) row[i] = i;
  if (dataset->stream) zf_row_reader_load(dataset->stream, row, n, NULL);
}

double zf_projection_score(const struct zf_calibration *calibration, const struct zf_run *run,
                           const struct zf_dataset *dataset) {
  sample(dataset);
  struct work work = work_on(run, dataset, (double)zf_dataset_size(dataset));
  return seconds_of(calibration, &work);
}

double zf_projection_step(const struct zf_calibration *calibration, const struct zf_run *run,
                          enum zf_method method, int checkpoint) {
  sample(run->data.train);
  struct work work = work_on(run, run->data.train, (double)run->batch);
  double n = (double)zf_params_count(&run->model->params, 1),
         forward = seconds_of(calibration, &work);
  double q = (double)run->set.zo.probes, parts = (double)run->set.accumulation;
  static const double moved[ZF_METHODS] = {/* bytes of an update, an element */
                                           [ZF_METHOD_SGD] = 20,
                                           [ZF_METHOD_MOMENTUM] = 28,
                                           [ZF_METHOD_ADAMW] = 36};
  if (method == ZF_METHOD_INFERENCE) return forward;
  if (method == ZF_METHOD_MEZO)
    return 2 * q * forward + q * (parts + 1) * n / calibration->noise + 8 * n / calibration->bytes;
  return (checkpoint ? 4 : 3) * forward + (moved[method] + 8 * parts) * n / calibration->bytes;
}

/* --- what fits --- */

int zf_projection_shape(struct zf_forecast *out, struct zf_run *run, enum zf_method method,
                        int checkpoint, int64_t batch, int64_t length, enum zf_dtype dtype) {
  int64_t T = batch * length * zf_method_info(method)->streams;
  int lm = !zf_task_chooses(run->data.train->type);
  struct zf_limits lim = {.tokens = T, .length = length, .ids = run->lim.ids};
  lim.streams = zf_method_info(method)->streams;
  lim.compute = run->set.compute;
  lim.rows = lm ? T : batch * lim.streams * run->data.train->options;
  lim.segments = batch * (lm ? 2 : 1 + run->data.train->options);
  zf_forecast_limits(&lim, run->model, method);
  for (int64_t i = 0; i < run->model->params.count; i++)
    if (run->model->params.param[i].trained) run->model->params.param[i].type = dtype;
  return zf_forecast_make(out, run->model, &lim, method, checkpoint, !lm, run->forecast.before);
}

struct search {
  struct zf_run *run;
  enum zf_method method;
  int checkpoint, by_length;
  int64_t other, bytes;
  enum zf_dtype dtype;
};

static int fits(const struct search *search, int64_t count) {
  struct zf_forecast forecast;
  int rc = zf_projection_shape(&forecast, search->run, search->method, search->checkpoint,
                               search->by_length ? search->other : count,
                               search->by_length ? count : search->other, search->dtype);
  return !rc && forecast.total <= search->bytes;
}

/* Memory grows with both: the last that fits, of 1..most. */
static int64_t last_fit(const struct search *search, int64_t most) {
  int64_t good = 0, bad = most + 1;
  while (bad - good > 1) {
    int64_t mid = good + (bad - good) / 2;
    if (fits(search, mid))
      good = mid;
    else
      bad = mid;
  }
  return good;
}

int64_t zf_projection_batch(struct zf_run *run, enum zf_method method, int checkpoint,
                            int64_t length, enum zf_dtype dtype, int64_t bytes) {
  return last_fit(&(struct search){run, method, checkpoint, 0, length, bytes, dtype}, 4096);
}

int64_t zf_projection_length(struct zf_run *run, enum zf_method method, int checkpoint,
                             int64_t batch, enum zf_dtype dtype, int64_t bytes) {
  return last_fit(&(struct search){run, method, checkpoint, 1, batch, bytes, dtype},
                  run->model->config.context);
}
