/* Importance matrices, and how they are gathered. */
#include "compress/imatrix.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "compress/layer.h"
#include "compress/walk.h"

void zf_imatrix_free(struct zf_imatrix *imatrix) {
  for (int64_t i = 0; i < imatrix->count; i++) {
    free(imatrix->entry[i].name);
    free(imatrix->entry[i].sum);
  }
  free(imatrix->entry);
  *imatrix = (struct zf_imatrix){0};
}

int zf_imatrix_add(struct zf_imatrix *imatrix, const char *name, int64_t width,
                   const double *square, int64_t rows) {
  struct zf_imatrix_entry *grown =
      zf_grow(imatrix->entry, imatrix->count, &imatrix->cap, sizeof *grown);
  if (!grown) return ZF_ENOMEM;
  imatrix->entry = grown;
  struct zf_imatrix_entry *entry = &grown[imatrix->count];
  *entry = (struct zf_imatrix_entry){.name = zf_strdup(name),
                                     .width = width,
                                     .sum = zf_calloc(width, sizeof *entry->sum),
                                     .count = (float)rows};
  imatrix->count++;
  if (!entry->name || !entry->sum) return ZF_ENOMEM;
  for (int64_t i = 0; i < width; i++) entry->sum[i] = (float)square[i];
  return 0;
}

const struct zf_imatrix_entry *zf_imatrix_find(const struct zf_imatrix *imatrix, const char *name) {
  for (int64_t i = 0; i < imatrix->count; i++)
    if (!strcmp(imatrix->entry[i].name, name)) return &imatrix->entry[i];
  return NULL;
}

void zf_imatrix_importance(const struct zf_imatrix_entry *entry, float *out) {
  for (int64_t i = 0; i < entry->width; i++)
    out[i] = entry->count > 0 ? entry->sum[i] / entry->count : 1;
}

/* Adds the entries of a layer whose moments are complete. */
static int add_layer(struct zf_imatrix *imatrix, const struct zf_layer *layer) {
  const struct zf_model *model = layer->model;
  for (int i = 0; i < layer->matrices; i++) {
    const struct zf_layer_matrix *matrix = &layer->matrix[i];
    const struct zf_moments *moments = &layer->input[matrix->input].moments;
    const char *checkpoint_name = model->params.param[matrix->param].name;
    const struct zf_gguf_arch *arch = zf_gguf_arch_of(&model->config);
    char *name = arch ? zf_gguf_tensor_name(arch, checkpoint_name) : zf_strdup(checkpoint_name);
    int rc = name ? zf_imatrix_add(imatrix, name, matrix->in, moments->square, moments->rows)
                  : ZF_ENOMEM;
    free(name);
    if (rc) return rc;
  }
  return 0;
}

int zf_imatrix_gather(struct zf_imatrix *imatrix, const struct zf_model *model,
                      const struct zf_windows *windows, const char *directory,
                      enum zf_compute compute, int (*tick)(void *ctx), void *ctx) {
  struct zf_walk *walk = NULL;
  *imatrix = (struct zf_imatrix){.chunks = windows->count, .chunk_size = windows->length};
  int rc = zf_walk_new(&walk, model, windows, directory, compute);
  for (int64_t i = 0; i < model->config.layers && !rc; i++) {
    struct zf_layer layer;
    rc = zf_layer_open(&layer, model, i, 0, windows->length);
    if (!rc) rc = zf_walk_layer(walk, i, 1, zf_layer_watch, &layer, tick, ctx);
    if (!rc) rc = add_layer(imatrix, &layer);
    zf_layer_close(&layer);
  }
  zf_walk_free(walk);
  return rc;
}
