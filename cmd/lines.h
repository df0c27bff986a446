/* Messages from standard input, typed or piped. */
#ifndef ZF_CMD_LINES_H
#define ZF_CMD_LINES_H

#include "base/buf.h"

/* Reads one message into *out, which is cleared first: a line; several lines while each ends in a backslash;
 * or the lines between one that begins and one that ends with three quotation marks.  On a terminal it
 * prints `prompt` and has editing and history.
 * 1: a message was read; 0: the end of input; ZF_ESTOPPED: a signal came meanwhile. */
int zc_read_message(struct zf_buf *out, const char *prompt);

int zc_lines_edited(void); /* standard input and output are a terminal */

#endif
