/* Zeroth-order optimization: a direction, a difference, an update rule.
 *
 * MeZO-SGD with n-SPSA (Malladi et al., "Fine-tuning language models with just forward
 * passes", NeurIPS 2023, algorithms 1 and 2; Spall 1992):
 *
 *   g_p = (L(w + eps z_p) - L(w - eps z_p)) / (2 eps)           p < q probes
 *   w  <- w - lr (1/q sum_p g_p z_p + decay w)
 *
 * z_p is a function of (seed, step, probe, parameter, element): see rng/noise.h.  The caller's
 * loss function evaluates both sides at once without touching w (DESIGN promise 1).
 *
 * Nothing here knows a transformer: a parameter list and a function that returns losses. */
#ifndef ZF_ZO_ZO_H
#define ZF_ZO_ZO_H

#include "kern/perturb.h"
#include "tensor/param.h"

enum { ZF_ZO_MAXPROBES = 256 };

struct zf_zo {
  uint64_t seed;
  double eps;    /* > 0 */
  int probes;    /* q, 1..ZF_ZO_MAXPROBES */
  int direction; /* enum zf_noise_kind */
};

struct zf_zo_probe {
  double plus, minus;        /* losses at +eps and -eps */
  double projected_gradient; /* projected gradient */
};

/* Evaluates the loss on the streams of `pt`: loss[s] for stream s.  0 or a code. */
typedef int (*zf_zo_loss)(void *ctx, const struct zf_perturb *pt, double *loss);

/* Fills probe[0..q): 2 q losses.  Stops at the first code that `loss` returns. */
int zf_zo_estimate(struct zf_zo_probe *probe, const struct zf_zo *zo, uint32_t step,
                   zf_zo_loss loss, void *ctx);

/* One pass over every trained parameter: w <- w - lr (1/q sum_p g_p z_p + decay w), decay where
 * the parameter takes it.  Storage narrower than f32 is rounded stochastically, keyed by (seed,
 * step, parameter, element), so that a replay gives the same bits. */
void zf_zo_update(const struct zf_params *ps, const struct zf_zo *zo, uint32_t step,
                  const struct zf_zo_probe *probe, double lr, double decay);

/* A step that was taken, and its part in a mean along the way (kern.h, struct zf_update). */
struct zf_zo_step {
  uint32_t step;
  uint64_t seed;
  double lr;
  const struct zf_zo_probe *probe; /* [zo.probes] */
  double keep, add;
};

/* Many steps, tile by tile: the weights that zf_zo_update leaves after each in turn (with their
 * own seeds).  mean: NULL, or what the first weights count; the result is then the mean.
 * ZF_ENOMEM; nothing is changed then. */
int zf_zo_replay(const struct zf_params *ps, const struct zf_zo *zo, const struct zf_zo_step *step,
                 int64_t count, double decay, const double *mean);

#endif
