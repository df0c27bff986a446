/* What is known of lists and mappings beside what is in them: how deep they nest, and which lists
 * Python has as tuples or as views of a mapping.
 *
 * Values do not change once they are made and live until the rendering ends, so a note is kept by
 * the value's address (open addressing, at most half full).  Depth is bounded where a value is
 * given a name, for that alone lets a template put it into the next one: freeing, comparing and
 * writing recurse. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "jinja_internal.h"

struct zj_note {
  const json_t *v; /* NULL: free */
  int depth;       /* 0: not measured */
  enum zj_shape shape;
};

static struct zj_note *slot(const struct zj_env *e, const json_t *v) {
  size_t at = (size_t)((uintptr_t)v >> 4) * 0x9E3779B97F4A7C15u;
  for (at >>= 16;; at++) {
    struct zj_note *n = &e->note[at & (size_t)(e->capnote - 1)];
    if (!n->v || n->v == v) return n;
  }
}

static int grow(struct zj_env *e) {
  struct zj_note *old = e->note;
  int64_t cap = e->capnote;
  e->capnote = cap ? 2 * cap : 256;
  e->note = zf_calloc(e->capnote, sizeof *e->note);
  if (!e->note) {
    e->note = old;
    e->capnote = cap;
    return ZF_ENOMEM;
  }
  for (int64_t i = 0; i < cap; i++)
    if (old[i].v) *slot(e, old[i].v) = old[i];
  free(old);
  return 0;
}

static int note_of(struct zj_env *e, struct zj_note **out, const json_t *v) {
  int rc = 2 * (e->nnote + 1) > e->capnote ? grow(e) : 0;
  if (rc) return rc;
  *out = slot(e, v);
  if (!(*out)->v) {
    **out = (struct zj_note){.v = v};
    e->nnote++;
  }
  return 0;
}

int zj_set_shape(struct zj_env *e, const json_t *v, enum zj_shape shape) {
  struct zj_note *n;
  int rc = note_of(e, &n, v);
  if (!rc) n->shape = shape;
  return rc;
}

enum zj_shape zj_shape_of(const struct zj_env *e, const json_t *v) {
  const struct zj_note *n = e->capnote ? slot(e, v) : NULL;
  return n && n->v ? n->shape : ZJ_LIST;
}

/* --- depth --- */

static int measure(struct zj_env *e, const json_t *v, int level, int *depth);

static int measure_items(struct zj_env *e, const json_t *v, int level, int *most) {
  const char *key;
  json_t *x;
  size_t i;
  int rc = 0, depth;
  *most = 0;
  json_array_foreach((json_t *)v, i, x) {
    if (!rc) rc = measure(e, x, level + 1, &depth);
    if (!rc && depth > *most) *most = depth;
  }
  json_object_foreach((json_t *)v, key, x) {
    if (!rc) rc = measure(e, x, level + 1, &depth);
    if (!rc && depth > *most) *most = depth;
  }
  return rc;
}

static int measure(struct zj_env *e, const json_t *v, int level, int *depth) {
  struct zj_note *n;
  int most;
  *depth = 0;
  if (!json_is_array(v) && !json_is_object(v)) return 0;
  int rc = note_of(e, &n, v);
  if (!rc && !n->depth) {
    if (level < ZJ_VALUE_DEPTH) rc = measure_items(e, v, level, &most);
    if (!rc) rc = note_of(e, &n, v); /* the table may have moved */
    if (!rc) n->depth = level < ZJ_VALUE_DEPTH ? most + 1 : 1;
  }
  if (!rc) *depth = n->depth;
  if (!rc && level + *depth > ZJ_VALUE_DEPTH)
    return zj_fail(e, "a value nested more than %d deep", ZJ_VALUE_DEPTH);
  return rc;
}

int zj_check_depth(struct zj_env *e, const struct zj_value *v) {
  int depth;
  if (v->kind == ZJ_NAMESPACE)
    return measure_items(e, v->json, 0, &depth); /* it changes: no note */
  return v->kind == ZJ_JSON ? measure(e, v->json, 0, &depth) : 0;
}
