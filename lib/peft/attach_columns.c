/* IA3 (Liu et al. 2022): learned factors of a module's outputs, or of a feedforward module's inputs.
 * VeRA (Kopiczko et al. 2023): y = W x + b * (B (d * (A x))), A and B random and shared by all
 * modules, of which each reads the leading rows and columns that it needs. */
#include "base/err.h"
#include "base/util.h"
#include "peft/attach_internal.h"

static int check_linear(const struct attachment *attachment, const struct zf_adapter_tensor *tensor,
                        int64_t at) {
  if (at >= 0 && attachment->model->plan.op[at].kind == ZF_OP_LINEAR) return 0;
  return zf_error(
      ZF_EINVALID,
      "%s: the base model has no linear module '%s': the adapter belongs to another base",
      attachment->file->path, tensor->module);
}

/* 1 where another operation than number `at` reads the same columns of its input before they are
 * overwritten, or the input is the residual stream. */
static int input_is_shared(const struct zf_plan *plan, int64_t at) {
  const struct zf_op *op = &plan->op[at];
  if (op->src == ZF_REG_X || op->src == ZF_REG_P) return 1;
  for (int64_t i = at + 1; i < plan->nop; i++) {
    if (plan->op[i].src == op->src && plan->op[i].kind == ZF_OP_LINEAR) return 1;
    if (plan->op[i].dst == op->src) return 0;
  }
  return 0;
}

static int insert_columns(struct attachment *attachment, int64_t at, int after,
                          const struct zf_op *base, int32_t weight) {
  struct zf_op columns = zf_attach_new_op(ZF_OP_COLUMNS, base->dst, base->dst, base->width, base);
  columns.src_col = columns.dst_col = base->dst_col;
  if (!after) {
    columns.src = columns.dst = base->src;
    columns.src_col = columns.dst_col = base->src_col;
    columns.width = base->inputs;
  }
  columns.weight = weight;
  return after ? zf_edit_insert_after(&attachment->model->plan, at, &columns)
               : zf_edit_insert_before(&attachment->model->plan, at, &columns);
}

int zf_attach_ia3(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_plan *plan = &attachment->model->plan;
  int64_t at = zf_attach_op(attachment);
  int rc = check_linear(attachment, tensor, at);
  if (rc) return rc;
  int after = tensor->shape[1] == 1, accumulates = plan->op[at].accumulate;
  int64_t expected = after ? plan->op[at].width : plan->op[at].inputs;
  if (tensor->count != expected)
    return zf_attach_shape_error(attachment, tensor, after ? expected : 1, after ? 1 : expected);
  int32_t number;
  if ((rc = zf_attach_param(attachment, tensor, 1, &number))) return rc;
  plan->vec = zf_max64(plan->vec, tensor->count);
  if (after && accumulates) rc = zf_edit_own_output(plan, at);
  if (!rc && !after && input_is_shared(plan, at)) rc = zf_edit_own_input(plan, &at);
  if (rc) return rc;
  struct zf_op base = plan->op[at];
  return insert_columns(attachment, at, after, &base, number);
}

int zf_attach_shared(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  int outer = tensor->part[5] == 'B';
  return zf_attach_param(attachment, tensor, 0, &attachment->shared[outer]);
}

int zf_attach_vera(struct attachment *attachment, const struct zf_adapter_tensor *tensor) {
  struct zf_plan *plan = &attachment->model->plan;
  const struct zf_adapter_tensor *inner = zf_attach_part(attachment, "vera_lambda_d");
  int64_t at = zf_attach_op(attachment);
  int rc = check_linear(attachment, tensor, at);
  if (rc) return rc;
  if (attachment->shared[0] < 0 || attachment->shared[1] < 0)
    return zf_error(ZF_EUSAGE,
                    "%s: the adapter holds no vera_A and vera_B (save_projection): they cannot be "
                    "drawn again here",
                    attachment->file->path);
  struct zf_op base = plan->op[at];
  if (tensor->count != base.width) return zf_attach_shape_error(attachment, tensor, base.width, 1);
  int32_t lambda_b, lambda_d;
  if ((rc = zf_attach_param(attachment, tensor, 1, &lambda_b))) return rc;
  if ((rc = zf_attach_param(attachment, inner, 1, &lambda_d))) return rc;
  struct zf_op add = zf_attach_new_op(ZF_OP_ADD, ZF_REG_V, base.dst, base.width, &base);
  add.dst_col = base.dst_col;
  struct zf_op scale = zf_attach_new_op(ZF_OP_SCALE, ZF_REG_V, ZF_REG_V, base.width, &base);
  scale.scale = (float)attachment->weight;
  struct zf_op factors = zf_attach_new_op(ZF_OP_COLUMNS, ZF_REG_V, ZF_REG_V, base.width, &base);
  factors.weight = lambda_b;
  struct zf_op outer = zf_attach_new_op(ZF_OP_LINEAR, ZF_REG_U, ZF_REG_V, base.width, &base);
  outer.inputs = inner->count;
  outer.weight = attachment->shared[1];
  struct zf_op thin = zf_attach_new_op(ZF_OP_COLUMNS, ZF_REG_U, ZF_REG_U, inner->count, &base);
  thin.weight = lambda_d;
  struct zf_op product = zf_attach_new_op(ZF_OP_LINEAR, base.src, ZF_REG_U, inner->count, &base);
  product.inputs = base.inputs;
  product.src_col = base.src_col;
  product.weight = attachment->shared[0];
  const struct zf_op *last_first[] = {&add, &scale, &factors, &outer, &thin, &product};
  for (size_t i = 0; i < sizeof last_first / sizeof *last_first && !rc; i++)
    if (last_first[i] != &scale || attachment->weight != 1)
      rc = zf_edit_insert_after(plan, at, last_first[i]);
  return rc;
}
