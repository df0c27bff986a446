#include "fmt/utf8.h"

#include <string.h>
#include <utf8proc.h>

int64_t zf_utf8_first_error(const void *data, size_t len) {
  const unsigned char *bytes = data;
  size_t i = 0;
  while (i < len) {
    /* Most of most files is ASCII: eight bytes at once without a high bit. */
    uint64_t word;
    if (len - i >= sizeof word) {
      memcpy(&word, bytes + i, sizeof word);
      if (!(word & 0x8080808080808080u)) {
        i += sizeof word;
        continue;
      }
    }
    utf8proc_int32_t character;
    utf8proc_ssize_t remaining = len - i < 4 ? (utf8proc_ssize_t)(len - i) : 4;
    utf8proc_ssize_t char_len = utf8proc_iterate(bytes + i, remaining, &character);
    if (char_len <= 0) return (int64_t)i;
    i += (size_t)char_len;
  }
  return -1;
}
