/* A step log in memory. */
#ifndef ZF_TRAIN_HISTORY_H
#define ZF_TRAIN_HISTORY_H

#include "base/cplusplus.h"
#include "model/model.h"
#include "train/steplog.h"

ZF_BEGIN_DECLS

/* How a log ends. */
enum zf_log_end {
  ZF_LOG_WHOLE,
  ZF_LOG_TORN,   /* the last record is incomplete: a crash interrupted its writing */
  ZF_LOG_DAMAGED /* a bad record, with good records after it */
};

struct zf_history_entry {
  int64_t step;
  char hash[33];
};

struct zf_history {
  char *path;
  struct zf_log_head head;
  uint32_t id;                   /* the header's CRC */
  int64_t count;                 /* complete steps, from the first on */
  struct zf_log_rec *step;       /* [count] */
  double *loss;                  /* [count][zf_zo_losses] */
  struct zf_zo_term *term;       /* [count][zf_zo_terms] */
  struct zf_history_entry *mark; /* [nmark], in order */
  int64_t nmark;
  int64_t result; /* step whose weights are the result of the run; -1: the run has not ended */
  int64_t size;   /* bytes up to the end of the last complete step, without the marks behind it */
  enum zf_log_end end;
  char problem[512]; /* the fault at the end, with record and byte; "" for ZF_LOG_WHOLE */
};

/* Reads all complete records.  ZF_EINVALID: the header is wrong; ZF_EUSAGE: there is no such file.  A
 * bad record is no error: `end` and `problem` describe it. */
int zf_history_load(struct zf_history *history, const char *path);
void zf_history_free(struct zf_history *history); /* takes a zeroed one */

/* The estimate of step 1, 2, ...: a view into the history. */
struct zf_zo_estimate zf_history_estimate(const struct zf_history *history, int64_t step);

/* The logged hash of the weights after a step, or NULL. */
const char *zf_history_mark(const struct zf_history *history, int64_t step);

/* 0 where the log has `to` steps.  Else ZF_EINVALID where a bad record is the reason, which the
 * message names, or ZF_EUSAGE. */
int zf_history_reach(const struct zf_history *history, int64_t to);

ZF_END_DECLS

#endif
