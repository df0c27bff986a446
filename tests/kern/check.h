/* What the kernel tests share: a generator, buffers of hostile values, comparison of bits.
 *
 * Every value drawn comes from one splitmix64 stream begun at --seed, so that a failure
 * repeats.  Buffers have their exact length (a reader beyond it is AddressSanitizer's), and
 * outputs are compared whole, the gaps between rows and the words around them included. */
#ifndef ZF_TESTS_KERN_CHECK_H
#define ZF_TESTS_KERN_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/kern_internal.h"
#include "kern/steps.h"

enum kind { PLAIN, WIDE, SPECIAL }; /* [-1,1); exponents -40..39; and zeros, infinities, NaN */

struct state {
  uint64_t rng, seed;
  const char *what;    /* the check that runs */
  const char *filter;  /* substring of names to run, or NULL */
  const char *feature; /* instruction set under test */
  int failed;
};
extern struct state state;

static inline uint64_t rnd(void) {
  uint64_t z = state.rng += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static inline int64_t below(int64_t n) {
  return (int64_t)(rnd() % (uint64_t)n);
}

static inline float special(void) {
  static const float v[] = {0.0f,     -0.0f, 1e-45f,  -1e-40f,  1.17549435e-38f, 3.4e38f,
                            -3.4e38f, 1e20f, -1e-20f, INFINITY, -INFINITY,       NAN};
  return v[below(sizeof v / sizeof *v)];
}

static inline float value(enum kind kind) {
  float f = (float)((double)(rnd() >> 11) * 0x1p-52 - 1.0);
  if (kind == WIDE) f = ldexpf(f, (int)below(80) - 40);
  if (kind == SPECIAL && below(12) == 0) f = special();
  return f;
}

/* n floats at an odd place; `fresh_base` is what to free. */
struct fresh {
  float *base, *p;
  int64_t n; /* of base */
};

static inline struct fresh fresh(int64_t n, enum kind kind) {
  int64_t off = below(8);
  struct fresh f = {malloc((size_t)(off + n + 1) * sizeof(float)), NULL, off + n};
  if (!f.base) abort();
  for (int64_t i = 0; i < f.n; i++) f.base[i] = value(kind);
  f.p = f.base + off;
  return f;
}

/* The same, 64-aligned. */
static inline struct fresh fresh64(int64_t n, enum kind kind) {
  size_t size = ((size_t)n * sizeof(float) + 63) / 64 * 64;
  struct fresh f = {aligned_alloc(64, size ? size : 64), NULL, n};
  if (!f.base) abort();
  for (int64_t i = 0; i < n; i++) f.base[i] = value(kind);
  f.p = f.base;
  return f;
}

/* A copy with the same place of p in it. */
static inline struct fresh twin(struct fresh a) {
  size_t size = ((size_t)(a.n + 1) * sizeof(float) + 63) / 64 * 64;
  struct fresh f = {aligned_alloc(64, size), NULL, a.n};
  if (!f.base) abort();
  memcpy(f.base, a.base, (size_t)a.n * sizeof(float));
  f.p = f.base + (a.p - a.base);
  return f;
}

static inline void drop(struct fresh f) {
  free(f.base);
}

static inline void fail_at(int64_t i, double want, double got) {
  if (state.failed < 20)
    printf("FAIL %s %s: element %lld: %.9g, not %.9g  (--seed %llu)\n", state.feature, state.what,
           (long long)i, got, want, (unsigned long long)state.seed);
  state.failed++;
}

static inline int same_float(float a, float b) {
  return !memcmp(&a, &b, sizeof a) || (isnan(a) && isnan(b));
}

/* Bits equal, any NaN for a NaN; reports the first difference. */
static inline int same(const float *want, const float *got, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!same_float(want[i], got[i])) {
      fail_at(i, (double)want[i], (double)got[i]);
      return 0;
    }
  return 1;
}

static inline int same_fresh(struct fresh want, struct fresh got) {
  return same(want.base, got.base, want.n);
}

/* The same of words: every bit. */
static inline void same_words(struct fresh want, struct fresh got) {
  uint32_t a, b;
  for (int64_t i = 0; i < want.n; i++) {
    memcpy(&a, want.base + i, sizeof a);
    memcpy(&b, got.base + i, sizeof b);
    if (a == b) continue;
    fail_at(i, a, b);
    return;
  }
}

static inline int near(int64_t i, double want, double got, double bound) {
  if (fabs(want - got) <= bound) return 1;
  fail_at(i, want, got);
  return 0;
}

/* Draws are statements of their own: C leaves the order inside an expression open. */
static inline struct zf_noise rnd_noise(void) {
  struct zf_noise k = {.seed = rnd()};
  k.step = (uint32_t)rnd();
  k.probe = (uint16_t)rnd();
  k.use = (uint16_t)below(5);
  k.param = (uint32_t)rnd() & 0xffffff;
  k.kind = below(4) ? ZF_GAUSSIAN : ZF_RADEMACHER;
  return k;
}

/* Any place of a parameter, often just before a carry of the counter. */
static inline int64_t rnd_first(void) {
  int64_t shift = 22 + below(40), f = (int64_t)(rnd() >> shift);
  if (below(4) == 0) {
    f = (int64_t)(1 + below(200)) << 34;
    f -= below(300);
  }
  return f & (((int64_t)1 << 42) - 4096);
}

/* The steps of cpu_step(), named in what fails. */
static inline int feature_step(int i, unsigned *flags) {
  static char name[96];
  if (!cpu_step(i, flags)) return 0;
  state.feature = zf_cpu_names(name, *flags);
  return 1;
}

static inline int options(int argc, char **argv) {
  state.seed = 1;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
      state.seed = strtoull(argv[++i], NULL, 0);
    } else if (!strcmp(argv[i], "--filter") && i + 1 < argc) {
      state.filter = argv[++i];
    } else {
      fprintf(stderr, "usage: %s [--seed N] [--filter NAME]\n", argv[0]);
      return 2;
    }
  }
  state.rng = state.seed;
  return 0;
}

static inline int wanted(const char *name) {
  state.what = name;
  return !state.filter || strstr(name, state.filter);
}

#endif
