/* Prompt tuning (Lester et al. 2021): trained embeddings in front of every sequence.
 * Prefix tuning (Li and Liang 2021): trained keys and values in front of every sequence, in each layer.
 * Row k of prompt_embeddings holds, for layer i, key 2i and value 2i + 1, as they stand in a cache:
 * after the rotation. */
#include "base/err.h"
#include "peft/attach_internal.h"

static struct zf_op virtual_rows(const struct zf_op *beside, enum zf_reg dst, int64_t column,
                                 int64_t width, int64_t offset, int32_t number) {
  struct zf_op op = zf_attach_new_op(ZF_OP_VIRTUAL, dst, dst, width, beside);
  op.src_col = op.dst_col = column;
  op.offset = offset;
  op.weight = number;
  return op;
}

/* Embeddings stand behind the lookup, and behind its scale where that is part of the lookup. */
static int attach_embeddings(struct attachment *attachment, int32_t number) {
  struct zf_model *model = attachment->model;
  int64_t at = zf_edit_find(&model->plan, ZF_ROLE_EMBED, -1);
  struct zf_op embed = model->plan.op[at];
  if (model->config.family->scale_embedding && model->plan.op[at + 1].kind == ZF_OP_SCALE) at++;
  struct zf_op op = virtual_rows(&embed, embed.dst, 0, embed.width, 0, number);
  return zf_edit_insert_after(&model->plan, at, &op);
}

static int attach_layer(struct attachment *attachment, int64_t layer, int32_t number) {
  struct zf_model *model = attachment->model;
  const struct zf_config *config = &model->config;
  int64_t query = config->heads * config->head_dim, key = config->kv_heads * config->head_dim;
  int64_t at = zf_edit_find(&model->plan, ZF_ROLE_ATTENTION, layer);
  struct zf_op attention = model->plan.op[at];
  for (int value = 0; value < 2; value++) {
    struct zf_op op = virtual_rows(&attention, attention.src, query + value * key, key,
                                   (2 * layer + value) * key, number);
    int rc = zf_edit_insert_before(&model->plan, at++, &op);
    if (rc) return rc;
  }
  return 0;
}

int zf_attach_prompt(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_model *model = attachment->model;
  const struct zf_config *config = &model->config;
  int prefix = attachment->file->config.kind == ZF_PEFT_PREFIX;
  int64_t width =
      prefix ? config->layers * 2 * config->kv_heads * config->head_dim : config->embed_dim;
  if (tensor->shape[1] != width)
    return zf_attach_shape_error(attachment, tensor, tensor->shape[0], width);
  if (!model->plan.causal || model->plan.virtual_tokens || attachment->weight != 1)
    return zf_error(
        ZF_EUSAGE,
        "%s: a prompt or prefix goes in front of the sequences of a causal model, one alone "
        "and with weight 1",
        attachment->file->path);
  int32_t number;
  int rc = zf_attach_param(attachment, tensor, 1, &number);
  model->plan.virtual_tokens = tensor->shape[0];
  if (rc || !prefix) return rc ? rc : attach_embeddings(attachment, number);
  for (int64_t layer = 0; layer < config->layers && !rc; layer++)
    rc = attach_layer(attachment, layer, number);
  return rc;
}
