/* A process that answers lines with lines: it reads from its standard input and writes to its standard
 * output; its standard error is this program's. */
#ifndef ZF_BASE_CHILD_H
#define ZF_BASE_CHILD_H

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

struct zf_child;

/* Starts the shell command line in a process group of its own, so that Ctrl-C reaches this program
 * alone.  Sets SIGPIPE to be ignored where nothing handles it.  ZF_EIO. */
int zf_child_open(struct zf_child **out, const char *command);

/* Writes text[0..len), and at the same time reads `lines` lines, which are appended to *out with their
 * ends.  `timeout` is in seconds, for each line.  `stopped` (NULL: never) ends the wait.
 * ZF_EFAIL: no line came in time, the process ended, or it wrote more lines than it was asked for;
 * `out` holds the lines that came.  ZF_ESTOPPED. */
int zf_child_exchange(struct zf_child *child, const char *text, size_t len, int64_t lines,
                      double timeout, int (*stopped)(void *ctx), void *ctx, struct zf_buf *out);

/* Closes its input and waits for its end, for 2 seconds; then ends its process group.  Takes NULL. */
void zf_child_close(struct zf_child *child);

ZF_END_DECLS

#endif
