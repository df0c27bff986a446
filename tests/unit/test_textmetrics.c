/* Metrics of texts against those of their original implementations. */
#include <math.h>
#include <string.h>

#include "eval/textmetrics.h"
#include "fmt/json.h"
#include "unit.h"

static const struct {
  const char *name;
  zf_text_metric metric;
} metrics[] = {{"f1", zf_word_f1},
               {"exact_match", zf_exact_match},
               {"rouge_l", zf_rouge_l},
               {"bleu", zf_bleu}};

START_TEST(as_the_originals) {
  json_t *golden = NULL;
  ck_assert_int_eq(zf_json_load(&golden, "tests/golden/text_metrics.json"), 0);
  json_t *cases = json_object_get(golden, "cases"), *item;
  size_t i;
  ck_assert_uint_ge(json_array_size(cases), 20);
  json_array_foreach(cases, i, item) {
    const char *text = json_string_value(json_object_get(item, "text")),
               *gold = json_string_value(json_object_get(item, "gold"));
    for (size_t j = 0; j < sizeof metrics / sizeof *metrics; j++) {
      double value, want = json_number_value(json_object_get(item, metrics[j].name));
      ck_assert_int_eq(metrics[j].metric(&value, text, gold), 0);
      ck_assert_msg(fabs(value - want) < 1e-12, "%s of '%s' and '%s': %.17g, expected %.17g",
                    metrics[j].name, text, gold, value, want);
    }
  }
  json_decref(golden);
}
END_TEST

START_TEST(equal_texts_have_1) {
  for (size_t j = 0; j < sizeof metrics / sizeof *metrics; j++) {
    double value;
    ck_assert_int_eq(
        metrics[j].metric(&value, "one two, three four five", "one two, three four five"), 0);
    ck_assert_msg(fabs(value - 1) < 1e-15, "%s: %.17g", metrics[j].name, value);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("textmetrics");
  TCase *tcase = tcase_create("textmetrics");
  tcase_add_test(tcase, as_the_originals);
  tcase_add_test(tcase, equal_texts_have_1);
  suite_add_tcase(suite, tcase);
  return unit_run(suite);
}
