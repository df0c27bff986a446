/* What tokenizer files may hold: refusals by name and place, patterns, the files from
 * before tokenizer.json. */
#include "unit/unit.h"

#include "base/file.h"
#include "text/text_internal.h"
#include "text/tokenizer.h"

#define VOCAB "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<s>\": 3}"
#define MODEL "\"model\": {\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": [\"a b\"]}"

static void refuse(const char *json, const char *part) {
  struct zf_tok *t;
  ck_fails(zf_tok_parse(&t, json, strlen(json), "t.json"), ZF_EINVALID, part);
  ck_assert_ptr_null(t);
}

/* A hostile charsmap: 4 bytes of length, a trie, replacements. */
static void charsmap(const char *base64, const char *text, const char *part) {
  struct zf_buf json = {0};
  struct zf_tok *t;
  struct zf_ids ids = {0};
  zf_buf_printf(
      &json,
      "{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"%s\"}, " MODEL "}",
      base64);
  int rc = zf_tok_parse(&t, json.data, json.len, "t.json");
  if (!rc) rc = zf_tok_encode(t, &ids, text, strlen(text), 0);
  ck_assert_int_eq(rc, part ? ZF_EINVALID : 0);
  if (part) ck_assert_msg(strstr(zf_error_message(), part) != NULL, "%s", zf_error_message());
  zf_buf_free(&json);
  zf_ids_free(&ids);
  zf_tok_free(t);
}

START_TEST(test_charsmap) {
  charsmap("AAA", "a", "precompiled_charsmap"); /* shorter than the length */
  charsmap("A*AA", "a", "byte 1 is not base64");
  charsmap("BwAAAAAAAAA=", "a", "the trie has 7 bytes, the table 8");
  charsmap("AAAAAP8=", "a", "the replacements are not UTF-8");
  charsmap("AAAAAA==", "a", NULL); /* no trie at all */
  /* Units: the root, whose children are at 0; at 'a' (97) there is none such. */
  charsmap("BAAAAAAAAAA=", "a", NULL);
}
END_TEST

/* A tokenizer with one more key beside a good model. */
static void refuse_with(const char *key, const char *part) {
  char json[2048];
  snprintf(json, sizeof json, "{" MODEL ", %s}", key);
  refuse(json, part);
}

static struct zf_tok *accept_with(const char *key) {
  char json[2048];
  struct zf_tok *t;
  snprintf(json, sizeof json, "{" MODEL "%s%s}", *key ? ", " : "", key);
  ck_ok(zf_tok_parse(&t, json, strlen(json), "t.json"));
  return t;
}

START_TEST(test_top) {
  refuse("[1, 2", "t.json:1:");
  refuse("[]", "t.json: expected an object, found an array");
  refuse("{}", "t.json: model: expected an object, found nothing");
  refuse("{\"model\": {\"type\": \"Morfessor\", \"vocab\": []}}",
         "type 'Morfessor' is not supported; there are BPE, Unigram, WordPiece, WordLevel");
  refuse("{\"model\": {\"type\": \"Unigram\", \"vocab\": {}}}",
         "model: Unigram: key 'vocab': expected an array, found an object");
  refuse("{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", \"b\"]]}}",
         "vocab: piece 0: expected a text and a score");
  refuse("{\"model\": {\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", 0]]}}",
         "unk_id 1, but there are 1 pieces");
  refuse("{\"model\": {\"type\": \"WordPiece\"}}", "key 'vocab': expected an object");
  refuse("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}, \"max_input_chars_per_word\": -1}}",
         "key 'max_input_chars_per_word': expected at least 0, found -1");
  refuse("{\"model\": {\"vocab\": {}}}", "type '(none)' is not supported");
  refuse_with("\"version\": \"2.0\"", "version '2.0'");
  zf_tok_free(accept_with(""));
  zf_tok_free(accept_with("\"truncation\": {}, \"padding\": {}, \"normalizer\": null"));
}
END_TEST

START_TEST(test_parts) {
  refuse_with("\"normalizer\": {\"type\": \"Romaji\"}",
              "t.json: normalizer: type 'Romaji' is not supported");
  refuse_with("\"normalizer\": {\"type\": \"BertNormalizer\", \"lowercase\": 1}",
              "BertNormalizer: key 'lowercase': expected");
  refuse_with("\"normalizer\": {\"type\": \"Precompiled\"}",
              "key 'precompiled_charsmap' is missing");
  refuse_with("\"normalizer\": \"NFC\"", "normalizer: expected an object, found a string");
  refuse_with("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Nmu\"}]}",
              "type 'Nmu' is not supported");
  refuse_with("\"normalizer\": {\"type\": \"Sequence\"}", "key 'normalizers': expected an array");
  refuse_with("\"normalizer\": {\"type\": \"Strip\"}", "Strip: key 'strip_left' is missing");
  refuse_with("\"normalizer\": {\"type\": \"Replace\", \"content\": \"\", \"pattern\": \"x\"}",
              "Replace: key 'pattern': expected");
  refuse_with("\"pre_tokenizer\": {\"type\": \"UnicodeBlocks\"}",
              "pre_tokenizer: type 'UnicodeBlocks' is not supported");
  refuse_with("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, "
              "\"behavior\": \"Sideways\", \"invert\": false}",
              "'Sideways' is not one of");
  refuse_with("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"__\"}",
              "'__' is not one character");
  refuse_with("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", "
              "\"prepend_scheme\": \"sometimes\"}",
              "'sometimes' is not always, first or never");
  refuse_with("\"decoder\": {\"type\": \"Word\"}", "decoder: type 'Word'");
  refuse_with("\"pre_tokenizer\": {\"type\": \"CharDelimiterSplit\", \"delimiter\": \"ab\"}",
              "'ab' is not one character");
  refuse_with("\"pre_tokenizer\": {\"type\": \"FixedLength\", \"length\": 0}",
              "key 'length': expected at least 1, found 0");
  refuse_with("\"decoder\": {\"type\": \"Strip\", \"content\": \" \"}", "expected counts");
}
END_TEST

START_TEST(test_post_processors) {
  refuse_with("\"post_processor\": {\"type\": \"TemplateProcessing\"}", "key 'single'");
  refuse_with("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
              "[{\"Sequence\": {\"id\": \"B\"}}]}",
              "expected SpecialToken or Sequence A");
  refuse_with("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
              "[{\"Sequence\": {\"id\": \"A\"}}, {\"Sequence\": {\"id\": \"A\"}}]}",
              "Sequence A stands in the template twice");
  refuse_with("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
              "[{\"SpecialToken\": {\"id\": \"x\"}}]}",
              "special token 'x' has no ids");
  refuse_with("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
              "[{\"SpecialToken\": {\"id\": \"x\"}}], \"special_tokens\": {\"x\": "
              "{\"ids\": [99]}}}",
              "id 99 is not in the vocabulary");
  refuse_with("\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"x\", -1], "
              "\"sep\": [\"x\", 1]}",
              "id -1 is not in the vocabulary");
}
END_TEST

START_TEST(test_vocabulary) {
#define BPE(fields) "{\"model\": {\"type\": \"BPE\", " fields "}}"
  refuse(BPE("\"vocab\": []"), "key 'vocab': expected an object, found an array");
  refuse(BPE("\"vocab\": {\"a\": \"0\"}"), "piece 'a': expected an id, found a string");
  refuse(BPE("\"vocab\": {\"a\": -1}"), "piece 'a' has id -1");
  refuse(BPE("\"vocab\": {\"a\": 4000000000}"), "piece 'a' has id 4000000000");
  refuse(BPE("\"vocab\": {\"a\": 0, \"b\": 0}"), "share the id 0");
  refuse(BPE("\"vocab\": {\"a\": 0}"), "key 'merges': expected an array, found nothing");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [\"a c\"]"), "merge 1: 'c' is not in");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]"), "'a' + 'a' gives 'aa'");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]"), "merge 1: expected");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]"), "merge 1: expected");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1"), "dropout is 0.1");
  refuse(BPE("\"vocab\": {\"a\": 0}, \"merges\": [], \"fuse_unk\": 1"), "key 'fuse_unk'");
  refuse_with("\"added_tokens\": [{\"id\": 9, \"content\": \"x\"}]",
              "has id 9, but in the order of adding");
  refuse_with("\"added_tokens\": [{\"id\": 1, \"content\": \"a\"}]",
              "has id 1, but in the order of adding");
  refuse_with("\"added_tokens\": [{\"id\": 2, \"content\": \"ab\"}, {\"id\": 2, \"content\": "
              "\"ab\"}]",
              "share the id 2");
  refuse_with("\"added_tokens\": [7]", "added_tokens: expected an object, found an integer");
}
END_TEST

/* An unknown character is an error only where unk_token is named and missing. */
START_TEST(test_unknown) {
  static const char lost[] = BPE("\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"?\"");
  struct zf_tok *t;
  struct zf_ids ids = {0};
  ck_ok(zf_tok_parse(&t, lost, strlen(lost), "t.json"));
  ck_ok(zf_tok_encode(t, &ids, "aa", 2, 0));
  ck_fails(zf_tok_encode(t, &ids, "axa", 3, 0), ZF_EINVALID, "and neither is unk_token");
  ck_assert_int_eq(ids.count, 2); /* what was there before stays */
  zf_ids_free(&ids);
  zf_tok_free(t);
  t = accept_with("");
  ck_ok(zf_tok_encode(t, &ids, "xaxbx", 5, 0)); /* dropped without one */
  ck_assert_int_eq(ids.count, 1);
  ck_assert_int_eq(ids.id[0], 2);
  zf_ids_free(&ids);
  zf_tok_free(t);
}
END_TEST

static void check_translation(const char *from, const char *to) {
  struct zf_buf out = {0};
  ck_ok(zf_pattern_translate(&out, from, "t"));
  ck_assert_str_eq(out.data ? out.data : "", to);
  zf_buf_free(&out);
}

START_TEST(test_translation) {
  check_translation("", "");
  check_translation("'s| ?\\p{L}+|\\r\\n", "'s| ?\\p{L}+|\\r\\n");
  check_translation("a{1,3}+", "(?:a{1,3})+");
  check_translation("(a|b[c]){2}?x", "(?:(a|b[c]){2})?x");
  check_translation("\\x{41}{2}+", "(?:\\x{41}{2})+");
  check_translation("a{,3}b{2,}?", "a{0,3}b{2,}?");
  check_translation("a{x}", "a\\{x}");
  check_translation("(?m:.)(?i-m:x)", "(?s:.)(?i-s:x)");
  check_translation("\\h[\\h-]", "[0-9A-Fa-f][0-9A-Fa-f-]");
  check_translation("\\u4e00", "\\x{4e00}");
  check_translation("(?<=a)b(?!c)", "(?<=a)b(?!c)");
}
END_TEST

START_TEST(test_patterns_refused) {
  static const struct {
    const char *regex, *part;
  } bad[] = {{"[a&&b]", "an intersection of classes"},
             {"[a[b]]", "a class within a class"},
             {"[\\S]", "a negated class"},
             {"x(?i)y", "an option within the pattern"},
             {"(?x: a)", "option x"},
             {"[[:alpha:]]", "this named class"},
             {"(", "missing closing parenthesis"},
             {"(*UTF)", "a verb"},
             {"\\\\\\", "a backslash at the end"},
             {"\\p{Nope}", "unknown property"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct zf_pattern *p;
    ck_fails(zf_pattern_new(&p, bad[i].regex, 0, "t"), ZF_EINVALID, bad[i].part);
    ck_assert_ptr_null(p);
  }
}
END_TEST

/* A pattern that would take for ever is an error. */
START_TEST(test_runaway_pattern) {
  struct zf_tok *t = accept_with("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": "
                                 "{\"Regex\": \"(a|a|aa)+b\"}, \"behavior\": \"Isolated\", "
                                 "\"invert\": false}");
  struct zf_ids ids = {0};
  char text[200];
  memset(text, 'a', sizeof text);
  memcpy(text + 198, "cb", 2); /* a b to hope for, out of reach */
  ck_fails(zf_tok_encode(t, &ids, text, sizeof text, 0), ZF_EINVALID,
           "matching the pattern failed");
  zf_ids_free(&ids);
  zf_tok_free(t);
}
END_TEST

/* A few replacements that each make one letter a hundred are an error, not all memory. */
START_TEST(test_growth) {
#define MORE                                                                                       \
  "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"" TEN TEN TEN TEN TEN   \
      TEN TEN TEN TEN TEN "\"}"
#define TEN "aaaaaaaaaa"
  struct zf_tok *t = accept_with("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" MORE
                                 ", " MORE ", " MORE ", " MORE ", " MORE ", " MORE "]}");
  struct zf_ids ids = {0};
  ck_fails(zf_tok_encode(t, &ids, "a", 1, 0), ZF_EINVALID, "t.json: a text grows beyond");
  zf_ids_free(&ids);
  zf_tok_free(t);
}
END_TEST

/* --- vocab.json and merges.txt --------------------------------------------------------- */

static char dir[300];

static void put(const char *name, const char *text) {
  char path[400];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  if (text)
    ck_ok(zf_write_file(path, text, strlen(text)));
  else
    unlink(path);
}

START_TEST(test_classic) {
  struct zf_tok *t;
  struct zf_ids ids = {0};
  struct zf_buf out = {0};
  snprintf(dir, sizeof dir, "%s", tmp_path("classic"));
  ck_ok(zf_mkdirs(dir));
  ck_fails(zf_tok_open(&t, dir), ZF_EUSAGE, "no tokenizer");
  put("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"\xc4\xa0\": 3, \"</s>\": 4, \"<pad>\": 5}");
  ck_fails(zf_tok_open(&t, dir), ZF_EUSAGE, "merges.txt");
  put("merges.txt", "#version: 0.2\na b\n");
  ck_ok(zf_tok_open(&t, dir));
  ck_assert_int_eq(zf_tok_bos(t), -1);
  ck_ok(zf_tok_encode(t, &ids, "ab a", 4, ZF_ENC_SPECIAL));
  ck_assert_int_eq(ids.count, 3);
  zf_tok_free(t);
  put("tokenizer_config.json", "{\"bos_token\": {\"content\": \"</s>\"}, \"eos_token\": \"</s>\", "
                               "\"pad_token\": \"<pad>\", \"add_bos_token\": true}");
  ck_ok(zf_tok_open(&t, dir));
  ck_assert_int_eq(zf_tok_bos(t), 4);
  ck_assert_int_eq(zf_tok_eos(t), 4);
  ck_assert(zf_tok_is_special(t, 5));
  ids.count = 0;
  ck_ok(zf_tok_encode(t, &ids, "ab</s>b", 7, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS));
  static const int32_t want[] = {4, 2, 4, 1}, begin[] = {-1, 0, 2, 6}, end[] = {-1, 2, 6, 7};
  ck_assert_int_eq(ids.count, 4);
  ck_assert_mem_eq(ids.id, want, sizeof want);
  ck_assert_mem_eq(ids.begin, begin, sizeof begin);
  ck_assert_mem_eq(ids.end, end, sizeof end);
  ck_ok(zf_tok_decode(t, &out, ids.id, ids.count, 1));
  ck_assert_str_eq(out.data, "abb");
  zf_tok_free(t);
  put("merges.txt", "a b\nb \xff\n");
  ck_fails(zf_tok_open(&t, dir), ZF_EINVALID, "merges.txt: byte 4: the line is not UTF-8");
  put("merges.txt", "a b\nb c\n");
  ck_fails(zf_tok_open(&t, dir), ZF_EINVALID, "vocab.json: model: BPE: merge 2: 'c' is not in");
  put("tokenizer_config.json", "[]");
  ck_fails(zf_tok_open(&t, dir), ZF_EINVALID, "tokenizer_config.json: expected an object");
  zf_buf_free(&out);
  zf_ids_free(&ids);
}
END_TEST

/* --- the class that tokenizer_config.json names --------------------------------------------- */

static void same_ids(const char *text, const int32_t *want, int64_t n) {
  struct zf_tok *t;
  struct zf_ids ids = {0};
  ck_ok(zf_tok_open(&t, dir));
  ck_ok(zf_tok_encode(t, &ids, text, strlen(text), 0));
  ck_assert_int_eq(ids.count, n);
  for (int64_t i = 0; i < n; i++) ck_assert_int_eq(ids.id[i], want[i]);
  zf_ids_free(&ids);
  zf_tok_free(t);
}

/* Which mark LlamaTokenizer puts before a text and before what follows a special token, as AutoTokenizer
 * of Transformers 5.24 does with these files; a byte-level file of that class stays as it is. */
START_TEST(test_llama_class) {
  static const struct {
    const char *settings;
    int32_t ids[3]; /* of "a<s>a" */
  } cases[] = {{"\"legacy\": false", {5, 1, 4}},
               {"\"legacy\": null", {5, 1, 4}},
               {"\"legacy\": true", {5, 1, 5}},
               {"\"add_prefix_space\": false, \"legacy\": true", {4, 1, 4}}};
  static const char file[] =
      "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"normalized\": false, \"special\": "
      "true}], "
      "\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"b\"}, \"pre_tokenizer\": %s, "
      "\"model\": "
      "{\"type\": \"BPE\", \"vocab\": {\"b\": 0, \"<s>\": 1, \"</s>\": 2, \"\xE2\x96\x81\": 3, "
      "\"a\": 4, \"\xE2\x96\x81"
      "a\": 5}, \"merges\": [\"\xE2\x96\x81 a\"]}}";
  char text[1024];
  snprintf(dir, sizeof dir, "%s", tmp_path("class"));
  ck_ok(zf_mkdirs(dir));
  snprintf(text, sizeof text, file, "null");
  put("tokenizer.json", text);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(text, sizeof text, "{\"tokenizer_class\": \"LlamaTokenizerFast\", %s}",
             cases[i].settings);
    put("tokenizer_config.json", text);
    same_ids("a<s>a", cases[i].ids, 3);
  }
  same_ids(" a", (int32_t[]){5}, 1);
  snprintf(text, sizeof text, file, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}");
  put("tokenizer.json", text);
  same_ids("a", (int32_t[]){0, 4}, 2);
}
END_TEST

int main(void) {
  Suite *s = suite_create("tokenizer_files");
  TCase *c = tcase_create("files");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, test_top);
  tcase_add_test(c, test_parts);
  tcase_add_test(c, test_post_processors);
  tcase_add_test(c, test_vocabulary);
  tcase_add_test(c, test_unknown);
  tcase_add_test(c, test_translation);
  tcase_add_test(c, test_patterns_refused);
  tcase_add_test(c, test_runaway_pattern);
  tcase_add_test(c, test_growth);
  tcase_add_test(c, test_charsmap);
  tcase_add_test(c, test_classic);
  tcase_add_test(c, test_llama_class);
  suite_add_tcase(s, c);
  return unit_run(s);
}
