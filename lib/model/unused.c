/* Tensors that the plan does not read, and tensors that the checkpoint lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "model/model_internal.h"

/* --- duplicates ----------------------------------------------------------------------------- */

int zf_model_equal(const struct zf_st_tensor *first, const struct zf_st_tensor *second) {
  enum { CHUNK = 4096 };
  float x[CHUNK], y[CHUNK];
  if (first->count != second->count || first->type < 0 || second->type < 0) return 0;
  if (first->type == second->type) return !memcmp(first->data, second->data, first->bytes);
  enum zf_dtype xtype = (enum zf_dtype)first->type, ytype = (enum zf_dtype)second->type;
  for (int64_t i = 0; i < first->count; i += CHUNK) {
    int64_t count = first->count - i < CHUNK ? first->count - i : CHUNK;
    zf_to_f32(x, first->data + zf_dtype_bytes(xtype, i), xtype, count);
    zf_to_f32(y, second->data + zf_dtype_bytes(ytype, i), ytype, count);
    if (memcmp(x, y, sizeof *x * (size_t)count) != 0) return 0;
  }
  return 1;
}

void zf_model_untie(struct zf_model *model) {
  const struct zf_family *family = model->config.family;
  if (!model->config.tied) return;
  const struct zf_st_tensor *embed = zf_model_tensor(model, family->names.embed);
  const struct zf_st_tensor *head = zf_model_tensor(model, zf_config_tail(&model->config)->head);
  if (!embed || !head || embed == head || zf_model_equal(embed, head)) return;
  model->config.tied = 0;
  model->untied_head = 1;
}

/* 1 where the tensor duplicates one that is used: the head of a tied model, a bias with two names. */
static int is_duplicate(const struct zf_model *model, const struct zf_st_tensor *tensor) {
  const struct zf_head_names *tail = zf_config_tail(&model->config);
  if (model->config.tied && tensor == zf_model_tensor(model, tail->head)) return 1;
  if (model->config.tied && tensor == zf_model_tensor(model, model->config.family->names.embed))
    return 1;
  if (!tail->bias_copy || tensor != zf_model_tensor(model, tail->bias_copy)) return 0;
  const struct zf_st_tensor *bias = zf_model_tensor(model, tail->bias);
  return bias && zf_model_equal(bias, tensor);
}

/* --- unused tensors ------------------------------------------------------------------------- */

/* An error where the unused tensor would have changed the result. */
static int refuse(const struct zf_model *model, const struct zf_st_tensor *tensor) {
  const char *path = model->st->path[tensor->file];
  if (model->gguf)
    return zf_error(
        ZF_EINVALID,
        "%s: tensor '%s' is not part of the architecture: its weight would be left out of the "
        "result, and llama.cpp refuses the file",
        path, tensor->name);
  if (strstr(tensor->name, ".lora_") || strstr(tensor->name, "lora_magnitude_vector"))
    return zf_error(
        ZF_EINVALID,
        "%s: tensor '%s' belongs to a LoRA adapter, which is not applied: merge the adapter into "
        "the weights first (PEFT's merge_and_unload) and save the model again",
        path, tensor->name);
  return 0;
}

/* 1 for an unused tensor that needs no remark: carried over, a duplicate, a constant. */
static int is_known(const struct zf_model *model, const struct zf_st_tensor *tensor) {
  if (zf_family_carries(model->config.family, tensor->name)) return 1;
  if (is_duplicate(model, tensor)) return 1;
  return model->gguf ? zf_gguf_reads(model->gguf, tensor->name) : zf_family_constant(tensor->name);
}

int zf_model_check_unused(struct zf_model *model) {
  unsigned char *used = calloc((size_t)model->st->count + 1, 1);
  if (!used)
    return zf_error(ZF_ENOMEM, "out of memory for %lld tensors", (long long)model->st->count);
  for (int64_t i = 0; i < model->plan.wanted_count; i++)
    if (model->from[i]) used[model->from[i] - model->st->tensor] = 1;
  int rc = 0;
  for (int64_t i = 0; i < model->st->count; i++) {
    const struct zf_st_tensor *tensor = &model->st->tensor[i];
    if (used[i] || is_known(model, tensor)) continue;
    if (!model->ignored++) model->first_ignored = tensor->name;
    rc = refuse(model, tensor);
    if (rc) break;
  }
  free(used);
  return rc;
}

void zf_model_notes(const struct zf_model *model, struct zf_buf *out) {
  const char *type = model->config.family->model_type;
  if (model->ignored)
    zf_buf_printf(
        out, "%s: %s does not use %lld tensor%s of the file, and no result holds %s: first %s\n",
        model->dir, type, (long long)model->ignored, model->ignored > 1 ? "s" : "",
        model->ignored > 1 ? "them" : "it", model->first_ignored);
  if (model->nnew)
    zf_buf_printf(out, "%s: the head of %lld label%s is new: %lld tensor%s made from seed %llu\n",
                  model->dir, (long long)model->config.outputs,
                  model->config.outputs > 1 ? "s" : "", (long long)model->nnew,
                  model->nnew > 1 ? "s" : "", (unsigned long long)model->head_seed);
  if (model->untied_head)
    zf_buf_printf(
        out,
        "%s: config.json ties the head to the embedding, but the file holds a head that differs: "
        "it is used, and results say tie_word_embeddings: false\n",
        model->dir);
  if (model->config.window_off)
    zf_buf_printf(
        out,
        "%s: the sliding window of %lld tokens is not applied, because llama.cpp does not apply "
        "it\n",
        model->dir, (long long)model->config.window_off);
}

/* --- missing tensors ------------------------------------------------------------------------ */

static const struct {
  const char *prefix, *advice;
} wrappers[] = {
    {"_orig_mod.", "torch.compile wrapped the model: save model._orig_mod"},
    {"module.", "DataParallel wrapped the model: save model.module"},
    {"base_model.model.", "PEFT wrapped the model: save what merge_and_unload returns"},
};

/* 1 where the file has a tensor whose name begins with `wrapper` and ends with `name`. */
static int is_wrapped(const struct zf_model *model, const char *wrapper, const char *name) {
  size_t wrapper_len = strlen(wrapper), name_len = strlen(name);
  for (int64_t i = 0; i < model->st->count; i++) {
    const char *full = model->st->tensor[i].name;
    size_t len = strlen(full);
    if (!strncmp(full, wrapper, wrapper_len) && len >= wrapper_len + name_len &&
        !strcmp(full + len - name_len, name))
      return 1;
  }
  return 0;
}

int zf_model_missing(const struct zf_model *model, const struct zf_wanted_tensor *wanted) {
  const char *prefix = wanted->outside_prefix ? "" : model->config.family->prefix[0];
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
    if (is_wrapped(model, wrappers[i].prefix, wanted->name))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s%s' is missing: names in the file begin with '%s' (%s)",
                      model->dir, prefix, wanted->name, wrappers[i].prefix, wrappers[i].advice);
  if (wanted->outside_prefix && !model->config.classify)
    return zf_error(ZF_EINVALID,
                    "%s: tensor '%s' is missing: the checkpoint has no %s head; with 'type: "
                    "labels' a run creates a head of labels",
                    model->dir, wanted->name,
                    model->config.family->bidirectional ? "masked-LM" : "language model's");
  return zf_error(ZF_EINVALID, "%s: tensor '%s%s' is missing", model->dir, prefix, wanted->name);
}
