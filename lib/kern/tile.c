/* One thread's products over the table's f32 kernels. */
#include "kern/tile.h"

#include "kern/kern_internal.h"

static const struct zf_product *f32(void) {
  return &zf_kern.product[ZF_COMPUTE_F32];
}

int64_t zf_tile_round_up(int64_t count) {
  return zf_kern_round_up(count);
}

void zf_tile_pack(float *panel, const float *x, int64_t ldx, int64_t rows, int64_t k) {
  for (int64_t row = 0; row < rows; row += ZF_LANES) {
    int64_t panel_row = row / f32()->max_columns * f32()->max_columns,
            width = zf_min64(zf_kern_round_up(rows - panel_row), f32()->max_columns);
    for (int64_t k0 = 0; k0 < k; k0 += ZF_KC)
      f32()->pack(panel + panel_row * k + k0 * width + row - panel_row, width, x + row * ldx + k0,
                  ldx, NULL, 0, zf_min64(rows - row, ZF_LANES), zf_min64(k - k0, ZF_KC));
  }
}

void zf_tile_nt(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *panel,
                int64_t count, int64_t rows, int64_t k) {
  for (int64_t first = 0; first < count; first += f32()->max_columns) {
    int64_t ldp = zf_min64(zf_kern_round_up(rows - first), f32()->max_columns);
    f32()->mul(c + first, ldc, x, ldx, m, panel + first * k, ldp,
               zf_min64(zf_kern_round_up(count - first), f32()->max_columns), k, ZF_MUL_SET);
  }
}

void zf_tile_nn(float *c, int64_t ldc, const float *x, int64_t ldx, int64_t m, const float *y,
                int64_t ldy, int64_t columns, int64_t k) {
  for (int64_t first = 0; first < columns; first += f32()->max_columns)
    f32()->mul(c + first, ldc, x, ldx, m, y + first, ldy,
               zf_min64(columns - first, f32()->max_columns), k, ZF_MUL_ADD);
}

float zf_tile_softmax(float *scores, float scale, int64_t count) {
  return zf_kern.softmax(scores, scale, count);
}

void zf_tile_softcap(float *x, float scale_in, float scale_out, int64_t count) {
  zf_kern.softcap(x, scale_in, scale_out, count);
}

int zf_tile_team(int64_t work) {
  return zf_kern_team(work);
}
