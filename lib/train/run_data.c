#include "train/run_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/duplicates.h"

/* What opening needs beside the data themselves. */
struct opening {
  struct zf_run_data *d;
  struct zf_settings *s;
  const struct zf_tok *tok;
  struct zf_hash *hash;
  unsigned want;
};

/* --- a set --- */

static int encode_row(void *ctx, struct zf_dataset *d, int64_t row) {
  const struct zf_streamed_set *src = ctx;
  return zf_row_source_encode(src->pool, d, src->pick[row]);
}

static int stream_set(struct zf_dataset *d, struct zf_streamed_set *src, int64_t n) {
  src->stream = (struct zf_row_reader){.count = n, .encode = encode_row, .ctx = src, .dataset = d};
  d->stream = &src->stream;
  for (int64_t i = 0; i < src->pool->nfile; i++) {
    const struct zf_data_spec *spec = &src->pool->file[i].spec;
    src->stream.sequence_len = spec->sequence_len;
    if (spec->noptions > d->options) d->options = spec->noptions;
  }
  src->stream.options = d->options;
  return 0;
}

/* A set of rows pick[0..n), numbered through the pool's files, in that order. */
static int make_set(const struct opening *o, struct zf_dataset **out, enum zf_data_part part,
                    const struct zf_row_source *p, const int64_t *pick, int64_t n) {
  struct zf_streamed_set *src = &o->d->source[part];
  int rc = zf_dataset_new(out, p->file[0].spec.type);
  if (!rc)
    (*out)->problem = p->file[0].spec.problem; /* a stream has no row yet that would say so */
  if (!rc) rc = zf_row_source_name(p, *out);
  if (!rc && o->s->streaming) {
    *src = (struct zf_streamed_set){.pool = p, .pick = zf_calloc(n, sizeof *pick)};
    if (!src->pick) return ZF_ENOMEM;
    if (n) memcpy(src->pick, pick, (size_t)n * sizeof *pick);
    return stream_set(*out, src, n);
  }
  for (int64_t i = 0; !rc && i < n; i++) rc = zf_row_source_encode(p, *out, pick[i]);
  return rc;
}

/* --- which rows --- */

static int64_t dev_count(const struct zf_settings *s, int64_t rows) {
  double v = s->val_set_size;
  return v < 1 ? (int64_t)(v * (double)rows) : (int64_t)v;
}

static int permutation(int64_t **order, int64_t n, uint64_t seed, uint32_t which) {
  *order = zf_calloc(n, sizeof **order);
  if (!*order) return ZF_ENOMEM;
  zf_order_shuffle(*order, n, seed, 0, which);
  return 0;
}

/* One permutation of all rows: the first num_train train, the dev rows are the last. */
static int open_train(const struct opening *o) {
  const struct zf_settings *s = o->s;
  struct zf_row_source *p = &o->d->pool[ZF_TRAIN_SET];
  int64_t *order = NULL;
  int rc = zf_row_source_open(p, s->train, s->ntrain, o->tok, o->hash);
  if (rc) return rc;
  int64_t dev = dev_count(s, p->rows), train = p->rows - dev;
  if (p->rows > 0 && train < 1)
    return zf_error(ZF_EUSAGE,
                    "val_set_size: %lld dev examples leave nothing to train on: there are "
                    "%lld rows",
                    (long long)dev, (long long)p->rows);
  if (s->num_train && s->num_train < train) train = s->num_train;
  rc = permutation(&order, p->rows, s->split_seed, ZF_SHUFFLE_SPLIT);
  if (!rc && (o->want & ZF_WANT_TRAIN))
    rc = make_set(o, &o->d->train, ZF_TRAIN_SET, p, order, train);
  if (!rc && dev && (o->want & ZF_WANT_DEV))
    rc = make_set(o, &o->d->dev, ZF_DEV_SET, p, order + p->rows - dev, dev);
  free(order);
  return rc;
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* A dev or test set of files of its own; num examples at most, drawn, in the order of the file. */
static int open_own(const struct opening *o, struct zf_dataset **out, enum zf_data_part part,
                    const struct zf_data_file *file, int64_t nfile, int64_t num) {
  struct zf_row_source *p = &o->d->pool[part];
  int64_t *order = NULL;
  int rc = zf_row_source_open(p, file, nfile, o->tok, o->hash);
  if (!rc) rc = permutation(&order, p->rows, o->s->split_seed, ZF_SHUFFLE_TEST);
  if (!rc) {
    int64_t n = num && num < p->rows ? num : p->rows;
    qsort(order, (size_t)n, sizeof *order, by_value);
    rc = make_set(o, out, part, p, order, n);
  }
  free(order);
  return rc;
}

int zf_run_data_resolve(struct zf_settings *s, const struct zf_tok *tok, int64_t context) {
  if (s->sequence_len > context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)s->sequence_len, (long long)context);
  struct zf_data_file *set[] = {s->train, s->val, s->test};
  int64_t n[] = {s->ntrain, s->nval, s->ntest};
  for (int k = 0; k < 3; k++)
    for (int64_t i = 0; i < n[k]; i++) {
      set[k][i].spec.sequence_len = s->sequence_len ? s->sequence_len : context;
      set[k][i].spec.chat = s->chat;
      set[k][i].spec.vocab = s->vocab;
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

/* What fell out of a set that is held changes which examples follow each other, and so the run.  A
 * stream keeps a place for it: the two ways are one run where nothing fell out, and two elsewhere. */
static void hash_left_out(const struct opening *o) {
  const struct zf_dataset *t = o->d->train;
  if (o->d->left_out) zf_hash_add(o->hash, &o->d->left_out, sizeof o->d->left_out);
  if (t && !t->stream && t->counts.examples + o->d->left_out != t->counts.rows)
    zf_hash_add(o->hash, "left out", 8);
}

/* An EOS that no log of before names: tokenizer_config.json alone was asked then, so that such a run ended
 * no text and does not go on with one that does. */
static void hash_eos(const struct opening *o) {
  struct zf_special_token eos = zf_tok_special(o->tok, ZF_EOS);
  int always =
      !eos.from || !strcmp(eos.from, "tokenizer_config.json") || !strcmp(eos.from, ZF_TOK_GGUF);
  if (!always) zf_hash_add(o->hash, &eos.id, sizeof eos.id);
}

static void close_pools(struct zf_run_data *d) {
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    zf_row_source_close(&d->pool[k]);
    free(d->source[k].pick);
    d->source[k].pick = NULL;
  }
}

/* Groups of the training examples are the files they are of. */
static int weigh(struct zf_run_data *d, const struct zf_settings *s) {
  int64_t n = zf_dataset_size(d->train), local;
  int32_t *of = zf_calloc(n, sizeof *of);
  double *weight = zf_calloc(s->ntrain, sizeof *weight);
  int rc = of && weight ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n; i++)
    of[i] = d->train->stream ? (int32_t)zf_row_source_file(&d->pool[ZF_TRAIN_SET],
                                                           d->source[ZF_TRAIN_SET].pick[i], &local)
                             : d->train->ex[i].file;
  for (int64_t k = 0; !rc && k < s->ntrain; k++) weight[k] = s->train[k].weight;
  if (!rc) rc = zf_order_weigh(&d->order, of, weight, s->ntrain);
  free(of);
  free(weight);
  return rc;
}

static int make_order(struct zf_run_data *d, const struct zf_settings *s) {
  int rc = zf_order_new(&d->order, zf_dataset_size(d->train), s->seed);
  return !rc && s->train[0].weight > 0 ? weigh(d, s) : rc;
}

static int open_sets(const struct opening *o) {
  const struct zf_settings *s = o->s;
  struct zf_run_data *d = o->d;
  int rc = 0;
  if (o->want & (ZF_WANT_TRAIN | ZF_WANT_DEV)) rc = open_train(o);
  if (!rc && s->nval && (o->want & ZF_WANT_DEV))
    rc = open_own(o, &d->dev, ZF_DEV_SET, s->val, s->nval, 0);
  if (!rc && s->ntest && (o->want & ZF_WANT_TEST))
    rc = open_own(o, &d->test, ZF_TEST_SET, s->test, s->ntest, s->num_eval);
  if (!rc) rc = check_sets(d, o->want);
  if (!rc) rc = zf_duplicates_find(d, s->deduplicate);
  if (!rc && d->train && zf_dataset_size(d->train) == 0)
    rc = zf_error(ZF_EUSAGE, "dataset_exact_deduplication leaves nothing to train on: every row is "
                             "in a dev or test set too");
  return !rc && d->train ? make_order(d, s) : rc;
}

int zf_run_data_open(struct zf_run_data *out, struct zf_settings *s, const struct zf_tok *tok,
                     int64_t context, unsigned want) {
  struct opening o = {out, s, tok, NULL, want};
  memset(out, 0, sizeof *out);
  out->batch = s->micro_batch * s->accumulation;
  int rc = zf_run_data_resolve(s, tok, context);
  if (!rc) rc = zf_hash_new(&o.hash);
  if (!rc) rc = open_sets(&o);
  if (!rc) hash_left_out(&o);
  if (!rc) hash_eos(&o);
  if (!rc) zf_hash_hex(o.hash, out->hash);
  if (o.hash) zf_hash_free(o.hash);
  if (rc)
    zf_run_data_free(out);
  else if (!s->streaming)
    close_pools(out);
  zf_trim();
  return rc;
}

void zf_run_data_free(struct zf_run_data *d) {
  zf_dataset_free(d->train);
  zf_dataset_free(d->dev);
  zf_dataset_free(d->test);
  close_pools(d);
  zf_order_free(&d->order);
  zf_duplicates_free(d);
  free(d->row);
  free(d->at);
  memset(d, 0, sizeof *d);
}

/* --- places --- */

static int reserve_window(struct zf_run_data *d, int64_t n) {
  if (n <= d->nwindow) return 0;
  free(d->row);
  free(d->at);
  d->row = zf_calloc(n, sizeof *d->row);
  d->at = zf_calloc(n, sizeof *d->at);
  d->nwindow = 0;
  return d->row && d->at ? 0 : ZF_ENOMEM;
}

/* Encodes the step's batch that the places are in, or just them when they are of two. */
static int load_window(struct zf_run_data *d, int64_t from, int64_t n) {
  int64_t first = from - from % d->batch, count = d->batch, left = 0;
  if (d->nwindow && from >= d->window && from + n <= d->window + d->nwindow) return 0;
  if (from + n > first + count) {
    first = from;
    count = n;
  }
  int rc = reserve_window(d, count);
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) d->row[i] = zf_order_at(&d->order, first + i);
  d->nwindow = 0; /* until it is whole */
  if ((rc = zf_row_reader_load(d->train->stream, d->row, count, d->at))) return rc;
  d->window = first;
  d->nwindow = count;
  for (int64_t i = 0; i < count; i++) left += d->at[i] >= 0;
  d->empty += left == 0;
  return 0;
}

int zf_run_data_batch(struct zf_run_data *d, int64_t from, int64_t n, int64_t *index, int64_t *m) {
  *m = 0;
  int rc = d->train->stream ? load_window(d, from, n) : 0;
  for (int64_t i = 0; !rc && i < n; i++) {
    int64_t k = d->train->stream ? d->at[from + i - d->window] : zf_order_at(&d->order, from + i);
    if (k >= 0) index[(*m)++] = k;
  }
  return rc;
}
