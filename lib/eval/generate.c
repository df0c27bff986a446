#include "eval/generate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

enum { BEHIND = 8, SETTLE = 16 }; /* tokens */

const char *zf_finish_name(enum zf_finish finish) {
  static const char *const name[] = {"none", "eos", "stop", "length", "context"};
  return name[finish];
}

int zf_generation_add_id(struct zf_ids *ids, int32_t id) {
  if (ids->count == ids->cap) {
    int64_t cap = ids->cap ? 2 * ids->cap : 64;
    int32_t *p = realloc(ids->id, (size_t)cap * sizeof *p);
    if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    ids->id = p;
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
  int rc = 0;
  text->tok = tok;
  text->ids.count = 0;
  for (int64_t i = 0; !rc && i < count; i++) rc = zf_generation_add_id(&text->ids, ids[i]);
  text->given = text->to = count;
  text->from = count > BEHIND ? count - BEHIND : 0;
  text->ready = 0;
  text->finish = ZF_FINISH_NONE;
  zf_buf_clear(&text->made);
  zf_buf_puts(&text->made, "");
  zf_buf_clear(&text->settled);
  return rc ? rc : decode(&text->near, text, text->from, text->to);
}

void zf_text_free(struct zf_text *text) {
  zf_ids_free(&text->ids);
  zf_buf_free(&text->made);
  zf_buf_free(&text->settled);
  zf_buf_free(&text->near);
  zf_buf_free(&text->far);
}

/* Bytes that end a whole UTF-8 character; up to three replacement characters at the end may yet become
 * another one. */
static size_t whole(const char *s, size_t len) {
  for (int i = 0; i < 3 && len >= 3 && !memcmp(s + len - 3, "\xef\xbf\xbd", 3); i++) len -= 3;
  size_t back = 0;
  while (back < 4 && back < len && ((unsigned char)s[len - 1 - back] & 0xc0) == 0x80) back++;
  if (back == len) return len;
  unsigned char c = (unsigned char)s[len - 1 - back];
  size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
  return need > back + 1 ? len - 1 - back : len;
}

/* Where the first stop text begins, or NULL; those in what was there before have been looked for. */
static char *find_stop(struct zf_buf *buf, size_t before, const struct zf_generate_rules *rules) {
  char *first = NULL;
  for (int64_t i = 0; i < rules->nstop; i++) {
    size_t len = strlen(rules->stop[i]), from = before + 1 > len ? before + 1 - len : 0;
    char *hit = from < buf->len ? strstr(buf->data + from, rules->stop[i]) : NULL;
    if (hit && (!first || hit < first)) first = hit;
  }
  return first;
}

/* n, less what may be the beginning of a stop text. */
static size_t unlike_stop(const struct zf_buf *buf, size_t count,
                          const struct zf_generate_rules *rules) {
  size_t out = count;
  for (int64_t i = 0; i < rules->nstop; i++)
    for (size_t k = strlen(rules->stop[i]) - 1; k > 0; k--)
      if (k <= buf->len && buf->len - k < out &&
          !memcmp(buf->data + buf->len - k, rules->stop[i], k))
        out = buf->len - k;
  return out;
}

/* The new tokens' text is what they add to that of the tokens before them: a token's own text may
 * depend on what it follows (blanks at a beginning, parts of a character). */
static int bring_up(struct zf_text *text) {
  int rc = decode(&text->far, text, text->from, text->ids.count);
  if (rc) return rc;
  size_t same = 0;
  while (same < text->near.len && same < text->far.len &&
         text->near.data[same] == text->far.data[same])
    same++;
  zf_buf_clear(&text->made);
  zf_buf_add(&text->made, text->settled.data ? text->settled.data : "", text->settled.len);
  zf_buf_add(&text->made, text->far.data + same, text->far.len - same);
  int64_t fresh = text->ids.count - text->to;
  if (fresh < SETTLE ||
      (fresh < 4 * SETTLE && whole(text->far.data, text->far.len) < text->far.len))
    return zf_buf_ok(&text->made);
  zf_buf_add(&text->settled, text->far.data + same, text->far.len - same);
  text->from = text->to;
  text->to = text->ids.count;
  rc = decode(&text->near, text, text->from, text->to);
  return rc ? rc : zf_buf_ok(&text->settled);
}

static void end(struct zf_text *text, enum zf_finish why) {
  text->finish = why;
  text->ready = text->made.len;
}

int zf_text_push(struct zf_text *text, const struct zf_generate_rules *rules, int32_t id) {
  for (int64_t i = 0; i < (text->neos ? text->neos : rules->neos); i++)
    if (id == rules->eos[i]) {
      end(text, ZF_FINISH_EOS);
      return 0;
    }
  size_t before = text->ready;
  int rc = zf_generation_add_id(&text->ids, id);
  if (!rc) rc = bring_up(text);
  if (rc) return rc;
  char *hit = find_stop(&text->made, before, rules);
  if (hit) {
    *hit = 0;
    text->made.len = (size_t)(hit - text->made.data);
    end(text, ZF_FINISH_STOP);
  } else if (text->ids.count - text->given >= rules->max_new) {
    end(text, ZF_FINISH_LENGTH);
  } else {
    text->ready = unlike_stop(&text->made, whole(text->made.data, text->made.len), rules);
  }
  return 0;
}

/* --- many --- */

struct crowd {
  struct zf_decoder *decoder;
  const struct zf_generate_rules *rules;
  const struct zf_generate_io *io;
  struct zf_text **at; /* of each slot; NULL: free */
  int64_t slots, live;
  int dry; /* no text is waiting */
};

static int fill(struct crowd *crowd) {
  int rc = 0;
  for (int64_t i = 0; !rc && !crowd->dry && i < crowd->slots; i++) {
    if (crowd->at[i]) continue;
    struct zf_text *text = NULL;
    rc = crowd->io->next(crowd->io->ctx, &text);
    if (rc) return rc;
    crowd->dry = !text;
    if (!text) break;
    rc = zf_decoder_put(crowd->decoder, i, text->ids.id, text->ids.count, &text->kept);
    crowd->at[i] = text;
    crowd->live++;
  }
  return rc;
}

static int advance(struct crowd *crowd, int64_t i) {
  struct zf_text *text = crowd->at[i];
  struct zf_sampling sampling = crowd->rules->sampling;
  int32_t id;
  sampling.row = text->row;
  sampling.number = text->number;
  int rc = zf_decoder_pick(crowd->decoder, i, &sampling, &id);
  if (!rc) rc = zf_text_push(text, crowd->rules, id);
  if (!rc && !text->finish && zf_decoder_full(crowd->decoder, i)) end(text, ZF_FINISH_CONTEXT);
  if (!rc && crowd->io->token) rc = crowd->io->token(crowd->io->ctx, text);
  if (rc || !text->finish) return rc;
  crowd->at[i] = NULL;
  crowd->live--;
  return crowd->io->done ? crowd->io->done(crowd->io->ctx, text) : 0;
}

int zf_generate(struct zf_decoder *decoder, const struct zf_generate_rules *rules,
                const struct zf_generate_io *io) {
  struct crowd crowd = {
      .decoder = decoder, .rules = rules, .io = io, .slots = zf_decoder_slots(decoder)};
  crowd.at = zf_calloc(crowd.slots, sizeof *crowd.at);
  int rc = crowd.at ? fill(&crowd) : ZF_ENOMEM;
  while (!rc && crowd.live && !(io->stop && io->stop())) {
    rc = zf_decoder_run(decoder);
    for (int64_t i = 0; !rc && i < crowd.slots; i++)
      if (crowd.at[i] && zf_decoder_slot_logits(decoder, i)) rc = advance(&crowd, i);
    if (!rc) rc = fill(&crowd);
  }
  free(crowd.at);
  return rc;
}
