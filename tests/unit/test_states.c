/* Saved states of a run: which entries are its own, which go first, what stays. */
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "train/states.h"
#include "unit/unit.h"

static const struct {
  const char *name;
  int64_t checkpoint, keyframe;
} names[] = {
    {"step-0", 0, -1},
    {"step-7", 7, -1},
    {"step-4294967295", 4294967295, -1},
    {"step-7.safetensors", -1, 7},
    {"step-07.safetensors", -1, -1},
    {"step-007", -1, -1},
    {"step-", -1, -1},
    {"step--7", -1, -1},
    {"step-+7", -1, -1},
    {"step- 7", -1, -1},
    {"step-7x", -1, -1},
    {"step-7.safetensors.tmp.1", -1, -1},
    {"step-0x7", -1, -1},
    {"step-99999999999999999999", -1, -1},
    {"step-9223372036854775808", -1, -1},
    {"Step-7", -1, -1},
    {"step", -1, -1},
    {"", -1, -1},
};

START_TEST(test_names) {
  ck_assert_int_eq(zf_state_step(ZF_STATE_CHECKPOINT, names[_i].name), names[_i].checkpoint);
  ck_assert_int_eq(zf_state_step(ZF_STATE_KEYFRAME, names[_i].name), names[_i].keyframe);
}
END_TEST

static char run[400];

static const char *below(const char *format, const char *name) {
  static char path[600];
  snprintf(path, sizeof path, format, run, name);
  return path;
}

static void make_run(const char *name) {
  snprintf(run, sizeof run, "%s", tmp_path(name));
  ck_ok(zf_mkdirs(below("%s/keyframes%s", "")));
  ck_ok(zf_mkdirs(below("%s/checkpoints%s", "")));
}

static void add_keyframe(const char *name) {
  ck_ok(zf_write_file(below("%s/keyframes/%s", name), "x", 1));
}

static void add_checkpoint(const char *name, int whole) {
  char dir[640];
  snprintf(dir, sizeof dir, "%s", below("%s/checkpoints/%s", name));
  ck_ok(zf_mkdirs(dir));
  if (!whole) return;
  char *path = zf_path_join(dir, "model.safetensors"), *pool = zf_path_join(dir, "1_Pooling");
  char *config = zf_path_join(pool, "config.json");
  ck_ok(zf_write_file(path, "x", 1));
  ck_ok(zf_mkdirs(pool));
  ck_ok(zf_write_file(config, "{}", 2));
  free(config);
  free(pool);
  free(path);
}

static void check_list(enum zf_state_kind kind, const int64_t *want, int64_t n) {
  int64_t *step, got;
  ck_ok(zf_states_list(&step, &got, run, kind));
  ck_assert_int_eq(got, n);
  for (int64_t i = 0; i < n; i++) ck_assert_int_eq(step[i], want[i]);
  free(step);
}

START_TEST(test_list) {
  static const int64_t want[] = {2, 9, 10};
  make_run("list");
  const char *const mine[] = {"step-10", "step-2", "step-9"}, *const not [] = {"step-007", "best",
                                                                               "step-11x"};
  for (int i = 0; i < 3; i++) {
    char key[64];
    add_checkpoint(mine[i], 1);
    add_checkpoint(not [i], 1);
    snprintf(key, sizeof key, "%s.safetensors", mine[i]);
    add_keyframe(key);
    add_keyframe(not [i]);
  }
  add_checkpoint("step-4", 0); /* without weights */
  add_keyframe("step-6.safetensors.tmp.12");
  ck_assert(!symlink("step-2", below("%s/checkpoints/%s", "step-3")));
  ck_assert(!symlink("step-2.safetensors", below("%s/keyframes/%s", "step-3.safetensors")));
  check_list(ZF_STATE_CHECKPOINT, want, 3);
  check_list(ZF_STATE_KEYFRAME, want, 3);
  snprintf(run, sizeof run, "%s", tmp_path("nowhere"));
  check_list(ZF_STATE_CHECKPOINT, NULL, 0);
}
END_TEST

START_TEST(test_prune) {
  static const int64_t want[] = {9, 10};
  make_run("prune");
  for (int i = 1; i <= 10; i++) {
    char name[64];
    snprintf(name, sizeof name, "step-%d", i);
    add_checkpoint(name, 1);
    snprintf(name, sizeof name, "step-%d.safetensors", i);
    add_keyframe(name);
  }
  add_checkpoint("step-0001", 1);
  ck_ok(zf_write_file(below("%s/checkpoints/step-3/%s", "mine.txt"), "x", 1));
  for (int k = 0; k < ZF_STATE_KINDS; k++) {
    ck_ok(zf_states_prune(run, (enum zf_state_kind)k, 2));
    ck_ok(zf_states_prune(run, (enum zf_state_kind)k, 2));
    check_list((enum zf_state_kind)k, want, 2);
  }
  ck_assert(zf_exists(below("%s/checkpoints/%s", "step-0001/model.safetensors")));
  ck_assert(zf_exists(below("%s/checkpoints/%s", "step-3/mine.txt")));
  ck_assert(!zf_exists(below("%s/checkpoints/%s", "step-3/1_Pooling")));
  ck_assert(!zf_exists(below("%s/checkpoints/%s", "step-2")));
}
END_TEST

/* A checkpoint takes the place of an older one; what another put there stays. */
START_TEST(test_replace) {
  make_run("replace");
  for (int other = 0; other < 2; other++) {
    add_checkpoint(".step-5", 1);
    add_checkpoint("step-5", 1);
    if (other) ck_ok(zf_write_file(below("%s/checkpoints/step-5/%s", "mine.txt"), "x", 1));
    ck_ok(zf_write_file(below("%s/checkpoints/step-5/%s", "vocab.txt"), "old", 3));
    char tmp[600];
    snprintf(tmp, sizeof tmp, "%s", below("%s/checkpoints/%s", ".step-5"));
    ck_ok(zf_state_replace_dir(tmp, below("%s/checkpoints/%s", "step-5")));
    ck_assert(!zf_exists(tmp));
    ck_assert(zf_exists(below("%s/checkpoints/step-5/%s", "model.safetensors")));
    ck_assert(zf_exists(below("%s/checkpoints/step-5/%s", "1_Pooling/config.json")));
    ck_assert(!zf_exists(below("%s/checkpoints/step-5/%s", "vocab.txt")));
    ck_assert_int_eq(zf_exists(below("%s/checkpoints/step-5/%s", "mine.txt")), other);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("states");
  TCase *t = tcase_create("states");
  tcase_add_loop_test(t, test_names, 0, sizeof names / sizeof *names);
  tcase_add_test(t, test_list);
  tcase_add_test(t, test_prune);
  tcase_add_test(t, test_replace);
  suite_add_tcase(s, t);
  return unit_run(s);
}
