#include "train/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "train/states.h"

/* --- saved states --- */

static const char *const provenance_key[ZF_PROVENANCE_PAIRS] = {"zoft_log", "zoft_step",
                                                                "zoft_weights"};

void zf_provenance_pairs(struct zf_provenance_text *text, const struct zf_provenance *provenance) {
  snprintf(text->log, sizeof text->log, "%08" PRIx32, provenance->log);
  snprintf(text->step, sizeof text->step, "%lld", (long long)provenance->step);
  memcpy(text->hash, provenance->hash, sizeof text->hash);
  const char *value[ZF_PROVENANCE_PAIRS] = {text->log, text->step, text->hash};
  for (int i = 0; i < ZF_PROVENANCE_PAIRS; i++) {
    text->pair[2 * i] = provenance_key[i];
    text->pair[2 * i + 1] = value[i];
  }
}

static const char *metadata(const struct zf_st *st, const char *key) {
  for (int64_t i = 0; i < st->metadata_count; i++)
    if (!strcmp(st->metadata[2 * i], key)) return st->metadata[2 * i + 1];
  return "";
}

/* The metadata must be, letter for letter, the provenance of this log and step. */
static int check_provenance(const struct zf_st *st, const struct zf_history *history,
                            int64_t step) {
  struct zf_provenance provenance = {.log = history->id, .step = step};
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, &provenance);
  if (!strcmp(metadata(st, provenance_key[0]), text.log) &&
      !strcmp(metadata(st, provenance_key[1]), text.step))
    return 0;
  return zf_error(ZF_EINVALID, "%s: is not a state of step %lld of this run", st->path[0],
                  (long long)step);
}

static int check_weights(const struct zf_model *model, const struct zf_st *st,
                         const struct zf_history *history, int64_t step) {
  char now[33];
  const char *mark = zf_history_mark(history, step), *saved = metadata(st, provenance_key[2]);
  int rc = zf_model_hash(model, now);
  if (rc) return rc;
  if (strcmp(now, saved) != 0)
    return zf_error(ZF_EINVALID, "%s: is damaged: weights of hash %s, where %.32s were saved",
                    st->path[0], now, saved);
  if (mark && strcmp(now, mark) != 0)
    return zf_error(ZF_EINVALID, "%s: weights of hash %s, where the log has %s", st->path[0], now,
                    mark);
  return 0;
}

int zf_provenance_load(struct zf_model *model, const char *path, const struct zf_history *history,
                       int64_t step) {
  struct zf_st *st;
  int rc = zf_st_open(&st, path);
  if (rc) return rc;
  rc = check_provenance(st, history, step);
  if (!rc) rc = zf_model_reload(model, st);
  if (!rc) rc = check_weights(model, st, history, step);
  zf_st_free(st);
  return rc;
}

/* --- steps --- */

/* Sets the weight of a step in a mean. */
static void set_weight(struct zf_zo_step *step, int64_t number, const struct zf_replay_opts *opts) {
  step->keep = 1;
  if (opts->ema > 0) {
    step->keep = opts->ema;
    step->add = 1 - opts->ema;
  } else if (opts->average_to && number >= opts->average_from && number <= opts->average_to) {
    step->add = 1.0 / (double)(opts->average_to - opts->average_from + 1);
  }
}

static void fill_step(struct zf_zo_step *step, const struct zf_history *history, int64_t number,
                      const struct zf_replay_opts *opts) {
  const struct zf_log_rec *record = &history->step[number - 1];
  double lr = opts->scale > 0 ? record->lr * opts->scale : record->lr;
  if (opts->drop_to && number >= opts->drop_from && number <= opts->drop_to) lr = 0;
  *step = (struct zf_zo_step){.step = record->step,
                              .seed = record->seed,
                              .lr = lr,
                              .estimate = zf_history_estimate(history, number)};
  set_weight(step, number, opts);
}

static void close_optimizer(void *params) {
  zf_zo_close(params);
}

/* Gives the model the log's optimizer, where it has none yet. */
static int use_optimizer(struct zf_model *model, const struct zf_history *history) {
  if (model->params.optimizer) return 0;
  int rc = zf_model_own(model, &model->params, close_optimizer);
  return rc ? rc : zf_zo_open(&model->params, &history->head.zo);
}

/* Passes step 1, and the steps up to `last` that the method looks back to. */
static void remember(const struct zf_model *model, const struct zf_history *history, int64_t last) {
  int64_t memory = zf_zo_memory(&history->head.zo), first = last > memory ? last - memory + 1 : 1;
  for (int64_t i = 1; i <= last; i = i < first ? first : i + 1) {
    struct zf_zo_step step;
    fill_step(&step, history, i, &(struct zf_replay_opts){0});
    zf_zo_remember(&model->params, &step);
  }
}

int zf_replay_steps(struct zf_model *model, const struct zf_history *history, int64_t from,
                    int64_t to, const struct zf_replay_opts *opts) {
  static const struct zf_replay_opts none;
  if (!opts) opts = &none;
  int mean = opts->ema > 0 || opts->average_to;
  double start = opts->ema > 0 ? 1 : 0;
  if (mean && opts->ema == 0 && opts->average_from <= from)
    start = 1.0 / (double)(opts->average_to - opts->average_from + 1);
  struct zf_zo_step *step = zf_calloc(to - from, sizeof *step);
  if (!step) return ZF_ENOMEM;
  for (int64_t i = from + 1; i <= to; i++) fill_step(&step[i - from - 1], history, i, opts);
  int rc = use_optimizer(model, history);
  if (!rc) remember(model, history, from);
  if (!rc)
    rc = zf_zo_replay(&model->params, step, to - from, history->head.decay, mean ? &start : NULL);
  free(step);
  return rc;
}

/* --- the nearest saved state --- */

/* The largest of step[0..count), ascending, that is <= max; 0: none. */
static int64_t largest_step(const int64_t *step, int64_t count, int64_t max) {
  while (count > 0 && step[count - 1] > max) count--;
  return count > 0 ? step[count - 1] : 0;
}

/* Steps of the saved states, ascending. */
struct saved_states {
  int64_t *step[ZF_STATE_KINDS], count[ZF_STATE_KINDS];
};

/* dir: may be NULL.  Checkpoints are for other tools and hold weights alone: a rule with a state
 * starts from keyframes. */
static int list_saved(struct saved_states *saved, const char *dir,
                      const struct zf_history *history) {
  memset(saved, 0, sizeof *saved);
  if (!dir) return 0;
  for (int i = 0; i < ZF_STATE_KINDS; i++) {
    if (i == ZF_STATE_CHECKPOINT && zf_zo_states(&history->head.zo)) continue;
    int rc = zf_states_list(&saved->step[i], &saved->count[i], dir, (enum zf_state_kind)i);
    if (rc) return rc;
  }
  return 0;
}

/* Loads a state of this step, of any kind, and sets *from.  Damaged states are reported and not
 * used. */
static int load_step(struct zf_model *model, const struct zf_history *history, const char *dir,
                     const struct saved_states *saved, int64_t step, int64_t *from,
                     zf_replay_say say, void *ctx) {
  for (int i = 0; i < ZF_STATE_KINDS; i++) {
    if (largest_step(saved->step[i], saved->count[i], step) != step) continue;
    char *path = zf_state_path(dir, (enum zf_state_kind)i, step);
    int rc = path ? zf_provenance_load(model, path, history, step) : ZF_ENOMEM;
    free(path);
    if (!rc) *from = step;
    if (!rc || rc == ZF_ENOMEM) return rc;
    if (say) say(ctx, zf_error_message());
  }
  return 0;
}

/* The largest step <= max that has a saved state; 0: none. */
static int64_t largest_saved(const struct saved_states *saved, int64_t max) {
  int64_t largest = 0;
  for (int i = 0; i < ZF_STATE_KINDS; i++) {
    int64_t step = largest_step(saved->step[i], saved->count[i], max);
    if (step > largest) largest = step;
  }
  return largest;
}

/* Loads the nearest intact state up to step `to`, or the base model.  *from: its step; 0: the base. */
static int load_nearest(struct zf_model *model, const struct zf_history *history, const char *dir,
                        int64_t to, int64_t *from, zf_replay_say say, void *ctx) {
  struct saved_states saved;
  int rc = list_saved(&saved, dir, history);
  int64_t step = rc ? 0 : largest_saved(&saved, to);
  *from = 0;
  while (step > 0) {
    rc = load_step(model, history, dir, &saved, step, from, say, ctx);
    if (rc || *from) break;
    step = largest_saved(&saved, step - 1);
  }
  for (int i = 0; i < ZF_STATE_KINDS; i++) free(saved.step[i]);
  if (!rc && !*from) zf_model_reset(model);
  return rc;
}

static int check_mark(const struct zf_model *model, const struct zf_history *history,
                      int64_t step) {
  const char *mark = zf_history_mark(history, step);
  char now[33];
  int rc = mark ? zf_model_hash(model, now) : 0;
  if (rc || !mark || !strcmp(now, mark)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: replayed weights of step %lld have the hash %s, where the log has %s",
                  history->path, (long long)step, now, mark);
}

int zf_replay_to(struct zf_model *model, const struct zf_history *history, const char *dir,
                 int64_t to, int64_t *from, zf_replay_say say, void *ctx) {
  int64_t start = 0;
  int rc = zf_history_reach(history, to);
  if (!rc) rc = load_nearest(model, history, dir, to, &start, say, ctx);
  if (from) *from = start;
  if (rc) return rc;
  if ((rc = zf_replay_steps(model, history, start, to, NULL))) return rc;
  return check_mark(model, history, to);
}

/* --- the base model --- */

int zf_replay_check_base(const struct zf_model *model, const struct zf_history *history) {
  char now[33];
  int rc = zf_model_base_hash(model, now);
  if (rc || !strcmp(now, history->head.base)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: is not the base model of %s: its weights have the hash %s, not %s",
                  model->dir, history->path, now, history->head.base);
}

/* Splits the header's globs into lines.  Returns their number, or -1: out of memory.  The caller
 * frees (*list)[0], which holds the text of all, and *list. */
static int64_t split_globs(const char *text, const char ***list) {
  int64_t lines = *text != 0;
  for (const char *c = text; *c; c++) lines += *c == '\n';
  char *copy = zf_strdup(text);
  *list = zf_calloc(lines + 1, sizeof **list);
  if (!copy || !*list) {
    free(copy);
    free(*list);
    *list = NULL;
    return -1;
  }
  (*list)[0] = copy;
  char *line = copy;
  for (int64_t i = 0; i < lines; i++) {
    (*list)[i] = line;
    line += strcspn(line, "\n");
    if (*line) *line++ = 0;
  }
  return lines;
}

static void free_file(void *file) {
  zf_adapter_file_free(file);
}

/* Attaches the adapter with which the run began: the one at `path`. */
static int attach_start(struct zf_model *model, const struct zf_history *history, const char *path,
                        struct zf_adapter_file **file) {
  char now[33];
  if (!path || !zf_adapter_probe(path))
    return zf_error(
        ZF_EUSAGE,
        "%s: the run trained an adapter, and the one with which it began is not in %s: name its "
        "directory by --start",
        history->path, path ? path : "a known place");
  int rc = zf_adapter_file_read(file, path, model);
  if (rc) return rc;
  if ((rc = zf_model_own(model, *file, free_file))) return rc;
  rc = zf_adapter_attach(model, *file, 1, (enum zf_adapter_train)history->head.adapter_train);
  if (!rc) rc = zf_model_hash(model, now);
  if (rc || !strcmp(now, history->head.adapter)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: is not the adapter with which the run of %s began: its hash is %s, not %s",
                  path, history->path, now, history->head.adapter);
}

int zf_replay_open(struct zf_model **out, const char *dir, const struct zf_history *history,
                   const char *start, struct zf_adapter_file **adapter) {
  int adapts = history->head.adapter[0] != 0;
  const char **globs;
  int64_t count = split_globs(history->head.globs, &globs);
  *out = NULL;
  if (count < 0) return ZF_ENOMEM;
  struct zf_model_opts opts = {.dtype = history->head.others,
                               .trained = (enum zf_dtype)history->head.trained,
                               .trainable = globs,
                               .ntrainable = adapts ? 0 : count,
                               .blocks = (enum zf_blocks)history->head.blocks,
                               .labels = history->head.labels,
                               .problem = (enum zf_problem)history->head.problem,
                               .head_seed = history->head.head_seed};
  int rc = zf_model_open(out, dir, &opts);
  if (!rc) rc = zf_replay_check_base(*out, history);
  *adapter = NULL;
  if (!rc && adapts) rc = attach_start(*out, history, start, adapter);
  if (!rc) rc = use_optimizer(*out, history);
  if (rc) {
    zf_model_free(*out);
    *out = NULL;
  }
  free((void *)globs[0]);
  free(globs);
  return rc;
}
