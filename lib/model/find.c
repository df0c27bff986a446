/* Finds the directory that `base_model:` names, also in the Hugging Face cache:
 *
 *   ROOT/models--ORG--NAME/refs/main           the name of a folder under snapshots/
 *   ROOT/models--ORG--NAME/snapshots/COMMIT/   files, each a link into blobs/
 *
 * ROOT is the cache directory of huggingface_hub.  Transformers before version 5 used
 * TRANSFORMERS_CACHE. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/home.h"
#include "fmt/gguf.h"
#include "model/model_internal.h"

/* --- the root of the cache ------------------------------------------------------------------ */

/* The value of the first variable that is set and not empty, with `suffix` appended; NULL where
 * none is set, or memory is out (*rc). */
static char *from_environment(const char *const *variable, const char *suffix, int *rc) {
  for (; *variable; variable++) {
    const char *value = getenv(*variable);
    if (!value || !*value) continue;
    char *joined = zf_asprintf("%s%s", value, suffix),
         *path = joined ? zf_path_expand(joined) : NULL;
    free(joined);
    if (!path) *rc = ZF_ENOMEM;
    return path;
  }
  return NULL;
}

static char *hub_root(int *rc) {
  static const struct {
    const char *variable[3], *suffix;
  } places[] = {{{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, ""},
                {{"HF_HOME"}, "/hub"},
                {{"XDG_CACHE_HOME"}, "/huggingface/hub"}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char *root = from_environment(places[i].variable, places[i].suffix, rc);
    if (root || *rc) return root;
  }
  char *root = zf_path_home("~/.cache/huggingface/hub");
  if (!root) *rc = ZF_ENOMEM;
  return root;
}

/* --- links ---------------------------------------------------------------------------------- */

/* model-00001-of-00002.safetensors */
static int is_shard(const char *name) {
  int from, of, n = 0;
  return sscanf(name, "model-%d-of-%d.safetensors%n", &from, &of, &n) == 2 && n && !name[n];
}

/* 1 for the files that opening a model reads. */
static int is_read(const char *name) {
  static const char *const names[] = {"config.json", "model.safetensors",
                                      "model.safetensors.index.json"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i], name)) return 1;
  return zf_sidecars_is(name) || is_shard(name);
}

/* ZF_EINVALID where `path` is a link whose target does not exist. */
static int check_link(const char *path) {
  char target[512];
  ssize_t len = readlink(path, target, sizeof target - 1);
  if (len < 0 || zf_exists(path)) return 0;
  target[len] = 0;
  return zf_error(ZF_EINVALID, "%s: is a link to %s, which does not exist: fetch the model again",
                  path, target);
}

static int check_links(const char *dir) {
  DIR *stream = opendir(dir);
  int rc = 0;
  if (!stream) return 0; /* the first file that cannot be read is reported later */
  for (struct dirent *entry; (entry = readdir(stream));) {
    if (!is_read(entry->d_name)) continue;
    char *path = zf_path_join(dir, entry->d_name);
    rc = path ? check_link(path) : ZF_ENOMEM;
    free(path);
    if (rc) break;
  }
  closedir(stream);
  return rc;
}

/* --- a model in the cache ------------------------------------------------------------------- */

/* The path of some folder under snapshots/, for a message; NULL: there is none. */
static char *any_snapshot(const char *repo) {
  char *dir = zf_path_join(repo, "snapshots"), *found = NULL;
  DIR *stream = dir ? opendir(dir) : NULL;
  if (stream) {
    struct dirent *entry;
    while (!found && (entry = readdir(stream)))
      if (entry->d_name[0] != '.') found = zf_path_join(dir, entry->d_name);
    closedir(stream);
  }
  free(dir);
  return found;
}

static int no_snapshot(const char *repo, const char *what) {
  char *other = any_snapshot(repo);
  int rc = zf_error(ZF_EINVALID, "%s: %s: fetch the model again%s%s", repo, what,
                    other ? ", or give the directory of the snapshot that exists: " : "",
                    other ? other : "");
  free(other);
  return rc;
}

/* The name of the snapshot in refs/main; the caller frees it. */
static int read_ref(char **commit, const char *repo) {
  char *ref = zf_path_join(repo, "refs/main"), *text = NULL;
  if (!ref) return ZF_ENOMEM;
  int rc = zf_exists(ref) ? zf_read_file(&text, NULL, ref, 4096)
                          : no_snapshot(repo, "has no refs/main, which names the snapshot to use");
  if (!rc) {
    text[strcspn(text, " \t\r\n")] = 0;
    if (strchr(text, '/') || text[0] == '.' || !text[0])
      rc = zf_error(ZF_EINVALID, "%s: expected the name of a snapshot, found '%s'", ref, text);
  }
  free(ref);
  *commit = rc ? NULL : text;
  if (rc) free(text);
  return rc;
}

static int check_snapshot(const char *dir, const char *repo, const char *commit) {
  char what[600];
  if (zf_is_dir(dir)) return check_links(dir);
  snprintf(what, sizeof what, "refs/main names the snapshot %.100s, which does not exist", commit);
  return no_snapshot(repo, what);
}

/* The directory of the snapshot that refs/main names; *dir is the caller's, also after a failure. */
static int resolve(char **dir, const char *repo) {
  char *commit;
  int rc = read_ref(&commit, repo);
  if (rc) return rc;
  *dir = zf_asprintf("%s/snapshots/%s", repo, commit);
  rc = *dir ? check_snapshot(*dir, repo, commit) : ZF_ENOMEM;
  free(commit);
  return rc;
}

/* *found: `root` has a folder for this name. */
static int in_root(char **out, int *found, const char *root, const char *name) {
  const char *slash = strchr(name, '/');
  char *repo = slash
                   ? zf_asprintf("%s/models--%.*s--%s", root, (int)(slash - name), name, slash + 1)
                   : zf_asprintf("%s/models--%s", root, name);
  int rc = repo ? 0 : ZF_ENOMEM;
  *found = !rc && zf_is_dir(repo);
  if (*found) rc = resolve(out, repo);
  free(repo);
  return rc;
}

/* old_root: NULL where there is none. */
static int in_roots(char **out, const char *root, const char *old_root, const char *name) {
  int found;
  int rc = in_root(out, &found, root, name);
  if (rc || found) return rc;
  if (old_root) {
    rc = in_root(out, &found, old_root, name);
    if (rc || found) return rc;
  }
  return zf_error(ZF_EUSAGE, "%s: no such directory, and not in the Hugging Face cache %s%s%s",
                  name, root, old_root ? " or " : "", old_root ? old_root : "");
}

static int in_cache(char **out, const char *name) {
  static const char *const old_variable[] = {"TRANSFORMERS_CACHE", NULL};
  int rc = 0;
  char *root = hub_root(&rc), *old_root = rc ? NULL : from_environment(old_variable, "", &rc);
  if (!rc) rc = in_roots(out, root, old_root, name);
  free(root);
  free(old_root);
  return rc;
}

/* --- kinds of names ------------------------------------------------------------------------- */

/* NAME or ORG/NAME. */
static int looks_like_repo(const char *name) {
  int slashes = 0, first = 1;
  for (; *name; name++) {
    int alphanumeric = isalnum((unsigned char)*name);
    if (first && !alphanumeric) return 0;
    first = *name == '/';
    slashes += first;
    if (!first && !alphanumeric && !strchr("._-", *name)) return 0;
  }
  return !first && slashes <= 1;
}

static int of_file(char **dir, const char *path) {
  size_t len = strlen(path);
  const char *slash = strrchr(path, '/');
  int rc = zf_is_gguf_path(path) ? 0 : zf_model_foreign_file(path);
  if (rc) return rc;
  if (zf_is_gguf_path(path))
    *dir = zf_strdup(path);
  else if (len >= 12 && !strcmp(path + len - 12, ".safetensors"))
    *dir = slash ? zf_strndup(path, (size_t)(slash - path)) : zf_strdup(".");
  else
    return zf_error(
        ZF_EUSAGE,
        "%s: expected a model directory, a .safetensors file inside one, or a .gguf file", path);
  return *dir ? 0 : ZF_ENOMEM;
}

/* A directory is the model; or the model.gguf in it, the result of a run, where it has no config.json. */
static int of_directory(char **dir, const char *path) {
  char *config = zf_path_join(path, "config.json"), *file = zf_path_join(path, "model.gguf");
  int rc = config && file ? check_links(path) : ZF_ENOMEM;
  if (!rc) *dir = zf_strdup(!zf_exists(config) && zf_exists(file) ? file : path);
  free(file);
  free(config);
  return rc || *dir ? rc : ZF_ENOMEM;
}

int zf_model_find(char **dir, const char *base_model) {
  int rc = 0;
  *dir = NULL;
  if (zf_is_dir(base_model)) return of_directory(dir, base_model);
  if (zf_exists(base_model)) return of_file(dir, base_model);
  if ((rc = check_link(base_model))) return rc;
  if (!looks_like_repo(base_model))
    return zf_error(ZF_EUSAGE, "%s: no such model directory", base_model);
  rc = in_cache(dir, base_model);
  if (!rc) return 0;
  free(*dir);
  *dir = NULL;
  return rc;
}
