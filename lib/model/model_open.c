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
static const struct zf_st_tensor *named(const struct zf_model *model, const char *prefix,
                                        const char *name) {
  static const char *const old[][2] = {{"LayerNorm.weight", "gamma"}, {"LayerNorm.bias", "beta"}};
  char full[256];
  size_t n = strlen(prefix) + strlen(name);
  snprintf(full, sizeof full, "%s%s", prefix, name);
  const struct zf_st_tensor *tensor = zf_st_find(model->st, full);
  for (int i = 0; !tensor && i < 2; i++) {
    size_t tail = strlen(old[i][0]), keep = strlen("LayerNorm.");
    if (n < tail || strcmp(full + n - tail, old[i][0]) != 0) continue;
    snprintf(full + n - tail + keep, sizeof full - (n - tail + keep), "%s", old[i][1]);
    tensor = zf_st_find(model->st, full);
  }
  return tensor;
}

const struct zf_st_tensor *zf_model_tensor(const struct zf_model *model, const char *name) {
  const char *const *prefix = model->config.family->prefix;
  for (int i = 0; prefix[i]; i++) {
    const struct zf_st_tensor *tensor = named(model, prefix[i], name);
    size_t k = strlen(prefix[i]);
    if (!tensor && k && !strncmp(name, prefix[i], k))
      tensor = named(model, "", name + k); /* written out in full */
    if (tensor) return tensor;
  }
  return named(model, "", name);
}

/* A bias of two names is the copy where they differ; of a tied pair one may be missing. */
static const struct zf_st_tensor *find_tensor(const struct zf_model *model,
                                              const struct zf_wanted_tensor *wanted) {
  const struct zf_head_names *tail = zf_config_tail(&model->config);
  const struct zf_st_tensor *tensor = zf_model_tensor(model, wanted->name), *other = NULL;
  if (tail->bias_copy && !strcmp(wanted->name, tail->bias))
    other = zf_model_tensor(model, tail->bias_copy);
  if (other && (!tensor || !zf_model_equal(tensor, other))) return other;
  if (!tensor && model->config.tied && !strcmp(wanted->name, model->config.family->names.embed))
    return zf_model_tensor(model, tail->head);
  return tensor;
}

static void shape_text(struct zf_buf *buf, const int64_t *shape, int count) {
  zf_buf_putc(buf, '[');
  for (int i = 0; i < count; i++) zf_buf_printf(buf, "%s%lld", i ? ", " : "", (long long)shape[i]);
  zf_buf_putc(buf, ']');
}

static int check_tensor(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                        const struct zf_st_tensor *tensor) {
  if (!tensor) return zf_model_missing(model, wanted);
  const char *path = model->st->path[tensor->file];
  int same = tensor->ndim == wanted->ndim;
  for (int i = 0; same && i < wanted->ndim; i++) same = tensor->shape[i] == wanted->shape[i];
  if (!same) {
    struct zf_buf buf = {0};
    shape_text(&buf, wanted->shape, wanted->ndim);
    zf_buf_puts(&buf, model->gguf ? " by its keys, found " : " by config.json, found ");
    shape_text(&buf, tensor->shape, tensor->ndim);
    int rc = zf_error(ZF_EINVALID, "%s: tensor '%s': expected shape %s", path, tensor->name,
                      buf.failed ? "?" : buf.data);
    zf_buf_free(&buf);
    return rc;
  }
  if (tensor->type < 0)
    return zf_error(ZF_EINVALID,
                    "%s: tensor '%s': dtype %s is not supported; supported are F32, F16, BF16%s",
                    path, tensor->name, tensor->dtype,
                    model->gguf ? ", Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K" : "");
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
static int64_t first_bad_block(const unsigned char *data, const struct zf_dtype_info *dtype_info,
                               int64_t from, int64_t to) {
  int64_t bad = to;
#pragma omp parallel for schedule(static) reduction(min : bad)
  for (int64_t i = from / dtype_info->block; i < to / dtype_info->block; i++)
    for (int s = 0; s < dtype_info->nscale; s++) {
      const unsigned char *p = data + (size_t)i * dtype_info->size + dtype_info->scale[s];
      if ((p[1] & 0x7c) == 0x7c && i * dtype_info->block < bad) bad = i * dtype_info->block;
    }
  return bad < to ? bad : -1;
}

static int check_values(const struct zf_model *model, const struct zf_st_tensor *tensor,
                        int64_t from, int64_t to) {
  enum zf_dtype type = (enum zf_dtype)tensor->type;
  const struct zf_dtype_info *info = zf_dtype_info(type);
  if (info->block > 1) {
    int64_t at = first_bad_block(tensor->data, info, from, to);
    if (at < 0) return 0;
    return zf_error(ZF_EINVALID, "%s: tensor '%s': the block of element %lld has no finite scale",
                    model->st->path[tensor->file], tensor->name, (long long)at);
  }
  int64_t bad = first_bad(tensor->data, type, from, to);
  if (bad < 0) return 0;
  uint32_t raw = 0;
  float v;
  size_t size = zf_dtype_info(type)->size;
  memcpy(&raw, tensor->data + (size_t)bad * size, size);
  zf_to_f32(&v, &raw, type, 1);
  return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is %f, not a finite number",
                  model->st->path[tensor->file], tensor->name, (long long)bad, (double)v);
}

static int matches(const struct zf_model_opts *opts, const char *name) {
  for (int64_t i = 0; i < opts->ntrainable; i++)
    if (zf_glob(opts->trainable[i], name)) return 1;
  return 0;
}

/* What dtype a parameter is held in. */
static enum zf_dtype held_type(const struct zf_param *param, const struct zf_st_tensor *tensor,
                               const struct zf_model_opts *opts, struct zf_gguf_change change) {
  if (param->trained) return opts->trained;
  if (change.less != 0) return ZF_F32;
  return (enum zf_dtype)(opts->dtype >= 0 ? opts->dtype : tensor->type);
}

static struct zf_gguf_change change_of(const struct zf_model *model, const char *name) {
  return zf_gguf_change(model->gguf, &model->config, name);
}

static int must_copy(const struct zf_model *model, const struct zf_param *param,
                     const struct zf_st_tensor *tensor) {
  struct zf_gguf_change change = change_of(model, tensor->name);
  return param->trained || (int)param->type != tensor->type ||
         (uintptr_t)tensor->data % zf_dtype_align(param->type) || change.heads || change.less != 0;
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
static void copy_heads(struct zf_param *param, const struct zf_st_tensor *tensor, int64_t heads) {
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  int64_t width = param->count / param->shape[0], dim = param->shape[0] / heads, half = dim / 2;
  for (int64_t r = 0; r < param->shape[0]; r++) {
    int64_t h = r / dim, e = r % dim, at = h * dim + e % half * 2 + e / half;
    convert((char *)param->data + zf_dtype_bytes(param->type, r * width), param->type,
            tensor->data + zf_dtype_bytes(from, at * width), from, width);
  }
}

static int place_heads(struct zf_model *model, struct zf_param *param,
                       const struct zf_st_tensor *tensor, int64_t heads) {
  const struct zf_map *map = &model->st->map[tensor->file];
  int rc = check_values(model, tensor, 0, tensor->count);
  if (rc) return rc;
  copy_heads(param, tensor, heads);
  zf_map_drop(map, (size_t)(tensor->data - map->data), tensor->bytes);
  model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
  return 0;
}

/* Values are checked and copied a piece at a time, and the file's pages let go behind, so that
 * no tensor is ever resident twice. */
static int place_copy(struct zf_model *model, struct zf_param *param,
                      const struct zf_st_tensor *tensor) {
  enum { PIECE = 1 << 20 };
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  struct zf_gguf_change change = change_of(model, tensor->name);
  const struct zf_map *map = &model->st->map[tensor->file];
  param->data = zf_arena_alloc(&model->copies, zf_dtype_bytes(param->type, param->count));
  if (!param->data) return ZF_ENOMEM;
  if (change.heads) return place_heads(model, param, tensor, change.heads);
  for (int64_t i = 0; i < param->count; i += PIECE) {
    int64_t n = param->count - i < PIECE ? param->count - i : PIECE;
    int rc = check_values(model, tensor, i, i + n);
    if (rc) return rc;
    const unsigned char *src = tensor->data + zf_dtype_bytes(from, i);
    convert((char *)param->data + zf_dtype_bytes(param->type, i), param->type, src, from, n);
    zf_map_drop(map, (size_t)(src - map->data), zf_dtype_bytes(from, n));
  }
  float *f = param->data;
  for (int64_t i = 0; change.less != 0 && i < param->count; i++)
    f[i] -= change.less; /* held_type made it f32 */
  model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
  return 0;
}

static int place(struct zf_model *model, struct zf_param *param,
                 const struct zf_st_tensor *tensor) {
  if (!tensor) {
    param->data = zf_arena_alloc(&model->copies, zf_dtype_bytes(param->type, param->count));
    if (!param->data) return ZF_ENOMEM;
    zf_model_make(model, param->id);
    model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
    return 0;
  }
  if (must_copy(model, param, tensor)) return place_copy(model, param, tensor);
  param->data = (void *)tensor->data;
  model->mapped += (int64_t)tensor->bytes;
  return check_values(model, tensor, 0, tensor->count);
}

/* A parameter that the file lacks. */
static void new_param(struct zf_model *model, int64_t i, const struct zf_model_opts *opts,
                      size_t *copies) {
  const struct zf_wanted_tensor *wanted = &model->plan.want[i];
  struct zf_param *param = &model->params.param[i];
  int64_t n = wanted->ndim == 2 ? wanted->shape[0] * wanted->shape[1] : wanted->shape[0];
  *param = (struct zf_param){
      .name = model->made[i], .ndim = wanted->ndim, .count = n, .id = (uint32_t)i};
  memcpy(param->shape, wanted->shape, sizeof wanted->shape);
  param->trained = matches(opts, param->name);
  param->decayed = wanted->decayed;
  param->type = param->trained ? opts->trained : ZF_F32;
  *copies += zf_arena_cost(zf_dtype_bytes(param->type, param->count));
}

/* One parameter for each want, with dtype and the place it will have decided. */
static int make_params(struct zf_model *model, const struct zf_model_opts *opts) {
  size_t copies = 0;
  for (int64_t i = 0; i < model->plan.nwant; i++) {
    const struct zf_wanted_tensor *wanted = &model->plan.want[i];
    const struct zf_st_tensor *tensor = model->from[i];
    if (!tensor && zf_model_may_make(model, wanted, opts)) {
      new_param(model, i, opts, &copies);
      continue;
    }
    int rc = check_tensor(model, wanted, tensor);
    if (rc) return rc;
    struct zf_param *param = &model->params.param[i];
    *param = (struct zf_param){.name = model->made ? model->made[i] : tensor->name,
                               .ndim = tensor->ndim,
                               .count = tensor->count,
                               .id = (uint32_t)i};
    memcpy(param->shape, wanted->shape, sizeof wanted->shape);
    param->trained = matches(opts, param->name);
    param->decayed = wanted->decayed;
    param->type = held_type(param, tensor, opts, change_of(model, tensor->name));
    if (must_copy(model, param, tensor))
      copies += zf_arena_cost(zf_dtype_bytes(param->type, param->count));
  }
  model->params.count = model->plan.nwant;
  return zf_arena_init(&model->copies, opts->shapes ? 0 : copies);
}

/* A glob that trains nothing is a mistake of the config. */
static int check_globs(const struct zf_model *model, const struct zf_model_opts *opts) {
  for (int64_t g = 0; g < opts->ntrainable; g++) {
    int hit = 0;
    for (int64_t i = 0; i < model->params.count && !hit; i++)
      hit = zf_glob(opts->trainable[g], model->params.param[i].name);
    if (!hit)
      return zf_error(ZF_EUSAGE, "trainable: '%s' matches no tensor of %s (such as '%s')",
                      opts->trainable[g], model->dir,
                      model->params.param[model->params.count / 2].name);
  }
  return 0;
}

static int load_params(struct zf_model *model, const struct zf_model_opts *opts) {
  model->from = zf_calloc(model->plan.nwant, sizeof *model->from);
  model->params.param = zf_calloc(model->plan.nwant, sizeof *model->params.param);
  int rc = model->from && model->params.param ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < model->plan.nwant; i++)
    model->from[i] = find_tensor(model, &model->plan.want[i]);
  if (!rc) rc = zf_model_name_head(model, opts);
  if (!rc) rc = make_params(model, opts);
  if (!rc) rc = check_globs(model, opts);
  if (!rc) rc = zf_model_check_unused(model);
  for (int64_t i = 0; !rc && !opts->shapes && i < model->params.count; i++)
    rc = place(model, &model->params.param[i], model->from[i]);
  return rc;
}

/* Takes a tensor of a file up, letting its pages go piece by piece: beside the values of a tensor its
 * pages are never all resident. */
static void take_tensor(struct zf_param *param, const struct zf_st *st,
                        const struct zf_st_tensor *tensor) {
  enum { PIECE = 1 << 17 }; /* values: a multiple of every dtype's block */
  const struct zf_map *map = &st->map[tensor->file];
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  for (int64_t at = 0; at < param->count; at += PIECE) {
    int64_t n = param->count - at < PIECE ? param->count - at : PIECE;
    const unsigned char *src = tensor->data + zf_dtype_bytes(from, at);
    convert((char *)param->data + zf_dtype_bytes(param->type, at), param->type, src, from, n);
    zf_map_drop(map, (size_t)(tensor->data - map->data),
                (size_t)(src - tensor->data) + zf_dtype_bytes(from, n));
  }
}

void zf_model_reset(struct zf_model *model) {
  for (int64_t i = 0; i < model->params.count; i++) {
    struct zf_param *param = &model->params.param[i];
    if (!param->trained) continue;
    if (model->from[i])
      take_tensor(param, model->st, model->from[i]);
    else
      zf_model_make(model, i);
  }
}

int zf_model_reload(struct zf_model *model, const struct zf_st *from) {
  for (int64_t i = 0; i < model->params.count; i++) {
    struct zf_param *param = &model->params.param[i];
    if (!param->trained) continue;
    const struct zf_st_tensor *tensor = zf_st_find(from, param->name);
    if (!tensor || tensor->type != (int)zf_dtype_saved(param->type) ||
        tensor->count != param->count)
      return zf_error(ZF_EINVALID, "%s: tensor '%s' is not the one that was saved there",
                      from->path[0], param->name);
    take_tensor(param, from, tensor);
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
static int read_beside(struct zf_model *model, const struct zf_model_opts *opts) {
  enum { CONFIG_LIMIT = 1 << 26 };
  if (opts->shapes || !zf_is_dir(model->dir)) return 0;
  char *path = zf_path_join(model->dir, "config.json");
  int rc = path ? zf_read_file(&model->config_text, NULL, path, CONFIG_LIMIT) : ZF_ENOMEM;
  free(path);
  return rc ? rc : zf_sidecars_open(&model->beside, model->dir);
}

/* A directory without safetensors may hold what another tool wrote. */
static int open_directory(struct zf_st **st, const char *dir) {
  int rc = zf_st_open(st, dir);
  int foreign = rc == ZF_EUSAGE ? zf_model_foreign(dir) : 0;
  return foreign ? foreign : rc;
}

int zf_model_open(struct zf_model **out, const char *dir, const struct zf_model_opts *opts) {
  *out = NULL;
  struct zf_model *model = zf_calloc(1, sizeof *model);
  if (!model) return ZF_ENOMEM;
  int rc = ZF_ENOMEM;
  model->dir = zf_strdup(dir);
  if (!model->dir) goto fail;
  if (opts->ntrainable && (rc = zf_model_trainable(dir))) goto fail;
  if ((rc = zf_config_load_labels(&model->config, dir, opts->labels))) goto fail;
  rc = zf_gguf_named(dir) && !zf_is_dir(dir) ? zf_gguf_weights(&model->st, &model->gguf, dir)
                                             : open_directory(&model->st, dir);
  if (rc) goto fail;
  zf_model_untie(model);
  model->config.headless = opts->headless && !zf_model_has_head(model);
  if (opts->labels && !zf_model_has_head(model)) model->config.outputs = opts->labels;
  if (opts->labels) model->config.problem = opts->problem;
  if ((rc = zf_plan_build(&model->plan, &model->config))) goto fail;
  if ((rc = load_params(model, opts))) goto fail;
  if ((rc = read_beside(model, opts))) goto fail;
  *out = model;
  return 0;
fail:
  zf_model_free(model);
  return rc;
}

void zf_model_free(struct zf_model *model) {
  if (!model) return;
  free(model->params.param);
  free((void *)model->from);
  for (int64_t i = 0; model->made && i < model->plan.nwant; i++) free(model->made[i]);
  free(model->made);
  zf_arena_free(&model->copies);
  zf_st_free(model->st);
  zf_plan_free(&model->plan);
  zf_sidecars_close(&model->beside);
  free(model->config_text);
  free(model->dir);
  free(model);
}

int zf_model_hash(const struct zf_model *model, char out[33]) {
  return zf_params_hash(&model->params, out);
}
