/* Measures the time of a training step, part by part, on random tokens.
 *
 * A step runs as in training, with the same packing, passes, losses and update.  The parts run in
 * turns, so that a slow moment of the machine affects all of them:
 *
 *   forward    a plain pass over the same batch: one stream, its head and loss
 *   body       the same without output rows: no head
 *   noise      as many values as the passes of a step draw when each trained weight is drawn once a
 *              pass, computed in cache and discarded
 *   step       estimate (two streams) and update */
#ifndef ZF_TRAIN_STEP_BENCH_H
#define ZF_TRAIN_STEP_BENCH_H

#include "base/cplusplus.h"
#include "train/run.h"

ZF_BEGIN_DECLS

enum zf_bench_objective {
  ZF_BENCH_LM,     /* every token of a sequence predicts the next: sequence_len targets */
  ZF_BENCH_OPTIONS /* two options of one token behind a prompt of sequence_len tokens */
};
const char *zf_bench_objective_name(enum zf_bench_objective objective); /* "lm", "options" */

/* The schema: `objective` and the keys of a run, of which only base_model is required. */
const struct zf_conf_key *zf_bench_keys(void);

/* 1 where a key of the schema affects a measurement. */
int zf_bench_uses(const char *key);

/* Opens a run on random tokens of the seed: micro-batch times accumulation sequences of sequence_len
 * tokens (auto: 64, or the model's context where that is shorter). */
int zf_bench_open(struct zf_run **out, const struct zf_conf *conf);

/* The same without weights (zf_run_open_shapes), and with the config's data where it has any. */
int zf_bench_open_shapes(struct zf_run **out, const struct zf_conf *conf);

/* Seconds, medians over turns. */
struct zf_bench {
  enum zf_bench_objective objective;
  double step, update, noise; /* update: the part of `step` after the estimate */
  double forward, body;
  double other;   /* step - forwards - noise - update; below 0 where passes share work */
  double ratio;   /* of a step to its forwards, in each turn */
  int64_t passes; /* forwards of a step: two a probe */
  int64_t tokens; /* of the batch */
  double peak;    /* highest measured rate of operations, a second */
  double step_ops, forward_ops, body_ops; /* operations of each */
};

/* Takes one turn to warm up, then `turns`.  `stopped` (may be NULL) is called between parts; where it
 * returns nonzero, the result is ZF_ESTOPPED. */
int zf_bench_step(struct zf_bench *bench, struct zf_run *run, int64_t turns,
                  int (*stopped)(void *ctx), void *ctx);

ZF_END_DECLS

#endif
