/* safetensors: what is accepted keeps its promises: every tensor lies in the file,
 * together they cover the buffer, and each is found by its name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size) {
  static volatile unsigned sink;
  struct zf_st *s;
  size_t total = 0;
  if (zf_st_parse(&s, data, size, "fuzz.safetensors")) return;
  for (int64_t i = 0; i < s->count; i++) {
    const struct zf_st_tensor *t = &s->tensor[i];
    if (t->data < data || t->bytes > (size_t)(data + size - t->data)) abort();
    for (size_t k = 0; k < t->bytes; k++) sink += t->data[k];
    if (zf_st_find(s, t->name) != t) abort();
    total += t->bytes;
  }
  uint64_t header = 0;
  for (int i = 7; i >= 0; i--) header = header << 8 | data[i];
  if (total + 8 + header != size) abort();
  zf_st_free(s);
}

/* The input as it stands, and then as a header whose length is right: the first byte
 * says how many bytes at the end are the buffer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check(data, size);
  if (!size || data[0] > size - 1) return 0;
  size_t n = size - 1 - data[0], total = size - 1 + 8;
  uint8_t *file = malloc(total);
  if (!file) return 0;
  for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)n >> 8 * i);
  memcpy(file + 8, data + 1, size - 1);
  check(file, total);
  free(file);
  return 0;
}
