/* Pre-tokenizers: a table of rows, one a type of tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

/* Appends the segments of a piece by a property of characters: each character that
 * has it is a match of its own. */
static int cut_by_class(struct zf_encoding *w, const struct zf_piece *p, int (*is)(uint32_t)) {
  const char *s = w->cur.data + p->off;
  int64_t done = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < p->len;) {
    uint32_t c;
    int n = zf_char_next(&c, s + i, p->len - i);
    if (is(c)) {
      if (i > done) rc = zf_encoding_segment(w, done, i, 0);
      if (!rc) rc = zf_encoding_segment(w, i, i + n, 1);
      done = i + n;
    }
    i += n;
  }
  return rc || done == p->len ? rc : zf_encoding_segment(w, done, p->len, 0);
}

static int cut_pattern(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  return zf_pattern_find(self, w, w->cur.data + p->off, p->len);
}

/* {"behavior": "Isolated"}; *out is the default before. */
static int parse_behavior(enum zf_behavior *out, const json_t *def, const char *where) {
  static const char *const name[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                     "Contiguous"};
  const char *text = NULL;
  int rc = zf_json_str(&text, def, "behavior", where);
  if (rc || !text) return rc;
  for (int i = 0; i < 5; i++) {
    if (strcmp(text, name[i])) continue;
    *out = (enum zf_behavior)i;
    return 0;
  }
  return zf_error(ZF_EINVALID,
                  "%s: key 'behavior': '%s' is not one of Removed, Isolated, "
                  "MergedWithPrevious, MergedWithNext, Contiguous",
                  where, text);
}

/* --- ByteLevel ----------------------------------------------------------------- */

struct byte_level {
  int prefix_space;
  struct zf_pattern *pattern; /* or NULL */
};

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void free_byte_level(void *self) {
  struct byte_level *b = self;
  if (b) zf_pattern_free(b->pattern);
  free(b);
}

static int parse_byte_level(void **self, const json_t *def, const char *where,
                            const struct zf_tok *t) {
  (void)t;
  int regex = 1;
  struct byte_level *b = zf_calloc(1, sizeof *b);
  if (!b) return ZF_ENOMEM;
  int rc = zf_need_bool(&b->prefix_space, def, "add_prefix_space", where);
  if (!rc) rc = zf_json_bool(&regex, def, "use_regex", where);
  if (!rc && regex) rc = zf_pattern_new(&b->pattern, gpt2_pattern, 0, where);
  if (rc) {
    free_byte_level(b);
    return rc;
  }
  *self = b;
  return 0;
}

static int map_prefix_space(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  int rc = p->len && w->cur.data[p->off] != ' ' ? zf_encoding_prepend(w, p, " ", 1) : 0;
  return rc ? rc : zf_text_buf_copy(w, p->off, p->len);
}

/* Every byte becomes its character, in the place of the whole old character. */
static int map_alphabet(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  struct zf_text_buf *r = &w->next;
  int rc = zf_encoding_reserve(w, p->len * 2);
  if (rc) return rc;
  for (int64_t i = p->off; i < p->off + p->len; i++) {
    uint32_t c = zf_char_byte_level((unsigned char)w->cur.data[i]);
    int n = c < 0x80 ? 1 : 2;
    if (n == 1) {
      r->data[r->len] = (char)c;
    } else {
      r->data[r->len] = (char)(0xC0 | c >> 6);
      r->data[r->len + 1] = (char)(0x80 | (c & 63));
    }
    for (int k = 0; w->track && k < n; k++) {
      r->begin[r->len + k] = w->cur.begin[i];
      r->end[r->len + k] = w->cur.end[i];
    }
    r->len += n;
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *w) {
  const struct byte_level *b = self;
  int rc = b->prefix_space ? zf_encoding_map(w, map_prefix_space, NULL) : 0;
  if (!rc && b->pattern) rc = zf_encoding_cut(w, cut_pattern, b->pattern, ZF_ISOLATED, 0);
  return rc ? rc : zf_encoding_map(w, map_alphabet, NULL);
}

/* --- Split ---------------------------------------------------------------------- */

struct split {
  struct zf_pattern *pattern;
  enum zf_behavior behavior;
  int invert;
};

static void free_split(void *self) {
  struct split *s = self;
  if (s) zf_pattern_free(s->pattern);
  free(s);
}

static int parse_split(void **self, const json_t *def, const char *where, const struct zf_tok *t) {
  (void)t;
  struct split *s = zf_calloc(1, sizeof *s);
  if (!s) return ZF_ENOMEM;
  const char *given;
  int rc = zf_need_str(&given, def, "behavior", where);
  if (!rc) rc = parse_behavior(&s->behavior, def, where);
  if (!rc) rc = zf_need_bool(&s->invert, def, "invert", where);
  if (!rc) rc = zf_pattern_parse(&s->pattern, def, where);
  if (rc) {
    free_split(s);
    return rc;
  }
  *self = s;
  return 0;
}

static int apply_split(const void *self, struct zf_encoding *w) {
  const struct split *s = self;
  return zf_encoding_cut(w, cut_pattern, s->pattern, s->behavior, s->invert);
}

/* --- Digits, Punctuation, Whitespace, WhitespaceSplit ------------------------------- */

static int parse_digits(void **self, const json_t *def, const char *where, const struct zf_tok *t) {
  (void)t;
  int individual = 0;
  int rc = zf_json_bool(&individual, def, "individual_digits", where);
  if (rc) return rc;
  enum zf_behavior *b = zf_malloc(sizeof *b);
  if (!b) return ZF_ENOMEM;
  *b = individual ? ZF_ISOLATED : ZF_CONTIGUOUS;
  *self = b;
  return 0;
}

static int cut_digits(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  return cut_by_class(w, p, zf_char_is_number);
}

static int apply_digits(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_digits, NULL, *(const enum zf_behavior *)self, 0);
}

static int parse_punctuation(void **self, const json_t *def, const char *where,
                             const struct zf_tok *t) {
  (void)t;
  enum zf_behavior behavior = ZF_ISOLATED;
  int rc = parse_behavior(&behavior, def, where);
  if (rc) return rc;
  *self = zf_malloc(sizeof behavior);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &behavior, sizeof behavior);
  return 0;
}

static int cut_punctuation(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  return cut_by_class(w, p, zf_char_is_punct);
}

static int apply_punctuation(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_punctuation, NULL, *(const enum zf_behavior *)self, 0);
}

static int cut_spaces(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  return cut_by_class(w, p, zf_char_is_space);
}

static int apply_whitespace_split(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_spaces, self, ZF_REMOVED, 0);
}

/* Runs of word characters, runs of signs; spaces between them are the matches. */
static int cut_words(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  (void)self;
  const char *s = w->cur.data + p->off;
  int64_t from = 0;
  int rc = 0, before = -1;
  for (int64_t i = 0; !rc && i < p->len;) {
    uint32_t c;
    int n = zf_char_next(&c, s + i, p->len - i);
    int kind = zf_char_is_word(c) ? 1 : zf_char_is_space(c) ? 2 : 3;
    if (i > 0 && kind != before) {
      rc = zf_encoding_segment(w, from, i, before == 2);
      from = i;
    }
    before = kind;
    i += n;
  }
  return rc || from == p->len ? rc : zf_encoding_segment(w, from, p->len, before == 2);
}

static int apply_whitespace(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_words, self, ZF_REMOVED, 0);
}

/* Words at spaces, then each sign alone. */
static int apply_bert(const void *self, struct zf_encoding *w) {
  int rc = apply_whitespace_split(self, w);
  return rc ? rc : zf_encoding_cut(w, cut_punctuation, NULL, ZF_ISOLATED, 0);
}

/* --- CharDelimiterSplit, UnicodeScripts, FixedLength ------------------------------------------------- */

static int parse_delimiter(void **self, const json_t *def, const char *where,
                           const struct zf_tok *t) {
  (void)t;
  const char *text;
  uint32_t c;
  int rc = zf_need_str(&text, def, "delimiter", where);
  if (rc) return rc;
  int64_t n = (int64_t)strlen(text);
  if (!n || zf_char_next(&c, text, n) != n)
    return zf_error(ZF_EINVALID, "%s: key 'delimiter': '%s' is not one character", where, text);
  return zf_pattern_new((struct zf_pattern **)self, text, 1, where);
}

static int apply_delimiter(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_pattern, self, ZF_REMOVED, 0);
}

static void free_pattern(void *self) {
  zf_pattern_free(self);
}

static int parse_scripts(void **self, const json_t *def, const char *where,
                         const struct zf_tok *t) {
  (void)def, (void)t;
  return zf_scripts_new((struct zf_pattern **)self, where);
}

static int apply_scripts(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_pattern, self, ZF_REMOVED, 1);
}

static int parse_fixed(void **self, const json_t *def, const char *where, const struct zf_tok *t) {
  (void)t;
  int64_t length = 5;
  int rc = zf_json_int(&length, def, "length", where);
  if (!rc && length < 1)
    rc = zf_error(ZF_EINVALID, "%s: key 'length': %lld", where, (long long)length);
  if (rc) return rc;
  *self = zf_malloc(sizeof length);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &length, sizeof length);
  return 0;
}

static int cut_fixed(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  int64_t length = *(const int64_t *)self, from = 0, k = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < p->len;) {
    uint32_t c;
    i += zf_char_next(&c, w->cur.data + p->off + i, p->len - i);
    if (++k < length && i < p->len) continue;
    rc = zf_encoding_segment(w, from, i, 0);
    from = i;
    k = 0;
  }
  return rc;
}

static int apply_fixed(const void *self, struct zf_encoding *w) {
  return zf_encoding_cut(w, cut_fixed, self, ZF_ISOLATED, 0);
}

/* --- Metaspace ------------------------------------------------------------------- */

struct metaspace {
  char mark[8]; /* UTF-8 of the replacement */
  int64_t nmark;
  enum zf_scheme scheme;
  int split;
  struct zf_pattern *pattern; /* finds the mark */
};

static void free_metaspace(void *self) {
  struct metaspace *m = self;
  if (m) zf_pattern_free(m->pattern);
  free(m);
}

/* Files before prepend_scheme say add_prefix_space. */
int zf_metaspace_parse(char mark[8], enum zf_scheme *scheme, const json_t *def, const char *where) {
  static const char *const name[] = {"always", "first", "never"};
  const char *text = NULL, *given = NULL;
  int space = -1;
  uint32_t c;
  int rc = zf_need_str(&text, def, "replacement", where);
  if (!rc) rc = zf_json_str(&given, def, "prepend_scheme", where);
  if (!rc) rc = zf_json_bool(&space, def, "add_prefix_space", where);
  if (rc) return rc;
  int64_t n = (int64_t)strlen(text);
  if (n == 0 || zf_char_next(&c, text, n) != n)
    return zf_error(ZF_EINVALID, "%s: key 'replacement': '%s' is not one character", where, text);
  memcpy(mark, text, (size_t)n + 1);
  *scheme = space == 0 ? ZF_NEVER : ZF_ALWAYS;
  if (!given) return 0;
  for (int i = 0; i < 3; i++) {
    if (strcmp(given, name[i])) continue;
    *scheme = (enum zf_scheme)i;
    if (space == 0 && *scheme != ZF_NEVER)
      return zf_error(ZF_EINVALID, "%s: add_prefix_space is false, prepend_scheme '%s'", where,
                      given);
    return 0;
  }
  return zf_error(ZF_EINVALID, "%s: key 'prepend_scheme': '%s' is not always, first or never",
                  where, given);
}

static int parse_metaspace(void **self, const json_t *def, const char *where,
                           const struct zf_tok *t) {
  (void)t;
  struct metaspace *m = zf_calloc(1, sizeof *m);
  if (!m) return ZF_ENOMEM;
  m->split = 1;
  int rc = zf_metaspace_parse(m->mark, &m->scheme, def, where);
  if (!rc) rc = zf_json_bool(&m->split, def, "split", where);
  if (!rc) rc = zf_pattern_new(&m->pattern, m->mark, 1, where);
  if (rc) {
    free_metaspace(m);
    return rc;
  }
  m->nmark = (int64_t)strlen(m->mark);
  *self = m;
  return 0;
}

static int map_metaspace(const void *self, struct zf_encoding *w, const struct zf_piece *p) {
  const struct metaspace *m = self;
  const char *s = w->cur.data + p->off;
  int wanted = m->scheme == ZF_ALWAYS || (m->scheme == ZF_FIRST && p->origin == 0);
  int marked = p->len && (*s == ' ' || (p->len >= m->nmark && !memcmp(s, m->mark, m->nmark)));
  int rc = wanted && !marked ? zf_encoding_prepend(w, p, m->mark, m->nmark) : 0;
  int64_t done = 0;
  for (int64_t i = 0; !rc && i < p->len; i++) {
    if (s[i] != ' ') continue;
    rc = zf_text_buf_copy(w, p->off + done, i - done);
    int32_t b = w->track ? w->cur.begin[p->off + i] : 0, e = w->track ? w->cur.end[p->off + i] : 0;
    if (!rc) rc = zf_text_buf_add(w, m->mark, m->nmark, b, e);
    done = i + 1;
  }
  return rc ? rc : zf_text_buf_copy(w, p->off + done, p->len - done);
}

static int apply_metaspace(const void *self, struct zf_encoding *w) {
  const struct metaspace *m = self;
  int rc = zf_encoding_map(w, map_metaspace, m);
  if (rc || !m->split) return rc;
  return zf_encoding_cut(w, cut_pattern, m->pattern, ZF_MERGED_NEXT, 0);
}

/* "First" asks whether a piece begins the text. */
static int metaspace_places(const void *self) {
  return ((const struct metaspace *)self)->scheme == ZF_FIRST;
}

static const struct zf_part_row rows[] = {
    {"ByteLevel", parse_byte_level, apply_byte_level, free_byte_level, NULL},
    {"Split", parse_split, apply_split, free_split, NULL},
    {"Digits", parse_digits, apply_digits, free, NULL},
    {"Punctuation", parse_punctuation, apply_punctuation, free, NULL},
    {"Whitespace", NULL, apply_whitespace, NULL, NULL},
    {"WhitespaceSplit", NULL, apply_whitespace_split, NULL, NULL},
    {"Metaspace", parse_metaspace, apply_metaspace, free_metaspace, metaspace_places},
    {"BertPreTokenizer", NULL, apply_bert, NULL, NULL},
    {"CharDelimiterSplit", parse_delimiter, apply_delimiter, free_pattern, NULL},
    {"UnicodeScripts", parse_scripts, apply_scripts, free_pattern, NULL},
    {"FixedLength", parse_fixed, apply_fixed, free, NULL},
};

const struct zf_part_table zf_pretokenizers = {"pre_tokenizer", "pretokenizers", rows,
                                               sizeof rows / sizeof *rows};
