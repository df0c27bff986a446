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
  int rc = 0;
  for (int k = 0; !rc && k < ZF_STATE_KINDS; k++)
    rc = zf_states_prune(dir->path, (enum zf_state_kind)k, keep);
  return rc;
}

/* --- what a process that was killed left behind: NAME.tmp.PID, and checkpoints/.NAME --- */

static const char *const run_files[] = {"run.json",         "config.yaml",   "metrics.jsonl",
                                        "steps.log",        "steps.log.new", "config.json",
                                        "model.safetensors"};
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

/* NAME.tmp.DIGITS of a name that is ours. */
static int is_leftover(const char *name, int (*ours)(const char *name)) {
  const char *tmp = strstr(name, ".tmp.");
  char whole[256];
  if (!tmp || !tmp[5] || strspn(tmp + 5, "0123456789") != strlen(tmp + 5)) return 0;
  snprintf(whole, sizeof whole, "%.*s", (int)(tmp - name), name);
  return ours(whole);
}

static void sweep_files(const char *dir, int (*ours)(const char *name)) {
  DIR *h = dir ? opendir(dir) : NULL;
  for (struct dirent *entry; h && (entry = readdir(h));) {
    char *p = is_leftover(entry->d_name, ours) ? zf_path_join(dir, entry->d_name) : NULL;
    if (p) unlink(p);
    free(p);
  }
  if (h) closedir(h);
}

/* checkpoints/.best and .step-N, that were being written. */
static void sweep_checkpoints(const char *dir) {
  DIR *h = dir ? opendir(dir) : NULL;
  for (struct dirent *entry; h && (entry = readdir(h));) {
    const char *name = entry->d_name + 1;
    int ours = entry->d_name[0] == '.' &&
               (!strcmp(name, "best") || zf_state_step(ZF_STATE_CHECKPOINT, name) >= 0);
    char *p = ours ? zf_path_join(dir, entry->d_name) : NULL;
    if (p) zf_state_remove_dir(p);
    free(p);
  }
  if (h) closedir(h);
}

static void sweep(const struct zf_rundir *dir) {
  char *keyframes = zf_rundir_path(dir, zf_state_folder(ZF_STATE_KEYFRAME));
  char *checkpoints = zf_rundir_path(dir, zf_state_folder(ZF_STATE_CHECKPOINT));
  sweep_files(dir->path, is_run_file);
  sweep_files(keyframes, is_keyframe);
  sweep_checkpoints(checkpoints);
  zf_error_clear();
  free(keyframes);
  free(checkpoints);
}

/* Files of an earlier run's model: those of the next one may have other names. */
static int clear_beside(const struct zf_rundir *dir) {
  DIR *h = opendir(dir->path);
  int rc = 0;
  for (struct dirent *entry; !rc && h && (entry = readdir(h));) {
    int ours = is_run_file(entry->d_name) && strcmp(entry->d_name, "run.json") != 0;
    char *p = ours ? zf_rundir_path(dir, entry->d_name) : NULL;
    if (ours) rc = p ? remove_file(p) : ZF_ENOMEM;
    free(p);
  }
  if (h) closedir(h);
  return rc;
}

/* What an earlier run left: known files alone, never a directory's whole content.  run.json, which
 * says that the directory is a run's, comes last. */
static int clear_run(const struct zf_rundir *dir) {
  static const char *const files[] = {"save", "stop", "run.json"};
  char *best = zf_rundir_path(dir, "checkpoints/best");
  int rc = best ? zf_rundir_prune(dir, 0) : ZF_ENOMEM;
  if (!rc) rc = zf_state_remove_dir(best);
  free(best);
  if (!rc) sweep(dir);
  if (!rc) rc = clear_beside(dir);
  for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++) {
    char *p = zf_rundir_path(dir, files[i]);
    rc = p ? remove_file(p) : ZF_ENOMEM;
    free(p);
  }
  return rc;
}

/* --- taking the directory --- */

int zf_rundir_lock(int *fd, const char *path) {
  int rc = zf_mkdirs(path);
  *fd = -1;
  if (rc) return rc;
  *fd = zf_open_fd(path, O_RDONLY | O_DIRECTORY);
  if (*fd < 0) return zf_error(ZF_EIO, "%s: cannot open: %s", path, strerror(errno));
  /* Some file systems have no locks: there the run goes on without. */
  if (!flock(*fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return 0;
  zf_rundir_unlock(fd);
  return zf_error(ZF_EIO,
                  "%s: another run is writing there: wait for its end, or name another output_dir",
                  path);
}

void zf_rundir_unlock(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Is `path`, links resolved, the directory `dir` (resolved) or inside it? */
static int lies_in(const char *path, const char *dir) {
  char *real = realpath(path, NULL);
  size_t n = strlen(dir);
  int in = real && !strncmp(real, dir, n) && (real[n] == 0 || real[n] == '/' || !strcmp(dir, "/"));
  free(real);
  return in;
}

int zf_rundir_apart(const struct zf_run *run) {
  const struct zf_model *model = run->model;
  char *dir = realpath(run->set.output_dir, NULL);
  if (!dir) return 0; /* not there yet: nothing lies in it */
  int in = lies_in(model->dir, dir);
  for (int i = 0; !in && i < model->st->nfile; i++) in = lies_in(model->st->path[i], dir);
  free(dir);
  if (!in) return 0;
  return zf_conf_error(run->conf, "output_dir",
                       "the base model %s lies in the output_dir %s: the run would write over it; "
                       "name another output_dir",
                       model->dir, run->set.output_dir);
}

/* "a run that is interrupted at step 12", for a directory that is taken. */
static void describe_run(const char *dir, char *out, size_t size) {
  char *path = zf_path_join(dir, "run.json");
  json_t *object = NULL;
  const char *status = "of unknown state";
  if (path && !zf_json_load(&object, path)) zf_json_str(&status, object, "status", path);
  int going = !strcmp(status, "running"); /* or killed: run.json does not know */
  if (!strcmp(status, "finished"))
    snprintf(out, size,
             "it holds a finished run; overwrite_output_dir=true replaces it, and "
             "--resume with a larger max_steps goes on");
  else
    snprintf(out, size,
             "it holds a run that is %s%s; --resume goes on with it, "
             "overwrite_output_dir=true replaces it",
             going ? "unfinished" : status, going ? " (running, or killed)" : "");
  json_decref(object);
  free(path);
}

static int is_status(const char *name) {
  return !strcmp(name, "run.json");
}

/* Is there nothing, or nothing but the first run.json of a run that was killed while writing it? */
static int nothing_there(const struct zf_rundir *dir) {
  DIR *h = opendir(dir->path);
  int nothing = h != NULL;
  for (struct dirent *entry; nothing && (entry = readdir(h));)
    nothing = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
              is_leftover(entry->d_name, is_status);
  if (h) closedir(h);
  if (nothing) sweep_files(dir->path, is_status);
  return nothing;
}

static int take_place(const struct zf_rundir *dir, const struct zf_run *run, int over) {
  int empty = nothing_there(dir) ? 1 : zf_dir_empty(dir->path);
  if (empty) return empty < 0 ? empty : 0;
  char *mark = zf_rundir_path(dir, "run.json"), text[256] = "it holds no run of zoft: name another "
                                                            "directory";
  int ours = mark && zf_exists(mark);
  free(mark);
  if (ours && over) return clear_run(dir);
  if (ours) describe_run(dir->path, text, sizeof text);
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
  *dir = (struct zf_rundir){.path = zf_strdup(run->set.output_dir), .metrics = -1};
  return dir->path ? 0 : ZF_ENOMEM;
}

int zf_rundir_open(struct zf_rundir *dir, const struct zf_run *run,
                   const struct zf_outcome *outcome, int over) {
  int rc = begin(dir, run);
  if (!rc) rc = take_place(dir, run, over);
  if (!rc) rc = zf_rundir_status(dir, run, outcome);
  if (!rc) rc = zf_run_config_write(run->conf, dir->path);
  if (!rc) rc = zf_model_save_sidecars(run->model, dir->path, run->set.save_dtype);
  if (!rc) rc = open_metrics(dir);
  if (rc) zf_rundir_close(dir);
  return rc;
}

int zf_rundir_reopen(struct zf_rundir *dir, const struct zf_run *run, const char *lines,
                     size_t len) {
  char *path = NULL;
  int rc = begin(dir, run);
  if (!rc) sweep(dir);
  if (!rc) rc = (path = zf_rundir_path(dir, "metrics.jsonl")) ? 0 : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, lines, len);
  if (!rc) rc = zf_run_config_write(run->conf, dir->path);
  if (!rc) rc = zf_model_save_sidecars(run->model, dir->path, run->set.save_dtype);
  if (!rc) rc = open_metrics(dir);
  free(path);
  if (rc) zf_rundir_close(dir);
  return rc;
}

static int holds(const char *path, const char *name) {
  char *file = zf_path_join(path, name);
  int there = file && zf_exists(file);
  free(file);
  return there;
}

int zf_rundir_has_log(const char *path) {
  return holds(path, "steps.log");
}

int zf_rundir_begun(const char *path) {
  return holds(path, "run.json");
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

int zf_rundir_status(const struct zf_rundir *dir, const struct zf_run *run,
                     const struct zf_outcome *outcome) {
  struct zf_buf buf = {0};
  char names[96], *path = zf_rundir_path(dir, "run.json");
  const struct zf_forecast *forecast = &run->forecast;
  zf_buf_printf(&buf, "{\n  \"zoft\": \"%s\",\n  \"status\": \"%s\",\n  \"step\": %lld,\n",
                ZF_VERSION, outcome->status, (long long)outcome->step);
  zf_buf_printf(&buf, "  \"steps\": %lld,\n  \"best_step\": %lld,\n  \"seed\": %llu,\n",
                (long long)run->steps, (long long)outcome->best_step,
                (unsigned long long)run->set.seed);
  zf_buf_printf(&buf, "  \"seconds\": %.3f,\n  \"cpu\": \"%s\",\n  \"cpu_flags\": \"%s\",\n",
                outcome->seconds, zf_cpu_brand(), zf_cpu_names(names, zf_cpu_flags()));
  zf_buf_printf(&buf, "  \"compute\": \"%s\",\n  \"kernels\": \"%s\",\n  \"zo_eps\": %.9g,\n",
                zf_compute_name(run->set.compute), zf_kern_name(run->set.compute), run->set.zo.eps);
  zf_buf_printf(&buf, "  \"method\": \"%s\",\n", zf_method_info(run->set.method)->name);
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
  zf_buf_puts(&buf, "\n}\n");
  int rc = path ? zf_buf_ok(&buf) : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, buf.data, buf.len);
  zf_buf_free(&buf);
  free(path);
  return rc;
}

/* Saved under a name that no reader looks at, then renamed: a checkpoint is whole or absent. */
int zf_rundir_checkpoint(const struct zf_rundir *dir, const struct zf_run *run, const char *name,
                         const struct zf_provenance *stamp) {
  char *tmp = zf_asprintf("%s/checkpoints/.%s", dir->path, name);
  char *path = zf_asprintf("%s/checkpoints/%s", dir->path, name);
  char *parent = zf_rundir_path(dir, "checkpoints");
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, stamp);
  int rc = tmp && path && parent ? zf_state_remove_dir(tmp) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save(run->model, tmp, -1, text.pair, ZF_PROVENANCE_PAIRS);
  if (!rc) rc = zf_state_replace_dir(tmp, path);
  if (!rc) rc = zf_sync_dir(parent);
  if (rc && tmp) {
    char said[512];
    snprintf(said, sizeof said, "%s", zf_error_message());
    zf_state_remove_dir(tmp);
    zf_error(rc, "%s", said);
  }
  free(parent);
  free(path);
  free(tmp);
  return rc;
}

int zf_rundir_keyframe(const struct zf_rundir *d, const struct zf_run *run,
                       const struct zf_provenance *stamp) {
  char *dir = zf_rundir_path(d, zf_state_folder(ZF_STATE_KEYFRAME));
  char *path = zf_state_path(d->path, ZF_STATE_KEYFRAME, stamp->step);
  struct zf_provenance_text text;
  zf_provenance_pairs(&text, stamp);
  int rc = dir && path ? zf_mkdirs(dir) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save_trained(run->model, path, text.pair, ZF_PROVENANCE_PAIRS);
  free(path);
  free(dir);
  return rc;
}

int zf_rundir_asked(const struct zf_rundir *dir, const char *name) {
  char *p = zf_rundir_path(dir, name);
  int there = p && unlink(p) == 0;
  free(p);
  return there;
}
