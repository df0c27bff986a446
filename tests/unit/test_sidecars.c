/* Files beside the weights: which count, and copies of what was read, never of what came later. */
#include "base/buf.h"
#include "base/file.h"
#include "model/sidecars.h"
#include "unit/unit.h"

static const struct {
  const char *name;
  int is;
} names[] = {
    {"tokenizer.json", 1},
    {"vocab.txt", 1},
    {"tokenizer.model", 1},
    {"tokenizer.model.v3", 1},
    {"sentencepiece.bpe.model", 1},
    {"qwen.tiktoken", 1},
    {"chat_template.jinja", 1},
    {"tool_use.jinja", 1},
    {"additional_chat_templates/rag.jinja", 1},
    {"additional_chat_templates/rag.txt", 0},
    {"generation_config.json", 1},
    {"preprocessor_config.json", 1},
    {"modules.json", 1},
    {"sentence_bert_config.json", 1},
    {"1_Pooling/config.json", 1},
    {"2_Dense/model.safetensors", 1},
    {"1_Pooling/deep/config.json", 0},
    {"2024_Backup/model.safetensors", 0},
    {"config.json", 0}, /* written anew */
    {"model.safetensors", 0},
    {"pytorch_model.bin", 0},
    {"README.md", 0},
    {"training_args.bin", 0},
    {"tokenizer.json.tmp.7", 0},
    {"", 0},
};

START_TEST(test_names) {
  ck_assert_int_eq(zf_sidecars_is(names[_i].name), names[_i].is);
}
END_TEST

static char from[400], to[400];

static void put(const char *dir, const char *name, const char *text) {
  char *path = zf_path_join(dir, name);
  ck_ok(zf_write_file(path, text, strlen(text)));
  free(path);
}

static void check(const char *dir, const char *name, const char *want) {
  char *path = zf_path_join(dir, name), *text = NULL;
  if (!want) {
    ck_assert_msg(!zf_exists(path), "%s is there", name);
  } else {
    ck_ok(zf_read_file(&text, NULL, path, 1000));
    ck_assert_str_eq(text, want);
  }
  free(text);
  free(path);
}

static void begin(struct zf_sidecars *b, const char *name) {
  char sub[500];
  snprintf(from, sizeof from, "%s", tmp_path(name));
  snprintf(to, sizeof to, "%s-copy", tmp_path(name));
  snprintf(sub, sizeof sub, "%s/1_Pooling", from);
  ck_ok(zf_mkdirs(sub));
  ck_ok(zf_mkdirs(to));
  put(from, "vocab.txt", "words");
  put(from, "generation_config.json", "{}");
  put(from, "1_Pooling/config.json", "{\"a\": 1}");
  put(from, "README.md", "no");
  ck_ok(zf_sidecars_open(b, from));
  ck_assert_int_eq(b->count, 3);
}

START_TEST(test_copy) {
  struct zf_sidecars b;
  begin(&b, "copy");
  ck_ok(zf_sidecars_copy(&b, to, 1));
  check(to, "vocab.txt", "words");
  check(to, "generation_config.json", NULL);
  ck_ok(zf_sidecars_set(&b, "chat_template.jinja", "{{ x }}"));
  ck_ok(zf_sidecars_copy(&b, to, 0));
  check(to, "generation_config.json", "{}");
  check(to, "1_Pooling/config.json", "{\"a\": 1}");
  check(to, "chat_template.jinja", "{{ x }}");
  check(to, "README.md", NULL);
  zf_sidecars_close(&b);
}
END_TEST

START_TEST(test_changed) {
  struct zf_sidecars b;
  begin(&b, "changed");
  put(from, "vocab.txt", "other");
  ck_fails(
      zf_sidecars_copy(&b, to, 0), ZF_EINVALID,
      "vocab.txt: has changed since it was read: a copy of it would not belong to these weights");
  check(to, "vocab.txt", NULL);
  put(from, "vocab.txt", "words");
  ck_ok(zf_sidecars_copy(&b, to, 0));
  check(to, "vocab.txt", "words");
  zf_sidecars_close(&b);
}
END_TEST

/* What was copied at the start is what is copied later; where that copy has changed, the file itself
 * serves if it is what it was. */
START_TEST(test_kept) {
  struct zf_sidecars b;
  char last[500];
  begin(&b, "kept");
  snprintf(last, sizeof last, "%s/last", to);
  ck_ok(zf_mkdirs(last));
  ck_ok(zf_sidecars_copy(&b, to, 0));
  ck_ok(zf_sidecars_keep(&b, to));
  put(from, "vocab.txt", "other");
  ck_ok(zf_sidecars_copy(&b, last, 0));
  check(last, "vocab.txt", "words");
  ck_ok(zf_sidecars_copy(&b, to, 0)); /* onto itself */
  put(to, "generation_config.json", "[]");
  ck_ok(zf_sidecars_copy(&b, to, 0));
  check(to, "generation_config.json", "{}");
  put(to, "vocab.txt", "third");
  ck_fails(zf_sidecars_copy(&b, last, 0), ZF_EINVALID, "vocab.txt: has changed");
  check(last, "vocab.txt", "words");
  zf_sidecars_close(&b);
}
END_TEST

/* The identity that logs hold: of a directory with a tokenizer.json as it always was. */
START_TEST(test_hash) {
  char a[33], b[33], c[33];
  struct zf_sidecars x;
  begin(&x, "hash");
  put(from, "config.json", "{}");
  ck_ok(zf_sidecars_hash(a, from));
  put(from, "vocab.txt", "other");
  ck_ok(zf_sidecars_hash(b, from));
  ck_assert_str_ne(a, b);
  put(from, "tokenizer.json", "{}");
  ck_ok(zf_sidecars_hash(a, from));
  put(from, "vocab.txt", "third");
  put(from, "generation_config.json", "[]");
  ck_ok(zf_sidecars_hash(c, from));
  ck_assert_str_eq(a, c);
  ck_assert_str_eq(a, "9b7e6f4217b657d4cce4ddae62cbdb92");
  zf_sidecars_close(&x);
}
END_TEST

int main(void) {
  Suite *s = suite_create("beside");
  TCase *t = tcase_create("beside");
  tcase_add_loop_test(t, test_names, 0, sizeof names / sizeof *names);
  tcase_add_test(t, test_copy);
  tcase_add_test(t, test_changed);
  tcase_add_test(t, test_kept);
  tcase_add_test(t, test_hash);
  suite_add_tcase(s, t);
  return unit_run(s);
}
