/* A new head of labels on checkpoints that have none. */
#include <jansson.h>

#include "unit/models.h"
#include "unit/remake.h"

static const struct {
  const char *family, *without; /* tensors that go from the checkpoint; NULL: none */
  const char *strip; /* prefix that goes from names, as where the encoder alone was saved */
  int64_t made;
  const char *class;
} cases[] = {
    {"bert", "cls.", "bert.", 4, "BertForSequenceClassification"}, /* pooler and classifier */
    {"bert", NULL, NULL, 4, "BertForSequenceClassification"},
    {"roberta", "lm_head.", "roberta.", 4, "RobertaForSequenceClassification"},
    {"distilbert", "vocab_", "distilbert.", 4, "DistilBertForSequenceClassification"},
    {"modernbert", "decoder", NULL, 2,
     "ModernBertForSequenceClassification"}, /* head.dense and norm are there */
    {"llama", NULL, NULL, 1, "LlamaForSequenceClassification"},
    {"gpt2", NULL, "transformer.", 1, "GPT2ForSequenceClassification"},
    {"opt", NULL, NULL, 1, "OPTForSequenceClassification"},
    {"gemma2", NULL, NULL, 1, "Gemma2ForSequenceClassification"},
};
enum { CASES = sizeof cases / sizeof *cases };
static const int32_t ids[] = {5, 9, 20, 33};

static struct zf_model *open_labels(const char *dir, int64_t labels, uint64_t seed,
                                    const char *glob) {
  struct zf_model_opts o = {.dtype = -1,
                            .trained = ZF_F32,
                            .trainable = &glob,
                            .ntrainable = glob ? 1 : 0,
                            .labels = labels,
                            .head_seed = seed};
  return open_model(dir, &o);
}

static int same_logits(const struct zf_model *a, const struct zf_model *b) {
  float *x = logits_of(a, ids, 4), *y = logits_of(b, ids, 4);
  int same = !memcmp(x, y, sizeof *x * 4 * (size_t)a->config.outputs);
  free(x), free(y);
  return same;
}

/* What is saved loads by itself, as the class that Transformers has for it, and means the same. */
static void check_saved(const struct zf_model *m, const char *class) {
  const char *dir = tmp_path("saved");
  char path[600];
  json_t *config;
  ck_ok(zf_model_save(m, dir, -1, NULL, 0));
  struct zf_model *again = open_model(dir, &as_stored);
  ck_assert(again->config.classify && again->config.outputs == 3 && !again->nnew &&
            !again->ignored);
  ck_assert(same_logits(m, again));
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_json_load(&config, path));
  ck_assert_str_eq(json_string_value(json_array_get(json_object_get(config, "architectures"), 0)),
                   class);
  ck_assert_uint_eq(json_object_size(json_object_get(config, "id2label")), 3);
  ck_assert_str_eq(json_string_value(json_object_get(config, "problem_type")),
                   "single_label_classification");
  json_decref(config);
  zf_model_free(again);
}

START_TEST(test_new_head) {
  char from[200], dir[512];
  begin_kernels();
  snprintf(from, sizeof from, FAMILIES_DIR "%s", cases[_i].family);
  snprintf(dir, sizeof dir, "%s",
           remake("headless",
                  &(struct remake){from, .without = cases[_i].without, .strip = cases[_i].strip,
                                   .config = "{\"architectures\": [\"OnlyModel\"]}"}));
  struct zf_model *m = open_labels(dir, 3, 7, "*"), *same = open_labels(dir, 3, 7, "*"),
                  *other = open_labels(dir, 3, 8, "*");
  ck_assert_int_eq(m->nnew, cases[_i].made);
  ck_assert(m->config.classify && m->config.outputs == 3);
  ck_assert(same_logits(m, same) && !same_logits(m, other));
  struct zf_param *p = &m->params.param[m->plan.head];
  float was = ((float *)p->data)[0];
  ((float *)p->data)[0] = 5;
  zf_model_reset(m);
  ck_assert(((float *)p->data)[0] == was);
  check_saved(m, cases[_i].class);
  zf_model_free(m), zf_model_free(same), zf_model_free(other);
}
END_TEST

/* Without labels the checkpoint is refused with the reason, or opened without a head. */
START_TEST(test_without) {
  struct zf_model *m;
  struct zf_model_opts headless = {.dtype = -1, .headless = 1}, labels = {.dtype = -1, .labels = 3};
  const char *dir = remake("bare", &(struct remake){FAMILIES_DIR "bert", .without = "cls."});
  ck_fails(zf_model_open(&m, dir, &as_stored), ZF_EINVALID,
           "tensor 'cls.predictions.transform.dense.weight' is missing: the checkpoint has no "
           "masked-LM head; with "
           "'type: labels' a run creates a head of labels");
  ck_ok(zf_model_open(&m, dir, &headless));
  ck_assert(m->config.headless && m->params.count == m->st->count);
  zf_model_free(m);
  dir = remake("causal", &(struct remake){FAMILIES_DIR "llama", .without = "lm_head"});
  ck_fails(zf_model_open(&m, dir, &as_stored), ZF_EINVALID,
           "the checkpoint has no language model's head");
  /* A body that lacks a tensor is no case for a new head. */
  dir = remake("holes", &(struct remake){FAMILIES_DIR "llama", .without = "model.norm"});
  ck_fails(zf_model_open(&m, dir, &labels), ZF_EINVALID, "tensor 'model.norm.weight' is missing");
  ck_fails(zf_model_open(&m, FAMILIES_DIR "granite", &labels), ZF_EINVALID,
           "is not supported for granite");
}
END_TEST

int main(void) {
  Suite *s = suite_create("head");
  TCase *t = tcase_create("head");
  tcase_add_loop_test(t, test_new_head, 0, CASES);
  tcase_add_test(t, test_without);
  suite_add_tcase(s, t);
  return unit_run(s);
}
