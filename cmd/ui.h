/* Output for a person: progress, tables, colours.  Results go to standard output, all else to standard
 * error. */
#ifndef ZF_CMD_UI_H
#define ZF_CMD_UI_H

#include <stdint.h>

#include "base/buf.h"

int zc_tty(void);     /* standard error is a terminal, and not --quiet */
int zc_color(int fd); /* colours are wanted on this descriptor */

/* A line on standard error, unless --quiet; it does not break the progress bar. */
void zc_info(const char *fmt, ...) ZF_PRINTF(1, 2);
void zc_warn(const char *fmt, ...) ZF_PRINTF(1, 2);

/* Prints the library's error message on standard error; returns the exit status of `code`. */
int zc_fail(int code);
int zc_exit_status(int code);

/* Draws the progress bar on a terminal, at most ten times a second unless `force`.  done: 0..1; text: behind
 * the bar. */
void zc_bar(double done, const char *text, int force);
void zc_bar_clear(void);

/* A table with aligned columns: `align` has a letter for each, l or r.  NULL: out of memory, which the other
 * functions accept. */
struct zc_table;
struct zc_table *zc_table_new(const char *align);
void zc_table_row(struct zc_table *table, const char *const *cell); /* copies; NULL cell: empty */
void zc_table_print(struct zc_table *table, int header); /* to standard output, and frees */

/* "1:02:03", "2:03", "3 s" into out[32], which is returned. */
char *zc_duration(char out[32], double seconds);

/* Appends a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD. */
void zc_json_text(struct zf_buf *buf, const char *text, size_t len);

/* Catches SIGINT and SIGTERM: the first is remembered, the second ends the program at once. */
void zc_catch_signals(void);
int zc_signal(void); /* its number, or 0 */
void zc_signal_forget(void);

#endif
