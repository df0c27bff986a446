/* Tokenizers against the original: tests/golden/tokenizers holds a small tokenizer of
 * each kind with ids, places and texts of odd lines (make_tokenizers.py). */
#include "unit/unit.h"

#include <dirent.h>

#include "base/file.h"
#include "fmt/json.h"
#include "text/tokenizer.h"

#define GOLDEN "tests/golden/tokenizers"
#define MODELS "../shared/models"

static struct zf_tok *tok_of(const json_t *def, const char *name) {
  struct zf_tok *t;
  char *text = json_dumps(def, 0);
  ck_assert_ptr_nonnull(text);
  ck_ok(zf_tok_parse(&t, text, strlen(text), name));
  free(text);
  return t;
}

static json_t *golden(const char *kind) {
  char path[256];
  json_t *root;
  snprintf(path, sizeof path, GOLDEN "/%s.json", kind);
  ck_ok(zf_json_load(&root, path));
  return root;
}

static struct zf_tok *golden_tok(const char *kind) {
  json_t *root = golden(kind);
  struct zf_tok *t = tok_of(json_object_get(root, "tokenizer"), kind);
  json_decref(root);
  return t;
}

static const char *const kinds[] = {
    "gpt2",   "llama3",        "qwen2",           "smollm", "roberta", "cl100k",
    "llama2", "metaspace",     "metaspace_first", "words",  "bert",    "bert_cased",
    "t5",     "unigram_bytes", "wordlevel",       "ctc",    "scripts"};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* The bytes of {"hex": "..."} or of a string. */
static void bytes_of(struct zf_buf *out, const json_t *v) {
  zf_buf_clear(out);
  const char *hex = json_string_value(json_object_get(v, "hex"));
  if (json_is_string(v)) zf_buf_add(out, json_string_value(v), json_string_length(v));
  for (; hex && *hex; hex += 2) {
    unsigned byte;
    ck_assert_int_eq(sscanf(hex, "%2x", &byte), 1);
    zf_buf_putc(out, (char)byte);
  }
}

static void same_numbers(const json_t *want, const int32_t *got, int64_t n, const char *what,
                         const char *text) {
  ck_assert_msg((int64_t)json_array_size(want) == n, "%s of '%s': %zu wanted, %lld found", what,
                text, json_array_size(want), (long long)n);
  for (int64_t i = 0; i < n; i++) {
    int32_t w = (int32_t)json_integer_value(json_array_get(want, (size_t)i));
    ck_assert_msg(w == got[i], "%s %lld of '%s': %d wanted, %d found", what, (long long)i, text, w,
                  got[i]);
  }
}

static void same_text(const json_t *want, const struct zf_tok *t, const struct zf_ids *ids,
                      int skip) {
  struct zf_buf out = {0};
  ck_ok(zf_tok_decode(t, &out, ids->id, ids->count, skip));
  ck_assert_str_eq(out.data ? out.data : "", json_string_value(want));
  zf_buf_free(&out);
}

START_TEST(test_golden) {
  json_t *root = golden(kinds[_i]), *line;
  struct zf_tok *t = tok_of(json_object_get(root, "tokenizer"), kinds[_i]);
  struct zf_buf text = {0};
  size_t k;
  json_array_foreach(json_object_get(root, "lines"), k, line) {
    struct zf_ids ids = {0}, plain = {0};
    bytes_of(&text, json_array_get(line, 0));
    const char *p = text.data ? text.data : "";
    ck_ok(zf_tok_encode(t, &ids, p, text.len, ZF_ENC_SPECIAL | ZF_ENC_OFFSETS));
    same_numbers(json_array_get(line, 1), ids.id, ids.count, "id", p);
    same_numbers(json_array_get(line, 2), ids.begin, ids.count, "begin", p);
    same_numbers(json_array_get(line, 3), ids.end, ids.count, "end", p);
    ck_ok(zf_tok_encode(t, &plain, p, text.len, ZF_ENC_SPECIAL)); /* without places: another path */
    same_numbers(json_array_get(line, 1), plain.id, plain.count, "id", p);
    same_text(json_array_get(line, 4), t, &ids, 0);
    same_text(json_array_get(line, 5), t, &ids, 1);
    zf_ids_free(&ids);
    zf_ids_free(&plain);
  }
  ck_assert_uint_gt(k, 15);
  zf_buf_free(&text);
  zf_tok_free(t);
  json_decref(root);
}
END_TEST

/* All lines in one call, many times: the second sight of a piece takes its ids from
 * the first, which must not change them. */
START_TEST(test_repeated) {
  struct zf_tok *t = golden_tok("gpt2");
  struct zf_ids one = {0}, many = {0};
  static const char line[] = "The harvest was good, the roads were bad; 12 eggs  and  a  key.\n";
  struct zf_buf all = {0};
  for (int i = 0; i < 300; i++) zf_buf_puts(&all, line);
  ck_ok(zf_tok_encode(t, &one, line, strlen(line), 0));
  ck_ok(zf_tok_encode(t, &many, all.data, all.len, 0));
  ck_assert_int_eq(many.count, one.count * 300);
  for (int64_t i = 0; i < many.count; i++) ck_assert_int_eq(many.id[i], one.id[i % one.count]);
  zf_ids_free(&one);
  zf_ids_free(&many);
  zf_buf_free(&all);
  zf_tok_free(t);
}
END_TEST

static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 16) % below;
}

/* A character of one of several scripts, as UTF-8. */
static void put_random_char(struct zf_buf *b) {
  static const uint32_t from[] = {0x20, 0x20, 0x61, 0x9, 0xA0, 0x300, 0x600, 0x4E00, 0x1F600, 0};
  static const uint32_t size[] = {95, 1, 26, 5, 500, 112, 256, 20000, 80, 0x80};
  uint32_t k = draw(10), c = from[k] + draw(size[k]);
  if (c < 0x80) {
    zf_buf_putc(b, (char)c);
  } else if (c < 0x800) {
    zf_buf_printf(b, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 63));
  } else if (c < 0x10000) {
    zf_buf_printf(b, "%c%c%c", 0xE0 | c >> 12, 0x80 | (c >> 6 & 63), 0x80 | (c & 63));
  } else {
    zf_buf_printf(b, "%c%c%c%c", 0xF0 | c >> 18, 0x80 | (c >> 12 & 63), 0x80 | (c >> 6 & 63),
                  0x80 | (c & 63));
  }
}

/* Byte-level tokenizers that normalise nothing give every text back, and the places of
 * their tokens cover it without gaps. */
START_TEST(test_round_trip) {
  static const char *const exact[] = {"gpt2", "smollm", "llama3"};
  struct zf_tok *t = golden_tok(exact[_i]);
  struct zf_buf text = {0}, back = {0};
  struct zf_ids ids = {0};
  for (int round = 0; round < 3000; round++) {
    zf_buf_clear(&text);
    zf_buf_clear(&back);
    ids.count = 0;
    for (uint32_t n = draw(60); n > 0; n--) put_random_char(&text);
    const char *p = text.data ? text.data : "";
    ck_ok(zf_tok_encode(t, &ids, p, text.len, ZF_ENC_OFFSETS));
    ck_ok(zf_tok_decode(t, &back, ids.id, ids.count, 0));
    ck_assert_uint_eq(back.len, text.len);
    if (text.len) ck_assert_mem_eq(back.data, text.data, text.len);
    int32_t reached = 0;
    for (int64_t i = 0; _i < 2 && i < ids.count; i++) { /* Llama-3's processor trims spaces off */
      ck_assert_int_le(ids.begin[i], reached);
      ck_assert_int_gt(ids.end[i], ids.begin[i]);
      reached = ids.end[i];
    }
    if (_i < 2) ck_assert_int_eq(reached, (int32_t)text.len);
  }
  zf_ids_free(&ids);
  zf_buf_free(&text);
  zf_buf_free(&back);
  zf_tok_free(t);
}
END_TEST

START_TEST(test_broken_utf8) {
  static const struct {
    const char *bytes, *text;
  } cases[] = {
      {"a\xff"
       "b",
       "a\xef\xbf\xbd"
       "b"},
      {"\xe4\xbd", "\xef\xbf\xbd"},
      {"\xf0\x9f\x98", "\xef\xbf\xbd"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xe0\x80x", "\xef\xbf\xbd\xef\xbf\xbdx"},
      {"\xf0\x9f\x98\xf0\x9f\x98\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
  };
  struct zf_tok *t = golden_tok("gpt2");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct zf_ids ids = {0};
    struct zf_buf back = {0};
    ck_ok(zf_tok_encode(t, &ids, cases[i].bytes, strlen(cases[i].bytes), 0));
    ck_ok(zf_tok_decode(t, &back, ids.id, ids.count, 0));
    ck_assert_str_eq(back.data, cases[i].text);
    zf_ids_free(&ids);
    zf_buf_free(&back);
  }
  zf_tok_free(t);
}
END_TEST

/* Canonical composition: order of marks, blocking, Hangul, exclusions. */
START_TEST(test_nfc) {
  static const struct {
    const char *from, *to;
  } cases[] = {
      {"e\xcc\x81x", "\xc3\xa9x"},                              /* e + acute */
      {"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},               /* dots above, below: ordered */
      {"a\xcc\xa7\xcc\x81", "\xc3\xa1\xcc\xa7"},                /* acute passes the cedilla */
      {"a\xcc\x8a\xcc\x81", "\xc7\xbb"},                        /* ring and acute */
      {"a\xcc\x88\xcc\x8a", "\xc3\xa4\xcc\x8a"},                /* the ring is blocked */
      {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"}, /* three jamo */
      {"\xea\xb0\x80\xe1\x86\xa7", "\xea\xb0\x80\xe1\x86\xa7"}, /* U+11A7 is no final */
      {"\xe2\x84\xab", "\xc3\x85"},                             /* Angstrom sign */
      {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composing */
      {"\xcc\x81"
       "e",
       "\xcc\x81"
       "e"}, /* a mark that leads */
  };
  struct zf_tok *t = golden_tok("qwen2");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct zf_ids ids = {0};
    struct zf_buf back = {0};
    ck_ok(zf_tok_encode(t, &ids, cases[i].from, strlen(cases[i].from), 0));
    ck_ok(zf_tok_decode(t, &back, ids.id, ids.count, 0));
    ck_assert_str_eq(back.data, cases[i].to);
    zf_ids_free(&ids);
    zf_buf_free(&back);
  }
  zf_tok_free(t);
}
END_TEST

/* Zero bytes pass as any other; ids are appended; a call without places after one with
 * them marks its own as unknown. */
START_TEST(test_appends) {
  struct zf_tok *t = golden_tok("gpt2");
  struct zf_ids ids = {0};
  struct zf_buf back = {0};
  ck_ok(zf_tok_encode(t, &ids, "a\0b", 3, 0));
  ck_ok(zf_tok_encode(t, &ids, "cd", 2, ZF_ENC_OFFSETS));
  int64_t two = ids.count;
  ck_ok(zf_tok_encode(t, &ids, "e", 1, 0));
  ck_assert_int_eq(ids.begin[0], -1);
  ck_assert_int_eq(ids.begin[two - 1] + (ids.end[two - 1] == 2), two == 4 ? 1 : 2);
  ck_assert_int_eq(ids.end[two], -1);
  ck_ok(zf_tok_decode(t, &back, ids.id, ids.count, 0));
  ck_assert_uint_eq(back.len, 6);
  ck_assert_mem_eq(back.data, "a\0bcde", 6);
  zf_ids_free(&ids);
  zf_buf_free(&back);
  zf_tok_free(t);
}
END_TEST

START_TEST(test_asking) {
  struct zf_tok *t = golden_tok("llama3");
  struct zf_buf out = {0};
  int32_t bos = zf_tok_id(t, "<|begin_of_text|>"), outside = (int32_t)zf_tok_size(t);
  ck_assert_int_eq(bos, 0);
  ck_assert_str_eq(zf_tok_piece(t, bos), "<|begin_of_text|>");
  ck_assert(zf_tok_is_special(t, bos) && !zf_tok_is_special(t, 9) && !zf_tok_is_special(t, -5));
  ck_assert_int_eq(zf_tok_id(t, "no such piece"), -1);
  ck_assert_ptr_null(zf_tok_piece(t, outside));
  ck_assert_ptr_null(zf_tok_piece(t, -1));
  ck_assert_int_eq(zf_tok_bos(t), -1); /* named by tokenizer_config.json alone */
  ck_assert_str_eq(zf_tok_type(t), "byte-level BPE");
  ck_fails(zf_tok_decode(t, &out, &outside, 1, 0), ZF_EUSAGE, "is not in the vocabulary of llama3");
  zf_tok_free(t);
  t = golden_tok("llama2");
  ck_assert_str_eq(zf_tok_type(t), "BPE with byte fallback");
  zf_tok_free(t);
}
END_TEST

/* One tokenizer, several threads. */
START_TEST(test_threads) {
  struct zf_tok *t = golden_tok("qwen2");
  static const char text[] = "Some of the e\xcc\x81"
                             "clairs, 12 of them, were\tolder  than the books.";
  struct zf_ids want = {0};
  int wrong = 0;
  ck_ok(zf_tok_encode(t, &want, text, strlen(text), 3));
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
  for (int i = 0; i < 400; i++) {
    struct zf_ids got = {0};
    int rc = zf_tok_encode(t, &got, text, strlen(text), 3);
    wrong += rc || got.count != want.count ||
             memcmp(got.id, want.id, (size_t)want.count * sizeof *got.id);
    zf_ids_free(&got);
  }
  ck_assert_int_eq(wrong, 0);
  zf_ids_free(&want);
  zf_tok_free(t);
}
END_TEST

/* --- real models, where they are at hand -------------------------------------------- */

static void check_text(const struct zf_tok *t, const json_t *entry, int special) {
  struct zf_ids ids = {0};
  const char *text = json_string_value(json_object_get(entry, "text"));
  ck_ok(zf_tok_encode(t, &ids, text, strlen(text), special ? ZF_ENC_SPECIAL : 0));
  same_numbers(json_object_get(entry, "ids"), ids.id, ids.count, "id", text);
  if (json_object_get(entry, "decoded")) same_text(json_object_get(entry, "decoded"), t, &ids, 1);
  zf_ids_free(&ids);
}

/* Their goldens are what tokenizer.json says by itself; what the class that tokenizer_config.json names
 * makes of such a file is in test_published.c. */
static struct zf_tok *tokenizer_alone(const char *name) {
  char path[600], *text;
  struct zf_tok *t;
  size_t len;
  snprintf(path, sizeof path, MODELS "/%s/tokenizer.json", name);
  ck_ok(zf_read_file(&text, &len, path, 64 << 20));
  ck_ok(zf_tok_parse(&t, text, len, path));
  free(text);
  return t;
}

static int check_model(const char *name) {
  char path[600];
  json_t *root, *entry;
  size_t i;
  snprintf(path, sizeof path, MODELS "/%s/golden.json", name);
  if (!zf_exists(path)) return 0;
  ck_ok(zf_json_load(&root, path));
  struct zf_tok *t = tokenizer_alone(name);
  json_array_foreach(json_object_get(root, "tokenizer"), i, entry) check_text(t, entry, 1);
  check_text(t, json_object_get(root, "eval"), 1);
  zf_tok_free(t);
  json_decref(root);
  return 1;
}

START_TEST(test_models) {
  DIR *d = opendir(MODELS);
  int found = 0;
  if (!d) {
    printf("SKIP test_tokenizer: no models in " MODELS "\n");
    fflush(stdout);
    return;
  }
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.') found += check_model(e->d_name);
  closedir(d);
  ck_assert_int_gt(found, 0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("tokenizer");
  TCase *c = tcase_create("tokenizer");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, test_golden, 0, KINDS);
  tcase_add_loop_test(c, test_round_trip, 0, 3);
  tcase_add_test(c, test_repeated);
  tcase_add_test(c, test_broken_utf8);
  tcase_add_test(c, test_nfc);
  tcase_add_test(c, test_appends);
  tcase_add_test(c, test_asking);
  tcase_add_test(c, test_threads);
  tcase_add_test(c, test_models);
  suite_add_tcase(s, c);
  return unit_run(s);
}
