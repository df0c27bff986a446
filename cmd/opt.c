#include "opt.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"

struct zc_common zc_common;
static const char *program = "zoft ";

static const char *cpumask;

static const struct zc_opt common[] = {
    {"json", 0, ZC_FLAG, NULL, "print one JSON object instead of text", &zc_common.json},
    {"quiet", 'q', ZC_FLAG, NULL, "say nothing but results and errors", &zc_common.quiet},
    {"verbose", 'v', ZC_FLAG, NULL, "say more", &zc_common.verbose},
    {"no-color", 0, ZC_FLAG, NULL, "no colours (as does NO_COLOR)", &zc_common.no_color},
    {"cpumask", 0, ZC_STR, "LIST", "use only these CPU features: none, avx2, avx512, ...",
     &cpumask},
    {"help", 'h', ZC_FLAG, NULL, "show this help", &zc_common.help},
    {0},
};

static const struct zc_opt *find_in(const struct zc_opt *o, const char *name, size_t n,
                                    char brief) {
  for (; o && o->name; o++)
    if (brief ? o->brief == brief : strlen(o->name) == n && !strncmp(o->name, name, n)) return o;
  return NULL;
}

static const struct zc_opt *find(const struct zc_command *c, const char *name, size_t n,
                                 char brief) {
  const struct zc_opt *o = find_in(c->opt, name, n, brief);
  return o ? o : find_in(common, name, n, brief);
}

static int unknown(const struct zc_command *c, const char *word) {
  const char *names[64];
  int n = 0;
  for (const struct zc_opt *o = c->opt; o && o->name && n < 48; o++) names[n++] = o->name;
  for (const struct zc_opt *o = common; o->name; o++) names[n++] = o->name;
  char plain[64];
  snprintf(plain, sizeof plain, "%.*s", (int)strcspn(word + 2, "="), word + 2);
  const char *near = word[1] == '-' ? zf_nearest(plain, names, n) : NULL;
  if (near) return zf_error(ZF_EUSAGE, "unknown option '%s': did you mean '--%s'?", word, near);
  return zf_error(ZF_EUSAGE, "unknown option '%s': see '%s%s -h'", word, program, c->name);
}

/* "a whole number from 1 to 8", "a number above 0, at most 1". */
static void expectation(const struct zc_opt *o, char out[96]) {
  int n = snprintf(out, 96, "%s %s %.15g", o->type == ZC_INT ? "a whole number" : "a number",
                   o->above ? "above" : "from", o->min);
  if (o->max >= ZC_MANY)
    snprintf(out + n, 96 - (size_t)n, "%s", o->above ? "" : " on");
  else
    snprintf(out + n, 96 - (size_t)n, "%s %.15g", o->above ? ", at most" : " to", o->max);
}

static int out_of_range(const struct zc_opt *o, double v) {
  return !(v >= o->min && v <= o->max) || (o->above && v == o->min);
}

static int store_number(const struct zc_opt *o, const char *value) {
  char *end, what[96];
  int64_t whole = 0;
  double v;
  assert(o->min < o->max);
  errno = 0;
  if (o->type == ZC_INT)
    v = (double)(whole = strtoll(value, &end, 10));
  else
    v = strtod(value, &end);
  int tiny = errno == ERANGE && o->type == ZC_NUM && fabs(v) < 1; /* below what a double holds */
  if (end == value || *end || (errno && !tiny) || out_of_range(o, v)) {
    expectation(o, what);
    return zf_error(ZF_EUSAGE, "--%s expects %s, found '%s'", o->name, what, value);
  }
  if (o->type == ZC_INT)
    *(int64_t *)o->to = whole;
  else
    *(double *)o->to = v;
  if (o->given) *o->given = 1;
  return 0;
}

static int store(const struct zc_opt *o, const char *value) {
  if (o->type == ZC_INT || o->type == ZC_NUM) return store_number(o, value);
  if (o->type == ZC_STR) {
    *(const char **)o->to = value;
    return 0;
  }
  struct zc_list *l = o->to;
  if (l->count == (int)(sizeof l->item / sizeof *l->item))
    return zf_error(ZF_EUSAGE, "--%s is given more than %d times", o->name, l->count);
  l->item[l->count++] = value;
  return 0;
}

static int take(const struct zc_command *c, int argc, char **argv, int *i) {
  const char *word = argv[*i], *eq = NULL;
  int full = word[1] == '-';
  if (full) eq = strchr(word, '=');
  size_t n = full ? (eq ? (size_t)(eq - word - 2) : strlen(word + 2)) : 0;
  const struct zc_opt *o = find(c, word + 2, n, full ? 0 : word[1]);
  if (!o || (!full && word[2])) return unknown(c, word);
  if (o->type == ZC_FLAG) {
    if (eq) return zf_error(ZF_EUSAGE, "--%s takes no value", o->name);
    *(int *)o->to = 1;
    return 0;
  }
  if (eq) return store(o, eq + 1);
  if (*i + 1 >= argc) return zf_error(ZF_EUSAGE, "--%s needs a value: %s", o->name, o->arg);
  return store(o, argv[++*i]);
}

/* key=value: a plain key before the first '='. */
static int is_set(const char *w) {
  size_t n = strspn(w, "abcdefghijklmnopqrstuvwxyz_.0123456789");
  return n > 0 && w[n] == '=';
}

/* From argv[i] on. */
static int parse(struct zc_args *a, const struct zc_command *c, int i, int argc, char **argv) {
  memset(a, 0, sizeof *a);
  a->word = zf_calloc(argc, sizeof *a->word);
  a->set = zf_calloc(argc, sizeof *a->set);
  if (!a->word || !a->set) return ZF_ENOMEM;
  for (int plain = 0; i < argc; i++) {
    const char *w = argv[i];
    int rc = 0;
    if (plain || w[0] != '-' || !w[1]) {
      if (!plain && is_set(w))
        a->set[a->nset++] = w;
      else
        a->word[a->nword++] = w;
    } else if (!strcmp(w, "--")) {
      plain = 1;
    } else {
      rc = take(c, argc, argv, &i);
    }
    if (rc) return rc;
  }
  unsigned mask;
  if (!cpumask) return 0;
  int rc = zf_cpu_mask_parse(&mask, cpumask);
  if (!rc) zf_cpu_mask(mask);
  return rc;
}

int zc_parse(struct zc_args *a, const struct zc_command *c, int argc, char **argv) {
  return parse(a, c, 2, argc, argv);
}

int zc_parse_alone(struct zc_args *a, const struct zc_command *c, int argc, char **argv) {
  program = "";
  return parse(a, c, 1, argc, argv);
}

void zc_args_free(struct zc_args *a) {
  free(a->word);
  free(a->set);
  memset(a, 0, sizeof *a);
}

static void help_table(const struct zc_opt *o) {
  for (; o && o->name; o++) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s--%s%s%s", o->brief ? "-" : "",
             o->brief ? (char[]){o->brief, 0} : "", o->brief ? ", " : "    ", o->name,
             o->arg ? " " : "", o->arg ? o->arg : "");
    printf("  %-24s %s\n", left, o->help);
  }
}

void zc_help(const struct zc_command *c) {
  printf("%s%s: %s\n\nUsage: %s\n", program, c->name, c->about, c->usage);
  if (c->details) printf("\n%s", c->details);
  printf("\nOptions:\n");
  help_table(c->opt);
  help_table(common);
}

const char *zc_cpumask(void) {
  return cpumask;
}
