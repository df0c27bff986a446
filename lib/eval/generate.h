/* Texts behind prompts: many of them through the slots of one decoder, each until something ends it.
 *
 * Texts begin in the order in which they are asked for; one that ends leaves its slot to the next.
 * What a text becomes depends on its prompt, row and number alone, not on its neighbours. */
#ifndef ZF_EVAL_GENERATE_H
#define ZF_EVAL_GENERATE_H

#include "eval/decode.h"
#include "text/tokenizer.h"

enum zf_finish {
  ZF_FINISH_NONE,
  ZF_FINISH_EOS,     /* a token that ends a text */
  ZF_FINISH_STOP,    /* a stop text, which is cut off */
  ZF_FINISH_LENGTH,  /* max_new tokens are made */
  ZF_FINISH_CONTEXT, /* nothing more fits the decoder */
};
const char *zf_finish_name(enum zf_finish finish); /* "eos", ... */

struct zf_generate_rules {
  struct zf_sampling sampling; /* row and number are filled in for each text */
  int64_t max_new;
  const int32_t *eos;
  int64_t neos;
  const char *const *stop; /* not empty */
  int64_t nstop;
};

/* A text in the making. */
struct zf_text {
  const struct zf_tok *tok;
  struct zf_ids ids; /* the prompt's, then the new ones; not the one that ended it */
  int64_t given;     /* tokens of the prompt */
  int64_t row;
  uint32_t number;
  int64_t neos;       /* how many of the rules' eos end it; 0: all */
  int64_t kept;       /* tokens of the prompt that the slot had read before */
  struct zf_buf made; /* the text behind the prompt */
  size_t ready;       /* bytes of it that no later token changes */
  enum zf_finish finish;

  /* Tokens from `from` on are decoded at each new one; those before `to` are in `settled`. */
  int64_t from, to;
  struct zf_buf settled, near, far;
};

/* Zeroed first; frees with zf_text_free.  tok outlives it. */
int zf_text_begin(struct zf_text *text, const struct zf_tok *tok, const int32_t *ids,
                  int64_t count);
int zf_text_push(struct zf_text *text, const struct zf_generate_rules *rules, int32_t id);
void zf_text_free(struct zf_text *text);

struct zf_generate_io {
  void *ctx;
  int (*next)(void *ctx, struct zf_text **t); /* *t: begun, outlives its end; NULL: no more */
  int (*token)(void *ctx, struct zf_text *t); /* after each token; NULL: none */
  int (*done)(void *ctx, struct zf_text *t);
  int (*stop)(void); /* not 0: leave off at once; NULL: none */
};

/* The io's functions return 0, or a code that ends all.  Leaving off is 0 too: texts at hand have
 * ZF_FINISH_NONE. */
int zf_generate(struct zf_decoder *decoder, const struct zf_generate_rules *rules,
                const struct zf_generate_io *io);

/* The tokens that end a text (zf_tok_ends) and that the model knows, appended to *out. */
int zf_generation_ends(struct zf_ids *out, const struct zf_model *model, const struct zf_tok *tok);
int zf_generation_add_id(struct zf_ids *ids, int32_t id); /* appends */

#endif
