/* The vocabulary: one text of all pieces, a hash table from piece to id, an array
 * from id to piece.
 *
 *   text   "a\0b\0ab\0"       entry  {0,1,id} {2,1,id} {4,2,id}
 *   slot   open addressing, at most two thirds full, entry index + 1
 *   by_id  id -> entry index, -1 in holes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

/* Ids may leave holes, but an array over them must stay in proportion to the file. */
enum { HOLES = 1 << 20 };

static int64_t slot_of(const struct zf_vocab *v, const char *p, int64_t n) {
  int64_t mask = v->nslot - 1, i = (int64_t)(XXH3_64bits(p, (size_t)n) & (uint64_t)mask);
  while (v->slot[i]) {
    const struct zf_vocab_entry *e = &v->entry[v->slot[i] - 1];
    if (e->len == n && !memcmp(v->text.data + e->off, p, (size_t)n)) return i;
    i = (i + 1) & mask;
  }
  return i;
}

int zf_vocab_reserve(struct zf_vocab *v, int64_t n) {
  int64_t slots = 16;
  while (slots < n + n / 2 + 1) slots *= 2;
  v->entry = zf_calloc(n + 1, sizeof *v->entry);
  v->slot = zf_calloc(slots, sizeof *v->slot);
  if (!v->entry || !v->slot) return ZF_ENOMEM;
  v->cap = n;
  v->nslot = slots;
  return 0;
}

int zf_vocab_add(struct zf_vocab *v, const char *piece, int64_t id, const char *where) {
  size_t n = strlen(piece);
  if (v->count == v->cap || v->text.len + n > UINT32_MAX - 1)
    return zf_error(ZF_EINVALID, "%s: the vocabulary is too large", where);
  if (id < 0 || id > v->cap * 2 + HOLES)
    return zf_error(ZF_EINVALID, "%s: piece '%s' has id %lld, but there are %lld pieces", where,
                    piece, (long long)id, (long long)v->cap);
  int64_t s = slot_of(v, piece, (int64_t)n);
  if (v->slot[s])
    return zf_error(ZF_EINVALID, "%s: piece '%s' appears twice in the vocabulary", where, piece);
  v->entry[v->count] = (struct zf_vocab_entry){(uint32_t)v->text.len, (uint32_t)n, (int32_t)id};
  v->slot[s] = (uint32_t)++v->count;
  zf_buf_add(&v->text, piece, n + 1);
  if (id + 1 > v->nid) v->nid = id + 1;
  return zf_buf_ok(&v->text);
}

int zf_vocab_finish(struct zf_vocab *v, const char *where) {
  v->by_id = zf_malloc((size_t)(v->nid + 1) * sizeof *v->by_id);
  if (!v->by_id) return ZF_ENOMEM;
  for (int64_t i = 0; i < v->nid; i++) v->by_id[i] = -1;
  for (int64_t i = 0; i < v->count; i++) {
    int32_t *at = &v->by_id[v->entry[i].id];
    if (*at >= 0)
      return zf_error(ZF_EINVALID, "%s: pieces '%s' and '%s' share the id %d", where,
                      v->text.data + v->entry[*at].off, v->text.data + v->entry[i].off,
                      v->entry[i].id);
    *at = (int32_t)i;
  }
  return 0;
}

int zf_vocab_parse(struct zf_vocab *v, const json_t *def, const char *where) {
  json_t *map = json_object_get(def, "vocab"), *id;
  const char *piece;
  if (!json_is_object(map))
    return zf_error(ZF_EINVALID, "%s: key 'vocab': expected an object, found %s", where,
                    zf_json_kind(map));
  int rc = zf_vocab_reserve(v, (int64_t)json_object_size(map));
  json_object_foreach(map, piece, id) {
    if (!rc && !json_is_integer(id))
      rc = zf_error(ZF_EINVALID, "%s: piece '%s': expected an id, found %s", where, piece,
                    zf_json_kind(id));
    if (!rc) rc = zf_vocab_add(v, piece, json_integer_value(id), where);
    if (rc) return rc;
  }
  return rc ? rc : zf_vocab_finish(v, where);
}

/* --- with scores --------------------------------------------------------------------------- */

static int open_scored(struct zf_scored *s, const json_t *def, const char *where) {
  static const char *const name[] = {"pieces", "scores", "types"};
  const json_t **list[] = {&s->pieces, &s->scores, &s->types};
  s->rows = json_object_get(def, "vocab");
  if (s->rows && !json_is_array(s->rows))
    return zf_error(ZF_EINVALID, "%s: key 'vocab': expected an array, found %s", where,
                    zf_json_kind(s->rows));
  s->count = (int64_t)json_array_size(s->rows);
  for (int i = 0; !s->rows && i < 3; i++) {
    *list[i] = json_object_get(def, name[i]);
    if (i == 2 && !s->types) break;
    if (!json_is_array(*list[i]))
      return zf_error(ZF_EINVALID, "%s: key '%s': expected an array, found %s", where,
                      i ? name[i] : "vocab", zf_json_kind(*list[i]));
    if (i == 0) s->count = (int64_t)json_array_size(s->pieces);
    if ((int64_t)json_array_size(*list[i]) != s->count)
      return zf_error(ZF_EINVALID, "%s: key '%s': %zu entries for %lld pieces", where, name[i],
                      json_array_size(*list[i]), (long long)s->count);
  }
  return 0;
}

int zf_scored_parse(struct zf_scored *s, struct zf_vocab *v, double *score[], const json_t *def,
                    const char *where) {
  *s = (struct zf_scored){0};
  int rc = open_scored(s, def, where);
  if (!rc && !(*score = zf_calloc(s->count + 1, sizeof **score))) rc = ZF_ENOMEM;
  if (!rc) rc = zf_vocab_reserve(v, s->count);
  for (int64_t i = 0; !rc && i < s->count; i++) {
    const json_t *row = json_array_get(s->rows, (size_t)i);
    const json_t *piece = row ? json_array_get(row, 0) : json_array_get(s->pieces, (size_t)i);
    const json_t *number = row ? json_array_get(row, 1) : json_array_get(s->scores, (size_t)i);
    if (!json_is_string(piece) || !json_is_number(number))
      return zf_error(ZF_EINVALID, "%s: vocab: piece %lld: expected a text and a score", where,
                      (long long)i);
    (*score)[i] = json_number_value(number);
    rc = zf_vocab_add(v, json_string_value(piece), i, where);
  }
  return rc ? rc : zf_vocab_finish(v, where);
}

int zf_scored_plain(const struct zf_scored *s, int64_t id) {
  if (s->rows || !s->types) return 1;
  json_int_t type = json_integer_value(json_array_get(s->types, (size_t)id));
  return type == ZF_PIECE_NORMAL || type == ZF_PIECE_USER;
}

/* --- asking --------------------------------------------------------------------------------- */

int32_t zf_vocab_find(const struct zf_vocab *v, const char *p, int64_t n) {
  if (!v->nslot) return -1;
  uint32_t s = v->slot[slot_of(v, p, n)];
  return s ? v->entry[s - 1].id : -1;
}

const char *zf_vocab_piece(const struct zf_vocab *v, int32_t id) {
  if (id < 0 || id >= v->nid || v->by_id[id] < 0) return NULL;
  return v->text.data + v->entry[v->by_id[id]].off;
}

void zf_vocab_bytes(const struct zf_vocab *v, int32_t out[256]) {
  for (int i = 0; i < 256; i++) {
    char text[8];
    snprintf(text, sizeof text, "<0x%02X>", i);
    out[i] = zf_vocab_find(v, text, 6);
  }
}

void zf_vocab_free(struct zf_vocab *v) {
  zf_buf_free(&v->text);
  free(v->entry);
  free(v->slot);
  free(v->by_id);
  memset(v, 0, sizeof *v);
}
