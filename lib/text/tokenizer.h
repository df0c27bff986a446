/* Tokenizers: text to ids and back, as Hugging Face's `tokenizers` does it.
 *
 * A loaded tokenizer is read-only and may be used by several threads, each with buffers of its own.
 * Text is bytes.  Broken UTF-8 is replaced as Python's bytes.decode("utf-8", "replace") does, by
 * U+FFFD for each maximal ill-formed part, so that ids agree with those of Python programs. */
#ifndef ZF_TEXT_TOKENIZER_H
#define ZF_TEXT_TOKENIZER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/buf.h"
#include "fmt/gguf_write.h"

ZF_BEGIN_DECLS

struct zf_tok;

/* Loads the tokenizer of a .gguf file, or that of a directory: the first of tokenizer.json,
 * vocab.json with merges.txt, tokenizer.model or spiece.model (SentencePiece), vocab.txt (BERT).
 * In a directory, tokenizer_config.json, special_tokens_map.json and added_tokens.json set the
 * added and special tokens, as in Transformers.  ZF_EINVALID, with file and place, for a malformed
 * file and, with its name, for a component that is not supported.  ZF_EUSAGE if there is no
 * tokenizer. */
int zf_tok_open(struct zf_tok **out, const char *dir);

/* Parses a tokenizer.json alone; `name` is for messages. */
int zf_tok_parse(struct zf_tok **out, const char *json, size_t len, const char *name);
void zf_tok_free(struct zf_tok *tok); /* takes NULL */

/* Writes the tokenizer of the GGUF file `path` into the directory `dir` as files that Transformers
 * loads: tokenizer.json, and tokenizer_config.json with the special tokens and the chat template.
 * ZF_EINVALID as zf_tok_open. */
int zf_tok_save_gguf(const char *dir, const char *path);

/* Sets the keys tokenizer.ggml.* of a GGUF file for a tokenizer that was opened from a directory; `rows`:
 * of the model's embedding, each of which gets a token.  ZF_EUSAGE: llama.cpp has no tokenizer of this
 * form, with the part that it lacks. */
int zf_tok_gguf_keys(struct zf_gguf_values *values, const struct zf_tok *tok, int64_t rows);

/* The tokenizer in the GGUF file `path`, whatever its name ends in. */
int zf_tok_open_gguf(struct zf_tok **out, const char *path);

/* Token ids of a text.  The arrays grow as needed; free them with zf_ids_free. */
struct zf_ids {
  int32_t *id;
  int32_t *begin, *end; /* byte offsets of each token into the text; NULL without ZF_ENC_OFFSETS */
  int64_t count, cap;
};
void zf_ids_free(struct zf_ids *ids);

enum zf_encode_flags {
  ZF_ENC_SPECIAL = 1, /* add what the post-processor adds (BOS, EOS) */
  ZF_ENC_OFFSETS = 2, /* fill begin/end; both -1 for added special tokens */
};

/* Appends the ids of text[0..len) to *ids (zero-initialised before first use). */
int zf_tok_encode(const struct zf_tok *tok, struct zf_ids *ids, const char *text, size_t len,
                  unsigned flags);

/* Appends the text of ids to *out.  skip_special leaves special tokens out.
 * Ids outside the vocabulary are ZF_EUSAGE. */
int zf_tok_decode(const struct zf_tok *tok, struct zf_buf *out, const int32_t *ids, int64_t count,
                  int skip_special);

int64_t zf_tok_size(const struct zf_tok *tok);                  /* largest id + 1 */
const char *zf_tok_piece(const struct zf_tok *tok, int32_t id); /* as stored; NULL if no such id */
int32_t zf_tok_id(const struct zf_tok *tok, const char *piece); /* -1 when absent */
/* ZF_EINVALID if one of the ids is outside a model's vocabulary of `vocab` rows. */
int zf_tok_check_ids(const struct zf_tok *tok, const int32_t *ids, int64_t count, int64_t vocab);
int zf_tok_is_special(const struct zf_tok *tok, int32_t id);

/* Special tokens by name.  In a directory, the first source that names one decides:
 *
 *   special_tokens_map.json   ignored if tokenizer_config.json has added_tokens_decoder, as in
 *                             Transformers; null means that there is no such token
 *   tokenizer_config.json     null means the same
 *   the tokenizer's class     if the vocabulary has the token
 *   generation_config.json, config.json   for BOS, EOS and PAD, by id
 *
 * A GGUF file has keys for them. */
enum zf_special { ZF_BOS, ZF_EOS, ZF_UNK, ZF_SEP, ZF_PAD, ZF_CLS, ZF_MASK, ZF_SPECIALS };
struct zf_special_token {
  int32_t id;         /* -1: none */
  const char *source; /* the file or class that names it; NULL: none */
};
#define ZF_TOK_GGUF "the file's keys" /* `from` in a GGUF file */
struct zf_special_token zf_tok_special(const struct zf_tok *tok, enum zf_special which);
const char *zf_special_name(enum zf_special which); /* "bos_token", ... */
int32_t zf_tok_bos(const struct zf_tok *tok);       /* -1 when none */
int32_t zf_tok_eos(const struct zf_tok *tok);

/* Tokens that end a text in generation: those of generation_config.json, else of config.json, else
 * EOS; in a GGUF file, all that end a text in llama.cpp.  *from as in struct zf_special_token. */
const struct zf_ids *zf_tok_end_ids(const struct zf_tok *tok, const char **from);

/* {"bos_token": text, ...}: the variables of a chat template. */
const json_t *zf_tok_special_texts(const struct zf_tok *tok);

const char *zf_tok_type(const struct zf_tok *tok); /* "byte-level BPE", ... for display */

ZF_END_DECLS

#endif
