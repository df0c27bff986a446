/* What the parts of the quantiser share: a row for each block type, and the search for scales.
 *
 * A run is the values of a block that share one scale a and one minimum b: x = a q - b, where the
 * level q comes from the grid of the type: consecutive integers, or a codebook.  A block of 32
 * values is one run; a block of 256 has 8 or 16, and stores a and b as integers s and m in units
 * of its two f16: a = d s, b = dmin m. */
#ifndef ZF_TENSOR_QUANTIZE_INTERNAL_H
#define ZF_TENSOR_QUANTIZE_INTERNAL_H

#include "tensor/dtype.h"

enum { ZF_BLOCK_MAX = 256, ZF_RUNS_MAX = 16 };

/* Where one part of the stored integers lies: `bits` of each value, in groups of `span` bytes from
 * `offset` on.  Value i of a group has byte i % span, and of that the bits from i / span * bits on.
 * No bits: no such part. */
struct zf_plane {
  int offset, span, bits;
};

struct zf_grid {
  int levels;              /* number of levels */
  int least;               /* the first; each next one is 1 more */
  const signed char *code; /* NULL, or all levels, ascending */
};

/* The scales of one block. */
struct zf_scales {
  float d, dmin; /* values of f16 */
  int s[ZF_RUNS_MAX], m[ZF_RUNS_MAX];
};

struct zf_quantizer {
  struct zf_plane low, high; /* of a stored integer: its lower and its upper bits */
  int bias;                  /* the stored integer of the first level */
  struct zf_grid grid;
  int run;                   /* values of a run */
  int scale_low, scale_high; /* range of s, and m is 0 to min_high; all 0: a and b are f16 */
  int min_high;
  int has_min;                                                    /* b may differ from 0 */
  void (*write)(unsigned char *block, const struct zf_scales *v); /* stores scales */
  void (*read)(const unsigned char *block, int run, float *a, float *b);
  void (*round)(unsigned char *block, const struct zf_quantizer *kind, const float *src);
};

/* The row of a type; NULL for a type that is not written in blocks. */
const struct zf_quantizer *zf_quantizer(enum zf_dtype type);

/* Stores the integer of level `index` of the grid as value `at` of the block. */
void zf_block_put(unsigned char *block, const struct zf_quantizer *kind, int at, int index);

/* The type's own rounding by the largest values, as the package `gguf` does it. */
void zf_round_signed(unsigned char *block, const struct zf_quantizer *kind, const float *src);
void zf_round_ranged(unsigned char *block, const struct zf_quantizer *kind, const float *src);
void zf_round_bytes(unsigned char *block, const struct zf_quantizer *kind, const float *src);

/* A run in units in which the block's largest value lies between 0.5 and 1. */
struct zf_block_run {
  const float *x, *w; /* values, and the weights of their squared errors */
  int count;          /* a multiple of 8, at most 32 */
  const struct zf_grid *grid;
  float sum_w, sum_x, sum_xx; /* sum w, sum w x, sum w x^2 */
};

/* Sums over a run with levels q nearest to (x + b) / a. */
struct zf_block_sums {
  float error;     /* sum w (x - (a q - b))^2 */
  float q, qq, xq; /* sum w q, sum w q^2, sum w x q */
};

void zf_block_begin(struct zf_block_run *run, const float *x, const float *w, int count,
                    const struct zf_grid *grid);
void zf_block_snap(const struct zf_block_run *run, float a, float b, float *level);
float zf_block_error(const struct zf_block_run *run, float a, float b); /* the error alone */
void zf_block_measure(const struct zf_block_run *run, float a, float b, struct zf_block_sums *sums);

/* The search's local optima of one run, from the best few starts, in no order; the error of a fit
 * that was not needed is infinite.  minimum: b is 0, is 0 or more, or is any number. */
enum { ZF_FITS = 4 };
enum { ZF_MIN_NONE, ZF_MIN_BELOW, ZF_MIN_ANY };
struct zf_block_fit {
  float error, a, b;
};
void zf_block_search(const struct zf_block_run *run, int minimum, struct zf_block_fit fit[ZF_FITS]);

#endif
