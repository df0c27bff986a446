/* Model families as data.
 *
 * A row of the table says how a family spells its config.json, what its blocks consist of, and
 * what its tensors are called.  zf_config holds one checkpoint's config.json in those terms.  The
 * plan (plan.h) is built from the row and the zf_config, and from nothing else. */
#ifndef ZF_MODEL_FAMILY_H
#define ZF_MODEL_FAMILY_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/problem.h"

ZF_BEGIN_DECLS

enum zf_norm { ZF_NORM_RMS, ZF_NORM_LAYER };
enum zf_pos { ZF_POS_ROPE, ZF_POS_LEARNED };
enum zf_residual { ZF_RES_PRE, ZF_RES_POST };

/* A yes or no: fixed, or read from a key of config.json with a default. */
struct zf_rule {
  const char *key; /* NULL: fixed */
  int def;
};

/* A number: fixed, or read from a key of config.json.  `def` is the default where the key is
 * absent, `null` the value where the key is null. */
struct zf_number {
  const char *key; /* NULL: fixed */
  double def, null;
};

/* Tensor names.  "#" stands for the layer number, "@" for the head number.  NULL: the family has no
 * such tensor.  The name of a bias ends in .bias where that of its weight ends in .weight. */
struct zf_names {
  const char *embed, *pos, *type, *embed_norm, *project_in, *project_out, *final_norm;
  const char *norm1, *qkv, *query, *key, *value, *output, *q_norm, *k_norm, *post1;
  const char *norm2, *gate, *up, *gate_up, *down, *post2;
};

/* The layers that follow the body: [dense, activation, norm,] and the head.  These names do not
 * take the body's prefix; some of them include one. */
struct zf_head_names {
  const char *dense, *norm, *head;
  const char *bias;      /* of the head */
  const char *bias_copy; /* NULL, or a second name of the bias; it is used where the two differ */
  const char *act;       /* activation behind `dense`; NULL: the blocks' activation */
  const char *k_act;     /* config key of that activation; NULL: none */
  struct zf_rule dense_bias, head_bias;
  int first;             /* a classifier reads the first token, not the last */
  const char *k_pooling; /* config key of a classifier's pooling; only "cls", the first token, is
                          * supported */
};

/* Which blocks have sliding windows where config.json has no layer_types. */
enum zf_local_layers {
  ZF_LOCAL_ALL,    /* every block */
  ZF_LOCAL_PERIOD, /* every block i except where (i + phase) is a multiple of the period */
  ZF_LOCAL_FROM,   /* every block from a given number on */
  ZF_LOCAL_NOPE,   /* blocks without rotary embedding */
};

/* Order of the rows of a fused q|k|v matrix. */
enum zf_qkv {
  ZF_QKV_BLOCKS, /* all queries, all keys, all values */
  ZF_QKV_HEADS,  /* head by head: its query, key, value */
};

struct zf_family {
  const char *model_type;
  const char *about;      /* for lists: other models that this row loads */
  const char *classifier; /* Transformers' class with a head of labels; NULL: none is known */
  const char *prefix[6];  /* possible prefixes of all body names; "" for none; ends with NULL */
  const char *nest;       /* the key of config.json whose object holds the other keys; NULL: none */

  /* config.json: spelling of each size; NULL where the family has no such key */
  const char *k_hidden, *k_layers, *k_heads, *k_kv_heads, *k_head_dim, *k_ffn, *k_max_pos;
  int llama_spelling; /* Llama's spelling of the sizes is accepted, too, and takes precedence */
  const char *k_norm_eps, *k_act, *k_embed_dim;
  const char *k_theta, *k_theta_local, *k_partial; /* NULL: rope_theta; none; the usual spelling */
  double theta, theta_local, partial;              /* defaults; 0: 10000, none, 1 */
  struct zf_number scale;                  /* factor of attention scores; 0: see scale_dim */
  struct zf_number scale_dim;              /* the factor is scale_dim^(-1/2); 0: head_dim^(-1/2) */
  struct zf_number embed_scale;            /* factor of embeddings; 0: none */
  struct zf_number added_scale;            /* factor of the outputs of attention and MLP; 0: none */
  struct zf_number logit_divisor;          /* divisor of logits; 0: none */
  struct zf_number score_cap, logit_cap;   /* cap tanh(x / cap); 0: none */
  double norm_eps;                         /* default */
  const char *act;                         /* default */
  int64_t head_dim;                        /* default; 0: hidden / heads */
  int64_t vocab, heads, kv_heads, max_pos; /* defaults where files lack the key; 0: none */
  int ffn_multiple;                        /* ffn = this * hidden when the key is null (gpt2: 4) */
  int pos_offset;     /* rows of the position table before position 0 (opt: 2) */
  int64_t pad_next;   /* default of pad_token_id, plus 1; 0: none */
  int64_t pad_before; /* > 0: positions begin behind row pad_token_id of the position table, this is
                       * that key's default (roberta: 1), and max_pos counts the rows before; 0:
                       * positions do not depend on pad_token_id */
  struct zf_rule tie; /* output head is the embedding */
  struct zf_rule post_norm; /* residual order: x = norm(x + f(x)) */
  struct zf_rule no_final_norm;
  struct zf_rule affine; /* norms have weights */
  struct zf_rule qkv_bias, o_bias, mlp_bias;
  struct zf_rule inverse_layer_scale; /* attention scores divided by layer + 1 */
  struct zf_rule unit_scale;          /* attention scores not scaled by 1/sqrt(head_dim) */
  struct zf_rule window;              /* blocks have sliding windows */
  int window_listed;                  /* layer_types, where present, overrides a `no` of `window` */
  const char *k_window;               /* config key of the size; a null there means no window */
  int64_t window_size;                /* default of that key; 0: no window */
  enum zf_local_layers local;         /* which blocks have the window */
  const char *k_local;                /* config key of its period or first block */
  int64_t local_def, local_phase;     /* default of that key; phase of the period */
  int window_half;           /* the window is centred on a token, half of it to each side */
  struct zf_rule parallel;   /* x + attention(norm1 x) + mlp(norm2 x) */
  struct zf_rule qk_normed;  /* queries and keys are normed */
  struct zf_rule norm_bias;  /* LayerNorm with bias */
  struct zf_rule refused;    /* a yes is not supported: opening fails and names the key */
  const char *k_nope;        /* config key of a list: 0 where a block has no rotary embedding */
  const char *k_nope_period; /* without that list, key of a period: block i has no rotary embedding
                              * where i + 1 is a multiple of it */
  int64_t nope_period;       /* default of the period; 0: none */
  enum zf_norm norm;
  enum zf_pos pos;
  int bidirectional;
  int norm_plus;          /* norms multiply by 1 + weight */
  int scale_embedding;    /* embeddings times sqrt(hidden) */
  int norm_shared;        /* in a parallel block the MLP reads the same norm as attention */
  int first_without_norm; /* block 0 has no norm1 */
  int act_tanh;           /* "gelu" means its tanh form */
  int wide_norm;          /* queries and keys are normed over all heads at once, not head by head */
  enum zf_qkv qkv;
  int gated;      /* MLP: act(gate x) * (up x), else act(up x) */
  int transposed; /* linear weights stored [in, out] (Conv1D) */
  struct zf_names names;
  const char *carried[2];  /* parts outside the language model: tensors whose name contains one of
                           * these are saved unchanged */
  struct zf_head_names lm; /* of a language model, causal or masked */
  struct zf_head_names classify; /* of *ForSequenceClassification; no head: none is known */
};

/* 1 where the tensor is in a part that `carried` names. */
int zf_family_carries(const struct zf_family *family, const char *name);

/* 1 where the tensor holds a constant (frequencies, masks, positions) that old releases of
 * Transformers saved with the weights. */
int zf_family_constant(const char *name);

enum zf_rope_kind {
  ZF_ROPE_PLAIN,
  ZF_ROPE_LINEAR,
  ZF_ROPE_DYNAMIC, /* the base depends on the length beyond max_position_embeddings */
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
  int cut;                     /* yarn: the ramp's ends are rounded to whole numbers */
  double attention;            /* factor of cosines and sines */
  int64_t nfactor;             /* longrope: number of factors ... */
  float near[ZF_ROPE_FACTORS]; /* ... for sequences up to the original length */
  float far[ZF_ROPE_FACTORS];  /* ... for longer ones */
};

enum { ZF_MAX_LAYERS = 4096 };
enum { ZF_LAYER_LOCAL = 1, ZF_LAYER_NOPE = 2 };

/* The contents of a checkpoint's config.json. */
struct zf_config {
  const struct zf_family *family;
  int64_t vocab, hidden, embed_dim, layers, heads, kv_heads, head_dim, ffn, max_pos;
  int64_t context;    /* longest sequence; under dynamic scaling max_pos * factor */
  int64_t types;      /* rows of the table of token types */
  int64_t pos_offset; /* rows of the position table before position 0 */
  int64_t outputs;    /* rows of the head: vocab, or labels */
  int64_t window;     /* local blocks attend to keys at a distance below this; 0: no local blocks */
  double norm_eps;
  double scale, embed_scale, added_scale, logit_divisor, score_cap, logit_cap;
  int act, tail_act; /* enum zf_act: in the blocks, behind the body */
  int tied, post_norm, final_norm, affine, qkv_bias, o_bias, mlp_bias;
  int inverse_layer_scale, unit_scale, parallel, qk_normed, norm_bias;
  int dense_bias, head_bias;    /* behind the body */
  int classify;                 /* a head of labels */
  int headless;                 /* the plan ends with the body and has no head */
  enum zf_problem problem;      /* of a head of labels */
  double init_range;            /* standard deviation of new weights */
  struct zf_rope_conf rope[2];  /* of all blocks; of local blocks, where they have their own */
  int ropes;                    /* 0 to 2 */
  uint8_t layer[ZF_MAX_LAYERS]; /* ZF_LAYER_ flags */
  int32_t pad;        /* a causal classifier reads the last token that is not this; -1: none */
  int32_t bos, eos;   /* -1: none; the first one where eos is a list */
  int64_t window_off; /* a GGUF file's window that llama.cpp does not apply; 0: none */
};

/* *families: all rows, owned by the library.  Returns their number. */
int zf_families(const struct zf_family **families);

/* Reads and checks DIR/config.json, or the keys of a GGUF file.  ZF_EINVALID names the key, or
 * lists the supported families; ZF_EUSAGE when there is no such file. */
int zf_config_load(struct zf_config *config, const char *dir);
/* The same as a classifier of `labels` labels, whatever head the file has; 0: the file's head.
 * ZF_EINVALID where the family has no known classifier. */
int zf_config_load_labels(struct zf_config *config, const char *dir, int64_t labels);
/* `text`: a config.json of len bytes; `name` is its file in messages. */
int zf_config_parse(struct zf_config *config, const char *text, uint64_t len, const char *name);

/* Reads the keys of rotary embeddings (rope.c). */
struct zf_config_reader;
int zf_rope_read(struct zf_config *config, const struct zf_config_reader *reader);

/* inv_freq[dim/2] of the rotary embedding after its scaling, for a sequence of `length` tokens.
 * dim: the rotated part of head_dim.
 * Formulas: RoFormer (Su et al. 2021); "linear" divides by factor; "dynamic" has the base theta
 * (factor length / L - factor + 1)^(dim / (dim - 2)) for lengths beyond the original length L;
 * "llama3" is the wavelength dependent scaling of Llama 3.1; YaRN (Peng et al. 2023, section 3.2);
 * LongRoPE (Ding et al. 2024) has one list of factors up to the original length and one beyond. */
void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *rope, int64_t length);

/* 1 where the frequencies of a sequence longer than the original length depend on its length. */
int zf_rope_by_length(const struct zf_config *config);
/* Rotated dimensions of a head, even; 0: no RoPE. */
int64_t zf_config_rot(const struct zf_config *config);

/* ZF_EUSAGE, as "NAME: what: expected, found", where two configurations do not describe the same
 * computation up to the rounding of numbers to f32, and up to the two forms of GELU.  Left out: token ids, the context beyond found's, and
 * whether a head is tied. */
int zf_config_same(const struct zf_config *expected, const struct zf_config *found,
                   const char *name);

/* The names of the layers that follow the body. */
const struct zf_head_names *zf_config_tail(const struct zf_config *config);

ZF_END_DECLS

#endif
