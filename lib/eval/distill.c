#include "eval/distill.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "kern/kern.h"

/* The rows of a set in the file. */
struct taught_set {
  const struct zf_dataset *dataset;
  int64_t *first; /* [count + 1] of each example in the file */
};

struct zf_distill {
  const struct zf_teacher *teacher;
  struct taught_set set[ZF_TEACHER_SETS];
  int64_t k, most; /* listed tokens; rows of all streams of a pass */
  double temperature;
  int64_t R, streams;           /* rows of the pass on one stream; its streams */
  int64_t *row;                 /* [most] R rows of the file */
  double *scale;                /* [most] derivative of the loss by D of the row */
  struct zf_coarse_row *coarse; /* [most] */
  float *listed;                /* [most][k] logits of the listed tokens */
  float *gradient;              /* [most][k] by those logits */
};

int64_t zf_distill_bytes(int64_t k, int64_t rows, const struct zf_dataset *const *set) {
  int64_t each = (int64_t)(sizeof(int64_t) + sizeof(double) + sizeof(struct zf_coarse_row)) +
                 2 * k * (int64_t)sizeof(float);
  int64_t bytes = rows * (each + zf_teacher_row_bytes(k));
  for (int i = 0; i < ZF_TEACHER_SETS; i++)
    if (set[i]) bytes += (set[i]->count + 1) * (int64_t)sizeof(int64_t);
  return bytes;
}

/* --- opening --- */

static int open_sets(struct zf_distill *distill, const struct zf_dataset *const *set) {
  int64_t before = 0;
  for (int i = 0; i < ZF_TEACHER_SETS; i++) {
    struct taught_set *taught = &distill->set[i];
    int64_t rows = zf_teacher_head(distill->teacher)->set[i].rows;
    if (set[i]) {
      taught->first = zf_calloc(set[i]->count + 1, sizeof *taught->first);
      if (!taught->first) return ZF_ENOMEM;
      zf_teacher_rows(taught->first, set[i]);
      for (int64_t j = 0; j <= set[i]->count; j++) taught->first[j] += before;
      taught->dataset = set[i];
    }
    before += rows;
  }
  return 0;
}

static int open_rows(struct zf_distill *distill) {
  distill->row = zf_calloc(distill->most, sizeof *distill->row);
  distill->scale = zf_calloc(distill->most, sizeof *distill->scale);
  distill->coarse = zf_calloc(distill->most, sizeof *distill->coarse);
  distill->listed = zf_calloc(distill->most * zf_max64(1, distill->k), sizeof *distill->listed);
  distill->gradient = zf_calloc(distill->most * zf_max64(1, distill->k), sizeof(float));
  int complete =
      distill->row && distill->gradient && distill->scale && distill->coarse && distill->listed;
  return complete ? 0 : ZF_ENOMEM;
}

int zf_distill_new(struct zf_distill **out, const struct zf_teacher *teacher,
                   const struct zf_dataset *const *set, int64_t rows) {
  const struct zf_teacher_head *head = zf_teacher_head(teacher);
  *out = NULL;
  struct zf_distill *distill = zf_calloc(1, sizeof *distill);
  if (!distill) return ZF_ENOMEM;
  distill->teacher = teacher;
  distill->k = head->k;
  distill->temperature = head->temperature;
  distill->most = rows;
  int rc = open_rows(distill);
  if (!rc) rc = open_sets(distill, set);
  if (rc)
    zf_distill_free(distill);
  else
    *out = distill;
  return rc;
}

void zf_distill_free(struct zf_distill *distill) {
  if (!distill) return;
  for (int i = 0; i < ZF_TEACHER_SETS; i++) free(distill->set[i].first);
  free(distill->row);
  free(distill->scale);
  free(distill->coarse);
  free(distill->listed);
  free(distill->gradient);
  free(distill);
}

static const struct taught_set *set_of(const struct zf_distill *distill,
                                       const struct zf_dataset *dataset) {
  for (int i = 0; i < ZF_TEACHER_SETS; i++)
    if (distill->set[i].dataset == dataset) return &distill->set[i];
  return NULL;
}

int zf_distill_knows(const struct zf_distill *distill, const struct zf_dataset *dataset) {
  return set_of(distill, dataset) != NULL;
}

float zf_distill_inverse(const struct zf_distill *distill) {
  return (float)(1 / distill->temperature);
}

/* --- rows of a pass --- */

void zf_distill_begin(struct zf_distill *distill, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t from, int64_t to, int streams) {
  const int64_t *first = set_of(distill, dataset)->first;
  distill->R = 0;
  distill->streams = streams;
  zf_teacher_drop(distill->teacher); /* the rows of the pass before */
  if (!distill->k) return;           /* options are known by example */
  for (int64_t i = from; i < to; i++) {
    int64_t example = index ? index[i] : i;
    for (int64_t row = first[example]; row < first[example + 1]; row++)
      distill->row[distill->R++] = row;
  }
  for (int64_t i = 0; i < streams * distill->R; i++)
    distill->coarse[i] = (struct zf_coarse_row){-INFINITY, 0};
}

void zf_distill_see(void *ctx, const float *y, int64_t ldy, int64_t first, int64_t count) {
  struct zf_distill *distill = ctx;
  int64_t k = distill->k, R = distill->R;
  float inverse = zf_distill_inverse(distill);
  if (!k) return;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < distill->streams * R; row++) {
    const int32_t *id;
    const float *log_p;
    zf_teacher_row(distill->teacher, distill->row[row % R], &id, &log_p);
    zf_coarse_add(&distill->coarse[row], distill->listed + row * k, id, k, inverse, y + row * ldy,
                  first, count);
  }
}

/* log of the model's normaliser at the temperature, over listed tokens and the rest. */
static double normaliser_of(const struct zf_distill *distill, int64_t row) {
  const float *listed = distill->listed + row * distill->k;
  double rest = distill->coarse[row].rest, max = rest, sum = 0;
  for (int64_t i = 0; i < distill->k; i++)
    max = fmax(max, (double)listed[i] / distill->temperature);
  for (int64_t i = 0; i < distill->k; i++)
    sum += exp((double)listed[i] / distill->temperature - max);
  return max + log(sum + exp(rest - max));
}

/* log q of outcome i < k + 1. */
static double log_q(const struct zf_distill *distill, int64_t row, int64_t i, double normaliser) {
  if (i == distill->k) return distill->coarse[row].rest - normaliser;
  return (double)distill->listed[row * distill->k + i] / distill->temperature - normaliser;
}

double zf_distill_row(struct zf_distill *distill, int64_t row) {
  const int32_t *id;
  const float *log_p;
  double normaliser = normaliser_of(distill, row), sum = 0, p_sum = 0;
  zf_teacher_row(distill->teacher, distill->row[row % distill->R], &id, &log_p);
  for (int64_t i = 0; i <= distill->k; i++) {
    double p = exp((double)log_p[i]);
    p_sum += p;
    if (p > 0) sum += p * ((double)log_p[i] - log_q(distill, row, i, normaliser));
  }
  /* The file's p are rounded: p / p_sum is a distribution, and its divergence is never negative. */
  p_sum = fmax(p_sum, DBL_MIN);
  return distill->temperature * distill->temperature * (sum / p_sum - log(p_sum));
}

/* --- options --- */

/* probability[count] = softmax of the scores over the temperature; returns log of the normaliser. */
static double softmax(const struct zf_distill *distill, const double *score, int64_t count) {
  double max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < count; i++) max = fmax(max, score[i] / distill->temperature);
  for (int64_t i = 0; i < count; i++) sum += exp(score[i] / distill->temperature - max);
  return max + log(fmax(sum, 1)); /* the largest term is 1 */
}

/* log p of option i of an example, whose first row is `first`; the rows of a file that was made by hand may
 * have another sum than 1. */
static double option_log_p(const struct zf_distill *distill, int64_t first, int64_t i) {
  const int32_t *id;
  const float *log_p;
  zf_teacher_row(distill->teacher, first + i, &id, &log_p);
  return (double)*log_p;
}

static double option_sum(const struct zf_distill *distill, int64_t first, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += exp(option_log_p(distill, first, i));
  return sum;
}

double zf_distill_options(struct zf_distill *distill, const struct zf_dataset *dataset,
                          int64_t index, const double *score, int64_t count) {
  int64_t first = set_of(distill, dataset)->first[index];
  double normaliser = softmax(distill, score, count), sum = 0,
         p_sum = option_sum(distill, first, count), T = distill->temperature;
  for (int64_t i = 0; i < count; i++) {
    double log_p = option_log_p(distill, first, i);
    sum += exp(log_p) * (log_p - (score[i] / T - normaliser));
  }
  return T * T * (sum / p_sum - log(p_sum));
}

void zf_distill_options_gradient(struct zf_distill *distill, const struct zf_dataset *dataset,
                                 int64_t index, const double *score, int64_t count, double scale,
                                 double *gradient) {
  int64_t first = set_of(distill, dataset)->first[index];
  double normaliser = softmax(distill, score, count), T = distill->temperature,
         p_sum = option_sum(distill, first, count);
  for (int64_t i = 0; i < count; i++)
    gradient[i] +=
        scale * T * (exp(score[i] / T - normaliser) - exp(option_log_p(distill, first, i)) / p_sum);
}

/* --- the gradient by the logits --- */

void zf_distill_scale(struct zf_distill *distill, int64_t row, double scale) {
  distill->scale[row] = scale;
}

/* The rest has a softmax of its own, exp(logit / T - log of its sum): q_v = q_0 times that. */
void zf_distill_softmax(void *ctx, int64_t row, const float *logits, double *coefficient,
                        double *lse) {
  struct zf_distill *distill = ctx;
  const int32_t *id;
  const float *log_p;
  int64_t k = distill->k, V = zf_teacher_head(distill->teacher)->vocab;
  double p_sum = 0, scale = distill->scale[row] * distill->temperature;
  float *gradient = distill->gradient + row * k;
  zf_teacher_row(distill->teacher, distill->row[row], &id, &log_p);
  for (int64_t i = 0; i <= k; i++) p_sum += exp((double)log_p[i]);
  distill->coarse[row] = (struct zf_coarse_row){-INFINITY, 0};
  for (int64_t first = 0; first < V; first += ZF_VC)
    zf_coarse_add(&distill->coarse[row], distill->listed + row * k, id, k,
                  zf_distill_inverse(distill), logits + first, first, zf_min64(V - first, ZF_VC));
  double normaliser = normaliser_of(distill, row);
  for (int64_t i = 0; i < k; i++)
    gradient[i] =
        (float)(scale * (exp(log_q(distill, row, i, normaliser)) - exp((double)log_p[i]) / p_sum));
  int empty = k == V; /* no token is in the rest */
  *coefficient =
      empty ? 0 : scale * (exp(log_q(distill, row, k, normaliser)) - exp((double)log_p[k]) / p_sum);
  *lse = empty ? 0 : distill->coarse[row].rest;
}

void zf_distill_listed(void *ctx, int64_t row, float *gradient, int64_t first, int64_t count) {
  const struct zf_distill *distill = ctx;
  const int32_t *id;
  const float *log_p;
  zf_teacher_row(distill->teacher, distill->row[row], &id, &log_p);
  for (int64_t i = 0; i < distill->k; i++)
    if (id[i] >= first && id[i] < first + count)
      gradient[id[i] - first] = distill->gradient[row * distill->k + i];
}
