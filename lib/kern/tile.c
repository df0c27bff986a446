/* One thread's products over the table's f32 kernels. */
#include "kern/tile.h"

#include "kern/kern_internal.h"

static const struct zf_product *f32(void) {
  return &zf_kern.product[ZF_COMPUTE_F32];
}

int64_t zf_tile_round_up(int64_t n) {
  return zf_kern_round_up(n);
}

void zf_tile_pack(float *panel, const float *x, int64_t ldx, int64_t n, int64_t k) {
  for (int64_t at = 0; at < n; at += ZF_LANES) {
    int64_t p = at / f32()->nr * f32()->nr, w = zf_kern_min(zf_kern_round_up(n - p), f32()->nr);
    for (int64_t k0 = 0; k0 < k; k0 += ZF_KC)
      f32()->pack(panel + p * k + k0 * w + at - p, w, x + at * ldx + k0, ldx, NULL, 0,
                  zf_kern_min(n - at, ZF_LANES), zf_kern_min(k - k0, ZF_KC));
  }
}

void zf_tile_nt(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *panel,
                int64_t count, int64_t rows, int64_t k) {
  for (int64_t p = 0; p < count; p += f32()->nr) {
    int64_t ldp = zf_kern_min(zf_kern_round_up(rows - p), f32()->nr);
    f32()->mul(c + p, ldc, x, ldx, m, panel + p * k, ldp,
               zf_kern_min(zf_kern_round_up(count - p), f32()->nr), k, ZF_MUL_SET);
  }
}

void zf_tile_nn(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *y,
                int64_t ldy, int64_t n, int64_t k) {
  for (int64_t d = 0; d < n; d += f32()->nr)
    f32()->mul(c + d, ldc, x, ldx, m, y + d, ldy, zf_kern_min(n - d, f32()->nr), k, ZF_MUL_ADD);
}

float zf_tile_softmax(float *p, float scale, int64_t n) {
  return zf_kern.softmax(p, scale, n);
}

void zf_tile_softcap(float *x, float in, float out, int64_t n) {
  zf_kern.softcap(x, in, out, n);
}

int zf_tile_team(int64_t work) {
  return zf_kern_team(work);
}
