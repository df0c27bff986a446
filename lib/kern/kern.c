/* The table of kernels, the number of threads and the workspace. */
#include "kern/kern_internal.h"

#include <omp.h>

enum {
  PANEL = ZF_KC * ZF_NC,        /* floats of each thread's parts, all multiples of 16 */
  PARTIAL = ZF_MAXROWS * ZF_NC, /* (the beginnings stay 64-aligned) */
  STRIP = ZF_LANES * ZF_KC,
  WORK = ZF_MAXSTREAM * PANEL + PARTIAL + 2 * STRIP
};

/* Below this much work (a unit is some 0.15 ns) a team is not worth its meeting at the end: some
 * microseconds on a quiet machine, a slice of time of the scheduler on a busy one. */
enum { SMALL = 1 << 21 };

struct zf_kern_table zf_kern;
static int threads = 1;
static int64_t grain = SMALL;
static float *workspace;

void zf_kern_init(unsigned flags) {
  zf_kern.noise = zf_noise_ref;
  zf_kern.words = zf_noise_words;
  zf_kern_init_gemm_ref(&zf_kern);
  zf_kern_init_rows_ref(&zf_kern);
  zf_kern_init_attention_ref(&zf_kern);
#if defined(__x86_64__)
  zf_kern_init_x86(&zf_kern, flags);
#elif defined(__aarch64__)
  zf_kern_init_arm(&zf_kern, flags);
#else
  (void)flags;
#endif
}

const char *zf_compute_name(enum zf_compute c) {
  static const char *const name[] = {"f32", "bf16", "int8"};
  return name[c];
}

const char *zf_kern_name(enum zf_compute c) {
  (void)c;
  return zf_kern.name;
}

int zf_kern_native(enum zf_compute c) {
  return c == ZF_COMPUTE_F32;
}

void zf_kern_threads(int n) {
  threads = n < 1 ? 1 : n;
  omp_set_num_threads(threads);
}

int zf_kern_nthreads(void) {
  return threads;
}

size_t zf_kern_workspace_size(int n, enum zf_compute c, int64_t rows, int64_t in) {
  (void)c, (void)rows, (void)in;
  return (size_t)n * WORK * sizeof(float);
}

void zf_kern_workspace(void *p, int n) {
  workspace = p;
  (void)n;
}

struct zf_work zf_kern_work(int thread) {
  float *p = workspace + (size_t)thread * WORK;
  struct zf_work w;
  for (int s = 0; s < ZF_MAXSTREAM; s++, p += PANEL) w.panel[s] = p;
  w.c = p;
  w.w = w.c + PARTIAL;
  w.z = w.w + STRIP;
  return w;
}

void zf_kern_grain(int64_t work) {
  grain = work;
}

int zf_kern_team(int64_t work) {
  return work < grain ? 1 : threads;
}
