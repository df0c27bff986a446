/* The matrix product on NEON.
 *
 * A tile is 6 rows by 16 columns: 24 registers of sums, four of the panel.  The panel of
 * 16 KiB stays in the first cache. */
#include "kern/arm/vec_neon.h"

#include "kern/gemm_tmpl.h"

void zf_kern_init_gemm_neon(struct zf_kern_table *table) {
  fill_gemm(table, "neon");
}
