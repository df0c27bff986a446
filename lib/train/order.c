#include "train/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "rng/noise.h"

struct zf_order_group {
  double from, to;  /* b_{k-1}, b_k */
  int64_t first, n; /* of its examples in `member` */
  int64_t epoch;    /* that `perm` is of */
  int64_t slots;    /* of this epoch's, up to and with this group */
  int64_t next;     /* how many of its examples came before */
};

void zf_order_shuffle(int64_t *order, int64_t n, uint64_t seed, int64_t step, uint32_t use) {
  struct zf_noise k = {.seed = seed, .step = (uint32_t)step, .use = ZF_USE_SHUFFLE, .param = use};
  zf_shuffle(order, n, &k);
}

int zf_order_new(struct zf_order *o, int64_t n, uint64_t seed) {
  *o = (struct zf_order){.count = n, .seed = seed, .epoch = -1};
  o->at = zf_calloc(n, sizeof *o->at);
  return o->at ? 0 : ZF_ENOMEM;
}

void zf_order_free(struct zf_order *o) {
  free(o->at);
  free(o->group);
  free(o->member);
  free(o->perm);
  memset(o, 0, sizeof *o);
}

/* --- groups --- */

static void fill_members(struct zf_order *o, const int32_t *of) {
  for (int64_t i = 0; i < o->count; i++) o->group[of[i]].n++;
  for (int64_t k = 0, first = 0; k < o->ngroup; k++) {
    o->group[k].first = first;
    first += o->group[k].n;
    o->group[k].n = 0;
  }
  for (int64_t i = 0; i < o->count; i++) {
    struct zf_order_group *g = &o->group[of[i]];
    o->member[g->first + g->n++] = i;
  }
}

int zf_order_weigh(struct zf_order *o, const int32_t *of, const double *weight, int64_t ngroup) {
  double sum = 0, so_far = 0;
  o->group = zf_calloc(ngroup, sizeof *o->group);
  o->member = zf_calloc(o->count, sizeof *o->member);
  o->perm = zf_calloc(o->count, sizeof *o->perm);
  if (!o->group || !o->member || !o->perm) return ZF_ENOMEM;
  o->ngroup = ngroup;
  fill_members(o, of);
  for (int64_t k = 0; k < ngroup; k++) sum += weight[k];
  for (int64_t k = 0; k < ngroup; k++) {
    struct zf_order_group *g = &o->group[k];
    if (!g->n)
      return zf_error(ZF_EUSAGE, "datasets[%lld]: has a weight, and none of its rows is trained on",
                      (long long)k);
    g->from = so_far / sum;
    so_far += weight[k];
    g->to = k + 1 < ngroup ? so_far / sum : 1;
    g->epoch = -1;
  }
  return 0;
}

/* C_k(t) of the header. */
static int64_t count_of(const struct zf_order_group *g, int64_t t) {
  return (int64_t)(floor(g->to * (double)t) - floor(g->from * (double)t));
}

static int64_t next_of(struct zf_order *o, int64_t k) {
  struct zf_order_group *g = &o->group[k];
  int64_t epoch = g->next / g->n, *perm = o->perm + g->first;
  if (epoch != g->epoch) {
    zf_order_shuffle(perm, g->n, o->seed, epoch, ZF_SHUFFLE_GROUP + (uint32_t)k);
    g->epoch = epoch;
  }
  return o->member[g->first + perm[g->next++ % g->n]];
}

/* Slots 0, 1, ... of an epoch belong to group 0, then 1, ...; `at` is a permutation of them. */
static void fill_slots(struct zf_order *o, int64_t epoch) {
  int64_t slots = 0;
  for (int64_t k = 0; k < o->ngroup; k++) {
    struct zf_order_group *g = &o->group[k];
    g->next = count_of(g, epoch * o->count);
    slots += count_of(g, (epoch + 1) * o->count) - g->next;
    g->slots = slots;
  }
  for (int64_t i = 0; i < o->count; i++) {
    int64_t k = 0;
    while (o->at[i] >= o->group[k].slots) k++;
    o->at[i] = next_of(o, k);
  }
}

int64_t zf_order_at(struct zf_order *o, int64_t place) {
  int64_t epoch = place / o->count;
  if (epoch != o->epoch) {
    zf_order_shuffle(o->at, o->count, o->seed, epoch, ZF_SHUFFLE_EPOCH);
    if (o->ngroup) fill_slots(o, epoch);
    o->epoch = epoch;
  }
  return o->at[place % o->count];
}
