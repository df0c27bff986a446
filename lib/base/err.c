/* The error slot: a fixed buffer for each thread, so that reporting "out of memory" needs no
 * memory. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

enum { SLOT = 2048 };

static _Thread_local char message[SLOT];

/* Sentences quote names and values from hostile files and go to terminals and logs: control
 * characters (C0, DEL, and C1 in UTF-8) become question marks. */
static void replace_control_characters(char *text) {
  for (unsigned char *p = (unsigned char *)text; *p; p++) {
    if (*p < ' ' || *p == 0x7f) *p = '?';
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) p[0] = p[1] = '?';
  }
}

int zf_error(int code, const char *fmt, ...) {
  /* The arguments may point into the slot: format into another buffer first. */
  char text[SLOT];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  replace_control_characters(text);
  memcpy(message, text, sizeof message);
  return code;
}

int zf_error_prefix(int code, const char *fmt, ...) {
  char prefix[SLOT], text[2 * SLOT + 2];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(prefix, sizeof prefix, fmt, ap);
  va_end(ap);
  replace_control_characters(prefix);
  snprintf(text, sizeof text, "%s: %s", prefix, message);
  text[SLOT - 1] = 0;
  memcpy(message, text, sizeof message);
  return code;
}

const char *zf_error_message(void) {
  return message;
}

void zf_error_clear(void) {
  message[0] = 0;
}
