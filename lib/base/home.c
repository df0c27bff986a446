#include "base/home.h"

#include <ctype.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"

/* The home of a user, by name or (n 0) of the one at hand; NULL: not known. */
static const char *home_of(const char *user, size_t len) {
  const char *home = getenv("HOME");
  if (!len && home && *home) return home;
  char *name = len ? zf_strndup(user, len) : NULL;
  const struct passwd *passwd = !len ? getpwuid(getuid()) : name ? getpwnam(name) : NULL;
  free(name);
  return passwd ? passwd->pw_dir : NULL;
}

char *zf_path_home(const char *path) {
  size_t n = path[0] == '~' ? strcspn(path + 1, "/") : 0;
  const char *home = path[0] == '~' ? home_of(path + 1, n) : NULL;
  return home ? zf_asprintf("%s%s", home, path + 1 + n) : zf_strdup(path);
}

/* The value of the name at p ("$" passed), its length in *used; NULL: none. */
static const char *variable(const char *p, size_t *used) {
  int braces = *p == '{';
  const char *name = p + braces;
  size_t n = 0;
  while (braces ? name[n] && name[n] != '}' : isalnum((unsigned char)name[n]) || name[n] == '_')
    n++;
  if (!n || (braces && !name[n])) return NULL;
  *used = n + 2 * (size_t)braces;
  char *copy = zf_strndup(name, n);
  const char *value = copy ? getenv(copy) : NULL;
  free(copy);
  return value;
}

char *zf_path_expand(const char *path) {
  char *home = zf_path_home(path);
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "");
  for (const char *p = home; p && *p;) {
    size_t used = 0;
    const char *value = *p == '$' ? variable(p + 1, &used) : NULL;
    if (value)
      zf_buf_puts(&buf, value);
    else
      zf_buf_putc(&buf, *p);
    p += value ? 1 + used : 1;
  }
  int failed = !home || zf_buf_ok(&buf);
  free(home);
  if (!failed) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}
