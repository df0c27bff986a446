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
static int fuse(struct zf_encoding *encoding) {
  encoding->nmade = 0;
  int rc = zf_encoding_push(encoding, 0, encoding->cur.len, -1);
  if (!rc) zf_encoding_swap_pieces(encoding);
  return rc;
}

static int apply_fuse(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return fuse(encoding);
}

/* --- ByteLevel -------------------------------------------------------------------- */

/* The bytes that a token stands for; one with a foreign character is text itself. */
static int map_bytes(const void *self, struct zf_encoding *encoding, const struct zf_piece *piece) {
  (void)self;
  struct zf_text_buf *text = &encoding->next;
  int rc = zf_encoding_reserve(encoding, piece->len);
  if (rc) return rc;
  int64_t begin = text->len;
  for (int64_t i = 0; i < piece->len;) {
    uint32_t c;
    i += zf_char_next(&c, encoding->cur.data + piece->off + i, piece->len - i);
    int byte = zf_char_byte_of(c);
    if (byte < 0) {
      text->len = begin;
      return zf_text_buf_copy(encoding, piece->off, piece->len);
    }
    text->data[text->len++] = (char)byte;
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *encoding) {
  int rc = zf_encoding_map(encoding, map_bytes, self);
  if (!rc && zf_utf8_bad(encoding->cur.data, (size_t)encoding->cur.len) >= 0) {
    rc = zf_encoding_clean(encoding, encoding->cur.data, encoding->cur.len);
    if (!rc) zf_encoding_swap_text(encoding);
  }
  return rc ? rc : fuse(encoding);
}

/* --- ByteFallback ------------------------------------------------------------------- */

static int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* The byte of "<0xE4>", or -1. */
static int byte_of(const struct zf_encoding *encoding, const struct zf_piece *piece) {
  const char *s = encoding->cur.data + piece->off;
  if (piece->len != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
  return hex(s[3]) < 0 || hex(s[4]) < 0 ? -1 : hex(s[3]) * 16 + hex(s[4]);
}

/* Bytes in a row are one token if together they are UTF-8, else each is a U+FFFD. */
static int put_bytes(struct zf_encoding *encoding, const struct zf_buf *bytes) {
  int64_t off = encoding->next.len;
  int rc = 0;
  if (bytes->len == 0) return 0;
  if (zf_utf8_bad(bytes->data, bytes->len) < 0) {
    rc = zf_text_buf_add(encoding, bytes->data, (int64_t)bytes->len, 0, 0);
    return rc ? rc : zf_encoding_push(encoding, off, encoding->next.len - off, -1);
  }
  for (size_t i = 0; !rc && i < bytes->len; i++) {
    off = encoding->next.len;
    rc = zf_text_buf_add(encoding, "\xEF\xBF\xBD", 3, 0, 0);
    if (!rc) rc = zf_encoding_push(encoding, off, 3, -1);
  }
  return rc;
}

static int apply_byte_fallback(const void *self, struct zf_encoding *encoding) {
  (void)self;
  struct zf_buf bytes = {0};
  int rc = zf_encoding_reserve(encoding, encoding->cur.len + 1);
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece piece = encoding->piece[i];
    int byte = byte_of(encoding, &piece);
    if (byte >= 0) {
      zf_buf_putc(&bytes, (char)byte);
      rc = zf_buf_ok(&bytes);
      continue;
    }
    rc = put_bytes(encoding, &bytes);
    zf_buf_clear(&bytes);
    int64_t off = encoding->next.len;
    if (!rc) rc = zf_text_buf_copy(encoding, piece.off, piece.len);
    if (!rc) rc = zf_encoding_push(encoding, off, piece.len, -1);
  }
  if (!rc) rc = put_bytes(encoding, &bytes);
  zf_buf_free(&bytes);
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  zf_encoding_swap_pieces(encoding);
  return 0;
}

/* --- Strip ---------------------------------------------------------------------------- */

struct strip {
  char content[8];
  int64_t ncontent, start, stop; /* at most so many of them at either end */
};

static int parse_strip(void **self, const json_t *def, const char *where,
                       const struct zf_tok *tok) {
  (void)tok;
  const char *text;
  uint32_t c;
  struct strip strip = {.start = -1, .stop = -1};
  int rc = zf_need_str(&text, def, "content", where);
  if (!rc) rc = zf_json_int(&strip.start, def, "start", where);
  if (!rc) rc = zf_json_int(&strip.stop, def, "stop", where);
  if (rc) return rc;
  strip.ncontent = (int64_t)strlen(text);
  if (!strip.ncontent || zf_char_next(&c, text, strip.ncontent) != strip.ncontent)
    return zf_error(ZF_EINVALID, "%s: key 'content': '%s' is not one character", where, text);
  if (strip.start < 0 || strip.stop < 0)
    return zf_error(ZF_EINVALID, "%s: keys 'start' and 'stop': expected counts", where);
  memcpy(strip.content, text, (size_t)strip.ncontent);
  *self = zf_malloc(sizeof strip);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &strip, sizeof strip);
  return 0;
}

static int map_strip(const void *self, struct zf_encoding *encoding, const struct zf_piece *piece) {
  const struct strip *strip = self;
  const char *text = encoding->cur.data;
  int64_t from = piece->off, to = piece->off + piece->len, n = strip->ncontent;
  for (int64_t k = 0; k < strip->start && to - from >= n && !memcmp(text + from, strip->content, n);
       k++)
    from += n;
  for (int64_t k = 0;
       k < strip->stop && to - from >= n && !memcmp(text + to - n, strip->content, n); k++)
    to -= n;
  return zf_text_buf_copy(encoding, from, to - from);
}

static int apply_strip(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_strip, self);
}

/* --- Metaspace -------------------------------------------------------------------------- */

struct metaspace {
  char mark[8];
  int64_t nmark;
  enum zf_scheme scheme;
};

static int parse_metaspace(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok) {
  (void)tok;
  struct metaspace metaspace;
  int rc = zf_metaspace_parse(metaspace.mark, &metaspace.scheme, def, where);
  if (rc) return rc;
  metaspace.nmark = (int64_t)strlen(metaspace.mark);
  *self = zf_malloc(sizeof metaspace);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &metaspace, sizeof metaspace);
  return 0;
}

/* Marks become spaces; those of the first token go, since one was put before it. */
static int map_metaspace(const void *self, struct zf_encoding *encoding,
                         const struct zf_piece *piece) {
  const struct metaspace *metaspace = self;
  const char *s = encoding->cur.data + piece->off;
  int drop = piece == encoding->piece && metaspace->scheme != ZF_NEVER, rc = 0;
  for (int64_t i = 0; !rc && i < piece->len;) {
    uint32_t c;
    int n = zf_char_next(&c, s + i, piece->len - i);
    if (n != metaspace->nmark || memcmp(s + i, metaspace->mark, (size_t)n))
      rc = zf_text_buf_copy(encoding, piece->off + i, n);
    else if (!drop)
      rc = zf_text_buf_add(encoding, " ", 1, 0, 0);
    i += n;
  }
  return rc;
}

static int apply_metaspace(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_metaspace, self);
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
