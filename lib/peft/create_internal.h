/* Shared by the files that make new adapters. */
#ifndef ZF_PEFT_CREATE_INTERNAL_H
#define ZF_PEFT_CREATE_INTERNAL_H

#include "peft/adapter.h"
#include "peft/peft_internal.h"
#include "rng/noise.h"

/* A new adapter while its tensors are made. */
struct creation {
  const struct zf_model *model;
  struct zf_peft_config *config;
  struct zf_adapter_file *file;
  const struct zf_adapter_plan *plan;
  int64_t most_in, most_out; /* VeRA: of all its modules */
};

/* Adds a tensor of zeros, a vector where columns is 0; *value (may be NULL): where its values stand. */
int zf_create_add(struct creation *creation, const char *module, const char *part, int64_t rows,
                  int64_t columns, float **value);

/* The noise of the next tensor of the file. */
struct zf_noise zf_create_noise(const struct creation *creation);

/* Adds a copy of tensor `number` of the base, which training changes. */
int zf_create_copy(struct creation *creation, const char *module, const char *part, int64_t number);

/* Fills A [rank][inputs] of a LoRA from the weights of its module: config.init is pissa or olora. */
int zf_create_from_weights(const struct creation *creation, const char *module,
                           const struct zf_op *op, float *value, int64_t rank);

/* The embeddings, or the keys and values, of creation->plan->ids (create_prompt.c). */
int zf_create_prompt(struct creation *creation);
int zf_create_prefix(struct creation *creation);

#endif
