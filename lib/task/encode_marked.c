/* Texts with target stretches: conversations, instructions, labelled segments. */
#include "task/encode_internal.h"

static int mark_text(struct zf_encoder *e, const json_t *row, int64_t k, int64_t *parts) {
  const struct zf_data_spec *s = e->spec;
  zf_buf_clear(&e->text);
  e->spans.count = 0;
  *parts = 0;
  if (s->type == ZF_TASK_CHAT)
    return zf_chat_row(s->chat, &s->fields, row, k, &e->text, &e->spans, parts);
  struct zf_alpaca a = {&s->fields, e->prompt, e->body};
  return s->type == ZF_TASK_ALPACA ? zf_alpaca_row(&a, row, &e->text, &e->spans)
                                   : zf_segments_row(row, &e->text, &e->spans);
}

/* Marks the tokens that reach into a stretch; both lists ascend.  Returns the first. */
static int64_t mark_tokens(struct zf_encoder *e, unsigned char *mask) {
  const struct zf_ids *x = &e->ids;
  int64_t first = x->count, k = 0;
  for (int64_t t = 0; t < x->count; t++) {
    while (k < e->spans.count && x->begin[t] >= e->spans.at[k].to) k++;
    mask[t] = e->spec->train_on_inputs ||
              (x->begin[t] >= 0 && k < e->spans.count && x->end[t] > e->spans.at[k].from);
    if (mask[t] && first == x->count) first = t;
  }
  return first;
}

/* The template of a chat writes its own BOS; an Alpaca text is a text like others. */
int zf_encode_marked(struct zf_encoder *e, const json_t *row, int64_t k, int64_t *parts) {
  struct zf_dataset *d = e->dataset;
  int alpaca = e->spec->type == ZF_TASK_ALPACA;
  int64_t n = 0;
  int rc = mark_text(e, row, k, parts);
  e->ids.count = 0;
  if (!rc && alpaca)
    rc = zf_encode_text(e, &n);
  else if (!rc)
    rc = zf_tok_encode(e->tok, &e->ids, e->text.data, e->text.len, ZF_ENC_OFFSETS);
  n = e->ids.count;
  if (!rc) rc = zf_dataset_mask(d, d->pool.count + n + 1);
  if (rc) return rc;
  unsigned char *mask = d->mask + d->pool.count;
  int64_t first = mark_tokens(e, mask);
  rc = zf_dataset_seq(d, e->ids.id, n, first);
  if (rc || !alpaca || !e->spec->add_eos) return rc;
  int32_t eos = zf_tok_eos(e->tok);
  mask[n] = 1;
  d->seq[d->nseq - 1].len++;
  return zf_dataset_pool(d, &eos, 1);
}
