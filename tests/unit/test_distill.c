/* Distillation: divergences and gradients against numpy, files of a teacher's predictions that are broken,
 * and runs: 0 for the teacher itself, the slope of the objective by backpropagation, what is refused. */
#include <math.h>

#include "base/file.h"
#include "base/hash.h"
#include "eval/distill.h"
#include "fmt/json.h"
#include "kern/kern.h"
#include "train/auto_rate.h"
#include "train/backprop.h"
#include "train/measure.h"
#include "unit/models.h"

/* --- against numpy --- */

enum { CASES = 5, MOST = 4096 };

struct golden_case {
  json_t *all;
  const json_t *object;
  int64_t rows, vocab, k;
  double temperature;
  unsigned char file[MOST];
  size_t size;
};

static int64_t integer(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static void load_case(struct golden_case *golden, int number) {
  ck_ok(zf_json_load(&golden->all, "tests/golden/distill/golden.json"));
  golden->object = json_array_get(json_object_get(golden->all, "cases"), (size_t)number);
  golden->rows = integer(golden->object, "rows");
  golden->vocab = integer(golden->object, "vocab");
  golden->k = integer(golden->object, "k");
  golden->temperature = json_number_value(json_object_get(golden->object, "temperature"));
  const char *hex = json_string_value(json_object_get(golden->object, "file"));
  golden->size = strlen(hex) / 2;
  ck_assert_uint_le(golden->size, MOST);
  for (size_t i = 0; i < golden->size; i++) {
    unsigned byte;
    ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
    golden->file[i] = (unsigned char)byte;
  }
}

/* A text of rows + 1 tokens, all but the first of them targets. */
static struct zf_dataset *text_of(int64_t rows) {
  struct zf_dataset *dataset;
  ck_ok(zf_dataset_new(&dataset, ZF_TASK_TEXT));
  dataset->example = calloc(1, sizeof *dataset->example);
  dataset->seq = calloc(1, sizeof *dataset->seq);
  dataset->pool.id = calloc((size_t)rows + 1, sizeof *dataset->pool.id);
  *dataset->example = (struct zf_example){.nseq = 1, .label = -1};
  *dataset->seq = (struct zf_seq){.len = (int32_t)rows + 1, .target = 1};
  dataset->count = dataset->nseq = 1;
  return dataset;
}

static float *student_of(const struct golden_case *golden) {
  float *logits = calloc((size_t)(golden->rows * golden->vocab), sizeof *logits);
  for (int64_t row = 0; row < golden->rows; row++)
    for (int64_t i = 0; i < golden->vocab; i++)
      logits[row * golden->vocab + i] = (float)json_number_value(json_array_get(
          json_array_get(json_object_get(golden->object, "student"), (size_t)row), (size_t)i));
  return logits;
}

/* The gradient of a row, as zf_back_rows puts it together. */
static void gradient_of(struct zf_distill *distill, int64_t row, const float *logits, int64_t V,
                        double *gradient) {
  float listed[64];
  double coefficient, lse;
  zf_distill_softmax(distill, row, logits, &coefficient, &lse);
  for (int64_t i = 0; i < V; i++)
    listed[i] = (float)(coefficient * exp((double)(logits[i] * zf_distill_inverse(distill)) - lse));
  zf_distill_listed(distill, row, listed, 0, V);
  for (int64_t i = 0; i < V; i++) gradient[i] = (double)listed[i];
}

/* log p is rounded to f32, by 2^-24 of itself; the sum of p |log p| is at most log(k + 1).  exp in the
 * log-sum-exp of the rest has 2 units, 2^-22.  D has T^2 times the sum of both, a gradient T times. */
START_TEST(as_numpy) {
  struct golden_case golden;
  struct zf_teacher *teacher;
  struct zf_distill *distill;
  double gradient[64];
  load_case(&golden, _i);
  double T = golden.temperature, unit = ldexp(1 + log((double)golden.k + 1), -21);
  struct zf_dataset *dataset = text_of(golden.rows);
  const struct zf_dataset *set[] = {dataset, NULL, NULL};
  float *logits = student_of(&golden);
  ck_ok(zf_teacher_parse(&teacher, golden.file, golden.size, "golden"));
  ck_ok(zf_distill_new(&distill, teacher, set, golden.rows));
  zf_distill_begin(distill, dataset, NULL, 0, 1, 1);
  zf_distill_see(distill, logits, golden.vocab, 0, golden.vocab);
  for (int64_t row = 0; row < golden.rows; row++) {
    const json_t *want = json_array_get(json_object_get(golden.object, "gradient"), (size_t)row);
    double divergence = json_number_value(
        json_array_get(json_object_get(golden.object, "divergence"), (size_t)row));
    ck_assert_double_eq_tol(zf_distill_row(distill, row), divergence, T * T * unit);
    zf_distill_scale(distill, row, 1);
    gradient_of(distill, row, logits + row * golden.vocab, golden.vocab, gradient);
    for (int64_t i = 0; i < golden.vocab; i++)
      ck_assert_double_eq_tol(gradient[i], json_number_value(json_array_get(want, (size_t)i)),
                              T * unit);
    ck_assert_double_eq_tol(zf_distill_row(distill, row), divergence, T * T * unit);
  }
  zf_distill_free(distill);
  zf_teacher_free(teacher);
  zf_dataset_free(dataset);
  free(logits);
  json_decref(golden.all);
}
END_TEST

/* Columns in several chunks, listed ones at their edges: the sum over all others, in double.  exp has 2
 * units of f32. */
START_TEST(chunks_of_a_row) {
  enum { V = 2 * ZF_VC + 100 };
  static float logits[V];
  static const int32_t id[] = {0, ZF_VC - 1, ZF_VC, V - 2, V - 1};
  float value[5];
  double sum = 0;
  struct zf_coarse_row row = {-INFINITY, 0};
  for (int i = 0; i < V; i++) logits[i] = (float)sin(i) * 4;
  for (int i = 0, listed = 0; i < V; i++) {
    if (listed < 5 && id[listed] == i)
      listed++;
    else
      sum += exp((double)(logits[i] * 0.5f));
  }
  for (int64_t first = 0; first < V; first += ZF_VC)
    zf_coarse_add(&row, value, id, 5, 0.5f, logits + first, first,
                  V - first < ZF_VC ? V - first : ZF_VC);
  ck_assert_int_eq(row.listed, 5);
  for (int i = 0; i < 5; i++) ck_assert(value[i] == logits[id[i]]);
  ck_assert_double_eq_tol(row.rest, log(sum), ldexp(1, -22));
}
END_TEST

/* --- files --- */

static void mend(unsigned char *file, size_t size) {
  uint32_t crc = zf_crc32c(0, file, size - 4);
  for (int k = 0; k < 4; k++) file[size - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
}

/* Bytes of the first case's file that are changed: k = 4 of 40 tokens in 3 rows from byte 184 on. */
static const struct {
  size_t at;
  unsigned char byte;
  int mended;
  const char *part;
} broken[] = {
    {0, 'X', 1, "begins with ZFTEACH1"},
    {8, 7, 1, "expected kind 0 or 1, found 7"},
    {12, 41, 1, "expected 1 to 40 listed tokens, and none of options, found 41"},
    {12, 0, 1, "expected 1 to 40 listed tokens, and none of options, found 0"},
    {23, 0xc0, 1, "expected a temperature of 0.001 to 1000"},
    {31, 0x80, 1, "tokens of the vocabulary"},
    {32, 'x', 1, "expected a hash of 32 hexadecimal digits at byte 32"},
    {64, 4, 1, "expected 4 rows of 36 bytes"},
    {71, 0x7f, 1, "rows"},
    {200, 1, 0, "is damaged: its checksum is"},
    {184, 99, 1, "row 0: expected ascending ids below 40, found 99"},
    {203, 0x7f, 1, "row 0: expected log-probabilities"},
    {202, 0x10, 1, "row 0: expected probabilities with the sum 1"},
};

START_TEST(broken_files) {
  struct golden_case golden;
  struct zf_teacher *teacher;
  load_case(&golden, 0);
  golden.file[broken[_i].at] = broken[_i].byte;
  if (broken[_i].mended) mend(golden.file, golden.size);
  ck_fails(zf_teacher_parse(&teacher, golden.file, golden.size, "t.bin"), ZF_EINVALID,
           broken[_i].part);
  ck_assert_ptr_null(teacher);
  ck_assert_int_eq(strncmp(zf_error_message(), "t.bin: ", 7), 0);
  json_decref(golden.all);
}
END_TEST

START_TEST(cut_files) {
  struct golden_case golden;
  struct zf_teacher *teacher;
  load_case(&golden, 0);
  for (size_t size = 0; size < golden.size; size++)
    ck_fails(zf_teacher_parse(&teacher, golden.file, size, "t.bin"), ZF_EINVALID, "t.bin: ");
  json_decref(golden.all);
}
END_TEST

/* --- runs on the demo model --- */

static const char *const types[] = {
    "type: text, text: '{text}'",
    "type: completion, prompt: '{text}', completion: ' Would I recommend it?'",
    "type: classification, prompt: '{text} Would I recommend it?', options: [' No', ' Yes']",
    "type: classification, prompt: '{text} Would I', options: [' hate it.', ' recommend it very "
    "much!']",
};
enum { TYPES = sizeof types / sizeof *types };

static struct zf_conf *conf_of(const char *type, const char *more) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char text[1024];
  struct zf_conf *conf;
  snprintf(text, sizeof text,
           "base_model: datasets/demo/model\noutput_dir: %s\nlearning_rate: 1e-3\nmax_steps: 5\n"
           "threads: 1\nmicro_batch_size: 6\ngradient_accumulation_steps: 2\ncompute: f32\n"
           "num_train: 40\nobjective: distill\n%s\ndatasets: [{path: demo/train.jsonl, %s}]\n",
           tmp_path("out"), more, type);
  ck_ok(zf_conf_new(&conf, tables, 1));
  ck_ok(zf_conf_text(conf, text, strlen(text), "test"));
  ck_ok(zf_conf_check(conf));
  return conf;
}

#define DEMO_TEACHER "teacher: datasets/demo/model\n"

/* The logits of both are the same bits, and so are their sums; log p is rounded to f32, whose effect on D
 * is of second order: below the sum of p (2^-24 log p)^2, some 1e-12. */
START_TEST(the_teacher_itself) {
  struct zf_conf *conf = conf_of(types[_i], DEMO_TEACHER "distill_temperature: 2\n");
  struct zf_perturb none = zf_perturb_none();
  struct zf_run *run;
  double loss;
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_ok(zf_run_batch_loss(run, 0, &none, &loss));
  ck_assert_double_lt(fabs(loss), 1e-11);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

static struct zf_param *param_of(struct zf_run *run, int64_t i) {
  return &run->model->params.param[i];
}

/* Moves the trained weights away from the teacher's. */
static void move(struct zf_run *run) {
  for (int64_t i = 0; i < run->model->params.count; i++) {
    float *value = param_of(run, i)->data;
    for (int64_t j = 0; j < param_of(run, i)->count; j++)
      value[j] *= 1 + 0.02f * (float)sin((double)(i + j));
  }
}

static void keep_weights(struct zf_run *run, float **kept, int restore) {
  for (int64_t i = 0; i < run->model->params.count; i++) {
    size_t bytes = (size_t)param_of(run, i)->count * sizeof(float);
    if (!restore) kept[i] = malloc(bytes);
    memcpy(restore ? param_of(run, i)->data : (void *)kept[i],
           restore ? (const void *)kept[i] : param_of(run, i)->data, bytes);
  }
}

/* The loss at a distance along the gradient; the weights are restored. */
static double loss_along(struct zf_run *run, float **kept, double by) {
  struct zf_perturb none = zf_perturb_none();
  double loss, norm;
  ck_ok(zf_backprop_gradient(run, 1, &loss, &norm));
  zf_backprop_update(run, 1, by);
  ck_ok(zf_run_batch_loss(run, 0, &none, &loss));
  keep_weights(run, kept, 1);
  return loss;
}

/* As test_slope of test_backprop.c, with the same bound. */
START_TEST(slope_of_the_objective) {
  struct zf_conf *conf =
      conf_of(types[_i], DEMO_TEACHER "method: sgd\nobjective_weight: 0.6\ndistill_top_k: 5\n"
                                      "distill_temperature: 2\n");
  struct zf_perturb none = zf_perturb_none();
  struct zf_run *run;
  float *kept[256];
  double plain, loss, norm;
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_assert_int_le(run->model->params.count, 256);
  move(run);
  keep_weights(run, kept, 0);
  ck_ok(zf_run_batch_loss(run, 0, &none, &plain));
  ck_ok(zf_backprop_gradient(run, 1, &loss, &norm));
  ck_assert_double_eq_tol(loss, plain, 1e-6 * plain);
  zf_backprop_update(run, 1, 0); /* gradients to zero again */
  double by = 1e-3 / norm,
         slope = (loss_along(run, kept, -by) - loss_along(run, kept, by)) / (2 * by);
  ck_assert_msg(fabs(slope / (norm * norm) - 1) < 5e-3, "slope %g, square of the norm %g", slope,
                norm * norm);
  for (int64_t i = 0; i < run->model->params.count; i++) free(kept[i]);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

/* The walk of `learning_rate: auto` may cost a share of the divergence that there is; far from the teacher
 * no more than a loss of the task may change. */
START_TEST(a_rate_of_its_own) {
  struct zf_conf *conf = conf_of(types[0], DEMO_TEACHER);
  struct zf_perturb none = zf_perturb_none();
  struct zf_run *run;
  struct zf_auto_rate rate;
  double loss;
  ck_ok(zf_conf_word(conf, "learning_rate=auto"));
  ck_ok(zf_conf_word(conf, "num_train=32")); /* those that the test of the rate reads */
  ck_ok(zf_conf_word(conf, "micro_batch_size=32"));
  ck_ok(zf_conf_word(conf, "gradient_accumulation_steps=1"));
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  move(run);
  ck_ok(zf_run_batch_loss(run, 0, &none, &loss));
  ck_ok(zf_auto_rate(&rate, run));
  ck_assert_double_eq_tol(rate.change, fmin(0.1, loss / 4), 1e-12);
  ck_assert_double_gt(rate.rate, 0);
  zf_run_free(run);
  zf_conf_free(conf);
}
END_TEST

static const struct {
  const char *more, *part;
} refused[] = {
    {"", "objective distill needs 'teacher'"},
    {"teacher: tests/golden/families/llama\n", "teacher: expected the vocabulary of"},
    {"teacher: datasets/demo/none\n", "datasets/demo/none"},
    {DEMO_TEACHER "streaming: true\n", "streaming=false"},
    {DEMO_TEACHER "dpo_beta: 1\n", "'dpo_beta' has no effect without objective dpo"},
};

START_TEST(what_is_refused) {
  struct zf_conf *conf = conf_of(types[0], refused[_i].more);
  struct zf_run *run;
  ck_fails(zf_run_open(&run, conf, ZF_WANT_TRAIN), ZF_EUSAGE, refused[_i].part);
  ck_assert_ptr_null(run);
  zf_conf_free(conf);
}
END_TEST

/* A file serves other runs on the same examples; numbers of the file and the run must agree. */
START_TEST(a_file_of_an_earlier_run) {
  const char *file = tmp_path("teacher.bin");
  char word[600];
  struct zf_conf *conf = conf_of(types[0], DEMO_TEACHER "distill_top_k: 7\n");
  struct zf_run *run;
  double first, second;
  struct zf_perturb none = zf_perturb_none();
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_assert_int_eq(zf_teacher_bytes(run->teacher),
                   184 + zf_teacher_head(run->teacher)->set[0].rows * (8 * 7 + 4) + 4);
  ck_ok(zf_copy_file(run->teacher_made, file));
  move(run);
  ck_ok(zf_run_batch_loss(run, 0, &none, &first));
  zf_run_free(run);
  snprintf(word, sizeof word, "teacher=%s", file);
  ck_ok(zf_conf_word(conf, word));
  ck_ok(zf_run_open(&run, conf, ZF_WANT_TRAIN));
  ck_assert_ptr_null(run->teacher_made);
  move(run);
  ck_ok(zf_run_batch_loss(run, 0, &none, &second));
  ck_assert_double_eq(first, second);
  zf_run_free(run);
  ck_ok(zf_conf_word(conf, "distill_top_k=8"));
  ck_fails(zf_run_open(&run, conf, ZF_WANT_TRAIN), ZF_EUSAGE, "'distill_top_k' is 8");
  ck_ok(zf_conf_word(conf, "distill_top_k=7"));
  ck_ok(zf_conf_word(conf, "seed=43"));
  ck_fails(zf_run_open(&run, conf, ZF_WANT_TRAIN), ZF_EINVALID,
           "they were made for other data, tokenizer, templates, sequence_len or seed");
  zf_conf_free(conf);
}
END_TEST

int main(void) {
  begin_kernels();
  Suite *suite = suite_create("distill");
  TCase *tcase = tcase_create("distill");
  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, as_numpy, 0, CASES);
  tcase_add_test(tcase, chunks_of_a_row);
  tcase_add_loop_test(tcase, broken_files, 0, sizeof broken / sizeof *broken);
  tcase_add_test(tcase, cut_files);
  tcase_add_loop_test(tcase, the_teacher_itself, 0, TYPES);
  tcase_add_loop_test(tcase, slope_of_the_objective, 0, TYPES);
  tcase_add_loop_test(tcase, what_is_refused, 0, sizeof refused / sizeof *refused);
  tcase_add_test(tcase, a_rate_of_its_own);
  tcase_add_test(tcase, a_file_of_an_earlier_run);
  suite_add_tcase(suite, tcase);
  return unit_run(suite);
}
