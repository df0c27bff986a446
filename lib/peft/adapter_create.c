/* New adapters: the modules that they change, and their initial values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "peft/adapter.h"
#include "peft/peft_internal.h"
#include "rng/noise.h"

/* A new adapter while its tensors are made. */
struct creation {
  const struct zf_model *model;
  struct zf_peft_config *config;
  struct zf_adapter_file *file;
  uint64_t seed;
  int64_t most_in, most_out; /* VeRA: of all its modules */
};

/* --- values --- */

/* The noise of the next tensor of the file. */
static struct zf_noise next_noise(const struct creation *creation) {
  return (struct zf_noise){.seed = creation->seed,
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

/* Makes the rows orthonormal, each against those before it (Gram and Schmidt, twice). */
static void orthonormalize(float *value, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; i++) {
    float *row = value + i * columns;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t j = 0; j < i; j++) {
        double dot = 0;
        for (int64_t c = 0; c < columns; c++)
          dot += (double)row[c] * (double)value[j * columns + c];
        for (int64_t c = 0; c < columns; c++) row[c] -= (float)dot * value[j * columns + c];
      }
    double square = 0;
    for (int64_t c = 0; c < columns; c++) square += (double)row[c] * (double)row[c];
    for (int64_t c = 0; c < columns; c++) row[c] = (float)((double)row[c] / sqrt(square));
  }
}

static void fill_lora_a(const struct creation *creation, const struct zf_noise *noise, float *value,
                        int64_t rank, int64_t inputs) {
  const char *init = creation->config->init ? creation->config->init : "true";
  if (!strcmp(init, "gaussian")) {
    fill_normal(value, rank * inputs, noise, 1 / (double)rank);
  } else if (!strcmp(init, "orthogonal")) {
    fill_normal(value, rank * inputs, noise, 1);
    orthonormalize(value, rank, inputs);
  } else {
    fill_uniform(value, rank * inputs, noise, 1 / sqrt((double)inputs));
  }
}

/* Adds a tensor of zeros; *value: where its values stand. */
static int add(struct creation *creation, const char *module, const char *part, int64_t rows,
               int64_t columns, float **value) {
  int64_t shape[2] = {rows, columns};
  int rc = zf_adapter_file_add(creation->file, module, part, columns ? 2 : 1, shape, NULL);
  if (!rc && value) *value = creation->file->tensor[creation->file->count - 1].data;
  return rc;
}

/* --- the parts of one module, by kind --- */

static int create_lora(struct creation *creation, const char *module, const struct zf_op *op) {
  int64_t rank;
  float *value;
  int rc = zf_peft_rank(&rank, creation->config, module), embeds = op->kind == ZF_OP_EMBED;
  struct zf_noise noise = next_noise(creation);
  if (rc) return rc;
  if (embeds) { /* PEFT: A is zero, B is normal */
    if ((rc = add(creation, module, "lora_embedding_A", rank, creation->model->config.vocab, NULL)))
      return rc;
    if ((rc = add(creation, module, "lora_embedding_B", op->width, rank, &value))) return rc;
    fill_normal(value, op->width * rank, &noise, 1);
    return 0;
  }
  if (rank > op->inputs || rank > op->width) rank = op->inputs < op->width ? op->inputs : op->width;
  if ((rc = add(creation, module, "lora_A", rank, op->inputs, &value))) return rc;
  fill_lora_a(creation, &noise, value, rank, op->inputs);
  return add(creation, module, "lora_B", op->width, rank, NULL);
}

static int create_ia3(struct creation *creation, const char *module, const struct zf_op *op) {
  int feedforward;
  float *value;
  int rc = zf_peft_names_match(&feedforward, &creation->config->feedforward, module);
  int64_t count = feedforward ? op->inputs : op->width;
  if (!rc)
    rc = add(creation, module, "ia3_l", feedforward ? 1 : count, feedforward ? count : 1, &value);
  if (!rc) fill_constant(value, count, 1);
  return rc;
}

static int create_vera(struct creation *creation, const char *module, const struct zf_op *op) {
  float *value;
  if (op->inputs > creation->most_in) creation->most_in = op->inputs;
  if (op->width > creation->most_out) creation->most_out = op->width;
  int rc = add(creation, module, "vera_lambda_d", creation->config->r, 0, &value);
  if (rc) return rc;
  fill_constant(value, creation->config->r, (float)creation->config->d_initial);
  return add(creation, module, "vera_lambda_b", op->width, 0, NULL);
}

/* The pair of matrices that all modules of a VeRA adapter share. */
static int finish_vera(struct creation *creation) {
  float *value;
  int64_t r = creation->config->r;
  struct zf_noise noise = next_noise(creation);
  int rc = add(creation, "", "vera_A", r, creation->most_in, &value);
  if (rc) return rc;
  fill_uniform(value, r * creation->most_in, &noise, 1 / sqrt((double)creation->most_in));
  noise = next_noise(creation);
  if ((rc = add(creation, "", "vera_B", creation->most_out, r, &value))) return rc;
  fill_uniform(value, creation->most_out * r, &noise, 1 / sqrt((double)r));
  return 0;
}

/* A copy of a tensor of the base, which training changes. */
static int copy_base(struct creation *creation, const char *module, const char *part,
                     int64_t number) {
  const struct zf_param *base = &creation->model->params.param[number];
  float *value;
  int rc = add(creation, module, part, base->shape[0], base->ndim > 1 ? base->shape[1] : 0, &value);
  if (!rc && base->data) zf_to_f32(value, base->data, base->type, base->count);
  return rc;
}

static int create_norm(struct creation *creation, const char *module, const struct zf_op *op) {
  int rc = copy_base(creation, module, "weight", op->weight);
  return rc || op->bias < 0 ? rc : copy_base(creation, module, "bias", op->bias);
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
  int rc = set_defaults(creation);
  for (int64_t i = 0; i < creation->model->plan.nop && !rc; i++) {
    const struct zf_op *op = &creation->model->plan.op[i];
    if (op->weight >= 0 && op->weight < creation->model->plan.wanted_count && !op->adapter &&
        kinds >> op->kind & 1)
      rc = create_module(creation, op, &made);
  }
  const char *pattern = creation->config->target.pattern;
  if (!rc && !made && pattern) rc = no_target(creation, pattern);
  if (!rc) rc = check_names(creation);
  if (!rc && makers[creation->config->kind].finish)
    rc = makers[creation->config->kind].finish(creation);
  return rc;
}

int zf_adapter_create(struct zf_adapter_file **out, const struct zf_model *model,
                      struct zf_peft_config *config, uint64_t seed) {
  struct creation creation = {.model = model, .config = config, .seed = seed};
  *out = NULL;
  if (!makers[config->kind].create)
    return zf_error(ZF_EUSAGE, "adapter: %s cannot be trained yet; lora, ia3, vera and ln can",
                    zf_peft_kinds[config->kind].name);
  int rc = zf_adapter_file_new(&creation.file, "new adapter");
  if (!rc) rc = create_all(&creation);
  if (!rc) rc = zf_peft_config_copy(&creation.file->config, config);
  if (!rc) rc = zf_adapter_file_check(creation.file);
  if (rc) {
    zf_adapter_file_free(creation.file);
    return rc;
  }
  *out = creation.file;
  return 0;
}
