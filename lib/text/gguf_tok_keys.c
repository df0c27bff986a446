/* The tokenizer of a directory as the keys of a GGUF file: the inverse of gguf_tok.c.
 *
 * Ids and the texts of special tokens come from the opened tokenizer; merges, scores and the parts
 * around them come from its tokenizer.json, or what the other files become. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "fmt/json.h"
#include "text_internal.h"

#define MARK "\xE2\x96\x81"
#define PREFIX "tokenizer.ggml."

struct tok_keys {
  struct zf_gguf_values *values;
  const struct zf_tok *tok;
  const json_t *root;
  int64_t rows; /* of the model's embedding */
  int words;    /* WordPiece */
  const char *where;
};

static int set(const struct tok_keys *keys, const char *name, enum zf_gguf_value_type type,
               json_t *value) {
  char full[64];
  snprintf(full, sizeof full, PREFIX "%s", name);
  return zf_gguf_values_set(keys->values, full, type, value);
}

/* --- tokens ---------------------------------------------------------------------------------- */

static int is_byte_piece(const char *piece) {
  return strlen(piece) == 6 && !strncmp(piece, "<0x", 3) && piece[5] == '>' &&
         strspn(piece + 3, "0123456789ABCDEFabcdef") == 2;
}

/* The type of an id, enum zf_piece_type.  `scored`: of a vocabulary with pieces of bytes. */
static int type_of(const struct tok_keys *keys, int32_t id, const char *piece, int scored) {
  const struct zf_added_token *added = zf_added_find(&keys->tok->added, id);
  if (!piece) return ZF_PIECE_UNUSED;
  if (scored && id == keys->tok->special[ZF_UNK].id) return ZF_PIECE_UNKNOWN;
  if (added) return added->special ? ZF_PIECE_CONTROL : ZF_PIECE_USER;
  return scored && is_byte_piece(piece) ? ZF_PIECE_BYTE : ZF_PIECE_NORMAL;
}

/* A row of the embedding without a token gets a name that no text gives.  WordPiece: what begins a word has a
 * mark in front, and what continues one is bare. */
static json_t *token_text(const struct tok_keys *keys, int32_t id) {
  const char *piece = zf_tok_piece(keys->tok, id);
  int whole = !keys->words || zf_added_find(&keys->tok->added, id);
  char pad[32];
  snprintf(pad, sizeof pad, "[PAD%d]", id);
  if (!piece || whole) return json_string(piece ? piece : pad);
  return strncmp(piece, "##", 2) ? json_sprintf(MARK "%s", piece) : json_string(piece + 2);
}

static int set_tokens(const struct tok_keys *keys, int scored) { /* scored: as for type_of */
  json_t *tokens = json_array(), *types = json_array();
  for (int64_t id = 0; id < keys->rows; id++) {
    const char *piece = zf_tok_piece(keys->tok, (int32_t)id);
    json_array_append_new(tokens, token_text(keys, (int32_t)id));
    json_array_append_new(types, json_integer(type_of(keys, (int32_t)id, piece, scored)));
  }
  int rc = set(keys, "tokens", ZF_GGUF_TEXT, tokens);
  int types_rc = set(keys, "token_type", ZF_GGUF_I32, types);
  return rc ? rc : types_rc;
}

/* Tokens behind the rows of the embedding cannot be used; a piece among them would be made by merges. */
static int check_rows(const struct tok_keys *keys) {
  for (int64_t id = keys->rows; id < keys->tok->size; id++) {
    const char *piece = zf_vocab_piece(&keys->tok->vocab, (int32_t)id);
    if (piece && !zf_added_find(&keys->tok->added, (int32_t)id))
      return zf_error(ZF_EINVALID,
                      "%s: token '%.60s' has the id %lld, but the model has %lld rows for tokens",
                      keys->where, piece, (long long)id, (long long)keys->rows);
  }
  return 0;
}

/* --- byte-level BPE -------------------------------------------------------------------------- */

static json_t *merge_text(const json_t *merge) {
  if (json_is_string(merge)) return json_incref((json_t *)merge);
  return json_sprintf("%s %s", json_string_value(json_array_get(merge, 0)),
                      json_string_value(json_array_get(merge, 1)));
}

static int set_merges(const struct tok_keys *keys) {
  const json_t *list = json_object_get(json_object_get(keys->root, "model"), "merges"), *merge;
  json_t *merges = json_array();
  size_t i;
  json_array_foreach((json_t *)list, i, merge) {
    if (json_is_string(merge) && !strncmp(json_string_value(merge), "#version", 8)) continue;
    json_array_append_new(merges, merge_text(merge));
  }
  return set(keys, "merges", ZF_GGUF_TEXT, merges);
}

static int byte_bpe_keys(const struct tok_keys *keys) {
  const struct zf_gguf_pre *pre = NULL;
  int rc = zf_gguf_pre_of(&pre, keys->root, keys->where);
  if (rc) return rc;
  if ((rc = set(keys, "pre", ZF_GGUF_TEXT, json_stringn(pre->names, strcspn(pre->names, " ")))))
    return rc;
  if ((rc = set_tokens(keys, 0))) return rc;
  return set_merges(keys);
}

/* --- SentencePiece's BPE --------------------------------------------------------------------- */

/* Scores of the pieces that no merge makes: of characters, whose scores decide nothing, and of pieces
 * that no text gives. */
static const double NO_MERGE = -1e6;

/* The piece that a merge makes: its two halves joined. */
static int32_t merged_id(const struct tok_keys *keys, const json_t *merge, struct zf_buf *joined) {
  const char *both = json_string_value(merge), *space = both ? strchr(both, ' ') : NULL;
  zf_buf_clear(joined);
  if (space) {
    zf_buf_add(joined, both, (size_t)(space - both));
    zf_buf_puts(joined, space + 1);
  } else {
    zf_buf_puts(joined, json_string_value(json_array_get(merge, 0)));
    zf_buf_puts(joined, json_string_value(json_array_get(merge, 1)));
  }
  if (joined->failed) return -1;
  return zf_vocab_find(&keys->tok->vocab, joined->data, (int64_t)joined->len);
}

/* score[id] = minus the rank of the first merge that makes the piece: pairs merge in the same order by
 * scores as by ranks, since all merges that make a piece stand together. */
static int score_by_rank(double *score, const struct tok_keys *keys) {
  const json_t *list = json_object_get(json_object_get(keys->root, "model"), "merges"), *merge;
  struct zf_buf joined = {0};
  size_t rank;
  for (int64_t id = 0; id < keys->rows; id++) score[id] = NO_MERGE;
  json_array_foreach((json_t *)list, rank, merge) {
    int32_t id = merged_id(keys, merge, &joined);
    if (id >= 0 && id < keys->rows && score[id] == NO_MERGE) score[id] = -(double)rank;
  }
  int rc = zf_buf_ok(&joined);
  zf_buf_free(&joined);
  return rc;
}

/* The scores of a SentencePiece file. */
static int score_as_stored(double *score, const struct tok_keys *keys) {
  const json_t *list = json_object_get(json_object_get(keys->root, "model"), "scores");
  for (int64_t id = 0; id < keys->rows; id++)
    score[id] = id < (int64_t)json_array_size(list)
                    ? json_number_value(json_array_get(list, (size_t)id))
                    : NO_MERGE;
  return 0;
}

static int set_scores(const struct tok_keys *keys) {
  int stored = json_is_true(json_object_get(json_object_get(keys->root, "model"), ZF_SPM_KEY));
  double *score = zf_calloc(keys->rows + 1, sizeof *score);
  json_t *scores = json_array();
  int rc = score ? 0 : ZF_ENOMEM;
  if (!rc) rc = stored ? score_as_stored(score, keys) : score_by_rank(score, keys);
  for (int64_t id = 0; id < keys->rows; id++)
    if (!rc) json_array_append_new(scores, json_real(score[id]));
  free(score);
  if (!rc) return set(keys, "scores", ZF_GGUF_F32, scores);
  json_decref(scores);
  return rc;
}

/* The parts in front of the model: they must do what llama.cpp does, an optional space in front of the
 * text, and MARK for every space. */
static int is_known_part(const json_t *part) {
  static const char *const known[] = {"Sequence", "Prepend", "Replace", "Metaspace", "Split"};
  const char *type = json_string_value(json_object_get(part, "type"));
  const json_t *pattern = json_object_get(json_object_get(part, "pattern"), "String"), *child;
  size_t i;
  int found = 0;
  for (int k = 0; k < 5; k++) found |= type && !strcmp(type, known[k]);
  const char *regex = json_string_value(json_object_get(json_object_get(part, "pattern"), "Regex"));
  if (pattern && strcmp(json_string_value(pattern), " ") != 0) return 0;
  if (regex && strcmp(regex, "\\A" MARK) != 0) return 0; /* a space in front, as spm.c writes it */
  if (json_is_true(json_object_get(part, "split"))) return 0;
  json_array_foreach(json_object_get(part, "normalizers"), i, child) found &= is_known_part(child);
  return found;
}

static int check_parts(const struct tok_keys *keys) {
  static const char *const names[] = {"normalizer", "pre_tokenizer"};
  for (int i = 0; i < 2; i++) {
    const json_t *part = json_object_get(keys->root, names[i]);
    if (!json_is_object(part) || is_known_part(part)) continue;
    char *text = json_dumps(part, JSON_COMPACT | JSON_PRESERVE_ORDER);
    int rc = zf_error(ZF_EUSAGE, "%s: %s: llama.cpp has no such form: %.300s", keys->where,
                      names[i], text ? text : "?");
    free(text);
    return rc;
  }
  return 0;
}

/* 1 where a text begins with a MARK of its own. */
static int puts_space(const struct tok_keys *keys, int *yes) {
  struct zf_ids ids = {0};
  int rc = zf_tok_encode(keys->tok, &ids, "a", 1, 0);
  const char *piece = !rc && ids.count ? zf_tok_piece(keys->tok, ids.id[0]) : NULL;
  *yes = piece && !strncmp(piece, MARK, strlen(MARK));
  zf_ids_free(&ids);
  return rc;
}

static int sentencepiece_keys(const struct tok_keys *keys) {
  int space = 0;
  int rc = check_parts(keys);
  if (!rc) rc = set(keys, "pre", ZF_GGUF_TEXT, json_string("default"));
  if (!rc) rc = set_tokens(keys, 1);
  if (!rc) rc = set_scores(keys);
  if (!rc) rc = puts_space(keys, &space);
  return rc ? rc : set(keys, "add_space_prefix", ZF_GGUF_BOOL, json_boolean(space));
}

/* --- WordPiece ------------------------------------------------------------------------------- */

/* 1 where a flag of BERT's normalizer has this value or is absent, which means the same. */
static int flag_is(const json_t *normalizer, const char *key, int expected) {
  const json_t *flag = json_object_get(normalizer, key);
  return !json_is_boolean(flag) || json_is_true(flag) == expected;
}

static int wordpiece_keys(const struct tok_keys *keys) {
  struct tok_keys words = *keys;
  const json_t *normalizer = json_object_get(keys->root, "normalizer"),
               *model = json_object_get(keys->root, "model"),
               *lower = json_object_get(normalizer, "lowercase"),
               *strip = json_object_get(normalizer, "strip_accents");
  const char *kind = json_string_value(json_object_get(normalizer, "type")),
             *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix")),
             *split = json_string_value(
                 json_object_get(json_object_get(keys->root, "pre_tokenizer"), "type"));
  int lowercase = lower ? json_is_true(lower) : 1,
      strips = json_is_boolean(strip) ? json_is_true(strip) : lowercase;
  if (!kind || strcmp(kind, "BertNormalizer") != 0 || !split ||
      strcmp(split, "BertPreTokenizer") != 0 || !flag_is(normalizer, "clean_text", 1) ||
      !flag_is(normalizer, "handle_chinese_chars", 1) || (prefix && strcmp(prefix, "##") != 0))
    return zf_error(ZF_EUSAGE,
                    "%s: expected WordPiece with BERT's parts around it: llama.cpp has no "
                    "other form",
                    keys->where);
  words.words = 1;
  int rc = set_tokens(&words, 0);
  if (!rc) rc = set(keys, "normalizer.lowercase", ZF_GGUF_BOOL, json_boolean(lowercase));
  return rc ? rc : set(keys, "normalizer.strip_accents", ZF_GGUF_BOOL, json_boolean(strips));
}

/* --- special tokens -------------------------------------------------------------------------- */

static int set_ids(const struct tok_keys *keys) {
  static const char *const names[ZF_SPECIALS] = {
      "bos_token_id",     "eos_token_id", "unknown_token_id", "seperator_token_id",
      "padding_token_id", "cls_token_id", "mask_token_id"};
  static const char *const more[] = {"eot_token_id", "eom_token_id"};
  const struct zf_ids *ends = &keys->tok->end_ids;
  int rc = 0, used = 0;
  for (int k = 0; k < ZF_SPECIALS; k++) {
    if (rc) break;
    int32_t id = keys->tok->special[k].id;
    if (id >= 0 && id < keys->rows) rc = set(keys, names[k], ZF_GGUF_U32, json_integer(id));
  }
  for (int64_t i = 0; i < ends->count; i++)
    if (!rc && used < 2 && ends->id[i] != keys->tok->special[ZF_EOS].id && ends->id[i] < keys->rows)
      rc = set(keys, more[used++], ZF_GGUF_U32, json_integer(ends->id[i]));
  return rc;
}

/* The ids that the tokenizer puts in front of a text and behind it. */
static int set_around(const struct tok_keys *keys) {
  struct zf_ids plain = {0}, whole = {0};
  int rc = zf_tok_encode(keys->tok, &plain, "a", 1, 0);
  if (!rc) rc = zf_tok_encode(keys->tok, &whole, "a", 1, ZF_ENC_SPECIAL);
  int64_t more = rc ? 0 : whole.count - plain.count, front = 0;
  while (!rc && front < more && (!plain.count || whole.id[front] != plain.id[0])) front++;
  int64_t behind = more - front;
  int encoder = keys->tok->special[ZF_BOS].id < 0 && keys->tok->special[ZF_CLS].id >= 0;
  int32_t bos = keys->tok->special[encoder ? ZF_CLS : ZF_BOS].id,
          eos = keys->tok->special[encoder ? ZF_SEP : ZF_EOS].id;
  int fits = front <= 1 && behind <= 1 && (!front || whole.id[0] == bos) &&
             (!behind || whole.id[whole.count - 1] == eos);
  if (!rc && !fits)
    rc = zf_error(ZF_EUSAGE,
                  "%s: post_processor: it adds tokens around a text that are not one BOS and one "
                  "EOS: llama.cpp has no such form",
                  keys->where);
  if (!rc && encoder && bos >= 0) rc = set(keys, "bos_token_id", ZF_GGUF_U32, json_integer(bos));
  if (!rc && encoder && eos >= 0) rc = set(keys, "eos_token_id", ZF_GGUF_U32, json_integer(eos));
  if (!rc) rc = set(keys, "add_bos_token", ZF_GGUF_BOOL, json_boolean(front == 1));
  if (!rc && encoder) rc = set(keys, "add_sep_token", ZF_GGUF_BOOL, json_boolean(behind == 1));
  if (!rc) rc = set(keys, "add_eos_token", ZF_GGUF_BOOL, json_boolean(behind == 1));
  zf_ids_free(&plain);
  zf_ids_free(&whole);
  return rc;
}

/* --- kinds ----------------------------------------------------------------------------------- */

static int is_model(const json_t *root, const char *type) {
  const json_t *model = json_object_get(root, "model");
  const char *found = json_string_value(json_object_get(model, "type"));
  return found ? !strcmp(found, type) : !strcmp(type, "BPE") && json_object_get(model, "merges");
}

/* A vocabulary of text with MARK for spaces. */
static int is_sentencepiece(const json_t *root) {
  const json_t *model = json_object_get(root, "model");
  return is_model(root, "BPE") && (json_is_true(json_object_get(model, "byte_fallback")) ||
                                   json_is_true(json_object_get(model, ZF_SPM_KEY)));
}

static int is_byte_bpe(const json_t *root) {
  return is_model(root, "BPE") && !is_sentencepiece(root);
}

static int is_wordpiece(const json_t *root) {
  return is_model(root, "WordPiece");
}

/* tokenizer.ggml.model, and how its keys are made. */
static const struct {
  const char *model;
  int (*fits)(const json_t *root);
  int (*set)(const struct tok_keys *keys);
} kinds[] = {{"llama", is_sentencepiece, sentencepiece_keys},
             {"gpt2", is_byte_bpe, byte_bpe_keys},
             {"bert", is_wordpiece, wordpiece_keys}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static int set_kind(const struct tok_keys *keys) {
  for (int i = 0; i < KINDS; i++) {
    if (!kinds[i].fits(keys->root)) continue;
    int rc = set(keys, "model", ZF_GGUF_TEXT, json_string(kinds[i].model));
    return rc ? rc : kinds[i].set(keys);
  }
  return zf_error(ZF_EUSAGE, "%s: a tokenizer of the kind %s has no form in a GGUF file",
                  keys->where, zf_tok_type(keys->tok));
}

int zf_tok_gguf_keys(struct zf_gguf_values *values, const struct zf_tok *tok, int64_t rows) {
  struct zf_tok_settings settings;
  struct tok_keys keys = {.values = values, .tok = tok, .rows = rows, .where = tok->name};
  json_t *root;
  char *path;
  if (!tok->dir || zf_is_gguf_path(tok->dir))
    return zf_error(ZF_EUSAGE, "%s: expected the tokenizer of a model directory", tok->name);
  int rc = zf_tok_load_root(&root, &path, &settings, tok->dir);
  keys.root = root;
  if (!rc) rc = check_rows(&keys);
  if (!rc) rc = set_kind(&keys);
  if (!rc) rc = set_ids(&keys);
  if (!rc) rc = set_around(&keys);
  json_decref(root);
  zf_tok_settings_free(&settings);
  free(path);
  return rc;
}
