/* The GGUF writer: what it writes, the reader accepts, with the same keys, shapes and bytes; what the
 * format cannot hold is refused, and nothing is left behind. */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/gguf_write.h"

static int fill_bytes(void *ctx, int64_t index, FILE *file) {
  const int64_t *bytes = ctx;
  for (int64_t i = 0; i < bytes[index]; i++) putc((int)(i + 16 * index) & 255, file);
  return 0;
}

START_TEST(test_write) {
  const struct zf_gguf_value values[] = {
      {.key = "general.architecture", .text = "llama"},
      {.key = "number", .type = ZF_GGUF_U32, .number = 4000000000u},
      {.key = "real", .type = ZF_GGUF_F32, .real = 0.75F}};
  const struct zf_st_out tensors[] = {
      {.name = "b", .type = ZF_F32, .ndim = 2, .shape = {3, 5}},
      {.name = "a", .type = ZF_F16, .ndim = 1, .shape = {7}},
      {.name = "c", .type = ZF_BF16, .ndim = 3, .shape = {2, 1, 3}}};
  int64_t bytes[] = {60, 14, 12};
  struct zf_gguf gguf;
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("written.gguf"));
  ck_ok(zf_gguf_write(path, values, 3, tensors, 3, fill_bytes, bytes));
  ck_ok(zf_gguf_open(&gguf, path, 1));
  ck_assert_str_eq(json_string_value(json_object_get(gguf.keys, "general.architecture")), "llama");
  ck_assert_int_eq(json_integer_value(json_object_get(gguf.keys, "number")), 4000000000LL);
  ck_assert_double_eq(json_number_value(json_object_get(gguf.keys, "real")), 0.75);
  ck_assert_int_eq(gguf.st->count, 3);
  for (int i = 0; i < 3; i++) {
    const struct zf_st_tensor *tensor = zf_st_find(gguf.st, tensors[i].name);
    ck_assert(tensor && tensor->type == (int)tensors[i].type && tensor->ndim == tensors[i].ndim);
    ck_assert_mem_eq(tensor->shape, tensors[i].shape, sizeof(int64_t) * (size_t)tensor->ndim);
    ck_assert_uint_eq(tensor->bytes, (size_t)bytes[i]);
    for (int64_t j = 0; j < bytes[i]; j++) ck_assert_int_eq(tensor->data[j], (j + 16 * i) & 255);
  }
  zf_gguf_free(&gguf);
}
END_TEST

static const struct {
  struct zf_st_out tensor;
  const char *message;
} refused[] = {
    {{.name = "", .ndim = 1, .shape = {1}}, "a name of 0 bytes"},
    {{.name = "0123456789012345678901234567890123456789012345678901234567890123",
      .ndim = 1,
      .shape = {1}},
     "a name of 64 bytes: GGUF allows 1 to 63"},
    {{.name = "t", .ndim = 5, .shape = {1, 1, 1, 1, 1}}, "a shape or type"},
    {{.name = "t", .ndim = 0}, "a shape or type"},
    {{.name = "t", .ndim = 1, .shape = {0}}, "a shape or type"},
    {{.name = "t", .ndim = 2, .shape = {INT64_MAX, 2}}, "a shape or type"},
    {{.name = "t", .ndim = 1, .shape = {INT64_MAX / 4}}, "a shape or type"},
    {{.name = "t", .type = ZF_F24, .ndim = 1, .shape = {1}}, "a shape or type"},
    {{.name = "first", .ndim = 1, .shape = {1}}, "tensor 'first' stands twice"},
    {{.name = "t", .ndim = 1, .shape = {2}}, "its bytes were not all written"},
};
enum { REFUSED = sizeof refused / sizeof *refused };

START_TEST(test_refused) {
  struct zf_st_out tensors[] = {{.name = "first", .ndim = 1, .shape = {1}}, refused[_i].tensor};
  int64_t bytes[] = {4, 4};
  char path[256];
  snprintf(path, sizeof path, "%s", tmp_path("refused.gguf"));
  int rc = zf_gguf_write(path, NULL, 0, tensors, 2, fill_bytes, bytes);
  ck_assert_int_eq(rc, _i == REFUSED - 1 ? ZF_EFAIL : ZF_EINVALID);
  ck_assert_msg(strstr(zf_error_message(), refused[_i].message) != NULL, "%s", zf_error_message());
  ck_assert(!zf_exists(path));
}
END_TEST

START_TEST(test_text) {
  const struct zf_gguf_value value = {.key = "k", .text = "\xff"};
  ck_fails(zf_gguf_write(tmp_path("text.gguf"), &value, 1, NULL, 0, fill_bytes, NULL), ZF_EINVALID,
           "key 'k': the text is not UTF-8");
}
END_TEST

int main(void) {
  Suite *s = suite_create("gguf_write");
  TCase *tc = tcase_create("all");
  tcase_add_test(tc, test_write);
  tcase_add_loop_test(tc, test_refused, 0, REFUSED);
  tcase_add_test(tc, test_text);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
