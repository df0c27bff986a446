/* A program that uses the library alone: a model, a pass over four tokens, a logit.  It calls no set-up. */
#include <stdio.h>
#include "model/forward.h"
#include "base/err.h"
int main(int argc, char **argv) {
  if (argc < 2) return 2;
  struct zf_model *model = NULL;
  struct zf_model_opts opts = {.dtype = -1, .trained = ZF_F32};
  int rc = zf_model_open(&model, argv[1], &opts);
  struct zf_forward *forward;
  struct zf_limits limits = {.tokens = 4, .rows = 4, .segments = 1, .length = 4, .streams = 1};
  if (!rc) rc = zf_forward_new(&forward, model, &limits);
  int32_t id[4] = {0, 273, 454, 263}, pos[4] = {0, 1, 2, 3}, row[1] = {3};
  struct zf_segment segment = {.len = 4};
  struct zf_batch batch = {
      .T = 4, .id = id, .pos = pos, .segment_count = 1, .segment = &segment, .R = 1, .row = row};
  struct zf_perturb none = zf_perturb_none();
  float logits[1024] = {0};
  if (!rc) rc = zf_forward_run(forward, &batch, &none);
  if (!rc) zf_forward_logits(forward, logits);
  printf("%d %s %g\n", rc, zf_error_message(), logits[0]);
  return rc != 0;
}
