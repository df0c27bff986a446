/* Gradients of every operation and family against central differences of a forward pass in double
 * (ref64.h), and against PyTorch's autograd (tests/golden/gradients); checkpointing, threads and
 * instruction sets: the same bits; the optimizers against their equations in double.
 *
 * Tolerance of a gradient: it is a sum in f32 over at most some thousand products, each off by a
 * few units of 6e-8 relative to the largest terms; 1e-4 of the tensor's largest element leaves room
 * for cancellation by a factor of a hundred.  Central differences in double with steps of 1e-5 are
 * off by h^2 / 6 of the third derivative and 1e-16 / h, some 1e-10. */
#include <math.h>

#include "back/optim.h"
#include "kern/kern_internal.h"
#include "unit/ragged.h"

static const double RELATIVE = 1e-4, COSINE = 1e-5;

/* The same along a direction over all elements of a parameter. */
static double along(struct ref64 *ref, const struct ragged *x, double *w, const double *z,
                    int64_t n, double h) {
  double side[2];
  for (int s = 0; s < 2; s++) {
    for (int64_t i = 0; i < n; i++) w[i] += (s ? -2 : 1) * h * z[i];
    side[s] = ref64_loss(ref, &x->b, x->target, x->coef, x->ids, 3, x->slope);
  }
  for (int64_t i = 0; i < n; i++) w[i] += h * z[i];
  return (side[0] - side[1]) / (2 * h);
}

/* Each activation's derivative, away from its corners. */
START_TEST(test_act_slopes) {
  enum { N = 64 };
  float g[N], u[N], dy[N], dg[N], du[N];
  begin_kernels();
  for (int i = 0; i < N; i++) {
    g[i] = -8.05f + 0.2513f * (float)i;
    u[i] = 0.3f + 0.05f * (float)i;
    dy[i] = 1.5f - 0.04f * (float)i;
  }
  zf_back_rows_for(zf_cpu_flags())->act[_i](dg, du, g, u, dy, N);
  for (int i = 0; i < N; i++) {
    double x = (double)g[i], h = 1e-5, slope = (act64(_i, x + h) - act64(_i, x - h)) / (2 * h);
    ck_assert_double_eq_tol((double)dg[i], slope * (double)u[i] * (double)dy[i], 2e-5);
    ck_assert_double_eq_tol((double)du[i], act64(_i, x) * (double)dy[i], 2e-5 * (1 + fabs(x * x)));
  }
}
END_TEST

START_TEST(test_central_differences) {
  enum { SAMPLES = 5 };
  struct zf_model *m = open_family(_i, "*", ZF_F32);
  struct ref64 ref;
  struct ragged x;
  double loss, worst = 0;
  int64_t n, at = 0;
  make_ragged(&x, m);
  ref64_init(&ref, m);
  float *g = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  double want = ref64_loss(&ref, &x.b, x.target, x.coef, x.ids, 3, x.slope);
  ck_assert_msg(fabs(loss - want) < 1e-4 * (1 + fabs(want)), "loss %.9g, not %.9g", loss, want);
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *p = &m->params.param[i];
    /* Where all terms cancel (the bias of keys moves every score of a query alike) what is left is
       the rounding of terms as large as other gradients. */
    double top = largest(g + at, p->count) + 1e-2 * largest(g, n), dot = 0, sum = 0,
           *z = doubles(p->count);
    for (int s = 0; s < SAMPLES; s++) {
      int64_t e = (s * 7919 + 13) % p->count;
      double d = difference(&ref, &x, ref.w[i] + e, 1e-5), off = fabs(d - (double)g[at + e]) / top;
      ck_assert_msg(off <= RELATIVE, "%s[%lld]: %.9g, not %.9g", p->name, (long long)e,
                    (double)g[at + e], d);
      if (off > worst) worst = off;
    }
    for (int64_t e = 0; e < p->count; e++) {
      z[e] = (double)((e * 2654435761u >> 7) % 2001) / 1000 - 1;
      dot += z[e] * (double)g[at + e];
      sum += fabs(z[e] * (double)g[at + e]);
    }
    double d = along(&ref, &x, ref.w[i], z, p->count, 1e-6);
    /* Second differences of ReLU's corner aside, the sum's terms are off by RELATIVE each. */
    ck_assert_msg(fabs(d - dot) <= RELATIVE * (sum + top), "%s along z: %.9g, not %.9g", p->name,
                  dot, d);
    free(z);
    at += padded(p->count);
  }
  ck_assert_int_eq(at, n);
  if (getenv("CK_VERBOSE"))
    printf("%-14s worst element %.2g of the largest\n", families[_i], worst);
  free(g);
  ref64_free(&ref);
  zf_model_free(m);
}
END_TEST

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
  struct zf_model *m = open_family(_i, "*", ZF_F32);
  struct ragged x;
  double loss;
  int64_t n;
  make_ragged(&x, m);
  for (int c = 0; c <= ZF_COMPUTE_BF16; c++) {
    enum zf_compute how = (enum zf_compute)c;
    float *g = gradients(m, &x, how, 0, &loss, &n);
    same_bits(m, &x, how, 1, g, n, "checkpointing");
    zf_kern_set_min_work(0);
    for (int t = 2; t <= 5; t++) {
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

/* bf16 rounds every factor of a product to 8 bits: 2^-9 of each, some of which cancels. */
START_TEST(test_bf16_follows) {
  struct zf_model *m = open_family(_i, "*", ZF_F32);
  struct ragged x;
  double loss, ab = 0, aa = 0, bb = 0;
  int64_t n;
  make_ragged(&x, m);
  float *a = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  float *b = gradients(m, &x, ZF_COMPUTE_BF16, 0, &loss, &n);
  for (int64_t i = 0; i < n; i++) {
    ab += (double)a[i] * (double)b[i];
    aa += (double)a[i] * (double)a[i];
    bb += (double)b[i] * (double)b[i];
  }
  ck_assert_double_gt(ab / sqrt(aa * bb), 0.999);
  free(a);
  free(b);
  zf_model_free(m);
}
END_TEST

/* Training some tensors alone gives the same gradients of them. */
START_TEST(test_some_trained) {
  static const char *const globs[] = {"*layers.1*", "*norm*", "*embed*", "*o_proj*"};
  struct zf_model *all = open_family(0, "*", ZF_F32);
  struct ragged x;
  double loss;
  int64_t n, some;
  make_ragged(&x, all);
  float *g = gradients(all, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
    struct zf_model *m = open_family(0, globs[_i], -1);
    float *part = gradients(m, &x, ZF_COMPUTE_F32, checkpoint, &loss, &some);
    int64_t at = 0, from = 0;
    for (int64_t i = 0; i < m->params.count; i++) {
      int64_t size = m->params.param[i].count;
      if (m->params.param[i].trained) {
        ck_assert_mem_eq(part + at, g + from, sizeof *g * (size_t)size);
        at += padded(size);
      }
      from += padded(size);
    }
    ck_assert_int_gt(at, 0);
    ck_assert_int_lt(at, from);
    free(part);
    zf_model_free(m);
  }
  free(g);
  zf_model_free(all);
}
END_TEST

START_TEST(test_f32_alone) {
  struct zf_model *m = open_family(0, "*", ZF_BF16);
  struct zf_limits lim = {
      .tokens = 4, .rows = 4, .segments = 1, .length = 4, .ids = 1, .streams = 1};
  struct zf_forward *f;
  struct zf_back *k;
  zf_back_limits(&lim, m);
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_fails(zf_back_new(&k, m, f, 0), ZF_EUSAGE, "held as bf16: leave dtype at auto");
  zf_forward_free(f);
  lim.compute = ZF_COMPUTE_INT8;
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_fails(zf_back_new(&k, m, f, 0), ZF_EUSAGE, "computes in f32 or bf16");
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

/* --- PyTorch --- */

static const char *const torch_of[] = {"llama", "qwen3-tied", "gpt2", "opt-350m", "opt"};
enum { NTORCH = sizeof torch_of / sizeof *torch_of };

/* Mean cross-entropy of a text's next tokens. */
START_TEST(test_torch) {
  struct zf_model *m = NULL;
  for (int i = 0; i < NFAMILIES; i++)
    if (!strcmp(families[i], torch_of[_i])) m = open_family(i, "*", ZF_F32);
  ck_assert_ptr_nonnull(m);
  char path[256];
  snprintf(path, sizeof path, "tests/golden/gradients/%s.safetensors", torch_of[_i]);
  struct zf_st *st;
  ck_ok(zf_st_open(&st, path));
  struct ragged x;
  make_ragged(&x, m);
  const struct zf_st_tensor *ids = zf_st_find(st, "ids");
  float raw[MAXTOKENS];
  ck_assert_ptr_nonnull(ids);
  ck_assert_int_le(ids->count, MAXTOKENS);
  memcpy(raw, ids->data, ids->bytes);
  x.b.T = x.b.R = ids->count - 1;
  x.b.segment_count = 1;
  x.seg[0] = (struct zf_segment){.len = x.b.T};
  memset(x.slope, 0, sizeof x.slope);
  for (int64_t t = 0; t < x.b.T; t++) {
    x.id[t] = (int32_t)raw[t];
    x.target[t] = (int32_t)raw[t + 1];
    x.pos[t] = x.row[t] = (int32_t)t;
    x.coef[t] = -1 / (float)x.b.T;
  }
  double loss, worst = 0, least = 1;
  int64_t n, at = 0;
  float *g = gradients(m, &x, ZF_COMPUTE_F32, 0, &loss, &n);
  for (int64_t i = 0; i < m->params.count; at += padded(m->params.param[i++].count)) {
    const struct zf_param *p = &m->params.param[i];
    const struct zf_st_tensor *t = zf_st_find(st, p->name);
    ck_assert_msg(t && t->count == p->count, "%s is not in %s", p->name, path);
    float *want = zf_calloc(p->count, sizeof *want);
    memcpy(want, t->data, t->bytes);
    double ab = 0, aa = 0, bb = 0, off = 0;
    for (int64_t e = 0; e < p->count; e++) {
      ab += (double)g[at + e] * (double)want[e];
      aa += (double)g[at + e] * (double)g[at + e];
      bb += (double)want[e] * (double)want[e];
      off += pow((double)g[at + e] - (double)want[e], 2);
    }
    int nothing = bb < 1e-12;
    ck_assert_msg(nothing || ab / sqrt(aa * bb) >= 1 - COSINE, "%s: cosine 1 - %g", p->name,
                  1 - ab / sqrt(aa * bb));
    ck_assert_msg(sqrt(off) <= RELATIVE * sqrt(bb) + 1e-6, "%s: off by %g of %g", p->name,
                  sqrt(off), sqrt(bb));
    if (!nothing && sqrt(off / bb) > worst) worst = sqrt(off / bb);
    if (!nothing && ab / sqrt(aa * bb) < least) least = ab / sqrt(aa * bb);
    free(want);
  }
  if (getenv("CK_VERBOSE"))
    printf("%-12s against PyTorch: relative error %.2g, cosine 1 - %.2g\n", torch_of[_i], worst,
           1 - least);
  free(g);
  zf_st_free(st);
  zf_model_free(m);
}
END_TEST

/* --- optimizers --- */

/* The rule on one element in double. */
static void rule64(int rule, double *w, double g, double *a, double *b, double decay, int t) {
  const double lr = 0.01, b1 = 0.9, b2 = 0.99, eps = 1e-8;
  switch (rule) {
    case ZF_OPTIM_SGD:
      *w -= lr * (g + decay * *w);
      break;
    case ZF_OPTIM_MOMENTUM:
      *a = b1 * *a + g + decay * *w;
      *w -= lr * *a;
      break;
    default:
      *a = b1 * *a + (1 - b1) * g;
      *b = b2 * *b + (1 - b2) * g * g;
      *w -= lr * decay * *w;
      *w -= lr * (*a / (1 - pow(b1, t))) / (sqrt(*b / (1 - pow(b2, t))) + eps);
  }
}

START_TEST(test_rules) {
  struct zf_model *m = open_family(0, "*", ZF_F32);
  struct ragged x;
  make_ragged(&x, m);
  struct zf_limits lim = limits_of(m, &x.b, ZF_COMPUTE_F32);
  struct zf_forward *f;
  struct zf_back *k;
  struct zf_optim *o;
  struct zf_optim_conf conf = {0.01, 0.1, 0.9, 0.99, 1e-8, 0};
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_back_new(&k, m, f, 0));
  ck_ok(zf_optim_new(&o, k, (enum zf_optim_rule)_i));
  const int64_t which[] = {0, 1, m->params.count - 1};
  double w[3], a[3] = {0}, b[3] = {0};
  for (int i = 0; i < 3; i++) w[i] = (double)((float *)m->params.param[which[i]].data)[3];
  for (int t = 1; t <= 3; t++) {
    int64_t n;
    float *all = zf_back_all(k, &n);
    for (int64_t i = 0; i < n; i++) ck_assert_float_eq(all[i], 0);
    for (int i = 0; i < 3; i++) {
      float g = 0.3f * (float)(t - i) + 0.05f;
      zf_back_gradient(k, which[i])[3] = g;
      rule64(_i, &w[i], (double)g, &a[i], &b[i], m->params.param[which[i]].decayed ? 0.1 : 0, t);
    }
    conf.clip = t == 3 ? 1e9 : 0; /* a limit far away changes nothing */
    zf_optim_update(o, t, zf_back_norm(k), &conf);
    for (int i = 0; i < 3; i++)
      ck_assert_double_eq_tol((double)((float *)m->params.param[which[i]].data)[3], w[i], 1e-6);
  }
  /* A gradient of norm 5 is cut to 1: SGD moves by lr of it. */
  if (_i == ZF_OPTIM_SGD) {
    float *g = zf_back_gradient(k, 0), *p = m->params.param[0].data;
    double was = (double)p[0];
    g[0] = 3;
    g[1] = 4;
    ck_assert_double_eq_tol(zf_back_norm(k), 5, 1e-12);
    conf = (struct zf_optim_conf){.lr = 0.1, .clip = 1};
    zf_optim_update(o, 4, zf_back_norm(k), &conf);
    ck_assert_double_eq_tol((double)p[0], was - 0.06, 1e-6);
  }
  zf_optim_free(o);
  zf_back_free(k);
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("back");
  TCase *t = tcase_create("back");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_act_slopes, 0, ZF_ACTS);
  tcase_add_loop_test(t, test_central_differences, 0, NFAMILIES);
  tcase_add_loop_test(t, test_same_bits, 0, NFAMILIES);
  tcase_add_loop_test(t, test_bf16_follows, 0, NFAMILIES);
  tcase_add_loop_test(t, test_some_trained, 0, 4);
  tcase_add_test(t, test_f32_alone);
  tcase_add_loop_test(t, test_torch, 0, NTORCH);
  tcase_add_loop_test(t, test_rules, 0, ZF_OPTIMS);
  suite_add_tcase(s, t);
  return unit_run(s);
}
