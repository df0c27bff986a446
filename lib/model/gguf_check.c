/* Checks the keys of a GGUF file that could change a forward pass.
 *
 * Every key of attention and of rotary embeddings is read, or is in the table below with the values
 * under which it changes nothing.  A key that is not in the table is refused by name, since its
 * effect is unknown. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

enum { ANY = 1, ZERO = 2, ONE = 4, DEFAULT = 8 };

static const struct {
  const char *key;
  int allowed;          /* ANY: the key is read, or changes nothing */
  double default_value; /* DEFAULT: llama.cpp's value without the key */
} known[] = {
    {"attention.head_count", ANY, 0},
    {"attention.head_count_kv", ANY, 0},
    {"attention.key_length", ANY, 0},
    {"attention.value_length", ANY, 0},
    {"attention.layer_norm_rms_epsilon", ANY, 0},
    {"attention.layer_norm_epsilon", ANY, 0},
    {"attention.group_norm_epsilon", ANY, 0},
    {"attention.group_norm_groups", ANY, 0},
    {"attention.relative_buckets_count", ZERO, 0},
    {"attention.max_alibi_bias", ZERO, 0},
    {"attention.clamp_kqv", ZERO, 0},
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
};

/* Keys that some architectures read and others do not. */
static const struct {
  const char *key;
  const char *archs; /* names between spaces */
  int allowed;       /* for other architectures */
} partly_read[] = {
    {"attn_logit_softcapping", " gemma2 ", ZERO},
    {"final_logit_softcapping", " gemma2 gemma3 ", ZERO},
    {"attention.sliding_window", " phi3 gemma2 gemma3 modern-bert ", ZERO},
    {"attention.sliding_window_pattern", " gemma2 gemma3 modern-bert ", ZERO},
    {"attention.causal", " bert modern-bert ", ONE},
    {"attention.scale", " granite ", ZERO},
    {"logit_scale", " granite ", ZERO | ONE},
    {"residual_scale", " granite ", ZERO | ONE},
    {"embedding_scale", " granite ", ZERO | ONE},
    {"use_parallel_residual", " gptneox stablelm ", ZERO}, /* of stablelm ffn_norm decides */
};

static int is_number(const json_t *value, double expected) {
  if (json_is_boolean(value)) return json_is_true(value) == (expected == 1);
  return json_is_number(value) && json_number_value(value) == expected;
}

static int changes_nothing(const json_t *value, int allowed, double default_value) {
  return allowed & ANY || (allowed & ZERO && is_number(value, 0)) ||
         (allowed & ONE && is_number(value, 1)) ||
         (allowed & DEFAULT && is_number(value, default_value));
}

static int reads(const char *archs, const char *name) {
  const char *found = strstr(archs, name);
  return found && found[-1] == ' ' && found[strlen(name)] == ' ';
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
  for (size_t i = 0; i < sizeof partly_read / sizeof *partly_read; i++)
    if (!strcmp(partly_read[i].key, key))
      return reads(partly_read[i].archs, source->arch->name) ||
                     changes_nothing(value, partly_read[i].allowed, 0)
                 ? 0
                 : refuse(source, key, value);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i].key, key))
      return changes_nothing(value, known[i].allowed, known[i].default_value)
                 ? 0
                 : refuse(source, key, value);
  if (strncmp(key, "attention.", 10) != 0 && strncmp(key, "rope.", 5) != 0) return 0;
  return refuse(source, key, value);
}

int zf_gguf_check(const struct zf_gguf_source *source) {
  size_t len = strlen(source->arch->name);
  const char *key;
  json_t *value;
  int rc;
  json_object_foreach(source->gguf.keys, key, value) {
    if (strncmp(key, source->arch->name, len) != 0 || key[len] != '.') continue;
    if ((rc = check_key(source, key + len + 1, value))) return rc;
  }
  return 0;
}
