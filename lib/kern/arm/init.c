/* Which kernels an arm64 processor gets. */
#include "base/cpu.h"
#include "kern/kern_internal.h"

void zf_kern_init_arm(struct zf_kern_table *t, unsigned flags) {
  (void)t;
  (void)flags;
}
