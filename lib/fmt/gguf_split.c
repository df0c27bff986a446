/* GGUF files in several parts, as llama-gguf-split writes them:
 *
 *   NAME-00001-of-00003.gguf   all keys of the model, split.no 0, split.count 3, some tensors
 *   NAME-00002-of-00003.gguf   split.no 1, split.count 3, further tensors
 *   ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "fmt/gguf_internal.h"
#include "fmt/st_internal.h"

enum { MAX_PARTS = 99999 };

static int64_t integer_key(const struct zf_gguf *gguf, const char *key, int64_t fallback) {
  const json_t *value = json_object_get(gguf->keys, key);
  return json_is_integer(value) ? json_integer_value(value) : fallback;
}

/* The path of part `no`, which the caller frees; NULL if the first part is not named as one. */
static char *part_path(const char *first, int64_t no, int64_t count) {
  char tail[40];
  size_t len = strlen(first), tail_len;
  snprintf(tail, sizeof tail, "-%05d-of-%05lld.gguf", 1, (long long)count);
  tail_len = strlen(tail);
  if (len <= tail_len || strcmp(first + len - tail_len, tail) != 0) return NULL;
  return zf_asprintf("%.*s-%05lld-of-%05lld.gguf", (int)(len - tail_len), first, (long long)no + 1,
                     (long long)count);
}

/* Moves the file and the tensors of a part to the end of the store. */
static int append_tensors(struct zf_gguf *gguf, struct zf_gguf *part) {
  struct zf_st *to = gguf->st, *from = part->st;
  struct zf_st_tensor *all =
      realloc(to->tensor, (size_t)(to->count + from->count + 1) * sizeof *all);
  if (!all) return zf_error(ZF_ENOMEM, "%s: out of memory", from->path[0]);
  to->tensor = all;
  int rc = zf_st_add_slot(to, from->path[0]);
  if (rc) return rc;
  to->map[to->file_count - 1] = from->map[0];
  memset(&from->map[0], 0, sizeof from->map[0]);
  for (int64_t i = 0; i < from->count; i++) {
    all[to->count] = from->tensor[i];
    all[to->count++].file = to->file_count - 1;
  }
  from->count = 0;
  return 0;
}

static int add_part(struct zf_gguf *gguf, const char *first, int64_t no, int64_t count) {
  struct zf_gguf part = {0};
  char *path = part_path(first, no, count);
  if (!path)
    return zf_error(
        ZF_EUSAGE,
        "%s: is the first of %lld parts: expected a name that ends in -00001-of-%05lld.gguf", first,
        (long long)count, (long long)count);
  int rc = zf_gguf_open_part(&part, path, 0);
  if (!rc &&
      (integer_key(&part, "split.no", -1) != no || integer_key(&part, "split.count", -1) != count))
    rc =
        zf_error(ZF_EINVALID, "%s: expected part %lld of %lld by its keys split.no and split.count",
                 path, (long long)no + 1, (long long)count);
  if (!rc) rc = append_tensors(gguf, &part);
  zf_gguf_free(&part);
  free(path);
  return rc;
}

int zf_gguf_add_parts(struct zf_gguf *gguf, const char *path) {
  int64_t count = integer_key(gguf, "split.count", 1), no = integer_key(gguf, "split.no", 0);
  if (count <= 1) return 0;
  if (count > MAX_PARTS)
    return zf_error(ZF_EINVALID, "%s: key 'split.count': expected at most %d, found %lld", path,
                    MAX_PARTS, (long long)count);
  if (no != 0)
    return zf_error(ZF_EUSAGE, "%s: is part %lld of %lld of a split file: give the first one", path,
                    (long long)no + 1, (long long)count);
  for (int64_t i = 1; i < count; i++) {
    int rc = add_part(gguf, path, i, count);
    if (rc) return rc;
  }
  int rc = zf_st_sort(gguf->st);
  if (rc) return rc;
  int64_t expected = integer_key(gguf, "split.tensors.count", gguf->st->count);
  if (expected == gguf->st->count) return 0;
  return zf_error(ZF_EINVALID,
                  "%s: key 'split.tensors.count' is %lld, but the parts hold %lld tensors", path,
                  (long long)expected, (long long)gguf->st->count);
}
