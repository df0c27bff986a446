/* Variance reduction about an anchor (Gautam et al. 2024, MeZO-SVRG, arXiv 2404.08080, algorithm 2).
 *
 * Every `refresh` steps, step a measures over a wide batch B, with probes p < q:
 *   G_p = (L_B(w + eps z_ap) - L_B(w - eps z_ap)) / (2 eps),   e = 1/q sum_p G_p z_ap
 * A step t between them, of the batch b, uses the weights w_a of the anchor:
 *   g_p = (L_b(w + eps z_tp) - L_b(w - eps z_tp)) / (2 eps),   h_p the same about w_a
 *   e = 1/q sum_p ((g_p - h_p) z_tp + G_p z_ap)
 *
 * w_a is not kept: it is w + sum over the steps since of lr e, as the records have them (exact up to
 * rounding for SGD without decay, which the difference demands).
 *
 * Losses: 4 of each probe: g's two, then h's two; of an anchor 2 of each probe, then zeros. */
#include "zo/difference.h"

static int is_anchor(const struct zf_zo *zo, uint32_t step) {
  return (step - 1) % (uint32_t)zo->refresh == 0;
}

static uint32_t anchor_of(const struct zf_zo *zo, uint32_t step) {
  return step - (step - 1) % (uint32_t)zo->refresh;
}

static int64_t losses(const struct zf_zo *zo) {
  return 4 * zo->probes;
}

static int64_t terms(const struct zf_zo *zo) {
  return 2 * zo->probes;
}

/* Moves from the weights to those of the anchor. */
static void move_to_anchor(struct zf_zo_optimizer *optimizer, uint32_t anchor) {
  for (uint32_t step = anchor; step < optimizer->step; step++) {
    const struct zf_zo_record *record = zf_zo_recall(optimizer, step);
    for (int64_t i = 0; record && i < optimizer->terms; i++) {
      if (record->term[i].coefficient == 0) continue;
      struct zf_noise noise = zf_zo_noise(optimizer, &record->term[i]);
      zf_zo_move(optimizer, &noise,
                 record->lr * record->term[i].coefficient / optimizer->zo.probes);
    }
  }
}

static int plan(struct zf_zo_optimizer *optimizer, int round) {
  const struct zf_zo *zo = &optimizer->zo;
  uint32_t anchor = anchor_of(zo, optimizer->step);
  if (round) return 0;
  optimizer->wide = is_anchor(zo, optimizer->step);
  for (int at_anchor = 0; at_anchor < (optimizer->wide ? 1 : 2); at_anchor++)
    for (int i = 0; i < zo->probes; i++)
      for (int side = 0; side < 2; side++) {
        zf_zo_point(optimizer);
        if (at_anchor) move_to_anchor(optimizer, anchor);
        zf_zo_along(optimizer, i, side ? -zo->eps : zo->eps);
      }
  return 1;
}

static void combine(struct zf_zo_optimizer *optimizer) {
  const struct zf_zo *zo = &optimizer->zo;
  const double *loss = optimizer->loss;
  uint32_t anchor = anchor_of(zo, optimizer->step);
  const struct zf_zo_record *record = zf_zo_recall(optimizer, anchor);
  double width = 2 * zf_zo_eps(zo);
  for (int i = 0; i < zo->probes; i++) {
    double here = (loss[2 * i] - loss[2 * i + 1]) / width, there = 0;
    if (!is_anchor(zo, optimizer->step)) {
      const double *old = loss + 2 * (zo->probes + i);
      there = (old[0] - old[1]) / width;
    }
    zf_zo_term(optimizer, i, -1, here - there);
  }
  if (is_anchor(zo, optimizer->step) || !record) return;
  for (int64_t i = 0; i < optimizer->terms; i++)
    if (record->term[i].step == anchor) zf_zo_old_term(optimizer, &record->term[i]);
}

static double centre(const struct zf_zo *zo, const double *loss) {
  double sum = 0;
  for (int i = 0; i < zo->probes; i++) sum += 0.5 * (loss[2 * i] + loss[2 * i + 1]) / zo->probes;
  return sum;
}

static int64_t memory(const struct zf_zo *zo) {
  return zo->refresh;
}

const struct zf_difference zf_difference_anchor = {.name = "anchor",
                                                   .losses = losses,
                                                   .terms = terms,
                                                   .smooth = 1,
                                                   .plan = plan,
                                                   .combine = combine,
                                                   .centre = centre,
                                                   .memory = memory,
                                                   .explicit_terms = 1};
