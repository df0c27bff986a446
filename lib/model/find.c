/* From the words of `base_model:` to a directory. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "model/internal.h"

/* The cache's root, as huggingface_hub looks for it. */
static char *cache_root(void) {
  const char *hub = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
  if (hub && *hub) return zf_strdup(hub);
  if (home && *home) return zf_path_join(home, "hub");
  return zf_path_join(user ? user : ".", ".cache/huggingface/hub");
}

/* ROOT/models--ORG--NAME/refs/main holds the name of a folder under snapshots/. */
static int in_cache(char **out, const char *root, const char *name) {
  const char *slash = strchr(name, '/');
  char *repo = zf_asprintf("%s/models--%.*s--%s", root, (int)(slash - name), name, slash + 1);
  char *ref = repo ? zf_path_join(repo, "refs/main") : NULL, *commit = NULL;
  int rc = ref ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(repo))
    rc = zf_error(ZF_EUSAGE, "%s: no such directory, and not in the Hugging Face cache %s", name,
                  root);
  if (!rc) rc = zf_read_file(&commit, NULL, ref, 4096);
  if (!rc) {
    commit[strcspn(commit, " \t\r\n")] = 0;
    if (strchr(commit, '/') || commit[0] == '.' || !commit[0])
      rc = zf_error(ZF_EINVALID, "%s: expected the name of a snapshot, found '%s'", ref, commit);
  }
  if (!rc) {
    *out = zf_asprintf("%s/snapshots/%s", repo, commit);
    if (!*out) rc = ZF_ENOMEM;
  }
  free(commit);
  free(ref);
  free(repo);
  return rc;
}

static int looks_like_repo(const char *name) {
  const char *slash = strchr(name, '/');
  return slash && slash > name && slash[1] && !strchr(slash + 1, '/') && name[0] != '.' &&
         slash[1] != '.';
}

int zf_model_find(char **dir, const char *base_model) {
  *dir = NULL;
  if (zf_is_dir(base_model)) {
    *dir = zf_strdup(base_model);
    return *dir ? 0 : ZF_ENOMEM;
  }
  if (zf_exists(base_model)) {
    size_t n = strlen(base_model);
    if (zf_gguf_named(base_model)) {
      *dir = zf_strdup(base_model);
      return *dir ? 0 : ZF_ENOMEM;
    }
    int foreign = zf_model_foreign_file(base_model);
    if (foreign) return foreign;
    if (n < 12 || strcmp(base_model + n - 12, ".safetensors") != 0)
      return zf_error(ZF_EUSAGE,
                      "%s: expected a model directory, a .safetensors file inside one, or a .gguf "
                      "file",
                      base_model);
    const char *slash = strrchr(base_model, '/');
    *dir = slash ? zf_strndup(base_model, (size_t)(slash - base_model)) : zf_strdup(".");
    return *dir ? 0 : ZF_ENOMEM;
  }
  if (!looks_like_repo(base_model))
    return zf_error(ZF_EUSAGE, "%s: no such model directory", base_model);
  char *root = cache_root();
  if (!root) return ZF_ENOMEM;
  int rc = in_cache(dir, root, base_model);
  free(root);
  return rc;
}
