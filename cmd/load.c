#include "load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "train/run_config.h"
#include "ui.h"

/* What a word names: a config file, or a run directory, whose own config.yaml it is then. */
static int config_path(char **path, const char *word) {
  *path = zf_is_dir(word) ? zf_path_join(word, "config.yaml") : zf_strdup(word);
  if (!*path) return ZF_ENOMEM;
  if (!zf_is_dir(word) || zf_exists(*path)) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: expected a config or a run directory, found a directory without config.yaml",
                  word);
}

int zc_conf_load(struct zf_conf **out, const struct zc_args *a, const struct zf_conf_key *keys) {
  const struct zf_conf_key *const tables[] = {keys};
  if (a->nword > 1)
    return zf_error(ZF_EUSAGE, "expected one config file, found '%s' and '%s'", a->word[0],
                    a->word[1]);
  char *path = NULL;
  int rc = zf_conf_new(out, tables, 1);
  if (!rc && a->nword) rc = config_path(&path, a->word[0]);
  if (!rc && a->nword) rc = zf_conf_file(*out, path);
  for (int i = 0; !rc && i < a->nset; i++) rc = zf_conf_word(*out, a->set[i]);
  if (!rc) rc = zf_conf_check(*out);
  free(path);
  if (rc) {
    zf_conf_free(*out);
    *out = NULL;
  }
  return rc;
}

int zc_conf_take_result(struct zf_conf *conf) {
  char *dir, *weights = NULL, *word = NULL;
  int rc = zf_run_config_dir(&dir, conf, "base_model");
  if (rc || !dir) return rc;
  weights = zf_path_join(dir, "model.safetensors");
  word = zf_asprintf("base_model=%s", dir);
  rc = weights && word ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(weights))
    rc = zf_error(
        ZF_EUSAGE,
        "%s: the run has no result yet: name what to score, base_model=DIR (its base model is %s)",
        dir, zf_conf_str(conf, "base_model"));
  if (!rc) rc = zf_conf_word(conf, word);
  free(word);
  free(weights);
  free(dir);
  return rc;
}

void zc_print_model(const struct zf_model *m) {
  printf("model  %s\n\n", m->dir);
}

void zc_json_model(struct zf_buf *b, const struct zf_model *m) {
  zf_buf_puts(b, "\"model\": ");
  zc_json_text(b, m->dir, strlen(m->dir));
  zf_buf_puts(b, ", ");
}

char *zc_metric(char out[32], const struct zf_metrics *m, const char *name) {
  double v = NAN;
  if (!strcmp(name, "loss")) v = m->loss;
  if (!strcmp(name, "perplexity")) v = m->perplexity;
  if (!strcmp(name, "accuracy")) v = 100 * m->accuracy;
  if (!strcmp(name, "macro F1")) v = 100 * m->f1;
  if (!strcmp(name, "micro F1")) v = 100 * m->f1_micro;
  if (!strcmp(name, "Pearson")) v = m->pearson;
  if (!strcmp(name, "Spearman")) v = m->spearman;
  int percent = !strcmp(name, "accuracy") || !strcmp(name, "macro F1") || !strcmp(name, "micro F1");
  if (!m->examples || !isfinite(v))
    snprintf(out, 32, "-");
  else if (percent)
    snprintf(out, 32, "%.1f %%", v);
  else
    snprintf(out, 32, "%.4f", v);
  return out;
}

void zc_say_joined(const struct zf_dataset *d, const char *what) {
  if (d->counts.joined)
    zc_warn("%s: in %lld of %lld rows the prompt and what follows it meet without a blank: begin "
            "the options (the completion) with one, as in \" great\"",
            what, (long long)d->counts.joined, (long long)d->counts.rows);
}

void zc_say_counts(const struct zf_dataset *d, const char *what) {
  const struct zf_data_counts *c = &d->counts;
  if (c->truncated)
    zc_warn("%s: %lld of %lld examples were longer than sequence_len: %lld tokens cut off", what,
            (long long)c->truncated, (long long)c->rows, (long long)c->cut);
  if (c->dropped)
    zc_warn("%s: %lld of %lld examples were longer than sequence_len and are left out", what,
            (long long)c->dropped, (long long)c->rows);
  if (c->split)
    zc_say("%s: %lld of %lld texts were longer than sequence_len and are split", what,
           (long long)c->split, (long long)c->rows);
  if (c->apart)
    zc_say("%s: in %lld of %lld conversations each answer is an example of its own: the chat "
           "template renders an earlier turn unlike the last one",
           what, (long long)c->apart, (long long)c->rows);
  zc_say_joined(d, what);
  if (c->masked)
    zc_warn("%s: %lld of %lld examples have no target and are left out", what, (long long)c->masked,
            (long long)c->rows);
}

int zc_learns_ends(const struct zf_dataset *d) {
  return d->type == ZF_TASK_COMPLETION || d->type >= ZF_TASK_CHAT;
}

void zc_say_ends(const struct zf_dataset *d) {
  const struct zf_data_counts *c = &d->counts;
  if (zc_learns_ends(d) && c->examples && !c->ends)
    zc_warn("training: none of the %lld targets ends a text or a turn: the model does not learn to "
            "stop (add_eos, or "
            "a chat template whose turns end in a special token)",
            (long long)c->targets);
}

void zc_say_duplicates(const struct zf_run *r) {
  static const char *const of[] = {"an earlier one", "a dev example", "a test example"};
  const struct zf_run_data *d = &r->data;
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    const struct zf_duplicates *t = &d->duplicates[k];
    if (!t->count) continue;
    zc_warn("training: %lld example%s the same as %s: first %s as %s%s", (long long)t->count,
            t->count > 1 ? "s are" : " is", of[k], t->copy, t->of,
            r->set.deduplicate ? ": left out" : "");
  }
}

char *zc_count(char out[32], double n) {
  if (n < 1e4)
    snprintf(out, 32, "%.0f", n);
  else if (n < 1e6)
    snprintf(out, 32, "%.1f k", n / 1e3);
  else if (n < 1e9)
    snprintf(out, 32, "%.2f M", n / 1e6);
  else
    snprintf(out, 32, "%.2f G", n / 1e9);
  return out;
}

int zc_compute(enum zf_compute *out, const char *name) {
  *out = ZF_COMPUTE_F32;
  if (!name) return 0;
  for (int c = 0; c < ZF_COMPUTES; c++)
    if (!strcmp(name, zf_compute_name((enum zf_compute)c))) {
      *out = (enum zf_compute)c;
      return 0;
    }
  return zf_error(ZF_EUSAGE, "--compute expects one of f32, bf16 or int8, found '%s'", name);
}

void zc_say_compute(const struct zf_model *m, enum zf_compute c) {
  int64_t products = 1; /* the head */
  if (zf_kern_native(c)) return;
  for (int64_t i = 0; i < m->plan.nop; i++) products += m->plan.op[i].kind == ZF_OP_LINEAR;
  zc_warn(
      "compute %s is not native here: the %lld products of a pass run emulated, slower than f32",
      zf_compute_name(c), (long long)products);
}

void zc_say_model(const struct zf_model *m) {
  struct zf_buf b = {0};
  zf_model_notes(m, &b);
  for (char *line = b.data; line && *line;) {
    char *end = strchr(line, '\n');
    *end = 0;
    zc_warn("%s", line);
    line = end + 1;
  }
  zf_buf_free(&b);
}

void zc_say_run_compute(const struct zf_run *r) {
  double eps = r->set.zo.eps, least = zf_eps_least(r->set.compute);
  zc_say_compute(r->model, r->set.compute);
  if (r->set.compute != ZF_COMPUTE_F32 && eps < least)
    zc_warn("zo_eps %g is near for %s: its projected gradient follows that of f32 from %g on", eps,
            zf_compute_name(r->set.compute), least);
}

int zc_log_path(char **log, const char *path) {
  *log = zf_is_dir(path) ? zf_path_join(path, "steps.log") : zf_strdup(path);
  return *log ? 0 : ZF_ENOMEM;
}

int zc_open_model(struct zf_model **m, struct zf_tok **tok, const char *base_model) {
  return zc_open_model_as(m, tok, base_model, &(struct zf_model_opts){.dtype = -1});
}

int zc_open_model_as(struct zf_model **m, struct zf_tok **tok, const char *base_model,
                     const struct zf_model_opts *opts) {
  char *dir = NULL;
  *m = NULL;
  *tok = NULL;
  struct zf_config config; /* first: what is no model at all is told as that */
  int rc = zf_model_find(&dir, base_model);
  if (!rc && zf_is_dir(dir)) rc = zf_config_load(&config, dir);
  if (!rc) rc = zf_tok_open(tok, dir);
  if (!rc) rc = zf_model_open(m, dir, opts);
  if (!rc) zc_say_model(*m);
  if (rc) {
    zf_tok_free(*tok);
    *tok = NULL;
  }
  free(dir);
  return rc;
}
