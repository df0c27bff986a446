/* Shared by the files that open a run. */
#ifndef ZF_TRAIN_RUN_INTERNAL_H
#define ZF_TRAIN_RUN_INTERNAL_H

#include "train/run.h"

/* Opens the adapter that the settings name and attaches it to the model.  train: its parameters are
 * trained, and a new one is made where the settings name a kind; resume: a run in output_dir keeps the
 * adapter with which it began. */
int zf_run_open_adapter(struct zf_run *run, int train, int resume, int shapes);

/* Replaces the A of every module by the principal components of its inputs over the first batches of
 * the run; ranks are shared out by explained variance (eva.c). */
int zf_run_eva(struct zf_run *run, struct zf_adapter_file *file);

#endif
