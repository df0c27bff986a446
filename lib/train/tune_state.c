/* The state of a race, and tune.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "fmt/json.h"
#include "train/settings.h"
#include "train/tune.h"

enum { NAME_MAX_BYTES = 100 };

/* --- a new race --- */

/* The words of a candidate in one line. */
static int join_words(char **out, const struct zf_tune_grid *grid, int64_t index) {
  struct zf_buf words = {0};
  for (int64_t axis = 0; axis < grid->count; axis++) {
    char *word = zf_tune_grid_word(grid, index, axis);
    if (word) zf_buf_printf(&words, "%s%s", axis ? " " : "", word);
    free(word);
    if (!word) {
      zf_buf_free(&words);
      return ZF_ENOMEM;
    }
  }
  *out = words.data;
  return zf_buf_ok(&words);
}

/* "01-learning_rate=1e-4": other characters than letters, digits and . = + - _ become '_'. */
static char *make_name(const char *words, int64_t index) {
  static const char kept[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.=+-_";
  char *name = zf_asprintf("%02lld-%.*s", (long long)index + 1, NAME_MAX_BYTES, words);
  for (char *c = name; c && *c; c++)
    if (!strchr(kept, *c)) *c = '_';
  return name;
}

static int new_candidate(struct zf_tune_candidate *candidate, const struct zf_tune_grid *grid,
                         int64_t index) {
  *candidate = (struct zf_tune_candidate){.accuracy = NAN, .f1 = NAN};
  int rc = join_words(&candidate->words, grid, index);
  if (rc) return rc;
  candidate->name = make_name(candidate->words, index);
  return candidate->name ? 0 : ZF_ENOMEM;
}

int zf_tune_new(struct zf_tune *tune, const struct zf_tune_grid *grid, int64_t factor) {
  *tune = (struct zf_tune){.factor = factor};
  int64_t count;
  int rc = zf_tune_grid_size(&count, grid);
  if (rc) return rc;
  if (!(tune->candidate = zf_calloc(count, sizeof *tune->candidate))) return ZF_ENOMEM;
  tune->count = count;
  tune->rungs = zf_tune_rungs(count, factor);
  for (int64_t i = 0; i < count; i++)
    if ((rc = new_candidate(&tune->candidate[i], grid, i))) return rc;
  return 0;
}

void zf_tune_free(struct zf_tune *tune) {
  for (int64_t i = 0; i < tune->count; i++) {
    free(tune->candidate[i].name);
    free(tune->candidate[i].words);
  }
  free(tune->candidate);
  *tune = (struct zf_tune){0};
}

/* --- scores --- */

void zf_tune_enter(struct zf_tune *tune, int64_t index, const struct zf_metrics *metrics, int best,
                   int64_t steps) {
  struct zf_tune_candidate *candidate = &tune->candidate[index];
  const double by[] = {[ZF_BEST_LOSS] = -metrics->loss,
                       [ZF_BEST_ACCURACY] = metrics->accuracy,
                       [ZF_BEST_F1] = metrics->f1,
                       [ZF_BEST_OBJECTIVE] = -metrics->objective};
  struct zf_tune_score score = {by[best], metrics->loss};
  candidate->steps = steps;
  if (!isfinite(score.metric) || !isfinite(score.loss)) {
    candidate->fate = ZF_TUNE_DIVERGED;
    return;
  }
  int first = candidate->rung == 0;
  candidate->rung = tune->rung + 1;
  candidate->score = score;
  candidate->accuracy = metrics->accuracy;
  candidate->f1 = metrics->f1;
  if (!first && !zf_tune_better(&score, &candidate->best)) return;
  candidate->best = score;
  candidate->best_step = steps;
}

int64_t zf_tune_left(int64_t *index, const struct zf_tune *tune) {
  int64_t count = 0;
  for (int64_t i = 0; i < tune->count; i++)
    if (tune->candidate[i].fate == ZF_TUNE_IN) index[count++] = i;
  return count;
}

int64_t zf_tune_places(const struct zf_tune *tune) {
  int64_t places = tune->count;
  for (int i = 0; i < tune->rung; i++) places = zf_tune_survivors(places, tune->factor);
  return places;
}

void zf_tune_end_rung(struct zf_tune *tune) {
  int64_t index[ZF_TUNE_MAX], count = zf_tune_left(index, tune);
  struct zf_tune_score score[ZF_TUNE_MAX];
  for (int64_t i = 0; i < tune->count; i++) score[i] = tune->candidate[i].score;
  zf_tune_rank(index, score, count);
  tune->rung++;
  for (int64_t i = zf_tune_places(tune); i < count; i++)
    tune->candidate[index[i]].fate = ZF_TUNE_OUT;
}

/* 1 where `left` stands before `right`. */
static int stands_before(const struct zf_tune_candidate *left,
                         const struct zf_tune_candidate *right) {
  if ((left->fate == ZF_TUNE_IN) != (right->fate == ZF_TUNE_IN)) return left->fate == ZF_TUNE_IN;
  if (left->rung != right->rung) return left->rung > right->rung;
  if (left->fate != right->fate) return left->fate < right->fate;
  return left->rung > 0 && zf_tune_better(&left->score, &right->score);
}

void zf_tune_standing(int64_t *index, const struct zf_tune *tune) {
  for (int64_t i = 0; i < tune->count; i++) {
    int64_t place = i;
    for (; place > 0; place--) {
      if (!stands_before(&tune->candidate[i], &tune->candidate[index[place - 1]])) break;
      index[place] = index[place - 1];
    }
    index[place] = i;
  }
}

int64_t zf_tune_revive(struct zf_tune *tune) {
  int64_t standing[ZF_TUNE_MAX], revived = 0, places = zf_tune_places(tune);
  zf_tune_standing(standing, tune);
  for (int64_t i = 0; i < tune->count && revived < places; i++) {
    struct zf_tune_candidate *candidate = &tune->candidate[standing[i]];
    if (candidate->fate != ZF_TUNE_OUT) continue;
    candidate->fate = ZF_TUNE_IN;
    revived++;
  }
  return revived;
}

/* --- tune.json --- */

static const char *const fates[] = {"in", "out", "diverged"};

/* JSON has no NaN. */
static json_t *number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *candidate_json(const struct zf_tune_candidate *candidate) {
  json_t *object =
      json_pack("{s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:f}", "name", candidate->name, "settings",
                candidate->words, "fate", fates[candidate->fate], "rung", candidate->rung, "steps",
                (json_int_t)candidate->steps, "seconds", candidate->seconds, "step_seconds",
                candidate->cost.step, "once_seconds", candidate->cost.once);
  if (!object || !candidate->rung) return object;
  json_object_set_new(object, "metric", number(candidate->score.metric));
  json_object_set_new(object, "loss", number(candidate->score.loss));
  json_object_set_new(object, "accuracy", number(candidate->accuracy));
  json_object_set_new(object, "f1", number(candidate->f1));
  json_object_set_new(object, "best_metric", number(candidate->best.metric));
  json_object_set_new(object, "best_loss", number(candidate->best.loss));
  json_object_set_new(object, "best_step", json_integer(candidate->best_step));
  return object;
}

static json_t *state_json(const struct zf_tune *tune) {
  json_t *steps = json_array(), *candidates = json_array();
  for (int i = 0; i < tune->rungs; i++) json_array_append_new(steps, json_integer(tune->steps[i]));
  for (int64_t i = 0; i < tune->count; i++)
    json_array_append_new(candidates, candidate_json(&tune->candidate[i]));
  return json_pack("{s:s, s:s, s:i, s:o, s:f, s:o}", "zoft", ZF_VERSION, "identity", tune->identity,
                   "rung", tune->rung, "steps", steps, "seconds", tune->seconds, "candidates",
                   candidates);
}

int zf_tune_save(const struct zf_tune *tune, const char *path) {
  int64_t before = zf_json_failures();
  json_t *object = state_json(tune);
  char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
  int rc = zf_json_check_memory(text ? 0 : ZF_ENOMEM, before, path);
  json_decref(object);
  if (!rc) rc = zf_write_file(path, text, strlen(text));
  free(text);
  return rc;
}

static int damaged(const char *path, const char *what) {
  return zf_error(ZF_EINVALID, "%s: %s: the file was changed, remove it to begin again", path,
                  what);
}

static int read_fate(enum zf_tune_fate *fate, const json_t *object, const char *path) {
  const char *word = "";
  int rc = zf_json_str(&word, object, "fate", path);
  for (int i = 0; !rc && i < 3; i++)
    if (!strcmp(word, fates[i])) {
      *fate = (enum zf_tune_fate)i;
      return 0;
    }
  return rc ? rc : damaged(path, "'fate' is none of in, out and diverged");
}

static int read_scores(struct zf_tune_candidate *candidate, const json_t *object,
                       const char *path) {
  candidate->score = candidate->best = (struct zf_tune_score){NAN, NAN};
  const struct {
    const char *key;
    double *value;
  } numbers[] = {{"metric", &candidate->score.metric},     {"loss", &candidate->score.loss},
                 {"accuracy", &candidate->accuracy},       {"f1", &candidate->f1},
                 {"best_metric", &candidate->best.metric}, {"best_loss", &candidate->best.loss}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    int rc = zf_json_num(numbers[i].value, object, numbers[i].key, path);
    if (rc) return rc;
  }
  if (!isfinite(candidate->score.metric) || !isfinite(candidate->best.metric))
    return damaged(path, "a score is missing");
  return zf_json_int(&candidate->best_step, object, "best_step", path);
}

static int read_candidate(struct zf_tune_candidate *candidate, const struct zf_tune *tune,
                          const json_t *object, const char *path) {
  int64_t rung = 0;
  const char *words = "";
  int rc = zf_json_str(&words, object, "settings", path);
  if (!rc && strcmp(words, candidate->words) != 0) rc = damaged(path, "a candidate is another one");
  if (!rc) rc = read_fate(&candidate->fate, object, path);
  if (!rc) rc = zf_json_int(&rung, object, "rung", path);
  if (!rc) rc = zf_json_int(&candidate->steps, object, "steps", path);
  if (!rc) rc = zf_json_num(&candidate->seconds, object, "seconds", path);
  if (!rc) rc = zf_json_num(&candidate->cost.step, object, "step_seconds", path);
  if (!rc) rc = zf_json_num(&candidate->cost.once, object, "once_seconds", path);
  if (!rc && (rung < 0 || rung > tune->rungs)) rc = damaged(path, "a rung is out of range");
  candidate->rung = (int)rung;
  return !rc && rung ? read_scores(candidate, object, path) : rc;
}

static int read_plan(struct zf_tune *tune, const json_t *object, const char *path) {
  const json_t *steps = json_object_get(object, "steps");
  int64_t rung = 0;
  int rc = zf_json_int(&rung, object, "rung", path);
  if (!rc) rc = zf_json_num(&tune->seconds, object, "seconds", path);
  if (rc) return rc;
  if (rung < 0 || rung > tune->rungs || json_array_size(steps) != (size_t)tune->rungs)
    return damaged(path, "the rungs are others");
  tune->rung = (int)rung;
  for (int i = 0; i < tune->rungs; i++) {
    const json_t *value = json_array_get(steps, (size_t)i);
    tune->steps[i] = json_integer_value(value);
    int planned = i <= tune->rung - 1, rises = !i || tune->steps[i] > tune->steps[i - 1];
    if (!json_is_integer(value) || tune->steps[i] < 0 || (planned && !rises))
      return damaged(path, "'steps' does not rise");
  }
  return 0;
}

static int read_state(struct zf_tune *tune, const json_t *object, const char *path) {
  const char *identity = "";
  const json_t *candidates = json_object_get(object, "candidates");
  int rc = zf_json_str(&identity, object, "identity", path);
  if (rc) return rc;
  if (strcmp(identity, tune->identity) != 0)
    return zf_error(ZF_EUSAGE,
                    "%s is of a race with another config, grid or budget: repeat that command to "
                    "go on with it, or name another directory with -o",
                    path);
  if (json_array_size(candidates) != (size_t)tune->count)
    return damaged(path, "the candidates are others");
  if ((rc = read_plan(tune, object, path))) return rc;
  for (int64_t i = 0; i < tune->count; i++)
    if ((rc = read_candidate(&tune->candidate[i], tune, json_array_get(candidates, (size_t)i),
                             path)))
      return rc;
  return 0;
}

int zf_tune_load(struct zf_tune *tune, const char *path) {
  json_t *object;
  int rc = zf_json_load(&object, path);
  if (rc) return rc;
  rc = read_state(tune, object, path);
  json_decref(object);
  return rc;
}
