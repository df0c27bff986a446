#include "model/sidecars.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"

/* Patterns of names; the files marked `tokenizer` are enough to encode text. */
static const struct {
  const char *pattern;
  int tokenizer;
} names[] = {
    {"tokenizer.json", 1},
    {"tokenizer_config.json", 1},
    {"vocab.json", 1},
    {"vocab.txt", 1},
    {"merges.txt", 1},
    {"special_tokens_map.json", 1},
    {"added_tokens.json", 1},
    {"tokenizer.model", 1},
    {"tokenizer.model.v[0-9]*", 1},
    {"spiece.model", 1},
    {"sentencepiece.bpe.model", 1},
    {"spm.model", 1},
    {"tekken.json", 1},
    {"*.tiktoken", 1},
    {"*.jinja", 1},
    {"chat_template.json", 1},
    {"additional_chat_templates/*.jinja", 1},
    {"generation_config.json", 0},
    {"preprocessor_config.json", 0},
    {"video_preprocessor_config.json", 0},
    {"processor_config.json", 0},
    {"modules.json", 0},
    {"config_sentence_transformers.json", 0},
    {"sentence_*_config.json", 0},
    {"[0-9]_[A-Z]*/*", 0},
};
enum { NAMES = sizeof names / sizeof *names };

/* Folders in the patterns. */
static const char *const folders[] = {"additional_chat_templates", "[0-9]_[A-Z]*"};
enum { FOLDERS = sizeof folders / sizeof *folders };

static int row_of(const char *name) {
  for (int i = 0; i < NAMES; i++)
    if (!fnmatch(names[i].pattern, name, FNM_PATHNAME | FNM_PERIOD)) return i;
  return -1;
}

int zf_sidecars_is(const char *name) {
  return row_of(name) >= 0;
}

int zf_sidecars_is_folder(const char *name) {
  for (int i = 0; i < FOLDERS; i++)
    if (!fnmatch(folders[i], name, FNM_PERIOD)) return 1;
  return 0;
}

/* --- the list --- */

static int by_name(const void *left, const void *right) {
  return strcmp(((const struct zf_sidecar *)left)->name, ((const struct zf_sidecar *)right)->name);
}

static int add(struct zf_sidecars *sidecars, const char *name, const char *path) {
  struct zf_sidecar *sidecar =
      realloc(sidecars->file, (size_t)(sidecars->count + 1) * sizeof *sidecar);
  if (!sidecar) return zf_error(ZF_ENOMEM, "out of memory for a list of files");
  sidecars->file = sidecar;
  sidecar[sidecars->count] = (struct zf_sidecar){.name = zf_strdup(name)};
  if (!sidecar[sidecars->count].name) return ZF_ENOMEM;
  sidecars->count++;
  return path ? zf_hash_file(sidecar[sidecars->count - 1].hash, path) : 0;
}

static int is_file(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISREG(st.st_mode);
}

static int list(struct zf_sidecars *sidecars, const char *dir, const char *subfolder);

/* Adds one entry of the folder `dir`/`subfolder`: a sidecar file, or a folder's files. */
static int list_entry(struct zf_sidecars *sidecars, const char *dir, const char *subfolder,
                      const char *entry) {
  char *name = *subfolder ? zf_path_join(subfolder, entry) : zf_strdup(entry);
  char *path = name ? zf_path_join(dir, name) : NULL;
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_sidecars_is(name) && is_file(path))
    rc = add(sidecars, name, path);
  else if (!rc && !*subfolder && zf_sidecars_is_folder(name) && zf_is_dir(path))
    rc = list(sidecars, dir, name);
  free(name);
  free(path);
  return rc;
}

/* Adds the files of `dir`/`subfolder`; "" is `dir` itself and includes its subfolders' files. */
static int list(struct zf_sidecars *sidecars, const char *dir, const char *subfolder) {
  char *folder = *subfolder ? zf_path_join(dir, subfolder) : zf_strdup(dir);
  if (!folder) return ZF_ENOMEM;
  DIR *stream = opendir(folder);
  int rc = stream ? 0 : zf_error(ZF_EIO, "%s: cannot open: %s", folder, strerror(errno));
  free(folder);
  if (rc) return rc;
  for (struct dirent *entry; (entry = readdir(stream));) {
    rc = list_entry(sidecars, dir, subfolder, entry->d_name);
    if (rc) break;
  }
  closedir(stream);
  return rc;
}

int zf_sidecars_open(struct zf_sidecars *sidecars, const char *dir) {
  memset(sidecars, 0, sizeof *sidecars);
  sidecars->dir = zf_strdup(dir);
  int rc = sidecars->dir ? list(sidecars, dir, "") : ZF_ENOMEM;
  if (!rc && sidecars->count)
    qsort(sidecars->file, (size_t)sidecars->count, sizeof *sidecars->file, by_name);
  if (rc) zf_sidecars_close(sidecars);
  return rc;
}

void zf_sidecars_close(struct zf_sidecars *sidecars) {
  for (int i = 0; i < sidecars->count; i++) {
    free(sidecars->file[i].name);
    free(sidecars->file[i].text);
  }
  free(sidecars->file);
  free(sidecars->dir);
  free(sidecars->kept_dir);
  memset(sidecars, 0, sizeof *sidecars);
}

int zf_sidecars_set(struct zf_sidecars *sidecars, const char *name, const char *text) {
  int index = 0;
  while (index < sidecars->count && strcmp(sidecars->file[index].name, name) != 0) index++;
  int rc = index < sidecars->count ? 0 : add(sidecars, name, NULL);
  char *copy = rc ? NULL : zf_strdup(text);
  if (!copy) return ZF_ENOMEM;
  free(sidecars->file[index].text);
  sidecars->file[index].text = copy;
  return 0;
}

/* --- copies --- */

/* Copies all bytes of `in` to `out`; hex receives their hash. */
static int copy_bytes(struct zf_out *out, FILE *in, char hex[33], const char *path) {
  enum { CHUNK = 1 << 16 };
  char chunk[CHUNK];
  struct zf_hash *hash;
  int rc = zf_hash_new(&hash);
  if (rc) return rc;
  for (size_t len; (len = fread(chunk, 1, CHUNK, in)) > 0;) {
    zf_hash_add(hash, chunk, len);
    fwrite(chunk, 1, len, out->file);
  }
  if (ferror(in)) rc = zf_error(ZF_EIO, "%s: cannot read: %s", path, strerror(errno));
  zf_hash_hex(hash, hex);
  zf_hash_free(hash);
  return rc;
}

/* *same: the file at `path` exists and has the expected hash; only then it is copied. */
static int copy_file(const char *path, const char *expected, const char *to, int *same) {
  char hash[33];
  struct zf_out out;
  FILE *in = fopen(path, "rb");
  if (!in)
    return errno == ENOENT ? 0 : zf_error(ZF_EIO, "%s: cannot open: %s", path, strerror(errno));
  int rc = zf_out_open(&out, to);
  if (!rc) rc = copy_bytes(&out, in, hash, path);
  *same = !rc && !strcmp(hash, expected);
  if (*same)
    rc = zf_out_commit(&out);
  else
    zf_out_abort(&out);
  fclose(in);
  return rc;
}

/* Copies FROM/NAME where its bytes have the sidecar's hash; *same: they have. */
static int copy_same(const struct zf_sidecar *sidecar, const char *from, const char *to,
                     int *same) {
  char *path = zf_path_join(from, sidecar->name), hash[33];
  int rc = path ? 0 : ZF_ENOMEM;
  *same = 0;
  if (!rc && strcmp(path, to) != 0) {
    rc = copy_file(path, sidecar->hash, to, same);
  } else if (!rc && zf_exists(path)) {
    rc = zf_hash_file(hash, path);
    *same = !rc && !strcmp(hash, sidecar->hash);
  }
  free(path);
  return rc;
}

static int copy_one(const struct zf_sidecars *sidecars, const struct zf_sidecar *sidecar,
                    const char *to) {
  int same = 0, rc = 0;
  if (sidecar->text) return zf_write_file(to, sidecar->text, strlen(sidecar->text));
  if (sidecars->kept_dir) rc = copy_same(sidecar, sidecars->kept_dir, to, &same);
  if (!rc && !same) rc = copy_same(sidecar, sidecars->dir, to, &same);
  if (rc || same) return rc;
  return zf_error(ZF_EINVALID,
                  "%s/%s: has changed since it was read: a copy of it would not belong to these "
                  "weights; put the old file back",
                  sidecars->dir, sidecar->name);
}

static int make_folder(const char *to, const char *name) {
  const char *slash = strchr(name, '/');
  if (!slash) return 0;
  char *folder = zf_asprintf("%s/%.*s", to, (int)(slash - name), name);
  int rc = folder ? zf_mkdirs(folder) : ZF_ENOMEM;
  free(folder);
  return rc;
}

int zf_sidecars_copy(const struct zf_sidecars *sidecars, const char *to, int tokenizer) {
  for (int i = 0; i < sidecars->count; i++) {
    int row = row_of(sidecars->file[i].name);
    if (tokenizer && (row < 0 || !names[row].tokenizer)) continue;
    char *path = zf_path_join(to, sidecars->file[i].name);
    int rc = path ? make_folder(to, sidecars->file[i].name) : ZF_ENOMEM;
    if (!rc) rc = copy_one(sidecars, &sidecars->file[i], path);
    free(path);
    if (rc) return rc;
  }
  return 0;
}

int zf_sidecars_keep(struct zf_sidecars *sidecars, const char *dir) {
  free(sidecars->kept_dir);
  sidecars->kept_dir = zf_strdup(dir);
  return sidecars->kept_dir ? 0 : ZF_ENOMEM;
}

/* --- identity --- */

static int hash_named(struct zf_hash *hash, const char *dir, const char *name) {
  char hex[33], *path = zf_path_join(dir, name);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(path) && !(rc = zf_hash_file(hex, path))) {
    zf_hash_add(hash, name, strlen(name) + 1);
    zf_hash_add(hash, hex, 32);
  }
  free(path);
  return rc;
}

static int has(const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  int exists = path && zf_exists(path);
  free(path);
  return exists;
}

/* The order of the names is part of the hash, which logs hold: append names only.  Those behind the
 * first FIRST were appended, and are read only where there is no tokenizer.json. */
int zf_sidecars_hash(char hex[33], const char *dir) {
  static const char *const hashed[] = {
      "config.json",       "tokenizer.json",  "tokenizer_config.json",
      "vocab.json",        "merges.txt",      "special_tokens_map.json",
      "added_tokens.json", "tokenizer.model", "chat_template.jinja",
      "vocab.txt",         "spiece.model"};
  enum { ALL = sizeof hashed / sizeof *hashed, FIRST = 9 };
  struct zf_hash *hash;
  int rc = zf_hash_new(&hash), count = has(dir, "tokenizer.json") ? FIRST : ALL;
  if (rc) return rc;
  for (int i = 0; i < count; i++) {
    rc = hash_named(hash, dir, hashed[i]);
    if (rc) break;
  }
  if (!rc) zf_hash_hex(hash, hex);
  zf_hash_free(hash);
  return rc;
}
