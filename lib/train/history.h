/* A step log in memory, and the weights that follow from it. */
#ifndef ZF_TRAIN_HISTORY_H
#define ZF_TRAIN_HISTORY_H

#include "model/model.h"
#include "train/steplog.h"

/* How a log ends. */
enum zf_log_end {
  ZF_LOG_WHOLE,
  ZF_LOG_TORN,   /* the last record is not whole: a crash while it was written */
  ZF_LOG_DAMAGED /* a bad record, and good ones after it */
};

struct zf_history_entry {
  int64_t step;
  char hash[33];
};

struct zf_history {
  char *path;
  struct zf_log_head head;
  uint32_t id;                   /* the header's CRC */
  int64_t count;                 /* steps that are whole, from the first on */
  struct zf_log_rec *step;       /* [n] */
  struct zf_zo_probe *probe;     /* [n][q] */
  struct zf_history_entry *mark; /* [nmark], in order */
  int64_t nmark;
  int64_t result; /* the step whose weights the run ended with; -1: it has not ended */
  int64_t size;   /* bytes up to the end of the last whole step, without marks behind it */
  enum zf_log_end end;
  char problem[512]; /* what is wrong at the end, with record and byte; "" when whole */
};

/* Reads all records that are whole.  ZF_EINVALID for a header that is not, ZF_EUSAGE when there is
 * no such file; a bad record is no error: `end` and `problem` tell. */
int zf_history_load(struct zf_history *history, const char *path);
void zf_history_free(struct zf_history *history); /* takes a zeroed one */

/* The logged hash of the weights after a step, or NULL. */
const char *zf_history_mark(const struct zf_history *history, int64_t step);

/* ZF_EINVALID unless the log has `to` steps; names the bad record where that is why. */
int zf_history_reach(const struct zf_history *history, int64_t to);

#endif
