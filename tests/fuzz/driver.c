/* Runs a fuzz target over the files of a directory, with any compiler:
 *
 *   fuzz_<name> DIRECTORY...
 *
 * Every file is given whole, from memory of its own, so that reading past its end
 * shows under a sanitizer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 64 << 20 };

/* 1 when `path` is a file and was run, 0 when it is something else. */
static int run_file(const char *path) {
  char *text;
  size_t len;
  struct stat st;
  if (stat(path, &st) || !S_ISREG(st.st_mode)) return 0;
  if (zf_read_file(&text, &len, path, LIMIT)) {
    fprintf(stderr, "%s\n", zf_error_message());
    exit(1);
  }
  uint8_t *exact = malloc(len ? len : 1);
  if (!exact) exit(1);
  if (len) memcpy(exact, text, len);
  free(text);
  LLVMFuzzerTestOneInput(exact, len);
  free(exact);
  return 1;
}

static int run_directory(const char *dir) {
  struct dirent **entry;
  int n = scandir(dir, &entry, NULL, alphasort), ran = 0;
  if (n < 0) {
    perror(dir);
    exit(1);
  }
  for (int i = 0; i < n; i++) {
    char *path = zf_path_join(dir, entry[i]->d_name);
    if (path) ran += run_file(path);
    free(path);
    free(entry[i]);
  }
  free(entry);
  return ran;
}

int main(int argc, char **argv) {
  const char *slash = strrchr(argv[0], '/');
  int ran = 0;
  for (int i = 1; i < argc; i++) ran += run_directory(argv[i]);
  printf("%s: %d inputs, ok\n", slash ? slash + 1 : argv[0], ran);
  return ran ? 0 : 1;
}
