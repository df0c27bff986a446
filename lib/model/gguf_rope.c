/* Translates the rotary embeddings of a GGUF file, as llama.cpp composes them, to config.json:
 *
 *   base        rope.freq_base, or 10000
 *   scale       1 / rope.scaling.factor, or 1 / rope.scale_linear, the old key; none: 1
 *   type        "linear" where no key says otherwise; "none" sets the scale to 1
 *   divisors    of each frequency: one table for all lengths (rope_freqs.weight), or one up to the
 *               original length and one beyond
 *   attention   cosines and sines are multiplied by rope.scaling.attn_factor, under any type
 *
 * config.json cannot express a scale or an attention factor together with divisors, nor that factor
 * under type "linear".  Both become longrope, whose divisors are multiplied by the scale. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/gguf_model_internal.h"

struct gguf_rope {
  const char *type;
  double factor, attention, original, theta, theta_local;
  int64_t dim, rot;
};

static int read_type(struct gguf_rope *rope, const struct zf_gguf_source *source) {
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

static int read_numbers(struct gguf_rope *rope, const json_t *config,
                        const struct zf_gguf_source *source) {
  int old = !zf_gguf_value(source, "rope.scaling.factor");
  double rot;
  int rc;
  rope->dim = zf_gguf_head_dim(config, source);
  rope->original =
      json_number_value(json_object_get(config, zf_gguf_family(source->arch)->k_max_pos));
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

static int check(const struct gguf_rope *rope, const struct zf_gguf_source *source) {
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

/* Sets `key` to a list of divisors, of the tensor `name` or (NULL) of 1, times the factor. */
static int divisors(json_t *scaling, const char *key, const struct zf_gguf_source *source,
                    const char *name, const struct gguf_rope *rope) {
  const struct zf_st_tensor *tensor = name ? zf_st_find(source->gguf.st, name) : NULL;
  int64_t count = rope->rot / 2;
  if (name && (!tensor || tensor->type != ZF_F32 || tensor->ndim != 1 || tensor->count != count))
    return zf_error(ZF_EINVALID, "%s: tensor '%s': expected a vector of %lld numbers in F32",
                    source->path, name, (long long)count);
  json_t *list = json_array();
  for (int64_t i = 0; i < count; i++) {
    float divisor = 1;
    if (tensor) memcpy(&divisor, tensor->data + 4 * i, sizeof divisor);
    if (!json_array_append_new(list, json_real((double)divisor * rope->factor))) continue;
    json_decref(list);
    return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is not finite", source->path, name,
                    (long long)i);
  }
  json_object_set_new(scaling, key, list);
  return 0;
}

/* An error where the file has a table that its scaling type does not use. */
static int check_tables(const struct zf_gguf_source *source, const struct gguf_rope *rope) {
  static const char *const names[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                      "rope_factors_long.weight"};
  int longrope = !strcmp(rope->type, "longrope");
  if (!source->arch->freqs) return 0;
  for (int i = 0; i < 3; i++)
    if (longrope == !i && zf_st_find(source->gguf.st, names[i]))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s' contradicts the key '%s.rope.scaling.type', which is %s",
                      source->path, names[i], source->arch->name, rope->type);
  return 0;
}

/* The names of the tables that the architecture reads; NULL where it reads none. */
static void tables(const char *name[2], const struct zf_gguf_source *source,
                   const struct gguf_rope *rope) {
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
                       const char *const name[2], const struct gguf_rope *rope) {
  if (!strcmp(rope->type, "yarn"))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.scaling.type': yarn with tensor '%s' is not supported",
                    source->path, source->arch->name, name[0]);
  int rc = divisors(scaling, "short_factor", source, name[0], rope);
  if (!rc) rc = divisors(scaling, "long_factor", source, name[1], rope);
  json_object_set_new(scaling, "rope_type", json_string("longrope"));
  json_object_set_new(scaling, "attention_factor", json_real(rope->attention));
  return rc;
}

static int set_scaling(json_t *scaling, const struct zf_gguf_source *source,
                       const struct gguf_rope *rope) {
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

static int read_rope(struct gguf_rope *rope, const json_t *config,
                     const struct zf_gguf_source *source) {
  int rc;
  if ((rc = read_type(rope, source))) return rc;
  if ((rc = read_numbers(rope, config, source))) return rc;
  if ((rc = check(rope, source))) return rc;
  return check_tables(source, rope);
}

int zf_gguf_rope(json_t *config, const struct zf_gguf_source *source) {
  const struct zf_family *family = zf_gguf_family(source->arch);
  struct gguf_rope rope = {0};
  int rc = family->pos == ZF_POS_ROPE ? read_rope(&rope, config, source) : 0;
  if (rc || family->pos != ZF_POS_ROPE) return rc;
  json_t *scaling = json_object();
  rc = scaling ? set_scaling(scaling, source, &rope)
               : zf_error(ZF_ENOMEM, "%s: out of memory", source->path);
  if (!rc) {
    const char *kind = json_string_value(json_object_get(scaling, "rope_type"));
    if (strcmp(kind, "linear") != 0 || rope.factor != 1)
      json_object_set(config, "rope_scaling", scaling);
    json_object_set_new(config, family->k_theta ? family->k_theta : "rope_theta",
                        json_real(rope.theta));
    json_object_set_new(config,
                        family->k_theta_local ? family->k_theta_local : "rope_local_base_freq",
                        json_real(rope.theta_local));
    /* The next larger double: the product with head_dim is truncated to an integer. */
    if (rope.rot != rope.dim || family->partial > 0)
      json_object_set_new(config, family->k_partial ? family->k_partial : "partial_rotary_factor",
                          json_real(fmin(nextafter((double)rope.rot / (double)rope.dim, 1), 1)));
  }
  json_decref(scaling);
  return rc;
}
