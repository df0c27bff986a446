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

/* Types of values, by their number in the file. */
enum value_type { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, TYPES };
static const unsigned char value_bytes[TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

/* Types of tensors: a block's values and bytes, and what zoft computes with. */
static const struct {
  uint32_t id;
  const char *name;
  int block, bytes, type; /* type: enum zf_dtype, -1: none */
} tensor_types[] = {
    {0, "F32", 1, 4, ZF_F32},        {1, "F16", 1, 2, ZF_F16},
    {30, "BF16", 1, 2, ZF_BF16},     {8, "Q8_0", 32, 34, ZF_Q8_0},
    {2, "Q4_0", 32, 18, ZF_Q4_0},    {12, "Q4_K", 256, 144, ZF_Q4_K},
    {14, "Q6_K", 256, 210, ZF_Q6_K}, {3, "Q4_1", 32, 20, ZF_Q4_1},
    {6, "Q5_0", 32, 22, ZF_Q5_0},    {7, "Q5_1", 32, 24, ZF_Q5_1},
    {9, "Q8_1", 32, 40, -1},         {10, "Q2_K", 256, 84, ZF_Q2_K},
    {11, "Q3_K", 256, 110, ZF_Q3_K}, {13, "Q5_K", 256, 176, ZF_Q5_K},
    {15, "Q8_K", 256, 292, -1},      {16, "IQ2_XXS", 256, 66, -1},
    {17, "IQ2_XS", 256, 74, -1},     {18, "IQ3_XXS", 256, 98, -1},
    {19, "IQ1_S", 256, 50, -1},      {20, "IQ4_NL", 32, 18, -1},
    {21, "IQ3_S", 256, 110, -1},     {22, "IQ2_S", 256, 82, -1},
    {23, "IQ4_XS", 256, 136, -1},    {24, "I8", 1, 1, -1},
    {25, "I16", 1, 2, -1},           {26, "I32", 1, 4, -1},
    {27, "I64", 1, 8, -1},           {28, "F64", 1, 8, -1},
    {29, "IQ1_M", 256, 56, -1},      {34, "TQ1_0", 256, 54, -1},
    {35, "TQ2_0", 256, 66, -1},      {39, "MXFP4", 32, 17, -1},
};
enum { TENSOR_TYPES = sizeof tensor_types / sizeof *tensor_types };

struct reader {
  struct zf_bytes bytes;
  struct zf_gguf *gguf;
  int arrays;
  uint64_t ntensor, nkey;
  int64_t align;
};

/* --- keys ------------------------------------------------------------------------------------ */

static int read_text(struct reader *reader, const unsigned char **p, uint64_t *n) {
  int rc = zf_bytes_u64(&reader->bytes, n);
  if (rc) return rc;
  if (*n > ZF_GGUF_MAXSTRING)
    return zf_error(ZF_EINVALID, "a string of %llu bytes, more than the %d allowed",
                    (unsigned long long)*n, ZF_GGUF_MAXSTRING);
  return zf_bytes_take(&reader->bytes, *n, p);
}

static int read_string(struct reader *reader, json_t **out) {
  const unsigned char *p = NULL;
  uint64_t n = 0;
  int rc = read_text(reader, &p, &n);
  if (rc) return rc;
  *out = json_stringn(n ? (const char *)p : "", (size_t)n);
  return *out ? 0
              : zf_error(ZF_EINVALID, "a string of %llu bytes is not UTF-8", (unsigned long long)n);
}

static int made(json_t *value, json_t **out, const char *what) {
  *out = value;
  return value ? 0 : zf_error(ZF_EINVALID, "%s", what);
}

static int read_float(struct reader *reader, uint32_t type, json_t **out) {
  float f = 0;
  double d = 0;
  int rc = type == F32 ? zf_bytes_f32(&reader->bytes, &f) : zf_bytes_f64(&reader->bytes, &d);
  if (rc) return rc;
  return made(json_real(type == F32 ? (double)f : d), out, "a number that is not finite");
}

/* A whole number of `bytes` bytes, the first the lowest; the signed types are the odd ones, and
 * I64, of the format's list. */
static int read_whole(struct reader *reader, uint32_t type, json_t **out) {
  const unsigned char *p = NULL;
  int bytes = value_bytes[type], is_signed = type == I8 || type == I16 || type == I32;
  int rc = zf_bytes_take(&reader->bytes, (uint64_t)bytes, &p);
  if (rc) return rc;
  uint64_t u = 0;
  for (int i = bytes - 1; i >= 0; i--) u = u << 8 | p[i];
  if (type == BOOL && u > 1) return zf_error(ZF_EINVALID, "a bool of value %d", p[0]);
  if (type == BOOL) return made(json_boolean((int)u), out, "out of memory");
  if (type == U64 && u > INT64_MAX)
    return zf_error(ZF_EINVALID, "the number %llu is above 2^63 - 1", (unsigned long long)u);
  int64_t v = (int64_t)u;
  if (is_signed && p[bytes - 1] & 128) v -= (int64_t)1 << 8 * bytes;
  return made(json_integer(v), out, "out of memory");
}

static int read_scalar(struct reader *reader, uint32_t type, json_t **out) {
  if (type == STRING) return read_string(reader, out);
  return type == F32 || type == F64 ? read_float(reader, type, out) : read_whole(reader, type, out);
}

static int read_array(struct reader *reader, json_t **out) {
  uint32_t type = 0;
  uint64_t n = 0;
  int rc = zf_bytes_u32(&reader->bytes, &type);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &n);
  if (rc) return rc;
  if (type >= TYPES || type == ARRAY)
    return zf_error(ZF_EINVALID, "an array of elements of type %u", type);
  if (n > ZF_GGUF_MAXARRAY || n > (reader->bytes.len - reader->bytes.pos) / value_bytes[type])
    return zf_error(ZF_EINVALID, "an array of %llu elements: %d are allowed, %zu bytes follow",
                    (unsigned long long)n, ZF_GGUF_MAXARRAY, reader->bytes.len - reader->bytes.pos);
  int keep = reader->arrays || n <= ZF_GGUF_FEW;
  if (keep && !(*out = json_array())) return zf_error(ZF_ENOMEM, "out of memory");
  for (uint64_t i = 0; !rc && i < n; i++) {
    json_t *value = NULL;
    rc = read_scalar(reader, type, &value);
    if (rc || !keep)
      json_decref(value);
    else if (json_array_append_new(*out, value))
      rc = zf_error(ZF_ENOMEM, "out of memory");
  }
  return rc;
}

static int keep_key(struct reader *reader, const char *key, json_t *value) {
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
  char **pair = st->metadata + 2 * st->nmetadata++;
  return (pair[0] = zf_strdup(key)) && (pair[1] = zf_strdup(text ? text : number)) ? 0 : ZF_ENOMEM;
}

static int read_key(struct reader *reader) {
  json_t *name = NULL, *value = NULL;
  uint32_t type = 0;
  int rc = read_string(reader, &name);
  if (rc) return rc;
  const char *key = json_string_value(name);
  if (strlen(key) != json_string_length(name) || !*key)
    rc = zf_error(ZF_EINVALID, "a key that is empty or holds a zero byte");
  else if (json_object_get(reader->gguf->keys, key))
    rc = zf_error(ZF_EINVALID, "key '%.120s' appears twice", key);
  if (!rc) rc = zf_bytes_u32(&reader->bytes, &type);
  if (!rc && type >= TYPES) rc = zf_error(ZF_EINVALID, "key '%.120s' has type %u", key, type);
  if (!rc) {
    rc = type == ARRAY ? read_array(reader, &value) : read_scalar(reader, type, &value);
    rc = rc ? zf_error_prefix(rc, "key '%.120s'", key) : keep_key(reader, key, value);
  }
  json_decref(value);
  json_decref(name);
  return rc;
}

static int read_keys(struct reader *reader) {
  int rc = 0;
  reader->gguf->keys = json_object();
  reader->gguf->st->metadata = zf_calloc(2 * (int64_t)reader->nkey + 1, sizeof(char *));
  if (!reader->gguf->keys || !reader->gguf->st->metadata)
    return zf_error(ZF_ENOMEM, "out of memory");
  for (uint64_t i = 0; !rc && i < reader->nkey; i++) rc = read_key(reader);
  const json_t *align = rc ? NULL : json_object_get(reader->gguf->keys, "general.alignment");
  reader->align = 32;
  if (!align) return rc;
  reader->align = json_integer_value(align);
  if (reader->align < 1 || reader->align > 1 << 20 || reader->align & (reader->align - 1))
    return zf_error(ZF_EINVALID, "general.alignment: expected a power of two up to 2^20");
  return 0;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* Dimensions lie innermost first in the file. */
static int read_shape(struct reader *reader, struct zf_st_tensor *tensor) {
  uint32_t n = 0;
  uint64_t d = 0;
  int rc = zf_bytes_u32(&reader->bytes, &n);
  if (rc) return rc;
  if (n > ZF_GGUF_MAXDIM)
    return zf_error(ZF_EINVALID, "has %u dimensions, more than the %d allowed", n, ZF_GGUF_MAXDIM);
  tensor->ndim = (int)n;
  tensor->count = 1;
  for (int i = tensor->ndim - 1; i >= 0; i--) {
    if ((rc = zf_bytes_u64(&reader->bytes, &d))) return rc;
    tensor->shape[i] = (int64_t)d;
    if (d > INT64_MAX || zf_mul(tensor->count, tensor->shape[i], &tensor->count))
      return zf_error(ZF_EINVALID, "the product of its shape overflows");
  }
  return 0;
}

static int read_type(struct reader *reader, struct zf_st_tensor *tensor) {
  uint32_t id = 0;
  int k = 0;
  int64_t bytes;
  int rc = zf_bytes_u32(&reader->bytes, &id);
  if (rc) return rc;
  while (k < TENSOR_TYPES && tensor_types[k].id != id) k++;
  if (k == TENSOR_TYPES) return zf_error(ZF_EINVALID, "unknown type %u", id);
  int64_t row = tensor->ndim ? tensor->shape[tensor->ndim - 1] : 1;
  tensor->dtype = tensor_types[k].name;
  tensor->type = tensor_types[k].type;
  if (row % tensor_types[k].block)
    return zf_error(ZF_EINVALID, "its rows of %lld values are no whole blocks of %d (%s)",
                    (long long)row, tensor_types[k].block, tensor->dtype);
  if (zf_mul(tensor->count / tensor_types[k].block, tensor_types[k].bytes, &bytes))
    return zf_error(ZF_EINVALID, "its size overflows");
  tensor->bytes = (size_t)bytes;
  return 0;
}

/* The tensor's place is set once the data section is known; until then `data` stays NULL.  *end
 * is where the one before it ends. */
static int read_tensor(struct reader *reader, struct zf_st_tensor *tensor, int64_t *end) {
  const unsigned char *p = NULL;
  uint64_t n = 0, offset = 0;
  int rc = read_text(reader, &p, &n);
  if (rc) return rc;
  if (!n || n >= ZF_GGUF_MAXNAME || memchr(p, 0, (size_t)n))
    return zf_error(ZF_EINVALID, "a tensor's name of %llu bytes: expected 1 to %d, none zero",
                    (unsigned long long)n, ZF_GGUF_MAXNAME - 1);
  if (!(tensor->name = zf_strndup((const char *)p, (size_t)n))) return ZF_ENOMEM;
  rc = read_shape(reader, tensor);
  if (!rc) rc = read_type(reader, tensor);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &offset);
  if (!rc && offset != (uint64_t)*end)
    rc = zf_error(ZF_EINVALID, "its offset is %llu, but the tensor before it ends at %lld",
                  (unsigned long long)offset, (long long)*end);
  if (!rc && (zf_add(*end, (int64_t)tensor->bytes, end) || zf_add(*end, reader->align - 1, end)))
    rc = zf_error(ZF_EINVALID, "its end overflows");
  *end &= ~(reader->align - 1);
  return rc ? zf_error_prefix(rc, "tensor '%.64s'", tensor->name) : 0;
}

static int place_tensors(struct reader *reader) {
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

static int read_tensors(struct reader *reader) {
  struct zf_st *st = reader->gguf->st;
  int64_t end = 0;
  int rc = 0;
  st->tensor = zf_calloc((int64_t)reader->ntensor + 1, sizeof *st->tensor);
  if (!st->tensor) return ZF_ENOMEM;
  while (!rc && st->count < (int64_t)reader->ntensor) {
    rc = read_tensor(reader, &st->tensor[st->count], &end);
    st->count++;
  }
  if (!rc) rc = place_tensors(reader);
  return rc ? rc : zf_st_sort(st);
}

/* --- the file -------------------------------------------------------------------------------- */

static int read_head(struct reader *reader) {
  const unsigned char *magic = NULL;
  uint32_t version = 0;
  int rc = zf_bytes_take(&reader->bytes, 4, &magic);
  if (!rc && memcmp(magic, "GGUF", 4) != 0)
    return zf_error(ZF_EINVALID, "expected the bytes GGUF: not a GGUF file");
  if (!rc) rc = zf_bytes_u32(&reader->bytes, &version);
  if (!rc && version != 3 && version != 2)
    return zf_error(ZF_EINVALID, "version %u: supported are 2 and 3, little endian", version);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &reader->ntensor);
  if (!rc) rc = zf_bytes_u64(&reader->bytes, &reader->nkey);
  if (rc) return rc;
  /* A key takes 13 bytes at least, a tensor 25. */
  size_t left = reader->bytes.len - reader->bytes.pos;
  if (reader->ntensor > ZF_GGUF_MAXCOUNT || reader->nkey > ZF_GGUF_MAXCOUNT ||
      reader->ntensor > left / 24 || reader->nkey > left / 12)
    return zf_error(ZF_EINVALID, "%llu tensors and %llu keys do not fit the %zu bytes that follow",
                    (unsigned long long)reader->ntensor, (unsigned long long)reader->nkey, left);
  return 0;
}

static int read_file(struct zf_gguf *gguf, const unsigned char *data, size_t len, int arrays) {
  struct reader reader = {.bytes = {.data = data, .len = len}, .gguf = gguf, .arrays = arrays};
  int rc = read_head(&reader);
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
  zf_st_free(gguf->st);
  memset(gguf, 0, sizeof *gguf);
}

int zf_gguf_named(const char *path) {
  size_t n = strlen(path);
  return n > 5 && !strcmp(path + n - 5, ".gguf");
}
