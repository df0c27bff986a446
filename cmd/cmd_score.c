/* zoft score: log-probabilities of texts, token by token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "load.h"
#include "ui.h"

static const char *text_file, *compute_name;
static int whole;

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "texts to score, one a line; - reads standard input", &text_file},
    ZC_ADAPTER_OPTION,
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16", &compute_name},
    {"whole", 0, ZC_FLAG, NULL, "the file is one text", &whole},
    {0},
};

struct text_scorer {
  struct zf_model *model;
  struct zf_tok *tok;
  struct zf_forward *forward;
  struct zf_ids ids;
  int32_t *position, *row;
  double *lse, *logit;
};

static int prepare(struct text_scorer *scorer, enum zf_compute compute, int64_t longest) {
  struct zf_limits limits = {.tokens = longest,
                             .rows = longest,
                             .segments = 1,
                             .length = longest,
                             .ids = 1,
                             .streams = 1,
                             .compute = compute};
  scorer->position = zf_calloc(longest, sizeof *scorer->position);
  scorer->row = zf_calloc(longest, sizeof *scorer->row);
  scorer->lse = zf_calloc(longest, sizeof *scorer->lse);
  scorer->logit = zf_calloc(longest, sizeof *scorer->logit);
  if (!scorer->position || !scorer->row || !scorer->lse || !scorer->logit) return ZF_ENOMEM;
  for (int64_t i = 0; i < longest; i++) scorer->position[i] = scorer->row[i] = (int32_t)i;
  return zf_forward_new(&scorer->forward, scorer->model, &limits);
}

static void release(struct text_scorer *scorer) {
  zf_forward_free(scorer->forward);
  free(scorer->position);
  free(scorer->row);
  free(scorer->lse);
  free(scorer->logit);
  zf_ids_free(&scorer->ids);
  zf_tok_free(scorer->tok);
  zf_model_free(scorer->model);
}

static void print_text(const struct text_scorer *scorer, int64_t line, const char *text, size_t len,
                       double nll, int64_t count) {
  struct zf_buf buf = {0};
  if (!zc_common.json) {
    printf("%8lld  %6lld tokens  nll %9.4f  perplexity %.4g\n", (long long)line,
           (long long)scorer->ids.count, nll, __builtin_exp(nll));
    return;
  }
  zf_buf_printf(&buf, "{\"line\": %lld, \"text\": ", (long long)line);
  zc_json_text(&buf, text, len);
  zf_buf_puts(&buf, ", \"ids\": [");
  for (int64_t i = 0; i < scorer->ids.count; i++)
    zf_buf_printf(&buf, "%s%d", i ? ", " : "", scorer->ids.id[i]);
  zf_buf_puts(&buf, "], \"logprobs\": [");
  for (int64_t i = 0; i < count; i++)
    zf_buf_printf(&buf, "%s%.9g", i ? ", " : "", scorer->logit[i] - scorer->lse[i]);
  zf_buf_printf(&buf, "], \"tokens\": %lld, \"nll\": ", (long long)count);
  if (count)
    zf_buf_printf(&buf, "%.17g", nll);
  else
    zf_buf_puts(&buf, "null");
  zf_buf_puts(&buf, "}\n");
  fputs(buf.data, stdout);
  zf_buf_free(&buf);
}

/* Scores a text: one pass over all tokens but the last predicts all but the first. */
static int score(struct text_scorer *scorer, int64_t line, const char *text, size_t len) {
  scorer->ids.count = 0;
  int rc = zf_tok_encode(scorer->tok, &scorer->ids, text, len, ZF_ENC_SPECIAL);
  if (!rc)
    rc = zf_tok_check_ids(scorer->tok, scorer->ids.id, scorer->ids.count,
                          scorer->model->config.vocab);
  if (rc)
    return rc == ZF_EINVALID ? zf_error_prefix(rc, "%s:%lld", text_file, (long long)line) : rc;
  int64_t count = scorer->ids.count - 1;
  if (count > scorer->model->config.context)
    return zf_error(ZF_EINVALID, "%s:%lld: %lld tokens, more than the model's context of %lld",
                    text_file, (long long)line, (long long)scorer->ids.count,
                    (long long)scorer->model->config.context);
  double nll = 0;
  if (count > 0) {
    struct zf_segment segment = {.len = count};
    struct zf_perturb none = zf_perturb_none();
    struct zf_batch batch = {.T = count,
                             .id = scorer->ids.id,
                             .pos = scorer->position,
                             .segment_count = 1,
                             .segment = &segment,
                             .R = count,
                             .row = scorer->row,
                             .unread = 1};
    if ((rc = zf_forward_run(scorer->forward, &batch, &none))) return rc;
    zf_forward_lse(scorer->forward, scorer->ids.id + 1, scorer->lse, scorer->logit);
    for (int64_t i = 0; i < count; i++) nll -= (scorer->logit[i] - scorer->lse[i]) / (double)count;
  }
  print_text(scorer, line, text, len, nll, count > 0 ? count : 0);
  return 0;
}

/* Length in tokens of the longest text, so that memory is allocated once. */
static int64_t longest_of(struct text_scorer *scorer, const char *text, size_t size) {
  int64_t max = 1;
  for (size_t begin = 0; begin < size;) {
    const char *newline = whole ? NULL : memchr(text + begin, '\n', size - begin);
    size_t len = newline ? (size_t)(newline - text) - begin : size - begin;
    scorer->ids.count = 0;
    if (!zf_tok_encode(scorer->tok, &scorer->ids, text + begin, len, ZF_ENC_SPECIAL) &&
        scorer->ids.count - 1 > max)
      max = scorer->ids.count - 1;
    begin += len + 1;
  }
  return max < scorer->model->config.context ? max : scorer->model->config.context;
}

static int all_lines(struct text_scorer *scorer, const char *text, size_t size) {
  int64_t line = 0;
  for (size_t begin = 0; begin < size;) {
    const char *newline = memchr(text + begin, '\n', size - begin);
    size_t len = newline ? (size_t)(newline - text) - begin : size - begin, used = len;
    line++;
    if (used && text[begin + used - 1] == '\r') used--;
    if (used) {
      int rc = score(scorer, line, text + begin, used);
      if (rc) return rc;
    }
    begin += len + 1;
  }
  return 0;
}

static int run(const struct zc_args *args) {
  struct text_scorer scorer = {0};
  char *text = NULL;
  size_t len = 0;
  enum zf_compute compute;
  if (args->nword != 1 || args->nset || !text_file)
    return zf_error(ZF_EUSAGE, "expected: zoft score MODEL --text FILE");
  int rc = zc_compute(&compute, compute_name);
  if (!rc) rc = zc_open_model(&scorer.model, &scorer.tok, args->word[0]);
  if (!rc) rc = zf_score_causal(scorer.model);
  if (!rc) zc_warn_compute(scorer.model, compute);
  if (!rc) rc = zf_read_file(&text, &len, text_file, (size_t)1 << 40);
  if (!rc) rc = prepare(&scorer, compute, longest_of(&scorer, text, len));
  if (!rc) rc = whole ? score(&scorer, 1, text, len) : all_lines(&scorer, text, len);
  free(text);
  release(&scorer);
  return rc;
}

const struct zc_command zc_score = {
    "score",
    "log-probabilities of texts, token by token",
    "zoft score MODEL --text FILE|- [--whole] [--compute NAME] [--json]",
    "Every non-empty line is a text (with --whole, the file is one). nll is the mean negative\n"
    "log-likelihood of a token in nats; with --json each text gives one object with its ids and "
    "one\n"
    "log-probability for every token after the first.\n\n"
    "Examples:\n"
    "  zoft score out/demo --text reviews.txt\n"
    "  echo 'the film was good' | zoft score out/demo --text - --json\n",
    options,
    run,
};
