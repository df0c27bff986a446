/* Data files: the first byte picks the format, the rest is the file. */
#include <stdint.h>
#include <stdlib.h>

#include "fmt/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {"f.jsonl", "f.json", "f.csv", "f.tsv", "f.txt"};
  struct zf_records *r;
  if (!size) return 0;
  if (zf_records_parse(&r, (const char *)data + 1, size - 1, name[data[0] % 5])) return 0;
  for (int64_t i = 0, line = 0; i < r->n; i++) {
    if (!json_is_object(zf_records_row(r, i)) || r->line[i] < 1 || r->line[i] < line) abort();
    line = r->line[i];
  }
  zf_records_free(r);
  return 0;
}
