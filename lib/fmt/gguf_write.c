/* The GGUF writer: keys and the tensor table are built in memory, then the tensors follow. */
#include "fmt/gguf_write.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf_internal.h"
#include "fmt/utf8.h"

enum { VERSION = 3 };

static void put_number(struct zf_buf *buf, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) zf_buf_putc(buf, (char)(value >> 8 * i & 255));
}

static int put_text(struct zf_buf *buf, const char *text, size_t len) {
  put_number(buf, len, 8);
  zf_buf_add(buf, text, len);
  return zf_utf8_first_error(text, len) < 0 ? 0 : zf_error(ZF_EINVALID, "the text is not UTF-8");
}

/* --- values ---------------------------------------------------------------------------------- */

static int put_real(struct zf_buf *buf, double number, int bytes) {
  float single = (float)number;
  uint32_t bits32;
  uint64_t bits64;
  if (bytes == 4 && !isfinite(single))
    return zf_error(ZF_EINVALID, "the number %g is out of the range of a float", number);
  memcpy(&bits32, &single, sizeof bits32);
  memcpy(&bits64, &number, sizeof bits64);
  put_number(buf, bytes == 4 ? bits32 : bits64, bytes);
  return 0;
}

/* An integer or a boolean. */
static int put_integer(struct zf_buf *buf, const json_t *json, const struct zf_gguf_id *id) {
  int64_t number = json_is_boolean(json) ? json_is_true(json) : json_integer_value(json);
  int is_signed = id->is_signed || id->type == ZF_GGUF_I64, bits = 8 * id->bytes - is_signed;
  int64_t top = bits >= 63 ? INT64_MAX : ((int64_t)1 << bits) - 1;
  if (id->type == ZF_GGUF_BOOL) top = 1;
  if (number > top || number < (is_signed ? -top - 1 : 0))
    return zf_error(ZF_EINVALID, "the number %lld is out of the range of its type",
                    (long long)number);
  put_number(buf, (uint64_t)number, id->bytes);
  return 0;
}

static int put_scalar(struct zf_buf *buf, const json_t *json, const struct zf_gguf_id *id) {
  int real = id->type == ZF_GGUF_F32 || id->type == ZF_GGUF_F64;
  if (id->type == ZF_GGUF_TEXT && json_is_string(json))
    return put_text(buf, json_string_value(json), json_string_length(json));
  if (real && json_is_number(json)) return put_real(buf, json_number_value(json), id->bytes);
  if (!real && id->type != ZF_GGUF_TEXT && (json_is_integer(json) || json_is_boolean(json)))
    return put_integer(buf, json, id);
  return zf_error(ZF_EINVALID, "a value that is not of its type");
}

static int put_json(struct zf_buf *buf, const json_t *json, uint32_t id) {
  const json_t *element;
  size_t i;
  put_number(buf, json_is_array(json) ? ZF_GGUF_ID_ARRAY : id, 4);
  if (!json_is_array(json)) return put_scalar(buf, json, &zf_gguf_ids[id]);
  put_number(buf, id, 4);
  put_number(buf, json_array_size(json), 8);
  json_array_foreach((json_t *)json, i, element) {
    int rc = put_scalar(buf, element, &zf_gguf_ids[id]);
    if (rc) return zf_error_prefix(rc, "element %zu", i);
  }
  return 0;
}

static int put_member(struct zf_buf *buf, const struct zf_gguf_value *value, uint32_t id) {
  put_number(buf, id, 4);
  if (value->type == ZF_GGUF_TEXT) return put_text(buf, value->text, strlen(value->text));
  if (value->type == ZF_GGUF_F32) return put_real(buf, (double)value->real, 4);
  put_number(buf, value->number, 4);
  return 0;
}

static int put_value(struct zf_buf *buf, const struct zf_gguf_value *value) {
  uint32_t id = zf_gguf_id_of(value->type);
  int rc = put_text(buf, value->key, strlen(value->key));
  if (!rc) rc = value->json ? put_json(buf, value->json, id) : put_member(buf, value, id);
  return rc ? zf_error_prefix(rc, "key '%.120s'", value->key) : 0;
}

static int put_values(struct zf_buf *buf, const struct zf_gguf_value *value, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int rc = put_value(buf, &value[i]);
    if (rc) return rc;
  }
  return 0;
}

/* --- tensors --------------------------------------------------------------------------------- */

int zf_gguf_measure(struct zf_gguf_extent *extent, const struct zf_gguf_tensor_out *tensor) {
  const struct zf_gguf_tensor_type *type = zf_gguf_type_of(tensor->type);
  if (!type || tensor->ndim < 1 || tensor->ndim > ZF_GGUF_MAXDIM) return ZF_EINVALID;
  int64_t columns = tensor->shape[tensor->ndim - 1];
  *extent = (struct zf_gguf_extent){.rows = 1};
  if (columns < 1 || columns % type->block ||
      zf_mul_checked(columns / type->block, type->bytes, &extent->row_bytes))
    return ZF_EINVALID;
  for (int i = 0; i + 1 < tensor->ndim; i++)
    if (tensor->shape[i] < 1 || zf_mul_checked(extent->rows, tensor->shape[i], &extent->rows))
      return ZF_EINVALID;
  if (zf_mul_checked(extent->rows, extent->row_bytes, &extent->bytes)) return ZF_EINVALID;
  if (zf_add_checked(extent->bytes, ZF_GGUF_ALIGN - 1, &extent->padded)) return ZF_EINVALID;
  extent->padded -= extent->padded % ZF_GGUF_ALIGN;
  return 0;
}

static int put_tensor(struct zf_buf *buf, const struct zf_gguf_tensor_out *tensor,
                      int64_t *offset) {
  size_t len = strlen(tensor->name);
  struct zf_gguf_extent extent;
  if (!len || len >= ZF_GGUF_MAXNAME)
    return zf_error(ZF_EINVALID, "tensor '%.120s': a name of %zu bytes: GGUF allows 1 to %d",
                    tensor->name, len, ZF_GGUF_MAXNAME - 1);
  if (zf_gguf_measure(&extent, tensor))
    return zf_error(ZF_EINVALID, "tensor '%.120s': a shape or type that GGUF cannot hold",
                    tensor->name);
  int rc = put_text(buf, tensor->name, len);
  if (rc) return zf_error_prefix(rc, "tensor '%.120s'", tensor->name);
  put_number(buf, (uint64_t)tensor->ndim, 4);
  for (int i = tensor->ndim - 1; i >= 0; i--) put_number(buf, (uint64_t)tensor->shape[i], 8);
  put_number(buf, zf_gguf_type_of(tensor->type)->id, 4);
  put_number(buf, (uint64_t)*offset, 8);
  if (zf_add_checked(*offset, extent.padded, offset))
    return zf_error(ZF_EINVALID, "the tensors are too large for one file");
  return 0;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_unique(const struct zf_gguf_tensor_out *tensor, int64_t count) {
  const char **name = zf_calloc(count + 1, sizeof *name);
  int rc = name ? 0 : ZF_ENOMEM;
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) name[i] = tensor[i].name;
  qsort(name, (size_t)count, sizeof *name, by_text);
  for (int64_t i = 1; i < count; i++)
    if (!strcmp(name[i - 1], name[i]))
      rc = zf_error(ZF_EINVALID, "tensor '%.120s' stands twice", name[i]);
  free(name);
  return rc;
}

int zf_gguf_put_head(struct zf_buf *buf, const struct zf_gguf_head *head) {
  int64_t offset = 0;
  int rc = check_unique(head->tensor, head->count);
  if (rc) return rc;
  zf_buf_puts(buf, "GGUF");
  put_number(buf, VERSION, 4);
  put_number(buf, (uint64_t)head->count, 8);
  put_number(buf, (uint64_t)(head->nvalue + head->nmore), 8);
  rc = put_values(buf, head->value, head->nvalue);
  if (!rc) rc = put_values(buf, head->more, head->nmore);
  for (int64_t i = 0; i < head->count; i++)
    if (!rc) rc = put_tensor(buf, &head->tensor[i], &offset);
  if (rc) return rc;
  while (!buf->failed && buf->len % ZF_GGUF_ALIGN) zf_buf_putc(buf, 0);
  return zf_buf_ok(buf);
}

/* --- tensors one after another --------------------------------------------------------------- */

static int write_tensors(FILE *file, const struct zf_gguf_tensor_out *tensor, int64_t count,
                         zf_st_fill fill, void *ctx) {
  static const char zeros[ZF_GGUF_ALIGN];
  for (int64_t i = 0; i < count; i++) {
    struct zf_gguf_extent extent = {0};
    off_t begin = ftello(file);
    int rc = zf_gguf_measure(&extent, &tensor[i]);
    if (!rc) rc = fill(ctx, i, file);
    if (rc) return zf_error_prefix(rc, "tensor '%.120s'", tensor[i].name);
    if (ferror(file))
      return zf_error(ZF_EIO, "tensor '%.120s': cannot write: %s", tensor[i].name, strerror(errno));
    if ((int64_t)(ftello(file) - begin) != extent.bytes)
      return zf_error(ZF_EFAIL, "tensor '%.120s': its bytes were not all written", tensor[i].name);
    fwrite(zeros, 1, (size_t)(extent.padded - extent.bytes), file);
  }
  return 0;
}

/* NULL: out of memory.  A shape of too many dimensions stays one that the format refuses. */
static struct zf_gguf_tensor_out *copy_tensors(const struct zf_st_out *from, int64_t count) {
  struct zf_gguf_tensor_out *tensor = zf_calloc(count + 1, sizeof *tensor);
  for (int64_t i = 0; tensor && i < count; i++) {
    tensor[i].name = from[i].name;
    tensor[i].type = from[i].type;
    tensor[i].ndim = from[i].ndim;
    memcpy(tensor[i].shape, from[i].shape, sizeof tensor[i].shape);
  }
  return tensor;
}

int zf_gguf_write(const char *path, const struct zf_gguf_value *value, int64_t nvalue,
                  const struct zf_st_out *from, int64_t count, zf_st_fill fill, void *ctx) {
  struct zf_gguf_tensor_out *tensor = copy_tensors(from, count);
  struct zf_gguf_head head = {.value = value, .nvalue = nvalue, .tensor = tensor, .count = count};
  struct zf_out out = {0};
  struct zf_buf buf = {0};
  int rc = tensor ? zf_gguf_put_head(&buf, &head) : ZF_ENOMEM;
  if (rc) {
    zf_error_prefix(rc, "%s", path);
    goto fail;
  }
  if ((rc = zf_out_open(&out, path))) goto fail;
  fwrite(buf.data, 1, buf.len, out.file);
  rc = write_tensors(out.file, tensor, count, fill, ctx);
  if (rc)
    zf_error_prefix(rc, "%s", path);
  else
    rc = zf_out_commit(&out);
fail:
  zf_out_abort(&out);
  zf_buf_free(&buf);
  free(tensor);
  return rc;
}
