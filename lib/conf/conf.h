/* Settings: a schema, and values from defaults, a YAML file and key=value words.
 *
 * A module declares its settings in a table of zf_conf_key, next to the code that reads them; a
 * command joins the tables that it needs into one zf_conf.  Every value has an origin.  Unknown and
 * duplicate keys are errors that name file, line, column and the nearest known key.
 *
 * The schema gives a scalar its type, not YAML: `1e-5` is a number, and `no` in a text field is the
 * text "no", quoted or not.  With one exception: an unquoted null, ~ or nothing leaves the key at
 * its default.  YAML's anchors, aliases, tags and further documents are errors. */
#ifndef ZF_CONF_CONF_H
#define ZF_CONF_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

enum zf_conf_type {
  ZF_CONF_BOOL,  /* true false yes no on off, in any case */
  ZF_CONF_INT,   /* 64 bits, decimal; _ between digits is allowed, a suffix k M G is not */
  ZF_CONF_NUM,   /* finite */
  ZF_CONF_STR,   /* any text */
  ZF_CONF_ENUM,  /* one of `choices`, separated by | */
  ZF_CONF_BYTES, /* 512M, 8G, 1.5GB (powers of 1000), 1GiB (of 1024) or a count */
  ZF_CONF_STRS,  /* list of texts; a single scalar is a list of one */
  ZF_CONF_MAPS,  /* list of mappings, each with the keys of `sub` */
};

/* What a text means as a path.  In both kinds a leading ~ is the home directory. */
enum zf_conf_path {
  ZF_CONF_NO_PATH,
  ZF_CONF_PATH, /* relative to the working directory */
  ZF_CONF_INPUT /* the same; but in a config file, where nothing is there, to the file's directory */
};

struct zf_conf_key {
  const char *name;
  enum zf_conf_type type;
  const char *default_text; /* the default as text; NULL: unset; for lists: NULL or "a, b" */
  const char *help;         /* one line, with unit and range */
  double min, max;          /* range of INT, NUM and BYTES, both ends included, may be infinite;
                           ignored unless min < max */
  const char *choices;      /* ENUM: "constant|linear|cosine"; INT, NUM, BYTES: words that are
                           accepted instead of a number ("auto") and kept as text */
  int required;
  int may_change; /* may change when a run resumes: it leaves no trace in the weights, or other
                           code checks it */
  enum zf_conf_path path; /* STR */
  int single_map;         /* MAPS: a mapping alone is a list of one */
  const char *also;       /* names that other tools have for it, "a|b|c", which the message about an
                           unknown key translates; NULL: none */
  const struct zf_conf_key *sub; /* MAPS: ends with a row whose name is NULL */
};

struct zf_conf; /* a resolved set of values */

/* Joins `ntable` tables; each ends with a row whose name is NULL.  The tables must outlive *out. */
int zf_conf_new(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable);
void zf_conf_free(struct zf_conf *conf);

/* Each call adds a layer; later layers override earlier ones.  Errors are ZF_EUSAGE as
 * "FILE:LINE:COLUMN: ..." or "command line: ..."; after an error only zf_conf_free() may be called.
 *
 * A word is key=value.  The value is taken literally, except that a list may be in YAML's flow
 * syntax (trainable=[a,b]).  datasets.0.path=x sets a key of an item; the index may be that of the
 * next item, which is then added. */
int zf_conf_file(struct zf_conf *conf, const char *path);
int zf_conf_text(struct zf_conf *conf, const char *text, size_t len, const char *name);
int zf_conf_word(struct zf_conf *conf, const char *word);

/* Call it after the last layer.  ZF_EUSAGE if a required key is unset. */
int zf_conf_check(struct zf_conf *conf);

/* Values.  A name that no table has, or the wrong type, is a bug of the caller (assert).  An INT,
 * NUM or BYTES key that is unset, or that is a word of `choices`, gives `unset`.  An unset BOOL
 * gives 0, an unset STR or ENUM gives NULL, an unset list has length 0.  zf_conf_num accepts INT
 * keys, too. */
int zf_conf_has(const struct zf_conf *conf, const char *name); /* set by its default or a layer */
int zf_conf_bool(const struct zf_conf *conf, const char *name);
int64_t zf_conf_int(const struct zf_conf *conf, const char *name, int64_t unset);
double zf_conf_num(const struct zf_conf *conf, const char *name, double unset);
const char *zf_conf_str(const struct zf_conf *conf, const char *name); /* STR, ENUM, or the word */
int64_t zf_conf_bytes(const struct zf_conf *conf, const char *name, int64_t unset);
/* The texts of a list, owned by conf.  Returns their number. */
int64_t zf_conf_strs(const struct zf_conf *conf, const char *name, const char *const **out);
int64_t zf_conf_maps(const struct zf_conf *conf, const char *name);
/* An item of a MAPS key as a zf_conf of its own, owned by conf. */
const struct zf_conf *zf_conf_map(const struct zf_conf *conf, const char *name, int64_t index);

/* Is the value equal to the default? */
int zf_conf_at_default(const struct zf_conf *conf, const char *name);

/* Where a value came from: "default", "sst2.yaml:7:3", "command line", "unset". */
const char *zf_conf_origin(const struct zf_conf *conf, const char *name);
/* The directory of the file that gave a value, into *dir for the caller to free; NULL: no file did. */
int zf_conf_origin_dir(char **dir, const struct zf_conf *conf, const char *name);
/* ZF_EUSAGE about the value of a key, with its origin before the sentence. */
int zf_conf_error(const struct zf_conf *conf, const char *name, const char *fmt, ...)
    ZF_PRINTF(3, 4);

/* Appends all values as YAML that zf_conf_text reads back to the same values, in the order of the
 * tables; unset keys are left out.  With `origins`, each line ends in a comment with the value's
 * origin. */
int zf_conf_dump(const struct zf_conf *conf, struct zf_buf *out, int origins);
/* Appends all values as one JSON object with JSON's types, for --json and run.json. */
int zf_conf_dump_json(const struct zf_conf *conf, struct zf_buf *out);
/* The same for the keys that may not change when a run resumes: the identity of a run. */
int zf_conf_dump_kept(const struct zf_conf *conf, struct zf_buf *out);
/* Compares those keys of two confs with the same tables.  NULL, or the name of the first one that
 * differs; its values are then in the two buffers, as JSON or "unset". */
const char *zf_conf_differs(const struct zf_conf *conf, const struct zf_conf *other,
                            struct zf_buf *value_text, struct zf_buf *other_text);
/* Appends a table of all keys for --help-config: name, type or choices, default, help, and [resume]
 * if the key may change when a run resumes. */
int zf_conf_help(const struct zf_conf *conf, struct zf_buf *out);

ZF_END_DECLS

#endif
