/* The teacher of a run (objective distill): its predictions are read from a file, or made by one pass over
 * the run's examples before the model is opened, so that only one of both is in memory.
 *
 * A file that was made lies beside the output directory, under a name of this process, until that
 * directory exists; then it is renamed to OUT/teacher.bin. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/util.h"
#include "peft/adapter.h"
#include "train/run_internal.h"

static const char kept_name[] = "teacher.bin";

/* --- the model that is the teacher --- */

struct teacher_model {
  char *dir;
  struct zf_config config;
  struct zf_tok *tok;
  struct zf_model *model;
};

static void close_model(struct teacher_model *teacher) {
  zf_model_free(teacher->model);
  zf_tok_free(teacher->tok);
  free(teacher->dir);
}

static int check_size(const struct teacher_model *teacher, const struct zf_config *config,
                      const char *student) {
  if (teacher->config.vocab == config->vocab) return 0;
  return zf_error(
      ZF_EUSAGE, "teacher: expected the vocabulary of %s, which has %lld tokens; %s has %lld",
      student, (long long)config->vocab, teacher->dir, (long long)teacher->config.vocab);
}

/* Both tokenizers must give a text the same ids.  An id that one of them does not name is unused. */
static int check_tokens(const struct teacher_model *teacher, const struct zf_tok *tok,
                        const char *student) {
  for (int32_t id = 0; id < teacher->config.vocab; id++) {
    const char *theirs = zf_tok_piece(teacher->tok, id), *ours = zf_tok_piece(tok, id);
    if (theirs && ours && strcmp(theirs, ours) != 0)
      return zf_error(ZF_EUSAGE,
                      "teacher: expected the vocabulary of %s, whose token %d is '%s'; in %s it is "
                      "'%s'",
                      student, id, ours, teacher->dir, theirs);
  }
  return 0;
}

/* Finds the model, and checks its vocabulary. */
static int find_model(struct teacher_model *teacher, const struct zf_run *run,
                      const struct zf_config *config, const char *student) {
  const char *word = run->settings.objective.teacher;
  int adapted = zf_adapter_probe(word) != NULL;
  int rc = adapted ? zf_adapter_base(&teacher->dir, word) : zf_model_find(&teacher->dir, word);
  if (!rc) rc = zf_config_load(&teacher->config, teacher->dir);
  if (!rc) rc = check_size(teacher, config, student);
  if (!rc) rc = zf_tok_open(&teacher->tok, teacher->dir);
  if (!rc) rc = check_tokens(teacher, run->tok, student);
  return rc ? zf_error_prefix(rc, "%s", zf_conf_origin(run->conf, "teacher")) : 0;
}

static int open_model(struct teacher_model *teacher, const struct zf_run *run,
                      const struct zf_config *config, const char *student) {
  const char *word = run->settings.objective.teacher;
  int adapted = zf_adapter_probe(word) != NULL;
  struct zf_model_opts opts = {.dtype = -1};
  int rc = find_model(teacher, run, config, student);
  if (!rc && adapted) rc = zf_adapter_labels(&opts.labels, word);
  if (!rc) rc = zf_model_open(&teacher->model, teacher->dir, &opts);
  return rc || !adapted ? rc : zf_adapter_use(teacher->model, word, NULL);
}

/* --- the file --- */

static void sets_of(const struct zf_run *run, const struct zf_dataset **set) {
  set[0] = run->data.train;
  set[1] = run->data.dev;
  set[2] = run->data.test;
}

/* The lowest directory above `path` that exists. */
static char *existing_parent(const char *path) {
  char *dir = zf_strdup(path);
  while (dir) {
    char *slash = strrchr(dir, '/');
    if (!slash) {
      free(dir);
      return zf_strdup(".");
    }
    slash[slash == dir] = 0;
    if (slash == dir || zf_is_dir(dir)) break;
  }
  return dir;
}

static int make_file(struct zf_run *run, const struct zf_config *config, const char *student,
                     const struct zf_run_progress *progress) {
  const struct zf_objective_settings *objective = &run->settings.objective;
  const struct zf_dataset *set[ZF_TEACHER_SETS];
  struct teacher_model teacher = {NULL};
  char *dir = existing_parent(run->settings.output_dir);
  run->teacher_made = dir ? zf_asprintf("%s/.%s.%ld", dir, kept_name, (long)getpid()) : NULL;
  int rc = run->teacher_made ? open_model(&teacher, run, config, student) : ZF_ENOMEM;
  enum zf_compute compute = run->settings.compute;
  if (compute == ZF_COMPUTE_INT8) compute = ZF_COMPUTE_BF16;
  sets_of(run, set);
  struct zf_teacher_plan plan = {.model = teacher.model,
                                 .set = set,
                                 .k = objective->top_k,
                                 .temperature = objective->temperature,
                                 .compute = compute,
                                 .micro_batch = run->settings.micro_batch};
  if (progress) {
    plan.tick = progress->teacher;
    plan.ctx = progress->ctx;
  }
  if (!rc) rc = zf_teacher_make(run->teacher_made, &plan);
  close_model(&teacher);
  free(dir);
  zf_trim_heap();
  return rc;
}

/* The setting, and what the file has. */
static int check_number(const struct zf_run *run, const char *key, double wanted, double found) {
  if (!zf_conf_has(run->conf, key) || wanted == found) return 0;
  return zf_conf_error(run->conf, key, "'%s' is %g, and the predictions in %s were made with %g",
                       key, wanted, zf_teacher_name(run->teacher), found);
}

/* The file's numbers are those of the run. */
static int take_numbers(struct zf_run *run, const struct zf_config *config, const char *student) {
  struct zf_objective_settings *objective = &run->settings.objective;
  const struct zf_teacher_head *head = zf_teacher_head(run->teacher);
  int tokens = head->kind == ZF_TEACHER_TOKENS, rc;
  double k = (double)objective->top_k;
  int64_t vocab = tokens ? config->outputs : config->vocab;
  if (head->vocab != vocab)
    return zf_error(ZF_EUSAGE,
                    "%s: expected a teacher with the vocabulary of %s, which has %lld tokens; the "
                    "file's teacher has %lld",
                    zf_teacher_name(run->teacher), student, (long long)vocab,
                    (long long)head->vocab);
  if (tokens && (rc = check_number(run, "distill_top_k", k, (double)head->k))) return rc;
  rc = check_number(run, "distill_temperature", objective->temperature, head->temperature);
  objective->top_k = head->k;
  objective->temperature = head->temperature;
  return rc;
}

/* What a log calls the data of a run are its files and what the teacher says of them. */
static int add_to_hash(struct zf_run *run, const char *path) {
  struct zf_hash *hash;
  char hex[33];
  int rc = zf_hash_file(hex, path);
  if (rc || (rc = zf_hash_new(&hash))) return rc;
  zf_hash_add(hash, run->data.hash, 32);
  zf_hash_add(hash, hex, 32);
  zf_hash_hex(hash, run->data.hash);
  zf_hash_free(hash);
  return 0;
}

static int open_file(struct zf_run *run, const char *path, const struct zf_config *config,
                     const char *student) {
  const struct zf_dataset *set[ZF_TEACHER_SETS];
  sets_of(run, set);
  int rc = zf_teacher_open(&run->teacher, path);
  if (!rc) rc = zf_teacher_check(run->teacher, set);
  if (!rc) rc = take_numbers(run, config, student);
  return rc ? rc : add_to_hash(run, path);
}

/* What both ways of opening need first. */
static int prepare(struct zf_run *run, const struct zf_config *config) {
  struct zf_objective_settings *objective = &run->settings.objective;
  if (run->data.train->stream)
    return zf_conf_error(run->conf, "streaming",
                         "objective distill needs all examples in memory: streaming=false");
  objective->top_k = zf_min64(objective->top_k, config->outputs);
  return 0;
}

int zf_run_check_teacher(struct zf_run *run, const struct zf_config *config, const char *student) {
  const char *word = run->settings.objective.teacher;
  struct teacher_model teacher = {NULL};
  int rc = prepare(run, config);
  if (!rc && zf_teacher_probe(word)) return open_file(run, word, config, student);
  if (!rc) rc = find_model(&teacher, run, config, student);
  close_model(&teacher);
  return rc;
}

int zf_run_open_teacher(struct zf_run *run, const struct zf_config *config, const char *student,
                        int resumed, const struct zf_run_progress *progress) {
  const char *word = run->settings.objective.teacher;
  char *kept = zf_path_join(run->settings.output_dir, kept_name);
  int rc = kept ? prepare(run, config) : ZF_ENOMEM;
  if (!rc && resumed && zf_teacher_probe(kept)) {
    rc = open_file(run, kept, config, student);
  } else if (!rc && zf_teacher_probe(word)) {
    rc = open_file(run, word, config, student);
  } else if (!rc) {
    rc = make_file(run, config, student, progress);
    if (!rc) rc = open_file(run, run->teacher_made, config, student);
  }
  free(kept);
  return rc;
}

int zf_run_keep_teacher(struct zf_run *run, const char *dir) {
  if (!run->teacher_made) return 0;
  char *path = zf_path_join(dir, kept_name);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && rename(run->teacher_made, path)) rc = zf_copy_file(run->teacher_made, path);
  if (!rc) unlink(run->teacher_made); /* after a copy; a renamed file is no longer there */
  if (!rc) {
    free(run->teacher_made);
    run->teacher_made = NULL;
    rc = zf_sync_dir(dir);
  }
  free(path);
  return rc;
}

void zf_run_close_teacher(struct zf_run *run) {
  zf_teacher_free(run->teacher);
  if (run->teacher_made) unlink(run->teacher_made);
  free(run->teacher_made);
}
