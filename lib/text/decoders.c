/* Decoders: a table with a row for each type of tokenizer.json.
 *
 * The spans of the encoding are the tokens, in order and without gaps in the text; every decoder
 * rewrites them. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "fmt/utf8.h"
#include "text_internal.h"

/* The whole text as one token. */
static int fuse(struct zf_encoding *encoding) {
  encoding->new_span_count = 0;
  int rc = zf_encoding_add_span(encoding, 0, encoding->text.len, -1);
  if (!rc) zf_encoding_swap_spans(encoding);
  return rc;
}

static int apply_fuse(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return fuse(encoding);
}

/* --- ByteLevel -------------------------------------------------------------------- */

/* The bytes that a token stands for.  A token with a character outside the byte alphabet stands for
 * itself. */
static int map_bytes(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  struct zf_text_buf *text = &encoding->new_text;
  int rc = zf_encoding_reserve(encoding, span->len);
  if (rc) return rc;
  int64_t begin = text->len;
  for (int64_t i = 0; i < span->len;) {
    uint32_t c;
    i += zf_char_next(&c, encoding->text.data + span->off + i, span->len - i);
    int byte = zf_char_byte_of(c);
    if (byte < 0) {
      text->len = begin;
      return zf_text_buf_copy(encoding, span->off, span->len);
    }
    text->data[text->len++] = (char)byte;
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *encoding) {
  int rc = zf_encoding_map(encoding, map_bytes, self);
  if (!rc && zf_utf8_first_error(encoding->text.data, (size_t)encoding->text.len) >= 0) {
    rc = zf_encoding_add_repaired(encoding, encoding->text.data, encoding->text.len);
    if (!rc) zf_encoding_swap_text(encoding);
  }
  return rc ? rc : fuse(encoding);
}

/* --- ByteFallback ------------------------------------------------------------------- */
static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/* The byte of "<0xE4>", or -1. */
static int byte_of(const struct zf_encoding *encoding, const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  if (span->len != 6 || memcmp(text, "<0x", 3) || text[5] != '>') return -1;
  return hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0
             ? -1
             : hex_digit(text[3]) * 16 + hex_digit(text[4]);
}

static int add_token(struct zf_encoding *encoding, const char *text, int64_t len) {
  int64_t off = encoding->new_text.len;
  int rc = zf_text_buf_add(encoding, text, len, 0, 0);
  return rc ? rc : zf_encoding_add_span(encoding, off, len, -1);
}

/* Consecutive byte tokens become one token if together they are UTF-8, else each becomes U+FFFD. */
static int put_bytes(struct zf_encoding *encoding, const struct zf_buf *bytes) {
  if (bytes->len == 0) return 0;
  if (zf_utf8_first_error(bytes->data, bytes->len) < 0)
    return add_token(encoding, bytes->data, (int64_t)bytes->len);
  for (size_t i = 0; i < bytes->len; i++) {
    int rc = add_token(encoding, "\xEF\xBF\xBD", 3);
    if (rc) return rc;
  }
  return 0;
}

/* Rewrites the tokens; `bytes` collects consecutive byte tokens. */
static int join_bytes(struct zf_encoding *encoding, struct zf_buf *bytes) {
  int rc = zf_encoding_reserve(encoding, encoding->text.len + 1);
  if (rc) return rc;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    int byte = byte_of(encoding, &span);
    if (byte >= 0) {
      zf_buf_putc(bytes, (char)byte);
      if ((rc = zf_buf_ok(bytes))) return rc;
      continue;
    }
    if ((rc = put_bytes(encoding, bytes))) return rc;
    zf_buf_clear(bytes);
    rc = add_token(encoding, encoding->text.data + span.off, span.len);
    if (rc) return rc;
  }
  return put_bytes(encoding, bytes);
}

static int apply_byte_fallback(const void *self, struct zf_encoding *encoding) {
  (void)self;
  struct zf_buf bytes = {0};
  int rc = join_bytes(encoding, &bytes);
  zf_buf_free(&bytes);
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  zf_encoding_swap_spans(encoding);
  return 0;
}

/* --- Strip ---------------------------------------------------------------------------- */

struct strip_decoder {
  char content[8];
  int64_t content_len, max_start, max_stop; /* removed at most this often at either end */
};

static int parse_strip(void **self, const json_t *def, const char *where,
                       const struct zf_tok *tok) {
  (void)tok;
  const char *text;
  uint32_t c;
  struct strip_decoder strip = {.max_start = -1, .max_stop = -1};
  int rc = zf_need_str(&text, def, "content", where);
  if (!rc) rc = zf_json_int(&strip.max_start, def, "start", where);
  if (!rc) rc = zf_json_int(&strip.max_stop, def, "stop", where);
  if (rc) return rc;
  strip.content_len = (int64_t)strlen(text);
  if (!strip.content_len || zf_char_next(&c, text, strip.content_len) != strip.content_len)
    return zf_error(ZF_EINVALID, "%s: key 'content': '%s' is not one character", where, text);
  if (strip.max_start < 0 || strip.max_stop < 0)
    return zf_error(ZF_EINVALID, "%s: keys 'start' and 'stop': expected counts", where);
  memcpy(strip.content, text, (size_t)strip.content_len);
  *self = zf_malloc(sizeof strip);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &strip, sizeof strip);
  return 0;
}

static int map_strip(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  const struct strip_decoder *strip = self;
  const char *text = encoding->text.data;
  int64_t from = span->off, to = span->off + span->len, len = strip->content_len;
  for (int64_t i = 0; i < strip->max_start; i++) {
    if (to - from < len || memcmp(text + from, strip->content, (size_t)len) != 0) break;
    from += len;
  }
  for (int64_t i = 0; i < strip->max_stop; i++) {
    if (to - from < len || memcmp(text + to - len, strip->content, (size_t)len) != 0) break;
    to -= len;
  }
  return zf_text_buf_copy(encoding, from, to - from);
}

static int apply_strip(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_strip, self);
}

/* --- Metaspace -------------------------------------------------------------------------- */

struct metaspace_decoder {
  char mark[8];
  int64_t mark_len;
  enum zf_scheme scheme;
};

static int parse_metaspace(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok) {
  (void)tok;
  struct metaspace_decoder metaspace;
  int rc = zf_metaspace_parse(metaspace.mark, &metaspace.scheme, def, where);
  if (rc) return rc;
  metaspace.mark_len = (int64_t)strlen(metaspace.mark);
  *self = zf_malloc(sizeof metaspace);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &metaspace, sizeof metaspace);
  return 0;
}

/* Marks become spaces.  Those of the first token are dropped, since encoding prepended one. */
static int map_metaspace(const void *self, struct zf_encoding *encoding,
                         const struct zf_span *span) {
  const struct metaspace_decoder *metaspace = self;
  const char *text = encoding->text.data + span->off;
  int drop = span == encoding->span && metaspace->scheme != ZF_NEVER, bytes;
  for (int64_t i = 0; i < span->len; i += bytes) {
    uint32_t c;
    int rc = 0;
    bytes = zf_char_next(&c, text + i, span->len - i);
    if (bytes != metaspace->mark_len || memcmp(text + i, metaspace->mark, (size_t)bytes) != 0)
      rc = zf_text_buf_copy(encoding, span->off + i, bytes);
    else if (!drop)
      rc = zf_text_buf_add(encoding, " ", 1, 0, 0);
    if (rc) return rc;
  }
  return 0;
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
