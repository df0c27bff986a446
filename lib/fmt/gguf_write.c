/* The GGUF writer: keys and the tensor table are built in memory, then the tensors follow. */
#include "fmt/gguf_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/utf8.h"

enum { ALIGN = 32, VERSION = 3 };

/* Numbers of the types of values and tensors in the file. */
static const uint32_t value_id[] = {[ZF_GGUF_TEXT] = 8, [ZF_GGUF_U32] = 4, [ZF_GGUF_F32] = 6};

static int tensor_id(enum zf_dtype type, uint32_t *id) {
  static const uint32_t ids[] = {[ZF_F32] = 0, [ZF_F16] = 1, [ZF_BF16] = 30};
  if ((size_t)type >= sizeof ids / sizeof *ids) return ZF_EINVALID;
  *id = ids[type];
  return 0;
}

static void put_number(struct zf_buf *buf, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) zf_buf_putc(buf, (char)(value >> 8 * i & 255));
}

static void put_text(struct zf_buf *buf, const char *text) {
  put_number(buf, strlen(text), 8);
  zf_buf_puts(buf, text);
}

static int put_value(struct zf_buf *buf, const struct zf_gguf_value *value) {
  uint32_t bits;
  memcpy(&bits, &value->real, sizeof bits);
  put_text(buf, value->key);
  put_number(buf, value_id[value->type], 4);
  if (value->type == ZF_GGUF_U32) put_number(buf, value->number, 4);
  if (value->type == ZF_GGUF_F32) put_number(buf, bits, 4);
  if (value->type != ZF_GGUF_TEXT) return 0;
  if (zf_utf8_first_error(value->text, strlen(value->text)) >= 0)
    return zf_error(ZF_EINVALID, "key '%.120s': the text is not UTF-8", value->key);
  put_text(buf, value->text);
  return 0;
}

/* Bytes of the tensor, and with the zeros behind it. */
static int tensor_bytes(const struct zf_st_out *tensor, int64_t *bytes, int64_t *padded) {
  *bytes = (int64_t)zf_dtype_info(tensor->type)->size;
  for (int i = 0; i < tensor->ndim; i++)
    if (tensor->shape[i] < 1 || zf_mul_checked(*bytes, tensor->shape[i], bytes)) return ZF_EINVALID;
  if (zf_add_checked(*bytes, ALIGN - 1, padded)) return ZF_EINVALID;
  *padded -= *padded % ALIGN;
  return 0;
}

static int put_tensor(struct zf_buf *buf, const struct zf_st_out *tensor, int64_t *offset) {
  size_t len = strlen(tensor->name);
  uint32_t id;
  int64_t bytes, padded;
  if (!len || len >= ZF_GGUF_MAXNAME)
    return zf_error(ZF_EINVALID, "tensor '%.120s': a name of %zu bytes: GGUF allows 1 to %d",
                    tensor->name, len, ZF_GGUF_MAXNAME - 1);
  if (tensor->ndim < 1 || tensor->ndim > ZF_GGUF_MAXDIM || tensor_id(tensor->type, &id) ||
      tensor_bytes(tensor, &bytes, &padded))
    return zf_error(ZF_EINVALID, "tensor '%.120s': a shape or type that GGUF cannot hold",
                    tensor->name);
  put_text(buf, tensor->name);
  put_number(buf, (uint64_t)tensor->ndim, 4);
  for (int i = tensor->ndim - 1; i >= 0; i--) put_number(buf, (uint64_t)tensor->shape[i], 8);
  put_number(buf, id, 4);
  put_number(buf, (uint64_t)*offset, 8);
  if (zf_add_checked(*offset, padded, offset))
    return zf_error(ZF_EINVALID, "the tensors are too large for one file");
  return 0;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_unique(const struct zf_st_out *tensor, int64_t count) {
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

static int build_head(struct zf_buf *buf, const struct zf_gguf_value *value, int64_t nvalue,
                      const struct zf_st_out *tensor, int64_t count) {
  int64_t offset = 0;
  int rc = check_unique(tensor, count);
  if (rc) return rc;
  zf_buf_puts(buf, "GGUF");
  put_number(buf, VERSION, 4);
  put_number(buf, (uint64_t)count, 8);
  put_number(buf, (uint64_t)nvalue, 8);
  for (int64_t i = 0; i < nvalue; i++)
    if ((rc = put_value(buf, &value[i]))) return rc;
  for (int64_t i = 0; i < count; i++)
    if ((rc = put_tensor(buf, &tensor[i], &offset))) return rc;
  while (!buf->failed && buf->len % ALIGN) zf_buf_putc(buf, 0);
  return zf_buf_ok(buf);
}

static int write_tensors(FILE *file, const struct zf_st_out *tensor, int64_t count, zf_st_fill fill,
                         void *ctx) {
  static const char zeros[ALIGN];
  for (int64_t i = 0; i < count; i++) {
    int64_t bytes = 0, padded = 0;
    off_t begin = ftello(file);
    int rc = tensor_bytes(&tensor[i], &bytes, &padded);
    if (!rc) rc = fill(ctx, i, file);
    if (rc) return zf_error_prefix(rc, "tensor '%.120s'", tensor[i].name);
    if (ferror(file))
      return zf_error(ZF_EIO, "tensor '%.120s': cannot write: %s", tensor[i].name, strerror(errno));
    if ((int64_t)(ftello(file) - begin) != bytes)
      return zf_error(ZF_EFAIL, "tensor '%.120s': its bytes were not all written", tensor[i].name);
    fwrite(zeros, 1, (size_t)(padded - bytes), file);
  }
  return 0;
}

int zf_gguf_write(const char *path, const struct zf_gguf_value *value, int64_t nvalue,
                  const struct zf_st_out *tensor, int64_t count, zf_st_fill fill, void *ctx) {
  struct zf_out out = {0};
  struct zf_buf head = {0};
  int rc = build_head(&head, value, nvalue, tensor, count);
  if (rc) {
    zf_error_prefix(rc, "%s", path);
    goto fail;
  }
  if ((rc = zf_out_open(&out, path))) goto fail;
  fwrite(head.data, 1, head.len, out.file);
  rc = write_tensors(out.file, tensor, count, fill, ctx);
  if (rc)
    zf_error_prefix(rc, "%s", path);
  else
    rc = zf_out_commit(&out);
fail:
  zf_out_abort(&out);
  zf_buf_free(&head);
  return rc;
}
