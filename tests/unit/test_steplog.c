/* The step log: what is written comes back, no damage goes unseen, and the weights of a run
 * follow from its log. */
#include <math.h>

#include "base/file.h"
#include "base/hash.h"
#include "train/steplog.h"
#include "unit/models.h"

enum { HEAD = 160 };

static struct zf_log_head a_head(int probes) {
  return (struct zf_log_head){
      .zo = {.seed = 0xfedcba9876543210ULL,
             .eps = 1e-3,
             .probes = probes,
             .direction = ZF_RADEMACHER},
      .decay = 0.01,
      .kernels = "f32-sixteen-long",
      .base = "00112233445566778899aabbccddeeff",
      .data = "ffeeddccbbaa99887766554433221100",
      .config = "0123456789abcdef0123456789abcdef",
  };
}

static struct zf_log_step a_step(int i) {
  return (struct zf_log_step){(uint32_t)i, 1e-4 / i, 0x123456789aULL * (uint64_t)i};
}

static struct zf_zo_probe a_probe(int i, int p) {
  return (struct zf_zo_probe){1.5 / (i + p), -2.25 * i, p ? 1e-300 * p : -0.0};
}

static void write_log(const char *path, int probes, int steps) {
  struct zf_log_head head = a_head(probes);
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  struct zf_log *l;
  ck_ok(zf_log_create(&l, path, &head));
  for (int i = 1; i <= steps; i++) {
    struct zf_log_step step = a_step(i);
    for (int p = 0; p < probes; p++) probe[p] = a_probe(i, p);
    ck_ok(zf_log_append(l, &step, probe));
  }
  ck_ok(zf_log_close(l));
}

static void check_head(const struct zf_log_head *a, const struct zf_log_head *b) {
  ck_assert_uint_eq(a->zo.seed, b->zo.seed);
  ck_assert(a->zo.eps == b->zo.eps && a->decay == b->decay);
  ck_assert_int_eq(a->zo.probes, b->zo.probes);
  ck_assert_int_eq(a->zo.direction, b->zo.direction);
  ck_assert_str_eq(a->kernels, b->kernels);
  ck_assert_str_eq(a->base, b->base);
  ck_assert_str_eq(a->data, b->data);
  ck_assert_str_eq(a->config, b->config);
}

START_TEST(test_round_trip) {
  static const int probes[] = {1, 3, ZF_ZO_MAXPROBES};
  int q = probes[_i], more = 1;
  const char *path = tmp_path("steps.log");
  struct zf_log_head want = a_head(q), head;
  struct zf_log_reader *r;
  struct zf_log_step step;
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  write_log(path, q, 5);
  ck_ok(zf_log_open(&r, path, &head));
  check_head(&head, &want);
  for (int i = 1; i <= 5; i++) {
    struct zf_log_step s = a_step(i);
    ck_ok(zf_log_next(r, &step, probe, &more));
    ck_assert_int_eq(more, 1);
    ck_assert(step.step == s.step && step.lr == s.lr && step.batch == s.batch);
    for (int p = 0; p < q; p++) {
      struct zf_zo_probe w = a_probe(i, p);
      ck_assert_mem_eq(&probe[p], &w, sizeof w);
    }
  }
  ck_ok(zf_log_next(r, &step, probe, &more));
  ck_assert_int_eq(more, 0);
  zf_log_reader_free(r);
}
END_TEST

START_TEST(test_size) {
  const char *path = tmp_path("size.log");
  struct zf_map m;
  ck_assert_int_le(zf_log_record_size(1), 64);
  write_log(path, 1, 7);
  ck_ok(zf_map_open(&m, path));
  ck_assert_int_eq((int64_t)m.len, HEAD + 7 * zf_log_record_size(1));
  zf_map_close(&m);
}
END_TEST

/* Reads a log of these bytes to its end: 0, or the code of what was found. */
static int read_all(const void *data, size_t len) {
  struct zf_log_head head;
  struct zf_log_reader *r;
  struct zf_log_step step;
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  zf_error_clear();
  int rc = zf_log_parse(&r, data, len, "read.log", &head), more = 1;
  if (rc) return rc;
  while (!rc && more) rc = zf_log_next(r, &step, probe, &more);
  zf_log_reader_free(r);
  return rc;
}

static unsigned char *log_bytes(int probes, int steps, size_t *len) {
  const char *path = tmp_path("bytes.log");
  char *text;
  write_log(path, probes, steps);
  ck_ok(zf_read_file(&text, len, path, 1 << 20));
  return (unsigned char *)text;
}

static void check_named(size_t byte, size_t record) {
  char name[40];
  snprintf(name, sizeof name, "record %zu ", (byte - HEAD) / record + 1);
  ck_assert_msg(strstr(zf_error_message(), name) != NULL, "byte %zu: '%s' lacks '%s'", byte,
                zf_error_message(), name);
}

START_TEST(test_every_flip) {
  size_t len, record = (size_t)zf_log_record_size(1);
  unsigned char *d = log_bytes(1, 3, &len);
  ck_assert_int_eq(read_all(d, len), 0);
  for (size_t i = 0; i < len * 8; i++) {
    d[i / 8] ^= (unsigned char)(1 << i % 8);
    ck_assert_msg(read_all(d, len) == ZF_EINVALID, "bit %zu of byte %zu", i % 8, i / 8);
    if (i / 8 >= HEAD) check_named(i / 8, record);
    d[i / 8] ^= (unsigned char)(1 << i % 8);
  }
  free(d);
}
END_TEST

START_TEST(test_every_tear) {
  size_t len, record = (size_t)zf_log_record_size(2);
  unsigned char *d = log_bytes(2, 2, &len);
  for (size_t n = 0; n < len; n++) {
    int whole = n >= HEAD && (n - HEAD) % record == 0;
    ck_assert_int_eq(read_all(d, n), whole ? 0 : ZF_EINVALID);
    if (whole) continue;
    ck_assert(strstr(zf_error_message(), n < HEAD ? "too short" : "is torn") != NULL);
    if (n >= HEAD) check_named(n, record);
  }
  free(d);
}
END_TEST

START_TEST(test_out_of_order) {
  size_t len, record = (size_t)zf_log_record_size(1);
  unsigned char *d = log_bytes(1, 3, &len), *second = d + HEAD + record;
  memmove(second, second + record, record);
  ck_assert_int_eq(read_all(d, len), ZF_EINVALID);
  ck_assert(strstr(zf_error_message(), "record 2 is of step 3") != NULL);
  free(d);
}
END_TEST

/* A header that is whole but not of this program, or makes no sense. */
START_TEST(test_headers) {
  static const struct {
    size_t at;
    unsigned char byte;
    const char *part;
  } bad[] = {
      {0, 'Z', "is not a step log"}, {8, 2, "version 2"},
      {12, 161, "version 1"},        {52, 3, "noise 3"},
      {16, 53, "makes no sense"},    {20, 0, "makes no sense"},
      {21, 2, "makes no sense"},     {48, 9, "makes no sense"},
      {39, 0xff, "makes no sense"},  {39, 0x7f, ""},
  };
  size_t len;
  unsigned char *d = log_bytes(1, 1, &len), head[HEAD];
  memcpy(head, d, HEAD);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memcpy(d, head, HEAD);
    d[bad[i].at] = bad[i].byte;
    uint32_t crc = zf_crc32c(0, d, HEAD - 4);
    for (int k = 0; k < 4; k++) d[HEAD - 4 + k] = (unsigned char)(crc >> 8 * k);
    ck_assert_msg(read_all(d, len) == ZF_EINVALID, "case %zu", i);
    ck_assert_msg(strstr(zf_error_message(), bad[i].part) != NULL, "%s", zf_error_message());
  }
  free(d);
}
END_TEST

START_TEST(test_cannot_write) {
  struct zf_log_head head = a_head(1);
  struct zf_log *l;
  struct zf_log_reader *r;
  ck_fails(zf_log_create(&l, tmp_path("no/such/dir.log"), &head), ZF_EIO, "cannot create");
  ck_fails(zf_log_open(&r, tmp_path("absent.log"), &head), ZF_EUSAGE, "absent.log");
  if (!zf_exists("/dev/full")) return;
  ck_fails(zf_log_create(&l, "/dev/full", &head), ZF_EIO, "cannot write");
}
END_TEST

/* --- replay --- */

static void run_steps(struct zf_model *m, const char *path, const struct zf_log_head *head, int n) {
  struct text x;
  struct zf_log *l;
  struct zf_zo_probe probe[4];
  text_init(&x, m, 8);
  ck_ok(zf_log_create(&l, path, head));
  for (int i = 1; i <= n; i++) {
    struct zf_log_step step = {(uint32_t)i, 3e-4 / (1 + i), (uint64_t)i};
    ck_ok(zf_zo_estimate(probe, &head->zo, step.step, text_loss, &x));
    ck_ok(zf_log_append(l, &step, probe));
    zf_zo_update(&m->params, &head->zo, step.step, probe, step.lr, head->decay);
  }
  ck_ok(zf_log_close(l));
  zf_forward_free(x.f);
}

static void replay(struct zf_model *m, const char *path) {
  struct zf_log_head head;
  struct zf_log_reader *r;
  struct zf_log_step step;
  struct zf_zo_probe probe[ZF_ZO_MAXPROBES];
  int more = 1;
  ck_ok(zf_log_open(&r, path, &head));
  for (;;) {
    ck_ok(zf_log_next(r, &step, probe, &more));
    if (!more) break;
    zf_zo_update(&m->params, &head.zo, step.step, probe, step.lr, head.decay);
  }
  zf_log_reader_free(r);
}

START_TEST(test_replay) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_family(4, "*proj*", _i), *b = open_family(4, "*proj*", _i);
  struct zf_log_head head = {.zo = {.seed = 99, .eps = 1e-3, .probes = 2}, .decay = 0.05};
  char start[33], ran[33], again[33];
  ck_ok(zf_model_hash(b, start));
  run_steps(a, path, &head, 12);
  zf_kern_threads(2); /* the weights do not depend on it */
  replay(b, path);
  ck_ok(zf_model_hash(a, ran));
  ck_ok(zf_model_hash(b, again));
  ck_assert_str_ne(ran, start);
  ck_assert_str_eq(ran, again);
  zf_model_free(a);
  zf_model_free(b);
}
END_TEST

int main(void) {
  Suite *s = suite_create("steplog");
  TCase *t = tcase_create("steplog");
  begin_kernels();
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_round_trip, 0, 3);
  tcase_add_test(t, test_size);
  tcase_add_test(t, test_every_flip);
  tcase_add_test(t, test_every_tear);
  tcase_add_test(t, test_out_of_order);
  tcase_add_test(t, test_headers);
  tcase_add_test(t, test_cannot_write);
  tcase_add_loop_test(t, test_replay, ZF_F32, ZF_BF16 + 1);
  suite_add_tcase(s, t);
  return unit_run(s);
}
