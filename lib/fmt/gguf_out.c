/* A GGUF file, or the parts of one, whose rows come in any order.
 *
 *   part    a file: its head, then room for its tensors
 *   tensor  number of its part, offset of its data in that file, rows, and a bit for each row that came */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf_internal.h"

enum { MAX_PARTS = 99999 };

struct gguf_part {
  struct zf_out out;
  int64_t first, count; /* its tensors */
};

struct placed_tensor {
  char name[ZF_GGUF_MAXNAME];
  struct zf_gguf_extent extent;
  int64_t part, offset; /* offset: in the file of its part */
  unsigned char *came;  /* a bit for each row */
  int64_t missing;      /* rows that have not come */
};

struct zf_gguf_out {
  char *path;
  struct gguf_part *part;
  int64_t part_count;
  struct placed_tensor *tensor;
  int64_t count;
};

/* --- opening --- */

static int place(struct placed_tensor *placed, const struct zf_gguf_tensor_out *tensor) {
  if (zf_gguf_measure(&placed->extent, tensor) || strlen(tensor->name) >= sizeof placed->name)
    return zf_error(ZF_EINVALID, "tensor '%.120s': a name, shape or type that GGUF cannot hold",
                    tensor->name);
  strcpy(placed->name, tensor->name);
  placed->missing = placed->extent.rows;
  placed->came = zf_calloc(placed->extent.rows / 8 + 1, 1);
  return placed->came ? 0 : ZF_ENOMEM;
}

/* Assigns tensors to parts in their order; a part has one at least. */
static int make_parts(struct zf_gguf_out *out, int64_t limit) {
  int64_t filled = 0;
  out->part = zf_calloc(out->count + 1, sizeof *out->part);
  if (!out->part) return ZF_ENOMEM;
  for (int64_t i = 0; i < out->count; i++) {
    int64_t bytes = out->tensor[i].extent.padded, begins = !i || (limit && filled > limit - bytes);
    if (begins) out->part[out->part_count++].first = i;
    filled = begins ? bytes : filled + bytes;
    out->part[out->part_count - 1].count++;
    out->tensor[i].part = out->part_count - 1;
  }
  if (!out->part_count) out->part_count = 1;
  return out->part_count <= MAX_PARTS ? 0
                                      : zf_error(ZF_EUSAGE, "%lld parts: at most %d are allowed",
                                                 (long long)out->part_count, MAX_PARTS);
}

static char *part_name(const struct zf_gguf_out *out, int64_t number) {
  size_t len = strlen(out->path), ending = zf_is_gguf_path(out->path) ? strlen(".gguf") : 0;
  if (out->part_count == 1) return zf_strdup(out->path);
  return zf_asprintf("%.*s-%05lld-of-%05lld.gguf", (int)(len - ending), out->path,
                     (long long)number + 1, (long long)out->part_count);
}

/* Writes the head of a part and gives its file the final size. */
static int begin_part(struct zf_gguf_out *out, int64_t number, const struct zf_gguf_head *head) {
  struct gguf_part *part = &out->part[number];
  struct zf_buf buf = {0};
  char *path = part_name(out, number);
  int rc = path ? zf_gguf_put_head(&buf, head) : ZF_ENOMEM;
  if (rc) zf_error_prefix(rc, "%s", out->path);
  if (!rc) rc = zf_out_open(&part->out, path);
  if (!rc && !part->out.tmp)
    rc = zf_error(ZF_EUSAGE, "%s: expected the name of a file, found a device or a pipe", path);
  int64_t end = (int64_t)buf.len;
  for (int64_t i = part->first; i < part->first + part->count; i++) {
    if (rc) break;
    out->tensor[i].offset = end;
    if (zf_add_checked(end, out->tensor[i].extent.padded, &end))
      rc = zf_error(ZF_EINVALID, "%s: the tensors are too large for one file", out->path);
  }
  if (!rc && (ftruncate(part->out.fd, (off_t)end) ||
              (errno = zf_write_all(part->out.fd, buf.data, buf.len))))
    rc = zf_error(ZF_EIO, "%s: cannot write: %s", path, strerror(errno));
  zf_buf_free(&buf);
  free(path);
  return rc;
}

static int begin_parts(struct zf_gguf_out *out, const struct zf_gguf_head *all) {
  for (int64_t i = 0; i < out->part_count; i++) {
    json_t *no = json_integer(i), *count = json_integer(out->part_count),
           *tensors = json_integer(out->count);
    const struct zf_gguf_value split[] = {
        {.key = "split.no", .type = ZF_GGUF_U16, .json = no},
        {.key = "split.count", .type = ZF_GGUF_U16, .json = count},
        {.key = "split.tensors.count", .type = ZF_GGUF_I32, .json = tensors}};
    struct zf_gguf_head head = {.value = all->value,
                                .nvalue = i ? 0 : all->nvalue,
                                .more = split,
                                .nmore = out->part_count > 1 ? 3 : 0,
                                .tensor = all->tensor + out->part[i].first,
                                .count = out->part[i].count};
    int rc = no && count && tensors ? begin_part(out, i, &head) : zf_error(ZF_ENOMEM, "no memory");
    json_decref(no);
    json_decref(count);
    json_decref(tensors);
    if (rc) return rc;
  }
  return 0;
}

int zf_gguf_out_open_parts(struct zf_gguf_out **out, const char *path,
                           const struct zf_gguf_value *value, int64_t nvalue,
                           const struct zf_gguf_tensor_out *tensor, int64_t count, int64_t limit) {
  struct zf_gguf_head head = {.value = value, .nvalue = nvalue, .tensor = tensor, .count = count};
  struct zf_gguf_out *made = *out = zf_calloc(1, sizeof *made);
  if (!made) return ZF_ENOMEM;
  made->path = zf_strdup(path);
  made->tensor = zf_calloc(count + 1, sizeof *made->tensor);
  int rc = made->path && made->tensor ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) {
    if (rc) break;
    made->count++; /* counted, so that it is freed */
    rc = place(&made->tensor[i], &tensor[i]);
    if (rc) zf_error_prefix(rc, "%s", path);
  }
  if (!rc) rc = make_parts(made, limit);
  if (!rc) rc = begin_parts(made, &head);
  if (!rc) return 0;
  zf_gguf_out_drop(made);
  *out = NULL;
  return rc;
}

int zf_gguf_out_open(struct zf_gguf_out **out, const char *path, const struct zf_gguf_value *value,
                     int64_t nvalue, const struct zf_gguf_tensor_out *tensor, int64_t count) {
  return zf_gguf_out_open_parts(out, path, value, nvalue, tensor, count, 0);
}

/* --- rows --- */

static int write_at(int fd, const char *data, int64_t count, int64_t at) {
  while (count > 0) {
    ssize_t written = pwrite(fd, data, (size_t)count, (off_t)at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    data += written;
    count -= written;
    at += written;
  }
  return 0;
}

static int mark(struct placed_tensor *tensor, int64_t row) {
  unsigned char bit = (unsigned char)(1 << row % 8);
  if (tensor->came[row / 8] & bit) return 0;
  tensor->came[row / 8] |= bit;
  tensor->missing--;
  return 1;
}

int zf_gguf_out_rows(struct zf_gguf_out *out, int64_t number, int64_t first, int64_t rows,
                     const void *data) {
  struct placed_tensor *tensor = &out->tensor[number];
  if (first < 0 || rows < 0 || first > tensor->extent.rows - rows)
    return zf_error(ZF_EFAIL, "%s: tensor '%s' has %lld rows: not %lld from row %lld on", out->path,
                    tensor->name, (long long)tensor->extent.rows, (long long)rows,
                    (long long)first);
  for (int64_t i = first; i < first + rows; i++)
    if (!mark(tensor, i))
      return zf_error(ZF_EFAIL, "%s: tensor '%s': row %lld was written before", out->path,
                      tensor->name, (long long)i);
  int64_t bytes = tensor->extent.row_bytes;
  int failed =
      write_at(out->part[tensor->part].out.fd, data, rows * bytes, tensor->offset + first * bytes);
  return failed ? zf_error(ZF_EIO, "%s: cannot write: %s", out->path, strerror(failed)) : 0;
}

/* --- the end --- */

int zf_gguf_out_flush(struct zf_gguf_out *out, const char **tmp) {
  *tmp = out->part_count == 1 ? out->part[0].out.tmp : NULL;
  for (int64_t i = 0; i < out->count; i++)
    if (out->tensor[i].missing)
      return zf_error(ZF_EFAIL, "%s: tensor '%s': %lld of its %lld rows were not written",
                      out->path, out->tensor[i].name, (long long)out->tensor[i].missing,
                      (long long)out->tensor[i].extent.rows);
  return 0;
}

/* The first part comes last, since it is the one that readers open. */
int zf_gguf_out_close(struct zf_gguf_out *out) {
  const char *tmp;
  int rc = zf_gguf_out_flush(out, &tmp);
  for (int64_t i = out->part_count - 1; i >= 0; i--)
    if (!rc) rc = zf_out_commit(&out->part[i].out);
  zf_gguf_out_drop(out);
  return rc;
}

void zf_gguf_out_drop(struct zf_gguf_out *out) {
  if (!out) return;
  for (int64_t i = 0; i < out->part_count && out->part; i++) zf_out_abort(&out->part[i].out);
  for (int64_t i = 0; i < out->count; i++) free(out->tensor[i].came);
  free(out->tensor);
  free(out->part);
  free(out->path);
  free(out);
}
