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

static struct rows rows_of(const struct job *job, const float *base, const float *cache,
                           const struct zf_segment *segment, int s, int64_t kv) {
  struct rows rows = {
      .n = segment->prefix_len, .ld = cache ? job->ldp : job->ldk, .ldown = job->ldk};
  rows.own = base + (s * job->T + segment->start) * job->ldk + kv * job->D;
  rows.first = cache ? cache + s * segment->prefix_stride
                     : base + (s * job->T + segment->prefix_start) * job->ldk;
  rows.first += kv * job->D;
  return rows;
}

/* Elements k0..k0+k of rows at..at+n (n <= 16) as one strip; what lies across the end of the
 * prefix is copied to `buf` [16][KC]. */
static const float *strip(const struct rows *rows, int64_t at, int64_t n, int64_t k0, int64_t k,
                          float *buf, int64_t *ld) {
  *ld = at < rows->n ? rows->ld : rows->ldown;
  if (at + n <= rows->n) return rows->first + at * rows->ld + k0;
  if (at >= rows->n) return rows->own + (at - rows->n) * rows->ldown + k0;
  *ld = ZF_KC;
  for (int64_t i = 0; i < n; i++) {
    const float *row = at + i < rows->n ? rows->first + (at + i) * rows->ld
                                        : rows->own + (at + i - rows->n) * rows->ldown;
    memcpy(buf + i * ZF_KC, row + k0, (size_t)k * sizeof *buf);
  }
  return buf;
}

/* Panels of `keys` rows: that of columns p.. begins at p*D. */
static void pack(float *panel, const struct rows *rows, int64_t keys, int64_t D) {
  float buf[ZF_LANES * ZF_KC];
  for (int64_t at = 0; at < keys; at += ZF_LANES) {
    int64_t p = at / f32()->nr * f32()->nr, w = zf_kern_min(zf_kern_round_up(keys - p), f32()->nr),
            ld;
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t n = zf_kern_min(keys - at, ZF_LANES), k = zf_kern_min(D - k0, ZF_KC);
      const float *src = strip(rows, at, n, k0, k, buf, &ld);
      f32()->pack(panel + p * D + k0 * w + at - p, w, src, ld, NULL, 0, n, k);
    }
  }
}

/* s[i*lds + j] = dot of query i < m and key j < n, and some beyond, of `keys` packed. */
static void scores(float *s, int64_t lds, const float *q, int64_t ldq, int64_t m,
                   const float *panel, int64_t count, int64_t keys, int64_t D) {
  for (int64_t p = 0; p < count; p += f32()->nr) {
    int64_t width = zf_kern_min(zf_kern_round_up(keys - p), f32()->nr),
            w = zf_kern_min(zf_kern_round_up(count - p), f32()->nr);
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC)
      f32()->mul(s + p, lds, q + k0, ldq, m, panel + p * D + k0 * width, width, w,
                 zf_kern_min(D - k0, ZF_KC), k0 ? ZF_MUL_ADD : ZF_MUL_SET);
  }
}

/* The same for m <= ZF_SMALL_M queries from keys as they lie. */
static void small_m_scores(float *s, int64_t lds, const float *q, int64_t ldq, int64_t m,
                           const struct rows *rows, int64_t keys, int64_t D) {
  float buf[ZF_LANES * ZF_KC];
  for (int64_t at = 0; at < keys; at += ZF_LANES)
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t n = zf_kern_min(keys - at, ZF_LANES), k = zf_kern_min(D - k0, ZF_KC), ld;
      const float *src = strip(rows, at, n, k0, k, buf, &ld);
      f32()->thin(s + at, lds, q + k0, ldq, m, src, ld, n, k, k0 > 0);
    }
}

/* o[i] goes on with the chain over n keys, or n + i for a stair, of p[i][j] * v[j], for m
 * queries. */
static void gather(const struct job *job, float *o, int64_t m, const float *p, int64_t ldp,
                   const float *v, int64_t ldv, int64_t n, enum zf_mul_mode mode) {
  if (job->D % ZF_LANES)
    for (int64_t i = 0; i < m; i++)
      zf_kern.blend(o + i * job->ldo, p + i * ldp, v, ldv, mode == ZF_MUL_STAIR ? n + i : n,
                    job->D);
  else
    for (int64_t d = 0; d < job->D; d += f32()->nr)
      f32()->mul(o + d, job->ldo, p, ldp, m, v + d, ldv, zf_kern_min(job->D - d, f32()->nr), n,
                 mode);
}

/* Keys lo..hi are those that a query sees. */
struct span {
  int64_t lo, hi;
};

/* Of the query at position `at` before `end` keys. */
static struct span sees(const struct zf_attention_params *attention, int64_t at, int64_t end) {
  struct span span = {0, attention->causal ? at + 1 : end};
  if (attention->window && at + 1 > attention->window) span.lo = at + 1 - attention->window;
  if (attention->window && at + attention->window < span.hi) span.hi = at + attention->window;
  return span;
}

/* The first n keys are gone. */
static struct rows without(struct rows rows, int64_t n) {
  int64_t of_prefix = zf_kern_min(n, rows.n);
  rows.first += of_prefix * rows.ld;
  rows.own += (n - of_prefix) * rows.ldown;
  rows.n -= of_prefix;
  return rows;
}

/* One query's chain goes on over keys lo..hi. */
static void blend(const struct job *job, float *o, const float *p, const struct rows *rows,
                  int64_t lo, int64_t hi) {
  int64_t cut = zf_kern_min(hi, rows->n);
  if (lo < cut) zf_kern.blend(o, p + lo, rows->first + lo * rows->ld, rows->ld, cut - lo, job->D);
  if (lo < rows->n) lo = rows->n;
  if (lo < hi)
    zf_kern.blend(o, p + lo, rows->own + (lo - rows->n) * rows->ldown, rows->ldown, hi - lo,
                  job->D);
}

/* Sums of values of m queries: keys that some see alone by themselves, those that all see as a
 * product.  at: position of the first. */
static void sums(const struct job *job, float *o, const struct rows *rows, int64_t at, int64_t end,
                 int64_t m, const float *p, int64_t ldp) {
  struct span first = sees(&job->attention, at, end), last = sees(&job->attention, at + m - 1, end);
  int64_t lo = last.lo, hi = first.hi;
  int stair = job->attention.causal;
  if (lo >= hi) lo = hi = end; /* nothing is seen by all */
  for (int64_t e = 0; e < m && (job->attention.window || lo == end); e++) {
    struct span span = sees(&job->attention, at + e, end);
    blend(job, o + e * job->ldo, p + e * ldp, rows, span.lo, zf_kern_min(span.hi, lo));
  }
  if (lo < hi) {
    int64_t cut = zf_kern_min(hi, rows->n), own = lo > rows->n ? lo : rows->n;
    if (lo < cut)
      gather(job, o, m, p + lo, ldp, rows->first + lo * rows->ld, rows->ld, cut - lo, ZF_MUL_ON);
    if (own < hi)
      gather(job, o, m, p + own, ldp, rows->own + (own - rows->n) * rows->ldown, rows->ldown,
             hi - own, stair ? ZF_MUL_STAIR : ZF_MUL_ON);
  }
  for (int64_t e = 0; e < m && !stair && lo < hi; e++)
    blend(job, o + e * job->ldo, p + e * ldp, rows, hi, sees(&job->attention, at + e, end).hi);
}

/* Outputs of m queries of one head, whose scores are in p. */
static void values(const struct job *job, float *o, const struct rows *rows, int64_t at,
                   int64_t end, int64_t m, float *p, int64_t ldp) {
  const struct zf_attention_params *attention = &job->attention;
  float sum[TILE];
  for (int64_t e = 0; e < m; e++) {
    struct span span = sees(attention, at + e, end);
    float *own = p + e * ldp + span.lo;
    if (attention->cap > 0)
      zf_kern.softcap(own, attention->scale / attention->cap, attention->cap, span.hi - span.lo);
    sum[e] = zf_kern.softmax(own, attention->cap > 0 ? 1 : attention->scale, span.hi - span.lo);
    memset(o + e * job->ldo, 0, (size_t)job->D * sizeof *o);
  }
  sums(job, o, rows, at, end, m, p, ldp);
  for (int64_t e = 0; e < m; e++) zf_kern.divide(o + e * job->ldo, sum[e], job->D);
}

/* Queries i0..i1 of the heads of key head kv.  scratch: see zf_attention_scratch. */
static void attend(const struct job *job, const struct zf_segment *segment, int s, int64_t kv,
                   int64_t i0, int64_t i1, float *scratch) {
  int64_t all = segment->prefix_len + segment->len,
          gone = sees(&job->attention, segment->prefix_len + i0, all).lo;
  struct rows rows = without(rows_of(job, job->k, segment->prefix_keys, segment, s, kv), gone);
  struct rows v = without(rows_of(job, job->v, segment->prefix_values, segment, s, kv), gone);
  int64_t at = segment->prefix_len - gone, end = all - gone;
  int64_t keys = sees(&job->attention, at + i1 - 1, end).hi, lds = zf_kern_round_up(keys);
  float *p = scratch, *panel = scratch + TILE * lds;
  int small_m = i1 - i0 <= ZF_SMALL_M;
  if (!small_m) pack(panel, &rows, keys, job->D);
  for (int64_t h = kv * job->group; h < (kv + 1) * job->group; h++)
    for (int64_t i = i0; i < i1; i += TILE) {
      int64_t m = zf_kern_min(i1 - i, TILE), r = s * job->T + segment->start + i;
      const float *q = job->q + r * job->ldq + h * job->D;
      float *o = job->o + r * job->ldo + h * job->D;
      if (small_m)
        small_m_scores(p, lds, q, job->ldq, m, &rows, keys, job->D);
      else
        scores(p, lds, q, job->ldq, m, panel, sees(&job->attention, at + i + m - 1, end).hi, keys,
               job->D);
      values(job, o, &v, at + i, end, m, p, lds);
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
  struct job job = {o, q, k, v, ldo, ldq, ldk, T, H / Hkv, Hkv * D, D, *attention};
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
              attend(&job, seg + g, s, h, i, zf_kern_min(seg[g].len, i + BLOCK), own);
  }
}
