/* The matrix product on AVX2.
 *
 * A tile is 6 rows by 16 columns: 12 registers of sums, two of the panel, one for x.  The
 * panel of 16 KiB stays in the first cache. */
#include "kern/x86/vec_avx2.h"

#include "kern/gemm_tmpl.h"

void zf_kern_init_gemm_avx2(struct zf_kern_table *table) {
  fill_gemm(table, "avx2");
}
