/* Packing.  An example of shared prompt and options becomes
 *
 *   segment  [prompt 0..shared)
 *   segment  [option 0 .. its end less one)   prefix: the prompt     (absent when empty)
 *   segment  [option 1 ...]                   prefix: the prompt
 *
 * Every target t of a sequence is predicted by the row of the token before it, which lies in the
 * prompt or in the option's own segment.  Options that are a single token all ask the prompt's
 * last row: one row, and only the head rows of the options' ids: the normaliser is the same for
 * all of them and cancels in the softmax. */
#include "eval/score.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/labels.h"

struct zf_scorer {
  struct zf_forward *forward;
  struct zf_limits lim;
  struct zf_arena arena;
  struct zf_packed packed;
  double *option; /* mean log-probability of each option of one example */
  double *gold;   /* labels: what its logit should be */
  zf_score_watch watch;
  void *watcher;
};

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static struct zf_batch_load cost_of(const struct zf_dataset *dataset, int64_t i) {
  const struct zf_example *example = &dataset->ex[i];
  return (struct zf_batch_load){zf_example_tokens(dataset, i), zf_example_rows(dataset, i),
                                1 + example->nseq, example->single ? example->nseq : 0};
}

/* The bound of a stream, whose examples are not known: m of sequence_len, or one whose options share
 * nothing; what does not fit one pass takes several. */
static struct zf_batch_load bound(const struct zf_row_reader *rows, int64_t m) {
  int64_t len = rows->sequence_len - 1, seqs = rows->options > 1 ? rows->options : 1;
  int64_t tokens = max64(m, seqs) * len;
  return (struct zf_batch_load){tokens, tokens, m * (1 + seqs), rows->options > 1 ? m * seqs : 0};
}

static int descending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

/* The sum of the `m` largest of v[0..n): v is sorted. */
static int64_t top(int64_t *v, int64_t count, int64_t m) {
  qsort(v, (size_t)count, sizeof *v, descending);
  int64_t sum = 0;
  for (int64_t i = 0; i < count && i < m; i++) sum += v[i];
  return sum;
}

struct zf_batch_load zf_batch_load_max(struct zf_batch_load load, struct zf_batch_load b) {
  return (struct zf_batch_load){max64(load.tokens, b.tokens), max64(load.rows, b.rows),
                                max64(load.segments, b.segments), max64(load.ids, b.ids)};
}

/* What no example of a set exceeds. */
static struct zf_batch_load largest(const struct zf_dataset *dataset) {
  struct zf_batch_load load = {0, 0, 0, 0};
  for (int64_t i = 0; i < dataset->count; i++) {
    load = zf_batch_load_max(load, cost_of(dataset, i));
  }
  return load;
}

static struct zf_batch_load times(struct zf_batch_load load, int64_t m) {
  return (struct zf_batch_load){m * load.tokens, m * load.rows, m * load.segments, m * load.ids};
}

/* The most that any `m` examples of a set need together; without memory to sort, a coarser bound.
 */
static struct zf_batch_load worst(const struct zf_dataset *dataset, int64_t m) {
  struct zf_batch_load load = {0, 0, 0, 0};
  int64_t *v = zf_calloc(4 * dataset->count, sizeof *v);
  if (!v)
    return m < dataset->count ? times(largest(dataset), m)
                              : times(largest(dataset), dataset->count);
  for (int64_t i = 0; i < dataset->count; i++) {
    struct zf_batch_load k = cost_of(dataset, i);
    v[i] = k.tokens;
    v[dataset->count + i] = k.rows;
    v[2 * dataset->count + i] = k.segments;
    v[3 * dataset->count + i] = k.ids;
  }
  load =
      (struct zf_batch_load){top(v, dataset->count, m), top(v + dataset->count, dataset->count, m),
                             top(v + 2 * dataset->count, dataset->count, m),
                             top(v + 3 * dataset->count, dataset->count, m)};
  free(v);
  return load;
}

void zf_batch_load_add(struct zf_batch_load *sum, const struct zf_dataset *dataset, int64_t i) {
  struct zf_batch_load load = cost_of(dataset, i);
  *sum = (struct zf_batch_load){sum->tokens + load.tokens, sum->rows + load.rows,
                                sum->segments + load.segments, sum->ids + load.ids};
}

/* Room for a pass that needs `c` on S streams. */
static void widen(struct zf_limits *lim, struct zf_batch_load load, int64_t S) {
  lim->tokens = max64(lim->tokens, S * load.tokens);
  lim->rows = max64(lim->rows, S * load.rows);
  lim->segments = max64(lim->segments, load.segments);
  lim->ids = max64(lim->ids, load.ids);
}

/* What the longest sequence of a set needs. */
static void lengthen(struct zf_limits *lim, const struct zf_dataset *dataset) {
  if (dataset->stream) lim->length = max64(lim->length, dataset->stream->sequence_len - 1);
  for (int64_t i = 0; !dataset->stream && i < dataset->nseq; i++)
    lim->length = max64(lim->length, dataset->seq[i].len - 1);
}

static struct zf_limits limits(const struct zf_dataset *const *set, int nset,
                               struct zf_batch_load batch, int streams) {
  struct zf_limits lim = {.streams = streams, .length = 1, .ids = 1};
  if (set[0]) widen(&lim, batch, streams);
  for (int k = 0; k < nset; k++) {
    if (!set[k]) continue;
    lengthen(&lim, set[k]);
    widen(&lim, set[k]->stream ? bound(set[k]->stream, 1) : largest(set[k]), k ? 1 : streams);
  }
  return lim;
}

struct zf_limits zf_score_limits(const struct zf_dataset *const *set, int nset, int64_t micro_batch,
                                 int streams) {
  struct zf_batch_load batch = {0};
  if (set[0])
    batch = set[0]->stream ? bound(set[0]->stream, micro_batch) : worst(set[0], micro_batch);
  return limits(set, nset, batch, streams);
}

struct zf_limits zf_score_limits_known(const struct zf_dataset *const *set, int nset,
                                       const struct zf_batch_load *batch, int streams) {
  return limits(set, nset, *batch, streams);
}

int64_t zf_scorer_bytes(const struct zf_limits *lim) {
  size_t t = (size_t)lim->tokens, r = (size_t)lim->rows;
  size_t n = 2 * zf_arena_cost(t * 4) + 2 * zf_arena_cost(r * 4) + 2 * zf_arena_cost(r * 8) +
             zf_arena_cost((size_t)lim->ids * 4) + zf_arena_cost(r * (size_t)lim->ids * 4) +
             zf_arena_cost((size_t)lim->segments * sizeof(struct zf_segment)) +
             2 * zf_arena_cost((size_t)lim->segments * 8);
  return (int64_t)n;
}

int zf_scorer_new(struct zf_scorer **out, struct zf_forward *forward, const struct zf_limits *lim) {
  *out = NULL;
  struct zf_scorer *scorer = zf_calloc(1, sizeof *scorer);
  if (!scorer) return ZF_ENOMEM;
  scorer->forward = forward;
  scorer->lim = *lim;
  int rc = zf_arena_init(&scorer->arena, (size_t)zf_scorer_bytes(lim));
  if (!rc) {
    scorer->packed.batch.id = zf_arena_array(&scorer->arena, lim->tokens, 4);
    scorer->packed.batch.pos = zf_arena_array(&scorer->arena, lim->tokens, 4);
    scorer->packed.batch.row = zf_arena_array(&scorer->arena, lim->rows, 4);
    scorer->packed.target = zf_arena_array(&scorer->arena, lim->rows, 4);
    scorer->packed.lse = zf_arena_array(&scorer->arena, lim->rows, 8);
    scorer->packed.logit = zf_arena_array(&scorer->arena, lim->rows, 8);
    scorer->packed.ids = zf_arena_array(&scorer->arena, lim->ids, 4);
    scorer->packed.at = zf_arena_array(&scorer->arena, lim->rows * lim->ids, 4);
    scorer->packed.batch.seg =
        zf_arena_array(&scorer->arena, lim->segments, sizeof *scorer->packed.batch.seg);
    scorer->option = zf_arena_array(&scorer->arena, lim->segments, 8);
    scorer->gold = zf_arena_array(&scorer->arena, lim->segments, 8);
    if (!scorer->packed.batch.id || !scorer->packed.batch.pos || !scorer->packed.batch.row ||
        !scorer->packed.target || !scorer->packed.lse || !scorer->packed.logit ||
        !scorer->packed.ids || !scorer->packed.at || !scorer->packed.batch.seg || !scorer->option ||
        !scorer->gold)
      rc = ZF_ENOMEM;
  }
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

/* Appends tokens [from, to) of a sequence as a segment behind `prefix` rows at `pstart`. */
static void add_segment(struct zf_scorer *scorer, const int32_t *id, int64_t from, int64_t to,
                        int64_t pstart, int64_t plen) {
  struct zf_batch *batch = &scorer->packed.batch;
  batch->seg[batch->nseg++] = (struct zf_segment){
      .start = batch->T, .len = to - from, .prefix_start = pstart, .prefix_len = plen};
  for (int64_t i = from; i < to; i++, batch->T++) {
    batch->id[batch->T] = id[i];
    batch->pos[batch->T] = (int32_t)i;
  }
}

static void add_row(struct zf_scorer *scorer, int64_t row, int32_t target) {
  scorer->packed.batch.row[scorer->packed.batch.R] = (int32_t)row;
  scorer->packed.target[scorer->packed.batch.R++] = target;
  if (target >= 0) scorer->packed.whole = 1;
}

static void add_id(struct zf_scorer *scorer, int32_t id) {
  for (int64_t i = 0; i < scorer->packed.nid; i++)
    if (scorer->packed.ids[i] == id) return;
  scorer->packed.ids[scorer->packed.nid++] = id;
}

/* The token whose row decides: a head of labels says itself where it stands, and a causal one skips
 * padding at the end, as Transformers does. */
static int64_t asked(const struct zf_scorer *scorer, const struct zf_dataset *dataset,
                     const struct zf_example *example) {
  const struct zf_model *model = zf_forward_model(scorer->forward);
  const int32_t *id = dataset->pool.id + dataset->seq[example->seq].at;
  int64_t last = example->shared - 1;
  if (dataset->type != ZF_TASK_LABELS) return last - example->ask;
  if (model->config.family->classify.first) return 0;
  while (last > 0 && id[last] == model->config.pad) last--;
  return last;
}

static void pack(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t i) {
  const struct zf_example *example = &dataset->ex[i];
  const struct zf_seq *seq = dataset->seq + example->seq;
  int64_t prompt = scorer->packed.batch.T;
  if (example->shared)
    add_segment(scorer, dataset->pool.id + seq[0].at, 0, example->shared, prompt, 0);
  if (example->single) add_row(scorer, prompt + asked(scorer, dataset, example), -1);
  for (int32_t o = 0; o < example->nseq; o++) {
    const int32_t *id = dataset->pool.id + seq[o].at;
    int64_t own = scorer->packed.batch.T;
    if (example->single) {
      add_id(scorer, id[seq[o].target]);
      continue;
    }
    if (seq[o].len - 1 > example->shared)
      add_segment(scorer, id, example->shared, seq[o].len - 1, prompt, example->shared);
    int64_t t = zf_seq_next_target(dataset, &seq[o], 0);
    for (; t < seq[o].len; t = zf_seq_next_target(dataset, &seq[o], t + 1))
      add_row(scorer, t - 1 < example->shared ? prompt + t - 1 : own + t - 1 - example->shared,
              id[t]);
  }
}

static int fits(const struct zf_scorer *scorer, struct zf_batch_load sum, struct zf_batch_load load,
                int streams) {
  return streams * (sum.tokens + load.tokens) <= scorer->lim.tokens &&
         streams * (sum.rows + load.rows) <= scorer->lim.rows &&
         sum.segments + load.segments <= scorer->lim.segments &&
         sum.ids + load.ids <= scorer->lim.ids;
}

/* --- reduction --- */

/* Cross-entropy of softmax(option scores) at the label, and the likeliest option. */
static void choose(struct zf_scorer *scorer, const struct zf_example *example,
                   struct zf_score *out) {
  const double *score = scorer->option;
  int32_t best = 0, count = example->nseq;
  for (int32_t o = 1; o < count; o++)
    if (score[o] > score[best]) best = o;
  double sum = 0;
  for (int32_t o = 0; o < count; o++) sum += exp(score[o] - score[best]);
  out->loss = log(sum) + score[best] - score[example->label];
  out->choice = best;
  out->weight = 1;
  if (scorer->watch) scorer->watch(scorer->watcher, score, NULL, count);
}

static int is_outputs(const struct zf_dataset *dataset) {
  return dataset->type == ZF_TASK_LABELS && dataset->problem != ZF_PROBLEM_SINGLE;
}

/* The logits in s->option against what they should be. */
static void judge(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                  const struct zf_example *example, struct zf_score *out) {
  for (int32_t o = 0; o < example->nseq; o++)
    scorer->gold[o] = (double)dataset->seq[example->seq + o].gold;
  out->loss = zf_labels_loss(dataset->problem, scorer->option, scorer->gold, example->nseq);
  out->weight = 1;
  if (scorer->watch) scorer->watch(scorer->watcher, scorer->option, scorer->gold, example->nseq);
}

static double logit_at(const struct zf_scorer *scorer, int64_t row, int32_t id) {
  int64_t k = 0;
  while (scorer->packed.ids[k] != id) k++;
  return (double)scorer->packed.at[row * scorer->packed.nid + k];
}

/* Example i, whose rows of a stream begin at `row`; returns the rows it took. */
static int64_t reduce(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t i,
                      int64_t row, struct zf_score *out) {
  const struct zf_example *example = &dataset->ex[i];
  const struct zf_seq *seq = dataset->seq + example->seq;
  int64_t at = row;
  *out = (struct zf_score){.choice = -1, .nll = NAN};
  for (int32_t o = 0; o < example->nseq; o++) {
    int64_t n = zf_seq_targets(dataset, &seq[o]);
    if (example->single) {
      scorer->option[o] = logit_at(scorer, row, dataset->pool.id[seq[o].at + seq[o].target]);
      continue;
    }
    double sum = 0;
    for (int64_t t = 0; t < n; t++, at++) sum += scorer->packed.logit[at] - scorer->packed.lse[at];
    scorer->option[o] = sum / (double)n;
    if (example->label < 0 || o == example->label) out->nll = -sum;
    out->weight = n;
  }
  if (is_outputs(dataset))
    judge(scorer, dataset, example, out);
  else if (example->label >= 0)
    choose(scorer, example, out);
  else
    out->loss = out->nll;
  return example->single ? 1 : at - row;
}

void zf_scorer_watch(struct zf_scorer *scorer, zf_score_watch watch, void *ctx) {
  scorer->watch = watch;
  scorer->watcher = ctx;
}

void zf_score_reduce(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                     const int64_t *index, int64_t from, int64_t to, int64_t n, int streams,
                     struct zf_score *out) {
  for (int k = 0; k < streams; k++) {
    int64_t row = k * scorer->packed.batch.R;
    for (int64_t i = from; i < to; i++)
      row += reduce(scorer, dataset, index ? index[i] : i, row, &out[k * n + i]);
  }
}

static int run(struct zf_scorer *scorer, const struct zf_perturb *pt) {
  int rc = zf_forward_run(scorer->forward, &scorer->packed.batch, pt);
  if (rc) return rc;
  if (scorer->packed.whole)
    zf_forward_lse(scorer->forward, scorer->packed.target, scorer->packed.lse,
                   scorer->packed.logit);
  if (scorer->packed.nid)
    zf_forward_logits_at(scorer->forward, scorer->packed.ids, scorer->packed.nid,
                         scorer->packed.at);
  return 0;
}

int64_t zf_score_pack(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t n, int64_t most, int streams) {
  struct zf_batch_load sum = {0, 0, 0, 0};
  int64_t to;
  scorer->packed.batch.T = scorer->packed.batch.R = scorer->packed.batch.nseg = scorer->packed.nid =
      scorer->packed.whole = 0;
  scorer->packed.batch.unread =
      zf_forward_model(scorer->forward)->plan.causal && dataset->type != ZF_TASK_LABELS;
  for (to = from; to < n && (most == 0 || to - from < most); to++) {
    int64_t i = index ? index[to] : to;
    struct zf_batch_load load = cost_of(dataset, i);
    if (!fits(scorer, sum, load, streams)) break;
    pack(scorer, dataset, i);
    sum = (struct zf_batch_load){sum.tokens + load.tokens, sum.rows + load.rows,
                                 sum.segments + load.segments, sum.ids + load.ids};
  }
  assert(to > from); /* the limits were made for these sets */
  return to;
}

struct zf_packed *zf_score_packed(struct zf_scorer *scorer) {
  return &scorer->packed;
}

int zf_score_examples(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count, int64_t most,
                      const struct zf_perturb *pt, struct zf_score *out) {
  for (int64_t from = 0, to; from < count; from = to) {
    to = zf_score_pack(scorer, dataset, index, from, count, most, pt->st.count);
    int rc = run(scorer, pt);
    if (rc) return rc;
    zf_score_reduce(scorer, dataset, index, from, to, count, pt->st.count, out);
  }
  return 0;
}

/* --- derivatives --- */

/* score[o] = p(o) - [o is the label], p the softmax of the scores. */
static void gradients_of(double *score, int32_t count, int32_t label) {
  double top = score[0], sum = 0;
  for (int32_t o = 1; o < count; o++)
    if (score[o] > top) top = score[o];
  for (int32_t o = 0; o < count; o++) sum += score[o] = exp(score[o] - top);
  for (int32_t o = 0; o < count; o++) score[o] = score[o] / sum - (o == label);
}

/* One example's rows, from `row` on, after reduce has left its options' scores in s->option. */
static void example_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset, int64_t i,
                              int64_t row, double scale, float *coef, float *slope) {
  const struct zf_example *example = &dataset->ex[i];
  const struct zf_seq *seq = dataset->seq + example->seq;
  if (is_outputs(dataset))
    zf_labels_gradients(dataset->problem, scorer->option, scorer->gold, example->nseq);
  else if (example->label >= 0)
    gradients_of(scorer->option, example->nseq, example->label);
  for (int32_t o = 0; o < example->nseq; o++) {
    int64_t n = zf_seq_targets(dataset, &seq[o]), k = 0;
    double c =
        example->label >= 0 || is_outputs(dataset) ? scale * scorer->option[o] : -scale * (double)n;
    if (example->single) {
      while (scorer->packed.ids[k] != dataset->pool.id[seq[o].at + seq[o].target]) k++;
      slope[row * scorer->packed.nid + k] += (float)c;
      continue;
    }
    for (int64_t t = 0; t < n; t++) coef[row++] = (float)(c / (double)n);
  }
}

void zf_score_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t from, int64_t to, double scale, float *coef,
                        float *slope) {
  int64_t row = 0;
  memset(coef, 0, sizeof *coef * (size_t)scorer->packed.batch.R);
  memset(slope, 0, sizeof *slope * (size_t)(scorer->packed.batch.R * scorer->packed.nid));
  for (int64_t e = from; e < to; e++) {
    struct zf_score ignored;
    int64_t i = index ? index[e] : e, took = reduce(scorer, dataset, i, row, &ignored);
    example_gradients(scorer, dataset, i, row, scale, coef, slope);
    row += took;
  }
}

int zf_score_check(const struct zf_model *model, const struct zf_dataset *dataset) {
  const char *what = model->config.classify ? "a head of labels"
                     : model->plan.causal   ? "a causal head"
                                            : "a masked head";
  const char *type = model->config.classify ? "labels"
                     : model->plan.causal   ? "classification, completion or text"
                                            : "masked";
  int fits = model->config.classify ? dataset->type == ZF_TASK_LABELS
             : model->plan.causal
                 ? dataset->type != ZF_TASK_LABELS && dataset->type != ZF_TASK_MASKED
                 : dataset->type == ZF_TASK_MASKED;
  if (!fits)
    return zf_error(ZF_EUSAGE, "%s: the model has %s: its data are of type %s", model->dir, what,
                    type);
  if (model->config.classify && dataset->options != model->config.outputs)
    return zf_error(ZF_EUSAGE, "%s: the model's head has %lld labels, 'options' names %lld",
                    model->dir, (long long)model->config.outputs, (long long)dataset->options);
  return 0;
}

int zf_score_causal(const struct zf_model *model) {
  if (model->plan.causal && !model->config.classify) return 0;
  return zf_error(ZF_EUSAGE, "%s: the model has %s: only causal language models go on with a text",
                  model->dir, model->config.classify ? "a head of labels" : "a masked head");
}

double zf_score_mean(const struct zf_score *score, int64_t count) {
  double loss = 0, weight = 0;
  for (int64_t i = 0; i < count; i++) {
    loss += score[i].loss;
    weight += (double)score[i].weight;
  }
  return weight > 0 ? loss / weight : 0;
}
