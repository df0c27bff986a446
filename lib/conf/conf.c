/* Creating, setting and reading settings.  conf_parse.c parses them, conf_dump.c writes them. */
#include "conf/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "conf/conf_internal.h"

static const struct zf_conf_place default_place = {.name = "default"};

static char *place_text(const struct zf_conf_place *place) {
  if (!place->line) return zf_strdup(place->name);
  return zf_asprintf("%s:%lld:%lld", place->name, (long long)place->line, (long long)place->column);
}

int zf_conf_fail(const struct zf_conf_place *place, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (!place->line) return zf_error(ZF_EUSAGE, "%.512s: %s", place->name, text);
  return zf_error(ZF_EUSAGE, "%.512s:%lld:%lld: %s", place->name, (long long)place->line,
                  (long long)place->column, text);
}

int64_t zf_conf_find(const struct zf_conf *conf, const char *name, size_t len) {
  for (int64_t i = 0; i < conf->count; i++)
    if (strlen(conf->names[i]) == len && !memcmp(conf->names[i], name, len)) return i;
  return -1;
}

/* Frees what a value owns. */
static void value_free(struct zf_conf_value *value) {
  for (int64_t i = 0; i < value->count; i++) {
    if (value->texts) free(value->texts[i]);
    if (value->items) zf_conf_free(value->items[i]);
  }
  free(value->texts);
  free(value->items);
  free(value->text);
  free(value->origin);
}

/* Replaces the value of a key by *fresh, which owns its texts and is taken over. */
static int replace(struct zf_conf *conf, int64_t key_index, struct zf_conf_value *fresh,
                   const struct zf_conf_place *place) {
  struct zf_conf_value *value = &conf->values[key_index];
  fresh->set = 1;
  fresh->layer = value->layer;
  fresh->line = value->line;
  fresh->column = value->column;
  if (!(fresh->origin = place_text(place))) {
    value_free(fresh);
    return ZF_ENOMEM;
  }
  value_free(value);
  *value = *fresh;
  return 0;
}

int zf_conf_set_clear(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *place) {
  struct zf_conf_value fresh = {0};
  return replace(conf, key_index, &fresh, place);
}

int zf_conf_set_scalar(struct zf_conf *conf, int64_t key_index, const char *text, size_t len,
                       const struct zf_conf_place *place) {
  struct zf_conf_value fresh;
  int rc = zf_conf_type_scalar(&fresh, conf, key_index, text, len, place);
  if (rc) {
    value_free(&fresh);
    return rc;
  }
  if (conf->keys[key_index]->type == ZF_CONF_STRS) {
    value_free(&fresh);
    rc = zf_conf_set_clear(conf, key_index, place);
    return rc ? rc : zf_conf_push(conf, key_index, text, len);
  }
  return replace(conf, key_index, &fresh, place);
}

int zf_conf_push(struct zf_conf *conf, int64_t key_index, const char *text, size_t len) {
  struct zf_conf_value *value = &conf->values[key_index];
  char **texts = zf_grow(value->texts, value->count, &value->cap, sizeof *texts);
  if (!texts) return ZF_ENOMEM;
  value->texts = texts;
  if (!(value->texts[value->count] = zf_strndup(text, len))) return ZF_ENOMEM;
  value->count++;
  return 0;
}

/* A default of "a, b" for a list. */
static int push_words(struct zf_conf *conf, int64_t key_index, const char *text) {
  for (const char *word = text + strspn(text, " "); *word;) {
    size_t len = strcspn(word, ","), trimmed = len;
    while (trimmed && word[trimmed - 1] == ' ') trimmed--;
    int rc = zf_conf_push(conf, key_index, word, trimmed);
    if (rc) return rc;
    word += len;
    if (*word) word += 1 + strspn(word + 1, " ");
  }
  return 0;
}

int zf_conf_set_default(struct zf_conf *conf, int64_t key_index) {
  const struct zf_conf_key *key = conf->keys[key_index];
  int rc = zf_conf_set_clear(conf, key_index, &default_place);
  conf->values[key_index].set = 0;
  if (rc || !key->default_text) return rc;
  if (key->type != ZF_CONF_STRS)
    return zf_conf_set_scalar(conf, key_index, key->default_text, strlen(key->default_text),
                              &default_place);
  conf->values[key_index].set = 1;
  return push_words(conf, key_index, key->default_text);
}

static int64_t count_keys(const struct zf_conf_key *const *table, int ntable) {
  int64_t count = 0;
  for (int i = 0; i < ntable; i++)
    for (const struct zf_conf_key *key = table[i]; key->name; key++) count++;
  return count;
}

/* Fills the array of keys.  A name in two tables is a bug, which is reported nevertheless. */
static int join(struct zf_conf *conf, const struct zf_conf_key *const *table, int ntable) {
  for (int i = 0; i < ntable; i++)
    for (const struct zf_conf_key *key = table[i]; key->name; key++) {
      if (zf_conf_find(conf, key->name, strlen(key->name)) >= 0)
        return zf_error(ZF_EFAIL, "two tables of settings have the key '%s'", key->name);
      conf->names[conf->count] = key->name;
      conf->keys[conf->count++] = key;
      int rc = zf_conf_set_default(conf, conf->count - 1);
      if (rc) return rc;
    }
  return 0;
}

static int conf_make(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable,
                     char *prefix) {
  int64_t count = count_keys(table, ntable);
  struct zf_conf *conf = zf_calloc(1, sizeof *conf);
  int rc = ZF_ENOMEM;
  *out = NULL;
  if (!conf || !prefix) {
    free(prefix);
    free(conf);
    return rc;
  }
  conf->prefix = prefix;
  conf->keys = zf_calloc(count, sizeof *conf->keys);
  conf->names = zf_calloc(count, sizeof *conf->names);
  conf->values = zf_calloc(count, sizeof *conf->values);
  if (!conf->keys || !conf->names || !conf->values || (rc = join(conf, table, ntable))) {
    zf_conf_free(conf);
    return rc;
  }
  *out = conf;
  return 0;
}

int zf_conf_item(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *place,
                 struct zf_conf **out) {
  struct zf_conf_value *value = &conf->values[key_index];
  const struct zf_conf_key *sub = conf->keys[key_index]->sub;
  struct zf_conf **items = zf_grow(value->items, value->count, &value->cap, sizeof *items);
  if (!items) return ZF_ENOMEM;
  value->items = items;
  char *prefix =
      zf_asprintf("%s%s.%lld.", conf->prefix, conf->keys[key_index]->name, (long long)value->count);
  int rc = conf_make(out, &sub, 1, prefix);
  if (rc) return rc;
  value->items[value->count++] = *out;
  return ((*out)->origin = place_text(place)) ? 0 : ZF_ENOMEM;
}

int zf_conf_new(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable) {
  return conf_make(out, table, ntable, zf_strdup(""));
}

void zf_conf_free(struct zf_conf *conf) {
  if (!conf) return;
  for (int64_t i = 0; i < conf->count; i++) value_free(&conf->values[i]);
  free(conf->keys);
  free(conf->names);
  free(conf->values);
  free(conf->prefix);
  free(conf->origin);
  free(conf);
}

static int check_items(const struct zf_conf_value *value) {
  if (!value->items) return 0;
  for (int64_t i = 0; i < value->count; i++) {
    int rc = zf_conf_check(value->items[i]);
    if (rc) return rc;
  }
  return 0;
}

int zf_conf_check(struct zf_conf *conf) {
  for (int64_t i = 0; i < conf->count; i++) {
    const struct zf_conf_key *key = conf->keys[i];
    const struct zf_conf_value *value = &conf->values[i];
    if (key->required && !value->set)
      return zf_error(ZF_EUSAGE, "%.512s%sthe key '%s%s' is required: %s",
                      conf->origin ? conf->origin : "", conf->origin ? ": " : "", conf->prefix,
                      key->name, key->help ? key->help : "it has no default");
    int rc = check_items(value);
    if (rc) return rc;
  }
  return 0;
}

/* The value of a key with one of `types`, a set of bits 1 << type. */
static const struct zf_conf_value *ask(const struct zf_conf *conf, const char *name,
                                       unsigned types) {
  static const struct zf_conf_value nothing;
  int64_t key_index = zf_conf_find(conf, name, strlen(name));
  int known = key_index >= 0 && (types >> conf->keys[key_index]->type & 1);
  assert(known && "a setting that no table has, or of another type");
  return known ? &conf->values[key_index] : &nothing;
}

enum {
  ANY = ~0,
  NUMBERS = 1 << ZF_CONF_INT | 1 << ZF_CONF_NUM | 1 << ZF_CONF_BYTES,
  TEXTS = 1 << ZF_CONF_STR | 1 << ZF_CONF_ENUM,
};

int zf_conf_has(const struct zf_conf *conf, const char *name) {
  return ask(conf, name, (unsigned)ANY)->set;
}

int zf_conf_bool(const struct zf_conf *conf, const char *name) {
  return (int)ask(conf, name, 1u << ZF_CONF_BOOL)->integer;
}

int64_t zf_conf_int(const struct zf_conf *conf, const char *name, int64_t unset) {
  const struct zf_conf_value *value = ask(conf, name, 1u << ZF_CONF_INT);
  return value->set && !value->is_word ? value->integer : unset;
}

double zf_conf_num(const struct zf_conf *conf, const char *name, double unset) {
  const struct zf_conf_value *value = ask(conf, name, 1u << ZF_CONF_NUM | 1u << ZF_CONF_INT);
  return value->set && !value->is_word ? value->num : unset;
}

const char *zf_conf_str(const struct zf_conf *conf, const char *name) {
  const struct zf_conf_value *value = ask(conf, name, TEXTS | NUMBERS);
  int64_t key_index = zf_conf_find(conf, name, strlen(name));
  return value->is_word || (key_index >= 0 && (TEXTS >> conf->keys[key_index]->type & 1))
             ? value->text
             : NULL;
}

int64_t zf_conf_bytes(const struct zf_conf *conf, const char *name, int64_t unset) {
  const struct zf_conf_value *value = ask(conf, name, 1u << ZF_CONF_BYTES);
  return value->set && !value->is_word ? value->integer : unset;
}

int64_t zf_conf_strs(const struct zf_conf *conf, const char *name, const char *const **out) {
  const struct zf_conf_value *value = ask(conf, name, 1u << ZF_CONF_STRS);
  *out = (const char *const *)value->texts;
  return value->count;
}

int64_t zf_conf_maps(const struct zf_conf *conf, const char *name) {
  return ask(conf, name, 1u << ZF_CONF_MAPS)->count;
}

const struct zf_conf *zf_conf_map(const struct zf_conf *conf, const char *name, int64_t index) {
  const struct zf_conf_value *value = ask(conf, name, 1u << ZF_CONF_MAPS);
  assert(index >= 0 && index < value->count);
  return value->items[index];
}

const char *zf_conf_origin(const struct zf_conf *conf, const char *name) {
  const struct zf_conf_value *value = ask(conf, name, (unsigned)ANY);
  return value->set ? value->origin : "unset";
}

int zf_conf_origin_dir(char **dir, const struct zf_conf *conf, const char *name) {
  const char *origin = zf_conf_origin(conf, name), *line = strrchr(origin, ':');
  *dir = NULL;
  /* "FILE:LINE:COLUMN"; other origins have no colon. */
  while (line && line > origin && line[-1] != ':') line--;
  if (!line || line == origin) return 0;
  const char *slash = line - 1;
  while (slash > origin && *slash != '/') slash--;
  if (*slash != '/')
    *dir = zf_strdup(".");
  else
    *dir = zf_strndup(origin, slash == origin ? 1 : (size_t)(slash - origin));
  return *dir ? 0 : ZF_ENOMEM;
}

int zf_conf_error(const struct zf_conf *conf, const char *name, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  const char *origin = zf_conf_origin(conf, name);
  if (strchr(origin, ':') || !strcmp(origin, "command line"))
    return zf_error(ZF_EUSAGE, "%.512s: %s", origin, text);
  return zf_error(ZF_EUSAGE, "'%s%s' (%s): %s", conf->prefix, name, origin, text);
}
