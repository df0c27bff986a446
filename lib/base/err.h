/* Errors: a code for the program, a sentence for the person.
 *
 * Every function that can fail returns int: 0, or one of the negative codes below.  Before it
 * returns a code it calls zf_error(), which keeps a sentence in the error slot of the calling
 * thread: what was read, where, what was expected and what was found.  The library prints nothing
 * and never exits.
 *
 * OpenMP regions do not fail: what can fail is done before or after them. */
#ifndef ZF_BASE_ERR_H
#define ZF_BASE_ERR_H

#include <stdarg.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_err {
  ZF_OK = 0,
  ZF_EFAIL = -1,     /* runtime failure                      -> exit status 1 */
  ZF_EIO = -2,       /* the system refused: disk, permission                 1 */
  ZF_ENOMEM = -3,    /* allocation failed                                    1 */
  ZF_EUSAGE = -4,    /* command line or config, missing path                 2 */
  ZF_EINVALID = -5,  /* model, tokenizer, data or log is not valid           3 */
  ZF_EMEMLIMIT = -6, /* does not fit the memory limit                        4 */
  ZF_EGATE = -7,     /* a gate failed (--fail-under and the like)            5 */
  ZF_EDIVERGED = -8, /* training diverged                                    6 */
  ZF_ESTOPPED = -9,  /* interrupted by a signal                       130, 143 */
};

#if defined(__GNUC__)
#define ZF_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ZF_PRINTF(f, a)
#endif

/* Sets this thread's sentence and returns `code`, so that callers can write `return
 * zf_error(ZF_EINVALID, "%s: ...", path);`.  The sentence is one line: control characters become
 * question marks. */
int zf_error(int code, const char *fmt, ...) ZF_PRINTF(2, 3);

/* Puts "prefix: " before the current sentence and returns `code`: for callers that know the file or
 * tensor, which the callee did not. */
int zf_error_prefix(int code, const char *fmt, ...) ZF_PRINTF(2, 3);

/* The sentence of this thread's last error, "" if there is none.  Valid until its next
 * zf_error(). */
const char *zf_error_message(void);

void zf_error_clear(void);

ZF_END_DECLS

#endif
