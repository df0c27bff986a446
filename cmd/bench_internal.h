/* The measurements of `zoft bench`: each is a function of the words behind its name. */
#ifndef ZC_BENCH_INTERNAL_H
#define ZC_BENCH_INTERNAL_H

#include <jansson.h>

#include "load.h"

/* Options of the command, shared by its benches. */
struct zc_bench_options {
  int64_t repeat, budget;
  int budget_given;
  const char *output, *methods, *batch, *seq, *lr;
};
extern struct zc_bench_options zc_bench_options;

int zc_bench_memory(const struct zc_args *args);
int zc_bench_time(const struct zc_args *args);
int zc_bench_energy(const struct zc_args *args);
int zc_bench_learning(const struct zc_args *args);
int zc_bench_one(const struct zc_args *args); /* one method, in a process of its own: bench_one.c */

/* A method by its name in --methods: "adamw_checkpoint" is adamw with gradient_checkpointing. */
struct zc_bench_method {
  const char *name, *method;
  int checkpoint;
};
/* The methods of a list "a,b,c" into out[0..max); returns how many, or ZF_EUSAGE. */
int zc_bench_find_methods(const struct zc_bench_method **out, int max, const char *list);

/* Runs `zoft bench one` in a process of its own, with the words of `args` and `settings` (key=value, ends with
 * NULL).  *out is the JSON object that it prints; the caller releases it. */
struct zf_proc;
int zc_bench_child(json_t **out, struct zf_proc *proc, const struct zc_args *args,
                   const char *const *settings);

/* Behind the next separator of a list, or at its end. */
const char *zc_bench_next(const char *list, char separator);

#endif
