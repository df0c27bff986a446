/* Tokenizers: text to ids and back, as Hugging Face's `tokenizers` does it.
 *
 * One loaded tokenizer is read-only and may be used by several threads, each
 * with buffers of its own.  Text is bytes; broken UTF-8 is replaced as Python's
 * bytes.decode("utf-8", "replace") does (U+FFFD for each maximal ill-formed
 * part), which is what reaches the original from such input. */
#ifndef ZF_TEXT_TOKENIZER_H
#define ZF_TEXT_TOKENIZER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct zf_tok;

/* Loads what a .gguf file holds; or DIR/tokenizer.json, or the first there is of vocab.json with
 * merges.txt, tokenizer.model or spiece.model (SentencePiece), vocab.txt (BERT); with
 * what tokenizer_config.json, special_tokens_map.json and added_tokens.json say of added and special
 * tokens, as Transformers takes it.  ZF_EINVALID with file and place on anything malformed and, by
 * its name, on any component type that is not supported.  ZF_EUSAGE when there is
 * no tokenizer at all. */
int zf_tok_open(struct zf_tok **out, const char *dir);

/* From the bytes of a tokenizer.json alone; `name` is for messages. */
int zf_tok_parse(struct zf_tok **out, const char *json, size_t len, const char *name);
void zf_tok_free(struct zf_tok *tok); /* takes NULL */

/* Writes the tokenizer inside the GGUF file `path` into the directory `dir`, in the form that
 * Transformers loads: tokenizer.json, and tokenizer_config.json with the special tokens and the chat
 * template.  ZF_EINVALID as zf_tok_open. */
int zf_tok_save_gguf(const char *dir, const char *path);

/* Token ids of a text, grown as needed; free with zf_ids_free. */
struct zf_ids {
  int32_t *id;
  int32_t *begin, *end; /* byte offsets into the text given, when offsets were asked */
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
/* ZF_EINVALID where one of the ids is beyond a model's vocabulary. */
int zf_tok_check(const struct zf_tok *tok, const int32_t *ids, int64_t count, int64_t vocab);
int zf_tok_is_special(const struct zf_tok *tok, int32_t id);

/* Special tokens by name, decided here alone.  A directory's are those of the first that names one of:
 * special_tokens_map.json (where tokenizer_config.json has no added_tokens_decoder, as in Transformers),
 * tokenizer_config.json, the tokenizer's class (where its vocabulary has the token), and for BOS, EOS
 * and PAD generation_config.json and config.json; null in the first two is an answer, none.  A GGUF
 * file has keys for them. */
enum zf_special { ZF_BOS, ZF_EOS, ZF_UNK, ZF_SEP, ZF_PAD, ZF_CLS, ZF_MASK, ZF_SPECIALS };
struct zf_special_token {
  int32_t id;       /* -1: none */
  const char *from; /* the file or class that names it; NULL: none */
};
#define ZF_TOK_GGUF "the file's keys" /* `from` in a GGUF file */
struct zf_special_token zf_tok_special(const struct zf_tok *tok, enum zf_special which);
const char *zf_special_name(enum zf_special which); /* "bos_token", ... */
int32_t zf_tok_bos(const struct zf_tok *tok);       /* -1 when none */
int32_t zf_tok_eos(const struct zf_tok *tok);

/* Tokens that end a text in generation: of generation_config.json, else of config.json, else EOS; of
 * a GGUF file all that llama.cpp takes for an end.  *from as above. */
const struct zf_ids *zf_tok_ends(const struct zf_tok *tok, const char **from);

/* {"bos_token": text, ...} as a chat template sees it. */
const json_t *zf_tok_named(const struct zf_tok *tok);

const char *zf_tok_type(const struct zf_tok *tok); /* "byte-level BPE", ... for display */

#endif
