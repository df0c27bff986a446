#include "eval/generate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

enum { CONTEXT = 8, SETTLE = 16 }; /* tokens before, and in, a decoded window (bring_up) */

const char *zf_finish_name(enum zf_finish finish) {
  static const char *const name[] = {"none", "eos", "stop", "length", "context"};
  return name[finish];
}

int zf_generation_add_id(struct zf_ids *ids, int32_t id) {
  if (ids->count == ids->cap) {
    int64_t cap = ids->cap ? 2 * ids->cap : 64;
    int32_t *grown = realloc(ids->id, (size_t)cap * sizeof *grown);
    if (!grown) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    ids->id = grown;
    ids->cap = cap;
  }
  ids->id[ids->count++] = id;
  return 0;
}

/* --- one text --- */

static int decode(struct zf_buf *out, const struct zf_text *text, int64_t from, int64_t to) {
  zf_buf_clear(out);
  zf_buf_puts(out, "");
  return zf_tok_decode(text->tok, out, text->ids.id + from, to - from, 1);
}

int zf_text_begin(struct zf_text *text, const struct zf_tok *tok, const int32_t *ids,
                  int64_t count) {
  text->tok = tok;
  text->ids.count = 0;
  text->prompt_len = text->to = count;
  text->from = count > CONTEXT ? count - CONTEXT : 0;
  text->ready = 0;
  text->finish = ZF_FINISH_NONE;
  zf_buf_clear(&text->text);
  zf_buf_puts(&text->text, "");
  zf_buf_clear(&text->settled);
  for (int64_t i = 0; i < count; i++) {
    int rc = zf_generation_add_id(&text->ids, ids[i]);
    if (rc) return rc;
  }
  return decode(&text->near, text, text->from, text->to);
}

void zf_text_free(struct zf_text *text) {
  zf_ids_free(&text->ids);
  zf_buf_free(&text->text);
  zf_buf_free(&text->settled);
  zf_buf_free(&text->near);
  zf_buf_free(&text->far);
}

/* Bytes of a UTF-8 character that begins with this byte. */
static size_t character_bytes(unsigned char first) {
  if (first >= 0xf0) return 4;
  if (first >= 0xe0) return 3;
  return first >= 0xc0 ? 2 : 1;
}

/* Length of the text without an incomplete UTF-8 character at its end.  Up to three replacement
 * characters at the end are incomplete, too: later tokens may change them. */
static size_t complete_len(const char *text, size_t len) {
  for (int i = 0; i < 3; i++)
    if (len >= 3 && !memcmp(text + len - 3, "\xef\xbf\xbd", 3)) len -= 3;
  size_t back = 0;
  while (back < 4 && back < len && ((unsigned char)text[len - 1 - back] & 0xc0) == 0x80) back++;
  if (back == len) return len;
  size_t need = character_bytes((unsigned char)text[len - 1 - back]);
  return need > back + 1 ? len - 1 - back : len;
}

/* The first stop text in `buf`, or NULL.  None lies within the first `before` bytes. */
static char *find_stop(struct zf_buf *buf, size_t before, const struct zf_generate_rules *rules) {
  char *first = NULL;
  for (int64_t i = 0; i < rules->nstop; i++) {
    size_t len = strlen(rules->stop[i]), from = before + 1 > len ? before + 1 - len : 0;
    char *hit = from < buf->len ? strstr(buf->data + from, rules->stop[i]) : NULL;
    if (hit && (!first || hit < first)) first = hit;
  }
  return first;
}

/* The first `len` bytes without an end that may be the beginning of a stop text. */
static size_t before_stop(const struct zf_buf *buf, size_t len,
                          const struct zf_generate_rules *rules) {
  size_t ready = len;
  for (int64_t i = 0; i < rules->nstop; i++)
    for (size_t head = strlen(rules->stop[i]) - 1; head > 0; head--)
      if (head <= buf->len && buf->len - head < ready &&
          !memcmp(buf->data + buf->len - head, rules->stop[i], head))
        ready = buf->len - head;
  return ready;
}

/* Updates `made` after a new token.  The text of new tokens is the difference that they make to the
 * text of the tokens before them, since a token's text may depend on those (blanks at a beginning,
 * parts of a character).  The decoded window advances every SETTLE tokens, at the end of a
 * character. */
static int bring_up(struct zf_text *text) {
  int rc = decode(&text->far, text, text->from, text->ids.count);
  if (rc) return rc;
  size_t same = 0;
  while (same < text->near.len && same < text->far.len &&
         text->near.data[same] == text->far.data[same])
    same++;
  zf_buf_clear(&text->text);
  zf_buf_add(&text->text, text->settled.data ? text->settled.data : "", text->settled.len);
  zf_buf_add(&text->text, text->far.data + same, text->far.len - same);
  int64_t fresh = text->ids.count - text->to;
  if (fresh < SETTLE ||
      (fresh < 4 * SETTLE && complete_len(text->far.data, text->far.len) < text->far.len))
    return zf_buf_ok(&text->text);
  zf_buf_add(&text->settled, text->far.data + same, text->far.len - same);
  text->from = text->to;
  text->to = text->ids.count;
  rc = decode(&text->near, text, text->from, text->to);
  return rc ? rc : zf_buf_ok(&text->settled);
}

static void end(struct zf_text *text, enum zf_finish why) {
  text->finish = why;
  text->ready = text->text.len;
}

int zf_text_push(struct zf_text *text, const struct zf_generate_rules *rules, int32_t id) {
  int64_t neos = text->neos ? text->neos : rules->neos;
  for (int64_t i = 0; i < neos; i++)
    if (id == rules->eos[i]) {
      end(text, ZF_FINISH_EOS);
      return 0;
    }
  size_t before = text->ready;
  int rc = zf_generation_add_id(&text->ids, id);
  if (!rc) rc = bring_up(text);
  if (rc) return rc;
  char *hit = find_stop(&text->text, before, rules);
  if (hit) {
    *hit = 0;
    text->text.len = (size_t)(hit - text->text.data);
    end(text, ZF_FINISH_STOP);
  } else if (text->ids.count - text->prompt_len >= rules->max_new) {
    end(text, ZF_FINISH_LENGTH);
  } else {
    text->ready = before_stop(&text->text, complete_len(text->text.data, text->text.len), rules);
  }
  return 0;
}

/* --- many texts --- */

struct generation {
  struct zf_decoder *decoder;
  const struct zf_generate_rules *rules;
  const struct zf_generate_io *io;
  struct zf_text **text; /* of each slot; NULL: the slot is free */
  int64_t slots, live;
  int exhausted; /* io->next has no more texts */
};

/* Puts waiting texts into free slots. */
static int fill_slots(struct generation *generation) {
  const struct zf_generate_io *io = generation->io;
  for (int64_t i = 0; i < generation->slots; i++) {
    if (generation->exhausted) return 0;
    if (generation->text[i]) continue;
    struct zf_text *text = NULL;
    int rc = io->next(io->ctx, &text);
    if (rc) return rc;
    generation->exhausted = !text;
    if (!text) return 0;
    generation->text[i] = text;
    generation->live++;
    rc = zf_decoder_put(generation->decoder, i, text->ids.id, text->ids.count, &text->kept);
    if (rc) return rc;
  }
  return 0;
}

/* Adds a token to the text of a slot. */
static int advance(struct generation *generation, int64_t slot) {
  const struct zf_generate_io *io = generation->io;
  struct zf_text *text = generation->text[slot];
  struct zf_sampling sampling = generation->rules->sampling;
  int32_t id;
  int rc;
  sampling.row = text->row;
  sampling.number = text->number;
  if ((rc = zf_decoder_pick(generation->decoder, slot, &sampling, &id))) return rc;
  if ((rc = zf_text_push(text, generation->rules, id))) return rc;
  if (!text->finish && zf_decoder_full(generation->decoder, slot)) end(text, ZF_FINISH_CONTEXT);
  if (io->token && (rc = io->token(io->ctx, text))) return rc;
  if (!text->finish) return 0;
  generation->text[slot] = NULL;
  generation->live--;
  return io->done ? io->done(io->ctx, text) : 0;
}

/* One pass, and a token for each text that has logits after it. */
static int run_pass(struct generation *generation) {
  int rc = zf_decoder_run(generation->decoder);
  if (rc) return rc;
  for (int64_t i = 0; i < generation->slots; i++) {
    if (!generation->text[i] || !zf_decoder_slot_logits(generation->decoder, i)) continue;
    if ((rc = advance(generation, i))) return rc;
  }
  return fill_slots(generation);
}

int zf_generate(struct zf_decoder *decoder, const struct zf_generate_rules *rules,
                const struct zf_generate_io *io) {
  struct generation generation = {
      .decoder = decoder, .rules = rules, .io = io, .slots = zf_decoder_slots(decoder)};
  generation.text = zf_calloc(generation.slots, sizeof *generation.text);
  int rc = generation.text ? fill_slots(&generation) : ZF_ENOMEM;
  while (!rc && generation.live && !(io->stop && io->stop())) rc = run_pass(&generation);
  free(generation.text);
  return rc;
}
