/* Scalars: their values by the types of the schema. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/home.h"
#include "conf/conf_internal.h"

enum { NUMBER = 64 /* longest text of a number */, WORDS = 32 /* choices of a key */ };

int zf_conf_is_choice(const char *choices, const char *text, size_t len) {
  const char *choice = choices;
  while (choice) {
    size_t choice_len = strcspn(choice, "|");
    if (choice_len == len && !memcmp(choice, text, len)) return 1;
    choice = choice[choice_len] ? choice + choice_len + 1 : NULL;
  }
  return 0;
}

/* "a, b or c" from "a|b|c". */
static void list_choices(const char *choices, char *out, size_t size) {
  size_t written = 0;
  for (const char *choice = choices; *choice;) {
    size_t len = strcspn(choice, "|");
    const char *rest = choice + len, *separator = "";
    if (*rest) separator = strchr(rest + 1, '|') ? ", " : " or ";
    written +=
        (size_t)snprintf(out + written, size - written, "%.*s%s", (int)len, choice, separator);
    if (written >= size) return;
    choice = *rest ? rest + 1 : rest;
  }
}

char *zf_conf_expects(const struct zf_conf_key *key, char *out, size_t size) {
  static const char *const what[] = {
      [ZF_CONF_BOOL] = "true or false",   [ZF_CONF_INT] = "a whole number",
      [ZF_CONF_NUM] = "a number",         [ZF_CONF_STR] = "a text",
      [ZF_CONF_ENUM] = "one of ",         [ZF_CONF_BYTES] = "a size such as 512M or 8G",
      [ZF_CONF_STRS] = "a list of texts", [ZF_CONF_MAPS] = "a list of mappings",
  };
  size_t len = (size_t)snprintf(out, size, "%s", what[key->type]);
  if (!key->choices || len >= size) return out;
  if (key->type != ZF_CONF_ENUM) len += (size_t)snprintf(out + len, size - len, " or ");
  if (len < size) list_choices(key->choices, out + len, size - len);
  return out;
}

/* Length of a run of digits, single underscores between them allowed. */
static size_t digits_length(const char *text) {
  size_t len = 0;
  while (isdigit((unsigned char)text[len]) ||
         (len && text[len] == '_' && text[len - 1] != '_' && isdigit((unsigned char)text[len + 1])))
    len++;
  return len;
}

/* Length of the decimal number that the text begins with, or 0; with `integer_only`, of its integer
 * part. */
static size_t number_length(const char *text, int integer_only) {
  size_t sign = *text == '-' || *text == '+', len = sign,
         integer_digits = digits_length(text + len), fraction_digits = 0;
  len += integer_digits;
  if (!integer_only && text[len] == '.')
    len += 1 + (fraction_digits = digits_length(text + len + 1));
  if (integer_digits + fraction_digits == 0) return 0;
  if (integer_only || (text[len] != 'e' && text[len] != 'E')) return len;
  size_t exponent = len + 1;
  if (text[exponent] == '-' || text[exponent] == '+') exponent++;
  return digits_length(text + exponent) ? exponent + digits_length(text + exponent) : len;
}

/* The value of a number.  strtod needs it without underscores, and with the decimal point of the
 * program's locale. */
static double to_double(const char *text, size_t len) {
  char clean[NUMBER + 16];
  size_t used = 0;
  for (size_t i = 0; i < len; i++) {
    if (used >= NUMBER) break;
    if (text[i] == '.')
      used += (size_t)snprintf(clean + used, 16, "%.8s", localeconv()->decimal_point);
    else if (text[i] != '_')
      clean[used++] = text[i];
  }
  clean[used] = 0;
  return strtod(clean, NULL);
}

/* 0, or 1 if the integer does not fit 64 bits. */
static int to_int(const char *text, size_t len, int64_t *out) {
  char clean[NUMBER + 1];
  size_t used = 0;
  for (size_t i = 0; i < len; i++) {
    if (used >= NUMBER) break;
    if (text[i] != '_') clean[used++] = text[i];
  }
  clean[used] = 0;
  errno = 0;
  *out = strtoll(clean, NULL, 10);
  return errno == ERANGE;
}

/* The factor of "", B, K, KB, KiB, ...; 0 for anything else. */
static double unit_factor(const char *unit) {
  static const char letters[] = "kmgtp";
  if (!*unit || !strcasecmp(unit, "b")) return 1;
  const char *at = strchr(letters, tolower((unsigned char)*unit));
  if (!at) return 0;
  int power = (int)(at - letters) + 1;
  if (!unit[1] || !strcasecmp(unit + 1, "b")) return pow(1000, power);
  return strcasecmp(unit + 1, "ib") ? 0 : pow(1024, power);
}

/* Each returns NULL, or why `text` is not of the type; "": no further reason. */

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
  size_t number_len = number_length(text, 0);
  if (!number_len || text[0] == '-') return "";
  double factor =
      unit_factor(text + number_len + (text[number_len] == ' ' && number_len + 1 < len));
  if (factor == 0) return "";
  if (factor == 1) {
    if (number_length(text, 1) != number_len) return "which is not a whole number of bytes";
    if (to_int(text, number_len, &value->integer)) return "which does not fit 64 bits";
  } else {
    double bytes = factor * to_double(text, number_len);
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

static int out_of_range(const struct zf_conf_value *value, const struct zf_conf *conf,
                        int64_t key_index, const struct zf_conf_place *place) {
  const struct zf_conf_key *key = conf->keys[key_index];
  if (!(key->min < key->max) || (value->num >= key->min && value->num <= key->max)) return 0;
  if (isinf(key->max))
    return zf_conf_fail(place, "'%s%s' must be at least %.15g, found %.60s", conf->prefix,
                        key->name, key->min, value->text);
  if (isinf(key->min))
    return zf_conf_fail(place, "'%s%s' must be at most %.15g, found %.60s", conf->prefix, key->name,
                        key->max, value->text);
  return zf_conf_fail(place, "'%s%s' must be between %.15g and %.15g, found %.60s", conf->prefix,
                      key->name, key->min, key->max, value->text);
}

/* The choice most like a text, or NULL; it points into `choices`, a copy of the key's. */
static const char *nearest_choice(char *choices, const char *text) {
  const char *words[WORDS];
  int64_t count = 0;
  char *save, *choice = strtok_r(choices, "|", &save);
  while (choice && count < WORDS) {
    words[count++] = choice;
    choice = strtok_r(NULL, "|", &save);
  }
  return zf_nearest(text, words, count);
}

static int refuse(const struct zf_conf *conf, int64_t key_index, const char *text, const char *why,
                  const struct zf_conf_place *place) {
  const struct zf_conf_key *key = conf->keys[key_index];
  char expects[512], choices[512];
  const char *near = NULL;
  zf_conf_expects(key, expects, sizeof expects);
  if (key->choices && !*why) {
    snprintf(choices, sizeof choices, "%s", key->choices);
    near = nearest_choice(choices, text);
  }
  return zf_conf_fail(place, "'%s%s' expects %s, found '%.60s'%s%s%s%s%s", conf->prefix, key->name,
                      expects, text, *why ? ", " : "", why, near ? ": did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

/* Texts and lists of texts accept anything. */
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

static int replace_text(struct zf_conf_value *value, char *text) {
  free(value->text);
  value->text = text;
  return text ? 0 : zf_error(ZF_ENOMEM, "out of memory for a path");
}

/* Replaces ~, and an input's relative path that the config file's directory has and the working
 * directory has not. */
static int resolve_path(struct zf_conf_value *value, const struct zf_conf_key *key,
                        const struct zf_conf_place *place) {
  if (*value->text == '~') return replace_text(value, zf_path_home(value->text));
  const char *slash = strrchr(place->name, '/');
  if (key->path != ZF_CONF_INPUT || !place->line || !slash) return 0;
  if (!*value->text || *value->text == '/' || zf_exists(value->text)) return 0;
  char *near_config = zf_asprintf("%.*s/%s", (int)(slash - place->name), place->name, value->text);
  if (near_config && zf_exists(near_config)) return replace_text(value, near_config);
  free(near_config);
  return 0;
}

int zf_conf_type_scalar(struct zf_conf_value *value, const struct zf_conf *conf, int64_t key_index,
                        const char *text, size_t len, const struct zf_conf_place *place) {
  const struct zf_conf_key *key = conf->keys[key_index];
  int number = key->type == ZF_CONF_INT || key->type == ZF_CONF_NUM || key->type == ZF_CONF_BYTES;
  memset(value, 0, sizeof *value);
  if (memchr(text, 0, len))
    return zf_conf_fail(place, "'%s%s' holds a zero byte, which a value must not", conf->prefix,
                        key->name);
  if (!(value->text = zf_strndup(text, len))) return ZF_ENOMEM;
  if (key->path && resolve_path(value, key, place)) return ZF_ENOMEM;
  value->is_word = number && key->choices && zf_conf_is_choice(key->choices, text, len);
  if (value->is_word) return 0;
  const char *why =
      number && len > NUMBER ? "which is too long" : type_value(value, key, value->text, len);
  if (why) return refuse(conf, key_index, value->text, why, place);
  return number ? out_of_range(value, conf, key_index, place) : 0;
}
