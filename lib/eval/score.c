/* Packing.  An example with a shared prompt and options becomes
 *
 *   segment  [prompt 0..shared)
 *   segment  [option 0 without its last token]   prefix: the prompt     (absent when empty)
 *   segment  [option 1 ...]                      prefix: the prompt
 *
 * Target t of a sequence is predicted by the row of the token before it, which lies in the prompt or
 * in the option's segment.  Options of a single token all need the prompt's last row: one row, and
 * only the head's rows of the options' ids, since their normaliser is the same and cancels in the
 * softmax. */
#include "eval/score_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "eval/labels.h"

static struct zf_batch_load load_of(const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  return (struct zf_batch_load){zf_example_tokens(dataset, index), zf_example_rows(dataset, index),
                                1 + example->nseq, example->single ? example->nseq : 0,
                                example->shared ? 1 : example->nseq};
}

/* A bound for `count` examples of a stream, which are not known: each has sequence_len tokens; one
 * example fits even if its options share no prefix.  Examples that do not fit one pass take
 * several. */
static struct zf_batch_load stream_bound(const struct zf_row_reader *rows, int64_t count) {
  int64_t len = rows->sequence_len - 1, seqs = rows->options > 1 ? rows->options : 1;
  int64_t tokens = zf_max64(count, seqs) * len;
  return (struct zf_batch_load){tokens, tokens, count * (1 + seqs),
                                rows->options > 1 ? count * seqs : 0, count * seqs};
}

static int descending(const void *left, const void *right) {
  int64_t x = *(const int64_t *)left, y = *(const int64_t *)right;
  return (x < y) - (x > y);
}

/* The sum of the `largest` largest of value[0..count), which is sorted. */
static int64_t sum_of_largest(int64_t *value, int64_t count, int64_t largest) {
  qsort(value, (size_t)count, sizeof *value, descending);
  int64_t sum = 0, end = count < largest ? count : largest;
  for (int64_t i = 0; i < end; i++) sum += value[i];
  return sum;
}

struct zf_batch_load zf_batch_load_max(struct zf_batch_load left, struct zf_batch_load right) {
  return (struct zf_batch_load){
      zf_max64(left.tokens, right.tokens), zf_max64(left.rows, right.rows),
      zf_max64(left.segments, right.segments), zf_max64(left.ids, right.ids),
      zf_max64(left.sequences, right.sequences)};
}

/* The maximum over the examples of a set. */
static struct zf_batch_load largest_load(const struct zf_dataset *dataset) {
  struct zf_batch_load load = {0};
  for (int64_t i = 0; i < dataset->count; i++) load = zf_batch_load_max(load, load_of(dataset, i));
  return load;
}

static struct zf_batch_load times(struct zf_batch_load load, int64_t factor) {
  return (struct zf_batch_load){factor * load.tokens, factor * load.rows, factor * load.segments,
                                factor * load.ids, factor * load.sequences};
}

/* The maximum over all groups of `group` examples of a set; a coarser bound where there is no memory
 * to sort. */
static struct zf_batch_load largest_group(const struct zf_dataset *dataset, int64_t group) {
  int64_t count = dataset->count, *value = zf_calloc(5 * count, sizeof *value);
  if (!value) return times(largest_load(dataset), group < count ? group : count);
  for (int64_t i = 0; i < count; i++) {
    struct zf_batch_load load = load_of(dataset, i);
    value[i] = load.tokens;
    value[count + i] = load.rows;
    value[2 * count + i] = load.segments;
    value[3 * count + i] = load.ids;
    value[4 * count + i] = load.sequences;
  }
  struct zf_batch_load sum = {sum_of_largest(value, count, group),
                              sum_of_largest(value + count, count, group),
                              sum_of_largest(value + 2 * count, count, group),
                              sum_of_largest(value + 3 * count, count, group),
                              sum_of_largest(value + 4 * count, count, group)};
  free(value);
  return sum;
}

static struct zf_batch_load plus(struct zf_batch_load left, struct zf_batch_load right) {
  return (struct zf_batch_load){left.tokens + right.tokens, left.rows + right.rows,
                                left.segments + right.segments, left.ids + right.ids,
                                left.sequences + right.sequences};
}

void zf_batch_load_add(struct zf_batch_load *sum, const struct zf_dataset *dataset, int64_t index) {
  *sum = plus(*sum, load_of(dataset, index));
}

/* Raises the limits to fit a pass of this load on `streams` streams. */
static void fit_load(struct zf_limits *limits, struct zf_batch_load load, int64_t streams) {
  limits->tokens = zf_max64(limits->tokens, streams * load.tokens);
  limits->rows = zf_max64(limits->rows, streams * load.rows);
  limits->segments = zf_max64(limits->segments, load.segments);
  limits->ids = zf_max64(limits->ids, load.ids);
  limits->sequences = zf_max64(limits->sequences, load.sequences);
}

/* Raises the length limit to fit the longest sequence of a set. */
static void fit_length(struct zf_limits *limits, const struct zf_dataset *dataset) {
  if (dataset->stream) {
    limits->length = zf_max64(limits->length, dataset->stream->sequence_len - 1);
    return;
  }
  for (int64_t i = 0; i < dataset->nseq; i++)
    limits->length = zf_max64(limits->length, dataset->seq[i].len - 1);
}

static struct zf_limits limits_of(const struct zf_dataset *const *set, int nset,
                                  struct zf_batch_load batch, int streams) {
  struct zf_limits limits = {.streams = streams, .length = 1, .ids = 1};
  if (set[0]) fit_load(&limits, batch, streams);
  for (int i = 0; i < nset; i++) {
    if (!set[i]) continue;
    fit_length(&limits, set[i]);
    fit_load(&limits, set[i]->stream ? stream_bound(set[i]->stream, 1) : largest_load(set[i]),
             i ? 1 : streams);
  }
  return limits;
}

struct zf_limits zf_score_limits(const struct zf_dataset *const *set, int nset, int64_t micro_batch,
                                 int streams) {
  struct zf_batch_load batch = {0};
  if (set[0])
    batch = set[0]->stream ? stream_bound(set[0]->stream, micro_batch)
                           : largest_group(set[0], micro_batch);
  return limits_of(set, nset, batch, streams);
}

struct zf_limits zf_score_limits_known(const struct zf_dataset *const *set, int nset,
                                       const struct zf_batch_load *batch, int streams) {
  return limits_of(set, nset, *batch, streams);
}

int64_t zf_scorer_bytes(const struct zf_limits *limits) {
  size_t tokens = (size_t)limits->tokens, rows = (size_t)limits->rows, ids = (size_t)limits->ids,
         segments = (size_t)limits->segments;
  size_t bytes =
      2 * zf_arena_cost(tokens * 4) + 2 * zf_arena_cost(rows * 4) + 2 * zf_arena_cost(rows * 8) +
      zf_arena_cost(ids * 4) + zf_arena_cost(rows * ids * 4) +
      zf_arena_cost(segments * sizeof(struct zf_segment)) +
      zf_arena_cost(segments * sizeof(struct zf_group)) + 2 * zf_arena_cost(segments * 8);
  return (int64_t)bytes;
}

static int alloc_parts(struct zf_scorer *scorer) {
  const struct zf_limits *limits = &scorer->limits;
  struct zf_packed *packed = &scorer->packed;
  struct zf_batch *batch = &packed->batch;
  batch->id = zf_arena_array(&scorer->arena, limits->tokens, 4);
  batch->pos = zf_arena_array(&scorer->arena, limits->tokens, 4);
  batch->row = zf_arena_array(&scorer->arena, limits->rows, 4);
  packed->target = zf_arena_array(&scorer->arena, limits->rows, 4);
  packed->lse = zf_arena_array(&scorer->arena, limits->rows, 8);
  packed->logit = zf_arena_array(&scorer->arena, limits->rows, 8);
  packed->ids = zf_arena_array(&scorer->arena, limits->ids, 4);
  packed->logits_at = zf_arena_array(&scorer->arena, limits->rows * limits->ids, 4);
  batch->segment = zf_arena_array(&scorer->arena, limits->segments, sizeof *batch->segment);
  batch->group = zf_arena_array(&scorer->arena, limits->segments, sizeof *batch->group);
  scorer->option = zf_arena_array(&scorer->arena, limits->segments, 8);
  scorer->gold = zf_arena_array(&scorer->arena, limits->segments, 8);
  int complete = batch->id && batch->pos && batch->row && packed->target && packed->lse &&
                 packed->logit && packed->ids && packed->logits_at && batch->segment &&
                 batch->group && scorer->option && scorer->gold;
  return complete ? 0 : ZF_ENOMEM;
}

int zf_scorer_new(struct zf_scorer **out, struct zf_forward *forward,
                  const struct zf_limits *limits) {
  *out = NULL;
  struct zf_scorer *scorer = zf_calloc(1, sizeof *scorer);
  if (!scorer) return ZF_ENOMEM;
  scorer->forward = forward;
  scorer->limits = *limits;
  int rc = zf_arena_init(&scorer->arena, (size_t)zf_scorer_bytes(limits));
  if (!rc) rc = alloc_parts(scorer);
  if (rc) {
    zf_scorer_free(scorer);
    return rc;
  }
  *out = scorer;
  return 0;
}

void zf_scorer_free(struct zf_scorer *scorer) {
  if (!scorer) return;
  zf_arena_free(&scorer->arena);
  free(scorer);
}

/* --- packing --- */

/* Appends tokens [from, to) of a sequence as a segment, whose prefix is the `prefix_len` rows from
 * row prefix_start on. */
static void add_segment(struct zf_scorer *scorer, const int32_t *id, int64_t from, int64_t to,
                        int64_t prefix_start, int64_t prefix_len) {
  struct zf_batch *batch = &scorer->packed.batch;
  batch->segment[batch->segment_count++] = (struct zf_segment){
      .start = batch->T, .len = to - from, .prefix_start = prefix_start, .prefix_len = prefix_len};
  for (int64_t i = from; i < to; i++, batch->T++) {
    batch->id[batch->T] = id[i];
    batch->pos[batch->T] = (int32_t)i;
  }
}

static void add_row(struct zf_scorer *scorer, int64_t row, int32_t target) {
  scorer->packed.batch.row[scorer->packed.batch.R] = (int32_t)row;
  scorer->packed.target[scorer->packed.batch.R++] = target;
  if (target >= 0) scorer->packed.has_targets = 1;
}

static void add_id(struct zf_scorer *scorer, int32_t id) {
  for (int64_t i = 0; i < scorer->packed.nid; i++)
    if (scorer->packed.ids[i] == id) return;
  scorer->packed.ids[scorer->packed.nid++] = id;
}

/* The token whose row scores single-token options.  A head of labels reads the first token, or the
 * last one that is not padding, as Transformers does. */
static int64_t deciding_token(const struct zf_scorer *scorer, const struct zf_dataset *dataset,
                              const struct zf_example *example) {
  const struct zf_model *model = zf_forward_model(scorer->forward);
  const int32_t *id = dataset->pool.id + dataset->seq[example->seq].at;
  int64_t last = example->shared - 1;
  if (dataset->type != ZF_TASK_LABELS) return last - example->mask_distance;
  if (model->config.family->classify.first) return 0;
  while (last > 0 && id[last] == model->config.pad) last--;
  return last;
}

static void pack(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t index) {
  const struct zf_example *example = &dataset->example[index];
  const struct zf_seq *seq = dataset->seq + example->seq;
  int64_t prompt = scorer->packed.batch.T;
  if (example->shared)
    add_segment(scorer, dataset->pool.id + seq[0].at, 0, example->shared, prompt, 0);
  if (example->single) add_row(scorer, prompt + deciding_token(scorer, dataset, example), -1);
  for (int32_t i = 0; i < example->nseq; i++) {
    const int32_t *id = dataset->pool.id + seq[i].at;
    int64_t option = scorer->packed.batch.T - example->shared; /* row of the option's token 0 */
    if (example->single) {
      add_id(scorer, id[seq[i].target]);
      continue;
    }
    if (seq[i].len - 1 > example->shared)
      add_segment(scorer, id, example->shared, seq[i].len - 1, prompt, example->shared);
    int64_t target = zf_seq_next_target(dataset, &seq[i], 0);
    for (; target < seq[i].len; target = zf_seq_next_target(dataset, &seq[i], target + 1))
      add_row(scorer, (target - 1 < example->shared ? prompt : option) + target - 1, id[target]);
  }
}

/* Packs an example and notes its rows. */
static void pack_group(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t index) {
  struct zf_batch *batch = &scorer->packed.batch;
  struct zf_group *group = &batch->group[batch->group_count++];
  *group = (struct zf_group){.start = batch->T, .row_start = batch->R};
  pack(scorer, dataset, index);
  group->len = batch->T - group->start;
  group->row_len = batch->R - group->row_start;
}

static int fits(const struct zf_scorer *scorer, struct zf_batch_load sum, struct zf_batch_load load,
                int streams) {
  return streams * (sum.tokens + load.tokens) <= scorer->limits.tokens &&
         streams * (sum.rows + load.rows) <= scorer->limits.rows &&
         sum.segments + load.segments <= scorer->limits.segments &&
         sum.ids + load.ids <= scorer->limits.ids &&
         sum.sequences + load.sequences <= scorer->limits.sequences;
}

/* --- reduction --- */

void zf_score_choose(struct zf_score *out, const double *score, int32_t count, int32_t label) {
  int32_t best = 0;
  for (int32_t o = 1; o < count; o++)
    if (score[o] > score[best]) best = o;
  double sum = 0;
  assert(count > 0);
  for (int32_t o = 0; o < count; o++) sum += exp(score[o] - score[best]);
  out->loss = log(sum) + score[best] - score[label];
  out->choice = best;
  out->weight = 1;
}

static void choose(struct zf_scorer *scorer, const struct zf_example *example,
                   struct zf_score *out) {
  zf_score_choose(out, scorer->option, example->nseq, example->label);
  if (scorer->watch) scorer->watch(scorer->watch_ctx, scorer->option, NULL, example->nseq);
}

int zf_score_has_targets(const struct zf_dataset *dataset) {
  return dataset->type == ZF_TASK_LABELS && dataset->problem != ZF_PROBLEM_SINGLE;
}

/* The loss of the logits in scorer->option. */
static void score_outputs(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                          const struct zf_example *example, struct zf_score *out) {
  for (int32_t i = 0; i < example->nseq; i++)
    scorer->gold[i] = (double)dataset->seq[example->seq + i].gold;
  out->loss = zf_labels_loss(dataset->problem, scorer->option, scorer->gold, example->nseq);
  out->weight = 1;
  if (scorer->watch) scorer->watch(scorer->watch_ctx, scorer->option, scorer->gold, example->nseq);
}

int64_t zf_score_column(const struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const struct zf_seq *seq) {
  int32_t id = dataset->pool.id[seq->at + seq->target];
  int64_t column = 0;
  while (scorer->packed.ids[column] != id) column++;
  return column;
}

/* Mean divergence of `rows` rows from `first` on, or that of the options' scores. */
static double divergence_of(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                            int64_t index, int64_t first, int64_t rows) {
  struct zf_distill *distill = scorer->distill;
  double sum = 0;
  if (!distill || !zf_distill_knows(distill, dataset)) return NAN;
  if (dataset->example[index].label >= 0)
    return zf_distill_options(distill, dataset, index, scorer->option,
                              dataset->example[index].nseq);
  for (int64_t row = first; row < first + rows; row++) sum += zf_distill_row(distill, row);
  return sum / (double)rows;
}

int64_t zf_score_reduce_one(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                            int64_t index, int64_t first, struct zf_score *out) {
  const struct zf_example *example = &dataset->example[index];
  const struct zf_seq *seq = dataset->seq + example->seq;
  const struct zf_packed *packed = &scorer->packed;
  int64_t row = first;
  *out = (struct zf_score){.choice = -1, .nll = NAN};
  for (int32_t i = 0; i < example->nseq; i++) {
    int64_t targets = zf_seq_targets(dataset, &seq[i]);
    if (example->single) {
      int64_t column = zf_score_column(scorer, dataset, &seq[i]);
      scorer->option[i] = (double)packed->logits_at[first * packed->nid + column];
      continue;
    }
    double sum = 0;
    for (int64_t j = 0; j < targets; j++, row++) sum += packed->logit[row] - packed->lse[row];
    scorer->option[i] = sum / (double)targets;
    if (dataset->type == ZF_TASK_PREFERENCE) {
      out->pair[i] = sum;
      out->pair_targets[i] = targets;
    }
    if (example->label < 0 || i == example->label) out->nll = -sum;
    out->weight = targets;
  }
  if (zf_score_has_targets(dataset))
    score_outputs(scorer, dataset, example, out);
  else if (example->label >= 0)
    choose(scorer, example, out);
  else
    out->loss = out->nll;
  out->divergence = divergence_of(scorer, dataset, index, first, row - first);
  return example->single ? 1 : row - first;
}

void zf_scorer_distill(struct zf_scorer *scorer, struct zf_distill *distill) {
  scorer->distill = distill;
}

void zf_scorer_watch(struct zf_scorer *scorer, zf_score_watch watch, void *ctx) {
  scorer->watch = watch;
  scorer->watch_ctx = ctx;
}

void zf_score_reduce(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                     const int64_t *index, int64_t from, int64_t to, int64_t count, int streams,
                     struct zf_score *out) {
  for (int stream = 0; stream < streams; stream++) {
    int64_t row = stream * scorer->packed.batch.R;
    for (int64_t i = from; i < to; i++)
      row +=
          zf_score_reduce_one(scorer, dataset, index ? index[i] : i, row, &out[stream * count + i]);
  }
}

int zf_score_begin_teacher(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                           const int64_t *index, int64_t from, int64_t to, int streams) {
  if (!scorer->distill || !zf_distill_knows(scorer->distill, dataset)) return 0;
  zf_distill_begin(scorer->distill, dataset, index, from, to, streams);
  return 1;
}

/* taught: the teacher's tokens are compared with the logits. */
static int run_pass(struct zf_scorer *scorer, const struct zf_perturb *perturb, int taught) {
  struct zf_packed *packed = &scorer->packed;
  int rc = zf_forward_run(scorer->forward, &packed->batch, perturb);
  if (rc) return rc;
  if (taught) zf_forward_watch_logits(scorer->forward, zf_distill_see, scorer->distill);
  if (packed->has_targets)
    zf_forward_lse(scorer->forward, packed->target, packed->lse, packed->logit);
  zf_forward_watch_logits(scorer->forward, NULL, NULL);
  if (packed->nid)
    zf_forward_logits_at(scorer->forward, packed->ids, packed->nid, packed->logits_at);
  return 0;
}

int64_t zf_score_pack(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t count, int64_t max, int streams) {
  struct zf_packed *packed = &scorer->packed;
  struct zf_batch_load sum = {0};
  int64_t to, end = max > 0 && max < count - from ? from + max : count;
  packed->batch.T = packed->batch.R = packed->batch.segment_count = packed->batch.group_count =
      packed->nid = packed->has_targets = 0;
  packed->batch.unread =
      zf_forward_model(scorer->forward)->plan.causal && dataset->type != ZF_TASK_LABELS;
  for (to = from; to < end; to++) {
    int64_t i = index ? index[to] : to;
    struct zf_batch_load load = load_of(dataset, i);
    if (!fits(scorer, sum, load, streams)) break;
    pack_group(scorer, dataset, i);
    sum = plus(sum, load);
  }
  assert(to > from); /* the limits were made for these sets */
  return to;
}

struct zf_packed *zf_score_packed(struct zf_scorer *scorer) {
  return &scorer->packed;
}

int zf_score_examples(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count, int64_t max,
                      const struct zf_perturb *perturb, struct zf_score *out) {
  int streams = perturb->streams.count;
  struct zf_perturb placed = *perturb;
  for (int64_t from = 0, to; from < count; from = to) {
    to = zf_score_pack(scorer, dataset, index, from, count, max, streams);
    placed.first_example = perturb->first_example + from;
    int taught = zf_score_begin_teacher(scorer, dataset, index, from, to, streams);
    int rc = run_pass(scorer, &placed, taught);
    if (rc) return rc;
    zf_score_reduce(scorer, dataset, index, from, to, count, streams, out);
  }
  return 0;
}

/* Kinds of heads. */
enum { LABELS_HEAD, CAUSAL_HEAD, MASKED_HEAD };
static const struct {
  const char *head, *types;
} heads[] = {
    [LABELS_HEAD] = {"a head of labels", "labels"},
    [CAUSAL_HEAD] = {"a causal head", "classification, completion, preference or text"},
    [MASKED_HEAD] = {"a masked head", "masked"},
};

static int head_of(const struct zf_model *model) {
  if (model->config.classify) return LABELS_HEAD;
  return model->plan.causal ? CAUSAL_HEAD : MASKED_HEAD;
}

static int head_for(const struct zf_dataset *dataset) {
  if (dataset->type == ZF_TASK_LABELS) return LABELS_HEAD;
  return dataset->type == ZF_TASK_MASKED ? MASKED_HEAD : CAUSAL_HEAD;
}

int zf_score_check(const struct zf_model *model, const struct zf_dataset *dataset) {
  int head = head_of(model);
  if (head != head_for(dataset))
    return zf_error(ZF_EUSAGE, "%s: the model has %s: its data are of type %s", model->dir,
                    heads[head].head, heads[head].types);
  if (model->config.classify && dataset->options != model->config.outputs)
    return zf_error(ZF_EUSAGE, "%s: the model's head has %lld labels, 'options' names %lld",
                    model->dir, (long long)model->config.outputs, (long long)dataset->options);
  return 0;
}

int zf_score_causal(const struct zf_model *model) {
  if (model->plan.causal && !model->config.classify) return 0;
  return zf_error(ZF_EUSAGE, "%s: the model has %s: only a causal language model continues a text",
                  model->dir, heads[head_of(model)].head);
}

double zf_score_mean(const struct zf_score *score, int64_t count) {
  double loss = 0, weight = 0;
  for (int64_t i = 0; i < count; i++) {
    loss += score[i].loss;
    weight += (double)score[i].weight;
  }
  return weight > 0 ? loss / weight : 0;
}
