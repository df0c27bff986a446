/* Merging one word, lowest rank first, leftmost first among equals.
 *
 * For a short word, each step searches all pairs for the best one: that is faster than a heap up to
 * some dozens of symbols.  A long word (a run of spaces, a base64 blob) keeps its pairs in a heap;
 * an entry whose pair no longer exists is skipped when it is popped. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "bpe_internal.h"

enum { SHORT = 40 };
#define NO_MERGE UINT32_MAX /* rank of a pair that does not merge */

static uint64_t slot_of(const struct zf_merges *merges, int32_t left, int32_t right) {
  uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  key *= 0x9E3779B97F4A7C15u;
  return (key ^ key >> 29) & merges->mask;
}

int zf_merges_reserve(struct zf_merges *merges, int64_t count) {
  int64_t slots = 16;
  while (slots < count + count / 2 + 1) slots *= 2;
  merges->slot = zf_calloc(slots, sizeof *merges->slot);
  if (!merges->slot) return ZF_ENOMEM;
  for (int64_t i = 0; i < slots; i++) merges->slot[i].left = -1;
  merges->mask = (uint64_t)slots - 1;
  return 0;
}

static struct zf_merge *find_merge(const struct zf_merges *merges, int32_t left, int32_t right) {
  uint64_t slot = slot_of(merges, left, right);
  while (merges->slot[slot].left >= 0 &&
         (merges->slot[slot].left != left || merges->slot[slot].right != right))
    slot = (slot + 1) & merges->mask;
  return &merges->slot[slot];
}

void zf_merges_put(struct zf_merges *merges, int32_t left, int32_t right, uint32_t rank,
                   int32_t merged) {
  *find_merge(merges, left, right) = (struct zf_merge){left, right, rank, merged};
}

int zf_word_add(struct zf_word *word, int32_t id, int64_t bytes) {
  if (word->count == INT32_MAX)
    return zf_error(ZF_EUSAGE, "a word of more than %d characters", INT32_MAX);
  if (word->count == word->cap) {
    int64_t cap = word->cap ? word->cap * 2 : 64;
    struct zf_symbol *sym = realloc(word->symbol, (size_t)cap * sizeof *sym);
    if (!sym) return zf_error(ZF_ENOMEM, "out of memory for a word of %lld", (long long)cap);
    word->symbol = sym;
    word->cap = cap;
  }
  word->symbol[word->count] = (struct zf_symbol){.id = id, .bytes = (int32_t)bytes};
  word->count++;
  return 0;
}

/* --- short words -------------------------------------------------------------- */

/* Looks up the merge of symbol[index] with its right neighbour. */
static void update_rank(struct zf_word *word, const struct zf_merges *merges, int64_t index) {
  struct zf_symbol *symbol = &word->symbol[index];
  symbol->rank = NO_MERGE;
  if (index + 1 >= word->count) return;
  const struct zf_merge *merge = find_merge(merges, symbol->id, symbol[1].id);
  if (merge->left < 0) return;
  symbol->rank = merge->rank;
  symbol->merged = merge->merged;
}

static void merge_short(struct zf_word *word, const struct zf_merges *merges) {
  for (int64_t i = 0; i < word->count; i++) update_rank(word, merges, i);
  for (;;) {
    int64_t best = 0;
    for (int64_t i = 1; i + 1 < word->count; i++)
      if (word->symbol[i].rank < word->symbol[best].rank) best = i;
    struct zf_symbol *symbol = &word->symbol[best];
    if (symbol->rank == NO_MERGE) return;
    symbol->id = symbol->merged;
    symbol->bytes += symbol[1].bytes;
    word->count--;
    memmove(symbol + 1, symbol + 2, (size_t)(word->count - best - 1) * sizeof *symbol);
    update_rank(word, merges, best);
    if (best) update_rank(word, merges, best - 1);
  }
}

/* --- long words: a binary heap ---------------------------------------------------- */

static int ranks_before(const struct zf_merge_candidate *candidate,
                        const struct zf_merge_candidate *other) {
  return candidate->rank != other->rank ? candidate->rank < other->rank
                                        : candidate->index < other->index;
}

static int push_candidate(struct zf_word *word, const struct zf_merges *merges, int32_t index) {
  int32_t next = word->symbol[index].next;
  const struct zf_merge *merge =
      next < 0 ? NULL : find_merge(merges, word->symbol[index].id, word->symbol[next].id);
  if (!merge || merge->left < 0) return 0;
  if (word->heap_count == word->heap_cap) {
    int64_t cap = word->heap_cap ? word->heap_cap * 2 : 256;
    struct zf_merge_candidate *heap = realloc(word->heap, (size_t)cap * sizeof *heap);
    if (!heap) return zf_error(ZF_ENOMEM, "out of memory for %lld merges", (long long)cap);
    word->heap = heap;
    word->heap_cap = cap;
  }
  struct zf_merge_candidate candidate = {merge->rank, index, merge->merged}, *heap = word->heap;
  int64_t hole = word->heap_count++;
  while (hole > 0 && ranks_before(&candidate, &heap[(hole - 1) / 2])) {
    heap[hole] = heap[(hole - 1) / 2];
    hole = (hole - 1) / 2;
  }
  heap[hole] = candidate;
  return 0;
}

static struct zf_merge_candidate pop_candidate(struct zf_word *word) {
  struct zf_merge_candidate *heap = word->heap, top = heap[0], last = heap[--word->heap_count];
  int64_t hole = 0;
  for (;;) {
    int64_t child = hole * 2 + 1;
    if (child >= word->heap_count) break;
    if (child + 1 < word->heap_count && ranks_before(&heap[child + 1], &heap[child])) child++;
    if (!ranks_before(&heap[child], &last)) break;
    heap[hole] = heap[child];
    hole = child;
  }
  heap[hole] = last;
  return top;
}

/* An entry is valid while the pair that stands there now merges into the same token. */
static int is_stale(const struct zf_word *word, const struct zf_merges *merges,
                    const struct zf_merge_candidate *candidate) {
  const struct zf_symbol *symbol = &word->symbol[candidate->index];
  if (symbol->bytes == 0 || symbol->next < 0) return 1;
  const struct zf_merge *merge = find_merge(merges, symbol->id, word->symbol[symbol->next].id);
  return merge->left < 0 || merge->merged != candidate->merged;
}

/* Merges the pair of a candidate and pushes the two new pairs. */
static int merge_pair(struct zf_word *word, const struct zf_merges *merges,
                      const struct zf_merge_candidate *candidate) {
  struct zf_symbol *symbol = &word->symbol[candidate->index];
  struct zf_symbol *right = &word->symbol[symbol->next];
  symbol->id = candidate->merged;
  symbol->bytes += right->bytes;
  symbol->next = right->next;
  right->bytes = 0;
  if (symbol->next >= 0) word->symbol[symbol->next].prev = candidate->index;
  int rc = symbol->prev >= 0 ? push_candidate(word, merges, symbol->prev) : 0;
  return rc ? rc : push_candidate(word, merges, candidate->index);
}

static int merge_long(struct zf_word *word, const struct zf_merges *merges) {
  int rc;
  word->heap_count = 0;
  for (int64_t i = 0; i < word->count; i++) {
    word->symbol[i].prev = (int32_t)i - 1;
    word->symbol[i].next = i + 1 < word->count ? (int32_t)i + 1 : -1;
  }
  for (int64_t i = 0; i < word->count; i++)
    if ((rc = push_candidate(word, merges, (int32_t)i))) return rc;
  while (word->heap_count) {
    struct zf_merge_candidate candidate = pop_candidate(word);
    if (is_stale(word, merges, &candidate)) continue;
    if ((rc = merge_pair(word, merges, &candidate))) return rc;
  }
  int64_t kept = 0;
  for (int64_t i = 0; i < word->count; i++)
    if (word->symbol[i].bytes) word->symbol[kept++] = word->symbol[i];
  word->count = kept;
  return 0;
}

int zf_word_merge(struct zf_word *word, const struct zf_merges *merges) {
  if (word->count > SHORT) return merge_long(word, merges);
  if (word->count > 1) merge_short(word, merges);
  return 0;
}
