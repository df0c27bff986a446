/* EVA (Paischer et al. 2024): LoRA's A is made of the principal components of the module's inputs over
 * some batches, by forward passes alone; ranks are shared out over the modules by explained variance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "peft/components.h"
#include "train/run_internal.h"

enum { REDUNDANCY = 2 }; /* a module's rank is at most so many times the mean rank (rho) */

/* A module whose A is replaced. */
struct eva_target {
  const char *module; /* of the adapter's tensors */
  int32_t weight;     /* parameter of the base */
  int64_t input;      /* number of its input's components */
  int64_t most, rank;
};

struct eva {
  struct eva_target *target;
  int64_t targets;
  struct zf_components *input; /* of each distinct input */
  int64_t inputs;
  struct zf_components_work *work;
};

static void free_eva(struct eva *eva) {
  for (int64_t i = 0; i < eva->inputs; i++) zf_components_free(&eva->input[i]);
  zf_components_work_free(eva->work);
  free(eva->input);
  free(eva->target);
}

/* --- targets --- */

static void add_target(struct eva *eva, const struct zf_model *model,
                       const struct zf_adapter_tensor *tensor) {
  int64_t at =
      zf_edit_find_weight(&model->plan, (int32_t)zf_adapter_module(model, tensor->module), 0);
  const struct zf_op *op = &model->plan.op[at];
  struct eva_target *target = &eva->target[eva->targets++];
  *target = (struct eva_target){.module = tensor->module, .weight = op->weight};
  target->most = tensor->shape[0] * REDUNDANCY;
  if (target->most > op->inputs) target->most = op->inputs;
  if (target->most > op->width) target->most = op->width;
}

/* The number of the first operation of those that read the same input as number `at`. */
static int64_t first_reader(const struct zf_plan *plan, int64_t at) {
  while (plan->op[at].reuse_input) {
    at--;
    while (plan->op[at].kind != ZF_OP_LINEAR) at--;
  }
  return at;
}

/* Gives every target the components of its input; those that read the same input share them. */
static int make_inputs(struct eva *eva, const struct zf_model *model) {
  int64_t *reader = zf_calloc(eva->targets, sizeof *reader);
  if (!reader) return ZF_ENOMEM;
  for (int64_t i = 0; i < eva->targets; i++) {
    struct eva_target *target = &eva->target[i];
    reader[i] = first_reader(&model->plan, zf_edit_find_weight(&model->plan, target->weight, 0));
    int64_t same = 0;
    while (reader[same] != reader[i]) same++;
    target->input = same == i ? eva->inputs++ : eva->target[same].input;
    struct zf_components *input = &eva->input[target->input];
    input->width = model->plan.op[reader[i]].inputs;
    if (input->count < target->most) input->count = target->most;
  }
  free(reader);
  int rc = 0;
  for (int64_t i = 0; i < eva->inputs && !rc; i++)
    rc = zf_components_init(&eva->input[i], eva->input[i].count, eva->input[i].width);
  return rc;
}

static int find_targets(struct eva *eva, const struct zf_model *model,
                        const struct zf_adapter_file *file, int64_t rows) {
  int64_t widest = 1, most = 1;
  eva->target = zf_calloc(file->count, sizeof *eva->target);
  eva->input = zf_calloc(file->count, sizeof *eva->input);
  if (!eva->target || !eva->input) return ZF_ENOMEM;
  for (int64_t i = 0; i < file->count; i++)
    if (!strcmp(file->tensor[i].part, "lora_A")) add_target(eva, model, &file->tensor[i]);
  int rc = make_inputs(eva, model);
  for (int64_t i = 0; i < eva->inputs; i++) {
    if (eva->input[i].width > widest) widest = eva->input[i].width;
    if (eva->input[i].count > most) most = eva->input[i].count;
  }
  return rc ? rc : zf_components_work_new(&eva->work, most, widest, rows);
}

/* --- inputs --- */

/* A zf_forward_watch. */
static void watch_input(void *ctx, const struct zf_op *op, const float *x, int64_t ld,
                        int64_t rows) {
  struct eva *eva = ctx;
  for (int64_t i = 0; i < eva->targets; i++) {
    if (eva->target[i].weight != op->weight) continue;
    for (int64_t j = 0; j < i; j++) /* another target with this input has seen it */
      if (eva->target[j].input == eva->target[i].input) return;
    zf_components_add(&eva->input[eva->target[i].input], eva->work, x, ld, rows);
    return;
  }
}

static int read_batches(struct zf_run *run, struct zf_scorer *scorer) {
  const struct zf_settings *settings = &run->settings;
  struct zf_perturb none = zf_perturb_none();
  int64_t *index = zf_calloc(settings->micro_batch, sizeof *index), count;
  struct zf_score *score = zf_calloc(settings->micro_batch, sizeof *score);
  int rc = index && score ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; i < settings->adapter.eva_batches && !rc; i++) {
    rc = zf_run_data_batch(&run->data, i * settings->micro_batch, settings->micro_batch, index,
                           &count);
    if (!rc && count)
      rc = zf_score_examples(scorer, run->data.train, index, count, 0, &none, score);
  }
  free(score);
  free(index);
  return rc;
}

static int collect(struct zf_run *run, struct eva *eva, const struct zf_limits *limits) {
  struct zf_forward *forward = NULL;
  struct zf_scorer *scorer = NULL;
  int rc = zf_forward_new(&forward, run->model, limits);
  if (!rc) rc = zf_scorer_new(&scorer, forward, limits);
  if (!rc) zf_forward_watch_inputs(forward, watch_input, eva);
  if (!rc) rc = read_batches(run, scorer);
  zf_scorer_free(scorer);
  zf_forward_free(forward);
  return rc;
}

/* --- ranks --- */

/* The share of the input's energy in the target's next component. */
static double next_share(const struct eva *eva, const struct eva_target *target) {
  const struct zf_components *input = &eva->input[target->input];
  if (target->rank >= target->most || !(input->energy > 0)) return -1;
  return input->square[target->rank] / input->energy;
}

/* Every target gets one component, then the components with the largest shares, until the ranks add up
 * to `budget`. */
static void share_ranks(struct eva *eva, int64_t budget) {
  for (int64_t i = 0; i < eva->targets; i++, budget--) eva->target[i].rank = 1;
  for (; budget > 0; budget--) {
    int64_t best = 0;
    double share = -1;
    for (int64_t i = 0; i < eva->targets; i++) {
      double now = next_share(eva, &eva->target[i]);
      if (now <= share) continue;
      share = now;
      best = i;
    }
    if (share < 0) return;
    eva->target[best].rank++;
  }
}

static const struct eva_target *find_target(const struct eva *eva, const char *module) {
  for (int64_t i = 0; i < eva->targets; i++)
    if (!strcmp(eva->target[i].module, module)) return &eva->target[i];
  return NULL;
}

/* The rank and alpha of a module, so that its scale stays what it was. */
static int set_pattern(struct zf_peft_patterns *patterns, const char *module, double value) {
  int64_t cap = patterns->count;
  struct zf_peft_pattern *grown =
      realloc(patterns->pattern, (size_t)(cap + 1) * sizeof *patterns->pattern);
  if (!grown) return zf_error(ZF_ENOMEM, "out of memory for the rank of %s", module);
  patterns->pattern = grown;
  patterns->pattern[cap].pattern = zf_strdup(module);
  patterns->pattern[cap].value = value;
  patterns->count++;
  return patterns->pattern[cap].pattern ? 0 : ZF_ENOMEM;
}

static int rescale(struct zf_peft_config *config, const char *module, int64_t rank) {
  double scale, now = 0;
  int rc = zf_peft_scale(&scale, config, module);
  if (!rc) rc = set_pattern(&config->rank_by, module, (double)rank);
  if (!rc) rc = zf_peft_scale(&now, config, module);
  if (rc || now == scale) return rc;
  double alpha = config->rslora ? scale * sqrt((double)rank) : scale * (double)rank;
  return set_pattern(&config->alpha_by, module, alpha);
}

/* Replaces A and B of one module. */
static int replace_pair(struct zf_adapter_tensor *tensor, const struct eva *eva,
                        const struct eva_target *target) {
  int inner = !strcmp(tensor->part, "lora_A");
  int64_t other = inner ? tensor->shape[1] : tensor->shape[0];
  float *data = zf_calloc(target->rank * other, sizeof *data);
  if (!data) return ZF_ENOMEM;
  if (inner)
    memcpy(data, eva->input[target->input].vector, (size_t)(target->rank * other) * sizeof *data);
  free(tensor->data);
  tensor->data = data;
  tensor->shape[inner ? 0 : 1] = target->rank;
  tensor->count = target->rank * other;
  return 0;
}

static int replace_all(struct zf_adapter_file *file, const struct eva *eva) {
  for (int64_t i = 0; i < file->count; i++) {
    struct zf_adapter_tensor *tensor = &file->tensor[i];
    const struct eva_target *target = find_target(eva, tensor->module);
    int pair = !strcmp(tensor->part, "lora_A") || !strcmp(tensor->part, "lora_B");
    if (!target || !pair) continue;
    int64_t rank;
    int rc = zf_peft_rank(&rank, &file->config, tensor->module);
    if (!rc && rank != target->rank) rc = rescale(&file->config, tensor->module, target->rank);
    if (!rc) rc = replace_pair(tensor, eva, target);
    if (rc) return rc;
  }
  return 0;
}

int zf_run_eva(struct zf_run *run, struct zf_adapter_file *file) {
  struct eva eva = {0};
  const struct zf_dataset *set[] = {run->data.train};
  struct zf_limits limits = zf_score_limits(set, 1, run->settings.micro_batch, 1);
  int64_t budget = 0;
  limits.compute = run->settings.compute;
  for (int64_t i = 0; i < file->count; i++)
    if (!strcmp(file->tensor[i].part, "lora_A")) budget += file->tensor[i].shape[0];
  int rc = find_targets(&eva, run->model, file, limits.tokens);
  if (!rc) rc = collect(run, &eva, &limits);
  if (!rc) share_ranks(&eva, budget);
  if (!rc) rc = replace_all(file, &eva);
  free_eva(&eva);
  return rc;
}
