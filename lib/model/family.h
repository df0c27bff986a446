/* Model families as data.
 *
 * A row of the table says how a family spells its config.json, what its blocks are made of,
 * and what its tensors are called.  zf_config is what one checkpoint's config.json says in
 * those terms; the plan (plan.h) is built from both and from nothing else. */
#ifndef ZF_MODEL_FAMILY_H
#define ZF_MODEL_FAMILY_H

#include <stdint.h>

enum zf_norm { ZF_NORM_RMS, ZF_NORM_LAYER };
enum zf_pos { ZF_POS_ROPE, ZF_POS_LEARNED };
enum zf_residual { ZF_RES_PRE, ZF_RES_POST };

/* A yes or no: fixed, or read from a key of config.json with a default. */
struct zf_rule {
  const char *key; /* NULL: fixed */
  int def;
};

/* Tensor names.  "#" stands for the layer number.  NULL: the family has no such tensor.
 * Biases are the same name with .bias for .weight. */
struct zf_names {
  const char *embed, *pos, *project_in, *project_out, *final_norm, *head;
  const char *norm1, *qkv, *q, *k, *v, *o, *q_norm, *k_norm;
  const char *norm2, *gate, *up, *down;
};

struct zf_family {
  const char *model_type;
  const char *about;     /* for lists: what else is loaded by this row */
  const char *prefix[4]; /* that may stand before every name; "" for none; ends with NULL */

  /* config.json: spelling of each size; NULL where the family has no such key */
  const char *k_hidden, *k_layers, *k_heads, *k_kv_heads, *k_head_dim, *k_ffn, *k_max_pos;
  const char *k_norm_eps, *k_act, *k_embed_dim;
  double norm_eps;          /* default */
  const char *act;          /* default */
  int64_t head_dim;         /* default when it is not hidden / heads */
  int ffn_multiple;         /* ffn = this * hidden when the key is null (gpt2: 4) */
  int pos_offset;           /* rows of the position table before position 0 (opt: 2) */
  struct zf_rule tie;       /* output head is the embedding */
  struct zf_rule post_norm; /* residual order: x = norm(x + f(x)) */
  struct zf_rule no_final_norm;
  struct zf_rule affine; /* norms have weights */
  struct zf_rule qkv_bias, o_bias, mlp_bias;
  struct zf_rule inverse_layer_scale; /* attention scores divided by layer + 1 */
  struct zf_rule unit_scale;          /* attention scores not scaled by 1/sqrt(head_dim) */
  struct zf_rule window;              /* sliding window in force when yes */
  const char *k_window;               /* its size; a null there means no window */
  int64_t window_size;                /* when the key is absent */
  enum zf_norm norm;
  enum zf_pos pos;
  int norm_bias;  /* LayerNorm with bias */
  int head_norm;  /* RMSNorm of each query and key head, before RoPE */
  int gated;      /* MLP: act(gate x) * (up x), else act(up x) */
  int transposed; /* linear weights stored [in, out] (Conv1D) */
  struct zf_names names;
};

enum zf_rope_kind { ZF_ROPE_PLAIN, ZF_ROPE_LINEAR, ZF_ROPE_LLAMA3 };

struct zf_rope_conf {
  enum zf_rope_kind kind;
  double theta, factor, low, high, original;
  double partial; /* share of head_dim that is rotated */
};

/* What a checkpoint's config.json says. */
struct zf_config {
  const struct zf_family *family;
  int64_t vocab, hidden, embed_dim, layers, heads, kv_heads, head_dim, ffn, max_pos;
  int64_t context; /* longest sequence: max_pos, or the sliding window when that is shorter */
  double norm_eps;
  int act; /* enum zf_act */
  int tied, post_norm, final_norm, affine, qkv_bias, o_bias, mlp_bias;
  int inverse_layer_scale, unit_scale;
  struct zf_rope_conf rope;
  int32_t bos, eos; /* -1: none (the first, when eos is a list) */
};

/* All families, for lists: returns the number of rows. */
int zf_families(const struct zf_family **out);

/* Reads and checks DIR/config.json, or the keys of a GGUF file.  ZF_EINVALID names the key, or lists the supported
 * families; ZF_EUSAGE when there is no such file. */
int zf_config_load(struct zf_config *out, const char *dir);
int zf_config_parse(struct zf_config *out, const char *text, uint64_t len, const char *name);

/* inv_freq[dim/2] of the rotary embedding after its scaling; dim = rotated part of head_dim.
 * Formulas: RoFormer (Su et al. 2021); "linear" divides by factor; "llama3" is the wavelength
 * dependent scaling of Llama 3.1. */
void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *r);
int64_t zf_config_rot(const struct zf_config *c); /* rotated dims of a head, even; 0: no RoPE */

#endif
