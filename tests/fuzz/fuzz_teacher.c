/* A file of a teacher's predictions from anywhere, as it is and with its checksum mended, so that what lies
 * behind it is reached too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "eval/teacher.h"

/* Every row that an opened file has is one that a loss can read. */
static void read_all(const unsigned char *data, size_t size) {
  struct zf_teacher *teacher;
  int64_t rows = 0;
  if (zf_teacher_parse(&teacher, data, size, "teacher.bin")) return;
  const struct zf_teacher_head *head = zf_teacher_head(teacher);
  for (int i = 0; i < ZF_TEACHER_SETS; i++) rows += head->set[i].rows;
  if (!(head->temperature > 0) || strlen(head->model) != 32 || head->k > head->vocab) abort();
  for (int64_t row = 0; row < rows; row++) {
    const int32_t *id;
    const float *log_p;
    zf_teacher_row(teacher, row, &id, &log_p);
    for (int64_t i = 0; i < head->k; i++)
      if (id[i] < 0 || id[i] >= head->vocab || !isfinite(log_p[i]) || log_p[i] > 0) abort();
    if (log_p[head->k] > 0 || isnan(log_p[head->k])) abort();
  }
  zf_teacher_free(teacher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  unsigned char *copy = calloc(size + 1, 1); /* rows are read at multiples of four bytes */
  if (!copy) return 0;
  if (size) memcpy(copy, data, size);
  read_all(copy, size);
  if (size >= 4) {
    uint32_t crc = zf_crc32c(0, copy, size - 4);
    for (int k = 0; k < 4; k++) copy[size - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
    read_all(copy, size);
  }
  free(copy);
  return 0;
}
