/* Detection asks the processor (CPUID) and the operating system (XCR0): the wide registers are
 * unusable if the kernel does not save them. */
#include "base/cpu.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#if defined(__linux__)
#include <malloc.h>
#include <sched.h>
#endif
#if defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

static const struct {
  const char *name;
  unsigned bits;
} flag_names[] = {
    {"avx2", ZF_CPU_AVX2},
    {"avx512", ZF_CPU_AVX512},
    {"avx512bf16", ZF_CPU_AVX512BF16},
    {"avx512vnni", ZF_CPU_AVX512VNNI},
    {"neon", ZF_CPU_NEON},
    {"dotprod", ZF_CPU_DOTPROD},
};

enum { FLAG_NAMES = sizeof flag_names / sizeof *flag_names };

#if defined(__x86_64__)
static uint64_t xcr0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

static int has_fma(void) {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  return (ecx >> 12 & 1) && (ecx >> 27 & 1) && (xcr0() & 0x06) == 0x06;
}

static unsigned detect_flags(void) {
  unsigned eax, ebx, ecx, edx, flags = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  int osxsave = ecx >> 27 & 1, fma = ecx >> 12 & 1, f16c = ecx >> 29 & 1;
  if (!osxsave || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  uint64_t xcr = xcr0();
  int ymm = (xcr & 0x06) == 0x06, zmm = (xcr & 0xe6) == 0xe6;
  if (ymm && fma && f16c && (ebx >> 5 & 1)) flags |= ZF_CPU_AVX2;
  unsigned avx512_bits = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
  if (!(flags & ZF_CPU_AVX2) || !zmm || (ebx & avx512_bits) != avx512_bits) return flags;
  flags |= ZF_CPU_AVX512;
  if (ecx >> 11 & 1) flags |= ZF_CPU_AVX512VNNI;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1)) flags |= ZF_CPU_AVX512BF16;
  return flags;
}

static void read_brand(char out[64]) {
  unsigned registers[12];
  unsigned top = __get_cpuid_max(0x80000000u, NULL);
  if (top < 0x80000004u) return;
  for (unsigned i = 0; i < 3; i++)
    __get_cpuid(0x80000002u + i, &registers[4 * i], &registers[4 * i + 1], &registers[4 * i + 2],
                &registers[4 * i + 3]);
  memcpy(out, registers, 48);
  out[48] = 0;
}
#elif defined(__aarch64__)
static unsigned detect_flags(void) {
#if defined(__APPLE__)
  int dot = 0;
  size_t n = sizeof dot;
  sysctlbyname("hw.optional.arm.FEAT_DotProd", &dot, &n, NULL, 0);
#else
  int dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return ZF_CPU_NEON | (dot ? ZF_CPU_DOTPROD : 0);
}

static void read_brand(char out[64]) {
#if defined(__APPLE__)
  size_t n = 63;
  sysctlbyname("machdep.cpu.brand_string", out, &n, NULL, 0);
#else
  snprintf(out, 64, "arm64");
#endif
}
#else
static unsigned detect_flags(void) {
  return 0;
}

static void read_brand(char out[64]) {
  (void)out;
}
#endif

int zf_cpu_check(void) {
#if defined(__x86_64__)
  if (!has_fma())
    return zf_error(ZF_EFAIL,
                    "this processor (%s) has no FMA instructions: zoft needs an x86-64 "
                    "processor of 2013 or later, or arm64",
                    zf_cpu_brand());
#endif
  return 0;
}

static unsigned allowed_flags = ~0u;

unsigned zf_cpu_flags(void) {
  static int known;
  static unsigned flags;
  if (!known) {
    flags = detect_flags();
    known = 1;
  }
  return flags & allowed_flags;
}

void zf_cpu_mask(unsigned mask) {
  allowed_flags = mask;
}

/* The flags named by a word of len bytes; 0 for an unknown one. */
static unsigned named_flags(const char *word, size_t len) {
  for (int i = 0; i < FLAG_NAMES; i++)
    if (strlen(flag_names[i].name) == len && !strncmp(flag_names[i].name, word, len))
      return flag_names[i].bits;
  return 0;
}

int zf_cpu_mask_parse(unsigned *mask, const char *text) {
  char *end;
  if (text[0] >= '0' && text[0] <= '9') {
    *mask = (unsigned)strtoul(text, &end, 0);
    if (*end == 0) return 0;
  }
  *mask = 0;
  for (const char *word = text; *word;) {
    size_t len = strcspn(word, ",");
    int none = len == 4 && !strncmp(word, "none", 4);
    unsigned flags = named_flags(word, len);
    if (!flags && !none)
      return zf_error(ZF_EUSAGE,
                      "--cpumask: '%.*s' is none of avx2, avx512, avx512bf16, avx512vnni, "
                      "neon, dotprod, none or a number",
                      (int)len, word);
    *mask |= flags;
    word += len + (word[len] == ',');
  }
  return 0;
}

char *zf_cpu_names(char out[96], unsigned flags) {
  size_t len = 0;
  out[0] = 0;
  for (int i = 0; i < FLAG_NAMES; i++)
    if (flags & flag_names[i].bits)
      len += (size_t)snprintf(out + len, 96 - len, "%s%s", len ? " " : "", flag_names[i].name);
  if (!len) snprintf(out, 96, "none");
  return out;
}

const char *zf_cpu_brand(void) {
  static char text[64];
  if (text[0]) return text;
  char raw[64] = "";
  read_brand(raw);
  const char *start = raw + strspn(raw, " ");
  snprintf(text, sizeof text, "%s", *start ? start : "unknown");
  size_t len = strlen(text);
  while (len && text[len - 1] == ' ') text[--len] = 0;
  return text;
}

#if defined(__linux__)
/* The lowest-numbered thread of each core stands for it. */
static int first_of_core(int cpu) {
  char path[96], text[64];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  FILE *file = fopen(path, "r");
  if (!file) return 1;
  char *ok = fgets(text, sizeof text, file);
  fclose(file);
  return !ok || atoi(text) == cpu;
}

int zf_cpu_cores(void) {
  cpu_set_t set;
  int cores = 0;
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &set) && first_of_core(i)) cores++;
  /* A process bound to second threads of cores alone may still use each of them. */
  if (cores == 0) cores = CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
  int quota = zf_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  return quota > 0 && quota < cores ? quota : cores;
}
#else
int zf_cpu_cores(void) {
#if defined(__APPLE__)
  int n = 0;
  size_t len = sizeof n;
  if (!sysctlbyname("hw.perflevel0.physicalcpu", &n, &len, NULL, 0) && n > 0) return n;
  len = sizeof n;
  if (!sysctlbyname("hw.physicalcpu", &n, &len, NULL, 0) && n > 0) return n;
#endif
  long n_online = sysconf(_SC_NPROCESSORS_ONLN);
  return n_online > 0 ? (int)n_online : 1;
}
#endif

/* VmHWM of /proc/self/status in bytes; 0: unknown.  Without stdio, whose buffers would add to
 * it. */
static int64_t high_water(void) {
  char text[4096];
  long long kb = 0;
  int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (len <= 0) return 0;
  text[len] = 0;
  const char *field = strstr(text, "VmHWM:");
  return field && sscanf(field, "VmHWM: %lld", &kb) == 1 ? (int64_t)kb * 1024 : 0;
}

int64_t zf_peak_rss(void) {
  struct rusage usage;
  int64_t peak = high_water();
  if (peak || getrusage(RUSAGE_SELF, &usage)) return peak;
#if defined(__APPLE__)
  return (int64_t)usage.ru_maxrss;
#else
  return (int64_t)usage.ru_maxrss * 1024;
#endif
}

int64_t zf_rss(void) {
#if defined(__linux__)
  long long size, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (fscanf(file, "%lld %lld", &size, &resident) != 2) resident = 0;
  fclose(file);
  return (int64_t)resident * sysconf(_SC_PAGESIZE);
#elif defined(__APPLE__)
  mach_task_basic_info_data_t info;
  mach_msg_type_number_t n = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &n)) return 0;
  return (int64_t)info.resident_size;
#else
  return 0;
#endif
}

void zf_trim_heap(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

double zf_now(void) {
  struct timespec timespec;
  clock_gettime(CLOCK_MONOTONIC, &timespec);
  return (double)timespec.tv_sec + 1e-9 * (double)timespec.tv_nsec;
}
