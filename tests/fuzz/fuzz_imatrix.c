/* Importance matrices: what is accepted has names, widths and sums that are finite and not below 0. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "compress/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct zf_imatrix imatrix;
  if (zf_imatrix_parse(&imatrix, data, size, "fuzz")) return 0;
  for (int64_t i = 0; i < imatrix.count; i++) {
    const struct zf_imatrix_entry *entry = &imatrix.entry[i];
    if (!entry->name[0] || entry->width < 1) abort();
    for (int64_t j = 0; j < entry->width; j++)
      if (!(entry->sum[j] >= 0) || !isfinite(entry->sum[j])) abort();
  }
  zf_imatrix_free(&imatrix);
  return 0;
}
