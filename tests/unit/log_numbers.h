/* Numbers in the bytes of a step log, for tests of where each stands. */
#ifndef ZF_TESTS_LOG_NUMBERS_H
#define ZF_TESTS_LOG_NUMBERS_H

#include <stdint.h>
#include <string.h>

static inline uint64_t number(const unsigned char *bytes, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; i++) value |= (uint64_t)bytes[i] << 8 * i;
  return value;
}

static inline double number_f64(const unsigned char *bytes) {
  uint64_t bits = number(bytes, 8);
  double value;
  memcpy(&value, &bits, 8);
  return value;
}

#endif
