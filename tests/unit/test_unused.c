/* Tensors that a family does not read, copies, wrapped names, and heads that config.json denies. */
#include "unit/models.h"
#include "unit/remake.h"

#define TIED FAMILIES_DIR "llama3-bias"
#define EMBED "model.embed_tokens.weight"

static const int32_t ids[] = {5, 9, 20, 33};

static float *run_dir(const char *dir, struct zf_model **m) {
  *m = open_model(dir, &as_stored);
  return logits_of(*m, ids, 4);
}

static int same(const float *a, const float *b, const struct zf_model *m) {
  return !memcmp(a, b, sizeof *a * 4 * (size_t)m->config.outputs);
}

static char *notes_of(const struct zf_model *m) {
  static char text[1000];
  struct zf_buf b = {0};
  zf_model_notes(m, &b);
  snprintf(text, sizeof text, "%s", b.data ? b.data : "");
  zf_buf_free(&b);
  return text;
}

/* A head in the file that differs from the embedding counts, as in Transformers 5.24, and is saved. */
START_TEST(test_own_head) {
  struct zf_model *tied, *own, *untied, *saved;
  begin_kernels();
  float *was = run_dir(TIED, &tied);
  float *got = run_dir(
      remake("own", &(struct remake){TIED, .add = "lm_head.weight", .of = EMBED, .reversed = 1}),
      &own);
  float *want = run_dir(
      remake("untied", &(struct remake){TIED, .add = "lm_head.weight", .of = EMBED, .reversed = 1,
                                        .config = "{\"tie_word_embeddings\": false}"}),
      &untied);
  ck_assert(!same(got, was, own));
  ck_assert(same(got, want, own));
  ck_assert_ptr_nonnull(strstr(notes_of(own), "the file holds a head that differs: it is used"));
  ck_assert_str_eq(notes_of(tied), "");
  const char *dir = tmp_path("saved");
  ck_ok(zf_model_save(own, dir, -1, NULL, 0));
  float *again = run_dir(dir, &saved);
  ck_assert(same(again, want, own));
  ck_assert_str_eq(notes_of(saved), "");
  free(was), free(got), free(want), free(again);
  zf_model_free(tied), zf_model_free(own), zf_model_free(untied), zf_model_free(saved);
}
END_TEST

/* Equal copies are no news; a tied pair of which the file holds the head alone is whole. */
START_TEST(test_copies) {
  struct zf_model *tied, *m;
  begin_kernels();
  float *was = run_dir(TIED, &tied);
  const struct remake made[] = {
      {TIED, .add = "lm_head.weight", .of = EMBED},
      {TIED, .add = "lm_head.weight", .of = EMBED, .without = "embed_tokens"},
      {TIED, .add = "model.layers.0.self_attn.rotary_emb.inv_freq", .of = "model.norm.weight"},
  };
  for (int i = 0; i < 3; i++) {
    float *got = run_dir(remake("copy", &made[i]), &m);
    ck_assert(same(got, was, m));
    ck_assert(m->config.tied && !m->ignored && !notes_of(m)[0]);
    free(got);
    zf_model_free(m);
  }
  free(was);
  zf_model_free(tied);
}
END_TEST

/* A bias of two names: equal ones are one; of different ones the decoder's counts. */
START_TEST(test_bias_copy) {
  struct zf_model *m, *n;
  begin_kernels();
  const struct remake made[] = {
      {FAMILIES_DIR "bert", .add = "cls.predictions.decoder.bias", .of = "cls.predictions.bias"},
      {FAMILIES_DIR "bert", .add = "cls.predictions.decoder.bias", .of = "cls.predictions.bias",
       .reversed = 1}};
  float *was = run_dir(FAMILIES_DIR "bert", &m);
  for (int i = 0; i < 2; i++) {
    float *got = run_dir(remake("bias", &made[i]), &n);
    ck_assert_int_eq(same(got, was, m), !i);
    ck_assert_int_eq(n->ignored, i);
    free(got);
    zf_model_free(n);
  }
  free(was);
  zf_model_free(m);
}
END_TEST

START_TEST(test_unused) {
  struct zf_model *m;
  const char *dir = remake(
      "unused", &(struct remake){FAMILIES_DIR "llama3-bias", .config = "{\"mlp_bias\": false}"});
  m = open_model(dir, &as_stored);
  ck_assert_int_eq(m->ignored, 6);
  ck_assert_str_eq(m->first_ignored, "model.layers.0.mlp.down_proj.bias");
  ck_assert_ptr_nonnull(
      strstr(notes_of(m), "llama does not use 6 tensors of the file, and no result holds them: "
                          "first model.layers.0.mlp.down_proj.bias"));
  zf_model_free(m);
}
END_TEST

static const struct {
  struct remake made;
  const char *message;
} bad[] = {
    {{TIED, .prefix = "_orig_mod."},
     "tensor 'model.embed_tokens.weight' is missing: names in the file begin with '_orig_mod.' "
     "(torch.compile"},
    {{TIED, .prefix = "module."},
     "begin with 'module.' (DataParallel wrapped the model: save model.module)"},
    {{TIED, .prefix = "base_model.model."}, "begin with 'base_model.model.' (PEFT wrapped"},
    {{TIED, .without = "model.norm"}, "tensor 'model.norm.weight' is missing"},
    {{TIED, .add = "model.layers.0.self_attn.q_proj.lora_A.weight", .of = EMBED},
     "tensor 'model.layers.0.self_attn.q_proj.lora_A.weight' belongs to a LoRA adapter, which is "
     "not applied: merge"},
};

START_TEST(test_bad) {
  struct zf_model *m;
  ck_fails(zf_model_open(&m, remake("bad", &bad[_i].made), &as_stored), ZF_EINVALID,
           bad[_i].message);
}
END_TEST

int main(void) {
  Suite *s = suite_create("unused");
  TCase *t = tcase_create("unused");
  tcase_add_test(t, test_own_head);
  tcase_add_test(t, test_copies);
  tcase_add_test(t, test_bias_copy);
  tcase_add_test(t, test_unused);
  tcase_add_loop_test(t, test_bad, 0, sizeof bad / sizeof *bad);
  suite_add_tcase(s, t);
  return unit_run(s);
}
