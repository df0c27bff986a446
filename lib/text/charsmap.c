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
  unsigned char *raw; /* decoded */
  uint32_t *unit;
  size_t nunit;
  const char *blob; /* the replacements, zero-terminated */
  size_t nblob;
  char *where;
  int dummy_prefix, squeeze, escape; /* SentencePiece's */
};

void zf_charsmap_free(void *self) {
  struct charsmap *charsmap = self;
  if (!charsmap) return;
  free(charsmap->raw);
  free(charsmap->unit);
  free(charsmap->where);
  free(charsmap);
}

/* --- reading ------------------------------------------------------------------------ */

static int sextet(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* RFC 4648, with its padding. */
static int decode_base64(struct charsmap *charsmap, const char *text, size_t *len) {
  size_t n = strlen(text), out = 0;
  uint32_t bits = 0;
  while (n && text[n - 1] == '=') n--;
  if (n > CHARSMAP_MAX || !(charsmap->raw = zf_malloc(n + 1)))
    return n > CHARSMAP_MAX
               ? zf_error(ZF_EINVALID, "%s: precompiled_charsmap of %zu bytes", charsmap->where, n)
               : ZF_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    int v = sextet(text[i]);
    if (v < 0)
      return zf_error(ZF_EINVALID, "%s: precompiled_charsmap: byte %zu is not base64",
                      charsmap->where, i);
    bits = bits << 6 | (uint32_t)v;
    if (i % 4) charsmap->raw[out++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
  }
  charsmap->raw[out] = 0;
  *len = out;
  return 0;
}

static int read_units(struct charsmap *charsmap, size_t len) {
  struct zf_bytes b = {.data = charsmap->raw, .len = len};
  uint32_t bytes = 0;
  int rc = zf_bytes_u32(&b, &bytes);
  if (!rc && (bytes % 4 || bytes > len - 4))
    rc = zf_error(ZF_EINVALID, "the trie has %u bytes, the table %zu", bytes, len);
  charsmap->nunit = bytes / 4;
  if (!rc && !(charsmap->unit = zf_calloc((int64_t)charsmap->nunit + 1, sizeof *charsmap->unit)))
    return ZF_ENOMEM;
  for (size_t i = 0; !rc && i < charsmap->nunit; i++) rc = zf_bytes_u32(&b, &charsmap->unit[i]);
  charsmap->blob = (const char *)charsmap->raw + b.pos;
  charsmap->nblob = len - b.pos;
  if (!rc && zf_utf8_bad(charsmap->blob, charsmap->nblob) >= 0)
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
  if (!rc) rc = zf_json_bool(&charsmap->squeeze, def, "remove_extra_whitespaces", where);
  if (!rc) rc = zf_json_bool(&charsmap->escape, def, "escape_whitespaces", where);
  if (rc || !text) return rc;
  rc = decode_base64(charsmap, text, &len);
  return rc ? rc : read_units(charsmap, len);
}

static int parse_new(void **self, const json_t *def, const char *where, int needed) {
  struct charsmap *charsmap = zf_calloc(1, sizeof *charsmap);
  if (!charsmap) return ZF_ENOMEM;
  charsmap->dummy_prefix = charsmap->squeeze = charsmap->escape = 1;
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

static size_t children(uint32_t unit) {
  return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Finds s[0..n): the shortest key that begins it or, with `longest`, the longest.
 * 1 with the replacement and the key's length, 0 for none, or a code. */
static int find(const struct charsmap *charsmap, const char *s, int64_t length, int longest,
                const char **text, int64_t *len) {
  size_t at = charsmap->nunit ? children(charsmap->unit[0]) : 0, value = 0;
  int64_t matched = 0;
  for (int64_t i = 0; i < length && s[i] && charsmap->nunit; i++) {
    unsigned char c = (unsigned char)s[i];
    at ^= c;
    if (at >= charsmap->nunit || (charsmap->unit[at] & (1u << 31 | 0xFF)) != c) break;
    uint32_t unit = charsmap->unit[at];
    at ^= children(unit);
    if (!(unit >> 8 & 1)) continue;
    if (at >= charsmap->nunit) break;
    value = charsmap->unit[at] & ~(1u << 31);
    matched = i + 1;
    if (!longest) break;
  }
  if (!matched) return 0;
  if (value > charsmap->nblob || ((unsigned char)charsmap->blob[value] & 0xC0) == 0x80)
    return zf_error(ZF_EINVALID, "%s: precompiled_charsmap: a replacement at byte %zu of %zu",
                    charsmap->where, value, charsmap->nblob);
  *text = charsmap->blob + value;
  *len = matched;
  return 1;
}

/* --- Precompiled --------------------------------------------------------------------- */

static int64_t count(const char *s, int64_t len) {
  int64_t k = 0;
  for (int64_t i = 0; i < len; i++) k += ((unsigned char)s[i] & 0xC0) != 0x80;
  return k;
}

/* Notes that `old` characters became `text`: as many replace, the rest are inserted,
 * or the last one swallows what is over. */
static int note(struct zf_chars *out, const char *text, int64_t old) {
  int64_t n = (int64_t)strlen(text), made = count(text, n), k = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < n; k++) {
    uint32_t c;
    i += zf_char_next(&c, text + i, n - i);
    rc = zf_chars_add(out, (int32_t)c, made > old && k >= old);
  }
  if (!rc && made < old && out->count) out->at[out->count - 1].change -= (int32_t)(old - made);
  return rc;
}

static int replace_grapheme(const struct charsmap *charsmap, struct zf_chars *out, const char *s,
                            int64_t length) {
  const char *text;
  int64_t len;
  int rc = length < GRAPHEME ? find(charsmap, s, length, 0, &text, &len) : 0;
  if (rc) return rc < 0 ? rc : note(out, text, count(s, length));
  for (int64_t i = 0; !rc && i < length;) {
    uint32_t c;
    int k = zf_char_next(&c, s + i, length - i);
    rc = find(charsmap, s + i, k, 0, &text, &len);
    if (rc >= 0) rc = rc ? note(out, text, 1) : zf_chars_add(out, (int32_t)c, 0);
    i += k;
  }
  return rc;
}

static int replace_all(const struct charsmap *charsmap, struct zf_chars *out, const char *s,
                       int64_t len) {
  int64_t from = 0;
  int32_t state = 0, before = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < len;) {
    uint32_t c;
    int k = zf_char_next(&c, s + i, len - i);
    if (i > 0 && utf8proc_grapheme_break_stateful(before, (int32_t)c, &state)) {
      rc = replace_grapheme(charsmap, out, s + from, i - from);
      from = i;
    }
    before = (int32_t)c;
    i += k;
  }
  return rc || from == len ? rc : replace_grapheme(charsmap, out, s + from, len - from);
}

static int map_precompiled(const void *self, struct zf_encoding *encoding,
                           const struct zf_piece *piece) {
  struct zf_chars out = {0};
  int rc = replace_all(self, &out, encoding->cur.data + piece->off, piece->len);
  if (!rc) rc = zf_chars_put(encoding, piece, &out);
  free(out.at);
  return rc;
}

int zf_precompiled_apply(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_map(encoding, map_precompiled, self);
}

/* --- SentencePiece --------------------------------------------------------------------- */

static const char mark[] = "\xE2\x96\x81"; /* what a space is written as */

static int put_space(const struct charsmap *charsmap, struct zf_encoding *encoding, int32_t b,
                     int32_t e) {
  return charsmap->escape ? zf_text_buf_add(encoding, mark, 3, b, e)
                          : zf_text_buf_add(encoding, " ", 1, b, e);
}

/* The next stretch of a piece and what replaces it. */
static int step(const struct charsmap *charsmap, const char *s, int64_t length, const char **text,
                int64_t *len, int64_t *used) {
  uint32_t c;
  int rc = find(charsmap, s, length, 1, text, used);
  if (rc == 1) *len = (int64_t)strlen(*text);
  if (rc == 0) {
    *used = zf_char_next(&c, s, length);
    *text = s;
    *len = *used;
  }
  return rc < 0 ? rc : 0;
}

/* Appends a piece; *space says whether what came before ends in a space that takes up
 * those which follow. */
static int put_piece(const struct charsmap *charsmap, struct zf_encoding *encoding,
                     const struct zf_piece *piece, int *space) {
  int64_t len, used = 0;
  const char *text;
  int rc = 0;
  for (int64_t i = piece->off, end = piece->off + piece->len; !rc && i < end; i += used) {
    rc = step(charsmap, encoding->cur.data + i, end - i, &text, &len, &used);
    int32_t b = encoding->track && !rc ? encoding->cur.begin[i] : 0,
            e = encoding->track && !rc ? encoding->cur.end[i + used - 1] : 0;
    int64_t k = 0;
    while (!rc && *space && k < len && text[k] == ' ') k++;
    for (; !rc && k < len; k++) {
      *space = text[k] == ' ';
      rc = *space ? put_space(charsmap, encoding, b, e)
                  : zf_text_buf_add(encoding, text + k, 1, b, e);
    }
    *space &= charsmap->squeeze;
  }
  return rc;
}

static void drop_trailing(const struct charsmap *charsmap, struct zf_encoding *encoding,
                          int64_t from) {
  struct zf_text_buf *text = &encoding->next;
  int64_t n = charsmap->escape ? 3 : 1;
  while (text->len - from >= n &&
         !memcmp(text->data + text->len - n, charsmap->escape ? mark : " ", (size_t)n))
    text->len -= n;
}

/* Is there anything but spaces? */
static int has_text(const struct charsmap *charsmap, const struct zf_encoding *encoding,
                    int *found) {
  int64_t len, used = 0;
  const char *text;
  int rc = 0;
  *found = !charsmap->squeeze && encoding->npiece;
  for (int64_t i = 0; !rc && !*found && i < encoding->npiece; i++) {
    const struct zf_piece *piece = &encoding->piece[i];
    *found = piece->id >= 0;
    for (int64_t at = 0; !rc && !*found && at < piece->len; at += used) {
      rc =
          step(charsmap, encoding->cur.data + piece->off + at, piece->len - at, &text, &len, &used);
      for (int64_t k = 0; !rc && k < len; k++) *found |= text[k] != ' ';
    }
  }
  return rc;
}

/* The pieces found stand in w->seg, their ids as matches, until the text is in place. */
static int put_pieces(const struct charsmap *charsmap, struct zf_encoding *encoding,
                      int64_t *from) {
  int space = charsmap->squeeze, rc = 0;
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece piece = encoding->piece[i];
    int64_t begin = encoding->next.len;
    if (piece.id < 0) {
      rc = put_piece(charsmap, encoding, &piece, &space);
      continue;
    }
    if (begin > *from) rc = zf_encoding_segment(encoding, *from, begin, -1);
    if (!rc) rc = zf_text_buf_copy(encoding, piece.off, piece.len);
    if (!rc) rc = zf_encoding_segment(encoding, begin, encoding->next.len, piece.id);
    *from = encoding->next.len;
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
  if (!rc) rc = zf_encoding_reserve(encoding, encoding->cur.len + 1);
  encoding->segment_count = encoding->nmade = 0;
  if (!rc && found && charsmap->dummy_prefix) rc = put_space(charsmap, encoding, 0, 0);
  if (!rc) rc = put_pieces(charsmap, encoding, &from);
  if (!rc && charsmap->squeeze) drop_trailing(charsmap, encoding, from);
  if (!rc && encoding->next.len > from)
    rc = zf_encoding_segment(encoding, from, encoding->next.len, -1);
  zf_encoding_swap_text(encoding);
  for (int64_t i = 0; !rc && i < encoding->segment_count; i++)
    rc = zf_encoding_push(encoding, encoding->segment[i].from,
                          encoding->segment[i].to - encoding->segment[i].from,
                          encoding->segment[i].match);
  if (!rc) zf_encoding_swap_pieces(encoding);
  return rc;
}
