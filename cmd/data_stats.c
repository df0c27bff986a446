/* zoft data stats: how many rows, how long, of which labels, and which of them twice. */
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

struct stats {
  const char *set;
  struct zf_records *rec;
  int64_t *length; /* of each row: tokens of its longest sequence, or characters */
  json_t *fields;  /* name -> rows that have it */
  json_t *labels;  /* value -> rows; NULL: none */
  int many;        /* more than LABELS values: it is no label */
  struct zf_data_counts counts;
  struct zf_duplicates duplicates;
};

static void release(struct stats *s) {
  zf_records_free(s->rec);
  free(s->length);
  json_decref(s->fields);
  json_decref(s->labels);
  free(s->duplicates.copy);
  free(s->duplicates.of);
}

/* --- gathering --- */

static int add_one(json_t *counts, const char *key) {
  int64_t n = json_integer_value(json_object_get(counts, key));
  return json_object_set_new(counts, key, json_integer(n + 1)) ? ZF_ENOMEM : 0;
}

static int64_t characters(const json_t *v) {
  int64_t n = 0;
  const char *key;
  json_t *x;
  size_t i;
  for (const char *p = json_string_value(v); p && *p; p++) n += ((unsigned char)*p & 0xc0) != 0x80;
  json_object_foreach((json_t *)v, key, x) n += characters(x);
  json_array_foreach((json_t *)v, i, x) n += characters(x);
  return n;
}

static int count_label(struct stats *s, const char *name, const json_t *row) {
  const json_t *v = json_object_get(row, name);
  if (!v || s->many) return 0;
  char *text =
      json_is_string(v) ? zf_strdup(json_string_value(v)) : zf_json_dump(v, JSON_ENCODE_ANY);
  int rc = text ? add_one(s->labels, text) : ZF_ENOMEM;
  free(text);
  s->many = json_object_size(s->labels) > LABELS;
  return rc;
}

static int count_row(struct stats *s, const char *label, int64_t i) {
  const json_t *row = zf_records_row(s->rec, i);
  const char *key;
  json_t *v;
  int rc = row ? 0 : ZF_EINVALID;
  json_object_foreach((json_t *)row, key, v) if (!rc) rc = add_one(s->fields, key);
  if (!rc) rc = count_label(s, label, row);
  if (!rc) s->length[i] = characters(row);
  return rc;
}

/* Tokens of each row, where there is a tokenizer. */
static int encode(struct stats *s, const struct zf_data_file *f, const struct zf_tok *tok) {
  struct zf_encoder *e = NULL;
  struct zf_dataset *d = NULL;
  int rc = zf_dataset_new(&d, f->spec.type);
  if (!rc) rc = zf_dataset_file(d, f->path);
  if (!rc) rc = zf_encoder_new(&e, &f->spec, tok);
  for (int64_t i = 0; !rc && i < s->rec->count; i++) {
    zf_dataset_clear(d);
    rc = zf_encoder_add(e, d, 0, s->rec, i);
    s->length[i] = 0;
    for (int64_t k = 0; !rc && k < d->nseq; k++)
      if (d->seq[k].len > s->length[i]) s->length[i] = d->seq[k].len;
  }
  if (!rc) s->counts = d->counts;
  zf_encoder_free(e);
  zf_dataset_free(d);
  return rc;
}

static int gather(struct stats *s, const struct zf_data_file *f, const struct zf_tok *tok) {
  const char *label = zc_data_options.label ? zc_data_options.label : f->spec.label;
  int rc = zf_records_open(&s->rec, f->path);
  if (rc) return rc;
  s->fields = json_object();
  s->labels = json_object();
  s->length = zf_calloc(s->rec->count, sizeof *s->length);
  if (!s->fields || !s->labels || !s->length) return ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < s->rec->count; i++) rc = count_row(s, label ? label : "label", i);
  if (!rc && zc_data_options.label && s->rec->count && !json_object_size(s->labels))
    rc = zf_error(ZF_EUSAGE, "%s: --label: no row has a field '%s'", f->path, label);
  if (!rc && tok) rc = encode(s, f, tok);
  return rc ? rc : zf_duplicates_file(&s->duplicates, s->rec);
}

/* --- lengths --- */

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

struct lengths {
  int64_t min, p50, p90, p99, max, sum, longer; /* longer than the sequence_len asked for */
  int64_t width, bin[BINS];                     /* bin k: from k * width to below the next */
};

/* The smallest length that p percent of the rows do not exceed; v ascends. */
static int64_t percentile(const int64_t *v, int64_t n, int64_t p) {
  int64_t k = (n * p + 99) / 100;
  return v[k > 0 ? k - 1 : 0];
}

/* 1, 2, 5, 10, 20, ...: the first that `max` fits in BINS of. */
static int64_t bin_width(int64_t max) {
  static const int64_t step[] = {1, 2, 5};
  for (int64_t ten = 1;; ten *= 10)
    for (int k = 0; k < 3; k++)
      if (max / (ten * step[k]) < BINS) return ten * step[k];
}

static struct lengths measure(int64_t *v, int64_t n, int64_t limit) {
  struct lengths l = {0};
  qsort(v, (size_t)n, sizeof *v, by_size);
  if (!n) return l;
  l = (struct lengths){.min = v[0],
                       .p50 = percentile(v, n, 50),
                       .p90 = percentile(v, n, 90),
                       .p99 = percentile(v, n, 99),
                       .max = v[n - 1],
                       .width = bin_width(v[n - 1])};
  for (int64_t i = 0; i < n; i++) {
    l.sum += v[i];
    l.longer += limit && v[i] > limit;
    l.bin[v[i] / l.width]++;
  }
  return l;
}

/* --- printing --- */

static void print_histogram(const struct lengths *l) {
  int64_t most = 1;
  for (int k = 0; k < BINS; k++)
    if (l->bin[k] > most) most = l->bin[k];
  for (int k = 0; k < BINS && k <= l->max / l->width; k++) {
    int64_t n = (l->bin[k] * BAR + most - 1) / most;
    printf("  %8lld  %8lld%s%.*s\n", (long long)(k * l->width), (long long)l->bin[k], n ? "  " : "",
           (int)n, "########################################");
  }
}

/* Most frequent first; of equal ones in the order of the file. */
static void print_labels(const struct stats *s) {
  json_t *left = json_copy(s->labels), *v;
  const char *key;
  for (int shown = 0; json_object_size(left) && shown < SHOWN; shown++) {
    const char *best = NULL;
    json_int_t most = 0;
    json_object_foreach(left, key, v) if (json_integer_value(v) > most) {
      most = json_integer_value(v);
      best = key;
    }
    printf("  %8lld  %5.1f %%  %s\n", (long long)most, 100.0 * (double)most / (double)s->rec->count,
           best);
    json_object_del(left, best);
  }
  if (json_object_size(left)) printf("  and %zu more\n", json_object_size(left));
  json_decref(left);
}

static void print_text(struct stats *s, const struct zc_source *from, int first) {
  struct lengths l = measure(s->length, s->rec->count, from->length);
  double n = (double)(s->rec->count ? s->rec->count : 1);
  const char *key;
  json_t *v;
  printf("%s%s%s%s\n", first ? "" : "\n", s->rec->path, *s->set ? "  " : "", s->set);
  printf("rows        %lld\n", (long long)s->rec->count);
  printf("fields");
  json_object_foreach(s->fields, key, v) {
    printf("%s%s", json_object_iter_key(json_object_iter(s->fields)) == key ? "      " : " ", key);
    if (json_integer_value(v) != s->rec->count)
      printf(" (in %lld)", (long long)json_integer_value(v));
  }
  printf("\n");
  if (from->tok)
    printf("tokens      %lld, of them %lld targets\n", (long long)s->counts.tokens,
           (long long)s->counts.targets);
  if (s->counts.masked) printf("empty       %lld without a target\n", (long long)s->counts.masked);
  printf("copies      %lld", (long long)s->duplicates.count);
  if (s->duplicates.count) printf(": first %s as %s", s->duplicates.copy, s->duplicates.of);
  printf("\n%s  mean %.1f, least %lld, half %lld, 90 %% %lld, 99 %% %lld, most %lld\n",
         from->tok ? "tokens/row" : "characters", (double)l.sum / n, (long long)l.min,
         (long long)l.p50, (long long)l.p90, (long long)l.p99, (long long)l.max);
  if (from->tok && from->length)
    printf("longer      %lld (%.1f %%) than sequence_len %lld\n", (long long)l.longer,
           100.0 * (double)l.longer / n, (long long)from->length);
  if (s->rec->count) print_histogram(&l);
  if (json_object_size(s->labels) && !s->many) {
    printf("labels      %zu\n", json_object_size(s->labels));
    print_labels(s);
  }
}

static void json_counts(struct zf_buf *b, const char *name, const json_t *counts) {
  char *text = zf_json_dump(counts, 0);
  zf_buf_printf(b, ", \"%s\": %s", name, text ? text : "{}");
  free(text);
}

static void print_json(struct zf_buf *b, struct stats *s, const struct zc_source *from) {
  struct lengths l = measure(s->length, s->rec->count, from->length);
  zf_buf_puts(b, "{\"path\": ");
  zc_json_text(b, s->rec->path, strlen(s->rec->path));
  if (*s->set) zf_buf_printf(b, ", \"set\": \"%s\"", s->set);
  zf_buf_printf(b, ", \"rows\": %lld", (long long)s->rec->count);
  json_counts(b, "fields", s->fields);
  if (from->tok)
    zf_buf_printf(b, ", \"tokens\": %lld, \"targets\": %lld, \"masked\": %lld",
                  (long long)s->counts.tokens, (long long)s->counts.targets,
                  (long long)s->counts.masked);
  zf_buf_printf(
      b,
      ", \"copies\": %lld, \"unit\": \"%s\", \"length\": {\"mean\": %.17g, \"min\": %lld, "
      "\"p50\": %lld, \"p90\": %lld, \"p99\": %lld, \"max\": %lld}",
      (long long)s->duplicates.count, from->tok ? "tokens" : "characters",
      s->rec->count ? (double)l.sum / (double)s->rec->count : 0, (long long)l.min, (long long)l.p50,
      (long long)l.p90, (long long)l.p99, (long long)l.max);
  if (from->tok && from->length)
    zf_buf_printf(b, ", \"sequence_len\": %lld, \"longer\": %lld", (long long)from->length,
                  (long long)l.longer);
  zf_buf_printf(b, ", \"bin_width\": %lld, \"bins\": [", (long long)l.width);
  for (int k = 0; s->rec->count && k < BINS && k <= l.max / l.width; k++)
    zf_buf_printf(b, "%s%lld", k ? ", " : "", (long long)l.bin[k]);
  zf_buf_puts(b, "]");
  if (json_object_size(s->labels) && !s->many) json_counts(b, "labels", s->labels);
  zf_buf_puts(b, "}");
}

int zc_data_stats(const struct zc_args *a) {
  struct zc_source from;
  struct zf_buf b = {0};
  const struct zf_data_file *f;
  const char *set;
  int rc = zc_source_open(&from, a);
  for (int64_t i = 0; !rc && (f = zc_source_file(&from, i, &set)); i++) {
    struct stats s = {.set = set};
    rc = gather(&s, f, from.tok);
    if (!rc && zc_common.json) {
      zf_buf_puts(&b, i ? ", " : "{\"files\": [");
      print_json(&b, &s, &from);
    } else if (!rc) {
      print_text(&s, &from, i == 0);
    }
    release(&s);
  }
  if (!rc) rc = zf_buf_ok(&b);
  if (!rc && zc_common.json) printf("%s]}\n", b.data);
  zf_buf_free(&b);
  zc_source_close(&from);
  return rc;
}
