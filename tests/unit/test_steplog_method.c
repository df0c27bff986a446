/* Logs of version 5, those of a method: what is written comes back, each byte is where steplog.h says, no
 * damage goes unseen, and a header that makes no sense is refused. */
#include <math.h>

#include "base/file.h"
#include "base/hash.h"
#include "peft/adapter.h"
#include "train/history.h"
#include "unit/log_numbers.h"
#include "unit/zo_steps.h"

enum { PROBES = 2, STEPS = 5, TEXT = 164 /* 156 and the globs, rounded up */ };

#define ZO .seed = 5, .eps = 1e-3, .probes = PROBES, .beta1 = 0.9, .beta2 = 0.999, .adam_eps = 1e-8

/* A row of each table, with the losses and the bytes of terms of a step. */
static const struct {
  struct zf_zo zo;
  int64_t losses, terms;
} kinds[] = {
    {{ZO, .form = ZF_FORM_SPHERE}, 4, 2 * 8},
    {{ZO, .form = ZF_FORM_SMALL, .keep = 0.25}, 4, 2 * 8},
    {{ZO, .form = ZF_FORM_RANDOM, .keep = 0.5}, 4, 2 * 8},
    {{ZO, .form = ZF_FORM_LOW_RANK, .rank = 4, .refresh = 50}, 4, 2 * 8},
    {{ZO, .form = ZF_FORM_SUBSPACE, .rank = 8, .refresh = 1000}, 4, 2 * 8},
    {{ZO, .form = ZF_FORM_BLOCKS}, 4, 2 * 8},
    {{.eps = 1e-3, .probes = 1, .beta1 = 0.9, .form = ZF_FORM_CONE, .cone = 0.5}, 2, 41 * 16},
    {{ZO, .form = ZF_FORM_SCALED, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = 1e-6}, 5, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_ONE_SIDED}, 3, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_ONE_SIDED, .examples = 3}, 3, 6 * 4},
    {{ZO, .difference = ZF_DIFFERENCE_BATCHED}, 3, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_CURVATURE, .alpha = 0.5}, 5, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_BAYES}, 4, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_ANCHOR, .refresh = 4}, 8, 4 * 16},
    {{ZO, .difference = ZF_DIFFERENCE_POPULATION}, 4, 2 * 8},
    {{ZO, .difference = ZF_DIFFERENCE_CONSERVATIVE}, 7, 2 * 8},
    {{ZO, .rule = ZF_RULE_MOMENTUM}, 4, 2 * 8},
    {{ZO, .rule = ZF_RULE_MOMENTUM, .examples = 3}, 4, 6 * 4},
    {{ZO, .rule = ZF_RULE_ADAM, .window = 44}, 4, 2 * 8},
    {{ZO, .rule = ZF_RULE_ADAMM}, 4, 2 * 8},
    {{ZO, .rule = ZF_RULE_SIGN}, 4, 2 * 8},
    {{ZO, .rule = ZF_RULE_MUON}, 4, 2 * 8},
    {{ZO, .rule = ZF_RULE_TRUST, .trust = 1e-3}, 4, 2 * 8},
    {{ZO, .clip = 3}, 4, 2 * 8},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct zf_log_head head_of(int kind, int adapter, int new_head) {
  struct zf_log_head head = {.zo = kinds[kind].zo,
                             .kernels = "f32",
                             .base = "00112233445566778899aabbccddeeff",
                             .data = "ffeeddccbbaa99887766554433221100",
                             .config = "0123456789abcdef0123456789abcdef",
                             .tok = "fedcba9876543210fedcba9876543210",
                             .trained = ZF_F32,
                             .others = -1,
                             .globs = "*lora*"};
  if (adapter) {
    memcpy(head.adapter, "abababababababababababababababab", sizeof head.adapter);
    head.adapter_train = ZF_TRAIN_B;
  }
  if (new_head) {
    head.labels = 3;
    head.problem = ZF_PROBLEM_MULTI;
    head.head_seed = 77;
  }
  return head;
}

/* Numbers of all sizes; those of examples are floats. */
static double number_of(const struct zf_zo *zo, int step, int64_t i) {
  double x = i % 3 ? 1.5 / (step + (double)i) : -0.25 * step;
  return zo->examples ? (double)(float)x : x;
}

static void fill(const struct zf_zo_estimate *estimate, const struct zf_zo *zo, int step) {
  for (int64_t i = 0; i < zf_zo_losses(zo); i++) estimate->loss[i] = number_of(zo, step, i + 7);
  for (int64_t i = 0; i < zf_zo_terms(zo); i++) {
    set_term(estimate, zo, (uint32_t)step, i, number_of(zo, step, i));
    if (!zf_zo_explicit(zo)) continue;
    estimate->term[i].step = i % 2 ? 0x01020304u + (uint32_t)i : (uint32_t)step;
    estimate->term[i].probe = (uint16_t)(0x0506 + i);
  }
}

static void write_log(const char *path, const struct zf_log_head *head, int steps) {
  struct zf_zo_estimate estimate = new_estimate(&head->zo);
  struct zf_log *log;
  ck_ok(zf_log_create(&log, path, head));
  for (int i = 1; i <= steps; i++) {
    struct zf_log_rec step = {.step = (uint32_t)i, .seed = 5, .lr = 1e-3 / i, .batch = 7},
                      mark = {.kind = ZF_LOG_MARK,
                              .step = (uint32_t)i,
                              .hash = "ab54a98ceb1f0ad2ab54a98ceb1f0ad2"};
    fill(&estimate, &head->zo, i);
    ck_ok(zf_log_append(log, &step, &estimate));
    if (i % 2 == 0) ck_ok(zf_log_append(log, &mark, NULL));
  }
  ck_ok(zf_log_close(log));
  free_estimate(&estimate);
}

static unsigned char *log_bytes(const struct zf_log_head *head, int steps, size_t *len) {
  const char *path = tmp_path("bytes.log");
  char *text;
  write_log(path, head, steps);
  ck_ok(zf_read_file(&text, len, path, 1 << 20));
  return (unsigned char *)text;
}

static void check_zo(const struct zf_zo *got, const struct zf_zo *want) {
  ck_assert(got->seed == want->seed && got->eps == want->eps && got->probes == want->probes);
  ck_assert(got->examples == want->examples && got->rule == want->rule);
  ck_assert(got->beta1 == want->beta1 && got->beta2 == want->beta2);
  ck_assert(got->adam_eps == want->adam_eps && got->form == want->form);
  ck_assert(got->difference == want->difference && got->rank == want->rank);
  ck_assert(got->refresh == want->refresh && got->keep == want->keep);
  ck_assert(got->alpha == want->alpha && got->cone == want->cone && got->clip == want->clip);
  ck_assert(got->trust == want->trust && got->window == want->window && got->streams == 0);
}

START_TEST(test_round_trip) {
  const char *path = tmp_path("method.log");
  for (int more = 0; more < 4; more++) {
    struct zf_log_head want = head_of(_i, more & 1, more >> 1);
    struct zf_zo_estimate put = new_estimate(&want.zo);
    struct zf_history history;
    write_log(path, &want, STEPS);
    ck_ok(zf_history_load(&history, path));
    check_zo(&history.head.zo, &want.zo);
    ck_assert_str_eq(history.head.adapter, want.adapter);
    ck_assert_int_eq(history.head.adapter_train, want.adapter_train);
    ck_assert(history.head.labels == want.labels && history.head.head_seed == want.head_seed);
    ck_assert_str_eq(history.head.globs, want.globs);
    ck_assert(history.count == STEPS && history.nmark == 2 && history.end == ZF_LOG_WHOLE);
    ck_assert_uint_eq(history.id, zf_log_head_id(&want));
    for (int i = 1; i <= STEPS; i++) {
      struct zf_zo_estimate got = zf_history_estimate(&history, i);
      fill(&put, &want.zo, i);
      ck_assert_mem_eq(got.loss, put.loss, sizeof *got.loss * (size_t)zf_zo_losses(&want.zo));
      ck_assert_mem_eq(got.term, put.term, sizeof *got.term * (size_t)zf_zo_terms(&want.zo));
    }
    zf_history_free(&history);
    free_estimate(&put);
  }
}
END_TEST

/* The layout of steplog.h, byte for byte. */
START_TEST(test_layout) {
  struct zf_log_head head = head_of(_i, 0, 0);
  const struct zf_zo *zo = &head.zo;
  size_t len, size = TEXT + 80 + 24 + 40 + 4;
  int64_t record = 36 + 8 * kinds[_i].losses + kinds[_i].terms;
  unsigned char *data = log_bytes(&head, 1, &len), *method = data + TEXT, *rule = method + 104;
  ck_assert_int_eq(zf_log_record_size(zo), record);
  ck_assert_int_eq(zf_log_head_size(&head), (int64_t)size);
  ck_assert_uint_eq(len, size + (size_t)record);
  ck_assert_uint_eq(number(data + 8, 4), 5);
  ck_assert_uint_eq(number(data + 12, 4), size);
  ck_assert_uint_eq(number(data + 16, 4), (uint64_t)record);
  ck_assert_uint_eq(number(method, 4), (uint64_t)zo->form);
  ck_assert_uint_eq(number(method + 4, 4), (uint64_t)zo->difference);
  ck_assert_uint_eq(number(method + 8, 8), (uint64_t)zo->rank);
  ck_assert_uint_eq(number(method + 16, 8), (uint64_t)zo->refresh);
  ck_assert(number_f64(method + 24) == zo->keep && number_f64(method + 32) == zo->alpha);
  ck_assert(number_f64(method + 40) == zo->cone && number_f64(method + 48) == zo->clip);
  ck_assert(number_f64(method + 56) == zo->trust);
  ck_assert_uint_eq(number(method + 64, 4), (uint64_t)zo->window);
  for (int i = 68; i < 80 + 24; i++) ck_assert_uint_eq(method[i], 0); /* no adapter */
  ck_assert_uint_eq(number(rule, 8), (uint64_t)zo->examples);
  ck_assert_uint_eq(number(rule + 8, 4), (uint64_t)zo->rule);
  ck_assert(number_f64(rule + 16) == zo->beta1 && number_f64(rule + 24) == zo->beta2);
  const unsigned char *at = data + size + 32;
  for (int64_t i = 0; i < kinds[_i].losses; i++, at += 8)
    ck_assert(number_f64(at) == number_of(zo, 1, i + 7));
  for (int64_t i = 0; i < zf_zo_terms(zo); i++) {
    double want = number_of(zo, 1, i);
    float narrow = (float)want;
    if (zo->examples) {
      ck_assert_mem_eq(at, &narrow, 4);
      at += 4;
      continue;
    }
    ck_assert(number_f64(at) == want);
    at += 8;
    if (!zf_zo_explicit(zo)) continue;
    ck_assert_uint_eq(number(at, 4), i % 2 ? 0x01020304u + (uint64_t)i : 1);
    ck_assert_uint_eq(number(at + 4, 2), 0x0506 + (uint64_t)i);
    ck_assert_uint_eq(number(at + 6, 2), 0);
    at += 8;
  }
  ck_assert(at == data + len - 4);
  free(data);
}
END_TEST

static int read_all(const void *data, size_t len) {
  struct zf_log_head head;
  struct zf_log_rec record;
  struct zf_log_reader *reader;
  zf_error_clear();
  int more = 1, rc = zf_log_parse(&reader, data, len, "read.log", &head);
  if (rc) return rc;
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  while (!rc && more) rc = zf_log_next(reader, &record, &estimate, &more);
  zf_log_reader_free(reader);
  free_estimate(&estimate);
  return rc;
}

START_TEST(test_every_flip) {
  struct zf_log_head head = head_of(_i, _i % 2, _i % 3 == 0);
  size_t len;
  unsigned char *data = log_bytes(&head, 2, &len);
  ck_assert_int_eq(read_all(data, len), 0);
  for (size_t i = 0; i < len * 8; i++) {
    data[i / 8] ^= (unsigned char)(1 << i % 8);
    ck_assert_msg(read_all(data, len) == ZF_EINVALID, "bit %zu of byte %zu", i % 8, i / 8);
    data[i / 8] ^= (unsigned char)(1 << i % 8);
  }
  free(data);
}
END_TEST

/* A record that is cut anywhere is torn, and the steps before it are there. */
START_TEST(test_every_tear) {
  struct zf_log_head head = head_of(_i, 0, 0);
  const char *path = tmp_path("torn.log");
  size_t len, size = (size_t)zf_log_head_size(&head), record = (size_t)zf_log_record_size(&head.zo);
  unsigned char *data = log_bytes(&head, 3, &len); /* step, step, mark, step */
  ck_assert_uint_eq(len, size + 4 * record);
  for (size_t n = size; n < len; n += 1 + record / 8) {
    struct zf_history history;
    size_t whole = (n - size) / record;
    ck_ok(zf_write_file(path, data, n));
    ck_ok(zf_history_load(&history, path));
    ck_assert_int_eq(history.count, whole < 2 ? (int64_t)whole : 2);
    ck_assert_int_eq(history.end, (n - size) % record ? ZF_LOG_TORN : ZF_LOG_WHOLE);
    zf_history_free(&history);
  }
  free(data);
}
END_TEST

static void put_crc(unsigned char *bytes, uint32_t crc) {
  for (int k = 0; k < 4; k++) bytes[k] = (unsigned char)(crc >> 8 * k);
}

/* A record with a good checksum, one of whose numbers is not finite. */
START_TEST(test_not_finite) {
  struct zf_log_head head = head_of(_i, 0, 0);
  size_t len, size = (size_t)zf_log_head_size(&head), record = (size_t)zf_log_record_size(&head.zo);
  unsigned char *data = log_bytes(&head, 1, &len), *at = data + size, was[8];
  size_t losses = 32 + 8 * (size_t)kinds[_i].losses, width = head.zo.examples ? 4 : 8;
  const size_t place[] = {16, 32, losses - 8, losses};
  for (int i = 0; i < 4; i++) {
    size_t wide = i == 3 ? width : 8;
    memcpy(was, at + place[i], 8);
    memset(at + place[i], 0xff, wide);
    put_crc(at + record - 4, zf_crc32c(zf_log_head_id(&head), at, record - 4));
    ck_assert_int_eq(read_all(data, len), ZF_EINVALID);
    ck_assert(strstr(zf_error_message(), "not finite") != NULL);
    memcpy(at + place[i], was, 8);
  }
  free(data);
}
END_TEST

/* Headers with a good checksum and a field that is out of range, or not of a method that can be run. */
START_TEST(test_headers) {
  static const struct {
    int kind, at,
        count; /* at: of the method's fields; below 0: from the header's start, less 1000 */
    uint64_t value;
  } bad[] = {
      {3, 0, 4, ZF_FORMS},
      {3, 0, 4, 0xffffffff},
      {3, 4, 4, ZF_DIFFERENCES},
      {3, 8, 8, 0}, /* a rank of 0 */
      {3, 8, 8, 1025},
      {3, 8, 8, (uint64_t)1 << 32},
      {3, 16, 8, 0}, /* a period of 0 steps */
      {3, 16, 8, (uint64_t)1 << 63},
      {1, 24, 8, 0},                   /* keep */
      {1, 24, 8, 0x7ff8000000000000},  /* NaN */
      {1, 24, 8, 0x4000000000000000},  /* 2 */
      {11, 32, 8, 0x7ff8000000000000}, /* alpha */
      {11, 32, 8, 0xbff0000000000000},
      {11, 32, 8, 0x4000000000000000},
      {6, 40, 8, 0x3ff0000000000000}, /* a cosine of 1 */
      {6, 40, 8, 0x7ff8000000000000},
      {23, 48, 8, 0xbff0000000000000}, /* clip */
      {23, 48, 8, 0x7ff8000000000000},
      {22, 56, 8, 0}, /* trust */
      {22, 56, 8, 0x7ff8000000000000},
      {18, 64, 4, 1001}, /* window */
      {18, 64, 4, 0x80000000},
      {18, 64, 4, 0}, /* which is version 3 */
      {23, 48, 8, 0}, /* version 2 */
      {3, 68, 4, 1},  /* zeros */
      {3, 76, 4, 0x80000000},
      {3, 80, 1, 1}, /* a hash of an adapter whose parts are 0 */
      {3, 80 + 20, 4, 1},
      {3, 104, 8, 3}, /* directions by example do not go with low_rank */
      {3, 104 + 8, 4, ZF_RULES},
      {3, 104 + 12, 4, 1},
      {20, 104 + 16, 8, 0x7ff8000000000000}, /* beta1 of a rule without moments may be anything */
      {13, 16, 8, 21},                       /* too long a period of an anchor */
      {13, 104 + 8, 4, ZF_RULE_SIGN},
      {6, 20 - 1000, 4, 2},   /* probes of a cone */
      {12, 20 - 1000, 4, 17}, /* and of bayes */
      {15, 20 - 1000, 4, 65},
      {10, 20 - 1000, 4, 1},
      {3, 8 - 1000, 4, 4}, /* version 4 */
      {3, 8 - 1000, 4, 2},
      {3, 16 - 1000, 4, 60}, /* bytes of a record */
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct zf_log_head head = head_of(bad[i].kind, 0, 0);
    size_t len, size = (size_t)zf_log_head_size(&head);
    unsigned char *data = log_bytes(&head, 1, &len);
    int at = bad[i].at < 0 ? bad[i].at + 1000 : TEXT + bad[i].at, anything = bad[i].kind == 20;
    for (int k = 0; k < bad[i].count; k++) data[at + k] = (unsigned char)(bad[i].value >> 8 * k);
    put_crc(data + size - 4, zf_crc32c(0, data, size - 4));
    struct zf_log_head got;
    struct zf_log_reader *reader;
    int rc = zf_log_parse(&reader, data, size, "read.log", &got);
    if (!rc) zf_log_reader_free(reader);
    ck_assert_msg(rc == (anything ? 0 : ZF_EINVALID), "case %zu: %d", i, rc);
    ck_assert_msg(anything || strstr(zf_error_message(), "a field out of range"), "%zu: %s", i,
                  zf_error_message());
    free(data);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("steplog_method");
  TCase *t = tcase_create("steplog_method");
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_round_trip, 0, KINDS);
  tcase_add_loop_test(t, test_layout, 0, KINDS);
  tcase_add_loop_test(t, test_every_flip, 0, KINDS);
  tcase_add_loop_test(t, test_every_tear, 0, KINDS);
  tcase_add_loop_test(t, test_not_finite, 0, KINDS);
  tcase_add_test(t, test_headers);
  suite_add_tcase(s, t);
  return unit_run(s);
}
