#include "rng/philox.h"

void zf_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2], int rounds) {
  uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];
  for (int r = 0; r < rounds; r++) {
    uint64_t p0 = (uint64_t)ZF_PHILOX_M0 * c0, p1 = (uint64_t)ZF_PHILOX_M1 * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    k0 += ZF_PHILOX_W0;
    k1 += ZF_PHILOX_W1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
