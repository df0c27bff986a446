/* Drivers of kernels that treat rows alone: norms, rotary embedding, activations. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

void zf_rmsnorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C, float eps,
                const float *w, int64_t ldw, const struct zf_streams *st) {
  int team = zf_kern_team(st->count * T * C);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < st->count * T; r++)
    zf_kern.rmsnorm(y + r * ldy, x + r * ldx, w ? w + r / T * ldw : NULL, eps, C);
}

void zf_layernorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C,
                  float eps, const float *w, const float *b, int64_t ldw,
                  const struct zf_streams *st) {
  int team = zf_kern_team(st->count * T * C);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < st->count * T; r++)
    zf_kern.layernorm(y + r * ldy, x + r * ldx, w ? w + r / T * ldw : NULL,
                      b ? b + r / T * ldw : NULL, eps, C);
}

void zf_headnorm(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, float eps, const float *w,
                 int64_t ldw, const struct zf_streams *st) {
  int team = zf_kern_team(st->count * T * H * D);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < st->count * T; r++)
    for (int64_t h = 0; h < H; h++) {
      float *head = x + r * ldx + h * D;
      zf_kern.rmsnorm(head, head, w ? w + r / T * ldw : NULL, eps, D);
    }
}

void zf_rope(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, int64_t rot,
             const float *cos_sin, const int32_t *pos, const struct zf_streams *st) {
  int team = zf_kern_team(st->count * T * H * rot);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < st->count * T; r++)
    for (int64_t h = 0; h < H; h++)
      zf_kern.rope(x + r * ldx + h * D, cos_sin + pos[r % T] * rot, rot / 2);
}

const char *const zf_act_names[ZF_ACTS] = {
    "silu",  "gelu_tanh", "gelu_erf",   "relu",   "tanh",      "quick_gelu", "gelu_10", "sigmoid",
    "relu2", "relu6",     "leaky_relu", "linear", "hardswish", "mish",       "laplace"};

void zf_act(float *g, int64_t ldg, const float *u, int64_t ldu, int64_t rows, int64_t n,
            enum zf_act act) {
  int team = zf_kern_team(rows * n * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++) zf_kern.act[act](g + r * ldg, u ? u + r * ldu : NULL, n);
}

void zf_softcap(float *x, int64_t ldx, int64_t rows, int64_t n, float in, float out) {
  int team = zf_kern_team(rows * n * 4);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++) zf_kern.softcap(x + r * ldx, in, out, n);
}

void zf_scale_rows(float *x, int64_t ldx, int64_t rows, int64_t n, float by) {
  int team = zf_kern_team(rows * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++) zf_kern.scale(x + r * ldx, by, n);
}

void zf_permute_heads(float *x, int64_t ldx, int64_t rows, int64_t heads, int64_t parts, int64_t D,
                      float *scratch) {
  int64_t n = heads * parts * D;
  int team = zf_kern_team(rows * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++) {
    float *row = x + r * ldx, *was = scratch + omp_get_thread_num() * n;
    memcpy(was, row, (size_t)n * sizeof *was);
    for (int64_t p = 0; p < parts; p++)
      for (int64_t h = 0; h < heads; h++)
        memcpy(row + (p * heads + h) * D, was + (h * parts + p) * D, (size_t)D * sizeof *row);
  }
}

void zf_add_rows(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows, int64_t n) {
  int team = zf_kern_team(rows * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t r = 0; r < rows; r++) zf_kern.add(y + r * ldy, x + r * ldx, n);
}
