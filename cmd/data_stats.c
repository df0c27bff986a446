/* zoft data stats: rows, fields, lengths, labels and duplicates of data files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "data_internal.h"
#include "fmt/json.h"
#include "load.h"
#include "train/duplicates.h"
#include "ui.h"

enum { BINS = 12, LABELS = 1000, SHOWN = 20, BAR = 40 };

struct file_stats {
  const char *set;
  struct zf_records *records;
  int64_t *length; /* of each row: tokens of its longest sequence, or characters */
  json_t *fields;  /* name -> number of rows that have it */
  json_t *labels;  /* value -> number of rows */
  int too_many;    /* more than LABELS values: the field is no label */
  struct zf_data_counts counts;
  struct zf_duplicates duplicates;
};

static void release(struct file_stats *stats) {
  zf_records_free(stats->records);
  free(stats->length);
  json_decref(stats->fields);
  json_decref(stats->labels);
  free(stats->duplicates.duplicate);
  free(stats->duplicates.original);
}

/* --- counting --- */

static int add_one(json_t *counts, const char *key) {
  int64_t count = json_integer_value(json_object_get(counts, key));
  return json_object_set_new(counts, key, json_integer(count + 1)) ? ZF_ENOMEM : 0;
}

/* Characters of a text, or of all texts in a value. */
static int64_t characters(const json_t *value) {
  const char *text = json_is_string(value) ? json_string_value(value) : "", *key;
  int64_t count = 0;
  json_t *item;
  size_t i;
  for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  json_object_foreach((json_t *)value, key, item) count += characters(item);
  json_array_foreach((json_t *)value, i, item) count += characters(item);
  return count;
}

static int count_label(struct file_stats *stats, const char *name, const json_t *row) {
  const json_t *value = json_object_get(row, name);
  if (!value || stats->too_many) return 0;
  char *text = json_is_string(value) ? zf_strdup(json_string_value(value))
                                     : zf_json_dump(value, JSON_ENCODE_ANY);
  int rc = text ? add_one(stats->labels, text) : ZF_ENOMEM;
  free(text);
  stats->too_many = json_object_size(stats->labels) > LABELS;
  return rc;
}

static int count_row(struct file_stats *stats, const char *label, int64_t index) {
  const json_t *row = zf_records_row(stats->records, index);
  const char *key;
  json_t *value;
  int rc = row ? 0 : ZF_EINVALID;
  json_object_foreach((json_t *)row, key, value) if (!rc) rc = add_one(stats->fields, key);
  if (!rc) rc = count_label(stats, label, row);
  if (!rc) stats->length[index] = characters(row);
  return rc;
}

static int64_t longest_sequence(const struct zf_dataset *dataset) {
  int64_t longest = 0;
  for (int64_t i = 0; i < dataset->nseq; i++)
    if (dataset->seq[i].len > longest) longest = dataset->seq[i].len;
  return longest;
}

/* Sets the length of each row to the tokens of its longest sequence. */
static int encode(struct file_stats *stats, const struct zf_data_file *file,
                  const struct zf_tok *tok) {
  struct zf_encoder *encoder = NULL;
  struct zf_dataset *dataset = NULL;
  int rc = zf_dataset_new(&dataset, file->spec.type);
  if (!rc) rc = zf_dataset_file(dataset, file->path);
  if (!rc) rc = zf_encoder_new(&encoder, &file->spec, tok);
  for (int64_t i = 0; i < stats->records->count; i++) {
    if (rc) break;
    zf_dataset_clear(dataset);
    rc = zf_encoder_add(encoder, dataset, 0, stats->records, i);
    if (!rc) stats->length[i] = longest_sequence(dataset);
  }
  if (!rc) stats->counts = dataset->counts;
  zf_encoder_free(encoder);
  zf_dataset_free(dataset);
  return rc;
}

static int gather(struct file_stats *stats, const struct zf_data_file *file,
                  const struct zf_tok *tok) {
  const char *label = zc_data_options.label ? zc_data_options.label : file->spec.label;
  if (!label) label = "label";
  int rc = zf_records_open_as(&stats->records, file->path, file->sample_by);
  if (rc) return rc;
  stats->fields = json_object();
  stats->labels = json_object();
  stats->length = zf_calloc(stats->records->count, sizeof *stats->length);
  if (!stats->fields || !stats->labels || !stats->length) return ZF_ENOMEM;
  for (int64_t i = 0; i < stats->records->count; i++)
    if ((rc = count_row(stats, label, i))) return rc;
  if (zc_data_options.label && stats->records->count && !json_object_size(stats->labels))
    return zf_error(ZF_EUSAGE, "%s: --label: no row has a field '%s'", file->path, label);
  if (tok && (rc = encode(stats, file, tok))) return rc;
  return zf_duplicates_file(&stats->duplicates, stats->records);
}

/* --- lengths --- */

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

struct length_stats {
  int64_t min, p50, p90, p99, max, sum, longer; /* than sequence_len */
  int64_t width, bin[BINS];                     /* bin k: from k * width to below the next */
};

/* The smallest length that `percent` % of the rows do not exceed; lengths ascend. */
static int64_t percentile(const int64_t *lengths, int64_t count, int64_t percent) {
  int64_t rank = (count * percent + 99) / 100;
  return lengths[rank > 0 ? rank - 1 : 0];
}

/* The smallest of 1, 2, 5, 10, 20, ... with which BINS bins reach `max`. */
static int64_t bin_width(int64_t max) {
  static const int64_t step[] = {1, 2, 5};
  for (int64_t ten = 1;; ten *= 10)
    for (int i = 0; i < 3; i++)
      if (max / (ten * step[i]) < BINS) return ten * step[i];
}

static struct length_stats measure_lengths(int64_t *rows, int64_t count, int64_t limit) {
  struct length_stats lengths = {0};
  qsort(rows, (size_t)count, sizeof *rows, by_size);
  if (!count) return lengths;
  lengths = (struct length_stats){.min = rows[0],
                                  .p50 = percentile(rows, count, 50),
                                  .p90 = percentile(rows, count, 90),
                                  .p99 = percentile(rows, count, 99),
                                  .max = rows[count - 1],
                                  .width = bin_width(rows[count - 1])};
  for (int64_t i = 0; i < count; i++) {
    lengths.sum += rows[i];
    lengths.longer += limit && rows[i] > limit;
    lengths.bin[rows[i] / lengths.width]++;
  }
  return lengths;
}

/* --- printing --- */

/* Bins of a histogram that are not above the longest row. */
static int bins_of(const struct length_stats *lengths) {
  int64_t bins = lengths->max / lengths->width + 1;
  return bins < BINS ? (int)bins : BINS;
}

static void print_histogram(const struct length_stats *lengths) {
  int64_t max = 1;
  for (int bin = 0; bin < BINS; bin++)
    if (lengths->bin[bin] > max) max = lengths->bin[bin];
  for (int bin = 0; bin < bins_of(lengths); bin++) {
    int64_t bar = (lengths->bin[bin] * BAR + max - 1) / max;
    printf("  %8lld  %8lld%s%.*s\n", (long long)(bin * lengths->width),
           (long long)lengths->bin[bin], bar ? "  " : "", (int)bar,
           "########################################");
  }
}

/* The key with the largest count; of equal ones the first. */
static const char *most_frequent(json_t *counts, json_int_t *max) {
  const char *key, *best = NULL;
  json_t *value;
  *max = 0;
  json_object_foreach(counts, key, value) {
    if (json_integer_value(value) <= *max) continue;
    *max = json_integer_value(value);
    best = key;
  }
  return best;
}

/* The most frequent labels first, equal ones in the order of the file. */
static void print_labels(const struct file_stats *stats) {
  json_t *unprinted = json_copy(stats->labels);
  for (int shown = 0; shown < SHOWN; shown++) {
    json_int_t max;
    const char *label = most_frequent(unprinted, &max);
    if (!label) break;
    printf("  %8lld  %5.1f %%  %s\n", (long long)max,
           100.0 * (double)max / (double)stats->records->count, label);
    json_object_del(unprinted, label);
  }
  if (json_object_size(unprinted)) printf("  and %zu more\n", json_object_size(unprinted));
  json_decref(unprinted);
}

static void print_text(struct file_stats *stats, const struct zc_source *from, int first) {
  struct length_stats lengths = measure_lengths(stats->length, stats->records->count, from->length);
  double rows = (double)(stats->records->count ? stats->records->count : 1);
  const char *key;
  json_t *value;
  printf("%s%s%s%s\n", first ? "" : "\n", stats->records->path, *stats->set ? "  " : "",
         stats->set);
  printf("rows        %lld\n", (long long)stats->records->count);
  printf("fields");
  json_object_foreach(stats->fields, key, value) {
    printf("%s%s", json_object_iter_key(json_object_iter(stats->fields)) == key ? "      " : " ",
           key);
    if (json_integer_value(value) != stats->records->count)
      printf(" (in %lld)", (long long)json_integer_value(value));
  }
  printf("\n");
  if (from->tok)
    printf("tokens      %lld, of them %lld targets\n", (long long)stats->counts.tokens,
           (long long)stats->counts.targets);
  if (stats->counts.masked)
    printf("empty       %lld without a target\n", (long long)stats->counts.masked);
  printf("copies      %lld", (long long)stats->duplicates.count);
  if (stats->duplicates.count)
    printf(": first %s as %s", stats->duplicates.duplicate, stats->duplicates.original);
  printf("\n%s  mean %.1f, least %lld, half %lld, 90 %% %lld, 99 %% %lld, most %lld\n",
         from->tok ? "tokens/row" : "characters", (double)lengths.sum / rows,
         (long long)lengths.min, (long long)lengths.p50, (long long)lengths.p90,
         (long long)lengths.p99, (long long)lengths.max);
  if (from->tok && from->length)
    printf("longer      %lld (%.1f %%) than sequence_len %lld\n", (long long)lengths.longer,
           100.0 * (double)lengths.longer / rows, (long long)from->length);
  if (stats->records->count) print_histogram(&lengths);
  if (json_object_size(stats->labels) && !stats->too_many) {
    printf("labels      %zu\n", json_object_size(stats->labels));
    print_labels(stats);
  }
}

static void json_counts(struct zf_buf *buf, const char *name, const json_t *counts) {
  char *text = zf_json_dump(counts, 0);
  zf_buf_printf(buf, ", \"%s\": %s", name, text ? text : "{}");
  free(text);
}

static void print_json(struct zf_buf *buf, struct file_stats *stats, const struct zc_source *from) {
  struct length_stats lengths = measure_lengths(stats->length, stats->records->count, from->length);
  zf_buf_puts(buf, "{\"path\": ");
  zc_json_text(buf, stats->records->path, strlen(stats->records->path));
  if (*stats->set) zf_buf_printf(buf, ", \"set\": \"%s\"", stats->set);
  zf_buf_printf(buf, ", \"rows\": %lld", (long long)stats->records->count);
  json_counts(buf, "fields", stats->fields);
  if (from->tok)
    zf_buf_printf(buf, ", \"tokens\": %lld, \"targets\": %lld, \"masked\": %lld",
                  (long long)stats->counts.tokens, (long long)stats->counts.targets,
                  (long long)stats->counts.masked);
  zf_buf_printf(
      buf,
      ", \"copies\": %lld, \"unit\": \"%s\", \"length\": {\"mean\": %.17g, \"min\": %lld, "
      "\"p50\": %lld, \"p90\": %lld, \"p99\": %lld, \"max\": %lld}",
      (long long)stats->duplicates.count, from->tok ? "tokens" : "characters",
      stats->records->count ? (double)lengths.sum / (double)stats->records->count : 0,
      (long long)lengths.min, (long long)lengths.p50, (long long)lengths.p90,
      (long long)lengths.p99, (long long)lengths.max);
  if (from->tok && from->length)
    zf_buf_printf(buf, ", \"sequence_len\": %lld, \"longer\": %lld", (long long)from->length,
                  (long long)lengths.longer);
  zf_buf_printf(buf, ", \"bin_width\": %lld, \"bins\": [", (long long)lengths.width);
  int bins = stats->records->count ? bins_of(&lengths) : 0;
  for (int bin = 0; bin < bins; bin++)
    zf_buf_printf(buf, "%s%lld", bin ? ", " : "", (long long)lengths.bin[bin]);
  zf_buf_puts(buf, "]");
  if (json_object_size(stats->labels) && !stats->too_many)
    json_counts(buf, "labels", stats->labels);
  zf_buf_puts(buf, "}");
}

static int print_file(struct zf_buf *buf, const struct zc_source *source, int64_t index,
                      const struct zf_data_file *file, const char *set) {
  struct file_stats stats = {.set = set};
  int rc = gather(&stats, file, source->tok);
  if (!rc && zc_common.json) {
    zf_buf_puts(buf, index ? ", " : "{\"files\": [");
    print_json(buf, &stats, source);
  } else if (!rc) {
    print_text(&stats, source, index == 0);
  }
  release(&stats);
  return rc;
}

static int print_files(struct zf_buf *buf, const struct zc_source *source) {
  for (int64_t i = 0;; i++) {
    const char *set;
    const struct zf_data_file *file = zc_source_file(source, i, &set);
    int rc = file ? print_file(buf, source, i, file, set) : 0;
    if (!file || rc) return rc;
  }
}

int zc_data_stats(const struct zc_args *args) {
  struct zc_source source;
  struct zf_buf buf = {0};
  int rc = zc_source_open(&source, args);
  if (!rc) rc = print_files(&buf, &source);
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc && zc_common.json) printf("%s]}\n", buf.data);
  zf_buf_free(&buf);
  zc_source_close(&source);
  return rc;
}
