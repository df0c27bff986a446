/* Which kernels an x86-64 processor gets.  Built without ISA flags: it runs anywhere. */
#include "base/cpu.h"
#include "kern/kern_internal.h"

void zf_kern_init_x86(struct zf_kern_table *table, unsigned flags) {
  if (flags & ZF_CPU_AVX2) {
    zf_kern_init_gemm_avx2(table);
    zf_kern_init_bf16_avx2(table);
    zf_kern_init_int8_avx2(table);
    zf_kern_init_lanes_avx2(table);
  }
  if (flags & ZF_CPU_AVX512) {
    zf_kern_init_gemm_avx512(table);
    zf_kern_init_bf16_avx512(table);
    zf_kern_init_int8_avx512(table);
    zf_kern_init_lanes_avx512(table);
    if (flags & ZF_CPU_AVX512BF16) zf_kern_init_bf16_avx512bf16(table);
    if (flags & ZF_CPU_AVX512VNNI) zf_kern_init_int8_avx512vnni(table);
  }
}
