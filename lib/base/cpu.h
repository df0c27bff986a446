/* What the processor and the system can do, and what was switched off. */
#ifndef ZF_BASE_CPU_H
#define ZF_BASE_CPU_H

#include <stdint.h>

enum zf_cpu_flags {
  ZF_CPU_AVX2 = 1 << 0,       /* with FMA, F16C and the system's YMM state */
  ZF_CPU_AVX512 = 1 << 1,     /* F, BW, VL, DQ and the system's ZMM state */
  ZF_CPU_AVX512BF16 = 1 << 2, /* vdpbf16ps */
  ZF_CPU_AVX512VNNI = 1 << 3, /* vpdpbusd */
  ZF_CPU_NEON = 1 << 4,       /* arm64 baseline */
  ZF_CPU_DOTPROD = 1 << 5,    /* sdot */
};

/* Flags of this processor, asked once, less what zf_cpu_mask() removed. */
unsigned zf_cpu_flags(void);

/* Can this program run here at all?  SLEEF's deterministic functions, which plain C uses too, need
 * FMA on x86-64.  ZF_EFAIL says what is missing. */
int zf_cpu_check(void);

/* Keeps only the flags in `mask`: the option --cpumask.  ~0u restores all. */
void zf_cpu_mask(unsigned mask);

/* Parses "avx2", "avx512", "none", "0x3", "avx2,avx512" into *mask; ZF_EUSAGE. */
int zf_cpu_mask_parse(unsigned *mask, const char *text);

/* "avx2 avx512 avx512bf16", "none": names of the bits, into out[96]. */
char *zf_cpu_names(char out[96], unsigned flags);

const char *zf_cpu_brand(void); /* "AMD EPYC ...", or "unknown" */
int zf_cpu_cores(void);         /* physical cores this process may use, >= 1; a quota counts */

/* Processors that the control group of a process allows, rounded up; 0: no limit.  `groups` is its
 * /proc/self/cgroup, `root` the mount point, /sys/fs/cgroup. */
int zf_cpu_quota(const char *groups, const char *root);

/* Most bytes that were resident since this program began: VmHWM on Linux, for getrusage counts what
 * the process held before exec. */
int64_t zf_peak_rss(void);
int64_t zf_rss(void); /* bytes resident now, 0 where unknown */
void zf_trim(void);   /* gives memory that malloc holds in reserve back to the system */
double zf_now(void);  /* seconds of a monotonic clock */

#endif
