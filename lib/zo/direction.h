/* Directions: what z_p is on the parameters.
 *
 * Most are noise that is shaped element by element where a weight is read (kern.h, zf_noise_shape).
 * Those of low rank lie beside their matrix (forward_beside.c):
 *
 *   LOW_RANK  z = U V^T, U [out][r] noise of the step, V [in][r] noise of the period of `refresh` steps
 *             (Chen et al. 2024, LOZO, arXiv 2410.07698, eq. 4).  No 1/r, as its authors' code.
 *   SUBSPACE  z = U Z V^T sqrt(out in) / r, Z [r][r] noise of the step, U and V orthonormal columns, from
 *             noise of the period by Gram and Schmidt (Yu et al. 2024, SubZero, arXiv 2410.08989)
 *   SPHERE    z sqrt(d) / |z|
 *   SMALL     z where |w| is at most the `keep` quantile of |w| in the run's first weights
 *             (Liu et al. 2024, Sparse MeZO, arXiv 2402.15751), matrices of the base alone
 *   RANDOM    z on a share `keep` of the elements of matrices, drawn once
 *   BLOCKS    z on one block of layers, in turn
 *   CONE      cone m/|m| sqrt(d) + sqrt(1 - cone^2) z with m the momentum of the estimates of the last
 *             steps; |m| as of independent noises (ConMeZO, arXiv 2511.02757)
 *   SCALED    z / sqrt(h), h the diagonal curvature (Zhao et al. 2024, HiZOO, arXiv 2402.15173, eq. 8)
 *
 * Vectors, and matrices with a side below twice the rank, have noise of every element. */
#ifndef ZF_ZO_DIRECTION_H
#define ZF_ZO_DIRECTION_H

#include "zo/zo_internal.h"

struct zf_direction {
  const char *name;
  int kind;                             /* enum zf_noise_kind that it demands; -1: any */
  int base_only;                        /* not for adapters */
  unsigned states;                      /* mask of enum zf_param_state */
  int (*check)(const struct zf_zo *zo); /* 0 or ZF_EUSAGE; NULL */
  /* Sets ranks; NULL: none. */
  void (*prepare)(struct zf_params *params, const struct zf_zo *zo);
  int64_t (*bytes)(const struct zf_params *params, const struct zf_zo *zo); /* NULL: none */
  /* Sets shapes and bases' memory, once.  NULL: nothing. */
  int (*open)(struct zf_zo_optimizer *optimizer, struct zf_params *params);
  /* Before the points and the update of a step; NULL: nothing. */
  void (*begin)(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed);
  /* Noises that make up direction `probe`, term[0..) with their coefficients; returns their number.
   * NULL: the noise of (step, probe). */
  int (*expand)(const struct zf_zo_optimizer *optimizer, int probe, struct zf_zo_term *term);
  int64_t (*memory)(const struct zf_zo *zo); /* earlier steps that it looks at; NULL: none */
  int64_t (*noises)(const struct zf_zo *zo); /* of one direction; NULL: 1 */
  int explicit_terms;                        /* terms of other steps */
};

extern const struct zf_direction *const zf_directions[ZF_FORMS];
extern const struct zf_direction zf_direction_dense, zf_direction_sphere, zf_direction_small,
    zf_direction_random, zf_direction_low_rank, zf_direction_subspace, zf_direction_blocks,
    zf_direction_cone, zf_direction_scaled;

#endif
