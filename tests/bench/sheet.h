/* Results as a table for people and as JSON, by one description of their columns. */
#ifndef ZF_TESTS_BENCH_SHEET_H
#define ZF_TESTS_BENCH_SHEET_H

#include <jansson.h>

enum { SHEET_COLUMNS = 24 }; /* of which a table shows 16 */

struct sheet_column {
  const char *key;    /* in JSON */
  const char *title;  /* in the table; NULL: in JSON alone */
  const char *format; /* of numbers, "%.1f"; NULL: text */
};

/* `columns` are copied, their strings are not, and end with a NULL key. */
void sheet_begin(const struct sheet_column *columns);

/* The cells of a row one after another; the last column ends the row. */
void sheet_text(const char *text);
void sheet_number(double v); /* NaN: nothing there, null */

/* Prints the table, unless --json is given; returns the rows as an array of objects. */
json_t *sheet_end(void);

#endif
