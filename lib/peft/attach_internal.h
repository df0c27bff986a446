/* Shared by the files that attach the parts of an adapter: attach.c has the table. */
#ifndef ZF_PEFT_ATTACH_INTERNAL_H
#define ZF_PEFT_ATTACH_INTERNAL_H

#include "peft/adapter.h"

/* An adapter while it is attached. */
struct attachment {
  struct zf_model *model;
  struct zf_adapter_file *file;
  double weight; /* of the adapter's contribution */
  enum zf_adapter_train train;
  int64_t first, end; /* tensors of the present module */
  int64_t wanted;     /* number of the module's weight; -1: none */
  int32_t shared[2];  /* parameters vera_A and vera_B; -1: not there */
};

/* The module's tensor that is this part; NULL: none. */
const struct zf_adapter_tensor *zf_attach_part(const struct attachment *attachment,
                                               const char *part);

/* Adds a parameter whose data are the tensor's.  Pointers to parameters of the model move. */
int zf_attach_param(struct attachment *attachment, const struct zf_adapter_tensor *tensor,
                    int trained, int32_t *number);

/* Index in plan.wanted of the tensor module + ending (".weight", ".bias"); -1: none. */
int64_t zf_attach_wanted(const struct zf_model *model, const char *module, const char *ending);

/* Index in plan.wanted of the tensor that a part "weight" or "bias" replaces: also under the second name of
 * a head's bias.  -1: none. */
int64_t zf_attach_replaced(const struct zf_model *model, const struct zf_adapter_tensor *tensor);

/* ZF_EUSAGE where the adapter's weight is not 1. */
int zf_attach_only_whole(const struct attachment *attachment,
                         const struct zf_adapter_tensor *tensor);

/* ZF_EINVALID: the tensor does not have the shape [rows, columns]. */
int zf_attach_shape_error(const struct attachment *attachment,
                          const struct zf_adapter_tensor *tensor, int64_t rows, int64_t columns);

/* 1 where `module` is the output head, which no operation reads. */
int zf_attach_is_head(const struct attachment *attachment, const char *module);

/* Number of the operation that reads the module's weight, -1: none. */
int64_t zf_attach_op(const struct attachment *attachment);

/* The first column of U that no adapter's addition behind operation `at` reads. */
int64_t zf_attach_free_column(const struct zf_plan *plan, int64_t at);

/* An operation of an adapter, in the layer of `beside`, without parameters. */
struct zf_op zf_attach_new_op(enum zf_op_kind kind, enum zf_reg src, enum zf_reg dst, int64_t width,
                              const struct zf_op *beside);

/* --- rows of the table --- */

int zf_attach_lora(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_embedding(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_ia3(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_vera(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_tokens(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_prompt(struct attachment *attachment, const struct zf_adapter_tensor *tensor);
int zf_attach_shared(struct attachment *attachment, const struct zf_adapter_tensor *tensor);

#endif
