/* What `zoft shrink` measures and shows. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "shrink_internal.h"
#include "ui.h"

void zc_candidate_free(struct zc_candidate *candidate) {
  free(candidate->path);
  free(candidate->label);
  candidate->path = candidate->label = NULL;
}

int64_t zc_file_bytes(const char *path) {
  struct stat st;
  return stat(path, &st) ? -1 : (int64_t)st.st_size;
}

void zc_remove_directory(const char *path) {
  DIR *stream = opendir(path);
  if (!stream) return;
  for (struct dirent *entry; (entry = readdir(stream));) {
    char *name = zf_path_join(path, entry->d_name);
    if (name && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) unlink(name);
    free(name);
  }
  closedir(stream);
  rmdir(path);
}

/* --- JSON of processes --- */

double zc_shrink_real(const struct zf_buf *said, const char *key) {
  json_t *root = NULL;
  double number = NAN;
  if (said->data && !zf_json_parse(&root, said->data, said->len, "result")) {
    const json_t *value = json_object_get(root, key);
    if (json_is_number(value)) number = json_number_value(value);
  }
  json_decref(root);
  return number;
}

int64_t zc_shrink_number(const struct zf_buf *said, const char *key) {
  double number = zc_shrink_real(said, key);
  return isnan(number) ? 0 : (int64_t)number;
}

/* The metric on the test set, or where there is none on the dev set, and half its 95 % interval where it is a
 * share of examples. */
static int read_score(const struct zc_shrink *job, struct zc_candidate *candidate) {
  json_t *root = NULL;
  int rc = zf_json_parse(&root, job->said.data, job->said.len, "zoft eval");
  if (rc) return rc;
  const json_t *set = json_object_get(root, "test");
  if (!set) set = json_object_get(root, "dev");
  const json_t *value = json_object_get(set, job->metric);
  double examples = json_number_value(json_object_get(set, "examples"));
  if (!json_is_number(value))
    rc = zf_error(ZF_EUSAGE, "--metric: %s gives no '%s'", job->config, job->metric);
  candidate->accuracy = json_number_value(value);
  if (!strcmp(job->metric, "accuracy") && examples > 1)
    candidate->interval = 1.96 * sqrt(candidate->accuracy * (1 - candidate->accuracy) / examples);
  json_decref(root);
  return rc;
}

int zc_shrink_score(struct zc_shrink *job, struct zc_candidate *candidate,
                    int (*run_command)(struct zc_shrink *job, struct zf_buf *out,
                                       const char *const *argv)) {
  const char *argv[64] = {"zoft", "eval", job->config};
  char *model = zf_asprintf("base_model=%s", candidate->path);
  int n = 3;
  if (!model) return ZF_ENOMEM;
  for (int i = 0; i < job->sets && n < 58; i++) argv[n++] = job->set[i];
  argv[n++] = model;
  argv[n++] = "--quiet";
  argv[n++] = "--json";
  int rc = run_command(job, &job->said, argv);
  free(model);
  return rc ? rc : read_score(job, candidate);
}

/* --- the table --- */

/* 1 where a smaller metric is better. */
static int is_loss(const char *metric) {
  return strstr(metric, "loss") || strstr(metric, "perplexity");
}

static int is_better(const struct zc_shrink *job, const struct zc_candidate *left,
                     const struct zc_candidate *right) {
  if (job->config && left->accuracy != right->accuracy)
    return is_loss(job->metric) ? left->accuracy < right->accuracy
                                : left->accuracy > right->accuracy;
  return left->kl < right->kl;
}

int zc_shrink_best(const struct zc_shrink *job) {
  int best = 0;
  for (int i = 1; i < job->count; i++)
    if (is_better(job, &job->candidate[i], &job->candidate[best])) best = i;
  return best;
}

static void metric_cell(char cell[48], const struct zc_candidate *candidate) {
  cell[0] = 0;
  if (isnan(candidate->accuracy)) return;
  if (isnan(candidate->interval))
    snprintf(cell, 48, "%.4f", candidate->accuracy);
  else
    snprintf(cell, 48, "%.1f \xc2\xb1 %.1f %%", 100 * candidate->accuracy,
             100 * candidate->interval);
}

static void report_row(struct zc_table *table, const struct zc_candidate *candidate) {
  char size[32], memory[32], speed[32], kl[32], perplexity[32], score[48];
  snprintf(size, sizeof size, "%.1f MB", (double)candidate->bytes / 1e6);
  snprintf(memory, sizeof memory, "%.0f MB", (double)candidate->memory / 1e6);
  snprintf(speed, sizeof speed, "%.0f", candidate->speed);
  snprintf(kl, sizeof kl, "%.4f", candidate->kl);
  snprintf(perplexity, sizeof perplexity, "%.4g", candidate->perplexity);
  metric_cell(score, candidate);
  zc_table_row(table,
               (const char *const[]){candidate->label, size, memory, speed, perplexity, kl, score});
}

static void report_json(const struct zc_shrink *job, int best) {
  json_t *list = json_array();
  for (int i = 0; i < job->count; i++) {
    const struct zc_candidate *candidate = &job->candidate[i];
    json_t *entry = json_pack(
        "{s:s, s:s, s:I, s:I, s:f, s:f, s:f}", "file", candidate->path, "how", candidate->label,
        "bytes", (json_int_t)candidate->bytes, "peak_rss_bytes", (json_int_t)candidate->memory,
        "tokens_per_s", candidate->speed, "perplexity", candidate->perplexity, "kl", candidate->kl);
    if (!isnan(candidate->accuracy))
      json_object_set_new(entry, job->metric, json_real(candidate->accuracy));
    json_array_append_new(list, entry);
  }
  json_t *root = json_pack("{s:o, s:s, s:f}", "candidates", list, "recommended",
                           job->candidate[best].path, "seconds", job->seconds);
  char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
  printf("%s\n", text ? text : "{}");
  free(text);
  json_decref(root);
}

void zc_shrink_report(const struct zc_shrink *job, int best) {
  char score[48], time[32];
  if (zc_common.json) {
    report_json(job, best);
    return;
  }
  struct zc_table *table = zc_table_new("lrrrrrr");
  zc_table_row(table, (const char *const[]){"how", "file", "memory", "tokens/s", "perplexity", "KL",
                                            job->config ? job->metric : ""});
  for (int i = 0; i < job->count; i++) report_row(table, &job->candidate[i]);
  zc_table_print(table, 1);
  printf("\nthe original: perplexity %.4g", job->perplexity);
  metric_cell(score, &job->original);
  if (score[0]) printf(", %s %s", job->metric, score);
  printf("; all of it took %s\nrecommended: %s (%s)\n", zc_duration(time, job->seconds),
         job->candidate[best].path, job->candidate[best].label);
}
