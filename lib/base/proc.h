/* Running this program again as a process of its own, and what its work costs. */
#ifndef ZF_BASE_PROC_H
#define ZF_BASE_PROC_H

#include "base/buf.h"

/* How a process ended, in the system's own account.  Its peak of memory is not in it: that account
 * begins with what its parent held, so a child tells its own (zf_peak_rss). */
struct zf_proc {
  int status;     /* exit status, or 128 + signal */
  double seconds; /* of a clock, of processors */
  double cpu_seconds;
};

/* Runs this very program with argv[0..) (ends with NULL; argv[0] is its name), standard output into
 * *out, standard error left as ours.  ZF_EIO when it cannot be started or read. */
int zf_proc_self(struct zf_proc *proc, struct zf_buf *out, const char *const *argv);

/* Joules that the processors have drawn since some moment, from RAPL's counters of packages (Linux,
 * /sys/class/powercap); -1 where they cannot be read, and *why says why.  Counters wrap: read at
 * least every some minutes; differences are right over one wrap. */
struct zf_energy {
  int count; /* packages */
  double last[8], wrap[8], sum;
  char why[160];
};
void zf_energy_init(struct zf_energy *energy);
double zf_energy_read(struct zf_energy *energy);

#endif
