/* A tokenizer for tests of what lies above tokenizers: every byte is the token of its value, BOS
 * is 256 and stands first where special tokens are asked for, EOS is 257. */
#ifndef ZF_TESTS_BYTES_TOK_H
#define ZF_TESTS_BYTES_TOK_H

#include <stdlib.h>

#include "text/tokenizer.h"

enum { BOS = 256, EOS = 257 };

struct zf_tok {
  int32_t bos, eos;
};

__attribute__((weak)) void zf_ids_free(struct zf_ids *ids) {
  free(ids->id);
  *ids = (struct zf_ids){0};
}

__attribute__((weak)) int32_t zf_tok_bos(const struct zf_tok *t) {
  return t->bos;
}

__attribute__((weak)) int32_t zf_tok_eos(const struct zf_tok *t) {
  return t->eos;
}

__attribute__((weak)) int zf_tok_encode(const struct zf_tok *t, struct zf_ids *ids,
                                        const char *text, size_t len, unsigned flags) {
  int64_t need = ids->n + (int64_t)len + 1;
  if (need > ids->cap) {
    int32_t *p = realloc(ids->id, sizeof *p * (size_t)need);
    if (!p) return ZF_ENOMEM;
    ids->id = p;
    ids->cap = need;
  }
  if (flags & ZF_ENC_SPECIAL && t->bos >= 0) ids->id[ids->n++] = t->bos;
  for (size_t i = 0; i < len; i++) ids->id[ids->n++] = (unsigned char)text[i];
  return 0;
}

#endif
