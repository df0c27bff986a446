/* Applying a recipe to a row: prepare the row, render the parts, join them to pairs of texts. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "task/jinja_internal.h"
#include "task/recipe_internal.h"

/* --- a row -------------------------------------------------------------------------------------- */

/* The field as it is, or the template's text; `*made` says which.  The caller releases it. */
static int part_value(const struct zf_recipe_part *p, const json_t *row, json_t **out, int *made) {
  struct zf_buf b = {0};
  json_t *v = json_object_get(row, p->text);
  *made = 0;
  *out = json_incref(v);
  if (v) return 0;
  if (p->outside_prefix) return zf_error(ZF_EINVALID, "field '%s' is missing", p->text);
  int rc = zf_jinja_render(p->jinja, row, 0, &b, NULL);
  if (!rc && !(*out = json_stringn(b.data, b.len))) rc = zf_error(ZF_ENOMEM, "out of memory");
  zf_buf_free(&b);
  *made = 1;
  return rc;
}

/* A number as it is, or of digits that a template made. */
static int is_number(const json_t *v, int made, int64_t *n) {
  const char *s = json_string_value(v);
  if (json_is_boolean(v)) *n = json_is_true(v);
  if (json_is_integer(v)) *n = json_integer_value(v);
  if (json_is_boolean(v) || json_is_integer(v)) return 1;
  if (!s || !made || !*s || s[strspn(s, "0123456789")] || strlen(s) > 9) return 0;
  *n = atoll(s);
  return 1;
}

static int need_text(const json_t *v, const char *what) {
  if (json_is_string(v)) return 0;
  return zf_error(ZF_EINVALID, "%s: expected a text, found %s", what, zf_json_kind(v));
}

/* The row's choices, as an array of texts that the caller releases. */
static int row_choices(const struct zf_recipe *r, const json_t *row, json_t **out) {
  json_t *v = NULL, *x;
  size_t i;
  int rc = 0;
  if (r->nfixed) {
    *out = v = json_array();
    for (int64_t k = 0; k < r->nfixed; k++) json_array_append_new(v, json_string(r->fixed[k]));
    return v ? 0 : zf_error(ZF_ENOMEM, "out of memory");
  }
  *out = v = json_incref(json_object_get(row, r->choice.text));
  if (!v && r->choice.outside_prefix)
    return zf_error(ZF_EINVALID, "field '%s' is missing", r->choice.text);
  if (!v && (rc = zf_jinja_value(r->choice.jinja, row, out))) return rc;
  v = *out;
  if (!json_is_array(v) || json_array_size(v) < 2 || json_array_size(v) > 1000)
    return zf_error(ZF_EINVALID, "doc_to_choice: expected a list of 2 choices or more, found %s",
                    json_is_array(v) ? "another length" : zf_json_kind(v));
  json_array_foreach(v, i, x) {
    if ((rc = need_text(x, "doc_to_choice"))) return rc;
    if (!json_string_length(x)) return zf_error(ZF_EINVALID, "choice %zu is empty", i);
  }
  return 0;
}

static const char *nth(const json_t *list, int64_t i) {
  return json_string_value(json_array_get(list, (size_t)i));
}

/* Which choice a number or text means. */
static int choice_index(const json_t *v, int made, const json_t *choices, int64_t *gold) {
  int64_t n = (int64_t)json_array_size(choices);
  if (is_number(v, made, gold)) {
    if (*gold >= 0 && *gold < n) return 0;
    return zf_error(ZF_EINVALID,
                    "the target %lld is out of range: there are %lld choices (0 to %lld)",
                    (long long)*gold, (long long)n, (long long)n - 1);
  }
  int rc = need_text(v, "doc_to_target");
  if (rc) return rc;
  for (*gold = 0; *gold < n; ++*gold)
    if (!strcmp(nth(choices, *gold), json_string_value(v))) return 0;
  return zf_error(ZF_EINVALID, "the target '%.60s' is none of the %lld choices",
                  json_string_value(v), (long long)n);
}

/* A row made ready: its parts by value.  Everything is released by free_parts. */
struct parts {
  json_t *row, *text, *target, *choices;
  int64_t input; /* the number that the text is, where choices are contexts */
  int made_target;
};

static void free_parts(struct parts *p) {
  json_decref(p->row);
  json_decref(p->text);
  json_decref(p->target);
  json_decref(p->choices);
}

static int check_fields(const struct zf_recipe *r, const json_t *row) {
  const char *const *field;
  int64_t n = zf_recipe_fields(r, &field);
  for (int64_t i = 0; i < n; i++)
    if (!json_object_get(row, field[i]))
      return zf_error(ZF_EINVALID, "field '%s' is missing", field[i]);
  return 0;
}

static int make_parts(struct zf_recipe *r, struct parts *p, const json_t *row) {
  int made, rc = check_fields(r, row);
  *p = (struct parts){.row = json_copy((json_t *)row)};
  if (!rc && !p->row) rc = zf_error(ZF_ENOMEM, "out of memory");
  if (!rc && r->step) rc = r->step->run(p->row);
  if (!rc && r->output != ZF_RECIPE_ROLLING) {
    rc = part_value(&r->text, p->row, &p->text, &made);
    int number = !rc && r->output == ZF_RECIPE_CHOICE && is_number(p->text, made, &p->input);
    if (!rc && r->inputs < 0) r->inputs = number;
    if (!rc && r->inputs && !number)
      rc = zf_error(ZF_EINVALID, "doc_to_text: expected the number of a choice, as in rows before");
    if (!rc && !r->inputs) rc = need_text(p->text, "doc_to_text");
  }
  if (!rc) rc = part_value(&r->target, p->row, &p->target, &p->made_target);
  if (!rc && r->output == ZF_RECIPE_CHOICE) rc = row_choices(r, p->row, &p->choices);
  if (!rc && r->inputs > 0) {
    json_t *number = json_integer(p->input);
    rc = choice_index(number, 0, p->choices, &p->input);
    json_decref(number);
  }
  return rc;
}

/* The answer of an example: the choice that the target names, or the target. */
static int answer(const struct zf_recipe *r, const struct parts *p, const char **out) {
  int64_t gold;
  *out = json_string_value(p->target);
  if (r->output == ZF_RECIPE_CHOICE && !r->inputs && is_number(p->target, p->made_target, &gold)) {
    int rc = choice_index(p->target, p->made_target, p->choices, &gold);
    *out = nth(p->choices, gold);
    return rc;
  }
  return need_text(p->target, "doc_to_target");
}

static int add_shot(struct zf_recipe *r, const json_t *row) {
  struct parts p;
  const char *a = NULL;
  int rc = make_parts(r, &p, row);
  if (!rc) rc = answer(r, &p, &a);
  if (!rc) {
    zf_buf_puts(&r->shots, r->inputs ? nth(p.choices, p.input) : json_string_value(p.text));
    if (*a) zf_buf_printf(&r->shots, "%s%s%s", r->delimiter, a, r->shot_delimiter);
    rc = zf_buf_ok(&r->shots);
  }
  free_parts(&p);
  return rc;
}

int zf_recipe_fewshot(struct zf_recipe *r, struct zf_records *rec, int64_t n) {
  int rc = 0;
  if (n < 0) n = zf_conf_int(r->conf, "num_fewshot", 0);
  if (n > 0 && r->output == ZF_RECIPE_ROLLING)
    return zf_error(ZF_EUSAGE, "task '%s': loglikelihood_rolling takes no examples",
                    zf_recipe_name(r));
  if (n > 0 && !rec)
    return zf_error(ZF_EUSAGE,
                    "task '%s': %lld examples are wanted: --fewshot-data names their file",
                    zf_recipe_name(r), (long long)n);
  if (n > ZF_RECIPE_SHOTS)
    return zf_error(ZF_EUSAGE, "expected at most %d examples, found %lld", ZF_RECIPE_SHOTS,
                    (long long)n);
  if (n > 0 && n > rec->count)
    return zf_error(ZF_EUSAGE, "%s has %lld rows, %lld examples are wanted", rec->path,
                    (long long)rec->count, (long long)n);
  zf_buf_clear(&r->shots);
  for (int64_t i = 0; !rc && i < n; i++) {
    const json_t *row = zf_records_row(rec, i);
    rc = row ? add_shot(r, row) : ZF_ENOMEM;
    if (rc) zf_error_prefix(rc, "%s:%lld", rec->path, (long long)zf_records_line(rec, i));
  }
  return rc;
}

/* --- pairs -------------------------------------------------------------------------------------- */

static int reserve(struct zf_recipe_row *x, int32_t n) {
  if (n <= x->cap) return 0;
  struct zf_buf **list[] = {&x->context, &x->continuation, &x->alone};
  int64_t **count[] = {&x->chars, &x->bytes};
  for (int i = 0; i < 3; i++) {
    struct zf_buf *b = realloc(*list[i], (size_t)n * sizeof *b);
    if (!b) return zf_error(ZF_ENOMEM, "out of memory for %d choices", n);
    memset(b + x->cap, 0, (size_t)(n - x->cap) * sizeof *b);
    *list[i] = b;
  }
  for (int i = 0; i < 2; i++) {
    int64_t *c = realloc(*count[i], (size_t)n * sizeof *c);
    if (!c) return zf_error(ZF_ENOMEM, "out of memory for %d choices", n);
    *count[i] = c;
  }
  x->cap = n;
  return 0;
}

static void set(struct zf_buf *b, const char *a, const char *c) {
  zf_buf_clear(b);
  zf_buf_puts(b, a);
  zf_buf_puts(b, c);
}

/* Description, examples, text. */
static int set_context(const struct zf_recipe *r, const struct parts *p, struct zf_buf *b,
                       const char *text) {
  json_t *d;
  int made, rc = part_value(&r->description, p->row, &d, &made);
  if (!rc) rc = need_text(d, "description");
  if (!rc) {
    set(b, json_string_value(d), r->shots.data ? r->shots.data : "");
    zf_buf_puts(b, text);
    rc = zf_buf_ok(b);
  }
  json_decref(d);
  return rc;
}

static int set_choice(const struct zf_recipe *r, const struct parts *p, struct zf_recipe_row *x,
                      int32_t i) {
  const char *choice = nth(p->choices, i);
  int rc = 0;
  x->chars[i] = zj_chars(choice);
  x->bytes[i] = (int64_t)strlen(choice);
  set(&x->alone[i], r->delimiter, choice);
  set(&x->continuation[i], r->delimiter, r->inputs ? json_string_value(p->target) : choice);
  if (!i || r->inputs)
    rc = set_context(r, p, &x->context[i], r->inputs ? choice : json_string_value(p->text));
  if (!rc) rc = zf_buf_ok(&x->alone[i]);
  return rc ? rc : zf_buf_ok(&x->continuation[i]);
}

static int choice_row(const struct zf_recipe *r, const struct parts *p, struct zf_recipe_row *x) {
  int64_t gold = p->input;
  int rc = r->inputs ? need_text(p->target, "doc_to_target")
                     : choice_index(p->target, p->made_target, p->choices, &gold);
  int32_t n = (int32_t)json_array_size(p->choices);
  if (!rc) rc = reserve(x, n);
  x->own = r->inputs;
  for (int32_t i = 0; !rc && i < n; i++) rc = set_choice(r, p, x, i);
  x->count = n;
  x->gold = (int32_t)gold;
  return rc;
}

static int text_row(const struct zf_recipe *r, const struct parts *p, struct zf_recipe_row *x) {
  const char *field = zf_conf_str(r->conf, "count_in");
  int rc = need_text(p->target, "doc_to_target");
  if (!rc) rc = reserve(x, 1);
  if (rc) return rc;
  const char *target = json_string_value(p->target), *counted = target;
  x->count = 1;
  x->gold = -1;
  x->own = 0;
  set(&x->continuation[0], "", target);
  if (r->output == ZF_RECIPE_LIKELIHOOD)
    return set_context(r, p, &x->context[0], json_string_value(p->text));
  if (field && !(counted = json_string_value(json_object_get(p->row, field))))
    return zf_error(ZF_EINVALID, "field '%s': expected a text", field);
  x->words = zf_doc_words(counted);
  x->size = (int64_t)strlen(counted);
  return zf_buf_ok(&x->continuation[0]);
}

int zf_recipe_apply(struct zf_recipe *r, const json_t *row, struct zf_recipe_row *out) {
  struct parts p;
  int rc = make_parts(r, &p, row);
  if (!rc) rc = r->output == ZF_RECIPE_CHOICE ? choice_row(r, &p, out) : text_row(r, &p, out);
  free_parts(&p);
  return rc;
}

void zf_recipe_row_free(struct zf_recipe_row *x) {
  for (int32_t i = 0; i < x->cap; i++) {
    zf_buf_free(&x->context[i]);
    zf_buf_free(&x->continuation[i]);
    zf_buf_free(&x->alone[i]);
  }
  free(x->context);
  free(x->continuation);
  free(x->alone);
  free(x->chars);
  free(x->bytes);
  *x = (struct zf_recipe_row){0};
}
