/* Writing a model directory that other tools load. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "fmt/json.h"
#include "model/model.h"

struct filler {
  const struct zf_params *ps;
  const struct zf_st_out *out;
  const int64_t *from; /* parameter of each tensor of the file */
};

/* Writes one parameter in the dtype of the file, piece by piece. */
static int fill(void *ctx, int64_t i, FILE *f) {
  enum { PIECE = 8192 };
  const struct filler *x = ctx;
  const struct zf_param *p = &x->ps->p[x->from[i]];
  enum zf_dtype to = x->out[i].type;
  size_t size = zf_dtype_info(to)->size;
  if (to == p->type) {
    fwrite(p->data, size, (size_t)p->n, f);
    return 0;
  }
  float wide[PIECE], narrow[PIECE];
  for (int64_t at = 0; at < p->n; at += PIECE) {
    int64_t n = p->n - at < PIECE ? p->n - at : PIECE;
    zf_to_f32(wide, (const char *)p->data + zf_dtype_bytes(p->type, at), p->type, n);
    zf_from_f32(narrow, wide, to, n);
    fwrite(narrow, size, (size_t)n, f);
  }
  return 0;
}

/* All parameters, or the trained ones alone. */
static int save_weights(const struct zf_model *m, const char *path, int dtype, int trained_only,
                        const char *const *metadata, int64_t nmetadata) {
  struct zf_st_out *out = zf_calloc(m->params.n, sizeof *out);
  int64_t *from = zf_calloc(m->params.n, sizeof *from), n = 0;
  int rc = out && from ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < m->params.n; i++) {
    const struct zf_param *p = &m->params.p[i];
    if (trained_only && !p->trained) continue;
    out[n] =
        (struct zf_st_out){.name = p->name,
                           .ndim = p->ndim,
                           .type = dtype >= 0 ? (enum zf_dtype)dtype : zf_dtype_saved(p->type)};
    memcpy(out[n].shape, p->shape, sizeof *p->shape * (size_t)p->ndim);
    from[n++] = i;
  }
  struct filler x = {&m->params, out, from};
  if (!rc) rc = zf_st_write(path, out, n, metadata, nmetadata, fill, &x);
  free(from);
  free(out);
  return rc;
}

int zf_model_save_trained(const struct zf_model *m, const char *path, const char *const *metadata,
                          int64_t nmetadata) {
  return save_weights(m, path, -1, 1, metadata, nmetadata);
}

/* The loaders of other tools cast to the dtype that config.json names: name the widest that the
 * file holds, or small updates are lost there. */
static const char *torch_dtype(const struct zf_model *m, int dtype) {
  static const char *const name[ZF_DTYPES] = {
      [ZF_F32] = "float32", [ZF_F16] = "float16", [ZF_BF16] = "bfloat16"};
  if (dtype >= 0) return name[dtype];
  enum zf_dtype t = zf_dtype_saved(m->params.p[0].type);
  for (int64_t i = 1; i < m->params.n; i++)
    if (zf_dtype_saved(m->params.p[i].type) != t) return name[ZF_F32];
  return name[t];
}

static int save_config(const struct zf_model *m, const char *dir, int dtype) {
  char *from = zf_path_join(m->dir, "config.json"), *to = zf_path_join(dir, "config.json");
  json_t *obj = NULL;
  char *text = NULL;
  int rc = from && to ? zf_json_load(&obj, from) : ZF_ENOMEM;
  if (!rc) {
    const char *key = json_object_get(obj, "dtype") ? "dtype" : "torch_dtype";
    if (json_object_set_new(obj, key, json_string(torch_dtype(m, dtype)))) rc = ZF_ENOMEM;
  }
  if (!rc) {
    text = json_dumps(obj, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    rc = text ? zf_write_file(to, text, strlen(text)) : zf_error(ZF_ENOMEM, "out of memory");
  }
  free(text);
  json_decref(obj);
  free(to);
  free(from);
  return rc;
}

static int copy_beside(const char *from_dir, const char *to_dir, const char *name) {
  char *from = zf_path_join(from_dir, name), *to = zf_path_join(to_dir, name);
  int rc = from && to ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(from)) rc = zf_copy_file(from, to);
  free(to);
  free(from);
  return rc;
}

static const char *const tokenizer_files[] = {
    "tokenizer.json",          "tokenizer_config.json", "vocab.json",      "merges.txt",
    "special_tokens_map.json", "added_tokens.json",     "tokenizer.model", "chat_template.jinja"};
enum { TOKENIZER_FILES = sizeof tokenizer_files / sizeof *tokenizer_files };

const char *const *zf_model_beside(int *n) {
  *n = TOKENIZER_FILES;
  return tokenizer_files;
}

int zf_model_save(const struct zf_model *m, const char *dir, int dtype, const char *const *metadata,
                  int64_t nmetadata) {
  int rc = zf_mkdirs(dir);
  if (!rc) rc = copy_beside(m->dir, dir, "generation_config.json");
  for (int i = 0; !rc && i < TOKENIZER_FILES; i++)
    rc = copy_beside(m->dir, dir, tokenizer_files[i]);
  if (!rc) rc = save_config(m, dir, dtype);
  char *path = rc ? NULL : zf_path_join(dir, "model.safetensors");
  if (!rc && !path) rc = ZF_ENOMEM;
  if (!rc) rc = save_weights(m, path, dtype, 0, metadata, nmetadata);
  free(path);
  return rc;
}

static int hash_beside(struct zf_hash *h, const char *dir, const char *name) {
  char hex[33], *path = zf_path_join(dir, name);
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(path) && !(rc = zf_hash_file(hex, path))) {
    zf_hash_add(h, name, strlen(name) + 1);
    zf_hash_add(h, hex, 32);
  }
  free(path);
  return rc;
}

int zf_model_hash_files(char out[33], const char *dir) {
  struct zf_hash *h;
  int rc = zf_hash_new(&h);
  if (rc) return rc;
  rc = hash_beside(h, dir, "config.json");
  for (int i = 0; !rc && i < TOKENIZER_FILES; i++) rc = hash_beside(h, dir, tokenizer_files[i]);
  if (!rc) zf_hash_hex(h, out);
  zf_hash_free(h);
  return rc;
}
