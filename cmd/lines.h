/* Lines that a person types, or that a script pipes. */
#ifndef ZF_CMD_LINES_H
#define ZF_CMD_LINES_H

#include "base/buf.h"

/* One message into *out, which is cleared first: a line; lines as long as they end in a backslash; or
 * all between a line that begins and one that ends with three quotation marks.  On a terminal with
 * editing and history behind `prompt`; else as it comes, without one.
 * 1: there is one; 0: the end of input; ZF_ESTOPPED: a signal came while it waited. */
int zc_read_message(struct zf_buf *out, const char *prompt);

int zc_lines_edited(void); /* standard input and output are a terminal */

#endif
