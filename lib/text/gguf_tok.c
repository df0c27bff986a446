/* The tokenizer inside a GGUF file, converted to a tokenizer.json in memory, so that one reader
 * serves both.
 *
 *   tokenizer.ggml.model "gpt2"   byte-level BPE with `merges`; `pre` names the pre-tokenizer
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

/* The values of `pre`: a regular expression, then bytes; without an expression, GPT-2's.  Several
 * names mean the same. */
#define CONTRACTED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define BLANKS "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define THE_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" BLANKS
#define PATH_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" BLANKS
/* A word in lower case, capitalised or in capitals, followed by `end`. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end)                                                                                 \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER       \
  "*" end "|"
static const struct {
  const char *names, *regex;
  int digits; /* each digit alone, before GPT-2's expression */
  int nfc;
  int ignore_merges; /* a word that is in the vocabulary is one token */
  int bos;           /* default of add_bos_token */
} pre_kinds[] = {
    {"gpt-2 phi-2", NULL, 0, 0, 0, 0},
    {"smollm", NULL, 1, 0, 0, 0},
    {"llama-bpe llama3 llama-v3 falcon3 pixtral", CONTRACTED WORD "\\p{N}{1,3}" THE_REST, 0, 0, 1,
     1},
    {"dbrx smaug-bpe", CONTRACTED WORD "\\p{N}{1,3}" THE_REST, 0, 0, 0, 0},
    {"qwen2", CONTRACTED WORD "\\p{N}" THE_REST, 0, 1, 0, 0},
    {"deepseek-r1-qwen", CONTRACTED WORD "\\p{N}" THE_REST, 0, 0, 0, 0},
    {"tekken", CASED("") "\\p{N}" PATH_REST, 0, 0, 1, 1},
    {"gpt-4o llama4", CASED(CONTRACTED "?") "\\p{N}{1,3}" PATH_REST, 0, 0, 0, 0},
};
enum { PRE_KINDS = sizeof pre_kinds / sizeof *pre_kinds };

/* Is `name` one of the words of `names`? */
static int lists_name(const char *names, const char *name) {
  size_t len = strlen(name);
  if (!len || strchr(name, ' ')) return 0;
  for (const char *at = strstr(names, name); at; at = strstr(at + 1, name))
    if ((at == names || at[-1] == ' ') && (!at[len] || at[len] == ' ')) return 1;
  return 0;
}

static int find_pre(const struct gguf_tokenizer *gguf, int *kind) {
  const char *name = json_string_value(tokenizer_key(gguf, "pre"));
  for (*kind = 0; *kind < PRE_KINDS; ++*kind)
    if (name && lists_name(pre_kinds[*kind].names, name)) return 0;
  struct zf_buf known = {0};
  for (int i = 0; i < PRE_KINDS; i++)
    zf_buf_printf(&known, "%s%s", i ? " " : "", pre_kinds[i].names);
  int rc = zf_error(ZF_EINVALID,
                    "%s: key 'tokenizer.ggml.pre': '%.60s' is not supported; "
                    "supported are %s",
                    gguf->path, name ? name : "(none)", known.failed ? "?" : known.data);
  zf_buf_free(&known);
  return rc;
}

static json_t *bytes_part(int regex) {
  return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex",
                   regex);
}

static json_t *pretokenizer(int kind) {
  if (pre_kinds[kind].regex)
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", pre_kinds[kind].regex, "behavior",
                     "Isolated", "invert", 0, bytes_part(0));
  if (pre_kinds[kind].digits)
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
  json_t *vocab = NULL;
  int kind, rc = find_pre(gguf, &kind);
  if (!rc) rc = read_list(&merges, gguf, "merges", 0);
  if (rc) return rc;
  if ((rc = vocab_from_tokens(&vocab, gguf))) {
    json_decref(vocab);
    return rc;
  }
  json_t *normalizer = pre_kinds[kind].nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
  *out = json_pack("{s:o, s:o, s:o, s:o, s:{s:s}, s:{s:s, s:b, s:o, s:O}}", "added_tokens",
                   added_tokens(gguf), "normalizer", normalizer, "pre_tokenizer",
                   pretokenizer(kind), "post_processor", postprocessor(gguf, pre_kinds[kind].bos),
                   "decoder", "type", "ByteLevel", "model", "type", "BPE", "ignore_merges",
                   pre_kinds[kind].ignore_merges, "vocab", vocab, "merges", merges);
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

/* --- opening --------------------------------------------------------------------------------- */

static const struct {
  const char *model;
  int (*make_tokenizer)(json_t **out, const struct gguf_tokenizer *gguf);
} makers[] = {{"gpt2", make_byte_bpe}, {"llama", make_sentencepiece}};

static int make_tokenizer(json_t **out, const struct gguf_tokenizer *gguf) {
  const char *model = json_string_value(tokenizer_key(gguf, "model"));
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
    if (model && !strcmp(makers[i].model, model)) return makers[i].make_tokenizer(out, gguf);
  return zf_error(ZF_EINVALID,
                  "%s: key 'tokenizer.ggml.model': '%.60s' is not supported; supported are gpt2, "
                  "llama",
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
