#include "train/projection.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"

enum { ROWS = 384, TURNS = 3, SHAPES = 32, SAMPLE = 256 };

/* --- calibration --- */

struct shape {
  int64_t k, n, times;
};

/* Distinct products of the plan, and the head in pieces as losses take it. */
static int shapes_of(struct shape *s, const struct zf_model *m) {
  int count = 0;
  for (int64_t i = 0; i < m->plan.nop; i++) {
    const struct zf_op *op = &m->plan.op[i];
    int at = 0;
    if (op->kind != ZF_OP_LINEAR) continue;
    while (at < count && (s[at].k != op->inputs || s[at].n != op->width)) at++;
    if (at == SHAPES) continue;
    if (at == count) s[count++] = (struct shape){op->inputs, op->width, 0};
    s[at].times++;
  }
  return count;
}

static double time_product(float *y, const float *x, const float *w, const struct shape *s,
                           int64_t rows, enum zf_compute c) {
  struct zf_weight weight = {
      .data = w, .type = ZF_F32, .out = s->n, .in = s->k, .so = s->k, .si = 1, .compute = c};
  struct zf_streams one = {.count = 1};
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) { /* the first warms up */
    double start = zf_now();
    zf_gemm(y, s->n, x, s->k, rows, &weight, &one, NULL, 0, 0);
    double took = zf_now() - start;
    if (t && took < best) best = took;
  }
  return best;
}

static double time_bytes(float *a, float *b, int64_t n) {
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) {
    double start = zf_now();
    zf_add_rows(a, n / 64, b, n / 64, 64, n / 64);
    if (t && zf_now() - start < best) best = zf_now() - start;
  }
  return 12 * (double)n / best;
}

static double time_noise(float *z, int64_t n) {
  struct zf_noise key = {.seed = 1};
  double best = 1e9;
  for (int t = 0; t <= TURNS; t++) {
    double start = zf_now();
    zf_noise_fill(z, &key, 0, n);
    if (t && zf_now() - start < best) best = zf_now() - start;
  }
  return (double)n / best;
}

static double time_products(const struct zf_run *r, const struct shape *s, int count, int64_t rows,
                            float *x, float *w, float *y) {
  double work = 0, took = 0;
  for (int i = 0; i < count; i++) {
    double times = (double)s[i].times;
    work += 2 * times * (double)(rows * s[i].k * s[i].n);
    took += times * time_product(y, x, w, &s[i], rows, r->set.compute);
  }
  return work / took;
}

int zf_calibrate(struct zf_calibration *out, const struct zf_run *r) {
  enum { BIG = 1 << 22 };
  struct shape s[SHAPES];
  int count = shapes_of(s, r->model);
  int64_t rows = r->lim.tokens < ROWS ? r->lim.tokens : ROWS, k = 1, n = 1, kn = BIG;
  for (int i = 0; i < count; i++) {
    if (s[i].k > k) k = s[i].k;
    if (s[i].n > n) n = s[i].n;
    if (s[i].k * s[i].n > kn) kn = s[i].k * s[i].n;
  }
  size_t work = zf_kern_workspace_size(zf_kern_nthreads(), r->set.compute, rows, k);
  float *x = zf_calloc(rows * k, sizeof *x), *w = zf_calloc(kn, sizeof *w);
  float *y = zf_calloc(rows * n > BIG ? rows * n : BIG, sizeof *y);
  struct zf_arena arena = {0};
  int rc = x && w && y ? zf_arena_init(&arena, zf_arena_cost(work)) : ZF_ENOMEM;
  void *space = rc ? NULL : zf_arena_alloc(&arena, work);
  if (space) {
    zf_kern_workspace(space, zf_kern_nthreads());
    out->product = time_products(r, s, count, rows, x, w, y);
    out->attention = 0.4 * out->product; /* short sums, packing for each head, exp */
    if (r->set.compute != ZF_COMPUTE_F32) out->attention *= 0.5;
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
static struct work work_of(const struct zf_run *r, double tokens, double rows, double length,
                           double columns) {
  const struct zf_plan *p = &r->model->plan;
  const struct zf_config *c = &r->model->config;
  struct work w = {.products =
                       2 * zf_plan_macs(p, (int64_t)tokens, (int64_t)rows, (int64_t)columns)};
  w.attention = 2 * tokens * length * (double)(c->heads * c->head_dim * c->layers);
  for (int64_t i = 0; i < p->body; i++)
    if (p->op[i].kind != ZF_OP_LINEAR)
      w.bytes += 12 * tokens * (double)(p->op[i].width * (p->op[i].heads ? p->op[i].heads : 1));
  w.bytes += 4 * rows * columns;
  return w;
}

static double seconds_of(const struct zf_calibration *c, const struct work *w) {
  return w->products / c->product + w->attention / c->attention + w->bytes / c->bytes;
}

static struct work work_on(const struct zf_run *r, const struct zf_dataset *d, double examples) {
  double tokens = 0, rows = 0, length = 0, n = (double)d->count;
  if (!d->count) return (struct work){0};
  int64_t single = 0;
  for (int64_t i = 0; i < d->count; i++) {
    tokens += (double)zf_example_tokens(d, i) / n;
    rows += (double)zf_example_rows(d, i) / n;
    length += (double)d->seq[d->ex[i].seq].len / n;
    single += d->ex[i].single;
  }
  double columns = single == d->count ? (double)d->options : (double)r->model->config.vocab;
  return work_of(r, tokens * examples, rows * examples, length, columns);
}

/* Of a stream some rows stand for all.  One that cannot be read is an error when the run begins. */
static void sample(const struct zf_dataset *d) {
  int64_t row[SAMPLE], n = zf_dataset_size(d) < SAMPLE ? zf_dataset_size(d) : SAMPLE;
  for (int64_t i = 0; i < n; i++) row[i] = i;
  if (d->stream) zf_row_reader_load(d->stream, row, n, NULL);
}

double zf_projection_score(const struct zf_calibration *c, const struct zf_run *r,
                           const struct zf_dataset *d) {
  sample(d);
  struct work w = work_on(r, d, (double)zf_dataset_size(d));
  return seconds_of(c, &w);
}

double zf_projection_step(const struct zf_calibration *c, const struct zf_run *r,
                          enum zf_method method, int checkpoint) {
  sample(r->data.train);
  struct work w = work_on(r, r->data.train, (double)r->batch);
  double n = (double)zf_params_count(&r->model->params, 1), forward = seconds_of(c, &w);
  double q = (double)r->set.zo.probes, parts = (double)r->set.accumulation;
  static const double moved[ZF_METHODS] = {/* bytes of an update, an element */
                                           [ZF_METHOD_SGD] = 20,
                                           [ZF_METHOD_MOMENTUM] = 28,
                                           [ZF_METHOD_ADAMW] = 36};
  if (method == ZF_METHOD_INFERENCE) return forward;
  if (method == ZF_METHOD_MEZO)
    return 2 * q * forward + q * (parts + 1) * n / c->noise + 8 * n / c->bytes;
  return (checkpoint ? 4 : 3) * forward + (moved[method] + 8 * parts) * n / c->bytes;
}

/* --- what fits --- */

int zf_projection_shape(struct zf_forecast *out, struct zf_run *r, enum zf_method method,
                        int checkpoint, int64_t batch, int64_t length, enum zf_dtype dtype) {
  int64_t T = batch * length * zf_method_info(method)->streams;
  int lm = !zf_task_chooses(r->data.train->type);
  struct zf_limits lim = {.tokens = T, .length = length, .ids = r->lim.ids};
  lim.streams = zf_method_info(method)->streams;
  lim.compute = r->set.compute;
  lim.rows = lm ? T : batch * lim.streams * r->data.train->options;
  lim.segments = batch * (lm ? 2 : 1 + r->data.train->options);
  zf_forecast_limits(&lim, r->model, method);
  for (int64_t i = 0; i < r->model->params.count; i++)
    if (r->model->params.param[i].trained) r->model->params.param[i].type = dtype;
  return zf_forecast_make(out, r->model, &lim, method, checkpoint, !lm, r->forecast.before);
}

struct search {
  struct zf_run *r;
  enum zf_method method;
  int checkpoint, by_length;
  int64_t other, bytes;
  enum zf_dtype dtype;
};

static int fits(const struct search *s, int64_t n) {
  struct zf_forecast f;
  int rc = zf_projection_shape(&f, s->r, s->method, s->checkpoint, s->by_length ? s->other : n,
                               s->by_length ? n : s->other, s->dtype);
  return !rc && f.total <= s->bytes;
}

/* Memory grows with both: the last that fits, of 1..most. */
static int64_t last_fit(const struct search *s, int64_t most) {
  int64_t good = 0, bad = most + 1;
  while (bad - good > 1) {
    int64_t mid = good + (bad - good) / 2;
    if (fits(s, mid))
      good = mid;
    else
      bad = mid;
  }
  return good;
}

int64_t zf_projection_batch(struct zf_run *r, enum zf_method method, int checkpoint, int64_t length,
                            enum zf_dtype dtype, int64_t bytes) {
  return last_fit(&(struct search){r, method, checkpoint, 0, length, bytes, dtype}, 4096);
}

int64_t zf_projection_length(struct zf_run *r, enum zf_method method, int checkpoint, int64_t batch,
                             enum zf_dtype dtype, int64_t bytes) {
  return last_fit(&(struct search){r, method, checkpoint, 1, batch, bytes, dtype},
                  r->model->config.context);
}
