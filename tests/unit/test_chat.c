/* Texts with target stretches: conversations, instructions, segments. */
#include "unit/unit.h"

#include "base/file.h"
#include "fmt/json.h"
#include "task/chat.h"

static json_t *json(const char *text) {
  json_t *out;
  ck_ok(zf_json_parse(&out, text, strlen(text), "row"));
  return out;
}

/* A directory with a tokenizer_config.json. */
static const char *model(const char *config) {
  const char *dir = tmp_path("model");
  char *path = zf_path_join(dir, "tokenizer_config.json");
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_write_file(path, config, strlen(config)));
  free(path);
  return dir;
}

/* The text with its stretches between [ and ]. */
static void marked(struct zf_buf *out, const struct zf_buf *text, const struct zf_text_spans *s) {
  int64_t at = 0;
  zf_buf_clear(out);
  for (int64_t i = 0; i < s->count; i++) {
    ck_assert(s->span[i].from >= at && s->span[i].to <= (int64_t)text->len);
    zf_buf_add(out, text->data + at, (size_t)(s->span[i].from - at));
    zf_buf_putc(out, '[');
    at = s->span[i].to;
    zf_buf_add(out, text->data + s->span[i].from, (size_t)(at - s->span[i].from));
    zf_buf_putc(out, ']');
  }
  zf_buf_puts(out, text->data + at);
}

#define CONFIG "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}"
#define TALK                                                                                       \
  "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, "     \
  "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}]"

static int row_of(const char *config, const char *named, const char *row, const char *want) {
  struct zf_chat *c;
  struct zf_buf text = {0}, out = {0};
  struct zf_text_spans spans = {0};
  json_t *r = json(row);
  json_t *tokens = json_pack("{s:s, s:s}", "bos_token", "<s>", "eos_token", "</s>");
  int rc = zf_chat_open(&c, model(config), tokens, named);
  json_decref(tokens);
  struct zf_buf all = {0};
  int64_t n = 1;
  for (int64_t k = 0; !rc && k < n; k++) { /* a line each where answers are apart */
    int64_t parts;
    zf_buf_clear(&text);
    spans.count = 0;
    rc = zf_chat_row(c, NULL, r, k, &text, &spans, &parts);
    if (k == 0) n = parts ? parts : 1;
    if (rc) break;
    marked(&out, &text, &spans);
    zf_buf_printf(&all, "%s%s", k ? "\n==\n" : "", out.data);
  }
  if (!rc) ck_assert_str_eq(all.data, want);
  zf_buf_free(&all);
  zf_chat_free(c);
  json_decref(r);
  zf_buf_free(&text);
  zf_buf_free(&out);
  free(spans.span);
  return rc;
}

static const struct {
  const char *name, *want;
} builtin[] = {
    {"chatml", "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>\n]"
               "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>\n]"},
    {"llama3", "<s><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>"
               "assistant<|end_header_id|>\n\n[b<|eot_id|>]<|start_header_id|>user"
               "<|end_header_id|>\n\nc<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
               "[d<|eot_id|>]"},
    {"gemma", "<s><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n[b<end_of_turn>\n]"
              "<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n[d<end_of_turn>\n]"},
    {"phi3", "<|user|>\na<|end|>\n<|assistant|>\n[b<|end|>\n]<|user|>\nc<|end|>\n<|assistant|>\n"
             "[d<|end|>\n]"},
    {"mistral", "<s>[INST] a[/INST][ b</s>][INST] c[/INST][ d</s>]"},
    {"zephyr", "<|user|>\na</s>\n<|assistant|>\n[b</s>\n]<|user|>\nc</s>\n<|assistant|>\n"
               "[d</s>\n]"},
    {"alpaca", "Below is an instruction that describes a task. Write a response that appropriately "
               "completes the request.\n\n### Instruction:\na\n\n### Response:\n[b</s>\n\n]"
               "### Instruction:\nc\n\n### Response:\n[d</s>\n\n]"},
    {"vicuna", "A chat between a curious user and an artificial intelligence assistant. USER: a "
               "ASSISTANT:[ b</s>]USER: c ASSISTANT:[ d</s>]"},
};
enum { BUILTIN = sizeof builtin / sizeof *builtin };

START_TEST(test_builtin) {
  ck_ok(row_of(CONFIG "}", builtin[_i].name, "{\"messages\": " TALK "}", builtin[_i].want));
  ck_assert_ptr_nonnull(strstr(zf_chat_names(), builtin[_i].name));
}
END_TEST

START_TEST(test_own) {
  const char *list = CONFIG ", \"chat_template\": [{\"name\": \"tool_use\", \"template\": \"x\"}, "
                            "{\"name\": \"default\", \"template\": \"{% for m in messages %}"
                            "{{ m.content }};{% endfor %}\"}]}";
  ck_ok(row_of(list, NULL, "{\"messages\": " TALK "}", "a;[b;]c;[d;]"));
  ck_ok(row_of(list, NULL,
               "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", "
               "\"value\": \"b\"}]}",
               "a;[b;]"));
  ck_ok(row_of(CONFIG ", \"chat_template\": \"{% for m in messages %}{% if m.role == 'user' %}"
                      "{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}"
                      "{% endif %}{% endfor %}\"}",
               NULL, "{\"messages\": " TALK "}", "a[b]c[d]"));
}
END_TEST

/* Variables that Transformers gives a template, whether a row has them or not. */
START_TEST(test_variables) {
  ck_ok(row_of(CONFIG ", \"chat_template\": \"{{ documents is defined }} {{ documents is none }} "
                      "{{ tools is none }} "
                      "{{ bos_token is defined }} {{ pad_token is defined }}\"}",
               NULL, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
               "True True True True False"));
}
END_TEST

/* A template that writes the last answer otherwise than those before: each is an example of its own. */
#define THINKS                                                                                     \
  CONFIG ", \"chat_template\": \"{% for m in messages %}{% if m.role == 'user' %}{{ m.content }};" \
         "{% else %}A:{% if loop.last %}<t></t>{% endif %}{{ m.content }}.{% endif %}{% endfor %}" \
         "{% if add_generation_prompt %}A:{% endif %}\"}"
START_TEST(test_apart) {
  ck_ok(row_of(THINKS, NULL, "{\"messages\": " TALK "}",
               "a;A:[<t></t>b.]\n==\na;A:b.c;A:[<t></t>d.]"));
  /* one answer alone is whole as ever; behind it the user speaks: up to the answer */
  ck_ok(row_of(THINKS, NULL,
               "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
               "\"assistant\", \"content\": \"b\"}]}",
               "a;A:[<t></t>b.]"));
  ck_ok(row_of(THINKS, NULL,
               "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
               "\"assistant\", \"content\": \"b\"}, "
               "{\"role\": \"user\", \"content\": \"c\"}]}",
               "a;A:[<t></t>b.]"));
  /* two answers in a row: found by difference */
  ck_ok(row_of(THINKS, NULL,
               "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
               "\"assistant\", \"content\": \"zq\"}, "
               "{\"role\": \"assistant\", \"content\": \"A:z\"}]}",
               "a;A:[<t></t>zq.]\n==\na;A:zq.A:[<t></t>A:z.]"));
}
END_TEST

static void refuse(const char *config, const char *named, const char *row, int code,
                   const char *part) {
  int rc = row_of(config, named, row, "");
  ck_assert_int_eq(rc, code);
  ck_assert_msg(strstr(zf_error_message(), part) != NULL, "'%s' lacks '%s'", zf_error_message(),
                part);
}

START_TEST(test_refused) {
  refuse(CONFIG "}", NULL, "{}", ZF_EUSAGE, "has no chat template: set chat_template to one of");
  refuse(CONFIG "}", "chatmk", "{}", ZF_EUSAGE, "'chatmk' is neither a file nor one of chatml");
  refuse(CONFIG "}", "chatml", "{}", ZF_EINVALID, "field 'messages': expected a list");
  refuse(CONFIG "}", "chatml", "{\"messages\": [{\"role\": \"user\"}]}", ZF_EINVALID,
         "message 1: expected {role, content}");
  refuse(CONFIG "}", "chatml", "{\"conversations\": [{\"from\": \"cat\", \"value\": \"a\"}]}",
         ZF_EINVALID, "message 1: expected from");
  refuse(CONFIG "}", "gemma", "{\"messages\": [{\"role\": \"system\", \"content\": \"\"}]}",
         ZF_EINVALID, "gemma:1: the template refuses: System role not supported");
  refuse(CONFIG ", \"chat_template\": \"{{ messages | length }}\"}", NULL,
         "{\"messages\": " TALK "}", ZF_EINVALID,
         "the template renders earlier messages differently");
  refuse(CONFIG ", \"chat_template\": \"{% for m in messages %}{{ loop.length }}{{ m.content[:1] "
                "}};{% endfor %}\"}",
         NULL,
         "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
         "\"content\": \"bc\"}]}",
         ZF_EINVALID, "message 2: the template leaves out a part of the answer");
  refuse(CONFIG ", \"chat_template\": \"{{ x | nofilter }}\"}", NULL, "{}", ZF_EINVALID,
         "chat_template:1: filter 'nofilter' is not supported");
}
END_TEST

static int alpaca_row(const json_t *row, struct zf_buf *out, struct zf_text_spans *spans) {
  return zf_alpaca_row(&(struct zf_alpaca){0}, row, out, spans);
}

static void other_row(int (*fn)(const json_t *, struct zf_buf *, struct zf_text_spans *),
                      const char *row, const char *want) {
  struct zf_buf text = {0}, out = {0};
  struct zf_text_spans spans = {0};
  json_t *r = json(row);
  ck_ok(fn(r, &text, &spans));
  marked(&out, &text, &spans);
  ck_assert_str_eq(out.data, want);
  zf_buf_free(&text);
  zf_buf_free(&out);
  free(spans.span);
  json_decref(r);
}

START_TEST(test_others) {
  struct zf_buf out = {0};
  struct zf_text_spans spans = {0};
  json_t *bad = json("{\"segments\": [{\"text\": \"a\"}], \"instruction\": \"i\"}");
  other_row(alpaca_row, "{\"instruction\": \"i\", \"input\": \"\", \"output\": \"o\"}",
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\ni\n\n### Response:\n[o]");
  other_row(alpaca_row, "{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\"}",
            "Below is an instruction that describes a task, paired with an input that provides "
            "further context. Write a response that appropriately completes the request.\n\n"
            "### Instruction:\ni\n\n### Input:\nx\n\n### Response:\n[o]");
  other_row(zf_segments_row,
            "{\"segments\": [{\"label\": false, \"text\": \"a\"}, {\"label\": true, \"text\": "
            "\"b\"}, {\"label\": true, \"text\": \"c\"}]}",
            "a[b][c]");
  ck_fails(zf_segments_row(bad, &out, &spans), ZF_EINVALID, "segment 1: expected");
  ck_fails(alpaca_row(bad, &out, &spans), ZF_EINVALID, "field 'output' is missing");
  json_decref(bad);
  zf_buf_free(&out);
  free(spans.span);
}
END_TEST

/* --- fields of other names --- */

static void alpaca_of(const struct zf_fields *f, const char *row, const char *want) {
  struct zf_alpaca a = {.fields = f};
  struct zf_template *format = NULL, *other = NULL;
  struct zf_buf text = {0}, out = {0};
  struct zf_text_spans spans = {0};
  json_t *r = json(row);
  if (f->format) ck_ok(zf_template_parse(&format, f->format));
  if (f->no_input_format) ck_ok(zf_template_parse(&other, f->no_input_format));
  a.format = format;
  a.no_input = other;
  ck_ok(zf_alpaca_row(&a, r, &text, &spans));
  marked(&out, &text, &spans);
  ck_assert_str_eq(out.data, want);
  zf_template_free(format);
  zf_template_free(other);
  zf_buf_free(&text);
  zf_buf_free(&out);
  free(spans.span);
  json_decref(r);
}

START_TEST(test_alpaca_fields) {
  struct zf_fields f = {.instruction = "q", .output = "a"};
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"system\": \"Be brief.\"}",
            "Be brief.\n\n### Instruction:\ni\n\n### Response:\n[o]");
  f.system_prompt = "Be kind.";
  f.input = "more";
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"more\": \"x\"}",
            "Be kind.\n\n### Instruction:\ni\n\n### Input:\nx\n\n### Response:\n[o]");
  f.format = "[{instruction}|{input}] ";
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"more\": \"x\"}", "Be kind.[i|x] [o]");
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"more\": \"\"}", "Be kind.[i|] [o]");
  f.no_input_format = "<{system}> {instruction|upper}: ";
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"more\": \"\"}", "<Be kind.> I: [o]");
  f.system = "who";
  alpaca_of(&f, "{\"q\": \"i\", \"a\": \"o\", \"more\": \"\", \"who\": \"a cat\"}",
            "<a cat> I: [o]");
}
END_TEST

START_TEST(test_alpaca_lacks) {
  struct zf_buf out = {0};
  struct zf_text_spans spans = {0};
  struct zf_fields f = {.instruction = "question", .input = "context"};
  struct zf_alpaca a = {.fields = &f};
  json_t *near = json("{\"questoin\": \"i\", \"output\": \"o\"}");
  json_t *far = json("{\"question\": \"i\", \"output\": \"o\"}");
  ck_fails(zf_alpaca_row(&a, near, &out, &spans), ZF_EINVALID,
           "field 'question' is missing: the row has 'questoin'");
  ck_fails(zf_alpaca_row(&a, far, &out, &spans), ZF_EINVALID,
           "field 'context' is missing: the row has 'question', 'output'");
  json_decref(near);
  json_decref(far);
  zf_buf_free(&out);
  free(spans.span);
}
END_TEST

static const char *const own_roles[] = {"visitor=user", "bot=assistant"};

START_TEST(test_messages_fields) {
  static const struct {
    struct zf_fields f;
    const char *row, *want; /* want of a wrong one: part of the sentence */
    int rc;
  } c[] = {
      {{0},
       "{\"messages\": [{\"role\": \"x\", \"content\": \"c\", \"more\": 1}]}",
       "[{\"role\": \"x\", \"content\": \"c\", \"more\": 1}]",
       0},
      {{0},
       "{\"conversations\": [{\"from\": \"human\", \"value\": \"c\", \"more\": 1}]}",
       "[{\"role\": \"user\", \"content\": \"c\"}]",
       0},
      {{.messages = "talk", .role = "who", .content = "said", .roles = own_roles, .nroles = 2},
       "{\"talk\": [{\"who\": \"visitor\", \"said\": \"a\"}, {\"who\": \"bot\", \"said\": \"b\", "
       "\"x\": 2}, "
       "{\"who\": \"tool\", \"said\": \"c\"}]}",
       "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", "
       "\"x\": 2}, "
       "{\"role\": \"tool\", \"content\": \"c\"}]",
       0},
      {{.roles = own_roles, .nroles = 2},
       "{\"conversations\": [{\"from\": \"visitor\", \"value\": \"a\"}, {\"from\": \"gpt\", "
       "\"value\": \"b\"}]}",
       "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]",
       0},
      {{.messages = "talks"},
       "{\"talk\": [], \"id\": 3}",
       "field 'talks' is missing: the row has 'talk'",
       ZF_EINVALID},
      {{.messages = "talk"},
       "{\"talk\": 3}",
       "field 'talk': expected a list of {role, content}, found an integer",
       ZF_EINVALID},
      {{.messages = "talk", .role = "who"},
       "{\"talk\": [{\"hwo\": \"x\", \"content\": \"\"}]}",
       "talk: message 1: field 'who' is missing: the row has ",
       ZF_EINVALID},
      {{.messages = "talk"},
       "{\"talk\": [{\"role\": \"user\", \"content\": \"\"}, {\"role\": \"user\"}]}",
       "talk: message 2: expected {role, content}",
       ZF_EINVALID},
      {{0}, "{\"messages\": [7]}", "messages: message 1: expected {role, content}", ZF_EINVALID},
  };
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    json_t *row = json(c[i].row), *got, *want;
    if (c[i].rc) {
      ck_fails(zf_messages_row(&got, &c[i].f, row), c[i].rc, c[i].want);
      ck_assert_ptr_null(got);
    } else {
      ck_ok(zf_messages_row(&got, &c[i].f, row));
      want = json(c[i].want);
      ck_assert_msg(json_equal(got, want), "row %zu", i);
      json_decref(got);
      json_decref(want);
    }
    json_decref(row);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("chat");
  TCase *c = tcase_create("rows");
  tcase_add_loop_test(c, test_builtin, 0, BUILTIN);
  tcase_add_test(c, test_own);
  tcase_add_test(c, test_variables);
  tcase_add_test(c, test_apart);
  tcase_add_test(c, test_refused);
  tcase_add_test(c, test_others);
  tcase_add_test(c, test_alpaca_fields);
  tcase_add_test(c, test_alpaca_lacks);
  tcase_add_test(c, test_messages_fields);
  suite_add_tcase(s, c);
  return unit_run(s);
}
