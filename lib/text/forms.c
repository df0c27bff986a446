/* The four Unicode normalization forms, with the offsets of every character kept.
 *
 * Decomposition, canonical order and composition are those of Unicode (UAX 15) with utf8proc's
 * tables.  In addition, as in the `tokenizers` package, each character carries how it changes the
 * text: 0 replaces the next old character, +1 is inserted, -n replaces one and removes the n after
 * it.  The offsets follow from that:
 *
 *   old "e" U+0301 "x"  ->  NFC  U+00E9 (-1), "x" (0)    offsets [0,1) [3,4)
 *   old U+00E9          ->  NFD  "e" (0), U+0301 (+1)    offsets [0,2) [0,2)
 *
 * The package has the tables of Unicode 9, utf8proc newer ones: characters added since then are
 * normalised here and not there. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "forms_internal.h"

enum { LONGEST = 32 }; /* no character decomposes to more than 18 */

int zf_chars_add(struct zf_chars *chars, int32_t character, int change) {
  if (chars->count == chars->cap) {
    int64_t cap = chars->cap ? chars->cap * 2 : 256;
    struct zf_char_map *at = realloc(chars->mapping, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "out of memory for %lld characters", (long long)cap);
    chars->mapping = at;
    chars->cap = cap;
  }
  chars->mapping[chars->count++] = (struct zf_char_map){
      character, change, (uint8_t)utf8proc_get_property(character)->combining_class};
  return 0;
}

static int decompose(struct zf_chars *chars, const char *text, int64_t len, int compat) {
  int options = UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    int32_t part[LONGEST];
    int bound = 0;
    i += zf_char_next(&c, text + i, len - i);
    int64_t parts = utf8proc_decompose_char((int32_t)c, part, LONGEST, options, &bound);
    if (parts < 0 || parts > LONGEST) {
      part[0] = (int32_t)c;
      parts = 1;
    }
    for (int64_t k = 0; k < parts; k++) {
      int rc = zf_chars_add(chars, part[k], k > 0);
      if (rc) return rc;
    }
  }
  return 0;
}

/* Sorts a run of marks by combining class and keeps the order of equal ones: a counting sort, since
 * a run may be as long as the text. */
static int sort_run(struct zf_char_map *marks, int64_t count) {
  int64_t start[257] = {0};
  int sorted = 1;
  for (int64_t i = 1; i < count; i++)
    sorted &= marks[i - 1].combining_class <= marks[i].combining_class;
  if (sorted) return 0;
  struct zf_char_map *copy = zf_malloc((size_t)count * sizeof *copy);
  if (!copy) return ZF_ENOMEM;
  memcpy(copy, marks, (size_t)count * sizeof *copy);
  for (int64_t i = 0; i < count; i++) start[marks[i].combining_class + 1]++;
  for (int i = 0; i < 256; i++) start[i + 1] += start[i];
  for (int64_t i = 0; i < count; i++) marks[start[copy[i].combining_class]++] = copy[i];
  free(copy);
  return 0;
}

static int reorder(struct zf_chars *chars) {
  for (int64_t i = 0; i < chars->count;) {
    int64_t from = i;
    while (i < chars->count && chars->mapping[i].combining_class) i++;
    int rc = i - from > 1 ? sort_run(chars->mapping + from, i - from) : 0;
    if (rc) return rc;
    if (i == from) i++;
  }
  return 0;
}

/* utf8proc 2.8 takes this character for a final consonant and removes it after a Hangul syllable.
 * It is the code point just before them. */
enum { BEFORE_FINALS = 0x11A7 };

/* The primary composite of two characters, or -1. */
static int32_t composite(int32_t first, int32_t second) {
  if (second == BEFORE_FINALS) return -1;
  int32_t pair[2] = {first, second};
  int64_t count = utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return count == 1 ? pair[0] : -1;
}

/* Composes in place.  A mark cannot combine with its starter when a mark of the same or a higher
 * class stands between them. */
static void compose(struct zf_chars *chars) {
  int64_t out = 0, starter = -1;
  int last = -1; /* class of the last mark kept since the starter, -1 for none */
  for (int64_t i = 0; i < chars->count; i++) {
    struct zf_char_map mapping = chars->mapping[i];
    int32_t composed = -1;
    if (starter >= 0 && (last < 0 || last < mapping.combining_class))
      composed = composite(chars->mapping[starter].character, mapping.character);
    if (composed >= 0) {
      chars->mapping[starter].character = composed;
      chars->mapping[starter].change += mapping.change - 1;
      continue;
    }
    if (mapping.combining_class == 0) {
      starter = out;
      last = -1;
    } else if (starter >= 0) {
      last = mapping.combining_class;
    }
    chars->mapping[out++] = mapping;
  }
  chars->count = out;
}

/* The offsets of a character that changes the text by `change`, with `at` bytes of the span read:
 * those of the old character that it replaces, or of the one before when it is inserted. */
static void char_offsets(const struct zf_encoding *encoding, const struct zf_span *span, int change,
                         int64_t at, int32_t *begin, int32_t *end) {
  *begin = *end = (int32_t)span->origin;
  if (!encoding->track_offsets || (change > 0 && at == 0)) return;
  int64_t from = at;
  if (change > 0)
    from = at - 1;
  else if (at >= span->len)
    from = span->len - 1;
  *begin = encoding->text.begin[span->off + from];
  *end = encoding->text.end[span->off + from];
}

int zf_chars_write(struct zf_encoding *encoding, const struct zf_span *span,
                   const struct zf_chars *chars) {
  const char *old = encoding->text.data + span->off;
  int64_t at = 0;
  for (int64_t i = 0; i < chars->count; i++) {
    char out[4];
    int len = zf_char_put(out, (uint32_t)chars->mapping[i].character);
    int change = chars->mapping[i].change;
    int32_t begin, end;
    char_offsets(encoding, span, change, at, &begin, &end);
    for (int j = 0; j >= change; j--) {
      uint32_t c;
      if (at >= span->len) break;
      at += zf_char_next(&c, old + at, span->len - at);
    }
    int rc = zf_text_buf_add(encoding, out, len, begin, end);
    if (rc) return rc;
  }
  return 0;
}

/* The first character that the form may change, or compose with one below it. */
static uint32_t first_changed(enum zf_form form) {
  if (form == ZF_NFC) return 0x300;
  return form == ZF_NFD ? 0xC0 : 0xA0;
}

static int is_unchanged(enum zf_form form, const char *text, int64_t len) {
  uint32_t limit = first_changed(form);
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    i += zf_char_next(&c, text + i, len - i);
    if (c >= limit) return 0;
  }
  return 1;
}

int zf_form_apply(enum zf_form form, struct zf_encoding *encoding, const struct zf_span *span) {
  if (is_unchanged(form, encoding->text.data + span->off, span->len))
    return zf_text_buf_copy(encoding, span->off, span->len);
  struct zf_chars chars = {0};
  int rc = decompose(&chars, encoding->text.data + span->off, span->len,
                     form == ZF_NFKC || form == ZF_NFKD);
  if (!rc) rc = reorder(&chars);
  if (!rc && (form == ZF_NFC || form == ZF_NFKC)) compose(&chars);
  if (!rc) rc = zf_chars_write(encoding, span, &chars);
  free(chars.mapping);
  return rc;
}
