/* Data files being written: the formats that records.h reads, compressed by their ending. */
#ifndef ZF_FMT_RECORDS_WRITE_H
#define ZF_FMT_RECORDS_WRITE_H

#include "fmt/records.h"

struct zf_rows_out;

/* Nothing is seen under `path` before _commit.  ZF_EUSAGE: unknown ending, or there is such a file:
 * none is written over. */
int zf_rows_out_open(struct zf_rows_out **out, const char *path);

/* Adds a row.  Of a table the first row names the fields; a later one that has others is
 * ZF_EINVALID, one that lacks some has them empty.  Tables and .txt hold texts, numbers and booleans
 * alone; .tsv and .txt no tab or line end, .txt a single field.  `place` is for messages. */
int zf_rows_out_put(struct zf_rows_out *writer, const json_t *row, const char *place);

/* Adds row i of a file of the same format as it stands there.  The first file that is copied from
 * names a table's fields, even before a row: zf_rows_out_head. */
int zf_rows_out_head(struct zf_rows_out *writer, const struct zf_records *records);
int zf_rows_out_copy(struct zf_rows_out *writer, struct zf_records *records, int64_t index);

int64_t zf_rows_out_count(const struct zf_rows_out *writer);
int zf_rows_out_commit(struct zf_rows_out *writer); /* frees it, also on failure */
void zf_rows_out_abort(struct zf_rows_out *writer); /* frees it; takes NULL */

#endif
