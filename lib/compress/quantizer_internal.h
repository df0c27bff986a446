/* Shared by the methods that quantise a layer. */
#ifndef ZF_COMPRESS_QUANTIZER_INTERNAL_H
#define ZF_COMPRESS_QUANTIZER_INTERNAL_H

#include "compress/layer.h"
#include "compress/quantizer.h"

struct zf_quantize_method {
  const char *name;
  int calibrates; /* reads a calibration text */
  int full;       /* needs the moments of pairs of inputs */
  int sequential; /* a layer sees the outputs of the quantised layers before it */
  /* Replaces the layer's matrices; the moments of its inputs are complete. */
  int (*layer)(const struct zf_quantization *job, struct zf_layer *layer);
};

int zf_quantize_gptq(const struct zf_quantization *job, struct zf_layer *layer);
int zf_quantize_awq(const struct zf_quantization *job, struct zf_layer *layer);

/* Encodes rows first..first + rows of a matrix, w [rows][in], to `data`, the parameter's new values. */
void zf_quantize_rows(void *data, enum zf_dtype type, const float *w, int64_t first, int64_t rows,
                      int64_t in, const float *importance);

int zf_quantize_stopped(const struct zf_quantization *job); /* ZF_ESTOPPED where the tick says so */

#endif
