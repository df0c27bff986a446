/* Tensors of a checkpoint that the plan does not read, and those that it lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "model/model_internal.h"

/* --- copies -------------------------------------------------------------------------------------- */

int zf_model_equal(const struct zf_st_tensor *a, const struct zf_st_tensor *b) {
  enum { PIECE = 4096 };
  float x[PIECE], y[PIECE];
  if (a->count != b->count || a->type < 0 || b->type < 0) return 0;
  if (a->type == b->type) return !memcmp(a->data, b->data, a->bytes);
  for (int64_t i = 0; i < a->count; i += PIECE) {
    int64_t n = a->count - i < PIECE ? a->count - i : PIECE;
    zf_to_f32(x, a->data + zf_dtype_bytes((enum zf_dtype)a->type, i), (enum zf_dtype)a->type, n);
    zf_to_f32(y, b->data + zf_dtype_bytes((enum zf_dtype)b->type, i), (enum zf_dtype)b->type, n);
    if (memcmp(x, y, sizeof *x * (size_t)n) != 0) return 0;
  }
  return 1;
}

void zf_model_untie(struct zf_model *m) {
  const struct zf_family *f = m->config.family;
  if (!m->config.tied) return;
  const struct zf_st_tensor *embed = zf_model_tensor(m, f->names.embed);
  const struct zf_st_tensor *head = zf_model_tensor(m, zf_config_tail(&m->config)->head);
  if (!embed || !head || embed == head || zf_model_equal(embed, head)) return;
  m->config.tied = 0;
  m->own_head = 1;
}

/* Is the tensor a second copy of one that is used: the head of a tied model, a bias of two names? */
static int is_copy(const struct zf_model *m, const struct zf_st_tensor *t) {
  const struct zf_head_names *tail = zf_config_tail(&m->config);
  if (m->config.tied && t == zf_model_tensor(m, tail->head)) return 1;
  if (m->config.tied && t == zf_model_tensor(m, m->config.family->names.embed)) return 1;
  if (!tail->bias_copy || t != zf_model_tensor(m, tail->bias_copy)) return 0;
  const struct zf_st_tensor *bias = zf_model_tensor(m, tail->bias);
  return bias && zf_model_equal(bias, t);
}

/* --- what is not used ---------------------------------------------------------------------------- */

static int refuse(const struct zf_model *m, const struct zf_st_tensor *t) {
  const char *path = m->st->path[t->file];
  if (m->gguf)
    return zf_error(
        ZF_EINVALID,
        "%s: tensor '%s' is none of the architecture's: its weight would be left out of the "
        "result, and llama.cpp refuses the file",
        path, t->name);
  if (strstr(t->name, ".lora_") || strstr(t->name, "lora_magnitude_vector"))
    return zf_error(
        ZF_EINVALID,
        "%s: tensor '%s' belongs to a LoRA adapter, which is not applied: merge it into the "
        "weights first (PEFT's merge_and_unload) and save the model again",
        path, t->name);
  return 0;
}

int zf_model_check_unused(struct zf_model *m) {
  unsigned char *used = calloc((size_t)m->st->count + 1, 1);
  int rc =
      used ? 0 : zf_error(ZF_ENOMEM, "out of memory for %lld tensors", (long long)m->st->count);
  for (int64_t i = 0; !rc && i < m->params.count; i++)
    if (m->from[i]) used[m->from[i] - m->st->tensor] = 1;
  for (int64_t i = 0; !rc && i < m->st->count; i++) {
    const struct zf_st_tensor *t = &m->st->tensor[i];
    if (used[i] || zf_family_carries(m->config.family, t->name) || is_copy(m, t)) continue;
    if (m->gguf ? zf_gguf_reads(m->gguf, t->name) : zf_family_constant(t->name)) continue;
    if (!m->ignored++) m->unused = t->name;
    rc = refuse(m, t);
  }
  free(used);
  return rc;
}

void zf_model_notes(const struct zf_model *m, struct zf_buf *out) {
  const char *type = m->config.family->model_type;
  if (m->ignored)
    zf_buf_printf(
        out, "%s: %s does not use %lld tensor%s of the file, and no result holds %s: first %s\n",
        m->dir, type, (long long)m->ignored, m->ignored > 1 ? "s" : "",
        m->ignored > 1 ? "them" : "it", m->unused);
  if (m->nmade)
    zf_buf_printf(out, "%s: the head of %lld label%s is new: %lld tensor%s made from seed %llu\n",
                  m->dir, (long long)m->config.outputs, m->config.outputs > 1 ? "s" : "",
                  (long long)m->nmade, m->nmade > 1 ? "s" : "", (unsigned long long)m->head_seed);
  if (m->own_head)
    zf_buf_printf(
        out,
        "%s: config.json ties the head to the embedding, but the file holds a head that differs: "
        "it is used, and results say tie_word_embeddings: false\n",
        m->dir);
  if (m->config.window_off)
    zf_buf_printf(
        out,
        "%s: its sliding window of %lld tokens is not applied, as llama.cpp does not apply it\n",
        m->dir, (long long)m->config.window_off);
}

/* --- what is missing ----------------------------------------------------------------------------- */

static const struct {
  const char *prefix, *cure;
} wrappers[] = {
    {"_orig_mod.", "torch.compile wrapped the model: save model._orig_mod"},
    {"module.", "DataParallel wrapped the model: save model.module"},
    {"base_model.model.", "PEFT wrapped the model: save what merge_and_unload returns"},
};

/* Is there a tensor `wrapper` + any prefix of the family + name? */
static int is_wrapped(const struct zf_model *m, const char *wrapper, const char *name) {
  size_t k = strlen(wrapper), n = strlen(name);
  for (int64_t i = 0; i < m->st->count; i++) {
    const char *t = m->st->tensor[i].name;
    size_t len = strlen(t);
    if (!strncmp(t, wrapper, k) && len >= k + n && !strcmp(t + len - n, name)) return 1;
  }
  return 0;
}

int zf_model_missing(const struct zf_model *m, const struct zf_wanted_tensor *w) {
  const char *prefix = w->outside_prefix ? "" : m->config.family->prefix[0];
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
    if (is_wrapped(m, wrappers[i].prefix, w->name))
      return zf_error(ZF_EINVALID,
                      "%s: tensor '%s%s' is missing: names in the file begin with '%s' (%s)",
                      m->dir, prefix, w->name, wrappers[i].prefix, wrappers[i].cure);
  if (w->outside_prefix && !m->config.classify)
    return zf_error(ZF_EINVALID,
                    "%s: tensor '%s' is missing: the checkpoint has no %s head; with 'type: "
                    "labels' a run makes "
                    "a head of its own",
                    m->dir, w->name,
                    m->config.family->bidirectional ? "masked-LM" : "language model's");
  return zf_error(ZF_EINVALID, "%s: tensor '%s%s' is missing", m->dir, prefix, w->name);
}
