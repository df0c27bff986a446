#include "train/ridge.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "kern/kern.h"
#include "train/tridiagonal.h"

enum {
  LANES = ZF_LANE_COUNT,
  MOST_HELD =
      8192,  /* rows that are kept at least, where there are as many: a share of right answers among
                     * them has a standard error of at most 0.6 % */
  BLOCK = 32 /* rows that enter the matrix together */
};

static const double grid[ZF_RIDGE_PENALTIES] = {
    1e-6, 3.1622776601683795e-6, 1e-5, 3.1622776601683795e-5, 1e-4, 3.1622776601683795e-4,
    1e-3, 3.1622776601683795e-3, 1e-2, 3.1622776601683795e-2, 1e-1, 3.1622776601683795e-1,
    1e0,  3.1622776601683795e0,  1e1,  3.1622776601683795e1,  1e2,  3.1622776601683795e2,
    1e3};

/* --- rows --- */

int64_t zf_ridge_held(int64_t rows, int64_t width) {
  return zf_min64(rows, zf_max64(width, MOST_HELD));
}

int64_t zf_ridge_bytes(int64_t rows, int64_t width, int64_t classes) {
  int64_t held = zf_ridge_held(rows, width), size = zf_min64(rows, width),
          shifts = ZF_RIDGE_PENALTIES;
  int64_t doubles = size * size + held * (shifts + classes) + 2 * classes * width +
                    (rows < width ? 0 : BLOCK * width) + size * (2 * shifts + 4 + classes) +
                    2 * LANES * size * zf_kern_nthreads();
  return 8 * doubles + 4 * held * (width + 1);
}

int zf_ridge_new(struct zf_ridge **out, int64_t rows, int64_t width, int64_t classes,
                 int intercept) {
  struct zf_ridge *ridge = *out = zf_calloc(1, sizeof *ridge);
  if (!ridge) return ZF_ENOMEM;
  *ridge = (struct zf_ridge){.width = width,
                             .classes = classes,
                             .intercept = intercept,
                             .most_held = zf_ridge_held(rows, width),
                             .dual = rows < width};
  int64_t size = ridge->dual ? rows : width;
  ridge->row = zf_calloc(ridge->most_held * width, sizeof *ridge->row);
  ridge->label = zf_calloc(ridge->most_held, sizeof *ridge->label);
  ridge->class_sum = zf_calloc(classes * width, sizeof *ridge->class_sum);
  ridge->class_count = zf_calloc(classes, sizeof *ridge->class_count);
  ridge->matrix = zf_calloc(size * size, sizeof *ridge->matrix);
  ridge->pending = zf_calloc(ridge->dual ? 1 : BLOCK * width, sizeof *ridge->pending);
  ridge->weight = zf_calloc(classes * width, sizeof *ridge->weight);
  ridge->offset = zf_calloc(classes, sizeof *ridge->offset);
  ridge->prediction = zf_calloc(ridge->most_held * classes, sizeof *ridge->prediction);
  if (ridge->row && ridge->label && ridge->class_sum && ridge->class_count && ridge->matrix &&
      ridge->pending && ridge->weight && ridge->offset && ridge->prediction)
    return 0;
  zf_ridge_free(ridge);
  *out = NULL;
  return ZF_ENOMEM;
}

void zf_ridge_free(struct zf_ridge *ridge) {
  if (!ridge) return;
  free(ridge->row);
  free(ridge->label);
  free(ridge->class_sum);
  free(ridge->class_count);
  free(ridge->matrix);
  free(ridge->pending);
  free(ridge->weight);
  free(ridge->offset);
  free(ridge->prediction);
  free(ridge);
}

/* Adds the pending rows to the upper triangle of H^T H, one after the other. */
static void flush(struct zf_ridge *ridge) {
  int64_t width = ridge->width, count = ridge->pending_count;
  int team = zf_tridiagonal_team(count * width * width / 2);
#pragma omp parallel for schedule(static, 8) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < width; i++) {
    double *sum = ridge->matrix + i * width;
    for (int64_t k = 0; k < count; k++) {
      const double *row = ridge->pending + k * width;
#pragma omp simd
      for (int64_t j = i; j < width; j++) sum[j] += row[i] * row[j];
    }
  }
  ridge->pending_count = 0;
}

void zf_ridge_add(struct zf_ridge *ridge, const float *row, int32_t label) {
  int64_t width = ridge->width;
  double *sum = ridge->class_sum + label * width;
  assert(label >= 0 && label < ridge->classes);
  for (int64_t i = 0; i < width; i++) sum[i] += (double)row[i];
  ridge->class_count[label]++;
  ridge->count++;
  if (ridge->held < ridge->most_held) {
    memcpy(ridge->row + ridge->held * width, row, (size_t)width * sizeof *row);
    ridge->label[ridge->held++] = label;
  }
  if (ridge->dual) return;
  double *pending = ridge->pending + ridge->pending_count++ * width;
  for (int64_t i = 0; i < width; i++) pending[i] = (double)row[i];
  if (ridge->pending_count == BLOCK) flush(ridge);
}

/* --- the matrix --- */

/* What a fit computes on the way. */
struct fit {
  struct zf_ridge *ridge;
  struct zf_tridiagonal tridiagonal;
  int64_t size;
  double *mean;                 /* [width] of the rows; 0 without intercept */
  double *target;               /* [classes][size] Q^T H^T Y, dual: Q^T Y */
  double *inverse, *multiplier; /* [penalties][size] */
  double *scratch;              /* [threads][2][size][LANES] */
  double *square;               /* [held][penalties] */
  double lifted;                /* see lift */
};

static void close_fit(struct fit *fit) {
  zf_tridiagonal_free(&fit->tridiagonal);
  free(fit->mean);
  free(fit->target);
  free(fit->inverse);
  free(fit->multiplier);
  free(fit->scratch);
  free(fit->square);
}

static int open_fit(struct fit *fit, struct zf_ridge *ridge) {
  int64_t size = ridge->dual ? ridge->count : ridge->width;
  *fit = (struct fit){.ridge = ridge, .size = size};
  fit->mean = zf_calloc(ridge->width, sizeof *fit->mean);
  fit->target = zf_calloc(ridge->classes * size, sizeof *fit->target);
  fit->inverse = zf_calloc(ZF_RIDGE_PENALTIES * size, sizeof *fit->inverse);
  fit->multiplier = zf_calloc(ZF_RIDGE_PENALTIES * size, sizeof *fit->multiplier);
  fit->scratch = zf_calloc(zf_kern_nthreads() * 2 * LANES * size, sizeof *fit->scratch);
  fit->square = zf_calloc(ridge->held * ZF_RIDGE_PENALTIES, sizeof *fit->square);
  int complete =
      fit->mean && fit->target && fit->inverse && fit->multiplier && fit->scratch && fit->square;
  return complete ? 0 : ZF_ENOMEM;
}

static void find_mean(struct fit *fit) {
  const struct zf_ridge *ridge = fit->ridge;
  if (!ridge->intercept) return;
  for (int64_t i = 0; i < ridge->width; i++) {
    double sum = 0;
    for (int64_t c = 0; c < ridge->classes; c++) sum += ridge->class_sum[c * ridge->width + i];
    fit->mean[i] = sum / (double)ridge->count;
  }
}

/* H^T H of centred rows: H^T H - n mean mean^T. */
static void finish_primal(struct fit *fit) {
  struct zf_ridge *ridge = fit->ridge;
  int64_t width = ridge->width;
  flush(ridge);
  for (int64_t i = 0; i < width; i++)
    for (int64_t j = i; j < width; j++) {
      double value =
          ridge->matrix[i * width + j] - (double)ridge->count * fit->mean[i] * fit->mean[j];
      ridge->matrix[i * width + j] = ridge->matrix[j * width + i] = value;
    }
}

/* H H^T of centred rows. */
static void finish_dual(struct fit *fit) {
  struct zf_ridge *ridge = fit->ridge;
  int64_t width = ridge->width, count = ridge->count;
  int team = zf_tridiagonal_team(count * count * width / 2);
#pragma omp parallel for schedule(dynamic, 4) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j <= i; j++) {
      const float *x = ridge->row + i * width, *y = ridge->row + j * width;
      double sum = 0;
      for (int64_t k = 0; k < width; k++)
        sum += ((double)x[k] - fit->mean[k]) * ((double)y[k] - fit->mean[k]);
      ridge->matrix[i * count + j] = ridge->matrix[j * count + i] = sum;
    }
}

/* Centred rows add up to 0, so that H H^T takes the vector of ones to 0, up to rounding, which a small
 * penalty would make large.  Here it takes that to `lifted` times itself; centred targets do not see it. */
static void lift(struct fit *fit, double trace) {
  int64_t elements = fit->size * fit->size;
  if (!fit->ridge->dual || !fit->ridge->intercept) return;
  fit->lifted = trace / (double)fit->size;
  for (int64_t i = 0; i < elements; i++) fit->ridge->matrix[i] += fit->lifted / (double)fit->size;
}

/* The mean of class c's targets, which the intercept takes out. */
static double target_mean(const struct zf_ridge *ridge, int64_t c) {
  if (!ridge->intercept) return 0;
  return (double)ridge->class_count[c] / (double)ridge->count - 1 / (double)ridge->classes;
}

static double target_of(const struct zf_ridge *ridge, int64_t row, int64_t c) {
  return (ridge->label[row] == c ? 1.0 : 0.0) - 1 / (double)ridge->classes;
}

/* Element i of column c of H^T Y; dual: of Y. */
static double moment(const struct fit *fit, int64_t c, int64_t i) {
  const struct zf_ridge *ridge = fit->ridge;
  if (ridge->dual) return target_of(ridge, i, c) - target_mean(ridge, c);
  double sum = 0, share = 1 / (double)ridge->classes;
  if (ridge->intercept) /* the shares of the classes cancel */
    return ridge->class_sum[c * ridge->width + i] - (double)ridge->class_count[c] * fit->mean[i];
  for (int64_t k = 0; k < ridge->classes; k++) sum += ridge->class_sum[k * ridge->width + i];
  return ridge->class_sum[c * ridge->width + i] - share * sum;
}

static void rotate_targets(struct fit *fit) {
  double *x = fit->scratch;
  int64_t classes = fit->ridge->classes;
  for (int64_t first = 0; first < classes; first += LANES) {
    int64_t count = zf_min64(LANES, classes - first);
    memset(x, 0, (size_t)(fit->size * LANES) * sizeof *x);
    for (int64_t i = 0; i < fit->size; i++)
      for (int64_t c = 0; c < count; c++) x[i * LANES + c] = moment(fit, first + c, i);
    zf_tridiagonal_rotate(&fit->tridiagonal, x);
    for (int64_t i = 0; i < fit->size; i++)
      for (int64_t c = 0; c < count; c++)
        fit->target[(first + c) * fit->size + i] = x[i * LANES + c];
  }
}

/* Makes the matrix, its tridiagonal form, and the factors of every penalty. */
static int decompose(struct fit *fit) {
  struct zf_ridge *ridge = fit->ridge;
  double trace = 0;
  find_mean(fit);
  if (ridge->dual)
    finish_dual(fit);
  else
    finish_primal(fit);
  for (int64_t i = 0; i < fit->size; i++) trace += ridge->matrix[i * fit->size + i];
  if (!isfinite(trace)) return zf_error(ZF_EDIVERGED, "a hidden state is not finite");
  double mean = trace > 0 ? trace / (double)ridge->width : 1;
  lift(fit, trace);
  int rc = zf_tridiagonal_make(&fit->tridiagonal, ridge->matrix, fit->size);
  if (rc) return rc;
  for (int i = 0; i < ZF_RIDGE_PENALTIES; i++) {
    ridge->penalties[i] = mean * grid[i];
    zf_tridiagonal_shift(&fit->tridiagonal, ridge->penalties[i], fit->inverse + i * fit->size,
                         fit->multiplier + i * fit->size);
  }
  rotate_targets(fit);
  return 0;
}

/* --- leaving rows out --- */

/* x = the rows first .. first + LANES of centred H, dual: of the unit matrix; rotated. */
static void load_rows(const struct fit *fit, int64_t first, double *x) {
  const struct zf_ridge *ridge = fit->ridge;
  int64_t count = zf_min64(LANES, ridge->held - first);
  memset(x, 0, (size_t)(fit->size * LANES) * sizeof *x);
  for (int64_t lane = 0; lane < count; lane++) {
    const float *row = ridge->row + (first + lane) * ridge->width;
    if (ridge->dual) x[(first + lane) * LANES + lane] = 1;
    if (ridge->dual) continue;
    for (int64_t i = 0; i < fit->size; i++) x[i * LANES + lane] = (double)row[i] - fit->mean[i];
  }
  zf_tridiagonal_rotate(&fit->tridiagonal, x);
}

static void dots(double dot[LANES], const double *x, const double *y, int64_t size) {
  for (int lane = 0; lane < LANES; lane++) dot[lane] = 0;
  for (int64_t i = 0; i < size; i++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) dot[lane] += x[i * LANES + lane] * y[i * LANES + lane];
}

static void dots_with(double dot[LANES], const double *x, const double *vector, int64_t size) {
  for (int lane = 0; lane < LANES; lane++) dot[lane] = 0;
  for (int64_t i = 0; i < size; i++)
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) dot[lane] += x[i * LANES + lane] * vector[i];
}

/* The leave-one-out errors of rows first .. first + LANES at penalty number `at`: sums of squares over
 * the classes, and where `predict` is set the predictions. */
static void leave_out(struct fit *fit, int64_t first, int at, const double *x, double *solved,
                      int predict) {
  struct zf_ridge *ridge = fit->ridge;
  int64_t size = fit->size, count = zf_min64(LANES, ridge->held - first);
  double own[LANES], value[LANES], square[LANES] = {0}, penalty = ridge->penalties[at];
  double centre = ridge->intercept ? 1 / (double)ridge->count : 0;
  if (ridge->dual) centre *= penalty / (penalty + fit->lifted);
  zf_tridiagonal_solve(fit->inverse + at * size, fit->multiplier + at * size, size, solved, x);
  dots(own, x, solved, size);
  for (int64_t c = 0; c < ridge->classes; c++) {
    dots_with(value, solved, fit->target + c * size, size);
    for (int64_t lane = 0; lane < count; lane++) {
      double target = target_of(ridge, first + lane, c);
      double residual =
          ridge->dual ? penalty * value[lane] : target - target_mean(ridge, c) - value[lane];
      double rest = (ridge->dual ? penalty * own[lane] : 1 - own[lane]) - centre;
      double error = rest > 1e-12 ? residual / rest : INFINITY;
      square[lane] += error * error;
      if (predict) ridge->prediction[(first + lane) * ridge->classes + c] = target - error;
    }
  }
  for (int64_t lane = 0; lane < count && !predict; lane++)
    fit->square[(first + lane) * ZF_RIDGE_PENALTIES + at] = square[lane];
}

/* All held rows, at penalty number `only`, or at every one (-1). */
static void leave_all_out(struct fit *fit, int only) {
  int64_t groups = (fit->ridge->held + LANES - 1) / LANES, size = fit->size;
  int team = zf_tridiagonal_team(groups * size * size);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t group = 0; group < groups; group++) {
    double *x = fit->scratch + omp_get_thread_num() * 2 * LANES * size, *solved = x + LANES * size;
    load_rows(fit, group * LANES, x);
    for (int at = only < 0 ? 0 : only; at < (only < 0 ? ZF_RIDGE_PENALTIES : only + 1); at++)
      leave_out(fit, group * LANES, at, x, solved, only >= 0);
  }
}

/* The number of the penalty with the smallest error, the largest of equals. */
static int choose(struct fit *fit) {
  struct zf_ridge *ridge = fit->ridge;
  int best = ZF_RIDGE_PENALTIES - 1;
  for (int at = ZF_RIDGE_PENALTIES - 1; at >= 0; at--) {
    double sum = 0;
    for (int64_t i = 0; i < ridge->held; i++) sum += fit->square[i * ZF_RIDGE_PENALTIES + at];
    ridge->errors[at] = sum / (double)ridge->held;
    if (ridge->errors[at] < ridge->errors[best]) best = at;
  }
  ridge->penalty = ridge->penalties[best];
  ridge->relative = grid[best];
  ridge->error = ridge->errors[best];
  return best;
}

/* --- weights --- */

/* coefficient [size] of class c -> weight [width]: itself, dual: H^T times it. */
static void set_weight(struct fit *fit, int64_t c, const double *coefficient, int64_t stride) {
  struct zf_ridge *ridge = fit->ridge;
  int64_t width = ridge->width;
  double *weight = ridge->weight + c * width;
  for (int64_t i = 0; i < fit->size; i++) {
    if (!ridge->dual) weight[i] = coefficient[i * stride];
    if (!ridge->dual) continue;
    const float *row = ridge->row + i * width;
    for (int64_t j = 0; j < width; j++)
      weight[j] += coefficient[i * stride] * ((double)row[j] - fit->mean[j]);
  }
  double dot = 0;
  for (int64_t j = 0; j < width; j++) dot += fit->mean[j] * weight[j];
  ridge->offset[c] = target_mean(ridge, c) - dot;
}

static void set_weights(struct fit *fit, int at) {
  int64_t classes = fit->ridge->classes, size = fit->size;
  double *x = fit->scratch, *solved = x + LANES * size;
  for (int64_t first = 0; first < classes; first += LANES) {
    int64_t count = zf_min64(LANES, classes - first);
    memset(x, 0, (size_t)(size * LANES) * sizeof *x);
    for (int64_t i = 0; i < size; i++)
      for (int64_t c = 0; c < count; c++) x[i * LANES + c] = fit->target[(first + c) * size + i];
    zf_tridiagonal_solve(fit->inverse + at * size, fit->multiplier + at * size, size, solved, x);
    zf_tridiagonal_rotate_back(&fit->tridiagonal, solved);
    for (int64_t c = 0; c < count; c++) set_weight(fit, first + c, solved + c, LANES);
  }
}

int zf_ridge_fit(struct zf_ridge *ridge) {
  struct fit fit;
  if (ridge->count < 2)
    return zf_error(ZF_EUSAGE, "a ridge regression needs 2 examples or more, found %lld",
                    (long long)ridge->count);
  int rc = open_fit(&fit, ridge);
  if (!rc) rc = decompose(&fit);
  if (!rc) {
    leave_all_out(&fit, -1);
    int best = choose(&fit);
    leave_all_out(&fit, best);
    set_weights(&fit, best);
  }
  close_fit(&fit);
  return rc;
}
