/* Writes a checkpoint of random weights for a config.json. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "kern/kern.h"
#include "model/model.h"

/* Random weights and the tensors of the file that receives them. */
struct init_writer {
  const struct zf_plan *plan;
  const struct zf_st_out *out;
  uint64_t seed;
  float range; /* standard deviation of matrices */
};

/* Writes tensor `number`: a matrix of noise; a vector of ones (norm weights) or zeros (biases). */
static int write_tensor(void *ctx, int64_t number, FILE *file) {
  enum { CHUNK = 8192 };
  const struct init_writer *writer = ctx;
  const struct zf_wanted_tensor *wanted = &writer->plan->wanted[number];
  struct zf_noise key = {.seed = writer->seed, .use = ZF_USE_INIT, .param = (uint32_t)number};
  int matrix = wanted->ndim == 2,
      bias = strlen(wanted->name) > 5 && !strcmp(wanted->name + strlen(wanted->name) - 5, ".bias");
  int64_t total = wanted->shape[0] * (matrix ? wanted->shape[1] : 1);
  enum zf_dtype type = writer->out[number].type;
  float wide[CHUNK], narrow[CHUNK], constant = bias ? 0.0f : 1.0f - wanted->plus;
  for (int64_t i = 0; i < total; i += CHUNK) {
    int64_t count = total - i < CHUNK ? total - i : CHUNK;
    if (matrix) zf_noise_fill(wide, &key, i, count);
    for (int64_t j = 0; j < count; j++) wide[j] = matrix ? writer->range * wide[j] : constant;
    zf_from_f32(narrow, wide, type, count);
    fwrite(narrow, zf_dtype_info(type)->size, (size_t)count, file);
  }
  return 0;
}

/* Fills out[] and name[], which the caller frees. */
static int name_tensors(struct zf_st_out *out, char **name, const struct zf_plan *plan,
                        const struct zf_config *config, enum zf_dtype dtype) {
  for (int64_t i = 0; i < plan->wanted_count; i++) {
    const struct zf_wanted_tensor *wanted = &plan->wanted[i];
    name[i] =
        zf_asprintf("%s%s", wanted->outside_prefix ? "" : config->family->prefix[0], wanted->name);
    if (!name[i]) return ZF_ENOMEM;
    out[i] = (struct zf_st_out){.name = name[i], .ndim = wanted->ndim, .type = dtype};
    memcpy(out[i].shape, wanted->shape, sizeof wanted->shape);
  }
  return 0;
}

static int write_weights(const char *dir, const struct zf_config *config,
                         struct init_writer *writer, enum zf_dtype dtype) {
  const struct zf_plan *plan = writer->plan;
  struct zf_st_out *out = zf_calloc(plan->wanted_count, sizeof *out);
  char **name = zf_calloc(plan->wanted_count, sizeof *name),
       *path = zf_path_join(dir, "model.safetensors");
  int rc = out && name && path ? name_tensors(out, name, plan, config, dtype) : ZF_ENOMEM;
  writer->out = out;
  if (!rc) rc = zf_st_write(path, out, plan->wanted_count, NULL, 0, write_tensor, writer);
  if (name)
    for (int64_t i = 0; i < plan->wanted_count; i++) free(name[i]);
  free(name);
  free(out);
  free(path);
  return rc;
}

/* initializer_range, or init_std, as opt spells it. */
static int read_range(double *range, const char *text, size_t len, const char *name) {
  json_t *obj;
  *range = 0.02;
  int rc = zf_json_parse(&obj, text, len, name);
  if (rc) return rc;
  rc = zf_json_num(range, obj, json_object_get(obj, "init_std") ? "init_std" : "initializer_range",
                   name);
  if (!rc && !(*range > 0 && *range < 10))
    rc = zf_error(ZF_EINVALID, "%s: initializer_range: expected above 0 to 10, found %g", name,
                  *range);
  json_decref(obj);
  return rc;
}

int zf_model_init(const char *config, const char *dir, uint64_t seed, enum zf_dtype dtype) {
  char *text = NULL, *path = zf_path_join(dir, "config.json");
  size_t len;
  double range = 0;
  struct zf_config parsed;
  struct zf_plan plan = {0};
  int rc = path ? zf_read_file(&text, &len, config, 1 << 24) : ZF_ENOMEM;
  if (!rc) rc = zf_config_parse(&parsed, text, len, config);
  if (!rc) rc = read_range(&range, text, len, config);
  if (!rc) rc = zf_plan_build(&plan, &parsed);
  if (!rc) rc = zf_mkdirs(dir);
  if (!rc) rc = zf_write_file(path, text, len);
  struct init_writer writer = {.plan = &plan, .seed = seed, .range = (float)range};
  if (!rc) rc = write_weights(dir, &parsed, &writer, dtype);
  zf_plan_free(&plan);
  free(path);
  free(text);
  return rc;
}
