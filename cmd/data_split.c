/* zoft data split: splits a file into training, dev and test files; each row goes into one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "data_internal.h"
#include "fmt/json.h"
#include "fmt/compressed.h"
#include "fmt/records_write.h"
#include "load.h"
#include "train/order.h"
#include "ui.h"

enum { TRAIN, DEV, TEST, PARTS };
static const char *const part_name[PARTS] = {"train", "dev", "test"};

struct data_split {
  struct zf_records *records;
  int64_t count[PARTS];
  char *part;     /* [rows] the part of each row */
  int64_t *order; /* [rows] the order in which rows are assigned */
  char *path[PARTS];
  struct zf_records_writer *out[PARTS];
};

static void release(struct data_split *split) {
  for (int part = 0; part < PARTS; part++) {
    zf_records_writer_abort(split->out[part]);
    free(split->path[part]);
  }
  free(split->part);
  free(split->order);
  zf_records_free(split->records);
}

/* A number of rows; `asked` below 1 is a share of all. */
static int count_of(int64_t *out, double asked, int64_t rows, const char *name) {
  if (asked >= 1 && asked != (double)(int64_t)asked)
    return zf_error(ZF_EUSAGE, "--%s expects a share below 1 or a number of rows, found %g", name,
                    asked);
  *out = asked < 1 ? (int64_t)(asked * (double)rows) : (int64_t)asked;
  return asked > 0 && *out == 0
             ? zf_error(ZF_EUSAGE, "--%s %g of %lld rows is none", name, asked, (long long)rows)
             : 0;
}

static int count_parts(struct data_split *split) {
  int64_t rows = split->records->count;
  int rc = count_of(&split->count[DEV], zc_data_options.dev, rows, "dev");
  if (!rc) rc = count_of(&split->count[TEST], zc_data_options.test, rows, "test");
  if (rc) return rc;
  if (!split->count[DEV] && !split->count[TEST])
    return zf_error(ZF_EUSAGE, "a share or number of rows is needed: --dev, --test or both");
  split->count[TRAIN] = rows - split->count[DEV] - split->count[TEST];
  if (split->count[TRAIN] >= 1) return 0;
  return zf_error(ZF_EUSAGE, "%s: --dev and --test leave nothing to train on: there are %lld rows",
                  split->records->path, (long long)rows);
}

/* --- by a label --- */

struct labelled_row {
  int64_t label, rank, row;
};

static int by_label(const void *a, const void *b) {
  const struct labelled_row *left = a, *right = b;
  if (left->label != right->label) return left->label < right->label ? -1 : 1;
  return (left->rank > right->rank) - (left->rank < right->rank);
}

/* The number of a row's label, by order of appearance. */
static int label_of(int64_t *out, struct data_split *split, json_t *labels, int64_t row) {
  const json_t *fields = zf_records_row(split->records, row),
               *value = json_object_get(fields, zc_data_options.by);
  if (!fields) return ZF_EINVALID;
  char *key = value ? zf_json_dump(value, JSON_ENCODE_ANY) : NULL;
  if (!value)
    return zf_error(ZF_EINVALID, "%s:%lld: field '%s' is missing", split->records->path,
                    (long long)zf_records_line(split->records, row), zc_data_options.by);
  if (!key) return zf_error(ZF_ENOMEM, "out of memory for labels");
  const json_t *number = json_object_get(labels, key);
  *out = number ? json_integer_value(number) : (int64_t)json_object_size(labels);
  int bad = !number && json_object_set_new(labels, key, json_integer(*out));
  free(key);
  return bad ? zf_error(ZF_ENOMEM, "out of memory for labels") : 0;
}

static int label_rows(struct data_split *split, struct labelled_row *labelled, json_t *labels) {
  for (int64_t i = 0; i < split->records->count; i++) {
    labelled[i].rank = i;
    labelled[i].row = split->order[i];
    int rc = label_of(&labelled[i].label, split, labels, labelled[i].row);
    if (rc) return rc;
  }
  return 0;
}

/* Sorts the order by label; rows of one label stay shuffled. */
static int sort_by_label(struct data_split *split) {
  int64_t rows = split->records->count;
  struct labelled_row *labelled = zf_calloc(rows, sizeof *labelled);
  json_t *labels = json_object();
  int rc = labelled && labels ? label_rows(split, labelled, labels) : ZF_ENOMEM;
  if (!rc) {
    qsort(labelled, (size_t)rows, sizeof *labelled, by_label);
    for (int64_t i = 0; i < rows; i++) split->order[i] = labelled[i].row;
  }
  json_decref(labels);
  free(labelled);
  return rc;
}

/* Does the share part / rows of the first i + 1 rows reach the next whole number?  So every stretch of the
 * order, as the rows of one label, has its share of the part, to one row.  128 bits hold the product. */
static int crosses(int64_t i, int64_t part, int64_t rows) {
  return (int64_t)((__int128)(i + 1) * part / rows) > (int64_t)((__int128)i * part / rows);
}

/* Dev rows are chosen from all rows, test rows from the others. */
static void assign_parts(struct data_split *split) {
  int64_t rows = split->records->count, not_dev = 0;
  for (int64_t i = 0; i < rows; i++) {
    int part = TRAIN;
    if (crosses(i, split->count[DEV], rows))
      part = DEV;
    else if (crosses(not_dev++, split->count[TEST], rows - split->count[DEV]))
      part = TEST;
    split->part[split->order[i]] = (char)part;
  }
}

static int assign(struct data_split *split) {
  split->part = zf_calloc(split->records->count, 1);
  split->order = zf_calloc(split->records->count, sizeof *split->order);
  if (!split->part || !split->order) return ZF_ENOMEM;
  zf_order_shuffle(split->order, split->records->count, (uint64_t)zc_data_options.seed, 0,
                   ZF_SHUFFLE_SPLIT);
  int rc = zc_data_options.by ? sort_by_label(split) : 0;
  if (!rc) assign_parts(split);
  return rc;
}

/* --- files --- */

/* data.jsonl.gz becomes data-dev.jsonl.gz, or with --out PREFIX: PREFIX-dev.jsonl.gz. */
static char *path_of(const char *path, int part) {
  size_t stem = zf_compressed_stem_len(path), dot = stem;
  while (dot && path[dot - 1] != '.') dot--;
  const char *out = zc_data_options.out;
  int len = out ? (int)strlen(out) : (int)dot - 1;
  return zf_asprintf("%.*s-%s%s", len, out ? out : path, part_name[part], path + dot - 1);
}

static int open_parts(struct data_split *split) {
  for (int part = 0; part < PARTS; part++) {
    if (!split->count[part]) continue;
    split->path[part] = path_of(split->records->path, part);
    if (!split->path[part]) return ZF_ENOMEM;
    int rc = zf_records_writer_open(&split->out[part], split->path[part]);
    if (!rc) rc = zf_records_writer_head(split->out[part], split->records);
    if (rc) return rc;
  }
  return 0;
}

static int commit_parts(struct data_split *split) {
  for (int part = 0; part < PARTS; part++) {
    if (!split->out[part]) continue;
    int rc = zf_records_writer_commit(split->out[part]);
    split->out[part] = NULL;
    if (rc) return rc;
  }
  return 0;
}

static int write_parts(struct data_split *split) {
  int rc = open_parts(split);
  if (rc) return rc;
  for (int64_t i = 0; i < split->records->count; i++) {
    rc = zf_records_writer_copy(split->out[(int)split->part[i]], split->records, i);
    if (rc) return rc;
  }
  return commit_parts(split);
}

static void report(const struct data_split *split) {
  struct zf_buf buf = {0};
  for (int part = 0; part < PARTS; part++) {
    if (!split->path[part]) continue;
    if (!zc_common.json) {
      printf("%8lld  %s\n", (long long)split->count[part], split->path[part]);
      continue;
    }
    zf_buf_printf(&buf, "%s\"%s\": {\"path\": ", buf.len ? ", " : "{", part_name[part]);
    zc_json_text(&buf, split->path[part], strlen(split->path[part]));
    zf_buf_printf(&buf, ", \"rows\": %lld}", (long long)split->count[part]);
  }
  if (zc_common.json) printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

int zc_data_split(const struct zc_args *args) {
  struct data_split split = {0};
  int rc = zf_records_open(&split.records, args->word[1]);
  if (!rc) rc = count_parts(&split);
  if (!rc) rc = assign(&split);
  if (!rc) rc = write_parts(&split);
  if (!rc) report(&split);
  release(&split);
  return rc;
}
