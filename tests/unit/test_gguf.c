/* GGUF: every rule of the format by a made file that breaks it; blocks by the `gguf` package, models
 * and tokens by llama.cpp (tests/golden/gguf/make_gguf.py); tokenizers against the tokenizer.json
 * that they were made from. */
#include "unit/models.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "eval/generate.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "model/gguf_model.h"
#include "text/text_internal.h"

#define GOLDEN "tests/golden/gguf/"

/* --- made files ------------------------------------------------------------------------------ */

/* What a made file holds: words of a little language, one letter each with its operand.
 *   w N  u32      l N  u64      s TEXT  string      b N  byte      p N  zeros up to a multiple of N */
static struct zf_buf make_file(const char *words) {
  struct zf_buf b = {0};
  char kind, operand[200];
  int n;
  for (const char *p = words; sscanf(p, " %c%199s%n", &kind, operand, &n) == 2; p += n) {
    uint64_t v = strtoull(operand, NULL, 0);
    int bytes = kind == 'w' ? 4 : kind == 'l' || kind == 's' ? 8 : kind == 'b' ? 1 : 0;
    if (kind == 's') v = strlen(operand);
    for (int i = 0; i < bytes; i++) zf_buf_putc(&b, (char)(v >> 8 * i));
    if (kind == 's') zf_buf_puts(&b, operand);
    while (kind == 'p' && b.len % v) zf_buf_putc(&b, 0);
    if (kind == 'm') zf_buf_puts(&b, operand);
  }
  return b;
}

#define HEAD(tensors, keys) "mGGUF w3 l" #tensors " l" #keys " "
#define F32_OF(name, n, offset) "s" name " w1 l" #n " w0 l" #offset " "

static const struct {
  const char *words, *message;
} broken[] = {
    {"mGG", "t.gguf: byte 0: ends at byte 2 where 4 more were expected at byte 0"},
    {"mGGML w3 l0 l0", "t.gguf: byte 4: expected the bytes GGUF: not a GGUF file"},
    {"mGGUF w1 l0 l0", "t.gguf: byte 8: version 1: supported are 2 and 3"},
    {"mGGUF w0x3000000 l0 l0", "version 50331648"},
    {"mGGUF w3 l0", "byte 16: ends at byte 16"},
    {HEAD(1, 0), "1 tensors and 0 keys do not fit the 0 bytes that follow"},
    {HEAD(0, 0x4000000000000000), "4611686018427387904 keys do not fit"},
    {HEAD(0, 1) "l0x7fffffffffff b0 b0 b0 b0", "a string of 140737488355327 bytes, more than"},
    {HEAD(0, 1) "l9 b0 b0 b0 b0", "byte 32: ends at byte 36 where 9 more"},
    {HEAD(0, 1) "l0 w4 w1", "a key that is empty or holds a zero byte"},
    {HEAD(0, 1) "l1 b0 w4 w1", "a key that is empty or holds a zero byte"},
    {HEAD(0, 1) "l1 b255 w4 w1", "a string of 1 bytes is not UTF-8"},
    {HEAD(0, 2) "sk w4 w1 sk w4 w1", "byte 50: key 'k' appears twice"},
    {HEAD(0, 1) "skk w13 w1", "key 'kk' has the unknown type 13"},
    {HEAD(0, 1) "skk w7 b2 b0 b0", "key 'kk': a bool of value 2: expected 0 or 1"},
    {HEAD(0, 1) "skk w6 w0x7fc00000", "key 'kk': a number that is not finite"},
    {HEAD(0, 1) "skk w12 l0x7ff0000000000000", "key 'kk': a number that is not finite"},
    {HEAD(0, 1) "skk w10 l0x8000000000000000", "the number 9223372036854775808 is above 2^63 - 1"},
    {HEAD(0, 1) "skk w8 l1 b200", "key 'kk': a string of 1 bytes is not UTF-8"},
    {HEAD(0, 1) "skk w9 w9 l1 w4 l0", "key 'kk': an array of elements of type 9"},
    {HEAD(0, 1) "skk w9 w4 l3 w1 w2",
     "an array of 3 elements: 16777216 are allowed, 8 bytes follow"},
    {HEAD(0, 1) "skk w9 w0 l0xffffffffffffffff w1", "an array of 18446744073709551615 elements"},
    {HEAD(0, 1) "skk w9 w8 l1 l7 b0", "key 'kk': ends at byte"},
    {HEAD(0, 1) "sgeneral.alignment w4 w24", "general.alignment: expected a power of two"},
    {HEAD(0, 1) "sgeneral.alignment w8 sx", "general.alignment: expected a power of two"},
    {HEAD(1, 0) "l0 w1 l4 w0 l0 p32 l0 l0", "a tensor's name of 0 bytes: expected 1 to 63"},
    {HEAD(1, 0) "s0123456789012345678901234567890123456789012345678901234567890123 w1 l4 w0 l0",
     "a tensor's name of 64 bytes"},
    {HEAD(1, 0) "st w5 l1 l1 l1 l1 l1 w0 l0", "tensor 't': has 5 dimensions, more than the 4"},
    {HEAD(1, 0) "st w2 l0x100000000 l0x100000000 w0 l0", "the product of its shape overflows"},
    {HEAD(1, 0) "st w1 l0x8000000000000000 w0 l0", "the product of its shape overflows"},
    {HEAD(1, 0) "st w1 l0x7ffffffffffffff0 w0 l0", "tensor 't': its size overflows"},
    {HEAD(1, 0) "st w1 l4 w4 l0", "tensor 't': unknown type 4"},
    {HEAD(1, 0) "st w2 l48 l2 w8 l0", "its rows of 48 values are no whole blocks of 32 (Q8_0)"},
    {HEAD(1, 0) F32_OF("t", 4, 32) "p32 l0 l0",
     "its offset is 32, but the tensor before it ends at 0"},
    {HEAD(2, 0) F32_OF("t", 4, 0) F32_OF("u", 4, 16) "p32 l0 l0 l0 l0 l0 l0 l0 l0",
     "tensor 'u': its offset is 16, but the tensor before it ends at 32"},
    {HEAD(2, 0) F32_OF("t", 4, 0) F32_OF("t", 4, 32) "p32 l0 l0 l0 l0 l0 l0 l0 l0",
     "tensor 't' is also in"},
    {HEAD(1, 0) F32_OF("t", 4, 0) "p32 l0",
     "tensor 't' takes 16 bytes from byte 64 on, but the file ends at 72"},
    {HEAD(1, 0) F32_OF("t", 4, 0), "but the file ends at 57"},
};
enum { BROKEN = sizeof broken / sizeof *broken };

START_TEST(test_broken) {
  struct zf_gguf g;
  struct zf_buf b = make_file(broken[_i].words);
  for (int arrays = 0; arrays < 2; arrays++) {
    int rc = zf_gguf_parse(&g, b.data, b.len, "t.gguf", arrays);
    ck_assert_int_eq(rc, ZF_EINVALID);
    ck_assert_msg(!!strstr(zf_error_message(), broken[_i].message), "%s: %s", broken[_i].words,
                  zf_error_message());
    ck_assert_ptr_null(g.st);
  }
  zf_buf_free(&b);
}
END_TEST

START_TEST(test_values) {
  struct zf_gguf g;
  struct zf_buf b =
      make_file(HEAD(2, 6) "sa w1 b0xff sb w3 b0xfe b0xff sc w11 l0xfffffffffffffffd "
                           "sd w9 w5 l2 w1 w0xffffffff se w8 stext "
                           "sgeneral.alignment w4 w64 "
                           "st w2 l3 l2 w0 l0 sr w1 l32 w8 l64 p64 w0x3f800000 p64 b1 p64");
  ck_ok(zf_gguf_parse(&g, b.data, b.len, "t.gguf", 1));
  ck_assert_int_eq(json_integer_value(json_object_get(g.keys, "a")), -1);
  ck_assert_int_eq(json_integer_value(json_object_get(g.keys, "b")), -2);
  ck_assert_int_eq(json_integer_value(json_object_get(g.keys, "c")), -3);
  const json_t *d = json_object_get(g.keys, "d");
  ck_assert_int_eq(json_array_size(d), 2);
  ck_assert_int_eq(json_integer_value(json_array_get(d, 1)), -1);
  ck_assert_int_eq(g.st->metadata_count, 5);
  const struct zf_st_tensor *t = zf_st_find(g.st, "t"), *r = zf_st_find(g.st, "r");
  ck_assert_int_eq(t->ndim, 2);
  ck_assert_int_eq(t->shape[0], 2); /* outermost first */
  ck_assert_int_eq(t->shape[1], 3);
  ck_assert_int_eq(t->bytes, 24);
  ck_assert_int_eq(t->data[3], 0x3f);
  ck_assert_int_eq(r->type, ZF_Q8_0);
  ck_assert_int_eq(r->bytes, 34);
  ck_assert_int_eq(r->data - t->data, 64);
  zf_gguf_free(&g);
  zf_buf_free(&b);
}
END_TEST

/* --- blocks ---------------------------------------------------------------------------------- */

START_TEST(test_blocks) {
  static const struct {
    const char *name;
    enum zf_dtype type;
  } kinds[] = {{"Q8_0", ZF_Q8_0}, {"Q4_0", ZF_Q4_0}, {"Q4_K", ZF_Q4_K},     {"Q6_K", ZF_Q6_K},
               {"Q4_1", ZF_Q4_1}, {"Q5_0", ZF_Q5_0}, {"Q5_1", ZF_Q5_1},     {"Q2_K", ZF_Q2_K},
               {"Q3_K", ZF_Q3_K}, {"Q5_K", ZF_Q5_K}, {"IQ4_NL", ZF_IQ4_NL}, {"IQ4_XS", ZF_IQ4_XS}};
  ck_assert_uint_eq(sizeof kinds / sizeof *kinds, ZF_DTYPES_READ - ZF_DTYPES);
  struct zf_st *st;
  ck_ok(zf_st_open(&st, GOLDEN "blocks.safetensors"));
  begin_kernels();
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    char name[32];
    float got[512], fast[512];
    snprintf(name, sizeof name, "%s.raw", kinds[k].name);
    const struct zf_st_tensor *raw = zf_st_find(st, name);
    snprintf(name, sizeof name, "%s.f32", kinds[k].name);
    const struct zf_st_tensor *want = zf_st_find(st, name);
    ck_assert_int_eq(want->count, 512);
    ck_assert_int_eq(raw->bytes, zf_dtype_bytes(kinds[k].type, 512));
    zf_to_f32(got, raw->data, kinds[k].type, 512);
    zf_expand(fast, raw->data, kinds[k].type, 512);
    ck_assert_mem_eq(got, want->data, want->bytes);
    ck_assert_mem_eq(fast, want->data, want->bytes);
  }
  zf_st_free(st);
}
END_TEST

/* --- parts ------------------------------------------------------------------------------------ */

#define SPLIT(no, count) "ssplit.no w2 b" #no " b0 ssplit.count w2 b" #count " b0 "

static const char *write_part(const char *name, const char *words) {
  const char *path = tmp_path(name);
  struct zf_buf b = make_file(words);
  ck_ok(zf_write_file(path, b.data, b.len));
  zf_buf_free(&b);
  return path;
}

/* The first part stands for the whole; what is not right among the others is told. */
START_TEST(test_parts) {
  static const char a[] = HEAD(1, 3) "sk w4 w7 " SPLIT(0, 2) F32_OF("t", 4, 0) "p32 l1 l2";
  static const char b[] = HEAD(1, 2) SPLIT(1, 2) F32_OF("u", 4, 0) "p32 l3 l4";
  static const struct {
    const char *first, *second, *message;
    int code;
  } bad[] = {
      {a, HEAD(1, 2) SPLIT(0, 2) F32_OF("u", 4, 0) "p32 l3 l4", "expected part 2 of 2 by its keys",
       ZF_EINVALID},
      {a, HEAD(1, 2) SPLIT(1, 3) F32_OF("u", 4, 0) "p32 l3 l4", "expected part 2 of 2 by its keys",
       ZF_EINVALID},
      {a, HEAD(1, 2) SPLIT(1, 2) F32_OF("t", 4, 0) "p32 l3 l4", "tensor 't' is also in",
       ZF_EINVALID},
      {HEAD(1, 3) "ssplit.tensors.count w5 w5 " SPLIT(0, 2) F32_OF("t", 4, 0) "p32 l1 l2", b,
       "key 'split.tensors.count' is 5, but the parts hold 2 tensors", ZF_EINVALID},
      {b, b, "is part 2 of 2 of a split file: give the first one", ZF_EUSAGE},
  };
  struct zf_gguf g;
  char first[512];
  snprintf(first, sizeof first, "%s", write_part("m-00001-of-00002.gguf", a));
  ck_fails(zf_gguf_open(&g, first, 0), ZF_EUSAGE, "m-00002-of-00002.gguf: cannot open");
  write_part("m-00002-of-00002.gguf", b);
  ck_ok(zf_gguf_open(&g, first, 0));
  ck_assert_int_eq(g.st->count, 2);
  ck_assert_int_eq(g.st->file_count, 2);
  ck_assert_int_eq(zf_st_find(g.st, "t")->data[0], 1);
  ck_assert_int_eq(zf_st_find(g.st, "u")->data[0], 3);
  ck_assert_int_eq(zf_st_find(g.st, "u")->file, 1);
  zf_gguf_free(&g);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    write_part("m-00001-of-00002.gguf", bad[i].first);
    write_part("m-00002-of-00002.gguf", bad[i].second);
    ck_fails(zf_gguf_open(&g, first, 0), bad[i].code, bad[i].message);
  }
  ck_fails(zf_gguf_open(&g, write_part("other.gguf", a), 0), ZF_EUSAGE,
           "ends in -00001-of-00002.gguf");
}
END_TEST

/* --- models ---------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  int eos, f16; /* all matrices are F16 */
} models[] = {
    {"llama-f16", 2, 1}, {"llama-q8_0", 0, 0}, {"llama-q4_k_m", 2, 0}, {"llama3", 0, 0},
    {"qwen2", 0, 0},     {"qwen3", 0, 0},      {"phi3", 2, 0},         {"gemma", 2, 0},
    {"gemma2", 2, 0},    {"gemma3", 2, 0},     {"phi3-factor", 2, 0},
};
enum { MODELS = sizeof models / sizeof *models };

static json_t *golden_of(int i, json_t **root) {
  ck_ok(zf_json_load(root, GOLDEN "golden.json"));
  return json_object_get(*root, models[i].name);
}

/* The largest difference of the logits behind ids from golden[key]. */
static double distance(struct zf_model *m, const json_t *golden, const char *key) {
  const json_t *list = json_object_get(golden, "ids"), *want = json_object_get(golden, key);
  int32_t ids[512];
  size_t n = json_array_size(list);
  double worst = 0;
  ck_assert_uint_le(n, sizeof ids / sizeof *ids);
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
  float *got = logits_of(m, ids, (int64_t)n), *last = got + (int64_t)(n - 1) * m->config.vocab;
  ck_assert_int_eq(json_array_size(want), m->config.vocab);
  for (int64_t i = 0; i < m->config.vocab; i++)
    worst = fmax(worst, fabs((double)last[i] - json_real_value(json_array_get(want, (size_t)i))));
  free(got);
  return worst;
}

/* llama.cpp's logits from f32 weights are f32 sums in another order: as with Transformers 2e-4.  On
 * a file of F16 it rounds activations to F16 too: 1e-3 there. */
START_TEST(test_logits) {
  json_t *root, *golden = golden_of(_i, &root), *brief = json_object_get(golden, "short");
  char path[100];
  snprintf(path, sizeof path, GOLDEN "%s.gguf", models[_i].name);
  begin_kernels();
  struct zf_model *m = open_model(path, &as_stored);
  double worst = distance(m, golden, "logits"), own = distance(m, golden, "own");
  if (brief) worst = fmax(worst, distance(m, brief, "logits"));
  printf("%s: from llama.cpp on f32 %.2g, on the file itself %.2g\n", models[_i].name, worst, own);
  ck_assert_double_le(worst, 2e-4);
  if (models[_i].f16) ck_assert_double_le(own, 1e-3);
  zf_model_free(m);
  json_decref(root);
}
END_TEST

static int are_ids(const struct zf_ids *ids, const json_t *want) {
  int same = ids->count == (int64_t)json_array_size(want);
  for (int64_t k = 0; same && k < ids->count; k++)
    same = ids->id[k] == json_integer_value(json_array_get(want, (size_t)k));
  return same;
}

START_TEST(test_tokens) {
  json_t *root, *golden = golden_of(_i, &root), *line;
  struct zf_tok *tok;
  char path[100];
  size_t i;
  snprintf(path, sizeof path, GOLDEN "%s.gguf", models[_i].name);
  ck_ok(zf_tok_open(&tok, path));
  json_array_foreach(json_object_get(golden, "lines"), i, line) {
    const char *text = json_string_value(json_array_get(line, 0));
    const json_t *want = json_array_get(line, 1);
    struct zf_ids ids = {0};
    ck_ok(zf_tok_encode(tok, &ids, text, strlen(text), ZF_ENC_SPECIAL));
    char *dump = json_dumps(want, JSON_COMPACT);
    struct zf_buf b = {0};
    for (int64_t k = 0; k < ids.count; k++) zf_buf_printf(&b, "%d,", ids.id[k]);
    ck_assert_msg(are_ids(&ids, want), "%s: '%s': %s, not %s", models[_i].name, text,
                  b.data ? b.data : "", dump);
    free(dump);
    zf_buf_free(&b);
    zf_ids_free(&ids);
  }
  ck_assert_int_eq(zf_tok_eos(tok), models[_i].eos);
  zf_tok_free(tok);
  json_decref(root);
}
END_TEST

/* A flag for each block, as booleans or as 0 and 1; nothing else is taken for one. */
static int pattern_config(json_t **config, const char *elements) {
  char words[1000];
  const char *path = tmp_path("pattern.gguf");
  snprintf(words, sizeof words,
           HEAD(1, 8) "sgeneral.architecture w8 sgemma2 sgemma2.embedding_length w4 w8 "
                      "sgemma2.block_count w4 w2 sgemma2.attention.head_count w4 w2 "
                      "sgemma2.feed_forward_length w4 w8 sgemma2.context_length w4 w16 "
                      "sgemma2.attention.layer_norm_rms_epsilon w6 w0x358637bd "
                      "sgemma2.attention.sliding_window_pattern w9 %s "
                      "stoken_embd.weight w2 l8 l1 w0 l0 p32 l0 l0 l0 l0",
           elements);
  struct zf_buf b = make_file(words);
  ck_ok(zf_write_file(path, b.data, b.len));
  zf_buf_free(&b);
  *config = NULL;
  return zf_gguf_config(config, path);
}

START_TEST(test_pattern) {
  static const char *const good[] = {"w7 l2 b0 b1", "w4 l2 w0 w1"};
  json_t *config;
  for (int i = 0; i < 2; i++) {
    ck_ok(pattern_config(&config, good[i]));
    const json_t *types = json_object_get(config, "layer_types");
    ck_assert_uint_eq(json_array_size(types), 2);
    ck_assert_str_eq(json_string_value(json_array_get(types, 0)), "full_attention");
    ck_assert_str_eq(json_string_value(json_array_get(types, 1)), "sliding_attention");
    json_decref(config);
  }
  ck_fails(pattern_config(&config, "w4 l2 w0 w2"), ZF_EINVALID,
           "attention.sliding_window_pattern': element 1: expected true or false");
  ck_fails(pattern_config(&config, "w8 l1 sx"), ZF_EINVALID, "element 0: expected true or false");
}
END_TEST

/* What ends a turn ends a text too. */
START_TEST(test_ends) {
  struct zf_model *m = open_model(GOLDEN "qwen3.gguf", &as_stored);
  struct zf_ids ends = {0};
  struct zf_tok *tok;
  ck_ok(zf_tok_open(&tok, GOLDEN "qwen3.gguf"));
  ck_ok(zf_generation_ends(&ends, m, tok));
  zf_tok_free(tok);
  ck_assert_int_eq(ends.count, 2);
  ck_assert_int_eq(ends.id[0], 0);
  ck_assert_int_eq(ends.id[1], 7);
  zf_ids_free(&ends);
  zf_model_free(m);
}
END_TEST

/* Tokens that end a generation by a key or by their text, as llama.cpp has them
 * (tests/golden/make_gguf_ends.py). */
static void same_ends(const json_t *c) {
  json_t *keys = json_pack("{s:s, s:s, s:O, s:[]}", "tokenizer.ggml.model", "gpt2",
                           "tokenizer.ggml.pre", "gpt-2", "tokenizer.ggml.tokens",
                           json_object_get(c, "tokens"), "tokenizer.ggml.merges");
  const json_t *want = json_object_get(c, "ends");
  json_t *id, *root;
  struct zf_tok *tok;
  const char *key;
  char full[100], *text = json_dumps(c, 0);
  size_t i, hits = 0;
  json_object_foreach(json_object_get(c, "keys"), key, id) {
    snprintf(full, sizeof full, "tokenizer.ggml.%s", key);
    json_object_set(keys, full, id);
  }
  ck_ok(zf_gguf_tok_keys(&root, keys, "t.gguf"));
  ck_ok(zf_tok_build(&tok, root, NULL, "t.gguf"));
  ck_ok(zf_specials_gguf(tok, keys));
  const struct zf_ids *ends = zf_tok_end_ids(tok, NULL);
  ck_assert_msg(ends->count == (int64_t)json_array_size(want), "%lld ends: %s",
                (long long)ends->count, text);
  json_array_foreach((json_t *)want, i, id) for (int64_t k = 0; k < ends->count; k++) hits +=
      ends->id[k] == json_integer_value(id);
  ck_assert_msg(hits == json_array_size(want), "%zu: %s", hits, text);
  zf_tok_free(tok);
  json_decref(root);
  json_decref(keys);
  free(text);
}

START_TEST(test_end_texts) {
  json_t *golden, *c;
  size_t i;
  ck_ok(zf_json_load(&golden, GOLDEN "ends.json"));
  ck_assert_uint_ge(json_array_size(json_object_get(golden, "cases")), 40);
  json_array_foreach(json_object_get(golden, "cases"), i, c) same_ends(c);
  json_decref(golden);
}
END_TEST

/* Weights stay in their blocks, in the mapping but for the rows that were permuted; and are not
 * trained. */
START_TEST(test_held) {
  const char *all = "*";
  struct zf_model_opts train = {.dtype = -1, .trainable = &all, .ntrainable = 1};
  begin_kernels();
  struct zf_model *m = open_model(GOLDEN "llama-q8_0.gguf", &as_stored), *no;
  int64_t copied = 0;
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *p = &m->params.param[i];
    ck_assert_int_eq(p->type, p->ndim == 2 ? ZF_Q8_0 : ZF_F32);
    if (strstr(p->name, "q_proj") || strstr(p->name, "k_proj"))
      copied += (int64_t)zf_dtype_bytes(p->type, p->count);
  }
  ck_assert_int_eq(m->copied, copied);
  ck_assert_int_eq(m->mapped + m->copied, zf_params_bytes(&m->params, 0));
  zf_model_free(m);
  ck_assert_int_eq(zf_model_open(&no, GOLDEN "llama-q8_0.gguf", &train), ZF_EUSAGE);
  ck_assert(!!strstr(zf_error_message(), "the weights of a GGUF file cannot be trained"));
}
END_TEST

/* --- tokenizers ------------------------------------------------------------------------------ */

/* The keys that a converter writes for a byte-level tokenizer.json. */
static json_t *keys_of(const json_t *tok, const char *pre) {
  const json_t *vocab = json_object_get(json_object_get(tok, "model"), "vocab");
  json_t *tokens = json_array(), *types = json_array(), *merges = json_array(), *v, *id;
  const char *piece;
  size_t i, n = 0;
  json_object_foreach((json_t *)vocab, piece, id) if ((size_t)json_integer_value(id) >= n) n =
      (size_t)json_integer_value(id) + 1;
  json_array_foreach(json_object_get(tok, "added_tokens"), i, v) {
    size_t at = (size_t)json_integer_value(json_object_get(v, "id"));
    if (at >= n) n = at + 1;
  }
  for (i = 0; i < n; i++) {
    char unused[32];
    snprintf(unused, sizeof unused, "[UNUSED%zu]", i);
    json_array_append_new(tokens, json_string(unused));
    json_array_append_new(types, json_integer(5));
  }
  json_object_foreach((json_t *)vocab, piece, id) {
    json_array_set_new(tokens, (size_t)json_integer_value(id), json_string(piece));
    json_array_set_new(types, (size_t)json_integer_value(id), json_integer(1));
  }
  json_array_foreach(json_object_get(tok, "added_tokens"), i, v) {
    size_t at = (size_t)json_integer_value(json_object_get(v, "id"));
    json_array_set(tokens, at, json_object_get(v, "content"));
    json_array_set_new(types, at,
                       json_integer(json_is_true(json_object_get(v, "special")) ? 3 : 4));
  }
  json_array_foreach(json_object_get(json_object_get(tok, "model"), "merges"), i, v) {
    char both[200];
    snprintf(both, sizeof both, "%s %s", json_string_value(json_array_get(v, 0)),
             json_string_value(json_array_get(v, 1)));
    json_array_append_new(merges, json_is_string(v) ? json_incref(v) : json_string(both));
  }
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:i}", "tokenizer.ggml.model", "gpt2",
                   "tokenizer.ggml.pre", pre, "tokenizer.ggml.tokens", tokens,
                   "tokenizer.ggml.token_type", types, "tokenizer.ggml.merges", merges,
                   "tokenizer.ggml.bos_token_id", 0);
}

static const struct {
  const char *file, *pre;
} byte_level[] = {
    {"gpt2", "gpt-2"}, {"smollm", "smollm"}, {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}};

START_TEST(test_pre) {
  json_t *root, *made = NULL, *line, *text;
  char path[100];
  size_t i, lines = 0;
  snprintf(path, sizeof path, "tests/golden/tokenizers/%s.json", byte_level[_i].file);
  ck_ok(zf_json_load(&root, path));
  json_t *keys = keys_of(json_object_get(root, "tokenizer"), byte_level[_i].pre);
  ck_ok(zf_gguf_tok_keys(&made, keys, "t.gguf"));
  char *json = json_dumps(made, 0);
  struct zf_tok *tok;
  ck_ok(zf_tok_parse(&tok, json, strlen(json), "t.gguf"));
  json_array_foreach(json_object_get(root, "lines"), i, line) {
    struct zf_ids ids = {0};
    text = json_array_get(line, 0);
    if (!json_is_string(text) || strstr(json_string_value(text), "\xc3\xa9!"))
      continue; /* an added
                                                              token that is sought in normal form */
    const json_t *want = json_array_get(line, 1);
    ck_ok(zf_tok_encode(tok, &ids, json_string_value(text), json_string_length(text),
                        ZF_ENC_SPECIAL));
    ck_assert_int_eq(ids.count, json_array_size(want));
    for (int64_t k = 0; k < ids.count; k++)
      ck_assert_msg(ids.id[k] == json_integer_value(json_array_get(want, (size_t)k)),
                    "%s: '%s': token %lld", byte_level[_i].file, json_string_value(text),
                    (long long)k);
    zf_ids_free(&ids);
    lines++;
  }
  ck_assert_int_gt(lines, 10);
  zf_tok_free(tok);
  free(json);
  json_decref(made);
  json_decref(keys);
  json_decref(root);
}
END_TEST

/* Every name of a way to cut texts, against llama.cpp. */
START_TEST(test_cuts) {
  json_t *root, *rows, *row, *texts, *made;
  const char *pre;
  size_t i;
  ck_ok(zf_json_load(&root, GOLDEN "golden.json"));
  json_t *golden = json_object_get(root, "pres");
  texts = json_object_get(golden, "texts");
  ck_assert_uint_gt(json_object_size(json_object_get(golden, "ids")), 10);
  json_object_foreach(json_object_get(golden, "ids"), pre, rows) {
    json_t *keys = json_pack("{s:s, s:s, s:O, s:O, s:O, s:i, s:i}", "tokenizer.ggml.model", "gpt2",
                             "tokenizer.ggml.pre", pre, "tokenizer.ggml.tokens",
                             json_object_get(golden, "tokens"), "tokenizer.ggml.token_type",
                             json_object_get(golden, "types"), "tokenizer.ggml.merges",
                             json_object_get(golden, "merges"), "tokenizer.ggml.bos_token_id", 1,
                             "tokenizer.ggml.eos_token_id", 0);
    struct zf_tok *tok;
    made = NULL;
    ck_ok(zf_gguf_tok_keys(&made, keys, "t.gguf"));
    char *json = json_dumps(made, 0);
    ck_ok(zf_tok_parse(&tok, json, strlen(json), "t.gguf"));
    json_array_foreach(rows, i, row) {
      struct zf_ids ids = {0};
      const json_t *text = json_array_get(texts, i);
      ck_ok(zf_tok_encode(tok, &ids, json_string_value(text), json_string_length(text),
                          ZF_ENC_SPECIAL));
      ck_assert_msg(are_ids(&ids, row), "%s: '%s'", pre, json_string_value(text));
      zf_ids_free(&ids);
    }
    zf_tok_free(tok);
    free(json);
    json_decref(made);
    json_decref(keys);
  }
  json_decref(root);
}
END_TEST

/* --- what a model's keys lack ---------------------------------------------------------------- */

static const struct {
  const char *key, *value; /* JSON; NULL: taken away */
  const char *message;
} bad_keys[] = {
    {"tokenizer.ggml.model", "\"t5\"", "'t5' is not supported; supported are gpt2, llama, bert"},
    {"tokenizer.ggml.pre", NULL, "'(none)' is not supported; supported are gpt-2 phi-2"},
    {"tokenizer.ggml.tokens", "3", "'tokenizer.ggml.tokens': expected an array, found an integer"},
    {"tokenizer.ggml.tokens", "[\"a\", 1]", "token 1: expected a string"},
    {"tokenizer.ggml.tokens", "[\"a\", \"a\"]", "token 1: 'a' appears twice"},
    {"tokenizer.ggml.token_type", "[1]", "1 entries for 2 tokens"},
    {"tokenizer.ggml.merges", NULL, "'tokenizer.ggml.merges': expected an array, found nothing"},
};
enum { BAD_KEYS = sizeof bad_keys / sizeof *bad_keys };

START_TEST(test_bad_keys) {
  json_t *keys =
      json_pack("{s:s, s:s, s:[s, s], s:[]}", "tokenizer.ggml.model", "gpt2", "tokenizer.ggml.pre",
                "gpt-2", "tokenizer.ggml.tokens", "a", "b", "tokenizer.ggml.merges");
  json_t *made = NULL;
  ck_ok(zf_gguf_tok_keys(&made, keys, "t.gguf"));
  json_decref(made);
  if (bad_keys[_i].value)
    json_object_set_new(keys, bad_keys[_i].key,
                        json_loads(bad_keys[_i].value, JSON_DECODE_ANY, NULL));
  else
    json_object_del(keys, bad_keys[_i].key);
  ck_assert_int_eq(zf_gguf_tok_keys(&made, keys, "t.gguf"), ZF_EINVALID);
  ck_assert_msg(!!strstr(zf_error_message(), bad_keys[_i].message), "%s", zf_error_message());
  json_decref(keys);
}
END_TEST

int main(void) {
  Suite *s = suite_create("gguf");
  TCase *t = tcase_create("gguf");
  tcase_add_loop_test(t, test_broken, 0, BROKEN);
  tcase_add_test(t, test_parts);
  tcase_add_test(t, test_values);
  tcase_add_test(t, test_blocks);
  tcase_add_loop_test(t, test_logits, 0, MODELS);
  tcase_add_loop_test(t, test_tokens, 0, MODELS);
  tcase_add_test(t, test_pattern);
  tcase_add_test(t, test_ends);
  tcase_add_test(t, test_end_texts);
  tcase_add_test(t, test_held);
  tcase_add_loop_test(t, test_pre, 0, 4);
  tcase_add_test(t, test_cuts);
  tcase_add_loop_test(t, test_bad_keys, 0, BAD_KEYS);
  suite_add_tcase(s, t);
  return unit_run(s);
}
