/* The estimate of a step: points are planned, evaluated in passes of some streams, and combined. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "zo/difference.h"
#include "zo/direction.h"

/* --- the last steps --- */

const struct zf_zo_record *zf_zo_recall(const struct zf_zo_optimizer *optimizer, int64_t step) {
  if (step < 1 || !optimizer->memory) return NULL;
  const struct zf_zo_record *record = &optimizer->record[step % optimizer->memory];
  return record->step == step ? record : NULL;
}

/* Masks are drawn by the seed of step 1, also in a branch that takes another seed. */
static void set_first_seed(struct zf_zo_optimizer *optimizer, uint64_t seed) {
  for (int64_t i = 0; i < optimizer->params->count; i++) optimizer->mask[i].seed = seed;
}

void zf_zo_remember(const struct zf_params *params, const struct zf_zo_step *step) {
  struct zf_zo_optimizer *optimizer = params->optimizer;
  if (step->step == 1) set_first_seed(optimizer, step->seed);
  if (!optimizer->memory) return;
  struct zf_zo_record *record = &optimizer->record[step->step % (uint32_t)optimizer->memory];
  record->step = step->step;
  record->seed = step->seed;
  record->lr = step->lr;
  memcpy(record->loss, step->estimate.loss, (size_t)optimizer->losses * sizeof *record->loss);
  memcpy(record->term, step->estimate.term, (size_t)optimizer->terms * sizeof *record->term);
}

/* --- points --- */

double zf_zo_eps(const struct zf_zo *zo) {
  return (double)(float)zo->eps;
}

struct zf_noise zf_zo_noise(const struct zf_zo_optimizer *optimizer,
                            const struct zf_zo_term *term) {
  const struct zf_zo_record *record = zf_zo_recall(optimizer, term->step);
  uint64_t seed = record ? record->seed : optimizer->zo.seed;
  struct zf_noise noise =
      zf_perturb_along(seed, term->step, term->probe, optimizer->zo.direction, 0).direction;
  if (term->example) zf_noise_example(&noise, term->example - 1);
  return noise;
}

void zf_zo_point(struct zf_zo_optimizer *optimizer) {
  assert(optimizer->points < optimizer->losses);
  optimizer->move_end[optimizer->points++] = optimizer->moves;
}

void zf_zo_move(struct zf_zo_optimizer *optimizer, const struct zf_noise *noise, double distance) {
  assert(optimizer->points && optimizer->moves < optimizer->max_moves);
  optimizer->move[optimizer->moves++] = (struct zf_zo_move){*noise, (float)distance};
  optimizer->move_end[optimizer->points - 1] = optimizer->moves;
}

/* Noises that make up a direction of the step. */
static int expand(const struct zf_zo_optimizer *optimizer, int probe, struct zf_zo_term *term) {
  const struct zf_direction *direction = zf_directions[optimizer->zo.form];
  if (direction->expand) return direction->expand(optimizer, probe, term);
  term[0] = (struct zf_zo_term){1, optimizer->step, (uint16_t)probe, 0};
  return 1;
}

void zf_zo_along(struct zf_zo_optimizer *optimizer, int probe, double distance) {
  struct zf_zo_term term[ZF_MAXTERM];
  int count = expand(optimizer, probe, term);
  for (int i = 0; i < count; i++) {
    struct zf_noise noise = zf_zo_noise(optimizer, &term[i]);
    if (term[i].step == optimizer->step) noise.seed = optimizer->zo.seed;
    zf_zo_move(optimizer, &noise, distance * term[i].coefficient);
  }
}

/* --- terms --- */

static void add_term(struct zf_zo_optimizer *optimizer, struct zf_zo_term term) {
  int64_t free_term = 0;
  while (free_term < optimizer->terms && optimizer->term[free_term].step) free_term++;
  assert(free_term < optimizer->terms);
  optimizer->term[free_term] = term;
}

void zf_zo_term(struct zf_zo_optimizer *optimizer, int probe, int64_t example, double coefficient) {
  struct zf_zo_term term[ZF_MAXTERM];
  if (example >= 0) {
    int64_t number = probe * optimizer->zo.examples + example;
    optimizer->term[number] =
        (struct zf_zo_term){coefficient, optimizer->step, (uint16_t)probe, (uint16_t)(1 + example)};
    return;
  }
  int count = expand(optimizer, probe, term);
  for (int i = 0; i < count; i++) {
    term[i].coefficient *= coefficient;
    add_term(optimizer, term[i]);
  }
}

void zf_zo_old_term(struct zf_zo_optimizer *optimizer, const struct zf_zo_term *term) {
  add_term(optimizer, *term);
}

/* --- passes --- */

static int same_noise(const struct zf_noise *a, const struct zf_noise *b) {
  return a->seed == b->seed && a->step == b->step && a->probe == b->probe && a->use == b->use;
}

/* A pass over some points. */
struct pass {
  struct zf_perturb perturb;
  struct zf_noise noise[ZF_MAXTERM];
  float mix[ZF_MAXSTREAM][ZF_MAXTERM];
  int points, noises;
};

/* Order of noises: sums of several have the same bits whatever points share a pass. */
static int comes_before(const struct zf_noise *a, const struct zf_noise *b) {
  if (a->step != b->step) return a->step < b->step;
  if (a->probe != b->probe) return a->probe < b->probe;
  return a->use != b->use ? a->use < b->use : a->seed < b->seed;
}

/* Number of the noise in the pass, which it enters if there is room; -1: there is none. */
static int enter_noise(struct pass *pass, const struct zf_noise *noise, int max) {
  int i = 0;
  while (i < pass->noises && comes_before(&pass->noise[i], noise)) i++;
  if (i < pass->noises && same_noise(&pass->noise[i], noise)) return i;
  if (pass->noises == max) return -1;
  size_t behind = (size_t)(pass->noises++ - i);
  memmove(pass->noise + i + 1, pass->noise + i, behind * sizeof *pass->noise);
  pass->noise[i] = *noise;
  for (int point = 0; point <= pass->points && point < ZF_MAXSTREAM; point++) {
    memmove(pass->mix[point] + i + 1, pass->mix[point] + i, behind * sizeof(float));
    pass->mix[point][i] = 0;
  }
  return i;
}

/* Adds point number `index`; 0 where it does not fit. */
static int add_point(struct pass *pass, const struct zf_zo_optimizer *optimizer, int index) {
  int max = optimizer->zo.examples ? 1 : ZF_MAXTERM;
  struct pass before = *pass;
  float *mix = pass->mix[pass->points];
  memset(mix, 0, sizeof pass->mix[0]);
  for (int64_t i = index ? optimizer->move_end[index - 1] : 0; i < optimizer->move_end[index];
       i++) {
    int number = enter_noise(pass, &optimizer->move[i].noise, max);
    if (number < 0) {
      *pass = before;
      return 0;
    }
    mix[number] += optimizer->move[i].distance;
  }
  pass->points++;
  return 1;
}

/* Fills the streams from the pass' points; `flat`: memory for its mix. */
static void finish_pass(struct pass *pass, const struct zf_zo_optimizer *optimizer, float *flat) {
  struct zf_perturb *perturb = &pass->perturb;
  *perturb = zf_perturb_none();
  perturb->streams.count = pass->points;
  perturb->noisy = pass->noises > 0;
  perturb->block = zf_zo_block_of(optimizer, optimizer->step);
  perturb->by_example = optimizer->zo.examples > 0;
  if (pass->noises) perturb->direction = pass->noise[0];
  if (pass->noises < 2) {
    for (int i = 0; i < pass->points; i++)
      perturb->streams.eps[i] = pass->noises ? pass->mix[i][0] : 0;
    return;
  }
  perturb->term = pass->noise;
  perturb->streams.terms = pass->noises;
  perturb->streams.mix = flat;
  for (int i = 0; i < pass->points; i++)
    memcpy(flat + i * pass->noises, pass->mix[i], (size_t)pass->noises * sizeof *flat);
}

/* Evaluates the points of a round; their losses follow the `known` ones. */
static int evaluate(struct zf_zo_optimizer *optimizer, int64_t known, zf_zo_loss loss, void *ctx) {
  struct pass pass;
  float flat[ZF_MAXSTREAM * ZF_MAXTERM];
  int streams = zf_zo_streams(&optimizer->zo);
  int64_t examples = optimizer->zo.examples;
  for (int first = 0; first < optimizer->points; first += pass.points) {
    struct zf_zo_losses losses = {{0}, NULL};
    pass.points = pass.noises = 0;
    while (pass.points < streams && first + pass.points < optimizer->points &&
           add_point(&pass, optimizer, first + pass.points))
      continue;
    assert(pass.points);
    finish_pass(&pass, optimizer, flat);
    int rc = loss(ctx, &pass.perturb, optimizer->wide, &losses);
    if (rc) return rc;
    memcpy(optimizer->loss + known + first, losses.batch,
           (size_t)pass.points * sizeof *losses.batch);
    if (examples && losses.example)
      memcpy(optimizer->example + (known + first) * examples, losses.example,
             (size_t)(pass.points * examples) * sizeof *losses.example);
  }
  return 0;
}

/* --- the clip --- */

static int ascending(const void *left, const void *right) {
  double x = *(const double *)left, y = *(const double *)right;
  return (x > y) - (x < y);
}

/* The median of |coefficient| over the terms of the last steps that were their own; 0: there are too
 * few. */
static double median_coefficient(struct zf_zo_optimizer *optimizer) {
  int64_t count = 0, steps = 0;
  for (int64_t back = 1; back <= ZF_ZO_CLIP_STEPS; back++) {
    const struct zf_zo_record *record = zf_zo_recall(optimizer, (int64_t)optimizer->step - back);
    steps += record != NULL;
    for (int64_t i = 0; record && i < optimizer->terms; i++)
      if (record->term[i].step == record->step && record->term[i].coefficient != 0)
        optimizer->sorted[count++] = fabs(record->term[i].coefficient);
  }
  if (steps < ZF_ZO_CLIP_STEPS / 10 || !count) return 0;
  qsort(optimizer->sorted, (size_t)count, sizeof *optimizer->sorted, ascending);
  return optimizer->sorted[count / 2];
}

static void clip(struct zf_zo_optimizer *optimizer) {
  double bound = optimizer->zo.clip > 0 ? optimizer->zo.clip * median_coefficient(optimizer) : 0;
  for (int64_t i = 0; i < (bound > 0 ? optimizer->terms : 0); i++) {
    double *coefficient = &optimizer->term[i].coefficient;
    if (fabs(*coefficient) > bound) *coefficient = *coefficient > 0 ? bound : -bound;
  }
}

/* --- a step --- */

static void begin(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed) {
  const struct zf_direction *direction = zf_directions[optimizer->zo.form];
  if (optimizer->begun == step) return;
  if (step == 1) set_first_seed(optimizer, seed);
  if (direction->begin) direction->begin(optimizer, step, seed);
  optimizer->begun = step;
}

void zf_zo_begin(struct zf_zo_optimizer *optimizer, uint32_t step, uint64_t seed) {
  begin(optimizer, step, seed);
}

int zf_zo_estimate(const struct zf_params *params, uint32_t step, double lr, zf_zo_loss loss,
                   void *ctx, const struct zf_zo_estimate *estimate) {
  struct zf_zo_optimizer *optimizer = params->optimizer;
  const struct zf_difference *difference = zf_differences[optimizer->zo.difference];
  int64_t known = 0;
  optimizer->step = step;
  optimizer->lr = lr;
  optimizer->loss = estimate->loss;
  optimizer->term = estimate->term;
  memset(estimate->loss, 0, (size_t)optimizer->losses * sizeof *estimate->loss);
  memset(estimate->term, 0, (size_t)optimizer->terms * sizeof *estimate->term);
  begin(optimizer, step, optimizer->zo.seed);
  for (int round = 0;; round++) {
    optimizer->points = optimizer->wide = 0;
    optimizer->moves = 0;
    if (!difference->plan(optimizer, round)) break;
    int rc = evaluate(optimizer, known, loss, ctx);
    if (rc) return rc;
    known += optimizer->points;
  }
  difference->combine(optimizer);
  clip(optimizer);
  return 0;
}

int zf_zo_scan(const struct zf_params *params, uint32_t step, const double *distance, int count,
               zf_zo_loss loss, void *ctx, double *out) {
  struct zf_zo_optimizer *optimizer = params->optimizer;
  optimizer->step = step;
  begin(optimizer, step, optimizer->zo.seed);
  for (int i = 0; i < count; i++) {
    double *kept = optimizer->loss;
    optimizer->points = optimizer->wide = 0;
    optimizer->moves = 0;
    zf_zo_point(optimizer);
    zf_zo_along(optimizer, 0, distance[i]);
    optimizer->loss = out + i;
    int rc = evaluate(optimizer, 0, loss, ctx);
    optimizer->loss = kept;
    if (rc) return rc;
  }
  return 0;
}

/* --- blocks --- */

int zf_zo_blocks(const struct zf_params *params) {
  int blocks = 1;
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].trained && params->param[i].block > blocks)
      blocks = params->param[i].block;
  return blocks;
}

int zf_zo_block_of(const struct zf_zo_optimizer *optimizer, uint32_t step) {
  if (optimizer->zo.form != ZF_FORM_BLOCKS) return 0;
  return 1 + (int)((step - 1) % (uint32_t)zf_zo_blocks(optimizer->params));
}
