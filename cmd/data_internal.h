/* What the actions of `zoft data` share: options, and the source of rows. */
#ifndef ZC_DATA_INTERNAL_H
#define ZC_DATA_INTERNAL_H

#include "opt.h"
#include "train/run_data.h"

extern struct zc_data_options {
  const char *tokenizer, *label, *out, *by, *rows;
  int64_t count, length, seed;
  double dev, test;
  struct {
    int count, length, seed, dev, test;
  } given;
  struct zc_list field;
} zc_data_options;

/* One file, or the data files of a config; with a tokenizer also the specs of their rows. */
struct zc_source {
  struct zf_conf *conf;
  struct zf_settings set;
  struct zf_tok *tok; /* NULL: none */
  int config;         /* the source is a config */
  struct zf_data_file plain;
  int64_t length; /* sequence_len; 0: none.  Encoders do not cut: examples are compared with it. */
};

/* Opens the source that the word behind the action names.  Without a config the key=value words are keys of
 * an entry of `datasets` (type=alpaca), or of the config itself. */
int zc_source_open(struct zc_source *source, const struct zc_args *args);
void zc_source_close(struct zc_source *source);

/* File `index` of all; NULL behind the last.  *set: the set of the config that it belongs to, else "". */
const struct zf_data_file *zc_source_file(const struct zc_source *source, int64_t index,
                                          const char **set);

/* The actions; args->word[0] is the action's name. */
int zc_data_stats(const struct zc_args *args);
int zc_data_show(const struct zc_args *args);
int zc_data_split(const struct zc_args *args);
int zc_data_convert(const struct zc_args *args);

#endif
