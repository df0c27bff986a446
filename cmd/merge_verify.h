/* How far the predictions of two models are apart: log-probabilities of the tokens of a text. */
#ifndef ZF_CMD_MERGE_VERIFY_H
#define ZF_CMD_MERGE_VERIFY_H

#include "model/model.h"
#include "text/tokenizer.h"

/* The predictions of one model for a text, which is cut into windows that are read on their own:
 *   a causal model      log p of every token after the first of its window
 *   a masked model      log p of every token at its own place
 *   a head of labels    log p of every label, for each window */
struct zc_predictions {
  double *value;
  int64_t count;
};

/* `text` with its length; the caller frees *out.  ZF_ESTOPPED: a signal came. */
int zc_predictions_of(struct zc_predictions *out, const struct zf_model *model,
                      const struct zf_tok *tok, const char *text, size_t len);
void zc_predictions_free(struct zc_predictions *predictions); /* takes a zeroed one */

struct zc_distance {
  double largest, mean; /* of |difference|, nats */
};

/* Both have the same count. */
struct zc_distance zc_distance_of(const struct zc_predictions *left,
                                  const struct zc_predictions *right);

#endif
