/* Numbers that Python's json writes and Jansson cannot hold: NaN, Infinity, integers beyond 64 bits
 * and reals beyond a double.  Model files have them where nobody reads them ("model_max_length":
 * 1000000000000000019884624838656).
 *
 * Each becomes an object {ZF_JSON_WIDE: "its digits"}: a reader that needs the key finds a value of
 * the wrong kind, whose name (zf_json_kind) is its digits; zf_json_dump writes the digits back. */
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

static size_t digits(const char *p, const char *end) {
  size_t n = 0;
  while (p + n < end && is_digit(p[n])) n++;
  return n;
}

/* Length of the number at p, by JSON's grammar, or 0. */
static size_t number_length(const char *p, const char *end, int *real) {
  const char *at = p + (*p == '-');
  size_t n = digits(at, end);
  *real = 0;
  if (!n || (n > 1 && *at == '0')) return 0;
  at += n;
  if (at < end && *at == '.' && (n = digits(at + 1, end))) {
    at += 1 + n;
    *real = 1;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    const char *power = at + 1 + (at + 1 < end && (at[1] == '-' || at[1] == '+'));
    if ((n = digits(power, end))) {
      at = power + n;
      *real = 1;
    }
  }
  return (size_t)(at - p);
}

static size_t word_length(const char *p, const char *end) {
  static const char *const word[] = {"NaN", "Infinity", "-Infinity"};
  for (int i = 0; i < 3; i++) {
    size_t n = strlen(word[i]);
    if ((size_t)(end - p) >= n && !memcmp(p, word[i], n)) return n;
  }
  return 0;
}

/* Does Jansson refuse the number of n bytes at p? */
static int is_wide(const char *p, size_t len, int real) {
  enum { SAFE = 18 }; /* digits that always fit */
  char small[64], *copy = len < sizeof small ? small : malloc(len + 1);
  int wide = 1;
  if (!copy) return 0; /* the parser then says what it says of the number */
  memcpy(copy, p, len);
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

static int note(struct zf_json_rewritten *rewritten, size_t added) {
  if (rewritten->nedit == rewritten->cap) {
    size_t cap = rewritten->cap ? 2 * rewritten->cap : 16;
    struct zf_json_edit *edit = realloc(rewritten->edit, cap * sizeof *edit);
    if (!edit) return zf_error(ZF_ENOMEM, "out of memory");
    rewritten->edit = edit;
    rewritten->cap = cap;
  }
  rewritten->edit[rewritten->nedit++] =
      (struct zf_json_edit){.at = rewritten->text.len, .added = added};
  return 0;
}

static int replace(struct zf_json_rewritten *rewritten, const char *p, size_t len) {
  int rc = note(rewritten, sizeof "{" KEY ":\"\"}" - 1);
  zf_buf_puts(&rewritten->text, "{" KEY ":\"");
  zf_buf_add(&rewritten->text, p, len);
  zf_buf_puts(&rewritten->text, "\"}");
  return rc;
}

/* Length of the string that begins at p, quotes included. */
static size_t string_length(const char *p, const char *end) {
  const char *at = p + 1;
  while (at < end && *at != '"') at += 1 + (*at == '\\' && at + 1 < end);
  return (size_t)(at < end ? at + 1 - p : end - p);
}

/* One token, or one byte of what is none; returns its length. */
static size_t take(struct zf_json_rewritten *rewritten, const char *p, const char *end, int *rc) {
  int real = 0;
  size_t n = *p == '"' ? string_length(p, end) : 0;
  size_t word = n ? 0 : word_length(p, end);
  size_t number = n || word || !(is_digit(*p) || *p == '-') ? 0 : number_length(p, end, &real);
  if (word || (number && is_wide(p, number, real))) {
    *rc = replace(rewritten, p, word + number);
    return word + number;
  }
  if (number) n = number;
  if (!n) n = 1;
  zf_buf_add(&rewritten->text, p, n);
  return n;
}

int zf_json_rewrite(struct zf_json_rewritten *rewritten, const char *text, size_t len, int one) {
  const char *end = text + len;
  int64_t depth = 0;
  int rc = 0;
  for (const char *p = text; p < end && !rc;) {
    depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
    int closes = *p == '}' || *p == ']';
    p += take(rewritten, p, end, &rc);
    if (one && closes && depth <= 0) break;
  }
  return rc ? rc : zf_buf_ok(&rewritten->text);
}

void zf_json_rewritten_free(struct zf_json_rewritten *rewritten) {
  zf_buf_free(&rewritten->text);
  free(rewritten->edit);
}

size_t zf_json_added(const struct zf_json_rewritten *rewritten, size_t from, size_t to) {
  size_t added = 0;
  for (size_t i = 0; i < rewritten->nedit && rewritten->edit[i].at < to; i++)
    if (rewritten->edit[i].at >= from) added += rewritten->edit[i].added;
  return added;
}

const char *zf_json_wide(const json_t *value) {
  return json_object_size(value) == 1 ? json_string_value(json_object_get(value, ZF_JSON_WIDE))
                                      : NULL;
}

/* The braces around the key that begins at `key`; 0 when it is no such object. */
static int wide_object(const char *text, const char *key, const char **from, const char **to,
                       const char **value) {
  static const char blank[] = " \n\t";
  const char *p = key + sizeof KEY - 1;
  *from = key;
  while (*from > text && strchr(blank, (*from)[-1])) --*from;
  if (*from == text || (*from)[-1] != '{') return 0;
  --*from;
  p += strspn(p, ": ");
  if (*p != '"') return 0;
  *value = p + 1;
  p += 1 + strcspn(p + 1, "\"") + 1;
  p += strspn(p, blank);
  *to = p + 1;
  return *p == '}';
}

char *zf_json_dump(const json_t *v, size_t flags) {
  char *text = json_dumps(v, flags), *out = text;
  const char *from, *to, *value;
  if (!text || !strstr(text, KEY)) return text;
  for (const char *p = text; *p;) { /* in place: what replaces is shorter */
    const char *key = strstr(p, KEY);
    if (!key || !wide_object(text, key, &from, &to, &value) || from < p) {
      size_t n = key ? (size_t)(key + sizeof KEY - 1 - p) : strlen(p);
      memmove(out, p, n);
      out += n;
      p += n;
      continue;
    }
    size_t n = (size_t)(from - p), digits_n = strcspn(value, "\"");
    memmove(out, p, n);
    memmove(out + n, value, digits_n);
    out += n + digits_n;
    p = to;
  }
  *out = 0;
  return text;
}
