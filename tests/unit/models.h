/* What the tests of models share: the tiny checkpoints of tests/golden/families, passes over
 * plain token sequences, and their logits. */
#ifndef ZF_TESTS_MODELS_H
#define ZF_TESTS_MODELS_H

#include <math.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "model/forward.h"
#include "unit/unit.h"
#include "zo/zo.h"

#define FAMILIES_DIR "tests/golden/families/"

static const char *const families[] = {
    "llama", "llama3-bias", "llama-gelu", "mistral", "qwen2", "qwen3", "qwen3-tied", "gpt2",
    "gpt2-untied", "opt", "opt-350m", "opt-project", "opt-bare", "smollm3", "granite", "olmo2",
    "phi3", "phi3-partial", "stablelm", "stablelm-parallel", "gpt_neox", "gpt_neox-serial", "gemma",
    "gemma2", "gemma3_text", "gemma3", "llama-dynamic", "llama-yarn", "mistral-window",
    "qwen2-window", "llama-dynamic-far",
    "phi3-far", /* beyond an original length of 6 and 8 tokens */
    /* those below are not causal language models */
    "llama-classify", "gpt2-classify", "roberta", "bert", "distilbert", "modernbert",
    "modernbert-bias", "roberta-classify", "bert-classify", "distilbert-classify",
    "modernbert-classify", "mistral-classify", "qwen2-classify", "qwen3-classify", "opt-classify",
    "smollm3-classify", "olmo2-classify", "phi3-classify", "stablelm-classify", "gpt_neox-classify",
    "gemma-classify", "gemma2-classify", "gemma3_text-classify", "roberta-pad",
    "roberta-pad-classify", "modernbert-act", "bert-act-classify"};
enum {
  NFAMILIES = sizeof families / sizeof *families,
  NCAUSAL = NFAMILIES - 27,
  NSTEADY = NCAUSAL - 2 /* whose rotary frequencies are the same at all lengths of the tests */
};

static const struct zf_model_opts as_stored = {.dtype = -1};

static inline void begin_kernels(void) {
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(1);
}

static inline struct zf_model *open_model(const char *dir, const struct zf_model_opts *o) {
  struct zf_model *m;
  ck_ok(zf_model_open(&m, dir, o));
  return m;
}

/* Family i with every tensor that matches `glob` trained (NULL: none), held as `dtype`. */
static inline struct zf_model *open_family(int i, const char *glob, int dtype) {
  char dir[256];
  const char *globs[1] = {glob};
  struct zf_model_opts o = {.dtype = dtype,
                            .trained = (enum zf_dtype)(dtype < 0 ? ZF_F32 : dtype),
                            .trainable = globs,
                            .ntrainable = glob ? 1 : 0};
  snprintf(dir, sizeof dir, FAMILIES_DIR "%s", families[i]);
  return open_model(dir, &o);
}

static inline struct zf_forward *make_forward(const struct zf_model *m, int64_t tokens,
                                              int64_t rows, int64_t segments, int64_t length,
                                              int streams) {
  struct zf_limits lim = {.tokens = tokens * streams,
                          .rows = rows * streams,
                          .segments = segments,
                          .length = length,
                          .ids = 8,
                          .streams = streams};
  struct zf_forward *f;
  ck_ok(zf_forward_new(&f, m, &lim));
  return f;
}

/* All logits of one sequence under `pt`, [streams][n][vocab]; the caller frees. */
static inline float *logits_under(const struct zf_model *m, const int32_t *ids, int64_t n,
                                  const struct zf_perturb *pt) {
  struct zf_forward *f = make_forward(m, n, n, 1, n, pt->streams.count);
  int32_t id[n], pos[n], row[n];
  for (int64_t i = 0; i < n; i++) {
    id[i] = ids[i];
    pos[i] = row[i] = (int32_t)i;
  }
  struct zf_segment seg = {.len = n};
  struct zf_batch b = {
      .T = n, .id = id, .pos = pos, .segment_count = 1, .segment = &seg, .R = n, .row = row};
  float *out = zf_calloc(pt->streams.count * n * m->config.outputs, sizeof *out);
  ck_assert_ptr_nonnull(out);
  ck_ok(zf_forward_run(f, &b, pt));
  zf_forward_logits(f, out);
  zf_forward_free(f);
  return out;
}

static inline float *logits_of(const struct zf_model *m, const int32_t *ids, int64_t n) {
  struct zf_perturb none = zf_perturb_none();
  return logits_under(m, ids, n, &none);
}

/* Mean negative log-likelihood of a sequence, as a step computes it. */
struct text {
  struct zf_model *m;
  struct zf_forward *f;
  int32_t id[64];
  int64_t n; /* tokens that are read; one more is predicted */
};

static inline int text_loss(void *ctx, const struct zf_perturb *pt, int wide,
                            struct zf_zo_losses *losses) {
  (void)wide;
  struct text *x = ctx;
  int32_t place[64];
  double lse[128], logit[128];
  struct zf_segment seg = {.len = x->n};
  for (int i = 0; i < x->n; i++) place[i] = i;
  struct zf_batch b = {.T = x->n,
                       .id = x->id,
                       .pos = place,
                       .segment_count = 1,
                       .segment = &seg,
                       .R = x->n,
                       .row = place};
  int rc = zf_forward_run(x->f, &b, pt);
  if (rc) return rc;
  zf_forward_lse(x->f, x->id + 1, lse, logit);
  for (int s = 0; s < pt->streams.count; s++) {
    losses->batch[s] = 0;
    for (int64_t i = s * x->n; i < (s + 1) * x->n; i++)
      losses->batch[s] += (lse[i] - logit[i]) / (double)x->n;
  }
  return 0;
}

static inline void text_init(struct text *x, struct zf_model *m, int64_t n) {
  x->m = m;
  x->n = n;
  for (int64_t i = 0; i <= n; i++) x->id[i] = (int32_t)((i * i * 5 + 11 * i + 2) % m->config.vocab);
  x->f = make_forward(m, n, n, 1, n, 2);
}

#endif
