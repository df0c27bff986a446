/* Chat templates: the input is a template, rendered for a conversation. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"
#include "task/jinja.h"

static const char chat[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
    "\" \\u00e9 'x' <think>a</think> b\"}, {\"role\": \"assistant\", \"content\": \"y\", "
    "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"k\": [1, 2.5, "
    "null]}}}]}], "
    "\"tools\": [{\"name\": \"f\"}], \"add_generation_prompt\": true, \"bos_token\": \"<s>\", "
    "\"eos_token\": \"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static json_t *vars;
  struct zf_jinja *t;
  struct zf_buf out = {0};
  struct zf_text_spans spans = {0};
  if (!vars && zf_json_parse(&vars, chat, sizeof chat - 1, "chat")) abort();
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  text[size] = 0;
  if (zf_jinja_parse(&t, text, "fuzz") == 0) {
    if (zf_jinja_render(t, vars, 0, &out, &spans) == 0)
      for (int64_t i = 0; i < spans.count; i++)
        if (spans.span[i].from > spans.span[i].to || spans.span[i].to > (int64_t)out.len) abort();
    zf_jinja_free(t);
  }
  free(spans.span);
  zf_buf_free(&out);
  free(text);
  return 0;
}
