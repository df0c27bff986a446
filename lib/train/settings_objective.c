/* The settings of objectives. */
#include "base/err.h"
#include "train/settings_internal.h"

/* A key that has no effect is an error. */
static int refuse_auto(const struct zf_conf *conf, const struct zf_objective_kind *kind) {
  return zf_conf_error(
      conf, zf_conf_has(conf, "learning_rate") ? "learning_rate" : "objective",
      "objective %s needs a learning_rate: the test of 'learning_rate: auto' measures "
      "the task's own loss",
      kind->name);
}

static int check_keys(const struct zf_objective_kind *kind, const struct zf_conf *conf) {
  int text = kind && (kind->needs & ZF_NEEDS_TEXT), command = kind == zf_objective_find("command"),
      distill = kind && (kind->needs & ZF_NEEDS_TEACHER);
  const struct {
    const char *key;
    int used;
    const char *by;
  } uses[] = {{"objective_weight", kind != NULL, "one of its choices"},
              {"objective_max_tokens", text, "f1, exact_match, rouge_l, bleu or command"},
              {"objective_stop", text, "f1, exact_match, rouge_l, bleu or command"},
              {"objective_command", command, "command"},
              {"objective_timeout", command, "command"},
              {"teacher", distill, "distill"},
              {"distill_top_k", distill, "distill"},
              {"distill_temperature", distill, "distill"},
              {"dpo_beta", kind == zf_objective_find("dpo"), "dpo"},
              {"orpo_lambda", kind == zf_objective_find("orpo"), "orpo"}};
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    if (zf_conf_has(conf, uses[i].key) && !uses[i].used)
      return zf_conf_error(conf, uses[i].key, "'%s' has no effect without objective %s",
                           uses[i].key, uses[i].by);
  if (command && !zf_conf_has(conf, "objective_command"))
    return zf_conf_error(conf, "objective",
                         "objective command needs 'objective_command', a shell command line");
  if (distill && !zf_conf_has(conf, "teacher"))
    return zf_conf_error(conf, "objective",
                         "objective distill needs 'teacher', a model or a file of its predictions");
  return 0;
}

static int check_method(const struct zf_settings *settings, const struct zf_conf *conf) {
  const struct zf_method_info *method = zf_method_info(settings->method);
  const struct zf_objective_kind *kind = settings->objective.kind;
  if (method->rule >= 0 && !kind->slope)
    return zf_conf_error(
        conf, "objective",
        "objective %s has no derivative that method %s could follow: use method mezo", kind->name,
        method->name);
  if (settings->method == ZF_METHOD_PROBE)
    return zf_conf_error(conf, "objective",
                         "'objective' has no effect: method probe solves a ridge regression");
  if (settings->auto_lr && !kind->slope) return refuse_auto(conf, kind);
  return 0;
}

static int fill_stop(struct zf_objective_settings *objective, const struct zf_conf *conf) {
  static const char *const newline[] = {"\n"};
  objective->stop = newline;
  objective->nstop = 1;
  if (zf_conf_has(conf, "objective_stop"))
    objective->nstop = zf_conf_strs(conf, "objective_stop", &objective->stop);
  for (int64_t i = 0; i < objective->nstop; i++)
    if (!*objective->stop[i])
      return zf_conf_error(conf, "objective_stop", "'objective_stop' holds an empty text");
  return 0;
}

int zf_settings_fill_objective(struct zf_settings *settings, const struct zf_conf *conf) {
  struct zf_objective_settings *objective = &settings->objective;
  *objective = (struct zf_objective_settings){
      .kind =
          zf_conf_has(conf, "objective") ? zf_objective_find(zf_conf_str(conf, "objective")) : NULL,
      .weight = zf_conf_num(conf, "objective_weight", 1),
      .max_tokens = zf_conf_int(conf, "objective_max_tokens", 50),
      .command = zf_conf_str(conf, "objective_command"),
      .timeout = zf_conf_num(conf, "objective_timeout", 60),
      .beta = zf_conf_num(conf, "dpo_beta", 0.1),
      .lambda = zf_conf_num(conf, "orpo_lambda", 0.1),
      .teacher = zf_conf_str(conf, "teacher"),
      .top_k = zf_conf_int(conf, "distill_top_k", ZF_DISTILL_TOP_K),
      .temperature = zf_conf_num(conf, "distill_temperature", 1)};
  int rc = check_keys(objective->kind, conf);
  if (rc || !objective->kind) return rc;
  if ((rc = check_method(settings, conf))) return rc;
  if ((rc = fill_stop(objective, conf))) return rc;
  rc = zf_objective_check(objective, &settings->train[0].spec);
  return rc ? zf_error_prefix(rc, "%s", zf_conf_origin(conf, "objective")) : 0;
}
