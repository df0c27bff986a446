/* Added tokens: special tokens and words that become spans of their own before the model sees the
 * text.
 *
 * Two tries hold them: `raw` for those searched in the original text, `normal` for those that are
 * normalised and searched in the normalised text.  The leftmost match wins, and of matches at one
 * byte the longest:
 *
 *   "<s>" "<sep>" "</s>"     root['<'] -> s -> > (1)
 *                                          |   e -> p -> > (2)      child ->  sibling |
 *                                          / -> s -> > (3) */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { MAX_LEN = 4096 }; /* bytes of a token: limits the steps of one search */

/* --- the trie -------------------------------------------------------------------- */

static int add_node(struct zf_trie *trie, unsigned char byte) {
  if (trie->count == trie->cap) {
    int64_t cap = trie->cap ? trie->cap * 2 : 256;
    struct zf_trie_node *node = realloc(trie->node, (size_t)cap * sizeof *node);
    if (!node) return zf_error(ZF_ENOMEM, "out of memory for %lld trie nodes", (long long)cap);
    trie->node = node;
    trie->cap = cap;
  }
  trie->node[trie->count++] = (struct zf_trie_node){.token = -1, .byte = byte};
  return 0;
}

/* Of several tokens with one text, the first one stays. */
static int insert_key(struct zf_trie *trie, const char *text, int64_t len, int32_t token) {
  uint32_t node = 0;
  int rc = trie->count ? 0 : add_node(trie, 0);
  if (rc) return rc;
  for (int64_t i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)text[i];
    uint32_t next = node ? trie->node[node].child : trie->root[byte];
    while (next && trie->node[next].byte != byte) next = trie->node[next].sibling;
    if (!next) {
      next = (uint32_t)trie->count;
      if ((rc = add_node(trie, byte))) return rc;
      trie->node[next].sibling = node ? trie->node[node].child : 0;
      *(node ? &trie->node[node].child : &trie->root[byte]) = next;
    }
    node = next;
  }
  if (node && trie->node[node].token < 0) trie->node[node].token = token;
  return 0;
}

/* The longest token that text begins with, its length in *len; or -1. */
static int32_t longest_match(const struct zf_trie *trie, const char *text, int64_t length,
                             int64_t *len) {
  int32_t token = -1;
  uint32_t at = trie->root[(unsigned char)text[0]];
  for (int64_t i = 0; at;) {
    const struct zf_trie_node *node = &trie->node[at];
    i++;
    if (node->token >= 0) {
      token = node->token;
      *len = i;
    }
    if (i == length) break;
    at = node->child;
    while (at && trie->node[at].byte != (unsigned char)text[i]) at = trie->node[at].sibling;
  }
  return token;
}

/* --- reading --------------------------------------------------------------------- */

static int by_id(const void *a, const void *b) {
  int32_t x = ((const struct zf_added_token *)a)->id, y = ((const struct zf_added_token *)b)->id;
  return (x > y) - (x < y);
}

static int parse_token(struct zf_added_token *token, const json_t *def, const char *where) {
  const char *content;
  int64_t id = -1;
  if (!json_is_object(def))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", where, zf_json_kind(def));
  token->normalized = 1;
  int rc = zf_need_str(&content, def, "content", where);
  if (!rc) rc = zf_json_int(&id, def, "id", where);
  if (!rc) rc = zf_json_bool(&token->single_word, def, "single_word", where);
  if (!rc) rc = zf_json_bool(&token->lstrip, def, "lstrip", where);
  if (!rc) rc = zf_json_bool(&token->rstrip, def, "rstrip", where);
  if (!rc) rc = zf_json_bool(&token->normalized, def, "normalized", where);
  if (!rc) rc = zf_json_bool(&token->special, def, "special", where);
  if (rc) return rc;
  if (strlen(content) > MAX_LEN)
    return zf_error(ZF_EINVALID, "%s: a token of more than %d bytes", where, MAX_LEN);
  if (id < 0 || id > INT32_MAX - 1)
    return zf_error(ZF_EINVALID, "%s: token '%s': expected an id from 0 to %d, found %lld", where,
                    content, INT32_MAX - 1, (long long)id);
  token->id = (int32_t)id;
  token->content = zf_strdup(content);
  return token->content ? 0 : ZF_ENOMEM;
}

/* The `tokenizers` package ignores the ids in the files and numbers added tokens itself, in the
 * order of adding. */
static int64_t assigned_id(const char *content, const struct zf_vocab *vocab, int64_t last) {
  int32_t known = zf_vocab_find(vocab, content, (int64_t)strlen(content));
  if (known >= 0) return known;
  return last >= vocab->count ? last + 1 : vocab->count;
}

/* If the two ids differ, it is not known with which of them the model was trained. */
static int check_id(const struct zf_added_token *token, const struct zf_vocab *vocab, int64_t *last,
                    const char *where) {
  int64_t id = assigned_id(token->content, vocab, *last);
  if (token->id != id)
    return zf_error(ZF_EINVALID, "%s: token '%s' has id %d, but in the order of adding it is %lld",
                    where, token->content, token->id, (long long)id);
  if (id > *last) *last = id;
  return 0;
}

static int check_unique(const struct zf_added *added, const char *where) {
  for (int64_t i = 1; i < added->count; i++)
    if (added->token[i].id == added->token[i - 1].id)
      return zf_error(ZF_EINVALID, "%s: tokens '%s' and '%s' share the id %d", where,
                      added->token[i - 1].content, added->token[i].content, added->token[i].id);
  return 0;
}

static void drop_last(struct zf_added *added) {
  struct zf_added_token *token = &added->token[--added->count];
  free(token->content);
  memset(token, 0, sizeof *token);
}

static int parse_listed(struct zf_added *added, const json_t *list, const struct zf_tok *tok,
                        int64_t *last) {
  char where[512];
  const json_t *def;
  size_t i;
  snprintf(where, sizeof where, "%s: added_tokens", tok->name);
  if (!list || json_is_null(list)) return 0;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: expected an array, found %s", where, zf_json_kind(list));
  json_array_foreach((json_t *)list, i, def) {
    struct zf_added_token *token = &added->token[added->count];
    int rc = parse_token(token, def, where);
    if (rc) return rc;
    added->count++;
    if (token->content[0])
      rc = check_id(token, &tok->vocab, last, where);
    else
      drop_last(added); /* the `tokenizers` package ignores empty tokens, too */
    if (rc) return rc;
  }
  return 0;
}

/* A copy of a definition with `id` for one that it lacks. */
static json_t *with_id(const json_t *def, int64_t id) {
  json_t *complete = json_copy((json_t *)def);
  if (!complete || json_object_get(complete, "id")) return complete;
  if (!json_object_set_new(complete, "id", json_integer(id))) return complete;
  json_decref(complete);
  return NULL;
}

static int parse_extra_token(struct zf_added_token *token, const json_t *def, int64_t id, int known,
                             const char *from) {
  json_t *complete = with_id(def, id);
  if (!complete) return zf_error(ZF_ENOMEM, "%s: out of memory", from);
  int rc = parse_token(token, complete, from);
  json_decref(complete);
  if (rc || token->id == id) return rc;
  return zf_error(ZF_EINVALID,
                  "%s: token '%s' has id %d, but %s it is %lld: save the tokenizer again with "
                  "Transformers",
                  from, token->content, token->id,
                  known ? "in tokenizer.json" : "in the order of adding", (long long)id);
}

/* One token of the settings files: a new one, or other flags for one that is known.
 * index_by_content: {content: index}. */
static int parse_extra(struct zf_added *added, const json_t *def, const struct zf_tok *tok,
                       int64_t *last, json_t *index_by_content) {
  const char *from = json_string_value(json_object_get(def, "from"));
  const char *content = json_string_value(json_object_get(def, "content"));
  const json_t *known = content ? json_object_get(index_by_content, content) : NULL;
  if (content && !*content) return 0;
  int64_t index = known ? json_integer_value(known) : added->count, id = 0;
  if (known)
    id = added->token[index].id;
  else if (content)
    id = assigned_id(content, &tok->vocab, *last);
  struct zf_added_token token = {0};
  int rc = parse_extra_token(&token, def, id, known != NULL, from);
  if (rc) {
    free(token.content);
    return rc;
  }
  if (known) free(added->token[index].content);
  added->token[index] = token;
  if (id > *last) *last = id;
  if (known) return 0;
  added->count++;
  return json_object_set_new(index_by_content, content, json_integer(index))
             ? zf_error(ZF_ENOMEM, "%s: out of memory", from)
             : 0;
}

static int parse_all_extra(struct zf_added *added, const json_t *extra, const struct zf_tok *tok,
                           int64_t *last, json_t *index_by_content) {
  json_t *def;
  size_t i;
  for (int64_t j = 0; j < added->count; j++)
    if (json_object_set_new(index_by_content, added->token[j].content, json_integer(j)))
      return zf_error(ZF_ENOMEM, "%s: out of memory", tok->name);
  json_array_foreach((json_t *)extra, i, def) {
    int rc = parse_extra(added, def, tok, last, index_by_content);
    if (rc) return rc;
  }
  return 0;
}

int zf_added_parse(struct zf_added *added, const json_t *list, const json_t *extra,
                   const struct zf_tok *tok) {
  int64_t last = -1;
  added->token = zf_calloc((int64_t)(json_array_size(list) + json_array_size(extra)) + 1,
                           sizeof *added->token);
  if (!added->token) return ZF_ENOMEM;
  int rc = parse_listed(added, list, tok, &last);
  if (rc) return rc;
  json_t *index_by_content = json_object();
  rc = index_by_content ? parse_all_extra(added, extra, tok, &last, index_by_content)
                        : zf_error(ZF_ENOMEM, "%s: out of memory", tok->name);
  json_decref(index_by_content);
  if (rc) return rc;
  qsort(added->token, (size_t)added->count, sizeof *added->token, by_id);
  return check_unique(added, tok->name);
}

static int index_normalized(struct zf_added *added, int64_t index, const struct zf_tok *tok) {
  const char *content = added->token[index].content;
  struct zf_encoding encoding;
  int rc = zf_encoding_open(&encoding, tok, content, strlen(content), 1);
  if (!rc) rc = zf_chain_apply(&tok->normalizer, &encoding);
  if (!rc && encoding.text.len > MAX_LEN)
    rc = zf_error(ZF_EINVALID, "%s: added token '%s' normalises to more than %d bytes", tok->name,
                  content, MAX_LEN);
  if (!rc) rc = insert_key(&added->normal, encoding.text.data, encoding.text.len, (int32_t)index);
  if (!rc && !(added->token[index].shown = zf_strndup(encoding.text.data ? encoding.text.data : "",
                                                      (size_t)encoding.text.len)))
    rc = ZF_ENOMEM;
  zf_encoding_close(&encoding);
  return rc;
}

static int index_token(struct zf_added *added, int64_t index, const struct zf_tok *tok) {
  const struct zf_added_token *token = &added->token[index];
  if (token->normalized) return index_normalized(added, index, tok);
  return insert_key(&added->raw, token->content, (int64_t)strlen(token->content), (int32_t)index);
}

int zf_added_index(struct zf_added *added, const struct zf_tok *tok) {
  for (int special = 1; special >= 0; special--) { /* special tokens first, as the package does */
    for (int64_t i = 0; i < added->count; i++) {
      if (added->token[i].special != special) continue;
      int rc = index_token(added, i, tok);
      if (rc) return rc;
    }
  }
  return 0;
}

void zf_added_free(struct zf_added *added) {
  for (int64_t i = 0; i < added->count; i++) {
    free(added->token[i].content);
    free(added->token[i].shown);
  }
  free(added->token);
  free(added->raw.node);
  free(added->normal.node);
  memset(added, 0, sizeof *added);
}

const struct zf_added_token *zf_added_find(const struct zf_added *added, int32_t id) {
  struct zf_added_token key = {.id = id};
  if (!added->count) return NULL;
  return bsearch(&key, added->token, (size_t)added->count, sizeof *added->token, by_id);
}

/* --- cutting --------------------------------------------------------------------- */

/* The character that ends before text[at]; *begin is its first byte. */
static uint32_t char_before(const char *text, int64_t at, int64_t *begin) {
  uint32_t c;
  int64_t start = at - 1;
  while (start > 0 && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
  zf_char_next(&c, text + start, at - start);
  *begin = start;
  return c;
}

static int is_single_word(const char *text, int64_t len, int64_t from, int64_t to) {
  int64_t begin;
  uint32_t c;
  if (from > 0 && zf_char_is_word(char_before(text, from, &begin))) return 0;
  if (to == len) return 1;
  zf_char_next(&c, text + to, len - to);
  return !zf_char_is_word(c);
}

static int64_t skip_spaces_before(const char *text, int64_t at, int64_t min) {
  int64_t begin = at;
  while (at > min && zf_char_is_space(char_before(text, at, &begin))) at = begin;
  return at > min ? at : min;
}

static int64_t skip_spaces_after(const char *text, int64_t at, int64_t len) {
  uint32_t c;
  while (at < len) {
    int bytes = zf_char_next(&c, text + at, len - at);
    if (!zf_char_is_space(c)) break;
    at += bytes;
  }
  return at;
}

/* Splits a span at its added tokens.  As in the `tokenizers` package, a token that is rejected
 * because it is part of a word is skipped as a whole, and a token is also found within the spaces
 * that another one stripped. */
static int cut_span(const struct zf_added *added, const struct zf_trie *trie,
                    struct zf_encoding *encoding, const struct zf_span *span) {
  const char *text = encoding->text.data + span->off;
  int64_t done = 0, len = 0, next;
  for (int64_t i = 0; i < span->len; i = next) {
    int32_t index = longest_match(trie, text + i, span->len - i, &len);
    next = index < 0 ? i + 1 : i + len;
    if (index < 0) continue;
    const struct zf_added_token *token = &added->token[index];
    int64_t from = i, to = next;
    if (token->single_word && !is_single_word(text, span->len, from, to)) continue;
    if (token->lstrip) from = skip_spaces_before(text, from, done);
    if (token->rstrip) to = skip_spaces_after(text, to, span->len);
    int rc = from > done ? zf_encoding_add_span(encoding, span->off + done, from - done, -1) : 0;
    if (!rc) rc = zf_encoding_add_span(encoding, span->off + from, to - from, token->id);
    if (rc) return rc;
    done = to;
  }
  return done < span->len ? zf_encoding_add_span(encoding, span->off + done, span->len - done, -1)
                          : 0;
}

int zf_added_cut(const struct zf_added *added, const struct zf_trie *trie,
                 struct zf_encoding *encoding) {
  if (!trie->count) return 0;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    int rc = span.id >= 0 ? zf_encoding_add_span(encoding, span.off, span.len, span.id)
                          : cut_span(added, trie, encoding, &span);
    if (rc) return rc;
  }
  zf_encoding_swap_spans(encoding);
  return 0;
}
