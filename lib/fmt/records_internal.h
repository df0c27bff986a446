/* What the readers of data files share: a cursor over the text. */
#ifndef ZF_FMT_RECORDS_INTERNAL_H
#define ZF_FMT_RECORDS_INTERNAL_H

#include "base/err.h"
#include "fmt/records.h"

/* Rows of the readers' and the writers' tables, by ending. */
enum {
  ZF_RECORDS_JSONL,
  ZF_RECORDS_NDJSON,
  ZF_RECORDS_JSON,
  ZF_RECORDS_CSV,
  ZF_RECORDS_TSV,
  ZF_RECORDS_TXT,
  ZF_RECORDS_FORMATS
};

/* Which a name's ending says, that of a compressed file left off.  ZF_EUSAGE. */
int zf_records_format(const char *name, int *format);

struct zf_records_cursor {
  size_t pos;       /* what is read next */
  int64_t line;     /* of `at` */
  size_t row_begin; /* where the row last read began, and */
  int64_t row_line;
  int done; /* nothing follows */
};

/* A format: `begin` reads what comes before the rows (NULL: nothing does); `next` the row at the
 * cursor or behind blank lines, into *row, or NULL at the end.  A cursor that stands on the beginning
 * of a row reads that row: so a row is read again. */
int zf_records_jsonl(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_json_begin(struct zf_records *records, struct zf_records_cursor *cursor);
int zf_records_json(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_table_begin(struct zf_records *records, struct zf_records_cursor *cursor);
int zf_records_table(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_txt(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);

/* What stands between the fields of a table, and whether quotes mean something. */
char zf_records_delim(const struct zf_records *records);

/* ZF_EINVALID as "NAME:LINE:COLUMN: sentence" for a byte offset of the text.
 * Columns count characters. */
int zf_records_fail(const struct zf_records *records, size_t offset, const char *fmt, ...)
    ZF_PRINTF(3, 4);

#endif
