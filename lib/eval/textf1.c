#include "eval/textf1.h"

#include <string.h>

#include "base/err.h"
#include "eval/textmetrics.h"

enum { EXTRA_TOKENS = 50 };

/* Continues the prompt of a sequence up to EOS or a newline. */
static int decode_behind(struct zf_buf *decoded, struct zf_decoder *decoder,
                         const struct zf_model *model, const struct zf_tok *tok, const int32_t *id,
                         const struct zf_seq *seq) {
  struct zf_sampling greedy = {.top_p = 1};
  int64_t max = seq->len - seq->target + EXTRA_TOKENS, room = model->config.context - seq->target;
  if (room < max) max = room;
  zf_buf_clear(decoded);
  zf_buf_puts(decoded, "");
  int rc = zf_decoder_begin(decoder, id, seq->target);
  if (rc) return rc;
  for (int64_t i = 0; i < max; i++) {
    int32_t next;
    if ((rc = zf_decoder_next(decoder, &greedy, &next))) return rc;
    if (next == zf_tok_eos(tok)) break;
    if ((rc = zf_tok_decode(tok, decoded, &next, 1, 1))) return rc;
    char *newline = memchr(decoded->data, '\n', decoded->len);
    if (newline && newline > decoded->data) {
      *newline = 0;
      break;
    }
  }
  return 0;
}

/* F1 of one sequence; `decoded` and `gold` are scratch. */
static int sequence_f1(double *f1, struct zf_decoder *decoder, const struct zf_model *model,
                       const struct zf_tok *tok, const int32_t *id, const struct zf_seq *seq,
                       struct zf_buf *decoded, struct zf_buf *gold) {
  int rc = decode_behind(decoded, decoder, model, tok, id, seq);
  if (rc) return rc;
  zf_buf_clear(gold);
  if ((rc = zf_tok_decode(tok, gold, id + seq->target, seq->len - seq->target, 1))) return rc;
  return zf_word_f1(f1, decoded->data, gold->data ? gold->data : "");
}

int zf_text_f1(double *out, const struct zf_model *model, const struct zf_tok *tok,
               const struct zf_dataset *dataset, enum zf_compute compute) {
  struct zf_decoder *decoder = NULL;
  struct zf_buf decoded = {0}, gold = {0};
  int64_t prompt = 1;
  double sum = 0;
  if (dataset->type != ZF_TASK_COMPLETION)
    return zf_error(ZF_EUSAGE, "F1 of decoded text is for completion tasks");
  if (dataset->stream)
    return zf_error(ZF_EUSAGE, "F1 of decoded text needs all examples in memory: streaming=false");
  for (int64_t i = 0; i < dataset->nseq; i++)
    if (dataset->seq[i].target > prompt) prompt = dataset->seq[i].target;
  int rc = zf_decoder_new(&decoder, model, prompt, model->config.context, compute);
  if (rc) return rc;
  for (int64_t i = 0; i < dataset->count; i++) {
    const struct zf_seq *seq = &dataset->seq[dataset->example[i].seq];
    double f1 = 0;
    rc = sequence_f1(&f1, decoder, model, tok, dataset->pool.id + seq->at, seq, &decoded, &gold);
    if (rc) break;
    sum += f1;
  }
  *out = dataset->count ? sum / (double)dataset->count : 0;
  zf_buf_free(&decoded);
  zf_buf_free(&gold);
  zf_decoder_free(decoder);
  return rc;
}
