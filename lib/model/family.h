/* Model families as data.
 *
 * A row of the table says how a family spells its config.json, what its blocks are made of,
 * and what its tensors are called.  zf_config is what one checkpoint's config.json says in
 * those terms; the plan (plan.h) is built from both and from nothing else. */
#ifndef ZF_MODEL_FAMILY_H
#define ZF_MODEL_FAMILY_H

#include <stdint.h>

#include "fmt/problem.h"

enum zf_norm { ZF_NORM_RMS, ZF_NORM_LAYER };
enum zf_pos { ZF_POS_ROPE, ZF_POS_LEARNED };
enum zf_residual { ZF_RES_PRE, ZF_RES_POST };

/* A yes or no: fixed, or read from a key of config.json with a default. */
struct zf_rule {
  const char *key; /* NULL: fixed */
  int def;
};

/* A number: fixed, or read from a key of config.json with a default; a null there is `null`. */
struct zf_number {
  const char *key; /* NULL: fixed */
  double def, null;
};

/* Tensor names.  "#" stands for the layer number, "@" for that of a head.  NULL: the family has no
 * such tensor.  Biases are the same name with .bias for .weight. */
struct zf_names {
  const char *embed, *pos, *type, *embed_norm, *project_in, *project_out, *final_norm;
  const char *norm1, *qkv, *query, *key, *value, *output, *q_norm, *k_norm, *post1;
  const char *norm2, *gate, *up, *gate_up, *down, *post2;
};

/* What follows the body: [dense, activation, norm,] and the head's rows.  These names stand beside
 * the body's prefix, not behind it, except where they are written out in full. */
struct zf_head_names {
  const char *dense, *norm, *head;
  const char *bias;      /* of the head */
  const char *bias_copy; /* NULL, or a second name of the bias, which counts where the two differ */
  const char *act;       /* NULL: the blocks' own */
  const char *k_act;     /* key that names another; NULL: none */
  struct zf_rule dense_bias, head_bias;
  int first;             /* a classifier reads the first token, not the last */
  const char *k_pooling; /* key of what a classifier pools; "cls", the first token, is known */
};

/* Which blocks have sliding windows, where config.json has no layer_types. */
enum zf_local_layers {
  ZF_LOCAL_ALL,    /* every one */
  ZF_LOCAL_PERIOD, /* all but those where (i + phase) is a multiple of the period */
  ZF_LOCAL_FROM,   /* those from a number on */
  ZF_LOCAL_NOPE,   /* those without rotary embedding */
};

/* How the rows of a fused q|k|v matrix lie. */
enum zf_qkv {
  ZF_QKV_BLOCKS, /* all queries, all keys, all values */
  ZF_QKV_HEADS,  /* head by head: its query, key, value */
};

struct zf_family {
  const char *model_type;
  const char *about;      /* for lists: what else is loaded by this row */
  const char *classifier; /* Transformers' class with a head of labels; NULL: none is known */
  const char *prefix[6];  /* that may stand before every name; "" for none; ends with NULL */
  const char *nest;       /* the key of config.json that holds all of it; NULL: none */

  /* config.json: spelling of each size; NULL where the family has no such key */
  const char *k_hidden, *k_layers, *k_heads, *k_kv_heads, *k_head_dim, *k_ffn, *k_max_pos;
  int mapped; /* sizes may be spelled as Llama's are, too, and that spelling counts */
  const char *k_norm_eps, *k_act, *k_embed_dim;
  const char *k_theta, *k_theta_local, *k_partial; /* NULL: the usual spelling; none; the usual */
  double theta, theta_local, partial;              /* defaults; 0: 10000, none, 1 */
  struct zf_number scale;                          /* of attention scores; 0: by head_dim */
  struct zf_number scale_by;                       /* or this number to the power -1/2; 0: not so */
  struct zf_number embed_scale;                    /* of embeddings; 0: none */
  struct zf_number added_scale;                    /* of what attention and MLP add; 0: none */
  struct zf_number logits_by;                      /* logits are divided by it; 0: not */
  struct zf_number score_cap, logit_cap;           /* cap tanh(x / cap); 0: none */
  double norm_eps;                                 /* default */
  const char *act;                                 /* default */
  int64_t head_dim;                                /* default when it is not hidden / heads */
  int64_t vocab, heads, kv_heads, max_pos; /* defaults where published files leave them out */
  int ffn_multiple;                        /* ffn = this * hidden when the key is null (gpt2: 4) */
  int pos_offset;     /* rows of the position table before position 0 (opt: 2) */
  int64_t pad_next;   /* default of pad_token_id, plus 1; 0: none */
  int64_t pad_before; /* default of pad_token_id, behind which positions begin (roberta: 1); those
                             * rows are counted in max_pos; 0: positions have nothing to do with it */
  struct zf_rule tie; /* output head is the embedding */
  struct zf_rule post_norm; /* residual order: x = norm(x + f(x)) */
  struct zf_rule no_final_norm;
  struct zf_rule affine; /* norms have weights */
  struct zf_rule qkv_bias, o_bias, mlp_bias;
  struct zf_rule inverse_layer_scale; /* attention scores divided by layer + 1 */
  struct zf_rule unit_scale;          /* attention scores not scaled by 1/sqrt(head_dim) */
  struct zf_rule window;              /* sliding window in force when yes */
  int window_listed;                  /* layer_types counts where that rule says no */
  const char *k_window;               /* its size; a null there means no window */
  int64_t window_size;                /* when the key is absent; 0: no window then */
  enum zf_local_layers local;         /* and where it is */
  const char *k_local;                /* the period, or the number */
  int64_t local_def, local_phase;
  int window_half;           /* the window lies round a token, half to each side */
  struct zf_rule parallel;   /* x + attention(norm1 x) + mlp(norm2 x) */
  struct zf_rule qk_normed;  /* queries and keys are normed */
  struct zf_rule norm_bias;  /* LayerNorm with bias */
  struct zf_rule refused;    /* a yes is refused, by the name of its key */
  const char *k_nope;        /* list: 0 where a block has no rotary embedding */
  const char *k_nope_period; /* without that list: those where i + 1 is a multiple of this */
  int64_t nope_period;       /* its default; 0: none */
  enum zf_norm norm;
  enum zf_pos pos;
  int bidirectional;
  int norm_plus;          /* norms multiply by 1 + weight */
  int scale_embedding;    /* embeddings times sqrt(hidden) */
  int norm_shared;        /* in parallel the MLP reads what attention reads */
  int first_without_norm; /* block 0 has no norm1 */
  int act_tanh;           /* "gelu" means its tanh form */
  int wide_norm;          /* queries and keys are normed as one row, not by heads */
  enum zf_qkv qkv;
  int gated;      /* MLP: act(gate x) * (up x), else act(up x) */
  int transposed; /* linear weights stored [in, out] (Conv1D) */
  struct zf_names names;
  const char
      *carried[2]; /* parts beside the language model: tensors named so are saved as they came */
  struct zf_head_names lm;       /* of a language model, causal or masked */
  struct zf_head_names classify; /* of *ForSequenceClassification; no head: none is known */
};

/* Is the tensor part of what is carried? */
int zf_family_carries(const struct zf_family *family, const char *name);

/* Does the tensor hold a constant, which old releases of Transformers saved with the weights? */
int zf_family_constant(const char *name);

enum zf_rope_kind {
  ZF_ROPE_PLAIN,
  ZF_ROPE_LINEAR,
  ZF_ROPE_DYNAMIC, /* beyond max_position_embeddings a base for each length */
  ZF_ROPE_LLAMA3,
  ZF_ROPE_YARN,
  ZF_ROPE_LONG,
  ZF_ROPE_KINDS
};
extern const char *const zf_rope_names[ZF_ROPE_KINDS];

enum { ZF_ROPE_FACTORS = 256 };

struct zf_rope_conf {
  enum zf_rope_kind kind;
  double theta, factor, low, high, original;
  double partial;              /* share of head_dim that is rotated */
  double beta_fast, beta_slow; /* yarn: rotations over the original length */
  int cut;                     /* yarn: the ramp's ends are whole numbers */
  double attention;            /* cosines and sines are multiplied by it */
  int64_t nfactor;             /* longrope: of sequences up to the original length, and beyond */
  float near[ZF_ROPE_FACTORS], far[ZF_ROPE_FACTORS];
};

enum { ZF_MAX_LAYERS = 4096 };
enum { ZF_LAYER_LOCAL = 1, ZF_LAYER_NOPE = 2 };

/* What a checkpoint's config.json says. */
struct zf_config {
  const struct zf_family *family;
  int64_t vocab, hidden, embed_dim, layers, heads, kv_heads, head_dim, ffn, max_pos;
  int64_t context;    /* longest sequence; of dynamic scaling max_pos * factor */
  int64_t types;      /* rows of the table of token types */
  int64_t pos_offset; /* rows of the position table before position 0 */
  int64_t outputs;    /* rows of the head: vocab, or labels */
  int64_t window;     /* local blocks: keys nearer than this are seen; 0: there are none */
  double norm_eps;
  double scale, embed_scale, added_scale, logits_by, score_cap, logit_cap;
  int act, tail_act; /* enum zf_act: of blocks, behind the body */
  int tied, post_norm, final_norm, affine, qkv_bias, o_bias, mlp_bias;
  int inverse_layer_scale, unit_scale, parallel, qk_normed, norm_bias;
  int dense_bias, head_bias;   /* of the tail */
  int classify;                /* a head of labels */
  int headless;                /* the plan ends with the body: nothing is asked of it */
  enum zf_problem problem;     /* of a head of labels */
  double init_range;           /* standard deviation of new weights */
  struct zf_rope_conf rope[2]; /* of all blocks; of local ones, where they have their own */
  int ropes;
  uint8_t layer[ZF_MAX_LAYERS]; /* ZF_LAYER_ flags */
  int32_t pad;        /* a causal classifier reads the last token that is not this; -1: none */
  int32_t bos, eos;   /* -1: none (the first, when eos is a list) */
  int64_t window_off; /* a window that the file names and its own loader does not apply; 0: none */
};

/* All families, for lists: returns the number of rows. */
int zf_families(const struct zf_family **out);

/* Reads and checks DIR/config.json, or the keys of a GGUF file.  ZF_EINVALID names the key, or
 * lists the supported families; ZF_EUSAGE when there is no such file. */
int zf_config_load(struct zf_config *out, const char *dir);
/* The same as a classifier of so many labels, whatever head the file has; 0: as the file says.
 * ZF_EUSAGE where the family knows none. */
int zf_config_load_labels(struct zf_config *out, const char *dir, int64_t labels);
int zf_config_parse(struct zf_config *out, const char *text, uint64_t len, const char *name);

/* Reads what config.json says of rotary embeddings (rope.c). */
struct zf_config_reader;
int zf_rope_read(struct zf_config *config, const struct zf_config_reader *reader);

/* inv_freq[dim/2] of the rotary embedding after its scaling, for a sequence of `length` tokens; dim =
 * rotated part of head_dim.
 * Formulas: RoFormer (Su et al. 2021); "linear" divides by factor; "dynamic" beyond the original
 * length L has the base theta (factor length / L - factor + 1)^(dim / (dim - 2)); "llama3" is the
 * wavelength dependent scaling of Llama 3.1; YaRN (Peng et al. 2023, section 3.2); LongRoPE (Ding et
 * al. 2024) has factors for each side of the original length. */
void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *rope, int64_t length);

/* Do frequencies depend on a sequence's length where that is beyond the original one? */
int zf_rope_by_length(const struct zf_config *config);
int64_t
zf_config_rot(const struct zf_config *config); /* rotated dims of a head, even; 0: no RoPE */

/* The names of what follows the body. */
const struct zf_head_names *zf_config_tail(const struct zf_config *config);

#endif
