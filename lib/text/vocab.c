/* The vocabulary: one text of all pieces, a hash table from piece to entry, an array from id to
 * entry.
 *
 *   text   "a\0b\0ab\0"       entry  {0,1,id} {2,1,id} {4,2,id}
 *   slot   open addressing, at most two thirds full, entry index + 1
 *   by_id  id -> entry index, -1 for an id without a piece */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

/* Ids may leave holes, but the array over them must stay in proportion to the file. */
enum { HOLES = 1 << 20 };

/* The slot of a piece, or the empty slot where it would stand. */
static int64_t slot_of(const struct zf_vocab *vocab, const char *text, int64_t len) {
  int64_t mask = vocab->slot_count - 1;
  int64_t slot = (int64_t)(XXH3_64bits(text, (size_t)len) & (uint64_t)mask);
  while (vocab->slot[slot]) {
    const struct zf_vocab_entry *entry = &vocab->entry[vocab->slot[slot] - 1];
    if (entry->len == len && !memcmp(vocab->text.data + entry->off, text, (size_t)len)) return slot;
    slot = (slot + 1) & mask;
  }
  return slot;
}

int zf_vocab_reserve(struct zf_vocab *vocab, int64_t count) {
  int64_t slots = 16;
  while (slots < count + count / 2 + 1) slots *= 2;
  vocab->entry = zf_calloc(count + 1, sizeof *vocab->entry);
  vocab->slot = zf_calloc(slots, sizeof *vocab->slot);
  if (!vocab->entry || !vocab->slot) return ZF_ENOMEM;
  vocab->cap = count;
  vocab->slot_count = slots;
  return 0;
}

int zf_vocab_add(struct zf_vocab *vocab, const char *piece, int64_t id, const char *where) {
  size_t len = strlen(piece);
  if (vocab->count == vocab->cap || vocab->text.len + len > UINT32_MAX - 1)
    return zf_error(ZF_EINVALID, "%s: the vocabulary is too large", where);
  if (id < 0 || id > vocab->cap * 2 + HOLES)
    return zf_error(ZF_EINVALID, "%s: piece '%s' has id %lld, but there are %lld pieces", where,
                    piece, (long long)id, (long long)vocab->cap);
  int64_t slot = slot_of(vocab, piece, (int64_t)len);
  if (vocab->slot[slot])
    return zf_error(ZF_EINVALID, "%s: piece '%s' appears twice in the vocabulary", where, piece);
  vocab->entry[vocab->count] =
      (struct zf_vocab_entry){(uint32_t)vocab->text.len, (uint32_t)len, (int32_t)id};
  vocab->slot[slot] = (uint32_t)++vocab->count;
  zf_buf_add(&vocab->text, piece, len + 1);
  if (id + 1 > vocab->id_end) vocab->id_end = id + 1;
  return zf_buf_ok(&vocab->text);
}

int zf_vocab_finish(struct zf_vocab *vocab, const char *where) {
  vocab->by_id = zf_malloc((size_t)(vocab->id_end + 1) * sizeof *vocab->by_id);
  if (!vocab->by_id) return ZF_ENOMEM;
  for (int64_t i = 0; i < vocab->id_end; i++) vocab->by_id[i] = -1;
  for (int64_t i = 0; i < vocab->count; i++) {
    int32_t *at = &vocab->by_id[vocab->entry[i].id];
    if (*at >= 0)
      return zf_error(ZF_EINVALID, "%s: pieces '%s' and '%s' share the id %d", where,
                      vocab->text.data + vocab->entry[*at].off,
                      vocab->text.data + vocab->entry[i].off, vocab->entry[i].id);
    *at = (int32_t)i;
  }
  return 0;
}

int zf_vocab_parse(struct zf_vocab *vocab, const json_t *def, const char *where) {
  json_t *map = json_object_get(def, "vocab"), *id;
  const char *piece;
  if (!json_is_object(map))
    return zf_error(ZF_EINVALID, "%s: key 'vocab': expected an object, found %s", where,
                    zf_json_kind(map));
  int rc = zf_vocab_reserve(vocab, (int64_t)json_object_size(map));
  if (rc) return rc;
  json_object_foreach(map, piece, id) {
    if (!json_is_integer(id))
      return zf_error(ZF_EINVALID, "%s: piece '%s': expected an id, found %s", where, piece,
                      zf_json_kind(id));
    if ((rc = zf_vocab_add(vocab, piece, json_integer_value(id), where))) return rc;
  }
  return zf_vocab_finish(vocab, where);
}

/* An array of the definition with `count` entries, any number if that is negative. */
static int open_list(const json_t **list, const json_t *def, const char *key, int64_t count,
                     const char *where) {
  *list = json_object_get(def, key);
  if (!json_is_array(*list))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected an array, found %s", where, key,
                    zf_json_kind(*list));
  if (count >= 0 && (int64_t)json_array_size(*list) != count)
    return zf_error(ZF_EINVALID, "%s: key '%s': %zu entries for %lld pieces", where, key,
                    json_array_size(*list), (long long)count);
  return 0;
}

/* --- with scores --------------------------------------------------------------------------- */
static int open_scored(struct zf_scored *scored, const json_t *def, const char *where) {
  int rc;
  if (json_object_get(def, "vocab") || !json_object_get(def, "pieces")) {
    rc = open_list(&scored->rows, def, "vocab", -1, where);
    scored->count = (int64_t)json_array_size(scored->rows);
    return rc;
  }
  if ((rc = open_list(&scored->pieces, def, "pieces", -1, where))) return rc;
  scored->count = (int64_t)json_array_size(scored->pieces);
  if ((rc = open_list(&scored->scores, def, "scores", scored->count, where))) return rc;
  if (!json_object_get(def, "types")) return 0;
  return open_list(&scored->types, def, "types", scored->count, where);
}

int zf_scored_parse(struct zf_scored *scored, struct zf_vocab *vocab, double *score[],
                    const json_t *def, const char *where) {
  *scored = (struct zf_scored){0};
  int rc = open_scored(scored, def, where);
  if (rc) return rc;
  if (!(*score = zf_calloc(scored->count + 1, sizeof **score))) return ZF_ENOMEM;
  if ((rc = zf_vocab_reserve(vocab, scored->count))) return rc;
  for (int64_t i = 0; i < scored->count; i++) {
    const json_t *row = json_array_get(scored->rows, (size_t)i);
    const json_t *piece = row ? json_array_get(row, 0) : json_array_get(scored->pieces, (size_t)i);
    const json_t *number = row ? json_array_get(row, 1) : json_array_get(scored->scores, (size_t)i);
    if (!json_is_string(piece) || !json_is_number(number))
      return zf_error(ZF_EINVALID, "%s: vocab: piece %lld: expected a text and a score", where,
                      (long long)i);
    (*score)[i] = json_number_value(number);
    if ((rc = zf_vocab_add(vocab, json_string_value(piece), i, where))) return rc;
  }
  return zf_vocab_finish(vocab, where);
}

int zf_scored_is_plain(const struct zf_scored *scored, int64_t id) {
  if (scored->rows || !scored->types) return 1;
  json_int_t type = json_integer_value(json_array_get(scored->types, (size_t)id));
  return type == ZF_PIECE_NORMAL || type == ZF_PIECE_USER;
}

/* --- asking --------------------------------------------------------------------------------- */

int32_t zf_vocab_find(const struct zf_vocab *vocab, const char *text, int64_t len) {
  if (!vocab->slot_count) return -1;
  uint32_t slot = vocab->slot[slot_of(vocab, text, len)];
  return slot ? vocab->entry[slot - 1].id : -1;
}

const char *zf_vocab_piece(const struct zf_vocab *vocab, int32_t id) {
  if (id < 0 || id >= vocab->id_end || vocab->by_id[id] < 0) return NULL;
  return vocab->text.data + vocab->entry[vocab->by_id[id]].off;
}

void zf_vocab_bytes(const struct zf_vocab *vocab, int32_t out[256]) {
  for (int i = 0; i < 256; i++) {
    char text[8];
    snprintf(text, sizeof text, "<0x%02X>", i);
    out[i] = zf_vocab_find(vocab, text, 6);
  }
}

void zf_vocab_free(struct zf_vocab *vocab) {
  zf_buf_free(&vocab->text);
  free(vocab->entry);
  free(vocab->slot);
  free(vocab->by_id);
  memset(vocab, 0, sizeof *vocab);
}
