/* Data files: each format, its mistakes with their places, hostile input. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "fmt/records.h"

static struct zf_records *parse(const char *name, const char *text) {
  struct zf_records *r;
  ck_ok(zf_records_parse(&r, text, strlen(text), name));
  return r;
}

/* Checks the rows, each as compact JSON and its line, and frees them. */
static void check(struct zf_records *r, int64_t n, const char *const *rows, const int *lines) {
  ck_assert_int_eq(r->count, n);
  for (int64_t i = 0; i < n; i++) {
    char *text = json_dumps(zf_records_row(r, i), JSON_COMPACT);
    ck_assert_str_eq(text, rows[i]);
    ck_assert_int_eq(zf_records_line(r, i), lines[i]);
    free(text);
  }
  zf_records_free(r);
}

#define ROWS(...)                                                                                  \
  (const char *const[]) {                                                                          \
    __VA_ARGS__                                                                                    \
  }
#define LINES(...)                                                                                 \
  (const int[]) {                                                                                  \
    __VA_ARGS__                                                                                    \
  }

START_TEST(test_jsonl) {
  check(parse("a.jsonl", "{\"a\": 1}\n\n  \r\n{\"a\": [2]}\r\n{\"b\": \"\xc3\xa9\\u0041\"}"), 3,
        ROWS("{\"a\":1}", "{\"a\":[2]}",
             "{\"b\":\"\xc3\xa9"
             "A\"}"),
        LINES(1, 4, 5));
  check(parse("a.NDJSON", "\xef\xbb\xbf{\"a\": 1}\n"), 1, ROWS("{\"a\":1}"), LINES(1));
}
END_TEST

START_TEST(test_json) {
  check(parse("a.json", " [\n {\"a\": 1},\n\n {\"a\":\n 2} , {\"a\": 3}\n]\n"), 3,
        ROWS("{\"a\":1}", "{\"a\":2}", "{\"a\":3}"), LINES(2, 4, 5));
  check(parse("a.json", "{\"a\": 1}\n{\"a\": 2}\n"), 2, ROWS("{\"a\":1}", "{\"a\":2}"),
        LINES(1, 2));
  check(parse("a.json", "{\n  \"a\": 1\n}\n"), 1, ROWS("{\"a\":1}"), LINES(1));
  check(parse("a.json", " [ ] "), 0, NULL, NULL);
}
END_TEST

/* Numbers of Python's json that no field reads; each row of an array is rewritten alone. */
START_TEST(test_wide_numbers) {
  struct zf_records *r =
      parse("a.json", "[{\"a\": NaN, \"b\": \"x\"},\n {\"a\": 18446744073709551615}, {\"a\": 1}]");
  const json_t *row = zf_records_row(r, 1);
  ck_assert_int_eq(r->count, 3);
  ck_assert_str_eq(zf_json_wide(json_object_get(row, "a")), "18446744073709551615");
  ck_assert_int_eq(zf_records_line(r, 1), 2);
  zf_records_free(r);
  r = parse("a.jsonl", "{\"a\": NaN, \"b\": \"x\"}\n{\"a\": Infinity}\n");
  ck_assert_str_eq(json_string_value(json_object_get(zf_records_row(r, 0), "b")), "x");
  zf_records_free(r);
  ck_fails(zf_records_parse(&r, "{\"a\": NaN}\n{\"a\": NaN, 1}\n", 25, "a.jsonl"), ZF_EINVALID,
           "a.jsonl:2:12: string or '}' expected near '1'");
  ck_fails(zf_records_parse(&r, "{\"a\": 1}\nNaN\n", 13, "a.jsonl"), ZF_EINVALID,
           "a.jsonl:2:1: expected an object, found NaN");
}
END_TEST

START_TEST(test_csv) {
  check(parse("a.csv", "text,label\r\n\"a, \"\"b\"\"\nc\",1\r\n\nplain text ,\n\"\",\"x\"\r\n"), 3,
        ROWS("{\"text\":\"a, \\\"b\\\"\\nc\",\"label\":\"1\"}",
             "{\"text\":\"plain text \",\"label\":\"\"}", "{\"text\":\"\",\"label\":\"x\"}"),
        LINES(2, 5, 6));
  check(parse("a.csv", "\xef\xbb\xbf\"a\"\n1\n\"\"\n\"2\""), 3,
        ROWS("{\"a\":\"1\"}", "{\"a\":\"\"}", "{\"a\":\"2\"}"), LINES(2, 3, 4));
  check(parse("a.csv", ",b\n0,x\n1,"), 2,
        ROWS("{\"\":\"0\",\"b\":\"x\"}", "{\"\":\"1\",\"b\":\"\"}"), LINES(2, 3));
  check(parse("a.csv", "a,b\n"), 0, NULL, NULL);
  check(parse("a.csv", "a\n\"x\r\ny\"\r"), 1, ROWS("{\"a\":\"x\\r\\ny\"}"), LINES(2));
}
END_TEST

START_TEST(test_tsv) {
  check(parse("a.tsv", "sentence\tlabel\nit's \"fine\"\t1\r\n\n\"\t\n"), 2,
        ROWS("{\"sentence\":\"it's \\\"fine\\\"\",\"label\":\"1\"}",
             "{\"sentence\":\"\\\"\",\"label\":\"\"}"),
        LINES(2, 4));
}
END_TEST

START_TEST(test_txt) {
  check(parse("a.txt", "one\n\n \t\r\ntwo, \"2\"\r\nthree"), 3,
        ROWS("{\"text\":\"one\"}", "{\"text\":\"two, \\\"2\\\"\"}", "{\"text\":\"three\"}"),
        LINES(1, 4, 5));
}
END_TEST

static struct zf_records *sampled(const char *text, enum zf_sample_by by) {
  const char *path = tmp_path("sampled.txt");
  struct zf_records *records;
  ck_ok(zf_write_file(path, text, strlen(text)));
  ck_ok(zf_records_open_as(&records, path, by));
  return records;
}

/* Paragraphs keep their line ends; blank lines, also at the ends of the file, give no row. */
START_TEST(test_paragraphs) {
  const char *text = "\n  \none\n two\r\n\r\n\n\nthree\n\t\nfour\nfive";
  check(sampled(text, ZF_SAMPLE_PARAGRAPH), 3,
        ROWS("{\"text\":\"one\\n two\"}", "{\"text\":\"three\"}", "{\"text\":\"four\\nfive\"}"),
        LINES(3, 8, 10));
  check(sampled(text, ZF_SAMPLE_DOCUMENT), 1,
        ROWS("{\"text\":\"one\\n two\\r\\n\\r\\n\\n\\nthree\\n\\t\\nfour\\nfive\"}"), LINES(3));
  check(sampled(text, ZF_SAMPLE_LINE), 5,
        ROWS("{\"text\":\"one\"}", "{\"text\":\" two\"}", "{\"text\":\"three\"}",
             "{\"text\":\"four\"}", "{\"text\":\"five\"}"),
        LINES(3, 4, 8, 10, 11));
  for (int by = 0; by < 3; by++) check(sampled("\n \r\n\t", (enum zf_sample_by)by), 0, NULL, NULL);
}
END_TEST

static const struct {
  const char *name, *text, *message;
} wrong[] = {
    {"a.jsonl", "{\"a\": 1}\n{\"a\": }\n", "a.jsonl:2:7: unexpected token near '}'"},
    {"a.jsonl", "{\"a\": 1}\n\n  [1]\n", "a.jsonl:3:1: expected an object, found an array"},
    {"a.jsonl", "3\n", "a.jsonl:1:1: expected an object, found an integer"},
    {"a.jsonl", "{\"a\": 1} {\"a\": 2}\n", "a.jsonl:1:10: end of file expected"},
    {"a.jsonl", "{\"a\": 1,\n\"b\": 2}\n", "a.jsonl:1:8: "},
    {"a.jsonl", "{\"a\": 1, \"a\": 2}\n", "a.jsonl:1:12: duplicate object key near '\"a\"'"},
    {"a.jsonl", "{\"a\": 1}\n{\"a\": \"\xc3\xa9\xff\"}\n", "a.jsonl:2:9: byte 0xff is not UTF-8"},
    {"a.jsonl", "{\"a\": \"\xed\xa0\x80\"}\n", "a.jsonl:1:8: byte 0xed is not UTF-8"},
    {"a.jsonl", "{\"\xc3\xa9\": \"\xc3\xa9\" x}\n", "a.jsonl:1:11: "},
    {"a.json", "[{\"a\": 1}\n", "a.json:2:1: expected ',' or ']' after an object"},
    {"a.json", "[{\"a\": 1}, ]", "a.json:1:12: unexpected token near ']'"},
    {"a.json", "[{\"a\": 1}] x", "a.json:1:12: expected nothing after the array"},
    {"a.json", "[\n{\"a\": 1},\n 7]", "a.json:3:2: expected an object, found an integer"},
    {"a.json", "[\n{\"a\": 1},\n {\"a\" 2}]", "a.json:3:7: ':' expected near '2'"},
    {"a.json", "[", "a.json:1:"},
    {"a.json", "{\"a\": 1},", "a.json:1:9: "},
    {"a.csv", "a,b\n1,2\n1\n",
     "a.csv:3:1: expected the 2 fields that the first row names, found 1"},
    {"a.csv", "a,b\n1,2,3\n", "a.csv:2:1: expected the 2 fields that the first row names, found 3"},
    {"a.csv", "a,b,a\n", "a.csv:1:5: a second field is named 'a'"},
    {"a.csv", "a,b\n1,\"2\n\n", "a.csv:2:3: a quote is opened and never closed"},
    {"a.csv", "a,b\n1,\"2\"x\n", "a.csv:2:6: expected ',' or the end of the line after a closing"},
    {"a.csv", "a,b\n\xc3\xa9\"x\",2\n", "a.csv:2:2: a quote in a field that does not begin with"},
    {"a.csv", "a,b\r1,2\r", "a.csv:1:4: a carriage return without a line feed"},
    {"a.csv", "a\n\"x\"\ry\n", "a.csv:2:4: a carriage return without a line feed"},
    {"a.csv", "a\n\xfe\n", "a.csv:2:1: byte 0xfe is not UTF-8"},
    {"a.tsv", "a\tb\n1\n", "a.tsv:2:1: expected the 2 fields that the first row names, found 1"},
    {"a.txt", "x\n\xe2\x82", "a.txt:2:1: byte 0xe2 is not UTF-8"},
};

START_TEST(test_wrong) {
  struct zf_records *r;
  ck_fails(zf_records_parse(&r, wrong[_i].text, strlen(wrong[_i].text), wrong[_i].name),
           ZF_EINVALID, wrong[_i].message);
  ck_assert_ptr_null(r);
}
END_TEST

START_TEST(test_zero_byte) {
  struct zf_records *r;
  ck_fails(zf_records_parse(&r, "a\nb\0c\n", 6, "a.txt"), ZF_EINVALID,
           "a.txt:2:2: a zero byte is not text");
}
END_TEST

START_TEST(test_empty) {
  static const char *const name[] = {"a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt"};
  for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
    struct zf_records *r;
    ck_ok(zf_records_parse(&r, NULL, 0, name[i]));
    check(r, 0, NULL, NULL);
  }
  zf_records_free(NULL);
}
END_TEST

/* Rows asked for in any order, their lines counted from marks, their text as the file has it. */
START_TEST(test_any_order) {
  enum { N = 1000 };
  struct zf_buf b = {0};
  for (int i = 0; i < N; i++) zf_buf_printf(&b, "%s {\"x\": %d} \r\n", i % 7 ? "" : "\n", i);
  struct zf_records *r = parse("a.jsonl", b.data);
  ck_assert_int_eq(r->count, N);
  for (int k = 0; k < N; k++) {
    int i = (int)((k * 387LL + 5) % N);
    char want[32];
    size_t len;
    snprintf(want, sizeof want, " {\"x\": %d}", i);
    ck_assert_int_eq(json_integer_value(json_object_get(zf_records_row(r, i), "x")), i);
    ck_assert_int_eq(zf_records_line(r, i), 1 + i + i / 7 + 1);
    const char *text = zf_records_text(r, i, &len);
    ck_assert_uint_eq(len, strlen(want));
    ck_assert_mem_eq(text, want, len);
  }
  zf_records_free(r);
  zf_buf_free(&b);
}
END_TEST

START_TEST(test_text_of_a_table) {
  struct zf_records *r = parse("a.csv", "a,b\n\n\"x\n,y\",1 \r\n\r\n,\n");
  size_t len;
  const char *text = zf_records_text(r, 0, &len);
  ck_assert_uint_eq(len, 9);
  ck_assert_mem_eq(text, "\"x\n,y\",1 ", len);
  text = zf_records_text(r, 1, &len);
  ck_assert_uint_eq(len, 1);
  ck_assert_mem_eq(text, ",", 1);
  zf_records_free(r);
  r = parse("a.json", "[{\"a\": 1} ,\n {\"a\": [1, 2]}\n]");
  text = zf_records_text(r, 1, &len);
  ck_assert_uint_eq(len, 13);
  ck_assert_mem_eq(text, "{\"a\": [1, 2]}", len);
  zf_records_free(r);
}
END_TEST

/* A file that is changed while it is open is an error, not other rows. */
START_TEST(test_changed_file) {
  struct zf_records *r;
  char path[512];
  snprintf(path, sizeof path, "%s", tmp_path("changed.jsonl"));
  FILE *f = fopen(path, "w");
  fputs("{\"a\": 1}\n{\"a\": 2}\n", f);
  fclose(f);
  ck_ok(zf_records_open(&r, path));
  f = fopen(path, "r+");
  fputs("{\"a\": 1}\n{\"a\": x}\n", f);
  fclose(f);
  ck_assert_ptr_nonnull(zf_records_row(r, 0));
  ck_assert_ptr_null(zf_records_row(r, 1));
  ck_assert_ptr_nonnull(strstr(zf_error_message(), "changed.jsonl:2:7: "));
  f = fopen(path, "r+");
  fputs("{\"a\": 1}\n        \n", f);
  fclose(f);
  ck_assert_ptr_null(zf_records_row(r, 1));
  ck_assert_ptr_nonnull(strstr(zf_error_message(), "row 2 is gone: the file was changed"));
  zf_records_free(r);
}
END_TEST

START_TEST(test_open) {
  struct zf_records *r;
  char path[512];
  snprintf(path, sizeof path, "%s", tmp_path("d.jsonl"));
  ck_fails(zf_records_open(&r, path), ZF_EUSAGE, "d.jsonl: cannot open");
  ck_fails(zf_records_open(&r, tmp_path("d.parquet")), ZF_EUSAGE,
           "d.parquet: zoft does not read .parquet files; convert it: python -c");
  ck_ok(zf_write_file(path, "{\"a\":1}\n", 8));
  ck_ok(zf_records_open(&r, path));
  ck_assert_str_eq(r->path, path);
  check(r, 1, ROWS("{\"a\":1}"), LINES(1));
  ck_ok(zf_write_file(path, "", 0));
  ck_ok(zf_records_open(&r, path));
  check(r, 0, NULL, NULL);
}
END_TEST

START_TEST(test_deep) {
  enum { DEEP = 100000 };
  char *text = malloc(DEEP);
  struct zf_records *r;
  memset(text, '[', DEEP);
  memcpy(text, "{\"a\":", 5);
  ck_fails(zf_records_parse(&r, text, DEEP, "a.jsonl"), ZF_EINVALID, "maximum parsing depth");
  ck_fails(zf_records_parse(&r, text, DEEP, "a.json"), ZF_EINVALID, "maximum parsing depth");
  free(text);
}
END_TEST

/* A CSV field of any text that the rules allow comes back as it was. */
START_TEST(test_csv_round_trip) {
  static const char *const piece[] = {"a", "\"", ",", "\n", "\r\n", " ", "\xc3\xa9", "'", "\t"};
  uint32_t state = 1;
  for (int round = 0; round < 2000; round++) {
    struct zf_buf field[2] = {{0}, {0}}, file = {0};
    zf_buf_puts(&file, "x,y\n");
    for (int f = 0; f < 2; f++) {
      zf_buf_puts(&field[f], "");
      zf_buf_putc(&file, '"');
      state = state * 1664525 + 1013904223;
      for (uint32_t n = state >> 29; n; n--) {
        state = state * 1664525 + 1013904223;
        const char *p = piece[(state >> 16) % (sizeof piece / sizeof *piece)];
        zf_buf_puts(&field[f], p);
        zf_buf_puts(&file, *p == '"' ? "\"\"" : p);
      }
      zf_buf_puts(&file, f ? "\"\r\n" : "\",");
    }
    struct zf_records *r = parse("a.csv", file.data);
    ck_assert_int_eq(r->count, 1);
    ck_assert_str_eq(json_string_value(json_object_get(zf_records_row(r, 0), "x")), field[0].data);
    ck_assert_str_eq(json_string_value(json_object_get(zf_records_row(r, 0), "y")), field[1].data);
    zf_records_free(r);
    zf_buf_free(&field[0]);
    zf_buf_free(&field[1]);
    zf_buf_free(&file);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("records");
  TCase *t = tcase_create("records");
  tcase_add_test(t, test_jsonl);
  tcase_add_test(t, test_json);
  tcase_add_test(t, test_wide_numbers);
  tcase_add_test(t, test_csv);
  tcase_add_test(t, test_tsv);
  tcase_add_test(t, test_txt);
  tcase_add_test(t, test_paragraphs);
  tcase_add_loop_test(t, test_wrong, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(t, test_zero_byte);
  tcase_add_test(t, test_empty);
  tcase_add_test(t, test_any_order);
  tcase_add_test(t, test_text_of_a_table);
  tcase_add_test(t, test_changed_file);
  tcase_add_test(t, test_open);
  tcase_add_test(t, test_deep);
  tcase_add_test(t, test_csv_round_trip);
  suite_add_tcase(s, t);
  return unit_run(s);
}
