/* GGUF: what is accepted keeps its promises: every tensor lies in the file, none shares a byte with
 * another, each is found by its name; and a tokenizer made of the keys, if they make one, encodes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/gguf.h"
#include "text/text_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tokenize(const json_t *keys) {
  json_t *root = NULL;
  struct zf_tok *tok = NULL;
  struct zf_ids ids = {0};
  if (zf_gguf_tok_keys(&root, keys, "fuzz.gguf")) return;
  char *text = json_dumps(root, 0);
  if (text && !zf_tok_parse(&tok, text, strlen(text), "fuzz.gguf"))
    (void)zf_tok_encode(tok, &ids, "the cat \xe2\x96\x81 12\n", 15, ZF_ENC_SPECIAL);
  zf_ids_free(&ids);
  zf_tok_free(tok);
  free(text);
  json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static volatile unsigned sink;
  struct zf_gguf g;
  size_t total = 0;
  int rc = zf_gguf_parse(&g, data, size, "fuzz.gguf", 0), again;
  if (!rc) zf_gguf_free(&g);
  again = zf_gguf_parse(&g, data, size, "fuzz.gguf", 1);
  if (again != rc) abort();
  if (again) return 0;
  for (int64_t i = 0; i < g.st->count; i++) {
    const struct zf_st_tensor *t = &g.st->tensor[i];
    if (t->data < data || t->bytes > (size_t)(data + size - t->data)) abort();
    for (size_t k = 0; k < t->bytes; k++) sink += t->data[k];
    if (zf_st_find(g.st, t->name) != t) abort();
    total += t->bytes;
  }
  if (total > size) abort();
  tokenize(g.keys);
  zf_gguf_free(&g);
  return 0;
}
