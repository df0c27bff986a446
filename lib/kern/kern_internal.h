/* The table between drivers and kernels.
 *
 *   driver (gemm.c, norm.c, ...)   cuts the work over threads, walks tiles and rows
 *      |  zf_kern.<name>(...)      a function of pointers and sizes, below
 *   kernel (*_ref.c, x86/, arm/)   one tile or row; no allocation, no threads
 *
 * Every entry has a plain C `_ref`; each faster one gives the same bits (NaN: any NaN).
 * Pointers are aligned to their element unless said otherwise; n may be 0 where it counts
 * elements of a row.  KC below is ZF_KC. */
#ifndef ZF_KERN_INTERNAL_H
#define ZF_KERN_INTERNAL_H

#include "base/util.h"
#include "kern/kern.h"

enum {
  ZF_LANES = 16,      /* of "lanes sum"; also the unit of panel widths */
  ZF_MAXNR = 64,      /* columns of the widest panel */
  ZF_MUL_ROWS = 6,    /* rows of a tile of `mul` */
  ZF_SMALL_M = 4,     /* rows of x up to which W is not packed */
  ZF_NC = 128,        /* columns that a thread packs at once at most: one or more panels */
  ZF_PANEL = 1 << 16, /* cells a thread packs at once for a stream */
  ZF_MAXROWS = 2048,  /* rows of all streams that share one packing */
  ZF_CHUNK = 256,     /* elements that the drivers of storage (vector.c) handle at once */
  ZF_NOISE_WORK = 16  /* operations that making one element of noise counts as (zf_kern_team) */
};

/* What `mul` does with the value in c: SET replaces it, ADD adds the chain to it, CONTINUE begins the
 * chain with it.  STAIR does as CONTINUE, and row r (of at most ZF_MUL_ROWS) has k + r steps (only
 * f32 has this mode). */
enum zf_mul_mode { ZF_MUL_SET, ZF_MUL_ADD, ZF_MUL_CONTINUE, ZF_MUL_STAIR };

/* An arithmetic of the product (enum zf_compute).  Operands are made of cells of 32 bits, each with
 * `inputs_per_cell` neighbours along k, the first in the lowest bits; the last cell is padded with
 * zeros.
 *
 *   f32    1 to a cell: the value
 *   bf16   2: x and W rounded to nearest even, subnormal values to zero
 *   int8   4 or 2, as the processor multiplies them; each group of inputs begins with `scale_cells`
 *          cells that hold its scales (int8_tmpl.h)
 *
 * A row of x is cell[k / inputs_per_cell].  A panel is cell[k / inputs_per_cell][w], w a multiple of
 * 16; its column j is output j.  zf_kern_depth gives the cells of k inputs, in a row or a panel. */
struct zf_product {
  const char *name; /* of the kernels: "avx512", ... */
  int native;       /* 1 if the processor has instructions for it */
  int max_columns;  /* widest panel `mul` takes: 16, 32, 48 or 64 columns */
  int inputs_per_cell;
  int chunk_inputs;       /* inputs of a chunk; the sums of chunks are added one after another */
  int group, scale_cells; /* inputs of a group, cells before each group; 0: no groups */

  /* Converts a row of x [n] to cells.  NULL: a row of x is its cells. */
  void (*convert_rows)(void *cell, const float *x, int64_t n);

  /* Fills 16 columns of a panel from rows src, src + ld, ... of W: v = fma(eps, z[j*KC + i],
   * src[j*ld + i]) for j < n, or src alone when z is NULL, and 0 for n <= j < 16; i < k <= KC.
   * z [16][KC].  NULL: f32's pack, then pack_f32. */
  void (*pack)(void *panel, int64_t w, const float *src, int64_t ld, const float *z, float eps,
               int64_t n, int64_t k);

  /* Fills n columns, a multiple of 16, of a panel of width w from k rows of f32, `ld` apart; k is at
   * most 64, or a group.  NULL: an f32 panel needs no conversion. */
  void (*pack_f32)(void *panel, int64_t w, const float *from, int64_t ld, int64_t n, int64_t k);

  /* c[r*ldc + j] = chain over i < k of x and panel, whose rows lie ldx and ldp cells apart;
   * r < rows, j < w <= nr, w a multiple of 16. */
  void (*mul)(float *c, int64_t ldc, const void *x, int64_t ldx, int64_t convert_rows,
              const void *panel, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode);

  /* The same in modes SET and ADD for rows <= ZF_SMALL_M and n <= 16 columns, which are rows src,
   * src + ld, ... of W.  Columns n..15 of c are undefined afterwards.  NULL: pack and mul. */
  void (*mul_unpacked)(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t convert_rows,
                       const float *src, int64_t ld, int64_t n, int64_t k, int add);
};

struct zf_kern_table {
  struct zf_product product[ZF_COMPUTES];

  /* y[r*ldy + j] = y + (c[r*ZF_NC + j] + bias[j]); without accumulate y is not added, nor is a NULL
   * bias. */
  void (*finish)(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows, int64_t n,
                 int accumulate);

  void (*noise)(float *z, const struct zf_noise *k, int64_t first, int64_t n);
  void (*random_words)(uint32_t *w, const struct zf_noise *k, int64_t first, int64_t n);
  /* w[i] = fma(c, z of element first + i, w[i]). */
  void (*add_noise)(float *w, const struct zf_noise *k, float c, int64_t first, int64_t n);

  void (*expand)(float *dst, const void *src, enum zf_dtype type, int64_t n);
  /* The same of blocks with other scales, as zf_blocks_to_f32. */
  void (*expand_blocks)(float *dst, const void *blocks, enum zf_dtype type, int64_t n,
                        const float *scales);
  /* out[i] = fma(eps, z[i], w[i]); out may be w, and z. */
  void (*add_scaled)(float *out, const float *w, const float *z, float eps, int64_t n);
  /* The stochastic rounding of zf_update to a dtype narrower than f32, with random words r. */
  void (*round_stochastically)(void *dst, const float *src, const uint32_t *r, enum zf_dtype type,
                               int64_t n);

  /* Values to the integers of n / 32 Q8_0 blocks, whose scales d stay: x / d kept within -127 and 127 (NaN
   * is -127), then its floor, plus 1 where the rest, cut to 24 bits, and the upper 24 bits of the random
   * word together reach 2^24.  Blocks with d = 0 stay. */
  void (*round_integers)(void *blocks, const float *src, const uint32_t *r, int64_t n);

  void (*add)(float *y, const float *x, int64_t n); /* y += x */
  void (*rmsnorm)(float *y, const float *x, const float *w, float eps, int64_t n);
  void (*layernorm)(float *y, const float *x, const float *w, const float *b, float eps, int64_t n);
  /* Rotates one head: pairs (i, i + half), cosines cs[0..half), sines cs[half..2*half). */
  void (*rope)(float *x, const float *cs, int64_t half);
  void (*act[ZF_ACTS])(float *g, const float *u, int64_t n); /* u may be NULL */

  /* p[j] = exp(p[j]*scale - max of p[j]*scale); returns the lanes sum. n >= 1. */
  float (*softmax)(float *p, float scale, int64_t n);
  void (*softcap)(float *x, float in, float out, int64_t n); /* x = tanh(x * in) * out */
  void (*scale)(float *x, float by, int64_t n);              /* x *= by */
  /* o[d] = chain over j < n of p[j] * v[j*ldv + d] that begins with o[d]; any D. */
  void (*add_weighted_rows)(float *o, const float *p, const float *v, int64_t ldv, int64_t n,
                            int64_t D);
  void (*divide)(float *o, float by, int64_t n); /* o /= by */

  /* *max = maximum of y, *sum = lanes sum in double of (double)exp(y[j] - max).  n >= 1. */
  void (*sumexp)(float *max, double *sum, const float *y, int64_t n);
};

extern struct zf_kern_table zf_kern;

/* Each writes its functions into the table, over those of weaker instruction sets. */
void zf_kern_init_gemm_ref(struct zf_kern_table *table);
void zf_kern_init_bf16_ref(struct zf_kern_table *table);
void zf_kern_init_int8_ref(struct zf_kern_table *table);
void zf_kern_init_rows_ref(struct zf_kern_table *table);
void zf_kern_init_attention_ref(struct zf_kern_table *table);
void zf_kern_init_gemm_avx2(struct zf_kern_table *table);
void zf_kern_init_gemm_avx512(struct zf_kern_table *table);
void zf_kern_init_gemm_neon(struct zf_kern_table *table);
void zf_kern_init_bf16_avx2(struct zf_kern_table *table);
void zf_kern_init_bf16_avx512(struct zf_kern_table *table);
void zf_kern_init_bf16_avx512bf16(struct zf_kern_table *table);
void zf_kern_init_bf16_neon(struct zf_kern_table *table);
void zf_kern_init_int8_avx2(struct zf_kern_table *table);
void zf_kern_init_int8_avx512(struct zf_kern_table *table);
void zf_kern_init_int8_avx512vnni(struct zf_kern_table *table);
void zf_kern_init_int8_neon(struct zf_kern_table *table);
void zf_kern_init_int8_dotprod(struct zf_kern_table *table);
void zf_kern_init_lanes_avx2(struct zf_kern_table *table);
void zf_kern_init_lanes_avx512(struct zf_kern_table *table);
void zf_kern_init_lanes_neon(struct zf_kern_table *table);
void zf_kern_init_x86(struct zf_kern_table *table, unsigned flags);
void zf_kern_init_arm(struct zf_kern_table *table, unsigned flags);

/* One thread's part of the workspace. */
struct zf_thread_space {
  void *panel[ZF_MAXSTREAM];  /* ZF_PANEL cells: panels side by side */
  float *sums;                /* [ZF_MAXROWS][ZF_NC] partial sums of the rows of all streams */
  float *weights, *noise;     /* [16][KC] expanded weights, noise */
  float *mix[ZF_MAXSTREAM];   /* [16][KC] sums of noise */
  float *chunk[ZF_MAXSTREAM]; /* a panel in f32, before pack_f32: [ZF_GROUP][64] */
};
struct zf_thread_space zf_kern_thread_space(int thread);

/* The only term of stream `stream` whose mix is not 0; -1: there are none or several. */
int zf_kern_only_term(const struct zf_streams *streams, int stream);

/* sum[0..count) = the mix of stream `stream`, shaped, of the elements from `first` on with the values
 * w; with one term that counts: its noise.  Returns the factor by which w is perturbed along the sum. */
float zf_kern_mix(float *sum, const struct zf_noise *noise, const struct zf_noise_shape *shape,
                  const struct zf_streams *streams, int stream, const float *w, int64_t first,
                  int64_t count);

/* --- noise of the tiles of a product (tile_noise.c) --- */

/* Coordinates of a tile's noise: row o has `count` of them from first + o*stride on.  Of changed scales they
 * are scales, else elements. */
struct zf_tile_noise {
  int64_t first, stride, count;
};

/* Of inputs k0..k0+k (k <= KC) of the rows from o0 on. */
struct zf_tile_noise zf_tile_noise_of(const struct zf_weight *weight, int64_t o0, int64_t k0,
                                      int64_t k);

/* z [16][KC] of the tile's `rows` rows.  Short rows that lie end to end share blocks of noise and are made
 * together. */
void zf_tile_noise_make(const struct zf_tile_noise *tile, const struct zf_noise *noise, float *z,
                        int64_t rows);

/* Shapes z of a tile, whose elements are at src, rows `stride` apart. */
void zf_tile_noise_shape(const struct zf_weight *weight, const struct zf_tile_noise *tile, float *z,
                         const float *src, int64_t stride, int64_t rows);

/* space->mix[stream] = the sum of the stream's terms, or its only z, for each stream.  Each z is made
 * once. */
void zf_tile_noise_mix(const struct zf_weight *weight, const struct zf_streams *streams,
                       struct zf_thread_space *space, const struct zf_tile_noise *tile,
                       int64_t rows);

/* --- weights with changed scales (block_scales.c) --- */

enum { ZF_TILE_SCALES = 16 }; /* scales of ZF_KC elements at most: nscale * 256 / 32 */

/* dst (f32) = `count` <= ZF_KC elements of W from element `first` on (as noise counts them), which lie at
 * `blocks`.  Scale i of them is changed by fma(factor, noise[i], change); noise NULL: by the change. */
void zf_kern_expand_changed(float *dst, const struct zf_weight *weight, const void *blocks,
                            int64_t first, int64_t count, const float *noise, float factor);

/* Cells of a row of x, or rows of cells of a panel, for `inputs` inputs; `inputs` is where a group
 * begins or the row ends. */
static inline int64_t zf_kern_depth(const struct zf_product *product, int64_t inputs) {
  int64_t groups = product->group ? (inputs + product->group - 1) / product->group : 0;
  return (inputs + product->inputs_per_cell - 1) / product->inputs_per_cell +
         groups * product->scale_cells;
}

/* Cells from one row of x to the next. */
static inline int64_t zf_kern_row_cells(const struct zf_product *product, int64_t in) {
  return (zf_kern_depth(product, in) + 15) / 16 * 16;
}

/* count rounded up to a multiple of ZF_LANES. */
static inline int64_t zf_kern_round_up(int64_t count) {
  return (count + ZF_LANES - 1) / ZF_LANES * ZF_LANES;
}

/* Where range number `part` begins when `count` items are split into `parts` nearly equal ranges. */
static inline int64_t zf_kern_range_start(int64_t count, int64_t part, int64_t parts) {
  return count / parts * part + (part < count % parts ? part : count % parts);
}

/* Number of threads to start for `work` elementary operations. */
int zf_kern_team(int64_t work);

/* Sets the amount of work below which one thread does it alone.  Tests set 0, so that small shapes
 * are shared out too. */
void zf_kern_set_min_work(int64_t work);

#endif
