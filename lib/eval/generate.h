/* Generation of texts behind prompts, several at once in the slots of one decoder.
 *
 * Texts begin in the order in which io->next returns them; a text that ends leaves its slot to the
 * next one.  A text depends only on its prompt, row and number, not on the texts in other slots. */
#ifndef ZF_EVAL_GENERATE_H
#define ZF_EVAL_GENERATE_H

#include "base/cplusplus.h"
#include "eval/decode.h"
#include "text/tokenizer.h"

ZF_BEGIN_DECLS

enum zf_finish {
  ZF_FINISH_NONE,
  ZF_FINISH_EOS,     /* a token that ends a text */
  ZF_FINISH_STOP,    /* a stop text, which is cut off */
  ZF_FINISH_LENGTH,  /* the text has max_new tokens */
  ZF_FINISH_CONTEXT, /* the decoder's length is reached */
};
const char *zf_finish_name(enum zf_finish finish); /* "eos", ... */

struct zf_generate_rules {
  struct zf_sampling sampling; /* row and number are filled in for each text */
  int64_t max_new;
  const int32_t *eos;
  int64_t neos;
  const char *const *stop; /* [nstop] texts, none of them empty */
  int64_t nstop;
};

/* A text that is being generated. */
struct zf_text {
  const struct zf_tok *tok;
  struct zf_ids ids;  /* tokens of the prompt, then the new ones without an end token */
  int64_t prompt_len; /* tokens of the prompt */
  int64_t row;
  uint32_t number;
  int64_t neos;       /* number of the rules' eos that end this text; 0: all */
  int64_t kept;       /* tokens of the prompt that were cached in the slot */
  struct zf_buf text; /* the text behind the prompt */
  size_t ready;       /* bytes of it that no later token changes */
  enum zf_finish finish;

  /* The decoded window: tokens from `from` on are decoded again at each new token. */
  int64_t from, to;
  struct zf_buf settled; /* text of the new tokens before `to` */
  struct zf_buf near;    /* text of tokens [from, to) */
  struct zf_buf far;     /* text of tokens from `from` on */
};

/* Begins a text behind the prompt ids[0..count).  *text is zeroed before the first call, and freed by
 * zf_text_free.  `tok` outlives it. */
int zf_text_begin(struct zf_text *text, const struct zf_tok *tok, const int32_t *ids,
                  int64_t count);
/* Adds a token and sets `finish` where it ends the text. */
int zf_text_push(struct zf_text *text, const struct zf_generate_rules *rules, int32_t id);
void zf_text_free(struct zf_text *text);

struct zf_generate_io {
  void *ctx;
  /* *text: a text after zf_text_begin, which stays the caller's; NULL: no more. */
  int (*next)(void *ctx, struct zf_text **text);
  int (*token)(void *ctx, struct zf_text *text); /* called after each token; may be NULL */
  int (*done)(void *ctx, struct zf_text *text);  /* called when a text has ended; may be NULL */
  int (*stop)(void);                             /* nonzero: stop after this pass; may be NULL */
};

/* Generates all texts of io->next.  The first three functions of `io` return 0, or a code that ends
 * generation and is returned.  After io->stop the result is 0; unfinished texts have
 * ZF_FINISH_NONE. */
int zf_generate(struct zf_decoder *decoder, const struct zf_generate_rules *rules,
                const struct zf_generate_io *io);

/* Appends the tokens that end a text (zf_tok_end_ids) and are in the model's vocabulary. */
int zf_generation_ends(struct zf_ids *ids, const struct zf_model *model, const struct zf_tok *tok);
int zf_generation_add_id(struct zf_ids *ids, int32_t id); /* appends */

ZF_END_DECLS

#endif
