/* Opening a checkpoint: every wanted tensor found, checked, and placed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "kern/kern.h"
#include "model/model_internal.h"

/* PREFIX NAME, or with what BERT's first files call a norm's weight and bias. */
static const struct zf_st_tensor *named(const struct zf_model *m, const char *prefix,
                                        const char *name) {
  static const char *const old[][2] = {{"LayerNorm.weight", "gamma"}, {"LayerNorm.bias", "beta"}};
  char full[256];
  size_t n = strlen(prefix) + strlen(name);
  snprintf(full, sizeof full, "%s%s", prefix, name);
  const struct zf_st_tensor *t = zf_st_find(m->st, full);
  for (int i = 0; !t && i < 2; i++) {
    size_t tail = strlen(old[i][0]), keep = strlen("LayerNorm.");
    if (n < tail || strcmp(full + n - tail, old[i][0]) != 0) continue;
    snprintf(full + n - tail + keep, sizeof full - (n - tail + keep), "%s", old[i][1]);
    t = zf_st_find(m->st, full);
  }
  return t;
}

const struct zf_st_tensor *zf_model_tensor(const struct zf_model *m, const char *name) {
  const char *const *prefix = m->config.family->prefix;
  for (int i = 0; prefix[i]; i++) {
    const struct zf_st_tensor *t = named(m, prefix[i], name);
    size_t k = strlen(prefix[i]);
    if (!t && k && !strncmp(name, prefix[i], k))
      t = named(m, "", name + k); /* written out in full */
    if (t) return t;
  }
  return named(m, "", name);
}

/* A bias of two names is the copy where they differ; of a tied pair one may be missing. */
static const struct zf_st_tensor *find_tensor(const struct zf_model *m,
                                              const struct zf_wanted_tensor *w) {
  const struct zf_head_names *tail = zf_config_tail(&m->config);
  const struct zf_st_tensor *t = zf_model_tensor(m, w->name), *other = NULL;
  if (tail->bias_copy && !strcmp(w->name, tail->bias)) other = zf_model_tensor(m, tail->bias_copy);
  if (other && (!t || !zf_model_equal(t, other))) return other;
  if (!t && m->config.tied && !strcmp(w->name, m->config.family->names.embed))
    return zf_model_tensor(m, tail->head);
  return t;
}

static void shape_text(struct zf_buf *b, const int64_t *shape, int n) {
  zf_buf_putc(b, '[');
  for (int i = 0; i < n; i++) zf_buf_printf(b, "%s%lld", i ? ", " : "", (long long)shape[i]);
  zf_buf_putc(b, ']');
}

static int check_tensor(const struct zf_model *m, const struct zf_wanted_tensor *w,
                        const struct zf_st_tensor *t) {
  if (!t) return zf_model_missing(m, w);
  const char *path = m->st->path[t->file];
  int same = t->ndim == w->ndim;
  for (int i = 0; same && i < w->ndim; i++) same = t->shape[i] == w->shape[i];
  if (!same) {
    struct zf_buf b = {0};
    shape_text(&b, w->shape, w->ndim);
    zf_buf_puts(&b, m->gguf ? " by its keys, found " : " by config.json, found ");
    shape_text(&b, t->shape, t->ndim);
    int rc = zf_error(ZF_EINVALID, "%s: tensor '%s': expected shape %s", path, t->name,
                      b.failed ? "?" : b.data);
    zf_buf_free(&b);
    return rc;
  }
  if (t->type < 0)
    return zf_error(
        ZF_EINVALID, "%s: tensor '%s': dtype %s is not supported; supported are F32, F16, BF16%s",
        path, t->name, t->dtype, m->gguf ? ", Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K" : "");
  return 0;
}

/* The first element of [from, to) that is not finite, or -1: exponent bits all ones.  Sizes are
 * constants inside the loops, so that an element costs no call. */
static int64_t first_bad(const unsigned char *data, enum zf_dtype type, int64_t from, int64_t to) {
  int64_t bad = to;
  if (type == ZF_F32) {
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t i = from; i < to; i++) {
      uint32_t u;
      memcpy(&u, data + i * 4, sizeof u); /* little endian, as the file is */
      if ((u & 0x7f800000u) == 0x7f800000u && i < bad) bad = i;
    }
  } else {
    uint16_t e = type == ZF_F16 ? 0x7c00 : 0x7f80;
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t i = from; i < to; i++) {
      uint16_t u;
      memcpy(&u, data + i * 2, sizeof u);
      if ((u & e) == e && i < bad) bad = i;
    }
  }
  return bad < to ? bad : -1;
}

/* The same for blocks, whose values are finite where their scales are: its first element. */
static int64_t first_bad_block(const unsigned char *data, const struct zf_dtype_info *d,
                               int64_t from, int64_t to) {
  int64_t bad = to;
#pragma omp parallel for schedule(static) reduction(min : bad)
  for (int64_t i = from / d->block; i < to / d->block; i++)
    for (int s = 0; s < d->nscale; s++) {
      const unsigned char *p = data + (size_t)i * d->size + d->scale[s];
      if ((p[1] & 0x7c) == 0x7c && i * d->block < bad) bad = i * d->block;
    }
  return bad < to ? bad : -1;
}

static int check_values(const struct zf_model *m, const struct zf_st_tensor *t, int64_t from,
                        int64_t to) {
  enum zf_dtype type = (enum zf_dtype)t->type;
  const struct zf_dtype_info *info = zf_dtype_info(type);
  if (info->block > 1) {
    int64_t at = first_bad_block(t->data, info, from, to);
    if (at < 0) return 0;
    return zf_error(ZF_EINVALID, "%s: tensor '%s': the block of element %lld has no finite scale",
                    m->st->path[t->file], t->name, (long long)at);
  }
  int64_t bad = first_bad(t->data, type, from, to);
  if (bad < 0) return 0;
  uint32_t raw = 0;
  float v;
  size_t size = zf_dtype_info(type)->size;
  memcpy(&raw, t->data + (size_t)bad * size, size);
  zf_to_f32(&v, &raw, type, 1);
  return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is %f, not a finite number",
                  m->st->path[t->file], t->name, (long long)bad, (double)v);
}

static int matches(const struct zf_model_opts *o, const char *name) {
  for (int64_t i = 0; i < o->ntrainable; i++)
    if (zf_glob(o->trainable[i], name)) return 1;
  return 0;
}

/* What dtype a parameter is held in. */
static enum zf_dtype held_type(const struct zf_param *p, const struct zf_st_tensor *t,
                               const struct zf_model_opts *o, struct zf_gguf_change change) {
  if (p->trained) return o->trained;
  if (change.less != 0) return ZF_F32;
  return (enum zf_dtype)(o->dtype >= 0 ? o->dtype : t->type);
}

static struct zf_gguf_change change_of(const struct zf_model *m, const char *name) {
  return zf_gguf_change(m->gguf, &m->config, name);
}

static int must_copy(const struct zf_model *m, const struct zf_param *p,
                     const struct zf_st_tensor *t) {
  struct zf_gguf_change x = change_of(m, t->name);
  return p->trained || (int)p->type != t->type || (uintptr_t)t->data % zf_dtype_align(p->type) ||
         x.heads || x.less != 0;
}

/* Converts through a small buffer, so that no second copy of a tensor is made. */
static void convert(void *dst, enum zf_dtype to, const unsigned char *src, enum zf_dtype from,
                    int64_t n) {
  enum { PIECE = 4096 };
  float piece[PIECE];
  size_t a = zf_dtype_align(from);
  if (to == from) {
    memcpy(dst, src, zf_dtype_bytes(to, n));
    return;
  }
  for (int64_t i = 0; i < n; i += PIECE) {
    int64_t k = n - i < PIECE ? n - i : PIECE;
    uint16_t half[PIECE];
    const void *in = src + zf_dtype_bytes(from, i);
    if ((uintptr_t)in % a) in = memcpy(a == 2 ? (void *)half : (void *)piece, in, (size_t)k * a);
    if (in != (const void *)piece) zf_to_f32(piece, in, from, k);
    zf_from_f32((char *)dst + zf_dtype_bytes(to, i), piece, to, k);
  }
}

/* Heads whose rotary pairs lie side by side: the first rows of all pairs come first. */
static void copy_heads(struct zf_param *p, const struct zf_st_tensor *t, int64_t heads) {
  enum zf_dtype from = (enum zf_dtype)t->type;
  int64_t width = p->count / p->shape[0], dim = p->shape[0] / heads, half = dim / 2;
  for (int64_t r = 0; r < p->shape[0]; r++) {
    int64_t h = r / dim, e = r % dim, at = h * dim + e % half * 2 + e / half;
    convert((char *)p->data + zf_dtype_bytes(p->type, r * width), p->type,
            t->data + zf_dtype_bytes(from, at * width), from, width);
  }
}

static int place_heads(struct zf_model *m, struct zf_param *p, const struct zf_st_tensor *t,
                       int64_t heads) {
  const struct zf_map *map = &m->st->map[t->file];
  int rc = check_values(m, t, 0, t->count);
  if (rc) return rc;
  copy_heads(p, t, heads);
  zf_map_drop(map, (size_t)(t->data - map->data), t->bytes);
  m->copied += (int64_t)zf_dtype_bytes(p->type, p->count);
  return 0;
}

/* Values are checked and copied a piece at a time, and the file's pages let go behind, so that
 * no tensor is ever resident twice. */
static int place_copy(struct zf_model *m, struct zf_param *p, const struct zf_st_tensor *t) {
  enum { PIECE = 1 << 20 };
  enum zf_dtype from = (enum zf_dtype)t->type;
  struct zf_gguf_change x = change_of(m, t->name);
  const struct zf_map *map = &m->st->map[t->file];
  p->data = zf_arena_alloc(&m->copies, zf_dtype_bytes(p->type, p->count));
  if (!p->data) return ZF_ENOMEM;
  if (x.heads) return place_heads(m, p, t, x.heads);
  for (int64_t i = 0; i < p->count; i += PIECE) {
    int64_t n = p->count - i < PIECE ? p->count - i : PIECE;
    int rc = check_values(m, t, i, i + n);
    if (rc) return rc;
    const unsigned char *src = t->data + zf_dtype_bytes(from, i);
    convert((char *)p->data + zf_dtype_bytes(p->type, i), p->type, src, from, n);
    zf_map_drop(map, (size_t)(src - map->data), zf_dtype_bytes(from, n));
  }
  float *f = p->data;
  for (int64_t i = 0; x.less != 0 && i < p->count; i++) f[i] -= x.less; /* held_type made it f32 */
  m->copied += (int64_t)zf_dtype_bytes(p->type, p->count);
  return 0;
}

static int place(struct zf_model *m, struct zf_param *p, const struct zf_st_tensor *t) {
  if (!t) {
    p->data = zf_arena_alloc(&m->copies, zf_dtype_bytes(p->type, p->count));
    if (!p->data) return ZF_ENOMEM;
    zf_model_make(m, p->id);
    m->copied += (int64_t)zf_dtype_bytes(p->type, p->count);
    return 0;
  }
  if (must_copy(m, p, t)) return place_copy(m, p, t);
  p->data = (void *)t->data;
  m->mapped += (int64_t)t->bytes;
  return check_values(m, t, 0, t->count);
}

/* A parameter that the file lacks. */
static void new_param(struct zf_model *m, int64_t i, const struct zf_model_opts *o,
                      size_t *copies) {
  const struct zf_wanted_tensor *w = &m->plan.want[i];
  struct zf_param *p = &m->params.param[i];
  int64_t n = w->ndim == 2 ? w->shape[0] * w->shape[1] : w->shape[0];
  *p = (struct zf_param){.name = m->made[i], .ndim = w->ndim, .count = n, .id = (uint32_t)i};
  memcpy(p->shape, w->shape, sizeof w->shape);
  p->trained = matches(o, p->name);
  p->decayed = w->decayed;
  p->type = p->trained ? o->trained : ZF_F32;
  *copies += zf_arena_cost(zf_dtype_bytes(p->type, p->count));
}

/* One parameter for each want, with dtype and the place it will have decided. */
static int make_params(struct zf_model *m, const struct zf_model_opts *o) {
  size_t copies = 0;
  for (int64_t i = 0; i < m->plan.nwant; i++) {
    const struct zf_wanted_tensor *w = &m->plan.want[i];
    const struct zf_st_tensor *t = m->from[i];
    if (!t && zf_model_may_make(m, w, o)) {
      new_param(m, i, o, &copies);
      continue;
    }
    int rc = check_tensor(m, w, t);
    if (rc) return rc;
    struct zf_param *p = &m->params.param[i];
    *p = (struct zf_param){.name = m->made ? m->made[i] : t->name,
                           .ndim = t->ndim,
                           .count = t->count,
                           .id = (uint32_t)i};
    memcpy(p->shape, w->shape, sizeof w->shape);
    p->trained = matches(o, p->name);
    p->decayed = w->decayed;
    p->type = held_type(p, t, o, change_of(m, t->name));
    if (must_copy(m, p, t)) copies += zf_arena_cost(zf_dtype_bytes(p->type, p->count));
  }
  m->params.count = m->plan.nwant;
  return zf_arena_init(&m->copies, o->shapes ? 0 : copies);
}

/* A glob that trains nothing is a mistake of the config. */
static int check_globs(const struct zf_model *m, const struct zf_model_opts *o) {
  for (int64_t g = 0; g < o->ntrainable; g++) {
    int hit = 0;
    for (int64_t i = 0; i < m->params.count && !hit; i++)
      hit = zf_glob(o->trainable[g], m->params.param[i].name);
    if (!hit)
      return zf_error(ZF_EUSAGE, "trainable: '%s' matches no tensor of %s (such as '%s')",
                      o->trainable[g], m->dir, m->params.param[m->params.count / 2].name);
  }
  return 0;
}

static int load_params(struct zf_model *m, const struct zf_model_opts *o) {
  m->from = zf_calloc(m->plan.nwant, sizeof *m->from);
  m->params.param = zf_calloc(m->plan.nwant, sizeof *m->params.param);
  int rc = m->from && m->params.param ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < m->plan.nwant; i++) m->from[i] = find_tensor(m, &m->plan.want[i]);
  if (!rc) rc = zf_model_name_head(m, o);
  if (!rc) rc = make_params(m, o);
  if (!rc) rc = check_globs(m, o);
  if (!rc) rc = zf_model_check_unused(m);
  for (int64_t i = 0; !rc && !o->shapes && i < m->params.count; i++)
    rc = place(m, &m->params.param[i], m->from[i]);
  return rc;
}

/* Takes a tensor of a file up, letting its pages go piece by piece: beside the values of a tensor its
 * pages are never all resident. */
static void take_tensor(struct zf_param *p, const struct zf_st *st, const struct zf_st_tensor *t) {
  enum { PIECE = 1 << 17 }; /* values: a multiple of every dtype's block */
  const struct zf_map *map = &st->map[t->file];
  enum zf_dtype from = (enum zf_dtype)t->type;
  for (int64_t at = 0; at < p->count; at += PIECE) {
    int64_t n = p->count - at < PIECE ? p->count - at : PIECE;
    const unsigned char *src = t->data + zf_dtype_bytes(from, at);
    convert((char *)p->data + zf_dtype_bytes(p->type, at), p->type, src, from, n);
    zf_map_drop(map, (size_t)(t->data - map->data),
                (size_t)(src - t->data) + zf_dtype_bytes(from, n));
  }
}

void zf_model_reset(struct zf_model *m) {
  for (int64_t i = 0; i < m->params.count; i++) {
    struct zf_param *p = &m->params.param[i];
    if (!p->trained) continue;
    if (m->from[i])
      take_tensor(p, m->st, m->from[i]);
    else
      zf_model_make(m, i);
  }
}

int zf_model_reload(struct zf_model *m, const struct zf_st *from) {
  for (int64_t i = 0; i < m->params.count; i++) {
    struct zf_param *p = &m->params.param[i];
    if (!p->trained) continue;
    const struct zf_st_tensor *t = zf_st_find(from, p->name);
    if (!t || t->type != (int)zf_dtype_saved(p->type) || t->count != p->count)
      return zf_error(ZF_EINVALID, "%s: tensor '%s' is not the one that was saved there",
                      from->path[0], p->name);
    take_tensor(p, from, t);
  }
  return 0;
}

int zf_model_trainable(const char *dir) {
  if (!zf_gguf_named(dir) || zf_is_dir(dir)) return 0;
  char *word = zf_shell_word(dir);
  int rc = zf_error(
      word ? ZF_EUSAGE : ZF_ENOMEM,
      "%s: the weights of a GGUF file are not trained; write them as a model directory and "
      "train that: zoft export %s --to DIR",
      dir, word ? word : "FILE");
  free(word);
  return rc;
}

/* What a copy of the checkpoint will need: kept as it is now. */
static int read_beside(struct zf_model *m, const struct zf_model_opts *opts) {
  enum { CONFIG_LIMIT = 1 << 26 };
  if (opts->shapes || !zf_is_dir(m->dir)) return 0;
  char *path = zf_path_join(m->dir, "config.json");
  int rc = path ? zf_read_file(&m->config_text, NULL, path, CONFIG_LIMIT) : ZF_ENOMEM;
  free(path);
  return rc ? rc : zf_sidecars_open(&m->beside, m->dir);
}

/* A directory without safetensors may hold what another tool wrote. */
static int open_directory(struct zf_st **st, const char *dir) {
  int rc = zf_st_open(st, dir);
  int foreign = rc == ZF_EUSAGE ? zf_model_foreign(dir) : 0;
  return foreign ? foreign : rc;
}

int zf_model_open(struct zf_model **out, const char *dir, const struct zf_model_opts *opts) {
  *out = NULL;
  struct zf_model *m = zf_calloc(1, sizeof *m);
  if (!m) return ZF_ENOMEM;
  int rc = ZF_ENOMEM;
  m->dir = zf_strdup(dir);
  if (!m->dir) goto fail;
  if (opts->ntrainable && (rc = zf_model_trainable(dir))) goto fail;
  if ((rc = zf_config_load_labels(&m->config, dir, opts->labels))) goto fail;
  rc = zf_gguf_named(dir) && !zf_is_dir(dir) ? zf_gguf_weights(&m->st, &m->gguf, dir)
                                             : open_directory(&m->st, dir);
  if (rc) goto fail;
  zf_model_untie(m);
  m->config.headless = opts->headless && !zf_model_has_head(m);
  if (opts->labels && !zf_model_has_head(m)) m->config.outputs = opts->labels;
  if (opts->labels) m->config.problem = opts->problem;
  if ((rc = zf_plan_build(&m->plan, &m->config))) goto fail;
  if ((rc = load_params(m, opts))) goto fail;
  if ((rc = read_beside(m, opts))) goto fail;
  *out = m;
  return 0;
fail:
  zf_model_free(m);
  return rc;
}

void zf_model_free(struct zf_model *m) {
  if (!m) return;
  free(m->params.param);
  free((void *)m->from);
  for (int64_t i = 0; m->made && i < m->plan.nwant; i++) free(m->made[i]);
  free(m->made);
  zf_arena_free(&m->copies);
  zf_st_free(m->st);
  zf_plan_free(&m->plan);
  zf_sidecars_close(&m->beside);
  free(m->config_text);
  free(m->dir);
  free(m);
}

int zf_model_hash(const struct zf_model *m, char out[33]) {
  return zf_params_hash(&m->params, out);
}
