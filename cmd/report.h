/* A result of rows and columns, written as a table, Markdown, CSV, JSON or one HTML file. */
#ifndef ZF_CMD_REPORT_H
#define ZF_CMD_REPORT_H

#include "base/buf.h"
#include "plot.h"

enum zc_kind {
  ZC_TEXT,   /* `text` */
  ZC_COUNT,  /* whole number */
  ZC_BYTES,  /* "1.50 GB" */
  ZC_NUMBER, /* four significant digits */
  ZC_RATIO   /* "3.14" */
};

struct zc_column {
  const char *key;  /* in JSON and CSV: units are in the name */
  const char *head; /* in tables */
  enum zc_kind kind;
};

struct zc_cell {
  double value; /* NaN: does not apply */
  char text[96];
};

struct zc_report {
  const char *title;
  const struct zc_column *column;
  int columns;
  struct zc_cell *cell; /* [rows][columns] */
  int rows, cap;
  const char *note[8]; /* sentences below the table */
  int notes;
  const struct zc_plot *plot; /* HTML alone */
  int plots;
};

/* A row of empty cells, to be filled; NULL when out of memory. */
struct zc_cell *zc_report_row(struct zc_report *report);
void zc_report_free(struct zc_report *report);

/* Is `format` one of table, md, csv, json, html, svg (the first plot)?  ZF_EUSAGE. */
int zc_report_check(const char *format);
/* Appends the report in that format. */
void zc_report_write(const struct zc_report *report, const char *format, struct zf_buf *out);

#endif
