/* Merges of a vocabulary that holds scores instead of a list of merges.
 *
 * SentencePiece's BPE merges the neighbours whose joined piece has the highest score (Kudo and
 * Richardson 2018).  So the rank of a pair is the rank of the piece that it makes. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "bpe_internal.h"

struct ranked_piece {
  double score;
  int32_t id;
};

static int by_score(const void *a, const void *b) {
  const struct ranked_piece *left = a, *right = b;
  if (left->score != right->score) return left->score < right->score ? 1 : -1;
  return (left->id > right->id) - (left->id < right->id);
}

struct split_walk {
  const struct zf_vocab *vocab;
  const char *plain; /* by id: zf_scored_is_plain */
  int (*visit)(void *ctx, const struct zf_merge *split);
  void *ctx;
};

static int plain_id(const struct split_walk *walk, const char *text, int64_t len) {
  int32_t id = zf_vocab_find(walk->vocab, text, len);
  return id >= 0 && walk->plain[id] ? id : -1;
}

/* Visits every split of a piece into two others. */
static int visit_piece(const struct split_walk *walk, int32_t id, uint32_t rank) {
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

static int64_t rank_pieces(struct ranked_piece *order, char *plain, const struct zf_scored *list,
                           const double *score) {
  int64_t count = 0;
  for (int64_t i = 0; i < list->count; i++) {
    plain[i] = (char)zf_scored_is_plain(list, i);
    if (plain[i]) order[count++] = (struct ranked_piece){score[i], (int32_t)i};
  }
  qsort(order, (size_t)count, sizeof *order, by_score);
  return count;
}

int zf_scored_splits(const struct zf_scored *list, const struct zf_vocab *vocab,
                     const double *score, int (*visit)(void *ctx, const struct zf_merge *split),
                     void *ctx) {
  struct ranked_piece *order = zf_calloc(list->count + 1, sizeof *order);
  char *plain = zf_calloc(list->count + 1, 1);
  int rc = order && plain ? 0 : ZF_ENOMEM;
  int64_t count = rc ? 0 : rank_pieces(order, plain, list, score);
  struct split_walk walk = {vocab, plain, visit, ctx};
  uint32_t rank = 0;
  for (int64_t i = 0; i < count; i++) {
    if (i > 0 && order[i].score != order[i - 1].score) rank++;
    rc = visit_piece(&walk, order[i].id, rank);
    if (rc) break;
  }
  free(plain);
  free(order);
  return rc;
}
