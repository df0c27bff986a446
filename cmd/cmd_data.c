/* zoft data: statistics of data files, their rows, splits and conversions.  An action is a row of the table. */
#include <string.h>

#include "base/err.h"
#include "data_internal.h"

struct zc_data_options zc_data_options = {.count = 5, .seed = 42};

static const struct zc_opt options[] = {
    {"tokenizer", 't', ZC_STR, "DIR", "stats, show: encode rows with a model's tokenizer",
     &zc_data_options.tokenizer},
    {"sequence-len", 0, ZC_INT, "N", "stats: count examples of more tokens",
     &zc_data_options.length, .min = 1, .max = ZC_UNBOUNDED,
     .given = &zc_data_options.given.length},
    {"label", 0, ZC_STR, "FIELD", "stats: the field whose values are counted (label)",
     &zc_data_options.label},
    {"number", 'n', ZC_INT, "N", "show: rows of each file (5)", &zc_data_options.count,
     .max = ZC_UNBOUNDED, .given = &zc_data_options.given.count},
    {"rows", 0, ZC_STR, "LIST", "show: these rows, as 3,7-9", &zc_data_options.rows},
    {"dev", 0, ZC_NUM, "N", "split: dev rows, below 1 their share", &zc_data_options.dev,
     .max = 1e15, .given = &zc_data_options.given.dev},
    {"test", 0, ZC_NUM, "N", "split: test rows, the same", &zc_data_options.test, .max = 1e15,
     .given = &zc_data_options.given.test},
    {"by", 0, ZC_STR, "FIELD", "split: each value of it has its share in every part",
     &zc_data_options.by},
    {"seed", 0, ZC_INT, "N", "split: which rows are drawn (42)", &zc_data_options.seed,
     .max = 9007199254740991.0, .given = &zc_data_options.given.seed},
    {"out", 'o', ZC_STR, "PREFIX", "split: files are PREFIX-train, -dev, -test (FILE's name)",
     &zc_data_options.out},
    {"field", 'f', ZC_LIST, "NEW=OLD",
     "convert: a field of the output, from one or a '{template}'; may be given again",
     &zc_data_options.field},
    {0},
};

static const struct {
  const char *name;
  int words; /* behind its name */
  int sets;  /* it takes key=value words */
  int (*run)(const struct zc_args *args);
} actions[] = {
    {"stats", 1, 1, zc_data_stats},
    {"show", 1, 1, zc_data_show},
    {"split", 1, 0, zc_data_split},
    {"convert", 2, 0, zc_data_convert},
};
enum { ACTIONS = sizeof actions / sizeof *actions };

/* An option that belongs to other actions is an error. */
static int check_options(const char *action) {
  const struct zc_data_options *data_options = &zc_data_options;
  const struct {
    int set;
    const char *option, *actions;
  } rows[] = {{data_options->tokenizer != NULL, "tokenizer", "stats show"},
              {data_options->given.length, "sequence-len", "stats"},
              {data_options->label != NULL, "label", "stats"},
              {data_options->given.count, "number", "show"},
              {data_options->rows != NULL, "rows", "show"},
              {data_options->given.dev, "dev", "split"},
              {data_options->given.test, "test", "split"},
              {data_options->by != NULL, "by", "split"},
              {data_options->given.seed, "seed", "split"},
              {data_options->out != NULL, "out", "split"},
              {data_options->field.count != 0, "field", "convert"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].set && !strstr(rows[i].actions, action))
      return zf_error(ZF_EUSAGE, "--%s has no effect: data %s does not read it", rows[i].option,
                      action);
  return 0;
}

static int run(const struct zc_args *args) {
  int action = 0;
  while (args->nword && action < ACTIONS && strcmp(actions[action].name, args->word[0]) != 0)
    action++;
  if (!args->nword || action == ACTIONS || args->nword != 1 + actions[action].words ||
      (args->nset && !actions[action].sets))
    return zf_error(ZF_EUSAGE,
                    "expected: zoft data stats FILE|CONFIG, show FILE|CONFIG, split FILE or "
                    "convert FROM TO (see 'zoft data -h')");
  int rc = check_options(actions[action].name);
  return rc ? rc : actions[action].run(args);
}

const struct zc_command zc_data = {
    "data",
    "show, count, split and convert data files",
    "zoft data stats|show FILE|CONFIG [key=value ...], split FILE, convert FROM TO [options]",
    "FILE is .jsonl, .ndjson, .json, .csv, .tsv or .txt, and may have .gz or .zst behind it; "
    "CONFIG is\n"
    "the .yaml of a run, whose data files are read. stats counts rows, fields, labels, copies and\n"
    "lengths; show prints rows. With --tokenizer, or a config, both encode the rows: stats counts\n"
    "tokens, show prints ids and the texts with their targets. Without a config key=value words "
    "say\n"
    "how (default: type=text). split puts each row of a file into one of two or three files; "
    "convert\n"
    "writes another format. Existing files are not overwritten.\n\n"
    "Examples:\n"
    "  zoft data stats datasets/demo/train.jsonl\n"
    "  zoft data stats configs/demo.yaml --sequence-len 64\n"
    "  zoft data show mine.jsonl -t MODEL type=alpaca --rows 3,7-9\n"
    "  zoft data split mine.csv --dev 0.1 --test 500 --by label\n"
    "  zoft data convert mine.tsv mine.jsonl.zst -f text='{title}: {body}' -f label=gold\n",
    options,
    run,
};
