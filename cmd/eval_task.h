/* The part of zoft eval that scores standard tasks. */
#ifndef ZF_CMD_EVAL_TASK_H
#define ZF_CMD_EVAL_TASK_H

#include "opt.h"

struct zc_eval_tasks {
  struct zc_list task, data, shots; /* --task, --data, --fewshot-data: in the same order */
  int64_t nshot, limit, length;     /* --num-fewshot, --limit, --max-length */
  int nshot_given, limit_given, length_given;
  const char *samples, *compute; /* --log-samples, --compute */
  double fail_under;             /* in percent of acc; NaN: no gate */
};

/* Scores the model and prints the results.  ZF_EUSAGE, ZF_EINVALID, ZF_EGATE. */
int zc_run_tasks(const struct zc_eval_tasks *tasks, const char *base_model);

/* Prints the recipes that are part of the program, with the fields of their rows. */
int zc_list_tasks(void);

#endif
