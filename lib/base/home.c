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
  size_t user_len = path[0] == '~' ? strcspn(path + 1, "/") : 0;
  const char *home = path[0] == '~' ? home_of(path + 1, user_len) : NULL;
  return home ? zf_asprintf("%s%s", home, path + 1 + user_len) : zf_strdup(path);
}

/* The value of the name at p ("$" passed), its length in *used; NULL: none. */
static const char *variable_value(const char *text, size_t *consumed) {
  int braces = *text == '{';
  const char *name = text + braces;
  size_t len = 0;
  while (braces ? name[len] && name[len] != '}'
                : isalnum((unsigned char)name[len]) || name[len] == '_')
    len++;
  if (!len || (braces && !name[len])) return NULL;
  *consumed = len + 2 * (size_t)braces;
  char *copy = zf_strndup(name, len);
  const char *value = copy ? getenv(copy) : NULL;
  free(copy);
  return value;
}

char *zf_path_expand(const char *path) {
  char *home = zf_path_home(path);
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "");
  for (const char *at = home; at && *at;) {
    size_t consumed = 0;
    const char *value = *at == '$' ? variable_value(at + 1, &consumed) : NULL;
    if (value)
      zf_buf_puts(&buf, value);
    else
      zf_buf_putc(&buf, *at);
    at += value ? 1 + consumed : 1;
  }
  int failed = !home || zf_buf_ok(&buf);
  free(home);
  if (!failed) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}
