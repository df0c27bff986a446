/* zoft log: what is in a step log, and where two part. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "load.h"
#include "train/history.h"
#include "ui.h"

static const char *const end_name[] = {"whole", "torn", "damaged"};

static const struct zf_zo_probe *probes(const struct zf_history *h, int64_t i) {
  return h->probe + i * h->head.zo.probes;
}

static double loss_of(const struct zf_history *h, int64_t i) {
  double sum = 0;
  for (int p = 0; p < h->head.zo.probes; p++)
    sum += 0.5 * (probes(h, i)[p].plus + probes(h, i)[p].minus);
  return sum / h->head.zo.probes;
}

/* --- show --- */

static void show_json(const struct zf_history *h, int64_t i) {
  const struct zf_log_rec *r = &h->step[i];
  printf("{\"step\": %u, \"seed\": %llu, \"lr\": %.17g, \"batch\": %llu, \"probes\": [", r->step,
         (unsigned long long)r->seed, r->lr, (unsigned long long)r->batch);
  for (int p = 0; p < h->head.zo.probes; p++)
    printf("%s{\"plus\": %.17g, \"minus\": %.17g, \"g\": %.17g}", p ? ", " : "",
           probes(h, i)[p].plus, probes(h, i)[p].minus, probes(h, i)[p].projected_gradient);
  printf("]}\n");
}

static void show_step(const struct zf_history *h, int64_t i) {
  const struct zf_log_rec *r = &h->step[i];
  for (int p = 0; p < h->head.zo.probes; p++) {
    const struct zf_zo_probe *b = &probes(h, i)[p];
    printf("%8u  loss %.6f / %.6f  g %12.6g  lr %g  seed %llu  batch %llu\n", r->step, b->plus,
           b->minus, b->projected_gradient, r->lr, (unsigned long long)r->seed,
           (unsigned long long)r->batch);
  }
}

static void show_mark(const struct zf_history_mark_entry *k) {
  if (zc_common.json)
    printf("{\"step\": %lld, \"weights\": \"%s\"}\n", (long long)k->step, k->hash);
  else
    printf("%8lld  weights %s\n", (long long)k->step, k->hash);
}

static int show(const struct zf_history *h, const struct zf_history *other) {
  (void)other;
  for (int64_t i = 0, m = 0; i < h->count; i++) {
    (zc_common.json ? show_json : show_step)(h, i);
    for (; m < h->nmark && h->mark[m].step == i + 1; m++) show_mark(&h->mark[m]);
  }
  return 0;
}

/* --- stats --- */

struct stats {
  double first, last; /* mean loss of the first and last tenth */
  double g_mean, g_rms, g_max;
  double lr_min, lr_max, path; /* path: sum of lr |g|: how far, in lengths of z */
  int64_t positive, seeds;     /* steps with g > 0; runs of one seed */
};

static double mean_loss(const struct zf_history *h, int64_t from, int64_t to) {
  double sum = 0;
  for (int64_t i = from; i < to; i++) sum += loss_of(h, i);
  return to > from ? sum / (double)(to - from) : NAN;
}

static struct stats measure(const struct zf_history *h) {
  struct stats s = {.lr_min = INFINITY};
  int64_t tenth = h->count / 10 ? h->count / 10 : h->count;
  int q = h->head.zo.probes;
  s.first = mean_loss(h, 0, tenth);
  s.last = mean_loss(h, h->count - tenth, h->count);
  for (int64_t i = 0; i < h->count; i++) {
    const struct zf_log_rec *r = &h->step[i];
    s.lr_min = fmin(s.lr_min, r->lr);
    s.lr_max = fmax(s.lr_max, r->lr);
    s.seeds += !i || r->seed != r[-1].seed;
    for (int p = 0; p < q; p++) {
      double g = probes(h, i)[p].projected_gradient, n = (double)(h->count * q);
      s.g_mean += g / n;
      s.g_rms += g * g / n;
      s.g_max = fmax(s.g_max, fabs(g));
      s.positive += g > 0;
      s.path += r->lr * fabs(g) / q;
    }
  }
  s.g_rms = sqrt(s.g_rms);
  return s;
}

static void stats_text(const struct zf_history *h, const struct stats *s) {
  int q = h->head.zo.probes;
  printf("steps       %lld, %d probe%s each; the log ends %s\n", (long long)h->count, q,
         q > 1 ? "s" : "", end_name[h->end]);
  printf("bytes       %lld a step\n", (long long)zf_log_record_size(q));
  if (h->count == 0) return;
  printf("loss        %.4f in the first tenth, %.4f in the last\n", s->first, s->last);
  printf("g           mean %.4g, root mean square %.4g, largest %.4g, %.1f %% positive\n",
         s->g_mean, s->g_rms, s->g_max, 100.0 * (double)s->positive / (double)(h->count * q));
  printf("lr          %g to %g; sum of lr |g| %.4g\n", s->lr_min, s->lr_max, s->path);
  printf("seeds       %lld\n", (long long)s->seeds);
  printf("hashes      %lld\n", (long long)h->nmark);
  if (h->result >= 0) printf("result      the weights of step %lld\n", (long long)h->result);
  if (h->problem[0]) printf("problem     %s\n", h->problem);
}

static int stats(const struct zf_history *h, const struct zf_history *other) {
  struct stats s = measure(h);
  (void)other;
  if (!zc_common.json) {
    stats_text(h, &s);
    return 0;
  }
  printf(
      "{\"steps\": %lld, \"probes\": %d, \"record_bytes\": %lld, \"end\": \"%s\", \"marks\": %lld, "
      "\"result\": %lld",
      (long long)h->count, h->head.zo.probes, (long long)zf_log_record_size(h->head.zo.probes),
      end_name[h->end], (long long)h->nmark, (long long)h->result);
  if (h->count)
    printf(", \"loss_first\": %.17g, \"loss_last\": %.17g, \"g_mean\": %.17g, \"g_rms\": %.17g, "
           "\"g_max\": %.17g, \"g_positive\": %lld, \"lr_min\": %.17g, \"lr_max\": %.17g, "
           "\"path\": %.17g, \"seeds\": %lld",
           s.first, s.last, s.g_mean, s.g_rms, s.g_max, (long long)s.positive, s.lr_min, s.lr_max,
           s.path, (long long)s.seeds);
  printf("}\n");
  return 0;
}

/* --- diff --- */

/* What of step i differs; NULL: nothing. */
static const char *step_differs(const struct zf_history *a, const struct zf_history *b, int64_t i) {
  const struct zf_log_rec *x = &a->step[i], *y = &b->step[i];
  if (x->seed != y->seed) return "seed";
  if (x->batch != y->batch) return "batch";
  if (a->head.zo.probes != b->head.zo.probes) return "probes";
  for (int p = 0; p < a->head.zo.probes; p++) {
    const struct zf_zo_probe *u = &probes(a, i)[p], *v = &probes(b, i)[p];
    if (u->plus != v->plus || u->minus != v->minus) return "loss";
    if (u->projected_gradient != v->projected_gradient) return "g";
  }
  return x->lr != y->lr ? "lr" : NULL;
}

static int heads_differ(struct zf_buf *out, const struct zf_log_head *a,
                        const struct zf_log_head *b) {
  const struct {
    const char *name;
    int same;
  } part[] = {
      {"base model", !strcmp(a->base, b->base)},
      {"data", !strcmp(a->data, b->data)},
      {"tokenizer and config.json", !strcmp(a->tok, b->tok)},
      {"settings", !strcmp(a->config, b->config)},
      {"compute", !strcmp(a->kernels, b->kernels)},
      {"trainable", !strcmp(a->globs, b->globs)},
      {"trained_dtype", a->trained == b->trained},
      {"zo_eps", a->zo.eps == b->zo.eps},
      {"seed", a->zo.seed == b->zo.seed},
      {"zo_direction", a->zo.direction == b->zo.direction},
      {"weight_decay", a->decay == b->decay},
  };
  int n = 0;
  for (size_t i = 0; i < sizeof part / sizeof *part; i++)
    if (!part[i].same)
      zf_buf_printf(out, "%s%s%s%s", n++ ? ", " : "", zc_common.json ? "\"" : "", part[i].name,
                    zc_common.json ? "\"" : "");
  return n;
}

static int diff(const struct zf_history *a, const struct zf_history *b) {
  struct zf_buf heads = {0};
  const char *what = NULL;
  int64_t i = 0, n = a->count < b->count ? a->count : b->count;
  int differ = heads_differ(&heads, &a->head, &b->head);
  while (i < n && !(what = step_differs(a, b, i))) i++;
  const char *text = heads.data ? heads.data : "";
  if (zc_common.json) {
    printf("{\"steps\": [%lld, %lld], \"same\": %lld, \"header\": [%s]", (long long)a->count,
           (long long)b->count, (long long)i, text);
    if (what) printf(", \"first\": %lld, \"what\": \"%s\"", (long long)i + 1, what);
    printf("}\n");
  } else {
    printf("header      %s\n", differ ? text : "the same");
    if (what)
      printf("steps       part at step %lld: its %s differs\n", (long long)i + 1, what);
    else if (a->count != b->count)
      printf("steps       the same up to %lld, where one of them ends\n", (long long)n);
    else
      printf("steps       all %lld are the same\n", (long long)n);
  }
  if (what && !zc_common.json) {
    show_step(a, i);
    show_step(b, i);
  }
  int rc = heads.failed ? ZF_ENOMEM : 0;
  zf_buf_free(&heads);
  return rc;
}

static const struct {
  const char *name;
  int runs;
  int (*run)(const struct zf_history *h, const struct zf_history *other);
} actions[] = {{"show", 1, show}, {"stats", 1, stats}, {"diff", 2, diff}};
enum { ACTIONS = sizeof actions / sizeof *actions };

static int load(struct zf_history *h, const char *run) {
  char *path;
  int rc = zc_log_path(&path, run);
  if (!rc) rc = zf_history_load(h, path);
  free(path);
  return rc;
}

/* A log with a bad record is shown up to it, and is an error all the same. */
static int say_end(const struct zf_history *h) {
  if (h->end == ZF_LOG_TORN) zc_warn("%s", h->problem);
  return h->end == ZF_LOG_DAMAGED ? zf_error(ZF_EINVALID, "%s", h->problem) : 0;
}

static int run(const struct zc_args *a) {
  struct zf_history h[2] = {{0}};
  int i = 0, rc = 0;
  while (a->nword && i < ACTIONS && strcmp(actions[i].name, a->word[0]) != 0) i++;
  if (!a->nword || i == ACTIONS || a->nset || a->nword != 1 + actions[i].runs)
    return zf_error(ZF_EUSAGE, "expected: zoft log show RUN, stats RUN or diff RUN RUN2");
  for (int k = 0; !rc && k < actions[i].runs; k++) rc = load(&h[k], a->word[1 + k]);
  if (!rc) rc = actions[i].run(&h[0], &h[1]);
  for (int k = 0; !rc && k < actions[i].runs; k++) rc = say_end(&h[k]);
  zf_history_free(&h[0]);
  zf_history_free(&h[1]);
  return rc;
}

const struct zc_command zc_log = {
    "log",
    "steps of a run: show, stats, diff",
    "zoft log show|stats RUN, zoft log diff RUN RUN2",
    "RUN is a run directory or a steps.log. show prints a line a step (losses at both sides,\n"
    "projected gradient, learning rate); stats sums them up; diff finds the first step where two\n"
    "runs part.\n\n"
    "Examples:\n"
    "  zoft log stats out/demo\n"
    "  zoft log show out/demo --json\n"
    "  zoft log diff out/a out/b\n",
    NULL,
    run,
};
