/* Tokenizers from before tokenizer.json: vocab.json with merges.txt, as GPT-2, OPT and
 * RoBERTa were published.
 *
 * They are given the form of a tokenizer.json in memory, so that one reader serves
 * both: a byte-level BPE whose special tokens come from tokenizer_config.json. */
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

/* Lines of merges.txt as an array; the "#version" line is left out by the reader. */
static int load_merges(json_t **out, const char *path) {
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
    if (stop > p && json_array_append_new(list, json_stringn(p, (size_t)(stop - p))))
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

int zf_classic_load(json_t **out, const char *dir, const json_t *config) {
  json_t *vocab = NULL, *merges = NULL;
  char *v = zf_path_join(dir, "vocab.json"), *m = zf_path_join(dir, "merges.txt");
  int rc = v && m ? zf_json_load(&vocab, v) : ZF_ENOMEM;
  if (!rc && !json_is_object(vocab))
    rc = zf_error(ZF_EINVALID, "%s: expected an object, found %s", v, zf_json_kind(vocab));
  if (!rc) rc = load_merges(&merges, m);
  if (!rc && !(*out = assemble(vocab, merges, config)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", v);
  json_decref(vocab);
  json_decref(merges);
  free(v);
  free(m);
  return rc;
}
