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
#define POISON(start, size) ASAN_POISON_MEMORY_REGION(start, size)
#define UNPOISON(start, size) ASAN_UNPOISON_MEMORY_REGION(start, size)
#else
enum { REDZONE = 0 };
#define POISON(start, size) ((void)(start), (void)(size))
#define UNPOISON(start, size) ((void)(start), (void)(size))
#endif

enum { ALIGN = 64 };

int zf_arena_init(struct zf_arena *arena, size_t cap) {
  memset(arena, 0, sizeof *arena);
  if (cap == 0) cap = ALIGN;
  void *reserved = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return zf_error(ZF_ENOMEM, "cannot reserve %zu bytes of memory", cap);
  arena->base = reserved;
  arena->cap = cap;
  POISON(arena->base, arena->cap);
  return 0;
}

void zf_arena_free(struct zf_arena *arena) {
  if (arena->base) {
    UNPOISON(arena->base, arena->cap);
    munmap(arena->base, arena->cap);
  }
  memset(arena, 0, sizeof *arena);
}

size_t zf_arena_cost(size_t size) {
  return (size + REDZONE + ALIGN - 1) / ALIGN * ALIGN;
}

void *zf_arena_alloc(struct zf_arena *arena, size_t size) {
  if (size > SIZE_MAX - REDZONE - ALIGN || zf_arena_cost(size) > arena->cap - arena->used) {
    zf_error(ZF_ENOMEM, "arena exhausted: %zu of %zu bytes used, %zu more wanted", arena->used,
             arena->cap, size);
    return NULL;
  }
  unsigned char *start = arena->base + arena->used;
  arena->used += zf_arena_cost(size);
  if (arena->used > arena->peak) arena->peak = arena->used;
  UNPOISON(start, size);
  return start;
}

void *zf_arena_array(struct zf_arena *arena, int64_t count, size_t size) {
  if (count < 0 || (size && (uint64_t)count > SIZE_MAX / size)) {
    zf_error(ZF_ENOMEM, "an array of %lld items of %zu bytes is too large", (long long)count, size);
    return NULL;
  }
  return zf_arena_alloc(arena, (size_t)count * size);
}

void zf_arena_rewind(struct zf_arena *arena, size_t mark) {
  if (mark < arena->used) {
    POISON(arena->base + mark, arena->used - mark);
    arena->used = mark;
  }
}

void *zf_malloc(size_t size) {
  void *memory = malloc(size ? size : 1);
  if (!memory) zf_error(ZF_ENOMEM, "out of memory: %zu bytes wanted", size);
  return memory;
}

void *zf_calloc(int64_t count, size_t size) {
  void *memory = NULL;
  if (count >= 0 && (!size || (uint64_t)count <= SIZE_MAX / size))
    memory = calloc(count ? (size_t)count : 1, size ? size : 1);
  if (!memory)
    zf_error(ZF_ENOMEM, "out of memory: %lld items of %zu bytes wanted", (long long)count, size);
  return memory;
}

void *zf_grow(void *array, int64_t count, int64_t *cap, size_t size) {
  if (count < *cap) return array;
  int64_t larger = *cap ? 2 * *cap : 16;
  void *grown = (uint64_t)larger <= SIZE_MAX / size ? realloc(array, (size_t)larger * size) : NULL;
  if (grown)
    *cap = larger;
  else
    zf_error(ZF_ENOMEM, "out of memory: %lld items of %zu bytes wanted", (long long)larger, size);
  return grown;
}
