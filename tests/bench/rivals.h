/* Libraries that multiply matrices, opened at run time where they are installed, one thread each.
 * None is needed to build or to run anything. */
#ifndef ZF_TESTS_BENCH_RIVALS_H
#define ZF_TESTS_BENCH_RIVALS_H

#include "bench/kernbench.h"

/* y [T, out] = x [T, in] W^T, W [out, in], all row after row; f32, and x and W in bf16. */
struct problem {
  struct shape s;
  const float *x, *w;
  const uint16_t *xb, *wb;
  float *y;
};

struct rival {
  const char *name, *key; /* for people; for JSON */
  const char *what;       /* is timed */
  enum zf_compute compute;
  int packed;        /* to its own layout, in the time */
  int (*open)(void); /* is it there? */
  void *(*begin)(const struct problem *p, const struct rival *r); /* NULL: it cannot */
  void (*run)(void *h, const struct problem *p);                  /* what is timed */
  void (*end)(void *h);
  const char *(*version)(void); /* after a first run */
};

/* Those that could be opened; returns their number.  Which code path a library takes is its own
 * choice: variables of the environment that change it are unset first. */
int rivals_open(const struct rival **out);

enum { MAXRIVALS = 8 };

/* rivals_dnnl.c */
int dnnl_there(void);
void *dnnl_begin(const struct problem *p, const struct rival *r);
void dnnl_run(void *h, const struct problem *p);
void dnnl_end(void *h);
const char *dnnl_version_text(void);

#endif
