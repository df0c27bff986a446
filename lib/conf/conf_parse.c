/* Reading settings: a YAML text, event by event against the tables; and words.
 *
 * The tables say what may come next, so nothing is read that they do not know and
 * the depth of the recursion is theirs.  YAML decides only where a scalar begins
 * and ends; what it means is the schema's business (conf_value.c).  Anchors,
 * aliases and tags are refused: they have no meaning here, and silence would
 * promise one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "conf/conf_internal.h"
#include "fmt/utf8.h"

enum { LONGEST_FILE = 4 << 20 };

static const struct zf_conf_place command_line = {.name = "command line"};

struct reader {
  yaml_parser_t yaml;
  yaml_event_t event; /* the one being looked at */
  const char *name;   /* of the text, for places; NULL for a word */
  const char *text;
  size_t len;
  int64_t layer;
};

static struct zf_conf_place place_of(const struct reader *r, const yaml_mark_t *m) {
  if (!r->name) return command_line;
  return (struct zf_conf_place){r->name, (int64_t)m->line + 1, (int64_t)m->column + 1};
}

static struct zf_conf_place here(const struct reader *r) {
  return place_of(r, &r->event.start_mark);
}

/* libyaml stopped.  Errors of its byte reader come with an offset, not a mark. */
static int syntax_error(const struct reader *r) {
  const yaml_parser_t *y = &r->yaml;
  if (y->error == YAML_MEMORY_ERROR) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_mark_t m = y->problem_mark;
  if (y->error == YAML_READER_ERROR) {
    m.line = m.column = 0;
    for (size_t i = 0; i < y->problem_offset && i < r->len; i++) {
      m.column++;
      if (r->text[i] == '\n') m.line++, m.column = 0;
    }
  }
  const struct zf_conf_place at = place_of(r, &m);
  const char *context = y->context ? y->context : "reading YAML";
  const char *problem = y->problem ? y->problem : "is not YAML";
  if (r->name) return zf_conf_fail(&at, "%s: %s", context, problem);
  return zf_conf_fail(&at, "'%.60s': %s: %s", r->text, context, problem);
}

static int refuse_extras(const struct reader *r) {
  const yaml_event_t *e = &r->event;
  const struct zf_conf_place at = here(r);
  const yaml_char_t *anchor = NULL, *tag = NULL;
  if (e->type == YAML_ALIAS_EVENT)
    return zf_conf_fail(&at, "aliases ('*%.60s') are not supported", e->data.alias.anchor);
  if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
  if (e->type == YAML_SEQUENCE_START_EVENT)
    anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
  if (e->type == YAML_MAPPING_START_EVENT)
    anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
  if (anchor) return zf_conf_fail(&at, "anchors ('&%.60s') are not supported", anchor);
  if (tag) return zf_conf_fail(&at, "tags ('%.60s') are not supported", tag);
  return 0;
}

static int next(struct reader *r) {
  yaml_event_delete(&r->event);
  if (!yaml_parser_parse(&r->yaml, &r->event)) return syntax_error(r);
  return refuse_extras(r);
}

/* What stands here, for messages: "a list", "a mapping", "'fast'". */
static const char *found(const struct reader *r, char out[80]) {
  if (r->event.type == YAML_SEQUENCE_START_EVENT) return "a list";
  if (r->event.type == YAML_MAPPING_START_EVENT) return "a mapping";
  if (r->event.type != YAML_SCALAR_EVENT) return "nothing";
  snprintf(out, 80, "'%.60s'", (const char *)r->event.data.scalar.value);
  return out;
}

static int wrong_kind(const struct reader *r, const struct zf_conf *c, int64_t k) {
  char expects[512], text[80];
  const struct zf_conf_place at = here(r);
  return zf_conf_fail(&at, "'%s%s' expects %s, found %s", c->prefix, c->name[k],
                      zf_conf_expects(c->key[k], expects, sizeof expects), found(r, text));
}

static int unknown_key(const struct zf_conf *c, const char *name, size_t len,
                       const struct zf_conf_place *at) {
  char word[80];
  snprintf(word, sizeof word, "%.*s", len < 60 ? (int)len : 60, name);
  const char *near = zf_nearest(word, c->name, c->count);
  if (!near) return zf_conf_fail(at, "unknown key '%s%s'", c->prefix, word);
  return zf_conf_fail(at, "unknown key '%s%s': did you mean '%s%s'?", c->prefix, word, c->prefix,
                      near);
}

/* An unquoted null, ~ or nothing at all: as if the key were not there. */
static int is_null(const yaml_event_t *e) {
  const char *s = (const char *)e->data.scalar.value;
  return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}

static int read_texts(struct reader *r, struct zf_conf *c, int64_t k) {
  const struct zf_conf_place at = here(r);
  int rc = zf_conf_set_clear(c, k, &at);
  while (!rc && !(rc = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT) {
    const char *text = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;
    const struct zf_conf_place item = here(r);
    if (r->event.type != YAML_SCALAR_EVENT) return wrong_kind(r, c, k);
    if (memchr(text, 0, len))
      return zf_conf_fail(&item, "'%s%s' holds a zero byte, which no value may", c->prefix,
                          c->name[k]);
    rc = zf_conf_push(c, k, text, len);
  }
  return rc;
}

static int read_mapping(struct reader *r, struct zf_conf *c);

static int read_items(struct reader *r, struct zf_conf *c, int64_t k) {
  const struct zf_conf_place at = here(r);
  int rc = zf_conf_set_clear(c, k, &at);
  while (!rc && !(rc = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT) {
    const struct zf_conf_place begin = here(r);
    struct zf_conf *item;
    char text[80];
    if (r->event.type != YAML_MAPPING_START_EVENT)
      return zf_conf_fail(&begin, "'%s%s.%lld' expects a mapping, found %s", c->prefix, c->name[k],
                          (long long)c->value[k].count, found(r, text));
    if ((rc = zf_conf_item(c, k, &begin, &item))) return rc;
    rc = read_mapping(r, item);
  }
  return rc;
}

/* A mapping alone, where the key allows it: a list of one. */
static int read_single(struct reader *r, struct zf_conf *c, int64_t k) {
  const struct zf_conf_place at = here(r);
  struct zf_conf *item;
  int rc = zf_conf_set_clear(c, k, &at);
  if (!rc) rc = zf_conf_item(c, k, &at, &item);
  return rc ? rc : read_mapping(r, item);
}

/* The value of key k begins at the present event; ends at its last. */
static int read_value(struct reader *r, struct zf_conf *c, int64_t k) {
  const yaml_event_t *e = &r->event;
  const struct zf_conf_place at = here(r);
  enum zf_conf_type type = c->key[k]->type;
  if (is_null(e)) return zf_conf_set_default(c, k);
  if (e->type == YAML_SEQUENCE_START_EVENT && type == ZF_CONF_STRS) return read_texts(r, c, k);
  if (e->type == YAML_SEQUENCE_START_EVENT && type == ZF_CONF_MAPS) return read_items(r, c, k);
  if (e->type == YAML_MAPPING_START_EVENT && c->key[k]->single) return read_single(r, c, k);
  if (e->type != YAML_SCALAR_EVENT) return wrong_kind(r, c, k);
  return zf_conf_set_scalar(c, k, (const char *)e->data.scalar.value, e->data.scalar.length, &at);
}

/* Finds the key at the present event and notes that this layer has set it. */
static int read_key(struct reader *r, struct zf_conf *c, int64_t *k) {
  const struct zf_conf_place at = here(r);
  char text[80];
  if (r->event.type != YAML_SCALAR_EVENT)
    return zf_conf_fail(&at, "expected a key, found %s", found(r, text));
  const char *name = (const char *)r->event.data.scalar.value;
  *k = zf_conf_find(c, name, r->event.data.scalar.length);
  if (*k < 0) return unknown_key(c, name, r->event.data.scalar.length, &at);
  struct zf_conf_value *v = &c->value[*k];
  if (v->layer == r->layer)
    return zf_conf_fail(&at, "the key '%s%s' was given before, at line %lld, column %lld",
                        c->prefix, c->name[*k], (long long)v->line, (long long)v->column);
  v->layer = r->layer;
  v->line = at.line;
  v->column = at.column;
  return 0;
}

static int read_mapping(struct reader *r, struct zf_conf *c) {
  for (;;) {
    int64_t k = -1;
    int rc = next(r);
    if (rc || r->event.type == YAML_MAPPING_END_EVENT) return rc;
    if ((rc = read_key(r, c, &k)) || (rc = next(r)) || (rc = read_value(r, c, k))) return rc;
  }
}

/* One document at most.  Its root is the mapping of c, or the value of key k. */
static int read_stream(struct reader *r, struct zf_conf *c, int64_t k) {
  char text[80];
  int rc;
  if ((rc = next(r)) || (rc = next(r))) return rc; /* the stream, the document */
  if (r->event.type == YAML_STREAM_END_EVENT) return 0;
  if ((rc = next(r))) return rc;
  const struct zf_conf_place at = here(r);
  if (k >= 0)
    rc = read_value(r, c, k);
  else if (r->event.type == YAML_MAPPING_START_EVENT)
    rc = read_mapping(r, c);
  else if (!is_null(&r->event))
    rc = zf_conf_fail(&at, "expected a mapping of keys, found %s", found(r, text));
  if (rc || (rc = next(r)) || (rc = next(r))) return rc;
  const struct zf_conf_place end = here(r);
  if (r->event.type != YAML_STREAM_END_EVENT)
    return zf_conf_fail(&end, "a second document begins here; one is read");
  return 0;
}

static int read_text(struct zf_conf *c, int64_t k, const char *text, size_t len, const char *name,
                     int64_t layer) {
  struct reader r = {.name = name, .text = text, .len = len, .layer = layer};
  if (!yaml_parser_initialize(&r.yaml)) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, len);
  int rc = read_stream(&r, c, k);
  yaml_event_delete(&r.event);
  yaml_parser_delete(&r.yaml);
  return rc;
}

int zf_conf_text(struct zf_conf *c, const char *text, size_t len, const char *name) {
  char *origin = zf_strdup(name);
  if (!origin) return ZF_ENOMEM;
  free(c->origin);
  c->origin = origin;
  return read_text(c, -1, len ? text : "", len, name, ++c->layer);
}

int zf_conf_file(struct zf_conf *c, const char *path) {
  char *text;
  size_t len;
  int rc = zf_read_file(&text, &len, path, LONGEST_FILE);
  if (rc) return rc == ZF_EINVALID ? ZF_EUSAGE : rc;
  rc = zf_conf_text(c, text, len, path);
  free(text);
  return rc;
}

/* The item that "N." names in the list of key k: one that is there, or the next. */
static int word_item(struct zf_conf **c, int64_t k, const char **rest) {
  const struct zf_conf_value *v = &(*c)->value[k];
  size_t n = strspn(*rest, "0123456789");
  if (n == 0 || n > 9 || (*rest)[n] != '.')
    return zf_conf_fail(&command_line, "expected %s%s.N.KEY=VALUE with an index N, found '%.60s'",
                        (*c)->prefix, (*c)->name[k], *rest);
  int64_t i = atoi(*rest);
  *rest += n + 1;
  if (i > v->count)
    return zf_conf_fail(&command_line, "'%s%s' has %lld items: the next is %lld, not %lld",
                        (*c)->prefix, (*c)->name[k], (long long)v->count, (long long)v->count,
                        (long long)i);
  if (i < v->count) {
    *c = v->item[i];
    return 0;
  }
  int rc = v->set ? 0 : zf_conf_set_clear(*c, k, &command_line);
  return rc ? rc : zf_conf_item(*c, k, &command_line, c);
}

/* From "datasets.0.path=x" to the conf and key of `path`; *value is after the =. */
static int word_target(struct zf_conf **c, int64_t *k, const char *word, const char **value) {
  const char *p = word;
  for (;;) {
    size_t n = strcspn(p, ".=");
    if (!p[n] || !strchr(p, '='))
      return zf_conf_fail(&command_line, "expected KEY=VALUE, found '%.60s'", word);
    if ((*k = zf_conf_find(*c, p, n)) < 0) return unknown_key(*c, p, n, &command_line);
    *value = p + n + 1;
    if (p[n] == '=') return 0;
    if ((*c)->key[*k]->type != ZF_CONF_MAPS)
      return zf_conf_fail(&command_line, "'%s%s' has no parts: expected %s%s=VALUE", (*c)->prefix,
                          (*c)->name[*k], (*c)->prefix, (*c)->name[*k]);
    p += n + 1;
    int rc = word_item(c, *k, &p);
    if (rc) return rc;
  }
}

int zf_conf_word(struct zf_conf *c, const char *word) {
  const char *value = NULL;
  int64_t k = -1, layer = ++c->layer;
  if (zf_utf8_bad(word, strlen(word)) >= 0)
    return zf_conf_fail(&command_line, "'%.60s' is not UTF-8", word);
  int rc = word_target(&c, &k, word, &value);
  if (rc) return rc;
  enum zf_conf_type type = c->key[k]->type;
  int list = type == ZF_CONF_STRS || type == ZF_CONF_MAPS;
  if (list && value[strspn(value, " ")] == '[')
    return read_text(c, k, value, strlen(value), NULL, layer);
  if (type != ZF_CONF_STR && (!*value || !strcmp(value, "null") || !strcmp(value, "~")))
    return zf_conf_set_default(c, k);
  return zf_conf_set_scalar(c, k, value, strlen(value), &command_line);
}
