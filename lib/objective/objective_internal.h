/* Shared by the files of the objectives. */
#ifndef ZF_OBJECTIVE_OBJECTIVE_INTERNAL_H
#define ZF_OBJECTIVE_OBJECTIVE_INTERNAL_H

#include "base/child.h"
#include "objective/objective.h"

/* Texts behind the prompts of the examples that are evaluated at once. */
struct zf_objective_texts {
  struct zf_decoder *decoder;
  struct zf_ids ends;
  struct zf_text *text;           /* [slots] */
  struct zf_buf *prompt, *answer; /* [slots] the prompt's text; the right completion's */
  int64_t slots;
};

/* References of a set: [count][2]. */
struct zf_objective_references {
  const struct zf_dataset *dataset;
  double *pair;
};

enum { ZF_OBJECTIVE_SETS = 3 };

struct zf_objective {
  const struct zf_objective_settings *settings;
  const struct zf_model *model;
  const struct zf_tok *tok;
  int64_t slots;
  struct zf_objective_example *example; /* [slots] */
  double *value;                        /* [slots] of zf_objective_mean */
  struct zf_score *score;               /* [slots] of zf_objective_mean */
  struct zf_objective_texts texts;
  struct zf_objective_references references[ZF_OBJECTIVE_SETS];
  struct zf_distill *distill; /* NULL: no teacher */
  struct zf_child *child;
  int64_t lines; /* that the process has answered */
  int (*stopped)(void *ctx);
  void *stopped_ctx;
};

extern const struct zf_objective_kind zf_objective_accuracy, zf_objective_f1,
    zf_objective_exact_match, zf_objective_rouge_l, zf_objective_bleu, zf_objective_command,
    zf_objective_dpo, zf_objective_orpo, zf_objective_distill_kind;

/* --- objective_generate.c --- */

int64_t zf_objective_texts_bytes(const struct zf_objective_settings *settings,
                                 const struct zf_model *model,
                                 const struct zf_objective_room *room);
int zf_objective_texts_open(struct zf_objective *objective, const struct zf_objective_room *room);
void zf_objective_texts_free(struct zf_objective_texts *texts);

/* Prompts and right answers of the examples index[0..count) as texts. */
int zf_objective_read(struct zf_objective *objective, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count);

/* Continues the prompts on the only stream of `perturb`. */
int zf_objective_generate(struct zf_objective *objective, const struct zf_dataset *dataset,
                          const int64_t *index, int64_t count, const struct zf_perturb *perturb);

#endif
