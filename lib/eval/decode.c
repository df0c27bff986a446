#include "eval/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/score.h"

/* One sequence: past[0..cache->len) is read, past[cache->len..npast) is pending. */
struct decoder_slot {
  struct zf_cache *cache;
  int32_t *past;
  int64_t npast;
  int64_t npicked; /* tokens that zf_decoder_pick has added */
  int32_t row;     /* row of the last pass' logits; -1: none */
};

struct zf_decoder {
  const struct zf_model *model;
  struct zf_decoder_room room;
  struct zf_forward *forward;
  struct decoder_slot *slot;
  struct zf_sampler *sampler;
  struct zf_perturb perturb; /* one stream */
  float *logits;             /* [slots][vocab] */
  int64_t count;             /* tokens read so far */

  /* the current pass */
  int32_t *id, *pos, *row;
  struct zf_segment *seg;
  struct zf_cache **cache;
  struct zf_batch batch;
};

static struct zf_limits limits_of(const struct zf_decoder_room *room) {
  return (struct zf_limits){.tokens = room->tokens,
                            .rows = room->slots,
                            .segments = room->slots,
                            .length = room->length,
                            .ids = 1,
                            .streams = 1,
                            .compute = room->compute};
}

void zf_decoder_bytes(int64_t *cache, int64_t *rest, const struct zf_model *model,
                      const struct zf_decoder_room *room) {
  struct zf_limits limits = limits_of(room);
  int64_t each = (int64_t)sizeof(int32_t) * 2 * room->tokens +
                 (int64_t)sizeof(int32_t) * room->slots * room->length;
  *cache = room->slots * zf_cache_bytes(model, room->length);
  *rest = zf_forward_bytes(model, &limits) - zf_forward_untouched(model, &limits) + each +
          model->config.vocab * (room->slots * (int64_t)sizeof(float) +
                                 2 * (int64_t)sizeof(struct zf_token_candidate));
}

static int alloc_slots(struct zf_decoder *decoder) {
  for (int64_t i = 0; i < decoder->room.slots; i++) {
    struct decoder_slot *slot = &decoder->slot[i];
    slot->row = -1;
    slot->past = zf_calloc(decoder->room.length + 1, sizeof *slot->past);
    if (!slot->past) return ZF_ENOMEM;
    int rc = zf_cache_new(&slot->cache, decoder->model, decoder->room.length);
    if (rc) return rc;
  }
  return 0;
}

static int alloc_parts(struct zf_decoder *decoder) {
  int64_t slots = decoder->room.slots, tokens = decoder->room.tokens;
  decoder->slot = zf_calloc(slots, sizeof *decoder->slot);
  decoder->seg = zf_calloc(slots, sizeof *decoder->seg);
  decoder->cache = zf_calloc(slots, sizeof *decoder->cache);
  decoder->row = zf_calloc(slots, sizeof *decoder->row);
  decoder->id = zf_calloc(tokens, sizeof *decoder->id);
  decoder->pos = zf_calloc(tokens, sizeof *decoder->pos);
  decoder->logits = zf_calloc(slots * decoder->model->config.vocab, sizeof *decoder->logits);
  if (!decoder->slot || !decoder->seg || !decoder->cache || !decoder->row || !decoder->id ||
      !decoder->pos || !decoder->logits)
    return ZF_ENOMEM;
  int rc = zf_sampler_new(&decoder->sampler, decoder->model->config.vocab);
  return rc ? rc : alloc_slots(decoder);
}

int zf_decoder_open(struct zf_decoder **out, const struct zf_model *model,
                    const struct zf_decoder_room *room) {
  *out = NULL;
  struct zf_decoder *decoder = zf_calloc(1, sizeof *decoder);
  if (!decoder) return ZF_ENOMEM;
  assert(room->slots >= 1);
  decoder->model = model;
  decoder->room = *room;
  decoder->perturb = zf_perturb_none();
  if (decoder->room.tokens < room->slots) decoder->room.tokens = room->slots;
  struct zf_limits forward_limits = limits_of(&decoder->room);
  int rc = zf_score_causal(model);
  if (!rc) rc = zf_forward_new(&decoder->forward, model, &forward_limits);
  if (!rc) rc = alloc_parts(decoder);
  if (rc) {
    zf_decoder_free(decoder);
    return rc;
  }
  *out = decoder;
  return 0;
}

void zf_decoder_free(struct zf_decoder *decoder) {
  if (!decoder) return;
  if (decoder->slot)
    for (int64_t i = 0; i < decoder->room.slots; i++) {
      zf_cache_free(decoder->slot[i].cache);
      free(decoder->slot[i].past);
    }
  zf_sampler_free(decoder->sampler);
  free(decoder->logits);
  free(decoder->pos);
  free(decoder->id);
  free(decoder->row);
  free(decoder->cache);
  free(decoder->seg);
  free(decoder->slot);
  zf_forward_free(decoder->forward);
  free(decoder);
}

void zf_decoder_perturb(struct zf_decoder *decoder, const struct zf_perturb *perturb) {
  assert(perturb->streams.count == 1 && !perturb->by_example);
  decoder->perturb = *perturb;
  for (int64_t i = 0; i < decoder->room.slots; i++) {
    struct decoder_slot *slot = &decoder->slot[i];
    zf_cache_keep(slot->cache, decoder->model, 0, 1);
    slot->npast = 0;
    slot->row = -1;
  }
}

/* --- sequences --- */

int zf_decoder_put(struct zf_decoder *decoder, int64_t index, const int32_t *ids, int64_t count,
                   int64_t *kept) {
  struct decoder_slot *slot = &decoder->slot[index];
  if (count > decoder->room.length)
    return zf_error(ZF_EUSAGE, "a prompt of %lld tokens is longer than the %lld that fit",
                    (long long)count, (long long)decoder->room.length);
  int64_t same = 0, max = slot->cache->len < count - 1 ? slot->cache->len : count - 1;
  while (same < max && slot->past[same] == ids[same]) same++;
  memcpy(slot->past, ids, (size_t)count * sizeof *ids);
  slot->npast = count;
  slot->npicked = 0;
  slot->row = -1;
  zf_cache_keep(slot->cache, decoder->model, same, count);
  if (kept) *kept = slot->cache->len;
  return 0;
}

static int64_t pending(const struct zf_decoder *decoder, int64_t index) {
  const struct decoder_slot *slot = &decoder->slot[index];
  int64_t readable = slot->npast < decoder->room.length ? slot->npast : decoder->room.length;
  return readable - slot->cache->len;
}

/* Adds `count` pending tokens of a slot to the pass. */
static void add(struct zf_decoder *decoder, int64_t index, int64_t count) {
  struct decoder_slot *slot = &decoder->slot[index];
  struct zf_batch *batch = &decoder->batch;
  int64_t first = slot->cache->len;
  decoder->seg[batch->segment_count] = (struct zf_segment){.start = batch->T, .len = count};
  decoder->cache[batch->segment_count++] = slot->cache;
  for (int64_t i = 0; i < count; i++) {
    decoder->id[batch->T + i] = slot->past[first + i];
    decoder->pos[batch->T + i] = (int32_t)(first + i);
  }
  batch->T += count;
  if (count < pending(decoder, index)) return;
  slot->row = (int32_t)batch->R;
  decoder->row[batch->R++] = (int32_t)batch->T - 1;
}

int zf_decoder_run(struct zf_decoder *decoder) {
  decoder->batch = (struct zf_batch){.id = decoder->id,
                                     .pos = decoder->pos,
                                     .segment = decoder->seg,
                                     .cache = decoder->cache,
                                     .row = decoder->row};
  for (int64_t i = 0; i < decoder->room.slots; i++) decoder->slot[i].row = -1;
  for (int64_t i = 0; i < decoder->room.slots; i++)
    if (pending(decoder, i) == 1) add(decoder, i, 1);
  for (int64_t i = 0; i < decoder->room.slots; i++) {
    int64_t count = pending(decoder, i), remaining = decoder->room.tokens - decoder->batch.T;
    if (count > 1 && remaining > 0) add(decoder, i, count < remaining ? count : remaining);
  }
  if (!decoder->batch.T) return 0;
  int rc = zf_forward_run(decoder->forward, &decoder->batch, &decoder->perturb);
  if (rc) return rc;
  decoder->count += decoder->batch.T;
  if (decoder->batch.R) zf_forward_logits(decoder->forward, decoder->logits);
  return 0;
}

const float *zf_decoder_slot_logits(const struct zf_decoder *decoder, int64_t index) {
  int32_t row = decoder->slot[index].row;
  return row < 0 ? NULL : decoder->logits + row * decoder->model->config.vocab;
}

int zf_decoder_full(const struct zf_decoder *decoder, int64_t index) {
  return decoder->slot[index].npast > decoder->room.length;
}

int64_t zf_decoder_slots(const struct zf_decoder *decoder) {
  return decoder->room.slots;
}

int64_t zf_decoder_read_count(const struct zf_decoder *decoder) {
  return decoder->count;
}

int zf_decoder_pick(struct zf_decoder *decoder, int64_t index, const struct zf_sampling *sampling,
                    int32_t *id) {
  struct decoder_slot *slot = &decoder->slot[index];
  float *logits = (float *)zf_decoder_slot_logits(decoder, index);
  assert(logits);
  if (sampling->repetition > 0 && sampling->repetition != 1) {
    int rc = zf_sampler_penalise(logits, slot->past, slot->npast, sampling->repetition);
    if (rc) return rc;
  }
  *id = zf_sampler_draw(decoder->sampler, logits, sampling, slot->npicked++);
  slot->past[slot->npast++] = *id; /* `past` has room for one token more than can be read */
  if (!zf_decoder_full(decoder, index)) zf_cache_grow(slot->cache, decoder->model);
  slot->row = -1;
  return 0;
}

/* --- one sequence --- */

int zf_decoder_new(struct zf_decoder **out, const struct zf_model *model, int64_t prompt,
                   int64_t length, enum zf_compute compute) {
  struct zf_decoder_room room = {
      .slots = 1, .tokens = prompt, .length = length, .compute = compute};
  return zf_decoder_open(out, model, &room);
}

/* Runs passes until slot 0 has logits. */
static int read_all(struct zf_decoder *decoder) {
  while (decoder->slot[0].row < 0 && pending(decoder, 0) > 0) {
    int rc = zf_decoder_run(decoder);
    if (rc) return rc;
  }
  return 0;
}

int zf_decoder_begin(struct zf_decoder *decoder, const int32_t *ids, int64_t count) {
  decoder->slot[0].cache->len = 0;
  int rc = zf_decoder_put(decoder, 0, ids, count, NULL);
  return rc ? rc : read_all(decoder);
}

int zf_decoder_next(struct zf_decoder *decoder, const struct zf_sampling *sampling, int32_t *id) {
  if (decoder->slot[0].row < 0)
    return zf_error(ZF_EUSAGE, "the sequence has reached its %lld tokens",
                    (long long)decoder->room.length);
  int rc = zf_decoder_pick(decoder, 0, sampling, id);
  return rc ? rc : read_all(decoder);
}

const float *zf_decoder_logits(const struct zf_decoder *decoder) {
  return decoder->logits;
}
