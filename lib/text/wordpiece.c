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
  struct words *m = self;
  if (!m) return;
  free(m->prefix);
  free(m->where);
  free(m);
}

static int64_t longest_piece(const struct zf_vocab *v) {
  int64_t n = 0;
  for (int64_t i = 0; i < v->count; i++)
    if (v->entry[i].len > n) n = v->entry[i].len;
  return n;
}

static int parse_words(struct words *m, struct zf_vocab *v, const json_t *def, const char *where,
                       const char *unk, const char *prefix) {
  m->vocab = v;
  m->most = 100;
  int rc = zf_vocab_parse(v, def, where);
  if (!rc) rc = zf_json_str(&unk, def, "unk_token", where);
  if (!rc) rc = zf_json_str(&prefix, def, "continuing_subword_prefix", where);
  if (!rc) rc = zf_json_int(&m->most, def, "max_input_chars_per_word", where);
  if (!rc && m->most < 0)
    rc = zf_error(ZF_EINVALID, "%s: max_input_chars_per_word is %lld", where, (long long)m->most);
  if (rc) return rc;
  m->where = zf_strdup(where);
  m->prefix = zf_strdup(prefix);
  if (!m->where || !m->prefix) return ZF_ENOMEM;
  m->unk = zf_vocab_find(v, unk, (int64_t)strlen(unk));
  m->longest = longest_piece(v);
  return 0;
}

static int parse(void **self, struct zf_vocab *v, const json_t *def, const char *where,
                 const char *unk, const char *prefix) {
  struct words *m = zf_calloc(1, sizeof *m);
  if (!m) return ZF_ENOMEM;
  int rc = parse_words(m, v, def, where, unk, prefix);
  if (rc) {
    free_words(m);
    return rc;
  }
  *self = m;
  return 0;
}

static int parse_wordpiece(void **self, struct zf_vocab *v, const json_t *def, const char *where) {
  return parse(self, v, def, where, "[UNK]", "##");
}

static int parse_wordlevel(void **self, struct zf_vocab *v, const json_t *def, const char *where) {
  return parse(self, v, def, where, "<unk>", "");
}

static int emit_unknown(const struct words *m, struct zf_encoding *w, const struct zf_piece *p) {
  if (m->unk >= 0) return zf_encoding_emit(w, m->unk, p->off, p->len);
  return zf_error(ZF_EINVALID,
                  "%s: the text has a word that is not in the vocabulary, and neither is unk_token",
                  m->where);
}

static int64_t count(const char *s, int64_t n) {
  int64_t k = 0;
  for (int64_t i = 0; i < n; i++) k += ((unsigned char)s[i] & 0xC0) != 0x80;
  return k;
}

/* The longest piece at s[0..n), after the prefix for one that continues: its id and
 * bytes, or -1. */
static int32_t longest_at(const struct words *m, struct zf_buf *word, const char *s, int64_t n,
                          int first, int64_t *len) {
  size_t skip = first ? 0 : strlen(m->prefix);
  if (n > m->longest) n = m->longest;
  zf_buf_clear(word);
  zf_buf_add(word, m->prefix, skip);
  zf_buf_add(word, s, (size_t)n);
  if (word->failed) return -1;
  for (; n > 0; n--) {
    int32_t id = zf_vocab_find(m->vocab, word->data, (int64_t)skip + n);
    if (id >= 0) {
      *len = n;
      return id;
    }
  }
  return -1;
}

static void free_scratch(void *scratch) {
  zf_buf_free(scratch);
  free(scratch);
}

static int encode_word(const struct words *m, struct zf_encoding *w, const struct zf_piece *p) {
  const char *s = w->cur.data + p->off;
  struct zf_buf *word = w->scratch;
  int64_t before = w->ids->count, n = 0;
  if (count(s, p->len) > m->most) return emit_unknown(m, w, p);
  for (int64_t at = 0; at < p->len; at += n) {
    int32_t id = longest_at(m, word, s + at, p->len - at, at == 0, &n);
    int rc = zf_buf_ok(word);
    if (!rc && id >= 0) rc = zf_encoding_emit(w, id, p->off + at, n);
    if (rc) return rc;
    if (id < 0) {
      w->ids->count = before;
      return emit_unknown(m, w, p);
    }
  }
  return 0;
}

static int encode_wordpiece(const void *self, struct zf_encoding *w) {
  int rc = 0;
  if (!w->scratch) w->scratch = zf_calloc(1, sizeof(struct zf_buf));
  if (!w->scratch) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece *p = &w->piece[i];
    rc = p->id >= 0 ? zf_encoding_emit(w, p->id, p->off, p->len) : encode_word(self, w, p);
  }
  return rc;
}

static int encode_wordlevel(const void *self, struct zf_encoding *w) {
  const struct words *m = self;
  int rc = 0;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece *p = &w->piece[i];
    int32_t id = p->id >= 0 ? p->id : zf_vocab_find(m->vocab, w->cur.data + p->off, p->len);
    if (p->len) rc = id >= 0 ? zf_encoding_emit(w, id, p->off, p->len) : emit_unknown(m, w, p);
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
