/* The product in int8, in plain C: four inputs to a cell, the first in the lowest byte.
 *
 * A group of a row of x is its scale, an unused cell, and cells of bytes; a group of a panel has
 * a row of scales and a row that is unused before its rows of cells. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

enum { PER = 4, EXTRA = 2 };

#define ROUND 12582912.0f /* 1.5 * 2^23: what is added to it is rounded to a whole number */

struct scale {
  float inv, scale;
};

/* Of n values that lie ld apart. */
static struct scale scale_of(const float *v, int64_t ld, int64_t n) {
  float m = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(v[i * ld])) return (struct scale){0, NAN};
    m = fmaxf(m, fabsf(v[i * ld]));
  }
  if (m < 0x1p-100f) return (struct scale){0, 0};
  return (struct scale){127.0f / m, m / 127.0f};
}

static int8_t quant(float v, struct scale scale) {
  return isnan(scale.scale) ? 0 : (int8_t)(fmaf(v, scale.inv, ROUND) - ROUND);
}

/* A cell of n <= 4 values that lie ld apart. */
static uint32_t cell_of(const float *v, int64_t ld, int64_t n, struct scale scale) {
  uint32_t cell = 0;
  for (int64_t e = 0; e < n; e++) cell |= (uint32_t)(uint8_t)quant(v[e * ld], scale) << 8 * e;
  return cell;
}

static void rows_int8_ref(void *cells, const float *x, int64_t count) {
  uint32_t *c = cells;
  for (int64_t g = 0; g < count; g += ZF_GROUP) {
    int64_t k = zf_kern_min(count - g, ZF_GROUP);
    struct scale scale = scale_of(x + g, 1, k);
    memcpy(c, &scale.scale, sizeof *c);
    c[1] = 0;
    c += EXTRA;
    for (int64_t i = 0; i < k; i += PER)
      *c++ = cell_of(x + g + i, 1, zf_kern_min(k - i, PER), scale);
  }
}

static void fold_int8_ref(void *panel, int64_t w, const float *from, int64_t ld, int64_t n,
                          int64_t k) {
  uint32_t *p = panel;
  for (int64_t j = 0; j < n; j++) {
    struct scale scale = scale_of(from + j, ld, k);
    memcpy(p + j, &scale.scale, sizeof *p);
    p[w + j] = 0;
    for (int64_t i = 0; i < k; i += PER)
      p[(EXTRA + i / PER) * w + j] = cell_of(from + i * ld + j, ld, zf_kern_min(k - i, PER), scale);
  }
}

static int32_t dot4(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int e = 0; e < 32; e += 8) sum += (int8_t)(a >> e) * (int8_t)(b >> e);
  return sum;
}

static float value(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* The chain over the groups of k inputs. */
static float chain_of(const uint32_t *x, const uint32_t *p, int64_t ldp, int64_t k) {
  float chain = 0;
  for (int64_t g = 0; g < k; g += ZF_GROUP) {
    int64_t cells = (zf_kern_min(k - g, ZF_GROUP) + PER - 1) / PER;
    int32_t sum = 0;
    for (int64_t i = EXTRA; i < EXTRA + cells; i++) sum += dot4(x[i], p[i * ldp]);
    chain = fmaf((float)sum, value(x[0]) * value(p[0]), chain);
    x += EXTRA + cells, p += (EXTRA + cells) * ldp;
  }
  return chain;
}

static void mul_int8_ref(float *c, int64_t ldc, const void *xs, int64_t ldx, int64_t rows,
                         const void *ps, int64_t ldp, int64_t w, int64_t k, enum zf_mul_mode mode) {
  const uint32_t *x = xs, *p = ps;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < w; j++) {
      float chain = chain_of(x + r * ldx, p + j, ldp, k);
      c[r * ldc + j] = mode == ZF_MUL_ADD ? c[r * ldc + j] + chain : chain;
    }
}

void zf_kern_init_int8_ref(struct zf_kern_table *table) {
  table->product[ZF_COMPUTE_INT8] = (struct zf_product){.name = "ref",
                                                        .max_columns = 64,
                                                        .inputs_per_cell = PER,
                                                        .chunk_inputs = ZF_KC_INT8,
                                                        .group = ZF_GROUP,
                                                        .scale_cells = EXTRA,
                                                        .convert_rows = rows_int8_ref,
                                                        .pack_f32 = fold_int8_ref,
                                                        .mul = mul_int8_ref};
}
