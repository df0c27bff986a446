/* A step log from anywhere, as it is and with its checksums mended, so that what lies behind them
 * is reached too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "train/steplog.h"

enum { FIXED = 160 }; /* the shortest header */

static struct zf_zo_estimate make_estimate(const struct zf_zo *zo) {
  if (zo->examples < 0 || zo->examples > ZF_NOISE_EXAMPLES) abort();
  int64_t losses = zf_zo_losses(zo), terms = zf_zo_terms(zo);
  if (losses < 1 || losses > 5 * ZF_ZO_MAXPROBES || terms < 1) abort();
  if (terms > (int64_t)ZF_ZO_MAXPROBES * (zo->examples ? zo->examples : 2)) abort();
  return (struct zf_zo_estimate){malloc((size_t)losses * sizeof(double)),
                                 malloc((size_t)terms * sizeof(struct zf_zo_term))};
}

static void read_all(const unsigned char *data, size_t size) {
  struct zf_log_head head;
  struct zf_log_reader *r;
  struct zf_log_rec rec;
  int more = 1;
  uint32_t n = 0;
  if (zf_log_parse(&r, data, size, "steps.log", &head)) return;
  struct zf_zo_estimate estimate = make_estimate(&head.zo);
  if (!estimate.loss || !estimate.term) abort();
  if (head.zo.probes < 1 || head.zo.probes > ZF_ZO_MAXPROBES || !isfinite(head.zo.eps)) abort();
  if (strlen(head.kernels) > 16 || strlen(head.base) != 32) abort();
  if (head.trained < 0 || head.trained >= ZF_DTYPES || head.others < -1) abort();
  while (!zf_log_next(r, &rec, &estimate, &more) && more) {
    if (rec.step != (n += rec.kind == ZF_LOG_STEP)) abort();
    if (!isfinite(rec.lr) || rec.result > n + 1ull) abort();
  }
  if (more) zf_log_torn(r);
  free(estimate.loss);
  free(estimate.term);
  zf_log_reader_free(r);
}

static void put_crc(unsigned char *p, uint32_t crc) {
  for (int k = 0; k < 4; k++) p[k] = (unsigned char)(crc >> 8 * k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  read_all(data, size);
  if (size < FIXED) return 0;
  size_t top = data[12] | (size_t)data[13] << 8;
  if (top < FIXED || top > size) return 0;
  unsigned char *d = malloc(size);
  if (!d) return 0;
  memcpy(d, data, size);
  uint32_t crc = zf_crc32c(0, d, top - 4);
  put_crc(d + top - 4, crc);
  size_t n = (size_t)(d[16] | d[17] << 8 | d[18] << 16);
  if (n < 60) n = 60;
  for (size_t at = top; size - at >= n; at += n)
    put_crc(d + at + n - 4, zf_crc32c(crc, d + at, n - 4));
  read_all(d, size);
  free(d);
  return 0;
}
