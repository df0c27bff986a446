/* Which kernels an arm64 processor gets: NEON, which all have, unless masked out, and
 * products of bytes, which most have. */
#include "base/cpu.h"
#include "kern/kern_internal.h"

void zf_kern_init_arm(struct zf_kern_table *table, unsigned flags) {
  if (!(flags & ZF_CPU_NEON)) return;
  zf_kern_init_gemm_neon(table);
  zf_kern_init_bf16_neon(table);
  zf_kern_init_int8_neon(table);
  zf_kern_init_lanes_neon(table);
  if (flags & ZF_CPU_DOTPROD) zf_kern_init_int8_dotprod(table);
}
