/* Pairs of texts and rolling windows to sequences. */
#include "task/pair.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "task/encode_internal.h"
#include "task/jinja_internal.h"

int zf_pairs_init(struct zf_pairs *p, const struct zf_tok *tok, int64_t length) {
  *p = (struct zf_pairs){.tok = tok, .prefix = zf_tok_bos(tok), .length = length};
  if (p->prefix < 0) p->prefix = zf_tok_eos(tok);
  zf_buf_puts(&p->prefix_text, "");
  int rc = p->prefix < 0 ? 0 : zf_tok_decode(tok, &p->prefix_text, &p->prefix, 1, 0);
  return rc ? rc : zf_buf_ok(&p->prefix_text);
}

void zf_pairs_free(struct zf_pairs *p) {
  zf_buf_free(&p->prefix_text);
  zf_buf_free(&p->text);
  zf_ids_free(&p->whole);
  zf_ids_free(&p->context);
}

static int encode(const struct zf_pairs *p, struct zf_ids *out, const char *text, int special) {
  int has_prefix = p->prefix >= 0 && !strncmp(text, p->prefix_text.data, p->prefix_text.len);
  out->count = 0;
  return zf_tok_encode(p->tok, out, text, strlen(text),
                       special && !has_prefix ? ZF_ENC_SPECIAL : 0);
}

/* Where white space at the end of a text begins. */
static size_t text_end(const char *s) {
  size_t end = strlen(s);
  while (end) {
    size_t last = end - 1;
    while (last && ((unsigned char)s[last] & 0xC0) == 0x80) last--;
    if (!zj_space_at(s + last)) break;
    end = last;
  }
  return end;
}

static int need_prefix(const struct zf_pairs *p) {
  if (p->prefix >= 0) return 0;
  return zf_error(ZF_EUSAGE, "a text without context needs a token before it: the tokenizer names "
                             "neither BOS nor EOS");
}

/* Puts ids a, then b, into p->whole, of which b are in its end already. */
static int put_before(struct zf_ids *ids, const int32_t *a, int64_t n, int64_t from) {
  int64_t rest = ids->count - from;
  if (n + rest > ids->cap) {
    int32_t *id = realloc(ids->id, (size_t)(n + rest) * sizeof *id);
    if (!id) return zf_error(ZF_ENOMEM, "out of memory for tokens");
    ids->id = id;
    ids->cap = n + rest;
  }
  memmove(ids->id + n, ids->id + from, (size_t)rest * sizeof *ids->id);
  if (n) memcpy(ids->id, a, (size_t)n * sizeof *a);
  ids->count = n + rest;
  return 0;
}

/* The tokens of context and continuation in p->whole; of them *target are context. */
static int join(struct zf_pairs *p, const char *context, const char *continuation,
                int64_t *target) {
  size_t end = text_end(context);
  zf_buf_clear(&p->text);
  zf_buf_puts(&p->text, context);
  zf_buf_puts(&p->text, continuation);
  int rc = zf_buf_ok(&p->text);
  if (!rc) rc = encode(p, &p->whole, p->text.data, end > 0);
  *target = 1;
  if (rc) return rc;
  if (end) {
    p->text.data[end] = 0;
    if ((rc = encode(p, &p->context, p->text.data, 1))) return rc;
    int64_t n = *target = p->context.count;
    return put_before(&p->whole, p->context.id, n, n < p->whole.count ? n : p->whole.count);
  }
  if (p->whole.count && p->whole.id[0] == p->prefix) return 0;
  rc = need_prefix(p);
  return rc ? rc : put_before(&p->whole, &p->prefix, 1, 0);
}

int zf_pairs_add(struct zf_pairs *p, struct zf_dataset *d, const char *context,
                 const char *continuation) {
  int64_t target, rc = join(p, context, continuation, &target);
  if (rc) return (int)rc;
  int64_t n = p->whole.count, cut = n > p->length + 1 ? n - p->length - 1 : 0;
  if (n <= target || target < 1)
    return zf_error(ZF_EINVALID, "the text '%.40s' has no token of its own behind its context",
                    continuation);
  if (n - target > p->length)
    return zf_error(ZF_EINVALID, "the text '%.40s' has %lld tokens, the model reads %lld",
                    continuation, (long long)(n - target), (long long)p->length);
  p->truncated += cut > 0;
  return zf_dataset_seq(d, p->whole.id + cut, n - cut, target - cut);
}

int zf_pairs_example(struct zf_dataset *d, int32_t nseq, int64_t line) {
  struct zf_example x = {.seq = d->nseq - nseq, .nseq = nseq, .label = -1, .line = line};
  zf_dataset_shared(d, &x);
  x.single = 0;
  return zf_dataset_keep(d, &x);
}

int zf_pairs_roll(struct zf_pairs *p, struct zf_dataset *d, const char *text, int64_t line,
                  int64_t *windows) {
  int64_t L = p->length, at = 1; /* tokens before `at` are predicted, or the prefix */
  int rc = need_prefix(p);
  *windows = 0;
  if (!rc) rc = encode(p, &p->whole, text, 1);
  if (!rc) rc = put_before(&p->whole, &p->prefix, 1, 0);
  while (!rc && at < p->whole.count) {
    int64_t end = p->whole.count - at < L ? p->whole.count : at + L;
    int64_t from = at == 1 ? 0 : end - L - 1;
    rc = zf_dataset_seq(d, p->whole.id + from, end - from, at - from);
    if (!rc) rc = zf_pairs_example(d, 1, line);
    at = end;
    ++*windows;
  }
  return rc;
}
