#include "bench/sheet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd/opt.h"
#include "cmd/ui.h"

static struct {
  struct sheet_column column[SHEET_COLUMNS];
  int columns, at; /* at: the next cell of the row */
  char align[SHEET_COLUMNS + 1];
  char text[SHEET_COLUMNS][96];
  json_t *rows, *row;
  struct zc_table *table;
} s;

static void print_row(int header) {
  const char *cell[SHEET_COLUMNS];
  int n = 0;
  for (int i = 0; i < s.columns; i++)
    if (s.column[i].title) cell[n++] = header ? s.column[i].title : s.text[i];
  zc_table_row(s.table, cell);
}

void sheet_begin(const struct sheet_column *columns) {
  int shown = 0;
  memset(&s, 0, sizeof s);
  for (; columns[s.columns].key && s.columns < SHEET_COLUMNS; s.columns++) {
    s.column[s.columns] = columns[s.columns];
    if (columns[s.columns].title) s.align[shown++] = columns[s.columns].format ? 'r' : 'l';
  }
  s.rows = json_array();
  s.table = zc_common.json ? NULL : zc_table_new(s.align);
  print_row(1);
}

static void put(const char *text, json_t *value) {
  if (s.at == 0) s.row = json_object();
  snprintf(s.text[s.at], sizeof s.text[s.at], "%s", text);
  json_object_set_new(s.row, s.column[s.at].key, value);
  if (++s.at < s.columns) return;
  print_row(0);
  json_array_append_new(s.rows, s.row);
  s.at = 0;
}

void sheet_text(const char *text) {
  put(text, json_string(text));
}

void sheet_number(double v) {
  char text[96] = "";
  if (isfinite(v)) {
    /* The formats are those of our own tables. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, s.column[s.at].format, v);
#pragma GCC diagnostic pop
  }
  put(text, isfinite(v) ? json_real(v) : json_null());
}

json_t *sheet_end(void) {
  zc_table_print(s.table, 1);
  return s.rows;
}
