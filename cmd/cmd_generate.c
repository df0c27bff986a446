/* zoft generate: text behind a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "eval/decode.h"
#include "load.h"
#include "ui.h"

static const char *prompt = "", *compute;
static int64_t max_new = 64, top_k, seed = 42, number = 1;
static double temperature, top_p = 1, min_p, repetition = 1;
static const char *stop;
static int no_special;

static const struct zc_opt options[] = {
    {"prompt", 'p', ZC_STR, "TEXT", "what to continue", &prompt},
    {"max-new-tokens", 'n', ZC_INT, "N", "tokens to add (64)", &max_new},
    {"temperature", 't', ZC_NUM, "X", "0: the likeliest token each time (0)", &temperature},
    {"top-k", 0, ZC_INT, "K", "sample among the K likeliest (0: all)", &top_k},
    {"top-p", 0, ZC_NUM, "P", "sample among the likeliest of total share P (1)", &top_p},
    {"min-p", 0, ZC_NUM, "P", "sample among tokens of at least P of the likeliest's share (0)",
     &min_p},
    {"repetition-penalty", 0, ZC_NUM, "X", "make tokens that are there already less likely (1)",
     &repetition},
    {"stop", 0, ZC_STR, "TEXT", "end before this text appears", &stop},
    {"samples", 0, ZC_INT, "N", "how many texts (1)", &number},
    {"seed", 0, ZC_INT, "N", "of sampling (42)", &seed},
    {"compute", 0, ZC_STR, "NAME", "products in f32 (default) or bf16", &compute},
    {"no-special", 0, ZC_FLAG, NULL, "do not add what the tokenizer puts before a text (BOS)",
     &no_special},
    {0},
};

static int check(const struct zc_args *a) {
  if (a->nword != 1 || a->nset)
    return zf_error(ZF_EUSAGE, "expected: zoft generate MODEL --prompt TEXT");
  if (max_new < 1)
    return zf_error(ZF_EUSAGE, "--max-new-tokens: expected 1 or more, found %lld",
                    (long long)max_new);
  if (number < 1)
    return zf_error(ZF_EUSAGE, "--samples: expected 1 or more, found %lld", (long long)number);
  if (!(temperature >= 0)) return zf_error(ZF_EUSAGE, "--temperature: expected 0 or more");
  if (!(top_p > 0 && top_p <= 1)) return zf_error(ZF_EUSAGE, "--top-p: expected above 0 to 1");
  if (top_k < 0) return zf_error(ZF_EUSAGE, "--top-k: expected 0 or more");
  if (!(min_p >= 0 && min_p <= 1)) return zf_error(ZF_EUSAGE, "--min-p: expected 0 to 1");
  if (!(repetition > 0)) return zf_error(ZF_EUSAGE, "--repetition-penalty: expected above 0");
  if (stop && !*stop) return zf_error(ZF_EUSAGE, "--stop: expected a text");
  if (temperature == 0 && (top_k > 0 || top_p < 1 || min_p > 0))
    return zf_error(ZF_EUSAGE, "--top-k, --top-p and --min-p have no effect at --temperature 0");
  return 0;
}

/* Bytes of the text that end a whole UTF-8 character: a token may hold part of one. */
static size_t whole_text(const char *s, size_t n) {
  size_t back = 0;
  while (back < 4 && back < n && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80) back++;
  if (back == n) return n;
  unsigned char c = (unsigned char)s[n - 1 - back];
  size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
  return need > back + 1 ? n - 1 - back : n;
}

struct output {
  struct zf_buf text;
  size_t shown, prompt; /* bytes */
  int stopped;
  double began;
};

/* On a plain run text appears as it is made. */
static int show(struct output *o, const struct zf_tok *tok, const struct zf_ids *ids, int last) {
  zf_buf_clear(&o->text);
  zf_buf_puts(&o->text, "");
  int rc = zf_tok_decode(tok, &o->text, ids->id, ids->n, 1);
  if (!last && !o->prompt) o->prompt = o->text.len;
  char *hit = stop && !rc ? strstr(o->text.data + (o->prompt < o->text.len ? o->prompt : 0), stop)
                          : NULL;
  if (hit) {
    *hit = 0;
    o->text.len = (size_t)(hit - o->text.data);
    o->stopped = last = 1;
  }
  if (rc || zc_common.json) return rc;
  if (stop && !last) return 0; /* what is shown cannot be taken back */
  size_t end = last ? o->text.len : whole_text(o->text.data, o->text.len);
  /* A replacement character may yet become a whole one. */
  while (!last && end >= 3 && !memcmp(o->text.data + end - 3, "\xef\xbf\xbd", 3)) end -= 3;
  if (end > o->shown) {
    fwrite(o->text.data + o->shown, 1, end - o->shown, stdout);
    fflush(stdout);
    o->shown = end;
  }
  if (last) putchar('\n');
  return 0;
}

static void print_json(const struct output *o, const struct zf_ids *ids, int64_t given,
                       const char *why) {
  struct zf_buf b = {0};
  zf_buf_puts(&b, "{\"text\": ");
  zc_json_text(&b, o->text.data, o->text.len);
  zf_buf_puts(&b, ", \"ids\": [");
  for (int64_t i = 0; i < ids->n; i++) zf_buf_printf(&b, "%s%d", i ? ", " : "", ids->id[i]);
  zf_buf_printf(&b,
                "], \"prompt_tokens\": %lld, \"new_tokens\": %lld, \"finish\": \"%s\", "
                "\"tokens_per_s\": %.1f}\n",
                (long long)given, (long long)(ids->n - given), why,
                (double)(ids->n - given) / (zf_now() - o->began));
  fputs(b.data, stdout);
  zf_buf_free(&b);
}

static int push(struct zf_ids *ids, int32_t id) {
  if (ids->n == ids->cap) {
    int64_t cap = ids->cap ? 2 * ids->cap : 64;
    int32_t *p = realloc(ids->id, (size_t)cap * sizeof *p);
    if (!p) return zf_error(ZF_ENOMEM, "out of memory for %lld tokens", (long long)cap);
    ids->id = p;
    ids->cap = cap;
  }
  ids->id[ids->n++] = id;
  return 0;
}

static int one(struct zf_decoder *d, const struct zf_model *m, const struct zf_tok *tok,
               struct zf_ids *ids, int64_t given, uint32_t which) {
  struct output o = {.began = zf_now()};
  struct zf_sampling s = {.temperature = temperature,
                          .top_k = top_k,
                          .top_p = top_p,
                          .min_p = min_p,
                          .repetition = repetition,
                          .seed = (uint64_t)seed,
                          .number = which};
  const char *why = "length";
  ids->n = given;
  int rc = zf_decoder_begin(d, ids->id, given);
  if (!rc) rc = show(&o, tok, ids, 0);
  for (int64_t i = 0; !rc && i < max_new && !zc_signal(); i++) {
    int32_t id;
    if (ids->n > m->config.context) {
      why = "context";
      break;
    }
    if ((rc = zf_decoder_next(d, &s, &id))) break;
    if (id == m->config.eos || id == zf_tok_eos(tok)) {
      why = "eos";
      break;
    }
    rc = push(ids, id);
    if (!rc) rc = show(&o, tok, ids, 0);
    if (o.stopped) {
      why = "stop";
      break;
    }
  }
  if (!rc && !o.stopped) rc = show(&o, tok, ids, 1);
  if (!rc && zc_common.json) print_json(&o, ids, given, why);
  zf_buf_free(&o.text);
  return rc;
}

static int run(const struct zc_args *a) {
  struct zf_model *m = NULL;
  struct zf_tok *tok = NULL;
  struct zf_decoder *d = NULL;
  struct zf_ids ids = {0};
  enum zf_compute c;
  int rc = check(a);
  if (!rc) rc = zc_compute(&c, compute);
  if (!rc) rc = zc_open_model(&m, &tok, a->word[0]);
  if (!rc) zc_say_compute(m, c);
  if (!rc) rc = zf_tok_encode(tok, &ids, prompt, strlen(prompt), no_special ? 0 : ZF_ENC_SPECIAL);
  int64_t given = ids.n, context = m ? m->config.context : 0;
  if (!rc && given == 0)
    rc = zf_error(ZF_EUSAGE, "the prompt has no token: give one with --prompt");
  if (!rc && given > context)
    rc = zf_error(ZF_EUSAGE, "the prompt has %lld tokens, the model's context is %lld",
                  (long long)given, (long long)context);
  int64_t length = given + max_new < context ? given + max_new : context;
  if (!rc) zc_catch_signals();
  if (!rc) rc = zf_decoder_new(&d, m, given, length, c);
  for (int64_t i = 0; !rc && i < number && !zc_signal(); i++)
    rc = one(d, m, tok, &ids, given, (uint32_t)i);
  if (!rc && zc_signal()) rc = zf_error(ZF_ESTOPPED, "interrupted");
  zf_decoder_free(d);
  zf_ids_free(&ids);
  zf_tok_free(tok);
  zf_model_free(m);
  return rc;
}

const struct zc_command zc_generate = {
    "generate",
    "continue a text, greedily or by sampling",
    "zoft generate MODEL --prompt TEXT [options]",
    "Examples:\n"
    "  zoft generate out/demo --prompt 'the food was'\n"
    "  zoft generate out/demo -p 'the film' -n 40 --temperature 0.8 --top-p 0.95 --samples 3\n",
    options,
    run,
};
