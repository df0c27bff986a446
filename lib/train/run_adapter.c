/* The adapter of a run: one that begins, one from disk, or the one with which a run in output_dir
 * began. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
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

/* A new adapter; without weights (shapes) its values are of no account. */
static int create(struct zf_run *run, struct zf_adapter_file **file, int shapes) {
  struct zf_adapter_settings *adapter = &run->settings.adapter;
  int rc = zf_adapter_create(file, run->model, &adapter->config, run->settings.seed);
  if (!rc && adapter->eva && !shapes) rc = zf_run_eva(run, *file);
  return rc;
}

/* The directory that holds the adapter with which the run in output_dir began. */
char *zf_run_adapter_start(const char *output_dir) {
  return zf_path_join(output_dir, "checkpoints/start");
}

int zf_run_open_adapter(struct zf_run *run, int train, int resume, int shapes) {
  const struct zf_adapter_settings *adapter = &run->settings.adapter;
  struct zf_adapter_file *file = NULL;
  char *start = NULL;
  int rc = 0;
  if (!adapter->word) return 0;
  if (!train && adapter->kind >= 0) return 0; /* scores of the model as it is */
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
  return attach(run, file, train ? adapter->train : ZF_TRAIN_NOTHING);
}

int zf_run_save(const struct zf_run *run, const char *dir, int dtype, const char *const *metadata,
                int64_t nmetadata) {
  if (!run->adapter) return zf_model_save(run->model, dir, dtype, metadata, nmetadata);
  int rc = zf_model_finite(run->model, dir);
  return rc ? rc : zf_adapter_file_write_peft(run->adapter, dir, metadata, nmetadata);
}
