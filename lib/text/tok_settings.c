/* The JSON files beside a tokenizer, merged as Transformers merges them:
 *
 *   tokenizer_config.json    names special tokens and says which tokens are added to the vocabulary
 *   special_tokens_map.json  overrides those names, unless tokenizer_config.json has
 *                            added_tokens_decoder, which every file of 2023 and later has
 *   added_tokens.json        {token: id}; under the same condition
 *   the tokenizer's class    names what neither does: GPT2Tokenizer ends a text with <|endoftext|>
 *
 * generation_config.json and config.json name BOS, EOS and PAD by their ids (specials.c). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "fmt/json.h"
#include "text_internal.h"

static const char *const names[ZF_SPECIALS] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

const char *zf_special_name(enum zf_special which) {
  return names[which];
}

/* --- reading ------------------------------------------------------------------------------- */

/* The object in a file, or an empty one where there is no file. */
static int load(json_t **out, const char *dir, const char *name) {
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

void zf_tok_settings_settle(struct zf_tok_settings *b) {
  if (json_object_get(b->config, "added_tokens_decoder")) {
    json_object_clear(b->map);
    json_object_clear(b->added);
  }
  b->class = zf_tok_class_of(b);
}

int zf_tok_settings_load(struct zf_tok_settings *b, const char *dir) {
  *b = (struct zf_tok_settings){.dir = dir};
  int rc = load(&b->config, dir, "tokenizer_config.json");
  if (!rc) rc = load(&b->map, dir, "special_tokens_map.json");
  if (!rc) rc = load(&b->added, dir, "added_tokens.json");
  if (!rc) rc = load(&b->generation, dir, "generation_config.json");
  if (!rc) rc = load(&b->model, dir, "config.json");
  if (!rc) zf_tok_settings_settle(b);
  return rc;
}

void zf_tok_settings_free(struct zf_tok_settings *b) {
  json_decref(b->config);
  json_decref(b->map);
  json_decref(b->added);
  json_decref(b->generation);
  json_decref(b->model);
  memset(b, 0, sizeof *b);
}

/* --- names --------------------------------------------------------------------------------- */

/* The text of a token, which is a string or {"content": ...}; or NULL. */
static const char *content_of(const json_t *v) {
  return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

const json_t *zf_tok_settings_get(const struct zf_tok_settings *b, const char *key,
                                  const char **from) {
  const json_t *v = json_object_get(b->map, key);
  *from = v ? "special_tokens_map.json" : "tokenizer_config.json";
  return v ? v : json_object_get(b->config, key);
}

const char *zf_tok_settings_name(const struct zf_tok_settings *b, enum zf_special which,
                                 const char **from, int *given) {
  const json_t *v = zf_tok_settings_get(b, names[which], from);
  *given = v != NULL;
  if (v || !b->class) return content_of(v);
  *from = b->class->name;
  return b->class->special[which];
}

int zf_tok_settings_flag(const struct zf_tok_settings *b, const char *key, int fallback) {
  const json_t *v = json_object_get(b->config, key);
  return json_is_boolean(v) ? json_is_true(v) : fallback;
}

/* --- tokens to add --------------------------------------------------------------------------- */

/* A list in the making: objects like those of tokenizer.json's added_tokens, in the order of
 * adding. */
struct list {
  const char *dir;
  json_t *tokens, *known; /* known: {content: true} */
  int failed;
};

static void push(struct list *l, json_t *token, const char *from) {
  const json_t *content = json_object_get(token, "content");
  if (token && json_is_string(content))
    json_object_set(l->known, json_string_value(content), json_true());
  char *path = zf_path_join(l->dir, from);
  if (token && path) json_object_set_new(token, "from", json_string(path));
  free(path);
  l->failed |= json_array_append_new(l->tokens, token);
}

/* What is said of one token: a string, or an object with flags. */
static json_t *token_of(const json_t *v, int special) {
  json_t *token = json_is_object(v) ? json_copy((json_t *)v) : json_pack("{s:O}", "content", v);
  if (!token || !special) return token;
  json_object_set_new(token, "special", json_true());
  if (!json_is_object(v)) json_object_set_new(token, "normalized", json_false());
  return token;
}

/* A special token that is not there yet, by its name or out of a list. */
static void push_special(struct list *l, const json_t *v, const char *from) {
  const char *content = content_of(v);
  if (!content || !*content || json_object_get(l->known, content)) return;
  push(l, token_of(v, 1), from);
}

static int by_number(const void *a, const void *b) {
  long long x = strtoll(*(const char *const *)a, NULL, 10),
            y = strtoll(*(const char *const *)b, NULL, 10);
  return (x > y) - (x < y);
}

/* added_tokens_decoder: {"id": token}, by ascending id. */
static int push_decoder(struct list *l, const json_t *decoder) {
  size_t n = json_object_size(decoder), i = 0;
  const char **id = zf_calloc((int64_t)n + 1, sizeof *id), *key;
  json_t *v;
  int rc = id ? 0 : ZF_ENOMEM;
  json_object_foreach((json_t *)decoder, key, v) {
    if (!rc && (!json_is_object(v) || !*key || strspn(key, "0123456789") != strlen(key)))
      rc =
          zf_error(ZF_EINVALID,
                   "%s/tokenizer_config.json: added_tokens_decoder: '%.40s': expected an id and an "
                   "object, found %s",
                   l->dir, key, zf_json_kind(v));
    if (!rc) id[i++] = key;
  }
  if (!rc) qsort(id, n, sizeof *id, by_number);
  for (i = 0; !rc && i < n; i++) {
    json_t *token = json_copy(json_object_get(decoder, id[i]));
    json_object_set_new(token, "id", json_integer(strtoll(id[i], NULL, 10)));
    push(l, token, "tokenizer_config.json: added_tokens_decoder");
  }
  free(id);
  return rc;
}

/* Is the text among those that tokenizer_config.json or the map call special? */
static int is_named(const struct zf_tok_settings *b, const char *text) {
  const json_t *extra = json_object_get(b->config, "extra_special_tokens"), *v;
  const char *from;
  size_t i;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = content_of(zf_tok_settings_get(b, names[k], &from));
    if (name && !strcmp(name, text)) return 1;
  }
  if (!extra) extra = json_object_get(b->config, "additional_special_tokens");
  if (json_object_get(b->map, "extra_special_tokens"))
    extra = json_object_get(b->map, "extra_special_tokens");
  json_array_foreach((json_t *)extra, i, v) {
    const char *name = content_of(v);
    if (name && !strcmp(name, text)) return 1;
  }
  return 0;
}

static int by_id(const void *a, const void *b) {
  json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "id"));
  json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "id"));
  return (x > y) - (x < y);
}

/* added_tokens.json: {token: id}; what tokenizer.json has under the same id keeps its flags. */
static int push_added(struct list *l, const struct zf_tok_settings *b) {
  size_t n = 0;
  json_t **token = zf_calloc((int64_t)json_object_size(b->added) + 1, sizeof *token), *v;
  const char *text;
  int rc = token ? 0 : ZF_ENOMEM;
  json_object_foreach(b->added, text, v) {
    int special = is_named(b, text);
    if (!rc && !json_is_integer(v))
      rc = zf_error(ZF_EINVALID, "%s/added_tokens.json: '%.60s': expected an id, found %s", l->dir,
                    text, zf_json_kind(v));
    if (rc || json_object_get(l->known, text)) continue;
    token[n] = json_pack("{s:s, s:O, s:b, s:b}", "content", text, "id", v, "normalized", !special,
                         "special", special);
    if (token[n])
      n++;
    else
      rc = zf_error(ZF_ENOMEM, "%s/added_tokens.json: out of memory", l->dir);
  }
  if (n) qsort(token, n, sizeof *token, by_id);
  for (size_t i = 0; i < n; i++) push(l, token[i], "added_tokens.json");
  free(token);
  return rc;
}

/* extra_special_tokens, formerly additional_special_tokens: a list, or {name: token}. */
static const json_t *extra_tokens(const struct zf_tok_settings *b, const char **from) {
  const json_t *v = zf_tok_settings_get(b, "extra_special_tokens", from);
  return v && (json_array_size(v) || json_object_size(v))
             ? v
             : zf_tok_settings_get(b, "additional_special_tokens", from);
}

/* Other keys that end in _token and hold a text ("image_token") name special tokens too. */
static int is_own_name(const char *key, const json_t *v) {
  size_t n = strlen(key);
  for (int k = 0; k < ZF_SPECIALS; k++)
    if (!strcmp(key, names[k])) return 0;
  return n > 6 && !strcmp(key + n - 6, "_token") && json_is_string(v);
}

static void push_named(struct list *l, const struct zf_tok_settings *b,
                       const struct zf_vocab *vocab) {
  const char *from, *key;
  json_t *v;
  size_t i;
  int given;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(b, (enum zf_special)k, &from, &given);
    if (given) push_special(l, zf_tok_settings_get(b, names[k], &from), from);
    if (given || !name || zf_vocab_find(vocab, name, (int64_t)strlen(name)) < 0) continue;
    json_t *text = json_string(name); /* the class's, where the vocabulary has it */
    push_special(l, text, from);
    json_decref(text);
  }
  const json_t *extra = extra_tokens(b, &from);
  json_object_foreach(b->map, key, v) {
    if (is_own_name(key, v)) push_special(l, v, "special_tokens_map.json");
  }
  json_object_foreach(b->config, key, v) {
    if (is_own_name(key, v)) push_special(l, v, "tokenizer_config.json");
  }
  json_object_foreach((json_t *)(json_is_object(extra) ? extra : NULL), key, v)
      push_special(l, v, from);
  json_array_foreach((json_t *)extra, i, v) push_special(l, v, from);
}

/* Some classes add their special tokens once more, as special ones. */
static void push_again(struct list *l, const struct zf_tok_settings *b) {
  const char *from;
  json_t *v;
  size_t i;
  int given;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(b, (enum zf_special)k, &from, &given);
    if (name && json_object_get(l->known, name))
      push(l, json_pack("{s:s, s:b, s:b}", "content", name, "special", 1, "normalized", 0), from);
  }
  json_array_foreach((json_t *)extra_tokens(b, &from), i, v) {
    const char *name = content_of(v);
    if (name && json_object_get(l->known, name))
      push(l, json_pack("{s:s, s:b, s:b}", "content", name, "special", 1, "normalized", 0), from);
  }
}

int zf_tok_settings_tokens(json_t **out, const struct zf_tok_settings *b, const json_t *own,
                           const struct zf_vocab *vocab) {
  struct list l = {.dir = b->dir, .tokens = json_array(), .known = json_object()};
  const json_t *decoder = json_object_get(b->config, "added_tokens_decoder");
  json_t *v;
  size_t i;
  json_array_foreach((json_t *)own, i, v) {
    const char *content = json_string_value(json_object_get(v, "content"));
    if (content) json_object_set(l.known, content, json_true());
  }
  int rc = l.tokens && l.known ? 0 : zf_error(ZF_ENOMEM, "out of memory for added tokens");
  if (!rc) rc = json_is_object(decoder) ? push_decoder(&l, decoder) : push_added(&l, b);
  if (!rc) push_named(&l, b, vocab);
  if (!rc && b->class && b->class->respecial) push_again(&l, b);
  if (!rc && l.failed) rc = zf_error(ZF_ENOMEM, "out of memory for added tokens");
  json_decref(l.known);
  *out = l.tokens;
  if (!rc) return 0;
  json_decref(l.tokens);
  *out = NULL;
  return rc;
}

json_t *zf_tok_settings_template(const struct zf_tok_settings *b) {
  json_t *out = json_object(), *v;
  const char *from, *key;
  int given;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const char *name = zf_tok_settings_name(b, (enum zf_special)k, &from, &given);
    if (name) json_object_set_new(out, names[k], json_string(name));
  }
  const json_t *extra = extra_tokens(b, &from);
  json_object_foreach((json_t *)(json_is_object(extra) ? extra : NULL), key, v) {
    if (content_of(v)) json_object_set_new(out, key, json_string(content_of(v)));
  }
  json_object_foreach(b->config, key, v) {
    if (is_own_name(key, v)) json_object_set(out, key, v);
  }
  json_object_foreach(b->map, key, v) {
    if (is_own_name(key, v)) json_object_set(out, key, v);
  }
  return out;
}
