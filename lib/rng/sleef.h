/* SLEEF with its `purecfma` functions declared: plain C built with FMA instructions, the
 * scalar side of the finz functions that agree bit for bit between vector widths.  The
 * system's header shows them only where the compiler may use FMA itself; the library has
 * them always.  They run on x86-64 since Haswell and Piledriver, and on every arm64. */
#ifndef ZF_RNG_SLEEF_H
#define ZF_RNG_SLEEF_H

#ifndef FP_FAST_FMA
#define FP_FAST_FMA 1
#endif
#ifndef FP_FAST_FMAF
#define FP_FAST_FMAF 1
#endif
/* Outside system directories compilers warn of its const results and old prototypes. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-qualifiers"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <sleef.h>
#pragma GCC diagnostic pop

#endif
