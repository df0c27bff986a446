/* Metrics of generated texts: 1 - the maximum over the right answers. */
#include <string.h>

#include "eval/textmetrics.h"
#include "objective/objective_internal.h"

static int distances(zf_text_metric metric, const struct zf_objective_example *example,
                     int64_t count, double *value) {
  for (int64_t i = 0; i < count; i++) {
    const char *answer = example[i].answers;
    double best = 0;
    for (int32_t j = 0; j < example[i].answer_count; j++, answer += strlen(answer) + 1) {
      double one;
      int rc = metric(&one, example[i].text, answer);
      if (rc) return rc;
      if (one > best) best = one;
    }
    value[i] = 1 - best;
  }
  return 0;
}

static int f1_distances(struct zf_objective *objective, const struct zf_objective_example *example,
                        int64_t count, double *value) {
  (void)objective;
  return distances(zf_word_f1, example, count, value);
}

static int match_distances(struct zf_objective *objective,
                           const struct zf_objective_example *example, int64_t count,
                           double *value) {
  (void)objective;
  return distances(zf_exact_match, example, count, value);
}

static int rouge_distances(struct zf_objective *objective,
                           const struct zf_objective_example *example, int64_t count,
                           double *value) {
  (void)objective;
  return distances(zf_rouge_l, example, count, value);
}

static int bleu_distances(struct zf_objective *objective,
                          const struct zf_objective_example *example, int64_t count,
                          double *value) {
  (void)objective;
  return distances(zf_bleu, example, count, value);
}

/* Types whose examples end in a text to generate. */
#define TYPES                                                                                      \
  (1u << ZF_TASK_COMPLETION | 1u << ZF_TASK_CHAT | 1u << ZF_TASK_ALPACA | 1u << ZF_TASK_SEGMENTS)

#define TEXT_KIND(word, function)                                                                  \
  { .name = word, .needs = ZF_NEEDS_TEXT, .types = TYPES, .piecewise = 1, .values = function }

const struct zf_objective_kind zf_objective_f1 = TEXT_KIND("f1", f1_distances);
const struct zf_objective_kind zf_objective_exact_match = TEXT_KIND("exact_match", match_distances);
const struct zf_objective_kind zf_objective_rouge_l = TEXT_KIND("rouge_l", rouge_distances);
const struct zf_objective_kind zf_objective_bleu = TEXT_KIND("bleu", bleu_distances);
