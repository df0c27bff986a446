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
  struct unigram *unigram = self;
  if (!unigram) return;
  free(unigram->score);
  free(unigram->sorted);
  free(unigram->where);
  free(unigram);
}

/* --- reading ------------------------------------------------------------------- */

static int parse_vocab(struct unigram *unigram, struct zf_vocab *vocab, struct zf_scored *list,
                       const json_t *def) {
  int rc = zf_scored_parse(list, vocab, &unigram->score, def, unigram->where);
  for (int64_t i = 0; !rc && i < list->count; i++)
    if (i == 0 || unigram->score[i] < unigram->unk_score) unigram->unk_score = unigram->score[i];
  unigram->unk_score -= UNK_PENALTY;
  if (unigram->own) unigram->unk_score = (float)unigram->unk_score;
  return rc;
}

static int parse_fields(struct unigram *unigram, const json_t *def) {
  int64_t unk = NO_ID;
  int rc = zf_json_int(&unk, def, "unk_id", unigram->where);
  if (!rc) rc = zf_json_bool(&unigram->byte_fallback, def, "byte_fallback", unigram->where);
  if (rc) return rc;
  if (unk != NO_ID && (unk < 0 || unk >= unigram->vocab->count))
    return zf_error(ZF_EINVALID, "%s: unk_id %lld, but there are %lld pieces", unigram->where,
                    (long long)unk, (long long)unigram->vocab->count);
  unigram->unk = (int32_t)unk;
  return 0;
}

static const struct zf_vocab *sorting; /* of this thread's call */
#pragma omp threadprivate(sorting)

static int by_bytes(const void *a, const void *b) {
  const struct zf_vocab_entry *entry = &sorting->entry[*(const int32_t *)a];
  const struct zf_vocab_entry *y = &sorting->entry[*(const int32_t *)b];
  size_t n = entry->len < y->len ? entry->len : y->len;
  int c = memcmp(sorting->text.data + entry->off, sorting->text.data + y->off, n);
  return c ? c : (entry->len > y->len) - (entry->len < y->len);
}

static unsigned char byte_at(const struct unigram *unigram, int64_t i, int64_t k) {
  return (unsigned char)
      unigram->vocab->text.data[unigram->vocab->entry[unigram->sorted[i]].off + k];
}

/* Text never gives the control pieces of a SentencePiece file. */
static int index_pieces(struct unigram *unigram, const struct zf_scored *list) {
  int64_t n = 0, at = 0;
  unigram->sorted = zf_malloc((size_t)(unigram->vocab->count + 1) * sizeof *unigram->sorted);
  if (!unigram->sorted) return ZF_ENOMEM;
  for (int64_t i = 0; i < unigram->vocab->count; i++) {
    if (unigram->vocab->entry[i].len && zf_scored_plain(list, i)) unigram->sorted[n++] = (int32_t)i;
  }
  sorting = unigram->vocab;
  qsort(unigram->sorted, (size_t)n, sizeof *unigram->sorted, by_bytes);
  for (int c = 0; c < 256; c++) {
    unigram->first[c] = at;
    while (at < n && byte_at(unigram, at, 0) == c) at++;
  }
  unigram->first[256] = n;
  return 0;
}

static int parse_unigram(void **self, struct zf_vocab *vocab, const json_t *def,
                         const char *where) {
  struct unigram *unigram = zf_calloc(1, sizeof *unigram);
  if (!unigram) return ZF_ENOMEM;
  unigram->vocab = vocab;
  unigram->own = json_is_true(json_object_get(def, ZF_SPM_KEY));
  unigram->where = zf_strdup(where);
  struct zf_scored list;
  int rc = unigram->where ? parse_vocab(unigram, vocab, &list, def) : ZF_ENOMEM;
  if (!rc) rc = parse_fields(unigram, def);
  if (!rc) rc = index_pieces(unigram, &list);
  if (rc) {
    free_unigram(unigram);
    return rc;
  }
  zf_vocab_bytes(vocab, unigram->byte);
  *self = unigram;
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
  struct scratch *scratch = p;
  free(scratch->node);
  free(scratch);
}

static int reserve(struct scratch *scratch, int64_t count) {
  if (count <= scratch->cap) return 0;
  struct node *node = realloc(scratch->node, (size_t)count * 2 * sizeof *node);
  if (!node) return zf_error(ZF_ENOMEM, "out of memory for a text of %lld bytes", (long long)count);
  scratch->node = node;
  scratch->cap = count * 2;
  return 0;
}

static void offer(const struct unigram *unigram, struct node *to, const struct node *from,
                  int32_t at, int32_t id, double score) {
  double sum = score + from->score;
  if (unigram->own) sum = (float)sum;
  if (to->from >= 0 && !(sum > to->score)) return;
  *to = (struct node){sum, at, id};
}

/* First of sorted[lo,hi) whose byte k is at least c; all have more than k bytes. */
static int64_t bound(const struct unigram *unigram, int64_t lo, int64_t hi, int64_t k, int c) {
  while (lo < hi) {
    int64_t mid = lo + (hi - lo) / 2;
    if (byte_at(unigram, mid, k) < c)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Offers every piece that begins at s[at]; says whether one is the character alone. */
static int offer_pieces(const struct unigram *unigram, struct node *node, const char *s, int64_t at,
                        int64_t n, int64_t character) {
  int c = (unsigned char)s[at], alone = 0;
  int64_t lo = unigram->first[c], hi = unigram->first[c + 1];
  for (int64_t k = 1; lo < hi; k++) {
    const struct zf_vocab_entry *entry = &unigram->vocab->entry[unigram->sorted[lo]];
    if (entry->len == k) {
      offer(unigram, &node[at + k], &node[at], (int32_t)at, entry->id, unigram->score[entry->id]);
      alone |= k == character;
      lo++;
    }
    if (at + k == n) break;
    c = (unsigned char)s[at + k];
    lo = bound(unigram, lo, hi, k, c);
    hi = bound(unigram, lo, hi, k, c + 1);
  }
  return alone;
}

static int search(const struct unigram *unigram, struct node *node, const char *s, int64_t len) {
  for (int64_t i = 0; i <= len; i++) node[i].from = -1;
  node[0].score = 0;
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    int k = zf_char_next(&c, s + i, len - i);
    if (!offer_pieces(unigram, node, s, i, len, k)) {
      if (unigram->unk == NO_ID)
        return zf_error(ZF_EINVALID,
                        "%s: the text has a character that is not in the vocabulary, and there "
                        "is no unk_id",
                        unigram->where);
      offer(unigram, &node[i + k], &node[i], (int32_t)i, unigram->unk, unigram->unk_score);
    }
    i += k;
  }
  return 0;
}

/* --- ids ---------------------------------------------------------------------------- */

static int emit_unknown(const struct unigram *unigram, struct zf_encoding *encoding, int64_t off,
                        int64_t n) {
  const unsigned char *s = (const unsigned char *)encoding->cur.data + off;
  int32_t id = unigram->own ? -1 : zf_vocab_find(unigram->vocab, (const char *)s, n);
  int spelled = unigram->byte_fallback && id < 0, rc = 0;
  for (int64_t i = 0; i < n; i++) spelled &= unigram->byte[s[i]] >= 0;
  if (!spelled) return zf_encoding_emit(encoding, id >= 0 ? id : unigram->unk, off, n);
  for (int64_t i = 0; !rc && i < n; i++)
    rc = zf_encoding_emit(encoding, unigram->byte[s[i]], off, n);
  return rc;
}

/* Walks back, then gives ids forward; unknown pieces in a row are one. */
static int emit_path(const struct unigram *unigram, struct zf_encoding *encoding,
                     const struct node *node, const struct zf_piece *piece) {
  int rc = 0;
  encoding->segment_count = 0;
  for (int64_t end = piece->len; !rc && end > 0;) {
    int unknown = node[end].id == unigram->unk;
    struct zf_text_segment *last =
        encoding->segment_count ? &encoding->segment[encoding->segment_count - 1] : NULL;
    if (unknown && last && last->match == unigram->unk)
      last->from = node[end].from;
    else
      rc = zf_encoding_segment(encoding, node[end].from, end, node[end].id);
    end = node[end].from;
  }
  for (int64_t i = encoding->segment_count - 1; !rc && i >= 0; i--) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    int64_t off = piece->off + segment->from, n = segment->to - segment->from;
    rc = segment->match == unigram->unk ? emit_unknown(unigram, encoding, off, n)
                                        : zf_encoding_emit(encoding, segment->match, off, n);
  }
  return rc;
}

static int encode_unigram(const void *self, struct zf_encoding *encoding) {
  const struct unigram *unigram = self;
  struct scratch *scratch = encoding->scratch;
  int rc = 0;
  if (!scratch) scratch = encoding->scratch = zf_calloc(1, sizeof *scratch);
  if (!scratch) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece *piece = &encoding->piece[i];
    if (piece->id >= 0) {
      rc = zf_encoding_emit(encoding, piece->id, piece->off, piece->len);
      continue;
    }
    rc = reserve(scratch, piece->len + 1);
    if (!rc) rc = search(unigram, scratch->node, encoding->cur.data + piece->off, piece->len);
    if (!rc) rc = emit_path(unigram, encoding, scratch->node, piece);
  }
  return rc;
}

static const char *describe(const void *self) {
  return ((const struct unigram *)self)->byte_fallback ? "Unigram with byte fallback" : "Unigram";
}

const struct zf_model_row zf_unigram_row = {"Unigram",    parse_unigram, encode_unigram,
                                            free_unigram, free_scratch,  describe};
