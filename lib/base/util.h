/* Small arithmetic that every folder needs. */
#ifndef ZF_BASE_UTIL_H
#define ZF_BASE_UTIL_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

static inline int64_t zf_min64(int64_t x, int64_t y) {
  return x < y ? x : y;
}

static inline int64_t zf_max64(int64_t x, int64_t y) {
  return x > y ? x : y;
}

ZF_END_DECLS

#endif
