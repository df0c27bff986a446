/* The BPE model: vocabulary, merges, unknown characters.
 *
 * A span is split into characters.  Each is looked up in the vocabulary, with the prefix unless it
 * begins the span and with the suffix if it ends the span.  A character that is not found becomes
 * its bytes "<0xE4>", else the unknown token, else nothing.  Then pairs merge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "bpe_internal.h"
#include "fmt/json.h"

enum { DIRECT = 0x400, AFFIX = 64, NO_UNK = -1, LOST_UNK = -2 };

struct bpe_model {
  const struct zf_vocab *vocab;
  struct zf_merges merges;
  int32_t character[DIRECT]; /* id of a character alone, -1 when absent */
  int32_t byte[256];         /* id of "<0xXX>", -1 when absent */
  int32_t unk; /* an id; NO_UNK: none is named; LOST_UNK: it is not in the vocabulary */
  int fuse_unk, byte_fallback, ignore_merges;
  char prefix[AFFIX], suffix[AFFIX];
  char *where;
};

static void free_bpe(void *self) {
  struct bpe_model *bpe = self;
  if (!bpe) return;
  free(bpe->merges.slot);
  free(bpe->where);
  free(bpe);
}

/* --- reading ------------------------------------------------------------------- */

/* Splits the definition of a merge into its two pieces: "a b", or ["a", "b"]. */
static int split_merge(const json_t *merge, struct zf_buf *left, struct zf_buf *right) {
  zf_buf_clear(left);
  zf_buf_clear(right);
  const char *first = json_string_value(json_array_get(merge, 0)), *space;
  const char *second = json_string_value(json_array_get(merge, 1)),
             *both = json_string_value(merge);
  if (json_is_array(merge) && json_array_size(merge) == 2 && first && second) {
    zf_buf_puts(left, first);
    zf_buf_puts(right, second);
  } else if (both && (space = strchr(both, ' ')) && !strchr(space + 1, ' ')) {
    zf_buf_add(left, both, (size_t)(space - both));
    zf_buf_puts(right, space + 1);
  } else {
    return 0;
  }
  return 1;
}

static int add_merge(struct bpe_model *bpe, uint32_t rank, size_t line, struct zf_buf *left,
                     struct zf_buf *right) {
  size_t skip = strlen(bpe->prefix), cut = left->len;
  int32_t left_id = zf_vocab_find(bpe->vocab, left->data ? left->data : "", (int64_t)left->len);
  int32_t right_id = zf_vocab_find(bpe->vocab, right->data ? right->data : "", (int64_t)right->len);
  if (left_id < 0 || right_id < 0)
    return zf_error(ZF_EINVALID, "%s: merge %zu: '%s' is not in the vocabulary", bpe->where, line,
                    left_id < 0 ? left->data : right->data);
  if (right->len < skip)
    return zf_error(ZF_EINVALID, "%s: merge %zu: '%s' is shorter than the prefix '%s'", bpe->where,
                    line, right->data, bpe->prefix);
  if (right->len > skip) zf_buf_add(left, right->data + skip, right->len - skip);
  if (zf_buf_ok(left)) return ZF_ENOMEM;
  int32_t merged = zf_vocab_find(bpe->vocab, left->data ? left->data : "", (int64_t)left->len);
  if (merged < 0)
    return zf_error(ZF_EINVALID,
                    "%s: merge %zu: '%.*s' + '%s' gives '%s', which is not in the "
                    "vocabulary",
                    bpe->where, line, (int)cut, left->data, right->data, left->data);
  zf_merges_put(&bpe->merges, left_id, right_id, rank, merged);
  return 0;
}

static int parse_merges(struct bpe_model *bpe, const json_t *def) {
  const json_t *list = json_object_get(def, "merges"), *merge;
  struct zf_buf left = {0}, right = {0};
  size_t i;
  uint32_t rank = 0;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: key 'merges': expected an array, found %s", bpe->where,
                    zf_json_kind(list));
  int rc = zf_merges_reserve(&bpe->merges, (int64_t)json_array_size(list));
  json_array_foreach((json_t *)list, i, merge) {
    if (rc) break;
    if (json_is_string(merge) && !strncmp(json_string_value(merge), "#version", 8)) continue;
    if (!split_merge(merge, &left, &right))
      rc = zf_error(ZF_EINVALID, "%s: merge %zu: expected \"a b\" or [\"a\", \"b\"]", bpe->where,
                    i + 1);
    else
      rc = add_merge(bpe, rank++, i + 1, &left, &right);
  }
  zf_buf_free(&left);
  zf_buf_free(&right);
  return rc;
}

/* --- a SentencePiece file -------------------------------------------------------------- */

static int count_split(void *ctx, const struct zf_merge *split) {
  (void)split;
  ++*(int64_t *)ctx;
  return 0;
}

static int put_split(void *ctx, const struct zf_merge *split) {
  zf_merges_put(ctx, split->left, split->right, split->rank, split->merged);
  return 0;
}

static int parse_sentencepiece(struct bpe_model *bpe, struct zf_vocab *vocab, const json_t *def,
                               const char *where) {
  int64_t unk = NO_UNK, splits = 0;
  struct zf_scored list;
  double *score = NULL;
  int rc = zf_scored_parse(&list, vocab, &score, def, where);
  if (rc) goto done;
  if ((rc = zf_json_int(&unk, def, "unk_id", where))) goto done;
  if ((rc = zf_json_bool(&bpe->byte_fallback, def, "byte_fallback", where))) goto done;
  if (unk < NO_UNK || unk >= vocab->count) {
    rc = zf_error(ZF_EINVALID, "%s: unk_id %lld, but there are %lld pieces", where, (long long)unk,
                  (long long)vocab->count);
    goto done;
  }
  bpe->unk = (int32_t)unk;
  bpe->fuse_unk = 1;
  if ((rc = zf_scored_splits(&list, vocab, score, count_split, &splits))) goto done;
  if ((rc = zf_merges_reserve(&bpe->merges, splits))) goto done;
  rc = zf_scored_splits(&list, vocab, score, put_split, &bpe->merges);
done:
  free(score);
  return rc;
}

static int parse_affix(char out[AFFIX], const json_t *def, const char *key, const char *where) {
  const char *text = NULL;
  int rc = zf_json_str(&text, def, key, where);
  if (rc || !text) return rc;
  if (strlen(text) >= AFFIX)
    return zf_error(ZF_EINVALID, "%s: key '%s': longer than %d bytes", where, key, AFFIX - 1);
  strcpy(out, text);
  return 0;
}

static int parse_fields(struct bpe_model *bpe, const json_t *def, const char *where) {
  double dropout = 0;
  const char *unk = NULL;
  int rc = zf_json_num(&dropout, def, "dropout", where);
  if (!rc && dropout != 0)
    rc = zf_error(ZF_EINVALID, "%s: dropout is %g: random encoding is not supported, set it to 0",
                  where, dropout);
  if (!rc) rc = zf_json_str(&unk, def, "unk_token", where);
  if (!rc) rc = zf_json_bool(&bpe->fuse_unk, def, "fuse_unk", where);
  if (!rc) rc = zf_json_bool(&bpe->byte_fallback, def, "byte_fallback", where);
  if (!rc) rc = zf_json_bool(&bpe->ignore_merges, def, "ignore_merges", where);
  if (!rc) rc = parse_affix(bpe->prefix, def, "continuing_subword_prefix", where);
  if (!rc) rc = parse_affix(bpe->suffix, def, "end_of_word_suffix", where);
  if (rc) return rc;
  bpe->unk = unk ? zf_vocab_find(bpe->vocab, unk, (int64_t)strlen(unk)) : NO_UNK;
  if (unk && bpe->unk < 0) bpe->unk = LOST_UNK;
  return 0;
}

static void index_characters(struct bpe_model *bpe) {
  for (uint32_t c = 0; c < DIRECT; c++) {
    char text[4];
    int len = zf_char_put(text, c);
    bpe->character[c] = zf_vocab_find(bpe->vocab, text, len);
  }
  zf_vocab_bytes(bpe->vocab, bpe->byte);
}

static int parse_model(struct bpe_model *bpe, struct zf_vocab *vocab, const json_t *def,
                       const char *where) {
  if (json_is_true(json_object_get(def, ZF_SPM_KEY)))
    return parse_sentencepiece(bpe, vocab, def, where);
  int rc = zf_vocab_parse(vocab, def, where);
  if (!rc) rc = parse_fields(bpe, def, where);
  return rc ? rc : parse_merges(bpe, def);
}

static int parse_bpe(void **self, struct zf_vocab *vocab, const json_t *def, const char *where) {
  struct bpe_model *bpe = zf_calloc(1, sizeof *bpe);
  if (!bpe) return ZF_ENOMEM;
  bpe->vocab = vocab;
  bpe->where = zf_strdup(where);
  int rc = bpe->where ? parse_model(bpe, vocab, def, where) : ZF_ENOMEM;
  if (rc) {
    free_bpe(bpe);
    return rc;
  }
  index_characters(bpe);
  *self = bpe;
  return 0;
}

/* --- encoding --------------------------------------------------------------------- */

/* A span met before in this call: where its text stands in encoding->text, and its ids in the
 * output. */
struct seen_span {
  int64_t off, first_id;
  int32_t len, id_count;
};

struct bpe_scratch {
  struct zf_word word;
  struct seen_span *seen; /* by hash, the latest wins; NULL: not used */
  uint64_t mask;
};

enum { SEEN_SLOTS = 1 << 14, SEEN_FROM = 256, SEEN_BYTES = 64 };

static void free_scratch(void *memory) {
  struct bpe_scratch *scratch = memory;
  free(scratch->word.symbol);
  free(scratch->word.heap);
  free(scratch->seen);
  free(scratch);
}

static struct bpe_scratch *scratch_of(struct zf_encoding *encoding) {
  if (encoding->model_scratch) return encoding->model_scratch;
  struct bpe_scratch *scratch = zf_calloc(1, sizeof *scratch);
  encoding->model_scratch = scratch;
  /* A repeated span copies the ids of the first one; its offsets would be wrong. */
  if (!scratch || encoding->span_count < SEEN_FROM || (encoding->flags & ZF_ENC_OFFSETS))
    return scratch;
  int64_t slots = SEEN_FROM;
  while (slots < encoding->span_count && slots < SEEN_SLOTS) slots *= 2;
  scratch->seen = zf_calloc(slots, sizeof *scratch->seen);
  scratch->mask = (uint64_t)slots - 1;
  return scratch;
}

static int32_t find_character(const struct bpe_model *bpe, const char *utf8, int length,
                              uint32_t character, int first, int last) {
  char text[AFFIX * 2 + 4];
  size_t len = 0;
  int prefix = !first && bpe->prefix[0], suffix = last && bpe->suffix[0];
  if (!prefix && !suffix)
    return character < DIRECT ? bpe->character[character] : zf_vocab_find(bpe->vocab, utf8, length);
  if (prefix) len = strlen(strcpy(text, bpe->prefix));
  memcpy(text + len, utf8, (size_t)length);
  len += (size_t)length;
  if (suffix) len += strlen(strcpy(text + len, bpe->suffix));
  return zf_vocab_find(bpe->vocab, text, (int64_t)len);
}

/* Adds the bytes of a text if the vocabulary has all of them: 1, 0 if it has not, or a code. */
static int add_byte_tokens(const struct bpe_model *bpe, struct zf_word *word, const char *text,
                           int64_t len) {
  for (int64_t i = 0; i < len; i++)
    if (bpe->byte[(unsigned char)text[i]] < 0) return 0;
  for (int64_t i = 0; i < len; i++) {
    int rc = zf_word_add(word, bpe->byte[(unsigned char)text[i]], 1);
    if (rc) return rc;
  }
  return 1;
}

/* A character that is not in the vocabulary.  *pending counts the bytes of the unknown token that
 * neighbouring unknown characters still extend.  Byte tokens are added before it, as the
 * `tokenizers` package does. */
static int add_unknown(const struct bpe_model *bpe, struct zf_word *word, const char *text, int len,
                       int64_t *pending) {
  if (bpe->byte_fallback) {
    int rc = add_byte_tokens(bpe, word, text, len);
    if (rc) return rc < 0 ? rc : 0;
  }
  if (bpe->unk == NO_UNK) return 0;
  if (bpe->unk == LOST_UNK)
    return zf_error(ZF_EINVALID,
                    "%s: the text has a character that is not in the vocabulary, "
                    "and neither is unk_token",
                    bpe->where);
  if (*pending && !bpe->fuse_unk) {
    int rc = zf_word_add(word, bpe->unk, *pending);
    if (rc) return rc;
    *pending = 0;
  }
  *pending += len;
  return 0;
}

/* Adds a character of the vocabulary, after the unknown token that precedes it. */
static int add_known(const struct bpe_model *bpe, struct zf_word *word, int32_t id, int bytes,
                     int64_t *pending) {
  int rc = *pending ? zf_word_add(word, bpe->unk, *pending) : 0;
  *pending = 0;
  return rc ? rc : zf_word_add(word, id, bytes);
}

/* Splits a text into the symbols that merging starts from. */
static int split_symbols(const struct bpe_model *bpe, struct zf_word *word, const char *text,
                         int64_t len) {
  int64_t pending = 0;
  int bytes;
  word->count = 0;
  for (int64_t i = 0; i < len; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, text + i, len - i);
    int32_t id = find_character(bpe, text + i, bytes, c, i == 0, i + bytes == len);
    int rc = id < 0 ? add_unknown(bpe, word, text + i, bytes, &pending)
                    : add_known(bpe, word, id, bytes, &pending);
    if (rc) return rc;
  }
  return pending ? zf_word_add(word, bpe->unk, pending) : 0;
}

static int encode_span(const struct bpe_model *bpe, struct zf_encoding *encoding,
                       struct bpe_scratch *scratch, const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  int32_t whole_id = bpe->ignore_merges ? zf_vocab_find(bpe->vocab, text, span->len) : -1;
  if (whole_id >= 0) return zf_encoding_emit(encoding, whole_id, span->off, span->len);
  int rc = split_symbols(bpe, &scratch->word, text, span->len);
  if (!rc) rc = zf_word_merge(&scratch->word, &bpe->merges);
  if (rc) return rc;
  int64_t off = span->off;
  for (int64_t i = 0; i < scratch->word.count; i++) {
    const struct zf_symbol *symbol = &scratch->word.symbol[i];
    rc = zf_encoding_emit(encoding, symbol->id, off, symbol->bytes);
    if (rc) return rc;
    off += symbol->bytes;
  }
  return 0;
}

static int copy_ids(struct zf_ids *ids, int64_t first, int32_t count) {
  int rc = zf_ids_reserve(ids, count, 0);
  if (rc) return rc;
  for (int i = 0; i < count; i++) {
    rc = zf_ids_add(ids, ids->id[first + i], -1, -1);
    if (rc) return rc;
  }
  return 0;
}

/* A span with the text of an earlier one has the same ids and copies them. */
static int encode_cached(const struct bpe_model *bpe, struct zf_encoding *encoding,
                         struct bpe_scratch *scratch, const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  struct seen_span *seen = &scratch->seen[XXH3_64bits(text, (size_t)span->len) & scratch->mask];
  struct zf_ids *ids = encoding->ids;
  if (seen->len == span->len && !memcmp(encoding->text.data + seen->off, text, (size_t)span->len))
    return copy_ids(ids, seen->first_id, seen->id_count);
  int64_t first_id = ids->count;
  int rc = encode_span(bpe, encoding, scratch, span);
  if (rc) return rc;
  *seen =
      (struct seen_span){span->off, first_id, (int32_t)span->len, (int32_t)(ids->count - first_id)};
  return 0;
}

static int encode_bpe(const void *self, struct zf_encoding *encoding) {
  const struct bpe_model *bpe = self;
  struct bpe_scratch *scratch = scratch_of(encoding);
  if (!scratch) return ZF_ENOMEM;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    int rc;
    if (span->id >= 0)
      rc = zf_encoding_emit(encoding, span->id, span->off, span->len);
    else if (scratch->seen && span->len <= SEEN_BYTES)
      rc = encode_cached(bpe, encoding, scratch, span);
    else
      rc = encode_span(bpe, encoding, scratch, span);
    if (rc) return rc;
  }
  return 0;
}

static const char *describe(const void *self) {
  return ((const struct bpe_model *)self)->byte_fallback ? "BPE with byte fallback" : "BPE";
}

const struct zf_model_row zf_bpe_row = {"BPE",    parse_bpe,    encode_bpe,
                                        free_bpe, free_scratch, describe};
