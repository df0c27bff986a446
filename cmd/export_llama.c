/* Compares an exported GGUF file with llama.cpp, through its Python package. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "export_job.h"
#include "fmt/json.h"
#include "merge_verify.h"
#include "ui.h"

static const char text[] =
    "The ferry left the island at six, when the fog had lifted from the water. On deck, a woman "
    "with "
    "a red suitcase counted the gulls and wrote their number into a notebook.";

/* Reads a line {"path", "text"}; writes {"nll", "tokens", "version"}, or {"absent": why}.  Weights are not
 * repacked and keys and values stay f32, so that only llama.cpp's own roundings differ. */
static const char script[] =
    "import json,sys\n"
    "q=json.loads(sys.stdin.readline())\n"
    "try:\n"
    " import numpy as np,llama_cpp as l\n"
    "except ImportError as e:\n"
    " print(json.dumps({\"absent\":str(e)}),flush=True); sys.exit()\n"
    "try:\n"
    " d=l.llama_cpp.llama_model_default_params\n"
    " def p():\n"
    "  x=d(); x.use_extra_bufts=False; return x\n"
    " l.llama_cpp.llama_model_default_params=p\n"
    " m=l.Llama(q[\"path\"],n_ctx=512,logits_all=True,verbose=False,type_k=0,type_v=0)\n"
    " t=m.tokenize(q[\"text\"].encode(),add_bos=True,special=True)\n"
    " m.eval(t)\n"
    " s=np.array(m.scores[:len(t)],dtype=np.float64)\n"
    " s-=np.logaddexp.reduce(s,axis=1,keepdims=True)\n"
    " n=-float(np.mean([s[i,t[i+1]] for i in range(len(t)-1)]))\n"
    " print(json.dumps({\"nll\":n,\"tokens\":t,\"version\":l.__version__}),flush=True)\n"
    "except Exception as e:\n"
    " print(json.dumps({\"failed\":repr(e)}),flush=True)\n";

static int stopped(void *ctx) {
  (void)ctx;
  return zc_signal();
}

/* *answer: what the script wrote. */
static int ask(json_t **answer, const char *path) {
  struct zf_child *child = NULL;
  struct zf_buf line = {0};
  json_t *question = json_pack("{s:s, s:s}", "path", path, "text", text);
  char *word = zf_shell_word(script), *asked = question ? json_dumps(question, JSON_COMPACT) : NULL;
  char *command = word ? zf_asprintf("exec python3 -c %s 2>/dev/null", word) : NULL;
  char *with_end = asked ? zf_asprintf("%s\n", asked) : NULL;
  int rc = command && with_end ? zf_child_open(&child, command) : ZF_ENOMEM;
  if (!rc) rc = zf_child_exchange(child, with_end, strlen(with_end), 1, 3600, stopped, NULL, &line);
  if (rc == ZF_EFAIL)
    rc = zf_error(ZF_EUSAGE, "--verify-with llama-cpp: python3 is not there, or did not answer");
  if (!rc) rc = zf_json_parse(answer, line.data, line.len, "llama-cpp-python");
  zf_child_close(child);
  zf_buf_free(&line);
  free(with_end);
  free(command);
  free(asked);
  free(word);
  json_decref(question);
  return rc;
}

static int score(double *nll, int64_t *count, const char *path) {
  struct zf_model_opts opts = {.dtype = -1};
  struct zf_model *model = NULL;
  struct zf_tok *tok = NULL;
  struct zc_predictions predictions = {0};
  int rc = zf_model_open(&model, path, &opts);
  if (!rc) rc = zf_tok_open(&tok, path);
  if (!rc) rc = zc_predictions_of(&predictions, model, tok, text, sizeof text - 1);
  *nll = 0;
  *count = predictions.count;
  for (int64_t i = 0; i < predictions.count; i++)
    *nll -= predictions.value[i] / (double)predictions.count;
  zc_predictions_free(&predictions);
  zf_tok_free(tok);
  zf_model_free(model);
  return rc;
}

/* llama.cpp rounds the inputs of a product with blocks to eight bits, those of one with bf16 to bf16, and takes
 * GELU from a table of f16: the mean over a text moves by about 0.01 nats at most, with blocks by 0.05. */
static double allowed(const struct zc_export *job) {
  return strchr(job->types, 'q') ? 0.05 : 0.01;
}

static int compare(const struct zc_export *job, const json_t *answer, const char *path) {
  const char *absent = json_string_value(json_object_get(answer, "absent")),
             *failed = json_string_value(json_object_get(answer, "failed")),
             *version = json_string_value(json_object_get(answer, "version"));
  double own, other = json_number_value(json_object_get(answer, "nll"));
  int64_t count, tokens = (int64_t)json_array_size(json_object_get(answer, "tokens"));
  if (absent)
    return zf_error(ZF_EUSAGE,
                    "--verify-with llama-cpp: the Python package llama-cpp-python is not there: %s",
                    absent);
  if (failed) return zf_error(ZF_EGATE, "%s: llama.cpp fails on it: %s", job->to, failed);
  int rc = score(&own, &count, path);
  if (rc) return rc;
  if (tokens != count + 1)
    return zf_error(ZF_EGATE, "%s: llama.cpp makes %lld tokens of a text, zoft %lld", job->to,
                    (long long)tokens, (long long)count + 1);
  zc_info("llama.cpp  %s: %.5f nats a token, zoft %.5f, over %lld tokens", version, other, own,
          (long long)count);
  if (fabs(own - other) <= allowed(job)) return 0;
  return zf_error(ZF_EGATE,
                  "%s: llama.cpp's mean is %.5f nats a token, zoft's %.5f: more than %g apart",
                  job->to, other, own, allowed(job));
}

int zc_export_ask_llama(const struct zc_export *job, const char *path) {
  json_t *answer = NULL;
  int rc = ask(&answer, path);
  if (!rc) rc = compare(job, answer, path);
  json_decref(answer);
  return rc;
}
