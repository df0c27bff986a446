/* A checkpoint of random weights from a config.json. */
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

struct filler {
  const struct zf_plan *plan;
  const struct zf_st_out *out;
  uint64_t seed;
  float range;
};

/* Matrices by the counter; vectors: weights of norms 1, biases 0. */
static int fill(void *ctx, int64_t i, FILE *file) {
  enum { PIECE = 8192 };
  const struct filler *filler = ctx;
  const struct zf_wanted_tensor *wanted = &filler->plan->want[i];
  struct zf_noise key = {.seed = filler->seed, .use = ZF_USE_INIT, .param = (uint32_t)i};
  int matrix = wanted->ndim == 2,
      bias = strlen(wanted->name) > 5 && !strcmp(wanted->name + strlen(wanted->name) - 5, ".bias");
  int64_t n = wanted->shape[0] * (matrix ? wanted->shape[1] : 1);
  size_t size = zf_dtype_info(filler->out[i].type)->size;
  float wide[PIECE], narrow[PIECE];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t k = n - at < PIECE ? n - at : PIECE;
    if (matrix) zf_noise_fill(wide, &key, at, k);
    for (int64_t e = 0; e < k; e++)
      wide[e] = matrix ? filler->range * wide[e] : bias ? 0.0f : 1.0f - wanted->plus;
    zf_from_f32(narrow, wide, filler->out[i].type, k);
    fwrite(narrow, size, (size_t)k, file);
  }
  return 0;
}

static int write_weights(const char *dir, const struct zf_config *config, const struct filler *how,
                         enum zf_dtype dtype) {
  const struct zf_plan *plan = how->plan;
  struct filler filler = *how;
  struct zf_st_out *out = zf_calloc(plan->nwant, sizeof *out);
  char **name = zf_calloc(plan->nwant, sizeof *name),
       *path = zf_path_join(dir, "model.safetensors");
  int rc = out && name && path ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < plan->nwant; i++) {
    const struct zf_wanted_tensor *wanted = &plan->want[i];
    name[i] =
        zf_asprintf("%s%s", wanted->outside_prefix ? "" : config->family->prefix[0], wanted->name);
    out[i] = (struct zf_st_out){.name = name[i], .ndim = wanted->ndim, .type = dtype};
    memcpy(out[i].shape, wanted->shape, sizeof wanted->shape);
    if (!name[i]) rc = ZF_ENOMEM;
  }
  filler.out = out;
  if (!rc) rc = zf_st_write(path, out, plan->nwant, NULL, 0, fill, &filler);
  for (int64_t i = 0; name && i < plan->nwant; i++) free(name[i]);
  free(name);
  free(out);
  free(path);
  return rc;
}

/* initializer_range, as the families of the table spell it (opt: init_std). */
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
  struct zf_config c;
  struct zf_plan plan = {0};
  int rc = path ? zf_read_file(&text, &len, config, 1 << 24) : ZF_ENOMEM;
  if (!rc) rc = zf_config_parse(&c, text, len, config);
  if (!rc) rc = read_range(&range, text, len, config);
  if (!rc) rc = zf_plan_build(&plan, &c);
  if (!rc) rc = zf_mkdirs(dir);
  if (!rc) rc = zf_write_file(path, text, len);
  struct filler how = {.plan = &plan, .seed = seed, .range = (float)range};
  if (!rc) rc = write_weights(dir, &c, &how, dtype);
  zf_plan_free(&plan);
  free(path);
  free(text);
  return rc;
}
