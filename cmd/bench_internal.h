/* What `zoft bench` measures: each a function of the rest of the command line. */
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
int zc_bench_one(
    const struct zc_args *args); /* a method in a process of its own: see bench_one.c */

/* A way to train as benches name it: "adamw_checkpoint" is adamw with gradient_checkpointing. */
struct zc_bench_method {
  const char *name, *method;
  int checkpoint;
};
/* The ways named in "a,b,c"; how many, at most `most`.  Negative: ZF_EUSAGE. */
int zc_bench_find_methods(const struct zc_bench_method **out, int max, const char *list);

/* Runs `zoft bench one` with the words of `a` and `more` (ends with NULL) in a process of its own;
 * *out is its JSON object, the caller's to decref. */
struct zf_proc;
int zc_bench_child(json_t **out, struct zf_proc *proc, const struct zc_args *args,
                   const char *const *settings);

#endif
