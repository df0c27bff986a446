/* Rules that look at a whole parameter: orthogonal steps and a trust region. */
#include <math.h>
#include <string.h>

#include "zo/rule.h"

static double sum_squares(const float *x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

static void scale_by(float *x, int64_t count, double factor) {
  for (int64_t i = 0; i < count; i++) x[i] = (float)((double)x[i] * factor);
}

/* --- Muon --- */

/* A matrix with its short side `small` and its long one `large`; element (s, l) at s*ss + l*ls. */
struct long_matrix {
  float *x;
  int64_t small, large, ss, ls;
};

/* gram [small][small] = X X^T. */
static void make_gram(double *gram, const struct long_matrix *m) {
  for (int64_t i = 0; i < m->small; i++)
    for (int64_t j = 0; j <= i; j++) {
      double sum = 0;
      for (int64_t k = 0; k < m->large; k++)
        sum += (double)m->x[i * m->ss + k * m->ls] * (double)m->x[j * m->ss + k * m->ls];
      gram[i * m->small + j] = gram[j * m->small + i] = sum;
    }
}

/* X <- a X + (b G + c G G) X, with G = X X^T: one iteration of Newton and Schulz. */
static void iterate(const struct long_matrix *m, double *space) {
  static const double a = 3.4445, b = -4.7750, c = 2.0315;
  int64_t n = m->small;
  double *gram = space, *mix = gram + n * n, *column = mix + n * n;
  make_gram(gram, m);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t k = 0; k < n; k++) sum += gram[i * n + k] * gram[k * n + j];
      mix[i * n + j] = b * gram[i * n + j] + c * sum + (i == j ? a : 0);
    }
  for (int64_t l = 0; l < m->large; l++) {
    for (int64_t s = 0; s < n; s++) column[s] = (double)m->x[s * m->ss + l * m->ls];
    for (int64_t s = 0; s < n; s++) {
      double sum = 0;
      for (int64_t k = 0; k < n; k++) sum += mix[s * n + k] * column[k];
      m->x[s * m->ss + l * m->ls] = (float)sum;
    }
  }
}

static void orthogonalize(const struct zf_zo *zo, const struct zf_param *param, float *change,
                          int64_t rows, int64_t columns, double lr, float *space) {
  (void)zo, (void)param;
  int wide = rows <= columns;
  struct long_matrix matrix = {change, wide ? rows : columns, wide ? columns : rows,
                               wide ? columns : 1, wide ? 1 : columns};
  double norm = sqrt(sum_squares(change, rows * columns));
  if (matrix.small > ZF_MUON_SIDE || matrix.small < 2 || norm == 0) {
    scale_by(change, rows * columns, -lr);
    return;
  }
  scale_by(change, rows * columns, 1 / norm);
  for (int i = 0; i < 5; i++) iterate(&matrix, (double *)(void *)space);
  double tall = (double)rows / (double)columns;
  scale_by(change, rows * columns, -lr * sqrt(tall > 1 ? tall : 1));
}

/* --- trust region --- */

#define SMALLEST 1e-3 /* root mean square that a parameter of zeros is taken to have */

static double norm_of(const struct zf_param *param) {
  enum { CHUNK = 4096 };
  float w[CHUNK];
  double sum = 0;
  for (int64_t at = 0; at < param->count; at += CHUNK) {
    int64_t count = param->count - at < CHUNK ? param->count - at : CHUNK;
    zf_to_f32(w, (const char *)param->data + zf_dtype_bytes(param->type, at), param->type, count);
    sum += sum_squares(w, count);
  }
  double least = SMALLEST * SMALLEST * (double)param->count;
  return sqrt(sum > least ? sum : least);
}

/* A direction L R^T is as long as L times the root of the inputs, for R of unit variance. */
static void bound_change(const struct zf_zo *zo, const struct zf_param *param, float *change,
                         int64_t rows, int64_t columns, double lr, float *space) {
  (void)space;
  double length = lr * sqrt(sum_squares(change, rows * columns)),
         bound = zo->trust * norm_of(param);
  if (param->factors.rank)
    length *= param->factors.left ? (double)param->factors.scale : sqrt((double)param->factors.in);
  scale_by(change, rows * columns, -lr * (length > bound ? bound / length : 1));
}

const struct zf_rule_kind zf_rule_muon = {
    "muon", ZF_UPDATE_MOMENTUM, ZF_UPDATE_MOMENTUM, 1u << ZF_STATE_MEAN, 0, 0, 1, orthogonalize};

const struct zf_rule_kind zf_rule_trust = {
    "trust", ZF_UPDATE_MOMENTUM, ZF_UPDATE_MOMENTUM, 1u << ZF_STATE_MEAN, 0, 0, 0, bound_change};
