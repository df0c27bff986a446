/* Accuracy: the share of wrong choices. */
#include "objective/objective_internal.h"

static int wrong_choices(struct zf_objective *objective, const struct zf_objective_example *example,
                         int64_t count, double *value) {
  (void)objective;
  for (int64_t i = 0; i < count; i++) value[i] = example[i].score->choice != example[i].label;
  return 0;
}

const struct zf_objective_kind zf_objective_accuracy = {
    .name = "accuracy",
    .needs = ZF_NEEDS_SCORES,
    .types = 1u << ZF_TASK_CLASSIFICATION | 1u << ZF_TASK_MASKED | 1u << ZF_TASK_LABELS |
             1u << ZF_TASK_PREFERENCE,
    .piecewise = 1,
    .values = wrong_choices};
