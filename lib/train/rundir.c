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

char *zf_rundir_path(const struct zf_rundir *d, const char *name) {
  return zf_path_join(d->path, name);
}

static int remove_file(const char *path) {
  if (!unlink(path) || errno == ENOENT) return 0;
  return zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

int zf_rundir_prune(const struct zf_rundir *d, int64_t keep) {
  int rc = 0;
  for (int k = 0; !rc && k < ZF_STATE_KINDS; k++)
    rc = zf_states_prune(d->path, (enum zf_state_kind)k, keep);
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
  for (struct dirent *e; h && (e = readdir(h));) {
    char *p = is_leftover(e->d_name, ours) ? zf_path_join(dir, e->d_name) : NULL;
    if (p) unlink(p);
    free(p);
  }
  if (h) closedir(h);
}

/* checkpoints/.best and .step-N, that were being written. */
static void sweep_checkpoints(const char *dir) {
  DIR *h = dir ? opendir(dir) : NULL;
  for (struct dirent *e; h && (e = readdir(h));) {
    const char *name = e->d_name + 1;
    int ours = e->d_name[0] == '.' &&
               (!strcmp(name, "best") || zf_state_step(ZF_STATE_CHECKPOINT, name) >= 0);
    char *p = ours ? zf_path_join(dir, e->d_name) : NULL;
    if (p) zf_state_remove_dir(p);
    free(p);
  }
  if (h) closedir(h);
}

static void sweep(const struct zf_rundir *d) {
  char *keyframes = zf_rundir_path(d, zf_state_folder(ZF_STATE_KEYFRAME));
  char *checkpoints = zf_rundir_path(d, zf_state_folder(ZF_STATE_CHECKPOINT));
  sweep_files(d->path, is_run_file);
  sweep_files(keyframes, is_keyframe);
  sweep_checkpoints(checkpoints);
  zf_error_clear();
  free(keyframes);
  free(checkpoints);
}

/* Files of an earlier run's model: those of the next one may have other names. */
static int clear_beside(const struct zf_rundir *d) {
  DIR *h = opendir(d->path);
  int rc = 0;
  for (struct dirent *e; !rc && h && (e = readdir(h));) {
    int ours = is_run_file(e->d_name) && strcmp(e->d_name, "run.json") != 0;
    char *p = ours ? zf_rundir_path(d, e->d_name) : NULL;
    if (ours) rc = p ? remove_file(p) : ZF_ENOMEM;
    free(p);
  }
  if (h) closedir(h);
  return rc;
}

/* What an earlier run left: known files alone, never a directory's whole content.  run.json, which
 * says that the directory is a run's, comes last. */
static int clear_run(const struct zf_rundir *d) {
  static const char *const files[] = {"save", "stop", "run.json"};
  char *best = zf_rundir_path(d, "checkpoints/best");
  int rc = best ? zf_rundir_prune(d, 0) : ZF_ENOMEM;
  if (!rc) rc = zf_state_remove_dir(best);
  free(best);
  if (!rc) sweep(d);
  if (!rc) rc = clear_beside(d);
  for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++) {
    char *p = zf_rundir_path(d, files[i]);
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

int zf_rundir_apart(const struct zf_run *r) {
  const struct zf_model *m = r->model;
  char *dir = realpath(r->set.output_dir, NULL);
  if (!dir) return 0; /* not there yet: nothing lies in it */
  int in = lies_in(m->dir, dir);
  for (int i = 0; !in && i < m->st->nfile; i++) in = lies_in(m->st->path[i], dir);
  free(dir);
  if (!in) return 0;
  return zf_conf_error(r->conf, "output_dir",
                       "the base model %s lies in the output_dir %s: the run would write over it; "
                       "name another output_dir",
                       m->dir, r->set.output_dir);
}

/* "a run that is interrupted at step 12", for a directory that is taken. */
static void describe_run(const char *dir, char *out, size_t size) {
  char *path = zf_path_join(dir, "run.json");
  json_t *o = NULL;
  const char *status = "of unknown state";
  if (path && !zf_json_load(&o, path)) zf_json_str(&status, o, "status", path);
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
  json_decref(o);
  free(path);
}

static int is_status(const char *name) {
  return !strcmp(name, "run.json");
}

/* Is there nothing, or nothing but the first run.json of a run that was killed while writing it? */
static int nothing_there(const struct zf_rundir *d) {
  DIR *h = opendir(d->path);
  int nothing = h != NULL;
  for (struct dirent *e; nothing && (e = readdir(h));)
    nothing =
        !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || is_leftover(e->d_name, is_status);
  if (h) closedir(h);
  if (nothing) sweep_files(d->path, is_status);
  return nothing;
}

static int take_place(const struct zf_rundir *d, const struct zf_run *r, int over) {
  int empty = nothing_there(d) ? 1 : zf_dir_empty(d->path);
  if (empty) return empty < 0 ? empty : 0;
  char *mark = zf_rundir_path(d, "run.json"), text[256] = "it holds no run of zoft: name another "
                                                          "directory";
  int ours = mark && zf_exists(mark);
  free(mark);
  if (ours && over) return clear_run(d);
  if (ours) describe_run(d->path, text, sizeof text);
  return zf_conf_error(r->conf, "output_dir", "%s is not empty: %s", d->path, text);
}

static int open_metrics(struct zf_rundir *d) {
  char *path = zf_rundir_path(d, "metrics.jsonl");
  int rc = path ? 0 : ZF_ENOMEM;
  if (path && (d->metrics = zf_open_fd(path, O_WRONLY | O_CREAT | O_APPEND)) < 0)
    rc = zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(errno));
  free(path);
  return rc;
}

static int begin(struct zf_rundir *d, const struct zf_run *r) {
  *d = (struct zf_rundir){.path = zf_strdup(r->set.output_dir), .metrics = -1};
  return d->path ? 0 : ZF_ENOMEM;
}

int zf_rundir_open(struct zf_rundir *d, const struct zf_run *r, const struct zf_outcome *o,
                   int over) {
  int rc = begin(d, r);
  if (!rc) rc = take_place(d, r, over);
  if (!rc) rc = zf_rundir_status(d, r, o);
  if (!rc) rc = zf_run_config_write(r->conf, d->path);
  if (!rc) rc = zf_model_save_sidecars(r->model, d->path, r->set.save_dtype);
  if (!rc) rc = open_metrics(d);
  if (rc) zf_rundir_close(d);
  return rc;
}

int zf_rundir_reopen(struct zf_rundir *d, const struct zf_run *r, const char *lines, size_t len) {
  char *path = NULL;
  int rc = begin(d, r);
  if (!rc) sweep(d);
  if (!rc) rc = (path = zf_rundir_path(d, "metrics.jsonl")) ? 0 : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, lines, len);
  if (!rc) rc = zf_run_config_write(r->conf, d->path);
  if (!rc) rc = zf_model_save_sidecars(r->model, d->path, r->set.save_dtype);
  if (!rc) rc = open_metrics(d);
  free(path);
  if (rc) zf_rundir_close(d);
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

void zf_rundir_close(struct zf_rundir *d) {
  if (d->path && d->metrics >= 0) close(d->metrics);
  free(d->path);
  *d = (struct zf_rundir){.metrics = -1};
}

int zf_rundir_metrics(struct zf_rundir *d, const char *line) {
  struct zf_buf b = {0};
  zf_buf_printf(&b, "%s\n", line);
  int rc = zf_buf_ok(&b), err = rc ? 0 : zf_write_all(d->metrics, b.data, b.len);
  zf_buf_free(&b);
  if (err) rc = zf_error(ZF_EIO, "%s/metrics.jsonl: cannot write: %s", d->path, strerror(err));
  return rc;
}

static void metrics_member(struct zf_buf *b, const char *name, const struct zf_metrics *m) {
  if (!m->examples) return;
  zf_buf_printf(b, ",\n  \"%s\": {", name);
  zf_metrics_json(b, m);
  zf_buf_puts(b, "}");
}

int zf_rundir_status(const struct zf_rundir *d, const struct zf_run *r,
                     const struct zf_outcome *o) {
  struct zf_buf b = {0};
  char names[96], *path = zf_rundir_path(d, "run.json");
  const struct zf_forecast *f = &r->forecast;
  zf_buf_printf(&b, "{\n  \"zoft\": \"%s\",\n  \"status\": \"%s\",\n  \"step\": %lld,\n",
                ZF_VERSION, o->status, (long long)o->step);
  zf_buf_printf(&b, "  \"steps\": %lld,\n  \"best_step\": %lld,\n  \"seed\": %llu,\n",
                (long long)r->steps, (long long)o->best_step, (unsigned long long)r->set.seed);
  zf_buf_printf(&b, "  \"seconds\": %.3f,\n  \"cpu\": \"%s\",\n  \"cpu_flags\": \"%s\",\n",
                o->seconds, zf_cpu_brand(), zf_cpu_names(names, zf_cpu_flags()));
  zf_buf_printf(&b, "  \"compute\": \"%s\",\n  \"kernels\": \"%s\",\n  \"zo_eps\": %.9g,\n",
                zf_compute_name(r->set.compute), zf_kern_name(r->set.compute), r->set.zo.eps);
  zf_buf_printf(&b, "  \"method\": \"%s\",\n", zf_method_info(r->set.method)->name);
  zf_buf_printf(&b, "  \"threads\": %d,\n  \"noise\": %d,\n", zf_kern_nthreads(), ZF_NOISE_ID);
  zf_buf_printf(&b, "  \"base_hash\": \"%s\",\n  \"data_hash\": \"%s\",\n", r->base_hash,
                r->data.hash);
  zf_buf_printf(&b, "  \"parameters\": %lld,\n  \"trained_parameters\": %lld,\n",
                (long long)zf_params_count(&r->model->params, 0),
                (long long)zf_params_count(&r->model->params, 1));
  zf_buf_printf(&b, "  \"gradient_bytes\": %lld,\n  \"optimizer_bytes\": %lld,\n",
                (long long)f->gradients, (long long)f->optimizer);
  zf_buf_printf(&b, "  \"weights_bytes\": %lld,\n  \"activation_bytes\": %lld,\n",
                (long long)f->weights, (long long)f->activations);
  zf_buf_printf(&b, "  \"forecast_bytes\": %lld,\n  \"forecast_bound_bytes\": %lld,\n",
                (long long)f->total, (long long)f->bound);
  zf_buf_printf(&b, "  \"peak_rss_bytes\": %lld", (long long)zf_peak_rss());
  metrics_member(&b, "dev_start", &o->start);
  metrics_member(&b, "dev_best", &o->best);
  metrics_member(&b, "dev_end", &o->end);
  metrics_member(&b, "test_start", &o->test_start);
  metrics_member(&b, "test_end", &o->test_end);
  zf_buf_puts(&b, "\n}\n");
  int rc = path ? zf_buf_ok(&b) : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, b.data, b.len);
  zf_buf_free(&b);
  free(path);
  return rc;
}

/* Saved under a name that no reader looks at, then renamed: a checkpoint is whole or absent. */
int zf_rundir_checkpoint(const struct zf_rundir *d, const struct zf_run *r, const char *name,
                         const struct zf_provenance *stamp) {
  char *tmp = zf_asprintf("%s/checkpoints/.%s", d->path, name);
  char *path = zf_asprintf("%s/checkpoints/%s", d->path, name);
  char *parent = zf_rundir_path(d, "checkpoints");
  struct zf_provenance_text t;
  zf_provenance_pairs(&t, stamp);
  int rc = tmp && path && parent ? zf_state_remove_dir(tmp) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save(r->model, tmp, -1, t.pair, ZF_PROVENANCE_PAIRS);
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

int zf_rundir_keyframe(const struct zf_rundir *d, const struct zf_run *r,
                       const struct zf_provenance *stamp) {
  char *dir = zf_rundir_path(d, zf_state_folder(ZF_STATE_KEYFRAME));
  char *path = zf_state_path(d->path, ZF_STATE_KEYFRAME, stamp->step);
  struct zf_provenance_text t;
  zf_provenance_pairs(&t, stamp);
  int rc = dir && path ? zf_mkdirs(dir) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save_trained(r->model, path, t.pair, ZF_PROVENANCE_PAIRS);
  free(path);
  free(dir);
  return rc;
}

int zf_rundir_asked(const struct zf_rundir *d, const char *name) {
  char *p = zf_rundir_path(d, name);
  int there = p && unlink(p) == 0;
  free(p);
  return there;
}
