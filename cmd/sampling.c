#include "sampling.h"

#include <math.h>
#include <string.h>

#include <stdlib.h>

#include "base/err.h"
#include "ui.h"

struct zc_sampling zc_sampling;

/* --- generation_config.json --- */

static void take_num(double *to, double from) {
  if (!isnan(from)) *to = from;
}

static void take_all(struct zc_sampling *sampling, const struct zf_generation_config *config,
                     int talks) {
  enum { USUAL_TOP_K = 50 };
  if (config->sample == 1) {
    sampling->temperature = isnan(config->temperature) ? 1 : config->temperature;
    sampling->top_k = USUAL_TOP_K;
  } else if (config->sample == 0) {
    sampling->temperature = 0;
  } else if (talks) {
    take_num(&sampling->temperature, config->temperature);
  }
  take_num(&sampling->top_p, config->top_p);
  take_num(&sampling->min_p, config->min_p);
  take_num(&sampling->repetition, config->repetition);
  if (config->top_k >= 0) sampling->top_k = config->top_k;
  if (config->max_new >= 0) sampling->max_new = config->max_new;
}

static int take_stop(const struct zf_generation_config *config) {
  struct zc_list *stop = &zc_sampling.stop;
  enum { MOST = sizeof stop->item / sizeof *stop->item };
  const json_t *item;
  size_t i;
  json_array_foreach(config->stop, i, item) {
    if (stop->count == MOST)
      return zf_error(ZF_EINVALID,
                      "generation_config.json: key 'stop_strings': %zu texts, more than %d",
                      json_array_size(config->stop), MOST);
    stop->item[stop->count++] = json_string_value(item);
  }
  return 0;
}

int zc_sampling_model(struct zc_sampling *sampling, struct zf_generation_config *config,
                      const char *base_model, int talks) {
  char *dir = NULL;
  int rc = zf_model_find(&dir, base_model);
  if (!rc) rc = zf_generation_config_read(config, dir);
  free(dir);
  if (rc) return rc;
  take_all(sampling, config, talks);
  int greedy = config->sample < 0 && !talks &&
               (!isnan(config->temperature) || !isnan(config->top_p) || config->top_k >= 0);
  if (config->applied.len)
    zc_say("generation_config.json: %s%s", config->applied.data,
           greedy ? "; without do_sample the likeliest token is taken each time" : "");
  if (config->ignored.len)
    zc_warn("generation_config.json: %s: not supported, ignored", config->ignored.data);
  return take_stop(config);
}

/* --- options --- */

int zc_sampling_settle(const struct zc_sampling *sampling) {
  struct zc_sampling *s = &zc_sampling;
  if (!s->given.temperature) s->temperature = sampling->temperature;
  int greedy = s->temperature == 0; /* what narrows a choice was not meant for it */
  if (!s->given.top_p) s->top_p = greedy ? 1 : sampling->top_p;
  if (!s->given.min_p) s->min_p = greedy ? 0 : sampling->min_p;
  if (!s->given.repetition) s->repetition = sampling->repetition;
  if (!s->given.top_k) s->top_k = greedy ? 0 : sampling->top_k;
  if (!s->given.seed) s->seed = sampling->seed;
  if (!s->given.max_new) s->max_new = sampling->max_new;
  for (int i = 0; i < s->stop.count; i++)
    if (!*s->stop.item[i]) return zf_error(ZF_EUSAGE, "--stop: expected a text");
  if (s->temperature == 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0))
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
  int rc = zf_chat_open(out, model->dir, zf_tok_named(tok), named);
  if (rc != ZF_EUSAGE) return rc;
  if (named)
    return zf_error(ZF_EUSAGE, "--chat-template: '%s' is no file and none of %s", named,
                    zf_chat_names());
  return zf_error(ZF_EUSAGE, "%s has no chat template: give --chat-template one of %s, or a file",
                  model->dir, zf_chat_names());
}

/* What the template writes behind an answer. */
static int tail(struct zf_buf *out, const struct zf_chat *chat) {
  static const char *const mark = "zq";
  json_t *talk = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "a", "role",
                           "assistant", "content", mark);
  struct zf_buf all = {0};
  int rc = talk ? zf_chat_render(chat, talk, NULL, 0, &all, NULL) : ZF_ENOMEM;
  const char *hit = rc || !all.data ? NULL : strstr(all.data, mark);
  for (const char *next = hit; next; next = strstr(next + 1, mark)) hit = next;
  if (hit) zf_buf_puts(out, hit + strlen(mark));
  zf_buf_free(&all);
  json_decref(talk);
  return rc == ZF_ENOMEM ? rc : zf_buf_ok(out); /* a template may refuse the question */
}

int zc_chat_ends(struct zf_ids *ends, char **stop, const struct zf_chat *chat,
                 const struct zf_tok *tok) {
  struct zf_buf buf = {0};
  struct zf_ids ids = {0};
  *stop = NULL;
  int rc = tail(&buf, chat);
  size_t skip = buf.data ? strspn(buf.data, " \n") : 0,
         n = buf.data ? strcspn(buf.data + skip, "\n") : 0;
  if (!rc && n) rc = zf_tok_encode(tok, &ids, buf.data + skip, n, 0);
  if (!rc && ids.count && zf_tok_is_special(tok, ids.id[0]))
    rc = zf_generation_add_id(ends, ids.id[0]);
  else if (!rc && n && !(*stop = zf_strndup(buf.data + skip, n)))
    rc = ZF_ENOMEM;
  zf_ids_free(&ids);
  zf_buf_free(&buf);
  return rc;
}
