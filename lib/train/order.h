/* The order of training examples: the example at each place of an endless sequence, a function of
 * (seed, place).
 *
 * Without weights an epoch is a permutation of all n examples.  With weights the examples are in
 * groups (the entries of `datasets`), group k with the share p_k = w_k / sum of w.  With
 * b_k = p_0 + .. + p_k the first t places hold
 *
 *   C_k(t) = floor(b_k t) - floor(b_{k-1} t)
 *
 * examples of group k whenever t is a whole number of epochs of n places; the epoch's permutation
 * decides which places of the epoch these are.  A group's examples come in permutations of the group,
 * one after the other, so that each example occurs once before any occurs again; a group's
 * permutation may begin and end anywhere in an epoch. */
#ifndef ZF_TRAIN_ORDER_H
#define ZF_TRAIN_ORDER_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

struct zf_order {
  int64_t count;
  uint64_t seed;
  int64_t epoch;       /* the epoch that `at` holds; -1: none yet */
  int64_t *example_at; /* [count] example at each place of the epoch */
  int64_t ngroup;      /* 0: no weights */
  struct zf_order_group *group;
  int64_t *member; /* [count] examples sorted by group */
  int64_t *perm;   /* [count] current permutation of each group */
};

/* Numbers that keep the shuffles of different uses apart (the noise's `param`). */
enum { ZF_SHUFFLE_EPOCH, ZF_SHUFFLE_SPLIT, ZF_SHUFFLE_TEST, ZF_SHUFFLE_GROUP = 16 };

/* order[0..count) = permutation number `step` of the use `use`. */
void zf_order_shuffle(int64_t *order, int64_t count, uint64_t seed, int64_t step, uint32_t use);

/* zf_order_free frees the order.  ZF_ENOMEM. */
int zf_order_new(struct zf_order *order, int64_t count, uint64_t seed);
void zf_order_free(struct zf_order *order); /* takes a zeroed one */

/* Gives the examples weights.  group_of[i] < ngroup: the group of example i; weight[ngroup].
 * ZF_EUSAGE names the first group without an example as "datasets[k]". */
int zf_order_weigh(struct zf_order *order, const int32_t *group_of, const double *weight,
                   int64_t ngroup);

/* The example at a place >= 0. */
int64_t zf_order_at(struct zf_order *order, int64_t place);

ZF_END_DECLS

#endif
