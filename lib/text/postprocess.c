/* Post-processors: a table with a row for each type of tokenizer.json.
 *
 * They add special tokens around the ids of a text.  ByteLevel and Roberta also trim spaces off the
 * offsets of tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

/* --- trimming --------------------------------------------------------------------- */

struct offset_trim {
  int trim_offsets, prefix_space;
};

/* The text of a token.  That of an added token includes the spaces that it stripped. */
static const char *token_text(const struct zf_encoding *encoding, int64_t index, int64_t *len) {
  const struct zf_ids *ids = encoding->ids;
  if (zf_added_find(&encoding->tok->added, ids->id[index])) {
    *len = ids->end[index] - ids->begin[index];
    return encoding->original + ids->begin[index];
  }
  const char *piece = zf_vocab_piece(&encoding->tok->vocab, ids->id[index]);
  *len = piece ? (int64_t)strlen(piece) : 0;
  return piece;
}

static int is_blank(uint32_t c) {
  return zf_char_is_space(c) || c == zf_char_byte_level(' ');
}

/* Counts the blank characters at the beginning and at the end of a text. */
static void count_blanks(const char *text, int64_t len, int64_t *leading, int64_t *trailing) {
  int only_blanks = 1;
  *leading = *trailing = 0;
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    i += zf_char_next(&c, text + i, len - i);
    int blank = is_blank(c);
    only_blanks &= blank;
    *leading += only_blanks;
    *trailing = blank ? *trailing + 1 : 0;
  }
}

/* Counts the characters of the original in [begin,end), an ill-formed part as one, up to `max`.
 * *at is the byte after the last one counted. */
static int64_t advance_chars(const struct zf_encoding *encoding, int32_t begin, int32_t end,
                             int64_t max, int32_t *at) {
  int64_t count = 0;
  uint32_t c;
  while (begin < end && count < max) {
    begin += zf_char_next(&c, encoding->original + begin, end - begin);
    count++;
  }
  *at = begin;
  return count;
}

static void trim_token(struct zf_encoding *encoding, int64_t index,
                       const struct offset_trim *trim) {
  struct zf_ids *ids = encoding->ids;
  int64_t len, leading, trailing;
  const char *text = token_text(encoding, index, &len);
  count_blanks(text, len, &leading, &trailing);
  int32_t begin = ids->begin[index], end = ids->end[index], at;
  /* A single space before the first token comes from add_prefix_space. */
  if ((index == encoding->first_id || begin == 0) && trim->prefix_space && leading == 1)
    leading = 0;
  if (leading) advance_chars(encoding, begin, end, leading, &begin);
  /* As in the `tokenizers` package, nothing is trimmed if fewer characters come before. */
  if (trailing && advance_chars(encoding, 0, end, trailing, &at) == trailing) {
    int64_t kept = advance_chars(encoding, begin, end, INT64_MAX, &at) - trailing;
    advance_chars(encoding, begin, end, kept, &end);
  }
  ids->begin[index] = begin;
  ids->end[index] = end;
}

static void trim_all(struct zf_encoding *encoding, const struct offset_trim *trim) {
  if (!trim->trim_offsets || !(encoding->flags & ZF_ENC_OFFSETS)) return;
  for (int64_t i = encoding->first_id; i < encoding->ids->count; i++)
    if (encoding->ids->begin[i] >= 0) trim_token(encoding, i, trim);
}

static int parse_trim(struct offset_trim *trim, const json_t *def, const char *where) {
  int rc = zf_need_bool(&trim->trim_offsets, def, "trim_offsets", where);
  return rc ? rc : zf_need_bool(&trim->prefix_space, def, "add_prefix_space", where);
}

static int parse_byte_level(void **self, const json_t *def, const char *where,
                            const struct zf_tok *tok) {
  (void)tok;
  struct offset_trim *trim = zf_calloc(1, sizeof *trim);
  if (!trim) return ZF_ENOMEM;
  int rc = parse_trim(trim, def, where);
  if (rc) {
    free(trim);
    return rc;
  }
  *self = trim;
  return 0;
}

static int apply_byte_level(const void *self, struct zf_encoding *encoding) {
  trim_all(encoding, self);
  return 0;
}

/* --- templates ----------------------------------------------------------------------- */

struct post_template {
  struct offset_trim trim;
  int32_t *items; /* an id, or SEQUENCE */
  int64_t count;
  int has_text;
};

enum { SEQUENCE = -1, ITEMS = 1024 };

static void free_template(void *self) {
  struct post_template *template = self;
  if (template) free(template->items);
  free(template);
}

static int add_item(struct post_template *template, int32_t item, const char *where) {
  if (template->count == ITEMS)
    return zf_error(ZF_EINVALID, "%s: more than %d items in a template", where, ITEMS);
  template->items[template->count++] = item;
  return 0;
}

static int add_text(struct post_template *template, const char *where) {
  if (template->has_text)
    return zf_error(ZF_EINVALID, "%s: Sequence A stands in the template twice", where);
  template->has_text = 1;
  return add_item(template, SEQUENCE, where);
}

static int add_id(struct post_template *template, int64_t id, const struct zf_tok *tok,
                  const char *where) {
  if (id < 0 || id > INT32_MAX || !zf_tok_piece(tok, (int32_t)id))
    return zf_error(ZF_EINVALID, "%s: special token id %lld is not in the vocabulary", where,
                    (long long)id);
  return add_item(template, (int32_t)id, where);
}

static struct post_template *new_template(void) {
  struct post_template *template = zf_calloc(1, sizeof *template);
  if (!template) return NULL;
  template->items = zf_malloc(ITEMS * sizeof *template->items);
  if (template->items) return template;
  free(template);
  return NULL;
}

/* Appends the ids [from,to) of the list to the list itself. */
static int repeat_ids(struct zf_ids *ids, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; i++) {
    int rc =
        zf_ids_add(ids, ids->id[i], ids->begin ? ids->begin[i] : -1, ids->begin ? ids->end[i] : -1);
    if (rc) return rc;
  }
  return 0;
}

/* Appends what the template makes of the ids from first_id up to `end`. */
static int append_items(const struct post_template *template, struct zf_encoding *encoding,
                        int64_t end) {
  for (int64_t i = 0; i < template->count; i++) {
    int rc = 0;
    if (template->items[i] == SEQUENCE)
      rc = repeat_ids(encoding->ids, encoding->first_id, end);
    else if (encoding->flags & ZF_ENC_SPECIAL)
      rc = zf_ids_add(encoding->ids, template->items[i], -1, -1);
    if (rc) return rc;
  }
  return 0;
}

static int apply_template(const void *self, struct zf_encoding *encoding) {
  const struct post_template *template = self;
  struct zf_ids *ids = encoding->ids;
  int64_t first = encoding->first_id, end = ids->count;
  trim_all(encoding, &template->trim);
  /* The new list is appended to the old one, then moved over it. */
  int rc = append_items(template, encoding, end);
  if (rc) return rc;
  size_t bytes = (size_t)(ids->count - end) * sizeof *ids->id;
  if (bytes) memmove(ids->id + first, ids->id + end, bytes); /* no ids: no list either */
  if (bytes && ids->begin) {
    memmove(ids->begin + first, ids->begin + end, bytes);
    memmove(ids->end + first, ids->end + end, bytes);
  }
  ids->count -= end - first;
  return 0;
}

/* {"SpecialToken": {"id": NAME}}: the ids are those of special_tokens: {NAME: {"ids": [...]}} */
static int add_special(struct post_template *template, const json_t *item, const json_t *special,
                       const struct zf_tok *tok, const char *where) {
  const char *name;
  size_t i;
  int rc = zf_need_str(&name, item, "id", where);
  if (rc) return rc;
  json_t *ids = json_object_get(json_object_get(special, name), "ids"), *id;
  if (!json_is_array(ids))
    return zf_error(ZF_EINVALID, "%s: special token '%s' has no ids in special_tokens", where,
                    name);
  json_array_foreach(ids, i, id) {
    if (!rc && !json_is_integer(id))
      rc = zf_error(ZF_EINVALID, "%s: special token '%s': expected an id, found %s", where, name,
                    zf_json_kind(id));
    if (!rc) rc = add_id(template, json_integer_value(id), tok, where);
  }
  return rc;
}

static int add_single(struct post_template *template, const json_t *item, const json_t *special,
                      const struct zf_tok *tok, const char *where) {
  const json_t *token = json_object_get(item, "SpecialToken");
  const char *name = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
  if (token) return add_special(template, token, special, tok, where);
  if (name && !strcmp(name, "A")) return add_text(template, where);
  return zf_error(ZF_EINVALID, "%s: key 'single': expected SpecialToken or Sequence A", where);
}

static int fill_template(struct post_template *template, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  const json_t *list = json_object_get(def, "single"), *item;
  const json_t *special = json_object_get(def, "special_tokens");
  size_t i;
  int rc = 0;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: key 'single': expected an array, found %s", where,
                    zf_json_kind(list));
  json_array_foreach((json_t *)list, i, item) {
    if (!rc) rc = add_single(template, item, special, tok, where);
  }
  return rc;
}

static int parse_template(void **self, const json_t *def, const char *where,
                          const struct zf_tok *tok) {
  struct post_template *template = new_template();
  if (!template) return ZF_ENOMEM;
  int rc = fill_template(template, def, where, tok);
  if (rc) {
    free_template(template);
    return rc;
  }
  *self = template;
  return 0;
}

/* --- Bert and Roberta: [cls] text [sep] -------------------------------------------------- */

static int add_pair(struct post_template *template, const json_t *def, const char *key,
                    const char *where, const struct zf_tok *tok) {
  const json_t *id = json_array_get(json_object_get(def, key), 1);
  if (!json_is_integer(id))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected [token, id]", where, key);
  return add_id(template, json_integer_value(id), tok, where);
}

static int parse_enclosed(void **self, const json_t *def, const char *where,
                          const struct zf_tok *tok, int trims) {
  struct post_template *template = new_template();
  if (!template) return ZF_ENOMEM;
  int rc = trims ? parse_trim(&template->trim, def, where) : 0;
  if (!rc) rc = add_pair(template, def, "cls", where, tok);
  if (!rc) rc = add_text(template, where);
  if (!rc) rc = add_pair(template, def, "sep", where, tok);
  if (rc) {
    free_template(template);
    return rc;
  }
  *self = template;
  return 0;
}

static int parse_bert(void **self, const json_t *def, const char *where, const struct zf_tok *tok) {
  return parse_enclosed(self, def, where, tok, 0);
}

static int parse_roberta(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  return parse_enclosed(self, def, where, tok, 1);
}

static const struct zf_part_row rows[] = {
    {"TemplateProcessing", parse_template, apply_template, free_template, NULL},
    {"ByteLevel", parse_byte_level, apply_byte_level, free, NULL},
    {"RobertaProcessing", parse_roberta, apply_template, free_template, NULL},
    {"BertProcessing", parse_bert, apply_template, free_template, NULL},
};

const struct zf_part_table zf_postprocessors = {"post_processor", "processors", rows,
                                                sizeof rows / sizeof *rows};
