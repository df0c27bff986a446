/* Element types: every half both ways, and rounding against a reference that works in
 * double, where the values, their quanta and the halves of quanta are exact. */
#include "unit/unit.h"

#include <math.h>

#include "tensor/dtype.h"

/* A float format of 16 bits: 5 or 8 bits of exponent, the rest mantissa. */
struct half {
  int mantissa;      /* bits */
  int least;         /* exponent of the smallest normal number */
  double greatest;   /* finite value */
  uint16_t infinity; /* its bits */
  float (*up)(uint16_t h);
  uint16_t (*down)(float f);
};

static const struct half f16 = {10, -14, 65504, 0x7c00, zf_f16_to_f32, zf_f32_to_f16};
static const struct half bf16 = {7, -126, 0x1.fep127, 0x7f80, zf_bf16_to_f32, zf_f32_to_bf16};

static uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

static float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

/* The value of the bits of a half, from the definition of the format. */
static double value_of(const struct half *k, uint16_t h) {
  int biased = (h & 0x7fff) >> k->mantissa, fraction = h & ((1 << k->mantissa) - 1);
  double one = ldexp(1, k->mantissa);
  double v = biased ? ldexp(one + fraction, biased - 1 + k->least - k->mantissa)
                    : ldexp(fraction, k->least - k->mantissa);
  return h & 0x8000 ? -v : v;
}

/* Nearest half, ties to the even mantissa: the number of quanta that a finite |x| holds
 * is rounded by nearbyint, whose default mode is just that; the bits of halves in
 * ascending order count quanta through binades, subnormals included. */
static uint16_t reference(const struct half *k, float f) {
  uint16_t sign = bits_of(f) >> 31 ? 0x8000 : 0;
  double x = fabs((double)f);
  if (isinf(f)) return sign | k->infinity;
  int e = x > 0 ? ilogb(x) : k->least;
  if (e < k->least) e = k->least;
  double n = nearbyint(ldexp(x, k->mantissa - e));
  if (ldexp(n, e - k->mantissa) > k->greatest) return sign | k->infinity;
  return sign | (uint16_t)(((e - k->least) << k->mantissa) + (int)n);
}

static void check_down(const struct half *k, float f) {
  uint16_t got = k->down(f), want = reference(k, f);
  ck_assert_msg(got == want, "%a (%08x) gives %04x, not %04x", (double)f, bits_of(f), got, want);
}

static void check_all_halves(const struct half *k) {
  for (uint32_t h = 0; h < 65536; h++) {
    float f = k->up((uint16_t)h);
    int special = (h & k->infinity) == k->infinity, nan = special && (h & 0x7fff) > k->infinity;
    if (nan) {
      uint16_t back = k->down(f);
      ck_assert(isnan(f) && (bits_of(f) >> 31) == h >> 15);
      ck_assert_uint_eq(back, h | 1u << (k->mantissa - 1)); /* quiet, payload kept */
      continue;
    }
    if (special)
      ck_assert(isinf(f));
    else
      ck_assert((double)f == value_of(k, (uint16_t)h));
    ck_assert_uint_eq(bits_of(f) >> 31, h >> 15);
    ck_assert_uint_eq(k->down(f), h);
  }
}

/* Around every half: itself, the middle to the next, and one float to each side. */
static void check_ties(const struct half *k) {
  for (uint32_t h = 0; h < k->infinity; h++) {
    double a = value_of(k, (uint16_t)h);
    double b = h + 1u < k->infinity ? value_of(k, (uint16_t)(h + 1))
                                    : 2 * a - value_of(k, (uint16_t)(h - 1));
    float at[2] = {(float)a, (float)((a + b) / 2)};
    ck_assert((double)at[1] == (a + b) / 2); /* exact, so that the tie is one */
    for (int i = 0; i < 2; i++)
      for (int d = -1; d <= 1; d++) {
        uint32_t u = bits_of(at[i]) + (uint32_t)d;
        if (u >> 31 || u > 0x7f800000) continue;
        check_down(k, float_of(u));
        check_down(k, float_of(u | 0x80000000));
      }
  }
}

static void check_stride(const struct half *k) {
  for (uint64_t u = 0; u < 0x7f800000; u += 1009) {
    check_down(k, float_of((uint32_t)u));
    check_down(k, float_of((uint32_t)u | 0x80000000));
  }
  for (uint32_t u = 0x7f800001; u <= 0x7fffffff; u += 4093) {
    uint16_t h = k->down(float_of(u));
    ck_assert((h & 0x7fff) > k->infinity && isnan(k->up(h)));
    ck_assert_uint_eq(k->down(float_of(u | 0x80000000)), h | 0x8000);
  }
}

START_TEST(test_halves) {
  check_all_halves(&f16);
  check_all_halves(&bf16);
}
END_TEST

START_TEST(test_ties) {
  check_ties(&f16);
  check_ties(&bf16);
}
END_TEST

START_TEST(test_stride) {
  check_stride(&f16);
  check_stride(&bf16);
}
END_TEST

/* Of the two neighbours with eight bits less, the nearer; of two as near, the even one. */
static float nearest24(float f) {
  uint32_t u = bits_of(f), low = u & ~0xffu, up = low + 0x100, rest = u & 0xff;
  return float_of(rest > 0x80 || (rest == 0x80 && (low & 0x100)) ? up : low);
}

START_TEST(test_f24) {
  unsigned char h[3], again[3];
  for (uint32_t u = 0; u < 0x7f800000; u += 0x10f31) {
    zf_f32_to_f24(h, float_of(u));
    ck_assert_uint_eq(bits_of(zf_f24_to_f32(h)), bits_of(nearest24(float_of(u))));
    zf_f32_to_f24(again, zf_f24_to_f32(h));
    ck_assert_mem_eq(h, again, 3);
    zf_f32_to_f24(h, float_of(u | 0x80000000));
    ck_assert_uint_eq(bits_of(zf_f24_to_f32(h)), bits_of(nearest24(float_of(u))) | 0x80000000);
  }
  for (uint32_t u = 0x3f800000; u < 0x3f800400; u++) { /* every tie and its neighbours */
    zf_f32_to_f24(h, float_of(u));
    ck_assert_uint_eq(bits_of(zf_f24_to_f32(h)), bits_of(nearest24(float_of(u))));
  }
  zf_f32_to_f24(h, float_of(0x7f7fffff)); /* the largest rounds to infinity */
  ck_assert_uint_eq(bits_of(zf_f24_to_f32(h)), 0x7f800000);
  for (uint32_t u = 0x7f800001; u < 0x80000000; u += 0x7fff) {
    zf_f32_to_f24(h, float_of(u));
    ck_assert(isnan(zf_f24_to_f32(h)));
  }
}
END_TEST

START_TEST(test_arrays) {
  const float v[] = {0, -0.0f, 1, -2.5f, 65504, 1e-7f, INFINITY};
  for (int t = 0; t < ZF_DTYPES; t++) {
    float raw[7], back[7];
    zf_from_f32(raw, v, (enum zf_dtype)t, 7);
    zf_to_f32(back, raw, (enum zf_dtype)t, 7);
    for (int i = 0; i < 7; i++) {
      float want = t == ZF_F16    ? zf_f16_to_f32(zf_f32_to_f16(v[i]))
                   : t == ZF_BF16 ? zf_bf16_to_f32(zf_f32_to_bf16(v[i]))
                   : t == ZF_F24  ? nearest24(v[i])
                                  : v[i];
      ck_assert_uint_eq(bits_of(back[i]), bits_of(want));
    }
  }
}
END_TEST

START_TEST(test_names) {
  ck_assert_int_eq(zf_dtype_by_name("bf16"), ZF_BF16);
  ck_assert_int_eq(zf_dtype_by_name("BF16"), -1);
  ck_assert_int_eq(zf_dtype_by_safetensors("F16"), ZF_F16);
  ck_assert_int_eq(zf_dtype_by_safetensors("I64"), -1);
  for (int t = 0; t < ZF_DTYPES; t++) {
    const struct zf_dtype_info *i = zf_dtype_info((enum zf_dtype)t);
    ck_assert_int_eq(zf_dtype_by_name(i->name), t);
    if (i->safetensors) ck_assert_int_eq(zf_dtype_by_safetensors(i->safetensors), t);
    ck_assert_int_eq(zf_dtype_saved((enum zf_dtype)t), i->safetensors ? t : ZF_F32);
    ck_assert_int_eq(i->size, t == ZF_F32 ? 4 : t == ZF_F24 ? 3 : 2);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("dtype");
  TCase *t = tcase_create("dtype");
  tcase_add_test(t, test_halves);
  tcase_add_test(t, test_ties);
  tcase_add_test(t, test_stride);
  tcase_add_test(t, test_f24);
  tcase_add_test(t, test_arrays);
  tcase_add_test(t, test_names);
  tcase_set_timeout(t, 120);
  suite_add_tcase(s, t);
  return unit_run(s);
}
