/* Brings examples within sequence_len, and completes them: the tokens that their sequences share, their
 * counts. */
#include <string.h>

#include "task/encode_internal.h"

/* Removes the first `cut` tokens of a sequence's prompt, or those behind a BOS (bos = 1). */
static void cut_front(struct zf_dataset *dataset, struct zf_seq *seq, int64_t cut, int bos) {
  int32_t *id = dataset->pool.id + seq->at;
  memmove(id + bos, id + bos + cut, (size_t)(seq->len - bos - cut) * sizeof *id);
  seq->len -= (int32_t)cut;
  seq->target -= (int32_t)cut;
}

/* All sequences of the example lose the same tokens, so that they still share the others. */
static int truncate_prompt(struct zf_encoder *encoder, struct zf_example *example,
                           int64_t longest) {
  struct zf_dataset *dataset = encoder->dataset;
  int64_t cut = longest - encoder->spec->sequence_len;
  const int32_t *first = dataset->pool.id + dataset->seq[example->seq].at;
  int bos = first[0] == zf_tok_bos(encoder->tok);
  for (int32_t option = 0; option < example->nseq; option++) {
    const struct zf_seq *seq = &dataset->seq[example->seq + option];
    if (seq->target - bos < cut || seq->target - cut < 1)
      return zf_error(ZF_EINVALID, "the targets alone are longer than sequence_len %lld",
                      (long long)encoder->spec->sequence_len);
  }
  for (int32_t option = 0; option < example->nseq; option++)
    cut_front(dataset, &dataset->seq[example->seq + option], cut, bos);
  dataset->counts.truncated++;
  dataset->counts.cut += cut;
  return 0;
}

/* masked, labels: a prompt between special tokens loses tokens behind the first one or, when the mask is
 * nearer to the beginning, before the last one. */
static int truncate_whole(struct zf_encoder *encoder, struct zf_example *example, int64_t longest) {
  struct zf_dataset *dataset = encoder->dataset;
  int64_t prompt_len = longest - 1, cut = longest - encoder->spec->sequence_len,
          ask = example->mask_distance;
  int cut_after = encoder->mask >= 0 && ask >= prompt_len - 1 - ask;
  int64_t from = cut_after ? 1 : prompt_len - 1 - cut;
  if (from < 1 || (encoder->mask >= 0 && ask >= from && ask < from + cut) ||
      from + cut > prompt_len)
    return zf_error(ZF_EINVALID, "the prompt's fixed part is longer than sequence_len %lld",
                    (long long)encoder->spec->sequence_len);
  for (int32_t option = 0; option < example->nseq; option++) {
    struct zf_seq *seq = &dataset->seq[example->seq + option];
    int32_t *id = dataset->pool.id + seq->at;
    memmove(id + from, id + from + cut, (size_t)(seq->len - from - cut) * sizeof *id);
    seq->len -= (int32_t)cut;
    seq->target -= (int32_t)cut;
  }
  if (cut_after) example->mask_distance -= (int32_t)cut;
  dataset->counts.truncated++;
  dataset->counts.cut += cut;
  return 0;
}

static void drop(struct zf_encoder *encoder, struct zf_example *example) {
  encoder->dataset->pool.count = encoder->dataset->seq[example->seq].at;
  encoder->dataset->nseq = example->seq;
}

/* Brings an example within sequence_len, or leaves it out (*keep = 0). */
static int fit(struct zf_encoder *encoder, struct zf_example *example, int *keep) {
  struct zf_dataset *dataset = encoder->dataset;
  int64_t longest = 0, limit = encoder->spec->sequence_len;
  for (int32_t option = 0; option < example->nseq; option++)
    if (dataset->seq[example->seq + option].len > longest)
      longest = dataset->seq[example->seq + option].len;
  *keep = 1;
  if (longest <= limit) return 0;
  switch (encoder->spec->excess) {
    case ZF_EXCESS_RAISE:
      return zf_error(ZF_EINVALID, "the example has %lld tokens, sequence_len is %lld",
                      (long long)longest, (long long)limit);
    case ZF_EXCESS_DROP:
      dataset->counts.dropped++;
      drop(encoder, example);
      *keep = 0;
      return 0;
    default:
      if (encoder->word) return truncate_whole(encoder, example, longest);
      if (encoder->spec->type == ZF_TASK_PREFERENCE ||
          (encoder->spec->type <= ZF_TASK_COMPLETION && !encoder->spec->train_on_inputs))
        return truncate_prompt(encoder, example, longest);
      dataset->seq[example->seq].len = (int32_t)limit;
      dataset->pool.count = dataset->seq[example->seq].at + limit;
      dataset->counts.truncated++;
      dataset->counts.cut += longest - limit;
      return 0;
  }
}

static int is_end_token(const struct zf_tok *tok, int32_t id) {
  const struct zf_ids *ends = zf_tok_end_ids(tok, NULL);
  for (int64_t i = 0; i < ends->count; i++)
    if (ends->id[i] == id) return 1;
  return id == zf_tok_eos(tok) || zf_tok_is_special(tok, id);
}

/* Targets at which generation stops. */
static int64_t count_ends(const struct zf_encoder *encoder, const struct zf_example *example) {
  const struct zf_dataset *dataset = encoder->dataset;
  int64_t count = 0;
  for (int32_t option = 0; option < example->nseq; option++) {
    const struct zf_seq *seq = &dataset->seq[example->seq + option];
    for (int64_t token = seq->target; token < seq->len; token++)
      count += zf_seq_is_target(dataset, seq, token) &&
               is_end_token(encoder->tok, dataset->pool.id[seq->at + token]);
  }
  return count;
}

static int finish(struct zf_encoder *encoder, struct zf_example *example) {
  struct zf_dataset *dataset = encoder->dataset;
  int with_targets = 0;
  for (int32_t option = 0; option < example->nseq; option++) {
    struct zf_seq *seq = &dataset->seq[example->seq + option];
    if (seq->target < 1) seq->target = 1; /* nothing predicts the first token */
    if (zf_seq_targets(dataset, seq) > 0) with_targets++;
  }
  if (with_targets < example->nseq) { /* an option without a token cannot be scored */
    dataset->counts.masked++;
    drop(encoder, example);
    return 0;
  }
  zf_dataset_shared(dataset, example);
  if (!encoder->word) dataset->counts.ends += count_ends(encoder, example);
  return zf_dataset_keep(dataset, example);
}

/* Cuts a long text into parts of sequence_len; the first token of a part is context alone. */
static int split_text(struct zf_encoder *encoder, struct zf_example *example) {
  struct zf_dataset *dataset = encoder->dataset;
  struct zf_seq whole = dataset->seq[example->seq];
  int64_t limit = encoder->spec->sequence_len, begin = 0;
  if (whole.len <= limit) return finish(encoder, example);
  dataset->counts.split++;
  dataset->nseq--;
  while (begin < whole.len - 1) {
    int64_t len = whole.len - begin < limit ? whole.len - begin : limit;
    struct zf_example part = *example;
    part.seq = dataset->nseq;
    int rc = zf_dataset_slice(dataset, (struct zf_seq){whole.at + begin, (int32_t)len, 1});
    if (!rc) rc = finish(encoder, &part);
    if (rc) return rc;
    begin += len == limit ? limit - 1 : len; /* the last token is the first of the next part */
  }
  return 0;
}

int zf_encode_fit(struct zf_encoder *encoder, struct zf_example *example) {
  int keep;
  if (encoder->spec->type == ZF_TASK_TEXT && encoder->spec->excess == ZF_EXCESS_SPLIT)
    return split_text(encoder, example);
  int rc = fit(encoder, example, &keep);
  return !rc && keep ? finish(encoder, example) : rc;
}
