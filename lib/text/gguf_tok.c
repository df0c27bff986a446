/* The tokenizer inside a GGUF file, converted to a tokenizer.json in memory, so that one reader
 * serves both.
 *
 *   tokenizer.ggml.model "gpt2"   byte-level BPE with `merges`; `pre` names the pre-tokenizer
 *                        "bert"   WordPiece; a piece that begins a word has a mark in front instead of
 *                                 "##" in front of all others
 *                        "llama"  SentencePiece's BPE: of all pairs that make a piece, the one
 *                                 whose piece has the highest score merges first
 *
 * If a file holds the tokenizer.json itself (tokenizer.huggingface.json), that is used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "text_internal.h"

struct gguf_tokenizer {
  const json_t *keys, *tokens, *types;
  const char *path;
};

static json_t *tokenizer_key(const struct gguf_tokenizer *gguf, const char *name) {
  char full[64];
  snprintf(full, sizeof full, "tokenizer.ggml.%s", name);
  return json_object_get(gguf->keys, full);
}

/* --- vocabulary ------------------------------------------------------------------------------ */

static int read_list(const json_t **out, const struct gguf_tokenizer *gguf, const char *name,
                     size_t len) {
  *out = tokenizer_key(gguf, name);
  if (!json_is_array(*out))
    return zf_error(ZF_EINVALID, "%s: key 'tokenizer.ggml.%s': expected an array, found %s",
                    gguf->path, name, zf_json_kind(*out));
  if (len && json_array_size(*out) != len)
    return zf_error(ZF_EINVALID, "%s: key 'tokenizer.ggml.%s': %zu entries for %zu tokens",
                    gguf->path, name, json_array_size(*out), len);
  return 0;
}

static int64_t type_of(const struct gguf_tokenizer *gguf, size_t id) {
  return gguf->types ? json_integer_value(json_array_get(gguf->types, id)) : 1;
}

/* The token of an id key, or NULL. */
static const char *token_of(const struct gguf_tokenizer *gguf, const char *name) {
  const json_t *id = tokenizer_key(gguf, name);
  if (!json_is_integer(id) || json_integer_value(id) < 0) return NULL;
  return json_string_value(json_array_get(gguf->tokens, (size_t)json_integer_value(id)));
}

static int read_tokens(struct gguf_tokenizer *gguf) {
  json_t *value;
  size_t i;
  int rc = read_list(&gguf->tokens, gguf, "tokens", 0);
  if (!rc && tokenizer_key(gguf, "token_type"))
    rc = read_list(&gguf->types, gguf, "token_type", json_array_size(gguf->tokens));
  if (rc) return rc;
  json_array_foreach((json_t *)gguf->tokens, i, value) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
      return zf_error(ZF_EINVALID, "%s: token %zu: expected a string without zero bytes, found %s",
                      gguf->path, i, zf_json_kind(value));
  }
  return 0;
}

/* {piece: id}. */
static int vocab_from_tokens(json_t **out, const struct gguf_tokenizer *gguf) {
  json_t *value;
  size_t i;
  if (!(*out = json_object())) return zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
  json_array_foreach((json_t *)gguf->tokens, i, value) {
    const char *text = json_string_value(value);
    if (json_object_get(*out, text))
      return zf_error(ZF_EINVALID, "%s: token %zu: '%.60s' appears twice", gguf->path, i, text);
    if (json_object_set_new(*out, text, json_integer((json_int_t)i)))
      return zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
  }
  return 0;
}

static json_t *added_tokens(const struct gguf_tokenizer *gguf) {
  json_t *out = json_array(), *value;
  size_t i;
  json_array_foreach((json_t *)gguf->tokens, i, value) {
    int64_t type = type_of(gguf, i);
    int special = type == ZF_PIECE_CONTROL || type == ZF_PIECE_UNKNOWN;
    if ((!special && type != ZF_PIECE_USER) || !json_string_length(value)) continue;
    json_array_append_new(out, json_pack("{s:I, s:O, s:b, s:b}", "id", (json_int_t)i, "content",
                                         value, "normalized", 0, "special", special));
  }
  return out;
}

/* --- parts ----------------------------------------------------------------------------------- */

static json_t *bytes_part(int regex) {
  return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex",
                   regex);
}

static json_t *pretokenizer(const struct zf_gguf_pre *pre) {
  if (pre->regex)
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", pre->regex, "behavior", "Isolated",
                     "invert", 0, bytes_part(0));
  if (pre->digits)
    return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                     "Digits", "individual_digits", 1, bytes_part(1));
  return bytes_part(1);
}

/* BOS before and EOS after the text, if the file says so.  BOS has a default. */
static json_t *postprocessor(const struct gguf_tokenizer *gguf, int bos_default) {
  static const char *const keys[2][2] = {{"add_bos_token", "bos_token_id"},
                                         {"add_eos_token", "eos_token_id"}};
  json_t *single = json_array(), *tokens = json_object();
  for (int i = 0; i < 2; i++) {
    const json_t *flag = tokenizer_key(gguf, keys[i][0]);
    const char *text = token_of(gguf, keys[i][1]);
    if (i) json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    if (!text || !(flag ? json_is_true(flag) : !i && bos_default)) continue;
    json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", text));
    json_object_set_new(tokens, text, json_pack("{s:[O]}", "ids", tokenizer_key(gguf, keys[i][1])));
  }
  return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                   "special_tokens", tokens);
}

static int make_byte_bpe(json_t **out, const struct gguf_tokenizer *gguf) {
  const json_t *merges;
  const struct zf_gguf_pre *pre = NULL;
  json_t *vocab = NULL;
  int rc = zf_gguf_pre_find(&pre, json_string_value(tokenizer_key(gguf, "pre")), gguf->path);
  if (!rc) rc = read_list(&merges, gguf, "merges", 0);
  if (rc) return rc;
  if ((rc = vocab_from_tokens(&vocab, gguf))) {
    json_decref(vocab);
    return rc;
  }
  json_t *normalizer = pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
  *out = json_pack("{s:o, s:o, s:o, s:o, s:{s:s}, s:{s:s, s:b, s:o, s:O}}", "added_tokens",
                   added_tokens(gguf), "normalizer", normalizer, "pre_tokenizer", pretokenizer(pre),
                   "post_processor", postprocessor(gguf, pre->bos), "decoder", "type", "ByteLevel",
                   "model", "type", "BPE", "ignore_merges", pre->ignore_merges, "vocab", vocab,
                   "merges", merges);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
}

/* --- SentencePiece's BPE --------------------------------------------------------------------- */

static int make_sentencepiece(json_t **out, const struct gguf_tokenizer *gguf) {
  static const char mark[] = "\xe2\x96\x81";
  json_t *prefix = tokenizer_key(gguf, "add_space_prefix"), *normalizers, *decoders;
  const json_t *scores, *unk = tokenizer_key(gguf, "unknown_token_id");
  int space = prefix ? json_is_true(prefix) : 1;
  int rc = read_list(&scores, gguf, "scores", json_array_size(gguf->tokens));
  if (rc) return rc;
  normalizers = json_pack("[{s:s, s:{s:s}, s:s}]", "type", "Replace", "pattern", "String", " ",
                          "content", mark);
  decoders = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern",
                       "String", mark, "content", " ", "type", "ByteFallback", "type", "Fuse");
  if (space) {
    json_array_insert_new(normalizers, 0,
                          json_pack("{s:s, s:s}", "type", "Prepend", "prepend", mark));
    json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content",
                                              " ", "start", 1, "stop", 0));
  }
  *out = json_pack(
      "{s:o, s:{s:s, s:o}, s:o, s:{s:s, s:o}, s:{s:s, s:b, s:O, s:O, s:O*, s:O*, s:b}}",
      "added_tokens", added_tokens(gguf), "normalizer", "type", "Sequence", "normalizers",
      normalizers, "post_processor", postprocessor(gguf, 1), "decoder", "type", "Sequence",
      "decoders", decoders, "model", "type", "BPE", ZF_SPM_KEY, 1, "pieces", gguf->tokens, "scores",
      scores, "types", gguf->types, "unk_id", unk, "byte_fallback", 1);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
}

/* --- WordPiece ------------------------------------------------------------------------------- */

/* The piece as vocab.txt has it.  Special tokens are written as they are. */
static json_t *word_piece(const struct gguf_tokenizer *gguf, size_t id, const char *text) {
  static const char mark[] = "\xe2\x96\x81";
  int64_t type = type_of(gguf, id);
  if (type == ZF_PIECE_CONTROL || type == ZF_PIECE_UNKNOWN || type == ZF_PIECE_UNUSED)
    return json_string(text);
  if (!strncmp(text, mark, sizeof mark - 1)) return json_string(text + sizeof mark - 1);
  return json_sprintf("##%s", text);
}

static int word_vocab(json_t **vocab, json_t **added, const struct gguf_tokenizer *gguf) {
  const json_t *value;
  size_t i;
  if (!(*vocab = json_object()) || !(*added = json_array()))
    return zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
  json_array_foreach((json_t *)gguf->tokens, i, value) {
    int64_t type = type_of(gguf, i);
    int special = type == ZF_PIECE_CONTROL || type == ZF_PIECE_UNKNOWN;
    json_t *piece = word_piece(gguf, i, json_string_value(value));
    const char *text = json_string_value(piece);
    int twice = text && json_object_get(*vocab, text) != NULL;
    int rc =
        !text || json_object_set_new(*vocab, text, json_integer((json_int_t)i)) ? ZF_ENOMEM : 0;
    if (!rc && special)
      json_array_append_new(*added, json_pack("{s:I, s:O, s:b, s:b}", "id", (json_int_t)i,
                                              "content", piece, "normalized", 0, "special", 1));
    json_decref(piece);
    if (twice)
      return zf_error(ZF_EINVALID, "%s: token %zu: '%.60s' appears twice", gguf->path, i,
                      json_string_value(value));
    if (rc) return zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
  }
  return 0;
}

/* CLS before and SEP after every text; llama.cpp has BOS in CLS' place. */
static json_t *around_words(const struct gguf_tokenizer *gguf) {
  const char *cls = token_of(gguf, "cls_token_id") ? "cls_token_id" : "bos_token_id",
             *sep = "seperator_token_id";
  const char *first = token_of(gguf, cls), *last = token_of(gguf, sep);
  if (!first || !last) return json_null();
  return json_pack("{s:s, s:[{s:{s:s}}, {s:{s:s}}, {s:{s:s}}], s:{s:{s:[O]}, s:{s:[O]}}}", "type",
                   "TemplateProcessing", "single", "SpecialToken", "id", first, "Sequence", "id",
                   "A", "SpecialToken", "id", last, "special_tokens", first, "ids",
                   tokenizer_key(gguf, cls), last, "ids", tokenizer_key(gguf, sep));
}

static int make_wordpiece(json_t **out, const struct gguf_tokenizer *gguf) {
  const json_t *lower = tokenizer_key(gguf, "normalizer.lowercase"),
               *strip = tokenizer_key(gguf, "normalizer.strip_accents");
  const char *unk = token_of(gguf, "unknown_token_id");
  int lowercase = lower ? json_is_true(lower) : 1, strips = strip ? json_is_true(strip) : lowercase;
  json_t *vocab = NULL, *added = NULL;
  int rc = word_vocab(&vocab, &added, gguf);
  if (rc) {
    json_decref(vocab);
    json_decref(added);
    return rc;
  }
  *out = json_pack(
      "{s:o, s:{s:s, s:b, s:b, s:b, s:b}, s:{s:s}, s:o, s:{s:s, s:s, s:b}, s:{s:s, s:s, s:s, s:i, "
      "s:o}}",
      "added_tokens", added, "normalizer", "type", "BertNormalizer", "clean_text", 1,
      "handle_chinese_chars", 1, "strip_accents", strips, "lowercase", lowercase, "pre_tokenizer",
      "type", "BertPreTokenizer", "post_processor", around_words(gguf), "decoder", "type",
      "WordPiece", "prefix", "##", "cleanup", 1, "model", "type", "WordPiece", "unk_token",
      unk ? unk : "[UNK]", "continuing_subword_prefix", "##", "max_input_chars_per_word", 100,
      "vocab", vocab);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", gguf->path);
}

/* --- opening --------------------------------------------------------------------------------- */

static const struct {
  const char *model;
  int (*make_tokenizer)(json_t **out, const struct gguf_tokenizer *gguf);
} makers[] = {{"gpt2", make_byte_bpe}, {"llama", make_sentencepiece}, {"bert", make_wordpiece}};

static int make_tokenizer(json_t **out, const struct gguf_tokenizer *gguf) {
  const char *model = json_string_value(tokenizer_key(gguf, "model"));
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
    if (model && !strcmp(makers[i].model, model)) return makers[i].make_tokenizer(out, gguf);
  return zf_error(ZF_EINVALID,
                  "%s: key 'tokenizer.ggml.model': '%.60s' is not supported; supported are gpt2, "
                  "llama, bert",
                  gguf->path, model ? model : "(none)");
}

int zf_gguf_tok_keys(json_t **out, const json_t *keys, const char *path) {
  struct gguf_tokenizer gguf = {.keys = keys, .path = path};
  const json_t *ignore_merges = json_object_get(keys, "tokenizer.huggingface.json");
  *out = NULL;
  int rc = read_tokens(&gguf);
  if (rc) return rc;
  if (json_is_string(ignore_merges))
    return zf_json_parse(out, json_string_value(ignore_merges), json_string_length(ignore_merges),
                         path);
  return make_tokenizer(out, &gguf);
}
