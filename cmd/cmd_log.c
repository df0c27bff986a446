/* zoft log: shows the steps of a log, sums them up, and finds where two logs differ. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "load.h"
#include "train/history.h"
#include "ui.h"

static const char *const end_name[] = {"whole", "torn", "damaged"};

static int is_central(const struct zf_history *history) {
  return history->head.zo.difference == ZF_DIFFERENCE_CENTRAL;
}

static double loss_of(const struct zf_history *history, int64_t step) {
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  double loss, square;
  zf_zo_summary(&history->head.zo, &estimate, &loss, &square);
  return loss;
}

static double gradient_of(const struct zf_history *history, int64_t step, int probe) {
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  return zf_zo_gradient(&history->head.zo, &estimate, probe);
}

/* |g|; by example the root of the sum of the examples' g^2: the length of a probe's part of the estimate,
 * in lengths of z. */
static double length_of(const struct zf_history *history, int64_t step, int probe) {
  int64_t examples = history->head.zo.examples;
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  double sum = 0;
  if (!examples) return fabs(gradient_of(history, step, probe));
  for (int64_t i = probe * examples; i < (probe + 1) * examples; i++)
    sum += estimate.term[i].coefficient * estimate.term[i].coefficient;
  return sqrt(sum);
}

/* --- show --- */

/* The g's of a probe's examples, where they have directions of their own. */
static void show_examples(const struct zf_history *history, int64_t step, int probe) {
  int64_t examples = history->head.zo.examples;
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  if (!examples) return;
  printf(", \"examples\": [");
  for (int64_t i = 0; i < examples; i++)
    printf("%s%.9g", i ? ", " : "", estimate.term[probe * examples + i].coefficient);
  printf("]");
}

static void show_probes_json(const struct zf_history *history, int64_t step) {
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  printf("\"probes\": [");
  for (int i = 0; i < history->head.zo.probes; i++) {
    printf("%s{\"plus\": %.17g, \"minus\": %.17g, \"g\": %.17g", i ? ", " : "",
           estimate.loss[2 * i], estimate.loss[2 * i + 1], gradient_of(history, step, i));
    show_examples(history, step, i);
    printf("}");
  }
}

static void show_terms_json(const struct zf_history *history, int64_t step) {
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  int64_t losses = zf_zo_losses(&history->head.zo), terms = zf_zo_terms(&history->head.zo);
  int printed = 0;
  printf("\"losses\": [");
  for (int64_t i = 0; i < losses; i++) printf("%s%.17g", i ? ", " : "", estimate.loss[i]);
  printf("], \"terms\": [");
  for (int64_t i = 0; i < terms; i++) {
    const struct zf_zo_term *term = &estimate.term[i];
    if (term->coefficient == 0) continue;
    printf("%s{\"step\": %u, \"probe\": %u, \"coefficient\": %.17g", printed++ ? ", " : "",
           term->step, term->probe, term->coefficient);
    if (term->example) printf(", \"example\": %u", term->example - 1u);
    printf("}");
  }
}

static void show_json(const struct zf_history *history, int64_t step) {
  const struct zf_log_rec *record = &history->step[step];
  printf("{\"step\": %u, \"seed\": %llu, \"lr\": %.17g, \"batch\": %llu, ", record->step,
         (unsigned long long)record->seed, record->lr, (unsigned long long)record->batch);
  (is_central(history) ? show_probes_json : show_terms_json)(history, step);
  printf("]}\n");
}

/* The losses and the coefficients of a step. */
static void show_terms(const struct zf_history *history, int64_t step) {
  const struct zf_log_rec *record = &history->step[step];
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  int64_t losses = zf_zo_losses(&history->head.zo);
  printf("%8u  loss", record->step);
  for (int64_t i = 0; i < losses; i++) printf(" %.6f", estimate.loss[i]);
  printf("  g");
  for (int i = 0; i < history->head.zo.probes; i++) printf(" %.6g", gradient_of(history, step, i));
  printf("  lr %g  seed %llu  batch %llu\n", record->lr, (unsigned long long)record->seed,
         (unsigned long long)record->batch);
}

static void show_step(const struct zf_history *history, int64_t step) {
  const struct zf_log_rec *record = &history->step[step];
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1);
  if (!is_central(history)) {
    show_terms(history, step);
    return;
  }
  for (int i = 0; i < history->head.zo.probes; i++) {
    printf("%8u  loss %.6f / %.6f  g %12.6g  lr %g  seed %llu  batch %llu", record->step,
           estimate.loss[2 * i], estimate.loss[2 * i + 1], gradient_of(history, step, i),
           record->lr, (unsigned long long)record->seed, (unsigned long long)record->batch);
    if (history->head.zo.examples) printf("  by example %.6g", length_of(history, step, i));
    printf("\n");
  }
}

static void show_mark(const struct zf_history_entry *mark) {
  if (zc_common.json)
    printf("{\"step\": %lld, \"weights\": \"%s\"}\n", (long long)mark->step, mark->hash);
  else
    printf("%8lld  weights %s\n", (long long)mark->step, mark->hash);
}

static int show(const struct zf_history *history, const struct zf_history *other) {
  int64_t mark = 0;
  (void)other;
  for (int64_t i = 0; i < history->count; i++) {
    (zc_common.json ? show_json : show_step)(history, i);
    while (mark < history->nmark && history->mark[mark].step == i + 1)
      show_mark(&history->mark[mark++]);
  }
  return 0;
}

/* --- stats --- */

struct show_stats {
  double first, last; /* mean loss of the first and last tenth */
  double g_mean, g_rms, g_max;
  double lr_min, lr_max, path; /* path: sum of lr |g|, a distance in lengths of z */
  int64_t positive, seeds;     /* estimates with g > 0; stretches of steps with one seed */
};

static double mean_loss(const struct zf_history *history, int64_t from, int64_t to) {
  double sum = 0;
  for (int64_t i = from; i < to; i++) sum += loss_of(history, i);
  return to > from ? sum / (double)(to - from) : NAN;
}

static struct show_stats measure_log(const struct zf_history *history) {
  struct show_stats stats = {.lr_min = INFINITY};
  int64_t tenth = history->count / 10 ? history->count / 10 : history->count;
  int nprobe = history->head.zo.probes;
  stats.first = mean_loss(history, 0, tenth);
  stats.last = mean_loss(history, history->count - tenth, history->count);
  for (int64_t i = 0; i < history->count; i++) {
    const struct zf_log_rec *record = &history->step[i];
    stats.lr_min = fmin(stats.lr_min, record->lr);
    stats.lr_max = fmax(stats.lr_max, record->lr);
    stats.seeds += !i || record->seed != record[-1].seed;
    for (int probe = 0; probe < nprobe; probe++) {
      double g = gradient_of(history, i, probe), count = (double)(history->count * nprobe);
      stats.g_mean += g / count;
      stats.g_rms += g * g / count;
      stats.g_max = fmax(stats.g_max, fabs(g));
      stats.positive += g > 0;
      stats.path += record->lr * length_of(history, i, probe) / nprobe;
    }
  }
  stats.g_rms = sqrt(stats.g_rms);
  return stats;
}

static void show_rule(const struct zf_zo *zo) {
  if (zo->examples)
    printf("directions  one for each of %lld examples of a step\n", (long long)zo->examples);
  if (zo->form != ZF_FORM_DENSE || zo->difference != ZF_DIFFERENCE_CENTRAL)
    printf("method      directions %s, difference %s\n", zf_zo_form_name(zo),
           zf_zo_difference_name(zo));
  if (zo->rule != ZF_RULE_SGD)
    printf("rule        %s, betas %g and %g, eps %g\n", zf_zo_rule_name(zo), zo->beta1, zo->beta2,
           zo->adam_eps);
}

static void stats_text(const struct zf_history *history, const struct show_stats *stats) {
  int nprobe = history->head.zo.probes;
  printf("steps       %lld, %d probe%s each; the log ends %s\n", (long long)history->count, nprobe,
         nprobe > 1 ? "s" : "", end_name[history->end]);
  printf("bytes       %lld a step\n", (long long)zf_log_record_size(&history->head.zo));
  show_rule(&history->head.zo);
  if (history->count == 0) return;
  printf("loss        %.4f in the first tenth, %.4f in the last\n", stats->first, stats->last);
  printf("g           mean %.4g, root mean square %.4g, largest %.4g, %.1f %% positive\n",
         stats->g_mean, stats->g_rms, stats->g_max,
         100.0 * (double)stats->positive / (double)(history->count * nprobe));
  printf("lr          %g to %g; sum of lr |g| %.4g\n", stats->lr_min, stats->lr_max, stats->path);
  printf("seeds       %lld\n", (long long)stats->seeds);
  printf("hashes      %lld\n", (long long)history->nmark);
  if (history->result >= 0)
    printf("result      the weights of step %lld\n", (long long)history->result);
  if (history->problem[0]) printf("problem     %s\n", history->problem);
}

static int show_stats(const struct zf_history *history, const struct zf_history *other) {
  struct show_stats stats = measure_log(history);
  (void)other;
  if (!zc_common.json) {
    stats_text(history, &stats);
    return 0;
  }
  printf(
      "{\"steps\": %lld, \"probes\": %d, \"record_bytes\": %lld, \"end\": \"%s\", \"marks\": %lld, "
      "\"result\": %lld",
      (long long)history->count, history->head.zo.probes,
      (long long)zf_log_record_size(&history->head.zo), end_name[history->end],
      (long long)history->nmark, (long long)history->result);
  if (history->head.zo.examples)
    printf(", \"examples\": %lld", (long long)history->head.zo.examples);
  if (history->head.zo.rule != ZF_RULE_SGD)
    printf(", \"rule\": \"%s\"", zf_zo_rule_name(&history->head.zo));
  if (!is_central(history))
    printf(", \"difference\": \"%s\"", zf_zo_difference_name(&history->head.zo));
  if (history->head.zo.form != ZF_FORM_DENSE)
    printf(", \"directions\": \"%s\"", zf_zo_form_name(&history->head.zo));
  if (history->count)
    printf(", \"loss_first\": %.17g, \"loss_last\": %.17g, \"g_mean\": %.17g, \"g_rms\": %.17g, "
           "\"g_max\": %.17g, \"g_positive\": %lld, \"lr_min\": %.17g, \"lr_max\": %.17g, "
           "\"path\": %.17g, \"seeds\": %lld",
           stats.first, stats.last, stats.g_mean, stats.g_rms, stats.g_max,
           (long long)stats.positive, stats.lr_min, stats.lr_max, stats.path,
           (long long)stats.seeds);
  printf("}\n");
  return 0;
}

/* --- diff --- */

/* The first field of a step that differs; NULL: none. */
static const char *step_differs(const struct zf_history *history, const struct zf_history *other,
                                int64_t step) {
  const struct zf_log_rec *record = &history->step[step], *other_record = &other->step[step];
  struct zf_zo_estimate estimate = zf_history_estimate(history, step + 1),
                        other_estimate = zf_history_estimate(other, step + 1);
  int64_t losses = zf_zo_losses(&history->head.zo), terms = zf_zo_terms(&history->head.zo);
  if (record->seed != other_record->seed) return "seed";
  if (record->batch != other_record->batch) return "batch";
  if (history->head.zo.probes != other->head.zo.probes) return "probes";
  if (losses != zf_zo_losses(&other->head.zo)) return "difference";
  for (int64_t i = 0; i < losses; i++)
    if (estimate.loss[i] != other_estimate.loss[i]) return "loss";
  if (terms != zf_zo_terms(&other->head.zo)) return "terms";
  for (int64_t i = 0; i < terms; i++)
    if (memcmp(&estimate.term[i], &other_estimate.term[i], sizeof estimate.term[i]) != 0)
      return history->head.zo.examples ? "g of an example" : "g";
  return record->lr != other_record->lr ? "lr" : NULL;
}

static int heads_differ(struct zf_buf *out, const struct zf_log_head *head,
                        const struct zf_log_head *other) {
  const struct {
    const char *name;
    int same;
  } parts[] = {
      {"base model", !strcmp(head->base, other->base)},
      {"data", !strcmp(head->data, other->data)},
      {"tokenizer and config.json", !strcmp(head->tok, other->tok)},
      {"settings", !strcmp(head->config, other->config)},
      {"compute", !strcmp(head->kernels, other->kernels)},
      {"trainable", !strcmp(head->globs, other->globs)},
      {"trained_dtype", head->trained == other->trained},
      {"zo_eps", head->zo.eps == other->zo.eps},
      {"seed", head->zo.seed == other->zo.seed},
      {"zo_direction", head->zo.direction == other->zo.direction},
      {"directions by example", head->zo.examples == other->zo.examples},
      {"zo_form", head->zo.form == other->zo.form && head->zo.rank == other->zo.rank &&
                      head->zo.refresh == other->zo.refresh && head->zo.keep == other->zo.keep &&
                      head->zo.cone == other->zo.cone},
      {"zo_difference",
       head->zo.difference == other->zo.difference && head->zo.alpha == other->zo.alpha},
      {"zo_clip", head->zo.clip == other->zo.clip},
      {"update rule", head->zo.rule == other->zo.rule && head->zo.beta1 == other->zo.beta1 &&
                          head->zo.beta2 == other->zo.beta2 &&
                          head->zo.adam_eps == other->zo.adam_eps &&
                          head->zo.window == other->zo.window && head->zo.trust == other->zo.trust},
      {"weight_decay", head->decay == other->decay},
  };
  int count = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!parts[i].same)
      zf_buf_printf(out, "%s%s%s%s", count++ ? ", " : "", zc_common.json ? "\"" : "", parts[i].name,
                    zc_common.json ? "\"" : "");
  return count;
}

static int diff(const struct zf_history *history, const struct zf_history *other) {
  struct zf_buf heads = {0};
  const char *what = NULL;
  int64_t same = 0, common = history->count < other->count ? history->count : other->count;
  int differ = heads_differ(&heads, &history->head, &other->head);
  while (same < common && !(what = step_differs(history, other, same))) same++;
  const char *text = heads.data ? heads.data : "";
  if (zc_common.json) {
    printf("{\"steps\": [%lld, %lld], \"same\": %lld, \"header\": [%s]", (long long)history->count,
           (long long)other->count, (long long)same, text);
    if (what) printf(", \"first\": %lld, \"what\": \"%s\"", (long long)same + 1, what);
    printf("}\n");
  } else {
    printf("header      %s\n", differ ? text : "the same");
    if (what)
      printf("steps       part at step %lld: its %s differs\n", (long long)same + 1, what);
    else if (history->count != other->count)
      printf("steps       the same up to %lld, where one of them ends\n", (long long)common);
    else
      printf("steps       all %lld are the same\n", (long long)common);
  }
  if (what && !zc_common.json) {
    show_step(history, same);
    show_step(other, same);
  }
  int rc = heads.failed ? ZF_ENOMEM : 0;
  zf_buf_free(&heads);
  return rc;
}

static const struct {
  const char *name;
  int runs;
  int (*run)(const struct zf_history *history, const struct zf_history *other);
} actions[] = {{"show", 1, show}, {"stats", 1, show_stats}, {"diff", 2, diff}};
enum { ACTIONS = sizeof actions / sizeof *actions };

static int load(struct zf_history *history, const char *run) {
  char *path;
  int rc = zc_log_path(&path, run);
  if (!rc) rc = zf_history_load(history, path);
  free(path);
  return rc;
}

/* A damaged log is shown up to its bad record, and is an error. */
static int check_end(const struct zf_history *history) {
  if (history->end == ZF_LOG_TORN) zc_warn("%s", history->problem);
  return history->end == ZF_LOG_DAMAGED ? zf_error(ZF_EINVALID, "%s", history->problem) : 0;
}

static int run_action(int action, struct zf_history history[2], const char **words) {
  for (int i = 0; i < actions[action].runs; i++) {
    int rc = load(&history[i], words[i]);
    if (rc) return rc;
  }
  int rc = actions[action].run(&history[0], &history[1]);
  for (int i = 0; i < actions[action].runs; i++)
    if (!rc) rc = check_end(&history[i]);
  return rc;
}

static int run(const struct zc_args *args) {
  struct zf_history history[2] = {{0}};
  int action = 0;
  while (args->nword && action < ACTIONS && strcmp(actions[action].name, args->word[0]) != 0)
    action++;
  if (!args->nword || action == ACTIONS || args->nset || args->nword != 1 + actions[action].runs)
    return zf_error(ZF_EUSAGE, "expected: zoft log show RUN, stats RUN or diff RUN RUN2");
  int rc = run_action(action, history, args->word + 1);
  zf_history_free(&history[0]);
  zf_history_free(&history[1]);
  return rc;
}

const struct zc_command zc_log = {
    "log",
    "steps of a run: show, stats, diff",
    "zoft log show|stats RUN, zoft log diff RUN RUN2",
    "RUN is a run directory or a steps.log. show prints a line for each step (both losses, "
    "projected\n"
    "gradient, learning rate); stats sums the steps up; diff finds the first step that differs\n"
    "between two runs.\n\n"
    "Examples:\n"
    "  zoft log stats out/demo\n"
    "  zoft log show out/demo --json\n"
    "  zoft log diff out/a out/b\n",
    NULL,
    run,
};
