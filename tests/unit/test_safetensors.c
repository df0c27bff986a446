/* safetensors: every rule of the format by a made file that breaks it, files made by
 * the safetensors package (tests/golden/make_safetensors.py), shards, the writer. */
#include <signal.h>
#include <sys/resource.h>

#include "unit/unit.h"

#include <math.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "fmt/safetensors.h"

#define GOLDEN "tests/golden/safetensors/"

/* A file of the given header and `tail` bytes of buffer: 0 1 2 ... */
static struct zf_buf make_file(const char *header, size_t nheader, size_t tail) {
  struct zf_buf b = {0};
  for (int i = 0; i < 8; i++) zf_buf_putc(&b, (char)(nheader >> 8 * i & 255));
  zf_buf_add(&b, header, nheader);
  for (size_t i = 0; i < tail; i++) zf_buf_putc(&b, (char)i);
  return b;
}

static int parse(struct zf_st **s, const char *header, size_t tail) {
  struct zf_buf b = make_file(header, strlen(header), tail);
  int rc = zf_st_parse(s, b.data, b.len, "t.safetensors");
  zf_buf_free(&b);
  return rc;
}

/* One tensor "a" of these properties. */
#define ONE(dtype, shape, offsets)                                                                 \
  "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(a, b)                                                                                  \
  "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a "},"                                \
  "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"

static const struct {
  const char *header;
  size_t tail;
  const char *message;
} broken[] = {
    {"[]", 0, "t.safetensors: its header begins with byte 0x5b, not with '{'"},
    {" {}", 0, "begins with byte 0x20"},
    {"{\"a\":", 0, "t.safetensors: header:1:5: unexpected token"},
    {"{}x", 0, "header:1:3: end of file expected"},
    {"{\"\xff\":1}", 0, "header is not UTF-8: byte 0xff at offset 10"},
    {"{\"a\":1,\"a\":2}", 0, "duplicate object key"},
    {"{\"a\":[]}", 0, "t.safetensors: tensor 'a': expected an object, found an array"},
    {"{\"__metadata__\":3}", 0, "__metadata__: expected an object, found an integer"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "key 'k': expected a string, found an integer"},
    {ONE("F12", "[1]", "[0,4]"), 4, "tensor 'a': unknown dtype 'F12'"},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, "dtype: expected a string, found nothing"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape: expected an array"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets: expected an array"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"q\":0}}", 1,
     "unknown key 'q'"},
    {ONE("F32", "4", "[0,4]"), 4, "shape: expected an array, found an integer"},
    {ONE("F32", "[1.5]", "[0,4]"), 4, "shape: entry 0: expected an integer, found a real"},
    {ONE("F32", "[1,-1]", "[0,4]"), 4, "shape: entry 1: -1 is negative"},
    {ONE("F32", "[1,\"1\"]", "[0,4]"), 4, "shape: entry 1: expected an integer, found a string"},
    {ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "shape: has 9 entries, more than the 8"},
    {ONE("F32", "[99999999999999999999]", "[0,4]"), 4,
     "expected an integer, found 99999999999999999999"},
    {ONE("F32", "[4294967296,4294967296]", "[0,4]"), 4, "product of its shape overflows"},
    {ONE("F32", "[576460752303423488]", "[0,4]"), 4,
     "the size of 576460752303423488 values of F32 overflows"},
    {ONE("F32", "[1]", "[0]"), 4, "data_offsets: expected 2 entries, found 1"},
    {ONE("F32", "[1]", "[0,4,8]"), 4, "data_offsets: has 3 entries"},
    {ONE("F32", "[1]", "[-4,0]"), 4, "data_offsets: entry 0: -4 is negative"},
    {ONE("F32", "[1]", "[4,0]"), 4, "its end 0 lies before its begin 4"},
    {ONE("F32", "[2]", "[0,4]"), 4, "take 8 bytes, its offsets span 4"},
    {ONE("F4", "[3]", "[0,1]"), 1, "3 values of F4 do not fill whole bytes"},
    {ONE("F6_E2M3", "[2]", "[0,1]"), 1, "2 values of F6_E2M3 do not fill whole bytes"},
    {ONE("F32", "[1]", "[4,8]"), 8, "tensor 'a': begins at byte 4 of the buffer and leaves a hole"},
    {TWO("[0,4]", "[5,9]"), 9,
     "tensor 'b': begins at byte 5 of the buffer and leaves a hole "
     "after byte 4"},
    {TWO("[0,4]", "[3,7]"), 7,
     "tensor 'b': begins at byte 3 of the buffer and overlaps tensor "
     "'a', which ends at byte 4"},
    {TWO("[0,4]", "[0,4]"), 4, "overlaps"},
    {ONE("F32", "[2]", "[0,8]"), 7, "is truncated: its tensors take 8 bytes, only 7 are there"},
    {ONE("F32", "[2]", "[0,8]"), 10, "has 2 bytes after its last tensor"},
    {"{}", 1, "has 1 bytes after its last tensor"},
};

START_TEST(test_broken) {
  struct zf_st *s;
  ck_fails(parse(&s, broken[_i].header, broken[_i].tail), ZF_EINVALID, broken[_i].message);
  ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_lengths) {
  struct zf_st *s;
  unsigned char raw[16] = {0};
  ck_fails(zf_st_parse(&s, "", 0, "t"), ZF_EINVALID, "t: has 0 bytes: too short for the 8");
  ck_fails(zf_st_parse(&s, raw, 7, "t"), ZF_EINVALID, "has 7 bytes");
  ck_fails(zf_st_parse(&s, raw, 16, "t"), ZF_EINVALID, "header of 0 bytes is too short");
  raw[0] = 9;
  ck_fails(zf_st_parse(&s, raw, 16, "t"), ZF_EINVALID, "would be 9 bytes long, but only 8 follow");
  memcpy(raw, "\x01\xe1\xf5\x05\0\0\0\0", 8); /* 100,000,001 */
  ck_fails(zf_st_parse(&s, raw, 16, "t"), ZF_EINVALID, "more than the 100000000 allowed");
  memset(raw, 255, 8);
  ck_fails(zf_st_parse(&s, raw, 16, "t"), ZF_EINVALID, "18446744073709551615 bytes long, more");
}
END_TEST

/* Of a good file, every prefix and every single changed byte is read without harm. */
START_TEST(test_hostile) {
  const char *h = TWO("[0,4]", "[4,8]");
  struct zf_buf b = make_file(h, strlen(h), 8);
  struct zf_st *s;
  ck_ok(zf_st_parse(&s, b.data, b.len, "t"));
  zf_st_free(s);
  for (size_t n = 0; n < b.len; n++) {
    char *part = malloc(n ? n : 1); /* its own block: reading past it shows under ASan */
    memcpy(part, b.data, n);
    ck_assert_int_eq(zf_st_parse(&s, part, n, "t"), ZF_EINVALID);
    free(part);
  }
  for (size_t i = 0; i < b.len - 8; i++)
    for (int c = 0; c < 256; c++) {
      char was = b.data[i];
      b.data[i] = (char)c;
      if (!zf_st_parse(&s, b.data, b.len, "t")) zf_st_free(s);
      b.data[i] = was;
    }
  zf_buf_free(&b);
}
END_TEST

START_TEST(test_valid) {
  struct zf_st *s;
  ck_ok(parse(&s, "{}", 0));
  ck_assert_int_eq(s->count, 0);
  ck_assert_ptr_null(zf_st_find(s, "a"));
  zf_st_free(s);
  ck_ok(parse(&s, "{\"__metadata__\":{\"k\":\"v\"}}    ", 0));
  ck_assert_int_eq(s->metadata_count, 1);
  ck_assert_str_eq(s->metadata[1], "v");
  zf_st_free(s);
  /* Listed out of order, and a tensor of no bytes between two others. */
  const char *h = "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                  "\"e\":{\"dtype\":\"F32\",\"shape\":[9,0],\"data_offsets\":[1,1]},"
                  "\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}";
  struct zf_buf b = make_file(h, strlen(h), 3);
  ck_ok(zf_st_parse(&s, b.data, b.len, "t"));
  ck_assert_int_eq(s->count, 3);
  ck_assert_str_eq(s->tensor[0].name, "a");
  ck_assert_str_eq(s->tensor[0].dtype, "F4");
  ck_assert_int_eq(s->tensor[0].type, -1);
  ck_assert_int_eq(zf_st_find(s, "e")->bytes, 0);
  ck_assert_int_eq(zf_st_find(s, "e")->count, 0);
  ck_assert_int_eq(zf_st_find(s, "b")->data[1], 2);
  zf_st_free(s);
  zf_buf_free(&b);
}
END_TEST

static void check_ramp(const struct zf_st_tensor *t, int64_t n, enum zf_dtype type) {
  float v[16];
  ck_assert_ptr_nonnull(t);
  ck_assert_int_eq(t->type, type);
  ck_assert_int_eq(t->count, n);
  ck_assert_int_eq(t->bytes, n * zf_dtype_info(type)->size);
  unsigned char aligned[64];
  memcpy(aligned, t->data, t->bytes);
  zf_to_f32(v, aligned, type, n);
  for (int64_t i = 0; i < n; i++) ck_assert(v[i] == 0.25f * (float)i - 1);
}

START_TEST(test_golden) {
  struct zf_st *s;
  ck_ok(zf_st_open(&s, GOLDEN "mixed.safetensors"));
  ck_assert_int_eq(s->count, 9);
  ck_assert_int_eq(s->file_count, 1);
  check_ramp(zf_st_find(s, "a.f32"), 6, ZF_F32);
  check_ramp(zf_st_find(s, "b.f16"), 4, ZF_F16);
  check_ramp(zf_st_find(s, "c.bf16"), 12, ZF_BF16);
  const struct zf_st_tensor *t = zf_st_find(s, "c.bf16");
  ck_assert(t->ndim == 3 && t->shape[0] == 3 && t->shape[1] == 2 && t->shape[2] == 2);
  ck_assert_str_eq(zf_st_find(s, "d.i64")->dtype, "I64");
  ck_assert_int_eq(zf_st_find(s, "d.i64")->type, -1);
  ck_assert_str_eq(zf_st_find(s, "e.bool")->dtype, "BOOL");
  ck_assert_str_eq(zf_st_find(s, "f.f8")->dtype, "F8_E4M3");
  ck_assert_int_eq(zf_st_find(s, "f.f8")->bytes, 5);
  ck_assert_int_eq(zf_st_find(s, "scalar")->ndim, 0);
  ck_assert_int_eq(zf_st_find(s, "scalar")->count, 1);
  ck_assert_int_eq(zf_st_find(s, "empty")->bytes, 0);
  ck_assert_str_eq(zf_st_find(s, "na\xc3\xafve \"quoted\"")->dtype, "F64");
  ck_assert_int_eq(s->metadata_count, 2);
  for (int64_t i = 0; i < s->metadata_count; i++) {
    int pt = !strcmp(s->metadata[2 * i], "format");
    ck_assert_str_eq(s->metadata[2 * i + 1], pt ? "pt" : "a \xe2\x86\x92 b");
  }
  zf_st_free(s);
}
END_TEST

START_TEST(test_sharded) {
  struct zf_st *s;
  ck_ok(zf_st_open(&s, GOLDEN "sharded"));
  ck_assert_int_eq(s->file_count, 2);
  ck_assert_int_eq(s->count, 4);
  check_ramp(zf_st_find(s, "a.f32"), 6, ZF_F32);
  check_ramp(zf_st_find(s, "b.f16"), 4, ZF_F16);
  ck_assert_int_ne(zf_st_find(s, "a.f32")->file, zf_st_find(s, "b.f16")->file);
  zf_st_free(s);
}
END_TEST

/* A directory with an index of the given map and the shards x (tensor "a") and y ("b"). */
static const char *make_sharded(const char *map, const char *y_holds) {
  static char dir[512];
  snprintf(dir, sizeof dir, "%s", tmp_path("sharded"));
  ck_ok(zf_mkdirs(dir));
  for (int i = 0; i < 2; i++) {
    char header[128], path[600];
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", i ? y_holds : "a");
    struct zf_buf b = make_file(header, strlen(header), 1);
    snprintf(path, sizeof path, "%s/%c.safetensors", dir, 'x' + i);
    ck_ok(zf_write_file(path, b.data, b.len));
    zf_buf_free(&b);
  }
  char path[600];
  snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
  ck_ok(zf_write_file(path, map, strlen(map)));
  return dir;
}

#define MAP(a, b) "{\"weight_map\":{\"a\":\"" a "\",\"b\":\"" b "\"}}"

START_TEST(test_shard_mistakes) {
  static const struct {
    const char *map, *y_holds, *message;
  } bad[] = {
      {MAP("x.safetensors", "z.safetensors"), "b", "z.safetensors: is missing, but the index"},
      {"{\"weight_map\":{\"b\":\"x.safetensors\",\"c\":\"y.safetensors\"}}", "a",
       "tensor 'a' is also in "},
      {MAP("x.safetensors", "sub/y.safetensors"), "b", "shard 'sub/y.safetensors' is not a plain"},
      {MAP("x.safetensors", ".."), "b", "shard '..' is not a plain file name"},
      {MAP("x.safetensors", ""), "b", "shard '' is not a plain file name"},
      {"{\"weight_map\":{\"a\":1}}", "b", "expected the name of a shard, found an integer"},
      {"{\"weight_map\":[]}", "b", "key 'weight_map': expected an object, found an array"},
      {"{}", "b", "key 'weight_map': expected an object, found nothing"},
      {"[]", "b", "key 'weight_map'"},
      {"{", "b", "model.safetensors.index.json:1:1: "},
  };
  struct zf_st *s;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_fails(zf_st_open(&s, make_sharded(bad[i].map, bad[i].y_holds)), ZF_EINVALID, bad[i].message);
  ck_ok(zf_st_open(&s, make_sharded("{\"weight_map\":{}}", "b")));
  ck_assert_int_eq(s->count, 0);
  zf_st_free(s);
}
END_TEST

/* The map decides between copies; names in it that no shard holds, and tensors that it leaves out or
 * places elsewhere, are as they are. */
START_TEST(test_shards_by_map) {
  static const struct {
    const char *map, *y_holds;
    int64_t n;
    const char *file; /* of "a" */
  } good[] = {
      {MAP("x.safetensors", "y.safetensors"), "a", 1, "x.safetensors"},
      {"{\"weight_map\":{\"a\":\"y.safetensors\",\"c\":\"x.safetensors\"}}", "a", 1,
       "y.safetensors"},
      {MAP("x.safetensors", "y.safetensors"), "c", 2, "x.safetensors"},
      {MAP("y.safetensors", "x.safetensors"), "b", 2, "x.safetensors"},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct zf_st *s;
    ck_ok(zf_st_open(&s, make_sharded(good[i].map, good[i].y_holds)));
    ck_assert_int_eq(s->count, good[i].n);
    const struct zf_st_tensor *a = zf_st_find(s, "a");
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(strstr(s->path[a->file], good[i].file));
    zf_st_free(s);
  }
}
END_TEST

START_TEST(test_nothing_there) {
  struct zf_st *s;
  ck_fails(zf_st_open(&s, tmp_path("absent")), ZF_EUSAGE, "absent: cannot open");
  const char *dir = tmp_path("bare");
  ck_ok(zf_mkdirs(dir));
  ck_fails(zf_st_open(&s, dir), ZF_EUSAGE, "bare: holds neither model.safetensors nor");
}
END_TEST

/* Writes the values of check_ramp, scaled for tensor "b.f32" of the golden. */
static int fill_ramp(void *ctx, int64_t index, FILE *f) {
  const struct zf_st_out *t = (const struct zf_st_out *)ctx + index;
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  for (int64_t i = 0; i < n; i++) {
    float v = t->ndim ? 0.25f * (float)i - 1 : 0.5f;
    unsigned char raw[4];
    zf_from_f32(raw, &v, t->type, 1);
    fwrite(raw, 1, zf_dtype_info(t->type)->size, f);
  }
  return 0;
}

static struct zf_st_out declared[] = {
    {"caf\xc3\xa9/\"x\"", ZF_F16, 2, {2, 0}},
    {"a.f16", ZF_F16, 2, {2, 2}},
    {"z.f32", ZF_F32, 1, {3}},
    {"a.bf16", ZF_BF16, 1, {5}},
    {"b.f32", ZF_F32, 0, {0}},
};

enum { DECLARED = sizeof declared / sizeof *declared };

START_TEST(test_write_golden) {
  const char *path = tmp_path("w.safetensors");
  char *ours, *theirs;
  size_t n, m;
  ck_ok(zf_st_write(path, declared, DECLARED, NULL, 0, fill_ramp, declared));
  ck_ok(zf_read_file(&ours, &n, path, 1 << 20));
  ck_ok(zf_read_file(&theirs, &m, GOLDEN "written.safetensors", 1 << 20));
  ck_assert_int_eq(n, m);
  ck_assert_mem_eq(ours, theirs, n);
  free(ours);
  free(theirs);
}
END_TEST

START_TEST(test_write_metadata) {
  static const char *const pairs[] = {"zoft", "0.1", "format", "zf", "k\n", "\"v\""};
  const char *path = tmp_path("m.safetensors");
  struct zf_st *s;
  ck_ok(zf_st_write(path, declared, DECLARED, pairs, 3, fill_ramp, declared));
  ck_ok(zf_st_open(&s, path));
  check_ramp(zf_st_find(s, "a.bf16"), 5, ZF_BF16);
  ck_assert_int_eq((zf_st_find(s, "b.f32")->data - s->map[0].data) % 8, 0);
  ck_assert_int_eq(s->metadata_count, 3);
  for (int64_t i = 0; i < 3; i++) {
    if (!strcmp(s->metadata[2 * i], "format")) ck_assert_str_eq(s->metadata[2 * i + 1], "zf");
    if (!strcmp(s->metadata[2 * i], "k\n")) ck_assert_str_eq(s->metadata[2 * i + 1], "\"v\"");
  }
  zf_st_free(s);
  ck_ok(zf_st_write(path, NULL, 0, NULL, 0, fill_ramp, NULL));
  ck_ok(zf_st_open(&s, path));
  ck_assert_int_eq(s->count, 0);
  zf_st_free(s);
}
END_TEST

static int fill_short(void *ctx, int64_t index, FILE *f) {
  (void)ctx, (void)index;
  putc(0, f);
  return 0;
}

static int fill_fails(void *ctx, int64_t index, FILE *f) {
  (void)ctx, (void)index, (void)f;
  return zf_error(ZF_ENOMEM, "no room");
}

START_TEST(test_write_mistakes) {
  char path[512];
  snprintf(path, sizeof path, "%s", tmp_path("e.safetensors"));
  struct zf_st_out t[2] = {{"a", ZF_F32, 1, {2}}, {"a", ZF_F16, 1, {1}}};
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_short, NULL), ZF_EFAIL,
           "e.safetensors: tensor 'a': 1 bytes were written where 8 are declared");
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_fails, NULL), ZF_ENOMEM, "tensor 'a': no room");
  ck_fails(zf_st_write(path, t, 2, NULL, 0, fill_ramp, t), ZF_EINVALID, "the name 'a' is taken");
  t[0].name = "__metadata__";
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_ramp, t), ZF_EINVALID, "'__metadata__' is taken");
  t[0].name = "\xff";
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_ramp, t), ZF_EINVALID, "is not UTF-8");
  t[0].name = "a";
  ck_fails(zf_st_write(path, t, 1, (const char *const[]){"k", "\xff"}, 1, fill_ramp, t),
           ZF_EINVALID, "is not UTF-8");
  t[0] = (struct zf_st_out){"a", ZF_F32, 2, {INT64_MAX, 3}};
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_ramp, t), ZF_EINVALID, "has no such size");
  t[0].ndim = ZF_ST_MAXDIM + 1;
  ck_fails(zf_st_write(path, t, 1, NULL, 0, fill_ramp, t), ZF_EINVALID, "has 9 dimensions");
  ck_assert(!zf_exists(path));
  char dir[520];
  snprintf(dir, sizeof dir, "%s", tmp_path("none"));
  ck_ok(zf_mkdirs(dir));
  ck_fails(zf_st_write(tmp_path("none/sub/x"), t + 1, 1, NULL, 0, fill_ramp, t + 1), ZF_EIO,
           "cannot create");
  ck_assert_int_eq(zf_dir_empty(dir), 1);
}
END_TEST

/* No room (a limit of the process, as a full disk would be): nothing is left under the name. */
START_TEST(test_write_no_room) {
  char dir[512], path[540];
  struct zf_st_out big = {"a", ZF_F32, 1, {100000}};
  struct rlimit was, small;
  snprintf(dir, sizeof dir, "%s", tmp_path("room"));
  snprintf(path, sizeof path, "%s/x.safetensors", dir);
  ck_ok(zf_mkdirs(dir));
  ck_assert(!getrlimit(RLIMIT_FSIZE, &was) && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
  small = was;
  small.rlim_cur = 100000;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
  ck_fails(zf_st_write(path, &big, 1, NULL, 0, fill_ramp, &big), ZF_EIO,
           "cannot write: File too large");
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
  ck_assert_int_eq(zf_dir_empty(dir), 1);
}
END_TEST

int main(void) {
  Suite *s = suite_create("safetensors");
  TCase *t = tcase_create("read");
  tcase_add_loop_test(t, test_broken, 0, sizeof broken / sizeof *broken);
  tcase_add_test(t, test_lengths);
  tcase_add_test(t, test_hostile);
  tcase_add_test(t, test_valid);
  tcase_add_test(t, test_golden);
  tcase_add_test(t, test_sharded);
  tcase_add_test(t, test_shard_mistakes);
  tcase_add_test(t, test_shards_by_map);
  tcase_add_test(t, test_nothing_there);
  suite_add_tcase(s, t);
  t = tcase_create("write");
  tcase_add_test(t, test_write_golden);
  tcase_add_test(t, test_write_metadata);
  tcase_add_test(t, test_write_mistakes);
  tcase_add_test(t, test_write_no_room);
  suite_add_tcase(s, t);
  return unit_run(s);
}
