#include "train_start.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "load.h"
#include "train/settings.h"
#include "ui.h"

/* Sets "key=value", where value may be any text without a line break. */
static int set(struct zf_conf *conf, const char *key, const char *value) {
  char *word = zf_asprintf("%s=%s", key, value);
  int rc = word ? zf_conf_word(conf, word) : ZF_ENOMEM;
  free(word);
  return rc;
}

/* The config of the start: the same model and data. */
static int start_conf(struct zf_conf **out, const struct zc_args *args, const char *path) {
  static const char *const words[] = {"method=probe", "start=none", "adapter=none",
                                      "overwrite_output_dir=true", "test_datasets=[]"};
  int rc = zc_conf_load(out, args, zf_train_keys);
  for (size_t i = 0; i < sizeof words / sizeof *words && !rc; i++)
    rc = zf_conf_word(*out, words[i]);
  return rc ? rc : set(*out, "output_dir", path);
}

static int fit(const struct zc_args *args, const char *path, const struct zf_train_events *events) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  struct zf_outcome outcome;
  int rc = start_conf(&conf, args, path);
  if (!rc) rc = zf_run_open(&run, conf, ZF_WANT_TRAIN | ZF_WANT_DEV);
  if (!rc) rc = zf_train(run, &(struct zf_train_start){0}, events, &outcome);
  zf_run_free(run);
  zf_conf_free(conf);
  return rc;
}

int zc_train_start(struct zf_conf *conf, const struct zc_args *args, int resume,
                   const struct zf_train_events *events) {
  const char *start = zf_conf_has(conf, "start") ? zf_conf_str(conf, "start") : "none";
  if (!strcmp(start, "none")) return 0;
  if (!strcmp(zf_conf_str(conf, "method"), "probe")) return 0; /* settings refuse it */
  if (!strcmp(start, "auto") && zf_conf_has(conf, "adapter"))
    return zf_conf_word(conf, "start=none");
  char *path = zf_asprintf("%s.start", zf_conf_str(conf, "output_dir")),
       *weights = path ? zf_path_join(path, "model.safetensors") : NULL;
  int rc = weights ? 0 : ZF_ENOMEM;
  if (!rc && !(resume && zf_exists(weights))) {
    rc = fit(args, path, events);
    if (!rc) zc_info("start      a probe, in %s", path);
    if (rc == ZF_EUSAGE && !strcmp(start, "auto")) {
      zc_info("start      no probe: %s", zf_error_message());
      zf_error_clear();
      free(weights);
      free(path);
      return zf_conf_word(conf, "start=none");
    }
  }
  if (!rc) rc = set(conf, "base_model", path);
  if (!rc) rc = zf_conf_word(conf, "start=none");
  free(weights);
  free(path);
  return rc;
}
