/* Normalizers: a table with a row for each type of tokenizer.json. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "forms_internal.h"

/* --- forms -------------------------------------------------------------------- */

static int map_form(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  return zf_form_apply(*(const enum zf_form *)self, encoding, span);
}

static int apply_form(struct zf_encoding *encoding, enum zf_form form) {
  return zf_encoding_map(encoding, map_form, &form);
}

static int apply_nfc(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return apply_form(encoding, ZF_NFC);
}

static int apply_nfd(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return apply_form(encoding, ZF_NFD);
}

static int apply_nfkc(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return apply_form(encoding, ZF_NFKC);
}

static int apply_nfkd(const void *self, struct zf_encoding *encoding) {
  (void)self;
  return apply_form(encoding, ZF_NFKD);
}

/* --- character by character ----------------------------------------------------- */

/* I with dot above: the only character whose full lower case is two characters. */
enum { DOTTED_I = 0x130, DOT_ABOVE = 0x307 };

static int map_lower(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    uint32_t lower = c == DOTTED_I ? 'i' : (uint32_t)utf8proc_tolower((int32_t)c);
    int rc = zf_text_buf_add_char(encoding, i, lower);
    if (!rc && c == DOTTED_I) rc = zf_text_buf_add_char(encoding, i, DOT_ABOVE);
    if (rc) return rc;
  }
  return 0;
}

int zf_lower_apply(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_lower, self);
}

static int map_strip_accents(const void *self, struct zf_encoding *encoding,
                             const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    if (zf_char_is_mark(c)) continue;
    int rc = zf_text_buf_copy(encoding, i, bytes);
    if (rc) return rc;
  }
  return 0;
}

static int apply_strip_accents(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_strip_accents, self);
}

static int map_byte_level(const void *self, struct zf_encoding *encoding,
                          const struct zf_span *span) {
  (void)self;
  for (int64_t i = span->off; i < span->off + span->len; i++) {
    unsigned char byte = (unsigned char)encoding->text.data[i];
    int rc = zf_text_buf_add_char(encoding, i, zf_char_byte_level(byte));
    if (rc) return rc;
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_byte_level, self);
}

/* --- Strip ------------------------------------------------------------------------ */

struct strip_normalizer {
  int left, right;
};

static int parse_strip(void **self, const json_t *def, const char *where,
                       const struct zf_tok *tok) {
  (void)tok;
  struct strip_normalizer strip;
  int rc = zf_need_bool(&strip.left, def, "strip_left", where);
  if (!rc) rc = zf_need_bool(&strip.right, def, "strip_right", where);
  if (rc) return rc;
  *self = zf_malloc(sizeof strip);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &strip, sizeof strip);
  return 0;
}

static int map_strip(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  const struct strip_normalizer *strip = self;
  int64_t from = span->off, to = span->off + span->len;
  uint32_t c;
  while (strip->left && from < to) {
    int bytes = zf_char_next(&c, encoding->text.data + from, to - from);
    if (!zf_char_is_space(c)) break;
    from += bytes;
  }
  while (strip->right && from < to) {
    int64_t last = to - 1;
    while (last > from && ((unsigned char)encoding->text.data[last] & 0xC0) == 0x80) last--;
    zf_char_next(&c, encoding->text.data + last, to - last);
    if (!zf_char_is_space(c)) break;
    to = last;
  }
  return zf_text_buf_copy(encoding, from, to - from);
}

static int apply_strip(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_strip, self);
}

/* --- Prepend ------------------------------------------------------------------------ */

static int parse_prepend(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  (void)tok;
  const char *text;
  int rc = zf_need_str(&text, def, "prepend", where);
  if (rc) return rc;
  *self = zf_strdup(text);
  return *self ? 0 : ZF_ENOMEM;
}

static int map_prepend(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  int rc = zf_encoding_prepend(encoding, span, self, (int64_t)strlen(self));
  return rc ? rc : zf_text_buf_copy(encoding, span->off, span->len);
}

static int apply_prepend(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_prepend, self);
}

/* --- Replace ------------------------------------------------------------------------ */

struct replace_normalizer {
  struct zf_pattern *pattern;
  char *content;
};

void zf_replace_free(void *self) {
  struct replace_normalizer *replace = self;
  if (!replace) return;
  zf_pattern_free(replace->pattern);
  free(replace->content);
  free(replace);
}

int zf_replace_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok) {
  (void)tok;
  const char *content;
  struct replace_normalizer *replace = zf_calloc(1, sizeof *replace);
  if (!replace) return ZF_ENOMEM;
  int rc = zf_need_str(&content, def, "content", where);
  if (!rc) rc = zf_pattern_parse(&replace->pattern, def, where);
  if (!rc && !(replace->content = zf_strdup(content))) rc = ZF_ENOMEM;
  if (rc) {
    zf_replace_free(replace);
    return rc;
  }
  *self = replace;
  return 0;
}

/* The replacement of a match gets the offsets of the match's last character. */
static int map_replace(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  const struct replace_normalizer *replace = self;
  int64_t len = (int64_t)strlen(replace->content);
  encoding->segment_count = 0;
  int rc = zf_pattern_find(replace->pattern, encoding, encoding->text.data + span->off, span->len);
  if (rc) return rc;
  for (int64_t i = 0; i < encoding->segment_count; i++) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    int32_t begin = (int32_t)span->origin, end = begin;
    if (encoding->track_offsets && segment->to > 0) {
      begin = encoding->text.begin[span->off + segment->to - 1];
      end = encoding->text.end[span->off + segment->to - 1];
    }
    rc = segment->match
             ? zf_text_buf_add(encoding, replace->content, len, begin, end)
             : zf_text_buf_copy(encoding, span->off + segment->from, segment->to - segment->from);
    if (rc) return rc;
  }
  return 0;
}

int zf_replace_apply(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_replace, self);
}

/* --- Nmt --------------------------------------------------------------------------- */

static int is_nmt_control(uint32_t c) {
  return (c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
         c == 0x9F;
}

static int is_nmt_space(uint32_t c) {
  return c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == ZF_REPLACEMENT;
}

static int map_nmt(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    if (is_nmt_control(c)) continue;
    int rc = is_nmt_space(c) ? zf_text_buf_add_char(encoding, i, ' ')
                             : zf_text_buf_copy(encoding, i, bytes);
    if (rc) return rc;
  }
  return 0;
}

static int apply_nmt(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_nmt, self);
}

static const struct zf_part_row rows[] = {
    {"NFC", NULL, apply_nfc, NULL, NULL},
    {"NFD", NULL, apply_nfd, NULL, NULL},
    {"NFKC", NULL, apply_nfkc, NULL, NULL},
    {"NFKD", NULL, apply_nfkd, NULL, NULL},
    {"Lowercase", NULL, zf_lower_apply, NULL, NULL},
    {"StripAccents", NULL, apply_strip_accents, NULL, NULL},
    {"ByteLevel", NULL, apply_byte_level, NULL, NULL},
    {"Strip", parse_strip, apply_strip, free, NULL},
    {"Prepend", parse_prepend, apply_prepend, free, NULL},
    {"Replace", zf_replace_parse, zf_replace_apply, zf_replace_free, NULL},
    {"BertNormalizer", zf_bert_parse, zf_bert_apply, free, NULL},
    {"Nmt", NULL, apply_nmt, NULL, NULL},
    {"Precompiled", zf_precompiled_parse, zf_precompiled_apply, zf_charsmap_free, NULL},
    {ZF_SPM_KEY, zf_sentencepiece_parse, zf_sentencepiece_apply, zf_charsmap_free, NULL},
};

const struct zf_part_table zf_normalizers = {"normalizer", "normalizers", rows,
                                             sizeof rows / sizeof *rows};
