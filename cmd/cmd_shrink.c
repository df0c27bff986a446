/* zoft shrink: makes a model smaller in several ways, measures each, and recommends one. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "shrink_internal.h"
#include "ui.h"

static const char *out_dir, *size_word, *text_file, *check_file, *config, *metric = "accuracy",
                                                                          *compute = "f32";
static int64_t windows = 64, repair;
static int keep;

static const struct zc_opt options[] = {
    {"out", 'o', ZC_STR, "DIR", "the directory of the results", &out_dir},
    {"size", 0, ZC_STR, "SIZE", "the largest file that is allowed, such as 100M", &size_word},
    {"text", 0, ZC_STR, "FILE", "the calibration text", &text_file},
    {"check", 0, ZC_STR, "FILE", "the text of the comparison with the original (--text)",
     &check_file},
    {"config", 0, ZC_STR, "FILE", "a task, as of zoft eval; its test or dev set decides", &config},
    {"metric", 0, ZC_STR, "NAME", "of the task: accuracy, f1, loss, ... (accuracy)", &metric},
    {"repair", 0, ZC_INT, "N", "train the best file itself N steps on the task (none)", &repair,
     .min = 1, .max = ZC_UNBOUNDED},
    {"windows", 0, ZC_INT, "N", "windows of the calibration text at most (64)", &windows, .min = 1,
     .max = ZC_UNBOUNDED},
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16", &compute},
    {"keep", 0, ZC_FLAG, NULL, "keep the files of all candidates", &keep},
    {0},
};

/* Types from the largest to the smallest; below five bits another method than rounding may pay. */
static const struct {
  const char *type, *method;
} ladder[] = {{"q8_0", "rtn"},    {"q6_k", "rtn"},    {"q5_k_m", "rtn"}, {"q4_k_m", "gptq"},
              {"iq4_nl", "gptq"}, {"q3_k_m", "gptq"}, {"q2_k", "gptq"}};
enum { LADDER = sizeof ladder / sizeof *ladder };

/* Models that are quantised: the original, and what cuts leave of it. */
static const struct {
  const char *name, *about;
  const char *cut[4]; /* options of zoft prune */
} bases[] = {
    {"whole", "", {NULL}},
    {"mlp75", "3/4 of the MLP, ", {"--mlp", "0.75", NULL}},
    {"mlp50", "half of the MLP, ", {"--mlp", "0.5", NULL}},
};
enum { BASES = sizeof bases / sizeof *bases };

/* --- candidates --- */

static int run_command(struct zc_shrink *job, struct zf_buf *out, const char *const *argv) {
  struct zf_proc proc;
  out->len = 0;
  int rc = zf_proc_self(&proc, out, argv);
  if (rc) return rc;
  if (zc_signal()) return zf_error(ZF_ESTOPPED, "interrupted");
  job->seconds += proc.seconds;
  if (!proc.status) return 0;
  struct zf_buf line = {0};
  for (const char *const *word = argv; *word; word++)
    zf_buf_printf(&line, "%s%s", word == argv ? "" : " ", *word);
  rc =
      zf_error(ZF_EFAIL, "'%s' ended with status %d", line.data ? line.data : argv[1], proc.status);
  zf_buf_free(&line);
  return rc;
}

static struct zc_candidate *new_candidate(struct zc_shrink *job, const char *name,
                                          const char *about, const char *how) {
  struct zc_candidate *candidate = &job->candidate[job->count++];
  *candidate = (struct zc_candidate){.accuracy = NAN, .interval = NAN};
  candidate->path = zf_asprintf("%s/%s.gguf", job->out, name);
  candidate->label = zf_asprintf("%s%s", about, how);
  return candidate->path && candidate->label ? candidate : NULL;
}

/* Quantises `base` to `type`, or to the allowed size where that is NULL. */
static int quantize(struct zc_shrink *job, const char *base, const char *path, const char *type,
                    const char *method) {
  char count[24], size[32];
  snprintf(count, sizeof count, "%lld", (long long)windows);
  snprintf(size, sizeof size, "%lld", (long long)job->size);
  const char *argv[32] = {"zoft",      "quantize", base,        path,     "--quiet",
                          "--json",    "--check",  "none",      "--text", text_file,
                          "--windows", count,      "--compute", compute};
  int n = 14;
  argv[n++] = type ? "--type" : "--size";
  argv[n++] = type ? type : size;
  argv[n++] = "--method";
  argv[n++] = method;
  if (!strcmp(method, "rtn") && type) {
    argv[n++] = "--imatrix";
    argv[n++] = "auto";
  }
  return run_command(job, &job->said, argv);
}

/* One candidate of a base; *fits: 0 where its file is too large, and it is gone again. */
static int try_type(struct zc_shrink *job, const char *name, const char *about, const char *base,
                    const char *type, const char *method, int *fits) {
  char *file = zf_asprintf("%s-%s-%s", name, type, method),
       *how = zf_asprintf("%s %s", type, method);
  struct zc_candidate *candidate = file && how ? new_candidate(job, file, about, how) : NULL;
  free(file);
  free(how);
  if (!candidate) return ZF_ENOMEM;
  zc_info("making %s: %s", candidate->path, candidate->label);
  int rc = quantize(job, base, candidate->path, type, method);
  if (rc) return rc;
  candidate->bytes = zf_file_size(candidate->path);
  *fits = candidate->bytes <= job->size;
  if (*fits) return 0;
  unlink(candidate->path);
  zc_candidate_free(candidate);
  job->count--;
  return 0;
}

/* The largest type of the ladder whose file is small enough; types that are known to be too large are not
 * tried.  Whether GPTQ or importance serves better depends on the model: both are tried. */
static int climb_down(struct zc_shrink *job, const char *name, const char *about, const char *base,
                      int64_t parameters) {
  static const double bits[LADDER] = {8.5, 6.6, 5.7, 4.9, 4.5, 3.9, 3.0};
  for (int i = 0; i < LADDER; i++) {
    int fits = 0;
    if (bits[i] / 8 * (double)parameters > (double)job->size && i + 1 < LADDER) continue;
    int rc = try_type(job, name, about, base, ladder[i].type, "rtn", &fits);
    if (!rc && fits && strcmp(ladder[i].method, "rtn") != 0)
      rc = try_type(job, name, about, base, ladder[i].type, ladder[i].method, &fits);
    if (rc || fits) return rc;
  }
  return 0;
}

/* Types by sensitivity. */
static int add_mixed(struct zc_shrink *job) {
  struct zc_candidate *candidate =
      new_candidate(job, "whole-mixed", "", "types by sensitivity, gptq");
  if (!candidate) return ZF_ENOMEM;
  zc_info("making %s: %s", candidate->path, candidate->label);
  int rc = quantize(job, job->source, candidate->path, NULL, "gptq");
  if (rc == ZF_EFAIL) { /* even the smallest types are too large */
    zf_error_clear();
    zc_candidate_free(candidate);
    job->count--;
    return 0;
  }
  if (!rc) candidate->bytes = zf_file_size(candidate->path);
  return rc;
}

static int make_base(struct zc_shrink *job, int number, char **path) {
  char count[24];
  snprintf(count, sizeof count, "%lld", (long long)windows);
  *path = zf_asprintf("%s/%s", job->out, bases[number].name);
  if (!*path) return ZF_ENOMEM;
  zc_info("making %s: %s", *path, bases[number].about);
  const char *argv[] = {"zoft",
                        "prune",
                        job->source,
                        *path,
                        bases[number].cut[0],
                        bases[number].cut[1],
                        "--text",
                        text_file,
                        "--windows",
                        count,
                        "--compute",
                        compute,
                        "--check",
                        "none",
                        "--quiet",
                        "--json",
                        NULL};
  return run_command(job, &job->said, argv);
}

static int make_candidates(struct zc_shrink *job) {
  int rc = climb_down(job, bases[0].name, bases[0].about, job->source, job->parameters);
  if (!rc) rc = add_mixed(job);
  for (int i = 1; i < BASES && !rc; i++) {
    char *path = NULL;
    rc = make_base(job, i, &path);
    int64_t parameters = rc ? 0 : zc_shrink_number(&job->said, "parameters");
    if (!rc) rc = climb_down(job, bases[i].name, bases[i].about, path, parameters);
    if (path && !keep) zc_remove_directory(path);
    free(path);
  }
  if (!rc && !job->count)
    rc = zf_error(ZF_EUSAGE, "%s: no way to %s was found", job->source, size_word);
  return rc;
}

/* --- measures --- */

static int measure(struct zc_shrink *job, struct zc_candidate *candidate) {
  const char *compare[] = {"zoft",      "compare",
                           job->source, candidate->path,
                           "--text",    check_file ? check_file : text_file,
                           "--windows", "8",
                           "--compute", compute,
                           "--quiet",   "--json",
                           NULL};
  const char *generate[] = {"zoft", "generate", candidate->path, "--prompt", "The",
                            "-n",   "32",       "--quiet",       "--json",   NULL};
  zc_info("measuring %s", candidate->label);
  int rc = run_command(job, &job->said, compare);
  if (!rc) {
    candidate->kl = zc_shrink_real(&job->said, "kl");
    candidate->perplexity = zc_shrink_real(&job->said, "perplexity");
    job->perplexity = zc_shrink_real(&job->said, "perplexity_reference");
    rc = run_command(job, &job->said, generate);
  }
  if (!rc) {
    candidate->speed = zc_shrink_real(&job->said, "tokens_per_s");
    candidate->memory = (int64_t)zc_shrink_real(&job->said, "peak_rss_bytes");
  }
  return rc || !config ? rc : zc_shrink_score(job, candidate, run_command);
}

static int measure_all(struct zc_shrink *job) {
  int rc = 0;
  for (int i = 0; i < job->count && !rc; i++) rc = measure(job, &job->candidate[i]);
  if (rc || !config) return rc;
  job->original.path = zf_strdup(job->source);
  return job->original.path ? zc_shrink_score(job, &job->original, run_command) : ZF_ENOMEM;
}

/* Trains the scales and norms of the best candidate on the task: one more candidate. */
static int repair_best(struct zc_shrink *job) {
  const struct zc_candidate *best = &job->candidate[zc_shrink_best(job)];
  const char *argv[64] = {"zoft", "train", config};
  char *how = zf_asprintf("%s, %lld steps", best->label, (long long)repair);
  char *base = zf_asprintf("base_model=%s", best->path);
  char *out = zf_asprintf("output_dir=%s/repaired", job->out);
  char *steps = zf_asprintf("max_steps=%lld", (long long)repair);
  char *arithmetic = zf_asprintf("compute=%s", compute);
  struct zc_candidate *repaired = how && base && out && steps && arithmetic
                                      ? new_candidate(job, "repaired/model", "", how)
                                      : NULL;
  int n = 3;
  for (int i = 0; i < job->sets && n < 50; i++) argv[n++] = job->set[i];
  argv[n++] = base;
  argv[n++] = out;
  argv[n++] = steps;
  argv[n++] = arithmetic;
  argv[n++] = "--quiet";
  argv[n++] = "--json";
  if (repaired) zc_info("making %s: %s", repaired->path, how);
  int rc = repaired ? run_command(job, &job->said, argv) : ZF_ENOMEM;
  if (!rc) {
    repaired->bytes = zf_file_size(repaired->path);
    rc = measure(job, repaired);
  }
  free(how);
  free(base);
  free(out);
  free(steps);
  free(arithmetic);
  return rc;
}

static void remove_others(const struct zc_shrink *job, int best) {
  for (int i = 0; i < job->count && !keep; i++)
    if (i != best && !strstr(job->candidate[i].path, "/repaired/")) unlink(job->candidate[i].path);
}

/* --- the command --- */

static int read_options(struct zc_shrink *job, const struct zc_args *args) {
  if (args->nword != 1 || !out_dir || !size_word || !text_file)
    return zf_error(ZF_EUSAGE, "expected: zoft shrink MODEL --out DIR --size SIZE --text FILE");
  if (repair && !config)
    return zf_error(ZF_EUSAGE, "--repair needs --config, the task that is trained");
  if (args->nset && !config)
    return zf_error(ZF_EUSAGE, "'%s': settings need --config", args->set[0]);
  job->source = args->word[0];
  job->out = out_dir;
  job->config = config;
  job->metric = metric;
  job->set = args->set;
  job->sets = args->nset;
  int rc = zc_bytes(&job->size, "size", size_word);
  if (!rc && zf_exists(out_dir) && zf_dir_empty(out_dir) != 1)
    rc = zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", out_dir);
  return rc ? rc : zf_mkdirs(out_dir);
}

static int read_model(struct zc_shrink *job) {
  struct zf_model_opts shapes = {.dtype = -1, .shapes = 1};
  struct zf_model *model = NULL;
  char *dir = NULL;
  int rc = zf_model_find(&dir, job->source);
  if (!rc) rc = zf_model_open(&model, dir, &shapes);
  if (!rc) job->parameters = zf_params_count(&model->params, 0);
  zf_model_free(model);
  free(dir);
  return rc;
}

static int run(const struct zc_args *args) {
  struct zc_shrink job = {.original = {.accuracy = NAN, .interval = NAN}};
  int rc = read_options(&job, args), best = 0;
  zc_catch_signals();
  if (!rc) rc = read_model(&job);
  if (!rc) rc = make_candidates(&job);
  if (!rc) rc = measure_all(&job);
  if (!rc && repair) rc = repair_best(&job);
  if (!rc) {
    best = zc_shrink_best(&job);
    remove_others(&job, best);
    zc_shrink_report(&job, best);
  }
  for (int i = 0; i < job.count; i++) zc_candidate_free(&job.candidate[i]);
  zc_candidate_free(&job.original);
  zf_buf_free(&job.said);
  return rc;
}

const struct zc_command zc_shrink = {
    "shrink",
    "make a model smaller in several ways, measure each, recommend one",
    "zoft shrink MODEL --out DIR --size SIZE --text FILE [--config TASK] [key=value ...] [options]",
    "Quantises the model, and smaller models that cuts leave of it, to the largest types that the "
    "size\n"
    "allows, and to types chosen by sensitivity. Each is compared with the original on a text and, "
    "with\n"
    "--config, scored on a task; the table shows size, memory, speed and quality. The best one "
    "stays "
    "in\n"
    "DIR: by the task's metric, of equals the one with the least KL divergence. --repair trains it "
    "on the\n"
    "task, its scales and norms, without changing its size.\n\n"
    "Examples:\n"
    "  zoft shrink models/base --out out/small --size 60M --text wiki.txt\n"
    "  zoft shrink out/sst2 --out out/phone --size 3M --text reviews.txt --config "
    "configs/sst2.yaml\n",
    options,
    run,
};
