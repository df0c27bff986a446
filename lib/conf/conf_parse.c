/* Reading settings from a YAML text, event by event, and from words.
 *
 * The tables decide what may come next, so unknown keys are never read and the recursion is as deep
 * as the tables.  YAML decides only where a scalar begins and ends; the schema decides its meaning
 * (conf_value.c).  Anchors, aliases and tags are errors: they have no meaning here, and ignoring
 * them would suggest one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "conf/conf_internal.h"
#include "fmt/utf8.h"

enum { LONGEST_FILE = 4 << 20 };

static const struct zf_conf_place command_line = {.name = "command line"};

struct conf_reader {
  yaml_parser_t yaml;
  yaml_event_t event; /* the current one */
  const char *name;   /* of the text, for messages; NULL for a word */
  const char *text;
  size_t len;
  int64_t layer;
};

static struct zf_conf_place place_of(const struct conf_reader *reader, const yaml_mark_t *mark) {
  if (!reader->name) return command_line;
  return (struct zf_conf_place){reader->name, (int64_t)mark->line + 1, (int64_t)mark->column + 1};
}

static struct zf_conf_place event_place(const struct conf_reader *reader) {
  return place_of(reader, &reader->event.start_mark);
}

/* Where libyaml stopped.  Errors of its byte reader have an offset instead of a mark. */
static yaml_mark_t problem_mark(const struct conf_reader *reader) {
  const yaml_parser_t *parser = &reader->yaml;
  yaml_mark_t mark = parser->problem_mark;
  if (parser->error != YAML_READER_ERROR) return mark;
  size_t end = parser->problem_offset < reader->len ? parser->problem_offset : reader->len;
  mark.line = mark.column = 0;
  for (size_t i = 0; i < end; i++) {
    mark.column++;
    if (reader->text[i] == '\n') mark.line++, mark.column = 0;
  }
  return mark;
}

/* Reports why libyaml stopped. */
static int syntax_error(const struct conf_reader *reader) {
  const yaml_parser_t *parser = &reader->yaml;
  if (parser->error == YAML_MEMORY_ERROR) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_mark_t mark = problem_mark(reader);
  const struct zf_conf_place place = place_of(reader, &mark);
  const char *context = parser->context ? parser->context : "reading YAML";
  const char *problem = parser->problem ? parser->problem : "is not YAML";
  if (reader->name) return zf_conf_fail(&place, "%s: %s", context, problem);
  return zf_conf_fail(&place, "'%.60s': %s: %s", reader->text, context, problem);
}

static int refuse_extras(const struct conf_reader *reader) {
  const yaml_event_t *event = &reader->event;
  const struct zf_conf_place place = event_place(reader);
  const yaml_char_t *anchor = NULL, *tag = NULL;
  if (event->type == YAML_ALIAS_EVENT)
    return zf_conf_fail(&place, "aliases ('*%.60s') are not supported", event->data.alias.anchor);
  if (event->type == YAML_SCALAR_EVENT)
    anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
  if (event->type == YAML_SEQUENCE_START_EVENT)
    anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag;
  if (event->type == YAML_MAPPING_START_EVENT)
    anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag;
  if (anchor) return zf_conf_fail(&place, "anchors ('&%.60s') are not supported", anchor);
  if (tag) return zf_conf_fail(&place, "tags ('%.60s') are not supported", tag);
  return 0;
}

static int next_event(struct conf_reader *reader) {
  yaml_event_delete(&reader->event);
  if (!yaml_parser_parse(&reader->yaml, &reader->event)) return syntax_error(reader);
  return refuse_extras(reader);
}

/* The kind of the current event, for messages: "a list", "a mapping", "'fast'". */
static const char *event_kind(const struct conf_reader *reader, char out[80]) {
  if (reader->event.type == YAML_SEQUENCE_START_EVENT) return "a list";
  if (reader->event.type == YAML_MAPPING_START_EVENT) return "a mapping";
  if (reader->event.type != YAML_SCALAR_EVENT) return "nothing";
  snprintf(out, 80, "'%.60s'", (const char *)reader->event.data.scalar.value);
  return out;
}

static int wrong_kind(const struct conf_reader *reader, const struct zf_conf *conf,
                      int64_t key_index) {
  char expects[512], text[80];
  const struct zf_conf_place place = event_place(reader);
  return zf_conf_fail(&place, "'%s%s' expects %s, found %s", conf->prefix, conf->names[key_index],
                      zf_conf_expects(conf->keys[key_index], expects, sizeof expects),
                      event_kind(reader, text));
}

static int unknown_key(const struct zf_conf *conf, const char *name, size_t len,
                       const struct zf_conf_place *place) {
  char word[80];
  snprintf(word, sizeof word, "%.*s", len < 60 ? (int)len : 60, name);
  for (int64_t i = 0; i < conf->count; i++) {
    const char *also = conf->keys[i]->also;
    if (also && zf_conf_is_choice(also, word, strlen(word)))
      return zf_conf_fail(place, "unknown key '%s%s': here it is called '%s%s'", conf->prefix, word,
                          conf->prefix, conf->names[i]);
  }
  const char *near = zf_nearest(word, conf->names, conf->count);
  if (!near) return zf_conf_fail(place, "unknown key '%s%s'", conf->prefix, word);
  return zf_conf_fail(place, "unknown key '%s%s': did you mean '%s%s'?", conf->prefix, word,
                      conf->prefix, near);
}

/* Is it an unquoted null, ~ or nothing?  The key then keeps its default. */
static int is_null(const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  return event->type == YAML_SCALAR_EVENT && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

static int read_mapping(struct conf_reader *reader, struct zf_conf *conf);

/* Reads a mapping alone as a list of one. */
static int read_single(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  const struct zf_conf_place place = event_place(reader);
  struct zf_conf *item;
  int rc = zf_conf_set_clear(conf, key_index, &place);
  if (!rc) rc = zf_conf_item(conf, key_index, &place, &item);
  return rc ? rc : read_mapping(reader, item);
}

static int read_text_item(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  const struct zf_conf_place place = event_place(reader);
  if (reader->event.type != YAML_SCALAR_EVENT) return wrong_kind(reader, conf, key_index);
  const char *text = (const char *)reader->event.data.scalar.value;
  size_t len = reader->event.data.scalar.length;
  if (memchr(text, 0, len))
    return zf_conf_fail(&place, "'%s%s' holds a zero byte, which a value must not", conf->prefix,
                        conf->names[key_index]);
  return zf_conf_push(conf, key_index, text, len);
}

static int read_map_item(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  const struct zf_conf_place place = event_place(reader);
  struct zf_conf *item;
  char text[80];
  if (reader->event.type != YAML_MAPPING_START_EVENT)
    return zf_conf_fail(&place, "'%s%s.%lld' expects a mapping, found %s", conf->prefix,
                        conf->names[key_index], (long long)conf->values[key_index].count,
                        event_kind(reader, text));
  int rc = zf_conf_item(conf, key_index, &place, &item);
  return rc ? rc : read_mapping(reader, item);
}

/* Reads the items of a list, up to its end. */
static int read_list(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  const struct zf_conf_place place = event_place(reader);
  int rc = zf_conf_set_clear(conf, key_index, &place);
  if (rc) return rc;
  for (;;) {
    if ((rc = next_event(reader))) return rc;
    if (reader->event.type == YAML_SEQUENCE_END_EVENT) return 0;
    rc = conf->keys[key_index]->type == ZF_CONF_MAPS ? read_map_item(reader, conf, key_index)
                                                     : read_text_item(reader, conf, key_index);
    if (rc) return rc;
  }
}

/* Reads the value of a key, which begins at the current event; ends at its last event. */
static int read_value(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  const yaml_event_t *event = &reader->event;
  const struct zf_conf_place place = event_place(reader);
  enum zf_conf_type type = conf->keys[key_index]->type;
  if (is_null(event)) return zf_conf_set_default(conf, key_index);
  if (event->type == YAML_SEQUENCE_START_EVENT && (type == ZF_CONF_STRS || type == ZF_CONF_MAPS))
    return read_list(reader, conf, key_index);
  if (event->type == YAML_MAPPING_START_EVENT && conf->keys[key_index]->single_map)
    return read_single(reader, conf, key_index);
  if (event->type != YAML_SCALAR_EVENT) return wrong_kind(reader, conf, key_index);
  return zf_conf_set_scalar(conf, key_index, (const char *)event->data.scalar.value,
                            event->data.scalar.length, &place);
}

/* Finds the key at the current event and notes that this layer sets it. */
static int read_key(struct conf_reader *reader, struct zf_conf *conf, int64_t *key_index) {
  const struct zf_conf_place place = event_place(reader);
  char text[80];
  if (reader->event.type != YAML_SCALAR_EVENT)
    return zf_conf_fail(&place, "expected a key, found %s", event_kind(reader, text));
  const char *name = (const char *)reader->event.data.scalar.value;
  *key_index = zf_conf_find(conf, name, reader->event.data.scalar.length);
  if (*key_index < 0) return unknown_key(conf, name, reader->event.data.scalar.length, &place);
  struct zf_conf_value *value = &conf->values[*key_index];
  if (value->layer == reader->layer)
    return zf_conf_fail(&place, "the key '%s%s' was given before, at line %lld, column %lld",
                        conf->prefix, conf->names[*key_index], (long long)value->line,
                        (long long)value->column);
  value->layer = reader->layer;
  value->line = place.line;
  value->column = place.column;
  return 0;
}

static int read_mapping(struct conf_reader *reader, struct zf_conf *conf) {
  for (;;) {
    int64_t key_index = -1;
    int rc = next_event(reader);
    if (rc || reader->event.type == YAML_MAPPING_END_EVENT) return rc;
    if ((rc = read_key(reader, conf, &key_index)) || (rc = next_event(reader)) ||
        (rc = read_value(reader, conf, key_index)))
      return rc;
  }
}

/* Reads the document, if there is one.  Its root is the mapping of conf, or, if key_index is not
 * negative, the value of that key. */
static int read_stream(struct conf_reader *reader, struct zf_conf *conf, int64_t key_index) {
  char text[80];
  int rc;
  if ((rc = next_event(reader)) || (rc = next_event(reader)))
    return rc; /* the stream, the document */
  if (reader->event.type == YAML_STREAM_END_EVENT) return 0;
  if ((rc = next_event(reader))) return rc;
  const struct zf_conf_place place = event_place(reader);
  if (key_index >= 0)
    rc = read_value(reader, conf, key_index);
  else if (reader->event.type == YAML_MAPPING_START_EVENT)
    rc = read_mapping(reader, conf);
  else if (!is_null(&reader->event))
    rc = zf_conf_fail(&place, "expected a mapping of keys, found %s", event_kind(reader, text));
  if (rc || (rc = next_event(reader)) || (rc = next_event(reader))) return rc;
  const struct zf_conf_place end = event_place(reader);
  if (reader->event.type != YAML_STREAM_END_EVENT)
    return zf_conf_fail(&end, "a second document begins here: expected one document");
  return 0;
}

static int read_text(struct zf_conf *conf, int64_t key_index, const char *text, size_t len,
                     const char *name, int64_t layer) {
  struct conf_reader reader = {.name = name, .text = text, .len = len, .layer = layer};
  if (!yaml_parser_initialize(&reader.yaml)) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_parser_set_input_string(&reader.yaml, (const unsigned char *)text, len);
  int rc = read_stream(&reader, conf, key_index);
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

/* Replaces *conf by the item that "N." in front of *rest names in the list of a key: an item that
 * exists, or the next one, which is added. */
static int word_item(struct zf_conf **conf, int64_t key_index, const char **rest) {
  const struct zf_conf_value *value = &(*conf)->values[key_index];
  size_t digits = strspn(*rest, "0123456789");
  if (digits == 0 || digits > 9 || (*rest)[digits] != '.')
    return zf_conf_fail(&command_line, "expected %s%s.N.KEY=VALUE with an index N, found '%.60s'",
                        (*conf)->prefix, (*conf)->names[key_index], *rest);
  int64_t index = atoi(*rest);
  *rest += digits + 1;
  if (index > value->count)
    return zf_conf_fail(&command_line, "'%s%s' has %lld items: the next is %lld, not %lld",
                        (*conf)->prefix, (*conf)->names[key_index], (long long)value->count,
                        (long long)value->count, (long long)index);
  if (index < value->count) {
    *conf = value->items[index];
    return 0;
  }
  int rc = value->set ? 0 : zf_conf_set_clear(*conf, key_index, &command_line);
  return rc ? rc : zf_conf_item(*conf, key_index, &command_line, conf);
}

/* Resolves "datasets.0.path=x" to the conf and the key of `path`; *value is the text after the
 * =. */
static int word_target(struct zf_conf **conf, int64_t *key_index, const char *word,
                       const char **value) {
  const char *name = word;
  for (;;) {
    size_t len = strcspn(name, ".=");
    if (!name[len] || !strchr(name, '='))
      return zf_conf_fail(&command_line, "expected KEY=VALUE, found '%.60s'", word);
    if ((*key_index = zf_conf_find(*conf, name, len)) < 0)
      return unknown_key(*conf, name, len, &command_line);
    *value = name + len + 1;
    if (name[len] == '=') return 0;
    if ((*conf)->keys[*key_index]->type != ZF_CONF_MAPS)
      return zf_conf_fail(&command_line, "'%s%s' is not a list of mappings: expected %s%s=VALUE",
                          (*conf)->prefix, (*conf)->names[*key_index], (*conf)->prefix,
                          (*conf)->names[*key_index]);
    name += len + 1;
    int rc = word_item(conf, *key_index, &name);
    if (rc) return rc;
  }
}

int zf_conf_word(struct zf_conf *conf, const char *word) {
  const char *value = NULL;
  int64_t key_index = -1, layer = ++conf->layer;
  if (zf_utf8_first_error(word, strlen(word)) >= 0)
    return zf_conf_fail(&command_line, "'%.60s' is not UTF-8", word);
  int rc = word_target(&conf, &key_index, word, &value);
  if (rc) return rc;
  enum zf_conf_type type = conf->keys[key_index]->type;
  int list = type == ZF_CONF_STRS || type == ZF_CONF_MAPS;
  if (list && value[strspn(value, " ")] == '[')
    return read_text(conf, key_index, value, strlen(value), NULL, layer);
  if (type != ZF_CONF_STR && (!*value || !strcmp(value, "null") || !strcmp(value, "~")))
    return zf_conf_set_default(conf, key_index);
  return zf_conf_set_scalar(conf, key_index, value, strlen(value), &command_line);
}
