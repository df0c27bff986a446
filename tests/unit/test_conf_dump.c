/* Settings written as YAML, as JSON and as help; and read back. */
#include "unit/conf_schema.h"

#include <jansson.h>

static char *dump(const struct zf_conf *c, int origins) {
  struct zf_buf b = {0};
  ck_ok(zf_conf_dump(c, &b, origins));
  return b.data;
}

START_TEST(test_dump) {
  struct zf_conf *c = conf_of("base_model: ./m\nprompt: \"a\\nb\"\ndatasets:\n- path: x\n- {}\n");
  ck_ok(zf_conf_word(c, "max_steps=1_000"));
  char *text = dump(c, 0), *origins = dump(c, 1);
  ck_assert_str_eq(text, "base_model: \"./m\"\n"
                         "learning_rate: 1e-5\n"
                         "lr_scheduler: constant\n"
                         "max_steps: 1_000\n"
                         "resume: false\n"
                         "prompt: \"a\\nb\"\n"
                         "trainable: [q_proj, v_proj]\n"
                         "datasets:\n"
                         "- path: x\n"
                         "  type: text\n"
                         "- type: text\n");
  ck_assert_str_eq(origins, "base_model: \"./m\"  # t.yaml:1:13\n"
                            "learning_rate: 1e-5  # default\n"
                            "lr_scheduler: constant  # default\n"
                            "max_steps: 1_000  # command line\n"
                            "resume: false  # default\n"
                            "prompt: \"a\\nb\"  # t.yaml:2:9\n"
                            "trainable: [q_proj, v_proj]  # default\n"
                            "datasets:  # t.yaml:4:1\n"
                            "- path: x  # t.yaml:4:9\n"
                            "  type: text  # default\n"
                            "- type: text  # default\n");
  struct zf_buf json = {0};
  ck_ok(zf_conf_dump_json(c, &json));
  ck_assert_str_eq(json.data,
                   "{\"base_model\": \"./m\", \"learning_rate\": 1e-5, \"lr_scheduler\": "
                   "\"constant\", \"max_steps\": 1000, \"resume\": false, \"prompt\": \"a\\nb\", "
                   "\"trainable\": [\"q_proj\", \"v_proj\"], \"datasets\": [{\"path\": \"x\", "
                   "\"type\": \"text\"}, {\"type\": \"text\"}]}");
  free(text);
  free(origins);
  zf_buf_free(&json);
  zf_conf_free(c);
}
END_TEST

/* What a run keeps, and the first of it that another set has otherwise; however it is written. */
START_TEST(test_kept) {
  static const struct zf_conf_key keys[] = {
      {.name = "rate", .type = ZF_CONF_NUM, .default_text = "1e-4"},
      {.name = "threads", .type = ZF_CONF_INT, .may_change = 1, .help = "how many"},
      {.name = "seed", .type = ZF_CONF_INT},
      {.name = "datasets", .type = ZF_CONF_MAPS, .sub = item_keys},
      {.name = NULL}};
  static const struct {
    const char *text, *key, *was, *is;
  } other[] = {
      {"rate: 0.0001\nthreads: 3\nseed: 4\ndatasets: [{path: a}]", NULL, "", ""},
      {"rate: 2e-4\nseed: 5\ndatasets: [{path: a}]", "rate", "0.0001", "0.0002"},
      {"datasets: [{path: a}]", "seed", "4", "unset"},
      {"seed: 4\ndatasets: [{path: b}]", "datasets", "[{\"path\": \"a\", \"type\": \"text\"}]",
       "[{\"path\": \"b\", \"type\": \"text\"}]"},
  };
  const struct zf_conf_key *table = keys;
  struct zf_conf *x, *y;
  struct zf_buf a = {0}, b = {0}, kept = {0};
  const char *text = "threads: 2\nseed: 4\ndatasets: [{path: a}]";
  ck_ok(zf_conf_new(&x, &table, 1));
  ck_ok(zf_conf_text(x, text, strlen(text), "x.yaml"));
  ck_ok(zf_conf_dump_kept(x, &kept));
  ck_assert_str_eq(kept.data, "{\"rate\": 0.0001, \"seed\": 4, \"datasets\": [{\"path\": \"a\", "
                              "\"type\": \"text\"}]}");
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    ck_ok(zf_conf_new(&y, &table, 1));
    ck_ok(zf_conf_text(y, other[i].text, strlen(other[i].text), "y.yaml"));
    const char *key = zf_conf_differs(x, y, &a, &b);
    if (!other[i].key) ck_assert_ptr_null(key);
    if (other[i].key) {
      ck_assert_str_eq(key, other[i].key);
      ck_assert_str_eq(a.data, other[i].was);
      ck_assert_str_eq(b.data, other[i].is);
    }
    zf_conf_free(y);
  }
  zf_buf_clear(&kept);
  ck_ok(zf_conf_help(x, &kept));
  ck_assert(strstr(kept.data, "how many [resume]\n") != NULL);
  zf_buf_free(&a);
  zf_buf_free(&b);
  zf_buf_free(&kept);
  zf_conf_free(x);
}
END_TEST

START_TEST(test_dump_empty) {
  static const struct zf_conf_key sub[] = {{.name = "b", .type = ZF_CONF_INT}, {.name = NULL}};
  static const struct zf_conf_key top[] = {{.name = "a", .type = ZF_CONF_MAPS, .sub = sub},
                                           {.name = NULL}};
  const struct zf_conf_key *table = top;
  struct zf_conf *c;
  ck_ok(zf_conf_new(&c, &table, 1));
  char *text = dump(c, 1);
  ck_assert_str_eq(text, "{}\n");
  free(text);
  ck_ok(zf_conf_text(c, "a: [{}, {b: 1}]", 15, "n\nl"));
  text = dump(c, 1);
  ck_assert_str_eq(text, "a:  # n?l:1:4\n- {}  # n?l:1:5\n- b: 1  # n?l:1:13\n");
  free(text);
  ck_ok(zf_conf_word(c, "a=[]"));
  text = dump(c, 0);
  ck_assert_str_eq(text, "a: []\n");
  free(text);
  zf_conf_free(c);
}
END_TEST

/* Numbers come out of the JSON as they went in. */
START_TEST(test_json_numbers) {
  static const char *const num[] = {"0.1",   "1e-300", "0.30000000000000004", "1",
                                    "0.001", "1e-7",   "0.12345678901234567", "0"};
  for (size_t i = 0; i < sizeof num / sizeof *num; i++) {
    struct zf_conf *c = fresh();
    struct zf_buf b = {0};
    char word[80];
    snprintf(word, sizeof word, "learning_rate=%s", num[i]);
    ck_ok(zf_conf_word(c, word));
    ck_ok(zf_conf_dump_json(c, &b));
    json_t *o = json_loads(b.data, 0, NULL);
    ck_assert_ptr_nonnull(o);
    ck_assert(json_real_value(json_object_get(o, "learning_rate")) == strtod(num[i], NULL));
    json_decref(o);
    zf_buf_free(&b);
    zf_conf_free(c);
  }
}
END_TEST

START_TEST(test_help) {
  struct zf_conf *c = fresh();
  struct zf_buf b = {0};
  ck_ok(zf_conf_help(c, &b));
  ck_assert_ptr_nonnull(strstr(b.data, "base_model         text                    required  "));
  ck_assert_ptr_nonnull(strstr(b.data, "constant|linear|cosine  constant  "
                                       "      shape of the schedule\n"));
  ck_assert_ptr_nonnull(strstr(b.data, "integer|auto|all"));
  ck_assert_ptr_nonnull(strstr(b.data, "\ndatasets.N.path    text "));
  zf_buf_free(&b);
  zf_conf_free(c);
}
END_TEST

/* A small generator: the same texts in every run. */
static uint64_t state = 88172645463325252u;

static unsigned draw(unsigned n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned)(state >> 33) % n;
}

/* Texts that YAML likes to misread, and random ones made of awkward pieces. */
static void random_text(struct zf_buf *b) {
  static const char *const tricky[] = {"no",
                                       "null",
                                       "~",
                                       "",
                                       " ",
                                       "1e5",
                                       " leading space",
                                       "trailing ",
                                       "a: b",
                                       "a:",
                                       "#x",
                                       "a #x",
                                       "\n",
                                       "a\nb\n",
                                       "\r\n",
                                       "\t",
                                       "- a",
                                       "? a",
                                       "[a",
                                       "{a}",
                                       "*a",
                                       "&a",
                                       "!a",
                                       "|",
                                       ">",
                                       "%a",
                                       "@a",
                                       "`a",
                                       "'",
                                       "\"",
                                       "\\",
                                       "\\n",
                                       "...",
                                       "---",
                                       "--- a",
                                       "<<",
                                       "=",
                                       ".5",
                                       "0x1f",
                                       "y",
                                       "True",
                                       ",",
                                       "a, b",
                                       "\x7f",
                                       "\x01",
                                       "\xc2\x85",
                                       "\xe2\x80\xa8",
                                       "\xef\xbb\xbf",
                                       "\xef\xbf\xbe",
                                       "\xf0\x9f\x98\x80",
                                       "\xc3\xa9",
                                       "a\xcc\x81",
                                       "\xc2\xa0",
                                       "\xe2\x80\xa9x",
                                       "x\xef\xbb\xbf"};
  static const char *const piece[] = {"a",        "Z",    "0",        " ",
                                      "  ",       "\n",   "\t",       ":",
                                      "#",        "'",    "\"",       "\\",
                                      "-",        "[",    "]",        "{",
                                      "}",        ",",    "\xc3\xa9", "\xe2\x80\xa8",
                                      "\xc2\x85", "\x1b", "\x7f",     "\xf0\x9f\x98\x80",
                                      "\r",       "&",    "*",        "\xef\xbb\xbf",
                                      ".",        "%"};
  if (draw(2)) {
    zf_buf_puts(b, tricky[draw(sizeof tricky / sizeof *tricky)]);
    return;
  }
  zf_buf_puts(b, "");
  int n = draw(8) ? (int)draw(12) : (int)draw(400);
  for (int i = 0; i < n; i++) zf_buf_puts(b, piece[draw(sizeof piece / sizeof *piece)]);
}

/* YAML double quotes, every character escaped. */
static void quote(struct zf_buf *b, const char *text) {
  zf_buf_putc(b, '"');
  for (const unsigned char *p = (const unsigned char *)text; *p;) {
    unsigned c = *p, n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (n > 1) {
      c &= 0x7fu >> n;
      for (unsigned i = 1; i < n; i++) c = c << 6 | (p[i] & 63);
    }
    zf_buf_printf(b, "\\U%08x", c);
    p += n;
  }
  zf_buf_putc(b, '"');
}

static void add_field(struct zf_buf *b, const char *key) {
  struct zf_buf t = {0};
  random_text(&t);
  zf_buf_puts(b, key);
  quote(b, t.data);
  zf_buf_free(&t);
}

static void random_conf(struct zf_buf *b) {
  add_field(b, "base_model: ");
  add_field(b, "\nprompt: ");
  zf_buf_printf(b, "\nlearning_rate: %.17g", draw(1000000) * 1e-6);
  zf_buf_printf(b, "\noffset: %d", (int)draw(2000000) - 1000000);
  zf_buf_printf(b, "\nbatch: %s", draw(2) ? "auto" : "17");
  zf_buf_printf(b, "\nresume: %s", draw(2) ? "yes" : "OFF");
  zf_buf_puts(b, "\ntrainable: [");
  for (unsigned i = draw(4); i; i--) {
    add_field(b, "");
    zf_buf_puts(b, ", ");
  }
  zf_buf_puts(b, "]\ndatasets: [");
  for (unsigned i = draw(3); i; i--) {
    add_field(b, "{path: ");
    add_field(b, ", fields: [");
    zf_buf_puts(b, draw(2) ? "], weight: 0.5}, " : ", x]}, ");
  }
  zf_buf_puts(b, "]\n");
}

START_TEST(test_round_trip) {
  for (int round = 0; round < 2000; round++) {
    struct zf_buf text = {0}, j1 = {0}, j2 = {0};
    random_conf(&text);
    struct zf_conf *c = conf_of(text.data);
    int origins = (int)draw(2);
    char *one = dump(c, 0), *commented = dump(c, origins);
    struct zf_conf *again = conf_of(commented);
    char *two = dump(again, 0);
    ck_assert_str_eq(one, two);
    ck_ok(zf_conf_dump_json(c, &j1));
    ck_ok(zf_conf_dump_json(again, &j2));
    ck_assert_str_eq(j1.data, j2.data);
    ck_assert_str_eq(zf_conf_str(c, "prompt"), zf_conf_str(again, "prompt"));
    free(one);
    free(two);
    free(commented);
    zf_buf_free(&text);
    zf_buf_free(&j1);
    zf_buf_free(&j2);
    zf_conf_free(c);
    zf_conf_free(again);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("conf_dump");
  TCase *t = tcase_create("conf_dump");
  tcase_add_test(t, test_dump);
  tcase_add_test(t, test_kept);
  tcase_add_test(t, test_dump_empty);
  tcase_add_test(t, test_json_numbers);
  tcase_add_test(t, test_help);
  tcase_add_test(t, test_round_trip);
  tcase_set_timeout(t, 60);
  suite_add_tcase(s, t);
  return unit_run(s);
}
