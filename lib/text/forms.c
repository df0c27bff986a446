/* The four Unicode normalization forms, with the place of every character kept.
 *
 * Decomposition, canonical order and composition are those of Unicode (UAX 15) with
 * utf8proc's tables; what is ours is that each character carries how it changes the
 * text, as the original does: 0 replaces the next old character, +1 is inserted, -n
 * replaces one and swallows n more.  From that the places follow:
 *
 *   old "e" U+0301 "x"  ->  NFC  U+00E9 (-1), "x" (0)    places [0,1) [3,4)
 *   old U+00E9          ->  NFD  "e" (0), U+0301 (+1)    places [0,2) [0,2)
 *
 * The original's tables are those of Unicode 9, utf8proc's newer: characters added
 * since then normalise here and do not there. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "forms_internal.h"

enum { LONGEST = 32 }; /* no character decomposes to more than 18 */

int zf_chars_add(struct zf_chars *s, int32_t c, int change) {
  if (s->count == s->cap) {
    int64_t cap = s->cap ? s->cap * 2 : 256;
    struct zf_char_map *at = realloc(s->at, (size_t)cap * sizeof *at);
    if (!at) return zf_error(ZF_ENOMEM, "out of memory for %lld characters", (long long)cap);
    s->at = at;
    s->cap = cap;
  }
  s->at[s->count++] =
      (struct zf_char_map){c, change, (uint8_t)utf8proc_get_property(c)->combining_class};
  return 0;
}

static int decompose(struct zf_chars *s, const char *p, int64_t n, int compat) {
  int options = UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    int32_t part[LONGEST];
    int bound = 0;
    i += zf_char_next(&c, p + i, n - i);
    int64_t parts = utf8proc_decompose_char((int32_t)c, part, LONGEST, options, &bound);
    if (parts < 0 || parts > LONGEST) {
      part[0] = (int32_t)c;
      parts = 1;
    }
    for (int64_t k = 0; k < parts; k++) {
      int rc = zf_chars_add(s, part[k], k > 0);
      if (rc) return rc;
    }
  }
  return 0;
}

/* Sorts a run of marks by class, equal ones in their order: by counting, since a
 * run may be as long as the text. */
static int sort_run(struct zf_char_map *at, int64_t n) {
  int64_t start[257] = {0};
  int sorted = 1;
  for (int64_t i = 1; i < n; i++) sorted &= at[i - 1].order <= at[i].order;
  if (sorted) return 0;
  struct zf_char_map *copy = zf_malloc((size_t)n * sizeof *copy);
  if (!copy) return ZF_ENOMEM;
  memcpy(copy, at, (size_t)n * sizeof *copy);
  for (int64_t i = 0; i < n; i++) start[at[i].order + 1]++;
  for (int i = 0; i < 256; i++) start[i + 1] += start[i];
  for (int64_t i = 0; i < n; i++) at[start[copy[i].order]++] = copy[i];
  free(copy);
  return 0;
}

static int reorder(struct zf_chars *s) {
  for (int64_t i = 0; i < s->count;) {
    int64_t from = i;
    while (i < s->count && s->at[i].order) i++;
    int rc = i - from > 1 ? sort_run(s->at + from, i - from) : 0;
    if (rc) return rc;
    if (i == from) i++;
  }
  return 0;
}

/* utf8proc 2.8 swallows this one after a Hangul syllable: it stands just before the
 * final consonants and is none. */
enum { BEFORE_FINALS = 0x11A7 };

/* The primary composite of two characters, or -1. */
static int32_t composite(int32_t a, int32_t b) {
  if (b == BEFORE_FINALS) return -1;
  int32_t pair[2] = {a, b};
  int64_t n = utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return n == 1 ? pair[0] : -1;
}

/* Composes in place.  A mark is blocked from its starter by one of the same or a
 * higher class between them. */
static void compose(struct zf_chars *s) {
  int64_t out = 0, starter = -1;
  int last = -1; /* class of the mark kept last since the starter, -1 for none */
  for (int64_t i = 0; i < s->count; i++) {
    struct zf_char_map c = s->at[i];
    int32_t made = -1;
    if (starter >= 0 && (last < 0 || last < c.order))
      made = composite(s->at[starter].character, c.character);
    if (made >= 0) {
      s->at[starter].character = made;
      s->at[starter].change += c.change - 1;
      continue;
    }
    if (c.order == 0) {
      starter = out;
      last = -1;
    } else if (starter >= 0) {
      last = c.order;
    }
    s->at[out++] = c;
  }
  s->count = out;
}

/* Writes the characters to `next`, each with the place that its change gives. */
int zf_chars_put(struct zf_encoding *w, const struct zf_piece *p, const struct zf_chars *s) {
  const char *old = w->cur.data + p->off;
  int64_t at = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < s->count; i++) {
    char out[4];
    int n = zf_char_put(out, (uint32_t)s->at[i].character), change = s->at[i].change;
    int32_t b = (int32_t)p->origin, e = b;
    if (w->track && (change <= 0 || at > 0)) {
      int64_t from = change > 0 ? at - 1 : at < p->len ? at : p->len - 1;
      b = w->cur.begin[p->off + from];
      e = w->cur.end[p->off + from];
    }
    for (int k = 0; k >= change && at < p->len; k--) {
      uint32_t c;
      at += zf_char_next(&c, old + at, p->len - at);
    }
    rc = zf_text_buf_add(w, out, n, b, e);
  }
  return rc;
}

/* Below these a character is its own form and composes with nothing below them. */
static int untouched(enum zf_form form, const char *p, int64_t n) {
  uint32_t limit = form == ZF_NFC ? 0x300 : form == ZF_NFD ? 0xC0 : 0xA0;
  for (int64_t i = 0; i < n;) {
    uint32_t c;
    i += zf_char_next(&c, p + i, n - i);
    if (c >= limit) return 0;
  }
  return 1;
}

int zf_form_apply(enum zf_form form, struct zf_encoding *w, const struct zf_piece *p) {
  if (untouched(form, w->cur.data + p->off, p->len)) return zf_text_buf_copy(w, p->off, p->len);
  struct zf_chars s = {0};
  int rc = decompose(&s, w->cur.data + p->off, p->len, form == ZF_NFKC || form == ZF_NFKD);
  if (!rc) rc = reorder(&s);
  if (!rc && (form == ZF_NFC || form == ZF_NFKC)) compose(&s);
  if (!rc) rc = zf_chars_put(w, p, &s);
  free(s.at);
  return rc;
}
