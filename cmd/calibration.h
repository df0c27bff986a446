/* --calibrate of eval and predict. */
#ifndef ZF_CMD_CALIBRATION_H
#define ZF_CMD_CALIBRATION_H

#include "eval/calibrate.h"
#include "opt.h"
#include "train/run.h"

extern const char *zc_calibrate_word;
#define ZC_CALIBRATE_OPTION                                                                        \
  {                                                                                                \
    "calibrate", 0, ZC_STR, "NAME",                                                                \
        "take off what options score by themselves: contextual or batch (none)",                   \
        &zc_calibrate_word                                                                         \
  }

/* How the scores of one set are calibrated. */
struct zc_calibration {
  enum zf_calibrate kind;
  double *shift; /* [options]; NULL: kind is none */
  int64_t options;
  int used[ZF_CONTENT_FREE];
  struct zf_metrics plain; /* without calibration */
};

/* By the option, for the set `dataset` of `run`, which comes from `files`.  ZF_EUSAGE: calibration
 * has no meaning for it.  zc_calibration_free frees it, also after a failure. */
int zc_calibration_open(struct zc_calibration *calibration, const struct zf_run *run,
                        const struct zf_dataset *dataset, const struct zf_data_file *files,
                        int64_t count);
void zc_calibration_free(struct zc_calibration *calibration); /* takes a zeroed one */

/* share[options]: what the options get of an input that says nothing, the softmax of the shift. */
void zc_calibration_shares(double *share, const struct zc_calibration *calibration);

/* The texts that stand for content, as a list. */
void zc_calibration_inputs(struct zf_buf *buf, const struct zc_calibration *calibration);

/* Appends {"method": ..., "shift": {OPTION: number, ...}}, with the metrics without calibration
 * where `plain` is set. */
void zc_calibration_json(struct zf_buf *buf, const struct zc_calibration *calibration,
                         const struct zf_data_spec *spec, int plain);

#endif
