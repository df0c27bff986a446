/* Unpacking.  A format is a row of the table: how a stream begins and what takes it a step further;
 * the loop over input, output and streams one behind the other is the same for all. */
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

/* One step: from in[0..*n) to out[0..*got); *n becomes what was used. */
struct step {
  const unsigned char *in;
  size_t count;
  unsigned char *out;
  size_t got;
  const char *why; /* of a failure */
  int spent;       /* it was memory */
};

enum { GOES_ON, ENDED, FAILED };

/* --- gzip --- */

static int gzip_begins(const unsigned char *p, size_t len) {
  return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static void *gzip_new(void) {
  z_stream *z = zf_calloc(1, sizeof *z);
  if (z && inflateInit2(z, 15 + 16) == Z_OK) return z; /* 16: a gzip header */
  free(z);
  return NULL;
}

static int gzip_step(void *state, struct step *step) {
  z_stream *z = state;
  z->next_in = (unsigned char *)step->in;
  z->avail_in = (unsigned)step->count;
  z->next_out = step->out;
  z->avail_out = OUT;
  int r = inflate(z, Z_NO_FLUSH);
  step->count -= z->avail_in;
  step->got = OUT - z->avail_out;
  step->why = z->msg ? z->msg : "it is damaged";
  step->spent = r == Z_MEM_ERROR;
  if (r == Z_STREAM_END) return inflateReset(z) == Z_OK ? ENDED : FAILED;
  return r == Z_OK || r == Z_BUF_ERROR ? GOES_ON : FAILED;
}

static void gzip_free(void *state) {
  if (state) inflateEnd(state);
  free(state);
}

/* --- Zstandard --- */

static int zstd_begins(const unsigned char *p, size_t len) {
  static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
  if (len < 4) return 0;
  return !memcmp(p, magic, 4) || ((p[0] & 0xf0) == 0x50 && !memcmp(p + 1, "\x2a\x4d\x18", 3));
}

static void *zstd_new(void) {
  return ZSTD_createDStream();
}

static int zstd_step(void *state, struct step *step) {
  ZSTD_inBuffer in = {step->in, step->count, 0};
  ZSTD_outBuffer out = {step->out, OUT, 0};
  size_t r = ZSTD_decompressStream(state, &out, &in);
  step->count = in.pos;
  step->got = out.pos;
  if (!ZSTD_isError(r)) return r == 0 ? ENDED : GOES_ON;
  step->why = ZSTD_getErrorName(r);
  step->spent = ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation;
  return FAILED;
}

static void zstd_free(void *state) {
  ZSTD_freeDStream(state);
}

/* --- all --- */

static const struct codec {
  const char *ending, *name;
  int (*begins)(const unsigned char *p, size_t n);
  void *(*new)(void);
  int (*step)(void *state, struct step *s);
  void (*free)(void *state);
} codecs[] = {
    {".gz", "gzip", gzip_begins, gzip_new, gzip_step, gzip_free},
    {".zst", "Zstandard", zstd_begins, zstd_new, zstd_step, zstd_free},
};

static const struct codec *codec_of(const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
    size_t m = strlen(codecs[i].ending);
    if (n >= m && !strcasecmp(name + n - m, codecs[i].ending)) return &codecs[i];
  }
  return NULL;
}

size_t zf_compressed_stem(const char *name) {
  const struct codec *codec = codec_of(name);
  return strlen(name) - (codec ? strlen(codec->ending) : 0);
}

static int fail_at(const char *name, size_t at, const char *what) {
  return zf_error(ZF_EINVALID, "%s: byte %zu: %s", name, at, what);
}

struct input {
  const unsigned char *data;
  size_t len;
  const char *name;
};

/* A stream begins at the byte `at`, the first or one behind another stream. */
static int check_begin(const struct codec *codec, const struct input *input, size_t at) {
  if (input->len == 0)
    return zf_error(ZF_EINVALID, "%s: is empty: expected %s data", input->name, codec->name);
  if (codec->begins(input->data + at, input->len - at)) return 0;
  return at ? zf_error(ZF_EINVALID, "%s: byte %zu: the %s data end and something else follows",
                       input->name, at, codec->name)
            : zf_error(ZF_EINVALID, "%s: is not %s data, which its ending promises", input->name,
                       codec->name);
}

static int unpack(const struct codec *codec, void *state, unsigned char *out,
                  const struct input *input, uint64_t limit, zf_packed_sink sink, void *ctx) {
  uint64_t made = 0;
  int rc = 0, how = ENDED;
  for (size_t at = 0; how != ENDED || at < input->len || input->len == 0;) {
    if (how == ENDED && (rc = check_begin(codec, input, at))) return rc;
    struct step step = {
        .in = input->data + at, .count = input->len - at < IN ? input->len - at : IN, .out = out};
    how = codec->step(state, &step);
    at += step.count;
    if (how == FAILED && step.spent)
      return zf_error(ZF_ENOMEM, "%s: out of memory to unpack it", input->name);
    if (how == FAILED) return fail_at(input->name, at, step.why);
    if (how == GOES_ON && !step.count && !step.got)
      return fail_at(input->name, at, "the stream ends before its end: the file is cut off");
    made += step.got;
    if (made > limit)
      return zf_error(ZF_EINVALID, "%s: byte %zu: more than %llu bytes come out of it", input->name,
                      at, (unsigned long long)limit);
    if (step.got && (rc = sink(ctx, out, step.got, at))) return rc;
  }
  return 0;
}

int zf_unpack(const unsigned char *data, size_t len, const char *name, uint64_t limit,
              zf_packed_sink sink, void *ctx) {
  const struct codec *codec = codec_of(name);
  if (!codec) return zf_error(ZF_EUSAGE, "%s: expected a name that ends in .gz or .zst", name);
  void *state = codec->new ();
  unsigned char *out = zf_malloc(OUT);
  struct input input = {data, len, name};
  int rc = state && out ? unpack(codec, state, out, &input, limit, sink, ctx)
                        : zf_error(ZF_ENOMEM, "%s: out of memory to unpack it", name);
  free(out);
  codec->free(state);
  return rc;
}

/* --- into a file --- */

struct temporary {
  int fd;
  char dir[256];
  uint64_t room, made; /* bytes that may be written, and are */
  const char *from;
  struct zf_map packed;
};

static int write_out(void *ctx, const void *data, size_t count, size_t used) {
  struct temporary *temporary = ctx;
  if ((temporary->made += count) > temporary->room)
    return zf_error(ZF_EIO,
                    "%s: cannot unpack it into %s: it wants more than the %llu bytes that it may "
                    "take there; TMPDIR names another directory",
                    temporary->from, temporary->dir, (unsigned long long)temporary->room);
  int err = zf_write_all(temporary->fd, data, count);
  if (err)
    return zf_error(ZF_EIO, "%s: cannot unpack it into %s: %s; TMPDIR names another directory",
                    temporary->from, temporary->dir, strerror(err));
  zf_map_drop(&temporary->packed, 0, used);
  return 0;
}

/* Nine tenths of what is free: a file that unpacks without end shall not fill the disk for others. */
static uint64_t room_of(int fd) {
  struct statvfs statvfs;
  if (fstatvfs(fd, &statvfs)) return UINT64_MAX;
  return (uint64_t)statvfs.f_bavail * statvfs.f_frsize / 10 * 9;
}

/* /var/tmp is a disk where /tmp may be memory. */
static int open_temporary(struct temporary *temporary) {
  const char *given = getenv("TMPDIR"), *dir[] = {given && *given ? given : "/var/tmp", "/tmp"};
  for (int i = 0; i < (given && *given ? 1 : 2); i++) {
    char path[300];
    snprintf(temporary->dir, sizeof temporary->dir, "%s", dir[i]);
    snprintf(path, sizeof path, "%s/zoft-XXXXXX", temporary->dir);
    temporary->fd = mkstemp(path);
    if (temporary->fd < 0) continue;
    unlink(path);
    temporary->room = room_of(temporary->fd);
    return 0;
  }
  return zf_error(ZF_EIO, "%s: cannot make a temporary file in %s: %s", temporary->from,
                  temporary->dir, strerror(errno));
}

int zf_compressed_map(struct zf_map *out, const char *path) {
  struct temporary temporary = {.fd = -1, .from = path};
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
