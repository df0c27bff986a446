/* Writing settings as YAML (libyaml's emitter), as JSON, and as a table of help.
 *
 * Lines are never folded, lists of texts are written in flow style, and scalars are double-quoted
 * if needed.  So each key and each item of a list of mappings is one line of YAML, and the origins
 * can be appended to the lines afterwards. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "conf/conf_internal.h"
#include "fmt/json.h"

struct conf_writer {
  yaml_emitter_t yaml;
  struct zf_buf text;
  struct zf_buf origins; /* one line for each line of text */
};

static int to_buf(void *data, unsigned char *bytes, size_t len) {
  struct zf_buf *buf = data;
  zf_buf_add(buf, bytes, len);
  return !buf->failed;
}

/* Emits an event, which is taken over.  `initialized`: there was memory to build it. */
static int emit(struct conf_writer *writer, yaml_event_t *event, int initialized) {
  if (initialized && yaml_emitter_emit(&writer->yaml, event)) return 0;
  if (initialized && writer->yaml.error == YAML_EMITTER_ERROR)
    return zf_error(ZF_EFAIL, "cannot write YAML: %s", writer->yaml.problem);
  return zf_error(ZF_ENOMEM, "out of memory for YAML");
}

/* Is the text, without quotes, a string to any YAML reader, even one without a schema?  The rule is
 * cautious: plain ASCII that begins like a word or a path and is not one of YAML's own words. */
static int is_plain_text(const char *text) {
  static const char *const word[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  size_t len = strlen(text);
  if (!len || !(isalpha((unsigned char)*text) || *text == '/' || *text == '_') ||
      text[len - 1] == ' ')
    return 0;
  for (size_t i = 0; i < len; i++)
    if (!isalnum((unsigned char)text[i]) && !strchr(" _-./+@%=", text[i])) return 0;
  for (size_t i = 0; i < sizeof word / sizeof *word; i++)
    if (!strcasecmp(text, word[i])) return 0;
  return 1;
}

static int emit_scalar(struct conf_writer *writer, const char *text, int quoted) {
  yaml_event_t event;
  yaml_scalar_style_t style = quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
  return emit(writer, &event,
              yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                           (int)strlen(text), 1, 1, style));
}

static int emit_text(struct conf_writer *writer, const char *text) {
  return emit_scalar(writer, text, !is_plain_text(text));
}

static int begin_list(struct conf_writer *writer, int flow) {
  yaml_event_t event;
  return emit(writer, &event,
              yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                   flow ? YAML_FLOW_SEQUENCE_STYLE
                                                        : YAML_BLOCK_SEQUENCE_STYLE));
}

static int end_list(struct conf_writer *writer) {
  yaml_event_t event;
  return emit(writer, &event, yaml_sequence_end_event_initialize(&event));
}

static int begin_mapping(struct conf_writer *writer, int flow) {
  yaml_event_t event;
  return emit(writer, &event,
              yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                                  flow ? YAML_FLOW_MAPPING_STYLE
                                                       : YAML_BLOCK_MAPPING_STYLE));
}

static int end_mapping(struct conf_writer *writer) {
  yaml_event_t event;
  return emit(writer, &event, yaml_mapping_end_event_initialize(&event));
}

/* A comment is one line of printable text, whatever characters a file's name has. */
static void add_origin(struct conf_writer *writer, const char *origin) {
  for (const char *at = origin; *at; at++) {
    unsigned char byte = (unsigned char)*at;
    zf_buf_putc(&writer->origins, byte < ' ' || byte > '~' ? '?' : *at);
  }
  zf_buf_putc(&writer->origins, '\n');
}

static int write_conf(struct conf_writer *writer, const struct zf_conf *conf);

static int write_list(struct conf_writer *writer, const struct zf_conf_value *value, int maps) {
  int rc = begin_list(writer, !maps || value->count == 0);
  if (rc) return rc;
  for (int64_t i = 0; i < value->count; i++) {
    rc = maps ? write_conf(writer, value->items[i]) : emit_text(writer, value->texts[i]);
    if (rc) return rc;
  }
  return end_list(writer);
}

static int write_value(struct conf_writer *writer, const struct zf_conf_key *key,
                       const struct zf_conf_value *value) {
  if (key->type == ZF_CONF_STRS || key->type == ZF_CONF_MAPS)
    return write_list(writer, value, key->type == ZF_CONF_MAPS);
  if (key->type == ZF_CONF_BOOL) return emit_scalar(writer, value->integer ? "true" : "false", 0);
  if (key->type == ZF_CONF_STR || key->type == ZF_CONF_ENUM || value->is_word)
    return emit_text(writer, value->text);
  return emit_scalar(writer, value->text, 0);
}

static int write_conf(struct conf_writer *writer, const struct zf_conf *conf) {
  int64_t set = 0;
  for (int64_t i = 0; i < conf->count; i++) set += conf->values[i].set;
  int rc = begin_mapping(writer, set == 0);
  if (set == 0) add_origin(writer, conf->origin ? conf->origin : "");
  if (rc) return rc;
  for (int64_t i = 0; i < conf->count; i++) {
    const struct zf_conf_value *value = &conf->values[i];
    if (!value->set) continue;
    add_origin(writer, value->origin);
    if ((rc = emit_scalar(writer, conf->names[i], 0))) return rc;
    if ((rc = write_value(writer, conf->keys[i], value))) return rc;
  }
  return end_mapping(writer);
}

static int write_document(struct conf_writer *writer, const struct zf_conf *conf) {
  yaml_event_t event;
  int rc = emit(writer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
  if (!rc)
    rc = emit(writer, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
  if (!rc) rc = write_conf(writer, conf);
  if (!rc) rc = emit(writer, &event, yaml_document_end_event_initialize(&event, 1));
  if (!rc) rc = emit(writer, &event, yaml_stream_end_event_initialize(&event));
  return rc ? rc : zf_buf_ok(&writer->text);
}

/* Appends the text, each line followed by its origin. */
static void add_with_origins(struct zf_buf *out, const struct conf_writer *writer) {
  const char *origin = writer->origins.data ? writer->origins.data : "";
  const char *line = writer->text.data ? writer->text.data : "";
  while (*line) {
    size_t line_len = strcspn(line, "\n"), origin_len = strcspn(origin, "\n");
    zf_buf_add(out, line, line_len);
    if (origin_len) zf_buf_printf(out, "  # %.*s", (int)origin_len, origin);
    zf_buf_putc(out, '\n');
    line += line_len + (line[line_len] != 0);
    origin += origin_len + (origin[origin_len] != 0);
  }
}

int zf_conf_dump(const struct zf_conf *conf, struct zf_buf *out, int origins) {
  struct conf_writer writer = {0};
  if (!yaml_emitter_initialize(&writer.yaml)) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_emitter_set_output(&writer.yaml, to_buf, &writer.text);
  yaml_emitter_set_unicode(&writer.yaml, 1);
  yaml_emitter_set_width(&writer.yaml, -1);
  int rc = write_document(&writer, conf);
  if (!rc && origins) add_with_origins(out, &writer);
  if (!rc && !origins) zf_buf_add(out, writer.text.data, writer.text.len);
  yaml_emitter_delete(&writer.yaml);
  zf_buf_free(&writer.text);
  zf_buf_free(&writer.origins);
  return rc ? rc : zf_buf_ok(out);
}

/* Appends the JSON of a value, which is taken over. */
static int add_json(struct zf_buf *out, json_t *value, size_t flags) {
  char *text = value ? zf_json_dump(value, JSON_ENCODE_ANY | flags) : NULL;
  json_decref(value);
  if (!text) return zf_error(ZF_ENOMEM, "out of memory for JSON");
  zf_buf_puts(out, text);
  free(text);
  return 0;
}

/* Appends a number with the fewest digits that read back as the same number. */
static int add_real(struct zf_buf *out, double number) {
  int digits = 1;
  char text[40];
  do snprintf(text, sizeof text, "%.*g", digits, number);
  while (strtod(text, NULL) != number && ++digits < 17);
  return add_json(out, json_real(number), JSON_REAL_PRECISION((size_t)digits));
}

static int json_list(struct zf_buf *out, const struct zf_conf_value *value) {
  zf_buf_putc(out, '[');
  for (int64_t i = 0; i < value->count; i++) {
    if (i) zf_buf_puts(out, ", ");
    int rc = value->items ? zf_conf_dump_json(value->items[i], out)
                          : add_json(out, json_string(value->texts[i]), 0);
    if (rc) return rc;
  }
  zf_buf_putc(out, ']');
  return 0;
}

static int json_value(struct zf_buf *out, enum zf_conf_type type,
                      const struct zf_conf_value *value) {
  if (type == ZF_CONF_STRS || type == ZF_CONF_MAPS) return json_list(out, value);
  if (type == ZF_CONF_STR || type == ZF_CONF_ENUM || value->is_word)
    return add_json(out, json_string(value->text), 0);
  if (type == ZF_CONF_BOOL) return add_json(out, json_boolean(value->integer), 0);
  if (type == ZF_CONF_NUM) return add_real(out, value->num);
  return add_json(out, json_integer(value->integer), 0);
}

static int dump_json(const struct zf_conf *conf, struct zf_buf *out, int kept_only) {
  const char *separator = "";
  zf_buf_putc(out, '{');
  for (int64_t i = 0; i < conf->count; i++) {
    const struct zf_conf_value *value = &conf->values[i];
    if (!value->set || (kept_only && conf->keys[i]->may_change)) continue;
    zf_buf_printf(out, "%s\"%s\": ", separator, conf->names[i]);
    separator = ", ";
    int rc = json_value(out, conf->keys[i]->type, value);
    if (rc) return rc;
  }
  zf_buf_putc(out, '}');
  return zf_buf_ok(out);
}

int zf_conf_dump_json(const struct zf_conf *conf, struct zf_buf *out) {
  return dump_json(conf, out, 0);
}

int zf_conf_dump_kept(const struct zf_conf *conf, struct zf_buf *out) {
  return dump_json(conf, out, 1);
}

static void put_value(struct zf_buf *out, const struct zf_conf *conf, int64_t key_index) {
  zf_buf_clear(out);
  if (conf->values[key_index].set)
    json_value(out, conf->keys[key_index]->type, &conf->values[key_index]);
  else
    zf_buf_puts(out, "unset");
}

int zf_conf_at_default(const struct zf_conf *conf, const char *name) {
  struct zf_conf *fresh = NULL;
  struct zf_buf current = {0}, by_default = {0};
  int64_t key_index = zf_conf_find(conf, name, strlen(name));
  int same = 0;
  const struct zf_conf_key table[] = {*conf->keys[key_index], {0}}, *const tables[] = {table};
  if (!zf_conf_new(&fresh, tables, 1)) {
    put_value(&current, conf, key_index);
    put_value(&by_default, fresh, 0);
    same = current.data && by_default.data && !strcmp(current.data, by_default.data);
  }
  zf_conf_free(fresh);
  zf_buf_free(&current);
  zf_buf_free(&by_default);
  return same;
}

const char *zf_conf_differs(const struct zf_conf *conf, const struct zf_conf *other,
                            struct zf_buf *value_text, struct zf_buf *other_text) {
  for (int64_t i = 0; i < conf->count; i++) {
    if (conf->keys[i]->may_change) continue;
    put_value(value_text, conf, i);
    put_value(other_text, other, i);
    if (!value_text->data || !other_text->data || strcmp(value_text->data, other_text->data) != 0)
      return conf->names[i];
  }
  return NULL;
}

static const char *type_text(const struct zf_conf_key *key, char out[256]) {
  static const char *const name[] = {
      [ZF_CONF_BOOL] = "bool",  [ZF_CONF_INT] = "integer",   [ZF_CONF_NUM] = "number",
      [ZF_CONF_STR] = "text",   [ZF_CONF_ENUM] = "",         [ZF_CONF_BYTES] = "bytes",
      [ZF_CONF_STRS] = "texts", [ZF_CONF_MAPS] = "mappings",
  };
  const char *type = name[key->type];
  snprintf(out, 256, "%s%s%s", type, *type && key->choices ? "|" : "",
           key->choices ? key->choices : "");
  return out;
}

static const char *default_text(const struct zf_conf_key *key) {
  if (key->default_text) return *key->default_text ? key->default_text : "\"\"";
  return key->required ? "required" : "-";
}

/* Widths of the three columns.  A text wider than the limit of its column is written in full. */
struct help_widths {
  int name, type, def;
};

static void widen(int *width, size_t count, int limit) {
  if ((int)count > *width) *width = (int)count < limit ? (int)count : limit;
}

static void measure(struct help_widths *widths, const struct zf_conf_key *key, size_t indent) {
  char type[256];
  widen(&widths->name, indent + strlen(key->name), 36);
  widen(&widths->type, strlen(type_text(key, type)), 24);
  widen(&widths->def, strlen(default_text(key)), 16);
  if (!key->sub) return;
  for (const struct zf_conf_key *sub = key->sub; sub->name; sub++)
    measure(widths, sub, indent + strlen(key->name) + 3);
}

static void help_key(struct zf_buf *out, const struct help_widths *widths,
                     const struct zf_conf_key *key, const char *prefix) {
  char type[256], name[256];
  snprintf(name, sizeof name, "%s%s", prefix, key->name);
  zf_buf_printf(out, "%-*s  %-*s  %-*s  %s%s\n", widths->name, name, widths->type,
                type_text(key, type), widths->def, default_text(key), key->help ? key->help : "",
                key->may_change ? " [resume]" : "");
  if (!key->sub) return;
  snprintf(name, sizeof name, "%s%s.N.", prefix, key->name);
  for (const struct zf_conf_key *sub = key->sub; sub->name; sub++) help_key(out, widths, sub, name);
}

int zf_conf_help(const struct zf_conf *conf, struct zf_buf *out) {
  struct help_widths widths = {0};
  for (int64_t i = 0; i < conf->count; i++) measure(&widths, conf->keys[i], 0);
  for (int64_t i = 0; i < conf->count; i++) help_key(out, &widths, conf->keys[i], "");
  return zf_buf_ok(out);
}
