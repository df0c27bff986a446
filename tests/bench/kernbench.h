/* What the parts of kernbench share. */
#ifndef ZB_KERNBENCH_H
#define ZB_KERNBENCH_H

#include <jansson.h>
#include <stdint.h>

#include "kern/kern.h"

/* A product of T rows: x [T, in], W [out, in]. */
struct shape {
  int64_t T, in, out;
};

enum { MAXSHAPES = 64, MAXTHREADS = 16 };

struct bench {
  int64_t turns;
  struct shape shape[MAXSHAPES];
  int shapes;
  int threads[MAXTHREADS], nthreads;
  void *cells; /* converted rows of any product that is measured */
};
extern struct bench bench;

/* Seconds of this thread's processor time: what other programs take does not count. */
double thread_seconds(void);

/* The median of n values, which are sorted. */
double median(double *v, int64_t n);

/* 64-aligned zeros, and noise of a fixed key; the caller frees. */
void *aligned(int64_t floats);
float *random_floats(int64_t n);

/* Turns' worth of values for each of `n` things: bench.turns doubles apart. */
double *turns_of(int n);

/* Calls of a product that make its time long enough to read. */
int calls_of(struct shape s);

/* Seconds of a call of zf_gemm with these weights, one thread. */
double product_seconds(struct shape s, const struct zf_weight *w, const struct zf_streams *st,
                       const float *x, float *y);

/* The sections; each prints its table and puts it in `out`. */
void bench_products(json_t *out);
void bench_threads(json_t *out);
void bench_noise(json_t *out);
void bench_update(json_t *out);
void bench_attention(json_t *out);
void bench_rows(json_t *out);

#endif
