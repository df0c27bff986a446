/* The header of the step log. */
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "peft/adapter.h"
#include "train/steplog_internal.h"

/* 1 where MeZO's records hold the estimates. */
static int is_classic(const struct zf_zo *zo) {
  return zo->form == ZF_FORM_DENSE && zo->difference == ZF_DIFFERENCE_CENTRAL &&
         (zo->rule == ZF_RULE_SGD || zo->rule == ZF_RULE_ADAM) && !zo->window && zo->clip == 0;
}

int64_t zf_log_record_size(const struct zf_zo *zo) {
  int64_t terms = zf_zo_terms(zo);
  if (is_classic(zo)) return 36 + 24 * (int64_t)zo->probes + 4 * zo->probes * zo->examples;
  return 36 + 8 * zf_zo_losses(zo) + terms * (zf_zo_explicit(zo) ? 16 : zo->examples ? 4 : 8);
}

enum { NEW_HEAD = 16, RULE = 40, ADAPTER = 24, METHOD = 80 }; /* bytes about each */

uint32_t zf_log_version_of(const struct zf_log_head *head) {
  if (!is_classic(&head->zo)) return ZF_LOG_METHOD_VERSION;
  if (head->adapter[0]) return ZF_LOG_ADAPTER_VERSION;
  return head->zo.examples || head->zo.rule != ZF_RULE_SGD ? ZF_LOG_RULE_VERSION : ZF_LOG_VERSION;
}

/* Bytes of the fields that a version has behind the globs, without those of a new head. */
static int64_t version_bytes(uint32_t version) {
  return (version >= ZF_LOG_RULE_VERSION ? RULE : 0) +
         (version >= ZF_LOG_ADAPTER_VERSION ? ADAPTER : 0) +
         (version >= ZF_LOG_METHOD_VERSION ? METHOD : 0);
}

static int64_t globs_end(const struct zf_log_head *head) {
  return (ZF_LOG_TEXT + (int64_t)strlen(head->globs) + 4 + 3) / 4 * 4 - 4;
}

int64_t zf_log_head_size(const struct zf_log_head *head) {
  return globs_end(head) + version_bytes(zf_log_version_of(head)) + (head->labels ? NEW_HEAD : 0) +
         4;
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

static const char *const block_words[] = {
    [ZF_BLOCKS_FROZEN] = "", [ZF_BLOCKS_SCALES] = "scales", [ZF_BLOCKS_INTEGERS] = "integers"};

static void put_trained(unsigned char *bytes, const struct zf_log_head *head) {
  const char *word = block_words[head->blocks];
  put_dtype(bytes, head->trained);
  if (head->blocks) memcpy(bytes, word, strlen(word));
}

static void get_trained(struct zf_log_head *head, const unsigned char *bytes) {
  char word[9] = {0};
  memcpy(word, bytes, 8);
  head->trained = get_dtype(bytes);
  for (int i = ZF_BLOCKS_SCALES; i <= ZF_BLOCKS_INTEGERS; i++) {
    if (strcmp(word, block_words[i]) != 0) continue;
    head->blocks = i;
    head->trained = ZF_F32;
  }
}

static void put_rule(unsigned char *bytes, const struct zf_zo *zo) {
  put(bytes, (uint64_t)zo->examples, 8);
  put(bytes + 8, (uint64_t)zo->rule, 4);
  if (zo->rule == ZF_RULE_SGD && is_classic(zo)) return;
  put_f64(bytes + 16, zo->beta1);
  put_f64(bytes + 24, zo->beta2);
  put_f64(bytes + 32, zo->adam_eps);
}

static void put_method(unsigned char *bytes, const struct zf_zo *zo) {
  const double number[] = {zo->keep, zo->alpha, zo->cone, zo->clip, zo->trust};
  put(bytes, (uint64_t)zo->form, 4);
  put(bytes + 4, (uint64_t)zo->difference, 4);
  put(bytes + 8, (uint64_t)zo->rank, 8);
  put(bytes + 16, (uint64_t)zo->refresh, 8);
  for (int i = 0; i < 5; i++) put_f64(bytes + 24 + 8 * i, number[i]);
  put(bytes + 64, (uint64_t)zo->window, 4);
}

uint32_t zf_log_make_head(unsigned char *bytes, const struct zf_log_head *head) {
  int64_t size = zf_log_head_size(head);
  uint32_t version = zf_log_version_of(head);
  memset(bytes, 0, ZF_LOG_MAXHEAD);
  memcpy(bytes, zf_log_magic, sizeof zf_log_magic);
  put(bytes + 8, version, 4);
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
  put_trained(bytes + 136, head);
  put_dtype(bytes + 144, head->others);
  put(bytes + 152, strlen(head->globs), 4);
  memcpy(bytes + ZF_LOG_TEXT, head->globs, strlen(head->globs));
  unsigned char *rule = bytes + size - 4 - (head->labels ? NEW_HEAD : 0) - RULE;
  if (version >= ZF_LOG_RULE_VERSION) put_rule(rule, &head->zo);
  if (head->adapter[0]) put_hex(rule - ADAPTER, head->adapter);
  if (head->adapter[0]) put(rule - ADAPTER + 16, (uint64_t)head->adapter_train, 4);
  if (version >= ZF_LOG_METHOD_VERSION) put_method(rule - ADAPTER - METHOD, &head->zo);
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

/* Reads the fields of an adapter.  Nonzero: they are invalid. */
static int read_adapter(struct zf_log_head *head, const unsigned char *data, size_t at, size_t end,
                        uint32_t version) {
  struct zf_bytes bytes = {data, end, at + 16};
  static const unsigned char none[ADAPTER];
  uint32_t train = 0, zero = 0;
  if (version == ZF_LOG_METHOD_VERSION && !memcmp(data + at, none, ADAPTER)) return 0;
  get_hex(head->adapter, data + at);
  zf_bytes_u32(&bytes, &train);
  zf_bytes_u32(&bytes, &zero);
  head->adapter_train = (int)train;
  return train < ZF_TRAIN_B || train > ZF_TRAIN_BIASES || zero;
}

/* Reads the fields of a rule. */
static int read_rule(struct zf_zo *zo, const unsigned char *data, size_t at, size_t end) {
  struct zf_bytes bytes = {data, end, at};
  uint64_t examples = 0;
  uint32_t rule = 0, zero = 0;
  zf_bytes_u64(&bytes, &examples);
  zf_bytes_u32(&bytes, &rule);
  zf_bytes_u32(&bytes, &zero);
  zf_bytes_f64(&bytes, &zo->beta1);
  zf_bytes_f64(&bytes, &zo->beta2);
  zf_bytes_f64(&bytes, &zo->adam_eps);
  zo->examples = (int64_t)examples;
  zo->rule = (int)rule;
  return examples > ZF_NOISE_EXAMPLES || rule >= ZF_RULES || zero;
}

static int read_method(struct zf_zo *zo, const unsigned char *data, size_t at, size_t end) {
  struct zf_bytes bytes = {data, end, at};
  uint32_t form = 0, difference = 0, window = 0, zero = 0, zeros = 0;
  uint64_t rank = 0, refresh = 0;
  zf_bytes_u32(&bytes, &form);
  zf_bytes_u32(&bytes, &difference);
  zf_bytes_u64(&bytes, &rank);
  zf_bytes_u64(&bytes, &refresh);
  zf_bytes_f64(&bytes, &zo->keep);
  zf_bytes_f64(&bytes, &zo->alpha);
  zf_bytes_f64(&bytes, &zo->cone);
  zf_bytes_f64(&bytes, &zo->clip);
  zf_bytes_f64(&bytes, &zo->trust);
  zf_bytes_u32(&bytes, &window);
  for (int i = 0; i < 3; i++) {
    zf_bytes_u32(&bytes, &zero);
    zeros |= zero;
  }
  zo->form = (int)form;
  zo->difference = (int)difference;
  zo->rank = (int64_t)rank;
  zo->refresh = (int64_t)refresh;
  zo->window = (int)window;
  return form >= ZF_FORMS || difference >= ZF_DIFFERENCES || window > INT32_MAX ||
         rank > INT32_MAX || refresh > INT32_MAX || zeros;
}

/* Nonzero where the method cannot be run, or says no more than a header without its fields. */
static int check_method(const struct zf_log_head *head, uint32_t version) {
  const struct zf_zo *zo = &head->zo;
  if (zf_log_version_of(head) != version) return 1;
  if (zo->rule == ZF_RULE_SGD && version < ZF_LOG_METHOD_VERSION)
    return zo->beta1 != 0 || zo->beta2 != 0 || zo->adam_eps != 0;
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
  get_trained(head, data + 136);
  head->others = get_dtype(data + 144);
  bytes.pos = 152;
  zf_bytes_u32(&bytes, &text_len);
  if (text_len >= ZF_LOG_GLOBS || text_len > size - 4 - ZF_LOG_TEXT ||
      memchr(data + ZF_LOG_TEXT, 0, text_len))
    return 1;
  memcpy(head->globs, data + ZF_LOG_TEXT, text_len);
  head->zo.probes = (int)probes;
  head->zo.direction = (int)direction;
  if (probes < 1 || probes > ZF_ZO_MAXPROBES || direction > ZF_RADEMACHER) return 1;
  size_t at = (size_t)globs_end(head), end = at + (size_t)version_bytes(version);
  if (end + 4 > size) return 1;
  if (version >= ZF_LOG_METHOD_VERSION) {
    if (read_method(&head->zo, data, at, end)) return 1;
    at += METHOD;
  }
  if (version >= ZF_LOG_ADAPTER_VERSION) {
    if (read_adapter(head, data, at, end, version)) return 1;
    at += ADAPTER;
  }
  if (version >= ZF_LOG_RULE_VERSION && read_rule(&head->zo, data, at, end)) return 1;
  if (check_method(head, version)) return 1;
  if (read_new_head(head, data, size)) return 1;
  return record_size != zf_log_record_size(&head->zo) || !(head->zo.eps > 0) ||
         !isfinite(head->zo.eps) || !isfinite(head->decay) || head->trained < 0 ||
         head->others < -1 || (int64_t)size != zf_log_head_size(head);
}
