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
  char *grown = realloc(buf->data, cap);
  if (!grown) {
    buf->failed = 1;
    return zf_error(ZF_ENOMEM, "out of memory: %zu bytes wanted", cap);
  }
  buf->data = grown;
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

void zf_buf_puts(struct zf_buf *buf, const char *text) {
  zf_buf_add(buf, text, strlen(text));
}

void zf_buf_putc(struct zf_buf *buf, char c) {
  zf_buf_add(buf, &c, 1);
}

void zf_buf_printf(struct zf_buf *buf, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int len = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (len < 0 || zf_buf_reserve(buf, (size_t)len)) return;
  va_start(ap, fmt);
  vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, ap);
  va_end(ap);
  buf->len += (size_t)len;
}

int zf_buf_ok(const struct zf_buf *buf) {
  return buf->failed ? ZF_ENOMEM : 0;
}

char *zf_strndup(const char *text, size_t len) {
  char *copy = zf_malloc(len + 1);
  if (!copy) return NULL;
  memcpy(copy, text, len);
  copy[len] = 0;
  return copy;
}

char *zf_strdup(const char *text) {
  return zf_strndup(text, strlen(text));
}

char *zf_asprintf(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int len = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *text = len < 0 ? NULL : zf_malloc((size_t)len + 1);
  if (!text) return NULL;
  va_start(ap, fmt);
  vsnprintf(text, (size_t)len + 1, fmt, ap);
  va_end(ap);
  return text;
}

char *zf_path_join(const char *dir, const char *name) {
  if (name[0] == '/' || !dir || !dir[0]) return zf_strdup(name);
  size_t len = strlen(dir);
  return zf_asprintf("%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", name);
}

int zf_glob(const char *pattern, const char *text) {
  const char *star = NULL, *back = NULL;
  while (*text) {
    if (*pattern == '*') {
      star = pattern++;
      back = text;
    } else if (*pattern == '?' || *pattern == *text) {
      pattern++;
      text++;
    } else if (star) {
      pattern = star + 1;
      text = ++back;
    } else {
      return 0;
    }
  }
  while (*pattern == '*') pattern++;
  return *pattern == 0;
}

enum { LONGEST = 64 };

/* Edit distance in which a swap of neighbours counts as one edit (optimal string alignment);
 * INT_MAX if one is longer than LONGEST characters. */
static int edit_distance(const char *left, const char *right) {
  if (strlen(left) > LONGEST || strlen(right) > LONGEST) return INT_MAX;
  int left_len = (int)strlen(left), right_len = (int)strlen(right);
  int rows[3][LONGEST + 1];
  for (int j = 0; j <= right_len; j++) rows[0][j] = j;
  for (int i = 1; i <= left_len; i++) {
    int *row = rows[i % 3], *row_before = rows[(i + 2) % 3], *row_two_before = rows[(i + 1) % 3];
    row[0] = i;
    for (int j = 1; j <= right_len; j++) {
      int best = row_before[j - 1] + (left[i - 1] != right[j - 1]);
      if (row_before[j] + 1 < best) best = row_before[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] &&
          row_two_before[j - 2] + 1 < best)
        best = row_two_before[j - 2] + 1;
      row[j] = best;
    }
  }
  return rows[left_len % 3][right_len];
}

const char *zf_nearest(const char *word, const char *const *names, int64_t count) {
  const char *best = NULL;
  int best_distance = (int)(strnlen(word, LONGEST) / 3) + 2;
  for (int64_t i = 0; i < count; i++) {
    int distance = edit_distance(word, names[i]);
    if (distance < best_distance) {
      best_distance = distance;
      best = names[i];
    }
  }
  return best;
}

/* Digits after the decimal point that give three significant ones; whole bytes have none. */
static int decimals(double value, int power) {
  if (power == 0) return 0;
  if (value < 9.995) return 2;
  return value < 99.95 ? 1 : 0;
}

char *zf_human_bytes(char out[32], double bytes) {
  static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  int power = 0;
  while (bytes >= 999.5 && power < 5) {
    bytes /= 1000;
    power++;
  }
  snprintf(out, 32, "%.*f %s", decimals(bytes, power), bytes, unit[power]);
  return out;
}

char *zf_shell_word(const char *text) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+=:,-";
  struct zf_buf buf = {0};
  const char *prefix = text[0] == '-' ? "./" : ""; /* so that it is no option */
  if (*text && text[strspn(text, plain)] == 0) {
    zf_buf_printf(&buf, "%s%s", prefix, text);
  } else {
    zf_buf_printf(&buf, "'%s", prefix);
    for (const char *p = text; *p; p++) zf_buf_printf(&buf, *p == '\'' ? "'\\''" : "%c", *p);
    zf_buf_putc(&buf, '\'');
  }
  if (!zf_buf_ok(&buf)) return buf.data;
  zf_buf_free(&buf);
  return NULL;
}
