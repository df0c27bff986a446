/* A head of labels for a checkpoint that has none: an encoder, a masked or a causal language model.
 *
 * Matrices are normal with the configuration's initializer_range, biases 0, norms 1, as Transformers
 * makes them; each value is a function of (seed, number of the parameter, element), so that a run is
 * rebuilt from its log alone. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "kern/kern.h"
#include "model/model_internal.h"

int zf_model_has_head(const struct zf_model *m) {
  const struct zf_head_names *tail = zf_config_tail(&m->config);
  return m->config.tied ? !tail->dense || zf_model_tensor(m, tail->dense) != NULL
                        : zf_model_tensor(m, tail->head) != NULL;
}

int zf_model_may_make(const struct zf_model *m, const struct zf_wanted_tensor *w,
                      const struct zf_model_opts *o) {
  return o->labels && m->config.classify && w->outside_prefix;
}

int zf_model_name_head(struct zf_model *m, const struct zf_model_opts *o) {
  const struct zf_plan *p = &m->plan;
  for (int64_t i = 0; i < p->nwant; i++)
    m->nmade += !m->from[i] && zf_model_may_make(m, &p->want[i], o);
  m->head_seed = o->head_seed;
  if (!m->nmade) return 0;
  m->made = zf_calloc(p->nwant, sizeof *m->made);
  int rc = m->made ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < p->nwant; i++) {
    const struct zf_wanted_tensor *w = &p->want[i];
    m->made[i] = zf_asprintf("%s%s", w->outside_prefix ? "" : m->config.family->prefix[0], w->name);
    if (!m->made[i]) rc = ZF_ENOMEM;
  }
  return rc;
}

static int is_bias(const char *name) {
  size_t n = strlen(name);
  return n > 5 && !strcmp(name + n - 5, ".bias");
}

void zf_model_make(const struct zf_model *m, int64_t i) {
  enum { PIECE = 4096 };
  const struct zf_wanted_tensor *w = &m->plan.want[i];
  const struct zf_param *p = &m->params.param[i];
  struct zf_noise key = {.seed = m->head_seed, .use = ZF_USE_INIT, .param = (uint32_t)i};
  float value[PIECE], other = is_bias(w->name) ? 0.0f : 1.0f - w->plus;
  for (int64_t at = 0; at < p->count; at += PIECE) {
    int64_t n = p->count - at < PIECE ? p->count - at : PIECE;
    if (w->ndim == 2) zf_noise_fill(value, &key, at, n);
    for (int64_t e = 0; e < n; e++)
      value[e] = w->ndim == 2 ? (float)m->config.init_range * value[e] : other;
    zf_from_f32((char *)p->data + zf_dtype_bytes(p->type, at), value, p->type, n);
  }
}
