/* A linear probe: the output head's rows of the options, in closed form, from one forward pass over the
 * training set.
 *
 * For example i let h_i [d] be the row that the head reads, u_i = W h_i + b the model's own logits of the
 * C options, and r the ridge regression of the labels on h (ridge.h), whose leave-one-out predictions are
 * r^-i(h_i).  (a, s) minimize the cross-entropy over
 *
 *   mean_i -log softmax(a u_i + s r^-i(h_i))[label_i]
 *
 * so that it is never above that of the model as it is, (1, 0).  Then
 *
 *   w_c <- m + a (w_c - m) + s r_c,   m = the mean of the options' rows
 *
 * and the biases alike, where the head has some.  m cancels in the softmax over the options; it keeps a
 * tied embedding near what it was.  A soft-cap of the logits is left out of the fit.
 *
 * Examples are those at the first n places of the run's order: each once, or, where data files have
 * weights, by their shares.  The result does not depend on micro-batch or threads. */
#ifndef ZF_TRAIN_PROBE_H
#define ZF_TRAIN_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_run;

/* What a fit read, chose and found. */
struct zf_probe_report {
  int64_t examples, passes; /* 0: no fit */
  int64_t held;             /* examples that the leave-one-out numbers are of */
  double penalty,
      relative; /* of the ridge regression; relative to the mean square of h's elements, times n */
  double own, ridge;                /* a, s */
  double loss, loss_before;         /* leave-one-out: mean cross-entropy (nats) */
  double accuracy, accuracy_before; /* leave-one-out; 0..1 */
  double seconds;
  int tied; /* the rows are those of the input embedding as well */
};

/* ZF_EUSAGE where the run's data or trained weights do not suit a probe: data without options, options of
 * several tokens or with several right ones, a head that is not trained.  Examples of a stream are checked
 * when they are read. */
int zf_probe_check(const struct zf_run *run);

/* Bytes of a fit, for forecasts; 0 where the data have no options. */
int64_t zf_probe_bytes(const struct zf_run *run);

/* Fits, and writes the rows into run->model's trained weights, rounded to nearest as they are stored.
 * The run has passes (zf_run_open).  Changes nothing after a failure: those of zf_probe_check and
 * zf_ridge_fit, ZF_EINVALID of the data. */
int zf_probe_fit(struct zf_run *run, struct zf_probe_report *report);

/* The same; ZF_ESTOPPED as soon as stopped(ctx) is not 0, which is asked after every pass.  stopped may be
 * NULL. */
int zf_probe_fit_while(struct zf_run *run, struct zf_probe_report *report,
                       int (*stopped)(void *ctx), void *ctx);

/* One line about a fit, without what it was of. */
void zf_probe_describe(const struct zf_probe_report *report, char *out, size_t size);

ZF_END_DECLS

#endif
