/* Logs of runs with directions by example, or with Adam: what is written comes back, each byte is where
 * steplog.h says, no damage goes unseen, and older programs refuse them. */
#include <math.h>

#include "base/file.h"
#include "base/hash.h"
#include "train/history.h"
#include "unit/log_numbers.h"
#include "unit/zo_steps.h"

enum { PROBES = 2, EXAMPLES = 3, STEPS = 5, TERMS = PROBES * EXAMPLES };

/* Adam by example; by example alone; Adam alone. */
enum { KINDS = 3 };

static struct zf_log_head head_of(int kind, int new_head) {
  struct zf_log_head head = {.zo = {.seed = 5, .eps = 1e-3, .probes = PROBES},
                             .kernels = "f32",
                             .base = "00112233445566778899aabbccddeeff",
                             .data = "ffeeddccbbaa99887766554433221100",
                             .config = "0123456789abcdef0123456789abcdef",
                             .tok = "fedcba9876543210fedcba9876543210",
                             .trained = ZF_F32,
                             .others = -1,
                             .globs = "*lora*"};
  if (kind != 2) head.zo.examples = EXAMPLES;
  if (kind != 1) {
    head.zo.rule = ZF_RULE_ADAM;
    head.zo.beta1 = 0.9;
    head.zo.beta2 = 0.999;
    head.zo.adam_eps = 1e-8;
  }
  if (new_head) {
    head.labels = 3;
    head.problem = ZF_PROBLEM_MULTI;
    head.head_seed = 77;
  }
  return head;
}

static float gradient_of(int step, int term) {
  return term ? (float)(step * 100 + term) * 1.25e-3f : -0.0f;
}

static void write_log(const char *path, const struct zf_log_head *head, int steps) {
  struct zf_log *log;
  struct zf_zo_estimate estimate = new_estimate(&head->zo);
  ck_ok(zf_log_create(&log, path, head));
  for (int i = 1; i <= steps; i++) {
    struct zf_log_rec step = {.step = (uint32_t)i, .seed = 5, .lr = 1e-3 / i, .batch = 7};
    struct zf_log_rec mark = {
        .kind = ZF_LOG_MARK, .step = (uint32_t)i, .hash = "ab54a98ceb1f0ad2ab54a98ceb1f0ad2"};
    for (int p = 0; p < head->zo.probes; p++) {
      estimate.loss[2 * p] = i + p * 0.25;
      estimate.loss[2 * p + 1] = -i;
    }
    for (int t = 0; t < zf_zo_terms(&head->zo); t++)
      set_term(&estimate, &head->zo, (uint32_t)i, t,
               head->zo.examples ? (double)gradient_of(i, t) : t + 0.5);
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
  ck_assert(got->adam_eps == want->adam_eps);
}

START_TEST(test_round_trip) {
  const char *path = tmp_path("rule.log");
  struct zf_log_head want = head_of(_i / 2, _i % 2);
  struct zf_history history;
  write_log(path, &want, STEPS);
  ck_ok(zf_history_load(&history, path));
  check_zo(&history.head.zo, &want.zo);
  ck_assert(history.head.labels == want.labels && history.head.head_seed == want.head_seed);
  ck_assert_str_eq(history.head.globs, want.globs);
  ck_assert(history.count == STEPS && history.nmark == 2 && history.end == ZF_LOG_WHOLE);
  ck_assert_uint_eq(history.id, zf_log_head_id(&want));
  for (int i = 1; i <= STEPS; i++) {
    struct zf_zo_estimate estimate = zf_history_estimate(&history, i);
    ck_assert(estimate.loss[2] == i + 0.25 && estimate.loss[3] == -i);
    for (int t = 0; t < zf_zo_terms(&want.zo); t++) {
      const struct zf_zo_term *term = &estimate.term[t];
      double gradient = want.zo.examples ? (double)gradient_of(i, t) : t + 0.5;
      ck_assert_mem_eq(&term->coefficient, &gradient, sizeof gradient);
      ck_assert(term->step == (uint32_t)i);
      ck_assert_int_eq(term->probe, want.zo.examples ? t / EXAMPLES : t);
      ck_assert_int_eq(term->example, want.zo.examples ? 1 + t % EXAMPLES : 0);
    }
  }
  zf_history_free(&history);
}
END_TEST

/* The layout of steplog.h, byte for byte. */
START_TEST(test_layout) {
  struct zf_log_head head = head_of(0, _i);
  size_t len, size = 164 + 4 + 40 + (_i ? 16 : 0), record = 36 + 24 * PROBES + 4 * TERMS;
  unsigned char *data = log_bytes(&head, 1, &len), *rule = data + 164;
  ck_assert_uint_eq(len, size + record);
  ck_assert_int_eq(zf_log_head_size(&head), (int64_t)size);
  ck_assert_int_eq(zf_log_record_size(&head.zo), (int64_t)record);
  ck_assert_uint_eq(number(data + 8, 4), 3);
  ck_assert_uint_eq(number(data + 12, 4), size);
  ck_assert_uint_eq(number(data + 16, 4), record);
  ck_assert_uint_eq(number(rule, 8), EXAMPLES);
  ck_assert_uint_eq(number(rule + 8, 4), ZF_RULE_ADAM);
  ck_assert_uint_eq(number(rule + 12, 4), 0);
  ck_assert(number_f64(rule + 16) == 0.9 && number_f64(rule + 24) == 0.999);
  ck_assert(number_f64(rule + 32) == 1e-8);
  if (_i) ck_assert_uint_eq(number(data + size - 20, 4), 3);
  for (int t = 0; t < TERMS; t++) {
    float gradient = gradient_of(1, t);
    uint32_t bits;
    memcpy(&bits, &gradient, 4);
    ck_assert_uint_eq(number(data + size + 32 + 24 * PROBES + 4 * t, 4), bits);
  }
  free(data);
}
END_TEST

/* SGD with one direction a batch has the header and the records of version 2, whatever the betas. */
START_TEST(test_plain) {
  struct zf_log_head head = head_of(1, 0), plain;
  size_t len, plain_len;
  head.zo.examples = 0;
  plain = head;
  head.zo.beta1 = 0.9;
  head.zo.adam_eps = 1e-8;
  unsigned char *data = log_bytes(&head, 2, &len), *bytes = log_bytes(&plain, 2, &plain_len);
  ck_assert_uint_eq(number(data + 8, 4), 2);
  ck_assert_uint_eq(len, 164 + 4 + 3 * (36 + 24 * PROBES));
  ck_assert_uint_eq(len, plain_len);
  ck_assert_mem_eq(data, bytes, len);
  free(data);
  free(bytes);
}
END_TEST

/* Reads a log to its end: 0, or the code of what was found. */
static int read_all(const void *data, size_t len) {
  struct zf_log_head head;
  struct zf_log_rec record;
  struct zf_log_reader *reader;
  int more = 1, rc = zf_log_parse(&reader, data, len, "read.log", &head);
  if (rc) return rc;
  struct zf_zo_estimate estimate = new_estimate(&head.zo);
  while (!rc && more) rc = zf_log_next(reader, &record, &estimate, &more);
  zf_log_reader_free(reader);
  free_estimate(&estimate);
  return rc;
}

START_TEST(test_every_flip) {
  struct zf_log_head head = head_of(_i / 2, _i % 2);
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
  struct zf_log_head head = head_of(0, 0);
  const char *path = tmp_path("torn.log");
  size_t len, size = (size_t)zf_log_head_size(&head), record = (size_t)zf_log_record_size(&head.zo);
  unsigned char *data = log_bytes(&head, 3, &len); /* step, step, mark, step */
  ck_assert_uint_eq(len, size + 4 * record);
  for (size_t n = size; n < len; n++) {
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

/* A record with a good checksum whose g of an example is not finite. */
START_TEST(test_not_finite) {
  struct zf_log_head head = head_of(0, 0);
  size_t len, size = (size_t)zf_log_head_size(&head), record = (size_t)zf_log_record_size(&head.zo);
  unsigned char *data = log_bytes(&head, 1, &len), *at = data + size;
  uint32_t id = zf_log_head_id(&head);
  memset(at + 32 + 24 * PROBES + 4 * (TERMS - 1), 0xff, 4);
  uint32_t crc = zf_crc32c(id, at, record - 4);
  for (int k = 0; k < 4; k++) at[record - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
  ck_assert_int_eq(read_all(data, len), ZF_EINVALID);
  ck_assert(strstr(zf_error_message(), "not finite") != NULL);
  free(data);
}
END_TEST

/* A header with an adapter is read as it was written, and its parts are checked. */
START_TEST(test_adapter_head) {
  struct zf_log_head head = head_of(0, 0), got;
  struct zf_log_reader *reader;
  size_t len, size;
  if (_i) head.zo = (struct zf_zo){.seed = 7, .eps = 1e-3, .probes = 1};
  snprintf(head.adapter, sizeof head.adapter, "00112233445566778899aabbccddeeff");
  head.adapter_train = 1;
  size = (size_t)zf_log_head_size(&head);
  unsigned char *data = log_bytes(&head, 1, &len);
  ck_ok(zf_log_parse(&reader, data, len, "a.log", &got));
  ck_assert_str_eq(got.adapter, head.adapter);
  ck_assert_int_eq(got.adapter_train, 1);
  ck_assert_int_eq(got.zo.rule, head.zo.rule);
  ck_assert_int_eq(got.zo.examples, head.zo.examples);
  zf_log_reader_free(reader);
  data[size - 4 - 40 - 8] = 4; /* the parts that are trained */
  uint32_t crc = zf_crc32c(0, data, size - 4);
  for (int k = 0; k < 4; k++) data[size - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
  ck_fails(zf_log_parse(&reader, data, len, "a.log", &got), ZF_EINVALID, "a field out of range");
  free(data);
}
END_TEST

/* Headers with a good checksum and a field out of range, or fields that say nothing. */
START_TEST(test_headers) {
  static const struct {
    int at, count; /* of the rule's fields; -8: the version */
    uint64_t value;
  } bad[] = {
      {0, 8, ZF_NOISE_EXAMPLES + 1}, /* examples */
      {0, 8, 2},                     /* the records have another size */
      {0, 8, (uint64_t)1 << 63},     /* */
      {8, 4, ZF_RULES},              /* rule */
      {8, 4, ZF_RULE_MOMENTUM},      /* which has version 5 */
      {8, 4, 0},                     /* SGD with betas */
      {12, 4, 1},                    /* zero */
      {16, 8, 0x3ff0000000000000},   /* beta1 = 1 */
      {16, 8, 0x7ff8000000000000},   /* NaN */
      {24, 8, 0xbff0000000000000},   /* beta2 = -1 */
      {32, 8, 0},                    /* adam_eps */
      {32, 8, 0x7ff0000000000000},   /* infinite */
      {-164 + 8, 4, 2},              /* version 2 has no rule */
      {-164 + 8, 4, 4},              /* version 4 has an adapter */
      {-164 + 8, 4, 5},              /* and version 5 a method */
      {-164 + 8, 4, 6},
  };
  struct zf_log_head head = head_of(0, 0);
  size_t len, size = (size_t)zf_log_head_size(&head);
  unsigned char *data = log_bytes(&head, 1, &len), *was = malloc(len);
  ck_assert_ptr_nonnull(was);
  memcpy(was, data, len);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memcpy(data, was, len);
    for (int k = 0; k < bad[i].count; k++)
      data[164 + bad[i].at + k] = (unsigned char)(bad[i].value >> 8 * k);
    uint32_t crc = zf_crc32c(0, data, size - 4);
    for (int k = 0; k < 4; k++) data[size - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
    ck_assert_msg(read_all(data, len) == ZF_EINVALID, "case %zu", i);
    const char *what = bad[i].value == 6 && bad[i].at < 0 ? "version 6" : "a field out of range";
    ck_assert_msg(strstr(zf_error_message(), what) != NULL, "%zu: %s", i, zf_error_message());
  }
  free(data);
  free(was);
}
END_TEST

/* A rule that says no more than version 2 does is refused: a header has one form. */
START_TEST(test_empty_rule) {
  struct zf_log_head head = head_of(2, 0);
  size_t len, size = (size_t)zf_log_head_size(&head);
  unsigned char *data = log_bytes(&head, 1, &len);
  memset(data + 164, 0, 40);
  uint32_t crc = zf_crc32c(0, data, size - 4);
  for (int k = 0; k < 4; k++) data[size - 4 + (size_t)k] = (unsigned char)(crc >> 8 * k);
  ck_assert_int_eq(read_all(data, len), ZF_EINVALID);
  ck_assert(strstr(zf_error_message(), "a field out of range") != NULL);
  free(data);
}
END_TEST

int main(void) {
  Suite *s = suite_create("steplog_rule");
  TCase *t = tcase_create("steplog_rule");
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_round_trip, 0, 2 * KINDS);
  tcase_add_loop_test(t, test_layout, 0, 2);
  tcase_add_test(t, test_plain);
  tcase_add_loop_test(t, test_every_flip, 0, 2 * KINDS);
  tcase_add_test(t, test_every_tear);
  tcase_add_test(t, test_not_finite);
  tcase_add_test(t, test_headers);
  tcase_add_loop_test(t, test_adapter_head, 0, 2);
  tcase_add_test(t, test_empty_rule);
  suite_add_tcase(s, t);
  return unit_run(s);
}
