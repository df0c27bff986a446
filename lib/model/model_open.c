/* Opens a checkpoint: finds, checks and places every wanted tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "kern/kern.h"
#include "model/model_internal.h"

/* The tensor PREFIX NAME; BERT's first files call a norm's weight and bias gamma and beta. */
static const struct zf_st_tensor *find_name(const struct zf_model *model, const char *prefix,
                                            const char *name) {
  static const char *const old[][2] = {{"LayerNorm.weight", "gamma"}, {"LayerNorm.bias", "beta"}};
  char full[256];
  size_t len = strlen(prefix) + strlen(name), kept = strlen("LayerNorm.");
  snprintf(full, sizeof full, "%s%s", prefix, name);
  const struct zf_st_tensor *tensor = zf_st_find(model->st, full);
  if (tensor) return tensor;
  for (int i = 0; i < 2; i++) {
    size_t suffix = strlen(old[i][0]);
    if (len < suffix || strcmp(full + len - suffix, old[i][0]) != 0) continue;
    snprintf(full + len - suffix + kept, sizeof full - (len - suffix + kept), "%s", old[i][1]);
    return zf_st_find(model->st, full);
  }
  return NULL;
}

const struct zf_st_tensor *zf_model_tensor(const struct zf_model *model, const char *name) {
  const char *const *prefix = model->config.family->prefix;
  for (int i = 0; prefix[i]; i++) {
    const struct zf_st_tensor *tensor = find_name(model, prefix[i], name);
    size_t len = strlen(prefix[i]);
    if (!tensor && len && !strncmp(name, prefix[i], len))
      tensor = find_name(model, "", name + len); /* the name includes the prefix */
    if (tensor) return tensor;
  }
  return find_name(model, "", name);
}

/* Where a bias has two names and their values differ, the second one is used.  Of a tied head and
 * embedding one may be missing. */
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

static int has_shape(const struct zf_st_tensor *tensor, const struct zf_wanted_tensor *wanted) {
  if (tensor->ndim != wanted->ndim) return 0;
  for (int i = 0; i < wanted->ndim; i++)
    if (tensor->shape[i] != wanted->shape[i]) return 0;
  return 1;
}

static int wrong_shape(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                       const struct zf_st_tensor *tensor) {
  struct zf_buf buf = {0};
  shape_text(&buf, wanted->shape, wanted->ndim);
  zf_buf_puts(&buf, model->gguf ? " by its keys, found " : " by config.json, found ");
  shape_text(&buf, tensor->shape, tensor->ndim);
  int rc = zf_error(ZF_EINVALID, "%s: tensor '%s': expected shape %s",
                    model->st->path[tensor->file], tensor->name, buf.failed ? "?" : buf.data);
  zf_buf_free(&buf);
  return rc;
}

static int check_tensor(const struct zf_model *model, const struct zf_wanted_tensor *wanted,
                        const struct zf_st_tensor *tensor) {
  if (!tensor) return zf_model_missing(model, wanted);
  const char *path = model->st->path[tensor->file];
  if (!has_shape(tensor, wanted)) return wrong_shape(model, wanted, tensor);
  if (tensor->type < 0)
    return zf_error(
        ZF_EINVALID, "%s: tensor '%s': dtype %s is not supported; supported are F32, F16, BF16%s",
        path, tensor->name, tensor->dtype,
        model->gguf ? ", Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS" : "");
  return 0;
}

/* The first element of [from, to) that is not finite (its exponent bits are all ones), or -1.  Sizes
 * are constants inside the loops, so that an element costs no call. */
static int64_t first_bad(const unsigned char *data, enum zf_dtype type, int64_t from, int64_t to) {
  int64_t bad = to;
  if (type == ZF_F32) {
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t i = from; i < to; i++) {
      uint32_t bits;
      memcpy(&bits, data + i * 4, sizeof bits); /* little endian, as the file is */
      if ((bits & 0x7f800000u) == 0x7f800000u && i < bad) bad = i;
    }
  } else {
    uint16_t exponent = type == ZF_F16 ? 0x7c00 : 0x7f80;
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t i = from; i < to; i++) {
      uint16_t bits;
      memcpy(&bits, data + i * 2, sizeof bits);
      if ((bits & exponent) == exponent && i < bad) bad = i;
    }
  }
  return bad < to ? bad : -1;
}

/* The same for blocks, whose values are finite where their scales are: the first element of the
 * first bad block, or -1. */
static int64_t first_bad_block(const unsigned char *data, const struct zf_dtype_info *dtype_info,
                               int64_t from, int64_t to) {
  int64_t bad = to;
#pragma omp parallel for schedule(static) reduction(min : bad)
  for (int64_t i = from / dtype_info->block; i < to / dtype_info->block; i++)
    for (int j = 0; j < dtype_info->nscale; j++) {
      const unsigned char *scale = data + (size_t)i * dtype_info->size + dtype_info->scale[j];
      if ((scale[1] & 0x7c) == 0x7c && i * dtype_info->block < bad) bad = i * dtype_info->block;
    }
  return bad < to ? bad : -1;
}

static int check_values(const struct zf_model *model, const struct zf_st_tensor *tensor,
                        int64_t from, int64_t to) {
  enum zf_dtype type = (enum zf_dtype)tensor->type;
  const struct zf_dtype_info *info = zf_dtype_info(type);
  if (info->block > 1) {
    int64_t element = first_bad_block(tensor->data, info, from, to);
    if (element < 0) return 0;
    return zf_error(ZF_EINVALID, "%s: tensor '%s': the block of element %lld has no finite scale",
                    model->st->path[tensor->file], tensor->name, (long long)element);
  }
  int64_t bad = first_bad(tensor->data, type, from, to);
  if (bad < 0) return 0;
  uint32_t raw = 0;
  float value;
  memcpy(&raw, tensor->data + (size_t)bad * info->size, info->size);
  zf_to_f32(&value, &raw, type, 1);
  return zf_error(ZF_EINVALID, "%s: tensor '%s': element %lld is %f, not a finite number",
                  model->st->path[tensor->file], tensor->name, (long long)bad, (double)value);
}

int zf_model_is_named(const struct zf_model_opts *opts, const char *name) {
  for (int64_t i = 0; i < opts->ntrainable; i++)
    if (zf_glob(opts->trainable[i], name)) return 1;
  return 0;
}

/* The dtype that a parameter is held in. */
static enum zf_dtype held_type(const struct zf_param *param, const struct zf_st_tensor *tensor,
                               const struct zf_model_opts *opts, struct zf_gguf_change change) {
  if (param->trained && zf_dtype_info((enum zf_dtype)tensor->type)->block == 1)
    return opts->trained;
  if (change.subtract != 0) return ZF_F32;
  int blocks = tensor->type >= 0 && zf_dtype_info((enum zf_dtype)tensor->type)->block > 1;
  if (change.transposed && blocks && opts->dtype < 0) return ZF_F32;
  return (enum zf_dtype)(opts->dtype >= 0 ? opts->dtype : tensor->type);
}

static int must_copy(const struct zf_model *model, const struct zf_param *param,
                     const struct zf_st_tensor *tensor) {
  struct zf_gguf_change change = zf_model_change(model, tensor->name);
  return param->trained || (int)param->type != tensor->type ||
         (uintptr_t)tensor->data % zf_dtype_align(param->type) || change.heads ||
         change.transposed || change.subtract != 0;
}

static int place_rows(struct zf_model *model, struct zf_param *param,
                      const struct zf_st_tensor *tensor, struct zf_gguf_change change) {
  const struct zf_map *map = &model->st->map[tensor->file];
  int rc = check_values(model, tensor, 0, tensor->count);
  if (!rc) rc = zf_model_copy_rows(param, tensor, change);
  if (rc) return rc;
  zf_map_drop(map, (size_t)(tensor->data - map->data), tensor->bytes);
  model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
  return 0;
}

/* Checks and copies the values a chunk at a time, and releases the file's pages behind it, so that
 * no tensor is ever resident twice. */
static int place_copy(struct zf_model *model, struct zf_param *param,
                      const struct zf_st_tensor *tensor) {
  enum { CHUNK = 1 << 20 };
  enum zf_dtype from = (enum zf_dtype)tensor->type;
  struct zf_gguf_change change = zf_model_change(model, tensor->name);
  const struct zf_map *map = &model->st->map[tensor->file];
  param->data = zf_arena_alloc(&model->copies, zf_dtype_bytes(param->type, param->count));
  if (!param->data) return ZF_ENOMEM;
  if (change.heads || change.transposed) return place_rows(model, param, tensor, change);
  for (int64_t i = 0; i < param->count; i += CHUNK) {
    int64_t count = param->count - i < CHUNK ? param->count - i : CHUNK;
    int rc = check_values(model, tensor, i, i + count);
    if (rc) return rc;
    const unsigned char *src = tensor->data + zf_dtype_bytes(from, i);
    zf_model_convert((char *)param->data + zf_dtype_bytes(param->type, i), param->type, src, from,
                     count);
    zf_map_drop(map, (size_t)(src - map->data), zf_dtype_bytes(from, count));
  }
  zf_model_subtract(param, change.subtract);
  model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
  return 0;
}

static int place(struct zf_model *model, struct zf_param *param,
                 const struct zf_st_tensor *tensor) {
  if (!tensor) {
    param->data = zf_arena_alloc(&model->copies, zf_dtype_bytes(param->type, param->count));
    if (!param->data) return ZF_ENOMEM;
    zf_model_create_values(model, param->id);
    model->copied += (int64_t)zf_dtype_bytes(param->type, param->count);
    return 0;
  }
  if (must_copy(model, param, tensor)) return place_copy(model, param, tensor);
  param->data = (void *)tensor->data;
  model->mapped += (int64_t)tensor->bytes;
  return check_values(model, tensor, 0, tensor->count);
}

/* What the plan says of a parameter. */
static void describe(struct zf_param *param, const struct zf_wanted_tensor *wanted) {
  param->decayed = wanted->decayed;
  param->transposed = wanted->transposed;
  param->plus = wanted->plus;
}

/* Describes parameter `number`, which the file lacks. */
static void new_param(struct zf_model *model, int64_t number, const struct zf_model_opts *opts,
                      size_t *copies) {
  const struct zf_wanted_tensor *wanted = &model->plan.wanted[number];
  struct zf_param *param = &model->params.param[number];
  int64_t count = wanted->ndim == 2 ? wanted->shape[0] * wanted->shape[1] : wanted->shape[0];
  *param = (struct zf_param){.name = model->param_names[number],
                             .ndim = wanted->ndim,
                             .count = count,
                             .id = (uint32_t)number};
  memcpy(param->shape, wanted->shape, sizeof wanted->shape);
  param->trained = zf_model_is_named(opts, param->name);
  describe(param, wanted);
  param->type = param->trained ? opts->trained : ZF_F32;
  *copies += zf_arena_cost(zf_dtype_bytes(param->type, param->count));
}

/* Describes a parameter for each wanted tensor, and reserves memory for all copies. */
static int make_params(struct zf_model *model, const struct zf_model_opts *opts) {
  size_t copies = 0;
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    const struct zf_wanted_tensor *wanted = &model->plan.wanted[i];
    const struct zf_st_tensor *tensor = model->from[i];
    if (!tensor && zf_model_may_create(model, wanted, opts)) {
      new_param(model, i, opts, &copies);
      continue;
    }
    int rc = check_tensor(model, wanted, tensor);
    if (rc) return rc;
    struct zf_param *param = &model->params.param[i];
    *param = (struct zf_param){.name = model->param_names ? model->param_names[i] : tensor->name,
                               .ndim = tensor->ndim,
                               .count = tensor->count,
                               .id = (uint32_t)i};
    memcpy(param->shape, wanted->shape, sizeof wanted->shape);
    int named = zf_model_is_named(opts, param->name);
    param->trained = named && zf_blocks_train_whole((enum zf_dtype)tensor->type, opts);
    describe(param, wanted);
    param->type = held_type(param, tensor, opts, zf_model_change(model, tensor->name));
    if (named && (rc = zf_blocks_check_tensor(model, param, opts))) return rc;
    if (named && !param->trained) copies += zf_blocks_cost(param);
    if (must_copy(model, param, tensor))
      copies += zf_arena_cost(zf_dtype_bytes(param->type, param->count));
  }
  model->params.count = model->plan.wanted_count;
  return zf_arena_init(&model->copies, opts->shapes ? 0 : copies);
}

static int matches_some(const char *glob, const struct zf_params *params) {
  for (int64_t i = 0; i < params->count; i++)
    if (zf_glob(glob, params->param[i].name)) return 1;
  return 0;
}

/* A glob that matches no tensor is a mistake in the settings. */
static int check_globs(const struct zf_model *model, const struct zf_model_opts *opts) {
  for (int64_t i = 0; i < opts->ntrainable; i++)
    if (!matches_some(opts->trainable[i], &model->params))
      return zf_error(ZF_EUSAGE, "trainable: '%s' matches no tensor of %s (such as '%s')",
                      opts->trainable[i], model->dir,
                      model->params.param[model->params.count / 2].name);
  return 0;
}

static int place_all(struct zf_model *model) {
  for (int64_t i = 0; i < model->plan.wanted_count; i++) {
    int rc = place(model, &model->params.param[i], model->from[i]);
    if (rc) return rc;
  }
  return 0;
}

static int load_params(struct zf_model *model, const struct zf_model_opts *opts) {
  int rc;
  model->from = zf_calloc(model->plan.wanted_count, sizeof *model->from);
  model->params.param = zf_calloc(model->plan.wanted_count, sizeof *model->params.param);
  if (!model->from || !model->params.param) return ZF_ENOMEM;
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    model->from[i] = find_tensor(model, &model->plan.wanted[i]);
  if ((rc = zf_model_name_head(model, opts))) return rc;
  if ((rc = make_params(model, opts))) return rc;
  if ((rc = check_globs(model, opts))) return rc;
  if ((rc = zf_model_check_unused(model))) return rc;
  if (!opts->shapes && (rc = place_all(model))) return rc;
  return zf_blocks_add(model, opts);
}

int zf_model_trainable(const char *dir) {
  if (!zf_is_gguf_path(dir) || zf_is_dir(dir)) return 0;
  char *word = zf_shell_word(dir);
  int rc = zf_error(
      word ? ZF_EUSAGE : ZF_ENOMEM,
      "%s: the weights of a GGUF file cannot be trained by this method; write them as a model "
      "directory and train that (zoft export %s --to DIR), or use method mezo",
      dir, word ? word : "FILE");
  free(word);
  return rc;
}

/* Reads config.json and lists the sidecar files, which a save of the model needs later. */
static int read_sidecars(struct zf_model *model, const struct zf_model_opts *opts) {
  enum { CONFIG_LIMIT = 1 << 26 };
  if (opts->shapes || !zf_is_dir(model->dir)) return 0;
  char *path = zf_path_join(model->dir, "config.json");
  int rc = path ? zf_read_file(&model->config_text, NULL, path, CONFIG_LIMIT) : ZF_ENOMEM;
  free(path);
  return rc ? rc : zf_sidecars_open(&model->sidecars, model->dir);
}

/* A directory without safetensors may hold files of another tool. */
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
  if (opts->ntrainable && !opts->blocks && (rc = zf_model_trainable(dir))) goto fail;
  if ((rc = zf_config_load_labels(&model->config, dir, opts->labels))) goto fail;
  rc = zf_is_gguf_path(dir) && !zf_is_dir(dir) ? zf_gguf_weights(&model->st, &model->gguf, dir)
                                               : open_directory(&model->st, dir);
  if (!rc) rc = zf_blocks_check(model, opts);
  if (rc) goto fail;
  zf_model_untie(model);
  model->config.headless = opts->headless && !zf_model_has_head(model);
  if (opts->labels && !zf_model_has_head(model)) model->config.outputs = opts->labels;
  if (opts->labels) model->config.problem = opts->problem;
  if ((rc = zf_plan_build(&model->plan, &model->config))) goto fail;
  if ((rc = load_params(model, opts))) goto fail;
  if ((rc = read_sidecars(model, opts))) goto fail;
  zf_model_place_params(model);
  *out = model;
  return 0;
fail:
  zf_model_free(model);
  return rc;
}

void zf_model_free(struct zf_model *model) {
  if (!model) return;
  zf_model_free_owned(model);
  free(model->adapters);
  zf_params_free_state(&model->params);
  free(model->params.param);
  free((void *)model->from);
  if (model->param_names)
    for (int64_t i = 0; i < model->plan.wanted_count; i++) free(model->param_names[i]);
  free(model->param_names);
  zf_arena_free(&model->copies);
  zf_st_free(model->st);
  zf_plan_free(&model->plan);
  zf_sidecars_close(&model->sidecars);
  free(model->config_text);
  free(model->dir);
  free(model);
}
