/* Writes a GGUF file as a model directory. */
#include "eval/export.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "eval/generate.h"
#include "fmt/json.h"

static json_t *id_list(const struct zf_ids *ids) {
  json_t *list = json_array();
  for (int64_t i = 0; i < ids->count; i++) json_array_append_new(list, json_integer(ids->id[i]));
  return list;
}

/* Writes every token that ends a text, since the tokenizer's files name only one. */
static int save_generation(const struct zf_model *model, const struct zf_tok *tok,
                           const char *dir) {
  struct zf_ids ends = {0};
  char *path = zf_path_join(dir, "generation_config.json"), *text = NULL;
  int rc = path ? zf_generation_ends(&ends, model, tok) : ZF_ENOMEM;
  json_t *config = json_object();
  if (!rc && zf_tok_bos(tok) >= 0)
    json_object_set_new(config, "bos_token_id", json_integer(zf_tok_bos(tok)));
  if (!rc && ends.count) json_object_set_new(config, "eos_token_id", id_list(&ends));
  if (!rc) {
    text = json_dumps(config, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    rc = text ? zf_write_file(path, text, strlen(text)) : zf_error(ZF_ENOMEM, "out of memory");
  }
  free(text);
  json_decref(config);
  zf_ids_free(&ends);
  free(path);
  return rc;
}

/* Removes the written files, and the directory where the export created it. */
static void remove_all(const char *dir, int created) {
  static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                      "tokenizer_config.json", "model.safetensors"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char *path = zf_path_join(dir, names[i]);
    if (path) unlink(path);
    free(path);
  }
  if (created) rmdir(dir);
}

int zf_export_gguf(const char *dir, const struct zf_model *model, const struct zf_tok *tok,
                   enum zf_dtype dtype, const struct zf_save_values *values) {
  return zf_export_gguf_shards(dir, model, tok, dtype, values, 0);
}

int zf_export_gguf_shards(const char *dir, const struct zf_model *model, const struct zf_tok *tok,
                          enum zf_dtype dtype, const struct zf_save_values *values, int64_t limit) {
  static const char *const metadata[] = {"format", "pt"};
  int created = !zf_exists(dir);
  if (!model->gguf) return zf_error(ZF_EUSAGE, "%s: expected a .gguf file", model->dir);
  int rc = zf_mkdirs(dir);
  if (!rc) rc = zf_tok_save_gguf(dir, model->dir);
  if (!rc) rc = save_generation(model, tok, dir);
  if (!rc) rc = zf_model_save_shards(model, dir, (int)dtype, values, metadata, 1, limit);
  if (rc) remove_all(dir, created);
  return rc;
}

int zf_export_sidecars(const char *dir, const struct zf_model *model, const struct zf_tok *tok) {
  if (!model->gguf) return zf_sidecars_copy(&model->sidecars, dir, 0);
  int rc = zf_tok_save_gguf(dir, model->dir);
  return rc ? rc : save_generation(model, tok, dir);
}
