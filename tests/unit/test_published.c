/* Well-known checkpoints as they are published, recreated round small random weights
 * (tests/golden/published): each directory is opened, and its token ids, special tokens, end tokens
 * and logits are those of Transformers; so are those of what is saved from it. */
#include <jansson.h>

#include "base/file.h"
#include "eval/generate.h"
#include "fmt/json.h"
#include "text/tokenizer.h"
#include "unit/models.h"

#define PUBLISHED "tests/golden/published/"

/* Transformers' f32 logits are themselves up to 3e-5 away from its f64 ones (versions.json). */
static const double LOGITS = 2e-4;

struct published {
  const char *name;
  const char *refused; /* part of the message; NULL: it is opened */
};

/* What zoft refuses, and why: heads for other tasks, attention to both sides in a decoder's shape,
 * a classifier of the mean of all tokens. */
static const struct published refusals[] = {
    {"dslim/bert-base-NER", "the checkpoint has no masked-LM head"},
    {"deepset/roberta-base-squad2", "the checkpoint has no masked-LM head"},
    {"google/embeddinggemma-300m",
     "key 'use_bidirectional_attention' is not supported for gemma3_text"},
    {"Alibaba-NLP/gte-reranker-modernbert-base",
     "key 'classifier_pooling': expected \"cls\", the first token, found mean"},
    {NULL, NULL}};

/* An encoder without a head gives its last hidden states. */
static const struct zf_model_opts with_or_without = {.dtype = -1, .headless = 1};

static json_t *versions;
static const char *names[128];
static int ncheckpoints;

static void list_checkpoints(void) {
  json_t *rows, *row;
  const char *name;
  if (zf_json_load(&versions, PUBLISHED "versions.json")) abort();
  rows = json_object_get(versions, "checkpoints");
  if (json_object_size(rows) > sizeof names / sizeof *names) abort();
  json_object_foreach(rows, name, row) names[ncheckpoints++] = name;
}

static json_t *open_golden(const char *name) {
  char path[256];
  json_t *golden;
  snprintf(path, sizeof path, PUBLISHED "goldens/%s.json", name);
  ck_ok(zf_json_load(&golden, path));
  return golden;
}

static const char *refusal_of(const char *name) {
  for (size_t i = 0; refusals[i].name; i++)
    if (!strcmp(refusals[i].name, name)) return refusals[i].refused;
  return NULL;
}

/* --- tokens --- */

static void print_ids(struct zf_buf *out, const int32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++) zf_buf_printf(out, " %d", ids[i]);
}

static void check_ids(const char *name, const json_t *want, const int32_t *ids, int64_t n,
                      const char *what) {
  struct zf_buf message = {0};
  int same = (int64_t)json_array_size(want) == n;
  for (int64_t i = 0; same && i < n; i++)
    same = json_integer_value(json_array_get(want, (size_t)i)) == ids[i];
  if (!same) {
    char *text = json_dumps(want, JSON_COMPACT);
    zf_buf_printf(&message, "%s: %s:", name, what);
    print_ids(&message, ids, n);
    zf_buf_printf(&message, "; not %s", text);
    free(text);
  }
  ck_assert_msg(same, "%s", message.data);
  zf_buf_free(&message);
}

static void check_text(const char *name, const struct zf_tok *t, const json_t *row,
                       unsigned flags) {
  const char *text = json_string_value(json_array_get(row, 0));
  size_t len = json_string_length(json_array_get(row, 0));
  struct zf_ids ids = {0};
  ck_ok(zf_tok_encode(t, &ids, text, len, flags));
  check_ids(name, json_array_get(row, flags & ZF_ENC_SPECIAL ? 1 : 2), ids.id, ids.count, text);
  zf_ids_free(&ids);
}

/* Where the tokenizer names none, zoft goes on to the model's files. */
static void check_special(const char *name, const struct zf_tok *t, const json_t *golden,
                          const char *key, enum zf_special which) {
  const json_t *want = json_object_get(golden, key);
  struct zf_special_token got = zf_tok_special(t, which);
  if (json_is_null(want) && got.id >= 0) {
    ck_assert_msg(strstr(got.source, "config.json") && !strstr(got.source, "tokenizer_config"),
                  "%s: %s is %d, of %s; Transformers has none", name, key, got.id, got.source);
    return;
  }
  int32_t id = json_is_null(want) ? -1 : (int32_t)json_integer_value(want);
  ck_assert_msg(got.id == id, "%s: %s is %d of %s, not %d", name, key, got.id,
                got.source ? got.source : "nothing", id);
}

static void check_tokens(const char *name, const struct zf_tok *t, const json_t *golden) {
  json_t *row;
  size_t i;
  json_array_foreach(json_object_get(golden, "texts"), i, row) {
    check_text(name, t, row, ZF_ENC_SPECIAL);
    check_text(name, t, row, 0);
  }
  ck_assert_uint_ge(i, 8);
  check_special(name, t, golden, "bos", ZF_BOS);
  check_special(name, t, golden, "eos", ZF_EOS);
  check_special(name, t, golden, "pad", ZF_PAD);
}

static void check_directory(const char *name, const char *dir, const json_t *golden) {
  struct zf_tok *t;
  ck_ok(zf_tok_open(&t, dir));
  check_tokens(name, t, golden);
  zf_tok_free(t);
}

START_TEST(test_tokens) {
  char dir[256];
  json_t *golden = open_golden(names[_i]);
  snprintf(dir, sizeof dir, PUBLISHED "checkpoints/%s", names[_i]);
  if (!json_object_get(golden, "no_tokenizer")) check_directory(names[_i], dir, golden);
  json_decref(golden);
}
END_TEST

/* --- logits --- */

static double check_rows(const char *name, const float *got, const struct zf_st_tensor *want,
                         int sequence) {
  double worst = 0;
  for (int64_t i = 0; i < want->count; i++) {
    float w;
    memcpy(&w, want->data + 4 * i, 4);
    double d = fabs((double)got[i] - (double)w);
    ck_assert_msg(d <= LOGITS, "%s: sequence %d, logit %lld: %g, not %g", name, sequence,
                  (long long)i, (double)got[i], (double)w);
    if (d > worst) worst = d;
  }
  return worst;
}

/* The rows that a model without a head ends in, [n][hidden]; the caller frees. */
static float *hidden_of(const struct zf_model *m, int32_t *id, int64_t n) {
  struct zf_forward *f = make_forward(m, n, n, 1, n, 1);
  struct zf_perturb none = zf_perturb_none();
  struct zf_segment seg = {.len = n};
  int32_t pos[16];
  for (int32_t i = 0; i < n; i++) pos[i] = i;
  struct zf_batch b = {
      .T = n, .id = id, .pos = pos, .segment_count = 1, .segment = &seg, .R = n, .row = pos};
  size_t size = sizeof(float) * (size_t)(n * m->config.hidden);
  float *out = zf_malloc(size);
  ck_assert_ptr_nonnull(out);
  ck_ok(zf_forward_run(f, &b, &none));
  memcpy(out, zf_forward_register(f, ZF_REG_F), size);
  zf_forward_free(f);
  return out;
}

static double check_sequence(const struct zf_model *m, const char *name, const json_t *list,
                             const struct zf_st_tensor *want, int sequence) {
  int64_t n = (int64_t)json_array_size(list), from = 0;
  int32_t ids[16];
  ck_assert(n >= 1 && n <= 16);
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  if (m->config.classify && !m->config.family->classify.first) from = n - 1;
  int64_t width = m->config.headless ? m->config.hidden : m->config.outputs;
  ck_assert_int_eq(want->count, (m->config.classify ? 1 : n) * width);
  float *all = m->config.headless ? hidden_of(m, ids, n) : logits_of(m, ids, n);
  double worst = check_rows(name, all + from * width, want, sequence);
  free(all);
  return worst;
}

static double check_logits(const struct zf_model *m, const char *name, const json_t *golden) {
  char path[256], key[32];
  struct zf_st *st;
  json_t *list;
  double worst = 0;
  size_t i;
  snprintf(path, sizeof path, PUBLISHED "goldens/%s.safetensors", name);
  ck_ok(zf_st_open(&st, path));
  json_array_foreach(json_object_get(golden, "sequences"), i, list) {
    snprintf(key, sizeof key, "logits.%d", (int)i);
    const struct zf_st_tensor *want = zf_st_find(st, key);
    ck_assert_ptr_nonnull(want);
    double d = check_sequence(m, name, list, want, (int)i);
    if (d > worst) worst = d;
  }
  ck_assert_uint_eq(i, 2);
  zf_st_free(st);
  return worst;
}

static void check_ends(const struct zf_model *m, const char *name, const json_t *golden) {
  const json_t *want = json_object_get(golden, "ends");
  struct zf_ids ends = {0};
  struct zf_tok *t;
  if (!json_array_size(want) || json_object_get(golden, "no_tokenizer")) return;
  ck_ok(zf_tok_open(&t, m->dir));
  ck_ok(zf_generation_ends(&ends, m, t));
  check_ids(name, want, ends.id, ends.count, "end tokens");
  zf_ids_free(&ends);
  zf_tok_free(t);
}

START_TEST(test_logits) {
  const char *refused = refusal_of(names[_i]);
  char dir[256];
  struct zf_model *m;
  json_t *golden = open_golden(names[_i]);
  snprintf(dir, sizeof dir, PUBLISHED "checkpoints/%s", names[_i]);
  if (refused) {
    ck_fails(zf_model_open(&m, dir, &as_stored), ZF_EINVALID, refused);
  } else {
    m = open_model(dir, &with_or_without);
    double worst = check_logits(m, names[_i], golden);
    if (getenv("CK_VERBOSE")) printf("%-60s %.2g\n", names[_i], worst);
    check_ends(m, names[_i], golden);
    zf_model_free(m);
  }
  json_decref(golden);
}
END_TEST

/* --- what is written --- */

/* Saved as it is and opened again: the same tokens, ends and logits. */
START_TEST(test_saved) {
  const char *name = names[_i];
  char dir[256];
  json_t *golden = open_golden(name);
  snprintf(dir, sizeof dir, PUBLISHED "checkpoints/%s", name);
  if (!refusal_of(name)) {
    struct zf_model *m = open_model(dir, &with_or_without), *saved;
    char own[16];
    snprintf(own, sizeof own, "saved-%d", _i);
    const char *to = tmp_path(own);
    ck_ok(zf_mkdirs(to));
    ck_ok(zf_model_save(m, to, -1, NULL, 0));
    zf_model_free(m);
    saved = open_model(to, &with_or_without);
    check_logits(saved, name, golden);
    check_ends(saved, name, golden);
    if (!json_object_get(golden, "no_tokenizer")) check_directory(name, to, golden);
    zf_model_free(saved);
  }
  json_decref(golden);
}
END_TEST

START_TEST(test_number) {
  ck_assert_int_ge(ncheckpoints, 90);
}
END_TEST

int main(void) {
  Suite *s = suite_create("published");
  TCase *t = tcase_create("published");
  begin_kernels();
  list_checkpoints();
  tcase_set_timeout(t, 300);
  tcase_add_test(t, test_number);
  tcase_add_loop_test(t, test_tokens, 0, ncheckpoints);
  tcase_add_loop_test(t, test_logits, 0, ncheckpoints);
  tcase_add_loop_test(t, test_saved, 0, ncheckpoints);
  suite_add_tcase(s, t);
  int status = unit_run(s);
  json_decref(versions);
  return status;
}
