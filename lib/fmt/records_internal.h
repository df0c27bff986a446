/* What the readers of data files share: the text, and the rows so far. */
#ifndef ZF_FMT_RECORDS_INTERNAL_H
#define ZF_FMT_RECORDS_INTERNAL_H

#include "base/err.h"
#include "fmt/records.h"

struct zf_records_reader {
  struct zf_records *out;
  int64_t cap; /* rows that fit */
  const char *name;
  const char *data; /* UTF-8 without zero bytes: checked before */
  size_t len;
};

/* Appends a row, which is taken over; NULL stands for want of memory. */
int zf_records_add(struct zf_records_reader *r, json_t *row, int64_t line);

/* ZF_EINVALID as "NAME:LINE:COLUMN: sentence" for a byte offset of the text.
 * Columns count characters. */
int zf_records_fail(const struct zf_records_reader *r, size_t offset, const char *fmt, ...)
    ZF_PRINTF(3, 4);

/* The readers: each takes the whole text. */
int zf_records_jsonl(struct zf_records_reader *r);
int zf_records_json(struct zf_records_reader *r);
int zf_records_csv(struct zf_records_reader *r);
int zf_records_tsv(struct zf_records_reader *r);
int zf_records_txt(struct zf_records_reader *r);

#endif
