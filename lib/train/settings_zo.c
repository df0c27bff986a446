/* The settings of zeroth-order methods, and methods that have a name: rows that set several of them. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "train/settings_internal.h"

/* A published method as settings, each "key=value"; its sources stand in docs/methods.md. */
struct zo_method {
  const char *name;
  const char *setting[6];
};

static const struct zo_method methods[] = {
    {"mezo", {NULL}},
    {"auto", {"start=auto"}},
    {"mezo_momentum", {"zo_optimizer=momentum"}},
    {"mezo_adam", {"zo_optimizer=adam"}},
    {"sign", {"zo_optimizer=sign"}},
    {"conservative", {"zo_difference=conservative"}},
    {"adamm", {"zo_optimizer=adamm"}},
    {"one_sided", {"zo_difference=one_sided"}},
    {"fzoo", {"zo_difference=batched", "zo_probes=8", "zo_direction=rademacher"}},
    {"spsa15", {"zo_difference=curvature", "zo_curvature=0.5", "zo_probes=4"}},
    {"hizoo", {"zo_difference=curvature", "zo_form=scaled", "zo_curvature=1e-6"}},
    {"bszo", {"zo_difference=bayes", "zo_probes=2"}},
    {"svrg", {"zo_difference=anchor", "zo_refresh=4", "zo_anchor_batches=16"}},
    {"es", {"zo_difference=population", "zo_probes=8"}},
    {"eggroll",
     {"zo_difference=population", "zo_probes=8", "zo_form=low_rank", "zo_rank=1", "zo_refresh=1"}},
    {"lozo", {"zo_form=low_rank", "zo_rank=2", "zo_refresh=50"}},
    {"lozo_momentum", {"zo_form=low_rank", "zo_rank=2", "zo_refresh=50", "zo_optimizer=momentum"}},
    {"subzero", {"zo_form=subspace", "zo_rank=8", "zo_refresh=1000"}},
    {"muon", {"zo_form=low_rank", "zo_rank=16", "zo_refresh=100", "zo_optimizer=muon"}},
    {"sparse", {"zo_form=small", "zo_keep=0.25"}},
    {"random_mask", {"zo_form=random", "zo_keep=0.1"}},
    {"blocks", {"zo_form=blocks"}},
    {"sphere", {"zo_form=sphere"}},
    {"conmezo", {"zo_form=cone", "zo_cone=0.5"}},
    {"trust", {"zo_optimizer=trust", "zo_trust=1e-3"}},
};

static int is_unset(const struct zf_conf *conf, const char *key) {
  return !zf_conf_has(conf, key) || !strcmp(zf_conf_origin(conf, key), "default");
}

/* Sets "key=value" unless the key is set. */
static int set_unless_set(struct zf_conf *conf, const char *setting) {
  char key[64];
  snprintf(key, sizeof key, "%.*s", (int)strcspn(setting, "="), setting);
  return is_unset(conf, key) ? zf_conf_word(conf, setting) : 0;
}

int zf_settings_apply_method(struct zf_conf *conf) {
  const char *name = zf_conf_has(conf, "zo_method") ? zf_conf_str(conf, "zo_method") : NULL;
  for (size_t i = 0; name && i < sizeof methods / sizeof *methods; i++) {
    if (strcmp(name, methods[i].name) != 0) continue;
    for (size_t j = 0; j < 6 && methods[i].setting[j]; j++) {
      int rc = set_unless_set(conf, methods[i].setting[j]);
      if (rc) return rc;
    }
  }
  return 0;
}

/* The choice of a key that may be unset; its first choice is the default. */
static int choice(const struct zf_conf *conf, const char *key, const char *words) {
  return zf_conf_has(conf, key) ? zf_settings_choice(conf, key, words) : 0;
}

/* A key that has no effect is an error. */
static int check_keys(const struct zf_settings *settings, const struct zf_conf *conf) {
  const struct zf_zo *zo = &settings->zo;
  int factors = zo->form == ZF_FORM_LOW_RANK || zo->form == ZF_FORM_SUBSPACE,
      masks = zo->form == ZF_FORM_SMALL || zo->form == ZF_FORM_RANDOM,
      anchor = zo->difference == ZF_DIFFERENCE_ANCHOR;
  const struct {
    const char *key;
    int used;
    const char *by;
  } uses[] = {
      {"zo_rank", factors, "zo_form low_rank or subspace"},
      {"zo_refresh", factors || anchor, "zo_form low_rank or subspace, or zo_difference anchor"},
      {"zo_keep", masks, "zo_form small or random"},
      {"zo_curvature", zo->difference == ZF_DIFFERENCE_CURVATURE, "zo_difference curvature"},
      {"zo_cone", zo->form == ZF_FORM_CONE, "zo_form cone"},
      {"zo_trust", zo->rule == ZF_RULE_TRUST, "zo_optimizer trust"},
      {"zo_anchor_batches", anchor, "zo_difference anchor"},
      {"zo_window", zo->rule == ZF_RULE_ADAM || zo->rule == ZF_RULE_MOMENTUM,
       "zo_optimizer adam or momentum"},
  };
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    if (zf_conf_has(conf, uses[i].key) && !uses[i].used)
      return zf_conf_error(conf, uses[i].key, "'%s' has no effect without %s", uses[i].key,
                           uses[i].by);
  return 0;
}

enum { WINDOW = 44 /* 0.9^44 is 1 % */ };

/* Moments of full weights come from a window of steps, because their state would be as large as they are. */
static int fill_window(struct zf_settings *settings, const struct zf_conf *conf) {
  struct zf_zo *zo = &settings->zo;
  int is_auto = !zf_conf_has(conf, "zo_window") || zf_conf_str(conf, "zo_window");
  int small =
      settings->adapter.word || zo->form == ZF_FORM_LOW_RANK || zo->form == ZF_FORM_SUBSPACE;
  int windowed = zo->rule == ZF_RULE_ADAM || zo->rule == ZF_RULE_MOMENTUM;
  zo->window = (int)zf_conf_int(conf, "zo_window", 0);
  if (windowed && !small && is_auto) zo->window = WINDOW;
  if (small || windowed || zo->rule == ZF_RULE_SGD || zo->rule == ZF_RULE_SIGN) return 0;
  return zf_conf_error(conf, "zo_optimizer",
                       "'%s' keeps a state as large as what is trained: use it with an adapter, or "
                       "with zo_form low_rank",
                       zf_conf_str(conf, "zo_optimizer"));
}

int zf_settings_fill_zo(struct zf_settings *settings, const struct zf_conf *conf) {
  const char *start = zf_conf_str(conf, "start");
  if (start && !strcmp(start, "probe") && settings->method == ZF_METHOD_PROBE)
    return zf_conf_error(conf, "start", "'start' has no effect: method is probe");
  struct zf_zo *zo = &settings->zo;
  int factors_rank = 2, rc;
  zo->form = choice(conf, "zo_form", ZF_FORM_WORDS);
  zo->difference = choice(conf, "zo_difference", ZF_DIFFERENCE_WORDS);
  zo->rule = choice(conf, "zo_optimizer", ZF_RULE_WORDS);
  if (zo->form == ZF_FORM_SUBSPACE) factors_rank = 8;
  zo->clip = zf_conf_num(conf, "zo_clip", 0);
  zo->streams = (int)zf_conf_int(conf, "zo_streams", 0);
  settings->anchor_batches = zf_conf_int(conf, "zo_anchor_batches", 16);
  if ((rc = check_keys(settings, conf))) return rc;
  if (zo->form == ZF_FORM_LOW_RANK || zo->form == ZF_FORM_SUBSPACE) {
    zo->rank = zf_conf_int(conf, "zo_rank", factors_rank);
    zo->refresh = zf_conf_int(conf, "zo_refresh", zo->form == ZF_FORM_SUBSPACE ? 1000 : 50);
  }
  if (zo->difference == ZF_DIFFERENCE_ANCHOR) zo->refresh = zf_conf_int(conf, "zo_refresh", 2);
  if (zo->form == ZF_FORM_SMALL || zo->form == ZF_FORM_RANDOM)
    zo->keep = zf_conf_num(conf, "zo_keep", zo->form == ZF_FORM_SMALL ? 0.25 : 0.1);
  if (zo->difference == ZF_DIFFERENCE_CURVATURE)
    zo->alpha = zf_conf_num(conf, "zo_curvature", zo->form == ZF_FORM_SCALED ? 1e-6 : 0.5);
  if (zo->form == ZF_FORM_CONE) zo->cone = zf_conf_num(conf, "zo_cone", 0.5);
  if (zo->rule == ZF_RULE_TRUST) zo->trust = zf_conf_num(conf, "zo_trust", 1e-3);
  if (zo->difference == ZF_DIFFERENCE_ANCHOR && zf_conf_num(conf, "weight_decay", 0) > 0)
    return zf_conf_error(conf, "weight_decay",
                         "zo_difference anchor rebuilds the anchor's weights from the steps since, "
                         "and knows no weight_decay");
  return fill_window(settings, conf);
}
