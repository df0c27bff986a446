/* SentencePiece's table of replacements (its precompiled charsmap), and the two normalizers that
 * use it.
 *
 *   u32 bytes of the trie | the trie, u32 units | replacements, each zero-terminated
 *
 * The trie is a double array (Aoe 1989, in the layout of darts-clone).  A unit holds
 *   bits 0-7 and 31  the byte of the edge to it   bit 8   one of its children is a value
 *   bits 10-30       offset of its children, times 256 if bit 9 is set
 * A unit with bit 31 is a value: the offset of the replacement.
 *
 * "Precompiled" follows the `tokenizers` package, which looks up whole grapheme clusters of fewer
 * than six bytes first and then each character, and takes the shortest match.  SentencePiece itself
 * takes the longest match at each byte, and also handles spaces here. */
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
  if (text_len > CHARSMAP_MAX)
    return zf_error(ZF_EINVALID, "%s: precompiled_charsmap: expected at most %d bytes, found %zu",
                    charsmap->where, CHARSMAP_MAX, text_len);
  if (!(charsmap->decoded = zf_malloc(text_len + 1))) return ZF_ENOMEM;
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

static int read_trie(struct charsmap *charsmap, struct zf_bytes *cursor) {
  uint32_t bytes = 0;
  int rc = zf_bytes_u32(cursor, &bytes);
  if (rc) return rc;
  if (bytes % 4 || bytes > cursor->len - 4)
    return zf_error(ZF_EINVALID, "the trie has %u bytes, the table %zu", bytes, cursor->len);
  charsmap->unit_count = bytes / 4;
  charsmap->unit = zf_calloc((int64_t)charsmap->unit_count + 1, sizeof *charsmap->unit);
  if (!charsmap->unit) return ZF_ENOMEM;
  for (size_t i = 0; i < charsmap->unit_count; i++)
    if ((rc = zf_bytes_u32(cursor, &charsmap->unit[i]))) return rc;
  return 0;
}

static int read_table(struct charsmap *charsmap, size_t len) {
  struct zf_bytes cursor = {.data = charsmap->decoded, .len = len};
  int rc = read_trie(charsmap, &cursor);
  if (rc == ZF_ENOMEM) return rc;
  charsmap->replacements = (const char *)charsmap->decoded + cursor.pos;
  charsmap->replacements_len = len - cursor.pos;
  if (!rc && zf_utf8_first_error(charsmap->replacements, charsmap->replacements_len) >= 0)
    rc = zf_error(ZF_EINVALID, "the replacements are not UTF-8");
  return rc ? zf_error_prefix(rc, "%s: precompiled_charsmap", charsmap->where) : 0;
}

static int parse(struct charsmap *charsmap, const json_t *def, const char *where, int needed) {
  const char *text = NULL;
  size_t len = 0;
  if (!(charsmap->where = zf_strdup(where))) return ZF_ENOMEM;
  int rc = needed ? zf_need_str(&text, def, "precompiled_charsmap", where)
                  : zf_json_str(&text, def, "precompiled_charsmap", where);
  if (!rc) rc = zf_json_bool(&charsmap->dummy_prefix, def, "add_dummy_prefix", where);
  if (!rc)
    rc = zf_json_bool(&charsmap->remove_extra_spaces, def, "remove_extra_whitespaces", where);
  if (!rc) rc = zf_json_bool(&charsmap->escape_spaces, def, "escape_whitespaces", where);
  if (rc || !text) return rc;
  rc = decode_base64(charsmap, text, &len);
  return rc ? rc : read_table(charsmap, len);
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

/* Finds key[0..length): the shortest entry that it begins with or, with `longest`, the longest.  1
 * with the replacement and the entry's length, 0 for none, or a code. */
static int find_replacement(const struct charsmap *charsmap, const char *key, int64_t length,
                            int longest, const char **replacement, int64_t *len) {
  if (!charsmap->unit_count) return 0;
  size_t at = child_offset(charsmap->unit[0]), value = 0;
  int64_t matched = 0;
  for (int64_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)key[i];
    at ^= byte;
    if (!byte || at >= charsmap->unit_count) break;
    uint32_t unit = charsmap->unit[at];
    if ((unit & (1u << 31 | 0xFF)) != byte) break;
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
    return zf_error(ZF_EINVALID,
                    "%s: precompiled_charsmap: expected a replacement at byte %zu of %zu",
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

/* Appends `text`, which `old_chars` characters became.  As many of its characters replace old ones.
 * Further ones are inserted; if there are fewer, the last one removes the old ones that remain. */
static int add_replacement(struct zf_chars *out, const char *text, int64_t old_chars) {
  int64_t len = (int64_t)strlen(text), new_chars = count_chars(text, len), written = 0;
  for (int64_t i = 0; i < len; written++) {
    uint32_t c;
    i += zf_char_next(&c, text + i, len - i);
    int rc = zf_chars_add(out, (int32_t)c, new_chars > old_chars && written >= old_chars);
    if (rc) return rc;
  }
  if (new_chars < old_chars && out->count)
    out->mapping[out->count - 1].change -= (int32_t)(old_chars - new_chars);
  return 0;
}

/* Replaces a grapheme cluster as a whole if the table has it, else character by character. */
static int replace_grapheme(const struct charsmap *charsmap, struct zf_chars *out,
                            const char *grapheme, int64_t length) {
  const char *replacement;
  int64_t len;
  int bytes;
  int rc =
      length < GRAPHEME ? find_replacement(charsmap, grapheme, length, 0, &replacement, &len) : 0;
  if (rc < 0) return rc;
  if (rc) return add_replacement(out, replacement, count_chars(grapheme, length));
  for (int64_t i = 0; i < length; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, grapheme + i, length - i);
    rc = find_replacement(charsmap, grapheme + i, bytes, 0, &replacement, &len);
    if (rc < 0) return rc;
    rc = rc ? add_replacement(out, replacement, 1) : zf_chars_add(out, (int32_t)c, 0);
    if (rc) return rc;
  }
  return 0;
}

static int replace_all(const struct charsmap *charsmap, struct zf_chars *out, const char *text,
                       int64_t len) {
  int64_t from = 0;
  int32_t state = 0, before = 0;
  int bytes;
  for (int64_t i = 0; i < len; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, text + i, len - i);
    if (i > 0 && utf8proc_grapheme_break_stateful(before, (int32_t)c, &state)) {
      int rc = replace_grapheme(charsmap, out, text + from, i - from);
      if (rc) return rc;
      from = i;
    }
    before = (int32_t)c;
  }
  return from < len ? replace_grapheme(charsmap, out, text + from, len - from) : 0;
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

static const char mark[] = "\xE2\x96\x81"; /* stands for a space */

static int put_space(const struct charsmap *charsmap, struct zf_encoding *encoding, int32_t begin,
                     int32_t end) {
  return charsmap->escape_spaces ? zf_text_buf_add(encoding, mark, 3, begin, end)
                                 : zf_text_buf_add(encoding, " ", 1, begin, end);
}

/* The replacement of the entry that the input begins with, or its first character as it is.
 * *consumed: bytes of the input. */
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

/* Appends a replacement without the spaces that follow another one. */
static int put_replacement(const struct charsmap *charsmap, struct zf_encoding *encoding,
                           const char *text, int64_t len, int32_t begin, int32_t end, int *space) {
  int64_t i = 0;
  while (*space && i < len && text[i] == ' ') i++;
  for (; i < len; i++) {
    *space = text[i] == ' ';
    int rc = *space ? put_space(charsmap, encoding, begin, end)
                    : zf_text_buf_add(encoding, text + i, 1, begin, end);
    if (rc) return rc;
  }
  *space &= charsmap->remove_extra_spaces;
  return 0;
}

/* Appends a span.  *space: the text before it ends in a space after which further ones are
 * dropped. */
static int put_span(const struct charsmap *charsmap, struct zf_encoding *encoding,
                    const struct zf_span *span, int *space) {
  int64_t len, consumed, span_end = span->off + span->len;
  const char *replacement;
  for (int64_t i = span->off; i < span_end; i += consumed) {
    int rc = next_replacement(charsmap, encoding->text.data + i, span_end - i, &replacement, &len,
                              &consumed);
    if (rc) return rc;
    int32_t begin = encoding->track_offsets ? encoding->text.begin[i] : 0,
            end = encoding->track_offsets ? encoding->text.end[i + consumed - 1] : 0;
    rc = put_replacement(charsmap, encoding, replacement, len, begin, end, space);
    if (rc) return rc;
  }
  return 0;
}

static void drop_trailing(const struct charsmap *charsmap, struct zf_encoding *encoding,
                          int64_t from) {
  struct zf_text_buf *text = &encoding->new_text;
  int64_t len = charsmap->escape_spaces ? 3 : 1;
  while (text->len - from >= len &&
         !memcmp(text->data + text->len - len, charsmap->escape_spaces ? mark : " ", (size_t)len))
    text->len -= len;
}

/* Does a span become anything but spaces?  1, 0, or a code. */
static int span_has_text(const struct charsmap *charsmap, const char *text, int64_t span_len) {
  int64_t len, consumed;
  const char *replacement;
  for (int64_t at = 0; at < span_len; at += consumed) {
    int rc = next_replacement(charsmap, text + at, span_len - at, &replacement, &len, &consumed);
    if (rc) return rc;
    for (int64_t i = 0; i < len; i++)
      if (replacement[i] != ' ') return 1;
  }
  return 0;
}

/* Does the text need the mark in front?  If spaces are removed, one of spaces alone does not.  1,
 * 0, or a code. */
static int has_text(const struct charsmap *charsmap, const struct zf_encoding *encoding) {
  if (!charsmap->remove_extra_spaces) return encoding->span_count > 0;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    if (span->id >= 0) return 1;
    int rc = span_has_text(charsmap, encoding->text.data + span->off, span->len);
    if (rc) return rc;
  }
  return 0;
}

/* Appends an added token as it is; *from is the end of what has a segment. */
static int put_added(struct zf_encoding *encoding, const struct zf_span *span, int64_t *from) {
  int64_t begin = encoding->new_text.len;
  int rc = begin > *from ? zf_encoding_add_segment(encoding, *from, begin, -1) : 0;
  if (!rc) rc = zf_text_buf_copy(encoding, span->off, span->len);
  if (!rc) rc = zf_encoding_add_segment(encoding, begin, encoding->new_text.len, span->id);
  *from = encoding->new_text.len;
  return rc;
}

/* Appends all spans.  The spans of the new text are kept as segments, with their ids as `match`,
 * until the texts are swapped. */
static int put_spans(const struct charsmap *charsmap, struct zf_encoding *encoding, int64_t *from) {
  int space = charsmap->remove_extra_spaces;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    int rc = span.id < 0 ? put_span(charsmap, encoding, &span, &space)
                         : put_added(encoding, &span, from);
    if (rc) return rc;
    if (span.id >= 0) space = 0;
  }
  return 0;
}

/* Writes the new text and its spans as segments. */
static int normalize(const struct charsmap *charsmap, struct zf_encoding *encoding) {
  int64_t from = 0;
  int found = has_text(charsmap, encoding);
  if (found < 0) return found;
  int rc = zf_encoding_reserve(encoding, encoding->text.len + 1);
  if (rc) return rc;
  encoding->segment_count = encoding->new_span_count = 0;
  if (found && charsmap->dummy_prefix) rc = put_space(charsmap, encoding, 0, 0);
  if (!rc) rc = put_spans(charsmap, encoding, &from);
  if (rc) return rc;
  if (charsmap->remove_extra_spaces) drop_trailing(charsmap, encoding, from);
  return encoding->new_text.len > from
             ? zf_encoding_add_segment(encoding, from, encoding->new_text.len, -1)
             : 0;
}

/* All spans together are one text: a mark before the first, no space after the last. */
int zf_sentencepiece_apply(const void *self, struct zf_encoding *encoding) {
  int rc = normalize(self, encoding);
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  for (int64_t i = 0; i < encoding->segment_count; i++) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    rc = zf_encoding_add_span(encoding, segment->from, segment->to - segment->from, segment->match);
    if (rc) return rc;
  }
  zf_encoding_swap_spans(encoding);
  return 0;
}
