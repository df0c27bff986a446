/* JSON: positions of mistakes, limits, typed lookups. */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/json.h"

static json_t *parse(const char *text) {
  json_t *v;
  ck_ok(zf_json_parse(&v, text, strlen(text), "t.json"));
  return v;
}

static void refuse(const char *text, const char *part) {
  json_t *v;
  ck_fails(zf_json_parse(&v, text, strlen(text), "t.json"), ZF_EINVALID, part);
  ck_assert_ptr_null(v);
}

START_TEST(test_accepts) {
  static const char *const good[] = {
      "{}", "[]", " {\"a\": [1, -2.5e3, true, null, \"\\u00e9\"]} ", "3", "null", "\"x\""};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) json_decref(parse(good[i]));
}
END_TEST

START_TEST(test_positions) {
  refuse("", "t.json:1:0: ");
  refuse("{\"a\": 1,}", "t.json:1:9: ");
  refuse("{\n  \"a\": 1,\n  \"a\": 2\n}", "t.json:3:5: duplicate object key");
  refuse("[1, 2] x", "t.json:1:8: end of file expected");
  refuse("{\"a\": tru}", "t.json:1:9: invalid token");
  refuse("[\"\xff\"]", "t.json:1:2: unable to decode byte 0xff");
  refuse("[\"\\u0000\"]",
         "t.json:1:9: a string holds \\u0000, the zero character, which zoft's texts cannot "
         "hold: remove it or write another character for it");
}
END_TEST

/* What Python's json writes and Jansson refuses. */
START_TEST(test_wide) {
  static const char text[] =
      "{\"a\": 1000000000000000019884624838656, \"b\": [NaN, -Infinity,Infinity],\n"
      " \"c\": -9223372036854775809, \"d\": 1e999, \"NaN\": \"NaN \\\" 1e999\",\n"
      " \"e\": -9223372036854775808}";
  json_t *o = parse(text);
  int64_t i = 5;
  double d = 0;
  const char *s;
  ck_assert_str_eq(zf_json_wide(json_object_get(o, "a")), "1000000000000000019884624838656");
  ck_assert_ptr_null(zf_json_wide(json_object_get(o, "NaN")));
  ck_assert_ptr_null(zf_json_wide(o));
  ck_ok(zf_json_int(&i, o, "e", "f"));
  ck_assert(i == INT64_MIN);
  ck_ok(zf_json_str(&s, o, "NaN", "f"));
  ck_assert_str_eq(s, "NaN \" 1e999");
  ck_ok(zf_json_num(&d, o, "a", "f"));
  ck_assert(d == 1000000000000000019884624838656.0);
  ck_fails(zf_json_int(&i, o, "a", "f"), ZF_EINVALID,
           "f: key 'a': expected an integer, found 1000000000000000019884624838656");
  ck_fails(zf_json_num(&d, o, "d", "f"), ZF_EINVALID, "key 'd': expected a number, found 1e999");
  ck_fails(zf_json_str(&s, o, "c", "f"), ZF_EINVALID,
           "expected a string, found -9223372036854775809");
  char *out = zf_json_dump(o, JSON_COMPACT);
  ck_assert_str_eq(out, "{\"a\":1000000000000000019884624838656,\"b\":[NaN,-Infinity,Infinity],"
                        "\"c\":-9223372036854775809,\"d\":1e999,\"NaN\":\"NaN \\\" 1e999\","
                        "\"e\":-9223372036854775808}");
  free(out);
  out = zf_json_dump(json_object_get(o, "b"), JSON_INDENT(2));
  ck_assert_str_eq(out, "[\n  NaN,\n  -Infinity,\n  Infinity\n]");
  free(out);
  json_decref(o);
}
END_TEST

/* Places behind a rewritten number are those of the file. */
START_TEST(test_wide_positions) {
  refuse("[NaN, Infinity, 1,]", "t.json:1:19: unexpected token near ']'");
  refuse("[NaN,\n 1e999, 3 4]", "t.json:2:11: ");
  refuse("[NaNa]", "t.json:1:5: ");
  refuse("[-NaN]", "t.json:1:2: ");
  refuse("[099999999999999999999999]", "t.json:1:2: ");
  refuse("[infinity]", "t.json:1:9: ");
}
END_TEST

static int64_t left;

static void *failing_malloc(size_t n) {
  return left-- > 0 ? malloc(n) : NULL;
}

/* Each allocation of a parse in turn fails: memory, never the file's fault. */
START_TEST(test_memory) {
  static const char text[] =
      "{\"a\": [\"text\", 1, NaN], \"b\": {\"c\": \"a longer text than fits\"}}";
  json_t *v = NULL;
  int rc = ZF_ENOMEM;
  json_set_alloc_funcs(failing_malloc, free);
  for (int64_t n = 0; rc; n++) {
    ck_assert_int_lt(n, 1000);
    left = n;
    rc = zf_json_parse(&v, text, strlen(text), "m");
    if (rc) ck_assert_int_eq(rc, ZF_ENOMEM);
    if (rc) ck_assert_str_eq(zf_error_message(), "m: out of memory for its JSON");
  }
  left = 1000;
  json_decref(v);
}
END_TEST

/* A value that is built without asking each time is asked for once. */
START_TEST(test_checked) {
  json_set_alloc_funcs(failing_malloc, free);
  int64_t before = zf_json_failures();
  left = 1000;
  json_t *list = json_array();
  ck_assert_int_eq(zf_json_check_memory(0, before, "x"), 0);
  left = 0;
  json_array_append_new(list, json_string("lost"));
  left = 1000;
  ck_fails(zf_json_check_memory(0, before, "x"), ZF_ENOMEM, "x: out of memory");
  ck_fails(zf_json_check_memory(ZF_EINVALID, before, "x"), ZF_ENOMEM, "x: out of memory");
  ck_assert_int_eq(zf_json_check_memory(ZF_EINVALID, zf_json_failures(), "x"), ZF_EINVALID);
  json_decref(list);
}
END_TEST

START_TEST(test_depth) {
  enum { DEEP = 200000 };
  char *text = malloc(2 * DEEP);
  json_t *v;
  memset(text, '[', DEEP);
  memset(text + DEEP, ']', DEEP);
  ck_fails(zf_json_parse(&v, text, 2 * DEEP, "deep"), ZF_EINVALID, "maximum parsing depth");
  ck_ok(zf_json_parse(&v, text + DEEP - 1000, 2000, "deep"));
  json_decref(v);
  free(text);
}
END_TEST

START_TEST(test_lookups) {
  json_t *o = parse("{\"i\": 7, \"r\": 0.5, \"b\": true, \"s\": \"x\", \"z\": null, \"a\": []}");
  int64_t i = -1;
  double d = -1;
  int b = -1;
  const char *s = "unset";
  ck_ok(zf_json_int(&i, o, "missing", "f"));
  ck_ok(zf_json_int(&i, o, "z", "f"));
  ck_assert_int_eq(i, -1);
  ck_ok(zf_json_int(&i, o, "i", "f"));
  ck_assert_int_eq(i, 7);
  ck_ok(zf_json_num(&d, o, "i", "f"));
  ck_assert(d == 7);
  ck_ok(zf_json_num(&d, o, "r", "f"));
  ck_assert(d == 0.5);
  ck_ok(zf_json_bool(&b, o, "b", "f"));
  ck_assert_int_eq(b, 1);
  ck_ok(zf_json_str(&s, o, "z", "f"));
  ck_assert_str_eq(s, "unset");
  ck_ok(zf_json_str(&s, o, "s", "f"));
  ck_assert_str_eq(s, "x");
  ck_fails(zf_json_int(&i, o, "s", "f"), ZF_EINVALID,
           "f: key 's': expected an integer, found a string");
  ck_fails(zf_json_int(&i, o, "r", "f"), ZF_EINVALID, "found a real number");
  ck_fails(zf_json_num(&d, o, "b", "f"), ZF_EINVALID, "expected a number, found true");
  ck_fails(zf_json_bool(&b, o, "i", "f"), ZF_EINVALID, "expected true or false, found an integer");
  ck_fails(zf_json_str(&s, o, "a", "f"), ZF_EINVALID, "expected a string, found an array");
  ck_assert_int_eq(i, 7);
  json_decref(o);
}
END_TEST

START_TEST(test_load) {
  json_t *v;
  const char *path = tmp_path("x.json");
  ck_fails(zf_json_load(&v, path), ZF_EUSAGE, "x.json");
  ck_assert_ptr_null(v);
  ck_ok(zf_write_file(path, "", 0));
  ck_fails(zf_json_load(&v, path), ZF_EINVALID, "x.json:1:0: ");
  ck_ok(zf_write_file(path, "{\"a\": 1}\n", 9));
  ck_ok(zf_json_load(&v, path));
  ck_assert_int_eq(json_object_size(v), 1);
  json_decref(v);
}
END_TEST

int main(void) {
  Suite *s = suite_create("json");
  TCase *t = tcase_create("json");
  tcase_add_test(t, test_accepts);
  tcase_add_test(t, test_positions);
  tcase_add_test(t, test_wide);
  tcase_add_test(t, test_wide_positions);
  tcase_add_test(t, test_memory);
  tcase_add_test(t, test_checked);
  tcase_add_test(t, test_depth);
  tcase_add_test(t, test_lookups);
  tcase_add_test(t, test_load);
  suite_add_tcase(s, t);
  return unit_run(s);
}
