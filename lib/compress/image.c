/* Lists the keys and tensors of the GGUF file of a model. */
#include "compress/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "compress/image_internal.h"
#include "fmt/json.h"
#include "task/chat.h"
#include "tensor/quantize.h"

/* --- tensors --- */

static struct zf_image_tensor *add(struct zf_image *image, char *name) {
  struct zf_image_tensor *tensor = &image->tensor[image->count];
  *tensor = (struct zf_image_tensor){.name = name, .param = -1, .type = ZF_F32};
  if (name) image->count++;
  return name ? tensor : NULL;
}

/* Tables that llama.cpp reads as f32. */
static int is_table(const char *name) {
  return !strncmp(name, "position_embd.", 14) || !strncmp(name, "token_types.", 12);
}

/* The type of a matrix: `wanted`, or one whose blocks fill the rows. */
static enum zf_dtype fit_type(enum zf_dtype wanted, int64_t columns) {
  if (columns % zf_dtype_info(wanted)->block == 0) return wanted;
  return columns % zf_dtype_info(ZF_Q8_0)->block == 0 ? ZF_Q8_0 : ZF_F16;
}

static void shape_matrix(struct zf_image_tensor *tensor, int64_t rows, int64_t columns,
                         enum zf_dtype matrices) {
  tensor->ndim = 2;
  tensor->shape[0] = tensor->rows = rows;
  tensor->shape[1] = tensor->columns = columns;
  tensor->is_matrix = !is_table(tensor->name);
  if (tensor->is_matrix) tensor->type = fit_type(matrices, columns);
}

static void shape_vector(struct zf_image_tensor *tensor, int64_t columns) {
  tensor->ndim = 1;
  tensor->rows = 1;
  tensor->shape[0] = tensor->columns = columns;
}

static int add_param(struct zf_image *image, int64_t number, char *name, enum zf_dtype matrices) {
  const struct zf_param *param = &image->model->params.param[number];
  struct zf_image_tensor *tensor = add(image, name);
  if (!tensor) return ZF_ENOMEM;
  tensor->param = (int32_t)number;
  if (image->model->gguf && !param->trained) tensor->stored = image->model->from[number];
  if (param->ndim == 1)
    shape_vector(tensor, param->shape[0]);
  else
    shape_matrix(tensor, param->shape[param->transposed ? 1 : 0],
                 param->shape[param->transposed ? 0 : 1], matrices);
  if (!strncmp(tensor->name, "position_embd.", 14)) { /* the file begins at position 0 */
    tensor->skip = image->model->config.pos_offset;
    tensor->shape[0] = tensor->rows = tensor->rows - tensor->skip;
  }
  return 0;
}

/* Adds a vector as a row to the tensor of this name; the vectors before it are those of its rows. */
static int stack(struct zf_image_tensor *tensor, int64_t number, const struct zf_param *param) {
  if (param->ndim != 1 || param->shape[0] != tensor->columns ||
      tensor->param + tensor->rows != number)
    return zf_error(ZF_EFAIL, "tensor '%s' has two sources", tensor->name);
  tensor->ndim = 2;
  tensor->shape[1] = tensor->columns;
  tensor->shape[0] = ++tensor->rows;
  tensor->stored = NULL;
  return 0;
}

static struct zf_image_tensor *find(const struct zf_image *image, const char *name) {
  for (int64_t i = image->count - 1; i >= 0; i--)
    if (!strcmp(image->tensor[i].name, name)) return &image->tensor[i];
  return NULL;
}

static int list_param(struct zf_image *image, int64_t number, enum zf_dtype matrices) {
  char *full =
      zf_gguf_wanted_name(image->arch, &image->model->config, &image->model->plan.wanted[number]);
  char *name = full ? zf_gguf_tensor_name(image->arch, full) : NULL;
  int rc = full ? 0 : ZF_ENOMEM;
  if (!rc && !name)
    rc = zf_error(ZF_EUSAGE, "%s: tensor '%.200s' has no name in GGUF files of %s",
                  image->model->dir, full, zf_gguf_arch_name(image->arch));
  struct zf_image_tensor *same = rc ? NULL : find(image, name);
  if (same) {
    rc = stack(same, number, &image->model->params.param[number]);
    free(name);
  } else if (!rc) {
    rc = add_param(image, number, name, matrices);
  }
  free(full);
  return rc;
}

static int add_head(struct zf_image *image, int32_t param, enum zf_dtype type) {
  const struct zf_param *embed = zf_model_embedding(image->model);
  struct zf_image_tensor *tensor = add(image, zf_strdup("output.weight"));
  if (!tensor) return ZF_ENOMEM;
  shape_matrix(tensor, embed->shape[0], embed->shape[1], type);
  tensor->param = param;
  return 0;
}

static int add_constant(struct zf_image *image, const char *name, int64_t count) {
  struct zf_image_tensor *tensor = add(image, zf_strdup(name));
  if (!tensor) return ZF_ENOMEM;
  shape_vector(tensor, count);
  tensor->constant = zf_calloc(count, sizeof *tensor->constant);
  return tensor->constant ? 0 : ZF_ENOMEM;
}

/* Constants of the model's own GGUF file. */
static int copy_constants(struct zf_image *image) {
  const struct zf_st *st = image->model->st;
  for (int64_t i = 0; i < st->count; i++) {
    const struct zf_st_tensor *from = &st->tensor[i];
    if (!zf_gguf_reads(image->arch, from->name)) continue;
    int rc = add_constant(image, from->name, from->count);
    if (rc) return rc;
    memcpy(image->tensor[image->count - 1].constant, from->data, from->bytes); /* f32, as opened */
  }
  return 0;
}

static int make_constants(struct zf_image *image) {
  const struct zf_config *config = &image->model->config;
  struct zf_gguf_constant constant[2];
  int count = zf_gguf_constants(constant, image->arch, config);
  for (int i = 0; i < count; i++) {
    int rc = add_constant(image, constant[i].name, zf_config_rot(config) / 2);
    if (rc) return rc;
    zf_gguf_divisors(image->tensor[image->count - 1].constant, config, constant[i].far);
  }
  return 0;
}

static int32_t embed_number(const struct zf_model *model) {
  return (int32_t)(zf_model_embedding(model) - model->params.param);
}

static int list_tensors(struct zf_image *image, enum zf_dtype matrices) {
  const struct zf_model *model = image->model;
  int rc = 0;
  image->tensor = zf_calloc(model->plan.wanted_count + 4, sizeof *image->tensor);
  if (!image->tensor) return ZF_ENOMEM;
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (!rc) rc = list_param(image, i, matrices);
  if (!rc && model->config.tied && zf_gguf_wants_head(image->arch))
    rc = add_head(image, embed_number(model), matrices);
  if (rc) return rc;
  return model->gguf ? copy_constants(image) : make_constants(image);
}

static int make_scratch(struct zf_image *image) {
  int64_t widest = 1;
  for (int64_t i = 0; i < image->model->plan.wanted_count; i++) {
    const struct zf_param *param = &image->model->params.param[i];
    if (param->transposed) widest = zf_max64(widest, param->shape[1]);
  }
  image->scratch = zf_calloc(widest, sizeof *image->scratch);
  return image->scratch ? 0 : ZF_ENOMEM;
}

/* --- keys --- */

/* Keys of the source that describe its file, not the model. */
static int is_of_file(const char *key) {
  static const char *const names[] = {"general.alignment", "general.file_type",
                                      "general.quantization_version"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(key, names[i])) return 1;
  return !strncmp(key, "split.", 6) || !strncmp(key, "quantize.imatrix.", 17);
}

static int copy_keys(struct zf_image *image) {
  struct zf_gguf gguf;
  const char *key;
  json_t *value;
  int rc = zf_gguf_open(&gguf, image->model->dir, 1);
  if (rc) return rc;
  json_object_foreach(gguf.keys, key, value) {
    int64_t type = json_integer_value(json_object_get(gguf.types, key));
    if (!rc && !is_of_file(key))
      rc = zf_gguf_values_set(&image->keys, key, (enum zf_gguf_value_type)type, json_incref(value));
  }
  zf_gguf_free(&gguf);
  return rc;
}

/* The last part of the path, without slashes behind it. */
static int set_name(struct zf_image *image) {
  const char *dir = image->model->dir;
  size_t len = strlen(dir), from;
  while (len > 1 && dir[len - 1] == '/') len--;
  for (from = len; from > 0 && dir[from - 1] != '/';) from--;
  char *name = zf_strndup(dir + from, len - from);
  int rc = name ? zf_gguf_values_text(&image->keys, "general.name", name) : ZF_ENOMEM;
  free(name);
  return rc;
}

static int set_template(struct zf_image *image, const struct zf_tok *tok) {
  struct zf_chat *chat = NULL;
  int rc = zf_chat_open(&chat, image->model->dir, zf_tok_special_texts(tok), NULL);
  if (rc == ZF_EUSAGE) return 0; /* there is none */
  if (!rc) rc = zf_gguf_values_text(&image->keys, "tokenizer.chat_template", zf_chat_text(chat));
  zf_chat_free(chat);
  return rc;
}

/* The labels' names, in the order of their numbers; names that are not all there stay numbers. */
static int set_labels(struct zf_image *image) {
  const struct zf_model *model = image->model;
  json_t *config = NULL, *labels = json_array();
  char key[96], number[24];
  int rc = zf_json_parse(&config, model->config_text ? model->config_text : "{}",
                         model->config_text ? strlen(model->config_text) : 2, model->dir);
  const json_t *names = json_object_get(config, "id2label");
  for (int64_t i = 0; i < model->config.outputs; i++) {
    if (rc) break;
    snprintf(number, sizeof number, "%lld", (long long)i);
    json_t *name = json_object_get(names, number);
    if (json_is_string(name)) json_array_append(labels, name);
  }
  snprintf(key, sizeof key, "%s.classifier.output_labels", zf_gguf_arch_name(image->arch));
  if (!rc && (int64_t)json_array_size(labels) == model->config.outputs)
    rc = zf_gguf_values_set(&image->keys, key, ZF_GGUF_TEXT, json_incref(labels));
  json_decref(labels);
  json_decref(config);
  return rc;
}

static int make_keys(struct zf_image *image, const struct zf_tok *tok) {
  const struct zf_model *model = image->model;
  int rc =
      zf_gguf_values_text(&image->keys, "general.architecture", zf_gguf_arch_name(image->arch));
  if (!rc) rc = zf_gguf_values_text(&image->keys, "general.type", "model");
  if (!rc) rc = set_name(image);
  if (!rc) rc = zf_gguf_keys(&image->keys, image->arch, &model->config, model->dir);
  if (!rc && zf_gguf_has_labels(image->arch)) rc = set_labels(image);
  if (!rc && tok) rc = zf_tok_gguf_keys(&image->keys, tok, zf_model_embedding(model)->shape[0]);
  if (!rc && tok) rc = set_template(image, tok);
  return rc;
}

/* --- opening --- */

static int no_arch(const struct zf_model *model) {
  struct zf_buf buf = {0};
  zf_gguf_list_archs(&buf);
  int rc = zf_error(ZF_EUSAGE,
                    "%s: a GGUF file cannot hold a model of the family %s: expected one of the "
                    "architectures %s",
                    model->dir, model->config.family->model_type, buf.failed ? "?" : buf.data);
  zf_buf_free(&buf);
  return rc;
}

static int find_arch(struct zf_image *image) {
  const struct zf_model *model = image->model;
  image->arch = model->gguf ? model->gguf : zf_gguf_arch_of(&model->config);
  if (!image->arch) return no_arch(model);
  if (zf_gguf_has_labels(image->arch) && !model->config.classify)
    return zf_error(ZF_EUSAGE,
                    "%s: a masked-LM head: a GGUF file of %s has a head of labels, or none",
                    model->dir, zf_gguf_arch_name(image->arch));
  if (model->config.classify && !zf_gguf_has_labels(image->arch))
    return zf_error(ZF_EUSAGE,
                    "%s: a head of labels: a GGUF file of %s has a head of the vocabulary",
                    model->dir, zf_gguf_arch_name(image->arch));
  return 0;
}

static int fill(struct zf_image *image, const struct zf_tok *tok, enum zf_dtype matrices) {
  int rc = find_arch(image);
  if (!rc) rc = list_tensors(image, matrices);
  if (!rc) rc = make_scratch(image);
  if (!rc) rc = image->model->gguf ? copy_keys(image) : make_keys(image, tok);
  return rc ? rc : zf_image_check_config(image);
}

static int open_image(struct zf_image **out, const struct zf_model *model, const struct zf_tok *tok,
                      enum zf_dtype matrices) {
  struct zf_image *image = *out = zf_calloc(1, sizeof *image);
  if (!image) return ZF_ENOMEM;
  image->model = model;
  int rc = fill(image, tok, matrices);
  if (!rc) return 0;
  zf_image_free(image);
  *out = NULL;
  return rc;
}

int zf_image_open(struct zf_image **out, const struct zf_model *model, const struct zf_tok *tok,
                  enum zf_dtype matrices) {
  return open_image(out, model, tok, matrices);
}

void zf_image_free(struct zf_image *image) {
  if (!image) return;
  for (int64_t i = 0; i < image->count; i++) {
    free((char *)image->tensor[i].name);
    free(image->tensor[i].constant);
  }
  free(image->tensor);
  free(image->scratch);
  zf_gguf_values_free(&image->keys);
  free(image);
}

int zf_image_check(const struct zf_model *model, const struct zf_tok *tok) {
  struct zf_image *image;
  int rc = open_image(&image, model, tok, ZF_F32);
  zf_image_free(image);
  return rc;
}

void zf_image_keep_types(struct zf_image *image) {
  for (int64_t i = 0; i < image->count; i++) {
    struct zf_image_tensor *tensor = &image->tensor[i];
    if (!tensor->is_matrix) continue;
    enum zf_dtype held = zf_image_param(image, tensor)->type;
    if (tensor->stored) held = (enum zf_dtype)tensor->stored->type;
    int copied = tensor->stored != NULL; /* byte for byte */
    if (copied || zf_can_quantize(held)) tensor->type = fit_type(held, tensor->columns);
  }
}

void zf_image_take_params(struct zf_image *image) {
  for (int64_t i = 0; i < image->count; i++) image->tensor[i].stored = NULL;
}

void zf_image_list_types(const struct zf_image *image, struct zf_buf *buf) {
  int64_t count[ZF_DTYPES_READ] = {0};
  for (int64_t i = 0; i < image->count; i++)
    if (image->tensor[i].is_matrix)
      count[image->tensor[i].type] += image->tensor[i].rows * image->tensor[i].columns;
  for (int first = 1;; first = 0) {
    int most = 0;
    for (int i = 1; i < ZF_DTYPES_READ; i++)
      if (count[i] > count[most]) most = i;
    if (!count[most]) return;
    zf_buf_printf(buf, "%s%s", first ? "" : ", ", zf_dtype_info((enum zf_dtype)most)->name);
    count[most] = 0;
  }
}

int zf_image_untie(struct zf_image *image) {
  const struct zf_image_tensor *embed = &image->tensor[0];
  for (int64_t i = 0; i < image->count; i++) {
    if (image->tensor[i].param == embed_number(image->model)) embed = &image->tensor[i];
    if (strcmp(image->tensor[i].name, "output.weight") != 0) continue;
    image->tensor[i].param = (int32_t)image->model->plan.wanted_count;
    image->tensor[i].stored = NULL;
    return 0;
  }
  return add_head(image, (int32_t)image->model->plan.wanted_count, embed->type);
}
