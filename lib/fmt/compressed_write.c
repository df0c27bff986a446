/* Packing: a format is a row of the table, "" that of files which are not compressed. */
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
  const struct codec *codec;
  void *state;
  FILE *file;
  unsigned char *out;
};

/* Takes all of data[0..n), writes what comes out; `last` also what was kept back.  0 or -1. */
struct codec {
  const char *ending;
  void *(*new)(void);
  int (*put)(struct zf_compressor *p, const void *data, size_t n, int last);
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
  z_stream *z = zf_calloc(1, sizeof *z);
  if (z &&
      deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK)
    return z;
  free(z);
  return NULL;
}

static int gzip_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  z_stream *z = compressor->state;
  z->next_in = (unsigned char *)data;
  z->avail_in = (unsigned)count;
  do {
    z->next_out = compressor->out;
    z->avail_out = OUT;
    if (deflate(z, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) return -1;
    fwrite(compressor->out, 1, OUT - z->avail_out, compressor->file);
  } while (z->avail_out == 0);
  return 0;
}

static void gzip_free(void *state) {
  if (state) deflateEnd(state);
  free(state);
}

static void *zstd_new(void) {
  ZSTD_CCtx *c = ZSTD_createCCtx();
  if (c) ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
  return c;
}

static int zstd_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  ZSTD_inBuffer in = {data, count, 0};
  size_t left;
  do {
    ZSTD_outBuffer out = {compressor->out, OUT, 0};
    left = ZSTD_compressStream2(compressor->state, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) return -1;
    fwrite(compressor->out, 1, out.pos, compressor->file);
  } while (last ? left > 0 : in.pos < in.size);
  return 0;
}

static void zstd_free(void *state) {
  ZSTD_freeCCtx(state);
}

static const struct codec codecs[] = {
    {".gz", gzip_new, gzip_put, gzip_free},
    {".zst", zstd_new, zstd_put, zstd_free},
    {"", plain_new, plain_put, free},
};

int zf_compressor_new(struct zf_compressor **out, const char *name, FILE *file) {
  const char *ending = name + zf_compressed_stem(name);
  const struct codec *codec = codecs;
  while (strcasecmp(codec->ending, ending) != 0) codec++;
  *out = zf_calloc(1, sizeof **out);
  if (!*out) return ZF_ENOMEM;
  **out = (struct zf_compressor){
      .codec = codec, .file = file, .state = codec->new (), .out = zf_malloc(OUT)};
  if ((*out)->state && (*out)->out) return 0;
  zf_compressor_free(*out);
  *out = NULL;
  return zf_error(ZF_ENOMEM, "%s: out of memory to pack it", name);
}

int zf_compressor_put(struct zf_compressor *compressor, const void *data, size_t count, int last) {
  enum { MOST = 1 << 30 }; /* zlib counts in 32 bits */
  const char *at = data;
  for (; count > MOST; count -= MOST, at += MOST)
    if (compressor->codec->put(compressor, at, MOST, 0))
      return zf_error(ZF_EFAIL, "packing failed");
  return compressor->codec->put(compressor, at, count, last) ? zf_error(ZF_EFAIL, "packing failed")
                                                             : 0;
}

void zf_compressor_free(struct zf_compressor *compressor) {
  if (!compressor) return;
  compressor->codec->free(compressor->state);
  free(compressor->out);
  free(compressor);
}
