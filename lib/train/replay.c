#include "train/replay.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

/* --- saved states --- */

static const char *const stamp_key[ZF_STAMP_PAIRS] = {"zoft_log", "zoft_step", "zoft_weights"};

void zf_stamp_pairs(struct zf_stamp_text *t, const struct zf_stamp *s) {
  snprintf(t->log, sizeof t->log, "%08" PRIx32, s->log);
  snprintf(t->step, sizeof t->step, "%lld", (long long)s->step);
  memcpy(t->hash, s->hash, sizeof t->hash);
  const char *value[ZF_STAMP_PAIRS] = {t->log, t->step, t->hash};
  for (int i = 0; i < ZF_STAMP_PAIRS; i++) {
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
  struct zf_stamp s = {.log = h->id, .step = step};
  struct zf_stamp_text t;
  zf_stamp_pairs(&t, &s);
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

int zf_stamp_load(struct zf_model *m, const char *path, const struct zf_history *h, int64_t step) {
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

/* Where states lie, and what a name is between. */
static const struct {
  const char *folder, *ending;
} places[] = {{"keyframes", ".safetensors"}, {"checkpoints", ""}};
enum { PLACES = sizeof places / sizeof *places };

/* The step of "step-N" with that ending; -1: another name. */
static int64_t step_of(const char *name, const char *ending) {
  char *end;
  if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
  long long v = strtoll(name + 5, &end, 10);
  return strcmp(end, ending) ? -1 : v;
}

/* The highest step <= most that was saved in dir/place, or -1. */
static int64_t highest(const char *dir, int place, int64_t most) {
  int64_t best = -1;
  char *path = zf_path_join(dir, places[place].folder);
  DIR *d = path ? opendir(path) : NULL;
  for (struct dirent *e; d && (e = readdir(d));) {
    int64_t s = step_of(e->d_name, places[place].ending);
    if (s <= most && s > best) best = s;
  }
  if (d) closedir(d);
  free(path);
  return best;
}

static int load_state(struct zf_model *m, const struct zf_history *h, const char *dir, int place,
                      int64_t step) {
  char *path = zf_asprintf("%s/%s/step-%lld%s", dir, places[place].folder, (long long)step,
                           places[place].ending);
  int rc = path ? zf_stamp_load(m, path, h, step) : ZF_ENOMEM;
  free(path);
  return rc;
}

/* *from: the step whose weights m holds then; 0 is the base. */
static int start_near(struct zf_model *m, const struct zf_history *h, const char *dir, int64_t to,
                      int64_t *from, zf_replay_say say, void *ctx) {
  for (int64_t most = to; dir && most > 0;) {
    int64_t best[PLACES], top = 0;
    for (int p = 0; p < PLACES; p++) {
      best[p] = highest(dir, p, most);
      if (best[p] > top) top = best[p];
    }
    for (int p = 0; top > 0 && p < PLACES; p++) {
      if (best[p] != top) continue;
      int rc = load_state(m, h, dir, p, top);
      if (!rc) {
        *from = top;
        return 0;
      }
      if (rc == ZF_ENOMEM) return rc;
      if (say) say(ctx, zf_error_message());
    }
    most = top - 1;
  }
  zf_model_reset(m);
  *from = 0;
  return 0;
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
                            .ntrainable = n};
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
