/* The computing kernels.
 *
 * Each function below gives THE SAME BITS on every instruction set (plain C, AVX2, AVX-512, NEON),
 * because its order of operations is part of the contract.  So tests compare with memcmp, and a run
 * repeats on another processor.
 *
 *   chain(k0,k1)  = fma(x[k1-1], w[k1-1], ... fma(x[k0], w[k0], 0))      (k ascending)
 *   dot over K    = ((chain(0,KC) + chain(KC,2KC)) + chain(2KC,3KC)) + ...   KC = ZF_KC
 *   lanes sum     = 16 partial sums from 0, element i goes to lane i % 16 in ascending order
 *                   (products by fma; the last lanes padded with zeros); then a tree:
 *                   s[l] + s[l+8], s[l] + s[l+4], s[l] + s[l+2], s[l] + s[l+1]
 *
 * exp (u10), tanh (u35), erf (u10) and log (u10, in double) are SLEEF's finz functions.  Where one
 * implementation gives NaN so does every other; the payload of a NaN is not specified.
 *
 * Layers: kernels (pointers and sizes; no allocation, no threads) sit behind the table
 * zf_kern; the drivers below cut the work over OpenMP threads by a static split.
 *
 * Streams.  A step runs some streams at once (DESIGN promise 1): the rows of all streams
 * are stacked, stream s is rows [s*T, (s+1)*T) of every activation.  Where a weight is read,
 * stream s sees fma(eps[s], z, w) with z from zf_noise; nothing is ever written to w.
 *   count = 1, noise = NULL        a plain forward pass
 *   count = 2, eps = {+e, -e}      SPSA
 * A weight that is not trained has noise = NULL, whatever the number of streams.
 *
 * Mixed streams.  With several directions z_k, stream s sees w + d with
 *   d = fma(mix[s][k], z_k, d) from 0, k ascending, terms of mix 0 left out;
 * or fma(mix[s][k], z_k, w) where only one term is not 0: as if that direction were the only one. */
#ifndef ZF_KERN_KERN_H
#define ZF_KERN_KERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "rng/noise.h"
#include "tensor/dtype.h"

ZF_BEGIN_DECLS

enum { ZF_KC = 256, ZF_KC_BF16 = 2048, ZF_GROUP = 512, ZF_KC_INT8 = 2048 };
enum { ZF_MAXSTREAM = 16, ZF_MAXTERM = 64 };

/* The arithmetic of a product with a weight.
 *   f32    as above
 *   bf16   x and W (after z) rounded to bf16, to nearest even; pairs (2i, 2i+1) as vdpbf16ps adds
 *          them: chain = fma(x[2i], w[2i], fma(x[2i+1], w[2i+1], chain)), subnormal sums flushed
 *          to zero; dot = sums of chains over ZF_KC_BF16 inputs each. Everything else is f32.
 *   int8   a row of x, and a row of W after z, are cut into groups of ZF_GROUP inputs, each with
 *          a scale of its own:  m = max |v|,  q = round(v * (127 / m)) to nearest even, the product
 *          not rounded before,  scale = m / 127;  m < 2^-100 counts as zero, and a group that is not
 *          finite has the scale NaN.  chain = fma((float)sum of q q, x's scale * W's, chain) over
 *          the groups, from 0; the sums are integers and exact; dot = sums of chains over ZF_KC_INT8
 *          inputs each.  Everything else is f32.
 * Each of them has the same bits on every instruction set.  An arithmetic for which the processor has
 * no instruction is emulated (zf_kern_native). */
enum zf_compute { ZF_COMPUTE_F32, ZF_COMPUTE_BF16, ZF_COMPUTE_INT8, ZF_COMPUTES };
const char *zf_compute_name(enum zf_compute compute); /* "f32", "bf16", "int8" */

struct zf_streams {
  int count;               /* 1..ZF_MAXSTREAM */
  float eps[ZF_MAXSTREAM]; /* of each stream */
  int64_t stride;   /* rows from the first one of a stream to that of the next; 0: the T of the
                            * call.  Larger where a call handles some rows of every stream alone:
                            * an example's, which have a direction of their own. */
  int terms;        /* directions; 0 and 1: stream s is eps[s] along the only one */
  const float *mix; /* [count][terms] with two or more, in place of eps; the caller's */
};

/* How the directions are shaped on a parameter.  z of an element e with the value w becomes 0
 * where |w| > limit, and where the word of `mask` for e is >= mask_end; else z / sqrt(curvature[e]).
 * mask NULL: none is masked; curvature NULL: 1. */
struct zf_noise_shape {
  float limit; /* INFINITY: none is above it */
  const struct zf_noise *mask;
  uint32_t mask_end;
  const float *curvature; /* [elements of the parameter], > 0 */
};

/* Shapes z[0..count) of the elements from `first` on, whose values are w; z may not be w. */
void zf_shape_noise(float *z, const struct zf_noise_shape *shape, const float *w, int64_t first,
                    int64_t count);

/* The row of stream s and index t, for number = s*T + t. */
static inline int64_t zf_stream_row(const struct zf_streams *streams, int64_t T, int64_t number) {
  return streams->stride ? number / T * streams->stride + number % T : number;
}

/* A stored matrix seen as W [out, in]: element (o,i) is data[e] with e = o*output_stride +
 * i*input_stride, its noise index is first + e.  One of the strides is 1.  (Linear: output_stride =
 * in, input_stride = 1; GPT-2's Conv1D: output_stride = 1, input_stride = out.)  data is aligned to
 * the element size only.  If `type` is stored in blocks, the other stride is a multiple of the block:
 * stored rows are whole blocks.
 *
 * Changed scales: W is stored in blocks along the inputs (input_stride 1), and scale number i of its
 * blocks, s in the file, is s (1 + u), with u = scale_change[i]; stream s sees u + eps[s] z.  In order:
 * u <- fma(eps, z, u);  s <- fma(u, s, s);  then the block as blocks_tmpl.h has it.  The integers stay as
 * they are stored.  Noise, terms and shape are then those of the u: z has the index i.  (Shang et al.
 * 2025, QZO, arXiv 2505.13430: L(s + eps z); here z is times the scale, so that a step is a share of it.) */
struct zf_weight {
  const void *data;
  enum zf_dtype type;
  int64_t out, in, output_stride, input_stride;
  int64_t first;
  const struct zf_noise *noise;       /* of each term of the streams; NULL: not perturbed */
  const struct zf_noise_shape *shape; /* NULL: z as it is */
  enum zf_compute compute;
  const float *scale_change; /* of all blocks of the stored matrix; NULL: scales are the file's */
};

/* The rows of W of outputs first_output .. first_output + outputs. */
struct zf_weight zf_weight_part(const struct zf_weight *weight, int64_t first_output,
                                int64_t outputs);

/* Fills the table with the fastest kernels that `flags` (enum zf_cpu_flags) permit.  When a program
 * starts, this has been done with the processor's flags; tests and --cpumask call it with fewer. */
void zf_kern_init(unsigned flags);
const char *zf_kern_name(enum zf_compute compute); /* the product's kernels in use: "avx512bf16",
                                                 "avx512", "avx2", "neon", "ref" */
int zf_kern_native(enum zf_compute compute);       /* 1 if the processor has instructions for it */

/* Number of threads that the drivers use (>= 1); sets OpenMP's number. */
void zf_kern_threads(int threads);
int zf_kern_nthreads(void);

/* Bytes of workspace that the drivers need for `threads` threads: tiles of the call that runs, nothing
 * that a later call reads.  The caller allocates it (64-aligned) once and passes it to
 * zf_kern_workspace(). */
size_t zf_kern_workspace_size(int threads);
void zf_kern_workspace(void *memory);

/* The part of these bytes that products never touch, for forecasts.  `in`: the largest number of
 * inputs; `sums`: some product has more inputs than one chunk. */
size_t zf_kern_workspace_untouched(int threads, enum zf_compute compute, int streams, int64_t rows,
                                   int64_t in, int sums);

/* Rows of f32 as the left operand of products: x [rows, in], row stride ld.  Arithmetic `compute`
 * converts them to `cells`, memory of zf_rows_bytes (64-aligned; unused by f32, which reads x itself).
 * The first product converts all rows and sets `ready`; later products of the same value reuse the
 * cells.  A caller that changes x makes a new value (zf_rows_of). */
struct zf_rows {
  const float *x;
  int64_t ld, in;
  enum zf_compute compute;
  void *cells;
  int ready;
};
size_t zf_rows_bytes(enum zf_compute compute, int64_t rows, int64_t in);
struct zf_rows zf_rows_of(const float *x, int64_t ld, int64_t in, enum zf_compute compute,
                          void *cells);

/* y = x W^T + bias, or y += ... with accumulate.
 * x [S*T, in], in W's arithmetic; y [S*T, out] f32, row stride ldy; bias: NULL or the
 * streams' biases [S][out] already perturbed, row stride ldb.  y overlaps nothing.
 * y[t,o] = y + (dot + bias): dot as defined above, one add each; an absent term (bias NULL, or y
 * without accumulate) is not added.
 * Each tile of W is read once, its noise made once, and used for all rows. */
void zf_gemm(float *y, int64_t ldy, struct zf_rows *x, int64_t T, const struct zf_weight *weight,
             const struct zf_streams *streams, const float *bias, int64_t ldb, int accumulate);

/* Rows start..start + len of every stream. */
struct zf_row_range {
  int64_t start, len;
};

/* The same in f32 without bias, for ranges of the T rows of every stream: W has for range i the direction of
 * example first_example + i (zf_noise_example), of one term.  The bits are those of a zf_gemm for each range. */
void zf_gemm_by_example(float *y, int64_t ldy, const struct zf_rows *x, int64_t T,
                        const struct zf_weight *weight, const struct zf_streams *streams,
                        const struct zf_row_range *range, int64_t count, int64_t first_example,
                        int accumulate);

/* out[s][i] = fma(eps[s], z[i], w[i]), or the mix, for a vector of `count` elements (norms, biases);
 * row stride ldo.  Storage of any dtype. */
void zf_perturb_vec(float *out, int64_t ldo, const void *data, enum zf_dtype type, int64_t first,
                    int64_t count, const struct zf_noise *noise, const struct zf_noise_shape *shape,
                    const struct zf_streams *streams);

/* Rows of a table: for every stream s and t < T
 *   y[s*T+t, :] = (accumulate ? y : 0) + row ids[t] of W perturbed for stream s
 * W [rows, C] is contiguous.  The caller has checked that ids are in range. */
void zf_gather(float *y, int64_t ldy, const int32_t *ids, int64_t T, const struct zf_weight *weight,
               const struct zf_streams *streams, int accumulate);

/* The same for a table that is stored transposed, W [C, rows] with `rows` values to a row: y[s*T+t, c] =
 * (accumulate ? y : 0) + W[c, ids[t]]. */
void zf_gather_columns(float *y, int64_t ldy, const int32_t *ids, int64_t T,
                       const struct zf_weight *weight, const struct zf_streams *streams,
                       int accumulate);

/* y[r,:] = x[r,:] / sqrt(mean(x^2) + eps) * w[s][:]     RMSNorm (Zhang, Sennrich 2019)
 * y = (x - mean) / sqrt(var + eps) * w[s] + bias[s]     LayerNorm (Ba et al. 2016)
 * x [S*T, C], y [S*T, C] (may be x), w and bias [S][C] with row stride ldw (bias NULL: none; w NULL:
 * 1).  Sums by lanes in f32 on x; var is the mean of (x-mean)^2.  In order:
 * inv = 1 / sqrt(sum / C + eps);  x * inv * w;  fma((x - mean) * inv, w, bias). */
void zf_rmsnorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C, float eps,
                const float *w, int64_t ldw, const struct zf_streams *streams);
void zf_layernorm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T, int64_t C,
                  float eps, const float *w, const float *bias, int64_t ldw,
                  const struct zf_streams *streams);

/* Per-head RMSNorm in place: row r of x holds H heads of D; the same w [S][D] for each. */
void zf_headnorm(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, float eps, const float *w,
                 int64_t ldw, const struct zf_streams *streams);

/* Rotary embedding in place, half-split pairs (i, i + rot/2) of the first `rot` of D:
 * (a,b) -> (a c - b s, b c + a s), each as fma(a, c, -(b*s)) and fma(b, c, a*s); cos_sin
 * row pos[t] holds rot/2 cosines then rot/2 sines.  Rows r = s*T + t use pos[t].
 * Su et al., "RoFormer", 2021. */
void zf_rope(float *x, int64_t ldx, int64_t T, int64_t H, int64_t D, int64_t rot,
             const float *cos_sin, const int32_t *pos, const struct zf_streams *streams);

enum zf_act {
  ZF_ACT_SILU,
  ZF_ACT_GELU_TANH,
  ZF_ACT_GELU_ERF,
  ZF_ACT_RELU,
  ZF_ACT_TANH,
  ZF_ACT_QUICK_GELU,
  ZF_ACT_GELU_10,
  ZF_ACT_SIGMOID,
  ZF_ACT_RELU2,
  ZF_ACT_RELU6,
  ZF_ACT_LEAKY_RELU,
  ZF_ACT_LINEAR,
  ZF_ACT_HARDSWISH,
  ZF_ACT_MISH,
  ZF_ACT_LAPLACE,
  ZF_ACTS
};
extern const char *const zf_act_names[ZF_ACTS];

/* gate = act(gate) (up NULL) or act(gate) * up, elementwise over `rows` rows of `columns`.
 *   silu       x / (1 + exp(-x))
 *   gelu_tanh  0.5 x * (1 + tanh(sqrt(2/pi) * fma(0.044715, x*x*x, x)))
 *   gelu_erf   0.5 x * (1 + erf(sqrt(1/2) * x))          Hendrycks, Gimpel 2016
 *   relu       x < 0 ? 0 : x
 *   tanh       tanh(x)
 *   quick_gelu x / (1 + exp(-1.702 x))
 *   gelu_10    min(gelu_erf(x), 10): quantisation-friendly GELU, whose lower bound of -10 no x reaches
 *   sigmoid    1 / (1 + exp(-x))
 *   relu2      relu(x)^2                                  So et al. 2021
 *   relu6      min(relu(x), 6)
 *   leaky_relu max(0.01 x, x)
 *   linear     x
 *   hardswish  x * relu6(x + 3) / 6                       Howard et al. 2019
 *   mish       x * tanh(log(1 + exp(x)))                  Misra 2019; = x n / (n + 2), n = e (e + 2),
 *                                                         e = exp(min(x, 20))
 *   laplace    (1 + erf((x - 0.707107) / (0.282095 sqrt 2))) / 2   Ma et al. 2022 */
void zf_act(float *gate, int64_t ldgate, const float *up, int64_t ldup, int64_t rows,
            int64_t columns, enum zf_act act);

/* y += x elementwise over rows. */
void zf_add_rows(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows, int64_t columns);

/* Attention over ragged segments (Vaswani et al. 2017; grouped heads, Ainslie et al. 2023).
 * A segment owns query rows [start, start+len) of the T rows of each stream.  Its keys are first the
 * `prefix_len` rows of a prefix, then its own rows; query i of the segment sees the whole prefix and
 * own keys 0..i (causal) or all own keys (not causal).  Prefix rows are rows [prefix_start,
 * prefix_start+prefix_len) of the same keys and values, or, when prefix_keys is not NULL, rows
 * 0..prefix_len of prefix_keys and prefix_values (a cache; stream s at prefix_keys +
 * s*prefix_stride).
 * With a window w a query sees only those of these keys with |key's position - its own| < w.
 * Per query and head, over the keys it sees: s_j = (dot over D of q and k_j) * scale; with a cap
 * s_j = tanh(dot * (scale / cap)) * cap (Gemma 2); m = max, p_j = exp(s_j - m), sum by lanes over j,
 * o = chain over j ascending of p_j * v_j (one chain, whatever the number of keys), then o / sum.
 * So a query's result depends only on the keys it sees, and not on where they are stored. */
struct zf_attention_params {
  float scale, cap; /* cap 0: none */
  int causal;
  int64_t window; /* 0: none */
};
struct zf_segment {
  int64_t start, len;
  int64_t prefix_start, prefix_len;
  const float *prefix_keys, *prefix_values;
  int64_t prefix_stride;
};
/* queries [S*T, H*D] stride ldqueries, keys and values [S*T, Hkv*D] stride ldkeys, out [S*T, H*D]
 * stride ldout (out overlaps nothing).  scratch: zf_attention_scratch() floats for each thread.  The
 * row stride of prefix_keys and prefix_values is Hkv*D. */
int64_t zf_attention_scratch(int64_t max_keys, int64_t D);
void zf_attention(float *out, int64_t ldout, const float *queries, int64_t ldqueries,
                  const float *keys, const float *values, int64_t ldkeys, int64_t T, int64_t H,
                  int64_t Hkv, int64_t D, const struct zf_attention_params *attention,
                  const struct zf_segment *segments, int64_t segment_count,
                  const struct zf_streams *streams, float *scratch);

/* x = tanh(x * scale_in) * scale_out elementwise over rows.  A soft cap c of x is scale_in = 1/c,
 * scale_out = c. */
void zf_softcap(float *x, int64_t ldx, int64_t rows, int64_t columns, float scale_in,
                float scale_out);

/* Transposes the two outer dimensions of each row in place: [heads][parts][D] to [parts][heads][D].
 * The call with heads and parts exchanged undoes it.  scratch: heads * parts * D floats for each
 * thread. */
void zf_permute_heads(float *x, int64_t ldx, int64_t rows, int64_t heads, int64_t parts, int64_t D,
                      float *scratch);

/* x = x * factor + shift, column by column (fma where both are given), over the rows of every stream:
 * factor and shift [S][columns], row stride ldv, NULL: absent. */
void zf_columns(float *x, int64_t ldx, int64_t T, int64_t columns, const float *factor,
                const float *shift, int64_t ldv, const struct zf_streams *streams);

/* x *= factor over rows. */
void zf_scale_rows(float *x, int64_t ldx, int64_t rows, int64_t columns, float factor);

/* Log-softmax at targets without materialising [rows, V]:
 *   lse[r] = log sum_v exp(x_r . W_v),  and  logit[r] = x_r . W_target(r) [+ bias]
 * x [S*R, C]; stream s has rows s*R..; targets[r] for r < R (the same for each stream; -1: none,
 * logit 0).  W [V, C] (row-major or transposed, as zf_gemm).  bias NULL or [S][V], stride ldb.
 * hooks: what an adapter of the head does to logits, and who reads them.
 * cap: 0, or the soft cap that is applied to logits first.
 * Reads W in chunks of ZF_VC columns, with `scratch` of S*R*ZF_VC floats.  Per chunk
 * m = max y, s = lanes sum in double of exp(y - m) (itself in f32), l = m + log s in double;
 * chunks are joined in order: lse = hi + log1p(exp(lo - hi)).  lse, logit: double[S*R]. */
enum { ZF_VC = 1024 };

/* Changes logits [S*R] of columns first..first + count, row stride ldy, before they are capped. */
typedef void (*zf_head_change)(void *ctx, float *y, int64_t ldy, int64_t first, int64_t count);
/* Reads the capped logits of these columns. */
typedef void (*zf_head_watch)(void *ctx, const float *y, int64_t ldy, int64_t first, int64_t count);

/* What sees each chunk of logits; a member that is NULL is not called. */
struct zf_head_hooks {
  zf_head_change change;
  void *change_ctx;
  zf_head_watch watch;
  void *watch_ctx;
};
void zf_head_lse(double *lse, double *logit, struct zf_rows *x, int64_t R, const int32_t *targets,
                 const struct zf_weight *weight, const struct zf_streams *streams,
                 const float *bias, int64_t ldb, float cap, float *scratch,
                 const struct zf_head_hooks *hooks);

/* A row of logits reduced to k listed columns and the log-sum-exp of all others, both divided by a
 * temperature.  Begin with {-INFINITY, 0}. */
struct zf_coarse_row {
  double rest;    /* of the columns seen; -INFINITY: all of them are listed */
  int64_t listed; /* columns of the list seen */
};

/* Adds the logits of columns first..first + count <= first + ZF_VC; columns come in ascending order.
 * id[k]: the listed columns, strictly ascending; value[k]: where their logits (not divided) go.
 * inverse: 1 / temperature.  Sums as zf_head_lse, over the columns that are not listed. */
void zf_coarse_add(struct zf_coarse_row *row, float *value, const int32_t *id, int64_t k,
                   float inverse, const float *logits, int64_t first, int64_t count);

/* y[r][c] = fma(left[r][k], right[k][c], y) for k < rank ascending: y [rows][columns], row stride ldy;
 * left [rows][rank], right [rank][columns].  y overlaps nothing. */
void zf_add_outer(float *y, int64_t ldy, int64_t rows, int64_t columns, const float *left,
                  const float *right, int64_t rank);

/* The same bits, from logits [R, V] that are computed already, row stride ldlogits. */
void zf_head_lse_logits(double *lse, double *target_logit, const float *logits, int64_t ldlogits,
                        int64_t R, int64_t V, const int32_t *targets);

/* z[0..count) = noise of elements first.., the bits of zf_noise_ref; uses all threads. */
void zf_noise_fill(float *z, const struct zf_noise *noise, int64_t first, int64_t count);

/* What a step does with the estimate e of the gradient, element by element.  e <- 0; for k < terms
 * ascending  e <- fma(c[k], z_k, e);  with a shape, e is shaped as noise is (zf_shape_noise) by the
 * weights before the step.  m, v and u are the states.  Each operation is rounded; only those written
 * fma are fused.
 *
 *   ADD        w <- fma(c[k], z_k, w) for k < terms ascending, or w <- w + e with a shape
 *   SIGN       w <- w - rate when e > 0, w + rate when e < 0
 *   MOMENTUM   m <- beta[0] m + rest[0] e;  w <- w - rate m
 *   ADAM       m <- beta[0] m + rest[0] e;  v <- beta[1] v + rest[1] (e e)
 *              w <- w - (rate m) / (sqrt(v scale) + eps)
 *   AMSGRAD    as ADAM with u <- max(u, v) in place of v in the last line (Reddi et al. 2018)
 *   WINDOW     ADAM without state, over the estimates e_j of the last steps, the oldest first:
 *              m <- 0 and v <- 0;  for each j  m <- m + first[j] e_j;  v <- v + second[j] (e_j e_j)
 *
 * The weights stay as they are where the rate is 0; states change. */
enum zf_update_rule {
  ZF_UPDATE_ADD,
  ZF_UPDATE_SIGN,
  ZF_UPDATE_MOMENTUM,
  ZF_UPDATE_ADAM,
  ZF_UPDATE_AMSGRAD,
  ZF_UPDATE_WINDOW
};
enum { ZF_UPDATE_STATES = 3 };

/* Numbers of one step t, with b1, b2 in [0, 1):
 *   rest = 1 - b,  rate = lr / (1 - b1^t),  scale = 1 / (1 - b2^t)
 * each computed in double and rounded once.  Without a correction: rate = lr, scale = 1. */
struct zf_update_adam {
  float beta[2], rest[2];
  float rate, scale, eps;
};

/* Terms of the steps of a window: those of step j end before term end[j]. */
struct zf_update_window {
  const int *end;
  const float *first, *second;
  int steps;
};

/* One step of update over stored elements of a parameter:
 *   w <- fma(-decay, w, w) when decay != 0;  then the rule, in f32
 * with c = coefficient: c[k] = -lr*g_k/q for ADD, g_k/q for the others.  The result is stored in the
 * weight's dtype.  A dtype narrower than f32 is rounded stochastically with the word of `round` (its
 * kind is ignored) for that element: f32 bits plus the low 8, 13 or 16 bits of the word (f24, f16,
 * bf16), truncated (f16 subnormals: the same on the scaled mantissa).  Q8_0 keeps its scales d:
 * q <- floor(w / d + word 2^-32) with 24 bits of both fractions, w / d within -127 and 127 (QuZO, Zhou et
 * al. 2025, arXiv 2502.12346: the update is rounded stochastically); where d = 0 the block stays.  Terms with c = 0 are skipped.  w
 * is exactly unchanged by ADD when all c are 0 and decay is 0.
 *
 * bend: with a curvature h in the shape, after the weights:
 *   h <- keep_curvature h;  for k < terms ascending  h <- h + bend[k] h_0 (z_k z_k)
 * with h_0 the value before the step; h never falls below 2^-40. */
struct zf_update_step {
  const struct zf_noise *direction; /* [terms] */
  const float *coefficient;         /* [terms] */
  int terms;
  float decay;
  struct zf_noise round;
  double keep, add; /* weights of the mean after this step, see zf_update */
  struct zf_update_adam adam;
  struct zf_update_window window; /* of ZF_UPDATE_WINDOW */
  const float *bend;              /* [terms]; NULL: the curvature stays */
  float keep_curvature;
};

/* `steps` steps over `count` elements.  All steps run on one tile of elements before the next tile;
 * the bits are those of one step after another over all elements.  With `mean` the stored result is
 * not the last weights but a mean over the trajectory, in double, rounded to nearest even:
 *   mean = start * w;  after each step whose add is not 0 or whose keep is not 1:
 *   mean = keep * mean + add * w
 * state: m, v and u [count] as far as the rule has them, updated in place; they overlap nothing.
 * shape: NULL, or of the parameter; curvature: its curvature, where steps bend it. */
struct zf_update {
  const struct zf_update_step *step;
  int64_t steps;
  int mean;
  double start;
  enum zf_update_rule rule;
  float *state[ZF_UPDATE_STATES];
  const struct zf_noise_shape *shape;
  float *curvature;
};
void zf_update(void *w, enum zf_dtype type, int64_t count, const struct zf_update *update);

/* stored[0..count) of a dtype narrower than f32, or Q8_0 whose scales stay, <- values, the elements first..
 * of a parameter, rounded as zf_update rounds with `round`. */
void zf_round(void *stored, enum zf_dtype type, const float *values, const struct zf_noise *round,
              int64_t first, int64_t count);

/* dst (f32) = `count` stored elements; uses all threads. */
void zf_expand(float *dst, const void *src, enum zf_dtype type, int64_t count);

ZF_END_DECLS

#endif
