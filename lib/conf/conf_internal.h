/* How settings lie in memory.
 *
 *   zf_conf  keys:   learning_rate   trainable        datasets
 *            values: "1e-5" -> 1e-5  ["a", "b"]       [zf_conf, zf_conf]
 *
 * The keys of all tables are one array, their values another.  A list of mappings holds a zf_conf
 * for each item, whose keys are those of the table `sub`.  So settings nest exactly as deep as the
 * tables, whatever a file contains. */
#ifndef ZF_CONF_INTERNAL_H
#define ZF_CONF_INTERNAL_H

#include "conf/conf.h"

/* Where a value stands: file, line and column, both from 1; or, if line is 0, a name alone
 * ("default", "command line"). */
struct zf_conf_place {
  const char *name;
  int64_t line, column;
};

struct zf_conf_value {
  int set;
  int is_word;            /* a word of `choices` instead of a number */
  char *text;             /* a scalar as it was written */
  int64_t integer;        /* BOOL (0, 1), INT, BYTES */
  double num;             /* INT, NUM */
  char **texts;           /* STRS: n texts */
  struct zf_conf **items; /* MAPS: count items */
  int64_t count, cap;
  char *origin;
  int64_t layer, line, column; /* the last layer that set it, and where */
};

struct zf_conf {
  const struct zf_conf_key **keys;
  const char **names; /* of each key, for zf_nearest */
  struct zf_conf_value *values;
  int64_t count;
  char *prefix;  /* "" at the top, "datasets.0." in an item: for messages */
  char *origin;  /* where an item begins; at the top the last file, or NULL */
  int64_t layer; /* at the top: how many layers were read */
};

/* ZF_EUSAGE as "PLACE: sentence". */
int zf_conf_fail(const struct zf_conf_place *place, const char *fmt, ...) ZF_PRINTF(2, 3);

/* Index of a key, or -1. */
int64_t zf_conf_find(const struct zf_conf *conf, const char *name, size_t len);

/* Setting one key.  _scalar sets it from a text, a list of texts to a list of one; a text that does
 * not fit the type is ZF_EUSAGE and leaves the key as it was.  _clear makes a list empty and set;
 * _push and _item append to it.  _default restores the default. */
int zf_conf_set_scalar(struct zf_conf *conf, int64_t key_index, const char *text, size_t len,
                       const struct zf_conf_place *place);
int zf_conf_set_clear(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *place);
int zf_conf_push(struct zf_conf *conf, int64_t key_index, const char *text, size_t len);
int zf_conf_item(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *place,
                 struct zf_conf **out);
int zf_conf_set_default(struct zf_conf *conf, int64_t key_index);

/* Fills *value from a scalar: text, is_word, integer and num. */
int zf_conf_type_scalar(struct zf_conf_value *value, const struct zf_conf *conf, int64_t key_index,
                        const char *text, size_t len, const struct zf_conf_place *place);

/* Writes "a number", "a number or auto", "one of a, b or c", ... to out, and returns it. */
char *zf_conf_expects(const struct zf_conf_key *key, char *out, size_t size);

/* Is text[0..len) one of the words of "a|b|c"? */
int zf_conf_is_choice(const char *choices, const char *text, size_t len);

#endif
