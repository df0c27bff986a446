/* Operators of the template interpreter, as Python has them. */
#include <math.h>
#include <string.h>

#include "fmt/json.h"
#include "jinja_internal.h"

int zj_concat(struct zj_env *env, struct zj_value *out, const struct zj_value *left,
              const struct zj_value *right) {
  struct zf_buf text = {0};
  int rc = zj_str(env, &text, left);
  if (!rc) rc = zj_str(env, &text, right);
  if (!rc && text.len > ZF_JINJA_BYTES)
    rc = zj_fail(env, "a text grows too large: at most %d bytes", ZF_JINJA_BYTES);
  if (!rc) rc = zj_text(env, out, text.data, text.len);
  zf_buf_free(&text);
  return rc;
}

/* // and % round towards minus infinity. */
static int integer_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, int64_t x,
                              int64_t y) {
  int64_t result = 0;
  int overflow = 0;
  if ((*op == '%' || !strcmp(op, "//")) && y == 0) return zj_fail(env, "division by zero");
  if (*op == '+')
    overflow = __builtin_add_overflow(x, y, &result);
  else if (*op == '-')
    overflow = __builtin_sub_overflow(x, y, &result);
  else if (*op == '*')
    overflow = __builtin_mul_overflow(x, y, &result);
  else if (y == -1)
    overflow = *op == '/' && __builtin_sub_overflow((int64_t)0, x, &result);
  else if (*op == '%')
    result = x % y + (x % y && (x % y < 0) != (y < 0) ? y : 0);
  else
    result = x / y - (x % y && (x < 0) != (y < 0));
  if (overflow) return zj_fail(env, "a number grows too large");
  return zj_int(env, out, result);
}

static double real_result(const char *op, double x, double y) {
  if (!strcmp(op, "**")) return pow(x, y);
  if (!strcmp(op, "//")) return floor(x / y);
  switch (*op) {
    case '+':
      return x + y;
    case '-':
      return x - y;
    case '*':
      return x * y;
    case '%':
      return x - y * floor(x / y);
    default:
      return x / y;
  }
}

static int real_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, double x,
                           double y) {
  double result = real_result(op, x, y);
  if (!isfinite(result)) return zj_fail(env, "%g %s %g is no number", x, op, y);
  return zj_keep(env, out, json_real(result), 0);
}

static int concat_lists(struct zj_env *env, struct zj_value *out, const json_t *left,
                        const json_t *right) {
  int64_t count = (int64_t)(json_array_size(left) + json_array_size(right));
  int rc = zj_keep(env, out, json_array(), count * 8);
  if (rc) return rc;
  json_array_extend(out->json, (json_t *)left);
  json_array_extend(out->json, (json_t *)right);
  return 0;
}

static int repeat(struct zj_env *env, struct zj_value *out, const char *text, int64_t times) {
  struct zf_buf buf = {0};
  size_t len = strlen(text);
  if (times > 0 && len * (uint64_t)times / (uint64_t)times == len &&
      len * (uint64_t)times > 1 << 20)
    return zj_fail(env, "a text grows too large: at most %d bytes", 1 << 20);
  if (len)
    for (int64_t i = 0; i < times; i++) zf_buf_add(&buf, text, len);
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zj_text(env, out, buf.data, buf.len);
  zf_buf_free(&buf);
  return rc;
}

/* True and false count as 1 and 0. */
static int is_numeric(const json_t *value) {
  return json_is_number(value) || json_is_boolean(value);
}

static double real_of(const json_t *value) {
  return json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
}

static int64_t integer_of(const json_t *value) {
  return json_is_integer(value) ? json_integer_value(value) : json_is_true(value);
}

static int numbers(struct zj_env *env, struct zj_value *out, const char *op, const json_t *left,
                   const json_t *right) {
  double x = real_of(left), y = real_of(right);
  if (json_is_real(left) || json_is_real(right) || !strcmp(op, "/"))
    return real_arithmetic(env, out, op, x, y);
  if (strcmp(op, "**"))
    return integer_arithmetic(env, out, op, integer_of(left), integer_of(right));
  if (y >= 0 && fabs(pow(x, y)) < 9e15) return zj_int(env, out, (int64_t)pow(x, y));
  return real_arithmetic(env, out, op, x, y);
}

int zj_arithmetic(struct zj_env *env, struct zj_value *out, const char *op, const json_t *left,
                  const json_t *right) {
  if (is_numeric(left) && is_numeric(right)) return numbers(env, out, op, left, right);
  if (*op == '+' && json_is_array(left) && json_is_array(right))
    return concat_lists(env, out, left, right);
  if (!strcmp(op, "*") && json_is_string(left) && json_is_integer(right))
    return repeat(env, out, json_string_value(left), json_integer_value(right));
  return zj_fail(env, "'%s' of %s and %s is not supported", op, zf_json_kind(left),
                 zf_json_kind(right));
}
