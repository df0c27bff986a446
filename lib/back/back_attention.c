/* Attention in reverse.  Of a query i and its keys j, with p the softmax of the scaled scores:
 *
 *   dV_j += p_ij dO_i        dP_ij = dO_i . V_j
 *   dS_ij = p_ij (dP_ij - sum_j p_ij dP_ij) scale
 *   dQ_i += dS_ij K_j        dK_j += dS_ij Q_i
 *
 * p is recomputed, a block of queries at a time (Dao et al., "FlashAttention", 2022).
 *
 * A unit of work is a group of segments (a prompt and the segments that have it as prefix) for the
 * heads that share one key/value head.  No two units add to the same row, and the order inside a unit
 * is fixed, so the bits do not depend on the threads. */
#include <omp.h>
#include <string.h>

#include "back/back_internal.h"
#include "kern/tile.h"

enum { BLOCK = 32 };

struct back_attention_job {
  struct zf_back *back;
  const struct zf_segment *segments;
  int64_t segment_count;
  const float *qkv;
  float *dqkv;
  const float *dout;
  int64_t ldqkv, lddqkv, lddout;
  int64_t heads, kv_heads, D, padded_D; /* padded_D: D rounded up to whole lanes */
  struct zf_attention_params attention;
};

/* The memory of one thread, for `keys` keys. */
struct attention_scratch {
  float *keys, *values, *dkeys, *dvalues; /* [keys][padded_D], zeros from D on */
  float *keys_panel, *values_panel;       /* packed */
  float *probabilities, *dprobabilities,
      *transposed;                  /* [BLOCK][keys], [BLOCK][keys], [keys][BLOCK] */
  float *queries, *dqueries, *dout; /* [BLOCK][padded_D] */
};

int64_t zf_back_attention_scratch(int64_t keys, int64_t D) {
  int64_t padded_keys = zf_tile_round_up(keys), padded_D = zf_tile_round_up(D);
  return padded_keys * (6 * padded_D + 3 * BLOCK) + 3 * BLOCK * padded_D;
}

static struct attention_scratch scratch_of(float *memory, int64_t keys, int64_t padded_D) {
  int64_t padded_keys = zf_tile_round_up(keys);
  struct attention_scratch own = {0};
  float **all[] = {&own.keys,    &own.values,     &own.dkeys,
                   &own.dvalues, &own.keys_panel, &own.values_panel};
  for (int i = 0; i < 6; i++, memory += padded_keys * padded_D) *all[i] = memory;
  float **blocks[] = {&own.probabilities, &own.dprobabilities, &own.transposed};
  for (int i = 0; i < 3; i++, memory += padded_keys * BLOCK) *blocks[i] = memory;
  own.queries = memory;
  own.dqueries = memory + BLOCK * padded_D;
  own.dout = memory + 2 * BLOCK * padded_D;
  return own;
}

/* The row of the register that holds a key of a segment. */
static int64_t row_of(const struct zf_segment *segment, int64_t key) {
  return key < segment->prefix_len ? segment->prefix_start + key
                                   : segment->start + key - segment->prefix_len;
}

/* Copies a row of D values and pads it with zeros to padded_D. */
static void copy_padded(float *row, int64_t padded_D, const float *from, int64_t D) {
  memcpy(row, from, sizeof *row * (size_t)D);
  memset(row + D, 0, sizeof *row * (size_t)(padded_D - D));
}

static void transpose_block(float *to, const float *x, int64_t ld, int64_t rows, int64_t columns) {
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++) to[j * BLOCK + i] = x[i * ld + j];
}

/* The keys that a query of a segment sees: *first .. the returned end. */
static int64_t visible_keys(const struct back_attention_job *job, const struct zf_segment *segment,
                            int64_t query, int64_t *first) {
  int64_t position = segment->prefix_len + query, window = job->attention.window,
          end = job->attention.causal ? position + 1 : segment->prefix_len + segment->len;
  *first = window && position + 1 > window ? position + 1 - window : 0;
  return window ? zf_min64(end, position + window) : end;
}

/* Turns scores into probabilities, and `gradients`, by the probabilities, into those by the products
 * q k.  `capped` is scratch. */
static void softmax(const struct back_attention_job *job, float *scores, float *gradients,
                    float *capped, int64_t count) {
  const struct zf_back_rows *rows = job->back->rows;
  float cap = job->attention.cap, scale = job->attention.scale;
  if (cap <= 0) {
    float sum = zf_tile_softmax(scores, scale, count);
    rows->softmax(scores, gradients, 1 / sum, scale, count);
    return;
  }
  zf_tile_softcap(scores, scale / cap, cap, count);
  memcpy(capped, scores, sizeof *capped * (size_t)count);
  float sum = zf_tile_softmax(scores, 1, count);
  rows->softmax(scores, gradients, 1 / sum, scale, count);
  for (int64_t i = 0; i < count; i++) gradients[i] *= 1 - capped[i] / cap * (capped[i] / cap);
}

/* Queries first_query .. first_query+query_count of one head. */
static void back_block(const struct back_attention_job *job, const struct attention_scratch *own,
                       const struct zf_segment *segment, int64_t head, int64_t first_query,
                       int64_t query_count, int64_t key_count) {
  int64_t lowest, keys = visible_keys(job, segment, first_query + query_count - 1, &lowest),
                  stride = zf_tile_round_up(key_count), padded_D = job->padded_D;
  const struct zf_back_rows *rows = job->back->rows;
  for (int64_t i = 0; i < query_count; i++) {
    int64_t row = segment->start + first_query + i;
    copy_padded(own->queries + i * padded_D, padded_D, job->qkv + row * job->ldqkv + head * job->D,
                job->D);
    copy_padded(own->dout + i * padded_D, padded_D, job->dout + row * job->lddout + head * job->D,
                job->D);
  }
  zf_tile_nt(own->probabilities, stride, own->queries, padded_D, query_count, own->keys_panel, keys,
             key_count, job->D);
  zf_tile_nt(own->dprobabilities, stride, own->dout, padded_D, query_count, own->values_panel, keys,
             key_count, job->D);
  for (int64_t i = 0; i < query_count; i++) {
    int64_t first_seen, end = visible_keys(job, segment, first_query + i, &first_seen);
    float *probabilities = own->probabilities + i * stride,
          *gradients = own->dprobabilities + i * stride;
    softmax(job, probabilities + first_seen, gradients + first_seen, own->transposed,
            end - first_seen);
    memset(probabilities, 0, sizeof *probabilities * (size_t)first_seen);
    memset(gradients, 0, sizeof *gradients * (size_t)first_seen);
    memset(probabilities + end, 0, sizeof *probabilities * (size_t)(keys - end));
    memset(gradients + end, 0, sizeof *gradients * (size_t)(keys - end));
  }
  transpose_block(own->transposed, own->probabilities, stride, query_count, keys);
  zf_tile_nn(own->dvalues, padded_D, own->transposed, BLOCK, keys, own->dout, padded_D, padded_D,
             query_count);
  transpose_block(own->transposed, own->dprobabilities, stride, query_count, keys);
  zf_tile_nn(own->dkeys, padded_D, own->transposed, BLOCK, keys, own->queries, padded_D, padded_D,
             query_count);
  memset(own->dqueries, 0, sizeof *own->dqueries * (size_t)(query_count * padded_D));
  zf_tile_nn(own->dqueries, padded_D, own->dprobabilities, stride, query_count, own->keys, padded_D,
             padded_D, keys);
  for (int64_t i = 0; i < query_count; i++)
    rows->add(job->dqkv + (segment->start + first_query + i) * job->lddqkv + head * job->D,
              own->dqueries + i * padded_D, job->D);
}

static void back_segment(const struct back_attention_job *job, const struct zf_segment *segment,
                         int64_t kv_head, float *scratch) {
  int64_t key_count = segment->prefix_len + segment->len, padded_D = job->padded_D,
          group = job->heads / job->kv_heads;
  int64_t key_column = (job->heads + kv_head) * job->D,
          value_column = key_column + job->kv_heads * job->D;
  struct attention_scratch own = scratch_of(scratch, key_count, padded_D);
  for (int64_t i = 0; i < key_count; i++) {
    const float *z = job->qkv + row_of(segment, i) * job->ldqkv;
    copy_padded(own.keys + i * padded_D, padded_D, z + key_column, job->D);
    copy_padded(own.values + i * padded_D, padded_D, z + value_column, job->D);
  }
  zf_tile_pack(own.keys_panel, own.keys, padded_D, key_count, job->D);
  zf_tile_pack(own.values_panel, own.values, padded_D, key_count, job->D);
  memset(own.dkeys, 0, sizeof *own.dkeys * (size_t)(key_count * padded_D));
  memset(own.dvalues, 0, sizeof *own.dvalues * (size_t)(key_count * padded_D));
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
    for (int64_t i = 0; i < segment->len; i += BLOCK)
      back_block(job, &own, segment, head, i, zf_min64(segment->len - i, BLOCK), key_count);
  for (int64_t i = 0; i < key_count; i++) {
    float *dz = job->dqkv + row_of(segment, i) * job->lddqkv;
    job->back->rows->add(dz + key_column, own.dkeys + i * padded_D, job->D);
    job->back->rows->add(dz + value_column, own.dvalues + i * padded_D, job->D);
  }
}

/* Groups the segments, in order.  A segment whose prefix is an earlier segment joins its group. */
static int64_t make_units(struct zf_back *back, const struct zf_segment *segments,
                          int64_t segment_count) {
  int64_t units = 0, first_row = 0; /* rows from first_row on belong to the group */
  for (int64_t g = 0; g < segment_count; g++) {
    if (units && segments[g].prefix_len && segments[g].prefix_start >= first_row) continue;
    back->unit_start[units++] = (int32_t)g;
    first_row = segments[g].start;
  }
  return units;
}

static int64_t work_of(const struct zf_segment *segments, int64_t segment_count, int64_t width) {
  int64_t pairs = 0;
  for (int64_t g = 0; g < segment_count; g++)
    pairs += segments[g].len * (segments[g].prefix_len + segments[g].len);
  return pairs * width / 4;
}

void zf_back_attention(struct zf_back *back, const struct zf_op *op, const float *qkv,
                       int64_t ldqkv) {
  const struct zf_config *config = &back->model->config;
  const struct zf_batch *batch = back->batch;
  struct back_attention_job job = {back,
                                   batch->segment,
                                   batch->segment_count,
                                   qkv,
                                   back->register_gradient[op->src],
                                   back->register_gradient[op->dst]};
  job.ldqkv = ldqkv;
  job.lddqkv = back->register_stride[op->src];
  job.lddout = back->register_stride[op->dst];
  job.heads = config->heads;
  job.kv_heads = config->kv_heads;
  job.D = config->head_dim;
  job.padded_D = zf_tile_round_up(config->head_dim);
  job.attention =
      (struct zf_attention_params){op->scale, op->cap, back->model->plan.causal, op->window};
  int64_t units = make_units(back, batch->segment, batch->segment_count), max_keys = 1;
  for (int64_t g = 0; g < batch->segment_count; g++)
    max_keys = zf_max64(max_keys, batch->segment[g].prefix_len + batch->segment[g].len);
  int64_t scratch_floats = zf_back_attention_scratch(max_keys, job.D),
          width = (job.heads + 2 * job.kv_heads) * job.D;
  int team = zf_tile_team(work_of(batch->segment, batch->segment_count, job.heads * job.D));
#pragma omp parallel num_threads(team) if (team > 1)
  {
    float *scratch = back->attention + omp_get_thread_num() * scratch_floats;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < batch->T; t++)
      memset(job.dqkv + t * job.lddqkv, 0, sizeof *job.dqkv * (size_t)width);
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < units * job.kv_heads; item++) {
      int64_t unit = item / job.kv_heads,
              end = unit + 1 < units ? back->unit_start[unit + 1] : batch->segment_count;
      for (int64_t g = back->unit_start[unit]; g < end; g++)
        back_segment(&job, batch->segment + g, item % job.kv_heads, scratch);
    }
  }
}
