/* The step log: what is written comes back, no damage goes unseen, and the weights of a run
 * follow from its log. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/hash.h"
#include "train/replay.h"
#include "unit/models.h"
#include "unit/zo_steps.h"

enum { HEAD = 168 }; /* with the globs of a_head: 156 + 7, rounded up, and the checksum */

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
      .tok = "fedcba9876543210fedcba9876543210",
      .trained = ZF_F24,
      .others = -1,
      .globs = "*mlp*\n*",
  };
}

static int64_t record_size(int probes) {
  return zf_log_record_size(&(struct zf_zo){.probes = probes});
}

static struct zf_log_rec a_step(int i) {
  return (struct zf_log_rec){.step = (uint32_t)i,
                             .lr = 1e-4 / i,
                             .batch = 0x123456789aULL * (uint64_t)i,
                             .seed = 0x8877665544332211ULL + (uint64_t)i};
}

/* Behind every second step. */
static struct zf_log_rec a_mark(int i) {
  return (struct zf_log_rec){.kind = ZF_LOG_MARK,
                             .step = (uint32_t)i,
                             .hash = "ab54a98ceb1f0ad2ab54a98ceb1f0ad2",
                             .result = (uint64_t)i / 2};
}

/* The losses and the terms of step i, for records of `probes` probes. */
static void fill_estimate(const struct zf_zo_estimate *estimate, int probes, int i) {
  struct zf_zo zo = {.probes = probes};
  for (int p = 0; p < probes; p++) {
    estimate->loss[2 * p] = 1.5 / (i + p);
    estimate->loss[2 * p + 1] = -2.25 * i;
    set_term(estimate, &zo, (uint32_t)i, p, p ? 1e-300 * p : -0.0);
  }
}

static void write_log(const char *path, int probes, int steps) {
  struct zf_log_head head = a_head(probes);
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  struct zf_log *l;
  ck_ok(zf_log_create(&l, path, &head));
  for (int i = 1; i <= steps; i++) {
    struct zf_log_rec step = a_step(i), mark = a_mark(i);
    fill_estimate(&estimate, probes, i);
    ck_ok(zf_log_append(l, &step, &estimate));
    if (i % 2 == 0) ck_ok(zf_log_append(l, &mark, NULL));
  }
  ck_ok(zf_log_close(l));
  free_estimate(&estimate);
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
  ck_assert_str_eq(a->tok, b->tok);
  ck_assert_str_eq(a->globs, b->globs);
  ck_assert_int_eq(a->trained, b->trained);
  ck_assert_int_eq(a->others, b->others);
  ck_assert_int_eq(a->blocks, b->blocks);
}

/* The word at byte 136 says what of a GGUF base was trained; another word is refused. */
START_TEST(test_blocks) {
  static const char *const words[] = {"f24", "scales", "integers"};
  const char *path = tmp_path("blocks.log");
  struct zf_log_head want = a_head(1), head;
  struct zf_log_reader *reader;
  struct zf_log *log;
  char *bytes, word[9] = {0};
  want.blocks = _i;
  if (_i) want.trained = ZF_F32;
  ck_ok(zf_log_create(&log, path, &want));
  ck_ok(zf_log_close(log));
  ck_ok(zf_read_file(&bytes, NULL, path, 1 << 20));
  memcpy(word, bytes + 136, 8);
  ck_assert_str_eq(word, words[_i]);
  free(bytes);
  ck_ok(zf_log_open(&reader, path, &head));
  check_head(&want, &head);
  zf_log_reader_free(reader);
}
END_TEST

START_TEST(test_round_trip) {
  static const int probes[] = {1, 3, ZF_ZO_MAXPROBES};
  int q = probes[_i], more = 1;
  const char *path = tmp_path("steps.log");
  struct zf_log_head want = a_head(q), head;
  struct zf_log_reader *r;
  struct zf_log_rec step;
  struct zf_zo_estimate got = new_estimate(&want.zo), put = new_estimate(&want.zo);
  write_log(path, q, 5);
  ck_ok(zf_log_open(&r, path, &head));
  check_head(&head, &want);
  for (int i = 1; i <= 5; i++) {
    struct zf_log_rec s = a_step(i), k = a_mark(i);
    ck_ok(zf_log_next(r, &step, &got, &more));
    ck_assert_int_eq(more, 1);
    ck_assert(step.kind == ZF_LOG_STEP && step.step == s.step && step.lr == s.lr);
    ck_assert(step.batch == s.batch && step.seed == s.seed);
    fill_estimate(&put, q, i);
    ck_assert_mem_eq(got.loss, put.loss, 2 * (size_t)q * sizeof *got.loss);
    ck_assert_mem_eq(got.term, put.term, (size_t)q * sizeof *got.term);
    if (i % 2) continue;
    ck_ok(zf_log_next(r, &step, NULL, &more));
    ck_assert(more && step.kind == ZF_LOG_MARK && step.step == k.step && step.result == k.result);
    ck_assert_str_eq(step.hash, k.hash);
  }
  ck_ok(zf_log_next(r, &step, &got, &more));
  ck_assert_int_eq(more, 0);
  free_estimate(&got);
  free_estimate(&put);
  zf_log_reader_free(r);
}
END_TEST

/* A new head stands in the header; other logs are as they were. */
START_TEST(test_new_head) {
  struct zf_log_head want = a_head(1), head;
  const char *path = tmp_path("head.log");
  struct zf_log *l;
  struct zf_log_reader *r;
  want.labels = 3;
  want.problem = ZF_PROBLEM_MULTI;
  want.head_seed = 0x123456789abcULL;
  ck_assert_int_eq(zf_log_head_size(&want), HEAD + 16);
  ck_ok(zf_log_create(&l, path, &want));
  ck_ok(zf_log_close(l));
  ck_ok(zf_log_open(&r, path, &head));
  ck_assert(head.labels == 3 && head.problem == ZF_PROBLEM_MULTI &&
            head.head_seed == want.head_seed);
  ck_assert_str_eq(head.globs, want.globs);
  zf_log_reader_free(r);
  want.labels = (1 << 24) + 1;
  ck_ok(zf_log_create(&l, path, &want));
  ck_ok(zf_log_close(l));
  ck_fails(zf_log_open(&r, path, &head), ZF_EINVALID, "head.log");
}
END_TEST

START_TEST(test_size) {
  const char *path = tmp_path("size.log");
  struct zf_map m;
  ck_assert_int_le(record_size(1), 64);
  write_log(path, 1, 7);
  ck_ok(zf_map_open(&m, path));
  ck_assert_int_eq((int64_t)m.len, HEAD + 10 * record_size(1));
  zf_map_close(&m);
}
END_TEST

/* Reads a log of these bytes to its end: 0, or the code of what was found. */
static int read_all(const void *data, size_t len) {
  struct zf_log_head head;
  struct zf_log_reader *r;
  struct zf_log_rec step;
  zf_error_clear();
  int rc = zf_log_parse(&r, data, len, "read.log", &head), more = 1;
  if (rc) return rc;
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  while (!rc && more) rc = zf_log_next(r, &step, &estimate, &more);
  free_estimate(&estimate);
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
  size_t len, record = (size_t)record_size(1);
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
  size_t len, record = (size_t)record_size(2);
  unsigned char *d = log_bytes(2, 2, &len);
  for (size_t n = 0; n < len; n++) {
    int whole = n >= HEAD && (n - HEAD) % record == 0;
    ck_assert_int_eq(read_all(d, n), whole ? 0 : ZF_EINVALID);
    if (whole) continue;
    const char *what = n < 8 ? "is not a step log" : n < HEAD ? "too short" : "is torn";
    ck_assert_msg(strstr(zf_error_message(), what) != NULL, "%zu: %s", n, zf_error_message());
    if (n >= HEAD) check_named(n, record);
  }
  free(d);
}
END_TEST

START_TEST(test_out_of_order) {
  size_t len, record = (size_t)record_size(1);
  unsigned char *d = log_bytes(1, 1, &len), *e = log_bytes(1, 3, &len), *second = e + HEAD + record;
  free(d);
  memmove(second, second + 2 * record, record); /* step, step, mark, step */
  ck_assert_int_eq(read_all(e, len), ZF_EINVALID);
  ck_assert(strstr(zf_error_message(), "record 2 at byte 228 is of step 3") != NULL);
  free(e);
}
END_TEST

/* The end of a log: torn when nothing good follows, damaged when something does, wherever it lies;
 * the steps before are there. */
START_TEST(test_ends) {
  static const struct {
    size_t flip, cut, drop; /* byte flipped, bytes cut at the end, first byte of ten left out */
    enum zf_log_end end;
    int64_t n;
  } kind[] = {
      {0, 0, 0, ZF_LOG_WHOLE, 5},
      {0, 1, 0, ZF_LOG_TORN, 4},
      {0, 60, 0, ZF_LOG_WHOLE, 4},
      {0, 70, 0, ZF_LOG_TORN, 4},
      {HEAD + 6 * 60 + 5, 0, 0, ZF_LOG_TORN, 4},
      {HEAD + 5, 0, 0, ZF_LOG_DAMAGED, 0},
      {HEAD + 60 + 59, 0, 0, ZF_LOG_DAMAGED, 1},
      {0, 0, HEAD + 100, ZF_LOG_DAMAGED, 1},
      {0, 0, HEAD + 370, ZF_LOG_TORN, 4},
  };
  for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
    size_t len;
    unsigned char *d = log_bytes(1, 5, &len); /* 5 steps, 2 marks */
    struct zf_history h;
    const char *path = tmp_path("end.log");
    if (kind[i].flip) d[kind[i].flip] ^= 16;
    len -= kind[i].cut;
    if (kind[i].drop) {
      memmove(d + kind[i].drop, d + kind[i].drop + 10, len - kind[i].drop - 10);
      len -= 10;
    }
    ck_ok(zf_write_file(path, d, len));
    ck_ok(zf_history_load(&h, path));
    ck_assert_msg(h.end == kind[i].end, "case %zu: %d", i, h.end);
    ck_assert_int_eq(h.count, kind[i].n);
    ck_assert_int_eq(h.end != ZF_LOG_WHOLE, h.problem[0] != 0);
    ck_ok(zf_history_reach(&h, h.count));
    ck_fails(zf_history_reach(&h, h.count + 1), h.end ? ZF_EINVALID : ZF_EUSAGE,
             h.end ? "steps before it are whole" : "steps, not");
    zf_history_free(&h);
    free(d);
  }
}
END_TEST

/* What is cut and written again is as if nothing had been; a second writer is refused. */
START_TEST(test_reopen) {
  const char *path = tmp_path("reopen.log"), *whole = tmp_path("whole.log");
  struct zf_log_head head = a_head(1);
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  struct zf_history h;
  struct zf_log *l, *second;
  char a[33], b[33];
  write_log(whole, 1, 6);
  write_log(path, 1, 4); /* ends in a mark, which is cut */
  ck_ok(zf_history_load(&h, path));
  ck_assert_int_eq(h.size, HEAD + 5 * 60);
  ck_assert_uint_eq(h.id, zf_log_head_id(&head));
  ck_ok(zf_log_reopen(&l, path, &head, h.size));
  ck_fails(zf_log_reopen(&second, path, &head, h.size), ZF_EIO, "another process writes it");
  for (int i = 4; i <= 6; i++) {
    struct zf_log_rec step = a_step(i), mark = a_mark(i);
    fill_estimate(&estimate, 1, i);
    if (i > 4) ck_ok(zf_log_append(l, &step, &estimate));
    if (i % 2 == 0) ck_ok(zf_log_append(l, &mark, NULL));
  }
  ck_ok(zf_log_close(l));
  free_estimate(&estimate);
  ck_ok(zf_hash_file(a, path));
  ck_ok(zf_hash_file(b, whole));
  ck_assert_str_eq(a, b);
  zf_history_free(&h);
}
END_TEST

/* Numbers that are not finite never lead to weights. */
START_TEST(test_not_finite) {
  static const size_t at[] = {16, 32, 40, 48};
  size_t len;
  unsigned char *d = log_bytes(1, 1, &len);
  uint32_t id = zf_crc32c(0, d, HEAD - 4);
  for (size_t i = 0; i < 4; i++) {
    unsigned char *r = d + HEAD, old[8];
    memcpy(old, r + at[i], 8);
    memset(r + at[i], 0xff, 8);
    uint32_t crc = zf_crc32c(id, r, 56);
    memcpy(r + 56, &crc, 4);
    ck_assert_int_eq(read_all(d, len), ZF_EINVALID);
    ck_assert(strstr(zf_error_message(), "not finite") != NULL);
    memcpy(r + at[i], old, 8);
  }
  free(d);
}
END_TEST

/* A header that is whole but of another version, or has a field out of range. */
START_TEST(test_headers) {
  static const struct {
    size_t at;
    unsigned char byte;
    const char *part;
  } bad[] = {
      {0, 'Z', "is not a step log"},
      {8, 1, "version 1"},
      {8, 3, "a field out of range"},
      {8, 4, "a field out of range"},
      {8, 5, "a field out of range"},
      {8, 6, "version 6"},
      {12, 169, "its size"},
      {12, 164, "checksum"},
      {52, 3, "noise 3"},
      {16, 53, "a field out of range"},
      {20, 0, "a field out of range"},
      {21, 2, "a field out of range"},
      {48, 9, "a field out of range"},
      {39, 0xff, "a field out of range"},
      {39, 0x7f, ""},
      {47, 0x7f, "a field out of range"},
      {136, 'x', "a field out of range"},
      {144, 'x', "a field out of range"},
      {152, 3, "a field out of range"},
      {152, 9, "a field out of range"},
      {153, 255, "a field out of range"},
      {157, 0, "a field out of range"},
  };
  size_t len;
  unsigned char *d = log_bytes(1, 1, &len), head[HEAD];
  memcpy(head, d, HEAD);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memcpy(d, head, HEAD);
    d[bad[i].at] = bad[i].byte;
    if (bad[i].at == 47) d[46] = 0xf0; /* an infinite decay */
    uint32_t crc = zf_crc32c(0, d, HEAD - 4);
    for (int k = 0; k < 4; k++) d[HEAD - 4 + k] = (unsigned char)(crc >> 8 * k);
    ck_assert_msg(read_all(d, len) == ZF_EINVALID, "case %zu", i);
    ck_assert_msg(strstr(zf_error_message(), bad[i].part) != NULL, "%zu: %s", i,
                  zf_error_message());
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
}
END_TEST

/* A disk that is full in the middle of a record: an error, and whole records stay. */
START_TEST(test_full) {
  const char *path = tmp_path("full.log");
  struct zf_log_head head = a_head(1);
  struct zf_log_rec step = a_step(1), next = a_step(2);
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  struct zf_history h;
  struct zf_log *l;
  struct rlimit was, limit;
  fill_estimate(&estimate, 1, 1);
  signal(SIGXFSZ, SIG_IGN);
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
  limit = was;
  limit.rlim_cur = HEAD + 60 + 30;
  ck_ok(zf_log_create(&l, path, &head));
  /* Check writes its messages to a file: none while the limit stands. */
  int set = setrlimit(RLIMIT_FSIZE, &limit), first = zf_log_append(l, &step, &estimate);
  int second = zf_log_append(l, &next, &estimate);
  set |= setrlimit(RLIMIT_FSIZE, &was);
  ck_assert(set == 0 && first == 0 && second == ZF_EIO);
  ck_assert(strstr(zf_error_message(), "cannot write: File too large") != NULL);
  ck_ok(zf_history_load(&h, path));
  ck_assert(h.count == 1 && h.end == ZF_LOG_WHOLE);
  zf_history_free(&h);
  ck_ok(zf_log_append(l, &next, &estimate)); /* and goes on where there is room again */
  ck_ok(zf_log_close(l));
  free_estimate(&estimate);
  ck_ok(zf_history_load(&h, path));
  ck_assert(h.count == 2 && h.end == ZF_LOG_WHOLE);
  zf_history_free(&h);
}
END_TEST

/* --- replay --- */

enum { STEPS = 12 };

static struct zf_log_head run_head(const struct zf_model *m, int dtype) {
  struct zf_log_head head = {.zo = {.seed = 99, .eps = 1e-3, .probes = 2},
                             .decay = 0.05,
                             .trained = dtype,
                             .others = dtype == ZF_F24 ? -1 : dtype,
                             .globs = "*proj*"};
  ck_ok(zf_model_hash(m, head.base));
  return head;
}

/* The weights after every step, as hashes; the seed changes on the way, as in a branch. */
static void run_steps(struct zf_model *m, const char *path, const struct zf_log_head *head,
                      char hash[STEPS + 1][33]) {
  struct text x;
  struct zf_log *l;
  struct zf_zo zo = head->zo;
  struct zf_zo_estimate estimate = new_estimate(&zo);
  text_init(&x, m, 8);
  ck_ok(zf_log_create(&l, path, head));
  ck_ok(zf_model_hash(m, hash[0]));
  for (int i = 1; i <= STEPS; i++) {
    zo.seed = head->zo.seed + (i > 5);
    struct zf_log_rec step = {
        .step = (uint32_t)i, .seed = zo.seed, .lr = 3e-4 / (1 + i), .batch = (uint64_t)i};
    zf_zo_close(&m->params);
    ck_ok(zf_zo_open(&m->params, &zo));
    ck_ok(zf_zo_estimate(&m->params, step.step, step.lr, text_loss, &x, &estimate));
    ck_ok(zf_log_append(l, &step, &estimate));
    update_step(&m->params, &zo, step.step, &estimate, step.lr, head->decay);
    ck_ok(zf_model_hash(m, hash[i]));
    struct zf_log_rec mark = {.kind = ZF_LOG_MARK, .step = (uint32_t)i};
    memcpy(mark.hash, hash[i], 33);
    if (i % 4 == 0) ck_ok(zf_log_append(l, &mark, NULL));
  }
  ck_ok(zf_log_close(l));
  zf_zo_close(&m->params);
  free_estimate(&estimate);
  zf_forward_free(x.f);
}

static struct zf_model *open_proj(int dtype) {
  return open_family(4, "*proj*", dtype);
}

/* Tile by tile, all steps at once or in two parts, on any number of threads: the run's bits. */
START_TEST(test_replay) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_proj(_i), *b;
  struct zf_log_head head = run_head(a, _i);
  struct zf_history h;
  char hash[STEPS + 1][33], now[33];
  head.others = _i;
  run_steps(a, path, &head, hash);
  ck_assert_str_ne(hash[0], hash[STEPS]);
  ck_ok(zf_history_load(&h, path));
  ck_assert_int_eq(h.count, STEPS);
  for (int threads = 1; threads <= 3; threads += 2)
    for (int cut = 0; cut <= STEPS; cut += 3) {
      zf_kern_threads(threads);
      b = open_proj(_i);
      ck_ok(zf_replay_check_base(b, &h));
      ck_ok(zf_replay_steps(b, &h, 0, cut, NULL));
      ck_ok(zf_model_hash(b, now));
      ck_assert_str_eq(now, hash[cut]);
      ck_ok(zf_replay_to(b, &h, NULL, STEPS, NULL, NULL, NULL));
      ck_ok(zf_model_hash(b, now));
      ck_assert_str_eq(now, hash[STEPS]);
      zf_model_free(b);
    }
  zf_history_free(&h);
  zf_model_free(a);
}
END_TEST

/* A mark that is not what replay gives is an error; so is another base model. */
START_TEST(test_replay_checks) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_proj(ZF_F32);
  struct zf_log_head head = run_head(a, ZF_F32);
  struct zf_history h;
  char hash[STEPS + 1][33];
  run_steps(a, path, &head, hash);
  ck_ok(zf_history_load(&h, path));
  ck_ok(zf_replay_to(a, &h, NULL, 4, NULL, NULL, NULL));
  h.mark[0].hash[3] ^= 1;
  ck_fails(zf_replay_to(a, &h, NULL, 4, NULL, NULL, NULL), ZF_EINVALID, "where the log has");
  ck_fails(zf_replay_check_base(a, &h), ZF_EINVALID, "is not the base model of");
  zf_history_free(&h);
  zf_model_free(a);
}
END_TEST

/* Means, against sums over the weights of every step; scale and drop, against steps that were
 * changed by hand.  A mean of n <= 13 doubles is rounded to float once: half an ulp and a little.
 */
static void check_mean(const struct zf_history *h, const struct zf_replay_opts *o, int from, int to,
                       double start, double keep, const double *add) {
  struct zf_model *a = open_proj(ZF_F32), *b = open_proj(ZF_F32);
  const struct zf_param *p = NULL, *q = NULL;
  for (int64_t i = 0; i < a->params.count && !p; i++)
    if (a->params.param[i].trained) p = &a->params.param[i], q = &b->params.param[i];
  double *m = calloc((size_t)p->count, sizeof *m);
  ck_ok(zf_replay_steps(a, h, 0, from, NULL));
  ck_ok(zf_replay_steps(b, h, 0, from, NULL));
  for (int64_t e = 0; e < p->count; e++) m[e] = start * (double)((float *)p->data)[e];
  for (int t = from + 1; t <= to; t++) {
    ck_ok(zf_replay_steps(a, h, t - 1, t, NULL));
    for (int64_t e = 0; e < p->count; e++)
      m[e] = keep * m[e] + add[t] * (double)((float *)p->data)[e];
  }
  ck_ok(zf_replay_steps(b, h, from, to, o));
  for (int64_t e = 0; e < p->count; e++)
    ck_assert(fabs((double)((float *)q->data)[e] - m[e]) <= fabs(m[e]) * 0x1.01p-24 + 0x1p-149);
  free(m);
  zf_model_free(a);
  zf_model_free(b);
}

START_TEST(test_means) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_proj(ZF_F32);
  struct zf_log_head head = run_head(a, ZF_F32);
  struct zf_history h;
  char hash[STEPS + 1][33];
  double add[STEPS + 1] = {0};
  run_steps(a, path, &head, hash);
  ck_ok(zf_history_load(&h, path));
  struct zf_replay_opts avg = {.average_from = 3, .average_to = 9}, ema = {.ema = 0.75};
  for (int t = 3; t <= 9; t++) add[t] = 1.0 / 7;
  check_mean(&h, &avg, 0, 9, 0, 1, add);
  check_mean(&h, &avg, 3, 9, 1.0 / 7, 1, add);
  for (int t = 1; t <= STEPS; t++) add[t] = 0.25;
  check_mean(&h, &ema, 0, STEPS, 1, 0.75, add);
  zf_history_free(&h);
  zf_model_free(a);
}
END_TEST

START_TEST(test_scale_and_drop) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_proj(_i), *b = open_proj(_i);
  struct zf_log_head head = run_head(a, _i);
  struct zf_history h;
  char hash[STEPS + 1][33], x[33], y[33];
  struct zf_replay_opts o = {.scale = 0.5, .drop_from = 4, .drop_to = 6};
  run_steps(a, path, &head, hash);
  ck_ok(zf_history_load(&h, path));
  ck_ok(zf_replay_steps(b, &h, 0, STEPS, &o));
  zf_model_reset(a);
  for (int t = 1; t <= STEPS; t++) {
    h.step[t - 1].lr *= 0.5;
    if (t < 4 || t > 6) ck_ok(zf_replay_steps(a, &h, t - 1, t, NULL));
  }
  ck_ok(zf_model_hash(a, x));
  ck_ok(zf_model_hash(b, y));
  ck_assert_str_eq(x, y);
  zf_history_free(&h);
  zf_model_free(a);
  zf_model_free(b);
}
END_TEST

/* A gradient that is finite and far too large: the weights that come of it are told, not written. */
START_TEST(test_huge) {
  const char *path = tmp_path("run.log");
  struct zf_model *a = open_proj(ZF_F32);
  struct zf_log_head head = run_head(a, ZF_F32);
  struct zf_history h;
  char hash[STEPS + 1][33];
  run_steps(a, path, &head, hash);
  ck_ok(zf_history_load(&h, path));
  zf_model_reset(a);
  h.term[2 * head.zo.probes].coefficient = 1e60;
  ck_ok(zf_replay_steps(a, &h, 0, STEPS, NULL));
  ck_fails(zf_model_finite(a, path), ZF_EDIVERGED, "run.log: ");
  ck_fails(zf_model_save(a, tmp_path("huge"), -1, NULL, 0), ZF_EDIVERGED, "are not finite numbers");
  zf_history_free(&h);
  zf_model_free(a);
}
END_TEST

/* A saved state is used when it is of this log and step and its weights are what they were. */
START_TEST(test_states) {
  const char *path = tmp_path("run.log"), *dir = tmp_path("dir");
  char key[600], other[600], hash[STEPS + 1][33], now[33], *text;
  struct zf_model *a = open_proj(_i);
  struct zf_log_head head = run_head(a, _i);
  struct zf_history h;
  struct zf_provenance_text t;
  int64_t from;
  size_t len;
  run_steps(a, path, &head, hash);
  ck_ok(zf_history_load(&h, path));
  snprintf(key, sizeof key, "%s/keyframes", dir);
  ck_ok(zf_mkdirs(key));
  snprintf(key, sizeof key, "%s/keyframes/step-8.safetensors", dir);
  snprintf(other, sizeof other, "%s/keyframes/step-9.safetensors", dir);
  ck_ok(zf_replay_to(a, &h, NULL, 8, NULL, NULL, NULL));
  struct zf_provenance stamp = {.log = h.id, .step = 8};
  memcpy(stamp.hash, hash[8], 33);
  zf_provenance_pairs(&t, &stamp);
  ck_ok(zf_model_save_trained(a, key, t.pair, ZF_PROVENANCE_PAIRS));
  ck_ok(zf_copy_file(key, other)); /* of another step */
  ck_fails(zf_provenance_load(a, other, &h, 9), ZF_EINVALID,
           "is not a state of step 9 of this run");
  zf_model_reset(a);
  ck_ok(zf_replay_to(a, &h, dir, 11, &from, NULL, NULL));
  ck_assert_int_eq(from, 8);
  ck_ok(zf_model_hash(a, now));
  ck_assert_str_eq(now, hash[11]);
  ck_ok(zf_read_file(&text, &len, key, 1 << 24));
  for (int k = 0; k < 200; k++) { /* any flip: another start, never other weights */
    size_t bit = ((size_t)k * 2654435761u) % (len * 8);
    text[bit / 8] ^= (char)(1 << bit % 8);
    ck_ok(zf_write_file(key, text, len));
    ck_ok(zf_replay_to(a, &h, dir, 11, &from, NULL, NULL));
    ck_ok(zf_model_hash(a, now));
    ck_assert_msg(!strcmp(now, hash[11]), "bit %zu", bit);
    text[bit / 8] ^= (char)(1 << bit % 8);
  }
  free(text);
  zf_history_free(&h);
  zf_model_free(a);
}
END_TEST

int main(void) {
  Suite *s = suite_create("steplog");
  TCase *t = tcase_create("steplog");
  begin_kernels();
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_blocks, 0, 3);
  tcase_add_loop_test(t, test_round_trip, 0, 3);
  tcase_add_test(t, test_new_head);
  tcase_add_test(t, test_size);
  tcase_add_test(t, test_every_flip);
  tcase_add_test(t, test_every_tear);
  tcase_add_test(t, test_out_of_order);
  tcase_add_test(t, test_headers);
  tcase_add_test(t, test_cannot_write);
  tcase_add_test(t, test_full);
  tcase_add_test(t, test_ends);
  tcase_add_test(t, test_reopen);
  tcase_add_test(t, test_not_finite);
  tcase_add_loop_test(t, test_replay, ZF_F32, ZF_DTYPES);
  tcase_add_test(t, test_replay_checks);
  tcase_add_test(t, test_means);
  tcase_add_test(t, test_huge);
  tcase_add_loop_test(t, test_scale_and_drop, ZF_F32, ZF_DTYPES);
  tcase_add_loop_test(t, test_states, ZF_F32, ZF_DTYPES);
  suite_add_tcase(s, t);
  return unit_run(s);
}
