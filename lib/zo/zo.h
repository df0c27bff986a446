/* Zeroth-order optimization: directions x difference x rule, each a row of a table.
 *
 *   directions  what z_p are, p < q probes                       direction.h
 *   difference  at which points the loss is evaluated, and the   difference.h
 *               terms that their losses give
 *   rule        how the estimate e moves the weights             rule.h
 *
 * The classic one is MeZO with n-SPSA (Malladi et al., "Fine-tuning language models with just forward
 * passes", NeurIPS 2023, algorithms 1 and 2; Spall 1992):
 *
 *   g_p = (L(w + eps z_p) - L(w - eps z_p)) / (2 eps)           p < q probes
 *   e   = 1/q sum_p g_p z_p                                     the estimate of the gradient
 *   w  <- w - lr (e + decay w)
 *
 * Directions by example: L = sum_i L_i over the examples of a batch, each with a direction of its own.
 * L_i is the example's loss divided by the weight of the whole batch.
 *
 *   g_pi = (L_i(w + eps z_pi) - L_i(w - eps z_pi)) / (2 eps)    i < n examples
 *   e    = 1/q sum_p sum_i g_pi z_pi
 *
 * An estimate is a list of terms {step, probe, example, coefficient}: e = 1/q sum of coefficient times the
 * noise of (step, probe, example).  Update, log and replay see losses and terms and nothing else.
 *
 * z is a function of (seed, step, probe, example, parameter, element): see rng/noise.h.  The caller's
 * loss function evaluates several points at once and leaves w unchanged (DESIGN promise 1).
 *
 * Nothing here knows a transformer: the model is a parameter list and a function that returns
 * losses. */
#ifndef ZF_ZO_ZO_H
#define ZF_ZO_ZO_H

#include "base/cplusplus.h"
#include "kern/perturb.h"
#include "tensor/param.h"

ZF_BEGIN_DECLS

enum {
  ZF_ZO_MAXPROBES = 256,
  ZF_ZO_MAXBAYES = 16,   /* probes of the Bayesian difference */
  ZF_ZO_CLIP_STEPS = 100 /* steps of the running median of a clip */
};

enum zf_zo_form {
  ZF_FORM_DENSE,    /* noise of every element */
  ZF_FORM_SPHERE,   /* noise of the length sqrt(d) */
  ZF_FORM_SMALL,    /* noise where |w| is small */
  ZF_FORM_RANDOM,   /* noise on elements drawn once */
  ZF_FORM_LOW_RANK, /* U V^T, with V kept for some steps */
  ZF_FORM_SUBSPACE, /* U Z V^T, with orthonormal U and V kept for some steps */
  ZF_FORM_BLOCKS,   /* noise on one block of layers a step */
  ZF_FORM_CONE,     /* noise about the direction of the momentum */
  ZF_FORM_SCALED,   /* noise divided by the root of a diagonal curvature */
  ZF_FORMS
};

enum zf_zo_difference {
  ZF_DIFFERENCE_CENTRAL,
  ZF_DIFFERENCE_ONE_SIDED,
  ZF_DIFFERENCE_BATCHED,
  ZF_DIFFERENCE_CURVATURE,
  ZF_DIFFERENCE_BAYES,
  ZF_DIFFERENCE_ANCHOR,
  ZF_DIFFERENCE_POPULATION,
  ZF_DIFFERENCE_CONSERVATIVE,
  ZF_DIFFERENCES
};

enum zf_zo_rule {
  ZF_RULE_SGD,
  ZF_RULE_ADAM,
  ZF_RULE_MOMENTUM,
  ZF_RULE_SIGN,
  ZF_RULE_ADAMM,
  ZF_RULE_MUON,
  ZF_RULE_TRUST,
  ZF_RULES
};

struct zf_zo {
  uint64_t seed;
  double eps;       /* > 0 */
  int probes;       /* q, 1..ZF_ZO_MAXPROBES */
  int direction;    /* enum zf_noise_kind */
  int64_t examples; /* 0: one direction for the batch; else n, at most ZF_NOISE_EXAMPLES,
                                  * the examples of a batch, each with its own direction */
  int rule;         /* enum zf_zo_rule */
  double beta1, beta2, adam_eps; /* decay of the first and second moment in [0, 1), adam_eps > 0 */
  int form;                      /* enum zf_zo_form */
  int difference;                /* enum zf_zo_difference */
  int64_t rank;                  /* of LOW_RANK and SUBSPACE */
  int64_t refresh;               /* steps that their bases, or an anchor, are kept */
  double keep;                   /* SMALL, RANDOM: share of a matrix's elements that move, (0, 1] */
  double alpha;                  /* CURVATURE: exponent; SCALED: smoothing of the curvature */
  double cone;                   /* CONE: cosine of the angle to the momentum, [0, 1) */
  double clip;  /* bound of |coefficient|, as a multiple of its running median; 0: none */
  double trust; /* TRUST: largest change of a parameter, as a share of its norm */
  int window; /* rules with moments: steps that they are made from; 0: moments are kept in memory */
  int streams; /* most points of one pass, 1..ZF_MAXSTREAM; 0: 2.  No part of the log */
};

/* ZF_EUSAGE where a setting is out of range, or rows do not go together. */
int zf_zo_check(const struct zf_zo *zo);

int64_t zf_zo_losses(const struct zf_zo *zo);  /* losses of a step */
int64_t zf_zo_terms(const struct zf_zo *zo);   /* terms of a step, at most */
int zf_zo_explicit(const struct zf_zo *zo);    /* terms may be of other steps */
unsigned zf_zo_states(const struct zf_zo *zo); /* mask of enum zf_param_state */
int zf_zo_streams(const struct zf_zo *zo);     /* points of one pass, at most */

/* A term.  Unused terms of an estimate have the coefficient 0. */
struct zf_zo_term {
  double coefficient;
  uint32_t step;
  uint16_t probe, example; /* example: 1 + its place in the batch; 0: of the batch */
};

/* The estimate of a step: arrays of the caller. */
struct zf_zo_estimate {
  double *loss;            /* [zf_zo_losses], in the order of the difference */
  struct zf_zo_term *term; /* [zf_zo_terms] */
};

/* Mean loss of the points of a step about the weights, and the mean square of its projected
 * gradients; NaN where one of its numbers is not finite. */
void zf_zo_summary(const struct zf_zo *zo, const struct zf_zo_estimate *estimate, double *loss,
                   double *square);

/* The projected gradient of a probe: where the difference is central and directions are by example, that of
 * the batch; else the coefficient of the probe's own direction. */
double zf_zo_gradient(const struct zf_zo *zo, const struct zf_zo_estimate *estimate, int probe);

/* 1 where coefficients are derivatives of the loss; 1 where the rule divides by the size of the estimate. */
int zf_zo_is_smooth(const struct zf_zo *zo);
int zf_zo_is_normalized(const struct zf_zo *zo);

/* Names of the rows of a method. */
const char *zf_zo_form_name(const struct zf_zo *zo);
const char *zf_zo_difference_name(const struct zf_zo *zo);
const char *zf_zo_rule_name(const struct zf_zo *zo);

/* A recorded step, and its part in a mean of the weights over the steps (kern.h, struct
 * zf_update). */
struct zf_zo_step {
  uint32_t step;
  uint64_t seed;
  double lr; /* 0: the weights do not change, but the states do */
  struct zf_zo_estimate estimate;
  double keep, add;
};

/* What a loss function returns. */
struct zf_zo_losses {
  double batch[ZF_MAXSTREAM]; /* loss of the batch on each stream */
  const double *example; /* by example: [streams][examples] the L_i, which sum to the loss of the
                               * batch; 0 where a short batch has no such example.  Memory of the loss
                               * function, valid until its next call. */
};

/* Evaluates the losses on the streams of `perturb`.  wide: over the batches of an anchor instead of the
 * step's.  Where perturb->by_example is set, example i is perturbed by its own direction
 * (zf_noise_example), and losses->example is set.  Returns 0 or a negative code. */
typedef int (*zf_zo_loss)(void *ctx, const struct zf_perturb *perturb, int wide,
                          struct zf_zo_losses *losses);

/* --- an optimizer on a parameter list --- */

/* Sets what the method needs to know of the trained parameters before a pass is laid out (ranks).
 * ZF_EUSAGE: the method does not suit them. */
int zf_zo_prepare(struct zf_params *params, const struct zf_zo *zo);

/* Bytes that zf_zo_open allocates, of prepared parameters. */
int64_t zf_zo_bytes(const struct zf_params *params, const struct zf_zo *zo);

/* Prepares the parameters, gives them their states, and makes params->optimizer.  Their weights are those
 * with which the run begins.  ZF_ENOMEM; ZF_EUSAGE. */
int zf_zo_open(struct zf_params *params, const struct zf_zo *zo);
void zf_zo_close(struct zf_params *params); /* takes a list without an optimizer */

/* Evaluates and combines the losses of step 1, 2, ... at the learning rate lr.  Stops at the first
 * failure of `loss` and returns its code. */
int zf_zo_estimate(const struct zf_params *params, uint32_t step, double lr, zf_zo_loss loss,
                   void *ctx, const struct zf_zo_estimate *estimate);

/* out[i] = the loss at distance[i] along direction 0 of a step; nothing is combined, and `loss` need not
 * set losses->example. */
int zf_zo_scan(const struct zf_params *params, uint32_t step, const double *distance, int count,
               zf_zo_loss loss, void *ctx, double *out);

/* One pass of the rule over every trained parameter; the decay applies to parameters with `decayed`
 * set.  Storage narrower than f32 is rounded stochastically, keyed by (seed, step, parameter,
 * element), so that a replay gives the same bits.  Terms with coefficient 0 are skipped. */
void zf_zo_update(const struct zf_params *params, const struct zf_zo_step *step, double decay);

/* Replays `count` steps, tile by tile where the method allows it.  Weights and states are those that
 * zf_zo_update leaves when it is called for each step in turn.  mean: NULL, or a pointer to the weight
 * of the initial weights in a mean over the steps; the mean is then the result, and the states are
 * those of the last step.  ZF_ENOMEM; ZF_EUSAGE: the method has no such mean; nothing is changed then. */
int zf_zo_replay(const struct zf_params *params, const struct zf_zo_step *step, int64_t count,
                 double decay, const double *mean);

/* Steps before the next one that a method looks back to, and a way to pass them to an optimizer that
 * did not take them: step 1, whose seed draws masks, then those in order, up to the last one. */
int64_t zf_zo_memory(const struct zf_zo *zo);
void zf_zo_remember(const struct zf_params *params, const struct zf_zo_step *step);

ZF_END_DECLS

#endif
