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
#include "train/settings.h"

struct zc_common zc_common;
static const char *program = "zoft ";

static const char *cpumask;

static const struct zc_opt common[] = {
    {"json", 0, ZC_FLAG, NULL, "print one JSON object instead of text", &zc_common.json},
    {"quiet", 'q', ZC_FLAG, NULL, "print results and errors alone", &zc_common.quiet},
    {"verbose", 'v', ZC_FLAG, NULL, "print more", &zc_common.verbose},
    {"no-color", 0, ZC_FLAG, NULL, "no colours (as does NO_COLOR)", &zc_common.no_color},
    {"cpumask", 0, ZC_STR, "LIST", "use only these CPU features: none, avx2, avx512, ...",
     &cpumask},
    {"help", 'h', ZC_FLAG, NULL, "show this help", &zc_common.help},
    {0},
};

/* The option with a name of `len` characters, or with the letter `brief` (not 0); NULL: none.  `options` ends
 * with a NULL name, or is NULL. */
static const struct zc_opt *find_in(const struct zc_opt *options, const char *name, size_t len,
                                    char brief) {
  if (!options) return NULL;
  for (const struct zc_opt *option = options; option->name; option++) {
    int same_name = strlen(option->name) == len && !strncmp(option->name, name, len);
    if (brief ? option->letter == brief : same_name) return option;
  }
  return NULL;
}

static const struct zc_opt *find(const struct zc_command *command, const char *name, size_t len,
                                 char brief) {
  const struct zc_opt *option = find_in(command->opt, name, len, brief);
  return option ? option : find_in(common, name, len, brief);
}

/* The setting that an option was meant as, or NULL: --max-steps is max_steps. */
static const char *setting_of(const struct zc_command *command, const char *plain) {
  if (!strstr(command->usage, "key=value")) return NULL;
  for (const struct zf_conf_key *key = zf_train_keys; key->name; key++) {
    size_t i = 0;
    while (key->name[i] && key->name[i] == (plain[i] == '-' ? '_' : plain[i])) i++;
    if (!key->name[i] && !plain[i]) return key->name;
  }
  return NULL;
}

static int unknown(const struct zc_command *command, const char *word) {
  enum { MAX_NAMES = 64 };
  const struct zc_opt *const tables[] = {command->opt, common};
  const char *names[MAX_NAMES];
  int count = 0;
  for (int i = 0; i < 2; i++)
    for (const struct zc_opt *option = tables[i]; option; option++) {
      if (!option->name || count == MAX_NAMES) break;
      names[count++] = option->name;
    }
  char plain[64];
  snprintf(plain, sizeof plain, "%.*s", (int)strcspn(word + 2, "="), word + 2);
  const char *setting = word[1] == '-' ? setting_of(command, plain) : NULL;
  if (setting)
    return zf_error(ZF_EUSAGE, "unknown option '%s': a setting is given as a word, %s=VALUE", word,
                    setting);
  const char *near = word[1] == '-' ? zf_nearest(plain, names, count) : NULL;
  if (near) return zf_error(ZF_EUSAGE, "unknown option '%s': did you mean '--%s'?", word, near);
  return zf_error(ZF_EUSAGE, "unknown option '%s': see '%s%s -h'", word, program, command->name);
}

/* "a whole number from 1 to 8", "a number above 0, at most 1". */
static void expectation(const struct zc_opt *option, char out[96]) {
  int len = snprintf(out, 96, "%s %s %.15g", option->type == ZC_INT ? "a whole number" : "a number",
                     option->above ? "above" : "from", option->min);
  if (option->max >= ZC_UNBOUNDED)
    snprintf(out + len, 96 - (size_t)len, "%s", option->above ? "" : " on");
  else
    snprintf(out + len, 96 - (size_t)len, "%s %.15g", option->above ? ", at most" : " to",
             option->max);
}

static int out_of_range(const struct zc_opt *option, double value) {
  return !(value >= option->min && value <= option->max) || (option->above && value == option->min);
}

static int store_number(const struct zc_opt *option, const char *value) {
  char *end, what[96];
  int64_t whole = 0;
  double number;
  assert(option->min < option->max);
  errno = 0;
  if (option->type == ZC_INT)
    number = (double)(whole = strtoll(value, &end, 10));
  else
    number = strtod(value, &end);
  int underflow = errno == ERANGE && option->type == ZC_NUM &&
                  fabs(number) < 1; /* smaller than a double holds: it counts as 0 */
  if (end == value || *end || (errno && !underflow) || out_of_range(option, number)) {
    expectation(option, what);
    return zf_error(ZF_EUSAGE, "--%s expects %s, found '%s'", option->name, what, value);
  }
  if (option->type == ZC_INT)
    *(int64_t *)option->value = whole;
  else
    *(double *)option->value = number;
  if (option->given) *option->given = 1;
  return 0;
}

static int store(const struct zc_opt *option, const char *value) {
  if (option->type == ZC_INT || option->type == ZC_NUM) return store_number(option, value);
  if (option->type == ZC_STR) {
    *(const char **)option->value = value;
    return 0;
  }
  struct zc_list *list = option->value;
  if (list->count == (int)(sizeof list->item / sizeof *list->item))
    return zf_error(ZF_EUSAGE, "--%s is given more than %d times", option->name, list->count);
  list->item[list->count++] = value;
  return 0;
}

/* Parses the option argv[*index], and moves *index to its value when that is a word of its own. */
static int parse_option(const struct zc_command *command, int argc, char **argv, int *index) {
  const char *word = argv[*index];
  int is_long = word[1] == '-';
  const char *equals = is_long ? strchr(word, '=') : NULL;
  size_t len = is_long ? strcspn(word + 2, "=") : 0;
  const struct zc_opt *option = find(command, word + 2, len, is_long ? 0 : word[1]);
  if (!option || (!is_long && word[2])) return unknown(command, word);
  if (option->type == ZC_FLAG) {
    if (equals) return zf_error(ZF_EUSAGE, "--%s takes no value", option->name);
    *(int *)option->value = 1;
    return 0;
  }
  if (equals) return store(option, equals + 1);
  if (*index + 1 >= argc)
    return zf_error(ZF_EUSAGE, "--%s needs a value: %s", option->name, option->arg);
  return store(option, argv[++*index]);
}

/* key=value: a plain key before the first '='. */
static int is_set(const char *word) {
  size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyz_.0123456789");
  return len > 0 && word[len] == '=';
}

/* Parses argv from `index` on. */
static int parse(struct zc_args *args, const struct zc_command *command, int index, int argc,
                 char **argv) {
  memset(args, 0, sizeof *args);
  args->word = zf_calloc(argc, sizeof *args->word);
  args->set = zf_calloc(argc, sizeof *args->set);
  if (!args->word || !args->set) return ZF_ENOMEM;
  for (int only_words = 0; index < argc; index++) {
    const char *word = argv[index];
    int rc = 0;
    if (only_words || word[0] != '-' || !word[1]) {
      if (!only_words && is_set(word))
        args->set[args->nset++] = word;
      else
        args->word[args->nword++] = word;
    } else if (!strcmp(word, "--")) {
      only_words = 1;
    } else {
      rc = parse_option(command, argc, argv, &index);
    }
    if (rc) return rc;
  }
  unsigned mask;
  if (!cpumask) return 0;
  int rc = zf_cpu_mask_parse(&mask, cpumask);
  if (!rc) zf_cpu_mask(mask);
  return rc;
}

int zc_parse(struct zc_args *args, const struct zc_command *command, int argc, char **argv) {
  return parse(args, command, 2, argc, argv);
}

int zc_parse_alone(struct zc_args *args, const struct zc_command *command, int argc, char **argv) {
  program = "";
  return parse(args, command, 1, argc, argv);
}

void zc_args_free(struct zc_args *args) {
  free(args->word);
  free(args->set);
  memset(args, 0, sizeof *args);
}

static void help_table(const struct zc_opt *options) {
  if (!options) return;
  for (const struct zc_opt *option = options; option->name; option++) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s--%s%s%s", option->letter ? "-" : "",
             option->letter ? (char[]){option->letter, 0} : "", option->letter ? ", " : "    ",
             option->name, option->arg ? " " : "", option->arg ? option->arg : "");
    printf("  %-24s %s\n", left, option->help);
  }
}

void zc_help(const struct zc_command *command) {
  printf("%s%s: %s\n\nUsage: %s\n", program, command->name, command->about, command->usage);
  if (command->details) printf("\n%s", command->details);
  printf("\nOptions:\n");
  help_table(command->opt);
  help_table(common);
}

const char *zc_cpumask(void) {
  return cpumask;
}
