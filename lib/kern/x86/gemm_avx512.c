/* The matrix product on AVX-512.
 *
 * A tile is 6 rows by 64 columns: 24 registers of sums, four of the panel.  The panel of
 * 64 KiB comes from the second cache, line after line. */
#include "kern/x86/vec_avx512.h"

#include "kern/gemm_tmpl.h"

void zf_kern_init_gemm_avx512(struct zf_kern_table *table) {
  fill_gemm(table, "avx512");
}
