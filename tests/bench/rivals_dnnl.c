/* oneDNN's matmul by its C interface of version 2, where the header is installed; the library is
 * opened at run time. */
#include "bench/rivals.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_include)
#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#endif
#endif

#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2

#define FUNCTIONS(F)                                                                               \
  F(engine_create)                                                                                 \
  F(stream_create)                                                                                 \
  F(stream_wait)                                                                                   \
  F(version)                                                                                       \
  F(memory_desc_init_by_tag)                                                                       \
  F(matmul_desc_init)                                                                              \
  F(primitive_desc_create)                                                                         \
  F(primitive_desc_query_md)                                                                       \
  F(primitive_desc_query)                                                                          \
  F(primitive_desc_destroy)                                                                        \
  F(primitive_create)                                                                              \
  F(primitive_execute)                                                                             \
  F(primitive_destroy)                                                                             \
  F(reorder_primitive_desc_create)                                                                 \
  F(memory_create)                                                                                 \
  F(memory_destroy)

static struct {
#define DECLARE(f) __typeof__(dnnl_##f) *f;
  FUNCTIONS(DECLARE)
} dnnl;

static dnnl_engine_t engine;
static dnnl_stream_t stream;
static char impl[64], version_text[160];

enum { MOVES = 2, MEMORIES = 5 };

/* Reorders (x, W) and then the product. */
struct plan {
  dnnl_primitive_t move[MOVES], product;
  dnnl_exec_arg_t move_arg[MOVES][2], arg[3];
  dnnl_memory_t memory[MEMORIES]; /* all that are used */
  int moves, memories;
};

static int open_once(void) {
  void *lib = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!lib) return 0;
#define LOOK_UP(f)                                                                                 \
  if (!(*(void **)&dnnl.f = dlsym(lib, "dnnl_" #f))) return 0;
  FUNCTIONS(LOOK_UP)
  return !dnnl.engine_create(&engine, dnnl_cpu, 0) &&
         !dnnl.stream_create(&stream, engine, dnnl_stream_default_flags);
}

int dnnl_there(void) {
  static int known, there;
  if (!known) there = open_once();
  known = 1;
  return there;
}

const char *dnnl_version_text(void) {
  const dnnl_version_t *v = dnnl.version();
  snprintf(version_text, sizeof version_text, "oneDNN %d.%d.%d%s%s", v->major, v->minor, v->patch,
           *impl ? ", " : "", impl);
  return version_text;
}

static dnnl_memory_desc_t matrix(int64_t rows, int64_t columns, dnnl_data_type_t type,
                                 dnnl_format_tag_t tag) {
  dnnl_memory_desc_t md;
  dnnl_dims_t dims = {rows, columns};
  if (dnnl.memory_desc_init_by_tag(&md, 2, dims, type, tag)) abort();
  return md;
}

/* Memory of that description: at `data`, or the library's own where that is NULL. */
static dnnl_memory_t memory(struct plan *p, const dnnl_memory_desc_t *md, const void *data) {
  dnnl_memory_t *m = &p->memory[p->memories++];
  if (dnnl.memory_create(m, md, engine, data ? (void *)(uintptr_t)data : DNNL_MEMORY_ALLOCATE))
    abort();
  return *m;
}

static dnnl_primitive_t primitive(dnnl_primitive_desc_t pd) {
  dnnl_primitive_t made;
  if (dnnl.primitive_create(&made, pd)) abort();
  dnnl.primitive_desc_destroy(pd);
  return made;
}

/* Adds the reorder of f32 at `data` to what the product wants; returns where it goes. */
static dnnl_memory_t moved(struct plan *p, const dnnl_memory_desc_t *from, const void *data,
                           const dnnl_memory_desc_t *to) {
  dnnl_primitive_desc_t pd;
  dnnl_memory_t src = memory(p, from, data), dst = memory(p, to, NULL);
  if (dnnl.reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL)) abort();
  p->move[p->moves] = primitive(pd);
  p->move_arg[p->moves][0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, src};
  p->move_arg[p->moves++][1] = (dnnl_exec_arg_t){DNNL_ARG_TO, dst};
  return dst;
}

/* packed: W begins as f32 and is brought to the layout that the product prefers, x as f32 and is
 * brought to its type; else both lie there in their type, row after row. */
void *dnnl_begin(const struct problem *q, const struct rival *r) {
  struct shape s = q->s;
  int half = r->compute == ZF_COMPUTE_BF16, packed = r->packed;
  dnnl_data_type_t type = half ? dnnl_bf16 : dnnl_f32;
  dnnl_memory_desc_t src = matrix(s.T, s.in, type, dnnl_ab);
  dnnl_memory_desc_t dst = matrix(s.T, s.out, dnnl_f32, dnnl_ab);
  dnnl_memory_desc_t wei = matrix(s.in, s.out, type, packed ? dnnl_format_tag_any : dnnl_ba);
  dnnl_memory_desc_t x32 = matrix(s.T, s.in, dnnl_f32, dnnl_ab);
  dnnl_memory_desc_t w32 = matrix(s.in, s.out, dnnl_f32, dnnl_ba);
  dnnl_matmul_desc_t d;
  dnnl_primitive_desc_t pd;
  const char *name = "";
  if (dnnl.matmul_desc_init(&d, &src, &wei, NULL, &dst)) return NULL;
  if (dnnl.primitive_desc_create(&pd, &d, NULL, engine, NULL)) return NULL;
  dnnl.primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
  snprintf(impl, sizeof impl, "%s", name);
  struct plan *p = calloc(1, sizeof *p);
  if (!p) abort();
  const void *x = half ? (const void *)q->xb : q->x, *w = half ? (const void *)q->wb : q->w;
  p->arg[0].arg = DNNL_ARG_SRC;
  p->arg[0].memory = packed && half ? moved(p, &x32, q->x, &src) : memory(p, &src, x);
  p->arg[1].arg = DNNL_ARG_WEIGHTS;
  p->arg[1].memory =
      packed ? moved(p, &w32, q->w, dnnl.primitive_desc_query_md(pd, dnnl_query_weights_md, 0))
             : memory(p, &wei, w);
  p->arg[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, memory(p, &dst, q->y)};
  p->product = primitive(pd);
  return p;
}

void dnnl_run(void *h, const struct problem *q) {
  struct plan *p = h;
  (void)q;
  for (int i = 0; i < p->moves; i++)
    if (dnnl.primitive_execute(p->move[i], stream, 2, p->move_arg[i])) abort();
  if (dnnl.primitive_execute(p->product, stream, 3, p->arg)) abort();
  dnnl.stream_wait(stream);
}

void dnnl_end(void *h) {
  struct plan *p = h;
  for (int i = 0; i < p->moves; i++) dnnl.primitive_destroy(p->move[i]);
  dnnl.primitive_destroy(p->product);
  for (int i = 0; i < p->memories; i++) dnnl.memory_destroy(p->memory[i]);
  free(p);
}

#else

int dnnl_there(void) {
  return 0;
}

void *dnnl_begin(const struct problem *p, const struct rival *r) {
  (void)p, (void)r;
  return NULL;
}

void dnnl_run(void *h, const struct problem *p) {
  (void)h, (void)p;
}

void dnnl_end(void *h) {
  (void)h;
}

const char *dnnl_version_text(void) {
  return "";
}

#endif
