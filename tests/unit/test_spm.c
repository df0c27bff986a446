/* tokenizer.model and vocab.txt: ids and text as SentencePiece gives them
 * (tests/golden/compare_sentencepiece.py made tests/golden/spm), and files that are not
 * what they should be. */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/json.h"
#include "text/text_internal.h"
#include "text/tokenizer.h"

static const char *const kinds[] = {"unigram",   "unigram_bytes", "bpe",
                                    "bpe_llama", "bpe_nodummy",   "unigram_cf"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void same_line(const struct zf_tok *t, const json_t *line) {
  const char *text = json_string_value(json_array_get(line, 0));
  const json_t *want = json_array_get(line, 1);
  struct zf_ids ids = {0};
  struct zf_buf out = {0};
  ck_ok(zf_tok_encode(t, &ids, text, strlen(text), 0));
  ck_assert_msg((int64_t)json_array_size(want) == ids.count, "'%s': %lld ids", text,
                (long long)ids.count);
  for (int64_t i = 0; i < ids.count; i++)
    ck_assert_msg(ids.id[i] == json_integer_value(json_array_get(want, (size_t)i)), "'%s': id %lld",
                  text, (long long)i);
  ck_ok(zf_tok_decode(t, &out, ids.id, ids.count, 0));
  if (!json_is_true(json_array_get(line, 3)))
    ck_assert_str_eq(out.data ? out.data : "", json_string_value(json_array_get(line, 2)));
  zf_ids_free(&ids);
  zf_buf_free(&out);
}

START_TEST(test_golden) {
  char path[128];
  json_t *root, *lines, *line;
  struct zf_tok *t;
  size_t i;
  snprintf(path, sizeof path, "tests/golden/spm/%s.model", kinds[_i]);
  ck_ok(zf_spm_load(&root, path, NULL));
  ck_ok(zf_tok_build(&t, root, NULL, path));
  strcpy(strrchr(path, '.'), ".json");
  ck_ok(zf_json_load(&lines, path));
  ck_assert_uint_ge(json_array_size(lines), 10);
  json_array_foreach(lines, i, line) same_line(t, line);
  json_decref(lines);
  json_decref(root);
  zf_tok_free(t);
}
END_TEST

/* What is around a text depends on the configuration. */
static int64_t around(const char *config, int32_t *first, int32_t *last) {
  json_t *root;
  struct zf_tok_settings b = {0};
  struct zf_tok *t;
  struct zf_ids ids = {0};
  if (config) ck_ok(zf_json_parse(&b.config, config, strlen(config), "c"));
  ck_ok(zf_spm_load(&root, "tests/golden/spm/bpe.model", &b));
  ck_ok(zf_tok_build(&t, root, NULL, "bpe"));
  ck_ok(zf_tok_encode(t, &ids, "the", 3, ZF_ENC_SPECIAL));
  *first = ids.id[0];
  *last = ids.id[ids.count - 1];
  int64_t n = ids.count;
  zf_ids_free(&ids);
  zf_tok_free(t);
  json_decref(root);
  json_decref(b.config);
  return n;
}

START_TEST(test_around) {
  int32_t a, b;
  int64_t n = around("{\"add_bos_token\": false}", &a, &b);
  ck_assert_int_eq(around(NULL, &a, &b), n + 1);
  ck_assert_int_eq(a, 1);
  ck_assert_int_eq(around("{\"tokenizer_class\": \"T5Tokenizer\"}", &a, &b), n + 1);
  ck_assert_int_eq(b, 2);
  ck_assert_int_eq(around("{\"add_eos_token\": true}", &a, &b), n + 2);
}
END_TEST

static void refuse(const char *bytes, size_t n, const char *part) {
  json_t *root;
  ck_fails(zf_spm_parse(&root, bytes, n, "m", NULL), ZF_EINVALID, part);
  ck_assert_ptr_null(root);
}

START_TEST(test_refused) {
  refuse("\x0a\x05\x0a", 3, "m: not a SentencePiece model: ends at byte 3");
  refuse("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "a number of more than ten bytes");
  refuse("\x0b", 1, "wire type 3");
  refuse("\x0a\x03\x0a\x01\xff", 5, "piece 0 is not a text with a score");
  refuse("", 0, "no piece is the unknown one");
  refuse("\x12\x02\x18\x03", 4, "model type 3");
}
END_TEST

static void put(const char *dir, const char *name, const char *text) {
  char *path = zf_path_join(dir, name);
  ck_ok(zf_write_file(path, text, strlen(text)));
  free(path);
}

START_TEST(test_vocab_txt) {
  char *dir = zf_strdup(tmp_path("bert"));
  struct zf_tok *t;
  struct zf_ids ids = {0};
  struct zf_buf out = {0};
  static const int32_t want[] = {2, 4, 5, 6, 1, 3};
  ck_ok(zf_mkdirs(dir));
  put(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\r\n[SEP]\nhello\nwor\n##ld\n");
  ck_ok(zf_tok_open(&t, dir));
  ck_ok(zf_tok_encode(t, &ids, "H\xC3\xA9llo  WORLD!", 14, ZF_ENC_SPECIAL));
  ck_assert_int_eq(ids.count, 6);
  for (int i = 0; i < 6; i++) ck_assert_int_eq(ids.id[i], want[i]);
  ck_ok(zf_tok_decode(t, &out, ids.id, ids.count, 1));
  ck_assert_str_eq(out.data, "hello world");
  zf_tok_free(t);
  put(dir, "tokenizer_config.json", "{\"do_lower_case\": false}");
  ck_ok(zf_tok_open(&t, dir));
  ids.count = 0;
  ck_ok(zf_tok_encode(t, &ids, "Hello", 5, 0));
  ck_assert_int_eq(ids.id[0], 1);
  zf_tok_free(t);
  put(dir, "vocab.txt", "[UNK]\na\na\n");
  ck_fails(zf_tok_open(&t, dir), ZF_EINVALID, "vocab.txt: line 3: piece 'a' appears twice");
  zf_ids_free(&ids);
  zf_buf_free(&out);
  free(dir);
}
END_TEST

int main(void) {
  Suite *s = suite_create("spm");
  TCase *c = tcase_create("files");
  tcase_set_timeout(c, 60);
  tcase_add_loop_test(c, test_golden, 0, KINDS);
  tcase_add_test(c, test_around);
  tcase_add_test(c, test_refused);
  tcase_add_test(c, test_vocab_txt);
  suite_add_tcase(s, c);
  return unit_run(s);
}
