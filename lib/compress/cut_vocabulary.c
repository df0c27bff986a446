/* Cuts rows off the vocabulary, and the tokenizer to match: tokens keep their order, so that merges keep
 * theirs, and a text that the kept tokens spell is cut into the same pieces as before. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "compress/cut_internal.h"
#include "fmt/json.h"

int32_t zf_cut_new_id(const struct zf_cut *cut, int64_t id) {
  int64_t low = 0, high = cut->tokens;
  if (!cut->token) return (int32_t)id;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (cut->token[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low < cut->tokens && cut->token[low] == id ? (int32_t)low : -1;
}

/* --- which tokens stay --- */

struct kept_tokens {
  const struct zf_tok *tok;
  int64_t size;
  char *stays; /* [size] */
};

static void keep(struct kept_tokens *kept, int64_t id) {
  if (id >= 0 && id < kept->size) kept->stays[id] = 1;
}

static int keep_text(struct kept_tokens *kept, const char *text, size_t len) {
  struct zf_ids ids = {0};
  int rc = zf_tok_encode(kept->tok, &ids, text, len, ZF_ENC_SPECIAL);
  for (int64_t i = 0; i < ids.count && !rc; i++) keep(kept, ids.id[i]);
  zf_ids_free(&ids);
  return rc;
}

/* Characters of UTF-8, counted to two. */
static int characters(const char *text) {
  int count = 0;
  for (; *text && count < 2; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

/* 1 for a piece of one character, also behind ##, and for a byte, <0x0A>. */
static int is_single(const char *piece) {
  if (!strncmp(piece, "##", 2)) piece += 2;
  return characters(piece) < 2 || (strlen(piece) == 6 && !strncmp(piece, "<0x", 3));
}

static void keep_singles(struct kept_tokens *kept) {
  for (int32_t id = 0; id < kept->size; id++) {
    const char *piece = zf_tok_piece(kept->tok, id);
    if (piece && (zf_tok_is_special(kept->tok, id) || is_single(piece))) keep(kept, id);
  }
}

/* The two pieces of a merge, "a b" or ["a", "b"]; the caller frees both. */
static int read_merge(char *part[2], const json_t *merge) {
  const char *text = json_string_value(merge), *blank = text ? strchr(text + 1, ' ') : NULL;
  part[0] = part[1] = NULL;
  if (blank) {
    part[0] = zf_strndup(text, (size_t)(blank - text));
    part[1] = zf_strdup(blank + 1);
  } else if (json_array_size(merge) == 2) {
    for (size_t i = 0; i < 2; i++) {
      const char *piece = json_string_value(json_array_get(merge, i));
      part[i] = piece ? zf_strdup(piece) : NULL;
    }
  }
  return part[0] && part[1] ? 0 : ZF_ENOMEM;
}

/* Of the kept tokens, the latest merges first: what they are merged from. */
static int keep_parts(struct kept_tokens *kept, const json_t *merges) {
  int rc = 0;
  for (size_t i = json_array_size(merges); i-- > 0 && !rc;) {
    char *part[2], *whole = NULL;
    rc = read_merge(part, json_array_get(merges, i));
    if (!rc) rc = (whole = zf_asprintf("%s%s", part[0], part[1])) ? 0 : ZF_ENOMEM;
    int32_t id = rc ? -1 : zf_tok_id(kept->tok, whole);
    for (int k = 0; k < 2 && id >= 0 && id < kept->size && kept->stays[id]; k++)
      keep(kept, zf_tok_id(kept->tok, part[k]));
    free(whole);
    free(part[0]);
    free(part[1]);
  }
  return rc;
}

static int load_tokenizer(json_t **out, const char *dir) {
  char *path = zf_path_join(dir, "tokenizer.json");
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && !zf_exists(path))
    rc = zf_error(ZF_EUSAGE, "%s: has no tokenizer.json: its vocabulary cannot be cut", dir);
  if (!rc) rc = zf_json_load(out, path);
  free(path);
  return rc;
}

static void keep_added(struct kept_tokens *kept, const json_t *root) {
  const json_t *token;
  size_t i;
  json_array_foreach(json_object_get(root, "added_tokens"), i, token)
      keep(kept, json_integer_value(json_object_get(token, "id")));
}

static int take_tokens(struct zf_cut *cut, const struct kept_tokens *kept) {
  int64_t count = 0;
  for (int64_t i = 0; i < kept->size; i++) count += kept->stays[i];
  free(cut->token);
  if (!(cut->token = zf_calloc(count, sizeof *cut->token))) return ZF_ENOMEM;
  cut->tokens = 0;
  for (int64_t i = 0; i < kept->size; i++)
    if (kept->stays[i]) cut->token[cut->tokens++] = (int32_t)i;
  return 0;
}

int zf_cut_vocabulary(struct zf_cut *cut, const struct zf_tok *tok, const char *text, size_t len) {
  struct kept_tokens kept = {.tok = tok, .size = cut->model->config.vocab};
  const char *dir = cut->model->dir;
  json_t *root = NULL;
  if (cut->model->gguf)
    return zf_error(ZF_EUSAGE,
                    "%s: the vocabulary of a GGUF file cannot be cut: 'zoft export' writes it as a "
                    "directory first",
                    dir);
  int rc = (kept.stays = zf_calloc(kept.size, 1)) ? load_tokenizer(&root, dir) : ZF_ENOMEM;
  const json_t *model = json_object_get(root, "model"),
               *prefix = json_object_get(model, "continuing_subword_prefix");
  if (!rc && json_object_get(model, "merges") && json_string_length(prefix))
    rc = zf_error(ZF_EUSAGE,
                  "%s/tokenizer.json: merges with a continuing_subword_prefix cannot be cut", dir);
  if (!rc) rc = keep_text(&kept, text, len);
  if (!rc) {
    keep_singles(&kept);
    keep_added(&kept, root);
    rc = keep_parts(&kept, json_object_get(model, "merges"));
  }
  if (!rc) rc = take_tokens(cut, &kept);
  json_decref(root);
  free(kept.stays);
  return rc;
}

/* --- the tokenizer's files --- */

/* {piece: id} with the kept ids, in their order. */
static int cut_object(const struct zf_cut *cut, json_t *model, const json_t *vocab) {
  json_t *out = json_object(), *id;
  const char *piece;
  json_object_foreach((json_t *)vocab, piece, id) {
    int32_t number = zf_cut_new_id(cut, json_integer_value(id));
    if (number >= 0) json_object_set_new(out, piece, json_integer(number));
  }
  return json_object_set_new(model, "vocab", out) ? ZF_ENOMEM : 0;
}

/* Unigram's [[piece, score], ...]. */
static int cut_list(const struct zf_cut *cut, json_t *model, const json_t *vocab) {
  json_t *out = json_array(), *entry;
  size_t i;
  json_array_foreach((json_t *)vocab, i, entry) if (zf_cut_new_id(cut, (int64_t)i) >= 0)
      json_array_append(out, entry);
  json_t *unknown = json_object_get(model, "unk_id");
  if (json_is_integer(unknown))
    json_object_set_new(model, "unk_id",
                        json_integer(zf_cut_new_id(cut, json_integer_value(unknown))));
  return json_object_set_new(model, "vocab", out) ? ZF_ENOMEM : 0;
}

/* The merges all of whose pieces stay. */
static int cut_merges(json_t *model) {
  const json_t *vocab = json_object_get(model, "vocab");
  json_t *out = json_array(), *merge;
  size_t i;
  int rc = 0;
  json_array_foreach(json_object_get(model, "merges"), i, merge) {
    char *part[2], *whole = NULL;
    if (!rc) rc = read_merge(part, merge);
    if (rc) break;
    rc = (whole = zf_asprintf("%s%s", part[0], part[1])) ? 0 : ZF_ENOMEM;
    if (!rc && json_object_get(vocab, part[0]) && json_object_get(vocab, part[1]) &&
        json_object_get(vocab, whole))
      json_array_append(out, merge);
    free(whole);
    free(part[0]);
    free(part[1]);
  }
  return json_object_set_new(model, "merges", out) || rc ? ZF_ENOMEM : 0;
}

static json_t *cut_id(const struct zf_cut *cut, const json_t *id) {
  return json_integer(zf_cut_new_id(cut, json_integer_value(id)));
}

static void cut_added(const struct zf_cut *cut, json_t *root) {
  json_t *token;
  size_t i;
  json_array_foreach(json_object_get(root, "added_tokens"), i, token)
      json_object_set_new(token, "id", cut_id(cut, json_object_get(token, "id")));
}

/* Ids of a post-processor: special_tokens of a template, cls and sep of BERT's, processors of a sequence. */
static void cut_postprocessor(const struct zf_cut *cut, json_t *processor) {
  static const char *const pairs[] = {"cls", "sep"};
  const char *name;
  json_t *token, *id, *part;
  size_t i;
  json_object_foreach(json_object_get(processor, "special_tokens"), name, token)
      json_array_foreach(json_object_get(token, "ids"), i, id)
          json_array_set_new(json_object_get(token, "ids"), i, cut_id(cut, id));
  for (int k = 0; k < 2; k++) {
    json_t *pair = json_object_get(processor, pairs[k]);
    if (json_array_size(pair) == 2)
      json_array_set_new(pair, 1, cut_id(cut, json_array_get(pair, 1)));
  }
  json_array_foreach(json_object_get(processor, "processors"), i, part)
      cut_postprocessor(cut, part);
}

static int save_json(const char *dir, const char *name, const json_t *root) {
  char *path = zf_path_join(dir, name),
       *text = zf_json_dump(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
  int rc = path && text ? zf_write_file(path, text, strlen(text)) : ZF_ENOMEM;
  free(path);
  free(text);
  return rc;
}

static int cut_tokenizer_json(const struct zf_cut *cut, const char *dir) {
  json_t *root = NULL;
  int rc = load_tokenizer(&root, dir);
  json_t *model = json_object_get(root, "model"),
         *vocab = json_incref(json_object_get(model, "vocab"));
  if (!rc) rc = (json_is_array(vocab) ? cut_list : cut_object)(cut, model, vocab);
  if (!rc && json_object_get(model, "merges")) rc = cut_merges(model);
  if (!rc) {
    cut_added(cut, root);
    cut_postprocessor(cut, json_object_get(root, "post_processor"));
    rc = save_json(dir, "tokenizer.json", root);
  }
  json_decref(vocab);
  json_decref(root);
  return rc;
}

int zf_cut_ids(const struct zf_cut *cut, json_t *object) {
  const char *key;
  json_t *value, *id;
  void *next;
  size_t i;
  json_object_foreach_safe(object, next, key, value) {
    size_t len = strlen(key);
    if (len < 8 || strcmp(key + len - 8, "token_id") != 0) continue;
    if (json_is_integer(value)) json_object_set_new(object, key, cut_id(cut, value));
    json_array_foreach(value, i, id) json_array_set_new(value, i, cut_id(cut, id));
  }
  return 0;
}

/* Applies `change` to a JSON file where there is one. */
static int change_file(const struct zf_cut *cut, const char *dir, const char *name,
                       int (*change)(const struct zf_cut *cut, json_t *root)) {
  char *path = zf_path_join(dir, name);
  json_t *root = NULL;
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(path)) {
    rc = zf_json_load(&root, path);
    if (!rc) rc = change(cut, root);
    if (!rc) rc = save_json(dir, name, root);
  }
  json_decref(root);
  free(path);
  return rc;
}

/* {"id": token} of tokenizer_config.json. */
static int cut_decoder(const struct zf_cut *cut, json_t *root) {
  json_t *decoder = json_object_get(root, "added_tokens_decoder"), *out, *token;
  const char *id;
  if (!json_is_object(decoder)) return 0;
  out = json_object();
  json_object_foreach(decoder, id, token) {
    char key[24];
    int32_t number = zf_cut_new_id(cut, strtol(id, NULL, 10));
    snprintf(key, sizeof key, "%d", number);
    if (number >= 0) json_object_set(out, key, token);
  }
  return json_object_set_new(root, "added_tokens_decoder", out) ? ZF_ENOMEM : 0;
}

int zf_cut_tokenizer(const struct zf_cut *cut, const char *dir) {
  /* They hold the whole vocabulary; tokenizer.json alone serves every loader. */
  static const char *const older[] = {"vocab.json",      "merges.txt",   "vocab.txt",
                                      "tokenizer.model", "spiece.model", "added_tokens.json"};
  if (!cut->token) return 0;
  int rc = cut_tokenizer_json(cut, dir);
  if (!rc) rc = change_file(cut, dir, "tokenizer_config.json", cut_decoder);
  if (!rc) rc = change_file(cut, dir, "generation_config.json", zf_cut_ids);
  for (size_t i = 0; i < sizeof older / sizeof *older && !rc; i++) {
    char *path = zf_path_join(dir, older[i]);
    if (path) unlink(path);
    rc = path ? 0 : ZF_ENOMEM;
    free(path);
  }
  return rc;
}
