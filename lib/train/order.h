/* Which example stands at which place of an endless sequence: a function of (seed, place).
 *
 * Without weights an epoch is a permutation of all n examples.  With them the examples are in groups
 * (the entries of `datasets`), group k with the share p_k = w_k / sum of w.  With b_k = p_0 + .. + p_k
 * the first t places hold
 *
 *   C_k(t) = floor(b_k t) - floor(b_{k-1} t)
 *
 * examples of group k whenever t is a whole number of epochs of n places; which places of an epoch
 * they are is drawn by the epoch's permutation.  A group's examples come in permutations of their
 * own, one after the other, so that each is seen once before any is seen again; a group's permutation
 * may begin and end anywhere in an epoch. */
#ifndef ZF_TRAIN_ORDER_H
#define ZF_TRAIN_ORDER_H

#include <stdint.h>

struct zf_order {
  int64_t count;
  uint64_t seed;
  int64_t epoch;  /* that `at` is of; -1: none yet */
  int64_t *at;    /* [n] examples of its places */
  int64_t ngroup; /* 0: no weights */
  struct zf_order_group *group;
  int64_t *member, *perm; /* [n] examples by group; the permutation at hand of each group */
};

/* Numbers that keep the shuffles of different uses apart (the noise's `param`). */
enum { ZF_SHUFFLE_EPOCH, ZF_SHUFFLE_SPLIT, ZF_SHUFFLE_TEST, ZF_SHUFFLE_GROUP = 16 };

/* order[0..n) = the permutation number `step` of a use. */
void zf_order_shuffle(int64_t *order, int64_t count, uint64_t seed, int64_t step, uint32_t use);

/* ZF_ENOMEM.  o is zero or as _new left it. */
int zf_order_new(struct zf_order *order, int64_t count, uint64_t seed);
void zf_order_free(struct zf_order *order);

/* Gives the examples weights: of[i] < ngroup is the group of example i.  ZF_EUSAGE names the first
 * group without an example as "datasets[k]". */
int zf_order_weigh(struct zf_order *order, const int32_t *of, const double *weight, int64_t ngroup);

int64_t zf_order_at(struct zf_order *order, int64_t place);

#endif
