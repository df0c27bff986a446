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

static uint64_t slot_of(const struct zf_merges *m, int32_t left, int32_t right) {
  uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  key *= 0x9E3779B97F4A7C15u;
  return (key ^ key >> 29) & m->mask;
}

int zf_merges_reserve(struct zf_merges *m, int64_t n) {
  int64_t slots = 16;
  while (slots < n + n / 2 + 1) slots *= 2;
  m->slot = zf_calloc(slots, sizeof *m->slot);
  if (!m->slot) return ZF_ENOMEM;
  for (int64_t i = 0; i < slots; i++) m->slot[i].left = -1;
  m->mask = (uint64_t)slots - 1;
  return 0;
}

static struct zf_merge *find(const struct zf_merges *m, int32_t left, int32_t right) {
  uint64_t i = slot_of(m, left, right);
  while (m->slot[i].left >= 0 && (m->slot[i].left != left || m->slot[i].right != right))
    i = (i + 1) & m->mask;
  return &m->slot[i];
}

void zf_merges_put(struct zf_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t made) {
  *find(m, left, right) = (struct zf_merge){left, right, rank, made};
}

int zf_word_add(struct zf_word *w, int32_t id, int64_t bytes) {
  if (w->count == INT32_MAX)
    return zf_error(ZF_EUSAGE, "a word of more than %d characters", INT32_MAX);
  if (w->count == w->cap) {
    int64_t cap = w->cap ? w->cap * 2 : 64;
    struct zf_symbol *sym = realloc(w->sym, (size_t)cap * sizeof *sym);
    if (!sym) return zf_error(ZF_ENOMEM, "out of memory for a word of %lld", (long long)cap);
    w->sym = sym;
    w->cap = cap;
  }
  w->sym[w->count] = (struct zf_symbol){.id = id, .bytes = (int32_t)bytes};
  w->count++;
  return 0;
}

/* --- short words -------------------------------------------------------------- */

/* Looks up the merge of sym[i] with its right neighbour. */
static void rate(struct zf_word *w, const struct zf_merges *m, int64_t i) {
  struct zf_symbol *s = &w->sym[i];
  s->rank = NONE;
  if (i + 1 >= w->count) return;
  const struct zf_merge *e = find(m, s->id, s[1].id);
  if (e->left < 0) return;
  s->rank = e->rank;
  s->made = e->made;
}

static void merge_short(struct zf_word *w, const struct zf_merges *m) {
  for (int64_t i = 0; i < w->count; i++) rate(w, m, i);
  for (;;) {
    int64_t best = 0;
    for (int64_t i = 1; i + 1 < w->count; i++)
      if (w->sym[i].rank < w->sym[best].rank) best = i;
    struct zf_symbol *s = &w->sym[best];
    if (s->rank == NONE) return;
    s->id = s->made;
    s->bytes += s[1].bytes;
    w->count--;
    memmove(s + 1, s + 2, (size_t)(w->count - best - 1) * sizeof *s);
    rate(w, m, best);
    if (best) rate(w, m, best - 1);
  }
}

/* --- long words: a binary heap ---------------------------------------------------- */

static int before(const struct zf_merge_candidate *a, const struct zf_merge_candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static int push(struct zf_word *w, const struct zf_merges *m, int32_t at) {
  int32_t next = w->sym[at].next;
  const struct zf_merge *e = next < 0 ? NULL : find(m, w->sym[at].id, w->sym[next].id);
  if (!e || e->left < 0) return 0;
  if (w->nheap == w->heap_cap) {
    int64_t cap = w->heap_cap ? w->heap_cap * 2 : 256;
    struct zf_merge_candidate *heap = realloc(w->heap, (size_t)cap * sizeof *heap);
    if (!heap) return zf_error(ZF_ENOMEM, "out of memory for %lld merges", (long long)cap);
    w->heap = heap;
    w->heap_cap = cap;
  }
  struct zf_merge_candidate c = {e->rank, at, e->made}, *h = w->heap;
  int64_t i = w->nheap++;
  for (; i > 0 && before(&c, &h[(i - 1) / 2]); i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
  h[i] = c;
  return 0;
}

static struct zf_merge_candidate pop(struct zf_word *w) {
  struct zf_merge_candidate *h = w->heap, top = h[0], c = h[--w->nheap];
  int64_t i = 0;
  for (;;) {
    int64_t k = i * 2 + 1;
    if (k >= w->nheap) break;
    if (k + 1 < w->nheap && before(&h[k + 1], &h[k])) k++;
    if (!before(&h[k], &c)) break;
    h[i] = h[k];
    i = k;
  }
  h[i] = c;
  return top;
}

/* An entry is good while the pair that stands there now makes the same token. */
static int is_stale(const struct zf_word *w, const struct zf_merges *m,
                    const struct zf_merge_candidate *c) {
  const struct zf_symbol *s = &w->sym[c->at];
  if (s->bytes == 0 || s->next < 0) return 1;
  const struct zf_merge *e = find(m, s->id, w->sym[s->next].id);
  return e->left < 0 || e->made != c->made;
}

static int merge_long(struct zf_word *w, const struct zf_merges *m) {
  int rc = 0;
  w->nheap = 0;
  for (int64_t i = 0; i < w->count; i++) {
    w->sym[i].prev = (int32_t)i - 1;
    w->sym[i].next = i + 1 < w->count ? (int32_t)i + 1 : -1;
  }
  for (int64_t i = 0; !rc && i < w->count; i++) rc = push(w, m, (int32_t)i);
  while (!rc && w->nheap) {
    struct zf_merge_candidate c = pop(w);
    if (is_stale(w, m, &c)) continue;
    struct zf_symbol *s = &w->sym[c.at], *right = &w->sym[s->next];
    s->id = c.made;
    s->bytes += right->bytes;
    s->next = right->next;
    right->bytes = 0;
    if (s->next >= 0) w->sym[s->next].prev = c.at;
    rc = s->prev >= 0 ? push(w, m, s->prev) : 0;
    if (!rc) rc = push(w, m, c.at);
  }
  int64_t n = 0;
  for (int64_t i = 0; i < w->count; i++)
    if (w->sym[i].bytes) w->sym[n++] = w->sym[i];
  w->count = n;
  return rc;
}

int zf_word_merge(struct zf_word *w, const struct zf_merges *m) {
  if (w->count > SHORT) return merge_long(w, m);
  if (w->count > 1) merge_short(w, m);
  return 0;
}
