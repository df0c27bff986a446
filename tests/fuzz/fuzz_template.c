/* A template, a newline, and the JSON of a row; without a row the template meets a fixed one. */
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"
#include "task/template.h"

static void apply(const struct zf_template *t, const char *row, size_t len) {
  static const char fixed[] = "{\"a\": \" It's I. \", \"b\": 0.1, \"label\": 3, \"text\": \"\"}";
  struct zf_buf out = {0};
  json_t *obj;
  if (zf_json_parse(&obj, row, len, "row") && zf_json_parse(&obj, fixed, sizeof fixed - 1, "row"))
    abort();
  int rc = zf_template_apply(t, obj, &out);
  if (!rc && out.data && strlen(out.data) != out.len) abort();
  zf_buf_free(&out);
  json_decref(obj);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
  size_t n = nl ? (size_t)(nl - data) : size;
  char *text = malloc(n + 1);
  struct zf_template *t;
  if (!text) return 0;
  if (n) memcpy(text, data, n);
  text[n] = 0;
  if (!zf_template_parse(&t, text)) {
    apply(t, nl ? (const char *)nl + 1 : "", nl ? size - n - 1 : 0);
    zf_template_free(t);
  }
  free(text);
  return 0;
}
