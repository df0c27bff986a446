/* Characters: reading and writing UTF-8, Unicode classes, the byte alphabet of GPT-2.
 *
 * Classes come from utf8proc.  White_Space and the joiners are short lists that Unicode's stability
 * rules fix, so they are written out. */
#include <utf8proc.h>

#include "text_internal.h"

/* The bytes that may follow a lead byte (Unicode, table 3-7): how many, and the range of the first.
 * 0 for a byte that leads nothing. */
static int continuation(unsigned char lead, unsigned char *lo, unsigned char *hi) {
  *lo = 0x80;
  *hi = 0xBF;
  if (lead == 0xE0) *lo = 0xA0; /* below: an overlong form */
  if (lead == 0xED) *hi = 0x9F; /* above: a surrogate */
  if (lead == 0xF0) *lo = 0x90; /* below: an overlong form */
  if (lead == 0xF4) *hi = 0x8F; /* above: beyond U+10FFFF */
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  return lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
}

int zf_char_next(uint32_t *character, const char *text, int64_t len) {
  const unsigned char *bytes = (const unsigned char *)text;
  unsigned char lead = bytes[0], lo, hi;
  if (lead < 0x80) {
    *character = lead;
    return 1;
  }
  int more = continuation(lead, &lo, &hi);
  *character = ZF_REPLACEMENT;
  if (!more) return 1;
  uint32_t value = lead & (63u >> more); /* 5, 4 or 3 bits */
  for (int i = 1; i <= more; i++) {
    if (i >= len || bytes[i] < lo || bytes[i] > hi) return i;
    value = value << 6 | (bytes[i] & 63);
    lo = 0x80;
    hi = 0xBF;
  }
  *character = value;
  return more + 1;
}

int zf_char_put(char out[4], uint32_t character) {
  return (int)utf8proc_encode_char((utf8proc_int32_t)character, (utf8proc_uint8_t *)out);
}

int zf_char_is_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

int zf_char_is_number(uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

int zf_char_is_mark(uint32_t c) {
  if (c < 0x300) return 0;
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

int zf_char_is_punct(uint32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/* Letters and marks written in circles and squares are alphabetic symbols. */
static int is_circled_letter(uint32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

int zf_char_is_word(uint32_t c) {
  if (c < 0x80)
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D || is_circled_letter(c);
}

/* Bytes that print in Latin-1 stand for themselves.  The other 68 (0-32, 127-160, 173) become, in
 * this order, U+0100 and the characters after it. */
uint32_t zf_char_byte_level(unsigned char byte) {
  if (byte <= 32) return 0x100u + byte;
  if (byte >= 127 && byte <= 160) return 0x100u + 33 + (byte - 127u);
  return byte == 173 ? 0x143 : byte;
}

int zf_char_byte_of(uint32_t c) {
  if (c < 0x100) return zf_char_byte_level((unsigned char)c) == c ? (int)c : -1;
  if (c <= 0x120) return (int)(c - 0x100);
  if (c <= 0x142) return (int)(c - 0x121 + 127);
  return c == 0x143 ? 173 : -1;
}
