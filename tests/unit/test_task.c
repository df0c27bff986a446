/* Templates, and rows becoming examples: targets, truncation, splitting, labels, counts. */
#include "fmt/json.h"
#include "fmt/records.h"
#include "task/dataset.h"
#include "task/template.h"
#include "unit/bytes_tok.h"
#include "unit/unit.h"

/* --- templates --- */

static int apply(const char *template, const char *row, struct zf_buf *out) {
  struct zf_template *t;
  json_t *obj;
  memset(out, 0, sizeof *out);
  int rc = zf_template_parse(&t, template);
  if (rc) return rc;
  ck_ok(zf_json_parse(&obj, row, strlen(row), "row"));
  rc = zf_template_apply(t, obj, out);
  json_decref(obj);
  zf_template_free(t);
  return rc;
}

static const struct {
  const char *template, *row, *want;
} good[] = {
    {"plain", "{}", "plain"},
    {"{a} It was", "{\"a\": \"x y\"}", "x y It was"},
    {"{a}{b}", "{\"a\": \"1\", \"b\": \"2\"}", "12"},
    {"{{{a}}}", "{\"a\": \"z\"}", "{z}"},
    {"{{}}", "{}", "{}"},
    {"a}}b{{c", "{}", "a}b{c"},
    {"{a|strip}.", "{\"a\": \" \\t q r\\r\\n \"}", "q r."},
    {"{a|strip}", "{\"a\": \"  \"}", ""},
    {"{a|rstrip:.!}", "{\"a\": \"end.!.\"}", "end"},
    {"{a|rstrip:.}", "{\"a\": \"...\"}", ""},
    {"{a|lower}", "{\"a\": \"AbÉ\"}", "abÉ"},
    {"{a|upper}", "{\"a\": \"aBé\"}", "ABé"},
    {"{a|capitalize}", "{\"a\": \"what is\"}", "What is"},
    {"{a|capitalize}", "{\"a\": \"\"}", ""},
    {"{a|lower_first}", "{\"a\": \"The man\"}", "the man"},
    {"{a|lower_first}", "{\"a\": \"I am\"}", "I am"},
    {"{a|lower_first}", "{\"a\": \"I\"}", "I"},
    {"{a|lower_first}", "{\"a\": \"I'd\"}", "I'd"},
    {"{a|lower_first}", "{\"a\": \"It\"}", "it"},
    {"{a|replace:@x=- }", "{\"a\": \"1@x2@x\"}", "1- 2- "},
    {"{a|replace:b=}", "{\"a\": \"abcb\"}", "ac"},
    {"{a|replace:b}", "{\"a\": \"abcb\"}", "ac"},
    {"{a|replace:=x}", "{\"a\": \"ab\"}", "ab"},
    {"{a|replace:aa=a}", "{\"a\": \"aaa\"}", "aa"},
    {"{a|map:cause=because,effect=so}", "{\"a\": \"effect\"}", "so"},
    {"{a|map:0=no,1=}", "{\"a\": 1}", ""},
    {"{a|map:x=a=b}", "{\"a\": \"x\"}", "a=b"},
    {"{a|strip|rstrip:.|lower_first}", "{\"a\": \" The end. \"}", "the end"},
    {"{a} {b} {c} {d}", "{\"a\": 3, \"b\": -12345678901, \"c\": true, \"d\": false}",
     "3 -12345678901 true false"},
    {"{a} {b} {c} {d}", "{\"a\": 0.1, \"b\": 2.0, \"c\": 1e300, \"d\": 0.30000000000000004}",
     "0.1 2.0 1e+300 0.30000000000000004"},
    {"{a b|upper}", "{\"a b\": \"x\"}", "X"},
};

START_TEST(test_template) {
  struct zf_buf b;
  ck_ok(apply(good[_i].template, good[_i].row, &b));
  ck_assert_str_eq(b.data ? b.data : "", good[_i].want);
  ck_assert_uint_eq(b.len, strlen(good[_i].want));
  zf_buf_free(&b);
}
END_TEST

static const struct {
  const char *template, *row;
  int code;
  const char *part;
} bad[] = {
    {"ab{c", "{}", ZF_EUSAGE, "character 3: '{' without '}'"},
    {"ab}c", "{}", ZF_EUSAGE, "character 3: '}' without '{'"},
    {"\xc3\xa4\xe2\x82\xac}c", "{}", ZF_EUSAGE, "character 3: '}' without '{'"},
    {"a{}", "{}", ZF_EUSAGE, "character 3: empty field name"},
    {"a{|strip}", "{}", ZF_EUSAGE, "character 3: empty field name"},
    {"{a|stripp}", "{}", ZF_EUSAGE,
     "character 4: unknown filter 'stripp'; there are strip, rstrip"},
    {"{a|}", "{}", ZF_EUSAGE, "character 4: unknown filter ''"},
    {"{a|strip:x}", "{}", ZF_EUSAGE, "character 4: filter 'strip' takes no argument"},
    {"{a|lower|rstrip}", "{}", ZF_EUSAGE, "character 10: filter 'rstrip' needs an argument"},
    {"{a|lower|lower|lower|lower|lower|lower|lower|lower|lower}", "{}", ZF_EUSAGE,
     "more than 8 filters"},
    {"{a}}", "{}", ZF_EUSAGE, "character 4: '}'"},
    {"{a}", "{\"b\": 1}", ZF_EINVALID, "field 'a' is missing"},
    {"{a}", "{\"a\": null}", ZF_EINVALID,
     "field 'a': expected a text, a number or a boolean, found null"},
    {"{a|strip}", "{\"a\": [1]}", ZF_EINVALID,
     "field 'a': expected a text, a number or a boolean, found an array"},
    {"{a}", "{\"a\": NaN}", ZF_EINVALID,
     "field 'a': expected a text, a number or a boolean, found NaN"},
    {"{a|map:x=y}", "{\"a\": \"z\"}", ZF_EINVALID,
     "field 'a': the value 'z' is not in the list map:x=y"},
};

START_TEST(test_template_mistakes) {
  struct zf_buf b;
  ck_fails(apply(bad[_i].template, bad[_i].row, &b), bad[_i].code, bad[_i].part);
  const char *first = strstr(zf_error_message(), "field 'a'");
  if (first) ck_assert_ptr_null(strstr(first + 1, "field 'a'"));
  zf_buf_free(&b);
}
END_TEST

/* Each filter makes ten of one: a chain of them stops before memory does. */
START_TEST(test_template_bound) {
  struct zf_buf b;
  ck_fails(apply("{a|replace:x=xxxxxxxxxx|replace:x=xxxxxxxxxx|replace:x=xxxxxxxxxx|"
                 "replace:x=xxxxxxxxxx|replace:x=xxxxxxxxxx|replace:x=xxxxxxxxxx|"
                 "replace:x=xxxxxxxxxx|replace:x=xxxxxxxxxx}",
                 "{\"a\": \"xx\"}", &b),
           ZF_EINVALID, "field 'a': replace:x=xxxxxxxxxx makes more than 16777216 bytes");
  zf_buf_free(&b);
}
END_TEST

/* --- rows to examples --- */

static struct zf_tok *tok, *no_specials, *masking;

static void setup(void) {
  tok = bytes_tok(0);
  no_specials = bytes_tok(1);
  masking = bytes_tok(-1);
}

static void teardown(void) {
  zf_tok_free(tok);
  zf_tok_free(no_specials);
  zf_tok_free(masking);
}

static int add(struct zf_dataset *d, const char *rows, const struct zf_data_spec *spec,
               const struct zf_tok *t) {
  struct zf_records *r;
  ck_ok(zf_records_parse(&r, rows, strlen(rows), "data.jsonl"));
  int rc = zf_dataset_add(d, r, NULL, 0, spec, t);
  zf_records_free(r);
  return rc;
}

static struct zf_dataset *make(const char *rows, const struct zf_data_spec *spec) {
  struct zf_dataset *d;
  ck_ok(zf_dataset_new(&d, spec->type));
  ck_ok(add(d, rows, spec, tok));
  return d;
}

/* Sequence i as text: BOS is ^, EOS is $, and | stands before the first target. */
static const char *shown(const struct zf_dataset *d, int64_t i) {
  static char text[256];
  const struct zf_seq *s = &d->seq[i];
  int n = 0;
  for (int32_t t = 0; t < s->len; t++) {
    int32_t id = d->pool.id[s->at + t];
    if (t == s->target) text[n++] = '|';
    text[n++] = (char)(id == BOS ? '^' : id == EOS ? '$' : id == MASK ? '_' : id);
  }
  if (s->target == s->len) text[n++] = '|';
  text[n] = 0;
  return text;
}

static const char *const yes_no[] = {"Yes", "No!"};
static const char *const one_byte[] = {"+", "-"};

static struct zf_data_spec choice_spec(void) {
  return (struct zf_data_spec){.type = ZF_TASK_CLASSIFICATION,
                               .prompt = "{q}? ",
                               .options = yes_no,
                               .noptions = 2,
                               .sequence_len = 64};
}

static struct zf_data_spec completion_spec(void) {
  return (struct zf_data_spec){.type = ZF_TASK_COMPLETION, .sequence_len = 64};
}

static struct zf_data_spec text_spec(void) {
  return (struct zf_data_spec){.type = ZF_TASK_TEXT, .sequence_len = 64};
}

START_TEST(test_classification) {
  struct zf_data_spec s = choice_spec();
  struct zf_dataset *d =
      make("{\"q\": \"a\", \"label\": 1}\n\n{\"q\": \"bc\", \"label\": \"0\"}\n", &s);
  ck_assert_int_eq(d->count, 2);
  ck_assert_int_eq(d->nseq, 4);
  ck_assert_str_eq(shown(d, 0), "^a? |Yes");
  ck_assert_str_eq(shown(d, 1), "^a? |No!");
  ck_assert_str_eq(shown(d, 3), "^bc? |No!");
  ck_assert(d->example[0].label == 1 && d->example[1].label == 0);
  ck_assert(d->example[0].line == 1 && d->example[1].line == 3 && d->example[1].seq == 2);
  ck_assert(d->example[0].shared == 4 && d->example[1].shared == 5 && !d->example[0].single);
  ck_assert_int_eq(zf_example_tokens(d, 0), 4 + 2 + 2); /* the last token is not run */
  ck_assert_int_eq(zf_example_targets(d, 0), 6);
  ck_assert_int_eq(zf_example_rows(d, 0), 6);
  ck_assert(d->counts.rows == 2 && d->counts.tokens == 2 * 7 + 2 * 8 && d->counts.targets == 12);
  ck_assert(d->counts.pass_tokens == 8 + 9 && d->options == 2);
  ck_ok(zf_dataset_check(d, "train"));
  zf_dataset_free(d);
  s.options = one_byte;
  d = make("{\"q\": \"a\", \"label\": 1}", &s);
  ck_assert(d->example[0].single && d->example[0].shared == 4);
  ck_assert_int_eq(zf_example_rows(d, 0), 1);
  ck_assert_int_eq(zf_example_tokens(d, 0), 4);
  zf_dataset_free(d);
}
END_TEST

/* One pass over the prompt, asked at the mask; what is cut is never the mask. */
START_TEST(test_mask) {
  static const struct {
    const char *prompt;
    int64_t len; /* sequence_len */
    const char *text;
    int32_t ask;
  } t[] = {{"{q} is{mask}.", 64, "^abcdef is_.|+", 10},
           {"{q} is{mask}.", 10, "^def is_.|", 7},
           {"{mask}: {q}", 64, "^_: abcdef|+", 1},
           {"{mask}: {q}", 9, "^_: abcf|", 1}};
  const char *row = "{\"q\": \"abcdef\", \"label\": 1}";
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    struct zf_data_spec s = choice_spec();
    struct zf_dataset *d;
    s.type = ZF_TASK_MASKED;
    s.prompt = t[i].prompt;
    s.options = one_byte;
    s.sequence_len = t[i].len;
    ck_ok(zf_dataset_new(&d, s.type));
    ck_ok(add(d, row, &s, masking));
    ck_assert_msg(!strncmp(shown(d, 0), t[i].text, strlen(t[i].text)), "%s", shown(d, 0));
    ck_assert(d->example[0].single && d->example[0].label == 1);
    ck_assert_int_eq(d->example[0].shared - 1 - d->example[0].mask_distance, t[i].ask);
    ck_assert_int_eq(d->pool.id[d->seq[0].at + t[i].ask], MASK);
    ck_assert_int_eq(zf_example_rows(d, 0), 1);
    zf_dataset_free(d);
  }
}
END_TEST

START_TEST(test_mask_mistakes) {
  static const char *const twice[] = {"+", "+"};
  const char *row = "{\"q\": \"a\", \"label\": 1}";
  struct zf_data_spec s = choice_spec();
  struct zf_dataset *d;
  s.type = ZF_TASK_MASKED;
  s.options = one_byte;
  ck_ok(zf_dataset_new(&d, s.type));
  ck_fails(add(d, row, &s, masking), ZF_EINVALID,
           "data.jsonl:1: expected one mask in the text, found 0");
  s.prompt = "{mask}{mask}";
  ck_fails(add(d, row, &s, masking), ZF_EINVALID, "found 2");
  ck_fails(add(d, row, &s, tok), ZF_EUSAGE, "the tokenizer has no mask token");
  s.prompt = "{mask}abc";
  s.sequence_len = 2;
  ck_fails(add(d, row, &s, masking), ZF_EINVALID, "longer than sequence_len 2");
  s.options = yes_no;
  ck_fails(add(d, row, &s, masking), ZF_EUSAGE, "'Yes' is 3 tokens; a masked word is one");
  s.options = twice;
  ck_fails(add(d, row, &s, masking), ZF_EUSAGE, "'+' is the same token as option 0");
  zf_dataset_free(d);
}
END_TEST

/* Options that begin alike share more than the prompt, and never the last token of either. */
START_TEST(test_shared_length) {
  static const char *const alike[] = {"good", "goods", "go"};
  struct zf_data_spec s = choice_spec();
  s.options = alike;
  s.noptions = 3;
  struct zf_dataset *d = make("{\"q\": \"a\", \"label\": 1}", &s);
  ck_assert_int_eq(d->example[0].shared, 5);
  ck_assert_int_eq(zf_example_tokens(d, 0), 5 + 2 + 3 + 0);
  zf_dataset_free(d);
}
END_TEST

static const struct {
  const char *row, *part;
} labels_bad[] = {
    {"{\"q\": \"a\"}", "data.jsonl:2: field 'label' is missing"},
    {"{\"q\": \"a\", \"label\": 2}",
     "data.jsonl:2: label 2 is out of range: there are 2 options (0 to 1)"},
    {"{\"q\": \"a\", \"label\": -1}", "label -1 is out of range"},
    {"{\"q\": \"a\", \"label\": \"99999999999999999999\"}", "is out of range"},
    {"{\"q\": \"a\", \"label\": \"pos\"}", "label 'pos' is none of the 2 labels"},
    {"{\"q\": \"a\", \"label\": \"1x\"}", "label '1x' is none"},
    {"{\"q\": \"a\", \"label\": \"\"}", "label '' is none"},
    {"{\"q\": \"a\", \"label\": 1.5}", "expected a text, integer or boolean, found a real number"},
    {"{\"q\": \"a\", \"label\": null}", "found null"},
    {"{\"label\": 1}", "data.jsonl:2: field 'q' is missing"},
};

START_TEST(test_label_mistakes) {
  struct zf_data_spec s = choice_spec();
  struct zf_dataset *d;
  char rows[256];
  snprintf(rows, sizeof rows, "{\"q\": \"x\", \"label\": 0}\n%s\n", labels_bad[_i].row);
  ck_ok(zf_dataset_new(&d, s.type));
  ck_fails(add(d, rows, &s, tok), ZF_EINVALID, labels_bad[_i].part);
  zf_dataset_free(d);
}
END_TEST

/* With `labels` the field's value is looked up there, whatever its type: 4 is the first here and 1
 * is none, although there is an option 1. */
START_TEST(test_named_labels) {
  static const char *const names[] = {"4", "true"};
  struct zf_data_spec s = choice_spec();
  s.labels = names;
  s.nlabels = 2;
  s.label = "answer";
  struct zf_dataset *d = make("{\"q\": \"a\", \"answer\": 4}\n{\"q\": \"a\", \"answer\": true}\n"
                              "{\"q\": \"a\", \"answer\": \"4\"}",
                              &s);
  ck_assert(d->example[0].label == 0 && d->example[1].label == 1 && d->example[2].label == 0);
  ck_fails(add(d, "{\"q\": \"a\", \"answer\": 1}", &s, tok), ZF_EINVALID,
           "label '1' is none of the 2 labels");
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_completion) {
  struct zf_data_spec s = completion_spec();
  const char *row = "{\"prompt\": \"ab\", \"completion\": \"cd\"}";
  struct zf_dataset *d = make(row, &s);
  ck_assert_str_eq(shown(d, 0), "^ab|cd");
  ck_assert(d->example[0].label == -1 && d->example[0].nseq == 1 && d->example[0].shared == 4 &&
            !d->example[0].single);
  zf_dataset_free(d);
  s.add_eos = 1;
  d = make(row, &s);
  ck_assert_str_eq(shown(d, 0), "^ab|cd$");
  zf_dataset_free(d);
  s.train_on_inputs = 1;
  s.prompt = "{prompt}: ";
  s.completion = "{completion|upper}";
  d = make(row, &s);
  ck_assert_str_eq(shown(d, 0), "^|ab: CD$");
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_text) {
  struct zf_data_spec s = text_spec();
  s.add_eos = 1;
  struct zf_dataset *d = make("{\"text\": \"abc\"}", &s);
  ck_assert_str_eq(shown(d, 0), "^|abc$");
  ck_assert(d->counts.targets == 4 && d->counts.pass_tokens == 4);
  zf_dataset_free(d);
}
END_TEST

/* --- examples that are too long --- */

/* The prompt loses its beginning behind BOS, all options alike. */
START_TEST(test_truncate_choice) {
  struct zf_data_spec s = choice_spec();
  static const char *const uneven[] = {"Y", "Nope"};
  s.options = uneven;
  s.sequence_len = 10;
  struct zf_dataset *d =
      make("{\"q\": \"0123456789\", \"label\": 0}\n{\"q\": \"ab\", \"label\": 0}", &s);
  ck_assert_str_eq(shown(d, 0), "^789? |Y");
  ck_assert_str_eq(shown(d, 1), "^789? |Nope");
  ck_assert_str_eq(shown(d, 2), "^ab? |Y");
  ck_assert(d->example[0].shared == 6 && d->counts.truncated == 1 && d->counts.cut == 7);
  ck_fails(add(d, "\n{\"q\": \"0\", \"label\": 0}",
               &(struct zf_data_spec){.type = ZF_TASK_CLASSIFICATION,
                                      .prompt = "{q}",
                                      .options = uneven,
                                      .noptions = 2,
                                      .sequence_len = 4},
               tok),
           ZF_EINVALID, "data.jsonl:2: the targets alone are longer than sequence_len 4");
  zf_dataset_free(d);
  /* Without a BOS a token of the prompt must stay. */
  ck_ok(zf_dataset_new(&d, s.type));
  s.sequence_len = 5;
  ck_ok(add(d, "{\"q\": \"0123456789\", \"label\": 0}", &s, no_specials));
  ck_assert_str_eq(shown(d, 1), " |Nope");
  s.sequence_len = 4;
  ck_fails(add(d, "{\"q\": \"0123456789\", \"label\": 0}", &s, no_specials), ZF_EINVALID,
           "targets alone");
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_truncate_completion) {
  struct zf_data_spec s = completion_spec();
  const char *row = "{\"prompt\": \"abcdefgh\", \"completion\": \"xyz\"}";
  s.sequence_len = 7;
  s.add_eos = 1;
  struct zf_dataset *d = make(row, &s);
  ck_assert_str_eq(shown(d, 0), "^gh|xyz$");
  ck_assert_int_eq(d->counts.cut, 6);
  zf_dataset_free(d);
  s.train_on_inputs = 1; /* nothing is only context: the end goes */
  d = make(row, &s);
  ck_assert_str_eq(shown(d, 0), "^|abcdef");
  ck_assert(d->counts.truncated == 1 && d->counts.cut == 6);
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_truncate_text) {
  struct zf_data_spec s = text_spec();
  s.sequence_len = 4;
  struct zf_dataset *d = make("{\"text\": \"abcdefgh\"}\n{\"text\": \"xy\"}", &s);
  ck_assert_str_eq(shown(d, 0), "^|abc");
  ck_assert_str_eq(shown(d, 1), "^|xy");
  ck_assert(d->counts.truncated == 1 && d->counts.cut == 5);
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_drop_and_raise) {
  struct zf_data_spec s = completion_spec();
  const char *rows = "{\"prompt\": \"abcdefgh\", \"completion\": \"xyz\"}\n"
                     "{\"prompt\": \"a\", \"completion\": \"b\"}";
  s.sequence_len = 6;
  s.excess = ZF_EXCESS_DROP;
  struct zf_dataset *d = make(rows, &s);
  ck_assert(d->count == 1 && d->nseq == 1 && d->counts.dropped == 1 && d->counts.rows == 2);
  ck_assert_str_eq(shown(d, 0), "^a|b");
  ck_assert_int_eq(d->example[0].line, 2);
  zf_dataset_free(d);
  ck_ok(zf_dataset_new(&d, s.type));
  s.excess = ZF_EXCESS_RAISE;
  ck_fails(add(d, rows, &s, tok), ZF_EINVALID,
           "data.jsonl:1: the example has 12 tokens, sequence_len is 6");
  zf_dataset_free(d);
}
END_TEST

/* Pieces overlap by the token that the next one only reads: every token is a target once. */
START_TEST(test_split) {
  struct zf_data_spec s = text_spec();
  s.sequence_len = 4;
  s.excess = ZF_EXCESS_SPLIT;
  struct zf_dataset *d =
      make("{\"text\": \"abcdefgh\"}\n{\"text\": \"xyz\"}\n{\"text\": \"klmn\"}", &s);
  static const char *const want[] = {"^|abc", "c|def", "f|gh", "^|xyz", "^|klm", "m|n"};
  ck_assert_int_eq(d->count, 6);
  for (int i = 0; i < 6; i++) ck_assert_str_eq(shown(d, d->example[i].seq), want[i]);
  ck_assert(d->counts.split == 2 && d->counts.targets == 8 + 3 + 4 && d->counts.rows == 3);
  ck_assert(d->example[2].line == 1 && d->example[5].line == 3);
  zf_dataset_free(d);
  s.sequence_len = 2;
  d = make("{\"text\": \"abc\"}", &s);
  ck_assert_int_eq(d->count, 3);
  ck_assert_str_eq(shown(d, d->example[2].seq), "b|c");
  zf_dataset_free(d);
  ck_ok(zf_dataset_new(&d, s.type));
  s.sequence_len = 1;
  ck_fails(add(d, "{\"text\": \"abc\"}", &s, tok), ZF_EUSAGE, "sequence_len: expected 2 or more");
  zf_dataset_free(d);
}
END_TEST

/* Examples without a target are left out and counted. */
START_TEST(test_masked) {
  struct zf_data_spec s = completion_spec(), t = text_spec();
  struct zf_dataset *d = make("{\"prompt\": \"a\", \"completion\": \"\"}", &s);
  ck_assert(d->count == 0 && d->nseq == 0 && d->counts.masked == 1);
  ck_fails(zf_dataset_check(d, "train"), ZF_EINVALID,
           "data.jsonl: the train set has no target: all 1 examples are empty or masked");
  ck_ok(add(d, "{\"prompt\": \"\", \"completion\": \"b\"}", &s, tok));
  ck_assert_str_eq(shown(d, 0), "^|b");
  ck_ok(zf_dataset_check(d, "train"));
  /* The first token of all is never a target: nothing stands before it. */
  ck_ok(add(d, "{\"prompt\": \"\", \"completion\": \"xy\"}", &s, no_specials));
  ck_assert_str_eq(shown(d, 1), "x|y");
  zf_dataset_free(d);
  d = make("{\"text\": \"\"}", &t);
  ck_assert(d->count == 0 && d->counts.masked == 1);
  zf_dataset_free(d);
  d = make("", &t);
  ck_fails(zf_dataset_check(d, "dev"), ZF_EINVALID, "data.jsonl: the dev set has no row");
  zf_dataset_free(d);
  t.sequence_len = 3;
  t.excess = ZF_EXCESS_DROP;
  d = make("{\"text\": \"abcdef\"}", &t);
  ck_fails(zf_dataset_check(d, "dev"), ZF_EINVALID, "longer than sequence_len and were dropped");
  zf_dataset_free(d);
}
END_TEST

START_TEST(test_spec_mistakes) {
  struct zf_data_spec s = choice_spec(), t = text_spec();
  static const char *const names[] = {"a", "b", "c"}, *const broken[] = {"Yes", "{no"};
  struct zf_dataset *d;
  ck_ok(zf_dataset_new(&d, s.type));
  s.noptions = 1;
  ck_fails(add(d, "", &s, tok), ZF_EUSAGE, "needs at least 2 options, found 1");
  s.noptions = 2;
  s.labels = names;
  s.nlabels = 3;
  ck_fails(add(d, "", &s, tok), ZF_EUSAGE,
           "labels: expected one for each of the 2 options, found 3");
  s.labels = NULL;
  s.options = broken;
  ck_fails(add(d, "", &s, tok), ZF_EUSAGE, "options[1]: template, character 1");
  s.prompt = "}";
  ck_fails(add(d, "", &s, tok), ZF_EUSAGE, "prompt: template, character 1");
  t.text = "{";
  ck_fails(add(d, "", &t, tok), ZF_EUSAGE, "text: template, character 1");
  t.text = NULL;
  t.add_eos = 1;
  ck_fails(add(d, "", &t, no_specials), ZF_EUSAGE, "add_eos: the tokenizer names no EOS token");
  zf_dataset_free(d);
}
END_TEST

/* Chosen rows, in the order they are asked for, from more than one file. */
START_TEST(test_index) {
  const char *rows = "{\"text\": \"aa\"}\n{\"text\": \"bb\"}\n{\"text\": \"cc\"}";
  const int64_t index[] = {2, 0};
  struct zf_data_spec s = text_spec();
  struct zf_dataset *d = make("{\"text\": \"zz\"}", &s);
  struct zf_records *r;
  ck_ok(zf_records_parse(&r, rows, strlen(rows), "more.jsonl"));
  ck_ok(zf_dataset_add(d, r, index, 2, &s, tok));
  zf_records_free(r);
  ck_assert_int_eq(d->count, 3);
  ck_assert_str_eq(shown(d, 1), "^|cc");
  ck_assert_str_eq(shown(d, 2), "^|aa");
  ck_assert(d->nfile == 2 && d->example[0].file == 0 && d->example[1].file == 1 &&
            d->example[1].line == 3);
  ck_assert_str_eq(d->path[1], "more.jsonl");
  zf_dataset_free(d);
}
END_TEST

/* A tokenizer that puts EOS behind every text: the options' targets are the options. */
START_TEST(test_closing_tokenizer) {
  char path[600];
  snprintf(path, sizeof path, "%s/tokenizer.json", tmp_path("bytes"));
  json_t *t = json_load_file(path, 0, NULL);
  json_t *post = json_object_get(t, "post_processor");
  json_array_append_new(json_object_get(post, "single"),
                        json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", "</s>", "type_id", 0));
  json_object_set_new(json_object_get(post, "special_tokens"), "</s>",
                      json_pack("{s:s, s:[i], s:[s]}", "id", "</s>", "ids", EOS, "tokens", "</s>"));
  write_json(tmp_path("bytes"), "tokenizer.json", t);
  struct zf_tok *closing, *kept = tok;
  ck_ok(zf_tok_open(&closing, tmp_path("bytes")));
  tok = closing;
  struct zf_data_spec s = choice_spec(), c = completion_spec();
  struct zf_dataset *d = make("{\"q\": \"ok\", \"label\": 0}", &s);
  ck_assert_str_eq(shown(d, 0), "^ok? |Yes");
  zf_dataset_free(d);
  d = make("{\"prompt\": \"a\", \"completion\": \"b\"}", &c);
  ck_assert_str_eq(shown(d, 0), "^a|b");
  zf_dataset_free(d);
  c.add_eos = 1;
  d = make("{\"prompt\": \"a\", \"completion\": \"b\"}", &c);
  ck_assert_str_eq(shown(d, 0), "^a|b$");
  zf_dataset_free(d);
  tok = kept;
  zf_tok_free(closing);
}
END_TEST

int main(void) {
  Suite *s = suite_create("task");
  TCase *t = tcase_create("task");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_loop_test(t, test_template, 0, sizeof good / sizeof *good);
  tcase_add_loop_test(t, test_template_mistakes, 0, sizeof bad / sizeof *bad);
  tcase_add_test(t, test_template_bound);
  tcase_add_test(t, test_classification);
  tcase_add_test(t, test_mask);
  tcase_add_test(t, test_mask_mistakes);
  tcase_add_test(t, test_shared_length);
  tcase_add_loop_test(t, test_label_mistakes, 0, sizeof labels_bad / sizeof *labels_bad);
  tcase_add_test(t, test_named_labels);
  tcase_add_test(t, test_completion);
  tcase_add_test(t, test_text);
  tcase_add_test(t, test_truncate_choice);
  tcase_add_test(t, test_truncate_completion);
  tcase_add_test(t, test_truncate_text);
  tcase_add_test(t, test_drop_and_raise);
  tcase_add_test(t, test_split);
  tcase_add_test(t, test_masked);
  tcase_add_test(t, test_spec_mistakes);
  tcase_add_test(t, test_index);
  tcase_add_test(t, test_closing_tokenizer);
  suite_add_tcase(s, t);
  return unit_run(s);
}
