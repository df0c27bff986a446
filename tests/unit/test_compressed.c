/* Compressed data files: what comes out, streams one behind the other, and every way to be broken. */
#include "unit/unit.h"

#include <signal.h>
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/compressed.h"
#include "fmt/records.h"

static void pack_gz(struct zf_buf *out, const char *text, size_t n) {
  unsigned char b[1 << 20];
  z_stream z = {0};
  ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (unsigned char *)text;
  z.avail_in = (unsigned)n;
  z.next_out = b;
  z.avail_out = sizeof b;
  ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
  zf_buf_add(out, b, sizeof b - z.avail_out);
  deflateEnd(&z);
}

static void pack_zst(struct zf_buf *out, const char *text, size_t n) {
  static char b[1 << 20];
  ZSTD_CCtx *c = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
  size_t m = ZSTD_compress2(c, b, sizeof b, text, n);
  ck_assert(!ZSTD_isError(m));
  zf_buf_add(out, b, m);
  ZSTD_freeCCtx(c);
}

static const struct {
  const char *name;
  void (*pack)(struct zf_buf *out, const char *text, size_t n);
  const char *wrong_sum; /* what the library calls it */
} kinds[] = {{"f.jsonl.gz", pack_gz, "incorrect data check"},
             {"f.jsonl.zst", pack_zst, "checksum"}};

static int gather(void *ctx, const void *data, size_t n, size_t used) {
  ck_assert_uint_gt(used, 0);
  zf_buf_add(ctx, data, n);
  return 0;
}

static int unpack(struct zf_buf *out, const struct zf_buf *in, int kind, uint64_t limit) {
  zf_buf_clear(out);
  return zf_unpack((const unsigned char *)in->data, in->len, kinds[kind].name, limit, gather, out);
}

/* Long enough for several windows of output, and not of one letter alone. */
static void make_text(struct zf_buf *b) {
  for (int i = 0; b->len < 900000; i++)
    zf_buf_printf(b, "{\"text\": \"%d and %d\"}\n", i, i * i % 97);
}

START_TEST(test_round) {
  struct zf_buf text = {0}, in = {0}, out = {0};
  make_text(&text);
  kinds[_i].pack(&in, text.data, text.len);
  ck_ok(unpack(&out, &in, _i, UINT64_MAX));
  ck_assert_uint_eq(out.len, text.len);
  ck_assert_mem_eq(out.data, text.data, text.len);
  /* an empty stream between two */
  kinds[_i].pack(&in, "", 0);
  kinds[_i].pack(&in, "end", 3);
  ck_ok(unpack(&out, &in, _i, UINT64_MAX));
  ck_assert_uint_eq(out.len, text.len + 3);
  ck_assert_str_eq(out.data + text.len, "end");
  ck_fails(unpack(&out, &in, _i, 300000), ZF_EINVALID, "more than 300000 bytes come out of it");
  zf_buf_free(&text);
  zf_buf_free(&in);
  zf_buf_free(&out);
}
END_TEST

/* Cut off anywhere; every byte of the end wrong; something behind. */
START_TEST(test_broken) {
  struct zf_buf in = {0}, out = {0};
  kinds[_i].pack(&in, "{\"a\": 1}\n", 9);
  size_t whole = in.len;
  for (in.len = whole - 1; in.len > 4; in.len--)
    ck_fails(unpack(&out, &in, _i, 1000), ZF_EINVALID, "the stream ends before its end");
  in.len = whole;
  size_t sum = _i ? whole - 2 : whole - 6;
  in.data[sum] ^= 1;
  ck_fails(unpack(&out, &in, _i, 1000), ZF_EINVALID, kinds[_i].wrong_sum);
  in.data[sum] ^= 1;
  zf_buf_puts(&in, "garbage");
  char at[64];
  snprintf(at, sizeof at, "byte %zu: the %s data end and something else follows", whole,
           _i ? "Zstandard" : "gzip");
  ck_fails(unpack(&out, &in, _i, 1000), ZF_EINVALID, at);
  in.len = 0;
  ck_fails(unpack(&out, &in, _i, 1000), ZF_EINVALID, "is empty: expected");
  zf_buf_puts(&in, "{\"a\": 1}\n");
  ck_fails(unpack(&out, &in, _i, 1000), ZF_EINVALID, "although its name says so");
  zf_buf_free(&in);
  zf_buf_free(&out);
}
END_TEST

START_TEST(test_records_of_it) {
  struct zf_buf text = {0}, in = {0};
  struct zf_records *r;
  make_text(&text);
  kinds[_i].pack(&in, text.data, text.len);
  const char *path = tmp_path(kinds[_i].name);
  setenv("TMPDIR", "/tmp", 1);
  ck_ok(zf_write_file(path, in.data, in.len));
  ck_ok(zf_records_open(&r, path));
  ck_assert_str_eq(json_string_value(json_object_get(zf_records_row(r, 10), "text")), "10 and 3");
  ck_assert_int_eq(zf_records_line(r, 10), 11);
  zf_records_free(r);
  in.data[in.len - 9] ^= 1;
  ck_ok(zf_write_file(path, in.data, in.len));
  ck_fails(zf_records_open(&r, path), ZF_EINVALID, kinds[_i].name);
  in.data[in.len - 9] ^= 1;
  ck_ok(zf_write_file(path, in.data, in.len));
  setenv("TMPDIR", "/no/such/place", 1);
  ck_fails(zf_records_open(&r, path), ZF_EIO, "cannot make a temporary file in /no/such/place");
  setenv("TMPDIR", "/tmp", 1);
  signal(SIGXFSZ, SIG_IGN); /* a full disk */
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){400000, 400000}), 0);
  ck_fails(zf_records_open(&r, path), ZF_EIO, "cannot unpack it into /tmp: ");
  zf_buf_free(&text);
  zf_buf_free(&in);
}
END_TEST

START_TEST(test_names) {
  ck_assert_uint_eq(zf_compressed_stem_len("a.jsonl.gz"), 7);
  ck_assert_uint_eq(zf_compressed_stem_len("a.csv.ZST"), 5);
  ck_assert_uint_eq(zf_compressed_stem_len("a.jsonl"), 7);
  ck_fails(zf_unpack((const unsigned char *)"x", 1, "a.csv", 9, gather, NULL), ZF_EUSAGE,
           "expected a name that ends in .gz or .zst");
}
END_TEST

int main(void) {
  Suite *s = suite_create("packed");
  TCase *t = tcase_create("packed");
  tcase_add_loop_test(t, test_round, 0, 2);
  tcase_add_loop_test(t, test_broken, 0, 2);
  tcase_add_loop_test(t, test_records_of_it, 0, 2);
  tcase_add_test(t, test_names);
  suite_add_tcase(s, t);
  return unit_run(s);
}
