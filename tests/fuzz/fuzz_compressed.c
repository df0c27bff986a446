/* Compressed files: the first byte picks the format, the rest is the file.  What comes out is
 * bounded. */
#include <stdint.h>
#include <stdlib.h>

#include "fmt/compressed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 1 << 20 };

static int count(void *ctx, const void *out, size_t n, size_t used) {
  uint64_t *made = ctx;
  (void)used;
  const volatile unsigned char *p = out;
  if (n) (void)(p[0] + p[n - 1]);
  *made += n;
  if (*made > LIMIT) abort();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {"f.jsonl.gz", "f.jsonl.zst"};
  if (!size) return 0;
  uint64_t made = 0;
  if (zf_unpack(data + 1, size - 1, name[data[0] % 2], LIMIT, count, &made)) return 0;
  if (size == 1) abort(); /* nothing is not a stream */
  return 0;
}
