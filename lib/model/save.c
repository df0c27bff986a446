/* Writing a model directory that other tools load. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/json.h"
#include "model/model.h"

struct filler {
  const struct zf_model *m;
  const struct zf_st_out *out;
};

/* Writes one parameter in the dtype of the file, piece by piece. */
static int fill(void *ctx, int64_t i, FILE *f) {
  enum { PIECE = 8192 };
  const struct filler *x = ctx;
  const struct zf_param *p = &x->m->params.p[i];
  enum zf_dtype to = x->out[i].type;
  size_t from = zf_dtype_info(p->type)->size, size = zf_dtype_info(to)->size;
  if (to == p->type) {
    fwrite(p->data, size, (size_t)p->n, f);
    return 0;
  }
  float wide[PIECE], narrow[PIECE];
  for (int64_t at = 0; at < p->n; at += PIECE) {
    int64_t n = p->n - at < PIECE ? p->n - at : PIECE;
    zf_to_f32(wide, (const char *)p->data + (size_t)at * from, p->type, n);
    zf_from_f32(narrow, wide, to, n);
    fwrite(narrow, size, (size_t)n, f);
  }
  return 0;
}

static int save_weights(const struct zf_model *m, const char *dir, int dtype) {
  struct zf_st_out *out = zf_calloc(m->params.n, sizeof *out);
  char *path = zf_path_join(dir, "model.safetensors");
  int rc = out && path ? 0 : ZF_ENOMEM;
  for (int64_t i = 0; !rc && i < m->params.n; i++) {
    const struct zf_param *p = &m->params.p[i];
    out[i] = (struct zf_st_out){
        .name = p->name, .ndim = p->ndim, .type = dtype >= 0 ? (enum zf_dtype)dtype : p->type};
    memcpy(out[i].shape, p->shape, sizeof *p->shape * (size_t)p->ndim);
  }
  if (!rc) rc = zf_st_write(path, out, m->params.n, NULL, 0, fill, &(struct filler){m, out});
  free(path);
  free(out);
  return rc;
}

/* The loaders of other tools cast to the dtype that config.json names: name the widest that the
 * file holds, or small updates are lost there. */
static const char *torch_dtype(const struct zf_model *m, int dtype) {
  static const char *const name[ZF_DTYPES] = {
      [ZF_F32] = "float32", [ZF_F16] = "float16", [ZF_BF16] = "bfloat16"};
  if (dtype >= 0) return name[dtype];
  enum zf_dtype t = m->params.p[0].type;
  for (int64_t i = 1; i < m->params.n; i++)
    if (m->params.p[i].type != t) return name[ZF_F32];
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

int zf_model_save(const struct zf_model *m, const char *dir, int dtype) {
  static const char *const beside[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "tokenizer.model",
                                       "chat_template.jinja"};
  int rc = zf_mkdirs(dir);
  for (size_t i = 0; !rc && i < sizeof beside / sizeof *beside; i++)
    rc = copy_beside(m->dir, dir, beside[i]);
  if (!rc) rc = save_config(m, dir, dtype);
  if (!rc) rc = save_weights(m, dir, dtype);
  return rc;
}
