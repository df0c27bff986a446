/* The files beside a tokenizer: an object whose members config, map, added, generation and model
 * are tokenizer_config.json and so on, and vocab (true: a vocab.json with merges.txt) over a small
 * fixed tokenizer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"
#include "text/text_internal.h"

static const char fixed[] = "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"normalized\": "
                            "false, \"special\": true}, "
                            "{\"id\": 9, \"content\": \"<m>\", \"normalized\": true, \"lstrip\": "
                            "true}], \"model\": {\"type\": \"BPE\", "
                            "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"a\": 2, \"b\": 3, \"ab\": 4, "
                            "\"\\u0120\": 5, \"</s>\": 6, "
                            "\"<|endoftext|>\": 7, \"\\u2581\": 8}, \"merges\": [\"a b\"]}, "
                            "\"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                            "\"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}}";

static json_t *member(const json_t *all, const char *key) {
  json_t *v = json_object_get(all, key);
  return json_is_object(v) && !zf_json_wide(v) ? json_incref(v) : json_object();
}

static void use(const struct zf_tok *t) {
  static const char text[] = "ab <s>a<m> b</s><|endoftext|>";
  struct zf_ids ids = {0};
  struct zf_buf out = {0};
  if (!zf_tok_encode(t, &ids, text, sizeof text - 1, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS))
    zf_tok_decode(t, &out, ids.id, ids.count, 0);
  for (int64_t i = 0; i < ids.count; i++)
    if (ids.id[i] < 0 || ids.id[i] >= zf_tok_size(t)) abort();
  for (int k = 0; k < ZF_SPECIALS; k++) {
    struct zf_special_token s = zf_tok_special(t, (enum zf_special)k);
    if (s.id >= zf_tok_size(t) || (s.id >= 0 && !s.source)) abort();
  }
  zf_ids_free(&ids);
  zf_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *all = NULL, *root = NULL;
  struct zf_tok *t = NULL;
  if (zf_json_parse(&all, size ? (const char *)data : "", size, "fuzz")) return 0;
  struct zf_tok_settings b = {.dir = "fuzz",
                              .config = member(all, "config"),
                              .special_map = member(all, "map"),
                              .added_tokens = member(all, "added"),
                              .generation = member(all, "generation"),
                              .model_config = member(all, "model")};
  zf_tok_settings_settle(&b);
  if (zf_json_parse(&root, fixed, sizeof fixed - 1, "fixed")) abort();
  if (json_is_true(json_object_get(all, "vocab"))) {
    json_object_del(root, "added_tokens");
    json_object_set_new(root, ZF_POST_KIND_KEY,
                        json_string(json_object_get(all, "cls") ? "cls trim" : "bos"));
  }
  if (!zf_tok_rebuild(root, &b) && !zf_tok_build(&t, root, &b, "fuzz")) use(t);
  zf_tok_free(t);
  json_decref(root);
  zf_tok_settings_free(&b);
  json_decref(all);
  return 0;
}
