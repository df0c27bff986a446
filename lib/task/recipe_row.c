/* Applies a recipe to a row: prepares the row, renders the parts, joins them to pairs of texts. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "task/jinja_internal.h"
#include "task/recipe_internal.h"

/* --- a row --- */

/* The field of the row, or the text of the template (*rendered = 1).  The caller releases *out. */
static int part_value(const struct zf_recipe_part *part, const json_t *row, json_t **out,
                      int *rendered) {
  struct zf_buf buf = {0};
  json_t *value = json_object_get(row, part->text);
  *rendered = 0;
  *out = json_incref(value);
  if (value) return 0;
  if (part->names_field) return zf_error(ZF_EINVALID, "field '%s' is missing", part->text);
  int rc = zf_jinja_render(part->jinja, row, 0, &buf, NULL);
  if (!rc && !(*out = json_stringn(buf.data, buf.len))) rc = zf_error(ZF_ENOMEM, "out of memory");
  zf_buf_free(&buf);
  *rendered = 1;
  return rc;
}

/* Is the value a number, or a rendered text of digits? */
static int is_number(const json_t *value, int rendered, int64_t *number) {
  const char *text = json_string_value(value);
  if (json_is_boolean(value)) *number = json_is_true(value);
  if (json_is_integer(value)) *number = json_integer_value(value);
  if (json_is_boolean(value) || json_is_integer(value)) return 1;
  if (!text || !rendered || !*text || text[strspn(text, "0123456789")] || strlen(text) > 9)
    return 0;
  *number = atoll(text);
  return 1;
}

static int need_text(const json_t *value, const char *what) {
  if (json_is_string(value)) return 0;
  return zf_error(ZF_EINVALID, "%s: expected a text, found %s", what, zf_json_kind(value));
}

/* The row's choices, an array of texts.  The caller releases *out, also after an error. */
static int row_choices(const struct zf_recipe *recipe, const json_t *row, json_t **out) {
  json_t *value = NULL, *item;
  size_t i;
  int rc = 0;
  if (recipe->nfixed) {
    *out = value = json_array();
    for (int64_t choice = 0; choice < recipe->nfixed; choice++)
      json_array_append_new(value, json_string(recipe->fixed[choice]));
    return value ? 0 : zf_error(ZF_ENOMEM, "out of memory");
  }
  *out = value = json_incref(json_object_get(row, recipe->choice.text));
  if (!value && recipe->choice.names_field)
    return zf_error(ZF_EINVALID, "field '%s' is missing", recipe->choice.text);
  if (!value && (rc = zf_jinja_value(recipe->choice.jinja, row, out))) return rc;
  value = *out;
  if (!json_is_array(value) || json_array_size(value) < 2 || json_array_size(value) > 1000)
    return zf_error(ZF_EINVALID, "doc_to_choice: expected a list of 2 choices or more, found %s",
                    json_is_array(value) ? "another length" : zf_json_kind(value));
  json_array_foreach(value, i, item) {
    if ((rc = need_text(item, "doc_to_choice"))) return rc;
    if (!json_string_length(item)) return zf_error(ZF_EINVALID, "choice %zu is empty", i);
  }
  return 0;
}

static const char *text_at(const json_t *list, int64_t index) {
  return json_string_value(json_array_get(list, (size_t)index));
}

/* The choice that a number or a text names. */
static int choice_index(const json_t *value, int rendered, const json_t *choices, int64_t *gold) {
  int64_t count = (int64_t)json_array_size(choices);
  if (is_number(value, rendered, gold)) {
    if (*gold >= 0 && *gold < count) return 0;
    return zf_error(ZF_EINVALID,
                    "the target %lld is out of range: there are %lld choices (0 to %lld)",
                    (long long)*gold, (long long)count, (long long)count - 1);
  }
  int rc = need_text(value, "doc_to_target");
  if (rc) return rc;
  for (*gold = 0; *gold < count; ++*gold)
    if (!strcmp(text_at(choices, *gold), json_string_value(value))) return 0;
  return zf_error(ZF_EINVALID, "the target '%.60s' is none of the %lld choices",
                  json_string_value(value), (long long)count);
}

/* The parts of a row; free_parts releases them. */
struct recipe_parts {
  json_t *row, *text, *target, *choices;
  int64_t right_context; /* choices are contexts: the right one */
  int target_rendered;
};

static void free_parts(struct recipe_parts *parts) {
  json_decref(parts->row);
  json_decref(parts->text);
  json_decref(parts->target);
  json_decref(parts->choices);
}

static int check_fields(const struct zf_recipe *recipe, const json_t *row) {
  const char *const *field;
  int64_t count = zf_recipe_fields(recipe, &field);
  for (int64_t i = 0; i < count; i++)
    if (!json_object_get(row, field[i]))
      return zf_error(ZF_EINVALID, "field '%s' is missing", field[i]);
  return 0;
}

/* The context; recipe->inputs says whether it is the number of a choice, as it is for all rows or none. */
static int make_text(struct zf_recipe *recipe, struct recipe_parts *parts) {
  int rendered, rc = part_value(&recipe->text, parts->row, &parts->text, &rendered);
  if (rc) return rc;
  int number =
      recipe->output == ZF_RECIPE_CHOICE && is_number(parts->text, rendered, &parts->right_context);
  if (recipe->choices_are_contexts < 0) recipe->choices_are_contexts = number;
  if (recipe->choices_are_contexts && !number)
    return zf_error(ZF_EINVALID, "doc_to_text: expected the number of a choice, as in rows before");
  return recipe->choices_are_contexts ? 0 : need_text(parts->text, "doc_to_text");
}

static int fill_parts(struct zf_recipe *recipe, struct recipe_parts *parts) {
  int rc = recipe->step ? recipe->step->run(parts->row) : 0;
  if (!rc && recipe->output != ZF_RECIPE_ROLLING) rc = make_text(recipe, parts);
  if (!rc) rc = part_value(&recipe->target, parts->row, &parts->target, &parts->target_rendered);
  if (!rc && recipe->output == ZF_RECIPE_CHOICE)
    rc = row_choices(recipe, parts->row, &parts->choices);
  if (rc || recipe->choices_are_contexts <= 0) return rc;
  json_t *number = json_integer(parts->right_context);
  rc = choice_index(number, 0, parts->choices, &parts->right_context);
  json_decref(number);
  return rc;
}

static int make_parts(struct zf_recipe *recipe, struct recipe_parts *parts, const json_t *row) {
  int rc = check_fields(recipe, row);
  *parts = (struct recipe_parts){.row = json_copy((json_t *)row)};
  if (!rc && !parts->row) rc = zf_error(ZF_ENOMEM, "out of memory");
  return rc ? rc : fill_parts(recipe, parts);
}

/* The answer of an example: the choice that the target names, or the target. */
static int answer(const struct zf_recipe *recipe, const struct recipe_parts *parts,
                  const char **out) {
  int64_t gold;
  *out = json_string_value(parts->target);
  if (recipe->output == ZF_RECIPE_CHOICE && !recipe->choices_are_contexts &&
      is_number(parts->target, parts->target_rendered, &gold)) {
    int rc = choice_index(parts->target, parts->target_rendered, parts->choices, &gold);
    *out = text_at(parts->choices, gold);
    return rc;
  }
  return need_text(parts->target, "doc_to_target");
}

static int add_shot(struct zf_recipe *recipe, const json_t *row) {
  struct recipe_parts parts;
  const char *answer_text = NULL;
  int rc = make_parts(recipe, &parts, row);
  if (!rc) rc = answer(recipe, &parts, &answer_text);
  if (!rc) {
    zf_buf_puts(&recipe->shots, recipe->choices_are_contexts
                                    ? text_at(parts.choices, parts.right_context)
                                    : json_string_value(parts.text));
    if (*answer_text)
      zf_buf_printf(&recipe->shots, "%s%s%s", recipe->delimiter, answer_text,
                    recipe->shot_delimiter);
    rc = zf_buf_ok(&recipe->shots);
  }
  free_parts(&parts);
  return rc;
}

static int check_shots(const struct zf_recipe *recipe, const struct zf_records *records,
                       int64_t count) {
  if (count <= 0) return 0;
  if (recipe->output == ZF_RECIPE_ROLLING)
    return zf_error(ZF_EUSAGE, "task '%s': loglikelihood_rolling takes no examples",
                    zf_recipe_name(recipe));
  if (!records)
    return zf_error(ZF_EUSAGE,
                    "task '%s': %lld examples are wanted: --fewshot-data names their file",
                    zf_recipe_name(recipe), (long long)count);
  if (count > ZF_RECIPE_SHOTS)
    return zf_error(ZF_EUSAGE, "expected at most %d examples, found %lld", ZF_RECIPE_SHOTS,
                    (long long)count);
  if (count > records->count)
    return zf_error(ZF_EUSAGE, "%s has %lld rows, %lld examples are wanted", records->path,
                    (long long)records->count, (long long)count);
  return 0;
}

int zf_recipe_fewshot(struct zf_recipe *recipe, struct zf_records *records, int64_t count) {
  if (count < 0) count = zf_conf_int(recipe->conf, "num_fewshot", 0);
  int rc = check_shots(recipe, records, count);
  if (rc) return rc;
  zf_buf_clear(&recipe->shots);
  for (int64_t i = 0; i < count; i++) {
    const json_t *row = zf_records_row(records, i);
    rc = row ? add_shot(recipe, row) : ZF_ENOMEM;
    if (rc)
      return zf_error_prefix(rc, "%s:%lld", records->path, (long long)zf_records_line(records, i));
  }
  return 0;
}

/* --- pairs --- */

static int reserve(struct zf_recipe_row *row, int32_t count) {
  if (count <= row->cap) return 0;
  struct zf_buf **buffers[] = {&row->context, &row->continuation, &row->alone};
  int64_t **counts[] = {&row->chars, &row->bytes};
  for (int i = 0; i < 3; i++) {
    struct zf_buf *buf = realloc(*buffers[i], (size_t)count * sizeof *buf);
    if (!buf) return zf_error(ZF_ENOMEM, "out of memory for %d choices", count);
    memset(buf + row->cap, 0, (size_t)(count - row->cap) * sizeof *buf);
    *buffers[i] = buf;
  }
  for (int i = 0; i < 2; i++) {
    int64_t *larger = realloc(*counts[i], (size_t)count * sizeof *larger);
    if (!larger) return zf_error(ZF_ENOMEM, "out of memory for %d choices", count);
    *counts[i] = larger;
  }
  row->cap = count;
  return 0;
}

static void set_joined(struct zf_buf *buf, const char *first, const char *second) {
  zf_buf_clear(buf);
  zf_buf_puts(buf, first);
  zf_buf_puts(buf, second);
}

/* Description, examples, text. */
static int set_context(const struct zf_recipe *recipe, const struct recipe_parts *parts,
                       struct zf_buf *buf, const char *text) {
  json_t *description;
  int rendered, rc = part_value(&recipe->description, parts->row, &description, &rendered);
  if (!rc) rc = need_text(description, "description");
  if (!rc) {
    set_joined(buf, json_string_value(description), recipe->shots.data ? recipe->shots.data : "");
    zf_buf_puts(buf, text);
    rc = zf_buf_ok(buf);
  }
  json_decref(description);
  return rc;
}

static int set_choice(const struct zf_recipe *recipe, const struct recipe_parts *parts,
                      struct zf_recipe_row *row, int32_t index) {
  const char *choice = text_at(parts->choices, index);
  int rc = 0;
  row->chars[index] = zj_chars(choice);
  row->bytes[index] = (int64_t)strlen(choice);
  set_joined(&row->alone[index], recipe->delimiter, choice);
  set_joined(&row->continuation[index], recipe->delimiter,
             recipe->choices_are_contexts ? json_string_value(parts->target) : choice);
  if (!index || recipe->choices_are_contexts)
    rc = set_context(recipe, parts, &row->context[index],
                     recipe->choices_are_contexts ? choice : json_string_value(parts->text));
  if (!rc) rc = zf_buf_ok(&row->alone[index]);
  return rc ? rc : zf_buf_ok(&row->continuation[index]);
}

static int choice_row(const struct zf_recipe *recipe, const struct recipe_parts *parts,
                      struct zf_recipe_row *row) {
  int64_t gold = parts->right_context;
  int32_t count = (int32_t)json_array_size(parts->choices);
  int rc = recipe->choices_are_contexts
               ? need_text(parts->target, "doc_to_target")
               : choice_index(parts->target, parts->target_rendered, parts->choices, &gold);
  if (!rc) rc = reserve(row, count);
  if (rc) return rc;
  row->own_contexts = recipe->choices_are_contexts;
  row->count = count;
  row->gold = (int32_t)gold;
  for (int32_t i = 0; i < count; i++)
    if ((rc = set_choice(recipe, parts, row, i))) return rc;
  return 0;
}

static int text_row(const struct zf_recipe *recipe, const struct recipe_parts *parts,
                    struct zf_recipe_row *row) {
  const char *field = zf_conf_str(recipe->conf, "count_in");
  int rc = need_text(parts->target, "doc_to_target");
  if (!rc) rc = reserve(row, 1);
  if (rc) return rc;
  const char *target = json_string_value(parts->target), *counted = target;
  row->count = 1;
  row->gold = -1;
  row->own_contexts = 0;
  set_joined(&row->continuation[0], "", target);
  if (recipe->output == ZF_RECIPE_LIKELIHOOD)
    return set_context(recipe, parts, &row->context[0], json_string_value(parts->text));
  if (field && !(counted = json_string_value(json_object_get(parts->row, field))))
    return zf_error(ZF_EINVALID, "field '%s': expected a text", field);
  row->words = zf_doc_words(counted);
  row->size = (int64_t)strlen(counted);
  return zf_buf_ok(&row->continuation[0]);
}

int zf_recipe_apply(struct zf_recipe *recipe, const json_t *row, struct zf_recipe_row *out) {
  struct recipe_parts parts;
  int rc = make_parts(recipe, &parts, row);
  if (!rc) rc = (recipe->output == ZF_RECIPE_CHOICE ? choice_row : text_row)(recipe, &parts, out);
  free_parts(&parts);
  return rc;
}

void zf_recipe_row_free(struct zf_recipe_row *row) {
  for (int32_t i = 0; i < row->cap; i++) {
    zf_buf_free(&row->context[i]);
    zf_buf_free(&row->continuation[i]);
    zf_buf_free(&row->alone[i]);
  }
  free(row->context);
  free(row->continuation);
  free(row->alone);
  free(row->chars);
  free(row->bytes);
  *row = (struct zf_recipe_row){0};
}
