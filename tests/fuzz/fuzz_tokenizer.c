/* Tokenizers: hostile tokenizer.json files, and hostile texts for good ones.
 *
 * The input is two parts with a zero byte between them.  The first is a
 * tokenizer.json, or a digit that picks one of the fixed tokenizers; the second is a
 * text that is encoded and decoded with it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

/* Every component at least once; the vocabulary is small so that much is unknown. */
#define VOCAB                                                                                      \
  "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"a\": 2, \"b\": 3, \"ab\": 4, \"\\u2581\": 5, "          \
  "\"\\u2581a\": 6, \"\\u0120\": 7, \"\\u0120a\": 8, \"<0xE4>\": 9, \"<0xC3>\": 10, "              \
  "\"<0xA9>\": 11, \"e\": 12, \"\\u0301\": 13, \"aa\": 14, \"aaaa\": 15}, "                        \
  "\"merges\": [\"a b\", [\"\\u2581\", \"a\"], \"\\u0120 a\", \"a a\", \"aa aa\"]"
#define ADDED                                                                                      \
  "\"added_tokens\": ["                                                                            \
  "{\"id\": 1, \"content\": \"<s>\", \"normalized\": false, \"special\": true}, "                  \
  "{\"id\": 16, \"content\": \"\\u00e9!\", \"normalized\": true, \"single_word\": true}, "         \
  "{\"id\": 17, \"content\": \"<m>\", \"normalized\": false, \"lstrip\": true, \"rstrip\": true}]"

static const char *const fixed[] = {
    "{" ADDED ", \"model\": {\"type\": \"BPE\", " VOCAB "}, "
    "\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
    "\"add_prefix_space\": true}, \"post_processor\": {\"type\": \"RobertaProcessing\", "
    "\"sep\": [\"<s>\", 1], \"cls\": [\"<s>\", 1], \"trim_offsets\": true, "
    "\"add_prefix_space\": true}, \"decoder\": {\"type\": \"ByteLevel\"}}",

    "{" ADDED ", \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true, "
    "\"byte_fallback\": true, " VOCAB "}, \"normalizer\": {\"type\": \"Sequence\", "
    "\"normalizers\": [{\"type\": \"NFKD\"}, {\"type\": \"Lowercase\"}, {\"type\": \"Strip\", "
    "\"strip_left\": true, \"strip_right\": true}, {\"type\": \"StripAccents\"}, "
    "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\s+|^\"}, \"content\": \" \"}]}, "
    "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", "
    "\"prepend_scheme\": \"first\"}, \"post_processor\": {\"type\": \"Sequence\", "
    "\"processors\": [{\"type\": \"ByteLevel\", \"trim_offsets\": true, "
    "\"add_prefix_space\": false}, {\"type\": \"TemplateProcessing\", \"single\": "
    "[{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}], "
    "\"special_tokens\": {\"<s>\": {\"ids\": [1]}}}]}, \"decoder\": {\"type\": \"Sequence\", "
    "\"decoders\": [{\"type\": \"ByteFallback\"}, {\"type\": \"Metaspace\", "
    "\"replacement\": \"\\u2581\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
    "\"content\": \" \", \"start\": 1, \"stop\": 1}]}}",

    "{" ADDED ", \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", "
    "\"end_of_word_suffix\": \"b\", \"continuing_subword_prefix\": \"\", \"ignore_merges\": "
    "true, " VOCAB "}, \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": "
    "[{\"type\": \"NFKC\"}, {\"type\": \"NFD\"}, {\"type\": \"Prepend\", \"prepend\": \"ab\"}]}, "
    "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
    "\"WhitespaceSplit\"}, {\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}\"}, \"behavior\": "
    "\"MergedWithNext\", \"invert\": false}, {\"type\": \"Digits\"}, {\"type\": "
    "\"Punctuation\", \"behavior\": \"MergedWithPrevious\"}, {\"type\": \"Split\", \"pattern\": "
    "{\"String\": \"\"}, \"behavior\": \"Contiguous\", \"invert\": true}, {\"type\": "
    "\"Whitespace\"}]}, \"decoder\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, "
    "\"content\": \"\"}}",
};
enum { FIXED = sizeof fixed / sizeof *fixed };

/* What must hold of every encoding that succeeds. */
static void check(const struct zf_tok *t, const struct zf_ids *ids, size_t len) {
  for (int64_t i = 0; i < ids->count; i++) {
    if (ids->id[i] < 0 || ids->id[i] >= zf_tok_size(t) || !zf_tok_piece(t, ids->id[i])) abort();
    if (ids->begin[i] < -1 || ids->end[i] < -1) abort();
    if (ids->begin[i] > (int64_t)len || ids->end[i] > (int64_t)len) abort();
  }
}

static void use(const struct zf_tok *t, const char *text, size_t len) {
  struct zf_ids ids = {0}, plain = {0};
  struct zf_buf out = {0};
  int rc = zf_tok_encode(t, &ids, text, len, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS);
  if (!rc) {
    check(t, &ids, len);
    /* The path without places gives the same ids. */
    if (zf_tok_encode(t, &plain, text, len, ZF_ENC_SPECIAL)) abort();
    if (plain.count != ids.count) abort();
    for (int64_t i = 0; i < ids.count; i++)
      if (plain.id[i] != ids.id[i]) abort();
    for (int skip = 0; skip < 2; skip++)
      if (zf_tok_decode(t, &out, ids.id, ids.count, skip) == 0 && out.data && out.data[out.len])
        abort();
  }
  zf_ids_free(&ids);
  zf_ids_free(&plain);
  zf_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct zf_tok *good[FIXED];
  const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
  size_t head = zero ? (size_t)(zero - data) : size;
  const char *text = zero ? (const char *)zero + 1 : "a";
  size_t len = zero ? size - head - 1 : 1;
  struct zf_tok *t;
  if (head == 1 && data[0] >= '0' && data[0] < '0' + FIXED) {
    int k = data[0] - '0';
    if (!good[k] && zf_tok_parse(&good[k], fixed[k], strlen(fixed[k]), "fixed")) abort();
    use(good[k], text, len);
  } else if (zf_tok_parse(&t, (const char *)data, head, "fuzz") == 0) {
    use(t, text, len);
    zf_tok_free(t);
  }
  return 0;
}
