/* Derivatives of operations on single rows, and updates of the optimizers.  Each function handles one
 * row or chunk, without threads or allocation.  The bits are the same on every instruction set:
 * sixteen lanes, each product and sum rounded separately, sums of lanes reduced by halves.
 *
 * n counts elements; pointers are aligned to floats; arguments overlap only where stated. */
#ifndef ZF_BACK_ROWS_H
#define ZF_BACK_ROWS_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "kern/kern.h"

ZF_BEGIN_DECLS

enum zf_optim_rule { ZF_OPTIM_SGD, ZF_OPTIM_MOMENTUM, ZF_OPTIM_ADAMW, ZF_OPTIMS };

/* Factors of an optimizer's update; each rule reads those of its formula. */
struct zf_optim_step {
  float lr, scale; /* gradients are multiplied by scale first (clipping) */
  float decay;     /* decoupled: w -= lr * decay * w, for parameters that decay */
  float beta1, beta2, eps;
  float fix1, fix2; /* 1 / (1 - beta^t) */
};

struct zf_back_rows {
  /* *mean of a row x (0 unless `center`) and *inv = 1 / sqrt(mean of (x - mean)^2 + eps). */
  void (*stats)(float *mean, float *inv, const float *x, float eps, int center, int64_t n);

  /* Through y = (x - mean) inv w [+ b]: with h = (x - mean) inv and d = dy w (w NULL: 1),
   *   g = inv (d - h mean(d h) - mean(d) if center)
   * dx = g, or dx += g with add.  dx may be dy. */
  void (*norm)(float *dx, const float *dy, const float *x, const float *w, float mean, float inv,
               int center, int add, int64_t n);

  /* dw += dy (x - mean) inv; db += dy (db may be NULL, dw too). */
  void (*norm_weight)(float *dw, float *db, const float *dy, const float *x, float mean, float inv,
                      int64_t n);

  /* Through y = act(g) u:  dg = dy u act'(g), du = dy act(g); u and du NULL: y = act(g).
   * dg may be dy. */
  void (*act[ZF_ACTS])(float *dg, float *du, const float *g, const float *u, const float *dy,
                       int64_t n);

  /* Softmax of scores: p = p by, d = p (d - sum of p d) scale; p, d [n]. */
  void (*softmax)(float *p, float *d, float by, float scale, int64_t n);

  /* Logits to their gradient: y = -c exp(y - lse).  (The target's own c is added by the caller.) */
  void (*logits)(float *y, float lse, float c, int64_t n);

  /* Inverse of the rotation of rope: (a,b) -> (a c + b s, b c - a s); pairs (i, i + half). */
  void (*rope)(float *x, const float *cs, int64_t half);

  void (*add)(float *y, const float *x, int64_t n);           /* y += x */
  void (*axpy)(float *y, float a, const float *x, int64_t n); /* y += a x */
  double (*square)(const float *x, int64_t n);                /* sum of squares, in double */

  /* Updates n elements of w by the rule and sets g to 0.  m, v: the state, NULL if the rule has none. */
  void (*update[ZF_OPTIMS])(float *w, float *g, float *m, float *v, const struct zf_optim_step *s,
                            int64_t n);
};

/* The fastest functions for these flags (enum zf_cpu_flags). */
const struct zf_back_rows *zf_back_rows_for(unsigned flags);

extern const struct zf_back_rows zf_back_rows_base, zf_back_rows_avx2, zf_back_rows_avx512;

ZF_END_DECLS

#endif
