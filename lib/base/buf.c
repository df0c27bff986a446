#include "base/buf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void zf_buf_free(struct zf_buf *buf) {
  free(buf->data);
  memset(buf, 0, sizeof *buf);
}

void zf_buf_clear(struct zf_buf *buf) {
  buf->len = 0;
  if (buf->data) buf->data[0] = 0;
}

int zf_buf_reserve(struct zf_buf *buf, size_t more) {
  if (buf->failed) return ZF_ENOMEM;
  if (more >= SIZE_MAX / 2 - buf->len) {
    buf->failed = 1;
    return zf_error(ZF_ENOMEM, "a text of more than %zu bytes does not fit", buf->len);
  }
  size_t need = buf->len + more + 1;
  if (need <= buf->cap) return 0;
  size_t cap = buf->cap ? buf->cap : 64;
  while (cap < need) cap *= 2;
  char *p = realloc(buf->data, cap);
  if (!p) {
    buf->failed = 1;
    return zf_error(ZF_ENOMEM, "out of memory: %zu bytes wanted", cap);
  }
  buf->data = p;
  buf->cap = cap;
  buf->data[buf->len] = 0;
  return 0;
}

void zf_buf_add(struct zf_buf *buf, const void *data, size_t len) {
  if (zf_buf_reserve(buf, len)) return;
  if (len) memcpy(buf->data + buf->len, data, len);
  buf->len += len;
  buf->data[buf->len] = 0;
}

void zf_buf_puts(struct zf_buf *buf, const char *s) {
  zf_buf_add(buf, s, strlen(s));
}

void zf_buf_putc(struct zf_buf *buf, char c) {
  zf_buf_add(buf, &c, 1);
}

void zf_buf_printf(struct zf_buf *buf, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || zf_buf_reserve(buf, (size_t)n)) return;
  va_start(ap, fmt);
  vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
  va_end(ap);
  buf->len += (size_t)n;
}

int zf_buf_ok(const struct zf_buf *buf) {
  return buf->failed ? ZF_ENOMEM : 0;
}

char *zf_strndup(const char *s, size_t len) {
  char *p = zf_malloc(len + 1);
  if (!p) return NULL;
  memcpy(p, s, len);
  p[len] = 0;
  return p;
}

char *zf_strdup(const char *s) {
  return zf_strndup(s, strlen(s));
}

char *zf_asprintf(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *p = n < 0 ? NULL : zf_malloc((size_t)n + 1);
  if (!p) return NULL;
  va_start(ap, fmt);
  vsnprintf(p, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return p;
}

char *zf_path_join(const char *a, const char *b) {
  if (b[0] == '/' || !a || !a[0]) return zf_strdup(b);
  size_t n = strlen(a);
  return zf_asprintf("%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

int zf_glob(const char *p, const char *s) {
  const char *star = NULL, *back = NULL;
  while (*s) {
    if (*p == '*') {
      star = p++;
      back = s;
    } else if (*p == '?' || *p == *s) {
      p++;
      s++;
    } else if (star) {
      p = star + 1;
      s = ++back;
    } else {
      return 0;
    }
  }
  while (*p == '*') p++;
  return *p == 0;
}

enum { LONGEST = 64 };

/* Edit distance with swaps of neighbours counted once (optimal string
 * alignment); INT_MAX when one is longer than LONGEST characters. */
static int distance(const char *a, const char *b) {
  if (strlen(a) > LONGEST || strlen(b) > LONGEST) return INT_MAX;
  int n = (int)strlen(a), m = (int)strlen(b);
  int d[3][LONGEST + 1];
  for (int j = 0; j <= m; j++) d[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *cur = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
    cur[0] = i;
    for (int j = 1; j <= m; j++) {
      int best = up[j - 1] + (a[i - 1] != b[j - 1]);
      if (up[j] + 1 < best) best = up[j] + 1;
      if (cur[j - 1] + 1 < best) best = cur[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
        best = up2[j - 2] + 1;
      cur[j] = best;
    }
  }
  return d[n % 3][m];
}

const char *zf_nearest(const char *word, const char *const *names, int64_t n) {
  const char *best = NULL;
  int least = (int)(strnlen(word, LONGEST) / 3) + 2;
  for (int64_t i = 0; i < n; i++) {
    int d = distance(word, names[i]);
    if (d < least) {
      least = d;
      best = names[i];
    }
  }
  return best;
}

char *zf_human_bytes(char out[32], double bytes) {
  static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  int u = 0;
  while (bytes >= 999.5 && u < 5) {
    bytes /= 1000;
    u++;
  }
  int digits = u == 0 ? 0 : bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0;
  snprintf(out, 32, "%.*f %s", digits, bytes, unit[u]);
  return out;
}

char *zf_shell_word(const char *text) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+=:,-";
  struct zf_buf buf = {0};
  const char *before = text[0] == '-' ? "./" : ""; /* no option */
  if (*text && text[strspn(text, plain)] == 0) {
    zf_buf_printf(&buf, "%s%s", before, text);
  } else {
    zf_buf_printf(&buf, "'%s", before);
    for (const char *p = text; *p; p++) zf_buf_printf(&buf, *p == '\'' ? "'\\''" : "%c", *p);
    zf_buf_putc(&buf, '\'');
  }
  if (!zf_buf_ok(&buf)) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}
