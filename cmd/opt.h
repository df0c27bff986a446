/* Command lines: zoft <command> [words] [key=value ...] [--options].
 *
 * A command declares its options in a table; the options of all commands are added here.  The error about an
 * unknown option names the nearest known one. */
#ifndef ZF_CMD_OPT_H
#define ZF_CMD_OPT_H

#include <stdint.h>

enum zc_type { ZC_FLAG, ZC_STR, ZC_INT, ZC_NUM, ZC_LIST };

/* The values of an option that may be given several times. */
struct zc_list {
  const char *item[64];
  int count;
};

struct zc_opt {
  const char *name; /* "json" for --json */
  char letter;      /* 'q' for -q, 0: none */
  enum zc_type type;
  const char *arg; /* name of the argument in the help */
  const char *help;
  void *value; /* int, const char *, int64_t, double or struct zc_list, by type */
  /* ZC_INT, ZC_NUM: a value is finite and from min to max; with `above` it is larger than min.  Each row of
   * these types states them.  *given (may be NULL) becomes 1 when the option is given. */
  double min, max;
  int above;
  int *given;
};

enum { ZC_UNBOUNDED = INT32_MAX }; /* a max that only keeps sums from overflowing */

/* Options of every command. */
struct zc_common {
  int json, quiet, verbose, help, no_color;
};
extern struct zc_common zc_common;

struct zc_args {
  const char **word; /* neither option nor key=value */
  int nword;
  const char **set; /* key=value */
  int nset;
};

struct zc_command {
  const char *name, *about;
  const char *usage;        /* "zoft train CONFIG [key=value ...] [options]" */
  const char *details;      /* paragraphs and examples of the help screen */
  const struct zc_opt *opt; /* ends with a NULL name; NULL: none */
  int (*run)(const struct zc_args *args);
};

/* Parses argv[2..] into *args, which zc_args_free frees.  ZF_EUSAGE. */
int zc_parse(struct zc_args *args, const struct zc_command *command, int argc, char **argv);

/* The same for a program that is one command: parses argv[1..]. */
int zc_parse_alone(struct zc_args *args, const struct zc_command *command, int argc, char **argv);

void zc_args_free(struct zc_args *args);

/* The value of --cpumask, or NULL. */
const char *zc_cpumask(void);

/* Prints the help screen of one command to standard output. */
void zc_help(const struct zc_command *command);

/* All commands; ends with NULL (main.c). */
extern const struct zc_command *const zc_commands[];

#endif
