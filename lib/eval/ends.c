/* Which tokens end a text. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "eval/generate.h"
#include "fmt/gguf.h"
#include "fmt/json.h"

static int add(struct zf_ids *out, int64_t id, const struct zf_model *m) {
  if (id < 0 || id >= m->config.vocab) return 0;
  for (int64_t i = 0; i < out->n; i++)
    if (out->id[i] == id) return 0;
  return zf_gen_add_id(out, (int32_t)id);
}

static int add_value(struct zf_ids *out, const json_t *obj, const char *key, const char *name,
                     const struct zf_model *m) {
  const json_t *v = json_object_get(obj, key), *x;
  size_t i;
  int rc = 0;
  if (!v || json_is_null(v)) return 0;
  if (json_is_integer(v)) return add(out, json_integer_value(v), m);
  if (!json_is_array(v))
    return zf_error(ZF_EINVALID, "%s: key '%s': expected a token id or a list of them, found %s", name,
                    key, zf_json_kind(v));
  json_array_foreach((json_t *)v, i, x) {
    if (!json_is_integer(x))
      return zf_error(ZF_EINVALID, "%s: key '%s': entry %zu is no token id", name, key, i);
    if (!rc) rc = add(out, json_integer_value(x), m);
  }
  return rc;
}

static int from_file(struct zf_ids *out, const struct zf_model *m, const char *file) {
  char *path = zf_path_join(m->dir, file);
  json_t *obj = NULL;
  int rc = path ? 0 : ZF_ENOMEM;
  if (!rc && zf_exists(path)) {
    rc = zf_json_load(&obj, path);
    if (!rc) rc = add_value(out, obj, "eos_token_id", path, m);
    if (!rc) rc = add_value(out, json_object_get(obj, "text_config"), "eos_token_id", path, m);
  }
  json_decref(obj);
  free(path);
  return rc;
}

static int from_gguf(struct zf_ids *out, const struct zf_model *m) {
  struct zf_gguf g = {0};
  int rc = zf_gguf_open(&g, m->dir, 0);
  if (!rc) rc = add_value(out, g.keys, "tokenizer.ggml.eos_token_id", m->dir, m);
  if (!rc) rc = add_value(out, g.keys, "tokenizer.ggml.eot_token_id", m->dir, m);
  zf_gguf_free(&g);
  return rc;
}

int zf_gen_ends(struct zf_ids *out, const struct zf_model *m, const struct zf_tok *tok) {
  int rc = add(out, m->config.eos, m);
  if (!rc && tok) rc = add(out, zf_tok_eos(tok), m);
  if (rc) return rc;
  if (m->gguf) return from_gguf(out, m);
  rc = from_file(out, m, "config.json");
  return rc ? rc : from_file(out, m, "generation_config.json");
}
