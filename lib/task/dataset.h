/* Data sets as token sequences with targets.
 *
 * A row of a file becomes an example; an example is one or more sequences of token ids, each
 * with the index of its first target (all tokens from there to the end are targets):
 *
 *   classification   a sequence for each option: prompt + option; the option is the target
 *                    (METHODS 4: length(prompt + option) - length(prompt) tokens)
 *   completion       prompt + completion [+ EOS]; the completion is the target
 *   text             the text [+ EOS]; everything after the first token is a target
 *   chat, alpaca, input_output
 *                    a text with target stretches (chat.h); tokens that reach into one are
 *                    targets, and the EOS that ends an Alpaca answer
 *   masked           a prompt with {mask} in it, and for each option a word of one token that may
 *                    stand there (LM-BFF, Gao et al. 2021; METHODS 4): for masked models
 *   labels           a prompt, and a head of the model that has a row for each option; of the
 *                    options one is right, or any number of them, or the head's outputs are numbers
 *
 * Of the last two the prompt is encoded with all that the tokenizer puts round a text; an option's
 * sequence is the prompt and, as its target, the word's id or the option's number.
 *
 * Sequences of one example share their first `shared` tokens, which are run once. */
#ifndef ZF_TASK_DATASET_H
#define ZF_TASK_DATASET_H

#include <stdint.h>

#include "fmt/problem.h"
#include "fmt/records.h"
#include "task/chat.h"
#include "text/tokenizer.h"

enum zf_task_type {
  ZF_TASK_CLASSIFICATION,
  ZF_TASK_COMPLETION,
  ZF_TASK_MASKED,
  ZF_TASK_LABELS,
  ZF_TASK_TEXT,
  ZF_TASK_CHAT, /* from here on: a text with target stretches */
  ZF_TASK_ALPACA,
  ZF_TASK_SEGMENTS
};
/* In that order. */
#define ZF_TASK_TYPES "classification|completion|masked|labels|text|chat|alpaca|input_output"

/* Does the set's example choose one of several options? */
struct zf_dataset;
int zf_dataset_chooses(const struct zf_dataset *dataset);

/* Does an example of this type choose one of several options? */
int zf_task_chooses(enum zf_task_type type);

/* What is done with an example of more than sequence_len tokens. */
enum zf_excess {
  ZF_EXCESS_TRUNCATE, /* classification, completion: the prompt loses its beginning (a BOS stays);
                         masked, labels: that, or its end where the mask is nearer to the beginning;
                         text: the end is cut */
  ZF_EXCESS_DROP,
  ZF_EXCESS_RAISE, /* an error */
  ZF_EXCESS_SPLIT, /* text: cut into pieces of sequence_len; others: as truncate */
};

/* How rows become examples.  Texts are templates (template.h). */
struct zf_data_spec {
  enum zf_task_type type;
  const char *prompt;         /* all but text */
  const char *completion;     /* completion: default "{completion}" */
  const char *text;           /* text: default "{text}" */
  const char *const *options; /* one for each label: classification: a template; masked: a word;
                                 labels: a name */
  int64_t noptions;
  enum zf_problem problem;   /* labels: what they mean */
  int problem_given;         /* the config says so */
  const char *label;         /* classification: the field; default "label" */
  const char *const *labels; /* values of the field in the order of options; NULL: 0, 1, 2, ... */
  int64_t nlabels;
  int train_on_inputs;        /* completion: the prompt is a target as well */
  int add_eos;                /* completion, text, alpaca: an EOS token ends the target */
  const struct zf_chat *chat; /* chat: the template */
  struct zf_fields fields;    /* alpaca, chat: names of fields */
  int64_t sequence_len;
  int64_t vocab; /* of the model: a token beyond it is an error; 0: not known */
  enum zf_excess excess;
};

struct zf_seq {
  int64_t at; /* of its first id in the pool */
  int32_t len, target;
  float gold; /* labels that are no choice of one: what its logit should be: 1 or 0, or a number */
};

struct zf_example {
  int64_t seq; /* its first sequence */
  int32_t nseq;
  int32_t label;  /* where options are chosen from; -1 elsewhere */
  int32_t shared; /* tokens that all its sequences begin with and that are run once */
  int32_t single; /* every option is one token behind the same prompt */
  int32_t ask;    /* single: the row of logits that decides is so many tokens before the prompt's
                     last one */
  int32_t file;
  int64_t line; /* of the file, 1-based */
};

/* Of a stream: of all that was encoded so far, rows as often as they were. */
struct zf_data_counts {
  int64_t rows, examples, truncated, dropped, split;
  int64_t masked; /* examples without any target, which are left out */
  int64_t joined; /* rows whose prompt and option (completion) meet letter to letter */
  int64_t apart;  /* conversations of which each answer is an example of its own */
  int64_t cut;    /* tokens lost to truncation */
  int64_t tokens, targets, run; /* tokens in all, targets, tokens that are run */
  int64_t ends; /* targets that end a text or a turn: tokens that generation stops at */
};

/* A set that is larger than memory: its rows are known by number, and a few of them are examples at
 * any one time. */
struct zf_dataset;
struct zf_row_reader {
  int64_t count;                                                     /* rows */
  int64_t sequence_len, options;                                     /* that no example exceeds */
  int (*encode)(void *ctx, struct zf_dataset *dataset, int64_t row); /* adds what the row becomes */
  void *ctx;
  struct zf_dataset *dataset; /* the set */
};

struct zf_dataset {
  enum zf_task_type type;
  enum zf_problem problem;      /* of type labels */
  struct zf_row_reader *stream; /* NULL: all examples are held; not owned */
  struct zf_example *ex;
  int64_t count, cap;
  struct zf_seq *seq;
  int64_t nseq, seqcap;
  struct zf_ids pool;
  unsigned char *mask; /* of the pool, chat and the like: is a target; NULL: all behind `target` */
  int64_t maskcap;
  char **path;
  int32_t nfile;
  int64_t options; /* most options of an example */
  struct zf_data_counts counts;
};

/* An empty set; rows are added to it. */
int zf_dataset_new(struct zf_dataset **out, enum zf_task_type type);
void zf_dataset_free(struct zf_dataset *dataset); /* takes NULL */

/* Names a file that examples come from: number nfile - 1 afterwards. */
int zf_dataset_file(struct zf_dataset *dataset, const char *path);

/* What turns rows of one kind into examples; its buffers are used again for every row.  The spec and
 * the tokenizer outlive it.  _new: ZF_EUSAGE, a template or option list is wrong. */
struct zf_encoder;
int zf_encoder_new(struct zf_encoder **out, const struct zf_data_spec *spec,
                   const struct zf_tok *tok);
void zf_encoder_free(struct zf_encoder *encoder); /* takes NULL */

/* Adds what row i of `r`, file number `file` of the set, becomes: an example, several when it is
 * split, or none.  ZF_EINVALID: "PATH:LINE: ..." as below. */
int zf_encoder_add(struct zf_encoder *encoder, struct zf_dataset *dataset, int32_t file,
                   struct zf_records *records, int64_t index);

/* Encodes rows index[0..n) (NULL: all of them) of `r` and adds them.
 * ZF_EUSAGE: a template or option list is wrong.  ZF_EINVALID: "PATH:LINE: ..." a field is missing,
 * a label is out of range, an example is too long under ZF_EXCESS_RAISE. */
int zf_dataset_add(struct zf_dataset *dataset, struct zf_records *records, const int64_t *index,
                   int64_t count, const struct zf_data_spec *spec, const struct zf_tok *tok);

/* Examples of a set; of a stream its rows, of which some may give none. */
int64_t zf_dataset_size(const struct zf_dataset *dataset);

/* Makes rows row[0..n) of a stream the examples of its set, instead of those before; the memory is
 * used again.  at[k] is the example of row[k], -1 when it gave none; `at` may be NULL. */
int zf_row_reader_load(struct zf_row_reader *rows, const int64_t *row, int64_t count,
                       int64_t *example);

/* No examples, with the memory and counts of those before. */
void zf_dataset_clear(struct zf_dataset *dataset);

/* Takes examples i with out[i] out of a set that is held, and out of its counts but `rows`. */
void zf_dataset_remove(struct zf_dataset *dataset, const char *remove);

/* ZF_EINVALID when there is nothing to learn from: no example, or no target in any. */
int zf_dataset_check(const struct zf_dataset *dataset, const char *what);

/* The first target of a sequence at its token t or after; s->n: none is left.  Whoever walks the
 * targets, to pack rows, to sum them or to count them, walks them by this function:
 *
 *   for (t = zf_seq_next_target(d, s, 0); t < s->n; t = zf_seq_next_target(d, s, t + 1)) */
int64_t zf_seq_next_target(const struct zf_dataset *dataset, const struct zf_seq *seq,
                           int64_t token);

/* Targets of a sequence, and whether its token t >= 1 is one. */
int64_t zf_seq_targets(const struct zf_dataset *dataset, const struct zf_seq *seq);
int zf_seq_is_target(const struct zf_dataset *dataset, const struct zf_seq *seq, int64_t token);

/* Tokens that a forward pass over example i runs, and output rows that its loss needs. */
int64_t zf_example_tokens(const struct zf_dataset *dataset, int64_t index);
int64_t zf_example_rows(const struct zf_dataset *dataset, int64_t index);
int64_t zf_example_targets(const struct zf_dataset *dataset, int64_t index);

#endif
