/* The product in int8, in plain C: four inputs to a cell, the first in the lowest byte.
 *
 * A group of a row of x is its scale, an unused cell, and cells of bytes.  A group of a panel is a row
 * of scales, an unused row, and rows of cells. */
#include <math.h>
#include <string.h>

#include "kern/kern_internal.h"

enum { PER = 4, EXTRA = 2 };

#define ROUND 12582912.0f /* 1.5 * 2^23: adding it rounds a value to a whole number */

struct int8_scale {
  float inv, scale;
};

/* The scale of `count` values that lie ld apart. */
static struct int8_scale scale_of(const float *values, int64_t ld, int64_t count) {
  float max = 0;
  for (int64_t i = 0; i < count; i++) {
    if (!isfinite(values[i * ld])) return (struct int8_scale){0, NAN};
    max = fmaxf(max, fabsf(values[i * ld]));
  }
  if (max < 0x1p-100f) return (struct int8_scale){0, 0};
  return (struct int8_scale){127.0f / max, max / 127.0f};
}

static int8_t quant(float value, struct int8_scale scale) {
  return isnan(scale.scale) ? 0 : (int8_t)(fmaf(value, scale.inv, ROUND) - ROUND);
}

/* A cell of count <= 4 values that lie ld apart. */
static uint32_t cell_of(const float *values, int64_t ld, int64_t count, struct int8_scale scale) {
  uint32_t cell = 0;
  for (int64_t e = 0; e < count; e++)
    cell |= (uint32_t)(uint8_t)quant(values[e * ld], scale) << 8 * e;
  return cell;
}

static void rows_int8_ref(void *cells, const float *x, int64_t count) {
  uint32_t *cell = cells;
  for (int64_t group = 0; group < count; group += ZF_GROUP) {
    int64_t group_len = zf_min64(count - group, ZF_GROUP);
    struct int8_scale scale = scale_of(x + group, 1, group_len);
    memcpy(cell, &scale.scale, sizeof *cell);
    cell[1] = 0;
    cell += EXTRA;
    for (int64_t i = 0; i < group_len; i += PER)
      *cell++ = cell_of(x + group + i, 1, zf_min64(group_len - i, PER), scale);
  }
}

static void pack_f32_int8_ref(void *panel, int64_t width, const float *rows, int64_t ld,
                              int64_t count, int64_t k) {
  uint32_t *cells = panel;
  for (int64_t j = 0; j < count; j++) {
    struct int8_scale scale = scale_of(rows + j, ld, k);
    memcpy(cells + j, &scale.scale, sizeof *cells);
    cells[width + j] = 0;
    for (int64_t i = 0; i < k; i += PER)
      cells[(EXTRA + i / PER) * width + j] =
          cell_of(rows + i * ld + j, ld, zf_min64(k - i, PER), scale);
  }
}

static int32_t dot4(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int shift = 0; shift < 32; shift += 8) sum += (int8_t)(a >> shift) * (int8_t)(b >> shift);
  return sum;
}

static float value(uint32_t cell) {
  float x;
  memcpy(&x, &cell, sizeof x);
  return x;
}

/* The chain over the groups of k inputs. */
static float chain_of(const uint32_t *x, const uint32_t *panel, int64_t ldp, int64_t k) {
  float chain = 0;
  for (int64_t group = 0; group < k; group += ZF_GROUP) {
    int64_t cells = (zf_min64(k - group, ZF_GROUP) + PER - 1) / PER;
    int32_t sum = 0;
    for (int64_t i = EXTRA; i < EXTRA + cells; i++) sum += dot4(x[i], panel[i * ldp]);
    chain = fmaf((float)sum, value(x[0]) * value(panel[0]), chain);
    x += EXTRA + cells, panel += (EXTRA + cells) * ldp;
  }
  return chain;
}

static void mul_int8_ref(float *out, int64_t ldout, const void *x_cells, int64_t ldx, int64_t rows,
                         const void *panel_cells, int64_t ldp, int64_t width, int64_t k,
                         enum zf_mul_mode mode) {
  const uint32_t *x = x_cells, *panel = panel_cells;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t j = 0; j < width; j++) {
      float chain = chain_of(x + row * ldx, panel + j, ldp, k);
      out[row * ldout + j] = mode == ZF_MUL_ADD ? out[row * ldout + j] + chain : chain;
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
                                                        .pack_f32 = pack_f32_int8_ref,
                                                        .mul = mul_int8_ref};
}
