/* What the commands that compress a model share: the calibration text, the model twice (one is changed, the
 * other stays the reference), and the comparison of both. */
#ifndef ZF_CMD_COMPRESS_JOB_H
#define ZF_CMD_COMPRESS_JOB_H

#include "compress/overlay.h"
#include "load.h"
#include "opt.h"
#include "text_windows.h"

/* Options of the text, for every option table. */
struct zc_compress_options {
  const char *text, *check, *compute;
  int64_t window, windows;
};
extern struct zc_compress_options zc_compress_options;
#define ZC_COMPRESS_OPTIONS                                                                        \
  {"text", 0, ZC_STR, "FILE", "the calibration text", &zc_compress_options.text},                  \
      {"windows",                                                                                  \
       0,                                                                                          \
       ZC_INT,                                                                                     \
       "N",                                                                                        \
       "windows of the calibration text at most (128)",                                            \
       &zc_compress_options.windows,                                                               \
       .min = 1,                                                                                   \
       .max = ZC_UNBOUNDED},                                                                       \
      {"window",                                                                                   \
       0,                                                                                          \
       ZC_INT,                                                                                     \
       "N",                                                                                        \
       "tokens of a window (512)",                                                                 \
       &zc_compress_options.window,                                                                \
       .min = 4,                                                                                   \
       .max = 1 << 20},                                                                            \
      {"check",                                                                                    \
       0,                                                                                          \
       ZC_STR,                                                                                     \
       "FILE|none",                                                                                \
       "the text of the comparison (a built-in one)",                                              \
       &zc_compress_options.check},                                                                \
  {                                                                                                \
    "compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16",                             \
        &zc_compress_options.compute                                                               \
  }

struct zc_compress {
  const char *source, *out;   /* words of the command line */
  struct zf_model *model;     /* is changed */
  struct zf_model *reference; /* stays */
  struct zf_tok *tok;
  struct zf_overlay *overlay;
  struct zf_windows windows; /* of the calibration text; count 0: none is given */
  enum zf_compute compute;
  char *directory; /* in which `out` lies */
  struct zf_divergence divergence;
  int compared; /* `divergence` holds a result */
  /* progress */
  const char *label;
  int64_t done, total;
  double start;
};

/* Opens all of it. */
int zc_compress_open(struct zc_compress *job, const char *source, const char *out);
void zc_compress_close(struct zc_compress *job);

/* A tick of the library: draws the progress of `total` ticks, stops at a signal. */
void zc_compress_begin(struct zc_compress *job, const char *label, int64_t total);
int zc_compress_tick(void *job);

/* Compares the changed model with the reference on the text of the comparison. */
int zc_compress_compare(struct zc_compress *job);

/* The result of the comparison as rows of a report, and as members of a JSON object. */
void zc_compress_report(const struct zc_compress *job);
void zc_compress_json(struct zf_buf *buf, const struct zc_compress *job);

/* ZF_EGATE where the mean KL divergence is above `limit`. */
int zc_compress_gate(const struct zc_compress *job, double limit);

#endif
