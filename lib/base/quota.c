/* How many processors a control group allows (Linux): cpu.max of version 2, cpu.cfs_quota_us over
 * cpu.cfs_period_us of version 1.  The group and every group above it count, for each limits what is
 * below.  Inside a container the path of the group may be one of the host that is not mounted here;
 * then the mount's root is the container's own group. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cpu.h"

/* Where the processors of version 1 are mounted. */
static const char *const mounts[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu"};

/* The numbers of a file that holds one or two, "max" counting as -1; returns how many. */
static int numbers_in(double out[2], const char *dir, const char *name) {
  char text[128], *path = zf_path_join(dir, name);
  FILE *file = path ? fopen(path, "r") : NULL;
  int n = 0;
  free(path);
  if (!file) return 0;
  char *line = fgets(text, sizeof text, file);
  fclose(file);
  for (char *word = line ? strtok(line, " \n") : NULL; word && n < 2; word = strtok(NULL, " \n"))
    out[n++] = !strcmp(word, "max") ? -1 : strtod(word, NULL);
  return n;
}

/* Of one group: processors, infinite without a limit or where there is no such group. */
static double limit_of(const char *dir, int version) {
  double v[2] = {-1, 0}, period[2];
  int n = numbers_in(v, dir, version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
  if (version == 1 && n && numbers_in(period, dir, "cpu.cfs_period_us")) v[1] = period[0];
  return v[0] > 0 && v[1] > 0 ? v[0] / v[1] : INFINITY;
}

/* The least of the group mount/path and those above it. */
static double least_of(const char *mount, const char *path, int version) {
  double least = INFINITY;
  char *dir = zf_asprintf("%s%s", mount, path);
  size_t root = strlen(mount);
  while (dir) {
    double v = limit_of(dir, version);
    if (v < least) least = v;
    char *slash = strrchr(dir + root, '/');
    if (!slash) break;
    *slash = 0;
  }
  free(dir);
  return least;
}

/* Is `name` one of the words of "a,b,c"? */
static int listed(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
    if (strcspn(p, ",") == n && !strncmp(p, name, n)) return 1;
  return 0;
}

/* A line of /proc/self/cgroup, "ID:CONTROLLERS:PATH": version 2 has no controllers there. */
static double of_line(char *line, const char *root) {
  char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
  double least = INFINITY;
  if (!path) return least;
  *path++ = 0;
  path[strcspn(path, "\n")] = 0;
  if (!names[1]) return least_of(root, path, 2);
  for (size_t i = 0; listed(names + 1, "cpu") && i < sizeof mounts / sizeof *mounts; i++) {
    char *mount = zf_path_join(root, mounts[i]);
    double v = mount ? least_of(mount, path, 1) : INFINITY;
    if (v < least) least = v;
    free(mount);
  }
  return least;
}

int zf_cpu_quota(const char *groups, const char *root) {
  char line[4096];
  double least = INFINITY;
  FILE *file = fopen(groups, "r");
  while (file && fgets(line, sizeof line, file)) {
    double v = of_line(line, root);
    if (v < least) least = v;
  }
  if (file) fclose(file);
  return isfinite(least) && least < 1 << 20 ? (int)ceil(least) : 0;
}
