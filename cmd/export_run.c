/* The export that a run's settings ask for: checked before it trains, written when it has ended. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "export_job.h"
#include "tensor/quantize.h"
#include "ui.h"

int zc_export_type(const char *name) {
  for (int i = 0; i < ZF_DTYPES_READ; i++)
    if (zf_can_quantize((enum zf_dtype)i) && !strcmp(zf_dtype_info((enum zf_dtype)i)->name, name))
      return i;
  return -1;
}

static int asks(const struct zf_conf *conf) {
  const char *format = zf_conf_str(conf, "export");
  return format && strcmp(format, "none") != 0;
}

int zc_export_check_run(const struct zf_conf *conf, const struct zf_run *run) {
  if (!asks(conf) && zc_export_type(zf_conf_str(conf, "export_type")) >= 0)
    zc_warn("export_type has no effect: export is none");
  int rc = asks(conf) ? zf_image_check(run->model, run->tok) : 0;
  return rc ? zf_error_prefix(rc, "export") : 0;
}

int zc_export_run(const struct zf_conf *conf, const char *dir) {
  if (!asks(conf)) return 0;
  char *to = zf_path_join(dir, "export.gguf");
  struct zc_export job = {.source = dir,
                          .to = to,
                          .type = zc_export_type(zf_conf_str(conf, "export_type")),
                          .replace = 1,
                          .bytes = -1};
  int rc = to ? zc_export_model(&job) : ZF_ENOMEM;
  if (!rc) zc_info("exported   %s, %s", to, job.types);
  free(to);
  return rc;
}
