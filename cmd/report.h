/* Results in rows and columns, written as a table, Markdown, CSV, JSON, an HTML page or an SVG plot. */
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
  const char *key;  /* in JSON and CSV; it names the unit */
  const char *head; /* in tables */
  enum zc_kind kind;
};

struct zc_cell {
  double value; /* NaN: not defined */
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
  const struct zc_plot *plot; /* in HTML and SVG */
  int plots;
};

/* Adds a row of empty cells for the caller to fill; NULL: out of memory. */
struct zc_cell *zc_report_row(struct zc_report *report);
void zc_report_free(struct zc_report *report);

/* ZF_EUSAGE: `format` is none of table, md, csv, json, html, svg (the first plot). */
int zc_report_check(const char *format);
/* Appends the report in that format. */
void zc_report_write(const struct zc_report *report, const char *format, struct zf_buf *out);

#endif
