/* Files: reading, writing aside and renaming, directories; what the system refuses. */
#include "unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/sysmacros.h>
#endif

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

/* Entries of a directory, . and .. aside. */
static int entries(const char *path) {
  DIR *d = opendir(path);
  int n = -2;
  ck_assert_ptr_nonnull(d);
  while (readdir(d)) n++;
  closedir(d);
  return n;
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
  ck_fails(zf_write_file(dir, "x", 1), ZF_EIO, "dir: cannot create: Is a directory");
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
  fputs("half", o.file);
  fflush(o.file);
  ck_assert(!zf_exists(path));
  ck_assert_int_eq(zf_dir_empty(dir), 0);
  zf_out_abort(&o);
  ck_assert_int_eq(zf_dir_empty(dir), 1);
  ck_ok(zf_out_open(&o, path));
  fputs("whole", o.file);
  ck_ok(zf_out_commit(&o));
  zf_out_abort(&o);
  check_text(path, "whole");
  ck_assert_int_eq(zf_dir_empty(dir), 0);
  free(dir);
  free(path);
}
END_TEST

/* What does not fit (here: a limit of the process, as a full disk would) is found at commit; the old
 * file stays and nothing is left beside it. */
START_TEST(test_no_room) {
  char *dir = path_of("room"), *path = path_of("room/kept"), *big = calloc(1, 1 << 20);
  struct rlimit was, small;
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_write_file(path, "old", 3));
  ck_assert(!getrlimit(RLIMIT_FSIZE, &was) && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
  small = was;
  small.rlim_cur = 4096;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
  ck_fails(zf_write_file(path, big, 1 << 20), ZF_EIO, "kept: cannot write: File too large");
  ck_fails(zf_write_file(path, big, 5000), ZF_EIO, "kept: cannot write: File too large");
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
  check_text(path, "old");
  ck_assert_int_eq(entries(dir), 1);
  free(big);
  free(path);
  free(dir);
}
END_TEST

/* A link stays a link, and what it names is written, also when that is not there yet. */
START_TEST(test_links) {
  char *dir = path_of("links"), *real = path_of("links/real"), *link = path_of("links/link");
  char *second = path_of("links/second"), *fresh = path_of("links/fresh"),
       *loop = path_of("links/loop");
  struct stat st;
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_write_file(real, "old", 3));
  ck_assert(!symlink("real", link) && !symlink(link, second) && !symlink("sub/../new", fresh) &&
            !symlink("loop", loop));
  ck_ok(zf_write_file(second, "new", 3));
  check_text(real, "new");
  ck_assert(!lstat(link, &st) && S_ISLNK(st.st_mode) && !lstat(second, &st) && S_ISLNK(st.st_mode));
  ck_fails(zf_write_file(fresh, "x", 1), ZF_EIO, "fresh: cannot create: No such file");
  ck_ok(zf_mkdirs(tmp_path("links/sub")));
  ck_ok(zf_write_file(fresh, "made", 4));
  check_text(tmp_path("links/new"), "made");
  ck_fails(zf_write_file(loop, "x", 1), ZF_EIO, "loop: cannot create: Too many levels");
  ck_assert_int_eq(entries(dir), 7);
  free(dir);
  free(real);
  free(link);
  free(second);
  free(fresh);
  free(loop);
}
END_TEST

START_TEST(test_mode_stays) {
  char *path = path_of("private");
  struct stat st;
  ck_ok(zf_write_file(path, "old", 3));
  ck_assert_int_eq(chmod(path, 0640), 0);
  ck_ok(zf_write_file(path, "new", 3));
  ck_assert(!stat(path, &st));
  ck_assert_uint_eq(st.st_mode & 0777, 0640);
  free(path);
}
END_TEST

/* Names like ours that belong to another are neither overwritten nor removed. */
START_TEST(test_foreign_names) {
  char *dir = path_of("foreign"), *path = path_of("foreign/f");
  char *taken = zf_asprintf("%s.tmp.%ld", path, (long)getpid());
  struct zf_out o;
  ck_ok(zf_mkdirs(dir));
  ck_assert_int_eq(symlink("elsewhere", taken), 0);
  ck_ok(zf_write_file(path, "text", 4));
  ck_ok(zf_out_open(&o, path));
  zf_out_abort(&o);
  check_text(path, "text");
  ck_assert(!zf_exists(taken) && !zf_exists(tmp_path("foreign/elsewhere")));
  ck_assert_int_eq(entries(dir), 2);
  free(taken);
  free(path);
  free(dir);
}
END_TEST

static void on_alarm(int number) {
  (void)number;
}

/* Interrupted all the time while it writes `n` bytes to a reader that is slow. */
static void write_interrupted(const char *path, const char *data, size_t n) {
  struct sigaction a = {.sa_handler = on_alarm}, was;
  struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  ck_assert(!sigaction(SIGALRM, &a, &was) && !setitimer(ITIMER_REAL, &often, NULL));
  int rc = zf_write_file(path, data, n);
  ck_assert(!setitimer(ITIMER_REAL, &never, NULL) && !sigaction(SIGALRM, &was, NULL));
  ck_assert_msg(rc == 0, "%s", zf_error_message());
}

/* Reads to the end, with pauses; exits 0 when all bytes are there. */
static void read_slowly(const char *path, const char *want, size_t n) {
  char piece[8192];
  size_t at = 0;
  int fd = open(path, O_RDONLY);
  for (ssize_t k; fd >= 0 && (k = read(fd, piece, sizeof piece)) > 0; at += (size_t)k) {
    if (at + (size_t)k > n || memcmp(piece, want + at, (size_t)k) != 0) _exit(2);
    usleep(2000);
  }
  _exit(at == n ? 0 : 1);
}

START_TEST(test_pipe) {
  enum { N = 400000 };
  char *dir = path_of("pipes"), *path = path_of("pipes/pipe"), *data = malloc(N);
  struct stat st;
  int state;
  ck_ok(zf_mkdirs(dir));
  for (int i = 0; i < N; i++) data[i] = (char)(i * 7 >> 4);
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  pid_t reader = fork();
  if (!reader) read_slowly(path, data, N);
  write_interrupted(path, data, N);
  ck_assert(waitpid(reader, &state, 0) == reader && WIFEXITED(state));
  ck_assert_int_eq(WEXITSTATUS(state), 0);
  ck_assert(!stat(path, &st) && S_ISFIFO(st.st_mode));
  ck_assert_int_eq(entries(dir), 1);
  free(data);
  free(path);
  free(dir);
}
END_TEST

/* A device of our own, numbered as /dev/full and /dev/null are. */
START_TEST(test_devices) {
#ifdef __linux__
  char *full = path_of("full"), *null = path_of("null");
  struct stat st;
  if (mknod(full, S_IFCHR | 0600, makedev(1, 7)) || mknod(null, S_IFCHR | 0600, makedev(1, 3)) ||
      access(null, W_OK) || close(open(null, O_WRONLY))) {
    puts("SKIP devices: none can be made and opened here");
    return;
  }
  ck_ok(zf_write_file(null, "text", 4));
  ck_fails(zf_write_file(full, "text", 4), ZF_EIO, "full: cannot write: No space left");
  ck_assert(!stat(null, &st) && S_ISCHR(st.st_mode) && !stat(full, &st) && S_ISCHR(st.st_mode));
  free(full);
  free(null);
#else
  puts("SKIP devices: their numbers are Linux's");
#endif
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
  tcase_add_test(t, test_no_room);
  tcase_add_test(t, test_links);
  tcase_add_test(t, test_mode_stays);
  tcase_add_test(t, test_foreign_names);
  tcase_add_test(t, test_pipe);
  tcase_add_test(t, test_devices);
  tcase_add_test(t, test_mkdirs);
  tcase_add_test(t, test_read_only);
  suite_add_tcase(s, t);
  return unit_run(s);
}
