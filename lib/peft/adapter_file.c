/* The list of tensors of an adapter, and how the file or directory of one is opened. */
#include "peft/adapter_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

int zf_adapter_file_new(struct zf_adapter_file **out, const char *path) {
  struct zf_adapter_file *file = zf_calloc(1, sizeof *file);
  *out = NULL;
  if (!file) return ZF_ENOMEM;
  if (!(file->path = zf_strdup(path))) {
    free(file);
    return ZF_ENOMEM;
  }
  *out = file;
  return 0;
}

void zf_adapter_file_free(struct zf_adapter_file *file) {
  if (!file) return;
  for (int64_t i = 0; i < file->count; i++) {
    free(file->tensor[i].module);
    free(file->tensor[i].part);
    free(file->tensor[i].data);
  }
  free(file->tensor);
  free(file->path);
  zf_peft_config_free(&file->config);
  free(file);
}

/* --- tensors --- */

int zf_adapter_file_add(struct zf_adapter_file *file, const char *module, const char *part,
                        int ndim, const int64_t *shape, const float *data) {
  struct zf_adapter_tensor tensor = {.ndim = ndim, .count = 1};
  struct zf_adapter_tensor *grown =
      zf_grow(file->tensor, file->count, &file->cap, sizeof *file->tensor);
  if (!grown) return ZF_ENOMEM;
  file->tensor = grown;
  for (int i = 0; i < ndim; i++) {
    tensor.shape[i] = shape[i];
    if (zf_mul_checked(tensor.count, shape[i], &tensor.count))
      return zf_error(ZF_EINVALID, "'%.200s': the product of its shape overflows", module);
  }
  tensor.module = zf_strdup(module);
  tensor.part = zf_strdup(part);
  tensor.data = zf_calloc(tensor.count ? tensor.count : 1, sizeof *tensor.data);
  if (!tensor.module || !tensor.part || !tensor.data) {
    free(tensor.module);
    free(tensor.part);
    free(tensor.data);
    return ZF_ENOMEM;
  }
  if (data) memcpy(tensor.data, data, (size_t)tensor.count * sizeof *data);
  file->tensor[file->count++] = tensor;
  return 0;
}

/* Converts by chunks, for which the bytes are copied: those of a file have no alignment. */
static void convert(float *to, const struct zf_st_tensor *from) {
  enum { CHUNK = 1024 };
  _Alignas(16) unsigned char bytes[4 * CHUNK];
  for (int64_t i = 0; i < from->count; i += CHUNK) {
    int64_t count = from->count - i < CHUNK ? from->count - i : CHUNK;
    memcpy(bytes, from->data + zf_dtype_bytes(from->type, i), zf_dtype_bytes(from->type, count));
    zf_to_f32(to + i, bytes, from->type, count);
  }
}

static int transpose(float *data, int64_t rows, int64_t columns) {
  float *copy = zf_malloc((size_t)(rows * columns) * sizeof *copy);
  if (!copy) return ZF_ENOMEM;
  memcpy(copy, data, (size_t)(rows * columns) * sizeof *copy);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) data[j * rows + i] = copy[i * columns + j];
  free(copy);
  return 0;
}

int zf_adapter_file_take(struct zf_adapter_file *file, const char *module, const char *part,
                         const struct zf_st_tensor *from, int transposed) {
  if (from->type < 0)
    return zf_error(ZF_EINVALID, "%s: tensor '%.200s': dtype %s has no support", file->path,
                    from->name, from->dtype);
  if (from->ndim < 1 || from->ndim > 2 || (transposed && from->ndim != 2))
    return zf_error(ZF_EINVALID, "%s: tensor '%.200s': %d dimensions: expected %s", file->path,
                    from->name, from->ndim, transposed ? "2" : "1 or 2");
  if (!from->count)
    return zf_error(ZF_EINVALID, "%s: tensor '%.200s' is empty", file->path, from->name);
  int rc = zf_adapter_file_add(file, module, part, from->ndim, from->shape, NULL);
  if (rc) return rc;
  struct zf_adapter_tensor *tensor = &file->tensor[file->count - 1];
  convert(tensor->data, from);
  if (!transposed) return 0;
  tensor->shape[0] = from->shape[1];
  tensor->shape[1] = from->shape[0];
  return transpose(tensor->data, from->shape[0], from->shape[1]);
}

static int compare_names(const char *module, const char *part,
                         const struct zf_adapter_tensor *tensor) {
  int order = strcmp(module, tensor->module);
  return order ? order : strcmp(part, tensor->part);
}

const struct zf_adapter_tensor *zf_adapter_file_find(const struct zf_adapter_file *file,
                                                     const char *module, const char *part) {
  int64_t low = 0, high = file->count;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    int order = compare_names(module, part, &file->tensor[middle]);
    if (!order) return &file->tensor[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* --- opening --- */

static int has_file(const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  int found = path && zf_exists(path);
  free(path);
  return found;
}

/* 1 where the GGUF file is an adapter, judged by its keys. */
static int is_gguf_adapter(const char *path) {
  struct zf_gguf gguf;
  if (zf_gguf_open(&gguf, path, 0)) return 0;
  const char *type = json_string_value(json_object_get(gguf.keys, "general.type"));
  int yes = type && !strcmp(type, "adapter");
  zf_gguf_free(&gguf);
  return yes;
}

static const char *directory_format(const char *path) {
  int config = has_file(path, "adapter_config.json");
  if (has_file(path, "adapters.safetensors") && !has_file(path, "adapter_model.safetensors"))
    return "MLX";
  return config || has_file(path, "adapter_model.safetensors") ? "PEFT" : NULL;
}

const char *zf_adapter_probe(const char *path) {
  if (!zf_exists(path)) return NULL;
  if (!zf_is_dir(path)) return zf_is_gguf_path(path) && is_gguf_adapter(path) ? "GGUF" : NULL;
  if (has_file(path, "model.safetensors") || has_file(path, "model.safetensors.index.json"))
    return NULL;
  return directory_format(path);
}

/* The reader of a directory's two files. */
typedef int (*directory_reader)(struct zf_adapter_file *, const json_t *, const struct zf_st *,
                                const char *, const struct zf_model *);

static int read_pair(struct zf_adapter_file **out, const json_t *config, const struct zf_st *st,
                     const char *path, directory_reader reader, const struct zf_model *base) {
  struct zf_adapter_file *file;
  int rc = zf_adapter_file_new(&file, path);
  char *name = rc ? NULL : zf_path_join(path, "adapter_config.json");
  if (!rc) rc = name ? reader(file, config, st, name, base) : ZF_ENOMEM;
  if (!rc) rc = zf_adapter_file_check(file);
  free(name);
  if (rc)
    zf_adapter_file_free(file);
  else
    *out = file;
  return rc;
}

static int refuse_pickle(const char *path) {
  if (!has_file(path, "adapter_model.bin")) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: adapter_model.bin is a torch pickle, which zoft does not read: save the "
                  "adapter with safe_serialization=True",
                  path);
}

static int read_directory(struct zf_adapter_file **out, const char *path, const char *tensors,
                          directory_reader reader, const struct zf_model *base) {
  char *config_path = zf_path_join(path, "adapter_config.json"),
       *tensors_path = zf_path_join(path, tensors);
  json_t *config = NULL;
  struct zf_st *st = NULL;
  int rc = config_path && tensors_path ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(tensors_path)) rc = refuse_pickle(path);
  if (!rc) rc = zf_json_load(&config, config_path);
  if (!rc) rc = zf_st_open(&st, tensors_path);
  if (!rc) rc = read_pair(out, config, st, path, reader, base);
  zf_st_free(st);
  json_decref(config);
  free(tensors_path);
  free(config_path);
  return rc;
}

static int read_gguf(struct zf_adapter_file **out, const struct zf_gguf *gguf, const char *path,
                     const struct zf_model *base) {
  struct zf_adapter_file *file;
  int rc = zf_adapter_file_new(&file, path);
  if (!rc) rc = zf_adapter_read_gguf(file, gguf, base);
  if (!rc) rc = zf_adapter_file_check(file);
  if (rc)
    zf_adapter_file_free(file);
  else
    *out = file;
  return rc;
}

static int open_gguf(struct zf_adapter_file **out, const char *path, const struct zf_model *base) {
  struct zf_gguf gguf;
  int rc = zf_gguf_open(&gguf, path, 0);
  if (rc) return rc;
  rc = read_gguf(out, &gguf, path, base);
  zf_gguf_free(&gguf);
  return rc;
}

int zf_adapter_file_read(struct zf_adapter_file **out, const char *path,
                         const struct zf_model *base) {
  *out = NULL;
  if (!zf_exists(path)) return zf_error(ZF_EUSAGE, "%s: no such adapter", path);
  const char *format = zf_is_dir(path) ? directory_format(path) : NULL;
  if (!format && zf_is_gguf_path(path)) format = "GGUF";
  if (!format)
    return zf_error(ZF_EUSAGE,
                    "%s: not an adapter: expected a directory with adapter_config.json, or a "
                    ".gguf file",
                    path);
  if (!strcmp(format, "GGUF")) return open_gguf(out, path, base);
  if (!strcmp(format, "MLX"))
    return read_directory(out, path, "adapters.safetensors", zf_adapter_read_mlx, base);
  return read_directory(out, path, "adapter_model.safetensors", zf_adapter_read_peft, base);
}

/* --- from memory --- */

static int parse_pair(struct zf_adapter_file **out, const char *config, size_t config_len,
                      const void *tensors, size_t tensors_len, const char *name,
                      directory_reader reader, const struct zf_model *base) {
  json_t *obj = NULL;
  struct zf_st *st = NULL;
  *out = NULL;
  int rc = zf_json_parse(&obj, config, config_len, "adapter_config.json");
  if (!rc) rc = zf_st_parse(&st, tensors, tensors_len, name);
  if (!rc) rc = read_pair(out, obj, st, name, reader, base);
  zf_st_free(st);
  json_decref(obj);
  return rc;
}

int zf_adapter_file_parse(struct zf_adapter_file **out, const char *config, size_t config_len,
                          const void *tensors, size_t tensors_len, const char *name) {
  return parse_pair(out, config, config_len, tensors, tensors_len, name, zf_adapter_read_peft,
                    NULL);
}

int zf_adapter_file_parse_mlx(struct zf_adapter_file **out, const char *config, size_t config_len,
                              const void *tensors, size_t tensors_len, const char *name,
                              const struct zf_model *base) {
  return parse_pair(out, config, config_len, tensors, tensors_len, name, zf_adapter_read_mlx, base);
}

int zf_adapter_file_parse_gguf(struct zf_adapter_file **out, const void *data, size_t len,
                               const char *name, const struct zf_model *base) {
  struct zf_gguf gguf;
  *out = NULL;
  int rc = zf_gguf_parse(&gguf, data, len, name, 0);
  if (rc) return rc;
  rc = read_gguf(out, &gguf, name, base);
  zf_gguf_free(&gguf);
  return rc;
}
