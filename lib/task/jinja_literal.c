/* Strings and numbers of a template, from tokens to nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jinja_parse_internal.h"

static void put_utf8(struct zf_buf *buf, uint32_t code) {
  if (code < 0x80) {
    zf_buf_putc(buf, (char)code);
    return;
  }
  if (code >= 0x10000) {
    zf_buf_putc(buf, (char)(0xF0 | code >> 18));
    zf_buf_putc(buf, (char)(0x80 | (code >> 12 & 63)));
  } else if (code >= 0x800) {
    zf_buf_putc(buf, (char)(0xE0 | code >> 12));
  }
  if (code >= 0x800)
    zf_buf_putc(buf, (char)(0x80 | (code >> 6 & 63)));
  else
    zf_buf_putc(buf, (char)(0xC0 | code >> 6));
  zf_buf_putc(buf, (char)(0x80 | (code & 63)));
}

static int hex_digits(char kind) {
  switch (kind) {
    case 'x':
      return 2;
    case 'u':
      return 4;
    case 'U':
      return 8;
    default:
      return 0;
  }
}

/* Appends what a backslash before `escaped` stands for; returns how many bytes it took. */
static int64_t put_escape(struct zf_buf *buf, const char *escaped, int64_t len) {
  static const char from[] = "nrtbfva0\\'\"", to[] = "\n\r\t\b\f\v\a\0\\'\"";
  const char *hit = *escaped ? strchr(from, *escaped) : NULL;
  int digits = hex_digits(*escaped);
  char hex[9] = {0}, *end;
  if (digits && len > digits) {
    memcpy(hex, escaped + 1, (size_t)digits);
    unsigned long code = strtoul(hex, &end, 16);
    if (end == hex + digits && code && code < 0x110000 && (code < 0xD800 || code > 0xDFFF)) {
      put_utf8(buf, (uint32_t)code);
      return 1 + digits;
    }
  }
  if (hit && to[hit - from]) {
    zf_buf_putc(buf, to[hit - from]);
  } else if (*escaped != '\n') { /* unknown: both characters stay, as in Python */
    zf_buf_putc(buf, '\\');
    zf_buf_putc(buf, *escaped);
  }
  return 1;
}

/* The text of a token of a string, its escapes resolved. */
static void put_string(struct zf_buf *buf, const struct zj_token *token) {
  const char *text = token->text;
  for (int64_t i = 0; i < token->len;) {
    if (text[i] == '\\' && i + 1 < token->len)
      i += 1 + put_escape(buf, text + i + 1, token->len - i - 1);
    else
      zf_buf_putc(buf, text[i++]);
  }
}

int zj_p_string(struct zj_parser *parser, struct zj_node **out) {
  struct zf_buf buf = {0};
  int rc = zj_p_make(parser, out, ZJ_N_CONST);
  zf_buf_puts(&buf, "");
  for (; parser->at->kind == ZJ_STRING; parser->at++) put_string(&buf, parser->at);
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc && !((*out)->constant = json_stringn(buf.data, buf.len))) {
    parser->at--;
    rc = zj_p_fail(parser, "UTF-8");
  }
  zf_buf_free(&buf);
  return rc;
}

int zj_p_number(struct zj_parser *parser, struct zj_node **out) {
  char text[64];
  int rc = zj_p_make(parser, out, ZJ_N_CONST);
  if (rc) return rc;
  if (parser->at->len >= (int64_t)sizeof text) return zj_p_unsupported(parser, "number");
  memcpy(text, parser->at->text, (size_t)parser->at->len);
  text[parser->at->len] = 0;
  errno = 0;
  (*out)->constant = parser->at->kind == ZJ_INT ? json_integer(strtoll(text, NULL, 10))
                                                : json_real(strtod(text, NULL));
  if (errno || !(*out)->constant) return zj_p_unsupported(parser, "number");
  parser->at++;
  return 0;
}
