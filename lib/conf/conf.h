/* Settings: a schema, and values from defaults, a YAML file and key=value words.
 *
 * A module that has settings declares them in a table of zf_conf_key beside the code
 * that reads them; a command joins the tables it needs into one zf_conf.  Every value
 * knows where it came from.  Unknown and duplicate keys are errors that name file, line
 * and column and the nearest right key; a scalar is typed by the schema, not by YAML (so
 * `1e-5` is a number and `no` in a text field is the text "no"; quoted or not makes no
 * difference).  One exception: an unquoted null, ~ or nothing means that the key says
 * nothing, and its default stands.  YAML's anchors, aliases, tags and second documents are
 * refused. */
#ifndef ZF_CONF_CONF_H
#define ZF_CONF_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum zf_conf_type {
  ZF_CONF_BOOL,  /* true false yes no on off, in any case */
  ZF_CONF_INT,   /* 64 bits, decimal, _ between digits allowed, k M G suffix not */
  ZF_CONF_NUM,   /* finite */
  ZF_CONF_STR,   /* any text */
  ZF_CONF_ENUM,  /* one of `choices`, separated by | */
  ZF_CONF_BYTES, /* 512M, 8G, 1.5GB (powers of 1000), 1GiB (of 1024) or a count */
  ZF_CONF_STRS,  /* list of texts; a single scalar is a list of one */
  ZF_CONF_MAPS,  /* list of mappings, each with the keys of `sub` */
};

struct zf_conf_key {
  const char *name;
  enum zf_conf_type type;
  const char *def;     /* default as text; NULL: unset; for lists: NULL or "a, b" */
  const char *help;    /* one line, with unit and range */
  double min, max;     /* both allowed; for INT, NUM and BYTES when min < max; may be
                           infinite */
  const char *choices; /* ENUM: "constant|linear|cosine"; INT, NUM, BYTES: words that are
                           accepted instead of a number ("auto"), kept as text */
  int required;
  int later;  /* may change when a run goes on: it leaves no trace in the weights, or is
                           checked by other means */
  int path;   /* STR: a leading ~ is the home directory */
  int single; /* MAPS: a mapping alone is a list of one */
  const struct zf_conf_key *sub; /* MAPS: ends with a row whose name is NULL */
};

struct zf_conf; /* a resolved set of values */

/* Joins `ntable` tables (each ends with a NULL name).  Tables outlive the conf. */
int zf_conf_new(struct zf_conf **out, const struct zf_conf_key *const *table, int ntable);
void zf_conf_free(struct zf_conf *conf);

/* Layers, later ones win.  Errors are ZF_EUSAGE as "FILE:LINE:COLUMN: ..." or "command
 * line: ..."; after one only zf_conf_free() is of use.  A word is key=value, the value taken
 * as it stands, except that lists may have YAML flow syntax (trainable=[a,b]); nested as
 * datasets.0.path=x, which makes the item when the index is the next one. */
int zf_conf_file(struct zf_conf *conf, const char *path);
int zf_conf_text(struct zf_conf *conf, const char *text, size_t len, const char *name);
int zf_conf_word(struct zf_conf *conf, const char *word);

/* After the last layer: required keys present?  ZF_EUSAGE. */
int zf_conf_check(struct zf_conf *conf);

/* Values.  Asking for a name that no table has, or with the wrong type, is a mistake of
 * ours (assert).  An unset INT, NUM or BYTES, or one that is a word of `choices`,
 * gives `unset`; an unset BOOL gives 0, an unset STR or ENUM NULL, an unset list length 0.
 * zf_conf_num takes INT keys too. */
int zf_conf_has(const struct zf_conf *conf, const char *name); /* set by default or layer */
int zf_conf_bool(const struct zf_conf *conf, const char *name);
int64_t zf_conf_int(const struct zf_conf *conf, const char *name, int64_t unset);
double zf_conf_num(const struct zf_conf *conf, const char *name, double unset);
const char *zf_conf_str(const struct zf_conf *conf, const char *name); /* STR, ENUM, or the word */
int64_t zf_conf_bytes(const struct zf_conf *conf, const char *name, int64_t unset);
/* The texts of a list; *out and they are the conf's.  Returns how many. */
int64_t zf_conf_strs(const struct zf_conf *conf, const char *name, const char *const **out);
int64_t zf_conf_maps(const struct zf_conf *conf, const char *name);
/* Item i of a MAPS key as a conf of its own (owned by c). */
const struct zf_conf *zf_conf_map(const struct zf_conf *conf, const char *name, int64_t index);

/* Is the value what it would be if no layer had set it? */
int zf_conf_at_default(const struct zf_conf *conf, const char *name);

/* Where a value came from: "default", "sst2.yaml:7:3", "command line", "unset". */
const char *zf_conf_origin(const struct zf_conf *conf, const char *name);
/* ZF_EUSAGE about one key's value, with its place before the sentence. */
int zf_conf_error(const struct zf_conf *conf, const char *name, const char *fmt, ...)
    ZF_PRINTF(3, 4);

/* Appends the resolved set as YAML that zf_conf_text reads back to the same values, in the
 * order of the tables; unset keys are left out.  With origins: each line ends in a comment
 * that says where the value came from. */
int zf_conf_dump(const struct zf_conf *conf, struct zf_buf *out, int origins);
/* The same as one JSON object (typed), for --json and run.json: appended to out. */
int zf_conf_dump_json(const struct zf_conf *conf, struct zf_buf *out);
/* The same of the keys that may not change when a run goes on: what a run's identity is. */
int zf_conf_dump_kept(const struct zf_conf *conf, struct zf_buf *out);
/* Compares those keys of two sets with the same tables.  NULL, or the name of the first that
 * differs, its values as JSON appended to `a` and `b` ("unset" where it is). */
const char *zf_conf_differs(const struct zf_conf *conf, const struct zf_conf *other,
                            struct zf_buf *value_text, struct zf_buf *other_text);
/* A table of all keys (name, type or choices, default, help; [resume]: may change when a run goes
 * on), for --help-config. */
int zf_conf_help(const struct zf_conf *conf, struct zf_buf *out);

#endif
