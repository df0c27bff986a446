/* The ground floor: errors, arenas, buffers, the byte cursor, hashes, CPU flags.
 * Files have test_file.c, element types test_dtype.c. */
#include "base/file.h"
#include "unit/unit.h"

#include <math.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "base/hash.h"

static void *other_thread(void *arg) {
  *(int *)arg = strcmp(zf_error_message(), "") == 0;
  zf_error(ZF_EIO, "theirs");
  return NULL;
}

START_TEST(test_err) {
  int alone = 0;
  pthread_t t;
  zf_error_clear();
  ck_assert_str_eq(zf_error_message(), "");
  ck_assert_int_eq(zf_error(ZF_EINVALID, "%s at %d", "bad", 7), ZF_EINVALID);
  ck_assert_str_eq(zf_error_message(), "bad at 7");
  ck_assert_int_eq(zf_error_prefix(ZF_EIO, "file %s", "x"), ZF_EIO);
  ck_assert_str_eq(zf_error_message(), "file x: bad at 7");
  zf_error(ZF_EFAIL, "[%s]", zf_error_message()); /* the slot as its own argument */
  ck_assert_str_eq(zf_error_message(), "[file x: bad at 7]");
  zf_error_prefix(ZF_EFAIL, "%s", zf_error_message());
  ck_assert_str_eq(zf_error_message(), "[file x: bad at 7]: [file x: bad at 7]");
  pthread_create(&t, NULL, other_thread, &alone);
  pthread_join(t, NULL);
  ck_assert_int_eq(alone, 1);
  ck_assert_str_eq(zf_error_message(), "[file x: bad at 7]: [file x: bad at 7]");
}
END_TEST

START_TEST(test_err_one_line) {
  zf_error(ZF_EFAIL, "a\nb\t\x1b[31m\x7f\xc2\x9b \xc3\xa9\xc2\xa0%s", "\r");
  ck_assert_str_eq(zf_error_message(), "a?b??[31m??? \xc3\xa9\xc2\xa0?");
  zf_error_prefix(ZF_EFAIL, "\n");
  ck_assert_str_eq(zf_error_message(), "?: a?b??[31m??? \xc3\xa9\xc2\xa0?");
}
END_TEST

START_TEST(test_err_long) {
  static char word[5000];
  memset(word, 'a', sizeof word - 1);
  zf_error(ZF_EFAIL, "%s", word);
  size_t n = strlen(zf_error_message());
  ck_assert(n > 1000 && n < sizeof word);
  zf_error_prefix(ZF_EFAIL, "%s", word);
  ck_assert_int_eq(strlen(zf_error_message()), n);
  zf_error(ZF_EFAIL, "tail");
  zf_error_prefix(ZF_EFAIL, "%.*s", (int)n - 3, word);
  ck_assert_str_eq(zf_error_message() + n - 3, ": t");
}
END_TEST

START_TEST(test_arena) {
  struct zf_arena a = {0};
  zf_arena_free(&a);
  ck_ok(zf_arena_init(&a, 1 << 16));
  unsigned char *p = zf_arena_alloc(&a, 100), *q = zf_arena_alloc(&a, 1);
  ck_assert(p && q && (uintptr_t)p % 64 == 0 && (uintptr_t)q % 64 == 0 && q >= p + 100);
  for (int i = 0; i < 100; i++) ck_assert_int_eq(p[i], 0);
  memset(p, 255, 100);
  ck_assert_int_eq(a.used, zf_arena_cost(100) + zf_arena_cost(1));
  size_t mark = a.used;
  ck_assert_ptr_nonnull(zf_arena_array(&a, 1000, 8));
  size_t peak = a.used;
  ck_assert_int_eq(peak - mark, zf_arena_cost(8000));
  zf_arena_rewind(&a, mark);
  ck_assert_int_eq(a.used, mark);
  ck_assert_int_eq(a.peak, peak);
  zf_arena_rewind(&a, peak); /* forward: nothing */
  ck_assert_int_eq(a.used, mark);
  ck_assert_int_eq(p[99], 255);
  zf_arena_free(&a);
  ck_assert_ptr_null(a.base);
}
END_TEST

START_TEST(test_arena_exhausted) {
  struct zf_arena a;
  ck_ok(zf_arena_init(&a, 1 << 12));
  ck_assert_ptr_null(zf_arena_alloc(&a, (1 << 12) + 1));
  ck_assert_ptr_nonnull(strstr(zf_error_message(), "arena exhausted: 0 of 4096 bytes used, 4097"));
  ck_assert_ptr_null(zf_arena_alloc(&a, SIZE_MAX));
  ck_assert_ptr_null(zf_arena_array(&a, -1, 8));
  ck_assert_ptr_null(zf_arena_array(&a, INT64_MAX, 8));
  ck_assert_ptr_nonnull(strstr(zf_error_message(), "is too large"));
  ck_assert_int_eq(a.used, 0);
  while (zf_arena_alloc(&a, 200)) continue;
  ck_assert(a.used <= a.cap && a.cap - a.used < zf_arena_cost(200));
  zf_arena_free(&a);
  ck_assert_int_eq(zf_arena_init(&a, SIZE_MAX / 2), ZF_ENOMEM);
  ck_assert_ptr_null(zf_calloc(-1, 8));
  ck_assert_ptr_null(zf_calloc(INT64_MAX, 16));
  void *p = zf_malloc(0);
  ck_assert_ptr_nonnull(p);
  free(p);
}
END_TEST

START_TEST(test_buf) {
  struct zf_buf b = {0};
  ck_ok(zf_buf_ok(&b));
  zf_buf_clear(&b);
  zf_buf_add(&b, NULL, 0);
  ck_assert_str_eq(b.data, "");
  zf_buf_puts(&b, "abc");
  zf_buf_putc(&b, 0);
  zf_buf_printf(&b, "%05d|%s", 42, "x");
  ck_assert_int_eq(b.len, 11);
  ck_assert_mem_eq(b.data, "abc\00000042|x", 12);
  zf_buf_clear(&b);
  for (int i = 0; i < 10000; i++) zf_buf_printf(&b, "%d,", i % 10);
  ck_assert_int_eq(b.len, 20000);
  ck_assert_int_eq(strlen(b.data), 20000);
  ck_assert_int_eq(zf_buf_reserve(&b, SIZE_MAX - 10), ZF_ENOMEM);
  zf_buf_puts(&b, "more");
  ck_assert_int_eq(b.len, 20000);
  ck_assert_int_eq(zf_buf_ok(&b), ZF_ENOMEM);
  zf_buf_free(&b);
  ck_ok(zf_buf_ok(&b));
}
END_TEST

static void check_joined(const char *a, const char *b, const char *want) {
  char *p = zf_path_join(a, b);
  ck_assert_str_eq(p, want);
  free(p);
}

START_TEST(test_strings) {
  char *p = zf_strndup("abcdef", 3), *q = zf_asprintf("%s-%d", "x", 5), *e = zf_strdup("");
  ck_assert_str_eq(p, "abc");
  ck_assert_str_eq(q, "x-5");
  ck_assert_str_eq(e, "");
  free(p);
  free(q);
  free(e);
  check_joined("a", "b", "a/b");
  check_joined("a/", "b", "a/b");
  check_joined("a", "/b", "/b");
  check_joined("", "b", "b");
  check_joined(NULL, "b", "b");
}
END_TEST

START_TEST(test_glob) {
  static const struct {
    const char *pattern, *text;
    int match;
  } t[] = {
      {"", "", 1},
      {"", "a", 0},
      {"*", "", 1},
      {"*", "abc", 1},
      {"?", "", 0},
      {"?", "a", 1},
      {"a?c", "abc", 1},
      {"a?c", "ac", 0},
      {"*.weight", "a.b.weight", 1},
      {"*.weight", "weight", 0},
      {"a*b*c", "aXbYc", 1},
      {"a*b*c", "aXcYb", 0},
      {"*ab", "aab", 1},
      {"*aab", "aaaab", 1},
      {"a**b", "ab", 1},
      {"abc", "abcd", 0},
      {"abc*", "abc", 1},
      {"model.*.q_proj", "model.0.q_proj", 1},
      {"model.*.q_proj", "model.0.q_proj.weight", 0},
  };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    ck_assert_msg(zf_glob(t[i].pattern, t[i].text) == t[i].match, "'%s' and '%s'", t[i].pattern,
                  t[i].text);
}
END_TEST

/* Backtracking must stay polynomial: this takes ages where it is not. */
START_TEST(test_glob_hostile) {
  char text[2001], pattern[202];
  memset(text, 'a', 2000);
  text[2000] = 0;
  for (int i = 0; i < 200; i++) pattern[i] = i % 2 ? '*' : 'a';
  strcpy(pattern + 200, "b");
  ck_assert_int_eq(zf_glob(pattern, text), 0);
}
END_TEST

START_TEST(test_nearest) {
  static const char *const names[] = {"learning_rate", "lr_scheduler", "max_steps", "eps", "seed"};
  static const struct {
    const char *word, *near;
  } t[] = {
      {"learning_rat", "learning_rate"},
      {"leanring_rate", "learning_rate"},
      {"learningrate", "learning_rate"},
      {"lr_schedule", "lr_scheduler"},
      {"maxsteps", "max_steps"},
      {"max_step", "max_steps"},
      {"sede", "seed"},
      {"learning_rate", "learning_rate"},
      {"optimizer", NULL},
      {"", NULL},
      {"completely_else", NULL},
  };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    const char *near = zf_nearest(t[i].word, names, 5);
    if (t[i].near)
      ck_assert_str_eq(near, t[i].near);
    else
      ck_assert_msg(!near, "'%s' is not meant by '%s'", near, t[i].word);
  }
  ck_assert_ptr_null(zf_nearest("seed", names, 0));
  char word[1001];
  memset(word, 'x', 1000);
  word[1000] = 0;
  ck_assert_ptr_null(zf_nearest(word, names, 5));
  word[64] = 0;
  ck_assert_ptr_null(zf_nearest(word, names, 5));
}
END_TEST

START_TEST(test_human_bytes) {
  static const struct {
    double bytes;
    const char *text;
  } t[] = {{0, "0 B"},          {999, "999 B"},    {999.4, "999 B"},    {999.5, "1.00 kB"},
           {1500, "1.50 kB"},   {9994, "9.99 kB"}, {9995, "10.0 kB"},   {99949, "99.9 kB"},
           {99950, "100 kB"},   {312e6, "312 MB"}, {999.4e6, "999 MB"}, {999.6e6, "1.00 GB"},
           {1.5e12, "1.50 TB"}, {1e15, "1.00 PB"}, {5e18, "5000 PB"}};
  char out[32];
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    ck_assert_str_eq(zf_human_bytes(out, t[i].bytes), t[i].text);
}
END_TEST

START_TEST(test_bytes) {
  static const unsigned char raw[] = {0x7f, 0x78, 0x56, 0x34, 0x12, 8,    7,    6,  5, 4,
                                      3,    2,    0x81, 0,    0,    0xc0, 0x3f, 0,  0, 0,
                                      0,    0,    0,    0x04, 0xc0, 'e',  'n',  'd'};
  struct zf_bytes b = {.data = raw, .len = sizeof raw};
  uint8_t u8 = 0;
  uint32_t u32 = 0;
  uint64_t u64 = 0;
  float f32 = 0;
  double f64 = 0;
  const unsigned char *p = NULL;
  ck_ok(zf_bytes_u8(&b, &u8));
  ck_ok(zf_bytes_u32(&b, &u32));
  ck_ok(zf_bytes_u64(&b, &u64));
  ck_ok(zf_bytes_f32(&b, &f32));
  ck_ok(zf_bytes_f64(&b, &f64));
  ck_assert_uint_eq(u8, 0x7f);
  ck_assert_uint_eq(u32, 0x12345678);
  ck_assert_uint_eq(u64, 0x8102030405060708);
  ck_assert(f32 == 1.5f && f64 == -2.5);
  ck_assert_int_eq(b.pos, 25);
  ck_fails(zf_bytes_u32(&b, &u32), ZF_EINVALID,
           "ends at byte 28 where 4 more were expected at byte 25");
  ck_fails(zf_bytes_take(&b, UINT64_MAX, &p), ZF_EINVALID, "18446744073709551615 more");
  ck_assert_int_eq(b.pos, 25);
  ck_assert_uint_eq(u32, 0x12345678);
  ck_ok(zf_bytes_take(&b, 3, &p));
  ck_assert_mem_eq(p, "end", 3);
  ck_ok(zf_bytes_take(&b, 0, &p));
  ck_fails(zf_bytes_u8(&b, &u8), ZF_EINVALID, "at byte 28");
}
END_TEST

START_TEST(test_overflow) {
  int64_t v;
  ck_assert(!zf_mul_checked(1LL << 31, 1LL << 31, &v) && v == 1LL << 62);
  ck_assert(zf_mul_checked(1LL << 32, 1LL << 31, &v));
  ck_assert(zf_mul_checked(INT64_MIN, -1, &v));
  ck_assert(!zf_mul_checked(0, INT64_MAX, &v) && v == 0);
  ck_assert(!zf_add_checked(INT64_MAX, 0, &v) && v == INT64_MAX);
  ck_assert(zf_add_checked(INT64_MAX, 1, &v));
  ck_assert(zf_add_checked(INT64_MIN, -1, &v));
}
END_TEST

START_TEST(test_crc32c) {
  /* Check value of the CRC catalogue, and the vectors of RFC 3720 B.4. */
  unsigned char raw[32];
  ck_assert_uint_eq(zf_crc32c(0, "123456789", 9), 0xE3069283);
  ck_assert_uint_eq(zf_crc32c(0, "", 0), 0);
  memset(raw, 0, 32);
  ck_assert_uint_eq(zf_crc32c(0, raw, 32), 0x8A9136AA);
  memset(raw, 255, 32);
  ck_assert_uint_eq(zf_crc32c(0, raw, 32), 0x62A8AB43);
  for (int i = 0; i < 32; i++) raw[i] = (unsigned char)i;
  ck_assert_uint_eq(zf_crc32c(0, raw, 32), 0x46DD794E);
  for (size_t i = 0; i <= 32; i++)
    ck_assert_uint_eq(zf_crc32c(zf_crc32c(0, raw, i), raw + i, 32 - i), 0x46DD794E);
}
END_TEST

START_TEST(test_hash) {
  struct zf_hash *h;
  char one[33], two[33];
  ck_ok(zf_hash_new(&h));
  zf_hash_hex(h, one);
  ck_assert_str_eq(one, "99aa06d3014798d86001c324468d497f"); /* XXH3-128 of nothing */
  for (int i = 0; i < 1000; i++) zf_hash_add(h, "0123456789", 10);
  zf_hash_hex(h, one);
  zf_hash_free(h);
  ck_ok(zf_hash_new(&h));
  char all[10000];
  for (int i = 0; i < 10000; i++) all[i] = (char)('0' + i % 10);
  zf_hash_add(h, all, 10000);
  zf_hash_hex(h, two);
  ck_assert_str_eq(one, two);
  zf_hash_add(h, "", 1);
  zf_hash_hex(h, two);
  ck_assert_str_ne(one, two);
  zf_hash_free(h);
}
END_TEST

START_TEST(test_cpu) {
  unsigned mask = 99;
  char names[96];
  ck_ok(zf_cpu_mask_parse(&mask, "none"));
  ck_assert_uint_eq(mask, 0);
  ck_ok(zf_cpu_mask_parse(&mask, "avx2,avx512"));
  ck_assert_uint_eq(mask, ZF_CPU_AVX2 | ZF_CPU_AVX512);
  ck_ok(zf_cpu_mask_parse(&mask, "0x3"));
  ck_assert_uint_eq(mask, 3);
  ck_assert_int_eq(zf_cpu_mask_parse(&mask, "sse9"), ZF_EUSAGE);
  ck_assert_int_eq(zf_cpu_mask_parse(&mask, "avx2,sse9"), ZF_EUSAGE);
  ck_assert_str_eq(zf_cpu_names(names, 0), "none");
  ck_assert_str_eq(zf_cpu_names(names, ZF_CPU_AVX2 | ZF_CPU_NEON), "avx2 neon");
  zf_cpu_mask(0);
  ck_assert_uint_eq(zf_cpu_flags(), 0);
  zf_cpu_mask(~0u);
  ck_assert(zf_cpu_cores() >= 1 && zf_peak_rss() > 0 && zf_cpu_brand()[0]);
  double t = zf_now();
  ck_assert(zf_now() >= t);
}
END_TEST

static const char *const words[][2] = {{"out/a-1_b.c", "out/a-1_b.c"},
                                       {"two words", "'two words'"},
                                       {"it's", "'it'\\''s'"},
                                       {"$(rm x)", "'$(rm x)'"},
                                       {"", "''"},
                                       {"-x", "./-x"},
                                       {"-a b", "'./-a b'"},
                                       {"\xc3\xa4\n", "'\xc3\xa4\n'"}};

START_TEST(test_shell_word) {
  char *word = zf_shell_word(words[_i][0]);
  ck_assert_str_eq(word, words[_i][1]);
  free(word);
}
END_TEST

/* --- control groups --- */

static void put_group(const char *dir, const char *name, const char *text) {
  char path[900];
  snprintf(path, sizeof path, "%s/%s", tmp_path("groups"), dir);
  ck_ok(zf_mkdirs(path));
  snprintf(path, sizeof path, "%s/%s/%s", tmp_path("groups"), dir, name);
  ck_ok(zf_write_file(path, text, strlen(text)));
}

static int quota(const char *lines) {
  char groups[600];
  snprintf(groups, sizeof groups, "%s", tmp_path("cgroup"));
  ck_ok(zf_write_file(groups, lines, strlen(lines)));
  return zf_cpu_quota(groups, tmp_path("groups"));
}

START_TEST(test_quota) {
  put_group("two", "cpu.max", "max 100000\n");
  put_group("two/pod", "cpu.max", "250000 100000\n");
  put_group("two/pod/one", "cpu.max", "50000 100000\n");
  put_group("two/pod/free", "cpu.max", "max 100000\n");
  put_group("cpu,cpuacct/a", "cpu.cfs_quota_us", "400000\n");
  put_group("cpu,cpuacct/a", "cpu.cfs_period_us", "100000\n");
  put_group("cpu,cpuacct/b", "cpu.cfs_quota_us", "-1\n");
  put_group("cpu,cpuacct/b", "cpu.cfs_period_us", "100000\n");
  ck_assert_int_eq(quota("0::/two\n"), 0);
  ck_assert_int_eq(quota("0::/two/pod\n"), 3);
  ck_assert_int_eq(quota("0::/two/pod/free\n"), 3); /* of the group above */
  ck_assert_int_eq(quota("0::/two/pod/one\n"), 1);
  ck_assert_int_eq(quota("0::/elsewhere\n"), 0);
  ck_assert_int_eq(quota("12:memory:/a\n4:cpu,cpuacct:/a\n"), 4);
  ck_assert_int_eq(quota("12:memory:/a\n4:cpuset:/a\n"), 0);
  ck_assert_int_eq(quota("4:cpu,cpuacct:/b\n0::/\n"), 0);
  ck_assert_int_eq(quota("4:cpu,cpuacct:/a\n0::/two/pod\n"), 3);
  put_group("cpu,cpuacct", "cpu.cfs_quota_us", "150000\n"); /* a container's mount is its group */
  put_group("cpu,cpuacct", "cpu.cfs_period_us", "100000\n");
  ck_assert_int_eq(quota("4:cpu,cpuacct:/docker/0123\n"), 2);
  put_group(".", "cpu.max", "200000 100000\n");
  ck_assert_int_eq(quota("0::/\n"), 2);
  ck_assert_int_eq(quota("0::/host/path/not/here\n"), 2);
  put_group("odd", "cpu.max", "x y z\n");
  put_group("odd", "cpu.max", "0 0\n");
  ck_assert_int_eq(quota("0::/odd\n"), 2);
  ck_assert_int_eq(quota("rubbish\n::\n"), 2);
  ck_assert_int_eq(zf_cpu_quota(tmp_path("none"), tmp_path("groups")), 0);
}
END_TEST

/* An array that grows keeps its entries; a size that no memory has is an error that leaves it alone. */
START_TEST(test_grow) {
  int64_t *array = NULL, cap = 0;
  for (int64_t i = 0; i < 1000; i++) {
    int64_t *grown = zf_grow(array, i, &cap, sizeof *grown);
    ck_assert_ptr_nonnull(grown);
    ck_assert_int_gt(cap, i);
    array = grown;
    array[i] = i * i;
  }
  for (int64_t i = 0; i < 1000; i++) ck_assert_int_eq(array[i], i * i);
  int64_t before = cap;
  ck_assert_ptr_null(zf_grow(array, cap, &cap, SIZE_MAX / 4));
  ck_assert_int_eq(cap, before);
  ck_assert_int_eq(array[999], 999 * 999);
  free(array);
}
END_TEST

int main(void) {
  Suite *s = suite_create("base");
  TCase *t = tcase_create("base");
  tcase_add_test(t, test_err);
  tcase_add_test(t, test_err_one_line);
  tcase_add_test(t, test_err_long);
  tcase_add_test(t, test_arena);
  tcase_add_test(t, test_grow);
  tcase_add_test(t, test_arena_exhausted);
  tcase_add_test(t, test_buf);
  tcase_add_test(t, test_strings);
  tcase_add_test(t, test_glob);
  tcase_add_test(t, test_glob_hostile);
  tcase_add_test(t, test_nearest);
  tcase_add_test(t, test_human_bytes);
  tcase_add_test(t, test_bytes);
  tcase_add_test(t, test_overflow);
  tcase_add_test(t, test_crc32c);
  tcase_add_test(t, test_hash);
  tcase_add_test(t, test_cpu);
  tcase_add_test(t, test_quota);
  tcase_add_loop_test(t, test_shell_word, 0, sizeof words / sizeof *words);
  suite_add_tcase(s, t);
  return unit_run(s);
}
