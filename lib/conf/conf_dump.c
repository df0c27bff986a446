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

static int to_buf(void *data, unsigned char *bytes, size_t n) {
  struct zf_buf *b = data;
  zf_buf_add(b, bytes, n);
  return !b->failed;
}

/* `made` says whether the event could be built; emitting takes it over. */
static int emit(struct writer *w, yaml_event_t *e, int made) {
  if (made && yaml_emitter_emit(&w->yaml, e)) return 0;
  if (made && w->yaml.error == YAML_EMITTER_ERROR)
    return zf_error(ZF_EFAIL, "cannot write YAML: %s", w->yaml.problem);
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

static int emit_scalar(struct writer *w, const char *s, int quoted) {
  yaml_event_t e;
  yaml_scalar_style_t style = quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
  return emit(w, &e,
              yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s, (int)strlen(s),
                                           1, 1, style));
}

static int emit_text(struct writer *w, const char *s) {
  return emit_scalar(w, s, !is_plain_text(s));
}

static int begin_list(struct writer *w, int flow) {
  yaml_event_t e;
  return emit(w, &e,
              yaml_sequence_start_event_initialize(
                  &e, NULL, NULL, 1, flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));
}

static int end_list(struct writer *w) {
  yaml_event_t e;
  return emit(w, &e, yaml_sequence_end_event_initialize(&e));
}

static int begin_mapping(struct writer *w, int flow) {
  yaml_event_t e;
  return emit(w, &e,
              yaml_mapping_start_event_initialize(
                  &e, NULL, NULL, 1, flow ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE));
}

static int end_mapping(struct writer *w) {
  yaml_event_t e;
  return emit(w, &e, yaml_mapping_end_event_initialize(&e));
}

/* A comment is one line of printable text, whatever a file may be called. */
static void add_origin(struct writer *w, const char *origin) {
  for (const char *p = origin; *p; p++) {
    unsigned char c = (unsigned char)*p;
    zf_buf_putc(&w->origins, c < ' ' || c > '~' ? '?' : *p);
  }
  zf_buf_putc(&w->origins, '\n');
}

static int write_conf(struct writer *w, const struct zf_conf *c);

static int write_list(struct writer *w, const struct zf_conf_value *v, int maps) {
  int rc = begin_list(w, !maps || v->count == 0);
  for (int64_t i = 0; !rc && i < v->count; i++)
    rc = maps ? write_conf(w, v->item[i]) : emit_text(w, v->text_n[i]);
  return rc ? rc : end_list(w);
}

static int write_value(struct writer *w, const struct zf_conf_key *key,
                       const struct zf_conf_value *v) {
  if (key->type == ZF_CONF_STRS || key->type == ZF_CONF_MAPS)
    return write_list(w, v, key->type == ZF_CONF_MAPS);
  if (key->type == ZF_CONF_BOOL) return emit_scalar(w, v->integer ? "true" : "false", 0);
  if (key->type == ZF_CONF_STR || key->type == ZF_CONF_ENUM || v->word)
    return emit_text(w, v->text);
  return emit_scalar(w, v->text, 0);
}

static int write_conf(struct writer *w, const struct zf_conf *c) {
  int64_t set = 0;
  for (int64_t k = 0; k < c->count; k++) set += c->value[k].set;
  int rc = begin_mapping(w, set == 0);
  if (set == 0) add_origin(w, c->origin ? c->origin : "");
  for (int64_t k = 0; !rc && k < c->count; k++) {
    const struct zf_conf_value *v = &c->value[k];
    if (!v->set) continue;
    add_origin(w, v->origin);
    if (!(rc = emit_scalar(w, c->name[k], 0))) rc = write_value(w, c->key[k], v);
  }
  return rc ? rc : end_mapping(w);
}

static int write_document(struct writer *w, const struct zf_conf *c) {
  yaml_event_t e;
  int rc = emit(w, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING));
  if (!rc) rc = emit(w, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1));
  if (!rc) rc = write_conf(w, c);
  if (!rc) rc = emit(w, &e, yaml_document_end_event_initialize(&e, 1));
  if (!rc) rc = emit(w, &e, yaml_stream_end_event_initialize(&e));
  return rc ? rc : zf_buf_ok(&w->text);
}

/* Appends the text, each line with its origin behind it. */
static void add_with_origins(struct zf_buf *out, const struct writer *w) {
  const char *o = w->origins.data ? w->origins.data : "";
  for (const char *line = w->text.data; line && *line;) {
    size_t n = strcspn(line, "\n"), m = strcspn(o, "\n");
    zf_buf_add(out, line, n);
    if (m) zf_buf_printf(out, "  # %.*s", (int)m, o);
    zf_buf_putc(out, '\n');
    line += n + (line[n] != 0);
    o += m + (o[m] != 0);
  }
}

int zf_conf_dump(const struct zf_conf *c, struct zf_buf *out, int origins) {
  struct writer w = {0};
  if (!yaml_emitter_initialize(&w.yaml)) return zf_error(ZF_ENOMEM, "out of memory for YAML");
  yaml_emitter_set_output(&w.yaml, to_buf, &w.text);
  yaml_emitter_set_unicode(&w.yaml, 1);
  yaml_emitter_set_width(&w.yaml, -1);
  int rc = write_document(&w, c);
  if (!rc && origins) add_with_origins(out, &w);
  if (!rc && !origins) zf_buf_add(out, w.text.data, w.text.len);
  yaml_emitter_delete(&w.yaml);
  zf_buf_free(&w.text);
  zf_buf_free(&w.origins);
  return rc ? rc : zf_buf_ok(out);
}

/* Jansson's text of `v`, which is taken over. */
static int add_json(struct zf_buf *out, json_t *v, size_t flags) {
  char *text = v ? zf_json_dump(v, JSON_ENCODE_ANY | flags) : NULL;
  json_decref(v);
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

static int json_list(struct zf_buf *out, const struct zf_conf_value *v) {
  int rc = 0;
  zf_buf_putc(out, '[');
  for (int64_t i = 0; !rc && i < v->count; i++) {
    if (i) zf_buf_puts(out, ", ");
    rc = v->item ? zf_conf_dump_json(v->item[i], out) : add_json(out, json_string(v->text_n[i]), 0);
  }
  zf_buf_putc(out, ']');
  return rc;
}

static int json_value(struct zf_buf *out, enum zf_conf_type type, const struct zf_conf_value *v) {
  if (type == ZF_CONF_STRS || type == ZF_CONF_MAPS) return json_list(out, v);
  if (type == ZF_CONF_STR || type == ZF_CONF_ENUM || v->word)
    return add_json(out, json_string(v->text), 0);
  if (type == ZF_CONF_BOOL) return add_json(out, json_boolean(v->integer), 0);
  if (type == ZF_CONF_NUM) return add_real(out, v->num);
  return add_json(out, json_integer(v->integer), 0);
}

static int dump_json(const struct zf_conf *c, struct zf_buf *out, int kept_only) {
  int rc = 0;
  const char *glue = "";
  zf_buf_putc(out, '{');
  for (int64_t k = 0; !rc && k < c->count; k++) {
    const struct zf_conf_value *v = &c->value[k];
    if (!v->set || (kept_only && c->key[k]->later)) continue;
    zf_buf_printf(out, "%s\"%s\": ", glue, c->name[k]);
    glue = ", ";
    rc = json_value(out, c->key[k]->type, v);
  }
  zf_buf_putc(out, '}');
  return rc ? rc : zf_buf_ok(out);
}

int zf_conf_dump_json(const struct zf_conf *c, struct zf_buf *out) {
  return dump_json(c, out, 0);
}

int zf_conf_dump_kept(const struct zf_conf *c, struct zf_buf *out) {
  return dump_json(c, out, 1);
}

static void value_text(struct zf_buf *out, const struct zf_conf *c, int64_t k) {
  zf_buf_clear(out);
  if (c->value[k].set)
    json_value(out, c->key[k]->type, &c->value[k]);
  else
    zf_buf_puts(out, "unset");
}

int zf_conf_at_default(const struct zf_conf *c, const char *name) {
  struct zf_conf *fresh = NULL;
  struct zf_buf is = {0}, would = {0};
  int64_t k = zf_conf_find(c, name, strlen(name));
  int same = 0;
  const struct zf_conf_key table[] = {*c->key[k], {0}}, *const tables[] = {table};
  if (!zf_conf_new(&fresh, tables, 1)) {
    value_text(&is, c, k);
    value_text(&would, fresh, 0);
    same = is.data && would.data && !strcmp(is.data, would.data);
  }
  zf_conf_free(fresh);
  zf_buf_free(&is);
  zf_buf_free(&would);
  return same;
}

const char *zf_conf_differs(const struct zf_conf *x, const struct zf_conf *y, struct zf_buf *a,
                            struct zf_buf *b) {
  for (int64_t k = 0; k < x->count; k++) {
    if (x->key[k]->later) continue;
    value_text(a, x, k);
    value_text(b, y, k);
    if (!a->data || !b->data || strcmp(a->data, b->data) != 0) return x->name[k];
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

static void widen(int *width, size_t n, int limit) {
  if ((int)n > *width) *width = (int)n < limit ? (int)n : limit;
}

static void measure(struct widths *w, const struct zf_conf_key *key, size_t indent) {
  char type[256];
  widen(&w->name, indent + strlen(key->name), 36);
  widen(&w->type, strlen(type_text(key, type)), 24);
  widen(&w->def, strlen(default_text(key)), 16);
  for (const struct zf_conf_key *s = key->sub; s && s->name; s++)
    measure(w, s, indent + strlen(key->name) + 3);
}

static void help_key(struct zf_buf *out, const struct widths *w, const struct zf_conf_key *key,
                     const char *prefix) {
  char type[256], name[256];
  snprintf(name, sizeof name, "%s%s", prefix, key->name);
  zf_buf_printf(out, "%-*s  %-*s  %-*s  %s%s\n", w->name, name, w->type, type_text(key, type),
                w->def, default_text(key), key->help ? key->help : "",
                key->later ? " [resume]" : "");
  snprintf(name, sizeof name, "%s%s.N.", prefix, key->name);
  for (const struct zf_conf_key *s = key->sub; s && s->name; s++) help_key(out, w, s, name);
}

int zf_conf_help(const struct zf_conf *c, struct zf_buf *out) {
  struct widths w = {0};
  for (int64_t k = 0; k < c->count; k++) measure(&w, c->key[k], 0);
  for (int64_t k = 0; k < c->count; k++) help_key(out, &w, c->key[k], "");
  return zf_buf_ok(out);
}
