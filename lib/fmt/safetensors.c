/* The safetensors reader.
 *
 *   8 bytes        N bytes                        B bytes
 *   N, little | {"name": {"dtype", "shape",  | tensor | tensor | tensor
 *   endian    |  "data_offsets": [b, e]}, ...}| bytes  | bytes  | bytes
 *                                             0    b..e             B
 *
 * Offsets count from the end of the header.  In order they cover the buffer from its first byte to
 * the end of the file, without hole or overlap.  So the header gives the length of the file,
 * opening detects truncation, and no two names share bytes. */
#include "fmt/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "fmt/json.h"
#include "fmt/st_internal.h"
#include "fmt/utf8.h"

static const struct {
  const char *name;
  int bits; /* of an element */
} dtypes[] = {
    {"F32", 32},        {"F16", 16},        {"BF16", 16},   {"F64", 64},    {"I64", 64},
    {"I32", 32},        {"I16", 16},        {"I8", 8},      {"U8", 8},      {"U16", 16},
    {"U32", 32},        {"U64", 64},        {"BOOL", 8},    {"C64", 64},    {"F8_E5M2", 8},
    {"F8_E4M3", 8},     {"F8_E8M0", 8},     {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
};

enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* The bytes of the buffer that a tensor of the file takes. */
struct byte_range {
  int64_t begin, end;
  int64_t tensor; /* index into the store's tensors */
};

/* Finds the header's text, and the offset at which the tensors' bytes begin. */
static int find_header(const unsigned char *data, size_t len, const char **text, size_t *text_len,
                       size_t *buffer_begin) {
  struct zf_bytes bytes = {.data = data, .len = len};
  uint64_t size;
  const unsigned char *header;
  if (len < 8)
    return zf_error(ZF_EINVALID, "has %zu bytes: too short for the 8 of a header's length", len);
  int rc = zf_bytes_u64(&bytes, &size);
  if (rc) return rc;
  if (size > ZF_ST_MAXHEADER)
    return zf_error(ZF_EINVALID, "its header would be %llu bytes long, more than the %d allowed",
                    (unsigned long long)size, ZF_ST_MAXHEADER);
  if (size > len - 8)
    return zf_error(ZF_EINVALID, "its header would be %llu bytes long, but only %zu follow",
                    (unsigned long long)size, len - 8);
  if (size < 2)
    return zf_error(ZF_EINVALID, "its header of %llu bytes is too short for an object",
                    (unsigned long long)size);
  if ((rc = zf_bytes_take(&bytes, size, &header))) return rc;
  *text = (const char *)header;
  *text_len = (size_t)size;
  *buffer_begin = bytes.pos;
  return 0;
}

static int parse_header(json_t **out, const char *text, size_t len) {
  int64_t bad = zf_utf8_first_error(text, len);
  if (bad >= 0)
    return zf_error(ZF_EINVALID, "its header is not UTF-8: byte 0x%02x at offset %lld",
                    (unsigned char)text[bad], (long long)bad + 8);
  if (text[0] != '{')
    return zf_error(ZF_EINVALID, "its header begins with byte 0x%02x, not with '{'",
                    (unsigned char)text[0]);
  return zf_json_parse(out, text, len, "header");
}

static int read_metadata(struct zf_st *store, const json_t *meta, int keep) {
  const char *key;
  json_t *value;
  if (!json_is_object(meta))
    return zf_error(ZF_EINVALID, "__metadata__: expected an object, found %s", zf_json_kind(meta));
  if (keep && !(store->metadata = zf_calloc(2 * (int64_t)json_object_size(meta), sizeof(char *))))
    return ZF_ENOMEM;
  json_object_foreach((json_t *)meta, key, value) {
    if (!json_is_string(value))
      return zf_error(ZF_EINVALID, "__metadata__: key '%.120s': expected a string, found %s", key,
                      zf_json_kind(value));
    if (!keep) continue;
    char **pair = store->metadata + 2 * store->metadata_count++;
    if (!(pair[0] = zf_strdup(key)) || !(pair[1] = zf_strdup(json_string_value(value))))
      return ZF_ENOMEM;
  }
  return 0;
}

static int read_dtype(struct zf_st_tensor *tensor, int *bits, const json_t *value) {
  if (!json_is_string(value))
    return zf_error(ZF_EINVALID, "dtype: expected a string, found %s", zf_json_kind(value));
  for (int i = 0; i < DTYPES; i++)
    if (!strcmp(dtypes[i].name, json_string_value(value))) {
      tensor->dtype = dtypes[i].name;
      tensor->type = zf_dtype_by_safetensors(tensor->dtype);
      *bits = dtypes[i].bits;
      return 0;
    }
  return zf_error(ZF_EINVALID, "unknown dtype '%.40s'", json_string_value(value));
}

/* Reads an array of at most `max` counts: a shape or offsets. */
static int read_counts(int64_t *out, int *count, int max, const json_t *value, const char *what) {
  if (!json_is_array(value))
    return zf_error(ZF_EINVALID, "%s: expected an array, found %s", what, zf_json_kind(value));
  if (json_array_size(value) > (size_t)max)
    return zf_error(ZF_EINVALID, "%s: has %zu entries, more than the %d allowed", what,
                    json_array_size(value), max);
  *count = (int)json_array_size(value);
  for (int i = 0; i < *count; i++) {
    const json_t *entry = json_array_get(value, (size_t)i);
    if (!json_is_integer(entry))
      return zf_error(ZF_EINVALID, "%s: entry %d: expected an integer, found %s", what, i,
                      zf_json_kind(entry));
    if ((out[i] = json_integer_value(entry)) < 0)
      return zf_error(ZF_EINVALID, "%s: entry %d: %lld is negative", what, i, (long long)out[i]);
  }
  return 0;
}

/* The bytes that shape and dtype require. */
static int size_of(struct zf_st_tensor *tensor, int bits, int64_t *bytes) {
  int64_t total;
  tensor->count = 1;
  for (int i = 0; i < tensor->ndim; i++)
    if (zf_mul_checked(tensor->count, tensor->shape[i], &tensor->count))
      return zf_error(ZF_EINVALID, "the product of its shape overflows");
  if (zf_mul_checked(tensor->count, bits, &total))
    return zf_error(ZF_EINVALID, "the size of %lld values of %s overflows",
                    (long long)tensor->count, tensor->dtype);
  if (total % 8)
    return zf_error(ZF_EINVALID, "%lld values of %s do not fill whole bytes",
                    (long long)tensor->count, tensor->dtype);
  *bytes = total / 8;
  return 0;
}

static int read_tensor(struct zf_st_tensor *tensor, struct byte_range *range, const json_t *info) {
  const char *key;
  json_t *value;
  int bits = 0, offset_count, rc;
  int64_t offsets[2], bytes = 0;
  if (!json_is_object(info))
    return zf_error(ZF_EINVALID, "expected an object, found %s", zf_json_kind(info));
  json_object_foreach((json_t *)info, key, value) {
    if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"))
      return zf_error(ZF_EINVALID, "unknown key '%.40s'", key);
  }
  if ((rc = read_dtype(tensor, &bits, json_object_get(info, "dtype"))) ||
      (rc = read_counts(tensor->shape, &tensor->ndim, ZF_ST_MAXDIM, json_object_get(info, "shape"),
                        "shape")) ||
      (rc = read_counts(offsets, &offset_count, 2, json_object_get(info, "data_offsets"),
                        "data_offsets")))
    return rc;
  if (offset_count != 2)
    return zf_error(ZF_EINVALID, "data_offsets: expected 2 entries, found %d", offset_count);
  if (offsets[1] < offsets[0])
    return zf_error(ZF_EINVALID, "data_offsets: its end %lld lies before its begin %lld",
                    (long long)offsets[1], (long long)offsets[0]);
  if ((rc = size_of(tensor, bits, &bytes))) return rc;
  if (bytes != offsets[1] - offsets[0])
    return zf_error(ZF_EINVALID, "its shape and dtype take %lld bytes, its offsets span %lld",
                    (long long)bytes, (long long)(offsets[1] - offsets[0]));
  tensor->bytes = (size_t)bytes;
  range->begin = offsets[0];
  range->end = offsets[1];
  return 0;
}

static int by_place(const void *a, const void *b) {
  const struct byte_range *ranges = a, *right = b;
  if (ranges->begin != right->begin) return ranges->begin < right->begin ? -1 : 1;
  return (ranges->end > right->end) - (ranges->end < right->end);
}

/* Do the tensors cover the buffer, each byte once? */
static int check_cover(const struct zf_st *store, struct byte_range *ranges, int64_t count,
                       int64_t len) {
  int64_t end = 0;
  qsort(ranges, (size_t)count, sizeof *ranges, by_place);
  for (int64_t i = 0; i < count; i++) {
    const char *name = store->tensor[ranges[i].tensor].name;
    if (ranges[i].begin > end)
      return zf_error(ZF_EINVALID,
                      "tensor '%.120s': begins at byte %lld of the buffer and leaves "
                      "a hole after byte %lld",
                      name, (long long)ranges[i].begin, (long long)end);
    if (ranges[i].begin < end)
      return zf_error(ZF_EINVALID,
                      "tensor '%.120s': begins at byte %lld of the buffer and "
                      "overlaps tensor '%.120s', which ends at byte %lld",
                      name, (long long)ranges[i].begin, store->tensor[ranges[i - 1].tensor].name,
                      (long long)end);
    end = ranges[i].end;
  }
  if (len < end)
    return zf_error(ZF_EINVALID, "is truncated: its tensors take %lld bytes, only %lld are there",
                    (long long)end, (long long)len);
  if (len > end)
    return zf_error(ZF_EINVALID, "has %lld bytes after its last tensor", (long long)(len - end));
  return 0;
}

static int read_entries(struct zf_st *store, json_t *header, int file, struct byte_range *ranges,
                        int64_t *range_count) {
  const char *key;
  json_t *value;
  json_object_foreach(header, key, value) {
    int rc;
    if (!strcmp(key, "__metadata__")) {
      if ((rc = read_metadata(store, value, file == 0))) return rc;
      continue;
    }
    struct zf_st_tensor *tensor = store->tensor + store->count;
    memset(tensor, 0, sizeof *tensor);
    tensor->file = file;
    if (!(tensor->name = zf_strdup(key))) return ZF_ENOMEM;
    ranges[*range_count].tensor = store->count++;
    rc = read_tensor(tensor, &ranges[(*range_count)++], value);
    if (rc) return zf_error_prefix(rc, "tensor '%.120s'", key);
  }
  return 0;
}

int zf_st_add_slot(struct zf_st *store, const char *name) {
  char **path = realloc(store->path, (size_t)(store->file_count + 1) * sizeof *path);
  if (path) store->path = path;
  struct zf_map *map = realloc(store->map, (size_t)(store->file_count + 1) * sizeof *map);
  if (map) store->map = map;
  if (!path || !map) return zf_error(ZF_ENOMEM, "out of memory for file %d", store->file_count);
  memset(&store->map[store->file_count], 0, sizeof *map);
  if (!(store->path[store->file_count] = zf_strdup(name))) return ZF_ENOMEM;
  store->file_count++;
  return 0;
}

int zf_st_add(struct zf_st *store, const unsigned char *data, size_t len, const char *name) {
  const char *text = NULL;
  size_t text_len = 0, buffer_begin = 0;
  json_t *header = NULL;
  struct byte_range *ranges = NULL;
  int64_t range_count = 0;
  int file = store->file_count - 1, rc;
  if ((rc = find_header(data, len, &text, &text_len, &buffer_begin)) ||
      (rc = parse_header(&header, text, text_len)))
    goto fail;
  size_t count = json_object_size(header);
  struct zf_st_tensor *grown =
      realloc(store->tensor, ((size_t)store->count + count + 1) * sizeof *grown);
  if (grown) store->tensor = grown;
  if (!grown || !(ranges = zf_calloc((int64_t)count, sizeof *ranges))) {
    rc = zf_error(ZF_ENOMEM, "out of memory for %zu tensors", count);
    goto fail;
  }
  if ((rc = read_entries(store, header, file, ranges, &range_count)) ||
      (rc = check_cover(store, ranges, range_count, (int64_t)(len - buffer_begin))))
    goto fail;
  for (int64_t i = 0; i < range_count; i++)
    store->tensor[ranges[i].tensor].data = data + buffer_begin + ranges[i].begin;
fail:
  free(ranges);
  json_decref(header);
  return rc ? zf_error_prefix(rc, "%s", name) : 0;
}

int zf_st_add_file(struct zf_st *store, const char *path) {
  int rc = zf_st_add_slot(store, path);
  if (rc || (rc = zf_map_open(&store->map[store->file_count - 1], path))) return rc;
  const struct zf_map *map = &store->map[store->file_count - 1];
  return zf_st_add(store, map->data, map->len, path);
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct zf_st_tensor *)a)->name, ((const struct zf_st_tensor *)b)->name);
}

int zf_st_sort(struct zf_st *store) {
  if (store->count) qsort(store->tensor, (size_t)store->count, sizeof *store->tensor, by_name);
  for (int64_t i = 1; i < store->count; i++) {
    const struct zf_st_tensor *tensor = store->tensor + i - 1;
    if (!strcmp(tensor[0].name, tensor[1].name))
      return zf_error(ZF_EINVALID, "%s: tensor '%.120s' is also in %s", store->path[tensor[1].file],
                      tensor[0].name, store->path[tensor[0].file]);
  }
  return 0;
}

/* Adds the file, or the files of the directory. */
static int add_path(struct zf_st *store, const char *path) {
  if (!zf_is_dir(path)) return zf_st_add_file(store, path);
  char *single = zf_path_join(path, "model.safetensors");
  char *index = zf_path_join(path, "model.safetensors.index.json");
  char *adapter = zf_path_join(path, "adapter_model.safetensors");
  int rc;
  if (!single || !index || !adapter)
    rc = ZF_ENOMEM;
  else if (zf_exists(single))
    rc = zf_st_add_file(store, single);
  else if (zf_exists(index))
    rc = zf_st_add_index(store, index, path);
  else if (zf_exists(adapter))
    rc = zf_st_add_file(store, adapter);
  else
    rc = zf_error(ZF_EUSAGE,
                  "%s: holds neither model.safetensors nor "
                  "model.safetensors.index.json",
                  path);
  free(single);
  free(index);
  free(adapter);
  return rc;
}

static int finish(struct zf_st **out, struct zf_st *store, int rc) {
  if (!rc) rc = zf_st_sort(store);
  if (rc) {
    zf_st_free(store);
    store = NULL;
  }
  *out = store;
  return rc;
}

int zf_st_open(struct zf_st **out, const char *path) {
  struct zf_st *store = zf_calloc(1, sizeof *store);
  *out = NULL;
  if (!store) return ZF_ENOMEM;
  return finish(out, store, add_path(store, path));
}

int zf_st_parse(struct zf_st **out, const void *data, size_t len, const char *name) {
  struct zf_st *store = zf_calloc(1, sizeof *store);
  *out = NULL;
  if (!store) return ZF_ENOMEM;
  int rc = zf_st_add_slot(store, name);
  return finish(out, store, rc ? rc : zf_st_add(store, data, len, name));
}

void zf_st_free(struct zf_st *store) {
  if (!store) return;
  for (int64_t i = 0; i < store->count; i++) free((char *)store->tensor[i].name);
  for (int64_t i = 0; i < 2 * store->metadata_count; i++) free(store->metadata[i]);
  for (int i = 0; i < store->file_count; i++) {
    zf_map_close(&store->map[i]);
    free(store->path[i]);
  }
  free(store->tensor);
  free(store->metadata);
  free(store->path);
  free(store->map);
  free(store);
}

const struct zf_st_tensor *zf_st_find(const struct zf_st *store, const char *name) {
  const struct zf_st_tensor key = {.name = name};
  return store->count ? bsearch(&key, store->tensor, (size_t)store->count, sizeof key, by_name)
                      : NULL;
}
