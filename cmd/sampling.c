#include "sampling.h"

#include <math.h>
#include <string.h>

#include <stdlib.h>

#include "base/err.h"
#include "ui.h"

struct zc_sampling zc_sampling;

/* --- generation_config.json --- */

static void set_if_number(double *to, double from) {
  if (!isnan(from)) *to = from;
}

static void apply_config(struct zc_sampling *sampling, const struct zf_generation_config *config,
                         int is_chat) {
  enum { DEFAULT_TOP_K = 50 };
  if (config->sample == 1) {
    sampling->temperature = isnan(config->temperature) ? 1 : config->temperature;
    sampling->top_k = DEFAULT_TOP_K;
  } else if (config->sample == 0) {
    sampling->temperature = 0;
  } else if (is_chat) {
    set_if_number(&sampling->temperature, config->temperature);
  }
  set_if_number(&sampling->top_p, config->top_p);
  set_if_number(&sampling->min_p, config->min_p);
  set_if_number(&sampling->repetition, config->repetition);
  if (config->top_k >= 0) sampling->top_k = config->top_k;
  if (config->max_new >= 0) sampling->max_new = config->max_new;
}

static int add_stop_strings(const struct zf_generation_config *config) {
  struct zc_list *stop = &zc_sampling.stop;
  enum { MAX_STOPS = sizeof stop->item / sizeof *stop->item };
  const json_t *item;
  size_t i;
  json_array_foreach(config->stop, i, item) {
    if (stop->count == MAX_STOPS)
      return zf_error(ZF_EINVALID,
                      "generation_config.json: key 'stop_strings': %zu texts, more than %d",
                      json_array_size(config->stop), MAX_STOPS);
    stop->item[stop->count++] = json_string_value(item);
  }
  return 0;
}

int zc_sampling_model(struct zc_sampling *sampling, struct zf_generation_config *config,
                      const char *base_model, int is_chat) {
  char *dir = NULL;
  int rc = zf_model_find(&dir, base_model);
  if (!rc) rc = zf_generation_config_read(config, dir);
  free(dir);
  if (rc) return rc;
  apply_config(sampling, config, is_chat);
  int greedy = config->sample < 0 && !is_chat &&
               (!isnan(config->temperature) || !isnan(config->top_p) || config->top_k >= 0);
  if (config->applied.len)
    zc_info("generation_config.json: %s%s", config->applied.data,
            greedy ? "; without do_sample the likeliest token is taken each time" : "");
  if (config->ignored.len)
    zc_warn("generation_config.json: %s: not supported, ignored", config->ignored.data);
  return add_stop_strings(config);
}

/* --- options --- */

int zc_sampling_resolve(const struct zc_sampling *defaults) {
  struct zc_sampling *chosen = &zc_sampling;
  if (!chosen->given.temperature) chosen->temperature = defaults->temperature;
  int greedy = chosen->temperature == 0; /* then the model's top_k, top_p and min_p do not apply */
  if (!chosen->given.top_p) chosen->top_p = greedy ? 1 : defaults->top_p;
  if (!chosen->given.min_p) chosen->min_p = greedy ? 0 : defaults->min_p;
  if (!chosen->given.repetition) chosen->repetition = defaults->repetition;
  if (!chosen->given.top_k) chosen->top_k = greedy ? 0 : defaults->top_k;
  if (!chosen->given.seed) chosen->seed = defaults->seed;
  if (!chosen->given.max_new) chosen->max_new = defaults->max_new;
  for (int i = 0; i < chosen->stop.count; i++)
    if (!*chosen->stop.item[i]) return zf_error(ZF_EUSAGE, "--stop: expected a text");
  if (chosen->temperature == 0 && (chosen->top_k > 0 || chosen->top_p < 1 || chosen->min_p > 0))
    return zf_error(ZF_EUSAGE, "--top-k, --top-p and --min-p have no effect at --temperature 0");
  return 0;
}

struct zf_generate_rules zc_sampling_rules(const struct zf_ids *ends) {
  const struct zc_sampling *sampling = &zc_sampling;
  return (struct zf_generate_rules){.sampling = {.temperature = sampling->temperature,
                                                 .top_k = sampling->top_k,
                                                 .top_p = sampling->top_p,
                                                 .min_p = sampling->min_p,
                                                 .repetition = sampling->repetition,
                                                 .seed = (uint64_t)sampling->seed},
                                    .max_new = sampling->max_new,
                                    .eos = ends->id,
                                    .neos = ends->count,
                                    .stop = sampling->stop.item,
                                    .nstop = sampling->stop.count};
}

int zc_chat_open(struct zf_chat **out, const struct zf_model *model, const struct zf_tok *tok,
                 const char *named) {
  int rc = zf_chat_open(out, model->dir, zf_tok_special_texts(tok), named);
  if (rc != ZF_EUSAGE) return rc;
  if (named)
    return zf_error(ZF_EUSAGE, "--chat-template: '%s' is no file and none of %s", named,
                    zf_chat_names());
  return zf_error(ZF_EUSAGE, "%s has no chat template: give --chat-template one of %s, or a file",
                  model->dir, zf_chat_names());
}

/* Appends what the template writes behind an answer. */
static int text_after_answer(struct zf_buf *out, const struct zf_chat *chat) {
  static const char *const mark = "zq";
  json_t *messages = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "a", "role",
                               "assistant", "content", mark);
  struct zf_buf text = {0};
  int rc = messages ? zf_chat_render(chat, messages, NULL, 0, &text, NULL) : ZF_ENOMEM;
  const char *hit = rc || !text.data ? NULL : strstr(text.data, mark);
  for (const char *next = hit; next; next = strstr(next + 1, mark)) hit = next;
  if (hit) zf_buf_puts(out, hit + strlen(mark));
  zf_buf_free(&text);
  json_decref(messages);
  return rc == ZF_ENOMEM ? rc : zf_buf_ok(out); /* a template may refuse this conversation */
}

int zc_chat_ends(struct zf_ids *ends, char **stop, const struct zf_chat *chat,
                 const struct zf_tok *tok) {
  struct zf_buf buf = {0};
  struct zf_ids ids = {0};
  *stop = NULL;
  int rc = text_after_answer(&buf, chat);
  size_t skip = buf.data ? strspn(buf.data, " \n") : 0,
         len = buf.data ? strcspn(buf.data + skip, "\n") : 0;
  if (!rc && len) rc = zf_tok_encode(tok, &ids, buf.data + skip, len, 0);
  if (!rc && ids.count && zf_tok_is_special(tok, ids.id[0]))
    rc = zf_generation_add_id(ends, ids.id[0]);
  else if (!rc && len && !(*stop = zf_strndup(buf.data + skip, len)))
    rc = ZF_ENOMEM;
  zf_ids_free(&ids);
  zf_buf_free(&buf);
  return rc;
}
