#include "train/data.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "rng/noise.h"

/* Numbers that keep the shuffles of different uses apart (the noise's `param`). */
enum { SHUFFLE_EPOCH, SHUFFLE_SPLIT, SHUFFLE_TEST };

static void shuffle(int64_t *order, int64_t n, uint64_t seed, uint32_t step, uint32_t which) {
  struct zf_noise k = {.seed = seed, .step = step, .use = ZF_USE_SHUFFLE, .param = which};
  zf_shuffle(order, n, &k);
}

/* Files of one set, opened together. */
struct pool {
  struct zf_records **rec;
  const struct zf_data_file *file;
  int64_t nfile, rows;
};

static int pool_open(struct pool *p, const struct zf_data_file *file, int64_t n,
                     struct zf_hash *hash) {
  *p = (struct pool){.file = file, .nfile = n};
  p->rec = zf_calloc(n, sizeof(*p->rec));
  if (!p->rec) return ZF_ENOMEM;
  for (int64_t i = 0; i < n; i++) {
    char hex[33];
    int rc = zf_records_open(&p->rec[i], file[i].path);
    if (!rc) rc = zf_hash_file(hex, file[i].path);
    if (rc) return rc;
    zf_hash_add(hash, hex, 32);
    p->rows += p->rec[i]->n;
  }
  if (n && p->rows == 0)
    return zf_error(ZF_EINVALID, "%s: the data set is empty: it has no row", file[0].path);
  return 0;
}

static void pool_close(struct pool *p) {
  for (int64_t i = 0; p->rec && i < p->nfile; i++) zf_records_free(p->rec[i]);
  free(p->rec);
  *p = (struct pool){0};
}

/* Encodes rows pick[0..n), numbered through all files, in that order; runs of one file go together.
 */
static int pool_encode(const struct pool *p, struct zf_dataset **out, const int64_t *pick,
                       int64_t n, const struct zf_tok *tok) {
  int rc = zf_dataset_new(out, p->file[0].spec.type);
  int64_t *local = zf_calloc(n, sizeof *local);
  if (!rc && !local) rc = ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n;) {
    int64_t f = 0, first = 0, run = 0;
    while (pick[i] >= first + p->rec[f]->n) first += p->rec[f++]->n;
    for (; i < n && pick[i] >= first && pick[i] < first + p->rec[f]->n; i++)
      local[run++] = pick[i] - first;
    rc = zf_dataset_add(*out, p->rec[f], local, run, &p->file[f].spec, tok);
  }
  free(local);
  return rc;
}

static int64_t dev_count(const struct zf_settings *s, int64_t rows) {
  double v = s->val_set_size;
  return v < 1 ? (int64_t)(v * (double)rows) : (int64_t)v;
}

/* One permutation of all rows: the first num_train train, the dev rows are the last. */
static int open_train(struct zf_run_data *d, const struct zf_settings *s, const struct zf_tok *tok,
                      unsigned want, struct zf_hash *hash) {
  struct pool p = {0};
  int64_t *order = NULL;
  int rc = pool_open(&p, s->train, s->ntrain, hash);
  if (rc) goto done;
  int64_t dev = dev_count(s, p.rows), train = p.rows - dev;
  if (p.rows > 0 && train < 1) {
    rc = zf_error(ZF_EUSAGE,
                  "val_set_size: %lld dev examples leave nothing to train on: there are "
                  "%lld rows",
                  (long long)dev, (long long)p.rows);
    goto done;
  }
  if (s->num_train && s->num_train < train) train = s->num_train;
  order = zf_calloc(p.rows, sizeof *order);
  if (!order) {
    rc = ZF_ENOMEM;
    goto done;
  }
  shuffle(order, p.rows, s->seed, 0, SHUFFLE_SPLIT);
  if (want & ZF_WANT_TRAIN) rc = pool_encode(&p, &d->train, order, train, tok);
  if (!rc && dev && (want & ZF_WANT_DEV))
    rc = pool_encode(&p, &d->dev, order + p.rows - dev, dev, tok);
done:
  free(order);
  pool_close(&p);
  return rc;
}

/* A dev or test set of files of its own; num examples at most, drawn, in the order of the file. */
static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int open_own(struct zf_dataset **out, const struct zf_data_file *file, int64_t nfile,
                    int64_t num, const struct zf_settings *s, const struct zf_tok *tok,
                    struct zf_hash *hash) {
  struct pool p = {0};
  int64_t *order = NULL;
  int rc = pool_open(&p, file, nfile, hash);
  if (!rc) {
    order = zf_calloc(p.rows, sizeof *order);
    if (!order) rc = ZF_ENOMEM;
  }
  if (!rc) {
    int64_t n = num && num < p.rows ? num : p.rows;
    shuffle(order, p.rows, s->seed, 0, SHUFFLE_TEST);
    qsort(order, (size_t)n, sizeof *order, by_value);
    rc = pool_encode(&p, out, order, n, tok);
  }
  free(order);
  pool_close(&p);
  return rc;
}

static int resolve_length(struct zf_settings *s, const struct zf_tok *tok, int64_t context) {
  if (s->sequence_len > context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)s->sequence_len, (long long)context);
  struct zf_data_file *set[] = {s->train, s->val, s->test};
  int64_t n[] = {s->ntrain, s->nval, s->ntest};
  for (int k = 0; k < 3; k++)
    for (int64_t i = 0; i < n[k]; i++) {
      set[k][i].spec.sequence_len = s->sequence_len ? s->sequence_len : context;
      set[k][i].spec.chat = s->chat;
      set[k][i].spec.add_eos = s->add_eos >= 0 ? s->add_eos : zf_tok_eos(tok) >= 0;
    }
  return 0;
}

static int check_sets(const struct zf_run_data *d, unsigned want) {
  int rc = 0;
  if (want & ZF_WANT_TRAIN) rc = zf_dataset_check(d->train, "training");
  if (!rc && d->dev) rc = zf_dataset_check(d->dev, "dev");
  if (!rc && d->test) rc = zf_dataset_check(d->test, "test");
  return rc;
}

int zf_run_data_open(struct zf_run_data *out, struct zf_settings *s, const struct zf_tok *tok,
                     int64_t context, unsigned want) {
  struct zf_hash *hash = NULL;
  memset(out, 0, sizeof *out);
  out->epoch = -1;
  out->seed = s->seed;
  int rc = resolve_length(s, tok, context);
  if (!rc) rc = zf_hash_new(&hash);
  if (!rc && (want & (ZF_WANT_TRAIN | ZF_WANT_DEV))) rc = open_train(out, s, tok, want, hash);
  if (!rc && s->nval && (want & ZF_WANT_DEV))
    rc = open_own(&out->dev, s->val, s->nval, 0, s, tok, hash);
  if (!rc && s->ntest && (want & ZF_WANT_TEST))
    rc = open_own(&out->test, s->test, s->ntest, s->num_eval, s, tok, hash);
  if (!rc) rc = check_sets(out, want);
  if (!rc && out->train) {
    out->order = zf_calloc(out->train->n, sizeof *out->order);
    if (!out->order) rc = ZF_ENOMEM;
  }
  if (!rc) zf_hash_hex(hash, out->hash);
  if (hash) zf_hash_free(hash);
  if (rc) zf_run_data_free(out);
  return rc;
}

void zf_run_data_free(struct zf_run_data *d) {
  zf_dataset_free(d->train);
  zf_dataset_free(d->dev);
  zf_dataset_free(d->test);
  free(d->order);
  memset(d, 0, sizeof *d);
}

void zf_run_data_batch(struct zf_run_data *d, int64_t from, int64_t n, int64_t *index) {
  int64_t size = d->train->n;
  for (int64_t i = 0; i < n; i++) {
    int64_t epoch = (from + i) / size;
    if (epoch != d->epoch) {
      shuffle(d->order, size, d->seed, (uint32_t)epoch, SHUFFLE_EPOCH);
      d->epoch = epoch;
    }
    index[i] = d->order[(from + i) % size];
  }
}
