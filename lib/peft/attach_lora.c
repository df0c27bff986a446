/* LoRA (Hu et al. 2021): y = W x + s B (A x), with s = alpha / r or, as rsLoRA has it, alpha / sqrt(r).
 *
 * W runs once, unperturbed, on the rows of all streams; A and B are thin products on the same rows.
 * DoRA (Liu et al. 2024) is refused here until its norms are computed. */
#include "base/err.h"
#include "peft/attach_internal.h"

static int no_module(const struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  return zf_error(ZF_EINVALID,
                  "%s: the base model has no linear module '%s': the adapter belongs to another base",
                  attachment->file->path, tensor->module);
}

/* Inserts U *= s and dst += U B^T after operation `at`. */
static int insert_outer(struct attachment *attachment, int64_t at, const struct zf_op *base,
                        int64_t rank, int32_t outer) {
  double scale;
  int rc = zf_peft_scale(&scale, &attachment->file->config,
                         attachment->file->tensor[attachment->first].module);
  if (rc) return rc;
  scale *= attachment->weight;
  struct zf_op product = zf_attach_new_op(ZF_OP_LINEAR, ZF_REG_U, base->dst, base->width, base);
  product.inputs = rank;
  product.dst_col = base->dst_col;
  product.weight = outer;
  product.accumulate = 1;
  rc = zf_edit_insert_after(&attachment->model->plan, at, &product);
  if (rc || scale == 1) return rc;
  struct zf_op factor = zf_attach_new_op(ZF_OP_SCALE, ZF_REG_U, ZF_REG_U, rank, base);
  factor.scale = (float)scale;
  return zf_edit_insert_after(&attachment->model->plan, at, &factor);
}

/* Inserts U = src A^T after operation `at`. */
static int insert_inner(struct attachment *attachment, int64_t at, const struct zf_op *base,
                        int64_t rank, int32_t inner) {
  struct zf_op product = zf_attach_new_op(ZF_OP_LINEAR, base->src, ZF_REG_U, rank, base);
  product.inputs = base->inputs;
  product.src_col = base->src_col;
  product.weight = inner;
  return zf_edit_insert_after(&attachment->model->plan, at, &product);
}

int zf_attach_lora(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  const struct zf_adapter_tensor *outer = zf_attach_part(attachment, "lora_B");
  int64_t at = zf_attach_op(attachment), rank = tensor->shape[0];
  if (at < 0 || attachment->model->plan.op[at].kind != ZF_OP_LINEAR)
    return no_module(attachment, tensor);
  if (zf_attach_part(attachment, "lora_magnitude_vector"))
    return zf_error(ZF_EUSAGE, "%s: DoRA adapters cannot be applied yet", attachment->file->path);
  struct zf_op base = attachment->model->plan.op[at];
  if (tensor->shape[1] != base.inputs)
    return zf_attach_shape_error(attachment, tensor, rank, base.inputs);
  if (outer->shape[0] != base.width)
    return zf_attach_shape_error(attachment, outer, base.width, rank);
  int32_t inner_number, outer_number;
  int rc =
      zf_attach_param(attachment, tensor, attachment->train == ZF_TRAIN_ALL, &inner_number);
  if (!rc) rc = zf_attach_param(attachment, outer, 1, &outer_number);
  if (!rc) rc = insert_outer(attachment, at, &base, rank, outer_number);
  return rc ? rc : insert_inner(attachment, at, &base, rank, inner_number);
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
  int rc =
      zf_attach_param(attachment, tensor, attachment->train == ZF_TRAIN_ALL, &inner_number);
  if (!rc) rc = zf_attach_param(attachment, outer, 1, &outer_number);
  if (!rc) rc = insert_outer(attachment, at, &base, rank, outer_number);
  if (rc) return rc;
  attachment->model->params.param[inner_number].transposed = 1;
  struct zf_op rows = zf_attach_new_op(ZF_OP_EMBED, base.src, ZF_REG_U, rank, &base);
  rows.weight = inner_number;
  return zf_edit_insert_after(&attachment->model->plan, at, &rows);
}
