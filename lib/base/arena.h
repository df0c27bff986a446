/* Arenas: memory with one lifetime (model, run, step).
 *
 * An arena is one reservation of address space made at the start; allocation
 * moves an offset, nothing is freed alone.  Pages are touched, and so resident,
 * only where something was allocated.  A step's arena is reset, not freed, so
 * that after the first step nothing is asked of the system.
 *
 * Under AddressSanitizer the gap between two allocations is poisoned. */
#ifndef ZF_BASE_ARENA_H
#define ZF_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct zf_arena {
  unsigned char *base;
  size_t cap;  /* bytes reserved */
  size_t used; /* bytes handed out, alignment included */
  size_t peak; /* largest `used` so far */
};

/* Reserves `cap` bytes of zeroed memory.  ZF_ENOMEM. */
int zf_arena_init(struct zf_arena *arena, size_t cap);

/* Gives the reservation back.  Takes a zeroed arena. */
void zf_arena_free(struct zf_arena *arena);

/* `size` bytes aligned to 64, or NULL when the reservation is exhausted (the
 * error slot then says by how much).  Contents are undefined after a reset. */
void *zf_arena_alloc(struct zf_arena *arena, size_t size);

/* n * size with the product checked. */
void *zf_arena_array(struct zf_arena *arena, int64_t count, size_t size);

/* Forgets everything allocated after `mark`, a value of `used` taken earlier. */
void zf_arena_rewind(struct zf_arena *arena, size_t mark);

/* Bytes that an allocation of `size` takes: for forecasts. */
size_t zf_arena_cost(size_t size);

/* Plain malloc with product checked and the error slot set; caller frees. */
void *zf_malloc(size_t size);
void *zf_calloc(int64_t count, size_t size);

#endif
