/* A recipe, and after a line "%%" rows: the first is an example, every one is asked.  What comes out
 * has as many contexts and choices as it says, and a right one among them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eval/taskmetrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(struct zf_recipe *r, struct zf_records *rec) {
  struct zf_recipe_row x = {0};
  for (int64_t i = 0; i < rec->count && i < 8; i++) {
    if (zf_recipe_apply(r, zf_records_row(rec, i), &x)) continue;
    if (zf_recipe_output(r) == ZF_RECIPE_CHOICE && (x.gold < 0 || x.gold >= x.count)) abort();
    for (int32_t k = 0; k < x.count; k++)
      if (!x.continuation[k].data || (x.own_contexts && !x.context[k].data)) abort();
  }
  zf_recipe_row_free(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct zf_recipe *r;
  struct zf_records *rec;
  struct zf_task_needs needs;
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  text[size] = 0;
  char *rows = strstr(text, "\n%%\n");
  size_t n = rows ? (size_t)(rows - text) + 1 : strlen(text);
  if (!zf_recipe_parse(&r, text, n, "fuzz.yaml")) {
    zf_task_needs(&needs, r);
    if (rows && !zf_records_parse(&rec, rows + 4, strlen(rows + 4), "fuzz.jsonl")) {
      zf_recipe_fewshot(r, rec, rec->count > 0);
      apply(r, rec);
      zf_records_free(rec);
    }
    zf_recipe_free(r);
  }
  free(text);
  return 0;
}
