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

/* Names of the file that makes a directory a checkpoint: of a model, of an adapter. */
enum { WEIGHTS = 2 };
static const char *const weights[WEIGHTS] = {"model.safetensors", "adapter_model.safetensors"};

static int is_keyframe(const char *path) {
  struct stat st;
  return !lstat(path, &st) && S_ISREG(st.st_mode);
}

static int is_checkpoint(const char *path) {
  struct stat st;
  int is = 0;
  for (int i = 0; i < WEIGHTS; i++) {
    char *file = zf_path_join(path, weights[i]);
    is = is || (file && !lstat(path, &st) && S_ISDIR(st.st_mode) && zf_exists(file));
    free(file);
  }
  return is;
}

static int remove_file(const char *path) {
  if (!unlink(path) || errno == ENOENT) return 0;
  return zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

static const struct {
  const char *folder, *suffix;
  int (*is)(const char *path); /* 1 where the entry is of this kind */
  int (*remove)(const char *path);
} kinds[ZF_STATE_KINDS] = {
    [ZF_STATE_KEYFRAME] = {"keyframes", ".safetensors", is_keyframe, remove_file},
    [ZF_STATE_CHECKPOINT] = {"checkpoints", "", is_checkpoint, zf_state_remove_dir},
};

const char *zf_state_folder(enum zf_state_kind kind) {
  return kinds[kind].folder;
}

/* Accepts canonical names only: the number, written again, gives the same name. */
int64_t zf_state_step(enum zf_state_kind kind, const char *name) {
  char again[64];
  if (strncmp(name, "step-", 5) != 0) return -1;
  long long step = strtoll(name + 5, NULL, 10);
  snprintf(again, sizeof again, "step-%lld%s", step, kinds[kind].suffix);
  return step >= 0 && !strcmp(name, again) ? step : -1;
}

char *zf_state_path(const char *run, enum zf_state_kind kind, int64_t step) {
  return zf_asprintf("%s/%s/step-%lld%s", run, kinds[kind].folder, (long long)step,
                     kinds[kind].suffix);
}

static int ascending(const void *left, const void *right) {
  int64_t x = *(const int64_t *)left, y = *(const int64_t *)right;
  return (x > y) - (x < y);
}

struct step_list {
  int64_t *step, count, cap;
};

static int add_step(struct step_list *list, int64_t step) {
  if (list->count == list->cap) {
    int64_t cap = list->cap ? 2 * list->cap : 16;
    int64_t *grown = realloc(list->step, (size_t)cap * sizeof *grown);
    if (!grown) return zf_error(ZF_ENOMEM, "out of memory for %lld states", (long long)cap);
    list->step = grown;
    list->cap = cap;
  }
  list->step[list->count++] = step;
  return 0;
}

/* Adds an entry of the folder if it is a state. */
static int add_entry(struct step_list *list, const char *folder, const char *name,
                     enum zf_state_kind kind) {
  int64_t step = zf_state_step(kind, name);
  if (step < 0) return 0;
  char *path = zf_path_join(folder, name);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && kinds[kind].is(path)) rc = add_step(list, step);
  free(path);
  return rc;
}

/* Adds the states of a folder, which may be absent. */
static int add_folder(struct step_list *list, const char *folder, enum zf_state_kind kind) {
  DIR *stream = opendir(folder);
  int rc = 0;
  if (!stream)
    return errno == ENOENT ? 0 : zf_error(ZF_EIO, "%s: cannot open: %s", folder, strerror(errno));
  for (struct dirent *entry; (entry = readdir(stream));)
    if ((rc = add_entry(list, folder, entry->d_name, kind))) break;
  closedir(stream);
  return rc;
}

int zf_states_list(int64_t **step, int64_t *count, const char *run, enum zf_state_kind kind) {
  struct step_list list = {0};
  char *folder = zf_path_join(run, kinds[kind].folder);
  int rc = folder ? add_folder(&list, folder, kind) : ZF_ENOMEM;
  free(folder);
  *step = NULL;
  *count = 0;
  if (rc) {
    free(list.step);
    return rc;
  }
  if (list.count) qsort(list.step, (size_t)list.count, sizeof *list.step, ascending);
  *step = list.step;
  *count = list.count;
  return 0;
}

int zf_states_prune(const char *run, enum zf_state_kind kind, int64_t keep) {
  int64_t *step, count;
  int rc = zf_states_list(&step, &count, run, kind);
  for (int64_t i = 0; i < count - keep; i++) {
    char *path = zf_state_path(run, kind, step[i]);
    rc = path ? kinds[kind].remove(path) : ZF_ENOMEM;
    free(path);
    if (rc) break;
  }
  free(step);
  return rc;
}

/* --- a model directory --- */

/* 1 for a file that a save writes into a model directory, whole or half-written. */
static int is_saved_file(const char *name) {
  const char *tmp = strstr(name, ".tmp.");
  char full_name[256];
  snprintf(full_name, sizeof full_name, "%.*s", tmp ? (int)(tmp - name) : (int)strlen(name), name);
  static const char *const written[] = {"model.safetensors", "config.json",
                                        "adapter_model.safetensors", "adapter_config.json",
                                        "README.md"};
  for (size_t i = 0; i < sizeof written / sizeof *written; i++)
    if (!strcmp(full_name, written[i])) return 1;
  return zf_sidecars_is(full_name);
}

static int remove_files(const char *path, const char *subfolder);

/* Removes an entry of the folder `path`/`subfolder` if a save wrote it. */
static int remove_entry(const char *path, const char *subfolder, const char *entry) {
  char *name = *subfolder ? zf_path_join(subfolder, entry) : zf_strdup(entry);
  char *file = name ? zf_path_join(path, name) : NULL;
  int rc = file ? 0 : ZF_ENOMEM;
  if (!rc && is_saved_file(name)) rc = remove_file(file);
  if (!rc && !*subfolder && zf_sidecars_is_folder(name)) {
    rc = remove_files(path, name);
    rmdir(file); /* fails where it is not empty */
  }
  free(name);
  free(file);
  return rc;
}

/* Removes the files that a save wrote into the folder `path`/`subfolder`; "" is `path` itself and its
 * subfolders. */
static int remove_files(const char *path, const char *subfolder) {
  char *folder = *subfolder ? zf_path_join(path, subfolder) : zf_strdup(path);
  if (!folder) return ZF_ENOMEM;
  DIR *stream = opendir(folder);
  int rc = 0;
  free(folder);
  if (!stream) return 0;
  for (struct dirent *entry; (entry = readdir(stream));)
    if ((rc = remove_entry(path, subfolder, entry->d_name))) break;
  closedir(stream);
  return rc;
}

int zf_state_remove_dir(const char *path) {
  struct stat st;
  if (lstat(path, &st)) return 0;
  if (!S_ISDIR(st.st_mode))
    return zf_error(ZF_EIO, "%s: is not a directory, and does not belong to the run", path);
  int rc = remove_files(path, "");
  if (!rc && rmdir(path) && errno != ENOTEMPTY && errno != EEXIST)
    rc = zf_error(ZF_EIO, "%s: cannot remove: %s", path, strerror(errno));
  return rc;
}

static int move(const char *from, const char *to, const char *name) {
  char *source = zf_path_join(from, name), *target = zf_path_join(to, name);
  int rc = source && target ? 0 : ZF_ENOMEM;
  if (!rc && rename(source, target))
    rc = zf_error(ZF_EIO, "%s: cannot rename: %s", target, strerror(errno));
  free(source);
  free(target);
  return rc;
}

/* Moves file by file, the weights last: a directory without weights is no checkpoint. */
static int move_files(const char *from, const char *to) {
  const char *last = NULL;
  DIR *stream = opendir(from);
  int rc = 0;
  if (!stream) return zf_error(ZF_EIO, "%s: cannot open: %s", from, strerror(errno));
  for (struct dirent *entry; (entry = readdir(stream));) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    int number = 0;
    while (number < WEIGHTS && strcmp(name, weights[number]) != 0) number++;
    if (number < WEIGHTS) {
      last = weights[number];
      continue;
    }
    if ((rc = move(from, to, name))) break;
  }
  closedir(stream);
  if (!rc && last) rc = move(from, to, last);
  if (!rc && rmdir(from)) rc = zf_error(ZF_EIO, "%s: cannot remove: %s", from, strerror(errno));
  return rc;
}

int zf_state_replace_dir(const char *tmp, const char *path) {
  int rc = zf_state_remove_dir(path);
  if (rc || !rename(tmp, path)) return rc;
  if (errno == ENOTEMPTY || errno == EEXIST) return move_files(tmp, path);
  return zf_error(ZF_EIO, "%s: cannot rename: %s", path, strerror(errno));
}
