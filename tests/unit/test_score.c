/* Losses of examples against sums in double over all logits, and what they may not depend on. */
#include <math.h>

#include "eval/metrics.h"
#include "unit/models.h"

/* --- data sets by hand --- */

static void add_sequence(struct zf_dataset *d, const int32_t *id, int32_t n, int32_t target) {
  d->seq = realloc(d->seq, sizeof *d->seq * (size_t)(d->nseq + 1));
  d->pool.id = realloc(d->pool.id, sizeof *id * (size_t)(d->pool.count + n));
  ck_assert(d->seq && d->pool.id);
  d->seq[d->nseq++] = (struct zf_seq){d->pool.count, n, target};
  memcpy(d->pool.id + d->pool.count, id, sizeof *id * (size_t)n);
  d->pool.count += n;
}

/* Ends an example of the last `nseq` sequences. */
static void add_example(struct zf_dataset *d, int32_t nseq, int32_t label, int32_t shared,
                        int32_t single) {
  d->example = realloc(d->example, sizeof *d->example * (size_t)(d->count + 1));
  ck_assert_ptr_nonnull(d->example);
  d->example[d->count++] = (struct zf_example){
      .seq = d->nseq - nseq, .nseq = nseq, .label = label, .shared = shared, .single = single};
  if (nseq > d->options) d->options = nseq;
}

static void tokens(int32_t *id, int64_t n, int salt) {
  for (int64_t i = 0; i < n; i++) id[i] = (int32_t)((i * 7 + i * i * 3 + salt * 31 + 5) % 97);
}

/* A prompt of `prompt` tokens and an option of len[o] tokens for each. */
static void add_choice(struct zf_dataset *d, int32_t prompt, const int32_t *len, int32_t options,
                       int32_t label, int32_t shared, int salt) {
  int32_t id[64], single = options > 1;
  for (int32_t o = 0; o < options; o++) {
    tokens(id, prompt, salt);
    tokens(id + prompt, len[o], salt + 100 + o);
    add_sequence(d, id, prompt + len[o], prompt);
    if (len[o] != 1 || shared != prompt) single = 0;
  }
  add_example(d, options, label, shared, single);
}

enum { PLAIN, SPLIT_AT, WHOLE };

/* Choices with options of one and of several tokens, of prompts down to a single token.
 * `how`: WHOLE, nothing shared; SPLIT_AT, half of the prompt; PLAIN, all that can be. */
static void make_choices(struct zf_dataset *d, int how) {
  static const int32_t prompt[] = {6, 5, 1, 4, 6},
                       len[][3] = {{1, 1, 1}, {2, 3, 1}, {1, 2, 4}, {1, 1, 1}, {3, 2, 2}};
  memset(d, 0, sizeof *d);
  d->type = ZF_TASK_CLASSIFICATION;
  for (int i = 0; i < 5; i++) {
    int32_t shared = how == WHOLE ? 0 : how == SPLIT_AT ? prompt[i] / 2 : prompt[i];
    add_choice(d, prompt[i], len[i], 3, i % 3, shared, i);
  }
}

static void make_texts(struct zf_dataset *d) {
  static const int32_t n[] = {9, 2, 7, 10, 3}, target[] = {1, 1, 4, 9, 2};
  memset(d, 0, sizeof *d);
  d->type = ZF_TASK_TEXT;
  for (int i = 0; i < 5; i++) {
    int32_t id[64];
    tokens(id, n[i], i + 40);
    add_sequence(d, id, n[i], target[i]);
    add_example(d, 1, -1, i == 2 ? 3 : n[i] - 1, 0);
  }
}

static void clear(struct zf_dataset *d) {
  free(d->seq);
  free(d->example);
  free(d->pool.id);
}

/* --- references --- */

/* Sum of log p over a sequence's targets, from the logits of all its tokens, the last included: that is
 * the length that rotary frequencies may go by. */
static double log_probability(const struct zf_model *m, const struct zf_dataset *d,
                              const struct zf_seq *s, int stream, const struct zf_perturb *pt) {
  const int32_t *id = d->pool.id + s->at;
  int64_t n = s->len, V = m->config.vocab;
  float *all = logits_under(m, id, n, pt);
  double total = 0;
  for (int64_t t = s->target; t < s->len; t++) {
    const float *y = all + (stream * n + t - 1) * V;
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < V; v++) top = fmax(top, (double)y[v]);
    for (int64_t v = 0; v < V; v++) sum += exp((double)y[v] - top);
    total += (double)y[id[t]] - top - log(sum);
  }
  free(all);
  return total;
}

/* Each log p is off by 2^-17 at most (test_forward: test_head); a mean of them is too, and the
 * cross-entropy of a softmax moves by twice its scores' error at most. */
static const double NLL = 0x1p-17;

static void check_choice(const struct zf_model *m, const struct zf_dataset *d, int64_t i,
                         int stream, const struct zf_perturb *pt, const struct zf_score *got) {
  const struct zf_example *x = &d->example[i];
  double score[8], sum = 0, nll = 0;
  int32_t best = 0;
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    double lp = log_probability(m, d, s, stream, pt);
    score[o] = lp / (s->len - s->target);
    if (o == x->label) nll = -lp;
    if (score[o] > score[best]) best = o;
  }
  for (int32_t o = 0; o < x->nseq; o++) sum += exp(score[o] - score[x->label]);
  ck_assert_msg(fabs(got->loss - log(sum)) <= 2 * NLL, "example %lld: loss %.9g, not %.9g",
                (long long)i, got->loss, log(sum));
  ck_assert_int_eq(got->choice, best);
  ck_assert_int_eq(got->weight, 1);
  if (x->single)
    ck_assert(isnan(got->nll));
  else
    ck_assert_double_eq_tol(got->nll, nll, NLL * 10);
}

static void check_text(const struct zf_model *m, const struct zf_dataset *d, int64_t i, int stream,
                       const struct zf_perturb *pt, const struct zf_score *got) {
  const struct zf_seq *s = &d->seq[d->example[i].seq];
  double nll = -log_probability(m, d, s, stream, pt);
  ck_assert_int_eq(got->weight, s->len - s->target);
  ck_assert_int_eq(got->choice, -1);
  ck_assert_double_eq_tol(got->loss, nll, NLL * (double)got->weight);
  ck_assert(got->nll == got->loss);
}

/* --- running --- */

/* Scores with memory for `micro` examples a pass. */
static void score(const struct zf_model *m, const struct zf_dataset *d, const int64_t *index,
                  int64_t n, int64_t micro, int64_t at_most, const struct zf_perturb *pt,
                  struct zf_score *out) {
  struct zf_limits lim = zf_score_limits(&d, 1, micro, pt->streams.count);
  struct zf_forward *f;
  struct zf_scorer *s;
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_scorer_new(&s, f, &lim));
  ck_ok(zf_score_examples(s, d, index, n, at_most, pt, out));
  zf_scorer_free(s);
  zf_forward_free(f);
}

static struct zf_perturb two_streams(void) {
  return zf_perturb_spsa(3, 1, 0, ZF_GAUSSIAN, 0.05f);
}

START_TEST(test_choice_loss) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb pt[2] = {zf_perturb_none(), two_streams()};
  struct zf_dataset d;
  struct zf_score got[2 * 5];
  make_choices(&d, PLAIN);
  ck_assert(d.example[0].single && d.example[3].single && !d.example[1].single);
  for (int k = 0; k < 2; k++) {
    score(m, &d, NULL, d.count, 5, 0, &pt[k], got);
    for (int s = 0; s < pt[k].streams.count; s++)
      for (int64_t i = 0; i < d.count; i++)
        check_choice(m, &d, i, s, &pt[k], &got[s * d.count + i]);
  }
  clear(&d);
  zf_model_free(m);
}
END_TEST

START_TEST(test_text_loss) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb pt = two_streams();
  struct zf_dataset d;
  struct zf_score got[2 * 5];
  double sum = 0, n = 0;
  make_texts(&d);
  score(m, &d, NULL, d.count, 5, 0, &pt, got);
  for (int s = 0; s < 2; s++)
    for (int64_t i = 0; i < d.count; i++) check_text(m, &d, i, s, &pt, &got[s * d.count + i]);
  for (int64_t i = 0; i < d.count; i++) {
    sum += got[i].loss;
    n += (double)got[i].weight;
  }
  ck_assert(zf_score_mean(got, d.count) == sum / n);
  ck_assert(n == 8 + 1 + 3 + 1 + 1);
  clear(&d);
  zf_model_free(m);
}
END_TEST

static void check_same(const struct zf_score *a, const struct zf_score *b) {
  ck_assert_msg(a->loss == b->loss, "loss %.17g, not %.17g", a->loss, b->loss);
  ck_assert(a->nll == b->nll || (isnan(a->nll) && isnan(b->nll)));
  ck_assert(a->weight == b->weight && a->choice == b->choice);
}

/* Any cut into passes, any order, any company: the same bits. */
static void check_cuts(const struct zf_model *m, const struct zf_dataset *d) {
  static const int64_t order[] = {3, 0, 4, 2, 1};
  struct zf_perturb pt = two_streams();
  struct zf_score all[2 * 5], got[2 * 5];
  score(m, d, NULL, d->count, 5, 0, &pt, all);
  for (int64_t micro = 1; micro <= 5; micro++)
    for (int64_t most = 0; most <= micro; most++) {
      score(m, d, NULL, d->count, micro, most, &pt, got);
      for (int64_t i = 0; i < 2 * d->count; i++) check_same(&got[i], &all[i]);
      score(m, d, order, d->count, micro, most, &pt, got);
      for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < d->count; i++)
          check_same(&got[s * d->count + i], &all[s * d->count + order[i]]);
    }
}

START_TEST(test_cuts) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_dataset d;
  make_choices(&d, PLAIN);
  check_cuts(m, &d);
  clear(&d);
  make_texts(&d);
  check_cuts(m, &d);
  clear(&d);
  zf_model_free(m);
}
END_TEST

/* How much of the prompt is run once changes nothing, down to nothing at all. */
START_TEST(test_shared) {
  struct zf_model *m = open_family(_i, "*", -1);
  struct zf_perturb pt = two_streams();
  struct zf_dataset d[3];
  struct zf_score got[3][2 * 5];
  for (int how = PLAIN; how <= WHOLE; how++) {
    make_choices(&d[how], how);
    score(m, &d[how], NULL, 5, 5, 0, &pt, got[how]);
  }
  for (int i = 0; i < 2 * 5; i++) {
    check_same(&got[SPLIT_AT][i], &got[WHOLE][i]);
    if (!d[PLAIN].example[i % 5].single) {
      check_same(&got[PLAIN][i], &got[WHOLE][i]);
      continue;
    }
    /* Options of one token skip the normaliser, which is one number for all of them: scores
     * below 128 lose 2^-46 each by subtracting it. */
    ck_assert_double_eq_tol(got[PLAIN][i].loss, got[WHOLE][i].loss, 0x1p-44);
    ck_assert_int_eq(got[PLAIN][i].choice, got[WHOLE][i].choice);
  }
  for (int how = PLAIN; how <= WHOLE; how++) clear(&d[how]);
  zf_model_free(m);
}
END_TEST

/* Options of equal score: the first is chosen, and the loss is that of a fair guess. */
START_TEST(test_ties) {
  struct zf_model *m = open_family(0, NULL, -1);
  struct zf_perturb none = zf_perturb_none();
  struct zf_dataset d = {.type = ZF_TASK_CLASSIFICATION};
  struct zf_score got;
  int32_t id[3] = {4, 9, 11};
  add_sequence(&d, id, 3, 2);
  add_sequence(&d, id, 3, 2);
  add_example(&d, 2, 1, 2, 1);
  score(m, &d, NULL, 1, 1, 0, &none, &got);
  ck_assert_int_eq(got.choice, 0);
  ck_assert_double_eq_tol(got.loss, log(2), 1e-15);
  clear(&d);
  zf_model_free(m);
}
END_TEST

/* Training micro-batches on two streams and evaluation of another, longer set on one. */
START_TEST(test_limits) {
  struct zf_model *m = open_family(0, "*", -1);
  struct zf_dataset a, b;
  const struct zf_dataset *sets[3] = {&a, &b, NULL};
  struct zf_perturb none = zf_perturb_none(), two = two_streams();
  struct zf_score got[2 * 5];
  int32_t id[64];
  make_choices(&a, PLAIN);
  make_texts(&b);
  tokens(id, 30, 3);
  add_sequence(&b, id, 30, 1);
  add_example(&b, 1, -1, 29, 0);
  struct zf_limits lim = zf_score_limits(sets, 3, 1, 2);
  struct zf_forward *f;
  struct zf_scorer *s;
  ck_assert_int_eq(lim.length, 29);
  ck_assert_int_ge(lim.tokens, 29);
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_scorer_new(&s, f, &lim));
  ck_ok(zf_score_examples(s, &a, NULL, 5, 1, &two, got));
  ck_ok(zf_score_examples(s, &b, NULL, 5, 0, &none, got));
  int64_t last = 5;
  ck_ok(zf_score_examples(s, &b, &last, 1, 0, &none, got));
  check_text(m, &b, 5, 0, &none, got);
  zf_scorer_free(s);
  zf_forward_free(f);
  clear(&a);
  clear(&b);
  zf_model_free(m);
}
END_TEST

START_TEST(test_metrics) {
  static const int32_t label[6] = {0, 0, 1, 1, 2, 2}, choice[6] = {0, 1, 1, 1, 2, 0};
  struct zf_dataset d = {.type = ZF_TASK_CLASSIFICATION, .count = 6, .options = 4};
  struct zf_score s[6];
  struct zf_example ex[6] = {{0}};
  struct zf_metrics m;
  d.example = ex;
  for (int i = 0; i < 6; i++) {
    ex[i].label = label[i];
    s[i] = (struct zf_score){.loss = i, .weight = 1, .choice = choice[i]};
  }
  ck_ok(zf_metrics_make(&m, &d, s));
  ck_assert(m.loss == 2.5 && isnan(m.perplexity));
  ck_assert_double_eq_tol(m.accuracy, 4.0 / 6, 1e-15);
  /* F1: label 0: 2*1/(2+2), 1: 2*2/(3+2), 2: 2*1/(1+2); label 3 neither occurs nor is chosen. */
  ck_assert_double_eq_tol(m.f1, (0.5 + 0.8 + 2.0 / 3) / 3, 1e-15);
  d.type = ZF_TASK_TEXT;
  for (int i = 0; i < 6; i++) s[i] = (struct zf_score){.loss = i, .weight = 2, .choice = -1};
  ck_ok(zf_metrics_make(&m, &d, s));
  ck_assert(m.loss == 1.25 && isnan(m.accuracy) && isnan(m.f1));
  ck_assert_double_eq_tol(m.perplexity, exp(1.25), 1e-14);
}
END_TEST

/* Known batches bound a pass by what they need, and every single example still fits. */
START_TEST(test_known_limits) {
  struct zf_dataset d;
  struct zf_batch_load one = {0}, most;
  make_texts(&d);
  const struct zf_dataset *set[] = {&d};
  zf_batch_load_add(&one, &d, 1);
  zf_batch_load_add(&one, &d, 4);
  ck_assert_int_eq(one.tokens, zf_example_tokens(&d, 1) + zf_example_tokens(&d, 4));
  ck_assert_int_eq(one.rows, zf_example_rows(&d, 1) + zf_example_rows(&d, 4));
  most = zf_batch_load_max(one, (struct zf_batch_load){.rows = 1000});
  ck_assert_int_eq(most.tokens, one.tokens);
  ck_assert_int_eq(most.rows, 1000);
  most = (struct zf_batch_load){.tokens = 15, .rows = 12, .segments = 4};
  struct zf_limits known = zf_score_limits_known(set, 1, &most, 2),
                   bound = zf_score_limits(set, 1, 2, 2);
  ck_assert_int_eq(known.tokens, 30);
  ck_assert_int_eq(known.rows, 24);
  ck_assert_int_lt(known.tokens, bound.tokens);
  ck_assert_int_eq(known.length, bound.length);
  known = zf_score_limits_known(set, 1, &one, 2); /* less than the longest example alone */
  ck_assert_int_eq(known.tokens, 2 * zf_example_tokens(&d, 3));
  clear(&d);
}
END_TEST

int main(void) {
  Suite *s = suite_create("score");
  TCase *t = tcase_create("score");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_choice_loss, 0, NSTEADY);
  tcase_add_loop_test(t, test_text_loss, 0, NCAUSAL);
  tcase_add_loop_test(t, test_cuts, 0, NCAUSAL);
  tcase_add_loop_test(t, test_shared, 0, NSTEADY);
  tcase_add_test(t, test_ties);
  tcase_add_test(t, test_limits);
  tcase_add_test(t, test_metrics);
  tcase_add_test(t, test_known_limits);
  suite_add_tcase(s, t);
  return unit_run(s);
}
