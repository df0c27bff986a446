/* Products and rows of weights in blocks whose scales are changed and perturbed.  The reference is plain C
 * written from kern.h: the scales that a stream sees, then its weights in f32; a product with the changed
 * blocks has the bits of one with these weights, on every instruction set and number of threads. */
#include "kern/seen.h"

struct state state;

enum { ROUNDS = 20 };

static const enum zf_dtype types[] = {ZF_Q8_0, ZF_Q4_0, ZF_Q4_1, ZF_Q5_0, ZF_Q5_1,   ZF_Q2_K,
                                      ZF_Q3_K, ZF_Q4_K, ZF_Q5_K, ZF_Q6_K, ZF_IQ4_NL, ZF_IQ4_XS};

/* A matrix of random blocks whose scales are finite, the changes of its scales and their noise. */
struct blocks {
  struct zf_weight weight;
  struct array change;
  unsigned char *data;
};

static void put_scale(unsigned char *bytes, float scale) {
  uint16_t half = zf_f32_to_f16(scale);
  memcpy(bytes, &half, sizeof half);
}

/* The struct stays where it is: its weight points into it. */
static void fill_blocks(struct blocks *b, int64_t out) {
  enum zf_dtype type = types[below(sizeof types / sizeof *types)];
  const struct zf_dtype_info *info = zf_dtype_info(type);
  int64_t in = info->block * (1 + below(1100 / info->block)), count = out * in;
  size_t bytes = zf_dtype_bytes(type, count);
  b->data = malloc(bytes);
  for (size_t i = 0; i < bytes; i++) b->data[i] = (unsigned char)rnd();
  for (size_t i = 0; i < bytes; i += info->size)
    for (int j = 0; j < info->nscale; j++)
      put_scale(b->data + i + info->scale[j], below(9) ? value(PLAIN) * 0.01f : 0);
  b->change = rnd_array(zf_dtype_scales(type, count));
  b->change.first = 0;
  b->change.type = ZF_F32; /* rnd_array left room for four bytes a value */
  memcpy(b->change.data, b->change.value, (size_t)b->change.count * sizeof(float));
  b->weight = (struct zf_weight){.data = b->data,
                                 .type = type,
                                 .out = out,
                                 .in = in,
                                 .output_stride = in,
                                 .input_stride = 1,
                                 .scale_change = b->change.data,
                                 .noise = below(4) ? b->change.noise : NULL,
                                 .shape = rnd_shape(&b->change)};
}

static void drop_blocks(struct blocks b) {
  free(b.data);
  drop_array(b.change);
}

/* All weights as stream s sees them; the caller frees. */
static float *weights_of(const struct blocks *b, const struct zf_streams *streams, int s) {
  const struct zf_weight *w = &b->weight;
  const struct zf_dtype_info *info = zf_dtype_info(w->type);
  float *scale = malloc((size_t)b->change.count * sizeof *scale),
        *out = malloc((size_t)(w->out * w->in) * sizeof *out);
  for (int64_t i = 0; i < b->change.count; i++) {
    uint16_t half;
    memcpy(&half, b->data + (size_t)(i / info->nscale) * info->size + info->scale[i % info->nscale],
           sizeof half);
    float u = w->noise ? seen(&b->change, w->shape, streams, s, i) : b->change.value[i],
          stored = zf_f16_to_f32(half);
    scale[i] = fmaf(u, stored, stored);
  }
  zf_blocks_to_f32(out, b->data, w->type, w->out * w->in, scale);
  free(scale);
  return out;
}

/* The product with outputs first.. of the matrix, which is a part of it. */
static void check_changed_product(void) {
  float mix[ZF_MAXSTREAM * TERMS];
  struct zf_streams streams = rnd_streams(mix), one = {.count = 1};
  int64_t T = 1 + below(9), all = 1 + below(150);
  struct blocks b;
  fill_blocks(&b, all);
  int64_t in = b.weight.in, first = below(all), out = all - first, ldy = out + below(4);
  int accumulate = (int)below(2);
  struct fresh x = fresh(streams.count * T * in, PLAIN), y = fresh(streams.count * T * ldy, PLAIN),
               want = twin(y);
  b.weight.compute = (enum zf_compute)below(ZF_COMPUTES);
  struct zf_weight part = zf_weight_part(&b.weight, first, out);
  size_t bytes = zf_rows_bytes(part.compute, streams.count * T, in);
  void *cells = aligned_alloc(64, (bytes + 64) / 64 * 64);
  struct zf_rows rows = zf_rows_of(x.p, in, in, part.compute, cells);
  zf_gemm(y.p, ldy, &rows, T, &part, &streams, NULL, 0, accumulate);
  for (int s = 0; s < streams.count; s++) {
    float *formed = weights_of(&b, &streams, s);
    struct zf_weight plain = part;
    plain.data = formed + first * in, plain.type = ZF_F32;
    plain.noise = NULL, plain.shape = NULL, plain.scale_change = NULL;
    struct zf_rows own = zf_rows_of(x.p + s * T * in, in, in, part.compute, cells);
    zf_gemm(want.p + s * T * ldy, ldy, &own, T, &plain, &one, NULL, 0, accumulate);
    free(formed);
  }
  same_fresh(want, y);
  free(cells);
  drop(x), drop(y), drop(want), drop_blocks(b);
}

static void check_changed_rows(void) {
  float mix[ZF_MAXSTREAM * TERMS];
  struct zf_streams streams = rnd_streams(mix);
  int64_t T = 1 + below(9), V = 1 + below(40);
  struct blocks b;
  fill_blocks(&b, V);
  int64_t C = b.weight.in, ldy = C + below(4);
  int accumulate = (int)below(2);
  struct fresh y = fresh(streams.count * T * ldy, PLAIN), want = twin(y);
  int32_t id[9];
  for (int t = 0; t < 9; t++) id[t] = (int32_t)below(V);
  zf_gather(y.p, ldy, id, T, &b.weight, &streams, accumulate);
  for (int s = 0; s < streams.count; s++) {
    float *formed = weights_of(&b, &streams, s);
    for (int64_t i = 0; i < T * C; i++) {
      float *to = want.p + (s * T + i / C) * ldy + i % C, got = formed[id[i / C] * C + i % C];
      *to = accumulate ? *to + got : got;
    }
    free(formed);
  }
  same_fresh(want, y);
  drop(y), drop(want), drop_blocks(b);
}

/* Changes of 0 leave the weights of the file. */
static void check_unchanged(void) {
  struct blocks b;
  fill_blocks(&b, 1 + below(20));
  struct zf_streams one = {.count = 1};
  int64_t count = b.weight.out * b.weight.in;
  struct fresh from_file = fresh(count, PLAIN), changed = twin(from_file);
  b.weight.noise = NULL;
  memset(b.change.data, 0, (size_t)b.change.count * sizeof(float));
  for (int32_t i = 0; i < b.weight.out; i++)
    zf_gather(changed.p + i * b.weight.in, b.weight.in, &i, 1, &b.weight, &one, 0);
  zf_expand(from_file.p, b.data, b.weight.type, count);
  same_fresh(from_file, changed);
  drop(from_file), drop(changed), drop_blocks(b);
}

/* --- the integers of Q8_0 --- */

/* floor of the level, and 1 more where 24 bits of the rest and of the word reach 1. */
static int rounded(float value, float d, uint32_t word) {
  float level = value / d;
  if (!(level > -127)) level = -127;
  if (!(level < 127)) level = 127;
  float whole = floorf(level), rest = level - whole;
  return (int)whole + ((uint64_t)(rest * 0x1p24f) + (word >> 8) >= 1u << 24);
}

static void same_bytes(const unsigned char *want, const unsigned char *got, int64_t count) {
  int64_t i = 0;
  while (i < count && want[i] == got[i]) i++;
  if (i < count) fail_at(i, want[i], got[i]);
}

/* Values at the integers, near them, between them, far outside, and not finite. */
static float rnd_level(float d) {
  float level = (float)below(255) - 127, step = value(WIDE);
  switch (below(5)) {
    case 0:
      return d * level;
    case 1:
      return fmaf(d, level, d * step * 0x1p-20f);
    case 2:
      return special();
    case 3:
      return d * level * 3;
    default:
      return d * (level + value(PLAIN));
  }
}

static void check_integers(void) {
  int64_t blocks = 1 + below(200), n = blocks * 32, first = 32 * below(20);
  unsigned char *got = malloc((size_t)blocks * 34), *want = malloc((size_t)blocks * 34);
  float *x = malloc((size_t)n * sizeof *x);
  uint32_t *word = malloc((size_t)n * sizeof *word);
  struct zf_noise round = rnd_noise();
  zf_noise_words(word, &round, first, n);
  for (int64_t i = 0; i < blocks * 34; i++) got[i] = (unsigned char)rnd();
  for (int64_t i = 0; i < blocks; i++) put_scale(got + i * 34, below(9) ? value(PLAIN) * 0.01f : 0);
  memcpy(want, got, (size_t)blocks * 34);
  for (int64_t i = 0; i < n; i++) {
    uint16_t half;
    memcpy(&half, want + i / 32 * 34, sizeof half);
    float d = zf_f16_to_f32(half);
    x[i] = rnd_level(d);
    if (d != 0) want[i / 32 * 34 + 2 + i % 32] = (unsigned char)rounded(x[i], d, word[i]);
  }
  zf_round(got, ZF_Q8_0, x, &round, first, n);
  same_bytes(want, got, blocks * 34);
  free(got), free(want), free(x), free(word);
}

/* An update of integers is that of their values, rounded; blocks stay where nothing moves them. */
static void check_update(void) {
  int64_t blocks = 1 + below(400), n = blocks * 32;
  struct zf_noise noise = rnd_noise();
  float *w = malloc((size_t)n * sizeof *w), factor = below(4) ? value(PLAIN) * 1e-3f : 0;
  unsigned char *got = malloc((size_t)blocks * 34), *want = malloc((size_t)blocks * 34);
  for (int64_t i = 0; i < blocks * 34; i++) got[i] = (unsigned char)rnd();
  for (int64_t i = 0; i < n; i++)
    if ((signed char)got[i / 32 * 34 + 2 + i % 32] == -128) got[i / 32 * 34 + 2 + i % 32] = 0;
  for (int64_t i = 0; i < blocks; i++) put_scale(got + i * 34, value(PLAIN) * 0.01f);
  memcpy(want, got, (size_t)blocks * 34);
  struct zf_update_step step = {
      .direction = &noise, .coefficient = &factor, .terms = 1, .round = rnd_noise(), .keep = 1};
  struct zf_update update = {.step = &step, .steps = 1};
  zf_to_f32(w, want, ZF_Q8_0, n);
  for (int64_t i = 0; i < n && factor != 0; i++) w[i] = fmaf(factor, noise_at(&noise, i), w[i]);
  zf_round(want, ZF_Q8_0, w, &step.round, 0, n);
  zf_update(got, ZF_Q8_0, n, &update);
  same_bytes(want, got, blocks * 34);
  free(w), free(got), free(want);
}

static const struct {
  const char *name;
  void (*run)(void);
} checks[] = {{"changed_product", check_changed_product},
              {"changed_rows", check_changed_rows},
              {"unchanged", check_unchanged},
              {"integers", check_integers},
              {"update_integers", check_update}};

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
