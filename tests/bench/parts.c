/* Measures of all but products: noise and methods for it, update, attention, rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "bench/kernbench.h"
#include "bench/sheet.h"
#include "bench/noise_methods.h"
#include "kern/kern_internal.h"

enum { N = 1 << 20, PIECE = 4096 };

/* --- ns a value --- */

static const struct sheet_column ns_columns[] = {
    {"what", "what", NULL}, {"ns", "ns a value", "%.3f"}, {0}};

struct timed {
  const char *name;
  void (*run)(const struct timed *t, float *buf); /* N values */
  int kind;                                       /* of noise, or of storage */
  noise_fn *make;
};

static void run_noise(const struct timed *t, float *buf) {
  struct zf_noise key = {.seed = 1, .kind = t->kind};
  for (int64_t i = 0; i < N; i += PIECE) zf_kern.noise(buf + i, &key, i, PIECE);
}

static void run_words(const struct timed *t, float *buf) {
  struct zf_noise key = {.seed = 1};
  (void)t;
  for (int64_t i = 0; i < N; i += PIECE)
    zf_kern.random_words((uint32_t *)(void *)(buf + i), &key, i, PIECE);
}

static void run_method(const struct timed *t, float *buf) {
  struct zf_noise key = {.seed = 1};
  for (int64_t i = 0; i < N; i += PIECE) t->make(buf + i, &key, i, PIECE);
}

static void run_update(const struct timed *t, float *buf) {
  static const struct zf_noise key[2] = {{.seed = 1}, {.seed = 2, .use = ZF_USE_ROUNDING}};
  float c = 1e-6f;
  struct zf_update_step step = {key, &c, 1, 0, key[1], 1, 0};
  zf_update(buf, (enum zf_dtype)t->kind, N, &(struct zf_update){&step, 1, 0, 0});
}

static void time_rows(const struct timed *row, int n) {
  float *buf = aligned(N);
  double *t = turns_of(n);
  for (int64_t i = -1; i < bench.turns; i++)
    for (int j = 0; j < n; j++) {
      memset(buf, 0, N * sizeof *buf);
      double start = thread_seconds();
      row[j].run(&row[j], buf);
      t[j * bench.turns + (i < 0 ? 0 : i)] = thread_seconds() - start;
    }
  for (int j = 0; j < n; j++) {
    sheet_text(row[j].name);
    sheet_number(1e9 / N * median(t + j * bench.turns, bench.turns));
  }
  free(t), free(buf);
}

void bench_noise(json_t *out) {
  static const struct timed own[] = {{"Gaussian", run_noise, ZF_GAUSSIAN, NULL},
                                     {"Rademacher", run_noise, ZF_RADEMACHER, NULL},
                                     {"raw words", run_words, 0, NULL}};
  enum { OWN = sizeof own / sizeof *own };
  struct timed all[OWN + MAX_NOISE_METHODS];
  struct noise_method method[MAX_NOISE_METHODS];
  int methods = noise_methods_for(method, zf_cpu_flags());
  memcpy(all, own, sizeof own);
  for (int i = 0; i < methods; i++)
    all[OWN + i] = (struct timed){method[i].name, run_method, ZF_GAUSSIAN, method[i].make};
  sheet_begin(ns_columns);
  time_rows(all, OWN + methods);
  json_object_set_new(out, "noise", sheet_end());
}

void bench_update(json_t *out) {
  static const struct timed row[] = {{"update of f32 weights", run_update, ZF_F32, NULL},
                                     {"update of bf16 weights", run_update, ZF_BF16, NULL}};
  sheet_begin(ns_columns);
  time_rows(row, sizeof row / sizeof *row);
  json_object_set_new(out, "update", sheet_end());
}

/* --- attention --- */

/* A layer's attention for 16 segments of 64 tokens in two streams, H 9, Hkv 3, D 64, beside
 * the products of that layer (C 576, 1536 inside). */
enum { H = 9, KV = 3, D = 64, S = 64, G = 16, T = S * G, C = H * D, F = 1536 };

static double layer_products(float *o, const float *x, const float *w, enum zf_compute c,
                             const struct zf_streams *st) {
  static const struct shape layer[] = {{T, C, C}, {T, C, KV * D}, {T, C, KV * D}, {T, C, C},
                                       {T, C, F}, {T, C, F},      {T, F, C}};
  double sum = 0;
  for (size_t j = 0; j < sizeof layer / sizeof *layer; j++) {
    struct shape s = layer[j];
    struct zf_noise key = {.seed = 1, .param = (uint32_t)j};
    struct zf_weight v = {w, ZF_F32, s.out, s.in, s.in, 1, 0, &key, NULL, c};
    sum += product_seconds(s, &v, st, x, o);
  }
  return sum;
}

void bench_attention(json_t *out) {
  static const struct sheet_column columns[] = {
      {"what", "2 streams x 16 x 64 tokens, H 9, Hkv 3, D 64", NULL},
      {"ms", "ms", "%.2f"},
      {"share", "of a layer", "%.3f"},
      {0}};
  struct zf_segment seg[G];
  struct zf_streams two = {2, {1e-3f, -1e-3f}};
  for (int g = 0; g < G; g++) seg[g] = (struct zf_segment){.start = g * S, .len = S};
  float *q = random_floats(2 * T * F), *k = random_floats(2 * T * KV * D), *o = aligned(2 * T * F);
  float *data = random_floats(C * F), *scratch = aligned(zf_attention_scratch(S, D));
  double *t = turns_of(1 + ZF_COMPUTES);
  for (int64_t i = -1; i < bench.turns; i++) {
    int64_t at = i < 0 ? 0 : i;
    double start = thread_seconds();
    struct zf_attention_params attention = {.scale = 0.125f, .causal = 1};
    zf_attention(o, C, q, C, k, k, KV * D, T, H, KV, D, &attention, seg, G, &two, scratch);
    t[at] = thread_seconds() - start;
    for (int c = 0; c < ZF_COMPUTES; c++) {
      double *share = t + (1 + c) * bench.turns + at;
      *share = t[at] / (t[at] + layer_products(o, q, data, (enum zf_compute)c, &two));
    }
  }
  sheet_begin(columns);
  double ms = 1e3 * median(t, bench.turns);
  for (int c = 0; c < ZF_COMPUTES; c++) {
    char name[64];
    snprintf(name, sizeof name, "attention, products in %s", zf_compute_name((enum zf_compute)c));
    sheet_text(name);
    sheet_number(ms);
    sheet_number(median(t + (1 + c) * bench.turns, bench.turns));
  }
  json_object_set_new(out, "attention", sheet_end());
  free(q), free(k), free(o), free(data), free(scratch), free(t);
}

/* --- rows --- */

enum { ROWS = 256, WIDE = 1536, RMSNORM = ZF_ACTS, LAYERNORM, ROW_KINDS };

static double row_seconds(int what, float *y, const float *x, const float *w) {
  struct zf_streams one = {1, {0}};
  memcpy(y, x, ROWS * WIDE * sizeof *y);
  double start = thread_seconds();
  if (what < ZF_ACTS) zf_act(y, WIDE, x, WIDE, ROWS, WIDE, (enum zf_act)what);
  if (what == RMSNORM) zf_rmsnorm(y, WIDE, x, WIDE, ROWS, WIDE, 1e-5f, w, WIDE, &one);
  if (what == LAYERNORM) zf_layernorm(y, WIDE, x, WIDE, ROWS, WIDE, 1e-5f, w, w, WIDE, &one);
  return thread_seconds() - start;
}

void bench_rows(json_t *out) {
  char name[ROW_KINDS][32] = {[RMSNORM] = "rmsnorm", [LAYERNORM] = "layernorm"};
  for (int k = 0; k < ZF_ACTS; k++) snprintf(name[k], sizeof name[k], "%s(g) u", zf_act_names[k]);
  float *x = random_floats(ROWS * WIDE), *w = random_floats(WIDE), *y = aligned(ROWS * WIDE);
  double *t = turns_of(ROW_KINDS);
  for (int64_t i = -1; i < bench.turns; i++)
    for (int k = 0; k < ROW_KINDS; k++)
      t[k * bench.turns + (i < 0 ? 0 : i)] = row_seconds(k, y, x, w);
  sheet_begin(ns_columns);
  for (int k = 0; k < ROW_KINDS; k++) {
    sheet_text(name[k]);
    sheet_number(1e9 / (ROWS * WIDE) * median(t + k * bench.turns, bench.turns));
  }
  json_object_set_new(out, "rows", sheet_end());
  free(x), free(w), free(y), free(t);
}
