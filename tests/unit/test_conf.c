/* Settings: typing by the schema, places in messages, layers. */
#include "unit/conf_schema.h"

#include "base/file.h"

START_TEST(test_defaults) {
  struct zf_conf *c = fresh();
  const char *const *list;
  ck_assert(zf_conf_num(c, "learning_rate", -1) == 1e-5);
  ck_assert_str_eq(zf_conf_str(c, "lr_scheduler"), "constant");
  ck_assert_int_eq(zf_conf_int(c, "max_steps", -7), -7);
  ck_assert_int_eq(zf_conf_has(c, "max_steps"), 0);
  ck_assert_int_eq(zf_conf_has(c, "resume"), 1);
  ck_assert_int_eq(zf_conf_bool(c, "resume"), 0);
  ck_assert_ptr_null(zf_conf_str(c, "prompt"));
  ck_assert_int_eq(zf_conf_bytes(c, "memory_limit", 3), 3);
  ck_assert_int_eq(zf_conf_strs(c, "trainable", &list), 2);
  ck_assert_str_eq(list[0], "q_proj");
  ck_assert_str_eq(list[1], "v_proj");
  ck_assert_int_eq(zf_conf_maps(c, "datasets"), 0);
  ck_assert_str_eq(zf_conf_origin(c, "learning_rate"), "default");
  ck_assert_str_eq(zf_conf_origin(c, "max_steps"), "unset");
  zf_conf_free(c);
  zf_conf_free(NULL);
}
END_TEST

START_TEST(test_tables) {
  static const struct zf_conf_key bad[] = {
      {.name = "x", .type = ZF_CONF_INT, .default_text = "many"}, {.name = NULL}};
  const struct zf_conf_key *twice[] = {train_keys, train_keys}, *wrong[] = {bad};
  struct zf_conf *c;
  ck_fails(zf_conf_new(&c, twice, 2), ZF_EFAIL, "two tables of settings have the key 'base_model'");
  ck_assert_ptr_null(c);
  ck_fails(zf_conf_new(&c, wrong, 1), ZF_EUSAGE,
           "default: 'x' expects a whole number, found 'many'");
}
END_TEST

START_TEST(test_typed_by_schema) {
  struct zf_conf *c = conf_of("base_model: no\n"
                              "learning_rate: '2E-6'\n"
                              "max_steps: \"20_000\"\n"
                              "batch: auto\n"
                              "ratio: -.5\n"
                              "memory_limit: 1.5GB\n"
                              "resume: On\n"
                              "prompt: 1e5\n"
                              "trainable: lone\n"
                              "datasets:\n"
                              "  - path: 007\n"
                              "    fields: [a, 'b c', 3]\n"
                              "  - {path: x, type: chat, weight: 0.25}\n");
  const char *const *list;
  ck_ok(zf_conf_check(c));
  ck_assert_str_eq(zf_conf_str(c, "base_model"), "no");
  ck_assert(zf_conf_num(c, "learning_rate", 0) == 2e-6);
  ck_assert_int_eq(zf_conf_int(c, "max_steps", 0), 20000);
  ck_assert(zf_conf_num(c, "max_steps", 0) == 20000);
  ck_assert_int_eq(zf_conf_int(c, "batch", -1), -1);
  ck_assert_str_eq(zf_conf_str(c, "batch"), "auto");
  ck_assert_int_eq(zf_conf_has(c, "batch"), 1);
  ck_assert_ptr_null(zf_conf_str(c, "max_steps"));
  ck_assert(zf_conf_num(c, "ratio", 0) == -0.5);
  ck_assert_int_eq(zf_conf_bytes(c, "memory_limit", 0), 1500000000);
  ck_assert_int_eq(zf_conf_bool(c, "resume"), 1);
  ck_assert_str_eq(zf_conf_str(c, "prompt"), "1e5");
  ck_assert_int_eq(zf_conf_strs(c, "trainable", &list), 1);
  ck_assert_str_eq(list[0], "lone");
  ck_assert_int_eq(zf_conf_maps(c, "datasets"), 2);
  const struct zf_conf *d = zf_conf_map(c, "datasets", 0);
  ck_assert_str_eq(zf_conf_str(d, "path"), "007");
  ck_assert_str_eq(zf_conf_str(d, "type"), "text");
  ck_assert_int_eq(zf_conf_strs(d, "fields", &list), 3);
  ck_assert_str_eq(list[1], "b c");
  ck_assert_str_eq(zf_conf_origin(d, "fields"), "t.yaml:12:13");
  ck_assert(zf_conf_num(zf_conf_map(c, "datasets", 1), "weight", 0) == 0.25);
  zf_conf_free(c);
}
END_TEST

START_TEST(test_bytes) {
  static const struct {
    const char *text;
    int64_t bytes;
  } good[] = {{"0", 0},           {"123", 123},
              {"1_000", 1000},    {"512M", 512000000},
              {"8G", 8000000000}, {"1GiB", 1 << 30},
              {"1.5kB", 1500},    {"2 kb", 2000},
              {"0.5KiB", 512},    {"1T", 1000000000000},
              {"16b", 16},        {"9223372036854775807", INT64_MAX}};
  static const char *const bad[] = {
      "-1",       "G",    "1.5", "1X", "1GBs", "1 ", "", "1e40", "9223372036854775808",
      "9223373T", "8G G", "nan"};
  struct zf_conf *c = fresh();
  char word[80];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    snprintf(word, sizeof word, "memory_limit=%s", good[i].text);
    ck_ok(zf_conf_word(c, word));
    ck_assert_int_eq(zf_conf_bytes(c, "memory_limit", -1), good[i].bytes);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (!*bad[i]) continue;
    snprintf(word, sizeof word, "memory_limit=%s", bad[i]);
    ck_fails(zf_conf_word(c, word), ZF_EUSAGE, "'memory_limit' expects a size such as 512M");
  }
  ck_ok(zf_conf_word(c, "memory_limit=none"));
  ck_assert_int_eq(zf_conf_bytes(c, "memory_limit", -1), -1);
  ck_assert_str_eq(zf_conf_str(c, "memory_limit"), "none");
  zf_conf_free(c);
}
END_TEST

START_TEST(test_null_is_absent) {
  struct zf_conf *c = conf_of("max_steps:\nbatch: ~\nlearning_rate: null\nprompt: null\n"
                              "datasets: null\nbase_model: \"null\"\n");
  ck_assert_int_eq(zf_conf_has(c, "max_steps"), 0);
  ck_assert_int_eq(zf_conf_has(c, "batch"), 0);
  ck_assert(zf_conf_num(c, "learning_rate", 0) == 1e-5);
  ck_assert_int_eq(zf_conf_has(c, "prompt"), 0);
  ck_assert_str_eq(zf_conf_str(c, "base_model"), "null");
  ck_ok(zf_conf_word(c, "prompt="));
  ck_assert_str_eq(zf_conf_str(c, "prompt"), "");
  ck_ok(zf_conf_word(c, "batch=4"));
  ck_ok(zf_conf_word(c, "batch=null"));
  ck_assert_int_eq(zf_conf_has(c, "batch"), 0);
  zf_conf_free(c);
  c = conf_of("");
  ck_fails(zf_conf_check(c), ZF_EUSAGE,
           "t.yaml: the key 'base_model' is required: directory or ORG/NAME");
  zf_conf_free(c);
  zf_conf_free(conf_of("# nothing\n"));
  zf_conf_free(conf_of("---\n"));
}
END_TEST

static const struct {
  const char *text, *message;
} wrong[] = {
    {"base_model: x\nlearning_rat: 1\n",
     "t.yaml:2:1: unknown key 'learning_rat': did you mean 'learning_rate'?"},
    {"zzzzzz: 1\n", "t.yaml:1:1: unknown key 'zzzzzz'"},
    {"max_steps: 1\n\nmax_steps: 2\n",
     "t.yaml:3:1: the key 'max_steps' was given before, at line 1, column 1"},
    {"max_steps: ~\nmax_steps: 2\n", "t.yaml:2:1: the key 'max_steps' was given before"},
    {"a: &b c\n", "t.yaml:1:1: unknown key 'a'"},
    {"prompt: &b c\n", "t.yaml:1:9: anchors ('&b') are not supported"},
    {"prompt: *b\n", "t.yaml:1:9: aliases ('*b') are not supported"},
    {"prompt: !!str c\n", "t.yaml:1:9: tags ('tag:yaml.org,2002:str') are not supported"},
    {"trainable: &x [a]\n", "t.yaml:1:12: anchors"},
    {"&x prompt: a\n", "t.yaml:1:1: anchors"},
    {"<<: {prompt: x}\n", "t.yaml:1:1: unknown key '<<'"},
    {"learning_rate: fast\n", "t.yaml:1:16: 'learning_rate' expects a number, found 'fast'"},
    {"learning_rate: ''\n", "expects a number, found ''"},
    {"learning_rate: 1e\n", "expects a number, found '1e'"},
    {"learning_rate: 1__0\n", "expects a number, found '1__0'"},
    {"learning_rate: .\n", "expects a number, found '.'"},
    {"learning_rate: nan\n", "expects a number, found 'nan'"},
    {"learning_rate: 0x1\n", "expects a number, found '0x1'"},
    {"learning_rate: 1e999\n", "expects a number, found '1e999', which is not finite"},
    {"learning_rate: 2\n", "t.yaml:1:16: 'learning_rate' must be between 0 and 1, found 2"},
    {"max_steps: 0\n", "t.yaml:1:12: 'max_steps' must be at least 1, found 0"},
    {"ratio: 0.75\n", "'ratio' must be at most 0.5, found 0.75"},
    {"max_steps: 1.0\n", "'max_steps' expects a whole number, found '1.0'"},
    {"offset: 9223372036854775808\n", "which does not fit 64 bits"},
    {"offset: 0000000000000000000000000000000000000000000000000000000000000000000000000001\n",
     "which is too long"},
    {"batch: atuo\n", "'batch' expects a whole number or auto or all, found 'atuo': did you mean "
                      "'auto'?"},
    {"resume: maybe\n", "'resume' expects true or false, found 'maybe'"},
    {"lr_scheduler: cosin\n", "t.yaml:1:15: 'lr_scheduler' expects one of constant, linear or "
                              "cosine, found 'cosin': did you mean 'cosine'?"},
    {"lr_scheduler: constant|linear\n", "expects one of"},
    {"learning_rate: [1]\n", "t.yaml:1:16: 'learning_rate' expects a number, found a list"},
    {"prompt: {a: b}\n", "t.yaml:1:9: 'prompt' expects a text, found a mapping"},
    {"trainable: {a: b}\n", "'trainable' expects a list of texts, found a mapping"},
    {"trainable: [a, [b]]\n", "'trainable' expects a list of texts, found a list"},
    {"trainable: [\"\\0\"]\n", "'trainable' holds a zero byte"},
    {"prompt: \"a\\0b\"\n", "'prompt' holds a zero byte"},
    {"\"prompt\\0\": a\n", "unknown key 'prompt'"},
    {"datasets: x\n", "t.yaml:1:11: 'datasets' expects a list of mappings, found 'x'"},
    {"datasets: {path: x}\n", "'datasets' expects a list of mappings, found a mapping"},
    {"datasets:\n  - path: x\n  - y\n", "t.yaml:3:5: 'datasets.1' expects a mapping, found 'y'"},
    {"datasets:\n  - path: x\n    path: y\n",
     "t.yaml:3:5: the key 'datasets.0.path' was given before, at line 2, column 5"},
    {"datasets:\n  - pth: x\n",
     "t.yaml:2:5: unknown key 'datasets.0.pth': did you mean 'datasets.0.path'?"},
    {"datasets:\n  - weight: 2\n", "'datasets.0.weight' must be between 0 and 1"},
    {"[a]\n", "t.yaml:1:1: expected a mapping of keys, found a list"},
    {"word\n", "t.yaml:1:1: expected a mapping of keys, found 'word'"},
    {"? [a]\n: b\n", "t.yaml:1:3: expected a key, found a list"},
    {"prompt: a\n---\nprompt: b\n", "t.yaml:2:1: a second document begins here"},
    {"prompt: [a\n", "t.yaml:1:9: 'prompt' expects a text, found a list"},
    {"trainable: [a\n", "did not find expected ',' or ']'"},
    {"prompt: 'a\n", "found unexpected end of stream"},
    {"prompt: a\n\tb: c\n", "t.yaml:2:"},
    {"prompt: a\nx\x01y: 1\n", "t.yaml:2:2: "},
    {"prompt: \xff\n", "t.yaml:1:9: "},
};

START_TEST(test_wrong) {
  struct zf_conf *c = fresh();
  const char *text = wrong[_i].text;
  ck_fails(zf_conf_text(c, text, strlen(text), "t.yaml"), ZF_EUSAGE, wrong[_i].message);
  zf_conf_free(c);
}
END_TEST

START_TEST(test_nesting) {
  enum { DEEP = 100000 };
  char *text = malloc(DEEP + 32);
  int n = sprintf(text, "trainable: ");
  memset(text + n, '[', DEEP);
  struct zf_conf *c = fresh();
  ck_fails(zf_conf_text(c, text, (size_t)n + DEEP, "deep"), ZF_EUSAGE, "found a list");
  ck_fails(zf_conf_text(c, text + n, DEEP, "deep"), ZF_EUSAGE, "expected a mapping of keys");
  memset(text, ' ', DEEP);
  for (int i = 0; i < DEEP; i += 2) text[i] = '-';
  ck_fails(zf_conf_text(c, text, DEEP, "deep"), ZF_EUSAGE, "expected a mapping of keys");
  zf_conf_free(c);
  free(text);
}
END_TEST

START_TEST(test_missing) {
  struct zf_conf *c = conf_of("base_model: x\ndatasets:\n  - path: a\n  - type: chat\n");
  ck_fails(zf_conf_check(c), ZF_EUSAGE, "t.yaml:4:5: the key 'datasets.1.path' is required: file");
  ck_ok(zf_conf_word(c, "datasets.1.path=b"));
  ck_ok(zf_conf_check(c));
  zf_conf_free(c);
}
END_TEST

START_TEST(test_layers) {
  struct zf_conf *c = conf_of("max_steps: 5\nlearning_rate: 0.5\ntrainable: [a, b]\n");
  const char *const *list;
  ck_ok(zf_conf_text(c, "max_steps: 6\n", 13, "u.yaml"));
  ck_assert_int_eq(zf_conf_int(c, "max_steps", 0), 6);
  ck_assert_str_eq(zf_conf_origin(c, "max_steps"), "u.yaml:1:12");
  ck_assert_str_eq(zf_conf_origin(c, "learning_rate"), "t.yaml:2:16");
  ck_ok(zf_conf_word(c, "max_steps=7"));
  ck_ok(zf_conf_word(c, "max_steps=8"));
  ck_assert_int_eq(zf_conf_int(c, "max_steps", 0), 8);
  ck_assert_str_eq(zf_conf_origin(c, "max_steps"), "command line");
  ck_ok(zf_conf_word(c, "trainable=[x, 'y z', \"\\u00e9\"]"));
  ck_assert_int_eq(zf_conf_strs(c, "trainable", &list), 3);
  ck_assert_str_eq(list[1], "y z");
  ck_assert_str_eq(list[2], "\xc3\xa9");
  ck_ok(zf_conf_word(c, "trainable=[]"));
  ck_assert_int_eq(zf_conf_strs(c, "trainable", &list), 0);
  ck_assert_int_eq(zf_conf_has(c, "trainable"), 1);
  ck_ok(zf_conf_word(c, "prompt=a: b #c = [d"));
  ck_assert_str_eq(zf_conf_str(c, "prompt"), "a: b #c = [d");
  zf_conf_free(c);
}
END_TEST

START_TEST(test_nested_words) {
  struct zf_conf *c = fresh();
  ck_ok(zf_conf_word(c, "datasets.0.path=a.b=c"));
  ck_ok(zf_conf_word(c, "datasets.1.path=d"));
  ck_ok(zf_conf_word(c, "datasets.1.fields=[p,q]"));
  ck_ok(zf_conf_word(c, "datasets.0.type=chat"));
  ck_assert_int_eq(zf_conf_maps(c, "datasets"), 2);
  ck_assert_str_eq(zf_conf_str(zf_conf_map(c, "datasets", 0), "path"), "a.b=c");
  ck_assert_str_eq(zf_conf_str(zf_conf_map(c, "datasets", 0), "type"), "chat");
  ck_fails(zf_conf_word(c, "datasets.3.path=x"), ZF_EUSAGE,
           "command line: 'datasets' has 2 items: the next is 2, not 3");
  ck_fails(zf_conf_word(c, "datasets.x.path=x"), ZF_EUSAGE, "expected datasets.N.KEY=VALUE");
  ck_fails(zf_conf_word(c, "datasets.0=x"), ZF_EUSAGE, "expected datasets.N.KEY=VALUE");
  ck_fails(zf_conf_word(c, "datasets.99999999999.path=x"), ZF_EUSAGE, "expected datasets.N.KEY");
  ck_fails(zf_conf_word(c, "datasets.0.pat=x"), ZF_EUSAGE,
           "command line: unknown key 'datasets.0.pat': did you mean 'datasets.0.path'?");
  ck_fails(zf_conf_word(c, "datasets=x"), ZF_EUSAGE, "expects a list of mappings, found 'x'");
  ck_fails(zf_conf_word(c, "max_steps.0=x"), ZF_EUSAGE,
           "'max_steps' is not a list of mappings: expected "
           "max_steps=VALUE");
  ck_ok(zf_conf_word(c, "datasets=[{path: z, weight: 0.5}]"));
  ck_assert_int_eq(zf_conf_maps(c, "datasets"), 1);
  ck_assert_str_eq(zf_conf_origin(zf_conf_map(c, "datasets", 0), "path"), "command line");
  zf_conf_free(c);
}
END_TEST

START_TEST(test_wrong_words) {
  struct zf_conf *c = fresh();
  ck_fails(zf_conf_word(c, "max_steps"), ZF_EUSAGE,
           "command line: expected KEY=VALUE, found "
           "'max_steps'");
  ck_fails(zf_conf_word(c, ""), ZF_EUSAGE, "expected KEY=VALUE");
  ck_fails(zf_conf_word(c, "=1"), ZF_EUSAGE, "unknown key ''");
  ck_fails(zf_conf_word(c, "lerning_rate=1"), ZF_EUSAGE,
           "command line: unknown key 'lerning_rate': did you mean 'learning_rate'?");
  ck_fails(zf_conf_word(c, "learning_rate=fast"), ZF_EUSAGE,
           "command line: 'learning_rate' expects a number, found 'fast'");
  ck_fails(zf_conf_word(c, "prompt=\xff"), ZF_EUSAGE, "is not UTF-8");
  ck_fails(zf_conf_word(c, "trainable=[a"), ZF_EUSAGE,
           "command line: '[a': while parsing a flow sequence");
  ck_fails(zf_conf_word(c, "trainable=[a] b"), ZF_EUSAGE, "command line: ");
  ck_fails(zf_conf_word(c, "trainable=[*a]"), ZF_EUSAGE, "aliases ('*a') are not supported");
  zf_conf_free(c);
}
END_TEST

START_TEST(test_file) {
  struct zf_conf *c = fresh();
  char path[512], place[600];
  snprintf(path, sizeof path, "%s", tmp_path("c.yaml"));
  ck_fails(zf_conf_file(c, path), ZF_EUSAGE, "c.yaml: cannot open");
  ck_ok(zf_write_file(path, "\xef\xbb\xbfmax_steps: 3\r\n", 17));
  ck_ok(zf_conf_file(c, path));
  ck_assert_int_eq(zf_conf_int(c, "max_steps", 0), 3);
  snprintf(place, sizeof place, "%s:1:12", path);
  ck_assert_str_eq(zf_conf_origin(c, "max_steps"), place);
  size_t big = 5 << 20;
  char *spaces = malloc(big);
  memset(spaces, '#', big);
  ck_ok(zf_write_file(path, spaces, big));
  ck_fails(zf_conf_file(c, path), ZF_EUSAGE, "longer than");
  free(spaces);
  zf_conf_free(c);
}
END_TEST

START_TEST(test_error) {
  struct zf_conf *c = conf_of("max_steps: 5\n");
  ck_fails(zf_conf_error(c, "max_steps", "%d is odd", 5), ZF_EUSAGE, "t.yaml:1:12: 5 is odd");
  ck_fails(zf_conf_error(c, "resume", "no"), ZF_EUSAGE, "'resume' (default): no");
  ck_fails(zf_conf_error(c, "prompt", "no"), ZF_EUSAGE, "'prompt' (unset): no");
  ck_ok(zf_conf_word(c, "prompt=x"));
  ck_fails(zf_conf_error(c, "prompt", "no"), ZF_EUSAGE, "command line: no");
  zf_conf_free(c);
}
END_TEST

int main(void) {
  Suite *s = suite_create("conf");
  TCase *t = tcase_create("conf");
  tcase_add_test(t, test_defaults);
  tcase_add_test(t, test_tables);
  tcase_add_test(t, test_typed_by_schema);
  tcase_add_test(t, test_bytes);
  tcase_add_test(t, test_null_is_absent);
  tcase_add_loop_test(t, test_wrong, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(t, test_nesting);
  tcase_add_test(t, test_missing);
  tcase_add_test(t, test_layers);
  tcase_add_test(t, test_nested_words);
  tcase_add_test(t, test_wrong_words);
  tcase_add_test(t, test_file);
  tcase_add_test(t, test_error);
  suite_add_tcase(s, t);
  return unit_run(s);
}
