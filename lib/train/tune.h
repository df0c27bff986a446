/* A race of settings by successive halving (Jamieson and Talwalkar 2016): candidates are the cross
 * product of a grid, each a run of its own.  In every rung all candidates that are left take more
 * steps and are scored on the dev set; one in `factor` goes on.
 *
 *   rung      0      1      2              factor 2, --steps 100, 8 candidates
 *   steps    25     50    100              of a candidate, in all
 *   runs      8      4      2  -> winner
 *
 * A candidate that diverges is out for good.  Where a rung leaves none, the best of those that did not
 * go on come back and take its steps, so that the winner is one that has taken them.
 *
 * The file OUT/tune.json holds the state, so that a race that was stopped goes on. */
#ifndef ZF_TRAIN_TUNE_H
#define ZF_TRAIN_TUNE_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "eval/metrics.h"

ZF_BEGIN_DECLS

enum { ZF_TUNE_MAX = 1024 /* candidates */, ZF_TUNE_RUNGS = 12, ZF_TUNE_RATES = 8 };

/* --- planning --- */

/* How many of `count` candidates go on: ceil(count / factor). */
int64_t zf_tune_survivors(int64_t count, int64_t factor);

/* Rungs until one of `count` is left; one candidate has one rung. */
int zf_tune_rungs(int64_t count, int64_t factor);

/* steps[rungs]: `last` in the last rung, a factor less in each before.  ZF_EUSAGE: too few for a
 * step in the first rung and more in every other. */
int zf_tune_steps(int64_t *steps, int rungs, int64_t factor, int64_t last);

/* Seconds that a candidate takes: for a step, and for what comes once a rung (opening, scoring). */
struct zf_tune_cost {
  double step, once;
};

/* The steps to add to each of `count` candidates so that this rung and the rungs after it, `rungs` in
 * all, share `seconds` evenly; where a share holds no step, this rung may take more of it.  0: not
 * one step fits. */
int64_t zf_tune_more_steps(double seconds, int rungs, const struct zf_tune_cost *cost,
                           int64_t count);

/* "90", "10m", "2h", "1.5d" in seconds.  ZF_EUSAGE. */
int zf_tune_seconds(double *out, const char *text);

/* A dev score: the deciding metric, where more is better, and the loss. */
struct zf_tune_score {
  double metric, loss;
};

/* 1 where `left` is better: by the metric, then by the loss. */
int zf_tune_better(const struct zf_tune_score *left, const struct zf_tune_score *right);

/* Sorts index[0..count) by score[index[i]], the best first; equals keep their order. */
void zf_tune_rank(int64_t *index, const struct zf_tune_score *score, int64_t count);

/* --- the grid --- */

struct zf_tune_axis {
  char *key, **value;
  int64_t count, cap;
};

struct zf_tune_grid {
  struct zf_tune_axis *axis;
  int64_t count, cap;
};

/* Adds "KEY=V1,V2,...".  Commas within brackets or quotes belong to a value.  ZF_EUSAGE: no '=', an
 * empty value, a key or value that stands twice. */
int zf_tune_grid_add(struct zf_tune_grid *grid, const char *text);

/* Adds learning_rate at ZF_TUNE_RATES values around `rate`: rate * 10^(i/2), i = -4 .. 3, in three
 * digits. */
int zf_tune_grid_rates(struct zf_tune_grid *grid, double rate);

/* The number of candidates; ZF_EUSAGE: more than ZF_TUNE_MAX. */
int zf_tune_grid_size(int64_t *count, const struct zf_tune_grid *grid);

/* "KEY=VALUE" of candidate `index` on an axis, the last axis fastest; the caller frees it.  NULL: out of
 * memory. */
char *zf_tune_grid_word(const struct zf_tune_grid *grid, int64_t index, int64_t axis);
void zf_tune_grid_free(struct zf_tune_grid *grid); /* takes a zeroed one */

/* --- the state --- */

enum zf_tune_fate { ZF_TUNE_IN, ZF_TUNE_OUT, ZF_TUNE_DIVERGED };

struct zf_tune_candidate {
  char *name;  /* of its run directory, from its number and its words */
  char *words; /* "KEY=VALUE KEY=VALUE" */
  enum zf_tune_fate fate;
  int rung;                   /* rungs that it has finished */
  int64_t steps;              /* taken */
  double seconds;             /* of all its rungs */
  struct zf_tune_cost cost;   /* as its last rung took it */
  struct zf_tune_score score; /* at the end of its last rung */
  double accuracy, f1;        /* there; NaN: the data have none */
  struct zf_tune_score best;  /* of the ends of its rungs */
  int64_t best_step;
};

struct zf_tune {
  char identity[33]; /* hash of what must not change between two calls */
  int64_t factor, count;
  int rungs, rung;              /* in all; finished */
  int64_t steps[ZF_TUNE_RUNGS]; /* of a candidate at the end of each rung; 0: not planned yet */
  double seconds;               /* that the race has taken */
  struct zf_tune_candidate *candidate; /* [count] */
};

/* A new race of the grid's candidates. */
int zf_tune_new(struct zf_tune *tune, const struct zf_tune_grid *grid, int64_t factor);
void zf_tune_free(struct zf_tune *tune); /* takes a zeroed one */

/* Enters the dev score of a candidate that has taken `steps` steps in the rung at hand; the metric
 * decides (enum zf_best).  A loss that is not finite is the end of the candidate. */
void zf_tune_enter(struct zf_tune *tune, int64_t index, const struct zf_metrics *metrics, int best,
                   int64_t steps);

/* index[0..result): the candidates that are in the race, in order. */
int64_t zf_tune_left(int64_t *index, const struct zf_tune *tune);

/* The number of candidates that the rung at hand has room for, and that go on from it. */
int64_t zf_tune_places(const struct zf_tune *tune);

/* Ends a rung: those that do not go on are out. */
void zf_tune_end_rung(struct zf_tune *tune);

/* Brings back as many of those that are out, the best first, as the rung at hand has places.  Returns
 * their number; 0: all have diverged. */
int64_t zf_tune_revive(struct zf_tune *tune);

/* index[count]: all candidates, those that came farthest first, then the better ones. */
void zf_tune_standing(int64_t *index, const struct zf_tune *tune);

/* Writes the state to `path`, whole or not at all; reads it into a race that zf_tune_new made and that
 * has its identity.  ZF_EUSAGE: the file is of another race; ZF_EINVALID: it is damaged. */
int zf_tune_save(const struct zf_tune *tune, const char *path);
int zf_tune_load(struct zf_tune *tune, const char *path);

ZF_END_DECLS

#endif
