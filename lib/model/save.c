/* Writing a model directory that other tools load. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "model/model.h"

/* What tensor i of the file is: a parameter, or one of the checkpoint that is carried over. */
struct source {
  const struct zf_param *param;
  const struct zf_st_tensor *carried;
};

struct filler {
  const struct zf_st_out *out;
  const struct source *from;
};

/* Writes n values in the dtype of the file, piece by piece. */
static void write_values(FILE *file, const void *data, enum zf_dtype type, enum zf_dtype to,
                         int64_t n) {
  enum { PIECE = 8192 };
  size_t size = zf_dtype_info(to)->size;
  if (to == type) {
    fwrite(data, size, (size_t)n, file);
    return;
  }
  float wide[PIECE], narrow[PIECE];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t k = n - at < PIECE ? n - at : PIECE;
    zf_to_f32(wide, (const char *)data + zf_dtype_bytes(type, at), type, k);
    zf_from_f32(narrow, wide, to, k);
    fwrite(narrow, size, (size_t)k, file);
  }
}

static int fill(void *ctx, int64_t i, FILE *file) {
  const struct filler *filler = ctx;
  const struct zf_param *param = filler->from[i].param;
  const struct zf_st_tensor *tensor = filler->from[i].carried;
  if (param)
    write_values(file, param->data, param->type, filler->out[i].type, param->count);
  else
    write_values(file, tensor->data, (enum zf_dtype)tensor->type, filler->out[i].type,
                 tensor->count);
  return 0;
}

/* --- values that a file shall not hold --- */

struct unfit {
  int64_t infinite,
      wide;         /* values that are not finite; that are, but not in the dtype of the file */
  const char *name; /* the first tensor that has one */
};

static void look_at(struct unfit *unfit, const char *name, const void *data, enum zf_dtype type,
                    enum zf_dtype to, int64_t n) {
  enum { PIECE = 8192 };
  float value[PIECE], stored[PIECE];
  int64_t before = unfit->infinite + unfit->wide;
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t k = n - at < PIECE ? n - at : PIECE;
    const float *v = value, *w = value;
    if (type == ZF_F32)
      v = w = (const float *)data + at;
    else
      zf_to_f32(value, (const char *)data + zf_dtype_bytes(type, at), type, k);
    if (to != type && to != ZF_F32) {
      char narrow[PIECE * sizeof(float)];
      zf_from_f32(narrow, v, to, k);
      zf_to_f32(stored, narrow, to, k);
      w = stored;
    }
    for (int64_t i = 0; i < k; i++) {
      unfit->infinite += !isfinite(v[i]);
      unfit->wide += isfinite(v[i]) && !isfinite(w[i]);
    }
  }
  if (!before && unfit->infinite + unfit->wide) unfit->name = name;
}

static int refuse(const struct unfit *unfit, const char *dir, enum zf_dtype to) {
  if (unfit->infinite)
    return zf_error(
        ZF_EDIVERGED,
        "%s: %lld weights are not finite numbers, the first of them in '%s': not written; a "
        "smaller learning rate may help",
        dir, (long long)unfit->infinite, unfit->name);
  if (unfit->wide)
    return zf_error(
        ZF_EUSAGE,
        "%s: %lld weights are too large for %s, the first of them in '%s': not written; bf16 "
        "and f32 hold them",
        dir, (long long)unfit->wide, zf_dtype_info(to)->name, unfit->name);
  return 0;
}

int zf_model_finite(const struct zf_model *model, const char *name) {
  struct unfit unfit = {0};
  for (int64_t i = 0; i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (param->trained)
      look_at(&unfit, param->name, param->data, param->type, param->type, param->count);
  }
  return refuse(&unfit, name, ZF_F32);
}

/* Carried tensors are written as they lie in the file. */
static int check_values(const struct zf_st_out *out, const struct source *from, int64_t count,
                        const char *path) {
  struct unfit unfit = {0};
  enum zf_dtype to = ZF_F32;
  for (int64_t i = 0; i < count; i++) {
    const struct zf_param *param = from[i].param;
    if (param) look_at(&unfit, param->name, param->data, param->type, out[i].type, param->count);
    if (param && unfit.wide) to = out[i].type;
  }
  return refuse(&unfit, path, to);
}

static void declare(struct zf_st_out *out, const char *name, enum zf_dtype type, int ndim,
                    const int64_t *shape) {
  *out = (struct zf_st_out){.name = name, .ndim = ndim, .type = type};
  memcpy(out->shape, shape, sizeof *shape * (size_t)ndim);
}

/* All parameters and what is carried, or the trained ones alone. */
static int save_weights(const struct zf_model *model, const char *path, int dtype, int trained_only,
                        const char *const *metadata, int64_t nmetadata) {
  struct zf_st_out *out = zf_calloc(model->st->count + model->params.count, sizeof *out);
  struct source *from = zf_calloc(model->st->count + model->params.count, sizeof *from);
  int64_t n = 0;
  int rc = out && from ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (trained_only && !param->trained) continue;
    declare(&out[n], param->name, dtype >= 0 ? (enum zf_dtype)dtype : zf_dtype_saved(param->type),
            param->ndim, param->shape);
    from[n++].param = param;
  }
  for (int64_t i = 0; !rc && !trained_only && i < model->st->count; i++) {
    const struct zf_st_tensor *tensor = &model->st->tensor[i];
    if (tensor->type < 0 || tensor->type >= ZF_DTYPES ||
        !zf_family_carries(model->config.family, tensor->name))
      continue;
    declare(&out[n], tensor->name, (enum zf_dtype)tensor->type, tensor->ndim, tensor->shape);
    from[n++].carried = tensor;
  }
  struct filler filler = {out, from};
  if (!rc) rc = check_values(out, from, n, path);
  if (!rc) rc = zf_st_write(path, out, n, metadata, nmetadata, fill, &filler);
  free(from);
  free(out);
  return rc;
}

int zf_model_save_trained(const struct zf_model *model, const char *path,
                          const char *const *metadata, int64_t nmetadata) {
  return save_weights(model, path, -1, 1, metadata, nmetadata);
}

/* The loaders of other tools cast to the dtype that config.json names: name the widest that the
 * file holds, or small updates are lost there. */
static const char *torch_dtype(const struct zf_model *model, int dtype) {
  static const char *const name[ZF_DTYPES] = {
      [ZF_F32] = "float32", [ZF_F16] = "float16", [ZF_BF16] = "bfloat16"};
  if (dtype >= 0) return name[dtype];
  enum zf_dtype type = zf_dtype_saved(model->params.param[0].type);
  for (int64_t i = 1; i < model->params.count; i++)
    if (zf_dtype_saved(model->params.param[i].type) != type) return name[ZF_F32];
  return name[type];
}

static int read_config(json_t **out, const struct zf_model *model) {
  if (model->gguf) {
    int rc = zf_gguf_config(out, model->dir);
    if (!rc) json_object_del(*out, "unused_window"); /* a remark of the reader, no setting */
    return rc;
  }
  return zf_json_parse(out, model->config_text, strlen(model->config_text), "config.json");
}

/* What a new head of labels, or another use of one, changes. */
static int set_labels(json_t *obj, const struct zf_model *model) {
  json_t *names = json_object(), *numbers = json_object();
  int failed = !names || !numbers;
  for (int64_t i = 0; !failed && i < model->config.outputs; i++) {
    char key[24], label[32];
    snprintf(key, sizeof key, "%lld", (long long)i);
    snprintf(label, sizeof label, "LABEL_%lld", (long long)i);
    failed = json_object_set_new(names, key, json_string(label)) ||
             json_object_set_new(numbers, label, json_integer(i));
  }
  json_t *classes = json_pack("[s]", model->config.family->classifier);
  failed = failed || !classes || json_object_set(obj, "architectures", classes) ||
           json_object_set(obj, "id2label", names) || json_object_set(obj, "label2id", numbers);
  json_object_del(obj, "num_labels");
  json_decref(classes);
  json_decref(numbers);
  json_decref(names);
  return failed ? ZF_ENOMEM : 0;
}

static int save_config(const struct zf_model *model, const char *dir, int dtype) {
  char *to = zf_path_join(dir, "config.json");
  json_t *obj = NULL;
  char *text = NULL;
  int rc = to ? read_config(&obj, model) : ZF_ENOMEM;
  if (!rc) {
    const char *key = json_object_get(obj, "dtype") ? "dtype" : "torch_dtype";
    json_t *part =
        model->config.family->nest ? json_object_get(obj, model->config.family->nest) : obj;
    if (json_object_set_new(obj, key, json_string(torch_dtype(model, dtype)))) rc = ZF_ENOMEM;
    if (model->nmade) rc = set_labels(obj, model);
    if (model->config.classify && (model->nmade || json_object_get(obj, "problem_type")) &&
        json_object_set_new(obj, "problem_type",
                            json_string(zf_problem_names[model->config.problem])))
      rc = ZF_ENOMEM;
    if (model->own_head && json_object_set_new(part, model->config.family->tie.key, json_false()))
      rc = ZF_ENOMEM;
  }
  if (!rc) {
    text = zf_json_dump(obj, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    rc = text ? zf_write_file(to, text, strlen(text)) : zf_error(ZF_ENOMEM, "out of memory");
  }
  free(text);
  json_decref(obj);
  free(to);
  return rc;
}

int zf_model_save_sidecars(struct zf_model *model, const char *dir, int dtype) {
  int rc = save_config(model, dir, dtype);
  if (!rc) rc = zf_sidecars_copy(&model->beside, dir, 0);
  return rc ? rc : zf_sidecars_keep(&model->beside, dir);
}

int zf_model_save(const struct zf_model *model, const char *dir, int dtype,
                  const char *const *metadata, int64_t nmetadata) {
  char *path = zf_path_join(dir, "model.safetensors");
  int rc = path ? zf_mkdirs(dir) : ZF_ENOMEM;
  if (!rc) rc = save_weights(model, path, dtype, 0, metadata, nmetadata);
  if (!rc) rc = save_config(model, dir, dtype);
  if (!rc) rc = zf_sidecars_copy(&model->beside, dir, 0);
  free(path);
  return rc;
}
