/* Which kernels an x86-64 processor gets.  Built without ISA flags: it runs anywhere. */
#include "base/cpu.h"
#include "kern/kern_internal.h"

void zf_kern_init_x86(struct zf_kern_table *t, unsigned flags) {
  (void)t;
  (void)flags;
}
