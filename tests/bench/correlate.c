/* How well the projected gradient of a faster arithmetic follows that of f32.
 *
 *   build/correlate CONFIG [key=value ...] compute=bf16 [zo_eps=...]
 *
 * Opens the config's run twice, in f32 and as the words say, and estimates g along the same
 * PROBES directions on the same batches, the weights staying what they are.  Prints Pearson's
 * correlation, the slope, and how often the signs agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/err.h"
#include "train/run.h"

enum { PROBES = 300 };

static void need(int rc) {
  if (!rc) return;
  fprintf(stderr, "correlate: %s\n", zf_error_message());
  exit(1);
}

static struct zf_run *open_run(int argc, char **argv, const char *last) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *conf;
  struct zf_run *r;
  need(zf_conf_new(&conf, tables, 1));
  need(zf_conf_file(conf, argv[1]));
  for (int i = 2; i < argc; i++) need(zf_conf_word(conf, argv[i]));
  if (last) need(zf_conf_word(conf, last));
  need(zf_conf_check(conf));
  need(zf_run_open(&r, conf, ZF_WANT_TRAIN));
  return r; /* the conf lives as long as the program */
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s CONFIG [key=value ...]\n", argv[0]);
    return 2;
  }
  zf_kern_init(zf_cpu_flags());
  struct zf_run *exact = open_run(argc, argv, "compute=f32"), *fast = open_run(argc, argv, NULL);
  double xx = 0, yy = 0, xy = 0;
  int agree = 0;
  for (int i = 0; i < PROBES; i++) {
    need(zf_run_estimate(exact, i + 1, 0));
    need(zf_run_estimate(fast, i + 1, 0));
    double a = zf_zo_gradient(&exact->settings.zo, &exact->estimate, 0),
           b = zf_zo_gradient(&fast->settings.zo, &fast->estimate, 0);
    xx += a * a;
    yy += b * b;
    xy += a * b;
    agree += (a > 0) == (b > 0);
  }
  /* g is as often above as below zero: no mean is taken out. */
  printf("%s against f32, eps %g, %d probes: correlation %.4f, slope %.4f, same sign %.1f %%\n",
         zf_compute_name(fast->settings.compute), fast->settings.zo.eps, PROBES, xy / sqrt(xx * yy),
         xy / xx, 100.0 * agree / PROBES);
  zf_run_free(exact);
  zf_run_free(fast);
  return 0;
}
