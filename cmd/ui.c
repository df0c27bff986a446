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

static void line(const char *color, const char *prefix, const char *fmt, va_list ap) {
  zc_bar_clear();
  int c = zc_color(2) && *color;
  fprintf(stderr, "%s%s%s", c ? color : "", prefix, c ? "\033[0m" : "");
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
}

void zc_say(const char *fmt, ...) {
  va_list ap;
  if (zc_common.quiet) return;
  va_start(ap, fmt);
  line("", "", fmt, ap);
  va_end(ap);
}

void zc_warn(const char *fmt, ...) {
  va_list ap;
  if (zc_common.quiet) return;
  va_start(ap, fmt);
  line("\033[33m", "warning: ", fmt, ap);
  va_end(ap);
}

static void fail_line(const char *fmt, ...) ZF_PRINTF(1, 2);

static void fail_line(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  line("\033[31m", "zoft: ", fmt, ap);
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

void zc_bar(double done, const char *text, int force) {
  static double last;
  double now = zf_now();
  if (!zc_tty() || (!force && now - last < 0.1)) return;
  last = now;
  struct winsize w;
  int columns = ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
  int room = columns - (int)strlen(text) - 10;
  if (room > 30) room = 30;
  if (done < 0) done = 0;
  if (done > 1) done = 1;
  fprintf(stderr, "\r\033[K%3d%% ", (int)(done * 100));
  if (room >= 5) {
    int full = (int)(done * room * 8);
    static const char *const part[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    fputc('|', stderr);
    for (int i = 0; i < full / 8; i++) fputs("█", stderr);
    fputs(part[full % 8], stderr);
    for (int i = (full + 7) / 8; i < room; i++) fputc(' ', stderr);
    fputs("| ", stderr);
  }
  fprintf(stderr, "%.*s", columns > 8 ? columns - 8 - (room >= 5 ? room + 3 : 0) : 0, text);
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
  struct zc_table *t = zf_calloc(1, sizeof *t);
  if (t) {
    t->align = align;
    t->columns = (int)strlen(align);
  }
  return t;
}

void zc_table_row(struct zc_table *t, const char *const *cell) {
  if (!t) return;
  if (t->rows == t->cap) {
    int cap = t->cap ? 2 * t->cap : 16;
    char **p = realloc(t->cell, sizeof *p * (size_t)(cap * t->columns));
    if (!p) return;
    t->cell = p;
    t->cap = cap;
  }
  for (int i = 0; i < t->columns; i++)
    t->cell[t->rows * t->columns + i] = zf_strdup(cell[i] ? cell[i] : "");
  t->rows++;
}

/* Characters, not bytes: enough for the text that we print. */
static int width(const char *s) {
  int n = 0;
  for (; s && *s; s++) n += (*s & 0xc0) != 0x80;
  return n;
}

static void pad(int n) {
  printf("%*s", n > 0 ? n : 0, "");
}

void zc_table_print(struct zc_table *t, int header) {
  if (!t) return;
  int wide[16] = {0}, total = 0;
  for (int c = 0; c < t->columns && c < 16; c++) {
    for (int r = 0; r < t->rows; r++) {
      int n = width(t->cell[r * t->columns + c]);
      if (n > wide[c]) wide[c] = n;
    }
    total += wide[c] + (c ? 2 : 0);
  }
  for (int r = 0; r < t->rows; r++) {
    for (int c = 0; c < t->columns && c < 16; c++) {
      char *s = t->cell[r * t->columns + c];
      int gap = wide[c] - width(s);
      int left = t->align[c] == 'l', last = c == t->columns - 1;
      pad((c ? 2 : 0) + (left ? 0 : gap));
      printf("%s", s ? s : "");
      if (left && !last) pad(gap);
      free(s);
    }
    putchar('\n');
    if (header && r == 0) {
      for (int i = 0; i < total; i++) fputs("─", stdout);
      putchar('\n');
    }
  }
  free(t->cell);
  free(t);
}

char *zc_duration(char out[32], double s) {
  long long n = (long long)(s + 0.5);
  if (s < 9.95)
    snprintf(out, 32, "%.1f s", s);
  else if (n < 60)
    snprintf(out, 32, "%lld s", n);
  else if (n < 3600)
    snprintf(out, 32, "%lld:%02lld", n / 60, n % 60);
  else
    snprintf(out, 32, "%lld:%02lld:%02lld", n / 3600, n / 60 % 60, n % 60);
  return out;
}

void zc_json_text(struct zf_buf *b, const char *s, size_t n) {
  json_t *v = json_stringn(s, n);
  if (!v) { /* not UTF-8: byte by byte what is ASCII, the rest replaced */
    zf_buf_putc(b, '"');
    for (size_t i = 0; i < n; i++) {
      unsigned char c = (unsigned char)s[i];
      if (c == '"' || c == '\\')
        zf_buf_printf(b, "\\%c", c);
      else if (c < 0x20)
        zf_buf_printf(b, "\\u%04x", c);
      else if (c < 0x80)
        zf_buf_putc(b, (char)c);
      else
        zf_buf_puts(b, "\xef\xbf\xbd");
    }
    zf_buf_putc(b, '"');
    return;
  }
  char *text = zf_json_dump(v, JSON_ENCODE_ANY);
  zf_buf_puts(b, text ? text : "\"\"");
  free(text);
  json_decref(v);
}

/* --- signals --- */

static volatile sig_atomic_t caught;

static void on_signal(int number) {
  if (caught) _exit(128 + number);
  caught = number;
}

void zc_catch_signals(void) {
  struct sigaction a = {.sa_handler = on_signal};
  sigemptyset(&a.sa_mask);
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  signal(SIGPIPE, SIG_IGN);
}

int zc_signal(void) {
  return caught;
}

void zc_signal_forget(void) {
  caught = 0;
}
