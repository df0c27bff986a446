/* Records of a data file: JSONL, CSV or TSV, one flat row at a time.
 *
 * The format follows the file's ending (.jsonl .ndjson .json, .csv, .tsv, .txt: one
 * {"text": line} a line).  All formats: UTF-8 without zero bytes, a byte order mark at the
 * start is skipped, lines end in LF or CRLF.
 * JSONL: one object a line, duplicate keys rejected, blank lines skipped; a .json file is
 * one array of objects, or objects one after the other.  CSV and TSV: RFC 4180 quoting,
 * first row names the fields, all rows of one width, blank lines skipped; TSV without
 * quoting.  A file whose name goes on with .gz or .zst is unpacked into a temporary file without a
 * name (compressed.h), and that is read.
 *
 * The file stays mapped; what is held in memory is where each row begins, 8 bytes a row.
 * Opening parses every row once, so that a mistake anywhere is an error then; a row that is
 * asked for is parsed again from the map.  Pages that were read are given back. */
#ifndef ZF_FMT_RECORDS_H
#define ZF_FMT_RECORDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/file.h"

struct zf_records {
  char *path;
  int64_t count;
  /* the rest is the readers' */
  int format; /* row of their table */
  int array;  /* .json: one array */
  struct zf_map map;
  const char *data; /* behind a byte order mark */
  size_t len;
  size_t *row_begin; /* [n] where each row begins */
  int64_t cap;
  int64_t *line_marks;  /* line of one row in many */
  json_t *field_names;  /* of a table's fields */
  struct zf_buf field;  /* the one at hand */
  json_t *current_row;  /* the row asked for last */
  size_t bytes_touched; /* bytes of the map since pages were given back */
};

/* ZF_EUSAGE: no such file or unknown ending.  ZF_EINVALID: "PATH:LINE:COLUMN: ...".
 * An empty file gives n = 0. */
int zf_records_open(struct zf_records **out, const char *path);

/* The same from memory, which outlives it: for text from elsewhere, fuzzing and tests; `name`
 * tells the format. */
int zf_records_parse(struct zf_records **out, const char *data, size_t len, const char *name);
void zf_records_free(struct zf_records *records); /* takes NULL */

/* Row i < n as an object, borrowed until the next call; NULL with ZF_ENOMEM, or ZF_EINVALID when the
 * file was changed meanwhile, in the error slot. */
const json_t *zf_records_row(struct zf_records *records, int64_t index);

/* The 1-based line of the file where row i begins: counted from a mark nearby. */
int64_t zf_records_line(struct zf_records *records, int64_t index);

/* The row of a table that names its fields, as the file has it; else *len = 0. */
const char *zf_records_head(const struct zf_records *records, size_t *len);

/* The row as the file has it, line end and separators left off; borrowed from the map. */
const char *zf_records_text(struct zf_records *records, int64_t index, size_t *len);

#endif
