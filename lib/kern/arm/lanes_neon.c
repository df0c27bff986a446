/* Noise, row and attention kernels on NEON. */
#include "kern/arm/vec_neon.h"

#include "kern/lanes_tmpl.h"

void zf_kern_init_lanes_neon(struct zf_kern_table *table) {
  fill_lanes(table);
}
