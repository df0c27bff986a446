#include "train/run_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/duplicates.h"

/* What opening needs beside the data themselves. */
struct opening {
  struct zf_run_data *data;
  struct zf_settings *settings;
  const struct zf_tok *tok;
  struct zf_hash *hash;
  unsigned want;
};

/* --- a set --- */

static int encode_row(void *ctx, struct zf_dataset *dataset, int64_t row) {
  const struct zf_streamed_set *src = ctx;
  return zf_row_source_encode(src->pool, dataset, src->pick[row]);
}

static int stream_set(struct zf_dataset *dataset, struct zf_streamed_set *src, int64_t count) {
  src->stream =
      (struct zf_row_reader){.count = count, .encode = encode_row, .ctx = src, .dataset = dataset};
  dataset->stream = &src->stream;
  for (int64_t i = 0; i < src->pool->nfile; i++) {
    const struct zf_data_spec *spec = &src->pool->file[i].spec;
    src->stream.sequence_len = spec->sequence_len;
    if (spec->noptions > dataset->options) dataset->options = spec->noptions;
  }
  src->stream.options = dataset->options;
  return 0;
}

/* A set of rows pick[0..n), numbered through the pool's files, in that order. */
static int make_set(const struct opening *opening, struct zf_dataset **out, enum zf_data_part part,
                    const struct zf_row_source *source, const int64_t *pick, int64_t count) {
  struct zf_streamed_set *src = &opening->data->source[part];
  int rc = zf_dataset_new(out, source->file[0].spec.type);
  if (!rc)
    (*out)->problem = source->file[0].spec.problem; /* a stream has no row yet that would say so */
  if (!rc) rc = zf_row_source_name(source, *out);
  if (!rc && opening->settings->streaming) {
    *src = (struct zf_streamed_set){.pool = source, .pick = zf_calloc(count, sizeof *pick)};
    if (!src->pick) return ZF_ENOMEM;
    if (count) memcpy(src->pick, pick, (size_t)count * sizeof *pick);
    return stream_set(*out, src, count);
  }
  for (int64_t i = 0; !rc && i < count; i++) rc = zf_row_source_encode(source, *out, pick[i]);
  return rc;
}

/* --- which rows --- */

static int64_t dev_count(const struct zf_settings *settings, int64_t rows) {
  double v = settings->val_set_size;
  return v < 1 ? (int64_t)(v * (double)rows) : (int64_t)v;
}

static int permutation(int64_t **order, int64_t n, uint64_t seed, uint32_t which) {
  *order = zf_calloc(n, sizeof **order);
  if (!*order) return ZF_ENOMEM;
  zf_order_shuffle(*order, n, seed, 0, which);
  return 0;
}

/* One permutation of all rows: the first num_train train, the dev rows are the last. */
static int open_train(const struct opening *opening) {
  const struct zf_settings *settings = opening->settings;
  struct zf_row_source *source = &opening->data->pool[ZF_TRAIN_SET];
  int64_t *order = NULL;
  int rc =
      zf_row_source_open(source, settings->train, settings->ntrain, opening->tok, opening->hash);
  if (rc) return rc;
  int64_t dev = dev_count(settings, source->rows), train = source->rows - dev;
  if (source->rows > 0 && train < 1)
    return zf_error(ZF_EUSAGE,
                    "val_set_size: %lld dev examples leave nothing to train on: there are "
                    "%lld rows",
                    (long long)dev, (long long)source->rows);
  if (settings->num_train && settings->num_train < train) train = settings->num_train;
  rc = permutation(&order, source->rows, settings->split_seed, ZF_SHUFFLE_SPLIT);
  if (!rc && (opening->want & ZF_WANT_TRAIN))
    rc = make_set(opening, &opening->data->train, ZF_TRAIN_SET, source, order, train);
  if (!rc && dev && (opening->want & ZF_WANT_DEV))
    rc =
        make_set(opening, &opening->data->dev, ZF_DEV_SET, source, order + source->rows - dev, dev);
  free(order);
  return rc;
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* A dev or test set of files of its own; num examples at most, drawn, in the order of the file. */
static int open_own(const struct opening *opening, struct zf_dataset **out, enum zf_data_part part,
                    const struct zf_data_file *file, int64_t nfile, int64_t num) {
  struct zf_row_source *source = &opening->data->pool[part];
  int64_t *order = NULL;
  int rc = zf_row_source_open(source, file, nfile, opening->tok, opening->hash);
  if (!rc) rc = permutation(&order, source->rows, opening->settings->split_seed, ZF_SHUFFLE_TEST);
  if (!rc) {
    int64_t n = num && num < source->rows ? num : source->rows;
    qsort(order, (size_t)n, sizeof *order, by_value);
    rc = make_set(opening, out, part, source, order, n);
  }
  free(order);
  return rc;
}

int zf_run_data_resolve(struct zf_settings *settings, const struct zf_tok *tok, int64_t context) {
  if (settings->sequence_len > context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)settings->sequence_len, (long long)context);
  struct zf_data_file *set[] = {settings->train, settings->val, settings->test};
  int64_t n[] = {settings->ntrain, settings->nval, settings->ntest};
  for (int k = 0; k < 3; k++)
    for (int64_t i = 0; i < n[k]; i++) {
      set[k][i].spec.sequence_len = settings->sequence_len ? settings->sequence_len : context;
      set[k][i].spec.chat = settings->chat;
      set[k][i].spec.vocab = settings->vocab;
      set[k][i].spec.add_eos = settings->add_eos >= 0 ? settings->add_eos : zf_tok_eos(tok) >= 0;
    }
  return 0;
}

static int check_sets(const struct zf_run_data *data, unsigned want) {
  int rc = 0;
  if (want & ZF_WANT_TRAIN) rc = zf_dataset_check(data->train, "training");
  if (!rc && data->dev) rc = zf_dataset_check(data->dev, "dev");
  if (!rc && data->test) rc = zf_dataset_check(data->test, "test");
  return rc;
}

/* What fell out of a set that is held changes which examples follow each other, and so the run.  A
 * stream keeps a place for it: the two ways are one run where nothing fell out, and two elsewhere. */
static void hash_left_out(const struct opening *opening) {
  const struct zf_dataset *dataset = opening->data->train;
  if (opening->data->left_out)
    zf_hash_add(opening->hash, &opening->data->left_out, sizeof opening->data->left_out);
  if (dataset && !dataset->stream &&
      dataset->counts.examples + opening->data->left_out != dataset->counts.rows)
    zf_hash_add(opening->hash, "left out", 8);
}

/* An EOS that no log of before names: tokenizer_config.json alone was asked then, so that such a run ended
 * no text and does not go on with one that does. */
static void hash_eos(const struct opening *opening) {
  struct zf_special_token eos = zf_tok_special(opening->tok, ZF_EOS);
  int always =
      !eos.from || !strcmp(eos.from, "tokenizer_config.json") || !strcmp(eos.from, ZF_TOK_GGUF);
  if (!always) zf_hash_add(opening->hash, &eos.id, sizeof eos.id);
}

static void close_pools(struct zf_run_data *data) {
  for (int k = 0; k < ZF_DATA_PARTS; k++) {
    zf_row_source_close(&data->pool[k]);
    free(data->source[k].pick);
    data->source[k].pick = NULL;
  }
}

/* Groups of the training examples are the files they are of. */
static int weigh(struct zf_run_data *data, const struct zf_settings *settings) {
  int64_t n = zf_dataset_size(data->train), local;
  int32_t *of = zf_calloc(n, sizeof *of);
  double *weight = zf_calloc(settings->ntrain, sizeof *weight);
  int rc = of && weight ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < n; i++)
    of[i] = data->train->stream
                ? (int32_t)zf_row_source_file(&data->pool[ZF_TRAIN_SET],
                                              data->source[ZF_TRAIN_SET].pick[i], &local)
                : data->train->ex[i].file;
  for (int64_t k = 0; !rc && k < settings->ntrain; k++) weight[k] = settings->train[k].weight;
  if (!rc) rc = zf_order_weigh(&data->order, of, weight, settings->ntrain);
  free(of);
  free(weight);
  return rc;
}

static int make_order(struct zf_run_data *data, const struct zf_settings *settings) {
  int rc = zf_order_new(&data->order, zf_dataset_size(data->train), settings->seed);
  return !rc && settings->train[0].weight > 0 ? weigh(data, settings) : rc;
}

static int open_sets(const struct opening *opening) {
  const struct zf_settings *settings = opening->settings;
  struct zf_run_data *data = opening->data;
  int rc = 0;
  if (opening->want & (ZF_WANT_TRAIN | ZF_WANT_DEV)) rc = open_train(opening);
  if (!rc && settings->nval && (opening->want & ZF_WANT_DEV))
    rc = open_own(opening, &data->dev, ZF_DEV_SET, settings->val, settings->nval, 0);
  if (!rc && settings->ntest && (opening->want & ZF_WANT_TEST))
    rc = open_own(opening, &data->test, ZF_TEST_SET, settings->test, settings->ntest,
                  settings->num_eval);
  if (!rc) rc = check_sets(data, opening->want);
  if (!rc) rc = zf_duplicates_find(data, settings->deduplicate);
  if (!rc && data->train && zf_dataset_size(data->train) == 0)
    rc = zf_error(ZF_EUSAGE, "dataset_exact_deduplication leaves nothing to train on: every row is "
                             "in a dev or test set too");
  return !rc && data->train ? make_order(data, settings) : rc;
}

int zf_run_data_open(struct zf_run_data *out, struct zf_settings *settings,
                     const struct zf_tok *tok, int64_t context, unsigned want) {
  struct opening opening = {out, settings, tok, NULL, want};
  memset(out, 0, sizeof *out);
  out->batch = settings->micro_batch * settings->accumulation;
  int rc = zf_run_data_resolve(settings, tok, context);
  if (!rc) rc = zf_hash_new(&opening.hash);
  if (!rc) rc = open_sets(&opening);
  if (!rc) hash_left_out(&opening);
  if (!rc) hash_eos(&opening);
  if (!rc) zf_hash_hex(opening.hash, out->hash);
  if (opening.hash) zf_hash_free(opening.hash);
  if (rc)
    zf_run_data_free(out);
  else if (!settings->streaming)
    close_pools(out);
  zf_trim();
  return rc;
}

void zf_run_data_free(struct zf_run_data *data) {
  zf_dataset_free(data->train);
  zf_dataset_free(data->dev);
  zf_dataset_free(data->test);
  close_pools(data);
  zf_order_free(&data->order);
  zf_duplicates_free(data);
  free(data->row);
  free(data->at);
  memset(data, 0, sizeof *data);
}

/* --- places --- */

static int reserve_window(struct zf_run_data *data, int64_t count) {
  if (count <= data->nwindow) return 0;
  free(data->row);
  free(data->at);
  data->row = zf_calloc(count, sizeof *data->row);
  data->at = zf_calloc(count, sizeof *data->at);
  data->nwindow = 0;
  return data->row && data->at ? 0 : ZF_ENOMEM;
}

/* Encodes the step's batch that the places are in, or just them when they are of two. */
static int load_window(struct zf_run_data *data, int64_t from, int64_t n) {
  int64_t first = from - from % data->batch, count = data->batch, left = 0;
  if (data->nwindow && from >= data->window && from + n <= data->window + data->nwindow) return 0;
  if (from + n > first + count) {
    first = from;
    count = n;
  }
  int rc = reserve_window(data, count);
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) data->row[i] = zf_order_at(&data->order, first + i);
  data->nwindow = 0; /* until it is whole */
  if ((rc = zf_row_reader_load(data->train->stream, data->row, count, data->at))) return rc;
  data->window = first;
  data->nwindow = count;
  for (int64_t i = 0; i < count; i++) left += data->at[i] >= 0;
  data->empty += left == 0;
  return 0;
}

int zf_run_data_batch(struct zf_run_data *data, int64_t from, int64_t n, int64_t *index,
                      int64_t *m) {
  *m = 0;
  int rc = data->train->stream ? load_window(data, from, n) : 0;
  for (int64_t i = 0; !rc && i < n; i++) {
    int64_t k = data->train->stream ? data->at[from + i - data->window]
                                    : zf_order_at(&data->order, from + i);
    if (k >= 0) index[(*m)++] = k;
  }
  return rc;
}
