/* Writing settings as YAML (libyaml's emitter), as JSON, and as a table of help.
 *
 * Lines are never folded, lists of texts are written in flow style and scalars that
 * need it double-quoted, so that each key and each item of a list of mappings is one
 * line of YAML: that lets origins be put at the ends of the lines afterwards. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "conf/conf_internal.h"
#include "fmt/json.h"

struct writer {
  yaml_emitter_t yaml;
  struct zf_buf text;
  struct zf_buf origins; /* one line for each line of text */
};

static int to_buf(void *data, unsigned char *bytes, size_t len) {
  struct zf_buf *buf = data;
  zf_buf_add(buf, bytes, len);
  return !buf->failed;
}

/* `made` says whether the event could be built; emitting takes it over. */
static int emit(struct writer *writer, yaml_event_t *e, int made) {
  if (made && yaml_emitter_emit(&writer->yaml, e)) return 0;
  if (made && writer->yaml.error == YAML_EMITTER_ERROR)
    return zf_error(ZF_EFAIL, "cannot write YAML: %s", writer->yaml.problem);
  return zf_error(ZF_ENOMEM, "out of memory for YAML");
}

/* Is `s` a text without quotes to any YAML reader, also to one that has no schema?
 * A cautious guess: plain ASCII that begins like a word or a path and is not one of
 * YAML's own words. */
static int is_plain_text(const char *s) {
  static const char *const word[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  size_t len = strlen(s);
  if (!len || !(isalpha((unsigned char)*s) || *s == '/' || *s == '_') || s[len - 1] == ' ')
    return 0;
  for (size_t i = 0; i < len; i++)
    if (!isalnum((unsigned char)s[i]) && !strchr(" _-./+@%=", s[i])) return 0;
  for (size_t i = 0; i < sizeof word / sizeof *word; i++)
    if (!strcasecmp(s, word[i])) return 0;
  return 1;
}

static int emit_scalar(struct writer *writer, const char *s, int quoted) {
  yaml_event_t e;
  yaml_scalar_style_t style = quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
  return emit(writer, &e,
              yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s, (int)strlen(s),
                                           1, 1, style));
}

static int emit_text(struct writer *writer, const char *s) {
  return emit_scalar(writer, s, !is_plain_text(s));
}

static int begin_list(struct writer *writer, int flow) {
  yaml_event_t e;
  return emit(writer, &e,
              yaml_sequence_start_event_initialize(
                  &e, NULL, NULL, 1, flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));
}

static int end_list(struct writer *writer) {
  yaml_event_t e;
  return emit(writer, &e, yaml_sequence_end_event_initialize(&e));
}

static int begin_mapping(struct writer *writer, int flow) {
  yaml_event_t e;
  return emit(writer, &e,
              yaml_mapping_start_event_initialize(
                  &e, NULL, NULL, 1, flow ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE));
}

static int end_mapping(struct writer *writer) {
  yaml_event_t e;
  return emit(writer, &e, yaml_mapping_end_event_initialize(&e));
}

/* A comment is one line of printable text, whatever a file may be called. */
static void add_origin(struct writer *writer, const char *origin) {
  for (const char *p = origin; *p; p++) {
    unsigned char c = (unsigned char)*p;
    zf_buf_putc(&writer->origins, c < ' ' || c > '~' ? '?' : *p);
  }
  zf_buf_putc(&writer->origins, '\n');
}

static int write_conf(struct writer *writer, const struct zf_conf *conf);

static int write_list(struct writer *writer, const struct zf_conf_value *value, int maps) {
  int rc = begin_list(writer, !maps || value->count == 0);
  for (int64_t i = 0; !rc && i < value->count; i++)
    rc = maps ? write_conf(writer, value->item[i]) : emit_text(writer, value->text_n[i]);
  return rc ? rc : end_list(writer);
}

static int write_value(struct writer *writer, const struct zf_conf_key *key,
                       const struct zf_conf_value *value) {
  if (key->type == ZF_CONF_STRS || key->type == ZF_CONF_MAPS)
    return write_list(writer, value, key->type == ZF_CONF_MAPS);
  if (key->type == ZF_CONF_BOOL) return emit_scalar(writer, value->integer ? "true" : "false", 0);
  if (key->type == ZF_CONF_STR || key->type == ZF_CONF_ENUM || value->word)
    return emit_text(writer, value->text);
  return emit_scalar(writer, value->text, 0);
}

static int write_conf(struct writer *writer, const struct zf_conf *conf) {
  int64_t set = 0;
  for (int64_t k = 0; k < conf->count; k++) set += conf->value[k].set;
  int rc = begin_mapping(writer, set == 0);
  if (set == 0) add_origin(writer, conf->origin ? conf->origin : "");
  for (int64_t k = 0; !rc && k < conf->count; k++) {
    const struct zf_conf_value *value = &conf->value[k];
    if (!value->set) continue;
    add_origin(writer, value->origin);
    if (!(rc = emit_scalar(writer, conf->name[k], 0)))
      rc = write_value(writer, conf->key[k], value);
  }
  return rc ? rc : end_mapping(writer);
}

static int write_document(struct writer *writer, const struct zf_conf *conf) {
  yaml_event_t e;
  int rc = emit(writer, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING));
  if (!rc) rc = emit(writer, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1));
  if (!rc) rc = write_conf(writer, conf);
  if (!rc) rc = emit(writer, &e, yaml_document_end_event_initialize(&e, 1));
  if (!rc) rc = emit(writer, &e, yaml_stream_end_event_initialize(&e));
  return rc ? rc : zf_buf_ok(&writer->text);
}

/* Appends the text, each line with its origin behind it. */
static void add_with_origins(struct zf_buf *out, const struct writer *writer) {
  const char *o = writer->origins.data ? writer->origins.data : "";
  for (const char *line = writer->text.data; line && *line;) {
    size_t n = strcspn(line, "\n"), m = strcspn(o, "\n");
    zf_buf_add(out, line, n);
    if (m) zf_buf_printf(out, "  # %.*s", (int)m, o);
    zf_buf_putc(out, '\n');
    line += n + (line[n] != 0);
    o += m + (o[m] != 0);
  }
}

int zf_conf_dump(const struct zf_conf *conf, struct zf_buf *out, int origins) {
  struct writer writer = {0};
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

/* Jansson's text of `v`, which is taken over. */
static int add_json(struct zf_buf *out, json_t *value, size_t flags) {
  char *text = value ? zf_json_dump(value, JSON_ENCODE_ANY | flags) : NULL;
  json_decref(value);
  if (!text) return zf_error(ZF_ENOMEM, "out of memory for JSON");
  zf_buf_puts(out, text);
  free(text);
  return 0;
}

/* With as few digits as bring the same number back. */
static int add_real(struct zf_buf *out, double x) {
  int digits = 1;
  char text[40];
  do snprintf(text, sizeof text, "%.*g", digits, x);
  while (strtod(text, NULL) != x && ++digits < 17);
  return add_json(out, json_real(x), JSON_REAL_PRECISION((size_t)digits));
}

static int json_list(struct zf_buf *out, const struct zf_conf_value *value) {
  int rc = 0;
  zf_buf_putc(out, '[');
  for (int64_t i = 0; !rc && i < value->count; i++) {
    if (i) zf_buf_puts(out, ", ");
    rc = value->item ? zf_conf_dump_json(value->item[i], out)
                     : add_json(out, json_string(value->text_n[i]), 0);
  }
  zf_buf_putc(out, ']');
  return rc;
}

static int json_value(struct zf_buf *out, enum zf_conf_type type,
                      const struct zf_conf_value *value) {
  if (type == ZF_CONF_STRS || type == ZF_CONF_MAPS) return json_list(out, value);
  if (type == ZF_CONF_STR || type == ZF_CONF_ENUM || value->word)
    return add_json(out, json_string(value->text), 0);
  if (type == ZF_CONF_BOOL) return add_json(out, json_boolean(value->integer), 0);
  if (type == ZF_CONF_NUM) return add_real(out, value->num);
  return add_json(out, json_integer(value->integer), 0);
}

static int dump_json(const struct zf_conf *conf, struct zf_buf *out, int kept_only) {
  int rc = 0;
  const char *glue = "";
  zf_buf_putc(out, '{');
  for (int64_t k = 0; !rc && k < conf->count; k++) {
    const struct zf_conf_value *value = &conf->value[k];
    if (!value->set || (kept_only && conf->key[k]->later)) continue;
    zf_buf_printf(out, "%s\"%s\": ", glue, conf->name[k]);
    glue = ", ";
    rc = json_value(out, conf->key[k]->type, value);
  }
  zf_buf_putc(out, '}');
  return rc ? rc : zf_buf_ok(out);
}

int zf_conf_dump_json(const struct zf_conf *conf, struct zf_buf *out) {
  return dump_json(conf, out, 0);
}

int zf_conf_dump_kept(const struct zf_conf *conf, struct zf_buf *out) {
  return dump_json(conf, out, 1);
}

static void value_text(struct zf_buf *out, const struct zf_conf *conf, int64_t k) {
  zf_buf_clear(out);
  if (conf->value[k].set)
    json_value(out, conf->key[k]->type, &conf->value[k]);
  else
    zf_buf_puts(out, "unset");
}

int zf_conf_at_default(const struct zf_conf *conf, const char *name) {
  struct zf_conf *fresh = NULL;
  struct zf_buf is = {0}, would = {0};
  int64_t k = zf_conf_find(conf, name, strlen(name));
  int same = 0;
  const struct zf_conf_key table[] = {*conf->key[k], {0}}, *const tables[] = {table};
  if (!zf_conf_new(&fresh, tables, 1)) {
    value_text(&is, conf, k);
    value_text(&would, fresh, 0);
    same = is.data && would.data && !strcmp(is.data, would.data);
  }
  zf_conf_free(fresh);
  zf_buf_free(&is);
  zf_buf_free(&would);
  return same;
}

const char *zf_conf_differs(const struct zf_conf *conf, const struct zf_conf *y, struct zf_buf *buf,
                            struct zf_buf *buffer) {
  for (int64_t k = 0; k < conf->count; k++) {
    if (conf->key[k]->later) continue;
    value_text(buf, conf, k);
    value_text(buffer, y, k);
    if (!buf->data || !buffer->data || strcmp(buf->data, buffer->data) != 0) return conf->name[k];
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
  return key->def && *key->def ? key->def : key->def ? "\"\"" : key->required ? "required" : "-";
}

/* Widths of the three columns; what is wider than a column's limit runs over. */
struct widths {
  int name, type, def;
};

static void widen(int *width, size_t count, int limit) {
  if ((int)count > *width) *width = (int)count < limit ? (int)count : limit;
}

static void measure(struct widths *widths, const struct zf_conf_key *key, size_t indent) {
  char type[256];
  widen(&widths->name, indent + strlen(key->name), 36);
  widen(&widths->type, strlen(type_text(key, type)), 24);
  widen(&widths->def, strlen(default_text(key)), 16);
  for (const struct zf_conf_key *s = key->sub; s && s->name; s++)
    measure(widths, s, indent + strlen(key->name) + 3);
}

static void help_key(struct zf_buf *out, const struct widths *widths, const struct zf_conf_key *key,
                     const char *prefix) {
  char type[256], name[256];
  snprintf(name, sizeof name, "%s%s", prefix, key->name);
  zf_buf_printf(out, "%-*s  %-*s  %-*s  %s%s\n", widths->name, name, widths->type,
                type_text(key, type), widths->def, default_text(key), key->help ? key->help : "",
                key->later ? " [resume]" : "");
  snprintf(name, sizeof name, "%s%s.N.", prefix, key->name);
  for (const struct zf_conf_key *s = key->sub; s && s->name; s++) help_key(out, widths, s, name);
}

int zf_conf_help(const struct zf_conf *conf, struct zf_buf *out) {
  struct widths widths = {0};
  for (int64_t k = 0; k < conf->count; k++) measure(&widths, conf->key[k], 0);
  for (int64_t k = 0; k < conf->count; k++) help_key(out, &widths, conf->key[k], "");
  return zf_buf_ok(out);
}
