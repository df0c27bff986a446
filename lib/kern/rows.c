/* Drivers of kernels that work on rows one by one: norms, rotary embedding, activations. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

void zf_rmsnorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C, float eps,
                const float *w, int64_t ldw, const struct zf_streams *streams) {
  int team = zf_kern_team(streams->count * T * C);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < streams->count * T; i++) {
    int64_t row = zf_stream_row(streams, T, i);
    zf_kern.rmsnorm(y + row * ldy, x + row * ldx, w ? w + i / T * ldw : NULL, eps, C);
  }
}

void zf_layernorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C,
                  float eps, const float *w, const float *bias, int64_t ldw,
                  const struct zf_streams *streams) {
  int team = zf_kern_team(streams->count * T * C);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < streams->count * T; i++) {
    int64_t row = zf_stream_row(streams, T, i);
    zf_kern.layernorm(y + row * ldy, x + row * ldx, w ? w + i / T * ldw : NULL,
                      bias ? bias + i / T * ldw : NULL, eps, C);
  }
}

void zf_headnorm(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, float eps, const float *w,
                 int64_t ldw, const struct zf_streams *streams) {
  int team = zf_kern_team(streams->count * T * H * D);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < streams->count * T; i++)
    for (int64_t h = 0; h < H; h++) {
      float *head = x + zf_stream_row(streams, T, i) * ldx + h * D;
      zf_kern.rmsnorm(head, head, w ? w + i / T * ldw : NULL, eps, D);
    }
}

void zf_rope(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, int64_t rot,
             const float *cos_sin, const int32_t *pos, const struct zf_streams *streams) {
  int team = zf_kern_team(streams->count * T * H * rot);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < streams->count * T; row++)
    for (int64_t h = 0; h < H; h++)
      zf_kern.rope(x + row * ldx + h * D, cos_sin + pos[row % T] * rot, rot / 2);
}

const char *const zf_act_names[ZF_ACTS] = {
    [ZF_ACT_SILU] = "silu",
    [ZF_ACT_GELU_TANH] = "gelu_tanh",
    [ZF_ACT_GELU_ERF] = "gelu_erf",
    [ZF_ACT_RELU] = "relu",
    [ZF_ACT_TANH] = "tanh",
    [ZF_ACT_QUICK_GELU] = "quick_gelu",
    [ZF_ACT_GELU_10] = "gelu_10",
    [ZF_ACT_SIGMOID] = "sigmoid",
    [ZF_ACT_RELU2] = "relu2",
    [ZF_ACT_RELU6] = "relu6",
    [ZF_ACT_LEAKY_RELU] = "leaky_relu",
    [ZF_ACT_LINEAR] = "linear",
    [ZF_ACT_HARDSWISH] = "hardswish",
    [ZF_ACT_MISH] = "mish",
    [ZF_ACT_LAPLACE] = "laplace",
};

void zf_act(float *gate, int64_t ldgate, const float *up, int64_t ldup, int64_t rows,
            int64_t columns, enum zf_act act) {
  int team = zf_kern_team(rows * columns * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < rows; row++)
    zf_kern.act[act](gate + row * ldgate, up ? up + row * ldup : NULL, columns);
}

void zf_softcap(float *x, int64_t ldx, int64_t rows, int64_t columns, float scale_in,
                float scale_out) {
  int team = zf_kern_team(rows * columns * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < rows; row++)
    zf_kern.softcap(x + row * ldx, scale_in, scale_out, columns);
}

void zf_columns(float *x, int64_t ldx, int64_t T, int64_t columns, const float *factor,
                const float *shift, int64_t ldv, const struct zf_streams *streams) {
  int team = zf_kern_team(streams->count * T * columns);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < streams->count * T; i++) {
    float *row = x + zf_stream_row(streams, T, i) * ldx;
    const float *scale = factor ? factor + i / T * ldv : NULL,
                *add = shift ? shift + i / T * ldv : NULL;
    if (scale && add)
      for (int64_t c = 0; c < columns; c++) row[c] = fmaf(row[c], scale[c], add[c]);
    else if (scale)
      for (int64_t c = 0; c < columns; c++) row[c] *= scale[c];
    else if (add)
      zf_kern.add(row, add, columns);
  }
}

void zf_scale_rows(float *x, int64_t ldx, int64_t rows, int64_t columns, float factor) {
  int team = zf_kern_team(rows * columns);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < rows; row++) zf_kern.scale(x + row * ldx, factor, columns);
}

void zf_permute_heads(float *x, int64_t ldx, int64_t rows, int64_t heads, int64_t parts, int64_t D,
                      float *scratch) {
  int64_t width = heads * parts * D;
  int team = zf_kern_team(rows * width);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < rows; row++) {
    float *values = x + row * ldx, *source = scratch + omp_get_thread_num() * width;
    memcpy(source, values, (size_t)width * sizeof *source);
    for (int64_t p = 0; p < parts; p++)
      for (int64_t h = 0; h < heads; h++)
        memcpy(values + (p * heads + h) * D, source + (h * parts + p) * D,
               (size_t)D * sizeof *values);
  }
}

void zf_add_rows(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows,
                 int64_t columns) {
  int team = zf_kern_team(rows * columns);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t row = 0; row < rows; row++) zf_kern.add(y + row * ldy, x + row * ldx, columns);
}
