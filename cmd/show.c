#include "show.h"

#include <stdio.h>

#include "ui.h"

/* Text of tokens [from, to), special tokens shown: what they add to that of the tokens before, for a
 * decoder may take the space off the first token that it sees. */
static void piece(struct zf_buf *b, const struct zf_tok *tok, const int32_t *id, int64_t from,
                  int64_t to) {
  struct zf_buf before = {0}, all = {0};
  size_t same = 0;
  zf_buf_puts(&before, "");
  zf_buf_puts(&all, "");
  int rc = zf_tok_decode(tok, &before, id, from, 0);
  if (!rc) rc = zf_tok_decode(tok, &all, id, to, 0);
  while (same < before.len && same < all.len && before.data[same] == all.data[same]) same++;
  zf_buf_clear(b);
  zf_buf_puts(b, rc ? "?" : "");
  if (!rc) zf_buf_add(b, all.data + same, all.len - same);
  zf_buf_free(&before);
  zf_buf_free(&all);
}

/* Targets stand out: in colour on a terminal, else between marks. */
static void show_sequence(const struct zf_tok *tok, const struct zf_dataset *d,
                          const struct zf_example *x, int32_t o) {
  const struct zf_seq *s = &d->seq[x->seq + o];
  const int32_t *id = d->pool.id + s->at;
  struct zf_buf a = {0};
  int color = zc_color(1);
  long long targets = (long long)zf_seq_targets(d, s);
  printf("  ");
  for (int64_t from = 0, to; from < s->len; from = to) {
    int is = zf_seq_is_target(d, s, from);
    for (to = from + 1; to < s->len && zf_seq_is_target(d, s, to) == is;) to++;
    if (is && d->type == ZF_TASK_LABELS) {
      zf_buf_clear(&a);
      zf_buf_printf(&a, "label %d", id[from]);
    } else {
      piece(&a, tok, id, from, to);
    }
    printf("%s%s%s",
           !is     ? ""
           : color ? "\033[32m"
                   : "«",
           a.data,
           !is     ? ""
           : color ? "\033[0m"
                   : "»");
  }
  printf("  (%d tokens, %lld target%s)", s->len, targets, targets == 1 ? "" : "s");
  if (d->type == ZF_TASK_LABELS && d->problem == ZF_PROBLEM_REGRESSION)
    printf("  <- %g", (double)s->gold);
  else if (o == x->label || s->gold > 0)
    printf("  <- right");
  putchar('\n');
  zf_buf_free(&a);
}

void zc_show_example(const struct zf_tok *tok, const struct zf_dataset *d, int64_t i) {
  for (int32_t o = 0; o < d->ex[i].nseq; o++) show_sequence(tok, d, &d->ex[i], o);
}
