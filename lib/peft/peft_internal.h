/* Shared by the files of lib/peft: the table of the fields of a zf_peft_config, and the readers of
 * the three formats. */
#ifndef ZF_PEFT_PEFT_INTERNAL_H
#define ZF_PEFT_PEFT_INTERNAL_H

#include <stddef.h>
#include <stdio.h>

#include "fmt/gguf.h"
#include "peft/adapter_file.h"

#define ZF_PEFT_MAXALPHA 1e30
enum { ZF_PEFT_MAXRANK = 1 << 24 };

/* --- fields (peft_fields.c) --- */

enum zf_peft_field_type {
  ZF_PEFT_TEXT,     /* char * */
  ZF_PEFT_INT,      /* int64_t */
  ZF_PEFT_NUMBER,   /* double */
  ZF_PEFT_BOOL,     /* int */
  ZF_PEFT_NAMES,    /* struct zf_peft_names: a list or a string */
  ZF_PEFT_INTS,     /* struct zf_peft_ints: a list or an integer */
  ZF_PEFT_PATTERNS, /* struct zf_peft_patterns: an object of numbers */
  ZF_PEFT_SWITCH,   /* char *: true, false, or a string */
  ZF_PEFT_TOKEN_SET /* struct zf_peft_tokens: a list of integers, or an object of one such list */
};

struct zf_peft_field {
  const char *key;
  enum zf_peft_field_type type;
  size_t offset;      /* in zf_peft_config */
  unsigned kinds;     /* bit 1 << kind: the kinds that have the key */
  double least, most; /* range of numbers; both 0: any */
};
extern const struct zf_peft_field zf_peft_fields[]; /* ends with a NULL key */

/* The first field of this key that the kind has; NULL: none. */
const struct zf_peft_field *zf_peft_field_find(const char *key, enum zf_peft_kind kind);

/* Address of the field in a config. */
static inline void *zf_peft_field_at(const struct zf_peft_field *field,
                                     const struct zf_peft_config *config) {
  return (char *)config + field->offset;
}

/* --- tensors (adapter_file.c) --- */

/* Adds a tensor of a mapped file, converted to f32; `transposed`: [a,b] becomes [b,a].  ZF_EINVALID
 * names the tensor where it has no such dtype, or not one or two dimensions. */
int zf_adapter_file_take(struct zf_adapter_file *file, const char *module, const char *part,
                         const struct zf_st_tensor *from, int transposed);

/* ZF_EUSAGE where a LoRA format without this kind, these parts or options is to be written; `format`
 * is its name. */
int zf_adapter_file_only_lora(const struct zf_adapter_file *file, const char *format, int dora);

/* 1 where the path's last name is one of an embedding. */
int zf_adapter_is_embedding(const char *module);

/* Writes an object of adapter_config.json to dir/name. */
int zf_adapter_write_json(const char *dir, const char *name, const json_t *obj);

/* Names of the tensors of a written file, the caller's to free; NULL: the sentence is set. */
typedef char *(*zf_adapter_namer)(const struct zf_adapter_file *file,
                                  const struct zf_adapter_tensor *tensor);

/* Declares the tensors, f32, for zf_st_write or zf_gguf_write with zf_adapter_fill and the file as its
 * context; zf_adapter_undeclare takes NULL. */
int zf_adapter_declare(struct zf_st_out **out, const struct zf_adapter_file *file,
                       zf_adapter_namer name_of);
void zf_adapter_undeclare(struct zf_st_out *out, int64_t count);
int zf_adapter_fill(void *file, int64_t index, FILE *stream);

/* Writes all tensors to a safetensors file. */
int zf_adapter_write_tensors(const struct zf_adapter_file *file, const char *path,
                             zf_adapter_namer name_of, const char *const *metadata,
                             int64_t nmetadata);

/* module + "." + part */
char *zf_adapter_plain_name(const struct zf_adapter_file *file,
                            const struct zf_adapter_tensor *tensor);

/* Adds lora_A or lora_B (or those of an embedding) to a file of another format.  Values are multiplied
 * by `factor`, in double, and rounded once; 1 keeps them.  Zeros make a smaller rank up to `rank`.
 * transposed: the shape is that of the transposed matrix. */
int zf_adapter_add_factor(struct zf_adapter_file *to, const char *module, const char *part,
                          const struct zf_adapter_tensor *from, double factor, int64_t rank,
                          int transposed);

/* 1 for the parts lora_A and lora_embedding_A. */
int zf_adapter_is_a(const struct zf_adapter_tensor *tensor);

/* Sets target_modules to the paths of the modules of a LoRA adapter. */
int zf_adapter_set_targets(struct zf_adapter_file *file);

/* --- formats --- */

int zf_adapter_read_peft(struct zf_adapter_file *file, const json_t *config, const struct zf_st *st,
                         const char *config_name, const struct zf_model *base);
int zf_adapter_read_mlx(struct zf_adapter_file *file, const json_t *config, const struct zf_st *st,
                        const char *config_name, const struct zf_model *base);
int zf_adapter_read_gguf(struct zf_adapter_file *file, const struct zf_gguf *gguf,
                         const struct zf_model *base);

#endif
