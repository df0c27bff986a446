/* The update, of one step or of a replay of many: prepares terms for the kernel, parameter by parameter. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "zo/difference.h"
#include "zo/direction.h"
#include "zo/rule.h"

/* Terms that a replay prepares at once: 36 bytes each. */
enum { REPLAY_TERMS = 1 << 17 };

/* Terms of one update: with a window, of all its steps. */
static int64_t update_terms(const struct zf_zo *zo) {
  return zf_zo_terms(zo) * (zo->window ? zo->window : 1);
}

/* Memory of some prepared steps. */
struct zf_zo_prepared {
  struct zf_update_step *step; /* [steps] */
  struct zf_noise *direction;  /* [steps][terms] */
  float *coefficient;          /* [steps][terms]: of all parameters */
  float *active;               /* [steps][terms]: of the parameter that is updated */
  float *bend;                 /* [steps][terms] */
  uint32_t *of_step;           /* [steps][terms] step of a term */
  int *window_end;             /* [steps][window] */
  float *window_first, *window_second;
  int64_t steps, terms, window;
};

static void free_prepared(struct zf_zo_prepared *prepared) {
  free(prepared->step);
  free(prepared->direction);
  free(prepared->coefficient);
  free(prepared->active);
  free(prepared->bend);
  free(prepared->of_step);
  free(prepared->window_end);
  free(prepared->window_first);
  free(prepared->window_second);
}

static int new_prepared(struct zf_zo_prepared *prepared, const struct zf_zo *zo, int64_t steps) {
  int64_t terms = update_terms(zo), window = zo->window ? zo->window : 1;
  *prepared = (struct zf_zo_prepared){.steps = steps, .terms = terms, .window = window};
  prepared->step = zf_calloc(steps, sizeof *prepared->step);
  prepared->direction = zf_calloc(steps * terms, sizeof *prepared->direction);
  prepared->coefficient = zf_calloc(steps * terms, sizeof *prepared->coefficient);
  prepared->active = zf_calloc(steps * terms, sizeof *prepared->active);
  prepared->bend = zf_calloc(steps * terms, sizeof *prepared->bend);
  prepared->of_step = zf_calloc(steps * terms, sizeof *prepared->of_step);
  prepared->window_end = zf_calloc(steps * window, sizeof *prepared->window_end);
  prepared->window_first = zf_calloc(steps * window, sizeof *prepared->window_first);
  prepared->window_second = zf_calloc(steps * window, sizeof *prepared->window_second);
  if (prepared->step && prepared->direction && prepared->coefficient && prepared->active &&
      prepared->bend && prepared->of_step && prepared->window_end && prepared->window_first &&
      prepared->window_second)
    return 0;
  free_prepared(prepared);
  return ZF_ENOMEM;
}

/* --- preparation --- */

static struct zf_update_adam adam_of(const struct zf_zo *zo, const struct zf_zo_step *step) {
  int corrects = zf_rules[zo->rule]->corrects && !zo->window;
  double first = corrects ? 1 - zf_zo_power(zo->beta1, step->step) : 1,
         second = corrects ? 1 - zf_zo_power(zo->beta2, step->step) : 1;
  return (struct zf_update_adam){
      .beta = {(float)zo->beta1, (float)zo->beta2},
      .rest = {(float)(1 - zo->beta1), (float)(1 - zo->beta2)},
      .rate = (float)(step->lr / first),
      .scale = (float)(1 / second),
      .eps = (float)zo->adam_eps,
  };
}

/* Adds the terms of a record, each times `factor`, behind the `count` terms of prepared step `index`. */
static int add_record(const struct zf_zo_prepared *prepared, int64_t index, int count,
                      const struct zf_zo_optimizer *optimizer, const struct zf_zo_step *record,
                      double factor) {
  const struct zf_zo *zo = &optimizer->zo;
  const struct zf_difference *difference = zf_differences[zo->difference];
  int64_t at = index * prepared->terms + count;
  for (int64_t i = 0; i < optimizer->terms; i++, at++) {
    const struct zf_zo_term *term = &record->estimate.term[i];
    struct zf_noise noise = zf_zo_noise(optimizer, term);
    if (term->step == record->step) noise.seed = record->seed;
    prepared->direction[at] = noise;
    prepared->coefficient[at] = (float)(factor * term->coefficient / zo->probes);
    prepared->of_step[at] = term->step;
    if (zo->form == ZF_FORM_SCALED)
      prepared->bend[at] =
          (float)(zo->alpha *
                  difference->curvature(zo, record->estimate.loss, (int)i % zo->probes) / 2 /
                  zo->probes);
  }
  return count + (int)optimizer->terms;
}

/* The terms of a window of steps that ends with `step`, the oldest first. */
static int add_window(const struct zf_zo_prepared *prepared, int64_t index,
                      const struct zf_zo_optimizer *optimizer, const struct zf_zo_step *step,
                      double factor) {
  const struct zf_zo *zo = &optimizer->zo;
  int64_t at = index * prepared->window;
  int count = 0, steps = 0, by_step = zf_rules[zo->rule]->window == ZF_UPDATE_WINDOW;
  int64_t available = zf_min64(zo->window, step->step);
  double all_first = 1 - zf_zo_power(zo->beta1, (uint32_t)available),
         all_second = 1 - zf_zo_power(zo->beta2, (uint32_t)available);
  for (int64_t back = available - 1; back >= 0; back--) {
    const struct zf_zo_record *old =
        back ? zf_zo_recall(optimizer, (int64_t)step->step - back) : NULL;
    if (back && !old) continue;
    struct zf_zo_step record = *step;
    if (old)
      record = (struct zf_zo_step){
          .step = old->step, .seed = old->seed, .estimate = {old->loss, old->term}};
    double first = (1 - zo->beta1) * zf_zo_power(zo->beta1, (uint32_t)back) / all_first,
           second = (1 - zo->beta2) * zf_zo_power(zo->beta2, (uint32_t)back) / all_second;
    count = add_record(prepared, index, count, optimizer, &record, by_step ? 1 : factor * first);
    prepared->window_first[at + steps] = (float)first;
    prepared->window_second[at + steps] = (float)second;
    prepared->window_end[at + steps++] = count;
  }
  prepared->step[index].window = (struct zf_update_window){
      prepared->window_end + at, prepared->window_first + at, prepared->window_second + at, steps};
  return count;
}

static enum zf_update_rule kernel_rule(const struct zf_zo *zo) {
  const struct zf_rule_kind *rule = zf_rules[zo->rule];
  return zo->window ? rule->window : rule->update;
}

static void prepare(const struct zf_zo_prepared *prepared, int64_t index,
                    const struct zf_zo_optimizer *optimizer, const struct zf_zo_step *step) {
  const struct zf_zo *zo = &optimizer->zo;
  struct zf_update_step *out = &prepared->step[index];
  double factor = kernel_rule(zo) == ZF_UPDATE_ADD ? -step->lr : 1;
  int64_t at = index * prepared->terms;
  *out = (struct zf_update_step){
      .direction = prepared->direction + at,
      .coefficient = prepared->active + at,
      .round = {.seed = step->seed, .step = step->step, .use = ZF_USE_ROUNDING},
      .keep = step->keep,
      .add = step->add,
      .adam = adam_of(zo, step),
  };
  out->terms = zo->window ? add_window(prepared, index, optimizer, step, factor)
                          : add_record(prepared, index, 0, optimizer, step, factor);
  if (zo->form == ZF_FORM_SCALED && step->lr != 0) {
    out->bend = prepared->bend + at;
    out->keep_curvature = (float)(1 - zo->alpha);
  }
}

/* Sets the parameter's number, decay and coefficients in every prepared step. */
static void set_param(const struct zf_zo_prepared *prepared,
                      const struct zf_zo_optimizer *optimizer, const struct zf_zo_step *step,
                      int64_t count, const struct zf_param *param, double decay) {
  int blocks = optimizer->zo.form == ZF_FORM_BLOCKS;
  for (int64_t i = 0; i < count * prepared->terms; i++) {
    prepared->direction[i].param = param->id;
    int moves = !blocks || zf_zo_block_of(optimizer, prepared->of_step[i]) == param->block;
    prepared->active[i] = moves ? prepared->coefficient[i] : 0;
  }
  for (int64_t i = 0; i < count; i++) {
    prepared->step[i].round.param = param->id;
    prepared->step[i].decay = param->decayed ? (float)(step[i].lr * decay) : 0.0f;
  }
}

/* --- parameters that move as a whole, or along factors --- */

enum { ROWS = 16, TILE = 4096 /* rows and elements that are changed at once */ };

/* W += left right, [rows][columns] as stored, decayed and rounded: left [rows][rank], element (r, k) at
 * r*left_row + k*left_column. */
static void add_product(const struct zf_param *param, const struct zf_update_step *step,
                        const float *left, int64_t left_row, int64_t left_column,
                        const float *right, int64_t rank, float *space) {
  int64_t rows = param->shape[0], columns = param->count / rows;
  float *values = space, *part = values + ROWS * columns;
  for (int64_t row = 0; row < rows; row += ROWS) {
    int64_t count = zf_min64(rows - row, ROWS), first = row * columns, all = count * columns;
    char *stored = (char *)param->data + zf_dtype_bytes(param->type, first);
    float *w = param->type == ZF_F32 ? (float *)(void *)stored : values;
    if (w == values) zf_expand(w, stored, param->type, all);
    if (step->decay != 0.0f)
      for (int64_t i = 0; i < all; i++) w[i] = fmaf(-step->decay, w[i], w[i]);
    for (int64_t i = 0; i < count * rank; i++)
      part[i] = left[(row + i / rank) * left_row + i % rank * left_column];
    zf_add_outer(w, columns, count, columns, part, right, rank);
    if (w == values) zf_round(stored, param->type, w, &step->round, first, all);
  }
}

/* W += change, element by element. */
static void add_elements(const struct zf_param *param, const struct zf_update_step *step,
                         const float *change) {
  float values[TILE];
  for (int64_t first = 0; first < param->count; first += TILE) {
    int64_t count = zf_min64(param->count - first, TILE);
    char *stored = (char *)param->data + zf_dtype_bytes(param->type, first);
    float *w = param->type == ZF_F32 ? (float *)(void *)stored : values;
    if (w == values) zf_expand(w, stored, param->type, count);
    for (int64_t i = 0; i < count; i++) {
      if (step->decay != 0.0f) w[i] = fmaf(-step->decay, w[i], w[i]);
      w[i] += change[first + i];
    }
    if (w == values) zf_round(stored, param->type, w, &step->round, first, count);
  }
}

/* Adds the change of the coordinates to the weights.  space: behind the change, as zf_zo_delta_floats
 * says. */
static void add_change(const struct zf_param *param, const struct zf_update_step *step,
                       const float *change, float *space) {
  const struct zf_param_factors *factors = &param->factors;
  int64_t rank = factors->rank, out = factors->out, in = factors->in;
  if (!rank) {
    add_elements(param, step, change);
    return;
  }
  float *outer = space;
  if (factors->left) {
    memset(outer, 0, (size_t)(out * rank) * sizeof *outer);
    zf_add_outer(outer, rank, out, rank, factors->left, change, rank);
    for (int64_t i = 0; i < out * rank; i++) outer[i] *= factors->scale;
  } else {
    memcpy(outer, change, (size_t)(out * rank) * sizeof *outer);
  }
  space += out * rank;
  if (!param->transposed) {
    add_product(param, step, outer, rank, 1, factors->right, rank, space);
    return;
  }
  for (int64_t i = 0; i < out; i++) /* outer^T [rank][out] */
    for (int64_t k = 0; k < rank; k++) space[k * out + i] = outer[i * rank + k];
  add_product(param, step, factors->right, 1, in, space, rank, space + rank * out);
}

/* Floats of a parameter's change and the space behind it. */
static int64_t change_floats(const struct zf_param *param, const struct zf_rule_kind *rule) {
  const struct zf_param_factors *factors = &param->factors;
  int64_t rank = factors->rank, sum = zf_param_coordinates(param);
  if (!rank && !rule->whole) return 0;
  if (rank) {
    int64_t columns = param->count / param->shape[0];
    int64_t space = 2 * factors->out * rank + ROWS * (columns + rank),
            overlap = rank * (factors->in + rank);
    sum = zf_max64(sum + space, overlap);
  }
  return sum + (rule->whole ? 2 * (2 * ZF_MUON_SIDE + 1) * ZF_MUON_SIDE + 2 : 0);
}

int64_t zf_zo_delta_floats(const struct zf_params *params, const struct zf_zo *zo) {
  int64_t floats = 0;
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].trained)
      floats = zf_max64(floats, change_floats(&params->param[i], zf_rules[zo->rule]));
  return floats;
}

/* One step of a parameter whose change is made apart from it. */
static void move_apart(const struct zf_zo_optimizer *optimizer, const struct zf_param *param,
                       const struct zf_update *update, double lr) {
  const struct zf_rule_kind *rule = zf_rules[optimizer->zo.rule];
  int64_t count = zf_param_coordinates(param);
  int64_t columns = param->factors.rank ? param->factors.rank
                    : param->ndim > 1   ? param->count / param->shape[0]
                                        : 1;
  float *change = optimizer->delta, *space = change + (count + 1) / 2 * 2;
  struct zf_update_step step = *update->step;
  struct zf_update apart = *update;
  memset(change, 0, (size_t)count * sizeof *change);
  step.decay = 0;
  if (rule->whole) step.adam.rate = 0;
  apart.step = &step;
  zf_update(change, ZF_F32, count, &apart);
  if (rule->whole) {
    memcpy(change, param->state[ZF_STATE_MEAN], (size_t)count * sizeof *change);
    rule->whole(&optimizer->zo, param, change, count / columns, columns, lr, space);
  }
  add_change(param, update->step, change, space);
}

/* --- application --- */

static int moves_apart(const struct zf_zo *zo, const struct zf_param *param) {
  return param->factors.rank || zf_rules[zo->rule]->whole;
}

/* Applies prepared steps to all parameters: to each in one pass, where none moves apart. */
static void apply(const struct zf_params *params, const struct zf_zo_prepared *prepared,
                  const struct zf_zo_step *step, int64_t count, double decay, const double *mean) {
  const struct zf_zo_optimizer *optimizer = params->optimizer;
  struct zf_update update = {.step = prepared->step,
                             .steps = count,
                             .mean = mean != NULL,
                             .start = mean ? *mean : 0,
                             .rule = kernel_rule(&optimizer->zo)};
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (!param->trained) continue;
    for (int j = 0; j < ZF_UPDATE_STATES; j++) update.state[j] = param->state[j];
    update.shape = param->shape_of_noise;
    update.curvature = param->state[ZF_STATE_CURVATURE];
    set_param(prepared, optimizer, step, count, param, decay);
    if (moves_apart(&optimizer->zo, param))
      move_apart(optimizer, param, &update, step->lr);
    else
      zf_update(param->data, param->type, param->count, &update);
  }
}

static void prepare_and_remember(const struct zf_params *params,
                                 const struct zf_zo_prepared *prepared, int64_t index,
                                 const struct zf_zo_step *step) {
  zf_zo_begin(params->optimizer, step->step, step->seed);
  prepare(prepared, index, params->optimizer, step);
  zf_zo_remember(params, step);
  params->optimizer->begun = 0;
}

void zf_zo_update(const struct zf_params *params, const struct zf_zo_step *step, double decay) {
  const struct zf_zo_prepared *prepared = params->optimizer->prepared;
  prepare_and_remember(params, prepared, 0, step);
  apply(params, prepared, step, 1, decay, NULL);
}

/* Steps that a replay applies to a tile of a parameter before the next tile.  A mean needs all at once,
 * because it is kept in double only while its tile is; a parameter that moves apart needs each alone. */
static int64_t steps_at_once(const struct zf_params *params, int64_t count, const double *mean) {
  const struct zf_zo *zo = &params->optimizer->zo;
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].trained && moves_apart(zo, &params->param[i])) return 1;
  int64_t steps = REPLAY_TERMS / update_terms(zo);
  if (mean || steps > count) return count;
  return steps ? steps : 1;
}

int zf_zo_replay(const struct zf_params *params, const struct zf_zo_step *step, int64_t count,
                 double decay, const double *mean) {
  int64_t steps = steps_at_once(params, count, mean);
  struct zf_zo_prepared prepared;
  if (mean && steps < count)
    return zf_error(ZF_EUSAGE,
                    "this method has no mean over its steps: its changes of a matrix are made as a "
                    "whole");
  int rc = new_prepared(&prepared, &params->optimizer->zo, steps + 1);
  if (rc) return zf_error(rc, "out of memory for a replay of %lld steps", (long long)count);
  for (int64_t i = 0; i < count; i += steps) {
    int64_t part = zf_min64(count - i, steps);
    for (int64_t j = 0; j < part; j++) prepare_and_remember(params, &prepared, j, step + i + j);
    apply(params, &prepared, step + i, part, decay, mean);
  }
  free_prepared(&prepared);
  return 0;
}

/* --- opening --- */

int zf_zo_prepare(struct zf_params *params, const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  for (int64_t i = 0; i < params->count; i++) {
    const struct zf_param *param = &params->param[i];
    if (!direction->base_only || !param->trained) continue;
    if (param->zero_start && param->origin == ZF_ORIGIN_BASE)
      return zf_error(ZF_EUSAGE,
                      "%s: '%s' are changes, which begin as 0: such directions need weights",
                      direction->name, param->name);
    if (param->origin != ZF_ORIGIN_BASE)
      return zf_error(ZF_EUSAGE,
                      "%s: '%s' is an adapter's: such directions need the base's weights",
                      direction->name, param->name);
  }
  if (!direction->prepare) return 0;
  direction->prepare(params, zo);
  for (int64_t i = 0; i < params->count; i++)
    if (params->param[i].factors.rank) return 0;
  return zf_error(
      ZF_EUSAGE, "%s: no trained matrix has sides of twice the rank %lld: a smaller zo_rank may do",
      direction->name, (long long)zo->rank);
}

int64_t zf_zo_bytes(const struct zf_params *params, const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  int64_t terms = zf_zo_terms(zo), losses = zf_zo_losses(zo), states = 0;
  int64_t record = 8 * losses + (int64_t)sizeof(struct zf_zo_term) * terms + 64;
  for (int64_t i = 0; i < params->count; i++)
    for (int j = 0; j < ZF_PARAM_STATES; j++)
      if (params->param[i].trained && (zf_zo_states(zo) >> j & 1))
        states += 4 * zf_param_coordinates(&params->param[i]);
  return states + record * (1 + zf_zo_memory(zo)) + 48 * update_terms(zo) +
         4 * zf_zo_delta_floats(params, zo) + (direction->bytes ? direction->bytes(params, zo) : 0);
}

static int new_records(struct zf_zo_optimizer *optimizer) {
  int64_t memory = optimizer->memory;
  optimizer->record = zf_calloc(memory + 1, sizeof *optimizer->record);
  if (!optimizer->record) return ZF_ENOMEM;
  for (int64_t i = 0; i < memory; i++) {
    struct zf_zo_record *record = &optimizer->record[i];
    record->loss = zf_calloc(optimizer->losses, sizeof *record->loss);
    record->term = zf_calloc(optimizer->terms, sizeof *record->term);
    if (!record->loss || !record->term) return ZF_ENOMEM;
  }
  return 0;
}

static int new_arrays(struct zf_zo_optimizer *optimizer, const struct zf_params *params) {
  const struct zf_zo *zo = &optimizer->zo;
  int64_t examples = zo->examples, noises = ZF_MAXTERM;
  optimizer->max_moves = optimizer->losses * noises;
  optimizer->move = zf_calloc(optimizer->max_moves, sizeof *optimizer->move);
  optimizer->move_end = zf_calloc(optimizer->losses, sizeof *optimizer->move_end);
  optimizer->example = zf_calloc(optimizer->losses * examples + 1, sizeof *optimizer->example);
  optimizer->sorted =
      zf_calloc(zo->clip > 0 ? ZF_ZO_CLIP_STEPS * optimizer->terms : 1, sizeof *optimizer->sorted);
  optimizer->shape = zf_calloc(params->count, sizeof *optimizer->shape);
  optimizer->mask = zf_calloc(params->count, sizeof *optimizer->mask);
  optimizer->factor = zf_calloc(zo->probes, sizeof *optimizer->factor);
  optimizer->delta = zf_calloc(zf_zo_delta_floats(params, zo) + 2, sizeof *optimizer->delta);
  optimizer->prepared = zf_calloc(1, sizeof *optimizer->prepared);
  int complete = optimizer->move && optimizer->move_end && optimizer->example &&
                 optimizer->sorted && optimizer->shape && optimizer->mask && optimizer->factor &&
                 optimizer->delta && optimizer->prepared;
  return complete ? new_prepared(optimizer->prepared, zo, 1) : ZF_ENOMEM;
}

/* A diagonal curvature is a shape of every parameter. */
static void set_curvature(struct zf_zo_optimizer *optimizer, struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++) {
    struct zf_param *param = &params->param[i];
    if (!param->state[ZF_STATE_CURVATURE]) continue;
    optimizer->shape[i] =
        (struct zf_noise_shape){.limit = INFINITY, .curvature = param->state[ZF_STATE_CURVATURE]};
    param->shape_of_noise = &optimizer->shape[i];
  }
}

int zf_zo_open(struct zf_params *params, const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  int rc = zf_zo_check(zo);
  if (!rc) rc = zf_zo_prepare(params, zo);
  if (!rc && zf_zo_states(zo)) rc = zf_params_add_state(params, zf_zo_states(zo));
  if (rc) return rc;
  struct zf_zo_optimizer *optimizer = zf_calloc(1, sizeof *optimizer);
  if (!optimizer) return ZF_ENOMEM;
  params->optimizer = optimizer;
  optimizer->zo = *zo;
  optimizer->params = params;
  optimizer->losses = zf_zo_losses(zo);
  optimizer->terms = zf_zo_terms(zo);
  optimizer->memory = zf_zo_memory(zo);
  rc = new_records(optimizer);
  if (!rc) rc = new_arrays(optimizer, params);
  if (!rc && direction->open) rc = direction->open(optimizer, params);
  if (rc)
    zf_zo_close(params);
  else
    set_curvature(optimizer, params);
  return rc;
}

void zf_zo_close(struct zf_params *params) {
  struct zf_zo_optimizer *optimizer = params->optimizer;
  if (!optimizer) return;
  for (int64_t i = 0; i < params->count; i++) {
    params->param[i].shape_of_noise = NULL;
    params->param[i].factors = (struct zf_param_factors){0};
  }
  for (int64_t i = 0; optimizer->record && i < optimizer->memory; i++) {
    free(optimizer->record[i].loss);
    free(optimizer->record[i].term);
  }
  if (optimizer->prepared) free_prepared(optimizer->prepared);
  free(optimizer->prepared);
  free(optimizer->record);
  free(optimizer->move);
  free(optimizer->move_end);
  free(optimizer->example);
  free(optimizer->sorted);
  free(optimizer->shape);
  free(optimizer->mask);
  free(optimizer->factor);
  free(optimizer->basis);
  free(optimizer->delta);
  free(optimizer);
  params->optimizer = NULL;
}
