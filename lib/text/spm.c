/* SentencePiece's tokenizer.model, a protobuf message, as a tokenizer.json in memory.
 *
 *   ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
 *   SentencePiece   1 piece  2 score (f32)  3 type
 *   TrainerSpec     3 model_type (1 unigram, 2 bpe)  35 byte_fallback  40-43 unk, bos, eos, pad
 *   NormalizerSpec  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces
 *                   5 escape_whitespaces
 * (sentencepiece_model.proto; the wire format is that of Protocol Buffers.)
 *
 * Control pieces become special tokens and user-defined ones added tokens, which are found in a
 * text as in every other tokenizer file; SentencePiece itself never finds control pieces in a
 * text. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/file.h"
#include "fmt/json.h"
#include "fmt/utf8.h"
#include "text_internal.h"

#define MARK "\xE2\x96\x81"

enum { SPM_MAX = 256 << 20, PIECES = 4 << 20 };

struct spm_model {
  const char *name;
  json_t *pieces, *scores, *types, *added_tokens;
  uint64_t model_type, byte_fallback;
  uint64_t unk, bos, eos;
  const unsigned char *charsmap;
  size_t charsmap_len;
  uint64_t dummy_prefix, remove_extra_spaces, escape_spaces;
};

/* --- the wire format -------------------------------------------------------------------- */

struct spm_field {
  uint64_t number, value; /* value of a varint, or the length */
  const unsigned char *data;
  float f32;
};

static int read_varint(struct zf_bytes *bytes, uint64_t *out) {
  *out = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    uint8_t byte;
    int rc = zf_bytes_u8(bytes, &byte);
    if (rc) return rc;
    *out |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return 0;
  }
  return zf_error(ZF_EINVALID, "byte %zu: a number of more than ten bytes", bytes->pos);
}

/* Reads the next field.  The cursor must not be at its end. */
static int read_field(struct zf_bytes *bytes, struct spm_field *field) {
  uint64_t key, wide;
  memset(field, 0, sizeof *field);
  int rc = read_varint(bytes, &key);
  if (rc) return rc;
  field->number = key >> 3;
  switch (key & 7) {
    case 0:
      return read_varint(bytes, &field->value);
    case 1:
      return zf_bytes_u64(bytes, &wide);
    case 2:
      rc = read_varint(bytes, &field->value);
      return rc ? rc : zf_bytes_take(bytes, field->value, &field->data);
    case 5:
      return zf_bytes_f32(bytes, &field->f32);
    default:
      return zf_error(ZF_EINVALID, "byte %zu: wire type %d", bytes->pos, (int)(key & 7));
  }
}

static struct zf_bytes message_of(const struct spm_field *field) {
  return (struct zf_bytes){.data = field->data, .len = (size_t)field->value};
}

/* --- the message ---------------------------------------------------------------------- */

static int add_token(struct spm_model *spm, const char *text, size_t len, int64_t id, int special) {
  json_t *token = json_pack("{s:I, s:s%, s:b, s:b}", "id", (json_int_t)id, "content", text, len,
                            "normalized", 0, "special", special);
  return json_array_append_new(spm->added_tokens, token) ? zf_error(ZF_ENOMEM, "out of memory") : 0;
}

/* Reads the fields of one piece: its text, score and type. */
static int read_piece_fields(const struct spm_field *outer, const char **text, size_t *len,
                             double *score, uint64_t *type) {
  struct zf_bytes bytes = message_of(outer);
  struct spm_field field;
  while (bytes.pos < bytes.len) {
    int rc = read_field(&bytes, &field);
    if (rc) return rc;
    if (field.number == 1 && field.data) {
      *text = (const char *)field.data;
      *len = (size_t)field.value;
    }
    if (field.number == 2) *score = (double)field.f32;
    if (field.number == 3) *type = field.value;
  }
  return 0;
}

static int read_piece(struct spm_model *spm, const struct spm_field *outer) {
  const char *text = "";
  size_t len = 0;
  double score = 0;
  uint64_t type = ZF_PIECE_NORMAL;
  int64_t id = (int64_t)json_array_size(spm->pieces);
  int rc = read_piece_fields(outer, &text, &len, &score, &type);
  if (rc) return rc;
  if (!len || zf_utf8_first_error(text, len) >= 0 || memchr(text, 0, len) || !(score - score == 0))
    return zf_error(ZF_EINVALID, "piece %lld is not a text with a score", (long long)id);
  if (id == PIECES) return zf_error(ZF_EINVALID, "more than %d pieces", PIECES);
  if (json_array_append_new(spm->pieces, json_stringn(text, len)) ||
      json_array_append_new(spm->scores, json_real(score)) ||
      json_array_append_new(spm->types, json_integer((json_int_t)type)))
    return zf_error(ZF_ENOMEM, "out of memory");
  if (type == ZF_PIECE_UNKNOWN) spm->unk = (uint64_t)id;
  if (type != ZF_PIECE_UNKNOWN && type != ZF_PIECE_CONTROL && type != ZF_PIECE_USER) return 0;
  return add_token(spm, text, len, id, type != ZF_PIECE_USER);
}

/* Reads a specification: the varint fields number[0..count) into *out[], and, unless data is NULL,
 * the bytes of field 2. */
static int read_spec(const struct spm_field *outer, const uint64_t *number, uint64_t *const *out,
                     int count, const unsigned char **data, size_t *len) {
  struct zf_bytes bytes = message_of(outer);
  struct spm_field field;
  while (bytes.pos < bytes.len) {
    int rc = read_field(&bytes, &field);
    if (rc) return rc;
    for (int i = 0; i < count; i++)
      if (field.number == number[i] && !field.data) *out[i] = field.value;
    if (data && field.number == 2 && field.data) {
      *data = field.data;
      *len = (size_t)field.value;
    }
  }
  return 0;
}

static int read_message(struct spm_model *spm, struct zf_bytes *bytes) {
  static const uint64_t trainer[] = {3, 35, 41, 42}, normalizer[] = {3, 4, 5};
  uint64_t *const trainer_values[] = {&spm->model_type, &spm->byte_fallback, &spm->bos, &spm->eos};
  uint64_t *const normalizer_values[] = {&spm->dummy_prefix, &spm->remove_extra_spaces,
                                         &spm->escape_spaces};
  struct spm_field field;
  while (bytes->pos < bytes->len) {
    int rc = read_field(bytes, &field);
    if (rc) return rc;
    if (!field.data) continue;
    if (field.number == 1) rc = read_piece(spm, &field);
    if (field.number == 2) rc = read_spec(&field, trainer, trainer_values, 4, NULL, NULL);
    if (field.number == 3)
      rc = read_spec(&field, normalizer, normalizer_values, 3, &spm->charsmap, &spm->charsmap_len);
    if (rc) return rc;
  }
  return 0;
}

static int read_model(struct spm_model *spm, const char *data, size_t len) {
  struct zf_bytes bytes = {.data = (const unsigned char *)data, .len = len};
  int rc = read_message(spm, &bytes);
  if (!rc && spm->model_type != 1 && spm->model_type != 2)
    rc = zf_error(ZF_EINVALID, "model type %llu: expected 1 (unigram) or 2 (bpe)",
                  (unsigned long long)spm->model_type);
  if (!rc && spm->unk >= json_array_size(spm->pieces))
    rc = zf_error(ZF_EINVALID, "no piece is the unknown one");
  return rc ? zf_error_prefix(rc, "%s: not a SentencePiece model", spm->name) : 0;
}

/* --- as JSON ------------------------------------------------------------------------------- */
static char *base64(const unsigned char *data, size_t len) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *out = zf_malloc(len / 3 * 4 + 5), *next = out;
  if (!out) return NULL;
  for (size_t i = 0; i < len; i += 3) {
    size_t count = len - i < 3 ? len - i : 3; /* bytes of this group, which give one digit more */
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; j++) bits = bits << 8 | (j < count ? data[i + j] : 0u);
    for (size_t j = 0; j <= count; j++) *next++ = digits[bits >> (18 - 6 * j) & 63];
  }
  *next = 0;
  return out;
}

static json_t *normalizer_part(const struct spm_model *spm) {
  char *map = spm->charsmap_len ? base64(spm->charsmap, spm->charsmap_len) : NULL;
  json_t *out =
      json_pack("{s:s, s:s*, s:b, s:b, s:b}", "type", ZF_SPM_KEY, "precompiled_charsmap", map,
                "add_dummy_prefix", spm->dummy_prefix != 0, "remove_extra_whitespaces",
                spm->remove_extra_spaces != 0, "escape_whitespaces", spm->escape_spaces != 0);
  free(map);
  return out;
}

static json_t *decoder_part(const struct spm_model *spm) {
  return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}, {s:s, s:s, s:i, s:i}]}", "type",
                   "Sequence", "decoders", "type", "Replace", "pattern", "String", "\xE2\x96\x81",
                   "content", " ", "type", "ByteFallback", "type", "Fuse", "type", "Strip",
                   "content", " ", "start", (int)spm->dummy_prefix, "stop", 0);
}

/* Whether BOS precedes and EOS follows a text: as the configuration says, else as the tokenizer's
 * class does, else, as in Llama, BOS alone if the model is BPE. */
static void choose_bos_eos(const struct spm_model *spm, const json_t *config, int *bos, int *eos) {
  const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
  const json_t *add_bos = json_object_get(config, "add_bos_token");
  const json_t *add_eos = json_object_get(config, "add_eos_token");
  *eos = class && !strncmp(class, "T5Tokenizer", 11);
  *bos = class ? !strncmp(class, "LlamaTokenizer", 14) || !strncmp(class, "GemmaTokenizer", 14)
               : spm->model_type == 2;
  if (json_is_boolean(add_bos)) *bos = json_is_true(add_bos);
  if (json_is_boolean(add_eos)) *eos = json_is_true(add_eos);
}

static int add_item(json_t *single, json_t *special, const struct spm_model *spm, uint64_t id) {
  const json_t *piece = json_array_get(spm->pieces, id);
  if (!piece) return 0;
  const char *name = json_string_value(piece);
  return json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", name)) |
         json_object_set_new(special, name, json_pack("{s:[I]}", "ids", (json_int_t)id));
}

static json_t *post_processor(const struct spm_model *spm, const json_t *config) {
  json_t *single = json_array(), *special = json_object();
  int bos, eos, rc = 0;
  choose_bos_eos(spm, config, &bos, &eos);
  if (bos) rc = add_item(single, special, spm, spm->bos);
  rc |= json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
  if (eos) rc |= add_item(single, special, spm, spm->eos);
  json_t *out = json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                          "special_tokens", special);
  if (!rc) return out;
  json_decref(out);
  return NULL;
}

/* SentencePiece never finds added tokens in a text; Transformers splits the text at them first.
 * Unless the tokenizer's class says otherwise, each span between them is then a text with its own
 * mark, or, with `legacy` false, the first alone. */
static json_t *span_parts(const struct spm_model *spm, int legacy) {
  const char *scheme = legacy ? "always" : "first";
  json_t *steps = json_array();
  if (spm->remove_extra_spaces) {
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", "\\A +| +\\z", "content", ""));
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", " {2,}", "content", " "));
  }
  json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                         "String", " ", "content", MARK));
  if (spm->dummy_prefix && legacy) /* Metaspace puts no mark before a mark */
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", "\\A" MARK, "content", MARK MARK));
  json_t *cut = spm->dummy_prefix
                    ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", MARK,
                                "prepend_scheme", scheme, "split", 0)
                    : json_null();
  return json_pack("{s:{s:s, s:o}, s:o}", "normalizer", "type", "Sequence", "normalizers", steps,
                   "pre_tokenizer", cut);
}

static json_t *assemble_alone(const struct spm_model *spm, const json_t *config) {
  return json_pack("{s:O, s:o, s:o, s:o, s:{s:s, s:b, s:O, s:O, s:O, s:I, s:b}}", "added_tokens",
                   spm->added_tokens, "normalizer", normalizer_part(spm), "post_processor",
                   post_processor(spm, config), "decoder", decoder_part(spm), "model", "type",
                   spm->model_type == 1 ? "Unigram" : "BPE", ZF_SPM_KEY, 1, "pieces", spm->pieces,
                   "scores", spm->scores, "types", spm->types, "unk_id", (json_int_t)spm->unk,
                   "byte_fallback", spm->byte_fallback != 0);
}

/* The special tokens that the model itself names. */
static json_t *special_names(const struct spm_model *spm) {
  const struct {
    const char *key;
    uint64_t id;
  } token[] = {{"bos_token", spm->bos}, {"eos_token", spm->eos}, {"unk_token", spm->unk}};
  json_t *out = json_object();
  for (int i = 0; i < 3; i++) {
    json_t *piece = json_array_get(spm->pieces, token[i].id);
    if (piece) json_object_set(out, token[i].key, piece);
  }
  return out;
}

static json_t *assemble(const struct spm_model *spm, const struct zf_tok_settings *settings) {
  json_t *out = assemble_alone(spm, settings ? settings->config : NULL);
  int plain = settings && !settings->class && spm->model_type == 2 && !spm->charsmap_len &&
              spm->escape_spaces;
  if (out && settings && !settings->class)
    json_object_set_new(out, ZF_SPECIAL_NAMES_KEY, special_names(spm));
  json_t *parts =
      out && plain ? span_parts(spm, zf_tok_settings_flag(settings, "legacy", 1)) : NULL;
  if (out && plain && (!parts || json_object_update(out, parts))) {
    json_decref(out);
    out = NULL;
  }
  json_decref(parts);
  return out;
}

int zf_spm_parse(json_t **out, const char *bytes, size_t len, const char *name,
                 const struct zf_tok_settings *settings) {
  struct spm_model spm = {.name = name,
                          .model_type = 1,
                          .unk = UINT64_MAX,
                          .bos = 1,
                          .eos = 2,
                          .dummy_prefix = 1,
                          .remove_extra_spaces = 1,
                          .escape_spaces = 1};
  json_t **const list[] = {&spm.pieces, &spm.scores, &spm.types, &spm.added_tokens};
  int rc = 0;
  for (int i = 0; i < 4; i++)
    if (!(*list[i] = json_array())) rc = zf_error(ZF_ENOMEM, "%s: out of memory", name);
  *out = NULL;
  if (!rc) rc = read_model(&spm, bytes, len);
  if (!rc && !(*out = assemble(&spm, settings)))
    rc = zf_error(ZF_ENOMEM, "%s: out of memory", name);
  for (int i = 0; i < 4; i++) json_decref(*list[i]);
  return rc;
}

int zf_spm_load(json_t **out, const char *path, const struct zf_tok_settings *settings) {
  char *bytes = NULL;
  size_t len = 0;
  int rc = zf_read_file(&bytes, &len, path, SPM_MAX);
  if (!rc) rc = zf_spm_parse(out, bytes, len, path, settings);
  free(bytes);
  return rc;
}
