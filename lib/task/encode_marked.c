/* Texts in which stretches are targets: conversations, instructions, labelled segments. */
#include <stdio.h>
#include <string.h>

#include "task/encode_internal.h"

static int mark_text(struct zf_encoder *encoder, const json_t *row, int64_t part, int64_t *parts) {
  const struct zf_data_spec *spec = encoder->spec;
  zf_buf_clear(&encoder->text);
  encoder->spans.count = 0;
  *parts = 0;
  if (spec->type == ZF_TASK_CHAT)
    return zf_chat_row(spec->chat, &spec->fields, row, part, &encoder->text, &encoder->spans,
                       parts);
  struct zf_alpaca alpaca = {&spec->fields, encoder->prompt, encoder->body};
  return spec->type == ZF_TASK_ALPACA ? zf_alpaca_row(&alpaca, row, &encoder->text, &encoder->spans)
                                      : zf_segments_row(row, &encoder->text, &encoder->spans);
}

/* Marks the tokens that overlap a stretch; both lists ascend.  Returns the first one. */
static int64_t mark_tokens(struct zf_encoder *encoder, unsigned char *mask) {
  const struct zf_ids *ids = &encoder->ids;
  const struct zf_text_spans *spans = &encoder->spans;
  int64_t first = ids->count, span = 0;
  for (int64_t token = 0; token < ids->count; token++) {
    while (span < spans->count && ids->begin[token] >= spans->span[span].to) span++;
    int overlaps =
        ids->begin[token] >= 0 && span < spans->count && ids->end[token] > spans->span[span].from;
    mask[token] = encoder->spec->train_on_inputs || overlaps;
    if (mask[token] && first == ids->count) first = token;
  }
  return first;
}

/* Remembers which role ends a conversation in which the assistant says nothing. */
static void note_role(struct zf_encoder *encoder, const json_t *row) {
  struct zf_dataset *dataset = encoder->dataset;
  json_t *messages;
  if (encoder->spans.count || dataset->last_role[0]) return;
  if (zf_messages_row(&messages, &encoder->spec->fields, row)) return;
  const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
  const char *role = json_string_value(json_object_get(last, "role"));
  if (role && strcmp(role, "assistant"))
    snprintf(dataset->last_role, sizeof dataset->last_role, "%s", role);
  json_decref(messages);
}

/* The template of a chat writes its own BOS; an Alpaca text gets that of the tokenizer. */
int zf_encode_marked(struct zf_encoder *encoder, const json_t *row, int64_t part, int64_t *parts) {
  struct zf_dataset *dataset = encoder->dataset;
  int alpaca = encoder->spec->type == ZF_TASK_ALPACA;
  int64_t len = 0;
  int rc = mark_text(encoder, row, part, parts);
  if (!rc && encoder->spec->type == ZF_TASK_CHAT) note_role(encoder, row);
  encoder->ids.count = 0;
  if (!rc && alpaca)
    rc = zf_encode_text(encoder, &len);
  else if (!rc)
    rc = zf_tok_encode(encoder->tok, &encoder->ids, encoder->text.data, encoder->text.len,
                       ZF_ENC_OFFSETS);
  len = encoder->ids.count;
  if (!rc) rc = zf_dataset_mask(dataset, dataset->pool.count + len + 1);
  if (rc) return rc;
  unsigned char *mask = dataset->mask + dataset->pool.count;
  int64_t first = mark_tokens(encoder, mask);
  rc = zf_dataset_seq(dataset, encoder->ids.id, len, first);
  if (rc || !alpaca || !encoder->spec->add_eos) return rc;
  mask[len] = 1;
  return zf_encode_eos(encoder);
}
