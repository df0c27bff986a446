/* Bump allocation over one anonymous mapping. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"

#if defined(__SANITIZE_ADDRESS__)
#define ZF_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ZF_ASAN 1
#endif
#endif

#if defined(ZF_ASAN)
#include <sanitizer/asan_interface.h>
enum { REDZONE = 64 };
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
enum { REDZONE = 0 };
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 64 };

int zf_arena_init(struct zf_arena *a, size_t cap) {
  memset(a, 0, sizeof *a);
  if (cap == 0) cap = ALIGN;
  void *p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return zf_error(ZF_ENOMEM, "cannot reserve %zu bytes of memory", cap);
  a->base = p;
  a->cap = cap;
  POISON(a->base, a->cap);
  return 0;
}

void zf_arena_free(struct zf_arena *a) {
  if (a->base) {
    UNPOISON(a->base, a->cap);
    munmap(a->base, a->cap);
  }
  memset(a, 0, sizeof *a);
}

size_t zf_arena_cost(size_t size) {
  return (size + REDZONE + ALIGN - 1) / ALIGN * ALIGN;
}

void *zf_arena_alloc(struct zf_arena *a, size_t size) {
  if (size > SIZE_MAX - REDZONE - ALIGN || zf_arena_cost(size) > a->cap - a->used) {
    zf_error(ZF_ENOMEM, "arena exhausted: %zu of %zu bytes used, %zu more wanted", a->used, a->cap,
             size);
    return NULL;
  }
  unsigned char *p = a->base + a->used;
  a->used += zf_arena_cost(size);
  if (a->used > a->peak) a->peak = a->used;
  UNPOISON(p, size);
  return p;
}

void *zf_arena_array(struct zf_arena *a, int64_t n, size_t size) {
  if (n < 0 || (size && (uint64_t)n > SIZE_MAX / size)) {
    zf_error(ZF_ENOMEM, "an array of %lld items of %zu bytes is too large", (long long)n, size);
    return NULL;
  }
  return zf_arena_alloc(a, (size_t)n * size);
}

void zf_arena_rewind(struct zf_arena *a, size_t mark) {
  if (mark < a->used) {
    POISON(a->base + mark, a->used - mark);
    a->used = mark;
  }
}

void *zf_malloc(size_t size) {
  void *p = malloc(size ? size : 1);
  if (!p) zf_error(ZF_ENOMEM, "out of memory: %zu bytes wanted", size);
  return p;
}

void *zf_calloc(int64_t n, size_t size) {
  int fits = n >= 0 && (!size || (uint64_t)n <= SIZE_MAX / size);
  void *p = fits ? calloc(n ? (size_t)n : 1, size ? size : 1) : NULL;
  if (!p) zf_error(ZF_ENOMEM, "out of memory: %lld items of %zu bytes wanted", (long long)n, size);
  return p;
}
