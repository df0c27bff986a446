/* Pre-tokenizers: a table with a row for each type of tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

/* Splits a span by a property of characters: each character that has it is a match of its own. */
static int cut_by_class(struct zf_encoding *encoding, const struct zf_span *span,
                        int (*is)(uint32_t)) {
  const char *text = encoding->text.data + span->off;
  int64_t done = 0;
  int bytes;
  for (int64_t i = 0; i < span->len; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, text + i, span->len - i);
    if (!is(c)) continue;
    int rc = i > done ? zf_encoding_add_segment(encoding, done, i, 0) : 0;
    if (!rc) rc = zf_encoding_add_segment(encoding, i, i + bytes, 1);
    if (rc) return rc;
    done = i + bytes;
  }
  return done < span->len ? zf_encoding_add_segment(encoding, done, span->len, 0) : 0;
}

static int cut_pattern(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  return zf_pattern_find(self, encoding, encoding->text.data + span->off, span->len);
}

/* {"behavior": "Isolated"}; without the key *out stays as it was. */
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

struct byte_level_pretokenizer {
  int prefix_space;
  struct zf_pattern *pattern; /* or NULL */
};

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void free_byte_level(void *self) {
  struct byte_level_pretokenizer *byte_level = self;
  if (byte_level) zf_pattern_free(byte_level->pattern);
  free(byte_level);
}

static int parse_byte_level(void **self, const json_t *def, const char *where,
                            const struct zf_tok *tok) {
  (void)tok;
  int regex = 1;
  struct byte_level_pretokenizer *byte_level = zf_calloc(1, sizeof *byte_level);
  if (!byte_level) return ZF_ENOMEM;
  int rc = zf_need_bool(&byte_level->prefix_space, def, "add_prefix_space", where);
  if (!rc) rc = zf_json_bool(&regex, def, "use_regex", where);
  if (!rc && regex) rc = zf_pattern_new(&byte_level->pattern, gpt2_pattern, 0, where);
  if (rc) {
    free_byte_level(byte_level);
    return rc;
  }
  *self = byte_level;
  return 0;
}

static int map_prefix_space(const void *self, struct zf_encoding *encoding,
                            const struct zf_span *span) {
  (void)self;
  int rc = span->len && encoding->text.data[span->off] != ' '
               ? zf_encoding_prepend(encoding, span, " ", 1)
               : 0;
  return rc ? rc : zf_text_buf_copy(encoding, span->off, span->len);
}

/* Every byte becomes its character, with the offsets of the whole old character. */
static int map_alphabet(const void *self, struct zf_encoding *encoding,
                        const struct zf_span *span) {
  (void)self;
  struct zf_text_buf *text = &encoding->new_text;
  int rc = zf_encoding_reserve(encoding, span->len * 2);
  if (rc) return rc;
  for (int64_t i = span->off; i < span->off + span->len; i++) {
    uint32_t c = zf_char_byte_level((unsigned char)encoding->text.data[i]);
    int64_t begin = text->len;
    if (c >= 0x80) text->data[text->len++] = (char)(0xC0 | c >> 6);
    text->data[text->len++] = (char)(c < 0x80 ? c : 0x80 | (c & 63));
    if (!encoding->track_offsets) continue;
    for (int64_t j = begin; j < text->len; j++) {
      text->begin[j] = encoding->text.begin[i];
      text->end[j] = encoding->text.end[i];
    }
  }
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *encoding) {
  const struct byte_level_pretokenizer *byte_level = self;
  int rc = byte_level->prefix_space ? zf_encoding_map(encoding, map_prefix_space, NULL) : 0;
  if (!rc && byte_level->pattern)
    rc = zf_encoding_split(encoding, cut_pattern, byte_level->pattern, ZF_ISOLATED, 0);
  return rc ? rc : zf_encoding_map(encoding, map_alphabet, NULL);
}

/* --- Split ---------------------------------------------------------------------- */

struct split_pretokenizer {
  struct zf_pattern *pattern;
  enum zf_behavior behavior;
  int invert;
};

static void free_split(void *self) {
  struct split_pretokenizer *split = self;
  if (split) zf_pattern_free(split->pattern);
  free(split);
}

static int parse_split(void **self, const json_t *def, const char *where,
                       const struct zf_tok *tok) {
  (void)tok;
  struct split_pretokenizer *split = zf_calloc(1, sizeof *split);
  if (!split) return ZF_ENOMEM;
  const char *behavior;
  int rc = zf_need_str(&behavior, def, "behavior", where);
  if (!rc) rc = parse_behavior(&split->behavior, def, where);
  if (!rc) rc = zf_need_bool(&split->invert, def, "invert", where);
  if (!rc) rc = zf_pattern_parse(&split->pattern, def, where);
  if (rc) {
    free_split(split);
    return rc;
  }
  *self = split;
  return 0;
}

static int apply_split(const void *self, struct zf_encoding *encoding) {
  const struct split_pretokenizer *split = self;
  return zf_encoding_split(encoding, cut_pattern, split->pattern, split->behavior, split->invert);
}

/* --- Digits, Punctuation, Whitespace, WhitespaceSplit ------------------------------- */

static int parse_digits(void **self, const json_t *def, const char *where,
                        const struct zf_tok *tok) {
  (void)tok;
  int individual = 0;
  int rc = zf_json_bool(&individual, def, "individual_digits", where);
  if (rc) return rc;
  enum zf_behavior *behavior = zf_malloc(sizeof *behavior);
  if (!behavior) return ZF_ENOMEM;
  *behavior = individual ? ZF_ISOLATED : ZF_CONTIGUOUS;
  *self = behavior;
  return 0;
}

static int cut_digits(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  return cut_by_class(encoding, span, zf_char_is_number);
}

static int apply_digits(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_digits, NULL, *(const enum zf_behavior *)self, 0);
}

static int parse_punctuation(void **self, const json_t *def, const char *where,
                             const struct zf_tok *tok) {
  (void)tok;
  enum zf_behavior behavior = ZF_ISOLATED;
  int rc = parse_behavior(&behavior, def, where);
  if (rc) return rc;
  *self = zf_malloc(sizeof behavior);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &behavior, sizeof behavior);
  return 0;
}

static int cut_punctuation(const void *self, struct zf_encoding *encoding,
                           const struct zf_span *span) {
  (void)self;
  return cut_by_class(encoding, span, zf_char_is_punct);
}

static int apply_punctuation(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_punctuation, NULL, *(const enum zf_behavior *)self, 0);
}

static int cut_spaces(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  return cut_by_class(encoding, span, zf_char_is_space);
}

static int apply_whitespace_split(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_spaces, self, ZF_REMOVED, 0);
}

/* Kinds of characters that Whitespace tells apart. */
enum { WORD, SPACE, SIGN };

static int kind_of(uint32_t c) {
  if (zf_char_is_word(c)) return WORD;
  return zf_char_is_space(c) ? SPACE : SIGN;
}

/* Runs of word characters and runs of signs; the spaces between them are the matches. */
static int cut_words(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  const char *text = encoding->text.data + span->off;
  int64_t from = 0;
  int before = WORD, bytes;
  for (int64_t i = 0; i < span->len; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, text + i, span->len - i);
    int kind = kind_of(c);
    if (i > 0 && kind != before) {
      int rc = zf_encoding_add_segment(encoding, from, i, before == SPACE);
      if (rc) return rc;
      from = i;
    }
    before = kind;
  }
  return from < span->len ? zf_encoding_add_segment(encoding, from, span->len, before == SPACE) : 0;
}

static int apply_whitespace(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_words, self, ZF_REMOVED, 0);
}

/* Splits at spaces, then makes each punctuation character a span of its own. */
static int apply_bert(const void *self, struct zf_encoding *encoding) {
  int rc = apply_whitespace_split(self, encoding);
  return rc ? rc : zf_encoding_split(encoding, cut_punctuation, NULL, ZF_ISOLATED, 0);
}

/* --- CharDelimiterSplit, UnicodeScripts, FixedLength ------------------------------------- */

static int parse_delimiter(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok) {
  (void)tok;
  const char *text;
  uint32_t c;
  int rc = zf_need_str(&text, def, "delimiter", where);
  if (rc) return rc;
  int64_t len = (int64_t)strlen(text);
  if (!len || zf_char_next(&c, text, len) != len)
    return zf_error(ZF_EINVALID, "%s: key 'delimiter': '%s' is not one character", where, text);
  return zf_pattern_new((struct zf_pattern **)self, text, 1, where);
}

static int apply_delimiter(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_pattern, self, ZF_REMOVED, 0);
}

static void free_pattern(void *self) {
  zf_pattern_free(self);
}

static int parse_scripts(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  (void)def, (void)tok;
  return zf_scripts_new((struct zf_pattern **)self, where);
}

static int apply_scripts(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_pattern, self, ZF_REMOVED, 1);
}

static int parse_fixed(void **self, const json_t *def, const char *where,
                       const struct zf_tok *tok) {
  (void)tok;
  int64_t length = 5;
  int rc = zf_json_int(&length, def, "length", where);
  if (rc) return rc;
  if (length < 1)
    return zf_error(ZF_EINVALID, "%s: key 'length': expected at least 1, found %lld", where,
                    (long long)length);
  *self = zf_malloc(sizeof length);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &length, sizeof length);
  return 0;
}

static int cut_fixed(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  int64_t length = *(const int64_t *)self, from = 0, characters = 0;
  for (int64_t i = 0; i < span->len;) {
    uint32_t c;
    i += zf_char_next(&c, encoding->text.data + span->off + i, span->len - i);
    if (++characters < length && i < span->len) continue;
    int rc = zf_encoding_add_segment(encoding, from, i, 0);
    if (rc) return rc;
    from = i;
    characters = 0;
  }
  return 0;
}

static int apply_fixed(const void *self, struct zf_encoding *encoding) {
  return zf_encoding_split(encoding, cut_fixed, self, ZF_ISOLATED, 0);
}

/* --- Metaspace ------------------------------------------------------------------- */

struct metaspace_pretokenizer {
  char mark[8]; /* UTF-8 of the replacement */
  int64_t mark_len;
  enum zf_scheme scheme;
  int split;
  struct zf_pattern *pattern; /* finds the mark */
};

static void free_metaspace(void *self) {
  struct metaspace_pretokenizer *metaspace = self;
  if (metaspace) zf_pattern_free(metaspace->pattern);
  free(metaspace);
}

/* Older files have add_prefix_space instead of prepend_scheme. */
int zf_metaspace_parse(char mark[8], enum zf_scheme *scheme, const json_t *def, const char *where) {
  static const char *const name[] = {"always", "first", "never"};
  const char *replacement = NULL, *scheme_name = NULL;
  int prefix_space = -1;
  uint32_t c;
  int rc = zf_need_str(&replacement, def, "replacement", where);
  if (!rc) rc = zf_json_str(&scheme_name, def, "prepend_scheme", where);
  if (!rc) rc = zf_json_bool(&prefix_space, def, "add_prefix_space", where);
  if (rc) return rc;
  int64_t len = (int64_t)strlen(replacement);
  if (len == 0 || zf_char_next(&c, replacement, len) != len)
    return zf_error(ZF_EINVALID, "%s: key 'replacement': '%s' is not one character", where,
                    replacement);
  memcpy(mark, replacement, (size_t)len + 1);
  *scheme = prefix_space == 0 ? ZF_NEVER : ZF_ALWAYS;
  if (!scheme_name) return 0;
  for (int i = 0; i < 3; i++) {
    if (strcmp(scheme_name, name[i])) continue;
    *scheme = (enum zf_scheme)i;
    if (prefix_space == 0 && *scheme != ZF_NEVER)
      return zf_error(ZF_EINVALID, "%s: add_prefix_space is false, prepend_scheme '%s'", where,
                      scheme_name);
    return 0;
  }
  return zf_error(ZF_EINVALID, "%s: key 'prepend_scheme': '%s' is not always, first or never",
                  where, scheme_name);
}

static int parse_metaspace(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok) {
  (void)tok;
  struct metaspace_pretokenizer *metaspace = zf_calloc(1, sizeof *metaspace);
  if (!metaspace) return ZF_ENOMEM;
  metaspace->split = 1;
  int rc = zf_metaspace_parse(metaspace->mark, &metaspace->scheme, def, where);
  if (!rc) rc = zf_json_bool(&metaspace->split, def, "split", where);
  if (!rc) rc = zf_pattern_new(&metaspace->pattern, metaspace->mark, 1, where);
  if (rc) {
    free_metaspace(metaspace);
    return rc;
  }
  metaspace->mark_len = (int64_t)strlen(metaspace->mark);
  *self = metaspace;
  return 0;
}

/* Replaces the spaces of a span by the mark. */
static int mark_spaces(const struct metaspace_pretokenizer *metaspace, struct zf_encoding *encoding,
                       const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  int64_t done = 0;
  for (int64_t i = 0; i < span->len; i++) {
    if (text[i] != ' ') continue;
    int rc = zf_text_buf_copy(encoding, span->off + done, i - done);
    int32_t begin = encoding->track_offsets ? encoding->text.begin[span->off + i] : 0,
            end = encoding->track_offsets ? encoding->text.end[span->off + i] : 0;
    if (!rc) rc = zf_text_buf_add(encoding, metaspace->mark, metaspace->mark_len, begin, end);
    if (rc) return rc;
    done = i + 1;
  }
  return zf_text_buf_copy(encoding, span->off + done, span->len - done);
}

static int map_metaspace(const void *self, struct zf_encoding *encoding,
                         const struct zf_span *span) {
  const struct metaspace_pretokenizer *metaspace = self;
  const char *text = encoding->text.data + span->off;
  int64_t mark_len = metaspace->mark_len;
  int wants_mark =
      metaspace->scheme == ZF_ALWAYS || (metaspace->scheme == ZF_FIRST && span->origin == 0);
  int has_mark =
      span->len &&
      (*text == ' ' || (span->len >= mark_len && !memcmp(text, metaspace->mark, (size_t)mark_len)));
  int rc =
      wants_mark && !has_mark ? zf_encoding_prepend(encoding, span, metaspace->mark, mark_len) : 0;
  return rc ? rc : mark_spaces(metaspace, encoding, span);
}

static int apply_metaspace(const void *self, struct zf_encoding *encoding) {
  const struct metaspace_pretokenizer *metaspace = self;
  int rc = zf_encoding_map(encoding, map_metaspace, metaspace);
  if (rc || !metaspace->split) return rc;
  return zf_encoding_split(encoding, cut_pattern, metaspace->pattern, ZF_MERGED_NEXT, 0);
}

/* The scheme "first" asks whether a span begins the original text. */
static int metaspace_needs_offsets(const void *self) {
  return ((const struct metaspace_pretokenizer *)self)->scheme == ZF_FIRST;
}

static const struct zf_part_row rows[] = {
    {"ByteLevel", parse_byte_level, apply_byte_level, free_byte_level, NULL},
    {"Split", parse_split, apply_split, free_split, NULL},
    {"Digits", parse_digits, apply_digits, free, NULL},
    {"Punctuation", parse_punctuation, apply_punctuation, free, NULL},
    {"Whitespace", NULL, apply_whitespace, NULL, NULL},
    {"WhitespaceSplit", NULL, apply_whitespace_split, NULL, NULL},
    {"Metaspace", parse_metaspace, apply_metaspace, free_metaspace, metaspace_needs_offsets},
    {"BertPreTokenizer", NULL, apply_bert, NULL, NULL},
    {"CharDelimiterSplit", parse_delimiter, apply_delimiter, free_pattern, NULL},
    {"UnicodeScripts", parse_scripts, apply_scripts, free_pattern, NULL},
    {"FixedLength", parse_fixed, apply_fixed, free, NULL},
};

const struct zf_part_table zf_pretokenizers = {"pre_tokenizer", "pretokenizers", rows,
                                               sizeof rows / sizeof *rows};
