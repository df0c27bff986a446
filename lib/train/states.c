#include "train/states.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "model/sidecars.h"

static int is_keyframe(const char *path) {
  struct stat st;
  return !lstat(path, &st) && S_ISREG(st.st_mode);
}

static int is_checkpoint(const char *path) {
  struct stat st;
  char *weights = zf_path_join(path, "model.safetensors");
  int is = weights && !lstat(path, &st) && S_ISDIR(st.st_mode) && zf_exists(weights);
  free(weights);
  return is;
}

static int remove_file(const char *path) {
  if (!unlink(path) || errno == ENOENT) return 0;
  return zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

static const struct {
  const char *folder, *ending;
  int (*is)(const char *path); /* is the entry what the program makes there? */
  int (*remove)(const char *path);
} kinds[ZF_STATE_KINDS] = {
    [ZF_STATE_KEYFRAME] = {"keyframes", ".safetensors", is_keyframe, remove_file},
    [ZF_STATE_CHECKPOINT] = {"checkpoints", "", is_checkpoint, zf_state_remove_dir},
};

const char *zf_state_folder(enum zf_state_kind kind) {
  return kinds[kind].folder;
}

/* Canonical: the number, written again, gives the same name. */
int64_t zf_state_step(enum zf_state_kind kind, const char *name) {
  char again[64];
  if (strncmp(name, "step-", 5) != 0) return -1;
  long long step = strtoll(name + 5, NULL, 10);
  snprintf(again, sizeof again, "step-%lld%s", step, kinds[kind].ending);
  return step >= 0 && !strcmp(name, again) ? step : -1;
}

char *zf_state_path(const char *run, enum zf_state_kind kind, int64_t step) {
  return zf_asprintf("%s/%s/step-%lld%s", run, kinds[kind].folder, (long long)step,
                     kinds[kind].ending);
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int add(int64_t **step, int64_t *n, int64_t *cap, int64_t value) {
  if (*n == *cap) {
    int64_t more = *cap ? 2 * *cap : 16;
    int64_t *p = realloc(*step, (size_t)more * sizeof *p);
    if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld states", (long long)more);
    *step = p;
    *cap = more;
  }
  (*step)[(*n)++] = value;
  return 0;
}

/* Adds an entry of the folder if it is a state. */
static int look_at(int64_t **step, int64_t *n, int64_t *cap, const char *folder, const char *name,
                   enum zf_state_kind kind) {
  int64_t value = zf_state_step(kind, name);
  if (value < 0) return 0;
  char *path = zf_path_join(folder, name);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && kinds[kind].is(path)) rc = add(step, n, cap, value);
  free(path);
  return rc;
}

int zf_states_list(int64_t **step, int64_t *n, const char *run, enum zf_state_kind kind) {
  char *folder = zf_path_join(run, kinds[kind].folder);
  DIR *d = folder ? opendir(folder) : NULL;
  int64_t cap = 0;
  int rc = folder ? 0 : ZF_ENOMEM;
  *step = NULL;
  *n = 0;
  if (folder && !d && errno != ENOENT)
    rc = zf_error(ZF_EIO, "%s: cannot open: %s", folder, strerror(errno));
  for (struct dirent *entry; !rc && d && (entry = readdir(d));)
    rc = look_at(step, n, &cap, folder, entry->d_name, kind);
  if (d) closedir(d);
  free(folder);
  if (rc) {
    free(*step);
    *step = NULL;
    *n = 0;
  } else if (*n) {
    qsort(*step, (size_t)*n, sizeof **step, ascending);
  }
  return rc;
}

int zf_states_prune(const char *run, enum zf_state_kind kind, int64_t keep) {
  int64_t *step, n;
  int rc = zf_states_list(&step, &n, run, kind);
  for (int64_t i = 0; !rc && i < n - keep; i++) {
    char *path = zf_state_path(run, kind, step[i]);
    rc = path ? kinds[kind].remove(path) : ZF_ENOMEM;
    free(path);
  }
  free(step);
  return rc;
}

/* --- a model directory --- */

/* Does a model directory of ours hold such a file, whole or half-written? */
static int is_ours(const char *name) {
  const char *tmp = strstr(name, ".tmp.");
  char whole[256];
  snprintf(whole, sizeof whole, "%.*s", tmp ? (int)(tmp - name) : (int)strlen(name), name);
  return !strcmp(whole, "model.safetensors") || !strcmp(whole, "config.json") ||
         zf_sidecars_is(whole);
}

/* Removes those files of the folder `path`/`below` ("" is itself) that are ours. */
static int remove_files(const char *path, const char *below) {
  char *folder = *below ? zf_path_join(path, below) : zf_strdup(path);
  DIR *d = folder ? opendir(folder) : NULL;
  int rc = folder ? 0 : ZF_ENOMEM;
  for (struct dirent *entry; !rc && d && (entry = readdir(d));) {
    char *name = *below ? zf_path_join(below, entry->d_name) : zf_strdup(entry->d_name);
    char *file = zf_path_join(folder, entry->d_name);
    rc = name && file ? 0 : ZF_ENOMEM;
    if (!rc && is_ours(name)) rc = remove_file(file);
    if (!rc && !*below && zf_sidecars_is_folder(name)) {
      rc = remove_files(path, name);
      rmdir(file); /* which fails where something is left */
    }
    free(name);
    free(file);
  }
  if (d) closedir(d);
  free(folder);
  return rc;
}

int zf_state_remove_dir(const char *path) {
  struct stat st;
  if (lstat(path, &st)) return 0;
  if (!S_ISDIR(st.st_mode)) return zf_error(ZF_EIO, "%s: is not a directory: not the run's", path);
  int rc = remove_files(path, "");
  if (!rc && rmdir(path) && errno != ENOTEMPTY && errno != EEXIST)
    rc = zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
  return rc;
}

static int move(const char *from, const char *to, const char *name) {
  char *a = zf_path_join(from, name), *b = zf_path_join(to, name);
  int rc = a && b ? 0 : ZF_ENOMEM;
  if (!rc && rename(a, b)) rc = zf_error(ZF_EIO, "%s: cannot rename: %s", b, strerror(errno));
  free(a);
  free(b);
  return rc;
}

/* File by file, the weights last: without them it is no checkpoint. */
static int move_files(const char *from, const char *to) {
  static const char weights[] = "model.safetensors";
  DIR *d = opendir(from);
  int rc = d ? 0 : zf_error(ZF_EIO, "%s: cannot open: %s", from, strerror(errno));
  for (struct dirent *entry; !rc && (entry = readdir(d));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strcmp(entry->d_name, weights))
      rc = move(from, to, entry->d_name);
  if (d) closedir(d);
  if (!rc) rc = move(from, to, weights);
  if (!rc && rmdir(from)) rc = zf_error(ZF_EIO, "%s: cannot remove: %s", from, strerror(errno));
  return rc;
}

int zf_state_replace_dir(const char *tmp, const char *path) {
  int rc = zf_state_remove_dir(path);
  if (rc || !rename(tmp, path)) return rc;
  if (errno == ENOTEMPTY || errno == EEXIST) return move_files(tmp, path);
  return zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
}
