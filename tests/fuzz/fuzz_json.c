/* JSON: what is parsed can be written and parsed again to the same value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *v, *again;
  if (zf_json_parse(&v, (const char *)data, size, "fuzz.json")) return 0;
  char *text = json_dumps(v, JSON_ENCODE_ANY);
  if (!text || zf_json_parse(&again, text, strlen(text), "again.json")) abort();
  if (!json_equal(v, again)) abort();
  json_decref(again);
  json_decref(v);
  free(text);
  return 0;
}
