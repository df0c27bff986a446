#include "sampling.h"

#include <math.h>
#include <string.h>

#include "base/err.h"

struct zc_sampling zc_sampling = {
    .top_p = 1, .repetition = 1, .seed = 42, .max_new = 64, .temperature = 0};

int zc_sampling_check(void) {
  const struct zc_sampling *s = &zc_sampling;
  if (s->max_new < 1)
    return zf_error(ZF_EUSAGE, "--max-new-tokens: expected 1 or more, found %lld",
                    (long long)s->max_new);
  if (!(s->temperature >= 0 && isfinite(s->temperature)))
    return zf_error(ZF_EUSAGE, "--temperature: expected 0 or more");
  if (!(s->top_p > 0 && s->top_p <= 1))
    return zf_error(ZF_EUSAGE, "--top-p: expected above 0 to 1");
  if (s->top_k < 0) return zf_error(ZF_EUSAGE, "--top-k: expected 0 or more");
  if (!(s->min_p >= 0 && s->min_p <= 1)) return zf_error(ZF_EUSAGE, "--min-p: expected 0 to 1");
  if (!(s->repetition > 0)) return zf_error(ZF_EUSAGE, "--repetition-penalty: expected above 0");
  for (int i = 0; i < s->stop.n; i++)
    if (!*s->stop.at[i]) return zf_error(ZF_EUSAGE, "--stop: expected a text");
  if (s->temperature == 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0))
    return zf_error(ZF_EUSAGE, "--top-k, --top-p and --min-p have no effect at --temperature 0");
  return 0;
}

struct zf_gen_rules zc_sampling_rules(const struct zf_ids *ends) {
  const struct zc_sampling *s = &zc_sampling;
  return (struct zf_gen_rules){.sampling = {.temperature = s->temperature,
                                            .top_k = s->top_k,
                                            .top_p = s->top_p,
                                            .min_p = s->min_p,
                                            .repetition = s->repetition,
                                            .seed = (uint64_t)s->seed},
                               .max_new = s->max_new,
                               .eos = ends->id,
                               .neos = ends->n,
                               .stop = s->stop.at,
                               .nstop = s->stop.n};
}

int zc_chat_open(struct zf_chat **out, const struct zf_model *m, const char *named) {
  int rc = zf_chat_open(out, m->dir, named);
  if (rc != ZF_EUSAGE) return rc;
  if (named)
    return zf_error(ZF_EUSAGE, "--chat-template: '%s' is no file and none of %s", named,
                    zf_chat_names());
  return zf_error(ZF_EUSAGE,
                  "%s has no chat template: give --chat-template one of %s, or a file", m->dir,
                  zf_chat_names());
}
