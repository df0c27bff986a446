/* Compressing: a format is a row of a table; the row with the ending "" is for plain files. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/err.h"
#include "fmt/compressed.h"

enum { OUT = 256 << 10 };

struct zf_compressor {
  const struct packer *packer;
  void *state;
  FILE *file;
  unsigned char *buffer;
};

/* put: takes data[0..count) and writes what comes out, with `last` also what the format has held
 * back. 0 or -1. */
struct packer {
  const char *ending;
  void *(*new)(void);
  int (*put)(struct zf_compressor *compressor, const void *data, size_t count, int last);
  void (*free)(void *state);
};

static void *plain_new(void) {
  return zf_calloc(1, 1);
}

static int plain_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  (void)last;
  fwrite(data, 1, count, compressor->file); /* an error is found when the file is committed */
  return 0;
}

static void *gzip_new(void) {
  z_stream *stream = zf_calloc(1, sizeof *stream);
  if (stream && deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                             Z_DEFAULT_STRATEGY) == Z_OK)
    return stream;
  free(stream);
  return NULL;
}

static int gzip_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  z_stream *stream = compressor->state;
  stream->next_in = (unsigned char *)data;
  stream->avail_in = (unsigned)count;
  do {
    stream->next_out = compressor->buffer;
    stream->avail_out = OUT;
    if (deflate(stream, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) return -1;
    fwrite(compressor->buffer, 1, OUT - stream->avail_out, compressor->file);
  } while (stream->avail_out == 0);
  return 0;
}

static void gzip_free(void *state) {
  if (state) deflateEnd(state);
  free(state);
}

static void *zstd_new(void) {
  ZSTD_CCtx *context = ZSTD_createCCtx();
  if (context) ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  return context;
}

static int zstd_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  ZSTD_inBuffer in = {data, count, 0};
  size_t remaining;
  do {
    ZSTD_outBuffer out = {compressor->buffer, OUT, 0};
    remaining =
        ZSTD_compressStream2(compressor->state, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(remaining)) return -1;
    fwrite(compressor->buffer, 1, out.pos, compressor->file);
  } while (last ? remaining > 0 : in.pos < in.size);
  return 0;
}

static void zstd_free(void *state) {
  ZSTD_freeCCtx(state);
}

static const struct packer packers[] = {
    {".gz", gzip_new, gzip_put, gzip_free},
    {".zst", zstd_new, zstd_put, zstd_free},
    {"", plain_new, plain_put, free},
};

int zf_compressor_new(struct zf_compressor **out, const char *name, FILE *file) {
  const char *ending = name + zf_compressed_stem_len(name);
  const struct packer *packer = packers;
  while (strcasecmp(packer->ending, ending) != 0) packer++;
  *out = zf_calloc(1, sizeof **out);
  if (!*out) return ZF_ENOMEM;
  **out = (struct zf_compressor){
      .packer = packer, .file = file, .state = packer->new (), .buffer = zf_malloc(OUT)};
  if ((*out)->state && (*out)->buffer) return 0;
  zf_compressor_free(*out);
  *out = NULL;
  return zf_error(ZF_ENOMEM, "%s: out of memory to compress it", name);
}

int zf_compressor_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  enum { MAX_BYTES = 1 << 30 }; /* zlib counts in 32 bits */
  const char *at = data;
  for (; count > MAX_BYTES; count -= MAX_BYTES, at += MAX_BYTES)
    if (compressor->packer->put(compressor, at, MAX_BYTES, 0))
      return zf_error(ZF_EFAIL, "compressing failed");
  return compressor->packer->put(compressor, at, count, last)
             ? zf_error(ZF_EFAIL, "compressing failed")
             : 0;
}

void zf_compressor_free(struct zf_compressor *compressor) {
  if (!compressor) return;
  compressor->packer->free(compressor->state);
  free(compressor->buffer);
  free(compressor);
}
