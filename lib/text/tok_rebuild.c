/* The parts of a tokenizer that its class replaces.
 *
 * Transformers 5 takes the pieces, merges, added tokens and the post-processor from the files of a
 * tokenizer.  Normalizer, pre-tokenizer and decoder, and in BERT and RoBERTa the post-processor,
 * are those of the class that the directory names, whatever tokenizer.json contains: do_lower_case
 * of tokenizer_config.json is used, not lowercase of the normalizer. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "text_internal.h"

#define MARK "\xE2\x96\x81"

/* Turns SentencePiece's mark into a space and byte tokens into text; `strip`: removes the first
 * space. */
static json_t *marked_decoder(int strip) {
  json_t *steps = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern",
                            "String", MARK, "content", " ", "type", "ByteFallback", "type", "Fuse");
  if (strip && steps)
    json_array_append_new(steps, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                           "start", 1, "stop", 0));
  return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", steps);
}

static json_t *metaspace_parts(const char *scheme) {
  return json_pack("{s:n, s:{s:s, s:s, s:s, s:b}, s:o}", "normalizer", "pre_tokenizer", "type",
                   "Metaspace", "replacement", MARK, "prepend_scheme", scheme, "split", 0,
                   "decoder", marked_decoder(strcmp(scheme, "never") != 0));
}

json_t *zf_parts_llama(const struct zf_tok_settings *settings) {
  if (!zf_tok_settings_flag(settings, "add_prefix_space", 1)) return metaspace_parts("never");
  return metaspace_parts(zf_tok_settings_flag(settings, "legacy", 0) ? "always" : "first");
}

json_t *zf_parts_code_llama(const struct zf_tok_settings *settings) {
  return metaspace_parts(zf_tok_settings_flag(settings, "add_prefix_space", 1) ? "first" : "never");
}

json_t *zf_parts_gemma(const struct zf_tok_settings *settings) {
  (void)settings;
  return json_pack("{s:{s:s, s:{s:s}, s:s}, s:{s:s, s:{s:s}, s:s, s:b}, s:o}", "normalizer", "type",
                   "Replace", "pattern", "String", " ", "content", MARK, "pre_tokenizer", "type",
                   "Split", "pattern", "String", " ", "behavior", "MergedWithPrevious", "invert", 0,
                   "decoder", marked_decoder(0));
}

static int mentions_byte_level(const json_t *root) {
  static const char *const key[] = {"pre_tokenizer", "decoder", "post_processor", "normalizer"};
  int found = 0;
  for (int i = 0; i < 4; i++) {
    char *text = json_dumps(json_object_get(root, key[i]), JSON_COMPACT | JSON_ENCODE_ANY);
    if (text && strstr(text, "\"ByteLevel\"")) found = 1;
    free(text);
  }
  return found;
}

int zf_tok_rebuild(json_t *root, const struct zf_tok_settings *settings) {
  const struct zf_tok_class *class = settings->class;
  if (!class || !class->build_parts || !json_is_object(root)) return 0;
  if (class->keep_byte_level && mentions_byte_level(root)) return 0;
  json_t *parts = class->build_parts(settings);
  int rc = parts ? json_object_update(root, parts) : -1;
  json_decref(parts);
  if (rc) return zf_error(ZF_ENOMEM, "%s: out of memory", settings->dir);
  json_object_del(json_object_get(root, "model"), "ignore_merges");
  return 0;
}
