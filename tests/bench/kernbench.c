/* build/kernbench: how fast the kernels are, on one core unless said otherwise, beside the peak of
 * the processor and beside other libraries' products.
 *
 *   kernbench.c      options, feature steps, what the parts share
 *   products.c       products; rivals.c, rivals_dnnl.c: other libraries
 *   parts.c          noise, update, attention, rows; noise_methods.c: other methods for noise
 *   sheet.c          results as table and as JSON
 *
 * Times are processor time of the thread, medians of turns; ratios are medians of the ratios of
 * turns, in which both sides ran one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "bench/kernbench.h"
#include "cmd/opt.h"
#include "cmd/ui.h"
#include "kern/kern_internal.h"
#include "kern/steps.h"

struct bench bench = {.turns = 7};

static const char *shapes =
    "1024x2048x2048,512x2048x2048,256x2048x2048,1024x576x576,1024x576x192,1024x576x1536,"
    "1024x1536x576,256x576x1536,256x576x49152,16x2048x2048,1x2048x2048";
static const char *threads;
static int all;

/* --- what the parts share --- */

double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double median(double *v, int64_t n) {
  qsort(v, (size_t)n, sizeof *v, by_size);
  return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

void *aligned(int64_t floats) {
  size_t size = ((size_t)floats * sizeof(float) + 63) / 64 * 64;
  void *p = aligned_alloc(64, size ? size : 64);
  if (!p) {
    zf_error(ZF_ENOMEM, "out of memory: %zu bytes", size);
    exit(zc_fail(ZF_ENOMEM));
  }
  return memset(p, 0, size);
}

float *random_floats(int64_t n) {
  struct zf_noise k = {.seed = 5, .use = ZF_USE_INIT};
  float *p = aligned(n);
  zf_noise_fill(p, &k, 0, n);
  return p;
}

double *turns_of(int n) {
  return aligned(2 * n * bench.turns);
}

int calls_of(struct shape s) {
  double calls = 1e8 / ((double)s.T * (double)s.in * (double)s.out);
  return 1 + (int)(calls < 1000 ? calls : 1000);
}

double product_seconds(struct shape s, const struct zf_weight *w, const struct zf_streams *st,
                       const float *x, float *y) {
  int calls = calls_of(s);
  double t = thread_seconds();
  for (int i = 0; i < calls; i++) {
    struct zf_rows rows = zf_rows_of(x, s.in, s.in, w->compute, bench.cells);
    zf_gemm(y, s.out, &rows, s.T, w, st, NULL, 0, 0);
  }
  return (thread_seconds() - t) / calls;
}

/* --- options --- */

/* Reads one at *p, and what ends it; sides and areas are bounded so that buffers stay below a GB.
 */
static int read_shape(struct shape *s, const char **p) {
  const long long side = 1 << 24, area = 1 << 28;
  long long v[3] = {0};
  char *end = (char *)(uintptr_t)*p;
  for (int i = 0; i < 3; i++, end++) {
    const char *from = end;
    v[i] = strtoll(from, &end, 10);
    if (end == from || v[i] < 1 || v[i] > side || (i < 2 && *end != 'x')) return 0;
  }
  end--;
  if ((*end && *end != ',') || v[0] * v[1] > area || v[1] * v[2] > area || v[0] * v[2] > area)
    return 0;
  *p = end;
  *s = (struct shape){v[0], v[1], v[2]};
  return 1;
}

static int read_shapes(void) {
  for (const char *p = shapes;; p++) {
    if (bench.shapes == MAXSHAPES || !read_shape(&bench.shape[bench.shapes++], &p))
      return zf_error(ZF_EUSAGE, "--shapes: expected ROWSxINxOUT,... (at most %d), found '%s'",
                      MAXSHAPES, p);
    if (!*p) return 0;
  }
}

static int read_threads(void) {
  char *end;
  if (!threads) {
    bench.threads[bench.nthreads++] = 1;
    if (zf_cpu_cores() > 1) bench.threads[bench.nthreads++] = zf_cpu_cores();
    return 0;
  }
  for (const char *p = threads;; p = end + 1) {
    long n = strtol(p, &end, 10);
    if (end == p || n < 1 || n > 1024 || bench.nthreads == MAXTHREADS || (*end && *end != ','))
      return zf_error(ZF_EUSAGE, "--threads: expected numbers from 1 to 1024, found '%s'", p);
    bench.threads[bench.nthreads++] = (int)n;
    if (!*end) return 0;
  }
}

/* --- sections --- */

static const struct section {
  const char *name;
  void (*run)(json_t *out);
} sections[] = {
    {"products", bench_products}, {"threads", bench_threads},     {"noise", bench_noise},
    {"update", bench_update},     {"attention", bench_attention}, {"rows", bench_rows},
};
enum { SECTIONS = sizeof sections / sizeof *sections };

static int wanted(const struct zc_args *a, const char *name) {
  for (int i = 0; i < a->nword; i++)
    if (!strcmp(a->word[i], name)) return 1;
  return a->nword == 0;
}

static int check_words(const struct zc_args *a) {
  const char *names[SECTIONS];
  for (int i = 0; i < SECTIONS; i++) names[i] = sections[i].name;
  for (int i = 0, k; i < a->nword; i++) {
    for (k = 0; k < SECTIONS && strcmp(names[k], a->word[i]); k++) {
    }
    if (k < SECTIONS) continue;
    const char *near = zf_nearest(a->word[i], names, SECTIONS);
    return zf_error(ZF_EUSAGE, "no section '%s': %s%s%s", a->word[i],
                    near ? "did you mean '" : "see -h", near ? near : "", near ? "'?" : "");
  }
  if (a->nset) return zf_error(ZF_EUSAGE, "'%s' is no option: see -h", a->set[0]);
  return 0;
}

/* --- feature steps --- */

/* Converted rows of every product that is measured. */
static void *make_cells(void) {
  size_t size = 0;
  for (int c = 0; c < ZF_COMPUTES; c++) {
    size_t need =
        zf_rows_bytes((enum zf_compute)c, 2048, 1536); /* of a layer round its attention */
    size = size > need ? size : need;
    for (int i = 0; i < bench.shapes; i++) {
      struct shape s = bench.shape[i];
      need = zf_rows_bytes((enum zf_compute)c, 2 * s.T, s.in);
      size = size > need ? size : need;
    }
  }
  return aligned((int64_t)(size / sizeof(float)));
}

static json_t *run_step(const struct zc_args *a, unsigned flags) {
  char names[96];
  json_t *o = json_pack("{s:s}", "features", zf_cpu_names(names, flags));
  void *space;
  zf_cpu_mask(flags);
  zf_kern_init(flags);
  space = aligned((int64_t)(zf_kern_workspace_size(1) / sizeof(float)));
  bench.cells = make_cells();
  if (!zc_common.json)
    printf("== %s on %s; %lld turn%s\n\n", names, zf_cpu_brand(), (long long)bench.turns,
           bench.turns == 1 ? "" : "s");
  for (int i = 0; i < SECTIONS; i++) {
    if (!wanted(a, sections[i].name)) continue;
    zf_kern_threads(1);
    zf_kern_workspace(space);
    sections[i].run(o);
    if (!zc_common.json) printf("\n");
    fflush(stdout);
  }
  free(space);
  free(bench.cells);
  return o;
}

/* The best step, or with --all each one that changes a kernel; plain C is for reading, and runs
 * where nothing else is allowed. */
static json_t *run_steps(const struct zc_args *a) {
  json_t *steps = json_array();
  unsigned flag[16], f;
  int n = 0;
  for (int i = 0; i < 16 && cpu_step(i, &f); i++) {
    struct zf_kern_table before = zf_kern;
    zf_kern_init(f);
    if (i && !memcmp(&before, &zf_kern, sizeof before)) continue;
    if (n && (!all || !flag[n - 1])) n--;
    flag[n++] = f;
  }
  for (int i = 0; i < n; i++) json_array_append_new(steps, run_step(a, flag[i]));
  return steps;
}

static int run(const struct zc_args *a) {
  int rc = check_words(a);
  if (!rc) rc = read_shapes();
  if (!rc) rc = read_threads();
  if (rc) return rc;
  json_t *o = json_pack("{s:s, s:I}", "cpu", zf_cpu_brand(), "turns", (json_int_t)bench.turns);
  json_object_set_new(o, "steps", run_steps(a));
  if (zc_common.json) {
    json_dumpf(o, stdout, JSON_REAL_PRECISION(6));
    printf("\n");
  }
  json_decref(o);
  return 0;
}

static const struct zc_opt options[] = {
    {"all", 0, ZC_FLAG, NULL, "every instruction set the processor has, not only the best", &all},
    {"repeat", 0, ZC_INT, "N", "turns that medians are taken of (7)", &bench.turns, .min = 1,
     .max = 10000},
    {"shapes", 0, ZC_STR, "LIST", "products: ROWSxINxOUT,...", &shapes},
    {"threads", 0, ZC_STR, "LIST", "threads of the first shape (1 and the cores)", &threads},
    {0},
};

static const struct zc_command command = {
    "kernbench",
    "how fast the kernels are",
    "kernbench [sections] [options]",
    "Sections: products threads noise update attention rows; none named: all of them.\n\n"
    "Products run on one core, packing included, in turns with OpenBLAS, BLIS and oneDNN where\n"
    "they are installed; these always use the best instructions they have. Columns:\n"
    "  of peak       of the rate of multiply-adds that never leave the registers\n"
    "  GB/s of W     weights read, stored in f32\n"
    "  W in bf16     GFLOP/s of the same product with weights stored in bf16\n"
    "  with noise    two streams with perturbed weights / two plain products\n"
    "  of it         our speed / the library's: above 1, ours is faster\n\n"
    "Examples:\n"
    "  kernbench\n"
    "  kernbench products --shapes 1024x2048x2048 --repeat 15\n"
    "  kernbench noise update --all --json\n",
    options,
    run,
};

int main(int argc, char **argv) {
  struct zc_args args;
  int rc = zc_parse_alone(&args, &command, argc, argv);
  if (!rc) rc = zf_cpu_check();
  if (!rc && zc_common.help)
    zc_help(&command);
  else if (!rc)
    rc = run(&args);
  zc_args_free(&args);
  if (!rc && (fflush(stdout) || ferror(stdout)))
    rc = zf_error(ZF_EIO, "cannot write to standard output");
  return rc ? zc_fail(rc) : 0;
}
