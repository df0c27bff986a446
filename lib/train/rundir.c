#include "train/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "model/gguf_result.h"
#include "train/run_config.h"
#include "train/states.h"

char *zf_rundir_path(const struct zf_rundir *dir, const char *name) {
  return zf_path_join(dir->path, name);
}

static int remove_file(const char *path) {
  if (!unlink(path) || errno == ENOENT) return 0;
  return zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

int zf_rundir_prune(const struct zf_rundir *dir, int64_t keep) {
  for (int i = 0; i < ZF_STATE_KINDS; i++) {
    int rc = zf_states_prune(dir->path, (enum zf_state_kind)i, keep);
    if (rc) return rc;
  }
  return 0;
}

/* --- leftovers of a killed process: NAME.tmp.PID, and checkpoints/.NAME --- */

static const char *const run_files[] = {"run.json",
                                        "config.yaml",
                                        "metrics.jsonl",
                                        "steps.log",
                                        "steps.log.new",
                                        "config.json",
                                        "model.safetensors",
                                        "adapter_model.safetensors",
                                        "adapter_config.json",
                                        "model.gguf",
                                        "export.gguf",
                                        "teacher.bin"};
enum { RUN_FILES = sizeof run_files / sizeof *run_files };

/* A file that a run writes into its directory. */
static int is_run_file(const char *name) {
  for (int i = 0; i < RUN_FILES; i++)
    if (!strcmp(name, run_files[i])) return 1;
  return zf_sidecars_is(name);
}

static int is_keyframe(const char *name) {
  return zf_state_step(ZF_STATE_KEYFRAME, name) >= 0;
}

/* 1 for NAME.tmp.DIGITS where is_written(NAME). */
static int is_leftover(const char *name, int (*is_written)(const char *name)) {
  const char *tmp = strstr(name, ".tmp.");
  char full_name[256];
  if (!tmp || !tmp[5] || strspn(tmp + 5, "0123456789") != strlen(tmp + 5)) return 0;
  snprintf(full_name, sizeof full_name, "%.*s", (int)(tmp - name), name);
  return is_written(full_name);
}

/* dir: NULL or a folder that need not exist. */
static void remove_leftovers(const char *dir, int (*is_written)(const char *name)) {
  DIR *stream = dir ? opendir(dir) : NULL;
  if (!stream) return;
  for (struct dirent *entry; (entry = readdir(stream));) {
    if (!is_leftover(entry->d_name, is_written)) continue;
    char *path = zf_path_join(dir, entry->d_name);
    if (path) unlink(path);
    free(path);
  }
  closedir(stream);
}

/* Removes checkpoints/.best and .step-N, whose writing was interrupted. */
static void remove_unfinished_checkpoints(const char *dir) {
  DIR *stream = dir ? opendir(dir) : NULL;
  if (!stream) return;
  for (struct dirent *entry; (entry = readdir(stream));) {
    if (entry->d_name[0] != '.') continue;
    const char *name = entry->d_name + 1;
    if (strcmp(name, "best") != 0 && zf_state_step(ZF_STATE_CHECKPOINT, name) < 0) continue;
    char *path = zf_path_join(dir, entry->d_name);
    if (path) zf_state_remove_dir(path);
    free(path);
  }
  closedir(stream);
}

static void remove_all_leftovers(const struct zf_rundir *dir) {
  char *keyframes = zf_rundir_path(dir, zf_state_folder(ZF_STATE_KEYFRAME));
  char *checkpoints = zf_rundir_path(dir, zf_state_folder(ZF_STATE_CHECKPOINT));
  remove_leftovers(dir->path, is_run_file);
  remove_leftovers(keyframes, is_keyframe);
  remove_unfinished_checkpoints(checkpoints);
  zf_error_clear();
  free(keyframes);
  free(checkpoints);
}

static int remove_named(const struct zf_rundir *dir, const char *name) {
  char *path = zf_rundir_path(dir, name);
  int rc = path ? remove_file(path) : ZF_ENOMEM;
  free(path);
  return rc;
}

/* Removes the files of an earlier run except run.json; the next run may not overwrite all of them. */
static int remove_run_files(const struct zf_rundir *dir) {
  DIR *stream = opendir(dir->path);
  int rc = 0;
  if (!stream) return 0;
  for (struct dirent *entry; (entry = readdir(stream));) {
    if (!is_run_file(entry->d_name) || !strcmp(entry->d_name, "run.json")) continue;
    if ((rc = remove_named(dir, entry->d_name))) break;
  }
  closedir(stream);
  return rc;
}

/* Removes an earlier run: known files only, never the whole contents of a directory.  run.json, which
 * marks the directory as a run's, comes last. */
static int clear_run(const struct zf_rundir *dir) {
  static const char *const files[] = {"save", "stop", "run.json"};
  char *best = zf_rundir_path(dir, "checkpoints/best");
  char *start = zf_run_adapter_start(dir->path);
  int rc = best && start ? zf_rundir_prune(dir, 0) : ZF_ENOMEM;
  if (!rc) rc = zf_state_remove_dir(best);
  if (!rc) rc = zf_state_remove_dir(start);
  free(start);
  free(best);
  if (rc) return rc;
  remove_all_leftovers(dir);
  if ((rc = remove_run_files(dir))) return rc;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if ((rc = remove_named(dir, files[i]))) return rc;
  return 0;
}

/* --- opening the directory --- */

int zf_rundir_lock(int *fd, const char *path) {
  int rc = zf_mkdirs(path);
  *fd = -1;
  if (rc) return rc;
  *fd = zf_open_fd(path, O_RDONLY | O_DIRECTORY);
  if (*fd < 0) return zf_error(ZF_EIO, "%s: cannot open: %s", path, strerror(errno));
  /* Some file systems have no locks: the run then continues without one. */
  if (!flock(*fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return 0;
  zf_rundir_unlock(fd);
  return zf_error(
      ZF_EIO, "%s: another run writes there: wait for its end, or name another output_dir", path);
}

void zf_rundir_unlock(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* 1 where `path`, links resolved, is the directory `dir` (resolved) or inside it. */
static int lies_in(const char *path, const char *dir) {
  char *real = realpath(path, NULL);
  size_t len = strlen(dir);
  int inside =
      real && !strncmp(real, dir, len) && (real[len] == 0 || real[len] == '/' || !strcmp(dir, "/"));
  free(real);
  return inside;
}

static int model_lies_in(const struct zf_model *model, const char *dir) {
  if (lies_in(model->dir, dir)) return 1;
  for (int i = 0; i < model->st->file_count; i++)
    if (lies_in(model->st->path[i], dir)) return 1;
  return 0;
}

int zf_rundir_check_base(const struct zf_run *run) {
  const struct zf_model *model = run->model;
  char *dir = realpath(run->settings.output_dir, NULL);
  if (!dir) return 0; /* it does not exist yet */
  int inside = model_lies_in(model, dir);
  free(dir);
  if (!inside) return 0;
  return zf_conf_error(run->conf, "output_dir",
                       "the base model %s lies in the output_dir %s: the run would overwrite it; "
                       "name another output_dir",
                       model->dir, run->settings.output_dir);
}

/* Describes the run in a directory that is not empty, for an error message. */
static void describe_run(const char *dir, char *out, size_t size) {
  char *path = zf_path_join(dir, "run.json");
  json_t *object = NULL;
  const char *status = "of unknown state";
  if (path && !zf_json_load(&object, path)) zf_json_str(&status, object, "status", path);
  if (!strcmp(status, "running")) status = "unfinished (running, or killed)";
  if (!strcmp(status, "finished"))
    snprintf(out, size,
             "it holds a finished run; overwrite_output_dir=true replaces it, and "
             "--resume with a larger max_steps continues it");
  else
    snprintf(out, size,
             "it holds a run that is %s; --resume continues it, "
             "overwrite_output_dir=true replaces it",
             status);
  json_decref(object);
  free(path);
}

static int has_file(const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  int exists = path && zf_exists(path);
  free(path);
  return exists;
}

int zf_rundir_has_log(const char *path) {
  return has_file(path, "steps.log");
}

int zf_rundir_begun(const char *path) {
  return has_file(path, "run.json");
}

static int is_status(const char *name) {
  return !strcmp(name, "run.json");
}

/* 1 where the directory is empty except for a half-written first run.json, which it removes. */
static int clear_unborn_run(const struct zf_rundir *dir) {
  DIR *stream = opendir(dir->path);
  int empty = 1;
  if (!stream) return 0;
  for (struct dirent *entry; (entry = readdir(stream));) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..") || is_leftover(name, is_status)) continue;
    empty = 0;
    break;
  }
  closedir(stream);
  if (empty) remove_leftovers(dir->path, is_status);
  return empty;
}

/* Makes the directory empty; overwrite: removes an earlier run. */
static int make_empty(const struct zf_rundir *dir, const struct zf_run *run, int overwrite) {
  char text[256] = "it holds no run of zoft: name another directory";
  int empty = clear_unborn_run(dir) ? 1 : zf_dir_empty(dir->path);
  if (empty) return empty < 0 ? empty : 0;
  if (zf_rundir_begun(dir->path)) {
    if (overwrite) return clear_run(dir);
    describe_run(dir->path, text, sizeof text);
  }
  return zf_conf_error(run->conf, "output_dir", "%s is not empty: %s", dir->path, text);
}

static int open_metrics(struct zf_rundir *dir) {
  char *path = zf_rundir_path(dir, "metrics.jsonl");
  int rc = path ? 0 : ZF_ENOMEM;
  if (path && (dir->metrics = zf_open_fd(path, O_WRONLY | O_CREAT | O_APPEND)) < 0)
    rc = zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(errno));
  free(path);
  return rc;
}

static int begin(struct zf_rundir *dir, const struct zf_run *run) {
  *dir = (struct zf_rundir){.path = zf_strdup(run->settings.output_dir), .metrics = -1};
  return dir->path ? 0 : ZF_ENOMEM;
}

/* Keeps the adapter with which the run begins, for resumes and replays. */
static int write_adapter(const struct zf_rundir *dir, const struct zf_run *run) {
  char *path = zf_run_adapter_start(dir->path);
  int rc = path ? zf_mkdirs(path) : ZF_ENOMEM;
  if (!rc) rc = zf_adapter_file_write_peft(run->adapter, path, NULL, 0);
  free(path);
  return rc;
}

/* The files beside the weights of the result; a GGUF file holds all of them itself. */
static int write_sidecars(const struct zf_rundir *dir, const struct zf_run *run) {
  if (run->adapter) return write_adapter(dir, run);
  if (zf_gguf_is_trained(run->model)) return 0;
  return zf_model_save_sidecars(run->model, dir->path, run->settings.save_dtype);
}

/* Writes the files that a run starts with, and opens metrics.jsonl. */
static int write_start(struct zf_rundir *dir, struct zf_run *run) {
  int rc;
  if ((rc = zf_run_config_write(run->conf, dir->path))) return rc;
  if ((rc = write_sidecars(dir, run))) return rc;
  if ((rc = zf_run_keep_teacher(run, dir->path))) return rc;
  return open_metrics(dir);
}

int zf_rundir_open(struct zf_rundir *dir, struct zf_run *run, const struct zf_outcome *outcome,
                   int overwrite) {
  int rc = begin(dir, run);
  if (!rc) rc = make_empty(dir, run, overwrite);
  if (!rc) rc = zf_rundir_status(dir, run, outcome);
  if (!rc) rc = write_start(dir, run);
  if (rc) zf_rundir_close(dir);
  return rc;
}

static int replace_metrics(const struct zf_rundir *dir, const char *lines, size_t len) {
  char *path = zf_rundir_path(dir, "metrics.jsonl");
  int rc = path ? zf_write_file(path, lines, len) : ZF_ENOMEM;
  free(path);
  return rc;
}

int zf_rundir_reopen(struct zf_rundir *dir, struct zf_run *run, const char *lines, size_t len) {
  int rc = begin(dir, run);
  if (!rc) {
    remove_all_leftovers(dir);
    rc = replace_metrics(dir, lines, len);
  }
  if (!rc) rc = write_start(dir, run);
  if (rc) zf_rundir_close(dir);
  return rc;
}

void zf_rundir_close(struct zf_rundir *dir) {
  if (dir->path && dir->metrics >= 0) close(dir->metrics);
  free(dir->path);
  *dir = (struct zf_rundir){.metrics = -1};
}

int zf_rundir_metrics(struct zf_rundir *dir, const char *line) {
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "%s\n", line);
  int rc = zf_buf_ok(&buf), err = rc ? 0 : zf_write_all(dir->metrics, buf.data, buf.len);
  zf_buf_free(&buf);
  if (err) rc = zf_error(ZF_EIO, "%s/metrics.jsonl: cannot write: %s", dir->path, strerror(err));
  return rc;
}

static void metrics_member(struct zf_buf *buf, const char *name, const struct zf_metrics *metrics) {
  if (!metrics->examples) return;
  zf_buf_printf(buf, ",\n  \"%s\": {", name);
  zf_metrics_json(buf, metrics);
  zf_buf_puts(buf, "}");
}

void zf_rundir_probe_json(struct zf_buf *buf, const struct zf_probe_report *probe) {
  zf_buf_printf(buf,
                "\"examples\": %lld, \"left_out\": %lld, \"passes\": %lld, \"penalty\": %.17g, "
                "\"relative_penalty\": %.17g, \"own\": %.17g, \"ridge\": %.17g, ",
                (long long)probe->examples, (long long)probe->held, (long long)probe->passes,
                probe->penalty, probe->relative, probe->own, probe->ridge);
  zf_buf_printf(buf,
                "\"loss\": %.17g, \"loss_before\": %.17g, \"accuracy\": %.17g, "
                "\"accuracy_before\": %.17g, \"seconds\": %.3f",
                probe->loss, probe->loss_before, probe->accuracy, probe->accuracy_before,
                probe->seconds);
}

int zf_rundir_status(const struct zf_rundir *dir, const struct zf_run *run,
                     const struct zf_outcome *outcome) {
  struct zf_buf buf = {0};
  char names[96], *path = zf_rundir_path(dir, "run.json");
  const struct zf_forecast *forecast = &run->forecast;
  zf_buf_printf(&buf, "{\n  \"zoft\": \"%s\",\n  \"status\": \"%s\",\n  \"step\": %lld,\n",
                ZF_VERSION, outcome->status, (long long)outcome->step);
  zf_buf_printf(&buf, "  \"steps\": %lld,\n  \"best_step\": %lld,\n  \"seed\": %llu,\n",
                (long long)run->steps, (long long)outcome->best_step,
                (unsigned long long)run->settings.seed);
  zf_buf_printf(&buf, "  \"seconds\": %.3f,\n  \"cpu\": \"%s\",\n  \"cpu_flags\": \"%s\",\n",
                outcome->seconds, zf_cpu_brand(), zf_cpu_names(names, zf_cpu_flags()));
  zf_buf_printf(&buf, "  \"compute\": \"%s\",\n  \"kernels\": \"%s\",\n  \"zo_eps\": %.9g,\n",
                zf_compute_name(run->settings.compute), zf_kern_name(run->settings.compute),
                run->settings.zo.eps);
  zf_buf_printf(&buf, "  \"method\": \"%s\",\n", zf_method_info(run->settings.method)->name);
  zf_buf_printf(&buf, "  \"threads\": %d,\n  \"noise\": %d,\n", zf_kern_nthreads(), ZF_NOISE_ID);
  zf_buf_printf(&buf, "  \"base_hash\": \"%s\",\n  \"data_hash\": \"%s\",\n", run->base_hash,
                run->data.hash);
  zf_buf_printf(&buf, "  \"parameters\": %lld,\n  \"trained_parameters\": %lld,\n",
                (long long)zf_params_count(&run->model->params, 0),
                (long long)zf_params_count(&run->model->params, 1));
  zf_buf_printf(&buf, "  \"gradient_bytes\": %lld,\n  \"optimizer_bytes\": %lld,\n",
                (long long)forecast->gradients, (long long)forecast->optimizer);
  zf_buf_printf(&buf, "  \"weights_bytes\": %lld,\n  \"activation_bytes\": %lld,\n",
                (long long)forecast->weights, (long long)forecast->activations);
  zf_buf_printf(&buf, "  \"forecast_bytes\": %lld,\n  \"forecast_bound_bytes\": %lld,\n",
                (long long)forecast->total, (long long)forecast->bound);
  zf_buf_printf(&buf, "  \"peak_rss_bytes\": %lld", (long long)zf_peak_rss());
  metrics_member(&buf, "dev_start", &outcome->start);
  metrics_member(&buf, "dev_best", &outcome->best);
  metrics_member(&buf, "dev_end", &outcome->end);
  metrics_member(&buf, "test_start", &outcome->test_start);
  metrics_member(&buf, "test_end", &outcome->test_end);
  if (outcome->probe.examples) {
    zf_buf_puts(&buf, ",\n  \"probe\": {");
    zf_rundir_probe_json(&buf, &outcome->probe);
    zf_buf_puts(&buf, "}");
  }
  zf_buf_puts(&buf, "\n}\n");
  int rc = path ? zf_buf_ok(&buf) : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, buf.data, buf.len);
  zf_buf_free(&buf);
  free(path);
  return rc;
}

/* Saves under a name that no reader uses, then renames: a checkpoint is complete or absent. */
int zf_rundir_checkpoint(const struct zf_rundir *dir, const struct zf_run *run, const char *name,
                         const struct zf_provenance *provenance) {
  char *tmp = zf_asprintf("%s/checkpoints/.%s", dir->path, name);
  char *path = zf_asprintf("%s/checkpoints/%s", dir->path, name);
  char *parent = zf_rundir_path(dir, "checkpoints");
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, provenance);
  int rc = tmp && path && parent ? zf_state_remove_dir(tmp) : ZF_ENOMEM;
  if (!rc) rc = zf_run_checkpoint(run, tmp, text.pair, ZF_PROVENANCE_PAIRS);
  if (!rc) rc = zf_state_replace_dir(tmp, path);
  if (!rc) rc = zf_sync_dir(parent);
  if (rc && tmp) {
    char message[512];
    snprintf(message, sizeof message, "%s", zf_error_message());
    zf_state_remove_dir(tmp);
    zf_error(rc, "%s", message);
  }
  free(parent);
  free(path);
  free(tmp);
  return rc;
}

int zf_rundir_keyframe(const struct zf_rundir *dir, const struct zf_run *run,
                       const struct zf_provenance *provenance) {
  char *folder = zf_rundir_path(dir, zf_state_folder(ZF_STATE_KEYFRAME));
  char *path = zf_state_path(dir->path, ZF_STATE_KEYFRAME, provenance->step);
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, provenance);
  int rc = folder && path ? zf_mkdirs(folder) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save_trained(run->model, path, text.pair, ZF_PROVENANCE_PAIRS);
  free(path);
  free(folder);
  return rc;
}

int zf_rundir_requested(const struct zf_rundir *dir, const char *name) {
  char *path = zf_rundir_path(dir, name);
  int removed = path && unlink(path) == 0;
  free(path);
  return removed;
}
