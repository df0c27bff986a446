/* Sharded checkpoints: model.safetensors.index.json maps each tensor to the file that holds it,
 *
 *   {"weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}}
 *
 * If several shards hold a tensor, the map decides which one is used.  A tensor of a shard that is
 * not in the map is kept, as other loaders do.  A name in the map that no shard holds is not an
 * error here: code that needs the tensor reports it. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "fmt/json.h"
#include "fmt/st_internal.h"

/* A shard lies in the directory of its index: its name must not lead elsewhere. */
static int check_shard_name(const json_t *value, const char *tensor) {
  if (!json_is_string(value))
    return zf_error(ZF_EINVALID, "tensor '%.120s': expected the name of a shard, found %s", tensor,
                    zf_json_kind(value));
  const char *name = json_string_value(value);
  if (!name[0] || strchr(name, '/') || strstr(name, ".."))
    return zf_error(ZF_EINVALID, "tensor '%.120s': shard '%.120s' is not a plain file name", tensor,
                    name);
  return 0;
}

static int add_shard(struct zf_st *store, const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  if (!path) return ZF_ENOMEM;
  int rc = zf_exists(path) ? zf_st_add_file(store, path)
                           : zf_error(ZF_EINVALID, "%s: is missing, but the index names it", path);
  free(path);
  return rc;
}

/* Adds each shard once.  `files` becomes {shard: index of its file}. */
static int add_shards(struct zf_st *store, json_t *map, json_t *files, const char *index,
                      const char *dir) {
  const char *tensor;
  json_t *value;
  json_object_foreach(map, tensor, value) {
    int rc = check_shard_name(value, tensor);
    if (rc) return zf_error_prefix(rc, "%s", index);
    const char *shard = json_string_value(value);
    if (json_object_get(files, shard)) continue;
    if ((rc = add_shard(store, dir, shard))) return rc;
    if (json_object_set_new(files, shard, json_integer(store->file_count - 1)))
      return zf_error(ZF_ENOMEM, "%s: out of memory for its shards", index);
  }
  return 0;
}

/* The file that the map names for a tensor, or -1. */
static int mapped_file(const struct zf_st_tensor *tensor, const json_t *map, const json_t *files) {
  const json_t *file =
      json_object_get(files, json_string_value(json_object_get(map, tensor->name)));
  return file ? (int)json_integer_value(file) : -1;
}

/* The names of the tensors that stand in the shard which the map names for them, as {name: true};
 * NULL if there is no memory. */
static json_t *placed_names(const struct zf_st *store, const json_t *map, const json_t *files) {
  json_t *placed = json_object();
  if (!placed) return NULL;
  for (int64_t i = 0; i < store->count; i++) {
    const struct zf_st_tensor *tensor = &store->tensor[i];
    if (mapped_file(tensor, map, files) != tensor->file) continue;
    if (!json_object_set_new(placed, tensor->name, json_true())) continue;
    json_decref(placed);
    return NULL;
  }
  return placed;
}

/* Drops a tensor if the map names another shard for it and that shard holds it. */
static int drop_duplicates(struct zf_st *store, const json_t *map, const json_t *files,
                           const char *index) {
  int64_t kept = 0;
  json_t *placed = placed_names(store, map, files);
  if (!placed) return zf_error(ZF_ENOMEM, "%s: out of memory for its tensors", index);
  for (int64_t i = 0; i < store->count; i++) {
    struct zf_st_tensor *tensor = &store->tensor[i];
    if (mapped_file(tensor, map, files) == tensor->file || !json_object_get(placed, tensor->name))
      store->tensor[kept++] = *tensor;
    else
      free((char *)tensor->name);
  }
  json_decref(placed);
  store->count = kept;
  return 0;
}

int zf_st_add_index(struct zf_st *store, const char *path, const char *dir) {
  json_t *index = NULL, *files = json_object();
  int rc = files ? zf_json_load(&index, path) : zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (rc) goto fail;
  json_t *map = json_object_get(index, "weight_map");
  if (!json_is_object(map)) {
    rc = zf_error(ZF_EINVALID, "%s: key 'weight_map': expected an object, found %s", path,
                  zf_json_kind(map));
    goto fail;
  }
  if (!(rc = add_shards(store, map, files, path, dir)))
    rc = drop_duplicates(store, map, files, path);
fail:
  json_decref(files);
  json_decref(index);
  return rc;
}
