/* Notes about lists and mappings: how deep they nest, and which lists are tuples or views of a mapping in
 * Python.
 *
 * A value does not change once it exists and lives until the rendering ends, so its note is found by its
 * address: a hash table with open addressing, at most half full.  Depth is checked where a value gets a
 * name, since only a named value can be put into another one, again and again; freeing, comparing and
 * printing values recurse. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "jinja_internal.h"

struct zj_note {
  const json_t *value; /* NULL: the slot is free */
  int depth;           /* 0: not measured */
  enum zj_shape shape;
};

static struct zj_note *find_note(const struct zj_env *env, const json_t *value) {
  size_t at = (size_t)((uintptr_t)value >> 4) * 0x9E3779B97F4A7C15u;
  for (at >>= 16;; at++) {
    struct zj_note *note = &env->note[at & (size_t)(env->note_cap - 1)];
    if (!note->value || note->value == value) return note;
  }
}

static int grow_notes(struct zj_env *env) {
  struct zj_note *old = env->note;
  int64_t cap = env->note_cap;
  env->note_cap = cap ? 2 * cap : 256;
  env->note = zf_calloc(env->note_cap, sizeof *env->note);
  if (!env->note) {
    env->note = old;
    env->note_cap = cap;
    return ZF_ENOMEM;
  }
  for (int64_t i = 0; i < cap; i++)
    if (old[i].value) *find_note(env, old[i].value) = old[i];
  free(old);
  return 0;
}

static int note_of(struct zj_env *env, struct zj_note **out, const json_t *value) {
  int rc = 2 * (env->note_count + 1) > env->note_cap ? grow_notes(env) : 0;
  if (rc) return rc;
  *out = find_note(env, value);
  if (!(*out)->value) {
    **out = (struct zj_note){.value = value};
    env->note_count++;
  }
  return 0;
}

int zj_set_shape(struct zj_env *env, const json_t *value, enum zj_shape shape) {
  struct zj_note *note;
  int rc = note_of(env, &note, value);
  if (!rc) note->shape = shape;
  return rc;
}

enum zj_shape zj_shape_of(const struct zj_env *env, const json_t *value) {
  const struct zj_note *note = env->note_cap ? find_note(env, value) : NULL;
  return note && note->value ? note->shape : ZJ_LIST;
}

/* --- depth --- */

static int measure(struct zj_env *env, const json_t *value, int level, int *depth);

static int measure_items(struct zj_env *env, const json_t *value, int level, int *max_depth) {
  const char *key;
  json_t *item;
  size_t i;
  int rc = 0, depth;
  *max_depth = 0;
  json_array_foreach((json_t *)value, i, item) {
    if (!rc) rc = measure(env, item, level + 1, &depth);
    if (!rc && depth > *max_depth) *max_depth = depth;
  }
  json_object_foreach((json_t *)value, key, item) {
    if (!rc) rc = measure(env, item, level + 1, &depth);
    if (!rc && depth > *max_depth) *max_depth = depth;
  }
  return rc;
}

static int measure(struct zj_env *env, const json_t *value, int level, int *depth) {
  struct zj_note *note;
  int items_depth = 0;
  *depth = 0;
  if (!json_is_array(value) && !json_is_object(value)) return 0;
  int rc = note_of(env, &note, value);
  if (!rc && !note->depth) {
    if (level < ZJ_VALUE_DEPTH) rc = measure_items(env, value, level, &items_depth);
    if (!rc) rc = note_of(env, &note, value); /* the table may have moved */
    if (!rc) note->depth = level < ZJ_VALUE_DEPTH ? items_depth + 1 : 1;
  }
  if (!rc) *depth = note->depth;
  if (!rc && level + *depth > ZJ_VALUE_DEPTH)
    return zj_fail(env, "a value nested more than %d deep", ZJ_VALUE_DEPTH);
  return rc;
}

int zj_check_depth(struct zj_env *env, const struct zj_value *value) {
  int depth;
  if (value->kind == ZJ_NAMESPACE)
    return measure_items(env, value->json, 0, &depth); /* a namespace changes: it has no note */
  return value->kind == ZJ_JSON ? measure(env, value->json, 0, &depth) : 0;
}
