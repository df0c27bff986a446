/* Files: reading, writing aside and renaming, directories; what the system refuses. */
#include "unit/unit.h"

#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

/* tmp_path() hands out buffers in turn; these tests keep theirs. */
static char *path_of(const char *name) {
  char *p = zf_strdup(tmp_path(name));
  ck_assert_ptr_nonnull(p);
  return p;
}

static void check_text(const char *path, const char *want) {
  char *text;
  size_t len;
  ck_ok(zf_read_file(&text, &len, path, 1 << 20));
  ck_assert_int_eq(len, strlen(want));
  ck_assert_str_eq(text, want);
  free(text);
}

START_TEST(test_write_read) {
  char *path = path_of("f");
  char *text = NULL;
  struct zf_map m;
  ck_ok(zf_write_file(path, "hello", 5));
  check_text(path, "hello");
  ck_ok(zf_write_file(path, "again", 5)); /* over the old one */
  check_text(path, "again");
  ck_ok(zf_read_file(&text, NULL, path, 5));
  free(text);
  ck_fails(zf_read_file(&text, NULL, path, 4), ZF_EINVALID, "longer than the 4 bytes");
  ck_assert_ptr_null(text);
  ck_ok(zf_map_open(&m, path));
  ck_assert_int_eq(m.len, 5);
  ck_assert_mem_eq(m.data, "again", 5);
  zf_map_drop(&m, 0, 5);
  ck_assert_mem_eq(m.data, "again", 5);
  zf_map_close(&m);
  zf_map_close(&m);
  free(path);
}
END_TEST

START_TEST(test_empty) {
  char *path = path_of("empty");
  char hash[33];
  struct zf_map m;
  ck_ok(zf_write_file(path, "", 0));
  check_text(path, "");
  ck_ok(zf_map_open(&m, path));
  ck_assert(!m.data && !m.len);
  zf_map_close(&m);
  ck_ok(zf_hash_file(hash, path));
  ck_assert_str_eq(hash, "99aa06d3014798d86001c324468d497f");
  free(path);
}
END_TEST

START_TEST(test_drop) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 4 * page + 100;
  char *path = path_of("pages"), *data = malloc(len);
  struct zf_map m;
  for (size_t i = 0; i < len; i++) data[i] = (char)(i * 31 >> 3);
  ck_ok(zf_write_file(path, data, len));
  ck_ok(zf_map_open(&m, path));
  zf_map_drop(&m, 10, len - 10);
  zf_map_drop(&m, 10, 20); /* no whole page */
  ck_assert_mem_eq(m.data, data, len);
  zf_map_close(&m);
  free(data);
  free(path);
}
END_TEST

START_TEST(test_missing) {
  char *path = path_of("absent"), *under = path_of("absent/below"), *dir = path_of("dir");
  char *text, hash[33];
  struct zf_map m;
  ck_fails(zf_map_open(&m, path), ZF_EUSAGE, "absent: cannot open: No such file");
  ck_fails(zf_read_file(&text, NULL, path, 10), ZF_EUSAGE, "absent: cannot open");
  ck_fails(zf_hash_file(hash, path), ZF_EUSAGE, "absent");
  ck_fails(zf_write_file(under, "x", 1), ZF_EIO, "absent/below: cannot create: No such file");
  ck_fails(zf_copy_file(path, dir), ZF_EUSAGE, "absent");
  ck_assert(!zf_exists(path) && !zf_is_dir(path) && !zf_exists(dir));
  ck_assert_int_eq(zf_dir_empty(path), ZF_EUSAGE);
  ck_fails(zf_sync_dir(path), ZF_EUSAGE, "cannot open");
  ck_ok(zf_mkdirs(dir));
  ck_fails(zf_map_open(&m, dir), ZF_EUSAGE, "is not a regular file");
  ck_fails(zf_read_file(&text, NULL, dir, 10), ZF_EIO, "dir: cannot read");
  ck_assert_ptr_null(text);
  ck_fails(zf_write_file(dir, "x", 1), ZF_EIO, "cannot rename into place");
  ck_assert_int_eq(zf_dir_empty(dir), 1);
  free(path);
  free(under);
  free(dir);
}
END_TEST

START_TEST(test_abort) {
  char *dir = path_of("aside"), *path = path_of("aside/f");
  struct zf_out o = {0};
  zf_out_abort(&o);
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_out_open(&o, path));
  fputs("half", o.f);
  fflush(o.f);
  ck_assert(!zf_exists(path));
  ck_assert_int_eq(zf_dir_empty(dir), 0);
  zf_out_abort(&o);
  ck_assert_int_eq(zf_dir_empty(dir), 1);
  ck_ok(zf_out_open(&o, path));
  fputs("whole", o.f);
  ck_ok(zf_out_commit(&o));
  zf_out_abort(&o);
  check_text(path, "whole");
  ck_assert_int_eq(zf_dir_empty(dir), 0);
  free(dir);
  free(path);
}
END_TEST

/* A full disk is found at commit; the old file stays and nothing is left beside it. */
START_TEST(test_full_disk) {
  if (!zf_exists("/dev/full")) {
    puts("SKIP full disk: no /dev/full here");
    return;
  }
  char *path = path_of("kept"), *tmp = zf_asprintf("%s.tmp.%ld", path, (long)getpid());
  char *big = calloc(1, 1 << 20);
  ck_ok(zf_write_file(path, "old", 3));
  ck_assert_int_eq(symlink("/dev/full", tmp), 0);
  ck_fails(zf_write_file(path, big, 1 << 20), ZF_EIO, "kept: cannot write: No space left");
  check_text(path, "old");
  ck_assert(!zf_exists(tmp));
  ck_assert_int_eq(symlink("/dev/full", tmp), 0);
  ck_fails(zf_write_file(path, "x", 1), ZF_EIO, "cannot write"); /* in the buffer until then */
  check_text(path, "old");
  free(big);
  free(tmp);
  free(path);
}
END_TEST

START_TEST(test_mkdirs) {
  char *deep = path_of("a/b//c/"), *file = path_of("a/f"), *under = path_of("a/f/g");
  ck_ok(zf_mkdirs(deep));
  ck_ok(zf_mkdirs(deep));
  ck_assert(zf_is_dir(deep));
  ck_ok(zf_mkdirs("/"));
  ck_ok(zf_mkdirs("."));
  ck_fails(zf_mkdirs(""), ZF_EIO, "cannot make the directory");
  ck_ok(zf_write_file(file, "x", 1));
  ck_assert(zf_exists(file) && !zf_is_dir(file));
  ck_fails(zf_mkdirs(file), ZF_EIO, "is not a directory");
  ck_fails(zf_mkdirs(under), ZF_EIO, "a/f");
  ck_ok(zf_copy_file(file, tmp_path("a/copy")));
  check_text(tmp_path("a/copy"), "x");
  free(deep);
  free(file);
  free(under);
}
END_TEST

/* As root nothing is forbidden: the test asks as nobody. */
START_TEST(test_read_only) {
  char *dir = path_of("locked"), *path = path_of("locked/f"), *sub = path_of("locked/sub");
  char *secret = path_of("secret"), *text;
  struct zf_map m;
  int root = geteuid() == 0;
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_write_file(secret, "x", 1));
  ck_assert(!chmod(secret, 0) && !chmod(tmp_path(""), 0755) && !chmod(dir, 0555));
  if (root && seteuid(65534)) {
    puts("SKIP read-only directory: cannot become another user");
    return;
  }
  ck_fails(zf_write_file(path, "x", 1), ZF_EIO, "locked/f: cannot create: Permission denied");
  ck_fails(zf_mkdirs(sub), ZF_EIO, "locked/sub: cannot make the directory: Permission denied");
  ck_fails(zf_map_open(&m, secret), ZF_EIO, "secret: cannot open: Permission denied");
  ck_fails(zf_read_file(&text, NULL, secret, 10), ZF_EIO, "cannot open: Permission denied");
  ck_assert_int_eq(zf_dir_empty(dir), 1);
  if (root) ck_assert_int_eq(seteuid(0), 0);
  ck_assert_int_eq(chmod(dir, 0755), 0);
  free(dir);
  free(path);
  free(sub);
  free(secret);
}
END_TEST

int main(void) {
  Suite *s = suite_create("file");
  TCase *t = tcase_create("file");
  tcase_add_test(t, test_write_read);
  tcase_add_test(t, test_empty);
  tcase_add_test(t, test_drop);
  tcase_add_test(t, test_missing);
  tcase_add_test(t, test_abort);
  tcase_add_test(t, test_full_disk);
  tcase_add_test(t, test_mkdirs);
  tcase_add_test(t, test_read_only);
  suite_add_tcase(s, t);
  return unit_run(s);
}
