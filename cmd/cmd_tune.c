/* zoft tune: races settings of a config by successive halving, and writes the winner's config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "load.h"
#include "train/auto_rate.h"
#include "train/rundir.h"
#include "train/run_config.h"
#include "tune_internal.h"
#include "ui.h"

static const char *budget_text, *out_dir;
static struct zc_list grids;
static int64_t last_steps, factor = 2;
static int steps_given;

static const struct zc_opt options[] = {
    {"budget", 0, ZC_STR, "TIME", "time of the whole race: 90 (seconds), 10m, 2h", &budget_text},
    {"steps", 0, ZC_INT, "N", "instead: steps of a candidate at the end of the last rung",
     &last_steps, .min = 1, .max = ZC_UNBOUNDED, .given = &steps_given},
    {"grid", 0, ZC_LIST, "KEY=V1,V2,...",
     "values of a key to race; several grids are crossed (learning_rate, eight values)", &grids},
    {"factor", 0, ZC_INT, "N", "one candidate in N goes on from a rung (2)", &factor, .min = 2,
     .max = 16},
    {"out", 'o', ZC_STR, "DIR", "directory of the race (OUTPUT_DIR-tune)", &out_dir},
    {0},
};

/* --- the grid --- */

/* Keys in which candidates do not differ: the race sets them, or compares candidates by them. */
static const char *const fixed_keys[] = {
    "output_dir",
    "overwrite_output_dir",
    "max_steps",
    "num_epochs",
    "eval_steps",
    "eval_on_start",
    "save_steps",
    "load_best_model_at_end",
    "save_total_limit",
    "num_eval",
    "early_stopping_patience",
    "keyframe_steps",
    "val_datasets",
    "metric_for_best_model",
    "test_datasets",
    "val_set_size",
    "method",
};

static int check_key(const char *key) {
  for (size_t i = 0; i < sizeof fixed_keys / sizeof *fixed_keys; i++)
    if (!strcmp(key, fixed_keys[i]))
      return zf_error(ZF_EUSAGE,
                      "--grid %s: candidates do not differ in it: the race sets it, or compares "
                      "them by it",
                      key);
  return 0;
}

/* The rate about which rates are raced: the config's, or the one that a run would find. */
static int middle_rate(double *rate, const struct zf_conf *conf) {
  struct zf_auto_rate found = {0};
  struct zf_run *run = NULL;
  *rate = zf_conf_num(conf, "learning_rate", 0);
  if (*rate > 0) return 0;
  if (zf_conf_has(conf, "learning_rate") && !zf_conf_str(conf, "learning_rate"))
    return zf_error(ZF_EUSAGE, "learning_rate is 0: name the candidates with --grid");
  int rc = zf_run_open(&run, conf, ZF_WANT_TRAIN);
  if (!rc && run->settings.method != ZF_METHOD_MEZO)
    rc = zf_error(ZF_EUSAGE, "method %s has no rate to race",
                  zf_method_info(run->settings.method)->name);
  if (!rc) rc = zf_auto_rate(&found, run);
  if (!rc) *rate = found.rate;
  zf_run_free(run);
  return rc;
}

static int make_grid(struct zf_tune_grid *grid, const struct zf_conf *conf) {
  int rc = 0;
  for (int i = 0; !rc && i < grids.count; i++) rc = zf_tune_grid_add(grid, grids.item[i]);
  for (int64_t i = 0; !rc && i < grid->count; i++) rc = check_key(grid->axis[i].key);
  if (rc || grid->count) return rc;
  double rate;
  rc = middle_rate(&rate, conf);
  return rc ? rc : zf_tune_grid_rates(grid, rate);
}

/* --- checks before the first run --- */

static int check_candidate(const struct tune_race *race, int64_t index, int *metric) {
  struct zf_settings settings = {0};
  struct zf_conf *conf;
  int rc = zc_tune_conf(&conf, race, index, NULL, 0);
  if (rc) return rc;
  rc = zf_settings_fill(&settings, conf);
  if (!rc && settings.method != ZF_METHOD_MEZO)
    rc = zf_error(ZF_EUSAGE,
                  "method %s writes no step log by which a rung could go on: only mezo does",
                  zf_method_info(settings.method)->name);
  if (!rc && !settings.nval && settings.val_set_size == 0)
    rc = zf_error(ZF_EUSAGE,
                  "candidates are compared on a dev set: set val_datasets or val_set_size");
  if (!rc) *metric = settings.best >= 0 ? settings.best : (int)zf_best_of(&settings.train[0].spec);
  zf_settings_free(&settings);
  zf_conf_free(conf);
  return rc;
}

static int check_candidates(struct tune_race *race) {
  for (int64_t i = 0; i < race->tune.count; i++) {
    int rc = check_candidate(race, i, &race->metric);
    if (rc) return rc;
  }
  return 0;
}

/* A schedule that falls to 0 falls to 0 at the end of every rung. */
static void warn_schedule(const struct zf_conf *conf) {
  const char *schedule = zf_conf_str(conf, "lr_scheduler");
  if (schedule && strcmp(schedule, "constant") != 0)
    zc_warn("lr_scheduler %s ends at 0 in every rung, and begins higher in the next one", schedule);
}

/* --- the directory and its state --- */

/* OUT: -o, or the config's output_dir with -tune behind it. */
static int find_out(char **out, const struct zf_conf *conf) {
  char *own = NULL;
  const char *output = zf_conf_str(conf, "output_dir");
  int rc = out_dir ? 0 : zf_run_config_dir(&own, conf, "output_dir");
  if (rc) return rc;
  if (own && strcmp(output, ".") != 0) {
    free(own);
    own = NULL;
  }
  *out = out_dir ? zf_strdup(out_dir) : zf_asprintf("%s-tune", own ? own : output);
  free(own);
  return *out ? 0 : ZF_ENOMEM;
}

/* The hash of config, candidates, factor and budget. */
static int make_identity(struct tune_race *race, const struct zf_conf *conf) {
  struct zf_buf text = {0};
  struct zf_hash *hash = NULL;
  int rc = zf_conf_dump_json(conf, &text);
  zf_buf_printf(&text, "\nfactor %lld steps %lld budget %.17g\n", (long long)factor,
                (long long)(steps_given ? last_steps : 0), race->budget);
  for (int64_t i = 0; i < race->tune.count; i++)
    zf_buf_printf(&text, "%s\n", race->tune.candidate[i].words);
  if (!rc) rc = zf_buf_ok(&text);
  if (!rc) rc = zf_hash_new(&hash);
  if (!rc) {
    zf_hash_add(hash, text.data, text.len);
    zf_hash_hex(hash, race->tune.identity);
    zf_hash_free(hash);
  }
  zf_buf_free(&text);
  return rc;
}

static int open_state(struct tune_race *race) {
  if (!(race->state = zf_path_join(race->out, "tune.json"))) return ZF_ENOMEM;
  int rc = zf_rundir_lock(&race->lock, race->out);
  if (rc) return rc;
  if (zf_exists(race->state)) return zf_tune_load(&race->tune, race->state);
  int empty = zf_dir_empty(race->out);
  if (empty == 0)
    return zf_error(ZF_EUSAGE, "%s is not empty and holds no tune.json: name another directory",
                    race->out);
  return empty < 0 ? empty : zf_tune_save(&race->tune, race->state);
}

/* Everything before the first run. */
static int prepare(struct tune_race *race, const struct zf_conf *conf) {
  int rc = budget_text ? zf_tune_seconds(&race->budget, budget_text) : 0;
  if (rc) return zf_error_prefix(rc, "--budget");
  if ((rc = make_grid(&race->grid, conf))) return rc;
  if ((rc = zf_tune_new(&race->tune, &race->grid, factor))) return rc;
  if (steps_given && (rc = zf_tune_steps(race->tune.steps, race->tune.rungs, factor, last_steps)))
    return zf_error_prefix(rc, "--steps");
  if ((rc = check_candidates(race))) return rc;
  if ((rc = make_identity(race, conf))) return rc;
  if ((rc = find_out(&race->out, conf))) return rc;
  warn_schedule(conf);
  return open_state(race);
}

/* Writes OUT/best.yaml, whose run goes to OUT/best. */
static int write_best(const struct tune_race *race, const char *path) {
  int64_t standing[ZF_TUNE_MAX];
  struct zf_conf *conf = NULL;
  char *real = realpath(race->out, NULL);
  char *output = real ? zf_path_join(real, "best") : NULL;
  zf_tune_standing(standing, &race->tune);
  int rc = output ? zc_tune_conf(&conf, race, standing[0], NULL, 0) : ZF_ENOMEM;
  if (!rc) rc = zf_run_config_save(conf, path, output);
  zf_conf_free(conf);
  free(output);
  free(real);
  return rc;
}

static int finish(const struct tune_race *race) {
  char *path = zf_path_join(race->out, "best.yaml");
  int rc = path ? write_best(race, path) : ZF_ENOMEM;
  if (!rc) rc = zc_tune_report(race, path);
  free(path);
  return rc;
}

/* Shows the candidates, and keeps the message that all diverged. */
static int finish_diverged(const struct tune_race *race) {
  char message[256];
  snprintf(message, sizeof message, "%s", zf_error_message());
  int rc = zc_tune_report(race, NULL);
  return rc ? rc : zf_error(ZF_EDIVERGED, "%s", message);
}

static int run(const struct zc_args *args) {
  struct tune_race race = {.args = args, .lock = -1};
  struct zf_conf *conf = NULL;
  if (args->nword == 0)
    return zf_error(ZF_EUSAGE, "a config file is needed: zoft tune CONFIG (see 'zoft tune -h')");
  if (!budget_text == !steps_given)
    return zf_error(ZF_EUSAGE, "expected one of --budget TIME and --steps N");
  int rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc) rc = prepare(&race, conf);
  if (!rc) {
    zc_catch_signals();
    rc = zc_tune_race(&race);
    if (!rc) rc = finish(&race);
    if (rc == ZF_EDIVERGED) rc = finish_diverged(&race);
  }
  zf_rundir_unlock(&race.lock);
  zf_tune_free(&race.tune);
  zf_tune_grid_free(&race.grid);
  free(race.state);
  free(race.out);
  zf_conf_free(conf);
  return rc;
}

const struct zc_command zc_tune = {
    "tune",
    "race settings on the dev set, and write the winner's config",
    "zoft tune CONFIG [key=value ...] --budget TIME|--steps N [--grid KEY=V1,V2 ...] [-o DIR]",
    "Candidates are all combinations of the --grid values; without --grid, learning_rate at eight\n"
    "values around the config's, a factor of sqrt(10) apart. In every rung each candidate left "
    "takes\n"
    "more steps and is scored on the dev set, and the better half goes on (--factor 3: the better\n"
    "third). One that diverges is out.\n\n"
    "--budget shares the time among the rungs by the seconds that steps and scores took; a rung "
    "that\n"
    "would not end in time is not begun, except the first. --steps N plans exactly: N steps for "
    "the\n"
    "last two, half of it in the rung before, and so on.\n\n"
    "DIR/runs has a run directory for each candidate, DIR/best.yaml the config with the winner's\n"
    "settings, its own max_steps, and DIR/best as output_dir. Ctrl-C ends the race after a "
    "checkpoint;\n"
    "the same command goes on with it, to the same bits.\n\n"
    "Examples:\n"
    "  zoft tune configs/demo.yaml --budget 2m\n"
    "  zoft tune configs/sst2.yaml base_model=DIR --budget 2h --grid learning_rate=3e-5,1e-4,3e-4 "
    "--grid zo_probes=1,4\n"
    "  zoft tune configs/demo.yaml --steps 400 --factor 3 -o out/race --json\n",
    options,
    run,
};
