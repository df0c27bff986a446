/* Texts that the model generates behind prompts: greedy decoding under one stream of a perturbation.
 *
 * A decoder has a slot for each example that is evaluated at once.  Where each example has a direction
 * of its own, they are decoded one after another. */
#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "objective/objective_internal.h"

enum { PASS_TOKENS = 1024 }; /* of prompts that are read at once */

/* The prompt ends where the last stretch of targets begins; *end: where that ends. */
static int64_t prompt_length(const struct zf_dataset *dataset, const struct zf_seq *seq,
                             int64_t *end) {
  int64_t token = seq->len - 1;
  while (token > 1 && !zf_seq_is_target(dataset, seq, token)) token--;
  *end = token + 1;
  while (token > 1 && zf_seq_is_target(dataset, seq, token - 1)) token--;
  return token;
}

static int64_t longest_prompt(const struct zf_objective_room *room) {
  int64_t longest = 1, end;
  for (int i = 0; i < room->sets; i++) {
    const struct zf_dataset *dataset = room->set[i];
    if (!dataset) continue;
    if (dataset->stream) longest = zf_max64(longest, dataset->stream->sequence_len);
    for (int64_t j = 0; !dataset->stream && j < dataset->nseq; j++)
      longest = zf_max64(longest, prompt_length(dataset, &dataset->seq[j], &end));
  }
  return longest;
}

static struct zf_decoder_room decoder_room(const struct zf_objective_settings *settings,
                                           const struct zf_model *model,
                                           const struct zf_objective_room *room) {
  int64_t prompt = longest_prompt(room), length = prompt + settings->max_tokens,
          tokens = room->slots * prompt;
  if (length > model->config.context) length = model->config.context;
  if (tokens > PASS_TOKENS) tokens = PASS_TOKENS;
  return (struct zf_decoder_room){.slots = room->slots,
                                  .tokens = zf_max64(tokens, room->slots),
                                  .length = length,
                                  .compute = room->compute};
}

int64_t zf_objective_texts_bytes(const struct zf_objective_settings *settings,
                                 const struct zf_model *model,
                                 const struct zf_objective_room *room) {
  int64_t cache, rest;
  struct zf_decoder_room decoder = decoder_room(settings, model, room);
  zf_decoder_bytes(&cache, &rest, model, &decoder);
  return cache + rest;
}

int zf_objective_texts_open(struct zf_objective *objective, const struct zf_objective_room *room) {
  struct zf_objective_texts *texts = &objective->texts;
  struct zf_decoder_room decoder = decoder_room(objective->settings, objective->model, room);
  texts->slots = room->slots;
  texts->text = zf_calloc(room->slots, sizeof *texts->text);
  texts->prompt = zf_calloc(room->slots, sizeof *texts->prompt);
  texts->answer = zf_calloc(room->slots, sizeof *texts->answer);
  if (!texts->text || !texts->prompt || !texts->answer) return ZF_ENOMEM;
  int rc = zf_generation_ends(&texts->ends, objective->model, objective->tok);
  return rc ? rc : zf_decoder_open(&texts->decoder, objective->model, &decoder);
}

void zf_objective_texts_free(struct zf_objective_texts *texts) {
  for (int64_t i = 0; i < texts->slots; i++) {
    if (texts->text) zf_text_free(&texts->text[i]);
    if (texts->prompt) zf_buf_free(&texts->prompt[i]);
    if (texts->answer) zf_buf_free(&texts->answer[i]);
  }
  free(texts->text);
  free(texts->prompt);
  free(texts->answer);
  zf_ids_free(&texts->ends);
  zf_decoder_free(texts->decoder);
}

/* --- prompts and answers --- */

static int decode(const struct zf_objective *objective, struct zf_buf *out, const int32_t *id,
                  int64_t from, int64_t to) {
  zf_buf_clear(out);
  zf_buf_puts(out, "");
  return zf_tok_decode(objective->tok, out, id + from, to - from, 1);
}

static int read_one(struct zf_objective *objective, const struct zf_dataset *dataset, int64_t index,
                    int64_t slot) {
  const struct zf_example *example = &dataset->example[index];
  const struct zf_seq *seq = &dataset->seq[example->seq];
  const int32_t *id = dataset->pool.id + seq->at;
  struct zf_objective_texts *texts = &objective->texts;
  struct zf_objective_example *seen = &objective->example[slot];
  int64_t end, prompt = prompt_length(dataset, seq, &end);
  int rc = decode(objective, &texts->prompt[slot], id, 0, prompt);
  if (!rc) rc = decode(objective, &texts->answer[slot], id, prompt, end);
  if (rc) return rc;
  seen->prompt = texts->prompt[slot].data;
  seen->answers =
      example->answers ? dataset->answers.data + example->answer : texts->answer[slot].data;
  seen->answer_count = example->answers ? example->answers : 1;
  return 0;
}

int zf_objective_read(struct zf_objective *objective, const struct zf_dataset *dataset,
                      const int64_t *index, int64_t count) {
  assert(count <= objective->texts.slots);
  for (int64_t i = 0; i < count; i++) {
    int rc = read_one(objective, dataset, index[i], i);
    if (rc) return rc;
  }
  return 0;
}

/* --- generation --- */

/* The texts that are generated together. */
struct generating {
  struct zf_objective *objective;
  const struct zf_dataset *dataset;
  const int64_t *index;
  int64_t next, end;
};

static int next_text(void *ctx, struct zf_text **out) {
  struct generating *generating = ctx;
  *out = NULL;
  if (generating->next == generating->end) return 0;
  const struct zf_dataset *dataset = generating->dataset;
  int64_t slot = generating->next++, end;
  const struct zf_seq *seq = &dataset->seq[dataset->example[generating->index[slot]].seq];
  *out = &generating->objective->texts.text[slot];
  return zf_text_begin(*out, generating->objective->tok, dataset->pool.id + seq->at,
                       prompt_length(dataset, seq, &end));
}

static int generate(struct generating *generating, const struct zf_perturb *perturb) {
  const struct zf_objective *objective = generating->objective;
  const struct zf_objective_settings *settings = objective->settings;
  struct zf_generate_rules rules = {.sampling = {.top_p = 1}, /* greedy */
                                    .max_new = settings->max_tokens,
                                    .eos = objective->texts.ends.id,
                                    .neos = objective->texts.ends.count,
                                    .stop = settings->stop,
                                    .nstop = settings->nstop};
  struct zf_generate_io io = {.ctx = generating, .next = next_text};
  zf_decoder_perturb(objective->texts.decoder, perturb);
  return zf_generate(objective->texts.decoder, &rules, &io);
}

static int generate_by_example(struct generating *generating, const struct zf_perturb *perturb) {
  int64_t count = generating->end;
  for (int64_t i = 0; i < count; i++) {
    struct zf_perturb own = *perturb;
    own.by_example = 0;
    zf_noise_example(&own.direction, perturb->first_example + i);
    generating->next = i;
    generating->end = i + 1;
    int rc = generate(generating, &own);
    if (rc) return rc;
  }
  return 0;
}

int zf_objective_generate(struct zf_objective *objective, const struct zf_dataset *dataset,
                          const int64_t *index, int64_t count, const struct zf_perturb *perturb) {
  struct generating generating = {objective, dataset, index, 0, count};
  struct zf_perturb plain = *perturb;
  int rc;
  if (perturb->by_example && perturb->noisy) {
    rc = generate_by_example(&generating, perturb);
  } else {
    plain.by_example = 0;
    rc = generate(&generating, &plain);
  }
  for (int64_t i = 0; i < count; i++)
    objective->example[i].text = objective->texts.text[i].text.data;
  return rc;
}
