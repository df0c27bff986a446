/* WordPiece and WordLevel: models that look pieces up in the vocabulary.
 *
 * WordPiece (Schuster and Nakajima 2012, as BERT has it) takes the longest piece that
 * begins a word, then the longest continuing piece ("##ing"), and so on; a word with a
 * rest that begins no piece is unknown as a whole.  WordLevel knows whole words. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

struct words {
  const struct zf_vocab *vocab;
  int32_t unk; /* -1: not in the vocabulary */
  char *prefix, *where;
  int64_t most;    /* characters of a word; longer ones are unknown */
  int64_t longest; /* bytes of the longest piece */
};

static void free_words(void *self) {
  struct words *words = self;
  if (!words) return;
  free(words->prefix);
  free(words->where);
  free(words);
}

static int64_t longest_piece(const struct zf_vocab *vocab) {
  int64_t n = 0;
  for (int64_t i = 0; i < vocab->count; i++)
    if (vocab->entry[i].len > n) n = vocab->entry[i].len;
  return n;
}

static int parse_words(struct words *words, struct zf_vocab *vocab, const json_t *def,
                       const char *where, const char *unk, const char *prefix) {
  words->vocab = vocab;
  words->most = 100;
  int rc = zf_vocab_parse(vocab, def, where);
  if (!rc) rc = zf_json_str(&unk, def, "unk_token", where);
  if (!rc) rc = zf_json_str(&prefix, def, "continuing_subword_prefix", where);
  if (!rc) rc = zf_json_int(&words->most, def, "max_input_chars_per_word", where);
  if (!rc && words->most < 0)
    rc = zf_error(ZF_EINVALID, "%s: max_input_chars_per_word is %lld", where,
                  (long long)words->most);
  if (rc) return rc;
  words->where = zf_strdup(where);
  words->prefix = zf_strdup(prefix);
  if (!words->where || !words->prefix) return ZF_ENOMEM;
  words->unk = zf_vocab_find(vocab, unk, (int64_t)strlen(unk));
  words->longest = longest_piece(vocab);
  return 0;
}

static int parse(void **self, struct zf_vocab *vocab, const json_t *def, const char *where,
                 const char *unk, const char *prefix) {
  struct words *words = zf_calloc(1, sizeof *words);
  if (!words) return ZF_ENOMEM;
  int rc = parse_words(words, vocab, def, where, unk, prefix);
  if (rc) {
    free_words(words);
    return rc;
  }
  *self = words;
  return 0;
}

static int parse_wordpiece(void **self, struct zf_vocab *vocab, const json_t *def,
                           const char *where) {
  return parse(self, vocab, def, where, "[UNK]", "##");
}

static int parse_wordlevel(void **self, struct zf_vocab *vocab, const json_t *def,
                           const char *where) {
  return parse(self, vocab, def, where, "<unk>", "");
}

static int emit_unknown(const struct words *words, struct zf_encoding *encoding,
                        const struct zf_piece *piece) {
  if (words->unk >= 0) return zf_encoding_emit(encoding, words->unk, piece->off, piece->len);
  return zf_error(ZF_EINVALID,
                  "%s: the text has a word that is not in the vocabulary, and neither is unk_token",
                  words->where);
}

static int64_t count(const char *s, int64_t len) {
  int64_t k = 0;
  for (int64_t i = 0; i < len; i++) k += ((unsigned char)s[i] & 0xC0) != 0x80;
  return k;
}

/* The longest piece at s[0..n), after the prefix for one that continues: its id and
 * bytes, or -1. */
static int32_t longest_at(const struct words *words, struct zf_buf *word, const char *s,
                          int64_t length, int first, int64_t *len) {
  size_t skip = first ? 0 : strlen(words->prefix);
  if (length > words->longest) length = words->longest;
  zf_buf_clear(word);
  zf_buf_add(word, words->prefix, skip);
  zf_buf_add(word, s, (size_t)length);
  if (word->failed) return -1;
  for (; length > 0; length--) {
    int32_t id = zf_vocab_find(words->vocab, word->data, (int64_t)skip + length);
    if (id >= 0) {
      *len = length;
      return id;
    }
  }
  return -1;
}

static void free_scratch(void *scratch) {
  zf_buf_free(scratch);
  free(scratch);
}

static int encode_word(const struct words *words, struct zf_encoding *encoding,
                       const struct zf_piece *piece) {
  const char *s = encoding->cur.data + piece->off;
  struct zf_buf *word = encoding->scratch;
  int64_t before = encoding->ids->count, n = 0;
  if (count(s, piece->len) > words->most) return emit_unknown(words, encoding, piece);
  for (int64_t at = 0; at < piece->len; at += n) {
    int32_t id = longest_at(words, word, s + at, piece->len - at, at == 0, &n);
    int rc = zf_buf_ok(word);
    if (!rc && id >= 0) rc = zf_encoding_emit(encoding, id, piece->off + at, n);
    if (rc) return rc;
    if (id < 0) {
      encoding->ids->count = before;
      return emit_unknown(words, encoding, piece);
    }
  }
  return 0;
}

static int encode_wordpiece(const void *self, struct zf_encoding *encoding) {
  int rc = 0;
  if (!encoding->scratch) encoding->scratch = zf_calloc(1, sizeof(struct zf_buf));
  if (!encoding->scratch) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece *piece = &encoding->piece[i];
    rc = piece->id >= 0 ? zf_encoding_emit(encoding, piece->id, piece->off, piece->len)
                        : encode_word(self, encoding, piece);
  }
  return rc;
}

static int encode_wordlevel(const void *self, struct zf_encoding *encoding) {
  const struct words *words = self;
  int rc = 0;
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece *piece = &encoding->piece[i];
    int32_t id = piece->id >= 0
                     ? piece->id
                     : zf_vocab_find(words->vocab, encoding->cur.data + piece->off, piece->len);
    if (piece->len)
      rc = id >= 0 ? zf_encoding_emit(encoding, id, piece->off, piece->len)
                   : emit_unknown(words, encoding, piece);
  }
  return rc;
}

static const char *describe_wordpiece(const void *self) {
  (void)self;
  return "WordPiece";
}

static const char *describe_wordlevel(const void *self) {
  (void)self;
  return "WordLevel";
}

const struct zf_model_row zf_wordpiece_row = {"WordPiece", parse_wordpiece, encode_wordpiece,
                                              free_words,  free_scratch,    describe_wordpiece};
const struct zf_model_row zf_wordlevel_row = {
    "WordLevel", parse_wordlevel, encode_wordlevel, free_words, NULL, describe_wordlevel};
