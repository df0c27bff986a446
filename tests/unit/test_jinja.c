/* Chat templates: rendered as Transformers renders them (tests/golden/make_chat.py), and
 * what is refused, by line and construct. */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/json.h"
#include "task/jinja.h"

static char *read_template(const char *name) {
  char path[128], *text;
  snprintf(path, sizeof path, "tests/golden/chat/%s.jinja", name);
  ck_ok(zf_read_file(&text, NULL, path, 1 << 20));
  return text;
}

static void same_spans(const json_t *want, const struct zf_text_spans *got, const char *name) {
  ck_assert_msg(json_array_size(want) == (size_t)got->count, "%s: %lld spans", name,
                (long long)got->count);
  for (int64_t i = 0; i < got->count; i++) {
    const json_t *w = json_array_get(want, (size_t)i);
    ck_assert_int_eq(json_integer_value(json_array_get(w, 0)), got->span[i].from);
    ck_assert_int_eq(json_integer_value(json_array_get(w, 1)), got->span[i].to);
  }
}

static void one_case(const json_t *c) {
  const char *name = json_string_value(json_array_get(c, 0));
  const json_t *want = json_array_get(c, 2);
  char *text = read_template(name);
  struct zf_jinja *t;
  struct zf_buf out = {0};
  struct zf_text_spans spans = {0};
  ck_ok(zf_jinja_parse(&t, text, name));
  int rc = zf_jinja_render(t, json_array_get(c, 1), 0, &out, &spans);
  if (json_is_null(want)) {
    ck_assert_msg(rc == ZF_EINVALID, "%s: not refused", name);
  } else {
    ck_assert_msg(rc == 0, "%s: %s", name, zf_error_message());
    ck_assert_msg(!strcmp(out.data, json_string_value(want)), "%s:\n--- wanted\n%s\n--- found\n%s",
                  name, json_string_value(want), out.data);
    if (zf_jinja_has_generation(t)) same_spans(json_array_get(c, 3), &spans, name);
  }
  zf_buf_free(&out);
  free(spans.span);
  free(text);
  zf_jinja_free(t);
}

START_TEST(test_golden) {
  json_t *root, *c;
  size_t i;
  ck_ok(zf_json_load(&root, "tests/golden/chat/golden.json"));
  ck_assert_uint_ge(json_array_size(json_object_get(root, "cases")), 100);
  json_array_foreach(json_object_get(root, "cases"), i, c) one_case(c);
  json_decref(root);
}
END_TEST

static const struct {
  const char *text, *part;
} refused[] = {
    {"a\n{% include 'x' %}", "t:2: tag 'include' is not supported"},
    {"{{ x | xmlattr }}", "t:1: filter 'xmlattr' is not supported"},
    {"{% if x is sameas y %}{% endif %}", "t:1: test 'sameas' is not supported"},
    {"{% for a in b recursive %}{% endfor %}", "loop option 'recursive' is not supported"},
    {"{{ f(*a) }}", "argument '*' is not supported"},
    {"{% if a %}b", "expected elif, found the end of the template"},
    {"{% for a b %}", "expected 'in', found 'b'"},
    {"{% break %}", "expected a loop around it, found 'break'"},
    {"{{ a", "the tag has no '}}'"},
    {"{# a", "a comment has no '#}'"},
    {"{% raw %}a", "'raw' has no 'endraw'"},
    {"{{ 'a }}", "a string has no end"},
    {"{{ a ? b }}", "unexpected '?'"},
    {"{{ a b }}", "expected the end of the tag, found 'b'"},
    {"\n\n{{ nothing.at }}", "t:3: 'nothing' is undefined"},
    {"{{ 1 + 'a' }}", "'+' of an integer and a string is not supported"},
    {"{{ 1 // 0 }}", "division by zero"},
    {"{{ 9223372036854775807 + 1 }}", "a number grows too large"},
    {"{{ raise_exception('no ' ~ 1) }}", "the template refuses: no 1"},
    {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "steps"},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested more than"},
    {"{% set n = namespace(a='x') %}{% for i in range(64) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
     "grows too large"},
    {"{% set n = namespace(a=[1]) %}{% for i in range(64) %}{% set n.a = [n.a, n.a] %}{% endfor %}"
     "{{ n.a }}",
     "steps"},
    {"{% set n = namespace() %}{% set n.a = n %}", "a namespace cannot be kept in a namespace"},
    {"{{ [namespace()] }}", "a namespace cannot be kept in a list"},
    {"{% set n = namespace(x=[]) %}{% for i in range(1000000) %}{% set n.x = [n.x] %}{% endfor %}",
     "t:1: a value nested more than 2048 deep"},
    {"{% set n = namespace(x={}) %}{% for i in range(1000000) %}{% set n.x = {'a': n.x, 'b': 1} "
     "%}{% endfor %}",
     "t:1: a value nested more than 2048 deep"},
    {"{% set n = namespace(x=[]) %}{% for i in range(1000000) %}{% set n.x = dict(a=(n.x, "
     "1)).items() %}{% endfor %}",
     "t:1: a value nested more than 2048 deep"},
    {"{% set x.y = 1 %}", "only a namespace can be assigned to"},
    {"{{ 'a'.encode() }}", "'encode' is undefined"},
    {"{% macro m() %}{% generation %}{% endgeneration %}{% endmacro %}{{ m() }}",
     "'generation' inside a macro"},
};
enum { REFUSED = sizeof refused / sizeof *refused };

START_TEST(test_refused) {
  struct zf_jinja *t = NULL;
  struct zf_buf out = {0};
  json_t *none = json_object();
  int rc = zf_jinja_parse(&t, refused[_i].text, "t");
  if (!rc) rc = zf_jinja_render(t, none, 0, &out, NULL);
  ck_assert_msg(rc == ZF_EINVALID, "%s: %d", refused[_i].text, rc);
  ck_assert_msg(strstr(zf_error_message(), refused[_i].part) != NULL, "'%s' lacks '%s'",
                zf_error_message(), refused[_i].part);
  json_decref(none);
  zf_buf_free(&out);
  zf_jinja_free(t);
}
END_TEST

/* Nesting that grows by a statement at a time. */
START_TEST(test_deep_sets) {
  static const char *const set[] = {"{% set x = [x] %}", "{% set x = namespace(x=[x.x]) %}"};
  for (int k = 0; k < 2; k++) {
    struct zf_buf b = {0}, out = {0};
    struct zf_jinja *t;
    json_t *none = json_object();
    zf_buf_puts(&b, k ? "{% set x = namespace(x=1) %}" : "{% set x = 1 %}");
    for (int i = 0; i < 50000; i++) zf_buf_puts(&b, set[k]);
    ck_ok(zf_jinja_parse(&t, b.data, "t"));
    ck_fails(zf_jinja_render(t, none, 0, &out, NULL), ZF_EINVALID,
             "a value nested more than 2048 deep");
    zf_jinja_free(t);
    json_decref(none);
    zf_buf_free(&out);
    zf_buf_free(&b);
  }
}
END_TEST

/* What Python writes of tuples and of a mapping's views, as Jinja 3.1 prints it. */
START_TEST(test_tuples) {
  static const struct {
    const char *text, *want;
  } c[] = {
      {"{{ (1, 'a') }}", "(1, 'a')"},
      {"{{ (1,) }}", "(1,)"},
      {"{{ () }}", "()"},
      {"{{ [(1, [2, (3,)])] }}", "[(1, [2, (3,)])]"},
      {"{% set x = 1, 2 %}{{ x }}", "(1, 2)"},
      {"{{ {'a': 1, 'b': [2]}.items() }}", "dict_items([('a', 1), ('b', [2])])"},
      {"{{ {'a': 1}.items() | list }}", "[('a', 1)]"},
      {"{{ {'a': 1}.keys() }}{{ {'a': 1}.keys() | list }}", "dict_keys(['a'])['a']"},
      {"{{ {'a': 1}.values() }}", "dict_values([1])"},
      {"{{ {'b': 1, 'a': 2} | dictsort }}", "[('a', 2), ('b', 1)]"},
      {"{{ (1, 2) | tojson }}{{ (1, 2) | list }}", "[1, 2][1, 2]"},
      {"{% for k, v in {'a': 1}.items() %}{{ k ~ v }}{% endfor %}", "a1"},
      {"{{ 'x' ~ (1, 2) }}", "x(1, 2)"},
  };
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    struct zf_jinja *t;
    struct zf_buf out = {0};
    json_t *none = json_object();
    ck_ok(zf_jinja_parse(&t, c[i].text, "t"));
    ck_ok(zf_jinja_render(t, none, 0, &out, NULL));
    ck_assert_str_eq(out.data, c[i].want);
    json_decref(none);
    zf_buf_free(&out);
    zf_jinja_free(t);
  }
}
END_TEST

START_TEST(test_deep) {
  struct zf_buf b = {0};
  struct zf_jinja *t;
  zf_buf_puts(&b, "{{ ");
  for (int i = 0; i < 100000; i++) zf_buf_putc(&b, '(');
  for (int i = 0; i < 100000; i++) zf_buf_putc(&b, ')');
  zf_buf_puts(&b, " }}");
  ck_fails(zf_jinja_parse(&t, b.data, "t"), ZF_EINVALID, "nested more than");
  zf_buf_free(&b);
}
END_TEST

START_TEST(test_now) {
  struct zf_jinja *t;
  struct zf_buf out = {0};
  json_t *none = json_object();
  ck_ok(zf_jinja_parse(&t, "{{ strftime_now('%Y-%m') }}", "t"));
  ck_ok(zf_jinja_render(t, none, 1700000000, &out, NULL));
  ck_assert_str_eq(out.data, "2023-11");
  json_decref(none);
  zf_buf_free(&out);
  zf_jinja_free(t);
}
END_TEST

/* What recipes of tasks rest on. */
static const struct {
  const char *text, *want; /* NULL: an error that holds `part` */
  const char *part;
} strict[] = {
    {"{{ choices.label.index(answer) }}", "1"},
    {"{{ s.index('_') }}|{{ s[:s.index('_')] + 'x' }}", "3|ab x"},
    {"{{ {'cause': 'because'}[q] }}", "because"},
    {"a\n{% if q == 'cause' %}\n  b\n  {% endif %}\n", "a\n\n  b\n  \n"},
    {"{{ gone is defined }}{{ gone|default('d') }}", "Falsed"},
    {"{{ gone }}", NULL, "'gone' is undefined"},
    {"{{ 'x' ~ gone }}", NULL, "'gone' is undefined"},
    {"{{ gone|trim }}", NULL, "'gone' is undefined"},
    {"{% if gone %}{% endif %}", NULL, "'gone' is undefined"},
    {"{{ 1 if gone else 2 }}", NULL, "'gone' is undefined"},
    {"{{ gone == 1 }}", NULL, "'gone' is undefined"},
    {"{{ gone or 1 }}", NULL, "'gone' is undefined"},
    {"{{ not gone }}", NULL, "'gone' is undefined"},
    {"{{ choices.label.index('Z') }}", NULL, "no such item"},
    {"{{ s.index('?') }}", NULL, "is not in the text"},
};

static json_t *strict_vars(void) {
  static const char text[] = "{\"choices\": {\"label\": [\"A\", \"B\"]}, \"answer\": \"B\","
                             " \"q\": \"cause\", \"s\": \"ab _ cd\"}";
  json_t *v = NULL;
  ck_ok(zf_json_parse(&v, text, strlen(text), "t"));
  return v;
}

START_TEST(test_strict) {
  struct zf_jinja *t;
  struct zf_buf out = {0};
  json_t *vars = strict_vars();
  ck_ok(zf_jinja_parse_as(&t, strict[_i].text, "t", ZF_JINJA_STRICT | ZF_JINJA_PLAIN));
  if (strict[_i].want) {
    ck_ok(zf_jinja_render(t, vars, 0, &out, NULL));
    ck_assert_str_eq(out.data, strict[_i].want);
  } else {
    ck_fails(zf_jinja_render(t, vars, 0, &out, NULL), ZF_EINVALID, strict[_i].part);
  }
  zf_buf_free(&out);
  zf_jinja_free(t);
  json_decref(vars);
}
END_TEST

START_TEST(test_value) {
  struct zf_jinja *t;
  json_t *vars = strict_vars(), *v;
  ck_ok(zf_jinja_parse_as(&t, "{{ [s, choices.label] }}", "t", ZF_JINJA_STRICT | ZF_JINJA_PLAIN));
  ck_ok(zf_jinja_value(t, vars, &v));
  ck_assert_str_eq(json_string_value(json_array_get(v, 0)), "ab _ cd");
  ck_assert_uint_eq(json_array_size(json_array_get(v, 1)), 2);
  json_decref(v);
  zf_jinja_free(t);
  ck_ok(zf_jinja_parse_as(&t, "{{ gone }}", "t", 0));
  ck_fails(zf_jinja_value(t, vars, &v), ZF_EINVALID, "'gone' is undefined");
  zf_jinja_free(t);
  ck_ok(zf_jinja_parse_as(&t, "{{ s }} ", "t", ZF_JINJA_PLAIN));
  ck_fails(zf_jinja_value(t, vars, &v), ZF_EINVALID, "nothing else");
  zf_jinja_free(t);
  json_decref(vars);
}
END_TEST

int main(void) {
  Suite *s = suite_create("jinja");
  TCase *c = tcase_create("templates");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, test_golden);
  tcase_add_loop_test(c, test_refused, 0, REFUSED);
  tcase_add_test(c, test_deep_sets);
  tcase_add_test(c, test_tuples);
  tcase_add_test(c, test_deep);
  tcase_add_test(c, test_now);
  tcase_add_loop_test(c, test_strict, 0, sizeof strict / sizeof *strict);
  tcase_add_test(c, test_value);
  suite_add_tcase(s, c);
  return unit_run(s);
}
