/* The gradient of a batch of every type of data, with and without tokens that are masked out,
 * against central differences of the losses' definitions (dataset.h, score.h) in double: every
 * sequence is run alone and whole, so neither packing nor sharing nor the choice of rows is taken
 * for granted.
 *
 * Tolerances: those of test_back.c, for the same reasons. */
#include <math.h>

#include "back/back.h"
#include "eval/score.h"
#include "unit/bytes_tok.h"
#include "unit/ref64.h"

enum { SAMPLES = 3, VOCAB = 97, MAXLEN = 320 };

static const double RELATIVE = 1e-4;

static const char *const words[] = {"+", "-", "*"}, *const texts[] = {"yes", "no!", "yet"};

static const char chat_rows[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}, {\"role\": \"assistant\", "
    "\"content\": \"c\"},"
    " {\"role\": \"user\", \"content\": \"defg\"}, {\"role\": \"assistant\", \"content\": "
    "\"hi\"}]}\n"
    "{\"messages\": [{\"role\": \"user\", \"content\": \"j\"}, {\"role\": \"assistant\", "
    "\"content\": \"klm\"}]}\n"
    "{\"messages\": [{\"role\": \"user\", \"content\": \"n\"}, {\"role\": \"assistant\", "
    "\"content\": \"o\"},"
    " {\"role\": \"user\", \"content\": \"p\"}, {\"role\": \"assistant\", \"content\": \"qr\"},"
    " {\"role\": \"user\", \"content\": \"s\"}, {\"role\": \"assistant\", \"content\": \"t\"}]}\n";

static const char segments[] =
    "{\"segments\": [{\"label\": true, \"text\": \"ab\"}, {\"label\": false, \"text\": \"cdef\"},"
    " {\"label\": true, \"text\": \"g\"}, {\"label\": false, \"text\": \"hijk\"}]}\n"
    "{\"segments\": [{\"label\": false, \"text\": \"lm\"}, {\"label\": true, \"text\": \"n\"},"
    " {\"label\": false, \"text\": \"o\"}, {\"label\": true, \"text\": \"pq\"}]}\n";

static const char rows[] = "{\"a\": \"abc\", \"b\": \"de\", \"label\": 1}\n"
                           "{\"a\": \"f\", \"b\": \"ghi\", \"label\": 0}\n"
                           "{\"a\": \"fjk\", \"b\": \"l\", \"label\": 2}\n";

/* Types of data, each with the kinds of models that take it. */
static const struct {
  const char *name, *family, *rows;
  struct zf_data_spec spec;
} cases[] = {
    {"options of one token",
     "llama",
     rows,
     {.type = ZF_TASK_CLASSIFICATION, .prompt = "{a}? ", .options = words, .noptions = 3}},
    {"options of several tokens",
     "gpt2",
     rows,
     {.type = ZF_TASK_CLASSIFICATION, .prompt = "{a}? ", .options = texts, .noptions = 3}},
    {"completion",
     "llama",
     rows,
     {.type = ZF_TASK_COMPLETION, .prompt = "{a}", .completion = "{b}"}},
    {"completion and prompt",
     "llama",
     rows,
     {.type = ZF_TASK_COMPLETION,
      .prompt = "{a}",
      .completion = "{b}",
      .train_on_inputs = 1,
      .add_eos = 1}},
    {"masked",
     "roberta",
     rows,
     {.type = ZF_TASK_MASKED, .prompt = "{a}{mask}{b}", .options = words, .noptions = 3}},
    {"labels, first token",
     "roberta-classify",
     rows,
     {.type = ZF_TASK_LABELS, .prompt = "{a}", .options = words, .noptions = 3}},
    {"labels, last token",
     "llama-classify",
     rows,
     {.type = ZF_TASK_LABELS, .prompt = "{a}", .options = words, .noptions = 3}},
    {"several labels",
     "roberta-classify",
     "{\"a\": \"abc\", \"label\": [0, 2]}\n{\"a\": \"f\", \"label\": []}\n{\"a\": \"fjk\", "
     "\"label\": [1]}\n",
     {.type = ZF_TASK_LABELS,
      .problem = ZF_PROBLEM_MULTI,
      .prompt = "{a}",
      .options = words,
      .noptions = 3}},
    {"numbers",
     "llama-classify",
     "{\"a\": \"abc\", \"label\": [0.5, 2, -1]}\n{\"a\": \"f\", \"label\": [0, 0.25, 3]}\n",
     {.type = ZF_TASK_LABELS,
      .problem = ZF_PROBLEM_REGRESSION,
      .prompt = "{a}",
      .options = words,
      .noptions = 3}},
    {"text", "llama", rows, {.type = ZF_TASK_TEXT, .text = "{a}{b}", .add_eos = 1}},
    {"chat", "llama", chat_rows, {.type = ZF_TASK_CHAT}},
    {"chat, every token", "llama", chat_rows, {.type = ZF_TASK_CHAT, .train_on_inputs = 1}},
    {"alpaca",
     "llama",
     "{\"instruction\": \"a\", \"output\": \"bcd\"}\n{\"instruction\": \"ef\", \"input\": \"g\", "
     "\"output\": \"h\"}\n",
     {.type = ZF_TASK_ALPACA, .fields = {.format = "<{instruction}|{input}>"}, .add_eos = 1}},
    {"input_output", "qwen2", segments, {.type = ZF_TASK_SEGMENTS}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* --- the data --- */

static struct zf_chat *open_chat(const char *dir) {
  static const char text[] = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}"
                             "{% if add_generation_prompt %}a:{% endif %}";
  const char *path = tmp_path("t.jinja");
  struct zf_chat *chat;
  ck_ok(zf_write_file(path, text, sizeof text - 1));
  ck_ok(zf_chat_open(&chat, dir, NULL, path));
  return chat;
}

/* Bytes as ids, those beyond the small vocabulary folded into it. */
static struct zf_dataset *make_data(int i, const char *dir) {
  struct zf_tok *tok = bytes_tok(cases[i].spec.type == ZF_TASK_MASKED ? -1 : 0);
  struct zf_data_spec spec = cases[i].spec;
  struct zf_records *r;
  struct zf_dataset *d;
  spec.sequence_len = MAXLEN;
  spec.chat = spec.type == ZF_TASK_CHAT ? open_chat(dir) : NULL;
  ck_ok(zf_dataset_new(&d, spec.type));
  ck_ok(zf_records_parse(&r, cases[i].rows, strlen(cases[i].rows), "data.jsonl"));
  ck_ok(zf_dataset_add(d, r, NULL, 0, &spec, tok));
  for (int64_t t = 0; t < d->pool.count; t++) d->pool.id[t] %= VOCAB;
  zf_records_free(r);
  zf_chat_free((struct zf_chat *)spec.chat);
  zf_tok_free(tok);
  return d;
}

/* --- losses by their definitions --- */

/* Sum of log p over a sequence's targets: over tokens t >= target that the mask does not leave out.
 */
static double sum_of_targets(struct ref64 *ref, const struct zf_dataset *d, const struct zf_seq *s,
                             int64_t *count) {
  int32_t row[MAXLEN], target[MAXLEN];
  float one[MAXLEN];
  struct zf_segment seg = {.len = s->len - 1};
  struct zf_batch b = {
      .T = s->len - 1, .id = d->pool.id + s->at, .segment_count = 1, .segment = &seg, .row = row};
  int32_t pos[MAXLEN];
  for (int32_t t = 1; t < s->len; t++) {
    pos[t - 1] = t - 1;
    if (t < s->target || (d->mask && !d->mask[s->at + t])) continue;
    row[b.R] = t - 1;
    target[b.R] = d->pool.id[s->at + t];
    one[b.R++] = 1;
  }
  b.pos = pos;
  *count = b.R;
  return ref64_loss(ref, &b, target, one, NULL, 0, NULL);
}

/* The logit of a word at the mask, or of a label at the head's own token. */
static double logit_of_word(struct ref64 *ref, const struct zf_dataset *d,
                            const struct zf_example *x, const struct zf_seq *s) {
  int32_t pos[MAXLEN], none = -1, n = s->len - 1, row = n - 1 - x->mask_distance;
  float one = 1, nothing = 0;
  struct zf_segment seg = {.len = n};
  for (int32_t t = 0; t < n; t++) pos[t] = t;
  if (d->type == ZF_TASK_LABELS) row = ref->m->plan.causal ? n - 1 : 0;
  struct zf_batch b = {.T = n,
                       .id = d->pool.id + s->at,
                       .pos = pos,
                       .segment_count = 1,
                       .segment = &seg,
                       .R = 1,
                       .row = &row};
  return ref64_loss(ref, &b, &none, &nothing, d->pool.id + s->at + n, 1, &one);
}

static double loss_of_choice(struct ref64 *ref, const struct zf_dataset *d,
                             const struct zf_example *x) {
  double score[8], sum = 0;
  int words_only = d->type == ZF_TASK_MASKED || d->type == ZF_TASK_LABELS;
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    int64_t n;
    score[o] = words_only ? logit_of_word(ref, d, x, s) : sum_of_targets(ref, d, s, &n);
    if (!words_only) score[o] /= (double)n;
  }
  for (int32_t o = 0; o < x->nseq; o++) sum += exp(score[o] - score[x->label]);
  return log(sum);
}

/* Mean over outputs of the binary cross-entropy of a sigmoid, or of squared errors. */
static double loss_of_outputs(struct ref64 *ref, const struct zf_dataset *d,
                              const struct zf_example *x) {
  double sum = 0;
  for (int32_t o = 0; o < x->nseq; o++) {
    const struct zf_seq *s = &d->seq[x->seq + o];
    double y = logit_of_word(ref, d, x, s), gold = (double)s->gold, p = 1 / (1 + exp(-y));
    sum += d->problem == ZF_PROBLEM_REGRESSION ? (y - gold) * (y - gold)
                                               : -gold * log(p) - (1 - gold) * log(1 - p);
  }
  return sum / x->nseq;
}

/* Mean over examples, or over targets. */
static double loss64(struct ref64 *ref, const struct zf_dataset *d) {
  double sum = 0, weight = 0;
  for (int64_t i = 0; i < d->count; i++) {
    const struct zf_example *x = &d->example[i];
    int64_t n = 1;
    if (d->type == ZF_TASK_LABELS && d->problem)
      sum += loss_of_outputs(ref, d, x);
    else
      sum +=
          x->label >= 0 ? loss_of_choice(ref, d, x) : -sum_of_targets(ref, d, &d->seq[x->seq], &n);
    weight += (double)n;
  }
  return sum / weight;
}

/* --- the gradient --- */

static float *copy_gradients(struct zf_back *k, int64_t *n) {
  float *all = zf_back_all(k, n), *out = zf_calloc(*n, sizeof *out);
  ck_assert_ptr_nonnull(out);
  memcpy(out, all, sizeof *out * (size_t)*n);
  return out;
}

static double weight_of(const struct zf_dataset *d) {
  double sum = 0;
  for (int64_t i = 0; i < d->count; i++)
    sum += d->example[i].label >= 0 || d->type == ZF_TASK_LABELS ? 1
                                                                 : (double)zf_example_targets(d, i);
  return sum;
}

/* As train/backprop.c runs a packed batch.  coef and slope have no room to spare, so that a write
 * beyond them is seen by AddressSanitizer. */
static float *gradients(const struct zf_model *m, const struct zf_dataset *d, double *loss,
                        int64_t *n) {
  struct zf_limits lim = zf_score_limits(&d, 1, d->count, 1);
  struct zf_forward *f;
  struct zf_back *k;
  struct zf_scorer *s;
  struct zf_score score[8];
  zf_back_limits(&lim, m);
  ck_ok(zf_forward_new(&f, m, &lim));
  ck_ok(zf_scorer_new(&s, f, &lim));
  ck_ok(zf_back_new(&k, m, f, 0));
  ck_assert_int_eq(zf_score_pack(s, d, NULL, 0, d->count, 0, 1), d->count);
  struct zf_packed *p = zf_score_packed(s);
  float *coef = zf_calloc(p->batch.R, sizeof *coef),
        *slope = zf_calloc(p->batch.R * p->nid + 1, sizeof *slope);
  ck_assert(coef && slope);
  ck_ok(zf_back_forward(k, &p->batch));
  if (p->nid) zf_back_at(k, p->ids, p->nid, p->logits_at);
  if (p->has_targets && zf_task_has_options(d->type)) zf_back_lse(k, p->target, p->lse, p->logit);
  zf_score_gradients(s, d, NULL, 0, d->count, (struct zf_score_scale){1 / weight_of(d), 0}, coef,
                     slope);
  if (p->has_targets) zf_back_rows(k, p->target, coef, NULL, p->lse, p->logit);
  if (p->nid) zf_back_gradient_at(k, p->ids, p->nid, slope);
  zf_score_reduce(s, d, NULL, 0, d->count, d->count, 1, score);
  zf_back_run(k);
  *loss = zf_score_mean(score, d->count);
  float *out = copy_gradients(k, n);
  free(coef);
  free(slope);
  zf_back_free(k);
  zf_scorer_free(s);
  zf_forward_free(f);
  return out;
}

static double largest(const float *g, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++)
    if (fabs((double)g[i]) > most) most = fabs((double)g[i]);
  return most;
}

static double difference(struct ref64 *ref, const struct zf_dataset *d, double *w, double h) {
  double was = *w, up, down;
  *w = was + h;
  up = loss64(ref, d);
  *w = was - h;
  down = loss64(ref, d);
  *w = was;
  return (up - down) / (2 * h);
}

/* The slope along a direction over all elements of a parameter. */
static double along(struct ref64 *ref, const struct zf_dataset *d, double *w, const double *z,
                    int64_t n, double h) {
  double side[2];
  for (int s = 0; s < 2; s++) {
    for (int64_t i = 0; i < n; i++) w[i] += (s ? -2 : 1) * h * z[i];
    side[s] = loss64(ref, d);
  }
  for (int64_t i = 0; i < n; i++) w[i] += h * z[i];
  return (side[0] - side[1]) / (2 * h);
}

static void check_parameter(struct ref64 *ref, const struct zf_dataset *d, int64_t i,
                            const float *g, double top) {
  const struct zf_param *p = &ref->m->params.param[i];
  double dot = 0, sum = 0, *z = doubles(p->count);
  for (int s = 0; s < SAMPLES; s++) {
    int64_t e = (s * 7919 + 13) % p->count;
    double want = difference(ref, d, ref->w[i] + e, 1e-5);
    ck_assert_msg(fabs(want - (double)g[e]) <= RELATIVE * top, "%s[%lld]: %.9g, not %.9g", p->name,
                  (long long)e, (double)g[e], want);
  }
  for (int64_t e = 0; e < p->count; e++) {
    z[e] = (double)((e * 2654435761u >> 7) % 2001) / 1000 - 1;
    dot += z[e] * (double)g[e];
    sum += fabs(z[e] * (double)g[e]);
  }
  double want = along(ref, d, ref->w[i], z, p->count, 1e-6);
  ck_assert_msg(fabs(want - dot) <= RELATIVE * (sum + top), "%s along z: %.9g, not %.9g", p->name,
                dot, want);
  free(z);
}

START_TEST(test_data) {
  int family = 0;
  while (strcmp(families[family], cases[_i].family) != 0) family++;
  struct zf_model *m = open_family(family, "*", ZF_F32);
  struct zf_dataset *d = make_data(_i, m->dir);
  struct ref64 ref;
  double loss;
  int64_t n, at = 0;
  ref64_init(&ref, m);
  float *g = gradients(m, d, &loss, &n);
  double want = loss64(&ref, d);
  ck_assert_msg(fabs(loss - want) < 1e-4 * (1 + fabs(want)), "%s: loss %.9g, not %.9g",
                cases[_i].name, loss, want);
  for (int64_t i = 0; i < m->params.count; i++) {
    int64_t size = m->params.param[i].count;
    check_parameter(&ref, d, i, g + at, largest(g + at, size) + 1e-2 * largest(g, n));
    at += (size + 15) / 16 * 16;
  }
  ck_assert_int_eq(at, n);
  free(g);
  ref64_free(&ref);
  zf_dataset_free(d);
  zf_model_free(m);
}
END_TEST

/* What the cases are for: a mask with gaps, and a sequence with targets up to its end. */
START_TEST(test_masks_have_gaps) {
  int gaps = 0;
  for (int i = 0; i < CASES; i++) {
    struct zf_dataset *d = make_data(i, FAMILIES_DIR "llama");
    for (int64_t q = 0; q < d->nseq; q++)
      gaps += zf_seq_targets(d, &d->seq[q]) < d->seq[q].len - d->seq[q].target;
    zf_dataset_free(d);
  }
  ck_assert_int_eq(gaps, 4);
}
END_TEST

int main(void) {
  Suite *s = suite_create("back_data");
  TCase *t = tcase_create("back_data");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_data, 0, CASES);
  tcase_add_test(t, test_masks_have_gaps);
  suite_add_tcase(s, t);
  return unit_run(s);
}
