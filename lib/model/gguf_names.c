/* Names of tensors in GGUF files and in checkpoints, and the order in which a GGUF file has the rows.
 *
 * A tensor's part in its block (struct zf_names) has one name in GGUF files, whatever the family calls
 * it: the table below, with exceptions in the rows of some architectures. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/gguf_model_internal.h"

#define PART(name) offsetof(struct zf_names, name)
static const struct zf_gguf_part common[] = {
    {"token_embd", PART(embed), ZF_GGUF_TABLE},
    {"position_embd", PART(pos), ZF_GGUF_TABLE},
    {"token_types", PART(type), ZF_GGUF_TABLE},
    {"token_embd_norm", PART(embed_norm), ZF_GGUF_NORM},
    {"output_norm", PART(final_norm), ZF_GGUF_NORM},
    {"blk.#.attn_norm", PART(norm1), ZF_GGUF_NORM},
    {"blk.#.attn_qkv", PART(qkv), ZF_GGUF_LINEAR},
    {"blk.#.attn_q", PART(query), ZF_GGUF_LINEAR},
    {"blk.#.attn_k", PART(key), ZF_GGUF_LINEAR},
    {"blk.#.attn_v", PART(value), ZF_GGUF_LINEAR},
    {"blk.#.attn_output", PART(output), ZF_GGUF_LINEAR},
    {"blk.#.attn_q_norm", PART(q_norm), ZF_GGUF_NORM},
    {"blk.#.attn_k_norm", PART(k_norm), ZF_GGUF_NORM},
    {"blk.#.post_attention_norm", PART(post1), ZF_GGUF_NORM},
    {"blk.#.ffn_norm", PART(norm2), ZF_GGUF_NORM},
    {"blk.#.ffn_gate", PART(gate), ZF_GGUF_LINEAR},
    {"blk.#.ffn_up", PART(up), ZF_GGUF_LINEAR},
    {"blk.#.ffn_up", PART(gate_up), ZF_GGUF_LINEAR},
    {"blk.#.ffn_down", PART(down), ZF_GGUF_LINEAR},
    {"blk.#.post_ffw_norm", PART(post2), ZF_GGUF_NORM},
    {0},
};

const struct zf_gguf_part zf_gguf_post_norms[] = {
    {"blk.#.attn_output_norm", PART(norm1), ZF_GGUF_NORM},
    {"blk.#.layer_output_norm", PART(norm2), ZF_GGUF_NORM},
    {0}};

/* Tensors behind the body: of a head of the vocabulary, and of a head of labels. */
#define TAIL(name) offsetof(struct zf_head_names, name)
static const struct zf_gguf_part vocabulary_tail[] = {{"output", TAIL(head), ZF_GGUF_LINEAR}, {0}};
static const struct zf_gguf_part labels_tail[] = {{"cls", TAIL(dense), ZF_GGUF_LINEAR},
                                                  {"cls.norm", TAIL(norm), ZF_GGUF_NORM},
                                                  {"cls.output", TAIL(head), ZF_GGUF_LINEAR},
                                                  {0}};

/* 1 where the first `end` bytes of `name` match the pattern; *layer: the number that "#" matches.  "@"
 * matches any number. */
static int matches(const char *pattern, const char *name, size_t end, long *layer) {
  const char *at = name, *stop = name + end;
  for (; *pattern; pattern++) {
    if (*pattern != '#' && *pattern != '@') {
      if (at == stop || *at++ != *pattern) return 0;
      continue;
    }
    size_t digits = strspn(at, "0123456789");
    if (!digits || digits > 5 || (size_t)(stop - at) < digits) return 0;
    if (*pattern == '#') *layer = strtol(at, NULL, 10);
    at += digits;
  }
  return at == stop;
}

/* The pattern with the number in place of "#"; the caller frees. */
static char *fill(const char *pattern, long layer, const char *ending) {
  const char *number = strchr(pattern, '#');
  if (!number) return zf_asprintf("%s%s", pattern, ending);
  return zf_asprintf("%.*s%ld%s%s", (int)(number - pattern), pattern, layer, number + 1, ending);
}

/* Name of a part in checkpoints, without its ending; 0: the family has no such part. */
static int part_pattern(char out[160], const struct zf_family *family,
                        const struct zf_gguf_part *part) {
  const char *name = *(const char *const *)((const char *)&family->names + part->part);
  if (!name) return 0;
  size_t len = strlen(name) - strlen(".weight");
  snprintf(out, 160, "%s%.*s", family->prefix[0], (int)len, name);
  return 1;
}

/* The name of a part of a tail without its ending; NULL: the family has no such part. */
static const char *tail_name(const struct zf_head_names *tail, const struct zf_gguf_part *part,
                             int *len) {
  const char *name = *(const char *const *)((const char *)tail + part->part);
  if (name) *len = (int)(strlen(name) - strlen(".weight"));
  return name;
}

static int same(const char *left, size_t left_len, const char *right, size_t right_len) {
  return left_len == right_len && !strncmp(left, right, left_len);
}

static char *translate_tail(const struct zf_gguf_arch *arch, const char *name, const char *ending,
                            int to_gguf) {
  const struct zf_family *family = zf_gguf_family(arch);
  const struct zf_head_names *tail = arch->labels ? &family->classify : &family->lm;
  size_t name_len = (size_t)(ending - name);
  for (const struct zf_gguf_part *part = arch->labels ? labels_tail : vocabulary_tail; part->gguf;
       part++) {
    int len;
    const char *checkpoint = tail_name(tail, part, &len);
    if (!checkpoint) continue;
    if (to_gguf && same(checkpoint, (size_t)len, name, name_len))
      return zf_asprintf("%s%s", part->gguf, ending);
    if (!to_gguf && same(part->gguf, strlen(part->gguf), name, name_len))
      return zf_asprintf("%.*s%s", len, checkpoint, ending);
  }
  return NULL;
}

/* 1 where the architecture's own table gives the part another name. */
static int is_renamed(const struct zf_gguf_arch *arch, const struct zf_gguf_part *part) {
  for (const struct zf_gguf_part *own = arch->names; own && own->gguf; own++)
    if (own->part == part->part) return 1;
  return 0;
}

/* The part whose name this is, in GGUF files or in checkpoints, and the other name's pattern.  NULL: none.
 * `end`: where .weight or .bias begins. */
static const struct zf_gguf_part *find_part(const struct zf_gguf_arch *arch, const char *name,
                                            const char *end, int to_gguf, char pattern[160],
                                            long *layer) {
  const struct zf_family *family = zf_gguf_family(arch);
  const struct zf_gguf_part *const tables[] = {arch->names, common};
  for (int i = 0; i < 2; i++)
    for (const struct zf_gguf_part *part = tables[i]; part && part->gguf; part++) {
      if ((i && is_renamed(arch, part)) || !part_pattern(pattern, family, part)) continue;
      if (!matches(to_gguf ? pattern : part->gguf, name, (size_t)(end - name), layer)) continue;
      if (to_gguf) snprintf(pattern, 160, "%s", part->gguf);
      return part;
    }
  return NULL;
}

/* Where the ending of a name begins; NULL: it has none that a tensor of a model has. */
static const char *ending_of(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (!strcmp(dot, ".weight") || !strcmp(dot, ".bias")) ? dot : NULL;
}

static char *translate_name(const struct zf_gguf_arch *arch, const char *name, int to_gguf) {
  const char *ending = ending_of(name);
  char pattern[160];
  long layer = 0;
  if (!ending) return NULL;
  if (find_part(arch, name, ending, to_gguf, pattern, &layer)) return fill(pattern, layer, ending);
  return translate_tail(arch, name, ending, to_gguf);
}

char *zf_gguf_checkpoint_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 0);
}

char *zf_gguf_tensor_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 1);
}

/* A tensor of the tail under the name that the architecture's own family gives it. */
static char *tail_of_arch(const struct zf_gguf_arch *arch, const struct zf_config *config,
                          const char *name) {
  const struct zf_family *family = zf_gguf_family(arch);
  const struct zf_head_names *from = zf_config_tail(config),
                             *to = config->classify ? &family->classify : &family->lm;
  const char *ending = ending_of(name);
  for (const struct zf_gguf_part *part = arch->labels ? labels_tail : vocabulary_tail; part->gguf;
       part++) {
    int from_len, to_len;
    const char *own = tail_name(from, part, &from_len), *other = tail_name(to, part, &to_len);
    if (own && other && ending && same(own, (size_t)from_len, name, (size_t)(ending - name)))
      return zf_asprintf("%.*s%s", to_len, other, ending);
  }
  return zf_strdup(name);
}

char *zf_gguf_wanted_name(const struct zf_gguf_arch *arch, const struct zf_config *config,
                          const struct zf_wanted_tensor *wanted) {
  if (wanted->outside_prefix) return tail_of_arch(arch, config, wanted->name);
  return zf_asprintf("%s%s", zf_gguf_family(arch)->prefix[0], wanted->name);
}

/* --- changes --------------------------------------------------------------------------------- */

struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name) {
  struct zf_gguf_change change = {0};
  const char *ending = arch ? ending_of(name) : NULL;
  char pattern[160];
  long layer;
  const struct zf_gguf_part *part =
      ending ? find_part(arch, name, ending, 1, pattern, &layer) : NULL;
  if (!part) return change;
  int weight = !strcmp(ending, ".weight");
  if (arch->paired && part->part == PART(query)) change.heads = config->heads;
  if (arch->paired && part->part == PART(key)) change.heads = config->kv_heads;
  if (part->part == PART(qkv) && zf_gguf_family(arch)->qkv == ZF_QKV_HEADS) {
    change.heads = config->heads;
    change.parts = 3;
  }
  if (arch->plus && part->kind == ZF_GGUF_NORM && weight) change.subtract = 1;
  change.transposed = zf_gguf_family(arch)->transposed && part->kind == ZF_GGUF_LINEAR && weight;
  return change;
}

/* Pairs: row p D / 2 + i of a head of D rows is row 2 i + p of the file, p in {0,1}.  Parts: row d of part p
 * of head h, (3 h + p) D + d, is row (p H + h) D + d. */
int64_t zf_gguf_file_row(struct zf_gguf_change change, int64_t rows, int64_t row) {
  if (!change.heads) return row;
  int64_t parts = change.parts ? change.parts : 1, dim = rows / change.heads / parts;
  int64_t group = row / dim, in_head = row % dim, half = dim / 2;
  if (!change.parts) return group * dim + in_head % half * 2 + in_head / half;
  return (group % parts * change.heads + group / parts) * dim + in_head;
}

int64_t zf_gguf_checkpoint_row(struct zf_gguf_change change, int64_t rows, int64_t row) {
  if (!change.heads) return row;
  int64_t parts = change.parts ? change.parts : 1, dim = rows / change.heads / parts;
  int64_t group = row / dim, in_head = row % dim, half = dim / 2;
  if (!change.parts) return group * dim + in_head % 2 * half + in_head / 2;
  return (group % change.heads * parts + group / change.heads) * dim + in_head;
}
