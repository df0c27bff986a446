/* Training a tiny model by two-point estimates: the loss of the sentence it is trained on falls,
 * with f32 weights and with bf16 ones rounded stochastically, and the run is the same again. */
#include "unit/models.h"
#include "unit/zo_steps.h"

enum { STEPS = 400, PROBES = 4 };

static double plain_loss(struct text *x) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_zo_losses losses;
  ck_ok(text_loss(x, &none, 0, &losses));
  return losses.batch[0];
}

static void train(int dtype, double lr, double *before, double *after, char hash[33]) {
  struct zf_model *m = open_family(2, "*", dtype);
  struct zf_zo zo = {.seed = 12, .eps = 1e-3, .probes = PROBES};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  struct text x;
  text_init(&x, m, 12);
  ck_ok(zf_zo_open(&m->params, &zo));
  *before = plain_loss(&x);
  for (uint32_t step = 1; step <= STEPS; step++) {
    ck_ok(zf_zo_estimate(&m->params, step, lr, text_loss, &x, &estimate));
    update_step(&m->params, &zo, step, &estimate, lr, 0);
  }
  *after = plain_loss(&x);
  ck_ok(zf_model_hash(m, hash));
  zf_zo_close(&m->params);
  free_estimate(&estimate);
  zf_forward_free(x.f);
  zf_model_free(m);
}

START_TEST(test_falls) {
  static const int dtype[] = {ZF_F32, ZF_BF16};
  double before, after, again;
  char hash[2][33];
  train(dtype[_i], 4e-4, &before, &after, hash[0]);
  if (getenv("CK_VERBOSE"))
    printf("%s: loss %.4f, then %.4f\n", _i ? "bf16" : "f32", before, after);
  ck_assert_msg(after < before / 2, "loss %.4f, then %.4f", before, after);
  train(dtype[_i], 4e-4, &before, &again, hash[1]);
  ck_assert(again == after);
  ck_assert_str_eq(hash[0], hash[1]);
}
END_TEST

int main(void) {
  Suite *s = suite_create("tiny");
  TCase *t = tcase_create("tiny");
  begin_kernels();
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_falls, 0, 2);
  suite_add_tcase(s, t);
  return unit_run(s);
}
