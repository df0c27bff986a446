/* What the keys of config.yaml mean: arithmetic and the distance that goes with it, and what is
 * left to `auto`. */
#include "base/cpu.h"
#include "train/settings.h"
#include "unit/unit.h"

#define IDENTITY                                                                                   \
  "{\"dtype\": \"auto\", \"trained_dtype\": \"auto\", \"trainable\": [\"*\"], "                    \
  "\"datasets\": [{\"path\": \"a.jsonl\", \"type\": \"text\"}], "                                  \
  "\"val_set_size\": 0.0, \"num_train\": \"all\", "                                                \
  "\"dataset_exact_deduplication\": false, \"num_eval\": \"all\", "                                \
  "\"sequence_len\": \"auto\", \"excess_length_strategy\": \"truncate\", "                         \
  "\"train_on_inputs\": false, \"add_eos\": \"auto\", \"method\": \"mezo\", "                      \
  "\"learning_rate\": 0.0001, \"lr_scheduler\": \"constant\", "                                    \
  "\"weight_decay\": 0.0, \"seed\": 42, \"zo_eps\": \"auto\", \"zo_probes\": 1, "                  \
  "\"zo_direction\": \"gaussian\", \"adam_beta1\": 0.9, \"adam_beta2\": 0.999, "                   \
  "\"adam_epsilon\": 1e-8, \"momentum\": 0.9, "                                                    \
  "\"gradient_checkpointing\": false, \"metric_for_best_model\": \"auto\", "                       \
  "\"loss_watchdog_threshold\": \"auto\", \"loss_watchdog_patience\": 10}"

/* Fills settings from a small config and `words` ("a=1 b=2"). */
static void fill(struct zf_settings *s, struct zf_conf **c, const char *words) {
  static const char base[] = "base_model: m\nlearning_rate: 1e-4\n"
                             "datasets:\n  - {path: a.jsonl, type: text}\n";
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char copy[256];
  snprintf(copy, sizeof copy, "%s", words);
  ck_ok(zf_conf_new(c, tables, 1));
  ck_ok(zf_conf_text(*c, base, sizeof base - 1, "base.yaml"));
  for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) ck_ok(zf_conf_word(*c, w));
  ck_ok(zf_settings_apply_method(*c));
  ck_ok(zf_conf_check(*c));
  ck_ok(zf_settings_fill(s, *c));
}

/* The settings that a run's log is named by.  A new key must be unset by default and so absent here, or
 * runs of earlier versions cannot be resumed. */
START_TEST(test_identity) {
  struct zf_settings settings;
  struct zf_conf *conf;
  struct zf_buf text = {0};
  fill(&settings, &conf, "");
  ck_ok(zf_conf_dump_kept(conf, &text));
  ck_assert_str_eq(text.data, IDENTITY);
  zf_buf_free(&text);
  zf_settings_free(&settings);
  zf_conf_free(conf);
}
END_TEST

/* A method by name sets what is not set: rows, and numbers. */
START_TEST(test_methods) {
  static const struct {
    const char *words;
    struct zf_zo zo; /* rows; numbers where they are not 0 */
  } row[] = {
      {"", {.probes = 1}},
      {"zo_method=mezo", {.probes = 1}},
      {"zo_method=mezo_momentum", {.probes = 1, .rule = ZF_RULE_MOMENTUM, .window = 44}},
      {"zo_method=mezo_adam", {.probes = 1, .rule = ZF_RULE_ADAM, .window = 44}},
      {"zo_method=mezo_adam zo_window=7", {.probes = 1, .rule = ZF_RULE_ADAM, .window = 7}},
      {"zo_method=mezo_adam adapter=lora", {.probes = 1, .rule = ZF_RULE_ADAM}},
      {"zo_method=sign", {.probes = 1, .rule = ZF_RULE_SIGN}},
      {"zo_method=conservative", {.probes = 1, .difference = ZF_DIFFERENCE_CONSERVATIVE}},
      {"zo_method=adamm adapter=lora", {.probes = 1, .rule = ZF_RULE_ADAMM}},
      {"zo_method=one_sided", {.probes = 1, .difference = ZF_DIFFERENCE_ONE_SIDED}},
      {"zo_method=fzoo",
       {.probes = 8, .difference = ZF_DIFFERENCE_BATCHED, .direction = ZF_RADEMACHER}},
      {"zo_method=fzoo zo_probes=3 zo_direction=gaussian",
       {.probes = 3, .difference = ZF_DIFFERENCE_BATCHED}},
      {"zo_method=spsa15", {.probes = 4, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = 0.5}},
      {"zo_method=hizoo",
       {.probes = 1, .difference = ZF_DIFFERENCE_CURVATURE, .form = ZF_FORM_SCALED, .alpha = 1e-6}},
      {"zo_method=bszo", {.probes = 2, .difference = ZF_DIFFERENCE_BAYES}},
      {"zo_method=svrg", {.probes = 1, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 4}},
      {"zo_method=es", {.probes = 8, .difference = ZF_DIFFERENCE_POPULATION}},
      {"zo_method=eggroll",
       {.probes = 8,
        .difference = ZF_DIFFERENCE_POPULATION,
        .form = ZF_FORM_LOW_RANK,
        .rank = 1,
        .refresh = 1}},
      {"zo_method=lozo", {.probes = 1, .form = ZF_FORM_LOW_RANK, .rank = 2, .refresh = 50}},
      {"zo_method=lozo zo_rank=5",
       {.probes = 1, .form = ZF_FORM_LOW_RANK, .rank = 5, .refresh = 50}},
      {"zo_method=lozo_momentum",
       {.probes = 1, .form = ZF_FORM_LOW_RANK, .rank = 2, .refresh = 50, .rule = ZF_RULE_MOMENTUM}},
      {"zo_method=subzero", {.probes = 1, .form = ZF_FORM_SUBSPACE, .rank = 8, .refresh = 1000}},
      {"zo_method=muon",
       {.probes = 1, .form = ZF_FORM_LOW_RANK, .rank = 16, .refresh = 100, .rule = ZF_RULE_MUON}},
      {"zo_method=sparse", {.probes = 1, .form = ZF_FORM_SMALL, .keep = 0.25}},
      {"zo_method=random_mask", {.probes = 1, .form = ZF_FORM_RANDOM, .keep = 0.1}},
      {"zo_method=blocks", {.probes = 1, .form = ZF_FORM_BLOCKS}},
      {"zo_method=sphere", {.probes = 1, .form = ZF_FORM_SPHERE}},
      {"zo_method=conmezo", {.probes = 1, .form = ZF_FORM_CONE, .cone = 0.5}},
      {"zo_method=trust adapter=lora", {.probes = 1, .rule = ZF_RULE_TRUST, .trust = 1e-3}},
      {"zo_clip=3 zo_streams=5", {.probes = 1, .clip = 3, .streams = 5}},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct zf_settings settings;
    struct zf_conf *conf;
    fill(&settings, &conf, row[i].words);
    const struct zf_zo *got = &settings.zo, *want = &row[i].zo;
    int rows = got->form == want->form && got->difference == want->difference &&
               got->rule == want->rule && got->direction == want->direction &&
               got->probes == want->probes,
        numbers = got->rank == want->rank && got->refresh == want->refresh &&
                  got->keep == want->keep && got->alpha == want->alpha && got->cone == want->cone &&
                  got->trust == want->trust && got->clip == want->clip &&
                  got->window == want->window && got->streams == want->streams;
    ck_assert_msg(rows && numbers, "'%s': rows %d, numbers %d", row[i].words, rows, numbers);
    zf_settings_free(&settings);
    zf_conf_free(conf);
  }
}
END_TEST

START_TEST(test_compute) {
  static const struct {
    const char *words;
    int compute; /* -1: what auto is */
    double eps;  /* -1: what goes with it */
  } row[] = {
      {"", -1, -1},
      {"compute=auto", -1, -1},
      {"compute=auto zo_eps=auto", -1, -1},
      {"zo_eps=1e-3", ZF_COMPUTE_F32, 1e-3},
      {"zo_eps=3e-3", -1, 3e-3},
      {"compute=f32", ZF_COMPUTE_F32, 1e-3},
      {"compute=bf16", ZF_COMPUTE_BF16, 3e-3},
      {"compute=int8", ZF_COMPUTE_INT8, 1e-2},
      {"compute=int8 zo_eps=1e-3", ZF_COMPUTE_INT8, 1e-3},
      {"compute=f32 zo_eps=0.5", ZF_COMPUTE_F32, 0.5},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct zf_settings s;
    struct zf_conf *c;
    fill(&s, &c, row[i].words);
    ck_assert_int_eq(s.compute,
                     row[i].compute < 0 ? (int)zf_compute_auto(INFINITY) : row[i].compute);
    ck_assert(s.zo.eps == (row[i].eps < 0 ? zf_eps_default(s.compute) : row[i].eps));
    zf_settings_free(&s);
    zf_conf_free(c);
  }
}
END_TEST

/* auto takes bf16 from the processor alone, and never what would be emulated. */
START_TEST(test_auto) {
  zf_kern_init(0);
  ck_assert_int_eq(zf_compute_auto(1), ZF_COMPUTE_F32);
  zf_kern_init(zf_cpu_flags());
  ck_assert(zf_kern_native(zf_compute_auto(1)));
  ck_assert_int_eq(zf_compute_auto(zf_eps_default(ZF_COMPUTE_BF16)) == ZF_COMPUTE_BF16,
                   zf_kern_native(ZF_COMPUTE_BF16));
}
END_TEST

START_TEST(test_names) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  for (int k = 0; k < ZF_COMPUTES; k++) {
    struct zf_conf *c;
    char word[32];
    snprintf(word, sizeof word, "compute=%s", zf_compute_name((enum zf_compute)k));
    ck_ok(zf_conf_new(&c, tables, 1));
    ck_ok(zf_conf_word(c, word));
    zf_conf_free(c);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("settings");
  TCase *t = tcase_create("settings");
  zf_kern_init(zf_cpu_flags());
  tcase_add_test(t, test_identity);
  tcase_add_test(t, test_methods);
  tcase_add_test(t, test_compute);
  tcase_add_test(t, test_auto);
  tcase_add_test(t, test_names);
  suite_add_tcase(s, t);
  return unit_run(s);
}
