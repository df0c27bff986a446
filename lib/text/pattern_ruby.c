/* From Oniguruma's Ruby syntax, in which tokenizer files are written, to PCRE2's.
 *
 * Most of it means the same.  Rewritten is what compiles in both and matches
 * different texts:
 *
 *   \s \S \w \W \b \B   PCRE2 has U+180E among spaces and no marks among word characters
 *   [:punct:]           signs too, not punctuation alone
 *   \h \H               a hexadecimal digit, not horizontal space
 *   \p{Han}             the script, not its extensions (PCRE2 since 10.40)
 *   X{1,3}+  X{2}?      (?:X{1,3})+ and (?:X{2})?, not possessive and lazy
 *   X{,3}               X{0,3}
 *   (?m:                the dot matches a newline: PCRE2's s
 *
 * What would need more than that (set operations in classes, options in the middle)
 * is refused. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "text_internal.h"

#define SPACES                                                                                     \
  "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"               \
  "\\x{202f}\\x{205f}\\x{3000}"
#define WORDS                                                                                      \
  "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                      \
  "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
/* Outside classes Oniguruma counts raised digits and fractions of Latin-1 as words. */
#define WORDS_ALONE WORDS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9A-Fa-f"

#define BEFORE "(?<=[" WORDS_ALONE "])"
#define AFTER "(?=[" WORDS_ALONE "])"
#define BEFORE_NOT "(?<![" WORDS_ALONE "])"
#define AFTER_NOT "(?![" WORDS_ALONE "])"

enum { GROUPS = 250 }; /* PCRE2's own limit of nesting */

struct scan {
  struct zf_buf *out;
  const char *text, *p;
  const char *where;
  size_t atom; /* where in out the last repeatable item begins */
  size_t group[GROUPS];
  int depth;
};

static int refuse(const struct scan *scan, const char *what) {
  return zf_error(ZF_EINVALID, "%s: pattern '%s': at byte %d: %s is not supported", scan->where,
                  scan->text, (int)(scan->p - scan->text), what);
}

/* Copies n bytes, fewer at the end of the text. */
static void take(struct scan *scan, size_t count) {
  for (; count && *scan->p; count--) zf_buf_putc(scan->out, *scan->p++);
}

static void take_char(struct scan *scan) {
  uint32_t c;
  take(scan, (size_t)zf_char_next(&c, scan->p, (int64_t)strlen(scan->p)));
}

/* Copies up to and including `end`. */
static void take_until(struct scan *scan, char end) {
  while (*scan->p && *scan->p != end) take(scan, 1);
  take(scan, 1);
}

static int is_script(const char *name, size_t length) {
  char text[80];
  int error;
  size_t at;
  if (length < 2 || length > 60) return 0; /* Yi is the shortest */
  int len = snprintf(text, sizeof text, "\\p{sc:%.*s}", (int)length, name);
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, (size_t)len, PCRE2_UTF, &error, &at, NULL);
  pcre2_code_free(code);
  return code != NULL;
}

/* \p{Name}, \P{Name}, \p{^Name}; s->p is at the p. */
static void property(struct scan *scan) {
  zf_buf_putc(scan->out, '\\');
  take(scan, 1);
  if (*scan->p != '{') return;
  take(scan, 1);
  if (*scan->p == '^') take(scan, 1);
  if (is_script(scan->p, strcspn(scan->p, "}"))) zf_buf_puts(scan->out, "sc:");
  take_until(scan, '}');
}

/* Escapes longer than one character are copied whole, so that a repeat count after
 * them finds their beginning. */
static void plain_escape(struct scan *scan) {
  char c = *scan->p;
  if (c == 'u' && strspn(scan->p + 1, "0123456789abcdefABCDEF") >= 4) {
    zf_buf_printf(scan->out, "\\x{%.4s}", scan->p + 1);
    scan->p += 5;
    return;
  }
  zf_buf_putc(scan->out, '\\');
  take_char(scan);
  if (c == 'x' && *scan->p == '{')
    take_until(scan, '}');
  else if (c == 'x')
    for (int i = 0; i < 2 && *scan->p && strchr("0123456789abcdefABCDEF", *scan->p); i++)
      take(scan, 1);
  else if ((c == 'k' || c == 'g') && *scan->p == '<')
    take_until(scan, '>');
  else if (c >= '0' && c <= '9')
    while (*scan->p >= '0' && *scan->p <= '9') take(scan, 1);
}

static const struct {
  char c;
  const char *outside, *inside;
} classes[] = {
    {'s', "[" SPACES "]", SPACES},
    {'S', "[^" SPACES "]", NULL},
    {'w', "[" WORDS_ALONE "]", WORDS},
    {'W', "[^" WORDS_ALONE "]", NULL},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'b', "(?:" BEFORE AFTER_NOT "|" BEFORE_NOT AFTER ")", "\\b"},
    {'B', "(?:" BEFORE AFTER "|" BEFORE_NOT AFTER_NOT ")", NULL},
};

static int escape(struct scan *scan, int inside) {
  scan->p++;
  if (*scan->p == 0) return refuse(scan, "a backslash at the end");
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (classes[i].c != *scan->p) continue;
    const char *text = inside ? classes[i].inside : classes[i].outside;
    if (!text) return refuse(scan, "a negated class within a class");
    zf_buf_puts(scan->out, text);
    scan->p++;
    return 0;
  }
  if (*scan->p == 'p' || *scan->p == 'P')
    property(scan);
  else if (*scan->p == 'M' || *scan->p == 'C' || *scan->p == 'c')
    return refuse(scan, "a control escape");
  else
    plain_escape(scan);
  return 0;
}

/* [:name:] within a class.  Those not listed take in other characters in PCRE2. */
static int posix(struct scan *scan) {
  static const struct {
    const char *name, *text;
  } known[] = {{"[:space:]", SPACES}, {"[:word:]", WORDS},          {"[:punct:]", "\\p{P}\\p{S}"},
               {"[:digit:]", "\\d"},  {"[:xdigit:]", "[:xdigit:]"}, {"[:cntrl:]", "\\p{Cc}"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t n = strlen(known[i].name);
    if (strncmp(scan->p, known[i].name, n)) continue;
    zf_buf_puts(scan->out, known[i].text);
    scan->p += n;
    return 0;
  }
  return refuse(scan, "this named class");
}

static int class(struct scan *scan) {
  take(scan, 1);
  if (*scan->p == '^') take(scan, 1);
  if (*scan->p == ']') take(scan, 1); /* a bracket that comes first stands for itself */
  while (*scan->p && *scan->p != ']') {
    int rc = 0;
    if (*scan->p == '\\') {
      rc = escape(scan, 1);
    } else if (scan->p[0] == '[' && scan->p[1] == ':') {
      rc = posix(scan);
    } else if (*scan->p == '[') {
      rc = refuse(scan, "a class within a class");
    } else if (scan->p[0] == '&' && scan->p[1] == '&') {
      rc = refuse(scan, "an intersection of classes");
    } else {
      take_char(scan);
    }
    if (rc) return rc;
  }
  take(scan, 1);
  return 0;
}

/* "(?imx-imx:" with m renamed; other groups as they are. */
static int open_group(struct scan *scan) {
  int first = scan->out->len == 0;
  if (scan->depth == GROUPS) return refuse(scan, "nesting this deep");
  if (scan->p[1] == '*') return refuse(scan, "a verb");
  scan->group[scan->depth++] = scan->out->len;
  take(scan, 1);
  if (*scan->p != '?') return 0;
  size_t n = strspn(scan->p + 1, "imx-");
  char end = scan->p[n + 1];
  if (!n || (end != ':' && end != ')')) {
    take(scan, 1);
    if (*scan->p == '#') return refuse(scan, "a comment");
    if (*scan->p && *scan->p != '(') take(scan, 1); /* the sign that says what the group is */
    return 0;
  }
  if (end == ')' && !first) return refuse(scan, "an option in the middle");
  take(scan, 1);
  for (; n; n--, scan->p++) {
    if (*scan->p == 'x') return refuse(scan, "option x");
    zf_buf_putc(scan->out, *scan->p == 'm' ? 's' : *scan->p);
  }
  if (end == ':') take(scan, 1);
  return 0;
}

/* Is a repeat count {n}, {n,}, {,m} or {n,m} at p?  Its length, or 0. */
static size_t repeat_length(const char *p, int *fixed) {
  size_t a = strspn(p + 1, "0123456789"), i = 1 + a, b = 0;
  *fixed = p[i] != ',';
  if (!*fixed) {
    b = strspn(p + i + 1, "0123456789");
    i += 1 + b;
  }
  return p[i] == '}' && (a || b) ? i + 1 : 0;
}

static int repeat(struct scan *scan) {
  int fixed;
  size_t n = repeat_length(scan->p, &fixed);
  if (!n) {
    zf_buf_putc(scan->out, '\\'); /* a brace that stands for itself */
    scan->atom = scan->out->len - 1;
    take(scan, 1);
    return 0;
  }
  int wrap = scan->p[n] == '+' || (fixed && scan->p[n] == '?');
  if (wrap) {
    zf_buf_add(scan->out, "(?:", 3);
    if (zf_buf_ok(scan->out)) return ZF_ENOMEM;
    memmove(scan->out->data + scan->atom + 3, scan->out->data + scan->atom,
            scan->out->len - 3 - scan->atom);
    memcpy(scan->out->data + scan->atom, "(?:", 3);
  }
  if (scan->p[1] == ',') {
    zf_buf_puts(scan->out, "{0");
    scan->p++;
    n--;
  }
  take(scan, n);
  if (wrap) zf_buf_putc(scan->out, ')');
  return 0;
}

static int item(struct scan *scan) {
  size_t begin = scan->out->len;
  int rc = 0;
  switch (*scan->p) {
    case '\\':
      rc = escape(scan, 0);
      break;
    case '[':
      rc = class(scan);
      break;
    case '(':
      rc = open_group(scan);
      break;
    case ')':
      if (scan->depth) begin = scan->group[--scan->depth];
      take(scan, 1);
      break;
    case '{':
      return repeat(scan);
    case '*':
    case '+':
    case '?':
      take(scan, 1);
      return 0;
    default:
      take_char(scan);
  }
  scan->atom = begin;
  return rc;
}

int zf_pattern_translate(struct zf_buf *out, const char *text, const char *where) {
  struct scan scan = {.out = out, .text = text, .p = text, .where = where};
  int rc = 0;
  while (!rc && *scan.p) rc = item(&scan);
  return rc ? rc : zf_buf_ok(out);
}
