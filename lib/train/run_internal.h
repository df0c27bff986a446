/* Shared by the files that open a run. */
#ifndef ZF_TRAIN_RUN_INTERNAL_H
#define ZF_TRAIN_RUN_INTERNAL_H

#include "train/run.h"

/* Opens the adapter that the settings name and attaches it to the model.  train: its parameters are
 * trained, and a new one is made where the settings name a kind; resume: a run in output_dir keeps the
 * adapter with which it began. */
int zf_run_open_adapter(struct zf_run *run, int train, int resume, int shapes);

/* --- run_objective.c --- */

/* Bytes of the objective. */
int64_t zf_run_objective_bytes(const struct zf_run *run);
int zf_run_open_objective(struct zf_run *run);
void zf_run_close_objective(struct zf_run *run);

/* 1 where the examples' own losses or scores are needed. */
int zf_run_needs_scores(const struct zf_run *run);

/* Fills run->value for the examples run->index[0..count), whose scores are in run->score. */
int zf_run_objective_values(struct zf_run *run, int64_t count, const struct zf_perturb *perturb);

/* The share of a value and of the task's own loss. */
double zf_run_mix(const struct zf_run *run, double value, double loss);

/* --- run_teacher.c --- */

/* Opens the predictions of the objective's teacher for the run's data: OUT/teacher.bin of a resumed run,
 * the file that the setting names, or a new one that the teacher makes.  student: its name in messages;
 * config: its configuration; progress may be NULL. */
int zf_run_open_teacher(struct zf_run *run, const struct zf_config *config, const char *student,
                        int resumed, const struct zf_run_progress *progress);
/* The checks of it alone: a file is read, of a model its vocabulary. */
int zf_run_check_teacher(struct zf_run *run, const struct zf_config *config, const char *student);
/* Takes NULL members.  Removes a file that was made and not kept. */
void zf_run_close_teacher(struct zf_run *run);

/* Replaces the A of every module by the principal components of its inputs over the first batches of
 * the run; ranks are shared out by explained variance (eva.c). */
int zf_run_eva(struct zf_run *run, struct zf_adapter_file *file);

#endif
