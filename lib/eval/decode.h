/* Decoding: token after token with a key/value cache, of one sequence or of several at once.
 *
 * A decoder has slots, each with a sequence and its cache.  A pass (zf_decoder_run) reads pending
 * tokens: one token of each sequence that is being continued, then as much of the prompts of new
 * sequences as fits, end to end without padding, in the order of the slots.  The bits of a
 * sequence's logits do not depend on the other sequences of a pass, nor on the passes into which
 * its prompt is split. */
#ifndef ZF_EVAL_DECODE_H
#define ZF_EVAL_DECODE_H

#include "base/cplusplus.h"
#include "eval/sample.h"
#include "model/forward.h"

ZF_BEGIN_DECLS

struct zf_decoder;

struct zf_decoder_room {
  int64_t slots;  /* sequences at once */
  int64_t tokens; /* maximum of a pass; raised to `slots` where it is below */
  int64_t length; /* maximum of a sequence; the model's context or less */
  enum zf_compute compute;
};

/* *cache: bytes of the caches of all slots.  *rest: all other bytes. */
void zf_decoder_bytes(int64_t *cache, int64_t *rest, const struct zf_model *model,
                      const struct zf_decoder_room *room);

/* The model outlives the decoder.  ZF_EUSAGE: the model is no causal language model. */
int zf_decoder_open(struct zf_decoder **out, const struct zf_model *model,
                    const struct zf_decoder_room *room);
void zf_decoder_free(struct zf_decoder *decoder); /* takes NULL */

/* Sets the weights that the next passes see: one stream of `perturb`, without directions by example.
 * Directions and mix remain the caller's until the next call; a new decoder is unperturbed.  Forgets
 * all sequences. */
void zf_decoder_perturb(struct zf_decoder *decoder, const struct zf_perturb *perturb);

/* --- several sequences --- */

/* Sets the sequence of slot `index` to ids[0..count), count >= 1.  The cached keys of the tokens that
 * the old and the new sequence have in common at the beginning stay; the last token is always read
 * again.  *kept (may be NULL): number of cached tokens that stay.  ZF_EUSAGE: count exceeds the
 * length. */
int zf_decoder_put(struct zf_decoder *decoder, int64_t index, const int32_t *ids, int64_t count,
                   int64_t *kept);

/* Runs one pass.  ZF_EUSAGE: an id or a position is out of range. */
int zf_decoder_run(struct zf_decoder *decoder);

/* Logits [vocab] of a slot after the last pass; NULL: its sequence has more pending tokens, or was
 * not in the pass.  zf_decoder_pick changes them where repetition is penalised. */
const float *zf_decoder_slot_logits(const struct zf_decoder *decoder, int64_t index);

/* Chooses the next token of a slot that has logits and leaves it pending. */
int zf_decoder_pick(struct zf_decoder *decoder, int64_t index, const struct zf_sampling *sampling,
                    int32_t *id);

/* 1 where the slot's sequence exceeds the length, so that it cannot be continued. */
int zf_decoder_full(const struct zf_decoder *decoder, int64_t index);

int64_t zf_decoder_slots(const struct zf_decoder *decoder);

/* Number of tokens that passes have read so far. */
int64_t zf_decoder_read_count(const struct zf_decoder *decoder);

/* --- one sequence: slot 0 --- */

/* One slot, passes of `prompt` tokens (a longer prompt takes several), at most `length` tokens. */
int zf_decoder_new(struct zf_decoder **out, const struct zf_model *model, int64_t prompt,
                   int64_t length, enum zf_compute compute);

/* Replaces the sequence by ids[0..count), count >= 1, and reads it, so that its logits exist. */
int zf_decoder_begin(struct zf_decoder *decoder, const int32_t *ids, int64_t count);

/* Chooses the next token and reads it, unless the length is reached: the next call is then
 * ZF_EUSAGE. */
int zf_decoder_next(struct zf_decoder *decoder, const struct zf_sampling *sampling, int32_t *id);

/* Logits [vocab] after the last begin or next. */
const float *zf_decoder_logits(const struct zf_decoder *decoder);

ZF_END_DECLS

#endif
