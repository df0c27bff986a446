/* ZF_UNROLL before a loop of constant length unrolls it whole, so that arrays of vectors
 * become registers.  Compilers spell it apart: clang takes GCC's pragma too, but acts on it
 * after it has placed arrays in memory, at a third of the speed. */
#ifndef ZF_KERN_UNROLL_H
#define ZF_KERN_UNROLL_H

#if defined(__clang__)
#define ZF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ZF_UNROLL _Pragma("GCC unroll 64")
#endif

#endif
