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

struct unigram_model {
  const struct zf_vocab *vocab;
  double *score;              /* by id */
  int32_t *sorted;            /* entries of the vocabulary that text may give */
  int64_t first_by_byte[257]; /* of sorted, by the first byte */
  int32_t byte_id[256];       /* id of "<0xXX>" */
  int32_t unk;
  int byte_fallback, as_sentencepiece; /* own: as SentencePiece itself */
  double unk_score;
  char *where;
};

static void free_unigram(void *self) {
  struct unigram_model *unigram = self;
  if (!unigram) return;
  free(unigram->score);
  free(unigram->sorted);
  free(unigram->where);
  free(unigram);
}

/* --- reading ------------------------------------------------------------------- */

static int parse_vocab(struct unigram_model *unigram, struct zf_vocab *vocab,
                       struct zf_scored *list, const json_t *def) {
  int rc = zf_scored_parse(list, vocab, &unigram->score, def, unigram->where);
  for (int64_t i = 0; !rc && i < list->count; i++)
    if (i == 0 || unigram->score[i] < unigram->unk_score) unigram->unk_score = unigram->score[i];
  unigram->unk_score -= UNK_PENALTY;
  if (unigram->as_sentencepiece) unigram->unk_score = (float)unigram->unk_score;
  return rc;
}

static int parse_fields(struct unigram_model *unigram, const json_t *def) {
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
  const struct zf_vocab_entry *other = &sorting->entry[*(const int32_t *)b];
  size_t len = entry->len < other->len ? entry->len : other->len;
  int order = memcmp(sorting->text.data + entry->off, sorting->text.data + other->off, len);
  return order ? order : (entry->len > other->len) - (entry->len < other->len);
}

static unsigned char byte_at(const struct unigram_model *unigram, int64_t index, int64_t offset) {
  return (unsigned char)
      unigram->vocab->text.data[unigram->vocab->entry[unigram->sorted[index]].off + offset];
}

/* Text never gives the control pieces of a SentencePiece file. */
static int index_pieces(struct unigram_model *unigram, const struct zf_scored *list) {
  int64_t count = 0, at = 0;
  unigram->sorted = zf_malloc((size_t)(unigram->vocab->count + 1) * sizeof *unigram->sorted);
  if (!unigram->sorted) return ZF_ENOMEM;
  for (int64_t i = 0; i < unigram->vocab->count; i++) {
    if (unigram->vocab->entry[i].len && zf_scored_is_plain(list, i))
      unigram->sorted[count++] = (int32_t)i;
  }
  sorting = unigram->vocab;
  qsort(unigram->sorted, (size_t)count, sizeof *unigram->sorted, by_bytes);
  for (int byte = 0; byte < 256; byte++) {
    unigram->first_by_byte[byte] = at;
    while (at < count && byte_at(unigram, at, 0) == byte) at++;
  }
  unigram->first_by_byte[256] = count;
  return 0;
}

static int parse_unigram(void **self, struct zf_vocab *vocab, const json_t *def,
                         const char *where) {
  struct unigram_model *unigram = zf_calloc(1, sizeof *unigram);
  if (!unigram) return ZF_ENOMEM;
  unigram->vocab = vocab;
  unigram->as_sentencepiece = json_is_true(json_object_get(def, ZF_SPM_KEY));
  unigram->where = zf_strdup(where);
  struct zf_scored list;
  int rc = unigram->where ? parse_vocab(unigram, vocab, &list, def) : ZF_ENOMEM;
  if (!rc) rc = parse_fields(unigram, def);
  if (!rc) rc = index_pieces(unigram, &list);
  if (rc) {
    free_unigram(unigram);
    return rc;
  }
  zf_vocab_bytes(vocab, unigram->byte_id);
  *self = unigram;
  return 0;
}

/* --- the best path --------------------------------------------------------------- */

struct lattice_node { /* the best way to reach a byte */
  double score;
  int32_t from; /* -1: not reached */
  int32_t id;
};

struct unigram_scratch {
  struct lattice_node *node;
  int64_t cap;
};

static void free_scratch(void *memory) {
  struct unigram_scratch *scratch = memory;
  free(scratch->node);
  free(scratch);
}

static int reserve(struct unigram_scratch *scratch, int64_t count) {
  if (count <= scratch->cap) return 0;
  struct lattice_node *node = realloc(scratch->node, (size_t)count * 2 * sizeof *node);
  if (!node) return zf_error(ZF_ENOMEM, "out of memory for a text of %lld bytes", (long long)count);
  scratch->node = node;
  scratch->cap = count * 2;
  return 0;
}

static void relax_edge(const struct unigram_model *unigram, struct lattice_node *to,
                       const struct lattice_node *from, int32_t at, int32_t id, double score) {
  double sum = score + from->score;
  if (unigram->as_sentencepiece) sum = (float)sum;
  if (to->from >= 0 && !(sum > to->score)) return;
  *to = (struct lattice_node){sum, at, id};
}

/* First of sorted[lo,hi) whose byte k is at least c; all have more than k bytes. */
static int64_t lower_bound(const struct unigram_model *unigram, int64_t lo, int64_t hi,
                           int64_t offset, int byte) {
  while (lo < hi) {
    int64_t mid = lo + (hi - lo) / 2;
    if (byte_at(unigram, mid, offset) < byte)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Offers every piece that begins at s[at]; says whether one is the character alone. */
static int relax_pieces(const struct unigram_model *unigram, struct lattice_node *nodes,
                        const char *text, int64_t at, int64_t len, int64_t character_len) {
  int byte = (unsigned char)text[at], has_character = 0;
  int64_t lo = unigram->first_by_byte[byte], hi = unigram->first_by_byte[byte + 1];
  for (int64_t piece_len = 1; lo < hi; piece_len++) {
    const struct zf_vocab_entry *entry = &unigram->vocab->entry[unigram->sorted[lo]];
    if (entry->len == piece_len) {
      relax_edge(unigram, &nodes[at + piece_len], &nodes[at], (int32_t)at, entry->id,
                 unigram->score[entry->id]);
      has_character |= piece_len == character_len;
      lo++;
    }
    if (at + piece_len == len) break;
    byte = (unsigned char)text[at + piece_len];
    lo = lower_bound(unigram, lo, hi, piece_len, byte);
    hi = lower_bound(unigram, lo, hi, piece_len, byte + 1);
  }
  return has_character;
}

static int find_best_path(const struct unigram_model *unigram, struct lattice_node *nodes,
                          const char *text, int64_t len) {
  for (int64_t i = 0; i <= len; i++) nodes[i].from = -1;
  nodes[0].score = 0;
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    int bytes = zf_char_next(&c, text + i, len - i);
    if (!relax_pieces(unigram, nodes, text, i, len, bytes)) {
      if (unigram->unk == NO_ID)
        return zf_error(ZF_EINVALID,
                        "%s: the text has a character that is not in the vocabulary, and there "
                        "is no unk_id",
                        unigram->where);
      relax_edge(unigram, &nodes[i + bytes], &nodes[i], (int32_t)i, unigram->unk,
                 unigram->unk_score);
    }
    i += bytes;
  }
  return 0;
}

/* --- ids ---------------------------------------------------------------------------- */

static int emit_unknown(const struct unigram_model *unigram, struct zf_encoding *encoding,
                        int64_t off, int64_t len) {
  const unsigned char *bytes = (const unsigned char *)encoding->text.data + off;
  int32_t id =
      unigram->as_sentencepiece ? -1 : zf_vocab_find(unigram->vocab, (const char *)bytes, len);
  int as_bytes = unigram->byte_fallback && id < 0, rc = 0;
  for (int64_t i = 0; i < len; i++) as_bytes &= unigram->byte_id[bytes[i]] >= 0;
  if (!as_bytes) return zf_encoding_emit(encoding, id >= 0 ? id : unigram->unk, off, len);
  for (int64_t i = 0; !rc && i < len; i++)
    rc = zf_encoding_emit(encoding, unigram->byte_id[bytes[i]], off, len);
  return rc;
}

/* Walks back, then gives ids forward; unknown pieces in a row are one. */
static int emit_path(const struct unigram_model *unigram, struct zf_encoding *encoding,
                     const struct lattice_node *nodes, const struct zf_span *span) {
  int rc = 0;
  encoding->segment_count = 0;
  for (int64_t end = span->len; !rc && end > 0;) {
    int unknown = nodes[end].id == unigram->unk;
    struct zf_text_segment *last =
        encoding->segment_count ? &encoding->segment[encoding->segment_count - 1] : NULL;
    if (unknown && last && last->match == unigram->unk)
      last->from = nodes[end].from;
    else
      rc = zf_encoding_add_segment(encoding, nodes[end].from, end, nodes[end].id);
    end = nodes[end].from;
  }
  for (int64_t i = encoding->segment_count - 1; !rc && i >= 0; i--) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    int64_t off = span->off + segment->from, len = segment->to - segment->from;
    rc = segment->match == unigram->unk ? emit_unknown(unigram, encoding, off, len)
                                        : zf_encoding_emit(encoding, segment->match, off, len);
  }
  return rc;
}

static int encode_unigram(const void *self, struct zf_encoding *encoding) {
  const struct unigram_model *unigram = self;
  struct unigram_scratch *scratch = encoding->model_scratch;
  int rc = 0;
  if (!scratch) scratch = encoding->model_scratch = zf_calloc(1, sizeof *scratch);
  if (!scratch) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    if (span->id >= 0) {
      rc = zf_encoding_emit(encoding, span->id, span->off, span->len);
      continue;
    }
    rc = reserve(scratch, span->len + 1);
    if (!rc)
      rc = find_best_path(unigram, scratch->node, encoding->text.data + span->off, span->len);
    if (!rc) rc = emit_path(unigram, encoding, scratch->node, span);
  }
  return rc;
}

static const char *describe(const void *self) {
  return ((const struct unigram_model *)self)->byte_fallback ? "Unigram with byte fallback"
                                                             : "Unigram";
}

const struct zf_model_row zf_unigram_row = {"Unigram",    parse_unigram, encode_unigram,
                                            free_unigram, free_scratch,  describe};
