/* The special tokens of a tokenizer, and the tokens that end a text.
 *
 * In a directory, the tokenizer's own files decide (tok_settings.c).  If they do not name BOS, EOS
 * or PAD, the ids in generation_config.json and then those in config.json do.  For the tokens that
 * end a text in generation the order is reversed: generation_config.json, config.json, then the
 * tokenizer's EOS. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fmt/json.h"
#include "text_internal.h"

/* --- ids in the model's files ------------------------------------------------------------- */

struct model_file {
  const char *dir, *name;
  const json_t *keys;
};

static void model_files(struct model_file out[3], const struct zf_tok_settings *settings) {
  out[0] = (struct model_file){settings->dir, "generation_config.json", settings->generation};
  out[1] = (struct model_file){settings->dir, "config.json", settings->model_config};
  out[2] = (struct model_file){settings->dir, "config.json",
                               json_object_get(settings->model_config, "text_config")};
}

static int add_end_id(struct zf_tok *tok, const json_t *value) {
  int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
  if (id < 0 || id > INT32_MAX) return 0;
  for (int64_t i = 0; i < tok->end_ids.count; i++)
    if (tok->end_ids.id[i] == id) return 0;
  return zf_ids_add(&tok->end_ids, (int32_t)id, 0, 0);
}

/* An id, or a list of them, of one key. */
static int read_end_ids(struct zf_tok *tok, const struct model_file *model_file) {
  const json_t *value = json_object_get(model_file->keys, "eos_token_id"), *item;
  size_t i;
  int rc = 0;
  if (!value || json_is_null(value)) return 0;
  if (!json_is_integer(value) && !json_is_array(value))
    return zf_error(ZF_EINVALID,
                    "%s/%s: key 'eos_token_id': expected a token id or a list of them, found %s",
                    model_file->dir, model_file->name, zf_json_kind(value));
  if (json_is_integer(value)) rc = add_end_id(tok, value);
  if (rc) return rc;
  json_array_foreach((json_t *)value, i, item) {
    if (!json_is_integer(item))
      return zf_error(ZF_EINVALID,
                      "%s/%s: key 'eos_token_id': entry %zu: expected a token id, found %s",
                      model_file->dir, model_file->name, i, zf_json_kind(item));
    if ((rc = add_end_id(tok, item))) return rc;
  }
  if (tok->end_ids.count) tok->end_ids_from = model_file->name;
  return 0;
}

static int find_end_ids(struct zf_tok *tok, const struct model_file *files) {
  const struct zf_special_token *eos = &tok->special[ZF_EOS];
  for (int i = 0; i < 3; i++) {
    int rc = read_end_ids(tok, &files[i]);
    if (rc || tok->end_ids.count) return rc;
  }
  if (eos->id < 0) return 0;
  tok->end_ids_from = eos->source;
  return zf_ids_add(&tok->end_ids, eos->id, 0, 0);
}

/* BOS, EOS or PAD by the id in a file, if the tokenizer has that id. */
static void find_by_id(struct zf_tok *tok, enum zf_special which, const struct model_file *files) {
  char key[32];
  snprintf(key, sizeof key, "%s_id", zf_special_name(which));
  for (int i = 0; i < 3; i++) {
    const json_t *value = json_object_get(files[i].keys, key);
    if (json_is_array(value)) value = json_array_get(value, 0);
    int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (id < 0 || id >= tok->size) continue;
    tok->special[which] = (struct zf_special_token){(int32_t)id, files[i].name};
    return;
  }
}

/* --- a directory --------------------------------------------------------------------------- */

static void find_by_name(struct zf_tok *tok, enum zf_special which,
                         const struct zf_tok_settings *settings, int *present) {
  const char *from, *name = zf_tok_settings_name(settings, which, &from, present);
  int32_t id = name ? zf_tok_id(tok, name) : -1;
  tok->special[which] = (struct zf_special_token){id, id >= 0 ? from : NULL};
}

static void clear_specials(struct zf_tok *tok) {
  for (int k = 0; k < ZF_SPECIALS; k++) tok->special[k] = (struct zf_special_token){-1, NULL};
}

/* By the name in the vocabulary's own file. */
static void find_in_vocab_file(struct zf_tok *tok, enum zf_special which,
                               const json_t *vocab_file_names) {
  const char *name = json_string_value(json_object_get(vocab_file_names, zf_special_name(which)));
  if (name && tok->special[which].id < 0)
    tok->special[which] = (struct zf_special_token){zf_tok_id(tok, name), "tokenizer.model"};
}

/* Finds one special token: by the settings, else by the vocabulary's file, else by id. */
static void find_special(struct zf_tok *tok, enum zf_special which,
                         const struct zf_tok_settings *settings, const json_t *vocab_file_names,
                         const struct model_file *files) {
  int present;
  find_by_name(tok, which, settings, &present);
  if (present) return;
  find_in_vocab_file(tok, which, vocab_file_names);
  if (tok->special[which].id >= 0) return;
  if (which == ZF_BOS || which == ZF_EOS || which == ZF_PAD) find_by_id(tok, which, files);
}

int zf_specials_read(struct zf_tok *tok, const struct zf_tok_settings *settings,
                     const json_t *vocab_file_names) {
  struct model_file files[3];
  clear_specials(tok);
  if (!settings) return 0;
  model_files(files, settings);
  for (int i = 0; i < ZF_SPECIALS; i++)
    find_special(tok, (enum zf_special)i, settings, vocab_file_names, files);
  tok->special_texts = zf_tok_settings_template(settings);
  if (!tok->special_texts) return zf_error(ZF_ENOMEM, "out of memory for special tokens");
  for (int i = 0; i < ZF_SPECIALS; i++) { /* those that only an id names */
    const char *name = zf_special_name((enum zf_special)i), *piece;
    if (tok->special[i].id < 0 || json_object_get(tok->special_texts, name)) continue;
    piece = zf_tok_piece(tok, tok->special[i].id);
    if (piece) json_object_set_new(tok->special_texts, name, json_string(piece));
  }
  return find_end_ids(tok, files);
}

void zf_specials_free(struct zf_tok *tok) {
  zf_ids_free(&tok->end_ids);
  json_decref(tok->special_texts);
}

/* --- a GGUF file ---------------------------------------------------------------------------- */

static const json_t *gguf_key(const json_t *keys, const char *name) {
  char full[64];
  snprintf(full, sizeof full, "tokenizer.ggml.%s", name);
  return json_object_get(keys, full);
}

/* Tokens that by their text end a generation in llama.cpp, including the tokens that pad, name or
 * separate files of code. */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    ("<\xEF\xBD\x9C" /* two literals: \x9Ce would be one escape */
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
};

/* If a vocabulary has the first two, the third does not end a text: a message continues after
 * it. */
static const char *const not_ends[][3] = {
    {"<|return|>", "<|call|>", "<|end|>"},
    {"<|return|>", "<|calls|>", "<|end|>"},
    {"<|flush|>", "<|call|>", "<|end|>"},
    {"<|flush|>", "<|calls|>", "<|end|>"},
    {"<|tool_response>", "<|tool_response>", "</s>"},
};

static int add_end_text(struct zf_tok *tok, const char *text) {
  int32_t id = zf_tok_id(tok, text);
  for (size_t i = 0; i < sizeof not_ends / sizeof *not_ends; i++)
    if (!strcmp(text, not_ends[i][2]) && zf_tok_id(tok, not_ends[i][0]) >= 0 &&
        zf_tok_id(tok, not_ends[i][1]) >= 0)
      return 0;
  json_t *value = json_integer(id);
  int rc = add_end_id(tok, value);
  json_decref(value);
  return rc;
}

/* As llama.cpp does: the keys for the end of a text, a turn and a message and those for files of
 * code, then the texts. */
static int find_gguf_end_ids(struct zf_tok *tok, const json_t *keys) {
  static const char *const key[] = {"eos_token_id",     "eot_token_id",     "eom_token_id",
                                    "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id"};
  int rc;
  for (size_t i = 0; i < sizeof key / sizeof *key; i++)
    if ((rc = add_end_id(tok, gguf_key(keys, key[i])))) return rc;
  for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++)
    if ((rc = add_end_text(tok, end_texts[i]))) return rc;
  tok->end_ids_from = "the file's keys and tokens";
  return 0;
}

int zf_specials_gguf(struct zf_tok *tok, const json_t *keys) {
  static const char *const key[ZF_SPECIALS] = {
      "bos_token_id",     "eos_token_id", "unknown_token_id", "seperator_token_id",
      "padding_token_id", "cls_token_id", "mask_token_id"};
  clear_specials(tok);
  if (!(tok->special_texts = json_object()))
    return zf_error(ZF_ENOMEM, "out of memory for special tokens");
  for (int k = 0; k < ZF_SPECIALS; k++) {
    const json_t *value = gguf_key(keys, key[k]);
    int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    const char *piece = id >= 0 && id < tok->size ? zf_tok_piece(tok, (int32_t)id) : NULL;
    if (!piece) continue;
    tok->special[k] = (struct zf_special_token){(int32_t)id, ZF_TOK_GGUF};
    json_object_set_new(tok->special_texts, zf_special_name((enum zf_special)k),
                        json_string(piece));
  }
  return find_gguf_end_ids(tok, keys);
}

/* --- asking --------------------------------------------------------------------------------- */

struct zf_special_token zf_tok_special(const struct zf_tok *tok, enum zf_special which) {
  return tok->special[which];
}

int32_t zf_tok_bos(const struct zf_tok *tok) {
  return tok->special[ZF_BOS].id;
}

int32_t zf_tok_eos(const struct zf_tok *tok) {
  return tok->special[ZF_EOS].id;
}

const struct zf_ids *zf_tok_end_ids(const struct zf_tok *tok, const char **from) {
  if (from) *from = tok->end_ids_from;
  return &tok->end_ids;
}

const json_t *zf_tok_special_texts(const struct zf_tok *tok) {
  return tok->special_texts;
}
