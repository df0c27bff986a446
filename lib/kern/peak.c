#include "kern/peak.h"

#include <math.h>

#include "base/cpu.h"
#include "kern/peak_internal.h"

enum { CHAINS = 8, TRIES = 3 };

/* Plain C, as the `_ref` kernels. */
static double f32_ref(int64_t rounds) {
  float chain[CHAINS] = {0};
  for (int64_t round = 0; round < rounds; round++)
    for (int i = 0; i < CHAINS; i++) chain[i] = fmaf(0.5f, 0.25f + (float)i, chain[i]);
  volatile float sink = 0;
  for (int i = 0; i < CHAINS; i++) sink = sink + chain[i];
  return 2.0 * CHAINS * (double)rounds;
}

struct peak_loop {
  enum zf_compute compute;
  unsigned flags;
  const char *name;
  double (*run)(int64_t rounds);
};

/* Weakest first: the last one that the processor can run is used. */
static const struct peak_loop loops[] = {
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

static const struct peak_loop *loop_of(enum zf_compute compute) {
  const struct peak_loop *loop = loops;
  for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
    if ((loops[i].compute == compute || loops[i].compute == ZF_COMPUTE_F32) &&
        (loops[i].flags & zf_cpu_flags()) == loops[i].flags)
      loop = &loops[i];
  return loop;
}

const char *zf_peak_name(enum zf_compute compute) {
  return loop_of(compute)->name;
}

/* Number of rounds that take one thread about `seconds`. */
static int64_t rounds_in(const struct peak_loop *loop, double seconds) {
  int64_t rounds = 256;
  for (;; rounds *= 4) {
    double start = zf_now();
    loop->run(rounds);
    double took = zf_now() - start;
    if (took > 1e-3 || rounds > (int64_t)1 << 40)
      return took > 0 ? 1 + (int64_t)((double)rounds * seconds / took) : rounds;
  }
}

/* Operations per second of all threads together. */
static double rate_of(const struct peak_loop *loop, int64_t count) {
  int team = zf_kern_nthreads();
  double rate = 0;
#pragma omp parallel num_threads(team) reduction(+ : rate)
  {
#pragma omp barrier
    double start = zf_now(), ops = loop->run(count);
    rate += ops / (zf_now() - start);
  }
  return rate;
}

double zf_peak(enum zf_compute compute, double seconds) {
  const struct peak_loop *loop = loop_of(compute);
  int64_t rounds = rounds_in(loop, seconds / TRIES);
  double best = 0;
  for (int i = 0; i < TRIES; i++) best = fmax(best, rate_of(loop, rounds));
  return best;
}
