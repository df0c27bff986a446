/* The safetensors writer: the header, which follows from the declarations, then the tensors in the
 * order of the file, written by `fill`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "fmt/json.h"
#include "fmt/safetensors.h"
#include "fmt/utf8.h"

/* One declared tensor, in the order of the file. */
struct planned_tensor {
  const struct zf_st_out *tensor;
  int64_t index; /* into the declared array */
  int64_t bytes;
};

static size_t element_size(const struct zf_st_out *tensor) {
  return tensor->as_bytes ? 1 : zf_dtype_info(tensor->type)->size;
}

static int by_size_and_name(const void *a, const void *b) {
  const struct zf_st_out *left = ((const struct planned_tensor *)a)->tensor,
                         *right = ((const struct planned_tensor *)b)->tensor;
  size_t left_size = element_size(left), right_size = element_size(right);
  if (left_size != right_size) return left_size > right_size ? -1 : 1;
  return strcmp(left->name, right->name);
}

static int compute_size(struct planned_tensor *planned) {
  const struct zf_st_out *tensor = planned->tensor;
  planned->bytes = (int64_t)element_size(tensor);
  if (tensor->ndim < 0 || tensor->ndim > ZF_ST_MAXDIM)
    return zf_error(ZF_EINVALID, "tensor '%.120s' has %d dimensions", tensor->name, tensor->ndim);
  for (int i = 0; i < tensor->ndim; i++)
    if (tensor->shape[i] < 0 || zf_mul_checked(planned->bytes, tensor->shape[i], &planned->bytes))
      return zf_error(ZF_EINVALID, "tensor '%.120s' has no such size", tensor->name);
  return 0;
}

static int check_text(const char *text) {
  if (zf_utf8_first_error(text, strlen(text)) < 0) return 0;
  return zf_error(ZF_EINVALID, "'%.120s' is not UTF-8, which a header must be", text);
}

/* Takes over `value`, which is NULL if there was no memory. */
static int put_value(json_t *obj, const char *key, json_t *value) {
  if (!value || json_object_set_new_nocheck(obj, key, value))
    return zf_error(ZF_ENOMEM, "out of memory for the header");
  return 0;
}

static int put_metadata(json_t *top, const char *const *pairs, int64_t count) {
  json_t *metadata = json_object();
  int rc = put_value(top, "__metadata__", metadata); /* which then owns it */
  if (!rc) rc = put_value(metadata, "format", json_string("pt"));
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) {
    const char *key = pairs[2 * i], *value = pairs[2 * i + 1];
    if ((rc = check_text(key)) || (rc = check_text(value))) return rc;
    if ((rc = put_value(metadata, key, json_string(value)))) return rc;
  }
  return 0;
}

static json_t *tensor_object(const struct planned_tensor *planned, int64_t begin) {
  json_t *shape = json_array();
  int bad = !shape;
  for (int i = 0; i < planned->tensor->ndim; i++)
    bad |= json_array_append_new(shape, json_integer(planned->tensor->shape[i]));
  if (bad) {
    json_decref(shape);
    return NULL;
  }
  return json_pack(
      "{s:s, s:o, s:[I, I]}", "dtype",
      planned->tensor->as_bytes ? "U8" : zf_dtype_info(planned->tensor->type)->safetensors, "shape",
      shape, "data_offsets", (json_int_t)begin, (json_int_t)(begin + planned->bytes));
}

static int put_tensors(json_t *top, const struct planned_tensor *planned, int64_t count) {
  int64_t at = 0;
  for (int64_t i = 0; i < count; i++) {
    const char *name = planned[i].tensor->name;
    if (json_object_get(top, name))
      return zf_error(ZF_EINVALID, "the name '%.120s' is taken: a tensor cannot have it", name);
    int rc = check_text(name);
    if (rc || (rc = put_value(top, name, tensor_object(&planned[i], at)))) return rc;
    if (zf_add_checked(at, planned[i].bytes, &at))
      return zf_error(ZF_EINVALID, "the tensors are too large for one file");
  }
  return 0;
}

/* The header's text, padded with spaces so that the buffer is aligned to 8. */
static int build_header(struct zf_buf *out, const struct planned_tensor *planned, int64_t count,
                        const char *const *metadata, int64_t nmetadata) {
  json_t *top = json_object();
  char *text = NULL;
  int rc = put_metadata(top, metadata, nmetadata);
  if (rc || (rc = put_tensors(top, planned, count))) goto fail;
  if (!(text = zf_json_dump(top, JSON_COMPACT))) {
    rc = zf_error(ZF_ENOMEM, "out of memory for the header");
    goto fail;
  }
  zf_buf_puts(out, text);
  while (!out->failed && out->len % 8) zf_buf_putc(out, ' ');
  rc = zf_buf_ok(out);
  if (!rc && out->len > ZF_ST_MAXHEADER)
    rc = zf_error(ZF_EINVALID, "the header takes %zu bytes, more than the %d allowed", out->len,
                  ZF_ST_MAXHEADER);
fail:
  free(text);
  json_decref(top);
  return rc;
}

static void put_length(FILE *file, uint64_t length) {
  for (int i = 0; i < 8; i++) putc((int)(length >> 8 * i & 255), file);
}

static int write_tensors(FILE *file, const struct planned_tensor *planned, int64_t count,
                         zf_st_fill fill, void *ctx) {
  for (int64_t i = 0; i < count; i++) {
    const char *name = planned[i].tensor->name;
    off_t begin = ftello(file);
    int rc = fill(ctx, planned[i].index, file);
    if (rc) return zf_error_prefix(rc, "tensor '%.120s'", name);
    if (ferror(file))
      return zf_error(ZF_EIO, "tensor '%.120s': cannot write: %s", name, strerror(errno));
    int64_t written = (int64_t)(ftello(file) - begin);
    if (written != planned[i].bytes)
      return zf_error(ZF_EFAIL, "tensor '%.120s': %lld bytes were written where %lld are declared",
                      name, (long long)written, (long long)planned[i].bytes);
  }
  return 0;
}

/* Everything that is known before the file is opened: the order and the header. */
static int plan_file(struct planned_tensor **slots, struct zf_buf *header,
                     const struct zf_st_out *tensor, int64_t count, const char *const *metadata,
                     int64_t nmetadata) {
  struct planned_tensor *planned = *slots = zf_calloc(count, sizeof *planned);
  if (!planned) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    planned[i] = (struct planned_tensor){.tensor = tensor + i, .index = i};
    int rc = compute_size(&planned[i]);
    if (rc) return rc;
  }
  qsort(planned, (size_t)count, sizeof *planned, by_size_and_name);
  return build_header(header, planned, count, metadata, nmetadata);
}

int zf_st_write(const char *path, const struct zf_st_out *tensor, int64_t count,
                const char *const *metadata, int64_t nmetadata, zf_st_fill fill, void *ctx) {
  struct zf_out out = {0};
  struct zf_buf header = {0};
  struct planned_tensor *planned = NULL;
  int rc = plan_file(&planned, &header, tensor, count, metadata, nmetadata);
  if (rc) {
    zf_error_prefix(rc, "%s", path);
    goto fail;
  }
  if ((rc = zf_out_open(&out, path))) goto fail;
  put_length(out.file, header.len);
  fwrite(header.data, 1, header.len, out.file);
  rc = write_tensors(out.file, planned, count, fill, ctx);
  if (rc)
    zf_error_prefix(rc, "%s", path);
  else
    rc = zf_out_commit(&out);
fail:
  zf_out_abort(&out);
  zf_buf_free(&header);
  free(planned);
  return rc;
}
