/* The right answers of a row, as texts. */
#include "base/err.h"
#include "fmt/json.h"
#include "task/encode_internal.h"

static int keep_answer(struct zf_buf *answers, const json_t *value, const char *key,
                       struct zf_example *example) {
  if (!json_is_string(value))
    return zf_error(ZF_EINVALID, "field '%s': expected a text or a list of texts, found %s", key,
                    zf_json_kind(value));
  zf_buf_add(answers, json_string_value(value), json_string_length(value));
  zf_buf_putc(answers, 0);
  example->answers++;
  return zf_buf_ok(answers);
}

int zf_encode_answers(struct zf_encoder *encoder, const json_t *row, struct zf_example *example) {
  const char *key = encoder->spec->answers;
  struct zf_buf *answers = &encoder->dataset->answers;
  const json_t *value = json_object_get(row, key), *item;
  size_t i;
  example->answer = (int64_t)answers->len;
  if (!value) return zf_field_missing(row, key);
  if (json_is_object(value) && json_object_get(value, "text"))
    value = json_object_get(value, "text");
  if (!json_is_array(value)) return keep_answer(answers, value, key, example);
  json_array_foreach(value, i, item) {
    int rc = keep_answer(answers, item, key, example);
    if (rc) return rc;
  }
  if (!json_array_size(value))
    return zf_error(ZF_EINVALID,
                    "field '%s': expected a text or a list of texts, found an empty one", key);
  return 0;
}
