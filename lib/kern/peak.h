/* What the processor can do when nothing stands in its way: the yardstick of `zoft bench` and
 * build/kernbench. */
#ifndef ZF_KERN_PEAK_H
#define ZF_KERN_PEAK_H

#include "base/cplusplus.h"
#include "kern/kern.h"

ZF_BEGIN_DECLS

/* Operations a second (a multiply and an add are two) of independent multiply-adds that stay in
 * registers, by the widest instructions for `c` that zf_cpu_flags() allows, on all threads
 * (zf_kern_threads) at once: the best of three tries of about `seconds` in all.  Where the processor has none for `c`, those of
 * f32: an emulated product runs on them. */
double zf_peak(enum zf_compute compute, double seconds);

/* Of these instructions: "avx512bf16", "avx512", "avx2", "neon", "ref". */
const char *zf_peak_name(enum zf_compute compute);

ZF_END_DECLS

#endif
