/* labels: the outputs that a head should give, where any number of labels may hold, or for regression. */
#include <math.h>
#include <stdlib.h>

#include "fmt/json.h"
#include "task/encode_internal.h"

/* A number, or a text that is one: a CSV file holds texts alone. */
static int read_number(float *out, const json_t *value, const char *key) {
  const char *text = json_string_value(value);
  char *end = NULL;
  double number = NAN;
  if (json_is_number(value)) number = json_number_value(value);
  if (text && *text) number = strtod(text, &end);
  *out = (float)number;
  if (isfinite(*out) && (!end || !*end)) return 0;
  return zf_error(ZF_EINVALID, "field '%s': expected a number, found %s%.60s", key,
                  text ? "the text " : zf_json_kind(value), text ? text : "");
}

/* regression: one number, or a list of as many as the head has outputs. */
static int read_numbers(const struct zf_encoder *encoder, const json_t *value, const char *key,
                        struct zf_seq *seq) {
  int64_t count = encoder->spec->noptions;
  if (count == 1 && !json_is_array(value)) return read_number(&seq[0].gold, value, key);
  if ((int64_t)json_array_size(value) != count)
    return zf_error(ZF_EINVALID, "field '%s': expected a list of %lld numbers, found %s of %zu",
                    key, (long long)count, zf_json_kind(value), json_array_size(value));
  for (int64_t i = 0; i < count; i++) {
    int rc = read_number(&seq[i].gold, json_array_get(value, (size_t)i), key);
    if (rc) return rc;
  }
  return 0;
}

/* multi-label: a list of the labels that hold, which may be empty. */
static int read_labels(const struct zf_encoder *encoder, const json_t *value, const char *key,
                       struct zf_seq *seq) {
  const json_t *item;
  int32_t label;
  size_t i;
  if (!json_is_array(value))
    return zf_error(ZF_EINVALID, "field '%s': expected a list of labels, found %s", key,
                    zf_json_kind(value));
  json_array_foreach(value, i, item) {
    int rc = zf_encode_label(encoder, item, key, &label);
    if (rc) return rc;
    if (seq[label].gold > 0)
      return zf_error(ZF_EINVALID,
                      "field '%s': label %d stands twice: expected a list of the labels that hold",
                      key, label);
    seq[label].gold = 1;
  }
  return 0;
}

int zf_encode_outputs(struct zf_encoder *encoder, const json_t *row, struct zf_example *example) {
  const char *key = encoder->spec->label ? encoder->spec->label : "label";
  const json_t *value = json_object_get(row, key);
  if (!value && !encoder->spec->unlabelled) return zf_field_missing(row, key);
  example->nseq = (int32_t)encoder->spec->noptions;
  int rc = zf_encode_whole(encoder, row, example);
  if (rc || encoder->spec->unlabelled) return rc;
  struct zf_seq *seq = encoder->dataset->seq + encoder->dataset->nseq - example->nseq;
  return encoder->spec->problem == ZF_PROBLEM_REGRESSION ? read_numbers(encoder, value, key, seq)
                                                         : read_labels(encoder, value, key, seq);
}
