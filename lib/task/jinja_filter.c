/* Filters of the template interpreter: those of texts and numbers, and the table of all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jinja_filter_internal.h"

/* --- texts --- */

/* What a filter of texts works on: str() of it. */
int zj_text_of(struct zj_env *env, struct zj_value *out, const struct zj_value *in) {
  struct zf_buf buf = {0};
  if (in->kind == ZJ_JSON && json_is_string(in->json)) {
    *out = *in;
    return 0;
  }
  int rc = zj_str(env, &buf, in);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

static int filter_case(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                       enum zj_case letter_case) {
  struct zj_value value;
  int rc = zj_text_of(env, &value, in);
  return rc ? rc : zj_case(env, out, json_string_value(value.json), letter_case);
}

static int filter_lower(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  (void)args;
  return filter_case(env, out, in, ZJ_LOWER);
}

static int filter_upper(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  (void)args;
  return filter_case(env, out, in, ZJ_UPPER);
}

static int filter_title(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  (void)args;
  return filter_case(env, out, in, ZJ_TITLE);
}

static int filter_capitalize(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                             const struct zj_args *args) {
  (void)args;
  return filter_case(env, out, in, ZJ_CAPITAL);
}

static int filter_trim(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                       const struct zj_args *args) {
  struct zj_value value;
  const char *chars = NULL;
  int rc = zj_text_of(env, &value, in);
  if (!rc) rc = zj_arg_text(env, &chars, args, 0, "chars");
  return rc ? rc : zj_strip(env, out, json_string_value(value.json), chars, 3);
}

static int filter_replace(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                          const struct zj_args *args) {
  struct zj_value value;
  const char *from = NULL, *to = NULL;
  int64_t max_count = -1;
  int rc = zj_text_of(env, &value, in);
  if (!rc) rc = zj_arg_text(env, &from, args, 0, "old");
  if (!rc) rc = zj_arg_text(env, &to, args, 1, "new");
  if (!rc) rc = zj_arg_int(env, &max_count, args, 2, "count");
  if (!rc && (!from || !to)) rc = zj_fail(env, "replace: expected two texts");
  return rc ? rc : zj_replace(env, out, json_string_value(value.json), from, to, max_count);
}

static int filter_string(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  (void)args;
  return zj_text_of(env, out, in);
}

static int filter_escape(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  static const char from[] = "&<>'\"";
  static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  struct zj_value value;
  struct zf_buf buf = {0};
  (void)args;
  int rc = zj_text_of(env, &value, in);
  if (rc) return rc;
  for (const char *c = json_string_value(value.json); *c; c++) {
    const char *hit = strchr(from, *c);
    if (hit)
      zf_buf_puts(&buf, to[hit - from]);
    else
      zf_buf_putc(&buf, *c);
  }
  rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* Appends `text` with `width` blanks before its lines: before the first one only when `first` says so,
 * before an empty one only when `blank` does. */
static int put_indented(struct zj_env *env, struct zf_buf *buf, const char *text, int64_t width,
                        int first, int blank) {
  int indented = first;
  do {
    size_t len = strcspn(text, "\n"), used = len + (text[len] == '\n');
    int64_t blanks = indented ? width : 0;
    for (int64_t i = 0; i < blanks; i++) zf_buf_putc(buf, ' ');
    zf_buf_add(buf, text, used);
    if (buf->len > ZF_JINJA_BYTES) return zj_fail(env, "indent: too much text");
    text += used;
    indented = blank || strcspn(text, "\n") > 0;
  } while (*text);
  return zf_buf_ok(buf);
}

static int filter_indent(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  struct zj_value value;
  struct zf_buf buf = {0};
  int64_t width = 4;
  int rc = zj_text_of(env, &value, in);
  if (!rc) rc = zj_arg_int(env, &width, args, 0, "width");
  if (rc) return rc;
  if (width < 0 || width > 256)
    return zj_fail(env, "indent: expected a width from 0 to 256, found %lld", (long long)width);
  rc = put_indented(env, &buf, json_string_value(value.json), width, zj_arg_true(args, 1, "first"),
                    zj_arg_true(args, 2, "blank"));
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* As in Transformers: json.dumps, which leaves letters outside ASCII as they are. */
static int filter_tojson(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args) {
  struct zj_dump style = {.indent = -1,
                          .ascii = zj_arg_true(args, 0, "ensure_ascii"),
                          .sort = zj_arg_true(args, 3, "sort_keys")};
  const struct zj_value *separators = zj_arg(args, 2, "separators");
  struct zf_buf buf = {0};
  int rc = zj_arg_int(env, &style.indent, args, 1, "indent");
  if (rc) return rc;
  if (style.indent > 64)
    return zj_fail(env, "tojson: expected an indent of at most 64, found %lld",
                   (long long)style.indent);
  if (in->kind != ZJ_JSON)
    return zj_fail(env, "tojson: expected a value that JSON can hold, found %s", zj_kind_name(in));
  style.comma = style.indent < 0 ? ", " : ",";
  style.colon = ": ";
  if (!zj_is_none(separators) && separators->kind == ZJ_JSON) {
    style.comma = json_string_value(json_array_get(separators->json, 0));
    style.colon = json_string_value(json_array_get(separators->json, 1));
    if (!style.comma || !style.colon) return zj_fail(env, "tojson: separators: expected two texts");
  }
  rc = zj_dump(env, &buf, in->json, &style, 0);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* --- numbers --- */

/* Below this bound a double holds every whole number. */
#define MAX_EXACT 9e15

/* The number that a text begins with, when only white space is behind it; else `fallback`. */
static int64_t parse_int(const char *text, int64_t fallback) {
  char *end;
  double number = strtod(text, &end);
  if (end == text) return fallback;
  while (zj_is_space((unsigned char)*end)) end++;
  return !*end && fabs(number) < MAX_EXACT ? (int64_t)number : fallback;
}

static int filter_int(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                      const struct zj_args *args) {
  int64_t number = 0;
  int rc = zj_arg_int(env, &number, args, 0, "default");
  if (rc) return rc;
  if (in->kind != ZJ_JSON) return zj_int(env, out, number);
  if (json_is_string(in->json))
    number = parse_int(json_string_value(in->json), number);
  else if (json_is_boolean(in->json))
    number = json_is_true(in->json);
  else if (json_is_integer(in->json) && fabs(json_number_value(in->json)) < MAX_EXACT)
    number = json_integer_value(in->json);
  else if (json_is_real(in->json) && fabs(json_real_value(in->json)) < MAX_EXACT)
    number = (int64_t)json_real_value(in->json);
  return zj_int(env, out, number);
}

static int filter_float(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  double number = 0;
  (void)args;
  if (in->kind == ZJ_JSON && json_is_string(in->json))
    number = strtod(json_string_value(in->json), NULL);
  if (in->kind == ZJ_JSON && json_is_number(in->json)) number = json_number_value(in->json);
  return zj_keep(env, out, json_real(number), 0);
}

static int filter_abs(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                      const struct zj_args *args) {
  (void)args;
  if (in->kind != ZJ_JSON || !json_is_number(in->json))
    return zj_fail(env, "abs: expected a number, found %s", zj_kind_name(in));
  if (json_is_integer(in->json)) return zj_int(env, out, llabs(json_integer_value(in->json)));
  return zj_keep(env, out, json_real(fabs(json_real_value(in->json))), 0);
}

static int filter_round(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                        const struct zj_args *args) {
  int64_t digits = 0;
  int rc = zj_arg_int(env, &digits, args, 0, "precision");
  if (rc) return rc;
  if (in->kind != ZJ_JSON || !json_is_number(in->json))
    return zj_fail(env, "round: expected a number, found %s", zj_kind_name(in));
  if (digits < 0 || digits > 12)
    return zj_fail(env, "round: expected a precision from 0 to 12, found %lld", (long long)digits);
  double scale = pow(10, (double)digits);
  return zj_keep(env, out, json_real(nearbyint(json_number_value(in->json) * scale) / scale), 0);
}

/* --- any value --- */

static int filter_default(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                          const struct zj_args *args) {
  const struct zj_value *fallback = zj_arg(args, 0, "default_value");
  int missing = in->kind == ZJ_UNDEF || (zj_arg_true(args, 1, "boolean") && !zj_truth(in));
  *out = *in;
  if (missing && fallback) *out = *fallback;
  return missing && !fallback ? zj_text(env, out, "", 0) : 0;
}

/* --- the table --- */

static const struct {
  const char *name;
  zj_filter_fn *apply;
} filters[] = {
    {"abs", filter_abs},
    {"capitalize", filter_capitalize},
    {"count", zj_filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", zj_filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"first", zj_filter_first},
    {"float", filter_float},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", zj_filter_items},
    {"join", zj_filter_join},
    {"last", zj_filter_last},
    {"length", zj_filter_length},
    {"list", zj_filter_list},
    {"lower", filter_lower},
    {"map", zj_filter_map},
    {"max", zj_filter_max},
    {"min", zj_filter_min},
    {"reject", zj_filter_reject},
    {"rejectattr", zj_filter_rejectattr},
    {"replace", filter_replace},
    {"reverse", zj_filter_reverse},
    {"round", filter_round},
    {"safe", filter_string},
    {"select", zj_filter_select},
    {"selectattr", zj_filter_selectattr},
    {"sort", zj_filter_sort},
    {"string", filter_string},
    {"sum", zj_filter_sum},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"unique", zj_filter_unique},
    {"upper", filter_upper},
};
enum { FILTERS = sizeof filters / sizeof *filters };

static zj_filter_fn *find_filter(const char *name) {
  for (int i = 0; i < FILTERS; i++)
    if (!strcmp(filters[i].name, name)) return filters[i].apply;
  return NULL;
}

int zj_is_filter(const char *name) {
  return find_filter(name) != NULL;
}

int zj_filter(struct zj_env *env, struct zj_value *out, const char *name, const struct zj_value *in,
              const struct zj_args *args) {
  zj_filter_fn *apply = find_filter(name);
  int rc = 0;
  if (++env->depth > ZF_JINJA_DEPTH)
    rc = zj_fail(env, "nested more than %d deep", ZF_JINJA_DEPTH);
  else if (apply)
    rc = apply(env, out, in, args);
  env->depth--;
  return rc;
}

const char *zf_jinja_filters(void) {
  static char text[1024];
  if (text[0]) return text;
  for (int i = 0; i < FILTERS; i++) strcat(strcat(text, i ? " " : "filters: "), filters[i].name);
  strcat(text, "; tests:");
  for (int i = 0; zj_test_name(i); i++) strcat(strcat(text, " "), zj_test_name(i));
  return text;
}
