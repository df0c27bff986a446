/* Objectives: numbers that are minimised in place of the task's own loss.
 *
 * An objective gives each example a value on each stream of a perturbation.  It reads the example's
 * scores, or a text that the model generates behind the prompt, or the answer of a command; so it need
 * not have a derivative.  The value of an example depends on the weights and that example alone (DESIGN
 * promise 3).  The objective of a batch is the mean over its examples.
 *
 * A row of the table is an objective; a file each: objective_choice.c, objective_text.c,
 * objective_command.c, objective_pair.c, objective_distill.c.
 *
 *   accuracy                 0 where the likeliest option is the right one, else 1
 *   f1, exact_match, rouge_l, bleu
 *                            1 - the metric of the generated text (eval/textmetrics.h), whose maximum over
 *                            the right answers counts
 *   command                  what a process answers
 *   dpo, orpo                losses of preference pairs
 *   distill                  the divergence from a teacher's predictions (eval/distill.h) */
#ifndef ZF_OBJECTIVE_OBJECTIVE_H
#define ZF_OBJECTIVE_OBJECTIVE_H

#include "base/cplusplus.h"
#include "eval/distill.h"
#include "eval/generate.h"
#include "eval/score.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

#define ZF_OBJECTIVE_WORDS "accuracy|f1|exact_match|rouge_l|bleu|command|dpo|orpo|distill"

/* What an objective reads of an example. */
enum zf_objective_needs {
  ZF_NEEDS_SCORES = 1,    /* zf_score_examples */
  ZF_NEEDS_TEXT = 2,      /* a generated text */
  ZF_NEEDS_REFERENCE = 4, /* log-probabilities of a pair under the weights at the start */
  ZF_NEEDS_TEACHER = 8    /* with ZF_NEEDS_SCORES: a teacher's predictions (eval/teacher.h) */
};

/* An example on one stream. */
struct zf_objective_example {
  const struct zf_score *score; /* ZF_NEEDS_SCORES; else NULL */
  int32_t label;                /* the right option */
  const double *reference;      /* [2] ZF_NEEDS_REFERENCE; else NULL */
  const char *prompt, *text;    /* ZF_NEEDS_TEXT; else NULL */
  const char *answers;          /* the right answers, each with its zero, end to end */
  int32_t answer_count;
  const char *path; /* of its file, */
  int64_t line;     /* and its line there, 1-based */
};

struct zf_objective;

struct zf_objective_kind {
  const char *name;
  unsigned needs; /* enum zf_objective_needs */
  unsigned types; /* 1 << enum zf_task_type: those that it suits */
  int piecewise; /* constant except for jumps: two equal losses do not mean that nothing is learned */
  int slope;     /* backpropagation has its derivative */
  /* value[0..count) of the examples, each to be minimised.  Returns 0 or a negative code. */
  int (*values)(struct zf_objective *objective, const struct zf_objective_example *example,
                int64_t count, double *value);
};

/* By name; NULL: no such objective. */
const struct zf_objective_kind *zf_objective_find(const char *name);

struct zf_objective_settings {
  const struct zf_objective_kind *kind; /* NULL: the task's own loss */
  double weight;           /* weight * objective + (1 - weight) * the task's own loss */
  int64_t max_tokens;      /* of a generated text */
  const char *const *stop; /* [nstop] texts that end it */
  int64_t nstop;
  const char *command; /* a shell command line */
  double timeout;      /* seconds that it has for a line */
  double beta;         /* of DPO */
  double lambda;       /* of ORPO */
  const char *teacher; /* a model, or a file of its predictions */
  int64_t top_k;       /* most listed tokens of a row; an opened file decides */
  double temperature;  /* of both models' predictions; an opened file decides */
};
enum { ZF_DISTILL_TOP_K = 64 };

/* ZF_EUSAGE where the objective does not suit the type of the data; the message names both. */
int zf_objective_check(const struct zf_objective_settings *settings,
                       const struct zf_data_spec *spec);

/* The sets that an objective evaluates, and how many examples at once. */
struct zf_objective_room {
  const struct zf_dataset *const *set; /* [sets]; entries may be NULL */
  int sets;
  int64_t slots;
  int64_t rows; /* of a pass on all streams */
  enum zf_compute compute;
  const struct zf_teacher
      *teacher; /* its sets are `set`, which has ZF_TEACHER_SETS entries; NULL: none */
};

/* Bytes of zf_objective_open, for forecasts; references have two doubles an example. */
int64_t zf_objective_bytes(const struct zf_objective_settings *settings,
                           const struct zf_model *model, const struct zf_objective_room *room);

/* Opens an objective; its process starts with the first example.  Settings, model and tokenizer outlive it. */
int zf_objective_open(struct zf_objective **out, const struct zf_objective_settings *settings,
                      const struct zf_model *model, const struct zf_tok *tok,
                      const struct zf_objective_room *room);
void zf_objective_free(struct zf_objective *objective); /* takes NULL */

/* `stopped` ends the wait for a process with ZF_ESTOPPED. */
void zf_objective_watch(struct zf_objective *objective, int (*stopped)(void *ctx), void *ctx);

/* What compares passes with the teacher; NULL: no teacher.  Owned by the objective. */
struct zf_distill *zf_objective_distill(const struct zf_objective *objective);

/* Keeps the references of a set, which outlives the objective: log-probabilities under the weights as
 * they are now. */
int zf_objective_refer(struct zf_objective *objective, struct zf_scorer *scorer,
                       const struct zf_dataset *dataset);

/* value[s*count + i] of the examples index[0..count), at most room.slots of them, on stream s of
 * `perturb`.  score: their scores in that order; NULL without ZF_NEEDS_SCORES. */
int zf_objective_values(struct zf_objective *objective, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t count, const struct zf_perturb *perturb,
                        const struct zf_score *score, double *value);

/* Mean over a set with the weights as they are; NaN: the objective cannot be had for this set, because
 * its references are not known. */
int zf_objective_mean(double *mean, struct zf_objective *objective, struct zf_scorer *scorer,
                      const struct zf_dataset *dataset);

/* Tokens that were read and generated so far. */
int64_t zf_objective_tokens(const struct zf_objective *objective);

ZF_END_DECLS

#endif
