/* Data sets as token sequences with targets.
 *
 * A row of a file becomes an example: one or more sequences of token ids, each with the index of its
 * first target.  All tokens from there to the end are targets:
 *
 *   classification   a sequence for each option: prompt + option; the option is the target
 *                    (METHODS 4: length(prompt + option) - length(prompt) tokens)
 *   completion       prompt + completion [+ EOS]; the completion is the target
 *   preference       prompt + chosen, prompt + rejected [+ EOS], which are compared
 *   text             the text [+ EOS]; everything after the first token is a target
 *   chat, alpaca, input_output
 *                    a text with target stretches (chat.h, fields.h); a token that overlaps one is a
 *                    target, and so is the EOS that ends an Alpaca answer
 *   masked           a prompt with {mask} in it, and for each option a word of one token that may
 *                    stand there (LM-BFF, Gao et al. 2021; METHODS 4): for masked models
 *   labels           a prompt, and a head of the model that has a row for each option.  One option is
 *                    right, or any number of them, or the head's outputs are numbers
 *
 * For masked and labels the prompt is encoded with the special tokens that the tokenizer puts around a
 * text.  An option's sequence is the prompt and its target: the word's id, or the option's number.
 *
 * A completion may have several right answers, which are kept as texts (objectives over generated text).
 *
 * Sequences of one example share their first `shared` tokens, which are run once. */
#ifndef ZF_TASK_DATASET_H
#define ZF_TASK_DATASET_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/problem.h"
#include "fmt/records.h"
#include "task/chat.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

enum zf_task_type {
  ZF_TASK_CLASSIFICATION,
  ZF_TASK_COMPLETION,
  ZF_TASK_MASKED,
  ZF_TASK_LABELS,
  ZF_TASK_PREFERENCE, /* a choice of two, of which the first is right */
  ZF_TASK_TEXT,
  ZF_TASK_CHAT, /* from here on: a text with target stretches */
  ZF_TASK_ALPACA,
  ZF_TASK_SEGMENTS
};
/* Their names in a config, in the order of the enum. */
#define ZF_TASK_TYPES                                                                              \
  "classification|completion|masked|labels|preference|text|chat|alpaca|input_output"

/* Does an example of the set choose one of several options? */
struct zf_dataset;
int zf_dataset_has_options(const struct zf_dataset *dataset);

/* Does an example of this type choose one of several options? */
int zf_task_has_options(enum zf_task_type type);

/* What happens to an example of more than sequence_len tokens. */
enum zf_excess {
  ZF_EXCESS_TRUNCATE, /* classification, completion: the prompt loses its beginning, but not a BOS;
                         masked, labels: the same, or its end when the mask is nearer to the beginning;
                         others: the end is cut */
  ZF_EXCESS_DROP,
  ZF_EXCESS_RAISE, /* an error */
  ZF_EXCESS_SPLIT, /* text: cut into parts of sequence_len; others: as truncate */
};

/* How rows become examples.  Texts are templates (template.h). */
struct zf_data_spec {
  enum zf_task_type type;
  const char *prompt;         /* all but text */
  const char *completion;     /* completion: default "{completion}" */
  const char *text;           /* text: default "{text}" */
  const char *const *options; /* one for each label: classification: a template; masked: a word;
                                 labels: a name; preference: templates of the chosen and the rejected
                                 text */
  int64_t noptions;
  enum zf_problem problem;   /* labels: what the outputs mean */
  int problem_given;         /* the config says so */
  const char *label;         /* classification: the field; default "label" */
  const char *const *labels; /* values of the field in the order of options; NULL: 0, 1, 2, ... */
  int64_t nlabels;
  int train_on_inputs;        /* completion, chat and the like: the prompt is a target as well */
  int add_eos;                /* completion, text, alpaca: an EOS token ends the target */
  const struct zf_chat *chat; /* chat: the template */
  struct zf_fields fields;    /* alpaca, chat: names of fields */
  const char *answers;        /* completion: the field of the right answers; NULL: none */
  int unlabelled;             /* rows have no label that is read: a prediction is wanted */
  int64_t sequence_len;
  int64_t vocab; /* of the model: a token id beyond it is an error; 0: not checked */
  enum zf_excess excess;
};

struct zf_seq {
  int64_t at; /* index of its first id in the pool */
  int32_t len, target;
  float gold; /* several labels: 1 or 0; regression: the number that the output should be */
};

struct zf_example {
  int64_t seq; /* its first sequence */
  int32_t nseq;
  int32_t label;  /* the right option; -1: options are not chosen from */
  int32_t shared; /* leading tokens that all its sequences have in common, run once */
  int32_t single; /* every option is one token behind the same prompt */
  int32_t
      mask_distance; /* single: distance of the token whose logits decide from the prompt's last token */
  int32_t file;
  int64_t line;    /* of the file, 1-based */
  int64_t answer;  /* place of its first answer in the set's answers */
  int32_t answers; /* right answers as texts; 0: the target alone is one */
};

/* In a stream: of all rows encoded so far, each as often as it was. */
struct zf_data_counts {
  int64_t rows, examples, truncated, dropped, split;
  int64_t masked; /* examples without any target; they are left out */
  int64_t
      letters_meet; /* rows in which a letter of the option or completion follows one of the prompt */
  int64_t separated;                    /* conversations whose answers are an example each */
  int64_t cut;                          /* tokens lost to truncation */
  int64_t tokens, targets, pass_tokens; /* run: tokens of a forward pass, shared ones once */
  int64_t ends; /* targets at which generation stops: the end of a text or a turn */
};

/* A set that is larger than memory: rows are known by number, and only a few are encoded at a time. */
struct zf_dataset;
struct zf_row_reader {
  int64_t count;                 /* rows */
  int64_t sequence_len, options; /* upper bounds of every example */
  int (*encode)(void *ctx, struct zf_dataset *dataset, int64_t row); /* adds what the row becomes */
  void *ctx;
  struct zf_dataset *dataset; /* the set */
};

struct zf_dataset {
  enum zf_task_type type;
  enum zf_problem problem;      /* of type labels */
  struct zf_row_reader *stream; /* NULL: all examples are held; not owned */
  struct zf_example *example;
  int64_t count, cap;
  struct zf_seq *seq;
  int64_t nseq, seqcap;
  struct zf_ids pool;
  unsigned char *mask; /* [pool] is it a target?  NULL: all tokens from `target` on are */
  int64_t maskcap;
  struct zf_buf answers; /* the answers of all examples, each with its zero, end to end */
  char **path;
  int32_t nfile;
  int64_t options;    /* the largest number of an example */
  char last_role[48]; /* of the last message of the first conversation without an answer */
  struct zf_data_counts counts;
};

/* An empty set; rows are added to it. */
int zf_dataset_new(struct zf_dataset **out, enum zf_task_type type);
void zf_dataset_free(struct zf_dataset *dataset); /* takes NULL */

/* Adds a file that examples come from; its number is nfile - 1 afterwards. */
int zf_dataset_file(struct zf_dataset *dataset, const char *path);

/* Turns rows into examples by one spec; its buffers are reused for every row.  The spec and the tokenizer
 * must outlive it.  zf_encoder_new: ZF_EUSAGE, a template or option list is wrong. */
struct zf_encoder;
int zf_encoder_new(struct zf_encoder **out, const struct zf_data_spec *spec,
                   const struct zf_tok *tok);
void zf_encoder_free(struct zf_encoder *encoder); /* takes NULL */

/* Encodes row `index` of `records`, which are file number `file` of the set, and adds its examples: one,
 * several when it is split, or none.  ZF_EINVALID: "PATH:LINE: ..." as below. */
int zf_encoder_add(struct zf_encoder *encoder, struct zf_dataset *dataset, int32_t file,
                   struct zf_records *records, int64_t index);

/* Encodes the rows index[0..count) of `records` (index NULL: all rows) and adds them.
 * ZF_EUSAGE: a template or option list is wrong.  ZF_EINVALID, "PATH:LINE: ...": a field is missing, a
 * label is out of range, an example is too long under ZF_EXCESS_RAISE. */
int zf_dataset_add(struct zf_dataset *dataset, struct zf_records *records, const int64_t *index,
                   int64_t count, const struct zf_data_spec *spec, const struct zf_tok *tok);

/* The number of examples; in a stream the number of rows, of which some may become no example. */
int64_t zf_dataset_size(const struct zf_dataset *dataset);

/* Encodes the rows row[0..count) of a stream; they replace the examples of its set, whose memory is
 * reused.  example[i] is the first example of row[i], -1 when it became none; `example` may be NULL. */
int zf_row_reader_load(struct zf_row_reader *rows, const int64_t *row, int64_t count,
                       int64_t *example);

/* Removes all examples; memory and counts stay. */
void zf_dataset_clear(struct zf_dataset *dataset);

/* Removes every example i with remove[i] from a set that is no stream, and from its counts except `rows`. */
void zf_dataset_remove(struct zf_dataset *dataset, const char *remove);

/* ZF_EINVALID: the set has no example, or no target in any.  what: the name of the set in the message. */
int zf_dataset_check(const struct zf_dataset *dataset, const char *what);

/* The first target of a sequence at `token` or after it; seq->len: there is none.  Every loop over targets
 * (packing, summing, counting) uses this function:
 *
 *   for (t = zf_seq_next_target(dataset, seq, 0); t < seq->len;
 *        t = zf_seq_next_target(dataset, seq, t + 1)) */
int64_t zf_seq_next_target(const struct zf_dataset *dataset, const struct zf_seq *seq,
                           int64_t token);

/* The number of targets of a sequence; is token t >= 1 a target? */
int64_t zf_seq_targets(const struct zf_dataset *dataset, const struct zf_seq *seq);
int zf_seq_is_target(const struct zf_dataset *dataset, const struct zf_seq *seq, int64_t token);

/* Tokens that a forward pass over an example runs; output rows that its loss needs; its targets. */
int64_t zf_example_tokens(const struct zf_dataset *dataset, int64_t index);
int64_t zf_example_rows(const struct zf_dataset *dataset, int64_t index);
int64_t zf_example_targets(const struct zf_dataset *dataset, int64_t index);

ZF_END_DECLS

#endif
