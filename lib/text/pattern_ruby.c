/* Translates Oniguruma's Ruby syntax, which tokenizer files use, to PCRE2's.
 *
 * Most of it means the same in both.  What compiles in both but matches different texts is
 * rewritten:
 *
 *   \s \S \w \W \b \B   PCRE2 counts U+180E as a space and marks not as word characters
 *   [:punct:]           symbols too, not punctuation alone
 *   \h \H               a hexadecimal digit, not horizontal space
 *   \p{Han}             the script, not its extensions (PCRE2 since 10.40)
 *   X{1,3}+  X{2}?      (?:X{1,3})+ and (?:X{2})?, not possessive and lazy
 *   X{,3}               X{0,3}
 *   (?m:                the dot matches a newline: PCRE2's s
 *
 * What would need more than that (set operations in classes, options within the pattern) is an
 * error. */
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
/* Outside classes Oniguruma counts the superscripts and fractions of Latin-1 as word characters. */
#define WORDS_ALONE WORDS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9A-Fa-f"

#define BEFORE "(?<=[" WORDS_ALONE "])"
#define AFTER "(?=[" WORDS_ALONE "])"
#define BEFORE_NOT "(?<![" WORDS_ALONE "])"
#define AFTER_NOT "(?![" WORDS_ALONE "])"

enum { GROUPS = 250 }; /* PCRE2's limit of nesting */

struct ruby_scan {
  struct zf_buf *out;
  const char *text, *cursor;
  const char *where;
  size_t atom_begin; /* offset in out of the last item that can be repeated */
  size_t group_begin[GROUPS];
  int depth;
};

static int refuse(const struct ruby_scan *scan, const char *what) {
  return zf_error(ZF_EINVALID, "%s: pattern '%s': at byte %d: %s is not supported", scan->where,
                  scan->text, (int)(scan->cursor - scan->text), what);
}

/* Copies `count` bytes, fewer at the end of the text. */
static void copy_bytes(struct ruby_scan *scan, size_t count) {
  size_t len = strnlen(scan->cursor, count);
  zf_buf_add(scan->out, scan->cursor, len);
  scan->cursor += len;
}

static void copy_char(struct ruby_scan *scan) {
  uint32_t c;
  copy_bytes(scan, (size_t)zf_char_next(&c, scan->cursor, (int64_t)strlen(scan->cursor)));
}

/* Copies up to and including `end`. */
static void copy_until(struct ruby_scan *scan, char end) {
  while (*scan->cursor && *scan->cursor != end) copy_bytes(scan, 1);
  copy_bytes(scan, 1);
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

/* \p{Name}, \P{Name}, \p{^Name}; the cursor stands at the p. */
static void translate_property(struct ruby_scan *scan) {
  zf_buf_putc(scan->out, '\\');
  copy_bytes(scan, 1);
  if (*scan->cursor != '{') return;
  copy_bytes(scan, 1);
  if (*scan->cursor == '^') copy_bytes(scan, 1);
  if (is_script(scan->cursor, strcspn(scan->cursor, "}"))) zf_buf_puts(scan->out, "sc:");
  copy_until(scan, '}');
}

/* Copies at most `max` bytes of a set. */
static void copy_run(struct ruby_scan *scan, const char *set, size_t max) {
  size_t len = strspn(scan->cursor, set);
  copy_bytes(scan, len < max ? len : max);
}

/* An escape of several characters is copied as a whole, so that a repeat count after it applies to
 * all of it. */
static void copy_escape(struct ruby_scan *scan) {
  static const char hex[] = "0123456789abcdefABCDEF";
  char letter = *scan->cursor;
  if (letter == 'u' && strspn(scan->cursor + 1, hex) >= 4) {
    zf_buf_printf(scan->out, "\\x{%.4s}", scan->cursor + 1);
    scan->cursor += 5;
    return;
  }
  zf_buf_putc(scan->out, '\\');
  copy_char(scan);
  if (letter == 'x' && *scan->cursor == '{')
    copy_until(scan, '}');
  else if (letter == 'x')
    copy_run(scan, hex, 2);
  else if ((letter == 'k' || letter == 'g') && *scan->cursor == '<')
    copy_until(scan, '>');
  else if (letter >= '0' && letter <= '9')
    copy_run(scan, "0123456789", SIZE_MAX);
}

static const struct {
  char letter;
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

static int translate_escape(struct ruby_scan *scan, int inside) {
  scan->cursor++;
  if (*scan->cursor == 0) return refuse(scan, "a backslash at the end");
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (classes[i].letter != *scan->cursor) continue;
    const char *text = inside ? classes[i].inside : classes[i].outside;
    if (!text) return refuse(scan, "a negated class within a class");
    zf_buf_puts(scan->out, text);
    scan->cursor++;
    return 0;
  }
  if (*scan->cursor == 'p' || *scan->cursor == 'P')
    translate_property(scan);
  else if (*scan->cursor == 'M' || *scan->cursor == 'C' || *scan->cursor == 'c')
    return refuse(scan, "a control escape");
  else
    copy_escape(scan);
  return 0;
}

/* [:name:] within a class.  The names that are not listed mean other characters in PCRE2. */
static int translate_posix_class(struct ruby_scan *scan) {
  static const struct {
    const char *name, *text;
  } known[] = {{"[:space:]", SPACES}, {"[:word:]", WORDS},          {"[:punct:]", "\\p{P}\\p{S}"},
               {"[:digit:]", "\\d"},  {"[:xdigit:]", "[:xdigit:]"}, {"[:cntrl:]", "\\p{Cc}"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t len = strlen(known[i].name);
    if (strncmp(scan->cursor, known[i].name, len)) continue;
    zf_buf_puts(scan->out, known[i].text);
    scan->cursor += len;
    return 0;
  }
  return refuse(scan, "this named class");
}

static int translate_class(struct ruby_scan *scan) {
  copy_bytes(scan, 1);
  if (*scan->cursor == '^') copy_bytes(scan, 1);
  if (*scan->cursor == ']') copy_bytes(scan, 1); /* a bracket that comes first is a character */
  while (*scan->cursor && *scan->cursor != ']') {
    int rc = 0;
    if (*scan->cursor == '\\') {
      rc = translate_escape(scan, 1);
    } else if (scan->cursor[0] == '[' && scan->cursor[1] == ':') {
      rc = translate_posix_class(scan);
    } else if (*scan->cursor == '[') {
      rc = refuse(scan, "a class within a class");
    } else if (scan->cursor[0] == '&' && scan->cursor[1] == '&') {
      rc = refuse(scan, "an intersection of classes");
    } else {
      copy_char(scan);
    }
    if (rc) return rc;
  }
  copy_bytes(scan, 1);
  return 0;
}

/* "(?imx-imx:" with m renamed; other groups unchanged. */
static int open_group(struct ruby_scan *scan) {
  int first = scan->out->len == 0;
  if (scan->depth == GROUPS) return refuse(scan, "nesting this deep");
  if (scan->cursor[1] == '*') return refuse(scan, "a verb");
  scan->group_begin[scan->depth++] = scan->out->len;
  copy_bytes(scan, 1);
  if (*scan->cursor != '?') return 0;
  size_t options = strspn(scan->cursor + 1, "imx-");
  char end = scan->cursor[options + 1];
  if (!options || (end != ':' && end != ')')) {
    copy_bytes(scan, 1);
    if (*scan->cursor == '#') return refuse(scan, "a comment");
    if (*scan->cursor && *scan->cursor != '(')
      copy_bytes(scan, 1); /* the character that tells the kind of group */
    return 0;
  }
  if (end == ')' && !first) return refuse(scan, "an option within the pattern");
  copy_bytes(scan, 1);
  for (; options; options--, scan->cursor++) {
    if (*scan->cursor == 'x') return refuse(scan, "option x");
    zf_buf_putc(scan->out, *scan->cursor == 'm' ? 's' : *scan->cursor);
  }
  if (end == ':') copy_bytes(scan, 1);
  return 0;
}

/* The length of the repeat count {n}, {n,}, {,m} or {n,m} that the text begins with, or 0. */
static size_t repeat_length(const char *text, int *fixed) {
  size_t min_digits = strspn(text + 1, "0123456789"), close = 1 + min_digits, max_digits = 0;
  *fixed = text[close] != ',';
  if (!*fixed) {
    max_digits = strspn(text + close + 1, "0123456789");
    close += 1 + max_digits;
  }
  return text[close] == '}' && (min_digits || max_digits) ? close + 1 : 0;
}

static int translate_repeat(struct ruby_scan *scan) {
  int fixed;
  size_t len = repeat_length(scan->cursor, &fixed);
  if (!len) {
    zf_buf_putc(scan->out, '\\'); /* a brace that is a character */
    scan->atom_begin = scan->out->len - 1;
    copy_bytes(scan, 1);
    return 0;
  }
  int wrap = scan->cursor[len] == '+' || (fixed && scan->cursor[len] == '?');
  if (wrap) {
    zf_buf_add(scan->out, "(?:", 3);
    if (zf_buf_ok(scan->out)) return ZF_ENOMEM;
    memmove(scan->out->data + scan->atom_begin + 3, scan->out->data + scan->atom_begin,
            scan->out->len - 3 - scan->atom_begin);
    memcpy(scan->out->data + scan->atom_begin, "(?:", 3);
  }
  if (scan->cursor[1] == ',') {
    zf_buf_puts(scan->out, "{0");
    scan->cursor++;
    len--;
  }
  copy_bytes(scan, len);
  if (wrap) zf_buf_putc(scan->out, ')');
  return 0;
}

static int translate_item(struct ruby_scan *scan) {
  size_t begin = scan->out->len;
  int rc = 0;
  switch (*scan->cursor) {
    case '\\':
      rc = translate_escape(scan, 0);
      break;
    case '[':
      rc = translate_class(scan);
      break;
    case '(':
      rc = open_group(scan);
      break;
    case ')':
      if (scan->depth) begin = scan->group_begin[--scan->depth];
      copy_bytes(scan, 1);
      break;
    case '{':
      return translate_repeat(scan);
    case '*':
    case '+':
    case '?':
      copy_bytes(scan, 1);
      return 0;
    default:
      copy_char(scan);
  }
  scan->atom_begin = begin;
  return rc;
}

int zf_pattern_translate(struct zf_buf *out, const char *text, const char *where) {
  struct ruby_scan scan = {.out = out, .text = text, .cursor = text, .where = where};
  while (*scan.cursor) {
    int rc = translate_item(&scan);
    if (rc) return rc;
  }
  return zf_buf_ok(out);
}
