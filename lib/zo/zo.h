/* Zeroth-order optimization: a direction, a difference, an update rule.
 *
 * MeZO-SGD with n-SPSA (Malladi et al., "Fine-tuning language models with just forward
 * passes", NeurIPS 2023, algorithms 1 and 2; Spall 1992):
 *
 *   g_p = (L(w + eps z_p) - L(w - eps z_p)) / (2 eps)           p < q probes
 *   w  <- w - lr (1/q sum_p g_p z_p + decay w)
 *
 * z_p is a function of (seed, step, probe, parameter, element): see rng/noise.h.  The caller's
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

struct zf_zo {
  uint64_t seed;
  double eps;    /* > 0 */
  int probes;    /* q, 1..ZF_ZO_MAXPROBES */
  int direction; /* enum zf_noise_kind */
};

struct zf_zo_probe {
  double plus, minus;        /* losses at +eps and -eps */
  double projected_gradient; /* g_p */
};

/* Evaluates the loss on the streams of `perturb`: loss[s] for stream s.  Returns 0 or a negative
 * code. */
typedef int (*zf_zo_loss)(void *ctx, const struct zf_perturb *perturb, double *loss);

/* Fills probe[0..q) from 2 q losses.  Stops at the first failure of `loss` and returns its code. */
int zf_zo_estimate(struct zf_zo_probe *probe, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx);

/* One pass over every trained parameter: w <- w - lr (1/q sum_p g_p z_p + decay w); the decay
 * applies to parameters with `decayed` set.  Storage narrower than f32 is rounded stochastically,
 * keyed by (seed, step, parameter, element), so that a replay gives the same bits. */
void zf_zo_update(const struct zf_params *params, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_probe *probe, double lr, double decay);

/* A recorded step, and its part in a mean of the weights over the steps (kern.h, struct
 * zf_update). */
struct zf_zo_step {
  uint32_t step;
  uint64_t seed;
  double lr;
  const struct zf_zo_probe *probe; /* [zo.probes] */
  double keep, add;
};

/* Replays `count` steps, tile by tile.  The weights are those that zf_zo_update leaves when it is
 * called for each step in turn with that step's seed.  mean: NULL, or a pointer to the weight of
 * the initial weights in a mean over the steps; the mean is then the result.
 * ZF_ENOMEM; nothing is changed then. */
int zf_zo_replay(const struct zf_params *params, const struct zf_zo *zo,
                 const struct zf_zo_step *step, int64_t count, double decay, const double *mean);

ZF_END_DECLS

#endif
