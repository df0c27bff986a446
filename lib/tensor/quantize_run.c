/* The search for the scale and the minimum of one run.
 *
 * For given levels the best a and b solve a weighted linear regression; for given a and b the best
 * levels are the nearest ones.  Alternating the two descends to a local optimum.  The search does so
 * from several starts, which clip the run's ends by part of a step, and keeps the best. */
#include <math.h>

#include "tensor/quantize_internal.h"

/* Sums run over lanes, which the compiler keeps in vector registers; their order is fixed. */
enum { LANES = 8 };

void zf_block_begin(struct zf_block_run *run, const float *x, const float *w, int count,
                    const struct zf_grid *grid) {
  *run = (struct zf_block_run){.x = x, .w = w, .count = count, .grid = grid};
  for (int i = 0; i < count; i++) {
    run->sum_w += w[i];
    run->sum_x += w[i] * x[i];
  }
}

/* Rounds to an integer, ties to even, |value| < 2^22: the sum has no bits below 1. */
static inline float nearest(float value) {
  const float shift = 0x1.8p23f;
  return value + shift - shift;
}

static void snap_integers(const struct zf_block_run *run, float inverse, float b, float *level) {
  float least = (float)run->grid->least, most = least + (float)(run->grid->levels - 1);
  for (int i = 0; i < run->count; i++) {
    float value = (run->x[i] + b) * inverse;
    value = value > least ? value : least;
    level[i] = nearest(value < most ? value : most);
  }
}

/* Sums the steps of the codebook that lie below the value. */
static void snap_code(const struct zf_block_run *run, float inverse, float b, float *level) {
  const signed char *code = run->grid->code;
  for (int i = 0; i < run->count; i++) level[i] = code[0];
  for (int k = 1; k < run->grid->levels; k++) {
    float middle = (float)(code[k - 1] + code[k]) * 0.5f, step = (float)(code[k] - code[k - 1]);
    for (int i = 0; i < run->count; i++) level[i] += (run->x[i] + b) * inverse > middle ? step : 0;
  }
}

void zf_block_snap(const struct zf_block_run *run, float a, float b, float *level) {
  float inverse = a != 0 ? 1 / a : 0;
  if (run->grid->code)
    snap_code(run, inverse, b, level);
  else
    snap_integers(run, inverse, b, level);
}

static float sum_of(const float lane[LANES]) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

void zf_block_measure(const struct zf_block_run *run, float a, float b,
                      struct zf_block_sums *sums) {
  float level[32], error[LANES] = {0}, q[LANES] = {0}, qq[LANES] = {0}, xq[LANES] = {0};
  zf_block_snap(run, a, b, level);
  for (int i = 0; i < run->count; i += LANES)
    for (int k = 0; k < LANES; k++) {
      float x = run->x[i + k], w = run->w[i + k], at = level[i + k], wq = w * at;
      float miss = x - (a * at - b);
      error[k] += w * (miss * miss);
      q[k] += wq;
      qq[k] += wq * at;
      xq[k] += wq * x;
    }
  *sums = (struct zf_block_sums){sum_of(error), sum_of(q), sum_of(qq), sum_of(xq)};
}

/* The a and b that suit the levels of the sums best. */
static void refit(const struct zf_block_run *run, int minimum, const struct zf_block_sums *sums,
                  float *a, float *b) {
  double w = run->sum_w, x = run->sum_x, q = sums->q, qq = sums->qq, xq = sums->xq;
  double determinant = w * qq - q * q;
  *b = 0;
  if (minimum != ZF_MIN_NONE && determinant > 0) {
    *a = (float)((w * xq - q * x) / determinant);
    *b = (float)((q * xq - qq * x) / determinant);
    if (minimum == ZF_MIN_ANY || *b >= 0) return;
  }
  *a = qq > 0 ? (float)(xq / qq) : 0;
  *b = 0;
}

struct best {
  float error, a, b;
};

enum { REFITS = 4 };

static void descend(const struct zf_block_run *run, int minimum, float a, float b,
                    struct best *best) {
  float last = INFINITY;
  for (int i = 0; i < REFITS; i++) {
    struct zf_block_sums sums;
    zf_block_measure(run, a, b, &sums);
    if (sums.error < best->error) *best = (struct best){sums.error, a, b};
    if (!(sums.error < last)) return;
    last = sums.error;
    refit(run, minimum, &sums, &a, &b);
  }
}

/* The end of the grid that reaches farther from 0 takes the largest value, or the other end does. */
static void search_signed(const struct zf_block_run *run, struct best *best) {
  const struct zf_grid *grid = run->grid;
  float first = grid->code ? grid->code[0] : (float)grid->least;
  float last = grid->code ? grid->code[grid->levels - 1] : first + (float)(grid->levels - 1);
  float step = (last - first) / (float)(grid->levels - 1), largest = 0;
  for (int i = 0; i < run->count; i++)
    if (fabsf(run->x[i]) > fabsf(largest)) largest = run->x[i];
  for (int k = -6; k <= 12; k++) {
    float clip = 0.125f * (float)k * step;
    if (first + clip < 0) descend(run, ZF_MIN_NONE, largest / (first + clip), 0, best);
    if (last - clip > 0) descend(run, ZF_MIN_NONE, largest / (last - clip), 0, best);
  }
}

static void search_ranged(const struct zf_block_run *run, int minimum, struct best *best) {
  float low = minimum == ZF_MIN_BELOW ? 0 : run->x[0], high = low;
  for (int i = 0; i < run->count; i++) {
    low = run->x[i] < low ? run->x[i] : low;
    high = run->x[i] > high ? run->x[i] : high;
  }
  float step = (high - low) / (float)(run->grid->levels - 1);
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 4; k++) {
      float from = low + 0.3f * (float)i * step, to = high - 0.3f * (float)k * step;
      if (minimum == ZF_MIN_BELOW && from > 0) from = 0;
      descend(run, minimum, (to - from) / (float)(run->grid->levels - 1), -from, best);
    }
}

float zf_block_search(const struct zf_block_run *run, int minimum, float *a, float *b) {
  struct best best = {INFINITY, 0, 0};
  if (minimum == ZF_MIN_NONE)
    search_signed(run, &best);
  else
    search_ranged(run, minimum, &best);
  *a = best.a;
  *b = best.b;
  return best.error;
}
