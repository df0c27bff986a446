#include "eval/generate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

enum { BEHIND = 8, SETTLE = 16 }; /* tokens */

const char *zf_finish_name(enum zf_finish f) {
  static const char *const name[] = {"none", "eos", "stop", "length", "context"};
  return name[f];
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

static int decode(struct zf_buf *out, const struct zf_text *t, int64_t from, int64_t to) {
  zf_buf_clear(out);
  zf_buf_puts(out, "");
  return zf_tok_decode(t->tok, out, t->ids.id + from, to - from, 1);
}

int zf_text_begin(struct zf_text *t, const struct zf_tok *tok, const int32_t *ids, int64_t n) {
  int rc = 0;
  t->tok = tok;
  t->ids.count = 0;
  for (int64_t i = 0; !rc && i < n; i++) rc = zf_generation_add_id(&t->ids, ids[i]);
  t->given = t->to = n;
  t->from = n > BEHIND ? n - BEHIND : 0;
  t->ready = 0;
  t->finish = ZF_FINISH_NONE;
  zf_buf_clear(&t->made);
  zf_buf_puts(&t->made, "");
  zf_buf_clear(&t->settled);
  return rc ? rc : decode(&t->near, t, t->from, t->to);
}

void zf_text_free(struct zf_text *t) {
  zf_ids_free(&t->ids);
  zf_buf_free(&t->made);
  zf_buf_free(&t->settled);
  zf_buf_free(&t->near);
  zf_buf_free(&t->far);
}

/* Bytes that end a whole UTF-8 character; up to three replacement characters at the end may yet become
 * another one. */
static size_t whole(const char *s, size_t n) {
  for (int i = 0; i < 3 && n >= 3 && !memcmp(s + n - 3, "\xef\xbf\xbd", 3); i++) n -= 3;
  size_t back = 0;
  while (back < 4 && back < n && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80) back++;
  if (back == n) return n;
  unsigned char c = (unsigned char)s[n - 1 - back];
  size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
  return need > back + 1 ? n - 1 - back : n;
}

/* Where the first stop text begins, or NULL; those in what was there before have been looked for. */
static char *find_stop(struct zf_buf *b, size_t before, const struct zf_generate_rules *r) {
  char *first = NULL;
  for (int64_t i = 0; i < r->nstop; i++) {
    size_t len = strlen(r->stop[i]), from = before + 1 > len ? before + 1 - len : 0;
    char *hit = from < b->len ? strstr(b->data + from, r->stop[i]) : NULL;
    if (hit && (!first || hit < first)) first = hit;
  }
  return first;
}

/* n, less what may be the beginning of a stop text. */
static size_t unlike_stop(const struct zf_buf *b, size_t n, const struct zf_generate_rules *r) {
  size_t out = n;
  for (int64_t i = 0; i < r->nstop; i++)
    for (size_t k = strlen(r->stop[i]) - 1; k > 0; k--)
      if (k <= b->len && b->len - k < out && !memcmp(b->data + b->len - k, r->stop[i], k))
        out = b->len - k;
  return out;
}

/* The new tokens' text is what they add to that of the tokens before them: a token's own text may
 * depend on what it follows (blanks at a beginning, parts of a character). */
static int bring_up(struct zf_text *t) {
  int rc = decode(&t->far, t, t->from, t->ids.count);
  if (rc) return rc;
  size_t same = 0;
  while (same < t->near.len && same < t->far.len && t->near.data[same] == t->far.data[same]) same++;
  zf_buf_clear(&t->made);
  zf_buf_add(&t->made, t->settled.data ? t->settled.data : "", t->settled.len);
  zf_buf_add(&t->made, t->far.data + same, t->far.len - same);
  int64_t fresh = t->ids.count - t->to;
  if (fresh < SETTLE || (fresh < 4 * SETTLE && whole(t->far.data, t->far.len) < t->far.len))
    return zf_buf_ok(&t->made);
  zf_buf_add(&t->settled, t->far.data + same, t->far.len - same);
  t->from = t->to;
  t->to = t->ids.count;
  rc = decode(&t->near, t, t->from, t->to);
  return rc ? rc : zf_buf_ok(&t->settled);
}

static void end(struct zf_text *t, enum zf_finish why) {
  t->finish = why;
  t->ready = t->made.len;
}

int zf_text_push(struct zf_text *t, const struct zf_generate_rules *r, int32_t id) {
  for (int64_t i = 0; i < (t->neos ? t->neos : r->neos); i++)
    if (id == r->eos[i]) {
      end(t, ZF_FINISH_EOS);
      return 0;
    }
  size_t before = t->ready;
  int rc = zf_generation_add_id(&t->ids, id);
  if (!rc) rc = bring_up(t);
  if (rc) return rc;
  char *hit = find_stop(&t->made, before, r);
  if (hit) {
    *hit = 0;
    t->made.len = (size_t)(hit - t->made.data);
    end(t, ZF_FINISH_STOP);
  } else if (t->ids.count - t->given >= r->max_new) {
    end(t, ZF_FINISH_LENGTH);
  } else {
    t->ready = unlike_stop(&t->made, whole(t->made.data, t->made.len), r);
  }
  return 0;
}

/* --- many --- */

struct crowd {
  struct zf_decoder *d;
  const struct zf_generate_rules *r;
  const struct zf_generate_io *io;
  struct zf_text **at; /* of each slot; NULL: free */
  int64_t slots, live;
  int dry; /* no text is waiting */
};

static int fill(struct crowd *c) {
  int rc = 0;
  for (int64_t i = 0; !rc && !c->dry && i < c->slots; i++) {
    if (c->at[i]) continue;
    struct zf_text *t = NULL;
    rc = c->io->next(c->io->ctx, &t);
    if (rc) return rc;
    c->dry = !t;
    if (!t) break;
    rc = zf_decoder_put(c->d, i, t->ids.id, t->ids.count, &t->kept);
    c->at[i] = t;
    c->live++;
  }
  return rc;
}

static int advance(struct crowd *c, int64_t i) {
  struct zf_text *t = c->at[i];
  struct zf_sampling s = c->r->sampling;
  int32_t id;
  s.row = t->row;
  s.number = t->number;
  int rc = zf_decoder_pick(c->d, i, &s, &id);
  if (!rc) rc = zf_text_push(t, c->r, id);
  if (!rc && !t->finish && zf_decoder_full(c->d, i)) end(t, ZF_FINISH_CONTEXT);
  if (!rc && c->io->token) rc = c->io->token(c->io->ctx, t);
  if (rc || !t->finish) return rc;
  c->at[i] = NULL;
  c->live--;
  return c->io->done ? c->io->done(c->io->ctx, t) : 0;
}

int zf_generate(struct zf_decoder *d, const struct zf_generate_rules *r,
                const struct zf_generate_io *io) {
  struct crowd c = {.d = d, .r = r, .io = io, .slots = zf_decoder_slots(d)};
  c.at = zf_calloc(c.slots, sizeof *c.at);
  int rc = c.at ? fill(&c) : ZF_ENOMEM;
  while (!rc && c.live && !(io->stop && io->stop())) {
    rc = zf_decoder_run(d);
    for (int64_t i = 0; !rc && i < c.slots; i++)
      if (c.at[i] && zf_decoder_slot_logits(d, i)) rc = advance(&c, i);
    if (!rc) rc = fill(&c);
  }
  free(c.at);
  return rc;
}
