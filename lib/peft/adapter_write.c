/* What the writers of adapters share. */
#include <errno.h>
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

static int write_data(void *ctx, int64_t index, FILE *file) {
  const struct zf_adapter_file *adapter = ctx;
  const struct zf_adapter_tensor *tensor = &adapter->tensor[index];
  fwrite(tensor->data, sizeof *tensor->data, (size_t)tensor->count, file);
  return 0;
}

int zf_adapter_write_tensors(const struct zf_adapter_file *file, const char *path,
                             char *(*name_of)(const struct zf_adapter_file *file,
                                              const struct zf_adapter_tensor *tensor),
                             const char *const *metadata, int64_t nmetadata) {
  struct zf_st_out *out = zf_calloc(file->count + 1, sizeof *out);
  int rc = out ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < file->count && !rc; i++) {
    const struct zf_adapter_tensor *tensor = &file->tensor[i];
    out[i] = (struct zf_st_out){.name = name_of(file, tensor), .ndim = tensor->ndim};
    memcpy(out[i].shape, tensor->shape, sizeof tensor->shape);
    if (!out[i].name) rc = ZF_EUSAGE;
  }
  if (!rc) rc = zf_st_write(path, out, file->count, metadata, nmetadata, write_data, (void *)file);
  if (out)
    for (int64_t i = 0; i < file->count; i++) free((char *)out[i].name);
  free(out);
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
