/* Arenas: memory with one lifetime (model, run, step).
 *
 * An arena reserves address space once.  An allocation moves an offset; single allocations are not
 * freed.  Pages become resident when they are first written.  The arena of a step is rewound, not
 * freed, so that steps after the first one ask the system for nothing.
 *
 * Under AddressSanitizer the gap between two allocations is poisoned. */
#ifndef ZF_BASE_ARENA_H
#define ZF_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_arena {
  unsigned char *base;
  size_t cap;  /* bytes reserved */
  size_t used; /* bytes handed out, alignment included */
  size_t peak; /* largest `used` so far */
};

/* Reserves `cap` bytes of zeroed memory.  ZF_ENOMEM. */
int zf_arena_init(struct zf_arena *arena, size_t cap);

/* Gives the reservation back.  A zeroed arena is allowed. */
void zf_arena_free(struct zf_arena *arena);

/* `size` bytes aligned to 64, or NULL, with ZF_ENOMEM in the error slot, if the reservation is
 * exhausted.  After a rewind the contents are undefined. */
void *zf_arena_alloc(struct zf_arena *arena, size_t size);

/* count * size bytes, the product checked for overflow. */
void *zf_arena_array(struct zf_arena *arena, int64_t count, size_t size);

/* Forgets everything allocated after `mark`, a value of `used` taken earlier. */
void zf_arena_rewind(struct zf_arena *arena, size_t mark);

/* Bytes of the arena that an allocation of `size` takes. */
size_t zf_arena_cost(size_t size);

/* malloc and calloc that set the error slot to ZF_ENOMEM on failure; the caller frees. */
void *zf_malloc(size_t size);
void *zf_calloc(int64_t count, size_t size);

/* `array` of `count` entries of `size` bytes with room for one more, by doubling *cap; NULL, with the
 * error of zf_calloc and the array as it was, when there is no memory. */
void *zf_grow(void *array, int64_t count, int64_t *cap, size_t size);

ZF_END_DECLS

#endif
