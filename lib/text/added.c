/* Added tokens: special marks and words that are cut out of a text before the model
 * sees it.
 *
 * Two tries hold them: `raw` for those sought in the given text, `normal` for those
 * sought, normalised like it, in the normalised text.  At each place the longest
 * token wins, the leftmost place first:
 *
 *   "<s>" "<sep>" "</s>"     root['<'] -> s -> > (1)
 *                                          |   e -> p -> > (2)      child ->  sibling |
 *                                          / -> s -> > (3) */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { LONGEST = 4096 }; /* bytes of a token: bounds the steps from one place */

/* --- the trie -------------------------------------------------------------------- */

static int add_node(struct zf_trie *t, unsigned char byte) {
  if (t->count == t->cap) {
    int64_t cap = t->cap ? t->cap * 2 : 256;
    struct zf_trie_node *node = realloc(t->node, (size_t)cap * sizeof *node);
    if (!node) return zf_error(ZF_ENOMEM, "out of memory for %lld trie nodes", (long long)cap);
    t->node = node;
    t->cap = cap;
  }
  t->node[t->count++] = (struct zf_trie_node){.token = -1, .byte = byte};
  return 0;
}

/* Of tokens that normalise to one text the first one stays. */
static int insert(struct zf_trie *t, const char *p, int64_t n, int32_t token) {
  uint32_t at = 0;
  int rc = t->count ? 0 : add_node(t, 0);
  for (int64_t i = 0; !rc && i < n; i++) {
    unsigned char byte = (unsigned char)p[i];
    uint32_t next = at ? t->node[at].child : t->root[byte];
    while (next && t->node[next].byte != byte) next = t->node[next].sibling;
    if (!next) {
      next = (uint32_t)t->count;
      rc = add_node(t, byte);
      if (rc) return rc;
      t->node[next].sibling = at ? t->node[at].child : 0;
      *(at ? &t->node[at].child : &t->root[byte]) = next;
    }
    at = next;
  }
  if (!rc && at && t->node[at].token < 0) t->node[at].token = token;
  return rc;
}

/* The longest token at p, its length in *len; or -1. */
static int32_t longest(const struct zf_trie *t, const char *p, int64_t n, int64_t *len) {
  int32_t token = -1;
  uint32_t at = t->root[(unsigned char)p[0]];
  for (int64_t i = 0; at;) {
    const struct zf_trie_node *node = &t->node[at];
    i++;
    if (node->token >= 0) {
      token = node->token;
      *len = i;
    }
    if (i == n) break;
    at = node->child;
    while (at && t->node[at].byte != (unsigned char)p[i]) at = t->node[at].sibling;
  }
  return token;
}

/* --- reading --------------------------------------------------------------------- */

static int by_id(const void *a, const void *b) {
  int32_t x = ((const struct zf_added_token *)a)->id, y = ((const struct zf_added_token *)b)->id;
  return (x > y) - (x < y);
}

static int parse_token(struct zf_added_token *a, const json_t *def, const char *where) {
  const char *content;
  int64_t id = -1;
  if (!json_is_object(def))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", where, zf_json_kind(def));
  a->normalized = 1;
  int rc = zf_need_str(&content, def, "content", where);
  if (!rc) rc = zf_json_int(&id, def, "id", where);
  if (!rc) rc = zf_json_bool(&a->single_word, def, "single_word", where);
  if (!rc) rc = zf_json_bool(&a->lstrip, def, "lstrip", where);
  if (!rc) rc = zf_json_bool(&a->rstrip, def, "rstrip", where);
  if (!rc) rc = zf_json_bool(&a->normalized, def, "normalized", where);
  if (!rc) rc = zf_json_bool(&a->special, def, "special", where);
  if (rc) return rc;
  if (strlen(content) > LONGEST)
    return zf_error(ZF_EINVALID, "%s: a token of more than %d bytes", where, LONGEST);
  if (id < 0 || id > INT32_MAX - 1)
    return zf_error(ZF_EINVALID, "%s: token '%s': id %lld", where, content, (long long)id);
  a->id = (int32_t)id;
  a->content = zf_strdup(content);
  return a->content ? 0 : ZF_ENOMEM;
}

/* The original numbers added tokens itself, in the order of adding, and passes over the ids in the
 * files. */
static int64_t place_of(const char *content, const struct zf_vocab *v, int64_t last) {
  int32_t known = zf_vocab_find(v, content, (int64_t)strlen(content));
  return known >= 0 ? known : last >= v->count ? last + 1 : v->count;
}

/* Where the two differ it is not known with which of them the model was trained. */
static int check_id(const struct zf_added_token *t, const struct zf_vocab *v, int64_t *last,
                    const char *where) {
  int64_t id = place_of(t->content, v, *last);
  if (t->id != id)
    return zf_error(ZF_EINVALID, "%s: token '%s' has id %d, but by its place it is %lld", where,
                    t->content, t->id, (long long)id);
  if (id > *last) *last = id;
  return 0;
}

static int check_unique(const struct zf_added *a, const char *where) {
  for (int64_t i = 1; i < a->count; i++)
    if (a->token[i].id == a->token[i - 1].id)
      return zf_error(ZF_EINVALID, "%s: tokens '%s' and '%s' share the id %d", where,
                      a->token[i - 1].content, a->token[i].content, a->token[i].id);
  return 0;
}

static void forget(struct zf_added *a) {
  struct zf_added_token *k = &a->token[--a->count];
  free(k->content);
  memset(k, 0, sizeof *k);
}

static int parse_own(struct zf_added *a, const json_t *list, const struct zf_tok *t,
                     int64_t *last) {
  char where[512];
  const json_t *def;
  size_t i;
  snprintf(where, sizeof where, "%s: added_tokens", t->name);
  if (!list || json_is_null(list)) return 0;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: expected an array, found %s", where, zf_json_kind(list));
  json_array_foreach((json_t *)list, i, def) {
    struct zf_added_token *k = &a->token[a->count];
    int rc = parse_token(k, def, where);
    if (rc) return rc;
    a->count++;
    if (k->content[0])
      rc = check_id(k, &t->vocab, last, where);
    else
      forget(a); /* the original passes over these too */
    if (rc) return rc;
  }
  return 0;
}

/* One token of the files beside: a new one, or other flags for one that is there.  at: {content: index}. */
static int parse_more(struct zf_added *a, const json_t *def, const struct zf_tok *t, int64_t *last,
                      json_t *at) {
  const char *from = json_string_value(json_object_get(def, "from"));
  const char *content = json_string_value(json_object_get(def, "content"));
  const json_t *known = content ? json_object_get(at, content) : NULL,
               *given = json_object_get(def, "id");
  if (content && !*content) return 0;
  int64_t index = known ? json_integer_value(known) : a->count;
  int64_t id = known ? a->token[index].id : content ? place_of(content, &t->vocab, *last) : 0;
  json_t *whole = json_copy((json_t *)def);
  struct zf_added_token k = {0};
  if (!whole ||
      json_object_set_new(whole, "id", given ? json_incref((json_t *)given) : json_integer(id))) {
    json_decref(whole);
    return zf_error(ZF_ENOMEM, "%s: out of memory", from);
  }
  int rc = parse_token(&k, whole, from);
  json_decref(whole);
  if (!rc && k.id != id)
    rc = zf_error(
        ZF_EINVALID,
        "%s: token '%s' has id %d, but %s it is %lld: save the tokenizer anew with Transformers",
        from, content, k.id, known ? "in tokenizer.json" : "by its place", (long long)id);
  if (rc) {
    free(k.content);
    return rc;
  }
  if (known) free(a->token[index].content);
  a->token[index] = k;
  if (id > *last) *last = id;
  if (known) return 0;
  a->count++;
  return json_object_set_new(at, content, json_integer(index))
             ? zf_error(ZF_ENOMEM, "%s: out of memory", from)
             : 0;
}

static int parse_all_more(struct zf_added *a, const json_t *more, const struct zf_tok *t,
                          int64_t *last) {
  json_t *at = json_object(), *def;
  size_t i;
  int rc = at ? 0 : zf_error(ZF_ENOMEM, "%s: out of memory", t->name);
  for (int64_t k = 0; !rc && k < a->count; k++)
    if (json_object_set_new(at, a->token[k].content, json_integer(k)))
      rc = zf_error(ZF_ENOMEM, "%s: out of memory", t->name);
  json_array_foreach((json_t *)more, i, def) {
    if (!rc) rc = parse_more(a, def, t, last, at);
  }
  json_decref(at);
  return rc;
}

int zf_added_parse(struct zf_added *a, const json_t *list, const json_t *more,
                   const struct zf_tok *t) {
  int64_t last = -1;
  a->token =
      zf_calloc((int64_t)(json_array_size(list) + json_array_size(more)) + 1, sizeof *a->token);
  if (!a->token) return ZF_ENOMEM;
  int rc = parse_own(a, list, t, &last);
  if (!rc) rc = parse_all_more(a, more, t, &last);
  if (rc) return rc;
  qsort(a->token, (size_t)a->count, sizeof *a->token, by_id);
  return check_unique(a, t->name);
}

static int index_normalized(struct zf_added *a, int64_t i, const struct zf_tok *t) {
  const char *content = a->token[i].content;
  struct zf_encoding w;
  int rc = zf_encoding_open(&w, t, content, strlen(content), 1);
  if (!rc) rc = zf_chain_apply(&t->normalizer, &w);
  if (!rc && w.cur.len > LONGEST)
    rc = zf_error(ZF_EINVALID, "%s: added token '%s' normalises to more than %d bytes", t->name,
                  content, LONGEST);
  if (!rc) rc = insert(&a->normal, w.cur.data, w.cur.len, (int32_t)i);
  if (!rc && !(a->token[i].shown = zf_strndup(w.cur.data ? w.cur.data : "", (size_t)w.cur.len)))
    rc = ZF_ENOMEM;
  zf_encoding_close(&w);
  return rc;
}

int zf_added_index(struct zf_added *a, const struct zf_tok *t) {
  int rc = 0;
  for (int special = 1; special >= 0; special--) /* the original's order: special ones first */
    for (int64_t i = 0; !rc && i < a->count; i++) {
      const struct zf_added_token *k = &a->token[i];
      if (k->special != special) continue;
      rc = k->normalized ? index_normalized(a, i, t)
                         : insert(&a->raw, k->content, (int64_t)strlen(k->content), (int32_t)i);
    }
  return rc;
}

void zf_added_free(struct zf_added *a) {
  for (int64_t i = 0; i < a->count; i++) {
    free(a->token[i].content);
    free(a->token[i].shown);
  }
  free(a->token);
  free(a->raw.node);
  free(a->normal.node);
  memset(a, 0, sizeof *a);
}

const struct zf_added_token *zf_added_find(const struct zf_added *a, int32_t id) {
  struct zf_added_token key = {.id = id};
  if (!a->count) return NULL;
  return bsearch(&key, a->token, (size_t)a->count, sizeof *a->token, by_id);
}

/* --- cutting --------------------------------------------------------------------- */

/* The character that ends before s[at]. */
static uint32_t char_before(const char *s, int64_t at, int64_t *begin) {
  uint32_t c;
  int64_t i = at - 1;
  while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80) i--;
  zf_char_next(&c, s + i, at - i);
  *begin = i;
  return c;
}

static int is_single_word(const char *s, int64_t n, int64_t from, int64_t to) {
  int64_t begin;
  uint32_t c;
  if (from > 0 && zf_char_is_word(char_before(s, from, &begin))) return 0;
  if (to == n) return 1;
  zf_char_next(&c, s + to, n - to);
  return !zf_char_is_word(c);
}

static int64_t skip_spaces_before(const char *s, int64_t at, int64_t least) {
  int64_t begin = at;
  while (at > least && zf_char_is_space(char_before(s, at, &begin))) at = begin;
  return at > least ? at : least;
}

static int64_t skip_spaces_after(const char *s, int64_t at, int64_t n) {
  uint32_t c;
  while (at < n) {
    int k = zf_char_next(&c, s + at, n - at);
    if (!zf_char_is_space(c)) break;
    at += k;
  }
  return at;
}

/* A token that was passed over because it is part of a word is passed over whole, and
 * one found within the spaces that another swallowed is found all the same: both as
 * in the original. */
static int cut_piece(const struct zf_added *a, const struct zf_trie *trie, struct zf_encoding *w,
                     const struct zf_piece *p) {
  const char *s = w->cur.data + p->off;
  int64_t done = 0, len = 0;
  int rc = 0;
  for (int64_t i = 0; !rc && i < p->len;) {
    int32_t k = trie->root[(unsigned char)s[i]] ? longest(trie, s + i, p->len - i, &len) : -1;
    if (k < 0) {
      i++;
      continue;
    }
    const struct zf_added_token *t = &a->token[k];
    int64_t from = i, to = i + len;
    i = to;
    if (t->single_word && !is_single_word(s, p->len, from, to)) continue;
    if (t->lstrip) from = skip_spaces_before(s, from, done);
    if (t->rstrip) to = skip_spaces_after(s, to, p->len);
    if (from > done) rc = zf_encoding_push(w, p->off + done, from - done, -1);
    if (!rc) rc = zf_encoding_push(w, p->off + from, to - from, t->id);
    done = to;
  }
  return rc || done >= p->len ? rc : zf_encoding_push(w, p->off + done, p->len - done, -1);
}

int zf_added_cut(const struct zf_added *a, const struct zf_trie *trie, struct zf_encoding *w) {
  int rc = 0;
  if (!trie->count) return 0;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece p = w->piece[i];
    rc = p.id >= 0 ? zf_encoding_push(w, p.off, p.len, p.id) : cut_piece(a, trie, w, &p);
  }
  if (!rc) zf_encoding_swap_pieces(w);
  return rc;
}
