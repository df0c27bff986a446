/* masked and labels: the prompt is one whole text, and an option is one id: a word, or a number. */
#include <string.h>

#include "base/arena.h"
#include "task/encode_internal.h"

/* Finds the id of an option's word, which must be one token. */
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
  encoder->word = zf_calloc(spec->noptions, sizeof *encoder->word);
  if (!encoder->word) return ZF_ENOMEM;
  if (spec->type == ZF_TASK_LABELS) {
    for (int64_t option = 0; option < spec->noptions; option++)
      encoder->word[option] = (int32_t)option;
    return 0;
  }
  encoder->mask = zf_tok_id(encoder->tok, mask_names[0]);
  if (encoder->mask < 0) encoder->mask = zf_tok_id(encoder->tok, mask_names[1]);
  if (encoder->mask < 0)
    return zf_error(ZF_EUSAGE, "the tokenizer has no mask token (%s or %s)", mask_names[0],
                    mask_names[1]);
  for (int64_t option = 0; option < spec->noptions; option++) {
    int rc = find_word(encoder, option);
    if (rc) return rc;
  }
  return 0;
}

/* Renders the prompt and encodes it; in it {mask} is the mask token. */
static int encode_prompt(struct zf_encoder *encoder, const json_t *row) {
  json_t *with_mask = NULL;
  if (encoder->mask >= 0) {
    with_mask = json_copy((json_t *)row);
    json_t *mask = json_string(zf_tok_piece(encoder->tok, encoder->mask));
    if (!with_mask || json_object_set_new(with_mask, "mask", mask)) {
      json_decref(with_mask);
      return zf_error(ZF_ENOMEM, "out of memory");
    }
  }
  zf_buf_clear(&encoder->text);
  zf_buf_puts(&encoder->text, "");
  encoder->ids.count = 0;
  int rc = zf_template_apply(encoder->prompt, with_mask ? with_mask : row, &encoder->text);
  if (!rc)
    rc = zf_tok_encode(encoder->tok, &encoder->ids, encoder->text.data, encoder->text.len,
                       ZF_ENC_SPECIAL);
  json_decref(with_mask);
  return rc;
}

/* Puts the index of the mask into example->ask. */
static int find_mask(const struct zf_encoder *encoder, struct zf_example *example) {
  const struct zf_ids *ids = &encoder->ids;
  int masks = 0;
  if (encoder->mask < 0) return 0;
  for (int64_t i = 0; i < ids->count; i++) {
    if (ids->id[i] != encoder->mask) continue;
    example->mask_distance = (int32_t)i;
    masks++;
  }
  if (masks == 1) return 0;
  return zf_error(ZF_EINVALID, "expected one mask in the text, found %d", masks);
}

/* masked, labels: the prompt with the special tokens of the tokenizer, once for each option. */
int zf_encode_whole(struct zf_encoder *encoder, const json_t *row, struct zf_example *example) {
  struct zf_dataset *dataset = encoder->dataset;
  int rc = encode_prompt(encoder, row);
  if (!rc) rc = find_mask(encoder, example);
  if (rc) return rc;
  int64_t len = encoder->ids.count;
  if (len < 1) return zf_error(ZF_EINVALID, "the prompt is empty");
  for (int64_t option = 0; option < encoder->spec->noptions; option++) {
    rc = zf_dataset_seq(dataset, encoder->ids.id, len, len);
    if (!rc) rc = zf_dataset_pool(dataset, &encoder->word[option], 1);
    if (rc) return rc;
    dataset->seq[dataset->nseq - 1].len++;
  }
  return 0;
}
