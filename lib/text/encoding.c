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

void zf_encoding_bound(struct zf_encoding *w, int64_t len) {
  w->limit = len < (INT32_MAX - GROWTH_FREE) / GROWTH ? len * GROWTH + GROWTH_FREE : INT32_MAX;
}

int zf_encoding_reserve(struct zf_encoding *w, int64_t more) {
  struct zf_text_buf *r = &w->next;
  if (r->len + more <= r->cap) return 0;
  if (r->len + more > w->limit)
    return zf_error(ZF_EINVALID, "%s: a text grows beyond %lld bytes on its way to tokens",
                    w->tok->name, (long long)w->limit);
  int64_t bytes = r->cap, begins = r->cap, ends = r->cap;
  int rc = grow(&r->data, &bytes, r->len + more, 1);
  if (!rc && w->track) rc = grow(&r->begin, &begins, r->len + more, sizeof *r->begin);
  if (!rc && w->track) rc = grow(&r->end, &ends, r->len + more, sizeof *r->end);
  if (!rc) r->cap = bytes;
  return rc;
}

int zf_text_buf_add(struct zf_encoding *w, const char *p, int64_t n, int32_t b, int32_t e) {
  struct zf_text_buf *r = &w->next;
  int rc = zf_encoding_reserve(w, n);
  if (rc) return rc;
  for (int64_t i = 0; i < n; i++) r->data[r->len + i] = p[i];
  for (int64_t i = 0; w->track && i < n; i++) {
    r->begin[r->len + i] = b;
    r->end[r->len + i] = e;
  }
  r->len += n;
  return 0;
}

int zf_text_buf_copy(struct zf_encoding *w, int64_t off, int64_t n) {
  struct zf_text_buf *r = &w->next;
  int rc = zf_encoding_reserve(w, n);
  if (rc || !n) return rc;
  memcpy(r->data + r->len, w->cur.data + off, (size_t)n);
  if (w->track) {
    memcpy(r->begin + r->len, w->cur.begin + off, (size_t)n * sizeof *r->begin);
    memcpy(r->end + r->len, w->cur.end + off, (size_t)n * sizeof *r->end);
  }
  r->len += n;
  return 0;
}

int zf_text_buf_put(struct zf_encoding *w, int64_t off, uint32_t c) {
  char out[4];
  int n = zf_char_put(out, c);
  return zf_text_buf_add(w, out, n, w->track ? w->cur.begin[off] : 0,
                         w->track ? w->cur.end[off] : 0);
}

int zf_encoding_push(struct zf_encoding *w, int64_t off, int64_t len, int32_t id) {
  if (w->nmade == w->made_cap) {
    int rc = grow(&w->made, &w->made_cap, w->nmade + 1, sizeof *w->made);
    if (rc) return rc;
  }
  int64_t origin = w->track && len ? w->cur.begin[off] : 0;
  w->made[w->nmade++] = (struct zf_piece){.off = off, .len = len, .origin = origin, .id = id};
  return 0;
}

int zf_encoding_segment(struct zf_encoding *w, int64_t from, int64_t to, int match) {
  if (w->segment_count == w->segment_cap) {
    int rc = grow(&w->segment, &w->segment_cap, w->segment_count + 1, sizeof *w->segment);
    if (rc) return rc;
  }
  w->segment[w->segment_count++] = (struct zf_text_segment){from, to, match};
  return 0;
}

void zf_encoding_swap_pieces(struct zf_encoding *w) {
  struct zf_piece *p = w->piece;
  int64_t cap = w->piece_cap;
  w->piece = w->made;
  w->piece_cap = w->made_cap;
  w->npiece = w->nmade;
  w->made = p;
  w->made_cap = cap;
  w->nmade = 0;
}

void zf_encoding_swap_text(struct zf_encoding *w) {
  struct zf_text_buf r = w->cur;
  w->cur = w->next;
  w->next = r;
  w->next.len = 0;
}

int zf_encoding_map(struct zf_encoding *w, zf_map_fn fn, const void *self) {
  int rc = zf_encoding_reserve(w, w->cur.len + 1); /* so that no text is NULL */
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    struct zf_piece *p = &w->piece[i];
    int64_t off = w->next.len;
    rc = p->id >= 0 ? zf_text_buf_copy(w, p->off, p->len) : fn(self, w, p);
    p->off = off;
    p->len = w->next.len - off;
  }
  if (!rc) zf_encoding_swap_text(w);
  return rc;
}

/* Lays the segments of one piece together as the behavior asks. */
static void merge_segments(struct zf_encoding *w, enum zf_behavior behavior) {
  struct zf_text_segment *s = w->segment;
  int64_t n = 0;
  int before = 0; /* was the segment before this one a match? */
  if (behavior == ZF_MERGED_NEXT) {
    int64_t out = w->segment_count;
    for (int64_t i = w->segment_count - 1; i >= 0; i--) {
      int match = s[i].match;
      if (match && !before && out < w->segment_count)
        s[out].from = s[i].from;
      else
        s[--out] = s[i];
      before = match;
    }
    n = w->segment_count - out;
    memmove(s, s + out, (size_t)n * sizeof *s);
  } else {
    for (int64_t i = 0; i < w->segment_count; i++) {
      int match = s[i].match;
      int join = behavior == ZF_CONTIGUOUS ? match == before : match && !before;
      if (join && n > 0)
        s[n - 1].to = s[i].to;
      else
        s[n++] = s[i];
      before = match;
    }
  }
  w->segment_count = n;
}

int zf_encoding_cut(struct zf_encoding *w, zf_map_fn fn, const void *self,
                    enum zf_behavior behavior, int invert) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < w->npiece; i++) {
    const struct zf_piece p = w->piece[i];
    if (p.id >= 0) {
      rc = zf_encoding_push(w, p.off, p.len, p.id);
      continue;
    }
    w->segment_count = 0;
    rc = fn(self, w, &p);
    if (rc) break;
    for (int64_t k = 0; invert && k < w->segment_count; k++)
      w->segment[k].match = !w->segment[k].match;
    if (behavior > ZF_ISOLATED && w->segment_count) merge_segments(w, behavior);
    for (int64_t k = 0; !rc && k < w->segment_count; k++)
      if (w->segment[k].to > w->segment[k].from && (behavior != ZF_REMOVED || !w->segment[k].match))
        rc = zf_encoding_push(w, p.off + w->segment[k].from, w->segment[k].to - w->segment[k].from,
                              -1);
  }
  if (!rc) zf_encoding_swap_pieces(w);
  return rc;
}

int zf_encoding_prepend(struct zf_encoding *w, const struct zf_piece *p, const char *text,
                        int64_t n) {
  if (p->len == 0) return 0;
  int32_t b = w->track ? w->cur.begin[p->off] : 0, e = w->track ? w->cur.end[p->off] : 0;
  return zf_text_buf_add(w, text, n, b, e);
}

int zf_encoding_clean(struct zf_encoding *w, const char *text, int64_t len) {
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    char out[4];
    int n = zf_char_next(&c, text + i, len - i), k = zf_char_put(out, c);
    int rc = zf_text_buf_add(w, out, k, (int32_t)i, (int32_t)(i + n));
    if (rc) return rc;
    i += n;
  }
  return 0;
}

int zf_encoding_open(struct zf_encoding *w, const struct zf_tok *t, const char *text, size_t len,
                     int track) {
  memset(w, 0, sizeof *w);
  w->tok = t;
  w->track = track;
  w->given = text;
  w->given_len = (int64_t)len;
  if (len > INT32_MAX / 2)
    return zf_error(ZF_EUSAGE, "a text of %zu bytes is too long: %d at most at once", len,
                    INT32_MAX / 2);
  zf_encoding_bound(w, (int64_t)len);
  int rc = zf_encoding_reserve(w, (int64_t)len + 1);
  if (rc) return rc;
  if (track || zf_utf8_bad(text, len) >= 0) {
    rc = zf_encoding_clean(w, text, (int64_t)len);
  } else if (len) {
    memcpy(w->next.data, text, len);
    w->next.len = (int64_t)len;
  }
  if (!rc) {
    zf_encoding_swap_text(w);
    if (w->cur.len) rc = zf_encoding_push(w, 0, w->cur.len, -1);
  }
  if (!rc) zf_encoding_swap_pieces(w);
  return rc;
}

static void free_run(struct zf_text_buf *r) {
  free(r->data);
  free(r->begin);
  free(r->end);
}

void zf_encoding_close(struct zf_encoding *w) {
  free_run(&w->cur);
  free_run(&w->next);
  free(w->piece);
  free(w->made);
  free(w->segment);
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
  int64_t need = ids->count + more, cap = ids->cap;
  int fresh = offsets && !ids->begin; /* ids put there without offsets have none */
  if (need > cap) cap = need > cap * 2 ? need + 16 : cap * 2;
  if (cap == ids->cap && !fresh) return 0;
  int rc = resize(&ids->id, cap);
  if (!rc && (offsets || ids->begin)) {
    if (!rc) rc = resize(&ids->end, cap);
    if (!rc) rc = resize(&ids->begin, cap); /* last: begin says that both are there */
    for (int64_t i = 0; !rc && fresh && i < ids->count; i++) ids->begin[i] = ids->end[i] = -1;
  }
  if (!rc) ids->cap = cap;
  return rc;
}

int zf_ids_add(struct zf_ids *ids, int32_t id, int32_t begin, int32_t end) {
  if (ids->count == ids->cap) {
    int rc = zf_ids_reserve(ids, 1, 0);
    if (rc) return rc;
  }
  ids->id[ids->count] = id;
  if (ids->begin) {
    ids->begin[ids->count] = begin;
    ids->end[ids->count] = end;
  }
  ids->count++;
  return 0;
}

int zf_encoding_emit(struct zf_encoding *w, int32_t id, int64_t off, int64_t n) {
  int32_t b = -1, e = -1;
  if (w->flags & ZF_ENC_OFFSETS) {
    b = w->cur.begin[off];
    e = w->cur.end[off + n - 1];
  }
  return zf_ids_add(w->ids, id, b, e);
}

void zf_ids_free(struct zf_ids *ids) {
  free(ids->id);
  free(ids->begin);
  free(ids->end);
  memset(ids, 0, sizeof *ids);
}
