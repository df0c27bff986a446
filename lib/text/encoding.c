/* The state of one call: text with offsets, spans, segments. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/utf8.h"
#include "text_internal.h"

/* A character may become 18 in NFKD, and each of those two bytes in the byte alphabet.  Short texts
 * may grow by GROWTH_FREE bytes in any case. */
enum { GROWTH = 256, GROWTH_FREE = 1 << 20 };

/* Grows *array to hold count elements, at least to twice its capacity. */
static int grow(void *array, int64_t *cap, int64_t count, size_t size) {
  if (count <= *cap) return 0;
  int64_t new_cap = *cap ? *cap * 2 : 64;
  if (new_cap < count) new_cap = count;
  void *old, *grown = NULL;
  memcpy(&old, array, sizeof old);
  if ((uint64_t)new_cap < SIZE_MAX / 2 / size) grown = realloc(old, (size_t)new_cap * size);
  if (!grown)
    return zf_error(ZF_ENOMEM, "out of memory for %lld elements of %zu bytes", (long long)new_cap,
                    size);
  memcpy(array, &grown, sizeof grown);
  *cap = new_cap;
  return 0;
}

void zf_encoding_set_limit(struct zf_encoding *encoding, int64_t len) {
  encoding->max_len =
      len < (INT32_MAX - GROWTH_FREE) / GROWTH ? len * GROWTH + GROWTH_FREE : INT32_MAX;
}

int zf_encoding_reserve(struct zf_encoding *encoding, int64_t more) {
  struct zf_text_buf *text = &encoding->new_text;
  int64_t needed = text->len + more, bytes = text->cap;
  int64_t begins = bytes, ends = bytes;
  if (needed <= text->cap) return 0;
  if (needed > encoding->max_len)
    return zf_error(ZF_EINVALID, "%s: a text grows beyond %lld bytes in normalization",
                    encoding->tok->name, (long long)encoding->max_len);
  int rc = grow(&text->data, &bytes, needed, 1);
  if (!rc && encoding->track_offsets) rc = grow(&text->begin, &begins, needed, sizeof *text->begin);
  if (!rc && encoding->track_offsets) rc = grow(&text->end, &ends, needed, sizeof *text->end);
  if (!rc) text->cap = bytes;
  return rc;
}

int zf_text_buf_add(struct zf_encoding *encoding, const char *bytes, int64_t len, int32_t begin,
                    int32_t end) {
  struct zf_text_buf *text = &encoding->new_text;
  int rc = zf_encoding_reserve(encoding, len);
  if (rc) return rc;
  for (int64_t i = 0; i < len; i++) text->data[text->len + i] = bytes[i];
  if (encoding->track_offsets) {
    for (int64_t i = 0; i < len; i++) {
      text->begin[text->len + i] = begin;
      text->end[text->len + i] = end;
    }
  }
  text->len += len;
  return 0;
}

int zf_text_buf_copy(struct zf_encoding *encoding, int64_t off, int64_t len) {
  struct zf_text_buf *text = &encoding->new_text;
  int rc = zf_encoding_reserve(encoding, len);
  if (rc || !len) return rc;
  memcpy(text->data + text->len, encoding->text.data + off, (size_t)len);
  if (encoding->track_offsets) {
    memcpy(text->begin + text->len, encoding->text.begin + off, (size_t)len * sizeof *text->begin);
    memcpy(text->end + text->len, encoding->text.end + off, (size_t)len * sizeof *text->end);
  }
  text->len += len;
  return 0;
}

int zf_text_buf_add_char(struct zf_encoding *encoding, int64_t off, uint32_t character) {
  char out[4];
  int len = zf_char_put(out, character);
  return zf_text_buf_add(encoding, out, len,
                         encoding->track_offsets ? encoding->text.begin[off] : 0,
                         encoding->track_offsets ? encoding->text.end[off] : 0);
}

int zf_encoding_add_span(struct zf_encoding *encoding, int64_t off, int64_t len, int32_t id) {
  if (encoding->new_span_count == encoding->new_span_cap) {
    int rc = grow(&encoding->new_span, &encoding->new_span_cap, encoding->new_span_count + 1,
                  sizeof *encoding->new_span);
    if (rc) return rc;
  }
  int64_t origin = encoding->track_offsets && len ? encoding->text.begin[off] : 0;
  encoding->new_span[encoding->new_span_count++] =
      (struct zf_span){.off = off, .len = len, .origin = origin, .id = id};
  return 0;
}

int zf_encoding_add_segment(struct zf_encoding *encoding, int64_t from, int64_t to, int match) {
  if (encoding->segment_count == encoding->segment_cap) {
    int rc = grow(&encoding->segment, &encoding->segment_cap, encoding->segment_count + 1,
                  sizeof *encoding->segment);
    if (rc) return rc;
  }
  encoding->segment[encoding->segment_count++] = (struct zf_text_segment){from, to, match};
  return 0;
}

void zf_encoding_swap_spans(struct zf_encoding *encoding) {
  struct zf_span *span = encoding->span;
  int64_t cap = encoding->span_cap;
  encoding->span = encoding->new_span;
  encoding->span_cap = encoding->new_span_cap;
  encoding->span_count = encoding->new_span_count;
  encoding->new_span = span;
  encoding->new_span_cap = cap;
  encoding->new_span_count = 0;
}

void zf_encoding_swap_text(struct zf_encoding *encoding) {
  struct zf_text_buf text = encoding->text;
  encoding->text = encoding->new_text;
  encoding->new_text = text;
  encoding->new_text.len = 0;
}

int zf_encoding_map(struct zf_encoding *encoding, zf_map_fn fn, const void *self) {
  int rc = zf_encoding_reserve(encoding, encoding->text.len + 1); /* an empty text is not NULL */
  if (rc) return rc;
  for (int64_t i = 0; i < encoding->span_count; i++) {
    struct zf_span *span = &encoding->span[i];
    int64_t off = encoding->new_text.len;
    rc =
        span->id >= 0 ? zf_text_buf_copy(encoding, span->off, span->len) : fn(self, encoding, span);
    if (rc) return rc;
    span->off = off;
    span->len = encoding->new_text.len - off;
  }
  zf_encoding_swap_text(encoding);
  return 0;
}

/* Each match joins the segment after it, unless that is a match too. */
static void merge_with_next(struct zf_encoding *encoding) {
  struct zf_text_segment *segment = encoding->segment;
  int64_t out = encoding->segment_count;
  int after = 0; /* is the segment after this one a match? */
  for (int64_t i = encoding->segment_count - 1; i >= 0; i--) {
    int match = segment[i].match;
    if (match && !after && out < encoding->segment_count)
      segment[out].from = segment[i].from;
    else
      segment[--out] = segment[i];
    after = match;
  }
  encoding->segment_count -= out;
  memmove(segment, segment + out, (size_t)encoding->segment_count * sizeof *segment);
}

/* Each match joins the segment before it, unless that is a match too; or, with `contiguous`,
 * neighbours that are both matches, or both not, become one. */
static void merge_with_previous(struct zf_encoding *encoding, int contiguous) {
  struct zf_text_segment *segment = encoding->segment;
  int64_t kept = 0;
  int before = 0; /* is the segment before this one a match? */
  for (int64_t i = 0; i < encoding->segment_count; i++) {
    int match = segment[i].match;
    int join = contiguous ? match == before : match && !before;
    if (join && kept > 0)
      segment[kept - 1].to = segment[i].to;
    else
      segment[kept++] = segment[i];
    before = match;
  }
  encoding->segment_count = kept;
}

/* Makes spans of the segments of one span. */
static int add_segments(struct zf_encoding *encoding, int64_t off, enum zf_behavior behavior) {
  for (int64_t i = 0; i < encoding->segment_count; i++) {
    const struct zf_text_segment *segment = &encoding->segment[i];
    if (segment->to <= segment->from || (behavior == ZF_REMOVED && segment->match)) continue;
    int rc = zf_encoding_add_span(encoding, off + segment->from, segment->to - segment->from, -1);
    if (rc) return rc;
  }
  return 0;
}

static int split_span(struct zf_encoding *encoding, const struct zf_span *span, zf_map_fn fn,
                      const void *self, enum zf_behavior behavior, int invert) {
  encoding->segment_count = 0;
  int rc = fn(self, encoding, span);
  if (rc) return rc;
  if (invert) {
    for (int64_t i = 0; i < encoding->segment_count; i++)
      encoding->segment[i].match = !encoding->segment[i].match;
  }
  if (encoding->segment_count && behavior == ZF_MERGED_NEXT) merge_with_next(encoding);
  if (encoding->segment_count && (behavior == ZF_MERGED_PREVIOUS || behavior == ZF_CONTIGUOUS))
    merge_with_previous(encoding, behavior == ZF_CONTIGUOUS);
  return add_segments(encoding, span->off, behavior);
}

int zf_encoding_split(struct zf_encoding *encoding, zf_map_fn fn, const void *self,
                      enum zf_behavior behavior, int invert) {
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span span = encoding->span[i];
    int rc = span.id >= 0 ? zf_encoding_add_span(encoding, span.off, span.len, span.id)
                          : split_span(encoding, &span, fn, self, behavior, invert);
    if (rc) return rc;
  }
  zf_encoding_swap_spans(encoding);
  return 0;
}

int zf_encoding_prepend(struct zf_encoding *encoding, const struct zf_span *span, const char *text,
                        int64_t len) {
  if (span->len == 0) return 0;
  int32_t begin = encoding->track_offsets ? encoding->text.begin[span->off] : 0,
          end = encoding->track_offsets ? encoding->text.end[span->off] : 0;
  return zf_text_buf_add(encoding, text, len, begin, end);
}

int zf_encoding_add_repaired(struct zf_encoding *encoding, const char *text, int64_t len) {
  for (int64_t i = 0; i < len;) {
    uint32_t c;
    char out[4];
    int bytes = zf_char_next(&c, text + i, len - i), out_len = zf_char_put(out, c);
    int rc = zf_text_buf_add(encoding, out, out_len, (int32_t)i, (int32_t)(i + bytes));
    if (rc) return rc;
    i += bytes;
  }
  return 0;
}

int zf_encoding_open(struct zf_encoding *encoding, const struct zf_tok *tok, const char *text,
                     size_t len, int track_offsets) {
  memset(encoding, 0, sizeof *encoding);
  encoding->tok = tok;
  encoding->track_offsets = track_offsets;
  encoding->original = text;
  encoding->original_len = (int64_t)len;
  if (len > INT32_MAX / 2)
    return zf_error(ZF_EUSAGE, "a text of %zu bytes is too long: split it into texts of at most %d",
                    len, INT32_MAX / 2);
  zf_encoding_set_limit(encoding, (int64_t)len);
  int rc = zf_encoding_reserve(encoding, (int64_t)len + 1);
  if (rc) return rc;
  if (track_offsets || zf_utf8_first_error(text, len) >= 0) {
    rc = zf_encoding_add_repaired(encoding, text, (int64_t)len);
  } else if (len) {
    memcpy(encoding->new_text.data, text, len);
    encoding->new_text.len = (int64_t)len;
  }
  if (rc) return rc;
  zf_encoding_swap_text(encoding);
  if (encoding->text.len) rc = zf_encoding_add_span(encoding, 0, encoding->text.len, -1);
  if (!rc) zf_encoding_swap_spans(encoding);
  return rc;
}

static void free_text_buf(struct zf_text_buf *text) {
  free(text->data);
  free(text->begin);
  free(text->end);
}

void zf_encoding_close(struct zf_encoding *encoding) {
  free_text_buf(&encoding->text);
  free_text_buf(&encoding->new_text);
  free(encoding->span);
  free(encoding->new_span);
  free(encoding->segment);
  if (encoding->match_data) zf_pattern_free_match(encoding->match_data);
  if (encoding->model_scratch) encoding->tok->model->free_scratch(encoding->model_scratch);
  memset(encoding, 0, sizeof *encoding);
}

static int resize(int32_t **array, int64_t count) {
  int32_t *grown = realloc(*array, (size_t)count * sizeof *grown);
  if (!grown) return zf_error(ZF_ENOMEM, "out of memory for %lld token ids", (long long)count);
  *array = grown;
  return 0;
}

static int reserve_offsets(struct zf_ids *ids, int64_t cap) {
  int is_new = !ids->begin;
  int rc = resize(&ids->end, cap);
  if (!rc) rc = resize(&ids->begin, cap); /* last: begin says that both are there */
  if (rc || !is_new) return rc;
  for (int64_t i = 0; i < ids->count; i++) ids->begin[i] = ids->end[i] = -1;
  return 0;
}

int zf_ids_reserve(struct zf_ids *ids, int64_t more, int offsets) {
  int64_t need = ids->count + more, cap = ids->cap;
  if (need > cap) cap = need > cap * 2 ? need + 16 : cap * 2;
  if (cap == ids->cap && (!offsets || ids->begin)) return 0;
  int rc = resize(&ids->id, cap);
  if (!rc && (offsets || ids->begin)) rc = reserve_offsets(ids, cap);
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

int zf_encoding_emit(struct zf_encoding *encoding, int32_t id, int64_t off, int64_t len) {
  int32_t begin = -1, end = -1;
  if (encoding->flags & ZF_ENC_OFFSETS) {
    begin = encoding->text.begin[off];
    end = encoding->text.end[off + len - 1];
  }
  return zf_ids_add(encoding->ids, id, begin, end);
}

void zf_ids_free(struct zf_ids *ids) {
  free(ids->id);
  free(ids->begin);
  free(ids->end);
  memset(ids, 0, sizeof *ids);
}
