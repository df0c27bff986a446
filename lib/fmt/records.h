/* Records of a data file: JSONL, CSV or TSV, one flat row at a time.
 *
 * The format follows the file's ending (.jsonl .ndjson .json, .csv, .tsv, .txt: one
 * {"text": line} a line).  The file is read once and not kept; records are parsed to
 * named fields.  All formats: UTF-8 without zero bytes, a byte order mark at the start is
 * skipped, lines end in LF or CRLF.
 * JSONL: one object a line, duplicate keys rejected, blank lines skipped; a .json file is
 * one array of objects, or objects one after the other.  CSV and TSV: RFC 4180 quoting,
 * first row names the fields, all rows of one width, blank lines skipped; TSV without
 * quoting. */
#ifndef ZF_FMT_RECORDS_H
#define ZF_FMT_RECORDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

struct zf_records {
  char *path;
  int64_t *line; /* 1-based line of the file where the row begins */
  int64_t n;
  struct zf_buf text; /* all rows, as compact JSON end to end */
  size_t *at;         /* [n + 1] where each begins */
  json_t *now;        /* the row asked for last */
};

/* ZF_EUSAGE: no such file or unknown ending.  ZF_EINVALID: "PATH:LINE:COLUMN: ...".
 * An empty file gives n = 0. */
int zf_records_open(struct zf_records **out, const char *path);

/* The same from memory, for fuzzing and tests; `name` tells the format. */
int zf_records_parse(struct zf_records **out, const char *data, size_t len, const char *name);
void zf_records_free(struct zf_records *r);

/* Row i < n as an object, borrowed until the next call; NULL with ZF_ENOMEM in the error slot.  Rows
 * are held as text, a tenth of the size of objects, and parsed when they are asked for. */
const json_t *zf_records_row(struct zf_records *r, int64_t i);

#endif
