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

static struct zf_conf_place place_of(const struct reader *reader, const yaml_mark_t *m) {
  if (!reader->name) return command_line;
  return (struct zf_conf_place){reader->name, (int64_t)m->line + 1, (int64_t)m->column + 1};
}

static struct zf_conf_place here(const struct reader *reader) {
  return place_of(reader, &reader->event.start_mark);
}

/* libyaml stopped.  Errors of its byte reader come with an offset, not a mark. */
static int syntax_error(const struct reader *reader) {
  const yaml_parser_t *y = &reader->yaml;
  if (y->error == YAML_MEMORY_ERROR) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_mark_t m = y->problem_mark;
  if (y->error == YAML_READER_ERROR) {
    m.line = m.column = 0;
    for (size_t i = 0; i < y->problem_offset && i < reader->len; i++) {
      m.column++;
      if (reader->text[i] == '\n') m.line++, m.column = 0;
    }
  }
  const struct zf_conf_place at = place_of(reader, &m);
  const char *context = y->context ? y->context : "reading YAML";
  const char *problem = y->problem ? y->problem : "is not YAML";
  if (reader->name) return zf_conf_fail(&at, "%s: %s", context, problem);
  return zf_conf_fail(&at, "'%.60s': %s: %s", reader->text, context, problem);
}

static int refuse_extras(const struct reader *reader) {
  const yaml_event_t *e = &reader->event;
  const struct zf_conf_place at = here(reader);
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

static int next(struct reader *reader) {
  yaml_event_delete(&reader->event);
  if (!yaml_parser_parse(&reader->yaml, &reader->event)) return syntax_error(reader);
  return refuse_extras(reader);
}

/* What stands here, for messages: "a list", "a mapping", "'fast'". */
static const char *found(const struct reader *reader, char out[80]) {
  if (reader->event.type == YAML_SEQUENCE_START_EVENT) return "a list";
  if (reader->event.type == YAML_MAPPING_START_EVENT) return "a mapping";
  if (reader->event.type != YAML_SCALAR_EVENT) return "nothing";
  snprintf(out, 80, "'%.60s'", (const char *)reader->event.data.scalar.value);
  return out;
}

static int wrong_kind(const struct reader *reader, const struct zf_conf *conf, int64_t k) {
  char expects[512], text[80];
  const struct zf_conf_place at = here(reader);
  return zf_conf_fail(&at, "'%s%s' expects %s, found %s", conf->prefix, conf->name[k],
                      zf_conf_expects(conf->key[k], expects, sizeof expects), found(reader, text));
}

static int unknown_key(const struct zf_conf *conf, const char *name, size_t len,
                       const struct zf_conf_place *at) {
  char word[80];
  snprintf(word, sizeof word, "%.*s", len < 60 ? (int)len : 60, name);
  const char *near = zf_nearest(word, conf->name, conf->count);
  if (!near) return zf_conf_fail(at, "unknown key '%s%s'", conf->prefix, word);
  return zf_conf_fail(at, "unknown key '%s%s': did you mean '%s%s'?", conf->prefix, word,
                      conf->prefix, near);
}

/* An unquoted null, ~ or nothing at all: as if the key were not there. */
static int is_null(const yaml_event_t *e) {
  const char *s = (const char *)e->data.scalar.value;
  return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}

static int read_texts(struct reader *reader, struct zf_conf *conf, int64_t k) {
  const struct zf_conf_place at = here(reader);
  int rc = zf_conf_set_clear(conf, k, &at);
  while (!rc && !(rc = next(reader)) && reader->event.type != YAML_SEQUENCE_END_EVENT) {
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;
    const struct zf_conf_place item = here(reader);
    if (reader->event.type != YAML_SCALAR_EVENT) return wrong_kind(reader, conf, k);
    if (memchr(text, 0, len))
      return zf_conf_fail(&item, "'%s%s' holds a zero byte, which no value may", conf->prefix,
                          conf->name[k]);
    rc = zf_conf_push(conf, k, text, len);
  }
  return rc;
}

static int read_mapping(struct reader *reader, struct zf_conf *conf);

static int read_items(struct reader *reader, struct zf_conf *conf, int64_t k) {
  const struct zf_conf_place at = here(reader);
  int rc = zf_conf_set_clear(conf, k, &at);
  while (!rc && !(rc = next(reader)) && reader->event.type != YAML_SEQUENCE_END_EVENT) {
    const struct zf_conf_place begin = here(reader);
    struct zf_conf *item;
    char text[80];
    if (reader->event.type != YAML_MAPPING_START_EVENT)
      return zf_conf_fail(&begin, "'%s%s.%lld' expects a mapping, found %s", conf->prefix,
                          conf->name[k], (long long)conf->value[k].count, found(reader, text));
    if ((rc = zf_conf_item(conf, k, &begin, &item))) return rc;
    rc = read_mapping(reader, item);
  }
  return rc;
}

/* A mapping alone, where the key allows it: a list of one. */
static int read_single(struct reader *reader, struct zf_conf *conf, int64_t k) {
  const struct zf_conf_place at = here(reader);
  struct zf_conf *item;
  int rc = zf_conf_set_clear(conf, k, &at);
  if (!rc) rc = zf_conf_item(conf, k, &at, &item);
  return rc ? rc : read_mapping(reader, item);
}

/* The value of key k begins at the present event; ends at its last. */
static int read_value(struct reader *reader, struct zf_conf *conf, int64_t k) {
  const yaml_event_t *e = &reader->event;
  const struct zf_conf_place at = here(reader);
  enum zf_conf_type type = conf->key[k]->type;
  if (is_null(e)) return zf_conf_set_default(conf, k);
  if (e->type == YAML_SEQUENCE_START_EVENT && type == ZF_CONF_STRS)
    return read_texts(reader, conf, k);
  if (e->type == YAML_SEQUENCE_START_EVENT && type == ZF_CONF_MAPS)
    return read_items(reader, conf, k);
  if (e->type == YAML_MAPPING_START_EVENT && conf->key[k]->single)
    return read_single(reader, conf, k);
  if (e->type != YAML_SCALAR_EVENT) return wrong_kind(reader, conf, k);
  return zf_conf_set_scalar(conf, k, (const char *)e->data.scalar.value, e->data.scalar.length,
                            &at);
}

/* Finds the key at the present event and notes that this layer has set it. */
static int read_key(struct reader *reader, struct zf_conf *conf, int64_t *k) {
  const struct zf_conf_place at = here(reader);
  char text[80];
  if (reader->event.type != YAML_SCALAR_EVENT)
    return zf_conf_fail(&at, "expected a key, found %s", found(reader, text));
  const char *name = (const char *)reader->event.data.scalar.value;
  *k = zf_conf_find(conf, name, reader->event.data.scalar.length);
  if (*k < 0) return unknown_key(conf, name, reader->event.data.scalar.length, &at);
  struct zf_conf_value *value = &conf->value[*k];
  if (value->layer == reader->layer)
    return zf_conf_fail(&at, "the key '%s%s' was given before, at line %lld, column %lld",
                        conf->prefix, conf->name[*k], (long long)value->line,
                        (long long)value->column);
  value->layer = reader->layer;
  value->line = at.line;
  value->column = at.column;
  return 0;
}

static int read_mapping(struct reader *reader, struct zf_conf *conf) {
  for (;;) {
    int64_t k = -1;
    int rc = next(reader);
    if (rc || reader->event.type == YAML_MAPPING_END_EVENT) return rc;
    if ((rc = read_key(reader, conf, &k)) || (rc = next(reader)) ||
        (rc = read_value(reader, conf, k)))
      return rc;
  }
}

/* One document at most.  Its root is the mapping of c, or the value of key k. */
static int read_stream(struct reader *reader, struct zf_conf *conf, int64_t k) {
  char text[80];
  int rc;
  if ((rc = next(reader)) || (rc = next(reader))) return rc; /* the stream, the document */
  if (reader->event.type == YAML_STREAM_END_EVENT) return 0;
  if ((rc = next(reader))) return rc;
  const struct zf_conf_place at = here(reader);
  if (k >= 0)
    rc = read_value(reader, conf, k);
  else if (reader->event.type == YAML_MAPPING_START_EVENT)
    rc = read_mapping(reader, conf);
  else if (!is_null(&reader->event))
    rc = zf_conf_fail(&at, "expected a mapping of keys, found %s", found(reader, text));
  if (rc || (rc = next(reader)) || (rc = next(reader))) return rc;
  const struct zf_conf_place end = here(reader);
  if (reader->event.type != YAML_STREAM_END_EVENT)
    return zf_conf_fail(&end, "a second document begins here; one is read");
  return 0;
}

static int read_text(struct zf_conf *conf, int64_t k, const char *text, size_t len,
                     const char *name, int64_t layer) {
  struct reader reader = {.name = name, .text = text, .len = len, .layer = layer};
  if (!yaml_parser_initialize(&reader.yaml)) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_parser_set_input_string(&reader.yaml, (const unsigned char *)text, len);
  int rc = read_stream(&reader, conf, k);
  yaml_event_delete(&reader.event);
  yaml_parser_delete(&reader.yaml);
  return rc;
}

int zf_conf_text(struct zf_conf *conf, const char *text, size_t len, const char *name) {
  char *origin = zf_strdup(name);
  if (!origin) return ZF_ENOMEM;
  free(conf->origin);
  conf->origin = origin;
  return read_text(conf, -1, len ? text : "", len, name, ++conf->layer);
}

int zf_conf_file(struct zf_conf *conf, const char *path) {
  char *text;
  size_t len;
  int rc = zf_read_file(&text, &len, path, LONGEST_FILE);
  if (rc) return rc == ZF_EINVALID ? ZF_EUSAGE : rc;
  rc = zf_conf_text(conf, text, len, path);
  free(text);
  return rc;
}

/* The item that "N." names in the list of key k: one that is there, or the next. */
static int word_item(struct zf_conf **conf, int64_t k, const char **rest) {
  const struct zf_conf_value *value = &(*conf)->value[k];
  size_t n = strspn(*rest, "0123456789");
  if (n == 0 || n > 9 || (*rest)[n] != '.')
    return zf_conf_fail(&command_line, "expected %s%s.N.KEY=VALUE with an index N, found '%.60s'",
                        (*conf)->prefix, (*conf)->name[k], *rest);
  int64_t i = atoi(*rest);
  *rest += n + 1;
  if (i > value->count)
    return zf_conf_fail(&command_line, "'%s%s' has %lld items: the next is %lld, not %lld",
                        (*conf)->prefix, (*conf)->name[k], (long long)value->count,
                        (long long)value->count, (long long)i);
  if (i < value->count) {
    *conf = value->item[i];
    return 0;
  }
  int rc = value->set ? 0 : zf_conf_set_clear(*conf, k, &command_line);
  return rc ? rc : zf_conf_item(*conf, k, &command_line, conf);
}

/* From "datasets.0.path=x" to the conf and key of `path`; *value is after the =. */
static int word_target(struct zf_conf **conf, int64_t *k, const char *word, const char **value) {
  const char *p = word;
  for (;;) {
    size_t n = strcspn(p, ".=");
    if (!p[n] || !strchr(p, '='))
      return zf_conf_fail(&command_line, "expected KEY=VALUE, found '%.60s'", word);
    if ((*k = zf_conf_find(*conf, p, n)) < 0) return unknown_key(*conf, p, n, &command_line);
    *value = p + n + 1;
    if (p[n] == '=') return 0;
    if ((*conf)->key[*k]->type != ZF_CONF_MAPS)
      return zf_conf_fail(&command_line, "'%s%s' has no parts: expected %s%s=VALUE",
                          (*conf)->prefix, (*conf)->name[*k], (*conf)->prefix, (*conf)->name[*k]);
    p += n + 1;
    int rc = word_item(conf, *k, &p);
    if (rc) return rc;
  }
}

int zf_conf_word(struct zf_conf *conf, const char *word) {
  const char *value = NULL;
  int64_t k = -1, layer = ++conf->layer;
  if (zf_utf8_bad(word, strlen(word)) >= 0)
    return zf_conf_fail(&command_line, "'%.60s' is not UTF-8", word);
  int rc = word_target(&conf, &k, word, &value);
  if (rc) return rc;
  enum zf_conf_type type = conf->key[k]->type;
  int list = type == ZF_CONF_STRS || type == ZF_CONF_MAPS;
  if (list && value[strspn(value, " ")] == '[')
    return read_text(conf, k, value, strlen(value), NULL, layer);
  if (type != ZF_CONF_STR && (!*value || !strcmp(value, "null") || !strcmp(value, "~")))
    return zf_conf_set_default(conf, k);
  return zf_conf_set_scalar(conf, k, value, strlen(value), &command_line);
}
