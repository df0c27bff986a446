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

static int refuse(const struct scan *s, const char *what) {
  return zf_error(ZF_EINVALID, "%s: pattern '%s': at byte %d: %s is not supported", s->where,
                  s->text, (int)(s->p - s->text), what);
}

/* Copies n bytes, fewer at the end of the text. */
static void take(struct scan *s, size_t n) {
  for (; n && *s->p; n--) zf_buf_putc(s->out, *s->p++);
}

static void take_char(struct scan *s) {
  uint32_t c;
  take(s, (size_t)zf_char_next(&c, s->p, (int64_t)strlen(s->p)));
}

/* Copies up to and including `end`. */
static void take_until(struct scan *s, char end) {
  while (*s->p && *s->p != end) take(s, 1);
  take(s, 1);
}

static int is_script(const char *name, size_t n) {
  char text[80];
  int error;
  size_t at;
  if (n < 2 || n > 60) return 0; /* Yi is the shortest */
  int len = snprintf(text, sizeof text, "\\p{sc:%.*s}", (int)n, name);
  pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, (size_t)len, PCRE2_UTF, &error, &at, NULL);
  pcre2_code_free(code);
  return code != NULL;
}

/* \p{Name}, \P{Name}, \p{^Name}; s->p is at the p. */
static void property(struct scan *s) {
  zf_buf_putc(s->out, '\\');
  take(s, 1);
  if (*s->p != '{') return;
  take(s, 1);
  if (*s->p == '^') take(s, 1);
  if (is_script(s->p, strcspn(s->p, "}"))) zf_buf_puts(s->out, "sc:");
  take_until(s, '}');
}

/* Escapes longer than one character are copied whole, so that a repeat count after
 * them finds their beginning. */
static void plain_escape(struct scan *s) {
  char c = *s->p;
  if (c == 'u' && strspn(s->p + 1, "0123456789abcdefABCDEF") >= 4) {
    zf_buf_printf(s->out, "\\x{%.4s}", s->p + 1);
    s->p += 5;
    return;
  }
  zf_buf_putc(s->out, '\\');
  take_char(s);
  if (c == 'x' && *s->p == '{')
    take_until(s, '}');
  else if (c == 'x')
    for (int i = 0; i < 2 && *s->p && strchr("0123456789abcdefABCDEF", *s->p); i++) take(s, 1);
  else if ((c == 'k' || c == 'g') && *s->p == '<')
    take_until(s, '>');
  else if (c >= '0' && c <= '9')
    while (*s->p >= '0' && *s->p <= '9') take(s, 1);
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

static int escape(struct scan *s, int inside) {
  s->p++;
  if (*s->p == 0) return refuse(s, "a backslash at the end");
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (classes[i].c != *s->p) continue;
    const char *text = inside ? classes[i].inside : classes[i].outside;
    if (!text) return refuse(s, "a negated class within a class");
    zf_buf_puts(s->out, text);
    s->p++;
    return 0;
  }
  if (*s->p == 'p' || *s->p == 'P')
    property(s);
  else if (*s->p == 'M' || *s->p == 'C' || *s->p == 'c')
    return refuse(s, "a control escape");
  else
    plain_escape(s);
  return 0;
}

/* [:name:] within a class.  Those not listed take in other characters in PCRE2. */
static int posix(struct scan *s) {
  static const struct {
    const char *name, *text;
  } known[] = {{"[:space:]", SPACES}, {"[:word:]", WORDS},          {"[:punct:]", "\\p{P}\\p{S}"},
               {"[:digit:]", "\\d"},  {"[:xdigit:]", "[:xdigit:]"}, {"[:cntrl:]", "\\p{Cc}"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t n = strlen(known[i].name);
    if (strncmp(s->p, known[i].name, n)) continue;
    zf_buf_puts(s->out, known[i].text);
    s->p += n;
    return 0;
  }
  return refuse(s, "this named class");
}

static int class(struct scan *s) {
  take(s, 1);
  if (*s->p == '^') take(s, 1);
  if (*s->p == ']') take(s, 1); /* a bracket that comes first stands for itself */
  while (*s->p && *s->p != ']') {
    int rc = 0;
    if (*s->p == '\\') {
      rc = escape(s, 1);
    } else if (s->p[0] == '[' && s->p[1] == ':') {
      rc = posix(s);
    } else if (*s->p == '[') {
      rc = refuse(s, "a class within a class");
    } else if (s->p[0] == '&' && s->p[1] == '&') {
      rc = refuse(s, "an intersection of classes");
    } else {
      take_char(s);
    }
    if (rc) return rc;
  }
  take(s, 1);
  return 0;
}

/* "(?imx-imx:" with m renamed; other groups as they are. */
static int open_group(struct scan *s) {
  int first = s->out->len == 0;
  if (s->depth == GROUPS) return refuse(s, "nesting this deep");
  if (s->p[1] == '*') return refuse(s, "a verb");
  s->group[s->depth++] = s->out->len;
  take(s, 1);
  if (*s->p != '?') return 0;
  size_t n = strspn(s->p + 1, "imx-");
  char end = s->p[n + 1];
  if (!n || (end != ':' && end != ')')) {
    take(s, 1);
    if (*s->p == '#') return refuse(s, "a comment");
    if (*s->p && *s->p != '(') take(s, 1); /* the sign that says what the group is */
    return 0;
  }
  if (end == ')' && !first) return refuse(s, "an option in the middle");
  take(s, 1);
  for (; n; n--, s->p++) {
    if (*s->p == 'x') return refuse(s, "option x");
    zf_buf_putc(s->out, *s->p == 'm' ? 's' : *s->p);
  }
  if (end == ':') take(s, 1);
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

static int repeat(struct scan *s) {
  int fixed;
  size_t n = repeat_length(s->p, &fixed);
  if (!n) {
    zf_buf_putc(s->out, '\\'); /* a brace that stands for itself */
    s->atom = s->out->len - 1;
    take(s, 1);
    return 0;
  }
  int wrap = s->p[n] == '+' || (fixed && s->p[n] == '?');
  if (wrap) {
    zf_buf_add(s->out, "(?:", 3);
    if (zf_buf_ok(s->out)) return ZF_ENOMEM;
    memmove(s->out->data + s->atom + 3, s->out->data + s->atom, s->out->len - 3 - s->atom);
    memcpy(s->out->data + s->atom, "(?:", 3);
  }
  if (s->p[1] == ',') {
    zf_buf_puts(s->out, "{0");
    s->p++;
    n--;
  }
  take(s, n);
  if (wrap) zf_buf_putc(s->out, ')');
  return 0;
}

static int item(struct scan *s) {
  size_t begin = s->out->len;
  int rc = 0;
  switch (*s->p) {
    case '\\':
      rc = escape(s, 0);
      break;
    case '[':
      rc = class(s);
      break;
    case '(':
      rc = open_group(s);
      break;
    case ')':
      if (s->depth) begin = s->group[--s->depth];
      take(s, 1);
      break;
    case '{':
      return repeat(s);
    case '*':
    case '+':
    case '?':
      take(s, 1);
      return 0;
    default:
      take_char(s);
  }
  s->atom = begin;
  return rc;
}

int zf_pattern_translate(struct zf_buf *out, const char *text, const char *where) {
  struct scan s = {.out = out, .text = text, .p = text, .where = where};
  int rc = 0;
  while (!rc && *s.p) rc = item(&s);
  return rc ? rc : zf_buf_ok(out);
}
