/* From the words of `base_model:` to a directory.
 *
 *   ROOT/models--ORG--NAME/refs/main           the name of a folder under snapshots/
 *   ROOT/models--ORG--NAME/snapshots/COMMIT/   files, each a link into blobs/
 *
 * ROOT is where huggingface_hub has it; Transformers before its fifth version looked in
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

/* --- where the cache is ------------------------------------------------------------------------
 */

/* The first of the variables that is set and not empty, with a path behind it; NULL: none is. */
static char *from_environment(const char *const *variable, const char *behind, int *rc) {
  for (; *variable; variable++) {
    const char *value = getenv(*variable);
    if (!value || !*value) continue;
    char *whole = zf_asprintf("%s%s", value, behind), *path = whole ? zf_path_expand(whole) : NULL;
    free(whole);
    if (!path) *rc = ZF_ENOMEM;
    return path;
  }
  return NULL;
}

static char *hub_root(int *rc) {
  static const struct {
    const char *variable[3], *behind;
  } at[] = {{{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, ""},
            {{"HF_HOME"}, "/hub"},
            {{"XDG_CACHE_HOME"}, "/huggingface/hub"}};
  char *root = NULL;
  for (size_t i = 0; !root && !*rc && i < sizeof at / sizeof *at; i++)
    root = from_environment(at[i].variable, at[i].behind, rc);
  if (!root && !*rc && !(root = zf_path_home("~/.cache/huggingface/hub"))) *rc = ZF_ENOMEM;
  return root;
}

/* --- links ---------------------------------------------------------------------------------------
 */

/* model-00001-of-00002.safetensors */
static int is_shard(const char *name) {
  int from, of, n = 0;
  return sscanf(name, "model-%d-of-%d.safetensors%n", &from, &of, &n) == 2 && n && !name[n];
}

static int is_read(const char *name) {
  static const char *const own[] = {"config.json", "model.safetensors",
                                    "model.safetensors.index.json"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (!strcmp(own[i], name)) return 1;
  return zf_sidecars_is(name) || is_shard(name);
}

/* ZF_EINVALID where `path` is a link to what is not there. */
static int check_link(const char *path) {
  char to[512];
  ssize_t n = readlink(path, to, sizeof to - 1);
  if (n < 0 || zf_exists(path)) return 0;
  to[n] = 0;
  return zf_error(ZF_EINVALID, "%s: is a link to %s, which is not there: fetch the model again",
                  path, to);
}

static int check_links(const char *dir) {
  DIR *d = opendir(dir);
  int rc = 0;
  if (!d) return 0; /* whoever reads a file in it says why */
  for (struct dirent *entry; !rc && (entry = readdir(d));) {
    if (!is_read(entry->d_name)) continue;
    char *path = zf_path_join(dir, entry->d_name);
    rc = path ? check_link(path) : ZF_ENOMEM;
    free(path);
  }
  closedir(d);
  return rc;
}

/* --- in the cache
 * ---------------------------------------------------------------------------------- */

/* A folder under snapshots/, to name in a message; or NULL. */
static char *any_snapshot(const char *repo) {
  char *dir = zf_path_join(repo, "snapshots"), *found = NULL;
  DIR *d = dir ? opendir(dir) : NULL;
  for (struct dirent *entry; d && !found && (entry = readdir(d));)
    if (entry->d_name[0] != '.') found = zf_path_join(dir, entry->d_name);
  if (d) closedir(d);
  free(dir);
  return found;
}

static int no_snapshot(const char *repo, const char *what) {
  char *other = any_snapshot(repo);
  int rc = zf_error(ZF_EINVALID, "%s: %s: fetch the model again%s%s", repo, what,
                    other ? ", or name the directory of the snapshot that is there: " : "",
                    other ? other : "");
  free(other);
  return rc;
}

/* The snapshot that refs/main names. */
static int resolve(char **out, const char *repo) {
  char *ref = zf_path_join(repo, "refs/main"), *commit = NULL;
  int rc = ref ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(ref))
    rc = no_snapshot(repo, "has no refs/main, which names the snapshot to use");
  if (!rc) rc = zf_read_file(&commit, NULL, ref, 4096);
  if (!rc) {
    commit[strcspn(commit, " \t\r\n")] = 0;
    if (strchr(commit, '/') || commit[0] == '.' || !commit[0])
      rc = zf_error(ZF_EINVALID, "%s: expected the name of a snapshot, found '%s'", ref, commit);
  }
  if (!rc && !(*out = zf_asprintf("%s/snapshots/%s", repo, commit))) rc = ZF_ENOMEM;
  if (!rc && !zf_is_dir(*out)) {
    char what[600];
    snprintf(what, sizeof what, "refs/main names the snapshot %.100s, which is not there", commit);
    rc = no_snapshot(repo, what);
  }
  if (!rc) rc = check_links(*out);
  free(commit);
  free(ref);
  return rc;
}

/* *found: the root has a folder of that name. */
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

static int in_cache(char **out, const char *name) {
  static const char *const older[] = {"TRANSFORMERS_CACHE", NULL};
  int rc = 0, found = 0;
  char *root = hub_root(&rc), *second = rc ? NULL : from_environment(older, "", &rc);
  if (!rc) rc = in_root(out, &found, root, name);
  if (!rc && !found && second) rc = in_root(out, &found, second, name);
  if (!rc && !found)
    rc = zf_error(ZF_EUSAGE, "%s: no such directory, and not in the Hugging Face cache %s%s%s",
                  name, root, second ? " or " : "", second ? second : "");
  free(root);
  free(second);
  return rc;
}

/* --- what a name may be
 * ------------------------------------------------------------------------------ */

/* NAME or ORG/NAME. */
static int looks_like_repo(const char *name) {
  int slashes = 0, first = 1;
  for (const char *p = name; *p; p++) {
    if (first && !isalnum((unsigned char)*p)) return 0;
    first = *p == '/';
    slashes += first;
    if (!first && !isalnum((unsigned char)*p) && !strchr("._-", *p)) return 0;
  }
  return !first && slashes <= 1;
}

static int a_file(char **dir, const char *path) {
  size_t n = strlen(path);
  const char *slash = strrchr(path, '/');
  int rc = zf_gguf_named(path) ? 0 : zf_model_foreign_file(path);
  if (rc) return rc;
  if (zf_gguf_named(path))
    *dir = zf_strdup(path);
  else if (n >= 12 && !strcmp(path + n - 12, ".safetensors"))
    *dir = slash ? zf_strndup(path, (size_t)(slash - path)) : zf_strdup(".");
  else
    return zf_error(
        ZF_EUSAGE,
        "%s: expected a model directory, a .safetensors file inside one, or a .gguf file", path);
  return *dir ? 0 : ZF_ENOMEM;
}

int zf_model_find(char **dir, const char *base_model) {
  int rc = 0;
  *dir = NULL;
  if (zf_is_dir(base_model)) {
    rc = check_links(base_model);
    if (!rc && !(*dir = zf_strdup(base_model))) rc = ZF_ENOMEM;
    return rc;
  }
  if (zf_exists(base_model)) return a_file(dir, base_model);
  if ((rc = check_link(base_model))) return rc;
  if (!looks_like_repo(base_model))
    return zf_error(ZF_EUSAGE, "%s: no such model directory", base_model);
  rc = in_cache(dir, base_model);
  if (!rc) return 0;
  free(*dir);
  *dir = NULL;
  return rc;
}
