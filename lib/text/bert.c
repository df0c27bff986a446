/* BERT's normalizer. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "forms_internal.h"

struct bert_normalizer {
  int clean_text, separate_chinese, lowercase, strip_accents;
};

int zf_bert_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok) {
  (void)tok;
  struct bert_normalizer bert = {1, 1, 1, -1};
  int rc = zf_json_bool(&bert.clean_text, def, "clean_text", where);
  if (!rc) rc = zf_json_bool(&bert.separate_chinese, def, "handle_chinese_chars", where);
  if (!rc) rc = zf_json_bool(&bert.strip_accents, def, "strip_accents", where);
  if (!rc) rc = zf_json_bool(&bert.lowercase, def, "lowercase", where);
  if (rc) return rc;
  if (bert.strip_accents < 0) bert.strip_accents = bert.lowercase;
  *self = zf_malloc(sizeof bert);
  if (!*self) return ZF_ENOMEM;
  memcpy(*self, &bert, sizeof bert);
  return 0;
}

/* Control, format, private use and surrogate characters are removed, unassigned ones kept. */
static int is_control(uint32_t c) {
  utf8proc_category_t category = utf8proc_category((int32_t)c);
  if (c == '\t' || c == '\n' || c == '\r') return 0;
  return category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO;
}

static int map_clean(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    if (c == 0 || c == ZF_REPLACEMENT || is_control(c)) continue;
    int rc = zf_char_is_space(c) ? zf_text_buf_add_char(encoding, i, ' ')
                                 : zf_text_buf_copy(encoding, i, bytes);
    if (rc) return rc;
  }
  return 0;
}

static int is_chinese(uint32_t c) {
  static const uint32_t range[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                      {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (int i = 0; i < 8; i++)
    if (c >= range[i][0] && c <= range[i][1]) return 1;
  return 0;
}

static int map_chinese(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    int chinese = is_chinese(c), rc = 0;
    if (chinese) rc = zf_text_buf_add_char(encoding, i, ' ');
    if (!rc) rc = zf_text_buf_copy(encoding, i, bytes);
    if (!rc && chinese) rc = zf_text_buf_add_char(encoding, i, ' ');
    if (rc) return rc;
  }
  return 0;
}

static int map_nfd(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  return zf_form_apply(ZF_NFD, encoding, span);
}

static int map_accents(const void *self, struct zf_encoding *encoding, const struct zf_span *span) {
  (void)self;
  int64_t end = span->off + span->len;
  int bytes;
  for (int64_t i = span->off; i < end; i += bytes) {
    uint32_t c;
    bytes = zf_char_next(&c, encoding->text.data + i, end - i);
    if (utf8proc_category((int32_t)c) == UTF8PROC_CATEGORY_MN) continue;
    int rc = zf_text_buf_copy(encoding, i, bytes);
    if (rc) return rc;
  }
  return 0;
}

int zf_bert_apply(const void *self, struct zf_encoding *encoding) {
  const struct bert_normalizer *bert = self;
  int rc = bert->clean_text ? zf_encoding_map(encoding, map_clean, NULL) : 0;
  if (!rc && bert->separate_chinese) rc = zf_encoding_map(encoding, map_chinese, NULL);
  if (!rc && bert->strip_accents) rc = zf_encoding_map(encoding, map_nfd, NULL);
  if (!rc && bert->strip_accents) rc = zf_encoding_map(encoding, map_accents, NULL);
  return !rc && bert->lowercase ? zf_lower_apply(NULL, encoding) : rc;
}
