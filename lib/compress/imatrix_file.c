/* Files of importance matrices.
 *
 *   GGUF   general.type = imatrix, imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; of each
 *          matrix NAME.in_sum2 [1][width] f32, sums of squares, and NAME.counts [1][1] f32, rows
 *   .dat   i32 entries; of each i32 length, name, i32 windows n, i32 width, f32 [width] mean squares
 *          times n; then i32 windows, i32 length, name of the text
 *
 * Integers are little endian. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "compress/imatrix.h"
#include "fmt/gguf.h"
#include "fmt/gguf_write.h"
#include "fmt/json.h"

static const char sum_suffix[] = ".in_sum2", count_suffix[] = ".counts";

static int is_dat(const char *path) {
  size_t len = strlen(path);
  return len > 4 && !strcmp(path + len - 4, ".dat");
}

/* --- reading --- */

static int check_sums(const struct zf_imatrix_entry *entry, const char *path) {
  for (int64_t i = 0; i < entry->width; i++)
    if (!(entry->sum[i] >= 0) || !isfinite(entry->sum[i]))
      return zf_error(ZF_EINVALID,
                      "%s: entry '%.60s': value %lld: expected a finite sum of squares", path,
                      entry->name, (long long)i);
  if (!(entry->count >= 0) || !isfinite(entry->count))
    return zf_error(ZF_EINVALID, "%s: entry '%.60s': expected a count of rows", path, entry->name);
  return 0;
}

/* Appends an entry of `width` values, not yet filled. */
static int new_entry(struct zf_imatrix *imatrix, const char *name, size_t name_len, int64_t width) {
  struct zf_imatrix_entry *grown =
      zf_grow(imatrix->entry, imatrix->count, &imatrix->cap, sizeof *grown);
  if (!grown) return ZF_ENOMEM;
  imatrix->entry = grown;
  struct zf_imatrix_entry *entry = &grown[imatrix->count++];
  *entry = (struct zf_imatrix_entry){.name = zf_strndup(name, name_len),
                                     .width = width,
                                     .sum = zf_calloc(width, sizeof *entry->sum)};
  return entry->name && entry->sum ? 0 : ZF_ENOMEM;
}

static int read_tensor(struct zf_imatrix *imatrix, const struct zf_st *st,
                       const struct zf_st_tensor *sums, const char *path) {
  size_t len = strlen(sums->name) - (sizeof sum_suffix - 1);
  char *count_name = zf_asprintf("%.*s%s", (int)len, sums->name, count_suffix);
  const struct zf_st_tensor *counts = count_name ? zf_st_find(st, count_name) : NULL;
  int rc = count_name ? 0 : ZF_ENOMEM;
  if (!rc && (sums->type != ZF_F32 || !counts || counts->type != ZF_F32 || counts->count != 1))
    rc = zf_error(ZF_EINVALID,
                  "%s: entry '%.*s': expected sums of one matrix and its count of rows in F32",
                  path, (int)len, sums->name);
  free(count_name);
  if (!rc) rc = new_entry(imatrix, sums->name, len, sums->count);
  if (rc) return rc;
  struct zf_imatrix_entry *entry = &imatrix->entry[imatrix->count - 1];
  memcpy(entry->sum, sums->data, sums->bytes);
  memcpy(&entry->count, counts->data, sizeof entry->count);
  return check_sums(entry, path);
}

static int read_gguf(struct zf_imatrix *imatrix, const void *data, size_t size, const char *path) {
  struct zf_gguf gguf;
  const char *type = NULL;
  int rc = zf_gguf_parse(&gguf, data, size, path, 0);
  if (rc) return rc;
  rc = zf_json_str(&type, gguf.keys, "general.type", path);
  if (!rc && (!type || strcmp(type, "imatrix") != 0))
    rc = zf_error(ZF_EINVALID, "%s: key 'general.type': expected imatrix, found '%.60s'", path,
                  type ? type : "");
  if (!rc) rc = zf_json_int(&imatrix->chunks, gguf.keys, "imatrix.chunk_count", path);
  if (!rc) rc = zf_json_int(&imatrix->chunk_size, gguf.keys, "imatrix.chunk_size", path);
  for (int64_t i = 0; i < gguf.st->count && !rc; i++) {
    const struct zf_st_tensor *tensor = &gguf.st->tensor[i];
    size_t len = strlen(tensor->name), suffix = sizeof sum_suffix - 1;
    if (len > suffix && !strcmp(tensor->name + len - suffix, sum_suffix))
      rc = read_tensor(imatrix, gguf.st, tensor, path);
  }
  zf_gguf_free(&gguf);
  return rc;
}

/* A number that cannot be below 0 and counts things of `size` bytes each of the rest of the file. */
static int read_count(struct zf_bytes *bytes, uint32_t *out, size_t size, const char *what) {
  size_t at = bytes->pos;
  int rc = zf_bytes_u32(bytes, out);
  if (rc) return rc;
  if (*out > (bytes->len - bytes->pos) / size)
    return zf_error(ZF_EINVALID, "byte %zu: %s %u does not fit the file", at, what, *out);
  return 0;
}

static int read_dat_entry(struct zf_imatrix *imatrix, struct zf_bytes *bytes, const char *path) {
  uint32_t len = 0, calls = 0, width = 0;
  const unsigned char *name = NULL, *values = NULL;
  int rc = read_count(bytes, &len, 1, "a name's length of");
  if (!rc) rc = zf_bytes_take(bytes, len, &name);
  if (!rc) rc = zf_bytes_u32(bytes, &calls);
  if (!rc) rc = read_count(bytes, &width, sizeof(float), "a width of");
  if (!rc) rc = zf_bytes_take(bytes, (uint64_t)width * sizeof(float), &values);
  if (!rc && (!len || !width || memchr(name, 0, len)))
    rc = zf_error(ZF_EINVALID, "byte %zu: expected an entry with a name and values", bytes->pos);
  if (!rc) rc = new_entry(imatrix, (const char *)name, len, width);
  if (rc) return rc;
  struct zf_imatrix_entry *entry = &imatrix->entry[imatrix->count - 1];
  memcpy(entry->sum, values, (size_t)width * sizeof(float));
  entry->count = (float)calls;
  return check_sums(entry, path);
}

static int read_dat(struct zf_imatrix *imatrix, const void *data, size_t len, const char *path) {
  struct zf_bytes bytes = {.data = data, .len = len};
  uint32_t entries = 0, chunks = 0;
  int rc = read_count(&bytes, &entries, 12, "a number of entries of");
  for (uint32_t i = 0; !rc && i < entries; i++) rc = read_dat_entry(imatrix, &bytes, path);
  if (!rc && bytes.pos < bytes.len) { /* older files end here */
    rc = zf_bytes_u32(&bytes, &chunks);
    if (!rc) imatrix->chunks = chunks;
  }
  return rc && !strstr(zf_error_message(), path) ? zf_error_prefix(rc, "%s", path) : rc;
}

int zf_imatrix_parse(struct zf_imatrix *imatrix, const void *data, size_t len, const char *name) {
  int is_gguf = len >= 4 && !memcmp(data, "GGUF", 4);
  *imatrix = (struct zf_imatrix){0};
  int rc = (is_gguf ? read_gguf : read_dat)(imatrix, data, len, name);
  if (!rc && !imatrix->count)
    rc = zf_error(ZF_EINVALID, "%s: expected importance matrices, found none", name);
  if (rc) zf_imatrix_free(imatrix);
  return rc;
}

int zf_imatrix_read(struct zf_imatrix *imatrix, const char *path) {
  struct zf_map map;
  *imatrix = (struct zf_imatrix){0};
  int rc = zf_map_open(&map, path);
  if (rc) return rc;
  rc = zf_imatrix_parse(imatrix, map.data, map.len, path);
  zf_map_close(&map);
  return rc;
}

/* --- writing --- */

static void put_u32(struct zf_out *out, uint32_t number) {
  unsigned char bytes[4] = {(unsigned char)number, (unsigned char)(number >> 8),
                            (unsigned char)(number >> 16), (unsigned char)(number >> 24)};
  fwrite(bytes, 1, sizeof bytes, out->file);
}

static void put_text(struct zf_out *out, const char *text) {
  put_u32(out, (uint32_t)strlen(text));
  fwrite(text, 1, strlen(text), out->file);
}

static int write_dat(const struct zf_imatrix *imatrix, const char *path, const char *text) {
  struct zf_out out;
  int rc = zf_out_open(&out, path);
  if (rc) return rc;
  put_u32(&out, (uint32_t)imatrix->count);
  for (int64_t i = 0; i < imatrix->count; i++) {
    const struct zf_imatrix_entry *entry = &imatrix->entry[i];
    put_text(&out, entry->name);
    put_u32(&out, (uint32_t)imatrix->chunks);
    put_u32(&out, (uint32_t)entry->width);
    for (int64_t j = 0; j < entry->width; j++) {
      float value = entry->sum[j] / entry->count * (float)imatrix->chunks;
      fwrite(&value, sizeof value, 1, out.file);
    }
  }
  put_u32(&out, (uint32_t)imatrix->chunks);
  put_text(&out, text);
  return zf_out_commit(&out);
}

/* Two tensors of every entry, the sums first. */
static int fill(void *ctx, int64_t number, FILE *file) {
  const struct zf_imatrix *imatrix = ctx;
  const struct zf_imatrix_entry *entry = &imatrix->entry[number / 2];
  if (number % 2)
    fwrite(&entry->count, sizeof entry->count, 1, file);
  else
    fwrite(entry->sum, sizeof *entry->sum, (size_t)entry->width, file);
  return 0;
}

static int name_tensors(struct zf_st_out *tensor, const struct zf_imatrix *imatrix) {
  for (int64_t i = 0; i < 2 * imatrix->count; i++) {
    const struct zf_imatrix_entry *entry = &imatrix->entry[i / 2];
    tensor[i] = (struct zf_st_out){
        .name = zf_asprintf("%s%s", entry->name, i % 2 ? count_suffix : sum_suffix),
        .type = ZF_F32,
        .ndim = 2,
        .shape = {1, i % 2 ? 1 : entry->width}};
    if (!tensor[i].name) return ZF_ENOMEM;
  }
  return 0;
}

static int write_gguf(const struct zf_imatrix *imatrix, const char *path, const char *text) {
  struct zf_gguf_values values = {0};
  struct zf_st_out *tensor = zf_calloc(2 * imatrix->count, sizeof *tensor);
  int rc = tensor ? name_tensors(tensor, imatrix) : ZF_ENOMEM;
  if (!rc) rc = zf_gguf_values_text(&values, "general.type", "imatrix");
  if (!rc)
    rc = zf_gguf_values_set(&values, "imatrix.datasets", ZF_GGUF_TEXT, json_pack("[s]", text));
  if (!rc) rc = zf_gguf_values_u32(&values, "imatrix.chunk_count", imatrix->chunks);
  if (!rc) rc = zf_gguf_values_u32(&values, "imatrix.chunk_size", imatrix->chunk_size);
  if (!rc)
    rc = zf_gguf_write(path, values.value, values.count, tensor, 2 * imatrix->count, fill,
                       (void *)imatrix);
  for (int64_t i = 0; tensor && i < 2 * imatrix->count; i++) free((char *)tensor[i].name);
  free(tensor);
  zf_gguf_values_free(&values);
  return rc;
}

int zf_imatrix_write(const struct zf_imatrix *imatrix, const char *path, const char *text) {
  return (is_dat(path) ? write_dat : write_gguf)(imatrix, path, text);
}
