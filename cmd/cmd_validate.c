/* zoft validate: everything a run would read, checked and shown, without a step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "load.h"
#include "show.h"
#include "train/loop.h"
#include "ui.h"

static int keys;
static int64_t examples = 3;

static const struct zc_opt options[] = {
    {"examples", 'n', ZC_INT, "N", "examples to show (3)", &examples, .max = ZC_MANY},
    {"keys", 0, ZC_FLAG, NULL, "list every key of a config, with type, default and meaning", &keys},
    {0},
};

static int list_keys(void) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *c;
  struct zf_buf b = {0};
  int rc = zf_conf_new(&c, tables, 1);
  if (!rc) rc = zf_conf_help(c, &b);
  if (!rc) fputs(b.data, stdout);
  zf_buf_free(&b);
  zf_conf_free(c);
  return rc;
}

/* Streams are encoded once from end to end, so that all is counted. */
static int read_streams(const struct zf_run *r) {
  enum { PIECE = 256 };
  const struct zf_dataset *set[] = {r->data.test, r->data.dev, r->data.train};
  int64_t row[PIECE];
  int rc = 0;
  for (int k = 0; k < 3; k++) {
    if (!set[k] || !set[k]->stream) continue;
    struct zf_row_reader *s = set[k]->stream;
    for (int64_t at = 0, n; !rc && at < s->count; at += n) {
      for (n = 0; n < PIECE && at + n < s->count; n++) row[n] = at + n;
      rc = zf_row_reader_load(s, row, n, NULL);
    }
  }
  return rc;
}

/* The first rows of a stream again, which are not counted twice. */
static int load_first(struct zf_dataset *d) {
  if (!d->stream) return 0;
  struct zf_data_counts counts = d->counts;
  int64_t n = examples < d->stream->count ? examples : d->stream->count,
          *row = zf_calloc(n, sizeof *row);
  if (!row) return ZF_ENOMEM;
  for (int64_t i = 0; i < n; i++) row[i] = i;
  int rc = zf_row_reader_load(d->stream, row, n, NULL);
  free(row);
  d->counts = counts;
  return rc;
}

static void show_examples(const struct zf_run *r, const struct zf_dataset *d) {
  for (int64_t i = 0; i < examples && i < d->count; i++) {
    const struct zf_example *x = &d->ex[i];
    printf("\n%s:%lld%s\n", d->path[x->file], (long long)x->line,
           x->single ? "  (options of one token: only their rows of the head are computed)" : "");
    zc_show_example(r->tok, d, i);
  }
}

static void set_row(struct zc_table *t, const char *name, const struct zf_dataset *d) {
  char c[8][32];
  if (!d) return;
  const struct zf_data_counts *k = &d->counts;
  const int64_t v[8] = {k->rows,      k->examples, k->tokens, k->targets,
                        k->truncated, k->dropped,  k->masked, k->run};
  for (int i = 0; i < 8; i++) snprintf(c[i], sizeof c[i], "%lld", (long long)v[i]);
  zc_table_row(t, (const char *const[]){name, c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]});
}

static void print_json(const struct zf_run *r) {
  static const char *const name[] = {"train", "dev", "test"};
  const struct zf_dataset *set[] = {r->data.train, r->data.dev, r->data.test};
  struct zf_buf b = {0};
  zf_buf_printf(&b,
                "{\"valid\": true, \"family\": \"%s\", \"parameters\": %lld, \"steps\": %lld, "
                "\"forecast_bytes\": %lld",
                r->model->config.family->model_type,
                (long long)zf_params_count(&r->model->params, 0), (long long)r->steps,
                (long long)r->forecast.total);
  for (int k = 0; k < 3; k++) {
    if (!set[k]) continue;
    const struct zf_data_counts *c = &set[k]->counts;
    zf_buf_printf(
        &b,
        ", \"%s\": {\"rows\": %lld, \"examples\": %lld, \"tokens\": %lld, "
        "\"targets\": %lld, \"truncated\": %lld, \"cut_tokens\": %lld, \"dropped\": %lld, "
        "\"split\": %lld, \"masked\": %lld, \"apart\": %lld, \"end_targets\": %lld}",
        name[k], (long long)c->rows, (long long)c->examples, (long long)c->tokens,
        (long long)c->targets, (long long)c->truncated, (long long)c->cut, (long long)c->dropped,
        (long long)c->split, (long long)c->masked, (long long)c->apart, (long long)c->ends);
  }
  if (r->data.train)
    zf_buf_printf(&b, ", \"copies\": {\"train\": %lld, \"dev\": %lld, \"test\": %lld}",
                  (long long)r->data.duplicates[ZF_TRAIN_SET].count,
                  (long long)r->data.duplicates[ZF_DEV_SET].count,
                  (long long)r->data.duplicates[ZF_TEST_SET].count);
  printf("%s}\n", b.data);
  zf_buf_free(&b);
}

/* What concerns completions and chats alone. */
static void show_talk(const struct zf_run *r) {
  static const char *const name[] = {"training", "dev", "test"};
  const struct zf_dataset *set[] = {r->data.train, r->data.dev, r->data.test};
  for (int k = 0; k < 3; k++) {
    if (!set[k] || !zc_learns_ends(set[k])) continue;
    const struct zf_data_counts *c = &set[k]->counts;
    if (c->apart)
      printf("%s: in %lld of %lld conversations each answer is an example of its own: the chat "
             "template renders an earlier turn unlike the last one\n",
             name[k], (long long)c->apart, (long long)c->rows);
    printf("%s: %lld of %lld targets end a text or a turn\n", name[k], (long long)c->ends,
           (long long)c->targets);
  }
}

static void print_text(const struct zf_run *r) {
  char a[32], b[32];
  const struct zf_model *m = r->model;
  struct zf_forecast adamw;
  if (zf_run_forecast(&adamw, r, ZF_METHOD_ADAMW, 0)) adamw.total = 0;
  printf("model      %s (%s), %s parameters, context %lld\n", m->dir, m->config.family->model_type,
         zc_count(a, (double)zf_params_count(&m->params, 0)), (long long)m->config.context);
  printf("tokenizer  %s, %lld ids\n", zf_tok_type(r->tok), (long long)zf_tok_size(r->tok));
  printf("training   %lld steps of %lld examples; memory forecast %s, AdamW would need %s\n\n",
         (long long)r->steps, (long long)r->batch, zf_human_bytes(a, (double)r->forecast.total),
         zf_human_bytes(b, (double)adamw.total));
  struct zc_table *t = zc_table_new("lrrrrrrrr");
  zc_table_row(t, (const char *const[]){"set", "rows", "examples", "tokens", "targets", "truncated",
                                        "dropped", "masked", "run a pass"});
  set_row(t, "training", r->data.train);
  set_row(t, "dev", r->data.dev);
  set_row(t, "test", r->data.test);
  zc_table_print(t, 1);
  show_talk(r);
  show_examples(r, r->data.train);
  printf("\nThe config, model, tokenizer and data are valid.\n");
}

static int run(const struct zc_args *a) {
  struct zf_conf *conf = NULL;
  struct zf_run *r = NULL;
  if (keys) return list_keys();
  if (a->nword == 0 && a->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file is needed: zoft validate CONFIG");
  int rc = zc_conf_load(&conf, a, zf_train_keys);
  if (!rc) rc = zf_run_open(&r, conf, ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST);
  if (!rc) zc_say_model(r->model);
  if (!rc) zc_say_run_compute(r);
  if (!rc) zc_say_duplicates(r);
  if (!rc) zc_say_joined(r->data.train, "training");
  if (!rc) rc = read_streams(r);
  if (!rc) zc_say_ends(r->data.train);
  if (!rc) rc = load_first(r->data.train);
  if (!rc && zc_common.json)
    print_json(r);
  else if (!rc)
    print_text(r);
  zf_run_free(r);
  zf_conf_free(conf);
  return rc;
}

const struct zc_command zc_validate = {
    "validate",
    "check config, model, tokenizer and data, and show what is learned",
    "zoft validate CONFIG [key=value ...] [options]",
    "Shows the exact text of some examples, their targets in colour (between « and » where there "
    "is\n"
    "no terminal), and counts what is truncated, dropped or masked. Nothing is trained or "
    "written.\n\n"
    "Examples:\n"
    "  zoft validate configs/demo.yaml\n"
    "  zoft validate configs/sst2.yaml base_model=DIR -n 10\n"
    "  zoft validate --keys\n",
    options,
    run,
};
