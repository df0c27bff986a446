/* Tokenizers from before tokenizer.json: vocab.json with merges.txt, as GPT-2, OPT and
 * RoBERTa were published, and BERT's vocab.txt.
 *
 * They are given the form of a tokenizer.json in memory, so that one reader serves
 * all: a byte-level BPE or a WordPiece whose special tokens come from
 * tokenizer_config.json. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { MERGES_MAX = 256 << 20 };

static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};

const char *zf_classic_special(const json_t *config, const char *key) {
  const json_t *v = json_object_get(config, key);
  return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

/* The lines of a file, without empty ones, as an array. */
static int load_lines(json_t **out, const char *path) {
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, MERGES_MAX);
  if (rc) return rc;
  json_t *list = json_array();
  if (!list) rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  const char *end = text ? text + len : NULL;
  for (const char *p = text; p && p < end && !rc;) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    size_t n = (size_t)(stop - p) - (stop > p && stop[-1] == '\r');
    if (n && json_array_append_new(list, json_stringn(p, n)))
      rc = zf_error(ZF_EINVALID, "%s: byte %lld: the line is not UTF-8", path,
                    (long long)(p - text));
    p = stop + 1;
  }
  free(text);
  if (rc)
    json_decref(list);
  else
    *out = list;
  return rc;
}

/* The special tokens that the vocabulary has, each once. */
static json_t *added_tokens(const json_t *vocab, const json_t *config) {
  json_t *list = json_array();
  for (int i = 0; i < 4; i++) {
    const char *content = zf_classic_special(config, names[i]);
    json_t *id = content ? json_object_get(vocab, content) : NULL;
    int again = !json_is_integer(id);
    for (int k = 0; k < i && !again; k++) {
      const char *other = zf_classic_special(config, names[k]);
      again = other && !strcmp(other, content);
    }
    if (!again)
      json_array_append_new(list, json_pack("{s:O, s:s, s:b, s:b}", "id", id, "content", content,
                                            "normalized", 0, "special", 1));
  }
  return list;
}

/* bos before the text where add_bos_token says so, as OPT has it. */
static json_t *post_processor(const json_t *vocab, const json_t *config) {
  const char *bos = zf_classic_special(config, "bos_token");
  json_t *id = bos ? json_object_get(vocab, bos) : NULL;
  if (!json_is_true(json_object_get(config, "add_bos_token")) || !json_is_integer(id))
    return json_null();
  return json_pack("{s:s, s:[{s:{s:s}}, {s:{s:s}}], s:{s:{s:[O]}}}", "type", "TemplateProcessing",
                   "single", "SpecialToken", "id", bos, "Sequence", "id", "A", "special_tokens",
                   bos, "ids", id);
}

static json_t *assemble(json_t *vocab, json_t *merges, const json_t *config) {
  const char *unk = zf_classic_special(config, "unk_token");
  int space = json_is_true(json_object_get(config, "add_prefix_space"));
  return json_pack("{s:o, s:{s:s, s:b, s:b}, s:o, s:{s:s}, s:{s:s, s:s?, s:O, s:O}}",
                   "added_tokens", added_tokens(vocab, config), "pre_tokenizer", "type",
                   "ByteLevel", "add_prefix_space", space, "use_regex", 1, "post_processor",
                   post_processor(vocab, config), "decoder", "type", "ByteLevel", "model", "type",
                   "BPE", "unk_token", unk, "vocab", vocab, "merges", merges);
}

int zf_classic_load(json_t **out, const char *path, const json_t *config) {
  json_t *vocab = NULL, *merges = NULL;
  char *m = zf_strdup(path);
  int rc = m ? zf_json_load(&vocab, path) : ZF_ENOMEM;
  if (!rc && !json_is_object(vocab))
    rc = zf_error(ZF_EINVALID, "%s: expected an object, found %s", path, zf_json_kind(vocab));
  if (!rc) strcpy(m + strlen(m) - 10, "merges.txt"); /* in the place of "vocab.json" */
  if (!rc) rc = load_lines(&merges, m); /* the reader passes over "#version" */
  if (!rc && !(*out = assemble(vocab, merges, config)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  json_decref(vocab);
  json_decref(merges);
  free(m);
  return rc;
}

/* --- vocab.txt: a piece a line ---------------------------------------------------------- */

static const char *or_default(const json_t *config, const char *key, const char *name) {
  const char *given = zf_classic_special(config, key);
  return given ? given : name;
}

static int flag(const json_t *config, const char *key, int fallback) {
  const json_t *v = json_object_get(config, key);
  return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static json_t *bert_normalizer(const json_t *config) {
  int lower = flag(config, "do_lower_case", 1);
  return json_pack("{s:s, s:b, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text", 1,
                   "handle_chinese_chars", flag(config, "tokenize_chinese_chars", 1),
                   "strip_accents", flag(config, "strip_accents", lower), "lowercase", lower);
}

/* [CLS] text [SEP] where the vocabulary has them. */
static json_t *bert_post(const json_t *vocab, const json_t *config) {
  const char *cls = or_default(config, "cls_token", "[CLS]");
  const char *sep = or_default(config, "sep_token", "[SEP]");
  json_t *c = json_object_get(vocab, cls), *s = json_object_get(vocab, sep);
  if (!c || !s) return json_null();
  return json_pack("{s:s, s:[s, O], s:[s, O]}", "type", "BertProcessing", "sep", sep, s, "cls", cls,
                   c);
}

static json_t *bert_added(const json_t *vocab, const json_t *config) {
  static const char *const token[][2] = {{"pad_token", "[PAD]"}, {"unk_token", "[UNK]"},
                                         {"cls_token", "[CLS]"}, {"sep_token", "[SEP]"},
                                         {"mask_token", "[MASK]"}};
  json_t *list = json_array();
  for (int i = 0; i < 5; i++) {
    const char *content = or_default(config, token[i][0], token[i][1]);
    json_t *id = json_object_get(vocab, content);
    if (id)
      json_array_append_new(list, json_pack("{s:O, s:s, s:b, s:b}", "id", id, "content", content,
                                            "normalized", 0, "special", 1));
  }
  return list;
}

static json_t *assemble_bert(json_t *vocab, const json_t *config) {
  const char *unk = or_default(config, "unk_token", "[UNK]");
  return json_pack("{s:o, s:o, s:{s:s}, s:o, s:{s:s, s:s, s:b}, s:{s:s, s:s, s:s, s:i, s:O}}",
                   "added_tokens", bert_added(vocab, config), "normalizer", bert_normalizer(config),
                   "pre_tokenizer", "type", "BertPreTokenizer", "post_processor",
                   bert_post(vocab, config), "decoder", "type", "WordPiece", "prefix", "##",
                   "cleanup", 1, "model", "type", "WordPiece", "unk_token", unk,
                   "continuing_subword_prefix", "##", "max_input_chars_per_word", 100, "vocab",
                   vocab);
}

int zf_classic_bert(json_t **out, const char *path, const json_t *config) {
  json_t *lines = NULL, *vocab = json_object(), *line;
  size_t i;
  int rc = vocab ? load_lines(&lines, path) : zf_error(ZF_ENOMEM, "%s: out of memory", path);
  json_array_foreach(lines, i, line) {
    const char *piece = json_string_value(line);
    if (!rc && json_object_get(vocab, piece))
      rc = zf_error(ZF_EINVALID, "%s: line %zu: piece '%s' appears twice", path, i + 1, piece);
    if (!rc && json_object_set_new(vocab, piece, json_integer((json_int_t)i)))
      rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  }
  if (!rc && !(*out = assemble_bert(vocab, config)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  json_decref(lines);
  json_decref(vocab);
  return rc;
}
