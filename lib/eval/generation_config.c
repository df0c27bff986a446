#include "eval/generation_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"

struct reader {
  struct zf_generation_config *c;
  const json_t *obj;
  const char *path;
};

static void applied(struct reader *r, const char *key, double value) {
  zf_buf_printf(&r->c->applied, "%s%s %g", r->c->applied.len ? ", " : "", key, value);
}

static int number(struct reader *r, double *out, const char *key, double least, double most,
                  const char *range) {
  int rc = zf_json_num(out, r->obj, key, r->path);
  if (rc || isnan(*out)) return rc;
  if (!(*out >= least && *out <= most))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected %s, found %g", r->path, key, range, *out);
  applied(r, key, *out);
  return 0;
}

static int integer(struct reader *r, int64_t *out, const char *key, int64_t least) {
  int rc = zf_json_int(out, r->obj, key, r->path);
  if (rc || *out == -1) return rc;
  if (*out < least)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected %lld or more, found %lld", r->path, key,
                    (long long)least, (long long)*out);
  applied(r, key, (double)*out);
  return 0;
}

/* A text or a list of them. */
static int stop_strings(struct reader *r) {
  json_t *v = json_object_get(r->obj, "stop_strings"), *x;
  size_t i;
  if (!v || json_is_null(v)) return 0;
  r->c->stop = json_is_string(v) ? json_pack("[O]", v) : json_incref(v);
  if (!r->c->stop) return zf_error(ZF_ENOMEM, "%s: out of memory", r->path);
  int good = json_is_array(r->c->stop);
  json_array_foreach(r->c->stop, i, x) good &= json_is_string(x) && json_string_length(x);
  if (!good)
    return zf_error(ZF_EINVALID,
                    "%s: key 'stop_strings': expected a text or a list of texts, found %s", r->path,
                    zf_json_kind(v));
  zf_buf_printf(&r->c->applied, "%sstop_strings", r->c->applied.len ? ", " : "");
  return 0;
}

/* Keys that change what Transformers generates and are not built here, with the value that changes
 * nothing; NAN: any value changes something, but null, false and an empty list. */
static const struct {
  const char *key;
  double neutral;
} others[] = {
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

static int has_effect(const json_t *v, double neutral) {
  if (!v || json_is_null(v) || json_is_false(v)) return 0;
  if (json_is_array(v)) return json_array_size(v) > 0;
  return !(json_is_number(v) && json_number_value(v) == neutral);
}

static void list_ignored(struct reader *r) {
  struct zf_buf *b = &r->c->ignored;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (has_effect(json_object_get(r->obj, others[i].key), others[i].neutral))
      zf_buf_printf(b, "%s%s", b->len ? ", " : "", others[i].key);
}

static int read_all(struct reader *r) {
  struct zf_generation_config *c = r->c;
  int rc;
  if (!json_is_object(r->obj))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", r->path, zf_json_kind(r->obj));
  if ((rc = zf_json_bool(&c->sample, r->obj, "do_sample", r->path))) return rc;
  if (c->sample >= 0) zf_buf_printf(&c->applied, "do_sample %s", c->sample ? "true" : "false");
  if ((rc = number(r, &c->temperature, "temperature", 0, 1e6, "0 to 1e6"))) return rc;
  if ((rc = integer(r, &c->top_k, "top_k", 0))) return rc;
  if ((rc = number(r, &c->top_p, "top_p", 1e-12, 1, "above 0 to 1"))) return rc;
  if ((rc = number(r, &c->min_p, "min_p", 0, 1, "0 to 1"))) return rc;
  if ((rc = number(r, &c->repetition, "repetition_penalty", 1e-6, 1e6, "above 0 to 1e6")))
    return rc;
  if ((rc = integer(r, &c->max_new, "max_new_tokens", 1))) return rc;
  if ((rc = stop_strings(r))) return rc;
  list_ignored(r);
  return 0;
}

int zf_generation_config_read(struct zf_generation_config *c, const char *dir) {
  *c = (struct zf_generation_config){.sample = -1,
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
    struct reader r = {c, obj, path};
    if (!rc) rc = read_all(&r);
    if (!rc && c->applied.len) rc = zf_buf_ok(&c->applied);
  }
  json_decref(obj);
  free(path);
  if (rc) zf_generation_config_free(c);
  return rc;
}

void zf_generation_config_free(struct zf_generation_config *c) {
  json_decref(c->stop);
  zf_buf_free(&c->applied);
  zf_buf_free(&c->ignored);
  memset(c, 0, sizeof *c);
}
