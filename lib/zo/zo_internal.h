/* The optimizer's memory, and the functions that rows of its tables use. */
#ifndef ZF_ZO_ZO_INTERNAL_H
#define ZF_ZO_ZO_INTERNAL_H

#include "base/arena.h"
#include "zo/zo.h"

/* A move along the noise of (step, probe): a part of a point. */
struct zf_zo_move {
  struct zf_noise noise;
  float distance;
};

/* The record of a step that was taken. */
struct zf_zo_record {
  uint32_t step; /* 0: none */
  uint64_t seed;
  double lr;
  double *loss;
  struct zf_zo_term *term;
};

struct zf_zo_optimizer {
  struct zf_zo zo;
  const struct zf_params *params;
  uint32_t begun; /* step that is prepared and not yet taken; 0: none */

  /* The last steps: step s is record[s % memory]. */
  int64_t memory;
  struct zf_zo_record *record;

  /* Points of the round that is planned: point i has the moves before move_end[i]. */
  struct zf_zo_move *move;
  int64_t moves, max_moves;
  int64_t *move_end;
  int points;
  int wide;

  /* The step that is estimated. */
  uint32_t step;
  double lr;
  double *loss; /* [losses], as far as they are known */
  int64_t losses;
  double *example; /* by example: [points][examples] */
  struct zf_zo_term *term;
  int64_t terms;
  double *sorted; /* for medians: [memory * terms] */

  struct zf_zo_prepared *prepared; /* room for the terms of one update (apply.c) */

  /* Memory of the forms. */
  struct zf_noise_shape *shape; /* [params] */
  struct zf_noise *mask;        /* [params] */
  float *basis;                 /* of all parameters */
  uint32_t basis_start;         /* what it is made from: first step of its period (0: none), seed */
  uint64_t basis_seed;
  float *delta;   /* coordinates of the largest parameter that moves as a whole */
  double *factor; /* [probes] lengths of the directions of a step */
};

/* --- used by differences --- */

/* Adds a point to the round; then moves of it: along direction `probe` of the step, or along noise. */
void zf_zo_point(struct zf_zo_optimizer *optimizer);
void zf_zo_along(struct zf_zo_optimizer *optimizer, int probe, double distance);
void zf_zo_move(struct zf_zo_optimizer *optimizer, const struct zf_noise *noise, double distance);

/* Adds coefficient times direction `probe` of the step to the estimate; by example: of one example. */
void zf_zo_term(struct zf_zo_optimizer *optimizer, int probe, int64_t example, double coefficient);
/* Adds a term of an earlier step as it is. */
void zf_zo_old_term(struct zf_zo_optimizer *optimizer, const struct zf_zo_term *term);

/* eps as points use it: rounded to f32. */
double zf_zo_eps(const struct zf_zo *zo);

/* Sets bases for a step whose seed is `seed`. */
void zf_zo_begin(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed);

/* Floats of zf_zo_optimizer's delta. */
int64_t zf_zo_delta_floats(const struct zf_params *params, const struct zf_zo *zo);

/* The record of a step of the last ones, or NULL. */
const struct zf_zo_record *zf_zo_recall(const struct zf_zo_optimizer *optimizer, int64_t step);

/* The noise of a term, without parameter. */
struct zf_noise zf_zo_noise(const struct zf_zo_optimizer *optimizer, const struct zf_zo_term *term);

/* Number of blocks of the parameters, and the block of a step, 1.. (block-wise directions). */
int zf_zo_blocks(const struct zf_params *params);
int zf_zo_block_of(const struct zf_zo_optimizer *optimizer, uint32_t step);

#endif
