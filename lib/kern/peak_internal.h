/* Loops of independent multiply-adds, a file for each instruction set.  Each runs `rounds` rounds
 * and returns the operations done.  The accumulators outnumber latency times throughput of every
 * processor that is known, and fit its registers. */
#ifndef ZF_KERN_PEAK_INTERNAL_H
#define ZF_KERN_PEAK_INTERNAL_H

#include <stdint.h>

double zf_peak_f32_avx2(int64_t rounds);
double zf_peak_f32_avx512(int64_t rounds);
double zf_peak_bf16_avx512bf16(int64_t rounds);
double zf_peak_f32_neon(int64_t rounds);
double zf_peak_int8_avx2(int64_t rounds);
double zf_peak_int8_avx512(int64_t rounds);
double zf_peak_int8_avx512vnni(int64_t rounds);
double zf_peak_int8_dotprod(int64_t rounds);

#endif
