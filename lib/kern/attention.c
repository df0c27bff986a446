/* The driver of attention.
 *
 * A work item is a block of queries: of one segment, one stream, and the heads that share one
 * key/value head.  Threads take items in turn, so that long and short ones mix.  For an item
 *
 *   the keys of prefix and segment are packed, transposed: panels [D][width], as W in a product
 *   for each head, for TILE queries:  scores [TILE][keys] by the product's kernel,
 *                                     then per query softmax and the weighted sum of values
 *
 * With a window, keys that no query of the item sees are skipped first; positions then count from
 * the first key that is kept.
 * Up to ZF_SMALL_M queries (decoding) read the keys without packing. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

enum { BLOCK = 64, TILE = ZF_MUL_ROWS };

static const struct zf_product *f32(void) {
  return &zf_kern.product[ZF_COMPUTE_F32];
}

struct attention_job {
  float *out;
  const float *queries, *keys, *values;
  int64_t ldout, ldqueries, ldkeys, T, group, ldprefix, D;
  struct zf_attention_params attention;
};

/* Keys or values of one head: prefix_len rows of the prefix, then the segment's own rows. */
struct head_rows {
  const float *prefix, *own;
  int64_t prefix_len, ldprefix, ldown;
};

static struct head_rows rows_of(const struct attention_job *job, const float *base,
                                const float *cache, const struct zf_segment *segment, int stream,
                                int64_t kv_head) {
  struct head_rows rows = {.prefix_len = segment->prefix_len,
                           .ldprefix = cache ? job->ldprefix : job->ldkeys,
                           .ldown = job->ldkeys};
  rows.own = base + (stream * job->T + segment->start) * job->ldkeys + kv_head * job->D;
  rows.prefix = cache ? cache + stream * segment->prefix_stride
                      : base + (stream * job->T + segment->prefix_start) * job->ldkeys;
  rows.prefix += kv_head * job->D;
  return rows;
}

/* Elements k0..k0+k of rows first..first+count (count <= 16) with one row stride.  Rows on both
 * sides of the prefix's end are copied to `buffer` [16][KC]. */
static const float *strip(const struct head_rows *rows, int64_t first, int64_t count, int64_t k0,
                          int64_t k, float *buffer, int64_t *stride) {
  *stride = first < rows->prefix_len ? rows->ldprefix : rows->ldown;
  if (first + count <= rows->prefix_len) return rows->prefix + first * rows->ldprefix + k0;
  if (first >= rows->prefix_len) return rows->own + (first - rows->prefix_len) * rows->ldown + k0;
  *stride = ZF_KC;
  for (int64_t i = 0; i < count; i++) {
    const float *row = first + i < rows->prefix_len
                           ? rows->prefix + (first + i) * rows->ldprefix
                           : rows->own + (first + i - rows->prefix_len) * rows->ldown;
    memcpy(buffer + i * ZF_KC, row + k0, (size_t)k * sizeof *buffer);
  }
  return buffer;
}

/* Packs `keys` rows into panels.  The panel of columns p.. begins at p*D. */
static void pack(float *panel, const struct head_rows *rows, int64_t keys, int64_t D) {
  float buffer[ZF_LANES * ZF_KC];
  for (int64_t first = 0; first < keys; first += ZF_LANES) {
    int64_t panel_key = first / f32()->max_columns * f32()->max_columns,
            width = zf_min64(zf_kern_round_up(keys - panel_key), f32()->max_columns), stride;
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t count = zf_min64(keys - first, ZF_LANES), depth = zf_min64(D - k0, ZF_KC);
      const float *src = strip(rows, first, count, k0, depth, buffer, &stride);
      f32()->pack(panel + panel_key * D + k0 * width + first - panel_key, width, src, stride, NULL,
                  0, count, depth);
    }
  }
}

/* scores[i*ldscores + j] = dot product of query i < query_count and key j < count; up to 15 more
 * columns are written.  `keys` keys are packed. */
static void scores(float *scores, int64_t ldscores, const float *queries, int64_t ldqueries,
                   int64_t query_count, const float *panel, int64_t count, int64_t keys,
                   int64_t D) {
  for (int64_t panel_key = 0; panel_key < count; panel_key += f32()->max_columns) {
    int64_t width = zf_min64(zf_kern_round_up(keys - panel_key), f32()->max_columns),
            columns = zf_min64(zf_kern_round_up(count - panel_key), f32()->max_columns);
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC)
      f32()->mul(scores + panel_key, ldscores, queries + k0, ldqueries, query_count,
                 panel + panel_key * D + k0 * width, width, columns, zf_min64(D - k0, ZF_KC),
                 k0 ? ZF_MUL_ADD : ZF_MUL_SET);
  }
}

/* The same for query_count <= ZF_SMALL_M, from keys that are not packed. */
static void small_m_scores(float *scores, int64_t ldscores, const float *queries, int64_t ldqueries,
                           int64_t query_count, const struct head_rows *rows, int64_t keys,
                           int64_t D) {
  float buffer[ZF_LANES * ZF_KC];
  for (int64_t first = 0; first < keys; first += ZF_LANES)
    for (int64_t k0 = 0; k0 < D; k0 += ZF_KC) {
      int64_t count = zf_min64(keys - first, ZF_LANES), depth = zf_min64(D - k0, ZF_KC), stride;
      const float *src = strip(rows, first, count, k0, depth, buffer, &stride);
      f32()->mul_unpacked(scores + first, ldscores, queries + k0, ldqueries, query_count, src,
                          stride, count, depth, k0 > 0);
    }
}

/* Continues the chain of out[i] by weights[i][j] * values[j] over `count` keys j, or count + i keys
 * in mode STAIR, for query_count queries i. */
static void add_values(const struct attention_job *job, float *out, int64_t query_count,
                       const float *weights, int64_t ldweights, const float *values,
                       int64_t ldvalues, int64_t count, enum zf_mul_mode mode) {
  if (job->D % ZF_LANES)
    for (int64_t i = 0; i < query_count; i++)
      zf_kern.add_weighted_rows(out + i * job->ldout, weights + i * ldweights, values, ldvalues,
                                mode == ZF_MUL_STAIR ? count + i : count, job->D);
  else
    for (int64_t first = 0; first < job->D; first += f32()->max_columns)
      f32()->mul(out + first, job->ldout, weights, ldweights, query_count, values + first, ldvalues,
                 zf_min64(job->D - first, f32()->max_columns), count, mode);
}

/* The keys lo..hi that a query sees. */
struct key_range {
  int64_t lo, hi;
};

/* Keys that the query at `position` sees, of `end` keys. */
static struct key_range visible_keys(const struct zf_attention_params *attention, int64_t position,
                                     int64_t end) {
  struct key_range range = {0, attention->causal ? position + 1 : end};
  if (attention->window && position + 1 > attention->window)
    range.lo = position + 1 - attention->window;
  if (attention->window && position + attention->window < range.hi)
    range.hi = position + attention->window;
  return range;
}

/* The rows after the first `count`. */
static struct head_rows skip_rows(struct head_rows rows, int64_t count) {
  int64_t from_prefix = zf_min64(count, rows.prefix_len);
  rows.prefix += from_prefix * rows.ldprefix;
  rows.own += (count - from_prefix) * rows.ldown;
  rows.prefix_len -= from_prefix;
  return rows;
}

/* Continues the chain of one query over keys lo..hi. */
static void add_key_range(const struct attention_job *job, float *out, const float *weights,
                          const struct head_rows *rows, int64_t lo, int64_t hi) {
  int64_t prefix_end = zf_min64(hi, rows->prefix_len);
  if (lo < prefix_end)
    zf_kern.add_weighted_rows(out, weights + lo, rows->prefix + lo * rows->ldprefix, rows->ldprefix,
                              prefix_end - lo, job->D);
  if (lo < rows->prefix_len) lo = rows->prefix_len;
  if (lo < hi)
    zf_kern.add_weighted_rows(out, weights + lo, rows->own + (lo - rows->prefix_len) * rows->ldown,
                              rows->ldown, hi - lo, job->D);
}

/* Weighted sums of values for query_count queries, the first at `position`: the keys that all of
 * them see as one product, the keys that only some see query by query. */
static void sum_values(const struct attention_job *job, float *out, const struct head_rows *rows,
                       int64_t position, int64_t end, int64_t query_count, const float *weights,
                       int64_t ldweights) {
  struct key_range first = visible_keys(&job->attention, position, end),
                   last = visible_keys(&job->attention, position + query_count - 1, end);
  int64_t lo = last.lo, hi = first.hi;
  int stair = job->attention.causal;
  if (lo >= hi) lo = hi = end; /* no key is seen by all */
  if (job->attention.window || lo == end)
    for (int64_t query = 0; query < query_count; query++) {
      struct key_range range = visible_keys(&job->attention, position + query, end);
      add_key_range(job, out + query * job->ldout, weights + query * ldweights, rows, range.lo,
                    zf_min64(range.hi, lo));
    }
  if (lo >= hi) return;
  int64_t prefix_end = zf_min64(hi, rows->prefix_len),
          own_start = lo > rows->prefix_len ? lo : rows->prefix_len;
  if (lo < prefix_end)
    add_values(job, out, query_count, weights + lo, ldweights, rows->prefix + lo * rows->ldprefix,
               rows->ldprefix, prefix_end - lo, ZF_MUL_CONTINUE);
  if (own_start < hi)
    add_values(job, out, query_count, weights + own_start, ldweights,
               rows->own + (own_start - rows->prefix_len) * rows->ldown, rows->ldown,
               hi - own_start, stair ? ZF_MUL_STAIR : ZF_MUL_CONTINUE);
  if (stair) return;
  for (int64_t query = 0; query < query_count; query++)
    add_key_range(job, out + query * job->ldout, weights + query * ldweights, rows, hi,
                  visible_keys(&job->attention, position + query, end).hi);
}

/* Outputs of query_count queries of one head.  `weights` holds their scores and is overwritten. */
static void attend_queries(const struct attention_job *job, float *out,
                           const struct head_rows *rows, int64_t position, int64_t end,
                           int64_t query_count, float *weights, int64_t ldweights) {
  const struct zf_attention_params *attention = &job->attention;
  float sum[TILE];
  for (int64_t query = 0; query < query_count; query++) {
    struct key_range range = visible_keys(attention, position + query, end);
    float *scores = weights + query * ldweights + range.lo;
    if (attention->cap > 0)
      zf_kern.softcap(scores, attention->scale / attention->cap, attention->cap,
                      range.hi - range.lo);
    sum[query] =
        zf_kern.softmax(scores, attention->cap > 0 ? 1 : attention->scale, range.hi - range.lo);
    memset(out + query * job->ldout, 0, (size_t)job->D * sizeof *out);
  }
  sum_values(job, out, rows, position, end, query_count, weights, ldweights);
  for (int64_t query = 0; query < query_count; query++)
    zf_kern.divide(out + query * job->ldout, sum[query], job->D);
}

/* Queries i0..i1 of the heads that share kv_head.  scratch: see zf_attention_scratch. */
static void attend_block(const struct attention_job *job, const struct zf_segment *segment,
                         int stream, int64_t kv_head, int64_t i0, int64_t i1, float *scratch) {
  int64_t key_count = segment->prefix_len + segment->len,
          unseen = visible_keys(&job->attention, segment->prefix_len + i0, key_count).lo;
  struct head_rows key_rows =
      skip_rows(rows_of(job, job->keys, segment->prefix_keys, segment, stream, kv_head), unseen);
  struct head_rows value_rows = skip_rows(
      rows_of(job, job->values, segment->prefix_values, segment, stream, kv_head), unseen);
  int64_t position = segment->prefix_len - unseen, end = key_count - unseen;
  int64_t seen = visible_keys(&job->attention, position + i1 - 1, end).hi,
          ldweights = zf_kern_round_up(seen);
  float *weights = scratch, *panel = scratch + TILE * ldweights;
  int small_m = i1 - i0 <= ZF_SMALL_M;
  if (!small_m) pack(panel, &key_rows, seen, job->D);
  for (int64_t head = kv_head * job->group; head < (kv_head + 1) * job->group; head++)
    for (int64_t i = i0; i < i1; i += TILE) {
      int64_t query_count = zf_min64(i1 - i, TILE), row = stream * job->T + segment->start + i;
      const float *queries = job->queries + row * job->ldqueries + head * job->D;
      float *out = job->out + row * job->ldout + head * job->D;
      if (small_m)
        small_m_scores(weights, ldweights, queries, job->ldqueries, query_count, &key_rows, seen,
                       job->D);
      else
        scores(weights, ldweights, queries, job->ldqueries, query_count, panel,
               visible_keys(&job->attention, position + i + query_count - 1, end).hi, seen, job->D);
      attend_queries(job, out, &value_rows, position + i, end, query_count, weights, ldweights);
    }
}

static int64_t work_of(const struct zf_segment *segments, int64_t segment_count, int64_t width) {
  int64_t pairs = 0;
  for (int64_t g = 0; g < segment_count; g++)
    pairs += segments[g].len * (segments[g].prefix_len + segments[g].len);
  return pairs * width / 8;
}

int64_t zf_attention_scratch(int64_t max_keys, int64_t D) {
  return zf_kern_round_up(max_keys) * (TILE + D);
}

void zf_attention(float *out, int64_t ldout, const float *queries, int64_t ldqueries,
                  const float *keys, const float *values, int64_t ldkeys, int64_t T, int64_t H,
                  int64_t Hkv, int64_t D, const struct zf_attention_params *attention,
                  const struct zf_segment *segments, int64_t segment_count,
                  const struct zf_streams *streams, float *scratch) {
  struct attention_job job = {out,    queries, keys,    values,  ldout, ldqueries,
                              ldkeys, T,       H / Hkv, Hkv * D, D,     *attention};
  int team = zf_kern_team(work_of(segments, segment_count, streams->count * H * D));
  int64_t max_keys = 0;
  for (int64_t g = 0; g < segment_count; g++)
    if (segments[g].prefix_len + segments[g].len > max_keys)
      max_keys = segments[g].prefix_len + segments[g].len;
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads(), item = 0;
    float *thread_scratch = scratch + thread * zf_attention_scratch(max_keys, D);
    for (int stream = 0; stream < streams->count; stream++)
      for (int64_t g = 0; g < segment_count; g++)
        for (int64_t kv_head = 0; kv_head < Hkv; kv_head++)
          for (int64_t query = 0; query < segments[g].len; query += BLOCK)
            if (item++ % threads == thread)
              attend_block(&job, segments + g, stream, kv_head, query,
                           zf_min64(segments[g].len, query + BLOCK), thread_scratch);
  }
}
