/* A growing byte buffer, always zero-terminated, and small string helpers.
 *
 * Appending to a buffer that ran out of memory does nothing; `failed` says so
 * and zf_buf_ok() turns it into a code, so that a caller checks once. */
#ifndef ZF_BASE_BUF_H
#define ZF_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct zf_buf {
  char *data; /* NULL or zero-terminated */
  size_t len; /* without the terminator */
  size_t cap;
  int failed;
};

void zf_buf_free(struct zf_buf *buf);
void zf_buf_clear(struct zf_buf *buf);
void zf_buf_add(struct zf_buf *buf, const void *data, size_t len);
void zf_buf_puts(struct zf_buf *buf, const char *text);
void zf_buf_putc(struct zf_buf *buf, char c);
void zf_buf_printf(struct zf_buf *buf, const char *fmt, ...) ZF_PRINTF(2, 3);
int zf_buf_reserve(struct zf_buf *buf, size_t more); /* ZF_ENOMEM */
int zf_buf_ok(const struct zf_buf *buf);             /* 0 or ZF_ENOMEM */

/* Copies, or NULL with ZF_ENOMEM in the slot; the caller frees. */
char *zf_strdup(const char *text);
char *zf_strndup(const char *text, size_t len);
char *zf_asprintf(const char *fmt, ...) ZF_PRINTF(1, 2);

/* "a/b" from "a" and "b"; `b` alone when it is absolute or `a` is empty. */
char *zf_path_join(const char *dir, const char *name);

/* Shell-style match of a whole string: * any run, ? any character. */
int zf_glob(const char *pattern, const char *text);

/* Of `n` names the one most like `word` by edit distance, or NULL when none is
 * near enough to be meant (more than about a third of the word differs). */
const char *zf_nearest(const char *word, const char *const *names, int64_t count);

/* "1.50 GB", "312 MB", "40.0 kB": decimal units, three significant digits, into
 * out[32], which is returned. */
char *zf_human_bytes(char out[32], double bytes);

/* A text as one word of a shell's command line: as it is where that is plain, else in quotes.  The
 * caller frees; NULL: out of memory. */
char *zf_shell_word(const char *text);

#endif
