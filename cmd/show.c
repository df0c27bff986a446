#include "show.h"

#include <stdio.h>

#include "ui.h"

/* The text of tokens [from, to), with special tokens: what they add to the text of the tokens before them,
 * since a decoder may remove the space of its first token. */
static void decode_span(struct zf_buf *buf, const struct zf_tok *tok, const int32_t *id,
                        int64_t from, int64_t to) {
  struct zf_buf before = {0}, all = {0};
  size_t common = 0;
  zf_buf_puts(&before, "");
  zf_buf_puts(&all, "");
  int rc = zf_tok_decode(tok, &before, id, from, 0);
  if (!rc) rc = zf_tok_decode(tok, &all, id, to, 0);
  while (common < before.len && common < all.len && before.data[common] == all.data[common])
    common++;
  zf_buf_clear(buf);
  zf_buf_puts(buf, rc ? "?" : "");
  if (!rc) zf_buf_add(buf, all.data + common, all.len - common);
  zf_buf_free(&before);
  zf_buf_free(&all);
}

/* Prints a stretch of text; a target is in colour on a terminal, else between marks. */
static void print_stretch(const char *text, int is_target, int color) {
  if (!is_target)
    printf("%s", text);
  else if (color)
    printf("\033[32m%s\033[0m", text);
  else
    printf("«%s»", text);
}

/* The end of the stretch of targets, or of others, that begins at `from`. */
static int64_t stretch_end(const struct zf_dataset *dataset, const struct zf_seq *seq,
                           int64_t from) {
  int is_target = zf_seq_is_target(dataset, seq, from);
  int64_t to = from + 1;
  while (to < seq->len && zf_seq_is_target(dataset, seq, to) == is_target) to++;
  return to;
}

static void show_sequence(const struct zf_tok *tok, const struct zf_dataset *dataset,
                          const struct zf_example *example, int32_t option) {
  const struct zf_seq *seq = &dataset->seq[example->seq + option];
  const int32_t *id = dataset->pool.id + seq->at;
  struct zf_buf buf = {0};
  int color = zc_color(1);
  long long targets = (long long)zf_seq_targets(dataset, seq);
  printf("  ");
  for (int64_t from = 0, to; from < seq->len; from = to) {
    int is_target = zf_seq_is_target(dataset, seq, from);
    to = stretch_end(dataset, seq, from);
    if (is_target && dataset->type == ZF_TASK_LABELS) {
      zf_buf_clear(&buf);
      zf_buf_printf(&buf, "label %d", id[from]);
    } else {
      decode_span(&buf, tok, id, from, to);
    }
    print_stretch(buf.data, is_target, color);
  }
  printf("  (%d tokens, %lld target%s)", seq->len, targets, targets == 1 ? "" : "s");
  if (dataset->type == ZF_TASK_LABELS && dataset->problem == ZF_PROBLEM_REGRESSION)
    printf("  <- %g", (double)seq->gold);
  else if (option == example->label || seq->gold > 0)
    printf("  <- right");
  putchar('\n');
  zf_buf_free(&buf);
}

void zc_show_example(const struct zf_tok *tok, const struct zf_dataset *dataset, int64_t index) {
  for (int32_t option = 0; option < dataset->example[index].nseq; option++)
    show_sequence(tok, dataset, &dataset->example[index], option);
}
