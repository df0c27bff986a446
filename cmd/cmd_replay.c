/* zoft replay: rebuilds the weights of any step of a run. */
#include <stdlib.h>

#include "base/err.h"
#include "base/file.h"
#include "load.h"
#include "replay_log.h"

static struct zc_replay_options replay_options;
static const char *base;

static const struct zc_opt options[] = {
    {"to-step", 0, ZC_INT, "N", "the weights after step N; default: the last",
     &replay_options.to_step, .max = 4294967295.0, .given = &replay_options.to_step_given},
    {"out", 0, ZC_STR, "DIR", "write a model directory", &replay_options.out},
    {"verify", 0, ZC_FLAG, NULL, "replay from the base and compare with every logged hash",
     &replay_options.verify},
    {"average", 0, ZC_STR, "A:B", "the mean of the weights after steps A to B",
     &replay_options.average},
    {"ema", 0, ZC_NUM, "DECAY", "the exponential mean of the weights along the run",
     &replay_options.ema, .max = 0.9999999, .above = 1, .given = &replay_options.ema_given},
    {"scale", 0, ZC_NUM, "S", "every learning rate times S", &replay_options.scale, .max = 1e6,
     .above = 1, .given = &replay_options.scale_given},
    {"drop", 0, ZC_STR, "A:B", "leave steps A to B out", &replay_options.drop},
    {"start", 0, ZC_STR, "DIR", "the adapter with which the run began; default: beside the log",
     &replay_options.start},
    {"dtype", 0, ZC_STR, "TYPE", "f32, f16 or bf16 in the file; default: as trained",
     &replay_options.dtype},
    {"base", 0, ZC_STR, "MODEL", "the base model, if it is not where config.yaml says", &base},
    {0},
};

/* Finds the base model that RUN/config.yaml names; `base` points into *conf. */
static int find_base(struct zf_conf **conf, const char *run) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char *path = zf_path_join(run, "config.yaml");
  int rc = path ? zf_conf_new(conf, tables, 1) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_file(*conf, path);
  if (!rc && !(base = zf_conf_str(*conf, "base_model")))
    rc = zf_error(ZF_EUSAGE, "%s: base_model is missing: name the base model by --base", path);
  free(path);
  return rc;
}

static int run(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  char *log = NULL;
  if (args->nword != 1 || args->nset) return zf_error(ZF_EUSAGE, "expected: zoft replay RUN");
  const char *dir = args->word[0];
  if (!zf_is_dir(dir))
    return zf_error(ZF_EUSAGE,
                    "%s: is not a run directory; 'zoft apply LOG MODEL' takes a log alone", dir);
  int rc = zc_log_path(&log, dir);
  if (!rc && !base) rc = find_base(&conf, dir);
  if (!rc) rc = zc_replay_log(&replay_options, log, base, dir);
  zf_conf_free(conf);
  free(log);
  return rc;
}

const struct zc_command zc_replay = {
    "replay",
    "rebuild the weights of any step of a run from its log",
    "zoft replay RUN [--to-step N] [--out DIR] [options]",
    "Adds the log's steps to the base model, or to the nearest keyframe: without data, without a\n"
    "forward pass. The bits are those of the run, on any machine. --average, --ema, --scale and\n"
    "--drop make weights that the run never had, along the same directions.\n\n"
    "Examples:\n"
    "  zoft replay out/demo --verify\n"
    "  zoft replay out/demo --to-step 500 --out out/at500\n"
    "  zoft replay out/demo --average 800:1000 --out out/mean\n",
    options,
    run,
};
