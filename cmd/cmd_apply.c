/* zoft apply: makes the tuned model from a step log and the base model. */
#include "base/err.h"
#include "load.h"
#include "replay_log.h"

static struct zc_replay_options replay_options;

static const struct zc_opt options[] = {
    {"out", 0, ZC_STR, "DIR", "the model directory to write; without it only the hash is printed",
     &replay_options.out},
    {"to-step", 0, ZC_INT, "N", "the weights after step N; default: the run's result",
     &replay_options.to_step, .max = 4294967295.0, .given = &replay_options.to_step_given},
    {"start", 0, ZC_STR, "DIR", "the adapter with which the run began; default: beside the log",
     &replay_options.start},
    {"dtype", 0, ZC_STR, "TYPE", "f32, f16 or bf16 in the file; default: as trained",
     &replay_options.dtype},
    {0},
};

static int run(const struct zc_args *args) {
  if (args->nword != 2 || args->nset) return zf_error(ZF_EUSAGE, "expected: zoft apply LOG MODEL");
  return zc_replay_log(&replay_options, args->word[0], args->word[1], NULL);
}

const struct zc_command zc_apply = {
    "apply",
    "turn a base model into the tuned one by a step log alone",
    "zoft apply LOG MODEL|ORG/NAME [--out DIR]",
    "The log holds a hash of the base model's weights, so that another model is refused, the "
    "trained\n"
    "tensors and the settings. The result is the run's: the weights of its best dev score, or the\n"
    "last ones, as the run was set.\n\n"
    "Examples:\n"
    "  zoft apply steps.log HuggingFaceTB/SmolLM2-135M --out tuned\n",
    options,
    run,
};
