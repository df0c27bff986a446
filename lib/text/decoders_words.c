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
  struct decoder *decoder = self;
  if (!decoder) return;
  free(decoder->text);
  free(decoder->delim);
  free(decoder);
}

static int parse(void **self, const json_t *def, const char *where, const char *key,
                 const char *text, const char *delim) {
  struct decoder *decoder = zf_calloc(1, sizeof *decoder);
  if (!decoder) return ZF_ENOMEM;
  decoder->cleanup = 1;
  int rc = zf_json_str(&text, def, key, where);
  if (!rc) rc = zf_json_str(&delim, def, "word_delimiter_token", where);
  if (!rc) rc = zf_json_bool(&decoder->cleanup, def, "cleanup", where);
  if (!rc && (!(decoder->text = zf_strdup(text)) || !(decoder->delim = zf_strdup(delim))))
    rc = ZF_ENOMEM;
  if (rc) {
    zf_word_decoder_free(decoder);
    return rc;
  }
  *self = decoder;
  return 0;
}

int zf_wordpiece_decoder_parse(void **self, const json_t *def, const char *where,
                               const struct zf_tok *tok) {
  (void)tok;
  return parse(self, def, where, "prefix", "##", "");
}

int zf_ctc_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok) {
  (void)tok;
  return parse(self, def, where, "pad_token", "<pad>", "|");
}

int zf_bpe_decoder_parse(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok) {
  (void)tok;
  return parse(self, def, where, "suffix", "</w>", "");
}

/* Replaces every `from` of b. */
static void replace(struct zf_buf *buf, const char *from, const char *to) {
  size_t n = strlen(from), at = 0;
  struct zf_buf out = {0};
  const char *hit = buf->data && n ? strstr(buf->data, from) : NULL;
  if (!hit) return;
  for (; hit; hit = strstr(buf->data + at, from)) {
    zf_buf_add(&out, buf->data + at, (size_t)(hit - buf->data) - at);
    zf_buf_puts(&out, to);
    at = (size_t)(hit - buf->data) + n;
  }
  zf_buf_add(&out, buf->data + at, buf->len - at);
  out.failed |= buf->failed;
  zf_buf_free(buf);
  *buf = out;
}

/* Spaces that English has not before signs and contractions. */
static void clean_up(struct zf_buf *buf) {
  static const char *const pair[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                        {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                        {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                        {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) replace(buf, pair[i][0], pair[i][1]);
}

typedef void (*token_fn)(const struct decoder *d, struct zf_buf *b, int first, int last);

/* Rewrites every token; tokens equal to the one before are left out if asked, and so
 * are those that become empty. */
static int rewrite(const struct decoder *decoder, struct zf_encoding *encoding, token_fn fn,
                   int dedup) {
  struct zf_buf buf = {0};
  int rc = zf_encoding_reserve(encoding, encoding->cur.len + 1);
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece piece = encoding->piece[i];
    const struct zf_piece q = i ? encoding->piece[i - 1] : piece;
    if (dedup && i && piece.len == q.len &&
        !memcmp(encoding->cur.data + piece.off, encoding->cur.data + q.off, (size_t)piece.len))
      continue;
    zf_buf_clear(&buf);
    zf_buf_add(&buf, encoding->cur.data + piece.off, (size_t)piece.len);
    fn(decoder, &buf, i == 0, i == encoding->npiece - 1);
    rc = zf_buf_ok(&buf);
    int64_t off = encoding->next.len;
    if (!rc && buf.len) rc = zf_text_buf_add(encoding, buf.data, (int64_t)buf.len, 0, 0);
    if (!rc && (buf.len || !dedup))
      rc = zf_encoding_push(encoding, off, encoding->next.len - off, -1);
  }
  zf_buf_free(&buf);
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  zf_encoding_swap_pieces(encoding);
  return 0;
}

static void insert_space(struct zf_buf *buf) {
  size_t n = buf->len;
  zf_buf_putc(buf, ' ');
  if (buf->failed) return;
  memmove(buf->data + 1, buf->data, n);
  buf->data[0] = ' ';
}

static void wordpiece_token(const struct decoder *decoder, struct zf_buf *buf, int first,
                            int last) {
  size_t n = strlen(decoder->text);
  (void)last;
  if (!first && buf->len >= n && !memcmp(buf->data ? buf->data : "", decoder->text, n)) {
    if (n) memmove(buf->data, buf->data + n, buf->len - n + 1);
    buf->len -= n;
  } else if (!first) {
    insert_space(buf);
  }
  if (decoder->cleanup) clean_up(buf);
}

int zf_wordpiece_decoder_apply(const void *self, struct zf_encoding *encoding) {
  return rewrite(self, encoding, wordpiece_token, 0);
}

static void ctc_token(const struct decoder *decoder, struct zf_buf *buf, int first, int last) {
  (void)first;
  (void)last;
  replace(buf, decoder->text, "");
  if (!decoder->cleanup) return;
  clean_up(buf);
  replace(buf, decoder->delim, " ");
}

int zf_ctc_apply(const void *self, struct zf_encoding *encoding) {
  return rewrite(self, encoding, ctc_token, 1);
}

static void bpe_token(const struct decoder *decoder, struct zf_buf *buf, int first, int last) {
  (void)first;
  replace(buf, decoder->text, last ? "" : " ");
}

int zf_bpe_decoder_apply(const void *self, struct zf_encoding *encoding) {
  return rewrite(self, encoding, bpe_token, 0);
}
