#include "kern/peak.h"

#include <math.h>

#include "base/cpu.h"
#include "kern/peak_internal.h"

enum { CHAINS = 8, TRIES = 3 };

/* Plain C: what the `_ref` kernels have. */
static double f32_ref(int64_t rounds) {
  float c[CHAINS] = {0};
  for (int64_t r = 0; r < rounds; r++)
    for (int i = 0; i < CHAINS; i++) c[i] = fmaf(0.5f, 0.25f + (float)i, c[i]);
  volatile float sink = 0;
  for (int i = 0; i < CHAINS; i++) sink = sink + c[i];
  return 2.0 * CHAINS * (double)rounds;
}

struct way {
  enum zf_compute compute;
  unsigned flags;
  const char *name;
  double (*run)(int64_t rounds);
};

/* Weakest first: the last that fits is taken. */
static const struct way ways[] = {
    {ZF_COMPUTE_F32, 0, "ref", f32_ref},
#if defined(__x86_64__)
    {ZF_COMPUTE_F32, ZF_CPU_AVX2, "avx2", zf_peak_f32_avx2},
    {ZF_COMPUTE_F32, ZF_CPU_AVX512, "avx512", zf_peak_f32_avx512},
    {ZF_COMPUTE_BF16, ZF_CPU_AVX512BF16, "avx512bf16", zf_peak_bf16_avx512bf16},
    {ZF_COMPUTE_INT8, ZF_CPU_AVX2, "avx2", zf_peak_int8_avx2},
    {ZF_COMPUTE_INT8, ZF_CPU_AVX512, "avx512", zf_peak_int8_avx512},
    {ZF_COMPUTE_INT8, ZF_CPU_AVX512VNNI, "avx512vnni", zf_peak_int8_avx512vnni},
#elif defined(__aarch64__)
    {ZF_COMPUTE_F32, ZF_CPU_NEON, "neon", zf_peak_f32_neon},
    {ZF_COMPUTE_INT8, ZF_CPU_DOTPROD, "dotprod", zf_peak_int8_dotprod},
#endif
};

static const struct way *way_of(enum zf_compute compute) {
  const struct way *way = ways;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if ((ways[i].compute == compute || ways[i].compute == ZF_COMPUTE_F32) &&
        (ways[i].flags & zf_cpu_flags()) == ways[i].flags)
      way = &ways[i];
  return way;
}

const char *zf_peak_name(enum zf_compute compute) {
  return way_of(compute)->name;
}

/* Rounds that take one thread about `seconds`. */
static int64_t rounds_in(const struct way *way, double seconds) {
  int64_t n = 256;
  for (;; n *= 4) {
    double start = zf_now();
    way->run(n);
    double took = zf_now() - start;
    if (took > 1e-3 || n > (int64_t)1 << 40)
      return took > 0 ? 1 + (int64_t)((double)n * seconds / took) : n;
  }
}

/* Operations a second of all threads together. */
static double rate_of(const struct way *way, int64_t count) {
  int team = zf_kern_nthreads();
  double rate = 0;
#pragma omp parallel num_threads(team) reduction(+ : rate)
  {
#pragma omp barrier
    double start = zf_now(), ops = way->run(count);
    rate += ops / (zf_now() - start);
  }
  return rate;
}

double zf_peak(enum zf_compute compute, double seconds) {
  const struct way *way = way_of(compute);
  int64_t n = rounds_in(way, seconds / TRIES);
  double best = 0;
  for (int i = 0; i < TRIES; i++) best = fmax(best, rate_of(way, n));
  return best;
}
