/* Running this program again as a process of its own, and measuring its time and energy. */
#ifndef ZF_BASE_PROC_H
#define ZF_BASE_PROC_H

#include "base/cplusplus.h"
#include "base/buf.h"

ZF_BEGIN_DECLS

/* How a process ended, as the system reports it.  The peak of memory is missing, because the
 * system's value includes what the parent held; a child reports its own (zf_peak_rss). */
struct zf_proc {
  int status;         /* exit status, or 128 + signal */
  double seconds;     /* of a clock */
  double cpu_seconds; /* of all processors, user and system */
};

/* The path of this program's file, which the caller frees; NULL: not known. */
char *zf_proc_path(void);

/* Runs this program with the arguments argv, which begin with its name and end with NULL.  Its
 * standard output is appended to *out; standard error is shared.  ZF_EIO if it cannot be started or
 * read. */
int zf_proc_self(struct zf_proc *proc, struct zf_buf *out, const char *const *argv);

/* Joules that the processors have used since zf_energy_init, from RAPL's package counters (Linux,
 * /sys/class/powercap); -1 if they cannot be read, with the reason in `why`.  The counters wrap,
 * and a difference is right over one wrap: read them every few minutes. */
struct zf_energy {
  int count; /* of packages */
  double last[8], wrap[8], sum;
  char reason[160];
};
void zf_energy_init(struct zf_energy *energy);
double zf_energy_read(struct zf_energy *energy);

ZF_END_DECLS

#endif
