/* Training a GGUF file itself: what its tensors become.
 *
 *   in blocks, ZF_BLOCKS_SCALES     the matrix stays in the mapped file; a parameter NAME.scales
 *                                   [rows, scales a row] holds u of every scale s (1 + u), first 0.
 *                                   It has the matrix's noise id: the matrix itself has no noise
 *   in blocks, ZF_BLOCKS_INTEGERS   a copy of the blocks, of the file's size
 *   F32, F16, BF16                  an f32 copy, as in other checkpoints */
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/model_internal.h"

static int in_blocks(enum zf_dtype type) {
  return zf_dtype_info(type)->block > 1;
}

int zf_blocks_train_whole(enum zf_dtype type, const struct zf_model_opts *opts) {
  return !in_blocks(type) || opts->blocks == ZF_BLOCKS_INTEGERS;
}

int zf_blocks_check(const struct zf_model *model, const struct zf_model_opts *opts) {
  if (!model->gguf || !opts->ntrainable) return 0;
  if (model->st->file_count > 1)
    return zf_error(ZF_EUSAGE,
                    "%s: a GGUF file in %d parts cannot be trained: join its parts first",
                    model->dir, model->st->file_count);
  if (opts->labels)
    return zf_error(ZF_EUSAGE,
                    "%s: a head of labels has no place in a GGUF file: train an adapter over it",
                    model->dir);
  if (opts->dtype >= 0 || opts->trained != ZF_F32)
    return zf_error(ZF_EUSAGE,
                    "%s: the tensors of a GGUF file keep their types: expected dtype auto and "
                    "trained_dtype f32",
                    model->dir);
  return 0;
}

int zf_blocks_check_tensor(const struct zf_model *model, const struct zf_param *param,
                           const struct zf_model_opts *opts) {
  const struct zf_dtype_info *info = zf_dtype_info(param->type);
  if (zf_model_change(model, param->name).transposed)
    return zf_error(ZF_EUSAGE,
                    "%s: tensor '%s' is stored the other way round and cannot be trained: leave it "
                    "out by 'trainable', train an adapter, or write the file as a model directory",
                    model->dir, param->name);
  if (!in_blocks(param->type)) return 0;
  if (param->ndim != 2)
    return zf_error(ZF_EUSAGE, "%s: tensor '%s' is a vector in %s: leave it out by 'trainable'",
                    model->dir, param->name, info->name);
  if (opts->blocks == ZF_BLOCKS_SCALES || param->type == ZF_Q8_0) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: tensor '%s' is in %s: train_blocks integers trains q8_0 alone (leave it out "
                  "by 'trainable', or train scales)",
                  model->dir, param->name, info->name);
}

/* Floats of the scale changes of a parameter. */
static int64_t changes_of(const struct zf_param *param) {
  return zf_dtype_scales(param->type, param->count);
}

size_t zf_blocks_cost(const struct zf_param *param) {
  return zf_arena_cost((size_t)changes_of(param) * sizeof(float));
}

/* Appends the changes of matrix `number`. */
static int add_changes(struct zf_model *model, int64_t number, int shapes) {
  const struct zf_param *matrix = &model->params.param[number];
  struct zf_param changes = {.type = ZF_F32,
                             .ndim = 2,
                             .shape = {matrix->shape[0]},
                             .count = changes_of(matrix),
                             .id = matrix->id,
                             .trained = 1,
                             .decayed = matrix->decayed,
                             .zero_start = 1};
  changes.shape[1] = changes.count / matrix->shape[0];
  char *name = zf_asprintf("%s.scales", matrix->name);
  if (!name) return ZF_ENOMEM;
  changes.name = name;
  int rc = zf_model_own(model, name, free);
  if (!rc && !shapes) {
    changes.data = zf_arena_array(&model->copies, changes.count, sizeof(float));
    if (!changes.data) rc = ZF_ENOMEM;
    model->copied += changes.count * (int64_t)sizeof(float);
  }
  int32_t added = 0;
  if (!rc) rc = zf_model_add_param(model, &changes, &added);
  if (!rc) model->params.param[number].scales = added;
  return rc;
}

int zf_blocks_add(struct zf_model *model, const struct zf_model_opts *opts) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (param->trained || !in_blocks(param->type) || !zf_model_is_named(opts, param->name))
      continue;
    int rc = add_changes(model, i, opts->shapes);
    if (rc) return rc;
  }
  return 0;
}
