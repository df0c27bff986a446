/* Drivers: each case fills one output buffer from values drawn at --seed.  The buffer of plain C
 * on one thread is the truth for every other feature step and number of threads (promises 2
 * and 3 of the design).  A hash of it, at seed 1, is the same on every processor; further cases
 * check what the contract says of rows, streams and the update, and accuracy against double. */
#include "base/hash.h"
#include "kern/check.h"

struct state state;

enum { ROUNDS = 10, MAXTHREADS = 4, OUT = 1 << 18 };

struct out {
  float *p;
  int64_t n;
};

/* The next n floats of the output, begun with what `accumulate` will find. */
static float *room(struct out *o, int64_t n) {
  float *p = o->p + o->n;
  if (o->n + n > OUT) abort();
  for (int64_t i = 0; i < n; i++) p[i] = value(PLAIN);
  o->n += n;
  return p;
}

static struct zf_streams rnd_streams(void) {
  struct zf_streams st = {1 + (int)below(2), {1e-2f, -1e-2f}};
  return st;
}

/* A stored matrix with its noise; data is drawn as bytes of the type. */
struct matrix {
  struct zf_weight w;
  struct zf_noise key;
  void *data;
};

static void rnd_matrix(struct matrix *m, int64_t out, int64_t in, int transposed) {
  enum zf_dtype type = (enum zf_dtype)below(ZF_DTYPES);
  struct fresh f = fresh(out * in, PLAIN);
  m->data = malloc((size_t)(out * in) * 4);
  zf_from_f32(m->data, f.p, type, out * in);
  drop(f);
  m->key = rnd_noise();
  m->w = (struct zf_weight){m->data, type, out, in, in, 1, below(1 << 20), NULL};
  if (transposed) m->w.output_stride = 1, m->w.input_stride = out;
  if (below(3)) m->w.noise = &m->key;
}

/* zf_gemm and zf_head_lse with converted rows of their own. */
static struct zf_rows rows_of(const float *x, int64_t ldx, int64_t rows,
                              const struct zf_weight *w) {
  size_t bytes = zf_rows_bytes(w->compute, rows, w->in);
  return zf_rows_of(x, ldx, w->in, w->compute, aligned_alloc(64, (bytes + 64) / 64 * 64));
}

static void product(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                    const struct zf_weight *w, const struct zf_streams *st, const float *bias,
                    int64_t ldb, int accumulate) {
  struct zf_rows rows = rows_of(x, ldx, st->count * T, w);
  zf_gemm(y, ldy, &rows, T, w, st, bias, ldb, accumulate);
  free(rows.cells);
}

static void head_lse(double *lse, double *logit, const float *x, int64_t ldx, int64_t R,
                     const int32_t *targets, const struct zf_weight *w, const struct zf_streams *st,
                     const float *bias, int64_t ldb, float cap, float *scratch) {
  struct zf_rows rows = rows_of(x, ldx, st->count * R, w);
  zf_head_lse(lse, logit, &rows, R, targets, w, st, bias, ldb, cap, scratch,
              &(struct zf_head_hooks){0});
  free(rows.cells);
}

static void gemm_in(struct out *o, enum zf_compute c, int64_t most) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(20), in = 1 + below(most), out = 1 + below(300), ldx = in + below(5);
  int64_t ldy = out + below(5);
  struct fresh x = fresh(st.count * T * ldx, PLAIN), bias = fresh(st.count * out, PLAIN);
  struct matrix m;
  rnd_matrix(&m, out, in, (int)below(2));
  m.w.compute = c;
  const float *bp = below(2) ? bias.p : NULL;
  int accumulate = (int)below(2);
  product(room(o, st.count * T * ldy), ldy, x.p, ldx, T, &m.w, &st, bp, out, accumulate);
  drop(x), drop(bias), free(m.data);
}

static void case_gemm(struct out *o) {
  gemm_in(o, ZF_COMPUTE_F32, 700);
}

static void case_gemm_bf16(struct out *o) {
  gemm_in(o, ZF_COMPUTE_BF16, below(8) ? 700 : ZF_KC_BF16 + 300);
}

static void case_gemm_int8(struct out *o) {
  gemm_in(o, ZF_COMPUTE_INT8, below(8) ? 700 : ZF_KC_INT8 + 300);
}

static void case_gather(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(9), C = 1 + below(600), V = 50, ldy = C + below(9);
  struct matrix m;
  int32_t id[9];
  rnd_matrix(&m, V, C, 0);
  for (int t = 0; t < 9; t++) id[t] = (int32_t)below(V);
  int accumulate = (int)below(2);
  zf_gather(room(o, st.count * T * ldy), ldy, id, T, &m.w, &st, accumulate);
  free(m.data);
}

static void case_perturb(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t n = 1 + below(600);
  struct matrix m;
  rnd_matrix(&m, 1, n, 0);
  zf_perturb_vec(room(o, st.count * (n + 3)), n + 3, m.data, m.w.type, m.w.first, n, m.w.noise,
                 NULL, &st);
  free(m.data);
}

static void case_norms(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(9), C = 1 + below(300), H = 3, D = 1 + below(80);
  struct fresh x = fresh(st.count * T * C, PLAIN), w = fresh(2 * 300, PLAIN);
  zf_rmsnorm(room(o, st.count * T * C), C, x.p, C, T, C, 1e-6f, w.p, 300, &st);
  zf_layernorm(room(o, st.count * T * C), C, x.p, C, T, C, 1e-6f, w.p, w.p, 300, &st);
  zf_headnorm(room(o, st.count * T * H * D), H * D, T, H, D, 1e-6f, w.p, 300, &st);
  drop(x), drop(w);
}

static void case_rows(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(9), n = 1 + below(300), D = 16, rot = 2 + 2 * below(8);
  struct fresh u = fresh(st.count * T * n, PLAIN), cs = fresh(20 * rot, PLAIN);
  int32_t pos[9];
  for (int t = 0; t < 9; t++) pos[t] = (int32_t)below(20);
  for (int a = 0; a <= ZF_ACT_TANH; a++) { /* the others have a case of their own */
    const float *up = below(2) ? u.p : NULL;
    zf_act(room(o, st.count * T * n), n, up, n, st.count * T, n, (enum zf_act)a);
  }
  zf_add_rows(room(o, st.count * T * n), n, u.p, n, st.count * T, n);
  zf_rope(room(o, st.count * T * 3 * D), 3 * D, T, 3, D, rot, cs.p, pos, &st);
  drop(u), drop(cs);
}

static void case_acts(struct out *o) {
  int64_t rows = 1 + below(9), n = 1 + below(300);
  struct fresh u = fresh(rows * n, PLAIN);
  for (int a = ZF_ACT_TANH + 1; a < ZF_ACTS; a++) {
    const float *up = below(2) ? u.p : NULL;
    zf_act(room(o, rows * n), n, up, n, rows, n, (enum zf_act)a);
  }
  drop(u);
}

/* Ragged segments, some with a prefix in the same rows, some in a cache. */
struct heads {
  struct zf_streams st;
  struct zf_segment seg[4];
  struct fresh q, k, v, pk, pv;
  float *scratch;
  int64_t T, H, Hkv, D, ld;
};

static void rnd_heads(struct heads *h) {
  h->st = rnd_streams();
  h->D = 1 + below(80), h->Hkv = 1 + below(2), h->H = h->Hkv * (1 + below(3));
  h->ld = h->Hkv * h->D + below(5);
  h->T = 0;
  for (int g = 0; g < 4; g++) {
    struct zf_segment s = {.start = h->T, .len = 1 + below(below(3) ? 40 : 5)};
    h->T += s.len;
    if (g && below(2)) s.prefix_start = h->seg[g - 1].start, s.prefix_len = h->seg[g - 1].len;
    h->seg[g] = s;
  }
  int64_t n = h->st.count * h->T;
  h->q = fresh(n * h->H * h->D, PLAIN), h->k = fresh(n * h->ld, PLAIN);
  h->v = fresh(n * h->ld, PLAIN);
  h->pk = fresh(2 * 10 * h->Hkv * h->D, PLAIN), h->pv = fresh(2 * 10 * h->Hkv * h->D, PLAIN);
  if (below(2))
    h->seg[0].prefix_keys = h->pk.p, h->seg[0].prefix_values = h->pv.p,
    h->seg[0].prefix_stride = 10 * h->Hkv * h->D, h->seg[0].prefix_len = below(11);
  h->scratch = malloc((size_t)(MAXTHREADS * zf_attention_scratch(80, h->D)) * sizeof(float));
}

static void drop_heads(struct heads *h) {
  drop(h->q), drop(h->k), drop(h->v), drop(h->pk), drop(h->pv), free(h->scratch);
}

static void case_attention(struct out *o) {
  struct heads h;
  rnd_heads(&h);
  struct zf_attention_params attention = {.scale = 0.2f, .causal = (int)below(2)};
  zf_attention(room(o, h.st.count * h.T * h.H * h.D), h.H * h.D, h.q.p, h.H * h.D, h.k.p, h.v.p,
               h.ld, h.T, h.H, h.Hkv, h.D, &attention, h.seg, 4, &h.st, h.scratch);
  drop_heads(&h);
}

/* With windows and soft caps; without causality there are no prefixes. */
static void case_gaze(struct out *o) {
  struct heads h;
  rnd_heads(&h);
  struct zf_attention_params attention = {
      .scale = 0.2f, .causal = (int)below(2), .window = below(60)};
  if (below(2)) attention.cap = 0.5f;
  zf_attention(room(o, h.st.count * h.T * h.H * h.D), h.H * h.D, h.q.p, h.H * h.D, h.k.p, h.v.p,
               h.ld, h.T, h.H, h.Hkv, h.D, &attention, h.seg, 4, &h.st, h.scratch);
  drop_heads(&h);
}

static void case_permute_heads(struct out *o) {
  int64_t rows = 1 + below(5), H = 1 + below(5), D = 1 + below(20), ld = 3 * H * D + below(4);
  struct fresh x = fresh(rows * ld, PLAIN);
  float *scratch = malloc((size_t)(MAXTHREADS * 3 * H * D) * sizeof *scratch);
  zf_permute_heads(x.p, ld, rows, H, 3, D, scratch);
  memcpy(room(o, rows * ld), x.p, (size_t)(rows * ld) * sizeof *x.p);
  free(scratch), drop(x);
}

static void case_head(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t R = 1 + below(5), C = 1 + below(40), V = 1 + below(2500);
  struct fresh x = fresh(st.count * R * C, PLAIN), bias = fresh(2 * V, PLAIN);
  float *scratch = malloc((size_t)(st.count * R * ZF_VC) * sizeof *scratch);
  double lse[10], logit[10];
  struct matrix m;
  int32_t target[5];
  rnd_matrix(&m, V, C, (int)below(2));
  for (int r = 0; r < 5; r++) target[r] = (int32_t)below(V + 1) - 1;
  head_lse(lse, logit, x.p, C, R, target, &m.w, &st, below(2) ? bias.p : NULL, V, 0, scratch);
  memcpy(room(o, 2 * st.count * R), lse, (size_t)(st.count * R) * sizeof *lse);
  memcpy(room(o, 2 * st.count * R), logit, (size_t)(st.count * R) * sizeof *lse);
  drop(x), drop(bias), free(scratch), free(m.data);
}

static void case_noise(struct out *o) {
  struct zf_noise k = rnd_noise();
  int64_t n = below(12000);
  int64_t first = rnd_first();
  zf_noise_fill(room(o, n), &k, first, n);
}

static void case_update(struct out *o) {
  struct zf_noise k[3];
  float c[2], *p;
  int64_t n = 1 + below(3000);
  for (int i = 0; i < 3; i++) k[i] = rnd_noise();
  for (int i = 0; i < 2; i++) c[i] = value(PLAIN) * 1e-3f;
  if (below(2)) c[1] = 0;
  struct matrix m;
  rnd_matrix(&m, 1, n, 0);
  struct zf_update_step step = {k, c, 2, below(2) ? 1e-3f : 0, k[2], 1, 0};
  zf_update(m.data, m.w.type, n, &(struct zf_update){&step, 1, 0, 0});
  p = room(o, n);
  zf_expand(p, m.data, m.w.type, n);
  free(m.data);
}

/* Two steps of Adam; weights and both moments are compared. */
static void case_adam(struct out *o) {
  struct zf_noise k[3];
  struct zf_update_step step[2] = {{0}};
  float c[3];
  int64_t n = 1 + below(3000);
  float *w = room(o, n), *m = room(o, n), *v = room(o, n);
  for (int i = 0; i < 3; i++) k[i] = rnd_noise();
  for (int i = 0; i < 3; i++) c[i] = i == 1 && below(2) ? 0 : value(PLAIN);
  for (int64_t i = 0; i < n; i++) {
    w[i] = value(PLAIN);
    m[i] = value(PLAIN) * 1e-2f;
    v[i] = m[i] * m[i] * (float)below(3);
  }
  for (int i = 0; i < 2; i++)
    step[i] = (struct zf_update_step){
        .direction = k,
        .coefficient = c,
        .terms = 3 - i,
        .decay = below(2) ? 1e-3f : 0,
        .keep = 1,
        .adam = {{0.9f, 0.99f}, {0.1f, 0.01f}, below(4) ? 1e-2f : 0, 1.25f, 1e-8f}};
  zf_update(w, ZF_F32, n,
            &(struct zf_update){.step = step, .steps = 2, .rule = ZF_UPDATE_ADAM, .state = {m, v}});
}

/* Room with values in it. */
static float *filled(struct out *o, int64_t n) {
  float *x = room(o, n);
  for (int64_t i = 0; i < n; i++) x[i] = value(PLAIN);
  return x;
}

/* Rows of some examples of every stream, in ranges that leave some rows out. */
static void case_by_example(struct out *o) {
  struct zf_streams st = rnd_streams();
  struct zf_row_range range[4];
  int64_t T = 0, in = 1 + below(40), out = 1 + below(70), ldx = in + below(5);
  int64_t ldy = out + below(5);
  for (int i = 0; i < 4; i++) {
    T += below(3);
    range[i] = (struct zf_row_range){T, below(6)};
    T += range[i].len;
  }
  T += 1 + below(3);
  struct fresh x = fresh(st.count * T * ldx, PLAIN);
  struct matrix m;
  rnd_matrix(&m, out, in, (int)below(2));
  m.w.compute = ZF_COMPUTE_F32;
  struct zf_rows rows = zf_rows_of(x.p, ldx, in, ZF_COMPUTE_F32, NULL);
  float *y = filled(o, st.count * T * ldy);
  int64_t first = below(100);
  int accumulate = (int)below(2);
  zf_gemm_by_example(y, ldy, &rows, T, &m.w, &st, range, 4, first, accumulate);
  drop(x), free(m.data);
}

static void case_columns(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(9), C = 1 + below(300), ldx = C + below(5);
  struct fresh w = fresh(2 * 300, PLAIN);
  if (below(2)) st.stride = T + below(4);
  float *x = filled(o, st.count * (T + 4) * ldx);
  const float *factor = below(3) ? w.p : NULL, *shift = below(3) ? w.p + 7 : NULL;
  zf_columns(x, ldx, T, C, factor, shift, 300, &st);
  drop(w);
}

static void case_gather_columns(struct out *o) {
  struct zf_streams st = rnd_streams();
  int64_t T = 1 + below(9), C = 1 + below(20), V = 50, ldy = C + below(9);
  struct matrix m;
  int32_t id[9];
  rnd_matrix(&m, C, V, 1);
  m.w = (struct zf_weight){m.data, m.w.type, V, C, 1, V, m.w.first, m.w.noise};
  for (int t = 0; t < 9; t++) id[t] = (int32_t)below(V);
  int accumulate = (int)below(2);
  zf_gather_columns(filled(o, st.count * T * ldy), ldy, id, T, &m.w, &st, accumulate);
  free(m.data);
}

/* golden: CRC-32C of all rounds of plain C at seed 1, made on x86-64. */
static const struct {
  const char *name;
  void (*run)(struct out *);
  uint32_t golden;
} cases[] = {
    {"gemm", case_gemm, 0xba2eb35d},
    {"gather", case_gather, 0x7f563468},
    {"perturb", case_perturb, 0xfd5238a9},
    {"norms", case_norms, 0x5a89a12b},
    {"rows", case_rows, 0x33b41494},
    {"attention", case_attention, 0x67b99003},
    {"head_lse", case_head, 0xa49ef5bf},
    {"noise_fill", case_noise, 0xe4fc751c},
    {"update", case_update, 0xccee45be},
    {"gemm_bf16", case_gemm_bf16, 0x76d9732d},
    {"gemm_int8", case_gemm_int8, 0xb1b7d60c},
    {"gaze", case_gaze, 0xc92954b3},
    {"permute_heads", case_permute_heads, 0x323812d0},
    {"acts", case_acts, 0x516aa683},
    {"adam", case_adam, 0x18002e21},
    {"by_example", case_by_example, 0xd1378d9e},
    {"columns", case_columns, 0x553ef93d},
    {"gather_columns", case_gather_columns, 0x74f95f88},
};

static void use(unsigned flags, int threads) {
  static void *work;
  zf_kern_init(flags);
  if (!work) work = aligned_alloc(64, zf_kern_workspace_size(MAXTHREADS));
  zf_kern_threads(threads);
  zf_kern_set_min_work(0); /* small shapes are shared out as well */
  zf_kern_workspace(work);
}

/* Runs the case from the same seed under every feature step and 1, 2, 3 and 4 threads;
 * returns the hash of the results so far. */
static uint32_t same_everywhere(void (*run)(struct out *), uint32_t crc) {
  static float truth[OUT], again[OUT];
  uint64_t seed = rnd();
  struct out want = {truth, 0};
  unsigned flags;
  state.rng = seed;
  use(0, 1);
  run(&want);
  for (int i = 0; feature_step(i, &flags); i++)
    for (int t = 1; t <= MAXTHREADS; t++) {
      struct out got = {again, 0};
      state.rng = seed;
      use(flags, t);
      run(&got);
      if (!same(truth, again, want.n)) return crc;
    }
  state.rng = seed;
  return zf_crc32c(crc, truth, (size_t)want.n * sizeof *truth);
}

static void run_case(size_t i) {
  uint32_t crc = 0;
  state.rng = state.seed + ((uint64_t)i << 32);
  for (int r = 0; r < ROUNDS; r++) crc = same_everywhere(cases[i].run, crc);
  if (state.seed != 1 || crc == cases[i].golden) return;
  printf("FAIL %s: hash %08x, not %08x\n", cases[i].name, crc, cases[i].golden);
  state.failed++;
}

static void rnd_product(struct matrix *m, int64_t out, int64_t in) {
  rnd_matrix(m, out, in, (int)below(2));
  m->w.compute = (enum zf_compute)below(ZF_COMPUTES);
}

/* A row of a product has the same bits alone and among others. */
static void check_rows_alone(void) {
  int64_t T = 1 + below(50), in = 1 + below(600), out = 1 + below(200);
  struct zf_streams one = {1, {1e-2f}};
  struct fresh x = fresh(T * in, PLAIN), y = fresh(T * out, PLAIN), row = fresh(out, PLAIN);
  struct matrix m;
  rnd_product(&m, out, in);
  product(y.p, out, x.p, in, T, &m.w, &one, NULL, 0, 0);
  for (int64_t t = 0; t < T; t++) {
    product(row.p, out, x.p + t * in, in, 1, &m.w, &one, NULL, 0, 0);
    if (!same(y.p + t * out, row.p, out)) break;
  }
  drop(x), drop(y), drop(row), free(m.data);
}

/* Two streams with fused noise equal two plain products by perturbed copies of W. */
static void check_fused(void) {
  int64_t T = 1 + below(20), in = 1 + below(600), out = 1 + below(200);
  struct zf_streams two = {2, {1e-2f, -1e-2f}}, one = {1, {0}};
  struct fresh x = fresh(2 * T * in, PLAIN), y = fresh(2 * T * out, PLAIN);
  struct fresh copy = fresh(2 * in * out, PLAIN), plain = fresh(T * out, PLAIN);
  struct matrix m;
  rnd_product(&m, out, in);
  m.w.noise = &m.key;
  product(y.p, out, x.p, in, T, &m.w, &two, NULL, 0, 0);
  zf_perturb_vec(copy.p, in * out, m.data, m.w.type, m.w.first, in * out, &m.key, NULL, &two);
  for (int s = 0; s < 2; s++) {
    struct zf_weight w = m.w;
    w.data = copy.p + s * in * out, w.type = ZF_F32, w.noise = NULL;
    product(plain.p, out, x.p + s * T * in, in, T, &w, &one, NULL, 0, 0);
    same(plain.p, y.p + s * T * out, T * out);
  }
  drop(x), drop(y), drop(copy), drop(plain), free(m.data);
}

/* Ranges with directions of their own equal a product for each range with its key; rows outside stay. */
static void check_by_example(void) {
  enum { EXAMPLES = 3 };
  int64_t T = 20, in = 1 + below(30), out = 1 + below(90), first = below(50);
  struct zf_streams two = {2, {1e-2f, -1e-2f}};
  struct zf_row_range range[EXAMPLES] = {{0, 4}, {5, 9}, {14, 6}};
  struct fresh x = fresh(2 * T * in, PLAIN), y = fresh(2 * T * out, PLAIN),
               alone = fresh(2 * 9 * out, PLAIN), part = fresh(2 * 9 * in, PLAIN), was = twin(y);
  struct matrix m;
  rnd_matrix(&m, out, in, (int)below(2));
  m.w.compute = ZF_COMPUTE_F32;
  m.w.noise = &m.key;
  struct zf_rows rows = zf_rows_of(x.p, in, in, ZF_COMPUTE_F32, NULL);
  zf_gemm_by_example(y.p, out, &rows, T, &m.w, &two, range, EXAMPLES, first, 0);
  for (int i = 0; i < EXAMPLES; i++) {
    struct zf_noise key = m.key;
    zf_noise_example(&key, first + i);
    m.w.noise = &key;
    for (int s = 0; s < 2; s++)
      memcpy(part.p + s * range[i].len * in, x.p + (s * T + range[i].start) * in,
             sizeof(float) * (size_t)(range[i].len * in));
    product(alone.p, out, part.p, in, range[i].len, &m.w, &two, NULL, 0, 0);
    for (int s = 0; s < 2; s++)
      same(y.p + (s * T + range[i].start) * out, alone.p + s * range[i].len * out,
           range[i].len * out);
  }
  same(y.p + 4 * out, was.p + 4 * out, out); /* a row of no example */
  drop(x), drop(y), drop(alone), drop(part), drop(was), free(m.data);
}

/* x * factor + shift in one rounding, or one of the two alone. */
static void check_columns(void) {
  int64_t T = 1 + below(5), C = 1 + below(60), stride = T + below(3);
  struct zf_streams two = {2, {0, 0}, stride};
  struct fresh x = fresh(2 * stride * C, PLAIN), w = fresh(2 * C, PLAIN), b = fresh(2 * C, PLAIN),
               was = twin(x);
  int kind = (int)below(3);
  zf_columns(x.p, C, T, C, kind != 1 ? w.p : NULL, kind ? b.p : NULL, C, &two);
  for (int s = 0; s < 2; s++)
    for (int64_t t = 0; t < stride; t++)
      for (int64_t c = 0; c < C; c++) {
        int64_t i = (s * stride + t) * C + c;
        float want = was.p[i], factor = w.p[s * C + c], shift = b.p[s * C + c];
        if (t < T)
          want = kind == 0 ? want * factor : kind == 1 ? want + shift : fmaf(want, factor, shift);
        if (!same(x.p + i, &want, 1)) t = stride, c = C;
      }
  drop(x), drop(w), drop(b), drop(was);
}

/* Higham's gamma_n for n roundings of f32. */
static double gamma_of(int64_t n) {
  double u = 0x1p-24;
  return (double)n * u / (1 - (double)n * u);
}

/* |y - exact| <= gamma_(in+2) sum |x w|: each product meets at most in + 1 roundings. */
static void check_accuracy(void) {
  int64_t T = 1 + below(9), in = 1 + below(1500), out = 1 + below(100);
  struct zf_streams one = {1, {0}};
  struct fresh x = fresh(T * in, PLAIN), y = fresh(T * out, PLAIN), w = fresh(in * out, PLAIN);
  struct zf_weight W = {w.p, ZF_F32, out, in, in, 1, 0, NULL};
  product(y.p, out, x.p, in, T, &W, &one, NULL, 0, 0);
  for (int64_t i = 0; i < T * out; i++) {
    double sum = 0, size = 0;
    for (int64_t k = 0; k < in; k++) {
      double p = (double)x.p[i / out * in + k] * (double)w.p[i % out * in + k];
      sum += p;
      size += fabs(p);
    }
    if (!near(i, sum, (double)y.p[i], gamma_of(in + 2) * size)) break;
  }
  drop(x), drop(y), drop(w);
}

/* Quantisation moves a value by at most half its group's scale, and one rounding of 127 / m; the
 * sums of products of integers are exact, and a group costs three roundings in f32. */
static void check_int8_accuracy(void) {
  int64_t T = 1 + below(9), in = 1 + below(1500), out = 1 + below(100);
  struct zf_streams one = {1, {0}};
  struct fresh x = fresh(T * in, PLAIN), y = fresh(T * out, PLAIN), w = fresh(in * out, PLAIN);
  struct zf_weight W = {w.p, ZF_F32, out, in, in, 1, 0, NULL, NULL, ZF_COMPUTE_INT8};
  product(y.p, out, x.p, in, T, &W, &one, NULL, 0, 0);
  for (int64_t i = 0; i < T * out; i++) {
    double sum = 0, bound = 0, size = 0;
    for (int64_t g = 0; g < in; g += ZF_GROUP) {
      int64_t n = in - g < ZF_GROUP ? in - g : ZF_GROUP;
      const float *a = x.p + i / out * in + g, *b = w.p + i % out * in + g;
      double ma = 0, mb = 0;
      for (int64_t k = 0; k < n; k++)
        ma = fmax(ma, fabs((double)a[k])), mb = fmax(mb, fabs((double)b[k]));
      double da = ma / 254 * (1 + 0x1p-15), db = mb / 254 * (1 + 0x1p-15);
      for (int64_t k = 0; k < n; k++) {
        double p = (double)a[k] * (double)b[k];
        sum += p;
        bound += fabs((double)a[k]) * db + fabs((double)b[k]) * da + da * db;
        size += (fabs((double)a[k]) + da) * (fabs((double)b[k]) + db);
      }
    }
    if (!near(i, sum, (double)y.p[i], bound + gamma_of(3 * (in / ZF_GROUP + 2)) * size)) break;
  }
  drop(x), drop(y), drop(w);
}

/* One query and head in double; *scale is the largest |v| and *ds the error of a score. */
static double attend_exact(const struct heads *h, int64_t keys, double cap, const float *q,
                           const float *k, const float *v, double *bound) {
  double max = -INFINITY, sum = 0, o = 0, size = 0, ds = 0, s[80];
  for (int64_t j = 0; j < keys; j++) {
    double abs = s[j] = 0;
    for (int64_t d = 0; d < h->D; d++) {
      double p = (double)q[d] * (double)k[j * h->ld + d] * (double)0.2f;
      s[j] += p, abs += fabs(p);
    }
    ds = fmax(ds, gamma_of(h->D + 4) * abs);
    if (cap > 0) { /* tanh errs by 7 u, its slope is at most 1 */
      s[j] = cap * tanh(s[j] / cap);
      ds = fmax(ds, gamma_of(h->D + 4) * abs + gamma_of(9) * cap);
    }
    max = fmax(max, s[j]);
  }
  for (int64_t j = 0; j < keys; j++) {
    double p = exp(s[j] - max);
    sum += p, o += p * (double)v[j * h->ld], size += p * fabs((double)v[j * h->ld]);
  }
  /* A weight errs by two scores, the subtraction (at most u |s - max|, here below 64 u), exp
   * (2 u), and as many roundings as there are keys, above and below the bar. */
  *bound = (2 * ds + gamma_of(2 * keys + 70)) * 2 * size / sum;
  return o / sum;
}

static void check_attention_accuracy(void) {
  struct heads h;
  rnd_heads(&h);
  for (int g = 0; g < 4; g++) h.seg[g].prefix_len = 0;
  struct fresh o = fresh(h.st.count * h.T * h.H * h.D, PLAIN);
  struct zf_attention_params attention = {
      .scale = 0.2f, .causal = (int)below(2), .window = below(3) * below(30)};
  if (below(2)) attention.cap = 2;
  zf_attention(o.p, h.H * h.D, h.q.p, h.H * h.D, h.k.p, h.v.p, h.ld, h.T, h.H, h.Hkv, h.D,
               &attention, h.seg, 4, &h.st, h.scratch);
  for (int i = 0; i < 20; i++) {
    struct zf_segment *g = h.seg + below(4);
    int64_t s = below(h.st.count), at = below(g->len), head = below(h.H), d = below(h.D);
    int64_t base = (s * h.T + g->start) * h.ld + head / (h.H / h.Hkv) * h.D;
    int64_t r = (s * h.T + g->start + at) * h.H * h.D + head * h.D;
    int64_t end = attention.causal ? at + 1 : g->len, w = attention.window;
    int64_t first = w && at >= w ? at - w + 1 : 0, last = w && at + w < end ? at + w : end;
    base += first * h.ld;
    double bound, want = attend_exact(&h, last - first, (double)attention.cap, h.q.p + r,
                                      h.k.p + base, h.v.p + base + d, &bound);
    near(r + d, want, (double)o.p[r + d], bound);
  }
  drop(o), drop_heads(&h);
}

/* log-sum-exp errs by at most the largest error of a logit, and by that of f32 exponentials. */
static void check_head_accuracy(void) {
  int64_t C = 1 + below(60), V = 1 + below(3000);
  struct zf_streams one = {1, {0}};
  struct fresh x = fresh(C, PLAIN), w = fresh(V * C, PLAIN);
  struct zf_weight W = {w.p, ZF_F32, V, C, C, 1, 0, NULL};
  float *scratch = malloc(ZF_VC * sizeof *scratch);
  int32_t target = (int32_t)below(V);
  double lse, logit, sum = 0, bound = 0, want = 0;
  head_lse(&lse, &logit, x.p, C, 1, &target, &W, &one, NULL, 0, 0, scratch);
  for (int64_t v = 0; v < V; v++) {
    double y = 0, size = 0;
    for (int64_t c = 0; c < C; c++) {
      double p = (double)x.p[c] * (double)w.p[v * C + c];
      y += p, size += fabs(p);
    }
    if (v == target) want = y;
    sum += exp(y);
    bound = fmax(bound, gamma_of(C + 2) * size);
  }
  near(0, log(sum), lse, bound + 4 * 0x1p-24);
  near(1, want, logit, bound);
  drop(x), drop(w), free(scratch);
}

static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

static double exact_act(int act, double x) {
  double gelu = 0.5 * x * (1 + erf(x * M_SQRT1_2)), six = fmin(fmax(x + 3, 0), 6);
  const double y[ZF_ACTS] = {
      [ZF_ACT_SILU] = x * sigmoid(x),
      [ZF_ACT_GELU_TANH] = 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))),
      [ZF_ACT_GELU_ERF] = gelu,
      [ZF_ACT_RELU] = fmax(x, 0),
      [ZF_ACT_TANH] = tanh(x),
      [ZF_ACT_QUICK_GELU] = x * sigmoid(1.702 * x),
      [ZF_ACT_GELU_10] = fmin(gelu, 10),
      [ZF_ACT_SIGMOID] = sigmoid(x),
      [ZF_ACT_RELU2] = fmax(x, 0) * fmax(x, 0),
      [ZF_ACT_RELU6] = fmin(fmax(x, 0), 6),
      [ZF_ACT_LEAKY_RELU] = fmax(x, 0.01 * x),
      [ZF_ACT_LINEAR] = x,
      [ZF_ACT_HARDSWISH] = x * six / 6,
      [ZF_ACT_MISH] = x * tanh(log1p(exp(x))),
      [ZF_ACT_LAPLACE] = 0.5 * (1 + erf((x - 0.707107) / (0.282095 * M_SQRT2)))};
  return y[act];
}

/* Errors in units of u = 2^-24, from those of the functions (exp and erf 2, tanh 7) and one
 * for each operation; a slope of at most 1/2 brings errors of the argument in.  exp(-1.702 x) brings
 * two roundings of an argument of up to 21 in; laplace has a slope of 1.42 at an argument that is
 * off by three roundings of at most 13. */
static double act_bound(int act, double x, double y) {
  double wide = 6 * fabs(x) + 2 * fabs(y);
  const double bound[ZF_ACTS] = {[ZF_ACT_SILU] = 5 * fabs(y),
                                 [ZF_ACT_GELU_TANH] = wide,
                                 [ZF_ACT_GELU_ERF] = wide,
                                 [ZF_ACT_TANH] = 8,
                                 [ZF_ACT_QUICK_GELU] = 5 * fabs(y) + 2 * 21 * fabs(y),
                                 [ZF_ACT_GELU_10] = wide,
                                 [ZF_ACT_SIGMOID] = 5 * fabs(y),
                                 [ZF_ACT_RELU2] = fabs(y),
                                 [ZF_ACT_LEAKY_RELU] = 2 * fabs(y),
                                 [ZF_ACT_HARDSWISH] = 3 * fabs(y) + 3 * fabs(x),
                                 [ZF_ACT_MISH] = 12 * fabs(y),
                                 [ZF_ACT_LAPLACE] = 3 + 1.42 * 3 * fabs(x)};
  return bound[act];
}

static void check_act_accuracy(void) {
  enum { N = 2000 };
  static float g[N], x[N];
  for (int act = 0; act < ZF_ACTS; act++) {
    for (int i = 0; i < N; i++) g[i] = x[i] = 12 * value(PLAIN);
    zf_act(g, N, NULL, 0, 1, N, (enum zf_act)act);
    for (int i = 0; i < N; i++) {
      double y = exact_act(act, (double)x[i]);
      if (!near(i, y, (double)g[i], act_bound(act, (double)x[i], y) * 0x1p-24)) break;
    }
  }
}

/* Without a step nothing changes, not the sign of a zero nor a NaN's payload. */
static void check_idle_update(void) {
  uint32_t a[500], b[500];
  float c[2] = {0, 0};
  struct zf_noise k[2] = {rnd_noise(), rnd_noise()};
  for (int i = 0; i < 500; i++) a[i] = (uint32_t)rnd();
  memcpy(b, a, sizeof a);
  struct zf_update_step step = {k, c, 2, 0, k[0], 1, 0};
  for (int type = 0; type < ZF_DTYPES; type++)
    for (int many = 1; many <= 2; many++) {
      struct zf_update_step steps[2] = {step, step};
      zf_update(a, (enum zf_dtype)type, 500, &(struct zf_update){steps, many, 0, 0});
    }
  if (memcmp(a, b, sizeof a)) fail_at(0, 0, 1);
}

/* Stochastic rounding: the result is a neighbour of the exact value, and their mean is the
 * value.  One draw has deviation at most gap/2, so five deviations of the mean of n are
 * 2.5 gap / sqrt n; truncating the word to 13 bits moves it by at most gap / 2^13 (bf16, f24: all
 * the bits they drop are drawn, so theirs is exact). */
static void check_rounding(void) {
  enum { N = 1 << 14 };
  static uint32_t r[N], h[N]; /* h: room for N of any */
  static float src[N], back[N];
  for (int round = 0; round < 12; round++) {
    static const enum zf_dtype types[] = {ZF_F16, ZF_BF16, ZF_F24};
    enum zf_dtype type = types[round % 3];
    float f = ldexpf(value(PLAIN), -(int)below(24)), lo = INFINITY, hi = -INFINITY;
    double mean = 0;
    for (int i = 0; i < N; i++) src[i] = f, r[i] = (uint32_t)rnd();
    zf_kern.round_stochastically(h, src, r, type, N);
    zf_to_f32(back, h, type, N);
    for (int i = 0; i < N; i++) {
      lo = fminf(lo, back[i]), hi = fmaxf(hi, back[i]);
      mean += (double)back[i] / N;
    }
    double least = type == ZF_F16 ? 0x1p-24 : 0;
    double bits = type == ZF_F16 ? 10 : type == ZF_BF16 ? 7 : 15;
    double gap = fmax(least, exp2(floor(log2(fabs((double)f))) - bits));
    near(0, (double)f, (double)lo, gap);
    near(1, (double)f, (double)hi, gap);
    near(2, (double)f, mean, gap * (2.5 / sqrt(N) + 0x1p-13));
  }
}

/* A matrix in blocks is the matrix of f32 that it expands to, to the bit: products of every
 * arithmetic, rows of a table, the head in pieces. */
static void check_blocks(void) {
  static float y[2][9 * 1100], wide[1100 * 512];
  static double lse[2][9], logit[2][9];
  enum zf_dtype type = (enum zf_dtype)(ZF_DTYPES + below(ZF_DTYPES_READ - ZF_DTYPES));
  struct zf_streams st = {1, {0}};
  int64_t T = 1 + below(9), in = 256 * (1 + below(2)), out = 1 + below(1100);
  unsigned char *raw = malloc(zf_dtype_bytes(type, out * in));
  const struct zf_dtype_info *d = zf_dtype_info(type);
  struct fresh x = fresh(T * in, PLAIN);
  float *scratch = malloc((size_t)T * ZF_VC * sizeof *scratch);
  int32_t id[9];
  for (size_t i = 0; i < zf_dtype_bytes(type, out * in); i++) raw[i] = (unsigned char)rnd();
  for (int64_t b = 0; b < out * in / d->block; b++) /* scales below 2^-7: finite sums */
    for (int s = 0; s < d->nscale; s++) raw[(size_t)b * d->size + (size_t)d->scale[s] + 1] &= 0x9f;
  zf_to_f32(wide, raw, type, out * in);
  for (int t = 0; t < 9; t++) id[t] = (int32_t)below(out);
  struct zf_weight w[2] = {{raw, type, out, in, in, 1}, {wide, ZF_F32, out, in, in, 1}};
  for (int c = 0; c < ZF_COMPUTES; c++) {
    for (int k = 0; k < 2; k++) {
      w[k].compute = (enum zf_compute)c;
      product(y[k], out, x.p, in, T, &w[k], &st, NULL, 0, 0);
      head_lse(lse[k], logit[k], x.p, in, T, id, &w[k], &st, NULL, 0, 0, scratch);
    }
    if (memcmp(y[0], y[1], (size_t)(T * out) * 4)) fail_at(c, 0, 1);
    if (memcmp(lse[0], lse[1], (size_t)T * 8) || memcmp(logit[0], logit[1], (size_t)T * 8))
      fail_at(c, 0, 2);
  }
  for (int k = 0; k < 2; k++) zf_gather(y[k], in, id, T, &w[k], &st, 0);
  if (memcmp(y[0], y[1], (size_t)(T * in) * 4)) fail_at(9, 0, 3);
  drop(x), free(scratch), free(raw);
}

/* The same of a stored matrix [in, columns] that is read as W [out, in], of which out <= columns are
 * used: ranges of a thread begin and end inside blocks.  With noise, too. */
static void check_transposed_blocks(void) {
  static float y[2][18 * 800], wide[800 * 768];
  enum zf_dtype type = (enum zf_dtype)(ZF_DTYPES + below(ZF_DTYPES_READ - ZF_DTYPES));
  struct zf_streams st = rnd_streams();
  const struct zf_dtype_info *d = zf_dtype_info(type);
  int64_t T = 1 + below(9), in = 1 + below(800),
          columns = d->block * (1 + below(d->block == 256 ? 3 : 24)), out = 1 + below(columns);
  size_t bytes = zf_dtype_bytes(type, columns * in);
  unsigned char *raw = malloc(bytes);
  struct fresh x = fresh(st.count * T * in, PLAIN);
  struct zf_noise key = rnd_noise();
  for (size_t i = 0; i < bytes; i++) raw[i] = (unsigned char)rnd();
  for (int64_t b = 0; b < columns * in / d->block; b++)
    for (int s = 0; s < d->nscale; s++) raw[(size_t)b * d->size + (size_t)d->scale[s] + 1] &= 0x9f;
  zf_to_f32(wide, raw, type, columns * in);
  struct zf_weight w[2] = {{raw, type, out, in, 1, columns}, {wide, ZF_F32, out, in, 1, columns}};
  int noisy = (int)below(2);
  for (int c = 0; c < ZF_COMPUTES; c++) {
    for (int k = 0; k < 2; k++) {
      w[k].compute = (enum zf_compute)c;
      w[k].noise = noisy ? &key : NULL;
      product(y[k], out, x.p, in, T, &w[k], &st, NULL, 0, 0);
    }
    if (memcmp(y[0], y[1], (size_t)(st.count * T * out) * 4)) fail_at(c, 0, 1);
  }
  drop(x), free(raw);
}

static const struct {
  const char *name;
  void (*run)(void);
} checks[] = {
    {"blocks", check_blocks},
    {"transposed_blocks", check_transposed_blocks},
    {"rows_alone", check_rows_alone},
    {"fused", check_fused},
    {"by_example", check_by_example},
    {"columns", check_columns},
    {"accuracy", check_accuracy},
    {"attention_accuracy", check_attention_accuracy},
    {"head_accuracy", check_head_accuracy},
    {"act_accuracy", check_act_accuracy},
    {"idle_update", check_idle_update},
    {"rounding", check_rounding},
    {"int8_accuracy", check_int8_accuracy},
};

int main(int argc, char **argv) {
  int rc = options(argc, argv);
  unsigned flags;
  if (rc) return rc;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (wanted(cases[i].name)) run_case(i);
  for (int i = 0; feature_step(i, &flags); i++)
    for (size_t j = 0; j < sizeof checks / sizeof *checks; j++)
      for (int r = 0; wanted(checks[j].name) && r < ROUNDS; r++) {
        use(flags, 1 + (int)below(MAXTHREADS));
        checks[j].run();
      }
  printf("%s (--seed %llu)\n", state.failed ? "FAILED" : "ok", (unsigned long long)state.seed);
  return state.failed ? 1 : 0;
}
