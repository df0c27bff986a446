#include "objective/objective.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "objective/objective_internal.h"

/* In the order of ZF_OBJECTIVE_WORDS. */
static const struct zf_objective_kind *const kinds[] = {
    &zf_objective_accuracy, &zf_objective_f1,   &zf_objective_exact_match,
    &zf_objective_rouge_l,  &zf_objective_bleu, &zf_objective_command,
    &zf_objective_dpo,      &zf_objective_orpo, &zf_objective_distill_kind};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct zf_objective_kind *zf_objective_find(const char *name) {
  for (int i = 0; i < KINDS; i++)
    if (!strcmp(kinds[i]->name, name)) return kinds[i];
  return NULL;
}

/* --- what suits --- */

/* Appends item `number` of "a|b|c" after a separator. */
static void add_word(struct zf_buf *out, const char *words, int number, int bits_left) {
  for (; number > 0; number--) words += strcspn(words, "|") + 1;
  zf_buf_printf(out, "%s%.*s",
                !out->len   ? ""
                : bits_left ? ", "
                            : " or ",
                (int)strcspn(words, "|"), words);
}

/* The types of a mask as "a, b or c". */
static void type_names(struct zf_buf *out, unsigned types) {
  for (int i = 0; types >> i; i++)
    if (types >> i & 1) add_word(out, ZF_TASK_TYPES, i, types >> (i + 1) != 0);
}

int zf_objective_check(const struct zf_objective_settings *settings,
                       const struct zf_data_spec *spec) {
  const struct zf_objective_kind *kind = settings->kind;
  struct zf_buf suited = {0}, found = {0};
  if (!kind) return 0;
  if (kind->types >> spec->type & 1) {
    if (spec->type == ZF_TASK_LABELS && spec->problem != ZF_PROBLEM_SINGLE)
      return zf_error(ZF_EUSAGE, "objective %s needs one right label of several; these data are %s",
                      kind->name, zf_problem_names[spec->problem]);
    if ((kind->needs & ZF_NEEDS_TEXT) && spec->train_on_inputs)
      return zf_error(ZF_EUSAGE,
                      "objective %s continues prompts; train_on_inputs makes the prompts targets",
                      kind->name);
    return 0;
  }
  type_names(&suited, kind->types);
  type_names(&found, 1u << spec->type);
  int rc = zf_error(ZF_EUSAGE, "objective %s suits data of type %s; these are of type %s",
                    kind->name, suited.data ? suited.data : "", found.data ? found.data : "");
  zf_buf_free(&suited);
  zf_buf_free(&found);
  return rc;
}

/* --- memory --- */

int64_t zf_objective_bytes(const struct zf_objective_settings *settings,
                           const struct zf_model *model, const struct zf_objective_room *room) {
  int64_t each =
      (int64_t)(sizeof(struct zf_objective_example) + sizeof(double) + sizeof(struct zf_score));
  int64_t bytes = room->slots * each;
  if (!settings->kind) return 0;
  if (settings->kind->needs & ZF_NEEDS_TEXT)
    bytes += zf_objective_texts_bytes(settings, model, room);
  if ((settings->kind->needs & ZF_NEEDS_TEACHER) && room->set[0])
    bytes += zf_distill_bytes(settings->top_k, room->rows, room->set);
  for (int i = 0; i < room->sets; i++)
    if ((settings->kind->needs & ZF_NEEDS_REFERENCE) && room->set[i])
      bytes += 2 * (int64_t)sizeof(double) * room->set[i]->count;
  return bytes;
}

static int open_parts(struct zf_objective *objective, const struct zf_objective_room *room) {
  unsigned needs = objective->settings->kind->needs;
  objective->example = zf_calloc(room->slots, sizeof *objective->example);
  objective->value = zf_calloc(room->slots, sizeof *objective->value);
  objective->score = zf_calloc(room->slots, sizeof *objective->score);
  if (!objective->example || !objective->value || !objective->score) return ZF_ENOMEM;
  if ((needs & ZF_NEEDS_TEACHER) && room->teacher)
    return zf_distill_new(&objective->distill, room->teacher, room->set, room->rows);
  return needs & ZF_NEEDS_TEXT ? zf_objective_texts_open(objective, room) : 0;
}

int zf_objective_open(struct zf_objective **out, const struct zf_objective_settings *settings,
                      const struct zf_model *model, const struct zf_tok *tok,
                      const struct zf_objective_room *room) {
  *out = NULL;
  struct zf_objective *objective = zf_calloc(1, sizeof *objective);
  if (!objective) return ZF_ENOMEM;
  objective->settings = settings;
  objective->model = model;
  objective->tok = tok;
  objective->slots = room->slots;
  int rc = open_parts(objective, room);
  if (rc)
    zf_objective_free(objective);
  else
    *out = objective;
  return rc;
}

void zf_objective_free(struct zf_objective *objective) {
  if (!objective) return;
  zf_child_close(objective->child);
  zf_distill_free(objective->distill);
  for (int i = 0; i < ZF_OBJECTIVE_SETS; i++) free(objective->references[i].pair);
  zf_objective_texts_free(&objective->texts);
  free(objective->score);
  free(objective->value);
  free(objective->example);
  free(objective);
}

void zf_objective_watch(struct zf_objective *objective, int (*stopped)(void *ctx), void *ctx) {
  objective->stopped = stopped;
  objective->stopped_ctx = ctx;
}

int64_t zf_objective_tokens(const struct zf_objective *objective) {
  return objective->texts.decoder ? zf_decoder_read_count(objective->texts.decoder) : 0;
}

struct zf_distill *zf_objective_distill(const struct zf_objective *objective) {
  return objective->distill;
}

/* --- references --- */

static struct zf_objective_references *references_of(struct zf_objective *objective,
                                                     const struct zf_dataset *dataset) {
  for (int i = 0; i < ZF_OBJECTIVE_SETS; i++)
    if (objective->references[i].dataset == dataset) return &objective->references[i];
  return NULL;
}

int zf_objective_refer(struct zf_objective *objective, struct zf_scorer *scorer,
                       const struct zf_dataset *dataset) {
  struct zf_perturb none = zf_perturb_none();
  struct zf_objective_references *references = references_of(objective, NULL);
  if (!(objective->settings->kind->needs & ZF_NEEDS_REFERENCE)) return 0;
  if (dataset->stream)
    return zf_error(ZF_EUSAGE, "objective %s needs all examples in memory: streaming=false",
                    objective->settings->kind->name);
  references->pair = zf_calloc(2 * dataset->count, sizeof *references->pair);
  if (!references->pair) return ZF_ENOMEM;
  references->dataset = dataset;
  for (int64_t i = 0; i < dataset->count; i++) {
    struct zf_score score;
    int rc = zf_score_examples(scorer, dataset, &i, 1, 0, &none, &score);
    if (rc) return rc;
    memcpy(references->pair + 2 * i, score.pair, sizeof score.pair);
  }
  return 0;
}

/* --- values --- */

static void see(struct zf_objective *objective, const struct zf_dataset *dataset,
                const int64_t *index, int64_t count, const struct zf_score *score) {
  struct zf_objective_references *references = references_of(objective, dataset);
  for (int64_t i = 0; i < count; i++) {
    const struct zf_example *example = &dataset->example[index[i]];
    struct zf_objective_example *seen = &objective->example[i];
    seen->score = score ? &score[i] : NULL;
    seen->label = example->label;
    seen->reference = references ? references->pair + 2 * index[i] : NULL;
    seen->path =
        dataset->path && example->file < dataset->nfile ? dataset->path[example->file] : "";
    seen->line = example->line;
  }
}

int zf_objective_values(struct zf_objective *objective, const struct zf_dataset *dataset,
                        const int64_t *index, int64_t count, const struct zf_perturb *perturb,
                        const struct zf_score *score, double *value) {
  const struct zf_objective_kind *kind = objective->settings->kind;
  int text = (kind->needs & ZF_NEEDS_TEXT) != 0;
  int rc = text ? zf_objective_read(objective, dataset, index, count) : 0;
  for (int i = 0; i < perturb->streams.count; i++) {
    if (rc) return rc;
    struct zf_perturb stream = zf_perturb_stream(perturb, i);
    see(objective, dataset, index, count, score ? score + i * count : NULL);
    if (text) rc = zf_objective_generate(objective, dataset, index, count, &stream);
    if (!rc) rc = kind->values(objective, objective->example, count, value + i * count);
  }
  return rc;
}

/* The examples from `first` on, at most `count` of them: index[0..*loaded). */
static int load(const struct zf_dataset *dataset, int64_t first, int64_t count, int64_t *index,
                int64_t *loaded) {
  *loaded = count;
  for (int64_t i = 0; i < count; i++) index[i] = first + i;
  if (!dataset->stream) return 0;
  int rc = zf_row_reader_load(dataset->stream, index, count, NULL);
  *loaded = dataset->count;
  for (int64_t i = 0; i < *loaded; i++) index[i] = i;
  return rc;
}

static int sum_values(struct zf_objective *objective, struct zf_scorer *scorer,
                      const struct zf_dataset *dataset, int64_t *index, double *sum,
                      int64_t *examples) {
  struct zf_perturb none = zf_perturb_none();
  int scores = (objective->settings->kind->needs & ZF_NEEDS_SCORES) != 0;
  int64_t size = zf_dataset_size(dataset), count;
  for (int64_t first = 0; first < size; first += objective->slots) {
    int64_t chunk = size - first < objective->slots ? size - first : objective->slots;
    int rc = load(dataset, first, chunk, index, &count);
    if (!rc && scores && count)
      rc = zf_score_examples(scorer, dataset, index, count, 0, &none, objective->score);
    if (!rc)
      rc = zf_objective_values(objective, dataset, index, count, &none,
                               scores ? objective->score : NULL, objective->value);
    if (!rc && objective->stopped && objective->stopped(objective->stopped_ctx))
      rc = zf_error(ZF_ESTOPPED, "interrupted while scoring");
    if (rc) return rc;
    for (int64_t i = 0; i < count; i++) *sum += objective->value[i];
    *examples += count;
  }
  return 0;
}

/* 1 where what the objective needs is known about the set. */
static int is_known(struct zf_objective *objective, const struct zf_dataset *dataset) {
  unsigned needs = objective->settings->kind->needs;
  if ((needs & ZF_NEEDS_REFERENCE) && !references_of(objective, dataset)) return 0;
  if (!(needs & ZF_NEEDS_TEACHER)) return 1;
  return objective->distill && zf_distill_knows(objective->distill, dataset);
}

int zf_objective_mean(double *mean, struct zf_objective *objective, struct zf_scorer *scorer,
                      const struct zf_dataset *dataset) {
  int64_t examples = 0, *index;
  double sum = 0;
  *mean = NAN;
  if (!is_known(objective, dataset)) return 0;
  if (!(index = zf_calloc(objective->slots, sizeof *index))) return ZF_ENOMEM;
  int rc = sum_values(objective, scorer, dataset, index, &sum, &examples);
  free(index);
  if (!rc && examples) *mean = sum / (double)examples;
  return rc;
}
