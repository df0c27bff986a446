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
  const struct zc_rebuild *rebuild;
  const char *dir;
  struct zf_history history;
  struct zf_model *model;
  struct zf_replay_opts how;
  int dtype;
  int64_t to, from;       /* the step that is wanted, where the replay started */
  int64_t taken, checked; /* steps replayed, marks compared */
  char hash[33];
  double seconds;
};

/* "A:B", steps of the log. */
static int range(int64_t *from, int64_t *to, const char *name, const char *text,
                 const struct zf_history *history, int64_t least) {
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
  return zf_history_reach(history, b);
}

static int check_numbers(const struct zc_rebuild *rebuild) {
  if (rebuild->ema_given && rebuild->average)
    return zf_error(ZF_EUSAGE, "--average and --ema are two means: keep one");
  if (rebuild->average && rebuild->to_step_given)
    return zf_error(ZF_EUSAGE, "--average ends at its last step: --to-step has no effect");
  if (rebuild->verify &&
      (rebuild->average || rebuild->drop || rebuild->ema_given || rebuild->scale_given))
    return zf_error(ZF_EUSAGE,
                    "--verify compares with the weights of the run: not with --average, --ema, "
                    "--scale or --drop");
  return 0;
}

static int read_options(struct work *work) {
  const struct zc_rebuild *rebuild = work->rebuild;
  int rc = check_numbers(rebuild);
  work->how = (struct zf_replay_opts){.ema = rebuild->ema, .scale = rebuild->scale};
  work->dtype = -1;
  if (!rc && rebuild->dtype) {
    work->dtype = zf_dtype_by_name(rebuild->dtype);
    if (work->dtype < 0 || zf_dtype_saved((enum zf_dtype)work->dtype) != (enum zf_dtype)work->dtype)
      rc = zf_error(ZF_EUSAGE, "--dtype expects f32, f16 or bf16, found '%s'", rebuild->dtype);
  }
  if (!rc)
    rc = range(&work->how.average_from, &work->how.average_to, "average", rebuild->average,
               &work->history, 0);
  if (!rc)
    rc = range(&work->how.drop_from, &work->how.drop_to, "drop", rebuild->drop, &work->history, 1);
  return rc;
}

/* The step to go to, when none is named: where a mean ends, or the run's result, or its end. */
static int choose_step(struct work *work, int result) {
  const struct zf_history *history = &work->history;
  if (work->rebuild->to_step_given) {
    work->to = work->rebuild->to_step;
    return zf_history_reach(history, work->to);
  }
  work->to = work->how.average_to             ? work->how.average_to
             : result && history->result >= 0 ? history->result
                                              : history->count;
  if (history->end == ZF_LOG_DAMAGED && work->to == history->count && !work->how.average_to)
    return zf_error(ZF_EINVALID,
                    "%s; --to-step %lld rebuilds the weights of the last step before it",
                    history->problem, (long long)history->count);
  if (history->end == ZF_LOG_TORN)
    zc_warn("%s: %lld steps are whole", history->problem, (long long)history->count);
  return 0;
}

static void say(void *ctx, const char *text) {
  (void)ctx;
  zc_warn("%s; an earlier state or the base model is used", text);
}

/* Every mark up to the step, from the base on. */
static int verify(struct work *work) {
  int64_t at = 0;
  char now[33];
  int rc = 0;
  for (int64_t i = 0; !rc && i < work->history.nmark && work->history.mark[i].step <= work->to;
       i++) {
    const struct zf_history_entry *mark = &work->history.mark[i];
    rc = zf_replay_steps(work->model, &work->history, at, mark->step, NULL);
    at = mark->step;
    if (!rc) rc = zf_model_hash(work->model, now);
    if (!rc && strcmp(now, mark->hash) != 0)
      rc = zf_error(ZF_EINVALID, "%s: weights of step %lld have the hash %s by replay, and had %s",
                    work->history.path, (long long)at, now, mark->hash);
    work->checked++;
  }
  if (!rc) rc = zf_replay_steps(work->model, &work->history, at, work->to, NULL);
  work->taken = work->to;
  return rc;
}

/* The last step up to which the run is followed as it was. */
static int64_t plain_until(const struct work *work) {
  int64_t at = work->to;
  if (work->how.ema > 0 || work->how.scale > 0) return 0;
  if (work->how.average_to && work->how.average_from < at) at = work->how.average_from;
  if (work->how.drop_to && work->how.drop_from - 1 < at) at = work->how.drop_from - 1;
  return at;
}

static int replay(struct work *work) {
  double start = zf_now();
  int64_t plain = plain_until(work);
  int rc = work->rebuild->verify ? verify(work) : 0;
  if (!work->rebuild->verify) {
    rc = zf_replay_to(work->model, &work->history, work->dir, plain, &work->from, say, NULL);
    if (!rc && (plain < work->to || work->how.average_to))
      rc = zf_replay_steps(work->model, &work->history, plain, work->to, &work->how);
    work->taken = work->to - work->from;
  }
  work->seconds = zf_now() - start;
  if (!rc) rc = zf_model_finite(work->model, work->history.path);
  return rc ? rc : zf_model_hash(work->model, work->hash);
}

static int save(const struct work *work) {
  if (!work->rebuild->out) return 0;
  if (zf_exists(work->rebuild->out) &&
      (!zf_is_dir(work->rebuild->out) || zf_dir_empty(work->rebuild->out) != 1))
    return zf_error(ZF_EUSAGE, "--out %s: is there already: name a new directory",
                    work->rebuild->out);
  return zf_model_save(work->model, work->rebuild->out, work->dtype, NULL, 0);
}

static void print_json(const struct work *work) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf,
                "{\"step\": %lld, \"steps\": %lld, \"from\": %lld, \"replayed\": %lld, "
                "\"hash\": \"%s\", \"seconds\": %.3f",
                (long long)work->to, (long long)work->history.count, (long long)work->from,
                (long long)work->taken, work->hash, work->seconds);
  if (work->rebuild->verify) zf_buf_printf(&buf, ", \"verified\": %lld", (long long)work->checked);
  if (work->rebuild->out) {
    zf_buf_puts(&buf, ", \"out\": ");
    zc_json_text(&buf, work->rebuild->out, strlen(work->rebuild->out));
  }
  printf("%s}\n", buf.data ? buf.data : "");
  zf_buf_free(&buf);
}

static void print(const struct work *work) {
  printf("step       %lld of %lld, %lld replayed from %s%lld in %.2f s\n", (long long)work->to,
         (long long)work->history.count, (long long)work->taken,
         work->from ? "the state of step " : "step ", (long long)work->from, work->seconds);
  printf("weights    %s\n", work->hash);
  if (work->rebuild->verify)
    printf("verified   %lld logged hash%s of the run's own weights\n", (long long)work->checked,
           work->checked == 1 ? "" : "es");
  if (work->rebuild->out) printf("model      %s\n", work->rebuild->out);
}

int zc_rebuild(const struct zc_rebuild *rebuild, const char *path, const char *base,
               const char *dir) {
  struct work work = {.rebuild = rebuild, .dir = dir};
  char *model = NULL;
  int rc = zf_history_load(&work.history, path);
  if (!rc) rc = read_options(&work);
  if (!rc) rc = choose_step(&work, !dir);
  if (!rc) rc = zf_model_find(&model, base);
  if (!rc) rc = zf_replay_open(&work.model, model, &work.history);
  if (!rc) zc_say_model(work.model);
  if (!rc) rc = replay(&work);
  if (!rc) rc = save(&work);
  if (!rc) (zc_common.json ? print_json : print)(&work);
  zf_model_free(work.model);
  zf_history_free(&work.history);
  free(model);
  return rc;
}
