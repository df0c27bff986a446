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

static const char *const stamp_key[ZF_PROVENANCE_PAIRS] = {"zoft_log", "zoft_step", "zoft_weights"};

void zf_provenance_pairs(struct zf_provenance_text *text, const struct zf_provenance *provenance) {
  snprintf(text->log, sizeof text->log, "%08" PRIx32, provenance->log);
  snprintf(text->step, sizeof text->step, "%lld", (long long)provenance->step);
  memcpy(text->hash, provenance->hash, sizeof text->hash);
  const char *value[ZF_PROVENANCE_PAIRS] = {text->log, text->step, text->hash};
  for (int i = 0; i < ZF_PROVENANCE_PAIRS; i++) {
    text->pair[2 * i] = stamp_key[i];
    text->pair[2 * i + 1] = value[i];
  }
}

static const char *metadata(const struct zf_st *st, const char *key) {
  for (int64_t i = 0; i < st->nmetadata; i++)
    if (!strcmp(st->metadata[2 * i], key)) return st->metadata[2 * i + 1];
  return "";
}

/* The stamp must be, letter for letter, what was written for this log and step. */
static int check_stamp(const struct zf_st *st, const struct zf_history *history, int64_t step) {
  struct zf_provenance provenance = {.log = history->id, .step = step};
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, &provenance);
  if (!strcmp(metadata(st, stamp_key[0]), text.log) &&
      !strcmp(metadata(st, stamp_key[1]), text.step))
    return 0;
  return zf_error(ZF_EINVALID, "%s: is not of step %lld of this run", st->path[0], (long long)step);
}

static int check_weights(const struct zf_model *model, const struct zf_st *st,
                         const struct zf_history *history, int64_t step) {
  char now[33];
  const char *mark = zf_history_mark(history, step), *said = metadata(st, stamp_key[2]);
  int rc = zf_model_hash(model, now);
  if (rc) return rc;
  if (strcmp(now, said) != 0)
    return zf_error(ZF_EINVALID, "%s: is damaged: weights of hash %s, where %.32s were saved",
                    st->path[0], now, said);
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
  rc = check_stamp(st, history, step);
  if (!rc) rc = zf_model_reload(model, st);
  if (!rc) rc = check_weights(model, st, history, step);
  zf_st_free(st);
  return rc;
}

/* --- steps --- */

/* What step t counts in a mean. */
static void weigh(struct zf_zo_step *step, int64_t t, const struct zf_replay_opts *opts) {
  step->keep = 1;
  if (opts->ema > 0) {
    step->keep = opts->ema;
    step->add = 1 - opts->ema;
  } else if (opts->average_to && t >= opts->average_from && t <= opts->average_to) {
    step->add = 1.0 / (double)(opts->average_to - opts->average_from + 1);
  }
}

static void fill_step(struct zf_zo_step *step, const struct zf_history *history, int64_t t,
                      const struct zf_replay_opts *opts) {
  const struct zf_log_rec *record = &history->step[t - 1];
  int dropped = opts->drop_to && t >= opts->drop_from && t <= opts->drop_to;
  *step = (struct zf_zo_step){.step = record->step,
                              .seed = record->seed,
                              .lr = dropped           ? 0
                                    : opts->scale > 0 ? record->lr * opts->scale
                                                      : record->lr,
                              .probe = history->probe + (t - 1) * history->head.zo.probes};
  weigh(step, t, opts);
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
  for (int64_t t = from + 1; t <= to; t++) fill_step(&step[t - from - 1], history, t, opts);
  int rc = zf_zo_replay(&model->params, &history->head.zo, step, to - from, history->head.decay,
                        mean ? &start : NULL);
  free(step);
  return rc;
}

/* --- the nearest saved state --- */

/* The highest of step[0..n), ascending, that is <= most; 0: none. */
static int64_t highest(const int64_t *step, int64_t count, int64_t most) {
  while (count > 0 && step[count - 1] > most) count--;
  return count > 0 ? step[count - 1] : 0;
}

struct saved {
  int64_t *step[ZF_STATE_KINDS], count[ZF_STATE_KINDS];
};

static int list_saved(struct saved *saved, const char *dir) {
  int rc = 0;
  memset(saved, 0, sizeof *saved);
  for (int k = 0; dir && !rc && k < ZF_STATE_KINDS; k++)
    rc = zf_states_list(&saved->step[k], &saved->count[k], dir, (enum zf_state_kind)k);
  return rc;
}

/* Loads a state of this step, of whatever kind: *from = step.  Damaged ones are told and passed over. */
static int load_step(struct zf_model *model, const struct zf_history *history, const char *dir,
                     const struct saved *saved, int64_t step, int64_t *from, zf_replay_say say,
                     void *ctx) {
  for (int k = 0; k < ZF_STATE_KINDS; k++) {
    if (highest(saved->step[k], saved->count[k], step) != step) continue;
    char *path = zf_state_path(dir, (enum zf_state_kind)k, step);
    int rc = path ? zf_provenance_load(model, path, history, step) : ZF_ENOMEM;
    free(path);
    if (!rc) *from = step;
    if (!rc || rc == ZF_ENOMEM) return rc;
    if (say) say(ctx, zf_error_message());
  }
  return 0;
}

/* *from: the step whose weights m holds then; 0 is the base. */
static int start_near(struct zf_model *model, const struct zf_history *history, const char *dir,
                      int64_t to, int64_t *from, zf_replay_say say, void *ctx) {
  struct saved saved;
  int rc = list_saved(&saved, dir);
  *from = 0;
  for (int64_t most = to, top; !rc && !*from && most > 0; most = top - 1) {
    top = 0;
    for (int k = 0; k < ZF_STATE_KINDS; k++) {
      int64_t best = highest(saved.step[k], saved.count[k], most);
      if (best > top) top = best;
    }
    if (top > 0) rc = load_step(model, history, dir, &saved, top, from, say, ctx);
  }
  for (int k = 0; k < ZF_STATE_KINDS; k++) free(saved.step[k]);
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
  if (!rc) rc = start_near(model, history, dir, to, &start, say, ctx);
  if (!rc) rc = zf_replay_steps(model, history, start, to, NULL);
  if (!rc) rc = check_mark(model, history, to);
  if (from) *from = start;
  return rc;
}

/* --- the base model --- */

int zf_replay_check_base(const struct zf_model *model, const struct zf_history *history) {
  char now[33];
  int rc = zf_model_hash(model, now);
  if (rc || !strcmp(now, history->head.base)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: is not the base model of %s: its weights have the hash %s, not %s",
                  model->dir, history->path, now, history->head.base);
}

/* The lines of the header's globs; *list is the caller's, which frees list[0] and it. */
static int64_t split_globs(const char *text, const char ***list) {
  int64_t n = 0, most = *text != 0;
  for (const char *p = text; *p; p++) most += *p == '\n';
  char *copy = zf_strdup(text);
  *list = zf_calloc(most + 1, sizeof **list);
  if (!copy || !*list) {
    free(copy);
    free(*list);
    *list = NULL;
    return -1;
  }
  (*list)[0] = copy; /* which frees it */
  for (char *p = copy; n < most; n++) {
    (*list)[n] = p;
    p += strcspn(p, "\n");
    if (*p) *p++ = 0;
  }
  return n;
}

int zf_replay_open(struct zf_model **out, const char *dir, const struct zf_history *history) {
  const char **globs;
  int64_t n = split_globs(history->head.globs, &globs);
  *out = NULL;
  if (n < 0) return ZF_ENOMEM;
  struct zf_model_opts opts = {.dtype = history->head.others,
                               .trained = (enum zf_dtype)history->head.trained,
                               .trainable = globs,
                               .ntrainable = n,
                               .labels = history->head.labels,
                               .problem = (enum zf_problem)history->head.problem,
                               .head_seed = history->head.head_seed};
  int rc = zf_model_open(out, dir, &opts);
  if (!rc) rc = zf_replay_check_base(*out, history);
  if (rc) {
    zf_model_free(*out);
    *out = NULL;
  }
  free((void *)globs[0]);
  free(globs);
  return rc;
}
