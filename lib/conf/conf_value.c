/* Scalars, typed by the schema. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/home.h"
#include "conf/conf_internal.h"

enum { NUMBER = 64 /* longest text of a number */, WORDS = 32 /* choices of a key */ };

int zf_conf_is_choice(const char *choices, const char *text, size_t len) {
  for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
    if (strcspn(p, "|") == len && !memcmp(p, text, len)) return 1;
  return 0;
}

/* "a, b or c" from "a|b|c". */
static void list_choices(const char *choices, char *out, size_t size) {
  size_t n = 0;
  for (const char *p = choices; *p;) {
    size_t len = strcspn(p, "|");
    const char *rest = p + len, *glue = "";
    if (*rest) glue = strchr(rest + 1, '|') ? ", " : " or ";
    n += (size_t)snprintf(out + n, size - n, "%.*s%s", (int)len, p, glue);
    if (n >= size) return;
    p = *rest ? rest + 1 : rest;
  }
}

char *zf_conf_expects(const struct zf_conf_key *key, char *out, size_t size) {
  static const char *const what[] = {
      [ZF_CONF_BOOL] = "true or false",   [ZF_CONF_INT] = "a whole number",
      [ZF_CONF_NUM] = "a number",         [ZF_CONF_STR] = "a text",
      [ZF_CONF_ENUM] = "one of ",         [ZF_CONF_BYTES] = "a size such as 512M or 8G",
      [ZF_CONF_STRS] = "a list of texts", [ZF_CONF_MAPS] = "a list of mappings",
  };
  size_t n = (size_t)snprintf(out, size, "%s", what[key->type]);
  if (!key->choices || n >= size) return out;
  if (key->type != ZF_CONF_ENUM) n += (size_t)snprintf(out + n, size - n, " or ");
  if (n < size) list_choices(key->choices, out + n, size - n);
  return out;
}

/* Length of a run of digits, single underscores between them allowed. */
static size_t digits(const char *p) {
  size_t n = 0;
  while (isdigit((unsigned char)p[n]) ||
         (n && p[n] == '_' && p[n - 1] != '_' && isdigit((unsigned char)p[n + 1])))
    n++;
  return n;
}

/* Length of the decimal number that `p` begins with, or 0.  No more than digits
 * when `whole`. */
static size_t number_length(const char *p, int whole) {
  size_t sign = *p == '-' || *p == '+', n = sign, a = digits(p + n), b = 0;
  n += a;
  if (!whole && p[n] == '.') n += 1 + (b = digits(p + n + 1));
  if (a + b == 0) return 0;
  if (whole || (p[n] != 'e' && p[n] != 'E')) return n;
  size_t e = n + 1;
  if (p[e] == '-' || p[e] == '+') e++;
  return digits(p + e) ? e + digits(p + e) : n;
}

/* The digits alone, with the decimal point that the program's locale wants. */
static double to_double(const char *text, size_t len) {
  char clean[NUMBER + 16];
  size_t n = 0;
  for (size_t i = 0; i < len && n < NUMBER; i++) {
    if (text[i] == '.')
      n += (size_t)snprintf(clean + n, 16, "%.8s", localeconv()->decimal_point);
    else if (text[i] != '_')
      clean[n++] = text[i];
  }
  clean[n] = 0;
  return strtod(clean, NULL);
}

static int to_int(const char *text, size_t len, int64_t *out) {
  char clean[NUMBER + 1];
  size_t n = 0;
  for (size_t i = 0; i < len && n < NUMBER; i++)
    if (text[i] != '_') clean[n++] = text[i];
  clean[n] = 0;
  errno = 0;
  *out = strtoll(clean, NULL, 10);
  return errno == ERANGE;
}

/* The factor of "", B, K, KB, KiB, ...; 0 for anything else. */
static double unit_factor(const char *p) {
  static const char letters[] = "kmgtp";
  if (!*p || !strcasecmp(p, "b")) return 1;
  const char *at = strchr(letters, tolower((unsigned char)*p));
  if (!at) return 0;
  int power = (int)(at - letters) + 1;
  if (!p[1] || !strcasecmp(p + 1, "b")) return pow(1000, power);
  return strcasecmp(p + 1, "ib") ? 0 : pow(1024, power);
}

/* Each returns NULL, or why `text` is not of the type ("": it just is not). */

static const char *type_int(struct zf_conf_value *value, const char *text, size_t len) {
  if (!len || number_length(text, 1) != len) return "";
  if (to_int(text, len, &value->integer)) return "which does not fit 64 bits";
  value->num = (double)value->integer;
  return NULL;
}

static const char *type_num(struct zf_conf_value *value, const char *text, size_t len) {
  if (!len || number_length(text, 0) != len) return "";
  value->num = to_double(text, len);
  return isfinite(value->num) ? NULL : "which is not finite";
}

static const char *type_bytes(struct zf_conf_value *value, const char *text, size_t len) {
  size_t n = number_length(text, 0);
  if (!n || text[0] == '-') return "";
  double factor = unit_factor(text + n + (text[n] == ' ' && n + 1 < len));
  if (factor == 0) return "";
  if (factor == 1) {
    if (number_length(text, 1) != n) return "which is not a whole number of bytes";
    if (to_int(text, n, &value->integer)) return "which does not fit 64 bits";
  } else {
    double bytes = factor * to_double(text, n);
    if (!(bytes < 0x1p63)) return "which does not fit 64 bits";
    value->integer = llround(bytes);
  }
  value->num = (double)value->integer;
  return NULL;
}

static const char *type_bool(struct zf_conf_value *value, const char *text) {
  static const char *const word[] = {"false", "true", "no", "yes", "off", "on"};
  for (int i = 0; i < 6; i++)
    if (!strcasecmp(text, word[i])) {
      value->integer = i & 1;
      return NULL;
    }
  return "";
}

static int out_of_range(const struct zf_conf_value *value, const struct zf_conf *conf, int64_t k,
                        const struct zf_conf_place *at) {
  const struct zf_conf_key *key = conf->key[k];
  if (!(key->min < key->max) || (value->num >= key->min && value->num <= key->max)) return 0;
  if (isinf(key->max))
    return zf_conf_fail(at, "'%s%s' must be at least %.15g, found %.60s", conf->prefix, key->name,
                        key->min, value->text);
  if (isinf(key->min))
    return zf_conf_fail(at, "'%s%s' must be at most %.15g, found %.60s", conf->prefix, key->name,
                        key->max, value->text);
  return zf_conf_fail(at, "'%s%s' must be between %.15g and %.15g, found %.60s", conf->prefix,
                      key->name, key->min, key->max, value->text);
}

static int refuse(const struct zf_conf *conf, int64_t k, const char *text, const char *why,
                  const struct zf_conf_place *at) {
  const struct zf_conf_key *key = conf->key[k];
  char expects[512], choices[512];
  const char *word[WORDS], *near = NULL;
  int64_t n = 0;
  zf_conf_expects(key, expects, sizeof expects);
  if (key->choices) {
    snprintf(choices, sizeof choices, "%s", key->choices);
    for (char *save, *p = strtok_r(choices, "|", &save); p && n < WORDS;
         p = strtok_r(NULL, "|", &save))
      word[n++] = p;
    near = *why ? NULL : zf_nearest(text, word, n);
  }
  return zf_conf_fail(at, "'%s%s' expects %s, found '%.60s'%s%s%s%s%s", conf->prefix, key->name,
                      expects, text, *why ? ", " : "", why, near ? ": did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

/* Lists of texts and texts take anything. */
static const char *type_value(struct zf_conf_value *value, const struct zf_conf_key *key,
                              const char *text, size_t len) {
  switch (key->type) {
    case ZF_CONF_BOOL:
      return type_bool(value, text);
    case ZF_CONF_INT:
      return type_int(value, text, len);
    case ZF_CONF_NUM:
      return type_num(value, text, len);
    case ZF_CONF_BYTES:
      return type_bytes(value, text, len);
    case ZF_CONF_ENUM:
      return zf_conf_is_choice(key->choices, text, len) ? NULL : "";
    case ZF_CONF_MAPS:
      return "";
    default:
      return NULL;
  }
}

int zf_conf_type_scalar(struct zf_conf_value *value, const struct zf_conf *conf, int64_t k,
                        const char *text, size_t len, const struct zf_conf_place *at) {
  const struct zf_conf_key *key = conf->key[k];
  int number = key->type == ZF_CONF_INT || key->type == ZF_CONF_NUM || key->type == ZF_CONF_BYTES;
  memset(value, 0, sizeof *value);
  if (memchr(text, 0, len))
    return zf_conf_fail(at, "'%s%s' holds a zero byte, which no value may", conf->prefix,
                        key->name);
  if (!(value->text = zf_strndup(text, len))) return ZF_ENOMEM;
  if (key->path && *value->text == '~') {
    char *path = zf_path_home(value->text);
    free(value->text);
    if (!(value->text = path)) return zf_error(ZF_ENOMEM, "out of memory for a path");
  }
  value->word = number && key->choices && zf_conf_is_choice(key->choices, text, len);
  if (value->word) return 0;
  const char *why =
      number && len > NUMBER ? "which is too long" : type_value(value, key, value->text, len);
  if (why) return refuse(conf, k, value->text, why, at);
  return number ? out_of_range(value, conf, k, at) : 0;
}
