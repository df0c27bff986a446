/* Rotary embeddings of a GGUF file in the terms of config.json, as llama.cpp composes them:
 *
 *   base        rope.freq_base, or 10000
 *   scale       1 / rope.scaling.factor, or 1 / rope.scale_linear, the old key; none: 1
 *   type        "linear" where no key says otherwise; "none" takes the scale away
 *   divisors    of each frequency: one table for all lengths (rope_freqs.weight), or one up to the
 *               original length and one beyond
 *   attention   cosines and sines are multiplied by rope.scaling.attn_factor, under any type
 *
 * config.json has no words for a scale or an attention factor beside divisors, or for that factor
 * without any: both are written as longrope, whose divisors take the scale in. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

struct rope {
  const char *type;
  double factor, attention, original, theta, theta_local;
  int64_t dim, rot;
};

static int read_type(struct rope *rope, const struct zf_gguf_source *source) {
  static const char *const types[] = {"none", "linear", "yarn", "longrope"};
  const json_t *value = zf_gguf_value(source, "rope.scaling.type");
  rope->type = "linear";
  if (!value) return 0;
  for (int i = 0; i < 4; i++)
    if (json_is_string(value) && !strcmp(types[i], json_string_value(value))) {
      rope->type = types[i];
      return 0;
    }
  return zf_error(
      ZF_EINVALID,
      "%s: key '%s.rope.scaling.type': expected none, linear, yarn or longrope, found %s%s",
      source->path, source->arch->name, json_is_string(value) ? json_string_value(value) : "",
      json_is_string(value) ? "" : zf_json_kind(value));
}

static int read_numbers(struct rope *rope, const json_t *config,
                        const struct zf_gguf_source *source) {
  int old = !zf_gguf_value(source, "rope.scaling.factor");
  double rot;
  int rc;
  rope->dim = json_integer_value(json_object_get(config, "head_dim"));
  rope->original = json_number_value(json_object_get(config, "max_position_embeddings"));
  rope->attention = 1;
  rope->theta = 1e4;
  rot = (double)rope->dim;
  if ((rc = zf_gguf_number(&rope->factor, source,
                           old ? "rope.scale_linear" : "rope.scaling.factor")))
    return rc;
  if ((rc = zf_gguf_number(&rope->attention, source, "rope.scaling.attn_factor"))) return rc;
  if ((rc = zf_gguf_number(&rope->original, source, "rope.scaling.original_context_length")))
    return rc;
  if ((rc = zf_gguf_number(&rope->theta, source, "rope.freq_base"))) return rc;
  rope->theta_local = source->arch->theta_local > 0 ? source->arch->theta_local : rope->theta;
  if ((rc = zf_gguf_number(&rope->theta_local, source, "rope.freq_base_swa"))) return rc;
  if ((rc = zf_gguf_number(&rot, source, "rope.dimension_count"))) return rc;
  rope->rot = (int64_t)fmin(fmax(rot, 0), 1e6);
  if (rope->factor == 0 || !strcmp(rope->type, "none")) rope->factor = 1;
  if (!(rope->factor > 0 && rope->attention > 0))
    return zf_error(ZF_EINVALID, "%s: %s.rope.scaling: expected factors above 0, found %g and %g",
                    source->path, source->arch->name, rope->factor, rope->attention);
  return 0;
}

static int check(const struct rope *rope, const struct zf_gguf_source *source) {
  if (rope->rot != rope->dim && !source->arch->partial)
    return zf_error(
        ZF_EINVALID,
        "%s: key '%s.rope.dimension_count': expected the %lld columns of a head, found %lld",
        source->path, source->arch->name, (long long)rope->dim, (long long)rope->rot);
  if (rope->rot < 2 || rope->rot > rope->dim)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.dimension_count': expected 2 to %lld, found %lld",
                    source->path, source->arch->name, (long long)rope->dim, (long long)rope->rot);
  if (rope->theta_local != rope->theta && !(source->arch->theta_local > 0))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.freq_base_swa': expected the %g of rope.freq_base, found %g",
                    source->path, source->arch->name, rope->theta, rope->theta_local);
  if (rope->attention != 1 && source->arch->theta_local > 0)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.scaling.attn_factor': %g is not supported for %s",
                    source->path, source->arch->name, rope->attention, source->arch->name);
  return 0;
}

/* A list of n divisors times `by`: those of a tensor, or 1. */
static int divisors(json_t *scaling, const char *key, const struct zf_gguf_source *source,
                    const char *name, const struct rope *rope) {
  const struct zf_st_tensor *tensor = name ? zf_st_find(source->gguf.st, name) : NULL;
  int64_t n = rope->rot / 2;
  if (name && (!tensor || tensor->type != ZF_F32 || tensor->ndim != 1 || tensor->count != n))
    return zf_error(ZF_EINVALID, "%s: tensor '%s': expected a vector of %lld numbers in F32",
                    source->path, name, (long long)n);
  json_t *list = json_array();
  for (int64_t i = 0; i < n; i++) {
    float f = 1;
    if (tensor) memcpy(&f, tensor->data + 4 * i, sizeof f);
    if (!json_array_append_new(list, json_real((double)f * rope->factor))) continue;
    json_decref(list);
    return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is not finite", source->path, name,
                    (long long)i);
  }
  json_object_set_new(scaling, key, list);
  return 0;
}

/* Tables that lie in the file and that its scaling type leaves unread. */
static int check_tables(const struct zf_gguf_source *source, const struct rope *rope) {
  static const char *const names[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                      "rope_factors_long.weight"};
  int longrope = !strcmp(rope->type, "longrope");
  for (int i = 0; source->arch->freqs && i < 3; i++)
    if (longrope == !i && zf_st_find(source->gguf.st, names[i]))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s' does not go with the %s of %s.rope.scaling.type",
                      source->path, names[i], rope->type, source->arch->name);
  return 0;
}

/* The tables that the architecture reads: NULL where it has none. */
static void tables(const char *name[2], const struct zf_gguf_source *source,
                   const struct rope *rope) {
  int two = source->arch->tables || (source->arch->freqs && !strcmp(rope->type, "longrope"));
  name[0] = name[1] = NULL;
  if (source->arch->freqs && !two && zf_st_find(source->gguf.st, "rope_freqs.weight"))
    name[0] = name[1] = "rope_freqs.weight";
  if (two && (zf_st_find(source->gguf.st, "rope_factors_short.weight") ||
              zf_st_find(source->gguf.st, "rope_factors_long.weight"))) {
    name[0] = "rope_factors_short.weight";
    name[1] = "rope_factors_long.weight";
  }
}

static int as_longrope(json_t *scaling, const struct zf_gguf_source *source,
                       const char *const name[2], const struct rope *rope) {
  if (!strcmp(rope->type, "yarn"))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.scaling.type': yarn beside tensor '%s' is not supported",
                    source->path, source->arch->name, name[0]);
  int rc = divisors(scaling, "short_factor", source, name[0], rope);
  if (!rc) rc = divisors(scaling, "long_factor", source, name[1], rope);
  json_object_set_new(scaling, "rope_type", json_string("longrope"));
  json_object_set_new(scaling, "attention_factor", json_real(rope->attention));
  return rc;
}

static int set_scaling(json_t *scaling, const struct zf_gguf_source *source,
                       const struct rope *rope) {
  const char *name[2];
  int yarn = !strcmp(rope->type, "yarn");
  tables(name, source, rope);
  json_object_set_new(scaling, "original_max_position_embeddings", json_real(rope->original));
  if (name[0] || (!yarn && rope->attention != 1)) return as_longrope(scaling, source, name, rope);
  json_object_set_new(scaling, "rope_type", json_string(yarn ? "yarn" : "linear"));
  json_object_set_new(scaling, "factor", json_real(rope->factor));
  if (yarn)
    json_object_set_new(
        scaling, "attention_factor",
        json_real(rope->attention * (rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1)));
  return 0;
}

int zf_gguf_rope(json_t *config, const struct zf_gguf_source *source) {
  struct rope rope = {0};
  json_t *scaling = json_object();
  int rc =
      scaling ? read_type(&rope, source) : zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
  if (!rc) rc = read_numbers(&rope, config, source);
  if (!rc) rc = check(&rope, source);
  if (!rc) rc = check_tables(source, &rope);
  if (!rc) rc = set_scaling(scaling, source, &rope);
  const char *kind = json_string_value(json_object_get(scaling, "rope_type"));
  if (!rc && (strcmp(kind, "linear") != 0 || rope.factor != 1))
    json_object_set(config, "rope_scaling", scaling);
  json_object_set_new(config, "rope_theta", json_real(rope.theta));
  json_object_set_new(config, "rope_local_base_freq", json_real(rope.theta_local));
  if (!rc &&
      rope.rot != rope.dim) /* a hair more, for the product with head_dim is cut to an integer */
    json_object_set_new(config, "partial_rotary_factor",
                        json_real(nextafter((double)rope.rot / (double)rope.dim, 1)));
  json_decref(scaling);
  return rc;
}
