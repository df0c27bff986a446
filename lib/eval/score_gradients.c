/* Derivatives of the losses of packed examples, and of their divergences from a teacher. */
#include <math.h>
#include <string.h>

#include "eval/labels.h"
#include "eval/score_internal.h"

/* score[i] = p(i) - [i is the label], p the softmax of the scores. */
static void softmax_gradients(double *score, int32_t count, int32_t label) {
  double max = score[0], sum = 0;
  for (int32_t i = 1; i < count; i++)
    if (score[i] > max) max = score[i];
  for (int32_t i = 0; i < count; i++) sum += score[i] = exp(score[i] - max);
  for (int32_t i = 0; i < count; i++) score[i] = score[i] / sum - (i == label);
}

/* Replaces the scores of an example's options, which zf_score_reduce_one has left, by the derivatives by
 * them. */
static void option_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                             int64_t index, struct zf_score_scale scale) {
  const struct zf_example *example = &dataset->example[index];
  double *gradient = scorer->gold; /* of the divergence; a teacher's options have no such targets */
  if (zf_score_has_targets(dataset)) {
    zf_labels_gradients(dataset->problem, scorer->option, scorer->gold, example->nseq);
    for (int32_t i = 0; i < example->nseq; i++) scorer->option[i] *= scale.loss;
    return;
  }
  for (int32_t i = 0; i < example->nseq; i++) gradient[i] = 0;
  if (scale.divergence != 0)
    zf_distill_options_gradient(scorer->distill, dataset, index, scorer->option, example->nseq,
                                scale.divergence, gradient);
  softmax_gradients(scorer->option, example->nseq, example->label);
  for (int32_t i = 0; i < example->nseq; i++)
    scorer->option[i] = scale.loss * scorer->option[i] + gradient[i];
}

/* Gradients of one example's rows, from `row` on. */
static void example_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                              int64_t index, int64_t row, struct zf_score_scale scale, float *coef,
                              float *slope) {
  const struct zf_example *example = &dataset->example[index];
  const struct zf_seq *seq = dataset->seq + example->seq;
  int by_option = example->label >= 0 || zf_score_has_targets(dataset);
  if (by_option) option_gradients(scorer, dataset, index, scale);
  for (int32_t i = 0; i < example->nseq; i++) {
    int64_t targets = zf_seq_targets(dataset, &seq[i]);
    double gradient = by_option ? scorer->option[i] : -scale.loss * (double)targets;
    if (example->single) {
      slope[row * scorer->packed.nid + zf_score_column(scorer, dataset, &seq[i])] +=
          (float)gradient;
      continue;
    }
    for (int64_t j = 0; j < targets; j++, row++) {
      coef[row] = (float)(gradient / (double)targets);
      if (!by_option && scale.divergence != 0)
        zf_distill_scale(scorer->distill, row, scale.divergence / (double)targets);
    }
  }
}

void zf_score_gradients(struct zf_scorer *scorer, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t from, int64_t to, struct zf_score_scale scale,
                        float *coef, float *slope) {
  int64_t row = 0;
  memset(coef, 0, sizeof *coef * (size_t)scorer->packed.batch.R);
  memset(slope, 0, sizeof *slope * (size_t)(scorer->packed.batch.R * scorer->packed.nid));
  for (int64_t i = from; i < to; i++) {
    struct zf_score ignored;
    int64_t example = index ? index[i] : i, rows = zf_example_rows(dataset, example);
    if (zf_task_has_options(dataset->type))
      zf_score_reduce_one(scorer, dataset, example, row, &ignored);
    example_gradients(scorer, dataset, example, row, scale, coef, slope);
    row += rows;
  }
}
