/* Unigram: the most likely way to cut a text into pieces (Kudo 2018), found by
 * Viterbi's algorithm over the bytes at which characters begin.
 *
 * Pieces that begin at a place are found in the vocabulary sorted by bytes: the range
 * of those that share the first k bytes narrows as k grows, and the one that ends
 * there, if any, comes first in it.
 *
 *   sorted  a ab abc b     at "abx":  k=1 [a ab abc] -> a   k=2 [ab abc] -> ab   k=3 none
 *
 * Scores are summed in double as the original does, or in float as SentencePiece does
 * where the file was one of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { UNK_PENALTY = 10, NO_ID = -1 };

struct unigram {
  const struct zf_vocab *vocab;
  double *score;      /* by id */
  int32_t *sorted;    /* entries of the vocabulary that text may give */
  int64_t first[257]; /* of sorted, by the first byte */
  int32_t byte[256];  /* id of "<0xXX>" */
  int32_t unk;
  int byte_fallback, own; /* own: as SentencePiece itself */
  double unk_score;
  char *where;
};

static void free_unigram(void *self) {
  struct unigram *u = self;
  if (!u) return;
  free(u->score);
  free(u->sorted);
  free(u->where);
  free(u);
}

/* --- reading ------------------------------------------------------------------- */

static int parse_vocab(struct unigram *u, struct zf_vocab *v, struct zf_scored *list,
                       const json_t *def) {
  int rc = zf_scored_parse(list, v, &u->score, def, u->where);
  for (int64_t i = 0; !rc && i < list->count; i++)
    if (i == 0 || u->score[i] < u->unk_score) u->unk_score = u->score[i];
  u->unk_score -= UNK_PENALTY;
  if (u->own) u->unk_score = (float)u->unk_score;
  return rc;
}

static int parse_fields(struct unigram *u, const json_t *def) {
  int64_t unk = NO_ID;
  int rc = zf_json_int(&unk, def, "unk_id", u->where);
  if (!rc) rc = zf_json_bool(&u->byte_fallback, def, "byte_fallback", u->where);
  if (rc) return rc;
  if (unk != NO_ID && (unk < 0 || unk >= u->vocab->count))
    return zf_error(ZF_EINVALID, "%s: unk_id %lld, but there are %lld pieces", u->where,
                    (long long)unk, (long long)u->vocab->count);
  u->unk = (int32_t)unk;
  return 0;
}

static const struct zf_vocab *sorting; /* of this thread's call */
#pragma omp threadprivate(sorting)

static int by_bytes(const void *a, const void *b) {
  const struct zf_vocab_entry *x = &sorting->entry[*(const int32_t *)a];
  const struct zf_vocab_entry *y = &sorting->entry[*(const int32_t *)b];
  size_t n = x->len < y->len ? x->len : y->len;
  int c = memcmp(sorting->text.data + x->off, sorting->text.data + y->off, n);
  return c ? c : (x->len > y->len) - (x->len < y->len);
}

static unsigned char byte_at(const struct unigram *u, int64_t i, int64_t k) {
  return (unsigned char)u->vocab->text.data[u->vocab->entry[u->sorted[i]].off + k];
}

/* Text never gives the control pieces of a SentencePiece file. */
static int index_pieces(struct unigram *u, const struct zf_scored *list) {
  int64_t n = 0, at = 0;
  u->sorted = zf_malloc((size_t)(u->vocab->count + 1) * sizeof *u->sorted);
  if (!u->sorted) return ZF_ENOMEM;
  for (int64_t i = 0; i < u->vocab->count; i++) {
    if (u->vocab->entry[i].len && zf_scored_plain(list, i)) u->sorted[n++] = (int32_t)i;
  }
  sorting = u->vocab;
  qsort(u->sorted, (size_t)n, sizeof *u->sorted, by_bytes);
  for (int c = 0; c < 256; c++) {
    u->first[c] = at;
    while (at < n && byte_at(u, at, 0) == c) at++;
  }
  u->first[256] = n;
  return 0;
}

static int parse_unigram(void **self, struct zf_vocab *v, const json_t *def, const char *where) {
  struct unigram *u = zf_calloc(1, sizeof *u);
  if (!u) return ZF_ENOMEM;
  u->vocab = v;
  u->own = json_is_true(json_object_get(def, ZF_SPM_KEY));
  u->where = zf_strdup(where);
  struct zf_scored list;
  int rc = u->where ? parse_vocab(u, v, &list, def) : ZF_ENOMEM;
  if (!rc) rc = parse_fields(u, def);
  if (!rc) rc = index_pieces(u, &list);
  if (rc) {
    free_unigram(u);
    return rc;
  }
  zf_vocab_bytes(v, u->byte);
  *self = u;
  return 0;
}

/* --- the best path --------------------------------------------------------------- */

struct node { /* the best way to reach a byte */
  double score;
  int32_t from; /* -1: not reached */
  int32_t id;
};

struct scratch {
  struct node *node;
  int64_t cap;
};

static void free_scratch(void *p) {
  struct scratch *s = p;
  free(s->node);
  free(s);
}

static int reserve(struct scratch *s, int64_t n) {
  if (n <= s->cap) return 0;
  struct node *p = realloc(s->node, (size_t)n * 2 * sizeof *p);
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for a text of %lld bytes", (long long)n);
  s->node = p;
  s->cap = n * 2;
  return 0;
}

static void offer(const struct unigram *u, struct node *to, const struct node *from, int32_t at,
                  int32_t id, double score) {
  double sum = score + from->score;
  if (u->own) sum = (float)sum;
  if (to->from >= 0 && !(sum > to->score)) return;
  *to = (struct node){sum, at, id};
}

/* First of sorted[lo,hi) whose byte k is at least c; all have more than k bytes. */
static int64_t bound(const struct unigram *u, int64_t lo, int64_t hi, int64_t k, int c) {
  while (lo < hi) {
    int64_t mid = lo + (hi - lo) / 2;
    if (byte_at(u, mid, k) < c)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Offers every piece that begins at s[at]; says whether one is the character alone. */
static int offer_pieces(const struct unigram *u, struct node *node, const char *s, int64_t at,
                        int64_t n, int64_t character) {
  int c = (unsigned char)s[at], alone = 0;
  int64_t lo = u->first[c], hi = u->first[c + 1];
  for (int64_t k = 1; lo < hi; k++) {
    const struct zf_vocab_entry *e = &u->vocab->entry[u->sorted[lo]];
    if (e->len == k) {
      offer(u, &node[at + k], &node[at], (int32_t)at, e->id, u->score[e->id]);
      alone |= k == character;
      lo++;
    }
    if (at + k == n) break;
    c = (unsigned char)s[at + k];
    lo = bound(u, lo, hi, k, c);
    hi = bound(u, lo, hi, k, c + 1);
  }
  return alone;
}

static int search(const struct unigram *u, struct node *node, const char *s, int64_t n) {
  for (int64_t i = 0; i <= n; i++) node[i].from = -1;
  node[0].score = 0;
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    int k = zf_char_next(&c, s + i, n - i);
    if (!offer_pieces(u, node, s, i, n, k)) {
      if (u->unk == NO_ID)
        return zf_error(ZF_EINVALID,
                        "%s: the text has a character that is not in the vocabulary, and there "
                        "is no unk_id",
                        u->where);
      offer(u, &node[i + k], &node[i], (int32_t)i, u->unk, u->unk_score);
    }
    i += k;
  }
  return 0;
}

/* --- ids ---------------------------------------------------------------------------- */

static int emit_unknown(const struct unigram *u, struct zf_encoding *w, int64_t off, int64_t n) {
  const unsigned char *s = (const unsigned char *)w->cur.data + off;
  int32_t id = u->own ? -1 : zf_vocab_find(u->vocab, (const char *)s, n);
  int spelled = u->byte_fallback && id < 0, rc = 0;
  for (int64_t i = 0; i < n; i++) spelled &= u->byte[s[i]] >= 0;
  if (!spelled) return zf_encoding_emit(w, id >= 0 ? id : u->unk, off, n);
  for (int64_t i = 0; !rc && i < n; i++) rc = zf_encoding_emit(w, u->byte[s[i]], off, n);
  return rc;
}

/* Walks back, then gives ids forward; unknown pieces in a row are one. */
static int emit_path(const struct unigram *u, struct zf_encoding *w, const struct node *node,
                     const struct zf_piece *p) {
  int rc = 0;
  w->segment_count = 0;
  for (int64_t end = p->len; !rc && end > 0;) {
    int unknown = node[end].id == u->unk;
    struct zf_text_segment *last = w->segment_count ? &w->segment[w->segment_count - 1] : NULL;
    if (unknown && last && last->match == u->unk)
      last->from = node[end].from;
    else
      rc = zf_encoding_segment(w, node[end].from, end, node[end].id);
    end = node[end].from;
  }
  for (int64_t i = w->segment_count - 1; !rc && i >= 0; i--) {
    const struct zf_text_segment *s = &w->segment[i];
    int64_t off = p->off + s->from, n = s->to - s->from;
    rc = s->match == u->unk ? emit_unknown(u, w, off, n) : zf_encoding_emit(w, s->match, off, n);
  }
  return rc;
}

static int encode_unigram(const void *self, struct zf_encoding *w) {
  const struct unigram *u = self;
  struct scratch *s = w->scratch;
  int rc = 0;
  if (!s) s = w->scratch = zf_calloc(1, sizeof *s);
  if (!s) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece *p = &w->piece[i];
    if (p->id >= 0) {
      rc = zf_encoding_emit(w, p->id, p->off, p->len);
      continue;
    }
    rc = reserve(s, p->len + 1);
    if (!rc) rc = search(u, s->node, w->cur.data + p->off, p->len);
    if (!rc) rc = emit_path(u, w, s->node, p);
  }
  return rc;
}

static const char *describe(const void *self) {
  return ((const struct unigram *)self)->byte_fallback ? "Unigram with byte fallback" : "Unigram";
}

const struct zf_model_row zf_unigram_row = {"Unigram",    parse_unigram, encode_unigram,
                                            free_unigram, free_scratch,  describe};
