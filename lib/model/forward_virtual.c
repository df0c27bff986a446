/* Virtual tokens: rows in front of every sequence that stand for no token of the text.  An adapter's
 * operations (ZF_OP_VIRTUAL) write their embeddings (prompt tuning) or their keys and values (prefix
 * tuning).
 *
 * Callers know nothing of them: a pass runs on a copy of the batch in which each sequence begins with
 * them and every position, row and prefix moves behind them. */
#include <assert.h>
#include <string.h>

#include "model/forward_internal.h"

struct zf_limits zf_forward_inner_limits(const struct zf_model *model,
                                         const struct zf_limits *limits) {
  struct zf_limits inner = *limits;
  int64_t count = model->plan.virtual_tokens;
  int64_t sequences = limits->sequences ? limits->sequences : limits->segments;
  inner.tokens += limits->streams * sequences * count;
  inner.length += count;
  return inner;
}

size_t zf_forward_virtual_bytes(const struct zf_model *model, const struct zf_limits *limits) {
  if (!model->plan.virtual_tokens) return 0;
  size_t tokens = (size_t)limits->tokens, segments = (size_t)limits->segments;
  return 3 * zf_arena_cost(tokens * 4) + zf_arena_cost((size_t)limits->rows * 4) +
         zf_arena_cost(segments * sizeof(struct zf_segment)) +
         zf_arena_cost(segments * sizeof(struct zf_group));
}

int zf_forward_place_virtual(struct zf_forward *forward) {
  const struct zf_limits *limits = &forward->limits;
  struct zf_batch *batch = &forward->expanded;
  struct zf_arena *arena = &forward->arena;
  if (!forward->model->plan.virtual_tokens) return 0;
  batch->id = zf_arena_array(arena, limits->tokens, 4);
  batch->pos = zf_arena_array(arena, limits->tokens, 4);
  forward->virtual_number = zf_arena_array(arena, limits->tokens, 4);
  batch->row = zf_arena_array(arena, limits->rows, 4);
  batch->segment = zf_arena_array(arena, limits->segments, sizeof *batch->segment);
  batch->group = zf_arena_array(arena, limits->segments, sizeof *batch->group);
  int complete = batch->id && batch->pos && forward->virtual_number && batch->row &&
                 batch->segment && batch->group;
  return complete ? 0 : ZF_ENOMEM;
}

/* 1 where segment `index` is the beginning of a sequence. */
static int begins(const struct zf_batch *batch, int64_t index) {
  return batch->cache ? batch->cache[index]->len == 0 : batch->segment[index].prefix_len == 0;
}

/* Virtual rows in front of token `token`, or of token T: behind the last one. */
static int64_t rows_before(const struct zf_batch *batch, int64_t token, int64_t count) {
  int64_t rows = 0;
  for (int64_t i = 0; i < batch->segment_count; i++)
    if (begins(batch, i) && batch->segment[i].start <= token) rows += count;
  return rows;
}

static void add_row(struct zf_forward *forward, int32_t id, int64_t position, int32_t number) {
  struct zf_batch *to = &forward->expanded;
  to->id[to->T] = id;
  to->pos[to->T] = (int32_t)position;
  forward->virtual_number[to->T++] = number;
}

static void add_segment(struct zf_forward *forward, const struct zf_batch *batch, int64_t index) {
  const struct zf_segment *from = &batch->segment[index];
  int64_t count = forward->model->plan.virtual_tokens;
  struct zf_segment *segment = &forward->expanded.segment[index];
  *segment = *from;
  segment->start = forward->expanded.T;
  if (begins(batch, index)) {
    for (int64_t i = 0; i < count; i++) add_row(forward, 0, i, (int32_t)i);
    segment->len += count;
  } else if (!batch->cache) {
    segment->prefix_start += rows_before(batch, from->prefix_start, count) - count;
    segment->prefix_len += count;
  }
  for (int64_t i = from->start; i < from->start + from->len; i++)
    add_row(forward, batch->id[i], batch->pos[i] + count, -1);
}

static void add_groups(struct zf_forward *forward, const struct zf_batch *batch) {
  int64_t count = forward->model->plan.virtual_tokens;
  struct zf_batch *to = &forward->expanded;
  to->group_count = batch->group_count;
  for (int64_t i = 0; i < batch->group_count; i++) {
    struct zf_group *group = &to->group[i];
    *group = batch->group[i];
    int64_t end = group->start + group->len;
    group->start += group->start ? rows_before(batch, group->start - 1, count) : 0;
    group->len = end + (end ? rows_before(batch, end - 1, count) : 0) - group->start;
  }
}

const struct zf_batch *zf_forward_expand(struct zf_forward *forward, const struct zf_batch *batch) {
  int64_t count = forward->model->plan.virtual_tokens;
  struct zf_batch *to = &forward->expanded;
  if (!count) return batch;
  to->T = 0;
  to->segment_count = batch->segment_count;
  to->cache = batch->cache;
  to->unread = batch->unread;
  to->R = batch->R;
  to->virtual_tokens = count;
  for (int64_t i = 0; i < batch->segment_count; i++) add_segment(forward, batch, i);
  assert(to->T == batch->T + rows_before(batch, batch->T, count));
  for (int64_t i = 0; i < batch->R; i++)
    to->row[i] = (int32_t)(batch->row[i] + rows_before(batch, batch->row[i], count));
  add_groups(forward, batch);
  return to;
}

void zf_forward_run_virtual(struct zf_forward *forward, const struct zf_op *op, int64_t first,
                            int64_t T) {
  const struct zf_param *param = &forward->model->params.param[op->weight];
  const struct zf_perturb *perturb = &forward->perturb;
  int64_t ld = forward->ld[op->dst], stride = perturb->streams.stride ? perturb->streams.stride : T;
  for (int64_t i = 0; i < T; i++) {
    int32_t number = forward->virtual_number[first + i];
    if (number < 0) continue;
    int64_t element = number * param->shape[1] + op->offset;
    zf_forward_perturb_values(forward, param, forward->reg[op->dst] + i * ld + op->dst_col,
                              stride * ld, element, op->width);
  }
}
