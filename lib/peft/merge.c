/* Lists the changes that attached adapters make to the tensors of their base.
 *
 * An operation that is attached later stands nearer to the base's product, so its change applies first;
 * tensors that replace the base's apply before all others.  A part is a row of the table below. */
#include "peft/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "peft/attach_internal.h"
#include "peft/merge_internal.h"

/* A tensor of an adapter whose change is listed. */
struct merge_part {
  struct attachment attachment; /* its file and module */
  const struct zf_adapter_tensor *tensor;
  int64_t adapter; /* its number */
};

static int add(struct zf_adapter_merge *merge, const struct merge_change *change) {
  struct merge_change *grown =
      zf_grow(merge->change, merge->count, &merge->cap, sizeof *merge->change);
  if (!grown) return ZF_ENOMEM;
  merge->change = grown;
  merge->change[merge->count++] = *change;
  return 0;
}

static const struct zf_adapter_tensor *sibling(const struct merge_part *part, const char *name) {
  return zf_adapter_file_find(part->attachment.file, part->tensor->module, name);
}

/* --- heads --- */

static int is_tied(const struct zf_adapter_merge *merge) {
  return merge->model->config.tied;
}

/* Number of the tensor that the part's matrix changes: of a tied head, that of a head of its own. */
static int64_t matrix_of(struct zf_adapter_merge *merge, const struct merge_part *part) {
  if (!is_tied(merge) || !zf_attach_is_head(&part->attachment, part->tensor->module))
    return part->attachment.wanted;
  merge->values.own_head = 1;
  return merge->model->plan.wanted_count;
}

static int check_own_head(const struct zf_adapter_merge *merge) {
  const struct zf_config *config = &merge->model->config;
  const char *head = zf_config_tail(config)->head, *key = config->family->tie.key;
  const struct zf_param *embed = zf_model_embedding(merge->model);
  if (!merge->values.own_head || (head && key && strcmp(embed->name, head) != 0)) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: the adapter changes the embedding or the head alone, and a checkpoint of "
                  "this kind cannot hold both: it cannot be merged",
                  merge->model->dir);
}

/* --- rows of the table --- */

static int flipped(const struct zf_adapter_merge *merge, int64_t number) {
  return zf_merge_param(merge, number)->transposed;
}

/* The product of a LoRA's pair. */
static int pair_of(struct zf_adapter_merge *merge, const struct merge_part *part, const char *outer,
                   struct merge_change *change) {
  const struct zf_adapter_tensor *inner = part->tensor;
  double scale;
  int rc = zf_peft_scale(&scale, &part->attachment.file->config, inner->module);
  *change = (struct merge_change){.kind = ZF_MERGE_PRODUCT,
                                  .number = matrix_of(merge, part),
                                  .inner = inner->data,
                                  .outer = sibling(part, outer)->data,
                                  .rank = inner->shape[0],
                                  .inner_ld = inner->shape[1],
                                  .scale = scale * part->attachment.weight};
  return rc;
}

/* factor[o] = m[o] / |row o of W + s B A|, of the base's W as DoRA has it. */
static void divide_by_norms(const struct zf_adapter_merge *merge,
                            const struct merge_change *product, const float *magnitude,
                            double *factor, int64_t outputs) {
  const struct zf_param *param = zf_merge_param(merge, product->number);
  int64_t width = param->shape[1];
  double value[ZF_MERGE_SPAN];
  for (int64_t i = 0; i < param->shape[0]; i++)
    for (int64_t column = 0; column < width; column += ZF_MERGE_SPAN) {
      struct merge_span span = zf_merge_span(i, width, column);
      zf_merge_base(merge, product->number, &span, value);
      zf_merge_apply(product, &span, value);
      for (int64_t j = 0; j < span.count; j++)
        factor[product->flipped ? column + j : i] += value[j] * value[j];
    }
  for (int64_t o = 0; o < outputs; o++) factor[o] = (double)magnitude[o] / sqrt(factor[o]);
}

static int list_norms(struct zf_adapter_merge *merge, const struct merge_change *product,
                      const struct zf_adapter_tensor *magnitude) {
  struct merge_change change = {.kind = ZF_MERGE_OUTPUTS,
                                .number = product->number,
                                .flipped = product->flipped,
                                .factor = zf_calloc(magnitude->count, sizeof *change.factor)};
  if (!change.factor) return ZF_ENOMEM;
  divide_by_norms(merge, product, magnitude->data, change.factor, magnitude->count);
  int rc = add(merge, &change);
  if (rc) free(change.factor);
  return rc;
}

static int list_lora(struct zf_adapter_merge *merge, const struct merge_part *part) {
  struct merge_change change;
  const struct zf_adapter_tensor *magnitude = sibling(part, "lora_magnitude_vector");
  int rc = pair_of(merge, part, "lora_B", &change);
  change.flipped = flipped(merge, change.number);
  if (!rc) rc = add(merge, &change);
  return rc || !magnitude ? rc : list_norms(merge, &change, magnitude);
}

static int list_embedding(struct zf_adapter_merge *merge, const struct merge_part *part) {
  struct merge_change change;
  int rc = pair_of(merge, part, "lora_embedding_B", &change);
  change.flipped = 1;
  if (is_tied(merge)) merge->values.own_head = 1;
  return rc ? rc : add(merge, &change);
}

static int list_vera(struct zf_adapter_merge *merge, const struct merge_part *part) {
  const struct zf_adapter_file *file = part->attachment.file;
  const struct zf_adapter_tensor *inner = zf_adapter_file_find(file, "", "vera_A"),
                                 *outer = zf_adapter_file_find(file, "", "vera_B");
  struct merge_change change = {.kind = ZF_MERGE_PRODUCT,
                                .number = part->attachment.wanted,
                                .flipped = flipped(merge, part->attachment.wanted),
                                .inner = inner->data,
                                .outer = outer->data,
                                .inner_factor = sibling(part, "vera_lambda_d")->data,
                                .outer_factor = part->tensor->data,
                                .rank = inner->shape[0],
                                .inner_ld = inner->shape[1],
                                .scale = part->attachment.weight};
  return add(merge, &change);
}

/* Multiplies tensor `number` by the values of the part. */
static int list_factors(struct zf_adapter_merge *merge, const struct merge_part *part,
                        enum merge_change_kind kind, int64_t number) {
  const struct zf_adapter_tensor *tensor = part->tensor;
  struct merge_change change = {.kind = kind,
                                .number = number,
                                .flipped = flipped(merge, number),
                                .factor = zf_calloc(tensor->count, sizeof *change.factor)};
  if (!change.factor) return ZF_ENOMEM;
  for (int64_t i = 0; i < tensor->count; i++) change.factor[i] = (double)tensor->data[i];
  int rc = add(merge, &change);
  if (rc) free(change.factor);
  return rc;
}

/* 1 where a DoRA that was attached before adds the module's bias, behind all that comes later. */
static int has_taken_bias(const struct zf_adapter_merge *merge, const struct merge_part *part) {
  for (int64_t i = 0; i < part->adapter; i++)
    if (zf_adapter_file_find(merge->file[i], part->tensor->module, "lora_magnitude_vector"))
      return 1;
  return 0;
}

static int list_ia3(struct zf_adapter_merge *merge, const struct merge_part *part) {
  const struct zf_adapter_tensor *tensor = part->tensor;
  int outputs = tensor->shape[1] == 1;
  int64_t bias = zf_attach_wanted(merge->model, tensor->module, ".bias");
  int rc = list_factors(merge, part, outputs ? ZF_MERGE_OUTPUTS : ZF_MERGE_INPUTS,
                        part->attachment.wanted);
  if (!outputs || bias < 0 || has_taken_bias(merge, part)) return rc;
  return rc ? rc : list_factors(merge, part, ZF_MERGE_OUTPUTS, bias);
}

static int list_rows(struct zf_adapter_merge *merge, const struct merge_part *part) {
  const struct zf_plan *plan = &merge->model->plan;
  const struct zf_peft_ints *index = &part->attachment.file->config.tokens.index;
  int is_head = is_tied(merge) && zf_attach_is_head(&part->attachment, part->tensor->module);
  int reads = plan->head_rows >= 0 &&
              merge->model->params.param[plan->head_rows].data == (void *)part->tensor->data;
  struct merge_change change = {.kind = ZF_MERGE_ROWS,
                                .number = part->attachment.wanted,
                                .data = part->tensor->data,
                                .ids = index->value,
                                .id_count = index->count};
  int rc = is_head ? 0 : add(merge, &change);
  if (is_head && reads) merge->values.own_head = 1;
  change.number = plan->wanted_count; /* read where something else unties the head */
  return rc || !reads ? rc : add(merge, &change);
}

static int list_replaced(struct zf_adapter_merge *merge, const struct merge_part *part) {
  const struct zf_adapter_tensor *tensor = part->tensor;
  struct merge_change change = {
      .kind = ZF_MERGE_REPLACE,
      .number = zf_attach_replaced(merge->model, tensor),
      .data = tensor->data,
  };
  if (change.number < 0) change.number = matrix_of(merge, part); /* a tied head */
  return add(merge, &change);
}

static int refuse_prompt(struct zf_adapter_merge *merge, const struct merge_part *part) {
  (void)merge;
  return zf_error(
      ZF_EUSAGE,
      "%s: a %s is rows in front of every text, which no weight can hold: it cannot be merged; "
      "apply it by --adapter",
      part->attachment.file->path, zf_peft_kinds[part->attachment.file->config.kind].name);
}

/* `early`: applies before all other changes. */
static const struct {
  const char *part;
  int (*list)(struct zf_adapter_merge *merge, const struct merge_part *part);
  int early;
} parts[] = {
    {"lora_A", list_lora, 0},
    {"lora_embedding_A", list_embedding, 0},
    {"ia3_l", list_ia3, 0},
    {"vera_lambda_b", list_vera, 0},
    {"prompt_embeddings", refuse_prompt, 1},
    {"trainable_tokens_delta", list_rows, 0},
    {"weight", list_replaced, 1},
    {"bias", list_replaced, 1},
};

/* --- all tensors --- */

static int list_tensor(struct zf_adapter_merge *merge, int64_t adapter, int64_t number, int early) {
  struct zf_adapter_file *file = merge->file[adapter];
  struct merge_part part = {.tensor = &file->tensor[number], .adapter = adapter};
  part.attachment = (struct attachment){
      .model = (struct zf_model *)merge->model, .file = file, .weight = file->weight, .wanted = -1};
  if (*part.tensor->module)
    part.attachment.wanted = zf_adapter_module(merge->model, part.tensor->module);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strcmp(parts[i].part, part.tensor->part) && parts[i].early == early)
      return parts[i].list(merge, &part);
  return 0;
}

static int list_all(struct zf_adapter_merge *merge, int64_t count, int early) {
  for (int64_t i = count - 1; i >= 0; i--)
    for (int64_t j = merge->file[i]->count - 1; j >= 0; j--) {
      int rc = list_tensor(merge, i, j, early);
      if (rc) return rc;
    }
  return 0;
}

static int is_changed(void *ctx, int64_t number) {
  const struct zf_adapter_merge *merge = ctx;
  for (int64_t i = 0; i < merge->count; i++)
    if (zf_merge_applies(merge, &merge->change[i], number)) return 1;
  return 0;
}

static int ask(void *ctx) {
  const struct zf_adapter_merge *merge = ctx;
  return merge->tick && merge->tick(merge->tick_ctx);
}

int zf_merge_new(struct zf_adapter_merge **out, const struct zf_model *model,
                 struct zf_adapter_file *const *file, int64_t count) {
  struct zf_adapter_merge *merge = *out = zf_calloc(1, sizeof *merge);
  if (!merge) return ZF_ENOMEM;
  merge->model = model;
  merge->file = file;
  merge->values = (struct zf_save_values){
      .ctx = merge, .changed = is_changed, .read = zf_merge_read, .tick = ask};
  int rc = list_all(merge, count, 1);
  if (!rc) rc = list_all(merge, count, 0);
  if (!rc) rc = check_own_head(merge);
  if (!rc) return 0;
  zf_merge_free(merge);
  *out = NULL;
  return rc;
}

void zf_merge_free(struct zf_adapter_merge *merge) {
  if (!merge) return;
  for (int64_t i = 0; i < merge->count; i++) free(merge->change[i].factor);
  free(merge->change);
  free(merge);
}

const struct zf_save_values *zf_merge_values(struct zf_adapter_merge *merge, int (*tick)(void *ctx),
                                             void *ctx) {
  merge->tick = tick;
  merge->tick_ctx = ctx;
  return &merge->values;
}

int64_t zf_merge_count(const struct zf_adapter_merge *merge, int *unties) {
  int64_t count = merge->values.own_head;
  for (int64_t i = 0; i < merge->model->plan.wanted_count; i++)
    count += is_changed((void *)merge, i);
  *unties = merge->values.own_head;
  return count;
}
