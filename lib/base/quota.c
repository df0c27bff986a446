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
static int read_numbers(double out[2], const char *dir, const char *name) {
  char text[128], *path = zf_path_join(dir, name);
  FILE *file = path ? fopen(path, "r") : NULL;
  int count = 0;
  free(path);
  if (!file) return 0;
  char *line = fgets(text, sizeof text, file);
  fclose(file);
  for (char *word = line ? strtok(line, " \n") : NULL; word && count < 2;
       word = strtok(NULL, " \n"))
    out[count++] = !strcmp(word, "max") ? -1 : strtod(word, NULL);
  return count;
}

/* Of one group: processors, infinite without a limit or where there is no such group. */
static double group_limit(const char *dir, int version) {
  double quota[2] = {-1, 0}, period[2];
  int count = read_numbers(quota, dir, version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
  if (version == 1 && count && read_numbers(period, dir, "cpu.cfs_period_us")) quota[1] = period[0];
  return quota[0] > 0 && quota[1] > 0 ? quota[0] / quota[1] : INFINITY;
}

/* The least of the group mount/path and those above it. */
static double min_limit(const char *mount, const char *path, int version) {
  double min = INFINITY;
  char *dir = zf_asprintf("%s%s", mount, path);
  size_t root = strlen(mount);
  while (dir) {
    double limit = group_limit(dir, version);
    if (limit < min) min = limit;
    char *slash = strrchr(dir + root, '/');
    if (!slash) break;
    *slash = 0;
  }
  free(dir);
  return min;
}

/* Is `name` one of the words of "a,b,c"? */
static int list_contains(const char *list, const char *name) {
  size_t len = strlen(name);
  for (const char *word = list; *word; word += strcspn(word, ","), word += *word == ',')
    if (strcspn(word, ",") == len && !strncmp(word, name, len)) return 1;
  return 0;
}

/* A line of /proc/self/cgroup, "ID:CONTROLLERS:PATH": version 2 has no controllers there. */
static double line_limit(char *line, const char *root) {
  char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
  double min = INFINITY;
  if (!path) return min;
  *path++ = 0;
  path[strcspn(path, "\n")] = 0;
  if (!names[1]) return min_limit(root, path, 2);
  for (size_t i = 0; list_contains(names + 1, "cpu") && i < sizeof mounts / sizeof *mounts; i++) {
    char *mount = zf_path_join(root, mounts[i]);
    double limit = mount ? min_limit(mount, path, 1) : INFINITY;
    if (limit < min) min = limit;
    free(mount);
  }
  return min;
}

int zf_cpu_quota(const char *groups, const char *root) {
  char line[4096];
  double min = INFINITY;
  FILE *file = fopen(groups, "r");
  while (file && fgets(line, sizeof line, file)) {
    double limit = line_limit(line, root);
    if (limit < min) min = limit;
  }
  if (file) fclose(file);
  return isfinite(min) && min < 1 << 20 ? (int)ceil(min) : 0;
}
