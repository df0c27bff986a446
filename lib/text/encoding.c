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
static int grow(void *p, int64_t *cap, int64_t count, size_t size) {
  if (count <= *cap) return 0;
  int64_t want = *cap ? *cap * 2 : 64;
  if (want < count) want = count;
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

void zf_encoding_bound(struct zf_encoding *encoding, int64_t len) {
  encoding->limit =
      len < (INT32_MAX - GROWTH_FREE) / GROWTH ? len * GROWTH + GROWTH_FREE : INT32_MAX;
}

int zf_encoding_reserve(struct zf_encoding *encoding, int64_t more) {
  struct zf_text_buf *text = &encoding->next;
  if (text->len + more <= text->cap) return 0;
  if (text->len + more > encoding->limit)
    return zf_error(ZF_EINVALID, "%s: a text grows beyond %lld bytes on its way to tokens",
                    encoding->tok->name, (long long)encoding->limit);
  int64_t bytes = text->cap, begins = text->cap, ends = text->cap;
  int rc = grow(&text->data, &bytes, text->len + more, 1);
  if (!rc && encoding->track)
    rc = grow(&text->begin, &begins, text->len + more, sizeof *text->begin);
  if (!rc && encoding->track) rc = grow(&text->end, &ends, text->len + more, sizeof *text->end);
  if (!rc) text->cap = bytes;
  return rc;
}

int zf_text_buf_add(struct zf_encoding *encoding, const char *p, int64_t len, int32_t b,
                    int32_t e) {
  struct zf_text_buf *text = &encoding->next;
  int rc = zf_encoding_reserve(encoding, len);
  if (rc) return rc;
  for (int64_t i = 0; i < len; i++) text->data[text->len + i] = p[i];
  for (int64_t i = 0; encoding->track && i < len; i++) {
    text->begin[text->len + i] = b;
    text->end[text->len + i] = e;
  }
  text->len += len;
  return 0;
}

int zf_text_buf_copy(struct zf_encoding *encoding, int64_t off, int64_t n) {
  struct zf_text_buf *text = &encoding->next;
  int rc = zf_encoding_reserve(encoding, n);
  if (rc || !n) return rc;
  memcpy(text->data + text->len, encoding->cur.data + off, (size_t)n);
  if (encoding->track) {
    memcpy(text->begin + text->len, encoding->cur.begin + off, (size_t)n * sizeof *text->begin);
    memcpy(text->end + text->len, encoding->cur.end + off, (size_t)n * sizeof *text->end);
  }
  text->len += n;
  return 0;
}

int zf_text_buf_put(struct zf_encoding *encoding, int64_t off, uint32_t c) {
  char out[4];
  int n = zf_char_put(out, c);
  return zf_text_buf_add(encoding, out, n, encoding->track ? encoding->cur.begin[off] : 0,
                         encoding->track ? encoding->cur.end[off] : 0);
}

int zf_encoding_push(struct zf_encoding *encoding, int64_t off, int64_t len, int32_t id) {
  if (encoding->nmade == encoding->made_cap) {
    int rc =
        grow(&encoding->made, &encoding->made_cap, encoding->nmade + 1, sizeof *encoding->made);
    if (rc) return rc;
  }
  int64_t origin = encoding->track && len ? encoding->cur.begin[off] : 0;
  encoding->made[encoding->nmade++] =
      (struct zf_piece){.off = off, .len = len, .origin = origin, .id = id};
  return 0;
}

int zf_encoding_segment(struct zf_encoding *encoding, int64_t from, int64_t to, int match) {
  if (encoding->segment_count == encoding->segment_cap) {
    int rc = grow(&encoding->segment, &encoding->segment_cap, encoding->segment_count + 1,
                  sizeof *encoding->segment);
    if (rc) return rc;
  }
  encoding->segment[encoding->segment_count++] = (struct zf_text_segment){from, to, match};
  return 0;
}

void zf_encoding_swap_pieces(struct zf_encoding *encoding) {
  struct zf_piece *piece = encoding->piece;
  int64_t cap = encoding->piece_cap;
  encoding->piece = encoding->made;
  encoding->piece_cap = encoding->made_cap;
  encoding->npiece = encoding->nmade;
  encoding->made = piece;
  encoding->made_cap = cap;
  encoding->nmade = 0;
}

void zf_encoding_swap_text(struct zf_encoding *encoding) {
  struct zf_text_buf text = encoding->cur;
  encoding->cur = encoding->next;
  encoding->next = text;
  encoding->next.len = 0;
}

int zf_encoding_map(struct zf_encoding *encoding, zf_map_fn fn, const void *self) {
  int rc = zf_encoding_reserve(encoding, encoding->cur.len + 1); /* so that no text is NULL */
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    struct zf_piece *piece = &encoding->piece[i];
    int64_t off = encoding->next.len;
    rc = piece->id >= 0 ? zf_text_buf_copy(encoding, piece->off, piece->len)
                        : fn(self, encoding, piece);
    piece->off = off;
    piece->len = encoding->next.len - off;
  }
  if (!rc) zf_encoding_swap_text(encoding);
  return rc;
}

/* Lays the segments of one piece together as the behavior asks. */
static void merge_segments(struct zf_encoding *encoding, enum zf_behavior behavior) {
  struct zf_text_segment *segment = encoding->segment;
  int64_t n = 0;
  int before = 0; /* was the segment before this one a match? */
  if (behavior == ZF_MERGED_NEXT) {
    int64_t out = encoding->segment_count;
    for (int64_t i = encoding->segment_count - 1; i >= 0; i--) {
      int match = segment[i].match;
      if (match && !before && out < encoding->segment_count)
        segment[out].from = segment[i].from;
      else
        segment[--out] = segment[i];
      before = match;
    }
    n = encoding->segment_count - out;
    memmove(segment, segment + out, (size_t)n * sizeof *segment);
  } else {
    for (int64_t i = 0; i < encoding->segment_count; i++) {
      int match = segment[i].match;
      int join = behavior == ZF_CONTIGUOUS ? match == before : match && !before;
      if (join && n > 0)
        segment[n - 1].to = segment[i].to;
      else
        segment[n++] = segment[i];
      before = match;
    }
  }
  encoding->segment_count = n;
}

int zf_encoding_cut(struct zf_encoding *encoding, zf_map_fn fn, const void *self,
                    enum zf_behavior behavior, int invert) {
  int rc = 0;
  for (int64_t i = 0; !rc && i < encoding->npiece; i++) {
    const struct zf_piece piece = encoding->piece[i];
    if (piece.id >= 0) {
      rc = zf_encoding_push(encoding, piece.off, piece.len, piece.id);
      continue;
    }
    encoding->segment_count = 0;
    rc = fn(self, encoding, &piece);
    if (rc) break;
    for (int64_t k = 0; invert && k < encoding->segment_count; k++)
      encoding->segment[k].match = !encoding->segment[k].match;
    if (behavior > ZF_ISOLATED && encoding->segment_count) merge_segments(encoding, behavior);
    for (int64_t k = 0; !rc && k < encoding->segment_count; k++)
      if (encoding->segment[k].to > encoding->segment[k].from &&
          (behavior != ZF_REMOVED || !encoding->segment[k].match))
        rc = zf_encoding_push(encoding, piece.off + encoding->segment[k].from,
                              encoding->segment[k].to - encoding->segment[k].from, -1);
  }
  if (!rc) zf_encoding_swap_pieces(encoding);
  return rc;
}

int zf_encoding_prepend(struct zf_encoding *encoding, const struct zf_piece *piece,
                        const char *text, int64_t len) {
  if (piece->len == 0) return 0;
  int32_t b = encoding->track ? encoding->cur.begin[piece->off] : 0,
          e = encoding->track ? encoding->cur.end[piece->off] : 0;
  return zf_text_buf_add(encoding, text, len, b, e);
}

int zf_encoding_clean(struct zf_encoding *encoding, const char *text, int64_t len) {
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    char out[4];
    int n = zf_char_next(&c, text + i, len - i), k = zf_char_put(out, c);
    int rc = zf_text_buf_add(encoding, out, k, (int32_t)i, (int32_t)(i + n));
    if (rc) return rc;
    i += n;
  }
  return 0;
}

int zf_encoding_open(struct zf_encoding *encoding, const struct zf_tok *tok, const char *text,
                     size_t len, int track) {
  memset(encoding, 0, sizeof *encoding);
  encoding->tok = tok;
  encoding->track = track;
  encoding->given = text;
  encoding->given_len = (int64_t)len;
  if (len > INT32_MAX / 2)
    return zf_error(ZF_EUSAGE, "a text of %zu bytes is too long: %d at most at once", len,
                    INT32_MAX / 2);
  zf_encoding_bound(encoding, (int64_t)len);
  int rc = zf_encoding_reserve(encoding, (int64_t)len + 1);
  if (rc) return rc;
  if (track || zf_utf8_bad(text, len) >= 0) {
    rc = zf_encoding_clean(encoding, text, (int64_t)len);
  } else if (len) {
    memcpy(encoding->next.data, text, len);
    encoding->next.len = (int64_t)len;
  }
  if (!rc) {
    zf_encoding_swap_text(encoding);
    if (encoding->cur.len) rc = zf_encoding_push(encoding, 0, encoding->cur.len, -1);
  }
  if (!rc) zf_encoding_swap_pieces(encoding);
  return rc;
}

static void free_run(struct zf_text_buf *text) {
  free(text->data);
  free(text->begin);
  free(text->end);
}

void zf_encoding_close(struct zf_encoding *encoding) {
  free_run(&encoding->cur);
  free_run(&encoding->next);
  free(encoding->piece);
  free(encoding->made);
  free(encoding->segment);
  if (encoding->match) zf_pattern_free_match(encoding->match);
  if (encoding->scratch) encoding->tok->model->free_scratch(encoding->scratch);
  memset(encoding, 0, sizeof *encoding);
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

int zf_encoding_emit(struct zf_encoding *encoding, int32_t id, int64_t off, int64_t n) {
  int32_t b = -1, e = -1;
  if (encoding->flags & ZF_ENC_OFFSETS) {
    b = encoding->cur.begin[off];
    e = encoding->cur.end[off + n - 1];
  }
  return zf_ids_add(encoding->ids, id, b, e);
}

void zf_ids_free(struct zf_ids *ids) {
  free(ids->id);
  free(ids->begin);
  free(ids->end);
  memset(ids, 0, sizeof *ids);
}
