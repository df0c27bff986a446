/* Gradients of adapters over frozen bases: against PyTorch's autograd through PEFT
 * (tests/golden/adapters/make_gradients.py) and central differences of a forward pass in double
 * (ref64.h); over bases in blocks and narrow types; and the mean of zeroth-order estimates against them.
 *
 * Tolerances are those of test_back.c. */
#include <math.h>

#include "back/optim.h"
#include "kern/kern_internal.h"
#include "peft/adapter.h"
#include "unit/estimate_law.h"
#include "unit/ragged.h"
#include "unit/zo_steps.h"

#define ADAPTERS "tests/golden/adapters/"

static const double RELATIVE = 1e-4;

static const char *const bases[] = {"llama", "qwen2", "qwen3",    "gemma3_text", "phi3",
                                    "gpt2",  "opt",   "gpt_neox", "bert"};
static const char *const methods[] = {"lora", "lora_all", "dora",   "embedding", "bias",  "ia3",
                                      "ln",   "vera",     "prompt", "prefix",    "tokens"};
enum { BASES = sizeof bases / sizeof *bases, METHODS = sizeof methods / sizeof *methods };

static void free_file(void *file) {
  zf_adapter_file_free(file);
}

static void attach(struct zf_model *model, struct zf_adapter_file *file) {
  ck_ok(zf_model_own(model, file, free_file));
  ck_ok(zf_adapter_attach(model, file, 1, ZF_TRAIN_ALL));
}

/* The base with the adapter, all of which is trained; NULL: PEFT has no such method for the family. */
static struct zf_model *open_adapted(const char *base, const char *method, int dtype) {
  char dir[256], path[256];
  struct zf_model_opts opts = {.dtype = dtype};
  struct zf_adapter_file *file;
  snprintf(dir, sizeof dir, ADAPTERS "%s/base", base);
  snprintf(path, sizeof path, ADAPTERS "%s/%s", base, method);
  if (!zf_adapter_probe(path)) return NULL;
  struct zf_model *model = open_model(dir, &opts);
  ck_ok(zf_adapter_file_read(&file, path, model));
  attach(model, file);
  return model;
}

static struct zf_model *open_case(int number) {
  return open_adapted(bases[number / METHODS], methods[number % METHODS], -1);
}

/* A new LoRA on these modules, in which nothing is zero. */
static void attach_new(struct zf_model *model, const char *const *targets, int64_t count) {
  struct zf_peft_config config;
  struct zf_adapter_file *file;
  ck_ok(zf_peft_config_init(&config, ZF_PEFT_LORA));
  config.r = 3;
  config.alpha = 5;
  ck_ok(zf_peft_names_set(&config.target, targets, count, NULL));
  ck_ok(zf_adapter_create(&file, model, &config, &(struct zf_adapter_plan){.seed = 11}));
  for (int64_t i = 0; i < file->count; i++)
    for (int64_t e = 0; e < file->tensor[i].count; e++)
      file->tensor[i].data[e] = 0.2f * sinf((float)(7 * i + 3 * e + 1));
  zf_peft_config_free(&config);
  attach(model, file);
}

/* --- PyTorch --- */

static void make_golden_batch(struct ragged *x, const struct zf_model *m) {
  static const int32_t ids[] = {3, 17, 5, 9, 22, 1, 14, 8, 3};
  enum { N = sizeof ids / sizeof *ids };
  make_ragged(x, m);
  x->b.T = N;
  x->b.R = N - 1;
  x->b.segment_count = 1;
  x->seg[0] = (struct zf_segment){.len = N};
  memset(x->slope, 0, sizeof x->slope);
  for (int32_t t = 0; t < N; t++) {
    x->id[t] = ids[t];
    x->pos[t] = x->row[t] = t;
    x->target[t] = t + 1 < N ? ids[t + 1] : -1;
    x->coef[t] = -1.0f / (N - 1);
  }
}

/* |got - want| <= RELATIVE |want|, both vectors. */
static double compare(const struct zf_param *param, const float *got,
                      const struct zf_st_tensor *t) {
  float *want = zf_calloc(param->count, sizeof *want);
  double off = 0, size = 0;
  ck_assert_int_eq(t->count, param->count);
  memcpy(want, t->data, t->bytes);
  for (int64_t e = 0; e < param->count; e++) {
    off += pow((double)got[e] - (double)want[e], 2);
    size += (double)want[e] * (double)want[e];
  }
  ck_assert_msg(sqrt(off) <= RELATIVE * sqrt(size) + 1e-6, "%s: off by %g of %g", param->name,
                sqrt(off), sqrt(size));
  free(want);
  return size > 1e-12 ? sqrt(off / size) : 0;
}

START_TEST(test_torch) {
  struct zf_model *m = open_case(_i);
  if (!m) return;
  struct ragged x;
  struct zf_st *st;
  char path[256];
  double loss, worst = 0;
  int64_t n, at = 0, compared = 0;
  snprintf(path, sizeof path, ADAPTERS "%s/%s/gradients.safetensors", bases[_i / METHODS],
           methods[_i % METHODS]);
  ck_ok(zf_st_open(&st, path));
  make_golden_batch(&x, m);
  float *g = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n), want;
  memcpy(&want, zf_st_find(st, "loss")->data, sizeof want);
  ck_assert_double_eq_tol(loss, (double)want, 1e-5);
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *param = &m->params.param[i];
    if (!param->trained) continue;
    const struct zf_st_tensor *tensor = zf_st_find(st, param->name);
    /* PEFT keeps a copy of the embedding beside its adapter, and does not train it. */
    ck_assert_msg(tensor || strstr(param->name, "embed"), "%s is not in %s", param->name, path);
    if (tensor) worst = fmax(worst, compare(param, g + at, tensor));
    compared += tensor != NULL;
    at += padded(param->count);
  }
  ck_assert_int_eq(compared, st->count - 1);
  if (getenv("CK_VERBOSE"))
    printf("%-12s %-10s against PEFT: %.2g\n", bases[_i / METHODS], methods[_i % METHODS], worst);
  free(g);
  zf_st_free(st);
  zf_model_free(m);
}
END_TEST

/* --- central differences --- */

static void check_differences(const struct zf_model *m) {
  enum { SAMPLES = 5 };
  struct ref64 ref;
  struct ragged x;
  double loss;
  int64_t n, at = 0;
  make_ragged(&x, m);
  ref64_init(&ref, m);
  float *g = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  double want = ref64_loss(&ref, &x.b, x.target, x.coef, x.ids, 3, x.slope);
  ck_assert_msg(fabs(loss - want) < 1e-4 * (1 + fabs(want)), "loss %.9g, not %.9g", loss, want);
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *p = &m->params.param[i];
    if (!p->trained) continue;
    double top = largest(g + at, p->count) + 1e-2 * largest(g, n);
    for (int s = 0; s < SAMPLES; s++) {
      int64_t e = (s * 7919 + 13) % p->count;
      double d = difference(&ref, &x, ref.w[i] + e, 1e-5);
      ck_assert_msg(fabs(d - (double)g[at + e]) <= RELATIVE * top, "%s: %s[%lld]: %.9g, not %.9g",
                    m->dir, p->name, (long long)e, (double)g[at + e], d);
    }
    at += padded(p->count);
  }
  ck_assert_int_eq(at, n);
  free(g);
  ref64_free(&ref);
}

/* Virtual tokens are no tokens of the batch that ref64 walks: test_shared_prompt checks them. */
START_TEST(test_central_differences) {
  struct zf_model *m = open_case(_i);
  if (m && !m->plan.virtual_tokens) check_differences(m);
  zf_model_free(m);
}
END_TEST

static void add_pair(struct zf_adapter_file *file, const char *module, int64_t outputs,
                     int64_t inputs) {
  const int64_t rank = 3, inner[2] = {rank, inputs}, outer[2] = {outputs, rank};
  float *values = zf_calloc(rank * (inputs + outputs), sizeof *values);
  for (int64_t e = 0; e < rank * (inputs + outputs); e++) values[e] = 0.2f * sinf((float)(3 * e));
  ck_ok(zf_adapter_file_add(file, module, "lora_A", 2, inner, values));
  ck_ok(zf_adapter_file_add(file, module, "lora_B", 2, outer, values + rank * inputs));
  free(values);
}

/* LoRA of the head, alone and beside another module's; with a soft cap of logits and a tied head
 * (gemma2). */
START_TEST(test_head) {
  struct zf_model *m = open_model(_i & 1 ? FAMILIES_DIR "gemma2" : ADAPTERS "llama/base",
                                  &(struct zf_model_opts){.dtype = ZF_F32});
  struct zf_adapter_file *file;
  ck_ok(zf_adapter_file_new(&file, "head"));
  ck_ok(zf_peft_config_init(&file->config, ZF_PEFT_LORA));
  file->config.r = 3;
  file->config.alpha = 5;
  add_pair(file, "lm_head", m->config.outputs, m->config.embed_dim);
  if (_i & 2)
    add_pair(file, "model.layers.1.self_attn.o_proj", m->config.hidden,
             m->config.heads * m->config.head_dim);
  ck_ok(zf_adapter_file_check(file));
  attach(m, file);
  ck_assert_int_ge(m->plan.head_outer, 0);
  check_differences(m);
  zf_model_free(m);
}
END_TEST

/* --- the same bits --- */

static void same_bits(const struct zf_model *m, const struct ragged *x, enum zf_compute c,
                      int checkpoint, const float *want, int64_t n, const char *what) {
  double loss;
  int64_t count;
  float *g = gradients(m, x, c, checkpoint, &loss, &count);
  ck_assert_int_eq(count, n);
  ck_assert_msg(!memcmp(g, want, sizeof *g * (size_t)n), "%s: %s differs", m->dir, what);
  free(g);
}

START_TEST(test_same_bits) {
  struct zf_model *m = open_case(_i);
  if (!m) return;
  struct ragged x;
  double loss;
  int64_t n;
  make_ragged(&x, m);
  for (int c = 0; c <= ZF_COMPUTE_BF16; c++) {
    enum zf_compute how = (enum zf_compute)c;
    float *g = gradients(m, &x, how, 0, &loss, &n);
    same_bits(m, &x, how, 1, g, n, "checkpointing");
    zf_kern_set_min_work(0);
    for (int t = 2; t <= 3; t++) {
      zf_kern_threads(t);
      same_bits(m, &x, how, t % 2, g, n, "more threads");
    }
    zf_kern_threads(1);
    zf_cpu_mask(0);
    zf_kern_init(zf_cpu_flags());
    same_bits(m, &x, how, 0, g, n, "plain C");
    zf_cpu_mask(~0u);
    zf_kern_init(zf_cpu_flags());
    free(g);
  }
  zf_model_free(m);
}
END_TEST

/* A base that stays in its blocks or in bf16 has the gradients of the f32 values that they mean. */
START_TEST(test_narrow_base) {
  static const char *const paths[] = {
      "tests/golden/gguf/llama-q8_0.gguf", "tests/golden/gguf/llama-q4_k_m.gguf",
      "tests/golden/gguf/llama-f16.gguf", "tests/golden/gguf/gemma3.gguf"};
  static const char *const targets[] = {"q_proj",    "v_proj",  "o_proj",
                                        "gate_proj", "up_proj", "down_proj"};
  struct zf_model *stored = open_model(paths[_i], &as_stored);
  struct zf_model *wide = open_model(paths[_i], &(struct zf_model_opts){.dtype = ZF_F32});
  struct ragged x;
  double loss;
  int64_t n;
  attach_new(stored, targets, 6);
  attach_new(wide, targets, 6);
  ck_assert_int_gt(stored->mapped, 0);
  make_ragged(&x, wide);
  for (int c = 0; c <= ZF_COMPUTE_BF16; c++) {
    float *g = gradients(wide, &x, (enum zf_compute)c, 0, &loss, &n);
    ck_assert_double_gt(largest(g, n), 0);
    same_bits(stored, &x, (enum zf_compute)c, _i & 1, g, n, "the base as it is stored");
    free(g);
  }
  zf_model_free(stored);
  zf_model_free(wide);
}
END_TEST

/* Without the first layer's adapters the pass ends before that layer. */
START_TEST(test_late_stop) {
  struct zf_model *m = open_adapted("llama", methods[_i], -1);
  struct ragged x;
  double loss;
  int64_t n, some, at = 0, from = 0;
  make_ragged(&x, m);
  float *g = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  int64_t *size = zf_calloc(m->params.count, sizeof *size);
  for (int64_t i = 0; i < m->params.count; i++) {
    struct zf_param *p = &m->params.param[i];
    if (p->trained) size[i] = padded(p->count);
    if (strstr(p->name, "layers.0.")) p->trained = 0;
  }
  for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
    float *part = gradients(m, &x, ZF_COMPUTE_F32, checkpoint, &loss, &some);
    at = from = 0;
    for (int64_t i = 0; i < m->params.count; from += size[i++]) {
      if (!m->params.param[i].trained) continue;
      ck_assert_mem_eq(part + at, g + from, sizeof *g * (size_t)m->params.param[i].count);
      at += size[i];
    }
    ck_assert(at == some && at > 0 && at < n);
    free(part);
  }
  free(size);
  free(g);
  zf_model_free(m);
}
END_TEST

/* --- widths --- */

/* Registers and vectors hold what operations write to them. */
static void check_widths(const struct zf_model *m) {
  const struct zf_plan *plan = &m->plan;
  for (int64_t i = 0; i < plan->nop; i++) {
    const struct zf_op *op = &plan->op[i];
    ck_assert_int_le(op->dst_col + op->width, plan->width[op->dst]);
    if (op->kind == ZF_OP_COLUMNS) ck_assert_int_le(op->width, plan->vec);
  }
}

START_TEST(test_widths) {
  static const char *const embedding[] = {"embed_tokens"};
  struct zf_model *m = _i < BASES * METHODS ? open_case(_i) : NULL;
  if (_i == BASES * METHODS) { /* its LoRA is the only one */
    m = open_model(ADAPTERS "llama/base", &as_stored);
    attach_new(m, embedding, 1);
  }
  if (m) check_widths(m);
  zf_model_free(m);
}
END_TEST

/* --- shared prompts --- */

/* Sequence `which` of two that begin with the same 5 tokens, alone; or both behind one prompt (2). */
static void make_pair(struct ragged *x, const struct zf_model *m, int which) {
  static const int64_t length[] = {3, 4};
  make_ragged(x, m);
  x->b.T = x->b.R = x->b.segment_count = 0;
  memset(x->slope, 0, sizeof x->slope);
  add_segment(x, m->config.vocab, 5, 0, 0);
  for (int i = 0; i < 2; i++) {
    if (which != 2 && which != i) continue;
    int64_t first = x->b.T, r = x->b.R;
    if (which == 2)
      add_segment(x, m->config.vocab, length[i], 0, 5);
    else
      x->seg[0].len += length[i];
    x->b.T = first + length[i];
    for (int64_t t = first; t < x->b.T; t++, r++) {
      x->id[t] = (int32_t)((3 * (t - first) + 7 * i + 2) % m->config.vocab);
      x->pos[t] = (int32_t)(5 + t - first);
      x->row[r] = (int32_t)t;
      x->target[r] = (int32_t)((t - first + 4 * i) % m->config.outputs);
      x->coef[r] = -0.25f;
    }
    x->b.R = r;
  }
}

START_TEST(test_shared_prompt) {
  struct zf_model *m = open_case(_i);
  if (!m || !m->plan.causal) {
    zf_model_free(m);
    return;
  }
  float *g[3];
  double loss[3];
  int64_t n;
  for (int which = 0; which < 3; which++) {
    struct ragged x;
    make_pair(&x, m, which);
    g[which] = gradients(m, &x, ZF_COMPUTE_F32, which == 2, &loss[which], &n);
  }
  ck_assert_double_eq_tol(loss[2], loss[0] + loss[1], 1e-5);
  double top = largest(g[2], n);
  ck_assert_double_gt(top, 0);
  for (int64_t i = 0; i < n; i++)
    ck_assert_double_eq_tol((double)g[2][i], (double)g[0][i] + (double)g[1][i], RELATIVE * top);
  for (int which = 0; which < 3; which++) free(g[which]);
  zf_model_free(m);
}
END_TEST

/* --- optimizers --- */

/* Steps of AdamW lower the loss; the base is mapped read-only and does not change. */
START_TEST(test_descent) {
  struct zf_model *m = open_case(_i);
  if (!m) return;
  struct ragged x;
  struct zf_forward *f;
  struct zf_back *k;
  struct zf_optim *o;
  double loss[2] = {0, 0}, lse[MAXTOKENS], logit[MAXTOKENS];
  char before[33], after[33];
  make_golden_batch(&x, m);
  struct zf_limits lim = limits_of(m, &x.b, ZF_COMPUTE_F32);
  ck_ok(zf_model_base_hash(m, before));
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_back_new(&k, m, f, 1));
  ck_ok(zf_optim_new(&o, k, ZF_OPTIM_ADAMW));
  int64_t n, trained = zf_params_count(&m->params, 1), tensors = 0;
  for (int64_t i = 0; i < m->params.count; i++) tensors += m->params.param[i].trained;
  zf_back_all(k, &n);
  ck_assert(n >= trained && n <= trained + 15 * tensors);
  ck_assert_int_le(zf_optim_bytes(m, ZF_OPTIM_ADAMW), 2 * (4 * n + 64));
  struct zf_optim_conf conf = {.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
  for (int t = 1; t <= 8; t++) {
    ck_ok(zf_back_forward(k, &x.b));
    zf_back_rows(k, x.target, x.coef, NULL, lse, logit);
    zf_back_run(k);
    zf_optim_update(o, t, zf_back_norm(k), &conf);
    for (int64_t r = 0; r < x.b.R && (t == 1 || t == 8); r++)
      loss[t > 1] += (lse[r] - logit[r]) / (double)x.b.R;
  }
  ck_assert_msg(loss[1] < loss[0], "%g, then %g", loss[0], loss[1]);
  ck_ok(zf_model_base_hash(m, after));
  ck_assert_str_eq(before, after);
  zf_optim_free(o);
  zf_back_free(k);
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

/* --- zeroth order --- */

enum { EXAMPLES = SEGMENTS, TOKENS = 5, MAXD = 1024 };

/* Examples differ in one token each, and all predict the same one: their gradients have much in common. */
struct zeroth {
  struct zf_model *m;
  struct zf_forward *f;
  struct ragged x;
  struct zf_group group[EXAMPLES];
  double loss[2 * EXAMPLES], gradient[EXAMPLES][MAXD], sum[MAXD];
  int64_t d;
  float estimate[MAXD];
  struct zf_params zeros; /* the trained parameters, on `estimate` */
};

static int example_losses(void *ctx, const struct zf_perturb *perturb, int wide,
                          struct zf_zo_losses *losses) {
  (void)wide;
  struct zeroth *q = ctx;
  double lse[2 * MAXTOKENS], logit[2 * MAXTOKENS];
  int rc = zf_forward_run(q->f, &q->x.b, perturb);
  if (rc) return rc;
  zf_forward_lse(q->f, q->x.target, lse, logit);
  memset(q->loss, 0, sizeof q->loss);
  losses->batch[0] = losses->batch[1] = 0;
  for (int64_t r = 0; r < 2 * q->x.b.R; r++) {
    int64_t s = r / q->x.b.R, i = r % q->x.b.R / TOKENS;
    double loss = (lse[r] - logit[r]) / (double)q->x.b.R;
    q->loss[s * EXAMPLES + i] += loss;
    losses->batch[s] += loss;
  }
  losses->example = q->loss;
  return 0;
}

static void make_examples(struct zeroth *q) {
  struct ragged *x = &q->x;
  make_ragged(x, q->m);
  x->b.T = x->b.R = x->b.segment_count = 0;
  x->b.group = q->group;
  x->b.group_count = EXAMPLES;
  memset(x->slope, 0, sizeof x->slope);
  for (int i = 0; i < EXAMPLES; i++) {
    q->group[i] = (struct zf_group){x->b.T, TOKENS, x->b.T, TOKENS};
    add_segment(x, q->m->config.vocab, TOKENS, 0, 0);
    for (int t = 0; t < TOKENS; t++) x->id[i * TOKENS + t] = t == i ? 11 : 7 + t;
  }
  for (x->b.R = 0; x->b.R < x->b.T; x->b.R++) {
    x->row[x->b.R] = (int32_t)x->b.R;
    x->target[x->b.R] = 5;
  }
}

/* Gradients of single examples, and their sum, by backpropagation. */
static void make_gradients(struct zeroth *q) {
  double loss;
  for (int i = 0; i < EXAMPLES; i++) {
    int64_t n, at = 0, d = 0;
    for (int64_t r = 0; r < q->x.b.R; r++)
      q->x.coef[r] = r / TOKENS == i ? -1 / (float)q->x.b.R : 0;
    float *g = gradients(q->m, &q->x, ZF_COMPUTE_F32, 0, &loss, &n);
    for (int64_t k = 0; k < q->m->params.count; k++) {
      const struct zf_param *p = &q->m->params.param[k];
      for (int64_t e = 0; p->trained && e < p->count; e++, d++) {
        q->gradient[i][d] = (double)g[at + e];
        q->sum[d] += q->gradient[i][d];
      }
      if (p->trained) at += padded(p->count);
    }
    ck_assert_int_le(d, MAXD);
    q->d = d;
    free(g);
  }
  for (int i = 1; i < EXAMPLES; i++) /* without gaps, the first one first */
    memmove(q->gradient[0] + i * q->d, q->gradient[i], sizeof(double) * (size_t)q->d);
}

static void make_zeros(struct zeroth *q) {
  q->zeros.param = zf_calloc(q->m->params.count, sizeof *q->zeros.param);
  float *at = q->estimate;
  for (int64_t k = 0; k < q->m->params.count; k++) {
    struct zf_param p = q->m->params.param[k];
    if (!p.trained) continue;
    p.data = at;
    at += p.count;
    q->zeros.param[q->zeros.count++] = p;
  }
}

/* The estimate of a step: an update of zeros with learning rate -1. */
static void estimate_of(struct zeroth *q, const struct zf_zo *zo, uint32_t step) {
  struct zf_zo_estimate estimate = new_estimate(zo);
  memset(q->estimate, 0, sizeof q->estimate);
  ck_ok(zf_zo_open(&q->zeros, zo));
  ck_ok(zf_zo_estimate(&q->zeros, step, -1, example_losses, q, &estimate));
  update_step(&q->zeros, zo, step, &estimate, -1, 0);
  zf_zo_close(&q->zeros);
  free_estimate(&estimate);
}

enum { REPEAT = 2000 };

/* What REPEAT estimates say. */
struct measured {
  double square, cosine; /* mean squared error; of the mean estimate and the gradient */
};

static struct measured measure(struct zeroth *q, int64_t examples) {
  struct zf_zo zo = {.seed = 5, .eps = 1e-3, .probes = 1, .examples = examples};
  struct measured measured = {0, 0};
  double *mean = doubles(q->d), *error = doubles(q->d);
  for (uint32_t step = 1; step <= REPEAT; step++) {
    estimate_of(q, &zo, step);
    for (int64_t j = 0; j < q->d; j++) {
      error[j] = (double)q->estimate[j] - q->sum[j];
      mean[j] += (double)q->estimate[j] / REPEAT;
    }
    measured.square += dot64(error, error, q->d) / REPEAT;
  }
  measured.cosine =
      dot64(mean, q->sum, q->d) / sqrt(dot64(mean, mean, q->d) * dot64(q->sum, q->sum, q->d));
  free(mean);
  free(error);
  return measured;
}

/* One direction a batch: the mean of n estimates z (z . G) is t = mean (z . u)^2 along u = G / |G|, with
 * n t ~ chi2(n), and a Gaussian vector of deviation sqrt(t / n) in the d - 1 other dimensions.  So
 * cosine^2 = chi2(n) / (chi2(n) + chi2(d - 1)), which is Beta(n / 2, (d - 1) / 2): its mean is
 * n / (n + d - 1).  By example the error of the mean has the covariance sum (|G_i|^2 I + G_i G_i') / n:
 * then cosine^2 = 1 / (1 + r) with r about d S / (n |G|^2), S = sum |G_i|^2, each within 5 deviations of
 * the squared error that error_law_of gives.
 *
 * Differences over 2 eps add: third derivatives times eps^2 = 1e-6 of the movement, and roundings of
 * losses of 1e-7 / (2 eps) = 5e-5 each, far below the bounds. */
START_TEST(test_zeroth_order) {
  struct zeroth *q = zf_calloc(1, sizeof *q);
  q->m = open_adapted(_i ? "gpt2" : "llama", "lora", -1);
  make_examples(q);
  make_gradients(q);
  make_zeros(q);
  q->f = make_forward(q->m, q->x.b.T, q->x.b.R, EXAMPLES, LENGTH, 2);
  double n = REPEAT, d = (double)q->d, size = dot64(q->sum, q->sum, q->d);
  struct error_law batch = error_law_of(q->sum, 1, q->d),
                   example = error_law_of(q->gradient[0], EXAMPLES, q->d);
  struct measured one = measure(q, 0), many = measure(q, EXAMPLES);
  double alpha = n / 2, beta = (d - 1) / 2, total = alpha + beta,
         deviation = sqrt(alpha * beta / (total * total * (total + 1)));
  if (getenv("CK_VERBOSE"))
    printf("%s: d %d, %d probes: cosine %.4f, law %.4f; by example %.4f, law %.4f; variance of "
           "batch / "
           "by example %.3f, computed %.3f\n",
           _i ? "gpt2" : "llama", (int)q->d, REPEAT, one.cosine, sqrt(n / (n + d - 1)), many.cosine,
           1 / sqrt(1 + example.mean / n / size), one.square / many.square,
           batch.mean / example.mean);
  ck_assert_double_eq_tol(one.cosine * one.cosine, n / (n + d - 1), 5 * deviation);
  ck_assert_double_eq_tol(one.square, batch.mean, 5 * sqrt(batch.variance / n));
  ck_assert_double_eq_tol(many.square, example.mean, 5 * sqrt(example.variance / n));
  /* The mean's squared error: test_zo_example.c. */
  double r = example.mean / n / size,
         spread = sqrt(2 * (d + 3) * example.square * example.square + example.variance / n) / n;
  double low = 1 / (1 + r + 5 * spread / size + 5 * sqrt(4 * r / n)),
         high = 1 / (1 + r - 5 * spread / size - 5 * sqrt(4 * r / n));
  ck_assert(many.cosine * many.cosine > low && many.cosine * many.cosine < high);
  /* Or the two laws could not be told apart. */
  ck_assert(batch.mean - 5 * sqrt(batch.variance / n) >
            example.mean + 5 * sqrt(example.variance / n));
  free(q->zeros.param);
  zf_forward_free(q->f);
  zf_model_free(q->m);
  free(q);
}
END_TEST

static void add_case(Suite *s, const char *name, const TTest *test, int count) {
  TCase *t = tcase_create(name);
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test, 0, count);
  suite_add_tcase(s, t);
}

int main(void) {
  Suite *s = suite_create("back_adapter");
  begin_kernels();
  add_case(s, "torch", test_torch, BASES * METHODS);
  add_case(s, "differences", test_central_differences, BASES * METHODS);
  add_case(s, "head", test_head, 4);
  add_case(s, "same_bits", test_same_bits, BASES * METHODS);
  add_case(s, "narrow_base", test_narrow_base, 4);
  add_case(s, "late_stop", test_late_stop, 3);
  add_case(s, "widths", test_widths, BASES * METHODS + 1);
  add_case(s, "shared_prompt", test_shared_prompt, BASES * METHODS);
  add_case(s, "descent", test_descent, BASES * METHODS);
  add_case(s, "zeroth_order", test_zeroth_order, 2);
  return unit_run(s);
}
