#include "train/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "train/steplog.h"

char *zf_rundir_path(const struct zf_rundir *d, const char *name) {
  return zf_path_join(d->path, name);
}

/* Removes a folder of plain files; folders inside are left, and then it is too. */
static int remove_dir(const char *path) {
  DIR *dir = opendir(path);
  if (!dir)
    return errno == ENOENT ? 0 : zf_error(ZF_EIO, "%s: cannot open: %s", path, strerror(errno));
  int rc = 0;
  for (struct dirent *e; !rc && (e = readdir(dir));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    char *p = zf_path_join(path, e->d_name);
    if (!p)
      rc = ZF_ENOMEM;
    else if (unlink(p))
      rc = zf_error(ZF_EIO, "%s: cannot remove: %s", p, strerror(errno));
    free(p);
  }
  closedir(dir);
  if (!rc && rmdir(path)) rc = zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
  return rc;
}

static int is_checkpoint(const char *name, long long *step) {
  char *end;
  if (strncmp(name, "step-", 5) != 0) return 0;
  *step = strtoll(name + 5, &end, 10);
  return end > name + 5 && !*end;
}

/* All checkpoints but the newest `keep`; with keep < 0 the best as well. */
static int remove_checkpoints(const struct zf_rundir *d, int64_t keep) {
  char *dir = zf_rundir_path(d, "checkpoints");
  if (!dir) return ZF_ENOMEM;
  int rc = 0;
  for (;;) {
    DIR *h = opendir(dir);
    long long step, oldest = -1;
    int64_t n = 0;
    if (!h) break;
    for (struct dirent *e; (e = readdir(h));)
      if (is_checkpoint(e->d_name, &step)) {
        n++;
        if (oldest < 0 || step < oldest) oldest = step;
      }
    closedir(h);
    if (n == 0 || n <= (keep < 0 ? 0 : keep)) break;
    char *p = zf_asprintf("%s/step-%lld", dir, oldest);
    rc = p ? remove_dir(p) : ZF_ENOMEM;
    free(p);
    if (rc) break;
  }
  char *best = keep < 0 && !rc ? zf_path_join(dir, "best") : NULL;
  if (best) rc = remove_dir(best);
  free(best);
  free(dir);
  return rc;
}

int zf_rundir_prune(const struct zf_rundir *d, int64_t keep) {
  return remove_checkpoints(d, keep);
}

/* What an earlier run left: known files alone, never a directory's whole content. */
static int clear_run(const struct zf_rundir *d) {
  static const char *const files[] = {
      "run.json", "metrics.jsonl", "steps.log", "config.yaml", "save", "stop", "model.safetensors"};
  int rc = remove_checkpoints(d, -1);
  for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++) {
    char *p = zf_rundir_path(d, files[i]);
    if (!p) return ZF_ENOMEM;
    if (unlink(p) && errno != ENOENT)
      rc = zf_error(ZF_EIO, "%s: cannot remove: %s", p, strerror(errno));
    free(p);
  }
  return rc;
}

static int take_place(const struct zf_rundir *d, const struct zf_run *r) {
  if (!zf_exists(d->path)) return zf_mkdirs(d->path);
  int empty = zf_dir_empty(d->path);
  if (empty) return empty < 0 ? empty : 0;
  char *mark = zf_rundir_path(d, "run.json");
  int ours = mark && zf_exists(mark);
  free(mark);
  if (ours && r->set.overwrite) return clear_run(d);
  return zf_conf_error(r->conf, "output_dir", "%s is not empty%s", d->path,
                       ours ? ": it holds a run; overwrite_output_dir=true replaces it"
                            : " and holds no run of zoft: name another directory");
}

int zf_rundir_open(struct zf_rundir *d, const struct zf_run *r) {
  struct zf_buf text = {0};
  char *path = NULL;
  memset(d, 0, sizeof *d);
  d->path = zf_strdup(r->set.output_dir);
  int rc = d->path ? take_place(d, r) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_dump(r->conf, &text, 0);
  if (!rc) rc = (path = zf_rundir_path(d, "config.yaml")) ? 0 : ZF_ENOMEM;
  if (!rc) rc = zf_write_file(path, text.data ? text.data : "", text.len);
  free(path);
  path = rc ? NULL : zf_rundir_path(d, "metrics.jsonl");
  if (path && !(d->metrics = fopen(path, "w")))
    rc = zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(errno));
  free(path);
  zf_buf_free(&text);
  if (rc) zf_rundir_close(d);
  return rc;
}

void zf_rundir_close(struct zf_rundir *d) {
  if (d->metrics) fclose(d->metrics);
  free(d->path);
  memset(d, 0, sizeof *d);
}

int zf_rundir_metrics(struct zf_rundir *d, const char *line) {
  if (fprintf(d->metrics, "%s\n", line) < 0 || fflush(d->metrics))
    return zf_error(ZF_EIO, "%s/metrics.jsonl: cannot write: %s", d->path, strerror(errno));
  return 0;
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
  zf_buf_printf(&b, "  \"threads\": %d,\n  \"noise\": %d,\n", zf_kern_nthreads(), ZF_NOISE_ID);
  zf_buf_printf(&b, "  \"base_hash\": \"%s\",\n  \"data_hash\": \"%s\",\n", r->base_hash,
                r->data.hash);
  zf_buf_printf(&b, "  \"parameters\": %lld,\n  \"trained_parameters\": %lld,\n",
                (long long)zf_params_count(&r->model->params, 0),
                (long long)zf_params_count(&r->model->params, 1));
  zf_buf_printf(&b, "  \"weights_bytes\": %lld,\n  \"activation_bytes\": %lld,\n",
                (long long)f->weights, (long long)f->activations);
  zf_buf_printf(&b, "  \"forecast_bytes\": %lld,\n  \"peak_rss_bytes\": %lld", (long long)f->total,
                (long long)zf_peak_rss());
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
int zf_rundir_checkpoint(const struct zf_rundir *d, const struct zf_run *r, const char *name) {
  char *tmp = zf_asprintf("%s/checkpoints/.%s", d->path, name);
  char *path = zf_asprintf("%s/checkpoints/%s", d->path, name);
  char *parent = zf_rundir_path(d, "checkpoints");
  int rc = tmp && path && parent ? remove_dir(tmp) : ZF_ENOMEM;
  if (!rc) rc = zf_model_save(r->model, tmp, -1);
  if (!rc) rc = remove_dir(path);
  if (!rc && rename(tmp, path))
    rc = zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
  if (!rc) rc = zf_sync_dir(parent);
  if (rc && tmp) {
    char said[512];
    snprintf(said, sizeof said, "%s", zf_error_message());
    remove_dir(tmp);
    zf_error(rc, "%s", said);
  }
  free(parent);
  free(path);
  free(tmp);
  return rc;
}

int zf_rundir_asked(const struct zf_rundir *d, const char *name) {
  char *p = zf_rundir_path(d, name);
  int there = p && unlink(p) == 0;
  free(p);
  return there;
}
