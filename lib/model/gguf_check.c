/* Keys of a GGUF file that change a forward pass, and the values under which they change nothing.
 *
 * Every key of attention and of rotary embeddings is read, or stands in the table below with what it
 * may be; one that stands nowhere is refused by its name, since nobody knows what it would change. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

enum { ANY = 1, ZERO = 2, ONE = 4, DEFAULT = 8 };

static const struct {
  const char *key;
  int may;     /* ANY: it is read, or changes nothing */
  double also; /* DEFAULT: what llama.cpp takes without the key */
} known[] = {
    {"attention.head_count", ANY, 0},
    {"attention.head_count_kv", ANY, 0},
    {"attention.key_length", ANY, 0},
    {"attention.value_length", ANY, 0},
    {"attention.layer_norm_rms_epsilon", ANY, 0},
    {"attention.layer_norm_epsilon", ANY, 0}, /* of LayerNorm, which none of these has */
    {"attention.group_norm_epsilon", ANY, 0},
    {"attention.group_norm_groups", ANY, 0},
    {"attention.relative_buckets_count", ZERO, 0},
    {"attention.causal", ONE, 0},
    {"attention.max_alibi_bias", ZERO, 0},
    {"attention.clamp_kqv", ZERO, 0},
    {"attention.scale", ZERO, 0},
    {"attention.output_scale", ZERO | ONE, 0},
    {"attention.temperature_length", ZERO, 0},
    {"attention.temperature_scale", ZERO, 0},
    {"attention.shared_kv_layers", ZERO, 0},
    {"attention.q_lora_rank", ZERO, 0},
    {"attention.kv_lora_rank", ZERO, 0},
    {"rope.dimension_count", ANY, 0},
    {"rope.freq_base", ANY, 0},
    {"rope.freq_base_swa", ANY, 0},
    {"rope.scale_linear", ANY, 0},
    {"rope.scaling.type", ANY, 0},
    {"rope.scaling.factor", ANY, 0},
    {"rope.scaling.attn_factor", ANY, 0},
    {"rope.scaling.original_context_length", ANY, 0},
    {"rope.scaling.finetuned", ANY, 0},
    {"rope.scaling.alpha", ZERO, 0},
    {"rope.scaling.yarn_log_multiplier", ZERO, 0},
    {"rope.scaling.yarn_ext_factor", DEFAULT | ONE, -1},
    {"rope.scaling.yarn_attn_factor", DEFAULT | ONE, -1},
    {"rope.scaling.yarn_beta_fast", DEFAULT, 32},
    {"rope.scaling.yarn_beta_slow", ONE, 0},
    {"expert_count", ZERO, 0},
    {"expert_used_count", ZERO, 0},
    {"logit_scale", ZERO | ONE, 0},
    {"residual_scale", ZERO | ONE, 0},
    {"embedding_scale", ZERO | ONE, 0},
    {"use_parallel_residual", ZERO, 0},
};

/* Keys that one architecture reads and another does not. */
static const struct {
  const char *key;
  const char *archs; /* names between spaces */
} of_some[] = {
    {"attn_logit_softcapping", " gemma2 "},
    {"final_logit_softcapping", " gemma2 gemma3 "},
    {"attention.sliding_window", " phi3 gemma2 gemma3 "},
    {"attention.sliding_window_pattern", " gemma2 gemma3 "},
};

static int is_number(const json_t *value, double want) {
  if (json_is_boolean(value)) return json_is_true(value) == (want == 1);
  return json_is_number(value) && json_number_value(value) == want;
}

static int changes_nothing(const json_t *value, int may, double also) {
  return may & ANY || (may & ZERO && is_number(value, 0)) || (may & ONE && is_number(value, 1)) ||
         (may & DEFAULT && is_number(value, also));
}

static int reads(const char *archs, const char *name) {
  const char *at = strstr(archs, name);
  return at && at[-1] == ' ' && at[strlen(name)] == ' ';
}

static int refuse(const struct zf_gguf_source *source, const char *key, const json_t *value) {
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  int rc = zf_error(
      ZF_EINVALID,
      "%s: key '%s.%.80s' (%.40s) is not supported: llama.cpp does not read it for %s, or zoft "
      "has no such operation",
      source->path, source->arch->name, key, text ? text : "?", source->arch->name);
  free(text);
  return rc;
}

static int check_key(const struct zf_gguf_source *source, const char *key, const json_t *value) {
  for (size_t i = 0; i < sizeof of_some / sizeof *of_some; i++)
    if (!strcmp(of_some[i].key, key))
      return reads(of_some[i].archs, source->arch->name) || is_number(value, 0)
                 ? 0
                 : refuse(source, key, value);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i].key, key))
      return changes_nothing(value, known[i].may, known[i].also) ? 0 : refuse(source, key, value);
  if (strncmp(key, "attention.", 10) != 0 && strncmp(key, "rope.", 5) != 0) return 0;
  return refuse(source, key, value);
}

int zf_gguf_check(const struct zf_gguf_source *source) {
  size_t n = strlen(source->arch->name);
  const char *key;
  json_t *value;
  int rc = 0;
  json_object_foreach(source->gguf.keys, key, value) {
    if (strncmp(key, source->arch->name, n) != 0 || key[n] != '.') continue;
    if (!rc) rc = check_key(source, key + n + 1, value);
  }
  return rc;
}
