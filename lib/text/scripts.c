/* UnicodeScripts: text is split where the script changes.
 *
 * Japanese kana count as Han.  Spaces and characters whose script is not in the list belong to the
 * run before them; at the beginning of a text, where there is no run, they are dropped, as the
 * `tokenizers` package drops them.  All that is one expression: a run of one script, with such
 * characters after its first one.  Text that no run matches is dropped.  The package has the table
 * of Unicode 9, PCRE2 a later one: characters that were added or changed their script since then
 * may be split differently. */
#include "text_internal.h"

static const char *const scripts[] = {
    "Latin",
    "Cyrillic",
    "Greek",
    "Arabic",
    "Hebrew",
    "Devanagari",
    "Hangul",
    "Thai",
    "Inherited",
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Deseret",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Gujarati",
    "Gurmukhi",
    "Hanunoo",
    "Hatran",
    "Imperial_Aramaic",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Kayah_Li",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Newa",
    "New_Tai_Lue",
    "Nko",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sora_Sompeng",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangut",
    "Telugu",
    "Thaana",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Ugaritic",
    "Vai",
    "Warang_Citi",
    "Yi",
};

#define KANA "\\p{Han}\\p{Hiragana}\\p{Katakana}\\x{30fc}"

/* "[first](?:[more]|any)*", where `any` is a named group that the expression calls. */
static void add_run(struct zf_buf *buf, const char *first, const char *more) {
  zf_buf_printf(buf, "|[%s](?:[%s]|\\g<any>)*", first, more);
}

int zf_scripts_new(struct zf_pattern **out, const char *where) {
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "(?<any>[^\\p{Common}" KANA);
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    zf_buf_printf(&buf, "\\p{%s}", scripts[i]);
  zf_buf_puts(&buf, "]| ){0}(?:(?!)");
  add_run(&buf, "^\\P{Common} \\x{30fc}", "^\\P{Common}\\x{30fc}");
  add_run(&buf, KANA, KANA);
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    char run[64];
    snprintf(run, sizeof run, "\\p{%s}", scripts[i]);
    add_run(&buf, run, run);
  }
  zf_buf_puts(&buf, ")");
  int rc = zf_buf_ok(&buf);
  if (!rc) rc = zf_pattern_new(out, buf.data, 0, where);
  zf_buf_free(&buf);
  return rc;
}
