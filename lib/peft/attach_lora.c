/* LoRA (Hu et al. 2021): y = W x + s B (A x), with s = alpha / r or, as rsLoRA has it, alpha / sqrt(r).
 *
 * W runs once, unperturbed, on the rows of all streams; A and B are thin products on the same rows.
 * DoRA (Liu et al. 2024) then scales the columns of the sum, whose bias comes last. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "peft/attach_internal.h"

static int no_module(const struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  return zf_error(
      ZF_EINVALID,
      "%s: the base model has no linear module '%s': the adapter belongs to another base",
      attachment->file->path, tensor->module);
}

/* Inserts the thin products: U = src A^T and U *= s before operation `at`, dst += U B^T after it, so that
 * the base's product, the addition and an activation can run chunk by chunk. */
static int insert_pair(struct attachment *attachment, int64_t at, const struct zf_op *base,
                       struct zf_op *inner, int32_t outer) {
  struct zf_plan *plan = &attachment->model->plan;
  int64_t column = zf_attach_free_column(plan, at);
  double scale;
  int rc = zf_peft_scale(&scale, &attachment->file->config,
                         attachment->file->tensor[attachment->first].module);
  struct zf_op product = zf_attach_new_op(ZF_OP_LINEAR, ZF_REG_U, base->dst, base->width, base);
  struct zf_op factor = zf_attach_new_op(ZF_OP_SCALE, ZF_REG_U, ZF_REG_U, inner->width, base);
  product.inputs = inner->width;
  product.dst_col = base->dst_col;
  product.weight = outer;
  product.accumulate = 1;
  inner->dst_col = factor.src_col = factor.dst_col = product.src_col = column;
  factor.scale = (float)(scale * attachment->weight);
  if (!rc) rc = zf_edit_insert_after(plan, at, &product);
  if (!rc && factor.scale != 1) rc = zf_edit_insert_before(plan, at, &factor);
  return rc ? rc : zf_edit_insert_before(plan, at, inner);
}

/* Parts of a LoRA of which biases alone are trained. */
static int trains(const struct attachment *attachment, int inner) {
  if (attachment->train == ZF_TRAIN_BIASES) return 0;
  return !inner || attachment->train == ZF_TRAIN_ALL;
}

/* --- the head --- */

int zf_attach_is_head(const struct attachment *attachment, const char *module) {
  const struct zf_config *config = &attachment->model->config;
  const char *head = zf_config_tail(config)->head;
  size_t len = strlen(module);
  if (attachment->wanted >= 0 && attachment->wanted == attachment->model->plan.head)
    return zf_attach_op(attachment) < 0;
  return config->tied && head && !strncmp(head, module, len) && !strcmp(head + len, ".weight");
}

/* The last operations of the tail: U = (last hidden state) A^T, scaled; logits += U B^T. */
static int attach_head(struct attachment *attachment, const struct zf_adapter_tensor *inner,
                       const struct zf_adapter_tensor *outer) {
  struct zf_model *model = attachment->model;
  struct zf_plan *plan = &model->plan;
  int64_t rank = inner->shape[0], width = model->config.embed_dim;
  enum zf_reg input = plan->width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
  if (plan->head_outer >= 0 || zf_attach_part(attachment, "lora_magnitude_vector"))
    return zf_error(ZF_EUSAGE, "%s: the output head takes one LoRA, and no DoRA",
                    attachment->file->path);
  if (inner->shape[1] != width) return zf_attach_shape_error(attachment, inner, rank, width);
  if (outer->shape[0] != model->config.outputs)
    return zf_attach_shape_error(attachment, outer, model->config.outputs, rank);
  double scale;
  struct zf_op last = {.layer = -1};
  struct zf_op product = zf_attach_new_op(ZF_OP_LINEAR, input, ZF_REG_U, rank, &last);
  struct zf_op factor = zf_attach_new_op(ZF_OP_SCALE, ZF_REG_U, ZF_REG_U, rank, &last);
  product.inputs = width;
  int rc = zf_peft_scale(&scale, &attachment->file->config, inner->module);
  if (!rc) rc = zf_attach_param(attachment, inner, trains(attachment, 1), &product.weight);
  if (!rc) rc = zf_attach_param(attachment, outer, trains(attachment, 0), &plan->head_outer);
  factor.scale = (float)(scale * attachment->weight);
  if (!rc) rc = zf_edit_append(plan, &product);
  return rc ? rc : zf_edit_append(plan, &factor);
}

/* --- DoRA --- */

/* Sums of squares of the rows of W, for every pass; the model owns them. */
static int base_squares(const struct attachment *attachment, int64_t outputs, const float **out) {
  float *squares = zf_calloc(outputs, sizeof *squares);
  int rc =
      squares ? zf_adapter_row_squares(attachment->model, attachment->wanted, squares) : ZF_ENOMEM;
  if (rc) {
    free(squares);
    return rc;
  }
  *out = squares;
  return zf_model_own(attachment->model, squares, free);
}

/* Gives the product an output of its own, where it adds to something; its bias comes later. */
static int isolate(struct attachment *attachment, int64_t at) {
  if (attachment->weight != 1)
    return zf_error(ZF_EUSAGE, "%s: a DoRA adapter is applied with weight 1 alone",
                    attachment->file->path);
  return attachment->model->plan.op[at].accumulate
             ? zf_edit_own_output(&attachment->model->plan, at)
             : 0;
}

static int insert_norms(struct attachment *attachment, int64_t at,
                        const struct zf_adapter_tensor *magnitude, int32_t inner, int32_t outer) {
  struct zf_plan *plan = &attachment->model->plan;
  struct zf_op base = plan->op[at];
  double scale;
  int32_t number;
  if (magnitude->count != base.width)
    return zf_attach_shape_error(attachment, magnitude, base.width, 1);
  struct zf_op op = zf_attach_new_op(ZF_OP_DORA, base.dst, base.dst, base.width, &base);
  int rc = zf_attach_param(attachment, magnitude, 1, &number);
  if (!rc) rc = zf_peft_scale(&scale, &attachment->file->config, magnitude->module);
  if (!rc) rc = base_squares(attachment, base.width, &op.base_squares);
  if (rc) return rc;
  op.src_col = op.dst_col = base.dst_col;
  op.inputs = base.inputs;
  op.rank = attachment->model->params.param[inner].shape[0];
  op.scale = (float)scale;
  op.weight = number;
  op.bias = base.bias;
  op.norm_base = (int32_t)attachment->wanted;
  op.norm_inner = inner;
  op.norm_outer = outer;
  plan->op[at].bias = -1;
  return zf_edit_insert_after(plan, at, &op);
}

int zf_attach_lora(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  const struct zf_adapter_tensor *outer = zf_attach_part(attachment, "lora_B");
  int64_t at = zf_attach_op(attachment), rank = tensor->shape[0];
  if (zf_attach_is_head(attachment, tensor->module)) return attach_head(attachment, tensor, outer);
  if (at < 0 || attachment->model->plan.op[at].kind != ZF_OP_LINEAR)
    return no_module(attachment, tensor);
  const struct zf_adapter_tensor *magnitude = zf_attach_part(attachment, "lora_magnitude_vector");
  int rc = magnitude ? isolate(attachment, at) : 0;
  if (rc) return rc;
  struct zf_op base = attachment->model->plan.op[at];
  if (tensor->shape[1] != base.inputs)
    return zf_attach_shape_error(attachment, tensor, rank, base.inputs);
  if (outer->shape[0] != base.width)
    return zf_attach_shape_error(attachment, outer, base.width, rank);
  int32_t inner_number, outer_number;
  rc = zf_attach_param(attachment, tensor, trains(attachment, 1), &inner_number);
  if (!rc) rc = zf_attach_param(attachment, outer, trains(attachment, 0), &outer_number);
  if (!rc && magnitude) rc = insert_norms(attachment, at, magnitude, inner_number, outer_number);
  if (rc) return rc;
  struct zf_op inner = zf_attach_new_op(ZF_OP_LINEAR, base.src, ZF_REG_U, rank, &base);
  inner.inputs = base.inputs;
  inner.src_col = base.src_col;
  inner.weight = inner_number;
  inner.adapter = 0; /* in the base's arithmetic, on rows that are converted already */
  return insert_pair(attachment, at, &base, &inner, outer_number);
}

int zf_attach_embedding(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  const struct zf_adapter_tensor *outer = zf_attach_part(attachment, "lora_embedding_B");
  int64_t at = zf_attach_op(attachment), rank = tensor->shape[0];
  if (at < 0 || attachment->model->plan.op[at].kind != ZF_OP_EMBED)
    return no_module(attachment, tensor);
  struct zf_op base = attachment->model->plan.op[at];
  int64_t vocab = attachment->model->config.vocab;
  if (tensor->shape[1] != vocab) return zf_attach_shape_error(attachment, tensor, rank, vocab);
  if (outer->shape[0] != base.width)
    return zf_attach_shape_error(attachment, outer, base.width, rank);
  int32_t inner_number, outer_number;
  int rc = zf_attach_param(attachment, tensor, trains(attachment, 1), &inner_number);
  if (!rc) rc = zf_attach_param(attachment, outer, trains(attachment, 0), &outer_number);
  if (rc) return rc;
  attachment->model->params.param[inner_number].transposed = 1;
  struct zf_op rows = zf_attach_new_op(ZF_OP_EMBED, base.src, ZF_REG_U, rank, &base);
  rows.weight = inner_number;
  return insert_pair(attachment, at, &base, &rows, outer_number);
}
