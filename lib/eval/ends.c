/* Which tokens end a text. */
#include "base/err.h"
#include "eval/generate.h"

int zf_generation_ends(struct zf_ids *out, const struct zf_model *model, const struct zf_tok *tok) {
  const struct zf_ids *ends = zf_tok_ends(tok, NULL);
  int rc = 0;
  for (int64_t i = 0; !rc && i < ends->count; i++)
    if (ends->id[i] < model->config.vocab) rc = zf_generation_add_id(out, ends->id[i]);
  return rc;
}
