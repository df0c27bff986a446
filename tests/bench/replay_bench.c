/* How long a replay takes, beside the noise that it is made of.
 *
 *   make build/replay_bench && build/replay_bench MODEL [STEPS] [f32|f24|f16|bf16]
 *
 * MODEL is a directory with config.json and model.safetensors; every tensor counts as trained.  A
 * log of STEPS (1000) steps with random projected gradients is replayed over it, and then as many
 * values of noise are made in cache and thrown away.  Prints seconds and their ratio, and what the
 * records cost when they are appended to a log in the working directory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/err.h"
#include "train/replay.h"

/* Processor seconds of all threads: what counts where others use the machine as well.  (Run with
 * OMP_WAIT_POLICY=passive then, or waiting counts too.) */
static double cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(int rc) {
  if (!rc) return;
  fprintf(stderr, "replay: %s\n", zf_error_message());
  exit(1);
}

static void make_steps(struct zf_history *h, int64_t n) {
  h->count = n;
  h->head.zo = (struct zf_zo){.seed = 1, .eps = 1e-3, .probes = 1};
  h->step = calloc((size_t)n, sizeof *h->step);
  h->loss = calloc((size_t)n * 2, sizeof *h->loss);
  h->term = calloc((size_t)n, sizeof *h->term);
  if (!h->step || !h->loss || !h->term) exit(1);
  struct zf_noise k = {.seed = 7};
  for (int64_t i = 0; i < n; i++) {
    float g;
    zf_noise_ref(&g, &k, i, 1);
    h->step[i] = (struct zf_log_rec){.step = (uint32_t)i + 1, .seed = 1, .lr = 1e-7};
    h->term[i] = (struct zf_zo_term){(double)g, (uint32_t)i + 1, 0, 0};
  }
}

/* The values of one pass over every trained parameter, a megabyte at a time. */
static void noise_of(const struct zf_model *m, uint32_t step) {
  enum { PART = 1 << 18 };
  static float z[PART];
  for (int64_t p = 0; p < m->params.count; p++) {
    struct zf_noise k = {.seed = 1, .step = step, .param = (uint32_t)p};
    int64_t n = m->params.param[p].count;
    for (int64_t i = 0; i < n; i += PART) zf_noise_fill(z, &k, i, n - i < PART ? n - i : PART);
  }
}

/* A record's append as a step does it, syncs included, over at least a second. */
static void time_log(const struct zf_history *h) {
  const char *path = "replay-bench.log";
  struct zf_log_head head = h->head;
  struct zf_log *l;
  int64_t n = 0;
  need(zf_log_create(&l, path, &head));
  double start = zf_now(), append = 0, all;
  do {
    struct zf_log_rec rec = h->step[n % h->count];
    double a = zf_now();
    struct zf_zo_estimate estimate = zf_history_estimate(h, 1 + n++ % h->count);
    need(zf_log_append(l, &rec, &estimate));
    append += zf_now() - a;
    need(zf_log_sync_maybe(l));
    all = zf_now() - start;
  } while (all < 1);
  need(zf_log_close(l));
  remove(path);
  printf("a record: %.2f us to write, %.2f with syncs as often as they may\n",
         append / (double)n * 1e6, all / (double)n * 1e6);
}

int main(int argc, char **argv) {
  static const char *const all[] = {"*"};
  int64_t steps = argc > 2 ? atoll(argv[2]) : 1000;
  int type = argc > 3 ? zf_dtype_by_name(argv[3]) : ZF_F32;
  if (argc < 2 || steps < 1 || type < 0) {
    fprintf(stderr, "usage: replay MODEL [STEPS] [f32|f24|f16|bf16]\n");
    return 2;
  }
  struct zf_model_opts o = {
      .dtype = -1, .trained = (enum zf_dtype)type, .trainable = all, .ntrainable = 1};
  struct zf_history h = {0};
  struct zf_model *m;
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(zf_cpu_cores());
  need(zf_model_open(&m, argv[1], &o));
  make_steps(&h, steps);
  double a = zf_now(), x = cpu_now();
  need(zf_replay_steps(m, &h, 0, steps, NULL));
  double b = zf_now(), y = cpu_now();
  for (int64_t s = 1; s <= steps; s++) noise_of(m, (uint32_t)s);
  double c = zf_now(), z = cpu_now();
  printf("%lld parameters as %s, %lld steps, %d threads: replay %.2f s, noise %.2f s, ratio %.3f; "
         "processor seconds %.2f, %.2f, ratio %.3f\n",
         (long long)zf_params_count(&m->params, 1), zf_dtype_info((enum zf_dtype)type)->name,
         (long long)steps, zf_kern_nthreads(), b - a, c - b, (b - a) / (c - b), y - x, z - y,
         (y - x) / (z - y));
  time_log(&h);
  zf_history_free(&h);
  zf_model_free(m);
  return 0;
}
