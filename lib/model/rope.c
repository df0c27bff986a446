/* Rotary embeddings: reads their keys of config.json, and computes their frequencies. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "model/config_internal.h"

const char *const zf_rope_names[ZF_ROPE_KINDS] = {"default", "linear", "dynamic",
                                                  "llama3",  "yarn",   "longrope"};

enum {
  MAX_DYNAMIC_CONTEXT = 1 << 24
}; /* tokens; dynamic scaling stretches the context no further */

static const double PI = 3.14159265358979323846;

/* Reads a number of a scaling; `required`: its absence is an error. */
static int scaling_num(double *out, const struct zf_config_reader *reader, const json_t *settings,
                       const char *key, const char *type, int required) {
  const json_t *value = json_object_get(settings, key);
  if (required && (!value || json_is_null(value)))
    return zf_error(ZF_EINVALID, "%s: rope scaling '%s' needs the key '%s'", reader->name, type,
                    key);
  return zf_json_num(out, settings, key, reader->name);
}

static int read_kind(struct zf_rope_conf *rope, const struct zf_config_reader *reader,
                     const json_t *settings, const char **type) {
  int rc;
  *type = "default";
  if ((rc = zf_json_str(type, settings, "type", reader->name))) return rc;
  if ((rc = zf_json_str(type, settings, "rope_type", reader->name))) return rc;
  /* Early Phi-3 files say "su", or "yarn" with a factor for each dimension. */
  if (!strcmp(*type, "su") || (!strcmp(*type, "yarn") && json_object_get(settings, "short_factor")))
    *type = zf_rope_names[ZF_ROPE_LONG];
  for (int i = 0; i < ZF_ROPE_KINDS; i++)
    if (!strcmp(*type, zf_rope_names[i])) {
      rope->kind = (enum zf_rope_kind)i;
      return 0;
    }
  return zf_error(ZF_EINVALID,
                  "%s: rope scaling '%s' is not supported; supported are default, linear, dynamic, "
                  "llama3, yarn, longrope",
                  reader->name, *type);
}

static int read_factors(float *out, int64_t *count, const struct zf_config_reader *reader,
                        const json_t *settings, const char *key) {
  const json_t *list = json_object_get(settings, key);
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: rope scaling 'longrope' needs the list '%s'", reader->name,
                    key);
  *count = (int64_t)json_array_size(list);
  if (*count > ZF_ROPE_FACTORS)
    return zf_error(ZF_EINVALID, "%s: key '%s': expected at most %d numbers, found %lld",
                    reader->name, key, ZF_ROPE_FACTORS, (long long)*count);
  for (int64_t i = 0; i < *count; i++) {
    const json_t *value = json_array_get(list, (size_t)i);
    out[i] = json_is_number(value) ? (float)json_number_value(value) : NAN;
    if (!(out[i] > 0 && isfinite(out[i])))
      return zf_error(ZF_EINVALID, "%s: key '%s': entry %lld is no number above 0", reader->name,
                      key, (long long)i);
  }
  return 0;
}

/* YaRN, section 3.4: 0.1 m ln s + 1, m = 1.  A model trained with mscale and mscale_all_dim has the
 * ratio of this value for m = mscale to that for m = mscale_all_dim. */
static double yarn_attention(double factor, double mscale, double mscale_all) {
  if (factor <= 1) return 1;
  double attention = 0.1 * (mscale > 0 ? mscale : 1) * log(factor) + 1;
  if (!(mscale > 0 && mscale_all > 0)) return attention;
  return attention / (0.1 * mscale_all * log(factor) + 1);
}

static int read_long(const struct zf_config *config, struct zf_rope_conf *rope,
                     const struct zf_config_reader *reader, const json_t *settings) {
  int64_t nfar = 0;
  int rc;
  if ((rc = read_factors(rope->near, &rope->nfactor, reader, settings, "short_factor"))) return rc;
  if ((rc = read_factors(rope->far, &nfar, reader, settings, "long_factor"))) return rc;
  if (nfar != rope->nfactor)
    return zf_error(ZF_EINVALID, "%s: %lld numbers in 'short_factor', %lld in 'long_factor'",
                    reader->name, (long long)rope->nfactor, (long long)nfar);
  if (!json_is_number(json_object_get(settings, "factor")))
    rope->factor = (double)config->max_pos / rope->original;
  rope->attention = rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->original));
  return 0;
}

static int read_yarn(const struct zf_config *config, struct zf_rope_conf *rope,
                     const struct zf_config_reader *reader, const json_t *settings) {
  double mscale = 0, mscale_all = 0;
  int rc;
  if (!json_is_number(json_object_get(settings, "factor")))
    rope->factor = (double)config->max_pos / rope->original;
  if ((rc = zf_json_num(&rope->beta_fast, settings, "beta_fast", reader->name))) return rc;
  if ((rc = zf_json_num(&rope->beta_slow, settings, "beta_slow", reader->name))) return rc;
  if ((rc = zf_json_bool(&rope->cut, settings, "truncate", reader->name))) return rc;
  if ((rc = zf_json_num(&mscale, settings, "mscale", reader->name))) return rc;
  if ((rc = zf_json_num(&mscale_all, settings, "mscale_all_dim", reader->name))) return rc;
  rope->attention = yarn_attention(rope->factor, mscale, mscale_all);
  return 0;
}

static int read_scaling(const struct zf_config *config, struct zf_rope_conf *rope,
                        const struct zf_config_reader *reader, const json_t *settings) {
  const char *type;
  int rc;
  if ((rc = read_kind(rope, reader, settings, &type))) return rc;
  enum zf_rope_kind rope_kind = rope->kind;
  if (rope_kind == ZF_ROPE_DYNAMIC) rope->original = (double)config->max_pos;
  int factor = rope_kind == ZF_ROPE_LINEAR || rope_kind == ZF_ROPE_DYNAMIC ||
               rope_kind == ZF_ROPE_LLAMA3,
      llama3 = rope_kind == ZF_ROPE_LLAMA3;
  if ((rc = scaling_num(&rope->theta, reader, settings, "rope_theta", type, 0))) return rc;
  if ((rc = scaling_num(&rope->partial, reader, settings, "partial_rotary_factor", type, 0)))
    return rc;
  if ((rc = scaling_num(&rope->factor, reader, settings, "factor", type, factor))) return rc;
  if ((rc = scaling_num(&rope->low, reader, settings, "low_freq_factor", type, llama3))) return rc;
  if ((rc = scaling_num(&rope->high, reader, settings, "high_freq_factor", type, llama3)))
    return rc;
  if (rope_kind != ZF_ROPE_DYNAMIC &&
      (rc = scaling_num(&rope->original, reader, settings, "original_max_position_embeddings", type,
                        llama3)))
    return rc;
  if (rope_kind == ZF_ROPE_YARN && (rc = read_yarn(config, rope, reader, settings))) return rc;
  if (rope_kind == ZF_ROPE_LONG && (rc = read_long(config, rope, reader, settings))) return rc;
  if (rope_kind != ZF_ROPE_YARN && rope_kind != ZF_ROPE_LONG) return 0;
  return zf_json_num(&rope->attention, settings, "attention_factor", reader->name);
}

static int check(const struct zf_config *config, const struct zf_rope_conf *rope,
                 const struct zf_config_reader *reader) {
  const struct {
    const char *key;
    double value;
  } positive[] = {{"rope_theta", rope->theta},
                  {"factor", rope->factor},
                  {"low_freq_factor", rope->low},
                  {"high_freq_factor", rope->high},
                  {"original_max_position_embeddings", rope->original},
                  {"beta_fast", rope->beta_fast},
                  {"beta_slow", rope->beta_slow},
                  {"attention_factor", rope->attention}};
  for (size_t i = 0; i < sizeof positive / sizeof *positive; i++) {
    int rc = zf_config_positive(reader, positive[i].key, positive[i].value);
    if (rc) return rc;
  }
  if (rope->kind == ZF_ROPE_LLAMA3 && rope->high <= rope->low)
    return zf_error(ZF_EINVALID, "%s: high_freq_factor %g is not above low_freq_factor %g",
                    reader->name, rope->high, rope->low);
  if (rope->kind == ZF_ROPE_YARN && (rope->theta <= 1 || rope->beta_fast <= rope->beta_slow))
    return zf_error(ZF_EINVALID, "%s: yarn needs rope_theta above 1 and beta_fast above beta_slow",
                    reader->name);
  if (!(rope->partial > 0 && rope->partial <= 1))
    return zf_error(ZF_EINVALID, "%s: key 'partial_rotary_factor': expected above 0 to 1, found %g",
                    reader->name, rope->partial);
  int64_t rot = zf_config_rot(config);
  if (rot < 2 || config->head_dim % 2)
    return zf_error(ZF_EINVALID, "%s: head_dim %lld cannot be rotated in pairs", reader->name,
                    (long long)config->head_dim);
  if (rope->kind == ZF_ROPE_LONG && rope->nfactor != rot / 2)
    return zf_error(ZF_EINVALID, "%s: longrope: expected %lld factors, found %lld", reader->name,
                    (long long)(rot / 2), (long long)rope->nfactor);
  if (rope->kind == ZF_ROPE_DYNAMIC && (rot < 4 || rot > 2 * ZF_ROPE_FACTORS || rope->factor < 1))
    return zf_error(
        ZF_EINVALID,
        "%s: dynamic rope scaling needs a factor of 1 or more and 4 to %d rotated columns, "
        "found %g and %lld",
        reader->name, 2 * ZF_ROPE_FACTORS, rope->factor, (long long)rot);
  if (rope->kind == ZF_ROPE_LONG && rope->original < 2)
    return zf_error(ZF_EINVALID, "%s: longrope: original_max_position_embeddings %g is too small",
                    reader->name, rope->original);
  return 0;
}

static int read_object(struct zf_config *config, struct zf_rope_conf *rope,
                       const struct zf_config_reader *reader, const char *key,
                       const json_t *settings) {
  if (!settings || json_is_null(settings)) return 0;
  if (!json_is_object(settings))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected an object, found %s", reader->name, key,
                    zf_json_kind(settings));
  return read_scaling(config, rope, reader, settings);
}

/* Old spelling: the keys rope_theta and rope_scaling {type|rope_type, ...}.  New spelling: both in
 * rope_parameters, which may hold an object for each kind of block. */
int zf_rope_read(struct zf_config *config, const struct zf_config_reader *reader) {
  const struct zf_family *family = config->family;
  struct zf_rope_conf *all = &config->rope[0], *local = &config->rope[1];
  const char *key = "rope_parameters",
             *partial = family->k_partial ? family->k_partial : "partial_rotary_factor";
  int rc;
  *all = (struct zf_rope_conf){
      .theta = family->theta > 0 ? family->theta : 10000, .factor = 1, .low = 1, .high = 4};
  all->partial = family->partial > 0 ? family->partial : 1;
  all->original = (double)config->max_pos;
  all->beta_fast = 32;
  all->beta_slow = all->attention = all->cut = 1;
  config->ropes = family->theta_local > 0 ? 2 : 1;
  *local = *all;
  if (family->pos != ZF_POS_ROPE) return 0;
  const json_t *settings = json_object_get(reader->obj, "rope_scaling"), *full;
  if (settings && !json_is_null(settings) &&
      (!json_is_object(settings) || json_object_size(settings)))
    key = "rope_scaling"; /* takes precedence over rope_parameters, as in Transformers */
  else
    settings = json_object_get(reader->obj, key);
  if ((rc = zf_json_num(&all->theta, reader->obj, family->k_theta ? family->k_theta : "rope_theta",
                        reader->name)))
    return rc;
  if ((rc = zf_json_num(&all->partial, reader->obj, partial, reader->name))) return rc;
  if ((rc = zf_json_num(&all->original, reader->obj, "original_max_position_embeddings",
                        reader->name)))
    return rc;
  *local = *all;
  local->theta = family->theta_local > 0 ? family->theta_local : all->theta;
  if (family->k_theta_local &&
      (rc = zf_json_num(&local->theta, reader->obj, family->k_theta_local, reader->name)))
    return rc;
  full = json_object_get(settings, "full_attention");
  if ((rc =
           read_object(config, all, reader, full ? "full_attention" : key, full ? full : settings)))
    return rc;
  if (full && (rc = read_object(config, local, reader, "sliding_attention",
                                json_object_get(settings, "sliding_attention"))))
    return rc;
  if (local->kind != ZF_ROPE_LONG && local->partial != all->partial && config->ropes == 2)
    return zf_error(ZF_EINVALID, "%s: full and sliding attention rotate different parts of a head",
                    reader->name);
  if ((rc = check(config, all, reader))) return rc;
  if (all->kind == ZF_ROPE_DYNAMIC)
    config->context = (int64_t)fmin((double)config->context * all->factor, MAX_DYNAMIC_CONTEXT);
  return config->ropes == 2 ? check(config, local, reader) : 0;
}

int zf_rope_by_length(const struct zf_config *config) {
  for (int i = 0; i < config->ropes; i++)
    if (config->rope[i].kind == ZF_ROPE_LONG || config->rope[i].kind == ZF_ROPE_DYNAMIC) return 1;
  return 0;
}

int64_t zf_config_rot(const struct zf_config *config) {
  if (config->family->pos != ZF_POS_ROPE) return 0;
  return (int64_t)((double)config->head_dim * config->rope[0].partial) / 2 * 2;
}

/* The dimension that rotates `rotations` times over the original length. */
static double yarn_dim(double rotations, int64_t dim, const struct zf_rope_conf *rope) {
  return (double)dim * log(rope->original / (rotations * 2 * PI)) / (2 * log(rope->theta));
}

static double yarn(double freq, int64_t i, int64_t dim, const struct zf_rope_conf *rope) {
  double low = yarn_dim(rope->beta_fast, dim, rope), high = yarn_dim(rope->beta_slow, dim, rope);
  if (rope->cut) {
    low = floor(low);
    high = ceil(high);
  }
  low = fmax(low, 0);
  high = fmin(high, (double)(dim - 1));
  if (low == high) high += 0.001;
  double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
  return freq / rope->factor * ramp + freq * (1 - ramp);
}

static double llama3(double freq, const struct zf_rope_conf *rope) {
  double wavelength = 2 * PI / freq;
  double smooth = (rope->original / wavelength - rope->low) / (rope->high - rope->low);
  if (wavelength > rope->original / rope->low) return freq / rope->factor;
  if (wavelength >= rope->original / rope->high)
    return (1 - smooth) * freq / rope->factor + smooth * freq;
  return freq;
}

/* The base with which `length` tokens span the rotations of the original length. */
static double dynamic_base(const struct zf_rope_conf *rope, int64_t dim, int64_t length) {
  double stretch = rope->factor * (double)length / rope->original - (rope->factor - 1);
  return rope->theta * pow(stretch, (double)dim / (double)(dim - 2));
}

void zf_rope_freqs(double *inv_freq, int64_t dim, const struct zf_rope_conf *rope, int64_t length) {
  int far = (double)length > rope->original;
  double theta =
      far && rope->kind == ZF_ROPE_DYNAMIC ? dynamic_base(rope, dim, length) : rope->theta;
  for (int64_t i = 0; i < dim / 2; i++) {
    double freq = pow(theta, -2.0 * (double)i / (double)dim);
    switch (rope->kind) {
      case ZF_ROPE_LINEAR:
        freq /= rope->factor;
        break;
      case ZF_ROPE_LLAMA3:
        freq = llama3(freq, rope);
        break;
      case ZF_ROPE_YARN:
        freq = yarn(freq, i, dim, rope);
        break;
      case ZF_ROPE_LONG:
        freq /= (double)(far ? rope->far[i] : rope->near[i]);
        break;
      default:
        break;
    }
    inv_freq[i] = freq;
  }
}
