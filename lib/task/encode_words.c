/* Words at a mask, and numbered labels: the prompt is one whole text, its options one id each. */
#include <string.h>

#include "base/arena.h"
#include "task/encode_internal.h"

/* The id of an option's word, which is one token by itself. */
static int find_word(struct zf_encoder *e, int64_t o) {
  const char *word = e->spec->options[o];
  e->ids.count = 0;
  int rc = zf_tok_encode(e->tok, &e->ids, word, strlen(word), 0);
  if (rc) return rc;
  if (e->ids.count != 1)
    return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is %lld tokens; a masked word is one",
                    (long long)o, word, (long long)e->ids.count);
  e->word[o] = e->ids.id[0];
  for (int64_t i = 0; i < o; i++)
    if (e->word[i] == e->word[o])
      return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is the same token as option %lld",
                      (long long)o, word, (long long)i);
  return 0;
}

int zf_encode_find_words(struct zf_encoder *e) {
  static const char *const mask[] = {"<mask>", "[MASK]"};
  const struct zf_data_spec *s = e->spec;
  int rc = 0;
  e->word = zf_calloc(s->noptions, sizeof *e->word);
  if (!e->word) return ZF_ENOMEM;
  if (s->type == ZF_TASK_LABELS) {
    for (int64_t o = 0; o < s->noptions; o++) e->word[o] = (int32_t)o;
    return 0;
  }
  for (int i = 0; i < 2 && e->mask < 0; i++) e->mask = zf_tok_id(e->tok, mask[i]);
  if (e->mask < 0)
    return zf_error(ZF_EUSAGE, "the tokenizer has no mask token (%s or %s)", mask[0], mask[1]);
  for (int64_t o = 0; !rc && o < s->noptions; o++) rc = find_word(e, o);
  return rc;
}

/* masked, labels: the prompt with all that the tokenizer puts round it, once for each option. */
int zf_encode_whole(struct zf_encoder *e, const json_t *row, struct zf_example *x) {
  struct zf_ids *ids = &e->ids;
  json_t *with = NULL;
  int rc = 0, masks = 0;
  if (e->mask >= 0) { /* the row, and in it what {mask} stands for */
    with = json_copy((json_t *)row);
    if (!with || json_object_set_new(with, "mask", json_string(zf_tok_piece(e->tok, e->mask))))
      rc = zf_error(ZF_ENOMEM, "out of memory");
  }
  zf_buf_clear(&e->text);
  zf_buf_puts(&e->text, "");
  ids->count = 0;
  if (!rc) rc = zf_template_apply(e->prompt, with ? with : row, &e->text);
  if (!rc) rc = zf_tok_encode(e->tok, ids, e->text.data, e->text.len, ZF_ENC_SPECIAL);
  json_decref(with);
  if (rc) return rc;
  for (int64_t i = 0; i < ids->count; i++)
    if (ids->id[i] == e->mask) {
      x->ask = (int32_t)i;
      masks++;
    }
  if (e->mask >= 0 && masks != 1)
    return zf_error(ZF_EINVALID, "expected one mask in the text, found %d", masks);
  if (ids->count < 1) return zf_error(ZF_EINVALID, "the prompt is empty");
  int64_t n = ids->count;
  for (int64_t o = 0; !rc && o < e->spec->noptions; o++) {
    rc = zf_dataset_seq(e->dataset, ids->id, n, n);
    if (!rc) rc = zf_dataset_pool(e->dataset, &e->word[o], 1);
    if (!rc) e->dataset->seq[e->dataset->nseq - 1].len++;
  }
  return rc;
}
