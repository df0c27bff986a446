/* A copy of a checkpoint with other tensors and other keys, for tests of what people's files hold. */
#ifndef ZF_TESTS_REMAKE_H
#define ZF_TESTS_REMAKE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "fmt/safetensors.h"
#include "unit/unit.h"

struct remake {
  const char *from;     /* directory of the checkpoint */
  const char *prefix;   /* put before every name */
  const char *without;  /* a tensor whose name holds this is left out */
  const char *strip;    /* a prefix that is taken off names */
  const char *add, *of; /* a new tensor, a copy of the tensor `of` ... */
  int reversed;         /* ... with its elements in reversed order */
  const char *config; /* JSON object of keys that replace those of config.json; null removes one */
};

struct remake_fill {
  const struct zf_st_tensor *from[1024];
  const struct remake *r;
  int64_t added; /* index of the new tensor */
};

static int remake_fill(void *ctx, int64_t i, FILE *f) {
  const struct remake_fill *x = ctx;
  const struct zf_st_tensor *t = x->from[i];
  size_t size = t->bytes / (size_t)t->count;
  for (int64_t e = 0; e < t->count; e++) {
    int64_t at = i == x->added && x->r->reversed ? t->count - 1 - e : e;
    fwrite(t->data + (size_t)at * size, size, 1, f);
  }
  return 0;
}

static void remake_config(const char *dir, const struct remake *r) {
  char path[600];
  json_t *config, *change = NULL, *v;
  const char *key;
  snprintf(path, sizeof path, "%s/config.json", r->from);
  ck_ok(zf_json_load(&config, path));
  if (r->config) ck_ok(zf_json_parse(&change, r->config, strlen(r->config), "change"));
  json_object_foreach(change, key, v) {
    if (json_is_null(v))
      json_object_del(config, key);
    else
      json_object_set(config, key, v);
  }
  char *text = json_dumps(config, JSON_INDENT(1));
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_write_file(path, text, strlen(text)));
  free(text);
  json_decref(change);
  json_decref(config);
}

/* Makes the directory NAME in the test's temporary one and returns its path. */
static inline const char *remake(const char *name, const struct remake *r) {
  static char dir[512];
  static char names[1024][200];
  static struct zf_st_out out[1024];
  char path[600];
  struct zf_st *st;
  struct remake_fill x = {.r = r, .added = -1};
  int64_t n = 0;
  snprintf(dir, sizeof dir, "%s", tmp_path(name));
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_st_open(&st, r->from));
  for (int64_t i = 0; i <= st->count; i++) {
    const struct zf_st_tensor *t = i < st->count ? &st->tensor[i]
                                   : r->add      ? zf_st_find(st, r->of)
                                                 : NULL;
    if (!t || (i < st->count && r->without && strstr(t->name, r->without))) continue;
    const char *as = i < st->count ? t->name : r->add;
    if (r->strip && !strncmp(as, r->strip, strlen(r->strip))) as += strlen(r->strip);
    snprintf(names[n], sizeof names[n], "%s%s", r->prefix ? r->prefix : "", as);
    out[n] = (struct zf_st_out){.name = names[n], .type = (enum zf_dtype)t->type, .ndim = t->ndim};
    memcpy(out[n].shape, t->shape, sizeof t->shape);
    if (i == st->count) x.added = n;
    x.from[n++] = t;
  }
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  ck_ok(zf_st_write(path, out, n, NULL, 0, remake_fill, &x));
  remake_config(dir, r);
  zf_st_free(st);
  return dir;
}

#endif
