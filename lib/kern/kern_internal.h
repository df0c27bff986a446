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

#include "kern/kern.h"

enum {
  ZF_LANES = 16,      /* of "lanes sum"; also the unit of panel widths */
  ZF_MAXNR = 64,      /* columns of the widest panel */
  ZF_MUL_ROWS = 6,    /* rows of a tile of `mul` */
  ZF_SMALL_M = 4,     /* rows of x for which W is used without packing */
  ZF_NC = 128,        /* most columns a thread packs at once: one or more panels */
  ZF_PANEL = 1 << 16, /* cells a thread packs at once for a stream */
  ZF_MAXROWS = 2048,  /* rows of all streams that share one packing */
  ZF_CHUNK = 256,     /* elements of a piece of scratch in the row drivers */
  ZF_NOISE_WORK = 16  /* operations an element of noise stands for when a team is chosen */
};

/* What `mul` does with what is in c: replaces it, adds the chain to it, or begins the chain
 * with it.  STAIR does as ON, and row r (of at most ZF_MUL_ROWS) goes on to k + r steps (f32
 * alone). */
enum zf_mul_mode { ZF_MUL_SET, ZF_MUL_ADD, ZF_MUL_ON, ZF_MUL_STAIR };

/* An arithmetic of the product (enum zf_compute).  Operands are made of cells of 32 bits: `per`
 * neighbours along k, the first in the lowest bits; what is missing in the last one is zero.
 *
 *   f32    1 to a cell: the value
 *   bf16   2: x and W rounded to nearest even, what is subnormal to zero
 *   int8   4 or 2, as the processor multiplies them; groups of inputs begin with `extra` cells
 *          that hold their scales (int8_tmpl.h)
 *
 * A row of x is cell[k / per].  A panel is cell[k / per][w], w a multiple of 16: column j of it
 * is output j.  What k inputs take of either is zf_kern_depth. */
struct zf_product {
  const char *name; /* of the kernels: "avx512", ... */
  int native;       /* the processor has instructions for it */
  int nr;           /* widest panel `mul` takes: 16, 32, 48 or 64 columns */
  int per;
  int kc;           /* inputs of a chunk: sums of chunks are added one to another */
  int group, extra; /* inputs of a group, and cells before it; 0: there are none */

  /* cell[0 .. n/per) of a row of x.  NULL: x itself. */
  void (*rows)(void *cell, const float *x, int64_t n);

  /* Fills 16 columns of a panel from rows src, src + ld, ... of W: v = fma(eps, z[j*KC + i],
   * src[j*ld + i]) for j < n, or src alone when z is NULL, and 0 for n <= j < 16; i < k <= KC.
   * z [16][KC].  NULL: f32's pack, and fold. */
  void (*pack)(void *panel, int64_t w, const float *src, int64_t ld, const float *z, float eps,
               int64_t n, int64_t k);

  /* Fills n columns, a multiple of 16, of a panel of width w from k rows of f32, `ld` apart; k at
   * most 64, or a group.  NULL: a panel of f32 is one. */
  void (*fold)(void *panel, int64_t w, const float *from, int64_t ld, int64_t n, int64_t k);

  /* c[r*ldc + j] = chain over i < k of x and panel, whose rows lie ldx and ldp cells apart;
   * r < rows, j < w <= nr, w a multiple of 16. */
  void (*mul)(float *c, int64_t ldc, const void *x, int64_t ldx, int64_t rows, const void *panel,
              int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode);

  /* The same (set or added) for rows <= ZF_SMALL_M and n <= 16 columns, which are rows src, src + ld,
   * ... of W.  What it leaves in columns n..15 of c is undefined.  NULL: pack and mul. */
  void (*thin)(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t rows, const float *src,
               int64_t ld, int64_t n, int64_t k, int add);
};

struct zf_kern_table {
  struct zf_product product[ZF_COMPUTES];

  /* y[r*ldy + j] = (accumulate ? y : absent) + (c[r*ZF_NC + j] + bias[j]); bias may be NULL. */
  void (*finish)(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows, int64_t n,
                 int accumulate);

  void (*noise)(float *z, const struct zf_noise *k, int64_t first, int64_t n);
  void (*words)(uint32_t *w, const struct zf_noise *k, int64_t first, int64_t n);
  /* w[i] = fma(c, z of element first + i, w[i]). */
  void (*add_noise)(float *w, const struct zf_noise *k, float c, int64_t first, int64_t n);

  void (*expand)(float *dst, const void *src, enum zf_dtype type, int64_t n);
  /* out[i] = fma(eps, z[i], w[i]); out may be w, and z. */
  void (*mix)(float *out, const float *w, const float *z, float eps, int64_t n);
  /* Stochastic rounding of zf_update to what is narrower than f32, with words r. */
  void (*narrow)(void *dst, const float *src, const uint32_t *r, enum zf_dtype type, int64_t n);

  void (*add)(float *y, const float *x, int64_t n); /* y += x */
  void (*rmsnorm)(float *y, const float *x, const float *w, float eps, int64_t n);
  void (*layernorm)(float *y, const float *x, const float *w, const float *b, float eps, int64_t n);
  /* One head: pairs (i, i + half), cosines cs[0..half), sines cs[half..2*half). */
  void (*rope)(float *x, const float *cs, int64_t half);
  void (*act[ZF_ACTS])(float *g, const float *u, int64_t n); /* u may be NULL */

  /* p[j] = exp(p[j]*scale - max of p[j]*scale); returns the lanes sum. n >= 1. */
  float (*softmax)(float *p, float scale, int64_t n);
  void (*softcap)(float *x, float in, float out, int64_t n); /* x = tanh(x * in) * out */
  void (*scale)(float *x, float by, int64_t n);              /* x *= by */
  /* o[d] = chain over j < n of p[j] * v[j*ldv + d], begun with o[d]; for any D. */
  void (*blend)(float *o, const float *p, const float *v, int64_t ldv, int64_t n, int64_t D);
  void (*divide)(float *o, float by, int64_t n); /* o /= by */

  /* *max = maximum of y, *sum = lanes sum in double of (double)exp(y[j] - max).  n >= 1. */
  void (*sumexp)(float *max, double *sum, const float *y, int64_t n);
};

extern struct zf_kern_table zf_kern;

/* Each writes its pointers over the table's. */
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

/* Per-thread part of the workspace. */
struct zf_thread_space {
  void *panel[ZF_MAXSTREAM];  /* ZF_PANEL cells: panels side by side */
  float *sums;                /* [ZF_MAXROWS][ZF_NC] partial sums of the rows of all streams */
  float *weights, *noise;     /* [16][KC] expanded weights, noise */
  float *chunk[ZF_MAXSTREAM]; /* of a panel in f32, before fold: [ZF_GROUP][64] */
};
struct zf_thread_space zf_kern_thread_space(int thread);

/* The part that all threads share: rows of x in cells. */
void *zf_kern_cells(void);

/* Cells of a row of k inputs, or rows of cells of a panel; `k` begins a group or ends the row. */
static inline int64_t zf_kern_depth(const struct zf_product *product, int64_t k) {
  int64_t groups = product->group ? (k + product->group - 1) / product->group : 0;
  return (k + product->per - 1) / product->per + groups * product->extra;
}

/* Cells from one such row to the next. */
static inline int64_t zf_kern_row_cells(const struct zf_product *product, int64_t in) {
  return (zf_kern_depth(product, in) + 15) / 16 * 16;
}

static inline int64_t zf_kern_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* n rounded up to whole lanes. */
static inline int64_t zf_kern_round_up(int64_t n) {
  return (n + ZF_LANES - 1) / ZF_LANES * ZF_LANES;
}

/* Begin of thread t's part of n items cut in `parts` nearly equal ranges. */
static inline int64_t zf_kern_range_start(int64_t n, int64_t t, int64_t parts) {
  return n / parts * t + (t < n % parts ? t : n % parts);
}

/* Threads worth starting for `work` elementary operations. */
int zf_kern_team(int64_t work);

/* Sets the least work that is shared out: 0 in tests, so that small shapes are too. */
void zf_kern_set_min_work(int64_t work);

#endif
