#include "train/projection.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"

enum { ROWS = 384, REPEATS = 3, SHAPES = 32, SAMPLE_ROWS = 256 };

/* --- calibration --- */

/* A product of the plan, and how often it occurs. */
struct product_shape {
  int64_t inputs, outputs, times;
};

/* Distinct products of the plan. */
static int shapes_of(struct product_shape *shape, const struct zf_model *model) {
  int count = 0;
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    int j = 0;
    if (op->kind != ZF_OP_LINEAR) continue;
    while (j < count && (shape[j].inputs != op->inputs || shape[j].outputs != op->width)) j++;
    if (j == SHAPES) continue;
    if (j == count) shape[count++] = (struct product_shape){op->inputs, op->width, 0};
    shape[j].times++;
  }
  return count;
}

static double time_product(float *y, const float *x, void *cells, const float *w,
                           const struct product_shape *shape, int64_t rows,
                           enum zf_compute compute) {
  struct zf_weight weight = {.data = w,
                             .type = ZF_F32,
                             .out = shape->outputs,
                             .in = shape->inputs,
                             .output_stride = shape->inputs,
                             .input_stride = 1,
                             .compute = compute};
  struct zf_streams one = {.count = 1};
  double best = 1e9;
  for (int i = 0; i <= REPEATS; i++) { /* the first one warms up */
    double start = zf_now();
    struct zf_rows operand = zf_rows_of(x, shape->inputs, shape->inputs, compute, cells);
    zf_gemm(y, shape->outputs, &operand, rows, &weight, &one, NULL, 0, 0);
    double seconds = zf_now() - start;
    if (i && seconds < best) best = seconds;
  }
  return best;
}

static double bytes_per_second(float *dst, float *src, int64_t count) {
  double best = 1e9;
  for (int i = 0; i <= REPEATS; i++) {
    double start = zf_now();
    zf_add_rows(dst, count / 64, src, count / 64, 64, count / 64);
    double seconds = zf_now() - start;
    if (i && seconds < best) best = seconds;
  }
  return 12 * (double)count / best;
}

static double noise_per_second(float *z, int64_t count) {
  struct zf_noise key = {.seed = 1};
  double best = 1e9;
  for (int i = 0; i <= REPEATS; i++) {
    double start = zf_now();
    zf_noise_fill(z, &key, 0, count);
    double seconds = zf_now() - start;
    if (i && seconds < best) best = seconds;
  }
  return (double)count / best;
}

/* Operations a second over all products of the plan. */
static double operations_per_second(const struct zf_run *run, const struct product_shape *shape,
                                    int count, int64_t rows, float *x, void *cells, float *w,
                                    float *y) {
  double work = 0, seconds = 0;
  for (int i = 0; i < count; i++) {
    double times = (double)shape[i].times;
    work += 2 * times * (double)(rows * shape[i].inputs * shape[i].outputs);
    seconds += times * time_product(y, x, cells, w, &shape[i], rows, run->settings.compute);
  }
  return work / seconds;
}

int zf_calibrate(struct zf_calibration *calibration, const struct zf_run *run) {
  enum { BIG = 1 << 22 };
  struct product_shape shape[SHAPES];
  int count = shapes_of(shape, run->model);
  int64_t rows = run->limits.tokens < ROWS ? run->limits.tokens : ROWS;
  int64_t max_inputs = 1, max_outputs = 1, max_weights = BIG;
  for (int i = 0; i < count; i++) {
    int64_t weights = shape[i].inputs * shape[i].outputs;
    if (shape[i].inputs > max_inputs) max_inputs = shape[i].inputs;
    if (shape[i].outputs > max_outputs) max_outputs = shape[i].outputs;
    if (weights > max_weights) max_weights = weights;
  }
  size_t work = zf_kern_workspace_size(zf_kern_nthreads());
  size_t cell_bytes = zf_rows_bytes(run->settings.compute, rows, max_inputs);
  float *x = zf_calloc(rows * max_inputs, sizeof *x), *w = zf_calloc(max_weights, sizeof *w);
  float *y = zf_calloc(rows * max_outputs > BIG ? rows * max_outputs : BIG, sizeof *y);
  struct zf_arena arena = {0};
  int rc = x && w && y ? zf_arena_init(&arena, zf_arena_cost(work) + zf_arena_cost(cell_bytes))
                       : ZF_ENOMEM;
  void *space = rc ? NULL : zf_arena_alloc(&arena, work);
  void *cells = rc ? NULL : zf_arena_alloc(&arena, cell_bytes);
  if (space && cells) {
    zf_kern_workspace(space);
    calibration->product = operations_per_second(run, shape, count, rows, x, cells, w, y);
    calibration->attention =
        0.4 * calibration->product; /* short sums, packing for each head, exp */
    if (run->settings.compute != ZF_COMPUTE_F32) calibration->attention *= 0.5;
    calibration->bytes = bytes_per_second(w, y, BIG);
    calibration->noise = noise_per_second(w, BIG);
  }
  zf_arena_free(&arena);
  free(x);
  free(w);
  free(y);
  return rc;
}

/* --- seconds --- */

struct pass_work {
  double products, attention; /* operations */
  double bytes;               /* moved by other operations */
};

/* Work of a forward pass over `tokens` tokens in sequences of `length`, with `rows` rows and
 * `columns` columns of the head. */
static struct pass_work work_of(const struct zf_run *run, double tokens, double rows, double length,
                                double columns) {
  const struct zf_plan *plan = &run->model->plan;
  const struct zf_config *config = &run->model->config;
  struct pass_work work = {
      .products = 2 * zf_plan_macs(plan, (int64_t)tokens, (int64_t)rows, (int64_t)columns)};
  work.attention =
      2 * tokens * length * (double)(config->heads * config->head_dim * config->layers);
  for (int64_t i = 0; i < plan->body; i++)
    if (plan->op[i].kind != ZF_OP_LINEAR)
      work.bytes +=
          12 * tokens * (double)(plan->op[i].width * (plan->op[i].heads ? plan->op[i].heads : 1));
  work.bytes += 4 * rows * columns;
  return work;
}

static double seconds_of(const struct zf_calibration *calibration, const struct pass_work *work) {
  return work->products / calibration->product + work->attention / calibration->attention +
         work->bytes / calibration->bytes;
}

/* Work of a forward pass over `examples` mean examples of the set. */
static struct pass_work work_on(const struct zf_run *run, const struct zf_dataset *dataset,
                                double examples) {
  double tokens = 0, rows = 0, length = 0, count = (double)dataset->count;
  if (!dataset->count) return (struct pass_work){0};
  int64_t single = 0;
  for (int64_t i = 0; i < dataset->count; i++) {
    tokens += (double)zf_example_tokens(dataset, i) / count;
    rows += (double)zf_example_rows(dataset, i) / count;
    length += (double)dataset->seq[dataset->example[i].seq].len / count;
    single += dataset->example[i].single;
  }
  double columns =
      single == dataset->count ? (double)dataset->options : (double)run->model->config.vocab;
  return work_of(run, tokens * examples, rows * examples, length, columns);
}

/* Loads the first rows of a stream, which stand for all.  A row that cannot be read is an error when
 * the run begins. */
static void load_sample(const struct zf_dataset *dataset) {
  int64_t row[SAMPLE_ROWS], size = zf_dataset_size(dataset);
  int64_t count = size < SAMPLE_ROWS ? size : SAMPLE_ROWS;
  for (int64_t i = 0; i < count; i++) row[i] = i;
  if (dataset->stream) zf_row_reader_load(dataset->stream, row, count, NULL);
}

double zf_projection_score(const struct zf_calibration *calibration, const struct zf_run *run,
                           const struct zf_dataset *dataset) {
  load_sample(dataset);
  struct pass_work work = work_on(run, dataset, (double)zf_dataset_size(dataset));
  return seconds_of(calibration, &work);
}

double zf_projection_step(const struct zf_calibration *calibration, const struct zf_run *run,
                          enum zf_method method, int checkpoint) {
  static const double update_bytes[ZF_METHODS] = {/* for each element */
                                                  [ZF_METHOD_SGD] = 20,
                                                  [ZF_METHOD_MOMENTUM] = 28,
                                                  [ZF_METHOD_ADAMW] = 36};
  load_sample(run->data.train);
  struct pass_work work = work_on(run, run->data.train, (double)run->batch);
  double forward = seconds_of(calibration, &work);
  double trained = (double)zf_params_count(&run->model->params, 1);
  double probes = (double)run->settings.zo.probes,
         micro_batches = (double)run->settings.accumulation;
  if (method == ZF_METHOD_INFERENCE || method == ZF_METHOD_PROBE) return forward;
  if (method == ZF_METHOD_MEZO)
    return (double)zf_zo_losses(&run->settings.zo) * forward +
           probes * (micro_batches + 1) * trained / calibration->noise +
           8 * trained / calibration->bytes;
  return (checkpoint ? 4 : 3) * forward +
         (update_bytes[method] + 8 * micro_batches) * trained / calibration->bytes;
}

/* --- largest sizes --- */

int zf_projection_shape(struct zf_forecast *forecast, struct zf_run *run, enum zf_method method,
                        int checkpoint, int64_t batch, int64_t length, enum zf_dtype dtype) {
  int streams =
      method == ZF_METHOD_MEZO ? zf_zo_streams(&run->settings.zo) : zf_method_info(method)->streams;
  int64_t tokens = batch * length * streams;
  int lm = !zf_task_has_options(run->data.train->type);
  struct zf_limits limits = {.tokens = tokens,
                             .rows = lm ? tokens : batch * streams * run->data.train->options,
                             .segments = batch * (lm ? 2 : 1 + run->data.train->options),
                             .length = length,
                             .ids = run->limits.ids,
                             .streams = streams,
                             .compute = run->settings.compute};
  zf_forecast_limits(&limits, run->model, method);
  for (int64_t i = 0; i < run->model->params.count; i++)
    if (run->model->params.param[i].trained) run->model->params.param[i].type = dtype;
  return zf_forecast_make(forecast, run->model, &limits, method, checkpoint, !lm,
                          run->forecast.resident_before);
}

/* Search for the largest batch, or (by_length) length; the other one is fixed. */
struct size_search {
  struct zf_run *run;
  enum zf_method method;
  int checkpoint, by_length;
  int64_t fixed, bytes;
  enum zf_dtype dtype;
};

static int fits(const struct size_search *search, int64_t size) {
  struct zf_forecast forecast;
  int rc = zf_projection_shape(&forecast, search->run, search->method, search->checkpoint,
                               search->by_length ? search->fixed : size,
                               search->by_length ? size : search->fixed, search->dtype);
  return !rc && forecast.total <= search->bytes;
}

/* The largest size of 1..max that fits; memory grows with the size. */
static int64_t largest_fit(const struct size_search *search, int64_t max) {
  int64_t good = 0, bad = max + 1;
  while (bad - good > 1) {
    int64_t middle = good + (bad - good) / 2;
    if (fits(search, middle))
      good = middle;
    else
      bad = middle;
  }
  return good;
}

int64_t zf_projection_batch(struct zf_run *run, enum zf_method method, int checkpoint,
                            int64_t length, enum zf_dtype dtype, int64_t bytes) {
  return largest_fit(&(struct size_search){run, method, checkpoint, 0, length, bytes, dtype}, 4096);
}

int64_t zf_projection_length(struct zf_run *run, enum zf_method method, int checkpoint,
                             int64_t batch, enum zf_dtype dtype, int64_t bytes) {
  return largest_fit(&(struct size_search){run, method, checkpoint, 1, batch, bytes, dtype},
                     run->model->config.context);
}
