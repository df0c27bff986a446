#include "export_adapter.h"

#include <stdio.h>
#include <string.h>

#include "adapter_word.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "opt.h"
#include "ui.h"

static int write_peft(const struct zc_adapter *adapter, const char *to) {
  static const char *const metadata[] = {"format", "pt"};
  return zf_adapter_file_write_peft(adapter->file, to, metadata, 1);
}

static int write_mlx(const struct zc_adapter *adapter, const char *to) {
  return zf_adapter_file_write_mlx(adapter->file, to);
}

static int write_gguf(const struct zc_adapter *adapter, const char *to) {
  if (!adapter->base)
    return zf_error(ZF_EUSAGE,
                    "a GGUF adapter has the names and heads of its base: name that by --base (%s)",
                    adapter->missing);
  return zf_adapter_file_write_gguf(adapter->file, to, adapter->base);
}

static const struct export_format {
  const char *name;
  int is_file; /* else a directory */
  int (*write)(const struct zc_adapter *adapter, const char *to);
} formats[] = {
    {"peft", 0, write_peft},
    {"mlx", 0, write_mlx},
    {"gguf", 1, write_gguf},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static int find_format(const struct export_format **out, const char *to, const char *name) {
  if (!name) name = zf_is_gguf_path(to) ? "gguf" : "peft";
  for (int i = 0; i < FORMATS; i++)
    if (!strcmp(formats[i].name, name)) {
      *out = &formats[i];
      return 0;
    }
  return zf_error(ZF_EUSAGE, "--format: expected peft, mlx or gguf, found '%s'", name);
}

static int check_target(const struct export_format *format, const char *to) {
  if (format->is_file && !zf_is_gguf_path(to))
    return zf_error(ZF_EUSAGE, "--to %s: the name of a GGUF file ends in .gguf", to);
  if (!format->is_file && zf_is_gguf_path(to))
    return zf_error(ZF_EUSAGE, "--to %s: --format %s writes a directory, no .gguf file", to,
                    format->name);
  if (!zf_exists(to) || (!format->is_file && zf_dir_empty(to) == 1)) return 0;
  return format->is_file
             ? zf_error(ZF_EUSAGE, "%s exists: name a file that does not", to)
             : zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", to);
}

/* An adapter without the name of its base gets the one it was opened with. */
static int name_base(struct zc_adapter *adapter) {
  struct zf_peft_config *config = &adapter->file->config;
  if (config->base_model || !adapter->base_dir) return 0;
  config->base_model = zf_strdup(adapter->base_dir);
  return config->base_model ? 0 : ZF_ENOMEM;
}

/* Reads the written adapter. */
static int report(const char *to, const char *base) {
  struct zc_adapter adapter;
  int rc = zc_adapter_open(&adapter, to, base);
  if (rc) return rc;
  long long tensors = adapter.file->count, parameters = zc_adapter_values(adapter.file);
  const char *kind = zf_peft_kinds[adapter.file->config.kind].name;
  if (zc_common.json) {
    struct zf_buf name = {0};
    zc_json_text(&name, to, strlen(to));
    printf("{\"adapter\": %s, \"format\": \"%s\", \"kind\": \"%s\", \"parameters\": %lld, "
           "\"tensors\": %lld}\n",
           name.failed ? "null" : name.data, adapter.format, kind, parameters, tensors);
    zf_buf_free(&name);
  } else {
    printf("%s: %s adapter, %s, %lld parameters in %lld tensors\n", to, adapter.format, kind,
           parameters, tensors);
  }
  zc_adapter_close(&adapter);
  return 0;
}

int zc_export_adapter(const char *path, const char *to, const char *format, const char *base) {
  const struct export_format *chosen = NULL;
  struct zc_adapter adapter = {0};
  int rc = find_format(&chosen, to, format);
  if (!rc) rc = check_target(chosen, to);
  if (!rc) rc = zc_adapter_open(&adapter, path, base);
  if (!rc) rc = name_base(&adapter);
  if (!rc) rc = chosen->write(&adapter, to);
  if (!rc) rc = report(to, adapter.base_dir);
  zc_adapter_close(&adapter);
  return rc;
}
