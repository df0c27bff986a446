/* Products beside those of other libraries, and on several threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "bench/kernbench.h"
#include "bench/rivals.h"
#include "bench/sheet.h"
#include "cmd/opt.h"
#include "kern/kern_internal.h"
#include "kern/peak.h"

#define PEAK_SECONDS 0.003 /* of three tries: between two slices of a busy machine's scheduler */
enum { PEAKS = 10 };       /* as many times a turn */

static const struct zf_streams one = {1, {0}}, two = {2, {1e-3f, -1e-3f}};

/* A problem and what belongs to it. */
struct work {
  struct problem p;
  float *x, *w;
  uint16_t *xb, *wb;
};

static uint16_t *halved(const float *x, int64_t n) {
  uint16_t *h = aligned((n + 1) / 2);
  for (int64_t i = 0; i < n; i++) h[i] = zf_f32_to_bf16(x[i]);
  return h;
}

/* x for two streams. */
static struct work work_of(struct shape s) {
  struct work k = {.x = random_floats(2 * s.T * s.in), .w = random_floats(s.in * s.out)};
  k.xb = halved(k.x, s.T * s.in);
  k.wb = halved(k.w, s.in * s.out);
  k.p = (struct problem){s, k.x, k.w, k.xb, k.wb, aligned(2 * s.T * s.out)};
  return k;
}

static void drop_work(struct work k) {
  free(k.x), free(k.w), free(k.xb), free(k.wb), free(k.p.y);
}

static double ops_of(struct shape s) {
  return 2.0 * (double)s.T * (double)s.in * (double)s.out;
}

static struct zf_weight weight_of(const struct work *k, enum zf_dtype type, enum zf_compute c) {
  struct shape s = k->p.s;
  const void *data = type == ZF_BF16 ? (const void *)k->wb : k->w;
  return (struct zf_weight){data, type, s.out, s.in, s.in, 1, 0, NULL, NULL, c};
}

static double rival_seconds(const struct rival *r, void *h, const struct problem *p) {
  int calls = calls_of(p->s);
  double t = thread_seconds();
  for (int i = 0; i < calls; i++) r->run(h, p);
  return (thread_seconds() - t) / calls;
}

/* Seconds of a shape, turn by turn. */
enum { OURS, HALF, NOISY, THEIRS, KINDS = THEIRS + MAXRIVALS };

struct times {
  double *t[KINDS], peak;
};

/* It is taken by the clock, so what others run makes it less, never more: the best is kept. */
static void look_for_peak(struct times *o, enum zf_compute c) {
  for (int i = 0; i < PEAKS; i++) o->peak = fmax(o->peak, zf_peak(c, PEAK_SECONDS));
}

static void one_turn(struct times *o, int64_t turn, const struct work *k, enum zf_compute c,
                     const struct rival *const *r, void *const *h, int n) {
  static const struct zf_noise key = {.seed = 1};
  struct zf_weight w = weight_of(k, ZF_F32, c), b = weight_of(k, ZF_BF16, c), z = w;
  const struct problem *p = &k->p;
  z.noise = &key;
  look_for_peak(o, c);
  o->t[OURS][turn] = product_seconds(p->s, &w, &one, p->x, p->y);
  for (int i = 0; i < n; i++) o->t[THEIRS + i][turn] = h[i] ? rival_seconds(r[i], h[i], p) : NAN;
  o->t[HALF][turn] = product_seconds(p->s, &b, &one, p->x, p->y);
  o->t[NOISY][turn] = product_seconds(p->s, &z, &two, p->x, p->y);
}

/* The median over turns of a / (by * b). */
static double ratio(const double *a, double by, const double *b) {
  double *r = turns_of(1), m;
  for (int64_t i = 0; i < bench.turns; i++) r[i] = a[i] / (by * b[i]);
  m = isfinite(r[0]) ? median(r, bench.turns) : NAN;
  free(r);
  return m;
}

static double rate(double ops, double *t) {
  return isfinite(t[0]) ? 1e-9 * ops / median(t, bench.turns) : NAN;
}

static void print_shape(struct times *o, struct shape s, int n) {
  char name[64];
  double ops = ops_of(s), noisy = ratio(o->t[NOISY], 2, o->t[OURS]), than[MAXRIVALS];
  for (int i = 0; i < n; i++) than[i] = ratio(o->t[THEIRS + i], 1, o->t[OURS]);
  double gflops = rate(ops, o->t[OURS]);
  snprintf(name, sizeof name, "%lld x %lld -> %lld", (long long)s.T, (long long)s.in,
           (long long)s.out);
  sheet_text(name);
  sheet_number((double)s.T), sheet_number((double)s.in), sheet_number((double)s.out);
  sheet_number(gflops);
  sheet_number(1e9 * gflops / o->peak);
  sheet_number(gflops / ops * 4 * (double)(s.in * s.out));
  sheet_number(rate(ops, o->t[HALF]));
  sheet_number(noisy);
  for (int i = 0; i < n; i++) {
    sheet_number(rate(ops, o->t[THEIRS + i]));
    sheet_number(than[i]);
  }
}

static void bench_shape(struct times *o, struct shape s, enum zf_compute c,
                        const struct rival *const *r, int n) {
  void *h[MAXRIVALS] = {NULL};
  struct work k = work_of(s);
  for (int i = 0; i < n; i++) h[i] = r[i]->begin(&k.p, r[i]);
  one_turn(o, 0, &k, c, r, h, n); /* pages, caches */
  for (int64_t i = 0; i < bench.turns; i++) one_turn(o, i, &k, c, r, h, n);
  print_shape(o, s, n);
  for (int i = 0; i < n; i++)
    if (h[i]) r[i]->end(h[i]);
  drop_work(k);
}

static const struct sheet_column own_columns[] = {
    {"shape", "rows x in -> out", NULL},
    {"rows", NULL, "%.0f"},
    {"in", NULL, "%.0f"},
    {"out", NULL, "%.0f"},
    {"gflops", "GFLOP/s", "%.1f"},
    {"peak_fraction", "of peak", "%.3f"},
    {"weight_gbytes_per_s", "GB/s of W", "%.2f"},
    {"gflops_bf16_weights", "W in bf16", "%.1f"},
    {"noisy_over_two", "with noise", "%.3f"},
};
enum { OWN = sizeof own_columns / sizeof *own_columns };
_Static_assert(OWN + 2 * 4 <= SHEET_COLUMNS, "four rivals fit");

/* Two columns for each rival: its rate, and how many times as fast we are. */
static void begin_sheet(const struct rival *const *r, int n, char keys[][2][64]) {
  struct sheet_column c[SHEET_COLUMNS + 1] = {{0}};
  memcpy(c, own_columns, sizeof own_columns);
  for (int i = 0; i < n; i++) {
    snprintf(keys[i][0], sizeof keys[i][0], "gflops_%s", r[i]->key);
    snprintf(keys[i][1], sizeof keys[i][1], "over_%s", r[i]->key);
    c[OWN + 2 * i] = (struct sheet_column){keys[i][0], r[i]->name, "%.1f"};
    c[OWN + 2 * i + 1] = (struct sheet_column){keys[i][1], "of it", "%.3f"};
  }
  sheet_begin(c);
}

/* What the columns of one arithmetic mean. */
static void legend(enum zf_compute c, double peak, const struct rival *const *r, int n) {
  if (zc_common.json) return;
  printf("%s products by %s; peak %.1f GFLOP/s (%s); W in f32, but for one column\n",
         zf_compute_name(c), zf_kern_name(c), peak * 1e-9, zf_peak_name(c));
  for (int i = 0; i < n; i++) printf("  %-12s %s (%s)\n", r[i]->name, r[i]->what, r[i]->version());
  printf("\n");
}

static json_t *bench_compute(enum zf_compute c, const struct rival *const *all, int nall) {
  const struct rival *r[MAXRIVALS];
  char keys[MAXRIVALS][2][64];
  struct times o = {.peak = 0};
  double *t = turns_of(KINDS);
  int n = 0;
  for (int i = 0; i < nall; i++)
    if (all[i]->compute == c && n < 4) r[n++] = all[i];
  for (int i = 0; i < KINDS; i++) o.t[i] = t + i * bench.turns;
  look_for_peak(&o, c);
  begin_sheet(r, n, keys);
  for (int i = 0; i < bench.shapes; i++) bench_shape(&o, bench.shape[i], c, r, n);
  json_t *rows = sheet_end();
  legend(c, o.peak, r, n);
  free(t);
  return json_pack("{s:s, s:f, s:o}", "kernels", zf_kern_name(c), "peak_gflops", o.peak * 1e-9,
                   "shapes", rows);
}

void bench_products(json_t *out) {
  static const struct rival *all[MAXRIVALS];
  static int n = -1;
  json_t *o = json_object();
  if (n < 0) n = rivals_open(all);
  for (int c = 0; c < ZF_COMPUTES; c++)
    json_object_set_new(o, zf_compute_name((enum zf_compute)c),
                        bench_compute((enum zf_compute)c, all, n));
  json_object_set_new(out, "products", o);
}

/* --- threads: by the clock, for processor time says nothing here --- */

static double wall_seconds(const struct work *k, enum zf_compute c) {
  struct zf_weight w = weight_of(k, ZF_F32, c);
  struct shape s = k->p.s;
  int calls = calls_of(s);
  double start = zf_now();
  for (int i = 0; i < calls; i++) {
    struct zf_rows rows = zf_rows_of(k->p.x, s.in, s.in, c, bench.cells);
    zf_gemm(k->p.y, s.out, &rows, s.T, &w, &one, NULL, 0, 0);
  }
  return (zf_now() - start) / calls;
}

static void use_threads(void *work, int n) {
  zf_kern_threads(n);
  zf_kern_workspace(work);
}

static void threads_of(enum zf_compute c, void *space) {
  struct work k = work_of(bench.shape[0]);
  double *t = turns_of(bench.nthreads), *first = turns_of(1);
  for (int64_t i = -1; i < bench.turns; i++)
    for (int j = 0; j < bench.nthreads; j++) {
      use_threads(space, bench.threads[j]);
      t[j * bench.turns + (i < 0 ? 0 : i)] = wall_seconds(&k, c);
    }
  memcpy(first, t, (size_t)bench.turns * sizeof *t);
  for (int j = 0; j < bench.nthreads; j++) {
    double speedup = ratio(first, 1, t + j * bench.turns);
    sheet_text(zf_compute_name(c));
    sheet_number(bench.threads[j]);
    sheet_number(rate(ops_of(k.p.s), t + j * bench.turns));
    sheet_number(speedup);
  }
  free(t), free(first);
  drop_work(k);
}

void bench_threads(json_t *out) {
  static const struct sheet_column columns[] = {{"compute", "arithmetic", NULL},
                                                {"threads", "threads", "%.0f"},
                                                {"gflops", "GFLOP/s", "%.1f"},
                                                {"speedup", "of the first", "%.2f"},
                                                {0}};
  int most = 1;
  for (int j = 0; j < bench.nthreads; j++) most = most > bench.threads[j] ? most : bench.threads[j];
  void *space = aligned((int64_t)(zf_kern_workspace_size(most) / sizeof(float)));
  sheet_begin(columns);
  for (int c = 0; c < ZF_COMPUTES; c++) threads_of((enum zf_compute)c, space);
  json_object_set_new(out, "threads", sheet_end());
  free(space);
}
