/* Wide numbers: those that Python's json writes and Jansson cannot hold.  They are NaN, Infinity,
 * integers beyond 64 bits and reals beyond a double.  Model files have them in keys that are rarely
 * read ("model_max_length": 1000000000000000019884624838656).
 *
 * Each is rewritten as an object {ZF_JSON_WIDE: "its text"}.  A reader that needs the key finds a
 * value of the wrong kind, and zf_json_kind names it by its text.  zf_json_dump writes the text
 * back. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json_internal.h"

#define KEY "\"\\u0001wide\"" /* ZF_JSON_WIDE as JSON */

static int is_digit(char c) {
  return c >= '0' && c <= '9';
}

static size_t digits_length(const char *text, const char *end) {
  size_t len = 0;
  while (text + len < end && is_digit(text[len])) len++;
  return len;
}

/* Length of the JSON number that the text begins with, or 0. */
static size_t number_length(const char *text, const char *end, int *real) {
  const char *at = text + (*text == '-');
  size_t digits = digits_length(at, end);
  *real = 0;
  if (!digits || (digits > 1 && *at == '0')) return 0;
  at += digits;
  if (at < end && *at == '.' && (digits = digits_length(at + 1, end))) {
    at += 1 + digits;
    *real = 1;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    const char *power = at + 1 + (at + 1 < end && (at[1] == '-' || at[1] == '+'));
    if ((digits = digits_length(power, end))) {
      at = power + digits;
      *real = 1;
    }
  }
  return (size_t)(at - text);
}

static size_t word_length(const char *text, const char *end) {
  static const char *const word[] = {"NaN", "Infinity", "-Infinity"};
  for (int i = 0; i < 3; i++) {
    size_t len = strlen(word[i]);
    if ((size_t)(end - text) >= len && !memcmp(text, word[i], len)) return len;
  }
  return 0;
}

/* Does Jansson refuse the number text[0..len)? */
static int is_wide(const char *text, size_t len, int real) {
  enum { SAFE = 18 }; /* digits that always fit */
  char small[64], *copy = len < sizeof small ? small : malloc(len + 1);
  int wide = 1;
  if (!copy) return 0; /* then the parser reports the number */
  memcpy(copy, text, len);
  copy[len] = 0;
  errno = 0;
  if (real) {
    wide = isinf(strtod(copy, NULL));
  } else if (len <= SAFE) {
    wide = 0;
  } else {
    long long value = strtoll(copy, NULL, 10);
    wide = errno == ERANGE && (value == LLONG_MAX || value == LLONG_MIN);
  }
  if (copy != small) free(copy);
  return wide;
}

static int add_edit(struct zf_json_rewritten *rewritten, size_t added) {
  if (rewritten->edit_count == rewritten->cap) {
    size_t cap = rewritten->cap ? 2 * rewritten->cap : 16;
    struct zf_json_edit *edit = realloc(rewritten->edits, cap * sizeof *edit);
    if (!edit) return zf_error(ZF_ENOMEM, "out of memory");
    rewritten->edits = edit;
    rewritten->cap = cap;
  }
  rewritten->edits[rewritten->edit_count++] =
      (struct zf_json_edit){.offset = rewritten->text.len, .added = added};
  return 0;
}

static int add_wide(struct zf_json_rewritten *rewritten, const char *text, size_t len) {
  int rc = add_edit(rewritten, sizeof "{" KEY ":\"\"}" - 1);
  zf_buf_puts(&rewritten->text, "{" KEY ":\"");
  zf_buf_add(&rewritten->text, text, len);
  zf_buf_puts(&rewritten->text, "\"}");
  return rc;
}

/* Length of the string that the text begins with, including its quotes. */
static size_t string_length(const char *text, const char *end) {
  const char *at = text + 1;
  while (at < end && *at != '"') at += 1 + (*at == '\\' && at + 1 < end);
  return (size_t)(at < end ? at + 1 - text : end - text);
}

/* Copies or rewrites one token, or one byte outside of tokens; returns its length. */
static size_t rewrite_token(struct zf_json_rewritten *rewritten, const char *text, const char *end,
                            int *rc) {
  int real = 0;
  size_t len = *text == '"' ? string_length(text, end) : 0;
  size_t word = len ? 0 : word_length(text, end);
  size_t number =
      len || word || !(is_digit(*text) || *text == '-') ? 0 : number_length(text, end, &real);
  if (word || (number && is_wide(text, number, real))) {
    *rc = add_wide(rewritten, text, word + number);
    return word + number;
  }
  if (number) len = number;
  if (!len) len = 1;
  zf_buf_add(&rewritten->text, text, len);
  return len;
}

int zf_json_rewrite(struct zf_json_rewritten *rewritten, const char *text, size_t len, int one) {
  const char *end = text + len;
  int64_t depth = 0;
  for (const char *at = text; at < end;) {
    int rc = 0, opens = *at == '{' || *at == '[', closes = *at == '}' || *at == ']';
    depth += opens - closes;
    at += rewrite_token(rewritten, at, end, &rc);
    if (rc) return rc;
    if (one && closes && depth <= 0) break;
  }
  return zf_buf_ok(&rewritten->text);
}

void zf_json_rewritten_free(struct zf_json_rewritten *rewritten) {
  zf_buf_free(&rewritten->text);
  free(rewritten->edits);
}

size_t zf_json_added(const struct zf_json_rewritten *rewritten, size_t from, size_t to) {
  size_t added = 0;
  for (size_t i = 0; i < rewritten->edit_count; i++) {
    const struct zf_json_edit *edit = &rewritten->edits[i];
    if (edit->offset >= to) break;
    if (edit->offset >= from) added += edit->added;
  }
  return added;
}

const char *zf_json_wide(const json_t *value) {
  return json_object_size(value) == 1 ? json_string_value(json_object_get(value, ZF_JSON_WIDE))
                                      : NULL;
}

/* Finds the object whose key begins at `key`: [*from,*to), and the text of the number in *value.  0
 * if it is no wide number. */
static int wide_object(const char *text, const char *key, const char **from, const char **to,
                       const char **value) {
  static const char blank[] = " \n\t";
  const char *at = key + sizeof KEY - 1;
  *from = key;
  while (*from > text && strchr(blank, (*from)[-1])) --*from;
  if (*from == text || (*from)[-1] != '{') return 0;
  --*from;
  at += strspn(at, ": ");
  if (*at != '"') return 0;
  *value = at + 1;
  at += 1 + strcspn(at + 1, "\"") + 1;
  at += strspn(at, blank);
  *to = at + 1;
  return *at == '}';
}

char *zf_json_dump(const json_t *value, size_t flags) {
  char *text = json_dumps(value, flags), *out = text;
  const char *from, *to, *digits;
  if (!text || !strstr(text, KEY)) return text;
  for (const char *at = text; *at;) { /* in place: the number is shorter than the object */
    const char *key = strstr(at, KEY);
    if (!key || !wide_object(text, key, &from, &to, &digits) || from < at) {
      size_t len = key ? (size_t)(key + sizeof KEY - 1 - at) : strlen(at);
      memmove(out, at, len);
      out += len;
      at += len;
      continue;
    }
    size_t len = (size_t)(from - at), digits_len = strcspn(digits, "\"");
    memmove(out, at, len);
    memmove(out + len, digits, digits_len);
    out += len + digits_len;
    at = to;
  }
  *out = 0;
  return text;
}
