/* WordPiece and WordLevel: models that look words up in the vocabulary.
 *
 * WordPiece (Schuster and Nakajima 2012, as BERT has it) takes the longest piece that begins a
 * word, then the longest continuing piece ("##ing"), and so on; if the rest of a word begins with
 * no piece, the whole word is unknown.  WordLevel has whole words alone. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

struct word_model {
  const struct zf_vocab *vocab;
  int32_t unk; /* id of the unknown token; -1: not in the vocabulary */
  char *prefix, *where;
  int64_t max_chars;     /* characters of a word; longer ones are unknown */
  int64_t max_piece_len; /* bytes of the longest piece */
};

static void free_word_model(void *self) {
  struct word_model *model = self;
  if (!model) return;
  free(model->prefix);
  free(model->where);
  free(model);
}

static int64_t longest_piece(const struct zf_vocab *vocab) {
  int64_t longest = 0;
  for (int64_t i = 0; i < vocab->count; i++)
    if (vocab->entry[i].len > longest) longest = vocab->entry[i].len;
  return longest;
}

static int read_word_model(struct word_model *model, struct zf_vocab *vocab, const json_t *def,
                           const char *where, const char *unk, const char *prefix) {
  model->vocab = vocab;
  model->max_chars = 100;
  int rc = zf_vocab_parse(vocab, def, where);
  if (!rc) rc = zf_json_str(&unk, def, "unk_token", where);
  if (!rc) rc = zf_json_str(&prefix, def, "continuing_subword_prefix", where);
  if (!rc) rc = zf_json_int(&model->max_chars, def, "max_input_chars_per_word", where);
  if (!rc && model->max_chars < 0)
    rc =
        zf_error(ZF_EINVALID, "%s: key 'max_input_chars_per_word': expected at least 0, found %lld",
                 where, (long long)model->max_chars);
  if (rc) return rc;
  model->where = zf_strdup(where);
  model->prefix = zf_strdup(prefix);
  if (!model->where || !model->prefix) return ZF_ENOMEM;
  model->unk = zf_vocab_find(vocab, unk, (int64_t)strlen(unk));
  model->max_piece_len = longest_piece(vocab);
  return 0;
}

static int parse(void **self, struct zf_vocab *vocab, const json_t *def, const char *where,
                 const char *unk, const char *prefix) {
  struct word_model *model = zf_calloc(1, sizeof *model);
  if (!model) return ZF_ENOMEM;
  int rc = read_word_model(model, vocab, def, where, unk, prefix);
  if (rc) {
    free_word_model(model);
    return rc;
  }
  *self = model;
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

static int emit_unknown(const struct word_model *model, struct zf_encoding *encoding,
                        const struct zf_span *span) {
  if (model->unk >= 0) return zf_encoding_emit(encoding, model->unk, span->off, span->len);
  return zf_error(ZF_EINVALID,
                  "%s: the text has a word that is not in the vocabulary, and neither is unk_token",
                  model->where);
}

static int64_t count_chars(const char *text, int64_t len) {
  int64_t characters = 0;
  for (int64_t i = 0; i < len; i++) characters += ((unsigned char)text[i] & 0xC0) != 0x80;
  return characters;
}

/* The longest piece that text[0..length) begins with, after the prefix unless it is the first of
 * its word: its id, and its bytes of the text in *len; or -1. */
static int32_t find_longest(const struct word_model *model, struct zf_buf *word, const char *text,
                            int64_t length, int first, int64_t *len) {
  size_t skip = first ? 0 : strlen(model->prefix);
  if (length > model->max_piece_len) length = model->max_piece_len;
  zf_buf_clear(word);
  zf_buf_add(word, model->prefix, skip);
  zf_buf_add(word, text, (size_t)length);
  if (word->failed) return -1;
  for (*len = length; *len > 0; --*len) {
    int32_t id = zf_vocab_find(model->vocab, word->data, (int64_t)skip + *len);
    if (id >= 0) return id;
  }
  return -1;
}

static void free_scratch(void *scratch) {
  zf_buf_free(scratch);
  free(scratch);
}

static int encode_word(const struct word_model *model, struct zf_encoding *encoding,
                       const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  struct zf_buf *word = encoding->model_scratch;
  int64_t before = encoding->ids->count, len = 0;
  if (count_chars(text, span->len) > model->max_chars) return emit_unknown(model, encoding, span);
  for (int64_t at = 0; at < span->len; at += len) {
    int32_t id = find_longest(model, word, text + at, span->len - at, at == 0, &len);
    int rc = zf_buf_ok(word);
    if (!rc && id >= 0) rc = zf_encoding_emit(encoding, id, span->off + at, len);
    if (rc) return rc;
    if (id < 0) {
      encoding->ids->count = before;
      return emit_unknown(model, encoding, span);
    }
  }
  return 0;
}

static int encode_wordpiece(const void *self, struct zf_encoding *encoding) {
  if (!encoding->model_scratch) encoding->model_scratch = zf_calloc(1, sizeof(struct zf_buf));
  if (!encoding->model_scratch) return ZF_ENOMEM;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    int rc = span->id >= 0 ? zf_encoding_emit(encoding, span->id, span->off, span->len)
                           : encode_word(self, encoding, span);
    if (rc) return rc;
  }
  return 0;
}

static int encode_wordlevel(const void *self, struct zf_encoding *encoding) {
  const struct word_model *model = self;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    int32_t id = span->id;
    if (!span->len) continue;
    if (id < 0) id = zf_vocab_find(model->vocab, encoding->text.data + span->off, span->len);
    int rc = id >= 0 ? zf_encoding_emit(encoding, id, span->off, span->len)
                     : emit_unknown(model, encoding, span);
    if (rc) return rc;
  }
  return 0;
}

static const char *describe_wordpiece(const void *self) {
  (void)self;
  return "WordPiece";
}

static const char *describe_wordlevel(const void *self) {
  (void)self;
  return "WordLevel";
}

const struct zf_model_row zf_wordpiece_row = {"WordPiece",     parse_wordpiece, encode_wordpiece,
                                              free_word_model, free_scratch,    describe_wordpiece};
const struct zf_model_row zf_wordlevel_row = {
    "WordLevel", parse_wordlevel, encode_wordlevel, free_word_model, NULL, describe_wordlevel};
