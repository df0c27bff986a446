/* How many processors a control group allows (Linux): cpu.max in version 2, cpu.cfs_quota_us over
 * cpu.cfs_period_us in version 1.  The lowest limit of the group and all groups above it holds.  In
 * a container the path of the group may be one of the host that is not mounted; then the root of
 * the mount is the container's own group. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cpu.h"

/* Directories in which version 1 mounts the controller of the processors. */
static const char *const mounts[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu"};

/* Reads one or two numbers of a file, "max" as -1; returns how many. */
static int read_numbers(double out[2], const char *dir, const char *name) {
  char text[128], *path = zf_path_join(dir, name);
  FILE *file = path ? fopen(path, "r") : NULL;
  int count = 0;
  free(path);
  if (!file) return 0;
  char *line = fgets(text, sizeof text, file);
  fclose(file);
  char *word = line ? strtok(line, " \n") : NULL;
  while (word && count < 2) {
    out[count++] = !strcmp(word, "max") ? -1 : strtod(word, NULL);
    word = strtok(NULL, " \n");
  }
  return count;
}

/* The processors that one group allows; infinite without a limit and for a group that does not
 * exist. */
static double group_limit(const char *dir, int version) {
  double quota[2] = {-1, 0}, period[2];
  int count = read_numbers(quota, dir, version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
  if (version == 1 && count && read_numbers(period, dir, "cpu.cfs_period_us")) quota[1] = period[0];
  return quota[0] > 0 && quota[1] > 0 ? quota[0] / quota[1] : INFINITY;
}

/* The lowest limit of the group mount/path and the groups above it. */
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
  while (*list) {
    size_t word_len = strcspn(list, ",");
    if (word_len == len && !strncmp(list, name, len)) return 1;
    list += word_len;
    if (*list == ',') list++;
  }
  return 0;
}

/* The limit by a line of /proc/self/cgroup, "ID:CONTROLLERS:PATH"; the list of controllers is empty
 * in version 2. */
static double line_limit(char *line, const char *root) {
  char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
  double min = INFINITY;
  if (!path) return min;
  *path++ = 0;
  path[strcspn(path, "\n")] = 0;
  if (!names[1]) return min_limit(root, path, 2);
  if (!list_contains(names + 1, "cpu")) return min;
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
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
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) {
    double limit = line_limit(line, root);
    if (limit < min) min = limit;
  }
  fclose(file);
  return isfinite(min) && min < 1 << 20 ? (int)ceil(min) : 0;
}
