/* Tokenizers from before tokenizer.json: vocab.json with merges.txt, as GPT-2, OPT, RoBERTa and
 * Qwen2 were published, and BERT's vocab.txt.
 *
 * They are converted to a tokenizer.json in memory, so that one reader serves all: a byte-level BPE
 * with the pre-tokenizer of the tokenizer's class, or a WordPiece.  Special tokens come from the
 * settings files (tok_settings.c). */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { MERGES_MAX = 256 << 20 };

const struct zf_byte_form zf_form_gpt2 = {0};
const struct zf_byte_form zf_form_neox = {.nfc = 1};
const struct zf_byte_form zf_form_roberta = {.add_cls_sep = 1};
const struct zf_byte_form zf_form_qwen2 = {
    .nfc = 1,
    .regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
             "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"};

/* Length of a line without its trailing spaces. */
static size_t trimmed_len(const char *line, size_t len) {
  while (len) {
    size_t from = len - 1;
    uint32_t c;
    while (from && ((unsigned char)line[from] & 0xC0) == 0x80) from--;
    zf_char_next(&c, line + from, (int64_t)(len - from));
    if (!zf_char_is_space(c)) break;
    len = from;
  }
  return len;
}

/* Appends the lines of text[0..len); `keep_empty`: empty ones too. */
static int split_lines(json_t *list, const char *text, size_t len, int keep_empty,
                       const char *path) {
  const char *end = len ? text + len : text;
  for (const char *line = text; line < end;) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop) stop = end;
    size_t line_len = trimmed_len(line, (size_t)(stop - line));
    if ((line_len || keep_empty) && json_array_append_new(list, json_stringn(line, line_len)))
      return zf_error(ZF_EINVALID, "%s: byte %lld: the line is not UTF-8", path,
                      (long long)(line - text));
    line = stop + 1;
  }
  return 0;
}

/* The lines of a file as an array of strings. */
static int load_lines(json_t **out, const char *path, int keep_empty) {
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, MERGES_MAX);
  if (rc) return rc;
  json_t *list = json_array();
  rc = list ? split_lines(list, text, len, keep_empty, path)
            : zf_error(ZF_ENOMEM, "%s: out of memory", path);
  free(text);
  if (rc)
    json_decref(list);
  else
    *out = list;
  return rc;
}

/* ByteLevel, which splits by GPT-2's expression, or a Split by another expression before it. */
static json_t *pre_tokenizer(const struct zf_byte_form *form,
                             const struct zf_tok_settings *settings) {
  int space = zf_tok_settings_flag(settings, "add_prefix_space", 0);
  json_t *bytes = json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", space,
                            "use_regex", !form->regex);
  if (!form->regex) return bytes;
  return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                   "type", "Split", "pattern", "Regex", form->regex, "behavior", "Isolated",
                   "invert", 0, bytes);
}

json_t *zf_parts_bytes(const struct zf_tok_settings *settings) {
  const struct zf_byte_form *form = zf_tok_form_of(settings);
  json_t *normalizer = form->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
  json_t *out = json_pack("{s:o, s:o, s:{s:s}}", "normalizer", normalizer, "pre_tokenizer",
                          pre_tokenizer(form, settings), "decoder", "type", "ByteLevel");
  if (out && form->add_cls_sep) json_object_set_new(out, ZF_POST_KIND_KEY, json_string("cls trim"));
  return out;
}

static json_t *assemble(json_t *vocab, json_t *merges, const struct zf_tok_settings *settings) {
  json_t *out = zf_parts_bytes(settings);
  if (!out) return NULL;
  if (!json_object_get(out, ZF_POST_KIND_KEY))
    json_object_set_new(out, ZF_POST_KIND_KEY, json_string("bos"));
  json_t *model = json_pack("{s:s, s:O, s:O}", "type", "BPE", "vocab", vocab, "merges", merges);
  if (!json_object_set_new(out, "model", model)) return out;
  json_decref(out);
  return NULL;
}

int zf_classic_load(json_t **out, const char *path, const struct zf_tok_settings *settings) {
  json_t *vocab = NULL, *merges = NULL;
  char *merges_path = zf_strdup(path);
  int rc = merges_path ? zf_json_load(&vocab, path) : ZF_ENOMEM;
  if (!rc && !json_is_object(vocab))
    rc = zf_error(ZF_EINVALID, "%s: expected an object, found %s", path, zf_json_kind(vocab));
  if (!rc) strcpy(merges_path + strlen(merges_path) - 10, "merges.txt"); /* replaces "vocab.json" */
  if (!rc) rc = load_lines(&merges, merges_path, 0); /* parse_merges skips "#version" */
  if (!rc && !(*out = assemble(vocab, merges, settings)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  json_decref(vocab);
  json_decref(merges);
  free(merges_path);
  return rc;
}

/* --- vocab.txt: one piece on each line ---------------------------------------------------- */

static json_t *bert_normalizer(const struct zf_tok_settings *settings) {
  int lower = zf_tok_settings_flag(settings, "do_lower_case", 1);
  return json_pack("{s:s, s:b, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text", 1,
                   "handle_chinese_chars",
                   zf_tok_settings_flag(settings, "tokenize_chinese_chars", 1), "strip_accents",
                   zf_tok_settings_flag(settings, "strip_accents", lower), "lowercase", lower);
}

json_t *zf_parts_bert(const struct zf_tok_settings *settings) {
  return json_pack("{s:o, s:{s:s}, s:s, s:{s:s, s:s, s:b}}", "normalizer",
                   bert_normalizer(settings), "pre_tokenizer", "type", "BertPreTokenizer",
                   ZF_POST_KIND_KEY, "cls", "decoder", "type", "WordPiece", "prefix", "##",
                   "cleanup", 1);
}

static json_t *assemble_bert(json_t *vocab, const struct zf_tok_settings *settings) {
  const char *from, *unk;
  int present;
  json_t *out = zf_parts_bert(settings);
  if (!out) return NULL;
  unk = zf_tok_settings_name(settings, ZF_UNK, &from, &present);
  json_t *model =
      json_pack("{s:s, s:s, s:s, s:i, s:O}", "type", "WordPiece", "unk_token", unk ? unk : "[UNK]",
                "continuing_subword_prefix", "##", "max_input_chars_per_word", 100, "vocab", vocab);
  if (!json_object_set_new(out, "model", model)) return out;
  json_decref(out);
  return NULL;
}

/* {piece: id} from the lines, whose numbers from 0 are the ids. */
static int vocab_from_lines(json_t *vocab, json_t *lines, const char *path) {
  json_t *line;
  size_t i;
  json_array_foreach(lines, i, line) {
    const char *piece = json_string_value(line);
    if (!*piece) continue;
    if (json_object_get(vocab, piece))
      return zf_error(ZF_EINVALID, "%s: line %zu: piece '%s' appears twice", path, i + 1, piece);
    if (json_object_set_new(vocab, piece, json_integer((json_int_t)i)))
      return zf_error(ZF_ENOMEM, "%s: out of memory", path);
  }
  return 0;
}

int zf_classic_bert(json_t **out, const char *path, const struct zf_tok_settings *settings) {
  json_t *lines = NULL, *vocab = json_object();
  int rc = vocab ? load_lines(&lines, path, 1) : zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (!rc) rc = vocab_from_lines(vocab, lines, path);
  if (!rc && !(*out = assemble_bert(vocab, settings)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  json_decref(lines);
  json_decref(vocab);
  return rc;
}
