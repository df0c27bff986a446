#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ui.h"

struct zc_cell *zc_report_row(struct zc_report *report) {
  if (report->rows == report->cap) {
    int cap = report->cap ? 2 * report->cap : 16;
    struct zc_cell *cell = realloc(report->cell, sizeof *cell * (size_t)(cap * report->columns));
    if (!cell) return NULL;
    report->cell = cell;
    report->cap = cap;
  }
  struct zc_cell *row = report->cell + report->rows++ * report->columns;
  for (int i = 0; i < report->columns; i++) row[i] = (struct zc_cell){.value = NAN};
  return row;
}

void zc_report_free(struct zc_report *report) {
  free(report->cell);
  report->cell = NULL;
}

static const char *format_of(enum zc_kind kind) {
  if (kind == ZC_COUNT) return "%.0f";
  return kind == ZC_RATIO ? "%.2f" : "%.4g";
}

/* The text of a cell in a table. */
static const char *display(char out[96], const struct zc_column *column,
                           const struct zc_cell *cell) {
  if (cell->text[0] || column->kind == ZC_TEXT) return cell->text;
  if (!isfinite(cell->value)) return "-";
  if (column->kind == ZC_BYTES) return zf_human_bytes(out, cell->value);
  snprintf(out, 96, format_of(column->kind), cell->value);
  return out;
}

/* The text of a row's cell, or with row -1 the head of its column. */
static const char *cell_text(char out[96], const struct zc_report *report, int row, int column) {
  if (row < 0) return report->column[column].head;
  return display(out, &report->column[column], &report->cell[row * report->columns + column]);
}

static void table_widths(const struct zc_report *report, int widths[16]) {
  char text[96];
  for (int row = -1; row < report->rows; row++)
    for (int column = 0; column < report->columns; column++) {
      int len = (int)strlen(cell_text(text, report, row, column));
      if (len > widths[column]) widths[column] = len;
    }
}

static void table_row(const struct zc_report *report, int row, const int widths[16],
                      struct zf_buf *out) {
  char buf[96];
  for (int column = 0; column < report->columns; column++) {
    const char *text = cell_text(buf, report, row, column);
    int last = column == report->columns - 1;
    if (report->column[column].kind == ZC_TEXT)
      zf_buf_printf(out, "%s%-*s", column ? "  " : "", last ? 0 : widths[column], text);
    else
      zf_buf_printf(out, "%s%*s", column ? "  " : "", widths[column], text);
  }
  zf_buf_putc(out, '\n');
}

static void put_notes(const struct zc_report *report, struct zf_buf *out) {
  for (int i = 0; i < report->notes; i++)
    zf_buf_printf(out, "%s%s\n", i ? "" : "\n", report->note[i]);
}

static void as_table(const struct zc_report *report, struct zf_buf *out) {
  int widths[16] = {0}, total = 0;
  table_widths(report, widths);
  for (int column = 0; column < report->columns; column++)
    total += widths[column] + (column ? 2 : 0);
  table_row(report, -1, widths, out);
  for (int i = 0; i < total; i++) zf_buf_puts(out, "─");
  zf_buf_putc(out, '\n');
  for (int row = 0; row < report->rows; row++) table_row(report, row, widths, out);
  put_notes(report, out);
}

static void as_md(const struct zc_report *report, struct zf_buf *out) {
  char text[96];
  for (int column = 0; column < report->columns; column++)
    zf_buf_printf(out, "| %s ", report->column[column].head);
  zf_buf_puts(out, "|\n");
  for (int column = 0; column < report->columns; column++)
    zf_buf_puts(out, report->column[column].kind == ZC_TEXT ? "|---" : "|---:");
  zf_buf_puts(out, "|\n");
  for (int row = 0; row < report->rows; row++) {
    for (int column = 0; column < report->columns; column++)
      zf_buf_printf(out, "| %s ", cell_text(text, report, row, column));
    zf_buf_puts(out, "|\n");
  }
  put_notes(report, out);
}

/* RFC 4180: a text with a comma, a quote or a newline is quoted. */
static void as_csv(const struct zc_report *report, struct zf_buf *out) {
  for (int column = 0; column < report->columns; column++)
    zf_buf_printf(out, "%s%s", column ? "," : "", report->column[column].key);
  zf_buf_putc(out, '\n');
  for (int row = 0; row < report->rows; row++) {
    for (int column = 0; column < report->columns; column++) {
      const struct zc_cell *cell = &report->cell[row * report->columns + column];
      if (column) zf_buf_putc(out, ',');
      if (report->column[column].kind != ZC_TEXT) {
        if (isfinite(cell->value)) zf_buf_printf(out, "%.9g", cell->value);
        continue;
      }
      int quoted = strpbrk(cell->text, ",\"\n") != NULL;
      if (quoted) zf_buf_putc(out, '"');
      for (const char *c = cell->text; *c; c++) {
        if (*c == '"') zf_buf_putc(out, '"');
        zf_buf_putc(out, *c);
      }
      if (quoted) zf_buf_putc(out, '"');
    }
    zf_buf_putc(out, '\n');
  }
}

static void as_json(const struct zc_report *report, struct zf_buf *out) {
  zf_buf_puts(out, "{\"rows\": [");
  for (int row = 0; row < report->rows; row++) {
    int members = 0;
    zf_buf_puts(out, row ? ", {" : "{");
    for (int column = 0; column < report->columns; column++) {
      const struct zc_cell *cell = &report->cell[row * report->columns + column];
      int text = report->column[column].kind == ZC_TEXT;
      if (!text && !isfinite(cell->value)) continue; /* JSON has no NaN */
      zf_buf_printf(out, "%s\"%s\": ", members++ ? ", " : "", report->column[column].key);
      if (text)
        zc_json_text(out, cell->text, strlen(cell->text));
      else
        zf_buf_printf(out, "%.9g", cell->value);
    }
    zf_buf_putc(out, '}');
  }
  zf_buf_puts(out, "], \"notes\": [");
  for (int row = 0; row < report->notes; row++) {
    if (row) zf_buf_puts(out, ", ");
    zc_json_text(out, report->note[row], strlen(report->note[row]));
  }
  zf_buf_puts(out, "]}\n");
}

static const char style[] =
    "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;"
    "color:#222;background:#fff}table{border-collapse:collapse;width:100%;font-size:14px}"
    "th,td{padding:4px 8px;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}"
    "th.l,td.l{text-align:left}th{border-bottom:2px solid "
    "#888}svg{width:100%;max-width:820px;display:block;margin:1.5em 0 0}"
    ".wide{overflow-x:auto}p{color:#444}";

static void as_html(const struct zc_report *report, struct zf_buf *out) {
  char text[96];
  zf_buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>");
  zc_html_text(out, report->title);
  zf_buf_puts(out, "</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n");
  zf_buf_puts(out, style);
  zf_buf_puts(out, zc_plot_style);
  zf_buf_puts(out, "</style>\n");
  zf_buf_puts(out, "</head><body>\n<h1>");
  zc_html_text(out, report->title);
  zf_buf_puts(out, "</h1>\n<div class=\"wide\"><table>\n<tr>");
  for (int column = 0; column < report->columns; column++) {
    zf_buf_puts(out, report->column[column].kind == ZC_TEXT ? "<th class=\"l\">" : "<th>");
    zc_html_text(out, report->column[column].head);
    zf_buf_puts(out, "</th>");
  }
  zf_buf_puts(out, "</tr>\n");
  for (int row = 0; row < report->rows; row++) {
    zf_buf_puts(out, "<tr>");
    for (int column = 0; column < report->columns; column++) {
      zf_buf_puts(out, report->column[column].kind == ZC_TEXT ? "<td class=\"l\">" : "<td>");
      zc_html_text(out, cell_text(text, report, row, column));
      zf_buf_puts(out, "</td>");
    }
    zf_buf_puts(out, "</tr>\n");
  }
  zf_buf_puts(out, "</table></div>\n");
  for (int row = 0; row < report->notes; row++) {
    zf_buf_puts(out, "<p>");
    zc_html_text(out, report->note[row]);
    zf_buf_puts(out, "</p>\n");
  }
  for (int row = 0; row < report->plots; row++) zc_plot_svg(&report->plot[row], 0, out);
  zf_buf_puts(out, "</body></html>\n");
}

/* The first plot alone. */
static void as_svg(const struct zc_report *report, struct zf_buf *out) {
  if (report->plots) zc_plot_svg(&report->plot[0], 1, out);
}

static const struct {
  const char *name;
  void (*write)(const struct zc_report *report, struct zf_buf *out);
} formats[] = {
    {"table", as_table}, {"md", as_md},     {"csv", as_csv},
    {"json", as_json},   {"html", as_html}, {"svg", as_svg},
};
enum { FORMATS = sizeof formats / sizeof *formats };

int zc_report_check(const char *format) {
  for (int i = 0; i < FORMATS; i++)
    if (!strcmp(format, formats[i].name)) return 0;
  return zf_error(ZF_EUSAGE, "-o expects one of table, md, csv, json, html, svg, found '%s'",
                  format);
}

void zc_report_write(const struct zc_report *report, const char *format, struct zf_buf *out) {
  for (int i = 0; i < FORMATS; i++)
    if (!strcmp(format, formats[i].name)) formats[i].write(report, out);
}
