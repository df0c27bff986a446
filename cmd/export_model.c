/* The part of `zoft export` that writes models. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "compress/copy_verify.h"
#include "eval/export.h"
#include "export_job.h"
#include "peft/adapter.h"
#include "tensor/quantize.h"
#include "train/rundir.h"
#include "ui.h"

/* --- the model --- */

static int interrupted(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* The words of adapters, the source's own first; *base: the word of the model, the caller's to free. */
static int list_words(const struct zc_export *job, const char *word[65], int64_t *count,
                      char **base) {
  *count = 0;
  *base = NULL;
  int rc = 0, is_adapter = zf_adapter_probe(job->source) != NULL;
  if (is_adapter) word[(*count)++] = job->source;
  for (int i = 0; i < zc_adapters.count; i++) word[(*count)++] = zc_adapters.item[i];
  zc_adapters.count = 0; /* the base is opened without them */
  if (is_adapter && !job->base)
    rc = zf_adapter_base(base, job->source);
  else
    *base = zf_strdup(is_adapter ? job->base : job->source);
  return rc ? rc : *base ? 0 : ZF_ENOMEM;
}

static int attach(struct zc_export *job, const char *const *word, int64_t count) {
  int rc = 0;
  for (int64_t i = 0; i < count; i++)
    if (!rc) rc = zf_adapter_use(job->model, word[i], &job->file[job->count++]);
  if (!rc && count) rc = zf_merge_new(&job->merge, job->model, job->file, job->count);
  if (!rc && count) job->values = zf_merge_values(job->merge, interrupted, NULL);
  return rc;
}

static int open_source(struct zc_export *job) {
  struct zf_model_opts opts = {.dtype = -1};
  const char *word[65];
  char *base;
  int64_t count;
  int rc = list_words(job, word, &count, &base);
  for (int64_t i = 0; i < count; i++)
    if (!rc && !opts.labels) rc = zf_adapter_labels(&opts.labels, word[i]);
  if (!rc) rc = zc_open_model_as(&job->model, &job->tok, base, &opts);
  if (!rc) rc = attach(job, word, count);
  free(base);
  return rc;
}

/* --- GGUF --- */

int zc_export_image(struct zf_image **image, const struct zc_export *job) {
  int rc =
      zf_image_open(image, job->model, job->tok, job->type < 0 ? ZF_F32 : (enum zf_dtype)job->type);
  if (rc) return rc;
  if ((*image)->note) zc_warn("%s: %s", job->to, (*image)->note);
  if (job->type < 0) zf_image_keep_types(*image);
  return job->values && job->values->own_head ? zf_image_untie(*image) : 0;
}

static int64_t file_bytes(const char *path) {
  struct stat st;
  return stat(path, &st) ? -1 : (int64_t)st.st_size;
}

int zc_export_gguf(struct zc_export *job, const char *path) {
  struct zf_image *image = NULL;
  struct zf_buf types = {0};
  int rc = zc_export_image(&image, job);
  if (!rc) rc = zf_image_write_checked(image, job->tok, path, job->values);
  if (!rc) {
    zf_image_list_types(image, &types);
    snprintf(job->types, sizeof job->types, "%s", types.failed ? "?" : types.data);
    job->tensors = image->count;
    job->bytes = file_bytes(path);
  }
  zf_buf_free(&types);
  zf_image_free(image);
  return rc;
}

static int write_file(struct zc_export *job) {
  return zc_export_gguf(job, job->to);
}

/* --- directories --- */

/* Removes a directory that this program made, with its folders. */
static void remove_made(const char *dir) {
  DIR *stream = opendir(dir);
  if (!stream) return;
  for (struct dirent *entry; (entry = readdir(stream));) {
    char *path = zf_path_join(dir, entry->d_name);
    if (!path || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
      free(path);
      continue;
    }
    if (unlink(path)) remove_made(path);
    free(path);
  }
  closedir(stream);
  rmdir(dir);
}

static int make_tmp(struct zc_export *job) {
  size_t len = strlen(job->to);
  while (len > 1 && job->to[len - 1] == '/') len--;
  job->tmp = zf_asprintf("%.*s.exporting-%d", (int)len, job->to, (int)getpid());
  if (!job->tmp) return ZF_ENOMEM;
  if (zf_exists(job->tmp)) return zf_error(ZF_EIO, "%s: exists already", job->tmp);
  return zf_mkdirs(job->tmp);
}

static int sync_parent(const char *path) {
  const char *slash = strrchr(path, '/');
  char *dir = slash ? zf_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : zf_strdup(".");
  int rc = dir ? zf_sync_dir(dir) : ZF_ENOMEM;
  free(dir);
  return rc;
}

/* The directory gets its name when it is complete; an empty one of that name is replaced. */
static int give_name(const char *tmp, const char *to) {
  if (rename(tmp, to))
    return zf_error(ZF_EIO, "%s: cannot rename into place: %s", to, strerror(errno));
  return sync_parent(to);
}

static int write_safetensors(struct zc_export *job) {
  static const char *const metadata[] = {"format", "pt"};
  int type = job->type < 0 && job->model->gguf ? ZF_F32 : job->type, rc;
  if (type >= 0 && type != ZF_F32 && type != ZF_F16 && type != ZF_BF16)
    return zf_error(ZF_EUSAGE, "--type: a model directory holds f32, bf16 or f16, not %s",
                    zf_dtype_info((enum zf_dtype)type)->name);
  if (job->model->gguf)
    rc = zf_export_gguf_shards(job->tmp, job->model, job->tok, (enum zf_dtype)type, job->values,
                               job->shard);
  else
    rc = zf_model_save_shards(job->model, job->tmp, type, job->values, metadata, 1, job->shard);
  if (rc) return rc;
  snprintf(job->types, sizeof job->types, "%s",
           type < 0 ? "as stored" : zf_dtype_info((enum zf_dtype)type)->name);
  job->tensors = job->model->plan.wanted_count + (job->values && job->values->own_head);
  return zf_copy_verify(job->model, job->tok, job->tmp, job->values);
}

static int write_ollama(struct zc_export *job) {
  char *path = zf_path_join(job->tmp, "model.gguf");
  int rc = path ? zc_export_gguf(job, path) : ZF_ENOMEM;
  if (!rc && job->verify_llama) rc = zc_export_ask_llama(job, path);
  if (!rc) rc = zc_export_modelfile(job, job->tmp);
  free(path);
  return rc;
}

/* --- a GGUF file in parts --- */

/* Moves the parts from the directory `tmp` to that of `to`, the first one last. */
static int move_parts(const char *tmp, const char *to, int64_t parts) {
  size_t stem = strlen(to) - strlen(".gguf");
  const char *slash = strrchr(to, '/'), *name = slash ? slash + 1 : to;
  int rc = 0;
  for (int64_t i = parts; i >= 1; i--) {
    if (rc) break;
    char *from =
             zf_asprintf("%s/%.*s-%05lld-of-%05lld.gguf", tmp, (int)(stem - (size_t)(name - to)),
                         name, (long long)i, (long long)parts),
         *target = zf_asprintf("%.*s-%05lld-of-%05lld.gguf", (int)stem, to, (long long)i,
                               (long long)parts);
    rc = from && target ? 0 : ZF_ENOMEM;
    if (!rc && zf_exists(target))
      rc = zf_error(ZF_EUSAGE, "%s exists: name a file that does not", target);
    if (!rc && rename(from, target))
      rc = zf_error(ZF_EIO, "%s: cannot rename into place: %s", target, strerror(errno));
    free(from);
    free(target);
  }
  return rc ? rc : sync_parent(to);
}

static int count_entries(const char *dir) {
  DIR *stream = opendir(dir);
  int count = 0;
  if (!stream) return 0;
  for (struct dirent *entry; (entry = readdir(stream));) count += entry->d_name[0] != '.';
  closedir(stream);
  return count;
}

/* The file that stands for all: the only one, or the first part. */
static char *first_part(const char *tmp, const char *to, int parts) {
  const char *slash = strrchr(to, '/'), *name = slash ? slash + 1 : to;
  size_t stem = strlen(name) - strlen(".gguf");
  if (parts == 1) return zf_path_join(tmp, name);
  return zf_asprintf("%s/%.*s-00001-of-%05d.gguf", tmp, (int)stem, name, parts);
}

static int verify_parts(struct zc_export *job, const struct zf_image *image) {
  struct zf_buf types = {0};
  int parts = count_entries(job->tmp);
  zf_image_list_types(image, &types);
  if (parts > 1) zf_buf_printf(&types, " in %d files", parts);
  snprintf(job->types, sizeof job->types, "%s", types.failed ? "?" : types.data);
  char *first = first_part(job->tmp, job->to, parts);
  int rc = first ? zf_image_verify(image, job->tok, first, job->values) : ZF_ENOMEM;
  if (!rc && job->verify_llama) rc = zc_export_ask_llama(job, first);
  if (!rc && parts == 1) rc = give_name(first, job->to);
  if (!rc && parts > 1) rc = move_parts(job->tmp, job->to, parts);
  zf_buf_free(&types);
  free(first);
  return rc;
}

static int write_parts(struct zc_export *job) {
  const char *slash = strrchr(job->to, '/');
  struct zf_image *image = NULL;
  struct zf_gguf_out *out = NULL;
  char *path = NULL;
  int rc = make_tmp(job);
  if (!rc) rc = zc_export_image(&image, job);
  if (!rc && !(path = zf_path_join(job->tmp, slash ? slash + 1 : job->to))) rc = ZF_ENOMEM;
  if (!rc) rc = zf_image_begin_parts(&out, image, path, job->shard);
  if (!rc && (rc = zf_image_fill(out, image, job->values)))
    zf_gguf_out_drop(out);
  else if (!rc)
    rc = zf_gguf_out_close(out);
  if (!rc) rc = verify_parts(job, image);
  if (!rc) job->tensors = image->count;
  zf_image_free(image);
  free(path);
  return rc;
}

/* --- formats --- */

static const struct model_format {
  const char *name;
  int is_file; /* else a directory, which is written under another name first */
  int (*write)(struct zc_export *job);
} formats[] = {
    {"safetensors", 0, write_safetensors}, {"gguf", 1, write_file}, {"ollama", 0, write_ollama}};
enum { FORMATS = sizeof formats / sizeof *formats };

static int find_format(const struct model_format **out, const struct zc_export *job) {
  const char *name = job->format;
  if (!name) name = zf_is_gguf_path(job->to) ? "gguf" : "safetensors";
  for (int i = 0; i < FORMATS; i++)
    if (!strcmp(formats[i].name, name)) {
      *out = &formats[i];
      return 0;
    }
  return zf_error(ZF_EUSAGE,
                  "--format: expected safetensors, gguf or ollama for a model (peft, mlx and "
                  "lora-gguf for an adapter), found '%s'",
                  name);
}

static int check_target(const struct zc_export *job, const struct model_format *format) {
  if (format->is_file != zf_is_gguf_path(job->to))
    return zf_error(ZF_EUSAGE, "--to %s: --format %s writes a %s", job->to, format->name,
                    format->is_file ? "file, whose name ends in .gguf" : "directory");
  if (job->verify_llama && !strcmp(format->name, "safetensors"))
    return zf_error(ZF_EUSAGE, "--verify-with llama-cpp: llama.cpp reads no model directory");
  if (job->replace) return 0;
  if (!zf_exists(job->to) || (!format->is_file && zf_dir_empty(job->to) == 1)) return 0;
  return format->is_file
             ? zf_error(ZF_EUSAGE, "%s exists: name a file that does not", job->to)
             : zf_error(ZF_EUSAGE, "%s is not empty: name a directory that is, or none", job->to);
}

static int write_target(struct zc_export *job, const struct model_format *format) {
  int rc;
  if (format->is_file && (job->shard || job->verify_llama)) return write_parts(job);
  if (format->is_file) return format->write(job);
  rc = make_tmp(job);
  if (!rc) rc = format->write(job);
  if (!rc) rc = zc_export_card(job->source, job->tmp);
  return rc ? rc : give_name(job->tmp, job->to);
}

static void report(const struct zc_export *job, const struct model_format *format) {
  const char *family = job->model->config.family->model_type;
  struct zf_params base = {job->model->params.param, job->model->plan.wanted_count};
  long long parameters = zf_params_count(&base, 0), tensors = job->tensors;
  if (zc_common.json) {
    struct zf_buf name = {0};
    zc_json_text(&name, job->to, strlen(job->to));
    printf("{\"%s\": %s, \"family\": \"%s\", \"parameters\": %lld, \"tensors\": %lld, "
           "\"dtype\": \"%s\"}\n",
           format->is_file ? "file" : "directory", name.failed ? "null" : name.data, family,
           parameters, tensors, job->types);
    zf_buf_free(&name);
    return;
  }
  printf("%s: %s, %lld parameters in %lld tensors, %s\n", job->to, family, parameters, tensors,
         job->types);
}

int zc_export_model(struct zc_export *job) {
  const struct model_format *format = NULL;
  int rc = find_format(&format, job);
  if (!rc) rc = check_target(job, format);
  zc_catch_signals();
  if (!rc) rc = open_source(job);
  if (!rc) rc = write_target(job, format);
  if (!rc && !job->replace) report(job, format);
  if (job->tmp) {
    struct zf_buf said = {0};
    zf_buf_puts(&said, zf_error_message());
    remove_made(job->tmp);
    if (rc) zf_error(rc, "%s", said.data ? said.data : "");
    zf_buf_free(&said);
  }
  zf_merge_free(job->merge);
  zf_tok_free(job->tok);
  zf_model_free(job->model);
  free(job->tmp);
  return rc;
}
