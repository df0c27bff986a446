/* Products by the calling thread alone, without the workspace: for drivers outside this folder that
 * share out their work themselves (the backward pass of attention).
 *
 * Everything is f32; sums are chains over k as kern.h says, of one chunk.  Rows are contiguous,
 * strides in elements. */
#ifndef ZF_KERN_TILE_H
#define ZF_KERN_TILE_H

#include "kern/kern.h"

/* count rounded up to a multiple of 16 lanes, the unit of the widths below. */
int64_t zf_tile_round_up(int64_t count);

/* panel = the rows of x [rows, k] as columns, for zf_tile_nt; zf_tile_round_up(rows) * k floats. */
void zf_tile_pack(float *panel, const float *x, int64_t ldx, int64_t rows, int64_t k);

/* c [m, count] = x [m, k] y^T for the first `count` of the `rows` packed rows of y.  Columns up to
 * zf_tile_round_up(count) are written: ldc is at least that. */
void zf_tile_nt(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *panel,
                int64_t count, int64_t rows, int64_t k);

/* c [m, columns] += x [m, k] y [k, columns]; columns is a multiple of 16. */
void zf_tile_nn(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *y,
                int64_t ldy, int64_t columns, int64_t k);

/* scores[j] = exp(scores[j] scale - max of scores[j] scale), j < count; returns their sum by lanes.
 * count >= 1. */
float zf_tile_softmax(float *scores, float scale, int64_t count);

/* x = tanh(x scale_in) scale_out. */
void zf_tile_softcap(float *x, float scale_in, float scale_out, int64_t count);

/* Threads worth starting for `work` elementary operations (some 0.15 ns each). */
int zf_tile_team(int64_t work);

#endif
