/* Shared by the files of a merge: merge.c lists changes, merge_values.c computes rows. */
#ifndef ZF_PEFT_MERGE_INTERNAL_H
#define ZF_PEFT_MERGE_INTERNAL_H

#include "peft/merge.h"

enum merge_change_kind {
  ZF_MERGE_REPLACE, /* the tensor becomes `data` */
  ZF_MERGE_PRODUCT, /* W += scale * outer_factor * outer (inner_factor * inner) */
  ZF_MERGE_OUTPUTS, /* row o of W, or value o of a bias, *= factor[o] */
  ZF_MERGE_INPUTS,  /* column i of W *= factor[i] */
  ZF_MERGE_ROWS,    /* row ids[k] of an embedding or head becomes row k of `data` */
};

/* One change of one tensor.  Pointers belong to the adapter, except `factor`. */
struct merge_change {
  enum merge_change_kind kind;
  int64_t number;             /* of the wanted tensor; plan.wanted_count: a head of its own */
  int flipped;                /* rows of the tensor are inputs: Conv1D, embeddings */
  const float *inner, *outer; /* [rank][inner_ld], [outputs][rank] */
  const float *inner_factor, *outer_factor; /* [rank], [outputs]; NULL: 1 */
  int64_t rank, inner_ld;
  double scale;
  double *factor; /* OUTPUTS, INPUTS: owned */
  const float *data;
  const int64_t *ids;
  int64_t id_count;
};

struct zf_adapter_merge {
  const struct zf_model *model;
  struct zf_adapter_file *const *file; /* of zf_merge_new's caller, until that returns */
  struct merge_change *change;         /* in the order in which they apply */
  int64_t count, cap;
  struct zf_save_values values;
  int (*tick)(void *ctx);
  void *tick_ctx;
};

/* 1 where the change applies to tensor `number`.  The embedding's REPLACE also applies to a tied head. */
int zf_merge_applies(const struct zf_adapter_merge *merge, const struct merge_change *change,
                     int64_t number);

/* Columns column.. of one row of a tensor. */
struct merge_span {
  int64_t index, width; /* the row, and its length */
  int64_t column, count;
};
enum { ZF_MERGE_SPAN = 1024 }; /* columns at most: a multiple of every dtype's block */

/* The span of row `index` that begins at `column`. */
struct merge_span zf_merge_span(int64_t index, int64_t width, int64_t column);

/* Applies a change to value[span->count]. */
void zf_merge_apply(const struct merge_change *change, const struct merge_span *span,
                    double *value);

/* Writes the base's values of tensor `number`. */
void zf_merge_base(const struct zf_adapter_merge *merge, int64_t number,
                   const struct merge_span *span, double *value);

/* The parameter with the shape of tensor `number`. */
const struct zf_param *zf_merge_param(const struct zf_adapter_merge *merge, int64_t number);

/* zf_save_values.read; ctx is the merge. */
void zf_merge_read(void *ctx, int64_t number, int64_t first, int64_t rows, float *value);

#endif
