/* Speed of drivers on one thread, per feature step.  Products run in turns with OpenBLAS's
 * sgemm, where it can be opened, and medians of several turns are compared. */
#ifndef ZF_TESTS_KERN_BENCH_H
#define ZF_TESTS_KERN_BENCH_H

#include <dlfcn.h>
#include <time.h>

#include "kern/check.h"

enum { TURNS = 7 };

/* Seconds of this thread's processor time: what other programs take does not count. */
static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef void (*sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *,
                         int, float, float *, int);

static sgemm_fn open_sgemm(void) {
  void *lib = dlopen("libopenblas.so.0", RTLD_NOW);
  if (!lib) return NULL;
  void (*threads)(int);
  sgemm_fn f;
  *(void **)&threads = dlsym(lib, "openblas_set_num_threads");
  *(void **)&f = dlsym(lib, "cblas_sgemm");
  if (threads) threads(1);
  return threads ? f : NULL;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_size);
  return v[n / 2];
}

static void *aligned(int64_t floats) {
  void *p = aligned_alloc(64, ((size_t)floats * sizeof(float) + 63) / 64 * 64);
  if (!p) abort();
  memset(p, 0, (size_t)floats * sizeof(float));
  return p;
}

static float *random_floats(int64_t n) {
  struct zf_noise k = {.seed = 5, .use = ZF_USE_INIT};
  float *p = aligned(n);
  zf_noise_fill(p, &k, 0, n);
  return p;
}

/* One product of T rows (of each stream). */
struct shape {
  int64_t T, in, out;
};

/* Seconds of one call, repeated to fill some milliseconds. */
static double seconds(struct shape s, const struct zf_weight *w, const struct zf_streams *st,
                      const float *x, float *y, sgemm_fn blas) {
  int reps = 1 + (int)(2e8 / (2.0 * (double)(s.T * s.in * s.out)));
  double t = thread_seconds();
  for (int i = 0; i < reps; i++)
    if (blas)
      blas(101, 111, 112, (int)s.T, (int)s.out, (int)s.in, 1, x, (int)s.in, w->data, (int)s.in, 0,
           y, (int)s.out);
    else
      zf_gemm(y, s.out, x, s.in, s.T, w, st, NULL, 0, 0);
  return (thread_seconds() - t) / reps;
}

static void bench_product(struct shape s, sgemm_fn blas, enum zf_compute c) {
  struct zf_noise key = {.seed = 1};
  struct zf_streams one = {1, {0}}, two = {2, {1e-3f, -1e-3f}};
  float *x = random_floats(2 * s.T * s.in), *data = random_floats(s.in * s.out);
  float *y = aligned(2 * s.T * s.out);
  struct zf_weight w = {data, ZF_F32, s.out, s.in, s.in, 1, 0, NULL, c}, z = w;
  double ours[TURNS], theirs[TURNS], noisy[TURNS];
  z.noise = &key;
  for (int i = 0; i < TURNS; i++) {
    ours[i] = seconds(s, &w, &one, x, y, NULL);
    theirs[i] = blas ? ours[i] / seconds(s, &w, &one, x, y, blas) : 0;
    noisy[i] = seconds(s, &z, &two, x, y, NULL) / (2 * ours[i]);
  }
  double flops = 2.0 * (double)(s.T * s.in * s.out);
  printf("gemm %s %5lld x %lld -> %lld: %6.1f GFLOP/s", zf_compute_name(c), (long long)s.T,
         (long long)s.in, (long long)s.out, flops / median(ours, TURNS) * 1e-9);
  if (blas) printf(", %.3f of OpenBLAS", 1 / median(theirs, TURNS));
  printf("; two streams with noise / two products: %.3f\n", median(noisy, TURNS));
  free(x), free(data), free(y);
}

static void bench_products(void) {
  static const struct shape shapes[] = {{1024, 2048, 2048}, {256, 2048, 2048}, {2048, 576, 1536},
                                        {2048, 576, 192},   {16, 2048, 2048},  {1, 2048, 2048}};
  sgemm_fn blas = open_sgemm();
  if (!blas) printf("(libopenblas.so.0 cannot be opened: no comparison)\n");
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int c = 0; c < 2; c++) bench_product(shapes[i], blas, (enum zf_compute)c);
}

static void bench_noise(void) {
  enum { N = 1 << 20 };
  struct zf_noise key[2] = {{.seed = 1}, {.seed = 2, .use = ZF_USE_ROUNDING}};
  float *z = aligned(N), c = 1e-6f;
  double t[4][TURNS];
  for (int i = 0; i < TURNS; i++) {
    double a = thread_seconds();
    zf_noise_fill(z, key, 0, N);
    double b = thread_seconds();
    zf_update(z, ZF_F32, N, key, &c, 1, 0, key + 1);
    double d = thread_seconds();
    zf_update(z, ZF_BF16, N, key, &c, 1, 0, key + 1);
    double e = thread_seconds();
    for (int64_t k = 0; k < N; k += 4096) zf_kern.words((uint32_t *)(void *)(z + k), key, k, 4096);
    double f = thread_seconds();
    t[0][i] = b - a, t[1][i] = d - b, t[2][i] = e - d, t[3][i] = f - e;
  }
  printf("noise %.3f ns a value (words %.3f); update f32 %.3f, bf16 %.3f\n",
         median(t[0], TURNS) / N * 1e9, median(t[3], TURNS) / N * 1e9,
         median(t[1], TURNS) / N * 1e9, median(t[2], TURNS) / N * 1e9);
  free(z);
}

/* A layer's attention for 16 segments of 64 tokens in two streams, H 9, Hkv 3, D 64, beside
 * the products of that layer (C 576, 1536 inside). */
static void bench_attention(void) {
  enum { H = 9, KV = 3, D = 64, S = 64, G = 16, T = S * G, C = H * D, F = 1536 };
  struct zf_segment seg[G];
  struct zf_streams two = {2, {1e-3f, -1e-3f}};
  for (int g = 0; g < G; g++) seg[g] = (struct zf_segment){.start = g * S, .len = S};
  float *q = random_floats(2 * T * F), *k = random_floats(2 * T * KV * D), *o = aligned(2 * T * F);
  float *data = random_floats(C * F), *scratch = aligned(zf_attention_scratch(S, D));
  static const struct shape layer[] = {{T, C, C}, {T, C, KV * D}, {T, C, KV * D}, {T, C, C},
                                       {T, C, F}, {T, C, F},      {T, F, C}};
  double t[TURNS], share[TURNS];
  for (int i = 0; i < TURNS; i++) {
    double products = 0, a = thread_seconds();
    zf_attention(o, C, q, C, k, k, KV * D, T, H, KV, D, 0.125f, 1, seg, G, &two, scratch);
    t[i] = thread_seconds() - a;
    for (size_t j = 0; j < sizeof layer / sizeof *layer; j++) {
      struct zf_noise key = {.seed = 1, .param = (uint32_t)j};
      struct zf_weight w = {data, ZF_F32, layer[j].out, layer[j].in, layer[j].in, 1, 0, &key};
      products += seconds(layer[j], &w, &two, q, o, NULL);
    }
    share[i] = t[i] / (t[i] + products);
  }
  printf("attention 2 x 16 x 64 tokens, H 9, Hkv 3, D 64: %.2f ms, %.1f%% of a layer\n",
         median(t, TURNS) * 1e3, median(share, TURNS) * 100);
  free(q), free(k), free(o), free(data), free(scratch);
}

static void bench_rows(void) {
  enum { R = 256, C = 1536 };
  static const char *const name[] = {"silu", "gelu_tanh", "gelu_erf",
                                     "relu", "rmsnorm",   "layernorm"};
  struct zf_streams one = {1, {0}};
  float *x = random_floats(R * C), *w = random_floats(C), *y = aligned(R * C);
  printf("rows, ns an element:");
  for (int what = 0; what < 6; what++) {
    double t[TURNS];
    for (int i = 0; i < TURNS; i++) {
      memcpy(y, x, R * C * sizeof *y);
      double a = thread_seconds();
      if (what < ZF_ACTS) zf_act(y, C, x, C, R, C, (enum zf_act)what);
      if (what == 4) zf_rmsnorm(y, C, x, C, R, C, 1e-5f, w, C, &one);
      if (what == 5) zf_layernorm(y, C, x, C, R, C, 1e-5f, w, w, C, &one);
      t[i] = thread_seconds() - a;
    }
    printf(" %s %.2f", name[what], median(t, TURNS) / (R * C) * 1e9);
  }
  printf("\n");
  free(x), free(w), free(y);
}

static int bench(void) {
  unsigned flags, last = 0;
  zf_kern_threads(1);
  zf_kern_init(0);
  void *work = aligned((int64_t)zf_kern_workspace_size(1, ZF_COMPUTE_BF16, 2048, 2048) / 4);
  zf_kern_workspace(work, 1);
  for (int i = 0; feature_step(i, &flags); i++) {
    if (!flags || flags == last) continue; /* plain C is for reading */
    last = flags;
    zf_kern_init(flags);
    printf("-- %s (%s)\n", zf_kern_name(ZF_COMPUTE_F32), zf_cpu_brand());
    if (wanted("noise")) bench_noise();
    if (wanted("gemm")) bench_products();
    if (wanted("attention")) bench_attention();
    if (wanted("rows")) bench_rows();
  }
  free(work);
  return 0;
}

#endif
