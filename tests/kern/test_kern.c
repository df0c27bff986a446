/* Kernels against their plain C references, as dav1d's checkasm does it: features are added
 * one at a time; an entry of the table that changes is run beside `_ref` on random shapes,
 * tails, strides and places, and must give the same bits.
 *
 *   test_kern [--seed N] [--filter NAME] */
#include "kern/check.h"
#include "unit/octaves.h"

struct state state;

enum { ROUNDS = 400 };

/* The two tables under comparison. */
static struct zf_kern_table ref, fast;

static enum kind any_kind(void) {
  return (enum kind)below(3);
}

static void check_pack(void) {
  int64_t n = 1 + below(16), k = 1 + below(ZF_KC), ld = k + below(40);
  int64_t w = ZF_LANES * (1 + below(4));
  enum kind kind = any_kind();
  struct fresh src = fresh((n - 1) * ld + k, kind), z = fresh64(16 * ZF_KC, kind);
  struct fresh a = fresh64(k * w, PLAIN), b = twin(a);
  const float *noise = below(2) ? z.p : NULL;
  float eps = value(PLAIN);
  int64_t at = ZF_LANES * below(w / ZF_LANES);
  ref.product[ZF_COMPUTE_F32].pack(a.p + at, w, src.p, ld, noise, eps, n, k);
  fast.product[ZF_COMPUTE_F32].pack(b.p + at, w, src.p, ld, noise, eps, n, k);
  same_fresh(a, b);
  drop(src), drop(z), drop(a), drop(b);
}

/* Cells are bits of floats: their halves are bf16 of every kind. */
static enum zf_compute arithmetic;

static void check_mul(void) {
  int64_t rows = 1 + below(20), k = 1 + below(ZF_KC), ldc = 64 + below(70);
  int64_t deep = k > ZF_MUL_ROWS ? k : ZF_MUL_ROWS, ldx = deep + below(9); /* for the stair */
  int64_t w = ZF_LANES * (1 + below(fast.product[arithmetic].max_columns / ZF_LANES)),
          ldp = w + below(2) * below(40);
  enum kind kind = any_kind();
  struct fresh x = fresh((rows - 1) * ldx + deep, kind), panel = fresh((deep - 1) * ldp + w, kind);
  struct fresh a = fresh(rows * ldc, PLAIN), b = twin(a);
  enum zf_mul_mode mode = (enum zf_mul_mode)below(rows > ZF_MUL_ROWS ? 3 : 4);
  if (arithmetic) mode = (enum zf_mul_mode)below(2);
  if (mode == ZF_MUL_STAIR) k = k > rows ? k - rows : 0;
  ref.product[arithmetic].mul(a.p, ldc, x.p, ldx, rows, panel.p, ldp, w, k, mode);
  fast.product[arithmetic].mul(b.p, ldc, x.p, ldx, rows, panel.p, ldp, w, k, mode);
  same_fresh(a, b);
  drop(x), drop(panel), drop(a), drop(b);
}

static void check_f32_mul(void) {
  arithmetic = ZF_COMPUTE_F32;
  check_mul();
}

static void check_bf16_mul(void) {
  arithmetic = ZF_COMPUTE_BF16;
  check_mul();
}

static void check_bf16_convert_rows(void) {
  int64_t n = 1 + below(200), cells = (n + 1) / 2;
  struct fresh x = fresh(n, any_kind()), a = fresh(cells, PLAIN), b = twin(a);
  ref.product[ZF_COMPUTE_BF16].convert_rows(a.p, x.p, n);
  fast.product[ZF_COMPUTE_BF16].convert_rows(b.p, x.p, n);
  same_words(a, b);
  drop(x), drop(a), drop(b);
}

static void check_bf16_pack(void) {
  int64_t n = 1 + below(16), k = 1 + below(ZF_KC), ld = k + below(40);
  int64_t w = ZF_LANES * (1 + below(4)), at = ZF_LANES * below(w / ZF_LANES);
  enum kind kind = any_kind();
  struct fresh src = fresh((n - 1) * ld + k, kind), z = fresh64(16 * ZF_KC, kind);
  struct fresh a = fresh64((k + 1) / 2 * w, PLAIN), b = twin(a);
  const float *noise = below(2) ? z.p : NULL;
  float eps = value(PLAIN);
  ref.product[ZF_COMPUTE_BF16].pack(a.p + at, w, src.p, ld, noise, eps, n, k);
  fast.product[ZF_COMPUTE_BF16].pack(b.p + at, w, src.p, ld, noise, eps, n, k);
  same_words(a, b);
  drop(src), drop(z), drop(a), drop(b);
}

static void check_bf16_pack_f32(void) {
  int64_t k = 1 + below(70), w = ZF_LANES * (1 + below(4)), at = ZF_LANES * below(w / ZF_LANES);
  int64_t n = w - at;
  struct fresh from = fresh64(k * w, any_kind()), a = fresh64((k + 1) / 2 * w, PLAIN), b = twin(a);
  ref.product[ZF_COMPUTE_BF16].pack_f32(a.p + at, w, from.p + at, w, n, k);
  fast.product[ZF_COMPUTE_BF16].pack_f32(b.p + at, w, from.p + at, w, n, k);
  same_words(a, b);
  drop(from), drop(a), drop(b);
}

/* Layouts of cells are a product's own, so what is compared is a whole product: rows of x times
 * the columns of w [k][width], folded group after group. */
struct int8_case {
  struct fresh x, w;
  int64_t rows, k, width, gap;
};

static void int8_product(const struct zf_product *p, const struct int8_case *t, float *c,
                         int64_t ldc, enum zf_mul_mode mode) {
  int64_t deep = zf_kern_depth(p, t->k), ld = deep + t->gap;
  uint32_t *cells = malloc((size_t)(t->rows * ld) * sizeof *cells);
  uint32_t *panel = malloc((size_t)(deep * t->width) * sizeof *panel);
  for (int64_t r = 0; r < t->rows; r++) p->convert_rows(cells + r * ld, t->x.p + r * t->k, t->k);
  for (int64_t g = 0; g < t->k; g += ZF_GROUP)
    p->pack_f32(panel + zf_kern_depth(p, g) * t->width, t->width, t->w.p + g * t->width, t->width,
                t->width, zf_min64(t->k - g, ZF_GROUP));
  p->mul(c, ldc, cells, ld, t->rows, panel, t->width, t->width, t->k, mode);
  free(cells), free(panel);
}

static void check_int8(void) {
  int widest = fast.product[ZF_COMPUTE_INT8].max_columns / ZF_LANES;
  struct int8_case t = {.rows = 1 + below(20), .k = 1 + below(3 * ZF_GROUP), .gap = below(9)};
  enum kind kind = any_kind();
  t.width = ZF_LANES * (1 + below(widest));
  t.x = fresh(t.rows * t.k, kind), t.w = fresh(t.k * t.width, kind);
  for (int64_t i = 0; i < t.k; i++) t.w.p[i * t.width] = 0;
  int64_t ldc = t.width + below(9);
  struct fresh a = fresh(t.rows * ldc, PLAIN), b = twin(a);
  enum zf_mul_mode mode = (enum zf_mul_mode)below(2);
  int8_product(&ref.product[ZF_COMPUTE_INT8], &t, a.p, ldc, mode);
  int8_product(&fast.product[ZF_COMPUTE_INT8], &t, b.p, ldc, mode);
  same_fresh(a, b);
  drop(t.x), drop(t.w), drop(a), drop(b);
}

static void check_mul_unpacked(void) {
  int64_t rows = 1 + below(ZF_SMALL_M), n = 1 + below(16), k = 1 + below(ZF_KC);
  int64_t ldx = k + below(9), ld = k + below(40);
  enum kind kind = any_kind();
  struct fresh x = fresh((rows - 1) * ldx + k, kind), w = fresh((n - 1) * ld + k, kind);
  struct fresh a = fresh(rows * ZF_NC, PLAIN), b = twin(a);
  int add = (int)below(2);
  ref.product[ZF_COMPUTE_F32].mul_unpacked(a.p, ZF_NC, x.p, ldx, rows, w.p, ld, n, k, add);
  fast.product[ZF_COMPUTE_F32].mul_unpacked(b.p, ZF_NC, x.p, ldx, rows, w.p, ld, n, k, add);
  for (int64_t r = 0; r < rows; r++) /* the undefined columns */
    memcpy(b.p + r * ZF_NC + n, a.p + r * ZF_NC + n, (size_t)(16 - n) * sizeof *b.p);
  same_fresh(a, b);
  drop(x), drop(w), drop(a), drop(b);
}

static void check_finish(void) {
  int64_t rows = 1 + below(9), n = 1 + below(ZF_NC), ldy = n + below(9);
  struct fresh c = fresh64(rows * ZF_NC, any_kind()), bias = fresh(n, PLAIN);
  struct fresh a = fresh((rows - 1) * ldy + n, PLAIN), b = twin(a);
  const float *bp = below(2) ? bias.p : NULL;
  int acc = (int)below(2);
  ref.finish(a.p, ldy, c.p, bp, rows, n, acc);
  fast.finish(b.p, ldy, c.p, bp, rows, n, acc);
  same_fresh(a, b);
  drop(c), drop(bias), drop(a), drop(b);
}

/* A request for noise; often at a place whose octave is rare. */
static struct zf_noise rnd_request(int64_t *first, int64_t *n) {
  struct zf_noise k = rnd_noise();
  *first = rnd_first(), *n = below(700);
  if (below(4)) return k;
  *first = octave_first[below(OCTAVES)] - below(100);
  return octave_key;
}

static void check_noise(void) {
  int64_t first, n;
  struct zf_noise k = rnd_request(&first, &n);
  struct fresh a = fresh(n, PLAIN), b = twin(a);
  ref.noise(a.p, &k, first, n);
  fast.noise(b.p, &k, first, n);
  same_fresh(a, b);
  drop(a), drop(b);
}

static void check_random_words(void) {
  struct zf_noise k = rnd_noise();
  int64_t first = rnd_first(), n = below(700);
  uint32_t *a = calloc((size_t)n + 1, sizeof *a), *b = calloc((size_t)n + 1, sizeof *b);
  ref.random_words(a, &k, first, n);
  fast.random_words(b, &k, first, n);
  for (int64_t i = 0; i <= n; i++)
    if (a[i] != b[i]) {
      fail_at(i, a[i], b[i]);
      break;
    }
  free(a), free(b);
}

static void check_add_noise(void) {
  int64_t first, n;
  struct zf_noise k = rnd_request(&first, &n);
  struct fresh a = fresh(n, any_kind()), b = twin(a);
  float c = value(PLAIN);
  ref.add_noise(a.p, &k, c, first, n);
  fast.add_noise(b.p, &k, c, first, n);
  same_fresh(a, b);
  drop(a), drop(b);
}

static void expand_blocks(void) {
  enum zf_dtype type = (enum zf_dtype)(ZF_DTYPES + below(ZF_DTYPES_READ - ZF_DTYPES));
  int64_t n = 256 * below(4);
  struct fresh a = fresh(n, PLAIN), b = twin(a);
  size_t bytes = zf_dtype_bytes(type, n);
  unsigned char *h = malloc(bytes + 1);
  for (size_t i = 0; i < bytes; i++) h[i] = (unsigned char)rnd();
  ref.expand(a.p, h, type, n);
  fast.expand(b.p, h, type, n);
  same_fresh(a, b);
  drop(a), drop(b), free(h);
}

static void check_expand(void) {
  expand_blocks();
  enum zf_dtype type = (enum zf_dtype)below(ZF_DTYPES);
  int64_t n = below(200);
  struct fresh src = fresh(n, SPECIAL), a = fresh(n, PLAIN), b = twin(a);
  int64_t bytes = n * (int64_t)zf_dtype_info(type)->size; /* no more: reading beyond shows */
  unsigned char *h = malloc((size_t)bytes + 1);
  for (int64_t i = 0; i < bytes; i++) h[i] = (unsigned char)rnd();
  ref.expand(a.p, type == ZF_F32 ? (void *)src.p : h, type, n);
  fast.expand(b.p, type == ZF_F32 ? (void *)src.p : h, type, n);
  same_fresh(a, b);
  drop(src), drop(a), drop(b), free(h);
}

static void check_add_scaled(void) {
  int64_t n = below(200);
  enum kind kind = any_kind();
  struct fresh z = fresh(n, kind), w = fresh(n, kind), a = fresh(n, PLAIN), b = twin(a);
  float eps = value(PLAIN);
  ref.add_scaled(a.p, w.p, z.p, eps, n);
  fast.add_scaled(b.p, w.p, z.p, eps, n);
  same_fresh(a, b);
  ref.add_scaled(a.p, a.p, a.p, eps, n);
  fast.add_scaled(b.p, b.p, b.p, eps, n);
  same_fresh(a, b);
  drop(z), drop(w), drop(a), drop(b);
}

static void check_round_stochastically(void) {
  static const enum zf_dtype types[] = {ZF_F16, ZF_BF16, ZF_F24};
  enum zf_dtype type = types[below(3)];
  int64_t size = (int64_t)zf_dtype_info(type)->size;
  int64_t n = below(200);
  struct fresh src = fresh(n, any_kind());
  uint32_t *r = malloc((size_t)n * sizeof *r + 1);
  unsigned char *a = calloc((size_t)n + 1, 4), *b = calloc((size_t)n + 1, 4);
  for (int64_t i = 0; i < n; i++) r[i] = (uint32_t)rnd();
  ref.round_stochastically(a, src.p, r, type, n);
  fast.round_stochastically(b, src.p, r, type, n);
  for (int64_t i = 0; i <= n; i++) {
    float x, y;
    zf_to_f32(&x, a + i * size, type, 1);
    zf_to_f32(&y, b + i * size, type, 1);
    if (!same(&x, &y, 1)) break;
  }
  drop(src), free(r), free(a), free(b);
}

static void check_add(void) {
  int64_t n = below(200);
  struct fresh x = fresh(n, any_kind()), a = fresh(n, SPECIAL), b = twin(a);
  ref.add(a.p, x.p, n);
  fast.add(b.p, x.p, n);
  same_fresh(a, b);
  drop(x), drop(a), drop(b);
}

static void check_rmsnorm(void) {
  int64_t n = 1 + below(300);
  struct fresh x = fresh(n, any_kind()), w = fresh(n, PLAIN), a = fresh(n, PLAIN), b = twin(a);
  const float *wp = below(3) ? w.p : NULL;
  ref.rmsnorm(a.p, x.p, wp, 1e-5f, n);
  fast.rmsnorm(b.p, x.p, wp, 1e-5f, n);
  same_fresh(a, b);
  ref.rmsnorm(a.p, a.p, wp, 1e-5f, n);
  fast.rmsnorm(b.p, b.p, wp, 1e-5f, n);
  same_fresh(a, b);
  drop(x), drop(w), drop(a), drop(b);
}

static void check_layernorm(void) {
  int64_t n = 1 + below(300);
  struct fresh x = fresh(n, any_kind()), w = fresh(n, PLAIN), v = fresh(n, PLAIN);
  struct fresh a = fresh(n, PLAIN), b = twin(a);
  const float *wp = below(3) ? w.p : NULL, *bp = below(3) ? v.p : NULL;
  ref.layernorm(a.p, x.p, wp, bp, 1e-5f, n);
  fast.layernorm(b.p, x.p, wp, bp, 1e-5f, n);
  same_fresh(a, b);
  ref.layernorm(a.p, a.p, wp, bp, 1e-5f, n);
  fast.layernorm(b.p, b.p, wp, bp, 1e-5f, n);
  same_fresh(a, b);
  drop(x), drop(w), drop(v), drop(a), drop(b);
}

static void check_rope(void) {
  int64_t half = below(70);
  struct fresh cs = fresh(2 * half, PLAIN), a = fresh(2 * half, any_kind()), b = twin(a);
  ref.rope(a.p, cs.p, half);
  fast.rope(b.p, cs.p, half);
  same_fresh(a, b);
  drop(cs), drop(a), drop(b);
}

static void check_act(int act) {
  int64_t n = below(200);
  struct fresh u = fresh(n, PLAIN), a = fresh(n, any_kind()), b;
  for (int64_t i = 0; i < a.n; i++) a.base[i] *= 8;
  b = twin(a);
  const float *up = below(2) ? u.p : NULL;
  ref.act[act](a.p, up, n);
  fast.act[act](b.p, up, n);
  same_fresh(a, b);
  drop(u), drop(a), drop(b);
}

static void check_silu(void) {
  check_act(ZF_ACT_SILU);
}

static void check_gelu_tanh(void) {
  check_act(ZF_ACT_GELU_TANH);
}

static void check_gelu_erf(void) {
  check_act(ZF_ACT_GELU_ERF);
}

static void check_relu(void) {
  check_act(ZF_ACT_RELU);
}

static void check_tanh(void) {
  check_act(ZF_ACT_TANH);
}

static void check_quick_gelu(void) {
  check_act(ZF_ACT_QUICK_GELU);
}

static void check_gelu_10(void) {
  check_act(ZF_ACT_GELU_10);
}

static void check_sigmoid(void) {
  check_act(ZF_ACT_SIGMOID);
}

static void check_relu2(void) {
  check_act(ZF_ACT_RELU2);
}

static void check_relu6(void) {
  check_act(ZF_ACT_RELU6);
}

static void check_leaky_relu(void) {
  check_act(ZF_ACT_LEAKY_RELU);
}

static void check_linear(void) {
  check_act(ZF_ACT_LINEAR);
}

static void check_hardswish(void) {
  check_act(ZF_ACT_HARDSWISH);
}

static void check_mish(void) {
  check_act(ZF_ACT_MISH);
}

static void check_laplace(void) {
  check_act(ZF_ACT_LAPLACE);
}

static void check_softcap(void) {
  int64_t n = below(200);
  struct fresh a = fresh(n, any_kind()), b = twin(a);
  float cap = 1 + 50 * fabsf(value(PLAIN));
  ref.softcap(a.p, 1 / cap, cap, n);
  fast.softcap(b.p, 1 / cap, cap, n);
  same_fresh(a, b);
  drop(a), drop(b);
}

static void check_scale(void) {
  int64_t n = below(200);
  struct fresh a = fresh(n, any_kind()), b = twin(a);
  float by = value(PLAIN);
  ref.scale(a.p, by, n);
  fast.scale(b.p, by, n);
  same_fresh(a, b);
  drop(a), drop(b);
}

static void check_softmax(void) {
  int64_t n = 1 + below(200);
  struct fresh a = fresh(n, any_kind()), b = twin(a);
  float x = ref.softmax(a.p, 0.3f, n), y = fast.softmax(b.p, 0.3f, n);
  if (same(&x, &y, 1) && !isnan(x)) same_fresh(a, b);
  drop(a), drop(b);
}

static void check_add_weighted_rows(void) {
  int64_t n = below(60), D = 1 + below(200), ldv = D + below(20);
  enum kind kind = any_kind();
  struct fresh p = fresh(n, kind), v = fresh(n ? (n - 1) * ldv + D : 0, kind);
  struct fresh a = fresh(D, kind), b = twin(a);
  ref.add_weighted_rows(a.p, p.p, v.p, ldv, n, D);
  fast.add_weighted_rows(b.p, p.p, v.p, ldv, n, D);
  same_fresh(a, b);
  drop(p), drop(v), drop(a), drop(b);
}

static void check_divide(void) {
  int64_t n = below(100);
  struct fresh a = fresh(n, any_kind()), b = twin(a);
  float by = value(SPECIAL);
  ref.divide(a.p, by, n);
  fast.divide(b.p, by, n);
  same_fresh(a, b);
  drop(a), drop(b);
}

static void check_sumexp(void) {
  int64_t n = 1 + below(1100);
  struct fresh y = fresh(n, any_kind());
  float m0, m1;
  double s0, s1;
  ref.sumexp(&m0, &s0, y.p, n);
  fast.sumexp(&m1, &s1, y.p, n);
  if (isnan(s0) ? !isnan(s1) : memcmp(&s0, &s1, sizeof s0)) fail_at(-1, s0, s1);
  if (!isnan(s0)) same(&m0, &m1, 1);
  drop(y);
}

#define ENTRY(name)                                                                                \
  { #name, offsetof(struct zf_kern_table, name), check_##name }
#define ACT(name, which)                                                                           \
  { #name, offsetof(struct zf_kern_table, act) + which * sizeof(void (*)(void)), check_##name }

#define PRODUCT(name, which, field, check)                                                         \
  {                                                                                                \
    name,                                                                                          \
        offsetof(struct zf_kern_table, product) + which * sizeof(struct zf_product) +              \
            offsetof(struct zf_product, field),                                                    \
        check                                                                                      \
  }

static const struct {
  const char *name;
  size_t at; /* of the pointer in the table */
  void (*check)(void);
} entries[] = {
    PRODUCT("f32_pack", ZF_COMPUTE_F32, pack, check_pack),
    PRODUCT("f32_mul", ZF_COMPUTE_F32, mul, check_f32_mul),
    PRODUCT("f32_mul_unpacked", ZF_COMPUTE_F32, mul_unpacked, check_mul_unpacked),
    PRODUCT("bf16_convert_rows", ZF_COMPUTE_BF16, convert_rows, check_bf16_convert_rows),
    PRODUCT("bf16_pack", ZF_COMPUTE_BF16, pack, check_bf16_pack),
    PRODUCT("bf16_pack_f32", ZF_COMPUTE_BF16, pack_f32, check_bf16_pack_f32),
    PRODUCT("bf16_mul", ZF_COMPUTE_BF16, mul, check_bf16_mul),
    PRODUCT("int8", ZF_COMPUTE_INT8, mul, check_int8),
    ENTRY(finish),
    ENTRY(noise),
    ENTRY(random_words),
    ENTRY(add_noise),
    ENTRY(expand),
    ENTRY(add_scaled),
    ENTRY(round_stochastically),
    ENTRY(add),
    ENTRY(rmsnorm),
    ENTRY(layernorm),
    ENTRY(rope),
    ACT(silu, ZF_ACT_SILU),
    ACT(gelu_tanh, ZF_ACT_GELU_TANH),
    ACT(gelu_erf, ZF_ACT_GELU_ERF),
    ACT(relu, ZF_ACT_RELU),
    ACT(tanh, ZF_ACT_TANH),
    ACT(quick_gelu, ZF_ACT_QUICK_GELU),
    ACT(gelu_10, ZF_ACT_GELU_10),
    ACT(sigmoid, ZF_ACT_SIGMOID),
    ACT(relu2, ZF_ACT_RELU2),
    ACT(relu6, ZF_ACT_RELU6),
    ACT(leaky_relu, ZF_ACT_LEAKY_RELU),
    ACT(linear, ZF_ACT_LINEAR),
    ACT(hardswish, ZF_ACT_HARDSWISH),
    ACT(mish, ZF_ACT_MISH),
    ACT(laplace, ZF_ACT_LAPLACE),
    ENTRY(softcap),
    ENTRY(scale),
    ENTRY(softmax),
    ENTRY(add_weighted_rows),
    ENTRY(divide),
    ENTRY(sumexp),
};

/* Runs the checks of entries that differ from the step before. */
static int step(const struct zf_kern_table *before) {
  int ran = 0;
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
    size_t at = entries[i].at;
    if (!memcmp((char *)&fast + at, (const char *)before + at, sizeof(void (*)(void)))) continue;
    if (!wanted(entries[i].name)) continue;
    for (int r = 0; r < ROUNDS; r++) entries[i].check();
    ran++;
  }
  return ran;
}

/* Every activation is checked, and has vectors wherever anything has. */
static void check_complete(void) {
  for (int a = 0; a < ZF_ACTS; a++) {
    size_t at = offsetof(struct zf_kern_table, act) + (size_t)a * sizeof(void (*)(void)), i = 0;
    while (i < sizeof entries / sizeof *entries && entries[i].at != at) i++;
    int checked = i < sizeof entries / sizeof *entries, vectors = fast.act[a] != ref.act[a];
    if (checked && vectors) continue;
    printf("%s: %s\n", zf_act_names[a], checked ? "no vectors" : "no check");
    state.failed = 1;
  }
}

int main(int argc, char **argv) {
  int rc = options(argc, argv);
  unsigned flags;
  if (rc) return rc;
  for (int i = 0; feature_step(i, &flags); i++) {
    struct zf_kern_table before = zf_kern;
    zf_kern_init(flags);
    fast = zf_kern;
    if (i == 0)
      ref = fast;
    else if (step(&before))
      printf("%s: checked\n", state.feature);
  }
  if (memcmp(&fast, &ref, sizeof fast)) check_complete();
  printf("%s (--seed %llu)\n", state.failed ? "FAILED" : "ok", (unsigned long long)state.seed);
  return state.failed ? 1 : 0;
}
