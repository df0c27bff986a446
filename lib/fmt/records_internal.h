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
  ZF_RECORDS_FORMATS,                        /* formats with an ending */
  ZF_RECORDS_PARAGRAPH = ZF_RECORDS_FORMATS, /* read alone: a .txt file in other rows */
  ZF_RECORDS_DOCUMENT,
  ZF_RECORDS_READERS
};

/* The format for the ending of a name; .gz and .zst are ignored.  ZF_EUSAGE. */
int zf_records_format(const char *name, int *format);

struct zf_records_cursor {
  size_t pos;       /* offset of what is read next */
  int64_t line;     /* of pos, from 1 */
  size_t row_begin; /* offset of the last row read */
  int64_t row_line; /* its line */
  int done;         /* .json: the array has ended */
};

/* The functions of a format.  _begin reads what comes before the rows.  The other one reads the
 * next row, after blank lines, into *row; NULL at the end.  To read a row again, the cursor is set
 * to its beginning. */
int zf_records_jsonl(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_json_begin(struct zf_records *records, struct zf_records_cursor *cursor);
int zf_records_json(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_table_begin(struct zf_records *records, struct zf_records_cursor *cursor);
int zf_records_table(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_line_row(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);
int zf_records_paragraph(struct zf_records *records, struct zf_records_cursor *cursor,
                         json_t **row);
int zf_records_document(struct zf_records *records, struct zf_records_cursor *cursor, json_t **row);

/* The character between the fields of a table; 0 for other formats. */
char zf_records_delim(const struct zf_records *records);

/* ZF_EINVALID as "NAME:LINE:COLUMN: sentence" for a byte offset of the text.
 * Columns count characters. */
int zf_records_fail(const struct zf_records *records, size_t offset, const char *fmt, ...)
    ZF_PRINTF(3, 4);

#endif
