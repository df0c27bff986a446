#include "calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "load.h"
#include "ui.h"

const char *zc_calibrate_word;

/* The specs of the files, for zf_calibrate_check. */
static int check_files(const struct zf_data_file *files, int64_t count) {
  const struct zf_data_spec **spec = zf_calloc(count, sizeof(*spec));
  if (!spec) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) spec[i] = &files[i].spec;
  int rc = zf_calibrate_check(spec, count);
  free(spec);
  return rc ? zf_error_prefix(rc, "--calibrate %s", zc_calibrate_word) : 0;
}

int zc_calibration_open(struct zc_calibration *calibration, const struct zf_run *run,
                        const struct zf_dataset *dataset, const struct zf_data_file *files,
                        int64_t count) {
  *calibration = (struct zc_calibration){.options = dataset->options};
  int rc = zc_calibrate_word ? zf_calibrate_find(&calibration->kind, zc_calibrate_word) : 0;
  if (rc) return zf_error_prefix(rc, "--calibrate");
  if (!calibration->kind) return 0;
  if ((rc = check_files(files, count))) return rc;
  if (!(calibration->shift = zf_calloc(dataset->options, sizeof *calibration->shift)))
    return ZF_ENOMEM;
  if (calibration->kind == ZF_CALIBRATE_BATCH) return 0;
  return zf_calibrate_by_content_free(calibration->shift, calibration->used, run->model, run->tok,
                                      &files[0].spec, run->settings.compute);
}

void zc_calibration_free(struct zc_calibration *calibration) {
  free(calibration->shift);
  *calibration = (struct zc_calibration){0};
}

void zc_calibration_shares(double *share, const struct zc_calibration *calibration) {
  for (int64_t i = 0; i < calibration->options; i++) share[i] = calibration->shift[i];
  zf_calibrate_normalize(share, 1, calibration->options);
  for (int64_t i = 0; i < calibration->options; i++) share[i] = exp(share[i]);
}

void zc_calibration_inputs(struct zf_buf *buf, const struct zc_calibration *calibration) {
  const char *comma = "";
  for (int i = 0; i < ZF_CONTENT_FREE; i++) {
    if (!calibration->used[i]) continue;
    zf_buf_puts(buf, comma);
    zc_json_text(buf, zf_content_free[i], strlen(zf_content_free[i]));
    comma = ", ";
  }
}

void zc_calibration_json(struct zf_buf *buf, const struct zc_calibration *calibration,
                         const struct zf_data_spec *spec, int plain) {
  char name[64];
  zf_buf_printf(buf, "{\"method\": \"%s\"", zf_calibrate_names[calibration->kind]);
  if (calibration->kind == ZF_CALIBRATE_CONTEXTUAL) {
    zf_buf_puts(buf, ", \"inputs\": [");
    zc_calibration_inputs(buf, calibration);
    zf_buf_puts(buf, "]");
  }
  zf_buf_puts(buf, ", \"shift\": {");
  for (int64_t i = 0; i < calibration->options; i++) {
    zc_option_name(name, spec, i);
    if (i) zf_buf_puts(buf, ", ");
    zc_json_text(buf, name, strlen(name));
    zf_buf_printf(buf, ": %.17g", calibration->shift[i]);
  }
  zf_buf_puts(buf, "}");
  if (plain) {
    zf_buf_puts(buf, ", \"uncalibrated\": {");
    zf_metrics_json(buf, &calibration->plain);
    zf_buf_puts(buf, "}");
  }
  zf_buf_puts(buf, "}");
}
