/* The forward pass against others: Transformers' logits of tiny random checkpoints of every
 * family (tests/golden/families), and the reference values of small trained models, which are
 * not part of the repository ($ZOFT_SHARED/models, else ../shared/models). */
#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "eval/decode.h"
#include "fmt/json.h"
#include "unit/models.h"

/* Transformers' f32 logits are themselves up to 1.4e-5 away from its f64 ones (versions.json). */
static const double LOGITS = 2e-4;

static double largest_difference(const struct zf_model *m, const struct zf_st *golden) {
  double worst = 0;
  for (int k = 0;; k++) {
    char name[32];
    snprintf(name, sizeof name, "ids.%d", k);
    const struct zf_st_tensor *t = zf_st_find(golden, name);
    if (!t) break;
    float raw[64];
    int32_t ids[64];
    ck_assert_int_le(t->count, 64);
    memcpy(raw, t->data, t->bytes);
    for (int64_t i = 0; i < t->count; i++) ids[i] = (int32_t)raw[i];
    snprintf(name, sizeof name, "logits.%d", k);
    const struct zf_st_tensor *want = zf_st_find(golden, name);
    int64_t V = m->config.outputs, rows = m->config.classify ? 1 : t->count;
    int64_t from = m->config.classify && !m->config.family->classify.first ? t->count - 1 : 0;
    ck_assert_int_eq(want->count, rows * V);
    float *all = logits_of(m, ids, t->count), *got = all + from * V;
    for (int64_t i = 0; i < want->count; i++) {
      float w;
      memcpy(&w, want->data + 4 * i, 4);
      double d = fabs((double)got[i] - (double)w);
      ck_assert_msg(d <= LOGITS, "%s: prompt %d, logit %lld: %g, not %g", m->dir, k, (long long)i,
                    (double)got[i], (double)w);
      if (d > worst) worst = d;
    }
    free(all);
  }
  return worst;
}

START_TEST(test_family) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_st *golden;
  char path[256];
  snprintf(path, sizeof path, FAMILIES_DIR "%s/golden.safetensors", families[_i]);
  ck_ok(zf_st_open(&golden, path));
  double worst = largest_difference(m, golden);
  if (getenv("CK_VERBOSE"))
    printf("%-14s largest difference of a logit from Transformers %.2g\n", families[_i], worst);
  zf_st_free(golden);
  zf_model_free(m);
}
END_TEST

/* Tokens through the key-value cache, past the window. */
START_TEST(test_greedy) {
  struct zf_model *m = open_family(_i, NULL, -1);
  struct zf_st *golden;
  char path[256];
  snprintf(path, sizeof path, FAMILIES_DIR "%s/golden.safetensors", families[_i]);
  ck_ok(zf_st_open(&golden, path));
  const struct zf_st_tensor *t = zf_st_find(golden, "greedy"),
                            *prompt = zf_st_find(golden, "ids.2");
  if (t) {
    struct zf_decoder *d;
    struct zf_sampling s = {.top_p = 1};
    float raw[64];
    int32_t ids[64], next;
    ck_assert(t->count <= 64 && prompt->count < t->count);
    memcpy(raw, t->data, t->bytes);
    for (int64_t i = 0; i < t->count; i++) ids[i] = (int32_t)raw[i];
    ck_ok(zf_decoder_new(&d, m, prompt->count, t->count, ZF_COMPUTE_F32));
    ck_ok(zf_decoder_begin(d, ids, prompt->count));
    for (int64_t i = prompt->count; i < t->count; i++) {
      ck_ok(zf_decoder_next(d, &s, &next));
      ck_assert_int_eq(next, ids[i]);
    }
    zf_decoder_free(d);
  }
  zf_st_free(golden);
  zf_model_free(m);
}
END_TEST

/* Transformers' texts to the last position, with and without a penalty (greedy.json; every step leads
 * by 1e-3, which is more than twice LOGITS, 1.3 times for the penalty): past windows, and across the
 * original length of longrope, llama3, yarn and dynamic scaling. */
static void check_text(const struct zf_model *m, const json_t *row) {
  const json_t *ids = json_object_get(row, "ids");
  struct zf_sampling s = {.top_p = 1};
  int64_t n = (int64_t)json_array_size(ids),
          prompt = json_integer_value(json_object_get(row, "prompt"));
  int32_t id[64], next;
  struct zf_decoder *d;
  ck_assert(n <= 64 && prompt < n);
  s.repetition = json_number_value(json_object_get(row, "repetition_penalty"));
  for (int64_t i = 0; i < n; i++)
    id[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
  ck_ok(zf_decoder_new(&d, m, 4, n, ZF_COMPUTE_F32));
  ck_ok(zf_decoder_begin(d, id, prompt));
  for (int64_t i = prompt; i < n; i++) {
    ck_ok(zf_decoder_next(d, &s, &next));
    ck_assert_msg(next == id[i], "%s: token %lld is %d, not %d", m->dir, (long long)i, next, id[i]);
  }
  zf_decoder_free(d);
}

START_TEST(test_greedy_texts) {
  struct zf_model *m = open_family(_i, NULL, -1);
  json_t *all;
  ck_ok(zf_json_load(&all, FAMILIES_DIR "greedy.json"));
  const json_t *rows = json_object_get(json_object_get(all, "families"), families[_i]);
  ck_assert_uint_eq(json_array_size(rows), 4);
  for (size_t i = 0; i < 4; i++) check_text(m, json_array_get(rows, i));
  json_decref(all);
  zf_model_free(m);
}
END_TEST

/* Shares after Transformers' logits processors (tests/golden/sampling).  Both divide logits in f32;
 * its softmax is in f32: an exponent rounded at |x| < 64 (2^-19), an exponential of 2 ULP, a sum of 40
 * terms (2^-18.7): below 2^-17 of a share in all.  Which are kept is exact; of equal ones at the
 * end of top-p Transformers keeps some (its sort is not stable) and zoft the first, as many. */
static void check_shares(const json_t *row, int64_t *kept) {
  struct zf_sampling s = {.temperature = 1, .top_p = 1};
  const json_t *x = json_object_get(row, "logits"), *past = json_object_get(row, "past"),
               *want = json_object_get(row, "shares"), *v;
  int64_t V = (int64_t)json_array_size(x), n = (int64_t)json_array_size(past);
  struct zf_sampler *p;
  const struct zf_token_candidate *c;
  float logits[64];
  int32_t seen[64];
  double got[64] = {0};
  ck_assert(V <= 64 && n <= 64);
  if ((v = json_object_get(row, "temperature"))) s.temperature = json_number_value(v);
  if ((v = json_object_get(row, "top_p"))) s.top_p = json_number_value(v);
  if ((v = json_object_get(row, "min_p"))) s.min_p = json_number_value(v);
  s.top_k = json_integer_value(json_object_get(row, "top_k"));
  s.repetition = json_number_value(json_object_get(row, "repetition_penalty"));
  for (int64_t i = 0; i < V; i++)
    logits[i] = (float)json_number_value(json_array_get(x, (size_t)i));
  for (int64_t i = 0; i < n; i++)
    seen[i] = (int32_t)json_integer_value(json_array_get(past, (size_t)i));
  ck_ok(zf_sampler_new(&p, V));
  if (s.repetition > 0) ck_ok(zf_sampler_penalise(logits, seen, n, s.repetition));
  int64_t m = zf_sampler_shares(p, logits, &s, &c);
  for (int64_t i = 0; i < m; i++) got[c[i].id] = c[i].share;
  for (int64_t i = 0; i < V; i++) {
    double a = 0, b = 0;
    for (int64_t j = 0; j < V; j++) {
      if (logits[j] != logits[i]) continue;
      a += got[j];
      b += json_number_value(json_array_get(want, (size_t)j));
    }
    ck_assert_msg(fabs(a - b) <= b * 0x1p-17 + 1e-38, "those like token %lld: %g, not %g",
                  (long long)i, a, b);
  }
  *kept += m;
  zf_sampler_free(p);
}

START_TEST(test_shares) {
  json_t *all, *row;
  size_t i;
  int64_t kept = 0;
  ck_ok(zf_json_load(&all, "tests/golden/sampling/golden.json"));
  json_array_foreach(json_object_get(all, "cases"), i, row) check_shares(row, &kept);
  ck_assert(i > 40 && kept > 40);
  json_decref(all);
}
END_TEST

/* What was saved must load, and mean the same, in every dtype it can be held in. */
START_TEST(test_held_as_f32) {
  struct zf_model *a = open_family(_i, NULL, -1), *b = open_family(_i, "*", ZF_F32);
  int32_t ids[5] = {3, 1, 4, 1, 5};
  float *x = logits_of(a, ids, 5), *y = logits_of(b, ids, 5);
  ck_assert_mem_eq(x, y, sizeof *x * 5 * (size_t)a->config.outputs);
  free(x);
  free(y);
  zf_model_free(a);
  zf_model_free(b);
}
END_TEST

static void check_old_spelling(const char *family) {
  struct zf_config now, old;
  char path[256], *text;
  size_t len;
  snprintf(path, sizeof path, FAMILIES_DIR "%s", family);
  ck_ok(zf_config_load(&now, path));
  snprintf(path, sizeof path, FAMILIES_DIR "%s/config-old.json", family);
  ck_ok(zf_read_file(&text, &len, path, 1 << 20));
  ck_ok(zf_config_parse(&old, text, len, path));
  free(text);
  ck_assert_int_eq(now.rope[0].kind, old.rope[0].kind);
  ck_assert_double_eq(now.rope[0].theta, old.rope[0].theta);
  ck_assert_double_eq(now.rope[0].factor, old.rope[0].factor);
  ck_assert_double_eq(now.rope[0].low, old.rope[0].low);
  ck_assert_double_eq(now.rope[0].high, old.rope[0].high);
  ck_assert_double_eq(now.rope[0].original, old.rope[0].original);
}

START_TEST(test_old_spelling) {
  check_old_spelling("llama");
  check_old_spelling("llama3-bias");
}
END_TEST

/* --- trained models --- */

static const char *const shared[] = {"gpt2-minigpt-char54",     "gpt2-tiny-hf-format",
                                     "llama-babyllama-char105", "llama-imdb-4.6m",
                                     "llama-stories260k",       "opt-minigpt-char54"};
enum { NSHARED = sizeof shared / sizeof *shared };

static int32_t *ids_of(const json_t *list, int64_t *n) {
  *n = (int64_t)json_array_size(list);
  int32_t *id = zf_calloc(*n, sizeof *id);
  ck_assert_ptr_nonnull(id);
  for (int64_t i = 0; i < *n; i++)
    id[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  return id;
}

/* The NLL of each token, by the log-normaliser that losses are made with. */
static double check_nll(const struct zf_model *m, const json_t *eval) {
  const json_t *want = json_object_get(eval, "nll_per_token_fp64");
  int64_t n;
  int32_t *id = ids_of(json_object_get(eval, "ids"), &n);
  struct zf_forward *f = make_forward(m, n - 1, n - 1, 1, n - 1, 1);
  struct zf_perturb none = zf_perturb_none();
  struct zf_segment seg = {.len = n - 1};
  int32_t place[n];
  double lse[n], logit[n], worst = 0;
  for (int64_t i = 0; i < n; i++) place[i] = (int32_t)i;
  struct zf_batch b = {.T = n - 1,
                       .id = id,
                       .pos = place,
                       .segment_count = 1,
                       .segment = &seg,
                       .R = n - 1,
                       .row = place};
  ck_ok(zf_forward_run(f, &b, &none));
  zf_forward_lse(f, id + 1, lse, logit);
  ck_assert_int_eq((int64_t)json_array_size(want), n - 1);
  for (int64_t i = 0; i < n - 1; i++) {
    double d = fabs(lse[i] - logit[i] - json_number_value(json_array_get(want, (size_t)i)));
    ck_assert_msg(d <= 1e-4, "token %lld: NLL %.6f", (long long)i, lse[i] - logit[i]);
    if (d > worst) worst = d;
  }
  zf_forward_free(f);
  free(id);
  return worst;
}

static double check_prompt(const struct zf_model *m, const json_t *p) {
  const json_t *top = json_object_get(p, "top5_ids"), *l = json_object_get(p, "top5_logits_fp64");
  const json_t *greedy = json_object_get(p, "greedy_ids");
  int64_t n;
  int32_t *id = ids_of(json_object_get(p, "ids"), &n), next;
  struct zf_decoder *d;
  struct zf_sampling s = {.top_p = 1};
  double worst = 0;
  ck_ok(zf_decoder_new(&d, m, n, n + (int64_t)json_array_size(greedy), ZF_COMPUTE_F32));
  ck_ok(zf_decoder_begin(d, id, n));
  for (size_t i = 0; i < json_array_size(top); i++) {
    double got = (double)zf_decoder_logits(d)[json_integer_value(json_array_get(top, i))];
    double diff = fabs(got - json_number_value(json_array_get(l, i)));
    ck_assert_msg(diff <= 1e-4, "logit %zu of the top: %.7g", i, got);
    if (diff > worst) worst = diff;
  }
  for (size_t i = 0; i < json_array_size(greedy); i++) {
    ck_ok(zf_decoder_next(d, &s, &next));
    ck_assert_int_eq(next, json_integer_value(json_array_get(greedy, i)));
  }
  zf_decoder_free(d);
  free(id);
  return worst;
}

START_TEST(test_shared) {
  const char *root = getenv("ZOFT_SHARED");
  char dir[512], path[600];
  snprintf(dir, sizeof dir, "%s/models/%s", root ? root : "../shared", shared[_i]);
  if (!zf_is_dir(dir)) {
    printf("SKIP %s: no such directory\n", dir);
    return;
  }
  json_t *golden;
  snprintf(path, sizeof path, "%s/golden.json", dir);
  ck_ok(zf_json_load(&golden, path));
  struct zf_model *m = open_model(dir, &as_stored);
  double nll = check_nll(m, json_object_get(golden, "eval")), logit = 0;
  const json_t *prompts = json_object_get(golden, "prompts");
  for (size_t i = 0; i < json_array_size(prompts); i++) {
    double d = check_prompt(m, json_array_get(prompts, i));
    if (d > logit) logit = d;
  }
  if (getenv("CK_VERBOSE"))
    printf("%-24s largest difference: NLL %.2g, top-5 logit %.2g\n", shared[_i], nll, logit);
  zf_model_free(m);
  json_decref(golden);
}
END_TEST

int main(void) {
  Suite *s = suite_create("golden");
  TCase *t = tcase_create("golden");
  begin_kernels();
  tcase_set_timeout(t, 300);
  tcase_add_loop_test(t, test_family, 0, NFAMILIES);
  tcase_add_loop_test(t, test_greedy, 0, NCAUSAL);
  tcase_add_loop_test(t, test_greedy_texts, 0, NCAUSAL);
  tcase_add_test(t, test_shares);
  tcase_add_loop_test(t, test_held_as_f32, 0, NFAMILIES);
  tcase_add_test(t, test_old_spelling);
  tcase_add_loop_test(t, test_shared, 0, NSHARED);
  suite_add_tcase(s, t);
  return unit_run(s);
}
