/* zoft score: log-probabilities of given texts, token by token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "load.h"
#include "ui.h"

static const char *text_file, *compute;
static int whole;

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "texts to score, one a line; - reads standard input", &text_file},
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16", &compute},
    {"whole", 0, ZC_FLAG, NULL, "the file is one text", &whole},
    {0},
};

struct scorer {
  struct zf_model *m;
  struct zf_tok *tok;
  struct zf_forward *f;
  struct zf_ids ids;
  int32_t *pos, *row;
  double *lse, *logit;
};

static int prepare(struct scorer *s, enum zf_compute c, int64_t longest) {
  struct zf_limits lim = {.tokens = longest,
                          .rows = longest,
                          .segments = 1,
                          .length = longest,
                          .ids = 1,
                          .streams = 1,
                          .compute = c};
  s->pos = zf_calloc(longest, sizeof *s->pos);
  s->row = zf_calloc(longest, sizeof *s->row);
  s->lse = zf_calloc(longest, sizeof *s->lse);
  s->logit = zf_calloc(longest, sizeof *s->logit);
  if (!s->pos || !s->row || !s->lse || !s->logit) return ZF_ENOMEM;
  for (int64_t i = 0; i < longest; i++) s->pos[i] = s->row[i] = (int32_t)i;
  return zf_forward_new(&s->f, s->m, &lim);
}

static void release(struct scorer *s) {
  zf_forward_free(s->f);
  free(s->pos);
  free(s->row);
  free(s->lse);
  free(s->logit);
  zf_ids_free(&s->ids);
  zf_tok_free(s->tok);
  zf_model_free(s->m);
}

static void print_text(const struct scorer *s, int64_t line, const char *text, size_t len,
                       double nll, int64_t n) {
  struct zf_buf b = {0};
  if (!zc_common.json) {
    printf("%8lld  %6lld tokens  nll %9.4f  perplexity %.4g\n", (long long)line,
           (long long)s->ids.count, nll, __builtin_exp(nll));
    return;
  }
  zf_buf_printf(&b, "{\"line\": %lld, \"text\": ", (long long)line);
  zc_json_text(&b, text, len);
  zf_buf_puts(&b, ", \"ids\": [");
  for (int64_t i = 0; i < s->ids.count; i++) zf_buf_printf(&b, "%s%d", i ? ", " : "", s->ids.id[i]);
  zf_buf_puts(&b, "], \"logprobs\": [");
  for (int64_t i = 0; i < n; i++)
    zf_buf_printf(&b, "%s%.9g", i ? ", " : "", s->logit[i] - s->lse[i]);
  zf_buf_printf(&b, "], \"tokens\": %lld, \"nll\": ", (long long)n);
  if (n)
    zf_buf_printf(&b, "%.17g", nll);
  else
    zf_buf_puts(&b, "null");
  zf_buf_puts(&b, "}\n");
  fputs(b.data, stdout);
  zf_buf_free(&b);
}

/* The predictions of tokens 1..n-1 from one pass over tokens 0..n-2. */
static int score(struct scorer *s, int64_t line, const char *text, size_t len) {
  s->ids.count = 0;
  int rc = zf_tok_encode(s->tok, &s->ids, text, len, ZF_ENC_SPECIAL);
  if (!rc) rc = zf_tok_check(s->tok, s->ids.id, s->ids.count, s->m->config.vocab);
  if (rc)
    return rc == ZF_EINVALID ? zf_error_prefix(rc, "%s:%lld", text_file, (long long)line) : rc;
  int64_t n = s->ids.count - 1;
  if (n > s->m->config.context)
    return zf_error(ZF_EINVALID, "%s:%lld: %lld tokens, more than the model's context of %lld",
                    text_file, (long long)line, (long long)s->ids.count,
                    (long long)s->m->config.context);
  double nll = 0;
  if (n > 0) {
    struct zf_segment seg = {.len = n};
    struct zf_perturb none = zf_perturb_none();
    struct zf_batch b = {.T = n,
                         .id = s->ids.id,
                         .pos = s->pos,
                         .nseg = 1,
                         .seg = &seg,
                         .R = n,
                         .row = s->row,
                         .unread = 1};
    if ((rc = zf_forward_run(s->f, &b, &none))) return rc;
    zf_forward_lse(s->f, s->ids.id + 1, s->lse, s->logit);
    for (int64_t i = 0; i < n; i++) nll -= (s->logit[i] - s->lse[i]) / (double)n;
  }
  print_text(s, line, text, len, nll, n > 0 ? n : 0);
  return 0;
}

/* Longest text in tokens, so that memory is made once. */
static int64_t longest_of(struct scorer *s, const char *text, size_t len) {
  int64_t most = 1;
  for (size_t at = 0; at < len;) {
    const char *nl = whole ? NULL : memchr(text + at, '\n', len - at);
    size_t n = nl ? (size_t)(nl - text) - at : len - at;
    s->ids.count = 0;
    if (!zf_tok_encode(s->tok, &s->ids, text + at, n, ZF_ENC_SPECIAL) && s->ids.count - 1 > most)
      most = s->ids.count - 1;
    at += n + 1;
  }
  return most < s->m->config.context ? most : s->m->config.context;
}

static int all_lines(struct scorer *s, const char *text, size_t len) {
  int64_t line = 0;
  for (size_t at = 0; at < len;) {
    const char *nl = memchr(text + at, '\n', len - at);
    size_t n = nl ? (size_t)(nl - text) - at : len - at, used = n;
    line++;
    if (used && text[at + used - 1] == '\r') used--;
    if (used) {
      int rc = score(s, line, text + at, used);
      if (rc) return rc;
    }
    at += n + 1;
  }
  return 0;
}

static int run(const struct zc_args *a) {
  struct scorer s = {0};
  char *text = NULL;
  size_t len = 0;
  enum zf_compute c;
  if (a->nword != 1 || a->nset || !text_file)
    return zf_error(ZF_EUSAGE, "expected: zoft score MODEL --text FILE");
  int rc = zc_compute(&c, compute);
  if (!rc) rc = zc_open_model(&s.m, &s.tok, a->word[0]);
  if (!rc) rc = zf_score_causal(s.m);
  if (!rc) zc_say_compute(s.m, c);
  if (!rc) rc = zf_read_file(&text, &len, text_file, (size_t)1 << 40);
  if (!rc) rc = prepare(&s, c, longest_of(&s, text, len));
  if (!rc) rc = whole ? score(&s, 1, text, len) : all_lines(&s, text, len);
  free(text);
  release(&s);
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
