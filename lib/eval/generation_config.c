#include "eval/generation_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"

struct generation_reader {
  struct zf_generation_config *config;
  const json_t *obj;
  const char *path;
};

static void add_applied(struct generation_reader *reader, const char *key, double value) {
  zf_buf_printf(&reader->config->applied, "%s%s %g", reader->config->applied.len ? ", " : "", key,
                value);
}

static int read_number(struct generation_reader *reader, double *out, const char *key, double min,
                       double max, const char *range) {
  int rc = zf_json_num(out, reader->obj, key, reader->path);
  if (rc || isnan(*out)) return rc;
  if (!(*out >= min && *out <= max))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected %s, found %g", reader->path, key, range,
                    *out);
  add_applied(reader, key, *out);
  return 0;
}

static int read_integer(struct generation_reader *reader, int64_t *out, const char *key,
                        int64_t min) {
  int rc = zf_json_int(out, reader->obj, key, reader->path);
  if (rc || *out == -1) return rc;
  if (*out < min)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected %lld or more, found %lld", reader->path,
                    key, (long long)min, (long long)*out);
  add_applied(reader, key, (double)*out);
  return 0;
}

/* A text or a list of texts. */
static int read_stop(struct generation_reader *reader) {
  json_t *value = json_object_get(reader->obj, "stop_strings"), *item;
  size_t i;
  if (!value || json_is_null(value)) return 0;
  reader->config->stop = json_is_string(value) ? json_pack("[O]", value) : json_incref(value);
  if (!reader->config->stop) return zf_error(ZF_ENOMEM, "%s: out of memory", reader->path);
  int good = json_is_array(reader->config->stop);
  json_array_foreach(reader->config->stop, i, item) good &=
      json_is_string(item) && json_string_length(item);
  if (!good)
    return zf_error(ZF_EINVALID,
                    "%s: key 'stop_strings': expected a text or a list of texts, found %s",
                    reader->path, zf_json_kind(value));
  zf_buf_printf(&reader->config->applied, "%sstop_strings",
                reader->config->applied.len ? ", " : "");
  return 0;
}

/* Keys that change the texts that Transformers generates and that zoft does not support, with the
 * value that changes nothing; NAN: every value changes something, except null, false and an empty
 * list. */
static const struct {
  const char *key;
  double neutral;
} unsupported[] = {
    {"num_beams", 1},
    {"num_beam_groups", 1},
    {"penalty_alpha", 0},
    {"typical_p", 1},
    {"top_h", NAN},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"no_repeat_ngram_size", 0},
    {"encoder_repetition_penalty", 1},
    {"min_length", 0},
    {"min_new_tokens", 0},
    {"max_length", NAN},
    {"max_time", NAN},
    {"num_return_sequences", 1},
    {"guidance_scale", 1},
    {"bad_words_ids", NAN},
    {"force_words_ids", NAN},
    {"forced_bos_token_id", NAN},
    {"forced_eos_token_id", NAN},
    {"suppress_tokens", NAN},
    {"begin_suppress_tokens", NAN},
    {"sequence_bias", NAN},
    {"exponential_decay_length_penalty", NAN},
    {"renormalize_logits", NAN},
    {"watermarking_config", NAN},
    {"dola_layers", NAN},
};

static int has_effect(const json_t *value, double neutral) {
  if (!value || json_is_null(value) || json_is_false(value)) return 0;
  if (json_is_array(value)) return json_array_size(value) > 0;
  return !(json_is_number(value) && json_number_value(value) == neutral);
}

static void list_ignored(struct generation_reader *reader) {
  struct zf_buf *buf = &reader->config->ignored;
  for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
    if (has_effect(json_object_get(reader->obj, unsupported[i].key), unsupported[i].neutral))
      zf_buf_printf(buf, "%s%s", buf->len ? ", " : "", unsupported[i].key);
}

static int read_all(struct generation_reader *reader) {
  struct zf_generation_config *config = reader->config;
  int rc;
  if (!json_is_object(reader->obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", reader->path,
                    zf_json_kind(reader->obj));
  if ((rc = zf_json_bool(&config->sample, reader->obj, "do_sample", reader->path))) return rc;
  if (config->sample >= 0)
    zf_buf_printf(&config->applied, "do_sample %s", config->sample ? "true" : "false");
  if ((rc = read_number(reader, &config->temperature, "temperature", 0, 1e6, "0 to 1e6")))
    return rc;
  if ((rc = read_integer(reader, &config->top_k, "top_k", 0))) return rc;
  if ((rc = read_number(reader, &config->top_p, "top_p", 1e-12, 1, "above 0 to 1"))) return rc;
  if ((rc = read_number(reader, &config->min_p, "min_p", 0, 1, "0 to 1"))) return rc;
  if ((rc = read_number(reader, &config->repetition, "repetition_penalty", 1e-6, 1e6,
                        "above 0 to 1e6")))
    return rc;
  if ((rc = read_integer(reader, &config->max_new, "max_new_tokens", 1))) return rc;
  if ((rc = read_stop(reader))) return rc;
  list_ignored(reader);
  return 0;
}

int zf_generation_config_read(struct zf_generation_config *config, const char *dir) {
  *config = (struct zf_generation_config){.sample = -1,
                                          .temperature = NAN,
                                          .top_p = NAN,
                                          .min_p = NAN,
                                          .repetition = NAN,
                                          .top_k = -1,
                                          .max_new = -1};
  char *path = zf_path_join(dir, "generation_config.json");
  json_t *obj = NULL;
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(path)) {
    rc = zf_json_load(&obj, path);
    struct generation_reader reader = {config, obj, path};
    if (!rc) rc = read_all(&reader);
    if (!rc && config->applied.len) rc = zf_buf_ok(&config->applied);
  }
  json_decref(obj);
  free(path);
  if (rc) zf_generation_config_free(config);
  return rc;
}

void zf_generation_config_free(struct zf_generation_config *config) {
  json_decref(config->stop);
  zf_buf_free(&config->applied);
  zf_buf_free(&config->ignored);
  memset(config, 0, sizeof *config);
}
