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
  struct zf_forward *f;
  struct zf_limits lim;
  struct zf_arena arena;
  struct zf_packed p;
  double *option; /* mean log-probability of each option of one example */
  double *gold;   /* labels: what its logit should be */
  zf_score_watch watch;
  void *watcher;
};

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static struct zf_batch_load cost_of(const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  return (struct zf_batch_load){zf_example_tokens(d, i), zf_example_rows(d, i), 1 + x->nseq,
                                x->single ? x->nseq : 0};
}

/* The bound of a stream, whose examples are not known: m of sequence_len, or one whose options share
 * nothing; what does not fit one pass takes several. */
static struct zf_batch_load bound(const struct zf_row_reader *s, int64_t m) {
  int64_t len = s->sequence_len - 1, seqs = s->options > 1 ? s->options : 1;
  int64_t tokens = max64(m, seqs) * len;
  return (struct zf_batch_load){tokens, tokens, m * (1 + seqs), s->options > 1 ? m * seqs : 0};
}

static int descending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

/* The sum of the `m` largest of v[0..n): v is sorted. */
static int64_t top(int64_t *v, int64_t n, int64_t m) {
  qsort(v, (size_t)n, sizeof *v, descending);
  int64_t sum = 0;
  for (int64_t i = 0; i < n && i < m; i++) sum += v[i];
  return sum;
}

struct zf_batch_load zf_batch_load_max(struct zf_batch_load a, struct zf_batch_load b) {
  return (struct zf_batch_load){max64(a.tokens, b.tokens), max64(a.rows, b.rows),
                                max64(a.segments, b.segments), max64(a.ids, b.ids)};
}

/* What no example of a set exceeds. */
static struct zf_batch_load largest(const struct zf_dataset *d) {
  struct zf_batch_load c = {0, 0, 0, 0};
  for (int64_t i = 0; i < d->count; i++) {
    c = zf_batch_load_max(c, cost_of(d, i));
  }
  return c;
}

static struct zf_batch_load times(struct zf_batch_load c, int64_t m) {
  return (struct zf_batch_load){m * c.tokens, m * c.rows, m * c.segments, m * c.ids};
}

/* The most that any `m` examples of a set need together; without memory to sort, a coarser bound.
 */
static struct zf_batch_load worst(const struct zf_dataset *d, int64_t m) {
  struct zf_batch_load c = {0, 0, 0, 0};
  int64_t *v = zf_calloc(4 * d->count, sizeof *v);
  if (!v) return m < d->count ? times(largest(d), m) : times(largest(d), d->count);
  for (int64_t i = 0; i < d->count; i++) {
    struct zf_batch_load k = cost_of(d, i);
    v[i] = k.tokens;
    v[d->count + i] = k.rows;
    v[2 * d->count + i] = k.segments;
    v[3 * d->count + i] = k.ids;
  }
  c = (struct zf_batch_load){top(v, d->count, m), top(v + d->count, d->count, m),
                             top(v + 2 * d->count, d->count, m),
                             top(v + 3 * d->count, d->count, m)};
  free(v);
  return c;
}

void zf_batch_load_add(struct zf_batch_load *sum, const struct zf_dataset *d, int64_t i) {
  struct zf_batch_load c = cost_of(d, i);
  *sum = (struct zf_batch_load){sum->tokens + c.tokens, sum->rows + c.rows,
                                sum->segments + c.segments, sum->ids + c.ids};
}

/* Room for a pass that needs `c` on S streams. */
static void widen(struct zf_limits *lim, struct zf_batch_load c, int64_t S) {
  lim->tokens = max64(lim->tokens, S * c.tokens);
  lim->rows = max64(lim->rows, S * c.rows);
  lim->segments = max64(lim->segments, c.segments);
  lim->ids = max64(lim->ids, c.ids);
}

/* What the longest sequence of a set needs. */
static void lengthen(struct zf_limits *lim, const struct zf_dataset *d) {
  if (d->stream) lim->length = max64(lim->length, d->stream->sequence_len - 1);
  for (int64_t i = 0; !d->stream && i < d->nseq; i++)
    lim->length = max64(lim->length, d->seq[i].len - 1);
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

int zf_scorer_new(struct zf_scorer **out, struct zf_forward *f, const struct zf_limits *lim) {
  *out = NULL;
  struct zf_scorer *s = zf_calloc(1, sizeof *s);
  if (!s) return ZF_ENOMEM;
  s->f = f;
  s->lim = *lim;
  int rc = zf_arena_init(&s->arena, (size_t)zf_scorer_bytes(lim));
  if (!rc) {
    s->p.batch.id = zf_arena_array(&s->arena, lim->tokens, 4);
    s->p.batch.pos = zf_arena_array(&s->arena, lim->tokens, 4);
    s->p.batch.row = zf_arena_array(&s->arena, lim->rows, 4);
    s->p.target = zf_arena_array(&s->arena, lim->rows, 4);
    s->p.lse = zf_arena_array(&s->arena, lim->rows, 8);
    s->p.logit = zf_arena_array(&s->arena, lim->rows, 8);
    s->p.ids = zf_arena_array(&s->arena, lim->ids, 4);
    s->p.at = zf_arena_array(&s->arena, lim->rows * lim->ids, 4);
    s->p.batch.seg = zf_arena_array(&s->arena, lim->segments, sizeof *s->p.batch.seg);
    s->option = zf_arena_array(&s->arena, lim->segments, 8);
    s->gold = zf_arena_array(&s->arena, lim->segments, 8);
    if (!s->p.batch.id || !s->p.batch.pos || !s->p.batch.row || !s->p.target || !s->p.lse ||
        !s->p.logit || !s->p.ids || !s->p.at || !s->p.batch.seg || !s->option || !s->gold)
      rc = ZF_ENOMEM;
  }
  if (rc) {
    zf_scorer_free(s);
    return rc;
  }
  *out = s;
  return 0;
}

void zf_scorer_free(struct zf_scorer *s) {
  if (!s) return;
  zf_arena_free(&s->arena);
  free(s);
}

/* --- packing --- */

/* Appends tokens [from, to) of a sequence as a segment behind `prefix` rows at `pstart`. */
static void add_segment(struct zf_scorer *s, const int32_t *id, int64_t from, int64_t to,
                        int64_t pstart, int64_t plen) {
  struct zf_batch *b = &s->p.batch;
  b->seg[b->nseg++] = (struct zf_segment){
      .start = b->T, .len = to - from, .prefix_start = pstart, .prefix_len = plen};
  for (int64_t i = from; i < to; i++, b->T++) {
    b->id[b->T] = id[i];
    b->pos[b->T] = (int32_t)i;
  }
}

static void add_row(struct zf_scorer *s, int64_t row, int32_t target) {
  s->p.batch.row[s->p.batch.R] = (int32_t)row;
  s->p.target[s->p.batch.R++] = target;
  if (target >= 0) s->p.whole = 1;
}

static void add_id(struct zf_scorer *s, int32_t id) {
  for (int64_t i = 0; i < s->p.nid; i++)
    if (s->p.ids[i] == id) return;
  s->p.ids[s->p.nid++] = id;
}

/* The token whose row decides: a head of labels says itself where it stands, and a causal one skips
 * padding at the end, as Transformers does. */
static int64_t asked(const struct zf_scorer *s, const struct zf_dataset *d,
                     const struct zf_example *x) {
  const struct zf_model *m = zf_forward_model(s->f);
  const int32_t *id = d->pool.id + d->seq[x->seq].at;
  int64_t last = x->shared - 1;
  if (d->type != ZF_TASK_LABELS) return last - x->ask;
  if (m->config.family->classify.first) return 0;
  while (last > 0 && id[last] == m->config.pad) last--;
  return last;
}

static void pack(struct zf_scorer *s, const struct zf_dataset *d, int64_t i) {
  const struct zf_example *x = &d->ex[i];
  const struct zf_seq *seq = d->seq + x->seq;
  int64_t prompt = s->p.batch.T;
  if (x->shared) add_segment(s, d->pool.id + seq[0].at, 0, x->shared, prompt, 0);
  if (x->single) add_row(s, prompt + asked(s, d, x), -1);
  for (int32_t o = 0; o < x->nseq; o++) {
    const int32_t *id = d->pool.id + seq[o].at;
    int64_t own = s->p.batch.T;
    if (x->single) {
      add_id(s, id[seq[o].target]);
      continue;
    }
    if (seq[o].len - 1 > x->shared)
      add_segment(s, id, x->shared, seq[o].len - 1, prompt, x->shared);
    int64_t t = zf_seq_next_target(d, &seq[o], 0);
    for (; t < seq[o].len; t = zf_seq_next_target(d, &seq[o], t + 1))
      add_row(s, t - 1 < x->shared ? prompt + t - 1 : own + t - 1 - x->shared, id[t]);
  }
}

static int fits(const struct zf_scorer *s, struct zf_batch_load sum, struct zf_batch_load c,
                int streams) {
  return streams * (sum.tokens + c.tokens) <= s->lim.tokens &&
         streams * (sum.rows + c.rows) <= s->lim.rows &&
         sum.segments + c.segments <= s->lim.segments && sum.ids + c.ids <= s->lim.ids;
}

/* --- reduction --- */

/* Cross-entropy of softmax(option scores) at the label, and the likeliest option. */
static void choose(struct zf_score *out, const double *score, int32_t n, int32_t label) {
  int32_t best = 0;
  for (int32_t o = 1; o < n; o++)
    if (score[o] > score[best]) best = o;
  double sum = 0;
  for (int32_t o = 0; o < n; o++) sum += exp(score[o] - score[best]);
  out->loss = log(sum) + score[best] - score[label];
  out->choice = best;
  out->weight = 1;
}

static int is_outputs(const struct zf_dataset *d) {
  return d->type == ZF_TASK_LABELS && d->problem != ZF_PROBLEM_SINGLE;
}

/* The logits in s->option against what they should be. */
static void judge(struct zf_scorer *s, const struct zf_dataset *d, const struct zf_example *x,
                  struct zf_score *out) {
  for (int32_t o = 0; o < x->nseq; o++) s->gold[o] = (double)d->seq[x->seq + o].gold;
  out->loss = zf_labels_loss(d->problem, s->option, s->gold, x->nseq);
  out->weight = 1;
  if (s->watch) s->watch(s->watcher, s->option, s->gold, x->nseq);
}

static double logit_at(const struct zf_scorer *s, int64_t row, int32_t id) {
  int64_t k = 0;
  while (s->p.ids[k] != id) k++;
  return (double)s->p.at[row * s->p.nid + k];
}

/* Example i, whose rows of a stream begin at `row`; returns the rows it took. */
static int64_t reduce(struct zf_scorer *s, const struct zf_dataset *d, int64_t i, int64_t row,
                      struct zf_score *out) {
  const struct zf_example *x = &d->ex[i];
  const struct zf_seq *seq = d->seq + x->seq;
  int64_t at = row;
  *out = (struct zf_score){.choice = -1, .nll = NAN};
  for (int32_t o = 0; o < x->nseq; o++) {
    int64_t n = zf_seq_targets(d, &seq[o]);
    if (x->single) {
      s->option[o] = logit_at(s, row, d->pool.id[seq[o].at + seq[o].target]);
      continue;
    }
    double sum = 0;
    for (int64_t t = 0; t < n; t++, at++) sum += s->p.logit[at] - s->p.lse[at];
    s->option[o] = sum / (double)n;
    if (x->label < 0 || o == x->label) out->nll = -sum;
    out->weight = n;
  }
  if (is_outputs(d))
    judge(s, d, x, out);
  else if (x->label >= 0)
    choose(out, s->option, x->nseq, x->label);
  else
    out->loss = out->nll;
  return x->single ? 1 : at - row;
}

void zf_scorer_watch(struct zf_scorer *s, zf_score_watch watch, void *ctx) {
  s->watch = watch;
  s->watcher = ctx;
}

void zf_score_reduce(struct zf_scorer *s, const struct zf_dataset *d, const int64_t *index,
                     int64_t from, int64_t to, int64_t n, int streams, struct zf_score *out) {
  for (int k = 0; k < streams; k++) {
    int64_t row = k * s->p.batch.R;
    for (int64_t i = from; i < to; i++)
      row += reduce(s, d, index ? index[i] : i, row, &out[k * n + i]);
  }
}

static int run(struct zf_scorer *s, const struct zf_perturb *pt) {
  int rc = zf_forward_run(s->f, &s->p.batch, pt);
  if (rc) return rc;
  if (s->p.whole) zf_forward_lse(s->f, s->p.target, s->p.lse, s->p.logit);
  if (s->p.nid) zf_forward_logits_at(s->f, s->p.ids, s->p.nid, s->p.at);
  return 0;
}

int64_t zf_score_pack(struct zf_scorer *s, const struct zf_dataset *d, const int64_t *index,
                      int64_t from, int64_t n, int64_t most, int streams) {
  struct zf_batch_load sum = {0, 0, 0, 0};
  int64_t to;
  s->p.batch.T = s->p.batch.R = s->p.batch.nseg = s->p.nid = s->p.whole = 0;
  s->p.batch.unread = zf_forward_model(s->f)->plan.causal && d->type != ZF_TASK_LABELS;
  for (to = from; to < n && (most == 0 || to - from < most); to++) {
    int64_t i = index ? index[to] : to;
    struct zf_batch_load c = cost_of(d, i);
    if (!fits(s, sum, c, streams)) break;
    pack(s, d, i);
    sum = (struct zf_batch_load){sum.tokens + c.tokens, sum.rows + c.rows,
                                 sum.segments + c.segments, sum.ids + c.ids};
  }
  assert(to > from); /* the limits were made for these sets */
  return to;
}

struct zf_packed *zf_score_packed(struct zf_scorer *s) {
  return &s->p;
}

int zf_score_examples(struct zf_scorer *s, const struct zf_dataset *d, const int64_t *index,
                      int64_t n, int64_t most, const struct zf_perturb *pt, struct zf_score *out) {
  for (int64_t from = 0, to; from < n; from = to) {
    to = zf_score_pack(s, d, index, from, n, most, pt->st.count);
    int rc = run(s, pt);
    if (rc) return rc;
    zf_score_reduce(s, d, index, from, to, n, pt->st.count, out);
  }
  return 0;
}

/* --- derivatives --- */

/* score[o] = p(o) - [o is the label], p the softmax of the scores. */
static void gradients_of(double *score, int32_t n, int32_t label) {
  double top = score[0], sum = 0;
  for (int32_t o = 1; o < n; o++)
    if (score[o] > top) top = score[o];
  for (int32_t o = 0; o < n; o++) sum += score[o] = exp(score[o] - top);
  for (int32_t o = 0; o < n; o++) score[o] = score[o] / sum - (o == label);
}

/* One example's rows, from `row` on, after reduce has left its options' scores in s->option. */
static void example_gradients(struct zf_scorer *s, const struct zf_dataset *d, int64_t i,
                              int64_t row, double scale, float *coef, float *slope) {
  const struct zf_example *x = &d->ex[i];
  const struct zf_seq *seq = d->seq + x->seq;
  if (is_outputs(d))
    zf_labels_gradients(d->problem, s->option, s->gold, x->nseq);
  else if (x->label >= 0)
    gradients_of(s->option, x->nseq, x->label);
  for (int32_t o = 0; o < x->nseq; o++) {
    int64_t n = zf_seq_targets(d, &seq[o]), k = 0;
    double c = x->label >= 0 || is_outputs(d) ? scale * s->option[o] : -scale * (double)n;
    if (x->single) {
      while (s->p.ids[k] != d->pool.id[seq[o].at + seq[o].target]) k++;
      slope[row * s->p.nid + k] += (float)c;
      continue;
    }
    for (int64_t t = 0; t < n; t++) coef[row++] = (float)(c / (double)n);
  }
}

void zf_score_gradients(struct zf_scorer *s, const struct zf_dataset *d, const int64_t *index,
                        int64_t from, int64_t to, double scale, float *coef, float *slope) {
  int64_t row = 0;
  memset(coef, 0, sizeof *coef * (size_t)s->p.batch.R);
  memset(slope, 0, sizeof *slope * (size_t)(s->p.batch.R * s->p.nid));
  for (int64_t e = from; e < to; e++) {
    struct zf_score ignored;
    int64_t i = index ? index[e] : e, took = reduce(s, d, i, row, &ignored);
    example_gradients(s, d, i, row, scale, coef, slope);
    row += took;
  }
}

int zf_score_check(const struct zf_model *m, const struct zf_dataset *d) {
  const char *what = m->config.classify ? "a head of labels"
                     : m->plan.causal   ? "a causal head"
                                        : "a masked head";
  const char *type = m->config.classify ? "labels"
                     : m->plan.causal   ? "classification, completion or text"
                                        : "masked";
  int fits = m->config.classify ? d->type == ZF_TASK_LABELS
             : m->plan.causal   ? d->type != ZF_TASK_LABELS && d->type != ZF_TASK_MASKED
                                : d->type == ZF_TASK_MASKED;
  if (!fits)
    return zf_error(ZF_EUSAGE, "%s: the model has %s: its data are of type %s", m->dir, what, type);
  if (m->config.classify && d->options != m->config.outputs)
    return zf_error(ZF_EUSAGE, "%s: the model's head has %lld labels, 'options' names %lld", m->dir,
                    (long long)m->config.outputs, (long long)d->options);
  return 0;
}

int zf_score_causal(const struct zf_model *m) {
  if (m->plan.causal && !m->config.classify) return 0;
  return zf_error(ZF_EUSAGE, "%s: the model has %s: only causal language models go on with a text",
                  m->dir, m->config.classify ? "a head of labels" : "a masked head");
}

double zf_score_mean(const struct zf_score *score, int64_t n) {
  double loss = 0, weight = 0;
  for (int64_t i = 0; i < n; i++) {
    loss += score[i].loss;
    weight += (double)score[i].weight;
  }
  return weight > 0 ? loss / weight : 0;
}
