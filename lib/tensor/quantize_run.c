/* The search for the scale and the minimum of one run.
 *
 * For given levels the best a and b solve a weighted linear regression; for given a and b the best
 * levels are the nearest ones.  Alternating the two descends to a local optimum.  The search does so
 * from several starts, which clip the run's ends by part of a step, and keeps the best. */
#include <math.h>
#include <string.h>

#include "tensor/quantize_internal.h"

/* Sums run over lanes, which the compiler keeps in vector registers; their order is fixed. */
enum { LANES = 8 };

/* How far the search goes, in time as in error. */
enum {
  REFITS = 6, /* refits of a start, at most */
  SIDES = 5   /* clips of each end of a range, from -1 on */
};

void zf_block_begin(struct zf_block_run *run, const float *x, const float *w, int count,
                    const struct zf_grid *grid) {
  *run = (struct zf_block_run){.x = x, .w = w, .count = count, .grid = grid};
  for (int i = 0; i < count; i++) {
    run->sum_w += w[i];
    run->sum_x += w[i] * x[i];
    run->sum_xx += w[i] * x[i] * x[i];
  }
}

/* Rounds to an integer, ties to even, |value| < 2^22: the sum has no bits below 1. */
static inline float nearest(float value) {
  const float shift = 0x1.8p23f;
  return value + shift - shift;
}

/* Eight values: level[k] = the integer nearest to (x[k] + b) / a on the grid. */
static inline void snap_integers(const struct zf_grid *grid, const float *restrict x, float inverse,
                                 float b, float *restrict level) {
  float least = (float)grid->least, most = least + (float)(grid->levels - 1);
  for (int k = 0; k < LANES; k++) {
    float value = (x[k] + b) * inverse;
    value = value > least ? value : least;
    value = value < most ? value : most;
    level[k] = nearest(value);
  }
}

/* Eight values: sums the steps of the codebook that lie below the value. */
static inline void snap_code(const struct zf_grid *grid, const float *restrict x, float inverse,
                             float b, float *restrict level) {
  float value[LANES];
  for (int k = 0; k < LANES; k++) {
    value[k] = (x[k] + b) * inverse;
    level[k] = grid->code[0];
  }
  for (int step = 1; step < grid->levels; step++) {
    float below = grid->code[step - 1], above = grid->code[step];
    float middle = (below + above) * 0.5f, rise = above - below;
    for (int k = 0; k < LANES; k++) level[k] += value[k] > middle ? rise : 0;
  }
}

static inline void snap(const struct zf_grid *grid, const float *x, float inverse, float b,
                        float *level) {
  if (grid->code)
    snap_code(grid, x, inverse, b, level);
  else
    snap_integers(grid, x, inverse, b, level);
}

static inline float inverse_of(float a) {
  return a != 0 ? 1 / a : 0;
}

void zf_block_snap(const struct zf_block_run *run, float a, float b, float *level) {
  for (int i = 0; i < run->count; i += LANES)
    snap(run->grid, run->x + i, inverse_of(a), b, level + i);
}

static float sum_of(const float lane[LANES]) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

struct lane_sums {
  float error[LANES], q[LANES], qq[LANES], xq[LANES];
};

static inline void add_lanes(struct lane_sums *restrict sums, const float *restrict x,
                             const float *restrict w, const float *restrict level, float a,
                             float b) {
  for (int k = 0; k < LANES; k++) {
    float wq = w[k] * level[k], miss = x[k] - (a * level[k] - b);
    sums->error[k] += w[k] * (miss * miss);
    sums->q[k] += wq;
    sums->qq[k] += wq * level[k];
    sums->xq[k] += wq * x[k];
  }
}

void zf_block_measure(const struct zf_block_run *run, float a, float b, struct zf_block_sums *out) {
  struct lane_sums sums;
  memset(&sums, 0, sizeof sums);
  float inverse = inverse_of(a);
  for (int i = 0; i < run->count; i += LANES) {
    float level[LANES];
    snap(run->grid, run->x + i, inverse, b, level);
    add_lanes(&sums, run->x + i, run->w + i, level, a, b);
  }
  *out =
      (struct zf_block_sums){sum_of(sums.error), sum_of(sums.q), sum_of(sums.qq), sum_of(sums.xq)};
}

float zf_block_error(const struct zf_block_run *run, float a, float b) {
  float error[LANES] = {0}, inverse = inverse_of(a);
  for (int i = 0; i < run->count; i += LANES) {
    float level[LANES];
    snap(run->grid, run->x + i, inverse, b, level);
    for (int k = 0; k < LANES; k++) {
      float miss = run->x[i + k] - (a * level[k] - b);
      error[k] += run->w[i + k] * (miss * miss);
    }
  }
  return sum_of(error);
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

struct search {
  const struct zf_block_run *run;
  int minimum;
  struct zf_block_fit kept[ZF_FITS]; /* the best starts so far, ascending by error */
};

static void consider(struct search *search, float a, float b) {
  struct zf_block_fit next = {zf_block_error(search->run, a, b), a, b};
  for (int i = 0; i < ZF_FITS; i++) {
    struct zf_block_fit *old = &search->kept[i];
    if (!(next.error < old->error)) continue;
    struct zf_block_fit moved = *old;
    *old = next;
    next = moved;
  }
}

static void descend(const struct search *search, const struct zf_block_fit *start,
                    struct zf_block_fit *best) {
  float last = INFINITY, a = start->a, b = start->b;
  *best = *start;
  for (int i = 0; i < REFITS && isfinite(start->error); i++) {
    struct zf_block_sums sums;
    zf_block_measure(search->run, a, b, &sums);
    if (search->minimum && a < 0) return;
    if (sums.error < best->error) *best = (struct zf_block_fit){sums.error, a, b};
    if (!(sums.error < last)) return;
    last = sums.error;
    refit(search->run, search->minimum, &sums, &a, &b);
  }
}

/* A range of values in units of the run's root mean square, with the weights counted: where values
 * of little weight lie far out, no start from the outermost ones comes near. */
static const float spread[] = {1.3f, 2, 3};
enum { SPREADS = sizeof spread / sizeof *spread };

/* The level that stands for the largest value is moved from either end of the grid, by up to 8 steps:
 * inward, so that the other values may meet the wider grid better, or outward, which clips. */
static void search_signed(struct search *search) {
  const struct zf_block_run *run = search->run;
  const struct zf_grid *grid = run->grid;
  float first = grid->code ? grid->code[0] : (float)grid->least;
  float last = grid->code ? grid->code[grid->levels - 1] : first + (float)(grid->levels - 1);
  float step = (last - first) / (float)(grid->levels - 1), largest = 0;
  for (int i = 0; i < run->count; i++)
    if (fabsf(run->x[i]) > fabsf(largest)) largest = run->x[i];
  for (int i = -8; i <= 16; i++) {
    float inward = (0.5f * (float)i - (i < 0 ? 0.02f * (float)(i * i) : 0)) * step;
    if (first + inward < 0) consider(search, largest / (first + inward), 0);
    if (last - inward > 0) consider(search, largest / (last - inward), 0);
  }
  float root = sqrtf(run->sum_xx / run->sum_w);
  for (int i = 0; i < SPREADS; i++) {
    consider(search, spread[i] * root / first, 0);
    consider(search, spread[i] * root / last, 0);
  }
}

/* A grid that spans the values between `from` and `to`. */
static void consider_range(struct search *search, float from, float to) {
  if (search->minimum == ZF_MIN_BELOW && from > 0) from = 0;
  if (from < to) consider(search, (to - from) / (float)(search->run->grid->levels - 1), -from);
}

/* How many steps of the grid that just spans the run a start leaves out at one end. */
static float clip_of(int i) {
  return i < 0 ? (float)i : 0.5f * (float)i + 0.05f * (float)(i * i);
}

static void search_ranged(struct search *search) {
  const struct zf_block_run *run = search->run;
  float low = run->x[0], high = low;
  for (int i = 0; i < run->count; i++) {
    low = run->x[i] < low ? run->x[i] : low;
    high = run->x[i] > high ? run->x[i] : high;
  }
  /* Of equal errors the first counts: equal values leave a free, and a large one would make the
   * units of the block coarse. */
  if (low == high && low <= 0) consider(search, 0, -low);
  if (search->minimum == ZF_MIN_BELOW && low > 0) low = 0;
  float step = (high - low) / (float)(run->grid->levels - 1);
  float mean = run->sum_x / run->sum_w, root = sqrtf(run->sum_xx / run->sum_w);
  for (int i = -1; i < SIDES; i++)
    for (int k = -1; k < SIDES; k++)
      consider_range(search, low + clip_of(i) * step, high - clip_of(k) * step);
  for (int i = 0; i < SPREADS; i++)
    consider_range(search, mean - spread[i] * root, mean + spread[i] * root);
}

void zf_block_search(const struct zf_block_run *run, int minimum,
                     struct zf_block_fit fit[ZF_FITS]) {
  struct search search = {.run = run, .minimum = minimum};
  for (int i = 0; i < ZF_FITS; i++) search.kept[i] = (struct zf_block_fit){INFINITY, 0, 0};
  if (minimum == ZF_MIN_NONE)
    search_signed(&search);
  else
    search_ranged(&search);
  for (int i = 0; i < ZF_FITS; i++) descend(&search, &search.kept[i], &fit[i]);
}
