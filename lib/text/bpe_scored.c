/* Merges of a vocabulary that holds scores instead of a list of merges.
 *
 * SentencePiece's BPE merges the neighbours whose joined piece has the highest score (Kudo and
 * Richardson 2018).  So a pair's rank is the rank of the piece that it makes. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "bpe_internal.h"

struct ranked {
  double score;
  int32_t id;
};

static int by_score(const void *a, const void *b) {
  const struct ranked *ranked = a, *y = b;
  if (ranked->score != y->score) return ranked->score < y->score ? 1 : -1;
  return (ranked->id > y->id) - (ranked->id < y->id);
}

struct walk {
  const struct zf_vocab *vocab;
  const char *plain; /* by id: may a text give the piece? */
  int (*visit)(void *ctx, const struct zf_merge *split);
  void *ctx;
};

static int plain_id(const struct walk *walk, const char *text, int64_t len) {
  int32_t id = zf_vocab_find(walk->vocab, text, len);
  return id >= 0 && walk->plain[id] ? id : -1;
}

/* Every place where a piece parts into two others. */
static int visit_piece(const struct walk *walk, int32_t id, uint32_t rank) {
  const char *text = zf_vocab_piece(walk->vocab, id);
  int64_t len = (int64_t)strlen(text);
  for (int64_t i = 1; i < len; i++) {
    if (((unsigned char)text[i] & 0xC0) == 0x80) continue; /* inside a character */
    int32_t left = plain_id(walk, text, i);
    int32_t right = left < 0 ? -1 : plain_id(walk, text + i, len - i);
    if (right < 0) continue;
    int rc = walk->visit(walk->ctx, &(struct zf_merge){left, right, rank, id});
    if (rc) return rc;
  }
  return 0;
}

static int64_t rank_pieces(struct ranked *order, char *plain, const struct zf_scored *list,
                           const double *score) {
  int64_t n = 0;
  for (int64_t i = 0; i < list->count; i++) {
    plain[i] = (char)zf_scored_plain(list, i);
    if (plain[i]) order[n++] = (struct ranked){score[i], (int32_t)i};
  }
  qsort(order, (size_t)n, sizeof *order, by_score);
  return n;
}

int zf_scored_splits(const struct zf_scored *list, const struct zf_vocab *vocab,
                     const double *score, int (*visit)(void *ctx, const struct zf_merge *split),
                     void *ctx) {
  struct ranked *order = zf_calloc(list->count + 1, sizeof *order);
  char *plain = zf_calloc(list->count + 1, 1);
  int rc = order && plain ? 0 : ZF_ENOMEM;
  int64_t n = rc ? 0 : rank_pieces(order, plain, list, score);
  struct walk walk = {vocab, plain, visit, ctx};
  uint32_t rank = 0;
  for (int64_t k = 0; !rc && k < n; k++) {
    if (k > 0 && order[k].score != order[k - 1].score) rank++;
    rc = visit_piece(&walk, order[k].id, rank);
  }
  free(plain);
  free(order);
  return rc;
}
