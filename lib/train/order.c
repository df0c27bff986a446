#include "train/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "rng/noise.h"

struct zf_order_group {
  double from, to;      /* b_{k-1}, b_k */
  int64_t first, count; /* its examples in `member` */
  int64_t epoch;        /* number of the permutation in `perm` */
  int64_t slots;        /* slots of this epoch up to the end of this group */
  int64_t next;         /* number of its examples before the next one */
};

void zf_order_shuffle(int64_t *order, int64_t count, uint64_t seed, int64_t step, uint32_t use) {
  struct zf_noise noise = {
      .seed = seed, .step = (uint32_t)step, .use = ZF_USE_SHUFFLE, .param = use};
  zf_shuffle(order, count, &noise);
}

int zf_order_new(struct zf_order *order, int64_t count, uint64_t seed) {
  *order = (struct zf_order){.count = count, .seed = seed, .epoch = -1};
  order->example_at = zf_calloc(count, sizeof *order->example_at);
  return order->example_at ? 0 : ZF_ENOMEM;
}

void zf_order_free(struct zf_order *order) {
  free(order->example_at);
  free(order->group);
  free(order->member);
  free(order->perm);
  memset(order, 0, sizeof *order);
}

/* --- groups --- */

static void fill_members(struct zf_order *order, const int32_t *group_of) {
  for (int64_t i = 0; i < order->count; i++) order->group[group_of[i]].count++;
  for (int64_t i = 0, first = 0; i < order->ngroup; i++) {
    order->group[i].first = first;
    first += order->group[i].count;
    order->group[i].count = 0;
  }
  for (int64_t i = 0; i < order->count; i++) {
    struct zf_order_group *group = &order->group[group_of[i]];
    order->member[group->first + group->count++] = i;
  }
}

int zf_order_weigh(struct zf_order *order, const int32_t *group_of, const double *weight,
                   int64_t ngroup) {
  double sum = 0, so_far = 0;
  order->group = zf_calloc(ngroup, sizeof *order->group);
  order->member = zf_calloc(order->count, sizeof *order->member);
  order->perm = zf_calloc(order->count, sizeof *order->perm);
  if (!order->group || !order->member || !order->perm) return ZF_ENOMEM;
  order->ngroup = ngroup;
  fill_members(order, group_of);
  for (int64_t i = 0; i < ngroup; i++) sum += weight[i];
  for (int64_t i = 0; i < ngroup; i++) {
    struct zf_order_group *group = &order->group[i];
    if (!group->count)
      return zf_error(ZF_EUSAGE,
                      "datasets[%lld]: has a weight, but none of its rows is in the training set",
                      (long long)i);
    group->from = so_far / sum;
    so_far += weight[i];
    group->to = i + 1 < ngroup ? so_far / sum : 1;
    group->epoch = -1;
  }
  return 0;
}

/* C_k(t) of the header. */
static int64_t count_of(const struct zf_order_group *group, int64_t places) {
  return (int64_t)(floor(group->to * (double)places) - floor(group->from * (double)places));
}

static int64_t next_of(struct zf_order *order, int64_t index) {
  struct zf_order_group *group = &order->group[index];
  int64_t epoch = group->next / group->count, *perm = order->perm + group->first;
  if (epoch != group->epoch) {
    zf_order_shuffle(perm, group->count, order->seed, epoch, ZF_SHUFFLE_GROUP + (uint32_t)index);
    group->epoch = epoch;
  }
  return order->member[group->first + perm[group->next++ % group->count]];
}

/* Turns `at`, a permutation of the epoch's slots, into examples.  The first slots belong to group 0,
 * the next ones to group 1, and so on. */
static void fill_slots(struct zf_order *order, int64_t epoch) {
  int64_t slots = 0;
  for (int64_t i = 0; i < order->ngroup; i++) {
    struct zf_order_group *group = &order->group[i];
    group->next = count_of(group, epoch * order->count);
    slots += count_of(group, (epoch + 1) * order->count) - group->next;
    group->slots = slots;
  }
  for (int64_t i = 0; i < order->count; i++) {
    int64_t group = 0;
    while (order->example_at[i] >= order->group[group].slots) group++;
    order->example_at[i] = next_of(order, group);
  }
}

int64_t zf_order_at(struct zf_order *order, int64_t place) {
  int64_t epoch = place / order->count;
  if (epoch != order->epoch) {
    zf_order_shuffle(order->example_at, order->count, order->seed, epoch, ZF_SHUFFLE_EPOCH);
    if (order->ngroup) fill_slots(order, epoch);
    order->epoch = epoch;
  }
  return order->example_at[place % order->count];
}
