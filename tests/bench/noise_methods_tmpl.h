/* The methods of noise_methods.h, over sixteen lanes.  The includer has included an instruction set's vec_*.h
 * and rng/philox.h, has given the number of rounds as ROUNDS_HERE, and defines zv_log and
 * zv_sincospi by SLEEF.  Its vectors and templates are those of our own noise, so that the
 * comparison is of methods, not of the code around them. */
#define ZF_PHILOX_ROUNDS ROUNDS_HERE
#pragma GCC diagnostic ignored "-Wunused-function" /* of the template only some are wanted */
#include "kern/noise_tmpl.h"

/* Two words make two values: radius by u of (0,1], angle by the other. */
INLINE void box_lanes(float *to, zu a, zu b) {
  zv u = zv_fma(zv_from_i32(zu_shr(a, 8)), zv_set1(0x1p-24f), zv_set1(0x1p-25f));
  zv angle = zv_mul(zv_from_i32(b), zv_set1(0x1p-31f)), sin, cos;
  zv radius = zv_root(zv_mul(zv_set1(-2.0f), zv_log(u)));
  zv_sincospi(&sin, &cos, angle);
  zv_store(to, zv_mul(radius, cos));
  zv_store(to + ZF_LANES, zv_mul(radius, sin));
}

/* Pairs of blocks. */
NOINLINE void blocks_box(float *to, const struct philox_schedule *s, int64_t q, int64_t blocks) {
  zu w[4 * ZV_CHAINS];
  for (; blocks >= ZV_CHAINS; blocks -= ZV_CHAINS, q += 16 * ZV_CHAINS) {
    philox_lanes(w, s, q, ZV_CHAINS);
    ZF_UNROLL
    for (int j = 0; j < 4 * ZV_CHAINS; j += 2, to += 2 * ZF_LANES) box_lanes(to, w[j], w[j + 1]);
  }
}
