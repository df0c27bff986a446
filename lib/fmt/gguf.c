/* The GGUF reader. */
#include "fmt/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "fmt/gguf_internal.h"
#include "fmt/st_internal.h"

struct gguf_reader {
  struct zf_bytes bytes;
  struct zf_gguf *gguf;
  int arrays;
  uint64_t tensor_count, key_count;
  int64_t align;
};

/* --- keys ------------------------------------------------------------------------------------ */

static int read_text(struct gguf_reader *reader, const unsigned char **data, uint64_t *len) {
  int rc = zf_bytes_u64(&reader->bytes, len);
  if (rc) return rc;
  if (*len > ZF_GGUF_MAXSTRING)
    return zf_error(ZF_EINVALID, "a string of %llu bytes, more than the %d allowed",
                    (unsigned long long)*len, ZF_GGUF_MAXSTRING);
  return zf_bytes_take(&reader->bytes, *len, data);
}

static int read_string(struct gguf_reader *reader, json_t **out) {
  const unsigned char *data = NULL;
  uint64_t len = 0;
  int rc = read_text(reader, &data, &len);
  if (rc) return rc;
  *out = json_stringn(len ? (const char *)data : "", (size_t)len);
  return *out ? 0
              : zf_error(ZF_EINVALID, "a string of %llu bytes is not UTF-8",
                         (unsigned long long)len);
}

/* Takes over a value, which is NULL if it could not be made: `reason` says why. */
static int set_value(json_t *value, json_t **out, const char *reason) {
  *out = value;
  return value ? 0 : zf_error(ZF_EINVALID, "%s", reason);
}

static int read_float(struct gguf_reader *reader, enum zf_gguf_value_type type, json_t **out) {
  float single = 0;
  double number = 0;
  int rc = type == ZF_GGUF_F32 ? zf_bytes_f32(&reader->bytes, &single)
                               : zf_bytes_f64(&reader->bytes, &number);
  if (rc) return rc;
  if (type == ZF_GGUF_F32) number = (double)single;
  return set_value(json_real(number), out, "a number that is not finite");
}

/* An integer or a boolean, little endian. */
static int read_integer(struct gguf_reader *reader, uint32_t type, json_t **out) {
  const unsigned char *data = NULL;
  int bytes = zf_gguf_ids[type].bytes, is_signed = zf_gguf_ids[type].is_signed;
  int rc = zf_bytes_take(&reader->bytes, (uint64_t)bytes, &data);
  if (rc) return rc;
  uint64_t bits = 0;
  for (int i = bytes - 1; i >= 0; i--) bits = bits << 8 | data[i];
  if (zf_gguf_ids[type].type == ZF_GGUF_BOOL && bits > 1)
    return zf_error(ZF_EINVALID, "a bool of value %d: expected 0 or 1", data[0]);
  if (zf_gguf_ids[type].type == ZF_GGUF_BOOL)
    return set_value(json_boolean((int)bits), out, "out of memory");
  if (zf_gguf_ids[type].type == ZF_GGUF_U64 && bits > INT64_MAX)
    return zf_error(ZF_EINVALID, "the number %llu is above 2^63 - 1", (unsigned long long)bits);
  int64_t value = (int64_t)bits;
  if (is_signed && data[bytes - 1] & 128) value -= (int64_t)1 << 8 * bytes;
  return set_value(json_integer(value), out, "out of memory");
}

static int read_scalar(struct gguf_reader *reader, uint32_t type, json_t **out) {
  enum zf_gguf_value_type kind = zf_gguf_ids[type].type;
  if (kind == ZF_GGUF_TEXT) return read_string(reader, out);
  return kind == ZF_GGUF_F32 || kind == ZF_GGUF_F64 ? read_float(reader, kind, out)
                                                    : read_integer(reader, type, out);
}

/* The elements of an array into *out, or, without `keep`, past the cursor. */
static int read_elements(struct gguf_reader *reader, uint32_t type, uint64_t count, int keep,
                         json_t *out) {
  for (uint64_t i = 0; i < count; i++) {
    json_t *value = NULL;
    int rc = read_scalar(reader, type, &value);
    if (rc || !keep)
      json_decref(value);
    else if (json_array_append_new(out, value))
      rc = zf_error(ZF_ENOMEM, "out of memory");
    if (rc) return rc;
  }
  return 0;
}

/* *kind: of the elements. */
static int read_array(struct gguf_reader *reader, json_t **out, enum zf_gguf_value_type *kind) {
  uint32_t type = 0;
  uint64_t count = 0;
  int rc = zf_bytes_u32(&reader->bytes, &type);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &count);
  if (rc) return rc;
  if (type >= ZF_GGUF_IDS || type == ZF_GGUF_ID_ARRAY)
    return zf_error(ZF_EINVALID, "an array of elements of type %u", type);
  *kind = zf_gguf_ids[type].type;
  size_t follow = reader->bytes.len - reader->bytes.pos;
  if (count > ZF_GGUF_MAXARRAY || count > follow / (size_t)zf_gguf_ids[type].bytes)
    return zf_error(ZF_EINVALID, "an array of %llu elements: %d are allowed, %zu bytes follow",
                    (unsigned long long)count, ZF_GGUF_MAXARRAY, follow);
  int keep = reader->arrays || count <= ZF_GGUF_SHORT_ARRAY;
  if (keep && !(*out = json_array())) return zf_error(ZF_ENOMEM, "out of memory");
  return read_elements(reader, type, count, keep, *out);
}

/* Adds a key, and, unless it is an array or a long string, its text to the metadata. */
static int keep_key(struct gguf_reader *reader, const char *key, json_t *value) {
  struct zf_st *st = reader->gguf->st;
  char number[64];
  const char *text = json_string_value(value);
  if (!value) return json_object_set_new(reader->gguf->keys, key, json_null()) ? ZF_ENOMEM : 0;
  if (json_object_set(reader->gguf->keys, key, value)) return zf_error(ZF_ENOMEM, "out of memory");
  if (json_is_array(value) || (text && json_string_length(value) > 200)) return 0;
  if (json_is_integer(value))
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
  if (json_is_real(value)) snprintf(number, sizeof number, "%.9g", json_real_value(value));
  if (json_is_boolean(value))
    snprintf(number, sizeof number, "%s", json_is_true(value) ? "true" : "false");
  char **pair = st->metadata + 2 * st->metadata_count++;
  return (pair[0] = zf_strdup(key)) && (pair[1] = zf_strdup(text ? text : number)) ? 0 : ZF_ENOMEM;
}

static int read_value(struct gguf_reader *reader, const char *key, json_t **value) {
  enum zf_gguf_value_type kind = ZF_GGUF_TEXT;
  uint32_t type = 0;
  int rc = zf_bytes_u32(&reader->bytes, &type);
  if (rc) return rc;
  if (type >= ZF_GGUF_IDS)
    return zf_error(ZF_EINVALID, "key '%.120s' has the unknown type %u", key, type);
  if (type == ZF_GGUF_ID_ARRAY) {
    rc = read_array(reader, value, &kind);
  } else {
    kind = zf_gguf_ids[type].type;
    rc = read_scalar(reader, type, value);
  }
  if (rc) return zf_error_prefix(rc, "key '%.120s'", key);
  return json_object_set_new(reader->gguf->types, key, json_integer(kind))
             ? zf_error(ZF_ENOMEM, "out of memory")
             : 0;
}

static int read_key(struct gguf_reader *reader) {
  json_t *name = NULL, *value = NULL;
  int rc = read_string(reader, &name);
  if (rc) return rc;
  const char *key = json_string_value(name);
  if (strlen(key) != json_string_length(name) || !*key)
    rc = zf_error(ZF_EINVALID, "a key that is empty or holds a zero byte");
  else if (json_object_get(reader->gguf->keys, key))
    rc = zf_error(ZF_EINVALID, "key '%.120s' appears twice", key);
  else
    rc = read_value(reader, key, &value);
  if (!rc) rc = keep_key(reader, key, value);
  json_decref(value);
  json_decref(name);
  return rc;
}

static int read_alignment(struct gguf_reader *reader) {
  const json_t *align = json_object_get(reader->gguf->keys, "general.alignment");
  reader->align = align ? json_integer_value(align) : 32;
  if (reader->align < 1 || reader->align > 1 << 20 || reader->align & (reader->align - 1))
    return zf_error(ZF_EINVALID, "general.alignment: expected a power of two up to 2^20");
  return 0;
}

static int read_keys(struct gguf_reader *reader) {
  reader->gguf->keys = json_object();
  reader->gguf->types = json_object();
  reader->gguf->st->metadata = zf_calloc(2 * (int64_t)reader->key_count + 1, sizeof(char *));
  if (!reader->gguf->keys || !reader->gguf->types || !reader->gguf->st->metadata)
    return zf_error(ZF_ENOMEM, "out of memory");
  for (uint64_t i = 0; i < reader->key_count; i++) {
    int rc = read_key(reader);
    if (rc) return rc;
  }
  return read_alignment(reader);
}

/* --- tensors --------------------------------------------------------------------------------- */

/* The file has the innermost dimension first. */
static int read_shape(struct gguf_reader *reader, struct zf_st_tensor *tensor) {
  uint32_t ndim = 0;
  uint64_t size = 0;
  int rc = zf_bytes_u32(&reader->bytes, &ndim);
  if (rc) return rc;
  if (ndim > ZF_GGUF_MAXDIM)
    return zf_error(ZF_EINVALID, "has %u dimensions, more than the %d allowed", ndim,
                    ZF_GGUF_MAXDIM);
  tensor->ndim = (int)ndim;
  tensor->count = 1;
  for (int i = tensor->ndim - 1; i >= 0; i--) {
    if ((rc = zf_bytes_u64(&reader->bytes, &size))) return rc;
    tensor->shape[i] = (int64_t)size;
    if (size > INT64_MAX || zf_mul_checked(tensor->count, tensor->shape[i], &tensor->count))
      return zf_error(ZF_EINVALID, "the product of its shape overflows");
  }
  return 0;
}

static int read_type(struct gguf_reader *reader, struct zf_st_tensor *tensor) {
  uint32_t id = 0;
  int64_t bytes;
  int rc = zf_bytes_u32(&reader->bytes, &id);
  if (rc) return rc;
  const struct zf_gguf_tensor_type *type = zf_gguf_tensor_type(id);
  if (!type) return zf_error(ZF_EINVALID, "unknown type %u", id);
  int64_t row = tensor->ndim ? tensor->shape[tensor->ndim - 1] : 1;
  tensor->dtype = type->name;
  tensor->type = type->type;
  if (row % type->block)
    return zf_error(ZF_EINVALID, "its rows of %lld values are no whole blocks of %d (%s)",
                    (long long)row, type->block, tensor->dtype);
  if (zf_mul_checked(tensor->count / type->block, type->bytes, &bytes))
    return zf_error(ZF_EINVALID, "its size overflows");
  tensor->bytes = (size_t)bytes;
  return 0;
}

/* Tensors follow each other, each aligned.  *end as for read_tensor. */
static int read_offset(struct gguf_reader *reader, const struct zf_st_tensor *tensor,
                       int64_t *end) {
  uint64_t offset = 0;
  int rc = zf_bytes_u64(&reader->bytes, &offset);
  if (rc) return rc;
  if (offset != (uint64_t)*end)
    return zf_error(ZF_EINVALID, "its offset is %llu, but the tensor before it ends at %lld",
                    (unsigned long long)offset, (long long)*end);
  if (zf_add_checked(*end, (int64_t)tensor->bytes, end) ||
      zf_add_checked(*end, reader->align - 1, end))
    return zf_error(ZF_EINVALID, "its end overflows");
  *end &= ~(reader->align - 1);
  return 0;
}

/* Reads an entry of the tensor table; `data` stays NULL until place_tensors.  *end: where the
 * tensor before it ends in the data, then where this one ends. */
static int read_tensor(struct gguf_reader *reader, struct zf_st_tensor *tensor, int64_t *end) {
  const unsigned char *data = NULL;
  uint64_t len = 0;
  int rc = read_text(reader, &data, &len);
  if (rc) return rc;
  if (!len || len >= ZF_GGUF_MAXNAME || memchr(data, 0, (size_t)len))
    return zf_error(ZF_EINVALID, "a tensor's name of %llu bytes: expected 1 to %d, none zero",
                    (unsigned long long)len, ZF_GGUF_MAXNAME - 1);
  if (!(tensor->name = zf_strndup((const char *)data, (size_t)len))) return ZF_ENOMEM;
  rc = read_shape(reader, tensor);
  if (!rc) rc = read_type(reader, tensor);
  if (!rc) rc = read_offset(reader, tensor, end);
  return rc ? zf_error_prefix(rc, "tensor '%.64s'", tensor->name) : 0;
}

static int place_tensors(struct gguf_reader *reader) {
  struct zf_st *st = reader->gguf->st;
  size_t align = (size_t)reader->align, at = (reader->bytes.pos + align - 1) & ~(align - 1);
  for (int64_t i = 0; i < st->count; i++) {
    struct zf_st_tensor *tensor = &st->tensor[i];
    if (at > reader->bytes.len || tensor->bytes > reader->bytes.len - at)
      return zf_error(ZF_EINVALID,
                      "tensor '%.64s' takes %zu bytes from byte %zu on, but the file ends at %zu",
                      tensor->name, tensor->bytes, at, reader->bytes.len);
    tensor->data = reader->bytes.data + at;
    at += (tensor->bytes + align - 1) & ~(align - 1);
  }
  return 0;
}

static int read_tensors(struct gguf_reader *reader) {
  struct zf_st *st = reader->gguf->st;
  int64_t end = 0;
  st->tensor = zf_calloc((int64_t)reader->tensor_count + 1, sizeof *st->tensor);
  if (!st->tensor) return ZF_ENOMEM;
  while (st->count < (int64_t)reader->tensor_count) {
    struct zf_st_tensor *tensor = &st->tensor[st->count++]; /* counted, so that it is freed */
    int rc = read_tensor(reader, tensor, &end);
    if (rc) return rc;
  }
  int rc = place_tensors(reader);
  return rc ? rc : zf_st_sort(st);
}

/* --- the file -------------------------------------------------------------------------------- */

static int read_header(struct gguf_reader *reader) {
  const unsigned char *magic = NULL;
  uint32_t version = 0;
  int rc = zf_bytes_take(&reader->bytes, 4, &magic);
  if (!rc && memcmp(magic, "GGUF", 4) != 0)
    return zf_error(ZF_EINVALID, "expected the bytes GGUF: not a GGUF file");
  if (!rc) rc = zf_bytes_u32(&reader->bytes, &version);
  if (!rc && version != 3 && version != 2)
    return zf_error(ZF_EINVALID, "version %u: supported are 2 and 3, little endian", version);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &reader->tensor_count);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &reader->key_count);
  if (rc) return rc;
  /* A key takes 13 bytes at least, a tensor 25. */
  size_t remaining = reader->bytes.len - reader->bytes.pos;
  if (reader->tensor_count > ZF_GGUF_MAXCOUNT || reader->key_count > ZF_GGUF_MAXCOUNT ||
      reader->tensor_count > remaining / 24 || reader->key_count > remaining / 12)
    return zf_error(ZF_EINVALID, "%llu tensors and %llu keys do not fit the %zu bytes that follow",
                    (unsigned long long)reader->tensor_count, (unsigned long long)reader->key_count,
                    remaining);
  return 0;
}

static int read_file(struct zf_gguf *gguf, const unsigned char *data, size_t len, int arrays) {
  struct gguf_reader reader = {.bytes = {.data = data, .len = len}, .gguf = gguf, .arrays = arrays};
  int rc = read_header(&reader);
  if (!rc) rc = read_keys(&reader);
  if (!rc) rc = read_tensors(&reader);
  return rc ? zf_error_prefix(rc, "%s: byte %zu", gguf->st->path[0], reader.bytes.pos) : 0;
}

int zf_gguf_parse(struct zf_gguf *out, const void *data, size_t len, const char *name, int arrays) {
  *out = (struct zf_gguf){.st = zf_calloc(1, sizeof *out->st)};
  int rc = out->st ? zf_st_add_slot(out->st, name) : ZF_ENOMEM;
  if (!rc) rc = read_file(out, data, len, arrays);
  if (rc) zf_gguf_free(out);
  return rc;
}

int zf_gguf_open_part(struct zf_gguf *out, const char *path, int arrays) {
  *out = (struct zf_gguf){.st = zf_calloc(1, sizeof *out->st)};
  int rc = out->st ? zf_st_add_slot(out->st, path) : ZF_ENOMEM;
  if (!rc) rc = zf_map_open(&out->st->map[0], path);
  if (!rc) rc = read_file(out, out->st->map[0].data, out->st->map[0].len, arrays);
  if (rc) zf_gguf_free(out);
  return rc;
}

int zf_gguf_open(struct zf_gguf *out, const char *path, int arrays) {
  int rc = zf_gguf_open_part(out, path, arrays);
  if (!rc) rc = zf_gguf_add_parts(out, path);
  if (rc) zf_gguf_free(out);
  return rc;
}

void zf_gguf_free(struct zf_gguf *gguf) {
  json_decref(gguf->keys);
  json_decref(gguf->types);
  zf_st_free(gguf->st);
  memset(gguf, 0, sizeof *gguf);
}

int zf_is_gguf_path(const char *path) {
  size_t len = strlen(path);
  return len > 5 && !strcmp(path + len - 5, ".gguf");
}
