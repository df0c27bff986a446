/* Tokenizers: opening, encoding, decoding; the parts are in the files beside. */
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

/* The first files had no type in the model; BPE alone has merges. */
static const char *model_type(const json_t *def) {
  const json_t *type = json_object_get(def, "type");
  if (json_is_string(type)) return json_string_value(type);
  return json_object_get(def, "merges") ? "BPE" : "(none)";
}

static int parse_model(struct zf_tok *t, const json_t *root) {
  const json_t *def = json_object_get(root, "model");
  char where[512];
  if (!json_is_object(def))
    return zf_error(ZF_EINVALID, "%s: model: expected an object, found %s", t->name,
                    zf_json_kind(def));
  const char *type = model_type(def);
  for (int i = 0; i < MODELS; i++)
    if (!strcmp(models[i]->name, type)) t->model = models[i];
  snprintf(where, sizeof where, "%s: model: %s", t->name, type);
  if (!t->model)
    return zf_error(ZF_EINVALID, "%s: model: type '%s' is not supported; there are %s, %s, %s, %s",
                    t->name, type, models[0]->name, models[1]->name, models[2]->name,
                    models[3]->name);
  return t->model->parse(&t->model_self, &t->vocab, def, where);
}

/* Added tokens: the file's own, then those that the files beside it name. */
static int parse_added(struct zf_tok *t, const json_t *root, const struct zf_tok_settings *b) {
  const json_t *own = json_object_get(root, "added_tokens");
  json_t *more = NULL;
  int rc = b ? zf_tok_settings_tokens(&more, b, own, &t->vocab) : 0;
  if (!rc) rc = zf_added_parse(&t->added, own, more, t);
  json_decref(more);
  t->size = t->vocab.nid;
  if (t->added.count && t->added.token[t->added.count - 1].id >= t->size)
    t->size = t->added.token[t->added.count - 1].id + (int64_t)1;
  return rc;
}

/* CLS and SEP around every text, as BERT and RoBERTa have them. */
static json_t *around_cls(const struct zf_tok *t, const struct zf_tok_settings *b, int trim) {
  int32_t cls = t->special[ZF_CLS].id, sep = t->special[ZF_SEP].id;
  if (cls < 0 || sep < 0) return json_null();
  json_t *out =
      json_pack("{s:s, s:[s, i], s:[s, i]}", "type", trim ? "RobertaProcessing" : "BertProcessing",
                "sep", zf_tok_piece(t, sep), sep, "cls", zf_tok_piece(t, cls), cls);
  if (!trim || !out) return out;
  json_object_set_new(out, "trim_offsets",
                      json_boolean(zf_tok_settings_flag(b, "trim_offsets", 1)));
  json_object_set_new(out, "add_prefix_space",
                      json_boolean(zf_tok_settings_flag(b, "add_prefix_space", 0)));
  return out;
}

/* BOS before and EOS after a text where the flags ask for them. */
static json_t *around_bos(const struct zf_tok *t, const struct zf_tok_settings *b) {
  static const char *const flag[] = {"add_bos_token", "add_eos_token"};
  json_t *single = json_array(), *tokens = json_object();
  for (int i = 0; i < 2; i++) {
    int32_t id = t->special[i ? ZF_EOS : ZF_BOS].id;
    if (i) json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
    if (id < 0 || !zf_tok_settings_flag(b, flag[i], 0)) continue;
    const char *piece = zf_tok_piece(t, id);
    json_array_append_new(single, json_pack("{s:{s:s}}", "SpecialToken", "id", piece));
    json_object_set_new(tokens, piece, json_pack("{s:[i]}", "ids", id));
  }
  return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single,
                   "special_tokens", tokens);
}

static int parse_postprocessor(struct zf_tok *t, const json_t *root,
                               const struct zf_tok_settings *b) {
  const char *around = json_string_value(json_object_get(root, ZF_AROUND_KEY));
  if (!around || !b)
    return zf_chain_parse(&t->postprocessor, &zf_postprocessors,
                          json_object_get(root, "post_processor"), t);
  json_t *def = strncmp(around, "cls", 3) ? around_bos(t, b)
                                          : around_cls(t, b, strstr(around, "trim") != NULL);
  int rc = def ? zf_chain_parse(&t->postprocessor, &zf_postprocessors, def, t)
               : zf_error(ZF_ENOMEM, "%s: out of memory", t->name);
  json_decref(def);
  return rc;
}

static int parse_parts(struct zf_tok *t, const json_t *root, const struct zf_tok_settings *b) {
  int rc = zf_chain_parse(&t->normalizer, &zf_normalizers, json_object_get(root, "normalizer"), t);
  if (!rc)
    rc = zf_chain_parse(&t->pretokenizer, &zf_pretokenizers, json_object_get(root, "pre_tokenizer"),
                        t);
  if (!rc) rc = parse_postprocessor(t, root, b);
  if (!rc) rc = zf_chain_parse(&t->decoder, &zf_decoders, json_object_get(root, "decoder"), t);
  return rc ? rc : zf_added_index(&t->added, t);
}

static int parse_root(struct zf_tok *t, const json_t *root, const struct zf_tok_settings *b) {
  const char *version = "1.0";
  if (!json_is_object(root))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", t->name, zf_json_kind(root));
  int rc = zf_json_str(&version, root, "version", t->name);
  if (!rc && strcmp(version, "1.0"))
    rc = zf_error(ZF_EINVALID, "%s: version '%s', but only 1.0 is known", t->name, version);
  if (!rc) rc = parse_model(t, root);
  if (!rc) rc = parse_added(t, root, b);
  if (!rc) rc = zf_specials_read(t, b, json_object_get(root, ZF_NAMED_KEY));
  if (!rc) rc = parse_parts(t, root, b);
  if (rc) return rc;
  t->places = zf_chain_places(&t->normalizer) || zf_chain_places(&t->pretokenizer);
  int byte_level =
      zf_chain_has(&t->pretokenizer, "ByteLevel") || zf_chain_has(&t->normalizer, "ByteLevel");
  snprintf(t->type, sizeof t->type, "%s%s", byte_level ? "byte-level " : "",
           t->model->describe(t->model_self));
  return 0;
}

int zf_tok_build(struct zf_tok **out, const json_t *root, const struct zf_tok_settings *b,
                 const char *name) {
  *out = NULL;
  struct zf_tok *t = zf_calloc(1, sizeof *t);
  if (!t) return ZF_ENOMEM;
  t->name = zf_strdup(name);
  int rc = t->name ? parse_root(t, root, b) : ZF_ENOMEM;
  if (rc) {
    zf_tok_free(t);
    return rc;
  }
  *out = t;
  return 0;
}

/* Files that a tokenizer may be in, the best first. */
static int load_json(json_t **out, const char *path, const struct zf_tok_settings *b) {
  (void)b;
  return zf_json_load(out, path);
}

static const struct {
  const char *name;
  int (*load)(json_t **out, const char *path, const struct zf_tok_settings *b);
  const char *class; /* where no file names one */
} files[] = {{"tokenizer.json", load_json, NULL},
             {"vocab.json", zf_classic_load, NULL},
             {"tokenizer.model", zf_spm_load, NULL},
             {"spiece.model", zf_spm_load, NULL},
             {"vocab.txt", zf_classic_bert, "BertTokenizer"}};
enum { FILES = sizeof files / sizeof *files };

static int load_root(json_t **out, char **path, const char *dir, struct zf_tok_settings *b) {
  for (int i = 0; i < FILES; i++) {
    free(*path);
    *path = zf_path_join(dir, files[i].name);
    if (!*path) return ZF_ENOMEM;
    if (!zf_exists(*path)) continue;
    if (!b->class) b->class = zf_tok_class_named(files[i].class);
    return files[i].load(out, *path, b);
  }
  return zf_error(ZF_EUSAGE,
                  "%s: no tokenizer: none of tokenizer.json, vocab.json with merges.txt, "
                  "tokenizer.model, vocab.txt",
                  dir);
}

static int open_gguf(struct zf_tok **out, const char *path) {
  json_t *root = NULL;
  struct zf_gguf g;
  *out = NULL;
  int rc = zf_gguf_open(&g, path, 1);
  if (rc) return rc;
  rc = zf_gguf_tok_keys(&root, g.keys, path);
  if (!rc) rc = zf_tok_build(out, root, NULL, path);
  if (!rc && (rc = zf_specials_gguf(*out, g.keys))) {
    zf_tok_free(*out);
    *out = NULL;
  }
  json_decref(root);
  zf_gguf_free(&g);
  return rc;
}

static int open_dir(struct zf_tok **out, const char *dir) {
  struct zf_tok_settings b;
  json_t *root = NULL;
  char *path = NULL;
  *out = NULL;
  int rc = zf_tok_settings_load(&b, dir);
  if (!rc) rc = load_root(&root, &path, dir, &b);
  if (!rc) rc = zf_tok_rebuild(root, &b);
  if (!rc) rc = zf_tok_build(out, root, &b, path);
  json_decref(root);
  zf_tok_settings_free(&b);
  free(path);
  return rc;
}

int zf_tok_open(struct zf_tok **out, const char *dir) {
  int64_t before = zf_json_failures();
  int file = zf_gguf_named(dir) && !zf_is_dir(dir);
  int rc = zf_json_checked(file ? open_gguf(out, dir) : open_dir(out, dir), before, dir);
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

void zf_tok_free(struct zf_tok *t) {
  if (!t) return;
  zf_chain_free(&t->decoder);
  zf_chain_free(&t->postprocessor);
  zf_chain_free(&t->pretokenizer);
  zf_chain_free(&t->normalizer);
  zf_added_free(&t->added);
  if (t->model) t->model->free(t->model_self);
  zf_vocab_free(&t->vocab);
  zf_specials_free(t);
  free(t->name);
  free(t);
}

/* --- encoding --------------------------------------------------------------------- */

static int encode(struct zf_encoding *w) {
  const struct zf_tok *t = w->tok;
  int rc = zf_ids_reserve(w->ids, w->given_len / 4, (w->flags & ZF_ENC_OFFSETS) != 0);
  if (!rc) rc = zf_added_cut(&t->added, &t->added.raw, w);
  if (!rc) rc = zf_chain_apply(&t->normalizer, w);
  if (!rc) rc = zf_added_cut(&t->added, &t->added.normal, w);
  if (!rc) rc = zf_chain_apply(&t->pretokenizer, w);
  if (!rc) rc = t->model->encode(t->model_self, w);
  return rc ? rc : zf_chain_apply(&t->postprocessor, w);
}

int zf_tok_encode(const struct zf_tok *t, struct zf_ids *ids, const char *text, size_t len,
                  unsigned flags) {
  struct zf_encoding w;
  int64_t first = ids->count;
  int rc = zf_encoding_open(&w, t, text, len, t->places || (flags & ZF_ENC_OFFSETS));
  w.ids = ids;
  w.first = first;
  w.flags = flags;
  if (!rc) rc = encode(&w);
  if (rc) ids->count = first;
  zf_encoding_close(&w);
  return rc;
}

/* --- decoding --------------------------------------------------------------------- */

/* The pieces of the ids, end to end. */
static int lay_out(struct zf_encoding *w, const int32_t *ids, int64_t n, int skip_special) {
  w->limit = INT64_MAX;
  int rc = zf_encoding_reserve(w, n + 1);
  for (int64_t i = 0; !rc && i < n; i++) {
    const struct zf_added_token *a = zf_added_find(&w->tok->added, ids[i]);
    const char *piece = a && a->shown ? a->shown : zf_tok_piece(w->tok, ids[i]);
    if (!piece)
      return zf_error(ZF_EUSAGE, "token id %d is not in the vocabulary of %s", ids[i],
                      w->tok->name);
    if (skip_special && a && a->special) continue;
    int64_t off = w->next.len;
    rc = zf_text_buf_add(w, piece, (int64_t)strlen(piece), 0, 0);
    if (!rc) rc = zf_encoding_push(w, off, w->next.len - off, -1);
  }
  if (rc) return rc;
  zf_encoding_bound(w, w->next.len);
  zf_encoding_swap_text(w);
  zf_encoding_swap_pieces(w);
  return 0;
}

int zf_tok_decode(const struct zf_tok *t, struct zf_buf *out, const int32_t *ids, int64_t n,
                  int skip_special) {
  struct zf_encoding w;
  size_t had = out->len;
  int rc = zf_encoding_open(&w, t, "", 0, 0);
  if (!rc) rc = lay_out(&w, ids, n, skip_special);
  if (!rc) rc = zf_chain_apply(&t->decoder, &w);
  for (int64_t i = 0; !rc && i < w.npiece; i++) {
    if (i && !t->decoder.count) zf_buf_putc(out, ' '); /* without a decoder: words */
    zf_buf_add(out, w.cur.data + w.piece[i].off, (size_t)w.piece[i].len);
  }
  if (!rc) rc = zf_buf_ok(out);
  if (rc) out->len = had;
  zf_encoding_close(&w);
  return rc;
}

/* --- asking ----------------------------------------------------------------------- */

int64_t zf_tok_size(const struct zf_tok *t) {
  return t->size;
}

const char *zf_tok_piece(const struct zf_tok *t, int32_t id) {
  const struct zf_added_token *a = zf_added_find(&t->added, id);
  return a ? a->content : zf_vocab_piece(&t->vocab, id);
}

int32_t zf_tok_id(const struct zf_tok *t, const char *piece) {
  for (int64_t i = 0; i < t->added.count; i++)
    if (!strcmp(t->added.token[i].content, piece)) return t->added.token[i].id;
  return zf_vocab_find(&t->vocab, piece, (int64_t)strlen(piece));
}

int zf_tok_check(const struct zf_tok *t, const int32_t *ids, int64_t n, int64_t vocab) {
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] >= 0 && ids[i] < vocab) continue;
    const char *piece = zf_tok_piece(t, ids[i]);
    return zf_error(ZF_EINVALID,
                    "token %lld, '%.60s', has the id %d, outside the model's vocabulary of %lld: "
                    "take it out of "
                    "the text, or give the model a row for it",
                    (long long)i + 1, piece ? piece : "?", ids[i], (long long)vocab);
  }
  return 0;
}

int zf_tok_is_special(const struct zf_tok *t, int32_t id) {
  const struct zf_added_token *a = zf_added_find(&t->added, id);
  return a && a->special;
}

const char *zf_tok_type(const struct zf_tok *t) {
  return t->type;
}
