/* Directions of low rank beside their matrices: a pass equals one over weights W + eps L R^T that are
 * formed, for every causal family: linear operations stored either way, tables of embeddings, heads of
 * their own and tied ones, by the whole vocabulary and by some of its rows.
 *
 * A logit passes about 6 roundings of sums of K terms for each of the layers and one more; as a random walk
 * sqrt(K (6 layers + 1)) roundings of a number of the logits' size: five standard deviations of both. */
#include <math.h>

#include "unit/models.h"
#include "unit/zo_steps.h"

enum { N = 7, IDS = 5 };

struct pair {
  struct zf_model *beside, *formed;
  struct zf_forward *forward;
  int calls, moved; /* parameters beside which a direction lies */
  double worst;
};

/* The coordinates of a direction: a sum over the terms of stream s. */
static void sum_terms(double *sum, const struct zf_param *param, const struct zf_perturb *perturb,
                      int s, int64_t count) {
  int terms = perturb->term ? perturb->streams.terms : 1;
  float *z = zf_calloc(count, sizeof *z);
  ck_assert_ptr_nonnull(z);
  for (int64_t i = 0; i < count; i++) sum[i] = 0;
  for (int k = 0; k < terms; k++) {
    struct zf_noise noise = perturb->term ? perturb->term[k] : perturb->direction;
    float eps = perturb->term ? perturb->streams.mix[s * terms + k] : perturb->streams.eps[s];
    noise.param = param->id;
    zf_noise_ref(z, &noise, 0, count);
    for (int64_t i = 0; i < count; i++) sum[i] += (double)eps * (double)z[i];
  }
  free(z);
}

/* to = W + d of stream s. */
static void form(struct zf_param *to, const struct zf_param *param,
                 const struct zf_perturb *perturb, int s) {
  const struct zf_param_factors *f = &param->factors;
  int64_t count = zf_param_coordinates(param), rank = f->rank;
  double *d = zf_calloc(count, sizeof *d);
  float *w = to->data;
  const float *from = param->data;
  sum_terms(d, param, perturb, s, count);
  for (int64_t i = 0; i < param->count && !rank; i++) w[i] = (float)((double)from[i] + d[i]);
  for (int64_t e = 0; e < param->count && rank; e++) {
    int64_t o = param->transposed ? e % f->out : e / f->in,
            i = param->transposed ? e / f->out : e % f->in;
    double sum = 0;
    for (int64_t k = 0; k < rank; k++) {
      double left = f->left ? 0 : d[o * rank + k];
      for (int64_t j = 0; j < rank && f->left; j++)
        left += (double)f->left[o * rank + j] * d[j * rank + k];
      sum += left * (double)f->right[k * f->in + i];
    }
    w[e] = (float)((double)from[e] + (double)f->scale * sum);
  }
  free(d);
}

static double distance(const float *a, const float *b, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
  return most;
}

/* 1 where stream s leaves the weights, so that a comparison says something. */
static int moves(const struct zf_perturb *perturb, int s) {
  int found = !perturb->term && perturb->streams.eps[s] != 0;
  for (int k = 0; k < perturb->streams.terms; k++)
    found |= perturb->streams.mix[s * perturb->streams.terms + k] != 0;
  return found;
}

static int compare(void *ctx, const struct zf_perturb *perturb, int wide,
                   struct zf_zo_losses *losses) {
  static const int32_t some[IDS] = {3, 0, 11, 3, 7};
  struct pair *p = ctx;
  const struct zf_config *config = &p->beside->config;
  int64_t V = config->outputs;
  int32_t id[N], place[N], target[N];
  struct zf_segment segment = {.len = N};
  float *all = zf_calloc(ZF_MAXSTREAM * N * V, sizeof *all), at[ZF_MAXSTREAM * N * IDS];
  double lse[ZF_MAXSTREAM * N], logit[ZF_MAXSTREAM * N], size = 1;
  (void)wide;
  for (int i = 0; i < N; i++) {
    id[i] = (i * i * 7 + 3) % (int32_t)config->vocab;
    target[i] = (i * 5 + 1) % (int32_t)config->vocab;
    place[i] = i;
  }
  struct zf_batch batch = {.T = N,
                           .id = id,
                           .pos = place,
                           .segment_count = 1,
                           .segment = &segment,
                           .R = N,
                           .row = place};
  ck_ok(zf_forward_run(p->forward, &batch, perturb));
  zf_forward_logits(p->forward, all);
  zf_forward_logits_at(p->forward, some, IDS, at);
  ck_ok(zf_forward_run(p->forward, &batch, perturb));
  zf_forward_lse(p->forward, target, lse, logit);
  float *base = logits_of(p->beside, id, N);
  for (int s = 0; s < perturb->streams.count; s++) {
    for (int64_t i = 0; i < p->beside->params.count; i++)
      form(&p->formed->params.param[i], &p->beside->params.param[i], perturb, s);
    float *want = logits_of(p->formed, id, N), *got = all + s * N * V;
    for (int64_t i = 0; i < N * V; i++) size = fmax(size, fabs((double)want[i]));
    double K = (double)(config->ffn > config->embed_dim ? config->ffn : config->embed_dim),
           bound = 10 * 0x1p-24 * size * sqrt(K * (6.0 * (double)config->layers + 1));
    double off = distance(want, got, N * V);
    ck_assert_msg(off <= bound, "stream %d: off by %.3g, bound %.2g", s, off, bound);
    if (moves(perturb, s)) ck_assert(distance(want, base, N * V) > 100 * bound);
    for (int r = 0; r < N; r++) {
      double sum = 0;
      for (int64_t v = 0; v < V; v++) sum += exp((double)want[r * V + v]);
      ck_assert(fabs(lse[s * N + r] - log(sum)) <= 2 * bound);
      ck_assert(fabs(logit[s * N + r] - (double)want[r * V + target[r]]) <= bound);
      for (int j = 0; j < IDS; j++)
        ck_assert(fabs((double)at[(s * N + r) * IDS + j] - (double)want[r * V + some[j]]) <= bound);
    }
    p->worst = fmax(p->worst, off / bound);
    free(want);
    losses->batch[s] = 1 + s;
  }
  free(base);
  free(all);
  p->calls++;
  return 0;
}

static void check(int family, const struct zf_zo *zo, int streams) {
  struct pair p = {open_family(family, "*", -1), open_family(family, "*", -1), NULL, 0, 0, 0};
  struct zf_zo_estimate estimate = new_estimate(zo);
  ck_ok(zf_zo_open(&p.beside->params, zo));
  for (int64_t i = 0; i < p.beside->params.count; i++)
    p.moved += p.beside->params.param[i].factors.rank > 0;
  ck_assert_int_ge(p.moved, 7);
  ck_assert(p.beside->params.param[p.beside->plan.head].factors.rank > 0);
  p.forward = make_forward(p.beside, N, N, 1, N, streams);
  ck_ok(zf_zo_estimate(&p.beside->params, 3, 0, compare, &p, &estimate));
  ck_assert_int_ge(p.calls, 1);
  if (getenv("CK_VERBOSE"))
    printf("%s: %d beside, worst %.2f of the bound\n", families[family], p.moved, p.worst);
  zf_forward_free(p.forward);
  zf_zo_close(&p.beside->params);
  zf_model_free(p.beside);
  zf_model_free(p.formed);
  free_estimate(&estimate);
}

START_TEST(test_low_rank) {
  check(_i,
        &(struct zf_zo){
            .seed = 5, .eps = 0.03, .probes = 2, .form = ZF_FORM_LOW_RANK, .rank = 2, .refresh = 2},
        2);
}
END_TEST

START_TEST(test_subspace) {
  check(_i,
        &(struct zf_zo){
            .seed = 5, .eps = 0.03, .probes = 1, .form = ZF_FORM_SUBSPACE, .rank = 3, .refresh = 2},
        2);
}
END_TEST

/* Streams of several directions: a pass of all points, one of them about the weights, and the last
 * observation, along a sum of all directions. */
START_TEST(test_mixed) {
  check(_i,
        &(struct zf_zo){.seed = 5,
                        .eps = 0.03,
                        .probes = 3,
                        .difference = ZF_DIFFERENCE_BAYES,
                        .form = ZF_FORM_LOW_RANK,
                        .rank = 2,
                        .refresh = 2,
                        .streams = 16},
        16);
}
END_TEST

int main(void) {
  Suite *s = suite_create("beside");
  TCase *t = tcase_create("beside");
  begin_kernels();
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_low_rank, 0, NCAUSAL);
  tcase_add_loop_test(t, test_subspace, 0, NCAUSAL);
  tcase_add_loop_test(t, test_mixed, 0, NCAUSAL);
  suite_add_tcase(s, t);
  return unit_run(s);
}
