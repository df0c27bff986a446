/* Philox against the published vectors; noise as a function of its key; its distribution.
 * Bounds are five standard deviations of the estimate under the null hypothesis (one failure
 * in 1.7 million draws of seeds), or named at the place; keys are fixed, so a run repeats. */
#include "unit/unit.h"

#include <math.h>

#include "base/hash.h"
#include "rng/noise.h"
#include "rng/philox.h"
#include "unit/octaves.h"

static const struct zf_noise base_key = {.seed = 42, .step = 7, .probe = 1, .param = 3};

START_TEST(philox_known_answers) {
  /* kat_vectors of the Random123 distribution: zeros, ones, digits of pi. */
  static const uint32_t in[3][6] = {
      {0},
      {~0u, ~0u, ~0u, ~0u, ~0u, ~0u},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
  static const uint32_t seven[3][4] = {{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48},
                                       {0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662},
                                       {0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}};
  static const uint32_t ten[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    zf_philox(out, in[i], in[i] + 4, 7);
    ck_assert_mem_eq(out, seven[i], sizeof out);
    zf_philox(out, in[i], in[i] + 4, 10);
    ck_assert_mem_eq(out, ten[i], sizeof out);
  }
}
END_TEST

/* Element 64 b + 16 j + l is word j of counter 16 b + l; here l runs over a high word's carry
 * into the next block, and j over all words. */
START_TEST(counter_layout) {
  struct zf_noise k = {.seed = 0x123456789abcdef0u,
                       .step = 0x89abcdef,
                       .probe = 0x1357,
                       .use = ZF_USE_ROUNDING,
                       .param = 0xabcdef};
  int64_t b = ((int64_t)0x5b << 28) - 1;
  uint32_t key[2] = {0x9abcdef0, 0x12345678}, out[4], w[128];
  zf_noise_words(w, &k, 64 * b, 128);
  for (uint32_t i = 0; i < 128; i++) {
    uint32_t l = i % 16, j = i / 16 % 4;
    uint32_t ctr[4] = {0xfffffff0 + l, 0xabcdef5a, 0x89abcdef, 0x00011357};
    if (i >= 64) ctr[0] = l, ctr[1] = 0xabcdef5b;
    zf_philox(out, ctr, key, 7);
    ck_assert_uint_eq(w[i], out[j]);
  }
}
END_TEST

/* The example stands in the last word of the counter, above probe and purpose: probe | (1 + i) << 19.
 * All 8191 examples and the batch's own direction have different first words. */
START_TEST(example_layout) {
  static uint32_t first[ZF_NOISE_EXAMPLES + 1];
  uint32_t key[2] = {42, 0}, out[4];
  for (int64_t i = -1; i < ZF_NOISE_EXAMPLES; i++) {
    struct zf_noise noise = base_key;
    if (i >= 0) zf_noise_example(&noise, i);
    uint32_t ctr[4] = {0, 3 << 8, 7, 1 | (uint32_t)(1 + i) << 19};
    zf_philox(out, ctr, key, 7);
    zf_noise_words(&first[i + 1], &noise, 0, 1);
    ck_assert_uint_eq(first[i + 1], out[0]);
  }
  int same = 0; /* of 2^25 pairs of 32-bit words some 0.008 are equal by chance: none here */
  for (int i = 0; i <= ZF_NOISE_EXAMPLES; i++)
    for (int j = 0; j < i; j++) same += first[i] == first[j];
  ck_assert_int_eq(same, 0);
}
END_TEST

START_TEST(any_cut_gives_the_same) {
  float whole[256], part[256];
  for (int kind = ZF_GAUSSIAN; kind <= ZF_RADEMACHER; kind++) {
    struct zf_noise k = base_key;
    k.kind = kind;
    zf_noise_ref(whole, &k, 100, 256);
    for (int a = 0; a < 128; a += 3)
      for (int n = 0; n < 128; n += 5) {
        zf_noise_ref(part, &k, 100 + a, n);
        ck_assert_mem_eq(part, whole + a, (size_t)n * sizeof *part);
      }
  }
}
END_TEST

START_TEST(rademacher_is_the_sign_bit) {
  struct zf_noise k = base_key;
  uint32_t w[256];
  float z[256];
  k.kind = ZF_RADEMACHER;
  zf_noise_words(w, &k, 5, 256);
  zf_noise_ref(z, &k, 5, 256);
  for (int i = 0; i < 256; i++) ck_assert(z[i] == (w[i] >> 31 ? -1.0f : 1.0f));
}
END_TEST

/* z lies above 2^-32 |s| of the distribution, within 5e-6: over that way the tail of the normal
 * distribution changes by less than 5e-6 times the density at the lower end. */
static void check_quantile(const struct zf_noise *k, int64_t i) {
  uint32_t w;
  float z;
  zf_noise_words(&w, k, i, 1);
  zf_noise_ref(&z, k, i, 1);
  double s = (double)(int32_t)(w | 1), x = fabs((double)z), low = fmax(x - 5e-6, 0);
  double tail = 0.5 * erfc(x / sqrt(2.0)), density = exp(-0.5 * low * low) / sqrt(2 * M_PI);
  ck_assert(z < 0 ? s < 0 : s > 0);
  ck_assert_double_le(fabs(tail - fabs(s) * 0x1p-32), 5e-6 * density);
}

START_TEST(gaussian_is_the_quantile) {
  for (int i = 0; i < OCTAVES; i++) {
    uint32_t w;
    zf_noise_words(&w, &octave_key, octave_first[i], 1);
    double s = fabs((double)(int32_t)(w | 1));
    ck_assert(i < 17 ? s >= ldexp(1, i) && s < ldexp(1, i + 1) : (float)s == 0x1p31f);
    check_quantile(&octave_key, octave_first[i]);
  }
  for (int64_t i = 0; i < 1 << 18; i++) check_quantile(&base_key, i);
}
END_TEST

/* 2^20 values of several keys, hashed: they may never change, for logs replay on them. */
START_TEST(golden_hashes) {
  static const struct {
    struct zf_noise key;
    int64_t first;
    const char *hash;
  } t[] = {
      {{.seed = 0}, 0, "bcc712c8e4d4ebe92e5ee7565f0eeaf2"},
      {{.seed = 42, .step = 1000, .probe = 2, .param = 77}, 3, "ee165313b58d4b46b9262235c893fa82"},
      {{.seed = ~(uint64_t)0, .step = ~0u, .probe = 65535, .use = ZF_USE_INIT, .param = 0xffffff},
       ((int64_t)1 << 42) - (1 << 20),
       "3d36cdc99fbaa89e5f19bd6361ef8d4a"},
      {{.seed = 42, .kind = ZF_RADEMACHER}, 1, "61db5dd500111c1d429a92a045108df0"},
  };
  int64_t n = 1 << 20;
  float *z = malloc((size_t)n * sizeof *z);
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    struct zf_hash *h;
    char hex[33];
    ck_ok(zf_hash_new(&h));
    zf_noise_ref(z, &t[i].key, t[i].first, n);
    zf_hash_add(h, z, (size_t)n * sizeof *z);
    zf_hash_hex(h, hex);
    zf_hash_free(h);
    ck_assert_str_eq(hex, t[i].hash);
  }
  free(z);
}
END_TEST

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Var z^2 = 2, z^3: 15, z^4: 105 - 9 = 96, z^5: 945, z^6: 10395 - 225 = 10170 for a normal z. */
static void check_moments(const float *z, int64_t n) {
  static const double mean[7] = {0, 0, 1, 0, 3, 0, 15}, var[7] = {0, 1, 2, 15, 96, 945, 10170};
  double sum[7] = {0};
  for (int64_t i = 0; i < n; i++) {
    double p = 1;
    for (int m = 1; m <= 6; m++) sum[m] += p *= (double)z[i];
  }
  for (int m = 1; m <= 6; m++)
    ck_assert_double_le(fabs(sum[m] / (double)n - mean[m]), 5 * sqrt(var[m] / (double)n));
}

/* Counts beyond 3, 4 and 5: Poisson, five deviations and one for the smallest. */
static void check_tails(const float *z, int64_t n) {
  for (int k = 3; k <= 5; k++) {
    double expect = (double)n * erfc(k / sqrt(2.0)), seen = 0;
    float largest = 0;
    for (int64_t i = 0; i < n; i++) {
      seen += fabsf(z[i]) > (float)k;
      largest = fmaxf(largest, fabsf(z[i]));
    }
    ck_assert(largest < 6.24f);
    ck_assert_double_le(fabs(seen - expect), 5 * sqrt(expect) + 1);
  }
}

/* Chi-square of counts in steps of 1/16 between -4 and 4, and beyond.  It has 129 degrees of
 * freedom; Laurent and Massart: P(X > d + 2 sqrt(d t) + 2 t) <= exp(-t), t = 14. */
static void check_histogram(const float *z, int64_t n) {
  enum { BINS = 130 };
  double count[BINS] = {0}, chi = 0, below = 0, d = BINS - 1;
  for (int64_t i = 0; i < n; i++) {
    int bin = 1 + (int)floorf(16 * (z[i] + 4));
    count[bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin]++;
  }
  for (int b = 0; b < BINS; b++) {
    double upto = b == BINS - 1 ? 1 : 0.5 * erfc(-(b / 16.0 - 4) / sqrt(2.0));
    double expect = (upto - below) * (double)n;
    chi += (count[b] - expect) * (count[b] - expect) / expect;
    below = upto;
  }
  ck_assert_double_le(chi, d + 2 * sqrt(d * 14) + 2 * 14);
}

START_TEST(gaussian_distribution) {
  int64_t n = 1 << 22;
  float *z = malloc((size_t)n * sizeof *z);
  zf_noise_ref(z, &base_key, 12345, n);
  check_moments(z, n);
  check_tails(z, n);
  check_histogram(z, n);
  /* Kolmogorov and Smirnov: P(sqrt(n) D > 2.5) = 2 exp(-2 * 2.5^2) = 7e-6. */
  qsort(z, (size_t)n, sizeof *z, by_value);
  double D = 0;
  for (int64_t i = 0; i < n; i++) {
    double f = 0.5 * erfc(-z[i] / sqrt(2.0));
    D = fmax(D, fmax(f - (double)i / (double)n, (double)(i + 1) / (double)n - f));
  }
  ck_assert_double_le(D * sqrt((double)n), 2.5);
  free(z);
}
END_TEST

/* Correlation of independent pairs has deviation 1/sqrt(n); of squares too, once z^2 - 1 is
 * divided by its deviation sqrt 2. */
static void check_independent(const float *a, const float *b, int64_t n) {
  double r = 0, r2 = 0;
  for (int64_t i = 0; i < n; i++) {
    r += (double)a[i] * b[i];
    r2 += ((double)a[i] * a[i] - 1) * ((double)b[i] * b[i] - 1) / 2;
  }
  ck_assert_double_le(fabs(r), 5 * sqrt((double)n));
  ck_assert_double_le(fabs(r2), 5 * sqrt((double)n));
}

START_TEST(neighbours_are_independent) {
  enum { N = 1 << 18 };
  float *a = malloc((N + 64) * sizeof *a), *b = malloc(N * sizeof *b);
  zf_noise_ref(a, &base_key, 0, N + 64);
  for (int shift = 1; shift <= 64; shift *= 2) check_independent(a, a + shift, N);
  for (int what = 0; what < 6; what++) {
    struct zf_noise k = base_key;
    k.seed += what == 0;
    k.seed += what == 1 ? (uint64_t)1 << 32 : 0;
    k.step += what == 2;
    k.probe = (uint16_t)(k.probe + (what == 3));
    k.param += what == 4;
    k.use = what == 5 ? ZF_USE_INIT : k.use;
    zf_noise_ref(b, &k, 0, N);
    check_independent(a, b, N);
  }
  free(a);
  free(b);
}
END_TEST

/* Counts of the 2^12 patterns of twelve signs in a row: chi-square as above. */
START_TEST(rademacher_distribution) {
  enum { N = 1 << 20, CELLS = 1 << 12 };
  float *z = malloc(N * sizeof *z);
  double count[CELLS] = {0}, chi = 0, expect = (double)(N / 12) / CELLS, d = CELLS - 1, sum = 0;
  struct zf_noise k = base_key;
  k.kind = ZF_RADEMACHER;
  zf_noise_ref(z, &k, 0, N);
  for (int i = 0; i < N / 12; i++) {
    int cell = 0;
    for (int j = 0; j < 12; j++) cell = 2 * cell + (z[12 * i + j] > 0);
    count[cell]++;
  }
  for (int i = 0; i < N; i++) sum += (double)z[i];
  for (int c = 0; c < CELLS; c++) chi += (count[c] - expect) * (count[c] - expect) / expect;
  ck_assert_double_le(fabs(sum), 5 * sqrt(N));
  ck_assert_double_le(chi, d + 2 * sqrt(d * 14) + 2 * 14);
  free(z);
}
END_TEST

START_TEST(shuffle_is_a_permutation) {
  enum { N = 1000 };
  int64_t a[N], b[N];
  char seen[N] = {0};
  struct zf_noise k = base_key;
  k.use = ZF_USE_SHUFFLE;
  zf_shuffle(a, N, &k);
  for (int i = 0; i < N; i++) {
    ck_assert(a[i] >= 0 && a[i] < N && !seen[a[i]]);
    seen[a[i]] = 1;
  }
  zf_shuffle(b, N, &k);
  ck_assert_mem_eq(a, b, sizeof a);
  k.step++;
  zf_shuffle(b, N, &k);
  ck_assert(memcmp(a, b, sizeof a) != 0);
  zf_shuffle(a, 0, &k);
  zf_shuffle(a, 1, &k);
  ck_assert_int_eq(a[0], 0);
}
END_TEST

/* Chi-square over the 24 orders of four things: 23 degrees of freedom, and Laurent and
 * Massart's bound P(X > d + 2 sqrt(d t) + 2 t) <= exp(-t) at t = 14. */
START_TEST(shuffle_is_uniform) {
  enum { DRAWS = 24000 };
  int count[256] = {0};
  struct zf_noise k = base_key;
  k.use = ZF_USE_SHUFFLE;
  for (uint32_t i = 0; i < DRAWS; i++) {
    int64_t o[4];
    k.step = i;
    zf_shuffle(o, 4, &k);
    count[o[0] << 6 | o[1] << 4 | o[2] << 2 | o[3]]++;
  }
  double chi = 0, expect = DRAWS / 24.0;
  int orders = 0;
  for (int i = 0; i < 256; i++)
    if (count[i]) {
      chi += (count[i] - expect) * (count[i] - expect) / expect;
      orders++;
    }
  ck_assert_int_eq(orders, 24);
  ck_assert_double_le(chi, 23 + 2 * sqrt(23.0 * 14) + 2 * 14);
}
END_TEST

int main(void) {
  Suite *s = suite_create("rng");
  TCase *t = tcase_create("all");
  tcase_set_timeout(t, 120);
  tcase_add_test(t, philox_known_answers);
  tcase_add_test(t, counter_layout);
  tcase_add_test(t, example_layout);
  tcase_add_test(t, any_cut_gives_the_same);
  tcase_add_test(t, rademacher_is_the_sign_bit);
  tcase_add_test(t, gaussian_is_the_quantile);
  tcase_add_test(t, golden_hashes);
  tcase_add_test(t, gaussian_distribution);
  tcase_add_test(t, neighbours_are_independent);
  tcase_add_test(t, rademacher_distribution);
  tcase_add_test(t, shuffle_is_a_permutation);
  tcase_add_test(t, shuffle_is_uniform);
  suite_add_tcase(s, t);
  return unit_run(s);
}
