/* zoft validate: checks and shows everything that a run reads, without a step. */
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
    {"examples", 'n', ZC_INT, "N", "examples to show (3)", &examples, .max = ZC_UNBOUNDED},
    {"keys", 0, ZC_FLAG, NULL, "list every key of a config, with type, default and meaning", &keys},
    {0},
};

static int list_keys(void) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *conf;
  struct zf_buf buf = {0};
  int rc = zf_conf_new(&conf, tables, 1);
  if (!rc) rc = zf_conf_help(conf, &buf);
  if (!rc) fputs(buf.data, stdout);
  zf_buf_free(&buf);
  zf_conf_free(conf);
  return rc;
}

/* Encodes every row of a stream once, so that all of them are counted. */
static int read_stream(struct zf_row_reader *rows) {
  enum { CHUNK = 256 };
  int64_t row[CHUNK];
  for (int64_t first = 0; first < rows->count; first += CHUNK) {
    int64_t count = rows->count - first < CHUNK ? rows->count - first : CHUNK;
    for (int64_t i = 0; i < count; i++) row[i] = first + i;
    int rc = zf_row_reader_load(rows, row, count, NULL);
    if (rc) return rc;
  }
  return 0;
}

static int read_streams(const struct zf_run *run) {
  const struct zf_dataset *sets[] = {run->data.test, run->data.dev, run->data.train};
  for (int i = 0; i < 3; i++) {
    int rc = sets[i] && sets[i]->stream ? read_stream(sets[i]->stream) : 0;
    if (rc) return rc;
  }
  return 0;
}

/* Encodes the first rows of a stream again, without counting them twice. */
static int load_first(struct zf_dataset *dataset) {
  if (!dataset->stream) return 0;
  struct zf_data_counts counts = dataset->counts;
  int64_t count = examples < dataset->stream->count ? examples : dataset->stream->count,
          *row = zf_calloc(count, sizeof *row);
  if (!row) return ZF_ENOMEM;
  for (int64_t i = 0; i < count; i++) row[i] = i;
  int rc = zf_row_reader_load(dataset->stream, row, count, NULL);
  free(row);
  dataset->counts = counts;
  return rc;
}

static void show_examples(const struct zf_run *run, const struct zf_dataset *dataset) {
  int64_t count = examples < dataset->count ? examples : dataset->count;
  for (int64_t i = 0; i < count; i++) {
    const struct zf_example *example = &dataset->example[i];
    printf("\n%s:%lld%s\n", dataset->path[example->file], (long long)example->line,
           example->single ? "  (options of one token: only their rows of the head are computed)"
                           : "");
    zc_show_example(run->tok, dataset, i);
  }
}

static void set_row(struct zc_table *table, const char *name, const struct zf_dataset *dataset) {
  char cells[8][32];
  if (!dataset) return;
  const struct zf_data_counts *counts = &dataset->counts;
  const int64_t values[8] = {counts->rows,    counts->examples,   counts->tokens,
                             counts->targets, counts->truncated,  counts->dropped,
                             counts->masked,  counts->pass_tokens};
  for (int i = 0; i < 8; i++) snprintf(cells[i], sizeof cells[i], "%lld", (long long)values[i]);
  zc_table_row(table, (const char *const[]){name, cells[0], cells[1], cells[2], cells[3], cells[4],
                                            cells[5], cells[6], cells[7]});
}

static void print_json(const struct zf_run *run) {
  static const char *const names[] = {"train", "dev", "test"};
  const struct zf_dataset *sets[] = {run->data.train, run->data.dev, run->data.test};
  struct zf_buf buf = {0};
  zf_buf_printf(&buf,
                "{\"valid\": true, \"family\": \"%s\", \"parameters\": %lld, \"steps\": %lld, "
                "\"forecast_bytes\": %lld",
                run->model->config.family->model_type,
                (long long)zf_params_count(&run->model->params, 0), (long long)run->steps,
                (long long)run->forecast.total);
  for (int i = 0; i < 3; i++) {
    if (!sets[i]) continue;
    const struct zf_data_counts *counts = &sets[i]->counts;
    zf_buf_printf(
        &buf,
        ", \"%s\": {\"rows\": %lld, \"examples\": %lld, \"tokens\": %lld, "
        "\"targets\": %lld, \"truncated\": %lld, \"cut_tokens\": %lld, \"dropped\": %lld, "
        "\"split\": %lld, \"masked\": %lld, \"apart\": %lld, \"end_targets\": %lld}",
        names[i], (long long)counts->rows, (long long)counts->examples, (long long)counts->tokens,
        (long long)counts->targets, (long long)counts->truncated, (long long)counts->cut,
        (long long)counts->dropped, (long long)counts->split, (long long)counts->masked,
        (long long)counts->separated, (long long)counts->ends);
  }
  if (run->data.train)
    zf_buf_printf(&buf, ", \"copies\": {\"train\": %lld, \"dev\": %lld, \"test\": %lld}",
                  (long long)run->data.duplicates[ZF_TRAIN_SET].count,
                  (long long)run->data.duplicates[ZF_DEV_SET].count,
                  (long long)run->data.duplicates[ZF_TEST_SET].count);
  printf("%s}\n", buf.data);
  zf_buf_free(&buf);
}

/* For completions and chats alone: how many targets end a text or a turn. */
static void print_ends(const struct zf_run *run) {
  static const char *const names[] = {"training", "dev", "test"};
  const struct zf_dataset *sets[] = {run->data.train, run->data.dev, run->data.test};
  for (int i = 0; i < 3; i++) {
    if (!sets[i] || !zc_learns_ends(sets[i])) continue;
    const struct zf_data_counts *counts = &sets[i]->counts;
    if (counts->separated)
      printf("%s: in %lld of %lld conversations each answer is an example of its own: the chat "
             "template renders an earlier turn unlike the last one\n",
             names[i], (long long)counts->separated, (long long)counts->rows);
    printf("%s: %lld of %lld targets end a text or a turn\n", names[i], (long long)counts->ends,
           (long long)counts->targets);
  }
}

static void print_text(const struct zf_run *run) {
  char text[32], adamw_text[32];
  const struct zf_model *model = run->model;
  struct zf_forecast adamw;
  int compares = !zf_run_forecast(&adamw, run, ZF_METHOD_ADAMW, 0);
  printf("model      %s (%s), %s parameters, context %lld\n", model->dir,
         model->config.family->model_type,
         zc_count(text, (double)zf_params_count(&model->params, 0)),
         (long long)model->config.context);
  printf("tokenizer  %s, %lld ids\n", zf_tok_type(run->tok), (long long)zf_tok_size(run->tok));
  printf("training   %lld steps of %lld examples; memory forecast %s", (long long)run->steps,
         (long long)run->batch, zf_human_bytes(text, (double)run->forecast.total));
  if (compares) printf(", AdamW would need %s", zf_human_bytes(adamw_text, (double)adamw.total));
  printf("\n\n");
  struct zc_table *table = zc_table_new("lrrrrrrrr");
  zc_table_row(table, (const char *const[]){"set", "rows", "examples", "tokens", "targets",
                                            "truncated", "dropped", "masked", "run a pass"});
  set_row(table, "training", run->data.train);
  set_row(table, "dev", run->data.dev);
  set_row(table, "test", run->data.test);
  zc_table_print(table, 1);
  print_ends(run);
  show_examples(run, run->data.train);
  printf("\nThe config, model, tokenizer and data are valid.\n");
}

static int run_validate(const struct zc_args *args) {
  struct zf_conf *conf = NULL;
  struct zf_run *run = NULL;
  if (keys) return list_keys();
  if (args->nword == 0 && args->nset == 0)
    return zf_error(ZF_EUSAGE, "a config file is needed: zoft validate CONFIG");
  int rc = zc_conf_load(&conf, args, zf_train_keys);
  if (!rc)
    rc = zf_run_open(&run, conf, ZF_WANT_TRAIN | ZF_WANT_DEV | ZF_WANT_TEST | ZF_WANT_UNTAUGHT);
  if (!rc) zc_warn_model(run->model);
  if (!rc) zc_warn_run_compute(run);
  if (!rc) zc_warn_duplicates(run);
  if (!rc) zc_warn_joined(run->data.train, "training");
  if (!rc) rc = read_streams(run);
  if (!rc) zc_warn_ends(run->data.train);
  if (!rc) rc = load_first(run->data.train);
  if (!rc && zc_common.json)
    print_json(run);
  else if (!rc)
    print_text(run);
  zf_run_free(run);
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
    run_validate,
};
