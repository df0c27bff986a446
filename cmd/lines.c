#include "lines.h"

#include <editline/readline.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "ui.h"

static const char *const QUOTES = "\"\"\"";

int zc_lines_edited(void) {
  const char *term = getenv("TERM");
  return isatty(0) && isatty(1) && !(term && !strcmp(term, "dumb"));
}

static char *read_piped(void) {
  char *line = NULL;
  size_t cap = 0;
  ssize_t len = getline(&line, &cap, stdin);
  if (len < 0) {
    free(line);
    return NULL;
  }
  if (len > 0 && line[len - 1] == '\n') line[--len] = 0;
  if (len > 0 && line[len - 1] == '\r') line[--len] = 0;
  return line;
}

/* The first Ctrl-C discards the line, a second one in a row ends the program. */
static char *read_edited(const char *prompt) {
  fflush(stdout);
  char *line = readline(prompt);
  if (!line && zc_signal() == SIGINT) {
    zc_signal_forget();
    printf("\n");
    zc_info("Ctrl-C again, Ctrl-D or /quit leaves");
    line = readline(prompt);
  }
  if (line && *line) add_history(line);
  return line;
}

/* The next line, which the caller frees; NULL: the end of input. */
static char *next_line(const char *prompt) {
  return zc_lines_edited() ? read_edited(prompt) : read_piped();
}

/* Reads lines up to one that ends in quotation marks; `line` is the text behind the opening ones. */
static int read_quoted(struct zf_buf *out, char *line, const char *prompt) {
  for (int first = 1; line; first = 0) {
    size_t len = strlen(line);
    int last = len >= 3 && !strcmp(line + len - 3, QUOTES);
    if (!first) zf_buf_putc(out, '\n');
    zf_buf_add(out, line, last ? len - 3 : len);
    if (!first) free(line);
    if (last) break;
    line = next_line(prompt);
  }
  /* The lines between those of the quotation marks are the message. */
  size_t skip = out->len && out->data[0] == '\n';
  if (skip) memmove(out->data, out->data + 1, out->len--);
  if (out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = 0;
  return zf_buf_ok(out);
}

static int read_continued(struct zf_buf *out, char *line, const char *prompt) {
  while (line) {
    size_t len = strlen(line);
    int more = len && line[len - 1] == '\\';
    zf_buf_add(out, line, more ? len - 1 : len);
    free(line);
    if (!more) break;
    zf_buf_putc(out, '\n');
    line = next_line(prompt);
  }
  return zf_buf_ok(out);
}

int zc_read_message(struct zf_buf *out, const char *prompt) {
  zf_buf_clear(out);
  zf_buf_puts(out, "");
  char *line = next_line(prompt);
  if (!line && zc_signal()) return zf_error(ZF_ESTOPPED, "interrupted");
  if (!line) return 0;
  int block = !strncmp(line, QUOTES, 3), rc;
  if (block) {
    rc = read_quoted(out, line + 3, ". ");
    free(line);
  } else {
    rc = read_continued(out, line, ". ");
  }
  return rc ? rc : 1;
}
