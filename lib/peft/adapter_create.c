/* New adapters: the modules that they change, and their initial values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "peft/components.h"
#include "peft/create_internal.h"

/* --- values --- */

struct zf_noise zf_create_noise(const struct creation *creation) {
  return (struct zf_noise){.seed = creation->plan->seed,
                           .use = ZF_USE_INIT,
                           .param = (uint32_t)(ZF_ADAPTER_FIRST_ID + creation->file->count)};
}

static void fill_constant(float *value, int64_t count, float constant) {
  for (int64_t i = 0; i < count; i++) value[i] = constant;
}

/* Uniform in [-bound, bound): PyTorch's kaiming_uniform with a = sqrt(5) has the bound 1/sqrt(in). */
static void fill_uniform(float *value, int64_t count, const struct zf_noise *noise, double bound) {
  enum { CHUNK = 256 };
  uint32_t words[CHUNK];
  for (int64_t i = 0; i < count; i += CHUNK) {
    int64_t length = count - i < CHUNK ? count - i : CHUNK;
    zf_noise_words(words, noise, i, length);
    for (int64_t j = 0; j < length; j++)
      value[i + j] = (float)(bound * ((double)words[j] * 0x1p-31 - 1));
  }
}

static void fill_normal(float *value, int64_t count, const struct zf_noise *noise,
                        double deviation) {
  zf_noise_ref(value, noise, 0, count);
  for (int64_t i = 0; i < count; i++) value[i] *= (float)deviation;
}

static void fill_lora_a(const struct creation *creation, const struct zf_noise *noise, float *value,
                        int64_t rank, int64_t inputs) {
  const char *init = creation->config->init ? creation->config->init : "true";
  if (!strcmp(init, "gaussian")) {
    fill_normal(value, rank * inputs, noise, 1 / (double)rank);
  } else if (!strcmp(init, "orthogonal")) {
    fill_normal(value, rank * inputs, noise, 1);
    zf_orthonormalize(value, rank, inputs);
  } else {
    fill_uniform(value, rank * inputs, noise, 1 / sqrt((double)inputs));
  }
}

int zf_create_add(struct creation *creation, const char *module, const char *part, int64_t rows,
                  int64_t columns, float **value) {
  int64_t shape[2] = {rows, columns};
  int rc = zf_adapter_file_add(creation->file, module, part, columns ? 2 : 1, shape, NULL);
  if (!rc && value) *value = creation->file->tensor[creation->file->count - 1].data;
  return rc;
}

/* --- the parts of one module, by kind --- */

static int from_weights(const struct creation *creation) {
  const char *init = creation->config->init;
  return init && (!strcmp(init, "pissa") || !strcmp(init, "olora"));
}

/* DoRA's magnitudes begin as the norms of the rows of W, since B is 0. */
static int add_magnitude(struct creation *creation, const char *module, const struct zf_op *op) {
  float *value;
  int rc = zf_create_add(creation, module, "lora_magnitude_vector", op->width, 0, &value);
  if (!rc) rc = zf_adapter_row_squares(creation->model, op->weight, value);
  for (int64_t i = 0; i < op->width && !rc; i++) value[i] = sqrtf(value[i]);
  return rc;
}

static int create_lora(struct creation *creation, const char *module, const struct zf_op *op) {
  int64_t rank;
  float *value;
  int rc = zf_peft_rank(&rank, creation->config, module), embeds = op->kind == ZF_OP_EMBED;
  struct zf_noise noise = zf_create_noise(creation);
  if (rc) return rc;
  if (embeds) { /* PEFT: A is zero, B is normal */
    if ((rc = zf_create_add(creation, module, "lora_embedding_A", rank,
                            creation->model->config.vocab, NULL)))
      return rc;
    if ((rc = zf_create_add(creation, module, "lora_embedding_B", op->width, rank, &value)))
      return rc;
    fill_normal(value, op->width * rank, &noise, 1);
    return 0;
  }
  if (rank > op->inputs || rank > op->width) rank = op->inputs < op->width ? op->inputs : op->width;
  if ((rc = zf_create_add(creation, module, "lora_A", rank, op->inputs, &value))) return rc;
  if (from_weights(creation) && op->weight >= 0)
    rc = zf_create_from_weights(creation, module, op, value, rank);
  else
    fill_lora_a(creation, &noise, value, rank, op->inputs);
  if (rc) return rc;
  if ((rc = zf_create_add(creation, module, "lora_B", op->width, rank, NULL))) return rc;
  return creation->config->dora ? add_magnitude(creation, module, op) : 0;
}

static int create_ia3(struct creation *creation, const char *module, const struct zf_op *op) {
  int feedforward;
  float *value;
  int rc = zf_peft_names_match(&feedforward, &creation->config->feedforward, module);
  int64_t count = feedforward ? op->inputs : op->width;
  if (!rc)
    rc = zf_create_add(creation, module, "ia3_l", feedforward ? 1 : count, feedforward ? count : 1,
                       &value);
  if (!rc) fill_constant(value, count, 1);
  return rc;
}

static int create_vera(struct creation *creation, const char *module, const struct zf_op *op) {
  float *value;
  if (op->inputs > creation->most_in) creation->most_in = op->inputs;
  if (op->width > creation->most_out) creation->most_out = op->width;
  int rc = zf_create_add(creation, module, "vera_lambda_d", creation->config->r, 0, &value);
  if (rc) return rc;
  fill_constant(value, creation->config->r, (float)creation->config->d_initial);
  return zf_create_add(creation, module, "vera_lambda_b", op->width, 0, NULL);
}

/* The pair of matrices that all modules of a VeRA adapter share. */
static int finish_vera(struct creation *creation) {
  float *value;
  int64_t r = creation->config->r;
  struct zf_noise noise = zf_create_noise(creation);
  int rc = zf_create_add(creation, "", "vera_A", r, creation->most_in, &value);
  if (rc) return rc;
  fill_uniform(value, r * creation->most_in, &noise, 1 / sqrt((double)creation->most_in));
  noise = zf_create_noise(creation);
  if ((rc = zf_create_add(creation, "", "vera_B", creation->most_out, r, &value))) return rc;
  fill_uniform(value, creation->most_out * r, &noise, 1 / sqrt((double)r));
  return 0;
}

int zf_create_copy(struct creation *creation, const char *module, const char *part,
                   int64_t number) {
  const struct zf_param *base = &creation->model->params.param[number];
  float *value;
  int rc = zf_create_add(creation, module, part, base->shape[0],
                         base->ndim > 1 ? base->shape[1] : 0, &value);
  if (!rc && base->data) zf_to_f32(value, base->data, base->type, base->count);
  return rc;
}

/* The rows of config.tokens.index. */
static int create_tokens(struct creation *creation, const char *module, const struct zf_op *op) {
  const struct zf_peft_ints *index = &creation->config->tokens.index;
  const struct zf_param *table = &creation->model->params.param[op->weight];
  float *value;
  int rc =
      zf_create_add(creation, module, "trainable_tokens_delta", index->count, op->width, &value);
  for (int64_t i = 0; i < index->count && !rc && table->data; i++) {
    if (index->value[i] < 0 || index->value[i] >= table->shape[0])
      return zf_error(ZF_EUSAGE, "token_indices: %lld is outside the vocabulary of %lld",
                      (long long)index->value[i], (long long)table->shape[0]);
    zf_to_f32(value + i * op->width,
              (const char *)table->data + zf_dtype_bytes(table->type, index->value[i] * op->width),
              table->type, op->width);
  }
  return rc;
}

/* Copies of all biases of the base. */
static int create_biases(struct creation *creation) {
  const struct zf_plan *plan = &creation->model->plan;
  int64_t made = 0;
  int rc = 0;
  for (int64_t i = 0; i < plan->wanted_count && !rc; i++) {
    size_t len = strlen(plan->wanted[i].name);
    if (len < 5 || strcmp(plan->wanted[i].name + len - 5, ".bias") != 0) continue;
    char *module = zf_adapter_module_name(creation->model, i);
    rc = module ? zf_create_copy(creation, module, "bias", i) : ZF_ENOMEM;
    free(module);
    made++;
  }
  if (rc || made) return rc;
  return zf_error(ZF_EUSAGE, "adapter: %s has no biases to train", creation->model->dir);
}

static int create_norm(struct creation *creation, const char *module, const struct zf_op *op) {
  int rc = zf_create_copy(creation, module, "weight", op->weight);
  return rc || op->bias < 0 ? rc : zf_create_copy(creation, module, "bias", op->bias);
}

/* --- which modules --- */

/* kinds: bits 1 << enum zf_op_kind of the operations whose modules can be changed.  roles: bits of
 * those that are changed where no targets are named; 0: all. */
static const struct {
  int (*create)(struct creation *creation, const char *module, const struct zf_op *op);
  int (*finish)(struct creation *creation);
  unsigned kinds, roles, feedforward;
} makers[ZF_PEFT_KINDS] = {
    [ZF_PEFT_LORA] = {create_lora, NULL, 1u << ZF_OP_LINEAR | 1u << ZF_OP_EMBED,
                      1u << ZF_ROLE_QUERY | 1u << ZF_ROLE_VALUE | 1u << ZF_ROLE_QKV, 0},
    [ZF_PEFT_IA3] = {create_ia3, NULL, 1u << ZF_OP_LINEAR,
                     1u << ZF_ROLE_KEY | 1u << ZF_ROLE_VALUE | 1u << ZF_ROLE_QKV |
                         1u << ZF_ROLE_DOWN,
                     1u << ZF_ROLE_DOWN},
    [ZF_PEFT_VERA] = {create_vera, finish_vera, 1u << ZF_OP_LINEAR,
                      1u << ZF_ROLE_QUERY | 1u << ZF_ROLE_VALUE | 1u << ZF_ROLE_QKV, 0},
    [ZF_PEFT_LN] = {create_norm, NULL, 1u << ZF_OP_NORM | 1u << ZF_OP_HEADNORM, 0, 0},
    [ZF_PEFT_TOKENS] = {create_tokens, NULL, 1u << ZF_OP_EMBED, 0, 0},
    [ZF_PEFT_PROMPT] = {NULL, zf_create_prompt, 0, 0, 0},
    [ZF_PEFT_PREFIX] = {NULL, zf_create_prefix, 0, 0, 0},
};

static int names_none(const struct zf_peft_names *names) {
  return !names->count && !names->pattern;
}

static const char *last_name(const char *module) {
  const char *dot = strrchr(module, '.');
  return dot ? dot + 1 : module;
}

/* Adds the last name of a module to a list, once. */
static int add_name(struct zf_peft_names *names, const char *module) {
  const char *name = last_name(module), **list;
  for (int64_t i = 0; i < names->count; i++)
    if (!strcmp(names->name[i], name)) return 0;
  if (!(list = zf_calloc(names->count + 1, sizeof *list))) return ZF_ENOMEM;
  for (int64_t i = 0; i < names->count; i++) list[i] = names->name[i];
  list[names->count] = name;
  struct zf_peft_names grown = {0};
  int rc = zf_peft_names_set(&grown, list, names->count + 1, NULL);
  free(list);
  if (rc) return rc;
  for (int64_t i = 0; i < names->count; i++) free(names->name[i]);
  free(names->name);
  names->name = grown.name;
  names->count = grown.count;
  return 0;
}

/* Names the default modules of the model: those of the kind's roles. */
static int default_names(const struct zf_model *model, struct zf_peft_names *names, unsigned kinds,
                         unsigned roles) {
  for (int64_t i = 0; i < model->plan.nop; i++) {
    const struct zf_op *op = &model->plan.op[i];
    if (!(kinds >> op->kind & 1) || op->weight < 0) continue;
    if (roles && !(roles >> op->role & 1)) continue;
    char *module = zf_adapter_module_name(model, op->weight);
    int rc = module ? add_name(names, module) : ZF_ENOMEM;
    free(module);
    if (rc) return rc;
  }
  return 0;
}

static int set_defaults(struct creation *creation) {
  struct zf_peft_config *config = creation->config;
  unsigned kinds = makers[config->kind].kinds;
  int rc = 0;
  if (names_none(&config->target))
    rc = default_names(creation->model, &config->target, kinds, makers[config->kind].roles);
  if (!rc && makers[config->kind].feedforward && names_none(&config->feedforward))
    rc = default_names(creation->model, &config->feedforward, kinds,
                       makers[config->kind].feedforward);
  return rc;
}

static int create_module(struct creation *creation, const struct zf_op *op, int64_t *made) {
  char *module = zf_adapter_module_name(creation->model, op->weight);
  int yes = 0, rc = module ? zf_peft_targets(&yes, creation->config, module) : ZF_ENOMEM;
  const char *pattern = creation->config->target.pattern;
  if (pattern && !strcmp(pattern, "all-linear") && op->kind != ZF_OP_LINEAR) yes = 0;
  if (!rc && yes) rc = makers[creation->config->kind].create(creation, module, op);
  *made += yes;
  free(module);
  return rc;
}

/* A head of labels is trained as a whole, as PEFT's task type SEQ_CLS does. */
static int create_classifier(struct creation *creation) {
  const struct zf_plan *plan = &creation->model->plan;
  int rc = 0;
  for (int64_t i = 0; i < plan->wanted_count && !rc; i++) {
    const struct zf_wanted_tensor *wanted = &plan->wanted[i];
    if (!wanted->outside_prefix) continue;
    size_t len = strlen(wanted->name), root = strcspn(wanted->name, ".");
    int bias = len > 5 && !strcmp(wanted->name + len - 5, ".bias");
    char *module = zf_adapter_module_name(creation->model, i),
         *name = zf_strndup(wanted->name, root);
    rc = module && name ? zf_create_copy(creation, module, bias ? "bias" : "weight", i) : ZF_ENOMEM;
    if (!rc) rc = add_name(&creation->config->saved, name);
    free(name);
    free(module);
  }
  return rc;
}

/* The LoRA of the output head, which no operation reads; all-linear leaves it out. */
static int create_head(struct creation *creation, int64_t *made) {
  const struct zf_config *model = &creation->model->config;
  const char *head = zf_config_tail(model)->head, *pattern = creation->config->target.pattern;
  struct zf_op op = {.kind = ZF_OP_LINEAR,
                     .weight = creation->model->plan.head,
                     .inputs = model->embed_dim,
                     .width = model->outputs};
  if (!head || model->headless || (pattern && !strcmp(pattern, "all-linear"))) return 0;
  char *module = zf_strndup(head, strlen(head) - strlen(".weight"));
  int yes = 0, rc = module ? zf_peft_targets(&yes, creation->config, module) : ZF_ENOMEM;
  if (!rc && yes) rc = create_lora(creation, module, &op);
  *made += yes;
  free(module);
  return rc;
}

/* The error of targets without a module: it names the nearest module for a name of a list. */
static int no_target(const struct creation *creation, const char *wanted) {
  const struct zf_model *model = creation->model;
  struct zf_peft_names known = {0};
  unsigned kinds = makers[creation->config->kind].kinds;
  int rc = default_names(model, &known, kinds, 0);
  const char *near =
      rc || !known.count ? NULL : zf_nearest(wanted, (const char *const *)known.name, known.count);
  struct zf_buf names = {0};
  for (int64_t i = 0; i < known.count; i++)
    zf_buf_printf(&names, "%s%s", i ? ", " : "", known.name[i]);
  rc = zf_error(ZF_EUSAGE, "lora_target_modules: '%s' matches no module of %s%s%s%s (there are %s)",
                wanted, model->dir, near ? "; did you mean '" : "", near ? near : "",
                near ? "'?" : "", names.data ? names.data : "none");
  for (int64_t i = 0; i < known.count; i++) free(known.name[i]);
  free(known.name);
  zf_buf_free(&names);
  return rc;
}

/* Every name of a list must match a module of its own. */
static int check_names(const struct creation *creation) {
  const struct zf_peft_names *target = &creation->config->target;
  for (int64_t i = 0; i < target->count; i++) {
    struct zf_peft_names one = {.name = &target->name[i], .count = 1};
    int yes = 0;
    for (int64_t j = 0; j < creation->file->count && !yes; j++) {
      int rc = zf_peft_names_match(&yes, &one, creation->file->tensor[j].module);
      if (rc) return rc;
    }
    if (!yes) return no_target(creation, target->name[i]);
  }
  return 0;
}

static int create_all(struct creation *creation) {
  unsigned kinds = makers[creation->config->kind].kinds;
  int64_t made = 0;
  int rc = kinds ? set_defaults(creation) : 0;
  for (int64_t i = 0; i < creation->model->plan.nop && !rc; i++) {
    const struct zf_op *op = &creation->model->plan.op[i];
    if (op->weight >= 0 && op->weight < creation->model->plan.wanted_count && !op->adapter &&
        kinds >> op->kind & 1)
      rc = create_module(creation, op, &made);
  }
  int classify = creation->model->config.classify;
  if (!rc && classify) rc = create_classifier(creation);
  if (!rc && !classify && creation->config->kind == ZF_PEFT_LORA) rc = create_head(creation, &made);
  const char *pattern = creation->config->target.pattern;
  if (!rc && !made && pattern) rc = no_target(creation, pattern);
  if (!rc) rc = check_names(creation);
  if (!rc && makers[creation->config->kind].finish)
    rc = makers[creation->config->kind].finish(creation);
  if (!rc && creation->config->bias && !strcmp(creation->config->bias, "all"))
    rc = create_biases(creation);
  return rc;
}

/* The file is a plain LoRA: a loader that reads pissa or olora would change the base. */
static int plain_init(struct zf_peft_config *config) {
  free(config->init);
  config->init = zf_strdup("true");
  return config->init ? 0 : ZF_ENOMEM;
}

int zf_adapter_create(struct zf_adapter_file **out, const struct zf_model *model,
                      struct zf_peft_config *config, const struct zf_adapter_plan *plan) {
  struct creation creation = {.model = model, .config = config, .plan = plan};
  *out = NULL;
  int rc = zf_adapter_file_new(&creation.file, "new adapter");
  if (!rc) rc = create_all(&creation);
  if (!rc) rc = zf_peft_config_copy(&creation.file->config, config);
  if (!rc && from_weights(&creation)) rc = plain_init(&creation.file->config);
  if (!rc) rc = zf_adapter_file_check(creation.file);
  if (rc) {
    zf_adapter_file_free(creation.file);
    return rc;
  }
  *out = creation.file;
  return 0;
}
