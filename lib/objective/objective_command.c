/* A command: a process reads a line of JSON for each example, and answers with a line each.
 *
 *   {"prompt": "...", "generated": "...", "answer": "...", "answers": [...], "file": "...", "example": 17}
 *   {"loss": 0.25}        or        0.25
 *
 * All lines of a micro-batch are written at once.  The process is the same for the whole run. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "fmt/utf8.h"
#include "objective/objective_internal.h"

/* A text as JSON; bytes that are no UTF-8 become U+FFFD. */
static json_t *json_text(const char *text) {
  struct zf_buf valid = {0};
  int64_t bad;
  zf_buf_puts(&valid, "");
  while ((bad = zf_utf8_first_error(text, strlen(text))) >= 0) {
    zf_buf_add(&valid, text, (size_t)bad);
    zf_buf_puts(&valid, "\xef\xbf\xbd");
    text += bad + 1;
  }
  zf_buf_puts(&valid, text);
  json_t *value = zf_buf_ok(&valid) ? NULL : json_stringn(valid.data, valid.len);
  zf_buf_free(&valid);
  return value;
}

static json_t *json_answers(const struct zf_objective_example *example) {
  json_t *list = json_array();
  const char *answer = example->answers;
  for (int32_t i = 0; i < example->answer_count; i++, answer += strlen(answer) + 1)
    json_array_append_new(list, json_text(answer));
  return list;
}

static int add_request(struct zf_buf *out, const struct zf_objective_example *example) {
  json_t *request =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "prompt", json_text(example->prompt), "generated",
                json_text(example->text), "answer", json_text(example->answers), "answers",
                json_answers(example), "file", json_text(example->path), "example",
                (json_int_t)example->line);
  char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;
  json_decref(request);
  if (!line) return zf_error(ZF_ENOMEM, "out of memory");
  zf_buf_puts(out, line);
  zf_buf_putc(out, '\n');
  free(line);
  return zf_buf_ok(out);
}

/* Puts the place of the line in front of the error. */
static int at_line(const struct zf_objective *objective, int rc) {
  return zf_error_prefix(rc, "objective_command '%s': line %lld", objective->settings->command,
                         (long long)objective->lines + 1);
}

static int parse_answer(struct zf_objective *objective, double *value, const char *line,
                        size_t len) {
  struct zf_json_fault fault;
  json_t *answer = NULL;
  int rc = zf_json_read(&answer, line, len, JSON_DECODE_ANY, &fault);
  const json_t *number = json_is_object(answer) ? json_object_get(answer, "loss") : answer;
  int good = !rc && json_is_number(number) && isfinite(json_number_value(number));
  if (good) *value = json_number_value(number);
  json_decref(answer);
  if (good) {
    objective->lines++;
    return 0;
  }
  rc = zf_error(ZF_EFAIL, "expected {\"loss\": number} or a number, found '%.*s'",
                (int)(len < 80 ? len : 80), line);
  return at_line(objective, rc);
}

static int parse_answers(struct zf_objective *objective, const struct zf_buf *answers,
                         double *value) {
  const char *line = answers->data;
  int rc = 0;
  for (int64_t i = 0; !rc && line; i++) {
    const char *end = strchr(line, '\n');
    if (!end) return rc;
    rc = parse_answer(objective, &value[i], line, (size_t)(end - line));
    line = end + 1;
  }
  return rc;
}

/* The lines that came before a failure are read first: they may be the reason. */
static int ask(struct zf_objective *objective, const struct zf_buf *requests, int64_t count,
               double *value) {
  struct zf_buf answers = {0};
  char reason[256] = "";
  int failed = zf_child_exchange(objective->child, requests->data, requests->len, count,
                                 objective->settings->timeout, objective->stopped,
                                 objective->stopped_ctx, &answers);
  if (failed) snprintf(reason, sizeof reason, "%s", zf_error_message());
  int rc = failed == ZF_ESTOPPED ? failed : parse_answers(objective, &answers, value);
  zf_buf_free(&answers);
  if (rc || !failed) return rc;
  rc = zf_error(failed, "expected {\"loss\": number} or a number, found none: %s", reason);
  return at_line(objective, rc);
}

static int ask_command(struct zf_objective *objective, const struct zf_objective_example *example,
                       int64_t count, double *value) {
  struct zf_buf requests = {0};
  int rc = objective->child ? 0 : zf_child_open(&objective->child, objective->settings->command);
  for (int64_t i = 0; i < count && !rc; i++) rc = add_request(&requests, &example[i]);
  if (!rc && count) rc = ask(objective, &requests, count, value);
  zf_buf_free(&requests);
  return rc;
}

const struct zf_objective_kind zf_objective_command = {
    .name = "command",
    .needs = ZF_NEEDS_TEXT,
    .types = 1u << ZF_TASK_COMPLETION | 1u << ZF_TASK_CHAT | 1u << ZF_TASK_ALPACA |
             1u << ZF_TASK_SEGMENTS,
    .piecewise = 1,
    .values = ask_command};
