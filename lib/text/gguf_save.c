/* Writing the tokenizer of a GGUF file as files that Transformers loads.
 *
 *   tokenizer.json         what gguf_tok.c makes of it, with a list of merges if the file holds
 *                          scores
 *   tokenizer_config.json  names of the special tokens, the chat template */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "bpe_internal.h"
#include "fmt/gguf.h"
#include "fmt/json.h"

static int no_memory(const char *path) {
  return zf_error(ZF_ENOMEM, "%s: out of memory", path);
}

/* --- a list of merges from scores ------------------------------------------------------------ */

struct merge_list {
  json_t *out;
  const struct zf_vocab *vocab;
};

static int append_merge(void *ctx, const struct zf_merge *split) {
  struct merge_list *merge_list = ctx;
  json_t *pair = json_pack("[s, s]", zf_vocab_piece(merge_list->vocab, split->left),
                           zf_vocab_piece(merge_list->vocab, split->right));
  return json_array_append_new(merge_list->out, pair) ? ZF_ENOMEM : 0;
}

static json_t *vocab_object(const struct zf_vocab *vocab) {
  json_t *out = json_object();
  for (int64_t id = 0; id < vocab->id_end; id++) {
    if (json_object_set_new(out, zf_vocab_piece(vocab, (int32_t)id), json_integer(id))) {
      json_decref(out);
      return NULL;
    }
  }
  return out;
}

/* A model {vocab, merges} from one with {pieces, scores, types}. */
static int listed_model(json_t **out, const json_t *model, const char *path) {
  struct zf_vocab vocab = {0};
  struct zf_scored list;
  double *score = NULL;
  int64_t unk = -1;
  struct merge_list merges = {json_array(), &vocab};
  int rc = merges.out ? zf_scored_parse(&list, &vocab, &score, model, path) : ZF_ENOMEM;
  if (!rc) rc = zf_json_int(&unk, model, "unk_id", path);
  if (!rc) rc = zf_scored_splits(&list, &vocab, score, append_merge, &merges);
  if (!rc) {
    const char *unknown =
        unk >= 0 && unk < vocab.id_end ? zf_vocab_piece(&vocab, (int32_t)unk) : NULL;
    *out = json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:o, s:O}", "type", "BPE",
                     "dropout", "unk_token", unknown, "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", 1, "ignore_merges", 0,
                     "vocab", vocab_object(&vocab), "merges", merges.out);
    if (!*out) rc = no_memory(path);
  }
  json_decref(merges.out);
  zf_vocab_free(&vocab);
  free(score);
  return rc;
}

/* --- tokenizer.json -------------------------------------------------------------------------- */

/* Adds the fields that the `tokenizers` package requires and our reader does not. */
static void complete_added(json_t *added) {
  static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
  json_t *token;
  size_t i;
  json_array_foreach(added, i, token) {
    for (int k = 0; k < 4; k++)
      if (!json_object_get(token, flags[k])) json_object_set_new(token, flags[k], json_false());
  }
}

static void complete_bytes(json_t *part) {
  if (json_is_object(part) && !json_object_get(part, "trim_offsets") &&
      !strcmp(json_string_value(json_object_get(part, "type")), "ByteLevel")) {
    json_object_set_new(part, "add_prefix_space", json_false());
    json_object_set_new(part, "trim_offsets", json_false());
    if (!json_object_get(part, "use_regex")) json_object_set_new(part, "use_regex", json_true());
  }
}

/* Adds the template for pairs and the type ids, which the `tokenizers` package requires. */
static int complete_template(json_t *post) {
  json_t *single = json_object_get(post, "single"), *pair = json_array(), *entry, *inner;
  const char *name;
  size_t i;
  for (int side = 0; side < 2; side++) {
    json_array_foreach(single, i, entry) {
      const char *kind = json_object_get(entry, "Sequence") ? "Sequence" : "SpecialToken";
      inner = json_object_get(entry, kind);
      const char *id =
          side && !strcmp(kind, "Sequence") ? "B" : json_string_value(json_object_get(inner, "id"));
      json_array_append_new(pair, json_pack("{s:{s:s, s:i}}", kind, "id", id, "type_id", side));
    }
  }
  json_array_foreach(single, i, entry) {
    json_object_foreach(entry, name, inner) json_object_set_new(inner, "type_id", json_integer(0));
  }
  json_object_foreach(json_object_get(post, "special_tokens"), name, inner) {
    json_object_set_new(inner, "id", json_string(name));
    json_object_set_new(inner, "tokens", json_pack("[s]", name));
  }
  return json_object_set_new(post, "pair", pair) ? ZF_ENOMEM : 0;
}

/* Replaces a model with scores by one with a list of merges. */
static int list_merges(json_t *root, const char *path) {
  json_t *model = json_object_get(root, "model"), *listed = NULL;
  if (!json_is_true(json_object_get(model, ZF_SPM_KEY))) return 0;
  int rc = listed_model(&listed, model, path);
  if (rc) return rc;
  return json_object_set_new(root, "model", listed) ? no_memory(path) : 0;
}

/* Completes what zf_gguf_tok_keys makes to a tokenizer.json that the `tokenizers` package reads. */
static int complete(json_t *root, const char *path) {
  static const char *const empty[] = {"truncation", "padding", "pre_tokenizer"};
  json_t *pretokenizer = json_object_get(root, "pre_tokenizer"), *part;
  size_t i;
  complete_added(json_object_get(root, "added_tokens"));
  complete_bytes(json_object_get(root, "decoder"));
  complete_bytes(pretokenizer);
  json_array_foreach(json_object_get(pretokenizer, "pretokenizers"), i, part) complete_bytes(part);
  json_t *post = json_object_get(root, "post_processor");
  int rc = json_is_object(post) ? complete_template(post) : 0;
  if (!rc) rc = list_merges(root, path);
  if (rc) return rc;
  for (int j = 0; j < 3; j++)
    if (!json_object_get(root, empty[j])) json_object_set_new(root, empty[j], json_null());
  return json_object_set_new(root, "version", json_string("1.0")) ? no_memory(path) : 0;
}

static int write_json(const char *dir, const char *name, const json_t *value) {
  char *path = zf_path_join(dir, name);
  char *text = path ? json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
  int rc = text ? zf_write_file(path, text, strlen(text)) : no_memory(dir);
  free(text);
  free(path);
  return rc;
}

static int save_tokenizer(const char *dir, const json_t *keys, const char *path) {
  json_t *root = NULL;
  int rc = zf_gguf_tok_keys(&root, keys, path);
  if (!rc && !json_object_get(keys, "tokenizer.huggingface.json")) rc = complete(root, path);
  if (!rc) rc = write_json(dir, "tokenizer.json", root);
  json_decref(root);
  return rc;
}

/* --- tokenizer_config.json ------------------------------------------------------------------- */

/* [{name, template}] if the file has several, the text alone if it has one. */
static json_t *chat_templates(const json_t *keys) {
  static const char stem[] = "tokenizer.chat_template.";
  json_t *first = json_object_get(keys, "tokenizer.chat_template"), *list = json_array(), *value;
  const char *key;
  json_object_foreach((json_t *)keys, key, value) {
    const char *name = key + sizeof stem - 1;
    if (strncmp(key, stem, sizeof stem - 1) != 0 || !json_is_string(value)) continue;
    json_array_append_new(list, json_pack("{s:s, s:O}", "name", name, "template", value));
  }
  if (!json_array_size(list)) {
    json_decref(list);
    return json_is_string(first) ? json_incref(first) : NULL;
  }
  if (json_is_string(first))
    json_array_insert_new(list, 0, json_pack("{s:s, s:O}", "name", "default", "template", first));
  return list;
}

static int save_settings(const char *dir, const json_t *keys) {
  static const char *const special[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                           {"pad_token", "tokenizer.ggml.padding_token_id"}};
  const json_t *tokens = json_object_get(keys, "tokenizer.ggml.tokens");
  json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                             "clean_up_tokenization_spaces", 0);
  for (int i = 0; i < 4; i++) {
    const json_t *id = json_object_get(keys, special[i][1]);
    json_t *text = json_is_integer(id) && json_integer_value(id) >= 0
                       ? json_array_get(tokens, (size_t)json_integer_value(id))
                       : NULL;
    if (json_is_string(text)) json_object_set(config, special[i][0], text);
  }
  json_t *templates = chat_templates(keys);
  if (templates) json_object_set_new(config, "chat_template", templates);
  int rc = config ? write_json(dir, "tokenizer_config.json", config) : ZF_ENOMEM;
  json_decref(config);
  return rc;
}

int zf_tok_save_gguf(const char *dir, const char *path) {
  struct zf_gguf gguf;
  int rc = zf_gguf_open(&gguf, path, 1);
  if (rc) return rc;
  rc = save_tokenizer(dir, gguf.keys, path);
  if (!rc) rc = save_settings(dir, gguf.keys);
  zf_gguf_free(&gguf);
  return rc;
}
