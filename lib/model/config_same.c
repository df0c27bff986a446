/* Whether two configurations describe the same computation, whatever files they came from. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "kern/kern.h"
#include "model/model.h"

/* Numbers that a GGUF file holds are f32: rounding changes one by half a unit in its last place, 2^-24, and
 * a divisor of a frequency adds the rounding of a quotient. */
static const double ROUNDING = 4 * 0x1p-24;

#define WHOLE(member) offsetof(struct zf_config, member)
static const struct {
  const char *what;
  size_t at;
} sizes[] =
    {
        {"vocabulary", WHOLE(vocab)},
        {"hidden size", WHOLE(hidden)},
        {"layers", WHOLE(layers)},
        {"heads", WHOLE(heads)},
        {"key/value heads", WHOLE(kv_heads)},
        {"head size", WHOLE(head_dim)},
        {"MLP size", WHOLE(ffn)},
        {"embedding size", WHOLE(embed_dim)},
        {"outputs", WHOLE(outputs)},
},
  flags[] =
      {
          {"order of norms", WHOLE(post_norm)},
          {"final norm", WHOLE(final_norm)},
          {"weights of norms", WHOLE(affine)},
          {"biases of q, k, v", WHOLE(qkv_bias)},
          {"bias of the attention's output", WHOLE(o_bias)},
          {"biases of the MLP", WHOLE(mlp_bias)},
          {"scaling of scores by layer", WHOLE(inverse_layer_scale)},
          {"parallel blocks", WHOLE(parallel)},
          {"norms of queries and keys", WHOLE(qk_normed)},
          {"biases of norms", WHOLE(norm_bias)},
          {"head of labels", WHOLE(classify)},
},
  reals[] = {
      {"epsilon of norms", WHOLE(norm_eps)},       {"scale of scores", WHOLE(scale)},
      {"scale of embeddings", WHOLE(embed_scale)}, {"scale of residuals", WHOLE(added_scale)},
      {"divisor of logits", WHOLE(logit_divisor)}, {"cap of scores", WHOLE(score_cap)},
      {"cap of logits", WHOLE(logit_cap)},
};

static int close_to(double a, double b) {
  return fabs(a - b) <= ROUNDING * fmax(fabs(a), fabs(b));
}

static int differs(const char *name, const char *what, double expected, double found) {
  return zf_error(ZF_EUSAGE, "%s: %s: expected %.9g, found %.9g", name, what, expected, found);
}

static int is_gelu(int act) {
  return act == ZF_ACT_GELU_ERF || act == ZF_ACT_GELU_TANH;
}

static int compare_acts(const struct zf_config *expected, const struct zf_config *found,
                        const char *name) {
  if (expected->act == found->act || (is_gelu(expected->act) && is_gelu(found->act))) return 0;
  return zf_error(ZF_EUSAGE, "%s: activation: expected %s, found %s", name,
                  zf_act_names[expected->act], zf_act_names[found->act]);
}

static int compare_tails(const struct zf_config *expected, const struct zf_config *found,
                         const char *name) {
  int dense = zf_config_tail(expected)->dense != NULL;
  if (!dense || expected->tail_act == found->tail_act ||
      (is_gelu(expected->tail_act) && is_gelu(found->tail_act)))
    return 0;
  return zf_error(ZF_EUSAGE, "%s: activation of the head: expected %s, found %s", name,
                  zf_act_names[expected->tail_act], zf_act_names[found->tail_act]);
}

static int compare_numbers(const struct zf_config *expected, const struct zf_config *found,
                           const char *name) {
  const char *left = (const char *)expected, *right = (const char *)found;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int64_t a, b;
    memcpy(&a, left + sizes[i].at, sizeof a);
    memcpy(&b, right + sizes[i].at, sizeof b);
    if (a != b) return differs(name, sizes[i].what, (double)a, (double)b);
  }
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    int a, b;
    memcpy(&a, left + flags[i].at, sizeof a);
    memcpy(&b, right + flags[i].at, sizeof b);
    if (a != b) return differs(name, flags[i].what, a, b);
  }
  for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
    double a, b;
    memcpy(&a, left + reals[i].at, sizeof a);
    memcpy(&b, right + reals[i].at, sizeof b);
    if (!close_to(a, b)) return differs(name, reals[i].what, a, b);
  }
  return 0;
}

static int compare_frequencies(const struct zf_config *expected, const struct zf_config *found,
                               int number, int64_t length, const char *name) {
  double a[ZF_ROPE_FACTORS], b[ZF_ROPE_FACTORS];
  int64_t dim = zf_config_rot(expected);
  zf_rope_freqs(a, dim, &expected->rope[number], length);
  zf_rope_freqs(b, dim, &found->rope[number], length);
  for (int64_t i = 0; i < dim / 2; i++)
    if (!close_to(a[i], b[i])) return differs(name, "rotary frequency", a[i], b[i]);
  if (!close_to(expected->rope[number].attention, found->rope[number].attention))
    return differs(name, "attention factor", expected->rope[number].attention,
                   found->rope[number].attention);
  return 0;
}

static int compare_rope(const struct zf_config *expected, const struct zf_config *found,
                        const char *name) {
  int64_t far = (int64_t)fmin(expected->rope[0].original + 1, 1e9);
  if (zf_config_rot(expected) != zf_config_rot(found))
    return differs(name, "rotated columns", (double)zf_config_rot(expected),
                   (double)zf_config_rot(found));
  if (zf_config_rot(expected) / 2 > ZF_ROPE_FACTORS)
    return differs(name, "rotated columns", 2.0 * ZF_ROPE_FACTORS, (double)zf_config_rot(expected));
  if (expected->ropes != found->ropes)
    return differs(name, "kinds of rotary embeddings", expected->ropes, found->ropes);
  for (int i = 0; i < expected->ropes; i++) {
    int rc = compare_frequencies(expected, found, i, 1, name);
    if (!rc && zf_rope_by_length(expected)) rc = compare_frequencies(expected, found, i, far, name);
    if (rc) return rc;
  }
  return 0;
}

/* A window that is not shorter than the context changes nothing. */
static int64_t window_of(const struct zf_config *config, int64_t context) {
  return config->window >= context ? 0 : config->window;
}

static int compare_layers(const struct zf_config *expected, const struct zf_config *found,
                          const char *name) {
  int64_t left = window_of(expected, found->context), right = window_of(found, found->context);
  int mask = left ? ZF_LAYER_LOCAL | ZF_LAYER_NOPE : ZF_LAYER_NOPE;
  if (expected->ropes == 2) mask |= ZF_LAYER_LOCAL;
  if (left != right) return differs(name, "sliding window", (double)left, (double)right);
  for (int64_t i = 0; i < expected->layers; i++)
    if ((expected->layer[i] & mask) != (found->layer[i] & mask))
      return zf_error(ZF_EUSAGE, "%s: block %lld: expected %s window and %s rotary embedding", name,
                      (long long)i, expected->layer[i] & ZF_LAYER_LOCAL ? "a" : "no",
                      expected->layer[i] & ZF_LAYER_NOPE ? "no" : "a");
  return 0;
}

int zf_config_same(const struct zf_config *expected, const struct zf_config *found,
                   const char *name) {
  int rc = compare_acts(expected, found, name);
  if (!rc) rc = compare_tails(expected, found, name);
  if (!rc) rc = compare_numbers(expected, found, name);
  if (!rc) rc = compare_rope(expected, found, name);
  return rc ? rc : compare_layers(expected, found, name);
}
