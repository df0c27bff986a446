/* The tokens that end a text. */
#include "base/err.h"
#include "eval/generate.h"

int zf_generation_ends(struct zf_ids *ids, const struct zf_model *model, const struct zf_tok *tok) {
  const struct zf_ids *ends = zf_tok_end_ids(tok, NULL);
  for (int64_t i = 0; i < ends->count; i++) {
    if (ends->id[i] >= model->config.vocab) continue;
    int rc = zf_generation_add_id(ids, ends->id[i]);
    if (rc) return rc;
  }
  return 0;
}
