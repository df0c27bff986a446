/* Noise, row and attention kernels on AVX2. */
#include "kern/x86/vec_avx2.h"

#include "kern/lanes_tmpl.h"

void zf_kern_init_lanes_avx2(struct zf_kern_table *table) {
  fill_lanes(table);
}
