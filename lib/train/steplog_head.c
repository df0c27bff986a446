/* The header of the step log. */
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "peft/adapter.h"
#include "train/steplog_internal.h"

int64_t zf_log_record_size(const struct zf_zo *zo) {
  return 36 + 24 * (int64_t)zo->probes + 4 * zo->probes * zo->examples;
}

enum { NEW_HEAD = 16, RULE = 40, ADAPTER = 24 }; /* bytes about each */

static int has_rule(const struct zf_log_head *head) {
  return head->zo.examples || head->zo.rule != ZF_RULE_SGD || head->adapter[0];
}

int64_t zf_log_head_size(const struct zf_log_head *head) {
  return (ZF_LOG_TEXT + (int64_t)strlen(head->globs) + 4 + 3) / 4 * 4 +
         (has_rule(head) ? RULE : 0) + (head->adapter[0] ? ADAPTER : 0) +
         (head->labels ? NEW_HEAD : 0);
}

static void put_dtype(unsigned char *bytes, int type) {
  const char *name = type < 0 ? "" : zf_dtype_info((enum zf_dtype)type)->name;
  memcpy(bytes, name, strnlen(name, 8));
}

/* The dtype with this name; -1: the text is empty; -2: any other text. */
static int get_dtype(const unsigned char *bytes) {
  char name[9] = {0};
  memcpy(name, bytes, 8);
  int type = zf_dtype_by_name(name);
  if (type >= 0) return type;
  return name[0] ? -2 : -1;
}

static void put_rule(unsigned char *bytes, const struct zf_zo *zo) {
  put(bytes, (uint64_t)zo->examples, 8);
  put(bytes + 8, (uint64_t)zo->rule, 4);
  if (zo->rule == ZF_RULE_SGD) return;
  put_f64(bytes + 16, zo->beta1);
  put_f64(bytes + 24, zo->beta2);
  put_f64(bytes + 32, zo->adam_eps);
}

static uint32_t version_of(const struct zf_log_head *head) {
  if (head->adapter[0]) return ZF_LOG_ADAPTER_VERSION;
  return has_rule(head) ? ZF_LOG_RULE_VERSION : ZF_LOG_VERSION;
}

uint32_t zf_log_make_head(unsigned char *bytes, const struct zf_log_head *head) {
  int64_t size = zf_log_head_size(head);
  memset(bytes, 0, ZF_LOG_MAXHEAD);
  memcpy(bytes, zf_log_magic, sizeof zf_log_magic);
  put(bytes + 8, version_of(head), 4);
  put(bytes + 12, (uint64_t)size, 4);
  put(bytes + 16, (uint64_t)zf_log_record_size(&head->zo), 4);
  put(bytes + 20, (uint64_t)head->zo.probes, 4);
  put(bytes + 24, head->zo.seed, 8);
  put_f64(bytes + 32, head->zo.eps);
  put_f64(bytes + 40, head->decay);
  put(bytes + 48, (uint64_t)head->zo.direction, 4);
  put(bytes + 52, ZF_NOISE_ID, 4);
  memcpy(bytes + 56, head->kernels, strnlen(head->kernels, 16));
  put_hex(bytes + 72, head->base);
  put_hex(bytes + 88, head->data);
  put_hex(bytes + 104, head->config);
  put_hex(bytes + 120, head->tok);
  put_dtype(bytes + 136, head->trained);
  put_dtype(bytes + 144, head->others);
  put(bytes + 152, strlen(head->globs), 4);
  memcpy(bytes + ZF_LOG_TEXT, head->globs, strlen(head->globs));
  unsigned char *rule = bytes + size - 4 - (head->labels ? NEW_HEAD : 0) - RULE;
  if (has_rule(head)) put_rule(rule, &head->zo);
  if (head->adapter[0]) put_hex(rule - ADAPTER, head->adapter);
  if (head->adapter[0]) put(rule - ADAPTER + 16, (uint64_t)head->adapter_train, 4);
  if (head->labels) {
    unsigned char *new_head = bytes + size - 4 - NEW_HEAD;
    put(new_head, (uint64_t)head->labels, 4);
    put(new_head + 4, (uint64_t)head->problem, 4);
    put(new_head + 8, head->head_seed, 8);
  }
  uint32_t crc = zf_crc32c(0, bytes, (size_t)size - 4);
  put(bytes + size - 4, crc, 4);
  return crc;
}

uint32_t zf_log_head_id(const struct zf_log_head *head) {
  unsigned char bytes[ZF_LOG_MAXHEAD];
  return zf_log_make_head(bytes, head);
}

/* Reads the fields of a new head; the header's size tells whether it has them.  Nonzero: they are
 * invalid. */
static int read_new_head(struct zf_log_head *head, const unsigned char *data, size_t size) {
  struct zf_bytes bytes = {data, size, 0};
  uint32_t labels = 0, problem = 0;
  if ((int64_t)size != zf_log_head_size(head) + NEW_HEAD) return 0;
  bytes.pos = size - 4 - NEW_HEAD;
  zf_bytes_u32(&bytes, &labels);
  zf_bytes_u32(&bytes, &problem);
  zf_bytes_u64(&bytes, &head->head_seed);
  head->labels = labels;
  head->problem = (int)problem;
  return labels < 1 || labels > 1 << 24 || problem >= ZF_PROBLEMS;
}

/* Reads the fields of an adapter, which begin at byte `at`.  Nonzero: they are invalid. */
static int read_adapter(struct zf_log_head *head, const unsigned char *data, size_t size,
                        size_t at) {
  struct zf_bytes bytes = {data, size, at + 16};
  uint32_t train = 0, zero = 0;
  if (at + ADAPTER + RULE + 4 > size) return 1;
  get_hex(head->adapter, data + at);
  zf_bytes_u32(&bytes, &train);
  zf_bytes_u32(&bytes, &zero);
  head->adapter_train = (int)train;
  return train < ZF_TRAIN_B || train > ZF_TRAIN_BIASES || zero;
}

/* Reads the fields of a rule, which begin at byte `at`.  Nonzero: they are invalid; or, unless an
 * adapter comes before them, they say no more than a header without them. */
static int read_rule(struct zf_zo *zo, const unsigned char *data, size_t size, size_t at,
                     int has_adapter) {
  struct zf_bytes bytes = {data, size, at};
  uint64_t examples = 0;
  uint32_t rule = 0, zero = 0;
  if (at + RULE + 4 > size) return 1;
  zf_bytes_u64(&bytes, &examples);
  zf_bytes_u32(&bytes, &rule);
  zf_bytes_u32(&bytes, &zero);
  zf_bytes_f64(&bytes, &zo->beta1);
  zf_bytes_f64(&bytes, &zo->beta2);
  zf_bytes_f64(&bytes, &zo->adam_eps);
  if (examples > ZF_NOISE_EXAMPLES || rule >= ZF_RULES || zero) return 1;
  zo->examples = (int64_t)examples;
  zo->rule = (int)rule;
  if (rule == ZF_RULE_SGD)
    return (!examples && !has_adapter) || zo->beta1 != 0 || zo->beta2 != 0 || zo->adam_eps != 0;
  int rc = zf_zo_check(zo);
  zf_error_clear();
  return rc;
}

int zf_log_read_fields(struct zf_log_head *head, const unsigned char *data, size_t size,
                       uint32_t version) {
  struct zf_bytes bytes = {data, size, 16};
  uint32_t record_size = 0, probes = 0, direction = 0, noise = 0, text_len = 0;
  zf_bytes_u32(&bytes, &record_size);
  zf_bytes_u32(&bytes, &probes);
  zf_bytes_u64(&bytes, &head->zo.seed);
  zf_bytes_f64(&bytes, &head->zo.eps);
  zf_bytes_f64(&bytes, &head->decay);
  zf_bytes_u32(&bytes, &direction);
  zf_bytes_u32(&bytes, &noise);
  memcpy(head->kernels, data + 56, 16);
  get_hex(head->base, data + 72);
  get_hex(head->data, data + 88);
  get_hex(head->config, data + 104);
  get_hex(head->tok, data + 120);
  head->trained = get_dtype(data + 136);
  head->others = get_dtype(data + 144);
  bytes.pos = 152;
  zf_bytes_u32(&bytes, &text_len);
  if (text_len >= ZF_LOG_GLOBS || text_len > size - 4 - ZF_LOG_TEXT ||
      memchr(data + ZF_LOG_TEXT, 0, text_len))
    return 1;
  memcpy(head->globs, data + ZF_LOG_TEXT, text_len);
  size_t at = (size_t)zf_log_head_size(head) - 4;
  if (version == ZF_LOG_ADAPTER_VERSION && read_adapter(head, data, size, at)) return 1;
  if (version == ZF_LOG_ADAPTER_VERSION) at += ADAPTER;
  if (version != ZF_LOG_VERSION &&
      read_rule(&head->zo, data, size, at, version == ZF_LOG_ADAPTER_VERSION))
    return 1;
  if (read_new_head(head, data, size)) return 1;
  head->zo.probes = (int)probes;
  head->zo.direction = (int)direction;
  return probes < 1 || probes > ZF_ZO_MAXPROBES || record_size != zf_log_record_size(&head->zo) ||
         direction > ZF_RADEMACHER || !(head->zo.eps > 0) || !isfinite(head->zo.eps) ||
         !isfinite(head->decay) || head->trained < 0 || head->others < -1 ||
         (int64_t)size != zf_log_head_size(head);
}
