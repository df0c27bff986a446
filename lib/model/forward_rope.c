/* Tables of cosines and sines of a pass, and the row of each of its tokens. */
#include <math.h>
#include <string.h>

#include "model/forward_internal.h"

/* Fills `count` rows of rope table `which` from row `to` on: positions from, from + 1, ... of a
 * sequence of `length` tokens. */
static void fill_rows(const struct zf_forward *forward, int index, int64_t to, int64_t from,
                      int64_t count, int64_t length) {
  const struct zf_rope_conf *rope = &forward->model->config.rope[index];
  int64_t half = forward->rot / 2;
  float *row =
      forward->rope +
      (index * zf_forward_rope_length(forward->model, &forward->limits) + to) * forward->rot;
  zf_rope_freqs(forward->freq, forward->rot, rope, length);
  for (int64_t position = from; position < from + count; position++, row += forward->rot)
    for (int64_t i = 0; i < half; i++) {
      row[i] = (float)(cos((double)position * forward->freq[i]) * rope->attention);
      row[half + i] = (float)(sin((double)position * forward->freq[i]) * rope->attention);
    }
}

void zf_forward_fill_ropes(struct zf_forward *forward) {
  int ropes = forward->rot ? forward->model->config.ropes : 0;
  for (int i = 0; i < ropes; i++) fill_rows(forward, i, 0, 0, forward->limits.length, 0);
}

int64_t zf_batch_length(const struct zf_batch *batch, int64_t index) {
  const struct zf_segment *segment = &batch->segment[index];
  int64_t longest = segment->prefix_len + segment->len;
  if (batch->cache) {
    const struct zf_cache *cache = batch->cache[index];
    int64_t length = cache->len + segment->len + (cache->len ? batch->virtual_tokens : 0);
    return length > cache->full_len ? length : cache->full_len;
  }
  int64_t first = segment->prefix_len ? segment->prefix_start : segment->start;
  for (int64_t i = 0; i < batch->segment_count; i++) {
    const struct zf_segment *other = &batch->segment[i];
    int64_t length = other->prefix_len + other->len;
    if (other->prefix_len && other->prefix_start == first && length > longest) longest = length;
  }
  return longest + batch->unread;
}

void zf_forward_place_ropes(struct zf_forward *forward, const struct zf_batch *batch) {
  const struct zf_config *config = &forward->model->config;
  memcpy(forward->rope_rows, batch->pos, sizeof *forward->rope_rows * (size_t)batch->T);
  if (!forward->rot ||
      zf_forward_rope_length(forward->model, &forward->limits) == forward->limits.length)
    return;
  for (int64_t i = 0; i < batch->segment_count; i++) {
    const struct zf_segment *segment = &batch->segment[i];
    int64_t length = zf_batch_length(batch, i), to = forward->limits.length + segment->start;
    if (segment->len == 0 || (double)length <= config->rope[0].original) continue;
    for (int j = 0; j < config->ropes; j++)
      fill_rows(forward, j, to, batch->pos[segment->start], segment->len, length);
    for (int64_t j = 0; j < segment->len; j++)
      forward->rope_rows[segment->start + j] = (int32_t)(to + j);
  }
}
