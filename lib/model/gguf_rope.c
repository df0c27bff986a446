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

static int read_type(struct rope *r, const struct zf_gguf_source *s) {
  static const char *const types[] = {"none", "linear", "yarn", "longrope"};
  const json_t *v = zf_gguf_value(s, "rope.scaling.type");
  r->type = "linear";
  if (!v) return 0;
  for (int i = 0; i < 4; i++)
    if (json_is_string(v) && !strcmp(types[i], json_string_value(v))) {
      r->type = types[i];
      return 0;
    }
  return zf_error(
      ZF_EINVALID,
      "%s: key '%s.rope.scaling.type': expected none, linear, yarn or longrope, found %s%s",
      s->path, s->arch->name, json_is_string(v) ? json_string_value(v) : "",
      json_is_string(v) ? "" : zf_json_kind(v));
}

static int read_numbers(struct rope *r, const json_t *config, const struct zf_gguf_source *s) {
  int old = !zf_gguf_value(s, "rope.scaling.factor");
  double rot;
  int rc;
  r->dim = json_integer_value(json_object_get(config, "head_dim"));
  r->original = json_number_value(json_object_get(config, "max_position_embeddings"));
  r->attention = 1;
  r->theta = 1e4;
  rot = (double)r->dim;
  if ((rc = zf_gguf_number(&r->factor, s, old ? "rope.scale_linear" : "rope.scaling.factor")))
    return rc;
  if ((rc = zf_gguf_number(&r->attention, s, "rope.scaling.attn_factor"))) return rc;
  if ((rc = zf_gguf_number(&r->original, s, "rope.scaling.original_context_length"))) return rc;
  if ((rc = zf_gguf_number(&r->theta, s, "rope.freq_base"))) return rc;
  r->theta_local = s->arch->theta_local > 0 ? s->arch->theta_local : r->theta;
  if ((rc = zf_gguf_number(&r->theta_local, s, "rope.freq_base_swa"))) return rc;
  if ((rc = zf_gguf_number(&rot, s, "rope.dimension_count"))) return rc;
  r->rot = (int64_t)fmin(fmax(rot, 0), 1e6);
  if (r->factor == 0 || !strcmp(r->type, "none")) r->factor = 1;
  if (!(r->factor > 0 && r->attention > 0))
    return zf_error(ZF_EINVALID, "%s: %s.rope.scaling: expected factors above 0, found %g and %g",
                    s->path, s->arch->name, r->factor, r->attention);
  return 0;
}

static int check(const struct rope *r, const struct zf_gguf_source *s) {
  if (r->rot != r->dim && !s->arch->partial)
    return zf_error(
        ZF_EINVALID,
        "%s: key '%s.rope.dimension_count': expected the %lld columns of a head, found %lld",
        s->path, s->arch->name, (long long)r->dim, (long long)r->rot);
  if (r->rot < 2 || r->rot > r->dim)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.dimension_count': expected 2 to %lld, found %lld", s->path,
                    s->arch->name, (long long)r->dim, (long long)r->rot);
  if (r->theta_local != r->theta && !(s->arch->theta_local > 0))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.freq_base_swa': expected the %g of rope.freq_base, found %g",
                    s->path, s->arch->name, r->theta, r->theta_local);
  if (r->attention != 1 && s->arch->theta_local > 0)
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.scaling.attn_factor': %g is not supported for %s", s->path,
                    s->arch->name, r->attention, s->arch->name);
  return 0;
}

/* A list of n divisors times `by`: those of a tensor, or 1. */
static int divisors(json_t *scaling, const char *key, const struct zf_gguf_source *s,
                    const char *name, const struct rope *r) {
  const struct zf_st_tensor *t = name ? zf_st_find(s->gguf.st, name) : NULL;
  int64_t n = r->rot / 2;
  if (name && (!t || t->type != ZF_F32 || t->ndim != 1 || t->count != n))
    return zf_error(ZF_EINVALID, "%s: tensor '%s': expected a vector of %lld numbers in F32",
                    s->path, name, (long long)n);
  json_t *list = json_array();
  for (int64_t i = 0; i < n; i++) {
    float f = 1;
    if (t) memcpy(&f, t->data + 4 * i, sizeof f);
    if (!json_array_append_new(list, json_real((double)f * r->factor))) continue;
    json_decref(list);
    return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is not finite", s->path, name,
                    (long long)i);
  }
  json_object_set_new(scaling, key, list);
  return 0;
}

/* Tables that lie in the file and that its scaling type leaves unread. */
static int check_tables(const struct zf_gguf_source *s, const struct rope *r) {
  static const char *const names[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                      "rope_factors_long.weight"};
  int longrope = !strcmp(r->type, "longrope");
  for (int i = 0; s->arch->freqs && i < 3; i++)
    if (longrope == !i && zf_st_find(s->gguf.st, names[i]))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s' does not go with the %s of %s.rope.scaling.type", s->path,
                      names[i], r->type, s->arch->name);
  return 0;
}

/* The tables that the architecture reads: NULL where it has none. */
static void tables(const char *name[2], const struct zf_gguf_source *s, const struct rope *r) {
  int two = s->arch->tables || (s->arch->freqs && !strcmp(r->type, "longrope"));
  name[0] = name[1] = NULL;
  if (s->arch->freqs && !two && zf_st_find(s->gguf.st, "rope_freqs.weight"))
    name[0] = name[1] = "rope_freqs.weight";
  if (two && (zf_st_find(s->gguf.st, "rope_factors_short.weight") ||
              zf_st_find(s->gguf.st, "rope_factors_long.weight"))) {
    name[0] = "rope_factors_short.weight";
    name[1] = "rope_factors_long.weight";
  }
}

static int as_longrope(json_t *scaling, const struct zf_gguf_source *s, const char *const name[2],
                       const struct rope *r) {
  if (!strcmp(r->type, "yarn"))
    return zf_error(ZF_EINVALID,
                    "%s: key '%s.rope.scaling.type': yarn beside tensor '%s' is not supported",
                    s->path, s->arch->name, name[0]);
  int rc = divisors(scaling, "short_factor", s, name[0], r);
  if (!rc) rc = divisors(scaling, "long_factor", s, name[1], r);
  json_object_set_new(scaling, "rope_type", json_string("longrope"));
  json_object_set_new(scaling, "attention_factor", json_real(r->attention));
  return rc;
}

static int set_scaling(json_t *scaling, const struct zf_gguf_source *s, const struct rope *r) {
  const char *name[2];
  int yarn = !strcmp(r->type, "yarn");
  tables(name, s, r);
  json_object_set_new(scaling, "original_max_position_embeddings", json_real(r->original));
  if (name[0] || (!yarn && r->attention != 1)) return as_longrope(scaling, s, name, r);
  json_object_set_new(scaling, "rope_type", json_string(yarn ? "yarn" : "linear"));
  json_object_set_new(scaling, "factor", json_real(r->factor));
  if (yarn)
    json_object_set_new(scaling, "attention_factor",
                        json_real(r->attention * (r->factor > 1 ? 0.1 * log(r->factor) + 1 : 1)));
  return 0;
}

int zf_gguf_rope(json_t *config, const struct zf_gguf_source *s) {
  struct rope r = {0};
  json_t *scaling = json_object();
  int rc = scaling ? read_type(&r, s) : zf_error(ZF_ENOMEM, "%s: out of memory", s->path);
  if (!rc) rc = read_numbers(&r, config, s);
  if (!rc) rc = check(&r, s);
  if (!rc) rc = check_tables(s, &r);
  if (!rc) rc = set_scaling(scaling, s, &r);
  const char *kind = json_string_value(json_object_get(scaling, "rope_type"));
  if (!rc && (strcmp(kind, "linear") != 0 || r.factor != 1))
    json_object_set(config, "rope_scaling", scaling);
  json_object_set_new(config, "rope_theta", json_real(r.theta));
  json_object_set_new(config, "rope_local_base_freq", json_real(r.theta_local));
  if (!rc && r.rot != r.dim) /* a hair more, for the product with head_dim is cut to an integer */
    json_object_set_new(config, "partial_rotary_factor",
                        json_real(nextafter((double)r.rot / (double)r.dim, 1)));
  json_decref(scaling);
  return rc;
}
