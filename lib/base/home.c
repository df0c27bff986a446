#include "base/home.h"

#include <ctype.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"

/* The home directory of the user user[0..len), or, if len is 0, of the current one; NULL:
 * unknown. */
static const char *home_of(const char *user, size_t len) {
  const char *home = getenv("HOME");
  if (!len && home && *home) return home;
  const struct passwd *passwd = NULL;
  char *name = len ? zf_strndup(user, len) : NULL;
  if (!len)
    passwd = getpwuid(getuid());
  else if (name)
    passwd = getpwnam(name);
  free(name);
  return passwd ? passwd->pw_dir : NULL;
}

char *zf_path_home(const char *path) {
  size_t user_len = path[0] == '~' ? strcspn(path + 1, "/") : 0;
  const char *home = path[0] == '~' ? home_of(path + 1, user_len) : NULL;
  return home ? zf_asprintf("%s%s", home, path + 1 + user_len) : zf_strdup(path);
}

/* The value of the variable whose name, NAME or {NAME}, the text begins with; NULL: none.
 * *consumed is the length of the name. */
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
  if (!home) return NULL;
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "");
  for (const char *at = home; *at;) {
    size_t consumed = 0;
    const char *value = *at == '$' ? variable_value(at + 1, &consumed) : NULL;
    if (value)
      zf_buf_puts(&buf, value);
    else
      zf_buf_putc(&buf, *at);
    at += value ? 1 + consumed : 1;
  }
  free(home);
  if (!zf_buf_ok(&buf)) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}
