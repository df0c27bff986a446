/* Directions and rules: products, rows and vectors of weights that several streams see along several
 * directions, each shaped; and the update.  The reference of each is plain C written here from kern.h, one
 * element after another; every kernel has its bits on any number of threads. */
#include "kern/check.h"
#include "kern/seen.h"

struct state state;

enum { ROUNDS = 5 };

static void check_vector(void) {
  float mix[ZF_MAXSTREAM * TERMS];
  struct zf_streams streams = rnd_streams(mix);
  int64_t n = 1 + below(700), ld = n + below(5);
  struct array a = rnd_array(n);
  const struct zf_noise_shape *shape = rnd_shape(&a);
  struct fresh out = fresh(streams.count * ld, PLAIN), want = twin(out);
  for (int s = 0; s < streams.count; s++)
    for (int64_t i = 0; i < n; i++) want.p[s * ld + i] = seen(&a, shape, &streams, s, i);
  zf_perturb_vec(out.p, ld, a.data, a.type, a.first, n, a.noise, shape, &streams);
  same_fresh(want, out);
  drop(out), drop(want), drop_array(a);
}

/* dot of kern.h in f32: chains of ZF_KC inputs, whose results are added one after another. */
static float dot_of(const float *x, const float *w, int64_t stride, int64_t in) {
  float sum = 0;
  for (int64_t k = 0; k < in; k += ZF_KC) {
    float chain = 0;
    for (int64_t i = k; i < in && i < k + ZF_KC; i++) chain = fmaf(x[i], w[i * stride], chain);
    sum = k ? sum + chain : chain;
  }
  return sum;
}

/* Products: in f32 to the reference's bits; in other arithmetics to those of a product with the weights
 * that the stream sees, held in f32. */
static void check_product(void) {
  float mix[ZF_MAXSTREAM * TERMS];
  struct zf_streams streams = rnd_streams(mix), one = {.count = 1};
  int64_t T = 1 + below(9), in = 1 + below(500), out = 1 + below(150), ldy = out + below(4);
  int transposed = (int)below(2), accumulate = (int)below(2);
  enum zf_compute compute = (enum zf_compute)below(ZF_COMPUTES);
  struct array a = rnd_array(in * out);
  const struct zf_noise_shape *shape = rnd_shape(&a);
  struct fresh x = fresh(streams.count * T * in, PLAIN), bias = fresh(streams.count * out, PLAIN);
  struct fresh y = fresh(streams.count * T * ldy, PLAIN), want = twin(y);
  const float *b = below(2) ? bias.p : NULL;
  struct zf_weight w = {.data = a.data,
                        .type = a.type,
                        .out = out,
                        .in = in,
                        .output_stride = transposed ? 1 : in,
                        .input_stride = transposed ? out : 1,
                        .first = a.first,
                        .noise = a.noise,
                        .shape = shape,
                        .compute = compute};
  size_t bytes = zf_rows_bytes(compute, streams.count * T, in);
  void *cells = aligned_alloc(64, (bytes + 64) / 64 * 64);
  struct zf_rows rows = zf_rows_of(x.p, in, in, compute, cells);
  zf_gemm(y.p, ldy, &rows, T, &w, &streams, b, out, accumulate);
  for (int s = 0; s < streams.count; s++) {
    float *formed = seen_by(&a, shape, &streams, s);
    struct zf_weight plain = w;
    plain.data = formed, plain.type = ZF_F32, plain.noise = NULL, plain.shape = NULL;
    struct zf_rows part = zf_rows_of(x.p + s * T * in, in, in, compute, cells);
    float *to = want.p + s * T * ldy;
    if (compute != ZF_COMPUTE_F32)
      zf_gemm(to, ldy, &part, T, &plain, &one, b ? b + s * out : NULL, out, accumulate);
    for (int64_t i = 0; i < T * out && compute == ZF_COMPUTE_F32; i++) {
      int64_t t = i / out, o = i % out;
      float sum = dot_of(part.x + t * in, formed + o * plain.output_stride, plain.input_stride, in);
      if (b) sum += b[s * out + o];
      to[t * ldy + o] = accumulate ? to[t * ldy + o] + sum : sum;
    }
    free(formed);
  }
  same_fresh(want, y);
  free(cells);
  drop(x), drop(bias), drop(y), drop(want), drop_array(a);
}

/* Rows of a table, stored either way. */
static void check_rows(void) {
  float mix[ZF_MAXSTREAM * TERMS];
  struct zf_streams streams = rnd_streams(mix);
  int64_t T = 1 + below(9), C = 1 + below(300), V = 1 + below(40), ldy = C + below(4);
  int columns = (int)below(2), accumulate = (int)below(2);
  struct array a = rnd_array(V * C);
  const struct zf_noise_shape *shape = rnd_shape(&a);
  struct fresh y = fresh(streams.count * T * ldy, PLAIN), want = twin(y);
  int32_t id[9];
  for (int t = 0; t < 9; t++) id[t] = (int32_t)below(V);
  struct zf_weight w = {.data = a.data,
                        .type = a.type,
                        .out = V,
                        .in = C,
                        .output_stride = columns ? 1 : C,
                        .input_stride = columns ? V : 1,
                        .first = a.first,
                        .noise = a.noise,
                        .shape = shape};
  (columns ? zf_gather_columns : zf_gather)(y.p, ldy, id, T, &w, &streams, accumulate);
  for (int64_t i = 0; i < streams.count * T * C; i++) {
    int64_t row = i / C, c = i % C;
    float *to = want.p + row * ldy + c;
    int64_t at = id[row % T] * w.output_stride + c * w.input_stride;
    float got = seen(&a, shape, &streams, (int)(row / T), at);
    *to = accumulate ? *to + got : got;
  }
  same_fresh(want, y);
  drop(y), drop(want), drop_array(a);
}

/* --- the update --- */

/* Random numbers of a step; terms of a window of three. */
struct rnd_step {
  struct zf_update_step step;
  struct zf_noise noise[TERMS];
  float coefficient[TERMS], bend[TERMS], first[3], second[3];
  int end[3];
};

static void fill_step(struct rnd_step *r, int bends) {
  for (int k = 0; k < TERMS; k++) {
    r->noise[k] = rnd_noise();
    r->coefficient[k] = below(4) ? value(PLAIN) : 0;
    r->bend[k] = below(4) ? fabsf(value(PLAIN)) * 0.1f : 0;
  }
  for (int j = 0; j < 3; j++) {
    r->end[j] = j < 2 ? 1 + 2 * j : TERMS;
    r->first[j] = fabsf(value(PLAIN));
    r->second[j] = fabsf(value(PLAIN));
  }
  r->step = (struct zf_update_step){
      .direction = r->noise,
      .coefficient = r->coefficient,
      .terms = TERMS,
      .decay = below(2) ? 1e-2f : 0,
      .round = rnd_noise(),
      .keep = 1,
      .adam = {{0.9f, 0.99f}, {0.1f, 0.01f}, below(5) ? 1e-2f : 0, 1.25f, 1e-4f},
      .window = {r->end, r->first, r->second, 3},
      .bend = bends ? r->bend : NULL,
      .keep_curvature = 0.99f};
}

static float e_of(const struct rnd_step *r, int from, int to, const struct zf_noise_shape *shape,
                  float w, int64_t i) {
  float e = 0;
  for (int k = from; k < to; k++)
    if (r->coefficient[k] != 0) e = fmaf(r->coefficient[k], noise_at(r->noise + k, i), e);
  return shaped(e, shape, w, i);
}

static float divided(float w, float m, float v, const struct zf_update_adam *adam) {
  return adam->rate == 0 ? w : w - adam->rate * m / (sqrtf(v * adam->scale) + adam->eps);
}

/* One step of element i: returns the weight before it is rounded to storage. */
static float stepped(const struct rnd_step *r, const struct zf_update *update, float w, int64_t i,
                     float *moment[ZF_UPDATE_STATES]) {
  const struct zf_update_adam *adam = &r->step.adam;
  float e = e_of(r, 0, TERMS, update->shape, w, i), m = 0, v = 0, before = w;
  if (update->rule == ZF_UPDATE_WINDOW)
    for (int j = 0; j < 3; j++) {
      float part = e_of(r, j ? r->end[j - 1] : 0, r->end[j], update->shape, before, i);
      m += r->first[j] * part;
      v += r->second[j] * (part * part);
    }
  if (r->step.decay != 0) w = fmaf(-r->step.decay, w, w);
  if (update->rule == ZF_UPDATE_ADD) {
    if (update->shape) return w + e;
    for (int k = 0; k < TERMS; k++)
      if (r->coefficient[k] != 0) w = fmaf(r->coefficient[k], noise_at(r->noise + k, i), w);
    return w;
  }
  if (update->rule == ZF_UPDATE_SIGN)
    return adam->rate == 0 || e == 0 ? w : e > 0 ? w - adam->rate : w + adam->rate;
  if (update->rule == ZF_UPDATE_WINDOW) return divided(w, m, v, adam);
  moment[0][i] = adam->beta[0] * moment[0][i] + adam->rest[0] * e;
  if (update->rule == ZF_UPDATE_MOMENTUM)
    return adam->rate == 0 ? w : w - adam->rate * moment[0][i];
  moment[1][i] = adam->beta[1] * moment[1][i] + adam->rest[1] * (e * e);
  if (moment[1][i] > moment[2][i]) moment[2][i] = moment[1][i];
  return divided(w, moment[0][i], moment[update->rule == ZF_UPDATE_AMSGRAD ? 2 : 1][i], adam);
}

static void bent(const struct rnd_step *r, float *h, int64_t i) {
  float old = h[i], now = old * r->step.keep_curvature;
  for (int k = 0; k < TERMS; k++) {
    float z = noise_at(r->noise + k, i);
    if (r->bend[k] != 0) now += r->bend[k] * old * (z * z);
  }
  h[i] = now > 0x1p-40f ? now : 0x1p-40f;
}

static void check_rule(enum zf_update_rule rule) {
  int64_t n = 1 + below(3000);
  struct array a = rnd_array(n);
  a.first = 0;
  int stored = (rule == ZF_UPDATE_MOMENTUM || rule == ZF_UPDATE_ADAM || rule == ZF_UPDATE_AMSGRAD);
  if (stored) {
    a.type = ZF_F32;
    memcpy(a.data, a.value, (size_t)n * 4);
  }
  const struct zf_noise_shape *shape = rnd_shape(&a);
  int bends = shape && shape->curvature;
  struct rnd_step r[2];
  struct zf_update_step step[2];
  struct fresh kept[4], want[4], w = fresh(n, PLAIN), got = twin(w);
  float *moment[ZF_UPDATE_STATES];
  for (int i = 0; i < 2; i++) {
    fill_step(&r[i], bends);
    step[i] = r[i].step;
  }
  for (int j = 0; j < 4; j++) {
    kept[j] = fresh(n, PLAIN);
    for (int64_t i = 0; i < n; i++) kept[j].p[i] = 0.01f + fabsf(kept[j].p[i]);
    want[j] = twin(kept[j]);
  }
  if (bends) a.shape.curvature = want[3].p;
  struct zf_update update = {.steps = 2, .rule = rule, .shape = shape};
  for (int j = 0; j < ZF_UPDATE_STATES; j++) moment[j] = want[j].p;
  memcpy(w.p, a.value, (size_t)n * 4);
  char *reference = malloc((size_t)n * 4);
  for (int s = 0; s < 2; s++) {
    for (int64_t i = 0; i < n; i++) w.p[i] = stepped(&r[s], &update, w.p[i], i, moment);
    for (int64_t i = 0; i < n && bends; i++) bent(&r[s], want[3].p, i);
    if (a.type == ZF_F32) continue;
    zf_round(reference, a.type, w.p, &step[s].round, 0, n);
    zf_to_f32(w.p, reference, a.type, n);
  }
  if (bends) a.shape.curvature = kept[3].p;
  update.step = step;
  update.curvature = bends ? kept[3].p : NULL;
  for (int j = 0; j < ZF_UPDATE_STATES && stored; j++) update.state[j] = kept[j].p;
  zf_update(a.data, a.type, n, &update);
  zf_to_f32(got.p, a.data, a.type, n);
  same_fresh(w, got);
  for (int j = 0; j < 4; j++)
    if (j == 3 ? bends
               : stored && (j != 2 || rule == ZF_UPDATE_AMSGRAD) &&
                     (j != 1 || rule != ZF_UPDATE_MOMENTUM))
      same_fresh(want[j], kept[j]);
  for (int j = 0; j < 4; j++) drop(kept[j]), drop(want[j]);
  free(reference);
  drop(w), drop(got), drop_array(a);
}

static void check_update(void) {
  for (int rule = 0; rule <= ZF_UPDATE_WINDOW; rule++) check_rule((enum zf_update_rule)rule);
}

static void check_outer(void) {
  int64_t rows = 1 + below(60), columns = 1 + below(200), rank = 1 + below(20),
          ld = columns + below(5);
  struct fresh y = fresh(rows * ld, PLAIN), want = twin(y), left = fresh(rows * rank, PLAIN),
               right = fresh(rank * columns, PLAIN);
  zf_add_outer(y.p, ld, rows, columns, left.p, right.p, rank);
  for (int64_t i = 0; i < rows * columns; i++)
    for (int64_t k = 0; k < rank; k++) {
      float *to = want.p + i / columns * ld + i % columns;
      *to = fmaf(left.p[i / columns * rank + k], right.p[k * columns + i % columns], *to);
    }
  same_fresh(want, y);
  drop(y), drop(want), drop(left), drop(right);
}

static const struct {
  const char *name;
  void (*run)(void);
} checks[] = {
    {"mixed_vector", check_vector}, {"mixed_product", check_product}, {"mixed_rows", check_rows},
    {"update_rules", check_update}, {"outer", check_outer},
};

int main(int argc, char **argv) {
  int rc = options(argc, argv);
  unsigned flags;
  if (rc) return rc;
  for (int i = 0; feature_step(i, &flags); i++)
    for (size_t j = 0; j < sizeof checks / sizeof *checks; j++)
      for (int r = 0; wanted(checks[j].name) && r < ROUNDS; r++) {
        use(flags, 1 + (int)below(MAXTHREADS));
        checks[j].run();
      }
  printf("%s (--seed %llu)\n", state.failed ? "FAILED" : "ok", (unsigned long long)state.seed);
  return state.failed ? 1 : 0;
}
