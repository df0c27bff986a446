/* Philox4x32-10: random numbers as a function of a counter.
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. */
#ifndef ZF_RNG_PHILOX_H
#define ZF_RNG_PHILOX_H

#include <stdint.h>

/* out[4] = Philox4x32-10 of a 128-bit counter and a 64-bit key. */
void zf_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);

#endif
