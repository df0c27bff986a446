/* Rotary embeddings: what config.json says of them, and their frequencies. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/config_internal.h"

const char *const zf_rope_names[ZF_ROPE_KINDS] = {"default", "linear", "dynamic",
                                                  "llama3",  "yarn",   "longrope"};

enum { ZF_ROPE_LONGEST = 1 << 24 }; /* tokens that a dynamic scaling may stretch to */

static const double PI = 3.14159265358979323846;

/* A number of a scaling that cannot do without it. */
static int scaling_num(double *out, const struct zf_config_reader *r, const json_t *s,
                       const char *key, const char *type, int required) {
  const json_t *v = json_object_get(s, key);
  if (required && (!v || json_is_null(v)))
    return zf_error(ZF_EINVALID, "%s: rope scaling '%s' needs the key '%s'", r->name, type, key);
  return zf_json_num(out, s, key, r->name);
}

static int read_kind(struct zf_rope_conf *rope, const struct zf_config_reader *r, const json_t *s,
                     const char **type) {
  int rc;
  *type = "default";
  if ((rc = zf_json_str(type, s, "type", r->name))) return rc;
  if ((rc = zf_json_str(type, s, "rope_type", r->name))) return rc;
  /* Early Phi-3 files say "su", or "yarn" with factors of each dimension. */
  if (!strcmp(*type, "su") || (!strcmp(*type, "yarn") && json_object_get(s, "short_factor")))
    *type = zf_rope_names[ZF_ROPE_LONG];
  for (int k = 0; k < ZF_ROPE_KINDS; k++)
    if (!strcmp(*type, zf_rope_names[k])) {
      rope->kind = (enum zf_rope_kind)k;
      return 0;
    }
  return zf_error(ZF_EINVALID,
                  "%s: rope scaling '%s' is not supported; supported are default, linear, dynamic, "
                  "llama3, yarn, longrope",
                  r->name, *type);
}

static int read_factors(float *out, int64_t *n, const struct zf_config_reader *r, const json_t *s,
                        const char *key) {
  const json_t *list = json_object_get(s, key);
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: rope scaling 'longrope' needs the list '%s'", r->name, key);
  *n = (int64_t)json_array_size(list);
  if (*n > ZF_ROPE_FACTORS)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected at most %d numbers, found %lld", r->name,
                    key, ZF_ROPE_FACTORS, (long long)*n);
  for (int64_t i = 0; i < *n; i++) {
    const json_t *v = json_array_get(list, (size_t)i);
    out[i] = json_is_number(v) ? (float)json_number_value(v) : NAN;
    if (!(out[i] > 0 && isfinite(out[i])))
      return zf_error(ZF_EINVALID, "%s: key '%s': entry %lld is no number above 0", r->name, key,
                      (long long)i);
  }
  return 0;
}

/* YaRN, section 3.4: 0.1 ln s + 1; two numbers, where a model was trained with them, by their
 * ratio. */
static double yarn_attention(double factor, double m, double all) {
  double a = factor <= 1 ? 1 : 0.1 * (m > 0 ? m : 1) * log(factor) + 1;
  return m > 0 && all > 0 && factor > 1 ? a / (0.1 * all * log(factor) + 1) : a;
}

static int read_long(const struct zf_config *c, struct zf_rope_conf *rope,
                     const struct zf_config_reader *r, const json_t *s) {
  int64_t nfar = 0;
  int rc;
  if ((rc = read_factors(rope->near, &rope->nfactor, r, s, "short_factor"))) return rc;
  if ((rc = read_factors(rope->far, &nfar, r, s, "long_factor"))) return rc;
  if (nfar != rope->nfactor)
    return zf_error(ZF_EINVALID, "%s: %lld numbers in 'short_factor', %lld in 'long_factor'",
                    r->name, (long long)rope->nfactor, (long long)nfar);
  if (!json_is_number(json_object_get(s, "factor")))
    rope->factor = (double)c->max_pos / rope->original;
  rope->attention = rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->original));
  return 0;
}

static int read_scaling(const struct zf_config *c, struct zf_rope_conf *rope,
                        const struct zf_config_reader *r, const json_t *s) {
  const char *type;
  double m = 0, all = 0;
  int rc;
  if ((rc = read_kind(rope, r, s, &type))) return rc;
  enum zf_rope_kind k = rope->kind;
  if (k == ZF_ROPE_DYNAMIC) rope->original = (double)c->max_pos;
  int factor = k == ZF_ROPE_LINEAR || k == ZF_ROPE_DYNAMIC || k == ZF_ROPE_LLAMA3,
      llama3 = k == ZF_ROPE_LLAMA3;
  if ((rc = scaling_num(&rope->theta, r, s, "rope_theta", type, 0))) return rc;
  if ((rc = scaling_num(&rope->partial, r, s, "partial_rotary_factor", type, 0))) return rc;
  if ((rc = scaling_num(&rope->factor, r, s, "factor", type, factor))) return rc;
  if ((rc = scaling_num(&rope->low, r, s, "low_freq_factor", type, llama3))) return rc;
  if ((rc = scaling_num(&rope->high, r, s, "high_freq_factor", type, llama3))) return rc;
  if (k != ZF_ROPE_DYNAMIC &&
      (rc = scaling_num(&rope->original, r, s, "original_max_position_embeddings", type, llama3)))
    return rc;
  if (k == ZF_ROPE_YARN) {
    if (!json_is_number(json_object_get(s, "factor")))
      rope->factor = (double)c->max_pos / rope->original;
    if ((rc = zf_json_num(&rope->beta_fast, s, "beta_fast", r->name))) return rc;
    if ((rc = zf_json_num(&rope->beta_slow, s, "beta_slow", r->name))) return rc;
    if ((rc = zf_json_bool(&rope->cut, s, "truncate", r->name))) return rc;
    if ((rc = zf_json_num(&m, s, "mscale", r->name))) return rc;
    if ((rc = zf_json_num(&all, s, "mscale_all_dim", r->name))) return rc;
    rope->attention = yarn_attention(rope->factor, m, all);
  }
  if (k == ZF_ROPE_LONG && (rc = read_long(c, rope, r, s))) return rc;
  if (k != ZF_ROPE_YARN && k != ZF_ROPE_LONG) return 0;
  return zf_json_num(&rope->attention, s, "attention_factor", r->name);
}

static int check(const struct zf_config *c, const struct zf_rope_conf *rope,
                 const struct zf_config_reader *r) {
  const struct {
    const char *key;
    double v;
  } above[] = {{"rope_theta", rope->theta},
               {"factor", rope->factor},
               {"low_freq_factor", rope->low},
               {"high_freq_factor", rope->high},
               {"original_max_position_embeddings", rope->original},
               {"beta_fast", rope->beta_fast},
               {"beta_slow", rope->beta_slow},
               {"attention_factor", rope->attention}};
  for (size_t i = 0; i < sizeof above / sizeof *above; i++) {
    int rc = zf_config_positive(r, above[i].key, above[i].v);
    if (rc) return rc;
  }
  if (rope->kind == ZF_ROPE_LLAMA3 && rope->high <= rope->low)
    return zf_error(ZF_EINVALID, "%s: high_freq_factor %g is not above low_freq_factor %g", r->name,
                    rope->high, rope->low);
  if (rope->kind == ZF_ROPE_YARN && (rope->theta <= 1 || rope->beta_fast <= rope->beta_slow))
    return zf_error(ZF_EINVALID, "%s: yarn needs rope_theta above 1 and beta_fast above beta_slow",
                    r->name);
  if (!(rope->partial > 0 && rope->partial <= 1))
    return zf_error(ZF_EINVALID, "%s: key 'partial_rotary_factor': expected above 0 to 1, found %g",
                    r->name, rope->partial);
  int64_t rot = zf_config_rot(c);
  if (rot < 2 || c->head_dim % 2)
    return zf_error(ZF_EINVALID, "%s: head_dim %lld cannot be rotated in pairs", r->name,
                    (long long)c->head_dim);
  if (rope->kind == ZF_ROPE_LONG && rope->nfactor != rot / 2)
    return zf_error(ZF_EINVALID, "%s: longrope: expected %lld factors, found %lld", r->name,
                    (long long)(rot / 2), (long long)rope->nfactor);
  if (rope->kind == ZF_ROPE_DYNAMIC && (rot < 4 || rot > 2 * ZF_ROPE_FACTORS || rope->factor < 1))
    return zf_error(
        ZF_EINVALID,
        "%s: dynamic rope scaling needs a factor of 1 or more and 4 to %d rotated columns, "
        "found %g and %lld",
        r->name, 2 * ZF_ROPE_FACTORS, rope->factor, (long long)rot);
  if (rope->kind == ZF_ROPE_LONG && rope->original < 2)
    return zf_error(ZF_EINVALID, "%s: longrope: original_max_position_embeddings %g is too small",
                    r->name, rope->original);
  return 0;
}

static int read_object(struct zf_config *c, struct zf_rope_conf *rope,
                       const struct zf_config_reader *r, const char *key, const json_t *s) {
  if (!s || json_is_null(s)) return 0;
  if (!json_is_object(s))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected an object, found %s", r->name, key,
                    zf_json_kind(s));
  return read_scaling(c, rope, r, s);
}

/* Old spelling: rope_theta beside rope_scaling {type|rope_type, ...}; new one: both in
 * rope_parameters, which may hold an object for each kind of block. */
int zf_rope_read(struct zf_config *c, const struct zf_config_reader *r) {
  const struct zf_family *f = c->family;
  struct zf_rope_conf *all = &c->rope[0], *local = &c->rope[1];
  const char *key = "rope_parameters",
             *partial = f->k_partial ? f->k_partial : "partial_rotary_factor";
  int rc;
  *all = (struct zf_rope_conf){
      .theta = f->theta > 0 ? f->theta : 10000, .factor = 1, .low = 1, .high = 4};
  all->partial = f->partial > 0 ? f->partial : 1;
  all->original = (double)c->max_pos;
  all->beta_fast = 32;
  all->beta_slow = all->attention = all->cut = 1;
  c->ropes = f->theta_local > 0 ? 2 : 1;
  *local = *all;
  if (f->pos != ZF_POS_ROPE) return 0;
  const json_t *s = json_object_get(r->obj, "rope_scaling"), *full;
  if (s && !json_is_null(s) && (!json_is_object(s) || json_object_size(s)))
    key = "rope_scaling"; /* counts over the other, as in Transformers */
  else
    s = json_object_get(r->obj, key);
  if ((rc = zf_json_num(&all->theta, r->obj, f->k_theta ? f->k_theta : "rope_theta", r->name)))
    return rc;
  if ((rc = zf_json_num(&all->partial, r->obj, partial, r->name))) return rc;
  if ((rc = zf_json_num(&all->original, r->obj, "original_max_position_embeddings", r->name)))
    return rc;
  *local = *all;
  local->theta = f->theta_local > 0 ? f->theta_local : all->theta;
  if (f->k_theta_local && (rc = zf_json_num(&local->theta, r->obj, f->k_theta_local, r->name)))
    return rc;
  full = json_object_get(s, "full_attention");
  if ((rc = read_object(c, all, r, full ? "full_attention" : key, full ? full : s))) return rc;
  if (full &&
      (rc = read_object(c, local, r, "sliding_attention", json_object_get(s, "sliding_attention"))))
    return rc;
  if (local->kind != ZF_ROPE_LONG && local->partial != all->partial && c->ropes == 2)
    return zf_error(ZF_EINVALID, "%s: full and sliding attention rotate different parts of a head",
                    r->name);
  if ((rc = check(c, all, r))) return rc;
  if (all->kind == ZF_ROPE_DYNAMIC)
    c->context = (int64_t)fmin((double)c->context * all->factor, ZF_ROPE_LONGEST);
  return c->ropes == 2 ? check(c, local, r) : 0;
}

int zf_rope_by_length(const struct zf_config *c) {
  int any = 0;
  for (int i = 0; i < c->ropes; i++)
    any |= c->rope[i].kind == ZF_ROPE_LONG || c->rope[i].kind == ZF_ROPE_DYNAMIC;
  return any;
}

int64_t zf_config_rot(const struct zf_config *c) {
  if (c->family->pos != ZF_POS_ROPE) return 0;
  return (int64_t)((double)c->head_dim * c->rope[0].partial) / 2 * 2;
}

/* The dimension that turns `rotations` times over the original length. */
static double yarn_dim(double rotations, int64_t dim, const struct zf_rope_conf *r) {
  return (double)dim * log(r->original / (rotations * 2 * PI)) / (2 * log(r->theta));
}

static double yarn(double f, int64_t i, int64_t dim, const struct zf_rope_conf *r) {
  double low = yarn_dim(r->beta_fast, dim, r), high = yarn_dim(r->beta_slow, dim, r);
  if (r->cut) {
    low = floor(low);
    high = ceil(high);
  }
  low = fmax(low, 0);
  high = fmin(high, (double)(dim - 1));
  if (low == high) high += 0.001;
  double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
  return f / r->factor * ramp + f * (1 - ramp);
}

static double llama3(double f, const struct zf_rope_conf *r) {
  double wavelength = 2 * PI / f;
  double s = (r->original / wavelength - r->low) / (r->high - r->low);
  if (wavelength > r->original / r->low) return f / r->factor;
  if (wavelength >= r->original / r->high) return (1 - s) * f / r->factor + s * f;
  return f;
}

/* The base that stretches `length` tokens over the turns of the original ones. */
static double dynamic(const struct zf_rope_conf *r, int64_t dim, int64_t length) {
  double by = r->factor * (double)length / r->original - (r->factor - 1);
  return r->theta * pow(by, (double)dim / (double)(dim - 2));
}

void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *r, int64_t length) {
  int far = (double)length > r->original;
  double theta = far && r->kind == ZF_ROPE_DYNAMIC ? dynamic(r, dim, length) : r->theta;
  for (int64_t i = 0; i < dim / 2; i++) {
    double f = pow(theta, -2.0 * (double)i / (double)dim);
    switch (r->kind) {
      case ZF_ROPE_LINEAR:
        f /= r->factor;
        break;
      case ZF_ROPE_LLAMA3:
        f = llama3(f, r);
        break;
      case ZF_ROPE_YARN:
        f = yarn(f, i, dim, r);
        break;
      case ZF_ROPE_LONG:
        f /= (double)(far ? r->far[i] : r->near[i]);
        break;
      default:
        break;
    }
    inv_freq[i] = f;
  }
}
