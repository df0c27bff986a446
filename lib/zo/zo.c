#include "zo/zo.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"

static int is_beta(double beta) {
  return beta >= 0 && beta < 1 && (float)beta < 1.0f; /* false for NaN */
}

int zf_zo_check(const struct zf_zo *zo) {
  if (zo->examples < 0 || zo->examples > ZF_NOISE_EXAMPLES)
    return zf_error(ZF_EUSAGE,
                    "directions by example: expected at most %d examples a step, found %lld",
                    ZF_NOISE_EXAMPLES, (long long)zo->examples);
  if (zo->rule < 0 || zo->rule >= ZF_RULES)
    return zf_error(ZF_EUSAGE, "update rule %d is not known", zo->rule);
  if (zo->rule == ZF_RULE_SGD) return 0;
  if (!is_beta(zo->beta1) || !is_beta(zo->beta2))
    return zf_error(ZF_EUSAGE, "Adam: expected betas in [0, 1), found %g and %g", zo->beta1,
                    zo->beta2);
  if (!((float)zo->adam_eps > 0) || !isfinite((float)zo->adam_eps))
    return zf_error(ZF_EUSAGE, "Adam: expected an eps > 0 in the range of f32, found %g",
                    zo->adam_eps);
  return 0;
}

int64_t zf_zo_terms(const struct zf_zo *zo) {
  return zo->examples ? zo->probes * zo->examples : zo->probes;
}

/* --- the estimate --- */

/* g of every example.  losses: [2][examples]. */
static void fill_examples(float *gradient, const double *losses, int64_t examples, double eps) {
  for (int64_t i = 0; i < examples; i++)
    gradient[i] = (float)((losses[i] - losses[examples + i]) / (2 * eps));
}

int zf_zo_estimate(const struct zf_zo_estimate *estimate, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx) {
  assert(zo->probes >= 1 && zo->probes <= ZF_ZO_MAXPROBES);
  for (int i = 0; i < zo->probes; i++) {
    struct zf_perturb perturb =
        zf_perturb_spsa(zo->seed, step, (uint16_t)i, zo->direction, (float)zo->eps);
    struct zf_zo_losses losses = {{0}, NULL};
    perturb.by_example = zo->examples > 0;
    int rc = loss(ctx, &perturb, &losses);
    if (rc) return rc;
    /* The kernels perturb by eps rounded to float. */
    double eps = (double)perturb.streams.eps[0], plus = losses.batch[0], minus = losses.batch[1];
    estimate->probe[i] = (struct zf_zo_probe){plus, minus, (plus - minus) / (2 * eps)};
    if (zo->examples)
      fill_examples(estimate->example + i * zo->examples, losses.example, zo->examples, eps);
  }
  return 0;
}

/* --- the update --- */

/* Terms that a replay prepares at once: 28 bytes each. */
enum { REPLAY_TERMS = 1 << 17 };

/* Steps in the form that the kernels take: each has zf_zo_terms noise keys and coefficients. */
struct prepared_steps {
  struct zf_update_step *step;
  struct zf_noise *direction;
  float *coefficient;
};

struct zf_zo_work {
  int64_t terms;
  struct zf_noise *direction;
  float *coefficient;
};

/* base^exponent by squaring.  Its products are exactly rounded, so that every machine has the same
 * bits, which a library's pow does not promise. */
static double power(double base, uint32_t exponent) {
  double result = 1;
  for (; exponent; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

static struct zf_update_adam adam_of(const struct zf_zo *zo, const struct zf_zo_step *step) {
  return (struct zf_update_adam){
      .beta = {(float)zo->beta1, (float)zo->beta2},
      .rest = {(float)(1 - zo->beta1), (float)(1 - zo->beta2)},
      .rate = (float)(step->lr / (1 - power(zo->beta1, step->step))),
      .scale = (float)(1 / (1 - power(zo->beta2, step->step))),
      .eps = (float)zo->adam_eps,
  };
}

/* The directions of a step and their g's, times `factor`: of one probe after another, of the examples
 * of a probe in order. */
static void prepare_terms(struct zf_noise *direction, float *coefficient, const struct zf_zo *zo,
                          const struct zf_zo_step *step, double factor) {
  int64_t examples = zo->examples;
  for (int i = 0; i < zo->probes; i++) {
    struct zf_noise noise =
        zf_perturb_spsa(step->seed, step->step, (uint16_t)i, zo->direction, 0).direction;
    if (!examples) {
      direction[i] = noise;
      coefficient[i] = (float)(factor * step->estimate.probe[i].projected_gradient / zo->probes);
    }
    for (int64_t j = i * examples; j < (i + 1) * examples; j++) {
      direction[j] = noise;
      zf_noise_example(&direction[j], j - i * examples);
      coefficient[j] = (float)(factor * (double)step->estimate.example[j] / zo->probes);
    }
  }
}

static void prepare(const struct prepared_steps *prepared, int64_t index, const struct zf_zo *zo,
                    const struct zf_zo_step *step) {
  int64_t terms = zf_zo_terms(zo);
  struct zf_noise *direction = prepared->direction + index * terms;
  float *coefficient = prepared->coefficient + index * terms;
  int adam = zo->rule == ZF_RULE_ADAM;
  prepare_terms(direction, coefficient, zo, step, adam ? 1 : -step->lr);
  prepared->step[index] = (struct zf_update_step){
      .direction = direction,
      .coefficient = coefficient,
      .terms = (int)terms,
      .round = {.seed = step->seed, .step = step->step, .use = ZF_USE_ROUNDING},
      .keep = step->keep,
      .add = step->add,
  };
  if (adam) prepared->step[index].adam = adam_of(zo, step);
}

/* Sets the parameter's number and decay in every prepared step. */
static void set_param(const struct prepared_steps *prepared, const struct zf_zo_step *step,
                      int64_t count, int64_t terms, const struct zf_param *param, double decay) {
  for (int64_t i = 0; i < count * terms; i++) prepared->direction[i].param = param->id;
  for (int64_t i = 0; i < count; i++) {
    prepared->step[i].round.param = param->id;
    prepared->step[i].decay = param->decayed ? (float)(step[i].lr * decay) : 0.0f;
  }
}

static void apply(const struct zf_params *params, const struct prepared_steps *prepared,
                  const struct zf_zo *zo, const struct zf_zo_step *step, int64_t count,
                  double decay, const double *mean) {
  struct zf_update update = {
      .step = prepared->step, .steps = count, .mean = mean != NULL, .start = mean ? *mean : 0};
  for (int64_t i = 0; i < count; i++) prepare(prepared, i, zo, step + i);
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (!param->trained) continue;
    for (int j = 0; j < 2; j++) update.state[j] = zo->rule == ZF_RULE_ADAM ? param->state[j] : NULL;
    set_param(prepared, step, count, zf_zo_terms(zo), param, decay);
    zf_update(param->data, param->type, param->count, &update);
  }
}

int zf_zo_work_new(struct zf_zo_work **out, const struct zf_zo *zo) {
  *out = NULL;
  struct zf_zo_work *work = zf_calloc(1, sizeof *work);
  if (!work) return ZF_ENOMEM;
  work->terms = zf_zo_terms(zo);
  work->direction = zf_calloc(work->terms, sizeof *work->direction);
  work->coefficient = zf_calloc(work->terms, sizeof *work->coefficient);
  if (work->direction && work->coefficient) {
    *out = work;
    return 0;
  }
  zf_zo_work_free(work);
  return ZF_ENOMEM;
}

void zf_zo_work_free(struct zf_zo_work *work) {
  if (!work) return;
  free(work->direction);
  free(work->coefficient);
  free(work);
}

/* 1 where every trained parameter has what the rule needs. */
static int has_state(const struct zf_params *params, const struct zf_zo *zo) {
  if (zo->rule != ZF_RULE_ADAM) return 1;
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (param->trained && (param->type != ZF_F32 || !param->state[0] || !param->state[1])) return 0;
  }
  return 1;
}

void zf_zo_update(const struct zf_params *params, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_estimate *estimate, double lr, double decay,
                  struct zf_zo_work *work) {
  struct zf_noise direction[ZF_ZO_MAXPROBES];
  float coefficient[ZF_ZO_MAXPROBES];
  struct zf_update_step prepared;
  struct zf_zo_step recorded = {
      .step = step, .seed = zo->seed, .lr = lr, .estimate = *estimate, .keep = 1};
  assert(zf_zo_terms(zo) <= (work ? work->terms : ZF_ZO_MAXPROBES) && has_state(params, zo));
  apply(params,
        &(struct prepared_steps){&prepared, work ? work->direction : direction,
                                 work ? work->coefficient : coefficient},
        zo, &recorded, 1, decay, NULL);
}

/* Steps that a replay applies to a tile of a parameter before the next tile.  A mean needs all at once,
 * because it is kept in double only while its tile is. */
static int64_t steps_at_once(const struct zf_zo *zo, int64_t count, const double *mean) {
  int64_t steps = REPLAY_TERMS / zf_zo_terms(zo);
  if (mean || steps > count) return count;
  return steps ? steps : 1;
}

int zf_zo_replay(const struct zf_params *params, const struct zf_zo *zo,
                 const struct zf_zo_step *step, int64_t count, double decay, const double *mean) {
  if (!has_state(params, zo))
    return zf_error(ZF_EUSAGE, "a replay of Adam's steps needs f32 parameters and their moments");
  int64_t steps = steps_at_once(zo, count, mean);
  size_t terms = (size_t)steps * (size_t)zf_zo_terms(zo) + 1;
  struct prepared_steps prepared = {calloc((size_t)steps + 1, sizeof *prepared.step),
                                    calloc(terms, sizeof *prepared.direction),
                                    calloc(terms, sizeof *prepared.coefficient)};
  int rc = prepared.step && prepared.direction && prepared.coefficient ? 0 : ZF_ENOMEM;
  if (rc) zf_error(rc, "out of memory for a replay of %lld steps", (long long)count);
  for (int64_t i = 0; i < (rc ? 0 : count); i += steps)
    apply(params, &prepared, zo, step + i, count - i < steps ? count - i : steps, decay, mean);
  free(prepared.step);
  free(prepared.direction);
  free(prepared.coefficient);
  return rc;
}
