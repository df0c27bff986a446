/* What the files that turn rows into examples share. */
#ifndef ZF_TASK_ENCODE_INTERNAL_H
#define ZF_TASK_ENCODE_INTERNAL_H

#include "task/dataset.h"
#include "task/template.h"

/* A spec with its templates parsed, and buffers that are reused for every row. */
struct zf_encoder {
  const struct zf_data_spec *spec;
  const struct zf_tok *tok;
  struct zf_dataset *dataset; /* of the current row */
  struct zf_template *prompt, *body, **option;
  struct zf_buf text;
  struct zf_ids ids;
  struct zf_text_spans spans;
  int letters_meet; /* in the current row a letter follows a letter where the prompt ends */
  int32_t mask;     /* masked: the id of the mask; else -1 */
  int32_t *word;    /* [options] masked: id of the word; labels: 0, 1, ...; NULL: other types */
};

/* --- dataset.c: growing --- */

/* Appends ids to the pool; the same, and a sequence over them. */
int zf_dataset_pool(struct zf_dataset *dataset, const int32_t *id, int64_t count);
int zf_dataset_seq(struct zf_dataset *dataset, const int32_t *id, int64_t count, int64_t target);
/* Appends a sequence over ids that are in the pool. */
int zf_dataset_slice(struct zf_dataset *dataset, struct zf_seq seq);
/* Sets shared, ask and single of an example; appends it and counts it. */
void zf_dataset_shared(const struct zf_dataset *dataset, struct zf_example *example);
int zf_dataset_keep(struct zf_dataset *dataset, const struct zf_example *example);
/* Makes the mask hold `count` tokens of the pool. */
int zf_dataset_mask(struct zf_dataset *dataset, int64_t count);

/* --- encode.c --- */

/* Encodes encoder->text into encoder->ids with the special tokens that the tokenizer puts before a text.
 * An EOS that it puts behind every text is left out: a prompt has a continuation, and `add_eos` decides
 * about the end. */
int zf_encode_text(struct zf_encoder *encoder, int64_t *count);

/* Makes the last sequence of the set one token longer: an EOS. */
int zf_encode_eos(struct zf_encoder *encoder);

/* The number of the label that a value of field `key` names.  ZF_EINVALID. */
int zf_encode_label(const struct zf_encoder *encoder, const json_t *value, const char *key,
                    int32_t *label);

/* labels, multi-label and regression: a list of labels, or a number for each output (encode_outputs.c). */
int zf_encode_outputs(struct zf_encoder *encoder, const json_t *row, struct zf_example *example);

/* --- encode_words.c: masked, labels --- */

int zf_encode_find_words(struct zf_encoder *encoder);
int zf_encode_whole(struct zf_encoder *encoder, const json_t *row, struct zf_example *example);

/* --- encode_answers.c --- */

/* Keeps the right answers of the row: a text, a list of texts, or SQuAD's {"text": [...]}.  ZF_EINVALID. */
int zf_encode_answers(struct zf_encoder *encoder, const json_t *row, struct zf_example *example);

/* --- encode_marked.c: texts with target stretches --- */

/* Text `part` of the row; *parts: how many texts the row becomes, 0: one (zf_chat_row). */
int zf_encode_marked(struct zf_encoder *encoder, const json_t *row, int64_t part, int64_t *parts);

/* --- encode_fit.c --- */

/* Brings the example within sequence_len and adds it: whole, cut, in several parts, or not at all. */
int zf_encode_fit(struct zf_encoder *encoder, struct zf_example *example);

#endif
