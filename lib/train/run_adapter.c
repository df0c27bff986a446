/* The adapter of a run: one that begins, one from disk, or the one with which a run in output_dir
 * began. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "model/gguf_result.h"
#include "peft/adapter.h"
#include "train/run_internal.h"

static void free_file(void *file) {
  zf_adapter_file_free(file);
}

/* Attaches run->adapter; the model frees it. */
static int attach(struct zf_run *run, struct zf_adapter_file *file, enum zf_adapter_train train) {
  int rc = zf_model_own(run->model, file, free_file);
  if (rc) return rc;
  run->adapter = file;
  return zf_adapter_attach(run->model, file, 1, train);
}

/* The tokens that virtual tokens begin as: random ones of the vocabulary, or those of the text, repeated
 * or cut. */
static int make_ids(const struct zf_run *run, int32_t *ids, int64_t count) {
  const struct zf_adapter_settings *adapter = &run->settings.adapter;
  struct zf_noise noise = {.seed = run->settings.seed, .use = ZF_USE_SAMPLE};
  struct zf_ids text = {0};
  uint32_t word;
  int rc = 0;
  if (adapter->virtual_init == 1)
    rc = run->tok ? zf_tok_encode(run->tok, &text, adapter->virtual_text,
                                  strlen(adapter->virtual_text), 0)
                  : zf_error(ZF_EUSAGE, "prompt_tuning_init: a text needs the model's tokenizer");
  if (!rc && adapter->virtual_init == 1 && !text.count)
    rc = zf_error(ZF_EUSAGE, "prompt_tuning_init_text: expected a text, found no token in it");
  for (int64_t i = 0; i < count && !rc; i++) {
    zf_noise_words(&word, &noise, i, 1);
    ids[i] = text.count ? text.id[i % text.count]
                        : (int32_t)((uint64_t)word * (uint64_t)run->model->config.vocab >> 32);
  }
  zf_ids_free(&text);
  return rc;
}

/* What the config says of the model. */
static int describe_model(struct zf_run *run) {
  struct zf_peft_config *config = &run->settings.adapter.config;
  const struct zf_config *model = &run->model->config;
  int prefix = config->kind == ZF_PEFT_PREFIX;
  config->fan_in_fan_out = model->family->transposed;
  config->heads = prefix ? model->kv_heads : model->heads;
  config->token_dim = prefix ? model->kv_heads * model->head_dim : model->embed_dim;
  config->layers = model->layers;
  config->submodules = 1;
  const char *task = run->model->plan.causal ? "CAUSAL_LM" : NULL;
  if (model->classify) task = "SEQ_CLS";
  if (task && !(config->task_type = zf_strdup(task))) return ZF_ENOMEM;
  return 0;
}

/* A new adapter; without weights (shapes) its values are of no account. */
static int create(struct zf_run *run, struct zf_adapter_file **file, int shapes) {
  struct zf_adapter_settings *adapter = &run->settings.adapter;
  int64_t count = adapter->config.virtual_tokens;
  int virtual = adapter->kind == ZF_PEFT_PROMPT || adapter->kind == ZF_PEFT_PREFIX;
  int32_t *ids = zf_calloc(count, sizeof *ids);
  int rc = ids ? describe_model(run) : ZF_ENOMEM;
  if (!rc && virtual) rc = make_ids(run, ids, count);
  struct zf_adapter_plan plan = {.seed = run->settings.seed,
                                 .ids = adapter->virtual_init == 2 ? NULL : ids};
  if (!rc) rc = zf_adapter_create(file, run->model, &adapter->config, &plan);
  if (!rc && adapter->eva && !shapes) rc = zf_run_eva(run, *file);
  free(ids);
  return rc;
}

/* The directory that holds the adapter with which the run in output_dir began. */
char *zf_run_adapter_start(const char *output_dir) {
  return zf_path_join(output_dir, "checkpoints/start");
}

static int is_trained(const struct zf_run *run, int32_t number) {
  return number >= 0 && run->model->params.param[number].trained;
}

/* 1 where the method may have a direction for every example of the batch. */
static int knows_examples(const struct zf_run *run) {
  struct zf_zo zo = run->settings.zo;
  zo.examples = run->batch;
  int rc = zf_zo_check(&zo);
  zf_error_clear();
  return !rc;
}

/* There must be something to train, and the head is one product for all examples. */
static int check_trained(struct zf_run *run) {
  const struct zf_plan *plan = &run->model->plan;
  if (!zf_params_count(&run->model->params, 1))
    return zf_error(ZF_EUSAGE, "adapter: %s has nothing to train", run->settings.adapter.word);
  int *by_example = &run->settings.adapter.by_example;
  int head = is_trained(run, plan->head) || is_trained(run, plan->head_bias) ||
             is_trained(run, plan->head_outer) || is_trained(run, plan->head_rows);
  if (*by_example < 0) *by_example = !head && knows_examples(run);
  if (*by_example && head)
    return zf_error(
        ZF_EUSAGE,
        "zo_directions: example: an adapter that trains the output head has one direction for "
        "the batch");
  return 0;
}

int zf_run_open_adapter(struct zf_run *run, int train, int resume, int shapes) {
  const struct zf_adapter_settings *adapter = &run->settings.adapter;
  struct zf_adapter_file *file = NULL;
  char *start = NULL;
  int rc = 0;
  if (!adapter->word) return 0;
  if (!train && adapter->kind >= 0) return 0; /* scores of the model as it is */
  if (!train) return zf_adapter_use(run->model, adapter->word, &run->adapter);
  if (resume && !(start = zf_run_adapter_start(run->settings.output_dir))) return ZF_ENOMEM;
  if (start && zf_adapter_probe(start))
    rc = zf_adapter_file_read(&file, start, run->model);
  else if (adapter->kind >= 0)
    rc = create(run, &file, shapes);
  else
    rc = zf_adapter_file_read(&file, adapter->word, run->model);
  free(start);
  if (rc) {
    zf_adapter_file_free(file);
    return rc;
  }
  rc = attach(run, file, train ? adapter->train : ZF_TRAIN_NOTHING);
  return rc || !train ? rc : check_trained(run);
}

/* The path of a file in `dir`, which is created. */
static int file_in(char **path, const char *dir, const char *name) {
  *path = zf_path_join(dir, name);
  return *path ? zf_mkdirs(dir) : ZF_ENOMEM;
}

int zf_run_checkpoint(const struct zf_run *run, const char *dir, const char *const *metadata,
                      int64_t nmetadata) {
  char *path = NULL;
  if (!zf_gguf_is_trained(run->model)) return zf_run_save(run, dir, -1, metadata, nmetadata);
  int rc = file_in(&path, dir, "model.safetensors");
  if (!rc) rc = zf_model_save_trained(run->model, path, metadata, nmetadata);
  free(path);
  return rc;
}

static int save_gguf(const struct zf_run *run, const char *dir) {
  char *path = NULL;
  int rc = file_in(&path, dir, "model.gguf");
  if (!rc) rc = zf_gguf_save(run->model, path);
  free(path);
  return rc;
}

int zf_run_save(const struct zf_run *run, const char *dir, int dtype, const char *const *metadata,
                int64_t nmetadata) {
  if (zf_gguf_is_trained(run->model)) return save_gguf(run, dir);
  if (!run->adapter) return zf_model_save(run->model, dir, dtype, metadata, nmetadata);
  int rc = zf_model_finite(run->model, dir);
  return rc ? rc : zf_adapter_file_write_peft(run->adapter, dir, metadata, nmetadata);
}
