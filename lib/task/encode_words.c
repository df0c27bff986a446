/* Words at a mask, and numbered labels: the prompt is one whole text, its options one id each. */
#include <string.h>

#include "base/arena.h"
#include "task/encode_internal.h"

/* The id of an option's word, which is one token by itself. */
static int find_word(struct zf_encoder *encoder, int64_t option) {
  const char *word = encoder->spec->options[option];
  encoder->ids.count = 0;
  int rc = zf_tok_encode(encoder->tok, &encoder->ids, word, strlen(word), 0);
  if (rc) return rc;
  if (encoder->ids.count != 1)
    return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is %lld tokens; a masked word is one",
                    (long long)option, word, (long long)encoder->ids.count);
  encoder->word[option] = encoder->ids.id[0];
  for (int64_t i = 0; i < option; i++)
    if (encoder->word[i] == encoder->word[option])
      return zf_error(ZF_EUSAGE, "options[%lld]: '%s' is the same token as option %lld",
                      (long long)option, word, (long long)i);
  return 0;
}

int zf_encode_find_words(struct zf_encoder *encoder) {
  static const char *const mask_names[] = {"<mask>", "[MASK]"};
  const struct zf_data_spec *spec = encoder->spec;
  int rc = 0;
  encoder->word = zf_calloc(spec->noptions, sizeof *encoder->word);
  if (!encoder->word) return ZF_ENOMEM;
  if (spec->type == ZF_TASK_LABELS) {
    for (int64_t option = 0; option < spec->noptions; option++)
      encoder->word[option] = (int32_t)option;
    return 0;
  }
  for (int i = 0; i < 2 && encoder->mask < 0; i++)
    encoder->mask = zf_tok_id(encoder->tok, mask_names[i]);
  if (encoder->mask < 0)
    return zf_error(ZF_EUSAGE, "the tokenizer has no mask token (%s or %s)", mask_names[0],
                    mask_names[1]);
  for (int64_t option = 0; !rc && option < spec->noptions; option++)
    rc = find_word(encoder, option);
  return rc;
}

/* masked, labels: the prompt with all that the tokenizer puts round it, once for each option. */
int zf_encode_whole(struct zf_encoder *encoder, const json_t *row, struct zf_example *example) {
  struct zf_ids *ids = &encoder->ids;
  json_t *row_with_mask = NULL;
  int rc = 0, masks = 0;
  if (encoder->mask >= 0) { /* the row, and in it what {mask} stands for */
    row_with_mask = json_copy((json_t *)row);
    if (!row_with_mask ||
        json_object_set_new(row_with_mask, "mask",
                            json_string(zf_tok_piece(encoder->tok, encoder->mask))))
      rc = zf_error(ZF_ENOMEM, "out of memory");
  }
  zf_buf_clear(&encoder->text);
  zf_buf_puts(&encoder->text, "");
  ids->count = 0;
  if (!rc)
    rc = zf_template_apply(encoder->prompt, row_with_mask ? row_with_mask : row, &encoder->text);
  if (!rc)
    rc = zf_tok_encode(encoder->tok, ids, encoder->text.data, encoder->text.len, ZF_ENC_SPECIAL);
  json_decref(row_with_mask);
  if (rc) return rc;
  for (int64_t i = 0; i < ids->count; i++)
    if (ids->id[i] == encoder->mask) {
      example->ask = (int32_t)i;
      masks++;
    }
  if (encoder->mask >= 0 && masks != 1)
    return zf_error(ZF_EINVALID, "expected one mask in the text, found %d", masks);
  if (ids->count < 1) return zf_error(ZF_EINVALID, "the prompt is empty");
  int64_t len = ids->count;
  for (int64_t option = 0; !rc && option < encoder->spec->noptions; option++) {
    rc = zf_dataset_seq(encoder->dataset, ids->id, len, len);
    if (!rc) rc = zf_dataset_pool(encoder->dataset, &encoder->word[option], 1);
    if (!rc) encoder->dataset->seq[encoder->dataset->nseq - 1].len++;
  }
  return rc;
}
