/* Writing data files in the formats that records.h reads, compressed if the name ends in .gz or
 * .zst. */
#ifndef ZF_FMT_RECORDS_WRITE_H
#define ZF_FMT_RECORDS_WRITE_H

#include "base/cplusplus.h"
#include "fmt/records.h"

ZF_BEGIN_DECLS

struct zf_records_writer;

/* The file appears under `path` at _commit.  ZF_EUSAGE: an unknown ending, or the file exists: it
 * is not overwritten. */
int zf_records_writer_open(struct zf_records_writer **out, const char *path);

/* Adds a row.  The first row names the fields of a table: a later row with another field is
 * ZF_EINVALID, and fields that it lacks are empty.  Tables and .txt hold only texts, numbers and
 * booleans; .tsv and .txt hold no tab or line end; .txt has a single field.  `place` names the row
 * in messages. */
int zf_records_writer_put(struct zf_records_writer *writer, const json_t *row, const char *where);

/* _copy adds the text of a row of a file with the same format.  _head, called before the first
 * _copy, adds the row that names the fields of a table. */
int zf_records_writer_head(struct zf_records_writer *writer, const struct zf_records *records);
int zf_records_writer_copy(struct zf_records_writer *writer, struct zf_records *records,
                           int64_t index);

int64_t zf_records_writer_count(const struct zf_records_writer *writer);
int zf_records_writer_commit(struct zf_records_writer *writer); /* frees it, also on failure */
void zf_records_writer_abort(struct zf_records_writer *writer); /* frees it; takes NULL */

ZF_END_DECLS

#endif
