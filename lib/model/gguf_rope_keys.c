/* The keys and tensors of a GGUF file that describe rotary embeddings: the inverse of gguf_rope.c. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "model/gguf_model_internal.h"

static int is_kind(const struct zf_config *config, enum zf_rope_kind kind) {
  return config->ropes > 0 && config->rope[0].kind == kind;
}

int zf_gguf_constants(struct zf_gguf_constant constant[2], const struct zf_gguf_arch *arch,
                      const struct zf_config *config) {
  if (arch->freqs && is_kind(config, ZF_ROPE_LLAMA3)) {
    constant[0] = (struct zf_gguf_constant){"rope_freqs.weight", 0};
    return 1;
  }
  if (!is_kind(config, ZF_ROPE_LONG)) return 0;
  constant[0] = (struct zf_gguf_constant){"rope_factors_long.weight", 1};
  constant[1] = (struct zf_gguf_constant){"rope_factors_short.weight", 0};
  return 2;
}

/* A divisor is the frequency without scaling over that with it. */
void zf_gguf_divisors(float *divisor, const struct zf_config *config, int far) {
  const struct zf_rope_conf *rope = &config->rope[0];
  struct zf_rope_conf plain = {.kind = ZF_ROPE_PLAIN, .theta = rope->theta};
  int64_t dim = zf_config_rot(config), count = dim / 2;
  if (rope->kind == ZF_ROPE_LONG) {
    memcpy(divisor, far ? rope->far : rope->near, (size_t)count * sizeof *divisor);
    return;
  }
  double scaled[ZF_ROPE_FACTORS], free_of[ZF_ROPE_FACTORS];
  zf_rope_freqs(scaled, dim, rope, 1);
  zf_rope_freqs(free_of, dim, &plain, 1);
  for (int64_t i = 0; i < count; i++) divisor[i] = (float)(free_of[i] / scaled[i]);
}

static int set_text(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                    const char *type) {
  char full[128];
  snprintf(full, sizeof full, "%s.rope.scaling.type", arch->name);
  return zf_gguf_values_text(values, full, type);
}

static int set_linear(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                      const struct zf_rope_conf *rope) {
  int rc = set_text(values, arch, "linear");
  return rc ? rc : zf_gguf_set(values, arch, "rope.scaling.factor", ZF_GGUF_F32, rope->factor);
}

/* llama.cpp multiplies by 0.1 ln factor + 1 itself. */
static int set_yarn(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                    const struct zf_rope_conf *rope) {
  double own = rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1;
  int rc = set_text(values, arch, "yarn");
  if (!rc) rc = zf_gguf_set(values, arch, "rope.scaling.factor", ZF_GGUF_F32, rope->factor);
  if (!rc)
    rc = zf_gguf_set(values, arch, "rope.scaling.original_context_length", ZF_GGUF_U32,
                     rope->original);
  if (!rc && fabs(rope->attention - own) > 1e-9)
    rc = zf_gguf_set(values, arch, "rope.scaling.attn_factor", ZF_GGUF_F32, rope->attention / own);
  return rc;
}

static int set_long(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                    const struct zf_rope_conf *rope) {
  int rc = set_text(values, arch, "longrope");
  if (!rc)
    rc = zf_gguf_set(values, arch, "rope.scaling.original_context_length", ZF_GGUF_U32,
                     rope->original);
  return rc ? rc
            : zf_gguf_set(values, arch, "rope.scaling.attn_factor", ZF_GGUF_F32, rope->attention);
}

/* A llama3 scaling is a tensor alone. */
static int set_tensor_alone(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                            const struct zf_rope_conf *rope) {
  (void)values, (void)arch, (void)rope;
  return 0;
}

/* What the architecture must read: NULL: this kind of scaling has no form in GGUF files. */
static const struct {
  int (*set)(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
             const struct zf_rope_conf *rope);
  int needs_freqs, needs_tables; /* one of them, if set */
} kinds[ZF_ROPE_KINDS] = {
    [ZF_ROPE_PLAIN] = {set_tensor_alone, 0, 0},  [ZF_ROPE_LINEAR] = {set_linear, 0, 0},
    [ZF_ROPE_LLAMA3] = {set_tensor_alone, 1, 0}, [ZF_ROPE_YARN] = {set_yarn, 0, 0},
    [ZF_ROPE_LONG] = {set_long, 1, 1},
};

static int can_hold(const struct zf_gguf_arch *arch, const struct zf_config *config) {
  enum zf_rope_kind kind = config->rope[0].kind;
  int wants = kinds[kind].needs_freqs || kinds[kind].needs_tables;
  int reads =
      (kinds[kind].needs_freqs && arch->freqs) || (kinds[kind].needs_tables && arch->tables);
  return kinds[kind].set && (!wants || reads) && zf_config_rot(config) / 2 <= ZF_ROPE_FACTORS;
}

int zf_gguf_rope_keys(struct zf_gguf_values *values, const struct zf_gguf_arch *arch,
                      const struct zf_config *config, const char *name) {
  const struct zf_rope_conf *rope = &config->rope[0];
  if (config->family->pos != ZF_POS_ROPE) return 0;
  if (!can_hold(arch, config))
    return zf_error(ZF_EUSAGE,
                    "%s: rope scaling '%s' has no form in a GGUF file of %s: expected one that "
                    "llama.cpp has",
                    name, zf_rope_names[rope->kind], arch->name);
  int rc =
      zf_gguf_set(values, arch, "rope.dimension_count", ZF_GGUF_U32, (double)zf_config_rot(config));
  if (!rc) rc = zf_gguf_set(values, arch, "rope.freq_base", ZF_GGUF_F32, rope->theta);
  if (!rc && config->ropes == 2)
    rc = zf_gguf_set(values, arch, "rope.freq_base_swa", ZF_GGUF_F32, config->rope[1].theta);
  return rc ? rc : kinds[rope->kind].set(values, arch, rope);
}
