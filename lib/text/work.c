/* The state of one call: bytes with their places, pieces, segments. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/utf8.h"
#include "text_internal.h"

/* A character may become 18 in NFKD, and each of them two bytes in the byte alphabet. */
enum { GROWTH = 256, GROWTH_FREE = 1 << 20 };

/* *p grown to hold n elements, at least doubled. */
static int grow(void *p, int64_t *cap, int64_t n, size_t size) {
  if (n <= *cap) return 0;
  int64_t want = *cap ? *cap * 2 : 64;
  if (want < n) want = n;
  void *old, *q = NULL;
  memcpy(&old, p, sizeof old);
  if ((uint64_t)want < SIZE_MAX / 2 / size) q = realloc(old, (size_t)want * size);
  if (!q)
    return zf_error(ZF_ENOMEM, "out of memory: %lld elements of %zu bytes wanted", (long long)want,
                    size);
  memcpy(p, &q, sizeof q);
  *cap = want;
  return 0;
}

void zf_work_bound(struct zf_work *w, int64_t len) {
  w->most = len < (INT32_MAX - GROWTH_FREE) / GROWTH ? len * GROWTH + GROWTH_FREE : INT32_MAX;
}

int zf_work_reserve(struct zf_work *w, int64_t more) {
  struct zf_run *r = &w->next;
  if (r->n + more <= r->cap) return 0;
  if (r->n + more > w->most)
    return zf_error(ZF_EINVALID, "%s: a text grows beyond %lld bytes on its way to tokens",
                    w->tok->name, (long long)w->most);
  int64_t bytes = r->cap, begins = r->cap, ends = r->cap;
  int rc = grow(&r->p, &bytes, r->n + more, 1);
  if (!rc && w->track) rc = grow(&r->b, &begins, r->n + more, sizeof *r->b);
  if (!rc && w->track) rc = grow(&r->e, &ends, r->n + more, sizeof *r->e);
  if (!rc) r->cap = bytes;
  return rc;
}

int zf_run_add(struct zf_work *w, const char *p, int64_t n, int32_t b, int32_t e) {
  struct zf_run *r = &w->next;
  int rc = zf_work_reserve(w, n);
  if (rc) return rc;
  for (int64_t i = 0; i < n; i++) r->p[r->n + i] = p[i];
  for (int64_t i = 0; w->track && i < n; i++) {
    r->b[r->n + i] = b;
    r->e[r->n + i] = e;
  }
  r->n += n;
  return 0;
}

int zf_run_copy(struct zf_work *w, int64_t off, int64_t n) {
  struct zf_run *r = &w->next;
  int rc = zf_work_reserve(w, n);
  if (rc || !n) return rc;
  memcpy(r->p + r->n, w->cur.p + off, (size_t)n);
  if (w->track) {
    memcpy(r->b + r->n, w->cur.b + off, (size_t)n * sizeof *r->b);
    memcpy(r->e + r->n, w->cur.e + off, (size_t)n * sizeof *r->e);
  }
  r->n += n;
  return 0;
}

int zf_run_put(struct zf_work *w, int64_t off, uint32_t c) {
  char out[4];
  int n = zf_char_put(out, c);
  return zf_run_add(w, out, n, w->track ? w->cur.b[off] : 0, w->track ? w->cur.e[off] : 0);
}

int zf_work_push(struct zf_work *w, int64_t off, int64_t len, int32_t id) {
  if (w->nmade == w->made_cap) {
    int rc = grow(&w->made, &w->made_cap, w->nmade + 1, sizeof *w->made);
    if (rc) return rc;
  }
  int64_t origin = w->track && len ? w->cur.b[off] : 0;
  w->made[w->nmade++] = (struct zf_piece){.off = off, .len = len, .origin = origin, .id = id};
  return 0;
}

int zf_work_seg(struct zf_work *w, int64_t from, int64_t to, int match) {
  if (w->nseg == w->seg_cap) {
    int rc = grow(&w->seg, &w->seg_cap, w->nseg + 1, sizeof *w->seg);
    if (rc) return rc;
  }
  w->seg[w->nseg++] = (struct zf_seg){from, to, match};
  return 0;
}

void zf_work_swap_pieces(struct zf_work *w) {
  struct zf_piece *p = w->piece;
  int64_t cap = w->piece_cap;
  w->piece = w->made;
  w->piece_cap = w->made_cap;
  w->npiece = w->nmade;
  w->made = p;
  w->made_cap = cap;
  w->nmade = 0;
}

void zf_work_swap_text(struct zf_work *w) {
  struct zf_run r = w->cur;
  w->cur = w->next;
  w->next = r;
  w->next.n = 0;
}

int zf_work_map(struct zf_work *w, zf_map_fn fn, const void *self) {
  int rc = zf_work_reserve(w, w->cur.n + 1); /* so that no text is NULL */
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    struct zf_piece *p = &w->piece[i];
    int64_t off = w->next.n;
    rc = p->id >= 0 ? zf_run_copy(w, p->off, p->len) : fn(self, w, p);
    p->off = off;
    p->len = w->next.n - off;
  }
  if (!rc) zf_work_swap_text(w);
  return rc;
}

/* Lays the segments of one piece together as the behavior asks. */
static void merge_segments(struct zf_work *w, enum zf_behavior behavior) {
  struct zf_seg *s = w->seg;
  int64_t n = 0;
  int before = 0; /* was the segment before this one a match? */
  if (behavior == ZF_MERGED_NEXT) {
    int64_t out = w->nseg;
    for (int64_t i = w->nseg - 1; i >= 0; i--) {
      int match = s[i].match;
      if (match && !before && out < w->nseg)
        s[out].from = s[i].from;
      else
        s[--out] = s[i];
      before = match;
    }
    n = w->nseg - out;
    memmove(s, s + out, (size_t)n * sizeof *s);
  } else {
    for (int64_t i = 0; i < w->nseg; i++) {
      int match = s[i].match;
      int join = behavior == ZF_CONTIGUOUS ? match == before : match && !before;
      if (join && n > 0)
        s[n - 1].to = s[i].to;
      else
        s[n++] = s[i];
      before = match;
    }
  }
  w->nseg = n;
}

int zf_work_cut(struct zf_work *w, zf_map_fn fn, const void *self, enum zf_behavior behavior,
                int invert) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece p = w->piece[i];
    if (p.id >= 0) {
      rc = zf_work_push(w, p.off, p.len, p.id);
      continue;
    }
    w->nseg = 0;
    rc = fn(self, w, &p);
    if (rc) break;
    for (int64_t k = 0; invert && k < w->nseg; k++) w->seg[k].match = !w->seg[k].match;
    if (behavior > ZF_ISOLATED && w->nseg) merge_segments(w, behavior);
    for (int64_t k = 0; !rc && k < w->nseg; k++)
      if (w->seg[k].to > w->seg[k].from && (behavior != ZF_REMOVED || !w->seg[k].match))
        rc = zf_work_push(w, p.off + w->seg[k].from, w->seg[k].to - w->seg[k].from, -1);
  }
  if (!rc) zf_work_swap_pieces(w);
  return rc;
}

int zf_work_prepend(struct zf_work *w, const struct zf_piece *p, const char *text, int64_t n) {
  if (p->len == 0) return 0;
  int32_t b = w->track ? w->cur.b[p->off] : 0, e = w->track ? w->cur.e[p->off] : 0;
  return zf_run_add(w, text, n, b, e);
}

int zf_work_clean(struct zf_work *w, const char *text, int64_t len) {
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    char out[4];
    int n = zf_char_next(&c, text + i, len - i), k = zf_char_put(out, c);
    int rc = zf_run_add(w, out, k, (int32_t)i, (int32_t)(i + n));
    if (rc) return rc;
    i += n;
  }
  return 0;
}

int zf_work_open(struct zf_work *w, const struct zf_tok *t, const char *text, size_t len,
                 int track) {
  memset(w, 0, sizeof *w);
  w->tok = t;
  w->track = track;
  w->given = text;
  w->given_len = (int64_t)len;
  if (len > INT32_MAX / 2)
    return zf_error(ZF_EUSAGE, "a text of %zu bytes is too long: %d at most at once", len,
                    INT32_MAX / 2);
  zf_work_bound(w, (int64_t)len);
  int rc = zf_work_reserve(w, (int64_t)len + 1);
  if (rc) return rc;
  if (track || zf_utf8_bad(text, len) >= 0) {
    rc = zf_work_clean(w, text, (int64_t)len);
  } else if (len) {
    memcpy(w->next.p, text, len);
    w->next.n = (int64_t)len;
  }
  if (!rc) {
    zf_work_swap_text(w);
    if (w->cur.n) rc = zf_work_push(w, 0, w->cur.n, -1);
  }
  if (!rc) zf_work_swap_pieces(w);
  return rc;
}

static void free_run(struct zf_run *r) {
  free(r->p);
  free(r->b);
  free(r->e);
}

void zf_work_close(struct zf_work *w) {
  free_run(&w->cur);
  free_run(&w->next);
  free(w->piece);
  free(w->made);
  free(w->seg);
  if (w->match) zf_pattern_free_match(w->match);
  if (w->scratch) w->tok->model->free_scratch(w->scratch);
  memset(w, 0, sizeof *w);
}

static int resize(int32_t **p, int64_t n) {
  int32_t *q = realloc(*p, (size_t)n * sizeof *q);
  if (!q) return zf_error(ZF_ENOMEM, "out of memory for %lld token ids", (long long)n);
  *p = q;
  return 0;
}

int zf_ids_reserve(struct zf_ids *ids, int64_t more, int offsets) {
  int64_t need = ids->n + more, cap = ids->cap;
  int fresh = offsets && !ids->begin; /* ids put there without offsets have none */
  if (need > cap) cap = need > cap * 2 ? need + 16 : cap * 2;
  if (cap == ids->cap && !fresh) return 0;
  int rc = resize(&ids->id, cap);
  if (!rc && (offsets || ids->begin)) {
    if (!rc) rc = resize(&ids->end, cap);
    if (!rc) rc = resize(&ids->begin, cap); /* last: begin says that both are there */
    for (int64_t i = 0; !rc && fresh && i < ids->n; i++) ids->begin[i] = ids->end[i] = -1;
  }
  if (!rc) ids->cap = cap;
  return rc;
}

int zf_ids_add(struct zf_ids *ids, int32_t id, int32_t begin, int32_t end) {
  if (ids->n == ids->cap) {
    int rc = zf_ids_reserve(ids, 1, 0);
    if (rc) return rc;
  }
  ids->id[ids->n] = id;
  if (ids->begin) {
    ids->begin[ids->n] = begin;
    ids->end[ids->n] = end;
  }
  ids->n++;
  return 0;
}

int zf_work_emit(struct zf_work *w, int32_t id, int64_t off, int64_t n) {
  int32_t b = -1, e = -1;
  if (w->flags & ZF_ENC_OFFSETS) {
    b = w->cur.b[off];
    e = w->cur.e[off + n - 1];
  }
  return zf_ids_add(w->ids, id, b, e);
}

void zf_ids_free(struct zf_ids *ids) {
  free(ids->id);
  free(ids->begin);
  free(ids->end);
  memset(ids, 0, sizeof *ids);
}
