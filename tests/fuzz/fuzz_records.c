/* Data files: the first byte picks the format, the rest is the file.  Rows are asked for again, back
 * to front. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(struct zf_records *r, int64_t i) {
  size_t len;
  const char *text = zf_records_text(r, i, &len);
  int64_t line = 1;
  if (!json_is_object(zf_records_row(r, i)) || text + len > r->data + r->len) abort();
  for (const char *p = r->data; p < text; p++) line += *p == '\n';
  if (zf_records_line(r, i) != line) abort();
  if (i && text <= zf_records_text(r, i - 1, &len)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {"f.jsonl", "f.json", "f.csv", "f.tsv", "f.txt"};
  struct zf_records *r;
  if (!size) return 0;
  if (zf_records_parse(&r, (const char *)data + 1, size - 1, name[data[0] % 5])) return 0;
  for (int64_t i = r->count - 1, left = 200; i >= 0 && left > 0; i--, left--) check_row(r, i);
  zf_records_free(r);
  return 0;
}
