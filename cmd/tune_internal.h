/* zoft tune: the race and its report. */
#ifndef ZF_CMD_TUNE_INTERNAL_H
#define ZF_CMD_TUNE_INTERNAL_H

#include "opt.h"
#include "train/tune.h"

struct tune_race {
  const struct zc_args *args; /* the config and the words of the command line */
  struct zf_tune_grid grid;
  struct zf_tune tune;
  char *out, *state; /* OUT, OUT/tune.json */
  double budget;     /* seconds; 0: steps are given */
  int metric;        /* enum zf_best */
  int lock;          /* of OUT; -1: not held */
  int warned;        /* the warnings of the first run were printed */
};

/* Races the candidates from where the state is.  ZF_ESTOPPED: interrupted; ZF_EDIVERGED: all
 * candidates are out. */
int zc_tune_race(struct tune_race *race);

/* OUT/runs/NAME of a candidate, for the caller to free. */
char *zc_tune_dir(const struct tune_race *race, const struct zf_tune_candidate *candidate);

/* The config of candidate `index`, with `count` more words; checked, the caller frees it. */
int zc_tune_conf(struct zf_conf **conf, const struct tune_race *race, int64_t index,
                 const char *const *words, int count);

/* "accuracy", "F1" or "loss". */
const char *zc_tune_metric(int metric);
/* A value of the metric for a person, "-" where it is not finite; returns out. */
char *zc_tune_value(char out[32], int metric, double value);

/* Prints all candidates, the winner first, and the path of its config (NULL: there is no winner). */
int zc_tune_report(const struct tune_race *race, const char *config);

#endif
