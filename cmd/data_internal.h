/* What the actions of `zoft data` share: options, and where rows come from. */
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

/* One file, or the files of a config; with a tokenizer also how rows become examples. */
struct zc_source {
  struct zf_conf *conf;
  struct zf_settings set;
  struct zf_tok *tok; /* NULL: none */
  int config;         /* the word was one */
  struct zf_data_file plain;
  int64_t length; /* sequence_len that was asked for; 0: none.  Encoders do not cut. */
};

/* From the word behind the action and key=value words, which without a config are those of an entry of
 * `datasets` (type=alpaca) or of the whole. */
int zc_source_open(struct zc_source *source, const struct zc_args *args);
void zc_source_close(struct zc_source *source);

/* File i of all, and the set of a config that it is of, else ""; NULL behind the last. */
const struct zf_data_file *zc_source_file(const struct zc_source *source, int64_t index,
                                          const char **set);

/* The actions: `a` has their words behind the action's name. */
int zc_data_stats(const struct zc_args *args);
int zc_data_show(const struct zc_args *args);
int zc_data_split(const struct zc_args *args);
int zc_data_convert(const struct zc_args *args);

#endif
