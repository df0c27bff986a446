/* What the files of the tokenizer share.
 *
 * A tokenizer is a model (BPE, Unigram, ...) with four chains of parts around it:
 *
 *   text -> added tokens -> normalizers -> pre-tokenizers -> model -> post-processors -> ids
 *   ids  -> pieces of the vocabulary -> decoders -> text
 *
 * A part is a row of a table (name, parse, apply).  A chain is a list of parts read from JSON, with
 * nested Sequences flattened.
 *
 * Three words for stretches of text, kept apart throughout the folder:
 *
 *   piece    an entry of the vocabulary
 *   span     a stretch of the text that is tokenized on its own
 *   segment  a stretch of one span that a pattern matched, or that lies between two matches
 *
 * All parts work on one struct zf_encoding:
 *
 *   original     the text of the caller
 *   text         the text as changed so far, valid UTF-8
 *   begin, end   for each byte of text its offsets [begin,end) into the original; may be NULL
 *   span         the spans of text in order, each still text (id -1) or an added token (id)
 *
 *   original  "Hi  <s>you"       text    "Hi▁▁<s>you"
 *   span       [Hi▁▁][<s>][you]  begin    0 1 2 2 2 3 3 3 4 5 6 7 8 9
 *
 * A part that changes bytes writes `new_text` from `text`, then swaps the two.  A part that only
 * splits writes `new_span` from `span`, then swaps those. */
#ifndef ZF_TEXT_INTERNAL_H
#define ZF_TEXT_INTERNAL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "text/tokenizer.h"

/* --- characters (chars.c) ------------------------------------------------- */

enum { ZF_REPLACEMENT = 0xFFFD };

/* The first character of text[0..len), len >= 1.  Returns its length in bytes.  For bytes that
 * are not UTF-8, *character is U+FFFD and the length is that of the maximal ill-formed part. */
int zf_char_next(uint32_t *character, const char *text, int64_t len);
int zf_char_put(char out[4], uint32_t character); /* returns the length */

int zf_char_is_space(uint32_t c);                /* Unicode White_Space */
int zf_char_is_number(uint32_t c);               /* N* */
int zf_char_is_mark(uint32_t c);                 /* M* */
int zf_char_is_punct(uint32_t c);                /* P*, and all ASCII signs */
int zf_char_is_word(uint32_t c);                 /* letters, marks, digits, connectors, joiners */
uint32_t zf_char_byte_level(unsigned char byte); /* the character that stands for a byte */
int zf_char_byte_of(uint32_t c);                 /* and back: 0..255, or -1 */

/* --- the state of one call (encoding.c) ---------------------------------------- */

struct zf_text_buf {
  char *data;
  int64_t len, cap;
  int32_t *begin, *end; /* offsets of each byte into the original; with track_offsets */
};

struct zf_span {
  int64_t off, len; /* in zf_encoding.text */
  int64_t origin;   /* offset of its first byte into the original when it was split off; with
                     * track_offsets */
  int32_t id;       /* an added token, or -1 */
};

struct zf_text_segment {
  int64_t from, to; /* relative to the span */
  int match;
};

struct zf_encoding {
  const struct zf_tok *tok;
  int track_offsets; /* begin and end of the text are kept */
  struct zf_text_buf text, new_text;
  struct zf_span *span, *new_span;
  int64_t span_count, new_span_count, span_cap, new_span_cap;
  struct zf_text_segment *segment; /* of the span at hand */
  int64_t segment_count, segment_cap;
  void *match_data;    /* PCRE2's */
  void *model_scratch; /* the model's, freed by its free_scratch */
  struct zf_ids *ids;
  int64_t first_id; /* index in ids of the first id of this call */
  unsigned flags;
  const char *original;
  int64_t original_len;
  int64_t max_len; /* bytes that text may have */
};

/* Starts with the text as one span; broken UTF-8 is replaced. */
int zf_encoding_open(struct zf_encoding *encoding, const struct zf_tok *tok, const char *text,
                     size_t len, int track_offsets);
void zf_encoding_close(struct zf_encoding *encoding);

/* Makes room for `more` bytes in new_text.  ZF_EINVALID above max_len: without a limit, a chain of
 * replacements in a hostile file would fill the memory. */
int zf_encoding_reserve(struct zf_encoding *encoding, int64_t more);
/* Sets max_len to a fixed multiple of len. */
void zf_encoding_set_limit(struct zf_encoding *encoding, int64_t len);

/* These append to new_text: bytes that all have the offsets [begin,end); text[off..off+len) with
 * its offsets; one character with the offsets of text[off]; any bytes, each ill-formed part
 * replaced by U+FFFD, with offsets that count from 0. */
int zf_text_buf_add(struct zf_encoding *encoding, const char *bytes, int64_t len, int32_t begin,
                    int32_t end);
int zf_text_buf_copy(struct zf_encoding *encoding, int64_t off, int64_t len);
int zf_text_buf_add_char(struct zf_encoding *encoding, int64_t off, uint32_t character);
int zf_encoding_add_repaired(struct zf_encoding *encoding, const char *text, int64_t len);

/* Appends to new_span. */
int zf_encoding_add_span(struct zf_encoding *encoding, int64_t off, int64_t len, int32_t id);
int zf_encoding_add_segment(struct zf_encoding *encoding, int64_t from, int64_t to, int match);
void zf_encoding_swap_spans(struct zf_encoding *encoding); /* new_span becomes span */
void zf_encoding_swap_text(struct zf_encoding *encoding);  /* new_text becomes text */

/* Rewrites every span that is text: fn appends its new bytes to new_text. */
typedef int (*zf_map_fn)(const void *self, struct zf_encoding *encoding,
                         const struct zf_span *span);
int zf_encoding_map(struct zf_encoding *encoding, zf_map_fn fn, const void *self);

/* Splits every span that is text: fn lists segments that cover it, `behavior` says what happens to
 * the matches.  `invert` exchanges matches and the rest. */
enum zf_behavior { ZF_REMOVED, ZF_ISOLATED, ZF_MERGED_PREVIOUS, ZF_MERGED_NEXT, ZF_CONTIGUOUS };
int zf_encoding_split(struct zf_encoding *encoding, zf_map_fn fn, const void *self,
                      enum zf_behavior behavior, int invert);

/* Appends `text` to new_text with the offsets of the span's first character; nothing for an empty
 * span. */
int zf_encoding_prepend(struct zf_encoding *encoding, const struct zf_span *span, const char *text,
                        int64_t len);

/* --- patterns (pattern.c) --------------------------------------------------- */

struct zf_pattern;
int zf_pattern_new(struct zf_pattern **out, const char *text, int literal, const char *where);
/* The key "pattern" of def: {"String": ...} or {"Regex": ...} */
int zf_pattern_parse(struct zf_pattern **out, const json_t *def, const char *where);
int zf_scripts_new(struct zf_pattern **out, const char *where); /* matches runs of one script */
void zf_pattern_free(struct zf_pattern *pattern);
void zf_pattern_free_match(void *match_data); /* of struct zf_encoding */
/* Appends the segments of text[0..len) to encoding->segment: matches and what lies between. */
int zf_pattern_find(const struct zf_pattern *pattern, struct zf_encoding *encoding,
                    const char *text, int64_t len);
/* Rewrites a Ruby pattern (Oniguruma's) as a PCRE2 one. */
int zf_pattern_translate(struct zf_buf *out, const char *text, const char *where);

/* --- vocabulary (vocab.c) --------------------------------------------------- */

struct zf_vocab_entry {
  uint32_t off, len; /* in zf_vocab.text */
  int32_t id;
};

struct zf_vocab {
  struct zf_buf text; /* every piece, zero-terminated */
  struct zf_vocab_entry *entry;
  int64_t count, cap;
  uint32_t *slot; /* hash table of entry index + 1 */
  int64_t slot_count;
  int32_t *by_id; /* entry index or -1 */
  int64_t id_end; /* largest id + 1 */
};

int zf_vocab_reserve(struct zf_vocab *vocab, int64_t count);
int zf_vocab_add(struct zf_vocab *vocab, const char *piece, int64_t id, const char *where);
int zf_vocab_finish(struct zf_vocab *vocab, const char *where); /* after the last: by_id */
int zf_vocab_parse(struct zf_vocab *vocab, const json_t *def, const char *where); /* {piece: id} */
int32_t zf_vocab_find(const struct zf_vocab *vocab, const char *text,
                      int64_t len);                                   /* -1 when absent */
const char *zf_vocab_piece(const struct zf_vocab *vocab, int32_t id); /* or NULL */
void zf_vocab_bytes(const struct zf_vocab *vocab, int32_t out[256]);  /* ids of "<0xXX>", or -1 */
void zf_vocab_free(struct zf_vocab *vocab);

/* Pieces with scores, as JSON: {"vocab": [[piece, score], ...]}, or, for a SentencePiece file,
 * {"pieces", "scores", "types"}: three lists of one length, the types as enum zf_piece_type.
 * "types" may be absent. */
struct zf_scored {
  const json_t *rows, *pieces, *scores, *types;
  int64_t count;
};
enum zf_piece_type {
  ZF_PIECE_NORMAL = 1,
  ZF_PIECE_UNKNOWN,
  ZF_PIECE_CONTROL,
  ZF_PIECE_USER,
  ZF_PIECE_UNUSED,
  ZF_PIECE_BYTE
};
/* Fills vocab, and *score [count + 1] by id, which the caller frees. */
int zf_scored_parse(struct zf_scored *scored, struct zf_vocab *vocab, double *score[],
                    const json_t *def, const char *where);
/* Can text give this piece?  It cannot give control and unused pieces. */
int zf_scored_is_plain(const struct zf_scored *scored, int64_t id);

/* --- chains of parts (chain.c) ---------------------------------------------- */

struct zf_part_row {
  const char *name;
  int (*parse)(void **self, const json_t *def, const char *where, const struct zf_tok *tok);
  int (*apply)(const void *self, struct zf_encoding *encoding);
  void (*free)(void *self);
  int (*needs_offsets)(const void *self); /* does apply read begin and end?  NULL: no */
};

struct zf_part_table {
  const char *what, *children; /* key in tokenizer.json, key of a Sequence's children */
  const struct zf_part_row *row;
  int64_t count;
};

struct zf_chain_part {
  const struct zf_part_row *row;
  void *self;
};

struct zf_chain {
  struct zf_chain_part *part;
  int64_t count;
};

extern const struct zf_part_table zf_normalizers, zf_pretokenizers, zf_postprocessors, zf_decoders;

int zf_chain_parse(struct zf_chain *chain, const struct zf_part_table *table, const json_t *def,
                   const struct zf_tok *tok);
int zf_chain_apply(const struct zf_chain *chain, struct zf_encoding *encoding);
int zf_chain_needs_offsets(const struct zf_chain *chain);
int zf_chain_has(const struct zf_chain *chain, const char *name);
void zf_chain_free(struct zf_chain *chain);

/* Replace and Lowercase (normalize.c) are used outside the table of normalizers, too. */
int zf_replace_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok);
int zf_replace_apply(const void *self, struct zf_encoding *encoding);
void zf_replace_free(void *self);
int zf_lower_apply(const void *self, struct zf_encoding *encoding);

/* Normalizers with a file of their own: bert.c, charsmap.c. */
int zf_bert_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok);
int zf_bert_apply(const void *self, struct zf_encoding *encoding);
int zf_precompiled_parse(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok);
int zf_precompiled_apply(const void *self, struct zf_encoding *encoding);
int zf_sentencepiece_parse(void **self, const json_t *def, const char *where,
                           const struct zf_tok *tok);
int zf_sentencepiece_apply(const void *self, struct zf_encoding *encoding);
void zf_charsmap_free(void *self);

/* Decoders of word models: decoders_words.c. */
int zf_wordpiece_decoder_parse(void **self, const json_t *def, const char *where,
                               const struct zf_tok *tok);
int zf_wordpiece_decoder_apply(const void *self, struct zf_encoding *encoding);
int zf_ctc_parse(void **self, const json_t *def, const char *where, const struct zf_tok *tok);
int zf_ctc_apply(const void *self, struct zf_encoding *encoding);
int zf_bpe_decoder_parse(void **self, const json_t *def, const char *where,
                         const struct zf_tok *tok);
int zf_bpe_decoder_apply(const void *self, struct zf_encoding *encoding);
void zf_word_decoder_free(void *self);

/* Keys of a Metaspace: the character that marks a space, and the spans that get one prepended. */
enum zf_scheme { ZF_ALWAYS, ZF_FIRST, ZF_NEVER };
int zf_metaspace_parse(char mark[8], enum zf_scheme *scheme, const json_t *def, const char *where);

/* Keys of a part's definition; a missing key is ZF_EINVALID. */
int zf_need_str(const char **out, const json_t *def, const char *key, const char *where);
int zf_need_bool(int *out, const json_t *def, const char *key, const char *where);

/* --- added tokens (added.c) -------------------------------------------------- */

struct zf_added_token {
  char *content;
  char *shown; /* what decoding gives: the normalised content; NULL: the content itself */
  int32_t id;
  int single_word, lstrip, rstrip, normalized, special;
};

struct zf_trie_node {
  uint32_t child, sibling; /* 0: none */
  int32_t token;           /* index in zf_added.token of the token that ends here, or -1 */
  unsigned char byte;
};

struct zf_trie {
  struct zf_trie_node *node; /* node[0] is the root */
  int64_t count, cap;
  uint32_t root[256]; /* the root's children by byte */
};

struct zf_added {
  struct zf_added_token *token; /* by ascending id */
  int64_t count;
  struct zf_trie raw, normal; /* searched before and after normalisation */
};

/* list: added_tokens of tokenizer.json; extra: from zf_tok_settings_tokens, or NULL. */
int zf_added_parse(struct zf_added *added, const json_t *list, const json_t *extra,
                   const struct zf_tok *tok);
/* Builds the tries.  Call it after the normalizer was parsed. */
int zf_added_index(struct zf_added *added, const struct zf_tok *tok);
void zf_added_free(struct zf_added *added);
/* Makes every token of the trie that a span contains a span of its own. */
int zf_added_cut(const struct zf_added *added, const struct zf_trie *trie,
                 struct zf_encoding *encoding);
const struct zf_added_token *zf_added_find(const struct zf_added *added, int32_t id); /* or NULL */

/* --- models (bpe.c, unigram.c, wordpiece.c) ----------------------------------- */

struct zf_model_row {
  const char *name;
  int (*parse)(void **self, struct zf_vocab *vocab, const json_t *def, const char *where);
  int (*encode)(const void *self, struct zf_encoding *encoding); /* spans -> ids */
  void (*free)(void *self);
  void (*free_scratch)(void *scratch);
  const char *(*describe)(const void *self);
};

extern const struct zf_model_row zf_bpe_row, zf_unigram_row, zf_wordpiece_row, zf_wordlevel_row;

/* true in a model made from a SentencePiece file: behave as that library does. */
#define ZF_SPM_KEY "sentencepiece"

/* Appends an id for text[off..off+len), with its offsets if the flags ask for them. */
int zf_encoding_emit(struct zf_encoding *encoding, int32_t id, int64_t off, int64_t len);
int zf_ids_add(struct zf_ids *ids, int32_t id, int32_t begin, int32_t end);
int zf_ids_reserve(struct zf_ids *ids, int64_t more, int offsets);

/* --- settings (tok_settings.c, classes.c, tok_rebuild.c, specials.c) -------------------------- */

/* The JSON files beside a tokenizer.  Each is an object, empty if there is no such file or if it
 * is ignored. */
struct zf_tok_settings {
  const char *dir;                  /* not owned */
  json_t *config;                   /* tokenizer_config.json */
  json_t *special_map;              /* special_tokens_map.json */
  json_t *added_tokens;             /* added_tokens.json */
  json_t *generation;               /* generation_config.json */
  json_t *model_config;             /* config.json */
  const struct zf_tok_class *class; /* or NULL */
};

/* How a byte-level BPE normalizes and splits a text. */
struct zf_byte_form {
  int nfc;           /* normalize to NFC */
  const char *regex; /* matches words; NULL: GPT-2's expression */
  int add_cls_sep;   /* CLS before and SEP after every text */
};
extern const struct zf_byte_form zf_form_gpt2, zf_form_neox, zf_form_qwen2, zf_form_roberta;

struct zf_tok_class {
  const char *name, *alias;
  const char *special[ZF_SPECIALS];
  int readd_special; /* its special tokens are special whatever flags a file gives them */
  const struct zf_byte_form *byte_form;
  /* The keys of tokenizer.json that the class replaces; NULL: none. */
  json_t *(*build_parts)(const struct zf_tok_settings *settings);
  int keep_byte_level; /* a byte-level tokenizer.json of this class is not changed */
};

int zf_tok_settings_load(struct zf_tok_settings *settings, const char *dir);
/* After loading: empties the files that are ignored and finds the class. */
void zf_tok_settings_settle(struct zf_tok_settings *settings);
void zf_tok_settings_free(struct zf_tok_settings *settings);
/* A key of special_tokens_map.json, else of tokenizer_config.json; null is a value. */
const json_t *zf_tok_settings_get(const struct zf_tok_settings *settings, const char *key,
                                  const char **from);
/* The text of a special token, or NULL; *present: a file has the key. */
const char *zf_tok_settings_name(const struct zf_tok_settings *settings, enum zf_special which,
                                 const char **from, int *present);
int zf_tok_settings_flag(const struct zf_tok_settings *settings, const char *key, int fallback);
/* Tokens that the files add to `listed` (the added_tokens of tokenizer.json), in the order of
 * adding: objects as in `listed`, each with the key "from", which names its file. */
int zf_tok_settings_tokens(json_t **out, const struct zf_tok_settings *settings,
                           const json_t *listed, const struct zf_vocab *vocab);
/* {"bos_token": text, ...}: what a chat template sees. */
json_t *zf_tok_settings_template(const struct zf_tok_settings *settings);
const struct zf_tok_class *zf_tok_class_of(const struct zf_tok_settings *settings);
/* The class with this name; NULL for an unknown name or for NULL. */
const struct zf_tok_class *zf_tok_class_named(const char *name);
const struct zf_byte_form *zf_tok_form_of(const struct zf_tok_settings *settings);
/* Replaces those keys of root, a tokenizer.json, that the directory's class builds. */
int zf_tok_rebuild(json_t *root, const struct zf_tok_settings *settings);
json_t *zf_parts_bytes(const struct zf_tok_settings *settings); /* of the class's form */
json_t *zf_parts_bert(const struct zf_tok_settings *settings);
json_t *zf_parts_llama(const struct zf_tok_settings *settings);
json_t *zf_parts_code_llama(const struct zf_tok_settings *settings);
json_t *zf_parts_gemma(const struct zf_tok_settings *settings);

/* Fills special, end_ids and special_texts of tok.  vocab_file_names: the value of
 * ZF_SPECIAL_NAMES_KEY, or NULL. */
int zf_specials_read(struct zf_tok *tok, const struct zf_tok_settings *settings,
                     const json_t *vocab_file_names);
int zf_specials_gguf(struct zf_tok *tok, const json_t *keys);
void zf_specials_free(struct zf_tok *tok);

struct zf_tok {
  char *name; /* for messages */
  char *dir;  /* the directory or GGUF file that it was opened from; NULL: none */
  const struct zf_model_row *model;
  void *model_self;
  struct zf_vocab vocab;
  struct zf_added added;
  struct zf_chain normalizer, pretokenizer, postprocessor, decoder;
  int needs_offsets; /* some part reads begin and end */
  int64_t size;      /* largest id + 1 */
  struct zf_special_token special[ZF_SPECIALS];
  struct zf_ids end_ids;
  const char *end_ids_from;
  json_t *special_texts; /* {"bos_token": text, ...} */
  char type[48];
};

/* Key of a tokenizer.json made from a SentencePiece model: {"bos_token": piece, ...}, the special
 * tokens that the model itself names. */
#define ZF_SPECIAL_NAMES_KEY "zoft named"

/* Key of a tokenizer.json made from other files: the post-processor that zf_tok_build makes once
 * the ids are known.  "cls": CLS before and SEP after a text; "cls trim": that, as RoBERTa does it;
 * "bos": BOS and EOS, as the flags add_bos_token and add_eos_token say. */
#define ZF_POST_KIND_KEY "zoft around"

/* Other files converted to a tokenizer.json in memory: vocab.json with merges.txt and vocab.txt
 * (classic.c), a SentencePiece model (spm.c), the keys of a GGUF file (gguf_tok.c).  settings may
 * be NULL for zf_spm_parse. */
int zf_classic_load(json_t **out, const char *path, const struct zf_tok_settings *settings);
int zf_classic_bert(json_t **out, const char *path, const struct zf_tok_settings *settings);
int zf_spm_load(json_t **out, const char *path, const struct zf_tok_settings *settings);
int zf_spm_parse(json_t **out, const char *bytes, size_t len, const char *name,
                 const struct zf_tok_settings *settings);
int zf_gguf_tok_keys(json_t **out, const json_t *keys, const char *path);

/* What a name of tokenizer.ggml.pre means (gguf_pre.c). */
struct zf_gguf_pre {
  const char *names; /* the first one is written */
  const char *regex; /* matches words; NULL: GPT-2's expression */
  int digits;        /* each digit alone, before GPT-2's expression */
  int nfc;
  int ignore_merges; /* a word that is in the vocabulary is one token */
  int bos;           /* default of add_bos_token */
  const char *also;  /* another spelling of the expression in tokenizer.json; NULL: none */
};
/* The row with this name, ZF_EINVALID: none; or with the parts of root, a tokenizer.json, ZF_EUSAGE:
 * none. */
int zf_gguf_pre_find(const struct zf_gguf_pre **pre, const char *name, const char *path);
int zf_gguf_pre_of(const struct zf_gguf_pre **pre, const json_t *root, const char *where);

/* The tokenizer.json of a directory, or what its other files become, as zf_tok_build takes it.  *path:
 * the file it came from.  The caller frees *root, *path, and `settings` by zf_tok_settings_free, also
 * after a failure. */
int zf_tok_load_root(json_t **root, char **path, struct zf_tok_settings *settings, const char *dir);

/* The tokenizer that root, a tokenizer.json, describes.  settings: the files beside it, or NULL;
 * name is for messages. */
int zf_tok_build(struct zf_tok **out, const json_t *root, const struct zf_tok_settings *settings,
                 const char *name);

#endif
