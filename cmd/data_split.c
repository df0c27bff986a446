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
  int64_t n[PARTS];
  char *part;     /* of each row */
  int64_t *order; /* rows as they are dealt out */
  char *path[PARTS];
  struct zf_rows_out *out[PARTS];
};

static void release(struct split *s) {
  for (int k = 0; k < PARTS; k++) {
    zf_rows_out_abort(s->out[k]);
    free(s->path[k]);
  }
  free(s->part);
  free(s->order);
  zf_records_free(s->rec);
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

static int count_parts(struct split *s) {
  int64_t rows = s->rec->count;
  int rc = count_of(&s->n[DEV], zc_data_options.dev, rows, "dev");
  if (!rc) rc = count_of(&s->n[TEST], zc_data_options.test, rows, "test");
  if (rc) return rc;
  if (!s->n[DEV] && !s->n[TEST])
    return zf_error(ZF_EUSAGE, "a share or number of rows is needed: --dev, --test or both");
  s->n[TRAIN] = rows - s->n[DEV] - s->n[TEST];
  if (s->n[TRAIN] >= 1) return 0;
  return zf_error(ZF_EUSAGE, "%s: --dev and --test leave nothing to train on: there are %lld rows",
                  s->rec->path, (long long)rows);
}

/* --- by a label --- */

struct labelled {
  int64_t label, rank, row;
};

static int by_label(const void *a, const void *b) {
  const struct labelled *x = a, *y = b;
  if (x->label != y->label) return x->label < y->label ? -1 : 1;
  return (x->rank > y->rank) - (x->rank < y->rank);
}

/* The number of a row's label, in order of appearance. */
static int label_of(int64_t *out, struct split *s, json_t *seen, int64_t row) {
  const json_t *r = zf_records_row(s->rec, row), *v = json_object_get(r, zc_data_options.by);
  if (!r) return ZF_EINVALID;
  char *key = v ? zf_json_dump(v, JSON_ENCODE_ANY) : NULL;
  if (!v)
    return zf_error(ZF_EINVALID, "%s:%lld: field '%s' is missing", s->rec->path,
                    (long long)zf_records_line(s->rec, row), zc_data_options.by);
  if (!key) return zf_error(ZF_ENOMEM, "out of memory for labels");
  const json_t *number = json_object_get(seen, key);
  *out = number ? json_integer_value(number) : (int64_t)json_object_size(seen);
  int bad = !number && json_object_set_new(seen, key, json_integer(*out));
  free(key);
  return bad ? zf_error(ZF_ENOMEM, "out of memory for labels") : 0;
}

/* Rows of one label together, shuffled among themselves. */
static int sort_by_label(struct split *s) {
  int64_t n = s->rec->count;
  struct labelled *v = zf_calloc(n, sizeof *v);
  json_t *seen = json_object();
  int rc = v && seen ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n; i++) {
    v[i].rank = i;
    v[i].row = s->order[i];
    rc = label_of(&v[i].label, s, seen, v[i].row);
  }
  if (!rc) qsort(v, (size_t)n, sizeof *v, by_label);
  for (int64_t i = 0; !rc && i < n; i++) s->order[i] = v[i].row;
  json_decref(seen);
  free(v);
  return rc;
}

/* Row i of the dealing goes to a part when its share passes a whole number there: so each run of rows
 * of one label has its share of every part, to one row.  128 bits hold the product. */
static int passes(int64_t i, int64_t part, int64_t rows) {
  return (int64_t)((__int128)(i + 1) * part / rows) > (int64_t)((__int128)i * part / rows);
}

/* Dev rows are dealt first; of the others, counted anew, the test rows. */
static void deal(struct split *s) {
  int64_t rows = s->rec->count, left = 0;
  for (int64_t i = 0; i < rows; i++) {
    int part = TRAIN;
    if (passes(i, s->n[DEV], rows))
      part = DEV;
    else if (passes(left++, s->n[TEST], rows - s->n[DEV]))
      part = TEST;
    s->part[s->order[i]] = (char)part;
  }
}

static int assign(struct split *s) {
  s->part = zf_calloc(s->rec->count, 1);
  s->order = zf_calloc(s->rec->count, sizeof *s->order);
  if (!s->part || !s->order) return ZF_ENOMEM;
  zf_order_shuffle(s->order, s->rec->count, (uint64_t)zc_data_options.seed, 0, ZF_SHUFFLE_SPLIT);
  int rc = zc_data_options.by ? sort_by_label(s) : 0;
  if (!rc) deal(s);
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

static int open_parts(struct split *s) {
  int rc = 0;
  for (int k = 0; !rc && k < PARTS; k++) {
    if (!s->n[k]) continue;
    s->path[k] = path_of(s->rec->path, k);
    rc = s->path[k] ? zf_rows_out_open(&s->out[k], s->path[k]) : ZF_ENOMEM;
    if (!rc) rc = zf_rows_out_head(s->out[k], s->rec);
  }
  return rc;
}

static int write_parts(struct split *s) {
  int rc = open_parts(s);
  for (int64_t i = 0; !rc && i < s->rec->count; i++)
    rc = zf_rows_out_copy(s->out[(int)s->part[i]], s->rec, i);
  for (int k = 0; !rc && k < PARTS; k++) {
    if (!s->out[k]) continue;
    rc = zf_rows_out_commit(s->out[k]);
    s->out[k] = NULL;
  }
  return rc;
}

static void report(const struct split *s) {
  struct zf_buf b = {0};
  for (int k = 0; k < PARTS; k++) {
    if (!s->path[k]) continue;
    if (!zc_common.json) {
      printf("%8lld  %s\n", (long long)s->n[k], s->path[k]);
      continue;
    }
    zf_buf_printf(&b, "%s\"%s\": {\"path\": ", b.len ? ", " : "{", part_name[k]);
    zc_json_text(&b, s->path[k], strlen(s->path[k]));
    zf_buf_printf(&b, ", \"rows\": %lld}", (long long)s->n[k]);
  }
  if (zc_common.json) printf("%s}\n", b.data ? b.data : "{");
  zf_buf_free(&b);
}

int zc_data_split(const struct zc_args *a) {
  struct split s = {0};
  int rc = zf_records_open(&s.rec, a->word[1]);
  if (!rc) rc = count_parts(&s);
  if (!rc) rc = assign(&s);
  if (!rc) rc = write_parts(&s);
  if (!rc) report(&s);
  release(&s);
  return rc;
}
