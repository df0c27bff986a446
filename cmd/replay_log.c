#include "replay_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "load.h"
#include "model/gguf_result.h"
#include "ui.h"

struct replay_task {
  const struct zc_replay_options *asked;
  const char *dir;
  struct zf_history history;
  struct zf_model *model;
  struct zf_adapter_file *adapter; /* that the run trained; NULL: none */
  struct zf_replay_opts options;
  int dtype;
  int64_t to, from;          /* the step to reach; the step that the replay began with */
  int64_t replayed, checked; /* steps replayed, marks compared */
  char hash[33];
  double seconds;
};

/* Reads "A:B", steps of the log. */
static int parse_range(int64_t *from, int64_t *to, const char *name, const char *text,
                       const struct zf_history *history, int64_t min) {
  char *end;
  if (!text) return 0;
  long long first = strtoll(text, &end, 10), last = -1;
  int bad = end == text || *end != ':';
  if (!bad) {
    const char *second = end + 1;
    last = strtoll(second, &end, 10);
    bad = end == second || *end;
  }
  if (bad || first < min || last < first || last < 1)
    return zf_error(ZF_EUSAGE, "--%s expects FROM:TO, steps of the log from %lld on, found '%s'",
                    name, (long long)min, text);
  *from = first;
  *to = last;
  return zf_history_reach(history, last);
}

static int check_options(const struct zc_replay_options *options) {
  if (options->ema_given && options->average)
    return zf_error(ZF_EUSAGE, "--average and --ema are two means: give one of them");
  if (options->average && options->to_step_given)
    return zf_error(ZF_EUSAGE,
                    "--to-step has no effect with --average, which ends at its last step");
  if (options->verify &&
      (options->average || options->drop || options->ema_given || options->scale_given))
    return zf_error(ZF_EUSAGE,
                    "--verify compares with the weights of the run: not with --average, --ema, "
                    "--scale or --drop");
  return 0;
}

static int read_options(struct replay_task *task) {
  const struct zc_replay_options *asked = task->asked;
  int rc = check_options(asked);
  task->options = (struct zf_replay_opts){.ema = asked->ema, .scale = asked->scale};
  task->dtype = -1;
  if (!rc && asked->dtype) {
    task->dtype = zf_dtype_by_name(asked->dtype);
    if (task->dtype < 0 || zf_dtype_saved((enum zf_dtype)task->dtype) != (enum zf_dtype)task->dtype)
      rc = zf_error(ZF_EUSAGE, "--dtype expects f32, f16 or bf16, found '%s'", asked->dtype);
  }
  if (!rc)
    rc = parse_range(&task->options.average_from, &task->options.average_to, "average",
                     asked->average, &task->history, 0);
  if (!rc)
    rc = parse_range(&task->options.drop_from, &task->options.drop_to, "drop", asked->drop,
                     &task->history, 1);
  return rc;
}

/* The step to reach: --to-step, or the last of a mean, or the run's result, or the last of the log. */
static int choose_step(struct replay_task *task, int result) {
  const struct zf_history *history = &task->history;
  if (task->asked->to_step_given) {
    task->to = task->asked->to_step;
    return zf_history_reach(history, task->to);
  }
  task->to = history->count;
  if (result && history->result >= 0) task->to = history->result;
  if (task->options.average_to) task->to = task->options.average_to;
  if (history->end == ZF_LOG_DAMAGED && task->to == history->count && !task->options.average_to)
    return zf_error(ZF_EINVALID,
                    "%s; --to-step %lld rebuilds the weights of the last step before it",
                    history->problem, (long long)history->count);
  if (history->end == ZF_LOG_TORN)
    zc_warn("%s: %lld steps are whole", history->problem, (long long)history->count);
  return 0;
}

static void on_warning(void *ctx, const char *text) {
  (void)ctx;
  zc_warn("%s; an earlier state or the base model is used", text);
}

/* Replays up to a mark, from `step` on, and compares the weights with its hash. */
static int verify_mark(struct replay_task *task, int64_t step,
                       const struct zf_history_entry *mark) {
  char now[33];
  int rc = zf_replay_steps(task->model, &task->history, step, mark->step, NULL);
  if (!rc) rc = zf_model_hash(task->model, now);
  if (rc) return rc;
  if (!strcmp(now, mark->hash)) return 0;
  return zf_error(ZF_EINVALID,
                  "%s: the weights of step %lld have the hash %s by replay, but the log has %s",
                  task->history.path, (long long)mark->step, now, mark->hash);
}

/* Replays from the base model, and compares the weights with every mark up to the step. */
static int verify(struct replay_task *task) {
  int64_t step = 0;
  task->replayed = task->to;
  for (int64_t i = 0; i < task->history.nmark; i++) {
    const struct zf_history_entry *mark = &task->history.mark[i];
    if (mark->step > task->to) break;
    int rc = verify_mark(task, step, mark);
    if (rc) return rc;
    step = mark->step;
    task->checked++;
  }
  return zf_replay_steps(task->model, &task->history, step, task->to, NULL);
}

/* The last step up to which the replay has the weights of the run. */
static int64_t plain_until(const struct replay_task *task) {
  int64_t step = task->to;
  if (task->options.ema > 0 || task->options.scale > 0) return 0;
  if (task->options.average_to && task->options.average_from < step)
    step = task->options.average_from;
  if (task->options.drop_to && task->options.drop_from - 1 < step)
    step = task->options.drop_from - 1;
  return step;
}

static int replay(struct replay_task *task) {
  double start = zf_now();
  int64_t plain = plain_until(task);
  int rc = task->asked->verify ? verify(task) : 0;
  if (!task->asked->verify) {
    rc = zf_replay_to(task->model, &task->history, task->dir, plain, &task->from, on_warning, NULL);
    if (!rc && (plain < task->to || task->options.average_to))
      rc = zf_replay_steps(task->model, &task->history, plain, task->to, &task->options);
    task->replayed = task->to - task->from;
  }
  task->seconds = zf_now() - start;
  if (!rc) rc = zf_model_finite(task->model, task->history.path);
  zf_params_free_state(&task->model->params); /* the hash is of weights alone, as they are saved */
  return rc ? rc : zf_model_hash(task->model, task->hash);
}

/* --out of a GGUF base: a file, or a directory for model.gguf. */
static int save_gguf(const struct replay_task *task) {
  const char *out = task->asked->out;
  if (task->dtype >= 0)
    return zf_error(ZF_EUSAGE, "--dtype has no effect: tensors keep the types of %s",
                    task->model->dir);
  int is_file = zf_is_gguf_path(out), rc = is_file ? 0 : zf_mkdirs(out);
  char *path = is_file ? zf_strdup(out) : zf_path_join(out, "model.gguf");
  if (!rc) rc = path ? zf_gguf_save(task->model, path) : ZF_ENOMEM;
  free(path);
  return rc;
}

static int save(const struct replay_task *task) {
  if (!task->asked->out) return 0;
  if (zf_exists(task->asked->out) &&
      (!zf_is_dir(task->asked->out) || zf_dir_empty(task->asked->out) != 1))
    return zf_error(ZF_EUSAGE, "--out %s exists: name a new directory", task->asked->out);
  if (task->adapter) return zf_adapter_file_write_peft(task->adapter, task->asked->out, NULL, 0);
  if (zf_gguf_is_trained(task->model)) return save_gguf(task);
  return zf_model_save(task->model, task->asked->out, task->dtype, NULL, 0);
}

static void print_json(const struct replay_task *task) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf,
                "{\"step\": %lld, \"steps\": %lld, \"from\": %lld, \"replayed\": %lld, "
                "\"hash\": \"%s\", \"seconds\": %.3f",
                (long long)task->to, (long long)task->history.count, (long long)task->from,
                (long long)task->replayed, task->hash, task->seconds);
  if (task->asked->verify) zf_buf_printf(&buf, ", \"verified\": %lld", (long long)task->checked);
  if (task->asked->out) {
    zf_buf_puts(&buf, ", \"out\": ");
    zc_json_text(&buf, task->asked->out, strlen(task->asked->out));
  }
  printf("%s}\n", buf.data ? buf.data : "");
  zf_buf_free(&buf);
}

static void print(const struct replay_task *task) {
  printf("step       %lld of %lld, %lld replayed from %s%lld in %.2f s\n", (long long)task->to,
         (long long)task->history.count, (long long)task->replayed,
         task->from ? "the state of step " : "step ", (long long)task->from, task->seconds);
  printf("weights    %s\n", task->hash);
  if (task->asked->verify)
    printf("verified   %lld logged hash%s of the run's own weights\n", (long long)task->checked,
           task->checked == 1 ? "" : "es");
  if (task->asked->out)
    printf("%s    %s\n", task->adapter ? "adapter" : "model  ", task->asked->out);
}

/* The adapter with which the run of this log began: as given, or beside the log. */
static int find_start(char **start, const char *given, const char *log) {
  const char *slash = strrchr(log, '/');
  char *dir = given ? NULL : slash ? zf_strndup(log, (size_t)(slash - log)) : zf_strdup(".");
  *start = given ? zf_strdup(given) : NULL;
  if (dir) *start = zf_run_adapter_start(dir);
  free(dir);
  return *start ? 0 : ZF_ENOMEM;
}

int zc_replay_log(const struct zc_replay_options *options, const char *path, const char *base,
                  const char *dir) {
  struct replay_task task = {.asked = options, .dir = dir};
  char *model = NULL, *start = NULL;
  int rc = zf_history_load(&task.history, path);
  if (!rc) rc = read_options(&task);
  if (!rc) rc = choose_step(&task, !dir);
  if (!rc) rc = zf_model_find(&model, base);
  if (!rc) rc = find_start(&start, options->start, path);
  if (!rc) rc = zf_replay_open(&task.model, model, &task.history, start, &task.adapter);
  if (!rc) zc_warn_model(task.model);
  if (!rc) rc = replay(&task);
  if (!rc) rc = save(&task);
  if (!rc) (zc_common.json ? print_json : print)(&task);
  zf_model_free(task.model);
  zf_history_free(&task.history);
  free(start);
  free(model);
  return rc;
}
