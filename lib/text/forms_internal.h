/* Characters that carry how each changes the text, and Unicode normalization forms. */
#ifndef ZF_TEXT_FORMS_INTERNAL_H
#define ZF_TEXT_FORMS_INTERNAL_H

#include "text_internal.h"

enum zf_form { ZF_NFC, ZF_NFD, ZF_NFKC, ZF_NFKD };

/* Appends the form of a span to new_text. */
int zf_form_apply(enum zf_form form, struct zf_encoding *encoding, const struct zf_span *span);

struct zf_char_map {
  int32_t character;
  int32_t change; /* 0 replaces the next old character, +1 is inserted, -n removes n more */
  uint8_t combining_class; /* canonical combining class */
};

struct zf_chars {
  struct zf_char_map *mapping;
  int64_t count, cap;
};

int zf_chars_add(struct zf_chars *chars, int32_t character, int change);
/* Appends the characters that a span became to new_text, each with the offsets that its change
 * gives. */
int zf_chars_write(struct zf_encoding *encoding, const struct zf_span *span,
                   const struct zf_chars *chars);

#endif
