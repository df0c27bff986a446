/* SentencePiece's table of replacements (its precompiled charsmap), and the two
 * normalizers that use one.
 *
 *   u32 bytes of the trie | the trie, u32 units | replacements, each zero-terminated
 *
 * The trie is a double array (Aoe 1989, as darts-clone lays it out).  A unit holds
 *   bits 0-7 and 31  the byte that leads here     bit 8   a value hangs below
 *   bits 10-30       offset of the children, times 256 when bit 9 is set
 * and, where bit 31 is set in the unit below, a value: the place of the replacement.
 *
 * "Precompiled" follows the tokenizers package, which asks for whole grapheme clusters
 * of fewer than six bytes first and then for each character, and takes the shortest
 * match; SentencePiece itself takes the longest match at each place, and also deals
 * with spaces here. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "fmt/json.h"
#include "fmt/utf8.h"
#include "forms_internal.h"

enum { CHARSMAP_MAX = 64 << 20, GRAPHEME = 6 };

struct charsmap {
  unsigned char *decoded; /* decoded */
  uint32_t *unit;
  size_t unit_count;
  const char *replacements; /* the replacements, zero-terminated */
  size_t replacements_len;
  char *where;
  int dummy_prefix, remove_extra_spaces, escape_spaces; /* SentencePiece's */
};

void zf_charsmap_free(void *self) {
  struct charsmap *charsmap = self;
  if (!charsmap) return;
  free(charsmap->decoded);
  free(charsmap->unit);
  free(charsmap->where);
  free(charsmap);
}

/* --- reading ------------------------------------------------------------------------ */

static int base64_digit(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* RFC 4648, with its padding. */
static int decode_base64(struct charsmap *charsmap, const char *text, size_t *len) {
  size_t text_len = strlen(text), out = 0;
  uint32_t bits = 0;
  while (text_len && text[text_len - 1] == '=') text_len--;
  if (text_len > CHARSMAP_MAX || !(charsmap->decoded = zf_malloc(text_len + 1)))
    return text_len > CHARSMAP_MAX ? zf_error(ZF_EINVALID, "%s: precompiled_charsmap of %zu bytes",
                                              charsmap->where, text_len)
                                   : ZF_ENOMEM;
  for (size_t i = 0; i < text_len; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0)
      return zf_error(ZF_EINVALID, "%s: precompiled_charsmap: byte %zu is not base64",
                      charsmap->where, i);
    bits = bits << 6 | (uint32_t)digit;
    if (i % 4) charsmap->decoded[out++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
  }
  charsmap->decoded[out] = 0;
  *len = out;
  return 0;
}

static int read_units(struct charsmap *charsmap, size_t len) {
  struct zf_bytes cursor = {.data = charsmap->decoded, .len = len};
  uint32_t bytes = 0;
  int rc = zf_bytes_u32(&cursor, &bytes);
  if (!rc && (bytes % 4 || bytes > len - 4))
    rc = zf_error(ZF_EINVALID, "the trie has %u bytes, the table %zu", bytes, len);
  charsmap->unit_count = bytes / 4;
  if (!rc &&
      !(charsmap->unit = zf_calloc((int64_t)charsmap->unit_count + 1, sizeof *charsmap->unit)))
    return ZF_ENOMEM;
  for (size_t i = 0; !rc && i < charsmap->unit_count; i++)
    rc = zf_bytes_u32(&cursor, &charsmap->unit[i]);
  charsmap->replacements = (const char *)charsmap->decoded + cursor.pos;
  charsmap->replacements_len = len - cursor.pos;
  if (!rc && zf_utf8_bad(charsmap->replacements, charsmap->replacements_len) >= 0)
    rc = zf_error(ZF_EINVALID, "the replacements are not UTF-8");
  return rc ? zf_error_prefix(rc, "%s: precompiled_charsmap", charsmap->where) : 0;
}

static int parse(struct charsmap *charsmap, const json_t *def, const char *where, int needed) {
  const char *text = NULL;
  size_t len = 0;
  charsmap->where = zf_strdup(where);
  int rc = !charsmap->where ? ZF_ENOMEM
           : needed         ? zf_need_str(&text, def, "precompiled_charsmap", where)
                            : zf_json_str(&text, def, "precompiled_charsmap", where);
  if (!rc) rc = zf_json_bool(&charsmap->dummy_prefix, def, "add_dummy_prefix", where);
  if (!rc)
    rc = zf_json_bool(&charsmap->remove_extra_spaces, def, "remove_extra_whitespaces", where);
  if (!rc) rc = zf_json_bool(&charsmap->escape_spaces, def, "escape_whitespaces", where);
  if (rc || !text) return rc;
  rc = decode_base64(charsmap, text, &len);
  return rc ? rc : read_units(charsmap, len);
}

static int parse_new(void **self, const json_t *def, const char *where, int needed) {
  struct charsmap *charsmap = zf_calloc(1, sizeof *charsmap);
  if (!charsmap) return ZF_ENOMEM;
  charsmap->dummy_prefix = charsmap->remove_extra_spaces = charsmap->escape_spaces = 1;
  int rc = parse(charsmap, def, where, needed);
  if (rc) {
    zf_charsmap_free(charsmap);
    return rc;
  }
  *self = charsmap;
  return 0;
}

int zf_precompiled_parse(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  (void)tok;
  return parse_new(self, def, where, 1);
}

int zf_sentencepiece_parse(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok) {
  (void)tok;
  return parse_new(self, def, where, 0);
}

/* --- looking up ------------------------------------------------------------------------ */

static size_t child_offset(uint32_t unit) {
  return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Finds s[0..n): the shortest key that begins it or, with `longest`, the longest.
 * 1 with the replacement and the key's length, 0 for none, or a code. */
static int find_replacement(const struct charsmap *charsmap, const char *key, int64_t length,
                            int longest, const char **replacement, int64_t *len) {
  size_t at = charsmap->unit_count ? child_offset(charsmap->unit[0]) : 0, value = 0;
  int64_t matched = 0;
  for (int64_t i = 0; i < length && key[i] && charsmap->unit_count; i++) {
    unsigned char byte = (unsigned char)key[i];
    at ^= byte;
    if (at >= charsmap->unit_count || (charsmap->unit[at] & (1u << 31 | 0xFF)) != byte) break;
    uint32_t unit = charsmap->unit[at];
    at ^= child_offset(unit);
    if (!(unit >> 8 & 1)) continue;
    if (at >= charsmap->unit_count) break;
    value = charsmap->unit[at] & ~(1u << 31);
    matched = i + 1;
    if (!longest) break;
  }
  if (!matched) return 0;
  if (value > charsmap->replacements_len ||
      ((unsigned char)charsmap->replacements[value] & 0xC0) == 0x80)
    return zf_error(ZF_EINVALID, "%s: precompiled_charsmap: a replacement at byte %zu of %zu",
                    charsmap->where, value, charsmap->replacements_len);
  *replacement = charsmap->replacements + value;
  *len = matched;
  return 1;
}

/* --- Precompiled --------------------------------------------------------------------- */

static int64_t count_chars(const char *text, int64_t len) {
  int64_t characters = 0;
  for (int64_t i = 0; i < len; i++) characters += ((unsigned char)text[i] & 0xC0) != 0x80;
  return characters;
}

/* Notes that `old` characters became `text`: as many replace, the rest are inserted,
 * or the last one swallows what is over. */
static int add_replacement(struct zf_chars *out, const char *text, int64_t old_chars) {
  int64_t len = (int64_t)strlen(text), new_chars = count_chars(text, len), written = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < len; written++) {
    uint32_t c;
    i += zf_char_next(&c, text + i, len - i);
    rc = zf_chars_add(out, (int32_t)c, new_chars > old_chars && written >= old_chars);
  }
  if (!rc && new_chars < old_chars && out->count)
    out->mapping[out->count - 1].change -= (int32_t)(old_chars - new_chars);
  return rc;
}

static int replace_grapheme(const struct charsmap *charsmap, struct zf_chars *out,
                            const char *grapheme, int64_t length) {
  const char *replacement;
  int64_t len;
  int rc =
      length < GRAPHEME ? find_replacement(charsmap, grapheme, length, 0, &replacement, &len) : 0;
  if (rc) return rc < 0 ? rc : add_replacement(out, replacement, count_chars(grapheme, length));
  for (int64_t i = 0; !rc && i < length;) {
    uint32_t c;
    int bytes = zf_char_next(&c, grapheme + i, length - i);
    rc = find_replacement(charsmap, grapheme + i, bytes, 0, &replacement, &len);
    if (rc >= 0) rc = rc ? add_replacement(out, replacement, 1) : zf_chars_add(out, (int32_t)c, 0);
    i += bytes;
  }
  return rc;
}

static int replace_all(const struct charsmap *charsmap, struct zf_chars *out, const char *text,
                       int64_t len) {
  int64_t from = 0;
  int32_t state = 0, before = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < len;) {
    uint32_t c;
    int bytes = zf_char_next(&c, text + i, len - i);
    if (i > 0 && utf8proc_grapheme_break_stateful(before, (int32_t)c, &state)) {
      rc = replace_grapheme(charsmap, out, text + from, i - from);
      from = i;
    }
    before = (int32_t)c;
    i += bytes;
  }
  return rc || from == len ? rc : replace_grapheme(charsmap, out, text + from, len - from);
}

static int map_precompiled(const void *self, struct zf_encoding *encoding,
                           const struct zf_span *span) {
  struct zf_chars out = {0};
  int rc = replace_all(self, &out, encoding->text.data + span->off, span->len);
  if (!rc) rc = zf_chars_write(encoding, span, &out);
  free(out.mapping);
  return rc;
}

int zf_precompiled_apply(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_precompiled, self);
}

/* --- SentencePiece --------------------------------------------------------------------- */

static const char mark[] = "\xE2\x96\x81"; /* what a space is written as */

static int put_space(const struct charsmap *charsmap, struct zf_encoding *encoding, int32_t begin,
                     int32_t end) {
  return charsmap->escape_spaces ? zf_text_buf_add(encoding, mark, 3, begin, end)
                                 : zf_text_buf_add(encoding, " ", 1, begin, end);
}

/* The next stretch of a piece and what replaces it. */
static int next_replacement(const struct charsmap *charsmap, const char *input, int64_t length,
                            const char **replacement, int64_t *len, int64_t *consumed) {
  uint32_t c;
  int rc = find_replacement(charsmap, input, length, 1, replacement, consumed);
  if (rc == 1) *len = (int64_t)strlen(*replacement);
  if (rc == 0) {
    *consumed = zf_char_next(&c, input, length);
    *replacement = input;
    *len = *consumed;
  }
  return rc < 0 ? rc : 0;
}

/* Appends a piece; *space says whether what came before ends in a space that takes up
 * those which follow. */
static int put_span(const struct charsmap *charsmap, struct zf_encoding *encoding,
                    const struct zf_span *span, int *space) {
  int64_t len, consumed = 0;
  const char *replacement;
  int rc = 0;
  for (int64_t i = span->off, end = span->off + span->len; !rc && i < end; i += consumed) {
    rc =
        next_replacement(charsmap, encoding->text.data + i, end - i, &replacement, &len, &consumed);
    int32_t b = encoding->track_offsets && !rc ? encoding->text.begin[i] : 0,
            e = encoding->track_offsets && !rc ? encoding->text.end[i + consumed - 1] : 0;
    int64_t k = 0;
    while (!rc && *space && k < len && replacement[k] == ' ') k++;
    for (; !rc && k < len; k++) {
      *space = replacement[k] == ' ';
      rc = *space ? put_space(charsmap, encoding, b, e)
                  : zf_text_buf_add(encoding, replacement + k, 1, b, e);
    }
    *space &= charsmap->remove_extra_spaces;
  }
  return rc;
}

static void drop_trailing(const struct charsmap *charsmap, struct zf_encoding *encoding,
                          int64_t from) {
  struct zf_text_buf *text = &encoding->new_text;
  int64_t len = charsmap->escape_spaces ? 3 : 1;
  while (text->len - from >= len &&
         !memcmp(text->data + text->len - len, charsmap->escape_spaces ? mark : " ", (size_t)len))
    text->len -= len;
}

/* Is there anything but spaces? */
static int has_text(const struct charsmap *charsmap, const struct zf_encoding *encoding,
                    int *found) {
  int64_t len, consumed = 0;
  const char *replacement;
  int rc = 0;
  *found = !charsmap->remove_extra_spaces && encoding->span_count;
  for (int64_t i = 0; !rc && !*found && i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    *found = span->id >= 0;
    for (int64_t at = 0; !rc && !*found && at < span->len; at += consumed) {
      rc = next_replacement(charsmap, encoding->text.data + span->off + at, span->len - at,
                            &replacement, &len, &consumed);
      for (int64_t j = 0; !rc && j < len; j++) *found |= replacement[j] != ' ';
    }
  }
  return rc;
}

/* The pieces found stand in w->seg, their ids as matches, until the text is in place. */
static int put_spans(const struct charsmap *charsmap, struct zf_encoding *encoding, int64_t *from) {
  int space = charsmap->remove_extra_spaces, rc = 0;
  for (int64_t i = 0; !rc && i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    int64_t begin = encoding->new_text.len;
    if (span.id < 0) {
      rc = put_span(charsmap, encoding, &span, &space);
      continue;
    }
    if (begin > *from) rc = zf_encoding_add_segment(encoding, *from, begin, -1);
    if (!rc) rc = zf_text_buf_copy(encoding, span.off, span.len);
    if (!rc) rc = zf_encoding_add_segment(encoding, begin, encoding->new_text.len, span.id);
    *from = encoding->new_text.len;
    space = 0;
  }
  return rc;
}

/* One text, whatever pieces stand in it: a mark before the first, none after the last. */
int zf_sentencepiece_apply(const void *self, struct zf_encoding *encoding) {
  const struct charsmap *charsmap = self;
  int found = 0;
  int64_t from = 0;
  int rc = has_text(charsmap, encoding, &found);
  if (!rc) rc = zf_encoding_reserve(encoding, encoding->text.len + 1);
  encoding->segment_count = encoding->new_span_count = 0;
  if (!rc && found && charsmap->dummy_prefix) rc = put_space(charsmap, encoding, 0, 0);
  if (!rc) rc = put_spans(charsmap, encoding, &from);
  if (!rc && charsmap->remove_extra_spaces) drop_trailing(charsmap, encoding, from);
  if (!rc && encoding->new_text.len > from)
    rc = zf_encoding_add_segment(encoding, from, encoding->new_text.len, -1);
  zf_encoding_swap_text(encoding);
  for (int64_t i = 0; !rc && i < encoding->segment_count; i++)
    rc = zf_encoding_add_span(encoding, encoding->segment[i].from,
                              encoding->segment[i].to - encoding->segment[i].from,
                              encoding->segment[i].match);
  if (!rc) zf_encoding_swap_spans(encoding);
  return rc;
}
