/* Compressed files: gzip (.gz) and Zstandard (.zst).
 *
 * A file is a sequence of gzip members or Zstandard frames.  Anything else after them is an error,
 * as are a stream that ends early and a wrong checksum.  Unpacking takes the memory of a few
 * windows; Zstandard frames that need a window above 128 MB are an error. */
#ifndef ZF_FMT_COMPRESSED_H
#define ZF_FMT_COMPRESSED_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "base/file.h"

ZF_BEGIN_DECLS

/* Length of the name without ".gz" or ".zst" at its end. */
size_t zf_compressed_stem_len(const char *name);

/* Receives the next `len` unpacked bytes, once the first `consumed` bytes of the input were read.
 * A result other than 0 stops the work and is returned. */
typedef int (*zf_unpack_sink)(void *ctx, const void *data, size_t len, size_t consumed);

/* Unpacks data[0..len) in the format that `name` ends in.  ZF_EINVALID as "NAME: byte N: ...",
 * where N counts compressed bytes; also if more than `limit` bytes come out. */
int zf_unpack(const unsigned char *data, size_t len, const char *name, uint64_t limit,
              zf_unpack_sink sink, void *ctx);

/* Unpacks a file into an unnamed file in TMPDIR, else /var/tmp, else /tmp, and maps that.  ZF_EIO
 * if the disk is full, or if the file needs more than nine tenths of the free space. */
int zf_compressed_map(struct zf_map *out, const char *path);

/* Writing: what is put goes to `file`, compressed in the format that `name` ends in, or as it is.
 * `last` ends the stream.  The owner of `file` checks it for write errors. */
struct zf_compressor;
int zf_compressor_new(struct zf_compressor **out, const char *name, FILE *file);
int zf_compressor_put(struct zf_compressor *compressor, const void *data, size_t count, int last);
void zf_compressor_free(struct zf_compressor *compressor); /* takes NULL */

ZF_END_DECLS

#endif
