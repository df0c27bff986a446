/* The learning rate of `learning_rate: auto`.
 *
 * Before the first step a range test of some dozen forward passes.  After T steps of rate lr, estimates of
 * length s (the root of the sum of their squared coefficients, over q) have moved every weight by a random
 * walk of lr s sqrt(T), besides what was learned.  The test finds how far the model can walk:
 *
 *   reach   the distance along random directions at which an example's loss changes by 0.1 nats beyond
 *           the first order, root mean square over examples and directions; of objective distill alone by
 *           a quarter of the divergence, if that is less
 *   noise   the root mean square length of the part of an estimate that differs from batch to batch; 1
 *           where the rule divides by it (adam, sign).  Of objective distill the root mean square length of
 *           the whole estimate: examples hardly differ in what a teacher says, so that most of the walk
 *           comes from the slope itself, times directions that have nothing to do with it
 *   rate    0.7 reach / (noise sqrt(T))
 *
 * During the run the rate is halved when the mean loss of the last 100 steps lies above the lowest such mean
 * before by more than twice its standard error: then the walk costs more than is learned. */
#ifndef ZF_TRAIN_AUTO_RATE_H
#define ZF_TRAIN_AUTO_RATE_H

#include "base/cplusplus.h"
#include "train/run.h"

ZF_BEGIN_DECLS

struct zf_auto_rate {
  double rate;
  double change, reach, noise; /* change: of a loss at the reach */
  int64_t passes;              /* forward passes of a batch that the test took */
};

/* Fits a rate to the run's method, data and number of steps.  The run has taken no step yet; its weights stay
 * as they are.  ZF_EUSAGE: no distance changes the loss. */
int zf_auto_rate(struct zf_auto_rate *out, struct zf_run *run);

/* The rate of a run so far, from the losses of its steps; all zeros before the first. */
struct zf_rate_control {
  int64_t steps; /* of the current stretch */
  double sum, squares;
  double lowest; /* lowest mean of a stretch; valid where has_lowest */
  int has_lowest, halvings;
};

/* Enters the loss of a step, in order; 1 where the rate is halved after it. */
int zf_rate_control_add(struct zf_rate_control *control, double loss);
double zf_rate_control_factor(const struct zf_rate_control *control);

ZF_END_DECLS

#endif
