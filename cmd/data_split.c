/* zoft data split: a file into training, dev and test files, each row in one of them. */
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

struct split {
  struct zf_records *rec;
  int64_t count[PARTS];
  char *part;     /* of each row */
  int64_t *order; /* rows as they are dealt out */
  char *path[PARTS];
  struct zf_rows_out *out[PARTS];
};

static void release(struct split *split) {
  for (int k = 0; k < PARTS; k++) {
    zf_rows_out_abort(split->out[k]);
    free(split->path[k]);
  }
  free(split->part);
  free(split->order);
  zf_records_free(split->rec);
}

/* Below 1 a share of the rows, else their number. */
static int count_of(int64_t *out, double v, int64_t rows, const char *name) {
  if (v >= 1 && v != (double)(int64_t)v)
    return zf_error(ZF_EUSAGE, "--%s expects a share below 1 or a number of rows, found %g", name,
                    v);
  *out = v < 1 ? (int64_t)(v * (double)rows) : (int64_t)v;
  return v > 0 && *out == 0
             ? zf_error(ZF_EUSAGE, "--%s %g of %lld rows is none", name, v, (long long)rows)
             : 0;
}

static int count_parts(struct split *split) {
  int64_t rows = split->rec->count;
  int rc = count_of(&split->count[DEV], zc_data_options.dev, rows, "dev");
  if (!rc) rc = count_of(&split->count[TEST], zc_data_options.test, rows, "test");
  if (rc) return rc;
  if (!split->count[DEV] && !split->count[TEST])
    return zf_error(ZF_EUSAGE, "a share or number of rows is needed: --dev, --test or both");
  split->count[TRAIN] = rows - split->count[DEV] - split->count[TEST];
  if (split->count[TRAIN] >= 1) return 0;
  return zf_error(ZF_EUSAGE, "%s: --dev and --test leave nothing to train on: there are %lld rows",
                  split->rec->path, (long long)rows);
}

/* --- by a label --- */

struct labelled {
  int64_t label, rank, row;
};

static int by_label(const void *a, const void *b) {
  const struct labelled *labelled = a, *y = b;
  if (labelled->label != y->label) return labelled->label < y->label ? -1 : 1;
  return (labelled->rank > y->rank) - (labelled->rank < y->rank);
}

/* The number of a row's label, in order of appearance. */
static int label_of(int64_t *out, struct split *split, json_t *seen, int64_t row) {
  const json_t *r = zf_records_row(split->rec, row),
               *value = json_object_get(r, zc_data_options.by);
  if (!r) return ZF_EINVALID;
  char *key = value ? zf_json_dump(value, JSON_ENCODE_ANY) : NULL;
  if (!value)
    return zf_error(ZF_EINVALID, "%s:%lld: field '%s' is missing", split->rec->path,
                    (long long)zf_records_line(split->rec, row), zc_data_options.by);
  if (!key) return zf_error(ZF_ENOMEM, "out of memory for labels");
  const json_t *number = json_object_get(seen, key);
  *out = number ? json_integer_value(number) : (int64_t)json_object_size(seen);
  int bad = !number && json_object_set_new(seen, key, json_integer(*out));
  free(key);
  return bad ? zf_error(ZF_ENOMEM, "out of memory for labels") : 0;
}

/* Rows of one label together, shuffled among themselves. */
static int sort_by_label(struct split *split) {
  int64_t n = split->rec->count;
  struct labelled *labelled = zf_calloc(n, sizeof *labelled);
  json_t *seen = json_object();
  int rc = labelled && seen ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n; i++) {
    labelled[i].rank = i;
    labelled[i].row = split->order[i];
    rc = label_of(&labelled[i].label, split, seen, labelled[i].row);
  }
  if (!rc) qsort(labelled, (size_t)n, sizeof *labelled, by_label);
  for (int64_t i = 0; !rc && i < n; i++) split->order[i] = labelled[i].row;
  json_decref(seen);
  free(labelled);
  return rc;
}

/* Row i of the dealing goes to a part when its share passes a whole number there: so each run of rows
 * of one label has its share of every part, to one row.  128 bits hold the product. */
static int passes(int64_t i, int64_t part, int64_t rows) {
  return (int64_t)((__int128)(i + 1) * part / rows) > (int64_t)((__int128)i * part / rows);
}

/* Dev rows are dealt first; of the others, counted anew, the test rows. */
static void deal(struct split *split) {
  int64_t rows = split->rec->count, left = 0;
  for (int64_t i = 0; i < rows; i++) {
    int part = TRAIN;
    if (passes(i, split->count[DEV], rows))
      part = DEV;
    else if (passes(left++, split->count[TEST], rows - split->count[DEV]))
      part = TEST;
    split->part[split->order[i]] = (char)part;
  }
}

static int assign(struct split *split) {
  split->part = zf_calloc(split->rec->count, 1);
  split->order = zf_calloc(split->rec->count, sizeof *split->order);
  if (!split->part || !split->order) return ZF_ENOMEM;
  zf_order_shuffle(split->order, split->rec->count, (uint64_t)zc_data_options.seed, 0,
                   ZF_SHUFFLE_SPLIT);
  int rc = zc_data_options.by ? sort_by_label(split) : 0;
  if (!rc) deal(split);
  return rc;
}

/* --- files --- */

/* "data.jsonl.gz" -> "data-dev.jsonl.gz"; with --out PREFIX: PREFIX-dev.jsonl.gz. */
static char *path_of(const char *path, int part) {
  size_t stem = zf_compressed_stem(path), dot = stem;
  while (dot && path[dot - 1] != '.') dot--;
  const char *out = zc_data_options.out;
  int n = out ? (int)strlen(out) : (int)dot - 1;
  return zf_asprintf("%.*s-%s%s", n, out ? out : path, part_name[part], path + dot - 1);
}

static int open_parts(struct split *split) {
  int rc = 0;
  for (int k = 0; !rc && k < PARTS; k++) {
    if (!split->count[k]) continue;
    split->path[k] = path_of(split->rec->path, k);
    rc = split->path[k] ? zf_rows_out_open(&split->out[k], split->path[k]) : ZF_ENOMEM;
    if (!rc) rc = zf_rows_out_head(split->out[k], split->rec);
  }
  return rc;
}

static int write_parts(struct split *split) {
  int rc = open_parts(split);
  for (int64_t i = 0; !rc && i < split->rec->count; i++)
    rc = zf_rows_out_copy(split->out[(int)split->part[i]], split->rec, i);
  for (int k = 0; !rc && k < PARTS; k++) {
    if (!split->out[k]) continue;
    rc = zf_rows_out_commit(split->out[k]);
    split->out[k] = NULL;
  }
  return rc;
}

static void report(const struct split *split) {
  struct zf_buf buf = {0};
  for (int k = 0; k < PARTS; k++) {
    if (!split->path[k]) continue;
    if (!zc_common.json) {
      printf("%8lld  %s\n", (long long)split->count[k], split->path[k]);
      continue;
    }
    zf_buf_printf(&buf, "%s\"%s\": {\"path\": ", buf.len ? ", " : "{", part_name[k]);
    zc_json_text(&buf, split->path[k], strlen(split->path[k]));
    zf_buf_printf(&buf, ", \"rows\": %lld}", (long long)split->count[k]);
  }
  if (zc_common.json) printf("%s}\n", buf.data ? buf.data : "{");
  zf_buf_free(&buf);
}

int zc_data_split(const struct zc_args *args) {
  struct split split = {0};
  int rc = zf_records_open(&split.rec, args->word[1]);
  if (!rc) rc = count_parts(&split);
  if (!rc) rc = assign(&split);
  if (!rc) rc = write_parts(&split);
  if (!rc) report(&split);
  release(&split);
  return rc;
}
