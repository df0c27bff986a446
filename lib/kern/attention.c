/* The driver of attention.  An item is a block of queries of one head of one segment of one
 * stream; items go round over the threads, so that long and short ones mix. */
#include <omp.h>

#include "kern/kern_internal.h"

enum { QUERIES = 32 };

struct job {
  float *o;
  const float *q, *k, *v;
  int64_t ldo, ldq, ldk, T, group, ldp, D;
  float scale;
  int causal;
};

/* Keys or values of one head as two runs of rows: the prefix, then the segment's own. */
struct runs {
  const float *first, *own;
  int64_t ld; /* row stride of `first` */
};

static struct runs runs_of(const struct job *j, const float *base, const float *cache,
                           const struct zf_segment *g, int s, int64_t h) {
  int64_t at = h / j->group * j->D;
  struct runs r;
  r.own = base + (s * j->T + g->start) * j->ldk + at;
  r.first = cache ? cache + s * g->ps + at : base + (s * j->T + g->pstart) * j->ldk + at;
  r.ld = cache ? j->ldp : j->ldk;
  return r;
}

static void attend(const struct job *j, const struct zf_segment *g, int s, int64_t h, int64_t i0,
                   int64_t i1, float *p) {
  struct runs k = runs_of(j, j->k, g->pk, g, s, h), v = runs_of(j, j->v, g->pv, g, s, h);
  for (int64_t i = i0; i < i1; i++) {
    int64_t r = s * j->T + g->start + i, own = j->causal ? i + 1 : g->len;
    const float *q = j->q + r * j->ldq + h * j->D;
    float *o = j->o + r * j->ldo + h * j->D;
    zf_kern.scores(p, q, k.first, k.ld, g->plen, j->D, j->scale);
    zf_kern.scores(p + g->plen, q, k.own, j->ldk, own, j->D, j->scale);
    float sum = zf_kern.softmax(p, g->plen + own);
    zf_kern.blend(o, p, v.first, v.ld, g->plen, j->D, 0);
    zf_kern.blend(o, p + g->plen, v.own, j->ldk, own, j->D, 1);
    zf_kern.divide(o, sum, j->D);
  }
}

static int64_t work_of(const struct zf_segment *seg, int64_t nseg, int64_t width) {
  int64_t n = 0;
  for (int64_t g = 0; g < nseg; g++) n += seg[g].len * (seg[g].plen + seg[g].len);
  return n * width;
}

int64_t zf_attention_scratch(int64_t max_keys, int64_t D) {
  (void)D;
  return (max_keys + ZF_LANES - 1) / ZF_LANES * ZF_LANES;
}

void zf_attention(float *o, int64_t ldo, const float *q, int64_t ldq, const float *k,
                  const float *v, int64_t ldk, int64_t T, int64_t H, int64_t Hkv, int64_t D,
                  float scale, int causal, const struct zf_segment *seg, int64_t nseg,
                  const struct zf_streams *st, float *scratch) {
  struct job j = {o, q, k, v, ldo, ldq, ldk, T, H / Hkv, Hkv * D, D, scale, causal};
  int team = zf_kern_team(work_of(seg, nseg, st->n * H * D));
  int64_t most = 0;
  for (int64_t g = 0; g < nseg; g++)
    if (seg[g].plen + seg[g].len > most) most = seg[g].plen + seg[g].len;
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), n = omp_get_num_threads(), turn = 0;
    float *p = scratch + id * zf_attention_scratch(most, D);
    for (int s = 0; s < st->n; s++)
      for (int64_t g = 0; g < nseg; g++)
        for (int64_t h = 0; h < H; h++)
          for (int64_t i = 0; i < seg[g].len; i += QUERIES)
            if (turn++ % n == id)
              attend(&j, seg + g, s, h, i, seg[g].len - i < QUERIES ? seg[g].len : i + QUERIES, p);
  }
}
