/* Decoders of word models: WordPiece, CTC, and BPE with a suffix at word ends. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

struct word_decoder {
  char *affix; /* the prefix of a continuing piece, the pad, the suffix */
  char *delim; /* CTC's mark between words */
  int cleanup;
};

void zf_word_decoder_free(void *self) {
  struct word_decoder *decoder = self;
  if (!decoder) return;
  free(decoder->affix);
  free(decoder->delim);
  free(decoder);
}

static int parse(void **self, const json_t *def, const char *where, const char *key,
                 const char *text, const char *delim) {
  struct word_decoder *decoder = zf_calloc(1, sizeof *decoder);
  if (!decoder) return ZF_ENOMEM;
  decoder->cleanup = 1;
  int rc = zf_json_str(&text, def, key, where);
  if (!rc) rc = zf_json_str(&delim, def, "word_delimiter_token", where);
  if (!rc) rc = zf_json_bool(&decoder->cleanup, def, "cleanup", where);
  if (!rc && (!(decoder->affix = zf_strdup(text)) || !(decoder->delim = zf_strdup(delim))))
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

/* Replaces every `from` in the buffer by `to`. */
static void replace(struct zf_buf *buf, const char *from, const char *to) {
  size_t from_len = strlen(from), at = 0;
  struct zf_buf out = {0};
  const char *match = buf->data && from_len ? strstr(buf->data, from) : NULL;
  if (!match) return;
  for (; match; match = strstr(buf->data + at, from)) {
    zf_buf_add(&out, buf->data + at, (size_t)(match - buf->data) - at);
    zf_buf_puts(&out, to);
    at = (size_t)(match - buf->data) + from_len;
  }
  zf_buf_add(&out, buf->data + at, buf->len - at);
  out.failed |= buf->failed;
  zf_buf_free(buf);
  *buf = out;
}

/* Removes spaces before punctuation and contractions, as English is written. */
static void clean_up(struct zf_buf *buf) {
  static const char *const pair[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                        {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                        {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                        {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) replace(buf, pair[i][0], pair[i][1]);
}

typedef void (*token_fn)(const struct word_decoder *decoder, struct zf_buf *buf, int first,
                         int last);

/* Is token i equal to the token before it? */
static int repeats(const struct zf_encoding *encoding, int64_t i) {
  if (i == 0) return 0;
  const struct zf_span *span = &encoding->span[i], *before = span - 1;
  const char *text = encoding->text.data;
  return span->len == before->len &&
         !memcmp(text + span->off, text + before->off, (size_t)span->len);
}

/* Rewrites every token by fn.  With `dedup`, tokens that repeat the one before and tokens that
 * become empty are dropped. */
static int rewrite(const struct word_decoder *decoder, struct zf_encoding *encoding, token_fn fn,
                   int dedup, struct zf_buf *buf) {
  int rc = zf_encoding_reserve(encoding, encoding->text.len + 1);
  if (rc) return rc;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    if (dedup && repeats(encoding, i)) continue;
    zf_buf_clear(buf);
    zf_buf_add(buf, encoding->text.data + span.off, (size_t)span.len);
    fn(decoder, buf, i == 0, i == encoding->span_count - 1);
    if ((rc = zf_buf_ok(buf))) return rc;
    if (dedup && !buf->len) continue;
    int64_t off = encoding->new_text.len;
    if (buf->len) rc = zf_text_buf_add(encoding, buf->data, (int64_t)buf->len, 0, 0);
    if (!rc) rc = zf_encoding_add_span(encoding, off, (int64_t)buf->len, -1);
    if (rc) return rc;
  }
  return 0;
}

static int apply(const struct word_decoder *decoder, struct zf_encoding *encoding, token_fn fn,
                 int dedup) {
  struct zf_buf buf = {0};
  int rc = rewrite(decoder, encoding, fn, dedup, &buf);
  zf_buf_free(&buf);
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  zf_encoding_swap_spans(encoding);
  return 0;
}

static void insert_space(struct zf_buf *buf) {
  size_t len = buf->len;
  zf_buf_putc(buf, ' ');
  if (buf->failed) return;
  memmove(buf->data + 1, buf->data, len);
  buf->data[0] = ' ';
}

static void wordpiece_token(const struct word_decoder *decoder, struct zf_buf *buf, int first,
                            int last) {
  size_t prefix_len = strlen(decoder->affix);
  (void)last;
  if (!first && buf->len >= prefix_len &&
      !memcmp(buf->data ? buf->data : "", decoder->affix, prefix_len)) {
    if (prefix_len) memmove(buf->data, buf->data + prefix_len, buf->len - prefix_len + 1);
    buf->len -= prefix_len;
  } else if (!first) {
    insert_space(buf);
  }
  if (decoder->cleanup) clean_up(buf);
}

int zf_wordpiece_decoder_apply(const void *self, struct zf_encoding *encoding) {
  return apply(self, encoding, wordpiece_token, 0);
}

static void ctc_token(const struct word_decoder *decoder, struct zf_buf *buf, int first, int last) {
  (void)first;
  (void)last;
  replace(buf, decoder->affix, "");
  if (!decoder->cleanup) return;
  clean_up(buf);
  replace(buf, decoder->delim, " ");
}

int zf_ctc_apply(const void *self, struct zf_encoding *encoding) {
  return apply(self, encoding, ctc_token, 1);
}

static void bpe_token(const struct word_decoder *decoder, struct zf_buf *buf, int first, int last) {
  (void)first;
  replace(buf, decoder->affix, last ? "" : " ");
}

int zf_bpe_decoder_apply(const void *self, struct zf_encoding *encoding) {
  return apply(self, encoding, bpe_token, 0);
}
