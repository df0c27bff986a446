/* Noise, row and attention kernels on AVX-512. */
#include "kern/x86/vec_avx512.h"

#include "kern/lanes_tmpl.h"

void zf_kern_init_lanes_avx512(struct zf_kern_table *table) {
  fill_lanes(table);
}
