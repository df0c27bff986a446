/* Shared by the files that save a model. */
#ifndef ZF_MODEL_SAVE_INTERNAL_H
#define ZF_MODEL_SAVE_INTERNAL_H

#include <stdio.h>

#include "model/model.h"

/* Values that a file must not hold. */
struct zf_save_bad {
  int64_t not_finite;
  int64_t too_large; /* finite, but out of the range of the file's dtype */
  const char *name;  /* the first tensor that has one */
};

/* Adds those of value[0..count), which are stored as `stored`. */
void zf_save_count_bad(struct zf_save_bad *bad, const float *value, const float *stored,
                       int64_t count);

/* Adds the bad values of changed tensor `number`, to be written in dtype `to`.  ZF_ENOMEM,
 * ZF_ESTOPPED. */
int zf_save_check_changed(struct zf_save_bad *bad, const char *name,
                          const struct zf_save_values *values, const struct zf_param *param,
                          int64_t number, enum zf_dtype to);

/* Writes the values of changed tensor `number`, whose shape is that of `param`. */
int zf_save_write_changed(FILE *file, const struct zf_save_values *values,
                          const struct zf_param *param, int64_t number, enum zf_dtype to);

#endif
