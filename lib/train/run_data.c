#include "train/run_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/err.h"
#include "train/duplicates.h"

struct data_opening {
  struct zf_run_data *data;
  struct zf_settings *settings;
  const struct zf_tok *tok;
  struct zf_hash *hash;
  unsigned want;
};

/* --- a set --- */

static int encode_row(void *ctx, struct zf_dataset *dataset, int64_t row) {
  const struct zf_streamed_set *src = ctx;
  return zf_row_source_encode(src->row_source, dataset, src->pick[row]);
}

static int stream_set(struct zf_dataset *dataset, struct zf_streamed_set *src, int64_t count) {
  src->stream =
      (struct zf_row_reader){.count = count, .encode = encode_row, .ctx = src, .dataset = dataset};
  dataset->stream = &src->stream;
  for (int64_t i = 0; i < src->row_source->nfile; i++) {
    const struct zf_data_spec *spec = &src->row_source->file[i].spec;
    src->stream.sequence_len = spec->sequence_len;
    if (spec->noptions > dataset->options) dataset->options = spec->noptions;
  }
  src->stream.options = dataset->options;
  return 0;
}

/* Makes a set of the source's rows pick[0..count), in that order. */
static int make_set(const struct data_opening *opening, struct zf_dataset **out,
                    enum zf_data_part part, const struct zf_row_source *source, const int64_t *pick,
                    int64_t count) {
  struct zf_streamed_set *src = &opening->data->source[part];
  int rc = zf_dataset_new(out, source->file[0].spec.type);
  if (rc) return rc;
  (*out)->problem = source->file[0].spec.problem; /* a stream has no row yet that sets it */
  if ((rc = zf_row_source_name(source, *out))) return rc;
  if (opening->settings->streaming) {
    *src = (struct zf_streamed_set){.row_source = source, .pick = zf_calloc(count, sizeof *pick)};
    if (!src->pick) return ZF_ENOMEM;
    if (count) memcpy(src->pick, pick, (size_t)count * sizeof *pick);
    return stream_set(*out, src, count);
  }
  for (int64_t i = 0; i < count; i++)
    if ((rc = zf_row_source_encode(source, *out, pick[i]))) return rc;
  return 0;
}

/* --- the rows of each set --- */

static int64_t dev_count(const struct zf_settings *settings, int64_t rows) {
  double size = settings->val_set_size;
  return size < 1 ? (int64_t)(size * (double)rows) : (int64_t)size;
}

static int permutation(int64_t **order, int64_t count, uint64_t seed, uint32_t use) {
  *order = zf_calloc(count, sizeof **order);
  if (!*order) return ZF_ENOMEM;
  zf_order_shuffle(*order, count, seed, 0, use);
  return 0;
}

/* Training and dev set from one permutation of all rows: the first rows are for training, the last
 * ones are the dev rows. */
static int open_train(const struct data_opening *opening) {
  const struct zf_settings *settings = opening->settings;
  struct zf_row_source *source = &opening->data->row_source[ZF_TRAIN_SET];
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

static int by_value(const void *left, const void *right) {
  int64_t x = *(const int64_t *)left, y = *(const int64_t *)right;
  return (x > y) - (x < y);
}

/* A dev or test set with its own files: at most `max` drawn rows (0: all), in the order of the
 * files. */
static int open_own(const struct data_opening *opening, struct zf_dataset **out,
                    enum zf_data_part part, const struct zf_data_file *file, int64_t nfile,
                    int64_t max) {
  struct zf_row_source *source = &opening->data->row_source[part];
  int64_t *order = NULL;
  int rc = zf_row_source_open(source, file, nfile, opening->tok, opening->hash);
  if (!rc) rc = permutation(&order, source->rows, opening->settings->split_seed, ZF_SHUFFLE_TEST);
  if (!rc) {
    int64_t count = max && max < source->rows ? max : source->rows;
    qsort(order, (size_t)count, sizeof *order, by_value);
    rc = make_set(opening, out, part, source, order, count);
  }
  free(order);
  return rc;
}

int zf_run_data_resolve(struct zf_settings *settings, const struct zf_tok *tok, int64_t context) {
  if (settings->sequence_len > context)
    return zf_error(ZF_EUSAGE, "sequence_len %lld is longer than the model's context of %lld",
                    (long long)settings->sequence_len, (long long)context);
  struct zf_data_file *set[] = {settings->train, settings->val, settings->test};
  int64_t count[] = {settings->ntrain, settings->nval, settings->ntest};
  for (int i = 0; i < 3; i++)
    for (int64_t j = 0; j < count[i]; j++) {
      struct zf_data_spec *spec = &set[i][j].spec;
      spec->sequence_len = settings->sequence_len ? settings->sequence_len : context;
      spec->chat = settings->chat;
      spec->vocab = settings->vocab;
      spec->add_eos = settings->add_eos >= 0 ? settings->add_eos : zf_tok_eos(tok) >= 0;
    }
  return 0;
}

static int check_sets(const struct zf_run_data *data, unsigned want) {
  int rc;
  if ((want & ZF_WANT_TRAIN) && (rc = zf_dataset_check(data->train, "training"))) return rc;
  if (data->dev && (rc = zf_dataset_check(data->dev, "dev"))) return rc;
  return data->test ? zf_dataset_check(data->test, "test") : 0;
}

/* Rows that gave no example change the order of the examples of a set in memory, and so the run.  A
 * stream keeps a place for such a row.  Both are the same run where every row gave one, and different
 * runs otherwise. */
static void hash_left_out(const struct data_opening *opening) {
  const struct zf_dataset *dataset = opening->data->train;
  if (opening->data->left_out)
    zf_hash_add(opening->hash, &opening->data->left_out, sizeof opening->data->left_out);
  if (dataset && !dataset->stream &&
      dataset->counts.examples + opening->data->left_out != dataset->counts.rows)
    zf_hash_add(opening->hash, "left out", 8);
}

/* Earlier versions read the EOS only from tokenizer_config.json; a run without one ended no text.  An
 * EOS from elsewhere is part of the hash, so that such a run is not resumed as one that ends texts. */
static void hash_eos(const struct data_opening *opening) {
  struct zf_special_token eos = zf_tok_special(opening->tok, ZF_EOS);
  int always = !eos.source || !strcmp(eos.source, "tokenizer_config.json") ||
               !strcmp(eos.source, ZF_TOK_GGUF);
  if (!always) zf_hash_add(opening->hash, &eos.id, sizeof eos.id);
}

static void close_sources(struct zf_run_data *data) {
  for (int i = 0; i < ZF_DATA_PARTS; i++) {
    zf_row_source_close(&data->row_source[i]);
    free(data->source[i].pick);
    data->source[i].pick = NULL;
  }
}

/* The file of a training example. */
static int32_t file_of(const struct zf_run_data *data, int64_t index) {
  int64_t local;
  if (!data->train->stream) return data->train->example[index].file;
  return (int32_t)zf_row_source_file(&data->row_source[ZF_TRAIN_SET],
                                     data->source[ZF_TRAIN_SET].pick[index], &local);
}

/* Weights the training examples by their files. */
static int weigh(struct zf_run_data *data, const struct zf_settings *settings) {
  int64_t size = zf_dataset_size(data->train);
  int32_t *group_of = zf_calloc(size, sizeof *group_of);
  double *weight = zf_calloc(settings->ntrain, sizeof *weight);
  int rc = ZF_ENOMEM;
  if (group_of && weight) {
    for (int64_t i = 0; i < size; i++) group_of[i] = file_of(data, i);
    for (int64_t i = 0; i < settings->ntrain; i++) weight[i] = settings->train[i].weight;
    rc = zf_order_weigh(&data->order, group_of, weight, settings->ntrain);
  }
  free(group_of);
  free(weight);
  return rc;
}

static int make_order(struct zf_run_data *data, const struct zf_settings *settings) {
  int rc = zf_order_new(&data->order, zf_dataset_size(data->train), settings->seed);
  return !rc && settings->train[0].weight > 0 ? weigh(data, settings) : rc;
}

static int open_sets(const struct data_opening *opening) {
  const struct zf_settings *settings = opening->settings;
  struct zf_run_data *data = opening->data;
  unsigned want = opening->want;
  int rc = 0;
  if (want & (ZF_WANT_TRAIN | ZF_WANT_DEV)) rc = open_train(opening);
  if (!rc && settings->nval && (want & ZF_WANT_DEV))
    rc = open_own(opening, &data->dev, ZF_DEV_SET, settings->val, settings->nval, 0);
  if (!rc && settings->ntest && (want & ZF_WANT_TEST))
    rc = open_own(opening, &data->test, ZF_TEST_SET, settings->test, settings->ntest,
                  settings->num_eval);
  if (rc) return rc;
  if ((rc = check_sets(data, want))) return rc;
  if ((rc = zf_duplicates_find(data, settings->deduplicate))) return rc;
  if (!data->train) return 0;
  if (zf_dataset_size(data->train) == 0)
    return zf_error(ZF_EUSAGE,
                    "dataset_exact_deduplication leaves nothing to train on: every row is also in "
                    "a dev or test set");
  return make_order(data, settings);
}

static int open_hashed(const struct data_opening *opening) {
  int rc = open_sets(opening);
  if (rc) return rc;
  hash_left_out(opening);
  hash_eos(opening);
  zf_hash_hex(opening->hash, opening->data->hash);
  return 0;
}

int zf_run_data_open(struct zf_run_data *data, struct zf_settings *settings,
                     const struct zf_tok *tok, int64_t context, unsigned want) {
  struct data_opening opening = {data, settings, tok, NULL, want};
  memset(data, 0, sizeof *data);
  data->batch = settings->micro_batch * settings->accumulation;
  int rc = zf_run_data_resolve(settings, tok, context);
  if (!rc) rc = zf_hash_new(&opening.hash);
  if (!rc) rc = open_hashed(&opening);
  if (opening.hash) zf_hash_free(opening.hash);
  if (rc)
    zf_run_data_free(data);
  else if (!settings->streaming)
    close_sources(data);
  zf_trim_heap();
  return rc;
}

void zf_run_data_free(struct zf_run_data *data) {
  zf_dataset_free(data->train);
  zf_dataset_free(data->dev);
  zf_dataset_free(data->test);
  close_sources(data);
  zf_order_free(&data->order);
  zf_duplicates_free(data);
  free(data->row);
  free(data->example_at);
  memset(data, 0, sizeof *data);
}

/* --- places --- */

static int reserve_window(struct zf_run_data *data, int64_t count) {
  if (count <= data->nwindow) return 0;
  free(data->row);
  free(data->example_at);
  data->row = zf_calloc(count, sizeof *data->row);
  data->example_at = zf_calloc(count, sizeof *data->example_at);
  data->nwindow = 0;
  return data->row && data->example_at ? 0 : ZF_ENOMEM;
}

/* Encodes the batch of the step that the places belong to, or only these places where they belong to
 * two steps. */
static int load_window(struct zf_run_data *data, int64_t from, int64_t places) {
  int64_t first = from - from % data->batch, count = data->batch, examples = 0;
  if (data->nwindow && from >= data->window && from + places <= data->window + data->nwindow)
    return 0;
  if (from + places > first + count) {
    first = from;
    count = places;
  }
  int rc = reserve_window(data, count);
  if (rc) return rc;
  for (int64_t i = 0; i < count; i++) data->row[i] = zf_order_at(&data->order, first + i);
  data->nwindow = 0; /* until all places are loaded */
  if ((rc = zf_row_reader_load(data->train->stream, data->row, count, data->example_at))) return rc;
  data->window = first;
  data->nwindow = count;
  for (int64_t i = 0; i < count; i++) examples += data->example_at[i] >= 0;
  data->empty += examples == 0;
  return 0;
}

int zf_run_data_batch(struct zf_run_data *data, int64_t from, int64_t count, int64_t *index,
                      int64_t *loaded) {
  *loaded = 0;
  int rc = data->train->stream ? load_window(data, from, count) : 0;
  if (rc) return rc;
  for (int64_t i = from; i < from + count; i++) {
    int64_t example =
        data->train->stream ? data->example_at[i - data->window] : zf_order_at(&data->order, i);
    if (example >= 0) index[(*loaded)++] = example;
  }
  return 0;
}
