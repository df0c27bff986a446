/* Compressed files: gzip (.gz) and Zstandard (.zst).
 *
 * A file is any number of gzip members or Zstandard frames, one behind the other; anything else
 * behind them is an error, as are a stream that ends early and a checksum that is wrong.  Memory is a
 * few windows; Zstandard frames that want a window above 128 MB are refused. */
#ifndef ZF_FMT_COMPRESSED_H
#define ZF_FMT_COMPRESSED_H

#include <stdint.h>

#include "base/file.h"

/* Length of the name without ".gz" or ".zst", or of all of it when it has neither. */
size_t zf_compressed_stem(const char *name);

/* Takes n bytes of what comes out of the first `used` bytes; not 0 ends the work with that code. */
typedef int (*zf_packed_sink)(void *ctx, const void *data, size_t len, size_t consumed);

/* Unpacks data[0..len), by the ending of `name`.  ZF_EINVALID as "NAME: byte N: ..." of the
 * compressed bytes, also when more than `limit` bytes come out. */
int zf_unpack(const unsigned char *data, size_t len, const char *name, uint64_t limit,
              zf_packed_sink sink, void *ctx);

/* Unpacks a file into one without a name in TMPDIR, else /var/tmp, else /tmp, and maps that.
 * ZF_EIO when the disk is full, or would be to nine tenths of what was free. */
int zf_compressed_map(struct zf_map *out, const char *path);

/* Writing: what goes in comes out of `f` packed, by the ending of `name`, which may be none.  `last`
 * ends the stream.  Write errors of `f` are its owner's to find. */
struct zf_compressor;
int zf_compressor_new(struct zf_compressor **out, const char *name, FILE *file);
int zf_compressor_put(struct zf_compressor *compressor, const void *data, size_t count, int last);
void zf_compressor_free(struct zf_compressor *compressor); /* takes NULL */

#endif
