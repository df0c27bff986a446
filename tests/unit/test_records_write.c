/* Data files that are written: what is read again is what was put in; what a format cannot hold is
 * refused. */
#include "unit/unit.h"

#include "fmt/records_write.h"

static const char *const endings[] = {".jsonl", ".ndjson",   ".json",    ".csv",      ".tsv",
                                      ".txt",   ".jsonl.gz", ".csv.zst", ".json.zst", ".tsv.gz"};

static const char *new_path(const char *name) {
  const char *path = tmp_path(name);
  remove(path);
  return path;
}

/* A value of a table comes back as text. */
static json_t *as_text(const json_t *v) {
  char *dumped = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY);
  json_t *out = json_is_string(v) ? json_copy((json_t *)v) : json_string(dumped);
  free(dumped);
  return out;
}

static json_t *expected(const json_t *row, int table) {
  const char *key;
  json_t *v, *out = json_object();
  json_object_foreach((json_t *)row, key, v) {
    if (table)
      json_object_set_new(out, key, as_text(v));
    else
      json_object_set(out, key, v);
  }
  return out;
}

static uint32_t next(uint32_t *seed) {
  return *seed = *seed * 1664525u + 1013904223u, *seed >> 8;
}

/* A text of letters that formats fight over; without line ends and tabs for those that have none. */
static json_t *random_text(uint32_t *seed, int plain, int least) {
  static const char *const piece[] = {"a", "\"", ",",  " ",  "\xc3\xa9", "b\"\"",
                                      "'", ";",  "\t", "\n", "\r\n",     "\\"};
  struct zf_buf b = {0};
  zf_buf_puts(&b, least ? "x" : "");
  for (int n = (int)(next(seed) % 6); n > 0; n--)
    zf_buf_puts(&b, piece[next(seed) % (plain ? 8 : 12)]);
  json_t *v = json_string(b.data);
  zf_buf_free(&b);
  return v;
}

static json_t *random_row(uint32_t *seed, int kind) {
  int one = kind == 5, plain = one || kind == 4 || kind == 9;
  json_t *row = json_object();
  json_object_set_new(row, "text", random_text(seed, plain, one));
  if (one) return row;
  json_object_set_new(row, "a, \"name\"", random_text(seed, plain, 1));
  json_object_set_new(row, "n", json_integer((int)next(seed) - 1000));
  json_object_set_new(row, "yes", json_boolean(next(seed) & 1));
  return row;
}

START_TEST(test_round_trip) {
  enum { ROWS = 200 };
  char name[64];
  uint32_t seed = 5;
  struct zf_records_writer *o;
  struct zf_records *r;
  json_t *row[ROWS];
  int table = strstr(endings[_i], "sv") != NULL;
  snprintf(name, sizeof name, "r%s", endings[_i]);
  const char *path = new_path(name);
  ck_ok(zf_records_writer_open(&o, path));
  for (int i = 0; i < ROWS; i++) {
    row[i] = random_row(&seed, _i);
    ck_ok(zf_records_writer_put(o, row[i], "here"));
  }
  ck_assert_int_eq(zf_records_writer_count(o), ROWS);
  ck_ok(zf_records_writer_commit(o));
  ck_ok(zf_records_open(&r, path));
  ck_assert_int_eq(r->count, ROWS);
  for (int i = 0; i < ROWS; i++) {
    json_t *want = expected(row[i], table);
    ck_assert_msg(json_equal((json_t *)zf_records_row(r, i), want), "row %d", i);
    json_decref(want);
    json_decref(row[i]);
  }
  /* and copied as it stands */
  snprintf(name, sizeof name, "c%s", endings[_i]);
  path = new_path(name);
  ck_ok(zf_records_writer_open(&o, path));
  ck_ok(zf_records_writer_head(o, r));
  for (int i = 0; i < ROWS; i += 3) ck_ok(zf_records_writer_copy(o, r, i));
  ck_ok(zf_records_writer_commit(o));
  struct zf_records *c;
  ck_ok(zf_records_open(&c, path));
  ck_assert_int_eq(c->count, (ROWS + 2) / 3);
  for (int i = 0; i < c->count; i++)
    ck_assert(json_equal((json_t *)zf_records_row(c, i), (json_t *)zf_records_row(r, 3 * i)));
  zf_records_free(c);
  zf_records_free(r);
}
END_TEST

START_TEST(test_no_row) {
  char name[64];
  struct zf_records_writer *o;
  struct zf_records *r;
  snprintf(name, sizeof name, "e%s", endings[_i]);
  const char *path = new_path(name);
  ck_ok(zf_records_writer_open(&o, path));
  ck_ok(zf_records_writer_commit(o));
  ck_ok(zf_records_open(&r, path));
  ck_assert_int_eq(r->count, 0);
  zf_records_free(r);
}
END_TEST

static const struct {
  const char *ending, *row, *message;
} wrong[] = {
    {".csv", "{\"a\": \"\", \"b\": [1]}", "here: field 'b' is an array: this format holds"},
    {".csv", "{\"a\": 1, \"c\": 2}", "here: field 'c' is not among those of the first row"},
    {".tsv", "{\"a\": \"x\\ty\", \"b\": 1}", "here: field 'a' has a tab or line end"},
    {".tsv", "{\"a\": \"x\", \"b\": \"1\\n\"}", "here: field 'b' has a tab or line end"},
    {".txt", "{\"a\": \"x\\ny\"}", "here: field 'a' has a tab or line end"},
    {".txt", "{\"a\": \"x\", \"b\": 1}", "here: .txt holds one field, the row has 2"},
};

START_TEST(test_wrong) {
  char name[64];
  struct zf_records_writer *o;
  snprintf(name, sizeof name, "w%s", wrong[_i].ending);
  const char *path = new_path(name);
  json_t *first = json_loads("{\"a\": 1, \"b\": null}", 0, NULL),
         *row = json_loads(wrong[_i].row, 0, NULL);
  ck_ok(zf_records_writer_open(&o, path));
  if (strcmp(wrong[_i].ending, ".txt") != 0) ck_ok(zf_records_writer_put(o, first, "there"));
  ck_fails(zf_records_writer_put(o, row, "here"), ZF_EINVALID, wrong[_i].message);
  zf_records_writer_abort(o);
  ck_assert_int_ne(access(path, F_OK), 0);
  json_decref(first);
  json_decref(row);
}
END_TEST

START_TEST(test_open) {
  struct zf_records_writer *o;
  const char *path = new_path("there.jsonl");
  ck_ok(zf_write_file(path, "{}\n", 3));
  ck_fails(zf_records_writer_open(&o, path), ZF_EUSAGE, "there.jsonl: the file exists already");
  ck_fails(zf_records_writer_open(&o, new_path("x.parquet")), ZF_EUSAGE, "does not read .parquet");
  ck_fails(zf_records_writer_open(&o, tmp_path("none/x.csv")), ZF_EIO, "cannot create");
  ck_assert_ptr_null(o);
  zf_records_writer_abort(NULL);
}
END_TEST

int main(void) {
  Suite *s = suite_create("records_write");
  TCase *t = tcase_create("records_write");
  tcase_add_loop_test(t, test_round_trip, 0, sizeof endings / sizeof *endings);
  tcase_add_loop_test(t, test_no_row, 0, sizeof endings / sizeof *endings);
  tcase_add_loop_test(t, test_wrong, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(t, test_open);
  suite_add_tcase(s, t);
  return unit_run(s);
}
