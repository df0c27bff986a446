/* Unigram: the most likely segmentation of a text into pieces (Kudo 2018), found by Viterbi's
 * algorithm over the bytes at which characters begin.
 *
 * The pieces that begin at a byte are found in the vocabulary sorted by bytes: the range of those
 * that share the first k bytes narrows as k grows, and the piece of exactly k bytes, if there is
 * one, comes first in it.
 *
 *   sorted  a ab abc b     at "abx":  k=1 [a ab abc] -> a   k=2 [ab abc] -> ab   k=3 none
 *
 * Scores are summed in double, as the `tokenizers` package does, or in float, as SentencePiece
 * does, if the file was SentencePiece's own. */
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
  int32_t *sorted;            /* indices of the vocabulary entries that text can give, by bytes */
  int64_t first_by_byte[257]; /* of sorted, by the first byte */
  int32_t byte_id[256];       /* id of "<0xXX>" */
  int32_t unk;
  int byte_fallback, as_sentencepiece;
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
  if (rc) return rc;
  for (int64_t i = 0; i < list->count; i++)
    if (i == 0 || unigram->score[i] < unigram->unk_score) unigram->unk_score = unigram->score[i];
  unigram->unk_score -= UNK_PENALTY;
  if (unigram->as_sentencepiece) unigram->unk_score = (float)unigram->unk_score;
  return 0;
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

static const struct zf_vocab *sorting; /* for by_bytes, which qsort gives no context */
#pragma omp threadprivate(sorting)

static int by_bytes(const void *a, const void *b) {
  const struct zf_vocab_entry *left = &sorting->entry[*(const int32_t *)a];
  const struct zf_vocab_entry *right = &sorting->entry[*(const int32_t *)b];
  size_t len = left->len < right->len ? left->len : right->len;
  int order = memcmp(sorting->text.data + left->off, sorting->text.data + right->off, len);
  return order ? order : (left->len > right->len) - (left->len < right->len);
}

/* The byte at `offset` of the piece sorted[index]. */
static unsigned char byte_at(const struct unigram_model *unigram, int64_t index, int64_t offset) {
  const struct zf_vocab_entry *entry = &unigram->vocab->entry[unigram->sorted[index]];
  return (unsigned char)unigram->vocab->text.data[entry->off + offset];
}

/* The control pieces of a SentencePiece file are left out: text never gives them. */
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

struct lattice_node { /* the best path to a byte */
  double score;
  int32_t from; /* byte at which its last piece begins; -1: no path yet */
  int32_t id;   /* its last piece */
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

/* Takes the path over `from` with the piece `id`, if it is better than the one known to `to`. */
static void relax_edge(const struct unigram_model *unigram, struct lattice_node *to,
                       const struct lattice_node *from, int32_t at, int32_t id, double score) {
  double sum = score + from->score;
  if (unigram->as_sentencepiece) sum = (float)sum;
  if (to->from >= 0 && !(sum > to->score)) return;
  *to = (struct lattice_node){sum, at, id};
}

/* The first of sorted[lo,hi) whose byte at `offset` is at least `byte`; all are longer than
 * `offset`. */
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

/* Relaxes the edges of all pieces that begin at text[at].  Returns whether the character there is a
 * piece of its own. */
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
  int bytes;
  for (int64_t i = 0; i <= len; i++) nodes[i].from = -1;
  nodes[0].score = 0;
  for (int64_t i = 0; i < len; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, text + i, len - i);
    if (relax_pieces(unigram, nodes, text, i, len, bytes)) continue;
    if (unigram->unk == NO_ID)
      return zf_error(ZF_EINVALID,
                      "%s: the text has a character that is not in the vocabulary, and there "
                      "is no unk_id",
                      unigram->where);
    relax_edge(unigram, &nodes[i + bytes], &nodes[i], (int32_t)i, unigram->unk, unigram->unk_score);
  }
  return 0;
}

/* The bytes of an unknown stretch as pieces "<0xXX>", if all are in the vocabulary, else the
 * unknown token. */
static int emit_unknown(const struct unigram_model *unigram, struct zf_encoding *encoding,
                        int64_t off, int64_t len) {
  const unsigned char *bytes = (const unsigned char *)encoding->text.data + off;
  int32_t id =
      unigram->as_sentencepiece ? -1 : zf_vocab_find(unigram->vocab, (const char *)bytes, len);
  int as_bytes = unigram->byte_fallback && id < 0;
  for (int64_t i = 0; i < len; i++) as_bytes &= unigram->byte_id[bytes[i]] >= 0;
  if (!as_bytes) return zf_encoding_emit(encoding, id >= 0 ? id : unigram->unk, off, len);
  for (int64_t i = 0; i < len; i++) {
    int rc = zf_encoding_emit(encoding, unigram->byte_id[bytes[i]], off, len);
    if (rc) return rc;
  }
  return 0;
}

/* Follows the best path back from its end: its pieces as segments with the id as `match`, the last
 * one first.  Neighbouring unknown pieces become one. */
static int trace_path(const struct unigram_model *unigram, struct zf_encoding *encoding,
                      const struct lattice_node *nodes, int64_t len) {
  encoding->segment_count = 0;
  for (int64_t end = len; end > 0; end = nodes[end].from) {
    const struct lattice_node *node = &nodes[end];
    struct zf_text_segment *last =
        encoding->segment_count ? &encoding->segment[encoding->segment_count - 1] : NULL;
    if (node->id == unigram->unk && last && last->match == unigram->unk) {
      last->from = node->from;
      continue;
    }
    int rc = zf_encoding_add_segment(encoding, node->from, end, node->id);
    if (rc) return rc;
  }
  return 0;
}

/* Emits the ids of the best path. */
static int emit_path(const struct unigram_model *unigram, struct zf_encoding *encoding,
                     const struct lattice_node *nodes, const struct zf_span *span) {
  int rc = trace_path(unigram, encoding, nodes, span->len);
  if (rc) return rc;
  for (int64_t i = encoding->segment_count - 1; i >= 0; i--) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    int64_t off = span->off + segment->from, len = segment->to - segment->from;
    rc = segment->match == unigram->unk ? emit_unknown(unigram, encoding, off, len)
                                        : zf_encoding_emit(encoding, segment->match, off, len);
    if (rc) return rc;
  }
  return 0;
}

static int encode_span(const struct unigram_model *unigram, struct unigram_scratch *scratch,
                       struct zf_encoding *encoding, const struct zf_span *span) {
  if (span->id >= 0) return zf_encoding_emit(encoding, span->id, span->off, span->len);
  int rc = reserve(scratch, span->len + 1);
  if (rc) return rc;
  rc = find_best_path(unigram, scratch->node, encoding->text.data + span->off, span->len);
  return rc ? rc : emit_path(unigram, encoding, scratch->node, span);
}

static int encode_unigram(const void *self, struct zf_encoding *encoding) {
  struct unigram_scratch *scratch = encoding->model_scratch;
  if (!scratch) scratch = encoding->model_scratch = zf_calloc(1, sizeof *scratch);
  if (!scratch) return ZF_ENOMEM;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    int rc = encode_span(self, scratch, encoding, &encoding->span[i]);
    if (rc) return rc;
  }
  return 0;
}

static const char *describe(const void *self) {
  return ((const struct unigram_model *)self)->byte_fallback ? "Unigram with byte fallback"
                                                             : "Unigram";
}

const struct zf_model_row zf_unigram_row = {"Unigram",    parse_unigram, encode_unigram,
                                            free_unigram, free_scratch,  describe};
