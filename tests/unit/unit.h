/* What every unit test shares: a main over Check suites, and temporary paths. */
#ifndef ZF_TESTS_UNIT_H
#define ZF_TESTS_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

/* Checks that a call succeeded, and prints the library's sentence if not. */
#define ck_ok(call)                                                                                \
  do {                                                                                             \
    int ck_rc = (call);                                                                            \
    ck_assert_msg(ck_rc == 0, "%s: %d: %s", #call, ck_rc, zf_error_message());                     \
  } while (0)

/* Checks that a call failed with `code` and that its sentence holds `part`. */
#define ck_fails(call, code, part)                                                                 \
  do {                                                                                             \
    zf_error_clear();                                                                              \
    int ck_rc = (call);                                                                            \
    ck_assert_msg(ck_rc == (code), "%s: %d, not %d: %s", #call, ck_rc, code, zf_error_message());  \
    ck_assert_msg(strstr(zf_error_message(), part) != NULL, "'%s' lacks '%s'", zf_error_message(), \
                  part);                                                                           \
  } while (0)

/* A path in this process' temporary directory, made at the first call. */
static inline const char *tmp_path(const char *name) {
  static char dir[256], path[8][512];
  static int next;
  if (!dir[0]) {
    const char *t = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/zoft-test-XXXXXX", t ? t : "/tmp");
    if (!mkdtemp(dir)) abort();
  }
  next = (next + 1) % 8;
  snprintf(path[next], sizeof path[next], "%s/%s", dir, name);
  return path[next];
}

/* Runs one suite; returns main's exit status. */
static inline int unit_run(Suite *s) {
  SRunner *r = srunner_create(s);
  srunner_run_all(r, getenv("CK_VERBOSE") ? CK_VERBOSE : CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? 1 : 0;
}

#endif
