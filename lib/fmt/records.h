/* Records of a data file: JSONL, CSV or TSV, one flat row at a time.
 *
 * The name's ending decides the format.  In all formats the text is UTF-8 without zero bytes, a
 * byte order mark at the start is skipped, and lines end in LF or CRLF.
 *
 *   .jsonl .ndjson   an object on each line; duplicate keys are errors, blank lines are skipped
 *   .json            one array of objects, or objects one after the other
 *   .csv             RFC 4180; the first row names the fields, which all rows have; blank lines
 *                    are skipped
 *   .tsv             the same with tabs and without quotes
 *   .txt             each line is a row {"text": line}
 *   ... .gz, .zst    unpacked into an unnamed temporary file first (compressed.h)
 *
 * The file stays mapped; memory holds the offset of each row, 8 bytes a row.  Opening parses every
 * row once, so that an error anywhere is reported then; reading a row parses it again from the map.
 * Pages that were read are given back to the system. */
#ifndef ZF_FMT_RECORDS_H
#define ZF_FMT_RECORDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/buf.h"
#include "base/file.h"

ZF_BEGIN_DECLS

/* What a row of a .txt file is; blank lines are never rows.  The names are those of the `datasets`
 * package (sample_by). */
enum zf_sample_by {
  ZF_SAMPLE_LINE,
  ZF_SAMPLE_PARAGRAPH, /* lines up to a blank one, joined as they stand */
  ZF_SAMPLE_DOCUMENT   /* the file */
};

struct zf_records {
  char *path;
  int64_t count;
  enum zf_sample_by sample_by; /* of a .txt file; else ZF_SAMPLE_LINE */
  /* private to the readers */
  int format; /* ZF_RECORDS_... */
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

/* ZF_EUSAGE: no such file, or an unknown ending.  ZF_EINVALID as "PATH:LINE:COLUMN: ...".  An empty
 * file gives count = 0. */
int zf_records_open(struct zf_records **out, const char *path);
/* The same with another kind of rows for a .txt file; other formats ignore it. */
int zf_records_open_as(struct zf_records **out, const char *path, enum zf_sample_by by);

/* The same from memory, which must outlive *out: for text from other sources, fuzzing and tests.
 * The ending of `name` decides the format. */
int zf_records_parse(struct zf_records **out, const char *data, size_t len, const char *name);
void zf_records_free(struct zf_records *records); /* takes NULL */

/* Row index < count as an object, borrowed until the next call.  NULL on failure, with the message
 * in the error slot: no memory, or the file was changed after it was opened. */
const json_t *zf_records_row(struct zf_records *records, int64_t index);

/* The line of the file, from 1, on which a row begins.  It is counted from a row nearby. */
int64_t zf_records_line(struct zf_records *records, int64_t index);

/* The text of the row that names the fields of a table; for other formats *len = 0. */
const char *zf_records_head(const struct zf_records *records, size_t *len);

/* The text of a row without line end and separators, borrowed from the map. */
const char *zf_records_text(struct zf_records *records, int64_t index, size_t *len);

ZF_END_DECLS

#endif
