/* Parts of a model that are cut off: columns of the MLP, key/value heads with their query heads, whole
 * layers, rows of the vocabulary.  What is left is a smaller model of the same family.
 *
 *   columns, heads   the cost of a column j of the product W behind it, |W_j|^2 / (H^-1)_jj with H the second
 *                    moments of its inputs (Hassibi, Stork 1993), is least; what is kept makes good for what
 *                    goes: W_K + W_C H_CK (H_KK + penalty)^-1, the least squares on the text
 *   layers           the influence 1 - mean cosine of what goes in and comes out is least (Men et al.,
 *                    "ShortGPT", 2024)
 *   vocabulary       tokens that a text does not use, and that none of its tokens is merged from
 *
 * Until the result is saved, the model computes with zeros in place of what is cut. */
#ifndef ZF_COMPRESS_CUT_H
#define ZF_COMPRESS_CUT_H

#include "base/cplusplus.h"
#include "compress/overlay.h"
#include "eval/divergence.h"

ZF_BEGIN_DECLS

struct zf_cut {
  struct zf_model *model;
  char *layer;             /* [layers] 1: stays */
  double *influence;       /* [layers]; NAN: not measured */
  int64_t columns, groups; /* of the MLP, and key/value heads, that every layer keeps */
  int32_t *column;         /* [layers][columns] ascending */
  int32_t *group;          /* [layers][groups] ascending */
  int64_t tokens;          /* of the vocabulary that stay */
  int32_t *token;          /* [tokens] ascending old ids; NULL: all */
};

struct zf_cutting {
  struct zf_overlay *overlay;
  const struct zf_windows *windows;
  const char *directory;
  enum zf_compute compute;
  double penalty;
  int64_t columns, groups; /* to keep; 0: all */
  int64_t layers;          /* to remove */
  int (*tick)(void *ctx);
  void *ctx;
};

/* A cut that keeps everything.  ZF_ENOMEM. */
int zf_cut_new(struct zf_cut **out, struct zf_model *model);
void zf_cut_free(struct zf_cut *cut); /* takes NULL */

/* Chooses columns, heads and layers, and gives the model the repaired values.  ZF_EUSAGE: the family's
 * heads or layers cannot be cut, by name. */
int zf_cut_choose(struct zf_cut *cut, const struct zf_cutting *job);

/* Keeps the tokens that the text uses, those that they are merged from, single bytes and special tokens.
 * `dir`: the model's directory.  ZF_EUSAGE: there is no tokenizer.json, or one of another kind. */
int zf_cut_vocabulary(struct zf_cut *cut, const struct zf_tok *tok, const char *text, size_t len);

/* Writes the smaller model as a directory: weights in `type`, config.json, tokenizer and other files. */
int zf_cut_save(const struct zf_cut *cut, const struct zf_tok *tok, const char *dir,
                enum zf_dtype type);

ZF_END_DECLS

#endif
