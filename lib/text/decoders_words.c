/* Decoders of models of words: WordPiece, CTC, and BPE with a suffix at word ends. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

struct decoder {
  char *text;  /* the prefix of a continuing piece, the pad, the suffix */
  char *delim; /* CTC's mark between words */
  int cleanup;
};

void zf_word_decoder_free(void *self) {
  struct decoder *d = self;
  if (!d) return;
  free(d->text);
  free(d->delim);
  free(d);
}

static int parse(void **self, const json_t *def, const char *where, const char *key,
                 const char *text, const char *delim) {
  struct decoder *d = zf_calloc(1, sizeof *d);
  if (!d) return ZF_ENOMEM;
  d->cleanup = 1;
  int rc = zf_json_str(&text, def, key, where);
  if (!rc) rc = zf_json_str(&delim, def, "word_delimiter_token", where);
  if (!rc) rc = zf_json_bool(&d->cleanup, def, "cleanup", where);
  if (!rc && (!(d->text = zf_strdup(text)) || !(d->delim = zf_strdup(delim)))) rc = ZF_ENOMEM;
  if (rc) {
    zf_word_decoder_free(d);
    return rc;
  }
  *self = d;
  return 0;
}

int zf_wordpiece_decoder_parse(void **self, const json_t *def, const char *where,
                               const struct zf_tok *t) {
  (void)t;
  return parse(self, def, where, "prefix", "##", "");
}

int zf_ctc_parse(void **self, const json_t *def, const char *where, const struct zf_tok *t) {
  (void)t;
  return parse(self, def, where, "pad_token", "<pad>", "|");
}

int zf_bpe_decoder_parse(void **self, const json_t *def, const char *where,
                         const struct zf_tok *t) {
  (void)t;
  return parse(self, def, where, "suffix", "</w>", "");
}

/* Replaces every `from` of b. */
static void replace(struct zf_buf *b, const char *from, const char *to) {
  size_t n = strlen(from), at = 0;
  struct zf_buf out = {0};
  const char *hit = b->data && n ? strstr(b->data, from) : NULL;
  if (!hit) return;
  for (; hit; hit = strstr(b->data + at, from)) {
    zf_buf_add(&out, b->data + at, (size_t)(hit - b->data) - at);
    zf_buf_puts(&out, to);
    at = (size_t)(hit - b->data) + n;
  }
  zf_buf_add(&out, b->data + at, b->len - at);
  out.failed |= b->failed;
  zf_buf_free(b);
  *b = out;
}

/* Spaces that English has not before signs and contractions. */
static void clean_up(struct zf_buf *b) {
  static const char *const pair[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                        {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                        {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                        {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) replace(b, pair[i][0], pair[i][1]);
}

typedef void (*token_fn)(const struct decoder *d, struct zf_buf *b, int first, int last);

/* Rewrites every token; tokens equal to the one before are left out if asked, and so
 * are those that become empty. */
static int rewrite(const struct decoder *d, struct zf_encoding *w, token_fn fn, int dedup) {
  struct zf_buf b = {0};
  int rc = zf_encoding_reserve(w, w->cur.len + 1);
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece p = w->piece[i];
    const struct zf_piece q = i ? w->piece[i - 1] : p;
    if (dedup && i && p.len == q.len &&
        !memcmp(w->cur.data + p.off, w->cur.data + q.off, (size_t)p.len))
      continue;
    zf_buf_clear(&b);
    zf_buf_add(&b, w->cur.data + p.off, (size_t)p.len);
    fn(d, &b, i == 0, i == w->npiece - 1);
    rc = zf_buf_ok(&b);
    int64_t off = w->next.len;
    if (!rc && b.len) rc = zf_text_buf_add(w, b.data, (int64_t)b.len, 0, 0);
    if (!rc && (b.len || !dedup)) rc = zf_encoding_push(w, off, w->next.len - off, -1);
  }
  zf_buf_free(&b);
  if (rc) return rc;
  zf_encoding_swap_text(w);
  zf_encoding_swap_pieces(w);
  return 0;
}

static void insert_space(struct zf_buf *b) {
  size_t n = b->len;
  zf_buf_putc(b, ' ');
  if (b->failed) return;
  memmove(b->data + 1, b->data, n);
  b->data[0] = ' ';
}

static void wordpiece_token(const struct decoder *d, struct zf_buf *b, int first, int last) {
  size_t n = strlen(d->text);
  (void)last;
  if (!first && b->len >= n && !memcmp(b->data ? b->data : "", d->text, n)) {
    if (n) memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
  } else if (!first) {
    insert_space(b);
  }
  if (d->cleanup) clean_up(b);
}

int zf_wordpiece_decoder_apply(const void *self, struct zf_encoding *w) {
  return rewrite(self, w, wordpiece_token, 0);
}

static void ctc_token(const struct decoder *d, struct zf_buf *b, int first, int last) {
  (void)first;
  (void)last;
  replace(b, d->text, "");
  if (!d->cleanup) return;
  clean_up(b);
  replace(b, d->delim, " ");
}

int zf_ctc_apply(const void *self, struct zf_encoding *w) {
  return rewrite(self, w, ctc_token, 1);
}

static void bpe_token(const struct decoder *d, struct zf_buf *b, int first, int last) {
  (void)first;
  replace(b, d->text, last ? "" : " ");
}

int zf_bpe_decoder_apply(const void *self, struct zf_encoding *w) {
  return rewrite(self, w, bpe_token, 0);
}
