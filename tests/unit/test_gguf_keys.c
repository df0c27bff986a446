/* Keys of attention and rotary embeddings of a GGUF file: logits by llama.cpp of the models of
 * tests/golden/gguf with other keys put in front of their own (make_keys.py), and every key that is
 * refused. */
#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "unit/models.h"

#define GOLDEN "tests/golden/gguf/"

static void put(struct zf_buf *b, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) zf_buf_putc(b, (char)(v >> 8 * i));
}

static void put_text(struct zf_buf *b, const char *text) {
  put(b, strlen(text), 8);
  zf_buf_puts(b, text);
}

static void put_value(struct zf_buf *b, const char *kind, const json_t *v) {
  float f = (float)json_number_value(v);
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  if (!strcmp(kind, "str")) {
    put(b, 8, 4);
    put_text(b, json_string_value(v));
  } else if (!strcmp(kind, "f32")) {
    put(b, 6, 4);
    put(b, bits, 4);
  } else if (!strcmp(kind, "bool")) {
    put(b, 7, 4);
    put(b, json_is_true(v), 1);
  } else {
    put(b, 4, 4);
    put(b, (uint64_t)json_integer_value(v), 4);
  }
}

/* A key of this name that is there becomes one that nobody reads. */
static void hide(char *data, size_t len, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 24; i + n < len; i++)
    if (!memcmp(data + i, name, n) && (uint8_t)data[i - 8] == n) data[i] = '_';
}

/* The model with `keys`, a list of [name behind the architecture, kind, value]. */
static const char *with_keys(const char *model, const json_t *keys) {
  char path[100], name[100], *data;
  size_t len, i;
  json_t *key;
  snprintf(path, sizeof path, GOLDEN "%s.gguf", model);
  ck_ok(zf_read_file(&data, &len, path, 1 << 24));
  struct zf_buf b = {0};
  int n = (int)strcspn(model, "-");
  const char *arch = !strncmp(model, "llama", 5) ? "llama" : model;
  json_array_foreach(keys, i, key) {
    snprintf(name, sizeof name, "%.*s.%s", arch == model ? n : 5, arch,
             json_string_value(json_array_get(key, 0)));
    hide(data, len, name);
    put_text(&b, name);
    put_value(&b, json_string_value(json_array_get(key, 1)), json_array_get(key, 2));
  }
  put_text(&b, "p"); /* the data section stays aligned */
  put(&b, 8, 4);
  put(&b, 31 - (b.len + 7) % 32, 8);
  while (b.len % 32) zf_buf_putc(&b, ' ');
  uint64_t count = (uint8_t)data[16] + json_array_size(keys) + 1; /* fewer than 256 */
  struct zf_buf out = {0};
  zf_buf_add(&out, data, 16);
  put(&out, count, 8);
  zf_buf_add(&out, b.data, b.len);
  zf_buf_add(&out, data + 24, len - 24);
  const char *to = tmp_path("keys.gguf");
  ck_assert(!out.failed && !b.failed);
  ck_ok(zf_write_file(to, out.data, out.len));
  zf_buf_free(&b);
  zf_buf_free(&out);
  free(data);
  return to;
}

static int open_with(struct zf_model **m, const char *model, const char *keys) {
  json_t *list;
  ck_ok(zf_json_parse(&list, keys, strlen(keys), "keys"));
  int rc = zf_model_open(m, with_keys(model, list), &as_stored);
  json_decref(list);
  return rc;
}

static const struct {
  const char *model, *keys, *message;
} refused[] = {
    {"llama-f16", "[[\"rope.scaling.type\", \"str\", \"ntk\"]]",
     "key 'llama.rope.scaling.type': expected none, linear, yarn or longrope, found ntk"},
    {"llama-f16", "[[\"rope.scaling.type\", \"u32\", 3]]", "found an integer"},
    {"llama-f16", "[[\"rope.scaling.factor\", \"str\", \"x\"]]",
     "key 'llama.rope.scaling.factor': expected a number, found a string"},
    {"llama-f16", "[[\"rope.scaling.factor\", \"f32\", -2.0]]",
     "expected factors above 0, found -2 and 1"},
    {"llama-f16", "[[\"rope.dimension_count\", \"u32\", 4]]",
     "key 'llama.rope.dimension_count': expected the 8 columns of a head, found 4"},
    {"phi3", "[[\"rope.dimension_count\", \"u32\", 16]]", "expected 2 to 8, found 16"},
    {"phi3", "[[\"rope.dimension_count\", \"u32\", 6]]",
     "tensor 'rope_factors_short.weight': expected a vector of 3 numbers in F32"},
    {"llama3", "[[\"rope.scaling.type\", \"str\", \"yarn\"]]",
     "yarn with tensor 'rope_freqs.weight' is not supported"},
    {"gemma2", "[[\"rope.freq_base_swa\", \"f32\", 500.0]]",
     "key 'gemma2.rope.freq_base_swa': expected the 10000 of rope.freq_base, found 500"},
    {"gemma3", "[[\"rope.scaling.attn_factor\", \"f32\", 2.0]]",
     "key 'gemma3.rope.scaling.attn_factor': 2 is not supported for gemma3"},
    {"llama-f16", "[[\"attention.clamp_kqv\", \"f32\", 1.0]]",
     "key 'llama.attention.clamp_kqv' (1.0)"},
    {"llama-f16", "[[\"attention.max_alibi_bias\", \"f32\", 8.0]]",
     "'llama.attention.max_alibi_bias' (8.0)"},
    {"llama-f16", "[[\"attention.scale\", \"f32\", 0.5]]", "'llama.attention.scale' (0.5)"},
    {"llama-f16", "[[\"attention.causal\", \"bool\", false]]", "'llama.attention.causal' (false)"},
    {"llama-f16", "[[\"attention.sliding_window\", \"u32\", 6]]",
     "'llama.attention.sliding_window' (6)"},
    {"qwen3", "[[\"attn_logit_softcapping\", \"f32\", 2.0]]",
     "'qwen3.attn_logit_softcapping' (2.0)"},
    {"llama-f16", "[[\"rope.scaling.yarn_log_multiplier\", \"f32\", 0.5]]",
     "yarn_log_multiplier' (0.5)"},
    {"llama-f16", "[[\"rope.scaling.yarn_beta_fast\", \"f32\", 8.0]]", "yarn_beta_fast' (8.0)"},
    {"llama-f16", "[[\"rope.dimension_sections\", \"u32\", 1]]",
     "'llama.rope.dimension_sections' (1) is not supported: llama.cpp does not read it for llama"},
    {"llama-f16", "[[\"expert_count\", \"u32\", 8]]", "'llama.expert_count' (8)"},
};

START_TEST(test_refused) {
  struct zf_model *m;
  begin_kernels();
  ck_fails(open_with(&m, refused[_i].model, refused[_i].keys), ZF_EINVALID, refused[_i].message);
}
END_TEST

/* Cases of keys.json that are refused here, although llama.cpp takes them: it leaves the key unread, or
 * config.json has no words for it. */
static int may_refuse(const char *name) {
  static const char *const names[] = {"yarn_log",     "yarn_beta", "freqs_yarn", "gemma2_local",
                                      "llama_window", "clamp",     "alibi",      "scale",
                                      "causal",       "cap"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i], name)) return 1;
  return 0;
}

/* The largest difference of the last token's logits. */
static double distance(const struct zf_model *m, const json_t *list, const json_t *want) {
  int32_t ids[64];
  size_t n = json_array_size(list);
  double worst = 0;
  ck_assert_uint_le(n, 64);
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
  float *got = logits_of(m, ids, (int64_t)n), *last = got + (int64_t)(n - 1) * m->config.vocab;
  for (int64_t i = 0; i < m->config.vocab; i++)
    worst = fmax(worst, fabs((double)last[i] - json_number_value(json_array_get(want, (size_t)i))));
  free(got);
  return worst;
}

/* As with Transformers 2e-4; Gemma's GELU is a table of F16 in llama.cpp, each of its values off by up
 * to 2^-11 of itself: some thousandths of logits of the size of 4. */
START_TEST(test_by_llama_cpp) {
  json_t *root, *row;
  const char *name;
  int taken = 0;
  begin_kernels();
  ck_ok(zf_json_load(&root, GOLDEN "keys.json"));
  json_object_foreach(json_object_get(root, "cases"), name, row) {
    const json_t *want = json_object_get(row, "logits");
    const char *model = json_string_value(json_object_get(row, "model"));
    struct zf_model *m;
    int rc = zf_model_open(&m, with_keys(model, json_object_get(row, "keys")), &as_stored);
    ck_assert_msg(!rc == !(json_is_null(want) || may_refuse(name)), "%s: %s", name,
                  rc ? zf_error_message() : "taken");
    if (rc) continue;
    double far = distance(m, json_object_get(root, "ids"), want);
    printf("%-14s from llama.cpp %.2g\n", name, far);
    ck_assert_msg(far <= (strncmp(model, "gemma", 5) ? 2e-4 : 4e-3), "%s: %g", name, far);
    taken++;
    zf_model_free(m);
  }
  ck_assert_int_ge(taken, 24);
  json_decref(root);
}
END_TEST

/* Values that change nothing are taken. */
START_TEST(test_neutral) {
  static const char *const keys =
      "[[\"attention.clamp_kqv\", \"f32\", 0.0], [\"attention.causal\", \"bool\", true],"
      " [\"rope.scaling.yarn_beta_fast\", \"f32\", 32.0], [\"rope.scaling.finetuned\", \"bool\", "
      "true],"
      " [\"logit_scale\", \"f32\", 1.0], [\"attention.sliding_window\", \"u32\", 0]]";
  struct zf_model *m;
  begin_kernels();
  ck_ok(open_with(&m, "llama-f16", keys));
  ck_assert_int_eq(m->config.rope[0].kind, ZF_ROPE_PLAIN);
  zf_model_free(m);
}
END_TEST

/* A weight that the architecture does not have: qwen3's norms of queries in a llama file. */
START_TEST(test_other_weight) {
  struct zf_model *m;
  size_t len;
  char *data;
  const char *to = tmp_path("other.gguf");
  ck_ok(zf_read_file(&data, &len, GOLDEN "qwen3.gguf", 1 << 24));
  for (size_t i = 0; i + 5 < len; i++)
    if (!memcmp(data + i, "qwen3", 5)) memcpy(data + i, "llama", 5);
  ck_ok(zf_write_file(to, data, len));
  ck_fails(zf_model_open(&m, to, &as_stored), ZF_EINVALID,
           "other.gguf: tensor 'blk.0.attn_k_norm.weight' is not part of the "
           "architecture");
  free(data);
}
END_TEST

int main(void) {
  Suite *s = suite_create("gguf_keys");
  TCase *t = tcase_create("gguf_keys");
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_refused, 0, sizeof refused / sizeof *refused);
  tcase_add_test(t, test_by_llama_cpp);
  tcase_add_test(t, test_neutral);
  tcase_add_test(t, test_other_weight);
  suite_add_tcase(s, t);
  return unit_run(s);
}
