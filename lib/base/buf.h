/* A growing byte buffer, always zero-terminated, and small string helpers.
 *
 * If memory runs out, `failed` is set and further appending does nothing.  zf_buf_ok() turns that
 * into a code, so that a caller checks once, after the last append. */
#ifndef ZF_BASE_BUF_H
#define ZF_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/err.h"

ZF_BEGIN_DECLS

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

/* A copy, or NULL with ZF_ENOMEM in the error slot; the caller frees. */
char *zf_strdup(const char *text);
char *zf_strndup(const char *text, size_t len);
char *zf_asprintf(const char *fmt, ...) ZF_PRINTF(1, 2);

/* "dir/name"; `name` alone if it is absolute or if `dir` is NULL or empty.  The caller frees. */
char *zf_path_join(const char *dir, const char *name);

/* Does a whole string match a pattern?  * stands for any run, ? for any byte. */
int zf_glob(const char *pattern, const char *text);

/* The name most like `word` by edit distance, or NULL if none is near: more than about a third of
 * the word would have to change. */
const char *zf_nearest(const char *word, const char *const *names, int64_t count);

/* "1.50 GB", "312 MB", "40.0 kB": decimal units, three significant digits, into
 * out[32], which is returned. */
char *zf_human_bytes(char out[32], double bytes);

/* A text as one word of a shell's command line, in quotes if needed.  The caller frees; NULL: out
 * of memory. */
char *zf_shell_word(const char *text);

ZF_END_DECLS

#endif
