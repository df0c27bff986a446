/* The time of a training step, part by part, on random tokens.
 *
 * A step runs as in training: the same packing, passes, losses and update.  Beside it, in turns so
 * that a slow moment of the machine meets all of them alike:
 *
 *   forward    a plain pass over the same batch: one stream, its head and loss
 *   body       the same without output rows: no head
 *   noise      as many values as the passes of a step draw when each trained weight is drawn once a
 *              pass, made in cache and thrown away
 *   step       estimate (two streams) and update */
#ifndef ZF_TRAIN_STEP_BENCH_H
#define ZF_TRAIN_STEP_BENCH_H

#include "train/run.h"

enum zf_objective {
  ZF_OBJECTIVE_LM,     /* every token of a sequence predicts the next: sequence_len targets */
  ZF_OBJECTIVE_OPTIONS /* two options of one token behind a prompt of sequence_len tokens */
};
const char *zf_objective_name(enum zf_objective objective); /* "lm", "options" */

/* The schema: the keys of a run, of which base_model alone is required, and `objective`. */
const struct zf_conf_key *zf_bench_keys(void);

/* Is a key of the schema of any effect on a measurement? */
int zf_bench_uses(const char *key);

/* A run on random tokens of the seed: micro-batch by accumulation sequences of sequence_len
 * tokens (auto: 64, or the model's context if shorter). */
int zf_bench_open(struct zf_run **out, const struct zf_conf *conf);

/* The same without weights (zf_run_open_shapes), on the config's data where it names any. */
int zf_bench_open_shapes(struct zf_run **out, const struct zf_conf *conf);

/* Seconds, medians over turns. */
struct zf_bench {
  enum zf_objective objective;
  double step, update, noise; /* update: the part of `step` after the estimate */
  double forward, body;
  double other;   /* step - forwards - noise - update; below 0 where passes share work */
  double ratio;   /* step / its forwards, each turn for itself */
  int64_t passes; /* forwards of a step: two a probe */
  int64_t tokens; /* of the batch */
  double peak;    /* operations a second: the best seen */
  double step_ops, forward_ops, body_ops;
};

/* One turn to warm up, then `turns`.  `stopped` (may be NULL) is asked between parts: ZF_ESTOPPED
 * when it says so. */
int zf_bench_step(struct zf_bench *out, struct zf_run *run, int64_t turns,
                  int (*stopped)(void *ctx), void *ctx);

#endif
