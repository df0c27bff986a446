/* Tokenizers in the files of published checkpoints: ids, text and special tokens as AutoTokenizer
 * of Transformers gives them (tests/golden/make_token_files.py made tests/golden/token_files.json).
 */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/json.h"
#include "text/tokenizer.h"

static json_t *golden;

static void put(const char *dir, const char *name, const json_t *what) {
  char path[700];
  const char *shared = json_string_value(json_object_get(what, "shared"));
  const char *beside = json_string_value(json_object_get(what, "golden"));
  snprintf(path, sizeof path, "%s/%s", dir, name);
  if (beside) {
    char from[300];
    snprintf(from, sizeof from, "tests/golden/%s", beside);
    ck_ok(zf_copy_file(from, path));
    return;
  }
  if (shared) what = json_object_get(json_object_get(golden, "shared"), shared);
  ck_assert_msg(json_is_string(what), "%s", name);
  ck_ok(zf_write_file(path, json_string_value(what), json_string_length(what)));
}

static struct zf_tok *open_directory(const json_t *d) {
  struct zf_tok *t;
  const char *name;
  json_t *what;
  char dir[600];
  snprintf(dir, sizeof dir, "%s", tmp_path(json_string_value(json_object_get(d, "name"))));
  ck_ok(zf_mkdirs(dir));
  json_object_foreach(json_object_get(d, "files"), name, what) put(dir, name, what);
  ck_ok(zf_tok_open(&t, dir));
  return t;
}

static void same_text(const struct zf_tok *t, const struct zf_ids *ids, int skip,
                      const json_t *want, const char *what) {
  struct zf_buf out = {0};
  ck_ok(zf_tok_decode(t, &out, ids->id, ids->count, skip));
  ck_assert_msg(!strcmp(out.data ? out.data : "", json_string_value(want)), "%s: '%s' is not '%s'",
                what, out.data ? out.data : "", json_string_value(want));
  zf_buf_free(&out);
}

static void same_line(const struct zf_tok *t, const json_t *line, const char *name) {
  const json_t *text = json_array_get(line, 0), *want = json_array_get(line, 1);
  struct zf_ids ids = {0};
  char what[300];
  snprintf(what, sizeof what, "%s: '%s'", name, json_string_value(text));
  ck_ok(zf_tok_encode(t, &ids, json_string_value(text), json_string_length(text), ZF_ENC_SPECIAL));
  for (int64_t i = 0; i < ids.count && i < (int64_t)json_array_size(want); i++)
    ck_assert_msg(ids.id[i] == json_integer_value(json_array_get(want, (size_t)i)),
                  "%s: id %lld: %d, not %lld", what, (long long)i, ids.id[i],
                  (long long)json_integer_value(json_array_get(want, (size_t)i)));
  ck_assert_msg(ids.count == (int64_t)json_array_size(want), "%s: %lld ids, not %zu", what,
                (long long)ids.count, json_array_size(want));
  same_text(t, &ids, 0, json_array_get(line, 2), what);
  same_text(t, &ids, 1, json_array_get(line, 3), what);
  zf_ids_free(&ids);
}

/* A token that the library's class names and no file has gets an id there that the model does not
 * know; here there is none.  Where no file of the tokenizer names a token, config.json does, here
 * alone. */
static void same_special(const struct zf_tok *t, const json_t *d, const char *name) {
  static const enum zf_special kinds[] = {ZF_BOS, ZF_EOS, ZF_PAD, ZF_UNK, ZF_SEP, ZF_CLS, ZF_MASK};
  static const char *const key[] = {"bos", "eos", "pad", "unk", "sep", "cls", "mask"};
  for (int k = 0; k < 7; k++) {
    const json_t *v = json_object_get(json_object_get(d, "special"), key[k]);
    struct zf_special_token got = zf_tok_special(t, kinds[k]);
    int64_t want =
        json_is_integer(v) && json_integer_value(v) < zf_tok_size(t) ? json_integer_value(v) : -1;
    if (got.source &&
        (!strcmp(got.source, "config.json") || !strcmp(got.source, "generation_config.json"))) {
      ck_assert_msg(want < 0, "%s: %s", name, key[k]);
      continue;
    }
    ck_assert_msg(got.id == want, "%s: %s: %d, not %lld", name, key[k], got.id, (long long)want);
    ck_assert_msg((got.id < 0) == !got.source, "%s: %s", name, key[k]);
  }
}

static void same_template(const struct zf_tok *t, const json_t *d, const char *name) {
  const char *key;
  json_t *v;
  json_object_foreach(json_object_get(d, "template"), key, v) ck_assert_msg(
      json_equal(v, json_object_get(zf_tok_special_texts(t), key)), "%s: %s", name, key);
}

START_TEST(test_directories) {
  const json_t *list, *d;
  json_t *line;
  size_t i, k;
  ck_ok(zf_json_load(&golden, "tests/golden/token_files.json"));
  list = json_object_get(golden, "directories");
  ck_assert_uint_ge(json_array_size(list), 25);
  json_array_foreach((json_t *)list, i, d) {
    const char *name = json_string_value(json_object_get(d, "name"));
    struct zf_tok *t = open_directory(d);
    json_array_foreach(json_object_get(d, "lines"), k, line) same_line(t, line, name);
    same_special(t, d, name);
    same_template(t, d, name);
    zf_tok_free(t);
  }
  json_decref(golden);
}
END_TEST

int main(void) {
  Suite *s = suite_create("token_files");
  TCase *c = tcase_create("files");
  tcase_set_timeout(c, 60);
  tcase_add_test(c, test_directories);
  suite_add_tcase(s, c);
  return unit_run(s);
}
