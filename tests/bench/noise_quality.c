/* build/noise_quality: is the noise what rng/noise.h says it is?  Moments, tails, distribution and
 * independence over 2^30 values of 64 keys, each beside what is expected of independent draws and
 * the deviation in standard deviations of the estimate.  Exit status 1 when one is beyond 5.
 *
 *   build/noise_quality --words 64 | dieharder -a -g 200      raw words to a test suite
 *
 * Variances under the hypothesis: of z^k the moment of order 2k less the square of that of order k;
 * of products of independent values 1, and of their squares too, as (z^2 - 1) / sqrt 2 has variance
 * 1; of counts the binomial; of chi-square 2 for each degree of freedom. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "bench/sheet.h"
#include "cmd/opt.h"
#include "cmd/ui.h"
#include "kern/kern_internal.h"

enum {
  KEYS = 64,
  PIECE = 1 << 13,
  MOMENTS = 6,
  TAILS = 5,
  LAGS = 6,
  FAR = 64,        /* the largest lag */
  SCALE = 1 << 18, /* bins of the histogram in a unit of z */
  EDGE = 8,        /* it covers -EDGE .. EDGE */
  BINS = 2 * EDGE * SCALE,
  COARSE = 1 << 12, /* bins that are put together for chi-square */
  CHANGES = 8,
  BITS = 32
};

static const double beyond[TAILS] = {3, 4, 5, 5.5, 6};
static const int lags[LAGS] = {1, 2, 16, 32, 48, 64};

static int64_t log2_values = 30, words;
static int words_given;
static int failed;

/* Seeds, steps, probes and parameters, far apart and next to one another. */
static struct zf_noise key_of(int i) {
  static const uint64_t seed[4] = {0, 42, 43, 0xfedcba9876543210u};
  static const uint32_t step[4] = {0, 1, 1000, 0xffffffff};
  static const uint32_t param[4] = {0, 1, 77, 0xffffff};
  return (struct zf_noise){.seed = seed[i & 3],
                           .step = step[i >> 2 & 3],
                           .probe = (uint16_t)(i >> 4 & 1),
                           .param = param[i >> 4 & 3]};
}

/* Another key, close to `k` in one respect. */
static struct zf_noise changed(struct zf_noise k, int what) {
  k.seed += what == 0;
  k.seed += what == 1 ? (uint64_t)1 << 32 : 0;
  k.step += what == 2;
  k.step ^= what == 3 ? 1u << 31 : 0;
  k.probe = (uint16_t)(k.probe + (what == 4));
  k.probe = (uint16_t)(k.probe ^ (what == 5 ? 1 << 15 : 0));
  k.param ^= what == 6;
  k.use = what == 7 ? ZF_USE_INIT : k.use;
  return k;
}

static const char *const change_name[CHANGES] = {
    "seeds, the next",  "seeds, high word", "steps, the next",      "steps, high bit",
    "probes, the next", "probes, high bit", "parameters, the next", "uses"};

/* --- what is seen --- */

struct sums {
  double moment[MOMENTS + 1], lag[LAGS], lag2[LAGS];
  double tail[TAILS];
};

static void add_moments(struct sums *s, const float *z, int64_t n) {
  double m[MOMENTS + 1] = {0};
  for (int64_t i = 0; i < n; i++) {
    double a = (double)z[i], p = a;
    for (int k = 1; k <= MOMENTS; k++, p *= a) m[k] += p;
    if (fabs(a) > 3)
      for (int k = 0; k < TAILS; k++) s->tail[k] += fabs(a) > beyond[k];
  }
  for (int k = 1; k <= MOMENTS; k++) s->moment[k] += m[k];
}

/* Sums of products of neighbours: of values, and of squares less 1. */
static void add_products(double *sum, double *sum2, const float *a, const float *b, int64_t n) {
  double s = 0, s2 = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = (double)a[i], y = (double)b[i];
    s += x * y;
    s2 += (x * x - 1) * (y * y - 1);
  }
  *sum += s;
  *sum2 += 0.5 * s2;
}

static void add_bins(uint32_t *bin, const float *z, int64_t n) {
  for (int64_t i = 0; i < n; i++) bin[(int)(((double)z[i] + EDGE) * SCALE)]++;
}

static void look(struct sums *s, uint32_t *bin, const struct zf_noise *k, int64_t n) {
  float z[PIECE + FAR];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t part = n - at < PIECE ? n - at : PIECE;
    zf_kern.noise(z, k, at, part + FAR);
    add_moments(s, z, part);
    for (int j = 0; j < LAGS; j++) add_products(&s->lag[j], &s->lag2[j], z, z + lags[j], part);
    if (bin) add_bins(bin, z, part);
  }
}

static void look_across(double *sum, double *sum2, const struct zf_noise *k, int what, int64_t n) {
  struct zf_noise other = changed(*k, what);
  float a[PIECE], b[PIECE];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t part = n - at < PIECE ? n - at : PIECE;
    zf_kern.noise(a, k, at, part);
    zf_kern.noise(b, &other, at, part);
    add_products(sum, sum2, a, b, part);
  }
}

static void count_bits(double count[BITS], const struct zf_noise *k, int64_t n) {
  uint32_t w[PIECE], ones[BITS];
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t part = n - at < PIECE ? n - at : PIECE;
    zf_kern.random_words(w, k, at, part);
    memset(ones, 0, sizeof ones);
    for (int64_t i = 0; i < part; i++)
      for (int b = 0; b < BITS; b++) ones[b] += w[i] >> b & 1;
    for (int b = 0; b < BITS; b++) count[b] += ones[b];
  }
}

/* --- beside what is expected --- */

static void begin(void) {
  static const struct sheet_column columns[] = {{"what", "what", NULL},
                                                {"values", "values", "%.0f"},
                                                {"expected", "expected", "%.7g"},
                                                {"seen", "seen", "%.7g"},
                                                {"deviation", "sigmas", "%.2f"},
                                                {"p", "p", "%.3g"},
                                                {0}};
  sheet_begin(columns);
}

static void row(const char *what, double n, double expected, double seen, double sigmas, double p) {
  sheet_text(what);
  sheet_number(n);
  sheet_number(expected);
  sheet_number(seen);
  sheet_number(sigmas);
  sheet_number(p);
  if (!(fabs(sigmas) <= 5)) failed = 1;
}

static void normal_row(const char *what, double n, double expected, double seen, double deviation) {
  double sigmas = (seen - expected) / deviation;
  row(what, n, expected, seen, sigmas, erfc(fabs(sigmas) / sqrt(2)));
}

static void moment_rows(const struct sums *s, double n) {
  static const double mean[7] = {1, 0, 1, 0, 3, 0, 15}, var[7] = {0, 1, 2, 15, 96, 945, 10170};
  for (int k = 1; k <= MOMENTS; k++) {
    char name[64];
    snprintf(name, sizeof name, "mean of z^%d", k);
    normal_row(name, n, mean[k], s->moment[k] / n, sqrt(var[k] / n));
  }
}

static void tail_rows(const struct sums *s, double n) {
  for (int k = 0; k < TAILS; k++) {
    char name[64];
    double p = erfc(beyond[k] / sqrt(2));
    snprintf(name, sizeof name, "values beyond %g sigma", beyond[k]);
    normal_row(name, n, n * p, s->tail[k], sqrt(n * p * (1 - p)));
  }
}

/* P(sqrt(n) D > k) of Kolmogorov and Smirnov, for n without bound. */
static double kolmogorov(double k) {
  double sum = 0;
  if (k < 0.2) return 1;
  for (int i = 1; i <= 100; i++) sum += (i % 2 ? 2 : -2) * exp(-2.0 * i * i * k * k);
  return sum < 1 ? sum : 1;
}

/* The deviation of a normal value that is as rare. */
static double sigmas_of(double p) {
  double lo = 0, hi = 40;
  for (int i = 0; i < 100; i++) {
    double mid = 0.5 * (lo + hi);
    *(erfc(mid / sqrt(2)) > p ? &lo : &hi) = mid;
  }
  return lo;
}

static double phi(double x) {
  return 0.5 * erfc(-x / sqrt(2));
}

/* Inside a bin both functions grow by at most what lies in it: D is at most that at the edges and
 * the larger of the two. */
static void ks_row(const uint32_t *bin, double n) {
  double D = 0, below = 0, last = 0;
  for (int64_t b = 0; b < BINS; b++) {
    double upto = phi((double)(b + 1) / SCALE - EDGE), part = bin[b] / n;
    double most = fmax(upto - last, part);
    D = fmax(D, fabs(below + part - upto) + most);
    below += part;
    last = upto;
  }
  double k = sqrt(n) * D, p = kolmogorov(k);
  row("Kolmogorov-Smirnov, sqrt(n) D", n, 0.8687, k, sigmas_of(p), p);
}

/* Bins of 1/64; those where fewer than 100 are expected are put together with their neighbours. */
static void chi_row(const uint32_t *bin, double n) {
  double chi = 0, seen = 0, from = 0, d = -1;
  for (int64_t b = 0; b < BINS; b += COARSE) {
    double upto = phi((double)(b + COARSE) / SCALE - EDGE);
    for (int i = 0; i < COARSE; i++) seen += bin[b + i];
    int rest = n * (1 - upto) < 100; /* what is beyond joins this one */
    double expect = n * ((rest ? 1 : upto) - from);
    if (expect < 100 && !rest) continue;
    for (int64_t i = b + COARSE; rest && i < BINS; i++) seen += bin[i];
    chi += (seen - expect) * (seen - expect) / expect;
    d++;
    if (rest) break;
    from = upto, seen = 0;
  }
  normal_row("chi-square of bins of 1/64", n, d, chi, sqrt(2 * d));
}

static void lag_rows(const char *of, const struct sums *s, double n, int squares) {
  for (int j = 0; j < LAGS; j++) {
    char name[64];
    snprintf(name, sizeof name, "correlation%s at lag %d", of, lags[j]);
    normal_row(name, n, 0, s->lag[j] / n, sqrt(1 / n));
    snprintf(name, sizeof name, "  of squares");
    if (squares) normal_row(name, n, 0, s->lag2[j] / n, sqrt(1 / n));
  }
}

/* --- all of it --- */

/* Keys in turns over threads, sums in the order of keys. */
static void look_at(struct sums *sum, uint32_t *bin, int64_t each, int kind) {
  static struct sums s[KEYS];
  memset(s, 0, sizeof s);
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < KEYS; i++) {
    struct zf_noise k = key_of(i);
    uint32_t *own = bin ? calloc(BINS, sizeof *own) : NULL;
    if (bin && !own) abort();
    k.kind = kind;
    look(&s[i], own, &k, each);
#pragma omp critical
    for (int64_t b = 0; own && b < BINS; b++) bin[b] += own[b];
    free(own);
  }
  memset(sum, 0, sizeof *sum);
  for (int i = 0; i < KEYS; i++)
    for (size_t j = 0; j < sizeof *sum / sizeof(double); j++)
      ((double *)(void *)sum)[j] += ((const double *)(const void *)&s[i])[j];
}

static void across_rows(int64_t each) {
  for (int what = 0; what < CHANGES; what++) {
    double s[KEYS][2] = {{0}}, n = (double)each * KEYS, sum[2] = {0};
    char name[64];
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < KEYS; i++) {
      struct zf_noise k = key_of(i);
      look_across(&s[i][0], &s[i][1], &k, what, each);
    }
    for (int i = 0; i < KEYS; i++) sum[0] += s[i][0], sum[1] += s[i][1];
    snprintf(name, sizeof name, "correlation of %s", change_name[what]);
    normal_row(name, n, 0, sum[0] / n, sqrt(1 / n));
    normal_row("  of squares", n, 0, sum[1] / n, sqrt(1 / n));
  }
}

static void bit_rows(int64_t each) {
  double count[KEYS][BITS] = {{0}}, n = (double)each * KEYS, worst = 0;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < KEYS; i++) {
    struct zf_noise k = key_of(i);
    count_bits(count[i], &k, each);
  }
  for (int b = 0; b < BITS; b++) {
    double c = 0;
    for (int i = 0; i < KEYS; i++) c += count[i][b];
    if (fabs(c - n / 2) > fabs(worst)) worst = c - n / 2;
  }
  normal_row("ones in a bit of raw words, the worst of 32", n, n / 2, n / 2 + worst, sqrt(n) / 2);
}

static int print_words(void) {
  uint32_t w[PIECE];
  struct zf_noise k = {.seed = 42};
  int64_t each = words ? words : PIECE, at = 0;
  for (;;) {
    zf_kern.random_words(w, &k, at, each);
    if (fwrite(w, sizeof *w, (size_t)each, stdout) != (size_t)each) return 0; /* the reader left */
    if (words)
      k.step++;
    else
      at += each;
  }
}

static int run(void) {
  if (words_given) return print_words();
  int64_t each = ((int64_t)1 << log2_values) / KEYS;
  double n = (double)each * KEYS;
  struct sums s;
  uint32_t *bin = calloc(BINS, sizeof *bin);
  if (!bin) return zf_error(ZF_ENOMEM, "out of memory");
  begin();
  look_at(&s, bin, each, ZF_GAUSSIAN);
  moment_rows(&s, n);
  tail_rows(&s, n);
  ks_row(bin, n);
  chi_row(bin, n);
  lag_rows("", &s, n, 1);
  across_rows(each / 4);
  look_at(&s, NULL, each, ZF_RADEMACHER);
  normal_row("mean of signs", n, 0, s.moment[1] / n, sqrt(1 / n));
  lag_rows(" of signs", &s, n, 0);
  bit_rows(each / 16);
  json_t *rows = sheet_end();
  if (zc_common.json) {
    json_dumpf(rows, stdout, JSON_REAL_PRECISION(9));
    printf("\n");
  }
  json_decref(rows);
  free(bin);
  return failed ? zf_error(ZF_EFAIL, "a deviation is beyond 5 sigmas") : 0;
}

static const struct zc_opt options[] = {
    {"values", 0, ZC_INT, "LOG2", "2^LOG2 values (30)", &log2_values, .min = 14, .max = 36},
    {"words", 0, ZC_INT, "N",
     "print raw words without end: N of a step, then the next (0: one step)", &words, .max = PIECE,
     .given = &words_given},
    {0},
};

static const struct zc_command command = {
    "noise_quality",
    "is the noise what it is said to be?",
    "noise_quality [options]",
    "Moments, tails, distribution, independence of Gaussian and Rademacher noise, with the\n"
    "deviation of each in standard deviations; exit status 1 when one is beyond 5.\n\n"
    "Examples:\n"
    "  noise_quality --values 26\n"
    "  noise_quality --words 64 | dieharder -a -g 200\n",
    options,
    NULL,
};

int main(int argc, char **argv) {
  struct zc_args args;
  int rc = zc_parse_alone(&args, &command, argc, argv);
  if (!rc) rc = zf_cpu_check();
  if (!rc && zc_common.help) {
    zc_help(&command);
  } else if (!rc) {
    zf_kern_init(zf_cpu_flags());
    zf_kern_threads(zf_cpu_cores());
    rc = run();
  }
  zc_args_free(&args);
  return rc ? zc_fail(rc) : 0;
}
