/* What the writers of adapters share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "peft/peft_internal.h"

int zf_adapter_write_json(const char *dir, const char *name, const json_t *obj) {
  char *path = zf_path_join(dir, name);
  char *text = json_dumps(obj, JSON_INDENT(2) | JSON_SORT_KEYS);
  struct zf_buf buf = {0};
  zf_buf_printf(&buf, "%s\n", text ? text : "");
  int rc = path && text ? zf_buf_ok(&buf) : zf_error(ZF_ENOMEM, "%s: out of memory", name);
  if (!rc) rc = zf_write_file(path, buf.data, buf.len);
  zf_buf_free(&buf);
  free(text);
  free(path);
  return rc;
}

/* --- tensors --- */

int zf_adapter_fill(void *file, int64_t index, FILE *stream) {
  const struct zf_adapter_tensor *tensor = &((const struct zf_adapter_file *)file)->tensor[index];
  fwrite(tensor->data, sizeof *tensor->data, (size_t)tensor->count, stream);
  return 0;
}

void zf_adapter_undeclare(struct zf_st_out *out, int64_t count) {
  if (!out) return;
  for (int64_t i = 0; i < count; i++) free((char *)out[i].name);
  free(out);
}

int zf_adapter_declare(struct zf_st_out **out, const struct zf_adapter_file *file,
                       zf_adapter_namer name_of) {
  struct zf_st_out *made = *out = zf_calloc(file->count + 1, sizeof *made);
  if (!made) return ZF_ENOMEM;
  for (int64_t i = 0; i < file->count; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    made[i] = (struct zf_st_out){.name = name_of(file, tensor), .ndim = tensor->ndim};
    memcpy(made[i].shape, tensor->shape, sizeof tensor->shape);
    if (!made[i].name) return ZF_EUSAGE;
  }
  return 0;
}

int zf_adapter_write_tensors(const struct zf_adapter_file *file, const char *path,
                             zf_adapter_namer name_of, const char *const *metadata,
                             int64_t nmetadata) {
  struct zf_st_out *out;
  int rc = zf_adapter_declare(&out, file, name_of);
  if (!rc)
    rc = zf_st_write(path, out, file->count, metadata, nmetadata, zf_adapter_fill, (void *)file);
  zf_adapter_undeclare(out, file->count);
  return rc;
}

char *zf_adapter_plain_name(const struct zf_adapter_file *file,
                            const struct zf_adapter_tensor *tensor) {
  (void)file;
  return zf_asprintf("%s.%s", tensor->module, tensor->part);
}

/* --- LoRA in other formats --- */

int zf_adapter_is_a(const struct zf_adapter_tensor *tensor) {
  return !strcmp(tensor->part, "lora_A") || !strcmp(tensor->part, "lora_embedding_A");
}

int zf_adapter_add_factor(struct zf_adapter_file *to, const char *module, const char *part,
                          const struct zf_adapter_tensor *from, double factor, int64_t rank,
                          int transposed) {
  int is_a = zf_adapter_is_a(from);
  int64_t rows = from->shape[0], columns = from->shape[1];
  int64_t grown[2] = {is_a ? rank : rows, is_a ? columns : rank};
  int64_t shape[2] = {grown[transposed ? 1 : 0], grown[transposed ? 0 : 1]};
  int rc = zf_adapter_file_add(to, module, part, 2, shape, NULL);
  if (rc) return rc;
  float *data = to->tensor[to->count - 1].data;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      int64_t at = transposed ? j * shape[1] + i : i * shape[1] + j;
      data[at] = (float)(factor * from->data[i * columns + j]);
    }
  return 0;
}

int zf_adapter_set_targets(struct zf_adapter_file *file) {
  const char **name = zf_calloc(file->count + 1, sizeof *name);
  int64_t count = 0;
  if (!name) return ZF_ENOMEM;
  for (int64_t i = 0; i < file->count; i++)
    if (zf_adapter_is_a(&file->tensor[i])) name[count++] = file->tensor[i].module;
  int rc = zf_peft_names_set(&file->config.target, name, count, NULL);
  free(name);
  return rc;
}

int zf_adapter_file_only_lora(const struct zf_adapter_file *file, const char *format, int dora) {
  if (file->config.kind != ZF_PEFT_LORA)
    return zf_error(ZF_EUSAGE, "%s: %s adapters are LoRA alone, this one is %s", file->path, format,
                    zf_peft_kinds[file->config.kind].peft_type);
  for (int64_t i = 0; i < file->count; i++) {
    const char *part = file->tensor[i].part;
    int magnitude = !strcmp(part, "lora_magnitude_vector");
    if (!strncmp(part, "lora_", 5) && (dora || !magnitude)) continue;
    return zf_error(ZF_EUSAGE, "%s: %s adapters cannot hold %s of '%.200s'", file->path, format,
                    part, file->tensor[i].module);
  }
  return 0;
}
