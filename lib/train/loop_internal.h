/* The state of the training loop, and the functions that its files share:
 *
 *   loop.c         steps, actions between steps, start and end
 *   loop_watch.c   the watchdog
 *   loop_advice.c  a remark on the learning rate
 *   loop_score.c   dev and test scores, the best so far
 *   loop_resume.c  the state after some step, rebuilt from log and metrics
 *
 * A resumed run takes its first steps from its log instead of estimating them: the steps after the
 * last one in metrics.jsonl, up to the last one in the log. */
#ifndef ZF_TRAIN_LOOP_INTERNAL_H
#define ZF_TRAIN_LOOP_INTERNAL_H

#include "base/proc.h"
#include "train/auto_rate.h"
#include "train/loop.h"

/* Counters of the watchdog. */
struct watchdog {
  double first_losses; /* sum of the losses of the first steps: the default limit follows from it */
  int64_t above;       /* last steps in a row with a loss above the limit */
  int64_t zero_gradients; /* last steps in a row with g = 0 */
};

/* Losses of the halves of the first steps, their squares, and what these steps gain at most. */
struct rate_advice {
  double loss[2], squares[2], gain;
};

/* Choice of the number of threads, for `threads: auto`. */
struct thread_tuner {
  int threads;       /* the most threads to use; 1: there is no choice */
  double fastest[2]; /* seconds of the fastest step with all threads, with one */
};

/* Dev scores of this process. */
struct score_clock {
  int64_t count;
  double seconds;       /* spent on them */
  double start_seconds; /* of these, before the first step */
};

struct train_loop {
  struct zf_run *run;
  const struct zf_train_events *events;
  struct zf_outcome *outcome;
  int lock;        /* of the run directory; -1: not held */
  int created_dir; /* output_dir did not exist before */
  struct zf_rundir dir;
  struct zf_log *log;
  uint32_t log_id;
  struct zf_history history; /* the log of a resumed run; count = 0: a new run */
  int64_t step, eval_every;
  int64_t first_step; /* number of steps before the first one that this process takes */
  double start_time;  /* of the run; for a resumed run as if it had not been interrupted */
  double steps_time;  /* when this process took up stepping */
  double report_time; /* of the last report, plus the time of scoring since */
  struct zf_energy energy;
  double other_joules; /* used by scoring, and before the first step */
  struct score_clock scores;
  int64_t tokens, reported_tokens; /* run so far, in all streams; at the last report */
  struct watchdog watchdog;
  struct rate_advice advice;
  struct zf_rate_control control; /* of learning_rate: auto */
  int64_t scores_without_gain;    /* last dev scores in a row */
  int best_metric;
  int dev_known, test_known; /* the scores of `step` are in metrics.jsonl already */
  struct thread_tuner tuner;
};

void zf_loop_say(const struct train_loop *loop, const char *text);

/* --- loop.c --- */

/* The header of the run's log. */
int zf_loop_head(const struct train_loop *loop, struct zf_log_head *head);

/* Saves the current weights as the best, those of step `step`. */
int zf_loop_keep_best(struct train_loop *loop, int64_t step);

/* --- loop_watch.c --- */

/* Passes loop->step to the watchdog.  ZF_EDIVERGED: the run has to stop. */
int zf_loop_watch(struct train_loop *loop, double loss, double square);

/* --- loop_advice.c --- */

/* Enters a step; after some of them says where the learning rate is far from one that learns. */
void zf_loop_advise(struct train_loop *loop, double loss, double square, double lr);

/* --- loop_score.c --- */

/* Scores the dev set, and saves the weights when they are the best so far. */
int zf_loop_dev(struct train_loop *loop);
int zf_loop_test(struct train_loop *loop, struct zf_metrics *metrics);
/* Enters a dev score of loop->step into the outcome; 1 when it is the best so far. */
int zf_loop_add_dev(struct train_loop *loop, const struct zf_metrics *metrics);
/* Number of dev scores after step `from`. */
int64_t zf_loop_devs_left(const struct train_loop *loop, int64_t from);

/* --- loop_resume.c --- */

/* Finds the run in output_dir, checks that it is the same run, and restores loop, weights and
 * directory to the last step in metrics.jsonl.  *found = 0: there is no run. */
int zf_loop_resume(struct train_loop *loop, int *found);

/* Creates a run in output_dir whose first steps are copied from another run's log.  The caller
 * resumes it. */
int zf_loop_fork(struct train_loop *loop, const struct zf_train_start *start);

#endif
