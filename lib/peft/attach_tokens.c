/* Trainable tokens: rows that replace those of some tokens in the embedding, and in a head that is tied to
 * it.  The file holds the rows as a whole, not differences. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "peft/attach_internal.h"

static int own_ids(struct attachment *attachment, int64_t count, const int32_t **out) {
  const struct zf_peft_ints *index = &attachment->file->config.tokens.index;
  int32_t *ids = zf_calloc(count, sizeof *ids);
  if (!ids) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    ids[i] = (int32_t)index->value[i];
    if (index->value[i] >= 0 && index->value[i] < attachment->model->config.vocab) continue;
    free(ids);
    return zf_error(ZF_EINVALID, "%s: token_indices: %lld is outside the vocabulary of %lld",
                    attachment->file->path, (long long)index->value[i],
                    (long long)attachment->model->config.vocab);
  }
  *out = ids;
  return zf_model_own(attachment->model, ids, free);
}

/* 1 where another tensor of the file has the same values: a tied head's rows under a second name. */
static int is_duplicate(const struct attachment *attachment,
                        const struct zf_adapter_tensor *tensor) {
  for (int64_t i = 0; i < attachment->file->count; i++) {
    const struct zf_adapter_tensor *other = &attachment->file->tensor[i];
    if (other != tensor && !strcmp(other->part, tensor->part) && other->count == tensor->count &&
        !memcmp(other->data, tensor->data, (size_t)tensor->count * sizeof *tensor->data))
      return 1;
  }
  return 0;
}

/* The rows of a tied head that differ from those of the embedding. */
static int attach_head(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_plan *plan = &attachment->model->plan;
  int64_t count = attachment->file->config.tokens.index.count,
          width = attachment->model->config.embed_dim;
  if (is_duplicate(attachment, tensor)) return 0;
  if (tensor->shape[0] != count || tensor->shape[1] != width)
    return zf_attach_shape_error(attachment, tensor, count, width);
  int rc = own_ids(attachment, count, &plan->head_ids);
  plan->head_row_count = count;
  return rc ? rc : zf_attach_param(attachment, tensor, 1, &plan->head_rows);
}

int zf_attach_tokens(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_plan *plan = &attachment->model->plan;
  int64_t at = zf_attach_op(attachment), count = attachment->file->config.tokens.index.count;
  if (attachment->model->config.tied && zf_attach_is_head(attachment, tensor->module))
    return attach_head(attachment, tensor);
  if (at < 0 || plan->op[at].kind != ZF_OP_EMBED || attachment->weight != 1)
    return zf_error(
        ZF_EUSAGE,
        "%s: trainable tokens replace rows of the input embedding, of one adapter alone and with "
        "weight 1; found %s",
        attachment->file->path, tensor->module);
  struct zf_op embed = plan->op[at];
  if (tensor->shape[0] != count || tensor->shape[1] != embed.width)
    return zf_attach_shape_error(attachment, tensor, count, embed.width);
  struct zf_op op = zf_attach_new_op(ZF_OP_TOKENS, embed.dst, embed.dst, embed.width, &embed);
  op.inputs = count;
  int rc = own_ids(attachment, count, &op.ids);
  if (!rc) rc = zf_attach_param(attachment, tensor, 1, &op.weight);
  if (rc) return rc;
  if (plan->head == embed.weight && plan->head_rows < 0) {
    plan->head_rows = op.weight;
    plan->head_ids = op.ids;
    plan->head_row_count = count;
  }
  return zf_edit_insert_after(plan, at, &op);
}
