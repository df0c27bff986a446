/* The table of objectives, their values from scores and texts, decoding under a perturbation, and the
 * process that answers lines. */
#include "base/child.h"
#include "objective/objective_internal.h"
#include "unit/models.h"

static const struct zf_objective_kind *kind_of(const char *name) {
  const struct zf_objective_kind *kind = zf_objective_find(name);
  ck_assert_ptr_nonnull(kind);
  ck_assert_str_eq(kind->name, name);
  return kind;
}

START_TEST(every_word_is_a_row) {
  char words[] = ZF_OBJECTIVE_WORDS, *save = NULL;
  for (char *word = strtok_r(words, "|", &save); word; word = strtok_r(NULL, "|", &save)) {
    const struct zf_objective_kind *kind = kind_of(word);
    ck_assert(kind->types && kind->values);
    ck_assert_int_eq(kind->slope, !strcmp(word, "distill"));
  }
  ck_assert_ptr_null(zf_objective_find("nll"));
}
END_TEST

START_TEST(what_suits) {
  struct zf_objective_settings settings = {.kind = kind_of("accuracy")};
  struct zf_data_spec spec = {.type = ZF_TASK_CLASSIFICATION};
  ck_ok(zf_objective_check(&settings, &spec));
  spec.type = ZF_TASK_TEXT;
  ck_fails(zf_objective_check(&settings, &spec), ZF_EUSAGE,
           "objective accuracy suits data of type classification, masked, labels or preference; "
           "these are of type text");
  spec = (struct zf_data_spec){.type = ZF_TASK_LABELS, .problem = ZF_PROBLEM_REGRESSION};
  ck_fails(zf_objective_check(&settings, &spec), ZF_EUSAGE, "objective accuracy needs one right");
  settings.kind = kind_of("dpo");
  ck_fails(zf_objective_check(&settings, &spec), ZF_EUSAGE,
           "objective dpo suits data of type preference; these are of type labels");
  settings.kind = kind_of("f1");
  spec = (struct zf_data_spec){.type = ZF_TASK_COMPLETION, .train_on_inputs = 1};
  ck_fails(zf_objective_check(&settings, &spec), ZF_EUSAGE, "train_on_inputs");
}
END_TEST

START_TEST(values_of_choices) {
  struct zf_score score[] = {{.choice = 1}, {.choice = 0}};
  struct zf_objective_example example[] = {{.score = &score[0], .label = 1},
                                           {.score = &score[1], .label = 1}};
  double value[2];
  ck_ok(kind_of("accuracy")->values(NULL, example, 2, value));
  ck_assert(value[0] == 0 && value[1] == 1);
}
END_TEST

/* Values of the formulas by Python in double. */
START_TEST(values_of_pairs) {
  struct zf_objective_settings settings = {.beta = 0.1, .lambda = 0.5};
  struct zf_objective objective = {.settings = &settings};
  struct zf_score score = {.pair = {-12, -20}, .pair_targets = {4, 5}};
  double reference[] = {-13, -18.5}, value;
  struct zf_objective_example example = {.score = &score, .reference = reference};
  ck_ok(kind_of("dpo")->values(&objective, &example, 1, &value));
  ck_assert(fabs(value - log1p(exp(-0.25))) < 1e-15);
  ck_ok(kind_of("orpo")->values(&objective, &example, 1, &value));
  double chosen = log(exp(-3.0) / (1 - exp(-3.0))), rejected = log(exp(-4.0) / (1 - exp(-4.0)));
  ck_assert(fabs(value - (3 + 0.5 * log1p(exp(rejected - chosen)))) < 1e-12);
  score = (struct zf_score){.pair = {-9000, -1}, .pair_targets = {4, 5}};
  ck_ok(kind_of("dpo")->values(&objective, &example, 1, &value));
  ck_assert(fabs(value - 0.1 * (8987 + 17.5)) < 1e-9); /* no overflow */
}
END_TEST

START_TEST(the_best_answer_counts) {
  struct zf_objective_example example[] = {
      {.text = " The cat!", .answers = "dog\0a cat\0cat and dog", .answer_count = 3},
      {.text = "", .answers = "dog", .answer_count = 1}};
  double value[2];
  ck_ok(kind_of("f1")->values(NULL, example, 2, value));
  ck_assert(value[0] == 0 && value[1] == 1);
  example[0].answers += 4 + 6; /* the last one */
  example[0].answer_count = 1;
  ck_ok(kind_of("f1")->values(NULL, example, 1, value));
  ck_assert(fabs(value[0] - 0.5) < 1e-15);
}
END_TEST

/* A decoder's logits on each stream are those of a pass over all streams. */
START_TEST(streams_of_a_decoder) {
  struct zf_model *model = open_family(0, "*", ZF_F32);
  int64_t V = model->config.vocab, count = 9;
  int32_t id[9];
  for (int i = 0; i < count; i++) id[i] = (int32_t)((i * 31 + 7) % V);
  struct zf_perturb perturb = zf_perturb_spsa(5, 3, 1, ZF_GAUSSIAN, 0.02f);
  float *want = logits_under(model, id, count, &perturb);
  struct zf_decoder *decoder;
  ck_ok(zf_decoder_new(&decoder, model, 4, 16, ZF_COMPUTE_F32));
  for (int stream = 0; stream < 2; stream++) {
    struct zf_perturb one = zf_perturb_stream(&perturb, stream);
    zf_decoder_perturb(decoder, &one);
    ck_ok(zf_decoder_begin(decoder, id, count));
    ck_assert_mem_eq(zf_decoder_logits(decoder), want + (stream * count + count - 1) * V,
                     sizeof(float) * (size_t)V);
  }
  ck_assert_mem_ne(want + (count - 1) * V, want + (2 * count - 1) * V, sizeof(float) * (size_t)V);
  zf_decoder_free(decoder);
  free(want);
  zf_model_free(model);
}
END_TEST

/* --- the process --- */

START_TEST(lines_and_lines) {
  struct zf_child *child;
  struct zf_buf asked = {0}, got = {0};
  ck_ok(zf_child_open(&child, "cat"));
  for (int i = 0; i < 20000; i++)
    zf_buf_printf(&asked, "line %d of many\n", i); /* more than a pipe holds */
  ck_ok(zf_child_exchange(child, asked.data, asked.len, 20000, 10, NULL, NULL, &got));
  ck_assert(got.len == asked.len && !memcmp(got.data, asked.data, got.len));
  zf_buf_clear(&got);
  ck_ok(zf_child_exchange(child, "x\n", 2, 1, 10, NULL, NULL, &got));
  ck_assert_str_eq(got.data, "x\n");
  zf_child_close(child);
  zf_buf_free(&asked);
  zf_buf_free(&got);
}
END_TEST

static int at_once(void *ctx) {
  (void)ctx;
  return 1;
}

static const struct {
  const char *command, *part;
  int (*stopped)(void *);
  int code;
} failing[] = {{"exit 3", "exit status 3", NULL, ZF_EFAIL},
               {"kill -9 $$", "signal 9", NULL, ZF_EFAIL},
               {"sleep 60", "no answer within 0.1 seconds", NULL, ZF_EFAIL},
               {"read a; echo 1; echo 2; sleep 60", "more than a line", NULL, ZF_EFAIL},
               {"sleep 60", "interrupted", at_once, ZF_ESTOPPED}};

START_TEST(processes_that_fail) {
  struct zf_child *child;
  struct zf_buf got = {0};
  ck_ok(zf_child_open(&child, failing[_i].command));
  int rc = zf_child_exchange(child, "x\n", 2, 1, 0.1, failing[_i].stopped, NULL, &got);
  if (!rc) { /* the second line came after the first was taken */
    usleep(100000);
    rc = zf_child_exchange(child, "x\n", 2, 1, 0.1, NULL, NULL, &got);
    if (!rc) rc = zf_child_exchange(child, "x\n", 2, 1, 0.1, NULL, NULL, &got);
  }
  ck_assert_int_eq(rc, failing[_i].code);
  if (_i != 3) ck_assert_ptr_nonnull(strstr(zf_error_message(), failing[_i].part));
  zf_child_close(child);
  zf_child_close(NULL);
  zf_buf_free(&got);
}
END_TEST

int main(void) {
  begin_kernels();
  Suite *suite = suite_create("objective");
  TCase *tcase = tcase_create("objective");
  tcase_add_test(tcase, every_word_is_a_row);
  tcase_add_test(tcase, what_suits);
  tcase_add_test(tcase, values_of_choices);
  tcase_add_test(tcase, values_of_pairs);
  tcase_add_test(tcase, the_best_answer_counts);
  tcase_add_test(tcase, streams_of_a_decoder);
  tcase_add_test(tcase, lines_and_lines);
  tcase_add_loop_test(tcase, processes_that_fail, 0, sizeof failing / sizeof *failing);
  suite_add_tcase(suite, tcase);
  return unit_run(suite);
}
