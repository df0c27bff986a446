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

void zf_provenance_pairs(struct zf_provenance_text *t, const struct zf_provenance *s) {
  snprintf(t->log, sizeof t->log, "%08" PRIx32, s->log);
  snprintf(t->step, sizeof t->step, "%lld", (long long)s->step);
  memcpy(t->hash, s->hash, sizeof t->hash);
  const char *value[ZF_PROVENANCE_PAIRS] = {t->log, t->step, t->hash};
  for (int i = 0; i < ZF_PROVENANCE_PAIRS; i++) {
    t->pair[2 * i] = stamp_key[i];
    t->pair[2 * i + 1] = value[i];
  }
}

static const char *metadata(const struct zf_st *st, const char *key) {
  for (int64_t i = 0; i < st->nmetadata; i++)
    if (!strcmp(st->metadata[2 * i], key)) return st->metadata[2 * i + 1];
  return "";
}

/* The stamp must be, letter for letter, what was written for this log and step. */
static int check_stamp(const struct zf_st *st, const struct zf_history *h, int64_t step) {
  struct zf_provenance s = {.log = h->id, .step = step};
  struct zf_provenance_text t;
  zf_provenance_pairs(&t, &s);
  if (!strcmp(metadata(st, stamp_key[0]), t.log) && !strcmp(metadata(st, stamp_key[1]), t.step))
    return 0;
  return zf_error(ZF_EINVALID, "%s: is not of step %lld of this run", st->path[0], (long long)step);
}

static int check_weights(const struct zf_model *m, const struct zf_st *st,
                         const struct zf_history *h, int64_t step) {
  char now[33];
  const char *mark = zf_history_mark(h, step), *said = metadata(st, stamp_key[2]);
  int rc = zf_model_hash(m, now);
  if (rc) return rc;
  if (strcmp(now, said) != 0)
    return zf_error(ZF_EINVALID, "%s: is damaged: weights of hash %s, where %.32s were saved",
                    st->path[0], now, said);
  if (mark && strcmp(now, mark) != 0)
    return zf_error(ZF_EINVALID, "%s: weights of hash %s, where the log has %s", st->path[0], now,
                    mark);
  return 0;
}

int zf_provenance_load(struct zf_model *m, const char *path, const struct zf_history *h,
                       int64_t step) {
  struct zf_st *st;
  int rc = zf_st_open(&st, path);
  if (rc) return rc;
  rc = check_stamp(st, h, step);
  if (!rc) rc = zf_model_reload(m, st);
  if (!rc) rc = check_weights(m, st, h, step);
  zf_st_free(st);
  return rc;
}

/* --- steps --- */

/* What step t counts in a mean. */
static void weigh(struct zf_zo_step *s, int64_t t, const struct zf_replay_opts *o) {
  s->keep = 1;
  if (o->ema > 0) {
    s->keep = o->ema;
    s->add = 1 - o->ema;
  } else if (o->average_to && t >= o->average_from && t <= o->average_to) {
    s->add = 1.0 / (double)(o->average_to - o->average_from + 1);
  }
}

static void fill_step(struct zf_zo_step *s, const struct zf_history *h, int64_t t,
                      const struct zf_replay_opts *o) {
  const struct zf_log_rec *r = &h->step[t - 1];
  int dropped = o->drop_to && t >= o->drop_from && t <= o->drop_to;
  *s = (struct zf_zo_step){.step = r->step,
                           .seed = r->seed,
                           .lr = dropped        ? 0
                                 : o->scale > 0 ? r->lr * o->scale
                                                : r->lr,
                           .probe = h->probe + (t - 1) * h->head.zo.probes};
  weigh(s, t, o);
}

int zf_replay_steps(struct zf_model *m, const struct zf_history *h, int64_t from, int64_t to,
                    const struct zf_replay_opts *o) {
  static const struct zf_replay_opts none;
  if (!o) o = &none;
  int mean = o->ema > 0 || o->average_to;
  double start = o->ema > 0 ? 1 : 0;
  if (mean && o->ema == 0 && o->average_from <= from)
    start = 1.0 / (double)(o->average_to - o->average_from + 1);
  struct zf_zo_step *s = zf_calloc(to - from, sizeof *s);
  if (!s) return ZF_ENOMEM;
  for (int64_t t = from + 1; t <= to; t++) fill_step(&s[t - from - 1], h, t, o);
  int rc = zf_zo_replay(&m->params, &h->head.zo, s, to - from, h->head.decay, mean ? &start : NULL);
  free(s);
  return rc;
}

/* --- the nearest saved state --- */

/* The highest of step[0..n), ascending, that is <= most; 0: none. */
static int64_t highest(const int64_t *step, int64_t n, int64_t most) {
  while (n > 0 && step[n - 1] > most) n--;
  return n > 0 ? step[n - 1] : 0;
}

struct saved {
  int64_t *step[ZF_STATE_KINDS], n[ZF_STATE_KINDS];
};

static int list_saved(struct saved *s, const char *dir) {
  int rc = 0;
  memset(s, 0, sizeof *s);
  for (int k = 0; dir && !rc && k < ZF_STATE_KINDS; k++)
    rc = zf_states_list(&s->step[k], &s->n[k], dir, (enum zf_state_kind)k);
  return rc;
}

/* Loads a state of this step, of whatever kind: *from = step.  Damaged ones are told and passed over. */
static int load_step(struct zf_model *m, const struct zf_history *h, const char *dir,
                     const struct saved *s, int64_t step, int64_t *from, zf_replay_say say,
                     void *ctx) {
  for (int k = 0; k < ZF_STATE_KINDS; k++) {
    if (highest(s->step[k], s->n[k], step) != step) continue;
    char *path = zf_state_path(dir, (enum zf_state_kind)k, step);
    int rc = path ? zf_provenance_load(m, path, h, step) : ZF_ENOMEM;
    free(path);
    if (!rc) *from = step;
    if (!rc || rc == ZF_ENOMEM) return rc;
    if (say) say(ctx, zf_error_message());
  }
  return 0;
}

/* *from: the step whose weights m holds then; 0 is the base. */
static int start_near(struct zf_model *m, const struct zf_history *h, const char *dir, int64_t to,
                      int64_t *from, zf_replay_say say, void *ctx) {
  struct saved s;
  int rc = list_saved(&s, dir);
  *from = 0;
  for (int64_t most = to, top; !rc && !*from && most > 0; most = top - 1) {
    top = 0;
    for (int k = 0; k < ZF_STATE_KINDS; k++) {
      int64_t best = highest(s.step[k], s.n[k], most);
      if (best > top) top = best;
    }
    if (top > 0) rc = load_step(m, h, dir, &s, top, from, say, ctx);
  }
  for (int k = 0; k < ZF_STATE_KINDS; k++) free(s.step[k]);
  if (!rc && !*from) zf_model_reset(m);
  return rc;
}

static int check_mark(const struct zf_model *m, const struct zf_history *h, int64_t step) {
  const char *mark = zf_history_mark(h, step);
  char now[33];
  int rc = mark ? zf_model_hash(m, now) : 0;
  if (rc || !mark || !strcmp(now, mark)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: replayed weights of step %lld have the hash %s, where the log has %s",
                  h->path, (long long)step, now, mark);
}

int zf_replay_to(struct zf_model *m, const struct zf_history *h, const char *dir, int64_t to,
                 int64_t *from, zf_replay_say say, void *ctx) {
  int64_t start = 0;
  int rc = zf_history_reach(h, to);
  if (!rc) rc = start_near(m, h, dir, to, &start, say, ctx);
  if (!rc) rc = zf_replay_steps(m, h, start, to, NULL);
  if (!rc) rc = check_mark(m, h, to);
  if (from) *from = start;
  return rc;
}

/* --- the base model --- */

int zf_replay_check_base(const struct zf_model *m, const struct zf_history *h) {
  char now[33];
  int rc = zf_model_hash(m, now);
  if (rc || !strcmp(now, h->head.base)) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: is not the base model of %s: its weights have the hash %s, not %s", m->dir,
                  h->path, now, h->head.base);
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

int zf_replay_open(struct zf_model **out, const char *dir, const struct zf_history *h) {
  const char **globs;
  int64_t n = split_globs(h->head.globs, &globs);
  *out = NULL;
  if (n < 0) return ZF_ENOMEM;
  struct zf_model_opts o = {.dtype = h->head.others,
                            .trained = (enum zf_dtype)h->head.trained,
                            .trainable = globs,
                            .ntrainable = n,
                            .labels = h->head.labels,
                            .problem = (enum zf_problem)h->head.problem,
                            .head_seed = h->head.head_seed};
  int rc = zf_model_open(out, dir, &o);
  if (!rc) rc = zf_replay_check_base(*out, h);
  if (rc) {
    zf_model_free(*out);
    *out = NULL;
  }
  free((void *)globs[0]);
  free(globs);
  return rc;
}
