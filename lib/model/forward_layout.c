/* Memory of a pass, one arena laid out once:
 *
 *   X | H | P     residual stream, normed inputs        [rows, wx] [rows, wh] [rows, wp]
 *   Z             q|k|v, and gate|a chunk of the columns of up   [rows, wz]
 *   U | V         an adapter's inner values; own inputs and outputs   [rows, wu] [rows, wv]
 *   vectors       norms and biases of the current operation, a copy for each stream
 *   attention     scores, for each thread
 *   kern          workspace of the drivers (packed tiles); converted rows of an operand
 *   rope          [ropes][length, or length + tokens][rot] cosines and sines
 *   head rows     a row of q|k|v, for each thread
 *
 * Z is free after the body: F and G (the rows that the batch asks for) lie there.  X and H are free
 * after the layers behind the body: chunks of logits lie there. */
#include "base/util.h"
#include "model/forward_internal.h"

/* A pass that keeps its values for a backward pass holds all columns of `up`. */
static int in_chunks(const struct zf_limits *limits) {
  return !limits->keeps_values;
}

int zf_forward_fuses_up(const struct zf_plan *plan, int64_t i, const struct zf_limits *limits) {
  return in_chunks(limits) && plan->op[i].feeds_act;
}

int64_t zf_forward_z_width(const struct zf_model *model, const struct zf_limits *limits) {
  const struct zf_plan *plan = &model->plan;
  int64_t width = model->config.hidden;
  if (!in_chunks(limits)) return plan->width[ZF_REG_Z];
  for (int64_t i = 0; i < plan->nop; i++) {
    const struct zf_op *op = plan->op + i;
    int64_t columns = op->feeds_act && op->width > ZF_UP_CHUNK ? ZF_UP_CHUNK : op->width;
    if (op->kind == ZF_OP_LINEAR && op->dst == ZF_REG_Z)
      width = zf_max64(width, op->dst_col + columns);
  }
  return width;
}

/* Sizes of the parts of the arena: in floats; `work`, the drivers' workspace, and `cells` in bytes. */
struct forward_layout {
  int64_t xh, z, uv, dora, beside, vec, scores, rope, head_rows;
  size_t work, cells;
};

/* The largest number of inputs of a product. */
static int64_t widest(const struct zf_model *model) {
  int64_t inputs = model->config.embed_dim;
  for (int64_t i = 0; i < model->plan.nop; i++) inputs = zf_max64(inputs, model->plan.op[i].inputs);
  return inputs;
}

int64_t zf_forward_rope_length(const struct zf_model *model, const struct zf_limits *limits) {
  int far = zf_rope_by_length(&model->config) &&
            (double)limits->length + 1 > model->config.rope[0].original;
  return limits->length + (far ? limits->tokens : 0);
}

static int64_t rope_floats(const struct zf_model *model, const struct zf_limits *limits) {
  return model->config.ropes * zf_forward_rope_length(model, limits) *
         zf_config_rot(&model->config);
}

static struct forward_layout lay_out(const struct zf_model *model, const struct zf_limits *limits) {
  const struct zf_plan *plan = &model->plan;
  const int64_t *width = plan->width;
  int64_t embed_dim = model->config.embed_dim;
  struct forward_layout layout;
  layout.xh = limits->tokens * (width[ZF_REG_X] + width[ZF_REG_H] + width[ZF_REG_P]);
  layout.xh = zf_max64(layout.xh, limits->rows * ZF_VC);
  layout.xh = zf_max64(layout.xh, limits->ids * (limits->streams * embed_dim + limits->rows));
  layout.z = zf_max64(limits->tokens * zf_forward_z_width(model, limits),
                      limits->rows * (width[ZF_REG_F] + width[ZF_REG_G]));
  layout.uv = zf_max64(limits->tokens, limits->rows) * (width[ZF_REG_U] + width[ZF_REG_V]);
  layout.beside = zf_forward_beside_floats(model, limits);
  layout.dora = 0;
  for (int64_t i = 0; i < plan->nop; i++)
    if (plan->op[i].kind == ZF_OP_DORA)
      layout.dora = zf_max64(layout.dora, zf_forward_dora_floats(&plan->op[i], limits->streams));
  layout.vec = limits->streams * plan->vec;
  layout.scores = zf_attention_scratch(limits->length, model->config.head_dim) * zf_kern_nthreads();
  layout.rope = rope_floats(model, limits);
  layout.head_rows = model->config.family->qkv == ZF_QKV_HEADS
                         ? 3 * model->config.heads * model->config.head_dim * zf_kern_nthreads()
                         : 0;
  layout.work = zf_kern_workspace_size(zf_kern_nthreads());
  layout.cells =
      zf_rows_bytes(limits->compute, zf_max64(limits->tokens, limits->rows), widest(model));
  if (layout.cells < limits->cell_bytes) layout.cells = limits->cell_bytes;
  return layout;
}

int64_t zf_forward_bytes(const struct zf_model *model, const struct zf_limits *asked) {
  struct zf_limits inner = zf_forward_inner_limits(model, asked), *limits = &inner;
  struct forward_layout layout = lay_out(model, limits);
  size_t bytes = zf_arena_cost((size_t)layout.xh * 4) + zf_arena_cost((size_t)layout.z * 4) +
                 zf_arena_cost((size_t)layout.uv * 4) + zf_arena_cost((size_t)layout.dora * 4) +
                 zf_arena_cost((size_t)layout.beside * 4) +
                 2 * zf_arena_cost((size_t)layout.vec * 4) +
                 zf_arena_cost((size_t)layout.scores * 4) + zf_arena_cost((size_t)layout.rope * 4) +
                 zf_arena_cost((size_t)layout.head_rows * 4) +
                 zf_arena_cost((size_t)zf_config_rot(&model->config) / 2 * sizeof(double)) +
                 2 * zf_arena_cost((size_t)limits->tokens * 4) +
                 zf_arena_cost((size_t)limits->segments * sizeof(struct zf_segment)) +
                 zf_arena_cost((size_t)limits->segments * sizeof(struct zf_row_range)) +
                 zf_arena_cost(layout.work) + zf_arena_cost(layout.cells) +
                 zf_forward_virtual_bytes(model, limits);
  return (int64_t)bytes;
}

/* 1 where some product of a pass keeps its sums outside its output. */
static int keeps_sums(const struct zf_model *model, const struct zf_limits *limits) {
  static const int64_t inputs[ZF_COMPUTES] = {
      [ZF_COMPUTE_F32] = ZF_KC, [ZF_COMPUTE_BF16] = ZF_KC_BF16, [ZF_COMPUTE_INT8] = ZF_KC_INT8};
  int64_t chunk = inputs[limits->compute];
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    if (op->kind == ZF_OP_LINEAR && op->inputs > chunk) return 1;
  }
  return model->config.embed_dim > chunk;
}

int64_t zf_forward_untouched(const struct zf_model *model, const struct zf_limits *asked) {
  struct zf_limits inner = zf_forward_inner_limits(model, asked), *limits = &inner;
  int64_t rows = zf_max64(limits->tokens, limits->rows), in = widest(model);
  if (limits->keeps_values)
    in = rows = zf_max64(rows, in); /* a backward pass has products whose inputs are the tokens */
  int sums = keeps_sums(model, limits) || limits->keeps_values;
  return (int64_t)zf_kern_workspace_untouched(zf_kern_nthreads(), limits->compute, limits->streams,
                                              rows, in, sums);
}

int64_t zf_forward_head_floats(const struct zf_model *model, const struct zf_limits *limits) {
  return lay_out(model, limits).xh;
}

int zf_forward_place(struct zf_forward *forward) {
  struct forward_layout layout = lay_out(forward->model, &forward->limits);
  const int64_t *width = forward->model->plan.width;
  float *xh = zf_arena_array(&forward->arena, layout.xh, 4);
  float *z = zf_arena_array(&forward->arena, layout.z, 4);
  float *uv = zf_arena_array(&forward->arena, layout.uv, 4);
  forward->dora = zf_arena_array(&forward->arena, layout.dora, 4);
  forward->beside = zf_arena_array(&forward->arena, layout.beside, 4);
  forward->vec_w = zf_arena_array(&forward->arena, layout.vec, 4);
  forward->vec_b = zf_arena_array(&forward->arena, layout.vec, 4);
  forward->scores = zf_arena_array(&forward->arena, layout.scores, 4);
  forward->rope = zf_arena_array(&forward->arena, layout.rope, 4);
  forward->head_rows = zf_arena_array(&forward->arena, layout.head_rows, 4);
  forward->freq = zf_arena_array(&forward->arena, forward->rot / 2, sizeof *forward->freq);
  forward->table_rows = zf_arena_array(&forward->arena, forward->limits.tokens, 4);
  forward->rope_rows = zf_arena_array(&forward->arena, forward->limits.tokens, 4);
  forward->seg = zf_arena_array(&forward->arena, forward->limits.segments, sizeof *forward->seg);
  forward->range =
      zf_arena_array(&forward->arena, forward->limits.segments, sizeof *forward->range);
  forward->work = zf_arena_alloc(&forward->arena, layout.work);
  forward->cells = zf_arena_alloc(&forward->arena, layout.cells);
  if (!xh || !z || !uv || !forward->dora || !forward->beside || !forward->vec_w ||
      !forward->vec_b || !forward->scores || !forward->rope || !forward->head_rows ||
      !forward->freq || !forward->table_rows || !forward->rope_rows || !forward->seg ||
      !forward->range || !forward->work || !forward->cells)
    return ZF_ENOMEM;
  forward->head = forward->arena_reg[ZF_REG_X] = xh;
  forward->arena_reg[ZF_REG_H] = xh + forward->limits.tokens * width[ZF_REG_X];
  forward->arena_reg[ZF_REG_P] =
      forward->arena_reg[ZF_REG_H] + forward->limits.tokens * width[ZF_REG_H];
  forward->arena_reg[ZF_REG_Z] = forward->arena_reg[ZF_REG_F] = z;
  forward->arena_reg[ZF_REG_G] = z + forward->limits.rows * width[ZF_REG_F];
  forward->arena_reg[ZF_REG_U] = uv;
  forward->arena_reg[ZF_REG_V] =
      uv + zf_max64(forward->limits.tokens, forward->limits.rows) * width[ZF_REG_U];
  return zf_forward_place_virtual(forward);
}
