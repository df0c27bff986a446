/* Recognises files of other tools where a model is expected; the error says what they are and what
 * to do. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "fmt/gguf.h"
#include "fmt/json.h"
#include "model/config_internal.h"
#include "model/model_internal.h"

/* --- directories ----------------------------------------------------------------------------------- */

#define PICKLE "convert it with Transformers (from_pretrained, then save_pretrained)"

static const struct {
  const char *file, *what, *advice;
} marks[] = {
    {"adapter_config.json", "a PEFT adapter, no model",
     "give its base model here, and the adapter by --adapter (adapter: in a config)"},
    {"pytorch_model.bin", "weights as a PyTorch pickle", PICKLE},
    {"pytorch_model.bin.index.json", "weights as PyTorch pickles", PICKLE},
    {"consolidated.00.pth", "weights in Meta's own layout",
     "take the model's Hugging Face version"},
    {"consolidated.safetensors", "weights in Mistral's own layout",
     "take the model's Hugging Face version"},
    {"tf_model.h5", "weights of TensorFlow", "take the model's safetensors version"},
    {"flax_model.msgpack", "weights of Flax", "take the model's safetensors version"},
    {"mlx_model.safetensors", "weights of MLX", "take the model from which they were converted"},
};

static int has(const char *dir, const char *name) {
  char *path = zf_path_join(dir, name);
  int yes = path && zf_exists(path);
  free(path);
  return yes;
}

/* The name of a directory's .gguf file that sorts first; the caller frees it. */
static char *find_gguf(const char *dir) {
  DIR *stream = opendir(dir);
  char *first = NULL;
  if (!stream) return NULL;
  for (const struct dirent *entry; (entry = readdir(stream));) {
    if (!zf_is_gguf_path(entry->d_name) || (first && strcmp(entry->d_name, first) > 0)) continue;
    free(first);
    first = zf_strdup(entry->d_name);
  }
  closedir(stream);
  return first;
}

int zf_model_foreign(const char *dir) {
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
    if (has(dir, marks[i].file))
      return zf_error(ZF_EUSAGE, "%s: holds %s (%s): %s", dir, marks[i].what, marks[i].file,
                      marks[i].advice);
  char *gguf = find_gguf(dir);
  if (!gguf) return 0;
  int rc =
      zf_error(ZF_EUSAGE, "%s: holds a GGUF file and no Hugging Face model: give the file, %s/%s",
               dir, dir, gguf);
  free(gguf);
  return rc;
}

int zf_model_foreign_file(const char *path) {
  char magic[4] = {0};
  FILE *file = fopen(path, "rb");
  size_t len = file ? fread(magic, 1, sizeof magic, file) : 0;
  if (file) fclose(file);
  if (len < sizeof magic || memcmp(magic, "GGUF", 4) != 0) return 0;
  return zf_error(ZF_EUSAGE,
                  "%s: a GGUF file by its first bytes, as Ollama stores them: give it a name that "
                  "ends in .gguf "
                  "(a link will do)",
                  path);
}

/* --- config.json ----------------------------------------------------------------------------------- */

/* quantization_config's quant_method names the tool that quantised; the key `quantization` is
 * MLX's. */
int zf_config_foreign(const struct zf_config_reader *reader) {
  static const char *const advice = "zoft reads F32, F16 and BF16, and blocks in GGUF files: take "
                                    "the model from which it was quantised";
  const json_t *quant = json_object_get(reader->obj, "quantization_config");
  if (json_is_object(json_object_get(reader->obj, "quantization")) && !json_is_object(quant))
    return zf_error(ZF_EINVALID, "%s: key 'quantization': the weights are quantised by MLX: %s",
                    reader->name, advice);
  if (!json_is_object(quant)) return 0;
  const char *method = json_string_value(json_object_get(quant, "quant_method"));
  if (!method)
    method = json_is_true(json_object_get(quant, "load_in_4bit")) ||
                     json_is_true(json_object_get(quant, "load_in_8bit"))
                 ? "bitsandbytes"
                 : "an unnamed method";
  return zf_error(ZF_EINVALID,
                  "%s: key 'quantization_config': the weights are quantised by %.40s: %s",
                  reader->name, method, advice);
}
