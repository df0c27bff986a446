#include "compress/copy_verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "compress/image_internal.h"

enum { CHUNK = 1 << 16 };

struct copy_reader {
  const struct zf_model *model;
  const struct zf_save_values *values;
  const char *dir;
};

static void expand_rows(float *out, const struct zf_param *param, int64_t first, int64_t rows,
                        int64_t width) {
  zf_to_f32(out, (const char *)param->data + zf_dtype_bytes(param->type, first * width),
            param->type, rows * width);
}

/* `number`: of the source's parameter, or of its own head. */
static int compare_param(const struct copy_reader *reader, int64_t number,
                         const struct zf_param *source, const struct zf_param *found) {
  const struct zf_save_values *values = reader->values;
  int64_t rows = source->shape[0], width = source->count / zf_max64(rows, 1);
  int64_t step = zf_max64(1, CHUNK / zf_max64(width, 1)), count = step * width;
  float *expected = zf_calloc(2 * count, sizeof *expected);
  int changed = values && values->changed(values->ctx, number), rc = expected ? 0 : ZF_ENOMEM;
  if (!rc && (found->count != source->count || found->shape[0] != rows))
    rc = zf_error(ZF_EFAIL, "%s: tensor '%s' has another shape", reader->dir, found->name);
  for (int64_t i = 0; i < rows; i += step) {
    if (rc) break;
    int64_t some = zf_min64(step, rows - i);
    if (changed)
      values->read(values->ctx, number, i, some, expected);
    else
      expand_rows(expected, source, i, some, width);
    expand_rows(expected + count, found, i, some, width);
    rc = zf_image_compare(reader->dir, found->name, found->type, i * width, some * width, expected,
                          expected + count);
  }
  free(expected);
  return rc;
}

/* The number of the tensor `name` of a plan; -1: none. */
static int64_t find_wanted(const struct zf_model *model, const char *name) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (!strcmp(model->plan.wanted[i].name, name)) return i;
  return -1;
}

static int compare_params(const struct copy_reader *reader, const struct zf_model *found) {
  const struct zf_model *model = reader->model;
  int own_head = reader->values && reader->values->own_head;
  int64_t count = model->plan.wanted_count;
  for (int64_t i = 0; i < count + own_head; i++) {
    const char *name =
        i < count ? model->plan.wanted[i].name : zf_config_tail(&model->config)->head;
    const struct zf_param *source = i < count ? &model->params.param[i] : zf_model_embedding(model);
    int64_t at = find_wanted(found, name);
    if (at < 0) return zf_error(ZF_EFAIL, "%s: the tensor '%s' is not there", reader->dir, name);
    int rc = compare_param(reader, i, source, &found->params.param[at]);
    if (rc) return rc;
  }
  return 0;
}

int zf_copy_verify(const struct zf_model *model, const struct zf_tok *tok, const char *dir,
                   const struct zf_save_values *values) {
  struct copy_reader reader = {model, values, dir};
  struct zf_model_opts opts = {.dtype = -1};
  struct zf_model *found = NULL;
  struct zf_tok *found_tok = NULL;
  int rc = zf_model_open(&found, dir, &opts);
  if (!rc) rc = zf_config_same(&model->config, &found->config, dir);
  if (!rc) rc = compare_params(&reader, found);
  if (!rc && tok) rc = zf_tok_open(&found_tok, dir);
  if (!rc && tok) rc = zf_image_same_tokens(tok, found_tok, dir);
  zf_tok_free(found_tok);
  zf_model_free(found);
  return rc;
}
