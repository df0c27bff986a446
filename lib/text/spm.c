/* SentencePiece's tokenizer.model, a protobuf message, as a tokenizer.json in memory.
 *
 *   ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
 *   SentencePiece   1 piece  2 score (f32)  3 type
 *   TrainerSpec     3 model_type (1 unigram, 2 bpe)  35 byte_fallback  40-43 unk, bos, eos, pad
 *   NormalizerSpec  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces
 *                   5 escape_whitespaces
 * (sentencepiece_model.proto; the wire format is that of Protocol Buffers.)
 *
 * Control pieces become special tokens and user-defined ones added tokens, which a text
 * may name, as in every other tokenizer file; SentencePiece itself never finds control
 * pieces in a text. */
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

struct spm {
  const char *name;
  json_t *pieces, *scores, *types, *added;
  uint64_t model, byte_fallback;
  uint64_t unk, bos, eos;
  const unsigned char *charsmap;
  size_t ncharsmap;
  uint64_t dummy_prefix, squeeze, escape;
};

/* --- the wire format -------------------------------------------------------------------- */

struct field {
  uint64_t number, value; /* value of a varint, or the length */
  const unsigned char *data;
  float f32;
};

static int varint(struct zf_bytes *b, uint64_t *out) {
  *out = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    uint8_t byte;
    int rc = zf_bytes_u8(b, &byte);
    if (rc) return rc;
    *out |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return 0;
  }
  return zf_error(ZF_EINVALID, "byte %zu: a number of more than ten bytes", b->pos);
}

/* The next field; 0, or a code.  Call while the cursor is not at its end. */
static int next(struct zf_bytes *b, struct field *f) {
  uint64_t key, wide;
  memset(f, 0, sizeof *f);
  int rc = varint(b, &key);
  if (rc) return rc;
  f->number = key >> 3;
  switch (key & 7) {
    case 0:
      return varint(b, &f->value);
    case 1:
      return zf_bytes_u64(b, &wide);
    case 2:
      rc = varint(b, &f->value);
      return rc ? rc : zf_bytes_take(b, f->value, &f->data);
    case 5:
      return zf_bytes_f32(b, &f->f32);
    default:
      return zf_error(ZF_EINVALID, "byte %zu: wire type %d", b->pos, (int)(key & 7));
  }
}

static struct zf_bytes inside(const struct field *f) {
  return (struct zf_bytes){.data = f->data, .len = (size_t)f->value};
}

/* --- the message ---------------------------------------------------------------------- */

static int add_token(struct spm *m, const char *text, size_t n, int64_t id, int special) {
  json_t *token = json_pack("{s:I, s:s%, s:b, s:b}", "id", (json_int_t)id, "content", text, n,
                            "normalized", 0, "special", special);
  return json_array_append_new(m->added, token) ? zf_error(ZF_ENOMEM, "out of memory") : 0;
}

static int read_piece(struct spm *m, const struct field *outer) {
  struct zf_bytes b = inside(outer);
  struct field f;
  const char *text = "";
  size_t n = 0;
  double score = 0;
  uint64_t kind = ZF_PIECE_NORMAL;
  int64_t id = (int64_t)json_array_size(m->pieces);
  int rc = 0;
  while (!rc && b.pos < b.len) {
    rc = next(&b, &f);
    if (!rc && f.number == 1 && f.data) text = (const char *)f.data, n = (size_t)f.value;
    if (f.number == 2) score = (double)f.f32;
    if (f.number == 3) kind = f.value;
  }
  if (!rc && (zf_utf8_bad(text, n) >= 0 || memchr(text, 0, n) || !n || !(score - score == 0)))
    rc = zf_error(ZF_EINVALID, "piece %lld is not a text with a score", (long long)id);
  if (!rc && id == PIECES) rc = zf_error(ZF_EINVALID, "more than %d pieces", PIECES);
  if (rc) return rc;
  if (json_array_append_new(m->pieces, json_stringn(text, n)) ||
      json_array_append_new(m->scores, json_real(score)) ||
      json_array_append_new(m->types, json_integer((json_int_t)kind)))
    return zf_error(ZF_ENOMEM, "out of memory");
  if (kind == ZF_PIECE_UNKNOWN) m->unk = (uint64_t)id;
  if (kind == ZF_PIECE_UNKNOWN || kind == ZF_PIECE_CONTROL || kind == ZF_PIECE_USER)
    rc = add_token(m, text, n, id, kind != ZF_PIECE_USER);
  return rc;
}

static int read_spec(const struct field *outer, const uint64_t *number, uint64_t *const *out,
                     int count, const unsigned char **data, size_t *len) {
  struct zf_bytes b = inside(outer);
  struct field f;
  int rc = 0;
  while (!rc && b.pos < b.len) {
    rc = next(&b, &f);
    for (int i = 0; !rc && i < count; i++)
      if (f.number == number[i] && !f.data) *out[i] = f.value;
    if (!rc && data && f.number == 2 && f.data) *data = f.data, *len = (size_t)f.value;
  }
  return rc;
}

static int read_model(struct spm *m, const char *bytes, size_t len) {
  struct zf_bytes b = {.data = (const unsigned char *)bytes, .len = len};
  static const uint64_t trainer[] = {3, 35, 41, 42}, normalizer[] = {3, 4, 5};
  uint64_t *const t[] = {&m->model, &m->byte_fallback, &m->bos, &m->eos};
  uint64_t *const n[] = {&m->dummy_prefix, &m->squeeze, &m->escape};
  struct field f;
  int rc = 0;
  while (!rc && b.pos < b.len) {
    rc = next(&b, &f);
    if (rc || !f.data) continue;
    if (f.number == 1) rc = read_piece(m, &f);
    if (f.number == 2) rc = read_spec(&f, trainer, t, 4, NULL, NULL);
    if (f.number == 3) rc = read_spec(&f, normalizer, n, 3, &m->charsmap, &m->ncharsmap);
  }
  if (!rc && m->model != 1 && m->model != 2)
    rc = zf_error(ZF_EINVALID, "model type %llu; there are 1 (unigram) and 2 (bpe)",
                  (unsigned long long)m->model);
  if (!rc && m->unk >= json_array_size(m->pieces))
    rc = zf_error(ZF_EINVALID, "no piece is the unknown one");
  return rc ? zf_error_prefix(rc, "%s: not a SentencePiece model", m->name) : 0;
}

/* --- as JSON ------------------------------------------------------------------------------- */

static char *base64(const unsigned char *p, size_t n) {
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *out = zf_malloc(n / 3 * 4 + 5), *o = out;
  for (size_t i = 0; out && i < n; i += 3) {
    uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                 (i + 2 < n ? (uint32_t)p[i + 2] : 0);
    for (int k = 0; k < 4 && i + (size_t)k <= n; k++) *o++ = digit[v >> (18 - 6 * k) & 63];
  }
  if (out) *o = 0;
  return out;
}

static json_t *normalizer(const struct spm *m) {
  char *map = m->ncharsmap ? base64(m->charsmap, m->ncharsmap) : NULL;
  json_t *out = json_pack("{s:s, s:s*, s:b, s:b, s:b}", "type", ZF_SPM_KEY, "precompiled_charsmap",
                          map, "add_dummy_prefix", m->dummy_prefix != 0, "remove_extra_whitespaces",
                          m->squeeze != 0, "escape_whitespaces", m->escape != 0);
  free(map);
  return out;
}

static json_t *decoder(const struct spm *m) {
  return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}, {s:s, s:s, s:i, s:i}]}", "type",
                   "Sequence", "decoders", "type", "Replace", "pattern", "String", "\xE2\x96\x81",
                   "content", " ", "type", "ByteFallback", "type", "Fuse", "type", "Strip",
                   "content", " ", "start", (int)m->dummy_prefix, "stop", 0);
}

/* Which of bos and eos go around a text: as the configuration says, else as the class
 * of tokenizer has it, else, as in Llama, bos before BPE. */
static void around(const struct spm *m, const json_t *config, int *bos, int *eos) {
  const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
  const json_t *b = json_object_get(config, "add_bos_token");
  const json_t *e = json_object_get(config, "add_eos_token");
  *eos = class && !strncmp(class, "T5Tokenizer", 11);
  *bos = class ? !strncmp(class, "LlamaTokenizer", 14) || !strncmp(class, "GemmaTokenizer", 14)
               : m->model == 2;
  if (json_is_boolean(b)) *bos = json_is_true(b);
  if (json_is_boolean(e)) *eos = json_is_true(e);
}

static int add_item(json_t *single, json_t *special, const struct spm *m, uint64_t id) {
  const json_t *piece = json_array_get(m->pieces, id);
  if (!piece) return 0;
  const char *name = json_string_value(piece);
  return json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", name)) |
         json_object_set_new(special, name, json_pack("{s:[I]}", "ids", (json_int_t)id));
}

static json_t *post_processor(const struct spm *m, const json_t *config) {
  json_t *single = json_array(), *special = json_object();
  int bos, eos, rc = 0;
  around(m, config, &bos, &eos);
  if (bos) rc = add_item(single, special, m, m->bos);
  rc |= json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
  if (eos) rc |= add_item(single, special, m, m->eos);
  json_t *out = json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                          "special_tokens", special);
  if (!rc) return out;
  json_decref(out);
  return NULL;
}

/* SentencePiece never finds added tokens in a text; Transformers cuts them out first, and where no class of
 * its own says otherwise each stretch between them is a text with its own mark, or (legacy: false) the
 * first alone. */
static json_t *stretches(const struct spm *m, int legacy) {
  json_t *steps = json_array();
  if (m->squeeze) {
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", "\\A +| +\\z", "content", ""));
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", " {2,}", "content", " "));
  }
  json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                         "String", " ", "content", MARK));
  if (m->dummy_prefix && legacy) /* Metaspace puts no mark before a mark */
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "Regex", "\\A" MARK, "content", MARK MARK));
  json_t *cut = m->dummy_prefix
                    ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", MARK,
                                "prepend_scheme", legacy ? "always" : "first", "split", 0)
                    : json_null();
  return json_pack("{s:{s:s, s:o}, s:o}", "normalizer", "type", "Sequence", "normalizers", steps,
                   "pre_tokenizer", cut);
}

static json_t *assemble_alone(const struct spm *m, const json_t *config) {
  return json_pack("{s:O, s:o, s:o, s:o, s:{s:s, s:b, s:O, s:O, s:O, s:I, s:b}}", "added_tokens",
                   m->added, "normalizer", normalizer(m), "post_processor",
                   post_processor(m, config), "decoder", decoder(m), "model", "type",
                   m->model == 1 ? "Unigram" : "BPE", ZF_SPM_KEY, 1, "pieces", m->pieces, "scores",
                   m->scores, "types", m->types, "unk_id", (json_int_t)m->unk, "byte_fallback",
                   m->byte_fallback != 0);
}

/* The special tokens that the model itself names. */
static json_t *named(const struct spm *m) {
  const struct {
    const char *key;
    uint64_t id;
  } token[] = {{"bos_token", m->bos}, {"eos_token", m->eos}, {"unk_token", m->unk}};
  json_t *out = json_object();
  for (int i = 0; i < 3; i++) {
    json_t *piece = json_array_get(m->pieces, token[i].id);
    if (piece) json_object_set(out, token[i].key, piece);
  }
  return out;
}

static json_t *assemble(const struct spm *m, const struct zf_tok_settings *b) {
  json_t *out = assemble_alone(m, b ? b->config : NULL);
  int plain = b && !b->class && m->model == 2 && !m->ncharsmap && m->escape;
  if (out && b && !b->class) json_object_set_new(out, ZF_NAMED_KEY, named(m));
  json_t *parts = out && plain ? stretches(m, zf_tok_settings_flag(b, "legacy", 1)) : NULL;
  if (out && plain && (!parts || json_object_update(out, parts))) {
    json_decref(out);
    out = NULL;
  }
  json_decref(parts);
  return out;
}

int zf_spm_parse(json_t **out, const char *bytes, size_t len, const char *name,
                 const struct zf_tok_settings *b) {
  struct spm m = {.name = name,
                  .model = 1,
                  .unk = UINT64_MAX,
                  .bos = 1,
                  .eos = 2,
                  .dummy_prefix = 1,
                  .squeeze = 1,
                  .escape = 1};
  json_t **const list[] = {&m.pieces, &m.scores, &m.types, &m.added};
  int rc = 0;
  for (int i = 0; i < 4; i++)
    if (!(*list[i] = json_array())) rc = zf_error(ZF_ENOMEM, "%s: out of memory", name);
  *out = NULL;
  if (!rc) rc = read_model(&m, bytes, len);
  if (!rc && !(*out = assemble(&m, b))) rc = zf_error(ZF_ENOMEM, "%s: out of memory", name);
  for (int i = 0; i < 4; i++) json_decref(*list[i]);
  return rc;
}

int zf_spm_load(json_t **out, const char *path, const struct zf_tok_settings *b) {
  char *bytes = NULL;
  size_t len = 0;
  int rc = zf_read_file(&bytes, &len, path, SPM_MAX);
  if (!rc) rc = zf_spm_parse(out, bytes, len, path, b);
  free(bytes);
  return rc;
}
