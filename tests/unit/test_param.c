/* Parameter lists: counts, bytes, and a hash that sees every bit. */
#include "tensor/param.h"
#include "unit/unit.h"

struct two {
  float a[6];
  uint16_t b[4];
  struct zf_param p[2];
  struct zf_params ps;
};

static void two_init(struct two *t) {
  memset(t, 0, sizeof *t);
  for (int i = 0; i < 6; i++) t->a[i] = (float)i;
  for (int i = 0; i < 4; i++) t->b[i] = (uint16_t)(0x3c00 + i);
  t->p[0] = (struct zf_param){.name = "a",
                              .data = t->a,
                              .type = ZF_F32,
                              .ndim = 2,
                              .shape = {2, 3},
                              .count = 6,
                              .trained = 1};
  t->p[1] = (struct zf_param){
      .name = "b", .data = t->b, .type = ZF_F16, .ndim = 1, .shape = {4}, .count = 4};
  t->ps = (struct zf_params){t->p, 2};
}

START_TEST(test_counts) {
  struct two t;
  two_init(&t);
  ck_assert_int_eq(zf_params_count(&t.ps, 0), 10);
  ck_assert_int_eq(zf_params_count(&t.ps, 1), 6);
  ck_assert_int_eq(zf_params_bytes(&t.ps, 0), 6 * 4 + 4 * 2);
  ck_assert_int_eq(zf_params_bytes(&t.ps, 1), 24);
}
END_TEST

static void differs(const struct two *t, const char *base, const char *what) {
  char h[33];
  ck_ok(zf_params_hash(&t->ps, h));
  ck_assert_msg(strcmp(h, base) != 0, "%s is not part of the hash", what);
}

START_TEST(test_hash) {
  struct two t;
  char base[33], again[33];
  two_init(&t);
  ck_ok(zf_params_hash(&t.ps, base));
  ck_assert_uint_eq(strspn(base, "0123456789abcdef"), 32);
  for (int bit = 0; bit < 8 * (int)sizeof t.a; bit++) {
    ((unsigned char *)t.a)[bit / 8] ^= (unsigned char)(1 << bit % 8);
    differs(&t, base, "a bit");
    ((unsigned char *)t.a)[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  t.a[0] = -0.0f;
  differs(&t, base, "the sign of zero");
  two_init(&t);
  t.p[0].shape[0] = 3, t.p[0].shape[1] = 2;
  differs(&t, base, "the shape");
  two_init(&t);
  t.p[1].type = ZF_BF16;
  differs(&t, base, "the dtype");
  two_init(&t);
  t.p[1].name = "c";
  differs(&t, base, "the name");
  two_init(&t);
  t.p[0].trained = 0; /* what is trained does not say what the weights are */
  ck_ok(zf_params_hash(&t.ps, again));
  ck_assert_str_eq(again, base);
}
END_TEST

/* A state of zeros for what is trained, in f32 alone; the hash sees every bit of it. */
START_TEST(test_state) {
  struct two t;
  char bare[33], base[33], again[33];
  two_init(&t);
  ck_ok(zf_params_hash(&t.ps, bare));
  ck_ok(zf_params_add_state(&t.ps, 3));
  ck_assert(t.p[0].state[0] && t.p[0].state[1] && !t.p[1].state[0] && !t.p[1].state[1]);
  ck_ok(zf_params_hash(&t.ps, base));
  ck_assert_str_ne(base, bare);
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < 6; i++) {
      ck_assert(t.p[0].state[k][i] == 0);
      t.p[0].state[k][i] = (float)(1 + i);
      differs(&t, base, "a state");
      zf_params_clear_state(&t.ps);
    }
  ck_ok(zf_params_hash(&t.ps, again));
  ck_assert_str_eq(again, base);
  zf_params_free_state(&t.ps);
  ck_assert(!t.p[0].state[0] && !t.p[0].state[1] && !t.ps.state);
  ck_ok(zf_params_hash(&t.ps, again));
  ck_assert_str_eq(again, bare);
  t.p[1].trained = 1;
  ck_fails(zf_params_add_state(&t.ps, 3), ZF_EUSAGE, "'b' is held in f16");
}
END_TEST

int main(void) {
  Suite *s = suite_create("param");
  TCase *t = tcase_create("param");
  tcase_add_test(t, test_counts);
  tcase_add_test(t, test_hash);
  tcase_add_test(t, test_state);
  suite_add_tcase(s, t);
  return unit_run(s);
}
