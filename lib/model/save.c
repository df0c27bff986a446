/* Writes a model directory that other tools load. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "model/save_internal.h"

/* Source of a tensor of the written file: a parameter, or a tensor of the checkpoint that is carried
 * over unchanged. */
struct saved_tensor {
  const struct zf_param *param; /* NULL: carried */
  const struct zf_st_tensor *carried;
  int64_t changed; /* number under which zf_save_values has other values for it; -1: none */
};

struct save_writer {
  const struct zf_st_out *out;
  const struct saved_tensor *from;
  const struct zf_save_values *values; /* NULL: the parameters' own */
};

/* Writes `total` values in the dtype of the file, chunk by chunk. */
static void write_values(FILE *file, const void *data, enum zf_dtype type, enum zf_dtype to,
                         int64_t total) {
  enum { CHUNK = 8192 };
  if (to == type) {
    fwrite(data, 1, zf_dtype_bytes(type, total), file);
    return;
  }
  float wide[CHUNK], narrow[CHUNK];
  for (int64_t i = 0; i < total; i += CHUNK) {
    int64_t count = total - i < CHUNK ? total - i : CHUNK;
    zf_to_f32(wide, (const char *)data + zf_dtype_bytes(type, i), type, count);
    zf_from_f32(narrow, wide, to, count);
    fwrite(narrow, 1, zf_dtype_bytes(to, count), file);
  }
}

static int write_tensor(void *ctx, int64_t number, FILE *file) {
  const struct save_writer *writer = ctx;
  const struct zf_param *param = writer->from[number].param;
  const struct zf_st_tensor *tensor = writer->from[number].carried;
  int64_t changed = writer->from[number].changed;
  if (changed >= 0)
    return zf_save_write_changed(file, writer->values, param, changed, writer->out[number].type);
  if (writer->values && writer->values->tick && writer->values->tick(writer->values->ctx))
    return zf_error(ZF_ESTOPPED, "interrupted while writing");
  if (param)
    write_values(file, param->data, param->type, writer->out[number].type, param->count);
  else
    write_values(file, tensor->data, (enum zf_dtype)tensor->type, writer->out[number].type,
                 tensor->count);
  return 0;
}

/* --- values that a file must not hold --- */

/* Adds the bad values of a tensor of dtype `type`, to be written in dtype `to`. */
static void count_bad(struct zf_save_bad *bad, const char *name, const void *data,
                      enum zf_dtype type, enum zf_dtype to, int64_t total) {
  enum { CHUNK = 8192 };
  float converted[CHUNK], read_back[CHUNK];
  int64_t before = bad->not_finite + bad->too_large;
  for (int64_t i = 0; i < total; i += CHUNK) {
    int64_t count = total - i < CHUNK ? total - i : CHUNK;
    const float *value = converted;
    if (type == ZF_F32)
      value = (const float *)data + i;
    else
      zf_to_f32(converted, (const char *)data + zf_dtype_bytes(type, i), type, count);
    const float *stored = value;
    if (to != type && to != ZF_F32) {
      char narrow[CHUNK * sizeof(float)];
      zf_from_f32(narrow, value, to, count);
      zf_to_f32(read_back, narrow, to, count);
      stored = read_back;
    }
    zf_save_count_bad(bad, value, stored, count);
  }
  if (!before && bad->not_finite + bad->too_large) bad->name = name;
}

static int refuse_bad(const struct zf_save_bad *bad, const char *dir, enum zf_dtype to) {
  if (bad->not_finite)
    return zf_error(
        ZF_EDIVERGED,
        "%s: %lld weights are not finite numbers, the first of them in '%s': not written; a "
        "smaller learning rate may help",
        dir, (long long)bad->not_finite, bad->name);
  if (bad->too_large)
    return zf_error(
        ZF_EUSAGE,
        "%s: %lld weights are too large for %s, the first of them in '%s': not written; bf16 "
        "and f32 hold them",
        dir, (long long)bad->too_large, zf_dtype_info(to)->name, bad->name);
  return 0;
}

int zf_model_finite(const struct zf_model *model, const char *name) {
  struct zf_save_bad bad = {0};
  for (int64_t i = 0; i < model->params.count; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (param->trained)
      count_bad(&bad, param->name, param->data, param->type, param->type, param->count);
  }
  return refuse_bad(&bad, name, ZF_F32);
}

/* Checks the parameters; carried tensors are written unchanged. */
static int check_values(const struct save_writer *writer, int64_t count, const char *path) {
  struct zf_save_bad bad = {0};
  enum zf_dtype to = ZF_F32;
  for (int64_t i = 0; i < count; i++) {
    const struct zf_param *param = writer->from[i].param;
    const struct zf_st_out *out = &writer->out[i];
    int64_t changed = writer->from[i].changed;
    if (!param) continue;
    if (changed < 0)
      count_bad(&bad, param->name, param->data, param->type, out->type, param->count);
    int rc = changed < 0 ? 0
                         : zf_save_check_changed(&bad, out->name, writer->values, param, changed,
                                                 out->type);
    if (rc) return rc;
    if (bad.too_large) to = out->type;
  }
  return refuse_bad(&bad, path, to);
}

static void declare(struct zf_st_out *out, const char *name, enum zf_dtype type, int ndim,
                    const int64_t *shape) {
  *out = (struct zf_st_out){.name = name, .ndim = ndim, .type = type};
  memcpy(out->shape, shape, sizeof *shape * (size_t)ndim);
}

/* Blocks are stored as the bytes that they are. */
static void declare_blocks(struct zf_st_out *out, const struct zf_param *param) {
  declare(out, param->name, param->type, param->ndim, param->shape);
  out->as_bytes = 1;
  out->shape[param->ndim - 1] = (int64_t)zf_dtype_bytes(param->type, out->shape[param->ndim - 1]);
}

/* The head of its own that a tied model gets, under the number behind the wanted tensors. */
static int64_t list_own_head(struct zf_st_out *out, struct saved_tensor *from,
                             const struct zf_model *model, int dtype) {
  const struct zf_param *embed = zf_model_embedding(model);
  declare(out, zf_config_tail(&model->config)->head,
          dtype >= 0 ? (enum zf_dtype)dtype : zf_dtype_saved(embed->type), 2, embed->shape);
  *from = (struct saved_tensor){.param = embed, .changed = model->plan.wanted_count};
  return 1;
}

/* Lists the tensors of the file: all parameters and the carried tensors, or the trained parameters
 * only.  Returns their number. */
static int64_t list_tensors(struct zf_st_out *out, struct saved_tensor *from,
                            const struct zf_model *model, int dtype, int trained_only,
                            const struct zf_save_values *values) {
  int64_t count = 0;
  int64_t params = trained_only ? model->params.count : model->plan.wanted_count;
  for (int64_t i = 0; i < params; i++) {
    const struct zf_param *param = &model->params.param[i];
    if (trained_only && !param->trained) continue;
    declare(&out[count], param->name,
            dtype >= 0 ? (enum zf_dtype)dtype : zf_dtype_saved(param->type), param->ndim,
            param->shape);
    if (trained_only && param->type >= ZF_DTYPES) declare_blocks(&out[count], param);
    from[count].changed = values && values->changed(values->ctx, i) ? i : -1;
    from[count++].param = param;
  }
  if (trained_only) return count;
  if (values && values->own_head) count += list_own_head(out + count, from + count, model, dtype);
  for (int64_t i = 0; i < model->st->count; i++) {
    const struct zf_st_tensor *tensor = &model->st->tensor[i];
    if (tensor->type < 0 || tensor->type >= ZF_DTYPES ||
        !zf_family_carries(model->config.family, tensor->name))
      continue;
    declare(&out[count], tensor->name, (enum zf_dtype)tensor->type, tensor->ndim, tensor->shape);
    from[count].changed = -1;
    from[count++].carried = tensor;
  }
  return count;
}

/* States as parameters with names of their own. */
struct state_tensors {
  struct zf_param *param;
  int64_t count;
};

static void free_states(struct state_tensors *states) {
  for (int64_t i = 0; i < states->count; i++) free((char *)states->param[i].name);
  free(states->param);
}

static int add_state(struct state_tensors *states, const struct zf_param *param, int number) {
  struct zf_param *state = &states->param[states->count];
  *state = *param;
  state->data = param->state[number];
  if (param->factors.rank) {
    state->ndim = 2;
    state->shape[0] = param->factors.rows;
    state->shape[1] = param->factors.rank;
    state->count = zf_param_coordinates(param);
  }
  state->name = zf_asprintf("%s%s", param->name, zf_param_state_suffix[number]);
  if (!state->name) return ZF_ENOMEM;
  states->count++;
  return 0;
}

static int make_states(struct state_tensors *states, const struct zf_params *params) {
  *states = (struct state_tensors){
      .param = zf_calloc(ZF_PARAM_STATES * params->count, sizeof *states->param)};
  if (!states->param) return ZF_ENOMEM;
  for (int64_t i = 0; i < ZF_PARAM_STATES * params->count; i++) {
    const struct zf_param *param = &params->param[i / ZF_PARAM_STATES];
    int number = (int)(i % ZF_PARAM_STATES),
        rc = param->state[number] ? add_state(states, param, number) : 0;
    if (rc) return rc;
  }
  return 0;
}

static int64_t list_states(struct zf_st_out *out, struct saved_tensor *from,
                           const struct state_tensors *states) {
  for (int64_t i = 0; i < states->count; i++) {
    const struct zf_param *state = &states->param[i];
    declare(&out[i], state->name, ZF_F32, state->ndim, state->shape);
    from[i] = (struct saved_tensor){.param = state, .changed = -1};
  }
  return states->count;
}

static int write_json(const char *path, const json_t *obj) {
  char *text = zf_json_dump(obj, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
  int rc = text ? zf_write_file(path, text, strlen(text)) : zf_error(ZF_ENOMEM, "out of memory");
  free(text);
  return rc;
}

/* --- files --- */

struct save_files {
  const char *dir; /* of shards; NULL: one file, `path` */
  const char *path;
  int64_t limit; /* bytes of a shard's tensors */
  const char *const *metadata;
  int64_t nmetadata;
};

static int64_t bytes_of(const struct zf_st_out *out) {
  int64_t bytes = (int64_t)zf_dtype_info(out->type)->size;
  for (int i = 0; i < out->ndim; i++) bytes *= out->shape[i]; /* of a model that is open */
  return bytes;
}

/* The end of the shard that begins with tensor `first`; a shard has one tensor at least. */
static int64_t shard_end(const struct zf_st_out *out, int64_t first, int64_t count, int64_t limit) {
  int64_t bytes = 0, at = first;
  while (at < count && (at == first || bytes + bytes_of(&out[at]) <= limit))
    bytes += bytes_of(&out[at++]);
  return at;
}

/* Writes a shard and adds its tensors to the index. */
static int write_shard(const struct save_files *files, const struct save_writer *writer,
                       int64_t first, int64_t end, const char *name, json_t *map) {
  struct save_writer part = {writer->out + first, writer->from + first, writer->values};
  char *path = zf_path_join(files->dir, name);
  int rc = path ? zf_st_write(path, part.out, end - first, files->metadata, files->nmetadata,
                              write_tensor, &part)
                : ZF_ENOMEM;
  for (int64_t i = first; i < end; i++)
    if (!rc && json_object_set_new(map, writer->out[i].name, json_string(name))) rc = ZF_ENOMEM;
  free(path);
  return rc;
}

static int write_index(const struct save_files *files, json_t *map, int64_t total) {
  json_t *index =
      json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
  char *path = zf_path_join(files->dir, "model.safetensors.index.json");
  int rc = index && path ? write_json(path, index) : zf_error(ZF_ENOMEM, "out of memory");
  free(path);
  json_decref(index);
  return rc;
}

static int write_shards(const struct save_files *files, const struct save_writer *writer,
                        int64_t count) {
  int64_t shards = 0, total = 0, number = 0;
  json_t *map = json_object();
  int rc = map ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < count; i = shard_end(writer->out, i, count, files->limit)) shards++;
  for (int64_t i = 0, end; i < count; i = end) {
    if (rc) break;
    char name[64];
    end = shard_end(writer->out, i, count, files->limit);
    snprintf(name, sizeof name, "model-%05lld-of-%05lld.safetensors", (long long)++number,
             (long long)shards);
    rc = write_shard(files, writer, i, end, name, map);
    for (int64_t k = i; k < end; k++) total += bytes_of(&writer->out[k]);
  }
  if (!rc) rc = write_index(files, map, total);
  json_decref(map);
  return rc;
}

static int save_weights(const struct zf_model *model, const struct save_files *files, int dtype,
                        int trained_only, const struct zf_save_values *values) {
  int64_t max = model->st->count + (1 + ZF_PARAM_STATES) * model->params.count + 1;
  struct zf_st_out *out = zf_calloc(max, sizeof *out);
  struct saved_tensor *from = zf_calloc(max, sizeof *from);
  struct state_tensors states = {0};
  int rc = out && from ? make_states(&states, &model->params) : ZF_ENOMEM;
  if (!rc) {
    struct save_writer writer = {out, from, values};
    int64_t count = list_tensors(out, from, model, dtype, trained_only, values);
    if (trained_only) count += list_states(out + count, from + count, &states);
    rc = check_values(&writer, count, files->dir ? files->dir : files->path);
    if (!rc && files->dir) rc = write_shards(files, &writer, count);
    if (!rc && !files->dir)
      rc = zf_st_write(files->path, out, count, files->metadata, files->nmetadata, write_tensor,
                       &writer);
  }
  free_states(&states);
  free(from);
  free(out);
  return rc;
}

int zf_model_save_trained(const struct zf_model *model, const char *path,
                          const char *const *metadata, int64_t nmetadata) {
  struct save_files files = {.path = path, .metadata = metadata, .nmetadata = nmetadata};
  return save_weights(model, &files, -1, 1, NULL);
}

/* The loaders of other tools cast weights to the dtype that config.json names.  It must be the widest
 * dtype of the file, or small updates are lost there. */
static const char *torch_dtype(const struct zf_model *model, int dtype) {
  static const char *const name[ZF_DTYPES] = {
      [ZF_F32] = "float32", [ZF_F16] = "float16", [ZF_BF16] = "bfloat16"};
  if (dtype >= 0) return name[dtype];
  enum zf_dtype type = zf_dtype_saved(model->params.param[0].type);
  for (int64_t i = 1; i < model->plan.wanted_count; i++)
    if (zf_dtype_saved(model->params.param[i].type) != type) return name[ZF_F32];
  return name[type];
}

static int read_config(json_t **out, const struct zf_model *model) {
  if (model->gguf) {
    int rc = zf_gguf_config(out, model->dir);
    if (!rc) json_object_del(*out, "unused_window"); /* a remark for zf_model_notes, no setting */
    return rc;
  }
  return zf_json_parse(out, model->config_text, strlen(model->config_text), "config.json");
}

/* Sets the keys of a new head of labels. */
static int set_labels(json_t *obj, const struct zf_model *model) {
  json_t *names = json_object(), *numbers = json_object();
  int failed = !names || !numbers;
  for (int64_t i = 0; i < model->config.outputs; i++) {
    char key[24], label[32];
    snprintf(key, sizeof key, "%lld", (long long)i);
    snprintf(label, sizeof label, "LABEL_%lld", (long long)i);
    failed = failed || json_object_set_new(names, key, json_string(label)) ||
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

/* Sets the keys that differ from those of the checkpoint's config.json. */
static int set_keys(json_t *obj, const struct zf_model *model, int dtype, int own_head) {
  const struct zf_config *config = &model->config;
  const char *key = json_object_get(obj, "dtype") ? "dtype" : "torch_dtype";
  json_t *sizes = config->family->nest ? json_object_get(obj, config->family->nest) : obj;
  if (json_object_set_new(obj, key, json_string(torch_dtype(model, dtype)))) return ZF_ENOMEM;
  if (model->nnew && set_labels(obj, model)) return ZF_ENOMEM;
  if (config->classify && (model->nnew || json_object_get(obj, "problem_type")) &&
      json_object_set_new(obj, "problem_type", json_string(zf_problem_names[config->problem])))
    return ZF_ENOMEM;
  if ((model->untied_head || own_head) &&
      json_object_set_new(sizes, config->family->tie.key, json_false()))
    return ZF_ENOMEM;
  return 0;
}

int zf_model_config_json(json_t **out, const struct zf_model *model, int dtype) {
  int rc = read_config(out, model);
  if (!rc) rc = set_keys(*out, model, dtype, 0);
  if (!rc) return 0;
  json_decref(*out);
  *out = NULL;
  return rc;
}

static int save_config(const struct zf_model *model, const char *dir, int dtype, int own_head) {
  json_t *obj = NULL;
  char *path = zf_path_join(dir, "config.json");
  int rc = path ? read_config(&obj, model) : ZF_ENOMEM;
  if (!rc) rc = set_keys(obj, model, dtype, own_head);
  if (!rc) rc = write_json(path, obj);
  json_decref(obj);
  free(path);
  return rc;
}

int zf_model_save_sidecars(struct zf_model *model, const char *dir, int dtype) {
  int rc = save_config(model, dir, dtype, 0);
  if (!rc) rc = zf_sidecars_copy(&model->sidecars, dir, 0);
  return rc ? rc : zf_sidecars_keep(&model->sidecars, dir);
}

int zf_model_save_values(const struct zf_model *model, const char *dir, int dtype,
                         const struct zf_save_values *values, const char *const *metadata,
                         int64_t nmetadata) {
  return zf_model_save_shards(model, dir, dtype, values, metadata, nmetadata, 0);
}

int zf_model_save_shards(const struct zf_model *model, const char *dir, int dtype,
                         const struct zf_save_values *values, const char *const *metadata,
                         int64_t nmetadata, int64_t limit) {
  char *path = zf_path_join(dir, "model.safetensors");
  struct save_files files = {limit ? dir : NULL, path, limit, metadata, nmetadata};
  int rc = path ? zf_mkdirs(dir) : ZF_ENOMEM;
  if (!rc) rc = save_weights(model, &files, dtype, 0, values);
  if (!rc) rc = save_config(model, dir, dtype, values && values->own_head);
  if (!rc) rc = zf_sidecars_copy(&model->sidecars, dir, 0);
  free(path);
  return rc;
}

int zf_model_save(const struct zf_model *model, const char *dir, int dtype,
                  const char *const *metadata, int64_t nmetadata) {
  return zf_model_save_values(model, dir, dtype, NULL, metadata, nmetadata);
}
