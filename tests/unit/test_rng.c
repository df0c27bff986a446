/* Philox against the published vectors; noise as a function of its key; its distribution.
 * Bounds are five standard deviations of the estimate under the null hypothesis (one failure
 * in 1.7 million draws of seeds), or named at the place; keys are fixed, so a run repeats. */
#include "unit/unit.h"

#include <math.h>

#include "base/hash.h"
#include "rng/noise.h"
#include "rng/philox.h"

static const struct zf_noise base_key = {.seed = 42, .step = 7, .probe = 1, .param = 3};

START_TEST(philox_known_answers) {
  /* kat_vectors of the Random123 distribution: zeros, ones, digits of pi. */
  static const uint32_t v[3][10] = {
      {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
       0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    zf_philox(out, v[i], v[i] + 4);
    ck_assert_mem_eq(out, v[i] + 6, sizeof out);
  }
}
END_TEST

START_TEST(counter_layout) {
  struct zf_noise k = {.seed = 0x123456789abcdef0u,
                       .step = 0x89abcdef,
                       .probe = 0x1357,
                       .use = ZF_USE_ROUNDING,
                       .param = 0xabcdef};
  int64_t i = ((int64_t)0x5a << 34) + ((int64_t)0x76543210 << 2) + 1;
  uint32_t ctr[4] = {0x76543210, 0xabcdef5a, 0x89abcdef, 0x00011357};
  uint32_t key[2] = {0x9abcdef0, 0x12345678}, want[8], got[6];
  zf_philox(want, ctr, key);
  ctr[0]++;
  zf_philox(want + 4, ctr, key);
  zf_noise_words(got, &k, i, 6);
  ck_assert_mem_eq(got, want + 1, sizeof got);
}
END_TEST

START_TEST(any_cut_gives_the_same) {
  float whole[64], part[64];
  for (int kind = ZF_GAUSSIAN; kind <= ZF_RADEMACHER; kind++) {
    struct zf_noise k = base_key;
    k.kind = kind;
    zf_noise_ref(whole, &k, 100, 64);
    for (int a = 0; a < 9; a++)
      for (int n = 0; n < 9; n++) {
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

/* 2^20 values of several keys, hashed: they may never change, for logs replay on them. */
START_TEST(golden_hashes) {
  static const struct {
    struct zf_noise key;
    int64_t first;
    const char *hash;
  } t[] = {
      {{.seed = 0}, 0, "6c498d81eba1ee4daea6cfa99eced45f"},
      {{.seed = 42, .step = 1000, .probe = 2, .param = 77}, 3, "8718a44f933d612f46063ca6568791cd"},
      {{.seed = ~(uint64_t)0, .step = ~0u, .probe = 65535, .use = ZF_USE_INIT, .param = 0xffffff},
       ((int64_t)1 << 42) - (1 << 20),
       "4f793f7134b14fdd478632adc0db9b57"},
      {{.seed = 42, .kind = ZF_RADEMACHER}, 1, "76c3bb103a995df290446db000ba7b1b"},
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

/* Var z^2 = 2, z^3: 15, z^4: 105 - 9 = 96 for a normal z. */
static void check_moments(const float *z, int64_t n) {
  static const double mean[5] = {0, 0, 1, 0, 3}, var[5] = {0, 1, 2, 15, 96};
  double sum[5] = {0};
  for (int64_t i = 0; i < n; i++) {
    double p = 1;
    for (int m = 1; m <= 4; m++) sum[m] += p *= z[i];
  }
  for (int m = 1; m <= 4; m++)
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
    ck_assert(largest < 5.9f);
    ck_assert_double_le(fabs(seen - expect), 5 * sqrt(expect) + 1);
  }
}

START_TEST(gaussian_distribution) {
  int64_t n = 1 << 22;
  float *z = malloc((size_t)n * sizeof *z);
  zf_noise_ref(z, &base_key, 12345, n);
  check_moments(z, n);
  check_tails(z, n);
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
  float *a = malloc((N + 8) * sizeof *a), *b = malloc((N + 8) * sizeof *b);
  zf_noise_ref(a, &base_key, 0, N + 8);
  for (int shift = 1; shift <= 4; shift++) check_independent(a, a + shift, N);
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
  tcase_add_test(t, any_cut_gives_the_same);
  tcase_add_test(t, rademacher_is_the_sign_bit);
  tcase_add_test(t, golden_hashes);
  tcase_add_test(t, gaussian_distribution);
  tcase_add_test(t, neighbours_are_independent);
  tcase_add_test(t, shuffle_is_a_permutation);
  tcase_add_test(t, shuffle_is_uniform);
  suite_add_tcase(s, t);
  return unit_run(s);
}
