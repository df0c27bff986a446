/* The state of the training loop, and what its files ask of each other:
 *
 *   loop.c         steps, what comes between them, start and end
 *   loop_score.c   dev and test scores, the best so far
 *   loop_resume.c  the state after some step, rebuilt from log and metrics
 *
 * A run that goes on takes its first steps from its log instead of estimating them: those that
 * metrics.jsonl does not tell of yet, up to the log's last. */
#ifndef ZF_TRAIN_LOOP_INTERNAL_H
#define ZF_TRAIN_LOOP_INTERNAL_H

#include "base/proc.h"
#include "train/loop.h"

struct loop {
  struct zf_run *run;
  const struct zf_train_events *events;
  struct zf_outcome *out;
  int lock, made; /* of the directory; -1: not held; whether there was none before */
  struct zf_rundir dir;
  struct zf_log *log;
  uint32_t log_id;
  struct zf_history past; /* the log as it was found; n = 0: a new run */
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  int64_t step, eval_every, first_step; /* first_step: taken when the loop begins */
  double began, first_time, last_time;  /* last_time moves on over scoring, which is no training */
  struct zf_energy energy;
  double other_joules;         /* drawn while scoring, and before the first step */
  double score_time;           /* spent on dev scores so far, and */
  double start_score;          /* of it before the first step */
  int64_t scored;              /* how many */
  int64_t tokens, last_tokens; /* run so far, both streams */
  double first_sum;            /* of the first steps' losses: the watchdog's measure */
  int64_t above, dead,
      stale; /* steps above the watchdog, steps with g = 0, dev scores without a gain */
  int best_metric;
  int dev_known, test_known; /* the scores of `step` are in metrics.jsonl already */
  int team;                  /* threads that `auto` may use; 1: nothing to choose */
  double best_time[2];       /* of a step with all threads, with one */
};

void zf_loop_say(const struct loop *loop, const char *text);

/* --- loop.c --- */

/* Mean loss of a step and mean square of its g's, of `probe`. */
void zf_loop_sums(const struct loop *loop, const struct zf_zo_probe *probe, double *loss,
                  double *square);

/* What the watchdog makes of step l->step: 0 or ZF_EDIVERGED. */
int zf_loop_watch(struct loop *loop, double loss, double square);

/* The header of the run's log. */
int zf_loop_head(const struct loop *loop, struct zf_log_head *head);

/* Saves the model as it stands as the best of step l->step. */
int zf_loop_keep_best(struct loop *loop, int64_t step);

/* --- loop_score.c --- */

/* Scores the dev set; keeps the weights when they are the best so far. */
int zf_loop_dev(struct loop *loop);
int zf_loop_test(struct loop *loop, struct zf_metrics *metrics);
/* What a dev score of step l->step means: 1 when it is the best so far. */
int zf_loop_take_dev(struct loop *loop, const struct zf_metrics *metrics);
int64_t zf_loop_devs_left(const struct loop *loop, int64_t from);

/* --- loop_resume.c --- */

/* Finds the run in output_dir, checks that it is this one, and takes the loop, the weights and the
 * directory to the last step that metrics.jsonl tells of.  *found = 0: there is nothing. */
int zf_loop_resume(struct loop *loop, int *found);

/* Makes a run in output_dir whose first steps are another's, to be resumed. */
int zf_loop_fork(struct loop *loop, const struct zf_train_start *start);

#endif
