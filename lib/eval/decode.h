/* Decoding: token after token with a key/value cache, of one sequence or of several at once.
 *
 * A decoder has slots, each with a sequence and its cache.  A pass (zf_decoder_run) reads what is
 * pending: one token of each sequence that is being continued, and of new ones as much of their
 * prompts as the pass has room for, end to end without padding, in the order of the slots.  Logits
 * of a sequence have the same bits whatever else is in the pass and however it was cut. */
#ifndef ZF_EVAL_DECODE_H
#define ZF_EVAL_DECODE_H

#include "eval/sample.h"
#include "model/forward.h"

struct zf_decoder;

struct zf_decoder_room {
  int64_t slots;  /* sequences at once */
  int64_t tokens; /* of a pass at most; slots at least */
  int64_t length; /* of a sequence, at most the model's context */
  enum zf_compute compute;
};

/* Bytes of the caches of all slots, and of all else. */
void zf_decoder_bytes(int64_t *cache, int64_t *rest, const struct zf_model *model,
                      const struct zf_decoder_room *room);

int zf_decoder_open(struct zf_decoder **out, const struct zf_model *model,
                    const struct zf_decoder_room *room);
void zf_decoder_free(struct zf_decoder *decoder); /* takes NULL */

/* --- several sequences --- */

/* Slot `slot` holds ids[0..n), n >= 1, and forgets what it had but for the tokens that both begin
 * with: their keys stay.  The last token is always read again.  *kept (may be NULL): how many stayed.
 * ZF_EUSAGE when they are more than fit. */
int zf_decoder_put(struct zf_decoder *decoder, int64_t slot, const int32_t *ids, int64_t count,
                   int64_t *kept);

/* One pass.  ZF_EUSAGE for an id or position out of range. */
int zf_decoder_run(struct zf_decoder *decoder);

/* Logits [vocab] that the last pass left of a slot; NULL: it has more to read, or had no part in it.
 * zf_decoder_pick changes them where a repetition is penalised. */
const float *zf_decoder_slot_logits(const struct zf_decoder *decoder, int64_t slot);

/* Chooses the next token of a slot that has logits, by `s`, and leaves it pending. */
int zf_decoder_pick(struct zf_decoder *decoder, int64_t slot, const struct zf_sampling *sampling,
                    int32_t *id);

/* Has the slot a token more than fit, so that nothing can follow? */
int zf_decoder_full(const struct zf_decoder *decoder, int64_t slot);

int64_t zf_decoder_slots(const struct zf_decoder *decoder);

/* Tokens that passes have read so far. */
int64_t zf_decoder_read_count(const struct zf_decoder *decoder);

/* --- one sequence: slot 0 --- */

/* For one model: prompts of `prompt` tokens in one pass (longer ones in several), `length` tokens in
 * all; products in `c`. */
int zf_decoder_new(struct zf_decoder **out, const struct zf_model *model, int64_t prompt,
                   int64_t length, enum zf_compute compute);

/* Forgets the sequence, then reads ids[0..n) and is ready to say what follows.  n >= 1. */
int zf_decoder_begin(struct zf_decoder *decoder, const int32_t *ids, int64_t count);

/* The next token, by `s`; it is read as well, unless the length is used up (then the next call is
 * ZF_EUSAGE). */
int zf_decoder_next(struct zf_decoder *decoder, const struct zf_sampling *sampling, int32_t *id);

/* Logits [vocab] that the last begin or next left. */
const float *zf_decoder_logits(const struct zf_decoder *decoder);

#endif
