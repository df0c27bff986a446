#include "train/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"

enum { STEPS_MAX = 1 << 30 };

/* --- planning --- */

int64_t zf_tune_survivors(int64_t count, int64_t factor) {
  return (count + factor - 1) / factor;
}

int zf_tune_rungs(int64_t count, int64_t factor) {
  int rungs = 1;
  while ((count = zf_tune_survivors(count, factor)) > 1) rungs++;
  return rungs;
}

int zf_tune_steps(int64_t *steps, int rungs, int64_t factor, int64_t last) {
  int64_t least = 1;
  for (int i = 1; i < rungs; i++) least *= factor;
  if (last < least)
    return zf_error(ZF_EUSAGE, "%lld steps are too few for %d rungs: expected %lld or more",
                    (long long)last, rungs, (long long)least);
  for (int i = 0; i < rungs; i++, least /= factor) steps[i] = last / least;
  return 0;
}

int64_t zf_tune_more_steps(double seconds, int rungs, const struct zf_tune_cost *cost,
                           int64_t count) {
  double step = 0, once = 0;
  for (int64_t i = 0; i < count; i++) {
    step += cost[i].step;
    once += cost[i].once;
  }
  for (int share = rungs; share > 0; share--) {
    double steps = (seconds / share - once) / step;
    if (steps >= 1) return steps < STEPS_MAX ? (int64_t)steps : STEPS_MAX;
  }
  return 0;
}

int zf_tune_seconds(double *out, const char *text) {
  static const struct {
    const char *name;
    double seconds;
  } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  char *end;
  double value = strtod(text, &end);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (end == text || strcmp(end, units[i].name) != 0) continue;
    *out = value * units[i].seconds;
    if (isfinite(*out) && *out > 0) return 0;
  }
  return zf_error(ZF_EUSAGE, "expected a time such as 90, 10m or 2h, found '%s'", text);
}

int zf_tune_better(const struct zf_tune_score *left, const struct zf_tune_score *right) {
  return left->metric > right->metric ||
         (left->metric == right->metric && left->loss < right->loss);
}

void zf_tune_rank(int64_t *index, const struct zf_tune_score *score, int64_t count) {
  for (int64_t i = 1; i < count; i++) {
    int64_t moved = index[i], place = i;
    for (; place > 0; place--) {
      if (!zf_tune_better(&score[moved], &score[index[place - 1]])) break;
      index[place] = index[place - 1];
    }
    index[place] = moved;
  }
}

/* --- the grid --- */

/* The length of the value at the start of `text`: up to a comma outside of brackets and quotes. */
static size_t value_length(const char *text) {
  int depth = 0;
  char quote = 0;
  size_t len = 0;
  for (; text[len]; len++) {
    char c = text[len];
    if (quote) {
      if (c == quote) quote = 0;
      continue;
    }
    if (c == ',' && depth <= 0) break;
    if (c == '\'' || c == '"') quote = c;
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
  }
  return len;
}

static int add_value(struct zf_tune_axis *axis, const char *text, size_t len) {
  if (!len) return zf_error(ZF_EUSAGE, "--grid %s: a value is empty", axis->key);
  char **values = zf_grow(axis->value, axis->count, &axis->cap, sizeof *values);
  if (!values) return ZF_ENOMEM;
  axis->value = values;
  char *value = zf_strndup(text, len);
  if (!value) return ZF_ENOMEM;
  axis->value[axis->count++] = value;
  for (int64_t i = 0; i + 1 < axis->count; i++)
    if (!strcmp(axis->value[i], value))
      return zf_error(ZF_EUSAGE, "--grid %s: the value '%s' stands twice", axis->key, value);
  return 0;
}

static int add_values(struct zf_tune_axis *axis, const char *text) {
  for (;; text++) {
    size_t len = value_length(text);
    int rc = add_value(axis, text, len);
    if (rc) return rc;
    text += len;
    if (!*text) return 0;
  }
}

int zf_tune_grid_add(struct zf_tune_grid *grid, const char *text) {
  const char *equals = strchr(text, '=');
  if (!equals || equals == text)
    return zf_error(ZF_EUSAGE, "--grid expects KEY=VALUE,VALUE, found '%s'", text);
  struct zf_tune_axis *axes = zf_grow(grid->axis, grid->count, &grid->cap, sizeof *axes);
  if (!axes) return ZF_ENOMEM;
  grid->axis = axes;
  struct zf_tune_axis *axis = &axes[grid->count];
  *axis = (struct zf_tune_axis){.key = zf_strndup(text, (size_t)(equals - text))};
  if (!axis->key) return ZF_ENOMEM;
  grid->count++;
  for (int64_t i = 0; i + 1 < grid->count; i++)
    if (!strcmp(axes[i].key, axis->key))
      return zf_error(ZF_EUSAGE, "--grid %s stands twice: name all its values in one", axis->key);
  return add_values(axis, equals + 1);
}

int zf_tune_grid_rates(struct zf_tune_grid *grid, double rate) {
  struct zf_buf text = {0};
  for (int i = 0; i < ZF_TUNE_RATES; i++) {
    double value = rate * pow(10, 0.5 * (i - ZF_TUNE_RATES / 2));
    zf_buf_printf(&text, "%s%.3g", i ? "," : "learning_rate=", value);
  }
  int rc = zf_buf_ok(&text);
  if (!rc) rc = zf_tune_grid_add(grid, text.data);
  zf_buf_free(&text);
  return rc;
}

int zf_tune_grid_size(int64_t *count, const struct zf_tune_grid *grid) {
  *count = 1;
  for (int64_t i = 0; i < grid->count; i++) {
    *count *= grid->axis[i].count;
    if (*count > ZF_TUNE_MAX)
      return zf_error(ZF_EUSAGE, "--grid: more than %d candidates", ZF_TUNE_MAX);
  }
  return 0;
}

char *zf_tune_grid_word(const struct zf_tune_grid *grid, int64_t index, int64_t axis) {
  for (int64_t i = grid->count - 1; i > axis; i--) index /= grid->axis[i].count;
  const struct zf_tune_axis *own = &grid->axis[axis];
  return zf_asprintf("%s=%s", own->key, own->value[index % own->count]);
}

void zf_tune_grid_free(struct zf_tune_grid *grid) {
  for (int64_t i = 0; i < grid->count; i++) {
    for (int64_t j = 0; j < grid->axis[i].count; j++) free(grid->axis[i].value[j]);
    free(grid->axis[i].value);
    free(grid->axis[i].key);
  }
  free(grid->axis);
  *grid = (struct zf_tune_grid){0};
}
