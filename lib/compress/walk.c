#include "compress/walk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct zf_walk {
  const struct zf_model *model;
  const struct zf_windows *windows;
  struct zf_forward *forward;
  int file;       /* [windows][length][hidden] f32 */
  size_t bytes;   /* of a window */
  int32_t *place; /* [length] 0, 1, ... */
};

/* --- the temporary file --- */

/* Moves a window between memory and the file. */
static int move_window(const struct zf_walk *walk, int64_t window, float *x, int to_file) {
  char *data = (char *)x;
  off_t at = (off_t)window * (off_t)walk->bytes;
  for (size_t done = 0; done < walk->bytes;) {
    ssize_t count = to_file ? pwrite(walk->file, data + done, walk->bytes - done, at + (off_t)done)
                            : pread(walk->file, data + done, walk->bytes - done, at + (off_t)done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      return zf_error(ZF_EIO, "cannot %s the temporary file of the calibration: %s",
                      to_file ? "write" : "read", strerror(errno));
    done += (size_t)count;
  }
  return 0;
}

/* --- operations --- */

/* The pass of one window; the batch points to the segment. */
struct walk_pass {
  struct zf_segment segment;
  struct zf_batch batch;
  const struct zf_batch *inner;
};

/* Binds all registers to the arena and prepares a pass over one window. */
static int begin(struct zf_walk *walk, int64_t window, struct walk_pass *pass) {
  int64_t length = walk->windows->length;
  pass->segment = (struct zf_segment){.len = length};
  pass->batch = (struct zf_batch){.T = length,
                                  .id = walk->windows->id + window * length,
                                  .pos = walk->place,
                                  .segment_count = 1,
                                  .segment = &pass->segment};
  int rc = zf_forward_begin(walk->forward, &pass->batch, &pass->inner);
  if (rc) return rc;
  for (int reg = 0; reg < ZF_REGS; reg++)
    zf_forward_bind(walk->forward, (enum zf_reg)reg,
                    zf_forward_register(walk->forward, (enum zf_reg)reg),
                    walk->model->plan.width[reg]);
  return 0;
}

/* Runs the operations of the body that belong to `layer` (-1: those before the first layer). */
static void run_layer(struct zf_walk *walk, int64_t layer, const struct zf_batch *batch) {
  const struct zf_plan *plan = &walk->model->plan;
  int64_t i = 0;
  while (i < plan->body && plan->op[i].layer != layer) i++;
  for (; i < plan->body && plan->op[i].layer == layer; i++)
    zf_forward_op(walk->forward, &plan->op[i], batch);
}

static int embed_all(struct zf_walk *walk) {
  for (int64_t i = 0; i < walk->windows->count; i++) {
    struct walk_pass pass;
    int rc = begin(walk, i, &pass);
    if (rc) return rc;
    run_layer(walk, -1, pass.inner);
    rc = move_window(walk, i, zf_forward_register(walk->forward, ZF_REG_X), 1);
    if (rc) return rc;
  }
  return 0;
}

int zf_walk_layer(struct zf_walk *walk, int64_t layer, int keep, zf_forward_watch watch, void *ctx,
                  int (*tick)(void *ctx), void *tick_ctx) {
  float *x = zf_forward_register(walk->forward, ZF_REG_X);
  int rc = 0;
  zf_forward_watch_inputs(walk->forward, watch, ctx);
  for (int64_t i = 0; i < walk->windows->count && !rc; i++) {
    struct walk_pass pass;
    rc = begin(walk, i, &pass);
    if (!rc) rc = move_window(walk, i, x, 0);
    if (!rc) run_layer(walk, layer, pass.inner);
    if (!rc && keep) rc = move_window(walk, i, x, 1);
    if (!rc && tick && tick(tick_ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while calibrating");
  }
  zf_forward_watch_inputs(walk->forward, NULL, NULL);
  return rc;
}

/* Adds the cosines of each token's rows. */
static double cosines(const float *before, const float *after, int64_t rows, int64_t width) {
  double sum = 0;
  for (int64_t i = 0; i < rows; i++) {
    double dot = 0, left = 0, right = 0;
    for (int64_t j = 0; j < width; j++) {
      double x = (double)before[i * width + j], y = (double)after[i * width + j];
      dot += x * y;
      left += x * x;
      right += y * y;
    }
    sum += left > 0 && right > 0 ? dot / sqrt(left * right) : 1;
  }
  return sum;
}

int zf_walk_influence(struct zf_walk *walk, int64_t layer, double *out, int (*tick)(void *ctx),
                      void *tick_ctx) {
  int64_t length = walk->windows->length, width = walk->model->plan.width[ZF_REG_X];
  float *before = zf_malloc(walk->bytes), *x = zf_forward_register(walk->forward, ZF_REG_X);
  double sum = 0;
  int rc = before ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < walk->windows->count && !rc; i++) {
    struct walk_pass pass;
    rc = begin(walk, i, &pass);
    if (!rc) rc = move_window(walk, i, x, 0);
    if (rc) break;
    memcpy(before, x, walk->bytes);
    run_layer(walk, layer, pass.inner);
    sum += cosines(before, x, length, width);
    rc = move_window(walk, i, x, 1);
    if (!rc && tick && tick(tick_ctx)) rc = zf_error(ZF_ESTOPPED, "interrupted while calibrating");
  }
  free(before);
  *out = 1 - sum / (double)(walk->windows->count * length);
  return rc;
}

/* --- life --- */

int zf_walk_new(struct zf_walk **out, const struct zf_model *model,
                const struct zf_windows *windows, const char *directory, enum zf_compute compute) {
  int64_t length = windows->length;
  struct zf_limits limits = {.tokens = length,
                             .rows = 1,
                             .segments = 1,
                             .length = length,
                             .ids = 1,
                             .streams = 1,
                             .keeps_values = 1,
                             .compute = compute};
  struct zf_walk *walk = *out = zf_calloc(1, sizeof *walk);
  if (!walk) return ZF_ENOMEM;
  *walk = (struct zf_walk){.model = model, .windows = windows, .file = -1};
  walk->bytes = (size_t)(length * model->plan.width[ZF_REG_X]) * sizeof(float);
  walk->place = zf_calloc(length, sizeof *walk->place);
  int rc = walk->place ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < length; i++) walk->place[i] = (int32_t)i;
  if (!rc) rc = zf_forward_new(&walk->forward, model, &limits);
  if (!rc && (walk->file = zf_scratch_file(directory)) < 0) rc = walk->file;
  if (!rc) rc = embed_all(walk);
  if (!rc) return 0;
  zf_walk_free(walk);
  *out = NULL;
  return rc;
}

void zf_walk_free(struct zf_walk *walk) {
  if (!walk) return;
  zf_forward_free(walk->forward);
  if (walk->file >= 0) close(walk->file);
  free(walk->place);
  free(walk);
}
