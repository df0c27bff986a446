/* BPE: the table of merges, and merging one word. */
#ifndef ZF_TEXT_BPE_INTERNAL_H
#define ZF_TEXT_BPE_INTERNAL_H

#include "text_internal.h"

struct zf_merge {
  int32_t left, right; /* ids of the pair; left -1: empty slot */
  uint32_t rank;
  int32_t merged; /* id of the piece that the pair becomes */
};

struct zf_merges { /* open addressing, at most two thirds full */
  struct zf_merge *slot;
  uint64_t mask;
};

int zf_merges_reserve(struct zf_merges *merges, int64_t count);
/* A pair that is put twice keeps the later rank. */
void zf_merges_put(struct zf_merges *merges, int32_t left, int32_t right, uint32_t rank,
                   int32_t merged);

/* Visits every pair of plain pieces that together make a third: the pairs of the piece with the
 * highest score first, equal scores by id, the pairs of one piece by the position of the split.
 * Pairs whose pieces have equal scores share a rank.  Stops at the first visit that returns
 * non-zero, and returns that. */
int zf_scored_splits(const struct zf_scored *list, const struct zf_vocab *vocab,
                     const double *score, int (*visit)(void *ctx, const struct zf_merge *split),
                     void *ctx);

/* A symbol of a word: at first a character, later what characters have merged into. */
struct zf_symbol {
  int32_t id;
  int32_t prev, next; /* neighbours by index, -1 at the ends; long words alone */
  int32_t bytes;      /* of the text; 0 once it has merged into its left neighbour */
  uint32_t rank;      /* of the merge with the next symbol; short words alone */
  int32_t merged;     /* id that this merge gives */
};

struct zf_merge_candidate {
  uint32_t rank;
  int32_t index, merged;
};

struct zf_word {
  struct zf_symbol *symbol;
  int64_t count, cap;
  struct zf_merge_candidate *heap;
  int64_t heap_count, heap_cap;
};

int zf_word_add(struct zf_word *word, int32_t id, int64_t bytes);
/* Merges, lowest rank first, then leftmost.  The result is symbol[0..count). */
int zf_word_merge(struct zf_word *word, const struct zf_merges *merges);

#endif
