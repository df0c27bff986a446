/* Zeroth-order optimization: a direction, a difference, an update rule.
 *
 * MeZO with n-SPSA (Malladi et al., "Fine-tuning language models with just forward passes",
 * NeurIPS 2023, algorithms 1 and 2; Spall 1992):
 *
 *   g_p = (L(w + eps z_p) - L(w - eps z_p)) / (2 eps)           p < q probes
 *   e   = 1/q sum_p g_p z_p                                     the estimate of the gradient
 *
 * Directions by example: L = sum_i L_i over the examples of a batch, each with a direction of its own.
 * L_i is the example's loss divided by the weight of the whole batch.
 *
 *   g_pi = (L_i(w + eps z_pi) - L_i(w - eps z_pi)) / (2 eps)    i < n examples
 *   e    = 1/q sum_p sum_i g_pi z_pi
 *
 * Rules:
 *
 *   SGD    w <- w - lr (e + decay w)
 *   Adam   (Kingma, Ba 2015, algorithm 1; decay as Loshchilov, Hutter 2019) at step t = 1, 2, ...
 *          m <- b1 m + (1 - b1) e,   v <- b2 v + (1 - b2) e^2
 *          w <- w - lr decay w,      w <- w - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + adam_eps)
 *
 * kern.h (zf_update) gives the order of operations.
 *
 * z is a function of (seed, step, probe, example, parameter, element): see rng/noise.h.  The caller's
 * loss function evaluates both sides at once and leaves w unchanged (DESIGN promise 1).
 *
 * Nothing here knows a transformer: the model is a parameter list and a function that returns
 * losses. */
#ifndef ZF_ZO_ZO_H
#define ZF_ZO_ZO_H

#include "base/cplusplus.h"
#include "kern/perturb.h"
#include "tensor/param.h"

ZF_BEGIN_DECLS

enum { ZF_ZO_MAXPROBES = 256 };

enum zf_zo_rule { ZF_RULE_SGD, ZF_RULE_ADAM, ZF_RULES };

struct zf_zo {
  uint64_t seed;
  double eps;       /* > 0 */
  int probes;       /* q, 1..ZF_ZO_MAXPROBES */
  int direction;    /* enum zf_noise_kind */
  int64_t examples; /* 0: one direction for the batch; else n, at most ZF_NOISE_EXAMPLES,
                                  * the examples of a batch, each with its own direction */
  int rule;         /* enum zf_zo_rule */
  double beta1, beta2, adam_eps; /* of Adam: b1 and b2 in [0, 1), adam_eps > 0 */
};

/* ZF_EUSAGE where examples, rule, beta1, beta2 or adam_eps is out of range. */
int zf_zo_check(const struct zf_zo *zo);

struct zf_zo_probe {
  double plus, minus;        /* losses of the batch at +eps and -eps */
  double projected_gradient; /* g_p; by example: (plus - minus) / (2 eps), which no update uses */
};

/* The estimate of a step: arrays of the caller. */
struct zf_zo_estimate {
  struct zf_zo_probe *probe; /* [probes] */
  float *example;            /* [probes][examples] g_pi; NULL where examples = 0 */
};

/* g's of the estimate: probes, or probes * examples. */
int64_t zf_zo_terms(const struct zf_zo *zo);

/* What a loss function returns. */
struct zf_zo_losses {
  double batch[ZF_MAXSTREAM]; /* loss of the batch on each stream */
  const double *example; /* by example: [streams][examples] the L_i, which sum to the loss of the
                               * batch; 0 where a short batch has no such example.  Memory of the loss
                               * function, valid until its next call. */
};

/* Evaluates the losses on the streams of `perturb`.  Where perturb->by_example is set, example i is
 * perturbed by its own direction (zf_noise_example), and losses->example is set.  Returns 0 or a
 * negative code. */
typedef int (*zf_zo_loss)(void *ctx, const struct zf_perturb *perturb, struct zf_zo_losses *losses);

/* Fills the estimate from 2 q losses.  Stops at the first failure of `loss` and returns its code. */
int zf_zo_estimate(const struct zf_zo_estimate *estimate, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx);

/* Memory of an update: keys and coefficients of its terms.  ZF_ENOMEM. */
struct zf_zo_work;
int zf_zo_work_new(struct zf_zo_work **out, const struct zf_zo *zo);
void zf_zo_work_free(struct zf_zo_work *work); /* takes NULL */

/* One pass of the rule over every trained parameter; the decay applies to parameters with `decayed`
 * set.  Storage narrower than f32 is rounded stochastically, keyed by (seed, step, parameter,
 * element), so that a replay gives the same bits.  Terms with g = 0 are skipped.
 * Adam: t is `step`, all trained parameters are f32 and have their state (zf_params_add_state).
 * work: of a zo with as many terms; NULL is enough for ZF_ZO_MAXPROBES terms. */
void zf_zo_update(const struct zf_params *params, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_estimate *estimate, double lr, double decay,
                  struct zf_zo_work *work);

/* A recorded step, and its part in a mean of the weights over the steps (kern.h, struct
 * zf_update). */
struct zf_zo_step {
  uint32_t step;
  uint64_t seed;
  double lr; /* 0: the weights do not change, but the state of the rule does */
  struct zf_zo_estimate estimate;
  double keep, add;
};

/* Replays `count` steps, tile by tile; many terms in parts, for their memory.  Weights and state are those that zf_zo_update leaves when it
 * is called for each step in turn with that step's seed.  mean: NULL, or a pointer to the weight of
 * the initial weights in a mean over the steps; the mean is then the result, and the state is that
 * of the last step.  ZF_ENOMEM; ZF_EUSAGE: Adam without state; nothing is changed then. */
int zf_zo_replay(const struct zf_params *params, const struct zf_zo *zo,
                 const struct zf_zo_step *step, int64_t count, double decay, const double *mean);

ZF_END_DECLS

#endif
