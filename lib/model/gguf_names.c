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
    {"token_embd", PART(embed)},
    {"position_embd", PART(pos)},
    {"token_types", PART(type)},
    {"token_embd_norm", PART(embed_norm)},
    {"output_norm", PART(final_norm)},
    {"blk.#.attn_norm", PART(norm1)},
    {"blk.#.attn_qkv", PART(qkv)},
    {"blk.#.attn_q", PART(query)},
    {"blk.#.attn_k", PART(key)},
    {"blk.#.attn_v", PART(value)},
    {"blk.#.attn_output", PART(output)},
    {"blk.#.attn_q_norm", PART(q_norm)},
    {"blk.#.attn_k_norm", PART(k_norm)},
    {"blk.#.post_attention_norm", PART(post1)},
    {"blk.#.ffn_norm", PART(norm2)},
    {"blk.#.ffn_gate", PART(gate)},
    {"blk.#.ffn_up", PART(up)},
    {"blk.#.ffn_up", PART(gate_up)},
    {"blk.#.ffn_down", PART(down)},
    {"blk.#.post_ffw_norm", PART(post2)},
    {0},
};
static const char head_name[] = "output";

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

static char *translate_part(const struct zf_family *family, const struct zf_gguf_part *part,
                            const char *name, const char *ending, int to_gguf) {
  char pattern[160];
  long layer = 0;
  if (!part_pattern(pattern, family, part)) return NULL;
  if (!matches(to_gguf ? pattern : part->gguf, name, (size_t)(ending - name), &layer)) return NULL;
  return fill(to_gguf ? part->gguf : pattern, layer, ending);
}

static char *translate_head(const struct zf_family *family, const char *name, const char *ending,
                            int to_gguf) {
  size_t len = strlen(family->lm.head) - strlen(".weight"), name_len = (size_t)(ending - name);
  const char *from = to_gguf ? family->lm.head : head_name;
  if (!to_gguf) len = strlen(head_name);
  if (name_len != len || strncmp(name, from, len) != 0) return NULL;
  return to_gguf ? zf_asprintf("%s%s", head_name, ending)
                 : zf_asprintf("%.*s%s", (int)(strlen(family->lm.head) - strlen(".weight")),
                               family->lm.head, ending);
}

/* 1 where the architecture's own table gives the part another name. */
static int is_renamed(const struct zf_gguf_arch *arch, const struct zf_gguf_part *part) {
  for (const struct zf_gguf_part *own = arch->names; own && own->gguf; own++)
    if (own->part == part->part) return 1;
  return 0;
}

static char *translate_name(const struct zf_gguf_arch *arch, const char *name, int to_gguf) {
  const struct zf_family *family = zf_gguf_family(arch);
  const char *dot = strrchr(name, '.');
  if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return NULL;
  char *found = NULL;
  for (const struct zf_gguf_part *own = arch->names; !found && own && own->gguf; own++)
    found = translate_part(family, own, name, dot, to_gguf);
  for (const struct zf_gguf_part *part = common; !found && part->gguf; part++)
    if (!is_renamed(arch, part)) found = translate_part(family, part, name, dot, to_gguf);
  return found ? found : translate_head(family, name, dot, to_gguf);
}

char *zf_gguf_checkpoint_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 0);
}

char *zf_gguf_tensor_name(const struct zf_gguf_arch *arch, const char *name) {
  return translate_name(arch, name, 1);
}

char *zf_gguf_wanted_name(const struct zf_gguf_arch *arch, const struct zf_plan *plan,
                          int64_t number) {
  const struct zf_family *family = zf_gguf_family(arch);
  if (number == plan->head && plan->wanted[number].outside_prefix)
    return zf_strdup(family->lm.head);
  return zf_asprintf("%s%s", family->prefix[0], plan->wanted[number].name);
}

/* --- changes --------------------------------------------------------------------------------- */

static int ends(const char *name, const char *suffix) {
  size_t len = strlen(name), suffix_len = strlen(suffix);
  return len >= suffix_len && !strcmp(name + len - suffix_len, suffix);
}

struct zf_gguf_change zf_gguf_change(const struct zf_gguf_arch *arch,
                                     const struct zf_config *config, const char *name) {
  struct zf_gguf_change change = {0};
  if (!arch) return change;
  if (arch->paired && strstr(name, ".self_attn.q_proj.")) change.heads = config->heads;
  if (arch->paired && strstr(name, ".self_attn.k_proj.")) change.heads = config->kv_heads;
  if (arch->plus && (ends(name, "norm.weight") || ends(name, "layernorm.weight")))
    change.subtract = 1;
  return change;
}

int64_t zf_gguf_file_row(struct zf_gguf_change change, int64_t rows, int64_t row) {
  if (!change.heads) return row;
  int64_t dim = rows / change.heads, half = dim / 2, head = row / dim, in_head = row % dim;
  return head * dim + in_head % half * 2 + in_head / half;
}

int64_t zf_gguf_checkpoint_row(struct zf_gguf_change change, int64_t rows, int64_t row) {
  if (!change.heads) return row;
  int64_t dim = rows / change.heads, half = dim / 2, head = row / dim, in_head = row % dim;
  return head * dim + in_head % 2 * half + in_head / 2;
}
