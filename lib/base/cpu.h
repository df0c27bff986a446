/* The features of the processor and the resources of the system. */
#ifndef ZF_BASE_CPU_H
#define ZF_BASE_CPU_H

#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_cpu_flags {
  ZF_CPU_AVX2 = 1 << 0,       /* with FMA, F16C and the system's YMM state */
  ZF_CPU_AVX512 = 1 << 1,     /* F, BW, VL, DQ and the system's ZMM state */
  ZF_CPU_AVX512BF16 = 1 << 2, /* vdpbf16ps */
  ZF_CPU_AVX512VNNI = 1 << 3, /* vpdpbusd */
  ZF_CPU_NEON = 1 << 4,       /* arm64 baseline */
  ZF_CPU_DOTPROD = 1 << 5,    /* sdot */
};

/* The flags of this processor without those that zf_cpu_mask() has removed. */
unsigned zf_cpu_flags(void);

/* ZF_EFAIL if this processor cannot run the program.  SLEEF's deterministic functions, which the
 * plain C kernels use too, need FMA on x86-64. */
int zf_cpu_check(void);

/* Keeps only the flags in `mask`: the option --cpumask.  ~0u restores all. */
void zf_cpu_mask(unsigned mask);

/* Parses "avx2", "avx512", "none", "0x3", "avx2,avx512" into *mask; ZF_EUSAGE. */
int zf_cpu_mask_parse(unsigned *mask, const char *text);

/* "avx2 avx512 avx512bf16", "none": names of the bits, into out[96]. */
char *zf_cpu_names(char out[96], unsigned flags);

const char *zf_cpu_brand(void); /* "AMD EPYC ...", or "unknown" */
int zf_cpu_cores(void);         /* physical cores this process may use, >= 1; quotas included */

/* The processors that the control group of a process allows, rounded up; 0: no limit.  `groups`:
 * the path of its /proc/self/cgroup; `root`: the mount point, /sys/fs/cgroup. */
int zf_cpu_quota(const char *groups, const char *root);

/* The peak of resident bytes since this program began.  VmHWM on Linux, because getrusage includes
 * what the process held before exec. */
int64_t zf_peak_rss(void);
int64_t zf_rss(void);    /* bytes resident now, 0 where unknown */
void zf_trim_heap(void); /* gives free memory that malloc holds back to the system */
double zf_now(void);     /* seconds of a monotonic clock */

ZF_END_DECLS

#endif
