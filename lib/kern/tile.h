/* Products by one thread on matrices of its own: no team, no workspace.  For drivers outside this
 * folder that cut their work themselves (the backward pass of attention).
 *
 * Everything is f32; sums are chains over k as kern.h says, of one chunk.  Rows are contiguous,
 * strides in elements. */
#ifndef ZF_KERN_TILE_H
#define ZF_KERN_TILE_H

#include "kern/kern.h"

/* n rounded up to whole lanes of 16: the unit that widths below are multiples of. */
int64_t zf_tile_round_up(int64_t n);

/* panel = the n rows of x [n, k] as columns, for zf_tile_nt; zf_tile_round_up(n) * k floats. */
void zf_tile_pack(float *panel, const float *x, int64_t ldx, int64_t n, int64_t k);

/* c [m, n] = x [m, k] y^T for the first n of `rows` rows of y that were packed.  Columns up to
 * zf_tile_round_up(n) are written: ldc is at least that. */
void zf_tile_nt(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *panel,
                int64_t count, int64_t rows, int64_t k);

/* c [m, n] += x [m, k] y [k, n]; n a multiple of 16. */
void zf_tile_nn(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *y,
                int64_t ldy, int64_t n, int64_t k);

/* p[j] = exp(p[j] scale - max of p[j] scale), j < n; returns their sum by lanes.  n >= 1. */
float zf_tile_softmax(float *p, float scale, int64_t n);

/* x = tanh(x in) out. */
void zf_tile_softcap(float *x, float in, float out, int64_t n);

/* Threads worth starting for `work` elementary operations (some 0.15 ns each). */
int zf_tile_team(int64_t work);

#endif
