/* zoft: the program.  Every command is a file cmd_<name>.c, listed here by name. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "kern/kern.h"
#include "opt.h"
#include "ui.h"

extern const struct zc_command zc_train, zc_tune, zc_eval, zc_predict, zc_score, zc_generate,
    zc_chat, zc_tokenize, zc_inspect, zc_validate, zc_data, zc_plan, zc_init, zc_bench, zc_env,
    zc_replay, zc_apply, zc_log, zc_export, zc_merge, zc_compare, zc_quantize, zc_prune, zc_shrink;

const struct zc_command *const zc_commands[] = {
    &zc_train,   &zc_tune,  &zc_eval, &zc_predict,  &zc_score,    &zc_generate, &zc_chat,
    &zc_replay,  &zc_apply, &zc_log,  &zc_tokenize, &zc_inspect,  &zc_validate, &zc_data,
    &zc_plan,    &zc_merge, &zc_init, &zc_export,   &zc_quantize, &zc_prune,    &zc_shrink,
    &zc_compare, &zc_bench, &zc_env,  NULL,
};

static void usage(void) {
  printf("zoft %s: fine-tunes language models without backpropagation\n\n"
         "Usage: zoft <command> [config.yaml] [key=value ...] [options]\n\nCommands:\n",
         ZF_VERSION);
  for (const struct zc_command *const *command = zc_commands; *command; command++)
    printf("  %-10s %s\n", (*command)->name, (*command)->about);
  printf("\nExamples:\n"
         "  zoft train configs/demo.yaml\n"
         "  zoft train configs/sst2.yaml base_model=DIR data_dir=datasets learning_rate=1e-4\n"
         "  zoft generate out/demo --prompt 'the film was'\n\n"
         "'zoft <command> -h' shows one command. Exit status: 0 ok, 1 failure, 2 usage or config,\n"
         "3 invalid model, tokenizer, data or log, 4 memory limit, 5 gate, 6 diverged,\n"
         "130/143 interrupted.\n");
}

static const struct zc_command *find(const char *name) {
  for (const struct zc_command *const *command = zc_commands; *command; command++)
    if (!strcmp((*command)->name, name)) return *command;
  return NULL;
}

static int unknown(const char *name) {
  enum { COUNT = sizeof zc_commands / sizeof *zc_commands - 1 };
  const char *names[COUNT];
  for (int i = 0; i < COUNT; i++) names[i] = zc_commands[i]->name;
  const char *near = zf_nearest(name, names, COUNT);
  if (near)
    zf_error(ZF_EUSAGE, "unknown command '%s': did you mean '%s'?", name, near);
  else
    zf_error(ZF_EUSAGE, "unknown command '%s': 'zoft -h' lists them", name);
  return zc_fail(ZF_EUSAGE);
}

/* The exit status; output that could not be written is an error, that of help too. */
static int finish(int rc) {
  if (rc >= 0 && (fflush(stdout) || ferror(stdout)))
    return zc_fail(zf_error(ZF_EIO, "cannot write to standard output"));
  return rc < 0 ? zc_fail(rc) : rc;
}

static int run(const struct zc_command *command, int argc, char **argv) {
  struct zc_args args;
  int rc = zc_parse(&args, command, argc, argv);
  if (!rc) rc = zf_cpu_check();
  if (!rc && zc_common.help) {
    zc_help(command);
  } else if (!rc) {
    zf_kern_init(zf_cpu_flags());
    zf_kern_threads(zf_cpu_cores());
    rc = command->run(&args);
  }
  zc_args_free(&args);
  return rc;
}

/* Opens /dev/null, not writable, in the place of each closed standard stream, so that no file of the program
 * becomes one. */
static void hold_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) return;
}

/* zoft help COMMAND is zoft COMMAND -h. */
static int help(int argc, char **argv) {
  const struct zc_command *command = argc > 2 ? find(argv[2]) : NULL;
  if (argc > 2 && !command) return unknown(argv[2]);
  if (command)
    zc_help(command);
  else
    usage();
  return finish(0);
}

int main(int argc, char **argv) {
  hold_streams();
  if (argc < 2) {
    usage();
    return finish(2);
  }
  if (!strcmp(argv[1], "help")) return help(argc, argv);
  if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
    usage();
    return finish(0);
  }
  if (!strcmp(argv[1], "--version")) {
    printf("zoft %s\n", ZF_VERSION);
    return finish(0);
  }
  const struct zc_command *command = find(argv[1]);
  return command ? finish(run(command, argc, argv)) : unknown(argv[1]);
}
