/* Decoders: a table of rows, one a type of tokenizer.json.
 *
 * The pieces of the work are the tokens, in order and without gaps in cur; every
 * decoder rewrites the list. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "fmt/utf8.h"
#include "text_internal.h"

/* All of cur as one token. */
static int fuse(struct zf_encoding *w) {
  w->nmade = 0;
  int rc = zf_encoding_push(w, 0, w->cur.len, -1);
  if (!rc) zf_encoding_swap_pieces(w);
  return rc;
}

static int apply_fuse(const void *self, struct zf_encoding *w) {
  (void)self;
  return fuse(w);
}

/* --- ByteLevel -------------------------------------------------------------------- */

/* The bytes that a token stands for; one with a foreign character is text itself. */
static int map_bytes(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  struct zf_text_buf *r = &w->next;
  int rc = zf_encoding_reserve(w, p->len);
  if (rc) return rc;
  int64_t begin = r->len;
  for (int64_t i = 0; i < p->len;) {
    uint32_t c;
    i += zf_char_next(&c, w->cur.data + p->off + i, p->len - i);
    int byte = zf_char_byte_of(c);
    if (byte < 0) {
      r->len = begin;
      return zf_text_buf_copy(w, p->off, p->len);
    }
    r->data[r->len++] = (char)byte;
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *w) {
  int rc = zf_encoding_map(w, map_bytes, self);
  if (!rc && zf_utf8_bad(w->cur.data, (size_t)w->cur.len) >= 0) {
    rc = zf_encoding_clean(w, w->cur.data, w->cur.len);
    if (!rc) zf_encoding_swap_text(w);
  }
  return rc ? rc : fuse(w);
}

/* --- ByteFallback ------------------------------------------------------------------- */

static int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* The byte of "<0xE4>", or -1. */
static int byte_of(const struct zf_encoding *w, const struct zf_piece *p) {
  const char *s = w->cur.data + p->off;
  if (p->len != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
  return hex(s[3]) < 0 || hex(s[4]) < 0 ? -1 : hex(s[3]) * 16 + hex(s[4]);
}

/* Bytes in a row are one token if together they are UTF-8, else each is a U+FFFD. */
static int put_bytes(struct zf_encoding *w, const struct zf_buf *bytes) {
  int64_t off = w->next.len;
  int rc = 0;
  if (bytes->len == 0) return 0;
  if (zf_utf8_bad(bytes->data, bytes->len) < 0) {
    rc = zf_text_buf_add(w, bytes->data, (int64_t)bytes->len, 0, 0);
    return rc ? rc : zf_encoding_push(w, off, w->next.len - off, -1);
  }
  for (size_t i = 0; !rc && i < bytes->len; i++) {
    off = w->next.len;
    rc = zf_text_buf_add(w, "\xEF\xBF\xBD", 3, 0, 0);
    if (!rc) rc = zf_encoding_push(w, off, 3, -1);
  }
  return rc;
}

static int apply_byte_fallback(const void *self, struct zf_encoding *w) {
  (void)self;
  struct zf_buf bytes = {0};
  int rc = zf_encoding_reserve(w, w->cur.len + 1);
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece p = w->piece[i];
    int byte = byte_of(w, &p);
    if (byte >= 0) {
      zf_buf_putc(&bytes, (char)byte);
      rc = zf_buf_ok(&bytes);
      continue;
    }
    rc = put_bytes(w, &bytes);
    zf_buf_clear(&bytes);
    int64_t off = w->next.len;
    if (!rc) rc = zf_text_buf_copy(w, p.off, p.len);
    if (!rc) rc = zf_encoding_push(w, off, p.len, -1);
  }
  if (!rc) rc = put_bytes(w, &bytes);
  zf_buf_free(&bytes);
  if (rc) return rc;
  zf_encoding_swap_text(w);
  zf_encoding_swap_pieces(w);
  return 0;
}

/* --- Strip ---------------------------------------------------------------------------- */

struct strip {
  char content[8];
  int64_t ncontent, start, stop; /* at most so many of them at either end */
};

static int parse_strip(void **self, const json_t *def, const char *where, const struct zf_tok *t) {
  (void)t;
  const char *text;
  uint32_t c;
  struct strip s = {.start = -1, .stop = -1};
  int rc = zf_need_str(&text, def, "content", where);
  if (!rc) rc = zf_json_int(&s.start, def, "start", where);
  if (!rc) rc = zf_json_int(&s.stop, def, "stop", where);
  if (rc) return rc;
  s.ncontent = (int64_t)strlen(text);
  if (!s.ncontent || zf_char_next(&c, text, s.ncontent) != s.ncontent)
    return zf_error(ZF_EINVALID, "%s: key 'content': '%s' is not one character", where, text);
  if (s.start < 0 || s.stop < 0)
    return zf_error(ZF_EINVALID, "%s: keys 'start' and 'stop': expected counts", where);
  memcpy(s.content, text, (size_t)s.ncontent);
  *self = zf_malloc(sizeof s);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &s, sizeof s);
  return 0;
}

static int map_strip(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  const struct strip *s = self;
  const char *text = w->cur.data;
  int64_t from = p->off, to = p->off + p->len, n = s->ncontent;
  for (int64_t k = 0; k < s->start && to - from >= n && !memcmp(text + from, s->content, n); k++)
    from += n;
  for (int64_t k = 0; k < s->stop && to - from >= n && !memcmp(text + to - n, s->content, n); k++)
    to -= n;
  return zf_text_buf_copy(w, from, to - from);
}

static int apply_strip(const void *self, struct zf_encoding *w) {
  return zf_encoding_map(w, map_strip, self);
}

/* --- Metaspace -------------------------------------------------------------------------- */

struct metaspace {
  char mark[8];
  int64_t nmark;
  enum zf_scheme scheme;
};

static int parse_metaspace(void **self, const json_t *def, const char *where,
                           const struct zf_tok *t) {
  (void)t;
  struct metaspace m;
  int rc = zf_metaspace_parse(m.mark, &m.scheme, def, where);
  if (rc) return rc;
  m.nmark = (int64_t)strlen(m.mark);
  *self = zf_malloc(sizeof m);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &m, sizeof m);
  return 0;
}

/* Marks become spaces; those of the first token go, since one was put before it. */
static int map_metaspace(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  const struct metaspace *m = self;
  const char *s = w->cur.data + p->off;
  int drop = p == w->piece && m->scheme != ZF_NEVER, rc = 0;
  for (int64_t i = 0; !rc && i < p->len;) {
    uint32_t c;
    int n = zf_char_next(&c, s + i, p->len - i);
    if (n != m->nmark || memcmp(s + i, m->mark, (size_t)n))
      rc = zf_text_buf_copy(w, p->off + i, n);
    else if (!drop)
      rc = zf_text_buf_add(w, " ", 1, 0, 0);
    i += n;
  }
  return rc;
}

static int apply_metaspace(const void *self, struct zf_encoding *w) {
  return zf_encoding_map(w, map_metaspace, self);
}

static const struct zf_part_row rows[] = {
    {"ByteLevel", NULL, apply_byte_level, NULL, NULL},
    {"ByteFallback", NULL, apply_byte_fallback, NULL, NULL},
    {"Fuse", NULL, apply_fuse, NULL, NULL},
    {"Strip", parse_strip, apply_strip, free, NULL},
    {"Replace", zf_replace_parse, zf_replace_apply, zf_replace_free, NULL},
    {"Metaspace", parse_metaspace, apply_metaspace, free, NULL},
    {"WordPiece", zf_wordpiece_decoder_parse, zf_wordpiece_decoder_apply, zf_word_decoder_free,
     NULL},
    {"CTC", zf_ctc_parse, zf_ctc_apply, zf_word_decoder_free, NULL},
    {"BPEDecoder", zf_bpe_decoder_parse, zf_bpe_decoder_apply, zf_word_decoder_free, NULL},
};

const struct zf_part_table zf_decoders = {"decoder", "decoders", rows, sizeof rows / sizeof *rows};
