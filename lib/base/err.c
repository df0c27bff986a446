/* The error slot: one fixed buffer a thread, so that reporting "out of memory"
 * needs no memory. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

enum { SLOT = 2048 };

static _Thread_local char slot[SLOT];

int zf_error(int code, const char *fmt, ...) {
  /* The arguments may point into the slot itself: format aside first. */
  char text[SLOT];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  memcpy(slot, text, sizeof slot);
  return code;
}

int zf_error_prefix(int code, const char *fmt, ...) {
  char text[SLOT], rest[SLOT];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  memcpy(rest, slot, sizeof rest);
  size_t n = strlen(text);
  memcpy(slot, text, n);
  for (const char *p = ": "; *p && n < SLOT - 1; p++) slot[n++] = *p;
  for (const char *p = rest; *p && n < SLOT - 1; p++) slot[n++] = *p;
  slot[n] = 0;
  return code;
}

const char *zf_error_message(void) {
  return slot;
}

void zf_error_clear(void) {
  slot[0] = 0;
}
