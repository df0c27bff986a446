/* Runs with Adam and with directions by example: interrupted and resumed, replayed from the base and from
 * a keyframe, cut into micro-batches in two ways: the same bits. */
#include <math.h>

#include "base/file.h"
#include "base/hash.h"
#include "train/loop_internal.h"
#include "unit/models.h"
#include "unit/zo_steps.h"

enum { STEPS = 20, STOP = 9, EVERY = 6, BATCH = 12 };

/* Adam by example, by example alone, Adam alone. */
enum { KINDS = 3 };

static const char with_dev[] = "eval_steps: 4\nnum_eval: 30\nload_best_model_at_end: true\n"
                               "val_datasets: [{path: demo/dev.jsonl}]\n";

static struct zf_conf *conf_of(const char *dir, const char *more) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  char text[2048];
  struct zf_conf *c;
  snprintf(text, sizeof text,
           "base_model: datasets/demo/model\noutput_dir: %s\nlearning_rate: 1e-3\nmax_steps: %d\n"
           "threads: 1\nmicro_batch_size: 6\ngradient_accumulation_steps: 2\ncompute: f32\n"
           "num_train: 40\ntrainable: ['*norm*', '*q_proj*']\nweight_decay: 0.01\nzo_probes: 2\n"
           "keyframe_steps: %d\nsave_total_limit: 9\n%s\n"
           "datasets: [{path: demo/train.jsonl, type: classification, "
           "prompt: '{text} Would I recommend it?', options: [' No', ' Yes']}]\n",
           dir, STEPS, EVERY, more);
  ck_ok(zf_conf_new(&c, tables, 1));
  ck_ok(zf_conf_text(c, text, strlen(text), "test"));
  ck_ok(zf_conf_check(c));
  return c;
}

/* Gives an opened run the rule and the directions of this kind. */
static void set_kind(struct zf_run *r, int kind) {
  struct zf_zo *zo = &r->settings.zo;
  if (kind != 1) {
    zo->rule = ZF_RULE_ADAM;
    zo->beta1 = 0.9;
    zo->beta2 = 0.99;
    zo->adam_eps = 1e-8;
  }
  if (kind != 2) {
    zo->examples = BATCH;
    free(r->example);
    r->example = zf_calloc(ZF_MAXSTREAM * BATCH, sizeof(double));
    ck_assert_ptr_nonnull(r->example);
  }
  free_estimate(&r->estimate);
  r->estimate = new_estimate(zo);
  zf_zo_close(&r->model->params);
  ck_ok(zf_zo_open(&r->model->params, zo));
}

static struct zf_run *open_run(struct zf_conf *c, int kind) {
  struct zf_run *r;
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  set_kind(r, kind);
  return r;
}

/* Counts the steps, and stops the run after some of them. */
struct watch {
  int64_t step, stop;
};

static void on_step(void *ctx, const struct zf_step_report *report) {
  ((struct watch *)ctx)->step = report->step;
}

static int on_stopped(void *ctx) {
  const struct watch *w = ctx;
  return w->stop && w->step == w->stop;
}

static int train_from(const char *dir, int kind, int64_t stop, const struct zf_train_start *start) {
  struct watch watch = {0, stop};
  struct zf_train_events events = {.ctx = &watch, .step = on_step, .stopped = on_stopped};
  struct zf_outcome outcome;
  struct zf_conf *c = conf_of(dir, with_dev);
  struct zf_run *r = open_run(c, kind);
  int rc = zf_train(r, start, &events, &outcome);
  zf_run_free(r);
  zf_conf_free(c);
  return rc;
}

static int train(const char *dir, int kind, int64_t stop, int resume) {
  return train_from(dir, kind, stop, &(struct zf_train_start){.resume = resume});
}

static void check_file(const char *left, const char *right, const char *name) {
  char a[600], b[600], x[33], y[33];
  snprintf(a, sizeof a, "%s/%s", left, name);
  snprintf(b, sizeof b, "%s/%s", right, name);
  ck_ok(zf_hash_file(x, a));
  ck_ok(zf_hash_file(y, b));
  ck_assert_msg(!strcmp(x, y), "%s differs", name);
}

static void remove_in(const char *dir, const char *name) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  ck_assert_int_eq(remove(path), 0);
}

/* Killed between two keyframes and resumed from the earlier one, or, where that is lost, from the base:
 * log, keyframes and result have the bits of the run that was not. */
START_TEST(test_resume) {
  int kind = _i / 2;
  char whole[300], cut[300];
  snprintf(whole, sizeof whole, "%s", tmp_path("whole"));
  snprintf(cut, sizeof cut, "%s", tmp_path("cut"));
  ck_ok(train(whole, kind, 0, 0));
  ck_assert_int_eq(train(cut, kind, STOP, 0), ZF_ESTOPPED);
  if (_i % 2) remove_in(cut, "keyframes/step-6.safetensors");
  ck_ok(train(cut, kind, 0, 1));
  check_file(whole, cut, "steps.log");
  check_file(whole, cut, "model.safetensors");
  check_file(whole, cut, "keyframes/step-12.safetensors");
  check_file(whole, cut, "keyframes/step-18.safetensors");
}
END_TEST

/* A branch with the same settings is the same run; one with another rule, or other directions, is
 * refused. */
START_TEST(test_fork) {
  char whole[300], branch[300], log[400];
  snprintf(whole, sizeof whole, "%s", tmp_path("whole"));
  snprintf(branch, sizeof branch, "%s", tmp_path("branch"));
  snprintf(log, sizeof log, "%s/steps.log", whole);
  struct zf_train_start start = {.fork = log, .fork_step = 10};
  ck_ok(train(whole, _i, 0, 0));
  ck_fails(train_from(branch, (_i + 1) % KINDS, 0, &start), ZF_EUSAGE, "a branch keeps");
  ck_ok(train_from(branch, _i, 0, &start));
  check_file(whole, branch, "steps.log");
  check_file(whole, branch, "model.safetensors");
}
END_TEST

static int has_tensor(const char *dir, const char *name, const char *suffix) {
  char path[600];
  struct zf_st *st;
  int found = 0;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  ck_ok(zf_st_open(&st, path));
  for (int64_t i = 0; i < st->count; i++) {
    size_t len = strlen(st->tensor[i].name), tail = strlen(suffix);
    found += len > tail && !strcmp(st->tensor[i].name + len - tail, suffix);
  }
  zf_st_free(st);
  return found;
}

static void on_refused(void *ctx, const char *text) {
  (void)ctx;
  ck_abort_msg("a saved state is refused: %s", text);
}

/* Every mark is replayed from the base, and the last step from a keyframe, never from a checkpoint,
 * which lacks the moments.  Keyframes of Adam have them; the result, for other tools, has not. */
START_TEST(test_replay) {
  int adam = _i != 1, interrupted = ZF_ESTOPPED;
  char dir[300], path[600], base[33], from_key[33];
  struct zf_history h;
  struct zf_model *m;
  struct zf_adapter_file *adapter;
  int64_t from;
  snprintf(dir, sizeof dir, "%s", tmp_path("run"));
  ck_assert_int_eq(train(dir, _i, 15, 0), interrupted);
  ck_ok(train(dir, _i, 0, 1));
  snprintf(path, sizeof path, "%s/steps.log", dir);
  ck_ok(zf_history_load(&h, path));
  ck_assert(h.count == STEPS && h.nmark == 4);
  ck_ok(zf_replay_open(&m, "datasets/demo/model", &h, NULL, &adapter));
  for (int64_t i = 0; i < h.nmark; i++)
    ck_ok(zf_replay_to(m, &h, NULL, h.mark[i].step, NULL, NULL, NULL));
  ck_ok(zf_replay_to(m, &h, NULL, 17, &from, NULL, NULL));
  ck_ok(zf_model_hash(m, base));
  ck_assert_int_eq(from, 0);
  ck_ok(zf_replay_to(m, &h, dir, 17, &from, on_refused, NULL));
  ck_ok(zf_model_hash(m, from_key));
  ck_assert_int_eq(from, adam ? 12 : 15);
  ck_assert_str_eq(base, from_key);
  ck_assert_int_eq(has_tensor(dir, "keyframes/step-12.safetensors", ".exp_avg") > 0, adam);
  ck_assert_int_eq(has_tensor(dir, "keyframes/step-12.safetensors", ".exp_avg_sq") > 0, adam);
  ck_assert_int_eq(has_tensor(dir, "model.safetensors", ".exp_avg"), 0);
  ck_assert_int_eq(has_tensor(dir, "checkpoints/step-15/model.safetensors", ".exp_avg"), 0);
  zf_model_free(m);
  zf_history_free(&h);
}
END_TEST

/* A keyframe whose moments are not those of the mark is not used. */
START_TEST(test_state_checked) {
  char dir[300], path[600], *text;
  struct zf_history h;
  struct zf_model *m;
  struct zf_adapter_file *adapter;
  size_t len;
  int64_t from;
  snprintf(dir, sizeof dir, "%s", tmp_path("run"));
  ck_ok(train(dir, 2, 0, 0));
  snprintf(path, sizeof path, "%s/steps.log", dir);
  ck_ok(zf_history_load(&h, path));
  ck_ok(zf_replay_open(&m, "datasets/demo/model", &h, NULL, &adapter));
  snprintf(path, sizeof path, "%s/keyframes/step-18.safetensors", dir);
  ck_ok(zf_read_file(&text, &len, path, 1 << 26));
  text[len - 3] ^= 1; /* the last tensor in the file is a moment */
  ck_ok(zf_write_file(path, text, len));
  ck_fails(zf_provenance_load(m, path, &h, 18), ZF_EINVALID, "is damaged");
  ck_ok(zf_replay_to(m, &h, dir, 20, &from, NULL, NULL));
  ck_assert_int_eq(from, 12);
  free(text);
  zf_model_free(m);
  zf_history_free(&h);
}
END_TEST

/* g of every example, for batches of one and of several micro-batches; and of examples that a batch
 * lacks, because rows of a stream are too long: 0. */
static void check_cut(const char *more, int *zeros) {
  struct zf_run *r[2];
  struct zf_conf *c[2];
  for (int i = 0; i < 2; i++) {
    c[i] = conf_of(tmp_path("unused"), more);
    ck_ok(zf_conf_word(c[i], i ? "micro_batch_size=12" : "micro_batch_size=4"));
    ck_ok(
        zf_conf_word(c[i], i ? "gradient_accumulation_steps=1" : "gradient_accumulation_steps=3"));
    r[i] = open_run(c[i], 1);
    for (int64_t step = 1; step < 7 && !i; step++) ck_ok(zf_run_estimate(r[i], step, 0));
    ck_ok(zf_run_estimate(r[i], 2, 0)); /* of earlier steps nothing is left */
  }
  for (int p = 0; p < 2; p++) {
    const struct zf_zo_term *term = r[0]->estimate.term + p * BATCH,
                            *other = r[1]->estimate.term + p * BATCH;
    double sum = 0, sizes = 0, batch = zf_zo_gradient(&r[0]->settings.zo, &r[0]->estimate, p);
    *zeros = 0;
    for (int j = 0; j < BATCH; j++) {
      double g = term[j].coefficient;
      ck_assert_mem_eq(&g, &other[j].coefficient, sizeof g);
      sum += g;
      sizes += fabs(g);
      if (g == 0)
        ++*zeros;
      else
        ck_assert_msg(!*zeros, "an example behind the missing ones");
    }
    ck_assert(batch == zf_zo_gradient(&r[1]->settings.zo, &r[1]->estimate, p));
    /* Each g is rounded to float; losses of some ten, over 2 eps, are sums of doubles. */
    ck_assert(fabs(sum - batch) <= 0x1.01p-24 * sizes + BATCH * 10 * 0x1p-52 / 2e-3);
  }
  for (int i = 0; i < 2; i++) {
    zf_run_free(r[i]);
    zf_conf_free(c[i]);
  }
}

/* The forecast counts m and v. */
START_TEST(test_forecast) {
  struct zf_conf *c = conf_of(tmp_path("unused"), "");
  struct zf_run *r;
  struct zf_forecast plain, adam;
  ck_ok(zf_run_open(&r, c, ZF_WANT_TRAIN));
  ck_ok(zf_run_forecast(&plain, r, ZF_METHOD_MEZO, 0));
  set_kind(r, 2);
  ck_ok(zf_run_forecast(&adam, r, ZF_METHOD_MEZO, 0));
  ck_assert_int_lt(plain.optimizer, 1024); /* the terms of a step */
  int64_t moments = adam.optimizer - plain.optimizer;
  ck_assert_int_eq(moments, 8 * zf_params_count(&r->model->params, 1));
  ck_assert_int_eq(adam.total - plain.total, moments);
  ck_assert_int_eq(adam.bound - plain.bound, moments);
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

/* g of an example that is beyond the range of f32 stops a run before it is logged. */
START_TEST(test_not_finite) {
  struct zf_conf *c = conf_of(tmp_path("unused"), "");
  struct zf_run *r = open_run(c, 1);
  struct train_loop loop = {.run = r, .step = 1};
  double loss, square;
  ck_ok(zf_run_estimate(r, 1, 0));
  zf_zo_summary(&r->settings.zo, &r->estimate, &loss, &square);
  ck_ok(zf_loop_watch(&loop, loss, square));
  r->estimate.term[2 * BATCH - 1].coefficient = -INFINITY;
  zf_zo_summary(&r->settings.zo, &r->estimate, &loss, &square);
  ck_fails(zf_loop_watch(&loop, loss, square), ZF_EDIVERGED, "not a finite number");
  zf_run_free(r);
  zf_conf_free(c);
}
END_TEST

START_TEST(test_micro_batches) {
  int zeros;
  check_cut("", &zeros);
  ck_assert_int_eq(zeros, 0);
  check_cut("streaming: true\nsequence_len: 40\nexcess_length_strategy: drop", &zeros);
  ck_assert(zeros > 0 && zeros < BATCH);
}
END_TEST

int main(void) {
  Suite *s = suite_create("rules");
  TCase *t = tcase_create("rules");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_resume, 0, 2 * KINDS);
  tcase_add_loop_test(t, test_fork, 0, KINDS);
  tcase_add_loop_test(t, test_replay, 0, KINDS);
  tcase_add_test(t, test_state_checked);
  tcase_add_test(t, test_forecast);
  tcase_add_test(t, test_not_finite);
  tcase_add_test(t, test_micro_batches);
  suite_add_tcase(s, t);
  return unit_run(s);
}
