/* Merging one word, lowest rank first, leftmost first among equals.
 *
 * A short word looks through all its pairs for the best one: that is faster than a
 * heap up to some dozens of symbols.  A long one (a run of spaces, a base64 blob)
 * keeps its pairs in a heap; an entry whose pair is gone is skipped when it comes up. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "bpe_internal.h"

enum { SHORT = 40 };
#define NONE UINT32_MAX

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

static struct zf_merge *find(const struct zf_merges *merges, int32_t left, int32_t right) {
  uint64_t i = slot_of(merges, left, right);
  while (merges->slot[i].left >= 0 &&
         (merges->slot[i].left != left || merges->slot[i].right != right))
    i = (i + 1) & merges->mask;
  return &merges->slot[i];
}

void zf_merges_put(struct zf_merges *merges, int32_t left, int32_t right, uint32_t rank,
                   int32_t made) {
  *find(merges, left, right) = (struct zf_merge){left, right, rank, made};
}

int zf_word_add(struct zf_word *word, int32_t id, int64_t bytes) {
  if (word->count == INT32_MAX)
    return zf_error(ZF_EUSAGE, "a word of more than %d characters", INT32_MAX);
  if (word->count == word->cap) {
    int64_t cap = word->cap ? word->cap * 2 : 64;
    struct zf_symbol *sym = realloc(word->sym, (size_t)cap * sizeof *sym);
    if (!sym) return zf_error(ZF_ENOMEM, "out of memory for a word of %lld", (long long)cap);
    word->sym = sym;
    word->cap = cap;
  }
  word->sym[word->count] = (struct zf_symbol){.id = id, .bytes = (int32_t)bytes};
  word->count++;
  return 0;
}

/* --- short words -------------------------------------------------------------- */

/* Looks up the merge of sym[i] with its right neighbour. */
static void rate(struct zf_word *word, const struct zf_merges *merges, int64_t i) {
  struct zf_symbol *symbol = &word->sym[i];
  symbol->rank = NONE;
  if (i + 1 >= word->count) return;
  const struct zf_merge *merge = find(merges, symbol->id, symbol[1].id);
  if (merge->left < 0) return;
  symbol->rank = merge->rank;
  symbol->made = merge->made;
}

static void merge_short(struct zf_word *word, const struct zf_merges *merges) {
  for (int64_t i = 0; i < word->count; i++) rate(word, merges, i);
  for (;;) {
    int64_t best = 0;
    for (int64_t i = 1; i + 1 < word->count; i++)
      if (word->sym[i].rank < word->sym[best].rank) best = i;
    struct zf_symbol *symbol = &word->sym[best];
    if (symbol->rank == NONE) return;
    symbol->id = symbol->made;
    symbol->bytes += symbol[1].bytes;
    word->count--;
    memmove(symbol + 1, symbol + 2, (size_t)(word->count - best - 1) * sizeof *symbol);
    rate(word, merges, best);
    if (best) rate(word, merges, best - 1);
  }
}

/* --- long words: a binary heap ---------------------------------------------------- */

static int before(const struct zf_merge_candidate *candidate, const struct zf_merge_candidate *b) {
  return candidate->rank != b->rank ? candidate->rank < b->rank : candidate->at < b->at;
}

static int push(struct zf_word *word, const struct zf_merges *merges, int32_t at) {
  int32_t next = word->sym[at].next;
  const struct zf_merge *merge =
      next < 0 ? NULL : find(merges, word->sym[at].id, word->sym[next].id);
  if (!merge || merge->left < 0) return 0;
  if (word->nheap == word->heap_cap) {
    int64_t cap = word->heap_cap ? word->heap_cap * 2 : 256;
    struct zf_merge_candidate *heap = realloc(word->heap, (size_t)cap * sizeof *heap);
    if (!heap) return zf_error(ZF_ENOMEM, "out of memory for %lld merges", (long long)cap);
    word->heap = heap;
    word->heap_cap = cap;
  }
  struct zf_merge_candidate candidate = {merge->rank, at, merge->made}, *h = word->heap;
  int64_t i = word->nheap++;
  for (; i > 0 && before(&candidate, &h[(i - 1) / 2]); i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
  h[i] = candidate;
  return 0;
}

static struct zf_merge_candidate pop(struct zf_word *word) {
  struct zf_merge_candidate *candidate = word->heap, top = candidate[0],
                            c = candidate[--word->nheap];
  int64_t i = 0;
  for (;;) {
    int64_t k = i * 2 + 1;
    if (k >= word->nheap) break;
    if (k + 1 < word->nheap && before(&candidate[k + 1], &candidate[k])) k++;
    if (!before(&candidate[k], &c)) break;
    candidate[i] = candidate[k];
    i = k;
  }
  candidate[i] = c;
  return top;
}

/* An entry is good while the pair that stands there now makes the same token. */
static int is_stale(const struct zf_word *word, const struct zf_merges *merges,
                    const struct zf_merge_candidate *candidate) {
  const struct zf_symbol *symbol = &word->sym[candidate->at];
  if (symbol->bytes == 0 || symbol->next < 0) return 1;
  const struct zf_merge *merge = find(merges, symbol->id, word->sym[symbol->next].id);
  return merge->left < 0 || merge->made != candidate->made;
}

static int merge_long(struct zf_word *word, const struct zf_merges *merges) {
  int rc = 0;
  word->nheap = 0;
  for (int64_t i = 0; i < word->count; i++) {
    word->sym[i].prev = (int32_t)i - 1;
    word->sym[i].next = i + 1 < word->count ? (int32_t)i + 1 : -1;
  }
  for (int64_t i = 0; !rc && i < word->count; i++) rc = push(word, merges, (int32_t)i);
  while (!rc && word->nheap) {
    struct zf_merge_candidate candidate = pop(word);
    if (is_stale(word, merges, &candidate)) continue;
    struct zf_symbol *symbol = &word->sym[candidate.at], *right = &word->sym[symbol->next];
    symbol->id = candidate.made;
    symbol->bytes += right->bytes;
    symbol->next = right->next;
    right->bytes = 0;
    if (symbol->next >= 0) word->sym[symbol->next].prev = candidate.at;
    rc = symbol->prev >= 0 ? push(word, merges, symbol->prev) : 0;
    if (!rc) rc = push(word, merges, candidate.at);
  }
  int64_t n = 0;
  for (int64_t i = 0; i < word->count; i++)
    if (word->sym[i].bytes) word->sym[n++] = word->sym[i];
  word->count = n;
  return rc;
}

int zf_word_merge(struct zf_word *word, const struct zf_merges *merges) {
  if (word->count > SHORT) return merge_long(word, merges);
  if (word->count > 1) merge_short(word, merges);
  return 0;
}
