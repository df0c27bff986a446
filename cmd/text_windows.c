#include "text_windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/cpu.h"
#include "ui.h"

enum { TEXT_LIMIT = 1 << 30 };

const char zc_sample_text[] =
    "The ferry left the island at six, when the fog had lifted from the water. On deck, a woman "
    "with "
    "a red suitcase counted the gulls and wrote their number into a notebook. \"Twenty-three,\" "
    "she "
    "said, \"two fewer than yesterday.\" Nobody answered. The film that evening was long and "
    "rather "
    "dull, but the music was wonderful, and the actors did what they could. In 1987 the same story "
    "had been told in 90 minutes, for half the money. Water boils at 100 degrees Celsius at sea "
    "level; on a mountain of 3,000 metres it boils at about 90. If the price rises by 5 percent, "
    "the town will have to choose between the bridge and the school.";

int zc_windows_open(struct zf_windows *windows, const struct zf_tok *tok, const char *path,
                    int64_t length, int64_t limit) {
  char *text = NULL;
  size_t len = 0;
  int rc = zf_read_file(&text, &len, path, TEXT_LIMIT);
  if (rc) return rc;
  rc = zf_windows_new(windows, tok, text, len, length, limit);
  free(text);
  return rc ? zf_error_prefix(rc, "%s", path) : 0;
}

int zc_windows_check(const struct zf_windows *windows, const struct zf_tok *tok, const char *path,
                     const char *model) {
  struct zf_windows other;
  int rc = zc_windows_open(&other, tok, path, windows->length, windows->count);
  if (rc) return rc;
  size_t bytes = (size_t)(windows->count * windows->length) * sizeof *windows->id;
  if (other.count != windows->count || memcmp(other.id, windows->id, bytes) != 0)
    rc = zf_error(ZF_EINVALID, "%s: the tokenizer gives other tokens for %s than the reference's",
                  model, path);
  zf_windows_free(&other);
  return rc;
}

int zc_progress_tick(void *ctx, int64_t done) {
  const struct zc_progress *progress = ctx;
  double now = zf_now(), share = (double)done / (double)progress->total;
  char text[128], left[32];
  if (zc_tty()) {
    snprintf(text, sizeof text, "%s %lld/%lld, %s left", progress->label, (long long)done,
             (long long)progress->total,
             zc_duration(left, (now - progress->start) * (1 - share) / share));
    zc_bar(share, text, done == progress->total);
    if (done == progress->total) zc_bar_clear();
  }
  return zc_signal();
}
