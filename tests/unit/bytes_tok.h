/* A tokenizer for tests of what lies above tokenizers: byte-level BPE without merges, so that
 * every byte is the token of its value.  BOS is 256 and stands first where special tokens are
 * asked for, EOS is 257; a bare one has neither.  A masking one (-1) has <mask>, 258. */
#ifndef ZF_TESTS_BYTES_TOK_H
#define ZF_TESTS_BYTES_TOK_H

#include <jansson.h>

#include "base/file.h"
#include "text/tokenizer.h"
#include "unit/unit.h"

enum { BOS = 256, EOS = 257, MASK = 258 };

/* The printable stand-ins of bytes (FORMATS 3): themselves, or U+0100 onwards in order. */
static inline json_t *byte_vocab(void) {
  json_t *v = json_object();
  for (int b = 0, next = 0x100; b < 256; b++) {
    int plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    int c = plain ? b : next++;
    char utf8[3] = {(char)c};
    if (c >= 0x80) {
      utf8[0] = (char)(0xc0 | c >> 6);
      utf8[1] = (char)(0x80 | (c & 0x3f));
    }
    json_object_set_new(v, utf8, json_integer(b));
  }
  return v;
}

static inline json_t *special_token(const char *content, int id) {
  return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content,
                   "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
}

static inline void write_json(const char *dir, const char *name, json_t *v) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  ck_assert_ptr_nonnull(v);
  ck_assert_int_eq(json_dump_file(v, path, 0), 0);
  json_decref(v);
}

enum { WITH_SPECIALS = 0, NO_SPECIALS = 1, WITH_MASK = -1 };

/* A byte-level tokenizer of one of these kinds.  The caller frees. */
static inline struct zf_tok *bytes_tok(int kind) {
  const char *dir = tmp_path(kind < 0 ? "masking" : kind ? "no_specials" : "bytes");
  json_t *t = json_pack("{s:s, s:[], s:{s:s, s:b, s:b}, s:{s:s, s:o, s:[]}}", "version", "1.0",
                        "added_tokens", "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0,
                        "use_regex", 0, "model", "type", "BPE", "vocab", byte_vocab(), "merges");
  ck_ok(zf_mkdirs(dir));
  ck_assert_ptr_nonnull(t);
  if (kind <= 0) {
    json_t *added = json_object_get(t, "added_tokens");
    json_array_append_new(added, special_token("<s>", BOS));
    json_array_append_new(added, special_token("</s>", EOS));
    if (kind < 0) json_array_append_new(added, special_token("<mask>", MASK));
    json_object_set_new(
        t, "post_processor",
        json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[], s:{s:{s:s, s:[i], s:[s]}}}",
                  "type", "TemplateProcessing", "single", "SpecialToken", "id", "<s>", "type_id", 0,
                  "Sequence", "id", "A", "type_id", 0, "pair", "special_tokens", "<s>", "id", "<s>",
                  "ids", BOS, "tokens", "<s>"));
    write_json(dir, "tokenizer_config.json",
               json_pack("{s:s, s:s}", "bos_token", "<s>", "eos_token", "</s>"));
  }
  write_json(dir, "tokenizer.json", t);
  struct zf_tok *tok;
  ck_ok(zf_tok_open(&tok, dir));
  return tok;
}

#endif
