/* Settings, their check, and the numbers that follow from them. */
#include "zo/zo.h"

#include <math.h>

#include "base/err.h"
#include "zo/difference.h"
#include "zo/direction.h"
#include "zo/rule.h"

static int is_beta(double beta) {
  return beta >= 0 && beta < 1 && (float)beta < 1.0f; /* false for NaN */
}

static int check_moments(const struct zf_zo *zo) {
  const struct zf_rule_kind *rule = zf_rules[zo->rule];
  int moments = rule->states || rule->windowed || zo->form == ZF_FORM_CONE;
  if (moments && (!is_beta(zo->beta1) || !is_beta(zo->beta2)))
    return zf_error(ZF_EUSAGE, "%s: expected betas in [0, 1), found %g and %g", rule->name,
                    zo->beta1, zo->beta2);
  if (rule->states >> ZF_STATE_SQUARE & 1 &&
      (!((float)zo->adam_eps > 0) || !isfinite((float)zo->adam_eps)))
    return zf_error(ZF_EUSAGE, "%s: expected an eps > 0 in the range of f32, found %g", rule->name,
                    zo->adam_eps);
  if (zo->window && !rule->windowed)
    return zf_error(ZF_EUSAGE, "%s: has no window of steps", rule->name);
  if (zo->window < 0 || zo->window > 1000)
    return zf_error(ZF_EUSAGE, "%s: expected a window of at most 1000 steps, found %d", rule->name,
                    zo->window);
  if (zo->rule == ZF_RULE_TRUST && !(zo->trust > 0))
    return zf_error(ZF_EUSAGE, "trust: expected a share above 0, found %g", zo->trust);
  return 0;
}

static int check_pair(int bad, const char *left, const char *right) {
  return bad ? zf_error(ZF_EUSAGE, "%s does not go with %s", left, right) : 0;
}

/* Rows that do not go together. */
static int check_rows(const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  const struct zf_difference *difference = zf_differences[zo->difference];
  const struct zf_rule_kind *rule = zf_rules[zo->rule];
  int factors = direction->prepare != NULL, blocks = zo->form == ZF_FORM_BLOCKS,
      masked =
          zo->form == ZF_FORM_SMALL || zo->form == ZF_FORM_RANDOM || zo->form == ZF_FORM_SCALED,
      others = direction->explicit_terms || difference->explicit_terms;
  int anchor = zo->difference == ZF_DIFFERENCE_ANCHOR,
      conservative = zo->difference == ZF_DIFFERENCE_CONSERVATIVE,
      plain = zo->rule == ZF_RULE_SGD && zo->clip == 0;
  int rc = check_pair(others && (factors || blocks),
                      direction->explicit_terms ? direction->name : difference->name,
                      "directions that change from step to step");
  if (!rc)
    rc = check_pair(direction->explicit_terms && difference->explicit_terms, direction->name,
                    difference->name);
  if (!rc)
    rc = check_pair((anchor || conservative) && !plain, difference->name,
                    "another rule than sgd, or a clip");
  if (!rc)
    rc = check_pair(zo->window && (factors || blocks || masked || others), "a window of steps",
                    "directions that change from step to step");
  if (!rc) rc = check_pair(rule->whole && (masked || blocks), rule->name, direction->name);
  if (!rc)
    rc = check_pair(zo->form == ZF_FORM_SCALED && !difference->curvature, "scaled",
                    "a difference other than curvature");
  if (!rc)
    rc = check_pair(direction->kind >= 0 && direction->kind != zo->direction, direction->name,
                    "noise that is not gaussian");
  return rc;
}

static int check_examples(const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  if (zo->examples < 0 || zo->examples > ZF_NOISE_EXAMPLES)
    return zf_error(ZF_EUSAGE,
                    "directions by example: expected at most %d examples a step, found %lld",
                    ZF_NOISE_EXAMPLES, (long long)zo->examples);
  if (!zo->examples) return 0;
  int rc = check_pair(!zf_differences[zo->difference]->by_example, "directions by example",
                      zf_differences[zo->difference]->name);
  if (!rc)
    rc = check_pair(direction->prepare || direction->expand || direction->states,
                    "directions by example", direction->name);
  return rc;
}

int zf_zo_check(const struct zf_zo *zo) {
  if (zo->rule < 0 || zo->rule >= ZF_RULES)
    return zf_error(ZF_EUSAGE, "update rule %d is not known", zo->rule);
  if (zo->form < 0 || zo->form >= ZF_FORMS)
    return zf_error(ZF_EUSAGE, "form of directions %d is not known", zo->form);
  if (zo->difference < 0 || zo->difference >= ZF_DIFFERENCES)
    return zf_error(ZF_EUSAGE, "difference %d is not known", zo->difference);
  if (zo->streams < 0 || zo->streams > ZF_MAXSTREAM)
    return zf_error(ZF_EUSAGE, "expected 1 to %d streams, found %d", ZF_MAXSTREAM, zo->streams);
  int rc = check_examples(zo);
  if (!rc) rc = check_moments(zo);
  if (!rc) rc = check_rows(zo);
  const struct zf_direction *direction = zf_directions[zo->form];
  if (!rc && direction->check) rc = direction->check(zo);
  if (rc) return rc;
  if (zo->difference == ZF_DIFFERENCE_BAYES && zo->probes > ZF_ZO_MAXBAYES)
    return zf_error(ZF_EUSAGE, "bayes: expected at most %d probes, found %d", ZF_ZO_MAXBAYES,
                    zo->probes);
  if (zo->difference == ZF_DIFFERENCE_BATCHED && zo->probes < 2)
    return zf_error(ZF_EUSAGE, "batched: expected at least 2 probes, found %d", zo->probes);
  if (zo->difference == ZF_DIFFERENCE_ANCHOR && (zo->refresh < 1 || zo->refresh > 20))
    return zf_error(ZF_EUSAGE, "anchor: expected a refresh of 1 to 20 steps, found %lld",
                    (long long)zo->refresh);
  if (zo->difference == ZF_DIFFERENCE_ANCHOR && zo->probes * (1 + 2 * zo->refresh) > ZF_MAXTERM)
    return zf_error(ZF_EUSAGE, "anchor: expected fewer probes or a smaller refresh");
  if (zo->difference == ZF_DIFFERENCE_CONSERVATIVE && zo->probes > ZF_MAXTERM)
    return zf_error(ZF_EUSAGE, "conservative: expected at most %d probes, found %d", ZF_MAXTERM,
                    zo->probes);
  if (!(zo->alpha >= 0 && zo->alpha <= 1.875) || !(zo->clip >= 0))
    return zf_error(ZF_EUSAGE, "expected alpha from 0 to 1.875 and a clip of at least 0");
  return 0;
}

int64_t zf_zo_losses(const struct zf_zo *zo) {
  return zf_differences[zo->difference]->losses(zo);
}

int64_t zf_zo_terms(const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  int64_t terms = zf_differences[zo->difference]->terms(zo);
  if (zo->examples) terms *= zo->examples;
  return terms * (direction->noises ? direction->noises(zo) : 1);
}

int zf_zo_explicit(const struct zf_zo *zo) {
  return zf_directions[zo->form]->explicit_terms || zf_differences[zo->difference]->explicit_terms;
}

unsigned zf_zo_states(const struct zf_zo *zo) {
  unsigned rule = zo->window ? 0 : zf_rules[zo->rule]->states;
  return rule | zf_directions[zo->form]->states;
}

int zf_zo_streams(const struct zf_zo *zo) {
  return zo->streams ? zo->streams : 2;
}

int64_t zf_zo_memory(const struct zf_zo *zo) {
  const struct zf_direction *direction = zf_directions[zo->form];
  const struct zf_difference *difference = zf_differences[zo->difference];
  int64_t memory = zo->window;
  if (direction->memory && direction->memory(zo) > memory) memory = direction->memory(zo);
  if (difference->memory && difference->memory(zo) > memory) memory = difference->memory(zo);
  if (zo->clip > 0 && memory < ZF_ZO_CLIP_STEPS) memory = ZF_ZO_CLIP_STEPS;
  return memory;
}

void zf_zo_summary(const struct zf_zo *zo, const struct zf_zo_estimate *estimate, double *loss,
                   double *square) {
  const struct zf_difference *difference = zf_differences[zo->difference];
  int64_t losses = zf_zo_losses(zo), terms = zf_zo_terms(zo);
  *loss = difference->centre(zo, estimate->loss);
  *square = 0;
  if (zo->examples && zo->difference == ZF_DIFFERENCE_CENTRAL) {
    for (int i = 0; i < zo->probes; i++) {
      double g = zf_zo_gradient(zo, estimate, i);
      *square += g * g / zo->probes;
    }
  } else {
    for (int64_t i = 0; i < terms; i++)
      *square += estimate->term[i].coefficient * estimate->term[i].coefficient / zo->probes;
  }
  for (int64_t i = 0; i < losses; i++)
    if (!isfinite(estimate->loss[i])) *loss = NAN;
  for (int64_t i = 0; i < terms; i++)
    if (!isfinite(estimate->term[i].coefficient)) *square = NAN;
}

double zf_zo_gradient(const struct zf_zo *zo, const struct zf_zo_estimate *estimate, int probe) {
  int64_t terms = zf_zo_terms(zo);
  if (zo->examples && zo->difference == ZF_DIFFERENCE_CENTRAL)
    return (estimate->loss[2 * probe] - estimate->loss[2 * probe + 1]) /
           (2 * (double)(float)zo->eps);
  for (int64_t i = 0; i < terms; i++)
    if (estimate->term[i].probe == probe && estimate->term[i].coefficient != 0)
      return estimate->term[i].coefficient;
  return 0;
}

const char *zf_zo_form_name(const struct zf_zo *zo) {
  return zf_directions[zo->form]->name;
}

const char *zf_zo_difference_name(const struct zf_zo *zo) {
  return zf_differences[zo->difference]->name;
}

const char *zf_zo_rule_name(const struct zf_zo *zo) {
  return zf_rules[zo->rule]->name;
}

int zf_zo_is_smooth(const struct zf_zo *zo) {
  return zf_differences[zo->difference]->smooth;
}

int zf_zo_is_normalized(const struct zf_zo *zo) {
  return zf_rules[zo->rule]->normalizes;
}
