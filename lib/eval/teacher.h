/* What a teacher predicts for the examples of a run, kept in a file: knowledge for distillation (Hinton,
 * Vinyals, Dean 2015, arXiv 1503.02531).
 *
 * Of a text the file holds, for every row that predicts a target, the k likeliest tokens with their
 * log-probabilities at a temperature, and the log-probability of all other tokens together: a true
 * distribution over k + 1 outcomes.  Of an example with options it holds the log-softmax of the options'
 * scores (their mean log-probabilities, or logits) over the temperature.
 *
 *   bytes     0  "ZFTEACH1"
 *             8  u32 kind (0 tokens, 1 options), u32 k (0 for options)
 *            16  f64 temperature, i64 vocabulary of the teacher
 *            32  char[32] hash of the teacher's weights
 *            64  for the training, dev and test set: i64 rows, char[32] hash of the examples
 *           184  rows, set after set: tokens: i32 id[k] ascending, f32 log p[k], f32 log p of the rest
 *                                     options: f32 log p, a row for every option
 *                u32 CRC-32C of all bytes before it
 *
 * Numbers are little-endian.  The file stays mapped; nothing of it is copied. */
#ifndef ZF_EVAL_TEACHER_H
#define ZF_EVAL_TEACHER_H

#include "base/cplusplus.h"
#include "model/forward.h"
#include "task/dataset.h"

ZF_BEGIN_DECLS

enum zf_teacher_kind { ZF_TEACHER_TOKENS, ZF_TEACHER_OPTIONS };
enum { ZF_TEACHER_SETS = 3, ZF_TEACHER_MAX_K = 1 << 16 };

struct zf_teacher_set {
  int64_t rows;  /* 0: the file has nothing about this set */
  char hash[33]; /* of its examples: token ids, targets, labels */
};

struct zf_teacher_head {
  enum zf_teacher_kind kind;
  int64_t k;          /* listed tokens of a row; 0 for options */
  double temperature; /* above 0 */
  int64_t vocab;      /* outputs of the teacher's head */
  char model[33];     /* hash of the teacher's weights */
  struct zf_teacher_set set[ZF_TEACHER_SETS];
};

struct zf_teacher;

/* Opens and checks a file: every id, log-probability and sum.  ZF_EINVALID "PATH: ...", with the row. */
int zf_teacher_open(struct zf_teacher **out, const char *path);
/* The same of bytes in memory, which outlive it; `name` is for messages. */
int zf_teacher_parse(struct zf_teacher **out, const void *data, size_t len, const char *name);
void zf_teacher_free(struct zf_teacher *teacher); /* takes NULL */
const struct zf_teacher_head *zf_teacher_head(const struct zf_teacher *teacher);
const char *zf_teacher_name(const struct zf_teacher *teacher);
int64_t zf_teacher_bytes(const struct zf_teacher *teacher); /* of the mapped file */

/* Gives back the memory of rows that were read; the system reads them again from the file. */
void zf_teacher_drop(const struct zf_teacher *teacher);

/* The bytes of a row with k listed tokens (0: an option). */
int64_t zf_teacher_row_bytes(int64_t k);

/* 1 where the file `path` begins as such a file. */
int zf_teacher_probe(const char *path);

/* Row `row` of all sets together: the ids of its listed tokens, and their log-probabilities, behind which
 * stands that of the rest; of options *id is NULL and *log_p one number.  Owned by the teacher. */
void zf_teacher_row(const struct zf_teacher *teacher, int64_t row, const int32_t **id,
                    const float **log_p);

/* The kind of knowledge about examples of this type of data.  ZF_EUSAGE: there is none. */
int zf_teacher_kind_of(enum zf_teacher_kind *kind, enum zf_task_type type);

/* first[count + 1]: the number of each example's first row in its set; first[count]: the number of rows. */
void zf_teacher_rows(int64_t *first, const struct zf_dataset *dataset);

/* The hash of a set's examples. */
int zf_teacher_hash(char out[33], const struct zf_dataset *dataset);

/* ZF_EINVALID unless the file is about these sets (entries may be NULL); the message names the set. */
int zf_teacher_check(const struct zf_teacher *teacher, const struct zf_dataset *const *set);

/* --- teacher_make.c --- */

struct zf_teacher_plan {
  const struct zf_model *model;        /* the teacher */
  const struct zf_dataset *const *set; /* [ZF_TEACHER_SETS]; entries may be NULL */
  int64_t k;                           /* at most; a smaller vocabulary has fewer */
  double temperature;
  enum zf_compute compute;
  int64_t micro_batch; /* examples of a pass */
  int (*tick)(void *ctx, int64_t done,
              int64_t total); /* examples; not 0: ZF_ESTOPPED.  NULL: none */
  void *ctx;
};

/* Runs the teacher over all examples and writes the file: the same bytes for any number of threads and any
 * micro-batch.  ZF_EUSAGE: the teacher does not suit the data, or a set is streamed.  ZF_EINVALID: a logit
 * is not finite. */
int zf_teacher_make(const char *path, const struct zf_teacher_plan *plan);

ZF_END_DECLS

#endif
