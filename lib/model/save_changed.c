/* Tensors of a saved model whose values a caller computes: rows at a time, so that no such tensor is in
 * memory as a whole. */
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "kern/kern.h"
#include "model/save_internal.h"

/* The rows at hand of a changed tensor. */
struct changed_rows {
  const struct zf_save_values *values;
  int64_t number, rows, width;
  enum zf_dtype type;
  int64_t step;        /* rows of a chunk */
  float *value, *back; /* [step][width] values, and the same as they are read back */
  void *stored;        /* [step][width] of `type` */
};

void zf_save_count_bad(struct zf_save_bad *bad, const float *value, const float *stored,
                       int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    bad->not_finite += !isfinite(value[i]);
    bad->too_large += isfinite(value[i]) && !isfinite(stored[i]);
  }
}

static void end_rows(struct changed_rows *changed) {
  free(changed->value);
  free(changed->back);
  free(changed->stored);
}

static int begin_rows(struct changed_rows *changed, const struct zf_save_values *values,
                      const struct zf_param *param, int64_t number, enum zf_dtype to) {
  enum { CHUNK = 1 << 16 };
  *changed = (struct changed_rows){.values = values, .number = number, .type = to};
  changed->rows = param->shape[0];
  changed->width = param->count / zf_max64(param->shape[0], 1);
  changed->step = zf_max64(1, CHUNK / zf_max64(changed->width, 1));
  int64_t count = changed->step * changed->width;
  changed->value = zf_calloc(count, sizeof *changed->value);
  changed->back = zf_calloc(count, sizeof *changed->back);
  changed->stored = zf_calloc(count, (int64_t)sizeof(float));
  if (changed->value && changed->back && changed->stored) return 0;
  end_rows(changed);
  return ZF_ENOMEM;
}

/* Computes the rows from `first` on and rounds them.  Returns the number of their values, or a code. */
static int64_t next_rows(struct changed_rows *changed, int64_t first) {
  const struct zf_save_values *values = changed->values;
  struct zf_noise round = {.use = ZF_USE_ROUNDING, .param = (uint32_t)changed->number};
  int64_t rows = zf_min64(changed->step, changed->rows - first), count = rows * changed->width;
  if (values->tick && values->tick(values->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted while writing");
  values->read(values->ctx, changed->number, first, rows, changed->value);
  if (changed->type == ZF_F32)
    zf_from_f32(changed->stored, changed->value, ZF_F32, count);
  else
    zf_round(changed->stored, changed->type, changed->value, &round, first * changed->width, count);
  return count;
}

int zf_save_check_changed(struct zf_save_bad *bad, const char *name,
                          const struct zf_save_values *values, const struct zf_param *param,
                          int64_t number, enum zf_dtype to) {
  struct changed_rows changed;
  int64_t count = 0, before = bad->not_finite + bad->too_large;
  int rc = begin_rows(&changed, values, param, number, to);
  if (rc) return rc;
  for (int64_t i = 0; i < changed.rows; i += changed.step) {
    if ((count = next_rows(&changed, i)) < 0) break;
    zf_to_f32(changed.back, changed.stored, to, count);
    zf_save_count_bad(bad, changed.value, changed.back, count);
  }
  if (!before && bad->not_finite + bad->too_large) bad->name = name;
  end_rows(&changed);
  return count < 0 ? (int)count : 0;
}

int zf_save_write_changed(FILE *file, const struct zf_save_values *values,
                          const struct zf_param *param, int64_t number, enum zf_dtype to) {
  struct changed_rows changed;
  int64_t count = 0;
  int rc = begin_rows(&changed, values, param, number, to);
  if (rc) return rc;
  for (int64_t i = 0; i < changed.rows; i += changed.step) {
    if ((count = next_rows(&changed, i)) < 0) break;
    fwrite(changed.stored, zf_dtype_info(to)->size, (size_t)count, file);
  }
  end_rows(&changed);
  return count < 0 ? (int)count : 0;
}
