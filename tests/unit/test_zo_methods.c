/* Every row of the optimizer's tables against its equations, written here in double, on a quadratic of two
 * matrices and a vector; then what holds of all methods: replay, memory, streams.
 *
 * A step is compared alone: the reference starts from the f32 weights that the library had before the
 * step, and keeps states of its own.  So a weight may differ by
 *   2 u |w|           its rounding, u = 2^-24, and that of the decay
 *   SLACK u S         S the sum of |lr c z| over what the step adds: coefficients, products, sums and
 *                     states are rounded to f32, each once; the losses are exact but for 2^-53
 * and SLACK is the number of these roundings in the longest chain, which a rule may multiply. */
#include <math.h>

#include "base/cpu.h"
#include "unit/zo_steps.h"

enum { P = 3, NA = 12 * 10, NB = 6 * 14, NC = 9, D = NA + NB + NC, MAXSTEPS = 24, MAXQ = 8 };

/* L(w) = 1/2 sum a_i (w_i - t_i)^2 + 1/6 sum (w_i - t_i)^3 / 4.  A wide batch has the targets 0.9 t_i. */
struct problem {
  float w[D];
  double a[D], t[D];
  struct zf_param param[P];
  struct zf_params params;
};

static void problem_init(struct problem *q) {
  static const int64_t begin[P] = {0, NA, NA + NB};
  memset(q, 0, sizeof *q);
  for (int i = 0; i < D; i++) {
    q->w[i] = (float)((i * 37) % 101) * 0.02f - 1;
    q->a[i] = 0.5 + 0.1 * (i % 11);
    q->t[i] = 0.2 * (i % 5) - 0.4;
  }
  q->param[0] = (struct zf_param){
      .name = "a", .ndim = 2, .shape = {12, 10}, .count = NA, .is_operand = 1, .block = 1};
  q->param[1] = (struct zf_param){.name = "b",
                                  .ndim = 2,
                                  .shape = {6, 14},
                                  .count = NB,
                                  .transposed = 1,
                                  .is_operand = 1,
                                  .block = 2};
  q->param[2] = (struct zf_param){.name = "c", .ndim = 1, .shape = {NC}, .count = NC, .block = 2};
  for (int k = 0; k < P; k++) {
    q->param[k].data = q->w + begin[k];
    q->param[k].id = 3 + (uint32_t)k;
    q->param[k].trained = 1;
    q->param[k].decayed = k < 2;
  }
  q->params = (struct zf_params){.param = q->param, .count = P};
}

static int64_t begin_of(const struct problem *q, int k) {
  return (float *)q->param[k].data - q->w;
}

static double loss_at(const struct problem *q, const double *w, int wide) {
  double sum = 0;
  for (int i = 0; i < D; i++) {
    double d = w[i] - (wide ? 0.9 : 1) * q->t[i];
    sum += 0.5 * q->a[i] * d * d + d * d * d / 24;
  }
  return sum;
}

/* full [shape of the parameter] += factor L R^T of the coordinates. */
static void add_factors(const struct zf_param *param, const double *coordinates, double factor,
                        double *full) {
  const struct zf_param_factors *f = &param->factors;
  for (int64_t o = 0; o < f->out; o++)
    for (int64_t k = 0; k < f->rank; k++) {
      double left = f->left ? 0 : coordinates[o * f->rank + k];
      for (int64_t j = 0; f->left && j < f->rank; j++)
        left += (double)f->left[o * f->rank + j] * coordinates[j * f->rank + k];
      for (int64_t i = 0; i < f->in; i++)
        full[param->transposed ? i * f->out + o : o * f->in + i] +=
            factor * (double)f->scale * left * (double)f->right[k * f->in + i];
    }
}

/* --- the loss function of the library's steps --- */

static void add_noise(const struct problem *q, const struct zf_perturb *perturb, int k, double *w,
                      const struct zf_noise *term, double distance) {
  const struct zf_param *param = &q->param[k];
  struct zf_noise noise = *term;
  float z[D];
  double wide[D];
  int64_t count = zf_param_coordinates(param);
  if (perturb->block && param->block != perturb->block) return;
  noise.param = param->id;
  zf_noise_ref(z, &noise, 0, count);
  if (param->shape_of_noise) zf_shape_noise(z, param->shape_of_noise, param->data, 0, count);
  for (int64_t i = 0; i < count; i++) wide[i] = (double)z[i];
  if (param->factors.rank)
    add_factors(param, wide, distance, w + begin_of(q, k));
  else
    for (int64_t i = 0; i < count; i++) w[begin_of(q, k) + i] += distance * wide[i];
}

static int problem_loss(void *ctx, const struct zf_perturb *perturb, int wide,
                        struct zf_zo_losses *losses) {
  const struct problem *q = ctx;
  const struct zf_streams *streams = &perturb->streams;
  int terms = perturb->term ? streams->terms : 1;
  for (int s = 0; s < streams->count; s++) {
    double w[D];
    for (int i = 0; i < D; i++) w[i] = (double)q->w[i];
    for (int t = 0; t < terms && perturb->noisy; t++) {
      float distance = perturb->term ? streams->mix[s * terms + t] : streams->eps[s];
      const struct zf_noise *noise = perturb->term ? perturb->term + t : &perturb->direction;
      for (int k = 0; k < P && distance != 0; k++)
        add_noise(q, perturb, k, w, noise, (double)distance);
    }
    losses->batch[s] = loss_at(q, w, wide);
  }
  return 0;
}

/* --- the reference --- */

struct reference {
  struct zf_zo zo;
  struct problem *q;
  float first[D]; /* weights at the start of the run */
  uint32_t step;
  double lr, decay;
  double w[D];                             /* before the step */
  double z[MAXQ][D], full[MAXQ][D];        /* coordinates of the directions; what they are in W */
  double g[MAXQ], e[D], size[D];           /* size: sum of |c z| in coordinates */
  double m[D], v[D], u[D], h[D];           /* states, in coordinates */
  double past[MAXSTEPS + 1][D];            /* e of each step */
  double part[MAXSTEPS + 1][MAXSTEPS + 1]; /* cone: [step][noise] coefficients in e */
  double own[MAXSTEPS + 1][MAXQ];          /* coefficients */
  double anchor[D], anchor_g[MAXQ], anchor_z[MAXQ][D];
};

static int64_t coordinates(const struct reference *r, int k) {
  return zf_param_coordinates(&r->q->param[k]);
}

/* Adds factor times coordinates to the weights. */
static void add_to_weights(const struct reference *r, double *w, const double *x, double factor) {
  for (int k = 0; k < P; k++) {
    int64_t at = begin_of(r->q, k), count = coordinates(r, k);
    if (r->q->param[k].factors.rank)
      add_factors(&r->q->param[k], x + at, factor, w + at);
    else
      for (int64_t i = at; i < at + count; i++) w[i] += factor * x[i];
  }
}

static void noise_of(const struct reference *r, uint32_t step, int probe, double *z) {
  float part[D];
  memset(z, 0, sizeof(double) * D);
  for (int k = 0; k < P; k++) {
    struct zf_noise noise = {.seed = r->zo.seed,
                             .step = step,
                             .probe = (uint16_t)probe,
                             .use = ZF_USE_DIRECTION,
                             .param = r->q->param[k].id,
                             .kind = r->zo.direction};
    zf_noise_ref(part, &noise, 0, coordinates(r, k));
    for (int64_t i = 0; i < coordinates(r, k); i++) z[begin_of(r->q, k) + i] = (double)part[i];
  }
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* z = 0 outside of the elements that move. */
static void mask(const struct reference *r, double *z) {
  for (int k = 0; k < P; k++) {
    const struct zf_param *param = &r->q->param[k];
    int64_t at = begin_of(r->q, k);
    int block = 1 + (int)((r->step - 1) % 2);
    uint32_t word[D];
    float size[D];
    struct zf_noise drawn = {.seed = r->zo.seed, .use = ZF_USE_SAMPLE, .param = param->id};
    zf_noise_words(word, &drawn, 0, param->count);
    for (int64_t i = 0; i < param->count; i++) size[i] = fabsf(r->first[at + i]);
    qsort(size, (size_t)param->count, sizeof *size, by_size);
    int64_t kept = (int64_t)ceil(r->zo.keep * (double)param->count);
    for (int64_t i = 0; i < param->count; i++) {
      int moves = 1;
      if (r->zo.form == ZF_FORM_BLOCKS) moves = param->block == block;
      if (r->zo.form == ZF_FORM_SMALL && k < 2)
        moves = fabs(r->w[at + i]) <= (double)size[kept - 1];
      if (r->zo.form == ZF_FORM_RANDOM && k < 2)
        moves = (double)word[i] < floor(r->zo.keep * 0x1p32);
      if (!moves) z[at + i] = 0;
    }
  }
}

static double dot_of(const double *x, const double *y) {
  double sum = 0;
  for (int i = 0; i < D; i++) sum += x[i] * y[i];
  return sum;
}

/* cone m/|m| sqrt(d) + sqrt(1 - cone^2) z with |m| / sqrt(d) as of independent noises of unit variance. */
static void make_cone(struct reference *r, double *z) {
  double weight[MAXSTEPS + 1] = {0}, square = 0;
  for (uint32_t s = 1; s < r->step; s++)
    for (uint32_t noise = 1; noise <= s; noise++)
      weight[noise] +=
          (1 - r->zo.beta1) * pow(r->zo.beta1, (double)(r->step - 1 - s)) * r->part[s][noise];
  for (uint32_t s = 1; s < r->step; s++) square += weight[s] * weight[s];
  for (int i = 0; i < D; i++) z[i] *= square > 0 ? sqrt(1 - r->zo.cone * r->zo.cone) : 1;
  memset(r->part[r->step], 0, sizeof r->part[0]);
  r->part[r->step][r->step] = square > 0 ? sqrt(1 - r->zo.cone * r->zo.cone) : 1;
  for (uint32_t s = 1; s < r->step && square > 0; s++) {
    double old[D], share = r->zo.cone * weight[s] / sqrt(square);
    noise_of(r, s, 0, old);
    for (int i = 0; i < D; i++) z[i] += share * old[i];
    r->part[r->step][s] = share;
  }
}

static void make_directions(struct reference *r) {
  for (int p = 0; p < r->zo.probes; p++) {
    double *z = r->z[p];
    noise_of(r, r->step, p, z);
    mask(r, z);
    if (r->zo.form == ZF_FORM_SPHERE) {
      double scale = sqrt(D / dot_of(z, z));
      for (int i = 0; i < D; i++) z[i] *= scale;
    }
    if (r->zo.form == ZF_FORM_CONE) make_cone(r, z);
    if (r->zo.form == ZF_FORM_SCALED)
      for (int i = 0; i < D; i++) z[i] /= sqrt(r->h[i]);
    memset(r->full[p], 0, sizeof r->full[p]);
    add_to_weights(r, r->full[p], z, 1);
  }
}

/* L(w + distance z_p), about the weights or those of the anchor. */
static double at_point(const struct reference *r, const double *about, int p, double distance,
                       int wide) {
  double w[D];
  for (int i = 0; i < D; i++) w[i] = about[i] + distance * r->full[p][i];
  return loss_at(r->q, w, wide);
}

static double central(const struct reference *r, const double *about, int p, int wide) {
  double eps = r->zo.eps;
  return (at_point(r, about, p, eps, wide) - at_point(r, about, p, -eps, wide)) / (2 * eps);
}

static double spread_of(const double *loss, int count) {
  double mean = 0, square = 0;
  for (int i = 0; i < count; i++) mean += loss[i] / count;
  for (int i = 0; i < count; i++) square += (loss[i] - mean) * (loss[i] - mean) / count;
  return sqrt(square);
}

static void differ_one_sided(struct reference *r) {
  double loss[MAXQ];
  for (int p = 0; p < r->zo.probes; p++) loss[p] = at_point(r, r->w, p, r->zo.eps, 0);
  double width =
      r->zo.difference == ZF_DIFFERENCE_BATCHED ? spread_of(loss, r->zo.probes) : r->zo.eps;
  for (int p = 0; p < r->zo.probes; p++) r->g[p] = (loss[p] - loss_at(r->q, r->w, 0)) / width;
}

static double curvature_of(const struct reference *r, int p) {
  double eps = r->zo.eps;
  return fabs(at_point(r, r->w, p, eps, 0) - 2 * loss_at(r->q, r->w, 0) +
              at_point(r, r->w, p, -eps, 0)) /
         (eps * eps);
}

static void differ_curvature(struct reference *r) {
  for (int p = 0; p < r->zo.probes; p++) {
    double scale = r->zo.form == ZF_FORM_SCALED ? 1 : pow(fmax(1, curvature_of(r, p)), r->zo.alpha);
    r->g[p] = central(r, r->w, p, 0) / scale;
  }
}

/* Independent observations of each coordinate, y = g + noise, then one of d . g with d the unit vector of
 * the means: a scalar Kalman gain in closed form, because the covariance is a multiple of I. */
static void differ_bayes(struct reference *r) {
  int n = r->zo.probes;
  double y[MAXQ], mean[MAXQ], w[D], square = 0, norm = 0, inner = 0;
  for (int p = 0; p < n; p++) {
    y[p] = (at_point(r, r->w, p, r->zo.eps, 0) - loss_at(r->q, r->w, 0)) / r->zo.eps;
    square += y[p] * y[p] / n;
  }
  double noise = 0.1 * square, left = square * noise / (square + noise);
  memcpy(w, r->w, sizeof w);
  for (int p = 0; p < n; p++) {
    mean[p] = square / (square + noise) * y[p];
    norm += mean[p] * mean[p];
  }
  norm = sqrt(norm);
  for (int p = 0; p < n; p++)
    for (int i = 0; i < D; i++) w[i] += r->zo.eps * mean[p] / norm * r->full[p][i];
  double seen = (loss_at(r->q, w, 0) - loss_at(r->q, r->w, 0)) / r->zo.eps;
  for (int p = 0; p < n; p++) inner += mean[p] / norm * mean[p];
  for (int p = 0; p < n; p++) /* times n: e is a mean over the probes */
    r->g[p] = n * (mean[p] + left / (left + noise) * mean[p] / norm * (seen - inner));
}

static void differ_anchor(struct reference *r) {
  int at_anchor = (r->step - 1) % r->zo.refresh == 0;
  if (at_anchor) memcpy(r->anchor, r->w, sizeof r->w);
  for (int p = 0; p < r->zo.probes; p++) {
    r->g[p] = central(r, r->w, p, at_anchor);
    if (!at_anchor) r->g[p] -= central(r, r->anchor, p, 0);
    if (!at_anchor) continue;
    r->anchor_g[p] = r->g[p];
    memcpy(r->anchor_z[p], r->z[p], sizeof r->z[p]);
  }
}

static void differ_population(struct reference *r) {
  double loss[2 * MAXQ];
  for (int i = 0; i < 2 * r->zo.probes; i++)
    loss[i] = at_point(r, r->w, i / 2, i % 2 ? -r->zo.eps : r->zo.eps, 0);
  for (int p = 0; p < r->zo.probes; p++)
    r->g[p] = (loss[2 * p] - loss[2 * p + 1]) / 2 / spread_of(loss, 2 * r->zo.probes);
}

static void differ_conservative(struct reference *r) {
  double ahead[D], behind[D], sign = 0;
  memcpy(ahead, r->w, sizeof ahead);
  memcpy(behind, r->w, sizeof behind);
  for (int p = 0; p < r->zo.probes; p++) {
    r->g[p] = central(r, r->w, p, 0);
    for (int i = 0; i < D; i++) {
      ahead[i] -= r->lr * r->g[p] * r->full[p][i] / r->zo.probes;
      behind[i] += r->lr * r->g[p] * r->full[p][i] / r->zo.probes;
    }
  }
  double here = loss_at(r->q, r->w, 0), best = fmin(here, loss_at(r->q, ahead, 0));
  if (best < here) sign = 1;
  if (loss_at(r->q, behind, 0) < best) sign = -1;
  for (int p = 0; p < r->zo.probes; p++) r->g[p] *= sign;
}

/* Coefficients beyond `clip` times the median of those of at least ten earlier steps are cut. */
static void clip_coefficients(struct reference *r) {
  double all[MAXSTEPS * MAXQ];
  int count = 0;
  for (uint32_t s = 1; s < r->step; s++)
    for (int p = 0; p < r->zo.probes; p++) all[count++] = fabs(r->own[s][p]);
  for (int i = 0; i < count; i++)
    for (int j = i; j > 0 && all[j] < all[j - 1]; j--) {
      double other = all[j];
      all[j] = all[j - 1];
      all[j - 1] = other;
    }
  for (int p = 0; p < r->zo.probes; p++) {
    if (r->zo.clip > 0 && r->step > 10)
      r->g[p] = copysign(fmin(fabs(r->g[p]), r->zo.clip * all[count / 2]), r->g[p]);
    r->own[r->step][p] = r->g[p];
  }
}

static void make_estimate(struct reference *r) {
  switch (r->zo.difference) {
    case ZF_DIFFERENCE_CENTRAL:
      for (int p = 0; p < r->zo.probes; p++) r->g[p] = central(r, r->w, p, 0);
      break;
    case ZF_DIFFERENCE_ONE_SIDED:
    case ZF_DIFFERENCE_BATCHED:
      differ_one_sided(r);
      break;
    case ZF_DIFFERENCE_CURVATURE:
      differ_curvature(r);
      break;
    case ZF_DIFFERENCE_BAYES:
      differ_bayes(r);
      break;
    case ZF_DIFFERENCE_ANCHOR:
      differ_anchor(r);
      break;
    case ZF_DIFFERENCE_POPULATION:
      differ_population(r);
      break;
    default:
      differ_conservative(r);
      break;
  }
  clip_coefficients(r);
  int old = r->zo.difference == ZF_DIFFERENCE_ANCHOR && (r->step - 1) % r->zo.refresh;
  for (int i = 0; i < D; i++) {
    r->e[i] = r->size[i] = 0;
    for (int p = 0; p < r->zo.probes; p++) {
      double own = r->g[p] * r->z[p][i] / r->zo.probes,
             other = old ? r->anchor_g[p] * r->anchor_z[p][i] / r->zo.probes : 0;
      r->e[i] += own + other;
      r->size[i] += fabs(own) + fabs(other);
    }
    r->past[r->step][i] = r->e[i];
  }
  for (uint32_t s = 1; s <= r->step; s++) r->part[r->step][s] *= r->g[0];
}

/* Moments from the estimates of the last `window` steps. */
static void window_moments(struct reference *r) {
  double first = 0, second = 0;
  memset(r->m, 0, sizeof r->m);
  memset(r->v, 0, sizeof r->v);
  memset(r->size, 0, sizeof r->size);
  for (int j = 0; j < r->zo.window && (uint32_t)j < r->step; j++) {
    double f = pow(r->zo.beta1, j), s = pow(r->zo.beta2, j);
    for (int i = 0; i < D; i++) {
      double e = r->past[r->step - (uint32_t)j][i];
      r->m[i] += f * e;
      r->v[i] += s * e * e;
      r->size[i] += f * fabs(e);
    }
    first += f;
    second += s;
  }
  for (int i = 0; i < D; i++) {
    r->m[i] /= first;
    r->v[i] /= second;
    r->size[i] /= first;
  }
}

/* X of the rows x columns of coordinates: five iterations X <- 3.4445 X - 4.775 S X + 2.0315 S S X with
 * S = X X^T, begun with X / |X|. */
static void muon(double *x, int64_t rows, int64_t columns) {
  double norm = 0, next[D], gram[D], product[D];
  int64_t n = rows;
  for (int64_t i = 0; i < rows * columns; i++) norm += x[i] * x[i];
  for (int64_t i = 0; i < rows * columns; i++) x[i] /= sqrt(norm);
  ck_assert(n * n <= D);
  for (int turn = 0; turn < 5; turn++) {
    for (int64_t i = 0; i < n * n; i++) {
      gram[i] = 0;
      for (int64_t k = 0; k < columns; k++)
        gram[i] += x[i / n * columns + k] * x[i % n * columns + k];
    }
    memcpy(next, x, sizeof(double) * (size_t)(rows * columns));
    for (int64_t i = 0; i < rows * columns; i++) x[i] *= 3.4445;
    for (int power = 0; power < 2; power++) {
      for (int64_t i = 0; i < rows * columns; i++) {
        product[i] = 0;
        for (int64_t k = 0; k < n; k++)
          product[i] += gram[i / columns * n + k] * next[k * columns + i % columns];
      }
      memcpy(next, product, sizeof(double) * (size_t)(rows * columns));
      for (int64_t i = 0; i < rows * columns; i++) x[i] += (power ? 2.0315 : -4.775) * next[i];
    }
  }
  for (int64_t i = 0; i < rows * columns; i++)
    x[i] *= rows > columns ? sqrt((double)rows / (double)columns) : 1;
}

/* Turns the momentum of parameter k into its change over -lr. */
static void change_whole(const struct reference *r, int k, double *x) {
  const struct zf_param *param = &r->q->param[k];
  int64_t count = coordinates(r, k);
  int64_t rank = param->factors.rank, columns = rank ? rank : param->ndim > 1 ? param->shape[1] : 1;
  if (r->zo.rule == ZF_RULE_MUON) {
    if (columns > 1) muon(x, count / columns, columns);
    return;
  }
  double square = 0, length = 0, full[D] = {0};
  for (int64_t i = 0; i < param->count; i++) {
    double w = r->w[begin_of(r->q, k) + i];
    square += w * w;
  }
  for (int64_t i = 0; i < count; i++) length += x[i] * x[i];
  if (rank && !param->factors.left) length *= (double)param->factors.in; /* V of unit variance */
  if (rank && param->factors.left) {
    add_factors(param, x, 1, full);
    length = dot_of(full, full);
  }
  double most = r->zo.trust * fmax(sqrt(square), 1e-3 * sqrt((double)param->count));
  length = r->lr * sqrt(length);
  for (int64_t i = 0; i < count; i++) x[i] *= length > most ? most / length : 1;
}

/* change: what moves the weights, in coordinates; r->size: the sizes that make it up. */
static void make_change(struct reference *r, double *change) {
  const struct zf_zo *zo = &r->zo;
  double b1 = zo->beta1, b2 = zo->beta2, t = r->step;
  int adam = zo->rule == ZF_RULE_ADAM, adamm = zo->rule == ZF_RULE_ADAMM;
  double first = adam && !zo->window ? 1 - pow(b1, t) : 1,
         second = adam && !zo->window ? 1 - pow(b2, t) : 1;
  if (zo->window) window_moments(r);
  for (int i = 0; i < D; i++) {
    if (!zo->window) {
      r->m[i] = b1 * r->m[i] + (1 - b1) * r->e[i];
      r->v[i] = b2 * r->v[i] + (1 - b2) * r->e[i] * r->e[i];
      r->u[i] = fmax(r->u[i], r->v[i]);
    }
    change[i] = r->e[i];
    if (zo->rule == ZF_RULE_SIGN) change[i] = (r->e[i] > 0) - (r->e[i] < 0);
    if (zo->rule > ZF_RULE_SIGN || zo->rule == ZF_RULE_MOMENTUM || adam) change[i] = r->m[i];
    if (!adam && !adamm) continue;
    double root = sqrt((adam ? r->v[i] : r->u[i]) / second) + zo->adam_eps;
    change[i] = r->m[i] / first / root;
    r->size[i] = fmax(r->size[i], fabs(r->m[i])) / first / root;
  }
  for (int k = 0; k < P; k++)
    if (zo->rule == ZF_RULE_MUON || zo->rule == ZF_RULE_TRUST)
      change_whole(r, k, change + begin_of(r->q, k));
  for (int i = 0; i < D; i++)
    r->size[i] = fmax(zo->rule == ZF_RULE_MUON ? 0 : r->size[i], fabs(change[i]));
}

/* A momentum in the coordinates of V moves into those of the next one: N (V_old^T V_new) / in. */
static void change_bases(struct reference *r, const float *old) {
  for (int k = 0; k < 2; k++) {
    const struct zf_param_factors *f = &r->q->param[k].factors;
    double *m = r->m + begin_of(r->q, k), moved[D] = {0};
    if (!f->rank || (r->step - 1) % r->zo.refresh || r->step == 1) continue;
    if (f->left) {
      memset(m, 0, sizeof *m * (size_t)coordinates(r, k));
      continue;
    }
    for (int64_t o = 0; o < f->rows; o++)
      for (int64_t i = 0; i < f->rank; i++)
        for (int64_t j = 0; j < f->rank; j++)
          for (int64_t x = 0; x < f->in; x++)
            moved[o * f->rank + j] += m[o * f->rank + i] * (double)old[k * D + i * f->in + x] *
                                      (double)f->right[j * f->in + x] / (double)f->in;
    memcpy(m, moved, sizeof *m * (size_t)coordinates(r, k));
  }
}

static void keep_bases(const struct problem *q, float *old) {
  for (int k = 0; k < 2; k++) {
    const struct zf_param_factors *f = &q->param[k].factors;
    if (f->rank) memcpy(old + k * D, f->right, sizeof *old * (size_t)(f->rank * f->in));
  }
}

/* h <- (1 - alpha) h + alpha c / (2 q) h z'^2 of each probe, z' the noise before it is scaled: c z z^T is
 * the curvature along z, seen by its diagonal in units of h (HiZOO, eq. 8). */
static void bend(struct reference *r) {
  double sum[D] = {0};
  for (int p = 0; p < r->zo.probes; p++) {
    double z[D], c = curvature_of(r, p);
    noise_of(r, r->step, p, z);
    for (int i = 0; i < D; i++)
      sum[i] += r->zo.alpha * c / 2 / r->zo.probes * r->h[i] * z[i] * z[i];
  }
  for (int i = 0; i < D; i++) r->h[i] = (1 - r->zo.alpha) * r->h[i] + sum[i];
}

/* --- the methods --- */

struct method {
  const char *name;
  struct zf_zo zo;
  double slack; /* roundings in the longest chain */
  int steps;
  double decay;
};

#define ZO .seed = 77, .eps = 0x1p-6, .beta1 = 0.8, .beta2 = 0.9, .adam_eps = 1e-3
#define FORM(name_, ...)                                                                           \
  { #name_, {ZO, .probes = 3, .form = ZF_FORM_##name_, __VA_ARGS__ }, 40, 5, 0.1 }
#define DIFFERENCE(name_, ...)                                                                     \
  { #name_, {ZO, .probes = 4, .difference = ZF_DIFFERENCE_##name_, __VA_ARGS__ }, 40, 5, 0.1 }
#define RULE(name_, slack_, ...)                                                                   \
  {                                                                                                \
#name_ " " #__VA_ARGS__, {ZO, .probes = 2, .rule = ZF_RULE_##name_, __VA_ARGS__ }, slack_, 7,  \
                              0.1                                                                  \
  }
#define LOW .form = ZF_FORM_LOW_RANK, .rank = 2, .refresh = 3
#define LOW_KEPT .form = ZF_FORM_LOW_RANK, .rank = 2, .refresh = 100
#define SUB .form = ZF_FORM_SUBSPACE, .rank = 3, .refresh = 3

/* An anchor is rebuilt from the weights within their roundings, which a difference of gradients divides by
 * its own small size.  Muon multiplies the errors of small singular values by 3.4445 in each of five iterations: 485; four
 * roundings go in. */
static const struct method methods[] = {
    FORM(DENSE),
    FORM(DENSE, .direction = ZF_RADEMACHER),
    FORM(SPHERE),
    FORM(SMALL, .keep = 0.3),
    FORM(RANDOM, .keep = 0.3),
    FORM(LOW_RANK, .rank = 2, .refresh = 3),
    FORM(SUBSPACE, .rank = 3, .refresh = 3),
    FORM(BLOCKS),
    {"CONE", {ZO, .probes = 1, .form = ZF_FORM_CONE, .cone = 0.6}, 100, 7, 0.1},
    FORM(SCALED, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = 0.01),
    DIFFERENCE(CENTRAL),
    DIFFERENCE(ONE_SIDED),
    DIFFERENCE(BATCHED),
    DIFFERENCE(BATCHED, .direction = ZF_RADEMACHER),
    DIFFERENCE(CURVATURE, .alpha = 0.5),
    DIFFERENCE(CURVATURE, .alpha = 1.375),
    DIFFERENCE(BAYES),
    DIFFERENCE(POPULATION),
    DIFFERENCE(CONSERVATIVE),
    {"ANCHOR", {ZO, .probes = 2, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 3}, 4000, 7, 0},
    DIFFERENCE(POPULATION, LOW),
    DIFFERENCE(BATCHED, SUB),
    RULE(SGD, 40, .window = 0),
    RULE(MOMENTUM, 60, .window = 0),
    RULE(MOMENTUM, 60, .window = 3),
    RULE(MOMENTUM, 60, LOW),
    RULE(MOMENTUM, 60, SUB),
    RULE(ADAM, 200, .window = 0),
    RULE(ADAM, 200, .window = 3),
    RULE(ADAM, 200, LOW_KEPT),
    RULE(ADAM, 200, .form = ZF_FORM_SMALL, .keep = 0.5),
    RULE(ADAMM, 200, .window = 0),
    RULE(SIGN, 40, .window = 0),
    RULE(MUON, 485 * 4, .window = 0),
    RULE(MUON, 485 * 4, LOW),
    RULE(TRUST, 100, .trust = 0.002),
    RULE(TRUST, 100, .trust = 0.002, LOW),
    RULE(TRUST, 100, .trust = 0.002, SUB),
    {"CLIP", {ZO, .probes = 2, .clip = 0.7}, 40, 16, 0.1},
};
enum { METHODS = sizeof methods / sizeof *methods };

static double rate_of(const struct method *m, uint32_t step) {
  return (m->zo.rule == ZF_RULE_SGD ? 2e-4 : 1e-2) / (1 + 0.25 * step);
}

/* Elements whose estimate is 0 but for its rounding have no sign that both know. */
static int is_unsure(const struct reference *r, int i) {
  return r->zo.rule == ZF_RULE_SIGN && fabs(r->e[i]) < 100 * 0x1p-24 * r->size[i];
}

static void check_step(const struct reference *r, const struct method *m, const double *change,
                       int64_t *sharp) {
  double want[D], size[D] = {0}, whole = 0;
  memcpy(want, r->w, sizeof want);
  for (int k = 0; k < P; k++)
    for (int64_t i = 0; i < r->q->param[k].count && r->q->param[k].decayed; i++)
      want[begin_of(r->q, k) + i] *= 1 - r->lr * r->decay;
  add_to_weights(r, want, change, -r->lr);
  for (int k = 0; k < P; k++) { /* sizes of products of factors: the largest that there may be */
    const struct zf_param_factors *f = &r->q->param[k].factors;
    int64_t at = begin_of(r->q, k), count = coordinates(r, k);
    whole = 0;
    for (int64_t i = at; i < at + count; i++) whole = fmax(whole, r->size[i]);
    for (int64_t i = 0; i < r->q->param[k].count; i++)
      size[at + i] = f->rank ? whole * (double)(f->rank * f->rank) * 4 * (double)f->scale
                     : m->zo.rule == ZF_RULE_MUON ? whole
                                                  : r->size[at + i];
  }
  for (int i = 0; i < D; i++) {
    double got = (double)r->q->w[i], moved = fabs(want[i] - r->w[i]);
    double bound = 0x1p-24 * (2 * fabs(r->w[i]) + 2 * fabs(want[i]) + m->slack * r->lr * size[i]);
    if (is_unsure(r, i)) continue;
    ck_assert_msg(fabs(got - want[i]) <= bound,
                  "%s: step %u, element %d: %.9g, not %.9g (moved by %.2g, bound %.2g)", m->name,
                  r->step, i, got, want[i], moved, bound);
    *sharp += moved > 20 * bound;
  }
}

START_TEST(test_reference) {
  const struct method *m = &methods[_i];
  static struct problem q;
  static struct reference r;
  struct zf_zo_estimate estimate = new_estimate(&m->zo);
  float old[2 * D];
  int64_t sharp = 0;
  problem_init(&q);
  memset(&r, 0, sizeof r);
  r.zo = m->zo;
  r.q = &q;
  r.decay = m->decay;
  memcpy(r.first, q.w, sizeof q.w);
  for (int i = 0; i < D; i++) r.h[i] = 1;
  ck_ok(zf_zo_open(&q.params, &m->zo));
  for (r.step = 1; r.step <= (uint32_t)m->steps; r.step++) {
    double change[D];
    r.lr = rate_of(m, r.step);
    keep_bases(&q, old);
    for (int i = 0; i < D; i++) r.w[i] = (double)q.w[i];
    ck_ok(zf_zo_estimate(&q.params, r.step, r.lr, problem_loss, &q, &estimate));
    make_directions(&r); /* with the bases of the step */
    change_bases(&r, old);
    make_estimate(&r);
    update_step(&q.params, &m->zo, r.step, &estimate, r.lr, m->decay);
    make_change(&r, change);
    if (m->zo.form == ZF_FORM_SCALED) bend(&r);
    check_step(&r, m, change, &sharp);
  }
  if (getenv("CK_VERBOSE"))
    printf("%s: %lld of %d steps of a weight are far above their bound\n", m->name,
           (long long)sharp, m->steps * D);
  ck_assert_msg(sharp * 4 > m->steps * D / (m->zo.keep > 0 || m->zo.form == ZF_FORM_BLOCKS ? 4 : 1),
                "%s: only %lld of %d say much", m->name, (long long)sharp, m->steps * D);
  zf_zo_close(&q.params);
  zf_params_free_state(&q.params);
  free_estimate(&estimate);
}
END_TEST

/* --- what holds of all methods --- */

/* A run of the library, its records and its end. */
struct run {
  struct problem q;
  struct zf_zo_estimate estimate[MAXSTEPS];
  struct zf_zo_step step[MAXSTEPS];
};

static void copy_state(struct problem *to, const struct problem *from) {
  memcpy(to->w, from->w, sizeof to->w);
  for (int k = 0; k < P; k++)
    for (int j = 0; j < ZF_PARAM_STATES; j++) {
      const struct zf_param *param = &from->param[k];
      ck_assert_int_eq(param->state[j] != NULL, to->param[k].state[j] != NULL);
      if (param->state[j])
        memcpy(to->param[k].state[j], param->state[j],
               sizeof(float) * (size_t)zf_param_coordinates(param));
    }
}

static void check_same(const struct problem *a, const struct problem *b, const char *name) {
  ck_assert_msg(!memcmp(a->w, b->w, sizeof a->w), "%s: weights differ", name);
  for (int k = 0; k < P; k++)
    for (int j = 0; j < ZF_PARAM_STATES; j++)
      if (a->param[k].state[j])
        ck_assert_msg(!memcmp(a->param[k].state[j], b->param[k].state[j],
                              sizeof(float) * (size_t)zf_param_coordinates(&a->param[k])),
                      "%s: state %d differs", name, j);
}

static void take_steps(struct run *r, const struct method *m, const struct zf_zo *zo, int from,
                       int to) {
  for (int s = from; s < to; s++) {
    double lr = rate_of(m, (uint32_t)s + 1);
    r->step[s] = (struct zf_zo_step){.step = (uint32_t)s + 1,
                                     .seed = zo->seed,
                                     .lr = lr,
                                     .estimate = r->estimate[s],
                                     .keep = 0.75,
                                     .add = 0.25};
    ck_ok(zf_zo_estimate(&r->q.params, (uint32_t)s + 1, lr, problem_loss, &r->q, &r->estimate[s]));
    zf_zo_update(&r->q.params, &r->step[s], m->decay);
  }
}

static struct run *open_run(const struct zf_zo *zo) {
  struct run *r = calloc(1, sizeof *r);
  ck_assert_ptr_nonnull(r);
  problem_init(&r->q);
  for (int s = 0; s < MAXSTEPS; s++) r->estimate[s] = new_estimate(zo);
  ck_ok(zf_zo_open(&r->q.params, zo));
  return r;
}

static void close_run(struct run *r) {
  for (int s = 0; s < MAXSTEPS; s++) free_estimate(&r->estimate[s]);
  zf_zo_close(&r->q.params);
  zf_params_free_state(&r->q.params);
  free(r);
}

/* Replayed at once, or in two parts, by plain C and by the processor's kernels, on some threads. */
START_TEST(test_replay) {
  const struct method *m = &methods[_i];
  struct run *run = open_run(&m->zo);
  take_steps(run, m, &m->zo, 0, m->steps);
  for (int cut = 0; cut < m->steps; cut += 2) {
    struct run *again = open_run(&m->zo);
    zf_kern_threads(1 + cut % 3);
    zf_kern_init(cut % 4 ? 0 : zf_cpu_flags());
    ck_ok(zf_zo_replay(&again->q.params, run->step, cut, m->decay, NULL));
    ck_ok(zf_zo_replay(&again->q.params, run->step + cut, m->steps - cut, m->decay, NULL));
    check_same(&again->q, &run->q, m->name);
    close_run(again);
  }
  close_run(run);
}
END_TEST

/* A mean over the steps is that of the weights after each, rounded once; or it is refused, and nothing
 * has changed. */
START_TEST(test_mean) {
  const struct method *m = &methods[_i];
  struct run *run = open_run(&m->zo), *again = open_run(&m->zo), *start = open_run(&m->zo);
  double mean[D], begin = 1;
  for (int i = 0; i < D; i++) mean[i] = (double)run->q.w[i];
  for (int s = 0; s < m->steps; s++) {
    take_steps(run, m, &m->zo, s, s + 1);
    for (int i = 0; i < D; i++) mean[i] = 0.75 * mean[i] + 0.25 * (double)run->q.w[i];
  }
  int whole = m->zo.rank || m->zo.rule == ZF_RULE_MUON || m->zo.rule == ZF_RULE_TRUST;
  if (whole) {
    ck_fails(zf_zo_replay(&again->q.params, run->step, m->steps, m->decay, &begin), ZF_EUSAGE,
             "no mean over its steps");
    check_same(&again->q, &start->q, m->name);
  } else {
    ck_ok(zf_zo_replay(&again->q.params, run->step, m->steps, m->decay, &begin));
    for (int i = 0; i < D; i++)
      ck_assert(fabs((double)again->q.w[i] - mean[i]) <= fabs(mean[i]) * 0x1.01p-24 + 0x1p-149);
  }
  close_run(run);
  close_run(again);
  close_run(start);
}
END_TEST

/* An optimizer that has the weights and states of a step, and was told of the steps before, goes the same
 * way; and it needs no more steps than zf_zo_memory says. */
START_TEST(test_remember) {
  const struct method *m = &methods[_i];
  struct run *whole = open_run(&m->zo);
  int64_t memory = zf_zo_memory(&m->zo);
  take_steps(whole, m, &m->zo, 0, m->steps);
  for (int cut = 1; cut < m->steps; cut++) {
    struct run *run = open_run(&m->zo), *resumed = open_run(&m->zo);
    take_steps(run, m, &m->zo, 0, cut);
    copy_state(&resumed->q, &run->q);
    for (int64_t s = cut > memory ? cut - memory : 0; s < cut; s++)
      zf_zo_remember(&resumed->q.params, &run->step[s]);
    take_steps(resumed, m, &m->zo, cut, m->steps);
    check_same(&resumed->q, &whole->q, m->name);
    close_run(run);
    close_run(resumed);
  }
  close_run(whole);
}
END_TEST

/* A branch goes on with another seed in the middle of a period: its log rebuilds it, and it may be resumed
 * behind any of its steps. */
START_TEST(test_branch) {
  const struct method *m = &methods[_i];
  struct zf_zo other = m->zo;
  int64_t memory = zf_zo_memory(&m->zo);
  other.seed = 99;
  struct run *trunk = open_run(&m->zo), *branch = open_run(&other), *again = open_run(&other);
  take_steps(trunk, m, &m->zo, 0, 2);
  ck_ok(zf_zo_replay(&branch->q.params, trunk->step, 2, m->decay, NULL));
  check_same(&branch->q, &trunk->q, m->name);
  take_steps(branch, m, &other, 2, m->steps);
  branch->step[0] = trunk->step[0];
  branch->step[1] = trunk->step[1];
  ck_ok(zf_zo_replay(&again->q.params, branch->step, m->steps, m->decay, NULL));
  check_same(&again->q, &branch->q, m->name);
  for (int cut = 1; cut < m->steps; cut++) {
    struct run *part = open_run(&other), *resumed = open_run(&other);
    ck_ok(zf_zo_replay(&part->q.params, branch->step, cut, m->decay, NULL));
    copy_state(&resumed->q, &part->q);
    zf_zo_remember(&resumed->q.params, &branch->step[0]);
    for (int64_t s = cut > memory ? cut - memory : 0; s < cut; s++)
      zf_zo_remember(&resumed->q.params, &branch->step[s]);
    ck_ok(zf_zo_replay(&resumed->q.params, branch->step + cut, m->steps - cut, m->decay, NULL));
    check_same(&resumed->q, &branch->q, m->name);
    close_run(part);
    close_run(resumed);
  }
  close_run(trunk);
  close_run(branch);
  close_run(again);
}
END_TEST

/* However many points share a pass, the losses and terms have the same bits. */
START_TEST(test_streams) {
  static const int streams[] = {1, 2, 5, ZF_MAXSTREAM};
  const struct method *m = &methods[_i];
  struct run *run[4];
  for (int i = 0; i < 4; i++) {
    struct zf_zo zo = m->zo;
    zo.streams = streams[i];
    run[i] = open_run(&zo);
    take_steps(run[i], m, &zo, 0, m->steps);
  }
  for (int i = 1; i < 4; i++) {
    check_same(&run[i]->q, &run[0]->q, m->name);
    for (int s = 0; s < m->steps; s++) {
      ck_assert_mem_eq(run[i]->estimate[s].loss, run[0]->estimate[s].loss,
                       sizeof(double) * (size_t)zf_zo_losses(&m->zo));
      ck_assert_mem_eq(run[i]->estimate[s].term, run[0]->estimate[s].term,
                       sizeof(struct zf_zo_term) * (size_t)zf_zo_terms(&m->zo));
    }
  }
  for (int i = 0; i < 4; i++) close_run(run[i]);
}
END_TEST

/* --- bases --- */

/* V of low_rank is the noise of the first step of its period; V and U of subspace are that noise made
 * orthonormal: within the roundings of two passes over some vectors. */
START_TEST(test_bases) {
  static const struct zf_zo zo[2] = {{ZO, .probes = 1, LOW}, {ZO, .probes = 1, SUB}};
  struct run *run = open_run(&zo[_i]);
  static const struct method plain = {"bases", {0}, 0, 5, 0};
  for (int s = 0; s < 5; s++) {
    take_steps(run, &plain, &zo[_i], s, s + 1);
    for (int k = 0; k < 2; k++) {
      const struct zf_param_factors *f = &run->q.param[k].factors;
      float z[D];
      struct zf_noise noise = {
          .seed = 77, .step = s < 3 ? 1 : 4, .probe = 0xffff, .param = run->q.param[k].id};
      zf_noise_ref(z, &noise, 0, f->rank * f->in);
      ck_assert_int_eq(f->rank, zo[_i].rank);
      ck_assert_int_eq(f->out, k ? 14 : 12);
      ck_assert_int_eq(f->in, k ? 6 : 10);
      if (!_i) ck_assert_mem_eq(f->right, z, sizeof *z * (size_t)(f->rank * f->in));
      for (int64_t i = 0; i < f->rank && _i; i++) {
        double along = 0, norm = 0;
        for (int64_t j = 0; j <= i; j++) {
          double right = 0, left = 0;
          for (int64_t x = 0; x < f->in; x++)
            right += (double)f->right[i * f->in + x] * (double)f->right[j * f->in + x];
          for (int64_t x = 0; x < f->out; x++)
            left += (double)f->left[x * f->rank + i] * (double)f->left[x * f->rank + j];
          ck_assert(fabs(right - (i == j)) < 8 * 0x1p-24 && fabs(left - (i == j)) < 8 * 0x1p-24);
        }
        for (int64_t x = 0; x < f->in; x++) {
          along += (double)f->right[i * f->in + x] * (double)z[i * f->in + x];
          norm += (double)z[i * f->in + x] * (double)z[i * f->in + x];
        }
        ck_assert(along > 0.05 * sqrt(norm)); /* the same half space: what Gram and Schmidt give */
        if (!i) ck_assert(fabs(along - sqrt(norm)) < 8 * 0x1p-24 * sqrt(norm));
      }
    }
  }
  ck_assert_int_eq(run->q.param[2].factors.rank, 0);
  close_run(run);
}
END_TEST

/* A matrix with a side below twice the rank, one that is not only multiplied by, and a frozen one move by
 * noise of every element. */
START_TEST(test_too_small) {
  struct zf_zo zo = {ZO, .probes = 1, .form = ZF_FORM_LOW_RANK, .rank = 4, .refresh = 1};
  struct problem q;
  problem_init(&q);
  ck_ok(zf_zo_prepare(&q.params, &zo));
  ck_assert_int_eq(q.param[0].factors.rank, 4);
  ck_assert_int_eq(q.param[1].factors.rank, 0);
  ck_assert_int_eq(zf_param_coordinates(&q.param[0]), 48);
  ck_assert_int_eq(zf_param_coordinates(&q.param[1]), NB);
  q.param[0].is_operand = 0;
  ck_fails(zf_zo_prepare(&q.params, &zo), ZF_EUSAGE,
           "no trained matrix has sides of twice the rank 4");
  ck_assert_int_eq(q.param[0].factors.rank, 0);
  q.param[0].is_operand = 1;
  q.param[0].trained = 0;
  ck_fails(zf_zo_prepare(&q.params, &zo), ZF_EUSAGE,
           "no trained matrix has sides of twice the rank 4");
  ck_assert_int_eq(q.param[0].factors.rank, 0);
}
END_TEST

/* --- settings --- */

START_TEST(test_refused) {
  static const struct {
    struct zf_zo zo;
    const char *part;
  } bad[] = {
      {{ZO, .probes = 1, .form = ZF_FORMS}, "form of directions 9 is not known"},
      {{ZO, .probes = 1, .form = -1}, "is not known"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCES}, "difference 8 is not known"},
      {{ZO, .probes = 1, .rule = ZF_RULES}, "update rule 7 is not known"},
      {{ZO, .probes = 1, .streams = ZF_MAXSTREAM + 1}, "expected 1 to 16 streams, found 17"},
      {{ZO, .probes = 1, .form = ZF_FORM_LOW_RANK, .refresh = 1}, "zo_rank: expected 1 to 1024"},
      {{ZO, .probes = 1, .form = ZF_FORM_SUBSPACE, .rank = 2}, "zo_refresh: expected at least 1"},
      {{ZO, .probes = 1, .form = ZF_FORM_SMALL}, "zo_keep: expected a share above 0"},
      {{ZO, .probes = 1, .form = ZF_FORM_RANDOM, .keep = NAN}, "zo_keep: expected a share above 0"},
      {{ZO, .probes = 1, .form = ZF_FORM_CONE, .cone = 1}, "zo_cone: expected a cosine"},
      {{ZO, .probes = 2, .form = ZF_FORM_CONE}, "cone: expected zo_probes 1, found 2"},
      {{ZO, .probes = 1, .form = ZF_FORM_SCALED}, "scaled does not go with"},
      {{ZO, .probes = 1, .form = ZF_FORM_SPHERE, .direction = ZF_RADEMACHER}, "not gaussian"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_BATCHED}, "expected at least 2 probes"},
      {{ZO, .probes = 17, .difference = ZF_DIFFERENCE_BAYES}, "at most 16 probes, found 17"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_ANCHOR}, "a refresh of 1 to 20 steps"},
      {{ZO, .probes = 9, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 4}, "fewer probes"},
      {{ZO, .probes = 65, .difference = ZF_DIFFERENCE_CONSERVATIVE}, "at most 64 probes"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 4, .rule = ZF_RULE_ADAM},
       "anchor does not go with another rule"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_CONSERVATIVE, .clip = 2},
       "conservative does not go with"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 4, .form = ZF_FORM_CONE},
       "cone does not go with anchor"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_ANCHOR, LOW},
       "directions that change from step to step"},
      {{ZO, .probes = 1, .rule = ZF_RULE_SIGN, .window = 3}, "sign: has no window of steps"},
      {{ZO, .probes = 1, .rule = ZF_RULE_ADAM, .window = 1001}, "at most 1000 steps"},
      {{ZO, .probes = 1, .rule = ZF_RULE_ADAM, .window = 3, LOW}, "a window of steps does not go"},
      {{ZO, .probes = 1, .rule = ZF_RULE_MUON, .form = ZF_FORM_BLOCKS}, "muon does not go with"},
      {{ZO, .probes = 1, .rule = ZF_RULE_TRUST}, "trust: expected a share above 0"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = 2}, "alpha from 0"},
      {{ZO, .probes = 1, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = NAN}, "alpha from 0"},
      {{ZO, .probes = 1, .clip = NAN}, "a clip of at least 0"},
      {{ZO, .probes = 1, .clip = -1}, "a clip of at least 0"},
      {{ZO, .probes = 2, .difference = ZF_DIFFERENCE_BATCHED, .examples = 4}, "by example"},
      {{ZO, .probes = 2, .examples = 4, LOW}, "directions by example does not go with low_rank"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    zf_error_clear();
    int rc = zf_zo_check(&bad[i].zo);
    ck_assert_msg(rc == ZF_EUSAGE, "case %zu: %d", i, rc);
    ck_assert_msg(strstr(zf_error_message(), bad[i].part) != NULL, "case %zu: '%s' lacks '%s'", i,
                  zf_error_message(), bad[i].part);
  }
  for (int i = 0; i < METHODS; i++) ck_ok(zf_zo_check(&methods[i].zo));
}
END_TEST

/* Directions on small weights need the base's. */
START_TEST(test_base_only) {
  struct zf_zo zo = {ZO, .probes = 1, .form = ZF_FORM_SMALL, .keep = 0.5};
  struct problem q;
  problem_init(&q);
  q.param[1].origin = ZF_ORIGIN_ADAPTER;
  ck_fails(zf_zo_open(&q.params, &zo), ZF_EUSAGE, "small: 'b' is an adapter's");
  ck_assert_ptr_null(q.params.optimizer);
}
END_TEST

/* As many probes as there may be, of every difference: passes hold at most so many noises. */
START_TEST(test_most_probes) {
  struct zf_zo zo = {ZO, .probes = ZF_ZO_MAXPROBES, .difference = _i, .streams = ZF_MAXSTREAM};
  if (_i == ZF_DIFFERENCE_BAYES) zo.probes = ZF_ZO_MAXBAYES;
  if (_i == ZF_DIFFERENCE_ANCHOR) zo.probes = ZF_MAXTERM / 5, zo.refresh = 2;
  if (_i == ZF_DIFFERENCE_CONSERVATIVE) zo.probes = ZF_MAXTERM;
  const struct method m = {"most", zo, 0, 3, 0};
  ck_ok(zf_zo_check(&zo));
  struct run *run = open_run(&zo);
  take_steps(run, &m, &zo, 0, 3);
  for (int i = 0; i < D; i++) ck_assert(isfinite(run->q.w[i]));
  close_run(run);
}
END_TEST

int main(void) {
  Suite *s = suite_create("zo_methods");
  TCase *t = tcase_create("zo_methods");
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(1);
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_reference, 0, METHODS);
  tcase_add_loop_test(t, test_replay, 0, METHODS);
  tcase_add_loop_test(t, test_mean, 0, METHODS);
  tcase_add_loop_test(t, test_remember, 0, METHODS);
  tcase_add_loop_test(t, test_branch, 0, METHODS);
  tcase_add_loop_test(t, test_streams, 0, METHODS);
  tcase_add_loop_test(t, test_bases, 0, 2);
  tcase_add_test(t, test_too_small);
  tcase_add_test(t, test_refused);
  tcase_add_test(t, test_base_only);
  tcase_add_loop_test(t, test_most_probes, 0, ZF_DIFFERENCES);
  suite_add_tcase(s, t);
  return unit_run(s);
}
