/* An adapter attached to a model: its parameters stand in the model's list behind the base's, its
 * operations in the model's plan.  The base stays the mapped file that it is.
 *
 *   zf_adapter_create    a new adapter in memory, with PEFT's initial values
 *   zf_adapter_file_read one from disk (adapter_file.h)
 *   zf_adapter_attach    adds it to a model; before the model's first zf_forward_new
 *
 * Several adapters may be attached to one model: their contributions add up. */
#ifndef ZF_PEFT_ADAPTER_H
#define ZF_PEFT_ADAPTER_H

#include "base/cplusplus.h"
#include "peft/adapter_file.h"

ZF_BEGIN_DECLS

/* Parts that are trained. */
enum zf_adapter_train {
  ZF_TRAIN_NOTHING,
  ZF_TRAIN_B, /* LoRA: B alone; A keeps its values (LoRA-FA, Zhang et al. 2023); other kinds: all */
  ZF_TRAIN_ALL,   /* LoRA: A and B (Hu et al. 2021) */
  ZF_TRAIN_BIASES /* a LoRA's biases alone (BitFit, Ben Zaken et al. 2022) */
};

/* What a new adapter begins as, beside its config. */
struct zf_adapter_plan {
  uint64_t seed;
  const int32_t *ids; /* [config.virtual_tokens] tokens that virtual tokens begin as; NULL: noise */
};

/* A new adapter for the modules of `model` that `config` names, with the values that PEFT gives it: a
 * LoRA's A is kaiming-uniform (config.init "true"), normal with deviation 1/r ("gaussian"), has
 * orthonormal rows ("orthogonal"), or is made of the module's weights ("pissa", "olora"); its B is 0.  Values are functions of (seed, tensor, element).  Without
 * target modules in `config`: the default ones, the products of queries and values, or their fused
 * product.  config->target then holds their names.  With config.bias "all" it has a copy of every bias
 * of the base.  The caller frees *out.
 * ZF_EUSAGE: a target matches no module of the model; the message names the nearest. */
int zf_adapter_create(struct zf_adapter_file **out, const struct zf_model *model,
                      struct zf_peft_config *config, const struct zf_adapter_plan *plan);

/* Adds the adapter to the model with its contribution multiplied by `weight`.  The parameters' data are
 * those of file->tensor, which outlives the model's use: training writes there, and
 * zf_adapter_file_write_peft saves what stands there.  Trained parameters get noise ids from
 * ZF_ADAPTER_FIRST_ID on, in the order of file->tensor.
 * ZF_EINVALID: a tensor matches no module of the model, or does not have its shape. */
int zf_adapter_attach(struct zf_model *model, struct zf_adapter_file *file, double weight,
                      enum zf_adapter_train train);

/* Reads the adapter of a word [NAME=]PATH[:WEIGHT] and attaches it; the model frees it.  *file (may be
 * NULL) is the adapter. */
int zf_adapter_use(struct zf_model *model, const char *word, struct zf_adapter_file **file);

/* *base: the path of the model that the adapter at `path` names as its base (zf_model_find), the
 * caller's to free.  ZF_EUSAGE: it names none, or that is not there. */
int zf_adapter_base(char **base, const char *path);

/* *labels: rows of the head of labels that the adapter at `path` holds (PEFT's modules_to_save); 0: none,
 * or no adapter. */
int zf_adapter_labels(int64_t *labels, const char *path);

/* squares[out]: sums of squares of the rows of the matrix `number`, a row for each output of its module;
 * without data (shapes) they stay what they are. */
int zf_adapter_row_squares(const struct zf_model *model, int64_t number, float *squares);

/* The index in model->plan.wanted of the weight of the module with this path; -1: none. */
int64_t zf_adapter_module(const struct zf_model *model, const char *module);
/* The module path of a wanted tensor; the caller frees it.  NULL: out of memory. */
char *zf_adapter_module_name(const struct zf_model *model, int64_t wanted);

ZF_END_DECLS

#endif
