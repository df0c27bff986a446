/* The table of kernels, the number of threads and the workspace. */
#include "kern/kern_internal.h"

#include <omp.h>

#include "base/cpu.h"

enum {
  PARTIAL = ZF_MAXROWS * ZF_NC, /* floats of each thread's parts: multiples of 16, so that */
  STRIP = ZF_LANES * ZF_KC,     /* every part begins 64-aligned */
  CHUNK = ZF_GROUP * ZF_MAXNR,
  WORK = ZF_MAXSTREAM * (ZF_PANEL + CHUNK + STRIP) + PARTIAL + 2 * STRIP
};

/* Work (a unit takes some 0.15 ns) below which one thread does it alone, because the barrier at the
 * end of a team costs more: some microseconds on a quiet machine, a time slice of the scheduler on a
 * busy one. */
enum { MIN_TEAM_WORK = 1 << 21 };

struct zf_kern_table zf_kern;
static int threads = 1;
static int64_t min_team_work = MIN_TEAM_WORK;
static float *workspace;

void zf_kern_init(unsigned flags) {
  zf_kern.noise = zf_noise_ref;
  zf_kern.random_words = zf_noise_words;
  zf_kern_init_gemm_ref(&zf_kern);
  zf_kern_init_bf16_ref(&zf_kern);
  zf_kern_init_int8_ref(&zf_kern);
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

/* A program that never calls zf_kern_init gets the fastest kernels. */
__attribute__((constructor)) static void init_kernels(void) {
  zf_kern_init(zf_cpu_flags());
}

const char *zf_compute_name(enum zf_compute compute) {
  static const char *const name[] = {"f32", "bf16", "int8"};
  return name[compute];
}

const char *zf_kern_name(enum zf_compute compute) {
  return zf_kern.product[compute].name;
}

int zf_kern_native(enum zf_compute compute) {
  return zf_kern.product[compute].native;
}

void zf_kern_threads(int count) {
  threads = count < 1 ? 1 : count;
  omp_set_num_threads(threads);
}

int zf_kern_nthreads(void) {
  return threads;
}

size_t zf_kern_workspace_size(int count) {
  return (size_t)count * WORK * sizeof(float);
}

size_t zf_rows_bytes(enum zf_compute compute, int64_t rows, int64_t in) {
  const struct zf_product *product = &zf_kern.product[compute];
  return product->convert_rows ? (size_t)(rows * zf_kern_row_cells(product, in)) * sizeof(uint32_t)
                               : 0;
}

struct zf_rows zf_rows_of(const float *x, int64_t ld, int64_t in, enum zf_compute compute,
                          void *cells) {
  return (struct zf_rows){.x = x, .ld = ld, .in = in, .compute = compute, .cells = cells};
}

size_t zf_kern_workspace_untouched(int count, enum zf_compute compute, int streams, int64_t rows,
                                   int64_t in, int sums) {
  const struct zf_product *product = &zf_kern.product[compute];
  int64_t depth = (zf_min64(in, product->chunk_inputs) + product->inputs_per_cell - 1) /
                  product->inputs_per_cell;
  int64_t panel =
      zf_min64(ZF_PANEL, depth * (2 * product->max_columns <= ZF_NC ? ZF_NC : ZF_NC / 2));
  int64_t partial = sums ? zf_min64(rows, ZF_MAXROWS) * ZF_NC : 0;
  int64_t used = streams * panel + partial + 2 * STRIP;
  return used < WORK ? (size_t)(count * (WORK - used)) * sizeof(float) : 0;
}

void zf_kern_workspace(void *memory) {
  workspace = memory;
}

struct zf_thread_space zf_kern_thread_space(int thread) {
  float *next = workspace + (size_t)thread * WORK;
  struct zf_thread_space space;
  for (int s = 0; s < ZF_MAXSTREAM; s++, next += ZF_PANEL) space.panel[s] = next;
  for (int s = 0; s < ZF_MAXSTREAM; s++, next += CHUNK) space.chunk[s] = next;
  space.sums = next;
  space.weights = space.sums + PARTIAL;
  space.noise = space.weights + STRIP;
  next = space.noise + STRIP;
  for (int s = 0; s < ZF_MAXSTREAM; s++, next += STRIP) space.mix[s] = next;
  return space;
}

void zf_kern_set_min_work(int64_t work) {
  min_team_work = work;
}

int zf_kern_team(int64_t work) {
  return work < min_team_work ? 1 : threads;
}
