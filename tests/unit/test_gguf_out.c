/* GGUF files whose rows come in any order: every type of value and of tensor comes back, a row that is missing
 * or comes twice is an error, and nothing is left of a file that was not completed. */
#include "unit/unit.h"

#include <dirent.h>

#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/gguf_write.h"

static const struct zf_gguf_tensor_out tensors[] = {
    {.name = "a", .type = ZF_F32, .ndim = 2, .shape = {5, 3}},
    {.name = "b", .type = ZF_Q8_0, .ndim = 2, .shape = {4, 64}},
    {.name = "c", .type = ZF_BF16, .ndim = 1, .shape = {7}},
    {.name = "d", .type = ZF_Q4_K, .ndim = 3, .shape = {2, 2, 256}},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };
static const int64_t row_bytes[] = {12, 68, 14, 144}, row_count[] = {5, 4, 1, 4};

static unsigned char byte_of(int64_t tensor, int64_t row, int64_t at) {
  return (unsigned char)(31 * tensor + 7 * row + at);
}

static void write_row(struct zf_gguf_out *out, int64_t tensor, int64_t row) {
  unsigned char data[256];
  for (int64_t i = 0; i < row_bytes[tensor]; i++) data[i] = byte_of(tensor, row, i);
  ck_ok(zf_gguf_out_rows(out, tensor, row, 1, data));
}

/* Last tensor first, last row first. */
static void write_all(struct zf_gguf_out *out) {
  for (int64_t i = TENSORS - 1; i >= 0; i--)
    for (int64_t row = row_count[i] - 1; row >= 0; row--) write_row(out, i, row);
}

static void check_tensors(const struct zf_gguf *gguf) {
  ck_assert_int_eq(gguf->st->count, TENSORS);
  for (int64_t i = 0; i < TENSORS; i++) {
    const struct zf_st_tensor *tensor = zf_st_find(gguf->st, tensors[i].name);
    ck_assert(tensor && tensor->type == (int)tensors[i].type && tensor->ndim == tensors[i].ndim);
    ck_assert_mem_eq(tensor->shape, tensors[i].shape, sizeof(int64_t) * (size_t)tensor->ndim);
    ck_assert_int_eq(tensor->bytes, row_bytes[i] * row_count[i]);
    for (int64_t k = 0; k < (int64_t)tensor->bytes; k++)
      ck_assert_int_eq(tensor->data[k], byte_of(i, k / row_bytes[i], k % row_bytes[i]));
  }
}

/* 1 where the directory of `path` has an entry that begins with the path's last part. */
static int is_left(const char *path) {
  const char *slash = strrchr(path, '/');
  char dir[512];
  snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
  DIR *stream = opendir(dir);
  int found = 0;
  for (struct dirent *entry; (entry = readdir(stream));)
    found |= !strncmp(entry->d_name, slash + 1, strlen(slash + 1) - strlen(".gguf"));
  closedir(stream);
  return found;
}

START_TEST(test_rows) {
  struct zf_gguf_out *out;
  struct zf_gguf gguf;
  const char *path = tmp_path("rows.gguf"), *tmp;
  ck_ok(zf_gguf_out_open(&out, path, NULL, 0, tensors, TENSORS));
  write_all(out);
  ck_assert(!zf_exists(path));
  ck_ok(zf_gguf_out_flush(out, &tmp));
  ck_ok(zf_gguf_open(&gguf, tmp, 1)); /* it is complete under its temporary name */
  check_tensors(&gguf);
  zf_gguf_free(&gguf);
  ck_ok(zf_gguf_out_close(out));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  check_tensors(&gguf);
  zf_gguf_free(&gguf);
}
END_TEST

/* Two tensors take 64 and 288 bytes, the others 32 and 576. */
static const struct {
  int64_t limit, parts;
} splits[] = {{0, 1}, {1 << 20, 1}, {960, 1}, {959, 2}, {400, 2}, {330, 3}, {1, 4}};
enum { SPLITS = sizeof splits / sizeof *splits };

START_TEST(test_parts) {
  struct zf_gguf_out *out;
  struct zf_gguf gguf;
  char path[512], first[600];
  snprintf(path, sizeof path, "%s", tmp_path("parts.gguf"));
  struct zf_gguf_values values = {0};
  ck_ok(zf_gguf_values_text(&values, "general.name", "x"));
  ck_ok(zf_gguf_out_open_parts(&out, path, values.value, values.count, tensors, TENSORS,
                               splits[_i].limit));
  write_all(out);
  ck_ok(zf_gguf_out_close(out));
  snprintf(first, sizeof first, "%.*s-00001-of-%05d.gguf", (int)(strlen(path) - 5), path,
           (int)splits[_i].parts);
  ck_ok(zf_gguf_open(&gguf, splits[_i].parts > 1 ? first : path, 1));
  ck_assert_int_eq(gguf.st->file_count, splits[_i].parts);
  ck_assert_str_eq(json_string_value(json_object_get(gguf.keys, "general.name")), "x");
  check_tensors(&gguf);
  zf_gguf_free(&gguf);
  zf_gguf_values_free(&values);
}
END_TEST

START_TEST(test_mistakes) {
  struct zf_gguf_out *out;
  unsigned char data[1024] = {0};
  char path[512];
  snprintf(path, sizeof path, "%s", tmp_path("mistakes.gguf"));
  ck_ok(zf_gguf_out_open(&out, path, NULL, 0, tensors, TENSORS));
  ck_fails(zf_gguf_out_rows(out, 0, 4, 2, data), ZF_EFAIL,
           "tensor 'a' has 5 rows: not 2 from row 4");
  ck_fails(zf_gguf_out_rows(out, 0, -1, 1, data), ZF_EFAIL, "not 1 from row -1");
  ck_ok(zf_gguf_out_rows(out, 0, 1, 3, data));
  ck_fails(zf_gguf_out_rows(out, 0, 3, 1, data), ZF_EFAIL, "'a': row 3 was written before");
  ck_fails(zf_gguf_out_close(out), ZF_EFAIL, "'a': 2 of its 5 rows were not written");
  ck_assert(!is_left(path));
  ck_ok(zf_gguf_out_open(&out, path, NULL, 0, tensors, TENSORS));
  ck_assert(is_left(path));
  zf_gguf_out_drop(out);
  zf_gguf_out_drop(NULL);
  ck_assert(!is_left(path));
  ck_fails(zf_gguf_out_open(&out, "/dev/null", NULL, 0, tensors, TENSORS), ZF_EUSAGE,
           "expected the name of a file, found a device");
}
END_TEST

/* A shape, name or type that a file cannot hold. */
START_TEST(test_refused) {
  const struct zf_gguf_tensor_out bad[] = {
      {.name = "t", .type = ZF_Q8_0, .ndim = 2, .shape = {2, 48}},
      {.name = "t", .type = ZF_F24, .ndim = 1, .shape = {4}},
      {.name = "t", .ndim = 2, .shape = {INT64_MAX, 4}},
      {.name = "0123456789012345678901234567890123456789012345678901234567890123",
       .ndim = 1,
       .shape = {1}}};
  struct zf_gguf_out *out;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char path[512];
    snprintf(path, sizeof path, "%s", tmp_path("refused.gguf"));
    ck_assert_int_eq(zf_gguf_out_open(&out, path, NULL, 0, &bad[i], 1), ZF_EINVALID);
    ck_assert_ptr_null(out);
    ck_assert(!is_left(path));
  }
}
END_TEST

/* --- values --- */

static const struct {
  enum zf_gguf_value_type type;
  const char *json; /* a list of the smallest and the largest value */
  const char *over; /* a value that the type cannot hold; NULL: every JSON value of its kind fits */
} types[] = {
    {ZF_GGUF_U8, "[0, 255]", "256"},
    {ZF_GGUF_I8, "[-128, 127]", "-129"},
    {ZF_GGUF_U16, "[0, 65535]", "-1"},
    {ZF_GGUF_I16, "[-32768, 32767]", "32768"},
    {ZF_GGUF_U32, "[0, 4294967295]", "4294967296"},
    {ZF_GGUF_I32, "[-2147483648, 2147483647]", "2147483648"},
    {ZF_GGUF_U64, "[0, 9223372036854775807]", "-1"},
    {ZF_GGUF_I64, "[-9223372036854775807, 9223372036854775807]", NULL},
    {ZF_GGUF_F32, "[-0.5, 1024.0]", "1e300"},
    {ZF_GGUF_F64, "[-0.1, 1e300]", NULL},
    {ZF_GGUF_BOOL, "[false, true]", "2"},
    {ZF_GGUF_TEXT, "[\"\", \"caf\\u00e9\"]", "7"},
};
enum { TYPES = sizeof types / sizeof *types };

/* The list and its first element, and the type that the reader tells of them. */
START_TEST(test_values) {
  struct zf_gguf_values values = {0};
  struct zf_gguf_out *out;
  struct zf_gguf gguf;
  const char *path = tmp_path("values.gguf");
  json_t *list = json_loads(types[_i].json, 0, NULL);
  ck_assert_ptr_nonnull(list);
  ck_ok(zf_gguf_values_set(&values, "one", types[_i].type, json_incref(json_array_get(list, 0))));
  ck_ok(zf_gguf_values_set(&values, "list", types[_i].type, json_incref(list)));
  ck_ok(zf_gguf_values_set(&values, "none", types[_i].type, json_array()));
  ck_ok(zf_gguf_out_open(&out, path, values.value, values.count, NULL, 0));
  ck_ok(zf_gguf_out_close(out));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  ck_assert(json_equal(json_object_get(gguf.keys, "list"), list));
  ck_assert(json_equal(json_object_get(gguf.keys, "one"), json_array_get(list, 0)));
  ck_assert_int_eq(json_array_size(json_object_get(gguf.keys, "none")), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(gguf.types, "one")), types[_i].type);
  ck_assert_int_eq(json_integer_value(json_object_get(gguf.types, "list")), types[_i].type);
  zf_gguf_free(&gguf);
  if (types[_i].over) {
    ck_ok(zf_gguf_values_set(&values, "one", types[_i].type,
                             json_loads(types[_i].over, JSON_DECODE_ANY, NULL)));
    ck_assert_int_eq(values.count, 3); /* it replaced the older one */
    ck_fails(zf_gguf_out_open(&out, path, values.value, values.count, NULL, 0), ZF_EINVALID,
             "key 'one'");
  }
  json_decref(list);
  zf_gguf_values_free(&values);
}
END_TEST

int main(void) {
  Suite *s = suite_create("gguf_out");
  TCase *tc = tcase_create("all");
  tcase_add_test(tc, test_rows);
  tcase_add_loop_test(tc, test_parts, 0, SPLITS);
  tcase_add_test(tc, test_mistakes);
  tcase_add_test(tc, test_refused);
  tcase_add_loop_test(tc, test_values, 0, TYPES);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
