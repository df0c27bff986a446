#include "eval/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "eval/score.h"

/* past[0..cache->len) is read, past[cache->len..npast) is pending. */
struct slot {
  struct zf_cache *cache;
  int32_t *past;
  int64_t npast, made;
  int32_t row; /* of the last pass' logits; -1: none */
};

struct zf_decoder {
  const struct zf_model *m;
  struct zf_decoder_room room;
  struct zf_forward *f;
  struct slot *slot;
  struct zf_sampler *sampler;
  float *logits; /* [slots][vocab] */
  int64_t count; /* tokens read so far */

  /* the pass at hand */
  int32_t *id, *pos, *row;
  struct zf_segment *seg;
  struct zf_cache **cache;
  struct zf_batch b;
};

static struct zf_limits limits(const struct zf_decoder_room *r) {
  return (struct zf_limits){.tokens = r->tokens,
                            .rows = r->slots,
                            .segments = r->slots,
                            .length = r->length,
                            .ids = 1,
                            .streams = 1,
                            .compute = r->compute};
}

void zf_decoder_bytes(int64_t *cache, int64_t *rest, const struct zf_model *m,
                      const struct zf_decoder_room *r) {
  struct zf_limits lim = limits(r);
  int64_t each =
      (int64_t)sizeof(int32_t) * 2 * r->tokens + (int64_t)sizeof(int32_t) * r->slots * r->length;
  *cache = r->slots * zf_cache_bytes(m, r->length);
  *rest = zf_forward_bytes(m, &lim) - zf_forward_untouched(m, &lim) + each +
          m->config.vocab *
              (r->slots * (int64_t)sizeof(float) + 2 * (int64_t)sizeof(struct zf_token_candidate));
}

static int make_slots(struct zf_decoder *d) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < d->room.slots; i++) {
    struct slot *s = &d->slot[i];
    s->row = -1;
    s->past = zf_calloc(d->room.length + 1, sizeof *s->past);
    rc = s->past ? zf_cache_new(&s->cache, d->m, d->room.length) : ZF_ENOMEM;
  }
  return rc;
}

static int make_parts(struct zf_decoder *d) {
  int64_t n = d->room.slots, T = d->room.tokens;
  d->slot = zf_calloc(n, sizeof *d->slot);
  d->seg = zf_calloc(n, sizeof *d->seg);
  d->cache = zf_calloc(n, sizeof *d->cache);
  d->row = zf_calloc(n, sizeof *d->row);
  d->id = zf_calloc(T, sizeof *d->id);
  d->pos = zf_calloc(T, sizeof *d->pos);
  d->logits = zf_calloc(n * d->m->config.vocab, sizeof *d->logits);
  if (!d->slot || !d->seg || !d->cache || !d->row || !d->id || !d->pos || !d->logits)
    return ZF_ENOMEM;
  int rc = zf_sampler_new(&d->sampler, d->m->config.vocab);
  return rc ? rc : make_slots(d);
}

int zf_decoder_open(struct zf_decoder **out, const struct zf_model *m,
                    const struct zf_decoder_room *r) {
  *out = NULL;
  struct zf_decoder *d = zf_calloc(1, sizeof *d);
  if (!d) return ZF_ENOMEM;
  assert(r->slots >= 1);
  d->m = m;
  d->room = *r;
  if (d->room.tokens < r->slots) d->room.tokens = r->slots;
  struct zf_limits lim = limits(&d->room);
  int rc = zf_score_causal(m);
  if (!rc) rc = zf_forward_new(&d->f, m, &lim);
  if (!rc) rc = make_parts(d);
  if (rc) {
    zf_decoder_free(d);
    return rc;
  }
  *out = d;
  return 0;
}

void zf_decoder_free(struct zf_decoder *d) {
  if (!d) return;
  for (int64_t i = 0; d->slot && i < d->room.slots; i++) {
    zf_cache_free(d->slot[i].cache);
    free(d->slot[i].past);
  }
  zf_sampler_free(d->sampler);
  free(d->logits);
  free(d->pos);
  free(d->id);
  free(d->row);
  free(d->cache);
  free(d->seg);
  free(d->slot);
  zf_forward_free(d->f);
  free(d);
}

/* --- sequences --- */

int zf_decoder_put(struct zf_decoder *d, int64_t slot, const int32_t *ids, int64_t n,
                   int64_t *kept) {
  struct slot *s = &d->slot[slot];
  if (n > d->room.length)
    return zf_error(ZF_EUSAGE, "a prompt of %lld tokens is longer than the %lld that fit",
                    (long long)n, (long long)d->room.length);
  int64_t same = 0, most = s->cache->len < n - 1 ? s->cache->len : n - 1;
  while (same < most && s->past[same] == ids[same]) same++;
  memcpy(s->past, ids, (size_t)n * sizeof *ids);
  s->npast = n;
  s->made = 0;
  s->row = -1;
  zf_cache_keep(s->cache, d->m, same, n);
  if (kept) *kept = s->cache->len;
  return 0;
}

static int64_t pending(const struct zf_decoder *d, int64_t i) {
  const struct slot *s = &d->slot[i];
  int64_t n = s->npast < d->room.length ? s->npast : d->room.length;
  return n - s->cache->len;
}

static void add(struct zf_decoder *d, int64_t i, int64_t n) {
  struct slot *s = &d->slot[i];
  struct zf_batch *b = &d->b;
  int64_t at = s->cache->len;
  d->seg[b->nseg] = (struct zf_segment){.start = b->T, .len = n};
  d->cache[b->nseg++] = s->cache;
  for (int64_t k = 0; k < n; k++) {
    d->id[b->T + k] = s->past[at + k];
    d->pos[b->T + k] = (int32_t)(at + k);
  }
  b->T += n;
  if (n < pending(d, i)) return;
  s->row = (int32_t)b->R;
  d->row[b->R++] = (int32_t)b->T - 1;
}

int zf_decoder_run(struct zf_decoder *d) {
  struct zf_perturb none = zf_perturb_none();
  d->b = (struct zf_batch){
      .id = d->id, .pos = d->pos, .seg = d->seg, .cache = d->cache, .row = d->row};
  for (int64_t i = 0; i < d->room.slots; i++) d->slot[i].row = -1;
  for (int64_t i = 0; i < d->room.slots; i++)
    if (pending(d, i) == 1) add(d, i, 1);
  for (int64_t i = 0; i < d->room.slots; i++) {
    int64_t n = pending(d, i), left = d->room.tokens - d->b.T;
    if (n > 1 && left > 0) add(d, i, n < left ? n : left);
  }
  if (!d->b.T) return 0;
  int rc = zf_forward_run(d->f, &d->b, &none);
  if (rc) return rc;
  d->count += d->b.T;
  if (d->b.R) zf_forward_logits(d->f, d->logits);
  return 0;
}

const float *zf_decoder_slot_logits(const struct zf_decoder *d, int64_t slot) {
  int32_t r = d->slot[slot].row;
  return r < 0 ? NULL : d->logits + r * d->m->config.vocab;
}

int zf_decoder_full(const struct zf_decoder *d, int64_t slot) {
  return d->slot[slot].npast > d->room.length;
}

int64_t zf_decoder_slots(const struct zf_decoder *d) {
  return d->room.slots;
}

int64_t zf_decoder_read_count(const struct zf_decoder *d) {
  return d->count;
}

int zf_decoder_pick(struct zf_decoder *d, int64_t slot, const struct zf_sampling *s, int32_t *id) {
  struct slot *x = &d->slot[slot];
  float *logits = (float *)zf_decoder_slot_logits(d, slot);
  assert(logits);
  if (s->repetition > 0 && s->repetition != 1) {
    int rc = zf_sampler_penalise(logits, x->past, x->npast, s->repetition);
    if (rc) return rc;
  }
  *id = zf_sampler_draw(d->sampler, logits, s, x->made++);
  x->past[x->npast++] = *id; /* one more than can be read has room */
  if (!zf_decoder_full(d, slot)) zf_cache_grow(x->cache, d->m);
  x->row = -1;
  return 0;
}

/* --- one sequence --- */

int zf_decoder_new(struct zf_decoder **out, const struct zf_model *m, int64_t prompt,
                   int64_t length, enum zf_compute c) {
  struct zf_decoder_room r = {.slots = 1, .tokens = prompt, .length = length, .compute = c};
  return zf_decoder_open(out, m, &r);
}

/* Passes until slot 0 says what follows. */
static int read_all(struct zf_decoder *d) {
  int rc = 0;
  while (!rc && d->slot[0].row < 0 && pending(d, 0) > 0) rc = zf_decoder_run(d);
  return rc;
}

int zf_decoder_begin(struct zf_decoder *d, const int32_t *ids, int64_t n) {
  d->slot[0].cache->len = 0;
  int rc = zf_decoder_put(d, 0, ids, n, NULL);
  return rc ? rc : read_all(d);
}

int zf_decoder_next(struct zf_decoder *d, const struct zf_sampling *s, int32_t *id) {
  if (d->slot[0].row < 0)
    return zf_error(ZF_EUSAGE, "the sequence has reached its %lld tokens",
                    (long long)d->room.length);
  int rc = zf_decoder_pick(d, 0, s, id);
  return rc ? rc : read_all(d);
}

const float *zf_decoder_logits(const struct zf_decoder *d) {
  return d->logits;
}
