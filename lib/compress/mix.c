#include "compress/mix.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Parts of a model by the names of their tensors. */
enum part { PART_OUTPUT, PART_VALUE, PART_DOWN, PART_ATTENTION_OUTPUT, PART_OTHER };

/* Layers to which a rule applies, of n. */
enum layers {
  ALL,
  MORE_BITS, /* the first and last eighth, and every third one between */
  FIRST_EIGHTH,
  FIRST_SIXTEENTH,
  FIRST_TWO,
};

struct rule {
  enum part part;
  enum layers layers;
  enum zf_dtype type;
  int shared;     /* only where 4 query heads or more share a key/value head */
  int importance; /* 1: only with an importance matrix, -1: only without one; 0: always */
};

enum { RULES = 6 };

struct zf_mix {
  const char *name;
  enum zf_dtype type;      /* of tensors to which no rule applies */
  struct rule rule[RULES]; /* the first one that applies decides; type F32 ends the list */
};

/* Every mix of blocks that can write it gives the head, or the embedding that is also the head, Q6_K. */
static const struct zf_mix mixes[] = {
    {"f32", ZF_F32, {{0}}},
    {"f16", ZF_F16, {{0}}},
    {"bf16", ZF_BF16, {{0}}},
    {"q8_0", ZF_Q8_0, {{0}}},
    {"q6_k", ZF_Q6_K, {{0}}},
    {"q5_k_m",
     ZF_Q5_K,
     {{PART_VALUE, MORE_BITS, ZF_Q6_K, 0, 0}, {PART_DOWN, MORE_BITS, ZF_Q6_K, 0, 0}}},
    {"q5_k_s", ZF_Q5_K, {{0}}},
    {"q5_0", ZF_Q5_0, {{PART_DOWN, FIRST_EIGHTH, ZF_Q5_1, 0, 1}}},
    {"q5_1", ZF_Q5_1, {{0}}},
    {"q4_k_m",
     ZF_Q4_K,
     {{PART_VALUE, MORE_BITS, ZF_Q6_K, 0, 0}, {PART_DOWN, MORE_BITS, ZF_Q6_K, 0, 0}}},
    {"q4_k_s", ZF_Q4_K, {{PART_DOWN, FIRST_EIGHTH, ZF_Q5_K, 0, 0}}},
    {"q4_0", ZF_Q4_0, {{PART_DOWN, FIRST_EIGHTH, ZF_Q4_1, 0, 1}}},
    {"q4_1", ZF_Q4_1, {{0}}},
    {"iq4_nl",
     ZF_IQ4_NL,
     {{PART_VALUE, ALL, ZF_Q5_K, 1, 0}, {PART_DOWN, FIRST_EIGHTH, ZF_Q5_K, 0, -1}}},
    {"q3_k_m",
     ZF_Q3_K,
     {{PART_VALUE, FIRST_TWO, ZF_Q5_K, 0, 0},
      {PART_VALUE, ALL, ZF_Q4_K, 0, 0},
      {PART_DOWN, FIRST_SIXTEENTH, ZF_Q5_K, 0, 0},
      {PART_DOWN, ALL, ZF_Q4_K, 0, 0},
      {PART_ATTENTION_OUTPUT, ALL, ZF_Q4_K, 0, 0}}},
    {"q2_k",
     ZF_Q2_K,
     {{PART_VALUE, ALL, ZF_Q4_K, 1, 0},
      {PART_VALUE, ALL, ZF_Q3_K, 0, 0},
      {PART_DOWN, ALL, ZF_Q3_K, 0, 0},
      {PART_ATTENTION_OUTPUT, ALL, ZF_Q3_K, 0, 0}}},
};
enum { MIXES = sizeof mixes / sizeof *mixes };

const struct zf_mix *zf_mix_find(const char *name) {
  for (int i = 0; i < MIXES; i++)
    if (!strcmp(mixes[i].name, name)) return &mixes[i];
  return NULL;
}

void zf_mix_names(struct zf_buf *buf) {
  for (int i = 0; i < MIXES; i++) zf_buf_printf(buf, "%s%s", i ? ", " : "", mixes[i].name);
}

const char *zf_mix_name(const struct zf_mix *mix) {
  return mix->name;
}

enum zf_dtype zf_mix_type(const struct zf_mix *mix) {
  return mix->type;
}

/* --- the choice --- */

static enum part part_of(const struct zf_model *model, const char *name) {
  const struct zf_param *embed = zf_model_embedding(model);
  int tied = embed == &model->params.param[model->plan.head];
  if (!strcmp(name, "output.weight") || (tied && !strcmp(name, "token_embd.weight")))
    return PART_OUTPUT;
  if (strstr(name, "attn_v.weight") || strstr(name, "attn_qkv.weight")) return PART_VALUE;
  if (strstr(name, "ffn_down")) return PART_DOWN;
  if (strstr(name, "attn_output.weight")) return PART_ATTENTION_OUTPUT;
  return PART_OTHER;
}

/* 1 where the rule's layers hold number `layer` of n; the number of a tensor outside of layers is -1. */
static int in_layers(enum layers layers, int64_t layer, int64_t n) {
  switch (layers) {
    case ALL:
      return 1;
    case MORE_BITS:
      return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
    case FIRST_EIGHTH:
      return layer < n / 8;
    case FIRST_SIXTEENTH:
      return layer < n / 16;
    case FIRST_TWO:
      return layer < 2;
  }
  return 0;
}

static int applies(const struct rule *rule, const struct zf_model *model, enum part part,
                   int64_t layer, int has_importance) {
  const struct zf_config *config = &model->config;
  if (rule->part != part) return 0;
  if (rule->shared && config->heads / config->kv_heads < 4) return 0;
  if (rule->importance && rule->importance != (has_importance ? 1 : -1)) return 0;
  return in_layers(rule->layers, layer, config->layers);
}

/* The type with smaller blocks that stands in where rows are no multiple of 256 values. */
static enum zf_dtype smaller_blocks(enum zf_dtype type) {
  switch (type) {
    case ZF_Q2_K:
    case ZF_Q3_K:
      return ZF_IQ4_NL;
    case ZF_Q4_K:
      return ZF_Q5_0;
    case ZF_Q5_K:
      return ZF_Q5_1;
    case ZF_Q6_K:
      return ZF_Q8_0;
    default:
      return ZF_F16;
  }
}

enum zf_dtype zf_mix_choose(const struct zf_mix *mix, const struct zf_model *model,
                            const char *name, int64_t columns, int has_importance) {
  enum zf_dtype type = mix->type;
  enum part part = part_of(model, name);
  int64_t layer = strncmp(name, "blk.", 4) ? -1 : strtol(name + 4, NULL, 10);
  int is_block = zf_dtype_info(type)->block > 1;
  if (part == PART_OUTPUT && is_block)
    type = columns % zf_dtype_info(type)->block || type == ZF_Q8_0 ? ZF_Q8_0 : ZF_Q6_K;
  for (const struct rule *rule = mix->rule; rule->type != ZF_F32; rule++)
    if (applies(rule, model, part, layer, has_importance)) {
      type = rule->type;
      break;
    }
  while (columns % zf_dtype_info(type)->block) type = smaller_blocks(type);
  return type;
}

/* --- all parameters --- */

int zf_mix_is_matrix(const struct zf_model *model, int32_t number) {
  const struct zf_plan *plan = &model->plan;
  if (model->params.param[number].ndim != 2) return 0;
  if (number == plan->head) return 1;
  for (int64_t i = 0; i < plan->nop; i++)
    if (plan->op[i].weight == number &&
        (plan->op[i].kind == ZF_OP_LINEAR || plan->op[i].kind == ZF_OP_EMBED))
      return 1;
  return 0;
}

int zf_mix_assign(const struct zf_mix *mix, const struct zf_model *model, int has_importance,
                  enum zf_dtype *type) {
  const struct zf_gguf_arch *arch = zf_gguf_arch_of(&model->config);
  for (int32_t i = 0; i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    type[i] = ZF_F32;
    if (!zf_mix_is_matrix(model, i)) continue;
    char *name = arch ? zf_gguf_tensor_name(arch, param->name) : NULL;
    if (!name && !(name = zf_strdup(param->name))) return ZF_ENOMEM;
    type[i] =
        zf_mix_choose(mix, model, name, param->shape[param->transposed ? 0 : 1], has_importance);
    free(name);
  }
  return 0;
}
