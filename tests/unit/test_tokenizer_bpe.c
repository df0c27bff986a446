/* BPE merging: both algorithms against the definition, written plainly. */
#include "unit/unit.h"

#include "text/bpe_internal.h"
#include "text/tokenizer.h"

static uint64_t state = 424242;

static uint32_t draw(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 16) % below;
}

enum { LETTERS = 4, MERGES = 60, LONGEST = 200 };

struct rule {
  int32_t left, right;
};

/* Rule i makes token LETTERS + i. */
static void make_rules(struct rule rule[MERGES], struct zf_merges *m) {
  ck_ok(zf_merges_reserve(m, MERGES));
  for (int i = 0; i < MERGES; i++) {
    int again;
    do {
      rule[i] = (struct rule){(int32_t)draw(LETTERS + i), (int32_t)draw(LETTERS + i)};
      again = 0;
      for (int k = 0; k < i; k++)
        again |= rule[k].left == rule[i].left && rule[k].right == rule[i].right;
    } while (again);
    zf_merges_put(m, rule[i].left, rule[i].right, (uint32_t)i, LETTERS + i);
  }
}

/* The definition: the first rule that applies anywhere, at its leftmost place, until
 * none does. */
static int plain(const struct rule *rule, int32_t *id, int32_t *bytes, int n) {
  for (int i = 0; i < MERGES; i++) {
    for (int k = 0; k + 1 < n; k++) {
      if (id[k] != rule[i].left || id[k + 1] != rule[i].right) continue;
      id[k] = LETTERS + i;
      bytes[k] += bytes[k + 1];
      n--;
      memmove(id + k + 1, id + k + 2, (size_t)(n - k - 1) * sizeof *id);
      memmove(bytes + k + 1, bytes + k + 2, (size_t)(n - k - 1) * sizeof *bytes);
      i = -1;
      break;
    }
  }
  return n;
}

START_TEST(test_against_definition) {
  for (int set = 0; set < 40; set++) {
    struct rule rule[MERGES];
    struct zf_merges m = {0};
    struct zf_word w = {0};
    make_rules(rule, &m);
    for (int round = 0; round < 60; round++) {
      int32_t id[LONGEST], bytes[LONGEST];
      int n = (int)draw(round % 2 ? 40 : LONGEST), letters = 1 + (int)draw(LETTERS);
      w.count = 0;
      for (int i = 0; i < n; i++) {
        id[i] = (int32_t)draw((uint32_t)letters);
        bytes[i] = 1 + (int32_t)draw(3);
        ck_ok(zf_word_add(&w, id[i], bytes[i]));
      }
      ck_ok(zf_word_merge(&w, &m));
      n = plain(rule, id, bytes, n);
      ck_assert_int_eq(w.count, n);
      for (int i = 0; i < n; i++) {
        ck_assert_int_eq(w.symbol[i].id, id[i]);
        ck_assert_int_eq(w.symbol[i].bytes, bytes[i]);
      }
    }
    free(w.symbol);
    free(w.heap);
    free(m.slot);
  }
}
END_TEST

/* A word of a million characters takes moments, not minutes. */
START_TEST(test_long_word) {
  static const char json[] =
      "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2, \"b\": 3},"
      " \"merges\": [\"a a\", \"aa aa\"]}}";
  enum { N = 1000001 };
  struct zf_tok *t;
  struct zf_ids ids = {0};
  char *text = malloc(N);
  ck_assert_ptr_nonnull(text);
  memset(text, 'a', N);
  ck_ok(zf_tok_parse(&t, json, strlen(json), "t"));
  ck_ok(zf_tok_encode(t, &ids, text, N, ZF_ENC_OFFSETS));
  ck_assert_int_eq(ids.count, N / 4 + 1);
  ck_assert_int_eq(ids.id[0], 2);
  ck_assert_int_eq(ids.id[ids.count - 1], 0);
  ck_assert_int_eq(ids.end[ids.count - 1], N);
  zf_ids_free(&ids);
  zf_tok_free(t);
  free(text);
}
END_TEST

int main(void) {
  Suite *s = suite_create("tokenizer_bpe");
  TCase *c = tcase_create("bpe");
  tcase_set_timeout(c, 120);
  tcase_add_test(c, test_against_definition);
  tcase_add_test(c, test_long_word);
  suite_add_tcase(s, c);
  return unit_run(s);
}
