/* Distillation: the divergence from a teacher's predictions, which the scorer takes (eval/distill.h). */
#include "objective/objective_internal.h"

static int divergences(struct zf_objective *objective, const struct zf_objective_example *example,
                       int64_t count, double *value) {
  (void)objective;
  for (int64_t i = 0; i < count; i++) value[i] = example[i].score->divergence;
  return 0;
}

const struct zf_objective_kind zf_objective_distill_kind = {
    .name = "distill",
    .needs = ZF_NEEDS_SCORES | ZF_NEEDS_TEACHER,
    .types = 1u << ZF_TASK_CLASSIFICATION | 1u << ZF_TASK_COMPLETION | 1u << ZF_TASK_MASKED |
             1u << ZF_TASK_LABELS | 1u << ZF_TASK_TEXT | 1u << ZF_TASK_CHAT | 1u << ZF_TASK_ALPACA |
             1u << ZF_TASK_SEGMENTS,
    .slope = 1,
    .values = divergences};
