/* A schema with every kind of key, for the tests of settings. */
#ifndef ZF_TESTS_UNIT_CONF_SCHEMA_H
#define ZF_TESTS_UNIT_CONF_SCHEMA_H

#include <math.h>

#include "conf/conf.h"
#include "unit/unit.h"

static const struct zf_conf_key item_keys[] = {
    {.name = "path", .type = ZF_CONF_STR, .help = "file", .required = 1},
    {.name = "type", .type = ZF_CONF_ENUM, .default_text = "text", .choices = "text|chat|alpaca"},
    {.name = "weight", .type = ZF_CONF_NUM, .min = 0, .max = 1, .help = "share, 0 to 1"},
    {.name = "fields", .type = ZF_CONF_STRS},
    {.name = NULL},
};

static const struct zf_conf_key train_keys[] = {
    {.name = "base_model", .type = ZF_CONF_STR, .help = "directory or ORG/NAME", .required = 1},
    {.name = "learning_rate",
     .type = ZF_CONF_NUM,
     .default_text = "1e-5",
     .min = 0,
     .max = 1,
     .help = "step size"},
    {.name = "lr_scheduler",
     .type = ZF_CONF_ENUM,
     .default_text = "constant",
     .choices = "constant|linear|cosine",
     .help = "shape of the schedule"},
    {.name = "max_steps", .type = ZF_CONF_INT, .min = 1, .max = INFINITY, .help = "steps"},
    {.name = "offset", .type = ZF_CONF_INT, .help = "any whole number"},
    {.name = "batch",
     .type = ZF_CONF_INT,
     .choices = "auto|all",
     .min = 1,
     .max = 4096,
     .help = "examples"},
    {.name = "ratio", .type = ZF_CONF_NUM, .min = -INFINITY, .max = 0.5, .help = "at most 0.5"},
    {.name = NULL},
};

static const struct zf_conf_key io_keys[] = {
    {.name = "memory_limit", .type = ZF_CONF_BYTES, .choices = "none", .help = "bytes"},
    {.name = "resume", .type = ZF_CONF_BOOL, .default_text = "no", .help = "go on"},
    {.name = "prompt", .type = ZF_CONF_STR, .help = "any text"},
    {.name = "trainable",
     .type = ZF_CONF_STRS,
     .default_text = "q_proj, v_proj",
     .help = "modules"},
    {.name = "datasets", .type = ZF_CONF_MAPS, .sub = item_keys, .help = "what to learn"},
    {.name = NULL},
};

static inline struct zf_conf *fresh(void) {
  const struct zf_conf_key *tables[] = {train_keys, io_keys};
  struct zf_conf *c;
  ck_ok(zf_conf_new(&c, tables, 2));
  return c;
}

static inline struct zf_conf *conf_of(const char *text) {
  struct zf_conf *c = fresh();
  ck_ok(zf_conf_text(c, text, strlen(text), "t.yaml"));
  return c;
}

#endif
