/* Losses of preference pairs, from the log-probabilities of the chosen and the rejected text.
 *
 * dpo    -log sigmoid(beta ((c - c0) - (r - r0)))   c, r: sums over the tokens, c0, r0 the same at the start
 *        (Rafailov et al. 2023, equation 7)
 * orpo   -mean log p(chosen) - lambda log sigmoid(log odds(chosen) - log odds(rejected)),
 *        odds(p) = p / (1 - p) of p = exp(mean log p)   (Hong et al. 2024, equations 4 to 6) */
#include <math.h>

#include "objective/objective_internal.h"

/* -log sigmoid(x) */
static double softplus_of_minus(double x) {
  return x > 0 ? log1p(exp(-x)) : log1p(exp(x)) - x;
}

static int dpo(struct zf_objective *objective, const struct zf_objective_example *example,
               int64_t count, double *value) {
  for (int64_t i = 0; i < count; i++) {
    const double *pair = example[i].score->pair, *reference = example[i].reference;
    double margin = (pair[0] - reference[0]) - (pair[1] - reference[1]);
    value[i] = softplus_of_minus(objective->settings->beta * margin);
  }
  return 0;
}

static double log_odds(double mean) {
  return mean - log(-expm1(mean));
}

static int orpo(struct zf_objective *objective, const struct zf_objective_example *example,
                int64_t count, double *value) {
  for (int64_t i = 0; i < count; i++) {
    const struct zf_score *score = example[i].score;
    double chosen = score->pair[0] / (double)score->pair_targets[0],
           rejected = score->pair[1] / (double)score->pair_targets[1];
    value[i] = -chosen + objective->settings->lambda *
                             softplus_of_minus(log_odds(chosen) - log_odds(rejected));
  }
  return 0;
}

const struct zf_objective_kind zf_objective_dpo = {.name = "dpo",
                                                   .needs = ZF_NEEDS_SCORES | ZF_NEEDS_REFERENCE,
                                                   .types = 1u << ZF_TASK_PREFERENCE,
                                                   .values = dpo};
const struct zf_objective_kind zf_objective_orpo = {
    .name = "orpo", .needs = ZF_NEEDS_SCORES, .types = 1u << ZF_TASK_PREFERENCE, .values = orpo};
