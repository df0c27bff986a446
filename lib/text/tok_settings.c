/* The JSON files beside a tokenizer, merged as Transformers merges them:
 *
 *   tokenizer_config.json    names special tokens and lists the tokens added to the vocabulary
 *   special_tokens_map.json  overrides those names, unless tokenizer_config.json has
 *                            added_tokens_decoder, which every file of 2023 and later has
 *   added_tokens.json        {token: id}; ignored under the same condition
 *   the tokenizer's class    names the tokens that no file names: the EOS of GPT2Tokenizer is
 *                            <|endoftext|>
 *
 * generation_config.json and config.json name BOS, EOS and PAD by their ids (specials.c). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "fmt/json.h"
#include "text_internal.h"

static const char *const special_names[ZF_SPECIALS] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

const char *zf_special_name(enum zf_special which) {
  return special_names[which];
}

/* --- reading ------------------------------------------------------------------------------- */

/* The object in a file, or an empty one if there is no such file. */
static int load_object(json_t **out, const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  int rc = path ? 0 : ZF_ENOMEM;
  *out = NULL;
  if (!rc && zf_exists(path))
    rc = zf_json_load(out, path);
  else if (!rc && !(*out = json_object()))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (!rc && (!json_is_object(*out) || zf_json_wide(*out)))
    rc = zf_error(ZF_EINVALID, "%s: expected an object, found %s", path, zf_json_kind(*out));
  free(path);
  return rc;
}

void zf_tok_settings_settle(struct zf_tok_settings *settings) {
  if (json_object_get(settings->config, "added_tokens_decoder")) {
    json_object_clear(settings->special_map);
    json_object_clear(settings->added_tokens);
  }
  settings->class = zf_tok_class_of(settings);
}

int zf_tok_settings_load(struct zf_tok_settings *settings, const char *dir) {
  *settings = (struct zf_tok_settings){.dir = dir};
  int rc = load_object(&settings->config, dir, "tokenizer_config.json");
  if (!rc) rc = load_object(&settings->special_map, dir, "special_tokens_map.json");
  if (!rc) rc = load_object(&settings->added_tokens, dir, "added_tokens.json");
  if (!rc) rc = load_object(&settings->generation, dir, "generation_config.json");
  if (!rc) rc = load_object(&settings->model_config, dir, "config.json");
  if (!rc) zf_tok_settings_settle(settings);
  return rc;
}

void zf_tok_settings_free(struct zf_tok_settings *settings) {
  json_decref(settings->config);
  json_decref(settings->special_map);
  json_decref(settings->added_tokens);
  json_decref(settings->generation);
  json_decref(settings->model_config);
  memset(settings, 0, sizeof *settings);
}

/* --- names --------------------------------------------------------------------------------- */

/* The text of a token, which is a string or {"content": ...}; or NULL. */
static const char *content_of(const json_t *value) {
  return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

const json_t *zf_tok_settings_get(const struct zf_tok_settings *settings, const char *key,
                                  const char **from) {
  const json_t *value = json_object_get(settings->special_map, key);
  *from = value ? "special_tokens_map.json" : "tokenizer_config.json";
  return value ? value : json_object_get(settings->config, key);
}

const char *zf_tok_settings_name(const struct zf_tok_settings *settings, enum zf_special which,
                                 const char **from, int *present) {
  const json_t *value = zf_tok_settings_get(settings, special_names[which], from);
  *present = value != NULL;
  if (value || !settings->class) return content_of(value);
  *from = settings->class->name;
  return settings->class->special[which];
}

int zf_tok_settings_flag(const struct zf_tok_settings *settings, const char *key, int fallback) {
  const json_t *value = json_object_get(settings->config, key);
  return json_is_boolean(value) ? json_is_true(value) : fallback;
}

/* --- tokens to add --------------------------------------------------------------------------- */

/* The list that zf_tok_settings_tokens builds. */
struct added_list {
  const char *dir;
  json_t *tokens; /* objects like those of tokenizer.json's added_tokens, in the order of adding */
  json_t *known;  /* {content: true} of these and of tokenizer.json's */
  int failed;
};

static void push_token(struct added_list *list, json_t *token, const char *from) {
  const json_t *content = json_object_get(token, "content");
  if (token && json_is_string(content))
    json_object_set(list->known, json_string_value(content), json_true());
  char *path = zf_path_join(list->dir, from);
  if (token && path) json_object_set_new(token, "from", json_string(path));
  free(path);
  list->failed |= json_array_append_new(list->tokens, token);
}

/* The definition of a token from a string or from an object with flags. */
static json_t *token_object(const json_t *value, int special) {
  json_t *token =
      json_is_object(value) ? json_copy((json_t *)value) : json_pack("{s:O}", "content", value);
  if (!token || !special) return token;
  json_object_set_new(token, "special", json_true());
  if (!json_is_object(value)) json_object_set_new(token, "normalized", json_false());
  return token;
}

/* Adds a special token that is not known yet. */
static void push_special(struct added_list *list, const json_t *value, const char *from) {
  const char *content = content_of(value);
  if (!content || !*content || json_object_get(list->known, content)) return;
  push_token(list, token_object(value, 1), from);
}

static int by_number(const void *a, const void *b) {
  long long x = strtoll(*(const char *const *)a, NULL, 10),
            y = strtoll(*(const char *const *)b, NULL, 10);
  return (x > y) - (x < y);
}

/* Checks added_tokens_decoder, {"id": token}, and lists its keys. */
static int list_decoder_ids(const char **id, const json_t *decoder, const char *dir) {
  size_t i = 0;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)decoder, key, value) {
    if (!json_is_object(value) || !*key || strspn(key, "0123456789") != strlen(key))
      return zf_error(
          ZF_EINVALID,
          "%s/tokenizer_config.json: added_tokens_decoder: '%.40s': expected an id and an "
          "object, found %s",
          dir, key, zf_json_kind(value));
    id[i++] = key;
  }
  return 0;
}

/* Adds the tokens of added_tokens_decoder by ascending id. */
static int push_decoder(struct added_list *list, const json_t *decoder) {
  size_t count = json_object_size(decoder);
  const char **id = zf_calloc((int64_t)count + 1, sizeof *id);
  if (!id) return ZF_ENOMEM;
  int rc = list_decoder_ids(id, decoder, list->dir);
  if (rc) {
    free(id);
    return rc;
  }
  qsort(id, count, sizeof *id, by_number);
  for (size_t i = 0; i < count; i++) {
    json_t *token = json_copy(json_object_get(decoder, id[i]));
    json_object_set_new(token, "id", json_integer(strtoll(id[i], NULL, 10)));
    push_token(list, token, "tokenizer_config.json: added_tokens_decoder");
  }
  free(id);
  return 0;
}

/* Is the text among those that tokenizer_config.json or special_tokens_map.json call special? */
static int is_named(const struct zf_tok_settings *settings, const char *text) {
  const json_t *extra = json_object_get(settings->config, "extra_special_tokens"), *value;
  const char *from;
  size_t i;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = content_of(zf_tok_settings_get(settings, special_names[k], &from));
    if (name && !strcmp(name, text)) return 1;
  }
  if (!extra) extra = json_object_get(settings->config, "additional_special_tokens");
  if (json_object_get(settings->special_map, "extra_special_tokens"))
    extra = json_object_get(settings->special_map, "extra_special_tokens");
  json_array_foreach((json_t *)extra, i, value) {
    const char *name = content_of(value);
    if (name && !strcmp(name, text)) return 1;
  }
  return 0;
}

static int by_id(const void *a, const void *b) {
  json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "id"));
  json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "id"));
  return (x > y) - (x < y);
}

/* The tokens of added_tokens.json, {token: id}, that are not known yet.  *count are owned by the
 * caller, also on failure. */
static int list_added(json_t **token, size_t *count, const struct added_list *list,
                      const struct zf_tok_settings *settings) {
  json_t *value;
  const char *text;
  json_object_foreach(settings->added_tokens, text, value) {
    int special = is_named(settings, text);
    if (!json_is_integer(value))
      return zf_error(ZF_EINVALID, "%s/added_tokens.json: '%.60s': expected an id, found %s",
                      list->dir, text, zf_json_kind(value));
    if (json_object_get(list->known, text)) continue;
    token[*count] = json_pack("{s:s, s:O, s:b, s:b}", "content", text, "id", value, "normalized",
                              !special, "special", special);
    if (!token[*count])
      return zf_error(ZF_ENOMEM, "%s/added_tokens.json: out of memory", list->dir);
    ++*count;
  }
  return 0;
}

/* Adds the tokens of added_tokens.json by ascending id.  A token that tokenizer.json has keeps the
 * flags it has there. */
static int push_added(struct added_list *list, const struct zf_tok_settings *settings) {
  size_t count = 0;
  json_t **token = zf_calloc((int64_t)json_object_size(settings->added_tokens) + 1, sizeof *token);
  if (!token) return ZF_ENOMEM;
  int rc = list_added(token, &count, list, settings);
  if (count) qsort(token, count, sizeof *token, by_id);
  for (size_t i = 0; i < count; i++) push_token(list, token[i], "added_tokens.json");
  free(token);
  return rc;
}

/* extra_special_tokens, formerly additional_special_tokens: a list, or {name: token}. */
static const json_t *extra_tokens(const struct zf_tok_settings *settings, const char **from) {
  const json_t *value = zf_tok_settings_get(settings, "extra_special_tokens", from);
  return value && (json_array_size(value) || json_object_size(value))
             ? value
             : zf_tok_settings_get(settings, "additional_special_tokens", from);
}

/* Other keys that end in _token and hold a text ("image_token") name special tokens too. */
static int is_extra_name(const char *key, const json_t *value) {
  size_t len = strlen(key);
  for (int k = 0; k < ZF_SPECIALS; k++)
    if (!strcmp(key, special_names[k])) return 0;
  return len > 6 && !strcmp(key + len - 6, "_token") && json_is_string(value);
}

static void push_named(struct added_list *list, const struct zf_tok_settings *settings,
                       const struct zf_vocab *vocab) {
  const char *from, *key;
  json_t *value;
  size_t i;
  int present;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(settings, (enum zf_special)k, &from, &present);
    if (present) push_special(list, zf_tok_settings_get(settings, special_names[k], &from), from);
    if (present || !name || zf_vocab_find(vocab, name, (int64_t)strlen(name)) < 0) continue;
    json_t *text = json_string(name); /* the class's, which the vocabulary has */
    push_special(list, text, from);
    json_decref(text);
  }
  const json_t *extra = extra_tokens(settings, &from);
  json_object_foreach(settings->special_map, key, value) {
    if (is_extra_name(key, value)) push_special(list, value, "special_tokens_map.json");
  }
  json_object_foreach(settings->config, key, value) {
    if (is_extra_name(key, value)) push_special(list, value, "tokenizer_config.json");
  }
  json_object_foreach((json_t *)(json_is_object(extra) ? extra : NULL), key, value)
      push_special(list, value, from);
  json_array_foreach((json_t *)extra, i, value) push_special(list, value, from);
}

/* Adds the special tokens once more, with the flags of special tokens, as some classes do. */
static void push_specials_again(struct added_list *list, const struct zf_tok_settings *settings) {
  const char *from;
  json_t *value;
  size_t i;
  int present;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(settings, (enum zf_special)k, &from, &present);
    if (name && json_object_get(list->known, name))
      push_token(list, json_pack("{s:s, s:b, s:b}", "content", name, "special", 1, "normalized", 0),
                 from);
  }
  json_array_foreach((json_t *)extra_tokens(settings, &from), i, value) {
    const char *name = content_of(value);
    if (name && json_object_get(list->known, name))
      push_token(list, json_pack("{s:s, s:b, s:b}", "content", name, "special", 1, "normalized", 0),
                 from);
  }
}

static int push_all(struct added_list *list, const struct zf_tok_settings *settings,
                    const struct zf_vocab *vocab) {
  const json_t *decoder = json_object_get(settings->config, "added_tokens_decoder");
  int rc = json_is_object(decoder) ? push_decoder(list, decoder) : push_added(list, settings);
  if (rc) return rc;
  push_named(list, settings, vocab);
  if (settings->class && settings->class->readd_special) push_specials_again(list, settings);
  return list->failed ? zf_error(ZF_ENOMEM, "out of memory for added tokens") : 0;
}

int zf_tok_settings_tokens(json_t **out, const struct zf_tok_settings *settings,
                           const json_t *listed, const struct zf_vocab *vocab) {
  struct added_list list = {.dir = settings->dir, .tokens = json_array(), .known = json_object()};
  json_t *value;
  size_t i;
  json_array_foreach((json_t *)listed, i, value) {
    const char *content = json_string_value(json_object_get(value, "content"));
    if (content) json_object_set(list.known, content, json_true());
  }
  int rc = list.tokens && list.known ? push_all(&list, settings, vocab)
                                     : zf_error(ZF_ENOMEM, "out of memory for added tokens");
  json_decref(list.known);
  *out = list.tokens;
  if (!rc) return 0;
  json_decref(list.tokens);
  *out = NULL;
  return rc;
}

json_t *zf_tok_settings_template(const struct zf_tok_settings *settings) {
  json_t *out = json_object(), *value;
  const char *from, *key;
  int present;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(settings, (enum zf_special)k, &from, &present);
    if (name) json_object_set_new(out, special_names[k], json_string(name));
  }
  const json_t *extra = extra_tokens(settings, &from);
  json_object_foreach((json_t *)(json_is_object(extra) ? extra : NULL), key, value) {
    if (content_of(value)) json_object_set_new(out, key, json_string(content_of(value)));
  }
  json_object_foreach(settings->config, key, value) {
    if (is_extra_name(key, value)) json_object_set(out, key, value);
  }
  json_object_foreach(settings->special_map, key, value) {
    if (is_extra_name(key, value)) json_object_set(out, key, value);
  }
  return out;
}
