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
static int fill(void *ctx, int64_t i, FILE *f) {
  enum { PIECE = 8192 };
  const struct filler *x = ctx;
  const struct zf_wanted_tensor *w = &x->plan->want[i];
  struct zf_noise key = {.seed = x->seed, .use = ZF_USE_INIT, .param = (uint32_t)i};
  int matrix = w->ndim == 2,
      bias = strlen(w->name) > 5 && !strcmp(w->name + strlen(w->name) - 5, ".bias");
  int64_t n = w->shape[0] * (matrix ? w->shape[1] : 1);
  size_t size = zf_dtype_info(x->out[i].type)->size;
  float wide[PIECE], narrow[PIECE];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t k = n - at < PIECE ? n - at : PIECE;
    if (matrix) zf_noise_fill(wide, &key, at, k);
    for (int64_t e = 0; e < k; e++)
      wide[e] = matrix ? x->range * wide[e] : bias ? 0.0f : 1.0f - w->plus;
    zf_from_f32(narrow, wide, x->out[i].type, k);
    fwrite(narrow, size, (size_t)k, f);
  }
  return 0;
}

static int write_weights(const char *dir, const struct zf_config *c, const struct filler *how,
                         enum zf_dtype dtype) {
  const struct zf_plan *p = how->plan;
  struct filler x = *how;
  struct zf_st_out *out = zf_calloc(p->nwant, sizeof *out);
  char **name = zf_calloc(p->nwant, sizeof *name), *path = zf_path_join(dir, "model.safetensors");
  int rc = out && name && path ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < p->nwant; i++) {
    const struct zf_wanted_tensor *w = &p->want[i];
    name[i] = zf_asprintf("%s%s", w->outside_prefix ? "" : c->family->prefix[0], w->name);
    out[i] = (struct zf_st_out){.name = name[i], .ndim = w->ndim, .type = dtype};
    memcpy(out[i].shape, w->shape, sizeof w->shape);
    if (!name[i]) rc = ZF_ENOMEM;
  }
  x.out = out;
  if (!rc) rc = zf_st_write(path, out, p->nwant, NULL, 0, fill, &x);
  for (int64_t i = 0; name && i < p->nwant; i++) free(name[i]);
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
  struct zf_plan p = {0};
  int rc = path ? zf_read_file(&text, &len, config, 1 << 24) : ZF_ENOMEM;
  if (!rc) rc = zf_config_parse(&c, text, len, config);
  if (!rc) rc = read_range(&range, text, len, config);
  if (!rc) rc = zf_plan_build(&p, &c);
  if (!rc) rc = zf_mkdirs(dir);
  if (!rc) rc = zf_write_file(path, text, len);
  struct filler how = {.plan = &p, .seed = seed, .range = (float)range};
  if (!rc) rc = write_weights(dir, &c, &how, dtype);
  zf_plan_free(&p);
  free(path);
  free(text);
  return rc;
}
