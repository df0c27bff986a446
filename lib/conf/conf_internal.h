/* How settings lie in memory.
 *
 *   zf_conf  keys:   learning_rate   trainable        datasets
 *            values: "1e-5" -> 1e-5  ["a", "b"]       [zf_conf, zf_conf]
 *
 * The joined tables are one row of keys, with one value beside each.  A list of
 * mappings holds a zf_conf per item, whose keys are the `sub` table; so settings
 * nest exactly as deep as the tables do, whatever a file says. */
#ifndef ZF_CONF_INTERNAL_H
#define ZF_CONF_INTERNAL_H

#include "conf/conf.h"

/* Where a value stands: a file's line and column (from 1), or a name alone when
 * line is 0 ("default", "command line"). */
struct zf_conf_place {
  const char *name;
  int64_t line, column;
};

struct zf_conf_value {
  int set;
  int is_word;            /* one of `choices` stands instead of a number */
  char *text;             /* a scalar as it was written */
  int64_t integer;        /* BOOL (0, 1), INT, BYTES */
  double num;             /* INT, NUM */
  char **texts;           /* STRS: n texts */
  struct zf_conf **items; /* MAPS: n items */
  int64_t count, cap;
  char *origin;
  int64_t layer, line, column; /* the layer that spoke last, and where */
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
int zf_conf_fail(const struct zf_conf_place *at, const char *fmt, ...) ZF_PRINTF(2, 3);

/* Index of a key, or -1. */
int64_t zf_conf_find(const struct zf_conf *conf, const char *name, size_t len);

/* Setting one key.  _scalar takes any text, for lists of texts a list of one; a text
 * that does not suit the key's type is ZF_EUSAGE and leaves the key as it was.
 * _clear empties a list and marks it set; _push and _item append to it; _default
 * forgets what the layers said. */
int zf_conf_set_scalar(struct zf_conf *conf, int64_t key_index, const char *text, size_t len,
                       const struct zf_conf_place *at);
int zf_conf_set_clear(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *at);
int zf_conf_push(struct zf_conf *conf, int64_t key_index, const char *text, size_t len);
int zf_conf_item(struct zf_conf *conf, int64_t key_index, const struct zf_conf_place *at,
                 struct zf_conf **out);
int zf_conf_set_default(struct zf_conf *conf, int64_t key_index);

/* Types a scalar into *v (text, word, i, num), which is zeroed before. */
int zf_conf_type_scalar(struct zf_conf_value *value, const struct zf_conf *conf, int64_t key_index,
                        const char *text, size_t len, const struct zf_conf_place *at);

/* "a number", "a number or auto", "one of a, b or c", ...: into out, which is returned. */
char *zf_conf_expects(const struct zf_conf_key *key, char *out, size_t size);

/* Is text[0..len) one of the words of "a|b|c"? */
int zf_conf_is_choice(const char *choices, const char *text, size_t len);

#endif
