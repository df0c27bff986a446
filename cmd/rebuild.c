#include "rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "load.h"
#include "ui.h"

struct work {
  const struct zc_rebuild *o;
  const char *dir;
  struct zf_history h;
  struct zf_model *m;
  struct zf_replay_opts how;
  int dtype;
  int64_t to, from;       /* the step that is wanted, where the replay started */
  int64_t taken, checked; /* steps replayed, marks compared */
  char hash[33];
  double seconds;
};

/* "A:B", steps of the log. */
static int range(int64_t *from, int64_t *to, const char *name, const char *text,
                 const struct zf_history *h, int64_t least) {
  char *end;
  if (!text) return 0;
  long long a = strtoll(text, &end, 10), b = -1;
  int bad = end == text || *end != ':';
  if (!bad) {
    const char *second = end + 1;
    b = strtoll(second, &end, 10);
    bad = end == second || *end;
  }
  if (bad || a < least || b < a || b < 1)
    return zf_error(ZF_EUSAGE, "--%s expects FROM:TO, steps of the log from %lld on, found '%s'",
                    name, (long long)least, text);
  *from = a;
  *to = b;
  return zf_history_reach(h, b);
}

static int check_numbers(const struct zc_rebuild *o) {
  if (o->ema_given && o->average)
    return zf_error(ZF_EUSAGE, "--average and --ema are two means: keep one");
  if (o->average && o->to_step_given)
    return zf_error(ZF_EUSAGE, "--average ends at its last step: --to-step has no effect");
  if (o->verify && (o->average || o->drop || o->ema_given || o->scale_given))
    return zf_error(ZF_EUSAGE,
                    "--verify compares with the weights of the run: not with --average, --ema, "
                    "--scale or --drop");
  return 0;
}

static int read_options(struct work *w) {
  const struct zc_rebuild *o = w->o;
  int rc = check_numbers(o);
  w->how = (struct zf_replay_opts){.ema = o->ema, .scale = o->scale};
  w->dtype = -1;
  if (!rc && o->dtype) {
    w->dtype = zf_dtype_by_name(o->dtype);
    if (w->dtype < 0 || zf_dtype_saved((enum zf_dtype)w->dtype) != (enum zf_dtype)w->dtype)
      rc = zf_error(ZF_EUSAGE, "--dtype expects f32, f16 or bf16, found '%s'", o->dtype);
  }
  if (!rc) rc = range(&w->how.average_from, &w->how.average_to, "average", o->average, &w->h, 0);
  if (!rc) rc = range(&w->how.drop_from, &w->how.drop_to, "drop", o->drop, &w->h, 1);
  return rc;
}

/* The step to go to, when none is named: where a mean ends, or the run's result, or its end. */
static int choose_step(struct work *w, int result) {
  const struct zf_history *h = &w->h;
  if (w->o->to_step_given) {
    w->to = w->o->to_step;
    return zf_history_reach(h, w->to);
  }
  w->to = w->how.average_to ? w->how.average_to : result && h->result >= 0 ? h->result : h->count;
  if (h->end == ZF_LOG_DAMAGED && w->to == h->count && !w->how.average_to)
    return zf_error(ZF_EINVALID,
                    "%s; --to-step %lld rebuilds the weights of the last step before it",
                    h->problem, (long long)h->count);
  if (h->end == ZF_LOG_TORN) zc_warn("%s: %lld steps are whole", h->problem, (long long)h->count);
  return 0;
}

static void say(void *ctx, const char *text) {
  (void)ctx;
  zc_warn("%s; an earlier state or the base model is used", text);
}

/* Every mark up to the step, from the base on. */
static int verify(struct work *w) {
  int64_t at = 0;
  char now[33];
  int rc = 0;
  for (int64_t i = 0; !rc && i < w->h.nmark && w->h.mark[i].step <= w->to; i++) {
    const struct zf_history_mark_entry *k = &w->h.mark[i];
    rc = zf_replay_steps(w->m, &w->h, at, k->step, NULL);
    at = k->step;
    if (!rc) rc = zf_model_hash(w->m, now);
    if (!rc && strcmp(now, k->hash) != 0)
      rc = zf_error(ZF_EINVALID, "%s: weights of step %lld have the hash %s by replay, and had %s",
                    w->h.path, (long long)at, now, k->hash);
    w->checked++;
  }
  if (!rc) rc = zf_replay_steps(w->m, &w->h, at, w->to, NULL);
  w->taken = w->to;
  return rc;
}

/* The last step up to which the run is followed as it was. */
static int64_t plain_until(const struct work *w) {
  int64_t at = w->to;
  if (w->how.ema > 0 || w->how.scale > 0) return 0;
  if (w->how.average_to && w->how.average_from < at) at = w->how.average_from;
  if (w->how.drop_to && w->how.drop_from - 1 < at) at = w->how.drop_from - 1;
  return at;
}

static int replay(struct work *w) {
  double start = zf_now();
  int64_t plain = plain_until(w);
  int rc = w->o->verify ? verify(w) : 0;
  if (!w->o->verify) {
    rc = zf_replay_to(w->m, &w->h, w->dir, plain, &w->from, say, NULL);
    if (!rc && (plain < w->to || w->how.average_to))
      rc = zf_replay_steps(w->m, &w->h, plain, w->to, &w->how);
    w->taken = w->to - w->from;
  }
  w->seconds = zf_now() - start;
  if (!rc) rc = zf_model_finite(w->m, w->h.path);
  return rc ? rc : zf_model_hash(w->m, w->hash);
}

static int save(const struct work *w) {
  if (!w->o->out) return 0;
  if (zf_exists(w->o->out) && (!zf_is_dir(w->o->out) || zf_dir_empty(w->o->out) != 1))
    return zf_error(ZF_EUSAGE, "--out %s: is there already: name a new directory", w->o->out);
  return zf_model_save(w->m, w->o->out, w->dtype, NULL, 0);
}

static void print_json(const struct work *w) {
  struct zf_buf b = {0};
  zf_buf_printf(&b,
                "{\"step\": %lld, \"steps\": %lld, \"from\": %lld, \"replayed\": %lld, "
                "\"hash\": \"%s\", \"seconds\": %.3f",
                (long long)w->to, (long long)w->h.count, (long long)w->from, (long long)w->taken,
                w->hash, w->seconds);
  if (w->o->verify) zf_buf_printf(&b, ", \"verified\": %lld", (long long)w->checked);
  if (w->o->out) {
    zf_buf_puts(&b, ", \"out\": ");
    zc_json_text(&b, w->o->out, strlen(w->o->out));
  }
  printf("%s}\n", b.data ? b.data : "");
  zf_buf_free(&b);
}

static void print(const struct work *w) {
  printf("step       %lld of %lld, %lld replayed from %s%lld in %.2f s\n", (long long)w->to,
         (long long)w->h.count, (long long)w->taken, w->from ? "the state of step " : "step ",
         (long long)w->from, w->seconds);
  printf("weights    %s\n", w->hash);
  if (w->o->verify)
    printf("verified   %lld logged hash%s of the run's own weights\n", (long long)w->checked,
           w->checked == 1 ? "" : "es");
  if (w->o->out) printf("model      %s\n", w->o->out);
}

int zc_rebuild(const struct zc_rebuild *o, const char *path, const char *base, const char *dir) {
  struct work w = {.o = o, .dir = dir};
  char *model = NULL;
  int rc = zf_history_load(&w.h, path);
  if (!rc) rc = read_options(&w);
  if (!rc) rc = choose_step(&w, !dir);
  if (!rc) rc = zf_model_find(&model, base);
  if (!rc) rc = zf_replay_open(&w.m, model, &w.h);
  if (!rc) zc_say_model(w.m);
  if (!rc) rc = replay(&w);
  if (!rc) rc = save(&w);
  if (!rc) (zc_common.json ? print_json : print)(&w);
  zf_model_free(w.m);
  zf_history_free(&w.h);
  free(model);
  return rc;
}
