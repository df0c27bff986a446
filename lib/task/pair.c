/* Pairs of texts and rolling windows to sequences. */
#include "task/pair.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "task/encode_internal.h"
#include "task/jinja_internal.h"

int zf_pairs_init(struct zf_pairs *pairs, const struct zf_tok *tok, int64_t length) {
  *pairs = (struct zf_pairs){.tok = tok, .prefix = zf_tok_bos(tok), .length = length};
  if (pairs->prefix < 0) pairs->prefix = zf_tok_eos(tok);
  zf_buf_puts(&pairs->prefix_text, "");
  int rc = pairs->prefix < 0 ? 0 : zf_tok_decode(tok, &pairs->prefix_text, &pairs->prefix, 1, 0);
  return rc ? rc : zf_buf_ok(&pairs->prefix_text);
}

void zf_pairs_free(struct zf_pairs *pairs) {
  zf_buf_free(&pairs->prefix_text);
  zf_buf_free(&pairs->text);
  zf_ids_free(&pairs->whole);
  zf_ids_free(&pairs->context);
}

static int encode(const struct zf_pairs *pairs, struct zf_ids *out, const char *text, int special) {
  int has_prefix =
      pairs->prefix >= 0 && !strncmp(text, pairs->prefix_text.data, pairs->prefix_text.len);
  out->count = 0;
  return zf_tok_encode(pairs->tok, out, text, strlen(text),
                       special && !has_prefix ? ZF_ENC_SPECIAL : 0);
}

/* Where white space at the end of a text begins. */
static size_t text_end(const char *text) {
  size_t end = strlen(text);
  while (end) {
    size_t last = end - 1;
    while (last && ((unsigned char)text[last] & 0xC0) == 0x80) last--;
    if (!zj_space_at(text + last)) break;
    end = last;
  }
  return end;
}

static int need_prefix(const struct zf_pairs *pairs) {
  if (pairs->prefix >= 0) return 0;
  return zf_error(ZF_EUSAGE, "a text without context needs a token before it: the tokenizer names "
                             "neither BOS nor EOS");
}

/* Replaces the first `from` ids by the `count` ids of id_before. */
static int replace_front(struct zf_ids *ids, const int32_t *id_before, int64_t count,
                         int64_t from) {
  int64_t kept = ids->count - from;
  if (count + kept > ids->cap) {
    int32_t *larger = realloc(ids->id, (size_t)(count + kept) * sizeof *larger);
    if (!larger) return zf_error(ZF_ENOMEM, "out of memory for tokens");
    ids->id = larger;
    ids->cap = count + kept;
  }
  memmove(ids->id + count, ids->id + from, (size_t)kept * sizeof *ids->id);
  if (count) memcpy(ids->id, id_before, (size_t)count * sizeof *id_before);
  ids->count = count + kept;
  return 0;
}

/* Encodes context and continuation into pairs->whole; the first *target tokens are context. */
static int join(struct zf_pairs *pairs, const char *context, const char *continuation,
                int64_t *target) {
  size_t end = text_end(context);
  zf_buf_clear(&pairs->text);
  zf_buf_puts(&pairs->text, context);
  zf_buf_puts(&pairs->text, continuation);
  int rc = zf_buf_ok(&pairs->text);
  if (!rc) rc = encode(pairs, &pairs->whole, pairs->text.data, end > 0);
  *target = 1;
  if (rc) return rc;
  if (end) {
    pairs->text.data[end] = 0;
    if ((rc = encode(pairs, &pairs->context, pairs->text.data, 1))) return rc;
    int64_t context_len = *target = pairs->context.count;
    return replace_front(&pairs->whole, pairs->context.id, context_len,
                         context_len < pairs->whole.count ? context_len : pairs->whole.count);
  }
  if (pairs->whole.count && pairs->whole.id[0] == pairs->prefix) return 0;
  rc = need_prefix(pairs);
  return rc ? rc : replace_front(&pairs->whole, &pairs->prefix, 1, 0);
}

int zf_pairs_add(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *context,
                 const char *continuation) {
  int64_t target, rc = join(pairs, context, continuation, &target);
  if (rc) return (int)rc;
  int64_t len = pairs->whole.count, cut = len > pairs->length + 1 ? len - pairs->length - 1 : 0;
  if (len <= target || target < 1)
    return zf_error(ZF_EINVALID, "the text '%.40s' has no token of its own behind its context",
                    continuation);
  if (len - target > pairs->length)
    return zf_error(ZF_EINVALID, "the text '%.40s' has %lld tokens, the model reads %lld",
                    continuation, (long long)(len - target), (long long)pairs->length);
  pairs->truncated += cut > 0;
  return zf_dataset_seq(dataset, pairs->whole.id + cut, len - cut, target - cut);
}

int zf_pairs_example(struct zf_dataset *dataset, int32_t nseq, int64_t line) {
  struct zf_example example = {
      .seq = dataset->nseq - nseq, .nseq = nseq, .label = -1, .line = line};
  zf_dataset_shared(dataset, &example);
  example.single = 0;
  return zf_dataset_keep(dataset, &example);
}

int zf_pairs_roll(struct zf_pairs *pairs, struct zf_dataset *dataset, const char *text,
                  int64_t line, int64_t *windows) {
  int64_t length = pairs->length, next = 1; /* the next token to predict; token 0 is the prefix */
  *windows = 0;
  int rc = need_prefix(pairs);
  if (!rc) rc = encode(pairs, &pairs->whole, text, 1);
  if (!rc) rc = replace_front(&pairs->whole, &pairs->prefix, 1, 0);
  if (rc) return rc;
  int64_t count = pairs->whole.count;
  while (next < count) {
    int64_t end = count - next < length ? count : next + length;
    int64_t from = next == 1 ? 0 : end - length - 1;
    rc = zf_dataset_seq(dataset, pairs->whole.id + from, end - from, next - from);
    if (!rc) rc = zf_pairs_example(dataset, 1, line);
    next = end;
    ++*windows;
    if (rc) return rc;
  }
  return 0;
}
