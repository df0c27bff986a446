/* Reads files of a teacher's predictions. */
#include "eval/teacher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "eval/teacher_internal.h"

const char zf_teacher_magic[ZF_TEACHER_MAGIC + 1] = "ZFTEACH1";

struct zf_teacher {
  struct zf_teacher_head head;
  const unsigned char *rows; /* in `data` */
  int64_t row_bytes, row_count;
  char *name;
  size_t len;
  struct zf_map map; /* data NULL: the bytes are the caller's */
};

int64_t zf_teacher_row_bytes(int64_t k) {
  return 8 * k + 4;
}

/* --- the head of the file --- */

static int read_hash(struct zf_bytes *bytes, char out[33]) {
  const unsigned char *text;
  int rc = zf_bytes_take(bytes, 32, &text);
  if (rc) return rc;
  for (int i = 0; i < 32; i++)
    if (!text[i] || !strchr("0123456789abcdef", text[i]))
      return zf_error(ZF_EINVALID, "expected a hash of 32 hexadecimal digits at byte %zu",
                      bytes->pos - 32);
  memcpy(out, text, 32);
  out[32] = 0;
  return 0;
}

static int read_count(struct zf_bytes *bytes, int64_t *out, int64_t most, const char *what) {
  uint64_t number = 0;
  int rc = zf_bytes_u64(bytes, &number);
  if (!rc && number > (uint64_t)most)
    rc = zf_error(ZF_EINVALID, "expected at most %lld %s, found %llu", (long long)most, what,
                  (unsigned long long)number);
  *out = rc ? 0 : (int64_t)number;
  return rc;
}

static int check_shape(const struct zf_teacher_head *head, uint32_t kind) {
  int tokens = kind == ZF_TEACHER_TOKENS;
  if (kind > ZF_TEACHER_OPTIONS)
    return zf_error(ZF_EINVALID, "expected kind 0 or 1, found %u", (unsigned)kind);
  if (head->k > ZF_TEACHER_MAX_K || tokens != (head->k > 0) || (tokens && head->k > head->vocab))
    return zf_error(ZF_EINVALID,
                    "expected 1 to %lld listed tokens, and none of options, found %lld",
                    (long long)(head->vocab < ZF_TEACHER_MAX_K ? head->vocab : ZF_TEACHER_MAX_K),
                    (long long)head->k);
  if (!(head->temperature >= ZF_TEACHER_COLDEST && head->temperature <= ZF_TEACHER_HOTTEST))
    return zf_error(ZF_EINVALID, "expected a temperature of %g to %g, found %g", ZF_TEACHER_COLDEST,
                    ZF_TEACHER_HOTTEST, head->temperature);
  return 0;
}

static int read_head(struct zf_bytes *bytes, struct zf_teacher_head *head) {
  const unsigned char *magic;
  uint32_t kind = 0, k = 0;
  int rc = zf_bytes_take(bytes, ZF_TEACHER_MAGIC, &magic);
  if (rc || memcmp(magic, zf_teacher_magic, ZF_TEACHER_MAGIC) != 0)
    return zf_error(ZF_EINVALID, "expected a file of a teacher's predictions, which begins with %s",
                    zf_teacher_magic);
  if ((rc = zf_bytes_u32(bytes, &kind)) || (rc = zf_bytes_u32(bytes, &k))) return rc;
  if ((rc = zf_bytes_f64(bytes, &head->temperature))) return rc;
  if ((rc = read_count(bytes, &head->vocab, INT32_MAX, "tokens of the vocabulary"))) return rc;
  if ((rc = read_hash(bytes, head->model))) return rc;
  head->k = k;
  for (int i = 0; i < ZF_TEACHER_SETS; i++) {
    if ((rc = read_count(bytes, &head->set[i].rows, INT64_MAX / 8, "rows"))) return rc;
    if ((rc = read_hash(bytes, head->set[i].hash))) return rc;
  }
  if ((rc = check_shape(head, kind))) return rc;
  head->kind = (enum zf_teacher_kind)kind;
  return 0;
}

/* The bytes of the rows must be what lies between the head and the checksum. */
static int place_rows(struct zf_teacher *teacher, struct zf_bytes *bytes) {
  const struct zf_teacher_head *head = &teacher->head;
  int64_t rows = 0, size = 0;
  int overflow = 0;
  for (int i = 0; i < ZF_TEACHER_SETS; i++)
    overflow |= zf_add_checked(rows, head->set[i].rows, &rows);
  teacher->row_bytes = zf_teacher_row_bytes(head->k);
  overflow |= zf_mul_checked(rows, teacher->row_bytes, &size);
  if (overflow || bytes->len - bytes->pos < 4 || (uint64_t)size != bytes->len - bytes->pos - 4)
    return zf_error(ZF_EINVALID, "expected %lld rows of %lld bytes and 4 more, found %zu bytes",
                    (long long)rows, (long long)teacher->row_bytes, bytes->len - bytes->pos);
  teacher->row_count = rows;
  return zf_bytes_take(bytes, (uint64_t)size, &teacher->rows);
}

static int check_sum(struct zf_bytes *bytes) {
  uint32_t expected, found = zf_crc32c(0, bytes->data, bytes->pos);
  int rc = zf_bytes_u32(bytes, &expected);
  if (!rc && found != expected)
    rc = zf_error(ZF_EINVALID, "is damaged: its checksum is %08x, where %08x is written",
                  (unsigned)found, (unsigned)expected);
  return rc;
}

/* --- its rows --- */

/* A row's probabilities are 1 together.  Each log p is rounded to f32, by 2^-24 of itself at most, and the
 * sum of p |log p|, an entropy, is at most log(k + 1): the sum is off by 2^-24 log(k + 1), here with a
 * factor of 4 and a unit of the sum's own rounding. */
static double tolerance(int64_t outcomes) {
  return ldexp(1 + log((double)outcomes), -22);
}

static int check_tokens(const struct zf_teacher *teacher, int64_t row) {
  const struct zf_teacher_head *head = &teacher->head;
  const int32_t *id;
  const float *log_p;
  double sum = 0;
  zf_teacher_row(teacher, row, &id, &log_p);
  for (int64_t i = 0; i < head->k; i++)
    if (id[i] < 0 || id[i] >= head->vocab || (i && id[i] <= id[i - 1]))
      return zf_error(ZF_EINVALID, "row %lld: expected ascending ids below %lld, found %d",
                      (long long)row, (long long)head->vocab, id[i]);
  for (int64_t i = 0; i <= head->k; i++) {
    int rest = i == head->k, empty = rest && head->k == head->vocab;
    if (!(log_p[i] <= 0) || (isinf(log_p[i]) && !empty))
      return zf_error(ZF_EINVALID, "row %lld: expected log-probabilities, found %g", (long long)row,
                      (double)log_p[i]);
    sum += exp((double)log_p[i]);
  }
  if (fabs(sum - 1) > tolerance(head->k + 1))
    return zf_error(ZF_EINVALID, "row %lld: expected probabilities with the sum 1, found %.9g",
                    (long long)row, sum);
  return 0;
}

/* Which options are an example's is not in the file. */
static int check_option(const struct zf_teacher *teacher, int64_t row) {
  const int32_t *id;
  const float *log_p;
  zf_teacher_row(teacher, row, &id, &log_p);
  if (*log_p <= 0 && isfinite(*log_p)) return 0;
  return zf_error(ZF_EINVALID, "row %lld: expected a log-probability, found %g", (long long)row,
                  (double)*log_p);
}

static int check_rows(const struct zf_teacher *teacher) {
  int tokens = teacher->head.kind == ZF_TEACHER_TOKENS, rc;
  for (int64_t row = 0; row < teacher->row_count; row++) {
    rc = tokens ? check_tokens(teacher, row) : check_option(teacher, row);
    if (rc) return rc;
  }
  return 0;
}

/* --- opening --- */

static int parse(struct zf_teacher *teacher, const void *data, size_t len) {
  struct zf_bytes bytes = {.data = data, .len = len};
  teacher->len = len;
  int rc = read_head(&bytes, &teacher->head);
  if (!rc) rc = place_rows(teacher, &bytes);
  if (!rc) rc = check_sum(&bytes);
  if (!rc) rc = check_rows(teacher);
  return rc ? zf_error_prefix(rc, "%s", teacher->name) : 0;
}

static int new_teacher(struct zf_teacher **out, const char *name) {
  struct zf_teacher *teacher = zf_calloc(1, sizeof *teacher);
  *out = teacher;
  if (teacher) teacher->name = zf_strdup(name);
  return teacher && teacher->name ? 0 : ZF_ENOMEM;
}

static int finish(struct zf_teacher **out, int rc) {
  if (!rc) return 0;
  zf_teacher_free(*out);
  *out = NULL;
  return rc;
}

int zf_teacher_parse(struct zf_teacher **out, const void *data, size_t len, const char *name) {
  int rc = new_teacher(out, name);
  if (!rc) rc = parse(*out, data, len);
  return finish(out, rc);
}

int zf_teacher_open(struct zf_teacher **out, const char *path) {
  int rc = new_teacher(out, path);
  if (!rc) rc = zf_map_open(&(*out)->map, path);
  if (!rc) rc = parse(*out, (*out)->map.data, (*out)->map.len);
  if (!rc) zf_teacher_drop(*out); /* steps read few rows */
  return finish(out, rc);
}

void zf_teacher_free(struct zf_teacher *teacher) {
  if (!teacher) return;
  if (teacher->map.data) zf_map_close(&teacher->map);
  free(teacher->name);
  free(teacher);
}

const struct zf_teacher_head *zf_teacher_head(const struct zf_teacher *teacher) {
  return &teacher->head;
}

const char *zf_teacher_name(const struct zf_teacher *teacher) {
  return teacher->name;
}

int64_t zf_teacher_bytes(const struct zf_teacher *teacher) {
  return (int64_t)teacher->len;
}

int zf_teacher_probe(const char *path) {
  char magic[ZF_TEACHER_MAGIC];
  FILE *file = zf_is_dir(path) ? NULL : fopen(path, "rbe");
  if (!file) return 0;
  size_t count = fread(magic, 1, sizeof magic, file);
  fclose(file);
  return count == sizeof magic && !memcmp(magic, zf_teacher_magic, sizeof magic);
}

/* The head and every row have a multiple of four bytes, and a map begins at a page. */
void zf_teacher_row(const struct zf_teacher *teacher, int64_t row, const int32_t **id,
                    const float **log_p) {
  const void *data = teacher->rows + row * teacher->row_bytes;
  *id = teacher->head.k ? data : NULL;
  *log_p = (const float *)data + teacher->head.k;
}

/* --- the sets that it is about --- */

int zf_teacher_kind_of(enum zf_teacher_kind *kind, enum zf_task_type type) {
  if (type == ZF_TASK_PREFERENCE)
    return zf_error(ZF_EUSAGE, "a teacher's predictions suit no data of type preference");
  *kind = zf_task_has_options(type) ? ZF_TEACHER_OPTIONS : ZF_TEACHER_TOKENS;
  return 0;
}

void zf_teacher_rows(int64_t *first, const struct zf_dataset *dataset) {
  int options = zf_task_has_options(dataset->type);
  first[0] = 0;
  for (int64_t i = 0; i < dataset->count; i++)
    first[i + 1] = first[i] + (options ? dataset->example[i].nseq : zf_example_rows(dataset, i));
}

void zf_teacher_drop(const struct zf_teacher *teacher) {
  zf_map_drop(&teacher->map, 0, teacher->map.len);
}

/* Token ids, and which of them are targets. */
static void hash_seq(struct zf_hash *hash, const struct zf_dataset *dataset,
                     const struct zf_seq *seq) {
  int32_t sizes[] = {seq->len, seq->target};
  zf_hash_add(hash, sizes, sizeof sizes);
  zf_hash_add(hash, dataset->pool.id + seq->at, (size_t)seq->len * sizeof(int32_t));
  for (int64_t t = zf_seq_next_target(dataset, seq, 0); t < seq->len;
       t = zf_seq_next_target(dataset, seq, t + 1))
    zf_hash_add(hash, &t, sizeof t);
}

int zf_teacher_hash(char out[33], const struct zf_dataset *dataset) {
  struct zf_hash *hash;
  int rc = zf_hash_new(&hash);
  if (rc) return rc;
  for (int64_t i = 0; i < dataset->count; i++) {
    const struct zf_example *example = &dataset->example[i];
    int32_t numbers[] = {example->nseq, example->label, example->mask_distance};
    zf_hash_add(hash, numbers, sizeof numbers);
    for (int32_t j = 0; j < example->nseq; j++)
      hash_seq(hash, dataset, &dataset->seq[example->seq + j]);
  }
  zf_hash_hex(hash, out);
  zf_hash_free(hash);
  return 0;
}

static int check_set(const struct zf_teacher *teacher, int number,
                     const struct zf_dataset *dataset) {
  static const char *const names[ZF_TEACHER_SETS] = {"training", "dev", "test"};
  const struct zf_teacher_set *set = &teacher->head.set[number];
  enum zf_teacher_kind kind;
  char hash[33];
  int rc = zf_teacher_kind_of(&kind, dataset->type);
  if (rc || (rc = zf_teacher_hash(hash, dataset))) return rc;
  if (!set->rows)
    return zf_error(ZF_EINVALID, "%s: expected predictions for the %s examples, found none",
                    teacher->name, names[number]);
  if (kind == teacher->head.kind && !strcmp(hash, set->hash)) return 0;
  return zf_error(
      ZF_EINVALID,
      "%s: expected predictions for %s examples of hash %s, found %s: they were made for "
      "other data, tokenizer, templates, sequence_len or seed",
      teacher->name, names[number], hash, set->hash);
}

int zf_teacher_check(const struct zf_teacher *teacher, const struct zf_dataset *const *set) {
  int rc = 0;
  for (int i = 0; i < ZF_TEACHER_SETS; i++)
    if (!rc && set[i]) rc = check_set(teacher, i, set[i]);
  return rc;
}
