/* What a pass promises, to the bit: a row of logits depends on its sequence and the weights, and
 * two streams are two passes over perturbed weights. */
#include <math.h>

#include "eval/decode.h"
#include "kern/kern_internal.h"
#include "unit/models.h"

enum { MAXT = 1000, MAXSEG = 100 };

/* A batch under construction: sequences end to end. */
struct made {
  int32_t id[MAXT], pos[MAXT], row[MAXT];
  struct zf_segment seg[MAXSEG];
  struct zf_batch b;
};

static void made_init(struct made *x) {
  memset(x, 0, sizeof *x);
  x->b = (struct zf_batch){.id = x->id, .pos = x->pos, .segment = x->seg, .row = x->row};
}

/* Appends ids[from, to) of a sequence as a segment behind rows [pstart, pstart + from); all its
 * rows are wanted.  Returns where it begins. */
static int64_t put(struct made *x, const int32_t *ids, int64_t from, int64_t to, int64_t pstart) {
  int64_t at = x->b.T;
  x->seg[x->b.segment_count++] = (struct zf_segment){
      .start = at, .len = to - from, .prefix_start = pstart, .prefix_len = from};
  for (int64_t i = from; i < to; i++) {
    x->id[x->b.T] = ids[i];
    x->pos[x->b.T] = (int32_t)i;
    x->row[x->b.R++] = (int32_t)x->b.T++;
  }
  return at;
}

static float *run(const struct zf_model *m, struct made *x, const struct zf_perturb *pt) {
  struct zf_forward *f = make_forward(m, x->b.T, x->b.R, x->b.segment_count, 10, pt->streams.count);
  float *out = zf_calloc(pt->streams.count * x->b.R * m->config.outputs, sizeof *out);
  ck_assert_ptr_nonnull(out);
  ck_ok(zf_forward_run(f, &x->b, pt));
  zf_forward_logits(f, out);
  zf_forward_free(f);
  return out;
}

/* Some sequence of the model's tokens, another for another `salt`. */
static void fill(int32_t *ids, int64_t n, const struct zf_model *m, int salt) {
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)((i * i * 7 + i * 13 + salt * 29 + 3) % m->config.vocab);
}

static struct zf_perturb probe(float eps) {
  return zf_perturb_spsa(0x123456789abcdefULL, 7, 2, ZF_GAUSSIAN, eps);
}

/* mistral's window bounds its context to 10. */
static int64_t most(const struct zf_model *m) {
  return m->config.context < 20 ? m->config.context : 20;
}

static struct zf_forward *forward_20(const struct zf_model *m, int streams) {
  return make_forward(m, 64, 64, 8, most(m), streams);
}

static float *run_on(struct zf_forward *f, const struct zf_model *m, struct made *x,
                     const struct zf_perturb *pt) {
  float *out = zf_calloc(pt->streams.count * x->b.R * m->config.outputs, sizeof *out);
  ck_assert_ptr_nonnull(out);
  ck_ok(zf_forward_run(f, &x->b, pt));
  zf_forward_logits(f, out);
  return out;
}

/* Alone, among others, and in another order; plain and on two streams. */
static void check_neighbours(const struct zf_model *m, const struct zf_perturb *pt) {
  static const int64_t len[3] = {7, 1, 10};
  static const int order[2][3] = {{0, 1, 2}, {2, 0, 1}};
  int64_t V = m->config.outputs;
  struct zf_forward *f = forward_20(m, pt->streams.count);
  float *alone[3];
  int32_t ids[3][20];
  struct made x;
  for (int k = 0; k < 3; k++) {
    fill(ids[k], 20, m, k);
    made_init(&x);
    put(&x, ids[k], 0, len[k], 0);
    alone[k] = run_on(f, m, &x, pt);
  }
  for (int o = 0; o < 2; o++) {
    int64_t at[3];
    made_init(&x);
    for (int k = 0; k < 3; k++) at[order[o][k]] = put(&x, ids[order[o][k]], 0, len[order[o][k]], 0);
    float *all = run_on(f, m, &x, pt);
    for (int s = 0; s < pt->streams.count; s++)
      for (int k = 0; k < 3; k++)
        ck_assert_mem_eq(all + (s * x.b.R + at[k]) * V, alone[k] + s * len[k] * V,
                         sizeof *all * (size_t)(len[k] * V));
    free(all);
  }
  for (int k = 0; k < 3; k++) free(alone[k]);
  zf_forward_free(f);
}

START_TEST(test_neighbours) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb none = zf_perturb_none(), two = probe(0.05f);
  check_neighbours(m, &none);
  check_neighbours(m, &two);
  zf_model_free(m);
}
END_TEST

/* 1000 tokens on two streams: work enough for a team in every driver, where fewer rows of so
 * narrow a model would stay on one thread. */
static float *long_pass(const struct zf_model *m, const struct zf_perturb *pt) {
  struct made x;
  int32_t ids[20];
  made_init(&x);
  for (int k = 0; k < MAXSEG; k++) {
    fill(ids, 20, m, k);
    put(&x, ids, 0, 10, 0);
  }
  return run(m, &x, pt);
}

START_TEST(test_threads) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb two = probe(0.05f);
  float *one = long_pass(m, &two);
  for (int n = 2; n <= 4; n += 2) {
    zf_kern_threads(n);
    zf_kern_set_min_work(0);
    float *more = long_pass(m, &two);
    ck_assert_mem_eq(one, more, sizeof *one * 2 * MAXT * (size_t)m->config.outputs);
    free(more);
  }
  free(one);
  zf_model_free(m);
}
END_TEST

/* Three options behind one prompt, against each run in full. */
static void check_shared(const struct zf_model *m, const struct zf_perturb *pt, int64_t shared) {
  static const int64_t end[3] = {10, 7, 8};
  int64_t V = m->config.outputs, at[3];
  struct zf_forward *f = forward_20(m, pt->streams.count);
  int32_t ids[3][20];
  struct made x;
  made_init(&x);
  for (int k = 0; k < 3; k++) {
    fill(ids[k], 20, m, k);
    memcpy(ids[k], ids[0], sizeof(int32_t) * (size_t)shared);
  }
  if (shared) put(&x, ids[0], 0, shared, 0);
  for (int k = 0; k < 3; k++) at[k] = put(&x, ids[k], shared, end[k], 0);
  float *all = run_on(f, m, &x, pt);
  int64_t R = x.b.R;
  for (int k = 0; k < 3; k++) {
    made_init(&x);
    put(&x, ids[k], 0, end[k], 0);
    float *full = run_on(f, m, &x, pt);
    for (int s = 0; s < pt->streams.count; s++) {
      ck_assert_mem_eq(all + s * R * V, full + s * end[k] * V, sizeof *all * (size_t)(shared * V));
      ck_assert_mem_eq(all + (s * R + at[k]) * V, full + (s * end[k] + shared) * V,
                       sizeof *all * (size_t)((end[k] - shared) * V));
    }
    free(full);
  }
  free(all);
  zf_forward_free(f);
}

START_TEST(test_shared_prefix) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb none = zf_perturb_none(), two = probe(0.05f);
  check_shared(m, &none, 6);
  check_shared(m, &two, 6);
  check_shared(m, &two, 1);
  check_shared(m, &two, 0);
  zf_model_free(m);
}
END_TEST

/* Token after token through the cache, in pieces of several sizes, is one pass over the whole. */
START_TEST(test_cache) {
  static const int64_t cut[] = {0, 4, 5, 6, 9, 10};
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_perturb none = zf_perturb_none();
  int64_t V = m->config.outputs;
  int32_t ids[20];
  fill(ids, 20, m, 1);
  float *whole = logits_of(m, ids, 10);
  struct zf_forward *f = forward_20(m, 1);
  struct zf_cache *c;
  ck_ok(zf_cache_new(&c, m, 10));
  zf_cache_keep(c, m, 0, 10);
  for (size_t k = 0; k + 1 < sizeof cut / sizeof *cut; k++) {
    struct made x;
    made_init(&x);
    put(&x, ids, cut[k], cut[k + 1], 0);
    x.b.cache = &c;
    float *part = run_on(f, m, &x, &none);
    ck_assert_mem_eq(part, whole + cut[k] * V, sizeof *part * (size_t)((cut[k + 1] - cut[k]) * V));
    ck_assert_int_eq(c->len, cut[k + 1]);
    free(part);
  }
  zf_cache_free(c);
  zf_forward_free(f);
  free(whole);
  zf_model_free(m);
}
END_TEST

/* w + eps z, formed element by element, over a copy that holds f32. */
static void shift(struct zf_model *m, const struct zf_model *from, const struct zf_perturb *pt,
                  float eps) {
  for (int64_t i = 0; i < m->params.count; i++) {
    struct zf_param *p = &m->params.param[i];
    const struct zf_param *q = &from->params.param[i];
    struct zf_noise k = pt->direction;
    float *w = p->data, z[1];
    k.param = (uint32_t)i;
    zf_to_f32(w, q->data, q->type, p->count);
    for (int64_t e = 0; q->trained && e < p->count; e++) {
      zf_noise_ref(z, &k, e, 1);
      w[e] = fmaf(eps, z[0], w[e]);
    }
  }
}

static void check_streams(const struct zf_model *m, struct zf_model *copy, float eps) {
  struct zf_perturb two = probe(eps);
  int32_t ids[20];
  int64_t n = 9, bytes = n * m->config.outputs * (int64_t)sizeof(float);
  fill(ids, 20, m, 2);
  float *both = logits_under(m, ids, n, &two);
  for (int s = 0; s < 2; s++) {
    shift(copy, m, &two, s ? -eps : eps);
    float *one = logits_of(copy, ids, n);
    ck_assert_mem_eq(both + s * n * m->config.outputs, one, (size_t)bytes);
    free(one);
  }
  free(both);
}

static void check_stored(int family, int dtype, const char *glob) {
  struct zf_model *m = open_family(family, glob, dtype), *copy = open_family(family, "*", ZF_F32);
  check_streams(m, copy, 1e-3f);
  check_streams(m, copy, 0.5f);
  zf_model_free(copy);
  zf_model_free(m);
}

START_TEST(test_streams_f32) {
  check_stored(_i, ZF_F32, "*");
}
END_TEST

START_TEST(test_streams_f16) {
  check_stored(_i, ZF_F16, "*");
}
END_TEST

START_TEST(test_streams_bf16) {
  check_stored(_i, ZF_BF16, "*");
}
END_TEST

/* Only some are trained: matrices of the second layer, norms, biases, the embedding. */
START_TEST(test_frozen) {
  static const char *const glob[] = {"*.1.*", "*embed*", "*norm*", "*bias*", "*wte*", "*ln_*"};
  for (size_t g = 0; g < sizeof glob / sizeof *glob; g++) {
    struct zf_model *m;
    char dir[256];
    struct zf_model_opts o = {.dtype = -1, .trainable = &glob[g], .ntrainable = 1};
    snprintf(dir, sizeof dir, FAMILIES_DIR "%s", families[_i]);
    if (zf_model_open(&m, dir, &o)) continue; /* no such tensor in this family */
    struct zf_model *copy = open_family(_i, "*", ZF_F32);
    check_streams(m, copy, 0.1f);
    zf_model_free(copy);
    zf_model_free(m);
  }
}
END_TEST

/* With nothing trained both streams are the plain pass. */
START_TEST(test_none_trained) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_perturb two = probe(0.3f);
  int32_t ids[20];
  fill(ids, 20, m, 4);
  size_t bytes = sizeof(float) * 8 * (size_t)m->config.outputs;
  float *both = logits_under(m, ids, 8, &two), *plain = logits_of(m, ids, 8);
  ck_assert_mem_eq(both, plain, bytes);
  ck_assert_mem_eq(both + 8 * m->config.outputs, plain, bytes);
  free(both);
  free(plain);
  zf_model_free(m);
}
END_TEST

/* The head's three readings agree: all logits, logits at ids (same bits), and the
 * log-normaliser, which a double sum over the logits gives as well. */
START_TEST(test_head) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb two = probe(0.05f);
  struct zf_forward *f = forward_20(m, 2);
  struct made x;
  int32_t ids[20], some[3] = {(int32_t)(5 % m->config.outputs), 0, (int32_t)m->config.outputs - 1};
  int64_t V = m->config.outputs;
  made_init(&x);
  fill(ids, 20, m, 5);
  put(&x, ids, 0, 9, 0);
  float *all = run_on(f, m, &x, &two), at[2 * 9 * 3];
  double lse[2 * 9], logit[2 * 9];
  for (int64_t r = 0; r < 9; r++) x.id[r] = (int32_t)(x.id[r] % V);
  x.id[3] = -1; /* serves as a target now */
  zf_forward_lse(f, x.id, lse, logit);
  zf_forward_logits_at(f, some, 3, at);
  for (int64_t r = 0; r < 18; r++) {
    const float *y = all + r * V;
    for (int k = 0; k < 3; k++) ck_assert_mem_eq(&at[r * 3 + k], &y[some[k]], sizeof *y);
    double top = (double)y[0], sum = 0;
    for (int64_t v = 1; v < V; v++) top = fmax(top, (double)y[v]);
    for (int64_t v = 0; v < V; v++) sum += exp((double)y[v] - top);
    /* An f32 exponential of 1 ULP and its argument rounded once at |y - m| < 128: 2^-17 * sum at
     * the very most; log turns the relative error into an absolute one. */
    ck_assert_double_eq_tol(lse[r], top + log(sum), 0x1p-17);
    double want = x.id[r % 9] < 0 ? 0 : (double)y[x.id[r % 9]];
    ck_assert(logit[r] == want);
  }
  free(all);
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

/* Greedy decoding says the argmax of a pass over everything so far; sampling is a function of
 * (seed, number, n), and with top_k 1 it is greedy. */
START_TEST(test_decode) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_sampling greedy = {.top_p = 1}, one = {.temperature = 2, .top_k = 1, .top_p = 1},
                     hot = {.temperature = 1.5, .top_p = 0.9, .seed = 9, .number = 3};
  int32_t seq[10], again[10], id;
  struct zf_decoder *d;
  fill(seq, 3, m, 6);
  ck_ok(zf_decoder_new(&d, m, 3, 9, ZF_COMPUTE_F32));
  ck_ok(zf_decoder_begin(d, seq, 3));
  for (int64_t n = 3; n < 10; n++) {
    float *all = logits_of(m, seq, n), *last = all + (n - 1) * m->config.outputs;
    ck_assert_mem_eq(last, zf_decoder_logits(d), sizeof *last * (size_t)m->config.outputs);
    int64_t best = 0;
    for (int64_t v = 1; v < m->config.outputs; v++)
      if (last[v] > last[best]) best = v;
    ck_ok(zf_decoder_next(d, &greedy, &seq[n]));
    ck_assert_int_eq(seq[n], best);
    free(all);
  }
  ck_fails(zf_decoder_next(d, &greedy, &id), ZF_EUSAGE, "has reached its 9 tokens");
  ck_ok(zf_decoder_begin(d, seq, 3));
  for (int n = 3; n < 10; n++) {
    ck_ok(zf_decoder_next(d, &one, &id));
    ck_assert_int_eq(id, seq[n]);
  }
  one.top_k = 0;
  one.min_p = 1; /* only what is as likely as the likeliest */
  ck_ok(zf_decoder_begin(d, seq, 3));
  ck_ok(zf_decoder_next(d, &one, &id));
  ck_assert_int_eq(id, seq[3]);
  greedy.repetition = 1e6; /* positive logits of tokens that are there come near 0 */
  ck_ok(zf_decoder_begin(d, seq, 3));
  float *all = logits_of(m, seq, 3), *last = all + 2 * m->config.vocab;
  for (int k = 0; k < 3; k++) {
    int twice = (k > 0 && seq[k] == seq[0]) || (k > 1 && seq[k] == seq[1]);
    float *l = &last[seq[k]];
    if (!twice) *l = (float)(*l > 0 ? *l / 1e6 : *l * 1e6);
  }
  int64_t best = 0;
  for (int64_t v = 1; v < m->config.vocab; v++)
    if (last[v] > last[best]) best = v;
  ck_ok(zf_decoder_next(d, &greedy, &id));
  ck_assert_int_eq(id, best);
  free(all);
  for (int round = 0; round < 2; round++) {
    ck_ok(zf_decoder_begin(d, seq, 2));
    for (int n = 3; n < 10; n++) ck_ok(zf_decoder_next(d, &hot, round ? &id : &again[n]));
    if (round) ck_assert_int_eq(id, again[9]);
  }
  ck_fails(zf_decoder_begin(d, seq, 10), ZF_EUSAGE, "longer than");
  zf_decoder_free(d);
  zf_model_free(m);
}
END_TEST

/* Ids and positions from outside are checked; the model's positions bound a sequence. */
START_TEST(test_limits) {
  struct zf_model *m = open_family(3, NULL, -1); /* mistral: max_position_embeddings 32 */
  struct zf_limits lim = {
      .tokens = 33, .rows = 1, .segments = 1, .length = 33, .ids = 1, .streams = 1};
  struct zf_forward *f;
  struct zf_perturb none = zf_perturb_none();
  int32_t id = 0, pos = 0, row = 0;
  struct zf_segment seg = {.len = 1};
  struct zf_batch b = {
      .T = 1, .id = &id, .pos = &pos, .segment_count = 1, .segment = &seg, .R = 1, .row = &row};
  ck_assert_int_eq(m->config.context, 32);
  ck_fails(zf_forward_new(&f, m, &lim), ZF_EUSAGE,
           "33 tokens is longer than the model's context of 32");
  f = forward_20(m, 1);
  id = 97;
  ck_fails(zf_forward_run(f, &b, &none), ZF_EUSAGE, "token id 97 is outside");
  id = -1;
  ck_fails(zf_forward_run(f, &b, &none), ZF_EUSAGE, "token id -1 is outside");
  id = 0;
  pos = 20;
  ck_fails(zf_forward_run(f, &b, &none), ZF_EUSAGE,
           "position 20: expected 0 to 19, the length limit of the pass");
  pos = -1;
  ck_fails(zf_forward_run(f, &b, &none), ZF_EUSAGE, "position -1");
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

/* A gated layer of more columns than a piece holds: the same bits as from `up` as a whole, which a
 * pass that serves a backward one keeps. */
START_TEST(test_pieces) {
  static const char config[] =
      "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 16,"
      " \"intermediate_size\": 1100, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,"
      " \"vocab_size\": 40, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5,"
      " \"mlp_bias\": true}";
  char path[600];
  snprintf(path, sizeof path, "%s", tmp_path("wide.json"));
  ck_ok(zf_write_file(path, config, sizeof config - 1));
  const char *dir = tmp_path("wide");
  ck_ok(zf_model_init(path, dir, 3, ZF_F32));
  static const char *const all[] = {"*"};
  struct zf_model *m =
      open_model(dir, &(struct zf_model_opts){.dtype = -1, .trainable = all, .ntrainable = 1});
  struct zf_perturb two = probe(0.05f);
  struct made x;
  int32_t ids[20];
  fill(ids, 20, m, 1);
  made_init(&x);
  put(&x, ids, 0, 20, 0);
  struct zf_limits lim = {.tokens = 40,
                          .rows = 40,
                          .segments = 1,
                          .length = 20,
                          .ids = 8,
                          .streams = 2,
                          .compute = (enum zf_compute)_i};
  float *out[2];
  for (int k = 0; k < 2; k++) {
    struct zf_forward *f;
    lim.keeps_values = k;
    ck_ok(zf_forward_new(&f, m, &lim));
    out[k] = run_on(f, m, &x, &two);
    zf_forward_free(f);
  }
  ck_assert_mem_eq(out[0], out[1], sizeof **out * (size_t)(2 * 20 * m->config.outputs));
  free(out[0]);
  free(out[1]);
  zf_model_free(m);
}
END_TEST

/* A text's last token counts in its length although it is not run: at the border of the original length
 * rows are those of a pass over all of it. */
START_TEST(test_unseen) {
  static const char *const dirs[] = {FAMILIES_DIR "llama-dynamic-far", FAMILIES_DIR "phi3-far"};
  struct zf_model *m = open_model(dirs[_i], &as_stored);
  int64_t n = (int64_t)m->config.rope[0].original + 1, V = m->config.vocab;
  struct zf_perturb none = zf_perturb_none();
  int32_t ids[20];
  fill(ids, 20, m, 3);
  float *all = logits_of(m, ids, n), *short_of = logits_of(m, ids, n - 1);
  struct made x;
  made_init(&x);
  put(&x, ids, 0, n - 1, 0);
  x.b.unread = 1;
  struct zf_forward *f = make_forward(m, n - 1, n - 1, 1, n - 1, 1);
  float *got = run_on(f, m, &x, &none);
  ck_assert_mem_eq(got, all, sizeof *got * (size_t)((n - 1) * V));
  ck_assert_mem_ne(got, short_of, sizeof *got * (size_t)((n - 1) * V));
  free(got), free(all), free(short_of);
  zf_forward_free(f);
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("forward");
  TCase *t = tcase_create("forward");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_neighbours, 0, NFAMILIES);
  tcase_add_loop_test(t, test_threads, 0, NFAMILIES);
  tcase_add_loop_test(t, test_unseen, 0, 2);
  tcase_add_loop_test(t, test_shared_prefix, 0, NSTEADY);
  tcase_add_loop_test(t, test_cache, 0, NSTEADY);
  tcase_add_loop_test(t, test_streams_f32, 0, NFAMILIES);
  tcase_add_loop_test(t, test_streams_f16, 0, NFAMILIES);
  tcase_add_loop_test(t, test_streams_bf16, 0, NFAMILIES);
  tcase_add_loop_test(t, test_frozen, 0, NFAMILIES);
  tcase_add_loop_test(t, test_none_trained, 0, NFAMILIES);
  tcase_add_loop_test(t, test_head, 0, NFAMILIES);
  tcase_add_loop_test(t, test_decode, 0, NSTEADY);
  tcase_add_loop_test(t, test_pieces, 0, ZF_COMPUTES);
  tcase_add_test(t, test_limits);
  suite_add_tcase(s, t);
  return unit_run(s);
}
