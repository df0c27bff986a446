/* Blocks by a search for their scales, and the loop over blocks. */
#include "tensor/quantize.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "tensor/quantize_internal.h"

/* One block in units of 2^exponent, in which its largest value lies between 0.5 and 1. */
struct block {
  const struct zf_quantizer *kind;
  int count, runs, exponent;
  float x[ZF_BLOCK_MAX], w[ZF_BLOCK_MAX];
  struct zf_block_run run[ZF_RUNS_MAX];
  float a[ZF_RUNS_MAX], b[ZF_RUNS_MAX]; /* of each run, if they were stored exactly */
};

/* --- units ----------------------------------------------------------------------------------- */

static float largest_of(const float *value, int count) {
  float largest = 0;
  for (int i = 0; i < count; i++) largest = fabsf(value[i]) > largest ? fabsf(value[i]) : largest;
  return largest;
}

/* dst = src / 2^exponent with the largest |dst| in [0.5, 1).  What lies below 2^-60 becomes 0, for
 * its square would leave f32; so does what is no number. */
static int scale_values(float *dst, const float *src, int count) {
  int exponent;
  float largest = largest_of(src, count);
  frexpf(largest < FLT_MAX ? largest : FLT_MAX, &exponent);
  float half = ldexpf(1, -exponent / 2), rest = ldexpf(1, -exponent - -exponent / 2);
  for (int i = 0; i < count; i++) {
    float value = src[i] * half * rest;
    value = fabsf(value) > 0x1p-60f ? value : 0;
    value = value > -1 ? value : -1; /* infinity counts as the largest number */
    dst[i] = value < 1 ? value : 1;
  }
  return exponent;
}

/* Values of no weight still take part with 2^-32 of the largest, so that they keep what costs the
 * others nothing. */
static void scale_weights(float *w, const float *importance, int count) {
  for (int i = 0; i < count; i++) w[i] = 1;
  if (!importance || !(largest_of(importance, count) > 0)) return;
  scale_values(w, importance, count);
  for (int i = 0; i < count; i++) w[i] = w[i] > 0x1p-32f ? w[i] : 0x1p-32f;
}

/* The nearest finite f16 to a scale of the block, in the block's units. */
static float as_half(const struct block *block, float value) {
  float full = ldexpf(value, block->exponent);
  full = full < 65504 ? full : 65504;
  full = full > -65504 ? full : -65504;
  return ldexpf(zf_f16_to_f32(zf_f32_to_f16(full)), -block->exponent);
}

/* --- blocks of 32: the scales are f16 --------------------------------------------------------- */

static void search_single(const struct block *block, struct zf_scales *best) {
  struct zf_block_fit fit[ZF_FITS];
  float least = INFINITY;
  *best = (struct zf_scales){0};
  zf_block_search(&block->run[0], block->kind->has_min ? ZF_MIN_ANY : ZF_MIN_NONE, fit);
  for (int i = 0; i < ZF_FITS; i++) {
    struct zf_scales v = {.d = as_half(block, fit[i].a), .dmin = as_half(block, fit[i].b)};
    float error = zf_block_error(&block->run[0], v.d, v.dmin);
    if (!(error < least)) continue;
    least = error;
    *best = v;
  }
}

/* --- blocks of 256: the scales are integers in units of f16 ----------------------------------- */

static int nearest_within(float value, int low, int high) {
  float rounded = rintf(value);
  if (!(rounded > (float)low)) return low;
  return rounded < (float)high ? (int)rounded : high;
}

static float quotient(float value, float unit) {
  return unit != 0 ? value / unit : 0;
}

/* Sets s and m of run k: the best of the integers around the wanted ones.  A larger scale with a
 * smaller minimum, and the reverse, are left out: one end of the run would move by both. */
static void assign_run(const struct block *block, int k, struct zf_scales *v) {
  const struct zf_quantizer *kind = block->kind;
  int s0 = nearest_within(quotient(block->a[k], v->d), kind->scale_low, kind->scale_high);
  int m0 = nearest_within(quotient(block->b[k], v->dmin), 0, kind->min_high);
  float best = INFINITY;
  for (int s = s0 - 1; s <= s0 + 1; s++)
    for (int m = m0 - 1; m <= m0 + 1; m++) {
      if (s < kind->scale_low || s > kind->scale_high || m < 0 || m > kind->min_high) continue;
      if ((s - s0) * (m - m0) < 0) continue;
      float error = zf_block_error(&block->run[k], v->d * (float)s, v->dmin * (float)m);
      if (!(error < best)) continue;
      best = error;
      v->s[k] = s;
      v->m[k] = m;
    }
}

static float assign(const struct block *block, struct zf_scales *v, struct zf_block_sums *sums) {
  float error = 0;
  for (int k = 0; k < block->runs; k++) {
    assign_run(block, k, v);
    zf_block_measure(&block->run[k], v->d * (float)v->s[k], v->dmin * (float)v->m[k], &sums[k]);
    error += sums[k].error;
  }
  return error;
}

/* The d and dmin that suit the integers best: x = d (s q) - dmin m. */
static void refit_units(const struct block *block, struct zf_scales *v,
                        const struct zf_block_sums *sums) {
  double qq = 0, qm = 0, mm = 0, xq = 0, xm = 0;
  for (int k = 0; k < block->runs; k++) {
    double s = v->s[k], m = v->m[k];
    qq += s * s * sums[k].qq;
    qm += s * m * sums[k].q;
    mm += m * m * block->run[k].sum_w;
    xq += s * sums[k].xq;
    xm += m * block->run[k].sum_x;
  }
  double determinant = qq * mm - qm * qm;
  if (mm > 0 && determinant > 0) {
    v->d = as_half(block, (float)((mm * xq - qm * xm) / determinant));
    v->dmin = as_half(block, (float)((qm * xq - qq * xm) / determinant));
  } else if (qq > 0) {
    v->d = as_half(block, (float)(xq / qq));
  }
}

enum { ROUNDS = 3 }; /* refits of the units, at most */

static void descend(const struct block *block, float d, float dmin, struct zf_scales *best,
                    float *least) {
  struct zf_block_sums sums[ZF_RUNS_MAX];
  struct zf_scales v = {.d = as_half(block, d), .dmin = as_half(block, dmin)};
  float last = INFINITY;
  for (int i = 0; i < ROUNDS; i++) {
    float error = assign(block, &v, sums);
    if (error < *least) {
      *least = error;
      *best = v;
    }
    if (!(error < last)) return;
    last = error;
    d = v.d;
    dmin = v.dmin;
    refit_units(block, &v, sums);
    if (v.d == d && v.dmin == dmin) return;
  }
}

static void search_run(struct block *block, int k) {
  struct zf_block_fit fit[ZF_FITS], best = {INFINITY, 0, 0};
  zf_block_search(&block->run[k], block->kind->has_min ? ZF_MIN_BELOW : ZF_MIN_NONE, fit);
  for (int i = 0; i < ZF_FITS; i++)
    if (fit[i].error < best.error) best = fit[i];
  block->a[k] = best.a;
  block->b[k] = best.b;
}

/* The largest scale becomes this part of the largest integer. */
static const float tops[] = {1, 0.97f, 1.03f};

static void search_super(struct block *block, struct zf_scales *best) {
  const struct zf_quantizer *kind = block->kind;
  float a = 0, b = 0, least = INFINITY;
  for (int k = 0; k < block->runs; k++) {
    search_run(block, k);
    a = fabsf(block->a[k]) > fabsf(a) ? block->a[k] : a;
    b = block->b[k] > b ? block->b[k] : b;
  }
  float most_scale = (float)(kind->scale_low ? kind->scale_low : kind->scale_high);
  float most_min = (float)(kind->min_high ? kind->min_high : 1);
  *best = (struct zf_scales){0};
  for (int i = 0; i < (int)(sizeof tops / sizeof *tops); i++)
    descend(block, a / (most_scale * tops[i]), b / most_min, best, &least);
}

/* --- one block --------------------------------------------------------------------------------- */

static void begin_block(struct block *block, const struct zf_quantizer *kind, int count,
                        const float *src, const float *importance) {
  block->kind = kind;
  block->count = count;
  block->runs = count / kind->run;
  block->exponent = scale_values(block->x, src, count);
  scale_weights(block->w, importance, count);
  for (int k = 0; k < block->runs; k++)
    zf_block_begin(&block->run[k], block->x + k * kind->run, block->w + k * kind->run, kind->run,
                   &kind->grid);
}

static int index_of(const struct zf_grid *grid, float level) {
  if (!grid->code) return (int)level - grid->least;
  int index = 0;
  while (index < grid->levels - 1 && grid->code[index] < (int)level) index++;
  return index;
}

static void write_block(unsigned char *dst, const struct block *block, struct zf_scales *v) {
  const struct zf_quantizer *kind = block->kind;
  float level[32];
  for (int k = 0; k < block->runs; k++) {
    float a = kind->scale_high ? v->d * (float)v->s[k] : v->d;
    float b = kind->scale_high ? v->dmin * (float)v->m[k] : v->dmin;
    zf_block_snap(&block->run[k], a, b, level);
    for (int i = 0; i < kind->run; i++)
      zf_block_put(dst, kind, k * kind->run + i, index_of(&kind->grid, level[i]));
  }
  v->d = ldexpf(v->d, block->exponent);
  v->dmin = ldexpf(v->dmin, block->exponent);
  kind->write(dst, v);
}

static void encode(unsigned char *dst, const struct zf_quantizer *kind, int count, const float *src,
                   const float *importance) {
  struct block block;
  struct zf_scales best;
  begin_block(&block, kind, count, src, importance);
  if (kind->scale_high)
    search_super(&block, &best);
  else
    search_single(&block, &best);
  write_block(dst, &block, &best);
}

/* --- public ------------------------------------------------------------------------------------- */

int zf_can_quantize(enum zf_dtype type) {
  return type == ZF_F32 || type == ZF_F16 || type == ZF_BF16 || zf_quantizer(type) != NULL;
}

void zf_quantize(void *dst, const float *src, enum zf_dtype type, int64_t rows, int64_t columns,
                 const float *importance) {
  const struct zf_quantizer *kind = zf_quantizer(type);
  const struct zf_dtype_info *info = zf_dtype_info(type);
  if (!kind) {
    zf_from_f32(dst, src, type, rows * columns);
    return;
  }
  unsigned char *block = dst;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t at = 0; at < columns; at += info->block, block += info->size, src += info->block) {
      if (!importance && kind->round)
        kind->round(block, kind, src);
      else
        encode(block, kind, info->block, src, importance ? importance + at : NULL);
    }
}

float zf_quantize_value(void *block, enum zf_dtype type, int at, float value) {
  const struct zf_quantizer *kind = zf_quantizer(type);
  const struct zf_grid *grid = &kind->grid;
  float a, b, best = INFINITY, decoded = 0;
  kind->read(block, at / kind->run, &a, &b);
  int chosen = 0;
  for (int index = 0; index < grid->levels; index++) {
    float level = (float)(grid->code ? grid->code[index] : grid->least + index);
    float here = a * level - b;
    if (!(fabsf(here - value) < best)) continue;
    best = fabsf(here - value);
    decoded = here;
    chosen = index;
  }
  zf_block_put(block, kind, at, chosen);
  return decoded;
}
