#include "ui.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "fmt/json.h"
#include "opt.h"

static int bar_shown;

int zc_tty(void) {
  return !zc_common.quiet && isatty(2);
}

int zc_color(int fd) {
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  return !zc_common.no_color && !(no && *no) && isatty(fd) && !(term && !strcmp(term, "dumb"));
}

void zc_bar_clear(void) {
  if (bar_shown) fputs("\r\033[K", stderr);
  bar_shown = 0;
}

static void print_line(const char *color, const char *prefix, const char *fmt, va_list ap) {
  zc_bar_clear();
  int colored = zc_color(2) && *color;
  fprintf(stderr, "%s%s%s", colored ? color : "", prefix, colored ? "\033[0m" : "");
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
}

void zc_info(const char *fmt, ...) {
  va_list ap;
  if (zc_common.quiet) return;
  va_start(ap, fmt);
  print_line("", "", fmt, ap);
  va_end(ap);
}

void zc_warn(const char *fmt, ...) {
  va_list ap;
  if (zc_common.quiet) return;
  va_start(ap, fmt);
  print_line("\033[33m", "warning: ", fmt, ap);
  va_end(ap);
}

static void fail_line(const char *fmt, ...) ZF_PRINTF(1, 2);

static void fail_line(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  print_line("\033[31m", "zoft: ", fmt, ap);
  va_end(ap);
}

int zc_exit_status(int code) {
  switch (code) {
    case 0:
      return 0;
    case ZF_EUSAGE:
      return 2;
    case ZF_EINVALID:
      return 3;
    case ZF_EMEMLIMIT:
      return 4;
    case ZF_EGATE:
      return 5;
    case ZF_EDIVERGED:
      return 6;
    case ZF_ESTOPPED:
      return 128 + (zc_signal() ? zc_signal() : SIGINT);
    default:
      return 1;
  }
}

int zc_fail(int code) {
  fail_line("%s", zf_error_message());
  return zc_exit_status(code);
}

/* Eighths of a cell are drawn by characters of their own. */
static void draw_bar(double done, int cells) {
  static const char *const part[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int full = (int)(done * cells * 8);
  fputc('|', stderr);
  for (int i = 0; i < full / 8; i++) fputs("█", stderr);
  fputs(part[full % 8], stderr);
  for (int i = (full + 7) / 8; i < cells; i++) fputc(' ', stderr);
  fputs("| ", stderr);
}

void zc_bar(double done, const char *text, int force) {
  static double last;
  double now = zf_now();
  if (!zc_tty() || (!force && now - last < 0.1)) return;
  last = now;
  struct winsize winsize;
  int columns = ioctl(2, TIOCGWINSZ, &winsize) == 0 && winsize.ws_col > 0 ? winsize.ws_col : 80;
  int cells = columns - (int)strlen(text) - 10, rest = columns - 8;
  if (cells > 30) cells = 30;
  if (done < 0) done = 0;
  if (done > 1) done = 1;
  fprintf(stderr, "\r\033[K%3d%% ", (int)(done * 100));
  if (cells >= 5) {
    draw_bar(done, cells);
    rest -= cells + 3;
  }
  fprintf(stderr, "%.*s", columns > 8 ? rest : 0, text);
  fflush(stderr);
  bar_shown = 1;
}

/* --- tables --- */

struct zc_table {
  const char *align;
  int columns, rows, cap;
  char **cell;
};

struct zc_table *zc_table_new(const char *align) {
  struct zc_table *table = zf_calloc(1, sizeof *table);
  if (table) {
    table->align = align;
    table->columns = (int)strlen(align);
  }
  return table;
}

void zc_table_row(struct zc_table *table, const char *const *cell) {
  if (!table) return;
  if (table->rows == table->cap) {
    int cap = table->cap ? 2 * table->cap : 16;
    char **larger = realloc(table->cell, sizeof *larger * (size_t)(cap * table->columns));
    if (!larger) return;
    table->cell = larger;
    table->cap = cap;
  }
  for (int i = 0; i < table->columns; i++)
    table->cell[table->rows * table->columns + i] = zf_strdup(cell[i] ? cell[i] : "");
  table->rows++;
}

/* Columns of a text on a terminal: its characters, each of which is taken to be one wide. */
static int width(const char *text) {
  int count = 0;
  if (!text) return 0;
  for (; *text; text++) count += (*text & 0xc0) != 0x80;
  return count;
}

static void pad(int count) {
  printf("%*s", count > 0 ? count : 0, "");
}

static int column_width(const struct zc_table *table, int column) {
  int max = 0;
  for (int row = 0; row < table->rows; row++) {
    int len = width(table->cell[row * table->columns + column]);
    if (len > max) max = len;
  }
  return max;
}

static void print_cell(const struct zc_table *table, int column, const char *text, int wide) {
  int gap = wide - width(text);
  int left = table->align[column] == 'l', last = column == table->columns - 1;
  pad((column ? 2 : 0) + (left ? 0 : gap));
  printf("%s", text ? text : "");
  if (left && !last) pad(gap);
}

void zc_table_print(struct zc_table *table, int header) {
  enum { MAX_COLUMNS = 16 };
  if (!table) return;
  int widths[MAX_COLUMNS] = {0}, total = 0;
  int columns = table->columns < MAX_COLUMNS ? table->columns : MAX_COLUMNS;
  for (int column = 0; column < columns; column++) {
    widths[column] = column_width(table, column);
    total += widths[column] + (column ? 2 : 0);
  }
  for (int row = 0; row < table->rows; row++) {
    for (int column = 0; column < columns; column++) {
      char *text = table->cell[row * table->columns + column];
      print_cell(table, column, text, widths[column]);
      free(text);
    }
    putchar('\n');
    if (header && row == 0) {
      for (int i = 0; i < total; i++) fputs("─", stdout);
      putchar('\n');
    }
  }
  free(table->cell);
  free(table);
}

char *zc_duration(char out[32], double seconds) {
  long long whole = (long long)(seconds + 0.5);
  if (seconds < 9.95)
    snprintf(out, 32, "%.1f s", seconds);
  else if (whole < 60)
    snprintf(out, 32, "%lld s", whole);
  else if (whole < 3600)
    snprintf(out, 32, "%lld:%02lld", whole / 60, whole % 60);
  else
    snprintf(out, 32, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return out;
}

void zc_json_text(struct zf_buf *buf, const char *text, size_t len) {
  json_t *value = json_stringn(text, len);
  if (!value) { /* not UTF-8: ASCII stays, other bytes are replaced */
    zf_buf_putc(buf, '"');
    for (size_t i = 0; i < len; i++) {
      unsigned char c = (unsigned char)text[i];
      if (c == '"' || c == '\\')
        zf_buf_printf(buf, "\\%c", c);
      else if (c < 0x20)
        zf_buf_printf(buf, "\\u%04x", c);
      else if (c < 0x80)
        zf_buf_putc(buf, (char)c);
      else
        zf_buf_puts(buf, "\xef\xbf\xbd");
    }
    zf_buf_putc(buf, '"');
    return;
  }
  char *dumped = zf_json_dump(value, JSON_ENCODE_ANY);
  zf_buf_puts(buf, dumped ? dumped : "\"\"");
  free(dumped);
  json_decref(value);
}

/* --- signals --- */

static volatile sig_atomic_t caught;

static void on_signal(int number) {
  if (caught) _exit(128 + number);
  caught = number;
}

void zc_catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
}

int zc_signal(void) {
  return caught;
}

void zc_signal_forget(void) {
  caught = 0;
}
