/* What the files that turn rows into examples share. */
#ifndef ZF_TASK_ENCODE_INTERNAL_H
#define ZF_TASK_ENCODE_INTERNAL_H

#include "task/dataset.h"
#include "task/template.h"

/* A spec with its templates parsed, and buffers that are used again for every row. */
struct zf_encoder {
  const struct zf_data_spec *spec;
  const struct zf_tok *tok;
  struct zf_dataset *dataset; /* of the row at hand */
  struct zf_template *prompt, *body, **option;
  struct zf_buf text;
  struct zf_ids ids;
  struct zf_text_spans spans;
  int joined;          /* of the row at hand: a prompt and what follows it meet letter to letter */
  int32_t mask, *word; /* masked: the mask's id, and of each option's word; labels: 0, 1, ... */
};

/* --- dataset.c: growing --- */

/* Appends ids to the pool; a sequence of them. */
int zf_dataset_pool(struct zf_dataset *dataset, const int32_t *id, int64_t count);
int zf_dataset_seq(struct zf_dataset *dataset, const int32_t *id, int64_t count, int64_t target);
/* A sequence over ids that the pool has. */
int zf_dataset_slice(struct zf_dataset *dataset, struct zf_seq seq);
/* What the sequences of an example share; the example with all that it counts. */
void zf_dataset_shared(const struct zf_dataset *dataset, struct zf_example *example);
int zf_dataset_keep(struct zf_dataset *dataset, const struct zf_example *example);
/* Room in the mask for n tokens of the pool in all. */
int zf_dataset_mask(struct zf_dataset *dataset, int64_t count);

/* --- encode.c --- */

/* Encodes e->text into e->ids with what the tokenizer puts before it; an EOS that it puts behind
 * every text is left off, for a prompt goes on and `add_eos` decides about the end. */
int zf_encode_text(struct zf_encoder *encoder, int64_t *count);

/* The number of the label that v names. */
int zf_encode_label(const struct zf_encoder *encoder, const json_t *value, const char *key,
                    int32_t *label);

/* labels that are no choice of one: a list of labels, or a number for each output (encode_outputs.c). */
int zf_encode_outputs(struct zf_encoder *encoder, const json_t *row, struct zf_example *example);

/* --- encode_words.c: masked, labels --- */

int zf_encode_find_words(struct zf_encoder *encoder);
int zf_encode_whole(struct zf_encoder *encoder, const json_t *row, struct zf_example *example);

/* --- encode_marked.c: texts with target stretches --- */

/* Text k of the row; *parts: how many it becomes where that is not one (zf_chat_row), else 0. */
int zf_encode_marked(struct zf_encoder *encoder, const json_t *row, int64_t part, int64_t *parts);

/* --- encode_fit.c --- */

/* Brings the example within sequence_len and adds it, whole, cut, in pieces or not at all. */
int zf_encode_fit(struct zf_encoder *encoder, struct zf_example *example);

#endif
