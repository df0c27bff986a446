/* The driver of attention.
 *
 * An item is a block of queries of one segment, of the heads that share keys, of one stream;
 * items go round over the threads, so that long and short ones mix.  For an item
 *
 *   keys of prefix and segment are packed, transposed: panels [D][nr], as W is in a product
 *   for each head, for TILE queries:  scores [TILE][keys] by the product's kernel,
 *                                     then per query softmax and the sum of values
 *
 * With a window, keys that no query of the item sees are left out first; then positions count from
 * the first one that is left.
 * Few queries (decoding) read the keys as they lie instead. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

enum { BLOCK = 64, TILE = ZF_MUL_ROWS };

static const struct zf_product *f32(void) {
  return &zf_kern.product[ZF_COMPUTE_F32];
}

struct job {
  float *o;
  const float *q, *k, *v;
  int64_t ldo, ldq, ldk, T, group, ldp, D;
  struct zf_attention_params attention;
};

/* Keys or values of a head: n rows of the prefix, then the segment's own. */
struct rows {
  const float *first, *own;
  int64_t n, ld, ldown;
};

static struct rows rows_of(const struct job *j, const float *base, const float *cache,
                           const struct zf_segment *g, int s, int64_t kv) {
  struct rows r = {.n = g->prefix_len, .ld = cache ? j->ldp : j->ldk, .ldown = j->ldk};
  r.own = base + (s * j->T + g->start) * j->ldk + kv * j->D;
  r.first = cache ? cache + s * g->prefix_stride : base + (s * j->T + g->prefix_start) * j->ldk;
  r.first += kv * j->D;
  return r;
}

/* Elements k0..k0+k of rows at..at+n (n <= 16) as one strip; what lies across the end of the
 * prefix is copied to `buf` [16][KC]. */
static const float *strip(const struct rows *r, int64_t at, int64_t n, int64_t k0, int64_t k,
                          float *buf, int64_t *ld) {
  *ld = at < r->n ? r->ld : r->ldown;
  if (at + n <= r->n) return r->first + at * r->ld + k0;
  if (at >= r->n) return r->own + (at - r->n) * r->ldown + k0;
  *ld = ZF_KC;
  for (int64_t i = 0; i < n; i++) {
    const float *row =
        at + i < r->n ? r->first + (at + i) * r->ld : r->own + (at + i - r->n) * r->ldown;
    memcpy(buf + i * ZF_KC, row + k0, (size_t)k * sizeof *buf);
  }
  return buf;
}

/* Panels of `keys` rows: that of columns p.. begins at p*D. */
static void pack(float *panel, const struct rows *r, int64_t keys, int64_t D) {
  float buf[ZF_LANES * ZF_KC];
  for (int64_t at = 0; at < keys; at += ZF_LANES) {
    int64_t p = at / f32()->nr * f32()->nr, w = zf_kern_min(zf_kern_round_up(keys - p), f32()->nr),
            ld;
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t n = zf_kern_min(keys - at, ZF_LANES), k = zf_kern_min(D - k0, ZF_KC);
      const float *src = strip(r, at, n, k0, k, buf, &ld);
      f32()->pack(panel + p * D + k0 * w + at - p, w, src, ld, NULL, 0, n, k);
    }
  }
}

/* s[i*lds + j] = dot of query i < m and key j < n, and some beyond, of `keys` packed. */
static void scores(float *s, int64_t lds, const float *q, int64_t ldq, int64_t m,
                   const float *panel, int64_t n, int64_t keys, int64_t D) {
  for (int64_t p = 0; p < n; p += f32()->nr) {
    int64_t width = zf_kern_min(zf_kern_round_up(keys - p), f32()->nr),
            w = zf_kern_min(zf_kern_round_up(n - p), f32()->nr);
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC)
      f32()->mul(s + p, lds, q + k0, ldq, m, panel + p * D + k0 * width, width, w,
                 zf_kern_min(D - k0, ZF_KC), k0 ? ZF_MUL_ADD : ZF_MUL_SET);
  }
}

/* The same for m <= ZF_SMALL_M queries from keys as they lie. */
static void small_m_scores(float *s, int64_t lds, const float *q, int64_t ldq, int64_t m,
                           const struct rows *r, int64_t keys, int64_t D) {
  float buf[ZF_LANES * ZF_KC];
  for (int64_t at = 0; at < keys; at += ZF_LANES)
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t n = zf_kern_min(keys - at, ZF_LANES), k = zf_kern_min(D - k0, ZF_KC), ld;
      const float *src = strip(r, at, n, k0, k, buf, &ld);
      f32()->thin(s + at, lds, q + k0, ldq, m, src, ld, n, k, k0 > 0);
    }
}

/* o[i] goes on with the chain over n keys, or n + i for a stair, of p[i][j] * v[j], for m
 * queries. */
static void gather(const struct job *j, float *o, int64_t m, const float *p, int64_t ldp,
                   const float *v, int64_t ldv, int64_t n, enum zf_mul_mode mode) {
  if (j->D % ZF_LANES)
    for (int64_t i = 0; i < m; i++)
      zf_kern.blend(o + i * j->ldo, p + i * ldp, v, ldv, mode == ZF_MUL_STAIR ? n + i : n, j->D);
  else
    for (int64_t d = 0; d < j->D; d += f32()->nr)
      f32()->mul(o + d, j->ldo, p, ldp, m, v + d, ldv, zf_kern_min(j->D - d, f32()->nr), n, mode);
}

/* Keys lo..hi are those that a query sees. */
struct span {
  int64_t lo, hi;
};

/* Of the query at position `at` before `end` keys. */
static struct span sees(const struct zf_attention_params *z, int64_t at, int64_t end) {
  struct span s = {0, z->causal ? at + 1 : end};
  if (z->window && at + 1 > z->window) s.lo = at + 1 - z->window;
  if (z->window && at + z->window < s.hi) s.hi = at + z->window;
  return s;
}

/* The first n keys are gone. */
static struct rows without(struct rows r, int64_t n) {
  int64_t of_prefix = zf_kern_min(n, r.n);
  r.first += of_prefix * r.ld;
  r.own += (n - of_prefix) * r.ldown;
  r.n -= of_prefix;
  return r;
}

/* One query's chain goes on over keys lo..hi. */
static void blend(const struct job *j, float *o, const float *p, const struct rows *v, int64_t lo,
                  int64_t hi) {
  int64_t cut = zf_kern_min(hi, v->n);
  if (lo < cut) zf_kern.blend(o, p + lo, v->first + lo * v->ld, v->ld, cut - lo, j->D);
  if (lo < v->n) lo = v->n;
  if (lo < hi) zf_kern.blend(o, p + lo, v->own + (lo - v->n) * v->ldown, v->ldown, hi - lo, j->D);
}

/* Sums of values of m queries: keys that some see alone by themselves, those that all see as a
 * product.  at: position of the first. */
static void sums(const struct job *j, float *o, const struct rows *v, int64_t at, int64_t end,
                 int64_t m, const float *p, int64_t ldp) {
  struct span first = sees(&j->attention, at, end), last = sees(&j->attention, at + m - 1, end);
  int64_t lo = last.lo, hi = first.hi;
  int stair = j->attention.causal;
  if (lo >= hi) lo = hi = end; /* nothing is seen by all */
  for (int64_t e = 0; e < m && (j->attention.window || lo == end); e++) {
    struct span s = sees(&j->attention, at + e, end);
    blend(j, o + e * j->ldo, p + e * ldp, v, s.lo, zf_kern_min(s.hi, lo));
  }
  if (lo < hi) {
    int64_t cut = zf_kern_min(hi, v->n), own = lo > v->n ? lo : v->n;
    if (lo < cut) gather(j, o, m, p + lo, ldp, v->first + lo * v->ld, v->ld, cut - lo, ZF_MUL_ON);
    if (own < hi)
      gather(j, o, m, p + own, ldp, v->own + (own - v->n) * v->ldown, v->ldown, hi - own,
             stair ? ZF_MUL_STAIR : ZF_MUL_ON);
  }
  for (int64_t e = 0; e < m && !stair && lo < hi; e++)
    blend(j, o + e * j->ldo, p + e * ldp, v, hi, sees(&j->attention, at + e, end).hi);
}

/* Outputs of m queries of one head, whose scores are in p. */
static void values(const struct job *j, float *o, const struct rows *v, int64_t at, int64_t end,
                   int64_t m, float *p, int64_t ldp) {
  const struct zf_attention_params *z = &j->attention;
  float sum[TILE];
  for (int64_t e = 0; e < m; e++) {
    struct span s = sees(z, at + e, end);
    float *own = p + e * ldp + s.lo;
    if (z->cap > 0) zf_kern.softcap(own, z->scale / z->cap, z->cap, s.hi - s.lo);
    sum[e] = zf_kern.softmax(own, z->cap > 0 ? 1 : z->scale, s.hi - s.lo);
    memset(o + e * j->ldo, 0, (size_t)j->D * sizeof *o);
  }
  sums(j, o, v, at, end, m, p, ldp);
  for (int64_t e = 0; e < m; e++) zf_kern.divide(o + e * j->ldo, sum[e], j->D);
}

/* Queries i0..i1 of the heads of key head kv.  scratch: see zf_attention_scratch. */
static void attend(const struct job *j, const struct zf_segment *g, int s, int64_t kv, int64_t i0,
                   int64_t i1, float *scratch) {
  int64_t all = g->prefix_len + g->len, gone = sees(&j->attention, g->prefix_len + i0, all).lo;
  struct rows k = without(rows_of(j, j->k, g->prefix_keys, g, s, kv), gone);
  struct rows v = without(rows_of(j, j->v, g->prefix_values, g, s, kv), gone);
  int64_t at = g->prefix_len - gone, end = all - gone;
  int64_t keys = sees(&j->attention, at + i1 - 1, end).hi, lds = zf_kern_round_up(keys);
  float *p = scratch, *panel = scratch + TILE * lds;
  int small_m = i1 - i0 <= ZF_SMALL_M;
  if (!small_m) pack(panel, &k, keys, j->D);
  for (int64_t h = kv * j->group; h < (kv + 1) * j->group; h++)
    for (int64_t i = i0; i < i1; i += TILE) {
      int64_t m = zf_kern_min(i1 - i, TILE), r = s * j->T + g->start + i;
      const float *q = j->q + r * j->ldq + h * j->D;
      float *o = j->o + r * j->ldo + h * j->D;
      if (small_m)
        small_m_scores(p, lds, q, j->ldq, m, &k, keys, j->D);
      else
        scores(p, lds, q, j->ldq, m, panel, sees(&j->attention, at + i + m - 1, end).hi, keys,
               j->D);
      values(j, o, &v, at + i, end, m, p, lds);
    }
}

static int64_t work_of(const struct zf_segment *seg, int64_t nseg, int64_t width) {
  int64_t n = 0;
  for (int64_t g = 0; g < nseg; g++) n += seg[g].len * (seg[g].prefix_len + seg[g].len);
  return n * width / 8;
}

int64_t zf_attention_scratch(int64_t max_keys, int64_t D) {
  return zf_kern_round_up(max_keys) * (TILE + D);
}

void zf_attention(float *o, int64_t ldo, const float *q, int64_t ldq, const float *k,
                  const float *v, int64_t ldk, int64_t T, int64_t H, int64_t Hkv, int64_t D,
                  const struct zf_attention_params *attention, const struct zf_segment *seg,
                  int64_t nseg, const struct zf_streams *st, float *scratch) {
  struct job j = {o, q, k, v, ldo, ldq, ldk, T, H / Hkv, Hkv * D, D, *attention};
  int team = zf_kern_team(work_of(seg, nseg, st->count * H * D));
  int64_t most = 0;
  for (int64_t g = 0; g < nseg; g++)
    if (seg[g].prefix_len + seg[g].len > most) most = seg[g].prefix_len + seg[g].len;
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t id = omp_get_thread_num(), n = omp_get_num_threads(), turn = 0;
    float *own = scratch + id * zf_attention_scratch(most, D);
    for (int s = 0; s < st->count; s++)
      for (int64_t g = 0; g < nseg; g++)
        for (int64_t h = 0; h < Hkv; h++)
          for (int64_t i = 0; i < seg[g].len; i += BLOCK)
            if (turn++ % n == id)
              attend(&j, seg + g, s, h, i, zf_kern_min(seg[g].len, i + BLOCK), own);
  }
}
