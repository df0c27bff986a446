#include "load.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/proc.h"
#include "peft/adapter.h"
#include "train/run_config.h"
#include "train/step_bench.h"
#include "ui.h"

/* The path of an installed config: PREFIX/share/zoft/configs/demo.yaml for configs/demo.yaml and the
 * program PREFIX/bin/zoft; NULL: there is none. */
static char *installed_config(const char *word) {
  char *self = zf_proc_path(), *path = NULL;
  char *slash = self ? strrchr(self, '/') : NULL;
  if (slash) *slash = 0;
  if (slash && (slash = strrchr(self, '/'))) {
    *slash = 0;
    path = zf_asprintf("%s/share/zoft/%s", self, word);
  }
  free(self);
  if (path && zf_exists(path)) return path;
  free(path);
  return NULL;
}

/* Replaces the path of a config that does not exist by that of the installed one, if there is one. */
static int use_installed(char **path, const char *word) {
  char *installed = installed_config(word);
  if (!installed) return 0;
  zc_info("config     %s", installed);
  free(*path);
  *path = installed;
  return 0;
}

/* The config that a word names: a file, or the config.yaml of a run directory. */
static int config_path(char **path, const char *word) {
  *path = zf_is_dir(word) ? zf_path_join(word, "config.yaml") : zf_strdup(word);
  if (!*path) return ZF_ENOMEM;
  if (zf_exists(*path)) return 0;
  if (!zf_is_dir(word)) return *word == '/' ? 0 : use_installed(path, word);
  return zf_error(ZF_EUSAGE,
                  "%s: expected a config or a run directory, found a directory without config.yaml",
                  word);
}

static int read_conf(struct zf_conf *conf, const struct zc_args *args) {
  char *path = NULL;
  int rc = args->nword ? config_path(&path, args->word[0]) : 0;
  if (!rc && path) rc = zf_conf_file(conf, path);
  free(path);
  for (int i = 0; i < args->nset; i++)
    if (!rc) rc = zf_conf_word(conf, args->set[i]);
  return rc;
}

int zc_conf_load(struct zf_conf **out, const struct zc_args *args, const struct zf_conf_key *keys) {
  const struct zf_conf_key *const tables[] = {keys};
  if (args->nword > 1)
    return zf_error(ZF_EUSAGE, "expected one config file, found '%s' and '%s'", args->word[0],
                    args->word[1]);
  int rc = zf_conf_new(out, tables, 1);
  if (!rc) rc = read_conf(*out, args);
  if (!rc && keys == zf_train_keys) rc = zf_settings_find_data(*out);
  if (!rc && (keys == zf_train_keys || keys == zf_bench_keys()))
    rc = zf_settings_apply_method(*out);
  if (!rc) rc = zf_conf_check(*out);
  if (rc) {
    zf_conf_free(*out);
    *out = NULL;
  }
  return rc;
}

struct zc_list zc_adapters;

/* The result of a run holds what its config's adapter became. */
static int use_adapter(struct zf_conf *conf, int is_result) {
  if (is_result && zf_conf_has(conf, "adapter")) {
    int rc = zf_conf_word(conf, "adapter=none");
    if (rc) return rc;
  }
  if (!zc_adapters.count) return 0;
  if (zc_adapters.count > 1)
    return zf_error(ZF_EUSAGE, "a config or run takes one --adapter, found %d", zc_adapters.count);
  char *word = zf_asprintf("adapter=%s", zc_adapters.item[0]);
  int rc = word ? zf_conf_word(conf, word) : ZF_ENOMEM;
  free(word);
  return rc;
}

int zc_conf_use_result(struct zf_conf *conf) {
  char *dir, *weights = NULL, *adapter = NULL, *gguf = NULL, *word = NULL;
  int rc = zf_run_config_dir(&dir, conf, "base_model");
  if (rc || !dir) return rc ? rc : use_adapter(conf, 0);
  weights = zf_path_join(dir, "model.safetensors");
  adapter = zf_path_join(dir, "adapter_model.safetensors");
  gguf = zf_path_join(dir, "model.gguf");
  word = zf_asprintf("base_model=%s", dir);
  rc = weights && adapter && gguf && word ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(weights) && !zf_exists(adapter) && !zf_exists(gguf))
    rc = zf_error(ZF_EUSAGE,
                  "%s: the run has no result yet: name the model to score, base_model=DIR (its "
                  "base model is %s)",
                  dir, zf_conf_str(conf, "base_model"));
  if (!rc) rc = zf_conf_word(conf, word);
  if (!rc) rc = use_adapter(conf, strcmp(zf_conf_origin(conf, "adapter"), "command line") != 0);
  free(word);
  free(gguf);
  free(adapter);
  free(weights);
  free(dir);
  return rc;
}

void zc_print_model(const struct zf_model *model) {
  printf("model  %s\n", model->dir);
  if (model->adapters) printf("with   %s\n", model->adapters);
  putchar('\n');
}

void zc_json_model(struct zf_buf *buf, const struct zf_model *model) {
  zf_buf_puts(buf, "\"model\": ");
  zc_json_text(buf, model->dir, strlen(model->dir));
  zf_buf_puts(buf, ", ");
  if (!model->adapters) return;
  zf_buf_puts(buf, "\"adapter\": ");
  zc_json_text(buf, model->adapters, strlen(model->adapters));
  zf_buf_puts(buf, ", ");
}

char *zc_metric(char out[32], const struct zf_metrics *metrics, const char *name) {
  double value = NAN;
  if (!strcmp(name, "loss")) value = metrics->loss;
  if (!strcmp(name, "objective")) value = metrics->objective;
  if (!strcmp(name, "perplexity")) value = metrics->perplexity;
  if (!strcmp(name, "accuracy")) value = 100 * metrics->accuracy;
  if (!strcmp(name, "macro F1")) value = 100 * metrics->f1;
  if (!strcmp(name, "micro F1")) value = 100 * metrics->f1_micro;
  if (!strcmp(name, "Pearson")) value = metrics->pearson;
  if (!strcmp(name, "Spearman")) value = metrics->spearman;
  int percent = !strcmp(name, "accuracy") || !strcmp(name, "macro F1") || !strcmp(name, "micro F1");
  if (!metrics->examples || !isfinite(value))
    snprintf(out, 32, "-");
  else if (percent)
    snprintf(out, 32, "%.1f %%", value);
  else
    snprintf(out, 32, "%.4f", value);
  return out;
}

void zc_warn_joined(const struct zf_dataset *dataset, const char *what) {
  if (dataset->counts.letters_meet)
    zc_warn("%s: in %lld of %lld rows the prompt and what follows it meet without a blank: begin "
            "the options (the completion) with one, as in \" great\"",
            what, (long long)dataset->counts.letters_meet, (long long)dataset->counts.rows);
}

void zc_warn_counts(const struct zf_dataset *dataset, const char *what) {
  const struct zf_data_counts *counts = &dataset->counts;
  if (counts->truncated)
    zc_warn("%s: %lld of %lld examples were longer than sequence_len: %lld tokens cut off", what,
            (long long)counts->truncated, (long long)counts->rows, (long long)counts->cut);
  if (counts->dropped)
    zc_warn("%s: %lld of %lld examples were longer than sequence_len and are left out", what,
            (long long)counts->dropped, (long long)counts->rows);
  if (counts->split)
    zc_info("%s: %lld of %lld texts were longer than sequence_len and are split", what,
            (long long)counts->split, (long long)counts->rows);
  if (counts->separated)
    zc_info("%s: in %lld of %lld conversations each answer is an example of its own: the chat "
            "template renders an earlier turn unlike the last one",
            what, (long long)counts->separated, (long long)counts->rows);
  zc_warn_joined(dataset, what);
  if (counts->masked)
    zc_warn("%s: %lld of %lld examples have no target and are left out", what,
            (long long)counts->masked, (long long)counts->rows);
}

int zc_learns_ends(const struct zf_dataset *dataset) {
  return dataset->type == ZF_TASK_COMPLETION || dataset->type >= ZF_TASK_CHAT;
}

void zc_warn_ends(const struct zf_dataset *dataset) {
  const struct zf_data_counts *counts = &dataset->counts;
  if (zc_learns_ends(dataset) && counts->examples && !counts->ends)
    zc_warn("training: none of the %lld targets ends a text or a turn: the model does not learn to "
            "stop (add_eos, or "
            "a chat template whose turns end in a special token)",
            (long long)counts->targets);
}

void zc_warn_duplicates(const struct zf_run *run) {
  static const char *const other[] = {"an earlier one", "a dev example", "a test example"};
  const struct zf_run_data *data = &run->data;
  for (int part = 0; part < ZF_DATA_PARTS; part++) {
    const struct zf_duplicates *duplicates = &data->duplicates[part];
    if (!duplicates->count) continue;
    zc_warn("training: %lld example%s the same as %s: first %s as %s%s",
            (long long)duplicates->count, duplicates->count > 1 ? "s are" : " is", other[part],
            duplicates->duplicate, duplicates->original,
            run->settings.deduplicate ? ": left out" : "");
  }
}

char *zc_count(char out[32], double number) {
  if (number < 1e4)
    snprintf(out, 32, "%.0f", number);
  else if (number < 1e6)
    snprintf(out, 32, "%.1f k", number / 1e3);
  else if (number < 1e9)
    snprintf(out, 32, "%.2f M", number / 1e6);
  else
    snprintf(out, 32, "%.2f G", number / 1e9);
  return out;
}

int zc_compute(enum zf_compute *out, const char *name) {
  *out = ZF_COMPUTE_F32;
  if (!name) return 0;
  for (int i = 0; i < ZF_COMPUTES; i++)
    if (!strcmp(name, zf_compute_name((enum zf_compute)i))) {
      *out = (enum zf_compute)i;
      return 0;
    }
  return zf_error(ZF_EUSAGE, "--compute expects one of f32, bf16 or int8, found '%s'", name);
}

void zc_warn_compute(const struct zf_model *model, enum zf_compute compute) {
  int64_t products = 1; /* the head */
  if (zf_kern_native(compute)) return;
  for (int64_t i = 0; i < model->plan.nop; i++) products += model->plan.op[i].kind == ZF_OP_LINEAR;
  zc_warn(
      "compute %s is not native here: the %lld products of a pass run emulated, slower than f32",
      zf_compute_name(compute), (long long)products);
}

void zc_warn_model(const struct zf_model *model) {
  struct zf_buf buf = {0};
  zf_model_notes(model, &buf);
  char *line = buf.data;
  while (line && *line) {
    char *end = strchr(line, '\n');
    *end = 0;
    zc_warn("%s", line);
    line = end + 1;
  }
  zf_buf_free(&buf);
}

void zc_warn_run_compute(const struct zf_run *run) {
  double eps = run->settings.zo.eps, min = zf_eps_default(run->settings.compute);
  zc_warn_compute(run->model, run->settings.compute);
  if (run->settings.compute != ZF_COMPUTE_F32 && eps < min)
    zc_warn("zo_eps %g is near for %s: its projected gradient follows that of f32 from %g on", eps,
            zf_compute_name(run->settings.compute), min);
}

int zc_log_path(char **log, const char *path) {
  *log = zf_is_dir(path) ? zf_path_join(path, "steps.log") : zf_strdup(path);
  return *log ? 0 : ZF_ENOMEM;
}

int zc_open_model(struct zf_model **model, struct zf_tok **tok, const char *base_model) {
  return zc_open_model_as(model, tok, base_model, &(struct zf_model_opts){.dtype = -1});
}

/* The directory of the model that a word names, or of the base that the adapter it names has. */
static int find_model(char **dir, const char *word) {
  return zf_adapter_probe(word) ? zf_adapter_base(dir, word) : zf_model_find(dir, word);
}

/* Attaches the adapter that `word` names, if it is one, and those of --adapter. */
static int use_adapters(struct zf_model *model, const char *word) {
  int rc = zf_adapter_probe(word) ? zf_adapter_use(model, word, NULL) : 0;
  for (int i = 0; i < zc_adapters.count && !rc; i++)
    rc = zf_adapter_use(model, zc_adapters.item[i], NULL);
  return rc;
}

int zc_open_model_as(struct zf_model **model, struct zf_tok **tok, const char *base_model,
                     const struct zf_model_opts *opts) {
  char *dir = NULL;
  *model = NULL;
  *tok = NULL;
  struct zf_config config; /* read first, for its error when the directory holds no model */
  int rc = find_model(&dir, base_model);
  if (!rc && zf_is_dir(dir)) rc = zf_config_load(&config, dir);
  if (!rc) rc = zf_tok_open(tok, dir);
  struct zf_model_opts own = *opts;
  if (!rc && !own.labels) rc = zf_adapter_labels(&own.labels, base_model);
  if (!rc) rc = zf_model_open(model, dir, &own);
  if (!rc) zc_warn_model(*model);
  if (!rc && (rc = use_adapters(*model, base_model))) {
    zf_model_free(*model);
    *model = NULL;
  }
  if (rc) {
    zf_tok_free(*tok);
    *tok = NULL;
  }
  free(dir);
  return rc;
}

void zc_option_name(char out[64], const struct zf_data_spec *spec, int64_t o) {
  const char *const *names = spec->labels ? spec->labels : spec->options;
  const char *text = names ? names[o] : "";
  while (isspace((unsigned char)*text)) text++;
  size_t len = strlen(text);
  while (len && isspace((unsigned char)text[len - 1])) len--;
  if (len)
    snprintf(out, 64, "%.*s", (int)(len < 63 ? len : 63), text);
  else
    snprintf(out, 64, "%lld", (long long)o);
}

int zc_bytes(int64_t *bytes, const char *name, const char *word) {
  const struct zf_conf_key keys[] = {{name, ZF_CONF_BYTES, NULL, "bytes", .min = 1, .max = 9e18},
                                     {0}};
  const struct zf_conf_key *const tables[] = {keys};
  struct zf_conf *conf = NULL;
  char *setting = zf_asprintf("%s=%s", name, word);
  int rc = setting ? zf_conf_new(&conf, tables, 1) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_word(conf, setting);
  if (!rc) *bytes = zf_conf_bytes(conf, name, 0);
  zf_conf_free(conf);
  free(setting);
  return rc;
}
