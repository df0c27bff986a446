/* Unpacking.  A format is a row of a table: how its streams begin, and a function that unpacks a
 * bit further.  The loop over input, output and consecutive streams is the same for all. */
#include "fmt/compressed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

enum { IN = 4 << 20, OUT = 256 << 10 };

/* One step: from in[0..in_len) to out[0..OUT).  Afterwards in_len is what was read and out_len what
 * was written. */
struct unpack_step {
  const unsigned char *in;
  size_t in_len;
  unsigned char *out;
  size_t out_len;
  const char *reason; /* of a failure */
  int out_of_memory;  /* the failure is one of memory */
};

enum { CONTINUES, ENDED, FAILED };

/* --- gzip --- */

static int gzip_begins(const unsigned char *data, size_t len) {
  return len >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

static void *gzip_new(void) {
  z_stream *stream = zf_calloc(1, sizeof *stream);
  if (stream && inflateInit2(stream, 15 + 16) == Z_OK) return stream; /* 16: a gzip header */
  free(stream);
  return NULL;
}

static int gzip_step(void *state, struct unpack_step *step) {
  z_stream *stream = state;
  stream->next_in = (unsigned char *)step->in;
  stream->avail_in = (unsigned)step->in_len;
  stream->next_out = step->out;
  stream->avail_out = OUT;
  int status = inflate(stream, Z_NO_FLUSH);
  step->in_len -= stream->avail_in;
  step->out_len = OUT - stream->avail_out;
  step->reason = stream->msg ? stream->msg : "it is damaged";
  step->out_of_memory = status == Z_MEM_ERROR;
  if (status == Z_STREAM_END) return inflateReset(stream) == Z_OK ? ENDED : FAILED;
  return status == Z_OK || status == Z_BUF_ERROR ? CONTINUES : FAILED;
}

static void gzip_free(void *state) {
  if (state) inflateEnd(state);
  free(state);
}

/* --- Zstandard --- */

static int zstd_begins(const unsigned char *data, size_t len) {
  static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
  if (len < 4) return 0;
  return !memcmp(data, magic, 4) ||
         ((data[0] & 0xf0) == 0x50 && !memcmp(data + 1, "\x2a\x4d\x18", 3));
}

static void *zstd_new(void) {
  return ZSTD_createDStream();
}

static int zstd_step(void *state, struct unpack_step *step) {
  ZSTD_inBuffer in = {step->in, step->in_len, 0};
  ZSTD_outBuffer out = {step->out, OUT, 0};
  size_t status = ZSTD_decompressStream(state, &out, &in);
  step->in_len = in.pos;
  step->out_len = out.pos;
  if (!ZSTD_isError(status)) return status == 0 ? ENDED : CONTINUES;
  step->reason = ZSTD_getErrorName(status);
  step->out_of_memory = ZSTD_getErrorCode(status) == ZSTD_error_memory_allocation;
  return FAILED;
}

static void zstd_free(void *state) {
  ZSTD_freeDStream(state);
}

/* --- all --- */

static const struct unpacker {
  const char *ending, *name;
  int (*begins)(const unsigned char *data, size_t len);
  void *(*new)(void);
  int (*step)(void *state, struct unpack_step *step);
  void (*free)(void *state);
} unpackers[] = {
    {".gz", "gzip", gzip_begins, gzip_new, gzip_step, gzip_free},
    {".zst", "Zstandard", zstd_begins, zstd_new, zstd_step, zstd_free},
};

static const struct unpacker *unpacker_of(const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; i < sizeof unpackers / sizeof *unpackers; i++) {
    size_t ending_len = strlen(unpackers[i].ending);
    if (len >= ending_len && !strcasecmp(name + len - ending_len, unpackers[i].ending))
      return &unpackers[i];
  }
  return NULL;
}

size_t zf_compressed_stem_len(const char *name) {
  const struct unpacker *unpacker = unpacker_of(name);
  return strlen(name) - (unpacker ? strlen(unpacker->ending) : 0);
}

static int fail_at(const char *name, size_t at, const char *what) {
  return zf_error(ZF_EINVALID, "%s: byte %zu: %s", name, at, what);
}

struct packed_input {
  const unsigned char *data;
  size_t len;
  const char *name;
};

/* Checks that a stream begins at byte `at`: the first byte or the end of another stream. */
static int check_begin(const struct unpacker *unpacker, const struct packed_input *input,
                       size_t at) {
  if (input->len == 0)
    return zf_error(ZF_EINVALID, "%s: is empty: expected %s data", input->name, unpacker->name);
  if (unpacker->begins(input->data + at, input->len - at)) return 0;
  return at ? zf_error(ZF_EINVALID, "%s: byte %zu: the %s data end and something else follows",
                       input->name, at, unpacker->name)
            : zf_error(ZF_EINVALID, "%s: is not %s data, although its name says so", input->name,
                       unpacker->name);
}

static int unpack(const struct unpacker *unpacker, void *state, unsigned char *out,
                  const struct packed_input *input, uint64_t limit, zf_unpack_sink sink,
                  void *ctx) {
  uint64_t unpacked = 0;
  size_t at = 0;
  int rc, state_after = ENDED;
  for (;;) {
    if (state_after == ENDED && at == input->len && at > 0) return 0;
    if (state_after == ENDED && (rc = check_begin(unpacker, input, at))) return rc;
    size_t remaining = input->len - at;
    struct unpack_step step = {
        .in = input->data + at, .in_len = remaining < IN ? remaining : IN, .out = out};
    state_after = unpacker->step(state, &step);
    at += step.in_len;
    if (state_after == FAILED && step.out_of_memory)
      return zf_error(ZF_ENOMEM, "%s: out of memory to unpack it", input->name);
    if (state_after == FAILED) return fail_at(input->name, at, step.reason);
    if (state_after == CONTINUES && !step.in_len && !step.out_len)
      return fail_at(input->name, at, "the stream ends before its end: the file is cut off");
    unpacked += step.out_len;
    if (unpacked > limit)
      return zf_error(ZF_EINVALID, "%s: byte %zu: more than %llu bytes come out of it", input->name,
                      at, (unsigned long long)limit);
    if (step.out_len && (rc = sink(ctx, out, step.out_len, at))) return rc;
  }
}

int zf_unpack(const unsigned char *data, size_t len, const char *name, uint64_t limit,
              zf_unpack_sink sink, void *ctx) {
  const struct unpacker *unpacker = unpacker_of(name);
  if (!unpacker) return zf_error(ZF_EUSAGE, "%s: expected a name that ends in .gz or .zst", name);
  void *state = unpacker->new ();
  unsigned char *out = zf_malloc(OUT);
  struct packed_input input = {data, len, name};
  int rc = state && out ? unpack(unpacker, state, out, &input, limit, sink, ctx)
                        : zf_error(ZF_ENOMEM, "%s: out of memory to unpack it", name);
  free(out);
  unpacker->free(state);
  return rc;
}

/* --- into a file --- */

struct unpacked_file {
  int fd;
  char dir[256];
  uint64_t max_bytes, written;
  const char *source_path;
  struct zf_map packed;
};

static int write_out(void *ctx, const void *data, size_t count, size_t consumed) {
  struct unpacked_file *temporary = ctx;
  if ((temporary->written += count) > temporary->max_bytes)
    return zf_error(ZF_EIO,
                    "%s: cannot unpack it into %s: it needs more than the %llu bytes that it may "
                    "take there; set TMPDIR to another directory",
                    temporary->source_path, temporary->dir,
                    (unsigned long long)temporary->max_bytes);
  int err = zf_write_all(temporary->fd, data, count);
  if (err)
    return zf_error(ZF_EIO, "%s: cannot unpack it into %s: %s; set TMPDIR to another directory",
                    temporary->source_path, temporary->dir, strerror(err));
  zf_map_drop(&temporary->packed, 0, consumed);
  return 0;
}

/* Nine tenths of the free space: a file that unpacks without end must not fill the disk. */
static uint64_t allowed_bytes(int fd) {
  struct statvfs statvfs;
  if (fstatvfs(fd, &statvfs)) return UINT64_MAX;
  return (uint64_t)statvfs.f_bavail * statvfs.f_frsize / 10 * 9;
}

/* /var/tmp before /tmp, which may be in memory. */
static int open_temporary(struct unpacked_file *temporary) {
  const char *tmpdir = getenv("TMPDIR"), *dirs[] = {"/var/tmp", "/tmp"};
  int dir_count = 2;
  if (tmpdir && *tmpdir) {
    dirs[0] = tmpdir;
    dir_count = 1;
  }
  for (int i = 0; i < dir_count; i++) {
    char path[300];
    snprintf(temporary->dir, sizeof temporary->dir, "%s", dirs[i]);
    snprintf(path, sizeof path, "%s/zoft-XXXXXX", temporary->dir);
    temporary->fd = mkstemp(path);
    if (temporary->fd < 0) continue;
    unlink(path);
    temporary->max_bytes = allowed_bytes(temporary->fd);
    return 0;
  }
  return zf_error(ZF_EIO, "%s: cannot make a temporary file in %s: %s", temporary->source_path,
                  temporary->dir, strerror(errno));
}

int zf_compressed_map(struct zf_map *out, const char *path) {
  struct unpacked_file temporary = {.fd = -1, .source_path = path};
  memset(out, 0, sizeof *out);
  int rc = zf_map_open(&temporary.packed, path);
  if (rc) return rc;
  if (!(rc = open_temporary(&temporary)))
    rc = zf_unpack(temporary.packed.data, temporary.packed.len, path, UINT64_MAX, write_out,
                   &temporary);
  if (!rc) rc = zf_map_fd(out, temporary.fd, path);
  if (temporary.fd >= 0) close(temporary.fd);
  zf_map_close(&temporary.packed);
  return rc;
}
