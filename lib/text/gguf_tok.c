/* The tokenizer inside a GGUF file, given the form of a tokenizer.json in memory, so that one
 * reader serves both.
 *
 *   tokenizer.ggml.model "gpt2"   byte-level BPE by `merges`; `pre` names how text is cut
 *                        "llama"  SentencePiece's BPE: of all pairs that make a piece the one
 *                                 whose piece has the highest score merges first
 *
 * A file that holds the tokenizer.json itself (tokenizer.huggingface.json) is read by that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "text_internal.h"

struct source {
  const json_t *keys, *tokens, *types;
  const char *path;
};

static json_t *key(const struct source *source, const char *name) {
  char full[64];
  snprintf(full, sizeof full, "tokenizer.ggml.%s", name);
  return json_object_get(source->keys, full);
}

/* --- vocabulary ------------------------------------------------------------------------------ */

static int list(const json_t **out, const struct source *source, const char *name, size_t len) {
  *out = key(source, name);
  if (!json_is_array(*out))
    return zf_error(ZF_EINVALID, "%s: key 'tokenizer.ggml.%s': expected an array, found %s",
                    source->path, name, zf_json_kind(*out));
  if (len && json_array_size(*out) != len)
    return zf_error(ZF_EINVALID, "%s: key 'tokenizer.ggml.%s': %zu entries for %zu tokens",
                    source->path, name, json_array_size(*out), len);
  return 0;
}

static int64_t type_of(const struct source *source, size_t id) {
  return source->types ? json_integer_value(json_array_get(source->types, id)) : 1;
}

/* The token of an id key, or NULL. */
static const char *token_of(const struct source *source, const char *name) {
  const json_t *id = key(source, name);
  if (!json_is_integer(id) || json_integer_value(id) < 0) return NULL;
  return json_string_value(json_array_get(source->tokens, (size_t)json_integer_value(id)));
}

static int read_tokens(struct source *source) {
  json_t *value;
  size_t i;
  int rc = list(&source->tokens, source, "tokens", 0);
  if (!rc && key(source, "token_type"))
    rc = list(&source->types, source, "token_type", json_array_size(source->tokens));
  if (rc) return rc;
  json_array_foreach((json_t *)source->tokens, i, value) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
      return zf_error(ZF_EINVALID, "%s: token %zu: expected a string without zero bytes, found %s",
                      source->path, i, zf_json_kind(value));
  }
  return 0;
}

/* {piece: id}. */
static int vocab_of(json_t **out, const struct source *source) {
  json_t *value;
  size_t i;
  if (!(*out = json_object())) return zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
  json_array_foreach((json_t *)source->tokens, i, value) {
    const char *text = json_string_value(value);
    if (json_object_get(*out, text))
      return zf_error(ZF_EINVALID, "%s: token %zu: '%.60s' appears twice", source->path, i, text);
    if (json_object_set_new(*out, text, json_integer((json_int_t)i)))
      return zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
  }
  return 0;
}

static json_t *added_tokens(const struct source *source) {
  json_t *out = json_array(), *value;
  size_t i;
  json_array_foreach((json_t *)source->tokens, i, value) {
    int64_t type = type_of(source, i);
    int special = type == ZF_PIECE_CONTROL || type == ZF_PIECE_UNKNOWN;
    if ((!special && type != ZF_PIECE_USER) || !json_string_length(value)) continue;
    json_array_append_new(out, json_pack("{s:I, s:O, s:b, s:b}", "id", (json_int_t)i, "content",
                                         value, "normalized", 0, "special", special));
  }
  return out;
}

/* --- parts ----------------------------------------------------------------------------------- */

/* What `pre` stands for: a regular expression, then bytes; or without one GPT-2's own.  Several names
 * stand for one thing. */
#define CONTRACTED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define BLANKS "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define THE_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" BLANKS
#define PATH_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" BLANKS
/* A word that begins or is all in capitals, by what follows it. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end)                                                                                 \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER       \
  "*" end "|"
static const struct {
  const char *names, *regex;
  int digits; /* one by one, before GPT-2's own */
  int nfc;
  int whole; /* a word that is in the vocabulary is not merged */
  int bos;   /* by default */
} pres[] = {
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
enum { PRES = sizeof pres / sizeof *pres };

static int names_it(const char *names, const char *name) {
  size_t n = strlen(name);
  for (const char *p = names; n && (p = strstr(p, name)); p++)
    if ((p == names || p[-1] == ' ') && (!p[n] || p[n] == ' ')) return !strchr(name, ' ');
  return 0;
}

static int find_pre(const struct source *source, int *at) {
  const char *name = json_string_value(key(source, "pre"));
  struct zf_buf list = {0};
  for (*at = 0; *at < PRES; ++*at) {
    if (name && names_it(pres[*at].names, name)) break;
    zf_buf_printf(&list, "%s%s", *at ? " " : "", pres[*at].names);
  }
  int rc = *at < PRES
               ? 0
               : zf_error(ZF_EINVALID,
                          "%s: key 'tokenizer.ggml.pre': '%.60s' is not supported; "
                          "supported are %s",
                          source->path, name ? name : "(none)", list.failed ? "?" : list.data);
  zf_buf_free(&list);
  return rc;
}

static json_t *bytes_part(int regex) {
  return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex",
                   regex);
}

static json_t *pretokenizer(int at) {
  if (pres[at].regex)
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", pres[at].regex, "behavior", "Isolated",
                     "invert", 0, bytes_part(0));
  if (pres[at].digits)
    return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                     "Digits", "individual_digits", 1, bytes_part(1));
  return bytes_part(1);
}

/* BOS before and EOS after the text, where the file says so, or else the model's habit. */
static json_t *postprocessor(const struct source *source, int bos_default) {
  static const char *const which[2][2] = {{"add_bos_token", "bos_token_id"},
                                          {"add_eos_token", "eos_token_id"}};
  json_t *single = json_array(), *tokens = json_object();
  for (int i = 0; i < 2; i++) {
    const json_t *flag = key(source, which[i][0]);
    const char *text = token_of(source, which[i][1]);
    if (i) json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    if (!text || !(flag ? json_is_true(flag) : !i && bos_default)) continue;
    json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", text));
    json_object_set_new(tokens, text, json_pack("{s:[O]}", "ids", key(source, which[i][1])));
  }
  return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                   "special_tokens", tokens);
}

static int make_bytes(json_t **out, const struct source *source) {
  const json_t *merges;
  json_t *vocab = NULL;
  int at, rc = find_pre(source, &at);
  if (!rc) rc = list(&merges, source, "merges", 0);
  if (!rc) rc = vocab_of(&vocab, source);
  if (rc) {
    json_decref(vocab);
    return rc;
  }
  json_t *normalizer = pres[at].nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
  *out = json_pack("{s:o, s:o, s:o, s:o, s:{s:s}, s:{s:s, s:b, s:o, s:O}}", "added_tokens",
                   added_tokens(source), "normalizer", normalizer, "pre_tokenizer",
                   pretokenizer(at), "post_processor", postprocessor(source, pres[at].bos),
                   "decoder", "type", "ByteLevel", "model", "type", "BPE", "ignore_merges",
                   pres[at].whole, "vocab", vocab, "merges", merges);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
}

/* --- SentencePiece's BPE --------------------------------------------------------------------- */

static int make_pieces(json_t **out, const struct source *source) {
  static const char mark[] = "\xe2\x96\x81";
  json_t *prefix = key(source, "add_space_prefix"), *normalizers, *decoders;
  const json_t *scores, *unk = key(source, "unknown_token_id");
  int space = prefix ? json_is_true(prefix) : 1;
  int rc = list(&scores, source, "scores", json_array_size(source->tokens));
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
      "added_tokens", added_tokens(source), "normalizer", "type", "Sequence", "normalizers",
      normalizers, "post_processor", postprocessor(source, 1), "decoder", "type", "Sequence",
      "decoders", decoders, "model", "type", "BPE", ZF_SPM_KEY, 1, "pieces", source->tokens,
      "scores", scores, "types", source->types, "unk_id", unk, "byte_fallback", 1);
  return *out ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
}

/* --- opening --------------------------------------------------------------------------------- */

static const struct {
  const char *model;
  int (*make)(json_t **out, const struct source *s);
} makers[] = {{"gpt2", make_bytes}, {"llama", make_pieces}};

static int make(json_t **out, const struct source *source) {
  const char *model = json_string_value(key(source, "model"));
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
    if (model && !strcmp(makers[i].model, model)) return makers[i].make(out, source);
  return zf_error(ZF_EINVALID,
                  "%s: key 'tokenizer.ggml.model': '%.60s' is not supported; supported are gpt2, "
                  "llama",
                  source->path, model ? model : "(none)");
}

int zf_gguf_tok_keys(json_t **out, const json_t *keys, const char *path) {
  struct source source = {.keys = keys, .path = path};
  const json_t *whole = json_object_get(keys, "tokenizer.huggingface.json");
  *out = NULL;
  int rc = read_tokens(&source);
  if (rc) return rc;
  if (json_is_string(whole))
    return zf_json_parse(out, json_string_value(whole), json_string_length(whole), path);
  return make(out, &source);
}
