/* Reads a written image back and compares it with its model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "compress/image_internal.h"

/* --- the configuration --- */

/* *act: the file's activation. */
static int compare_config(const struct zf_image *image, const struct zf_gguf *gguf,
                          const char *path, int *act) {
  struct zf_config *found = zf_calloc(1, sizeof *found);
  json_t *config = NULL;
  char *text = NULL;
  int rc = found ? zf_gguf_config_of(&config, gguf, path) : ZF_ENOMEM;
  if (!rc && !(text = json_dumps(config, JSON_COMPACT))) rc = ZF_ENOMEM;
  if (!rc) rc = zf_config_parse(found, text, strlen(text), path);
  if (!rc) rc = zf_config_same(&image->model->config, found, path);
  if (!rc) *act = found->act;
  free(text);
  json_decref(config);
  free(found);
  return rc;
}

/* The keys and shapes of the image as those of an opened file. */
static int as_file(struct zf_gguf *gguf, const struct zf_image *image) {
  *gguf = (struct zf_gguf){.keys = json_object(), .st = zf_calloc(1, sizeof *gguf->st)};
  if (!gguf->keys || !gguf->st) return ZF_ENOMEM;
  gguf->st->tensor = zf_calloc(image->count + 1, sizeof *gguf->st->tensor);
  if (!gguf->st->tensor) return ZF_ENOMEM;
  for (int64_t i = 0; i < image->keys.count; i++)
    json_object_set(gguf->keys, image->keys.value[i].key, image->keys.value[i].json);
  for (int64_t i = 0; i < image->count; i++) {
    const struct zf_image_tensor *from = &image->tensor[i];
    struct zf_st_tensor *tensor = &gguf->st->tensor[gguf->st->count++];
    *tensor =
        (struct zf_st_tensor){.name = zf_strdup(from->name), .dtype = "F32", .ndim = from->ndim};
    if (!tensor->name) return ZF_ENOMEM;
    memcpy(tensor->shape, from->shape, sizeof from->shape);
    tensor->count = from->rows * from->columns;
    tensor->data = (const unsigned char *)from->constant;
  }
  return zf_st_sort(gguf->st);
}

int zf_image_check_config(struct zf_image *image) {
  int act = image->model->config.act;
  struct zf_gguf gguf;
  struct zf_buf name = {0};
  zf_buf_printf(&name, "%s: as a GGUF file of %s", image->model->dir,
                zf_gguf_arch_name(image->arch));
  int rc = as_file(&gguf, image);
  if (!rc) rc = compare_config(image, &gguf, name.failed ? "?" : name.data, &act);
  if (rc == ZF_EINVALID) rc = zf_error_prefix(ZF_EUSAGE, "llama.cpp has no such model");
  if (!rc && act != image->model->config.act)
    image->note =
        "llama.cpp computes GELU in its other form: each activation differs by up to 5e-4";
  zf_gguf_free(&gguf);
  zf_buf_free(&name);
  return rc;
}

/* --- the tokenizer --- */

/* Spaces, digits, capitals, contractions, other scripts, emoji.  No special tokens: behind one, and in front
 * of a text that begins with a space, llama.cpp always puts the space that some tokenizers leave out. */
static const char hard_text[] =
    "Hello  world! It's  3 o'clock,\tI'LL pay $1234567.89 (that is 50%).\n\n\n  def f(x):\r\n"
    "    return x**2   # caf\xc3\xa9 na\xc3\xafve "
    "e\xcc\x81\n\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c "
    "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd8\xb3\xd9\x84\xd8\xa7\xd9\x85 "
    "\xf0\x9f\x98\x80\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb "
    "HTTPServer camelCase \xe2\x96\x81 ...   ";

int zf_image_same_tokens(const struct zf_tok *tok, const struct zf_tok *found, const char *path) {
  struct zf_ids a = {0}, b = {0};
  int rc = zf_tok_encode(tok, &a, hard_text, sizeof hard_text - 1, ZF_ENC_SPECIAL);
  if (!rc) rc = zf_tok_encode(found, &b, hard_text, sizeof hard_text - 1, ZF_ENC_SPECIAL);
  int64_t at = 0, count = zf_min64(a.count, b.count);
  while (!rc && at < count && a.id[at] == b.id[at]) at++;
  if (!rc && (at < a.count || at < b.count))
    rc = zf_error(ZF_EFAIL,
                  "%s: the tokenizer of the file differs: token %lld of a text is %d, not %d: not "
                  "written",
                  path, (long long)at, at < b.count ? b.id[at] : -1, at < a.count ? a.id[at] : -1);
  zf_ids_free(&a);
  zf_ids_free(&b);
  return rc;
}

static int compare_tokenizer(const struct zf_tok *tok, const char *path) {
  struct zf_tok *found = NULL;
  int rc = tok ? zf_tok_open_gguf(&found, path) : 0;
  if (!rc && tok) rc = zf_image_same_tokens(tok, found, path);
  zf_tok_free(found);
  return rc;
}

/* --- the values --- */

struct image_reader {
  const struct zf_image *image;
  const struct zf_save_values *values;
  float *expected, *found; /* [step][columns] */
};

/* How far a value may lie from its rounding to a type, up or down: a unit in the last place of its
 * magnitude, or of the smallest normal number.  0: the value itself. */
static float spacing(enum zf_dtype type, float value) {
  int exponent, digits = type == ZF_F16 ? 10 : 7, least = type == ZF_F16 ? -14 : -126;
  if (type != ZF_F16 && type != ZF_BF16) return 0;
  frexpf(value, &exponent);
  exponent = exponent - 1 < least ? least : exponent - 1;
  return ldexpf(1, exponent - digits);
}

int zf_image_compare(const char *path, const char *name, enum zf_dtype type, int64_t first,
                     int64_t count, const float *expected, const float *found) {
  for (int64_t i = 0; i < count; i++) {
    if (expected[i] == found[i]) continue;
    if (fabsf(expected[i] - found[i]) <= spacing(type, expected[i])) continue;
    return zf_error(ZF_EFAIL,
                    "%s: tensor '%s': element %lld of the file is %.9g, expected %.9g: not written",
                    path, name, (long long)(first + i), (double)found[i], (double)expected[i]);
  }
  return 0;
}

static int compare_tensor(const struct image_reader *reader, const struct zf_st_tensor *found,
                          int64_t number, const char *path) {
  const struct zf_image_tensor *tensor = &reader->image->tensor[number];
  int64_t step = zf_image_step(tensor);
  if (!found || found->type != (int)tensor->type || found->ndim != tensor->ndim ||
      memcmp(found->shape, tensor->shape, (size_t)tensor->ndim * sizeof *tensor->shape) != 0)
    return zf_error(ZF_EFAIL, "%s: tensor '%s' is not in the file as it was written", path,
                    tensor->name);
  if (zf_dtype_info(tensor->type)->block > 1 &&
      !zf_image_is_held(reader->image, tensor, reader->values))
    return 0; /* the error of new blocks has no bound here */
  for (int64_t i = 0; i < tensor->rows; i += step) {
    int64_t rows = zf_min64(step, tensor->rows - i), count = rows * tensor->columns;
    zf_image_read(reader->image, reader->values, number, i, rows, reader->expected);
    zf_to_f32(reader->found, found->data + zf_dtype_bytes(tensor->type, i * tensor->columns),
              tensor->type, count);
    int rc = zf_image_compare(path, tensor->name, tensor->type, i * tensor->columns, count,
                              reader->expected, reader->found);
    if (rc) return rc;
  }
  return 0;
}

static int compare_values(struct image_reader *reader, const struct zf_gguf *gguf,
                          const char *path) {
  const struct zf_image *image = reader->image;
  int64_t most = 1;
  for (int64_t i = 0; i < image->count; i++)
    most = zf_max64(most, zf_image_step(&image->tensor[i]) * image->tensor[i].columns);
  reader->expected = zf_calloc(most, sizeof *reader->expected);
  reader->found = zf_calloc(most, sizeof *reader->found);
  int rc = reader->expected && reader->found ? 0 : ZF_ENOMEM;
  if (!rc && gguf->st->count != image->count)
    rc = zf_error(ZF_EFAIL, "%s: expected %lld tensors, found %lld", path, (long long)image->count,
                  (long long)gguf->st->count);
  for (int64_t i = 0; i < image->count; i++)
    if (!rc) rc = compare_tensor(reader, zf_st_find(gguf->st, image->tensor[i].name), i, path);
  free(reader->expected);
  free(reader->found);
  return rc;
}

int zf_image_verify(const struct zf_image *image, const struct zf_tok *tok, const char *path,
                    const struct zf_save_values *values) {
  struct image_reader reader = {.image = image, .values = values};
  struct zf_gguf gguf;
  int act;
  int rc = zf_gguf_open(&gguf, path, 0);
  if (rc) return rc;
  rc = compare_config(image, &gguf, path, &act);
  if (!rc) rc = compare_values(&reader, &gguf, path);
  if (!rc) rc = compare_tokenizer(tok, path);
  zf_gguf_free(&gguf);
  return rc;
}
