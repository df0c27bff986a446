#include "base/buf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void zf_buf_free(struct zf_buf *b) {
  free(b->data);
  memset(b, 0, sizeof *b);
}

void zf_buf_clear(struct zf_buf *b) {
  b->len = 0;
  if (b->data) b->data[0] = 0;
}

int zf_buf_reserve(struct zf_buf *b, size_t more) {
  if (b->failed) return ZF_ENOMEM;
  if (more >= SIZE_MAX / 2 - b->len) {
    b->failed = 1;
    return zf_error(ZF_ENOMEM, "a text of more than %zu bytes does not fit", b->len);
  }
  size_t need = b->len + more + 1;
  if (need <= b->cap) return 0;
  size_t cap = b->cap ? b->cap : 64;
  while (cap < need) cap *= 2;
  char *p = realloc(b->data, cap);
  if (!p) {
    b->failed = 1;
    return zf_error(ZF_ENOMEM, "out of memory: %zu bytes wanted", cap);
  }
  b->data = p;
  b->cap = cap;
  b->data[b->len] = 0;
  return 0;
}

void zf_buf_add(struct zf_buf *b, const void *data, size_t len) {
  if (zf_buf_reserve(b, len)) return;
  if (len) memcpy(b->data + b->len, data, len);
  b->len += len;
  b->data[b->len] = 0;
}

void zf_buf_puts(struct zf_buf *b, const char *s) {
  zf_buf_add(b, s, strlen(s));
}

void zf_buf_putc(struct zf_buf *b, char c) {
  zf_buf_add(b, &c, 1);
}

void zf_buf_printf(struct zf_buf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || zf_buf_reserve(b, (size_t)n)) return;
  va_start(ap, fmt);
  vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
  va_end(ap);
  b->len += (size_t)n;
}

int zf_buf_ok(const struct zf_buf *b) {
  return b->failed ? ZF_ENOMEM : 0;
}

char *zf_strndup(const char *s, size_t n) {
  char *p = zf_malloc(n + 1);
  if (!p) return NULL;
  memcpy(p, s, n);
  p[n] = 0;
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
  struct zf_buf b = {0};
  const char *before = text[0] == '-' ? "./" : ""; /* no option */
  if (*text && text[strspn(text, plain)] == 0) {
    zf_buf_printf(&b, "%s%s", before, text);
  } else {
    zf_buf_printf(&b, "'%s", before);
    for (const char *p = text; *p; p++) zf_buf_printf(&b, *p == '\'' ? "'\\''" : "%c", *p);
    zf_buf_putc(&b, '\'');
  }
  if (!zf_buf_ok(&b)) return b.data;
  zf_buf_free(&b);
  return NULL;
}
