#include "compress/quantizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "compress/quantizer_internal.h"
#include "tensor/quantize.h"

enum { CHUNK = 1 << 19 }; /* values that are in f32 at a time */

int zf_quantize_stopped(const struct zf_quantization *job) {
  return job->tick && job->tick(job->ctx) ? zf_error(ZF_ESTOPPED, "interrupted while quantising")
                                          : 0;
}

void zf_quantize_rows(void *data, enum zf_dtype type, const float *w, int64_t first, int64_t rows,
                      int64_t in, const float *importance) {
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t i = 0; i < rows; i++)
    zf_quantize((char *)data + zf_dtype_bytes(type, (first + i) * in), w + i * in, type, 1, in,
                importance);
}

/* New values of a type without blocks, in the order of the parameter. */
static void convert_param(void *data, enum zf_dtype type, const struct zf_param *param) {
  float value[1 << 12];
  int64_t step = sizeof value / sizeof *value;
  for (int64_t i = 0; i < param->count; i += step) {
    int64_t count = zf_min64(step, param->count - i);
    zf_to_f32(value, (const char *)param->data + zf_dtype_bytes(param->type, i), param->type,
              count);
    zf_from_f32((char *)data + zf_dtype_bytes(type, i), value, type, count);
  }
}

static int encode_param(void *data, enum zf_dtype type, const struct zf_param *param,
                        const float *importance) {
  int64_t in = zf_matrix_columns(param), out = zf_matrix_rows(param),
          step = zf_max64(1, CHUNK / in);
  float *w = zf_calloc(zf_min64(step, out) * in, sizeof *w);
  if (!w) return ZF_ENOMEM;
  for (int64_t i = 0; i < out; i += step) {
    int64_t rows = zf_min64(step, out - i);
    zf_matrix_read(w, param, i, rows);
    zf_quantize_rows(data, type, w, i, rows, in, importance);
  }
  free(w);
  return 0;
}

int zf_quantize_param(const struct zf_quantization *job, int32_t number, const float *importance) {
  const struct zf_param *param = &job->model->params.param[number];
  enum zf_dtype type = job->type[number];
  void *data;
  if (param->type == type && !importance) return 0;
  int rc = zf_overlay_reserve(job->overlay, number, type, &data);
  if (!rc && zf_dtype_info(type)->block == 1)
    convert_param(data, type, param);
  else if (!rc)
    rc = encode_param(data, type, param, importance);
  if (rc) return rc;
  zf_overlay_use(job->overlay, number);
  return zf_quantize_stopped(job);
}

/* --- to the nearest --- */

/* importance [in] of a matrix, the caller's to free; NULL: none is known. */
static int importance_of(float **out, const struct zf_quantization *job,
                         const struct zf_layer_matrix *matrix) {
  const struct zf_param *param = &job->model->params.param[matrix->param];
  const struct zf_gguf_arch *arch = zf_gguf_arch_of(&job->model->config);
  *out = NULL;
  if (!job->imatrix) return 0;
  char *name = arch ? zf_gguf_tensor_name(arch, param->name) : zf_strdup(param->name);
  if (!name) return ZF_ENOMEM;
  const struct zf_imatrix_entry *entry = zf_imatrix_find(job->imatrix, name);
  int rc = 0;
  if (entry && entry->width != matrix->in)
    rc = zf_error(ZF_EINVALID, "importance matrix of '%s': %lld values, expected %lld", name,
                  (long long)entry->width, (long long)matrix->in);
  if (entry && !rc) rc = (*out = zf_calloc(matrix->in, sizeof **out)) ? 0 : ZF_ENOMEM;
  if (*out) zf_imatrix_importance(entry, *out);
  free(name);
  return rc;
}

static int quantize_nearest(const struct zf_quantization *job, struct zf_layer *layer) {
  int rc = 0;
  for (int i = 0; i < layer->matrices && !rc; i++) {
    float *importance;
    rc = importance_of(&importance, job, &layer->matrix[i]);
    if (!rc) rc = zf_quantize_param(job, layer->matrix[i].param, importance);
    free(importance);
  }
  return rc;
}

/* --- layers --- */

static const struct zf_quantize_method quantizers[] = {
    {"rtn", 0, 0, 0, quantize_nearest},
    {"gptq", 1, 1, 1, zf_quantize_gptq},
    {"awq", 1, 1, 0, zf_quantize_awq},
};

const struct zf_quantize_method *zf_quantize_method_find(const char *name) {
  for (size_t i = 0; i < sizeof quantizers / sizeof *quantizers; i++)
    if (!strcmp(quantizers[i].name, name)) return &quantizers[i];
  return NULL;
}

int zf_quantize_method_calibrates(const struct zf_quantize_method *quantizer) {
  return quantizer->calibrates;
}

static int run_layer(const struct zf_quantize_method *quantizer, const struct zf_quantization *job,
                     struct zf_walk *walk, int64_t number) {
  struct zf_layer layer;
  int64_t rows = job->windows ? job->windows->length : 1;
  int rc = zf_layer_open(&layer, job->model, number, quantizer->full, rows);
  if (!rc && walk)
    rc = zf_walk_layer(walk, number, !quantizer->sequential, zf_layer_watch, &layer, job->tick,
                       job->ctx);
  if (!rc) rc = quantizer->layer(job, &layer);
  if (!rc && quantizer->sequential)
    rc = zf_walk_layer(walk, number, 1, NULL, NULL, job->tick, job->ctx);
  zf_layer_close(&layer);
  zf_overlay_drop(job->overlay);
  zf_model_drop_pages(job->model);
  return rc;
}

int zf_quantize_layers(const struct zf_quantize_method *quantizer,
                       const struct zf_quantization *job) {
  struct zf_walk *walk = NULL;
  int rc = 0;
  if (quantizer->calibrates && !job->windows)
    return zf_error(ZF_EUSAGE, "%s needs a calibration text", quantizer->name);
  if (quantizer->calibrates)
    rc = zf_walk_new(&walk, job->model, job->windows, job->directory, job->compute);
  for (int64_t i = 0; i < job->model->config.layers && !rc; i++)
    rc = run_layer(quantizer, job, walk, i);
  zf_walk_free(walk);
  return rc;
}
