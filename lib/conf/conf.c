/* Making, setting and asking settings; conf_parse.c reads them, conf_dump.c writes. */
#include "conf/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "conf/conf_internal.h"

static const struct zf_conf_place default_place = {.name = "default"};

static char *place_text(const struct zf_conf_place *at) {
  if (!at->line) return zf_strdup(at->name);
  return zf_asprintf("%s:%lld:%lld", at->name, (long long)at->line, (long long)at->column);
}

int zf_conf_fail(const struct zf_conf_place *at, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (!at->line) return zf_error(ZF_EUSAGE, "%.512s: %s", at->name, text);
  return zf_error(ZF_EUSAGE, "%.512s:%lld:%lld: %s", at->name, (long long)at->line,
                  (long long)at->column, text);
}

int64_t zf_conf_find(const struct zf_conf *c, const char *name, size_t len) {
  for (int64_t k = 0; k < c->count; k++)
    if (strlen(c->name[k]) == len && !memcmp(c->name[k], name, len)) return k;
  return -1;
}

/* Frees what a value holds, but not who set it. */
static void value_free(struct zf_conf_value *v) {
  for (int64_t i = 0; i < v->count; i++) {
    if (v->text_n) free(v->text_n[i]);
    if (v->item) zf_conf_free(v->item[i]);
  }
  free(v->text_n);
  free(v->item);
  free(v->text);
  free(v->origin);
}

/* Puts `fresh`, which owns its texts, in the place of the value of key k. */
static int replace(struct zf_conf *c, int64_t k, struct zf_conf_value *fresh,
                   const struct zf_conf_place *at) {
  struct zf_conf_value *v = &c->value[k];
  fresh->set = 1;
  fresh->layer = v->layer;
  fresh->line = v->line;
  fresh->column = v->column;
  if (!(fresh->origin = place_text(at))) {
    value_free(fresh);
    return ZF_ENOMEM;
  }
  value_free(v);
  *v = *fresh;
  return 0;
}

int zf_conf_set_clear(struct zf_conf *c, int64_t k, const struct zf_conf_place *at) {
  struct zf_conf_value fresh = {0};
  return replace(c, k, &fresh, at);
}

int zf_conf_set_scalar(struct zf_conf *c, int64_t k, const char *text, size_t len,
                       const struct zf_conf_place *at) {
  struct zf_conf_value fresh;
  int rc = zf_conf_type_scalar(&fresh, c, k, text, len, at);
  if (rc) {
    value_free(&fresh);
    return rc;
  }
  if (c->key[k]->type == ZF_CONF_STRS) {
    value_free(&fresh);
    rc = zf_conf_set_clear(c, k, at);
    return rc ? rc : zf_conf_push(c, k, text, len);
  }
  return replace(c, k, &fresh, at);
}

/* Room for one more entry in an array of pointers; the room doubles. */
static int grow(void *array, int64_t n, int64_t *cap) {
  void **old;
  memcpy(&old, array, sizeof old);
  if (n < *cap) return 0;
  int64_t want = *cap ? 2 * *cap : 4;
  void **p = realloc(old, (size_t)want * sizeof *p);
  if (!p) return zf_error(ZF_ENOMEM, "out of memory for a list of %lld", (long long)want);
  *cap = want;
  memcpy(array, &p, sizeof p);
  return 0;
}

int zf_conf_push(struct zf_conf *c, int64_t k, const char *text, size_t len) {
  struct zf_conf_value *v = &c->value[k];
  int rc = grow(&v->text_n, v->count, &v->cap);
  if (rc) return rc;
  if (!(v->text_n[v->count] = zf_strndup(text, len))) return ZF_ENOMEM;
  v->count++;
  return 0;
}

/* A default of "a, b" for a list. */
static int push_words(struct zf_conf *c, int64_t k, const char *text) {
  for (const char *p = text + strspn(text, " "); *p;) {
    size_t len = strcspn(p, ","), trimmed = len;
    while (trimmed && p[trimmed - 1] == ' ') trimmed--;
    int rc = zf_conf_push(c, k, p, trimmed);
    if (rc) return rc;
    p += len;
    if (*p) p += 1 + strspn(p + 1, " ");
  }
  return 0;
}

int zf_conf_set_default(struct zf_conf *c, int64_t k) {
  const struct zf_conf_key *key = c->key[k];
  int rc = zf_conf_set_clear(c, k, &default_place);
  c->value[k].set = 0;
  if (rc || !key->def) return rc;
  if (key->type != ZF_CONF_STRS)
    return zf_conf_set_scalar(c, k, key->def, strlen(key->def), &default_place);
  c->value[k].set = 1;
  return push_words(c, k, key->def);
}

static int64_t count_keys(const struct zf_conf_key *const *table, int ntable) {
  int64_t n = 0;
  for (int t = 0; t < ntable; t++)
    for (const struct zf_conf_key *key = table[t]; key->name; key++) n++;
  return n;
}

/* Fills the row of keys; a name in two tables is our mistake, told all the same. */
static int join(struct zf_conf *c, const struct zf_conf_key *const *table, int ntable) {
  for (int t = 0; t < ntable; t++)
    for (const struct zf_conf_key *key = table[t]; key->name; key++) {
      if (zf_conf_find(c, key->name, strlen(key->name)) >= 0)
        return zf_error(ZF_EFAIL, "two tables of settings have the key '%s'", key->name);
      c->name[c->count] = key->name;
      c->key[c->count++] = key;
      int rc = zf_conf_set_default(c, c->count - 1);
      if (rc) return rc;
    }
  return 0;
}

static int conf_make(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable,
                     char *prefix) {
  int64_t n = count_keys(table, ntable);
  struct zf_conf *c = zf_calloc(1, sizeof *c);
  int rc = ZF_ENOMEM;
  *out = NULL;
  if (!c || !prefix) {
    free(prefix);
    free(c);
    return rc;
  }
  c->prefix = prefix;
  c->key = zf_calloc(n, sizeof *c->key);
  c->name = zf_calloc(n, sizeof *c->name);
  c->value = zf_calloc(n, sizeof *c->value);
  if (!c->key || !c->name || !c->value || (rc = join(c, table, ntable))) {
    zf_conf_free(c);
    return rc;
  }
  *out = c;
  return 0;
}

int zf_conf_item(struct zf_conf *c, int64_t k, const struct zf_conf_place *at,
                 struct zf_conf **out) {
  struct zf_conf_value *v = &c->value[k];
  const struct zf_conf_key *sub = c->key[k]->sub;
  int rc = grow(&v->item, v->count, &v->cap);
  if (rc) return rc;
  char *prefix = zf_asprintf("%s%s.%lld.", c->prefix, c->key[k]->name, (long long)v->count);
  if ((rc = conf_make(out, &sub, 1, prefix))) return rc;
  v->item[v->count++] = *out;
  return ((*out)->origin = place_text(at)) ? 0 : ZF_ENOMEM;
}

int zf_conf_new(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable) {
  return conf_make(out, table, ntable, zf_strdup(""));
}

void zf_conf_free(struct zf_conf *c) {
  if (!c) return;
  for (int64_t k = 0; k < c->count; k++) value_free(&c->value[k]);
  free(c->key);
  free(c->name);
  free(c->value);
  free(c->prefix);
  free(c->origin);
  free(c);
}

int zf_conf_check(struct zf_conf *c) {
  for (int64_t k = 0; k < c->count; k++) {
    const struct zf_conf_key *key = c->key[k];
    const struct zf_conf_value *v = &c->value[k];
    if (key->required && !v->set)
      return zf_error(ZF_EUSAGE, "%.512s%sthe key '%s%s' is required: %s",
                      c->origin ? c->origin : "", c->origin ? ": " : "", c->prefix, key->name,
                      key->help ? key->help : "it has no default");
    for (int64_t i = 0; v->item && i < v->count; i++) {
      int rc = zf_conf_check(v->item[i]);
      if (rc) return rc;
    }
  }
  return 0;
}

/* The value of a key of one of the given types (bits). */
static const struct zf_conf_value *ask(const struct zf_conf *c, const char *name, unsigned types) {
  static const struct zf_conf_value nothing;
  int64_t k = zf_conf_find(c, name, strlen(name));
  int known = k >= 0 && (types >> c->key[k]->type & 1);
  assert(known && "a setting that no table has, or of another type");
  return known ? &c->value[k] : &nothing;
}

enum {
  ANY = ~0,
  NUMBERS = 1 << ZF_CONF_INT | 1 << ZF_CONF_NUM | 1 << ZF_CONF_BYTES,
  TEXTS = 1 << ZF_CONF_STR | 1 << ZF_CONF_ENUM,
};

int zf_conf_has(const struct zf_conf *c, const char *name) {
  return ask(c, name, (unsigned)ANY)->set;
}

int zf_conf_bool(const struct zf_conf *c, const char *name) {
  return (int)ask(c, name, 1u << ZF_CONF_BOOL)->integer;
}

int64_t zf_conf_int(const struct zf_conf *c, const char *name, int64_t unset) {
  const struct zf_conf_value *v = ask(c, name, 1u << ZF_CONF_INT);
  return v->set && !v->word ? v->integer : unset;
}

double zf_conf_num(const struct zf_conf *c, const char *name, double unset) {
  const struct zf_conf_value *v = ask(c, name, 1u << ZF_CONF_NUM | 1u << ZF_CONF_INT);
  return v->set && !v->word ? v->num : unset;
}

const char *zf_conf_str(const struct zf_conf *c, const char *name) {
  const struct zf_conf_value *v = ask(c, name, TEXTS | NUMBERS);
  int64_t k = zf_conf_find(c, name, strlen(name));
  return v->word || (k >= 0 && (TEXTS >> c->key[k]->type & 1)) ? v->text : NULL;
}

int64_t zf_conf_bytes(const struct zf_conf *c, const char *name, int64_t unset) {
  const struct zf_conf_value *v = ask(c, name, 1u << ZF_CONF_BYTES);
  return v->set && !v->word ? v->integer : unset;
}

int64_t zf_conf_strs(const struct zf_conf *c, const char *name, const char *const **out) {
  const struct zf_conf_value *v = ask(c, name, 1u << ZF_CONF_STRS);
  *out = (const char *const *)v->text_n;
  return v->count;
}

int64_t zf_conf_maps(const struct zf_conf *c, const char *name) {
  return ask(c, name, 1u << ZF_CONF_MAPS)->count;
}

const struct zf_conf *zf_conf_map(const struct zf_conf *c, const char *name, int64_t i) {
  const struct zf_conf_value *v = ask(c, name, 1u << ZF_CONF_MAPS);
  assert(i >= 0 && i < v->count);
  return v->item[i];
}

const char *zf_conf_origin(const struct zf_conf *c, const char *name) {
  const struct zf_conf_value *v = ask(c, name, (unsigned)ANY);
  return v->set ? v->origin : "unset";
}

int zf_conf_error(const struct zf_conf *c, const char *name, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  const char *origin = zf_conf_origin(c, name);
  if (strchr(origin, ':') || !strcmp(origin, "command line"))
    return zf_error(ZF_EUSAGE, "%.512s: %s", origin, text);
  return zf_error(ZF_EUSAGE, "'%s%s' (%s): %s", c->prefix, name, origin, text);
}
