/* Shared by the parts of `zoft shrink`. */
#ifndef ZF_CMD_SHRINK_INTERNAL_H
#define ZF_CMD_SHRINK_INTERNAL_H

#include "base/buf.h"
#include "base/proc.h"
#include "load.h"

enum { ZC_CANDIDATES = 16 };

/* A smaller model and what was measured of it. */
struct zc_candidate {
  char *path, *label;
  int64_t bytes, memory;     /* of the file; peak of a process that generates */
  double kl, perplexity;     /* against the original, on the text */
  double speed;              /* tokens a second, generating */
  double accuracy, interval; /* the task's metric and half its 95 % interval; NAN: none */
};
void zc_candidate_free(struct zc_candidate *candidate);

struct zc_shrink {
  const char *source, *out, *config, *metric;
  const char *const *set; /* settings of the task */
  int sets;
  int64_t size; /* allowed for a file */
  int64_t parameters;
  struct zc_candidate candidate[ZC_CANDIDATES], original;
  int count;
  double perplexity;  /* of the original */
  double seconds;     /* of all processes */
  struct zf_buf said; /* what the last process wrote */
};

/* A number of the JSON object that a process wrote; NAN: it is not there. */
double zc_shrink_real(const struct zf_buf *said, const char *key);
int64_t zc_shrink_number(const struct zf_buf *said, const char *key);

/* Scores a candidate on the task, by `run_command`. */
int zc_shrink_score(struct zc_shrink *job, struct zc_candidate *candidate,
                    int (*run_command)(struct zc_shrink *job, struct zf_buf *out,
                                       const char *const *argv));

/* The number of the best candidate. */
int zc_shrink_best(const struct zc_shrink *job);
void zc_shrink_report(const struct zc_shrink *job, int best);

int64_t zc_file_bytes(const char *path);
void zc_remove_directory(const char *path);

#endif
