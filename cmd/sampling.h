/* The sampling options of generate and chat. */
#ifndef ZF_CMD_SAMPLING_H
#define ZF_CMD_SAMPLING_H

#include "eval/generation_config.h"
#include "eval/generate.h"
#include "opt.h"
#include "task/chat.h"

struct zc_sampling {
  double temperature, top_p, min_p, repetition;
  int64_t top_k, seed, max_new;
  struct zc_list stop;
  struct {
    int temperature, top_p, min_p, repetition, top_k, seed, max_new;
  } given; /* on the command line */
};
extern struct zc_sampling zc_sampling;

/* Rows of an option table. */
#define ZC_SAMPLING_ROW(name, brief, type, arg, help, field, ...)                                  \
  {                                                                                                \
    name, brief, type, arg, help, &zc_sampling.field, .given = &zc_sampling.given.field,           \
                                                      __VA_ARGS__                                  \
  }
#define ZC_SAMPLING_OPTIONS(max_new_default, temperature_default)                                  \
  ZC_SAMPLING_ROW("max-new-tokens", 'n', ZC_INT, "N", "tokens to add (" max_new_default ")",       \
                  max_new, .min = 1, .max = ZC_UNBOUNDED),                                         \
      ZC_SAMPLING_ROW("temperature", 't', ZC_NUM, "X",                                             \
                      "0: the likeliest token each time (" temperature_default ")", temperature,   \
                      .max = 1e6),                                                                 \
      ZC_SAMPLING_ROW("top-k", 0, ZC_INT, "K", "sample among the K likeliest (0: all)", top_k,     \
                      .max = ZC_UNBOUNDED),                                                        \
      ZC_SAMPLING_ROW("top-p", 0, ZC_NUM, "P", "sample among the likeliest of total share P (1)",  \
                      top_p, .max = 1, .above = 1),                                                \
      ZC_SAMPLING_ROW("min-p", 0, ZC_NUM, "P",                                                     \
                      "sample among tokens of at least P of the likeliest's share (0)", min_p,     \
                      .max = 1),                                                                   \
      ZC_SAMPLING_ROW("repetition-penalty", 0, ZC_NUM, "X",                                        \
                      "make tokens that the text has already less likely (1)", repetition,         \
                      .max = 1e6, .above = 1),                                                     \
      {"stop",           0, ZC_LIST, "TEXT", "end before this text appears (may be repeated)",     \
       &zc_sampling.stop},                                                                         \
      ZC_SAMPLING_ROW("seed", 0, ZC_INT, "N", "seed of sampling (42)", seed,                       \
                      .max = 9007199254740991.0)

/* Replaces the defaults in *sampling by the model's generation_config.json, and prints which it replaced.
 * *config must outlive the stop texts.  With do_sample and without top_k, top_k is 50, as in Transformers.
 * is_chat: a temperature applies even without do_sample. */
int zc_sampling_model(struct zc_sampling *sampling, struct zf_generation_config *config,
                      const char *base_model, int is_chat);

/* Options that are not given get their value from `defaults`; then all are checked.  ZF_EUSAGE. */
int zc_sampling_resolve(const struct zc_sampling *defaults);

/* The rules of generation by these options; `ends` (zf_generation_ends) must outlive them. */
struct zf_generate_rules zc_sampling_rules(const struct zf_ids *ends);

/* The chat template of --chat-template NAME (NULL: the model's own); the caller frees *out.  ZF_EUSAGE: there
 * is none. */
int zc_chat_open(struct zf_chat **out, const struct zf_model *model, const struct zf_tok *tok,
                 const char *named);

/* Finds how the template ends an answer: a special token is added to `ends`; otherwise *stop is the text of
 * the end, or NULL; the caller frees it. */
int zc_chat_ends(struct zf_ids *ends, char **stop, const struct zf_chat *chat,
                 const struct zf_tok *tok);

#endif
