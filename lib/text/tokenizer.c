/* Tokenizers: opening, encoding, decoding.  text_internal.h describes the parts. */
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "text_internal.h"

static const struct zf_model_row *const models[] = {&zf_bpe_row, &zf_unigram_row, &zf_wordpiece_row,
                                                    &zf_wordlevel_row};
enum { MODELS = sizeof models / sizeof *models };

/* --- opening ---------------------------------------------------------------------- */

/* The oldest files have no type in the model; BPE alone has merges. */
static const char *model_type(const json_t *def) {
  const json_t *type = json_object_get(def, "type");
  if (json_is_string(type)) return json_string_value(type);
  return json_object_get(def, "merges") ? "BPE" : "(none)";
}

static int parse_model(struct zf_tok *tok, const json_t *root) {
  const json_t *def = json_object_get(root, "model");
  char where[512];
  if (!json_is_object(def))
    return zf_error(ZF_EINVALID, "%s: model: expected an object, found %s", tok->name,
                    zf_json_kind(def));
  const char *type = model_type(def);
  for (int i = 0; i < MODELS; i++)
    if (!strcmp(models[i]->name, type)) tok->model = models[i];
  snprintf(where, sizeof where, "%s: model: %s", tok->name, type);
  if (!tok->model)
    return zf_error(ZF_EINVALID, "%s: model: type '%s' is not supported; there are %s, %s, %s, %s",
                    tok->name, type, models[0]->name, models[1]->name, models[2]->name,
                    models[3]->name);
  return tok->model->parse(&tok->model_self, &tok->vocab, def, where);
}

/* Added tokens: those of tokenizer.json, then those of the settings files. */
static int parse_added(struct zf_tok *tok, const json_t *root,
                       const struct zf_tok_settings *settings) {
  const json_t *listed = json_object_get(root, "added_tokens");
  json_t *extra = NULL;
  int rc = settings ? zf_tok_settings_tokens(&extra, settings, listed, &tok->vocab) : 0;
  if (!rc) rc = zf_added_parse(&tok->added, listed, extra, tok);
  json_decref(extra);
  tok->size = tok->vocab.id_end;
  if (tok->added.count && tok->added.token[tok->added.count - 1].id >= tok->size)
    tok->size = tok->added.token[tok->added.count - 1].id + (int64_t)1;
  return rc;
}

/* CLS before and SEP after every text, as in BERT and RoBERTa. */
static json_t *cls_sep_processor(const struct zf_tok *tok, const struct zf_tok_settings *settings,
                                 int trim) {
  int32_t cls = tok->special[ZF_CLS].id, sep = tok->special[ZF_SEP].id;
  if (cls < 0 || sep < 0) return json_null();
  json_t *out =
      json_pack("{s:s, s:[s, i], s:[s, i]}", "type", trim ? "RobertaProcessing" : "BertProcessing",
                "sep", zf_tok_piece(tok, sep), sep, "cls", zf_tok_piece(tok, cls), cls);
  if (!trim || !out) return out;
  json_object_set_new(out, "trim_offsets",
                      json_boolean(zf_tok_settings_flag(settings, "trim_offsets", 1)));
  json_object_set_new(out, "add_prefix_space",
                      json_boolean(zf_tok_settings_flag(settings, "add_prefix_space", 0)));
  return out;
}

/* BOS before and EOS after a text, if the flags ask for them. */
static json_t *bos_eos_processor(const struct zf_tok *tok, const struct zf_tok_settings *settings) {
  static const char *const flag[] = {"add_bos_token", "add_eos_token"};
  json_t *single = json_array(), *tokens = json_object();
  for (int i = 0; i < 2; i++) {
    int32_t id = tok->special[i ? ZF_EOS : ZF_BOS].id;
    if (i) json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    if (id < 0 || !zf_tok_settings_flag(settings, flag[i], 0)) continue;
    const char *piece = zf_tok_piece(tok, id);
    json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", piece));
    json_object_set_new(tokens, piece, json_pack("{s:[i]}", "ids", id));
  }
  return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                   "special_tokens", tokens);
}

static int parse_postprocessor(struct zf_tok *tok, const json_t *root,
                               const struct zf_tok_settings *settings) {
  const char *kind = json_string_value(json_object_get(root, ZF_POST_KIND_KEY));
  if (!kind || !settings)
    return zf_chain_parse(&tok->postprocessor, &zf_postprocessors,
                          json_object_get(root, "post_processor"), tok);
  json_t *def = strncmp(kind, "cls", 3)
                    ? bos_eos_processor(tok, settings)
                    : cls_sep_processor(tok, settings, strstr(kind, "trim") != NULL);
  int rc = def ? zf_chain_parse(&tok->postprocessor, &zf_postprocessors, def, tok)
               : zf_error(ZF_ENOMEM, "%s: out of memory", tok->name);
  json_decref(def);
  return rc;
}

static int parse_parts(struct zf_tok *tok, const json_t *root,
                       const struct zf_tok_settings *settings) {
  int rc =
      zf_chain_parse(&tok->normalizer, &zf_normalizers, json_object_get(root, "normalizer"), tok);
  if (!rc)
    rc = zf_chain_parse(&tok->pretokenizer, &zf_pretokenizers,
                        json_object_get(root, "pre_tokenizer"), tok);
  if (!rc) rc = parse_postprocessor(tok, root, settings);
  if (!rc) rc = zf_chain_parse(&tok->decoder, &zf_decoders, json_object_get(root, "decoder"), tok);
  return rc ? rc : zf_added_index(&tok->added, tok);
}

static int check_version(const struct zf_tok *tok, const json_t *root) {
  const char *version = "1.0";
  if (!json_is_object(root))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", tok->name, zf_json_kind(root));
  int rc = zf_json_str(&version, root, "version", tok->name);
  if (rc || !strcmp(version, "1.0")) return rc;
  return zf_error(ZF_EINVALID, "%s: version '%s', but only 1.0 is known", tok->name, version);
}

static int parse_root(struct zf_tok *tok, const json_t *root,
                      const struct zf_tok_settings *settings) {
  int rc = check_version(tok, root);
  if (!rc) rc = parse_model(tok, root);
  if (!rc) rc = parse_added(tok, root, settings);
  if (!rc) rc = zf_specials_read(tok, settings, json_object_get(root, ZF_SPECIAL_NAMES_KEY));
  if (!rc) rc = parse_parts(tok, root, settings);
  if (rc) return rc;
  tok->needs_offsets =
      zf_chain_needs_offsets(&tok->normalizer) || zf_chain_needs_offsets(&tok->pretokenizer);
  int byte_level =
      zf_chain_has(&tok->pretokenizer, "ByteLevel") || zf_chain_has(&tok->normalizer, "ByteLevel");
  snprintf(tok->type, sizeof tok->type, "%s%s", byte_level ? "byte-level " : "",
           tok->model->describe(tok->model_self));
  return 0;
}

int zf_tok_build(struct zf_tok **out, const json_t *root, const struct zf_tok_settings *settings,
                 const char *name) {
  *out = NULL;
  struct zf_tok *tok = zf_calloc(1, sizeof *tok);
  if (!tok) return ZF_ENOMEM;
  tok->name = zf_strdup(name);
  int rc = tok->name ? parse_root(tok, root, settings) : ZF_ENOMEM;
  if (rc) {
    zf_tok_free(tok);
    return rc;
  }
  *out = tok;
  return 0;
}

static int load_json(json_t **out, const char *path, const struct zf_tok_settings *settings) {
  (void)settings;
  return zf_json_load(out, path);
}

/* The files that may hold a tokenizer.  The first one that exists is read. */
static const struct {
  const char *name;
  int (*load)(json_t **out, const char *path, const struct zf_tok_settings *settings);
  const char *class; /* the class if no file names one */
} files[] = {{"tokenizer.json", load_json, NULL},
             {"vocab.json", zf_classic_load, NULL},
             {"tokenizer.model", zf_spm_load, NULL},
             {"spiece.model", zf_spm_load, NULL},
             {"vocab.txt", zf_classic_bert, "BertTokenizer"}};
enum { FILES = sizeof files / sizeof *files };

static int load_root(json_t **out, char **path, const char *dir, struct zf_tok_settings *settings) {
  for (int i = 0; i < FILES; i++) {
    free(*path);
    *path = zf_path_join(dir, files[i].name);
    if (!*path) return ZF_ENOMEM;
    if (!zf_exists(*path)) continue;
    if (!settings->class) settings->class = zf_tok_class_named(files[i].class);
    return files[i].load(out, *path, settings);
  }
  return zf_error(ZF_EUSAGE,
                  "%s: no tokenizer: none of tokenizer.json, vocab.json with merges.txt, "
                  "tokenizer.model, vocab.txt",
                  dir);
}

int zf_tok_open_gguf(struct zf_tok **out, const char *path) {
  json_t *root = NULL;
  struct zf_gguf gguf;
  *out = NULL;
  int rc = zf_gguf_open(&gguf, path, 1);
  if (rc) return rc;
  rc = zf_gguf_tok_keys(&root, gguf.keys, path);
  if (!rc) rc = zf_tok_build(out, root, NULL, path);
  if (!rc && (rc = zf_specials_gguf(*out, gguf.keys))) {
    zf_tok_free(*out);
    *out = NULL;
  }
  json_decref(root);
  zf_gguf_free(&gguf);
  return rc;
}

int zf_tok_load_root(json_t **root, char **path, struct zf_tok_settings *settings,
                     const char *dir) {
  *root = NULL;
  *path = NULL;
  int rc = zf_tok_settings_load(settings, dir);
  if (!rc) rc = load_root(root, path, dir, settings);
  return rc ? rc : zf_tok_rebuild(*root, settings);
}

static int open_dir(struct zf_tok **out, const char *dir) {
  struct zf_tok_settings settings;
  json_t *root;
  char *path;
  *out = NULL;
  int rc = zf_tok_load_root(&root, &path, &settings, dir);
  if (!rc) rc = zf_tok_build(out, root, &settings, path);
  json_decref(root);
  zf_tok_settings_free(&settings);
  free(path);
  return rc;
}

int zf_tok_open(struct zf_tok **out, const char *dir) {
  int64_t before = zf_json_failures();
  int file = zf_is_gguf_path(dir) && !zf_is_dir(dir);
  int rc =
      zf_json_check_memory(file ? zf_tok_open_gguf(out, dir) : open_dir(out, dir), before, dir);
  if (!rc && !((*out)->dir = zf_strdup(dir))) rc = ZF_ENOMEM;
  if (!rc) return 0;
  zf_tok_free(*out);
  *out = NULL;
  return rc;
}

int zf_tok_parse(struct zf_tok **out, const char *json, size_t len, const char *name) {
  json_t *root = NULL;
  *out = NULL;
  int rc = zf_json_parse(&root, json, len, name);
  if (!rc) rc = zf_tok_build(out, root, NULL, name);
  json_decref(root);
  return rc;
}

void zf_tok_free(struct zf_tok *tok) {
  if (!tok) return;
  zf_chain_free(&tok->decoder);
  zf_chain_free(&tok->postprocessor);
  zf_chain_free(&tok->pretokenizer);
  zf_chain_free(&tok->normalizer);
  zf_added_free(&tok->added);
  if (tok->model) tok->model->free(tok->model_self);
  zf_vocab_free(&tok->vocab);
  zf_specials_free(tok);
  free(tok->name);
  free(tok->dir);
  free(tok);
}

/* --- encoding --------------------------------------------------------------------- */

static int encode(struct zf_encoding *encoding) {
  const struct zf_tok *tok = encoding->tok;
  int rc = zf_ids_reserve(encoding->ids, encoding->original_len / 4,
                          (encoding->flags & ZF_ENC_OFFSETS) != 0);
  if (!rc) rc = zf_added_cut(&tok->added, &tok->added.raw, encoding);
  if (!rc) rc = zf_chain_apply(&tok->normalizer, encoding);
  if (!rc) rc = zf_added_cut(&tok->added, &tok->added.normal, encoding);
  if (!rc) rc = zf_chain_apply(&tok->pretokenizer, encoding);
  if (!rc) rc = tok->model->encode(tok->model_self, encoding);
  return rc ? rc : zf_chain_apply(&tok->postprocessor, encoding);
}

int zf_tok_encode(const struct zf_tok *tok, struct zf_ids *ids, const char *text, size_t len,
                  unsigned flags) {
  struct zf_encoding encoding;
  int64_t first = ids->count;
  int rc =
      zf_encoding_open(&encoding, tok, text, len, tok->needs_offsets || (flags & ZF_ENC_OFFSETS));
  encoding.ids = ids;
  encoding.first_id = first;
  encoding.flags = flags;
  if (!rc) rc = encode(&encoding);
  if (rc) ids->count = first;
  zf_encoding_close(&encoding);
  return rc;
}

/* --- decoding --------------------------------------------------------------------- */

/* The pieces of the ids as one text, with a span for each. */
static int join_pieces(struct zf_encoding *encoding, const int32_t *ids, int64_t count,
                       int skip_special) {
  encoding->max_len = INT64_MAX;
  int rc = zf_encoding_reserve(encoding, count + 1);
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) {
    const struct zf_added_token *token = zf_added_find(&encoding->tok->added, ids[i]);
    const char *piece = token && token->shown ? token->shown : zf_tok_piece(encoding->tok, ids[i]);
    if (!piece)
      return zf_error(ZF_EUSAGE, "token id %d is not in the vocabulary of %s", ids[i],
                      encoding->tok->name);
    if (skip_special && token && token->special) continue;
    int64_t off = encoding->new_text.len;
    rc = zf_text_buf_add(encoding, piece, (int64_t)strlen(piece), 0, 0);
    if (!rc) rc = zf_encoding_add_span(encoding, off, encoding->new_text.len - off, -1);
    if (rc) return rc;
  }
  zf_encoding_set_limit(encoding, encoding->new_text.len);
  zf_encoding_swap_text(encoding);
  zf_encoding_swap_spans(encoding);
  return 0;
}

/* Appends the text of the spans.  Without a decoder they are words, separated by spaces. */
static int append_spans(const struct zf_encoding *encoding, struct zf_buf *out) {
  for (int64_t i = 0; i < encoding->span_count; i++) {
    const struct zf_span *span = &encoding->span[i];
    if (i && !encoding->tok->decoder.count) zf_buf_putc(out, ' ');
    zf_buf_add(out, encoding->text.data + span->off, (size_t)span->len);
  }
  return zf_buf_ok(out);
}

int zf_tok_decode(const struct zf_tok *tok, struct zf_buf *out, const int32_t *ids, int64_t count,
                  int skip_special) {
  struct zf_encoding encoding;
  size_t old_len = out->len;
  int rc = zf_encoding_open(&encoding, tok, "", 0, 0);
  if (!rc) rc = join_pieces(&encoding, ids, count, skip_special);
  if (!rc) rc = zf_chain_apply(&tok->decoder, &encoding);
  if (!rc) rc = append_spans(&encoding, out);
  if (rc) out->len = old_len;
  zf_encoding_close(&encoding);
  return rc;
}

/* --- asking ----------------------------------------------------------------------- */

int64_t zf_tok_size(const struct zf_tok *tok) {
  return tok->size;
}

const char *zf_tok_piece(const struct zf_tok *tok, int32_t id) {
  const struct zf_added_token *token = zf_added_find(&tok->added, id);
  return token ? token->content : zf_vocab_piece(&tok->vocab, id);
}

int32_t zf_tok_id(const struct zf_tok *tok, const char *piece) {
  for (int64_t i = 0; i < tok->added.count; i++)
    if (!strcmp(tok->added.token[i].content, piece)) return tok->added.token[i].id;
  return zf_vocab_find(&tok->vocab, piece, (int64_t)strlen(piece));
}

int zf_tok_check_ids(const struct zf_tok *tok, const int32_t *ids, int64_t count, int64_t vocab) {
  for (int64_t i = 0; i < count; i++) {
    if (ids[i] >= 0 && ids[i] < vocab) continue;
    const char *piece = zf_tok_piece(tok, ids[i]);
    return zf_error(ZF_EINVALID,
                    "token %lld, '%.60s', has the id %d, outside the model's vocabulary of %lld: "
                    "remove it from the text, or give the model a row for it",
                    (long long)i + 1, piece ? piece : "?", ids[i], (long long)vocab);
  }
  return 0;
}

int zf_tok_is_special(const struct zf_tok *tok, int32_t id) {
  const struct zf_added_token *token = zf_added_find(&tok->added, id);
  return token && token->special;
}

const char *zf_tok_type(const struct zf_tok *tok) {
  return tok->type;
}
