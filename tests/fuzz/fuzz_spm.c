/* SentencePiece models: the input is a tokenizer.model, whose last 64 bytes are also a
 * text that it encodes and decodes. */
#include <stdint.h>
#include <stdlib.h>

#include "text/text_internal.h"
#include "text/tokenizer.h"

static void use(const struct zf_tok *t, const char *text, size_t len) {
  struct zf_ids ids = {0}, plain = {0};
  struct zf_buf out = {0};
  if (!zf_tok_encode(t, &ids, text, len, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS)) {
    for (int64_t i = 0; i < ids.count; i++)
      if (!zf_tok_piece(t, ids.id[i]) || ids.begin[i] > (int64_t)len || ids.end[i] > (int64_t)len)
        abort();
    if (zf_tok_encode(t, &plain, text, len, ZF_ENC_SPECIAL) || plain.count != ids.count) abort();
    zf_tok_decode(t, &out, ids.id, ids.count, 1);
  }
  zf_ids_free(&ids);
  zf_ids_free(&plain);
  zf_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *root;
  struct zf_tok *t;
  const char *bytes = (const char *)data;
  size_t tail = size < 64 ? size : 64;
  if (zf_spm_parse(&root, bytes ? bytes : "", size, "fuzz", NULL)) return 0;
  if (!zf_tok_build(&t, root, NULL, "fuzz")) {
    use(t, bytes + size - tail, tail);
    use(t, "  a\xE2\x96\x81\x62 \xC2\xBD e\xCC\x81 \xFF the ", 19);
    zf_tok_free(t);
  }
  json_decref(root);
  return 0;
}
