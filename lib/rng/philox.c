#include "rng/philox.h"

void zf_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2], int rounds) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0],
           k1 = key[1];
  for (int round = 0; round < rounds; round++) {
    uint64_t product0 = (uint64_t)ZF_PHILOX_M0 * c0, product1 = (uint64_t)ZF_PHILOX_M1 * c2;
    c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
    c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)product1;
    c3 = (uint32_t)product0;
    k0 += ZF_PHILOX_W0;
    k1 += ZF_PHILOX_W1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
