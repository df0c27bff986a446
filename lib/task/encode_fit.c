/* Examples that are longer than sequence_len, and the last touches to those that are not: what their
 * sequences share, what they count. */
#include <string.h>

#include "task/encode_internal.h"

/* Takes `cut` tokens out of the beginning of a sequence's prompt, behind a BOS. */
static void cut_front(struct zf_dataset *d, struct zf_seq *s, int64_t cut, int bos) {
  int32_t *id = d->pool.id + s->at;
  memmove(id + bos, id + bos + cut, (size_t)(s->len - bos - cut) * sizeof *id);
  s->len -= (int32_t)cut;
  s->target -= (int32_t)cut;
}

/* All sequences of the example lose the same tokens, so that they share what is left. */
static int truncate_prompt(struct zf_encoder *e, struct zf_example *x, int64_t longest) {
  struct zf_dataset *d = e->dataset;
  int64_t cut = longest - e->spec->sequence_len;
  const int32_t *first = d->pool.id + d->seq[x->seq].at;
  int bos = first[0] == zf_tok_bos(e->tok);
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    if (s->target - bos < cut || s->target - cut < 1)
      return zf_error(ZF_EINVALID, "the targets alone are longer than sequence_len %lld",
                      (long long)e->spec->sequence_len);
  }
  for (int32_t o = 0; o < x->nseq; o++) cut_front(d, &d->seq[x->seq + o], cut, bos);
  d->counts.truncated++;
  d->counts.cut += cut;
  return 0;
}

/* A prompt with tokens of the tokenizer's at both ends loses its beginning or, where what is asked is
 * nearer to that, its end. */
static int truncate_whole(struct zf_encoder *e, struct zf_example *x, int64_t longest) {
  struct zf_dataset *d = e->dataset;
  int64_t n = longest - 1, cut = longest - e->spec->sequence_len, ask = x->ask;
  int front = e->mask >= 0 && ask >= n - 1 - ask;
  int64_t from = front ? 1 : n - 1 - cut;
  if (from < 1 || (e->mask >= 0 && ask >= from && ask < from + cut) || from + cut > n)
    return zf_error(ZF_EINVALID, "the prompt's fixed part is longer than sequence_len %lld",
                    (long long)e->spec->sequence_len);
  for (int32_t o = 0; o < x->nseq; o++) {
    struct zf_seq *s = &d->seq[x->seq + o];
    int32_t *id = d->pool.id + s->at;
    memmove(id + from, id + from + cut, (size_t)(s->len - from - cut) * sizeof *id);
    s->len -= (int32_t)cut;
    s->target -= (int32_t)cut;
  }
  if (front) x->ask -= (int32_t)cut;
  d->counts.truncated++;
  d->counts.cut += cut;
  return 0;
}

static void drop(struct zf_encoder *e, struct zf_example *x) {
  e->dataset->pool.count = e->dataset->seq[x->seq].at;
  e->dataset->nseq = x->seq;
}

/* Brings an example within sequence_len, or leaves it out (*keep = 0). */
static int fit(struct zf_encoder *e, struct zf_example *x, int *keep) {
  struct zf_dataset *d = e->dataset;
  int64_t longest = 0, limit = e->spec->sequence_len;
  for (int32_t o = 0; o < x->nseq; o++)
    if (d->seq[x->seq + o].len > longest) longest = d->seq[x->seq + o].len;
  *keep = 1;
  if (longest <= limit) return 0;
  switch (e->spec->excess) {
    case ZF_EXCESS_RAISE:
      return zf_error(ZF_EINVALID, "the example has %lld tokens, sequence_len is %lld",
                      (long long)longest, (long long)limit);
    case ZF_EXCESS_DROP:
      d->counts.dropped++;
      drop(e, x);
      *keep = 0;
      return 0;
    default:
      if (e->word) return truncate_whole(e, x, longest);
      if (e->spec->type <= ZF_TASK_COMPLETION && !e->spec->train_on_inputs)
        return truncate_prompt(e, x, longest);
      d->seq[x->seq].len = (int32_t)limit;
      d->pool.count = d->seq[x->seq].at + limit;
      d->counts.truncated++;
      d->counts.cut += longest - limit;
      return 0;
  }
}

static int is_end(const struct zf_tok *tok, int32_t id) {
  const struct zf_ids *ends = zf_tok_ends(tok, NULL);
  for (int64_t i = 0; i < ends->count; i++)
    if (ends->id[i] == id) return 1;
  return id == zf_tok_eos(tok) || zf_tok_is_special(tok, id);
}

/* Targets from which a model learns to stop. */
static int64_t count_ends(const struct zf_encoder *e, const struct zf_example *x) {
  const struct zf_dataset *d = e->dataset;
  int64_t n = 0;
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    for (int64_t t = s->target; t < s->len; t++)
      n += zf_seq_is_target(d, s, t) && is_end(e->tok, d->pool.id[s->at + t]);
  }
  return n;
}

static int finish(struct zf_encoder *e, struct zf_example *x) {
  struct zf_dataset *d = e->dataset;
  int targets = 0;
  for (int32_t o = 0; o < x->nseq; o++) {
    struct zf_seq *s = &d->seq[x->seq + o];
    if (s->target < 1) s->target = 1; /* the first token has nothing before it */
    if (zf_seq_targets(d, s) > 0) targets++;
  }
  if (targets < x->nseq) { /* an option without a token cannot be scored */
    d->counts.masked++;
    drop(e, x);
    return 0;
  }
  zf_dataset_shared(d, x);
  if (!e->word) d->counts.ends += count_ends(e, x);
  return zf_dataset_keep(d, x);
}

/* Cuts a long text into pieces of sequence_len; a piece's first token is context alone. */
static int split_text(struct zf_encoder *e, struct zf_example *x) {
  struct zf_dataset *d = e->dataset;
  struct zf_seq whole = d->seq[x->seq];
  int64_t limit = e->spec->sequence_len, at = 0;
  if (whole.len <= limit) return finish(e, x);
  d->counts.split++;
  d->nseq--;
  while (at < whole.len - 1) {
    int64_t n = whole.len - at < limit ? whole.len - at : limit;
    struct zf_example piece = *x;
    piece.seq = d->nseq;
    int rc = zf_dataset_slice(d, (struct zf_seq){whole.at + at, (int32_t)n, 1});
    if (!rc) rc = finish(e, &piece);
    if (rc) return rc;
    at += n == limit ? limit - 1 : n; /* the last token is the next piece's first */
  }
  return 0;
}

int zf_encode_fit(struct zf_encoder *e, struct zf_example *x) {
  int keep;
  if (e->spec->type == ZF_TASK_TEXT && e->spec->excess == ZF_EXCESS_SPLIT) return split_text(e, x);
  int rc = fit(e, x, &keep);
  return !rc && keep ? finish(e, x) : rc;
}
