#include "bench/rivals.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                      int lda, const float *b, int ldb, float beta, float *c, int ldc);

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 }; /* of CBLAS */

static sgemm_fn *openblas, *blis;
static char openblas_version[128], blis_version[128];

static int open_openblas(void) {
  void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  void (*threads)(int);
  char *(*core)(void), *(*config)(void);
  if (!lib) return 0;
  *(void **)&threads = dlsym(lib, "openblas_set_num_threads");
  *(void **)&core = dlsym(lib, "openblas_get_corename");
  *(void **)&config = dlsym(lib, "openblas_get_config");
  *(void **)&openblas = dlsym(lib, "cblas_sgemm");
  if (!threads || !core || !config || !openblas) return 0;
  threads(1);
  snprintf(openblas_version, sizeof openblas_version, "%.15s, its %s kernels", config(), core());
  return 1;
}

static int open_blis(void) {
  void *lib = dlopen("libblis.so.4", RTLD_NOW | RTLD_LOCAL);
  void (*threads)(int64_t);
  int (*arch)(void);
  const char *(*name)(int), *(*version)(void);
  if (!lib) return 0;
  *(void **)&threads = dlsym(lib, "bli_thread_set_num_threads");
  *(void **)&arch = dlsym(lib, "bli_arch_query_id");
  *(void **)&name = dlsym(lib, "bli_arch_string");
  *(void **)&version = dlsym(lib, "bli_info_get_version_str");
  *(void **)&blis = dlsym(lib, "cblas_sgemm");
  if (!threads || !arch || !name || !version || !blis) return 0;
  threads(1);
  snprintf(blis_version, sizeof blis_version, "%s, its %s kernels", version(), name(arch()));
  return 1;
}

static const char *version_openblas(void) {
  return openblas_version;
}

static const char *version_blis(void) {
  return blis_version;
}

/* The handle is the function. */
static void *begin_openblas(const struct problem *p, const struct rival *r) {
  (void)p, (void)r;
  return *(void **)&openblas;
}

static void *begin_blis(const struct problem *p, const struct rival *r) {
  (void)p, (void)r;
  return *(void **)&blis;
}

static void run_sgemm(void *h, const struct problem *p) {
  sgemm_fn *f = *(sgemm_fn **)&h;
  int T = (int)p->s.T, in = (int)p->s.in, n = (int)p->s.out;
  f(ROW_MAJOR, PLAIN, TRANSPOSED, T, n, in, 1, p->x, in, p->w, in, 0, p->y, n);
}

static void end_sgemm(void *h) {
  (void)h;
}

static const struct rival all[] = {
    {"OpenBLAS", "openblas", "sgemm", ZF_COMPUTE_F32, 0, open_openblas, begin_openblas, run_sgemm,
     end_sgemm, version_openblas},
    {"BLIS", "blis", "sgemm", ZF_COMPUTE_F32, 0, open_blis, begin_blis, run_sgemm, end_sgemm,
     version_blis},
    {"oneDNN", "onednn", "matmul; x and W plain f32", ZF_COMPUTE_F32, 0, dnnl_there, dnnl_begin,
     dnnl_run, dnnl_end, dnnl_version_text},
    {"oneDNN+pack", "onednn_packed", "reorder of W to the layout it likes best, then matmul",
     ZF_COMPUTE_F32, 1, dnnl_there, dnnl_begin, dnnl_run, dnnl_end, dnnl_version_text},
    {"oneDNN", "onednn", "matmul; x and W plain and bf16 already", ZF_COMPUTE_BF16, 0, dnnl_there,
     dnnl_begin, dnnl_run, dnnl_end, dnnl_version_text},
    {"oneDNN+pack", "onednn_packed",
     "reorders of x and W from f32 to bf16, W to the layout it likes best, then matmul",
     ZF_COMPUTE_BF16, 1, dnnl_there, dnnl_begin, dnnl_run, dnnl_end, dnnl_version_text},
};

int rivals_open(const struct rival **out) {
  static const char *const choose[] = {
      "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",   "OPENBLAS_VERBOSE", "BLIS_ARCH_TYPE",
      "DNNL_MAX_CPU_ISA",  "ONEDNN_MAX_CPU_ISA", "DNNL_VERBOSE",     "ONEDNN_VERBOSE"};
  int n = 0;
  for (size_t i = 0; i < sizeof choose / sizeof *choose; i++) unsetenv(choose[i]);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i].open()) out[n++] = &all[i];
  return n;
}
