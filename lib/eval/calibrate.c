/* Contextual calibration builds a small data set of its own: a row for each content-free text, in
 * which every field that the prompt reads has that text. */
#include "eval/calibrate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "task/template.h"

const char *const zf_calibrate_names[] = {"none", "contextual", "batch", NULL};
const char *const zf_content_free[ZF_CONTENT_FREE] = {"N/A", "", "[MASK]"};

int zf_calibrate_find(enum zf_calibrate *out, const char *name) {
  for (int i = 0; zf_calibrate_names[i]; i++) {
    if (strcmp(zf_calibrate_names[i], name) != 0) continue;
    *out = (enum zf_calibrate)i;
    return 0;
  }
  return zf_error(ZF_EUSAGE, "calibration is one of none, contextual or batch, found '%s'", name);
}

/* --- check --- */

static int same_text(const char *left, const char *right) {
  return left == right || (left && right && !strcmp(left, right));
}

static int same_spec(const struct zf_data_spec *left, const struct zf_data_spec *right) {
  int same = left->type == right->type && left->noptions == right->noptions &&
             same_text(left->prompt, right->prompt);
  for (int64_t i = 0; same && left->options && right->options && i < left->noptions; i++)
    same = same_text(left->options[i], right->options[i]);
  return same;
}

/* The name of the first field of a template, for the caller to free; NULL: it has none. */
static int first_field(char **name, const char *text) {
  struct zf_template *parsed;
  *name = NULL;
  int rc = zf_template_parse(&parsed, text);
  if (rc) return rc;
  const char *field = zf_template_field(parsed, 0);
  if (field && !(*name = zf_strdup(field))) rc = ZF_ENOMEM;
  zf_template_free(parsed);
  return rc;
}

/* Options of classification are templates; those of other types are words or names. */
static int check_options(const struct zf_data_spec *spec) {
  if (spec->type != ZF_TASK_CLASSIFICATION) return 0;
  for (int64_t i = 0; i < spec->noptions; i++) {
    char *field;
    int rc = first_field(&field, spec->options[i]);
    if (!rc && field)
      rc = zf_error(ZF_EUSAGE,
                    "calibration needs options that are the same for every row: options[%lld] "
                    "reads the field '%s'",
                    (long long)i, field);
    free(field);
    if (rc) return rc;
  }
  return 0;
}

/* Word `index` of a list "a|b|c" and its length. */
static const char *word_of(const char *list, int index, int *len) {
  for (; index; index--) list += strcspn(list, "|") + 1;
  *len = (int)strcspn(list, "|");
  return list;
}

static int check_type(const struct zf_data_spec *spec) {
  int len;
  const char *type = word_of(ZF_TASK_TYPES, (int)spec->type, &len);
  if (!zf_task_has_options(spec->type) || spec->type == ZF_TASK_PREFERENCE)
    return zf_error(ZF_EUSAGE, "calibration is of options: data of type %.*s have none", len, type);
  if (spec->type == ZF_TASK_LABELS && spec->problem != ZF_PROBLEM_SINGLE)
    return zf_error(ZF_EUSAGE,
                    "calibration is for a choice of one option: problem_type %s has none",
                    zf_problem_names[spec->problem]);
  return 0;
}

int zf_calibrate_check(const struct zf_data_spec *const *spec, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int rc = check_type(spec[i]);
    if (!rc) rc = check_options(spec[i]);
    if (rc) return rc;
    if (i && !same_spec(spec[0], spec[i]))
      return zf_error(ZF_EUSAGE,
                      "calibration needs one prompt and one list of options: the files of the set "
                      "have several");
  }
  return 0;
}

/* --- pure functions --- */

/* log sum exp of value[0..count). */
static double log_sum_exp(const double *value, int64_t count) {
  double max = value[0], sum = 0;
  for (int64_t i = 1; i < count; i++)
    if (value[i] > max) max = value[i];
  for (int64_t i = 0; i < count; i++) sum += exp(value[i] - max);
  assert(sum > 0);
  return log(sum) + max;
}

void zf_calibrate_normalize(double *score, int64_t count, int64_t options) {
  for (int64_t i = 0; i < count; i++) {
    double *row = score + i * options, normalizer = log_sum_exp(row, options);
    for (int64_t o = 0; o < options; o++) row[o] -= normalizer;
  }
}

/* Sums of probabilities as logarithms: an option of probability 1e-400 keeps its size. */
void zf_calibrate_contextual(double *shift, const double *score, int64_t count, int64_t options) {
  for (int64_t o = 0; o < options; o++) shift[o] = 0;
  for (int64_t i = 0; i < count; i++) {
    const double *row = score + i * options;
    double normalizer = log_sum_exp(row, options) + log((double)count);
    for (int64_t o = 0; o < options; o++) {
      double both[] = {row[o] - normalizer, shift[o]};
      shift[o] = log_sum_exp(both, i ? 2 : 1);
    }
  }
}

void zf_calibrate_batch(double *shift, const double *score, int64_t count, int64_t options) {
  for (int64_t o = 0; o < options; o++) shift[o] = 0;
  for (int64_t i = 0; i < count; i++) {
    const double *row = score + i * options;
    double normalizer = log_sum_exp(row, options);
    for (int64_t o = 0; o < options; o++) shift[o] += row[o] - normalizer;
  }
  for (int64_t o = 0; o < options; o++) shift[o] /= (double)count;
}

void zf_calibrate_apply(double *score, int64_t count, int64_t options, const double *shift) {
  for (int64_t i = 0; i < count; i++)
    for (int64_t o = 0; o < options; o++) score[i * options + o] -= shift[o];
}

/* --- collecting --- */

static int grow_scores(struct zf_option_scores *scores) {
  int64_t cap = scores->cap ? 2 * scores->cap : 64;
  double *score = realloc(scores->score, (size_t)(cap * scores->options) * sizeof *score);
  if (score) scores->score = score;
  int32_t *label = realloc(scores->label, (size_t)cap * sizeof *label);
  if (label) scores->label = label;
  if (!score || !label) return ZF_ENOMEM;
  scores->cap = cap;
  return 0;
}

void zf_option_scores_watch(void *ctx, const double *score, const double *gold, int64_t count) {
  struct zf_option_scores *scores = ctx;
  (void)gold;
  if (scores->failed) return;
  if (count != scores->options) scores->failed = ZF_EINVALID;
  if (!scores->failed && scores->count == scores->cap) scores->failed = grow_scores(scores);
  if (scores->failed) return;
  memcpy(scores->score + scores->count * count, score, (size_t)count * sizeof *score);
  scores->label[scores->count++] = -1;
}

int zf_option_scores_ok(const struct zf_option_scores *scores) {
  if (scores->failed == ZF_EINVALID)
    return zf_error(ZF_EINVALID, "calibration: expected %lld options in every example",
                    (long long)scores->options);
  if (scores->failed)
    return zf_error(ZF_ENOMEM, "out of memory for the scores of %lld examples",
                    (long long)scores->count + 1);
  return 0;
}

void zf_option_scores_free(struct zf_option_scores *scores) {
  free(scores->score);
  free(scores->label);
  *scores = (struct zf_option_scores){.options = scores->options};
}

/* --- inputs without content --- */

/* A row in which every field that the template reads has the text. */
static int make_row(json_t **row, const struct zf_template *prompt, const char *text) {
  *row = json_object();
  int failed = !*row;
  for (int64_t i = 0; !failed && zf_template_field(prompt, i); i++)
    failed = json_object_set_new(*row, zf_template_field(prompt, i), json_string(text)) != 0;
  return failed ? zf_error(ZF_ENOMEM, "out of memory for a row") : 0;
}

/* Adds the input as a line of JSON, unless it is of no use. */
static int add_input(struct zf_buf *lines, int *used, const struct zf_data_spec *spec,
                     const struct zf_template *prompt, const char *text) {
  struct zf_buf rendered = {0};
  json_t *row = NULL;
  *used = spec->type != ZF_TASK_MASKED || strcmp(text, "[MASK]") != 0;
  if (!*used) return 0;
  int rc = make_row(&row, prompt, text);
  if (!rc) rc = zf_template_apply(prompt, row, &rendered);
  if (rc == ZF_EINVALID)
    rc = zf_error_prefix(ZF_EUSAGE, "contextual calibration by the text \"%s\"", text);
  *used = rendered.len > 0;
  char *line = !rc && *used ? json_dumps(row, JSON_COMPACT) : NULL;
  if (line) zf_buf_printf(lines, "%s\n", line);
  free(line);
  json_decref(row);
  zf_buf_free(&rendered);
  return rc ? rc : zf_buf_ok(lines);
}

static int make_lines(struct zf_buf *lines, int used[ZF_CONTENT_FREE],
                      const struct zf_data_spec *spec) {
  struct zf_template *prompt;
  int rc = zf_template_parse(&prompt, spec->prompt ? spec->prompt : "{prompt}");
  if (rc) return zf_error_prefix(rc, "prompt");
  for (int i = 0; !rc && i < ZF_CONTENT_FREE; i++)
    rc = add_input(lines, &used[i], spec, prompt, zf_content_free[i]);
  zf_template_free(prompt);
  return rc;
}

static int make_set(struct zf_dataset **out, int used[ZF_CONTENT_FREE],
                    const struct zf_data_spec *spec, const struct zf_tok *tok) {
  struct zf_data_spec unlabelled = *spec;
  struct zf_records *records = NULL;
  struct zf_buf lines = {0};
  unlabelled.unlabelled = 1;
  *out = NULL;
  int rc = make_lines(&lines, used, spec);
  if (!rc) rc = zf_records_parse(&records, lines.data, lines.len, "content-free.jsonl");
  if (!rc) rc = zf_dataset_new(out, spec->type);
  if (!rc) rc = zf_dataset_add(*out, records, NULL, 0, &unlabelled, tok);
  if (!rc) rc = zf_dataset_check(*out, "content-free");
  zf_records_free(records);
  zf_buf_free(&lines);
  return rc;
}

/* Scores the set by a scorer of its own: the limits of another one may not fit. */
static int score_set(struct zf_option_scores *scores, const struct zf_model *model,
                     const struct zf_dataset *dataset, enum zf_compute compute) {
  struct zf_limits limits =
      zf_score_limits((const struct zf_dataset *const *)&dataset, 1, dataset->count, 1);
  struct zf_perturb none = zf_perturb_none();
  struct zf_score *score = zf_calloc(dataset->count, sizeof *score);
  struct zf_forward *forward = NULL;
  struct zf_scorer *scorer = NULL;
  limits.compute = compute;
  int rc = score ? zf_forward_new(&forward, model, &limits) : ZF_ENOMEM;
  if (!rc) rc = zf_scorer_new(&scorer, forward, &limits);
  if (!rc) {
    zf_scorer_watch(scorer, zf_option_scores_watch, scores);
    rc = zf_score_examples(scorer, dataset, NULL, dataset->count, 0, &none, score);
  }
  if (!rc) rc = zf_option_scores_ok(scores);
  zf_scorer_free(scorer);
  zf_forward_free(forward);
  free(score);
  return rc;
}

int zf_calibrate_by_content_free(double *shift, int used[ZF_CONTENT_FREE],
                                 const struct zf_model *model, const struct zf_tok *tok,
                                 const struct zf_data_spec *spec, enum zf_compute compute) {
  struct zf_option_scores scores = {.options = spec->noptions};
  struct zf_dataset *dataset = NULL;
  int rc = make_set(&dataset, used, spec, tok);
  if (!rc) rc = score_set(&scores, model, dataset, compute);
  if (!rc) zf_calibrate_contextual(shift, scores.score, scores.count, scores.options);
  zf_option_scores_free(&scores);
  zf_dataset_free(dataset);
  return rc;
}
