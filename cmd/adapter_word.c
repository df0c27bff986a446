#include "adapter_word.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

/* The base, without its weights. */
static int open_base(struct zc_adapter *adapter, const char *path, const char *base_word) {
  struct zf_model_opts shapes = {.dtype = -1, .shapes = 1};
  int rc = base_word ? zf_model_find(&adapter->base_dir, base_word)
                     : zf_adapter_base(&adapter->base_dir, path);
  if (!rc) rc = zf_adapter_labels(&shapes.labels, path);
  if (!rc) rc = zf_model_open(&adapter->base, adapter->base_dir, &shapes);
  return rc;
}

int zc_adapter_open(struct zc_adapter *adapter, const char *path, const char *base_word) {
  *adapter = (struct zc_adapter){.format = zf_adapter_probe(path)};
  if (!adapter->format) return zf_error(ZF_EUSAGE, "%s: no such adapter", path);
  int rc = open_base(adapter, path, base_word);
  if (rc && !base_word && rc == ZF_EUSAGE) {
    adapter->missing = zf_strdup(zf_error_message());
    rc = adapter->missing ? 0 : ZF_ENOMEM;
    zf_error_clear();
  }
  if (!rc) rc = zf_adapter_file_read(&adapter->file, path, adapter->base);
  if (rc == ZF_EUSAGE && adapter->missing) rc = zf_error(rc, "%s", adapter->missing);
  if (rc) zc_adapter_close(adapter);
  return rc;
}

void zc_adapter_close(struct zc_adapter *adapter) {
  zf_model_free(adapter->base);
  zf_adapter_file_free(adapter->file);
  free(adapter->base_dir);
  free(adapter->missing);
  *adapter = (struct zc_adapter){0};
}

int64_t zc_adapter_values(const struct zf_adapter_file *file) {
  int64_t values = 0;
  for (int64_t i = 0; i < file->count; i++) values += file->tensor[i].count;
  return values;
}
