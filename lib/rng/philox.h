/* Philox4x32: random numbers as a function of a counter.
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011: seven rounds are the fewest that pass BigCrush, ten their margin. */
#ifndef ZF_RNG_PHILOX_H
#define ZF_RNG_PHILOX_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum { ZF_PHILOX_ROUNDS = 7 }; /* of all noise here */

/* Multipliers and Weyl constants (table 2 of the paper and its text). */
#define ZF_PHILOX_M0 0xD2511F53u
#define ZF_PHILOX_M1 0xCD9E8D57u
#define ZF_PHILOX_W0 0x9E3779B9u
#define ZF_PHILOX_W1 0xBB67AE85u

/* out[4] = Philox4x32 of a 128-bit counter and a 64-bit key. */
void zf_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2], int rounds);

ZF_END_DECLS

#endif
