/* Several sequences at once: the bits of each are those that it has alone. */
#include <math.h>
#include <omp.h>

#include "eval/generate.h"
#include "unit/models.h"

enum { TEXTS = 5, MOST = 24 };

static const int64_t prompt[TEXTS] = {1, 7, 3, 5, 2}, fresh[TEXTS] = {9, 3, 11, 1, 6};

static void make_prompt(int32_t *id, const struct zf_model *m, int t) {
  for (int64_t i = 0; i < prompt[t]; i++)
    id[i] = (int32_t)((i * i * 7 + 13 * i + 29 * t + 3) % m->config.vocab);
}

static struct zf_sampling hot(int t) {
  return (struct zf_sampling){
      .temperature = 1.2, .top_p = 0.95, .repetition = 1.1, .seed = 4, .row = t, .number = 2};
}

/* Logits before each new token, and the tokens. */
struct story {
  float *logits; /* [fresh][vocab] */
  int32_t id[MOST];
};

static void alone(struct story *s, const struct zf_model *m, int t) {
  int64_t V = m->config.vocab;
  struct zf_sampling how = hot(t);
  struct zf_decoder *d;
  s->logits = zf_calloc(fresh[t] * V, sizeof *s->logits);
  make_prompt(s->id, m, t);
  ck_ok(zf_decoder_new(&d, m, 32, prompt[t] + fresh[t], ZF_COMPUTE_F32));
  ck_ok(zf_decoder_begin(d, s->id, prompt[t]));
  for (int64_t i = 0; i < fresh[t]; i++) {
    memcpy(s->logits + i * V, zf_decoder_logits(d), sizeof *s->logits * (size_t)V);
    ck_ok(zf_decoder_next(d, &how, &s->id[prompt[t] + i]));
  }
  zf_decoder_free(d);
}

/* The next waiting text into slot `i`. */
static void enter(struct zf_decoder *d, const struct story *s, int *text, int i, int *next) {
  text[i] = *next < TEXTS ? (*next)++ : -1;
  if (text[i] >= 0) ck_ok(zf_decoder_put(d, i, s[text[i]].id, prompt[text[i]], NULL));
}

static void together(const struct story *s, const struct zf_model *m, int slots, int64_t tokens) {
  int64_t V = m->config.vocab, made[TEXTS] = {0};
  struct zf_decoder_room r = {.slots = slots, .tokens = tokens, .length = 16};
  struct zf_decoder *d;
  int text[TEXTS], next = 0, done = 0;
  ck_ok(zf_decoder_open(&d, m, &r));
  for (int i = 0; i < slots; i++) enter(d, s, text, i, &next);
  while (done < TEXTS) {
    ck_ok(zf_decoder_run(d));
    for (int i = 0; i < slots; i++) {
      int t = text[i];
      const float *got = t < 0 ? NULL : zf_decoder_slot_logits(d, i);
      struct zf_sampling how = hot(t);
      int32_t id;
      if (!got) continue;
      ck_assert_mem_eq(got, s[t].logits + made[t] * V, sizeof *got * (size_t)V);
      ck_ok(zf_decoder_pick(d, i, &how, &id));
      ck_assert_int_eq(id, s[t].id[prompt[t] + made[t]++]);
      if (made[t] < fresh[t]) continue;
      done++;
      enter(d, s, text, i, &next);
    }
  }
  zf_decoder_free(d);
}

/* Batches of 1 to 5, passes of few tokens and of many, one thread and three. */
START_TEST(test_batches) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct story s[TEXTS];
  for (int t = 0; t < TEXTS; t++) alone(&s[t], m, t);
  for (int threads = 1; threads <= 3; threads += 2) {
    zf_kern_threads(threads);
    together(s, m, 1, 2);
    together(s, m, 2, 3);
    together(s, m, 3, 64);
    together(s, m, 5, 5);
  }
  zf_kern_threads(1);
  for (int t = 0; t < TEXTS; t++) free(s[t].logits);
  zf_model_free(m);
}
END_TEST

/* Of a sequence that begins as the one before it did, only the rest is read. */
START_TEST(test_kept) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_decoder_room r = {.slots = 1, .tokens = 4, .length = 14};
  struct zf_decoder *d;
  int32_t id[14];
  int64_t kept, n;
  for (int i = 0; i < 14; i++) id[i] = (i * 5 + 2) % (int)m->config.vocab;
  ck_ok(zf_decoder_open(&d, m, &r));
  static const struct {
    int64_t n, from, keeps;
  } turn[] = {{6, 6, 0}, {8, 8, 6}, {8, 8, 7}, {13, 5, 5}, {14, 14, 13}, {3, 3, 2}, {12, 1, 1}};
  const struct zf_rope_conf *rope = &m->config.rope[0];
  int was = 0, far = 0;
  for (size_t i = 0; i < sizeof turn / sizeof *turn; i++, was = far) {
    for (n = turn[i].from; n < 14; n++) id[n] = (id[n] + 1) % (int)m->config.vocab;
    int64_t before = zf_decoder_read_count(d);
    ck_ok(zf_decoder_put(d, 0, id, turn[i].n, &kept));
    far = zf_rope_by_length(&m->config) && (double)turn[i].n > rope->original;
    int again = rope->kind == ZF_ROPE_DYNAMIC ? far || was : far != was;
    ck_assert_int_eq(kept, again ? 0 : turn[i].keeps);
    while (!zf_decoder_slot_logits(d, 0)) ck_ok(zf_decoder_run(d));
    ck_assert_int_eq(zf_decoder_read_count(d) - before, turn[i].n - kept);
    float *all = logits_of(m, id, turn[i].n);
    ck_assert_mem_eq(zf_decoder_slot_logits(d, 0), all + (turn[i].n - 1) * m->config.vocab,
                     sizeof *all * (size_t)m->config.vocab);
    free(all);
  }
  ck_fails(zf_decoder_put(d, 0, id, 15, NULL), ZF_EUSAGE, "longer than");
  zf_decoder_free(d);
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("decode");
  TCase *t = tcase_create("decode");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_batches, 0, NCAUSAL);
  tcase_add_loop_test(t, test_kept, 0, NCAUSAL);
  suite_add_tcase(s, t);
  return unit_run(s);
}
