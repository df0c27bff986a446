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
  refuse("[\"\\u0000\"]", "\\u0000 is not allowed");
  refuse("[99999999999999999999]", "too big integer");
  refuse("[1e999]", "real number overflow");
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
  tcase_add_test(t, test_depth);
  tcase_add_test(t, test_lookups);
  tcase_add_test(t, test_load);
  suite_add_tcase(s, t);
  return unit_run(s);
}
